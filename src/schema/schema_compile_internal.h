/* schema_compile_internal.h - what the files share that make a grammar of a JSON schema:
 *   schema_keyword.c         a schema applied to a form: the table of keywords, allOf, anyOf, $ref
 *   schema_keyword_*.c       keywords of scalars, arrays and objects
 *   schema_names.c           names that are not enforced: refused, or noted for the caller
 *   schema_form.c            lists of sets, copies, terms, emptiness
 *   schema_text.c            expressions for texts inside of JSON strings, and formats
 *   schema_compile.c         nodes: forms that stand for children, until none is new
 *   schema_emit*.c           expressions of forms
 * Functions return false with the compiler's error set. */
#ifndef SCHEMA_SCHEMA_COMPILE_INTERNAL_H
#define SCHEMA_SCHEMA_COMPILE_INTERNAL_H

#include "schema/schema_arena.h"
#include "schema/schema_compile.h"
#include "schema/schema_form.h"

enum {
    SCHEMA_MAX_MEMORY = 64 << 20, /* bytes of the arena */
    SCHEMA_MAX_STEPS = 400000,    /* schemas and values applied to sets */
    SCHEMA_MAX_INLINE = 100,      /* schemas within schemas about the same value */
    SCHEMA_MAX_NODES = 1000,      /* different children */
    SCHEMA_MAX_PROPERTIES = 500,  /* of an object */
    SCHEMA_MAX_ENUM = 4000,       /* values */
    SCHEMA_MAX_FIRST = 100,       /* prefixItems */
    SCHEMA_MADE_SLOTS = 256       /* expressions of patterns and formats that are kept */
};

/* A schema that is being applied, and those that it is part of. */
struct schema_active {
    const struct schema_active *outer;
    const json_t *schema;
    bool fails;
};

/* A name that has no effect. */
struct schema_note {
    const char *name;     /* of a keyword or format, in the schema */
    const json_t *schema; /* the first that has it */
    size_t n_places;
    bool is_format;
};

/* A schema whose names were checked. */
struct schema_seen {
    const json_t *schema; /* NULL: a free slot */
    uint64_t keywords;    /* bits of those that it has, in the order of schema_keyword_tables */
};

struct schema_compiler {
    const json_t *root;
    struct grammar_builder *builder;
    struct schema_arena arena;
    struct error *e;
    size_t steps;      /* that are left */
    bool is_comparing; /* formats and patterns count as what they may be by any reader; of formats
                          that is all strings */
    const struct schema_active *active;
    unsigned n_active;
    /* names that have no effect, in the order in which they were met; schemas count once */
    struct schema_note notes[SCHEMA_MAX_REMARKS]; /* (n_notes) */
    size_t n_notes, n_more;                       /* n_more: places of names beyond */
    struct schema_seen *seen;                     /* (n_seen_slots) hashed by address */
    size_t n_seen, n_seen_slots;
    /* nodes, in the order in which they were met */
    struct schema_node *nodes; /* (n_nodes), room for SCHEMA_MAX_NODES */
    size_t n_nodes;
    uint32_t *node_table; /* (node_slots) node + 1, hashed by its terms */
    /* expressions that are made once; GRAMMAR_NONE until then */
    uint32_t plain_character, plain_text, any_text, any_value, any_member, any_number;
    /* of patterns and formats, by the address of their text; the last one of a slot */
    struct schema_text_made {
        const char *text; /* NULL: none yet */
        uint32_t node;
        bool is_wide;
    } made[SCHEMA_MADE_SLOTS];
};

/* One keyword of a schema. */
struct schema_use {
    const json_t *schema;
    const char *keyword;
    const json_t *value;
};

/* --- errors and bounds (schema_compile.c) */

