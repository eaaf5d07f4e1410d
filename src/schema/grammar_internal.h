/* grammar_internal.h - what builder, compiler and automaton share: expressions, and the program
 * that they become. */
#ifndef SCHEMA_GRAMMAR_INTERNAL_H
#define SCHEMA_GRAMMAR_INTERNAL_H

#include "schema/dfa.h"
#include "schema/grammar.h"

/* --- expressions */

enum expression_kind {
    EXPRESSION_BYTES,    /* bytes[at..at + n) */
    EXPRESSION_CLASS,    /* ranges[at..at + n), ascending, apart */
    EXPRESSION_SEQUENCE, /* children[at..at + n) */
    EXPRESSION_CHOICE,   /* the same */
    EXPRESSION_REPEAT,   /* children[at], min..max times */
    EXPRESSION_CALL,     /* rule at */
    EXPRESSION_LIMIT,    /* children[at], an automaton, at most max characters */
    EXPRESSION_DFA       /* dfas[at]; n: enum derivation, of min and max */
};

struct expression {
    uint8_t kind;     /* enum expression_kind */
    uint8_t alphabet; /* of a class */
    bool is_atomic;   /* a pattern: better one automaton, whatever is in it */
    bool has_call;
    uint32_t at, n;
    uint32_t min, max; /* of a repetition; of an automaton that was computed: of what */
    uint32_t depth;    /* expressions within each other, 1 for those without children */
};

struct rule {
    struct str name; /* in the builder's names */
    uint32_t body;   /* GRAMMAR_NONE: not defined */
};

/* A growable array of items that may be freed at once. */
struct pool {
    void *items;
    uint32_t n, capacity;
};

struct grammar_builder {
    struct pool nodes;    /* struct expression */
    struct pool children; /* uint32_t */
    struct pool bytes;    /* char */
    struct pool ranges;   /* struct grammar_range */
    struct pool rules;    /* struct rule */
    struct pool dfas;     /* struct dfa */
    struct pool names;    /* char *, each its own allocation */
    uint32_t *slots;      /* (n_slots) expression without calls + 1 by what it is, 0: free */
    uint32_t n_slots, n_slots_used;
    uint64_t steps; /* left for what is computed at once */
    struct error error;
};

static inline const struct expression *builder_node(const struct grammar_builder *b, uint32_t i)
{
    return (const struct expression *)b->nodes.items + i;
}

static inline uint32_t builder_child(const struct grammar_builder *b, uint32_t i)
{
    return ((const uint32_t *)b->children.items)[i];
}

static inline struct rule *builder_rule(const struct grammar_builder *b, uint32_t i)
{
    return (struct rule *)b->rules.items + i;
}

/* Room for n more items of a pool and the place of the first, which count as used; NULL with *e for
 * more than max of `what` in all. */
void *pool_add(struct pool *p, size_t n, size_t size, size_t max, const char *what,
               struct error *e);

/* States that read an expression without calls, or with calls of regular rules, before next. */
uint32_t regular_states(const struct grammar_builder *b, struct nfa *a, uint32_t node,
                        uint32_t next, struct error *e);

/* An expression of an automaton, which it takes over, on failure too. */
uint32_t grammar_add_dfa(struct grammar_builder *b, struct dfa *d);

/* --- the program: what a rule does is a graph of operations */

enum operation_kind {
    OPERATION_LEAF,   /* read a text of the automaton from state `to` on, or of loops[loop] */
    OPERATION_CALL,   /* do what begins at `to`, then go on at next */
    OPERATION_SPLIT,  /* go on at each of targets[to..to + n) */
    OPERATION_REPEAT, /* do what begins at `to` min..max times */
    OPERATION_RETURN,
    OPERATION_END /* the text may end: where the root returns to */
};

struct operation {
    uint8_t kind;
    bool is_nullable; /* may come to an OPERATION_RETURN without a byte */
    uint32_t to, next;
    uint32_t n;        /* of a split; a leaf's loop + 1, 0: none */
    uint32_t min, max; /* of a repetition */
    uint32_t need;     /* calls within each other until it returns, at least; UINT32_MAX: never */
    uint32_t order;    /* of what is called: callers have smaller ones; else 0 */
};

/* Of a prefix-free automaton min..max texts, or one of at most max characters (text_limit.h). */
struct loop {
    uint32_t start, min, max;
    bool is_limit;
};

struct grammar {
    struct operation *operations; /* (n_operations); 0 is the END */
    uint32_t n_operations;
    uint32_t *targets; /* (n_targets) */
    uint32_t n_targets;
    struct loop *loops; /* (n_loops) */
    uint32_t n_loops;
    struct dfa dfa;       /* of all leaves */
    uint8_t byte_of[256]; /* (dfa.n_classes) the first of each class */
    uint32_t *least;      /* text_limit_find_least() of limits; NULL: there are none */
    uint32_t most_least;  /* of all that are reached */
    bool *has_next;       /* (dfa.n_states) some byte goes on */
    uint32_t root;        /* operation */
    uint32_t *by_order;   /* (n_orders) operation that is called */
    uint32_t n_orders;
};

#endif
