/* grammar.c - the builder: expressions in pools, checked as they are made. */
#include "schema/grammar_internal.h"

#include "base/mem.h"
#include "schema/text_limit.h"

#include <stdlib.h>

void *pool_add(struct pool *p, size_t n, size_t size, size_t max, const char *what, struct error *e)
{
    if (n > max || p->n > max - n) {
        error_set(e, ERROR_UNSUPPORTED, "too large: more than %zu %s", max, what);
        return NULL;
    }
    if (p->n + n > p->capacity || p->items == NULL) {
        size_t capacity =
            2 * (size_t)p->capacity > p->n + n ? 2 * (size_t)p->capacity : p->n + n + 16;
        void *items = mem_resize(p->items, capacity, size, what, e);
        if (items == NULL) {
            return NULL;
        }
        p->items = items;
        p->capacity = (uint32_t)capacity;
    }
    void *place = (char *)p->items + (size_t)p->n * size;
    p->n += (uint32_t)n;
    return place;
}

struct grammar_builder *grammar_builder_create(struct error *e)
{
    struct grammar_builder *b = mem_alloc(1, sizeof *b, "grammar", e);
    if (b != NULL) {
        b->steps = DFA_MAX_STEPS;
    }
    return b;
}

uint64_t grammar_builder_steps(const struct grammar_builder *b)
{
    return b->steps;
}

void grammar_builder_limit(struct grammar_builder *b, uint64_t steps)
{
    b->steps = steps < b->steps ? steps : b->steps;
}

void grammar_builder_destroy(struct grammar_builder *b)
{
    if (b == NULL) {
        return;
    }
    for (uint32_t i = 0; i < b->dfas.n; i++) {
        dfa_finish((struct dfa *)b->dfas.items + i);
    }
    for (uint32_t i = 0; i < b->names.n; i++) {
        mem_free(((char **)b->names.items)[i]);
    }
    mem_free(b->nodes.items);
    mem_free(b->children.items);
    mem_free(b->bytes.items);
    mem_free(b->ranges.items);
    mem_free(b->rules.items);
    mem_free(b->dfas.items);
    mem_free(b->names.items);
    mem_free(b->slots);
    mem_free(b);
}

const struct error *grammar_builder_error(const struct grammar_builder *b)
{
    return &b->error;
}

static bool failed(const struct grammar_builder *b)
{
    return b->error.code != ERROR_NONE;
}

/* --- expressions */

/* How an automaton came about; one that a caller made is equal to no other. */
enum derivation { DERIVED_BY_CALLER, DERIVED_ALONE, DERIVED_AS_BOTH, DERIVED_AS_DIFFERENCE };

/* What an expression refers to: bytes of a pool. */
static struct str content(const struct grammar_builder *b, const struct expression *x)
{
    switch ((enum expression_kind)x->kind) {
    case EXPRESSION_BYTES:
        return (struct str){(const char *)b->bytes.items + x->at, x->n};
    case EXPRESSION_CLASS:
        return (struct str){(const char *)((const struct grammar_range *)b->ranges.items + x->at),
                            x->n * sizeof(struct grammar_range)};
    case EXPRESSION_SEQUENCE:
    case EXPRESSION_CHOICE:
    case EXPRESSION_REPEAT:
    case EXPRESSION_LIMIT:
        return (struct str){(const char *)((const uint32_t *)b->children.items + x->at),
                            x->n * sizeof(uint32_t)};
    case EXPRESSION_CALL:
    case EXPRESSION_DFA:
        break;
    }
    return (struct str){0};
}

static bool are_equal(const struct grammar_builder *b, const struct expression *x,
                      const struct expression *y)
{
    return x->kind == y->kind && x->alphabet == y->alphabet && x->n == y->n && x->min == y->min &&
           x->max == y->max && str_eq(content(b, x), content(b, y));
}

/* The slot of an expression equal to x, or a free one. Whoever makes many that meet in one slot
 * runs out of steps; as all others do then, add_node() looks. */
