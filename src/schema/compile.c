/* compile.c - expressions as operations. What is regular and fit for it becomes a leaf, an
 * automaton; rules that call themselves and what is too large for that are graphs of calls,
 * choices and repetitions around leaves. Graphs are made from the end to the start. */
#include "schema/compile_internal.h"

#include "base/mem.h"

enum {
    MAX_OPERATIONS = 400000,
    MAX_LEAVES = 100000,
    MAX_WAYS = 4096,        /* of a choice between expressions that are no words */
    MAX_LEAF_SIZE = 3000,   /* states of an nfa that are tried as one automaton */
    MAX_WORDS_SIZE = 60000, /* the same of words, and of patterns */
    MAX_LEAF_DEPTH = 1000,
    MAX_LEAF_STEPS = 400000, /* of one that is tried */
    MAX_WORDS_STEPS = 2000000,
    NONE = UINT32_MAX
};

static uint32_t emit(struct compilation *k, uint32_t node, uint32_t next);

/* --- operations */

static uint32_t add_operation(struct compilation *k, struct operation o)
{
    struct operation *place =
        pool_add(&k->operations, 1, sizeof o, MAX_OPERATIONS, "operations", k->error);
    if (place == NULL) {
        return NONE;
    }
    *place = o;
    return dfa_spend(&k->steps, 1, k->error) ? k->operations.n - 1 : NONE;
}

static uint32_t add_split(struct compilation *k, const uint32_t *ways, uint32_t n)
{
    uint32_t *targets =
        pool_add(&k->targets, n, sizeof *targets, MAX_OPERATIONS, "ways of choices", k->error);
    if (targets == NULL) {
        return NONE;
    }
    if (n > 0) {
        memcpy(targets, ways, n * sizeof *targets);
    }
    return add_operation(
        k, (struct operation){.kind = OPERATION_SPLIT, .to = k->targets.n - n, .n = n});
}

/* The entry of a procedure whose operations are made later. */
static uint32_t add_procedure(struct compilation *k, uint32_t node, uint32_t rule)
{
    uint32_t unknown = NONE;
    uint32_t entry = add_split(k, &unknown, 1);
    struct procedure *p =
        entry != NONE ? pool_add(&k->waiting, 1, sizeof *p, MAX_OPERATIONS, "procedures", k->error)
                      : NULL;
    if (p == NULL) {
        return NONE;
    }
    *p = (struct procedure){node, entry, rule};
    return entry;
}

static uint32_t emit_call(struct compilation *k, uint32_t *entry, struct procedure p, uint32_t next)
{
    if (*entry == 0) {
        uint32_t at = add_procedure(k, p.node, p.rule);
        if (at == NONE) {
            return NONE;
        }
        *entry = at + 1;
    }
    return add_operation(
        k, (struct operation){.kind = OPERATION_CALL, .to = *entry - 1, .next = next});
}

/* --- leaves */

/* Children first..last - 1 of a sequence as one leaf; of the first `skip` bytes are left out,
 * and of the literal behind the last `take` are added. */
struct group {
    uint32_t first, last, skip, take;
};

static const uint8_t *literal(const struct compilation *k, uint32_t node)
{
    return (const uint8_t *)k->builder->bytes.items + builder_node(k->builder, node)->at;
}

static uint32_t group_states(const struct compilation *k, struct nfa *a, const struct expression *x,
                             const struct group *g)
{
    const struct grammar_builder *b = k->builder;
    uint32_t at = NFA_MATCH;
    if (g->take > 0) {
        uint8_t byte = literal(k, builder_child(b, x->at + g->last))[0];
        at = nfa_byte(a, byte, byte, at, k->error);
    }
    for (uint32_t i = g->last; i-- > g->first && at != NFA_NONE;) {
        uint32_t child = builder_child(b, x->at + i);
        if (i == g->first && g->skip > 0) {
            for (uint32_t n = builder_node(b, child)->n; n-- > g->skip && at != NFA_NONE;) {
                at = nfa_byte(a, literal(k, child)[n], literal(k, child)[n], at, k->error);
            }
        } else {
            at = regular_states(b, a, child, at, k->error);
        }
    }
    return at;
}

/* Tries to make a leaf of some of a choice's children, of a group, or of the whole expression. NONE
 * with k->error as it was when it would be too large. */
struct trial {
    uint32_t node;
    const struct group *group;
    const uint32_t *ways; /* (n_ways) children of a choice */
    uint32_t n_ways;
};

