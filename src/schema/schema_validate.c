/* schema_validate.c - a schema applied to a value: the walk, the report, and the keywords that
 * apply schemas (properties, items, anyOf, if, $ref ...). Answers are three-valued. */
#include "schema/schema_validate.h"

#include "base/str.h"
#include "schema/grammar_internal.h"
#include "schema/schema_number.h"
#include "schema/schema_ref.h"
#include "schema/schema_validate_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { DEFAULT_STEPS = 1000000, DEFAULT_DEPTH = 200 };

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* --- the report */

__attribute__((format(printf, 3, 0))) static void note(const struct schema_call *c,
                                                       const struct schema_place *at,
                                                       const char *format, va_list arguments)
{
    struct schema_verdict *v = c->run->verdict;
    schema_place_print(at, v->instance, sizeof v->instance);
    schema_place_print(c->where, v->schema, sizeof v->schema);
    v->keyword = c->keyword;
    char reason[SCHEMA_REASON_BYTES];
    vsnprintf(reason, sizeof reason, format, arguments);
    const char *at_text = v->instance[0] != '\0' ? v->instance : "the value";
    int n = snprintf(v->text, sizeof v->text, "%s: %s (%s)", at_text, reason, c->keyword);
    if (n >= (int)sizeof v->text) {
        v->text[str_complete_utf8((struct str){v->text, sizeof v->text - 1})] = '\0';
    }
}

enum schema_outcome schema_fail(const struct schema_call *c, const char *format, ...)
{
    if (c->run->n_quiet == 0 && !c->run->has_reason) {
        va_list arguments;
        va_start(arguments, format);
        note(c, c->at, format, arguments);
        va_end(arguments);
        c->run->has_reason = true;
    }
    return SCHEMA_INVALID;
}

enum schema_outcome schema_fail_member(const struct schema_call *c, const char *name,
                                       const char *format, ...)
{
    struct schema_place member = {.parent = c->at, .key = name};
    if (c->run->n_quiet == 0 && !c->run->has_reason) {
        va_list arguments;
        va_start(arguments, format);
        note(c, &member, format, arguments);
        va_end(arguments);
        c->run->has_reason = true;
    }
    return SCHEMA_INVALID;
}

enum schema_outcome schema_leave_open(const struct schema_call *c, const char *format, ...)
{
    if (!c->run->has_reason && !c->run->has_question) {
        va_list arguments;
        va_start(arguments, format);
        note(c, c->at, format, arguments);
        va_end(arguments);
        c->run->has_question = true;
    }
    return SCHEMA_UNCHECKED;
}

enum schema_outcome schema_malformed(const struct schema_call *c)
{
    return schema_leave_open(c, "cannot be checked: the keyword has a value that it may not have");
}

bool schema_spend(struct schema_run *run, size_t steps)
{
    run->stopped |= run->steps < steps;
    run->steps -= run->stopped ? 0 : steps;
    return !run->stopped;
}

enum schema_outcome schema_both(enum schema_outcome a, enum schema_outcome b)
{
    return a == SCHEMA_INVALID || b == SCHEMA_INVALID       ? SCHEMA_INVALID
           : a == SCHEMA_UNCHECKED || b == SCHEMA_UNCHECKED ? SCHEMA_UNCHECKED
                                                            : SCHEMA_VALID;
}

/* --- a schema applied to the same value, a member or an item */

static enum schema_outcome evaluate(struct schema_run *run, const json_t *schema,
                                    const json_t *instance, const struct schema_place *at,
                                    const struct schema_place *where);

static enum schema_outcome apply_here(const struct schema_call *c, const json_t *schema)
{
    return evaluate(c->run, schema, c->instance, c->at, c->where);
}

/* Without telling why. */
static enum schema_outcome ask(const struct schema_call *c, const json_t *schema)
{
    c->run->n_quiet++;
    enum schema_outcome outcome = apply_here(c, schema);
    c->run->n_quiet--;
    return outcome;
}

/* The schema `name` of a keyword that holds several, or the keyword's own (NULL), to a member. */
static enum schema_outcome apply_to_member(const struct schema_call *c, const char *name,
                                           const json_t *schema, const char *key)
{
    struct schema_place at = {.parent = c->at, .key = key};
    struct schema_place where = {.parent = c->where, .key = name};
    return evaluate(c->run, schema, json_object_get(c->instance, key), &at,
                    name != NULL ? &where : c->where);
}

