/* schema_assert.c - keywords that look at a value and at no schema below: type, enum, numbers,
 * lengths, required and their kin. */
#include "schema/schema_number.h"
#include "schema/schema_validate_internal.h"
#include "schema/schema_value.h"

#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* --- any value */

static enum schema_outcome apply_type(const struct schema_call *c)
{
    const json_t *one = json_is_string(c->value) ? c->value : json_array_get(c->value, 0);
    size_t n = json_is_string(c->value) ? 1 : json_array_size(c->value);
    bool has_type = false;
    for (size_t i = 0; i < n; i++) {
        bool is_known = false;
        const char *name = json_string_value(i == 0 ? one : json_array_get(c->value, i));
        has_type |= name != NULL && schema_value_has_type(c->instance, name, &is_known);
        if (!is_known) {
            return schema_malformed(c);
        }
    }
    if (n == 0) {
        return schema_malformed(c);
    }
    return has_type ? SCHEMA_VALID
                    : schema_fail(c, "is %s, not %s%s", schema_value_kind(c->instance),
                                  json_string_value(one), n > 1 ? " or another type allowed" : "");
}

static enum schema_outcome out_of_steps(const struct schema_call *c)
{
    c->run->stopped = true;
    return schema_leave_open(c, "takes too many steps");
}

static enum schema_outcome apply_enum(const struct schema_call *c)
{
    if (!json_is_array(c->value)) {
        return schema_malformed(c);
    }
    for (size_t i = 0; i < json_array_size(c->value); i++) {
        if (schema_value_equal(c->instance, json_array_get(c->value, i), &c->run->steps)) {
            return SCHEMA_VALID;
        }
    }
    return c->run->steps == 0
               ? out_of_steps(c)
               : schema_fail(c, "is none of the %zu values allowed", json_array_size(c->value));
}

static enum schema_outcome apply_const(const struct schema_call *c)
{
    if (schema_value_equal(c->instance, c->value, &c->run->steps)) {
        return SCHEMA_VALID;
    }
    return c->run->steps == 0 ? out_of_steps(c) : schema_fail(c, "is not the one value allowed");
}

/* --- numbers */

static const struct {
    const char *keyword, *words;
    int sign;      /* which side of the bound is bad */
    bool equal_ok; /* may it be the bound itself */
} bounds[] = {{"minimum", "less than the minimum", -1, true},
              {"maximum", "more than the maximum", 1, true},
              {"exclusiveMinimum", "not more than the exclusive minimum", -1, false},
              {"exclusiveMaximum", "not less than the exclusive maximum", 1, false}};

static enum schema_outcome apply_bound(const struct schema_call *c)
{
    char is[DECIMAL_TEXT_BYTES], bound_text[DECIMAL_TEXT_BYTES];
    size_t i = 0;
    while (strcmp(bounds[i].keyword, c->keyword) != 0) {
        i++;
    }
    if (!json_is_number(c->value)) {
        return schema_malformed(c);
    }
    if (!json_is_number(c->instance)) {
        return SCHEMA_VALID;
    }
    struct decimal value = decimal_from_json(c->instance);
    struct decimal bound = decimal_from_json(c->value);
    int order = decimal_compare(value, bound);
    if (order == -bounds[i].sign || (order == 0 && bounds[i].equal_ok)) {
        return SCHEMA_VALID;
    }
    decimal_print(value, is, sizeof is);
    decimal_print(bound, bound_text, sizeof bound_text);
    return schema_fail(c, "is %s, %s %s", is, bounds[i].words, bound_text);
}

static enum schema_outcome apply_multiple_of(const struct schema_call *c)
{
    char text[DECIMAL_TEXT_BYTES];
    if (!json_is_number(c->value)) {
        return schema_malformed(c);
    }
    struct decimal unit = decimal_from_json(c->value);
    if (unit.digits == 0 || unit.negative) {
        return schema_malformed(c);
    }
    if (!json_is_number(c->instance) || decimal_is_multiple(decimal_from_json(c->instance), unit)) {
        return SCHEMA_VALID;
    }
    decimal_print(unit, text, sizeof text);
    return schema_fail(c, "is no multiple of %s", text);
}

/* --- sizes */

