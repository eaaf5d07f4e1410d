/* measure.c - expressions as nondeterministic automata, and how large these would be: what of a
 * grammar is regular, and what of that is fit to be one automaton. */
#include "schema/compile_internal.h"

#include "base/mem.h"

/* --- states */

static uint32_t literal_states(const struct grammar_builder *b, struct nfa *a,
                               const struct expression *x, uint32_t next, struct error *e)
{
    const uint8_t *bytes = (const uint8_t *)b->bytes.items + x->at;
    for (uint32_t i = x->n; i-- > 0 && next != NFA_NONE;) {
        next = nfa_byte(a, bytes[i], bytes[i], next, e);
    }
    return next;
}

static uint32_t repeat_states(const struct grammar_builder *b, struct nfa *a,
                              const struct expression *x, uint32_t next, struct error *e)
{
    uint32_t body = builder_child(b, x->at), at = next;
    if (x->max == GRAMMAR_UNLIMITED) {
        /* alt makes it unlike any other until it is overwritten */
        at = nfa_either(a, NFA_FAIL, a->n, e);
        uint32_t inner = at != NFA_NONE ? regular_states(b, a, body, at, e) : NFA_NONE;
        if (inner == NFA_NONE) {
            return NFA_NONE;
        }
        a->states[at] = (struct nfa_state){inner, next, 1, 0};
    } else {
        for (uint32_t i = x->min; i < x->max && at != NFA_NONE; i++) {
            uint32_t inner = regular_states(b, a, body, at, e);
            at = inner == NFA_FAIL ? next : nfa_either(a, inner, next, e);
        }
    }
    for (uint32_t i = 0; i < x->min && at != NFA_NONE; i++) {
        at = regular_states(b, a, body, at, e);
    }
    return at;
}

uint32_t regular_states(const struct grammar_builder *b, struct nfa *a, uint32_t node,
                        uint32_t next, struct error *e)
{
    const struct expression *x = builder_node(b, node);
    uint32_t found = NFA_FAIL;
    if (next == NFA_NONE || next == NFA_FAIL || !dfa_spend(a->steps, 1, e)) {
        return next == NFA_FAIL ? NFA_FAIL : NFA_NONE;
    }
    switch ((enum expression_kind)x->kind) {
    case EXPRESSION_BYTES:
        return literal_states(b, a, x, next, e);
    case EXPRESSION_CLASS:
        return nfa_class(a, (const struct grammar_range *)b->ranges.items + x->at, x->n,
                         (enum grammar_alphabet)x->alphabet, next, e);
    case EXPRESSION_SEQUENCE:
        for (uint32_t i = x->n; i-- > 0 && next != NFA_NONE;) {
            next = regular_states(b, a, builder_child(b, x->at + i), next, e);
        }
        return next;
    case EXPRESSION_CHOICE:
        for (uint32_t i = 0; i < x->n && found != NFA_NONE; i++) {
            uint32_t way = regular_states(b, a, builder_child(b, x->at + i), next, e);
            found = found == NFA_FAIL ? way
                    : way == NFA_FAIL ? found
                                      : nfa_either(a, way, found, e);
        }
        return found;
    case EXPRESSION_REPEAT:
        return repeat_states(b, a, x, next, e);
    case EXPRESSION_CALL:
        return regular_states(b, a, builder_rule(b, x->at)->body, next, e);
    case EXPRESSION_DFA:
        return nfa_dfa(a, (const struct dfa *)b->dfas.items + x->at, next, e);
    case EXPRESSION_LIMIT: /* never regular, see measure_node() */
        break;
    }
    return NFA_NONE;
}

/* --- measures */

enum {
    WIDE_CLASS = 64,  /* characters: more are like text */
    FEW = 8,          /* repetitions of such that are better written out than counted */
    WORTH_A_LEAF = 24 /* states of a text-like part */
};

static uint32_t sum(uint64_t a, uint64_t b)
{
    return a + b < MEASURE_MAX ? (uint32_t)(a + b) : MEASURE_MAX;
}

