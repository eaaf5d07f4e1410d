/* jinja_function.c - calls of whatever can be called, and the functions that every template has. */
#include "chat/jinja_eval.h"

#include <stdio.h>

/* jinja2's sandbox has the same. */
enum { MAX_RANGE = 100000 };
#define MAX_BOUND ((int64_t)1 << 60) /* sums and slices of such ranges fit 64 bits */

/* --- range */

static bool call_range(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    size_t n = c->args->n;
    int64_t bounds[3] = {0, 0, 1};
    if (n < 1 || n > 3 || c->args->named.n > 0) {
        return jinja_fail(ev, "range takes one to three integers");
    }
    for (size_t i = 0; i < n; i++) {
        struct jinja_value v = c->args->items[i];
        if (v.kind == JINJA_UNDEFINED) {
            return jinja_fail_undefined(ev, v);
        }
        if (!jinja_is_whole(v)) {
            return jinja_fail(ev, "range takes integers, not %s", jinja_type_name(v));
        }
        bounds[n == 1 ? 1 : i] = jinja_whole(v);
    }
    int64_t start = bounds[0], stop = bounds[1], step = bounds[2];
    for (size_t i = 0; i < 3; i++) {
        if (bounds[i] > MAX_BOUND || bounds[i] < -MAX_BOUND) {
            return jinja_refuse(ev, "range with numbers of more than 60 bits");
        }
    }
    if (step == 0) {
        return jinja_fail(ev, "range: the step cannot be 0");
    }
    bool is_empty = step > 0 ? start >= stop : start <= stop;
    uint64_t distance =
        step > 0 ? (uint64_t)stop - (uint64_t)start : (uint64_t)start - (uint64_t)stop;
    uint64_t stride = step > 0 ? (uint64_t)step : -(uint64_t)step;
    uint64_t count = is_empty ? 0 : (distance - 1) / stride + 1;
    if (count > MAX_RANGE) {
        return jinja_fail(ev, "range: %llu items, at most %d are allowed",
                          (unsigned long long)count, MAX_RANGE);
    }
    struct jinja_range *range = jinja_arena_alloc(&ev->arena, 1, sizeof *range, ev->e);
    if (range == NULL) {
        return false;
    }
    *range = (struct jinja_range){start, stop, step, (int64_t)count};
    *out = (struct jinja_value){.kind = JINJA_RANGE, .u.range = range};
    return true;
}

/* --- dict and namespace */

static bool put_pair(struct jinja_eval *ev, struct jinja_dict *d, struct jinja_value pair)
{
    struct jinja_value items;
    if (!jinja_is_iterable(pair) || !jinja_collect(ev, pair, &items)) {
        return jinja_is_iterable(pair) ? false : jinja_fail(ev, "dict takes pairs");
    }
    return items.u.list->n == 2
               ? jinja_dict_set(ev, d, items.u.list->items[0], items.u.list->items[1])
               : jinja_fail(ev, "dict takes pairs, not %zu values", items.u.list->n);
}

/* What dict(...) has: the entries of a dict or pairs, then the keywords. */
static bool fill_dict(struct jinja_eval *ev, const struct jinja_args *args, struct jinja_dict *d)
{
    if (args->n > 1) {
        return jinja_fail(ev, "dict takes at most one value, not %zu", args->n);
    }
    if (args->n == 1 && args->items[0].kind == JINJA_DICT) {
        const struct jinja_dict *from = args->items[0].u.dict;
        for (size_t i = 0; i < from->n; i++) {
            if (!jinja_spend(ev, 1) || !jinja_dict_append(&ev->arena, d, from->entries[i], ev->e)) {
                return false;
            }
        }
    } else if (args->n == 1) {
        struct jinja_value pairs;
        if (args->items[0].kind == JINJA_UNDEFINED || args->items[0].kind == JINJA_NAMESPACE) {
            return jinja_refuse(ev, "a dict of %s", jinja_type_name(args->items[0]));
        }
        if (!jinja_collect(ev, args->items[0], &pairs)) {
            return false;
        }
        for (size_t i = 0; i < pairs.u.list->n; i++) {
            if (!put_pair(ev, d, pairs.u.list->items[i])) {
                return false;
            }
        }
    }
    for (size_t i = 0; i < args->named.n; i++) {
        if (!jinja_dict_set(ev, d, args->named.entries[i].key, args->named.entries[i].value)) {
            return false;
        }
    }
    return true;
}

static bool call_dict(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value dict;
    if (!jinja_dict_create(&ev->arena, &dict, ev->e) || !fill_dict(ev, c->args, dict.u.dict)) {
        return false;
    }
    *out = dict;
    return true;
}

static bool call_namespace(struct jinja_eval *ev, const struct jinja_call *c,
                           struct jinja_value *out)
{
    if (!call_dict(ev, c, out)) {
        return false;
    }
    out->kind = JINJA_NAMESPACE;
    return true;
}

/* --- cycler and joiner */

static bool cycle_create(struct jinja_eval *ev, const struct jinja_value *items, size_t n,
                         enum jinja_kind kind, struct jinja_value *out)
{
    struct jinja_cycle *cycle = jinja_arena_alloc(&ev->arena, 1, sizeof *cycle, ev->e);
    struct jinja_value tuple;
    if (cycle == NULL || !jinja_make_tuple(ev, items, n, &tuple)) {
        return false;
    }
    *cycle = (struct jinja_cycle){.items = tuple.u.list->items, .n = n};
    *out = (struct jinja_value){.kind = kind, .u.cycle = cycle};
    return true;
}

static bool call_cycler(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    if (c->args->n == 0 || c->args->named.n > 0) {
        return jinja_fail(ev, "cycler takes at least one value");
    }
    return cycle_create(ev, c->args->items, c->args->n, JINJA_CYCLER, out);
}

