/* jinja_arith.c - numbers as Python has them: integers that stay exact, floor division, division
 * that gives floats. Integers beyond 64 bits are refused; Python's have no end. */
#include "chat/jinja_eval.h"

#include <math.h>

double jinja_to_double(struct jinja_value v)
{
    return v.kind == JINJA_FLOAT ? v.u.real : (double)jinja_whole(v);
}

bool jinja_fits_int(double value)
{
    return value >= -9223372036854775808.0 && value < 9223372036854775808.0; /* 2^63 */
}

static int order_doubles(double a, double b)
{
    return a != a || b != b ? 2 : (a > b) - (a < b);
}

/* An integer beside a float: the float's whole part is compared as an integer, since a 64-bit
 * integer as a double would lose digits. */
static int order_mixed(int64_t a, double b)
{
    if (b != b) {
        return 2;
    }
    if (!jinja_fits_int(b)) {
        return b > 0 ? -1 : 1;
    }
    int64_t whole = (int64_t)b;
    double rest = b - (double)whole;
    return a != whole ? (a > whole) - (a < whole) : (rest < 0) - (rest > 0);
}

int jinja_order_numbers(struct jinja_value a, struct jinja_value b)
{
    if (jinja_is_whole(a) && jinja_is_whole(b)) {
        int64_t x = jinja_whole(a), y = jinja_whole(b);
        return (x > y) - (x < y);
    }
    if (jinja_is_whole(a)) {
        return order_mixed(jinja_whole(a), b.u.real);
    }
    if (jinja_is_whole(b)) {
        int order = order_mixed(jinja_whole(b), a.u.real);
        return order == 2 ? 2 : -order;
    }
    return order_doubles(a.u.real, b.u.real);
}

bool jinja_truncate(struct jinja_eval *ev, double value, int64_t *out)
{
    if (value != value || isinf(value)) {
        return jinja_fail(ev, "%s has no whole part", value != value ? "nan" : "inf");
    }
    if (!jinja_fits_int(value)) {
        return jinja_refuse(ev, "an integer of more than 64 bits");
    }
    *out = (int64_t)value;
    return true;
}

static bool too_large(struct jinja_eval *ev)
{
    return jinja_refuse(ev, "an integer of more than 64 bits");
}

/* a / b correctly rounded, as Python's is: the quotient has at least 63 bits and a last one that
 * tells whether anything was left, which rounding to 53 bits takes into account. */
static double divide_exactly(int64_t a, int64_t b)
{
    uint64_t x = a < 0 ? -(uint64_t)a : (uint64_t)a, y = b < 0 ? -(uint64_t)b : (uint64_t)b;
    if (x == 0) {
        return b < 0 ? -0.0 : 0.0;
    }
    int shift = __builtin_clzll(x) + 63;
    unsigned __int128 wide = (unsigned __int128)x << shift;
    unsigned __int128 quotient = wide / y | (wide % y != 0);
    double result = ldexp((double)quotient, -shift);
    return (a < 0) != (b < 0) ? -result : result;
}

static bool divide_whole(struct jinja_eval *ev, enum jinja_operator op, int64_t a, int64_t b,
                         int64_t *out)
{
    if (b == -1) {
        *out = 0;
        return op == JINJA_OP_MOD || !__builtin_sub_overflow(0, a, out) || too_large(ev);
    }
    int64_t quotient = a / b, rest = a % b;
    if (rest != 0 && (rest < 0) != (b < 0)) {
        quotient--;
        rest += b;
    }
    *out = op == JINJA_OP_MOD ? rest : quotient;
    return true;
}

static bool power_whole(struct jinja_eval *ev, int64_t a, int64_t b, int64_t *out)
{
    if (b < 0) {
        return jinja_refuse(ev, "a power with a negative exponent");
    }
    int64_t result = 1;
    for (; b > 0 && (a > 1 || a < -1); b--) {
        if (__builtin_mul_overflow(result, a, &result)) {
            return too_large(ev);
        }
    }
    *out = b > 0 ? (a == 0 ? 0 : b % 2 == 0 ? 1 : a) : result;
    return true;
}

