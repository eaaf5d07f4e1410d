/* automaton.h - what a grammar allows after any bytes: states of its pushdown automaton, made
 * when they are met and kept for all that read by the same grammar, and the masks of tokens of
 * these states.
 *
 * A state is what may come next, whatever came before, so that equal situations are one state
 * and have one mask; both depend on the grammar and the bytes alone. One thread owns an
 * automaton and its matchers (matcher.h). Memory is bounded: what no matcher holds is forgotten
 * when it becomes much. */
#ifndef SCHEMA_AUTOMATON_H
#define SCHEMA_AUTOMATON_H

#include "schema/grammar.h"
#include "schema/token_trie.h"

struct automaton;
struct matcher;

enum {
    AUTOMATON_DEAD = 0,  /* no text begins with these bytes */
    AUTOMATON_ENDED = 1, /* a token that ends a text was taken */
    AUTOMATON_START = 2
};

/* g and t must outlive it. NULL: errors as automaton_step(). */
struct automaton *automaton_create(const struct grammar *g, const struct token_trie *t,
                                   struct error *e);
/* After its matchers. NULL is allowed. */
void automaton_destroy(struct automaton *a);
const struct token_trie *automaton_trie(const struct automaton *a);

/* The state after one more byte. A state from which no text can be ended is AUTOMATON_DEAD, so that
 * every other one is complete or goes on. ERROR_MEMORY; ERROR_UNSUPPORTED for a grammar that can be
 * read in too many ways. On failure *out is untouched. */
bool automaton_step(struct automaton *a, uint32_t state, uint8_t byte, uint32_t *out,
                    struct error *e);

/* Whether a text may end in this state. */
bool automaton_is_complete(const struct automaton *a, uint32_t state);

/* The tokens that may come next, (trie's n_words), bit i % 64 of word i / 64 for token i: those
 * whose bytes do not lead to AUTOMATON_DEAD, and where a text may end those that end it. None is
 * left only where the vocabulary has no token for the bytes that must come. Valid until the next
 * call for the automaton. NULL: errors as automaton_step(), of which too many ways are also
 * those that make a mask take too long. */
const uint64_t *automaton_mask(struct automaton *a, uint32_t state, struct error *e);

/* What it holds now, about. */
struct automaton_size {
    size_t n_bytes;
    uint32_t n_states;
};
struct automaton_size automaton_size(const struct automaton *a);

/* What the automaton knows of who reads by it; matcher.c's. Zeroed at first. */
struct automaton_user {
    struct automaton_user *next, *before;
    uint32_t state; /* renumbered when states are forgotten */
};
void automaton_add_user(struct automaton *a, struct automaton_user *user);
void automaton_remove_user(struct automaton *a, struct automaton_user *user);

/* Forgets states that no user holds if there are many. Numbers of states change: users are told,
 * and nobody else may hold one. ERROR_MEMORY, with all as it was. */
bool automaton_make_room(struct automaton *a, struct error *e);

#endif
