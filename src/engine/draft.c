/* draft.c - passes of the draft model: what each sequence still has to read, and one guess more. */
#include "engine/draft.h"

#include "base/mem.h"

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

bool draft_init(struct draft *d, const struct model *m, struct pool *pool,
                const struct draft_options *options, struct error *e)
{
    const struct model_config *c = &m->config;
    uint32_t n_seqs = options->max_sequences;
    *d = (struct draft){.model = m, .options = *options};
    if (options->n_choices > c->n_vocab) {
        return error_set(e, ERROR_USAGE, "a draft model of %u logits for one of %u tokens",
                         c->n_vocab, options->n_choices);
    }
    d->n_ctx = smaller(smaller(options->n_ctx, c->ctx_train), ROPE_MAX_POSITIONS);
    uint64_t pages = kv_pages_for(d->n_ctx);
    struct forward_limits limits = {n_seqs > DRAFT_CHUNK ? n_seqs : DRAFT_CHUNK, n_seqs};
    d->batch = mem_alloc(n_seqs, sizeof *d->batch, "draft's batch items", e);
    d->asked =
        d->batch != NULL ? mem_alloc(n_seqs, sizeof(void *), "draft's batch items", e) : NULL;
    if (d->asked == NULL ||
        !kv_pool_init(&d->kv, c, options->kv_type, pages * KERN_ATTN_TILE * n_seqs, e) ||
        !forward_init(&d->forward, m, &d->kv, pool, limits, e)) {
        draft_finish(d);
        return false;
    }
    return true;
}

void draft_finish(struct draft *d)
{
    forward_finish(&d->forward);
    kv_pool_finish(&d->kv);
    mem_free(d->asked);
    mem_free(d->batch);
    *d = (struct draft){0};
}

/* How many guesses can be made; the last one is not read. */
static uint32_t most_guesses(const struct draft *d, const struct draft_item *t)
{
    if (t->n_tokens > d->n_ctx) {
        return 0;
    }
    for (uint32_t i = t->kv->n_tokens; i < t->n_tokens; i++) {
        if (t->tokens[i] >= d->model->config.n_vocab) {
            return 0;
        }
    }
    return smaller(t->most, d->n_ctx - t->n_tokens + 1);
}

/* Every item that wants another guess reads what it has not read, or its share of a pass. */
static uint32_t plan_pass(struct draft *d, struct draft_item *items, uint32_t n_items)
{
    uint32_t n_batch = 0, budget = d->forward.limits.max_tokens;
    for (uint32_t i = 0; i < n_items; i++) {
        struct draft_item *t = &items[i];
        if (t->n < t->most) {
            uint32_t unread = t->n_tokens + t->n - t->kv->n_tokens;
            uint32_t n = smaller(unread, budget / (n_items - i));
            d->asked[n_batch] = t;
            d->batch[n_batch++] = (struct forward_item){.seq = t->kv,
                                                        .tokens = t->tokens + t->kv->n_tokens,
                                                        .n_tokens = n,
                                                        .n_logits = n == unread ? 1 : 0};
            budget -= n;
        }
    }
    return n_batch;
}

static uint32_t most_probable(const struct draft *d, const float *logits)
{
    uint32_t best = 0;
    for (uint32_t id = 1; id < d->options.n_choices; id++) {
        best = logits[id] > logits[best] ? id : best;
    }
    return best;
}

/* Writes the pass's guesses; a sequence that was not read to its end is done for this step. */
static void take_guesses(struct draft *d, uint32_t n_batch)
{
    uint32_t row = 0;
    for (uint32_t i = 0; i < n_batch; i++) {
        struct draft_item *t = d->asked[i];
        if (d->batch[i].n_logits > 0) {
            t->tokens[t->n_tokens + t->n++] = most_probable(d, forward_logits(&d->forward, row++));
        } else {
            t->most = 0;
        }
    }
}

void draft_guess(struct draft *d, struct draft_item *items, uint32_t n_items)
{
    for (uint32_t i = 0; i < n_items; i++) {
        kv_seq_truncate(items[i].kv, &d->kv, items[i].n_tokens - 1); /* the last gives logits */
        items[i].n = 0;
        items[i].most = most_guesses(d, &items[i]);
    }
    uint32_t n_batch;
    while ((n_batch = plan_pass(d, items, n_items)) > 0 &&
           forward_batch(&d->forward, d->batch, n_batch, NULL)) {
        take_guesses(d, n_batch);
    }
}
