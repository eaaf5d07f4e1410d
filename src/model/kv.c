/* kv.c - pages of the KV cache: a free list, holders counted, and sequences that hold pages. */
#include "model/kv.h"

#include "base/mem.h"

#include <string.h>

static const char *const type_names[KERN_KV_COUNT] = {"q16", "q8_0", "f16"};

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
    return kv_pages_for(n_tokens) * page_bytes(c, type);
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
    uint64_t n_pages = kv_pages_for(n_tokens);
    size_t bytes;
    if (n_pages > UINT32_MAX || !mem_mul(n_pages, p->page_bytes, &bytes)) {
        return error_set(e, ERROR_MEMORY, "out of memory: a KV cache of %llu tokens",
                         (unsigned long long)n_tokens);
    }
    p->n_pages = (uint32_t)n_pages;
    p->data = mem_alloc_pages(bytes, "KV cache", e);
    p->free_pages = mem_alloc(n_pages, sizeof *p->free_pages, "KV page list", e);
    p->n_users = mem_alloc(n_pages, sizeof *p->n_users, "KV page counts", e);
    if (p->data == NULL || p->free_pages == NULL || p->n_users == NULL) {
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
    mem_free(p->n_users);
    *p = (struct kv_pool){0};
}

bool kv_seq_init(struct kv_seq *s, uint32_t max_tokens, struct error *e)
{
    uint32_t *pages =
        mem_alloc(kv_pages_for(max_tokens), sizeof *pages, "KV pages of a sequence", e);
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

static uint32_t take_page(struct kv_pool *p)
{
    uint32_t page = p->free_pages[--p->n_free];
    p->n_users[page] = 1;
    return page;
}

void kv_page_hold(struct kv_pool *p, uint32_t page)
{
    p->n_users[page]++;
}

void kv_page_release(struct kv_pool *p, uint32_t page)
{
    if (--p->n_users[page] == 0) {
        p->free_pages[p->n_free++] = page;
    }
}

void kv_seq_share(struct kv_seq *s, struct kv_pool *p, const uint32_t *pages, uint32_t n_tokens)
{
    s->n_tokens = n_tokens;
    s->n_pages = (uint32_t)kv_pages_for(n_tokens);
    for (uint32_t i = 0; i < s->n_pages; i++) {
        s->pages[i] = pages[i];
        kv_page_hold(p, pages[i]);
    }
}

bool kv_seq_must_copy(const struct kv_seq *s, const struct kv_pool *p)
{
    return s->n_tokens % KERN_ATTN_TILE > 0 &&
           p->n_users[s->pages[s->n_tokens / KERN_ATTN_TILE]] > 1;
}

uint32_t kv_seq_needs(const struct kv_seq *s, const struct kv_pool *p, uint32_t n_more)
{
    uint32_t n = (uint32_t)kv_pages_for((uint64_t)s->n_tokens + n_more);
    return (n > s->n_pages ? n - s->n_pages : 0) + (n_more > 0 && kv_seq_must_copy(s, p));
}

/* Gives s a page of its own in the place of the one it shares. */
static void copy_last_page(struct kv_seq *s, struct kv_pool *p)
{
    uint32_t *page = &s->pages[s->n_tokens / KERN_ATTN_TILE];
    uint32_t copy = take_page(p);
    memcpy(p->data + copy * p->page_bytes, p->data + *page * p->page_bytes, p->page_bytes);
    if (p->copied != NULL) {
        p->copied(p->copied_argument, *page, copy);
    }
    kv_page_release(p, *page);
    *page = copy;
}

bool kv_seq_reserve(struct kv_seq *s, struct kv_pool *p, uint32_t n_more, struct error *e)
{
    if (n_more > s->max_tokens - s->n_tokens) {
        return error_set(e, ERROR_CONTEXT, "%u tokens and %u more do not fit a context of %u",
                         s->n_tokens, n_more, s->max_tokens);
    }
    uint32_t needed = kv_seq_needs(s, p, n_more);
    if (needed > p->n_free) {
        return error_set(e, ERROR_CONTEXT, "%u more tokens need %u KV pages, but %u of %u are free",
                         n_more, needed, p->n_free, p->n_pages);
    }
    if (n_more > 0 && kv_seq_must_copy(s, p)) {
        copy_last_page(s, p);
    }
    while (s->n_pages < kv_pages_for((uint64_t)s->n_tokens + n_more)) {
        s->pages[s->n_pages++] = take_page(p);
    }
    return true;
}

void kv_seq_truncate(struct kv_seq *s, struct kv_pool *p, uint32_t n_tokens)
{
    if (n_tokens < s->n_tokens) {
        s->n_tokens = n_tokens;
    }
    uint32_t kept = (uint32_t)kv_pages_for(s->n_tokens);
    while (s->n_pages > kept) {
        kv_page_release(p, s->pages[--s->n_pages]);
    }
}
