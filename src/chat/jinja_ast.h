/* jinja_ast.h - a parsed template: a tree of nodes of one type, whose fields each kind names. */
#ifndef CHAT_JINJA_AST_H
#define CHAT_JINJA_AST_H

#include "chat/jinja_lex.h"

enum jinja_node_kind {
    /* expressions */
    JINJA_N_CONST, /* value */
    JINJA_N_NAME,  /* name */
    JINJA_N_LIST,  /* items */
    JINJA_N_TUPLE, /* items */
    JINJA_N_DICT,  /* items: key, value, key, value, ... */
    JINJA_N_NOT,   /* a */
    JINJA_N_NEG,
    JINJA_N_POS,
    JINJA_N_AND, /* a, b */
    JINJA_N_OR,
    JINJA_N_BINARY,  /* a op b */
    JINJA_N_CONCAT,  /* items */
    JINJA_N_COMPARE, /* a, items: JINJA_N_OPERAND */
    JINJA_N_OPERAND, /* op a */
    JINJA_N_COND,    /* a if b else c; c may be NULL */
    JINJA_N_GETATTR, /* a . value */
    JINJA_N_GETITEM, /* a [ b ] */
    JINJA_N_SLICE,   /* a [ b : c : d ], each of these may be NULL */
    JINJA_N_CALL,    /* a ( args ) */
    JINJA_N_FILTER,  /* a | name ( args ); a is NULL in blocks that give their text */
    JINJA_N_TEST,    /* a is name ( args ) */
    JINJA_N_NSREF,   /* name . value, as the target of a set */
    /* statements */
    JINJA_N_BLOCK,        /* items: statements */
    JINJA_N_DATA,         /* value: a string */
    JINJA_N_OUTPUT,       /* a */
    JINJA_N_IF,           /* items: condition, block, condition, block, ...; a: else, may be NULL */
    JINJA_N_FOR,          /* for a in b if c: d; items[0]: else. c may be NULL */
    JINJA_N_SET,          /* a = b */
    JINJA_N_SET_BLOCK,    /* a = text of b through filter c, may be NULL */
    JINJA_N_WITH,         /* items: target, value, ...; a: block */
    JINJA_N_MACRO,        /* macro */
    JINJA_N_CALL_BLOCK,   /* a: JINJA_N_CALL, macro: the caller */
    JINJA_N_FILTER_BLOCK, /* a: filter, b: block */
    JINJA_N_SCOPE,        /* a: block with variables of its own (generation) */
    JINJA_N_BREAK,
    JINJA_N_CONTINUE
};

enum jinja_operator {
    JINJA_OP_ADD,
    JINJA_OP_SUB,
    JINJA_OP_MUL,
    JINJA_OP_DIV,
    JINJA_OP_FLOORDIV,
    JINJA_OP_MOD,
    JINJA_OP_POW,
    JINJA_OP_EQ,
    JINJA_OP_NE,
    JINJA_OP_LT,
    JINJA_OP_LE,
    JINJA_OP_GT,
    JINJA_OP_GE,
    JINJA_OP_IN,
    JINJA_OP_NOT_IN
};

struct jinja_node;

/* What stands between the parentheses of a call, filter or test. */
struct jinja_call_args {
    struct jinja_node **items; /* (n) */
    size_t n, capacity;
    const struct str **names; /* (n_named) */
    struct jinja_node **named;
    size_t n_named, names_capacity, named_capacity;
    struct jinja_node *more;       /* *more, NULL when there is none */
    struct jinja_node *more_named; /* **more_named */
};

struct jinja_macro_node {
    const struct str *name;       /* NULL for a caller */
    const struct str **params;    /* (n_params) */
    struct jinja_node **defaults; /* (n_params), NULL where there is none */
    size_t n_params, params_capacity, defaults_capacity;
    bool uses_caller, uses_kwargs, uses_varargs;
    struct jinja_node *body;
};

struct jinja_callee; /* of jinja_callee.h */

