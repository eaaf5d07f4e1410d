/* schema_multiple.c - the automaton of plain decimal numbers that are multiples of a unit: it keeps
 * the remainder of the digits read, scaled as they stand before or behind the point. */
#include "base/mem.h"
#include "schema/grammar_internal.h"
#include "schema/schema_compile_internal.h"

enum { MAX_REMAINDERS = 10000, MAX_STATES = 12000, DEAD = 0 };

/* Bytes that are told apart, ascending: others, '-', '.', '/', the digits, others. */
enum { CLASS_MINUS = 1, CLASS_POINT = 2, CLASS_ZERO = 4, N_CLASSES = 15 };

static void fill_classes(struct dfa *d)
{
    for (int byte = 0; byte < 256; byte++) {
        d->class_of[byte] = (uint8_t)(byte < '-'    ? 0
                                      : byte < '0'  ? byte - '-' + CLASS_MINUS
                                      : byte <= '9' ? byte - '0' + CLASS_ZERO
                                                    : N_CLASSES - 1);
    }
    d->n_classes = N_CLASSES;
}

/* States: 0 dead, 1 at the start, 2 behind a minus, then a row of remainders for the digits before
 * the point, one for each number of digits behind it up to n_behind, and 1 for zeros behind those.
 * */
struct layout {
    uint32_t n_remainders, n_behind;
};

static uint32_t state_of(const struct layout *l, uint32_t row, uint32_t remainder)
{
    return 3 + row * l->n_remainders + remainder;
}

static uint32_t count_states(const struct layout *l)
{
    return state_of(l, l->n_behind + 2, 0) + 1;
}

/* Is the number right if it ends with so many digits behind the point? */
static bool is_multiple(const struct layout *l, uint32_t remainder, uint32_t n_digits)
{
    uint64_t r = remainder;
    for (uint32_t i = n_digits; i < l->n_behind; i++) {
        r = r * 10 % l->n_remainders;
    }
    return r == 0;
}

static void fill_row(const struct layout *l, uint32_t row, struct dfa *d)
{
    uint32_t zeros = count_states(l) - 1;
    uint32_t n_digits = row == 0 ? 0 : row - 1; /* behind the point: row 1 is just behind it */
    for (uint32_t r = 0; r < l->n_remainders; r++) {
        uint32_t state = state_of(l, row, r);
        uint32_t *next = d->next + (size_t)state * N_CLASSES;
        d->accepting[state] = is_multiple(l, r, n_digits);
        if (row == 0) {
            next[CLASS_POINT] = state_of(l, 1, r);
        }
        for (uint32_t digit = 0; digit < 10; digit++) {
            uint32_t after = (uint32_t)(((uint64_t)r * 10 + digit) % l->n_remainders);
            next[CLASS_ZERO + digit] = row == 0                 ? state_of(l, 0, after)
                                       : n_digits < l->n_behind ? state_of(l, row + 1, after)
                                       : digit == 0 && r == 0   ? zeros
                                                                : DEAD;
        }
    }
}

static bool make_automaton(const struct layout *l, struct dfa *d, struct error *e)
{
    *d = (struct dfa){.n_states = count_states(l), .start = 1};
    fill_classes(d);
    d->next = mem_alloc((size_t)d->n_states * N_CLASSES, sizeof *d->next, "automaton", e);
    d->accepting = mem_alloc(d->n_states, sizeof *d->accepting, "automaton", e);
    if (d->next == NULL || d->accepting == NULL) {
        dfa_finish(d);
        return false;
    }
    d->next[1 * N_CLASSES + CLASS_MINUS] = 2;
    for (uint32_t digit = 0; digit < 10; digit++) {
        uint32_t to = state_of(l, 0, digit % l->n_remainders);
        d->next[1 * N_CLASSES + CLASS_ZERO + digit] = to;
        d->next[2 * N_CLASSES + CLASS_ZERO + digit] = to;
    }
    for (uint32_t row = 0; row <= l->n_behind + 1; row++) {
        fill_row(l, row, d);
    }
    uint32_t zeros = d->n_states - 1;
    d->accepting[zeros] = true;
    d->next[(size_t)zeros * N_CLASSES + CLASS_ZERO] = zeros;
    return true;
}

/* Of an integer unit the zeros at its end stand at the end of all its multiples but 0. */
static uint32_t with_zeros(struct schema_compiler *k, uint32_t multiples, int n_zeros)
{
    uint32_t zero = grammar_bytes(k->builder, STR("0"));
    uint32_t zeros = grammar_repeat(k->builder, zero, (uint32_t)n_zeros, (uint32_t)n_zeros);
    return schema_either(k, zero, schema_then(k, multiples, zeros));
}

uint32_t schema_multiples(struct schema_compiler *k, struct decimal unit)
{
    uint32_t n_behind = unit.exponent < 0 ? (uint32_t)-unit.exponent : 0;
    struct layout l = {(uint32_t)(unit.digits <= MAX_REMAINDERS ? unit.digits : 0), n_behind};
    struct dfa d;
    if (l.n_remainders == 0 || n_behind > 20 || unit.exponent > 20 ||
        count_states(&l) > MAX_STATES) {
        error_set(k->e, ERROR_UNSUPPORTED, "too large: more than %d states of an automaton",
                  MAX_STATES);
        return GRAMMAR_NONE;
    }
    uint32_t all = make_automaton(&l, &d, k->e) ? grammar_add_dfa(k->builder, &d) : GRAMMAR_NONE;
    return unit.exponent > 0 && all != GRAMMAR_NONE ? with_zeros(k, all, unit.exponent) : all;
}
