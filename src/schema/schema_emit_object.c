/* schema_emit_object.c - expressions for sets of objects: the named members in their order, then
 * the others. */
#include "schema/schema_compile_internal.h"

/* What of a set can be written: members with a value, as "name": value. */
struct member {
    uint32_t node;
    bool is_required;
};

struct layout {
    struct member *members; /* (n) */
    size_t n, n_required;
    uint32_t other; /* one member of a region; GRAMMAR_NONE: there are none */
    size_t min, max;
    uint32_t *tails; /* (n + 1, max_count + 1) expressions that are made, GRAMMAR_NONE */
    size_t max_count;
};

/* --- what is possible, before anything is made */

static bool is_possible(struct schema_compiler *k, struct schema_terms terms, bool *out)
{
    uint32_t node = 0;
    if (!schema_node_of(k, terms, &node)) {
        return false;
    }
    *out = schema_node_is_productive(k, node);
    return true;
}

bool schema_objects_are_productive(struct schema_compiler *k, const struct schema_objects *set,
                                   bool *out)
{
    size_t n_possible = 0;
    bool possible = false, lacks_required = false;
    for (size_t i = 0; i < set->n_properties; i++) {
        const struct schema_property *p = &set->properties[i];
        if (p->presence == SCHEMA_FORBIDDEN) {
            continue;
        }
        if (!is_possible(k, p->terms, &possible)) {
            return false;
        }
        lacks_required |= !possible && p->presence == SCHEMA_REQUIRED;
        n_possible += possible;
    }
    bool has_others = false;
    for (size_t i = 0; i < set->n_regions; i++) {
        if (!is_possible(k, set->regions[i].terms, &possible)) {
            return false;
        }
        has_others |= possible;
    }
    *out = !lacks_required && (has_others || n_possible >= set->min);
    return true;
}

/* --- members */

/* `"name": `. */
static uint32_t quote_name(struct schema_compiler *k, uint32_t name)
{
    uint32_t parts[] = {grammar_bytes(k->builder, STR("\"")), name,
                        grammar_bytes(k->builder, STR("\": "))};
    return grammar_sequence(k->builder, parts, 3);
}

/* quoted: of quote_name. */
static uint32_t emit_member(struct schema_compiler *k, uint32_t quoted, struct schema_terms terms)
{
    uint32_t node = 0;
    return schema_node_of(k, terms, &node) ? schema_then(k, quoted, schema_emit_node(k, node))
                                           : GRAMMAR_NONE;
}

/* Names that no property has, quoted, as one automaton: they are needed at several places. */
static uint32_t other_names(struct schema_compiler *k, const struct schema_objects *set,
                            uint32_t names)
{
    uint32_t *known = schema_arena_take(&k->arena, set->n_properties + 1, sizeof *known, k->e);
    if (known == NULL) {
        return GRAMMAR_NONE;
    }
    if (set->n_properties == 0) {
        names = names != GRAMMAR_NONE ? names : schema_text_any(k);
        return grammar_determine(k->builder, quote_name(k, names));
    }
    for (size_t i = 0; i < set->n_properties; i++) {
        known[i] = schema_text_literal(k, set->properties[i].name);
    }
    uint32_t all = names != GRAMMAR_NONE ? names : schema_text_plain(k);
    uint32_t properties = grammar_choice(k->builder, known, set->n_properties);
    return grammar_subtract(k->builder, quote_name(k, all), quote_name(k, properties));
}

static bool emit_others(struct schema_compiler *k, const struct schema_objects *set,
                        struct layout *l)
{
    uint32_t *ways = schema_arena_take(&k->arena, set->n_regions + 1, sizeof *ways, k->e);
    size_t n = 0;
    for (size_t i = 0; i < set->n_regions && ways != NULL; i++) {
        bool possible = false;
        if (!is_possible(k, set->regions[i].terms, &possible)) {
            return false;
        }
        uint32_t names = possible ? other_names(k, set, set->regions[i].names) : GRAMMAR_NONE;
        if (names != GRAMMAR_NONE && !grammar_is_nothing(k->builder, names)) {
            ways[n++] = emit_member(k, names, set->regions[i].terms);
        }
    }
    l->other = n > 0 ? grammar_choice(k->builder, ways, n) : GRAMMAR_NONE;
    return ways != NULL;
}

