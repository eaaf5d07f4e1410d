/* schema_form.c - forms: unions of sets of values by type. */
#include "schema/schema_compile_internal.h"

#include <string.h>

/* --- lists */

bool schema_list_push(struct schema_compiler *k, struct schema_list *list, const void *item,
                      size_t size)
{
    if (list->n >= SCHEMA_MAX_SETS) {
        return error_set(
            k->e, ERROR_UNSUPPORTED,
            "more than %d alternatives for one value: try fewer of anyOf, oneOf, if and "
            "their kin within each other",
            SCHEMA_MAX_SETS);
    }
    if (list->n == list->capacity) {
        size_t more = list->capacity > 0 ? list->capacity : 2;
        void *moved = schema_arena_copy(&k->arena, list->items, list->n, more, size, k->e);
        if (moved == NULL) {
            return false;
        }
        list->items = moved;
        list->capacity += more;
    }
    memcpy((char *)list->items + list->n++ * size, item, size);
    return schema_spend_steps(k, 1);
}

static bool push_all(struct schema_compiler *k, struct schema_list *into,
                     const struct schema_list *from, size_t size)
{
    bool ok = true;
    for (size_t i = 0; i < from->n && ok; i++) {
        ok = schema_list_push(k, into, (const char *)from->items + i * size, size);
    }
    return ok;
}

bool schema_form_merge(struct schema_compiler *k, struct schema_form *into,
                       const struct schema_form *from)
{
    into->has_null |= from->has_null;
    into->has_true |= from->has_true;
    into->has_false |= from->has_false;
    return push_all(k, &into->numbers, &from->numbers, sizeof(struct schema_numbers)) &&
           push_all(k, &into->strings, &from->strings, sizeof(struct schema_strings)) &&
           push_all(k, &into->arrays, &from->arrays, sizeof(struct schema_arrays)) &&
           push_all(k, &into->objects, &from->objects, sizeof(struct schema_objects));
}

bool schema_form_copy(struct schema_compiler *k, const struct schema_form *f,
                      struct schema_form *out)
{
    *out = (struct schema_form){0};
    return schema_form_merge(k, out, f);
}

bool schema_form_of_any(struct schema_compiler *k, struct schema_form *out)
{
    static const struct schema_region others = {.names = GRAMMAR_NONE};
    *out = (struct schema_form){.has_null = true, .has_true = true, .has_false = true};
    return schema_list_push(k, &out->numbers, &(struct schema_numbers){0},
                            sizeof(struct schema_numbers)) &&
           schema_list_push(
               k, &out->strings,
               &(struct schema_strings){.inside = GRAMMAR_NONE, .max = SCHEMA_NO_LIMIT},
               sizeof(struct schema_strings)) &&
           schema_list_push(
               k, &out->arrays,
               &(struct schema_arrays){.max = SCHEMA_NO_LIMIT, .max_contained = SCHEMA_NO_LIMIT},
               sizeof(struct schema_arrays)) &&
           schema_list_push(
               k, &out->objects,
               &(struct schema_objects){.regions = &others, .n_regions = 1, .max = SCHEMA_NO_LIMIT},
               sizeof(struct schema_objects));
}

void schema_form_keep_types(struct schema_form *f, unsigned types)
{
    f->has_null &= (types & SCHEMA_TYPE_NULL) != 0;
    f->has_true &= (types & SCHEMA_TYPE_BOOLEAN) != 0;
    f->has_false &= (types & SCHEMA_TYPE_BOOLEAN) != 0;
    f->strings.n = (types & SCHEMA_TYPE_STRING) != 0 ? f->strings.n : 0;
    f->arrays.n = (types & SCHEMA_TYPE_ARRAY) != 0 ? f->arrays.n : 0;
    f->objects.n = (types & SCHEMA_TYPE_OBJECT) != 0 ? f->objects.n : 0;
    f->numbers.n = (types & SCHEMA_TYPE_NUMBER) != 0 ? f->numbers.n : 0;
    struct schema_numbers *numbers = f->numbers.items;
    for (size_t i = 0; i < f->numbers.n; i++) {
        numbers[i].only_integers |= (types & SCHEMA_TYPE_FRACTION) == 0;
        numbers[i].only_fractions |= (types & SCHEMA_TYPE_INTEGER) == 0;
    }
}