static uint32_t trial_states(struct compilation *k, struct nfa *a, const struct trial *t)
{
    const struct expression *x = builder_node(k->builder, t->node);
    if (t->group != NULL) {
        return group_states(k, a, x, t->group);
    }
    if (t->n_ways == 0) {
        return regular_states(k->builder, a, t->node, NFA_MATCH, k->error);
    }
    uint32_t found = NFA_FAIL;
    for (uint32_t i = 0; i < t->n_ways && found != NFA_NONE; i++) {
        uint32_t way = regular_states(k->builder, a, t->ways[i], NFA_MATCH, k->error);
        found = found == NFA_FAIL ? way
                : way == NFA_FAIL ? found
                                  : nfa_either(a, way, found, k->error);
    }
    return found;
}

static bool trial_automaton(struct compilation *k, const struct trial *t, uint64_t *steps,
                            struct dfa *out)
{
    const struct expression *x = builder_node(k->builder, t->node);
    if (x->kind == EXPRESSION_DFA) {
        return dfa_copy((const struct dfa *)k->builder->dfas.items + x->at, steps, out, k->error);
    }
    struct nfa a;
    bool ok = nfa_init(&a, 16 * GRAMMAR_MAX_DFA_STATES, steps, k->error);
    uint32_t start = ok ? trial_states(k, &a, t) : NFA_NONE;
    ok = start != NFA_NONE && dfa_from_nfa(&a, start, GRAMMAR_MAX_DFA_STATES, out, k->error);
    nfa_finish(&a);
    return ok;
}

static uint32_t try_leaf(struct compilation *k, const struct trial *t)
{
    bool is_plain = builder_node(k->builder, t->node)->is_atomic || k->measures[t->node].is_words;
    uint64_t most = is_plain ? MAX_WORDS_STEPS : MAX_LEAF_STEPS;
    most = k->steps < most ? k->steps : most;
    uint64_t left = most;
    struct error why = {0}, *before = k->error;
    struct dfa d = {0};
    uint32_t at = NONE;
    k->error = &why;
    if (trial_automaton(k, t, &left, &d)) {
        struct dfa *place = pool_add(&k->leaves, 1, sizeof d, MAX_LEAVES, "automata", &why);
        if (place != NULL) {
            *place = d;
            at = k->leaves.n - 1;
        } else {
            dfa_finish(&d);
        }
    }
    k->error = before;
    k->steps -= most - left;
    if (at == NONE && (why.code != ERROR_UNSUPPORTED || k->steps == 0)) {
        error_set(k->error, why.code, "%s", why.text);
    }
    return at;
}

static bool is_failed(const struct compilation *k)
{
    return k->error->code != ERROR_NONE;
}

static bool is_fit(const struct compilation *k, uint32_t node)
{
    const struct expression *x = builder_node(k->builder, node);
    const struct measure *m = &k->measures[node];

    if (!m->is_regular || m->depth > MAX_LEAF_DEPTH) {
        return false;
    }
    if (x->kind == EXPRESSION_BYTES || x->kind == EXPRESSION_CLASS || x->kind == EXPRESSION_DFA) {
        return true;
    }
    if (x->is_atomic || m->is_words) {
        return m->size <= MAX_WORDS_SIZE;
    }
    return m->n_wide <= 1 && m->size <= MAX_LEAF_SIZE && !m->has_count && !m->has_part;
}

/* Leaf of an expression, made once; NONE when it is not fit or too large (or failed). */
static uint32_t find_leaf(struct compilation *k, uint32_t node)
{
    while (builder_node(k->builder, node)->kind == EXPRESSION_CALL &&
           k->measures[node].is_regular) {
        node = builder_rule(k->builder, builder_node(k->builder, node)->at)->body;
    }
    if (k->leaf_of[node] == 0) {
        struct trial t = {.node = node};
        bool fit = is_fit(k, node);
        uint32_t at = fit ? try_leaf(k, &t) : NONE;
        if (at == NONE && is_failed(k)) {
            return NONE;
        }
        k->leaf_of[node] = at == NONE ? NONE : at + 1;
    }
    return k->leaf_of[node] == NONE ? NONE : k->leaf_of[node] - 1;
}

static uint32_t emit_leaf(struct compilation *k, uint32_t leaf, uint32_t next)
{
    return leaf == NONE ? NONE
                        : add_operation(k, (struct operation){
                                               .kind = OPERATION_LEAF, .to = leaf, .next = next});
}

/* --- sequences */

