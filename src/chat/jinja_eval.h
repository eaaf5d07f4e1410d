/* jinja_eval.h - the state of one rendering, and what its parts offer each other. Every function
 * that returns bool and takes a struct jinja_eval fails with ev->e set, to which the place in
 * the template is added. One thread. */
#ifndef CHAT_JINJA_EVAL_H
#define CHAT_JINJA_EVAL_H

#include "chat/jinja_ast.h"
#include "chat/jinja_callee.h"

struct jinja_variable {
    const struct str *name; /* interned */
    struct jinja_value value;
};

/* Variables of a block; what is not found here is looked up in the parent, then in the render's own
 * variables, then among the functions. */
struct jinja_scope {
    struct jinja_scope *parent;
    struct jinja_variable *items;
    size_t n, capacity;
    bool is_kept; /* a macro was made here, which may be called after the block ended */
    bool is_over; /* the block ended */
};

enum jinja_flow { JINJA_FLOW_ON, JINJA_FLOW_BREAK, JINJA_FLOW_CONTINUE };

struct jinja_eval {
    const struct jinja_template *t;
    struct jinja_arena arena;
    struct error *e;
    struct jinja_limits limits;
    size_t n_steps, depth;
    const struct tm *now;
    struct jinja_dict *variables;
    struct jinja_scope *scope;
    struct jinja_text *out;
    const struct jinja_node *at; /* what is being done, for errors */
    enum jinja_flow flow;
};

struct jinja_macro {
    const struct jinja_macro_node *node;
    struct jinja_scope *scope; /* in which it was made */
};

/* Walks something once. next sets *found false after the last item. */
struct jinja_generator {
    bool (*next)(struct jinja_eval *ev, struct jinja_generator *g, bool *found,
                 struct jinja_value *item);
    struct jinja_value source;
    size_t at;
    struct jinja_generator *inner; /* whose items this one's are made of */
    void *state;                   /* of the kind of generator */
};

struct jinja_loop {
    struct jinja_generator *items;
    struct jinja_value previous, current, after; /* JINJA_MISSING where there is none */
    bool has_after;                              /* `after` was read ahead, and is there */
    bool is_over;                                /* reading ahead found the end */
    int64_t index0, length;                      /* length -1 until it is asked for */
    struct jinja_value changed;                  /* what loop.changed was told last */
};

/* A function or method that a template can take hold of. */
struct jinja_function {
    const struct jinja_callee *callee;
};
struct jinja_method {
    const struct jinja_callee *callee;
    struct jinja_value self;
};

/* --- errors and bounds */

