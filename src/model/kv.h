/* kv.h - paged KV cache: pages of KERN_ATTN_TILE tokens, f16, shared by all sequences.
 *
 * A page holds, for every layer and KV head, one attention tile: K transposed so that 16 keys lie
 * side by side, (KERN_ATTN_TILE/16, dim_k, 16), then V, (KERN_ATTN_TILE, dim_v).
 * Owner/threads: one thread (the engine's) takes and gives pages; kernels read and write tiles of
 * different heads and tokens at the same time. */
#ifndef MODEL_KV_H
#define MODEL_KV_H

#include "model/config.h"

struct kv_pool {
    uint32_t n_layers, n_kv_heads, dim_k, dim_v;
    uint32_t n_pages, n_free;
    size_t tile_items; /* f16 items of one tile (K and V) */
    size_t page_items; /* n_layers * n_kv_heads * tile_items */
    uint16_t *data;    /* (n_pages, n_layers, n_kv_heads, tile_items) */
    uint32_t *free_pages;
};

/* Tokens of one conversation that are in the cache. */
struct kv_seq {
    uint32_t n_tokens, max_tokens;
    uint32_t n_pages;
    uint32_t *pages; /* (n_pages), room for max_tokens */
};

/* Room for n_tokens tokens (rounded up to pages) in all. ERROR_MEMORY. */
bool kv_pool_init(struct kv_pool *p, const struct model_config *c, uint64_t n_tokens,
                  struct error *e);
void kv_pool_finish(struct kv_pool *p);

/* Bytes of f16 keys and values that n_tokens tokens take. */
uint64_t kv_bytes(const struct model_config *c, uint64_t n_tokens);

bool kv_seq_init(struct kv_seq *s, uint32_t max_tokens, struct error *e);
void kv_seq_finish(struct kv_seq *s, struct kv_pool *p);

/* Gives s pages for n_more tokens beyond n_tokens. ERROR_CONTEXT, with the numbers, when s may not
 * grow so long or no page is free; then s is as before. */
bool kv_seq_reserve(struct kv_seq *s, struct kv_pool *p, uint32_t n_more, struct error *e);

/* Forgets all tokens from position n_tokens on and gives back pages that are empty then. */
void kv_seq_truncate(struct kv_seq *s, struct kv_pool *p, uint32_t n_tokens);

/* K tile of a page; its V tile lies kv_v_offset() items behind. */
static inline uint16_t *kv_tile(const struct kv_pool *p, uint32_t page, uint32_t layer,
                                uint32_t head)
{
    return p->data + page * p->page_items + ((size_t)layer * p->n_kv_heads + head) * p->tile_items;
}

static inline size_t kv_v_offset(const struct kv_pool *p, uint32_t tile_tokens)
{
    return (size_t)tile_tokens * p->dim_k;
}

#endif
