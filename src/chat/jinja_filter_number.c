/* jinja_filter_number.c - filters of numbers. */
#include "chat/jinja_eval.h"

#include "chat/jinja_unicode.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bool filter_abs(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value v = c->self;
    if (v.kind == JINJA_FLOAT) {
        *out = jinja_float(fabs(v.u.real), v.origin);
        return true;
    }
    if (!jinja_is_whole(v)) {
        return jinja_fail(ev, "abs needs a number, not %s", jinja_type_name(v));
    }
    return jinja_sign(ev, jinja_whole(v) < 0, v, out);
}

/* --- text to numbers: what Python's int() and float() read, with digits of ASCII alone */

/* Whether s holds a digit of another script, which Python reads as a number, too. */
static bool has_other_digits(struct str s)
{
    bool found = false;
    for (size_t at = 0, n; at < s.n; at += n) {
        uint32_t c = jinja_decode(s, at, &n);
        found |= c >= 0x80 && (jinja_unicode_flags(c) & JINJA_DECIMAL) != 0;
    }
    return found;
}

/* White space round it goes, and so do single underscores between digits; *out ends in NUL. *ok
 * false when it cannot be a number. */
static bool clean_number(struct jinja_eval *ev, struct str s, char **out, bool *ok)
{
    size_t from = jinja_skip_space(s, 0), n = 0;
    s = jinja_strip_end(str_skip(s, from));
    if (has_other_digits(s)) {
        return jinja_refuse(ev, "a number in digits beyond ASCII");
    }
    *out = jinja_arena_alloc(&ev->arena, s.n + 1, 1, ev->e);
    *ok = *out != NULL && s.n > 0;
    for (size_t i = 0; *ok && i < s.n; i++) {
        bool between = i > 0 && i + 1 < s.n && s.p[i - 1] != '_' && s.p[i + 1] != '_';
        if (s.p[i] != '_') {
            (*out)[n++] = s.p[i];
        } else if (!between) {
            *ok = false;
        }
        *ok = *ok && s.p[i] != '\0';
    }
    return *out != NULL && jinja_spend_bytes(ev, s.n);
}

static int digit_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'z' ? c - 'a' + 10
           : c >= 'A' && c <= 'Z' ? c - 'A' + 10
                                  : 99;
}

static bool parse_whole(struct jinja_eval *ev, const char *text, int64_t base, bool *ok,
                        int64_t *out)
{
    bool is_negative = *text == '-';
    text += *text == '-' || *text == '+';
    static const char prefixes[] = "xob";
    static const int bases[] = {16, 8, 2};
    const char *prefix =
        text[0] == '0' && text[1] != '\0' ? strchr(prefixes, text[1] | 0x20) : NULL;
    if (prefix != NULL && (base == 0 || base == bases[prefix - prefixes])) {
        base = bases[prefix - prefixes];
        text += 2;
    }
    if (base == 0) {
        return jinja_refuse(ev, "int with base 0");
    }
    int64_t value = 0;
    *ok = *text != '\0';
    for (; *ok && *text != '\0'; text++) {
        *ok = digit_value(*text) < base;
        if (*ok && (__builtin_mul_overflow(value, base, &value) ||
                    __builtin_sub_overflow(value, digit_value(*text), &value))) {
            return jinja_refuse(ev, "an integer of more than 64 bits");
        }
    }
    if (*ok && !is_negative && __builtin_sub_overflow(0, value, &value)) {
        return jinja_refuse(ev, "an integer of more than 64 bits");
    }
    *out = value;
    return true;
}

/* C's strtod reads hexadecimal and "nan(...)", too, which Python does not. */
static bool parse_real(const char *text, double *out)
{
    const char *p = text + (*text == '-' || *text == '+');
    char *end;
    bool is_word = (*p | 0x20) == 'i' || (*p | 0x20) == 'n';
    if (strchr(p, is_word ? '(' : 'x') != NULL || (!is_word && strchr(p, 'X') != NULL) ||
        *p == ' ' || *p == '\0') {
        return false;
    }
    *out = strtod(text, &end);
    return *end == '\0';
}

static bool text_to_real(struct jinja_eval *ev, struct jinja_value v, bool *ok, double *out)
{
    char *text;
    if (!clean_number(ev, jinja_str(v), &text, ok)) {
        return false;
    }
    *ok = *ok && parse_real(text, out);
    return true;
}

static bool text_to_whole(struct jinja_eval *ev, struct jinja_value v, int64_t base, bool *ok,
                          int64_t *out)
{
    char *text;
    double real;
    if (!clean_number(ev, jinja_str(v), &text, ok)) {
        return false;
    }
    if (*ok && !parse_whole(ev, text, base, ok, out)) {
        return false;
    }
    if (*ok) {
        return true;
    }
    if (!text_to_real(ev, v, ok, &real)) { /* "42.23"|int is 42 */
        return false;
    }
    *ok = *ok && isfinite(real);
    return !*ok || jinja_truncate(ev, real, out);
}

