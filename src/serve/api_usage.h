/* api_usage.h - /v1/organization/usage/...: the query of a request, and the JSON of its answer.
 * Pure functions, any thread. */
#ifndef SERVE_API_USAGE_H
#define SERVE_API_USAGE_H

#include "serve/api_error.h"
#include "store/store_usage.h"

enum {
    API_USAGE_MAX_NAMES = 100, /* keys, models */
    API_USAGE_MAX_BUCKETS = 1440
};

/* Views into `text`, which is its own. Times are seconds since 1970. */
struct api_usage_query {
    enum store_usage_kind kind; /* texts or vectors */
    int64_t start_s, end_s;     /* inclusive, exclusive */
    int64_t from_s;             /* where the page begins: start_s, or where another one ended */
    int64_t width_s;    /* buckets end where a multiple of it does, the last one with end_s */
    uint32_t n_buckets; /* of a page, at most */
    bool by_key, by_model, by_batch;
    bool only_batch; /* there are none */
    struct str keys[API_USAGE_MAX_NAMES], models[API_USAGE_MAX_NAMES];
    size_t n_keys, n_models;
    char *text;
};

/* query: as http_query() has it. A 400 names the parameter that is unknown, missing, of the wrong
 * type, not offered or given twice; API_ERROR_OVERLOADED: no memory. now_s: until when, where the
 * query does not say. */
bool api_usage_query_parse(enum store_usage_kind kind, struct str query, int64_t now_s,
                           struct api_usage_query *out, struct api_error *error);
void api_usage_query_finish(struct api_usage_query *q);

/* Where the bucket that begins at from_s (< end_s) ends. */
int64_t api_usage_bucket_end(const struct api_usage_query *q, int64_t from_s);

/* The answer, piece by piece: its head; for each bucket a head, its results, an end; its end, with
 * the begin of the next page (0: there is none). ERROR_MEMORY leaves *out as it was. */
bool api_usage_print_begin(struct buf *out, struct error *e);
bool api_usage_print_bucket(int64_t from_s, int64_t until_s, bool is_first, struct buf *out,
                            struct error *e);
bool api_usage_print_result(const struct api_usage_query *q, const struct store_usage_sum *sum,
                            bool is_first, struct buf *out, struct error *e);
bool api_usage_print_bucket_end(struct buf *out, struct error *e);
bool api_usage_print_end(int64_t next_s, struct buf *out, struct error *e);

#endif
