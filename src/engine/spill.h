/* spill.h - which pages of the prefix cache go to disk, and how they come back.
 *
 * What goes: prefixes of SPILL_LEAST tokens and more, in whole pages: those that a later prompt has
 * begun with, between the steps after that; at the end all that the cache holds, those used last
 * first, as far as SPILL_END_S seconds suffice. A page that must make room in memory does not go
 * then: it was written before, or nobody came back for it.
 * What comes back: a prompt that finds no longer prefix in memory takes page after page of it from
 * disk, instead of computing it, and waits meanwhile; others do not.
 *
 * A step never waits for the disk (spill_disk.h): what it pays is a copy of one page.
 * Owner/threads: the engine's. */
#ifndef ENGINE_SPILL_H
#define ENGINE_SPILL_H

#include "engine/engine.h"
#include "engine/spill_disk.h"

enum { SPILL_LEAST = 256, SPILL_AGAIN_S = 600, SPILL_END_S = 10 };

struct spill {
    struct spill_disk *disk;
    struct digest maker;
    uint32_t *tokens; /* (n_ctx) of the page in hand */
};

/* For an engine whose model, KV pages and prefix cache are there. ERROR_MEMORY, ERROR_IO. */
struct spill *spill_create(const struct engine *g, const struct spill_options *options,
                           struct error *e);

/* Writes what is worth it (needs the prefix cache); NULL is allowed. */
void spill_destroy(struct engine *g, struct spill *sp);

/* ---- with an engine that spills or does not ---- */

/* s begins with n_tokens that were cached. */
void spill_note_found(struct engine *g, const struct engine_seq *s, uint32_t n_tokens);

/* Takes the next pages of a prompt from disk, to where its tokens are to be computed; s has all its
 * pages. True: one of them is being read, s has to wait. */
bool spill_fetch(struct engine *g, struct engine_seq *s);

/* Once a step, or when there is none: hands a page over to be written, if one is due. */
void spill_write_next(struct engine *g);

#endif
