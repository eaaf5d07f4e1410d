/* schema_emit_number.c - expressions for sets of numbers.
 *
 * Numbers without any bound may have an exponent; with bounds they are plain: an optional minus, up
 * to 18 digits (where a bound has 19, all that 64 bits hold, as many readers hold no more) and up
 * to 20 behind a point. A bound is one expression over the digits, from the left: same digits, then
 * a smaller one, then any.
 *
 * Readers make doubles of what has a point. Rounding keeps the order, so that what is not more than
 * a bound stays so; but 1.49999999999999999999 is read as 1.5, and 9007199254740992.9 as more than
 * a maximum of 9007199254740993, which no double is. Where that would matter (such a bound, an
 * exclusive one, multipleOf, a value left out) fractions have at most 15 digits in all, which
 * doubles tell apart. */
#include "schema/schema_compile_internal.h"

#include <stdio.h>

enum {
    INTEGER_DIGITS = 18,
    MOST_DIGITS = 19, /* where a bound has them */
    FRACTION_DIGITS = 20,
    EXACT_DIGITS = 15,
    SHORT_DIGITS = 9,
    SMALL_UNIT = 200 /* digits of a unit; multiples of larger ones are listed where they are few */
};

/* Of EXACT_DIGITS. */
#define EXACT_LIMIT UINT64_C(1000000000000000)

/* What texts there are before bounds. */
struct universe {
    int n_integer; /* digits before the point, at most */
    bool has_fraction;
};

static uint32_t digit_range(struct schema_compiler *k, int first, int last)
{
    struct grammar_range range = {(uint32_t)('0' + first), (uint32_t)('0' + last)};
    return grammar_class(k->builder, &(struct grammar_class){.ranges = &range, .n_ranges = 1});
}

static uint32_t any_digits(struct schema_compiler *k, int min, int max)
{
    return max <= 0
               ? grammar_empty(k->builder)
               : grammar_repeat(k->builder, digit_range(k, 0, 9), (uint32_t)min, (uint32_t)max);
}

static uint32_t any_fraction(struct schema_compiler *k)
{
    return schema_optional(
        k, schema_then(k, grammar_bytes(k->builder, STR(".")), any_digits(k, 1, FRACTION_DIGITS)));
}

/* 0, or up to n digits of which the first is not 0, and a fraction. */
static uint32_t unsigned_numbers(struct schema_compiler *k, const struct universe *u)
{
    uint32_t whole =
        schema_either(k, digit_range(k, 0, 0),
                      schema_then(k, digit_range(k, 1, 9), any_digits(k, 0, u->n_integer - 1)));
    return u->has_fraction ? schema_then(k, whole, any_fraction(k)) : whole;
}

/* --- u <= limit, digit by digit */

struct digits {
    char integer[MOST_DIGITS + 1]; /* "0", "120" */
    char fraction[400];            /* "", "05" */
    int n_integer, n_fraction;
};

static bool read_digits(struct decimal d, struct digits *out)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long)d.digits);
    int before = n + d.exponent; /* digits before the point */
    *out = (struct digits){0};
    if (before > MOST_DIGITS || -d.exponent > FRACTION_DIGITS) {
        return false;
    }
    for (int i = before < 0 ? before : 0; i < (before > n ? before : n); i++) {
        char c = '0';
        if (i >= 0 && i < n) {
            c = text[i];
        }
        if (i < before) {
            out->integer[out->n_integer++] = c;
        } else {
            out->fraction[out->n_fraction++] = c;
        }
    }
    if (out->n_integer == 0) {
        out->integer[out->n_integer++] = '0';
    }
    return true;
}

/* The fraction, point included, of numbers whose integer is that of the limit. */
static uint32_t fraction_up_to(struct schema_compiler *k, const struct digits *d, bool is_open)
{
    uint32_t zeros = grammar_repeat(k->builder, digit_range(k, 0, 0), 0,
                                    (uint32_t)(FRACTION_DIGITS - d->n_fraction));
    uint32_t rest = is_open ? grammar_nothing(k->builder) : zeros; /* all digits are the same */
    for (int i = d->n_fraction - 1; i >= 0; i--) {
        int c = d->fraction[i] - '0';
        uint32_t same = schema_then(k, digit_range(k, c, c), rest);
        if (c > 0) {
            same = schema_either(k, same,
                                 schema_then(k, digit_range(k, 0, c - 1),
                                             any_digits(k, 0, FRACTION_DIGITS - i - 1)));
        }
        /* shorter than the limit, whose last digit is none of 0: less */
        rest = i > 0 ? schema_either(k, same, grammar_empty(k->builder)) : same;
    }
    if (d->n_fraction == 0 && !is_open) {
        rest =
            schema_then(k, digit_range(k, 0, 0),
                        grammar_repeat(k->builder, digit_range(k, 0, 0), 0, FRACTION_DIGITS - 1));
    }
    uint32_t with_point = schema_then(k, grammar_bytes(k->builder, STR(".")), rest);
    bool bare = d->n_fraction > 0 || !is_open;
    return bare ? schema_optional(k, with_point) : with_point;
}

