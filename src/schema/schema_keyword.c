/* schema_keyword.c - a schema applied to a form, or its opposite: every keyword in turn, and those
 * that combine schemas (allOf, anyOf, oneOf, not, if, $ref, dependentSchemas). */
#include "schema/schema_compile_internal.h"
#include "schema/schema_ref.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))

static const struct schema_keyword combining[];
static const size_t n_combining;

/* --- one schema */

static bool leave_nothing(struct schema_form *f)
{
    *f = (struct schema_form){0};
    return true;
}

static bool is_nothing(const struct schema_form *f)
{
    return !f->has_null && !f->has_true && !f->has_false && f->numbers.n == 0 &&
           f->strings.n == 0 && f->arrays.n == 0 && f->objects.n == 0;
}

const struct schema_keyword_table schema_keyword_tables[SCHEMA_KEYWORD_TABLES] = {
    {schema_scalar_keywords, &schema_n_scalar_keywords},
    {schema_array_keywords, &schema_n_array_keywords},
    {schema_object_keywords, &schema_n_object_keywords},
    {combining, &n_combining}};

/* Says of which keyword an error is that does not say so. Comparisons drop most of theirs. */
static bool name_keyword(struct schema_compiler *k, const struct schema_use *use)
{
    if (!k->is_comparing && schema_error_lacks_place(k)) {
        error_prefix(k->e, "schema #%s: '%s'", schema_pointer_to(k, use->schema).text,
                     use->keyword);
    }
    return false;
}

const struct schema_keyword *schema_next_keyword(uint64_t *keywords)
{
    size_t i = (size_t)__builtin_ctzll(*keywords), t = 0;
    *keywords &= *keywords - 1;
    for (; i >= *schema_keyword_tables[t].n; t++) {
        i -= *schema_keyword_tables[t].n;
    }
    return &schema_keyword_tables[t].keywords[i];
}

static bool apply_keywords(struct schema_compiler *k, const json_t *schema, uint64_t keywords,
                           struct schema_form *f)
{
    while (keywords != 0) {
        const struct schema_keyword *keyword = schema_next_keyword(&keywords);
        struct schema_use use = {schema, keyword->name, json_object_get(schema, keyword->name)};
        if (!schema_spend_steps(k, 1) || !keyword->apply(k, &use, f)) {
            return name_keyword(k, &use);
        }
    }
    return true;
}

/* What one keyword at least does not allow. */
static bool deny_keywords(struct schema_compiler *k, const json_t *schema, uint64_t keywords,
                          struct schema_form *f)
{
    struct schema_form out = {0};
    while (keywords != 0) {
        const struct schema_keyword *keyword = schema_next_keyword(&keywords);
        struct schema_use use = {schema, keyword->name, json_object_get(schema, keyword->name)};
        struct schema_form one;
        if (!schema_form_copy(k, f, &one)) {
            return false;
        }
        schema_form_keep_types(&one, keyword->types);
        if (is_nothing(&one)) {
            continue;
        }
        if (keyword->deny == NULL) {
            return schema_refuse_opposite(k, &use);
        }
        if (!keyword->deny(k, &use, &one) || !schema_form_merge(k, &out, &one)) {
            return name_keyword(k, &use);
        }
    }
    *f = out;
    return true;
}

static bool is_active(const struct schema_compiler *k, const json_t *schema, bool fails)
{
    const struct schema_active *a = k->active;
    while (a != NULL && (a->schema != schema || a->fails != fails)) {
        a = a->outer;
    }
    return a != NULL;
}

bool schema_apply(struct schema_compiler *k, const json_t *schema, bool fails,
                  struct schema_form *f)
{
    struct schema_active here = {k->active, schema, fails};
    struct schema_use use = {schema, "schema", NULL};
    if (json_is_boolean(schema)) {
        return json_is_true(schema) != fails || leave_nothing(f);
    }
    if (!json_is_object(schema)) {
        return error_set(k->e, ERROR_FORMAT, "a schema in it is no object and no boolean");
    }
    if (is_active(k, schema, fails)) {
        use.keyword = "$ref";
        return schema_refuse(k, &use, "leads back to itself without a value between");
    }
    if (k->n_active >= SCHEMA_MAX_INLINE) {
        return schema_refuse(k, &use, "lies in more than %d others about the same value",
                             SCHEMA_MAX_INLINE);
    }
    uint64_t keywords;
    if (!schema_spend_steps(k, 1) || !schema_check_names(k, schema, &keywords)) {
        return false;
    }
    k->active = &here;
    k->n_active++;
    bool ok =
        fails ? deny_keywords(k, schema, keywords, f) : apply_keywords(k, schema, keywords, f);
    k->active = here.outer;
    k->n_active--;
    return ok;
}

