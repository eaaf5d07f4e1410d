/* dfa.h - regular languages of bytes: nondeterministic automata built from the end to the start,
 * and deterministic ones made of them. Both have one owner and no locks. */
#ifndef SCHEMA_DFA_H
#define SCHEMA_DFA_H

#include "schema/grammar.h"

/* What may be spent on a grammar before it is refused; about 10 ns a step. */
enum { DFA_MAX_STEPS = 8000000 };

enum { NFA_MATCH = 0, NFA_FAIL = 1 }; /* the first two states of every nfa */

/* A state reads a byte of first..last and goes to out; one with first > last reads nothing and goes
 * to both out and alt. */
struct nfa_state {
    uint32_t out, alt;
    uint8_t first, last;
};

struct nfa {
    struct nfa_state *states; /* (n) */
    uint32_t n, capacity, max;
    uint64_t *steps; /* left to spend, the caller's */
};

/* States are made with the state that follows them; 0xFFFFFFFF: ERROR_MEMORY, or ERROR_UNSUPPORTED
 * for more than max states, or steps. */
#define NFA_NONE UINT32_MAX
bool nfa_init(struct nfa *a, uint32_t max, uint64_t *steps, struct error *e);
void nfa_finish(struct nfa *a);
uint32_t nfa_byte(struct nfa *a, uint8_t first, uint8_t last, uint32_t next, struct error *e);
uint32_t nfa_either(struct nfa *a, uint32_t one, uint32_t other, struct error *e);

/* A code point of one of the ranges (not negated: alphabet.c makes them disjoint and ascending). */
uint32_t nfa_class(struct nfa *a, const struct grammar_range *ranges, size_t n,
                   enum grammar_alphabet alphabet, uint32_t next, struct error *e);

/* Sorts, merges and clips ranges in place to code points, without surrogates; with negated the
 * others instead. out has room for 2 n + 3. Returns how many there are. */
size_t alphabet_ranges(const struct grammar_class *c, struct grammar_range *out);

/* State 0 is dead: nothing leads from it to a match. All others lead to one. */
struct dfa {
    uint32_t n_states, start;
    uint32_t n_classes;    /* of bytes that the automaton does not tell apart */
    uint8_t class_of[256]; /* ascending with the byte */
    uint32_t *next;        /* (n_states, n_classes) */
    bool *accepting;       /* (n_states) */
};

/* Of all that leads from start to NFA_MATCH. ERROR_UNSUPPORTED for more than max_states, or
 * steps. */
bool dfa_from_nfa(const struct nfa *a, uint32_t start, uint32_t max_states, struct dfa *out,
                  struct error *e);
void dfa_finish(struct dfa *d);
bool dfa_copy(const struct dfa *d, uint64_t *steps, struct dfa *out, struct error *e);

enum dfa_operation { DFA_AND, DFA_AND_NOT };
bool dfa_combine(const struct dfa *a, const struct dfa *b, enum dfa_operation operation,
                 uint64_t *steps, struct dfa *out, struct error *e);

bool dfa_matches(const struct dfa *d, struct str text);

/* Bytes of the longest text of an automaton without dead ends; UINT32_MAX: there is none. */
bool dfa_longest(const struct dfa *d, uint32_t *out, struct error *e);

/* Copies d into an nfa, so that what leaves it goes on to next. */
uint32_t nfa_dfa(struct nfa *a, const struct dfa *d, uint32_t next, struct error *e);

/* Whether no text of d goes on as another. */
bool dfa_is_prefix_free(const struct dfa *d);

/* Leaves out the states from which no match can be reached. */
bool dfa_prune(struct dfa *d, struct error *e);

/* Makes equal states one: map[s] (n_states) is the new number of s, 0 stays 0. Every state
 * counts as reachable, d->start is mapped, too. */
bool dfa_minimize(struct dfa *d, uint32_t *map, uint64_t *steps, struct error *e);

/* Takes from *steps; ERROR_UNSUPPORTED when there are too few. */
bool dfa_spend(uint64_t *steps, uint64_t n, struct error *e);

#endif
