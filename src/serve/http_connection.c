/* http_connection.c - a connection as a state machine: head, body, answer, and again. Its steps run
 * from the loop alone, never from within a call of an owner. */
#include "serve/http_internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "serve/http_cors.h"
#include "serve/http_library.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

enum {
    LINGER_BYTES = 64 << 20,     /* of a request that was refused, still dropped */
    READ_AT_ONCE = 64 << 10,     /* though heads are shorter */
    READ_AHEAD = 4096,           /* beyond a whole head */
    BODY_STRIDE = 256 << 10,     /* bytes of a body that have body_ms */
    PIPELINED_OUTPUT = 64 << 10, /* unread answers before another request is looked at */
    KERNEL_UNSENT = 16 << 10,    /* that the kernel takes before it says that it is full */
    LINGER_MS = 2000,            /* how long what still comes is dropped after the last answer */
    KEEPALIVE_S = 30,
    KEEPALIVE_STEP_S = 10,
    KEEPALIVE_PROBES = 3 /* vanished machines */
};

static void set_timer(struct http_connection *c, uint32_t ms)
{
    struct timeval t = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
    event_add(c->timer, &t);
}

void http_connection_resume(struct http_connection *c)
{
    event_active(c->resume, EV_TIMEOUT, 0);
}

void http_connection_doom(struct http_connection *c)
{
    c->state = HTTP_DOOMED;
    http_connection_resume(c);
}

static size_t input_bytes(const struct http_connection *c)
{
    return evbuffer_get_length(bufferevent_get_input(c->bev));
}

static size_t output_bytes(const struct http_connection *c)
{
    return evbuffer_get_length(bufferevent_get_output(c->bev));
}

bool http_connection_is_idle(const struct http_connection *c)
{
    return c->state == HTTP_READING_HEAD && input_bytes(c) == 0 && output_bytes(c) == 0;
}

void http_connection_destroy(struct http_connection *c)
{
    struct http_server *s = c->server;
    if (c->x != NULL && c->x->on_close != NULL) {
        c->x->on_close(c->x->on_close_argument);
    }
    http_exchange_destroy(c->x);
    if (c->link != NULL) {
        *c->link = c->next;
        if (c->next != NULL) {
            c->next->link = c->link;
        }
        s->n_connections--;
    }
    if (c->resume != NULL) {
        event_free(c->resume);
    }
    if (c->timer != NULL) {
        event_free(c->timer);
    }
    if (c->bev != NULL) {
        bufferevent_free(c->bev);
    }
    mem_free(c);
    if (s->draining && s->n_connections == 0) {
        event_base_loopbreak(s->base);
    }
}

/* --- the end of an answer */

/* Not before the answer before is written: while a client takes that, only stall_ms bounds it. */
static void start_head_timer(struct http_connection *c)
{
    const struct http_limits *limits = &c->server->options.limits;
    if (output_bytes(c) == 0) {
        set_timer(c, input_bytes(c) > 0 || c->is_shaking ? limits->head_ms : limits->idle_ms);
    }
}

static void begin_head(struct http_connection *c)
{
    c->state = HTTP_READING_HEAD;
    c->scan = (struct http_scan){0};
    c->skipped_line = false;
    start_head_timer(c);
    if (input_bytes(c) > 0 || c->eof) {
        http_connection_resume(c);
    }
}

void http_connection_answered(struct http_connection *c, bool close)
{
    c->x->is_answered = c->state != HTTP_DOOMED;
    http_exchange_destroy(c->x);
    c->x = NULL;
    if (c->state == HTTP_DOOMED) {
        return;
    }
    event_del(c->timer);
    if (!close) {
        begin_head(c);
        return;
    }
    c->state = HTTP_CLOSING;
    http_connection_resume(c);
}

/* Input is dropped while answers are written, and for a while after that: closing with unread bytes
 * would reset the connection, and the client might never see the answer. */
static void close_when_written(struct http_connection *c)
{
    size_t n = input_bytes(c);
    c->n_lingered += n;
    evbuffer_drain(bufferevent_get_input(c->bev), n);
    if (c->n_lingered > LINGER_BYTES) {
        http_connection_destroy(c);
    } else if (c->state == HTTP_CLOSING && output_bytes(c) == 0) {
        if (c->is_tls) {
            http_tls_end_writing(c->bev);
        }
        if (c->eof || shutdown(bufferevent_getfd(c->bev), SHUT_WR) != 0) {
            http_connection_destroy(c);
            return;
        }
        c->state = HTTP_LINGERING;
        set_timer(c, LINGER_MS);
    }
}