static uint32_t product(uint64_t a, uint64_t b)
{
    return a * b < MEASURE_MAX ? (uint32_t)(a * b) : MEASURE_MAX;
}

static uint8_t small_sum(uint32_t a, uint32_t b)
{
    return a + b < 255 ? (uint8_t)(a + b) : 255;
}

static struct measure measure_class(const struct grammar_builder *b, const struct expression *x)
{
    const struct grammar_range *r = (const struct grammar_range *)b->ranges.items + x->at;
    uint32_t n_chars = 0;
    for (uint32_t i = 0; i < x->n; i++) {
        n_chars += r[i].last - r[i].first + 1;
    }
    uint32_t of_range = x->alphabet == GRAMMAR_JSON ? 40 : n_chars > 128 ? 10 : 1;
    return (struct measure){.size = product(x->n, of_range),
                            .depth = 1,
                            .is_regular = true,
                            .has_wide = n_chars > WIDE_CLASS};
}

static void add_child(struct measure *m, const struct measure *child)
{
    m->size = sum(m->size, child->size);
    m->depth = child->depth + 1 > m->depth ? child->depth + 1 : m->depth;
    m->n_wide = small_sum(m->n_wide, child->n_wide);
    m->is_regular = m->is_regular && child->is_regular;
    m->has_wide = m->has_wide || child->has_wide;
    m->has_count = m->has_count || child->has_count;
    m->has_part = m->has_part || child->has_part;
}

static struct measure measure_repeat(const struct expression *x, const struct measure *body)
{
    struct measure m = {.size = 1, .depth = 1, .is_regular = true, .is_open = true};
    uint64_t n_copies = x->max == GRAMMAR_UNLIMITED ? (uint64_t)x->min + 1 : x->max;
    add_child(&m, body);
    m.size = sum(1, product(body->size, n_copies));
    m.n_wide = small_sum(product(body->n_wide, n_copies < 255 ? n_copies : 255),
                         body->has_wide && body->n_wide == 0 && n_copies * x->max > 4);
    m.has_count = m.has_count || (body->has_wide && n_copies > FEW);
    m.is_nullable = x->min == 0 || body->is_nullable;
    return m;
}

/* Of an expression whose children are measured. */
static struct measure measure_node(const struct compilation *k, const struct expression *x)
{
    const struct grammar_builder *b = k->builder;
    struct measure m = {.size = 1, .depth = 1, .is_regular = true};
    switch ((enum expression_kind)x->kind) {
    case EXPRESSION_BYTES:
        m.size = sum(x->n, 0);
        m.is_words = true;
        m.is_nullable = x->n == 0;
        return m;
    case EXPRESSION_CLASS:
        return measure_class(b, x);
    case EXPRESSION_REPEAT:
        return measure_repeat(x, &k->measures[builder_child(b, x->at)]);
    case EXPRESSION_CALL:
        m = k->rule_measures[x->at];
        m.depth++;
        m.n_uses = 0;
        return m;
    case EXPRESSION_LIMIT:
        add_child(&m, &k->measures[builder_child(b, x->at)]);
        m.is_regular = false; /* but counted beside its automaton */
        return m;
    case EXPRESSION_DFA:
        m.size = ((const struct dfa *)b->dfas.items + x->at)->n_states;
        m.n_wide = 1;
        m.has_wide = true;
        m.is_open = !dfa_is_prefix_free((const struct dfa *)b->dfas.items + x->at);
        return m;
    case EXPRESSION_SEQUENCE:
    case EXPRESSION_CHOICE:
        break;
    }
    bool is_sequence = x->kind == EXPRESSION_SEQUENCE;
    m.is_words = true;
    m.is_nullable = is_sequence;
    m.is_open = is_sequence && x->n == 0;
    for (uint32_t i = 0; i < x->n; i++) {
        const struct measure *child = &k->measures[builder_child(b, x->at + i)];
        add_child(&m, child);
        m.is_words = m.is_words && child->is_words;
        m.has_part = m.has_part || (is_sequence && x->n > 1 && child->n_wide > 0 &&
                                    !child->is_open && child->size > WORTH_A_LEAF);
        m.is_open = child->is_open || (!is_sequence && m.is_open);
        m.is_nullable =
            is_sequence ? m.is_nullable && child->is_nullable : m.is_nullable || child->is_nullable;
    }
    return m;
}

