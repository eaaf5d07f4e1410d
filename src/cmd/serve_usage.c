/* serve_usage.c - options of the ledger, and a look at its file before anybody relies on it. */
#include "cmd/serve_usage.h"

#include "base/mem.h"
#include "cmd/print.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { START_PATIENCE_MS = 5000 };

void serve_usage_init(struct serve_usage *u)
{
    *u = (struct serve_usage){.mode = "auto", .failure = "refuse"};
}

static bool check_options(struct serve_usage *u, struct error *e)
{
    bool is_off = strcmp(u->mode, "off") == 0, serves = strcmp(u->failure, "serve") == 0;
    if (!is_off && strcmp(u->mode, "on") != 0 && strcmp(u->mode, "auto") != 0) {
        return error_set(e, ERROR_USAGE, "option --usage: '%s' is not on, off or auto", u->mode);
    }
    if (!serves && strcmp(u->failure, "refuse") != 0) {
        return error_set(e, ERROR_USAGE, "option --usage-failure: '%s' is not refuse or serve",
                         u->failure);
    }
    if (is_off && u->option != NULL) {
        return error_set(e, ERROR_USAGE, "option --usage-store changes nothing with --usage=off");
    }
    if (u->option != NULL && u->option[0] == '\0') {
        return error_set(e, ERROR_USAGE, "option --usage-store: the name is empty");
    }
    u->policy = serves ? LEDGER_SERVES : LEDGER_REFUSES;
    return true;
}

static bool try_file(const struct serve_usage *u, struct error *e)
{
    struct error why = {0};
    struct store *s = store_open(&(struct store_options){.schema = &store_usage_schema,
                                                         .path = u->path,
                                                         .creates = true,
                                                         .patience_ms = START_PATIENCE_MS},
                                 &why);
    if (s == NULL && u->policy == LEDGER_REFUSES) {
        return error_set(e, why.code, "%s", why.text);
    }
    if (s == NULL) {
        print_warning(why.text);
    }
    store_close(s);
    return true;
}

/* A name that is mistyped would hand out budgets again. */
static bool check_folder(const struct serve_usage *u, struct error *e)
{
    char copy[PATH_MAX];
    struct stat folder;
    snprintf(copy, sizeof copy, "%s", u->path);
    return u->option == NULL || stat(dirname(copy), &folder) == 0 ||
           error_set(e, ERROR_NOT_FOUND, "option --usage-store: %s: %s", copy, strerror(errno));
}

bool serve_usage_open(struct serve_usage *u, const struct cmd_env *env,
                      const struct serve_keys *keys, struct error *e)
{
    if (!check_options(u, e)) {
        return false;
    }
    struct error why = {0};
    bool is_on = strcmp(u->mode, "on") == 0, is_off = strcmp(u->mode, "off") == 0;
    if (!is_off && !cmd_find_usage_store(env, keys->option, u->option, &u->path, &why)) {
        return (!is_on && why.code == ERROR_NOT_FOUND) || /* nobody has a home here, nor keys */
               error_set(e, why.code, "%s", why.text);
    }
    bool is_asked = keys->auth != NULL && auth_is_on(keys->auth);
    return is_off || !(is_on || is_asked) || (check_folder(u, e) && try_file(u, e));
}

bool serve_usage_start(struct serve_usage *u, struct service *service, struct http_server *server,
                       void (*note)(const char *text), struct error *e)
{
    if (u->path == NULL) {
        return true;
    }
    u->ledger = ledger_create(&(struct ledger_options){.path = u->path,
                                                       .server = server,
                                                       .policy = u->policy,
                                                       .patience_ms = LEDGER_PATIENCE_MS,
                                                       .max_rows = LEDGER_MAX_ROWS,
                                                       .note = note},
                              e);
    service->ledger = u->ledger;
    service->ledger_path = u->path;
    service->counts_all = strcmp(u->mode, "on") == 0;
    return u->ledger != NULL;
}

void serve_usage_close(struct serve_usage *u)
{
    ledger_destroy(u->ledger);
    mem_free(u->path);
}
