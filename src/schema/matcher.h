/* matcher.h - one text that is written by a grammar, token by token: what may come next, and
 * whether it may end here. Of the automaton's thread. */
#ifndef SCHEMA_MATCHER_H
#define SCHEMA_MATCHER_H

#include "schema/automaton.h"

/* A place in a text. Not to be moved. */
struct matcher {
    struct automaton *automaton;
    struct automaton_user user;
};

/* At the start of a text. a must outlive the matcher. */
void matcher_init(struct matcher *m, struct automaton *a);
void matcher_finish(struct matcher *m);

/* The tokens that may come next, see automaton_mask(). NULL: errors as there. Valid until a
 * function is called for any matcher of the automaton. */
const uint64_t *matcher_mask(struct matcher *m, struct error *e);

/* Goes on by a token. ERROR_USAGE, naming it, for one that the mask does not have; ERROR_MEMORY. On
 * failure m is as before. */
bool matcher_take(struct matcher *m, uint32_t token, struct error *e);

/* Whether the text may end here. */
bool matcher_is_complete(const struct matcher *m);

#endif
