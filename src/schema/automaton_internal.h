/* automaton_internal.h - the parts of an automaton: its states and stacks, and its masks. */
#ifndef SCHEMA_AUTOMATON_INTERNAL_H
#define SCHEMA_AUTOMATON_INTERNAL_H

#include "schema/automaton.h"
#include "schema/grammar_internal.h"

enum { AUTOMATON_UNKNOWN = UINT32_MAX };

/* Where to go on when what is read now has ended: an operation of the frame `parent`, which was
 * done `count` times where it repeats. */
struct stack_edge {
    uint32_t operation, count, parent;
};

/* All that may be below the top of the stack: several where a text may be read in several ways.
 * Equal ones are one node, so that equal stacks have equal numbers. Parents have smaller
 * numbers. */
struct stack_node {
    uint32_t hash;
    uint32_t edges, n_edges; /* ascending */
    uint32_t depth;          /* calls within each other */
    uint32_t after;          /* state where what is on top has just ended; AUTOMATON_UNKNOWN */
};

/* In an automaton's leaf, at state `dfa`; of a loop also how often it was done. */
struct reading {
    uint32_t dfa;
    uint32_t loop; /* loop + 1, 0: none */
    uint32_t count;
    uint32_t node; /* where to go on */
};

struct state {
    uint32_t hash;
    uint32_t readings, n_readings; /* ascending */
    uint32_t row;                  /* of transitions; AUTOMATON_UNKNOWN: none yet */
    uint32_t mask;                 /* place in the cache of masks; AUTOMATON_UNKNOWN */
    bool is_complete;
    bool has_first;
    uint64_t first[4]; /* bytes that may come next, some of which may yet lead nowhere */
};

/* Numbers of items by their hash, which is the first field of an item; open addressing, half
 * full at most. */
struct index {
    uint32_t *slots; /* (n_slots) number + 1, 0: free */
    size_t n_slots;
};

/* --- closure.c: what a byte leads to */

struct visit {
    uint32_t hash;
    uint32_t operation, count, node;
    bool is_fresh; /* called at this very byte: a return has read nothing, and was foreseen */
};

/* A reading to be, and what is below it: a node, or one edge. */
struct found_reading {
    uint32_t dfa, loop, count;
    uint32_t node; /* AUTOMATON_UNKNOWN: edge */
    struct stack_edge edge;
};

struct pending_edge {
    struct stack_edge edge;
    uint32_t next; /* + 1 */
};

struct closure {
    struct pool visits; /* struct visit; those from n_done on are to be made */
    uint32_t n_done;
    struct pool found;    /* struct found_reading */
    struct pool pending;  /* struct pending_edge */
    struct pool edges;    /* struct stack_edge, of the node that is made */
    struct pool readings; /* struct reading */
    struct index visit_index;
    uint32_t *pending_of;     /* (n_orders) first + 1 */
    uint64_t *pending_orders; /* (n_orders) bits */
    bool is_complete;
    bool is_too_large;
};

struct masks;

struct automaton {
    const struct grammar *grammar;
    const struct token_trie *trie;
    struct pool edges;    /* struct stack_edge */
    struct pool nodes;    /* struct stack_node; 0 is none */
    struct pool readings; /* struct reading */
    struct pool states;   /* struct state */
    struct pool rows;     /* uint32_t (n_rows, n_classes) */
    struct index node_index, state_index;
    struct closure closure;
    struct masks *masks;
    struct automaton_user *users;
    uint64_t n_steps; /* that were ever made, about; limits what a mask may cost */
};

static inline const struct state *automaton_state(const struct automaton *a, uint32_t i)
{
    return (const struct state *)a->states.items + i;
}

static inline const struct stack_node *automaton_node(const struct automaton *a, uint32_t i)
{
    return (const struct stack_node *)a->nodes.items + i;
}

bool closure_init(struct automaton *a, struct error *e);
void closure_finish(struct automaton *a);

/* The state of the grammar's start, of a byte of this class, and of what comes behind a node's
 * top. */
bool closure_start(struct automaton *a, uint32_t *out, struct error *e);
bool closure_step(struct automaton *a, uint32_t state, uint32_t class, uint32_t *out,
                  struct error *e);
bool closure_after(struct automaton *a, uint32_t node, uint32_t *out, struct error *e);

/* --- stack.c: equal nodes and states are one */

/* Sorts edges and drops equal ones. */
bool stack_find_node(struct automaton *a, struct stack_edge *edges, uint32_t n, uint32_t *out,
                     struct error *e);
/* readings are sorted, apart. */
bool stack_find_state(struct automaton *a, const struct reading *readings, uint32_t n,
                      bool is_complete, uint32_t *out, struct error *e);
/* Slot of the first item of this hash; index_next() gives those after it. *number: an item that may
 * equal, or AUTOMATON_UNKNOWN for a free slot, where a new one belongs. */
static inline uint32_t index_at(const struct index *x, size_t slot)
{
    return x->slots[slot & (x->n_slots - 1)] - 1;
}

/* Makes room for one more of n items, each of `size` bytes. */
bool index_make_room(struct index *x, const void *items, uint32_t n, size_t size, struct error *e);

/* State behind a node's top, cached. */
bool automaton_after(struct automaton *a, uint32_t node, uint32_t *out, struct error *e);

/* Fills first, if it has not been, and returns it. */
const uint64_t *automaton_first(struct automaton *a, uint32_t state);

/* --- mask.c */

struct masks *masks_create(const struct automaton *a, struct error *e);
void masks_destroy(struct masks *m);
/* Numbers of states have changed. */
void masks_forget(struct masks *m);
size_t masks_bytes(const struct masks *m);
const uint64_t *masks_find(struct automaton *a, uint32_t state, struct error *e);

#endif
