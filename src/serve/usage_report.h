/* usage_report.h - answers about what was used: a thread that reads the ledger, a bucket after the
 * other, so that neither who talks to clients nor who writes rows waits for a sum.
 *
 * Belongs to the I/O thread. A report outlives its exchange until the thread has let go of it. */
#ifndef SERVE_USAGE_REPORT_H
#define SERVE_USAGE_REPORT_H

#include "serve/api_usage.h"
#include "serve/http.h"

enum {
    USAGE_REPORT_MAX = 16,             /* at once; more are refused */
    USAGE_REPORT_ENOUGH = 4 << 20,     /* bytes: then a page ends with its bucket */
    USAGE_REPORT_MAX_BYTES = 64 << 20, /* of a page, and so of a bucket */
    USAGE_REPORT_PATIENCE_MS = 2000    /* with somebody who has the ledger for himself */
};

struct usage_reporter;

/* path: of the ledger, which need not be there; must outlive it, as must the server. note: told
 * why it cannot be read, on the I/O thread; NULL: not wanted. Starts the thread. ERROR_MEMORY. */
struct usage_reporter *usage_reporter_create(struct http_server *server, const char *path,
                                             void (*note)(const char *text), struct error *e);

/* Before the server's end. Waits for a read of an hour's rows at most. Takes NULL. */
void usage_reporter_destroy(struct usage_reporter *r);

/* Answers x when the sums are there. Takes *query over (zeroed then). False with *error, a 429 or
 * 503: x is the caller's to answer. */
bool usage_report_begin(struct usage_reporter *r, struct http_exchange *x,
                        struct api_usage_query *query, struct api_error *error);

/* Ends all with an error: the server is shutting down. Takes NULL. */
void usage_reports_end(struct usage_reporter *r);

/* A page of the ledger at `path`: appends the answer. The caller's thread; stop as in
 * usage_sums.h. */
bool usage_report_print(const char *path, const struct api_usage_query *q, const _Atomic bool *stop,
                        struct buf *out, struct error *e);

#endif
