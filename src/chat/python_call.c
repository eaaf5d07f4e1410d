/* python_call.c - Python literals to JSON, a machine of one state and a stack of frames. What needs
 * more than the next byte (is it a tuple? does another string follow?) waits in the JSON or in the
 * state. */
#include "chat/python_call.h"

#include "chat/json_scan.h"

#include <stdio.h>

enum state {
    P_ARGUMENT,    /* a name, ** or the end */
    P_NAME,        /* within a name */
    P_AFTER_NAME,  /* = */
    P_STAR,        /* the second * */
    P_SPREAD,      /* the dict after ** */
    P_VALUE,       /* after = or : */
    P_ITEM,        /* a value or the end of a level; in dicts a key */
    P_AFTER_VALUE, /* , or the end of the level; after keys : */
    P_TOKEN,       /* within a number or a word */
    P_OPEN,        /* after a quote */
    P_OPEN_TWO,    /* after two: an empty string, or the begin of a long one */
    P_STRING,
    P_ESCAPE,
    P_DIGITS,       /* of an escape */
    P_AFTER_STRING, /* another string may follow, which then belongs to it */
    P_PREFIX,       /* after its r or u */
    P_END
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool python_begins_name(char c)
{
    char lower = (char)(c | 0x20);
    return (lower >= 'a' && lower <= 'z') || c == '_' || (unsigned char)c >= 0x80;
}

bool python_continues_name(char c)
{
    return python_begins_name(c) || is_digit(c);
}

/* --- output; failed: no memory */

struct push {
    struct python_call *p;
    struct error *e;
    bool failed, broken;
};

static void put(struct push *u, struct str text)
{
    u->failed = u->failed || !buf_append(u->p->json, text, u->e);
}

static void put_char(struct push *u, uint32_t code)
{
    char text[6];
    if (code < 0x80) {
        put(u, (struct str){text, json_escape_byte((char)code, text)});
    } else {
        put(u, (struct str){text, str_encode_utf8(code, text)});
    }
}

static void put_byte(struct push *u, char c)
{
    char text[6];
    put(u, (struct str){text, json_escape_byte(c, text)});
}

static void refuse(struct push *u)
{
    u->broken = true;
}

static struct python_frame *frame_of(struct python_call *p)
{
    return &p->frames[p->depth];
}

static void begin_item(struct push *u)
{
    struct python_frame *f = frame_of(u->p);
    put(u, f->has_items ? STR(", ") : STR(""));
    f->has_items = true;
}

/* --- numbers and words */

/* A number's JSON form: a token's bytes, a zero before a point and one behind it. */
struct number {
    char text[PYTHON_MAX_TOKEN + 2];
    size_t n;
};

/* Takes the next byte of *rest, and the _ before it between two digits; -1: it is no digit. */
static int next_digit(struct str *rest, int base, bool after_digit)
{
    size_t at = after_digit && rest->n > 1 && rest->p[0] == '_';
    int digit = at < rest->n ? str_hex_digit(rest->p[at]) : -1;
    if (digit < 0 || digit >= base) {
        return -1;
    }
    *rest = str_skip(*rest, at + 1);
    return digit;
}

/* Returns how many. */
static size_t take_digits(struct str *rest, struct number *out)
{
    size_t n = 0;
    for (int digit; (digit = next_digit(rest, 10, n > 0)) >= 0; n++) {
        out->text[out->n++] = (char)('0' + digit);
    }
    return n;
}

/* 0x, 0o and 0b, up to 63 bits. */
static bool read_based(struct str digits, int base, struct number *out)
{
    uint64_t value = 0;
    bool after_digit = true; /* 0x_ff is one */
    for (int digit; (digit = next_digit(&digits, base, after_digit)) >= 0;) {
        if (value > (uint64_t)INT64_MAX / (unsigned)base) {
            return false;
        }
        value = value * (unsigned)base + (unsigned)digit;
    }
    out->n = (size_t)snprintf(out->text, sizeof out->text, "%llu", (unsigned long long)value);
    return digits.n == 0 && value <= INT64_MAX;
}

static int base_of(struct str token)
{
    char letter = token.n > 2 && token.p[0] == '0' ? (char)(token.p[1] | 0x20) : ' ';
    return letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
}

static bool read_fraction(struct str *rest, bool has_whole, struct number *out)
{
    *rest = str_skip(*rest, 1);
    out->text[out->n++] = '.';
    if (take_digits(rest, out) == 0) {
        out->text[out->n++] = '0';
        return has_whole;
    }
    return true;
}

static bool read_exponent(struct str *rest, struct number *out)
{
    size_t n_sign = rest->n > 1 && (rest->p[1] == '+' || rest->p[1] == '-');
    memcpy(out->text + out->n, rest->p, 1 + n_sign);
    out->n += 1 + n_sign;
    *rest = str_skip(*rest, 1 + n_sign);
    return take_digits(rest, out) > 0;
}

/* An unsigned number. JSON has no leading zeros; Python has them in floats and in zeros. */
static bool read_number(struct str token, struct number *out)
{
    int base = base_of(token);
    if (base != 10) {
        return read_based(str_skip(token, 2), base, out);
    }
    struct str rest = token;
    size_t n_whole = take_digits(&rest, out), n_zeros = 0;
    while (n_zeros + 1 < n_whole && out->text[n_zeros] == '0') {
        n_zeros++;
    }
    bool is_zero = n_zeros == 0 || out->text[n_zeros] == '0', is_integer = rest.n == 0;
    out->n -= n_zeros;
    memmove(out->text, out->text + n_zeros, out->n);
    if (n_whole == 0) {
        if (is_integer || rest.p[0] != '.') {
            return false;
        }
        out->text[out->n++] = '0';
    }
    if (rest.n > 0 && rest.p[0] == '.' && !read_fraction(&rest, n_whole > 0, out)) {
        return false;
    }
    if (rest.n > 0 && (rest.p[0] | 0x20) == 'e' && !read_exponent(&rest, out)) {
        return false;
    }
    return rest.n == 0 && (is_zero || !is_integer);
}

static struct str word_of(struct str token)
{
    static const struct {
        const char *python, *json;
    } words[] = {{"True", "true"}, {"False", "false"}, {"None", "null"},
                 {"true", "true"}, {"false", "false"}, {"null", "null"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (str_eq(token, str_from(words[i].python))) {
            return str_from(words[i].json);
        }
    }
    return STR("");
}

/* The token is whole. Its sign, if any, is in it. */
static void end_token(struct push *u)
{
    struct python_call *p = u->p;
    struct str token = {p->token, p->n_token};
    struct number number = {.n = 0};
    struct str json = word_of(token);
    if (json.n == 0) {
        size_t n_sign = token.p[0] == '-' || token.p[0] == '+';
        if (!read_number(str_skip(token, n_sign), &number)) {
            refuse(u);
            return;
        }
        put(u, n_sign > 0 && token.p[0] == '-' ? STR("-") : STR(""));
        json = (struct str){number.text, number.n};
    }
    put(u, json);
    put(u, p->is_key ? STR("\"") : STR(""));
    p->state = P_AFTER_VALUE;
    p->is_sure = true;
}

static bool continues_token(const struct python_call *p, char c)
{
    bool is_hex = base_of((struct str){p->token, p->n_token}) == 16;
    bool after_e = (p->token[p->n_token - 1] | 0x20) == 'e' && !is_hex;
    return python_continues_name(c) || c == '.' || ((c == '+' || c == '-') && after_e);
}

/* --- strings */

static void open_string(struct push *u, char quote, bool is_raw)
{
    struct python_call *p = u->p;
    p->quote = quote;
    p->is_raw = is_raw;
    p->is_triple = false;
    p->n_quotes = 0;
    p->high = 0;
    p->state = P_OPEN;
    p->is_sure = true;
}

static void put_code(struct push *u, uint32_t c)
{
    struct python_call *p = u->p;
    bool is_high = c >= 0xd800 && c <= 0xdbff, is_low = c >= 0xdc00 && c <= 0xdfff;
    p->state = P_STRING;
    if (is_low != (p->high != 0) || c > 0x10ffff || (c == 0 && p->is_key)) {
        refuse(u);
    } else if (is_high) {
        p->high = c;
    } else {
        put_char(u, is_low ? 0x10000 + ((p->high - 0xd800) << 10) + (c - 0xdc00) : c);
        p->high = 0;
    }
}

static void begin_digits(struct push *u, unsigned base, unsigned max_digits)
{
    struct python_call *p = u->p;
    p->base = base;
    p->max_digits = max_digits;
    p->n_digits = 0;
    p->code = 0;
    p->state = P_DIGITS;
}

static void push_string(struct push *u, char c);

static void push_digits(struct push *u, char c)
{
    struct python_call *p = u->p;
    int digit = str_hex_digit(c);
    if (digit < 0 || digit >= (int)p->base) {
        if (p->base == 8) { /* one to three */
            put_code(u, p->code);
            push_string(u, c);
        } else {
            refuse(u);
        }
        return;
    }
    p->code = p->code * p->base + (unsigned)digit;
    if (++p->n_digits == p->max_digits) {
        put_code(u, p->code);
    }
}

static void push_escape(struct push *u, char c)
{
    static const char letters[] = "\\'\"abfnrtv", meanings[] = "\\'\"\a\b\f\n\r\t\v";
    struct python_call *p = u->p;
    const char *letter = c != '\0' ? strchr(letters, c) : NULL;
    p->state = P_STRING;
    if (p->is_raw) {
        put(u, STR("\\\\"));
        put_byte(u, c);
    } else if (c >= '0' && c <= '7') {
        begin_digits(u, 8, 3);
        push_digits(u, c);
    } else if (c == 'x' || c == 'u' || c == 'U') {
        begin_digits(u, 16, c == 'x' ? 2 : c == 'u' ? 4 : 8);
    } else if (p->high != 0 || c == 'N') { /* a character's name */
        refuse(u);
    } else if (letter != NULL) {
        put_byte(u, meanings[letter - letters]);
    } else if (c != '\n') { /* no escape: the backslash stays */
        put(u, STR("\\\\"));
        put_byte(u, c);
    }
}

static void push_quote(struct push *u)
{
    struct python_call *p = u->p;
    if (!p->is_triple || ++p->n_quotes == 3) {
        p->state = P_AFTER_STRING;
    }
}

static void push_string(struct push *u, char c)
{
    struct python_call *p = u->p;
    if (c == '\\' && !p->is_raw && p->n_quotes == 0) {
        p->state = P_ESCAPE;
        return;
    }
    if (p->high != 0) {
        refuse(u);
        return;
    }
    if (c == p->quote) {
        push_quote(u);
        return;
    }
    for (; p->n_quotes > 0; p->n_quotes--) {
        put_byte(u, p->quote);
    }
    if (c == '\\') {
        p->state = P_ESCAPE;
    } else if ((c == '\n' || c == '\r') && !p->is_triple) {
        refuse(u);
    } else if (c == '\0') {
        refuse(u);
    } else {
        put_byte(u, c);
    }
}

static void push_open(struct push *u, char c)
{
    struct python_call *p = u->p;
    if (c == p->quote && p->state == P_OPEN) {
        p->state = P_OPEN_TWO;
    } else {
        p->is_triple = c == p->quote;
        p->state = P_STRING;
        if (!p->is_triple) {
            push_string(u, c);
        }
    }
}

/* --- levels */

static void open_level(struct push *u, enum python_frame_kind kind)
{
    struct python_call *p = u->p;
    if (p->depth == PYTHON_MAX_DEPTH || p->is_key) {
        refuse(u);
        return;
    }
    size_t mark = p->json->n;
    bool goes_on = kind == PYTHON_SPREAD && frame_of(p)->has_items;
    put(u, kind == PYTHON_SPREAD ? STR("") : kind == PYTHON_DICT ? STR("{") : STR("["));
    p->frames[++p->depth] = (struct python_frame){kind, goes_on, mark};
    p->state = P_ITEM;
    p->is_sure = true;
}

/* Nothing but a value in parentheses: they go. */
static void settle_paren(struct push *u, struct python_frame *f, bool is_tuple)
{
    if (is_tuple) {
        f->kind = PYTHON_TUPLE;
    } else if (!u->failed) {
        u->p->json->data[f->mark] = ' ';
    }
}

static char closer_of(enum python_frame_kind kind)
{
    return kind == PYTHON_LIST ? ']' : kind == PYTHON_DICT || kind == PYTHON_SPREAD ? '}' : ')';
}

static void close_level(struct push *u)
{
    struct python_call *p = u->p;
    struct python_frame *f = frame_of(p);
    enum python_frame_kind kind = f->kind;
    if (kind == PYTHON_ARGUMENTS) {
        put(u, STR("}"));
        p->state = P_END;
        p->is_sure = true;
        return;
    }
    if (kind == PYTHON_PAREN) {
        settle_paren(u, f, !f->has_items);
        kind = f->kind;
    }
    put(u, kind == PYTHON_DICT                           ? STR("}")
           : kind == PYTHON_LIST || kind == PYTHON_TUPLE ? STR("]")
                                                         : STR(""));
    bool has_items = f->has_items;
    p->depth--;
    p->state = P_AFTER_VALUE;
    p->is_key = false;
    if (kind == PYTHON_SPREAD) {
        frame_of(p)->has_items = has_items;
    }
}

/* --- values */

static void begin_token(struct push *u, char c)
{
    struct python_call *p = u->p;
    p->token[0] = c;
    p->n_token = 1;
    p->state = P_TOKEN;
    p->is_sure = p->is_sure || is_digit(c);
}

static void begin_value(struct push *u, char c)
{
    struct python_call *p = u->p;
    bool is_token = python_begins_name(c) || is_digit(c) || c == '-' || c == '+' || c == '.';
    if (c == '\'' || c == '"') {
        put(u, STR("\""));
        open_string(u, c, false);
    } else if (is_token) {
        put(u, p->is_key ? STR("\"") : STR(""));
        begin_token(u, c);
    } else if (c == '[' || c == '(' || c == '{') {
        open_level(u, c == '[' ? PYTHON_LIST : c == '(' ? PYTHON_PAREN : PYTHON_DICT);
    } else {
        refuse(u);
    }
}

static void push_item(struct push *u, char c)
{
    struct python_call *p = u->p;
    struct python_frame *f = frame_of(p);
    if (c == closer_of(f->kind)) {
        close_level(u);
        return;
    }
    begin_item(u);
    p->is_key = f->kind == PYTHON_DICT || f->kind == PYTHON_SPREAD;
    begin_value(u, c);
}

static void push_after_value(struct push *u, char c)
{
    struct python_call *p = u->p;
    struct python_frame *f = frame_of(p);
    if (p->is_key) {
        put(u, STR(": "));
        p->is_key = false;
        p->state = P_VALUE;
        u->broken = c != ':';
    } else if (c == ',') {
        if (f->kind == PYTHON_PAREN) {
            settle_paren(u, f, true);
        }
        p->state = f->kind == PYTHON_ARGUMENTS ? P_ARGUMENT : P_ITEM;
    } else if (c == closer_of(f->kind)) {
        close_level(u);
    } else {
        refuse(u);
    }
}

static void push_after_string(struct push *u, char c)
{
    struct python_call *p = u->p;
    char letter = (char)(c | 0x20);
    if (c == '\'' || c == '"') {
        open_string(u, c, p->state == P_PREFIX && p->is_raw);
    } else if (p->state == P_PREFIX) {
        refuse(u);
    } else if (letter == 'r' || letter == 'u') {
        p->is_raw = letter == 'r';
        p->state = P_PREFIX;
    } else {
        put(u, STR("\""));
        push_after_value(u, c);
    }
}

/* r and u before a quote are part of a string, whose opening quote the JSON does not have yet. */
static void push_token(struct push *u, char c)
{
    struct python_call *p = u->p;
    char first = (char)(p->token[0] | 0x20);
    bool is_sign = p->n_token == 1 && (p->token[0] == '-' || p->token[0] == '+');
    if (is_sign && json_is_space(c)) {
        return;
    }
    if ((c == '\'' || c == '"') && p->n_token == 1 && (first == 'r' || first == 'u')) {
        put(u, p->is_key ? STR("") : STR("\""));
        open_string(u, c, first == 'r');
    } else if (!continues_token(p, c)) {
        end_token(u);
        if (!u->broken && !json_is_space(c)) {
            push_after_value(u, c);
        }
    } else if (p->n_token == PYTHON_MAX_TOKEN) {
        refuse(u);
    } else {
        p->token[p->n_token++] = c;
        p->is_sure = p->is_sure || (is_digit(c) && p->n_token == 2);
    }
}

/* --- names of arguments */

static void begin_name(struct push *u, char c)
{
    if (!python_begins_name(c)) {
        refuse(u);
        return;
    }
    begin_item(u);
    put(u, STR("\""));
    put_byte(u, c);
    u->p->state = P_NAME;
}

static void push_name(struct push *u, char c)
{
    struct python_call *p = u->p;
    if (p->state == P_NAME && python_continues_name(c)) {
        put_byte(u, c);
    } else if (json_is_space(c)) {
        p->state = P_AFTER_NAME;
    } else if (c == '=') {
        put(u, STR("\": "));
        p->state = P_VALUE;
    } else {
        refuse(u);
    }
}

static void push_argument(struct push *u, char c)
{
    struct python_call *p = u->p;
    if (p->state == P_STAR) {
        p->state = P_SPREAD;
        u->broken = c != '*';
    } else if (p->state == P_SPREAD) {
        u->broken = c != '{';
        if (!u->broken) {
            open_level(u, PYTHON_SPREAD);
        }
    } else if (c == ')') {
        close_level(u);
    } else if (c == '*') {
        p->state = P_STAR;
    } else {
        begin_name(u, c);
    }
}

static bool skips_space(unsigned state)
{
    return state == P_ARGUMENT || state == P_SPREAD || state == P_VALUE || state == P_ITEM ||
           state == P_AFTER_VALUE || state == P_AFTER_STRING;
}

static void push_any(struct push *u, char c)
{
    struct python_call *p = u->p;
    if (skips_space(p->state) && json_is_space(c)) {
        return;
    }
    switch (p->state) {
    case P_ARGUMENT:
    case P_STAR:
    case P_SPREAD:
        push_argument(u, c);
        break;
    case P_NAME:
    case P_AFTER_NAME:
        push_name(u, c);
        break;
    case P_VALUE:
        begin_value(u, c);
        break;
    case P_ITEM:
        push_item(u, c);
        break;
    case P_AFTER_VALUE:
        push_after_value(u, c);
        break;
    case P_TOKEN:
        push_token(u, c);
        break;
    case P_OPEN:
        push_open(u, c);
        break;
    case P_OPEN_TWO:
        if (c == p->quote) {
            push_open(u, c);
        } else {
            p->state = P_AFTER_STRING;
            push_any(u, c);
        }
        break;
    case P_STRING:
        push_string(u, c);
        break;
    case P_ESCAPE:
        push_escape(u, c);
        break;
    case P_DIGITS:
        push_digits(u, c);
        break;
    case P_AFTER_STRING:
    case P_PREFIX:
        push_after_string(u, c);
        break;
    default:
        refuse(u);
    }
}

bool python_call_init(struct python_call *p, struct buf *json, struct error *e)
{
    *p = (struct python_call){.json = json, .state = P_ARGUMENT};
    return buf_append(json, STR("{"), e);
}

bool python_call_push(struct python_call *p, char c, enum python_result *out, struct error *e)
{
    struct push u = {.p = p, .e = e};
    size_t n_before = p->json->n;
    push_any(&u, c);
    if (u.failed) {
        return false;
    }
    if (p->json->n - python_call_settled(p) > PYTHON_MAX_UNSETTLED) {
        u.broken = true;
    }
    if (u.broken) { /* what this byte made is not of the call */
        p->json->n = n_before;
    }
    *out = u.broken ? PYTHON_BROKEN : p->state == P_END ? PYTHON_DONE : PYTHON_MORE;
    return true;
}

size_t python_call_settled(const struct python_call *p)
{
    for (size_t i = 0; i <= p->depth; i++) {
        if (p->frames[i].kind == PYTHON_PAREN) {
            return p->frames[i].mark;
        }
    }
    return p->json->n;
}

void python_call_take(struct python_call *p, size_t n)
{
    buf_consume(p->json, n);
    for (size_t i = 0; i <= p->depth; i++) {
        p->frames[i].mark -= p->frames[i].kind == PYTHON_PAREN ? n : 0;
    }
}
