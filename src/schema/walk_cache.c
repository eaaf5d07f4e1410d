/* walk_cache.c - walks by their keys, in lists from a table. */
#include "schema/walk_cache.h"

#include "base/mem.h"

#include <pthread.h>

enum {
    N_LISTS = 1024,
    MAX_BYTES = 64 << 20,
    MAX_WALK_BYTES = 1 << 20,
};

struct entry {
    struct entry *next;
    uint64_t hash;
    struct token_walk walk;
    size_t n_key;
    char key[]; /* (n_key) */
};

struct walk_cache {
    pthread_mutex_t lock;
    struct entry *lists[N_LISTS];
    size_t n_bytes, n_entries;
};

void token_walk_finish(struct token_walk *w)
{
    mem_free(w->bits);
    mem_free(w->tokens);
    mem_free(w->exits);
    mem_free(w->exits_of);
    *w = (struct token_walk){0};
}

struct walk_cache *walk_cache_create(struct error *e)
{
    struct walk_cache *c = mem_alloc(1, sizeof *c, "token masks", e);
    if (c != NULL) {
        pthread_mutex_init(&c->lock, NULL);
    }
    return c;
}

void walk_cache_destroy(struct walk_cache *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < N_LISTS; i++) {
        for (struct entry *x = c->lists[i], *next; x != NULL; x = next) {
            next = x->next;
            token_walk_finish(&x->walk);
            mem_free(x);
        }
    }
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

static uint64_t hash_key(struct str key)
{
    uint64_t h = key.n;
    for (size_t i = 0; i < key.n; i++) {
        h = (h ^ (uint8_t)key.p[i]) * 0x9E3779B97F4A7C15u;
        h ^= h >> 32;
    }
    return h;
}

/* Under the lock. */
static const struct token_walk *find(const struct walk_cache *c, struct str key, uint64_t hash)
{
    const struct entry *x = c->lists[hash % N_LISTS];
    while (x != NULL && (x->hash != hash || !str_eq((struct str){x->key, x->n_key}, key))) {
        x = x->next;
    }
    return x != NULL ? &x->walk : NULL;
}

const struct token_walk *walk_cache_find(struct walk_cache *c, struct str key)
{
    uint64_t hash = hash_key(key);
    pthread_mutex_lock(&c->lock);
    const struct token_walk *found = find(c, key, hash);
    pthread_mutex_unlock(&c->lock);
    return found;
}

bool walk_cache_keep(struct walk_cache *c, struct str key, struct token_walk *w,
                     const struct token_walk **out, struct error *e)
{
    uint64_t hash = hash_key(key);
    size_t n_bytes = sizeof(struct entry) + key.n + w->n_bytes;
    struct entry *x = mem_alloc(1, sizeof *x + key.n, "token masks", e);
    if (x == NULL) {
        return false;
    }
    pthread_mutex_lock(&c->lock);
    *out = find(c, key, hash);
    if (*out != NULL) { /* another thread was faster */
        token_walk_finish(w);
    } else if (n_bytes <= MAX_WALK_BYTES && n_bytes <= MAX_BYTES - c->n_bytes) {
        x->next = c->lists[hash % N_LISTS];
        x->hash = hash;
        x->walk = *w;
        x->n_key = key.n;
        memcpy(x->key, key.p, key.n);
        c->lists[hash % N_LISTS] = x;
        c->n_bytes += n_bytes;
        c->n_entries++;
        *out = &x->walk;
        x = NULL;
    }
    pthread_mutex_unlock(&c->lock);
    mem_free(x);
    return true;
}

size_t walk_cache_count(struct walk_cache *c)
{
    pthread_mutex_lock(&c->lock);
    size_t n = c->n_entries;
    pthread_mutex_unlock(&c->lock);
    return n;
}
