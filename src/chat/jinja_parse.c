/* jinja_parse.c - statements. */
#include "chat/jinja_ast.h"

#include "base/mem.h"

enum { TEMPLATE_BYTES = 256 << 20 };

static struct jinja_node *parse_statement(struct jinja_parser *p);

/* --- tools */

bool jinja_parse_fail(struct jinja_parser *p, enum error_code code, size_t at, const char *format,
                      ...)
{
    va_list args;
    va_start(args, format);
    jinja_verror_at(p->e, code, &p->t->source, at, format, args);
    va_end(args);
    return false;
}

struct jinja_node *jinja_node_create(struct jinja_parser *p, enum jinja_node_kind kind, size_t at)
{
    struct jinja_node *node = jinja_arena_alloc(&p->t->arena, 1, sizeof *node, p->e);
    if (node != NULL) {
        node->kind = kind;
        node->at = (uint32_t)at;
    }
    return node;
}

bool jinja_node_push(struct jinja_parser *p, struct jinja_node *node, struct jinja_node *item)
{
    if (item == NULL || !jinja_arena_grow(&p->t->arena, &node->items, &node->items_capacity,
                                          node->n_items + 1, sizeof item, p->e)) {
        return false;
    }
    node->items[node->n_items++] = item;
    return true;
}

const struct str *jinja_intern(struct jinja_parser *p, struct str name)
{
    size_t at = jinja_hash_str(name) % JINJA_NAME_SLOTS;
    for (; p->names[at] != NULL; at = (at + 1) % JINJA_NAME_SLOTS) {
        if (str_eq(*p->names[at], name)) {
            return p->names[at];
        }
    }
    if (p->n_names == JINJA_MAX_NAMES) {
        jinja_parse_fail(p, ERROR_UNSUPPORTED, jinja_current(p)->at, "more than %d names",
                         JINJA_MAX_NAMES);
        return NULL;
    }
    struct str *interned = jinja_arena_alloc(&p->t->arena, 1, sizeof *interned, p->e);
    if (interned != NULL) {
        *interned = name;
        p->names[at] = interned;
        p->n_names++;
    }
    return interned;
}

void jinja_advance(struct jinja_parser *p)
{
    p->at += p->at + 1 < p->tokens.n;
}

bool jinja_is_name(const struct jinja_token *t, const char *name)
{
    return t->kind == JINJA_T_NAME && str_eq(t->text, str_from(name));
}

bool jinja_skip_if(struct jinja_parser *p, enum jinja_token_kind kind)
{
    bool found = jinja_current(p)->kind == kind;
    if (found) {
        jinja_advance(p);
    }
    return found;
}

bool jinja_skip_name(struct jinja_parser *p, const char *name)
{
    bool found = jinja_is_name(jinja_current(p), name);
    if (found) {
        jinja_advance(p);
    }
    return found;
}

bool jinja_expect(struct jinja_parser *p, enum jinja_token_kind kind, const char *what)
{
    const struct jinja_token *t = jinja_current(p);
    if (t->kind != kind) {
        return jinja_parse_fail(p, ERROR_FORMAT, t->at, "expected '%s', got '%.*s'", what,
                                STR_ARG(jinja_token_shown(t)));
    }
    jinja_advance(p);
    return true;
}

const struct str *jinja_expect_name(struct jinja_parser *p)
{
    const struct jinja_token *t = jinja_current(p);
    if (t->kind != JINJA_T_NAME) {
        jinja_parse_fail(p, ERROR_FORMAT, t->at, "expected a name, got '%.*s'",
                         STR_ARG(jinja_token_shown(t)));
        return NULL;
    }
    jinja_advance(p);
    return jinja_intern(p, t->text);
}

bool jinja_enter(struct jinja_parser *p)
{
    if (p->depth == JINJA_MAX_PARSE_DEPTH) {
        return jinja_parse_fail(p, ERROR_UNSUPPORTED, jinja_current(p)->at,
                                "nested deeper than %d levels", JINJA_MAX_PARSE_DEPTH);
    }
    p->depth++;
    return true;
}