static uint32_t find_slot(struct grammar_builder *b, const struct expression *x)
{
    struct str s = content(b, x);
    uint64_t h = (((uint64_t)x->kind << 8 | x->alphabet) << 32 | x->n) * 0x9E3779B97F4A7C15u;
    h = (h ^ x->min ^ (uint64_t)x->max << 32) * 0xBF58476D1CE4E5B9u;
    for (size_t i = 0; i < s.n; i++) {
        h = (h ^ (uint8_t)s.p[i]) * 0x100000001B3u;
    }
    uint32_t at = (uint32_t)(h ^ h >> 32) & (b->n_slots - 1);
    while (b->slots[at] != 0 && !are_equal(b, builder_node(b, b->slots[at] - 1), x)) {
        at = (at + 1) & (b->n_slots - 1);
        b->steps -= b->steps > 0;
    }
    return at;
}

static bool room_for_slot(struct grammar_builder *b)
{
    if (2 * b->n_slots_used < b->n_slots) {
        return true;
    }
    uint32_t *old = b->slots, n_old = b->n_slots, n = n_old > 0 ? 2 * n_old : 256;
    uint32_t *slots = mem_alloc(n, sizeof *slots, "grammar", &b->error);
    if (slots == NULL) {
        return false;
    }
    b->slots = slots;
    b->n_slots = n;
    for (uint32_t i = 0; i < n_old; i++) {
        if (old[i] != 0) {
            slots[find_slot(b, builder_node(b, old[i] - 1))] = old[i];
        }
    }
    mem_free(old);
    return true;
}

/* Gives back what x has at the end of a pool. */
static void drop_content(struct grammar_builder *b, const struct expression *x)
{
    if (x->kind == EXPRESSION_BYTES) {
        b->bytes.n = x->at;
    } else if (x->kind == EXPRESSION_CLASS) {
        b->ranges.n = x->at;
    } else if (x->kind != EXPRESSION_DFA) {
        b->children.n = x->at;
    }
}

static uint32_t append_node(struct grammar_builder *b, struct expression x)
{
    struct expression *place =
        pool_add(&b->nodes, 1, sizeof x, GRAMMAR_MAX_NODES, "expressions", &b->error);
    if (place == NULL) {
        return GRAMMAR_NONE;
    }
    *place = x;
    return b->nodes.n - 1;
}

/* x, whose content is the last of its pool. What calls nothing is there once, so that equal parts
 * of a grammar are compiled once. */
static uint32_t add_node(struct grammar_builder *b, struct expression x)
{
    if (x.depth > GRAMMAR_MAX_DEPTH) {
        error_set(&b->error, ERROR_UNSUPPORTED, "expressions within each other: more than %d",
                  GRAMMAR_MAX_DEPTH);
        return GRAMMAR_NONE;
    }
    if (x.has_call || (x.kind == EXPRESSION_DFA && x.n == DERIVED_BY_CALLER)) {
        return append_node(b, x);
    }
    if (!room_for_slot(b)) {
        return GRAMMAR_NONE;
    }
    uint32_t slot = find_slot(b, &x);
    if (!dfa_spend(&b->steps, 1, &b->error)) {
        return GRAMMAR_NONE;
    }
    if (b->slots[slot] != 0) {
        drop_content(b, &x);
        return b->slots[slot] - 1;
    }
    uint32_t node = append_node(b, x);
    if (node != GRAMMAR_NONE) {
        b->slots[slot] = node + 1;
        b->n_slots_used++;
    }
    return node;
}

/* min and max: of a repetition, else 1. */
static uint32_t add_parts(struct grammar_builder *b, enum expression_kind kind,
                          const uint32_t *nodes, size_t n, uint32_t min, uint32_t max)
{
    struct expression x = {
        .kind = (uint8_t)kind, .n = (uint32_t)n, .depth = 1, .min = min, .max = max};
    for (size_t i = 0; i < n && !failed(b); i++) {
        if (nodes[i] >= b->nodes.n) {
            error_set(&b->error, ERROR_INTERNAL, "expression %u of %u", nodes[i], b->nodes.n);
        }
    }
    if (failed(b)) {
        return GRAMMAR_NONE;
    }
    uint32_t *children = pool_add(&b->children, n, sizeof *children, 2 * GRAMMAR_MAX_NODES,
                                  "parts of expressions", &b->error);
    if (children == NULL) {
        return GRAMMAR_NONE;
    }
    x.at = b->children.n - x.n;
    for (size_t i = 0; i < n; i++) {
        const struct expression *child = builder_node(b, nodes[i]);
        children[i] = nodes[i];
        x.has_call = x.has_call || child->has_call || kind == EXPRESSION_LIMIT;
        x.depth = child->depth + 1 > x.depth ? child->depth + 1 : x.depth;
    }
    return add_node(b, x);
}