static size_t size_of(const json_t *value)
{
    return json_is_string(value)  ? schema_value_length(value)
           : json_is_array(value) ? json_array_size(value)
                                  : json_object_size(value);
}

static const struct {
    const char *keyword, *what;
    json_type type;
    bool is_max;
} sizes[] = {{"minLength", "characters", JSON_STRING, false},
             {"maxLength", "characters", JSON_STRING, true},
             {"minItems", "items", JSON_ARRAY, false},
             {"maxItems", "items", JSON_ARRAY, true},
             {"minProperties", "properties", JSON_OBJECT, false},
             {"maxProperties", "properties", JSON_OBJECT, true}};

static enum schema_outcome apply_size(const struct schema_call *c)
{
    size_t i = 0, limit = 0;
    while (strcmp(sizes[i].keyword, c->keyword) != 0) {
        i++;
    }
    if (!schema_read_count(c->value, &limit)) {
        return schema_malformed(c);
    }
    if (json_typeof(c->instance) != sizes[i].type) {
        return SCHEMA_VALID;
    }
    size_t n = size_of(c->instance);
    if (sizes[i].is_max ? n <= limit : n >= limit) {
        return SCHEMA_VALID;
    }
    return schema_fail(c, "has %zu %s, at %s %zu are allowed", n, sizes[i].what,
                       sizes[i].is_max ? "most" : "least", limit);
}

static enum schema_outcome apply_unique_items(const struct schema_call *c)
{
    if (!json_is_boolean(c->value)) {
        return schema_malformed(c);
    }
    size_t n = json_is_true(c->value) ? json_array_size(c->instance) : 0;
    for (size_t i = 1; i < n; i++) {
        for (size_t k = 0; k < i && c->run->steps > 0; k++) {
            if (schema_value_equal(json_array_get(c->instance, i), json_array_get(c->instance, k),
                                   &c->run->steps)) {
                return schema_fail(c, "has the same item at %zu and %zu", k, i);
            }
        }
    }
    return n > 0 && c->run->steps == 0 ? out_of_steps(c) : SCHEMA_VALID;
}

/* --- names of members */

enum schema_outcome schema_require_names(const struct schema_call *c, const json_t *names,
                                         const char *because)
{
    enum schema_outcome outcome = SCHEMA_VALID;
    if (!json_is_array(names)) {
        return schema_malformed(c);
    }
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (name == NULL) {
            return schema_malformed(c);
        }
        if (json_is_object(c->instance) && outcome == SCHEMA_VALID &&
            (strlen(name) != json_string_length(json_array_get(names, i)) ||
             json_object_get(c->instance, name) == NULL)) {
            outcome = because == NULL
                          ? schema_fail_member(c, name, "is missing")
                          : schema_fail_member(c, name, "is missing, as '%s' is there", because);
        }
    }
    return outcome;
}

static enum schema_outcome apply_required(const struct schema_call *c)
{
    return schema_require_names(c, c->value, NULL);
}

static enum schema_outcome apply_dependent_required(const struct schema_call *c)
{
    const char *key;
    json_t *names;
    enum schema_outcome outcome = SCHEMA_VALID;
    if (!json_is_object(c->value)) {
        return schema_malformed(c);
    }
    json_object_foreach((json_t *)c->value, key, names)
    {
        if (json_object_get(c->instance, key) != NULL) {
            outcome = schema_both(outcome, schema_require_names(c, names, key));
        }
    }
    return outcome;
}

const struct schema_entry schema_assertions[] = {
    {"type", apply_type},
    {"const", apply_const},
    {"enum", apply_enum},
    {"required", apply_required},
    {"minimum", apply_bound},
    {"maximum", apply_bound},
    {"exclusiveMinimum", apply_bound},
    {"exclusiveMaximum", apply_bound},
    {"multipleOf", apply_multiple_of},
    {"minLength", apply_size},
    {"maxLength", apply_size},
    {"minItems", apply_size},
    {"maxItems", apply_size},
    {"minProperties", apply_size},
    {"maxProperties", apply_size},
    {"uniqueItems", apply_unique_items},
    {"dependentRequired", apply_dependent_required},
};
const size_t schema_n_assertions = COUNT(schema_assertions);