/* The end of the group that begins at g->first, into g->last and g->take. A text-like loop
 * stands with what ends it, so that where it is left does not depend on what comes later, and
 * equal loops of a grammar become the same states; the rest stands together. False: no leaf
 * begins there. */
static bool find_group(const struct compilation *k, const struct expression *x, struct group *g)
{
    const struct grammar_builder *b = k->builder;
    uint32_t size = 0;
    for (g->last = g->first, g->take = 0; g->last < x->n; g->last++) {
        uint32_t child = builder_child(b, x->at + g->last);
        const struct measure *m = &k->measures[child];
        if (!is_fit(k, child) || size + m->size > MAX_LEAF_SIZE) {
            break;
        }
        if (m->n_wide > 0 && g->last > g->first) {
            break;
        }
        size += m->size;
        if (m->n_wide > 0) {
            g->last++;
            break;
        }
    }
    if (g->last == g->first + 1 && g->last < x->n) {
        uint32_t child = builder_child(b, x->at + g->first),
                 after = builder_child(b, x->at + g->last);
        const struct expression *next = builder_node(b, after);
        if (k->measures[child].n_wide == 0 || !k->measures[child].is_open) {
            return true;
        }
        if (next->kind == EXPRESSION_BYTES && next->n > 1) {
            g->take = 1;
        } else if (is_fit(k, after) && k->measures[after].n_wide == 0 &&
                   k->measures[after].size <= 64) {
            g->last++;
        }
    }
    return g->last > g->first;
}

/* In halves where one automaton would be too large. */
static uint32_t emit_group(struct compilation *k, uint32_t node, struct group g, uint32_t next)
{
    const struct expression *x = builder_node(k->builder, node);
    bool is_single = g.last == g.first + 1;
    if (is_single && g.skip == 0 && g.take == 0) {
        return emit(k, builder_child(k->builder, x->at + g.first), next);
    }
    struct trial t = {.node = node, .group = &g};
    uint32_t leaf = try_leaf(k, &t);
    if (leaf != NONE || is_failed(k)) {
        return emit_leaf(k, leaf, next);
    }
    if (is_single) {
        error_set(k->error, ERROR_UNSUPPORTED, "too large: more than %d states of an automaton",
                  GRAMMAR_MAX_DFA_STATES);
        return NONE;
    }
    struct group first = g, second = g;
    first.last = second.first = g.first + (g.last - g.first) / 2;
    first.take = second.skip = 0;
    next = emit_group(k, node, second, next);
    return next == NONE ? NONE : emit_group(k, node, first, next);
}

static uint32_t emit_sequence(struct compilation *k, uint32_t node, uint32_t next)
{
    const struct expression *x = builder_node(k->builder, node);
    struct group *groups = mem_alloc(x->n, sizeof *groups, "grammar", k->error);
    uint32_t n = 0, take = 0;
    if (groups == NULL) {
        return NONE;
    }
    for (uint32_t i = 0; i < x->n; n++) {
        groups[n] = (struct group){.first = i, .skip = take};
        if (!find_group(k, x, &groups[n])) {
            groups[n].last = i + 1;
        }
        take = groups[n].take;
        i = groups[n].last;
    }
    while (n-- > 0 && next != NONE) {
        next = emit_group(k, node, groups[n], next);
    }
    mem_free(groups);
    return next;
}

/* --- choices and repetitions */

static uint32_t emit_choice(struct compilation *k, uint32_t node, uint32_t next)
{
    const struct grammar_builder *b = k->builder;
    const struct expression *x = builder_node(b, node);
    if (x->n > MAX_WAYS) {
        error_set(k->error, ERROR_UNSUPPORTED,
                  "a choice of %u: at most %d, or of %d bytes of words", x->n, MAX_WAYS,
                  MAX_WORDS_SIZE);
        return NONE;
    }
    uint32_t n_ways = 0, n_fit = 0, size = 0, n_wide = 0, result = NONE;
    uint32_t *ways = mem_alloc(2 * (size_t)x->n + 2, sizeof *ways, "grammar", k->error);
    if (ways == NULL) {
        return NONE;
    }
    uint32_t *fit = ways + x->n + 1;
    for (uint32_t i = 0; i < x->n && !is_failed(k); i++) {
        uint32_t child = builder_child(b, x->at + i);
        const struct measure *m = &k->measures[child];
        if (is_fit(k, child) && size + m->size <= MAX_LEAF_SIZE && n_wide + m->n_wide <= 1) {
            fit[n_fit++] = child;
            size += m->size;
            n_wide += m->n_wide;
        } else {
            ways[n_ways++] = emit(k, child, next);
        }
    }
    if (n_fit > 1 && !is_failed(k)) {
        struct trial t = {.node = node, .ways = fit, .n_ways = n_fit};
        uint32_t leaf = try_leaf(k, &t);
        if (leaf != NONE) {
            ways[n_ways++] = emit_leaf(k, leaf, next);
            n_fit = 0;
        }
    }
    for (uint32_t i = 0; i < n_fit && !is_failed(k); i++) {
        ways[n_ways++] = emit(k, fit[i], next);
    }
    if (!is_failed(k)) {
        result = add_split(k, ways, n_ways);
    }
    mem_free(ways);
    return result;
}

