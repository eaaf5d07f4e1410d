/* grammar.h - what texts are allowed: expressions over bytes and rules that may call each other.
 *
 * A builder makes expressions bottom up; each function returns the number of one, which may be used
 * any number of times in the same builder. A builder remembers its first error: from then on every
 * function returns GRAMMAR_NONE and grammar_compile() fails with that error, so that callers need
 * not ask after every call. A builder belongs to one thread; a compiled grammar is immutable.
 *
 *     uint32_t value = grammar_declare(b, STR("value"));
 *     uint32_t parts[] = {grammar_bytes(b, STR("[")), grammar_call(b, value),
 *                         grammar_bytes(b, STR("]"))};
 *     uint32_t ways[] = {grammar_sequence(b, parts, 3), grammar_pattern(b, STR("[0-9]+"), 0)};
 *     grammar_define(b, value, grammar_choice(b, ways, 2));
 *     struct grammar *g = grammar_compile(b, grammar_call(b, value), e);
 *
 * What is regular (all that calls no rule that calls itself in the end) becomes deterministic
 * automata, the rest a pushdown automaton of these. For speed a text with a long inside, such as a
 * JSON string, is best one expression with its end: sequence(quote, repeat(character), quote). */
#ifndef SCHEMA_GRAMMAR_H
#define SCHEMA_GRAMMAR_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GRAMMAR_NONE      UINT32_MAX /* no expression: something failed */
#define GRAMMAR_UNLIMITED UINT32_MAX /* of a repetition */

enum {
    GRAMMAR_MAX_NODES = 200000,     /* expressions of a builder */
    GRAMMAR_MAX_BYTES = 4 << 20,    /* of all literals and names */
    GRAMMAR_MAX_DEPTH = 400,        /* of expressions in each other */
    GRAMMAR_MAX_RULES = 20000,      /* declared */
    GRAMMAR_MAX_REPEAT = 10000000,  /* of a bounded repetition */
    GRAMMAR_MAX_DFA_STATES = 16384, /* of one regular expression, before it is made minimal */
    GRAMMAR_MAX_STACK = 512         /* rules within each other while a text is matched: texts that
                                        are nested deeper are not allowed */
};

struct grammar_builder;
struct grammar;

/* ERROR_MEMORY. */
struct grammar_builder *grammar_builder_create(struct error *e);
/* NULL is allowed. */
void grammar_builder_destroy(struct grammar_builder *b);

/* Steps that are left for what is made and computed at once, about 10 ns each; no more than that
 * with limit. */
uint64_t grammar_builder_steps(const struct grammar_builder *b);
void grammar_builder_limit(struct grammar_builder *b, uint64_t steps);

/* The first error; code ERROR_NONE while there is none. Its text names the limit and the number
 * that passed it, the rule or the place in a pattern. */
const struct error *grammar_builder_error(const struct grammar_builder *b);

/* Expressions. */
uint32_t grammar_empty(struct grammar_builder *b);   /* the empty text, and no other */
uint32_t grammar_nothing(struct grammar_builder *b); /* no text at all: the choice of nothing */
uint32_t grammar_bytes(struct grammar_builder *b, struct str bytes);

/* How a code point is written: itself in UTF-8, or inside a JSON string. There in any way that JSON
 * allows (itself where it may stand, a short escape (\n), \u with hexadecimal digits of any
 * case, a pair of surrogates from U+10000 on), or, PLAIN, in the one of json.dumps(
 * ensure_ascii=False) of Python: itself where it may stand, else a short escape, else \u001f. */
enum grammar_alphabet { GRAMMAR_UTF8, GRAMMAR_JSON, GRAMMAR_JSON_PLAIN };

struct grammar_range {
    uint32_t first,
        last; /* code points, both included; those above U+10FFFF and surrogates are none */
};
/* One code point that is (not, if negated) in one of the ranges, which may overlap. */
struct grammar_class {
    const struct grammar_range *ranges; /* (n_ranges) */
    size_t n_ranges;
    bool negated;
    enum grammar_alphabet alphabet;
};
uint32_t grammar_class(struct grammar_builder *b, const struct grammar_class *c);