static uint32_t up_to(struct schema_compiler *k, const struct universe *u, struct decimal limit,
                      bool is_open)
{
    struct digits d;
    if (!read_digits(limit, &d)) {
        error_set(k->e, ERROR_UNSUPPORTED,
                  "a bound of a number has more than %d digits behind the point", FRACTION_DIGITS);
        return GRAMMAR_NONE;
    }
    uint32_t fraction = u->has_fraction ? any_fraction(k) : grammar_empty(k->builder);
    bool bare = d.n_fraction > 0 || !is_open;
    uint32_t rest = u->has_fraction ? fraction_up_to(k, &d, is_open)
                    : bare          ? grammar_empty(k->builder)
                                    : grammar_nothing(k->builder);
    for (int i = d.n_integer - 1; i >= 0; i--) {
        int c = d.integer[i] - '0';
        int least = i == 0 && d.n_integer > 1 ? 1 : 0;
        uint32_t same = schema_then(k, digit_range(k, c, c), rest);
        rest = same;
        if (c > least) {
            uint32_t less[] = {digit_range(k, least, c - 1),
                               any_digits(k, d.n_integer - i - 1, d.n_integer - i - 1), fraction};
            rest = schema_either(k, same, grammar_sequence(k->builder, less, 3));
        }
    }
    if (d.n_integer > 1) { /* fewer digits */
        struct universe shorter = {d.n_integer - 1, u->has_fraction};
        rest = schema_either(k, rest, unsigned_numbers(k, &shorter));
    }
    return rest;
}

/* Unsigned numbers between two bounds that are not negative; low may be 0. */
static uint32_t unsigned_between(struct schema_compiler *k, const struct universe *u,
                                 const struct schema_bound *low, const struct schema_bound *high)
{
    uint32_t all = unsigned_numbers(k, u);
    if (high->is_set && decimal_integer_digits(high->value) <= u->n_integer) {
        all = up_to(k, u, high->value, high->is_open);
    }
    if (low->is_set && (low->value.digits > 0 || low->is_open)) {
        all = grammar_subtract(k->builder, all, up_to(k, u, low->value, !low->is_open));
    }
    return all;
}

/* --- both signs */

static struct schema_bound flipped(struct schema_bound b)
{
    b.value.negative = !b.value.negative && b.value.digits > 0;
    return b;
}

static uint32_t between(struct schema_compiler *k, const struct universe *u,
                        const struct schema_bound *min, const struct schema_bound *max)
{
    static const struct schema_bound zero = {.is_set = true};
    static const struct schema_bound above_zero = {.is_set = true, .is_open = true};
    uint32_t all = grammar_nothing(k->builder);
    bool max_is_zero = max->is_set && max->value.digits == 0;
    if (!max->is_set || !max->value.negative) {
        bool from_min = min->is_set && !min->value.negative;
        all = !(max_is_zero && max->is_open) ? unsigned_between(k, u, from_min ? min : &zero, max)
                                             : all;
    }
    if (!min->is_set || min->value.negative) {
        struct schema_bound low = flipped(*max), high = flipped(*min);
        bool from_max = max->is_set && max->value.negative;
        uint32_t size = unsigned_between(k, u, from_max ? &low : &above_zero, &high);
        all = schema_either(k, all, schema_then(k, grammar_bytes(k->builder, STR("-")), size));
    }
    return all;
}

/* --- a set */

static uint32_t literal_numbers(struct schema_compiler *k, const struct decimal *values, size_t n)
{
    uint32_t *nodes = schema_arena_take(&k->arena, n, sizeof *nodes, k->e);
    for (size_t i = 0; i < n && nodes != NULL; i++) {
        char text[DECIMAL_TEXT_BYTES];
        decimal_print(values[i], text, sizeof text);
        nodes[i] = grammar_bytes(k->builder, str_from(text));
    }
    return nodes == NULL ? GRAMMAR_NONE : grammar_choice(k->builder, nodes, n);
}