static uint32_t emit_loop(struct compilation *k, struct loop loop, uint32_t next)
{
    struct loop *place = pool_add(&k->loops, 1, sizeof loop, MAX_LEAVES, "loops", k->error);
    if (place == NULL) {
        return NONE;
    }
    *place = loop;
    return add_operation(
        k, (struct operation){
               .kind = OPERATION_LEAF, .to = loop.start, .n = k->loops.n, .next = next});
}

/* A bounded loop over what is its own end is counted beside the automaton of its body. NONE without
 * an error when it is none. */
static uint32_t emit_counted(struct compilation *k, const struct expression *x, uint32_t next)
{
    uint32_t leaf = find_leaf(k, builder_child(k->builder, x->at));
    if (leaf == NONE) {
        return NONE;
    }
    const struct dfa *d = (const struct dfa *)k->leaves.items + leaf;
    if (d->start == 0 || d->accepting[d->start] || !dfa_is_prefix_free(d)) {
        return NONE;
    }
    return emit_loop(k, (struct loop){leaf, x->min, x->max, false}, next);
}

static uint32_t emit_limit(struct compilation *k, const struct expression *x, uint32_t next)
{
    uint32_t leaf = find_leaf(k, builder_child(k->builder, x->at));
    return leaf == NONE ? NONE : emit_loop(k, (struct loop){leaf, 1, x->max, true}, next);
}

static uint32_t emit_repeat(struct compilation *k, uint32_t node, uint32_t next)
{
    const struct expression *x = builder_node(k->builder, node);
    uint32_t body = builder_child(k->builder, x->at), ways[2] = {NONE, next};
    if (x->max == 0) {
        return next;
    }
    if (x->max == 1) {
        ways[0] = emit(k, body, next);
        return ways[0] == NONE || x->min == 1 ? ways[0] : add_split(k, ways, 2);
    }
    if (x->max != GRAMMAR_UNLIMITED || x->min > 1) {
        uint32_t counted = emit_counted(k, x, next);
        if (counted != NONE || is_failed(k)) {
            return counted;
        }
        uint32_t entry =
            k->entry_of[body] != 0 ? k->entry_of[body] - 1 : add_procedure(k, body, GRAMMAR_NONE);
        if (entry == NONE) {
            return NONE;
        }
        k->entry_of[body] = entry + 1;
        return add_operation(
            k,
            (struct operation){
                .kind = OPERATION_REPEAT, .to = entry, .next = next, .min = x->min, .max = x->max});
    }
    /* the loop is in place: no call, so no deeper stack */
    uint32_t head = add_split(k, ways, 2);
    uint32_t inner = head != NONE ? emit(k, body, head) : NONE;
    if (inner == NONE) {
        return NONE;
    }
    ((uint32_t *)k->targets.items)[compile_operation(k, head)->to] = inner;
    return x->min == 1 ? inner : head;
}

/* --- expressions */

enum { SMALL = 8 }; /* expressions are rather made twice than called */

static uint32_t emit_shape(struct compilation *k, uint32_t node, uint32_t next)
{
    const struct expression *x = builder_node(k->builder, node);
    switch ((enum expression_kind)x->kind) {
    case EXPRESSION_SEQUENCE:
        return emit_sequence(k, node, next);
    case EXPRESSION_CHOICE:
        return emit_choice(k, node, next);
    case EXPRESSION_REPEAT:
        return emit_repeat(k, node, next);
    case EXPRESSION_LIMIT: {
        uint32_t at = emit_limit(k, x, next);
        if (at != NONE || is_failed(k)) {
            return at;
        }
        break;
    }
    case EXPRESSION_CALL: {
        struct procedure p = {builder_rule(k->builder, x->at)->body, 0, x->at};
        uint32_t leaf = find_leaf(k, p.node);
        if (leaf != NONE || is_failed(k)) {
            return emit_leaf(k, leaf, next);
        }
        return emit_call(k, &k->rule_entry[x->at], p, next);
    }
    case EXPRESSION_BYTES:
    case EXPRESSION_CLASS:
    case EXPRESSION_DFA:
        break;
    }
    error_set(k->error, ERROR_UNSUPPORTED, "too large: more than %d states of an automaton",
              GRAMMAR_MAX_DFA_STATES);
    return NONE;
}