static bool emit_members(struct schema_compiler *k, const struct schema_objects *set,
                         struct layout *l)
{
    l->members = schema_arena_take(&k->arena, set->n_properties + 1, sizeof *l->members, k->e);
    for (size_t i = 0; i < set->n_properties && l->members != NULL; i++) {
        const struct schema_property *p = &set->properties[i];
        bool possible = false;
        if (p->presence != SCHEMA_FORBIDDEN && !is_possible(k, p->terms, &possible)) {
            return false;
        }
        if (possible) {
            uint32_t name = quote_name(k, schema_text_literal(k, p->name));
            l->members[l->n++] =
                (struct member){emit_member(k, name, p->terms), p->presence == SCHEMA_REQUIRED};
            l->n_required += p->presence == SCHEMA_REQUIRED;
        }
    }
    return l->members != NULL && emit_others(k, set, l);
}

/* --- without counting: a list of optional parts behind the first member */

static uint32_t with_comma(struct schema_compiler *k, uint32_t member)
{
    return schema_then(k, grammar_bytes(k->builder, STR(", ")), member);
}

/* What may follow in the order of the members is needed once for each that may be the first. Blocks
 * of them share what comes behind, so that n members make n * BLOCK parts and not n * n. */
enum { BLOCK = 32 };

struct followers {
    uint32_t *parts;  /* (n + 1) ", " member, if it is there; the last: all others */
    uint32_t *blocks; /* (n / BLOCK + 1) from the first member of a block on */
};

/* `first`, if it is any, and what may follow from the i-th member on. */
static uint32_t emit_from(struct schema_compiler *k, const struct layout *l,
                          const struct followers *f, uint32_t first, size_t i)
{
    uint32_t parts[BLOCK + 2];
    size_t n = 0, next = i / BLOCK + 1;
    if (first != GRAMMAR_NONE) {
        parts[n++] = first;
    }
    for (; i < l->n && i < next * BLOCK; i++) {
        parts[n++] = f->parts[i];
    }
    parts[n++] = next * BLOCK < l->n ? f->blocks[next] : f->parts[l->n];
    return grammar_sequence(k->builder, parts, n);
}

static bool make_followers(struct schema_compiler *k, const struct layout *l, struct followers *out)
{
    out->parts = schema_arena_take(&k->arena, l->n + 1, sizeof *out->parts, k->e);
    out->blocks = schema_arena_take(&k->arena, l->n / BLOCK + 1, sizeof *out->blocks, k->e);
    if (out->parts == NULL || out->blocks == NULL) {
        return false;
    }
    for (size_t i = 0; i < l->n; i++) {
        uint32_t member = with_comma(k, l->members[i].node);
        out->parts[i] = l->members[i].is_required ? member : schema_optional(k, member);
    }
    out->parts[l->n] =
        l->other != GRAMMAR_NONE
            ? grammar_repeat(k->builder, with_comma(k, l->other), 0, GRAMMAR_UNLIMITED)
            : grammar_empty(k->builder);
    for (size_t block = l->n / BLOCK + 1; block-- > 1;) {
        if (block * BLOCK < l->n) {
            out->blocks[block] = emit_from(k, l, out, GRAMMAR_NONE, block * BLOCK);
        }
    }
    return true;
}

static uint32_t emit_uncounted(struct schema_compiler *k, const struct layout *l)
{
    struct followers f;
    uint32_t *ways = schema_arena_take(&k->arena, l->n + 2, sizeof *ways, k->e);
    size_t n = 0;
    bool has_required = false;
    if (ways == NULL || !make_followers(k, l, &f)) {
        return GRAMMAR_NONE;
    }
    for (size_t i = 0; i < l->n && !has_required; i++) {
        ways[n++] = emit_from(k, l, &f, l->members[i].node, i + 1);
        has_required = l->members[i].is_required;
    }
    if (!has_required && l->other != GRAMMAR_NONE) {
        ways[n++] = schema_then(k, l->other, f.parts[l->n]);
    }
    if (!has_required) {
        ways[n++] = grammar_empty(k->builder);
    }
    return grammar_choice(k->builder, ways, n);
}

/* --- with minProperties or maxProperties: members are counted, up to max_count */

