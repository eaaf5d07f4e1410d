/* http_exchange.c - a request as its owner sees it, and the writing of answers. */
#include "base/clock.h"
#include "base/mem.h"
#include "serve/http_cors.h"
#include "serve/http_internal.h"

#include <stdio.h>
#include <sys/random.h>
#include <time.h>

enum { MAX_EXTRA = 16 << 10, MAX_ANSWER_HEAD = 64 << 10, MAX_ERROR_BODY = 64 << 10 };

/* --- life */

struct http_exchange *http_exchange_create(struct http_connection *c)
{
    struct http_exchange *x = mem_alloc(1, sizeof *x, "exchange", NULL);
    if (x != NULL) {
        x->connection = c;
        x->start_ns = clock_now_ns();
        buf_init(&x->body, c->server->options.limits.body_bytes);
        buf_init(&x->extra, MAX_EXTRA);
    }
    return x;
}

static void tell_end(const struct http_exchange *x)
{
    const struct http_options *o = &x->connection->server->options;
    const struct http_outcome outcome = {.status = x->is_answered ? x->status : HTTP_CLIENT_LEFT,
                                         .body_bytes = x->body_bytes,
                                         .ns = clock_now_ns() - x->start_ns};
    if (o->on_end != NULL) {
        o->on_end(o->context, x, &outcome);
    }
}

void http_exchange_destroy(struct http_exchange *x)
{
    if (x == NULL) {
        return;
    }
    tell_end(x);
    x->connection->server->bodies_bytes -= x->body_counted;
    buf_finish(&x->body);
    buf_finish(&x->extra);
    mem_free(x->block);
    mem_free(x);
}

static bool is_sane_id(struct str id)
{
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        bool is_plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!is_plain && (c == '\0' || strchr("._:/+=@-", c) == NULL)) {
            return false;
        }
    }
    return id.n > 0 && id.n < HTTP_ID_BYTES;
}

