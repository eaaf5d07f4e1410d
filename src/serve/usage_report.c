/* usage_report.c - from the rows of a ledger to a page of sums, in the background. */
#include "serve/usage_report.h"

#include "base/mem.h"
#include "serve/background.h"
#include "store/usage_sums.h"

struct usage_reporter {
    struct background *background;
    const char *path;
    void (*note)(const char *text);
};

struct report {
    const struct usage_reporter *owner;
    struct background_job job;
    struct api_usage_query query;
    struct buf out;
    struct error error;
    bool ok;
};

/* --- a page */

static bool print_results(const struct api_usage_query *q, const struct usage_sums *sums,
                          struct buf *out, struct error *e)
{
    for (size_t i = 0; i < sums->n; i++) {
        if (!api_usage_print_result(q, &sums->rows[i].sum, i == 0, out, e)) {
            return false;
        }
    }
    return true;
}

/* s NULL: there is no ledger yet. */
static bool print_bucket(struct store *s, const struct api_usage_query *q, int64_t from_s,
                         const _Atomic bool *stop, struct buf *out, struct error *e)
{
    struct usage_sums sums;
    int64_t until_s = api_usage_bucket_end(q, from_s);
    const struct store_usage_range range = {.from_ms = from_s * 1000,
                                            .until_ms = until_s * 1000,
                                            .kind = q->kind,
                                            .by_key = q->by_key,
                                            .by_model = q->by_model,
                                            .keys = q->keys,
                                            .n_keys = q->n_keys,
                                            .models = q->models,
                                            .n_models = q->n_models};
    usage_sums_init(&sums);
    bool ok = (s == NULL || q->only_batch || usage_sums_read(&sums, s, &range, stop, e)) &&
              api_usage_print_bucket(from_s, until_s, from_s == q->from_s, out, e) &&
              print_results(q, &sums, out, e) && api_usage_print_bucket_end(out, e);
    usage_sums_finish(&sums);
    return ok;
}

static bool print_page(struct store *s, const struct api_usage_query *q, const _Atomic bool *stop,
                       struct buf *out, struct error *e)
{
    int64_t from_s = q->from_s;
    bool ok = api_usage_print_begin(out, e);
    for (uint32_t i = 0;
         ok && i < q->n_buckets && from_s < q->end_s && out->n < USAGE_REPORT_ENOUGH; i++) {
        ok = print_bucket(s, q, from_s, stop, out, e);
        from_s = api_usage_bucket_end(q, from_s);
    }
    return ok && api_usage_print_end(from_s < q->end_s ? from_s : 0, out, e);
}

bool usage_report_print(const char *path, const struct api_usage_query *q, const _Atomic bool *stop,
                        struct buf *out, struct error *e)
{
    struct error why = {0};
    struct store *s = store_open(&(struct store_options){.schema = &store_usage_schema,
                                                         .path = path,
                                                         .patience_ms = USAGE_REPORT_PATIENCE_MS},
                                 &why);
    if (s == NULL && why.code != ERROR_NOT_FOUND) {
        return error_set(e, why.code, "%s", why.text);
    }
    bool ok = print_page(s, q, stop, out, e);
    store_close(s);
    return ok;
}

/* --- a report */

static void make_report(void *argument)
{
    struct report *report = argument;
    report->ok = usage_report_print(report->owner->path, &report->query, &report->job.is_cancelled,
                                    &report->out, &report->error);
}

/* Where the ledger lies, and what ails it, is none of a client's business. */
static void tell_failure(const struct usage_reporter *r, struct http_exchange *x,
                         const struct error *e)
{
    struct api_error error = {0};
    if (e->code == ERROR_INTERRUPTED || e->code == ERROR_MEMORY) {
        api_error_from(&error, e, NULL);
    } else if (e->code == ERROR_BUSY) {
        api_error_set(&error, API_ERROR_OVERLOADED, NULL,
                      "the ledger of usage is locked by another program");
    } else {
        api_error_set(&error, API_ERROR_SERVER, NULL, "the ledger of usage cannot be read");
        if (r->note != NULL) {
            r->note(e->text);
        }
    }
    http_reply_error(x, &error);
}

static void answer_report(void *argument, struct http_exchange *x)
{
    struct report *report = argument;
    if (x != NULL && report->ok) {
        http_reply(x, 200, "application/json", buf_str(&report->out));
    } else if (x != NULL) {
        tell_failure(report->owner, x, &report->error);
    }
    api_usage_query_finish(&report->query);
    buf_finish(&report->out);
    mem_free(report);
}

bool usage_report_begin(struct usage_reporter *r, struct http_exchange *x,
                        struct api_usage_query *query, struct api_error *error)
{
    struct error e = {0};
    struct report *report = mem_alloc(1, sizeof *report, "report of usage", &e);
    if (report == NULL) {
        return api_error_from(error, &e, NULL);
    }
    report->owner = r;
    report->job =
        (struct background_job){.work = make_report, .done = answer_report, .argument = report};
    report->query = *query;
    buf_init(&report->out, USAGE_REPORT_MAX_BYTES);
    if (!background_begin(r->background, &report->job, x, error)) {
        mem_free(report);
        return false;
    }
    *query = (struct api_usage_query){0};
    return true;
}

/* --- the reporter */

struct usage_reporter *usage_reporter_create(struct http_server *server, const char *path,
                                             void (*note)(const char *text), struct error *e)
{
    struct usage_reporter *r = mem_alloc(1, sizeof *r, "reports of usage", e);
    if (r == NULL) {
        return NULL;
    }
    *r = (struct usage_reporter){.path = path, .note = note};
    const struct background_limits limits = {.what = "reports of usage are being made",
                                             .jobs = USAGE_REPORT_MAX,
                                             .of_one = USAGE_REPORT_MAX};
    r->background = background_create(server, &limits, e);
    if (r->background == NULL) {
        mem_free(r);
        return NULL;
    }
    return r;
}

void usage_reports_end(struct usage_reporter *r)
{
    background_end(r != NULL ? r->background : NULL);
}

void usage_reporter_destroy(struct usage_reporter *r)
{
    if (r == NULL) {
        return;
    }
    background_destroy(r->background);
    mem_free(r);
}
