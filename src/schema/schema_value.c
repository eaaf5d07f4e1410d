/* schema_value.c - equality, types and lengths of values. */
#include "schema/schema_value.h"

#include "schema/schema_number.h"

#include <string.h>

static bool equal_arrays(const json_t *a, const json_t *b, size_t *steps)
{
    bool equal = json_array_size(a) == json_array_size(b);
    for (size_t i = 0; i < json_array_size(a) && equal; i++) {
        equal = schema_value_equal(json_array_get(a, i), json_array_get(b, i), steps);
    }
    return equal;
}

static bool equal_objects(const json_t *a, const json_t *b, size_t *steps)
{
    const char *key;
    json_t *member;
    bool equal = json_object_size(a) == json_object_size(b);
    json_object_foreach((json_t *)a, key, member)
    {
        const json_t *other = equal ? json_object_get(b, key) : NULL;
        equal = other != NULL && schema_value_equal(member, other, steps);
    }
    return equal;
}

bool schema_value_equal(const json_t *a, const json_t *b, size_t *steps)
{
    if (*steps == 0) {
        return false;
    }
    --*steps;
    if (json_is_number(a) && json_is_number(b)) {
        return decimal_compare(decimal_from_json(a), decimal_from_json(b)) == 0;
    }
    if (json_typeof(a) != json_typeof(b)) {
        return false;
    }
    switch (json_typeof(a)) {
    case JSON_ARRAY:
        return equal_arrays(a, b, steps);
    case JSON_OBJECT:
        return equal_objects(a, b, steps);
    case JSON_STRING:
        return json_string_length(a) == json_string_length(b) &&
               memcmp(json_string_value(a), json_string_value(b), json_string_length(a)) == 0;
    default:
        return true; /* null, true, false */
    }
}

static const struct {
    const char *name, *kind;
} types[] = {[JSON_OBJECT] = {"object", "an object"}, [JSON_ARRAY] = {"array", "an array"},
             [JSON_STRING] = {"string", "a string"},  [JSON_INTEGER] = {"integer", "a number"},
             [JSON_REAL] = {"number", "a number"},    [JSON_TRUE] = {"boolean", "a boolean"},
             [JSON_FALSE] = {"boolean", "a boolean"}, [JSON_NULL] = {"null", "null"}};

bool schema_value_has_type(const json_t *value, const char *type, bool *out_known)
{
    *out_known = false;
    for (size_t i = 0; i < sizeof types / sizeof *types && !*out_known; i++) {
        *out_known = strcmp(types[i].name, type) == 0;
    }
    if (strcmp(type, "number") == 0) {
        return json_is_number(value);
    }
    if (strcmp(type, "integer") == 0) {
        return json_is_number(value) && decimal_is_integer(decimal_from_json(value));
    }
    return strcmp(types[json_typeof(value)].name, type) == 0;
}

const char *schema_value_kind(const json_t *value)
{
    return types[json_typeof(value)].kind;
}

size_t schema_value_length(const json_t *string)
{
    const char *p = json_string_value(string);
    size_t n = 0;
    for (size_t i = 0; i < json_string_length(string); i++) {
        n += ((unsigned char)p[i] & 0xc0) != 0x80; /* jansson lets only UTF-8 in */
    }
    return n;
}
