/* merge.c - binary heap of candidate pairs over a doubly linked list of symbols. */
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

static bool heap_push(struct merge *m, struct merge_candidate c, struct error *e)
{
    if (m->n_heap == m->heap_capacity) {
        size_t capacity = m->heap_capacity > 0 ? m->heap_capacity * 2 : 64;
        struct merge_candidate *heap =
            mem_resize(m->heap, capacity, sizeof *heap, "pairs to merge", e);
        if (heap == NULL) {
            return false;
        }
        m->heap = heap;
        m->heap_capacity = capacity;
    }
    size_t i = m->n_heap++;
    while (i > 0 && c.key < m->heap[(i - 1) / 2].key) {
        m->heap[i] = m->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    m->heap[i] = c;
    return true;
}

static struct merge_candidate heap_pop(struct merge *m)
{
    struct merge_candidate top = m->heap[0];
    struct merge_candidate last = m->heap[--m->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= m->n_heap) {
            break;
        }
        if (child + 1 < m->n_heap && m->heap[child + 1].key < m->heap[child].key) {
            child++;
        }
        if (last.key <= m->heap[child].key) {
            break;
        }
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = last;
    return top;
}

/* Enters the pair that begins at symbol i, if there is one and it can be joined. */
static bool consider(struct merge *m, uint32_t i, merge_pair_fn *pair, const void *context,
                     struct error *e)
{
    if (i == MERGE_END || m->symbols[i].next == MERGE_END) {
        return true;
    }
    const struct merge_symbol *left = &m->symbols[i];
    const struct merge_symbol *right = &m->symbols[left->next];
    uint32_t priority = 0;
    uint32_t id = 0;
    if (!pair(context, left, right, &priority, &id)) {
        return true;
    }
    struct merge_candidate c = {(uint64_t)priority << 32 | i, left->n + right->n, id};
    return heap_push(m, c, e);
}

/* Still there as entered: both symbols only ever grow, so equal bytes mean nothing changed. */
static bool is_current(const struct merge *m, const struct merge_candidate *c)
{
    const struct merge_symbol *left = &m->symbols[(uint32_t)c->key];
    return left->n > 0 && left->next != MERGE_END && left->n + m->symbols[left->next].n == c->n;
}

static void join(struct merge *m, uint32_t i, uint32_t id)
{
    struct merge_symbol *left = &m->symbols[i];
    struct merge_symbol *right = &m->symbols[left->next];
    left->id = id;
    left->n += right->n;
    left->next = right->next;
    right->n = 0;
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
    for (uint32_t i = 0; i + 1 < m->n_symbols; i++) {
        if (!consider(m, i, pair, context, e)) {
            return false;
        }
    }
    while (m->n_heap > 0) {
        struct merge_candidate c = heap_pop(m);
        if (!is_current(m, &c)) {
            continue;
        }
        uint32_t i = (uint32_t)c.key;
        join(m, i, c.id);
        if (!consider(m, m->symbols[i].prev, pair, context, e) ||
            !consider(m, i, pair, context, e)) {
            return false;
        }
    }
    return true;
}
