/* jinja_parse_expr.c - expressions, in jinja2's order of precedence. */
#include "chat/jinja_ast.h"

#include "chat/jinja_callee.h"

typedef struct jinja_node *parse_fn(struct jinja_parser *p);

static struct jinja_node *parse_unary(struct jinja_parser *p, bool with_filter);

/* a and b under a new node of that kind. */
static struct jinja_node *join(struct jinja_parser *p, enum jinja_node_kind kind, size_t at,
                               struct jinja_node *a, struct jinja_node *b)
{
    struct jinja_node *node = a != NULL && b != NULL ? jinja_node_create(p, kind, at) : NULL;
    if (node != NULL) {
        node->a = a;
        node->b = b;
    }
    return node;
}

static struct jinja_node *const_node(struct jinja_parser *p, size_t at, struct jinja_value value)
{
    struct jinja_node *node = jinja_node_create(p, JINJA_N_CONST, at);
    if (node != NULL) {
        node->value = value;
    }
    return node;
}

static bool string_value(struct jinja_parser *p, struct str text, struct jinja_value *out)
{
    return jinja_string_borrow(&p->t->arena, text, JINJA_TEMPLATE, out, p->e);
}

/* --- literals and names */

/* Neighbours are one string. */
static struct jinja_node *parse_string(struct jinja_parser *p)
{
    size_t at = jinja_current(p)->at;
    struct jinja_text text = jinja_text_begin(&p->t->arena, JINJA_MAX_SOURCE_BYTES, p->e);
    while (jinja_current(p)->kind == JINJA_T_STRING) {
        if (!jinja_text_add(&text, jinja_current(p)->text, JINJA_TEMPLATE)) {
            return NULL;
        }
        jinja_advance(p);
    }
    struct jinja_value value;
    return jinja_text_end(&text, &value) ? const_node(p, at, value) : NULL;
}

static unsigned special_of(const struct jinja_parser *p, const struct str *name)
{
    return name == p->t->caller_name    ? JINJA_SPECIAL_CALLER
           : name == p->t->kwargs_name  ? JINJA_SPECIAL_KWARGS
           : name == p->t->varargs_name ? JINJA_SPECIAL_VARARGS
                                        : 0;
}

static struct jinja_node *parse_name(struct jinja_parser *p, bool with_namespace)
{
    const struct jinja_token *token = jinja_current(p);
    jinja_advance(p);
    if (jinja_is_name(token, "true") || jinja_is_name(token, "True")) {
        return const_node(p, token->at, jinja_bool(true, JINJA_TEMPLATE));
    }
    if (jinja_is_name(token, "false") || jinja_is_name(token, "False")) {
        return const_node(p, token->at, jinja_bool(false, JINJA_TEMPLATE));
    }
    if (jinja_is_name(token, "none") || jinja_is_name(token, "None")) {
        return const_node(p, token->at, jinja_none());
    }
    if (jinja_is_name(token, "self") || jinja_is_name(token, "super")) {
        jinja_parse_fail(p, ERROR_UNSUPPORTED, token->at, "the name '%.*s'", STR_ARG(token->text));
        return NULL;
    }
    bool is_reference = with_namespace && jinja_current(p)->kind == JINJA_T_DOT;
    struct jinja_node *node =
        jinja_node_create(p, is_reference ? JINJA_N_NSREF : JINJA_N_NAME, token->at);
    if (node == NULL || (node->name = jinja_intern(p, token->text)) == NULL) {
        return NULL;
    }
    if (is_reference) {
        jinja_advance(p);
        const struct str *attribute = jinja_expect_name(p);
        if (attribute == NULL || !string_value(p, *attribute, &node->value)) {
            return NULL;
        }
    }
    p->special |= special_of(p, node->name) & ~p->special_stored;
    return node;
}

