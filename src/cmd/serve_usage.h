/* serve_usage.h - the ledger of `puna serve`: which file, for which requests, and what happens when
 * it cannot be written. The thread that creates the server. */
#ifndef CMD_SERVE_USAGE_H
#define CMD_SERVE_USAGE_H

#include "cmd/serve_keys.h"
#include "serve/service.h"

struct serve_usage {
    const char *mode, *option,
        *failure; /* --usage, --usage-store (NULL: not given), --usage-failure */
    enum ledger_policy policy;
    char *path; /* of the file; beside it comes a journal. NULL: there is none */
    struct ledger *ledger;
};

/* clang-format off */
#define OPTIONS_USAGE(u)                                                                           \
    {OPTION_TEXT, "usage", 0, NULL, "MODE", &(u).mode, 0, 0,                                       \
     "write down what each request used, never what it said: on,\n"                                \
     "off, or auto: as soon as keys are asked for (default: auto)", NULL},                         \
    {OPTION_TEXT, "usage-store", 0, NULL, "FILE", &(u).option, 0, 0,                               \
     "where (default: the name of the store of keys with -usage\nbehind it)", NULL},               \
    {OPTION_TEXT, "usage-failure", 0, NULL, "POLICY", &(u).failure, 0, 0,                          \
     "while that cannot be written refuse requests, or serve them\nall the same (default: refuse)",\
     NULL}
/* clang-format on */

/* What is there when no option is given. */
void serve_usage_init(struct serve_usage *u);

/* Finds the file, beside the keys if it is not named. A ledger that rows go to from the start is
 * opened once, to see that it can be: an error, or with the policy `serve` a warning. ERROR_USAGE
 * names the option. */
bool serve_usage_open(struct serve_usage *u, const struct cmd_env *env,
                      const struct serve_keys *keys, struct error *e);

/* Starts the ledger, unless there is to be none, and has the service use it. note: see ledger.h. */
bool serve_usage_start(struct serve_usage *u, struct service *service, struct http_server *server,
                       void (*note)(const char *text), struct error *e);

/* Writes what waits. After the service's end, before the server's. */
void serve_usage_close(struct serve_usage *u);

#endif