/* --- reading */

static void refuse(struct http_connection *c, struct http_problem problem)
{
    if (c->x == NULL) {
        c->x = http_exchange_create(c);
    }
    if (c->x == NULL) {
        http_connection_doom(c);
        return;
    }
    http_exchange_refuse(c->x, problem);
}

static void hand_over(struct http_connection *c)
{
    const struct http_options *o = &c->server->options;
    event_del(c->timer);
    c->x->body_pending = false;
    c->x->start_ns = clock_now_ns();
    c->state = HTTP_ANSWERING;
    o->on_request(o->context, c->x);
}

static bool append_length_body(struct http_exchange *x, struct str *in,
                               struct http_problem *problem)
{
    uint64_t left = x->head.content_length - x->body.n;
    size_t n = in->n < left ? in->n : (size_t)left;
    if (!buf_append(&x->body, (struct str){in->p, n}, NULL)) {
        *problem =
            (struct http_problem){.kind = API_ERROR_OVERLOADED, .text = "no memory for the body"};
        return false;
    }
    *in = str_skip(*in, n);
    return true;
}

static bool body_is_complete(const struct http_exchange *x)
{
    return x->head.is_chunked ? x->chunked.state == HTTP_CHUNK_DONE
                              : x->body.n == x->head.content_length;
}

/* One contiguous piece of the input. */
static bool take_body(struct http_connection *c, struct http_problem *problem)
{
    struct evbuffer *input = bufferevent_get_input(c->bev);
    struct http_exchange *x = c->x;
    size_t n = evbuffer_get_contiguous_space(input);
    struct str in = {(const char *)evbuffer_pullup(input, (ev_ssize_t)n), n};
    bool ok = x->head.is_chunked ? http_chunked_feed(&x->chunked, &in, &x->body, problem)
                                 : append_length_body(x, &in, problem);
    evbuffer_drain(input, n - in.n);
    c->server->bodies_bytes += x->body.capacity - x->body_counted;
    x->body_counted = x->body.capacity;
    size_t most = c->server->options.limits.all_bodies_bytes;
    if (ok && c->server->bodies_bytes > most) {
        *problem = (struct http_problem){
            API_ERROR_OVERLOADED, "the bodies of all requests take too much memory", most, "bytes"};
        return false;
    }
    return ok;
}

static void read_body(struct http_connection *c)
{
    struct http_problem problem;
    while (!body_is_complete(c->x) && input_bytes(c) > 0) {
        if (!take_body(c, &problem)) {
            refuse(c, problem);
            return;
        }
    }
    if (body_is_complete(c->x)) {
        hand_over(c);
    } else if (c->eof) {
        http_connection_destroy(c);
    } else if (c->x->body.n >= c->n_next_deadline) {
        c->n_next_deadline = c->x->body.n + BODY_STRIDE;
        set_timer(c, c->server->options.limits.body_ms);
    }
}

static void begin_body(struct http_connection *c)
{
    if (c->x->head.expects_continue && input_bytes(c) == 0) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        bufferevent_write(c->bev, go_on, sizeof go_on - 1);
    }
    c->state = HTTP_READING_BODY;
    c->n_next_deadline = 0;
    read_body(c);
}

/* A body that is compressed would be taken for JSON that is broken. */
static void refuse_coding(struct http_exchange *x, struct str coding)
{
    enum { SHOWN = 64 };
    struct api_error error = {0};
    coding.n = coding.n < SHOWN ? coding.n : SHOWN;
    api_error_set(&error, API_ERROR_CONTENT_CODING, NULL,
                  "Content-Encoding is '%.*s': bodies are taken as they are ('identity') alone",
                  STR_ARG(coding));
    http_add_header(x, "Accept-Encoding", "identity");
    http_reply_error(x, &error);
}

