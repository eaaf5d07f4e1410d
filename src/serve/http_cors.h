/* http_cors.h - what web pages of other origins need to call (the Fetch standard's CORS).
 * Every origin may, unless a list names those that may: keys, not origins, guard a server. */
#ifndef SERVE_HTTP_CORS_H
#define SERVE_HTTP_CORS_H

#include "base/buf.h"
#include "serve/http_head.h"

enum { HTTP_CORS_ORIGIN_BYTES = 513 }; /* of the longest, and a NUL */

struct http_cors {
    const struct str *origins; /* none: all */
    size_t n_origins;
};

/* Whether the head asks, before a request of a page, if that may be sent. */
bool http_cors_is_preflight(const struct http_head *head);

/* Whether the head is of a page that may not call: of an origin that is not in the list, nor the
 * server's own. Browsers send some requests without asking first, and hide the answer alone. */
bool http_cors_is_refused(const struct http_cors *cors, const struct http_head *head);

/* Whether it is scheme, host and port, with nothing behind. */
bool http_cors_is_origin(struct str s);

/* One that is, as browsers send it: in small letters, without the port that its scheme has by
 * itself. NUL-terminated. */
void http_cors_write_origin(struct str s, char out[static HTTP_CORS_ORIGIN_BYTES]);

/* Appends the fields of an answer to `head` ("Name: value\r\n"...): those of a preflight when it is
 * one. Of a head that was read in part, what could be read counts (http_head_parse). */
bool http_cors_append(const struct http_cors *cors, const struct http_head *head, struct buf *out,
                      struct error *e);

#endif
