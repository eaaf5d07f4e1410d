/* store_usage.h - the ledger: a row for every request that was computed, of what it took. Never a
 * prompt, never an answer.
 *
 * The store's thread. What reads holds back what writes (rollback journal), so each call reads one
 * stretch of time; who asks for many stretches asks one after the other. */
#ifndef STORE_STORE_USAGE_H
#define STORE_STORE_USAGE_H

#include "base/str.h"
#include "store/store.h"

extern const struct store_schema store_usage_schema;

/* One request. Texts are the caller's. */
struct store_use {
    struct str id;       /* of the request, no other has it: of the answer, where that has one */
    struct str key;      /* id of the key of the store; empty: there was none */
    struct str minutes;  /* id of its key of minutes, when it came with one */
    struct str model;    /* the file's own name of it */
    struct str endpoint; /* "chat/completions" */
    uint64_t n_prompt;   /* tokens */
    uint64_t n_cached;   /* those of them that were in the prefix cache */
    uint64_t n_completion;
    bool is_filtered;           /* the content filter ended an answer */
    int status;                 /* HTTP; 499: the client left */
    int64_t began_ms, ended_ms; /* since 1970, UTC */
};

/* All rows or none. A row whose id is there stays as it is, but for its status: who does not know
 * whether he has written one writes it again. */
bool store_usage_add(struct store *s, const struct store_use *const *rows, size_t n,
                     struct error *e);

/* Of what requests: texts, or vectors, which are the rows of this endpoint. */
enum store_usage_kind { STORE_USAGE_ALL, STORE_USAGE_TEXTS, STORE_USAGE_VECTORS };
#define STORE_USAGE_VECTORS_ENDPOINT "embeddings"

/* Of requests that ended at from_ms or later, and before until_ms. */
struct store_usage_range {
    int64_t from_ms, until_ms;
    enum store_usage_kind kind;
    bool by_key, by_model;    /* a sum for each, in this order, by bytes; else of all */
    const struct str *keys;   /* (n_keys) of these alone; none: of all; an empty one: without key */
    size_t n_keys;            /* at most STORE_USAGE_MAX_NAMES, as n_models */
    const struct str *models; /* (n_models) */
    size_t n_models;
};
enum { STORE_USAGE_MAX_NAMES = 256 };

/* Texts live until the callback returns; empty where the sum is of all. No number is above
 * INT64_MAX. */
struct store_usage_sum {
    struct str key, model;
    uint64_t n_requests, n_prompt, n_cached, n_completion;
    uint64_t n_filtered, n_failed; /* requests; failed: status 400 or more, but 499 */
};

/* Calls fn for every sum of at least one request; fn's false ends it, with *e set by fn.
 * ERROR_FORMAT for numbers that nobody counts so far. */
typedef bool store_usage_fn(void *argument, const struct store_usage_sum *sum, struct error *e);
bool store_usage_walk(struct store *s, const struct store_usage_range *range, store_usage_fn *fn,
                      void *argument, struct error *e);

/* The time of the first request that ended at from_ms or later; INT64_MAX: there is none.
 * ERROR_FORMAT when that is not from 1970 to the year 9999. */
#define STORE_USAGE_LAST_MS INT64_C(253402300799999)
bool store_usage_find_first(struct store *s, int64_t from_ms, int64_t *out_ms, struct error *e);

/* Forgets those that ended before, at most n_most of them: as many as others can wait for. */
bool store_usage_forget(struct store *s, int64_t before_ms, uint64_t n_most, uint64_t *out_n,
                        struct error *e);

/* Gives the space of what was forgotten back to the file system. It takes as long as the file is
 * large, and as much space again; nobody writes meanwhile. */
bool store_usage_vacuum(struct store *s, struct error *e);

#endif