/* ERROR_UNSUPPORTED "at #/properties/a: 'pattern' ...". */
bool schema_refuse(struct schema_compiler *k, const struct schema_use *use, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool schema_refuse_value(struct schema_compiler *k, const struct schema_use *use);
/* Where it must fail. */
bool schema_refuse_opposite(struct schema_compiler *k, const struct schema_use *use);
/* Whether the error is of the schema and does not say where. */
bool schema_error_lacks_place(const struct schema_compiler *k);
bool schema_spend_steps(struct schema_compiler *k, size_t n);
/* False, naming the use, when the builder has failed. */
bool schema_check_builder(struct schema_compiler *k, const struct schema_use *use);
/* The JSON pointer of a value of the document, and as much of a name as texts show. */
struct schema_pointer {
    char text[200];
};
struct schema_pointer schema_pointer_to(const struct schema_compiler *k, const json_t *value);
struct str schema_shown_name(const char *name);

/* --- forms (schema_form.c) */

/* Appends a copy of an item of `size` bytes. */
bool schema_list_push(struct schema_compiler *k, struct schema_list *list, const void *item,
                      size_t size);
bool schema_form_of_any(struct schema_compiler *k, struct schema_form *out);
bool schema_form_copy(struct schema_compiler *k, const struct schema_form *f,
                      struct schema_form *out);
/* into becomes the union of both. */
bool schema_form_merge(struct schema_compiler *k, struct schema_form *into,
                       const struct schema_form *from);
/* Leaves only values of those types (enum schema_type_bit). */
void schema_form_keep_types(struct schema_form *f, unsigned types);
/* Whether it is sure that no value is in it, looking into children down to a depth. */
bool schema_form_is_empty(struct schema_compiler *k, const struct schema_form *f, unsigned depth,
                          bool *out);
/* Adds one; those that allow everything are left out. */
bool schema_terms_add(struct schema_compiler *k, struct schema_terms *terms,
                      struct schema_term term);
/* Whether a value is within what a set says, but for its list. */
bool schema_numbers_have(const struct schema_numbers *set, struct decimal value);
/* Drops sets that are empty by their own bounds, and listed values that are not in their sets. */
bool schema_keep_numbers(struct schema_compiler *k, struct schema_form *f);
bool schema_keep_strings(struct schema_compiler *k, struct schema_form *f);

/* --- application (schema_keyword*.c) */

/* Leaves the values of f that are valid, or with fails those that are not. */
bool schema_apply(struct schema_compiler *k, const json_t *schema, bool fails,
                  struct schema_form *f);
bool schema_apply_terms(struct schema_compiler *k, struct schema_terms terms,
                        struct schema_form *f);

typedef bool (*schema_rule)(struct schema_compiler *k, const struct schema_use *use,
                            struct schema_form *f);
struct schema_keyword {
    const char *name;
    unsigned types; /* of values that it speaks of (enum schema_type_bit); it allows all others */
    schema_rule apply;
    schema_rule deny; /* of a form of those types, leaves what it does not allow; NULL: cannot */
};
extern const struct schema_keyword schema_scalar_keywords[], schema_array_keywords[],
    schema_object_keywords[];
extern const size_t schema_n_scalar_keywords, schema_n_array_keywords, schema_n_object_keywords;

/* All keywords that are enforced. */
struct schema_keyword_table {
    const struct schema_keyword *keywords;
    const size_t *n;
};
enum { SCHEMA_KEYWORD_TABLES = 4 };
extern const struct schema_keyword_table schema_keyword_tables[SCHEMA_KEYWORD_TABLES];

/* The next one of a set (struct schema_seen), in the order of the tables; takes it out. */
const struct schema_keyword *schema_next_keyword(uint64_t *keywords);

/* Leaves the n values (EQUALS) of f. */
bool schema_apply_values(struct schema_compiler *k, const struct schema_use *use,
                         json_t *const *values, size_t n, struct schema_form *f);
bool schema_apply_array_value(struct schema_compiler *k, const json_t *value,
                              const struct schema_form *f, struct schema_form *out);
bool schema_apply_object_value(struct schema_compiler *k, const json_t *value,
                               const struct schema_form *f, struct schema_form *out);

/* Leaves the objects with, or without, a member. */
bool schema_require_member(struct schema_compiler *k, struct str name, struct schema_form *f);
bool schema_forbid_member(struct schema_compiler *k, struct str name, struct schema_form *f);

/* --- names that are not enforced (schema_names.c) */

/* Refuses a schema with a keyword that restricts without being enforced or looks like a slip of one
 * that does, and one that is a document of its own; notes the keywords and the format that have no
 * effect. Looks at each schema once. *out_keywords: see struct schema_seen. */
bool schema_check_names(struct schema_compiler *k, const json_t *schema, uint64_t *out_keywords);
/* A format that allows everything: the standard defines none of that name. */
bool schema_format_is_free(const json_t *value);
/* Of another one that is not enforced: the standard's, or what looks like a slip. */
bool schema_refuse_format(struct schema_compiler *k, const struct schema_use *use);
/* Appends what was noted. */
void schema_tell_notes(const struct schema_compiler *k, struct schema_remarks *out);

/* --- texts inside of JSON strings (schema_text.c) */

/* Any text, in all spellings or in one: that of all that the functions below make. */
uint32_t schema_text_any(struct schema_compiler *k);
uint32_t schema_text_plain(struct schema_compiler *k);
/* One text. */
uint32_t schema_text_literal(struct schema_compiler *k, struct str text);
/* Has an expression this text? */
bool schema_text_has(struct schema_compiler *k, uint32_t inside, struct str text);
/* A text of an expression between quotes. */
uint32_t schema_text_quoted(struct schema_compiler *k, uint32_t inside);
/* The set's strings, with their quotes; any text for a set of all. */
uint32_t schema_text_of_set(struct schema_compiler *k, const struct schema_strings *set);
/* Whether there are any. */
bool schema_strings_are_possible(struct schema_compiler *k, const struct schema_strings *set,
                                 bool *out);
/* The same without quotes, to be combined with others, and with a smaller maximum where the set's
 * would be too large beside its pattern. */
uint32_t schema_text_of_names(struct schema_compiler *k, const struct schema_strings *set);
/* Texts in which a regular expression of `pattern` is found, by every reader or (wide) by some. */
uint32_t schema_text_pattern(struct schema_compiler *k, struct str pattern, bool is_wide);
/* Whether it is true or has nothing but annotations and names that are not known. */
bool schema_is_silent(const json_t *schema);
/* The i-th format that is enforced; NULL behind the last. */
const char *schema_format_name(size_t i);
/* GRAMMAR_NONE for a format that is not enforced. */
uint32_t schema_text_format(struct schema_compiler *k, const char *name);

/* --- nodes (schema_compile.c) and their expressions (schema_emit*.c) */

#define SCHEMA_ANY_NODE UINT32_MAX /* of children without terms */

struct schema_node {
    struct schema_terms terms;
    struct schema_form form;
    bool is_productive; /* some value is in it */
    uint32_t rule;      /* of the builder */
    uint64_t hash;
};

bool schema_node_of(struct schema_compiler *k, struct schema_terms terms, uint32_t *out);
bool schema_node_is_productive(const struct schema_compiler *k, uint32_t node);
/* The expression that calls it. */
uint32_t schema_emit_node(struct schema_compiler *k, uint32_t node);
uint32_t schema_emit_form(struct schema_compiler *k, const struct schema_form *f);
uint32_t schema_emit_any(struct schema_compiler *k);
uint32_t schema_emit_numbers(struct schema_compiler *k, const struct schema_numbers *set);
/* Plain numbers that are multiples of a unit: an automaton of remainders (schema_multiple.c). */
uint32_t schema_multiples(struct schema_compiler *k, struct decimal unit);
uint32_t schema_emit_arrays(struct schema_compiler *k, const struct schema_arrays *set);
uint32_t schema_emit_objects(struct schema_compiler *k, const struct schema_objects *set);
bool schema_arrays_are_productive(struct schema_compiler *k, const struct schema_arrays *set,
                                  bool *out);
bool schema_objects_are_productive(struct schema_compiler *k, const struct schema_objects *set,
                                   bool *out);

/* Shorthands for the builder. */
uint32_t schema_either(struct schema_compiler *k, uint32_t a, uint32_t c);
uint32_t schema_then(struct schema_compiler *k, uint32_t a, uint32_t c);
uint32_t schema_optional(struct schema_compiler *k, uint32_t a);
uint32_t schema_pattern(struct schema_compiler *k, const char *pattern);

#endif