static enum schema_outcome apply_to_item(const struct schema_call *c, const json_t *schema,
                                         size_t index, const struct schema_place *where)
{
    struct schema_place at = {.parent = c->at, .index = index};
    return evaluate(c->run, schema, json_array_get(c->instance, index), &at, where);
}

/* --- $ref and what cannot be judged */

static enum schema_outcome apply_ref(const struct schema_call *c)
{
    const json_t *target = NULL;
    struct error e = {0};
    const char *ref = json_string_value(c->value);
    if (ref == NULL) {
        return schema_malformed(c);
    }
    if (!schema_ref_resolve(c->run->root, ref, &c->run->steps, &target, &e)) {
        return schema_leave_open(c, "cannot be checked: '%s' %s", ref, e.text);
    }
    return apply_here(c, target);
}

static enum schema_outcome apply_unjudged(const struct schema_call *c)
{
    return json_is_true(c->value) ? SCHEMA_VALID
                                  : schema_leave_open(c, "cannot be checked with this keyword");
}

/* --- schemas that are combined */

static enum schema_outcome apply_all_of(const struct schema_call *c)
{
    enum schema_outcome outcome = SCHEMA_VALID;
    if (!json_is_array(c->value) || json_array_size(c->value) == 0) {
        return schema_malformed(c);
    }
    for (size_t i = 0; i < json_array_size(c->value) && outcome != SCHEMA_INVALID; i++) {
        struct schema_place where = {.parent = c->where, .index = i};
        outcome = schema_both(
            outcome, evaluate(c->run, json_array_get(c->value, i), c->instance, c->at, &where));
    }
    return outcome;
}

struct tally {
    size_t valid, open;
};

static struct tally ask_each(const struct schema_call *c, size_t enough)
{
    struct tally t = {0};
    for (size_t i = 0; i < json_array_size(c->value) && t.valid < enough; i++) {
        enum schema_outcome outcome = ask(c, json_array_get(c->value, i));
        t.valid += outcome == SCHEMA_VALID;
        t.open += outcome == SCHEMA_UNCHECKED;
    }
    return t;
}

static enum schema_outcome apply_any_of(const struct schema_call *c)
{
    if (!json_is_array(c->value) || json_array_size(c->value) == 0) {
        return schema_malformed(c);
    }
    struct tally t = ask_each(c, 1);
    return t.valid > 0  ? SCHEMA_VALID
           : t.open > 0 ? SCHEMA_UNCHECKED
                        : schema_fail(c, "matches none of %zu schemas", json_array_size(c->value));
}

static enum schema_outcome apply_one_of(const struct schema_call *c)
{
    if (!json_is_array(c->value) || json_array_size(c->value) == 0) {
        return schema_malformed(c);
    }
    struct tally t = ask_each(c, 2);
    if (t.valid > 1) {
        return schema_fail(c, "matches more than one of %zu schemas", json_array_size(c->value));
    }
    return t.open > 0    ? SCHEMA_UNCHECKED
           : t.valid > 0 ? SCHEMA_VALID
                         : schema_fail(c, "matches none of %zu schemas", json_array_size(c->value));
}

static enum schema_outcome apply_not(const struct schema_call *c)
{
    enum schema_outcome outcome = ask(c, c->value);
    return outcome == SCHEMA_VALID     ? schema_fail(c, "matches a schema that it must not")
           : outcome == SCHEMA_INVALID ? SCHEMA_VALID
                                       : SCHEMA_UNCHECKED;
}

static enum schema_outcome apply_branch(const struct schema_call *c, const char *keyword)
{
    const json_t *branch = json_object_get(c->schema, keyword);
    struct schema_place where = {.parent = c->where->parent, .key = keyword};
    return branch == NULL ? SCHEMA_VALID : evaluate(c->run, branch, c->instance, c->at, &where);
}