/* "[a, b]" or "{k: v}"; a comma may end them. */
static struct jinja_node *parse_literal(struct jinja_parser *p, bool is_dict)
{
    size_t at = jinja_current(p)->at;
    enum jinja_token_kind closing = is_dict ? JINJA_T_RBRACE : JINJA_T_RBRACKET;
    jinja_advance(p);
    struct jinja_node *node = jinja_node_create(p, is_dict ? JINJA_N_DICT : JINJA_N_LIST, at);
    while (node != NULL && jinja_current(p)->kind != closing) {
        if (node->n_items > 0 && !jinja_expect(p, JINJA_T_COMMA, ",")) {
            return NULL;
        }
        if (jinja_current(p)->kind == closing) {
            break;
        }
        if (!jinja_node_push(p, node, jinja_parse_expression(p, true))) {
            return NULL;
        }
        if (is_dict && (!jinja_expect(p, JINJA_T_COLON, ":") ||
                        !jinja_node_push(p, node, jinja_parse_expression(p, true)))) {
            return NULL;
        }
    }
    jinja_advance(p);
    return node;
}

struct jinja_node *jinja_parse_primary(struct jinja_parser *p, bool with_namespace)
{
    const struct jinja_token *token = jinja_current(p);
    struct jinja_node *node;
    switch (token->kind) {
    case JINJA_T_NAME:
        return parse_name(p, with_namespace);
    case JINJA_T_STRING:
        return parse_string(p);
    case JINJA_T_INTEGER:
        jinja_advance(p);
        return const_node(p, token->at, jinja_int(token->integer, JINJA_TEMPLATE));
    case JINJA_T_FLOAT:
        jinja_advance(p);
        return const_node(p, token->at, jinja_float(token->real, JINJA_TEMPLATE));
    case JINJA_T_LPAREN:
        jinja_advance(p);
        node = jinja_parse_tuple(p, (struct jinja_tuple_rules){.parentheses = true});
        return node != NULL && jinja_expect(p, JINJA_T_RPAREN, ")") ? node : NULL;
    case JINJA_T_LBRACKET:
        return parse_literal(p, false);
    case JINJA_T_LBRACE:
        return parse_literal(p, true);
    default:
        jinja_parse_fail(p, ERROR_FORMAT, token->at, "unexpected '%.*s'",
                         STR_ARG(jinja_token_shown(token)));
        return NULL;
    }
}

static bool ends_tuple(const struct jinja_parser *p, const struct jinja_tuple_rules *rules)
{
    const struct jinja_token *t = jinja_current(p);
    return t->kind == JINJA_T_VARIABLE_END || t->kind == JINJA_T_BLOCK_END ||
           t->kind == JINJA_T_RPAREN ||
           (rules->end_name != NULL && jinja_is_name(t, rules->end_name));
}

struct jinja_node *jinja_parse_tuple(struct jinja_parser *p, struct jinja_tuple_rules rules)
{
    size_t at = jinja_current(p)->at;
    struct jinja_node *tuple = jinja_node_create(p, JINJA_N_TUPLE, at);
    bool is_tuple = false;
    while (tuple != NULL) {
        if (tuple->n_items > 0 && !jinja_expect(p, JINJA_T_COMMA, ",")) {
            return NULL;
        }
        if (ends_tuple(p, &rules)) {
            break;
        }
        struct jinja_node *item = rules.simplified ? jinja_parse_primary(p, rules.with_namespace)
                                                   : jinja_parse_expression(p, !rules.no_cond);
        if (!jinja_node_push(p, tuple, item)) {
            return NULL;
        }
        if (jinja_current(p)->kind != JINJA_T_COMMA) {
            break;
        }
        is_tuple = true;
    }
    if (tuple == NULL || is_tuple) {
        return tuple;
    }
    if (tuple->n_items > 0) {
        return tuple->items[0];
    }
    if (!rules.parentheses) {
        jinja_parse_fail(p, ERROR_FORMAT, jinja_current(p)->at,
                         "expected an expression, got '%.*s'",
                         STR_ARG(jinja_token_shown(jinja_current(p))));
        return NULL;
    }
    return tuple;
}