/* The operation that begins an expression which goes on at next; NONE: k->error is set. */
static uint32_t emit(struct compilation *k, uint32_t node, uint32_t next)
{
    const struct expression *x = builder_node(k->builder, node);
    const struct measure *m = &k->measures[node];
    if (x->kind == EXPRESSION_SEQUENCE && x->n == 0) {
        return next;
    }
    uint32_t leaf = find_leaf(k, node);
    if (leaf != NONE || is_failed(k)) {
        return emit_leaf(k, leaf, next);
    }
    if (m->n_uses > 1 && x->kind != EXPRESSION_CALL && (!m->is_regular || m->size > SMALL)) {
        struct procedure p = {node, 0, GRAMMAR_NONE};
        return emit_call(k, &k->entry_of[node], p, next);
    }
    return emit_shape(k, node, next);
}

static bool emit_procedures(struct compilation *k)
{
    for (uint32_t i = 0; i < k->waiting.n; i++) {
        struct procedure p = ((const struct procedure *)k->waiting.items)[i];
        uint32_t end = add_operation(k, (struct operation){.kind = OPERATION_RETURN});
        uint32_t body = NONE;
        if (end != NONE) {
            /* what is used more than once would only call itself */
            uint32_t leaf = find_leaf(k, p.node);
            body = leaf != NONE             ? emit_leaf(k, leaf, end)
                   : is_failed(k)           ? NONE
                   : p.rule != GRAMMAR_NONE ? emit(k, p.node, end)
                                            : emit_shape(k, p.node, end);
        }
        if (body == NONE) {
            return false;
        }
        ((uint32_t *)k->targets.items)[compile_operation(k, p.entry)->to] = body;
    }
    return true;
}

static bool compile(struct compilation *k, uint32_t root, struct grammar *out)
{
    uint32_t entry;
    return compile_measure(k, root) &&
           add_operation(k, (struct operation){.kind = OPERATION_END}) != NONE &&
           (entry = add_procedure(k, root, GRAMMAR_NONE)) != NONE && emit_procedures(k) &&
           compile_link(k, entry, out);
}

struct grammar *grammar_compile(struct grammar_builder *b, uint32_t root, struct error *e)
{
    struct error why = {0};
    struct compilation k = {.builder = b, .steps = DFA_MAX_STEPS, .error = &why};
    if (b->error.code != ERROR_NONE) {
        error_set(e, b->error.code, "%s", b->error.text);
        return NULL;
    }
    struct grammar *g = mem_alloc(1, sizeof *g, "grammar", &why);
    k.measures = mem_alloc(b->nodes.n, sizeof *k.measures, "grammar", &why);
    k.rule_measures = mem_alloc(b->rules.n, sizeof *k.rule_measures, "grammar", &why);
    k.leaf_of = mem_alloc(b->nodes.n, sizeof *k.leaf_of, "grammar", &why);
    k.entry_of = mem_alloc(b->nodes.n, sizeof *k.entry_of, "grammar", &why);
    k.rule_entry = mem_alloc(b->rules.n, sizeof *k.rule_entry, "grammar", &why);
    bool ok = why.code == ERROR_NONE && compile(&k, root, g);
    for (uint32_t i = 0; i < k.leaves.n; i++) {
        dfa_finish((struct dfa *)k.leaves.items + i);
    }
    mem_free(k.measures);
    mem_free(k.rule_measures);
    mem_free(k.leaf_of);
    mem_free(k.entry_of);
    mem_free(k.rule_entry);
    mem_free(k.operations.items);
    mem_free(k.targets.items);
    mem_free(k.loops.items);
    mem_free(k.leaves.items);
    mem_free(k.waiting.items);
    if (!ok) {
        grammar_destroy(g);
        error_set(e, why.code, "%s", why.text);
        return NULL;
    }
    return g;
}

void grammar_destroy(struct grammar *g)
{
    if (g == NULL) {
        return;
    }
    mem_free(g->operations);
    mem_free(g->targets);
    mem_free(g->loops);
    mem_free(g->has_next);
    mem_free(g->least);
    mem_free(g->by_order);
    dfa_finish(&g->dfa);
    mem_free(g);
}
