/* kv.h - paged KV cache: pages of KERN_ATTN_TILE tokens, shared by all sequences.
 *
 * A page holds, for every layer and KV head, one attention tile (kern.h): its arrays one behind the
 * other, k, v, kd, vd, each starting at a multiple of 64 bytes, so that a token takes
 * (dim_k + dim_v) * 2 + 8 bytes (q16), dim_k + dim_v + 8 (q8_0) or (dim_k + dim_v) * 2 (f16, which
 * has no scales) of every tile. q8_0 has one scale for a row of dim_k or dim_v items, where a block
 * of the file format of that name has 32.
 *
 * Pages are counted: several sequences, and the prefix cache (engine/prefix.h), may hold the same
 * one, as keys and values depend on the tokens before them alone. A sequence writes only to pages
 * that nobody else holds; kv_seq_reserve() copies the partly filled last one where it is shared.
 * Owner/threads: one thread (the engine's) takes and gives pages; kernels read and write tiles of
 * different heads and tokens at the same time. */
#ifndef MODEL_KV_H
#define MODEL_KV_H

#include "kern/kern.h"
#include "model/config.h"

struct kv_pool {
    enum kern_kv type;
    uint32_t n_layers, n_kv_heads, dim_k, dim_v;
    uint32_t n_pages, n_free;
    size_t tile_bytes;
    size_t page_bytes;    /* n_layers * n_kv_heads * tile_bytes */
    char *data;           /* (n_pages, n_layers, n_kv_heads, tile_bytes) */
    uint32_t *free_pages; /* (n_free) */
    uint32_t *n_users;    /* (n_pages) holders of each page; 0: it is free */
    /* Called behind the copy of a page, for what else is kept by page (exact mode); NULL: none. */
    void (*copied)(void *argument, uint32_t from, uint32_t to);
    void *copied_argument;
};

/* Tokens of one conversation that are in the cache. */
struct kv_seq {
    uint32_t n_tokens, max_tokens;
    uint32_t n_pages;
    uint32_t *pages; /* (n_pages), room for max_tokens */
};

/* Room for n_tokens tokens (rounded up to pages) in all. ERROR_MEMORY. */
bool kv_pool_init(struct kv_pool *p, const struct model_config *c, enum kern_kv type,
                  uint64_t n_tokens, struct error *e);
void kv_pool_finish(struct kv_pool *p);

/* Bytes of the pages that n_tokens tokens take. */
uint64_t kv_bytes(const struct model_config *c, enum kern_kv type, uint64_t n_tokens);

/* Bytes of one token's key and value for one layer and KV head. */
static inline size_t kv_row_bytes(enum kern_kv type, size_t dim_k, size_t dim_v)
{
    size_t scale_bytes = kern_kv_has_scales(type) ? 2 * sizeof(float) : 0;
    return (dim_k + dim_v) * kern_kv_item_bytes(type) + scale_bytes;
}

/* Pages that n_tokens tokens take. */
static inline uint64_t kv_pages_for(uint64_t n_tokens)
{
    return n_tokens / KERN_ATTN_TILE + (n_tokens % KERN_ATTN_TILE > 0);
}

/* One holder more, or less, of a page that is held. The last one frees it. */
void kv_page_hold(struct kv_pool *p, uint32_t page);
void kv_page_release(struct kv_pool *p, uint32_t page);

/* "q16", "q8_0", "f16" -> type; false for any other name. */
bool kv_type_parse(const char *name, enum kern_kv *out);
const char *kv_type_name(enum kern_kv type);

/* A sequence that holds nothing and may grow to max_tokens. ERROR_MEMORY with *s untouched. Finish
 * lets go of its pages. */
bool kv_seq_init(struct kv_seq *s, uint32_t max_tokens, struct error *e);
void kv_seq_finish(struct kv_seq *s, struct kv_pool *p);

/* Makes s, which must hold nothing, the first n_tokens tokens of `pages`: of another sequence (a
 * fork: pages = from->pages) or of the prefix cache. s holds the pages, too, from now on. */
void kv_seq_share(struct kv_seq *s, struct kv_pool *p, const uint32_t *pages, uint32_t n_tokens);

/* The page that the next token goes to is partly filled, and others hold it, too. */
bool kv_seq_must_copy(const struct kv_seq *s, const struct kv_pool *p);

/* Free pages that kv_seq_reserve takes for n_more tokens, one for a copy among them. */
uint32_t kv_seq_needs(const struct kv_seq *s, const struct kv_pool *p, uint32_t n_more);

/* Gives s pages for n_more tokens beyond n_tokens, all of them its own to write to. ERROR_CONTEXT,
 * with the numbers, when s may not grow so long or too few pages are free; then s is as before. */
bool kv_seq_reserve(struct kv_seq *s, struct kv_pool *p, uint32_t n_more, struct error *e);

/* Forgets all tokens from position n_tokens on and lets go of pages that are empty then. */
void kv_seq_truncate(struct kv_seq *s, struct kv_pool *p, uint32_t n_tokens);

static inline struct kern_kv_tile kv_tile(const struct kv_pool *p, uint32_t page, uint32_t layer,
                                          uint32_t head)
{
    size_t item_bytes = KERN_ATTN_TILE * kern_kv_item_bytes(p->type);
    char *k =
        p->data + page * p->page_bytes + ((size_t)layer * p->n_kv_heads + head) * p->tile_bytes;
    char *v = k + p->dim_k * item_bytes;
    struct kern_kv_tile tile = {.k = k, .v = v};
    if (kern_kv_has_scales(p->type)) {
        tile.kd = (float *)(void *)(v + p->dim_v * item_bytes);
        tile.vd = tile.kd + KERN_ATTN_TILE;
    }
    return tile;
}

#endif
