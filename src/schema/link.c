/* link.c - the last part of compiling: one minimal automaton of all leaves, so that equal parts of
 * different leaves are the same states and share what is cached of them; and of every operation
 * whether it may read nothing, how deep a stack it needs, and an order of calls. */
#include "schema/compile_internal.h"

#include "base/mem.h"
#include "schema/text_limit.h"

enum {
    MAX_TABLE = 6000000, /* transitions of all leaves together */
    NEVER = UINT32_MAX
};

struct edge {
    uint32_t from, to;
};

struct linking {
    struct compilation *k;
    struct grammar *g;
    uint32_t *begins;    /* (n_operations + 2) users of an operation, in users */
    uint32_t *users;     /* (n_users) operations that go on at it or call it */
    uint32_t *queue;     /* (n_operations + n_users) */
    uint32_t *procedure; /* (n_operations) number of the one that begins here + 1 */
    struct pool calls;   /* struct edge: procedures called before any byte */
};

/* --- leaves */

static const struct dfa *leaf(const struct compilation *k, uint32_t i)
{
    return (const struct dfa *)k->leaves.items + i;
}

static bool has_limit(const struct compilation *k)
{
    uint32_t i = 0;
    while (i < k->loops.n && !((const struct loop *)k->loops.items)[i].is_limit) {
        i++;
    }
    return i < k->loops.n;
}

static void find_classes(const struct compilation *k, struct dfa *all, uint8_t byte_of[256])
{
    bool begins[256] = {false};
    if (has_limit(k)) {
        text_limit_cut_classes(begins);
    }
    for (uint32_t i = 0; i < k->leaves.n; i++) {
        for (uint32_t b = 1; b < 256; b++) {
            begins[b] = begins[b] || leaf(k, i)->class_of[b] != leaf(k, i)->class_of[b - 1];
        }
    }
    all->n_classes = 1;
    byte_of[0] = 0;
    for (uint32_t b = 1; b < 256; b++) {
        if (begins[b]) {
            byte_of[all->n_classes++] = (uint8_t)b;
        }
        all->class_of[b] = (uint8_t)(all->n_classes - 1);
    }
}

/* Side by side; starts[i] is the start of leaf i. */
static bool join_leaves(struct compilation *k, struct dfa *all, uint8_t byte_of[256],
                        uint32_t *starts)
{
    uint64_t n_states = 1;
    find_classes(k, all, byte_of);
    for (uint32_t i = 0; i < k->leaves.n; i++) {
        n_states += leaf(k, i)->n_states - 1;
    }
    if (n_states * all->n_classes > MAX_TABLE) {
        return error_set(
            k->error, ERROR_UNSUPPORTED,
            "too large: %llu states of automata over %u classes of bytes, at most %d of "
            "both multiplied",
            (unsigned long long)n_states, all->n_classes, MAX_TABLE);
    }
    all->n_states = (uint32_t)n_states;
    all->next =
        mem_alloc(n_states * all->n_classes, sizeof *all->next, "grammar automaton", k->error);
    all->accepting = mem_alloc(n_states, sizeof *all->accepting, "grammar automaton", k->error);
    if (all->next == NULL || all->accepting == NULL) {
        return false;
    }
    uint32_t base = 0; /* state s of the leaf is base + s */
    for (uint32_t i = 0; i < k->leaves.n; i++) {
        const struct dfa *d = leaf(k, i);
        uint8_t class_of[256]; /* of the leaf, by those of all */
        for (uint32_t c = 0; c < all->n_classes; c++) {
            class_of[c] = d->class_of[byte_of[c]];
        }
        starts[i] = d->start == 0 ? 0 : base + d->start;
        for (uint32_t s = 1; s < d->n_states; s++) {
            uint32_t *row = all->next + (size_t)(base + s) * all->n_classes;
            for (uint32_t c = 0; c < all->n_classes; c++) {
                uint32_t to = d->next[(size_t)s * d->n_classes + class_of[c]];
                row[c] = to == 0 ? 0 : base + to;
            }
            all->accepting[base + s] = d->accepting[s];
        }
        base += d->n_states - 1;
    }
    return dfa_spend(&k->steps, n_states * all->n_classes / 8, k->error);
}

