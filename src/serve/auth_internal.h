/* auth_internal.h - what the files of auth.h share. */
#ifndef SERVE_AUTH_INTERNAL_H
#define SERVE_AUTH_INTERNAL_H

#include "serve/auth.h"

/* What was used in a day or month, and in the one that was counted before it: a clock that is set
 * back finds what it left, so nothing is handed out twice; set forth and back it closes nothing. */
struct auth_budget {
    struct {
        int64_t number; /* of the day or month, since 1970 */
        uint64_t n_used;
    } now, before;
};

struct auth_key {
    struct store_key row;
    bool is_gone;       /* not in the store any more; it stays, as callers may point to it */
    uint64_t number;    /* from 1 on */
    uint32_t n_callers; /* that point to it, refused ones too */
    uint32_t n_running; /* of the callers those that count at once, the children's too */
    struct rate requests, tokens;
    struct auth_budget day, month; /* tokens, counted with or without a limit */
    uint64_t n_reserved;           /* tokens that those who run may take */
    uint32_t n_children;           /* keys of minutes that are its own */
    /* of a key of minutes */
    struct auth_key *parent; /* NULL: of the store */
    uint32_t max_tokens;
    uint64_t n_budget, n_used; /* tokens, for as long as it lives */
};

struct auth {
    const char *path;
    struct store_stamp stamp; /* of what was read last */
    bool is_on;
    uint64_t n_numbers;
    struct auth_key **keys; /* (n_keys) by id, those that are gone, too */
    size_t n_keys;
    struct auth_key **minutes; /* (n_minutes) of AUTH_MAX_MINUTES */
    size_t n_minutes;
};

/* NULL when there is none. */
struct auth_key *auth_find(const struct auth *a, enum secret_kind kind, const char *id);

void auth_key_destroy(struct auth_key *k);

/* Whose limits count. */
static inline struct auth_key *auth_owner_of(struct auth_key *k)
{
    return k->parent != NULL ? k->parent : k;
}

/* 429, and when to come again. */
bool auth_refuse_for(struct api_error *error, double wait_s);

/* Fills *error, a 403, and returns false when one of the bits is missing. */
bool auth_check_scope(const struct auth_key *k, unsigned scope, struct api_error *error);
bool auth_check_origin(const struct auth_key *k, struct str origin, struct api_error *error);

/* auth_budget.c */

/* Most that may be reserved now, of day and month or of a key of minutes; UINT64_MAX without
 * limits. */
uint64_t auth_budget_left(struct auth_key *k, int64_t now_s);
/* Whether n may be reserved; 429 and false otherwise. */
bool auth_budget_check(struct auth_key *k, uint64_t n, int64_t now_s, struct api_error *error);
/* n were used. */
void auth_budget_use(struct auth_key *k, uint64_t n, int64_t now_s);

#endif
