/* serve_aliases.h - the names beside its file's own that a served model may be called by: those of
 * `--alias`, and those of a configuration file again while the server runs. */
#ifndef CMD_SERVE_ALIASES_H
#define CMD_SERVE_ALIASES_H

#include "serve/service.h"

/* For OPTION_CALLS: target is the struct service_model, which keeps `value`, unless it has the name
 * already. Its own name comes first, NULL until it is known. ERROR_USAGE. */
bool serve_aliases_add(void *target, const char *value, struct error *e);

/* The model's own name, which lives on, is known now: an alias of that name is none. */
void serve_aliases_set_own(struct service_model *m, const char *name);

/* Replaces the aliases by those of *fresh, even the same ones, whose bytes are to live on; returns
 * whether they are others. The thread that answers requests calls it. */
bool serve_aliases_replace(struct service_model *m, const struct service_model *fresh);

#endif
