/* serve_aliases.h - the names beside its file's own that a served model may be called by: those of
 * `--alias`, and those of a configuration file again while the server runs. */
#ifndef CMD_SERVE_ALIASES_H
#define CMD_SERVE_ALIASES_H

#include "cmd/settings.h"
#include "serve/service.h"

/* Zeroed before; `model` is set by the owner, with its own name as the first. */
struct serve_aliases {
    struct service_model *model;
    struct buf file; /* what the names of the last serve_aliases_reload() lie in */
};

/* For OPTION_CALLS: target is the struct service_model, which keeps `value`. ERROR_USAGE. */
bool serve_aliases_add(void *target, const char *value, struct error *e);

/* Replaces the aliases by those that the file of --config has now; true without doing anything
 * where there is no file, or where the command line or the environment say the aliases. Sets
 * *out_changed to whether they are others. The thread that answers requests calls it.
 * ERROR_IO, ERROR_USAGE (file and line), ERROR_MEMORY: they are as before. */
bool serve_aliases_reload(struct serve_aliases *a, const struct settings *s, bool *out_changed,
                          struct error *e);

/* The model's names are no more. */
void serve_aliases_finish(struct serve_aliases *a);

#endif
