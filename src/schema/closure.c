/* closure.c - from readings to what may be read next. Operations that read nothing are followed
 * until leaves are reached; what is called in this is called once, with all its callers below
 * it, in the order in which calls can come about, so that the stack below each call is complete
 * when it is made. A text that can be read in several ways is one state with several readings.
 * source  the graph-structured stack of Tomita, with frames shared by structure and not by place */
#include "schema/automaton_internal.h"

#include "base/mem.h"
#include "schema/text_limit.h"

#include <stdlib.h>

enum { MAX_VISITS = 50000, MAX_EDGES = 100000 }; /* of a byte; what needs more is refused */

static const struct operation *operation(const struct automaton *a, uint32_t i)
{
    return &a->grammar->operations[i];
}

bool closure_init(struct automaton *a, struct error *e)
{
    size_t n = a->grammar->n_orders;
    struct closure *c = &a->closure;
    c->pending_of = mem_alloc(n, sizeof *c->pending_of, "grammar states", e);
    c->pending_orders = mem_alloc(n / 64 + 1, sizeof *c->pending_orders, "grammar states", e);
    return c->pending_of != NULL && c->pending_orders != NULL;
}

void closure_finish(struct automaton *a)
{
    struct closure *c = &a->closure;
    mem_free(c->visits.items);
    mem_free(c->found.items);
    mem_free(c->pending.items);
    mem_free(c->edges.items);
    mem_free(c->readings.items);
    mem_free(c->visit_index.slots);
    mem_free(c->pending_of);
    mem_free(c->pending_orders);
}

/* Forgets the last closure. */
static void begin(struct closure *c)
{
    for (uint32_t i = 0; i < c->visits.n; i++) {
        size_t at = ((const struct visit *)c->visits.items)[i].hash;
        for (; c->visit_index.slots[at & (c->visit_index.n_slots - 1)] != 0; at++) {
            c->visit_index.slots[at & (c->visit_index.n_slots - 1)] = 0;
        }
    }
    c->visits.n = c->n_done = c->found.n = c->pending.n = c->edges.n = 0;
    c->is_complete = c->is_too_large = false;
}

static uint32_t hash_visit(const struct visit *v)
{
    uint64_t h = ((uint64_t)v->operation << 32 | v->node) * 0x9E3779B97F4A7C15u;
    h = (h ^ h >> 32 ^ v->count ^ (v->is_fresh ? 1u << 31 : 0)) * 0xBF58476D1CE4E5B9u;
    return (uint32_t)(h >> 32);
}

/* Puts an operation of a frame on the list of those to follow, unless it is there or could not
 * come to an end within the depth of the stack. */
static bool visit(struct automaton *a, struct visit v, struct error *e)
{
    struct closure *c = &a->closure;
    a->n_steps++;
    uint32_t need = operation(a, v.operation)->need;
    if (need > GRAMMAR_MAX_STACK || automaton_node(a, v.node)->depth + need > GRAMMAR_MAX_STACK) {
        return true;
    }
    if (c->visits.n >= MAX_VISITS) {
        c->is_too_large = true;
        return true;
    }
    if (!index_make_room(&c->visit_index, c->visits.items, c->visits.n, sizeof v, e)) {
        return false;
    }
    v.hash = hash_visit(&v);
    size_t slot = v.hash;
    for (uint32_t i; (i = index_at(&c->visit_index, slot)) != AUTOMATON_UNKNOWN; slot++) {
        const struct visit *w = (const struct visit *)c->visits.items + i;
        if (w->operation == v.operation && w->node == v.node && w->count == v.count &&
            w->is_fresh == v.is_fresh) {
            return true;
        }
    }
    struct visit *place = pool_add(&c->visits, 1, sizeof v, MAX_VISITS, "grammar states", e);
    if (place == NULL) {
        return false;
    }
    *place = v;
    c->visit_index.slots[slot & (c->visit_index.n_slots - 1)] = c->visits.n;
    return true;
}

