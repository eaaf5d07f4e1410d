/* matcher.h - one text that is written by a grammar, token by token: what may come next, whether
 * it may end here, and going back. Of the automaton's thread. */
#ifndef SCHEMA_MATCHER_H
#define SCHEMA_MATCHER_H

#include "schema/automaton.h"

enum { MATCHER_MAX_BACK = 63 }; /* tokens */

/* A place in a text: the states before the last tokens, and now. Small, and not to be moved. */
struct matcher {
    struct automaton *automaton;
    struct automaton_user user;
    uint32_t states[MATCHER_MAX_BACK + 1]; /* a ring: states[n % (MATCHER_MAX_BACK + 1)] is now */
    uint64_t n;                            /* tokens taken */
};

/* At the start of a text. a must outlive the matcher. */
void matcher_init(struct matcher *m, struct automaton *a);
/* At the same place as another, with its way back. */
void matcher_clone(struct matcher *m, const struct matcher *from);
void matcher_finish(struct matcher *m);

/* The tokens that may come next, see automaton_mask(). NULL: errors as there. Valid until a
 * function is called for any matcher of the automaton. */
const uint64_t *matcher_mask(struct matcher *m, struct error *e);

/* Goes on by a token. ERROR_USAGE, naming it, for one that the mask does not have; ERROR_MEMORY. On
 * failure m is as before. */
bool matcher_take(struct matcher *m, uint32_t token, struct error *e);

/* Goes on by bytes that are no tokens, as one step of the way back; false when no text begins
 * so. */
bool matcher_take_bytes(struct matcher *m, struct str bytes, struct error *e);

/* Goes back n_tokens <= MATCHER_MAX_BACK, and no more than were taken since matcher_init. */
void matcher_back(struct matcher *m, uint32_t n_tokens);

/* Whether the text may end here; whether a token has ended it. */
bool matcher_is_complete(const struct matcher *m);
bool matcher_is_ended(const struct matcher *m);

#endif
