/* jinja_exec.c - statements, macros and the rendering itself. */
#include "chat/jinja_eval.h"

#include "base/mem.h"

/* --- assignments */

static bool assign_tuple(struct jinja_eval *ev, const struct jinja_node *target,
                         struct jinja_value value)
{
    struct jinja_generator *g;
    bool found = true;
    if (!jinja_is_iterable(value)) {
        return jinja_fail(ev, "%s cannot be unpacked", jinja_type_name(value));
    }
    struct jinja_value items;
    if (!jinja_make_list(ev, &items) || !jinja_iterate(ev, value, &g)) {
        return false;
    }
    while (found && items.u.list->n <= target->n_items) {
        struct jinja_value item;
        if (!jinja_next(ev, g, &found, &item) || (found && !jinja_push(ev, items, item))) {
            return false;
        }
    }
    if (items.u.list->n != target->n_items) {
        return jinja_fail(ev, "%s values for %zu names",
                          items.u.list->n > target->n_items ? "too many" : "not enough",
                          target->n_items);
    }
    for (size_t i = 0; i < target->n_items; i++) {
        if (!jinja_assign(ev, target->items[i], items.u.list->items[i])) {
            return false;
        }
    }
    return true;
}

static bool assign_attribute(struct jinja_eval *ev, const struct jinja_node *target,
                             struct jinja_value value)
{
    struct jinja_value object;
    if (!jinja_look_up(ev, target->name, &object)) {
        return false;
    }
    if (object.kind != JINJA_NAMESPACE) {
        return jinja_fail(ev, "'%.*s' is no namespace: its attributes cannot be set",
                          STR_ARG(*target->name));
    }
    return jinja_dict_set(ev, object.u.dict, target->value, value);
}

bool jinja_assign(struct jinja_eval *ev, const struct jinja_node *target, struct jinja_value value)
{
    ev->at = target;
    switch (target->kind) {
    case JINJA_N_NAME:
        return jinja_define(ev, ev->scope, target->name, value);
    case JINJA_N_NSREF:
        return assign_attribute(ev, target, value);
    default:
        return assign_tuple(ev, target, value);
    }
}

/* --- scopes and captured output */

static bool enter_scope(struct jinja_eval *ev)
{
    struct jinja_scope *scope = jinja_scope_create(ev, ev->scope);
    ev->scope = scope != NULL ? scope : ev->scope;
    return scope != NULL;
}

static void leave_scope(struct jinja_eval *ev)
{
    ev->scope->is_over = true;
    ev->scope = ev->scope->parent;
}

/* Runs a block with variables of its own. */
static bool execute_scoped(struct jinja_eval *ev, const struct jinja_node *block)
{
    if (!enter_scope(ev)) {
        return false;
    }
    bool ok = jinja_execute(ev, block);
    leave_scope(ev);
    return ok;
}

bool jinja_capture(struct jinja_eval *ev, const struct jinja_node *block, struct jinja_value *out)
{
    struct jinja_text t = jinja_text_of(ev), *outer = ev->out;
    ev->out = &t;
    bool ok = jinja_execute(ev, block);
    ev->out = outer;
    return ok && jinja_text_end(&t, out);
}

/* --- macros */

static void keep_scopes(struct jinja_scope *scope)
{
    for (; scope != NULL && !scope->is_kept; scope = scope->parent) {
        scope->is_kept = true;
    }
}

static struct jinja_macro *macro_create(struct jinja_eval *ev, const struct jinja_macro_node *node)
{
    struct jinja_macro *macro = jinja_arena_alloc(&ev->arena, 1, sizeof *macro, ev->e);
    if (macro != NULL) {
        *macro = (struct jinja_macro){node, ev->scope};
        keep_scopes(ev->scope);
    }
    return macro;
}

static struct jinja_value macro_value(const struct jinja_macro *macro)
{
    return (struct jinja_value){.kind = JINJA_MACRO, .u.macro = macro};
}

/* Takes the keyword of that name out of args->named; JINJA_MISSING when it is not there. */
static struct jinja_value take_named(struct jinja_dict *named, struct str name)
{
    struct jinja_entry *entry = jinja_dict_find_str(named, name);
    if (entry == NULL) {
        return (struct jinja_value){.kind = JINJA_MISSING};
    }
    struct jinja_value value = entry->value;
    size_t at = (size_t)(entry - named->entries);
    memmove(entry, entry + 1, (named->n - at - 1) * sizeof *entry);
    named->n--;
    return value;
}

