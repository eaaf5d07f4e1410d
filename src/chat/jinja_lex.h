/* jinja_lex.h - the text of a template cut into tokens, as jinja2 does with trim_blocks and
 * lstrip_blocks on: the rules for white space are all here. */
#ifndef CHAT_JINJA_LEX_H
#define CHAT_JINJA_LEX_H

#include "chat/jinja_value.h"

enum jinja_token_kind {
    JINJA_T_EOF,
    JINJA_T_DATA,
    JINJA_T_VARIABLE_BEGIN,
    JINJA_T_VARIABLE_END,
    JINJA_T_BLOCK_BEGIN,
    JINJA_T_BLOCK_END,
    JINJA_T_NAME,
    JINJA_T_STRING,
    JINJA_T_INTEGER,
    JINJA_T_FLOAT,
    JINJA_T_ADD,
    JINJA_T_SUB,
    JINJA_T_MUL,
    JINJA_T_DIV,
    JINJA_T_FLOORDIV,
    JINJA_T_MOD,
    JINJA_T_POW,
    JINJA_T_TILDE,
    JINJA_T_LPAREN,
    JINJA_T_RPAREN,
    JINJA_T_LBRACKET,
    JINJA_T_RBRACKET,
    JINJA_T_LBRACE,
    JINJA_T_RBRACE,
    JINJA_T_EQ,
    JINJA_T_NE,
    JINJA_T_GT,
    JINJA_T_GE,
    JINJA_T_LT,
    JINJA_T_LE,
    JINJA_T_ASSIGN,
    JINJA_T_DOT,
    JINJA_T_COLON,
    JINJA_T_PIPE,
    JINJA_T_COMMA,
    JINJA_T_SEMICOLON
};

struct jinja_token {
    enum jinja_token_kind kind;
    uint32_t at;     /* byte of the source at which it starts */
    struct str text; /* of data, a name, an operator; a string's value with its escapes resolved */
    int64_t integer;
    double real;
};

/* The text as the lexer reads it: line ends are '\n', one at the end is dropped. */
struct jinja_source {
    struct str text;
};

struct jinja_tokens {
    struct jinja_token *items; /* (n), the last is JINJA_T_EOF */
    size_t n, capacity;
};

enum { JINJA_MAX_SOURCE_BYTES = 4 << 20 };

/* Everything lies in the arena. ERROR_FORMAT, ERROR_UNSUPPORTED, ERROR_MEMORY. */
bool jinja_lex(struct jinja_arena *a, struct str text, struct jinja_source *source,
               struct jinja_tokens *out, struct error *e);

/* error_set with "line L, column C: " of a byte of the source before the text. Returns false. */
bool jinja_error_at(struct error *e, enum error_code code, const struct jinja_source *source,
                    size_t at, const char *format, ...) __attribute__((format(printf, 5, 6)));
bool jinja_verror_at(struct error *e, enum error_code code, const struct jinja_source *source,
                     size_t at, const char *format, va_list args)
    __attribute__((format(printf, 5, 0)));

/* What error texts call a token. */
struct str jinja_token_shown(const struct jinja_token *t);

#endif