static bool visit_edge(struct automaton *a, struct stack_edge edge, struct error *e)
{
    return visit(
        a, (struct visit){.operation = edge.operation, .count = edge.count, .node = edge.parent},
        e);
}

/* What is on top of the node has ended. */
static bool visit_edges(struct automaton *a, uint32_t node, struct error *e)
{
    for (uint32_t i = 0; i < automaton_node(a, node)->n_edges; i++) {
        uint32_t at = automaton_node(a, node)->edges + i;
        if (!visit_edge(a, ((const struct stack_edge *)a->edges.items)[at], e)) {
            return false;
        }
    }
    return true;
}

/* --- calls and leaves that are met */

static bool add_pending(struct automaton *a, uint32_t order, struct stack_edge edge,
                        struct error *e)
{
    struct closure *c = &a->closure;
    if (c->pending.n >= MAX_EDGES) {
        c->is_too_large = true;
        return true;
    }
    struct pending_edge *place =
        pool_add(&c->pending, 1, sizeof *place, MAX_EDGES, "grammar states", e);
    if (place == NULL) {
        return false;
    }
    a->n_steps++;
    *place = (struct pending_edge){edge, c->pending_of[order]};
    c->pending_of[order] = c->pending.n;
    c->pending_orders[order / 64] |= (uint64_t)1 << order % 64;
    return true;
}

static bool add_found(struct automaton *a, struct found_reading f, struct error *e)
{
    struct closure *c = &a->closure;
    if (c->found.n >= MAX_EDGES) {
        c->is_too_large = true;
        return true;
    }
    struct found_reading *place =
        pool_add(&c->found, 1, sizeof *place, MAX_EDGES, "grammar states", e);
    if (place == NULL) {
        return false;
    }
    a->n_steps++;
    *place = f;
    return true;
}

/* Calls what begins at `entry`, which then goes on at edge; where that would only return, what is
 * below the frame takes its place, so that a tail's stack does not grow. */
static bool call(struct automaton *a, uint32_t entry, struct stack_edge edge, struct error *e)
{
    uint32_t order = operation(a, entry)->order;
    if (operation(a, edge.operation)->kind != OPERATION_RETURN) {
        return add_pending(a, order, edge, e);
    }
    for (uint32_t i = 0; i < automaton_node(a, edge.parent)->n_edges; i++) {
        uint32_t at = automaton_node(a, edge.parent)->edges + i;
        if (!add_pending(a, order, ((const struct stack_edge *)a->edges.items)[at], e)) {
            return false;
        }
    }
    return true;
}

static bool read_leaf(struct automaton *a, const struct operation *o, const struct visit *v,
                      struct error *e)
{
    const struct grammar *g = a->grammar;
    uint32_t start = o->n > 0 ? g->loops[o->n - 1].start : o->to;
    struct found_reading f = {.dfa = start, .loop = o->n, .node = AUTOMATON_UNKNOWN};
    if (start != 0 && g->has_next[start]) {
        f.edge = (struct stack_edge){o->next, 0, v->node};
        f.node = operation(a, o->next)->kind == OPERATION_RETURN ? v->node : AUTOMATON_UNKNOWN;
        if (!add_found(a, f, e)) {
            return false;
        }
    }
    bool is_nullable = o->n > 0 ? g->loops[o->n - 1].min == 0 : g->dfa.accepting[start];
    return !is_nullable ||
           visit(a, (struct visit){.operation = o->next, .node = v->node, .is_fresh = v->is_fresh},
                 e);
}

static bool repeat(struct automaton *a, const struct operation *o, const struct visit *v,
                   struct error *e)
{
    if (v->count >= o->min &&
        !visit(a, (struct visit){.operation = o->next, .node = v->node, .is_fresh = v->is_fresh},
               e)) {
        return false;
    }
    if (v->count >= o->max && o->max != GRAMMAR_UNLIMITED) {
        return true;
    }
    uint32_t count = v->count + 1;
    if (count == o->max) {
        return call(a, o->to, (struct stack_edge){o->next, 0, v->node}, e);
    }
    count = o->max == GRAMMAR_UNLIMITED && count > o->min ? o->min : count;
    return call(a, o->to, (struct stack_edge){v->operation, count, v->node}, e);
}

