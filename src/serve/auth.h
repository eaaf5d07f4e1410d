/* auth.h - who asks, and what he may: the keys of the store in memory, and those of minutes.
 *
 * A caller is a request that was let in: it counts until auth_leave(). Limits are of keys of the
 * store; a key of minutes has a parent there, counts as that, and may no more than it.
 * Owner/threads: all belongs to the I/O thread. Nothing here prints a secret. */
#ifndef SERVE_AUTH_H
#define SERVE_AUTH_H

#include "serve/api_error.h"
#include "serve/rate.h"
#include "store/store_keys.h"

struct auth;
struct auth_key;

/* No keys yet. path: of the store, must outlive it. NULL with ERROR_MEMORY. */
struct auth *auth_create(const char *path, struct error *e);
/* After all callers left. NULL is allowed. */
void auth_destroy(struct auth *a);

/* Reads the store again when it was written to, or in any case (`always`): keys keep what they have
 * taken of their limits, and keys that are gone count no more. No file: no keys. False with all as
 * it was: *e names the file; ERROR_BUSY when others are writing just now. patience_ms: see
 * store.h. */
bool auth_reload(struct auth *a, bool always, uint32_t patience_ms, uint64_t now_ns,
                 struct error *e);

/* Adds up what the ledger at that path has of this day and this month of UTC, for every key that is
 * there: once, before anybody is let in, so that budgets survive a restart. No file: nothing was
 * used. False with *e naming the file. It takes as long as the month has rows. */
bool auth_count_used(struct auth *a, const char *ledger_path, int64_t now_s, uint32_t patience_ms,
                     struct error *e);

/* Id of a key that counts and has a limit of a day or month, which needs a ledger; NULL: none. */
const char *auth_find_budget(const struct auth *a, int64_t now_s);

/* Whether who asks needs a key: from the first key on, for ever. */
bool auth_is_on(const struct auth *a);
size_t auth_n_keys(const struct auth *a);

/* --- being let in */

/* What the head of a request says. */
struct auth_request {
    struct str authorization; /* p NULL: none */
    struct str origin;        /* of a web page; p NULL: none */
    bool has_other_key;       /* a field that other servers read keys from */
    unsigned scope;           /* that is needed; 0: any key will do */
    int64_t now_s;            /* since 1970 */
    uint64_t now_ns;
};

struct auth_caller {
    struct auth *auth;
    struct auth_key *key;
    uint64_t n_reserved; /* tokens */
    bool counts;         /* as one of those at once */
};

/* Lets it in, or not, with *error: 401, 403, 429, 503 (no memory). With a scope of inference it is
 * one request of the key's minute. *out: the new caller, also when its key is known and does not
 * let it in; then it may nothing but auth_id(), auth_list_limits() and auth_leave(). Else NULL. */
bool auth_enter(struct auth *a, const struct auth_request *r, struct auth_caller **out,
                struct api_error *error);

/* Its exchange has ended, but not what is computed for it: it is none of those at once any more,
 * and what it reserved stays so until auth_leave(). */
void auth_hang_up(struct auth_caller *c);

/* n_used: tokens that were computed; what was reserved beyond is given back. Frees it. */
void auth_leave(struct auth_caller *c, uint64_t n_used, int64_t now_s, uint64_t now_ns);

/* Whether it may ask for that name of a model; 403 and false otherwise. */
bool auth_check_model(const struct auth_caller *c, struct str name, struct api_error *error);

/* Before the work begins: n_prompt tokens, and n_choices answers of *max_tokens at most, which is
 * lowered to what is left of minute, day and month where the request did not say it (is_open); the
 * budget of a key of minutes lowers nothing. 429 and false when there are not so many; final when
 * there will not be for long. Once a caller. */
struct auth_work {
    uint64_t n_prompt, n_choices;
    uint32_t max_tokens;
    bool is_open;
};
bool auth_reserve(struct auth_caller *c, struct auth_work *w, int64_t now_s, uint64_t now_ns,
                  struct api_error *error);

/* Lower goes first: where the request does not say, and the lowest it may ask for. */
int32_t auth_priority(const struct auth_caller *c);
/* Most that a request may ask for; UINT32_MAX: as many as there are. */
uint32_t auth_max_tokens(const struct auth_caller *c);
/* Different for each key of the store, > 0: for turns in the queue. */
uint64_t auth_owner(const struct auth_caller *c);
const char *auth_id(const struct auth_caller *c);
/* Of the key of the store that it counts as. */
const char *auth_owner_id(const struct auth_caller *c);
/* Of its key of minutes; NULL: it came with one of the store. */
const char *auth_minutes_id(const struct auth_caller *c);

/* The fields x-ratelimit-..., as far as there are limits: calls add(to, name, value). */
typedef void auth_header_fn(void *to, const char *name, const char *value);
void auth_list_limits(const struct auth_caller *c, uint64_t now_ns, auth_header_fn *add, void *to);

/* --- keys of minutes */

enum {
    AUTH_MAX_MINUTES = 4096,  /* that count at once */
    AUTH_MAX_CHILDREN = 1024, /* of one key */
    AUTH_MAX_LIFE_S = 600
};

struct auth_offer {
    struct str origin, model;
    uint32_t max_tokens; /* of an answer */
    uint64_t n_budget;   /* tokens in all */
    uint32_t life_s;
};

/* When a key of the caller's that is made now ends: not after his own. */
int64_t auth_offer_end(const struct auth_caller *c, const struct auth_offer *offer, int64_t now_s);

/* A key of the caller's, whose secret is told this once; it counts until auth_offer_end() at least,
 * a second more at most, and no longer than his own. False with *error: 403 when the caller may not
 * do it himself, 429 when there are too many, 500, 503. */
bool auth_offer(struct auth_caller *c, const struct auth_offer *offer, int64_t now_s,
                char out_id[SECRET_ID_BYTES], char out_secret[SECRET_BYTES],
                struct api_error *error);

/* --- for tests: pure */

/* The token of "Bearer TOKEN". */
bool auth_read_bearer(struct str value, struct str *out_token);

#endif
