/* schema_keyword_scalar.c - keywords that ask for values, and those of numbers and strings. */
#include "schema/schema_compile_internal.h"
#include "schema/schema_value.h"

#include <stdlib.h>
#include <string.h>

/* --- type */

static const struct {
    const char *name;
    unsigned bits;
} types[] = {{"null", SCHEMA_TYPE_NULL},       {"boolean", SCHEMA_TYPE_BOOLEAN},
             {"integer", SCHEMA_TYPE_INTEGER}, {"number", SCHEMA_TYPE_NUMBER},
             {"string", SCHEMA_TYPE_STRING},   {"array", SCHEMA_TYPE_ARRAY},
             {"object", SCHEMA_TYPE_OBJECT}};

static unsigned type_bits(const json_t *name)
{
    const char *text = json_is_string(name) ? json_string_value(name) : "";
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, text) == 0) {
            return types[i].bits;
        }
    }
    return 0;
}

static bool read_types(struct schema_compiler *k, const struct schema_use *use, unsigned *out)
{
    *out = type_bits(use->value);
    for (size_t i = 0; i < json_array_size(use->value); i++) {
        unsigned bits = type_bits(json_array_get(use->value, i));
        if (bits == 0) {
            return schema_refuse_value(k, use);
        }
        *out |= bits;
    }
    return *out != 0 || schema_refuse_value(k, use);
}

static bool apply_type(struct schema_compiler *k, const struct schema_use *use,
                       struct schema_form *f)
{
    unsigned bits = 0;
    if (!read_types(k, use, &bits)) {
        return false;
    }
    schema_form_keep_types(f, bits);
    return schema_keep_numbers(k, f);
}

static bool deny_type(struct schema_compiler *k, const struct schema_use *use,
                      struct schema_form *f)
{
    unsigned bits = 0;
    if (!read_types(k, use, &bits)) {
        return false;
    }
    schema_form_keep_types(f, SCHEMA_TYPE_ANY & ~bits);
    return schema_keep_numbers(k, f);
}

/* --- enum and const */

struct literals {
    struct str *strings;
    struct decimal *numbers;
    size_t n_strings, n_numbers;
    /* ascending copies, for sets that are lists already; NULL until sort_literals() */
    struct str *sorted_strings;
    struct decimal *sorted_numbers;
};

static bool gather_literals(struct schema_compiler *k, json_t *const *values, size_t n,
                            struct literals *out)
{
    *out = (struct literals){0};
    out->strings = schema_arena_take(&k->arena, n, sizeof *out->strings, k->e);
    out->numbers = schema_arena_take(&k->arena, n, sizeof *out->numbers, k->e);
    if (out->strings == NULL || out->numbers == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (json_is_string(values[i])) {
            out->strings[out->n_strings++] =
                (struct str){json_string_value(values[i]), json_string_length(values[i])};
        } else if (json_is_number(values[i])) {
            out->numbers[out->n_numbers++] = decimal_from_json(values[i]);
        }
    }
    return schema_spend_steps(k, n);
}

static int compare_strings(const void *a, const void *b)
{
    const struct str *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = n > 0 ? memcmp(x->p, y->p, n) : 0;
    return order != 0 ? order : (x->n > y->n) - (x->n < y->n);
}

static int compare_numbers(const void *a, const void *b)
{
    return decimal_compare(*(const struct decimal *)a, *(const struct decimal *)b);
}

static bool sort_literals(struct schema_compiler *k, struct literals *l)
{
    if (l->sorted_numbers != NULL) {
        return true;
    }
    l->sorted_strings =
        schema_arena_copy(&k->arena, l->strings, l->n_strings, 0, sizeof *l->strings, k->e);
    l->sorted_numbers =
        schema_arena_copy(&k->arena, l->numbers, l->n_numbers, 0, sizeof *l->numbers, k->e);
    if (l->sorted_strings == NULL || l->sorted_numbers == NULL) {
        return false;
    }
    qsort(l->sorted_strings, l->n_strings, sizeof *l->strings, compare_strings);
    qsort(l->sorted_numbers, l->n_numbers, sizeof *l->numbers, compare_numbers);
    return schema_spend_steps(k, l->n_strings + l->n_numbers);
}

/* What two lists have in common, for sets that are lists already. */
static bool list_strings(struct schema_compiler *k, struct schema_strings *set, struct literals *l)
{
    if (!set->is_listed) {
        set->is_listed = true;
        set->values = l->strings;
        set->n_values = l->n_strings;
        return true;
    }
    struct str *both = schema_arena_take(&k->arena, set->n_values, sizeof *both, k->e);
    size_t n = 0;
    if (both == NULL || !sort_literals(k, l) || !schema_spend_steps(k, 1 + set->n_values)) {
        return false;
    }
    for (size_t i = 0; i < set->n_values; i++) {
        if (bsearch(&set->values[i], l->sorted_strings, l->n_strings, sizeof *both,
                    compare_strings) != NULL) {
            both[n++] = set->values[i];
        }
    }
    set->values = both;
    set->n_values = n;
    return true;
}