static bool call_joiner(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value separator = c->arg[0];
    if (separator.kind == JINJA_MISSING &&
        !jinja_make_string(ev, STR(", "), JINJA_TEMPLATE, &separator)) {
        return false;
    }
    return cycle_create(ev, &separator, 1, JINJA_JOINER, out);
}

static bool use_joiner(struct jinja_eval *ev, struct jinja_cycle *joiner,
                       const struct jinja_args *args, struct jinja_value *out)
{
    if (args->n > 0 || args->named.n > 0) {
        return jinja_fail(ev, "a joiner takes no arguments");
    }
    *out = joiner->items[0];
    bool was_used = joiner->at > 0;
    joiner->at = 1;
    return was_used || jinja_make_string(ev, STR(""), JINJA_TEMPLATE, out);
}

/* --- what transformers adds */

static bool call_raise_exception(struct jinja_eval *ev, const struct jinja_call *c,
                                 struct jinja_value *out)
{
    struct jinja_value text;
    (void)out;
    if (!jinja_to_string(ev, c->arg[0], &text)) {
        return false;
    }
    return error_set(ev->e, ERROR_USAGE, "%.*s", STR_ARG(jinja_str(text)));
}

/* One directive of strftime, "%d" or "%-d"; what Python's datetime answers for a time without a
 * zone is answered here. */
static bool add_directive(struct jinja_eval *ev, struct jinja_text *t, struct str directive,
                          enum jinja_origin origin)
{
    static const char known[] = "aAbBcdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZf%C";
    char letter = directive.p[directive.n - 1], format[4] = "", text[128];
    if (letter == '\0' || strchr(known, letter) == NULL) {
        return jinja_refuse(ev, "strftime_now: the directive '%.*s'", STR_ARG(directive));
    }
    if (letter == 'z' || letter == 'Z') {
        return true;
    }
    if (letter == 'f' && directive.n == 2) {
        return jinja_text_add(t, STR("000000"), origin);
    }
    if (letter == 's' || letter == 'f') {
        return jinja_refuse(ev, "strftime_now: the directive '%.*s'", STR_ARG(directive));
    }
    memcpy(format, directive.p, directive.n);
    /* strftime's format is the caller's: one directive of the list above */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size_t n = strftime(text, sizeof text, format, ev->now);
#pragma GCC diagnostic pop
    return jinja_text_add(t, (struct str){text, n}, origin);
}

static bool call_strftime_now(struct jinja_eval *ev, const struct jinja_call *c,
                              struct jinja_value *out)
{
    if (c->arg[0].kind != JINJA_STRING) {
        return jinja_fail(ev, "strftime_now takes a string, not %s", jinja_type_name(c->arg[0]));
    }
    if (ev->now == NULL) {
        return jinja_refuse(ev, "strftime_now without a clock");
    }
    const struct jinja_string *s = c->arg[0].u.string;
    struct jinja_text t = jinja_text_of(ev);
    for (size_t at = 0, n; at < s->n; at += n) {
        n = 1;
        bool ok;
        if (s->p[at] != '%') {
            ok = jinja_text_add_part(&t, s, at, at + 1);
        } else {
            n = 2 +
                (at + 1 < s->n && s->p[at + 1] != '\0' && strchr("-_0^#", s->p[at + 1]) != NULL);
            if (at + n > s->n) {
                return jinja_refuse(ev, "strftime_now: a '%%' at the end");
            }
            ok = add_directive(ev, &t, (struct str){s->p + at, n}, jinja_origin_of(s, at, at + n));
        }
        if (!ok) {
            return false;
        }
    }
    return jinja_text_end(&t, out);
}

/* --- by name */

static const struct jinja_callee functions[] = {
    {"range", "*", 0, call_range},
    {"dict", "*", 0, call_dict},
    {"namespace", "*", 0, call_namespace},
    {"cycler", "*", 0, call_cycler},
    {"joiner", "sep", 0, call_joiner},
    {"raise_exception", "message", 1, call_raise_exception},
    {"strftime_now", "format", 1, call_strftime_now},
    {"lipsum", "", 0, NULL},
};
static const struct jinja_function values[] = {
    {&functions[0]}, {&functions[1]}, {&functions[2]}, {&functions[3]},
    {&functions[4]}, {&functions[5]}, {&functions[6]}, {&functions[7]},
};

bool jinja_find_function(struct jinja_eval *ev, struct str name, struct jinja_value *out)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (str_eq(name, str_from(functions[i].name))) {
            if (functions[i].call == NULL) {
                return jinja_refuse(ev, "the function '%s'", functions[i].name);
            }
            *out = (struct jinja_value){.kind = JINJA_FUNCTION, .u.function = &values[i]};
        }
    }
    return true;
}

bool jinja_call_value(struct jinja_eval *ev, struct jinja_value callee,
                      const struct jinja_args *args, struct jinja_value *out)
{
    switch (callee.kind) {
    case JINJA_MACRO:
        return jinja_call_macro(ev, callee.u.macro, args, out);
    case JINJA_FUNCTION:
        return jinja_apply(ev, callee.u.function->callee, callee, args, out);
    case JINJA_METHOD:
        return jinja_apply(ev, callee.u.method->callee, callee.u.method->self, args, out);
    case JINJA_JOINER:
        return use_joiner(ev, callee.u.cycle, args, out);
    case JINJA_UNDEFINED:
        return jinja_fail_undefined(ev, callee);
    case JINJA_LOOP:
        return jinja_fail(ev, "only a recursive loop can be called");
    default:
        return jinja_fail(ev, "%s cannot be called", jinja_type_name(callee));
    }
}