static enum schema_outcome apply_if(const struct schema_call *c)
{
    if (json_object_get(c->schema, "then") == NULL && json_object_get(c->schema, "else") == NULL) {
        return SCHEMA_VALID;
    }
    enum schema_outcome outcome = ask(c, c->value);
    if (outcome != SCHEMA_UNCHECKED) {
        return apply_branch(c, outcome == SCHEMA_VALID ? "then" : "else");
    }
    c->run->n_quiet++;
    enum schema_outcome yes = apply_branch(c, "then");
    enum schema_outcome no = apply_branch(c, "else");
    c->run->n_quiet--;
    if (yes == SCHEMA_INVALID && no == SCHEMA_INVALID) {
        return schema_fail(c, "matches neither branch");
    }
    return yes == SCHEMA_VALID && no == SCHEMA_VALID ? SCHEMA_VALID : SCHEMA_UNCHECKED;
}

/* --- objects */

static enum schema_outcome apply_properties(const struct schema_call *c)
{
    const char *key;
    json_t *schema;
    enum schema_outcome outcome = SCHEMA_VALID;
    if (!json_is_object(c->value)) {
        return schema_malformed(c);
    }
    json_object_foreach((json_t *)c->value, key, schema)
    {
        if (outcome == SCHEMA_INVALID || !schema_spend(c->run, 1)) {
            break;
        }
        if (json_object_get(c->instance, key) != NULL) {
            outcome = schema_both(outcome, apply_to_member(c, key, schema, key));
        }
    }
    return c->run->stopped ? schema_both(outcome, SCHEMA_UNCHECKED) : outcome;
}

/* The pattern made ready; NULL when there are too many. All together have the steps of one. */
static const struct schema_pattern *prepare_pattern(struct schema_run *run, const char *text)
{
    for (size_t i = 0; i < run->n_patterns; i++) {
        if (run->patterns[i].text == text) {
            return &run->patterns[i];
        }
    }
    if (run->n_patterns == SCHEMA_MAX_PATTERNS) {
        return NULL;
    }
    struct schema_pattern *p = &run->patterns[run->n_patterns++];
    *p = (struct schema_pattern){text, grammar_builder_create(NULL), GRAMMAR_NONE, GRAMMAR_NONE};
    if (p->builder != NULL) {
        unsigned flags = GRAMMAR_PATTERN_SEARCH;
        p->builder->steps = run->pattern_steps;
        p->all = grammar_determine(p->builder, grammar_pattern(p->builder, str_from(text), flags));
        flags |= GRAMMAR_PATTERN_WIDE;
        p->some = grammar_determine(p->builder, grammar_pattern(p->builder, str_from(text), flags));
        run->pattern_steps = p->builder->steps;
    }
    return p;
}

/* SCHEMA_VALID: the pattern is found in the text; SCHEMA_INVALID: it is not. */
static enum schema_outcome find_pattern(const struct schema_call *c, const char *pattern,
                                        struct str text)
{
    const struct schema_pattern *p = prepare_pattern(c->run, pattern);
    if (p == NULL) {
        return schema_leave_open(c, "cannot be checked: there are more than %d regular expressions",
                                 SCHEMA_MAX_PATTERNS);
    }
    if (p->some == GRAMMAR_NONE) {
        return schema_leave_open(c, "cannot be checked: %s",
                                 p->builder != NULL ? grammar_builder_error(p->builder)->text
                                                    : "no memory is left");
    }
    return grammar_has_text(p->builder, p->all, text) ? SCHEMA_VALID
           : grammar_has_text(p->builder, p->some, text)
               ? schema_leave_open(c, "cannot be checked: readers of patterns differ about it")
               : SCHEMA_INVALID;
}

static enum schema_outcome apply_pattern(const struct schema_call *c)
{
    if (!json_is_string(c->value)) {
        return schema_malformed(c);
    }
    if (!json_is_string(c->instance)) {
        return SCHEMA_VALID;
    }
    struct str text = {json_string_value(c->instance), json_string_length(c->instance)};
    enum schema_outcome found = find_pattern(c, json_string_value(c->value), text);
    return found == SCHEMA_INVALID ? schema_fail(c, "does not match the pattern") : found;
}

/* Where it is not known whether the schema is for this member (SCHEMA_UNCHECKED), only a member
 * that it allows is known to be right. */
