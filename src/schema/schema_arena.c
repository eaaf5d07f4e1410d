/* schema_arena.c - blocks of memory in a chain. */
#include "schema/schema_arena.h"

#include "base/mem.h"

#include <stdalign.h>
#include <string.h>

enum { BLOCK_BYTES = 32 << 10 };

struct schema_arena_block {
    struct schema_arena_block *before;
    size_t n, capacity;
    alignas(max_align_t) char bytes[];
};

void schema_arena_init(struct schema_arena *a, size_t max_bytes)
{
    *a = (struct schema_arena){.max_bytes = max_bytes};
}

void schema_arena_finish(struct schema_arena *a)
{
    while (a->last != NULL) {
        struct schema_arena_block *before = a->last->before;
        mem_free(a->last);
        a->last = before;
    }
    a->n_bytes = 0;
}

static bool add_block(struct schema_arena *a, size_t n_bytes, struct error *e)
{
    size_t capacity = n_bytes > BLOCK_BYTES ? n_bytes : BLOCK_BYTES;
    if (capacity > a->max_bytes - a->n_bytes) {
        return error_set(e, ERROR_UNSUPPORTED, "it takes more than %zu bytes of memory",
                         a->max_bytes);
    }
    struct schema_arena_block *block =
        mem_alloc(sizeof *block + capacity, 1, "memory of a schema", e);
    if (block == NULL) {
        return false;
    }
    block->before = a->last;
    block->capacity = capacity;
    a->last = block;
    a->n_bytes += capacity;
    return true;
}

void *schema_arena_take(struct schema_arena *a, size_t n, size_t size, struct error *e)
{
    enum { ALIGNMENT = alignof(max_align_t) };
    size_t n_bytes = 0;
    if (!mem_mul(n, size, &n_bytes) || !mem_add(n_bytes, ALIGNMENT - 1, &n_bytes)) {
        error_set(e, ERROR_UNSUPPORTED, "it takes more than %zu bytes of memory", a->max_bytes);
        return NULL;
    }
    n_bytes = n_bytes / ALIGNMENT * ALIGNMENT;
    if ((a->last == NULL || n_bytes > a->last->capacity - a->last->n) &&
        !add_block(a, n_bytes, e)) {
        return NULL;
    }
    void *p = a->last->bytes + a->last->n;
    a->last->n += n_bytes;
    return p;
}

void *schema_arena_copy(struct schema_arena *a, const void *p, size_t n, size_t n_more, size_t size,
                        struct error *e)
{
    size_t total = 0;
    if (!mem_add(n, n_more, &total)) {
        error_set(e, ERROR_UNSUPPORTED, "it takes more than %zu bytes of memory", a->max_bytes);
        return NULL;
    }
    void *copy = schema_arena_take(a, total, size, e);
    if (copy != NULL && n > 0) {
        memcpy(copy, p, n * size);
    }
    return copy;
}