/* The parameters as variables: what was given by place, by name, or not (a default is still to
 * come). *named_caller: the parameter `caller` was one of those. */
static bool define_params(struct jinja_eval *ev, const struct jinja_macro_node *m,
                          const struct jinja_args *args, struct jinja_dict *named,
                          bool *named_caller)
{
    *named_caller = false;
    for (size_t i = 0; i < m->n_params; i++) {
        struct jinja_value value = i < args->n ? args->items[i] : take_named(named, *m->params[i]);
        *named_caller |= m->params[i] == ev->t->caller_name;
        if (!jinja_define(ev, ev->scope, m->params[i], value)) {
            return false;
        }
    }
    return true;
}

static bool define_special(struct jinja_eval *ev, const struct jinja_macro_node *m,
                           const struct jinja_args *args, struct jinja_dict *named,
                           bool named_caller)
{
    if (m->uses_caller && !named_caller) {
        struct jinja_value caller = take_named(named, STR("caller"));
        if (caller.kind == JINJA_MISSING || caller.kind == JINJA_NONE) {
            caller = jinja_undefined(ev->t->caller_name);
        }
        if (!jinja_define(ev, ev->scope, ev->t->caller_name, caller)) {
            return false;
        }
    }
    if (m->uses_kwargs) {
        struct jinja_value rest;
        if (!jinja_dict_create(&ev->arena, &rest, ev->e)) {
            return false;
        }
        *rest.u.dict = *named;
        if (!jinja_define(ev, ev->scope, ev->t->kwargs_name, rest)) {
            return false;
        }
    } else if (named->n > 0) {
        return jinja_fail(ev, "the macro takes no keyword argument '%.*s'",
                          STR_ARG(jinja_str(named->entries[0].key)));
    }
    size_t n_extra = args->n > m->n_params ? args->n - m->n_params : 0;
    if (m->uses_varargs) {
        struct jinja_value extra;
        return jinja_make_tuple(ev, args->items + (args->n - n_extra), n_extra, &extra) &&
               jinja_define(ev, ev->scope, ev->t->varargs_name, extra);
    }
    return n_extra == 0 ||
           jinja_fail(ev, "the macro takes %zu arguments, not %zu", m->n_params, args->n);
}

static bool fill_defaults(struct jinja_eval *ev, const struct jinja_macro_node *m)
{
    for (size_t i = 0; i < m->n_params; i++) {
        struct jinja_value value = jinja_undefined(m->params[i]);
        if (ev->scope->items[i].value.kind != JINJA_MISSING) {
            continue;
        }
        if (m->defaults[i] != NULL && !jinja_evaluate(ev, m->defaults[i], &value)) {
            return false;
        }
        ev->scope->items[i].value = value;
    }
    return true;
}

static bool run_macro(struct jinja_eval *ev, const struct jinja_macro_node *m,
                      const struct jinja_args *args, struct jinja_value *out)
{
    struct jinja_dict named = {0};
    bool named_caller;
    for (size_t i = 0; i < args->named.n; i++) { /* a copy, from which is taken */
        if (!jinja_dict_append(&ev->arena, &named, args->named.entries[i], ev->e)) {
            return false;
        }
    }
    return define_params(ev, m, args, &named, &named_caller) &&
           define_special(ev, m, args, &named, named_caller) && fill_defaults(ev, m) &&
           jinja_capture(ev, m->body, out);
}

bool jinja_call_macro(struct jinja_eval *ev, const struct jinja_macro *macro,
                      const struct jinja_args *args, struct jinja_value *out)
{
    for (const struct jinja_scope *s = macro->scope; s != NULL; s = s->parent) {
        if (s->is_over) { /* its variables are gone in jinja2, or are those of another iteration */
            return jinja_refuse(ev, "a macro called after the block ended that it was made in");
        }
    }
    if (!jinja_descend(ev)) {
        return false;
    }
    struct jinja_scope *outer = ev->scope;
    ev->scope = jinja_scope_create(ev, macro->scope);
    bool ok = ev->scope != NULL && run_macro(ev, macro->node, args, out);
    ev->scope = outer;
    ev->depth--;
    return ok;
}

