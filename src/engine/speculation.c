/* speculation.c - who guesses how much. */
#include "engine/speculation.h"

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

bool speculation_open(const struct speculation *g, struct speculation_seq *s, uint32_t n_ctx,
                      struct error *e)
{
    *s = (struct speculation_seq){.length = g->max_guesses, .match = NGRAM_ORDER};
    return g->max_guesses == 0 || ngram_init(&s->ngram, n_ctx, e);
}

void speculation_close(struct speculation_seq *s)
{
    ngram_finish(&s->ngram);
    *s = (struct speculation_seq){0};
}

void speculation_add(const struct speculation *g, struct speculation_seq *s, const uint32_t *tokens,
                     uint32_t first, uint32_t n)
{
    if (g->max_guesses > 0) {
        ngram_add(&s->ngram, tokens, first, n);
    }
}

void speculation_guess(struct speculation *g, struct speculation_item *items, uint32_t n_items)
{
    uint32_t budget = g->max_guesses;
    for (uint32_t i = 0; i < n_items; i++) {
        struct speculation_item *t = &items[i];
        struct speculation_seq *s = t->seq;
        uint32_t most = smaller(smaller(s->length, budget), t->room);
        t->n_guesses =
            most > 0 ? ngram_guess(&s->ngram, t->tokens, t->n_tokens, most, s->match) : 0;
        s->n = s->left = t->n_guesses;
        g->n_guessed += t->n_guesses;
        budget -= t->n_guesses;
    }
}

uint32_t speculation_confirm(struct speculation *g, struct speculation_seq *s)
{
    s->left--;
    g->n_confirmed++;
    return s->row++;
}

void speculation_drop(const struct speculation *g, struct speculation_seq *s)
{
    uint32_t right = s->n - s->left;
    if (right == 0) {
        s->match = smaller(2 * s->match, NGRAM_MAX_MATCH);
    } else {
        s->match = s->match > 2 * NGRAM_ORDER ? s->match / 2 : NGRAM_ORDER;
    }
    s->length = smaller(right == s->n ? 2 * s->n : right + 1, g->max_guesses);
    speculation_forget(s);
}
