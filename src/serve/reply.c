/* reply.c - errors of the API over HTTP. */
#include "serve/reply.h"

#include <stdio.h>

enum { MAX_BODY_BYTES = 64 << 10 };

/* The official clients come again by themselves after 429 and from 500 on, as soon as this says. */
static void add_retry(struct http_exchange *x, const struct api_error *error, int status)
{
    char seconds[16];
    if (error->is_final) {
        http_add_header(x, "x-should-retry", "false");
        return;
    }
    if (status != 429 && status != 503) {
        return;
    }
    snprintf(seconds, sizeof seconds, "%u", error->retry_s > 0 ? error->retry_s : 1);
    http_add_header(x, "Retry-After", seconds);
}

void reply_error(struct http_exchange *x, const struct api_error *error)
{
    int status = api_error_meaning(error->kind)->http_status;
    struct buf body;
    buf_init(&body, MAX_BODY_BYTES);
    add_retry(x, error, status);
    if (api_error_print(error, &body, NULL)) {
        http_reply(x, status, "application/json", buf_str(&body));
    } else {
        http_reply_failure(x, &(struct error){ERROR_MEMORY, "no memory for the answer"});
    }
    buf_finish(&body);
}
