/* ngram.c - a hash table from the last tokens to what followed them. */
#include "engine/ngram.h"

#include "base/mem.h"

#include <string.h>

bool ngram_init(struct ngram *g, uint32_t max_tokens, struct error *e)
{
    uint32_t n = 64;
    while (n < max_tokens && n < UINT32_C(1) << 31) {
        n *= 2;
    }
    *g = (struct ngram){.mask = n - 1};
    g->follower = mem_alloc(n, sizeof *g->follower, "n-grams of a sequence", e);
    return g->follower != NULL;
}

void ngram_finish(struct ngram *g)
{
    mem_free(g->follower);
    *g = (struct ngram){0};
}

/* The slot of the n-gram that ends before `end`. */
static uint32_t *slot_of(const struct ngram *g, const uint32_t *end)
{
    uint64_t h = 0;
    for (int i = 1; i <= NGRAM_ORDER; i++) {
        h = (h ^ end[-i]) * UINT64_C(0x9E3779B97F4A7C15); /* 2^64 over the golden ratio */
    }
    return &g->follower[h >> 32 & g->mask];
}

void ngram_add(struct ngram *g, const uint32_t *tokens, uint32_t first, uint32_t n)
{
    for (uint32_t p = first < NGRAM_ORDER ? NGRAM_ORDER : first; p < n; p++) {
        *slot_of(g, tokens + p) = p;
    }
}

/* How many tokens before positions a < b agree. */
static uint32_t match_length(const uint32_t *tokens, uint32_t a, uint32_t b)
{
    uint32_t n = 0;
    while (n < a && n < NGRAM_MAX_MATCH && tokens[a - 1 - n] == tokens[b - 1 - n]) {
        n++;
    }
    return n;
}

uint32_t ngram_guess(const struct ngram *g, uint32_t *tokens, uint32_t n, uint32_t max,
                     uint32_t min_match)
{
    if (n < NGRAM_ORDER) {
        return 0;
    }
    uint32_t follower = *slot_of(g, tokens + n);
    if (follower >= n || match_length(tokens, follower, n) < min_match) {
        return 0;
    }
    for (uint32_t i = 0; i < max; i++) { /* may run into the guesses: a text that repeats itself */
        tokens[n + i] = tokens[follower + i];
    }
    return max;
}
