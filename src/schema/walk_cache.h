/* walk_cache.h - what states of automata read of one vocabulary, for all grammars over it: inside
 * every JSON string they are the same, and a walk over a large vocabulary takes milliseconds.
 *
 * What is kept stays until the cache is destroyed; when it is full nothing is added. A key says all
 * that a walk depends on, so that what is found is what would be walked. All calls are
 * thread-safe. */
#ifndef SCHEMA_WALK_CACHE_H
#define SCHEMA_WALK_CACHE_H

#include "base/error.h"
#include "base/str.h"

#include <stdint.h>

/* Tokens that a leaf's automaton reads to their end, and where it may end within others. */
struct token_walk {
    uint64_t *bits;   /* (trie's n_words) tokens, or NULL: */
    uint32_t *tokens; /* (n_tokens) */
    uint32_t n_tokens;
    uint32_t *exits; /* (n_exits) nodes whose parents may end the leaf, by byte */
    uint32_t n_exits;
    uint32_t *exits_of; /* (258) first exit of a byte; NULL where there are none */
    size_t n_bytes;     /* of all these */
};
void token_walk_finish(struct token_walk *w);

struct walk_cache;

/* NULL: ERROR_MEMORY. */
struct walk_cache *walk_cache_create(struct error *e);
/* NULL is allowed. */
void walk_cache_destroy(struct walk_cache *c);

/* NULL: not there. */
const struct token_walk *walk_cache_find(struct walk_cache *c, struct str key);
/* Takes w over, and *out is what is kept under the key. When there is no room, *out is NULL and w
 * stays the caller's, as on failure: ERROR_MEMORY. */
bool walk_cache_keep(struct walk_cache *c, struct str key, struct token_walk *w,
                     const struct token_walk **out, struct error *e);

/* Walks that are kept. */
size_t walk_cache_count(struct walk_cache *c);

#endif
