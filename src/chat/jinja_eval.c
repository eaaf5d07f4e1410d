/* jinja_eval.c - expressions: from nodes to values. */
#include "chat/jinja_eval.h"

/* --- errors and bounds */

bool jinja_fail(struct jinja_eval *ev, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    jinja_verror_at(ev->e, ERROR_FORMAT, &ev->t->source, ev->at->at, format, args);
    va_end(args);
    return false;
}

bool jinja_refuse(struct jinja_eval *ev, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    jinja_verror_at(ev->e, ERROR_UNSUPPORTED, &ev->t->source, ev->at->at, format, args);
    va_end(args);
    return false;
}

bool jinja_spend(struct jinja_eval *ev, size_t n_steps)
{
    if (n_steps > ev->limits.max_steps - ev->n_steps) {
        return jinja_refuse(ev, "the template takes more than the %zu steps allowed",
                            ev->limits.max_steps);
    }
    ev->n_steps += n_steps;
    return true;
}

enum { BYTES_A_STEP = 64 };

bool jinja_spend_bytes(struct jinja_eval *ev, size_t n_bytes)
{
    return jinja_spend(ev, n_bytes / BYTES_A_STEP);
}

bool jinja_descend(struct jinja_eval *ev)
{
    if (ev->depth == ev->limits.max_depth) {
        return jinja_refuse(ev, "the template nests deeper than the %zu levels allowed",
                            ev->limits.max_depth);
    }
    ev->depth++;
    return true;
}

const char *jinja_type_name(struct jinja_value v)
{
    static const char *const names[JINJA_KIND_COUNT] = {
        [JINJA_MISSING] = "nothing",
        [JINJA_UNDEFINED] = "Undefined",
        [JINJA_NONE] = "None",
        [JINJA_BOOL] = "bool",
        [JINJA_INT] = "int",
        [JINJA_FLOAT] = "float",
        [JINJA_STRING] = "str",
        [JINJA_LIST] = "list",
        [JINJA_TUPLE] = "tuple",
        [JINJA_DICT] = "dict",
        [JINJA_RANGE] = "range",
        [JINJA_VIEW] = "view of a dict",
        [JINJA_GENERATOR] = "generator",
        [JINJA_NAMESPACE] = "namespace",
        [JINJA_MACRO] = "macro",
        [JINJA_FUNCTION] = "function",
        [JINJA_METHOD] = "method",
        [JINJA_LOOP] = "loop",
        [JINJA_CYCLER] = "cycler",
        [JINJA_JOINER] = "joiner",
    };
    return names[v.kind];
}

bool jinja_fail_undefined(struct jinja_eval *ev, struct jinja_value v)
{
    if (v.u.name == NULL) {
        return jinja_fail(ev, "the value is undefined");
    }
    return jinja_fail(ev, "'%.*s' is undefined", STR_ARG(str_shown(*v.u.name)));
}

/* --- values in the rendering's arena */

struct jinja_text jinja_text_of(struct jinja_eval *ev)
{
    return jinja_text_begin(&ev->arena, ev->limits.max_output_bytes, ev->e);
}

bool jinja_make_string(struct jinja_eval *ev, struct str text, enum jinja_origin origin,
                       struct jinja_value *out)
{
    return jinja_string_borrow(&ev->arena, text, origin, out, ev->e);
}

bool jinja_make_list(struct jinja_eval *ev, struct jinja_value *out)
{
    return jinja_list_create(&ev->arena, out, ev->e);
}

bool jinja_push(struct jinja_eval *ev, struct jinja_value list, struct jinja_value item)
{
    return jinja_list_push(&ev->arena, list, item, ev->e);
}

bool jinja_make_tuple(struct jinja_eval *ev, const struct jinja_value *items, size_t n,
                      struct jinja_value *out)
{
    return jinja_tuple_create(&ev->arena, items, n, out, ev->e);
}

/* --- names */

struct jinja_scope *jinja_scope_create(struct jinja_eval *ev, struct jinja_scope *parent)
{
    struct jinja_scope *scope = jinja_arena_alloc(&ev->arena, 1, sizeof *scope, ev->e);
    if (scope != NULL) {
        scope->parent = parent;
    }
    return scope;
}