bool schema_apply_terms(struct schema_compiler *k, struct schema_terms terms, struct schema_form *f)
{
    /* what a child's schemas hold is about another value than that of the schema it is met in */
    const struct schema_active *outer = k->active;
    bool ok = true;
    k->active = NULL;
    for (size_t i = 0; i < terms.n && ok; i++) {
        json_t *value = (json_t *)terms.list[i].schema;
        struct schema_use use = {value, "const", value};
        ok = terms.list[i].kind == SCHEMA_EQUALS
                 ? schema_apply_values(k, &use, &value, 1, f)
                 : schema_apply(k, value, terms.list[i].kind == SCHEMA_FAILS, f);
    }
    k->active = outer;
    return ok;
}

/* --- allOf, anyOf, oneOf, not */

static bool read_schemas(struct schema_compiler *k, const struct schema_use *use)
{
    return (json_is_array(use->value) && json_array_size(use->value) > 0) ||
           schema_refuse_value(k, use);
}

static bool apply_in_turn(struct schema_compiler *k, const struct schema_use *use, bool fails,
                          struct schema_form *f)
{
    bool ok = read_schemas(k, use);
    for (size_t i = 0; i < json_array_size(use->value) && ok; i++) {
        ok = schema_apply(k, json_array_get(use->value, i), fails, f);
    }
    return ok;
}

static bool apply_each(struct schema_compiler *k, const struct schema_use *use, bool fails,
                       struct schema_form *f)
{
    struct schema_form out = {0};
    bool ok = read_schemas(k, use);
    for (size_t i = 0; i < json_array_size(use->value) && ok; i++) {
        struct schema_form one;
        ok = schema_form_copy(k, f, &one) &&
             schema_apply(k, json_array_get(use->value, i), fails, &one) &&
             schema_form_merge(k, &out, &one);
    }
    *f = out;
    return ok;
}

static bool apply_all_of(struct schema_compiler *k, const struct schema_use *use,
                         struct schema_form *f)
{
    return apply_in_turn(k, use, false, f);
}

static bool deny_all_of(struct schema_compiler *k, const struct schema_use *use,
                        struct schema_form *f)
{
    return apply_each(k, use, true, f);
}

static bool apply_any_of(struct schema_compiler *k, const struct schema_use *use,
                         struct schema_form *f)
{
    return apply_each(k, use, false, f);
}

static bool deny_any_of(struct schema_compiler *k, const struct schema_use *use,
                        struct schema_form *f)
{
    return apply_in_turn(k, use, true, f);
}

enum { MAX_ONE_OF = 64, LOOK_INTO = 4 };

/* Whether no value of f is valid against both; false says only that it was not seen, for which it
 * is no error that both together cannot be enforced. */
static bool are_disjoint(struct schema_compiler *k, const json_t *a, const json_t *b,
                         const struct schema_form *f, bool *out)
{
    struct schema_form both;
    bool was_comparing = k->is_comparing;
    k->is_comparing = true;
    bool ok = schema_form_copy(k, f, &both) && schema_apply(k, a, false, &both) &&
              schema_apply(k, b, false, &both) && schema_form_is_empty(k, &both, LOOK_INTO, out);
    k->is_comparing = was_comparing;
    if (ok) {
        return true;
    }
    bool is_final = k->e->code != ERROR_UNSUPPORTED || k->steps == 0 ||
                    grammar_builder_error(k->builder)->code != ERROR_NONE;
    *k->e = is_final ? *k->e : (struct error){0};
    *out = false;
    return !is_final;
}

/* The values of f that are valid against the i-th and none of the others. */
static bool apply_only(struct schema_compiler *k, const struct schema_use *use, size_t i,
                       struct schema_form *f)
{
    struct schema_form all;
    const json_t *schema = json_array_get(use->value, i);
    if (!schema_form_copy(k, f, &all) || !schema_apply(k, schema, false, f)) {
        return false;
    }
    for (size_t m = 0; m < json_array_size(use->value); m++) {
        const json_t *other = json_array_get(use->value, m);
        bool is_disjoint = false;
        if (m == i) {
            continue;
        }
        if (!are_disjoint(k, schema, other, &all, &is_disjoint) ||
            (!is_disjoint && !schema_apply(k, other, true, f))) {
            return false;
        }
    }
    return true;
}

static bool apply_one_of(struct schema_compiler *k, const struct schema_use *use,
                         struct schema_form *f)
{
    struct schema_form out = {0};
    bool ok = read_schemas(k, use);
    if (ok && json_array_size(use->value) > MAX_ONE_OF) {
        return schema_refuse(k, use, "has %zu schemas, at most %d are enforced",
                             json_array_size(use->value), MAX_ONE_OF);
    }
    for (size_t i = 0; i < json_array_size(use->value) && ok; i++) {
        struct schema_form one;
        ok = schema_form_copy(k, f, &one) && apply_only(k, use, i, &one) &&
             schema_form_merge(k, &out, &one);
    }
    *f = out;
    return ok;
}

static bool apply_not(struct schema_compiler *k, const struct schema_use *use,
                      struct schema_form *f)
{
    return schema_apply(k, use->value, true, f);
}

static bool deny_not(struct schema_compiler *k, const struct schema_use *use, struct schema_form *f)
{
    return schema_apply(k, use->value, false, f);
}

/* --- if, then, else */