/* --- what follows a value: attributes, items, calls, filters, tests */

static bool push_named(struct jinja_parser *p, struct jinja_call_args *args)
{
    const struct str *name = jinja_intern(p, jinja_current(p)->text);
    size_t at = jinja_current(p)->at;
    jinja_advance(p);
    jinja_advance(p);
    struct jinja_node *value = jinja_parse_expression(p, true);
    if (name == NULL || value == NULL) {
        return false;
    }
    for (size_t i = 0; i < args->n_named; i++) {
        if (args->names[i] == name) {
            return jinja_parse_fail(p, ERROR_FORMAT, at, "keyword argument '%.*s' given twice",
                                    STR_ARG(*name));
        }
    }
    struct jinja_arena *a = &p->t->arena;
    if (!jinja_arena_grow(a, &args->names, &args->names_capacity, args->n_named + 1, sizeof(void *),
                          p->e) ||
        !jinja_arena_grow(a, &args->named, &args->named_capacity, args->n_named + 1, sizeof(void *),
                          p->e)) {
        return false;
    }
    args->names[args->n_named] = name;
    args->named[args->n_named++] = value;
    return true;
}

/* One argument; jinja2 wants them in the order: plain, named, *more, **more_named, with the one
 * exception that named ones may follow *more. */
static bool parse_argument(struct jinja_parser *p, struct jinja_call_args *args)
{
    const struct jinja_token *token = jinja_current(p);
    bool ok = args->more_named == NULL;
    if (token->kind == JINJA_T_MUL && ok && args->more == NULL) {
        jinja_advance(p);
        args->more = jinja_parse_expression(p, true);
        return args->more != NULL;
    }
    if (token->kind == JINJA_T_POW && ok) {
        jinja_advance(p);
        args->more_named = jinja_parse_expression(p, true);
        return args->more_named != NULL;
    }
    bool is_named = token->kind == JINJA_T_NAME && jinja_look(p)->kind == JINJA_T_ASSIGN;
    if (is_named && ok) {
        return push_named(p, args);
    }
    if (!ok || is_named || token->kind == JINJA_T_MUL || args->more != NULL || args->n_named > 0) {
        return jinja_parse_fail(p, ERROR_FORMAT, token->at,
                                "invalid syntax for function call expression");
    }
    struct jinja_node *value = jinja_parse_expression(p, true);
    if (value == NULL || !jinja_arena_grow(&p->t->arena, &args->items, &args->capacity, args->n + 1,
                                           sizeof value, p->e)) {
        return false;
    }
    args->items[args->n++] = value;
    return true;
}

static struct jinja_call_args *parse_args(struct jinja_parser *p)
{
    struct jinja_call_args *args = jinja_arena_alloc(&p->t->arena, 1, sizeof *args, p->e);
    bool ok = args != NULL && jinja_expect(p, JINJA_T_LPAREN, "(");
    for (bool first = true; ok && jinja_current(p)->kind != JINJA_T_RPAREN; first = false) {
        if (!first) {
            ok = jinja_expect(p, JINJA_T_COMMA, ",");
            if (ok && jinja_current(p)->kind == JINJA_T_RPAREN) {
                break;
            }
        }
        ok = ok && parse_argument(p, args);
    }
    if (!ok) {
        return NULL;
    }
    jinja_advance(p);
    return args;
}

static struct jinja_node *parse_call(struct jinja_parser *p, struct jinja_node *callee)
{
    struct jinja_node *node = jinja_node_create(p, JINJA_N_CALL, jinja_current(p)->at);
    if (node == NULL || (node->args = parse_args(p)) == NULL) {
        return NULL;
    }
    node->a = callee;
    return node;
}

/* start:stop:step between brackets, or an expression. The node that comes back is a slice without
 * its object, or the expression. */