/* --- bodies */

/* Whether the current token ends a body: one of the names, NULL after the last. */
static bool is_end(const struct jinja_parser *p, const char *const *ends)
{
    for (size_t i = 0; ends != NULL && ends[i] != NULL; i++) {
        if (jinja_is_name(jinja_current(p), ends[i])) {
            return true;
        }
    }
    return false;
}

static struct jinja_node *parse_output(struct jinja_parser *p)
{
    struct jinja_node *node = jinja_node_create(p, JINJA_N_OUTPUT, jinja_current(p)->at);
    jinja_advance(p);
    if (node == NULL || (node->a = jinja_parse_tuple(p, (struct jinja_tuple_rules){0})) == NULL) {
        return NULL;
    }
    return jinja_expect(p, JINJA_T_VARIABLE_END, "}}") ? node : NULL;
}

static struct jinja_node *parse_data(struct jinja_parser *p)
{
    const struct jinja_token *t = jinja_current(p);
    struct jinja_node *node = jinja_node_create(p, JINJA_N_DATA, t->at);
    jinja_advance(p);
    if (node == NULL ||
        !jinja_string_borrow(&p->t->arena, t->text, JINJA_TEMPLATE, &node->value, p->e)) {
        return NULL;
    }
    return node;
}

/* Statements up to a tag of `ends`, which becomes the current token; up to the end of the template
 * when ends is NULL. */
static struct jinja_node *parse_until(struct jinja_parser *p, const char *const *ends)
{
    struct jinja_node *block = jinja_node_create(p, JINJA_N_BLOCK, jinja_current(p)->at);
    bool ok = block != NULL && jinja_enter(p);
    while (ok && jinja_current(p)->kind != JINJA_T_EOF) {
        switch (jinja_current(p)->kind) {
        case JINJA_T_DATA:
            ok = jinja_node_push(p, block, parse_data(p));
            break;
        case JINJA_T_VARIABLE_BEGIN:
            ok = jinja_node_push(p, block, parse_output(p));
            break;
        default: /* nothing else stands outside of a tag */
            jinja_advance(p);
            if (is_end(p, ends)) {
                p->depth--;
                return block;
            }
            ok = jinja_node_push(p, block, parse_statement(p)) &&
                 jinja_expect(p, JINJA_T_BLOCK_END, "%}");
        }
    }
    if (ok && ends != NULL) {
        ok = jinja_parse_fail(p, ERROR_FORMAT, jinja_current(p)->at,
                              "the template ends where '%s' is missing", ends[0]);
    }
    p->depth -= block != NULL;
    return ok ? block : NULL;
}

/* The body of a statement, whose tag may end in a colon. With take_end the end's name is passed. */
static struct jinja_node *parse_body(struct jinja_parser *p, const char *const *ends, bool take_end)
{
    jinja_skip_if(p, JINJA_T_COLON);
    if (!jinja_expect(p, JINJA_T_BLOCK_END, "%}")) {
        return NULL;
    }
    struct jinja_node *body = parse_until(p, ends);
    if (body != NULL && take_end) {
        jinja_advance(p);
    }
    return body;
}

/* A body with names of its own, to which the softness of an `if` round it does not reach. */
static struct jinja_node *parse_scope(struct jinja_parser *p, const char *end)
{
    bool was_soft = p->is_soft;
    p->is_soft = false;
    const char *const ends[] = {end, NULL};
    struct jinja_node *body = parse_body(p, ends, true);
    p->is_soft = was_soft;
    return body;
}

/* --- targets of assignments */