static bool execute_macro(struct jinja_eval *ev, const struct jinja_node *node)
{
    const struct jinja_macro *macro = macro_create(ev, node->macro);
    return macro != NULL && jinja_define(ev, ev->scope, node->macro->name, macro_value(macro));
}

static bool execute_call_block(struct jinja_eval *ev, const struct jinja_node *node)
{
    struct jinja_value callee, name, value;
    struct jinja_args args;
    const struct jinja_macro *caller = macro_create(ev, node->macro);
    if (caller == NULL || !jinja_evaluate(ev, node->a->a, &callee) ||
        !jinja_evaluate_args(ev, node->a->args, &args) ||
        !jinja_make_string(ev, STR("caller"), JINJA_TEMPLATE, &name)) {
        return false;
    }
    ev->at = node;
    if (jinja_dict_find_str(&args.named, STR("caller")) != NULL) {
        return jinja_fail(ev, "keyword argument 'caller' given twice");
    }
    return jinja_dict_set(ev, &args.named, name, macro_value(caller)) &&
           jinja_call_value(ev, callee, &args, &value) && jinja_print(ev, ev->out, value);
}

/* --- loops */

/* The loop's `if`: a generator of the items that pass. */
struct loop_filter {
    const struct jinja_node *node;
    struct jinja_scope *scope; /* of the place of the loop */
};

static bool next_passing(struct jinja_eval *ev, struct jinja_generator *g, bool *found,
                         struct jinja_value *item)
{
    const struct loop_filter *filter = g->state;
    struct jinja_scope *outer = ev->scope;
    bool passes = false, ok = true;
    ev->scope = jinja_scope_create(ev, filter->scope);
    ok = ev->scope != NULL;
    while (ok && !passes) {
        struct jinja_value test;
        ok = jinja_next(ev, g->inner, found, item);
        if (!ok || !*found) {
            break;
        }
        ok = jinja_assign(ev, filter->node->a, *item) && jinja_evaluate(ev, filter->node->c, &test);
        passes = ok && jinja_truth(test);
    }
    ev->scope = outer;
    return ok;
}

static bool filter_items(struct jinja_eval *ev, const struct jinja_node *node,
                         struct jinja_generator **g)
{
    struct loop_filter *filter = jinja_arena_alloc(&ev->arena, 1, sizeof *filter, ev->e);
    struct jinja_generator *passing = jinja_generator_create(ev, jinja_none());
    if (filter == NULL || passing == NULL) {
        return false;
    }
    *filter = (struct loop_filter){node, ev->scope};
    passing->next = next_passing;
    passing->inner = *g;
    passing->state = filter;
    *g = passing;
    return true;
}

static bool run_iteration(struct jinja_eval *ev, const struct jinja_node *node,
                          struct jinja_loop *loop)
{
    struct jinja_value variable = {.kind = JINJA_LOOP, .u.loop = loop};
    return jinja_assign(ev, node->a, loop->current) &&
           jinja_define(ev, ev->scope, ev->t->loop_name, variable) && jinja_execute(ev, node->d);
}

/* *completed: a body ran to its end. jinja2 runs `else` when none did, also after a break. */
static bool run_loop(struct jinja_eval *ev, const struct jinja_node *node, struct jinja_loop *loop,
                     bool *completed)
{
    struct jinja_scope *outer = ev->scope, *inner = NULL;
    bool found = true, ok = true;
    while (ok && ev->flow != JINJA_FLOW_BREAK) {
        ev->at = node;
        ok = jinja_loop_next(ev, loop, &found);
        if (!ok || !found) {
            break;
        }
        if (inner == NULL || inner->is_kept) {
            inner = jinja_scope_create(ev, outer);
        }
        if (inner == NULL) {
            return false;
        }
        inner->n = 0;
        ev->flow = JINJA_FLOW_ON;
        ev->scope = inner;
        ok = run_iteration(ev, node, loop);
        ev->scope = outer;
        inner->is_over = inner->is_kept;
        *completed |= ev->flow == JINJA_FLOW_ON;
    }
    ev->flow = JINJA_FLOW_ON;
    return ok;
}

