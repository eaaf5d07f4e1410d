/* jinja_pick.c - the filters map, select, reject, selectattr and rejectattr, and the tests. */
#include "chat/jinja_text.h"

#include "chat/jinja_unicode.h"

/* --- generators that call a filter or test on every item */

struct pick_state {
    const struct jinja_callee *callee; /* NULL: truth, or an attribute alone */
    struct jinja_value name;           /* of the callee; JINJA_MISSING without one */
    struct jinja_args args;            /* of the callee */
    struct jinja_value attribute;      /* JINJA_MISSING without one */
    struct jinja_value otherwise;      /* what map gives where the attribute is undefined */
    bool is_checked, negates;
};

/* Nothing is looked up before the first item is wanted, nor of something that is empty. */
static bool picked_next(struct jinja_eval *ev, struct jinja_generator *g, bool *found,
                        struct jinja_value *item)
{
    *found = false;
    if (g->inner == NULL) {
        if (!jinja_truth(g->source)) {
            return true;
        }
        if (!jinja_iterate(ev, g->source, &g->inner)) {
            return false;
        }
    }
    return jinja_next(ev, g->inner, found, item);
}

static bool find_callee(struct jinja_eval *ev, struct pick_state *s, bool is_filter)
{
    if (s->is_checked || s->name.kind == JINJA_MISSING) {
        return true;
    }
    s->is_checked = true;
    if (s->name.kind != JINJA_STRING) {
        return jinja_fail(ev, "the name of a %s cannot be %s", is_filter ? "filter" : "test",
                          jinja_type_name(s->name));
    }
    struct str name = jinja_str(s->name);
    s->callee = is_filter ? jinja_find_filter(name) : jinja_find_test(name);
    if (s->callee == NULL) {
        return jinja_fail(ev, "no %s named '%.*s'", is_filter ? "filter" : "test",
                          STR_ARG(str_shown(name)));
    }
    return s->callee->call != NULL || jinja_refuse(ev, "the filter '%s'", s->callee->name);
}

/* jinja2 puts the default in at every step of the path, and so cannot go further from it. */
static bool attribute_of(struct jinja_eval *ev, const struct pick_state *s, struct jinja_value *v)
{
    bool has_default = s->otherwise.kind != JINJA_MISSING && s->otherwise.kind != JINJA_NONE;
    if (has_default && s->attribute.kind == JINJA_STRING &&
        jinja_find_bytes(jinja_str(s->attribute), STR("."), 0) != SIZE_MAX) {
        return jinja_refuse(ev, "map with a default and a path of attributes");
    }
    if (!jinja_get_path(ev, *v, s->attribute, v)) {
        return false;
    }
    if (has_default && v->kind == JINJA_UNDEFINED) {
        *v = s->otherwise;
    }
    return true;
}

static bool next_mapped(struct jinja_eval *ev, struct jinja_generator *g, bool *found,
                        struct jinja_value *item)
{
    struct pick_state *s = g->state;
    if (!picked_next(ev, g, found, item)) {
        return false;
    }
    if (!*found) {
        return true;
    }
    if (s->name.kind == JINJA_MISSING) {
        return attribute_of(ev, s, item);
    }
    return find_callee(ev, s, true) && jinja_apply(ev, s->callee, *item, &s->args, item);
}

static bool next_selected(struct jinja_eval *ev, struct jinja_generator *g, bool *found,
                          struct jinja_value *item)
{
    struct pick_state *s = g->state;
    for (;;) {
        if (!picked_next(ev, g, found, item)) {
            return false;
        }
        if (!*found) {
            return true;
        }
        struct jinja_value v = *item;
        if ((s->attribute.kind != JINJA_MISSING && !attribute_of(ev, s, &v)) ||
            !find_callee(ev, s, false) ||
            (s->callee != NULL && !jinja_apply(ev, s->callee, v, &s->args, &v))) {
            return false;
        }
        if (jinja_truth(v) != s->negates) {
            return true;
        }
    }
}

static bool pick(struct jinja_eval *ev, const struct jinja_call *c, struct pick_state state,
                 bool maps, struct jinja_value *out)
{
    struct jinja_generator *g = jinja_generator_create(ev, c->self);
    struct pick_state *s = jinja_arena_alloc(&ev->arena, 1, sizeof *s, ev->e);
    if (g == NULL || s == NULL) {
        return false;
    }
    *s = state;
    g->next = maps ? next_mapped : next_selected;
    g->state = s;
    *out = jinja_generator_value(g);
    return true;
}

/* The first n arguments are the pick's own, the others its callee's. */
static struct jinja_args rest_of(const struct jinja_args *args, size_t n)
{
    struct jinja_args rest = *args;
    n = n < args->n ? n : args->n;
    rest.items = rest.n > 0 ? args->items + n : NULL;
    rest.n = args->n - n;
    return rest;
}