static uint32_t add_list(struct grammar_builder *b, enum expression_kind kind,
                         const uint32_t *nodes, size_t n)
{
    return add_parts(b, kind, nodes, n, 1, 1);
}

uint32_t grammar_empty(struct grammar_builder *b)
{
    return add_list(b, EXPRESSION_SEQUENCE, NULL, 0);
}

uint32_t grammar_nothing(struct grammar_builder *b)
{
    return add_list(b, EXPRESSION_CHOICE, NULL, 0);
}

uint32_t grammar_sequence(struct grammar_builder *b, const uint32_t *nodes, size_t n)
{
    return n == 1 && !failed(b) ? nodes[0] : add_list(b, EXPRESSION_SEQUENCE, nodes, n);
}

uint32_t grammar_choice(struct grammar_builder *b, const uint32_t *nodes, size_t n)
{
    return n == 1 && !failed(b) ? nodes[0] : add_list(b, EXPRESSION_CHOICE, nodes, n);
}

uint32_t grammar_repeat(struct grammar_builder *b, uint32_t node, uint32_t min, uint32_t max)
{
    if (!failed(b) && (min > max || min > GRAMMAR_MAX_REPEAT ||
                       (max > GRAMMAR_MAX_REPEAT && max != GRAMMAR_UNLIMITED))) {
        error_set(&b->error, min > max ? ERROR_USAGE : ERROR_UNSUPPORTED,
                  "a repetition of %u to %u: at most %d, and from less to more", min, max,
                  GRAMMAR_MAX_REPEAT);
    }
    return add_parts(b, EXPRESSION_REPEAT, &node, 1, min, max);
}

uint32_t grammar_bytes(struct grammar_builder *b, struct str bytes)
{
    struct expression x = {.kind = EXPRESSION_BYTES, .n = (uint32_t)bytes.n, .depth = 1};
    if (failed(b)) {
        return GRAMMAR_NONE;
    }
    char *place =
        pool_add(&b->bytes, bytes.n, 1, GRAMMAR_MAX_BYTES, "bytes of literals", &b->error);
    if (place == NULL) {
        return GRAMMAR_NONE;
    }
    x.at = b->bytes.n - x.n;
    if (bytes.n > 0) {
        memcpy(place, bytes.p, bytes.n);
    }
    return add_node(b, x);
}

uint32_t grammar_class(struct grammar_builder *b, const struct grammar_class *c)
{
    struct expression x = {.kind = EXPRESSION_CLASS, .alphabet = (uint8_t)c->alphabet, .depth = 1};
    if (failed(b)) {
        return GRAMMAR_NONE;
    }
    struct grammar_range *work = mem_alloc(2 * c->n_ranges + 3, sizeof *work, "grammar", &b->error);
    if (work == NULL) {
        return GRAMMAR_NONE;
    }
    size_t n = alphabet_ranges(c, work);
    struct grammar_range *place = pool_add(&b->ranges, n, sizeof *place, 4 * GRAMMAR_MAX_NODES,
                                           "ranges of characters", &b->error);
    if (place != NULL && n > 0) {
        memcpy(place, work, n * sizeof *place);
    }
    mem_free(work);
    x.n = (uint32_t)n;
    x.at = b->ranges.n - x.n;
    return place != NULL ? add_node(b, x) : GRAMMAR_NONE;
}

/* --- rules */

uint32_t grammar_declare(struct grammar_builder *b, struct str name)
{
    if (failed(b)) {
        return GRAMMAR_NONE;
    }
    char **names = pool_add(&b->names, 1, sizeof *names, GRAMMAR_MAX_RULES, "rules", &b->error);
    struct rule *rule =
        names != NULL ? pool_add(&b->rules, 1, sizeof *rule, GRAMMAR_MAX_RULES, "rules", &b->error)
                      : NULL;
    if (names != NULL) {
        names = (char **)b->names.items + b->names.n - 1;
        *names = NULL;
    }
    if (rule == NULL) {
        return GRAMMAR_NONE;
    }
    struct str shown = str_shown(name);
    *names = mem_alloc(shown.n + 1, 1, "grammar", &b->error);
    if (*names == NULL) {
        return GRAMMAR_NONE;
    }
    if (shown.n > 0) {
        memcpy(*names, shown.p, shown.n);
    }
    *rule = (struct rule){{*names, shown.n}, GRAMMAR_NONE};
    return b->rules.n - 1;
}