static bool find_has_next(struct linking *l)
{
    struct grammar *g = l->g;
    g->has_next = mem_alloc(g->dfa.n_states, sizeof *g->has_next, "grammar automaton", l->k->error);
    if (g->has_next == NULL) {
        return false;
    }
    for (uint32_t s = 0; s < g->dfa.n_states; s++) {
        const uint32_t *row = g->dfa.next + (size_t)s * g->dfa.n_classes;
        for (uint32_t c = 0; c < g->dfa.n_classes && !g->has_next[s]; c++) {
            g->has_next[s] = row[c] != 0;
        }
    }
    return true;
}

/* What limits need to know of all states that they reach. */
static bool find_least(struct linking *l)
{
    struct compilation *k = l->k;
    struct grammar *g = l->g;
    uint32_t *starts = mem_alloc(k->loops.n, sizeof *starts, "grammar automaton", k->error);
    uint32_t n = 0;
    if (starts == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < k->loops.n; i++) {
        const struct loop *loop = (const struct loop *)k->loops.items + i;
        starts[n] = loop->start;
        n += loop->is_limit;
    }
    g->least = text_limit_find_least(&g->dfa, starts, n, &k->steps, k->error);
    mem_free(starts);
    for (uint32_t i = 0; g->least != NULL && i < TEXT_LIMIT_PLACES * g->dfa.n_states; i++) {
        bool is_more = g->least[i] != TEXT_LIMIT_NEVER && g->least[i] > g->most_least;
        g->most_least = is_more ? g->least[i] : g->most_least;
    }
    return g->least != NULL;
}

static bool link_leaves(struct linking *l)
{
    struct compilation *k = l->k;
    struct dfa *all = &l->g->dfa;
    uint32_t *starts = mem_alloc(k->leaves.n, sizeof *starts, "grammar automaton", k->error);
    uint32_t *map = NULL;
    bool ok = starts != NULL && join_leaves(k, all, l->g->byte_of, starts);
    if (ok) {
        map = mem_alloc(all->n_states, sizeof *map, "grammar automaton", k->error);
        ok = map != NULL && dfa_minimize(all, map, &k->steps, k->error) && find_has_next(l);
    }
    for (uint32_t i = 0; i < k->operations.n && ok; i++) {
        struct operation *o = compile_operation(k, i);
        if (o->kind == OPERATION_LEAF) {
            o->to = map[starts[o->to]];
        }
    }
    for (uint32_t i = 0; i < k->loops.n && ok; i++) {
        struct loop *loop = (struct loop *)k->loops.items + i;
        loop->start = map[starts[loop->start]];
    }
    ok = ok && (!has_limit(k) || find_least(l));
    mem_free(starts);
    mem_free(map);
    return ok;
}

/* --- who goes on where */

/* The operations that o depends on, into ways (2, or its targets). */
static uint32_t ways_of(const struct compilation *k, const struct operation *o, uint32_t buffer[2],
                        const uint32_t **ways)
{
    *ways = buffer;
    buffer[0] = o->next;
    buffer[1] = o->to;
    switch ((enum operation_kind)o->kind) {
    case OPERATION_LEAF:
        return 1;
    case OPERATION_CALL:
    case OPERATION_REPEAT:
        return 2;
    case OPERATION_SPLIT:
        *ways = (const uint32_t *)k->targets.items + o->to;
        return o->n;
    case OPERATION_RETURN:
    case OPERATION_END:
        break;
    }
    return 0;
}

static bool find_users(struct linking *l)
{
    struct compilation *k = l->k;
    uint32_t n = k->operations.n, buffer[2];
    const uint32_t *ways;
    l->begins = mem_alloc((size_t)n + 2, sizeof *l->begins, "grammar", k->error);
    if (l->begins == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t n_ways = ways_of(k, compile_operation(k, i), buffer, &ways);
        for (uint32_t w = 0; w < n_ways; w++) {
            l->begins[ways[w] + 2]++;
        }
    }
    for (uint32_t i = 2; i < n + 2; i++) {
        l->begins[i] += l->begins[i - 1];
    }
    size_t n_users = l->begins[n + 1];
    l->users = mem_alloc(n_users, sizeof *l->users, "grammar", k->error);
    l->queue = mem_alloc(n_users + n, sizeof *l->queue, "grammar", k->error);
    if (l->users == NULL || l->queue == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t n_ways = ways_of(k, compile_operation(k, i), buffer, &ways);
        for (uint32_t w = 0; w < n_ways; w++) {
            l->users[l->begins[ways[w] + 1]++] = i;
        }
    }
    return dfa_spend(&k->steps, n_users + n, k->error);
}

