/* jinja_method.c - methods of dicts, lists and the objects of loops, and finding any method. */
#include "chat/jinja_text.h"

/* --- dicts, lists, loops, cyclers */

static bool dict_get(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_entry *entry;
    if (!jinja_dict_find(ev, c->self.u.dict, c->arg[0], &entry)) {
        return false;
    }
    *out = entry != NULL                     ? entry->value
           : c->arg[1].kind == JINJA_MISSING ? jinja_none()
                                             : c->arg[1];
    return true;
}

static bool view_create(struct jinja_eval *ev, const struct jinja_call *c,
                        enum jinja_view_kind kind, struct jinja_value *out)
{
    struct jinja_view *view = jinja_arena_alloc(&ev->arena, 1, sizeof *view, ev->e);
    if (view != NULL) {
        *view = (struct jinja_view){kind, c->self.u.dict};
        *out = (struct jinja_value){.kind = JINJA_VIEW, .u.view = view};
    }
    return view != NULL;
}

static bool dict_keys(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return view_create(ev, c, JINJA_VIEW_KEYS, out);
}

static bool dict_values(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return view_create(ev, c, JINJA_VIEW_VALUES, out);
}

static bool dict_items(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return view_create(ev, c, JINJA_VIEW_ITEMS, out);
}

static bool copy(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    (void)ev;
    *out = c->self; /* nothing can change it */
    return true;
}

static bool list_count(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    int64_t n = 0;
    for (size_t i = 0; i < c->self.u.list->n; i++) {
        bool same;
        if (!jinja_equal(ev, c->self.u.list->items[i], c->arg[0], &same)) {
            return false;
        }
        n += same;
    }
    *out = jinja_int(n, JINJA_TEMPLATE);
    return true;
}

static bool list_index(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    if (c->arg[1].kind != JINJA_MISSING) {
        return jinja_refuse(ev, "index with a start");
    }
    for (size_t i = 0; i < c->self.u.list->n; i++) {
        bool same;
        if (!jinja_equal(ev, c->self.u.list->items[i], c->arg[0], &same)) {
            return false;
        }
        if (same) {
            *out = jinja_int((int64_t)i, JINJA_TEMPLATE);
            return true;
        }
    }
    return jinja_fail(ev, "index: the value is not in the list");
}

static bool loop_cycle(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    if (c->args->n == 0 || c->args->named.n > 0) {
        return jinja_fail(ev, "loop.cycle takes at least one value");
    }
    *out = c->args->items[(size_t)c->self.u.loop->index0 % c->args->n];
    return true;
}

static bool loop_changed(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_loop *loop = c->self.u.loop;
    struct jinja_value value;
    bool same = false;
    if (c->args->named.n > 0) {
        return jinja_fail(ev, "loop.changed takes no keywords");
    }
    if (!jinja_make_tuple(ev, c->args->items, c->args->n, &value) ||
        (loop->changed.kind != JINJA_MISSING && !jinja_equal(ev, loop->changed, value, &same))) {
        return false;
    }
    loop->changed = value;
    *out = jinja_bool(!same, JINJA_TEMPLATE);
    return true;
}

static bool cycler_next(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_cycle *cycle = c->self.u.cycle;
    (void)ev;
    *out = cycle->items[cycle->at];
    cycle->at = (cycle->at + 1) % cycle->n;
    return true;
}

static bool cycler_reset(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    (void)ev;
    c->self.u.cycle->at = 0;
    *out = jinja_none();
    return true;
}

/* --- tables; without a function: Python has it, Puna does not */

