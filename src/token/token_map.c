/* token_map.c - open addressing with linear probing over seeded XXH3. */
#include "token/token_map.h"

#include "base/clock.h"
#include "base/mem.h"
#include "token/token.h"

#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

/* Up to 8 bytes as a number. */
static uint64_t read_word(const char *p, size_t n)
{
    uint64_t word = 0;
    for (size_t i = n; i-- > 0;) {
        word = word << 8 | (uint8_t)p[i];
    }
    return word;
}

uint64_t token_map_seed(void)
{
    uint64_t seed;
    bool ok = getrandom(&seed, sizeof seed, GRND_NONBLOCK) == (ssize_t)sizeof seed;
    return ok ? seed : clock_now_ns();
}

bool token_map_init(struct token_map *m, const struct str *keys, size_t n_max, struct error *e)
{
    size_t n_slots = 16;
    while (n_slots < 2 * n_max) {
        n_slots *= 2;
    }
    size_t n_bytes = 0;
    if (!mem_mul(n_slots, sizeof(struct token_map_slot), &n_bytes)) {
        return error_set(e, ERROR_MEMORY, "token table of %zu entries", n_slots);
    }
    struct token_map_slot *slots = mem_alloc_pages(n_bytes, "token table", e);
    if (slots == NULL) {
        return false;
    }
    *m = (struct token_map){slots, n_slots - 1, token_map_seed(), keys};
    return true;
}

void token_map_finish(struct token_map *m)
{
    mem_free_pages(m->slots, (m->mask + 1) * sizeof *m->slots);
    *m = (struct token_map){0};
}

/* The slot that holds key, or the free one where it would go; *out_word is key's word. */
static struct token_map_slot *find_slot(const struct token_map *m, struct str key,
                                        uint64_t *out_word)
{
    bool is_long = key.n > sizeof(uint64_t);
    uint64_t hash = XXH3_64bits_withSeed(key.p, key.n, m->seed);
    uint64_t word = is_long ? hash : read_word(key.p, key.n);
    *out_word = word;
    for (size_t i = hash & m->mask;; i = (i + 1) & m->mask) {
        struct token_map_slot *slot = &m->slots[i];
        if (slot->next_id == 0 || (slot->word == word && slot->n == key.n &&
                                   (!is_long || str_eq(m->keys[slot->next_id - 1], key)))) {
            return slot;
        }
    }
}

void token_map_add(struct token_map *m, uint32_t id)
{
    struct str key = m->keys[id];
    uint64_t word = 0;
    struct token_map_slot *slot = find_slot(m, key, &word);
    if (slot->next_id == 0 && key.n <= UINT32_MAX) {
        *slot = (struct token_map_slot){word, (uint32_t)key.n, id + 1};
    }
}

uint32_t token_map_find(const struct token_map *m, struct str key)
{
    uint64_t word = 0;
    return find_slot(m, key, &word)->next_id - 1; /* 0 - 1 is TOKEN_NONE */
}