/* --- what may read nothing */

static bool is_leaf_nullable(const struct linking *l, const struct operation *o)
{
    return o->n > 0 ? ((const struct loop *)l->k->loops.items + o->n - 1)->min == 0
                    : l->g->dfa.accepting[o->to];
}

/* o, which depends on something nullable. */
static bool becomes_nullable(const struct linking *l, const struct operation *o)
{
    const struct compilation *k = l->k;
    switch ((enum operation_kind)o->kind) {
    case OPERATION_SPLIT:
        return true;
    case OPERATION_LEAF:
        return is_leaf_nullable(l, o);
    case OPERATION_CALL:
        return compile_operation(k, o->to)->is_nullable &&
               compile_operation(k, o->next)->is_nullable;
    case OPERATION_REPEAT:
        return compile_operation(k, o->next)->is_nullable &&
               (o->min == 0 || compile_operation(k, o->to)->is_nullable);
    case OPERATION_RETURN:
    case OPERATION_END:
        break;
    }
    return false;
}

static void find_nullable(struct linking *l)
{
    struct compilation *k = l->k;
    uint32_t n = 0;
    for (uint32_t i = 0; i < k->operations.n; i++) {
        if (compile_operation(k, i)->kind == OPERATION_RETURN) {
            compile_operation(k, i)->is_nullable = true;
            l->queue[n++] = i;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t u = l->begins[l->queue[i]]; u < l->begins[l->queue[i] + 1]; u++) {
            struct operation *o = compile_operation(k, l->users[u]);
            if (!o->is_nullable && becomes_nullable(l, o)) {
                o->is_nullable = true;
                l->queue[n++] = l->users[u];
            }
        }
    }
    for (uint32_t i = 0; i < k->operations.n; i++) {
        struct operation *o = compile_operation(k, i);
        if (o->kind == OPERATION_REPEAT && compile_operation(k, o->to)->is_nullable) {
            o->min = 0; /* the same texts, and no time that counts and reads nothing */
        }
    }
}

/* --- how deep a stack is needed */

/* What o needs by what is known of its ways; NEVER: not known yet. */
static uint32_t need_of(const struct linking *l, const struct operation *o)
{
    const struct compilation *k = l->k;
    uint32_t after = o->kind == OPERATION_SPLIT ? NEVER : compile_operation(k, o->next)->need;
    if (o->kind == OPERATION_LEAF) {
        return o->to == 0 && !is_leaf_nullable(l, o) ? NEVER : after;
    }
    if (o->kind == OPERATION_SPLIT) {
        for (uint32_t i = 0; i < o->n; i++) {
            uint32_t target = ((const uint32_t *)k->targets.items)[o->to + i];
            uint32_t need = compile_operation(k, target)->need;
            after = need < after ? need : after;
        }
        return after;
    }
    if (after == NEVER || (o->kind == OPERATION_REPEAT && o->min == 0)) {
        return after;
    }
    bool is_tail =
        o->kind == OPERATION_CALL && compile_operation(k, o->next)->kind == OPERATION_RETURN;
    uint32_t inner = compile_operation(k, o->to)->need;
    inner = inner == NEVER || is_tail ? inner : inner + 1;
    return inner > after ? inner : after;
}

/* Those that need nothing first, then those that need one call, and so on: what is known first is
 * the least. */