static bool check_target(struct jinja_parser *p, const struct jinja_node *target)
{
    if (target->kind == JINJA_N_NSREF) {
        return true;
    }
    if (target->kind == JINJA_N_NAME) {
        if (target->name == p->t->loop_name && p->n_fors > 0) {
            return jinja_parse_fail(p, ERROR_FORMAT, target->at,
                                    "the special variable 'loop' cannot be assigned to");
        }
        unsigned bit = target->name == p->t->caller_name    ? JINJA_SPECIAL_CALLER
                       : target->name == p->t->kwargs_name  ? JINJA_SPECIAL_KWARGS
                       : target->name == p->t->varargs_name ? JINJA_SPECIAL_VARARGS
                                                            : 0;
        p->special_stored |= bit;
        return true;
    }
    bool ok = target->kind == JINJA_N_TUPLE;
    for (size_t i = 0; ok && i < target->n_items; i++) {
        ok = check_target(p, target->items[i]);
    }
    return ok || jinja_parse_fail(p, ERROR_FORMAT, target->at, "cannot assign to this");
}

static struct jinja_node *parse_target(struct jinja_parser *p, bool with_namespace,
                                       const char *end_name)
{
    unsigned special = p->special;
    struct jinja_node *target = jinja_parse_tuple(
        p, (struct jinja_tuple_rules){
               .simplified = true, .with_namespace = with_namespace, .end_name = end_name});
    p->special = special; /* a target is no reading */
    return target != NULL && check_target(p, target) ? target : NULL;
}

/* --- statements; the current token is the tag's name */

static struct jinja_node *parse_set(struct jinja_parser *p, struct jinja_node *node)
{
    node->a = parse_target(p, true, NULL);
    if (node->a == NULL) {
        return NULL;
    }
    if (jinja_skip_if(p, JINJA_T_ASSIGN)) {
        node->kind = JINJA_N_SET;
        node->b = jinja_parse_tuple(p, (struct jinja_tuple_rules){0});
        return node->b != NULL ? node : NULL;
    }
    node->kind = JINJA_N_SET_BLOCK;
    bool was_soft = p->is_soft;
    p->is_soft = false;
    if (jinja_current(p)->kind == JINJA_T_PIPE) {
        node->c = jinja_parse_filter(p, NULL, false);
    }
    bool ok = node->c != NULL || jinja_current(p)->kind != JINJA_T_PIPE;
    p->is_soft = was_soft;
    node->b = ok ? parse_scope(p, "endset") : NULL;
    return node->b != NULL ? node : NULL;
}

static struct jinja_node *parse_for(struct jinja_parser *p, struct jinja_node *node)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    node->kind = JINJA_N_FOR;
    bool was_soft = p->is_soft;
    p->n_fors++;
    node->a = parse_target(p, false, "in");
    if (node->a == NULL || !jinja_skip_name(p, "in")) {
        if (node->a != NULL) {
            jinja_parse_fail(p, ERROR_FORMAT, jinja_current(p)->at, "expected 'in'");
        }
        return NULL;
    }
    node->b =
        jinja_parse_tuple(p, (struct jinja_tuple_rules){.no_cond = true, .end_name = "recursive"});
    p->is_soft = false;
    if (node->b == NULL ||
        (jinja_skip_name(p, "if") && (node->c = jinja_parse_expression(p, true)) == NULL)) {
        return NULL;
    }
    if (jinja_is_name(jinja_current(p), "recursive")) {
        jinja_parse_fail(p, ERROR_UNSUPPORTED, jinja_current(p)->at, "a recursive loop");
        return NULL;
    }
    p->n_loops++;
    node->d = parse_body(p, ends, false);
    p->n_loops--;
    if (node->d == NULL) {
        return NULL;
    }
    if (jinja_skip_name(p, "else")) {
        static const char *const last[] = {"endfor", NULL};
        if (!jinja_node_push(p, node, parse_body(p, last, false))) {
            return NULL;
        }
    }
    jinja_advance(p);
    p->n_fors--;
    p->is_soft = was_soft;
    return node;
}

