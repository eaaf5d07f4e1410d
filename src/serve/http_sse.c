/* http_sse.c - server-sent events. Clients of the API die of `id:`, of `retry:` and of events
 * without data, so that data and comments are all there is. */
#include "serve/http_internal.h"

#include <assert.h>

static bool is_one_line(struct str s)
{
    return s.n == 0 || (memchr(s.p, '\n', s.n) == NULL && memchr(s.p, '\r', s.n) == NULL);
}

void http_sse_begin(struct http_exchange *x)
{
    http_add_header(x, "Cache-Control", "no-cache");
    http_add_header(x, "X-Accel-Buffering", "no"); /* a proxy in front is to pass it on at once */
    http_stream_begin(x, 200, "text/event-stream; charset=utf-8");
}

static void write_line(struct http_exchange *x, struct str lead, struct str line)
{
    assert(is_one_line(line));
    const struct str parts[] = {lead, line, STR("\n\n")};
    http_stream_write_parts(x, parts, 3);
}

void http_sse_data(struct http_exchange *x, struct str line)
{
    write_line(x, STR("data: "), line);
}

void http_sse_comment(struct http_exchange *x, struct str line)
{
    write_line(x, STR(": "), line);
}

void http_sse_done(struct http_exchange *x)
{
    http_sse_data(x, STR("[DONE]"));
    http_stream_end(x);
}