bool jinja_define(struct jinja_eval *ev, struct jinja_scope *scope, const struct str *name,
                  struct jinja_value value)
{
    for (size_t i = 0; i < scope->n; i++) {
        if (scope->items[i].name == name) {
            scope->items[i].value = value;
            return jinja_spend(ev, i / 16);
        }
    }
    if (!jinja_spend(ev, scope->n / 16) ||
        !jinja_arena_grow(&ev->arena, &scope->items, &scope->capacity, scope->n + 1,
                          sizeof *scope->items, ev->e)) {
        return false;
    }
    scope->items[scope->n++] = (struct jinja_variable){name, value};
    return true;
}

bool jinja_look_up(struct jinja_eval *ev, const struct str *name, struct jinja_value *out)
{
    for (struct jinja_scope *s = ev->scope; s != NULL; s = s->parent) {
        for (size_t i = 0; i < s->n; i++) {
            if (s->items[i].name == name) {
                *out = s->items[i].value;
                if (out->kind == JINJA_MISSING) { /* a parameter whose turn has not come */
                    *out = jinja_undefined(name);
                }
                return jinja_spend(ev, 1);
            }
        }
        if (!jinja_spend(ev, 1 + s->n / 16)) {
            return false;
        }
    }
    const struct jinja_entry *entry = jinja_dict_find_str(ev->variables, *name);
    if (entry != NULL) {
        *out = entry->value;
        return true;
    }
    *out = jinja_undefined(name);
    return jinja_find_function(ev, *name, out);
}

/* --- parts */

static bool list_items(struct jinja_eval *ev, const struct jinja_node *node,
                       struct jinja_value *out)
{
    struct jinja_value list, item;
    if (!jinja_make_list(ev, &list)) {
        return false;
    }
    for (size_t i = 0; i < node->n_items; i++) {
        if (!jinja_evaluate(ev, node->items[i], &item) || !jinja_push(ev, list, item)) {
            return false;
        }
    }
    list.kind = node->kind == JINJA_N_TUPLE ? JINJA_TUPLE : JINJA_LIST;
    *out = list;
    return true;
}

static bool dict_items(struct jinja_eval *ev, const struct jinja_node *node,
                       struct jinja_value *out)
{
    struct jinja_value dict, key, value;
    if (!jinja_dict_create(&ev->arena, &dict, ev->e)) {
        return false;
    }
    for (size_t i = 0; i < node->n_items; i += 2) {
        if (!jinja_evaluate(ev, node->items[i], &key) ||
            !jinja_evaluate(ev, node->items[i + 1], &value)) {
            return false;
        }
        ev->at = node;
        if (!jinja_dict_set(ev, dict.u.dict, key, value)) {
            return false;
        }
    }
    *out = dict;
    return true;
}

static bool concat(struct jinja_eval *ev, const struct jinja_node *node, struct jinja_value *out)
{
    struct jinja_text t = jinja_text_of(ev);
    struct jinja_value all;
    if (!list_items(ev, node, &all)) { /* all are computed before any is printed */
        return false;
    }
    ev->at = node;
    for (size_t i = 0; i < all.u.list->n; i++) {
        if (!jinja_print(ev, &t, all.u.list->items[i])) {
            return false;
        }
    }
    return jinja_text_end(&t, out);
}

/* a < b < c: every value is computed once, and none after the first comparison that fails. */
static bool compare(struct jinja_eval *ev, const struct jinja_node *node, struct jinja_value *out)
{
    struct jinja_value left, right;
    bool holds = true;
    if (!jinja_evaluate(ev, node->a, &left)) {
        return false;
    }
    for (size_t i = 0; holds && i < node->n_items; i++) {
        const struct jinja_node *operand = node->items[i];
        if (!jinja_evaluate(ev, operand->a, &right)) {
            return false;
        }
        ev->at = operand;
        if (!jinja_compare(ev, operand->op, left, right, &holds)) {
            return false;
        }
        left = right;
    }
    *out = jinja_bool(holds, JINJA_TEMPLATE);
    return true;
}

/* Whether jinja2 cannot compute the expression ahead. */
static bool has_names(const struct jinja_node *node)
{
    bool found = node->kind == JINJA_N_NAME || node->kind == JINJA_N_CALL;
    const struct jinja_node *const parts[] = {node->a, node->b, node->c, node->d};
    for (size_t i = 0; !found && i < sizeof parts / sizeof *parts; i++) {
        found = parts[i] != NULL && has_names(parts[i]);
    }
    for (size_t i = 0; !found && i < node->n_items; i++) {
        found = has_names(node->items[i]);
    }
    for (size_t i = 0; !found && node->args != NULL && i < node->args->n; i++) {
        found = has_names(node->args->items[i]);
    }
    return found;
}