/* Who may not ask at all is told that first. */
static void judge_request(struct http_connection *c)
{
    const struct http_options *o = &c->server->options;
    struct http_exchange *x = c->x;
    struct str coding = http_head_content_coding(&x->head);
    if (o->on_head != NULL) {
        o->on_head(o->context, x);
    }
    if (c->x == NULL || c->state == HTTP_DOOMED) {
        return; /* it answered */
    }
    if (x->head.has_body && coding.p != NULL) {
        refuse_coding(x, coding);
    } else if (x->head.content_length > o->limits.body_bytes) {
        refuse(c, (struct http_problem){API_ERROR_BODY_TOO_LARGE, "the body is too large",
                                        o->limits.body_bytes, "bytes"});
    } else if (x->head.has_body) {
        begin_body(c);
    } else {
        hand_over(c);
    }
}

/* The head is there, the body is not. */
static void judge_head(struct http_connection *c)
{
    const struct http_options *o = &c->server->options;
    struct http_exchange *x = c->x;
    http_exchange_name(x);
    x->body_pending = x->head.has_body;
    if (c->over_limit != NULL) {
        refuse(c, (struct http_problem){API_ERROR_OVERLOADED, c->over_limit, c->most, "at once"});
    } else if (http_cors_is_preflight(&x->head)) {
        http_reply(x, 204, NULL, (struct str){NULL, 0});
    } else if (http_cors_is_refused(&(struct http_cors){o->origins, o->n_origins}, &x->head)) {
        struct api_error error = {0};
        api_error_set(&error, API_ERROR_ORIGIN, NULL, "pages of this origin may not call");
        http_reply_error(x, &error);
    } else {
        judge_request(c);
    }
}

static void take_head(struct http_connection *c)
{
    struct evbuffer *input = bufferevent_get_input(c->bev);
    struct http_problem problem;
    size_t n = c->scan.at;
    c->x = http_exchange_create(c);
    if (c->x == NULL || (c->x->block = mem_alloc(n, 1, "head of a request", NULL)) == NULL) {
        http_connection_doom(c);
        return;
    }
    evbuffer_remove(input, c->x->block, n);
    c->x->has_head = http_head_parse(c->x->block, n, c->server->options.limits.target_bytes,
                                     &c->x->head, &problem);
    if (c->x->has_head) {
        judge_head(c);
    } else {
        refuse(c, problem);
    }
}

static void skip_line(struct http_connection *c)
{
    if (c->skipped_line) {
        refuse(c, (struct http_problem){.kind = API_ERROR_BAD_HTTP,
                                        .text = "empty lines in place of a request"});
        return;
    }
    evbuffer_drain(bufferevent_get_input(c->bev), 2);
    c->scan = (struct http_scan){0};
    c->skipped_line = true;
    http_connection_resume(c);
}

static void read_head(struct http_connection *c)
{
    const struct http_limits *limits = &c->server->options.limits;
    struct evbuffer *input = bufferevent_get_input(c->bev);
    struct http_problem problem;
    size_t n = evbuffer_get_length(input);
    if (c->server->draining && http_connection_is_idle(c)) {
        http_connection_destroy(c); /* its answer had been begun before the drain was */
        return;
    }
    if (output_bytes(c) > PIPELINED_OUTPUT) {
        return; /* on_written comes back */
    }
    if (n > 0 && c->scan.at == 0) {
        start_head_timer(c);
    }
    struct str bytes = {(const char *)evbuffer_pullup(input, -1), n};
    if (n > 0 && bytes.p == NULL) {
        http_connection_doom(c); /* no memory for all of it in one piece */
        return;
    }
    switch (http_head_scan(&c->scan, bytes, limits->head_bytes, limits->target_bytes, &problem)) {
    case HTTP_SCAN_BAD:
        refuse(c, problem);
        break;
    case HTTP_SCAN_DONE:
        if (c->scan.at == 2) {
            skip_line(c);
        } else {
            take_head(c);
        }
        break;
    case HTTP_SCAN_MORE:
        if (c->eof) {
            c->state = HTTP_CLOSING;
            close_when_written(c);
        }
        break;
    }
}

static void advance(struct http_connection *c)
{
    switch (c->state) {
    case HTTP_READING_HEAD:
        read_head(c);
        break;
    case HTTP_READING_BODY:
        read_body(c);
        break;
    case HTTP_CLOSING:
    case HTTP_LINGERING:
        close_when_written(c);
        break;
    case HTTP_DOOMED:
        http_connection_destroy(c);
        break;
    case HTTP_ANSWERING:
        break;
    }
}

