/* fuzz_store.c - a store of keys of any bytes. The first byte says whether it may be made or
 * filled, the rest is the file. Whatever opens has keys that are as they should be, which can be
 * changed and read again as changed; whatever does not says which file, and why. */
#include "store/store_keys.h"

#include "scratch.h"

enum { FLAG_CREATES = 1, MOST_KEYS = 64 };

static char path[SCRATCH_PATH_BYTES];

struct found {
    char ids[MOST_KEYS][SECRET_ID_BYTES];
    size_t n;
};

static void check_error(const struct error *e)
{
    require(e->code == ERROR_FORMAT || e->code == ERROR_BUSY || e->code == ERROR_UNSUPPORTED ||
            e->code == ERROR_IO || e->code == ERROR_MEMORY);
    require(e->text[0] != '\0' && strstr(e->text, path) != NULL);
}

static void check_list(const char *list)
{
    struct str rest = str_from(list), item;
    while (store_next_item(&rest, &item)) {
        require(item.n > 0 && store_has_item(list, item));
    }
    require(rest.n == 0);
}

static void check_key(const struct store_key *k)
{
    require(secret_is_id(str_from(k->id)) && k->scopes > 0 && k->scopes <= STORE_SCOPE_ALL);
    require(store_priority_name(k->priority) != NULL);
    require(k->requests_per_minute > 0 && k->tokens_per_minute > 0 && k->concurrent > 0);
    require(k->name != NULL && k->models != NULL && k->origins != NULL);
    check_list(k->models);
    check_list(k->origins);
}

static bool take_key(void *argument, struct store_key *k, struct error *e)
{
    struct found *f = argument;
    (void)e;
    check_key(k);
    if (f->n < MOST_KEYS) {
        memcpy(f->ids[f->n++], k->id, sizeof k->id);
    }
    return true;
}

/* A file may refuse to be written to; what it has taken it has. */
static void change(struct store *s, const char *id)
{
    struct store_key k, again;
    struct error e = {0};
    if (!store_begin(s, &e) || !store_key_get(s, id, &k, &e)) {
        require(e.code != ERROR_NONE);
        store_rollback(s);
        return;
    }
    check_key(&k);
    k.priority = STORE_PRIORITY_LOW;
    k.expires = 12345;
    k.old_until = 0;
    bool ok = store_key_set_text(&k.name, STR("another name"), &e) && store_key_update(s, &k, &e) &&
              store_commit(s, &e);
    if (!ok) {
        require(e.code != ERROR_NONE && e.text[0] != '\0');
        store_rollback(s);
    } else if (store_key_get(s, id, &again, &e)) {
        require(again.priority == STORE_PRIORITY_LOW && again.expires == 12345);
        require(strcmp(again.name, "another name") == 0 && strcmp(again.models, k.models) == 0);
        store_key_finish(&again);
    }
    store_key_finish(&k);
}

static void add(struct store *s)
{
    struct store_key k, again;
    struct error e = {0};
    store_key_init(&k);
    memcpy(k.id, "0123456789ab", SECRET_ID_BYTES);
    k.created = 7;
    require(store_key_set_text(&k.name, STR("n"), NULL) &&
            store_key_set_text(&k.models, STR("m\n"), NULL) &&
            store_key_set_text(&k.origins, STR(""), NULL));
    if (!store_key_add(s, &k, &e)) {
        require(e.code != ERROR_NONE && strstr(e.text, path) != NULL);
    } else if (store_key_get(s, k.id, &again, NULL)) {
        require(again.created == 7 && strcmp(again.models, "m\n") == 0);
        store_key_finish(&again);
    }
    store_key_finish(&k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct found found = {.n = 0};
    struct error e = {0};
    if (n_bytes == 0) {
        return 0;
    }
    if (path[0] == '\0') {
        scratch_name("store", path);
    }
    scratch_write(path, data + 1, n_bytes - 1);
    const struct store_options options = {
        .schema = &store_keys_schema, .path = path, .creates = (data[0] & FLAG_CREATES) != 0};
    struct store *s = store_open(&options, &e);
    if (s == NULL) {
        check_error(&e);
    } else {
        if (!store_keys_walk(s, take_key, &found, &e)) {
            check_error(&e);
        }
        for (size_t i = 0; i < found.n; i++) {
            change(s, found.ids[i]);
        }
        add(s);
        store_close(s);
    }
    scratch_remove(path);
    return 0;
}