/* Zeros may stand behind the point of the same number. */
static uint32_t spellings(struct schema_compiler *k, struct decimal value)
{
    char text[DECIMAL_TEXT_BYTES];
    decimal_print(value, text, sizeof text);
    uint32_t zeros = grammar_repeat(k->builder, digit_range(k, 0, 0), 0, FRACTION_DIGITS);
    uint32_t point = schema_then(k, grammar_bytes(k->builder, STR(".")), zeros);
    uint32_t end = decimal_is_integer(value) ? schema_optional(k, point) : zeros;
    uint32_t all = schema_then(k, grammar_bytes(k->builder, str_from(text)), end);
    return value.digits > 0
               ? all
               : schema_then(k, schema_optional(k, grammar_bytes(k->builder, STR("-"))), all);
}

/* Integers, and fractions with so few digits that no two are the same double. */
static uint32_t exact_numbers(struct schema_compiler *k)
{
    uint32_t ways[EXACT_DIGITS];
    ways[0] = any_digits(k, 1, MOST_DIGITS);
    for (int n = 1; n < EXACT_DIGITS; n++) {
        uint32_t parts[] = {any_digits(k, n, n), grammar_bytes(k->builder, STR(".")),
                            any_digits(k, 1, EXACT_DIGITS - n)};
        ways[n] = grammar_sequence(k->builder, parts, 3);
    }
    return schema_then(k, schema_optional(k, grammar_bytes(k->builder, STR("-"))),
                       grammar_choice(k->builder, ways, EXACT_DIGITS));
}

/* A bound that is itself no double. Reals are written so that they are read as they were meant. */
static bool is_between_doubles(const struct schema_bound *b)
{
    if (!b->is_set || !decimal_is_integer(b->value) ||
        decimal_integer_digits(b->value) > MOST_DIGITS) {
        return false;
    }
    uint64_t odd = b->value.digits;
    for (int i = 0; i < b->value.exponent; i++) {
        odd *= 5;
    }
    while (odd > 0 && odd % 2 == 0) {
        odd /= 2;
    }
    return odd >> 53 != 0;
}

static bool needs_exact(const struct schema_numbers *set)
{
    return is_between_doubles(&set->min) || is_between_doubles(&set->max) || set->min.is_open ||
           set->max.is_open || set->n_units > 0 || set->n_excluded > 0 || set->only_fractions;
}

static bool is_unbounded(const struct schema_numbers *set)
{
    return !set->min.is_set && !set->max.is_set && set->n_units == 0 && set->n_excluded == 0 &&
           !set->only_fractions && !set->only_integers;
}

static uint32_t any_number(struct schema_compiler *k)
{
    if (k->any_number == GRAMMAR_NONE) {
        k->any_number = schema_pattern(
            k, "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,20})?|"
               "-?[1-9](\\.[0-9]{1,20})?[eE](\\+?([0-9]{1,2}|[12][0-9]{2}|30[0-7])|-[0-9]{1,3})");
    }
    return k->any_number;
}

static int bound_digits(const struct schema_bound *b)
{
    return b->is_set ? decimal_integer_digits(b->value) : 0;
}

/* Leaves out bounds beyond all digits; where one has as many as there are, both are at most those
 * of 64 bits. False: nothing is left. */
static bool bring_within_reach(struct schema_numbers *set, int *out_digits)
{
    const struct schema_bound lowest = {decimal_from_int(INT64_MIN), true, false};
    const struct schema_bound highest = {decimal_from_int(INT64_MAX), true, false};
    struct schema_bound *min = &set->min, *max = &set->max;
    if (min->value.negative && bound_digits(min) > MOST_DIGITS) {
        *min = (struct schema_bound){.is_set = false};
    }
    if (!max->value.negative && bound_digits(max) > MOST_DIGITS) {
        *max = (struct schema_bound){.is_set = false};
    }
    *out_digits = INTEGER_DIGITS;
    if (bound_digits(min) <= INTEGER_DIGITS && bound_digits(max) <= INTEGER_DIGITS) {
        return true;
    }
    *out_digits = MOST_DIGITS;
    *min = min->is_set && decimal_compare(min->value, lowest.value) >= 0 ? *min : lowest;
    *max = max->is_set && decimal_compare(max->value, highest.value) <= 0 ? *max : highest;
    int order = decimal_compare(min->value, max->value);
    return order < 0 || (order == 0 && !min->is_open && !max->is_open);
}