static enum schema_outcome apply_if_member(const struct schema_call *c, enum schema_outcome is_for,
                                           const char *name, const json_t *schema, const char *key)
{
    bool is_open = is_for == SCHEMA_UNCHECKED;
    c->run->n_quiet += is_open;
    enum schema_outcome outcome = json_is_false(schema) && name == NULL
                                      ? schema_fail_member(c, key, "is no property that is allowed")
                                      : apply_to_member(c, name, schema, key);
    c->run->n_quiet -= is_open;
    return is_open && outcome == SCHEMA_INVALID ? SCHEMA_UNCHECKED : outcome;
}

static enum schema_outcome apply_pattern_properties(const struct schema_call *c)
{
    const char *key, *pattern;
    json_t *schema, *member;
    enum schema_outcome outcome = SCHEMA_VALID;
    if (!json_is_object(c->value)) {
        return schema_malformed(c);
    }
    json_object_foreach((json_t *)c->value, pattern, schema)
    {
        json_object_foreach((json_t *)c->instance, key, member)
        {
            if (outcome == SCHEMA_INVALID || !schema_spend(c->run, 1)) {
                break;
            }
            enum schema_outcome found = find_pattern(c, pattern, str_from(key));
            if (found != SCHEMA_INVALID) {
                outcome = schema_both(outcome, apply_if_member(c, found, pattern, schema, key));
            }
        }
    }
    return c->run->stopped ? schema_both(outcome, SCHEMA_UNCHECKED) : outcome;
}

/* Is the member one of properties (SCHEMA_VALID) or patternProperties, beside the keyword? */
static enum schema_outcome is_evaluated(const struct schema_call *c, const char *key)
{
    const char *pattern;
    json_t *schema;
    enum schema_outcome outcome = SCHEMA_INVALID;
    if (json_object_get(json_object_get(c->schema, "properties"), key) != NULL) {
        return SCHEMA_VALID;
    }
    json_object_foreach(json_object_get(c->schema, "patternProperties"), pattern, schema)
    {
        enum schema_outcome found = find_pattern(c, pattern, str_from(key));
        if (found == SCHEMA_VALID || !schema_spend(c->run, 1)) {
            return found == SCHEMA_VALID ? SCHEMA_VALID : SCHEMA_UNCHECKED;
        }
        outcome = found == SCHEMA_UNCHECKED ? found : outcome;
    }
    return outcome;
}

static enum schema_outcome apply_additional_properties(const struct schema_call *c)
{
    const char *key;
    json_t *member;
    enum schema_outcome outcome = SCHEMA_VALID;
    json_object_foreach((json_t *)c->instance, key, member)
    {
        if (outcome == SCHEMA_INVALID || !schema_spend(c->run, 1)) {
            break;
        }
        enum schema_outcome known = is_evaluated(c, key);
        if (known != SCHEMA_VALID) {
            enum schema_outcome is_for = known == SCHEMA_INVALID ? SCHEMA_VALID : known;
            outcome = schema_both(outcome, apply_if_member(c, is_for, NULL, c->value, key));
        }
    }
    return c->run->stopped ? schema_both(outcome, SCHEMA_UNCHECKED) : outcome;
}

static enum schema_outcome apply_property_names(const struct schema_call *c)
{
    const char *key;
    json_t *member;
    enum schema_outcome outcome = SCHEMA_VALID;
    json_object_foreach((json_t *)c->instance, key, member)
    {
        struct schema_place at = {.parent = c->at, .key = key};
        json_t *name = json_string(key);
        if (name == NULL) {
            return schema_leave_open(c, "cannot be checked: no memory is left");
        }
        outcome = schema_both(outcome, evaluate(c->run, c->value, name, &at, c->where));
        json_decref(name);
        if (outcome == SCHEMA_INVALID) {
            break;
        }
    }
    return outcome;
}

static enum schema_outcome apply_dependent_schemas(const struct schema_call *c)
{
    const char *key;
    json_t *schema;
    enum schema_outcome outcome = SCHEMA_VALID;
    if (!json_is_object(c->value)) {
        return schema_malformed(c);
    }
    json_object_foreach((json_t *)c->value, key, schema)
    {
        if (json_object_get(c->instance, key) != NULL && outcome != SCHEMA_INVALID) {
            struct schema_place where = {.parent = c->where, .key = key};
            outcome = schema_both(outcome, evaluate(c->run, schema, c->instance, c->at, &where));
        }
    }
    return outcome;
}