static bool find_need(struct linking *l)
{
    struct compilation *k = l->k;
    uint32_t n = 0, n_known = 0, n_before = 0;
    for (uint32_t i = 0; i < k->operations.n; i++) {
        struct operation *o = compile_operation(k, i);
        bool ends = o->kind == OPERATION_RETURN || o->kind == OPERATION_END;
        o->need = ends ? 0 : NEVER;
        if (ends) {
            l->queue[n++] = i;
        }
    }
    for (uint32_t level = 0; level <= GRAMMAR_MAX_STACK; level++) {
        /* users of what is known, as long as some need no more than this level */
        for (; n_known < n; n_known++) {
            for (uint32_t u = l->begins[l->queue[n_known]]; u < l->begins[l->queue[n_known] + 1];
                 u++) {
                struct operation *o = compile_operation(k, l->users[u]);
                if (o->need == NEVER && need_of(l, o) <= level) {
                    o->need = level;
                    l->queue[n++] = l->users[u];
                }
            }
        }
        if (n == n_before) {
            break;
        }
        /* those that call what needed this level need one more: look at them again */
        uint32_t from = n_before;
        n_before = n;
        for (uint32_t i = from; i < n_before && level < GRAMMAR_MAX_STACK; i++) {
            for (uint32_t u = l->begins[l->queue[i]]; u < l->begins[l->queue[i] + 1]; u++) {
                struct operation *o = compile_operation(k, l->users[u]);
                if (o->need == NEVER && need_of(l, o) <= level + 1) {
                    o->need = level + 1;
                    l->queue[n++] = l->users[u];
                }
            }
        }
        if (!dfa_spend(&k->steps, n - from + 1, k->error)) {
            return false;
        }
    }
    return true;
}

/* --- the order of calls */

static const struct procedure *procedure(const struct linking *l, uint32_t i)
{
    return (const struct procedure *)l->k->waiting.items + i;
}

static bool add_call(struct linking *l, uint32_t from, uint32_t to)
{
    struct edge *edge =
        pool_add(&l->calls, 1, sizeof *edge, SIZE_MAX / 2, "grammar states", l->k->error);
    if (edge != NULL) {
        *edge = (struct edge){from, l->procedure[to] - 1};
    }
    return edge != NULL;
}

/* Adds what procedure p calls before it has read a byte. seen[o] == p + 1: was there. */
static bool find_first_calls(struct linking *l, uint32_t p, uint32_t *seen)
{
    const struct compilation *k = l->k;
    uint32_t n = 0, buffer[2];
    l->queue[n++] = procedure(l, p)->entry;
    while (n > 0) {
        uint32_t i = l->queue[--n];
        const struct operation *o = compile_operation(k, i);
        const uint32_t *ways;
        if (seen[i] == p + 1) {
            continue;
        }
        seen[i] = p + 1;
        bool calls = o->kind == OPERATION_CALL || o->kind == OPERATION_REPEAT;
        if (calls && !add_call(l, p, o->to)) {
            return false;
        }
        bool goes_on = o->kind == OPERATION_LEAF     ? is_leaf_nullable(l, o)
                       : o->kind == OPERATION_CALL   ? compile_operation(k, o->to)->is_nullable
                       : o->kind == OPERATION_REPEAT ? o->min == 0
                                                     : true;
        uint32_t n_ways = ways_of(k, o, buffer, &ways);
        for (uint32_t w = 0; goes_on && w < (calls ? 1 : n_ways); w++) {
            l->queue[n++] = ways[w];
        }
    }
    return true;
}

static bool refuse_left_recursion(const struct linking *l, const uint32_t *path, uint32_t n,
                                  uint32_t again)
{
    char names[160] = "";
    size_t used = 0;
    uint32_t from = 0;
    while (path[from] != again) {
        from++;
    }
    for (uint32_t i = from; i <= n; i++) {
        uint32_t rule = procedure(l, i < n ? path[i] : again)->rule;
        struct str name =
            rule == GRAMMAR_NONE ? STR("(group)") : builder_rule(l->k->builder, rule)->name;
        size_t room = sizeof names - 8 - used;
        if (name.n + 4 > room) {
            memcpy(names + used, " ...", 5);
            break;
        }
        if (i > from) {
            memcpy(names + used, " -> ", 4);
            used += 4;
        }
        memcpy(names + used, name.p, name.n);
        used += name.n;
    }
    return error_set(l->k->error, ERROR_USAGE, "left recursion: %s, before a character is read",
                     names);
}

struct visit {
    uint32_t *next;   /* (n) call of a procedure to be followed next, UINT32_MAX: all were */
    uint32_t *path;   /* (n) */
    uint32_t *begins; /* (n + 2) calls of a procedure in calls */
    uint8_t *state;   /* (n) 0 new, 1 on the path, 2 done */
};

