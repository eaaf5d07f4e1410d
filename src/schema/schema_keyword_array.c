/* schema_keyword_array.c - keywords of arrays. */
#include "schema/schema_compile_internal.h"

#include <string.h>

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* --- prefixItems, items, additionalItems: one meaning, wherever the first of them is met */

struct items {
    const json_t *first; /* an array of schemas, or NULL */
    const json_t *rest;  /* of all others, or NULL */
};

static bool read_items(struct schema_compiler *k, const struct schema_use *use, struct items *out)
{
    const json_t *prefix = json_object_get(use->schema, "prefixItems");
    const json_t *items = json_object_get(use->schema, "items");
    if (json_is_array(items)) { /* of draft 7 */
        *out = (struct items){items, json_object_get(use->schema, "additionalItems")};
        if (prefix != NULL) {
            return schema_refuse(k, use, "stands beside an array of items");
        }
    } else {
        *out = (struct items){prefix, items};
    }
    size_t n = json_array_size(out->first);
    if ((out->first != NULL && !json_is_array(out->first)) || n > SCHEMA_MAX_FIRST) {
        return schema_refuse(k, use, "is no array of at most %d schemas", SCHEMA_MAX_FIRST);
    }
    return true;
}

static bool is_first_keyword(const struct schema_use *use)
{
    static const char *const names[] = {"prefixItems", "items", "additionalItems"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (json_object_get(use->schema, names[i]) != NULL) {
            return strcmp(names[i], use->keyword) == 0;
        }
    }
    return false;
}

/* Room for the terms of n items at the front, which can be changed. */
static struct schema_terms *open_first(struct schema_compiler *k, struct schema_arrays *set,
                                       size_t n)
{
    size_t more = n > set->n_first ? n - set->n_first : 0;
    struct schema_terms *first =
        schema_arena_copy(&k->arena, set->first, set->n_first, more, sizeof *first, k->e);
    for (size_t i = set->n_first; i < n && first != NULL; i++) {
        first[i] = set->rest;
    }
    if (first != NULL) {
        set->first = first;
        set->n_first += more;
    }
    return first;
}

static bool add_to_items(struct schema_compiler *k, const struct items *items,
                         struct schema_arrays *set)
{
    size_t n = json_array_size(items->first);
    struct schema_terms *first = open_first(k, set, n);
    bool ok = first != NULL;
    for (size_t i = 0; i < set->n_first && ok; i++) {
        const json_t *schema = i < n ? json_array_get(items->first, i) : items->rest;
        ok = schema == NULL ||
             schema_terms_add(k, &first[i], (struct schema_term){schema, SCHEMA_HOLDS});
    }
    return ok && (items->rest == NULL ||
                  schema_terms_add(k, &set->rest, (struct schema_term){items->rest, SCHEMA_HOLDS}));
}

static bool apply_items(struct schema_compiler *k, const struct schema_use *use,
                        struct schema_form *f)
{
    struct schema_arrays *sets = f->arrays.items;
    struct items items;
    bool ok = !is_first_keyword(use) || read_items(k, use, &items);
    for (size_t i = 0; i < f->arrays.n && ok && is_first_keyword(use); i++) {
        ok = add_to_items(k, &items, &sets[i]);
    }
    return ok;
}

/* Arrays that are long enough and whose item at index fails. */
static bool push_failing(struct schema_compiler *k, const struct schema_arrays *set, size_t index,
                         const json_t *schema, struct schema_form *out)
{
    struct schema_arrays one = *set;
    struct schema_terms *first = open_first(k, &one, index + 1);
    one.min = larger(one.min, index + 1);
    return first != NULL &&
           schema_terms_add(k, &first[index], (struct schema_term){schema, SCHEMA_FAILS}) &&
           (one.min > one.max || schema_list_push(k, &out->arrays, &one, sizeof one));
}