/* Draft 7: a list of names or a schema for each member that may be there. */
static enum schema_outcome apply_dependencies(const struct schema_call *c)
{
    const char *key;
    json_t *schema;
    enum schema_outcome outcome = SCHEMA_VALID;
    if (!json_is_object(c->value)) {
        return schema_malformed(c);
    }
    json_object_foreach((json_t *)c->value, key, schema)
    {
        struct schema_place where = {.parent = c->where, .key = key};
        if (json_object_get(c->instance, key) == NULL) {
            continue;
        }
        outcome = schema_both(outcome, json_is_array(schema)
                                           ? schema_require_names(c, schema, key)
                                           : evaluate(c->run, schema, c->instance, c->at, &where));
    }
    return outcome;
}

/* --- arrays */

/* The schemas of the first items: prefixItems, or items of draft 7 when it is an array. */
static const json_t *first_items(const json_t *schema)
{
    const json_t *prefix = json_object_get(schema, "prefixItems");
    const json_t *items = json_object_get(schema, "items");
    return json_is_array(items) ? items : prefix;
}

static enum schema_outcome apply_first_items(const struct schema_call *c)
{
    enum schema_outcome outcome = SCHEMA_VALID;
    size_t n = json_array_size(c->instance);
    if (!json_is_array(c->value)) {
        return schema_malformed(c);
    }
    for (size_t i = 0; i < json_array_size(c->value) && i < n && outcome != SCHEMA_INVALID; i++) {
        struct schema_place where = {.parent = c->where, .index = i};
        outcome = schema_both(outcome, apply_to_item(c, json_array_get(c->value, i), i, &where));
    }
    return outcome;
}

static enum schema_outcome apply_rest_items(const struct schema_call *c, size_t first)
{
    enum schema_outcome outcome = SCHEMA_VALID;
    size_t n = json_array_size(c->instance);
    for (size_t i = first; i < n && outcome != SCHEMA_INVALID; i++) {
        if (!schema_spend(c->run, 1)) {
            return SCHEMA_UNCHECKED;
        }
        outcome = schema_both(outcome, apply_to_item(c, c->value, i, c->where));
    }
    return outcome;
}

static enum schema_outcome apply_items(const struct schema_call *c)
{
    return json_is_array(c->value) ? apply_first_items(c)
                                   : apply_rest_items(c, json_array_size(first_items(c->schema)));
}

static enum schema_outcome apply_additional_items(const struct schema_call *c)
{
    const json_t *items = json_object_get(c->schema, "items");
    return json_is_array(items) ? apply_rest_items(c, json_array_size(items)) : SCHEMA_VALID;
}

/* minContains or maxContains beside contains. */
static bool read_bound(const struct schema_call *c, const char *keyword, size_t *out)
{
    const json_t *value = json_object_get(c->schema, keyword);
    return value == NULL || schema_read_count(value, out);
}

static enum schema_outcome apply_contains(const struct schema_call *c)
{
    size_t least = 1, most = SIZE_MAX;
    struct tally t = {0};
    if (!read_bound(c, "minContains", &least) || !read_bound(c, "maxContains", &most)) {
        return schema_malformed(c);
    }
    if (!json_is_array(c->instance)) {
        return SCHEMA_VALID;
    }
    c->run->n_quiet++;
    for (size_t i = 0; i < json_array_size(c->instance); i++) {
        enum schema_outcome outcome = apply_to_item(c, c->value, i, c->where);
        t.valid += outcome == SCHEMA_VALID;
        t.open += outcome == SCHEMA_UNCHECKED;
    }
    c->run->n_quiet--;
    if (t.valid > most || t.valid + t.open < least) {
        return schema_fail(c, "has %zu items that match, at %s %zu are allowed", t.valid,
                           t.valid > most ? "most" : "least", t.valid > most ? most : least);
    }
    return t.valid < least || t.valid + t.open > most ? SCHEMA_UNCHECKED : SCHEMA_VALID;
}

