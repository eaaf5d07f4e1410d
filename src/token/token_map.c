/* token_map.c - open addressing with linear probing over seeded 64-bit hashes. */
#include "token/token_map.h"

#include "base/clock.h"
#include "base/mem.h"
#include "token/token.h"

#include <string.h>

static uint64_t mix(uint64_t h)
{
    h *= 0x9E3779B97F4A7C15u; /* 2^64 / golden ratio */
    return h ^ h >> 32;
}

static uint64_t hash_bytes(struct str key, uint64_t seed)
{
    uint64_t h = mix(seed ^ key.n);
    const char *p = key.p;
    size_t n = key.n;
    uint64_t word = 0;
    for (; n >= sizeof word; n -= sizeof word, p += sizeof word) {
        memcpy(&word, p, sizeof word);
        h = mix(h ^ word);
    }
    if (n > 0) {
        word = 0;
        memcpy(&word, p, n);
        h = mix(h ^ word);
    }
    return mix(h);
}

uint64_t token_map_seed(const void *p)
{
    return mix((uint64_t)(uintptr_t)p ^ clock_now_ns());
}

bool token_map_init(struct token_map *m, const struct str *keys, size_t n_max, struct error *e)
{
    size_t n_slots = 16;
    while (n_slots < 2 * n_max) {
        n_slots *= 2;
    }
    struct token_map_slot *slots = mem_alloc(n_slots, sizeof *slots, "token table", e);
    if (slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < n_slots; i++) {
        slots[i].id = TOKEN_NONE;
    }
    *m = (struct token_map){slots, n_slots - 1, token_map_seed(slots), keys};
    return true;
}

void token_map_finish(struct token_map *m)
{
    mem_free(m->slots);
    *m = (struct token_map){0};
}

/* The slot that holds key, or the free one where it would go. */
static struct token_map_slot *find_slot(const struct token_map *m, struct str key, uint64_t hash)
{
    size_t i = (hash >> 32 ^ hash) & m->mask;
    for (;; i = (i + 1) & m->mask) {
        struct token_map_slot *slot = &m->slots[i];
        if (slot->id == TOKEN_NONE ||
            (slot->hash == (uint32_t)hash && str_eq(m->keys[slot->id], key))) {
            return slot;
        }
    }
}

void token_map_add(struct token_map *m, uint32_t id)
{
    struct str key = m->keys[id];
    uint64_t hash = hash_bytes(key, m->seed);
    struct token_map_slot *slot = find_slot(m, key, hash);
    if (slot->id == TOKEN_NONE) {
        *slot = (struct token_map_slot){(uint32_t)hash, id};
    }
}

uint32_t token_map_find(const struct token_map *m, struct str key)
{
    return find_slot(m, key, hash_bytes(key, m->seed))->id;
}
