/* metrics.c - the table of histograms, and the text. */
#include "serve/metrics.h"

#include <string.h>

#define MS(n) ((uint64_t)(n)*1000000)
#define S(n)  MS((n)*1000)

/* Bounds reach from a small model on a fast machine to the largest on a slow one. */
static const struct kind {
    const char *name, *help;
    double unit; /* of a value, in that of the text */
    size_t n_bounds;
    uint64_t bounds[METRICS_MAX_BOUNDS];
} kinds[METRICS_HISTOGRAM_COUNT] = {
    [METRICS_QUEUE] = {"puna_queue_seconds",
                       "Time until a request's prompt was begun.",
                       1e-9,
                       15,
                       {MS(1), MS(10), MS(100), MS(500), S(1), S(2), S(5), S(10), S(20), S(30),
                        S(60), S(120), S(300), S(600), S(1800)}},
    [METRICS_FIRST_TOKEN] = {"puna_time_to_first_token_seconds",
                             "Time until a request's first token.",
                             1e-9,
                             15,
                             {MS(10), MS(25), MS(50), MS(100), MS(250), MS(500), S(1), MS(2500),
                              S(5), S(10), S(30), S(60), S(120), S(300), S(600)}},
    [METRICS_NEXT_TOKEN] = {"puna_time_between_tokens_seconds",
                            "Time from a token of a choice to its next one.",
                            1e-9,
                            16,
                            {MS(1), MS(2), MS(5), MS(10), MS(20), MS(30), MS(50), MS(75), MS(100),
                             MS(150), MS(200), MS(300), MS(500), S(1), S(2), S(5)}},
    [METRICS_BATCH] = {"puna_step_sequences",
                       "Sequences computed in a step.",
                       1.0,
                       11,
                       {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}},
};

void metrics_observe(struct metrics *m, enum metrics_histogram which, uint64_t value)
{
    const struct kind *kind = &kinds[which];
    size_t i = 0;
    while (i < kind->n_bounds && value > kind->bounds[i]) {
        i++;
    }
    atomic_fetch_add_explicit(&m->histograms[which].sum, value, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->histograms[which].buckets[i], 1, memory_order_relaxed);
}

void metrics_count_request(struct metrics *m, const char *route, int status)
{
    size_t i = 0;
    while (i < m->n_requests &&
           (m->requests[i].status != status || strcmp(m->requests[i].route, route) != 0)) {
        i++;
    }
    if (i == METRICS_MAX_REQUESTS) {
        return;
    }
    if (i == m->n_requests) {
        m->requests[i].route = route;
        m->requests[i].status = status;
        m->n_requests++;
    }
    m->requests[i].n++;
}

/* ---- text ---- */

static bool print_head(const char *name, const char *type, const char *help, struct buf *out,
                       struct error *e)
{
    return buf_printf(out, e, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

bool metrics_print_values(const struct metrics_value *values, size_t n, struct buf *out,
                          struct error *e)
{
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        const struct metrics_value *v = &values[i];
        ok = print_head(v->name, v->type, v->help, out, e) &&
             buf_printf(out, e, "%s %.17g\n", v->name, v->value);
    }
    return ok;
}

static bool print_histogram(const struct metrics *m, enum metrics_histogram which, struct buf *out,
                            struct error *e)
{
    const struct kind *kind = &kinds[which];
    uint64_t n = 0;
    bool ok = print_head(kind->name, "histogram", kind->help, out, e);
    for (size_t i = 0; ok && i <= kind->n_bounds; i++) {
        n += atomic_load_explicit(&m->histograms[which].buckets[i], memory_order_relaxed);
        ok = i < kind->n_bounds
                 ? buf_printf(out, e, "%s_bucket{le=\"%.6g\"} %llu\n", kind->name,
                              (double)kind->bounds[i] * kind->unit, (unsigned long long)n)
                 : buf_printf(out, e, "%s_bucket{le=\"+Inf\"} %llu\n", kind->name,
                              (unsigned long long)n);
    }
    uint64_t sum = atomic_load_explicit(&m->histograms[which].sum, memory_order_relaxed);
    return ok && buf_printf(out, e, "%s_sum %.15g\n%s_count %llu\n", kind->name,
                            (double)sum * kind->unit, kind->name, (unsigned long long)n);
}

static bool print_requests(const struct metrics *m, struct buf *out, struct error *e)
{
    static const char name[] = "puna_http_requests_total";
    bool ok = print_head(name, "counter",
                         "Requests that have ended, by address and status; 499: the client left.",
                         out, e);
    for (size_t i = 0; ok && i < m->n_requests; i++) {
        ok = buf_printf(out, e, "%s{route=\"%s\",status=\"%d\"} %llu\n", name, m->requests[i].route,
                        m->requests[i].status, (unsigned long long)m->requests[i].n);
    }
    return ok;
}

bool metrics_print(const struct metrics *m, struct buf *out, struct error *e)
{
    bool ok = print_requests(m, out, e);
    for (int i = 0; ok && i < METRICS_HISTOGRAM_COUNT; i++) {
        ok = print_histogram(m, (enum metrics_histogram)i, out, e);
    }
    return ok;
}