static bool execute_for(struct jinja_eval *ev, const struct jinja_node *node)
{
    struct jinja_value items;
    bool completed = false;
    struct jinja_loop *loop = jinja_arena_alloc(&ev->arena, 1, sizeof *loop, ev->e);
    if (loop == NULL || !jinja_evaluate(ev, node->b, &items)) {
        return false;
    }
    ev->at = node;
    *loop = (struct jinja_loop){.index0 = -1, .length = -1};
    if (!jinja_iterate(ev, items, &loop->items) ||
        (node->c != NULL && !filter_items(ev, node, &loop->items)) ||
        !run_loop(ev, node, loop, &completed)) {
        return false;
    }
    return completed || node->n_items == 0 || execute_scoped(ev, node->items[0]);
}

/* --- the other statements */

static bool execute_if(struct jinja_eval *ev, const struct jinja_node *node)
{
    for (size_t i = 0; i < node->n_items; i += 2) {
        struct jinja_value test;
        if (!jinja_evaluate(ev, node->items[i], &test)) {
            return false;
        }
        if (jinja_truth(test)) {
            return jinja_execute(ev, node->items[i + 1]);
        }
    }
    return node->a == NULL || jinja_execute(ev, node->a);
}

static bool execute_set(struct jinja_eval *ev, const struct jinja_node *node)
{
    struct jinja_value value;
    return jinja_evaluate(ev, node->b, &value) && jinja_assign(ev, node->a, value);
}

/* Captures a block in a scope of its own and puts it through the filter, if there is one; the
 * filter sees the block's variables. */
static bool capture_filtered(struct jinja_eval *ev, const struct jinja_node *block,
                             const struct jinja_node *filter, struct jinja_value *out)
{
    if (!enter_scope(ev)) {
        return false;
    }
    bool ok = jinja_capture(ev, block, out);
    const struct jinja_node *chain[64];
    size_t n = 0;
    for (; filter != NULL && n < 64; filter = filter->a) { /* the last filter is the outermost */
        chain[n++] = filter;
    }
    if (ok && filter != NULL) {
        ok = jinja_refuse(ev, "more than 64 filters on one block");
    }
    while (ok && n > 0 && ev->flow == JINJA_FLOW_ON) {
        ok = jinja_evaluate_filter(ev, chain[--n], *out, out);
    }
    leave_scope(ev);
    return ok;
}

static bool execute_set_block(struct jinja_eval *ev, const struct jinja_node *node)
{
    struct jinja_value value;
    if (!capture_filtered(ev, node->b, node->c, &value)) {
        return false;
    }
    return ev->flow != JINJA_FLOW_ON || jinja_assign(ev, node->a, value);
}

static bool execute_filter_block(struct jinja_eval *ev, const struct jinja_node *node)
{
    struct jinja_value value;
    if (!capture_filtered(ev, node->b, node->a, &value)) {
        return false;
    }
    if (ev->flow == JINJA_FLOW_ON && value.kind != JINJA_STRING) {
        /* an error of jinja2, too, but only when all else is rendered */
        return jinja_refuse(ev, "a filter of a block that gives %s", jinja_type_name(value));
    }
    return ev->flow != JINJA_FLOW_ON || jinja_print(ev, ev->out, value);
}

static bool execute_with(struct jinja_eval *ev, const struct jinja_node *node)
{
    struct jinja_scope *outer = ev->scope, *inner = jinja_scope_create(ev, outer);
    bool ok = inner != NULL;
    for (size_t i = 0; ok && i < node->n_items; i += 2) {
        struct jinja_value value;
        ok = jinja_evaluate(ev, node->items[i + 1], &value);
        ev->scope = inner;
        ok = ok && jinja_assign(ev, node->items[i], value);
        ev->scope = outer;
    }
    if (ok) {
        ev->scope = inner;
        ok = jinja_execute(ev, node->a);
        leave_scope(ev);
    }
    return ok;
}

static bool execute_output(struct jinja_eval *ev, const struct jinja_node *node)
{
    struct jinja_value value;
    if (!jinja_evaluate(ev, node->a, &value)) {
        return false;
    }
    ev->at = node;
    return jinja_print(ev, ev->out, value);
}