void grammar_define(struct grammar_builder *b, uint32_t rule, uint32_t node)
{
    if (failed(b)) {
        return;
    }
    if (rule >= b->rules.n || node >= b->nodes.n) {
        error_set(&b->error, ERROR_INTERNAL, "rule %u of %u, expression %u of %u", rule, b->rules.n,
                  node, b->nodes.n);
    } else if (builder_rule(b, rule)->body != GRAMMAR_NONE) {
        error_set(&b->error, ERROR_USAGE, "rule '%.*s' is defined twice",
                  STR_ARG(builder_rule(b, rule)->name));
    } else {
        builder_rule(b, rule)->body = node;
    }
}

uint32_t grammar_call(struct grammar_builder *b, uint32_t rule)
{
    if (!failed(b) && rule >= b->rules.n) {
        error_set(&b->error, ERROR_INTERNAL, "rule %u of %u", rule, b->rules.n);
    }
    return failed(b)
               ? GRAMMAR_NONE
               : add_node(b,
                          (struct expression){
                              .kind = EXPRESSION_CALL, .has_call = true, .at = rule, .depth = 1});
}

/* --- what is computed at once */

static const struct dfa *known_dfa(const struct grammar_builder *b, uint32_t node)
{
    bool is_known = b->error.code == ERROR_NONE && node < b->nodes.n &&
                    builder_node(b, node)->kind == EXPRESSION_DFA;
    return is_known ? (const struct dfa *)b->dfas.items + builder_node(b, node)->at : NULL;
}

static bool build_dfa(struct grammar_builder *b, uint32_t node, struct dfa *out)
{
    struct nfa a;
    if (failed(b)) {
        return false;
    }
    if (node >= b->nodes.n || builder_node(b, node)->has_call) {
        return error_set(&b->error, ERROR_UNSUPPORTED,
                         "an expression that calls rules cannot be combined with another");
    }
    const struct dfa *known = known_dfa(b, node);
    if (known != NULL) {
        return dfa_copy(known, &b->steps, out, &b->error);
    }
    uint32_t start = NFA_NONE;
    if (nfa_init(&a, 16 * GRAMMAR_MAX_DFA_STATES, &b->steps, &b->error)) {
        start = regular_states(b, &a, node, NFA_MATCH, &b->error);
    }
    bool ok = start != NFA_NONE && dfa_from_nfa(&a, start, GRAMMAR_MAX_DFA_STATES, out, &b->error);
    nfa_finish(&a);
    return ok;
}

static bool build_minimal(struct grammar_builder *b, struct dfa *d)
{
    uint32_t *map = mem_alloc(d->n_states, sizeof *map, "grammar automaton", &b->error);
    bool ok = map != NULL && dfa_minimize(d, map, &b->steps, &b->error);
    mem_free(map);
    return ok;
}

static struct expression derived(enum derivation how, uint32_t one, uint32_t other)
{
    return (struct expression){
        .kind = EXPRESSION_DFA, .is_atomic = true, .n = how, .min = one, .max = other, .depth = 1};
}

/* Takes d over, on failure too. */
static uint32_t add_dfa(struct grammar_builder *b, struct dfa *d, struct expression x)
{
    struct dfa *place = build_minimal(b, d) ? pool_add(&b->dfas, 1, sizeof *place,
                                                       GRAMMAR_MAX_NODES, "automata", &b->error)
                                            : NULL;
    if (place == NULL) {
        dfa_finish(d);
        return GRAMMAR_NONE;
    }
    *place = *d;
    x.at = b->dfas.n - 1;
    return add_node(b, x);
}

/* The node that was derived in the same way before, GRAMMAR_NONE. */
static uint32_t find_derived(struct grammar_builder *b, struct expression x)
{
    uint32_t found = b->n_slots > 0 && !failed(b) ? b->slots[find_slot(b, &x)] : 0;
    return found != 0 ? found - 1 : GRAMMAR_NONE;
}

