/* jinja_lex.c - tokens of a template. The order in which alternatives are tried is jinja2's, whose
 * lexer is a list of regular expressions. */
#include "chat/jinja_lex.h"

#include "chat/jinja_unicode.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_NESTING = 256 };

struct lexer {
    struct jinja_arena *arena;
    const struct jinja_source *source;
    struct str s; /* the source's text */
    size_t at;
    struct jinja_tokens *out;
    struct error *e;
    char closing[MAX_NESTING]; /* of the brackets that are open */
    size_t n_closing;
    bool line_starts; /* what was read last ended with '\n', or nothing was read */
};

bool jinja_verror_at(struct error *e, enum error_code code, const struct jinja_source *source,
                     size_t at, const char *format, va_list args)
{
    char text[ERROR_TEXT_BYTES];
    vsnprintf(text, sizeof text, format, args);
    size_t line = 1, start = 0;
    for (size_t i = 0; i < at && i < source->text.n; i++) {
        if (source->text.p[i] == '\n') {
            line++;
            start = i + 1;
        }
    }
    size_t column = 1 + jinja_count_chars((struct str){source->text.p + start, at - start});
    return error_set(e, code, "line %zu, column %zu: %s", line, column, text);
}

bool jinja_error_at(struct error *e, enum error_code code, const struct jinja_source *source,
                    size_t at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    jinja_verror_at(e, code, source, at, format, args);
    va_end(args);
    return false;
}

static bool fail(struct lexer *l, size_t at, const char *what)
{
    return jinja_error_at(l->e, ERROR_FORMAT, l->source, at, "%s", what);
}

struct str jinja_token_shown(const struct jinja_token *t)
{
    switch (t->kind) {
    case JINJA_T_EOF:
        return STR("end of template");
    case JINJA_T_VARIABLE_END:
        return STR("}}");
    case JINJA_T_BLOCK_END:
        return STR("%}");
    default:
        return str_shown(t->text);
    }
}

/* --- tools */

static bool has(const struct lexer *l, size_t at, const char *text)
{
    size_t n = strlen(text);
    return l->s.n - at >= n && memcmp(l->s.p + at, text, n) == 0;
}

static bool push(struct lexer *l, struct jinja_token token)
{
    struct jinja_tokens *out = l->out;
    if (!jinja_arena_grow(l->arena, &out->items, &out->capacity, out->n + 1, sizeof token, l->e)) {
        return false;
    }
    out->items[out->n++] = token;
    return true;
}

static bool push_text(struct lexer *l, enum jinja_token_kind kind, size_t at, size_t end)
{
    return push(
        l, (struct jinja_token){.kind = kind, .at = (uint32_t)at, .text = {l->s.p + at, end - at}});
}

/* Goes on at byte `end`. */
static void move(struct lexer *l, size_t end)
{
    l->line_starts = end > 0 && l->s.p[end - 1] == '\n';
    l->at = end;
}

static char sign_at(const struct lexer *l, size_t at)
{
    return at < l->s.n && (l->s.p[at] == '-' || l->s.p[at] == '+') ? l->s.p[at] : 0;
}

/* Text before a tag whose opening carries `sign`: the white space that the tag takes away. */
static bool push_data(struct lexer *l, size_t end, char sign, bool is_variable)
{
    struct str text = {l->s.p + l->at, end - l->at};
    if (sign == '-') {
        text = jinja_strip_end(text);
    } else if (sign != '+' && !is_variable) {
        const char *newline = text.n > 0 ? memrchr(text.p, '\n', text.n) : NULL;
        size_t start = newline != NULL ? (size_t)(newline - text.p) + 1 : 0;
        if ((start > 0 || l->line_starts) && jinja_skip_space(text, start) == text.n) {
            text.n = start;
        }
    }
    return text.n == 0 || push_text(l, JINJA_T_DATA, l->at, l->at + text.n);
}

/* Where a tag's end at `at` (which may start with a sign) leads to, 0 when none is there. A block's
 * and a comment's take the line end after them, too. */
static size_t tag_end(const struct lexer *l, size_t at, const char *closing, bool takes_newline)
{
    char sign = sign_at(l, at);
    if (sign == '+' && !takes_newline) {
        sign = 0;
    }
    size_t from = at + (sign != 0);
    if (from > l->s.n || !has(l, from, closing)) {
        return 0;
    }
    from += 2;
    if (sign == '-') {
        return jinja_skip_space(l->s, from);
    }
    return from + (sign == 0 && takes_newline && has(l, from, "\n"));
}

