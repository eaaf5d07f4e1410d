/* schema_arena.h - memory of one compilation of a schema: taken piece by piece, given back at once,
 * with a maximum. One owner, no locks. */
#ifndef SCHEMA_SCHEMA_ARENA_H
#define SCHEMA_SCHEMA_ARENA_H

#include "base/error.h"

#include <stddef.h>

struct schema_arena {
    struct schema_arena_block *last;
    size_t n_bytes, max_bytes; /* of all blocks */
};

void schema_arena_init(struct schema_arena *a, size_t max_bytes);
void schema_arena_finish(struct schema_arena *a);

/* Zeroed memory for n objects of `size` bytes, aligned for any. NULL: ERROR_UNSUPPORTED beyond the
 * maximum, ERROR_MEMORY. */
void *schema_arena_take(struct schema_arena *a, size_t n, size_t size, struct error *e);

/* A copy of n objects with room for n_more zeroed ones behind. p may be NULL when n is 0. */
void *schema_arena_copy(struct schema_arena *a, const void *p, size_t n, size_t n_more, size_t size,
                        struct error *e);

#endif