/* Both halves of f, each with its branch, or with the opposite of it. */
static bool apply_halves(struct schema_compiler *k, const struct schema_use *use, bool fails,
                         struct schema_form *f)
{
    static const char *const branches[] = {"then", "else"};
    struct schema_form out = {0};
    if (json_object_get(use->schema, "then") == NULL &&
        json_object_get(use->schema, "else") == NULL) {
        return fails ? leave_nothing(f) : true;
    }
    for (size_t i = 0; i < 2; i++) {
        const json_t *branch = json_object_get(use->schema, branches[i]);
        struct schema_form half;
        if ((branch == NULL || json_is_true(branch)) && fails) {
            continue;
        }
        if (!schema_form_copy(k, f, &half) || !schema_apply(k, use->value, i == 1, &half) ||
            (branch != NULL && !schema_apply(k, branch, fails, &half)) ||
            !schema_form_merge(k, &out, &half)) {
            return false;
        }
    }
    *f = out;
    return true;
}

static bool apply_if(struct schema_compiler *k, const struct schema_use *use, struct schema_form *f)
{
    return apply_halves(k, use, false, f);
}

static bool deny_if(struct schema_compiler *k, const struct schema_use *use, struct schema_form *f)
{
    return apply_halves(k, use, true, f);
}

/* --- $ref */

static bool follow(struct schema_compiler *k, const struct schema_use *use, bool fails,
                   struct schema_form *f)
{
    const json_t *target = NULL;
    struct error e = {0};
    const char *ref = json_string_value(use->value);
    if (ref == NULL) {
        return schema_refuse_value(k, use);
    }
    if (!schema_ref_resolve(k->root, ref, &k->steps, &target, &e)) {
        return schema_refuse(k, use, "'%.100s' %s", ref, e.text);
    }
    return schema_apply(k, target, fails, f);
}

static bool apply_ref(struct schema_compiler *k, const struct schema_use *use,
                      struct schema_form *f)
{
    return follow(k, use, false, f);
}

static bool deny_ref(struct schema_compiler *k, const struct schema_use *use, struct schema_form *f)
{
    return follow(k, use, true, f);
}

/* --- schemas for objects that have a member */

/* Objects without the member, and all other values; and those with it that the schema allows. In
 * dependencies (draft 7) a list of names stands for required. */
static bool depend(struct schema_compiler *k, const struct schema_use *use, const char *key,
                   const json_t *schema, struct schema_form *f)
{
    struct schema_form with;
    if (!schema_form_copy(k, f, &with) || !schema_require_member(k, str_from(key), &with)) {
        return false;
    }
    bool is_list = json_is_array(schema);
    for (size_t i = 0; i < json_array_size(schema); i++) {
        const json_t *name = json_array_get(schema, i);
        struct str text = {json_string_value(name), json_string_length(name)};
        if (!json_is_string(name)) {
            return schema_refuse_value(k, use);
        }
        if (!schema_require_member(k, text, &with)) {
            return false;
        }
    }
    return (is_list || schema_apply(k, schema, false, &with)) &&
           schema_forbid_member(k, str_from(key), f) && schema_form_merge(k, f, &with);
}

static bool apply_dependencies(struct schema_compiler *k, const struct schema_use *use,
                               struct schema_form *f)
{
    const char *key;
    json_t *schema;
    if (!json_is_object(use->value)) {
        return schema_refuse_value(k, use);
    }
    json_object_foreach((json_t *)use->value, key, schema)
    {
        if (!depend(k, use, key, schema, f)) {
            return false;
        }
    }
    return true;
}

static bool deny_dependent_schemas(struct schema_compiler *k, const struct schema_use *use,
                                   struct schema_form *f)
{
    struct schema_form out = {0};
    const char *key;
    json_t *schema;
    if (!json_is_object(use->value)) {
        return schema_refuse_value(k, use);
    }
    json_object_foreach((json_t *)use->value, key, schema)
    {
        struct schema_form with;
        if (!schema_form_copy(k, f, &with) || !schema_require_member(k, str_from(key), &with) ||
            !schema_apply(k, schema, true, &with) || !schema_form_merge(k, &out, &with)) {
            return false;
        }
    }
    *f = out;
    return true;
}

static const struct schema_keyword combining[] = {
    {"allOf", SCHEMA_TYPE_ANY, apply_all_of, deny_all_of},
    {"$ref", SCHEMA_TYPE_ANY, apply_ref, deny_ref},
    {"anyOf", SCHEMA_TYPE_ANY, apply_any_of, deny_any_of},
    {"oneOf", SCHEMA_TYPE_ANY, apply_one_of, NULL},
    {"not", SCHEMA_TYPE_ANY, apply_not, deny_not},
    {"if", SCHEMA_TYPE_ANY, apply_if, deny_if},
    {"dependentSchemas", SCHEMA_TYPE_OBJECT, apply_dependencies, deny_dependent_schemas},
    {"dependencies", SCHEMA_TYPE_OBJECT, apply_dependencies, NULL},
};
static const size_t n_combining = COUNT(combining);