static bool follow(struct automaton *a, struct visit v, struct error *e)
{
    const struct operation *o = operation(a, v.operation);
    switch ((enum operation_kind)o->kind) {
    case OPERATION_LEAF:
        return read_leaf(a, o, &v, e);
    case OPERATION_SPLIT:
        for (uint32_t i = 0; i < o->n; i++) {
            v.operation = a->grammar->targets[o->to + i];
            v.count = 0;
            if (!visit(a, v, e)) {
                return false;
            }
        }
        return true;
    case OPERATION_CALL:
        if (!call(a, o->to, (struct stack_edge){o->next, 0, v.node}, e)) {
            return false;
        }
        v.operation = o->next;
        return !operation(a, o->to)->is_nullable || visit(a, v, e);
    case OPERATION_REPEAT:
        return repeat(a, o, &v, e);
    case OPERATION_RETURN:
        return v.is_fresh || visit_edges(a, v.node, e);
    case OPERATION_END:
        a->closure.is_complete = true;
        return true;
    }
    return true;
}

static bool follow_all(struct automaton *a, struct error *e)
{
    struct closure *c = &a->closure;
    while (c->n_done < c->visits.n) {
        if (!follow(a, ((const struct visit *)c->visits.items)[c->n_done++], e)) {
            return false;
        }
    }
    return true;
}

static bool add_edge(struct automaton *a, struct stack_edge edge, struct error *e)
{
    struct stack_edge *place =
        pool_add(&a->closure.edges, 1, sizeof *place, UINT32_MAX / 2, "grammar states", e);
    if (place != NULL) {
        *place = edge;
    }
    return place != NULL;
}

static bool follow_call(struct automaton *a, uint32_t order, struct error *e)
{
    struct closure *c = &a->closure;
    uint32_t i = c->pending_of[order], node;
    c->pending_of[order] = 0;
    c->edges.n = 0;
    for (; i > 0; i = ((const struct pending_edge *)c->pending.items)[i - 1].next) {
        if (!add_edge(a, ((const struct pending_edge *)c->pending.items)[i - 1].edge, e)) {
            return false;
        }
    }
    return stack_find_node(a, c->edges.items, c->edges.n, &node, e) &&
           visit(a,
                 (struct visit){
                     .operation = a->grammar->by_order[order], .node = node, .is_fresh = true},
                 e) &&
           follow_all(a, e);
}

/* --- the state that comes of it */

static int compare_found(const void *a, const void *b)
{
    const struct found_reading *x = a, *y = b;
    if (x->dfa != y->dfa) {
        return x->dfa < y->dfa ? -1 : 1;
    }
    if (x->loop != y->loop) {
        return x->loop < y->loop ? -1 : 1;
    }
    return x->count < y->count ? -1 : x->count > y->count;
}

/* Edges of found[0..n), which read the same, as one node. */
static bool merge_found(struct automaton *a, const struct found_reading *found, uint32_t n,
                        uint32_t *out, struct error *e)
{
    bool is_one = found[0].node != AUTOMATON_UNKNOWN;
    for (uint32_t i = 1; i < n && is_one; i++) {
        is_one = found[i].node == found[0].node;
    }
    if (is_one) {
        *out = found[0].node;
        return true;
    }
    a->closure.edges.n = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (found[i].node == AUTOMATON_UNKNOWN) {
            if (!add_edge(a, found[i].edge, e)) {
                return false;
            }
            continue;
        }
        const struct stack_node *node = automaton_node(a, found[i].node);
        for (uint32_t k = 0; k < node->n_edges; k++) {
            if (!add_edge(a, ((const struct stack_edge *)a->edges.items)[node->edges + k], e)) {
                return false;
            }
        }
    }
    return stack_find_node(a, a->closure.edges.items, a->closure.edges.n, out, e);
}