static const struct schema_entry applicators[] = {
    {"$ref", apply_ref},
    {"properties", apply_properties},
    {"additionalProperties", apply_additional_properties},
    {"patternProperties", apply_pattern_properties},
    {"propertyNames", apply_property_names},
    {"dependentSchemas", apply_dependent_schemas},
    {"dependencies", apply_dependencies},
    {"prefixItems", apply_first_items},
    {"items", apply_items},
    {"additionalItems", apply_additional_items},
    {"contains", apply_contains},
    {"pattern", apply_pattern},
    {"allOf", apply_all_of},
    {"anyOf", apply_any_of},
    {"oneOf", apply_one_of},
    {"not", apply_not},
    {"if", apply_if},
    {"unevaluatedProperties", apply_unjudged},
    {"unevaluatedItems", apply_unjudged},
    {"$dynamicRef", apply_unjudged},
    {"$recursiveRef", apply_unjudged},
    {"extends", apply_unjudged},
    {"disallow", apply_unjudged},
    {"divisibleBy", apply_unjudged},
};

/* --- the walk */

/* Steps that a keyword takes to look at its own value or at the instance, once. */
static size_t steps_to_read(const json_t *v)
{
    enum { BYTES_A_STEP = 64 };
    return json_array_size(v) + json_object_size(v) + json_string_length(v) / BYTES_A_STEP;
}

static enum schema_outcome apply_keyword(const struct schema_call *schema,
                                         const struct schema_entry *entry)
{
    struct schema_place place = {.parent = schema->where, .key = entry->keyword};
    struct schema_call c = *schema;
    c.keyword = entry->keyword;
    c.value = json_object_get(c.schema, entry->keyword);
    c.where = &place;
    if (c.value == NULL) {
        return SCHEMA_VALID;
    }
    if (!schema_spend(c.run, 1 + steps_to_read(c.value) + steps_to_read(c.instance))) {
        return schema_leave_open(&c, "cannot be checked: it takes too many steps");
    }
    return entry->apply(&c);
}

static enum schema_outcome apply_keywords(const struct schema_call *c)
{
    enum schema_outcome outcome = SCHEMA_VALID;
    for (size_t i = 0; i < schema_n_assertions && outcome != SCHEMA_INVALID; i++) {
        outcome = schema_both(outcome, apply_keyword(c, &schema_assertions[i]));
    }
    for (size_t i = 0; i < COUNT(applicators) && outcome != SCHEMA_INVALID; i++) {
        outcome = schema_both(outcome, apply_keyword(c, &applicators[i]));
    }
    return outcome;
}

static enum schema_outcome evaluate(struct schema_run *run, const json_t *schema,
                                    const json_t *instance, const struct schema_place *at,
                                    const struct schema_place *where)
{
    struct schema_call c = {
        .run = run, .schema = schema, .instance = instance, .at = at, .where = where};
    c.keyword = "schema";
    if (json_is_boolean(schema)) {
        return json_is_true(schema) ? SCHEMA_VALID : schema_fail(&c, "is not allowed");
    }
    if (!json_is_object(schema)) {
        return schema_leave_open(&c, "cannot be checked: its schema is no object and no boolean");
    }
    if (run->stopped) {
        return SCHEMA_UNCHECKED;
    }
    if (run->depth == 0) {
        run->stopped = true;
        return schema_leave_open(&c, "cannot be checked: too many schemas lie in one another");
    }
    const char *own = schema != run->root ? schema_ref_own_base(schema, &run->steps) : NULL;
    if (own != NULL) {
        c.keyword = own;
        return schema_leave_open(&c, "cannot be checked: its schema is a document of its own");
    }
    run->depth--;
    enum schema_outcome outcome = apply_keywords(&c);
    run->depth++;
    return outcome;
}

enum schema_outcome schema_validate(const json_t *schema, const json_t *instance,
                                    const struct schema_limits *limits, struct schema_verdict *out)
{
    struct schema_place root = {0};
    *out = (struct schema_verdict){0};
    struct schema_run run = {
        .root = schema,
        .verdict = out,
        .steps = limits != NULL && limits->steps > 0 ? limits->steps : DEFAULT_STEPS,
        .pattern_steps = DFA_MAX_STEPS,
        .depth = limits != NULL && limits->depth > 0 ? limits->depth : DEFAULT_DEPTH,
    };
    enum schema_outcome outcome = evaluate(&run, schema, instance, &root, &root);
    for (size_t i = 0; i < run.n_patterns; i++) {
        grammar_builder_destroy(run.patterns[i].builder);
    }
    if (outcome == SCHEMA_VALID) {
        *out = (struct schema_verdict){0};
    }
    out->outcome = outcome;
    return outcome;
}
