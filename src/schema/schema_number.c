/* schema_number.c - decimals of up to 19 digits with exact comparison and division. */
#include "schema/schema_number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned __int128 wide;

enum { MOST_DIGITS = 19 };

static wide power_of_ten(int n)
{
    wide power = 1;
    for (int i = 0; i < n; i++) {
        power *= 10;
    }
    return power;
}

static struct decimal normal(struct decimal d)
{
    if (d.digits == 0) {
        return (struct decimal){0};
    }
    for (; d.digits % 10 == 0; d.digits /= 10) {
        d.exponent++;
    }
    return d;
}

struct decimal decimal_from_int(int64_t value)
{
    uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    return normal((struct decimal){.digits = size, .negative = value < 0});
}

/* The fewest digits that read back as the same double: at most 17. From 2^53 on integers lie
 * between those and the double, so that there it is the double itself, as long as it fits. */
static struct decimal from_double(double value)
{
    char text[48];
    double size = value < 0 ? -value : value;
    if (size >= 0x1p53 && size < 1e19) {
        return normal((struct decimal){.digits = (uint64_t)size, .negative = value < 0});
    }
    for (int precision = 14; precision <= 16; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    struct decimal d = {.negative = text[0] == '-'};
    int n_behind = 0;
    bool behind = false;
    const char *p = text + d.negative;
    for (; *p != 'e' && *p != '\0'; p++) {
        if (*p >= '0' && *p <= '9') {
            d.digits = d.digits * 10 + (uint64_t)(*p - '0');
            n_behind += behind;
        } else {
            behind = true; /* a point, or what a locale has in its place */
        }
    }
    d.exponent = (*p == 'e' ? (int)strtol(p + 1, NULL, 10) : 0) - n_behind;
    return normal(d);
}

struct decimal decimal_from_json(const json_t *number)
{
    return json_is_integer(number) ? decimal_from_int(json_integer_value(number))
                                   : from_double(json_real_value(number));
}

static int count_digits(uint64_t digits)
{
    int n = 0;
    for (; digits > 0; digits /= 10) {
        n++;
    }
    return n;
}

int decimal_integer_digits(struct decimal d)
{
    int n = count_digits(d.digits) + d.exponent;
    return n > 0 ? n : 0;
}

static int compare_sizes(struct decimal a, struct decimal b)
{
    if (a.digits == 0 || b.digits == 0) {
        return (a.digits > 0) - (b.digits > 0);
    }
    int n_a = count_digits(a.digits);
    int n_b = count_digits(b.digits);
    if (n_a + a.exponent != n_b + b.exponent) {
        return n_a + a.exponent < n_b + b.exponent ? -1 : 1;
    }
    wide left = a.digits * power_of_ten(n_b > n_a ? n_b - n_a : 0);
    wide right = b.digits * power_of_ten(n_a > n_b ? n_a - n_b : 0);
    return (left > right) - (left < right);
}

int decimal_compare(struct decimal a, struct decimal b)
{
    if (a.negative != b.negative) {
        return a.negative ? -1 : 1;
    }
    return a.negative ? compare_sizes(b, a) : compare_sizes(a, b);
}

bool decimal_is_integer(struct decimal d)
{
    return d.exponent >= 0;
}

bool decimal_is_multiple(struct decimal a, struct decimal b)
{
    int shift = a.exponent - b.exponent;
    if (a.digits == 0) {
        return true;
    }
    if (shift < 0) {
        return -shift <= MOST_DIGITS && a.digits % (b.digits * power_of_ten(-shift)) == 0;
    }
    wide rest = a.digits % b.digits;
    for (int i = 0; i < shift && rest > 0; i++) {
        rest = rest * 10 % b.digits;
    }
    return rest == 0;
}

bool decimal_count_units(struct decimal d, struct decimal unit, bool up, int64_t *out)
{
    int shift = d.exponent - unit.exponent;
    if (shift > MOST_DIGITS - 1 || -shift > MOST_DIGITS - 1) {
        return false;
    }
    wide size = d.digits * power_of_ten(shift > 0 ? shift : 0);
    wide part = unit.digits * power_of_ten(shift < 0 ? -shift : 0);
    wide n = size / part + (size % part != 0 && up != d.negative);
    if (n > INT64_MAX / 2) {
        return false;
    }
    *out = d.negative ? -(int64_t)n : (int64_t)n;
    return true;
}

bool decimal_multiply(struct decimal d, int64_t n, struct decimal *out)
{
    wide digits = d.digits * (wide)(n < 0 ? 0 - (uint64_t)n : (uint64_t)n);
    if (digits >= power_of_ten(MOST_DIGITS)) {
        return false;
    }
    *out = normal((struct decimal){(uint64_t)digits, d.exponent, d.negative != (n < 0)});
    return true;
}

void decimal_print(struct decimal d, char *out, size_t n_bytes)
{
    const char *sign = d.negative ? "-" : "";
    unsigned long long digits = d.digits;
    if (d.exponent >= 0 && decimal_integer_digits(d) <= MOST_DIGITS) {
        snprintf(out, n_bytes, "%s%llu%.*s", sign, digits, d.exponent, "0000000000000000000");
    } else if (d.exponent < 0 && d.exponent >= -MOST_DIGITS) {
        unsigned long long unit = (unsigned long long)power_of_ten(-d.exponent);
        snprintf(out, n_bytes, "%s%llu.%0*llu", sign, digits / unit, -d.exponent, digits % unit);
    } else {
        snprintf(out, n_bytes, "%s%llue%d", sign, digits, d.exponent);
    }
}

bool schema_read_count(const json_t *value, size_t *out)
{
    if (!json_is_number(value)) {
        return false;
    }
    struct decimal d = decimal_from_json(value);
    if (d.negative || !decimal_is_integer(d)) {
        return false;
    }
    bool is_beyond = decimal_integer_digits(d) > MOST_DIGITS - 1;
    *out =
        (size_t)(is_beyond ? power_of_ten(MOST_DIGITS - 1) : d.digits * power_of_ten(d.exponent));
    return true;
}