static bool whole(struct jinja_eval *ev, enum jinja_operator op, int64_t a, int64_t b, int64_t *out)
{
    switch (op) {
    case JINJA_OP_ADD:
        return !__builtin_add_overflow(a, b, out) || too_large(ev);
    case JINJA_OP_SUB:
        return !__builtin_sub_overflow(a, b, out) || too_large(ev);
    case JINJA_OP_MUL:
        return !__builtin_mul_overflow(a, b, out) || too_large(ev);
    case JINJA_OP_POW:
        return power_whole(ev, a, b, out);
    default:
        return divide_whole(ev, op, a, b, out);
    }
}

/* Python's float floor division and remainder, which has the divisor's sign. */
static double divide_floor(enum jinja_operator op, double a, double b)
{
    double rest = fmod(a, b), quotient = (a - rest) / b;
    if (rest != 0) {
        if ((b < 0) != (rest < 0)) {
            rest += b;
            quotient -= 1;
        }
    } else {
        rest = copysign(0.0, b);
    }
    if (op == JINJA_OP_MOD) {
        return rest;
    }
    if (quotient == 0) {
        return copysign(0.0, a / b);
    }
    double floored = floor(quotient);
    return quotient - floored > 0.5 ? floored + 1 : floored;
}

static bool real(struct jinja_eval *ev, enum jinja_operator op, double a, double b, double *out)
{
    switch (op) {
    case JINJA_OP_ADD:
        *out = a + b;
        return true;
    case JINJA_OP_SUB:
        *out = a - b;
        return true;
    case JINJA_OP_MUL:
        *out = a * b;
        return true;
    case JINJA_OP_DIV:
        *out = a / b;
        return true;
    case JINJA_OP_POW:
        return jinja_refuse(ev, "a power of floats");
    default:
        *out = divide_floor(op, a, b);
        return true;
    }
}

static bool numbers(struct jinja_eval *ev, enum jinja_operator op, struct jinja_value a,
                    struct jinja_value b, struct jinja_value *out)
{
    enum jinja_origin origin = jinja_origin_both(a.origin, b.origin);
    bool divides = op == JINJA_OP_DIV || op == JINJA_OP_FLOORDIV || op == JINJA_OP_MOD;
    if (divides && jinja_to_double(b) == 0) {
        return jinja_fail(ev, "division by zero");
    }
    if (!jinja_is_whole(a) || !jinja_is_whole(b)) {
        *out = jinja_float(0, origin);
        return real(ev, op, jinja_to_double(a), jinja_to_double(b), &out->u.real);
    }
    if (op == JINJA_OP_DIV) {
        *out = jinja_float(divide_exactly(jinja_whole(a), jinja_whole(b)), origin);
        return true;
    }
    *out = jinja_int(0, origin);
    return whole(ev, op, jinja_whole(a), jinja_whole(b), &out->u.integer);
}

/* --- + and * of texts and lists */

static bool escape_other(struct jinja_eval *ev, struct jinja_value v, bool needed,
                         struct jinja_value *out)
{
    *out = v;
    if (!needed || v.u.string->is_markup) {
        return true;
    }
    return jinja_apply(ev, jinja_find_filter(STR("escape")), v, &(struct jinja_args){0}, out);
}

/* Text that was marked safe escapes what it is joined with, as Markup does. */
static bool add_strings(struct jinja_eval *ev, struct jinja_value a, struct jinja_value b,
                        struct jinja_value *out)
{
    bool is_markup = a.u.string->is_markup || b.u.string->is_markup;
    if (!escape_other(ev, a, is_markup, &a) || !escape_other(ev, b, is_markup, &b)) {
        return false;
    }
    struct jinja_text t = jinja_text_of(ev);
    t.is_markup = is_markup;
    return jinja_text_add_string(&t, a.u.string) && jinja_text_add_string(&t, b.u.string) &&
           jinja_text_end(&t, out);
}

