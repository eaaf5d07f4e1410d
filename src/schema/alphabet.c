/* alphabet.c - code points as bytes: UTF-8, and every spelling inside a JSON string. A range of
 * numbers is cut into sequences of ranges of digits: of 6 bits in UTF-8, of 4 bits in \u escapes,
 * of 10 bits in surrogate pairs. */
#include "schema/dfa.h"

#include <stdlib.h>

enum { LAST_CODE_POINT = 0x10FFFF, FIRST_SURROGATE = 0xD800, LAST_SURROGATE = 0xDFFF };

/* --- sets of code points */

static int compare_ranges(const void *a, const void *b)
{
    const struct grammar_range *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

static size_t put(struct grammar_range *out, size_t n, uint32_t first, uint32_t last)
{
    if (first > last) {
        return n;
    }
    out[n] = (struct grammar_range){first, last};
    return n + 1;
}

/* Without surrogates: they are no code points of a text. */
static size_t put_clipped(struct grammar_range *out, size_t n, uint32_t first, uint32_t last)
{
    last = last < LAST_CODE_POINT ? last : LAST_CODE_POINT;
    if (last < FIRST_SURROGATE || first > LAST_SURROGATE) {
        return put(out, n, first, last);
    }
    if (first < FIRST_SURROGATE) {
        n = put(out, n, first, FIRST_SURROGATE - 1);
    }
    return last > LAST_SURROGATE ? put(out, n, LAST_SURROGATE + 1, last) : n;
}

size_t alphabet_ranges(const struct grammar_class *c, struct grammar_range *out)
{
    /* sorted and merged in the second half first: the first is written at most two ahead of it */
    struct grammar_range *merged = out + c->n_ranges + 3;
    size_t n_merged = 0, n = 0;
    for (size_t i = 0; i < c->n_ranges; i++) {
        merged[i] = c->ranges[i];
    }
    if (c->n_ranges > 0) {
        qsort(merged, c->n_ranges, sizeof *merged, compare_ranges);
    }
    for (size_t i = 0; i < c->n_ranges; i++) {
        struct grammar_range r = merged[i];
        if (r.first > r.last) {
            continue;
        }
        if (n_merged > 0 && r.first <= merged[n_merged - 1].last) {
            if (r.last > merged[n_merged - 1].last) {
                merged[n_merged - 1].last = r.last;
            }
        } else {
            merged[n_merged++] = r;
        }
    }
    uint32_t from = 0;
    for (size_t i = 0; i < n_merged; i++) {
        struct grammar_range r = merged[i];
        if (!c->negated) {
            n = put_clipped(out, n, r.first, r.last);
        } else {
            n = r.first > from ? put_clipped(out, n, from, r.first - 1) : n;
            from = r.last < LAST_CODE_POINT ? r.last + 1 : LAST_CODE_POINT + 1;
        }
    }
    return c->negated && from <= LAST_CODE_POINT ? put_clipped(out, n, from, LAST_CODE_POINT) : n;
}

/* --- numbers as sequences of digits */

struct spelling;
typedef uint32_t digit_function(const struct spelling *s, uint32_t place, struct grammar_range d,
                                uint32_t next, struct error *e);

struct spelling {
    struct nfa *nfa;
    uint32_t bits;         /* of a digit */
    uint32_t n_digits;     /* of the whole number */
    digit_function *digit; /* reads a digit; place 0 is the last */
};

static uint32_t either(struct nfa *a, uint32_t one, uint32_t other, struct error *e)
{
    return one == NFA_FAIL ? other : other == NFA_FAIL ? one : nfa_either(a, one, other, e);
}

static uint32_t digit_then(const struct spelling *s, uint32_t place, struct grammar_range d,
                           uint32_t next, struct error *e)
{
    return next == NFA_NONE ? NFA_NONE : s->digit(s, place, d, next, e);
}

/* The numbers r.first to r.last, of which the digits above place are read already. */
static uint32_t number(const struct spelling *s, uint32_t place, struct grammar_range r,
                       uint32_t next, struct error *e)
{
    if (place == 0) {
        return s->digit(s, 0, r, next, e);
    }
    uint32_t shift = s->bits * place, rest = (1u << shift) - 1;
    uint32_t low = r.first >> shift, high = r.last >> shift;
    struct grammar_range inner = {r.first & rest, r.last & rest};
    if (low == high) {
        inner.first &= rest;
        uint32_t tail = number(s, place - 1, inner, next, e);
        return digit_then(s, place, (struct grammar_range){low, low}, tail, e);
    }
    uint32_t found = NFA_FAIL, part;
    if (inner.first > 0) {
        part = number(s, place - 1, (struct grammar_range){inner.first, rest}, next, e);
        found = digit_then(s, place, (struct grammar_range){low, low}, part, e);
        low++;
    }
    if (found != NFA_NONE && inner.last < rest) {
        part = number(s, place - 1, (struct grammar_range){0, inner.last}, next, e);
        part = digit_then(s, place, (struct grammar_range){high, high}, part, e);
        found = part == NFA_NONE ? NFA_NONE : either(s->nfa, found, part, e);
        high--;
    }
    if (found != NFA_NONE && low <= high) {
        part = number(s, place - 1, (struct grammar_range){0, rest}, next, e);
        part = digit_then(s, place, (struct grammar_range){low, high}, part, e);
        found = part == NFA_NONE ? NFA_NONE : either(s->nfa, found, part, e);
    }
    return found;
}

static uint32_t utf8_digit(const struct spelling *s, uint32_t place, struct grammar_range d,
                           uint32_t next, struct error *e)
{
    static const uint8_t leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    uint8_t mark = place + 1 == s->n_digits ? leads[s->n_digits] : 0x80;
    return nfa_byte(s->nfa, (uint8_t)(mark | d.first), (uint8_t)(mark | d.last), next, e);
}

/* r within the code points that have n_bytes. */
static uint32_t utf8(struct nfa *a, uint32_t n_bytes, struct grammar_range r, uint32_t next,
                     struct error *e)
{
    struct spelling s = {a, 6, n_bytes, utf8_digit};
    return n_bytes == 1 ? nfa_byte(a, (uint8_t)r.first, (uint8_t)r.last, next, e)
                        : number(&s, n_bytes - 1, r, next, e);
}

static uint32_t hex_digits(const struct spelling *s, struct grammar_range d, const char *letters,
                           uint32_t next, struct error *e)
{
    uint32_t found = NFA_FAIL;
    if (d.first < 10) {
        uint32_t last = d.last < 9 ? d.last : 9;
        found = nfa_byte(s->nfa, (uint8_t)('0' + d.first), (uint8_t)('0' + last), next, e);
    }
    if (d.last >= 10) {
        uint32_t first = d.first > 10 ? d.first - 10 : 0, last = d.last - 10;
        for (const char *letter = letters; *letter != '\0' && found != NFA_NONE; letter++) {
            uint8_t base = (uint8_t)*letter;
            uint32_t part =
                nfa_byte(s->nfa, (uint8_t)(base + first), (uint8_t)(base + last), next, e);
            found = part == NFA_NONE ? NFA_NONE : either(s->nfa, found, part, e);
        }
    }
    return found;
}

static uint32_t hex_digit(const struct spelling *s, uint32_t place, struct grammar_range d,
                          uint32_t next, struct error *e)
{
    (void)place;
    return hex_digits(s, d, "aA", next, e);
}

static uint32_t lower_hex_digit(const struct spelling *s, uint32_t place, struct grammar_range d,
                                uint32_t next, struct error *e)
{
    (void)place;
    return hex_digits(s, d, "a", next, e);
}

/* What is read before next: `\u` and four digits of the range. */
static uint32_t escape16(const struct spelling *s, struct grammar_range r, uint32_t next,
                         struct error *e)
{
    uint32_t at = number(s, 3, r, next, e);
    at = at == NFA_NONE ? at : nfa_byte(s->nfa, 'u', 'u', at, e);
    return at == NFA_NONE ? at : nfa_byte(s->nfa, '\\', '\\', at, e);
}

static uint32_t surrogate_digit(const struct spelling *s, uint32_t place, struct grammar_range d,
                                uint32_t next, struct error *e)
{
    uint32_t base = place == 0 ? 0xDC00 : 0xD800;
    struct spelling hex = {s->nfa, 4, 4, hex_digit};
    return escape16(&hex, (struct grammar_range){base + d.first, base + d.last}, next, e);
}

/* --- classes */

static struct grammar_range overlap(struct grammar_range a, uint32_t first, uint32_t last)
{
    return (struct grammar_range){a.first > first ? a.first : first, a.last < last ? a.last : last};
}

static uint32_t add(struct nfa *a, uint32_t found, uint32_t part, struct error *e)
{
    return found == NFA_NONE || part == NFA_NONE ? NFA_NONE : either(a, found, part, e);
}

/* Every code point of the range as itself. */
static uint32_t plain(struct nfa *a, struct grammar_range r, uint32_t next, struct error *e)
{
    static const uint32_t ends[] = {0, 0x80, 0x800, 0x10000, LAST_CODE_POINT + 1};
    uint32_t found = NFA_FAIL;
    for (uint32_t n_bytes = 1; n_bytes <= 4; n_bytes++) {
        struct grammar_range part = overlap(r, ends[n_bytes - 1], ends[n_bytes] - 1);
        if (part.first <= part.last) {
            found = add(a, found, utf8(a, n_bytes, part, next, e), e);
        }
    }
    return found;
}

/* Those of the range that have a short escape. */
static uint32_t escaped_shortly(struct nfa *a, struct grammar_range r, const char *letters,
                                const char *meanings, uint32_t next, struct error *e)
{
    uint32_t found = NFA_FAIL;
    for (size_t i = 0; letters[i] != '\0'; i++) {
        uint32_t c = (uint8_t)meanings[i];
        if (c >= r.first && c <= r.last) {
            uint32_t at = nfa_byte(a, (uint8_t)letters[i], (uint8_t)letters[i], next, e);
            at = at == NFA_NONE ? at : nfa_byte(a, '\\', '\\', at, e);
            found = add(a, found, at, e);
        }
    }
    return found;
}

/* Those of the range that cannot stand for themselves, each in one way. */
static uint32_t escaped_plainly(struct nfa *a, struct grammar_range r, uint32_t next,
                                struct error *e)
{
    static const struct grammar_range without_letter[] = {{0, 7}, {0x0B, 0x0B}, {0x0E, 0x1F}};
    uint32_t found = escaped_shortly(a, r, "\"\\bfnrt", "\"\\\b\f\n\r\t", next, e);
    struct spelling s = {a, 4, 4, lower_hex_digit};
    for (size_t i = 0; i < sizeof without_letter / sizeof *without_letter; i++) {
        struct grammar_range part = overlap(r, without_letter[i].first, without_letter[i].last);
        if (part.first <= part.last) {
            found = add(a, found, escape16(&s, part, next, e), e);
        }
    }
    return found;
}

/* Every code point of the range as an escape, in all ways. */
static uint32_t escaped(struct nfa *a, struct grammar_range r, uint32_t next, struct error *e)
{
    uint32_t found = escaped_shortly(a, r, "\"\\/bfnrt", "\"\\/\b\f\n\r\t", next, e);
    struct spelling hex = {a, 4, 4, hex_digit};
    struct grammar_range part = overlap(r, 0, 0xFFFF);
    if (part.first <= part.last) {
        found = add(a, found, escape16(&hex, part, next, e), e);
    }
    part = overlap(r, 0x10000, LAST_CODE_POINT);
    if (part.first <= part.last) {
        struct spelling s = {a, 10, 2, surrogate_digit};
        part = (struct grammar_range){part.first - 0x10000, part.last - 0x10000};
        found = add(a, found, number(&s, 1, part, next, e), e);
    }
    return found;
}

uint32_t nfa_class(struct nfa *a, const struct grammar_range *ranges, size_t n,
                   enum grammar_alphabet alphabet, uint32_t next, struct error *e)
{
    /* what may stand for itself in a JSON string */
    static const struct grammar_range raw[] = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, LAST_CODE_POINT}};
    uint32_t found = NFA_FAIL;
    for (size_t i = 0; i < n && found != NFA_NONE; i++) {
        if (alphabet == GRAMMAR_UTF8) {
            found = add(a, found, plain(a, ranges[i], next, e), e);
            continue;
        }
        for (size_t k = 0; k < sizeof raw / sizeof raw[0]; k++) {
            struct grammar_range part = overlap(ranges[i], raw[k].first, raw[k].last);
            if (part.first <= part.last) {
                found = add(a, found, plain(a, part, next, e), e);
            }
        }
        uint32_t rest = alphabet == GRAMMAR_JSON ? escaped(a, ranges[i], next, e)
                                                 : escaped_plainly(a, ranges[i], next, e);
        found = add(a, found, rest, e);
    }
    return found;
}
