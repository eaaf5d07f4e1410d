/* auth_table.c - the keys of the store in memory, and how they follow it. */
#include "serve/auth_internal.h"

#include "base/mem.h"

#include <stdlib.h>

/* --- life */

struct auth *auth_create(const char *path, struct error *e)
{
    struct auth *a = mem_alloc(1, sizeof *a, "keys", e);
    if (a == NULL) {
        return NULL;
    }
    a->path = path;
    a->minutes = mem_alloc(AUTH_MAX_MINUTES, sizeof(struct auth_key *), "ephemeral keys", e);
    if (a->minutes == NULL) {
        auth_destroy(a);
        return NULL;
    }
    return a;
}

void auth_key_destroy(struct auth_key *k)
{
    if (k != NULL) {
        store_key_finish(&k->row);
        mem_free(k);
    }
}

static void destroy_all(struct auth_key **keys, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        auth_key_destroy(keys[i]);
    }
    mem_free(keys);
}

void auth_destroy(struct auth *a)
{
    if (a != NULL) {
        destroy_all(a->keys, a->n_keys);
        destroy_all(a->minutes, a->n_minutes);
        mem_free(a);
    }
}

bool auth_is_on(const struct auth *a)
{
    return a->is_on;
}

size_t auth_n_keys(const struct auth *a)
{
    return a->n_keys;
}

/* --- finding */

static int compare_id(const void *id, const void *key)
{
    return strcmp(id, (*(struct auth_key *const *)key)->row.id);
}

static int compare_keys(const void *a, const void *b)
{
    return compare_id((*(struct auth_key *const *)a)->row.id, b);
}

struct auth_key *auth_find(const struct auth *a, enum secret_kind kind, const char *id)
{
    if (kind == SECRET_OF_STORE) {
        struct auth_key **found =
            a->n_keys > 0 ? bsearch(id, a->keys, a->n_keys, sizeof(struct auth_key *), compare_id)
                          : NULL;
        return found != NULL ? *found : NULL;
    }
    for (size_t i = 0; i < a->n_minutes; i++) {
        if (strcmp(a->minutes[i]->row.id, id) == 0) {
            return a->minutes[i];
        }
    }
    return NULL;
}

/* --- reading */

struct reading {
    struct auth_key **keys; /* (n) of the rows */
    size_t n, max;
};

static bool take_row(void *argument, struct store_key *row, struct error *e)
{
    struct reading *r = argument;
    if (r->n == r->max) {
        size_t more = r->max > 0 ? 2 * r->max : 64;
        void *grown = mem_resize(r->keys, more, sizeof(struct auth_key *), "list of keys", e);
        if (grown == NULL) {
            return false;
        }
        r->keys = grown;
        r->max = more;
    }
    struct auth_key *k = mem_alloc(1, sizeof *k, "key", e);
    if (k == NULL) {
        return false;
    }
    k->row = *row;
    row->name = row->models = row->origins = NULL;
    r->keys[r->n++] = k;
    return true;
}

static bool read_rows(const struct auth *a, uint32_t patience_ms, struct reading *r,
                      struct error *e)
{
    struct store_options options = {
        .schema = &store_keys_schema, .path = a->path, .patience_ms = patience_ms};
    struct error why = {0};
    struct store *s = store_open(&options, &why);
    if (s == NULL && why.code == ERROR_NOT_FOUND) {
        return true; /* nobody has any key */
    }
    bool ok = s != NULL && store_keys_walk(s, take_row, r, &why);
    store_close(s);
    return ok || error_set(e, why.code, "%s", why.text);
}

/* What has come and gone. Nothing fails any more; places has room for all. */
static void merge(struct auth *a, struct reading *r, struct auth_key **places, uint64_t now_ns)
{
    size_t n = a->n_keys;
    for (size_t i = 0; i < n; i++) {
        places[i] = a->keys[i];
        places[i]->is_gone = true;
    }
    for (size_t i = 0; i < r->n; i++) {
        struct auth_key *read = r->keys[i], *k = auth_find(a, SECRET_OF_STORE, read->row.id);
        if (k == NULL) {
            rate_init(&read->requests, read->row.requests_per_minute, now_ns);
            rate_init(&read->tokens, read->row.tokens_per_minute, now_ns);
            read->number = ++a->n_numbers;
            places[n++] = read;
            continue;
        }
        struct store_key before = k->row;
        k->row = read->row;
        read->row = before;
        k->is_gone = false;
        rate_change(&k->requests, k->row.requests_per_minute, now_ns);
        rate_change(&k->tokens, k->row.tokens_per_minute, now_ns);
        auth_key_destroy(read);
    }
    mem_free(a->keys);
    a->keys = places;
    a->n_keys = n;
    if (n > 0) {
        qsort(places, n, sizeof(struct auth_key *), compare_keys);
    }
    a->is_on = a->is_on || n > 0;
}

bool auth_reload(struct auth *a, bool always, uint32_t patience_ms, uint64_t now_ns,
                 struct error *e)
{
    struct reading r = {0};
    struct store_stamp stamp;
    if (!store_look(a->path, &stamp, e)) {
        return false;
    }
    if (!always && !a->stamp.is_young && store_stamp_eq(&stamp, &a->stamp)) {
        return true;
    }
    bool ok = read_rows(a, patience_ms, &r, e);
    struct auth_key **places =
        ok ? mem_alloc(a->n_keys + r.n, sizeof(struct auth_key *), "list of keys", e) : NULL;
    if (places == NULL) {
        destroy_all(r.keys, r.n);
        return false;
    }
    merge(a, &r, places, now_ns);
    mem_free(r.keys);
    a->stamp = stamp;
    return true;
}
