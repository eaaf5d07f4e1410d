/* http_toy.h - an HTTP server with a toy behind it, in a thread of its own, and raw sockets in
 * front. What the toy counts is read with atomics. */
#ifndef TESTS_UNIT_HTTP_TOY_H
#define TESTS_UNIT_HTTP_TOY_H

#include "serve/http_router.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 20000, TICK_US = 2000, FLOOD_BYTES = 8 << 20, PIECE = 1000 };

/* --- the toy: what a request path does */

struct toy {
    struct http_server *server;
    pthread_t thread;
    bool ran;
    struct http_exchange *kept; /* one exchange that is answered later, I/O thread only */
    size_t n_flooded;
    size_t most_pending;
    struct http_task task;
    _Atomic int n_handled, n_closed, n_tasks, n_heads, n_drained, n_waited_for;
    _Atomic int n_ended, last_status; /* of the exchange that ended last */
    _Atomic uint64_t last_bytes;
    void *last_attached;
    _Atomic bool keeps;
};

static void on_closed(void *argument)
{
    struct toy *t = argument;
    t->kept = NULL;
    t->keeps = false;
    t->n_closed++;
}

static void keep(struct toy *t, struct http_exchange *x)
{
    t->kept = x;
    http_attach(x, t);
    http_on_close(x, on_closed, t);
    t->keeps = true;
}

/* As much as the client takes, up to FLOOD_BYTES. */
static void flood(void *argument)
{
    struct toy *t = argument;
    char piece[PIECE];
    memset(piece, 'x', sizeof piece);
    while (t->n_flooded < FLOOD_BYTES && http_stream_pending(t->kept) < 4 * HTTP_STREAM_LOW) {
        http_stream_write(t->kept, (struct str){piece, sizeof piece});
        t->n_flooded += sizeof piece;
    }
    size_t pending = http_stream_pending(t->kept);
    t->most_pending = pending > t->most_pending ? pending : t->most_pending;
    t->n_drained++;
    if (t->n_flooded >= FLOOD_BYTES) {
        http_stream_end(t->kept);
    }
}

static void take_echo(void *toy, struct http_exchange *x, struct str parameter)
{
    (void)toy;
    (void)parameter;
    http_reply(x, 200, "text/plain", http_body(x));
}

static void take_keep(void *toy, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    keep(toy, x);
}

static void take_open_stream(void *toy, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    keep(toy, x);
    http_sse_begin(x);
    http_sse_data(x, STR("{\"first\":1}"));
}

static void take_events(void *toy, struct http_exchange *x, struct str parameter)
{
    (void)toy;
    (void)parameter;
    http_sse_begin(x);
    http_sse_comment(x, STR("keep-alive"));
    http_sse_data(x, STR("{\"a\":\"b\"}"));
    http_stream_write(x, (struct str){NULL, 0}); /* an empty chunk would end the body */
    http_sse_done(x);
}

static void take_flood(void *toy, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    struct toy *t = toy;
    t->n_flooded = t->most_pending = 0;
    keep(t, x);
    http_on_drain(x, flood, t);
    http_stream_begin(x, 200, "application/octet-stream");
    flood(t);
}

/* More than limits.output_bytes without looking whether the client takes it. */
static void take_blind(void *toy, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    keep(toy, x);
    http_stream_begin(x, 200, "application/octet-stream");
    static char piece[1 << 20];
    for (int i = 0; i < 64; i++) {
        http_stream_write(x, (struct str){piece, sizeof piece});
    }
    ((struct toy *)toy)->most_pending = http_stream_pending(x);
}

static void take_headers(void *toy, struct http_exchange *x, struct str parameter)
{
    (void)toy;
    bool ok = http_add_header(x, "X-Good", "a b") && !http_add_header(x, "X-Bad", "a\r\nb: c") &&
              !http_add_header(x, "X Bad", "a") && !http_add_header(x, "X-Bad", "a\nb");
    http_reply(x, ok ? 200 : 500, "text/plain", parameter);
}

static const struct http_route routes[] = {
    {"POST", "/echo", take_echo, .bare = true, .prefixed = true},
    {"GET", "/echo", take_echo, .bare = true},
    {"GET", "/keep", take_keep, .bare = true},
    {"GET", "/stream", take_open_stream, .bare = true},
    {"GET", "/events", take_events, .bare = true},
    {"GET", "/flood", take_flood, .bare = true},
    {"GET", "/blind", take_blind, .bare = true},
    {"GET", "/headers/{name}", take_headers, .prefixed = true},
};
static const char *const prefixes[] = {"/v1", "/openai/v1"};
static struct http_router router = {routes, sizeof routes / sizeof routes[0], prefixes, 2, NULL};