static bool binary(struct jinja_eval *ev, const struct jinja_node *node, struct jinja_value *out)
{
    struct jinja_value a, b;
    if (!jinja_evaluate(ev, node->a, &a) || !jinja_evaluate(ev, node->b, &b)) {
        return false;
    }
    ev->at = node;
    if (node->op == JINJA_OP_POW && jinja_is_number(a) && jinja_to_double(a) < 0 &&
        !has_names(node->a) && has_names(node->b)) {
        /* jinja2 computes the -1 of (-1) ** x ahead and lets Python read -1 ** x: another number */
        return jinja_refuse(ev, "a power of a negative constant");
    }
    return jinja_binary(ev, node->op, a, b, out);
}

static bool subscript(struct jinja_eval *ev, const struct jinja_node *node, struct jinja_value *out)
{
    struct jinja_value object, index;
    if (!jinja_evaluate(ev, node->a, &object)) {
        return false;
    }
    if (node->kind == JINJA_N_GETATTR) {
        ev->at = node;
        return jinja_get_attribute(ev, object, node->value, out);
    }
    if (node->kind == JINJA_N_GETITEM) {
        if (!jinja_evaluate(ev, node->b, &index)) {
            return false;
        }
        ev->at = node;
        return jinja_get_item(ev, object, index, out);
    }
    const struct jinja_node *parts[3] = {node->b, node->c, node->d};
    struct jinja_value bounds[3];
    for (size_t i = 0; i < 3; i++) {
        bounds[i] = jinja_none();
        if (parts[i] != NULL && !jinja_evaluate(ev, parts[i], &bounds[i])) {
            return false;
        }
    }
    ev->at = node;
    return jinja_get_slice(ev, object, bounds, out);
}

static bool either(struct jinja_eval *ev, const struct jinja_node *node, struct jinja_value *out)
{
    if (!jinja_evaluate(ev, node->a, out)) {
        return false;
    }
    return jinja_truth(*out) == (node->kind == JINJA_N_OR) || jinja_evaluate(ev, node->b, out);
}

static bool conditional(struct jinja_eval *ev, const struct jinja_node *node,
                        struct jinja_value *out)
{
    struct jinja_value test;
    if (!jinja_evaluate(ev, node->b, &test)) {
        return false;
    }
    if (jinja_truth(test)) {
        return jinja_evaluate(ev, node->a, out);
    }
    *out = jinja_undefined(NULL);
    return node->c == NULL || jinja_evaluate(ev, node->c, out);
}

static bool sign(struct jinja_eval *ev, const struct jinja_node *node, struct jinja_value *out)
{
    struct jinja_value a;
    if (!jinja_evaluate(ev, node->a, &a)) {
        return false;
    }
    ev->at = node;
    if (node->kind == JINJA_N_NOT) {
        *out = jinja_bool(!jinja_truth(a), JINJA_TEMPLATE);
        return true;
    }
    return jinja_sign(ev, node->kind == JINJA_N_NEG, a, out);
}

/* --- calls */

static bool push_arg(struct jinja_eval *ev, struct jinja_args *args, struct jinja_value value)
{
    if (!jinja_arena_grow(&ev->arena, &args->items, &args->capacity, args->n + 1, sizeof value,
                          ev->e)) {
        return false;
    }
    args->items[args->n++] = value;
    return true;
}

static bool put_named(struct jinja_eval *ev, struct jinja_args *args, struct jinja_value name,
                      struct jinja_value value)
{
    if (name.kind != JINJA_STRING) {
        return jinja_fail(ev, "keywords must be strings, not %s", jinja_type_name(name));
    }
    if (jinja_dict_find_str(&args->named, jinja_str(name)) != NULL) {
        return jinja_fail(ev, "keyword argument '%.*s' given twice", STR_ARG(jinja_str(name)));
    }
    return jinja_dict_set(ev, &args->named, name, value);
}

/* *more and **more_named */
static bool spread(struct jinja_eval *ev, const struct jinja_call_args *given,
                   struct jinja_args *args)
{
    struct jinja_value more;
    if (given->more != NULL) {
        struct jinja_value list;
        if (!jinja_evaluate(ev, given->more, &more) || !jinja_collect(ev, more, &list)) {
            return false;
        }
        for (size_t i = 0; i < list.u.list->n; i++) {
            if (!push_arg(ev, args, list.u.list->items[i])) {
                return false;
            }
        }
    }
    if (given->more_named != NULL) {
        if (!jinja_evaluate(ev, given->more_named, &more)) {
            return false;
        }
        if (more.kind != JINJA_DICT) {
            return jinja_fail(ev, "'**' needs a dict, not %s", jinja_type_name(more));
        }
        for (size_t i = 0; i < more.u.dict->n; i++) {
            if (!put_named(ev, args, more.u.dict->entries[i].key, more.u.dict->entries[i].value)) {
                return false;
            }
        }
    }
    return true;
}

