/* auth_keys.h - a store of keys in a folder of its own, and who asks with one of them. */
#ifndef TESTS_UNIT_AUTH_KEYS_H
#define TESTS_UNIT_AUTH_KEYS_H

#include "serve/auth.h"

#include "base/mem.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND 1000000000u

static char folder[] = "/tmp/test_auth_XXXXXX";
static char path[64];
static int64_t now_s = 1000000;
static uint64_t now_ns = 1000 * (uint64_t)SECOND;

static inline int make_folder(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s/store.db", mkdtemp(folder));
    return 0;
}

static inline int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static inline int remove_file(void **state)
{
    (void)state;
    char journal[80];
    snprintf(journal, sizeof journal, "%s-journal", path);
    unlink(journal);
    unlink(path);
    return 0;
}

static inline struct store *open_store(void)
{
    struct store *s = store_open(
        &(struct store_options){.schema = &store_keys_schema, .path = path, .creates = true}, NULL);
    assert_non_null(s);
    return s;
}

/* A key in the store, changed by `change` where that is not NULL; its secret. */
typedef void change_fn(struct store_key *k);
static inline const char *add(char digit, change_fn *change)
{
    static char secrets[16][SECRET_BYTES];
    char *secret = secrets[digit & 15];
    struct store_key k;
    struct store *s = open_store();
    store_key_init(&k);
    memset(k.id, digit, SECRET_ID_DIGITS);
    k.created = 1;
    assert_true(secret_make(SECRET_OF_STORE, k.id, secret, NULL));
    assert_true(secret_digest(str_from(secret), &k.hash));
    assert_true(store_key_set_text(&k.name, STR(""), NULL));
    assert_true(store_key_set_text(&k.models, STR(""), NULL));
    assert_true(store_key_set_text(&k.origins, STR(""), NULL));
    if (change != NULL) {
        change(&k);
    }
    assert_true(store_key_add(s, &k, NULL));
    store_key_finish(&k);
    store_close(s);
    return secret;
}

static inline void update(char digit, change_fn *change)
{
    char id[SECRET_ID_BYTES] = "";
    struct store_key k;
    struct store *s = open_store();
    memset(id, digit, SECRET_ID_DIGITS);
    assert_true(store_key_get(s, id, &k, NULL));
    change(&k);
    assert_true(store_key_update(s, &k, NULL));
    store_key_finish(&k);
    store_close(s);
}

static inline struct auth *read_keys(void)
{
    struct error e = {0};
    struct auth *a = auth_create(path, &e);
    assert_non_null(a);
    if (!auth_reload(a, true, 0, now_ns, &e)) {
        fail_msg("%s", e.text);
    }
    return a;
}

/* NULL, and nothing to let go of, when it may not. */
static inline struct auth_caller *let_in(struct auth *a, const struct auth_request *r,
                                         struct api_error *error)
{
    struct auth_caller *c;
    *error = (struct api_error){0};
    bool ok = auth_enter(a, r, &c, error);
    assert_true(ok == (error->kind == API_ERROR_NONE) && (c != NULL || !ok));
    if (!ok && c != NULL) {
        assert_int_equal(strlen(auth_id(c)), SECRET_ID_DIGITS);
        auth_leave(c, 0, now_s, now_ns);
        c = NULL;
    }
    return c;
}

static inline struct auth_caller *enter(struct auth *a, const char *secret, unsigned scope,
                                        struct api_error *error)
{
    char field[128];
    snprintf(field, sizeof field, "Bearer %s", secret);
    struct auth_request r = {
        .authorization = str_from(field), .scope = scope, .now_s = now_s, .now_ns = now_ns};
    return let_in(a, &r, error);
}

static inline void assert_let_in(struct auth *a, const char *secret, unsigned scope)
{
    struct api_error error;
    struct auth_caller *c = enter(a, secret, scope, &error);
    if (c == NULL) {
        fail_msg("%s", error.message);
    }
    auth_leave(c, 0, now_s, now_ns);
}

#endif