/* Callers come before what they call: numbers are given from the last. */
static bool visit_procedure(struct linking *l, struct visit *v, uint32_t start, uint32_t *order)
{
    const struct edge *calls = l->calls.items;
    uint32_t n = 0;
    v->path[n++] = start;
    v->state[start] = 1;
    while (n > 0) {
        uint32_t p = v->path[n - 1];
        if (v->next[p] == v->begins[p + 1]) {
            v->state[p] = 2;
            n--;
            compile_operation(l->k, procedure(l, p)->entry)->order = --*order;
            l->g->by_order[*order] = procedure(l, p)->entry;
            continue;
        }
        uint32_t to = calls[v->next[p]++].to;
        if (v->state[to] == 1) {
            return refuse_left_recursion(l, v->path, n, to);
        }
        if (v->state[to] == 0) {
            v->state[to] = 1;
            v->path[n++] = to;
        }
    }
    return true;
}

/* Calls are listed procedure by procedure, so that begins are where they change. */
static bool order_procedures(struct linking *l, struct visit *v)
{
    const struct edge *calls = l->calls.items;
    uint32_t n = l->k->waiting.n, at = 0, order = n;
    for (uint32_t p = 0; p < n; p++) {
        v->begins[p] = v->next[p] = at;
        while (at < l->calls.n && calls[at].from == p) {
            at++;
        }
    }
    v->begins[n] = at;
    for (uint32_t p = 0; p < n; p++) {
        if (v->state[p] == 0 && !visit_procedure(l, v, p, &order)) {
            return false;
        }
    }
    return true;
}

static bool find_order(struct linking *l)
{
    struct compilation *k = l->k;
    uint32_t n = k->waiting.n;
    uint32_t *seen = mem_alloc(k->operations.n, sizeof *seen, "grammar", k->error);
    bool ok = seen != NULL;
    for (uint32_t p = 0; p < n && ok; p++) {
        ok = find_first_calls(l, p, seen);
    }
    mem_free(seen);
    struct visit v = {0};
    if (ok) {
        v.next = mem_alloc(n, sizeof *v.next, "grammar", k->error);
        v.path = mem_alloc(n, sizeof *v.path, "grammar", k->error);
        v.begins = mem_alloc((size_t)n + 2, sizeof *v.begins, "grammar", k->error);
        v.state = mem_alloc(n, sizeof *v.state, "grammar", k->error);
        l->g->by_order = mem_alloc(n, sizeof *l->g->by_order, "grammar", k->error);
        l->g->n_orders = n;
        ok = v.next != NULL && v.path != NULL && v.begins != NULL && v.state != NULL &&
             l->g->by_order != NULL && order_procedures(l, &v);
    }
    mem_free(v.next);
    mem_free(v.path);
    mem_free(v.begins);
    mem_free(v.state);
    return ok;
}

/* --- all of it */

static bool link_program(struct linking *l, uint32_t root)
{
    struct compilation *k = l->k;
    l->procedure = mem_alloc(k->operations.n, sizeof *l->procedure, "grammar", k->error);
    if (l->procedure == NULL || !link_leaves(l) || !find_users(l)) {
        return false;
    }
    for (uint32_t i = 0; i < k->waiting.n; i++) {
        l->procedure[procedure(l, i)->entry] = i + 1;
    }
    find_nullable(l);
    if (!find_need(l) || !find_order(l)) {
        return false;
    }
    if (compile_operation(k, root)->need == NEVER) {
        return error_set(k->error, ERROR_USAGE,
                         "no text can match (or none with at most %d rules within each other)",
                         GRAMMAR_MAX_STACK);
    }
    return true;
}

bool compile_link(struct compilation *k, uint32_t root, struct grammar *out)
{
    struct linking l = {.k = k, .g = out};
    bool ok = link_program(&l, root);
    mem_free(l.begins);
    mem_free(l.users);
    mem_free(l.queue);
    mem_free(l.procedure);
    mem_free(l.calls.items);
    if (ok) {
        out->root = root;
        out->operations = k->operations.items;
        out->n_operations = k->operations.n;
        out->targets = k->targets.items;
        out->n_targets = k->targets.n;
        out->loops = k->loops.items;
        out->n_loops = k->loops.n;
        k->operations = k->targets = k->loops = (struct pool){0};
    }
    return ok;
}
