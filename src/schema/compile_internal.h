/* compile_internal.h - the parts of grammar_compile(): expressions are measured, rules become
 * graphs of operations whose leaves are automata, and these are linked. */
#ifndef SCHEMA_COMPILE_INTERNAL_H
#define SCHEMA_COMPILE_INTERNAL_H

#include "schema/grammar_internal.h"

/* What is known of an expression (struct measure) before anything is made of it. */
enum { MEASURE_MAX = 1 << 24 };

struct measure {
    uint32_t size;   /* states of its nondeterministic automaton, about; MEASURE_MAX: at least */
    uint32_t depth;  /* expressions within each other, through rules, too */
    uint32_t n_uses; /* by other expressions */
    uint8_t n_wide;  /* loops over classes of many characters, 255: at least */
    bool is_known;
    bool is_regular;  /* has no limit, and calls no rule that calls itself in the end */
    bool has_wide;    /* a class of many characters is in it */
    bool has_count;   /* a bounded loop over such a class is in it */
    bool is_words;    /* literals and choices of them alone */
    bool is_nullable; /* of regular ones */
    bool is_open;     /* a text may be over without a byte that tells, as a loop ends */
    bool has_part;    /* text-like and its own end, among others, as a member's value behind its
                         name: it is better a leaf of its own, which equal parts share */
};

struct compilation {
    const struct grammar_builder *builder;
    struct measure *measures;      /* (nodes) */
    struct measure *rule_measures; /* (rules) of their bodies; not regular until found to be */
    uint32_t *leaf_of;             /* (nodes) leaf + 1 */
    uint32_t *entry_of;            /* (nodes) operation + 1 where it was made a procedure */
    uint32_t *rule_entry;          /* (rules) operation + 1 */
    struct pool operations;        /* struct operation; leaves' `to` is a number of leaves */
    struct pool targets;           /* uint32_t */
    struct pool loops;             /* struct loop; start is a number of leaves */
    struct pool leaves;            /* struct dfa */
    struct pool waiting;           /* struct procedure: to be made */
    uint64_t steps;
    struct error *error;
};

/* An expression that becomes operations of its own, which begin at `entry` and end with a
 * return. */
struct procedure {
    uint32_t node, entry;
    uint32_t rule; /* GRAMMAR_NONE: a part of one */
};

/* measure.c: fills measures of all that root reaches. */
bool compile_measure(struct compilation *k, uint32_t root);

/* link.c: makes one automaton of all leaves, and finds what operations need, which of them may read
 * nothing, and the order of calls. out takes over the pools' arrays. */
bool compile_link(struct compilation *k, uint32_t root, struct grammar *out);

static inline struct operation *compile_operation(const struct compilation *k, uint32_t i)
{
    return (struct operation *)k->operations.items + i;
}

#endif
