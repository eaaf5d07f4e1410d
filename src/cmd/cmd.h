/* cmd.h - what every subcommand gets and gives. One file a subcommand: cmd_NAME() parses its
 * options (options.h), calls modules and prints. Only main.c knows the table of subcommands. */
#ifndef CMD_CMD_H
#define CMD_CMD_H

#include "base/buf.h"
#include "base/digest.h"
#include "base/error.h"
#include "serve/http_cors.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PUNA_VERSION "0.1.0"

/* What the process's environment says; read once, in main.c. NULL or "" where unset. */
struct cmd_env {
    const char *home;           /* HOME */
    const char *xdg_data_home;  /* models: $XDG_DATA_HOME/puna/models */
    const char *xdg_state_home; /* history: $XDG_STATE_HOME/puna/history */
    const char *xdg_cache_home; /* packed weights: $XDG_CACHE_HOME/puna/packed */
    const char *models_dir;     /* PUNA_MODELS overrides the model folder */
    const char *store;          /* PUNA_STORE, and --store, $XDG_DATA_HOME/puna/store.db */
    const char *no_color;       /* NO_COLOR */
    const char *term;           /* TERM */
    /* Of a service manager (service_manager.h): LISTEN_PID ...; main.c hands them to no child. */
    const char *listen_pid, *listen_fds, *notify_socket, *watchdog_pid, *watchdog_usec;
    char **all; /* "NAME=value", NULL at the end: for settings.h */
};

/* argv[0] is the subcommand's name; returns the exit code. */
typedef int cmd_fn(const struct cmd_env *env, int argc, char **argv);

cmd_fn cmd_run, cmd_inspect, cmd_tokenize, cmd_detokenize, cmd_score, cmd_bench, cmd_serve,
    cmd_keys, cmd_usage, cmd_version;

/* Prints "puna COMMAND: TEXT" on stderr, one line whatever file or person the text quotes (see
 * print_escaped), and returns the code's exit status (error.h). */
int cmd_fail(const char *command, const struct error *e);

/* Says on stderr how many bytes have no token (token_list.n_dropped), if any. */
void cmd_warn_dropped(const char *command, size_t n_bytes);

/* Flushes stdout; a full disk is an error with its exit code, else `exit_code`. (A reader that goes
 * away ends the process by SIGPIPE, quietly, as it ends other filters.) */
int cmd_finish_output(const char *command, int exit_code);

/* Reads all of stdin (at most max_bytes); *out_text is freed with mem_free. */
bool cmd_read_stdin(size_t max_bytes, char **out_text, size_t *out_n, struct error *e);

/* Appends the bytes of a file to *out, which has room for twice max_bytes. ERROR_NOT_FOUND,
 * ERROR_IO, ERROR_USAGE (more than max_bytes), ERROR_MEMORY; texts do not name it. */
bool cmd_read_file(const char *path, size_t max_bytes, struct buf *out, struct error *e);

/* Path of a model named on the command line: a path, a name in the model folder (with or without
 * ".gguf"), or NULL for the default model, which is fetched when absent.
 * *out_path is freed with mem_free. */
bool cmd_find_model(const struct cmd_env *env, const char *model, char **out_path, struct error *e);

/* Path of the store: the option's, where it is not NULL, else as struct cmd_env says. *out_path is
 * freed with mem_free. */
bool cmd_find_store(const struct cmd_env *env, const char *option, char **out_path,
                    struct error *e);

/* Path of the ledger of usage: usage_option's, where it is not NULL, else that of the store with
 * "-usage" behind it. *out_path is freed with mem_free. */
bool cmd_find_usage_store(const struct cmd_env *env, const char *store_option,
                          const char *usage_option, char **out_path, struct error *e);

/* Of this program's file: other code may compute other keys and values. */
bool cmd_digest_program(struct digest *out, struct error *e);

/* "30d" as seconds: s, m, h, d or w behind a number above 0; 100 years at most. ERROR_USAGE. */
bool cmd_parse_duration(const char *text, int64_t *out, struct error *e);

/* Scheme, host and port of web pages, as browsers send them (http_cors.h). ERROR_USAGE. */
bool cmd_read_origin(const char *value, char out[static HTTP_CORS_ORIGIN_BYTES], struct error *e);

/* xdg_home (when absolute) or HOME/fallback, + "/puna/" + name; freed with mem_free. */
char *cmd_user_path(const struct cmd_env *env, const char *xdg_home, const char *fallback,
                    const char *name, struct error *e);

#endif
