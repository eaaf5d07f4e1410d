/* kv.c - pages of the KV cache: a free list, and sequences that own pages. */
#include "model/kv.h"

#include "base/mem.h"

#include <string.h>

static const char *const type_names[KERN_KV_COUNT] = {"f16", "q8_0"};

bool kv_type_parse(const char *name, enum kern_kv *out)
{
    for (enum kern_kv type = 0; type < KERN_KV_COUNT; type++) {
        if (strcmp(name, type_names[type]) == 0) {
            *out = type;
            return true;
        }
    }
    return false;
}

const char *kv_type_name(enum kern_kv type)
{
    return type_names[type];
}

static uint64_t pages_for(uint64_t n_tokens)
{
    return (n_tokens + KERN_ATTN_TILE - 1) / KERN_ATTN_TILE;
}

static size_t tile_bytes(const struct model_config *c, enum kern_kv type)
{
    return KERN_ATTN_TILE * kv_row_bytes(type, c->dim_k, c->dim_v);
}

static size_t page_bytes(const struct model_config *c, enum kern_kv type)
{
    return (size_t)c->n_layers * c->n_kv_heads * tile_bytes(c, type);
}

uint64_t kv_bytes(const struct model_config *c, enum kern_kv type, uint64_t n_tokens)
{
    return pages_for(n_tokens) * page_bytes(c, type);
}

bool kv_pool_init(struct kv_pool *p, const struct model_config *c, enum kern_kv type,
                  uint64_t n_tokens, struct error *e)
{
    *p = (struct kv_pool){.type = type,
                          .n_layers = c->n_layers,
                          .n_kv_heads = c->n_kv_heads,
                          .dim_k = c->dim_k,
                          .dim_v = c->dim_v,
                          .tile_bytes = tile_bytes(c, type),
                          .page_bytes = page_bytes(c, type)};
    uint64_t n_pages = pages_for(n_tokens);
    size_t bytes;
    if (n_pages > UINT32_MAX || !mem_mul(n_pages, p->page_bytes, &bytes)) {
        return error_set(e, ERROR_MEMORY, "out of memory: a KV cache of %llu tokens",
                         (unsigned long long)n_tokens);
    }
    p->n_pages = (uint32_t)n_pages;
    p->data = mem_alloc_pages(bytes, "KV cache", e);
    p->free_pages = mem_alloc(n_pages, sizeof *p->free_pages, "KV page list", e);
    if (p->data == NULL || p->free_pages == NULL) {
        kv_pool_finish(p);
        return false;
    }
    for (uint32_t i = 0; i < p->n_pages; i++) {
        p->free_pages[i] = p->n_pages - 1 - i;
    }
    p->n_free = p->n_pages;
    return true;
}

void kv_pool_finish(struct kv_pool *p)
{
    mem_free_pages(p->data, p->n_pages * p->page_bytes);
    mem_free(p->free_pages);
    *p = (struct kv_pool){0};
}

bool kv_seq_init(struct kv_seq *s, uint32_t max_tokens, struct error *e)
{
    uint32_t *pages = mem_alloc(pages_for(max_tokens), sizeof *pages, "KV pages of a sequence", e);
    if (pages == NULL) {
        return false;
    }
    *s = (struct kv_seq){.max_tokens = max_tokens, .pages = pages};
    return true;
}

void kv_seq_finish(struct kv_seq *s, struct kv_pool *p)
{
    kv_seq_truncate(s, p, 0);
    mem_free(s->pages);
    *s = (struct kv_seq){0};
}

bool kv_seq_reserve(struct kv_seq *s, struct kv_pool *p, uint32_t n_more, struct error *e)
{
    uint64_t needed = pages_for((uint64_t)s->n_tokens + n_more);
    if (n_more > s->max_tokens - s->n_tokens) {
        return error_set(e, ERROR_CONTEXT, "%u tokens and %u more do not fit a context of %u",
                         s->n_tokens, n_more, s->max_tokens);
    }
    if (needed > s->n_pages && needed - s->n_pages > p->n_free) {
        return error_set(e, ERROR_CONTEXT,
                         "%u more tokens need %llu KV pages, but %u of %u are free", n_more,
                         (unsigned long long)(needed - s->n_pages), p->n_free, p->n_pages);
    }
    while (s->n_pages < needed) {
        s->pages[s->n_pages++] = p->free_pages[--p->n_free];
    }
    return true;
}

void kv_seq_truncate(struct kv_seq *s, struct kv_pool *p, uint32_t n_tokens)
{
    if (n_tokens < s->n_tokens) {
        s->n_tokens = n_tokens;
    }
    uint32_t kept = (uint32_t)pages_for(s->n_tokens);
    while (s->n_pages > kept) {
        p->free_pages[p->n_free++] = s->pages[--s->n_pages];
    }
}
