/* serve_keys.c - looks at the store now and then: a look is a stat(), unless somebody wrote. */
#include "cmd/serve_keys.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cmd/print.h"
#include "cmd/serve_log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { LOOK_MS = 500, START_PATIENCE_MS = 5000 };

static bool is_named(const struct serve_keys *k, const struct cmd_env *env)
{
    return k->option != NULL || (env->store != NULL && env->store[0] != '\0');
}

/* Who names a store wants keys to be asked for: a name that is mistyped must not open the server.
 * Whoever can write to it can let himself in. */
static bool check_file(const struct serve_keys *k, const struct cmd_env *env, struct error *e)
{
    char text[ERROR_TEXT_BYTES];
    struct stat file;
    if (stat(k->path, &file) != 0) {
        return errno != ENOENT || !is_named(k, env) ||
               error_set(e, ERROR_NOT_FOUND,
                         "%s: no such store: puna keys add --store FILE makes it with its first "
                         "key; or leave %s out",
                         k->path, k->option != NULL ? "option --store" : "PUNA_STORE");
    }
    if ((file.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        snprintf(text, sizeof text, "%s: others can write to it, and so make keys: chmod go-w",
                 k->path);
        print_warning(text);
    }
    return true;
}

bool serve_keys_open(struct serve_keys *k, const struct cmd_env *env, bool no_auth, struct error *e)
{
    struct error why = {0};
    if (!cmd_find_store(env, k->option, &k->path, &why)) {
        if (why.code == ERROR_NOT_FOUND && !is_named(k, env)) {
            return true; /* nobody has a home here, nor keys */
        }
        return error_set(e, why.code, "%s", why.text);
    }
    k->auth = check_file(k, env, e) ? auth_create(k->path, e) : NULL;
    if (k->auth == NULL || !auth_reload(k->auth, true, START_PATIENCE_MS, clock_now_ns(), e)) {
        return false;
    }
    struct secret_hash hash;
    if (!secret_digest(STR(""), &hash)) { /* nobody could ever be let in */
        return error_set(e, ERROR_MEMORY, "no memory for digests of keys");
    }
    size_t n = auth_n_keys(k->auth);
    return !no_auth || n == 0 ||
           error_set(e, ERROR_USAGE,
                     "option --no-auth: %s has %zu key%s, which are asked for: leave it out, or "
                     "name another --store",
                     k->path, n, n > 1 ? "s" : "");
}

bool serve_keys_count(struct serve_keys *k, const char *ledger_path, struct error *e)
{
    char text[ERROR_TEXT_BYTES + 96];
    struct error why = {0};
    int64_t now_s = (int64_t)time(NULL);
    k->has_ledger = ledger_path != NULL;
    const char *id = k->auth != NULL ? auth_find_budget(k->auth, now_s) : NULL;
    if (id != NULL && !k->has_ledger) {
        return error_set(e, ERROR_USAGE,
                         "key %s has a limit of tokens a day or month, which the ledger of usage "
                         "keeps over a restart: leave --usage=off out",
                         id);
    }
    if (k->auth == NULL || !k->has_ledger ||
        auth_count_used(k->auth, ledger_path, now_s, START_PATIENCE_MS, &why)) {
        return true;
    }
    if (id != NULL) {
        return error_set(e, why.code, "%s", why.text);
    }
    snprintf(text, sizeof text, "%s; limits of a day or month to come begin with nothing used",
             why.text);
    print_warning(text);
    return true;
}

/* Counted in this memory alone. */
static void tell_budget(struct serve_keys *k)
{
    char text[160];
    const char *id = auth_find_budget(k->auth, (int64_t)time(NULL));
    if (id != NULL && !k->has_ledger && !k->told_budget) {
        k->told_budget = true;
        snprintf(text, sizeof text,
                 "key %s has a limit of tokens a day or month; without a ledger (--usage=off) the "
                 "end of this server forgets what was used",
                 id);
        serve_log_warn(text);
    }
}

/* Who writes just now is done before the next look. The same trouble is told once. */
static void reload(struct serve_keys *k, bool always)
{
    struct error e = {0};
    char text[ERROR_TEXT_BYTES + 64];
    bool ok = auth_reload(k->auth, always, 0, clock_now_ns(), &e);
    if (ok) {
        tell_budget(k);
    }
    if (ok || e.code == ERROR_BUSY || strcmp(e.text, k->told) == 0) {
        k->told[0] = ok ? '\0' : k->told[0];
        return;
    }
    snprintf(k->told, sizeof k->told, "%s", e.text);
    snprintf(text, sizeof text, "%s; the keys stay as they were", e.text);
    serve_log_warn(text);
}

static void look(void *argument)
{
    struct serve_keys *k = argument;
    reload(k, false);
    http_timer_start(k->look, LOOK_MS);
}

void serve_keys_reload(struct serve_keys *k)
{
    if (k->auth != NULL) {
        reload(k, true);
    }
}

bool serve_keys_watch(struct serve_keys *k, struct http_server *server, struct error *e)
{
    if (k->auth == NULL) {
        return true;
    }
    k->look = http_timer_create(server, look, k, e);
    if (k->look == NULL) {
        return false;
    }
    http_timer_start(k->look, LOOK_MS);
    return true;
}

void serve_keys_unwatch(struct serve_keys *k)
{
    http_timer_destroy(k->look);
    k->look = NULL;
}

void serve_keys_close(struct serve_keys *k)
{
    auth_destroy(k->auth);
    mem_free(k->path);
}