static struct jinja_node *parse_subscribed(struct jinja_parser *p)
{
    struct jinja_node *first = NULL;
    size_t at = jinja_current(p)->at;
    if (jinja_current(p)->kind != JINJA_T_COLON) {
        first = jinja_parse_expression(p, true);
        if (first == NULL || jinja_current(p)->kind != JINJA_T_COLON) {
            return first;
        }
    }
    struct jinja_node *slice = jinja_node_create(p, JINJA_N_SLICE, at);
    if (slice == NULL) {
        return NULL;
    }
    slice->b = first;
    struct jinja_node **parts[] = {&slice->c, &slice->d};
    for (size_t i = 0; i < 2 && jinja_skip_if(p, JINJA_T_COLON); i++) {
        enum jinja_token_kind kind = jinja_current(p)->kind;
        if (kind != JINJA_T_COLON && kind != JINJA_T_RBRACKET && kind != JINJA_T_COMMA &&
            (*parts[i] = jinja_parse_expression(p, true)) == NULL) {
            return NULL;
        }
    }
    return slice;
}

static struct jinja_node *parse_brackets(struct jinja_parser *p, struct jinja_node *object,
                                         size_t at)
{
    struct jinja_node *items = jinja_node_create(p, JINJA_N_TUPLE, at);
    while (items != NULL && jinja_current(p)->kind != JINJA_T_RBRACKET) {
        if ((items->n_items > 0 && !jinja_expect(p, JINJA_T_COMMA, ",")) ||
            !jinja_node_push(p, items, parse_subscribed(p))) {
            return NULL;
        }
    }
    if (items == NULL) {
        return NULL;
    }
    jinja_advance(p);
    struct jinja_node *only = items->n_items == 1 ? items->items[0] : NULL;
    if (only != NULL && only->kind == JINJA_N_SLICE && only->a == NULL) {
        only->a = object;
        return only;
    }
    for (size_t i = 0; i < items->n_items; i++) {
        if (items->items[i]->kind == JINJA_N_SLICE && items->items[i]->a == NULL) {
            jinja_parse_fail(p, ERROR_UNSUPPORTED, at, "a slice beside other subscripts");
            return NULL;
        }
    }
    return join(p, JINJA_N_GETITEM, at, object, only != NULL ? only : items);
}

static struct jinja_node *parse_subscript(struct jinja_parser *p, struct jinja_node *object)
{
    const struct jinja_token *token = jinja_current(p);
    jinja_advance(p);
    if (token->kind == JINJA_T_LBRACKET) {
        return parse_brackets(p, object, token->at);
    }
    const struct jinja_token *attribute = jinja_current(p);
    if (attribute->kind == JINJA_T_INTEGER) {
        jinja_advance(p);
        return join(p, JINJA_N_GETITEM, token->at, object,
                    const_node(p, attribute->at, jinja_int(attribute->integer, JINJA_TEMPLATE)));
    }
    const struct str *name = jinja_expect_name(p);
    struct jinja_node *node =
        name != NULL ? jinja_node_create(p, JINJA_N_GETATTR, token->at) : NULL;
    if (node == NULL || !string_value(p, *name, &node->value)) {
        return NULL;
    }
    node->name = name;
    node->a = object;
    return node;
}

static struct jinja_node *parse_postfix(struct jinja_parser *p, struct jinja_node *node)
{
    while (node != NULL) {
        enum jinja_token_kind kind = jinja_current(p)->kind;
        if (kind == JINJA_T_DOT || kind == JINJA_T_LBRACKET) {
            node = parse_subscript(p, node);
        } else if (kind == JINJA_T_LPAREN) {
            node = parse_call(p, node);
        } else {
            break;
        }
    }
    return node;
}

/* The name of a filter or test, which may have dots (and then is unknown). */
static const struct str *parse_callee_name(struct jinja_parser *p)
{
    const struct str *name = jinja_expect_name(p);
    while (name != NULL && jinja_current(p)->kind == JINJA_T_DOT) {
        jinja_parse_fail(p, ERROR_UNSUPPORTED, jinja_current(p)->at, "a filter or test '%.*s.'",
                         STR_ARG(*name));
        return NULL;
    }
    return name;
}