/* --- terms */

bool schema_terms_add(struct schema_compiler *k, struct schema_terms *terms,
                      struct schema_term term)
{
    uint64_t keywords;
    bool is_there = term.kind == SCHEMA_HOLDS && schema_is_silent(term.schema);
    if (is_there && json_is_object(term.schema) && !schema_check_names(k, term.schema, &keywords)) {
        return false;
    }
    for (size_t i = 0; i < terms->n && !is_there; i++) {
        is_there = terms->list[i].schema == term.schema && terms->list[i].kind == term.kind;
    }
    if (is_there) {
        return schema_spend_steps(k, 1);
    }
    struct schema_term *list =
        schema_arena_copy(&k->arena, terms->list, terms->n, 1, sizeof *list, k->e);
    if (list == NULL) {
        return false;
    }
    list[terms->n] = term;
    *terms = (struct schema_terms){list, terms->n + 1};
    return schema_spend_steps(k, terms->n);
}

/* --- sets that are empty by themselves */

static bool is_within(const struct schema_bound *bound, struct decimal value, int good_side)
{
    int order = bound->is_set ? decimal_compare(value, bound->value) : good_side;
    return order == good_side || (order == 0 && !bound->is_open);
}

bool schema_numbers_have(const struct schema_numbers *set, struct decimal value)
{
    bool ok = is_within(&set->min, value, 1) && is_within(&set->max, value, -1) &&
              !(set->only_integers && !decimal_is_integer(value)) &&
              !(set->only_fractions && decimal_is_integer(value));
    for (size_t i = 0; i < set->n_units && ok; i++) {
        ok = decimal_is_multiple(value, set->units[i]);
    }
    for (size_t i = 0; i < set->n_excluded && ok; i++) {
        ok = decimal_compare(value, set->excluded[i]) != 0;
    }
    return ok;
}

/* Whether bounds that are both set have an integer between them; true where that is not seen. */
static bool has_integer(const struct schema_numbers *set)
{
    const struct decimal one = decimal_from_int(1);
    const int64_t most = INT64_MAX / 2;
    int64_t low, high;
    if (!decimal_count_units(set->min.value, one, true, &low) ||
        !decimal_count_units(set->max.value, one, false, &high) || low > most || high < -most) {
        return true;
    }
    low += set->min.is_open && decimal_is_integer(set->min.value);
    high -= set->max.is_open && decimal_is_integer(set->max.value);
    return low <= high;
}

static bool settle_numbers(struct schema_compiler *k, struct schema_numbers *set, bool *out_keep)
{
    if (!set->is_listed) {
        int order = set->min.is_set && set->max.is_set
                        ? decimal_compare(set->min.value, set->max.value)
                        : -1;
        *out_keep = order < 0 || (order == 0 && !set->min.is_open && !set->max.is_open);
        *out_keep &= !(set->only_integers && set->only_fractions);
        *out_keep &=
            !set->only_integers || !set->min.is_set || !set->max.is_set || has_integer(set);
        return true;
    }
    struct decimal *kept = schema_arena_take(&k->arena, set->n_values, sizeof *kept, k->e);
    size_t n = 0;
    for (size_t i = 0; i < set->n_values && kept != NULL; i++) {
        if (schema_numbers_have(set, set->values[i])) {
            kept[n++] = set->values[i];
        }
    }
    *out_keep = n > 0;
    *set = (struct schema_numbers){.is_listed = true, .values = kept, .n_values = n};
    return kept != NULL && schema_spend_steps(k, n);
}

