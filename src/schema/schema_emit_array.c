/* schema_emit_array.c - expressions for sets of arrays: items at the front, then all others,
 * counted where contains, minItems or maxItems ask for it; and arrays without equal items. */
#include "schema/schema_compile_internal.h"

enum { MAX_UNIQUE = 7, MAX_CONTAINED_STATES = 4000 };

/* --- items */

/* Terms of the item at an index, with those of contains (kind HOLDS), with their opposite (FAILS),
 * or alone (EQUALS). */
static bool item_node(struct schema_compiler *k, const struct schema_arrays *set, size_t index,
                      enum schema_term_kind contained, uint32_t *out)
{
    struct schema_terms terms = index < set->n_first ? set->first[index] : set->rest;
    for (size_t i = 0; i < set->contained.n && contained != SCHEMA_EQUALS; i++) {
        struct schema_term term = set->contained.list[i];
        bool holds = (term.kind == SCHEMA_HOLDS) == (contained == SCHEMA_HOLDS);
        term.kind = holds ? SCHEMA_HOLDS : SCHEMA_FAILS;
        if (!schema_terms_add(k, &terms, term)) {
            return false;
        }
    }
    return schema_node_of(k, terms, out);
}

static bool is_possible(struct schema_compiler *k, const struct schema_arrays *set, size_t index,
                        enum schema_term_kind contained, bool *out)
{
    uint32_t node = 0;
    if (!item_node(k, set, index, contained, &node)) {
        return false;
    }
    *out = schema_node_is_productive(k, node);
    return true;
}

static uint32_t emit_item(struct schema_compiler *k, const struct schema_arrays *set, size_t index,
                          enum schema_term_kind contained)
{
    uint32_t node = 0;
    if (!item_node(k, set, index, contained, &node)) {
        return GRAMMAR_NONE;
    }
    return schema_node_is_productive(k, node) ? schema_emit_node(k, node)
                                              : grammar_nothing(k->builder);
}

static uint32_t with_comma(struct schema_compiler *k, size_t index, uint32_t item)
{
    return index > 0 ? schema_then(k, grammar_bytes(k->builder, STR(", ")), item) : item;
}

/* --- what is possible */

/* How many items an array can have: up to the first that no value is for. */
static bool count_possible(struct schema_compiler *k, const struct schema_arrays *set, size_t *out)
{
    bool possible = true, ok = true;
    size_t n = 0;
    *out = SCHEMA_NO_LIMIT;
    for (size_t i = 0; i <= set->n_first && ok; i++) {
        ok = is_possible(k, set, i, SCHEMA_EQUALS, &possible);
        if (!possible && *out == SCHEMA_NO_LIMIT) {
            *out = n;
        }
        n++;
    }
    return ok;
}

/* Visits all items that emission may ask for. */
static bool visit_contained(struct schema_compiler *k, const struct schema_arrays *set,
                            size_t n_items, size_t *out_matching)
{
    bool possible = false;
    *out_matching = 0;
    for (size_t i = 0; i <= set->n_first; i++) {
        if (!is_possible(k, set, i, SCHEMA_HOLDS, &possible)) {
            return false;
        }
        if (possible && i < n_items) {
            *out_matching = i < set->n_first ? *out_matching + 1 : SCHEMA_NO_LIMIT;
        }
        if (set->max_contained != SCHEMA_NO_LIMIT &&
            !is_possible(k, set, i, SCHEMA_FAILS, &possible)) {
            return false;
        }
    }
    return true;
}

/* --- values that are all different */

/* The values of an item, each once however often and in whatever spelling the schema names it. */
struct distinct {
    struct decimal numbers[MAX_UNIQUE]; /* (n_numbers) */
    struct str strings[MAX_UNIQUE];     /* (n_strings) */
    size_t n_numbers, n_strings;
};

static bool add_number(struct distinct *d, struct decimal value)
{
    size_t i = 0;
    while (i < d->n_numbers && decimal_compare(d->numbers[i], value) != 0) {
        i++;
    }
    if (i == MAX_UNIQUE) {
        return false;
    }
    d->numbers[i] = value;
    d->n_numbers += i == d->n_numbers;
    return true;
}

static bool add_string(struct distinct *d, struct str value)
{
    size_t i = 0;
    while (i < d->n_strings && !str_eq(d->strings[i], value)) {
        i++;
    }
    if (i == MAX_UNIQUE) {
        return false;
    }
    d->strings[i] = value;
    d->n_strings += i == d->n_strings;
    return true;
}