/* Looks the node's filter or test up. */
static bool find_callee(struct jinja_parser *p, struct jinja_node *node)
{
    bool is_filter = node->kind == JINJA_N_FILTER;
    node->callee = is_filter ? jinja_find_filter(*node->name) : jinja_find_test(*node->name);
    if (node->callee != NULL && node->callee->call == NULL) {
        return jinja_parse_fail(p, ERROR_UNSUPPORTED, node->at, "the %s '%.*s'",
                                is_filter ? "filter" : "test", STR_ARG(*node->name));
    }
    if (node->callee == NULL && !p->is_soft && p->unknown == NULL) {
        p->unknown = node;
    }
    return true;
}

struct jinja_node *jinja_parse_filter(struct jinja_parser *p, struct jinja_node *node,
                                      bool starts_inline)
{
    while (jinja_current(p)->kind == JINJA_T_PIPE || starts_inline) {
        if (!starts_inline) {
            jinja_advance(p);
        }
        starts_inline = false;
        struct jinja_node *filter = jinja_node_create(p, JINJA_N_FILTER, jinja_current(p)->at);
        if (filter == NULL || (filter->name = parse_callee_name(p)) == NULL) {
            return NULL;
        }
        if (jinja_current(p)->kind == JINJA_T_LPAREN && (filter->args = parse_args(p)) == NULL) {
            return NULL;
        }
        filter->a = node;
        if (!find_callee(p, filter)) {
            return NULL;
        }
        node = filter;
    }
    return node;
}

/* A test's argument may stand without parentheses. */
static bool parse_test_args(struct jinja_parser *p, struct jinja_node *test)
{
    const struct jinja_token *t = jinja_current(p);
    if (t->kind == JINJA_T_LPAREN) {
        test->args = parse_args(p);
        return test->args != NULL;
    }
    bool starts_value = t->kind == JINJA_T_NAME || t->kind == JINJA_T_STRING ||
                        t->kind == JINJA_T_INTEGER || t->kind == JINJA_T_FLOAT ||
                        t->kind == JINJA_T_LBRACKET || t->kind == JINJA_T_LBRACE;
    if (!starts_value || jinja_is_name(t, "else") || jinja_is_name(t, "or") ||
        jinja_is_name(t, "and")) {
        return true;
    }
    if (jinja_is_name(t, "is")) {
        return jinja_parse_fail(p, ERROR_FORMAT, t->at, "tests cannot be chained with 'is'");
    }
    struct jinja_node *value = parse_postfix(p, jinja_parse_primary(p, false));
    test->args = jinja_arena_alloc(&p->t->arena, 1, sizeof *test->args, p->e);
    if (value == NULL || test->args == NULL ||
        !jinja_arena_grow(&p->t->arena, &test->args->items, &test->args->capacity, 1, sizeof value,
                          p->e)) {
        return false;
    }
    test->args->items[test->args->n++] = value;
    return true;
}

static struct jinja_node *parse_test(struct jinja_parser *p, struct jinja_node *value)
{
    size_t at = jinja_current(p)->at;
    jinja_advance(p);
    bool is_negated = jinja_skip_name(p, "not");
    struct jinja_node *test = jinja_node_create(p, JINJA_N_TEST, at);
    if (test == NULL || (test->name = parse_callee_name(p)) == NULL || !parse_test_args(p, test) ||
        !find_callee(p, test)) {
        return NULL;
    }
    test->a = value;
    if (!is_negated) {
        return test;
    }
    struct jinja_node *negation = jinja_node_create(p, JINJA_N_NOT, at);
    if (negation != NULL) {
        negation->a = test;
    }
    return negation;
}