/* --- comments and raw blocks */

static bool lex_comment(struct lexer *l)
{
    for (size_t i = l->at; i + 1 < l->s.n; i++) {
        size_t end = tag_end(l, i, "#}", true);
        if (end > 0) {
            move(l, end);
            return true;
        }
    }
    bool at_end = l->at == l->s.n; /* jinja2 lets "{#" at the very end pass */
    return at_end || fail(l, l->at, "missing end of comment tag");
}

/* "{%" at `at`, white space, a word, white space; returns where that ends, 0 when it is not
 * there. */
static size_t after_word(const struct lexer *l, size_t at, const char *word)
{
    size_t from = at + 2 + (sign_at(l, at + 2) != 0);
    from = jinja_skip_space(l->s, from);
    return has(l, from, word) ? jinja_skip_space(l->s, from + strlen(word)) : 0;
}

/* The byte after the opening tag of a raw block at `at`, 0 when it is another tag. */
static size_t raw_begin(const struct lexer *l, size_t at)
{
    size_t from = after_word(l, at, "raw");
    if (from == 0) {
        return 0;
    }
    if (has(l, from, "-%}")) {
        return jinja_skip_space(l->s, from + 3);
    }
    return has(l, from, "%}") ? from + 2 : 0;
}

static bool lex_raw(struct lexer *l)
{
    for (size_t i = l->at; i + 1 < l->s.n; i++) {
        size_t from = has(l, i, "{%") ? after_word(l, i, "endraw") : 0;
        size_t end = from > 0 ? tag_end(l, from, "%}", true) : 0;
        if (end > 0) {
            if (!push_data(l, i, sign_at(l, i + 2), false)) {
                return false;
            }
            move(l, end);
            return true;
        }
    }
    return l->at == l->s.n || fail(l, l->at, "missing end of raw directive");
}

/* --- numbers */

static bool is_digit(const struct lexer *l, size_t at)
{
    return at < l->s.n && l->s.p[at] >= '0' && l->s.p[at] <= '9';
}

/* Digits with single underscores between them; 0 when there is none. */
static size_t digits_end(const struct lexer *l, size_t at)
{
    if (!is_digit(l, at)) {
        return 0;
    }
    while (is_digit(l, at) || (at < l->s.n && l->s.p[at] == '_' && is_digit(l, at + 1))) {
        at++;
    }
    return at;
}

/* The end of a float at `at`, 0 when none is there. */
static size_t float_end(const struct lexer *l, size_t at)
{
    size_t whole = at > 0 && l->s.p[at - 1] == '.' ? 0 : digits_end(l, at);
    if (whole == 0) {
        return 0;
    }
    size_t fraction = has(l, whole, ".") ? digits_end(l, whole + 1) : 0;
    size_t end = fraction > 0 ? fraction : whole;
    if (has(l, end, "e") || has(l, end, "E")) {
        size_t power = digits_end(l, end + 1 + (sign_at(l, end + 1) != 0));
        end = power > 0 ? power : end;
    }
    return end > whole ? end : 0;
}

static bool is_digit_of(int base, char c)
{
    int digit = str_hex_digit(c);
    return digit >= 0 && digit < base;
}

/* Digits of a base with single underscores before them, from `at` on. */
static size_t based_end(const struct lexer *l, size_t at, int base)
{
    for (;;) {
        size_t digit = at + has(l, at, "_");
        if (digit >= l->s.n || !is_digit_of(base, l->s.p[digit])) {
            return at;
        }
        at = digit + 1;
    }
}

static size_t integer_end(const struct lexer *l, size_t at, int *base)
{
    *base = 10;
    if (!has(l, at, "0")) {
        return digits_end(l, at);
    }
    char c = at + 1 < l->s.n ? (char)(l->s.p[at + 1] | 0x20) : 0;
    int other = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
    size_t end = other > 0 ? based_end(l, at + 2, other) : at + 2;
    if (end > at + 2) {
        *base = other;
        return end;
    }
    for (end = at + 1; has(l, end, "0") || has(l, end, "_0"); end += 1 + has(l, end, "_")) {
    }
    return end;
}

