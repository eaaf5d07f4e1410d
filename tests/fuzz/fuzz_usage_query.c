/* fuzz_usage_query.c - queries about usage from any bytes. What is accepted has a page of buckets
 * that follow each other within bounds, and its next page is accepted, too; what is refused is a
 * 400. */
#include "serve/api_usage.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

enum { NOW = 1795694400, MAX_QUERY = 8192 };

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void require_within(const struct str *names, size_t n, const struct api_usage_query *q,
                           size_t n_text)
{
    require(n <= API_USAGE_MAX_NAMES);
    for (size_t i = 0; i < n; i++) {
        require(names[i].p >= q->text && names[i].p + names[i].n <= q->text + n_text);
    }
}

/* The end of the page; 0: there is no other. */
static int64_t walk_page(const struct api_usage_query *q)
{
    int64_t from = q->from_s;
    uint32_t n = 0;
    for (; n < q->n_buckets && from < q->end_s; n++) {
        int64_t end = api_usage_bucket_end(q, from);
        require(end > from && end <= q->end_s && end - from <= q->width_s);
        require(end == q->end_s || end % q->width_s == 0);
        from = end;
    }
    require(n > 0 && n <= API_USAGE_MAX_BUCKETS);
    return from < q->end_s ? from : 0;
}

static void check_next(enum store_usage_kind kind, struct str query, int64_t next_s)
{
    static char text[MAX_QUERY + 64];
    struct api_usage_query q;
    struct api_error error = {0};
    int n = snprintf(text, sizeof text, "%.*s&page=page_%lld", STR_ARG(query), (long long)next_s);
    if (api_usage_query_parse(kind, (struct str){text, (size_t)n}, NOW, &q, &error)) {
        require(q.from_s == next_s);
        api_usage_query_finish(&q);
    } else {
        require(strcmp(error.param, "page") == 0); /* it has one already */
    }
}

static void check(enum store_usage_kind kind, struct str query)
{
    struct api_usage_query q;
    struct api_error error = {0};
    if (!api_usage_query_parse(kind, query, NOW, &q, &error)) {
        require(api_error_meaning(error.kind)->http_status == 400 && error.message[0] != '\0');
        require(q.text == NULL);
        return;
    }
    require(q.start_s >= 0 && q.start_s <= q.from_s && q.from_s < q.end_s);
    require_within(q.keys, q.n_keys, &q, query.n);
    require_within(q.models, q.n_models, &q, query.n);
    int64_t next_s = walk_page(&q);
    api_usage_query_finish(&q);
    if (next_s > 0 && memchr(query.p, '\0', query.n) == NULL) {
        check_next(kind, query, next_s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    if (n_bytes <= MAX_QUERY) {
        check(STORE_USAGE_TEXTS, (struct str){(const char *)data, n_bytes});
        check(STORE_USAGE_VECTORS, (struct str){(const char *)data, n_bytes});
    }
    return 0;
}