/* Some item from index n on fails. */
static bool push_failing_rest(struct schema_compiler *k, const struct schema_use *use,
                              const struct schema_arrays *set, const struct items *items,
                              struct schema_form *out)
{
    enum { MOST_PLACES = 32 };
    size_t n = json_array_size(items->first);
    bool ok = true;
    if (set->max <= MOST_PLACES) {
        for (size_t i = n; i < set->max && ok; i++) {
            ok = push_failing(k, set, i, items->rest, out);
        }
        return ok;
    }
    if (n > 0 || set->has_contained) {
        return schema_refuse(k, use, "cannot be enforced where it must fail");
    }
    struct schema_arrays one = *set;
    one.has_contained = true;
    one.min_contained = 1;
    one.max_contained = SCHEMA_NO_LIMIT;
    return schema_terms_add(k, &one.contained, (struct schema_term){items->rest, SCHEMA_FAILS}) &&
           schema_list_push(k, &out->arrays, &one, sizeof one);
}

static bool deny_items(struct schema_compiler *k, const struct schema_use *use,
                       struct schema_form *f)
{
    const struct schema_arrays *sets = f->arrays.items;
    struct schema_form out = {0};
    struct items items;
    bool ok = read_items(k, use, &items);
    bool is_of_first = ok && items.first != NULL && items.first == use->value;
    for (size_t i = 0; i < f->arrays.n && ok; i++) {
        for (size_t m = 0; m < json_array_size(items.first) && is_of_first && ok; m++) {
            ok = push_failing(k, &sets[i], m, json_array_get(items.first, m), &out);
        }
        if (ok && use->value == items.rest) {
            ok = push_failing_rest(k, use, &sets[i], &items, &out);
        }
    }
    *f = out;
    return ok;
}

/* --- contains, minContains, maxContains */

struct contained {
    size_t min, max;
};

static bool read_contained(struct schema_compiler *k, const struct schema_use *use,
                           struct contained *out)
{
    const json_t *min = json_object_get(use->schema, "minContains");
    const json_t *max = json_object_get(use->schema, "maxContains");
    *out = (struct contained){1, SCHEMA_NO_LIMIT};
    if ((min != NULL && !schema_read_count(min, &out->min)) ||
        (max != NULL && !schema_read_count(max, &out->max))) {
        return schema_refuse(k, use, "has malformed numbers minContains, maxContains");
    }
    return true;
}

/* Counts the items of one set that a schema is for. */
static bool count_contained(struct schema_compiler *k, const struct schema_use *use,
                            struct contained n, struct schema_arrays *one)
{
    struct schema_terms terms = {0};
    if (n.min == 0 && n.max == SCHEMA_NO_LIMIT) {
        return true;
    }
    if (!schema_terms_add(k, &terms, (struct schema_term){use->value, SCHEMA_HOLDS})) {
        return false;
    }
    one->min = larger(one->min, n.min);
    if (terms.n == 0) { /* for all items */
        one->max = n.max < one->max ? n.max : one->max;
        return true;
    }
    if (one->has_contained) {
        return schema_refuse(k, use, "stands twice for one array");
    }
    one->has_contained = true;
    one->contained = terms;
    one->min_contained = n.min;
    one->max_contained = n.max;
    return true;
}

static bool push_contained(struct schema_compiler *k, const struct schema_use *use,
                           const struct schema_form *f, struct contained n, struct schema_form *out)
{
    const struct schema_arrays *sets = f->arrays.items;
    bool ok = true;
    for (size_t i = 0; i < f->arrays.n && n.min <= n.max && ok; i++) {
        struct schema_arrays one = sets[i];
        ok = count_contained(k, use, n, &one) &&
             (one.min > one.max || schema_list_push(k, &out->arrays, &one, sizeof one));
    }
    return ok;
}

static bool apply_contains(struct schema_compiler *k, const struct schema_use *use,
                           struct schema_form *f)
{
    struct contained n;
    struct schema_form out = *f;
    out.arrays = (struct schema_list){0};
    if (!read_contained(k, use, &n) || !push_contained(k, use, f, n, &out)) {
        return false;
    }
    *f = out;
    return true;
}