static struct jinja_node *parse_if(struct jinja_parser *p, struct jinja_node *node)
{
    static const char *const ends[] = {"endif", "elif", "else", NULL};
    static const char *const last[] = {"endif", NULL};
    bool was_soft = p->is_soft;
    p->is_soft = true;
    node->kind = JINJA_N_IF;
    do {
        if (!jinja_node_push(p, node,
                             jinja_parse_tuple(p, (struct jinja_tuple_rules){.no_cond = true})) ||
            !jinja_node_push(p, node, parse_body(p, ends, false))) {
            return NULL;
        }
    } while (jinja_skip_name(p, "elif"));
    if (jinja_skip_name(p, "else") && (node->a = parse_body(p, last, false)) == NULL) {
        return NULL;
    }
    jinja_advance(p);
    p->is_soft = was_soft;
    return node;
}

static struct jinja_node *parse_with(struct jinja_parser *p, struct jinja_node *node)
{
    node->kind = JINJA_N_WITH;
    while (jinja_current(p)->kind != JINJA_T_BLOCK_END) {
        if (node->n_items > 0 && !jinja_expect(p, JINJA_T_COMMA, ",")) {
            return NULL;
        }
        if (!jinja_node_push(p, node, parse_target(p, false, NULL)) ||
            !jinja_expect(p, JINJA_T_ASSIGN, "=") ||
            !jinja_node_push(p, node, jinja_parse_expression(p, true))) {
            return NULL;
        }
    }
    node->a = parse_scope(p, "endwith");
    return node->a != NULL ? node : NULL;
}

/* --- macros */

static bool parse_parameter(struct jinja_parser *p, struct jinja_macro_node *macro)
{
    struct jinja_arena *a = &p->t->arena;
    const struct jinja_token *token = jinja_current(p);
    const struct str *name = jinja_expect_name(p);
    if (name == NULL ||
        !jinja_arena_grow(a, &macro->params, &macro->params_capacity, macro->n_params + 1,
                          sizeof name, p->e) ||
        !jinja_arena_grow(a, &macro->defaults, &macro->defaults_capacity, macro->n_params + 1,
                          sizeof *macro->defaults, p->e)) {
        return false;
    }
    for (size_t i = 0; i < macro->n_params; i++) {
        if (macro->params[i] == name) {
            return jinja_parse_fail(p, ERROR_FORMAT, token->at, "parameter '%.*s' given twice",
                                    STR_ARG(*name));
        }
    }
    struct jinja_node *value = NULL;
    if (jinja_skip_if(p, JINJA_T_ASSIGN)) {
        value = jinja_parse_expression(p, true);
        if (value == NULL) {
            return false;
        }
    } else if (macro->n_params > 0 && macro->defaults[macro->n_params - 1] != NULL) {
        return jinja_parse_fail(p, ERROR_FORMAT, token->at,
                                "parameter '%.*s' without a default after one with",
                                STR_ARG(*name));
    }
    macro->params[macro->n_params] = name;
    macro->defaults[macro->n_params++] = value;
    return true;
}

static bool parse_signature(struct jinja_parser *p, struct jinja_macro_node *macro)
{
    bool ok = jinja_expect(p, JINJA_T_LPAREN, "(");
    while (ok && jinja_current(p)->kind != JINJA_T_RPAREN) {
        ok = (macro->n_params == 0 || jinja_expect(p, JINJA_T_COMMA, ",")) &&
             parse_parameter(p, macro);
    }
    if (ok) {
        jinja_advance(p);
    }
    return ok;
}

static bool has_param(const struct jinja_macro_node *macro, const struct str *name,
                      bool with_default)
{
    for (size_t i = 0; i < macro->n_params; i++) {
        if (macro->params[i] == name) {
            return !with_default || macro->defaults[i] != NULL;
        }
    }
    return false;
}

