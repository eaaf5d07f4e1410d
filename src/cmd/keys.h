/* keys.h - what the files of `puna keys` share. */
#ifndef CMD_KEYS_H
#define CMD_KEYS_H

#include "base/buf.h"
#include "store/store_keys.h"

/* What the options ask for; NULL and empty where they are silent. */
struct keys_change {
    const char *name, *expires, *priority;
    const char *rpm, *tpm, *concurrent; /* a number or "none" */
    const char *day, *month;            /* as these: tokens */
    const char *grace;
    struct buf models, origins; /* lines */
    unsigned scopes;
    bool no_models, no_origins; /* "none" was said */
};

/* Options of it (0: none was given) as bits, for what a verb takes. */
enum {
    KEYS_NAME = 1,
    KEYS_SCOPE = 2,
    KEYS_EXPIRES = 4,
    KEYS_MODEL = 8,
    KEYS_ORIGIN = 16,
    KEYS_RPM = 32,
    KEYS_TPM = 64,
    KEYS_CONCURRENT = 128,
    KEYS_PRIORITY = 256,
    KEYS_DAY = 512,
    KEYS_MONTH = 1024,
    KEYS_GRACE = 2048,
    KEYS_JSON = 4096,
    KEYS_LIMITS = 2047
};
unsigned keys_change_given(const struct keys_change *c);

/* For options that may be given many times (target: the change). */
bool keys_add_scope(void *target, const char *value, struct error *e);
bool keys_add_model(void *target, const char *value, struct error *e);
bool keys_add_origin(void *target, const char *value, struct error *e);

/* Sets what was asked for. now: seconds since 1970. */
bool keys_change_apply(const struct keys_change *c, int64_t now, struct store_key *k,
                       struct error *e);

/* A table of all, all of one, and both as JSON; secret: NULL, or what is shown once. */
bool keys_print_list(struct store *s, bool json, int64_t now, struct error *e);
void keys_print_text(const struct store_key *k, int64_t now);
bool keys_print_json(const struct store_key *k, const char *secret, struct error *e);

#endif