static struct jinja_node *parse_filter_expr(struct jinja_parser *p, struct jinja_node *node)
{
    while (node != NULL) {
        const struct jinja_token *t = jinja_current(p);
        if (t->kind == JINJA_T_PIPE) {
            node = jinja_parse_filter(p, node, false);
        } else if (jinja_is_name(t, "is")) {
            node = parse_test(p, node);
        } else if (t->kind == JINJA_T_LPAREN) {
            node = parse_call(p, node);
        } else {
            break;
        }
    }
    return node;
}

/* --- operators, the tightest first */

static struct jinja_node *parse_unary(struct jinja_parser *p, bool with_filter)
{
    const struct jinja_token *t = jinja_current(p);
    struct jinja_node *node = NULL;
    if (!jinja_enter(p)) {
        return NULL;
    }
    if (t->kind == JINJA_T_SUB || t->kind == JINJA_T_ADD) {
        jinja_advance(p);
        struct jinja_node *operand = parse_unary(p, false);
        if (operand != NULL) {
            node = jinja_node_create(p, t->kind == JINJA_T_SUB ? JINJA_N_NEG : JINJA_N_POS, t->at);
        }
        if (node != NULL) {
            node->a = operand;
        }
    } else {
        node = jinja_parse_primary(p, false);
    }
    node = parse_postfix(p, node);
    p->depth--;
    return with_filter ? parse_filter_expr(p, node) : node;
}

static struct jinja_node *parse_pow_operand(struct jinja_parser *p)
{
    return parse_unary(p, true);
}

static const struct {
    enum jinja_token_kind token;
    enum jinja_operator op;
} binary_operators[] = {{JINJA_T_POW, JINJA_OP_POW}, {JINJA_T_MUL, JINJA_OP_MUL},
                        {JINJA_T_DIV, JINJA_OP_DIV}, {JINJA_T_FLOORDIV, JINJA_OP_FLOORDIV},
                        {JINJA_T_MOD, JINJA_OP_MOD}, {JINJA_T_ADD, JINJA_OP_ADD},
                        {JINJA_T_SUB, JINJA_OP_SUB}};

/* operand (op operand)*, from the left; the operators are binary_operators[first, last]. */
static struct jinja_node *parse_binary(struct jinja_parser *p, parse_fn *operand, size_t first,
                                       size_t last)
{
    struct jinja_node *left = operand(p);
    while (left != NULL) {
        const struct jinja_token *t = jinja_current(p);
        size_t i = first;
        while (i <= last && binary_operators[i].token != t->kind) {
            i++;
        }
        if (i > last) {
            break;
        }
        jinja_advance(p);
        left = join(p, JINJA_N_BINARY, t->at, left, operand(p));
        if (left != NULL) {
            left->op = binary_operators[i].op;
        }
    }
    return left;
}

static struct jinja_node *parse_pow(struct jinja_parser *p)
{
    return parse_binary(p, parse_pow_operand, 0, 0);
}

static struct jinja_node *parse_product(struct jinja_parser *p)
{
    return parse_binary(p, parse_pow, 1, 4);
}

static struct jinja_node *parse_concat(struct jinja_parser *p)
{
    struct jinja_node *first = parse_product(p);
    if (first == NULL || jinja_current(p)->kind != JINJA_T_TILDE) {
        return first;
    }
    struct jinja_node *node = jinja_node_create(p, JINJA_N_CONCAT, jinja_current(p)->at);
    bool ok = node != NULL && jinja_node_push(p, node, first);
    while (ok && jinja_skip_if(p, JINJA_T_TILDE)) {
        ok = jinja_node_push(p, node, parse_product(p));
    }
    return ok ? node : NULL;
}

static struct jinja_node *parse_sum(struct jinja_parser *p)
{
    return parse_binary(p, parse_concat, 5, 6);
}