static size_t count_distinct(const struct schema_form *f, const struct distinct *d)
{
    return d->n_numbers + d->n_strings + f->has_null + f->has_true + f->has_false;
}

/* False where there are more, or others than those of lists. */
static bool find_distinct(const struct schema_form *f, struct distinct *out)
{
    const struct schema_numbers *numbers = f->numbers.items;
    const struct schema_strings *strings = f->strings.items;
    bool ok = f->arrays.n == 0 && f->objects.n == 0;
    *out = (struct distinct){.n_numbers = 0};
    for (size_t i = 0; i < f->numbers.n && ok; i++) {
        ok = numbers[i].is_listed;
        for (size_t m = 0; m < numbers[i].n_values && ok; m++) {
            ok = add_number(out, numbers[i].values[m]);
        }
    }
    for (size_t i = 0; i < f->strings.n && ok; i++) {
        ok = strings[i].is_listed;
        for (size_t m = 0; m < strings[i].n_values && ok; m++) {
            ok = add_string(out, strings[i].values[m]);
        }
    }
    return ok && count_distinct(f, out) <= MAX_UNIQUE;
}

/* Whether unique items are values of a list that is shorter than minItems. */
static bool lacks_values(struct schema_compiler *k, const struct schema_arrays *set, bool *out)
{
    uint32_t node = 0;
    struct distinct d;
    *out = false;
    if (!set->is_unique || set->min < 2 || set->n_first > 0) {
        return true;
    }
    if (!item_node(k, set, 0, SCHEMA_EQUALS, &node)) {
        return false;
    }
    const struct schema_form *f = node != SCHEMA_ANY_NODE ? &k->nodes[node].form : NULL;
    *out = f != NULL && find_distinct(f, &d) && count_distinct(f, &d) < set->min;
    return true;
}

bool schema_arrays_are_productive(struct schema_compiler *k, const struct schema_arrays *set,
                                  bool *out)
{
    size_t n_items = 0, n_matching = SCHEMA_NO_LIMIT;
    bool lacks = false;
    if (!count_possible(k, set, &n_items) || !lacks_values(k, set, &lacks) ||
        (set->has_contained && !visit_contained(k, set, n_items, &n_matching))) {
        return false;
    }
    *out =
        !lacks && set->min <= n_items && !(set->has_contained && set->min_contained > n_matching);
    return true;
}

/* --- arrays without contains */

/* Items from index n on that all have the same schema: ", " item, min to max times. */
static uint32_t emit_rest(struct schema_compiler *k, const struct schema_arrays *set, size_t max)
{
    size_t n = set->n_first;
    size_t least = set->min > n ? set->min - n : 0;
    if (max <= n) {
        return grammar_empty(k->builder);
    }
    size_t most = max == SCHEMA_NO_LIMIT ? SCHEMA_NO_LIMIT : max - n;
    uint32_t item = emit_item(k, set, n, SCHEMA_EQUALS);
    uint32_t min = least < GRAMMAR_MAX_REPEAT ? (uint32_t)least : GRAMMAR_MAX_REPEAT + 1;
    uint32_t more = most < GRAMMAR_MAX_REPEAT ? (uint32_t)most : GRAMMAR_UNLIMITED;
    if (n > 0) {
        return grammar_repeat(k->builder, with_comma(k, 1, item), min, more);
    }
    uint32_t others = grammar_repeat(k->builder, with_comma(k, 1, item), min > 0 ? min - 1 : 0,
                                     more == GRAMMAR_UNLIMITED ? more : more - 1);
    uint32_t some = schema_then(k, item, others);
    return min > 0 ? some : schema_optional(k, some);
}

static uint32_t emit_plain(struct schema_compiler *k, const struct schema_arrays *set)
{
    size_t n_possible = 0;
    if (!count_possible(k, set, &n_possible)) {
        return GRAMMAR_NONE;
    }
    size_t max = n_possible < set->max ? n_possible : set->max;
    uint32_t body = emit_rest(k, set, max);
    for (size_t i = set->n_first; i-- > 0;) {
        if (i >= max) {
            body = grammar_empty(k->builder);
            continue;
        }
        body = schema_then(k, with_comma(k, i, emit_item(k, set, i, SCHEMA_EQUALS)), body);
        body = i >= set->min ? schema_optional(k, body) : body;
    }
    return body;
}

