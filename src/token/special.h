/* special.h - finds tokens that are matched in text as they are spelled (control and user-defined
 * ones): an Aho-Corasick automaton over the reversed spellings, read from the end of the text, so
 * that one linear pass gives the longest match at every position.
 * Immutable after special_init, so any thread may read it. */
#ifndef TOKEN_SPECIAL_H
#define TOKEN_SPECIAL_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct special_node {
    uint32_t first_child, next_sibling; /* 0: none; the root is nobody's child */
    uint32_t fail;                      /* node of the longest proper suffix */
    uint32_t id;                        /* longest token that the path ends with, or TOKEN_NONE */
    uint8_t byte;                       /* last of the path */
};

struct special {
    struct special_node *nodes; /* (n_nodes); node 0 is the root */
    uint32_t n_nodes;
    uint32_t root_child[256];
};

/* Spellings spellings[ids[0..n_ids)]; empty ones are left out, of equal ones the first counts. */
bool special_init(struct special *s, const struct str *spellings, const uint32_t *ids, size_t n_ids,
                  struct error *e);
void special_finish(struct special *s);

struct special_match {
    size_t start;
    uint32_t id;
};

/* The longest match at each start; those that overlap an earlier one are for the caller to skip. */
struct special_matches {
    struct special_match *items; /* in falling order of start */
    size_t n, capacity;
};
void special_matches_finish(struct special_matches *m);

/* Longest token at every position of text where there is one, looking at bytes [from, to) alone.
 * Appends to *m, which has starts at or behind `to` alone. */
bool special_search(const struct special *s, struct str text, size_t from, size_t to,
                    struct special_matches *m, struct error *e);

#endif
