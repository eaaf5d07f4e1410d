/* stack.c - stacks and states of an automaton: each distinct one is kept once and has a number. */
#include "schema/automaton_internal.h"

#include "base/mem.h"

#include <stdlib.h>

static uint32_t hash_words(const void *words, size_t n_bytes, uint64_t seed)
{
    uint64_t h = seed ^ 0x9E3779B97F4A7C15u;
    for (size_t i = 0; i + 4 <= n_bytes; i += 4) {
        uint32_t w;
        memcpy(&w, (const char *)words + i, sizeof w);
        h = (h ^ w) * 0xBF58476D1CE4E5B9u;
        h ^= h >> 29;
    }
    return (uint32_t)(h ^ h >> 32);
}

bool index_make_room(struct index *x, const void *items, uint32_t n, size_t size, struct error *e)
{
    if (2 * ((size_t)n + 1) <= x->n_slots) {
        return true;
    }
    size_t n_slots = x->n_slots > 0 ? 2 * x->n_slots : 256;
    uint32_t *slots = mem_alloc(n_slots, sizeof *slots, "grammar states", e);
    if (slots == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t hash;
        memcpy(&hash, (const char *)items + i * size, sizeof hash);
        size_t at = hash;
        while (slots[at & (n_slots - 1)] != 0) {
            at++;
        }
        slots[at & (n_slots - 1)] = i + 1;
    }
    mem_free(x->slots);
    x->slots = slots;
    x->n_slots = n_slots;
    return true;
}

/* --- nodes */

static int compare_edges(const void *a, const void *b)
{
    const struct stack_edge *x = a, *y = b;
    if (x->operation != y->operation) {
        return x->operation < y->operation ? -1 : 1;
    }
    if (x->count != y->count) {
        return x->count < y->count ? -1 : 1;
    }
    return x->parent < y->parent ? -1 : x->parent > y->parent;
}

static uint32_t sort_edges(struct stack_edge *edges, uint32_t n)
{
    if (n < 2) {
        return n;
    }
    qsort(edges, n, sizeof *edges, compare_edges);
    uint32_t n_kept = 1;
    for (uint32_t i = 1; i < n; i++) {
        if (compare_edges(&edges[i], &edges[n_kept - 1]) != 0) {
            edges[n_kept++] = edges[i];
        }
    }
    return n_kept;
}

bool stack_find_node(struct automaton *a, struct stack_edge *edges, uint32_t n, uint32_t *out,
                     struct error *e)
{
    n = sort_edges(edges, n);
    uint32_t hash = hash_words(edges, n * sizeof *edges, n);
    if (!index_make_room(&a->node_index, a->nodes.items, a->nodes.n, sizeof(struct stack_node),
                         e)) {
        return false;
    }
    size_t slot = hash;
    for (uint32_t i; (i = index_at(&a->node_index, slot)) != AUTOMATON_UNKNOWN; slot++) {
        const struct stack_node *node = automaton_node(a, i);
        if (node->hash == hash && node->n_edges == n &&
            (n == 0 || memcmp((const struct stack_edge *)a->edges.items + node->edges, edges,
                              n * sizeof *edges) == 0)) {
            *out = i;
            return true;
        }
    }
    struct stack_node node = {
        .hash = hash, .edges = a->edges.n, .n_edges = n, .after = AUTOMATON_UNKNOWN};
    for (uint32_t i = 0; i < n; i++) {
        uint32_t depth = edges[i].parent > 0 ? automaton_node(a, edges[i].parent)->depth + 1 : 0;
        node.depth = depth > node.depth ? depth : node.depth;
    }
    struct stack_node *place =
        pool_add(&a->nodes, 1, sizeof node, UINT32_MAX / 2, "grammar states", e);
    struct stack_edge *copy =
        place != NULL ? pool_add(&a->edges, n, sizeof *edges, UINT32_MAX / 2, "grammar states", e)
                      : NULL;
    if (copy == NULL) {
        a->nodes.n -= place != NULL;
        return false;
    }
    *place = node;
    if (n > 0) {
        memcpy(copy, edges, n * sizeof *edges);
    }
    a->node_index.slots[slot & (a->node_index.n_slots - 1)] = a->nodes.n;
    *out = a->nodes.n - 1;
    return true;
}

/* --- states */

bool stack_find_state(struct automaton *a, const struct reading *readings, uint32_t n,
                      bool is_complete, uint32_t *out, struct error *e)
{
    uint32_t hash = hash_words(readings, n * sizeof *readings, n + (is_complete ? 1u << 31 : 0));
    if (!index_make_room(&a->state_index, a->states.items, a->states.n, sizeof(struct state), e)) {
        return false;
    }
    size_t slot = hash;
    for (uint32_t i; (i = index_at(&a->state_index, slot)) != AUTOMATON_UNKNOWN; slot++) {
        const struct state *s = automaton_state(a, i);
        if (s->hash == hash && s->n_readings == n && s->is_complete == is_complete &&
            i != AUTOMATON_ENDED &&
            (n == 0 || memcmp((const struct reading *)a->readings.items + s->readings, readings,
                              n * sizeof *readings) == 0)) {
            *out = i;
            return true;
        }
    }
    struct state *place =
        pool_add(&a->states, 1, sizeof *place, UINT32_MAX / 2, "grammar states", e);
    struct reading *copy = place != NULL ? pool_add(&a->readings, n, sizeof *readings,
                                                    UINT32_MAX / 2, "grammar states", e)
                                         : NULL;
    if (copy == NULL) {
        a->states.n -= place != NULL;
        return false;
    }
    if (n > 0) {
        memcpy(copy, readings, n * sizeof *readings);
    }
    *place = (struct state){.hash = hash,
                            .readings = a->readings.n - n,
                            .n_readings = n,
                            .row = AUTOMATON_UNKNOWN,
                            .mask = AUTOMATON_UNKNOWN,
                            .is_complete = is_complete};
    a->state_index.slots[slot & (a->state_index.n_slots - 1)] = a->states.n;
    *out = a->states.n - 1;
    return true;
}