/* --- events */

static void on_resume(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    advance(argument);
}

static size_t most_input(const struct http_connection *c)
{
    size_t head = c->server->options.limits.head_bytes;
    return (head > READ_AT_ONCE ? head : READ_AT_ONCE) + READ_AHEAD;
}

static void on_readable(struct bufferevent *bev, void *argument)
{
    (void)bev;
    struct http_connection *c = argument;
    if (c->state == HTTP_ANSWERING && input_bytes(c) >= most_input(c)) {
        /* No more could be read, nor its end be seen: that may lie behind a full window. */
        http_connection_destroy(c);
    } else {
        advance(c);
    }
}

static void on_written(struct bufferevent *bev, void *argument)
{
    (void)bev;
    struct http_connection *c = argument;
    if (c->state != HTTP_ANSWERING) {
        if (c->state == HTTP_READING_HEAD) {
            start_head_timer(c);
        }
        advance(c);
    } else if (c->half_written && output_bytes(c) <= HTTP_STREAM_LOW) {
        c->half_written = false;
        if (c->x->on_drain != NULL) {
            c->x->on_drain(c->x->on_drain_argument);
        }
    }
}

/* The client closed its sending side. */
static void on_eof(struct http_connection *c)
{
    c->eof = true;
    if (c->is_tls) {
        http_tls_end_reading(c->bev);
    }
    if (c->state == HTTP_LINGERING ||
        (c->state == HTTP_ANSWERING && !c->server->options.half_close)) {
        http_connection_destroy(c);
    } else {
        advance(c);
    }
}

static bool listen_to_events(struct http_connection *c);

/* A client that speaks HTTP where TLS is spoken is told so in HTTP. */
static void refuse_plainly(struct http_connection *c)
{
    int fd = fcntl(bufferevent_getfd(c->bev), F_DUPFD_CLOEXEC, 0);
    struct bufferevent *plain =
        fd >= 0 ? bufferevent_socket_new(c->server->base, fd, BEV_OPT_CLOSE_ON_FREE) : NULL;
    if (plain == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        http_connection_destroy(c);
        return;
    }
    bufferevent_free(c->bev);
    c->bev = plain;
    c->is_tls = c->is_shaking = false;
    if (!listen_to_events(c)) {
        http_connection_doom(c);
        return;
    }
    refuse(c,
           (struct http_problem){.kind = API_ERROR_BAD_HTTP,
                                 .text = "this port speaks TLS: the address begins with https://"});
}

static void on_event(struct bufferevent *bev, short what, void *argument)
{
    struct http_connection *c = argument;
    if (what == BEV_EVENT_CONNECTED) {
        c->is_shaking = false;
        start_head_timer(c);
    } else if ((what & BEV_EVENT_EOF) != 0 && (what & BEV_EVENT_READING) != 0) {
        on_eof(c);
    } else if (c->is_shaking && http_tls_met_http(bev)) {
        refuse_plainly(c);
    } else {
        http_connection_destroy(c); /* reset, or no byte of an answer taken for stall_ms */
    }
}

static bool listen_to_events(struct http_connection *c)
{
    const struct http_limits *limits = &c->server->options.limits;
    struct timeval stall = {limits->stall_ms / 1000, (suseconds_t)(limits->stall_ms % 1000) * 1000};
    bufferevent_setcb(c->bev, on_readable, on_written, on_event, c);
    bufferevent_setwatermark(c->bev, EV_READ, 0, most_input(c));
    bufferevent_setwatermark(c->bev, EV_WRITE, HTTP_STREAM_LOW, 0);
    bufferevent_set_timeouts(c->bev, NULL, &stall);
    return bufferevent_enable(c->bev, EV_READ | EV_WRITE) == 0;
}

static void refuse_late(struct http_connection *c, const char *text, uint32_t ms, const char *of)
{
    char unit[64];
    bool is_whole = ms % 1000 == 0;
    snprintf(unit, sizeof unit, "%s%s", is_whole ? "seconds" : "milliseconds", of);
    refuse(c, (struct http_problem){API_ERROR_TIMEOUT, text, is_whole ? ms / 1000 : ms, unit});
}