static bool deny_contains(struct schema_compiler *k, const struct schema_use *use,
                          struct schema_form *f)
{
    struct contained n;
    struct schema_form out = {0};
    if (!read_contained(k, use, &n)) {
        return false;
    }
    bool ok = n.min == 0 || push_contained(k, use, f, (struct contained){0, n.min - 1}, &out);
    if (ok && n.max != SCHEMA_NO_LIMIT) {
        ok = push_contained(k, use, f, (struct contained){n.max + 1, SCHEMA_NO_LIMIT}, &out);
    }
    *f = out;
    return ok;
}

/* --- sizes */

static bool bound_items(struct schema_compiler *k, const struct schema_use *use,
                        struct schema_form *f, bool is_denied)
{
    struct schema_arrays *sets = f->arrays.items;
    size_t limit = 0, n = 0;
    bool is_max = use->keyword[1] == 'a'; /* maxItems, not minItems */
    if (!schema_read_count(use->value, &limit)) {
        return schema_refuse_value(k, use);
    }
    bool is_nothing = is_denied && !is_max && limit == 0;
    for (size_t i = 0; i < f->arrays.n && !is_nothing; i++) {
        struct schema_arrays one = sets[i];
        if (is_max != is_denied) {
            one.max = limit - is_denied < one.max ? limit - is_denied : one.max;
        } else {
            one.min = larger(one.min, limit + is_denied);
        }
        if (one.min <= one.max) {
            sets[n++] = one;
        }
    }
    f->arrays.n = n;
    return true;
}

static bool apply_size(struct schema_compiler *k, const struct schema_use *use,
                       struct schema_form *f)
{
    return bound_items(k, use, f, false);
}

static bool deny_size(struct schema_compiler *k, const struct schema_use *use,
                      struct schema_form *f)
{
    return bound_items(k, use, f, true);
}

static bool apply_unique(struct schema_compiler *k, const struct schema_use *use,
                         struct schema_form *f)
{
    struct schema_arrays *sets = f->arrays.items;
    if (!json_is_boolean(use->value)) {
        return schema_refuse_value(k, use);
    }
    for (size_t i = 0; i < f->arrays.n; i++) {
        sets[i].is_unique |= json_is_true(use->value);
    }
    return true;
}

/* --- an array itself */

bool schema_apply_array_value(struct schema_compiler *k, const json_t *value,
                              const struct schema_form *f, struct schema_form *out)
{
    const struct schema_arrays *sets = f->arrays.items;
    size_t n = json_array_size(value);
    for (size_t i = 0; i < f->arrays.n; i++) {
        struct schema_arrays one = sets[i];
        if (n < one.min || n > one.max || n > SCHEMA_MAX_FIRST) {
            if (n > SCHEMA_MAX_FIRST) {
                return error_set(k->e, ERROR_UNSUPPORTED,
                                 "a constant array has %zu items, at most %d are enforced", n,
                                 SCHEMA_MAX_FIRST);
            }
            continue;
        }
        struct schema_terms *first = open_first(k, &one, n);
        bool ok = first != NULL;
        for (size_t m = 0; m < n && ok; m++) {
            ok = schema_terms_add(k, &first[m],
                                  (struct schema_term){json_array_get(value, m), SCHEMA_EQUALS});
        }
        one.min = n;
        one.max = n;
        if (!ok || !schema_list_push(k, &out->arrays, &one, sizeof one)) {
            return false;
        }
    }
    return true;
}

const struct schema_keyword schema_array_keywords[] = {
    {"prefixItems", SCHEMA_TYPE_ARRAY, apply_items, deny_items},
    {"items", SCHEMA_TYPE_ARRAY, apply_items, deny_items},
    {"additionalItems", SCHEMA_TYPE_ARRAY, apply_items, deny_items},
    {"contains", SCHEMA_TYPE_ARRAY, apply_contains, deny_contains},
    {"minItems", SCHEMA_TYPE_ARRAY, apply_size, deny_size},
    {"maxItems", SCHEMA_TYPE_ARRAY, apply_size, deny_size},
    {"uniqueItems", SCHEMA_TYPE_ARRAY, apply_unique, NULL},
};
const size_t schema_n_array_keywords = sizeof schema_array_keywords / sizeof *schema_array_keywords;