bool jinja_evaluate_args(struct jinja_eval *ev, const struct jinja_call_args *given,
                         struct jinja_args *out)
{
    *out = (struct jinja_args){0};
    struct jinja_value value, name;
    for (size_t i = 0; given != NULL && i < given->n; i++) {
        if (!jinja_evaluate(ev, given->items[i], &value) || !push_arg(ev, out, value)) {
            return false;
        }
    }
    if (given != NULL && given->more != NULL && given->n_named > 0) {
        /* Python computes *more before the keywords that follow it */
        struct jinja_call_args only = {.more = given->more};
        if (!spread(ev, &only, out)) {
            return false;
        }
    }
    for (size_t i = 0; given != NULL && i < given->n_named; i++) {
        if (!jinja_evaluate(ev, given->named[i], &value) ||
            !jinja_make_string(ev, *given->names[i], JINJA_TEMPLATE, &name) ||
            !put_named(ev, out, name, value)) {
            return false;
        }
    }
    if (given == NULL || (given->more == NULL && given->more_named == NULL)) {
        return true;
    }
    struct jinja_call_args rest = {.more = given->n_named > 0 ? NULL : given->more,
                                   .more_named = given->more_named};
    return spread(ev, &rest, out);
}

static bool call(struct jinja_eval *ev, const struct jinja_node *node, struct jinja_value *out)
{
    struct jinja_value callee;
    struct jinja_args args;
    if (!jinja_evaluate(ev, node->a, &callee) || !jinja_evaluate_args(ev, node->args, &args)) {
        return false;
    }
    ev->at = node;
    return jinja_call_value(ev, callee, &args, out);
}

bool jinja_evaluate_filter(struct jinja_eval *ev, const struct jinja_node *node,
                           struct jinja_value self, struct jinja_value *out)
{
    struct jinja_args args;
    if (!jinja_evaluate_args(ev, node->args, &args)) {
        return false;
    }
    ev->at = node;
    if (node->callee == NULL) {
        return jinja_fail(ev, "no %s named '%.*s'",
                          node->kind == JINJA_N_FILTER ? "filter" : "test", STR_ARG(*node->name));
    }
    return jinja_apply(ev, node->callee, self, &args, out);
}

static bool filter(struct jinja_eval *ev, const struct jinja_node *node, struct jinja_value *out)
{
    struct jinja_value self;
    return jinja_evaluate(ev, node->a, &self) && jinja_evaluate_filter(ev, node, self, out);
}

static bool evaluate(struct jinja_eval *ev, const struct jinja_node *node, struct jinja_value *out)
{
    switch (node->kind) {
    case JINJA_N_CONST:
        *out = node->value;
        return true;
    case JINJA_N_NAME:
        return jinja_look_up(ev, node->name, out);
    case JINJA_N_LIST:
    case JINJA_N_TUPLE:
        return list_items(ev, node, out);
    case JINJA_N_DICT:
        return dict_items(ev, node, out);
    case JINJA_N_NOT:
    case JINJA_N_NEG:
    case JINJA_N_POS:
        return sign(ev, node, out);
    case JINJA_N_AND:
    case JINJA_N_OR:
        return either(ev, node, out);
    case JINJA_N_BINARY:
        return binary(ev, node, out);
    case JINJA_N_CONCAT:
        return concat(ev, node, out);
    case JINJA_N_COMPARE:
        return compare(ev, node, out);
    case JINJA_N_COND:
        return conditional(ev, node, out);
    case JINJA_N_GETATTR:
    case JINJA_N_GETITEM:
    case JINJA_N_SLICE:
        return subscript(ev, node, out);
    case JINJA_N_CALL:
        return call(ev, node, out);
    case JINJA_N_FILTER:
    case JINJA_N_TEST:
        return filter(ev, node, out);
    default:
        return error_set(ev->e, ERROR_INTERNAL, "a node of kind %d is no expression", node->kind);
    }
}

bool jinja_evaluate(struct jinja_eval *ev, const struct jinja_node *node, struct jinja_value *out)
{
    ev->at = node;
    if (!jinja_spend(ev, 1) || !jinja_descend(ev)) {
        return false;
    }
    bool ok = evaluate(ev, node, out);
    ev->depth--;
    return ok;
}