static bool list_numbers(struct schema_compiler *k, struct schema_numbers *set, struct literals *l)
{
    if (!set->is_listed) {
        set->is_listed = true;
        set->values = l->numbers;
        set->n_values = l->n_numbers;
        return true;
    }
    struct decimal *both = schema_arena_take(&k->arena, set->n_values, sizeof *both, k->e);
    size_t n = 0;
    if (both == NULL || !sort_literals(k, l) || !schema_spend_steps(k, 1 + set->n_values)) {
        return false;
    }
    for (size_t i = 0; i < set->n_values; i++) {
        if (bsearch(&set->values[i], l->sorted_numbers, l->n_numbers, sizeof *both,
                    compare_numbers) != NULL) {
            both[n++] = set->values[i];
        }
    }
    set->values = both;
    set->n_values = n;
    return true;
}

static bool apply_scalar_values(struct schema_compiler *k, struct literals *l,
                                struct schema_form *f)
{
    struct schema_strings *strings = f->strings.items;
    struct schema_numbers *numbers = f->numbers.items;
    for (size_t i = 0; i < f->strings.n; i++) {
        if (!list_strings(k, &strings[i], l)) {
            return false;
        }
    }
    for (size_t i = 0; i < f->numbers.n; i++) {
        if (!list_numbers(k, &numbers[i], l)) {
            return false;
        }
    }
    return schema_keep_strings(k, f) && schema_keep_numbers(k, f);
}

bool schema_apply_values(struct schema_compiler *k, const struct schema_use *use,
                         json_t *const *values, size_t n, struct schema_form *f)
{
    struct literals l;
    struct schema_form out = {.numbers = f->numbers, .strings = f->strings};
    if (n > SCHEMA_MAX_ENUM) {
        return schema_refuse(k, use, "has %zu values, at most %d are enforced", n, SCHEMA_MAX_ENUM);
    }
    if (!gather_literals(k, values, n, &l) || !apply_scalar_values(k, &l, &out)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        out.has_null |= f->has_null && json_is_null(values[i]);
        out.has_true |= f->has_true && json_is_true(values[i]);
        out.has_false |= f->has_false && json_is_false(values[i]);
        if ((json_is_array(values[i]) && !schema_apply_array_value(k, values[i], f, &out)) ||
            (json_is_object(values[i]) && !schema_apply_object_value(k, values[i], f, &out))) {
            return false;
        }
    }
    *f = out;
    return true;
}

static bool apply_enum(struct schema_compiler *k, const struct schema_use *use,
                       struct schema_form *f)
{
    size_t n = json_array_size(use->value);
    if (!json_is_array(use->value)) {
        return schema_refuse_value(k, use);
    }
    if (n > SCHEMA_MAX_ENUM) {
        return schema_refuse(k, use, "has %zu values, at most %d are enforced", n, SCHEMA_MAX_ENUM);
    }
    json_t **values = schema_arena_take(&k->arena, n, sizeof *values, k->e);
    for (size_t i = 0; i < n && values != NULL; i++) {
        values[i] = json_array_get(use->value, i);
    }
    return values != NULL && schema_apply_values(k, use, values, n, f);
}

static bool apply_const(struct schema_compiler *k, const struct schema_use *use,
                        struct schema_form *f)
{
    json_t *value = (json_t *)use->value;
    return schema_apply_values(k, use, &value, 1, f);
}

static bool exclude_strings(struct schema_compiler *k, struct schema_strings *set,
                            const struct literals *l)
{
    uint32_t *texts = schema_arena_take(&k->arena, l->n_strings, sizeof *texts, k->e);
    for (size_t m = 0; m < l->n_strings && texts != NULL; m++) {
        texts[m] = schema_text_literal(k, l->strings[m]);
    }
    if (texts != NULL && l->n_strings > 0) {
        set->inside = grammar_subtract(
            k->builder, set->inside != GRAMMAR_NONE ? set->inside : schema_text_plain(k),
            grammar_choice(k->builder, texts, l->n_strings));
    }
    return texts != NULL && schema_spend_steps(k, 1 + l->n_strings);
}

static bool exclude_numbers(struct schema_compiler *k, struct schema_numbers *set,
                            const struct literals *l)
{
    struct decimal *all = schema_arena_copy(&k->arena, set->excluded, set->n_excluded, l->n_numbers,
                                            sizeof *all, k->e);
    if (all == NULL) {
        return false;
    }
    for (size_t m = 0; m < l->n_numbers; m++) {
        all[set->n_excluded++] = l->numbers[m];
    }
    set->excluded = all;
    return schema_spend_steps(k, set->n_excluded);
}

