/* schema_form.h - the sets of values that schemas describe, while they are compiled.
 *
 * A form is a union of sets by type: flags for null, true and false, and a list each of sets of
 * numbers, strings, arrays and objects. Applying a schema to a form leaves those of its values that
 * the schema allows (schema_apply(), schema_keyword.h). What lies inside of arrays and objects
 * stays unopened: a child is a list of terms that all hold of it, and becomes a form of its own
 * later, so that schemas may call themselves.
 *
 * All memory is the compiler's arena's. What a set points to is never changed, but replaced, so
 * that sets are copied by assignment. */
#ifndef SCHEMA_SCHEMA_FORM_H
#define SCHEMA_SCHEMA_FORM_H

#include "base/str.h"
#include "schema/schema_number.h"

enum schema_term_kind {
    SCHEMA_HOLDS, /* the value is valid against the schema */
    SCHEMA_FAILS, /* it is not */
    SCHEMA_EQUALS /* it is the value `schema` itself */
};

struct schema_term {
    const json_t *schema;
    enum schema_term_kind kind;
};

struct schema_terms {
    const struct schema_term *list; /* (n) all of them; none: any value */
    size_t n;
};

#define SCHEMA_NO_LIMIT SIZE_MAX

struct schema_bound {
    struct decimal value;
    bool is_set, is_open; /* open: the bound itself is out */
};

enum { SCHEMA_MAX_UNITS = 4 };

struct schema_numbers {
    bool only_integers, only_fractions;
    struct schema_bound min, max;
    struct decimal units[SCHEMA_MAX_UNITS]; /* (n_units) it is a multiple of each */
    size_t n_units;
    bool is_listed;
    const struct decimal *values; /* (n_values) those and no others, when is_listed */
    size_t n_values;
    const struct decimal *excluded; /* (n_excluded), when not is_listed */
    size_t n_excluded;
};

struct schema_strings {
    uint32_t inside; /* expression (grammar.h) of what is between the quotes; GRAMMAR_NONE: all */
    size_t min, max; /* code points */
    bool is_listed;
    const struct str *values; /* (n_values) those and no others, when is_listed */
    size_t n_values;
};

struct schema_arrays {
    const struct schema_terms *first; /* (n_first) of the items at the front */
    size_t n_first;
    struct schema_terms rest; /* of all others */
    size_t min, max;          /* items */
    bool is_unique, has_contained;
    struct schema_terms contained; /* at least min_contained, at most max_contained items */
    size_t min_contained, max_contained;
};

enum schema_presence { SCHEMA_OPTIONAL, SCHEMA_REQUIRED, SCHEMA_FORBIDDEN };

struct schema_property {
    struct str name;
    struct schema_terms terms;
    enum schema_presence presence;
};

/* Members with other names: those that an expression has. Regions do not overlap. */
struct schema_region {
    uint32_t names; /* expression of what is between the quotes; GRAMMAR_NONE: all */
    struct schema_terms terms;
};

struct schema_objects {
    const struct schema_property *properties; /* (n_properties) in the order of the text */
    size_t n_properties;
    const struct schema_region *regions; /* (n_regions) none: no others */
    size_t n_regions;
    size_t min, max; /* members */
};

enum schema_type_bit {
    SCHEMA_TYPE_NULL = 1,
    SCHEMA_TYPE_BOOLEAN = 2,
    SCHEMA_TYPE_INTEGER = 4,  /* 7, 7.0 */
    SCHEMA_TYPE_FRACTION = 8, /* 7.5 */
    SCHEMA_TYPE_STRING = 16,
    SCHEMA_TYPE_ARRAY = 32,
    SCHEMA_TYPE_OBJECT = 64,
    SCHEMA_TYPE_NUMBER = SCHEMA_TYPE_INTEGER | SCHEMA_TYPE_FRACTION,
    SCHEMA_TYPE_ANY = 127
};

enum { SCHEMA_MAX_SETS = 256 }; /* of a kind in a form */

/* Sets of one kind. A form owns its lists: schema_form_copy() makes others. */
struct schema_list {
    void *items; /* (n) struct schema_numbers, ... */
    size_t n, capacity;
};

struct schema_form {
    bool has_null, has_true, has_false;
    struct schema_list numbers, strings, arrays, objects;
};

#endif