static bool filter_map(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct pick_state s = {.attribute.kind = JINJA_MISSING};
    const struct jinja_dict *named = &c->args->named;
    const struct jinja_entry *attribute = jinja_dict_find_str(named, STR("attribute"));
    const struct jinja_entry *otherwise = jinja_dict_find_str(named, STR("default"));
    if (c->args->n > 0) {
        s.name = c->args->items[0];
        s.args = rest_of(c->args, 1);
        return pick(ev, c, s, true, out);
    }
    if (attribute == NULL) {
        return jinja_truth(c->self) ? jinja_fail(ev, "map needs a filter or an attribute")
                                    : jinja_refuse(ev, "map without a filter or an attribute");
    }
    if (named->n > 1 + (size_t)(otherwise != NULL)) {
        return jinja_refuse(ev, "map with an unknown keyword");
    }
    s.attribute = attribute->value;
    s.otherwise = otherwise != NULL ? otherwise->value : s.name;
    return pick(ev, c, s, true, out);
}

static bool pick_by_test(struct jinja_eval *ev, const struct jinja_call *c, bool by_attribute,
                         bool negates, struct jinja_value *out)
{
    struct pick_state s = {.negates = negates};
    size_t at = 0;
    if (by_attribute) {
        if (c->args->n == 0) {
            return jinja_truth(c->self) ? jinja_fail(ev, "the attribute's name is missing")
                                        : jinja_refuse(ev, "a filter without its attribute");
        }
        s.attribute = c->args->items[at++];
    }
    if (c->args->n > at) {
        s.name = c->args->items[at++];
        s.args = rest_of(c->args, at);
    }
    return pick(ev, c, s, false, out);
}

static bool filter_select(struct jinja_eval *ev, const struct jinja_call *c,
                          struct jinja_value *out)
{
    return pick_by_test(ev, c, false, false, out);
}

static bool filter_reject(struct jinja_eval *ev, const struct jinja_call *c,
                          struct jinja_value *out)
{
    return pick_by_test(ev, c, false, true, out);
}

static bool filter_selectattr(struct jinja_eval *ev, const struct jinja_call *c,
                              struct jinja_value *out)
{
    return pick_by_test(ev, c, true, false, out);
}

static bool filter_rejectattr(struct jinja_eval *ev, const struct jinja_call *c,
                              struct jinja_value *out)
{
    return pick_by_test(ev, c, true, true, out);
}

const struct jinja_callee jinja_pick_filters[] = {
    {"map", "*", 0, filter_map},
    {"reject", "*", 0, filter_reject},
    {"rejectattr", "*", 0, filter_rejectattr},
    {"select", "*", 0, filter_select},
    {"selectattr", "*", 0, filter_selectattr},
    {NULL, NULL, 0, NULL},
};

/* --- tests */

static bool answer(bool holds, struct jinja_value *out)
{
    *out = jinja_bool(holds, JINJA_TEMPLATE);
    return true;
}

static bool test_defined(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    (void)ev;
    return answer(c->self.kind != JINJA_UNDEFINED, out);
}

static bool test_undefined(struct jinja_eval *ev, const struct jinja_call *c,
                           struct jinja_value *out)
{
    (void)ev;
    return answer(c->self.kind == JINJA_UNDEFINED, out);
}

static bool test_none(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    (void)ev;
    return answer(c->self.kind == JINJA_NONE, out);
}

static bool test_boolean(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    (void)ev;
    return answer(c->self.kind == JINJA_BOOL, out);
}

static bool test_true(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    (void)ev;
    return answer(c->self.kind == JINJA_BOOL && c->self.u.boolean, out);
}

static bool test_false(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    (void)ev;
    return answer(c->self.kind == JINJA_BOOL && !c->self.u.boolean, out);
}

static bool test_integer(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    (void)ev;
    return answer(c->self.kind == JINJA_INT, out);
}

static bool test_float(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    (void)ev;
    return answer(c->self.kind == JINJA_FLOAT, out);
}

static bool test_number(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    (void)ev;
    return answer(jinja_is_number(c->self), out);
}

static bool test_string(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    (void)ev;
    return answer(c->self.kind == JINJA_STRING, out);
}

static bool test_mapping(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    (void)ev;
    return answer(c->self.kind == JINJA_DICT, out);
}

/* A string is one, and so is what is undefined. */
static bool test_iterable(struct jinja_eval *ev, const struct jinja_call *c,
                          struct jinja_value *out)
{
    (void)ev;
    return answer(jinja_is_iterable(c->self), out);
}

/* Whatever has a length and items. */
static bool test_sequence(struct jinja_eval *ev, const struct jinja_call *c,
                          struct jinja_value *out)
{
    (void)ev;
    enum jinja_kind kind = c->self.kind;
    return answer(kind == JINJA_STRING || kind == JINJA_LIST || kind == JINJA_TUPLE ||
                      kind == JINJA_DICT || kind == JINJA_RANGE || kind == JINJA_UNDEFINED,
                  out);
}

static bool test_callable(struct jinja_eval *ev, const struct jinja_call *c,
                          struct jinja_value *out)
{
    (void)ev;
    enum jinja_kind kind = c->self.kind;
    return answer(kind == JINJA_MACRO || kind == JINJA_FUNCTION || kind == JINJA_METHOD ||
                      kind == JINJA_LOOP || kind == JINJA_JOINER || kind == JINJA_UNDEFINED,
                  out);
}