static bool deny_values(struct schema_compiler *k, const struct schema_use *use,
                        json_t *const *values, size_t n, struct schema_form *f)
{
    struct literals l;
    struct schema_strings *strings = f->strings.items;
    struct schema_numbers *numbers = f->numbers.items;
    bool ok = gather_literals(k, values, n, &l);
    for (size_t i = 0; i < n && ok; i++) {
        f->has_null &= !json_is_null(values[i]);
        f->has_true &= !json_is_true(values[i]);
        f->has_false &= !json_is_false(values[i]);
        if ((json_is_array(values[i]) && f->arrays.n > 0) ||
            (json_is_object(values[i]) && f->objects.n > 0)) {
            return schema_refuse(k, use, "cannot leave out arrays and objects");
        }
    }
    for (size_t i = 0; i < f->strings.n && ok; i++) {
        ok = exclude_strings(k, &strings[i], &l);
    }
    for (size_t i = 0; i < f->numbers.n && ok; i++) {
        ok = exclude_numbers(k, &numbers[i], &l);
    }
    return ok && schema_check_builder(k, use) && schema_keep_strings(k, f) &&
           schema_keep_numbers(k, f);
}

static bool deny_enum(struct schema_compiler *k, const struct schema_use *use,
                      struct schema_form *f)
{
    enum { MOST_DENIED = 100 };
    json_t *values[MOST_DENIED];
    size_t n = json_array_size(use->value);
    if (!json_is_array(use->value)) {
        return schema_refuse_value(k, use);
    }
    if (n > MOST_DENIED) {
        return schema_refuse(k, use, "has %zu values, at most %d can be left out", n, MOST_DENIED);
    }
    for (size_t i = 0; i < n; i++) {
        values[i] = json_array_get(use->value, i);
    }
    return deny_values(k, use, values, n, f);
}

static bool deny_const(struct schema_compiler *k, const struct schema_use *use,
                       struct schema_form *f)
{
    json_t *value = (json_t *)use->value;
    return deny_values(k, use, &value, 1, f);
}

/* --- bounds of numbers */

/* The tighter one of both; side -1 for lower bounds, 1 for upper. */
static void tighten(struct schema_bound *bound, struct decimal value, bool is_open, int side)
{
    int order = bound->is_set ? decimal_compare(value, bound->value) * side : -1;
    if (order < 0 || (order == 0 && is_open)) {
        *bound = (struct schema_bound){.value = value, .is_set = true, .is_open = is_open};
    }
}

static bool bound_numbers(struct schema_compiler *k, const struct schema_use *use,
                          struct schema_form *f, bool is_denied)
{
    struct schema_numbers *sets = f->numbers.items;
    bool is_open = use->keyword[0] == 'e'; /* exclusiveMinimum, exclusiveMaximum */
    bool is_max = strstr(use->keyword, "ax") != NULL;
    if (!json_is_number(use->value)) {
        return schema_refuse_value(k, use);
    }
    for (size_t i = 0; i < f->numbers.n; i++) {
        bool upper = is_max != is_denied;
        tighten(upper ? &sets[i].max : &sets[i].min, decimal_from_json(use->value),
                is_open != is_denied, upper ? 1 : -1);
    }
    return schema_keep_numbers(k, f);
}

static bool apply_bound(struct schema_compiler *k, const struct schema_use *use,
                        struct schema_form *f)
{
    return bound_numbers(k, use, f, false);
}

static bool deny_bound(struct schema_compiler *k, const struct schema_use *use,
                       struct schema_form *f)
{
    return bound_numbers(k, use, f, true);
}

static bool apply_multiple_of(struct schema_compiler *k, const struct schema_use *use,
                              struct schema_form *f)
{
    struct schema_numbers *sets = f->numbers.items;
    struct decimal unit =
        json_is_number(use->value) ? decimal_from_json(use->value) : (struct decimal){0};
    if (unit.digits == 0 || unit.negative) {
        return schema_refuse_value(k, use);
    }
    for (size_t i = 0; i < f->numbers.n; i++) {
        if (sets[i].n_units == SCHEMA_MAX_UNITS) {
            return schema_refuse(k, use, "stands more than %d times for one number",
                                 SCHEMA_MAX_UNITS);
        }
        sets[i].units[sets[i].n_units++] = unit;
    }
    return schema_keep_numbers(k, f);
}

/* --- strings */

