/* ngram.h - guesses the tokens that come next: those that followed the same NGRAM_ORDER tokens the
 * last time. Texts that quote their prompt (edits, summaries, code) are guessed well, others
 * seldom.
 *
 * source  prompt lookup decoding (Saxena 2023)
 * Owner/threads: belongs to one sequence, not thread-safe. Nothing allocates after init. */
#ifndef ENGINE_NGRAM_H
#define ENGINE_NGRAM_H

#include "base/error.h"

#include <stdint.h>

enum {
    NGRAM_ORDER = 3,
    NGRAM_MAX_MATCH = 32 /* how far back a match is followed */
};

/* Where the last occurrence of an n-gram ends, by its hash: a later one with the same hash takes
 * the place, and every look-up compares the tokens, so what is stored needs no upkeep. */
struct ngram {
    uint32_t *follower; /* (mask + 1) position behind the n-gram; 0: none yet */
    uint32_t mask;
};

/* For sequences of at most max_tokens tokens: 4 to 8 bytes a token. ERROR_MEMORY. */
bool ngram_init(struct ngram *g, uint32_t max_tokens, struct error *e);
void ngram_finish(struct ngram *g);

/* Tokens [first, n) of the sequence are new. */
void ngram_add(struct ngram *g, const uint32_t *tokens, uint32_t first, uint32_t n);

/* Writes up to max guesses to tokens[n..] and returns their number: max, or 0 when the last
 * min_match tokens (at least NGRAM_ORDER, at most NGRAM_MAX_MATCH) did not occur together where
 * their n-gram did last.
 * shapes  tokens (n + max), the first n are the sequence's */
uint32_t ngram_guess(const struct ngram *g, uint32_t *tokens, uint32_t n, uint32_t max,
                     uint32_t min_match);

#endif
