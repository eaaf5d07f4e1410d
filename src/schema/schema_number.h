/* schema_number.h - numbers of JSON as exact decimals, so that 1 == 1.0 and 0.3 is a multiple of
 * 0.1. A real counts as the shortest decimal that reads back as the same double, which is how it
 * was written; one of 2^53 to 10^19 as the integer that the double is, as the integers near it are
 * read exactly and compared with that. Pure functions, no memory. */
#ifndef SCHEMA_SCHEMA_NUMBER_H
#define SCHEMA_SCHEMA_NUMBER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* +-digits * 10^exponent; digits has no factor 10, and 0 is +0 * 10^0. */
struct decimal {
    uint64_t digits; /* < 10^19 + 1 */
    int exponent;    /* -350 .. 330 */
    bool negative;
};

/* needs  json_is_number(number), finite */
struct decimal decimal_from_json(const json_t *number);
struct decimal decimal_from_int(int64_t value);

/* -1, 0 or 1, as a is less than, equal to or more than b. */
int decimal_compare(struct decimal a, struct decimal b);

bool decimal_is_integer(struct decimal d);

/* Is there an integer n with a = n * b? needs b != 0 */
bool decimal_is_multiple(struct decimal a, struct decimal b);

/* The largest n with n * unit <= d, or with up the smallest with n * unit >= d; false where that is
 * too large. needs unit > 0 */
bool decimal_count_units(struct decimal d, struct decimal unit, bool up, int64_t *out);
/* n * d; false for more digits than a decimal has. */
bool decimal_multiply(struct decimal d, int64_t n, struct decimal *out);

/* How many digits stand before the point of |d| in plain notation; 0 when |d| < 1. */
int decimal_integer_digits(struct decimal d);

/* Plain or scientific notation that JSON reads as the same number. Cut when it does not fit, which
 * it does with DECIMAL_TEXT_BYTES. */
enum { DECIMAL_TEXT_BYTES = 40 };
void decimal_print(struct decimal d, char *out, size_t n_bytes);

/* A count as in minLength: an integer from 0 on, also written as a real (2.0); one beyond 10^18,
 * which nothing has, is taken for that. False for all else. */
bool schema_read_count(const json_t *value, size_t *out);

#endif