static const struct jinja_callee dict_methods[] = {
    {"get", "/key,default", 1, dict_get},
    {"items", "", 0, dict_items},
    {"keys", "", 0, dict_keys},
    {"values", "", 0, dict_values},
    {"copy", "", 0, copy},
    {"fromkeys", "", 0, NULL},
    {NULL, NULL, 0, NULL},
};
static const struct jinja_callee list_methods[] = {
    {"count", "/value", 1, list_count},
    {"index", "/value,start", 1, list_index},
    {"copy", "", 0, copy},
    {NULL, NULL, 0, NULL},
};
static const struct jinja_callee loop_methods[] = {
    {"cycle", "*", 0, loop_cycle},
    {"changed", "*", 0, loop_changed},
    {NULL, NULL, 0, NULL},
};
static const struct jinja_callee cycler_methods[] = {
    {"next", "", 0, cycler_next},
    {"reset", "", 0, cycler_reset},
    {NULL, NULL, 0, NULL},
};
static const struct jinja_callee number_methods[] = {
    {"real", "", 0, NULL},       {"imag", "", 0, NULL},
    {"numerator", "", 0, NULL},  {"denominator", "", 0, NULL},
    {"conjugate", "", 0, NULL},  {"bit_length", "", 0, NULL},
    {"bit_count", "", 0, NULL},  {"to_bytes", "", 0, NULL},
    {"from_bytes", "", 0, NULL}, {"as_integer_ratio", "", 0, NULL},
    {"is_integer", "", 0, NULL}, {"hex", "", 0, NULL},
    {"fromhex", "", 0, NULL},    {NULL, NULL, 0, NULL},
};
static const struct jinja_callee range_methods[] = {
    {"start", "", 0, NULL}, {"stop", "", 0, NULL},  {"step", "", 0, NULL},
    {"count", "", 0, NULL}, {"index", "", 0, NULL}, {NULL, NULL, 0, NULL},
};
static const struct jinja_callee view_methods[] = {
    {"isdisjoint", "", 0, NULL},
    {"mapping", "", 0, NULL},
    {NULL, NULL, 0, NULL},
};
static const struct jinja_callee generator_methods[] = {
    {"send", "", 0, NULL},
    {"throw", "", 0, NULL},
    {"close", "", 0, NULL},
    {NULL, NULL, 0, NULL},
};

static const struct jinja_callee *const methods[JINJA_KIND_COUNT] = {
    [JINJA_STRING] = jinja_string_methods, [JINJA_DICT] = dict_methods,
    [JINJA_LIST] = list_methods,           [JINJA_TUPLE] = list_methods,
    [JINJA_LOOP] = loop_methods,           [JINJA_CYCLER] = cycler_methods,
    [JINJA_BOOL] = number_methods,         [JINJA_INT] = number_methods,
    [JINJA_FLOAT] = number_methods,        [JINJA_RANGE] = range_methods,
    [JINJA_VIEW] = view_methods,           [JINJA_GENERATOR] = generator_methods,
};

bool jinja_find_method(struct jinja_eval *ev, struct jinja_value object, struct str name,
                       const struct jinja_callee **out)
{
    *out = NULL;
    for (const struct jinja_callee *m = methods[object.kind]; m != NULL && m->name != NULL; m++) {
        if (str_eq(name, str_from(m->name))) {
            *out = m;
        }
    }
    if (*out != NULL && object.kind == JINJA_TUPLE && str_eq(name, STR("copy"))) {
        *out = NULL;
    }
    bool is_markup = object.kind == JINJA_STRING && object.u.string->is_markup;
    if (*out == NULL && is_markup &&
        (str_eq(name, STR("unescape")) || str_eq(name, STR("striptags")) ||
         str_eq(name, STR("escape")))) {
        return jinja_refuse(ev, "the method '%.*s' of safe text", STR_ARG(name));
    }
    if (*out != NULL && is_markup && !jinja_is_for_markup(name)) {
        return jinja_refuse(ev, "the method '%.*s' of safe text", STR_ARG(name));
    }
    if (*out != NULL && (*out)->call == NULL) {
        return jinja_refuse(ev, "'%.*s' of %s", STR_ARG(name), jinja_type_name(object));
    }
    return true;
}

bool jinja_is_unsafe(struct jinja_value object, struct str name)
{
    static const char *const of_dicts[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};
    static const char *const of_lists[] = {"append", "clear",   "extend", "insert", "pop",
                                           "remove", "reverse", "sort",   NULL};
    static const char *const none[] = {NULL};
    const char *const *names = object.kind == JINJA_DICT   ? of_dicts
                               : object.kind == JINJA_LIST ? of_lists
                                                           : none;
    for (; *names != NULL; names++) {
        if (str_eq(name, str_from(*names))) {
            return true;
        }
    }
    return false;
}