/* The body, and which of the special variables it reads: they become parameters. */
static bool parse_macro_body(struct jinja_parser *p, struct jinja_macro_node *macro,
                             const char *end, size_t at)
{
    unsigned outer = p->special, outer_stored = p->special_stored;
    size_t n_loops = p->n_loops;
    p->special = p->special_stored = 0;
    p->n_loops = 0;
    macro->body = parse_scope(p, end);
    unsigned seen = p->special;
    p->special = outer | (seen & ~outer_stored);
    p->special_stored = outer_stored;
    p->n_loops = n_loops;
    const struct jinja_template *t = p->t;
    bool names_caller = has_param(macro, t->caller_name, false);
    if ((seen & JINJA_SPECIAL_CALLER) != 0 && names_caller &&
        !has_param(macro, t->caller_name, true)) {
        return jinja_parse_fail(p, ERROR_FORMAT, at,
                                "the parameter 'caller' must be omitted or have a default");
    }
    macro->uses_caller = (seen & JINJA_SPECIAL_CALLER) != 0;
    macro->uses_kwargs =
        (seen & JINJA_SPECIAL_KWARGS) != 0 && !has_param(macro, t->kwargs_name, false);
    macro->uses_varargs =
        (seen & JINJA_SPECIAL_VARARGS) != 0 && !has_param(macro, t->varargs_name, false);
    return macro->body != NULL;
}

static struct jinja_node *parse_macro(struct jinja_parser *p, struct jinja_node *node)
{
    node->kind = JINJA_N_MACRO;
    node->macro = jinja_arena_alloc(&p->t->arena, 1, sizeof *node->macro, p->e);
    if (node->macro == NULL || (node->macro->name = jinja_expect_name(p)) == NULL ||
        !parse_signature(p, node->macro) ||
        !parse_macro_body(p, node->macro, "endmacro", node->at)) {
        return NULL;
    }
    return node;
}

static struct jinja_node *parse_call_block(struct jinja_parser *p, struct jinja_node *node)
{
    node->kind = JINJA_N_CALL_BLOCK;
    node->macro = jinja_arena_alloc(&p->t->arena, 1, sizeof *node->macro, p->e);
    if (node->macro == NULL ||
        (jinja_current(p)->kind == JINJA_T_LPAREN && !parse_signature(p, node->macro))) {
        return NULL;
    }
    node->a = jinja_parse_expression(p, true);
    if (node->a != NULL && node->a->kind != JINJA_N_CALL) {
        jinja_parse_fail(p, ERROR_FORMAT, node->at, "expected a call");
        return NULL;
    }
    return node->a != NULL && parse_macro_body(p, node->macro, "endcall", node->at) ? node : NULL;
}

static struct jinja_node *parse_filter_block(struct jinja_parser *p, struct jinja_node *node)
{
    node->kind = JINJA_N_FILTER_BLOCK;
    bool was_soft = p->is_soft;
    p->is_soft = false;
    node->a = jinja_parse_filter(p, NULL, true);
    p->is_soft = was_soft;
    node->b = node->a != NULL ? parse_scope(p, "endfilter") : NULL;
    return node->b != NULL ? node : NULL;
}

/* Training marks what the assistant said with it; here it is a block with its own variables, and
 * like a macro's body it ends the reach of the loop round it. */
static struct jinja_node *parse_generation(struct jinja_parser *p, struct jinja_node *node)
{
    size_t n_loops = p->n_loops;
    node->kind = JINJA_N_SCOPE;
    p->n_loops = 0;
    node->a = parse_scope(p, "endgeneration");
    p->n_loops = n_loops;
    return node->a != NULL ? node : NULL;
}

static struct jinja_node *parse_print(struct jinja_parser *p, struct jinja_node *node)
{
    node->kind = JINJA_N_BLOCK;
    while (jinja_current(p)->kind != JINJA_T_BLOCK_END) {
        struct jinja_node *output = jinja_node_create(p, JINJA_N_OUTPUT, node->at);
        if (output == NULL || (node->n_items > 0 && !jinja_expect(p, JINJA_T_COMMA, ",")) ||
            (output->a = jinja_parse_expression(p, true)) == NULL ||
            !jinja_node_push(p, node, output)) {
            return NULL;
        }
    }
    return node;
}

static struct jinja_node *parse_loop_control(struct jinja_parser *p, struct jinja_node *node,
                                             bool is_break)
{
    node->kind = is_break ? JINJA_N_BREAK : JINJA_N_CONTINUE;
    if (p->n_loops == 0) {
        jinja_parse_fail(p, ERROR_FORMAT, node->at, "'%s' outside of a loop",
                         is_break ? "break" : "continue");
        return NULL;
    }
    return node;
}