/* Digits before the point where there is no room for all. */
static int short_digits(const struct schema_numbers *set)
{
    int n_min = bound_digits(&set->min), n_max = bound_digits(&set->max);
    int n = n_min > n_max ? n_min : n_max;
    return n > SHORT_DIGITS ? n : SHORT_DIGITS;
}

/* Lists the multiples of a unit between two bounds that are few, for which there is more room than
 * for an automaton of remainders. False: there are too many, or k->e is set. */
static bool list_multiples(struct schema_compiler *k, const struct schema_numbers *set,
                           struct schema_numbers *out)
{
    int64_t first = 0, last = 0;
    size_t n = 0;
    if (!set->min.is_set || !set->max.is_set ||
        !decimal_count_units(set->min.value, set->units[0], true, &first) ||
        !decimal_count_units(set->max.value, set->units[0], false, &last) ||
        last - first >= SCHEMA_MAX_ENUM) {
        return false;
    }
    struct decimal *values =
        schema_arena_take(&k->arena, (size_t)(last - first + 1), sizeof *values, k->e);
    for (int64_t i = first; i <= last && values != NULL; i++) {
        if (!decimal_multiply(set->units[0], i, &values[n]) ||
            (!decimal_is_integer(values[n]) && values[n].digits >= EXACT_LIMIT)) {
            return false;
        }
        n += schema_numbers_have(set, values[n]);
    }
    *out = (struct schema_numbers){.is_listed = true, .values = values, .n_values = n};
    return values != NULL;
}

static uint32_t refuse_unit(struct schema_compiler *k, struct decimal unit)
{
    char text[DECIMAL_TEXT_BYTES];
    const struct error *why = k->e->code != ERROR_NONE ? k->e : grammar_builder_error(k->builder);
    if (why->code == ERROR_UNSUPPORTED) {
        decimal_print(unit, text, sizeof text);
        error_set(k->e, ERROR_UNSUPPORTED,
                  "'multipleOf' %s cannot be enforced here: its automaton is too large; give a "
                  "minimum and a maximum with at most %d multiples between them",
                  text, SCHEMA_MAX_ENUM);
    }
    return GRAMMAR_NONE;
}

uint32_t schema_emit_numbers(struct schema_compiler *k, const struct schema_numbers *all_numbers)
{
    if (all_numbers->is_listed) {
        return literal_numbers(k, all_numbers->values, all_numbers->n_values);
    }
    if (is_unbounded(all_numbers)) {
        return any_number(k);
    }
    struct schema_numbers reached = *all_numbers;
    const struct schema_numbers *set = &reached;
    struct universe u = {.has_fraction = !set->only_integers};
    struct schema_numbers few;
    if (!bring_within_reach(&reached, &u.n_integer)) {
        error_set(
            k->e, ERROR_UNSUPPORTED,
            "'minimum', 'maximum' and their exclusive forms leave only numbers that 64 bits do "
            "not hold");
        return GRAMMAR_NONE;
    }
    if (set->n_units > 0 && set->units[0].digits > SMALL_UNIT && list_multiples(k, set, &few)) {
        return literal_numbers(k, few.values, few.n_values);
    }
    for (size_t i = 0; i < set->n_units; i++) { /* their multiples are integers */
        u.has_fraction &= !decimal_is_integer(set->units[i]);
    }
    for (size_t i = 0; i < set->n_units; i++) {
        bool is_large = u.has_fraction && set->units[i].digits > SMALL_UNIT;
        u.n_integer = is_large ? short_digits(set) : u.n_integer;
    }
    uint32_t all = between(k, &u, &set->min, &set->max);
    if (u.has_fraction && needs_exact(set)) {
        all = grammar_intersect(k->builder, all, exact_numbers(k));
    }
    for (size_t i = 0; i < set->n_units; i++) {
        all = grammar_determine(k->builder, all); /* small, before it is multiplied */
        all = grammar_intersect(k->builder, all, schema_multiples(k, set->units[i]));
        if (all == GRAMMAR_NONE) {
            return refuse_unit(k, set->units[i]);
        }
    }
    if (set->only_fractions) {
        all = grammar_subtract(k->builder, all, schema_multiples(k, decimal_from_int(1)));
    }
    for (size_t i = 0; i < set->n_excluded; i++) {
        all = grammar_subtract(k->builder, all, spellings(k, set->excluded[i]));
    }
    return all;
}
