/* schema_value.h - values of JSON as JSON Schema sees them. Pure; bounded in steps. */
#ifndef SCHEMA_SCHEMA_VALUE_H
#define SCHEMA_SCHEMA_VALUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Are they equal: numbers by value (1 == 1.0), objects in any order of their members? *steps is
 * what may be compared yet, in values; at 0 the answer is false and means nothing. */
bool schema_value_equal(const json_t *a, const json_t *b, size_t *steps);

/* Is it of the type that "string", "integer", "number", "null" ... names? 1.0 is an integer.
 * *out_known = whether there is such a type. */
bool schema_value_has_type(const json_t *value, const char *type, bool *out_known);

/* "an object", "a string" ... for messages */
const char *schema_value_kind(const json_t *value);

/* Code points of a string. */
size_t schema_value_length(const json_t *string);

#endif
