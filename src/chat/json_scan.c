/* json_scan.c - JSON as a machine of one state and a bit for each open level. */
#include "chat/json_scan.h"

#include "base/str.h"

void json_scan_init(struct json_scan *s)
{
    *s = (struct json_scan){.state = SCAN_START};
}

static bool go(struct json_scan *s, enum scan_state state)
{
    s->state = state;
    return state != SCAN_BROKEN;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool in_array(const struct json_scan *s)
{
    return s->depth > 0 && (s->arrays >> (s->depth - 1) & 1) != 0;
}

static bool open_level(struct json_scan *s, bool is_array)
{
    if (s->depth == JSON_SCAN_MAX_DEPTH) {
        return go(s, SCAN_BROKEN);
    }
    uint64_t bit = (uint64_t)1 << s->depth++;
    s->arrays = is_array ? s->arrays | bit : s->arrays & ~bit;
    return go(s, is_array ? SCAN_FIRST_VALUE : SCAN_FIRST_KEY);
}

static bool close_level(struct json_scan *s)
{
    s->depth--;
    return go(s, s->depth == 0 ? SCAN_END : SCAN_AFTER_VALUE);
}

static bool begin_literal(struct json_scan *s, const char *rest)
{
    s->literal = rest;
    return go(s, SCAN_LITERAL);
}

static bool begin_string(struct json_scan *s, bool is_key)
{
    s->is_key = is_key;
    return go(s, SCAN_STRING);
}

static bool begin_value(struct json_scan *s, char c)
{
    switch (c) {
    case '{':
    case '[':
        return open_level(s, c == '[');
    case '"':
        return begin_string(s, false);
    case 't':
        return begin_literal(s, "rue");
    case 'f':
        return begin_literal(s, "alse");
    case 'n':
        return begin_literal(s, "ull");
    case '-':
        return go(s, SCAN_MINUS);
    case '0':
        return go(s, SCAN_ZERO);
    default:
        return go(s, is_digit(c) ? SCAN_DIGITS : SCAN_BROKEN);
    }
}

static bool after_value(struct json_scan *s, char c)
{
    if (json_is_space(c)) {
        return go(s, SCAN_AFTER_VALUE);
    }
    if (c == ',') {
        return go(s, in_array(s) ? SCAN_VALUE : SCAN_KEY);
    }
    return c == (in_array(s) ? ']' : '}') ? close_level(s) : go(s, SCAN_BROKEN);
}

/* Between values, keys and their marks. */
static bool push_mark(struct json_scan *s, char c)
{
    if (json_is_space(c)) {
        return true;
    }
    switch (s->state) {
    case SCAN_START:
        return c == '{' || c == '[' ? open_level(s, c == '[') : go(s, SCAN_BROKEN);
    case SCAN_FIRST_KEY:
    case SCAN_KEY:
        if (c == '}' && s->state == SCAN_FIRST_KEY) {
            return close_level(s);
        }
        return c == '"' ? begin_string(s, true) : go(s, SCAN_BROKEN);
    case SCAN_COLON:
        return go(s, c == ':' ? SCAN_VALUE : SCAN_BROKEN);
    case SCAN_FIRST_VALUE:
        return c == ']' ? close_level(s) : begin_value(s, c);
    default:
        return begin_value(s, c);
    }
}

static bool end_hex(struct json_scan *s)
{
    bool is_low_half = s->hex >= 0xdc00 && s->hex <= 0xdfff;
    if (is_low_half != s->is_low || (s->hex == 0 && s->is_key)) {
        return go(s, SCAN_BROKEN);
    }
    s->is_low = false;
    return go(s, s->hex >= 0xd800 && s->hex <= 0xdbff ? SCAN_LOW_ESCAPE : SCAN_STRING);
}

static bool begin_hex(struct json_scan *s, bool is_low)
{
    s->n_hex = 0;
    s->hex = 0;
    s->is_low = is_low;
    return go(s, SCAN_HEX);
}

static bool push_hex(struct json_scan *s, char c)
{
    int digit = str_hex_digit(c);
    if (digit < 0) {
        return go(s, SCAN_BROKEN);
    }
    s->hex = s->hex << 4 | (uint32_t)digit;
    return ++s->n_hex < 4 ? true : end_hex(s);
}

static bool push_string(struct json_scan *s, char c)
{
    switch (s->state) {
    case SCAN_STRING:
        if (c == '"') {
            return go(s, s->is_key ? SCAN_COLON : SCAN_AFTER_VALUE);
        }
        return c == '\\' ? go(s, SCAN_ESCAPE)
                         : go(s, (unsigned char)c < 0x20 ? SCAN_BROKEN : SCAN_STRING);
    case SCAN_ESCAPE:
        if (c == 'u') {
            return begin_hex(s, false);
        }
        return go(s, c != '\0' && strchr("\"\\/bfnrt", c) != NULL ? SCAN_STRING : SCAN_BROKEN);
    case SCAN_HEX:
        return push_hex(s, c);
    case SCAN_LOW_ESCAPE:
        return go(s, c == '\\' ? SCAN_LOW_U : SCAN_BROKEN);
    default:
        return c == 'u' ? begin_hex(s, true) : go(s, SCAN_BROKEN);
    }
}

static bool push_number(struct json_scan *s, char c)
{
    bool digit = is_digit(c), e = c == 'e' || c == 'E';
    switch (s->state) {
    case SCAN_MINUS:
        return go(s, c == '0' ? SCAN_ZERO : digit ? SCAN_DIGITS : SCAN_BROKEN);
    case SCAN_ZERO:
    case SCAN_DIGITS:
        if (digit) {
            return go(s, s->state == SCAN_DIGITS ? SCAN_DIGITS : SCAN_BROKEN);
        }
        return c == '.' ? go(s, SCAN_POINT) : e ? go(s, SCAN_EXPONENT) : after_value(s, c);
    case SCAN_POINT:
        return go(s, digit ? SCAN_FRACTION : SCAN_BROKEN);
    case SCAN_FRACTION:
        return digit ? true : e ? go(s, SCAN_EXPONENT) : after_value(s, c);
    case SCAN_EXPONENT:
        return go(s, digit ? SCAN_POWER : c == '+' || c == '-' ? SCAN_SIGN : SCAN_BROKEN);
    case SCAN_SIGN:
        return go(s, digit ? SCAN_POWER : SCAN_BROKEN);
    default:
        return digit ? true : after_value(s, c);
    }
}

bool json_scan_push(struct json_scan *s, char c)
{
    if (json_scan_in_string(s)) {
        return push_string(s, c);
    }
    if (s->state >= SCAN_MINUS && s->state <= SCAN_POWER) {
        return push_number(s, c);
    }
    switch (s->state) {
    case SCAN_AFTER_VALUE:
        return after_value(s, c);
    case SCAN_LITERAL:
        if (c != *s->literal++) {
            return go(s, SCAN_BROKEN);
        }
        return go(s, *s->literal == '\0' ? SCAN_AFTER_VALUE : SCAN_LITERAL);
    case SCAN_END:
    case SCAN_BROKEN:
        return go(s, SCAN_BROKEN);
    default:
        return push_mark(s, c);
    }
}

bool json_scan_is_object(struct str text)
{
    struct json_scan scan;
    json_scan_init(&scan);
    for (size_t i = 0; i < text.n; i++) {
        if (scan.state == SCAN_END || !json_scan_push(&scan, text.p[i])) {
            return false;
        }
    }
    return scan.state == SCAN_END && text.p[0] == '{';
}

static size_t end_unescaped(struct json_unescape *u, char out[4])
{
    uint32_t c = u->hex;
    u->in_hex = false;
    if (c >= 0xd800 && c <= 0xdbff) {
        u->high = c;
        return 0;
    }
    if (u->high != 0) {
        c = 0x10000 + ((u->high - 0xd800) << 10) + (c - 0xdc00);
        u->high = 0;
    }
    return str_encode_utf8(c, out);
}

size_t json_unescape_push(struct json_unescape *u, char c, char out[4])
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    if (u->in_hex) {
        u->hex = u->hex << 4 | (uint32_t)str_hex_digit(c);
        return ++u->n_hex < 4 ? 0 : end_unescaped(u, out);
    }
    if (!u->after_backslash) {
        u->after_backslash = c == '\\';
        out[0] = c;
        return u->after_backslash ? 0 : 1;
    }
    u->after_backslash = false;
    if (c == 'u') {
        u->in_hex = true;
        u->n_hex = 0;
        u->hex = 0;
        return 0;
    }
    const char *letter = strchr(letters, c);
    out[0] = letter != NULL ? meanings[letter - letters] : c;
    return 1;
}

size_t json_escape_byte(char c, char out[6])
{
    static const char letters[] = "\"\\\b\f\n\r\t", escapes[] = "\"\\bfnrt",
                      digits[] = "0123456789abcdef";
    const char *letter = c != '\0' ? strchr(letters, c) : NULL;
    if (letter != NULL) {
        out[0] = '\\';
        out[1] = escapes[letter - letters];
        return 2;
    }
    out[0] = c;
    if ((unsigned char)c >= 0x20) {
        return 1;
    }
    memcpy(out, "\\u00", 4);
    out[4] = digits[c >> 4];
    out[5] = digits[c & 15];
    return 6;
}