/* Children first; they are measured once. */
static bool measure_tree(struct compilation *k, uint32_t node)
{
    const struct grammar_builder *b = k->builder;
    const struct expression *x = builder_node(b, node);
    struct measure *m = &k->measures[node];
    if (m->n_uses < UINT32_MAX) {
        m->n_uses++;
    }
    if (m->is_known) {
        return true;
    }
    bool has_children = x->kind == EXPRESSION_SEQUENCE || x->kind == EXPRESSION_CHOICE ||
                        x->kind == EXPRESSION_REPEAT || x->kind == EXPRESSION_LIMIT;
    for (uint32_t i = 0; has_children && i < x->n; i++) {
        if (!measure_tree(k, builder_child(b, x->at + i))) {
            return false;
        }
    }
    uint32_t n_uses = m->n_uses;
    *m = measure_node(k, x);
    m->has_part = m->has_part && !x->is_atomic;
    m->n_uses = n_uses;
    m->is_known = true;
    return dfa_spend(&k->steps, 1, k->error);
}

/* --- which rules are regular */

/* Calls from one rule (or from the root, which has the last number) to another. */
struct call {
    uint32_t from, to;
};

struct calls {
    struct pool list;  /* struct call, by `to` once they are all there */
    struct pool stack; /* uint32_t: nodes to be looked at, then rules that are settled */
    uint32_t *seen;    /* (nodes) rule + 1 that looked last */
    uint32_t *pending; /* (rules + 1) calls of rules that are not settled */
    uint32_t *begins;  /* (rules + 2) in the list */
    bool *reached;     /* (rules + 1) */
};

static bool push(struct pool *p, uint32_t item, struct error *e)
{
    uint32_t *place = pool_add(p, 1, sizeof item, SIZE_MAX / 2, "grammar states", e);
    if (place != NULL) {
        *place = item;
    }
    return place != NULL;
}

static bool pop(struct pool *p, uint32_t *out)
{
    if (p->n == 0) {
        return false;
    }
    *out = ((uint32_t *)p->items)[--p->n];
    return true;
}

/* Adds the calls of an expression to the list. */
static bool list_calls(struct compilation *k, struct calls *c, uint32_t rule, uint32_t node)
{
    const struct grammar_builder *b = k->builder;
    if (!push(&c->stack, node, k->error)) {
        return false;
    }
    while (pop(&c->stack, &node)) {
        const struct expression *x = builder_node(b, node);
        if (c->seen[node] == rule + 1 || !x->has_call) {
            continue;
        }
        c->seen[node] = rule + 1;
        if (!dfa_spend(&k->steps, 1 + x->n, k->error)) {
            return false;
        }
        if (x->kind == EXPRESSION_CALL) {
            struct call *call =
                pool_add(&c->list, 1, sizeof *call, SIZE_MAX / 2, "grammar states", k->error);
            if (call == NULL) {
                return false;
            }
            *call = (struct call){rule, x->at};
            c->pending[rule]++;
            continue;
        }
        for (uint32_t i = 0; i < x->n; i++) {
            if (!push(&c->stack, builder_child(b, x->at + i), k->error)) {
                return false;
            }
        }
    }
    return true;
}