static bool execute_statement(struct jinja_eval *ev, const struct jinja_node *node)
{
    switch (node->kind) {
    case JINJA_N_BLOCK:
        return jinja_execute(ev, node);
    case JINJA_N_DATA:
        return jinja_text_add_string(ev->out, node->value.u.string);
    case JINJA_N_OUTPUT:
        return execute_output(ev, node);
    case JINJA_N_IF:
        return execute_if(ev, node);
    case JINJA_N_FOR:
        return execute_for(ev, node);
    case JINJA_N_SET:
        return execute_set(ev, node);
    case JINJA_N_SET_BLOCK:
        return execute_set_block(ev, node);
    case JINJA_N_WITH:
        return execute_with(ev, node);
    case JINJA_N_MACRO:
        return execute_macro(ev, node);
    case JINJA_N_CALL_BLOCK:
        return execute_call_block(ev, node);
    case JINJA_N_FILTER_BLOCK:
        return execute_filter_block(ev, node);
    case JINJA_N_SCOPE:
        return execute_scoped(ev, node->a);
    case JINJA_N_BREAK:
        ev->flow = JINJA_FLOW_BREAK;
        return true;
    case JINJA_N_CONTINUE:
        ev->flow = JINJA_FLOW_CONTINUE;
        return true;
    default:
        return error_set(ev->e, ERROR_INTERNAL, "a node of kind %d is no statement", node->kind);
    }
}

bool jinja_execute(struct jinja_eval *ev, const struct jinja_node *block)
{
    if (!jinja_descend(ev)) {
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && ev->flow == JINJA_FLOW_ON && i < block->n_items; i++) {
        ev->at = block->items[i];
        ok = jinja_spend(ev, 1) && execute_statement(ev, block->items[i]);
    }
    ev->depth--;
    return ok;
}

/* --- rendering */

static struct jinja_limits limits_or_defaults(const struct jinja_limits *given)
{
    struct jinja_limits l = given != NULL ? *given : (struct jinja_limits){0};
    l.max_steps = l.max_steps > 0 ? l.max_steps : JINJA_DEFAULT_STEPS;
    l.max_depth = l.max_depth > 0 ? l.max_depth : JINJA_DEFAULT_DEPTH;
    l.max_output_bytes = l.max_output_bytes > 0 ? l.max_output_bytes : JINJA_DEFAULT_OUTPUT_BYTES;
    l.max_memory_bytes = l.max_memory_bytes > 0 ? l.max_memory_bytes : JINJA_DEFAULT_MEMORY_BYTES;
    return l;
}

/* Copies the text out of the arena. */
static bool copy_output(const struct jinja_text *t, struct jinja_output *out, struct error *e)
{
    struct jinja_output made = {0};
    buf_init(&made.text, t->max_bytes);
    made.spans = mem_alloc(t->n_spans, sizeof *made.spans, "rendered text", e);
    if (made.spans == NULL || !buf_append(&made.text, (struct str){t->p, t->n}, e)) {
        jinja_output_finish(&made);
        return false;
    }
    if (t->n_spans > 0) {
        memcpy(made.spans, t->spans, t->n_spans * sizeof *made.spans);
    }
    made.n_spans = t->n_spans;
    *out = made;
    return true;
}

bool jinja_render(const struct jinja_template *t, struct jinja_value variables,
                  const struct tm *now, const struct jinja_limits *limits, struct jinja_output *out,
                  struct error *e)
{
    struct jinja_eval ev = {
        .t = t, .e = e, .limits = limits_or_defaults(limits), .now = now, .at = t->root};
    jinja_arena_init(&ev.arena, ev.limits.max_memory_bytes);
    struct jinja_text text = jinja_text_of(&ev);
    ev.out = &text;
    ev.variables = variables.u.dict;
    ev.scope = jinja_scope_create(&ev, NULL);
    bool ok = ev.scope != NULL && jinja_execute(&ev, t->root) && copy_output(&text, out, e);
    jinja_arena_finish(&ev.arena);
    return ok;
}

void jinja_output_finish(struct jinja_output *out)
{
    buf_finish(&out->text);
    mem_free(out->spans);
    *out = (struct jinja_output){0};
}
