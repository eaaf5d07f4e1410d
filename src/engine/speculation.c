/* speculation.c - who guesses how much. */
#include "engine/speculation.h"

#include "base/mem.h"

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

bool speculation_init(struct speculation *g, const struct speculation_options *o, struct pool *pool,
                      struct error *e)
{
    uint32_t n_seqs = o->draft_options.max_sequences;
    *g = (struct speculation){.max_guesses = o->max_guesses};
    if (o->draft == NULL || o->max_guesses == 0) {
        return true;
    }
    g->undecided = mem_alloc(n_seqs, sizeof(void *), "sequences of the draft", e);
    g->draft_items = g->undecided
                         ? mem_alloc(n_seqs, sizeof *g->draft_items, "sequences of the draft", e)
                         : NULL;
    if (g->draft_items == NULL || !draft_init(&g->draft, o->draft, pool, &o->draft_options, e)) {
        speculation_finish(g);
        return false;
    }
    return true;
}

void speculation_finish(struct speculation *g)
{
    draft_finish(&g->draft);
    mem_free(g->draft_items);
    mem_free(g->undecided);
    *g = (struct speculation){0};
}

static bool has_draft(const struct speculation *g)
{
    return g->draft.model != NULL;
}

bool speculation_open(const struct speculation *g, struct speculation_seq *s, uint32_t n_ctx,
                      struct error *e)
{
    *s = (struct speculation_seq){.length = {g->max_guesses, g->max_guesses}, .match = NGRAM_ORDER};
    return (g->max_guesses == 0 || ngram_init(&s->ngram, n_ctx, e)) &&
           (!has_draft(g) || kv_seq_init(&s->draft_kv, g->draft.n_ctx, e));
}

void speculation_close(struct speculation *g, struct speculation_seq *s)
{
    kv_seq_finish(&s->draft_kv, &g->draft.kv);
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

static void set_guesses(struct speculation *g, struct speculation_item *t,
                        enum speculation_source source, uint32_t n)
{
    t->n_guesses = t->seq->n = t->seq->left = n;
    t->seq->source = source;
    g->counts[source].made += n;
}

/* Lists those that the draft shall guess for, with their shares of the budget. */
static uint32_t ask_draft(struct speculation *g, struct speculation_item *items, uint32_t n_items,
                          uint32_t budget)
{
    uint32_t n_undecided = 0, n_asked = 0;
    for (uint32_t i = 0; i < n_items; i++) {
        struct speculation_seq *s = items[i].seq;
        if (s->n == 0 && s->wait > 0) {
            s->wait--;
        } else if (s->n == 0) {
            g->undecided[n_undecided++] = &items[i];
        }
    }
    for (uint32_t i = 0; i < n_undecided; i++) {
        struct speculation_item *t = g->undecided[i];
        uint32_t share = smaller(budget / (n_undecided - i), t->room);
        uint32_t most = smaller(share, t->seq->length[SPECULATION_DRAFT]);
        if (most > 0) {
            g->undecided[n_asked] = t;
            g->draft_items[n_asked++] = (struct draft_item){.kv = &t->seq->draft_kv,
                                                            .tokens = t->tokens,
                                                            .n_tokens = t->n_tokens,
                                                            .most = most};
            budget -= most;
        }
    }
    return n_asked;
}

static void guess_by_draft(struct speculation *g, struct speculation_item *items, uint32_t n_items,
                           uint32_t budget)
{
    uint32_t n_asked = ask_draft(g, items, n_items, budget);
    draft_guess(&g->draft, g->draft_items, n_asked);
    for (uint32_t i = 0; i < n_asked; i++) {
        set_guesses(g, g->undecided[i], SPECULATION_DRAFT, g->draft_items[i].n);
    }
}

void speculation_guess(struct speculation *g, struct speculation_item *items, uint32_t n_items)
{
    uint32_t budget = g->max_guesses;
    for (uint32_t i = 0; i < n_items; i++) {
        struct speculation_item *t = &items[i];
        uint32_t most = smaller(smaller(t->seq->length[SPECULATION_NGRAM], budget), t->room);
        uint32_t n =
            most > 0 ? ngram_guess(&t->seq->ngram, t->tokens, t->n_tokens, most, t->seq->match) : 0;
        set_guesses(g, t, SPECULATION_NGRAM, n);
        budget -= n;
    }
    if (has_draft(g) && budget > 0) {
        guess_by_draft(g, items, n_items, budget);
    }
}

uint32_t speculation_confirm(struct speculation *g, struct speculation_seq *s)
{
    s->left--;
    g->counts[s->source].right++;
    return s->row++;
}

void speculation_drop(struct speculation *g, struct speculation_seq *s, uint32_t n_tokens)
{
    uint32_t right = s->n - s->left, *length = &s->length[s->source];
    if (s->source == SPECULATION_DRAFT && right == 0) {
        s->pause = s->pause > 0 ? smaller(2 * s->pause, SPECULATION_MAX_PAUSE) : 1;
        s->wait = s->pause;
    } else if (s->source == SPECULATION_DRAFT) {
        s->pause = 0;
    } else if (right == 0) {
        s->match = smaller(2 * s->match, NGRAM_MAX_MATCH);
    } else {
        s->match = s->match > 2 * NGRAM_ORDER ? s->match / 2 : NGRAM_ORDER;
    }
    if (right < s->n) {
        *length = right + 1;
    } else if (*length < 2 * right) {
        *length = smaller(2 * right, g->max_guesses);
    }
    speculation_truncate(g, s, n_tokens);
}

void speculation_truncate(struct speculation *g, struct speculation_seq *s, uint32_t n_tokens)
{
    s->n = s->left = 0;
    kv_seq_truncate(&s->draft_kv, &g->draft.kv, n_tokens);
}