static bool lex_integer(struct lexer *l, size_t end, int base)
{
    int64_t value = 0;
    for (size_t i = l->at + (base == 10 ? 0 : 2); i < end; i++) {
        if (l->s.p[i] != '_' && (__builtin_mul_overflow(value, base, &value) ||
                                 __builtin_add_overflow(value, str_hex_digit(l->s.p[i]), &value))) {
            return jinja_error_at(l->e, ERROR_UNSUPPORTED, l->source, l->at,
                                  "an integer of more than 64 bits");
        }
    }
    struct jinja_token token = {.kind = JINJA_T_INTEGER,
                                .at = (uint32_t)l->at,
                                .text = {l->s.p + l->at, end - l->at},
                                .integer = value};
    move(l, end);
    return push(l, token);
}

static bool lex_float(struct lexer *l, size_t end)
{
    char digits[512];
    size_t n = 0;
    for (size_t i = l->at; i < end && n < sizeof digits - 1; i++) {
        if (l->s.p[i] != '_') {
            digits[n++] = l->s.p[i];
        }
    }
    digits[n] = '\0';
    if (n == sizeof digits - 1) {
        return fail(l, l->at, "a number of more than 510 digits");
    }
    struct jinja_token token = {.kind = JINJA_T_FLOAT,
                                .at = (uint32_t)l->at,
                                .text = {l->s.p + l->at, end - l->at},
                                .real = strtod(digits, NULL)};
    move(l, end);
    return push(l, token);
}

/* --- strings */

struct unescaper {
    struct lexer *l;
    struct str s; /* between the quotes */
    size_t i;
    char *out; /* as long as s or longer */
    size_t n;
};

static bool put_char(struct unescaper *u, uint32_t c)
{
    if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
        return jinja_error_at(u->l->e, ERROR_UNSUPPORTED, u->l->source, u->l->at,
                              "an escape for U+%04X, which is no character", c);
    }
    u->n += str_encode_utf8(c, u->out + u->n);
    return true;
}

/* \xhh, \uhhhh, \Uhhhhhhhh: exactly so many digits. */
static bool unescape_hex(struct unescaper *u, size_t n_digits)
{
    uint32_t c = 0;
    for (size_t i = 0; i < n_digits; i++, u->i++) {
        int digit = u->i < u->s.n ? str_hex_digit(u->s.p[u->i]) : -1;
        if (digit < 0) {
            return fail(u->l, u->l->at, "a truncated escape in a string");
        }
        c = c << 4 | (uint32_t)digit;
    }
    return put_char(u, c);
}

/* The letter after a backslash and what it stands for; in jinja2 the string went through ASCII
 * with \x, \u and \U for everything else, which shows where a backslash stands before such a
 * character. */
static bool unescape(struct unescaper *u)
{
    static const char letters[] = "\\'\"abfnrtv";
    static const char meaning[] = "\\'\"\a\b\f\n\r\t\v";
    char c = u->s.p[u->i];
    const char *letter = c != '\0' ? strchr(letters, c) : NULL;
    if (letter != NULL) {
        u->i++;
        u->out[u->n++] = meaning[letter - letters];
        return true;
    }
    if (c == '\n') {
        u->i++;
        return true;
    }
    if (c == 'x' || c == 'u' || c == 'U') {
        u->i++;
        return unescape_hex(u, c == 'x' ? 2 : c == 'u' ? 4 : 8);
    }
    if (c == 'N') {
        return jinja_error_at(u->l->e, ERROR_UNSUPPORTED, u->l->source, u->l->at,
                              "\\N{...} in a string");
    }
    if (c >= '0' && c <= '7') {
        uint32_t value = 0;
        for (size_t n = 0; n < 3 && u->i < u->s.n && is_digit_of(8, u->s.p[u->i]); n++) {
            value = value * 8 + (uint32_t)str_hex_digit(u->s.p[u->i++]);
        }
        return put_char(u, value);
    }
    u->out[u->n++] = '\\';
    if ((unsigned char)c >= 0x80) {
        size_t n;
        uint32_t code_point = jinja_decode(u->s, u->i, &n);
        u->i += n;
        u->n += (size_t)snprintf(u->out + u->n, 12,
                                 code_point < 0x100     ? "x%02x"
                                 : code_point < 0x10000 ? "u%04x"
                                                        : "U%08x",
                                 code_point);
    }
    return true;
}

