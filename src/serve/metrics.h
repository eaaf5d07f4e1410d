/* metrics.h - what the server counts, and its text for Prometheus (text format 0.0.4).
 *
 * Threads: metrics_observe() is for any thread and costs two relaxed atomic additions. The counts
 * of requests belong to the I/O thread, which prints everything. A histogram's count is always the
 * sum of its buckets; what is observed while it is printed may be in its sum only. */
#ifndef SERVE_METRICS_H
#define SERVE_METRICS_H

#include "base/buf.h"

#include <stdatomic.h>
#include <stdint.h>

enum metrics_histogram {
    METRICS_QUEUE,       /* ns from the request to the beginning of its prompt */
    METRICS_FIRST_TOKEN, /* ns from the request to the first token of its first choice */
    METRICS_NEXT_TOKEN,  /* ns between two tokens of a choice; 0 where they were made together */
    METRICS_BATCH,       /* sequences computed in a step */
    METRICS_HISTOGRAM_COUNT
};

enum { METRICS_MAX_BOUNDS = 16, METRICS_MAX_REQUESTS = 512 };

/* Zeroed before its first use. */
struct metrics {
    struct {
        _Atomic uint64_t buckets[METRICS_MAX_BOUNDS + 1]; /* each beside the others; last: +Inf */
        _Atomic uint64_t sum;
    } histograms[METRICS_HISTOGRAM_COUNT];
    /* (n_requests) by route and status, in the order in which they were first seen */
    struct {
        const char *route;
        int status;
        uint64_t n;
    } requests[METRICS_MAX_REQUESTS];
    size_t n_requests;
};

/* value: in the unit that the histogram's comment says. */
void metrics_observe(struct metrics *m, enum metrics_histogram which, uint64_t value);

/* route: lives as long as m and needs no escape. Beyond METRICS_MAX_REQUESTS pairs it is lost. */
void metrics_count_request(struct metrics *m, const char *route, int status);

/* A number that is counted elsewhere. */
struct metrics_value {
    const char *name, *type, *help; /* type: "gauge", "counter" */
    double value;
};

/* Append whole families: HELP, TYPE and samples. ERROR_MEMORY. */
bool metrics_print_values(const struct metrics_value *values, size_t n, struct buf *out,
                          struct error *e);
bool metrics_print(const struct metrics *m, struct buf *out, struct error *e);

#endif