/* --- arrays with contains: states (items so far, those of them that match), each up to a limit
 * from which on more make no difference */

struct states {
    const struct schema_arrays *set;
    size_t max_items, max_matching; /* where counting ends */
    uint32_t *made;                 /* (max_items + 1, max_matching + 1) GRAMMAR_NONE: not yet */
};

static uint32_t emit_state(struct schema_compiler *k, const struct states *s, size_t n,
                           size_t n_matching);

/* The item at index n, matching or not, and what comes then. */
static uint32_t emit_step(struct schema_compiler *k, const struct states *s, size_t n,
                          size_t n_matching, bool matches)
{
    const struct schema_arrays *set = s->set;
    bool is_exact = set->max_contained != SCHEMA_NO_LIMIT;
    enum schema_term_kind kind = matches ? SCHEMA_HOLDS : is_exact ? SCHEMA_FAILS : SCHEMA_EQUALS;
    size_t next = n < s->max_items ? n + 1 : n;
    size_t next_matching = matches && n_matching < s->max_matching ? n_matching + 1 : n_matching;
    if (n >= set->max || (matches && n_matching >= set->max_contained)) {
        return grammar_nothing(k->builder);
    }
    uint32_t item = with_comma(k, n, emit_item(k, set, n, kind));
    if (next == n && next_matching == n_matching) {
        return GRAMMAR_NONE; /* a loop: emit_state() makes it */
    }
    return schema_then(k, item, emit_state(k, s, next, next_matching));
}

static uint32_t emit_state(struct schema_compiler *k, const struct states *s, size_t n,
                           size_t n_matching)
{
    const struct schema_arrays *set = s->set;
    uint32_t *made = &s->made[n * (s->max_matching + 1) + n_matching];
    if (*made != GRAMMAR_NONE) {
        return *made;
    }
    bool loops = n == s->max_items && n < set->max;
    bool can_end = n >= set->min && n_matching >= set->min_contained;
    uint32_t end = can_end ? grammar_empty(k->builder) : grammar_nothing(k->builder);
    uint32_t result = end;
    uint32_t matching = emit_step(k, s, n, n_matching, true);
    if (!loops) {
        result = schema_either(k, end, matching);
        result = schema_either(k, result, emit_step(k, s, n, n_matching, false));
    } else {
        bool is_exact = set->max_contained != SCHEMA_NO_LIMIT;
        uint32_t item = emit_item(k, set, n, is_exact ? SCHEMA_FAILS : SCHEMA_EQUALS);
        if (matching == GRAMMAR_NONE && is_exact) { /* matching items loop, too */
            item = schema_either(k, item, emit_item(k, set, n, SCHEMA_HOLDS));
        }
        uint32_t loop = grammar_repeat(k->builder, with_comma(k, n, item), 0, GRAMMAR_UNLIMITED);
        result =
            schema_then(k, loop, matching == GRAMMAR_NONE ? end : schema_either(k, end, matching));
    }
    *made = result;
    return result;
}

static uint32_t emit_contained(struct schema_compiler *k, const struct schema_arrays *set)
{
    size_t n_possible = 0;
    if (!count_possible(k, set, &n_possible)) {
        return GRAMMAR_NONE;
    }
    struct schema_arrays one = *set;
    one.max = n_possible < set->max ? n_possible : set->max;
    bool has_max = one.max < GRAMMAR_MAX_REPEAT;
    struct states s = {.set = &one};
    size_t least = one.min > one.n_first ? one.min : one.n_first;
    s.max_items = has_max ? one.max : least > 0 ? least : 1;
    s.max_matching = one.max_contained != SCHEMA_NO_LIMIT ? one.max_contained : one.min_contained;
    if (!has_max) {
        one.max = SCHEMA_NO_LIMIT;
    }
    if (s.max_items > MAX_CONTAINED_STATES || s.max_matching > MAX_CONTAINED_STATES ||
        (s.max_items + 1) * (s.max_matching + 1) > MAX_CONTAINED_STATES) {
        error_set(
            k->e, ERROR_UNSUPPORTED,
            "contains with minItems, maxItems, minContains or maxContains counts more than %d "
            "combinations",
            MAX_CONTAINED_STATES);
        return GRAMMAR_NONE;
    }
    size_t n = (s.max_items + 1) * (s.max_matching + 1);
    s.made = schema_arena_take(&k->arena, n, sizeof *s.made, k->e);
    for (size_t i = 0; i < n && s.made != NULL; i++) {
        s.made[i] = GRAMMAR_NONE;
    }
    return s.made == NULL ? GRAMMAR_NONE : emit_state(k, &s, 0, 0);
}