static bool lex_string(struct lexer *l)
{
    char quote = l->s.p[l->at];
    size_t end = l->at + 1;
    while (end < l->s.n && l->s.p[end] != quote) {
        end += l->s.p[end] == '\\' ? 2 : 1;
    }
    if (end >= l->s.n) {
        return fail(l, l->at, "a string without its closing quote");
    }
    struct unescaper u = {.l = l, .s = {l->s.p + l->at + 1, end - l->at - 1}};
    /* "\" and one character of two bytes become five bytes: 3 to 5 at most */
    u.out = jinja_arena_alloc(l->arena, 3 * u.s.n + 1, 1, l->e);
    if (u.out == NULL) {
        return false;
    }
    while (u.i < u.s.n) {
        char c = u.s.p[u.i++];
        if (c != '\\' || u.i == u.s.n) {
            u.out[u.n++] = c;
        } else if (!unescape(&u)) {
            return false;
        }
    }
    struct jinja_token token = {
        .kind = JINJA_T_STRING, .at = (uint32_t)l->at, .text = {u.out, u.n}};
    move(l, end + 1);
    return push(l, token);
}

/* --- names and operators */

static bool is_word(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static bool lex_name(struct lexer *l)
{
    size_t end = l->at;
    while (end < l->s.n && is_word(l->s.p[end])) {
        end++;
    }
    if (end < l->s.n && (unsigned char)l->s.p[end] >= 0x80) {
        return jinja_error_at(l->e, ERROR_UNSUPPORTED, l->source, l->at,
                              "a name with a character beyond ASCII");
    }
    size_t at = l->at;
    move(l, end);
    return push_text(l, JINJA_T_NAME, at, end);
}

static const struct {
    char text[3];
    enum jinja_token_kind kind;
} operators[] = {
    {"//", JINJA_T_FLOORDIV}, {"**", JINJA_T_POW},      {"==", JINJA_T_EQ},
    {"!=", JINJA_T_NE},       {">=", JINJA_T_GE},       {"<=", JINJA_T_LE},
    {"+", JINJA_T_ADD},       {"-", JINJA_T_SUB},       {"/", JINJA_T_DIV},
    {"*", JINJA_T_MUL},       {"%", JINJA_T_MOD},       {"~", JINJA_T_TILDE},
    {"[", JINJA_T_LBRACKET},  {"]", JINJA_T_RBRACKET},  {"(", JINJA_T_LPAREN},
    {")", JINJA_T_RPAREN},    {"{", JINJA_T_LBRACE},    {"}", JINJA_T_RBRACE},
    {">", JINJA_T_GT},        {"<", JINJA_T_LT},        {"=", JINJA_T_ASSIGN},
    {".", JINJA_T_DOT},       {":", JINJA_T_COLON},     {"|", JINJA_T_PIPE},
    {",", JINJA_T_COMMA},     {";", JINJA_T_SEMICOLON},
};

static bool balance(struct lexer *l, char c)
{
    if (c == '{' || c == '(' || c == '[') {
        if (l->n_closing == MAX_NESTING) {
            return jinja_error_at(l->e, ERROR_UNSUPPORTED, l->source, l->at,
                                  "brackets nested deeper than %d levels", MAX_NESTING);
        }
        l->closing[l->n_closing++] = c == '{' ? '}' : c == '(' ? ')' : ']';
    } else if (c == '}' || c == ')' || c == ']') {
        if (l->n_closing == 0 || l->closing[--l->n_closing] != c) {
            return jinja_error_at(l->e, ERROR_FORMAT, l->source, l->at, "unexpected '%c'", c);
        }
    }
    return true;
}

static bool lex_operator(struct lexer *l)
{
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (has(l, l->at, operators[i].text)) {
            size_t at = l->at, end = at + strlen(operators[i].text);
            if (!balance(l, l->s.p[at])) {
                return false;
            }
            move(l, end);
            return push_text(l, operators[i].kind, at, end);
        }
    }
    size_t n;
    uint32_t c = jinja_decode(l->s, l->at, &n);
    return jinja_error_at(l->e, ERROR_FORMAT, l->source, l->at,
                          "unexpected character U+%04X '%.*s'", c, (int)n, l->s.p + l->at);
}

