/* store_keys.h - API keys as they are kept: who may do what, how much of it, until when.
 * The store's thread. */
#ifndef STORE_STORE_KEYS_H
#define STORE_STORE_KEYS_H

#include "base/str.h"
#include "store/secret.h"
#include "store/store.h"

extern const struct store_schema store_keys_schema;

/* What a key is for; every key may also read which models there are and how to call them. */
enum store_scope {
    STORE_SCOPE_CHAT = 1,       /* chats and completions */
    STORE_SCOPE_EMBEDDINGS = 2, /* embeddings */
    STORE_SCOPE_TOKENIZE = 4,   /* tokenize, detokenize, apply-template */
    STORE_SCOPE_METRICS = 8,    /* /metrics */
    STORE_SCOPE_KEYS = 16,      /* keys of minutes for others: /v1/keys/ephemeral */
    STORE_SCOPE_USAGE = 32,     /* what all keys used: /v1/organization/usage */
    STORE_SCOPE_INFERENCE = STORE_SCOPE_CHAT | STORE_SCOPE_EMBEDDINGS | STORE_SCOPE_TOKENIZE,
    STORE_SCOPE_ALL =
        STORE_SCOPE_INFERENCE | STORE_SCOPE_METRICS | STORE_SCOPE_KEYS | STORE_SCOPE_USAGE
};

/* The i-th name, "chat"..., and its bits; NULL behind the last. Those of several bits come last. */
const char *store_scope_name(size_t i, unsigned *out_bits);
/* 0 for a name that is none. */
unsigned store_scope_of(const char *name);

/* Whose requests go first. */
enum store_priority { STORE_PRIORITY_HIGH, STORE_PRIORITY_NORMAL, STORE_PRIORITY_LOW };
const char *store_priority_name(enum store_priority priority);
bool store_priority_of(const char *name, enum store_priority *out);

enum {
    STORE_MAX_NAME_CHARS = 100, /* code points of a key's name */
    STORE_MAX_ITEM_CHARS = 512, /* code points of the name of a model, of an origin */
    STORE_MAX_ITEMS = 64        /* models of a key, origins of a key */
};

/* Limits that are not there, and times that never come. */
#define STORE_NO_LIMIT    UINT32_MAX
#define STORE_NO_BUDGET   UINT64_MAX
#define STORE_NEVER       INT64_MAX
#define STORE_MOST_BUDGET 1000000000000000u /* tokens; every reader of JSON has integers so large */

/* Owns its texts. Lists are lines, each with its end; "" is all models, any origin. */
struct store_key {
    char id[SECRET_ID_BYTES];
    struct secret_hash hash, old_hash; /* of the secret, and of the one before it */
    int64_t old_until;                 /* the one before counts until then; 0: not at all */
    int64_t created, expires, revoked; /* seconds since 1970 */
    unsigned scopes;
    enum store_priority priority;
    uint32_t requests_per_minute, tokens_per_minute, concurrent;
    uint64_t tokens_per_day, tokens_per_month; /* of UTC */
    char *name, *models, *origins;
};

/* A key without texts that may do all and is never limited; no secret yet. */
void store_key_init(struct store_key *k);
void store_key_finish(struct store_key *k);

/* Replaces a text of a key by a copy of s. ERROR_MEMORY. */
bool store_key_set_text(char **text, struct str s, struct error *e);

/* The next line of a list, *rest then what is behind it; false when there is none. */
bool store_next_item(struct str *rest, struct str *out);
/* Whether `item` is in the list. */
bool store_has_item(const char *list, struct str item);

/* A new row. ERROR_FORMAT when the id is taken. For between store_begin() and store_commit(), as
 * store_key_update(): else an error leaves open whether anything was written. */
bool store_key_add(struct store *s, const struct store_key *k, struct error *e);

/* *out is the caller's. ERROR_NOT_FOUND names the id. */
bool store_key_get(struct store *s, const char *id, struct store_key *out, struct error *e);

/* Writes all of it but id and created. ERROR_NOT_FOUND. */
bool store_key_update(struct store *s, const struct store_key *k, struct error *e);

/* Calls fn for every key, the oldest first; *k is the walk's, but fn may take its texts away (and
 * leave NULL). fn's false ends it, with *e set by fn. ERROR_FORMAT names a row that is none. */
typedef bool store_key_fn(void *argument, struct store_key *k, struct error *e);
bool store_keys_walk(struct store *s, store_key_fn *fn, void *argument, struct error *e);

#endif