static bool bound_length(struct schema_compiler *k, const struct schema_use *use,
                         struct schema_form *f, bool is_denied)
{
    struct schema_strings *sets = f->strings.items;
    size_t limit = 0;
    bool is_max = use->keyword[1] == 'a'; /* maxLength, not minLength */
    if (!schema_read_count(use->value, &limit)) {
        return schema_refuse_value(k, use);
    }
    if (is_denied && !is_max && limit == 0) {
        f->strings.n = 0;
    }
    for (size_t i = 0; i < f->strings.n; i++) {
        struct schema_strings *s = &sets[i];
        if (is_max != is_denied) {
            size_t max = limit - is_denied;
            s->max = max < s->max ? max : s->max;
        } else {
            size_t min = limit + is_denied;
            s->min = min > s->min ? min : s->min;
        }
    }
    return schema_keep_strings(k, f);
}

static bool apply_length(struct schema_compiler *k, const struct schema_use *use,
                         struct schema_form *f)
{
    return bound_length(k, use, f, false);
}

static bool deny_length(struct schema_compiler *k, const struct schema_use *use,
                        struct schema_form *f)
{
    return bound_length(k, use, f, true);
}

/* Listed strings are asked, others get an expression more. */
static bool match_inside(struct schema_compiler *k, const struct schema_use *use,
                         struct schema_form *f, uint32_t inside, bool is_denied)
{
    struct schema_strings *sets = f->strings.items;
    for (size_t i = 0; i < f->strings.n; i++) {
        uint32_t all = sets[i].inside != GRAMMAR_NONE ? sets[i].inside
                       : is_denied                    ? schema_text_plain(k)
                                                      : GRAMMAR_NONE;
        sets[i].inside = is_denied             ? grammar_subtract(k->builder, all, inside)
                         : all == GRAMMAR_NONE ? inside
                                               : grammar_intersect(k->builder, all, inside);
    }
    return schema_check_builder(k, use) && schema_keep_strings(k, f) &&
           schema_check_builder(k, use);
}

static bool match_pattern(struct schema_compiler *k, const struct schema_use *use,
                          struct schema_form *f, bool is_denied)
{
    if (!json_is_string(use->value)) {
        return schema_refuse_value(k, use);
    }
    if (f->strings.n == 0) {
        return true;
    }
    struct str pattern = {json_string_value(use->value), json_string_length(use->value)};
    uint32_t inside = schema_text_pattern(k, pattern, is_denied != k->is_comparing);
    return schema_check_builder(k, use) && match_inside(k, use, f, inside, is_denied);
}

static bool apply_pattern(struct schema_compiler *k, const struct schema_use *use,
                          struct schema_form *f)
{
    return match_pattern(k, use, f, false);
}

static bool deny_pattern(struct schema_compiler *k, const struct schema_use *use,
                         struct schema_form *f)
{
    return match_pattern(k, use, f, true);
}

static bool apply_format(struct schema_compiler *k, const struct schema_use *use,
                         struct schema_form *f)
{
    if (!json_is_string(use->value)) {
        return schema_refuse_value(k, use);
    }
    if (f->strings.n == 0 || schema_format_is_free(use->value)) {
        return true;
    }
    uint32_t inside = schema_text_format(k, json_string_value(use->value));
    if (inside == GRAMMAR_NONE) {
        return schema_check_builder(k, use) && schema_refuse_format(k, use);
    }
    return k->is_comparing || match_inside(k, use, f, inside, false);
}

static bool deny_format(struct schema_compiler *k, const struct schema_use *use,
                        struct schema_form *f)
{
    bool is_free = schema_format_is_free(use->value);
    f->strings.n = is_free ? 0 : f->strings.n;
    return is_free || schema_refuse_opposite(k, use);
}

const struct schema_keyword schema_scalar_keywords[] = {
    {"type", SCHEMA_TYPE_ANY, apply_type, deny_type},
    {"const", SCHEMA_TYPE_ANY, apply_const, deny_const},
    {"enum", SCHEMA_TYPE_ANY, apply_enum, deny_enum},
    {"minimum", SCHEMA_TYPE_NUMBER, apply_bound, deny_bound},
    {"maximum", SCHEMA_TYPE_NUMBER, apply_bound, deny_bound},
    {"exclusiveMinimum", SCHEMA_TYPE_NUMBER, apply_bound, deny_bound},
    {"exclusiveMaximum", SCHEMA_TYPE_NUMBER, apply_bound, deny_bound},
    {"multipleOf", SCHEMA_TYPE_NUMBER, apply_multiple_of, NULL},
    {"minLength", SCHEMA_TYPE_STRING, apply_length, deny_length},
    {"maxLength", SCHEMA_TYPE_STRING, apply_length, deny_length},
    {"pattern", SCHEMA_TYPE_STRING, apply_pattern, deny_pattern},
    {"format", SCHEMA_TYPE_STRING, apply_format, deny_format},
};
const size_t schema_n_scalar_keywords =
    sizeof schema_scalar_keywords / sizeof *schema_scalar_keywords;