void http_exchange_name(struct http_exchange *x)
{
    struct str own = http_head_field(&x->head, "x-request-id");
    if (is_sane_id(own)) {
        memcpy(x->id, own.p, own.n);
        x->id[own.n] = '\0';
        return;
    }
    uint64_t random[2] = {0};
    if (getrandom(random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random) {
        static uint64_t n_named; /* of the I/O thread: unique is what matters */
        random[0] = clock_now_ns();
        random[1] = ++n_named;
    }
    snprintf(x->id, sizeof x->id, "req_%016llx%016llx", (unsigned long long)random[0],
             (unsigned long long)random[1]);
}

/* --- the request */

struct str http_method(const struct http_exchange *x)
{
    return x->head.method;
}

struct str http_path(const struct http_exchange *x)
{
    return x->head.path;
}

struct str http_query(const struct http_exchange *x)
{
    return x->head.query;
}

struct str http_header(const struct http_exchange *x, const char *name)
{
    return http_head_field(&x->head, name);
}

struct str http_body(const struct http_exchange *x)
{
    return buf_str(&x->body);
}

struct buf http_take_body(struct http_exchange *x)
{
    struct buf body = x->body;
    buf_init(&x->body, body.max);
    return body;
}

const char *http_peer(const struct http_exchange *x)
{
    return x->connection->peer;
}

const char *http_request_id(const struct http_exchange *x)
{
    return x->id;
}

struct http_server *http_exchange_server(const struct http_exchange *x)
{
    return x->connection->server;
}

void http_attach(struct http_exchange *x, void *thing)
{
    x->attached = thing;
}

void *http_attached(const struct http_exchange *x)
{
    return x->attached;
}

void http_set_caller(struct http_exchange *x, void *caller)
{
    x->caller = caller;
}

void *http_caller(const struct http_exchange *x)
{
    return x->caller;
}

void http_on_close(struct http_exchange *x, void (*fn)(void *argument), void *argument)
{
    x->on_close = fn;
    x->on_close_argument = argument;
}

void http_on_drain(struct http_exchange *x, void (*fn)(void *argument), void *argument)
{
    x->on_drain = fn;
    x->on_drain_argument = argument;
}

/* --- the head of an answer */

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {201, "Created"},
        {204, "No Content"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return "";
}

bool http_add_header(struct http_exchange *x, const char *name, const char *value)
{
    bool ok = http_is_token(str_from(name));
    for (const char *p = value; *p != '\0'; p++) {
        ok = ok && ((unsigned char)*p >= 0x20 || *p == '\t') && *p != 0x7F;
    }
    if (ok && http_str_eq_nocase(str_from(name), STR("cache-control"))) {
        x->has_cache_field = true;
    }
    return ok && buf_printf(&x->extra, NULL, "%s: %s\r\n", name, value);
}

/* Names of days and months are the protocol's, not those of a locale. */
static void format_date(char *out, size_t capacity)
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t now = time(NULL);
    struct tm t;
    gmtime_r(&now, &t);
    snprintf(out, capacity, "%s, %02d %s %d %02d:%02d:%02d GMT", days[t.tm_wday], t.tm_mday,
             months[t.tm_mon], t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

static bool must_close(const struct http_exchange *x)
{
    const struct http_connection *c = x->connection;
    return !x->has_head || !x->head.keep_alive || x->body_pending || c->server->draining;
}

static bool is_head_request(const struct http_exchange *x)
{
    return str_eq(x->head.method, STR("HEAD"));
}

/* framing: the field that says how long the body is, "" for none */
static bool build_head(struct http_exchange *x, int status, const char *type, const char *framing,
                       struct buf *out)
{
    const struct http_options *o = &x->connection->server->options;
    const struct http_cors cors = {o->origins, o->n_origins};
    char date[40];
    format_date(date, sizeof date);
    uint64_t ms = (clock_now_ns() - x->start_ns) / 1000000;
    return buf_printf(out, NULL,
                      "HTTP/1.1 %d %s\r\nDate: %s\r\nx-request-id: %s\r\n"
                      "openai-processing-ms: %llu\r\n%s",
                      status, reason_of(status), date, x->id, (unsigned long long)ms,
                      x->has_cache_field ? "" : "Cache-Control: no-store\r\n") &&
           http_cors_append(&cors, &x->head, out, NULL) &&
           buf_append(out, buf_str(&x->extra), NULL) &&
           (type == NULL ||
            buf_printf(out, NULL, "Content-Type: %s\r\nX-Content-Type-Options: nosniff\r\n",
                       type)) &&
           buf_printf(out, NULL, "%s%s\r\n", framing,
                      must_close(x)    ? "Connection: close\r\n"
                      : x->head.is_1_0 ? "Connection: keep-alive\r\n"
                                       : "");
}

/* Written, or the connection is doomed. */
static bool write_head(struct http_exchange *x, int status, const char *type, const char *framing)
{
    const struct http_options *o = &x->connection->server->options;
    struct buf head;
    buf_init(&head, MAX_ANSWER_HEAD);
    x->status = status;
    if (o->on_answer != NULL) {
        o->on_answer(o->context, x);
    }
    bool ok = x->connection->state != HTTP_DOOMED && build_head(x, status, type, framing, &head) &&
              bufferevent_write(x->connection->bev, head.data, head.n) == 0;
    if (!ok) {
        http_connection_doom(x->connection);
    }
    buf_finish(&head);
    return ok;
}

/* --- whole answers */

void http_reply(struct http_exchange *x, int status, const char *type, struct str body)
{
    struct http_connection *c = x->connection;
    char framing[64] = "";
    if (status != 204) {
        snprintf(framing, sizeof framing, "Content-Length: %zu\r\n", body.n);
    }
    bool close = must_close(x);
    if (write_head(x, status, type, framing) && status != 204 && !is_head_request(x)) {
        x->body_bytes = body.n;
        if (bufferevent_write(c->bev, body.p, body.n) != 0) {
            http_connection_doom(c);
        }
    }
    http_connection_answered(c, close);
}

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

void http_reply_error(struct http_exchange *x, const struct api_error *error)
{
    static const char fallback[] = "{\"error\":{\"message\":\"out of memory\",\"type\":"
                                   "\"server_error\",\"param\":null,\"code\":null}}";
    static const struct api_error no_memory = {.kind = API_ERROR_OVERLOADED};
    struct buf body;
    buf_init(&body, MAX_ERROR_BODY);
    bool ok = api_error_print(error, &body, NULL);
    error = ok ? error : &no_memory;
    int status = api_error_meaning(error->kind)->http_status;
    add_retry(x, error, status);
    http_reply(x, status, "application/json", ok ? buf_str(&body) : str_from(fallback));
    buf_finish(&body);
}

void http_reply_failure(struct http_exchange *x, const struct error *e)
{
    struct api_error error = {0};
    api_error_from(&error, e, NULL);
    http_reply_error(x, &error);
}

void http_exchange_refuse(struct http_exchange *x, struct http_problem problem)
{
    struct api_error error = {0};
    if (x->id[0] == '\0') {
        http_exchange_name(x);
    }
    x->body_pending = true; /* whatever follows cannot be made sense of: closes */
    if (problem.unit != NULL) {
        api_error_set(&error, problem.kind, NULL, "%s: %llu %s at most", problem.text,
                      (unsigned long long)problem.most, problem.unit);
    } else {
        api_error_set(&error, problem.kind, NULL, "%s", problem.text);
    }
    http_reply_error(x, &error);
}

/* --- streams */

void http_stream_begin(struct http_exchange *x, int status, const char *type)
{
    x->is_chunked = !x->head.is_1_0;
    if (!x->is_chunked) {
        x->head.keep_alive = false; /* the end of the connection is the end of the body */
    }
    write_head(x, status, type, x->is_chunked ? "Transfer-Encoding: chunked\r\n" : "");
    /* behind answers to requests before it, which the client has not read either */
    struct http_connection *c = x->connection;
    c->half_written = http_stream_pending(x) > HTTP_STREAM_LOW;
}

/* Appends to the output in one go, so that a part is never written alone. */
static bool append_parts(struct http_exchange *x, const struct str *parts, size_t n_parts,
                         size_t n_bytes)
{
    struct evbuffer *output = bufferevent_get_output(x->connection->bev);
    bool ok = !x->is_chunked || evbuffer_add_printf(output, "%zx\r\n", n_bytes) > 0;
    for (size_t i = 0; ok && i < n_parts; i++) {
        ok = evbuffer_add(output, parts[i].p, parts[i].n) == 0;
    }
    return ok && (!x->is_chunked || evbuffer_add(output, "\r\n", 2) == 0);
}

void http_stream_write_parts(struct http_exchange *x, const struct str *parts, size_t n)
{
    struct http_connection *c = x->connection;
    size_t n_bytes = 0;
    for (size_t i = 0; i < n; i++) {
        n_bytes += parts[i].n;
    }
    if (n_bytes == 0 || c->state == HTTP_DOOMED || is_head_request(x)) {
        return;
    }
    if (!append_parts(x, parts, n, n_bytes) ||
        http_stream_pending(x) > c->server->options.limits.output_bytes) {
        http_connection_doom(c);
        return;
    }
    x->body_bytes += n_bytes;
    c->half_written = c->half_written || http_stream_pending(x) > HTTP_STREAM_LOW;
}

void http_stream_write(struct http_exchange *x, struct str s)
{
    http_stream_write_parts(x, &s, 1);
}

size_t http_stream_pending(const struct http_exchange *x)
{
    if (x->connection->state == HTTP_DOOMED) {
        return SIZE_MAX;
    }
    return evbuffer_get_length(bufferevent_get_output(x->connection->bev));
}

void http_stream_end(struct http_exchange *x)
{
    struct http_connection *c = x->connection;
    bool close = must_close(x);
    if (x->is_chunked && c->state != HTTP_DOOMED && !is_head_request(x) &&
        bufferevent_write(c->bev, "0\r\n\r\n", 5) != 0) {
        http_connection_doom(c);
    }
    c->half_written = false;
    http_connection_answered(c, close);
}