static bool test_lower(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value s;
    return jinja_to_string(ev, c->self, &s) && answer(jinja_is_cased(jinja_str(s), false), out) &&
           jinja_spend_bytes(ev, s.u.string->n);
}

static bool test_upper(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value s;
    return jinja_to_string(ev, c->self, &s) && answer(jinja_is_cased(jinja_str(s), true), out) &&
           jinja_spend_bytes(ev, s.u.string->n);
}

static bool test_escaped(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    (void)ev;
    return answer(c->self.kind == JINJA_STRING && c->self.u.string->is_markup, out);
}

/* Two constants or one object; what else CPython happens to share is not asked. */
static bool test_sameas(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value a = c->self, b = c->arg[0];
    if (a.kind != b.kind) {
        return answer(false, out);
    }
    if (a.kind == JINJA_BOOL || a.kind == JINJA_NONE) {
        return answer(a.kind == JINJA_NONE || a.u.boolean == b.u.boolean, out);
    }
    if (a.kind == JINJA_LIST || a.kind == JINJA_DICT || a.kind == JINJA_NAMESPACE ||
        a.kind == JINJA_MACRO) {
        return answer(a.u.list == b.u.list, out);
    }
    return jinja_refuse(ev, "sameas of %s", jinja_type_name(a));
}

/* --- tests with arithmetic and comparisons */

static bool rest_is(struct jinja_eval *ev, struct jinja_value a, struct jinja_value divisor,
                    int64_t wanted, struct jinja_value *out)
{
    struct jinja_value rest;
    bool same;
    if (!jinja_binary(ev, JINJA_OP_MOD, a, divisor, &rest) ||
        !jinja_equal(ev, rest, jinja_int(wanted, JINJA_TEMPLATE), &same)) {
        return false;
    }
    return answer(same, out);
}

static bool test_odd(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return rest_is(ev, c->self, jinja_int(2, JINJA_TEMPLATE), 1, out);
}

static bool test_even(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return rest_is(ev, c->self, jinja_int(2, JINJA_TEMPLATE), 0, out);
}

static bool test_divisibleby(struct jinja_eval *ev, const struct jinja_call *c,
                             struct jinja_value *out)
{
    return rest_is(ev, c->self, c->arg[0], 0, out);
}

static bool compare(struct jinja_eval *ev, const struct jinja_call *c, enum jinja_operator op,
                    struct jinja_value *out)
{
    bool holds = false;
    return jinja_compare(ev, op, c->self, c->arg[0], &holds) && answer(holds, out);
}

static bool test_eq(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return compare(ev, c, JINJA_OP_EQ, out);
}

static bool test_ne(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return compare(ev, c, JINJA_OP_NE, out);
}

static bool test_lt(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return compare(ev, c, JINJA_OP_LT, out);
}

static bool test_le(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return compare(ev, c, JINJA_OP_LE, out);
}

static bool test_gt(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return compare(ev, c, JINJA_OP_GT, out);
}

static bool test_ge(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return compare(ev, c, JINJA_OP_GE, out);
}

static bool test_in(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return compare(ev, c, JINJA_OP_IN, out);
}

const struct jinja_callee jinja_tests[] = {
    {"odd", "", 0, test_odd},
    {"even", "", 0, test_even},
    {"divisibleby", "num", 1, test_divisibleby},
    {"defined", "", 0, test_defined},
    {"undefined", "", 0, test_undefined},
    {"filter", "", 0, NULL},
    {"test", "", 0, NULL},
    {"none", "", 0, test_none},
    {"boolean", "", 0, test_boolean},
    {"false", "", 0, test_false},
    {"true", "", 0, test_true},
    {"integer", "", 0, test_integer},
    {"float", "", 0, test_float},
    {"lower", "", 0, test_lower},
    {"upper", "", 0, test_upper},
    {"string", "", 0, test_string},
    {"mapping", "", 0, test_mapping},
    {"number", "", 0, test_number},
    {"sequence", "", 0, test_sequence},
    {"iterable", "", 0, test_iterable},
    {"callable", "", 0, test_callable},
    {"sameas", "other", 1, test_sameas},
    {"escaped", "", 0, test_escaped},
    {"in", "seq", 1, test_in},
    {"==", "/b", 1, test_eq},
    {"eq", "/b", 1, test_eq},
    {"equalto", "/b", 1, test_eq},
    {"!=", "/b", 1, test_ne},
    {"ne", "/b", 1, test_ne},
    {">", "/b", 1, test_gt},
    {"gt", "/b", 1, test_gt},
    {"greaterthan", "/b", 1, test_gt},
    {"ge", "/b", 1, test_ge},
    {">=", "/b", 1, test_ge},
    {"<", "/b", 1, test_lt},
    {"lt", "/b", 1, test_lt},
    {"lessthan", "/b", 1, test_lt},
    {"<=", "/b", 1, test_le},
    {"le", "/b", 1, test_le},
    {NULL, NULL, 0, NULL},
};