static uint32_t others_after(struct schema_compiler *k, const struct layout *l, size_t count)
{
    size_t missing = count < l->min ? l->min - count : 0;
    size_t left = l->max == SCHEMA_NO_LIMIT ? SCHEMA_NO_LIMIT : l->max - count;
    if (missing > 1 || (missing == 1 && (l->other == GRAMMAR_NONE || left == 0))) {
        return grammar_nothing(k->builder); /* others may all have the same name */
    }
    if (l->other == GRAMMAR_NONE || left == 0) {
        return grammar_empty(k->builder);
    }
    bool is_first = count == 0;
    uint32_t more = left < GRAMMAR_MAX_REPEAT ? (uint32_t)left : GRAMMAR_UNLIMITED;
    if (!is_first) {
        return grammar_repeat(k->builder, with_comma(k, l->other), (uint32_t)missing, more);
    }
    more = more == GRAMMAR_UNLIMITED ? more : more - 1;
    uint32_t some =
        schema_then(k, l->other, grammar_repeat(k->builder, with_comma(k, l->other), 0, more));
    return missing > 0 ? some : schema_optional(k, some);
}

/* What may come from the i-th member on, when `count` (at most max_count) were written. */
static uint32_t emit_counted(struct schema_compiler *k, const struct layout *l, size_t i,
                             size_t count)
{
    if (i == l->n) {
        return others_after(k, l, count);
    }
    uint32_t *tail = &l->tails[i * (l->max_count + 1) + count];
    if (*tail == GRAMMAR_NONE) {
        size_t next = count < l->max_count ? count + 1 : count;
        uint32_t with = grammar_nothing(k->builder);
        if (l->max == SCHEMA_NO_LIMIT || count < l->max) {
            uint32_t member = count > 0 ? with_comma(k, l->members[i].node) : l->members[i].node;
            with = schema_then(k, member, emit_counted(k, l, i + 1, next));
        }
        *tail = l->members[i].is_required
                    ? with
                    : schema_either(k, with, emit_counted(k, l, i + 1, count));
    }
    return *tail;
}

static uint32_t emit_body(struct schema_compiler *k, struct layout *l)
{
    enum { MOST_STATES = 2000, MOST_COUNTED = 100 };
    size_t most = l->other != GRAMMAR_NONE ? SCHEMA_NO_LIMIT : l->n;
    l->max = l->max >= most || l->max >= GRAMMAR_MAX_REPEAT ? SCHEMA_NO_LIMIT : l->max;
    if (l->min <= l->n_required && l->max == SCHEMA_NO_LIMIT) {
        return emit_uncounted(k, l);
    }
    if (l->min > l->n + 1) {
        error_set(
            k->e, ERROR_UNSUPPORTED,
            "minProperties is %zu, but only %zu properties have names of their own; others may "
            "all have the same name and count as one",
            l->min, l->n);
        return GRAMMAR_NONE;
    }
    size_t n_counted = l->max != SCHEMA_NO_LIMIT && l->max > l->min ? l->max : l->min;
    l->max_count = n_counted < l->n ? n_counted : l->n;
    l->max_count = l->max_count > 0 ? l->max_count : 1;
    size_t n = (l->n + 1) * (l->max_count + 1);
    if (l->n > MOST_COUNTED || n > MOST_STATES) {
        error_set(
            k->e, ERROR_UNSUPPORTED,
            "minProperties and maxProperties of %zu properties would count %zu cases, at most %d "
            "of at most %d properties are enforced",
            l->n, n, MOST_STATES, MOST_COUNTED);
        return GRAMMAR_NONE;
    }
    l->tails = schema_arena_take(&k->arena, n, sizeof *l->tails, k->e);
    for (size_t i = 0; i < n && l->tails != NULL; i++) {
        l->tails[i] = GRAMMAR_NONE;
    }
    return l->tails == NULL ? GRAMMAR_NONE : emit_counted(k, l, 0, 0);
}

uint32_t schema_emit_objects(struct schema_compiler *k, const struct schema_objects *set)
{
    struct layout l = {.other = GRAMMAR_NONE, .min = set->min, .max = set->max};
    bool is_productive = false;
    if (!schema_objects_are_productive(k, set, &is_productive)) {
        return GRAMMAR_NONE;
    }
    if (!is_productive) {
        return grammar_nothing(k->builder);
    }
    if (!emit_members(k, set, &l)) {
        return GRAMMAR_NONE;
    }
    uint32_t parts[] = {grammar_bytes(k->builder, STR("{")), emit_body(k, &l),
                        grammar_bytes(k->builder, STR("}"))};
    return grammar_sequence(k->builder, parts, 3);
}