static bool make_state(struct automaton *a, uint32_t *out, struct error *e)
{
    struct closure *c = &a->closure;
    const struct found_reading *found = c->found.items;
    c->readings.n = 0;
    if (c->found.n > 1) {
        qsort(c->found.items, c->found.n, sizeof *found, compare_found);
    }
    for (uint32_t i = 0, end; i < c->found.n; i = end) {
        for (end = i + 1; end < c->found.n && compare_found(&found[i], &found[end]) == 0; end++) {
        }
        uint32_t node;
        if (!merge_found(a, found + i, end - i, &node, e)) {
            return false;
        }
        struct reading *place =
            pool_add(&c->readings, 1, sizeof *place, MAX_EDGES, "grammar states", e);
        if (place == NULL) {
            return false;
        }
        *place = (struct reading){found[i].dfa, found[i].loop, found[i].count, node};
    }
    return stack_find_state(a, c->readings.items, c->readings.n, c->is_complete, out, e);
}

/* Follows all that was put on the list, then calls, callers before what they call. */
static bool finish(struct automaton *a, uint32_t *out, struct error *e)
{
    struct closure *c = &a->closure;
    bool ok = follow_all(a, e);
    for (uint32_t word = 0; word <= a->grammar->n_orders / 64; word++) {
        while (c->pending_orders[word] != 0) {
            uint32_t bit = (uint32_t)__builtin_ctzll(c->pending_orders[word]);
            c->pending_orders[word] &= c->pending_orders[word] - 1;
            if (ok) {
                ok = follow_call(a, 64 * word + bit, e);
            } else {
                c->pending_of[64 * word + bit] = 0;
            }
        }
    }
    if (ok && c->is_too_large) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the grammar can be read in too many ways: more than %d places and %d "
                         "stacks after a byte",
                         MAX_VISITS, MAX_EDGES);
    }
    return ok && make_state(a, out, e);
}

bool closure_start(struct automaton *a, uint32_t *out, struct error *e)
{
    /* the frame below the root's: where the text may end */
    struct stack_edge end = {0, 0, 0};
    const struct operation *root = operation(a, a->grammar->root);
    begin(&a->closure);
    return (!root->is_nullable || visit_edge(a, end, e)) && add_pending(a, root->order, end, e) &&
           finish(a, out, e);
}

bool closure_after(struct automaton *a, uint32_t node, uint32_t *out, struct error *e)
{
    begin(&a->closure);
    bool ok = visit_edges(a, node, e);
    return finish(a, out, e) && ok;
}

/* r after a byte of the class; its leaf may have ended, too. */
static bool step_reading(struct automaton *a, struct reading r, uint32_t class, struct error *e)
{
    const struct grammar *g = a->grammar;
    uint32_t to = g->dfa.next[(size_t)r.dfa * g->dfa.n_classes + class];
    struct found_reading f = {.dfa = to, .loop = r.loop, .count = r.count, .node = r.node};
    if (to == 0) {
        return true;
    }
    bool ends = g->dfa.accepting[to], goes_on = g->has_next[to];
    const struct loop *loop = r.loop > 0 ? &g->loops[r.loop - 1] : NULL;
    if (loop != NULL && loop->is_limit) {
        f.count = text_limit_step(r.count, g->byte_of[class]);
        if (!text_limit_allows(g, loop, to, f.count)) {
            return true;
        }
    } else if (loop != NULL && ends) {
        f.dfa = loop->start;
        f.count = loop->max == GRAMMAR_UNLIMITED && r.count >= loop->min ? loop->min : r.count + 1;
        ends = f.count >= loop->min;
        goes_on = f.count < loop->max;
    }
    return (!ends || visit_edges(a, r.node, e)) && (!goes_on || add_found(a, f, e));
}

bool closure_step(struct automaton *a, uint32_t state, uint32_t class, uint32_t *out,
                  struct error *e)
{
    begin(&a->closure);
    bool ok = true;
    for (uint32_t i = 0; i < automaton_state(a, state)->n_readings && ok; i++) {
        uint32_t at = automaton_state(a, state)->readings + i;
        ok = step_reading(a, ((const struct reading *)a->readings.items)[at], class, e);
    }
    return finish(a, out, e) && ok;
}
