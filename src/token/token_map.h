/* token_map.h - hash table from byte strings to token ids: open addressing, half full at most.
 * Filled once by its owner, then immutable and thread-safe. */
#ifndef TOKEN_TOKEN_MAP_H
#define TOKEN_TOKEN_MAP_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct token_map_slot {
    uint64_t word;    /* a key of up to 8 bytes itself, else its hash */
    uint32_t n;       /* bytes of the key */
    uint32_t next_id; /* id + 1; 0: free */
};

struct token_map {
    struct token_map_slot *slots; /* (mask + 1) in huge pages: every look-up is a random access */
    size_t mask;
    uint64_t seed;          /* of every hash; random, so that a file cannot aim at collisions */
    const struct str *keys; /* (ids) owned by the caller: the key of id is keys[id] */
};

/* Room for n_max ids, each < the length of keys. */
bool token_map_init(struct token_map *m, const struct str *keys, size_t n_max, struct error *e);
void token_map_finish(struct token_map *m);

/* Enters keys[id]; when that key is there already the older id stays. */
void token_map_add(struct token_map *m, uint32_t id);

/* TOKEN_NONE when key was not entered. */
uint32_t token_map_find(const struct token_map *m, struct str key);

/* A random seed for hash tables that hold what a file says. */
uint64_t token_map_seed(void);

#endif