struct jinja_node {
    enum jinja_node_kind kind;
    enum jinja_operator op;
    uint32_t at;            /* byte of the source */
    const struct str *name; /* interned: equal names are one pointer */
    struct jinja_node *a, *b, *c, *d;
    struct jinja_node **items;
    size_t n_items, items_capacity;
    struct jinja_value value;
    struct jinja_call_args *args;
    struct jinja_macro_node *macro;
    const struct jinja_callee *callee; /* NULL: unknown to jinja2, too; an error when it is met */
};

struct jinja_template {
    struct jinja_arena arena;
    struct jinja_source source;
    struct jinja_node *root;
    const struct str *loop_name, *caller_name, *kwargs_name, *varargs_name;
};

/* The parser's state, shared by jinja_parse.c (statements) and jinja_parse_expr.c. */
struct jinja_parser {
    struct jinja_template *t;
    struct jinja_tokens tokens;
    size_t at; /* token */
    struct error *e;
    const struct str **names; /* (JINJA_NAME_SLOTS): interned, each at its hash or after it */
    size_t n_names;
    size_t depth;               /* of what is being parsed */
    size_t n_loops;             /* loops round the place, within the same macro */
    size_t n_fors;              /* for statements round the place at all */
    bool is_soft;               /* an unknown filter or test here is an error only when it is met */
    struct jinja_node *unknown; /* the first one where it is an error at once */
    unsigned special;           /* JINJA_SPECIAL_*: names that the macro's body reads */
    unsigned special_stored;
};

enum { JINJA_SPECIAL_CALLER = 1, JINJA_SPECIAL_KWARGS = 2, JINJA_SPECIAL_VARARGS = 4 };
enum { JINJA_MAX_PARSE_DEPTH = 100, JINJA_MAX_NAMES = 5000, JINJA_NAME_SLOTS = 16384 };

static inline const struct jinja_token *jinja_current(const struct jinja_parser *p)
{
    return &p->tokens.items[p->at];
}

static inline const struct jinja_token *jinja_look(const struct jinja_parser *p)
{
    return &p->tokens.items[p->at + 1 < p->tokens.n ? p->at + 1 : p->at];
}

/* --- tools of both; they return false or NULL with the error set */

bool jinja_parse_fail(struct jinja_parser *p, enum error_code code, size_t at, const char *format,
                      ...) __attribute__((format(printf, 4, 5)));
struct jinja_node *jinja_node_create(struct jinja_parser *p, enum jinja_node_kind kind, size_t at);
bool jinja_node_push(struct jinja_parser *p, struct jinja_node *node, struct jinja_node *item);
const struct str *jinja_intern(struct jinja_parser *p, struct str name);
void jinja_advance(struct jinja_parser *p);
bool jinja_is_name(const struct jinja_token *t, const char *name);
bool jinja_skip_if(struct jinja_parser *p, enum jinja_token_kind kind);
bool jinja_skip_name(struct jinja_parser *p, const char *name);
bool jinja_expect(struct jinja_parser *p, enum jinja_token_kind kind, const char *what);
/* The name that comes next; NULL when something else does. */
const struct str *jinja_expect_name(struct jinja_parser *p);
/* One more level, to be left with p->depth--; false beyond the deepest. */
bool jinja_enter(struct jinja_parser *p);

/* --- expressions */

struct jinja_tuple_rules {
    bool simplified;      /* names and literals alone */
    bool no_cond;         /* no inline if */
    bool parentheses;     /* they stand round it: it may be empty */
    bool with_namespace;  /* a.b means the attribute of a namespace */
    const char *end_name; /* a name that ends it, or NULL */
};

struct jinja_node *jinja_parse_expression(struct jinja_parser *p, bool with_cond);
struct jinja_node *jinja_parse_tuple(struct jinja_parser *p, struct jinja_tuple_rules rules);
struct jinja_node *jinja_parse_primary(struct jinja_parser *p, bool with_namespace);
/* "| name(args)" as often as it comes; node may be NULL. starts_inline: the first has no "|". */
struct jinja_node *jinja_parse_filter(struct jinja_parser *p, struct jinja_node *node,
                                      bool starts_inline);

#endif
