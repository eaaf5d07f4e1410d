/* usage_report.c - reports wait in a list for the thread; what it has done comes back as a task. */
#include "serve/usage_report.h"

#include "base/mem.h"
#include "store/usage_sums.h"

#include <pthread.h>
#include <stdatomic.h>

struct report {
    struct usage_reporter *owner;
    struct report *next;     /* of all; the I/O thread's */
    struct http_exchange *x; /* the I/O thread's; NULL: the client has left */
    struct http_task task;
    struct api_usage_query query;
    _Atomic bool cancelled;
    struct report *behind; /* in the queue */
    /* the thread's until `task` is posted */
    struct buf out;
    struct error error;
    bool ok;
};

struct usage_reporter {
    struct http_server *server;
    const char *path;
    void (*note)(const char *text);
    struct report *all;
    size_t n;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    struct report *first, *last; /* in the queue */
    bool stop;
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

/* --- the thread */

static struct report *take(struct usage_reporter *r)
{
    pthread_mutex_lock(&r->lock);
    while (r->first == NULL && !r->stop) {
        pthread_cond_wait(&r->wake, &r->lock);
    }
    struct report *report = r->stop ? NULL : r->first;
    if (report != NULL) {
        r->first = report->behind;
    }
    pthread_mutex_unlock(&r->lock);
    return report;
}

static void *reporter_main(void *argument)
{
    struct usage_reporter *r = argument;
    struct report *report;
    while ((report = take(r)) != NULL) {
        report->ok = usage_report_print(r->path, &report->query, &report->cancelled, &report->out,
                                        &report->error);
        http_server_post(r->server, &report->task);
    }
    return NULL;
}

struct usage_reporter *usage_reporter_create(struct http_server *server, const char *path,
                                             void (*note)(const char *text), struct error *e)
{
    struct usage_reporter *r = mem_alloc(1, sizeof *r, "reports of usage", e);
    if (r == NULL) {
        return NULL;
    }
    r->server = server;
    r->path = path;
    r->note = note;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->wake, NULL);
    if (pthread_create(&r->thread, NULL, reporter_main, r) != 0) {
        error_set(e, ERROR_MEMORY, "no thread for reports of usage");
        pthread_cond_destroy(&r->wake);
        pthread_mutex_destroy(&r->lock);
        mem_free(r);
        return NULL;
    }
    return r;
}

/* --- the I/O thread */

static void destroy(struct report *report)
{
    struct report **at = &report->owner->all;
    while (*at != report) {
        at = &(*at)->next;
    }
    *at = report->next;
    report->owner->n--;
    api_usage_query_finish(&report->query);
    buf_finish(&report->out);
    mem_free(report);
}

static void client_left(void *argument)
{
    struct report *report = argument;
    report->x = NULL;
    atomic_store(&report->cancelled, true);
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

static void finish(void *argument)
{
    struct report *report = argument;
    if (report->x != NULL && report->ok) {
        http_reply(report->x, 200, "application/json", buf_str(&report->out));
    } else if (report->x != NULL) {
        tell_failure(report->owner, report->x, &report->error);
    }
    destroy(report);
}

bool usage_report_begin(struct usage_reporter *r, struct http_exchange *x,
                        struct api_usage_query *query, struct api_error *error)
{
    struct error e = {0};
    if (r->n == USAGE_REPORT_MAX) {
        return api_error_set(error, API_ERROR_RATE_LIMIT, NULL,
                             "%d reports of usage are being made, the most that may at once",
                             USAGE_REPORT_MAX);
    }
    struct report *report = mem_alloc(1, sizeof *report, "report of usage", &e);
    if (report == NULL) {
        return api_error_from(error, &e, NULL);
    }
    report->owner = r;
    report->x = x;
    report->query = *query;
    *query = (struct api_usage_query){0};
    report->task = (struct http_task){.run = finish, .argument = report};
    buf_init(&report->out, USAGE_REPORT_MAX_BYTES);
    report->next = r->all;
    r->all = report;
    r->n++;
    http_on_close(x, client_left, report);
    pthread_mutex_lock(&r->lock);
    *(r->first != NULL ? &r->last->behind : &r->first) = report;
    r->last = report;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    return true;
}

void usage_reports_end(struct usage_reporter *r)
{
    const struct error why = {ERROR_INTERRUPTED, "the server is shutting down"};
    for (struct report *report = r != NULL ? r->all : NULL; report != NULL; report = report->next) {
        if (report->x != NULL) {
            http_reply_failure(report->x, &why);
            client_left(report);
        }
    }
}

void usage_reporter_destroy(struct usage_reporter *r)
{
    if (r == NULL) {
        return;
    }
    for (struct report *report = r->all; report != NULL; report = report->next) {
        atomic_store(&report->cancelled, true);
    }
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    while (r->all != NULL) {
        http_server_unpost(r->server, &r->all->task);
        if (r->all->x != NULL) {
            http_on_close(r->all->x, NULL, NULL);
        }
        destroy(r->all);
    }
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}