static uint32_t combine(struct grammar_builder *b, uint32_t one, uint32_t other,
                        enum dfa_operation operation)
{
    struct expression result =
        derived(operation == DFA_AND ? DERIVED_AS_BOTH : DERIVED_AS_DIFFERENCE, one, other);
    uint32_t node = find_derived(b, result);
    struct dfa x = {0}, y = {0}, d = {0};
    if (node == GRAMMAR_NONE && build_dfa(b, one, &x) && build_dfa(b, other, &y) &&
        dfa_combine(&x, &y, operation, &b->steps, &d, &b->error)) {
        node = add_dfa(b, &d, result);
    }
    dfa_finish(&x);
    dfa_finish(&y);
    return node;
}

uint32_t grammar_add_dfa(struct grammar_builder *b, struct dfa *d)
{
    if (failed(b) || !dfa_prune(d, &b->error)) {
        dfa_finish(d);
        return GRAMMAR_NONE;
    }
    return add_dfa(b, d, derived(DERIVED_BY_CALLER, 0, 0));
}

uint32_t grammar_intersect(struct grammar_builder *b, uint32_t a, uint32_t c)
{
    return combine(b, a, c, DFA_AND);
}

uint32_t grammar_subtract(struct grammar_builder *b, uint32_t a, uint32_t c)
{
    return combine(b, a, c, DFA_AND_NOT);
}

uint32_t grammar_determine(struct grammar_builder *b, uint32_t node)
{
    struct expression result = derived(DERIVED_ALONE, node, 0);
    uint32_t before = known_dfa(b, node) != NULL ? node : find_derived(b, result);
    struct dfa d = {0};
    return before != GRAMMAR_NONE   ? before
           : build_dfa(b, node, &d) ? add_dfa(b, &d, result)
                                    : GRAMMAR_NONE;
}

uint32_t grammar_limit(struct grammar_builder *b, uint32_t node, uint32_t max)
{
    uint32_t inner = grammar_determine(b, node);
    const struct dfa *d = known_dfa(b, inner);
    if (d == NULL) {
        return GRAMMAR_NONE;
    }
    uint32_t *least = text_limit_find_least(d, &d->start, 1, &b->steps, &b->error);
    if (least == NULL) {
        return GRAMMAR_NONE;
    }
    bool has_text = d->start != 0 && least[TEXT_LIMIT_PLACES * d->start] <= max;
    mem_free(least);
    if (!dfa_is_prefix_free(d) || max > GRAMMAR_MAX_REPEAT) {
        error_set(&b->error, ERROR_INTERNAL, "a limit of %u on texts that go on as others", max);
        return GRAMMAR_NONE;
    }
    return has_text ? add_parts(b, EXPRESSION_LIMIT, &inner, 1, 1, max) : grammar_nothing(b);
}

bool grammar_measure(struct grammar_builder *b, uint32_t node, uint32_t *out_states,
                     uint32_t *out_longest)
{
    const struct dfa *d = known_dfa(b, node);
    *out_states = d != NULL ? d->n_states : 0;
    return d != NULL && dfa_longest(d, out_longest, &b->error);
}

bool grammar_has_none(const struct grammar_builder *b, uint32_t node)
{
    const struct dfa *known = known_dfa(b, node);
    return node < b->nodes.n && (known != NULL ? known->start == 0
                                               : builder_node(b, node)->kind == EXPRESSION_CHOICE &&
                                                     builder_node(b, node)->n == 0);
}

bool grammar_is_nothing(struct grammar_builder *b, uint32_t node)
{
    const struct dfa *known = known_dfa(b, node);
    struct dfa d = {0};
    bool is_nothing = known != NULL ? known->start == 0 : build_dfa(b, node, &d) && d.start == 0;
    dfa_finish(&d);
    return is_nothing;
}

bool grammar_has_text(struct grammar_builder *b, uint32_t node, struct str text)
{
    const struct dfa *known = known_dfa(b, node);
    struct dfa d = {0};
    bool has =
        known != NULL ? dfa_matches(known, text) : build_dfa(b, node, &d) && dfa_matches(&d, text);
    dfa_finish(&d);
    return has;
}
