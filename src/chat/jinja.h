/* jinja.h - the language of chat templates: Jinja as Python's jinja2 renders it when set up the
 * way transformers does (trim_blocks, lstrip_blocks, loop controls, `generation`, its `tojson`).
 *
 * Every byte of the output knows where it came from. JINJA_TEMPLATE: written by the template's
 * author (its text, its string literals, numbers that it counts, values that the caller vouches
 * for, like bos_token). JINJA_DATA: came from a value that somebody else wrote, or was made from
 * one. Only bytes of the first kind may become special tokens: that is promise 3 of
 * docs/ARCHITECTURE.md. What is joined keeps the origin of each part; what mixes (a number
 * computed from data, the text between the quotes that tojson writes) is JINJA_DATA.
 * docs/TEMPLATES.md has the language and the rules.
 *
 * A template comes out of an untrusted file: parsing and rendering are bounded in steps, depth,
 * memory and output. What is not supported is refused by name when the template is parsed, or
 * when a name that only the data decides is met; it never renders differently in silence.
 *
 * Owner/threads: a struct jinja_template is immutable after parsing: any thread may render it.
 * An arena, the values in it and an output belong to one thread at a time. Nothing here blocks. */
#ifndef CHAT_JINJA_H
#define CHAT_JINJA_H

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* --- memory: blocks that are freed together, with a maximum */

struct jinja_block;
struct jinja_arena {
    struct jinja_block *blocks; /* the newest first */
    size_t n_bytes, max_bytes;  /* of all blocks */
};

void jinja_arena_init(struct jinja_arena *a, size_t max_bytes);
void jinja_arena_finish(struct jinja_arena *a);

/* --- values: what a template sees */

enum jinja_origin { JINJA_TEMPLATE, JINJA_DATA };

/* Bytes of one origin that lie together. */
struct jinja_span {
    size_t n_bytes;
    enum jinja_origin origin;
};

enum jinja_kind {
    JINJA_MISSING, /* an argument that was not given; no template sees it */
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_DICT,
    JINJA_RANGE,
    JINJA_VIEW,      /* of a dict: keys(), values() or items() */
    JINJA_GENERATOR, /* what filters like map give: walked once */
    JINJA_NAMESPACE,
    JINJA_MACRO,
    JINJA_FUNCTION, /* range, namespace, raise_exception, ... */
    JINJA_METHOD,   /* of a string, list, dict, ... with the object it was taken from */
    JINJA_LOOP,     /* the variable `loop` */
    JINJA_CYCLER,
    JINJA_JOINER,
    JINJA_KIND_COUNT
};

struct jinja_string;
struct jinja_list;
struct jinja_dict;
struct jinja_range;
struct jinja_view;
struct jinja_generator;
struct jinja_macro;
struct jinja_function;
struct jinja_method;
struct jinja_loop;
struct jinja_cycle;

/* Lists, tuples, strings and dicts are shared, not copied, and do not change after being built. */
struct jinja_value {
    enum jinja_kind kind;
    enum jinja_origin origin; /* of none, a bool or a number; a string's lies in its spans */
    union {
        bool boolean;
        int64_t integer;
        double real;
        const struct jinja_string *string;
        struct jinja_list *list; /* and tuple */
        struct jinja_dict *dict; /* and namespace */
        const struct jinja_range *range;
        const struct jinja_view *view;
        struct jinja_generator *generator;
        const struct jinja_macro *macro;
        const struct jinja_function *function;
        const struct jinja_method *method;
        struct jinja_loop *loop;
        struct jinja_cycle *cycle;
        const struct str *name; /* of what is undefined; may be NULL */
    } u;
};

struct jinja_value jinja_none(void);
struct jinja_value jinja_bool(bool value, enum jinja_origin origin);
struct jinja_value jinja_int(int64_t value, enum jinja_origin origin);
struct jinja_value jinja_float(double value, enum jinja_origin origin);