/* All that the root reaches. */
static bool reach_rules(struct compilation *k, struct calls *c, uint32_t root)
{
    const struct grammar_builder *b = k->builder;
    uint32_t n_rules = b->rules.n;
    c->reached[n_rules] = true;
    if (!list_calls(k, c, n_rules, root)) {
        return false;
    }
    for (uint32_t i = 0; i < c->list.n; i++) {
        uint32_t rule = ((const struct call *)c->list.items)[i].to;
        if (c->reached[rule]) {
            continue;
        }
        c->reached[rule] = true;
        if (builder_rule(b, rule)->body == GRAMMAR_NONE) {
            return error_set(k->error, ERROR_USAGE, "rule '%.*s' is not defined",
                             STR_ARG(builder_rule(b, rule)->name));
        }
        if (!list_calls(k, c, rule, builder_rule(b, rule)->body)) {
            return false;
        }
    }
    return true;
}

/* Orders the list by `to`, so that a rule's callers are side by side. */
static bool sort_calls(struct calls *c, uint32_t n_rules, struct error *e)
{
    struct call *from = c->list.items;
    struct call *to = mem_alloc(c->list.n, sizeof *to, "grammar", e);
    if (to == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < c->list.n; i++) {
        c->begins[from[i].to + 1]++;
    }
    for (uint32_t r = 0; r <= n_rules; r++) {
        c->begins[r + 1] += c->begins[r];
    }
    for (uint32_t i = c->list.n; i-- > 0;) {
        to[--c->begins[from[i].to + 1]] = from[i];
    }
    /* now begins[r + 1] is where those of r begin */
    mem_free(from);
    c->list.items = to;
    return true;
}

static bool measure_rule(struct compilation *k, uint32_t rule, uint32_t root, bool is_regular)
{
    const struct grammar_builder *b = k->builder;
    uint32_t body = rule == b->rules.n ? root : builder_rule(b, rule)->body;
    if (!measure_tree(k, body)) {
        return false;
    }
    if (rule < b->rules.n) {
        k->rule_measures[rule] = k->measures[body];
        k->rule_measures[rule].is_regular = is_regular && k->measures[body].is_regular;
    }
    return true;
}

/* A rule all of whose calls are of regular rules is regular; the others call themselves, or rules
 * that do. */
static bool settle_rules(struct compilation *k, struct calls *c, uint32_t root)
{
    uint32_t n_rules = k->builder->rules.n, rule;
    for (uint32_t r = 0; r <= n_rules; r++) {
        if (c->reached[r] && c->pending[r] == 0 && !push(&c->stack, r, k->error)) {
            return false;
        }
    }
    while (pop(&c->stack, &rule)) {
        if (!measure_rule(k, rule, root, true)) {
            return false;
        }
        c->reached[rule] = false; /* settled */
        uint32_t end = rule + 1 < n_rules ? c->begins[rule + 2] : c->list.n;
        for (uint32_t i = rule < n_rules ? c->begins[rule + 1] : end; i < end; i++) {
            uint32_t from = ((const struct call *)c->list.items)[i].from;
            if (--c->pending[from] == 0 && !push(&c->stack, from, k->error)) {
                return false;
            }
        }
    }
    for (uint32_t r = 0; r <= n_rules; r++) {
        if (c->reached[r] && !measure_rule(k, r, root, false)) {
            return false;
        }
    }
    return true;
}

bool compile_measure(struct compilation *k, uint32_t root)
{
    const struct grammar_builder *b = k->builder;
    size_t n_rules = b->rules.n;
    struct calls c = {0};
    c.seen = mem_alloc(b->nodes.n, sizeof *c.seen, "grammar", k->error);
    c.pending = mem_alloc(n_rules + 1, sizeof *c.pending, "grammar", k->error);
    c.begins = mem_alloc(n_rules + 3, sizeof *c.begins, "grammar", k->error);
    c.reached = mem_alloc(n_rules + 1, sizeof *c.reached, "grammar", k->error);
    bool ok = c.seen != NULL && c.pending != NULL && c.begins != NULL && c.reached != NULL &&
              reach_rules(k, &c, root) && sort_calls(&c, b->rules.n, k->error) &&
              settle_rules(k, &c, root);
    mem_free(c.list.items);
    mem_free(c.stack.items);
    mem_free(c.seen);
    mem_free(c.pending);
    mem_free(c.begins);
    mem_free(c.reached);
    return ok;
}