/* --- uniqueItems, where all items are of one list of values */

static bool list_values(struct schema_compiler *k, const struct schema_arrays *set,
                        uint32_t values[MAX_UNIQUE], size_t *out_n)
{
    uint32_t node = 0;
    if (!item_node(k, set, set->n_first, SCHEMA_EQUALS, &node)) {
        return false;
    }
    const struct schema_form *f = node != SCHEMA_ANY_NODE ? &k->nodes[node].form : NULL;
    struct distinct d;
    if (f == NULL || set->n_first > 0 || set->has_contained || !find_distinct(f, &d)) {
        return error_set(k->e, ERROR_UNSUPPORTED,
                         "'uniqueItems' is enforced for items of enum or const with at most %d "
                         "different values, and without prefixItems and contains",
                         MAX_UNIQUE);
    }
    size_t n = 0;
    for (size_t i = 0; i < d.n_numbers; i++) {
        struct schema_numbers one = {.is_listed = true, .values = &d.numbers[i], .n_values = 1};
        values[n++] = schema_emit_numbers(k, &one);
    }
    for (size_t i = 0; i < d.n_strings; i++) {
        uint32_t parts[] = {grammar_bytes(k->builder, STR("\"")),
                            schema_text_literal(k, d.strings[i]),
                            grammar_bytes(k->builder, STR("\""))};
        values[n++] = grammar_sequence(k->builder, parts, 3);
    }
    static const struct str words[] = {{"null", 4}, {"true", 4}, {"false", 5}};
    for (size_t i = 0; i < 3; i++) {
        if (i == 0 ? f->has_null : i == 1 ? f->has_true : f->has_false) {
            values[n++] = grammar_bytes(k->builder, words[i]);
        }
    }
    *out_n = n;
    return true;
}

struct choice {
    const struct schema_arrays *set;
    uint32_t values[MAX_UNIQUE];
    size_t n;
    uint32_t *made; /* (2^n) by the bits of those used; GRAMMAR_NONE: not yet */
};

static uint32_t emit_unused(struct schema_compiler *k, const struct choice *c, unsigned used,
                            size_t n_used)
{
    uint32_t ways[MAX_UNIQUE + 1];
    size_t n = 0;
    if (c->made[used] != GRAMMAR_NONE) {
        return c->made[used];
    }
    if (n_used >= c->set->min) {
        ways[n++] = grammar_empty(k->builder);
    }
    for (size_t i = 0; i < c->n && n_used < c->set->max; i++) {
        if ((used >> i & 1) == 0) {
            ways[n++] = schema_then(k, with_comma(k, n_used, c->values[i]),
                                    emit_unused(k, c, used | 1u << i, n_used + 1));
        }
    }
    return c->made[used] = grammar_choice(k->builder, ways, n);
}

static uint32_t emit_unique(struct schema_compiler *k, const struct schema_arrays *set)
{
    struct choice c = {.set = set};
    if (!list_values(k, set, c.values, &c.n)) {
        return GRAMMAR_NONE;
    }
    c.made = schema_arena_take(&k->arena, (size_t)1 << c.n, sizeof *c.made, k->e);
    for (size_t i = 0; i < (size_t)1 << c.n && c.made != NULL; i++) {
        c.made[i] = GRAMMAR_NONE;
    }
    return c.made == NULL ? GRAMMAR_NONE : emit_unused(k, &c, 0, 0);
}

uint32_t schema_emit_arrays(struct schema_compiler *k, const struct schema_arrays *set)
{
    bool is_productive = false;
    if (!schema_arrays_are_productive(k, set, &is_productive)) {
        return GRAMMAR_NONE;
    }
    uint32_t body = !is_productive                   ? grammar_nothing(k->builder)
                    : set->is_unique && set->max > 1 ? emit_unique(k, set)
                    : set->has_contained             ? emit_contained(k, set)
                                                     : emit_plain(k, set);
    uint32_t parts[] = {grammar_bytes(k->builder, STR("[")), body,
                        grammar_bytes(k->builder, STR("]"))};
    return grammar_sequence(k->builder, parts, 3);
}