/* A regular expression (docs/STRUCTURED.md says of what), for the whole text unless SEARCH: the
 * texts that match by ECMA-262 and by Python's `re`, for what has to match. */
enum {
    GRAMMAR_PATTERN_SEARCH = 1,  /* matches somewhere, as JSON Schema's `pattern` does */
    GRAMMAR_PATTERN_JSON = 2,    /* of the inside of a JSON string, in GRAMMAR_JSON_PLAIN */
    GRAMMAR_PATTERN_DOT_ALL = 4, /* . is every code point, line ends too */
    GRAMMAR_PATTERN_WIDE = 8     /* what matches by either at least, for what must not match */
};
uint32_t grammar_pattern(struct grammar_builder *b, struct str pattern, unsigned flags);

uint32_t grammar_sequence(struct grammar_builder *b, const uint32_t *nodes, size_t n);
uint32_t grammar_choice(struct grammar_builder *b, const uint32_t *nodes, size_t n);
/* min <= max; max may be GRAMMAR_UNLIMITED. */
uint32_t grammar_repeat(struct grammar_builder *b, uint32_t node, uint32_t min, uint32_t max);

/* Texts of at most max characters as GRAMMAR_JSON_PLAIN spells them, of an expression without
 * calls none of whose texts goes on as another (a quote ends them, say, which counts). They are
 * counted while a text is matched, so that any maximum costs the same; what comes of it counts as
 * a call. */
uint32_t grammar_limit(struct grammar_builder *b, uint32_t node, uint32_t max);

/* Texts of both, and those of a that are not of c. Both need expressions without calls of rules
 * (ERROR_UNSUPPORTED) and are computed at once. Bytes decide: both sides have to spell characters
 * in the same way. */
uint32_t grammar_intersect(struct grammar_builder *b, uint32_t a, uint32_t c);
uint32_t grammar_subtract(struct grammar_builder *b, uint32_t a, uint32_t c);

/* The same texts as one minimal automaton, so that the questions below are quick. */
uint32_t grammar_determine(struct grammar_builder *b, uint32_t node);

/* Of an expression that is one automaton (of the three above): its states, and the bytes of its
 * longest text, UINT32_MAX if there is none. False for others, or with the builder's error set. */
bool grammar_measure(struct grammar_builder *b, uint32_t node, uint32_t *out_states,
                     uint32_t *out_longest);

/* Whether it is seen at a glance that an expression has no text: an automaton or a limit without
 * one, or a choice of nothing. */
bool grammar_has_none(const struct grammar_builder *b, uint32_t node);

/* Of an expression without calls of rules: whether it has no text at all, and whether it has this
 * one. Bounded like the above; false with GRAMMAR's first error set where they fail. */
bool grammar_is_nothing(struct grammar_builder *b, uint32_t node);
bool grammar_has_text(struct grammar_builder *b, uint32_t node, struct str text);

/* A rule, to be defined once; rules are told apart by number, their names are for errors alone. */
uint32_t grammar_declare(struct grammar_builder *b, struct str name);
void grammar_define(struct grammar_builder *b, uint32_t rule, uint32_t node);
uint32_t grammar_call(struct grammar_builder *b, uint32_t rule);

/* Makes what matchers read (automaton.h); the builder stays as it was. Fails with the builder's
 * error, or   ERROR_USAGE        no text can match; a rule is not defined; a rule calls itself
 * before any
 *                      byte (left recursion), named with its way round
 *   ERROR_UNSUPPORTED  too large: the limit and the number   ERROR_MEMORY */
struct grammar *grammar_compile(struct grammar_builder *b, uint32_t root, struct error *e);
/* NULL is allowed. */
void grammar_destroy(struct grammar *g);

/* Other ways to write grammars. Each compiles a whole one; errors as grammar_compile, and
 * ERROR_FORMAT naming the line and column (byte for patterns) of what is wrong. */
struct grammar *grammar_from_gbnf(struct str text, struct error *e);
struct grammar *grammar_from_pattern(struct str pattern, struct error *e);
struct grammar *grammar_from_choices(const struct str *choices, size_t n, struct error *e);

#endif
