/* merge.c - heap of candidate pairs over a doubly linked list of symbols. */
#include "token/merge.h"

#include "base/mem.h"

void merge_finish(struct merge *m)
{
    mem_free(m->symbols);
    mem_free(m->heap);
    *m = (struct merge){0};
}

bool merge_start(struct merge *m, size_t n, struct error *e)
{
    m->n_symbols = 0;
    m->n_heap = 0;
    if (n >= MERGE_END) {
        return error_set(e, ERROR_MEMORY, "text of %zu symbols without a break, at most %u", n,
                         MERGE_END - 1);
    }
    if (n <= m->symbols_capacity) {
        return true;
    }
    size_t capacity = n < 64 ? 64 : n;
    struct merge_symbol *symbols =
        mem_resize(m->symbols, capacity, sizeof *symbols, "text symbols", e);
    if (symbols == NULL) {
        return false;
    }
    m->symbols = symbols;
    m->symbols_capacity = capacity;
    return true;
}

/* Four children a node: half the depth of a binary heap, and children share a cache line. */
enum { HEAP_WIDTH = 4 };

static bool heap_push(struct merge *m, uint64_t key, struct error *e)
{
    if (m->n_heap == m->heap_capacity) {
        size_t capacity = m->heap_capacity > 0 ? m->heap_capacity * 2 : 128;
        uint64_t *heap = mem_resize(m->heap, capacity, sizeof *heap, "pairs to merge", e);
        if (heap == NULL) {
            return false;
        }
        m->heap = heap;
        m->heap_capacity = capacity;
    }
    size_t i = m->n_heap++;
    while (i > 0 && key < m->heap[(i - 1) / HEAP_WIDTH]) {
        m->heap[i] = m->heap[(i - 1) / HEAP_WIDTH];
        i = (i - 1) / HEAP_WIDTH;
    }
    m->heap[i] = key;
    return true;
}

static uint64_t heap_pop(struct merge *m)
{
    uint64_t top = m->heap[0];
    uint64_t last = m->heap[--m->n_heap];
    size_t i = 0;
    for (size_t first = 1; first < m->n_heap; first = HEAP_WIDTH * i + 1) {
        size_t end = first + HEAP_WIDTH < m->n_heap ? first + HEAP_WIDTH : m->n_heap;
        size_t least = first;
        for (size_t child = first + 1; child < end; child++) {
            least = m->heap[child] < m->heap[least] ? child : least;
        }
        if (last <= m->heap[least]) {
            break;
        }
        m->heap[i] = m->heap[least];
        i = least;
    }
    m->heap[i] = last;
    return top;
}

/* Asks about the pair that begins at symbol i, and enters it if it can be joined. */
static bool consider(struct merge *m, uint32_t i, merge_pair_fn *pair, const void *context,
                     struct error *e)
{
    if (i == MERGE_END) {
        return true;
    }
    struct merge_symbol *left = &m->symbols[i];
    left->priority = MERGE_NEVER;
    if (left->next != MERGE_END) {
        left->priority = pair(context, left, &m->symbols[left->next], &left->joined_id);
    }
    return left->priority == MERGE_NEVER || heap_push(m, (uint64_t)left->priority << 32 | i, e);
}

static void join(struct merge *m, uint32_t i)
{
    struct merge_symbol *left = &m->symbols[i];
    struct merge_symbol *right = &m->symbols[left->next];
    left->id = left->joined_id;
    left->n += right->n;
    left->next = right->next;
    right->n = 0;
    right->priority = MERGE_NEVER;
    if (left->next != MERGE_END) {
        m->symbols[left->next].prev = i;
    }
}

bool merge_run(struct merge *m, merge_pair_fn *pair, const void *context, struct error *e)
{
    if (m->n_symbols == 0) {
        return true;
    }
    m->symbols[0].prev = MERGE_END;
    m->symbols[m->n_symbols - 1].next = MERGE_END;
    for (uint32_t i = 0; i < m->n_symbols; i++) {
        if (!consider(m, i, pair, context, e)) {
            return false;
        }
    }
    while (m->n_heap > 0) {
        uint64_t key = heap_pop(m);
        uint32_t i = (uint32_t)key;
        if (m->symbols[i].priority != key >> 32) {
            continue; /* one of the two has been joined with another since */
        }
        join(m, i);
        if (!consider(m, m->symbols[i].prev, pair, context, e) ||
            !consider(m, i, pair, context, e)) {
            return false;
        }
    }
    return true;
}
