/* merge.h - the loop that both tokenizer models share: join the best pair of neighbours until no
 * pair can be joined, with a heap, so n symbols take O(n log n).
 * A struct merge is working memory of one caller; it grows and is reused from call to call. */
#ifndef TOKEN_MERGE_H
#define TOKEN_MERGE_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MERGE_END = UINT32_MAX };

struct merge_symbol {
    uint32_t id;         /* token, or TOKEN_NONE */
    uint32_t start, n;   /* bytes of the text; n == 0: joined into its left neighbour */
    uint32_t prev, next; /* indices, MERGE_END at the ends */
    uint32_t priority; /* of joining it with its right neighbour, MERGE_NEVER if they do not join */
    uint32_t joined_id; /* what the two become */
};

enum { MERGE_NEVER = UINT32_MAX };

struct merge {
    struct merge_symbol *symbols;
    size_t n_symbols, symbols_capacity;
    uint64_t *heap; /* priority << 32 | index of the left symbol; smallest on top */
    size_t n_heap, heap_capacity;
};

/* Says with what priority two neighbours join and what they become (*id); MERGE_NEVER when they do
 * not. Smaller goes first, and among equals the leftmost. */
typedef uint32_t merge_pair_fn(const void *context, const struct merge_symbol *left,
                               const struct merge_symbol *right, uint32_t *id);

void merge_finish(struct merge *m);

/* Forgets the symbols of the last text and makes room for n. */
bool merge_start(struct merge *m, size_t n, struct error *e);

/* Appends one symbol; merge_start made the room. */
static inline void merge_add(struct merge *m, uint32_t id, uint32_t start, uint32_t n)
{
    uint32_t i = (uint32_t)m->n_symbols++;
    m->symbols[i] = (struct merge_symbol){id, start, n, i - 1, i + 1, MERGE_NEVER, 0};
}

/* Joins pairs. Afterwards the result is symbol 0 and what follows by `next` (none if no symbol was
 * added). ERROR_MEMORY is the only failure. */
bool merge_run(struct merge *m, merge_pair_fn *pair, const void *context, struct error *e);

#endif