/* One token between {{ and }} or {% and %}. */
static bool lex_one(struct lexer *l)
{
    unsigned char c = (unsigned char)l->s.p[l->at];
    size_t end = jinja_skip_space(l->s, l->at);
    if (end > l->at) {
        move(l, end);
        return true;
    }
    end = float_end(l, l->at);
    if (end > 0) {
        return lex_float(l, end);
    }
    if (is_digit(l, l->at)) {
        int base;
        end = integer_end(l, l->at, &base);
        return lex_integer(l, end, base);
    }
    if (c >= 0x80 || is_word((char)c)) {
        return lex_name(l);
    }
    return c == '\'' || c == '"' ? lex_string(l) : lex_operator(l);
}

static bool lex_tag(struct lexer *l, bool is_variable)
{
    l->n_closing = 0;
    while (l->at < l->s.n) {
        size_t end =
            l->n_closing > 0 ? 0 : tag_end(l, l->at, is_variable ? "}}" : "%}", !is_variable);
        if (end > 0) {
            bool ok = push_text(l, is_variable ? JINJA_T_VARIABLE_END : JINJA_T_BLOCK_END, l->at,
                                l->at + 2);
            move(l, end);
            return ok;
        }
        if (!lex_one(l)) {
            return false;
        }
    }
    return true; /* the parser meets the end of the template */
}

/* --- the text round the tags */

static bool lex_root(struct lexer *l)
{
    size_t at = l->at;
    while (at < l->s.n && !has(l, at, "{{") && !has(l, at, "{%") && !has(l, at, "{#")) {
        const char *next = memchr(l->s.p + at + 1, '{', l->s.n - at - 1);
        at = next != NULL ? (size_t)(next - l->s.p) : l->s.n;
    }
    if (at == l->s.n) {
        size_t from = l->at;
        move(l, at);
        return from == at || push_text(l, JINJA_T_DATA, from, at);
    }
    char kind = l->s.p[at + 1], sign = sign_at(l, at + 2);
    if (!push_data(l, at, sign, kind == '{')) {
        return false;
    }
    size_t raw = kind == '%' ? raw_begin(l, at) : 0;
    move(l, raw > 0 ? raw : at + 2 + (sign != 0));
    if (raw > 0) {
        return lex_raw(l);
    }
    if (kind == '#') {
        return lex_comment(l);
    }
    return push_text(l, kind == '{' ? JINJA_T_VARIABLE_BEGIN : JINJA_T_BLOCK_BEGIN, at, at + 2) &&
           lex_tag(l, kind == '{');
}

/* "\r\n" and "\r" become "\n", and the last line end goes. */
static bool normalize(struct jinja_arena *a, struct str text, struct jinja_source *out,
                      struct error *e)
{
    char *p = jinja_arena_alloc(a, text.n, 1, e);
    if (p == NULL) {
        return false;
    }
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\r') {
            i += i + 1 < text.n && text.p[i + 1] == '\n';
            p[n++] = '\n';
        } else {
            p[n++] = text.p[i];
        }
    }
    n -= n > 0 && p[n - 1] == '\n';
    out->text = (struct str){p, n};
    return true;
}

bool jinja_lex(struct jinja_arena *a, struct str text, struct jinja_source *source,
               struct jinja_tokens *out, struct error *e)
{
    if (text.n > JINJA_MAX_SOURCE_BYTES) {
        return error_set(e, ERROR_UNSUPPORTED, "a template of %zu bytes, at most %d are read",
                         text.n, JINJA_MAX_SOURCE_BYTES);
    }
    struct jinja_value checked; /* only that it is UTF-8 */
    if (!jinja_string_of(a, text, JINJA_TEMPLATE, &checked, e) || !normalize(a, text, source, e)) {
        return false;
    }
    struct lexer l = {
        .arena = a, .source = source, .s = source->text, .out = out, .e = e, .line_starts = true};
    while (l.at < l.s.n) {
        if (!lex_root(&l)) {
            return false;
        }
    }
    return push(&l, (struct jinja_token){.kind = JINJA_T_EOF, .at = (uint32_t)l.s.n});
}
