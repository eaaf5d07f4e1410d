/* serve_keys.h - the keys of `puna serve`: read at the start, and again whenever they change.
 * The I/O thread, and before it runs the one that creates the server. */
#ifndef CMD_SERVE_KEYS_H
#define CMD_SERVE_KEYS_H

#include "cmd/cmd.h"
#include "serve/auth.h"
#include "serve/http.h"

/* Zeroed before. */
struct serve_keys {
    const char *option; /* --store; NULL: not given */
    char *path;
    struct auth *auth; /* NULL: there is no place for a store */
    struct http_timer *look;
    char told[ERROR_TEXT_BYTES]; /* the last warning */
    bool has_ledger, told_budget;
};

/* Reads the store; one that is there has to be readable, and one that is named has to be there:
 * ERROR_NOT_FOUND. One that others can write to is a warning. ERROR_USAGE when no_auth was said and
 * there are keys. */
bool serve_keys_open(struct serve_keys *k, const struct cmd_env *env, bool no_auth,
                     struct error *e);

/* Counts what the ledger at that path has of limits of a day and a month; NULL: nobody keeps one.
 * After serve_keys_open(), before anybody is let in. ERROR_USAGE where a key has such a limit and
 * there is no ledger, which would forget it at the end; the ledger's own errors where one has,
 * which are warnings otherwise. */
bool serve_keys_count(struct serve_keys *k, const char *ledger_path, struct error *e);

/* From now on changes count within a second. What cannot be read is a warning, and changes
 * nothing. */
bool serve_keys_watch(struct serve_keys *k, struct http_server *server, struct error *e);

/* They count at once. */
void serve_keys_reload(struct serve_keys *k);

/* Before the server's end. */
void serve_keys_unwatch(struct serve_keys *k);
/* After it. */
void serve_keys_close(struct serve_keys *k);

#endif