bool schema_keep_numbers(struct schema_compiler *k, struct schema_form *f)
{
    struct schema_numbers *sets = f->numbers.items;
    size_t n = 0;
    for (size_t i = 0; i < f->numbers.n; i++) {
        bool keep = false;
        if (!settle_numbers(k, &sets[i], &keep)) {
            return false;
        }
        if (keep) {
            sets[n++] = sets[i];
        }
    }
    f->numbers.n = n;
    return true;
}

static size_t count_characters(struct str text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        n += ((unsigned char)text.p[i] & 0xc0) != 0x80;
    }
    return n;
}

static bool settle_strings(struct schema_compiler *k, struct schema_strings *set, bool *out_keep)
{
    if (!set->is_listed) {
        *out_keep = set->min <= set->max &&
                    (set->inside == GRAMMAR_NONE || !grammar_is_nothing(k->builder, set->inside));
        return true;
    }
    struct str *kept = schema_arena_take(&k->arena, set->n_values, sizeof *kept, k->e);
    size_t n = 0;
    for (size_t i = 0; i < set->n_values && kept != NULL; i++) {
        size_t length = count_characters(set->values[i]);
        if (length >= set->min && length <= set->max &&
            (set->inside == GRAMMAR_NONE || schema_text_has(k, set->inside, set->values[i]))) {
            kept[n++] = set->values[i];
        }
    }
    *out_keep = n > 0;
    *set = (struct schema_strings){.inside = GRAMMAR_NONE,
                                   .max = SCHEMA_NO_LIMIT,
                                   .is_listed = true,
                                   .values = kept,
                                   .n_values = n};
    return kept != NULL && schema_spend_steps(k, n);
}

bool schema_keep_strings(struct schema_compiler *k, struct schema_form *f)
{
    struct schema_strings *sets = f->strings.items;
    size_t n = 0;
    for (size_t i = 0; i < f->strings.n; i++) {
        bool keep = false;
        if (!settle_strings(k, &sets[i], &keep)) {
            return false;
        }
        if (keep) {
            sets[n++] = sets[i];
        }
    }
    f->strings.n = n;
    return true;
}

/* --- emptiness, as far as it can be seen */

static bool terms_are_empty(struct schema_compiler *k, struct schema_terms terms, unsigned depth,
                            bool *out)
{
    struct schema_form f;
    *out = false;
    if (terms.n == 0 || depth == 0) {
        return true;
    }
    return schema_form_of_any(k, &f) && schema_apply_terms(k, terms, &f) &&
           schema_form_is_empty(k, &f, depth - 1, out);
}

static bool objects_are_empty(struct schema_compiler *k, const struct schema_objects *set,
                              unsigned depth, bool *out)
{
    *out = set->min > set->max;
    for (size_t i = 0; i < set->n_properties && !*out; i++) {
        const struct schema_property *p = &set->properties[i];
        if (p->presence == SCHEMA_REQUIRED && !terms_are_empty(k, p->terms, depth, out)) {
            return false;
        }
    }
    return true;
}

static bool arrays_are_empty(struct schema_compiler *k, const struct schema_arrays *set,
                             unsigned depth, bool *out)
{
    *out = set->min > set->max;
    for (size_t i = 0; i < set->min && i < set->n_first && !*out; i++) {
        if (!terms_are_empty(k, set->first[i], depth, out)) {
            return false;
        }
    }
    return *out || set->min <= set->n_first || terms_are_empty(k, set->rest, depth, out);
}

bool schema_form_is_empty(struct schema_compiler *k, const struct schema_form *f, unsigned depth,
                          bool *out)
{
    const struct schema_arrays *arrays = f->arrays.items;
    const struct schema_objects *objects = f->objects.items;
    *out = !f->has_null && !f->has_true && !f->has_false && f->numbers.n == 0 && f->strings.n == 0;
    for (size_t i = 0; i < f->arrays.n && *out; i++) {
        if (!arrays_are_empty(k, &arrays[i], depth, out)) {
            return false;
        }
    }
    for (size_t i = 0; i < f->objects.n && *out; i++) {
        if (!objects_are_empty(k, &objects[i], depth, out)) {
            return false;
        }
    }
    return schema_spend_steps(k, 1);
}