bool jinja_fail(struct jinja_eval *ev, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* For what jinja2 can do and Puna does not. */
bool jinja_refuse(struct jinja_eval *ev, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool jinja_spend(struct jinja_eval *ev, size_t n_steps);
/* For looking at n_bytes of text: cheaper than as many steps. */
bool jinja_spend_bytes(struct jinja_eval *ev, size_t n_bytes);
/* One level deeper, to be left with ev->depth--, also after a failure further down. */
bool jinja_descend(struct jinja_eval *ev);
/* "str", "int", ... as Python calls the type. */
const char *jinja_type_name(struct jinja_value v);
/* The error of using what is undefined. */
bool jinja_fail_undefined(struct jinja_eval *ev, struct jinja_value v);

struct jinja_text jinja_text_of(struct jinja_eval *ev);
bool jinja_make_string(struct jinja_eval *ev, struct str text, enum jinja_origin origin,
                       struct jinja_value *out);
/* text must outlive the rendering: a literal, or bytes of the template. */
bool jinja_push(struct jinja_eval *ev, struct jinja_value list, struct jinja_value item);
bool jinja_make_list(struct jinja_eval *ev, struct jinja_value *out);
bool jinja_make_tuple(struct jinja_eval *ev, const struct jinja_value *items, size_t n,
                      struct jinja_value *out);

/* --- jinja_compare.c */

bool jinja_truth(struct jinja_value v);
bool jinja_equal(struct jinja_eval *ev, struct jinja_value a, struct jinja_value b, bool *out);
bool jinja_compare(struct jinja_eval *ev, enum jinja_operator op, struct jinja_value a,
                   struct jinja_value b, bool *out);
bool jinja_contains(struct jinja_eval *ev, struct jinja_value container, struct jinja_value item,
                    bool *out);
/* The first place of needle in s from byte `from` on, or SIZE_MAX. */
size_t jinja_find_bytes(struct str s, struct str needle, size_t from);
/* *out NULL when the key is not there. Fails for a key that has no hash. */
bool jinja_dict_find(struct jinja_eval *ev, const struct jinja_dict *d, struct jinja_value key,
                     struct jinja_entry **out);
bool jinja_dict_set(struct jinja_eval *ev, struct jinja_dict *d, struct jinja_value key,
                    struct jinja_value value);
/* Sorts values by keys (both (n)), stable. */
bool jinja_sort(struct jinja_eval *ev, struct jinja_value *values, struct jinja_value *keys,
                size_t n, bool reverse);

/* --- jinja_arith.c */

bool jinja_binary(struct jinja_eval *ev, enum jinja_operator op, struct jinja_value a,
                  struct jinja_value b, struct jinja_value *out);
bool jinja_sign(struct jinja_eval *ev, bool negate, struct jinja_value a, struct jinja_value *out);
/* a < b, a == b, a > b: -1, 0, 1; 2 when one is NaN. Both are numbers; exact for any of them. */
int jinja_order_numbers(struct jinja_value a, struct jinja_value b);
double jinja_to_double(struct jinja_value number);
/* Whether the whole part of a float is an integer of 64 bits. */
bool jinja_fits_int(double value);
/* A float's whole part as an integer; fails when it has none in 64 bits. */
bool jinja_truncate(struct jinja_eval *ev, double value, int64_t *out);

/* --- jinja_access.c */

bool jinja_get_attribute(struct jinja_eval *ev, struct jinja_value object, struct jinja_value name,
                         struct jinja_value *out);
bool jinja_get_item(struct jinja_eval *ev, struct jinja_value object, struct jinja_value index,
                    struct jinja_value *out);
/* bounds: start, stop, step; JINJA_NONE where not given. */
bool jinja_get_slice(struct jinja_eval *ev, struct jinja_value object,
                     const struct jinja_value bounds[3], struct jinja_value *out);
/* "a.b.0" of an item, as the filters take their `attribute`; an int is one index. */
bool jinja_get_path(struct jinja_eval *ev, struct jinja_value object, struct jinja_value path,
                    struct jinja_value *out);
bool jinja_length(struct jinja_eval *ev, struct jinja_value v, int64_t *out);
int64_t jinja_range_at(const struct jinja_range *r, int64_t index);

/* --- jinja_iterate.c */

bool jinja_iterate(struct jinja_eval *ev, struct jinja_value v, struct jinja_generator **out);
bool jinja_next(struct jinja_eval *ev, struct jinja_generator *g, bool *found,
                struct jinja_value *item);
bool jinja_is_iterable(struct jinja_value v);
/* All items as a new list. */
bool jinja_collect(struct jinja_eval *ev, struct jinja_value v, struct jinja_value *out);
struct jinja_generator *jinja_generator_create(struct jinja_eval *ev, struct jinja_value source);
struct jinja_value jinja_generator_value(struct jinja_generator *g);
bool jinja_reversed(struct jinja_eval *ev, struct jinja_value v, struct jinja_value *out);

bool jinja_loop_next(struct jinja_eval *ev, struct jinja_loop *loop, bool *found);
bool jinja_loop_attribute(struct jinja_eval *ev, struct jinja_loop *loop, struct str name,
                          struct jinja_value *out);

/* --- jinja_print.c and jinja_json.c */

/* str(v) and repr(v) of Python. */
bool jinja_print(struct jinja_eval *ev, struct jinja_text *t, struct jinja_value v);
bool jinja_repr(struct jinja_eval *ev, struct jinja_text *t, struct jinja_value v);
/* v as a string: itself, or what it prints. */
bool jinja_to_string(struct jinja_eval *ev, struct jinja_value v, struct jinja_value *out);
/* Shortest digits that read back the same; returns the length. */
enum { JINJA_FLOAT_BYTES = 40 };
size_t jinja_print_float(double v, char out[JINJA_FLOAT_BYTES]);
bool jinja_filter_tojson(struct jinja_eval *ev, const struct jinja_call *c,
                         struct jinja_value *out);

/* --- jinja_method.c, jinja_format.c, jinja_function.c, jinja_text.c */

/* The method of that name, or *out NULL; fails for one that Puna does not have. */
bool jinja_find_method(struct jinja_eval *ev, struct jinja_value object, struct str name,
                       const struct jinja_callee **out);
/* Whether the method is there for Python, but not for templates, which must not change values. */
bool jinja_is_unsafe(struct jinja_value object, struct str name);
bool jinja_format_percent(struct jinja_eval *ev, struct jinja_value format,
                          struct jinja_value arguments, struct jinja_value *out);
bool jinja_format_braces(struct jinja_eval *ev, const struct jinja_call *c,
                         struct jinja_value *out);
bool jinja_find_function(struct jinja_eval *ev, struct str name, struct jinja_value *out);
bool jinja_call_value(struct jinja_eval *ev, struct jinja_value callee,
                      const struct jinja_args *args, struct jinja_value *out);
bool jinja_call_macro(struct jinja_eval *ev, const struct jinja_macro *macro,
                      const struct jinja_args *args, struct jinja_value *out);

/* --- jinja_eval.c and jinja_exec.c */

bool jinja_evaluate(struct jinja_eval *ev, const struct jinja_node *node, struct jinja_value *out);
bool jinja_evaluate_args(struct jinja_eval *ev, const struct jinja_call_args *given,
                         struct jinja_args *out);
/* A filter node on a value. */
bool jinja_evaluate_filter(struct jinja_eval *ev, const struct jinja_node *node,
                           struct jinja_value self, struct jinja_value *out);
bool jinja_look_up(struct jinja_eval *ev, const struct str *name, struct jinja_value *out);
bool jinja_define(struct jinja_eval *ev, struct jinja_scope *scope, const struct str *name,
                  struct jinja_value value);
struct jinja_scope *jinja_scope_create(struct jinja_eval *ev, struct jinja_scope *parent);
bool jinja_execute(struct jinja_eval *ev, const struct jinja_node *block);
/* What a block prints, as a string. */
bool jinja_capture(struct jinja_eval *ev, const struct jinja_node *block, struct jinja_value *out);
/* target = value, in the current scope. */
bool jinja_assign(struct jinja_eval *ev, const struct jinja_node *target, struct jinja_value value);

#endif
