/* schedule.h - which sequences a step computes, and who gives up KV pages when there are too few.
 * engine.h has the rules. Part of the engine: these functions change its fields.
 * Owner/threads: the engine's thread. Nothing allocates. */
#ifndef ENGINE_SCHEDULE_H
#define ENGINE_SCHEDULE_H

#include "engine/engine.h"

/* s takes part from now on, or no more. */
void schedule_add(struct engine *g, struct engine_seq *s);
void schedule_remove(struct engine *g, struct engine_seq *s);

/* Fills g->items and g->picked (n_items) with what the next step computes, guesses apart, and
 * reserves its pages. No sequence may have guesses left. True when a prompt is in the step or only
 * waits for its turn, so that guesses would hold it up. */
bool schedule_plan(struct engine *g);

/* Guesses that s, picked as a decode, has pages for, at most `most`: its own, free ones and the
 * cache's, never another sequence's. Reserves them. */
uint32_t schedule_guess_room(struct engine *g, struct engine_seq *s, uint32_t most);

/* Shows the prefix cache what s has computed: whole pages only, as s goes on to write to the last
 * one. */
void schedule_keep_pages(struct engine *g, struct engine_seq *s);

/* The tokens of s from position n_tokens on are others from now on: forgets what was computed of
 * them. */
void schedule_truncate(struct engine *g, struct engine_seq *s, uint32_t n_tokens);

#endif