static bool add_lists(struct jinja_eval *ev, struct jinja_value a, struct jinja_value b,
                      struct jinja_value *out)
{
    struct jinja_value list;
    if (!jinja_make_tuple(ev, a.u.list->items, a.u.list->n, &list)) {
        return false;
    }
    for (size_t i = 0; i < b.u.list->n; i++) {
        if (!jinja_push(ev, list, b.u.list->items[i])) {
            return false;
        }
    }
    list.kind = a.kind;
    *out = list;
    return jinja_spend(ev, list.u.list->n / 8);
}

static bool repeat(struct jinja_eval *ev, struct jinja_value v, struct jinja_value count,
                   struct jinja_value *out)
{
    int64_t n = jinja_whole(count);
    if (v.kind == JINJA_STRING) {
        struct jinja_text t = jinja_text_of(ev);
        t.is_markup = v.u.string->is_markup;
        n = v.u.string->n == 0 ? 0 : n;
        for (int64_t i = 0; i < n; i++) {
            if (!jinja_spend(ev, 1) || !jinja_text_add_string(&t, v.u.string)) {
                return false;
            }
        }
        return jinja_text_end(&t, out);
    }
    struct jinja_value list;
    n = v.u.list->n == 0 ? 0 : n;
    if (!jinja_make_list(ev, &list)) {
        return false;
    }
    for (int64_t i = 0; i < n; i++) {
        for (size_t k = 0; k < v.u.list->n; k++) {
            if (!jinja_spend(ev, 1) || !jinja_push(ev, list, v.u.list->items[k])) {
                return false;
            }
        }
    }
    list.kind = v.kind;
    *out = list;
    return true;
}

static bool is_sequence(struct jinja_value v)
{
    return v.kind == JINJA_STRING || v.kind == JINJA_LIST || v.kind == JINJA_TUPLE;
}

static const char *operator_name(enum jinja_operator op)
{
    static const char *const names[] = {"+", "-", "*", "/", "//", "%", "**"};
    return names[op];
}

bool jinja_binary(struct jinja_eval *ev, enum jinja_operator op, struct jinja_value a,
                  struct jinja_value b, struct jinja_value *out)
{
    if (op == JINJA_OP_MOD && a.kind == JINJA_STRING) {
        return jinja_format_percent(ev, a, b, out);
    }
    if (jinja_is_number(a) && jinja_is_number(b)) {
        return numbers(ev, op, a, b, out);
    }
    if (a.kind == JINJA_UNDEFINED || b.kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(ev, a.kind == JINJA_UNDEFINED ? a : b);
    }
    if (op == JINJA_OP_ADD && a.kind == b.kind && a.kind == JINJA_STRING) {
        return add_strings(ev, a, b, out);
    }
    if (op == JINJA_OP_ADD && a.kind == b.kind && is_sequence(a)) {
        return add_lists(ev, a, b, out);
    }
    if (op == JINJA_OP_MUL && is_sequence(a) && jinja_is_whole(b)) {
        return repeat(ev, a, b, out);
    }
    if (op == JINJA_OP_MUL && is_sequence(b) && jinja_is_whole(a)) {
        return repeat(ev, b, a, out);
    }
    if (op == JINJA_OP_SUB && (a.kind == JINJA_VIEW || b.kind == JINJA_VIEW)) {
        return jinja_refuse(ev, "'-' of views of dicts");
    }
    return jinja_fail(ev, "'%s' of %s and %s", operator_name(op), jinja_type_name(a),
                      jinja_type_name(b));
}

bool jinja_sign(struct jinja_eval *ev, bool negate, struct jinja_value a, struct jinja_value *out)
{
    if (a.kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(ev, a);
    }
    if (a.kind == JINJA_FLOAT) {
        *out = jinja_float(negate ? -a.u.real : a.u.real, a.origin);
        return true;
    }
    if (!jinja_is_whole(a)) {
        return jinja_fail(ev, "the sign of %s", jinja_type_name(a));
    }
    *out = jinja_int(jinja_whole(a), a.origin);
    return !negate || !__builtin_sub_overflow(0, out->u.integer, &out->u.integer) || too_large(ev);
}