static bool compare_operator(struct jinja_parser *p, enum jinja_operator *out)
{
    static const struct {
        enum jinja_token_kind token;
        enum jinja_operator op;
    } table[] = {{JINJA_T_EQ, JINJA_OP_EQ}, {JINJA_T_NE, JINJA_OP_NE}, {JINJA_T_LT, JINJA_OP_LT},
                 {JINJA_T_LE, JINJA_OP_LE}, {JINJA_T_GT, JINJA_OP_GT}, {JINJA_T_GE, JINJA_OP_GE}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (jinja_skip_if(p, table[i].token)) {
            *out = table[i].op;
            return true;
        }
    }
    if (jinja_skip_name(p, "in")) {
        *out = JINJA_OP_IN;
        return true;
    }
    if (jinja_is_name(jinja_current(p), "not") && jinja_is_name(jinja_look(p), "in")) {
        jinja_advance(p);
        jinja_advance(p);
        *out = JINJA_OP_NOT_IN;
        return true;
    }
    return false;
}

static struct jinja_node *parse_compare(struct jinja_parser *p)
{
    struct jinja_node *first = parse_sum(p), *node = NULL;
    enum jinja_operator op;
    for (size_t at; first != NULL && (at = jinja_current(p)->at, compare_operator(p, &op));) {
        if (node == NULL) {
            node = jinja_node_create(p, JINJA_N_COMPARE, at);
        }
        struct jinja_node *operand = jinja_node_create(p, JINJA_N_OPERAND, at);
        if (node == NULL || operand == NULL || (operand->a = parse_sum(p)) == NULL) {
            return NULL;
        }
        operand->op = op;
        node->a = first;
        if (!jinja_node_push(p, node, operand)) {
            return NULL;
        }
    }
    return node != NULL ? node : first;
}

static struct jinja_node *parse_not(struct jinja_parser *p)
{
    const struct jinja_token *t = jinja_current(p);
    if (!jinja_is_name(t, "not")) {
        return parse_compare(p);
    }
    if (!jinja_enter(p)) {
        return NULL;
    }
    jinja_advance(p);
    struct jinja_node *operand = parse_not(p);
    struct jinja_node *node = operand != NULL ? jinja_node_create(p, JINJA_N_NOT, t->at) : NULL;
    if (node != NULL) {
        node->a = operand;
    }
    p->depth--;
    return node;
}

static struct jinja_node *parse_and(struct jinja_parser *p)
{
    struct jinja_node *left = parse_not(p);
    for (size_t at; left != NULL && (at = jinja_current(p)->at, jinja_skip_name(p, "and"));) {
        left = join(p, JINJA_N_AND, at, left, parse_not(p));
    }
    return left;
}

static struct jinja_node *parse_or(struct jinja_parser *p)
{
    struct jinja_node *left = parse_and(p);
    for (size_t at; left != NULL && (at = jinja_current(p)->at, jinja_skip_name(p, "or"));) {
        left = join(p, JINJA_N_OR, at, left, parse_and(p));
    }
    return left;
}

/* Filters and tests within an inline if may be unknown; jinja2 says so when they are met. */
static struct jinja_node *parse_cond(struct jinja_parser *p)
{
    bool was_soft = p->is_soft;
    struct jinja_node *unknown = p->unknown;
    struct jinja_node *node = parse_or(p);
    for (size_t at; node != NULL && (at = jinja_current(p)->at, jinja_skip_name(p, "if"));) {
        p->unknown = unknown;
        p->is_soft = true;
        node = join(p, JINJA_N_COND, at, node, parse_or(p));
        if (node != NULL && jinja_skip_name(p, "else") &&
            (node->c = jinja_parse_expression(p, true)) == NULL) {
            node = NULL;
        }
    }
    p->is_soft = was_soft;
    return node;
}

struct jinja_node *jinja_parse_expression(struct jinja_parser *p, bool with_cond)
{
    if (!jinja_enter(p)) {
        return NULL;
    }
    struct jinja_node *node = with_cond ? parse_cond(p) : parse_or(p);
    p->depth--;
    return node;
}