static struct jinja_node *parse_statement_named(struct jinja_parser *p, struct str tag,
                                                struct jinja_node *node)
{
    static const struct {
        const char *tag;
        struct jinja_node *(*parse)(struct jinja_parser *p, struct jinja_node *node);
    } table[] = {{"set", parse_set},
                 {"for", parse_for},
                 {"if", parse_if},
                 {"with", parse_with},
                 {"macro", parse_macro},
                 {"call", parse_call_block},
                 {"print", parse_print},
                 {"filter", parse_filter_block},
                 {"generation", parse_generation}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (str_eq(tag, str_from(table[i].tag))) {
            return table[i].parse(p, node);
        }
    }
    static const char *const refused[] = {"block",  "extends", "include",
                                          "import", "from",    "autoescape"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (str_eq(tag, str_from(refused[i]))) {
            jinja_parse_fail(p, ERROR_UNSUPPORTED, node->at, "the statement '%s'", refused[i]);
            return NULL;
        }
    }
    if (str_eq(tag, STR("break")) || str_eq(tag, STR("continue"))) {
        return parse_loop_control(p, node, tag.p[0] == 'b');
    }
    jinja_parse_fail(p, ERROR_FORMAT, node->at, "unknown tag '%.*s'", STR_ARG(str_shown(tag)));
    return NULL;
}

static struct jinja_node *parse_statement(struct jinja_parser *p)
{
    const struct jinja_token *token = jinja_current(p);
    if (token->kind != JINJA_T_NAME) {
        jinja_parse_fail(p, ERROR_FORMAT, token->at, "expected a tag's name, got '%.*s'",
                         STR_ARG(jinja_token_shown(token)));
        return NULL;
    }
    struct jinja_node *node = jinja_node_create(p, JINJA_N_BLOCK, token->at);
    jinja_advance(p);
    return node != NULL ? parse_statement_named(p, token->text, node) : NULL;
}

/* --- the whole */

static bool intern_special(struct jinja_parser *p)
{
    struct jinja_template *t = p->t;
    return (t->loop_name = jinja_intern(p, STR("loop"))) != NULL &&
           (t->caller_name = jinja_intern(p, STR("caller"))) != NULL &&
           (t->kwargs_name = jinja_intern(p, STR("kwargs"))) != NULL &&
           (t->varargs_name = jinja_intern(p, STR("varargs"))) != NULL;
}

static bool parse_whole(struct jinja_parser *p, struct str text)
{
    struct jinja_template *t = p->t;
    if (!jinja_lex(&t->arena, text, &t->source, &p->tokens, p->e) || !intern_special(p) ||
        (t->root = parse_until(p, NULL)) == NULL) {
        return false;
    }
    return p->unknown == NULL ||
           jinja_parse_fail(p, ERROR_FORMAT, p->unknown->at, "no %s named '%.*s'",
                            p->unknown->kind == JINJA_N_FILTER ? "filter" : "test",
                            STR_ARG(str_shown(*p->unknown->name)));
}

static bool parse(struct jinja_template *t, struct str text, struct error *e)
{
    struct jinja_parser p = {.t = t, .e = e};
    p.names = mem_alloc(JINJA_NAME_SLOTS, sizeof *p.names, "names of the template", e);
    bool ok = p.names != NULL && parse_whole(&p, text);
    mem_free(p.names);
    return ok;
}

struct jinja_template *jinja_parse(struct str text, struct error *e)
{
    struct jinja_template *t = mem_alloc(1, sizeof *t, "template", e);
    if (t == NULL) {
        return NULL;
    }
    jinja_arena_init(&t->arena, TEMPLATE_BYTES);
    if (!parse(t, text, e)) {
        jinja_destroy(t);
        return NULL;
    }
    return t;
}

void jinja_destroy(struct jinja_template *t)
{
    if (t != NULL) {
        jinja_arena_finish(&t->arena);
        mem_free(t);
    }
}