static void on_head(void *context, struct http_exchange *x)
{
    struct toy *t = context;
    t->n_heads++;
    router.context = t;
    http_router_check(&router, x);
}

static void on_request(void *context, struct http_exchange *x)
{
    struct toy *t = context;
    t->n_handled++;
    http_router_dispatch(&router, x);
}

static void on_end(void *context, const struct http_exchange *x, const struct http_outcome *outcome)
{
    struct toy *t = context;
    t->last_status = outcome->status;
    t->last_bytes = outcome->body_bytes;
    t->last_attached = http_attached(x);
    t->n_ended++;
}

static void *serve(void *argument)
{
    struct toy *t = argument;
    t->ran = http_server_run(t->server, NULL);
    return NULL;
}

static struct http_options toy_options(struct toy *t)
{
    struct http_options o;
    http_options_init(&o);
    o.port = 0;
    o.only_loopback = true;
    o.on_head = on_head;
    o.on_request = on_request;
    o.on_end = on_end;
    o.context = t;
    return o;
}

static void start(struct toy *t, const struct http_options *o)
{
    struct error e = {0};
    t->server = http_server_create(o, &e);
    if (t->server == NULL) {
        print_error("%s\n", e.text);
    }
    assert_non_null(t->server);
    assert_int_equal(pthread_create(&t->thread, NULL, serve, t), 0);
}

static void stop(struct toy *t)
{
    http_server_stop(t->server);
    pthread_join(t->thread, NULL);
    assert_true(t->ran);
    http_server_destroy(t->server);
}

#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        for (int tick = 0; !(condition) && tick < WAIT_MS * 1000 / TICK_US; tick++) {              \
            usleep(TICK_US);                                                                       \
        }                                                                                          \
        assert_true(condition);                                                                    \
    } while (0)

/* A task: for longer than any test. */
static void drain(void *argument)
{
    struct toy *t = argument;
    t->n_waited_for = (int)http_server_drain(t->server, 600000);
    t->n_tasks++;
}

/* --- the client */

static int dial(const struct toy *t)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(http_server_port(t->server)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

/* Peers that refuse early may be gone before all is sent. */
static void send_text(int fd, const char *text)
{
    size_t n = strlen(text);
    for (size_t done = 0; done < n;) {
        ssize_t sent = send(fd, text + done, n - done, MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        done += (size_t)sent;
    }
}

/* Reads until the end of the connection, or until `until` was seen n_times; returns the number of
 * bytes in text, NUL behind. */
static size_t receive(int fd, char *text, size_t capacity, const char *until, int n_times)
{
    size_t n = 0;
    text[0] = '\0';
    for (;;) {
        int seen = 0;
        for (const char *p = text; until != NULL && (p = strstr(p, until)) != NULL; p++) {
            seen++;
        }
        struct pollfd p = {fd, POLLIN, 0};
        if ((until != NULL && seen >= n_times) || n + 1 >= capacity || poll(&p, 1, WAIT_MS) <= 0) {
            return n;
        }
        ssize_t got = recv(fd, text + n, capacity - n - 1, 0);
        if (got <= 0) {
            return n;
        }
        n += (size_t)got;
        text[n] = '\0';
    }
}

/* Whether the other side closed, what comes before is dropped. */
static bool is_closed(int fd)
{
    char text[4096];
    for (;;) {
        struct pollfd p = {fd, POLLIN, 0};
        if (poll(&p, 1, WAIT_MS) <= 0) {
            return false;
        }
        if (recv(fd, text, sizeof text, 0) <= 0) {
            return true;
        }
    }
}

/* Sends, reads to the end and gives the status of the first answer. */
static int ask(const struct toy *t, const char *request, char *text, size_t capacity)
{
    int fd = dial(t);
    send_text(fd, request);
    receive(fd, text, capacity, NULL, 0);
    close(fd);
    return strncmp(text, "HTTP/1.1 ", 9) == 0 ? (int)strtol(text + 9, NULL, 10) : 0;
}

#define CLOSE "Host: a\r\nConnection: close\r\n"

#endif