static void on_timer(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct http_connection *c = argument;
    const struct http_limits *limits = &c->server->options.limits;
    switch (c->state) {
    case HTTP_READING_HEAD:
        if (input_bytes(c) == 0) {
            http_connection_destroy(c);
        } else {
            refuse_late(c, "the request's head did not come in time", limits->head_ms, "");
        }
        break;
    case HTTP_READING_BODY:
        refuse_late(c, "the request's body did not come in time", limits->body_ms,
                    " for every 256 KiB");
        break;
    case HTTP_LINGERING:
        http_connection_destroy(c);
        break;
    case HTTP_ANSWERING:
    case HTTP_CLOSING:
    case HTTP_DOOMED:
        break; /* no timer runs then */
    }
}

/* --- a new connection */

static void describe_peer(struct http_connection *c)
{
    char text[INET6_ADDRSTRLEN] = "?";
    if (c->address.ss_family == AF_UNIX) {
        snprintf(c->peer, sizeof c->peer, "unix");
    } else if (c->address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)&c->address;
        inet_ntop(AF_INET6, &a->sin6_addr, text, sizeof text);
        snprintf(c->peer, sizeof c->peer, "[%s]:%u", text, ntohs(a->sin6_port));
    } else {
        const struct sockaddr_in *a = (const struct sockaddr_in *)&c->address;
        inet_ntop(AF_INET, &a->sin_addr, text, sizeof text);
        snprintf(c->peer, sizeof c->peer, "%s:%u", text, ntohs(a->sin_port));
    }
}

/* An IPv6 client has a whole /64 to itself. */
static bool same_client(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family || a->ss_family == AF_UNIX) {
        return false;
    }
    if (a->ss_family == AF_INET6) {
        return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
                      &((const struct sockaddr_in6 *)b)->sin6_addr, 8) == 0;
    }
    return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
           ((const struct sockaddr_in *)b)->sin_addr.s_addr;
}

static void check_limits(struct http_connection *c)
{
    const struct http_limits *limits = &c->server->options.limits;
    uint32_t n_same = 0;
    for (const struct http_connection *o = c->server->connections; o != NULL; o = o->next) {
        n_same += same_client(&c->address, &o->address);
    }
    if (c->server->n_connections >= limits->connections) {
        c->over_limit = "too many connections";
        c->most = limits->connections;
    } else if (n_same >= limits->per_address) {
        c->over_limit = "too many connections from one address";
        c->most = limits->per_address;
    }
}

/* What cannot be set is left: these make things better, not right. */
static void set_socket_options(evutil_socket_t fd)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {IPPROTO_TCP, TCP_NOTSENT_LOWAT, KERNEL_UNSENT},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_STEP_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
    }
}

static void link_connection(struct http_connection *c)
{
    struct http_server *s = c->server;
    c->next = s->connections;
    c->link = &s->connections;
    if (c->next != NULL) {
        c->next->link = &c->next;
    }
    s->connections = c;
    s->n_connections++;
}

void http_connection_create(struct http_server *s, evutil_socket_t fd,
                            const struct sockaddr *address, socklen_t n)
{
    struct http_connection *c = NULL;
    if (s->n_connections < s->options.limits.connections + HTTP_REFUSING_CONNECTIONS &&
        http_library_has_reserve()) {
        c = mem_alloc(1, sizeof *c, "connection", NULL);
    }
    if (c == NULL) {
        close(fd);
        return;
    }
    c->server = s;
    memcpy(&c->address, address, n < sizeof c->address ? n : sizeof c->address);
    describe_peer(c);
    set_socket_options(fd);
    c->is_tls = c->is_shaking = s->tls != NULL && c->address.ss_family != AF_UNIX;
    c->bev = c->is_tls ? http_tls_accept(s->tls, s->base, fd)
                       : bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);
    c->timer = event_new(s->base, -1, 0, on_timer, c);
    c->resume = event_new(s->base, -1, 0, on_resume, c);
    if (c->bev == NULL || c->timer == NULL || c->resume == NULL) {
        if (c->bev == NULL) {
            close(fd);
        }
        http_connection_destroy(c);
        return;
    }
    check_limits(c);
    link_connection(c);
    if (!listen_to_events(c)) {
        http_connection_destroy(c);
        return;
    }
    begin_head(c);
}
