/* forward.h - the forward pass over a batch: prefill, decode, scoring are this one call.
 *
 * The bits of a sequence's logits depend on its own tokens and the numerics (kern.h) alone: not on
 * the rest of the batch, the chunking, the threads or the kernel set.
 * Owner/threads: one thread owns a struct forward and calls it; the pool's threads help. */
#ifndef MODEL_FORWARD_H
#define MODEL_FORWARD_H

#include "model/kv.h"
#include "model/model.h"

/* Tokens that follow what seq holds already. Logits are wanted for the last n_logits of them, or
 * hidden states for the last n_hidden: not both. */
struct forward_item {
    struct kv_seq *seq;
    const uint32_t *tokens;
    uint32_t n_tokens;
    uint32_t n_logits, n_hidden;
};

struct forward_limits {
    uint32_t max_tokens; /* of all items of a batch together */
    uint32_t max_logits; /* likewise */
};

struct forward_scratch; /* a thread's own buffers */
struct exact_cache;

/* Buffers of a batch; shapes with n = tokens of the batch. */
struct forward {
    const struct model *model;
    struct kv_pool *kv;
    struct pool *pool;
    struct forward_limits limits;

    const struct forward_item *items; /* of the running batch */
    uint32_t n_items, n_tokens, n_logits, n_hidden;
    uint32_t *item_of, *position; /* (n) */
    uint32_t *token;              /* (n) */
    uint32_t *row_token;          /* (n_logits + n_hidden) token of each row of the last norm */

    float *x;                  /* (n, n_embd) residual stream */
    float *normed;             /* (n, n_embd) at the end: of rows of logits, then hidden states */
    float *q, *k, *v;          /* (n, heads * dim) */
    float *attended;           /* (n, heads * dim_v) */
    float *angles;             /* (n, n_rot/2, 2) cos and sin */
    void *act[PACK_ACT_COUNT]; /* quantised input of a matrix, in each form */
    void *act_ff[PACK_ACT_COUNT];    /* the same of down, written while gate and up read theirs */
    struct forward_scratch *scratch; /* (threads) */
    float *products;                 /* (threads, 2, n, 256) a few rows of products, padded */
    float *parts;                    /* (n_parts) attention's results of spans, see attention.c */
    size_t n_parts;
    float *logits; /* (n_logits, n_vocab), rows in the order of the items */
    void *memory;
    size_t memory_bytes;
    struct exact_cache *exact; /* exact mode's own buffers */
    /* Layers begun, of all batches: any thread may look whether a long batch goes on. */
    _Atomic uint64_t n_layers;
    /* Asked before each layer, on the thread that computes, whether to go on; NULL: always. */
    bool (*goes_on)(void *argument);
    void *goes_on_argument;
};

/* Allocates all buffers. limits are raised to at least 1 and max_logits cut to max_tokens. m, kv
 * and pool must outlive f. ERROR_MEMORY; then there is nothing to release. */
bool forward_init(struct forward *f, const struct model *m, struct kv_pool *kv, struct pool *pool,
                  struct forward_limits limits, struct error *e);
void forward_finish(struct forward *f);

/* Computes all items, appends their tokens to their sequences and fills f->logits.
 * needs   every token < n_vocab, sums within the limits, 1 <= n_tokens,
 *         n_logits + n_hidden <= n_tokens, a sequence at most once
 * ERROR_CONTEXT when a sequence does not fit, ERROR_USAGE naming a token that is none,
 * ERROR_INTERNAL beyond the limits, ERROR_INTERRUPTED when f->goes_on said no (sequences keep what
 * pages they got for it); then no sequence has changed. */
bool forward_batch(struct forward *f, const struct forward_item *items, uint32_t n_items,
                   struct error *e);

/* Logits of row `row` of the last batch: (n_vocab). */
static inline const float *forward_logits(const struct forward *f, uint32_t row)
{
    return f->logits + (size_t)row * f->model->config.n_vocab;
}

/* Hidden state `row` of the last batch, after the last norm: (n_embd). Rows are those that items
 * asked for, in the order of the items. */
static inline const float *forward_hidden(const struct forward *f, uint32_t row)
{
    return f->normed + ((size_t)f->n_logits + row) * f->model->config.n_embd;
}

#endif