/* These allocate in the arena, which must outlive the value. The text is copied.
 * ERROR_FORMAT: the text is not UTF-8. ERROR_MEMORY: the arena's maximum, or none is left. */
bool jinja_string_of(struct jinja_arena *a, struct str text, enum jinja_origin origin,
                     struct jinja_value *out, struct error *e);
/* The same with spans, neighbours of which differ in origin, that cover the text. */
bool jinja_string_of_spans(struct jinja_arena *a, struct str text, const struct jinja_span *spans,
                           size_t n_spans, struct jinja_value *out, struct error *e);
bool jinja_list_create(struct jinja_arena *a, struct jinja_value *out, struct error *e);
bool jinja_list_push(struct jinja_arena *a, struct jinja_value list, struct jinja_value item,
                     struct error *e);
bool jinja_dict_create(struct jinja_arena *a, struct jinja_value *out, struct error *e);
/* The key is a string of origin `key_origin`; a key that is there already gets the new value. */
bool jinja_dict_put(struct jinja_arena *a, struct jinja_value dict, struct str key,
                    enum jinja_origin key_origin, struct jinja_value value, struct error *e);

/* tojson writes this dict as it is spelled here, a JSON text of it, when asked for its usual form
 * on one line. The text is copied. ERROR_FORMAT: it is not UTF-8. ERROR_MEMORY. */
bool jinja_dict_spell(struct jinja_arena *a, struct jinja_value dict, struct str json,
                      struct error *e);

/* A copy of a JSON value: keys keep their order, integers have 64 bits. ERROR_FORMAT beyond
 * JINJA_MAX_JSON_DEPTH levels. */
enum { JINJA_MAX_JSON_DEPTH = 200 };
bool jinja_from_json(struct jinja_arena *a, const json_t *json, enum jinja_origin origin,
                     struct jinja_value *out, struct error *e);

/* --- templates */

struct jinja_template;

/* ERROR_FORMAT: the text is no template ("line 3, column 7: ..."); ERROR_UNSUPPORTED: it uses what
 * Puna does not have, named; ERROR_MEMORY. The text is copied. Released with jinja_destroy. */
struct jinja_template *jinja_parse(struct str text, struct error *e);
void jinja_destroy(struct jinja_template *t);

/* 0 in a field means the default. */
struct jinja_limits {
    size_t max_steps;        /* expressions, statements and pieces of long texts looked at */
    size_t max_depth;        /* of expressions, statements, macro calls and values in each other */
    size_t max_output_bytes; /* also of what a macro or block gives */
    size_t max_memory_bytes; /* of values made on the way */
};
enum {
    JINJA_DEFAULT_STEPS = 20000000,
    JINJA_DEFAULT_DEPTH = 400,
    JINJA_DEFAULT_OUTPUT_BYTES = 64 << 20,
    JINJA_DEFAULT_MEMORY_BYTES = 256 << 20
};

/* What a template is rendered to: spans cover the text in order, neighbours differ in origin. */
struct jinja_output {
    struct buf text;
    struct jinja_span *spans; /* (n_spans) */
    size_t n_spans;
};

/* variables: a dict of strings to values. now: local time, what strftime_now tells; NULL makes
 * strftime_now an error. limits may be NULL. *out is written on success and released with
 * jinja_output_finish.
 * ERROR_USAGE: the template called raise_exception; the text is what it said, without anything
 * before it. ERROR_FORMAT: an operation that jinja2 refuses, too ("line 3, column 7: ...").
 * ERROR_UNSUPPORTED: a value or operation that Puna does not have, or a limit that was passed.
 * ERROR_MEMORY. */
bool jinja_render(const struct jinja_template *t, struct jinja_value variables,
                  const struct tm *now, const struct jinja_limits *limits, struct jinja_output *out,
                  struct error *e);
void jinja_output_finish(struct jinja_output *out);

#endif
