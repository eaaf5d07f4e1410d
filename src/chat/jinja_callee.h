/* jinja_callee.h - filters, tests, methods and functions: tables of names with their parameters. */
#ifndef CHAT_JINJA_CALLEE_H
#define CHAT_JINJA_CALLEE_H

#include "chat/jinja_value.h"

struct jinja_eval;

/* The arguments of a call as they were given. */
struct jinja_args {
    struct jinja_value *items; /* (n) */
    size_t n, capacity;
    struct jinja_dict named; /* keys are strings */
};

enum { JINJA_MAX_PARAMS = 6 };

/* A call: what it is applied to, and arguments in the order of the parameters. */
struct jinja_call {
    const struct jinja_callee *callee;
    struct jinja_value self; /* the filter's or test's value, the method's object */
    struct jinja_value arg[JINJA_MAX_PARAMS]; /* JINJA_MISSING where not given */
    const struct jinja_args *args;            /* as given */
};

typedef bool jinja_call_fn(struct jinja_eval *ev, const struct jinja_call *c,
                           struct jinja_value *out);

/* params: names with commas between them, "/" before those that have no name for a caller, "*" for
 * any arguments at all. call NULL: jinja2 has it, Puna does not. */
struct jinja_callee {
    const char *name;
    const char *params;
    size_t n_required;
    jinja_call_fn *call;
};

/* NULL when jinja2 has none of that name. */
const struct jinja_callee *jinja_find_filter(struct str name);
const struct jinja_callee *jinja_find_test(struct str name);

/* Calls a filter, test or method: puts the arguments to the parameters first. */
bool jinja_apply(struct jinja_eval *ev, const struct jinja_callee *callee, struct jinja_value self,
                 const struct jinja_args *args, struct jinja_value *out);

/* The parts of the tables, each ends with a name of NULL. */
extern const struct jinja_callee jinja_text_filters[];
extern const struct jinja_callee jinja_number_filters[];
extern const struct jinja_callee jinja_list_filters[];
extern const struct jinja_callee jinja_pick_filters[];
extern const struct jinja_callee jinja_absent_filters[];
extern const struct jinja_callee jinja_tests[];

#endif
