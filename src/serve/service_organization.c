/* service_organization.c - what was used, for those who look after the server: from a query to a
 * report. */
#include "serve/service_internal.h"

#include <time.h>

/* Rows have the model's own name, whatever it was asked for by. */
static void use_own_name(const struct service *s, const struct http_exchange *x,
                         struct api_usage_query *q)
{
    for (size_t i = 0; i < q->n_models; i++) {
        if (service_check_model(s, x, q->models[i], NULL)) {
            q->models[i] = str_from(s->model.names[0]);
        }
    }
}

static void report(struct service *s, struct http_exchange *x, enum store_usage_kind kind)
{
    struct api_usage_query query = {0};
    struct api_error error = {0};
    if (!service_check_ready(s, x)) {
        return;
    }
    bool ok =
        s->reporter != NULL || api_error_set(&error, API_ERROR_NOT_FOUND, NULL,
                                             "this server keeps no ledger of usage (--usage=off)");
    ok = ok && api_usage_query_parse(kind, http_query(x), (int64_t)time(NULL), &query, &error);
    if (ok) {
        use_own_name(s, x, &query);
        ok = usage_report_begin(s->reporter, x, &query, &error);
    }
    if (!ok) {
        http_reply_error(x, &error);
    }
    api_usage_query_finish(&query);
}

void service_usage_completions(void *service, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    report(service, x, STORE_USAGE_TEXTS);
}

void service_usage_embeddings(void *service, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    report(service, x, STORE_USAGE_VECTORS);
}