static bool filter_int(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value v = c->self, base = c->arg[1];
    int64_t value = 0;
    bool ok = false;
    if (v.kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(ev, v);
    }
    if (base.kind != JINJA_MISSING && !jinja_is_whole(base)) {
        return jinja_refuse(ev, "int with a base of %s", jinja_type_name(base));
    }
    if (v.kind == JINJA_STRING) {
        int64_t b = base.kind == JINJA_MISSING ? 10 : jinja_whole(base);
        if (b < 0 || b == 1 || b > 36) {
            return jinja_refuse(ev, "int with base %lld", (long long)b);
        }
        if (!text_to_whole(ev, v, b, &ok, &value)) {
            return false;
        }
    } else if (jinja_is_whole(v)) {
        value = jinja_whole(v);
        ok = true;
    } else if (v.kind == JINJA_FLOAT) {
        if (isinf(v.u.real)) {
            return jinja_fail(ev, "an infinite number has no whole part");
        }
        ok = v.u.real == v.u.real;
        if (ok && !jinja_truncate(ev, v.u.real, &value)) {
            return false;
        }
    }
    *out = jinja_int(ok ? value : 0, jinja_value_origin(v));
    if (!ok && c->arg[0].kind != JINJA_MISSING) {
        *out = c->arg[0];
    }
    return true;
}

static bool filter_float(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value v = c->self;
    double value = 0;
    bool ok = jinja_is_number(v);
    if (v.kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(ev, v);
    }
    if (ok) {
        value = jinja_to_double(v);
    } else if (v.kind == JINJA_STRING && !text_to_real(ev, v, &ok, &value)) {
        return false;
    }
    *out = jinja_float(ok ? value : 0, jinja_value_origin(v));
    if (!ok && c->arg[0].kind != JINJA_MISSING) {
        *out = c->arg[0];
    }
    return true;
}

/* --- round */

/* Python rounds an integer at a negative place to the even multiple when it lies in the middle. */
static bool round_whole(struct jinja_eval *ev, struct jinja_value v, int64_t places,
                        struct jinja_value *out)
{
    int64_t value = jinja_whole(v), unit = 1;
    for (; places < 0 && unit > 0; places++) {
        if (__builtin_mul_overflow(unit, 10, &unit)) {
            unit = 0;
        }
    }
    if (unit == 0 || unit > INT64_MAX / 2) {
        return jinja_refuse(ev, "round to so many places");
    }
    int64_t rest = value % unit;
    rest += rest < 0 ? unit : 0;
    int64_t low;
    if (__builtin_sub_overflow(value, rest, &low)) {
        return jinja_refuse(ev, "an integer of more than 64 bits");
    }
    bool up = 2 * rest > unit || (2 * rest == unit && (low / unit) % 2 != 0);
    *out = jinja_int(low, v.origin);
    return !up || !__builtin_add_overflow(low, unit, &out->u.integer) ||
           jinja_refuse(ev, "an integer of more than 64 bits");
}

/* The C library prints and reads exactly, so this rounds the exact value, ties to even. */
static bool round_real(struct jinja_eval *ev, struct jinja_value v, int64_t places,
                       struct jinja_value *out)
{
    char text[512];
    if (places < 0 || places > 100) {
        return jinja_refuse(ev, "round of a float to %lld places", (long long)places);
    }
    *out = v;
    if (isfinite(v.u.real)) {
        snprintf(text, sizeof text, "%.*f", (int)places, v.u.real);
        out->u.real = strtod(text, NULL);
    }
    return true;
}

static bool round_towards(struct jinja_eval *ev, struct jinja_value v, int64_t places, bool up,
                          struct jinja_value *out)
{
    int64_t unit = 1, value;
    if (places < 0 || places > 15) {
        return jinja_refuse(ev, "round up or down to %lld places", (long long)places);
    }
    for (; places > 0; places--) {
        unit *= 10;
    }
    struct jinja_value scaled, whole = jinja_int(unit, JINJA_TEMPLATE);
    if (!jinja_binary(ev, JINJA_OP_MUL, v, whole, &scaled)) {
        return false;
    }
    if (scaled.kind == JINJA_FLOAT) {
        if (!jinja_truncate(ev, up ? ceil(scaled.u.real) : floor(scaled.u.real), &value)) {
            return false;
        }
        scaled = jinja_int(value, v.origin);
    }
    return jinja_binary(ev, JINJA_OP_DIV, scaled, whole, out);
}

static bool filter_round(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value v = c->self, precision = c->arg[0], method = c->arg[1];
    bool is_text = method.kind == JINJA_STRING;
    bool up = is_text && str_eq(jinja_str(method), STR("ceil"));
    bool down = is_text && str_eq(jinja_str(method), STR("floor"));
    bool common =
        method.kind == JINJA_MISSING || (is_text && str_eq(jinja_str(method), STR("common")));
    if (!up && !down && !common) {
        return jinja_fail(ev, "round: the method is common, ceil or floor");
    }
    if (!jinja_is_number(v)) {
        return v.kind == JINJA_UNDEFINED
                   ? jinja_fail_undefined(ev, v)
                   : jinja_fail(ev, "round needs a number, not %s", jinja_type_name(v));
    }
    if (precision.kind == JINJA_NONE && common) {
        return jinja_refuse(ev, "round to none");
    }
    if (precision.kind != JINJA_MISSING && !jinja_is_whole(precision)) {
        return jinja_fail(ev, "round needs an integer, not %s", jinja_type_name(precision));
    }
    int64_t places = precision.kind == JINJA_MISSING ? 0 : jinja_whole(precision);
    if (!common) {
        return round_towards(ev, v, places, up, out);
    }
    return v.kind == JINJA_FLOAT ? round_real(ev, v, places, out) : round_whole(ev, v, places, out);
}

const struct jinja_callee jinja_number_filters[] = {
    {"abs", "", 0, filter_abs},
    {"float", "default", 0, filter_float},
    {"int", "default,base", 0, filter_int},
    {"round", "precision,method", 0, filter_round},
    {NULL, NULL, 0, NULL},
};
