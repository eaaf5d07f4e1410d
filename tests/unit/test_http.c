/* test_http.c - requests, answers, clients that leave, limits, and the end. */
#include "base/mem.h"
#include "http_toy.h"

/* --- whole requests */

static void a_request_may_come_in_any_pieces(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "POST /echo HTTP/1.1\r\n" CLOSE "Content-Length: 5\r\n\r\nhello",
        "\r\nPOST /openai/v1/echo HTTP/1.1\r\n" CLOSE
        "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\nT: x\r\n\r\n",
    };
    char text[4096];
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    start(&t, &o);
    for (size_t i = 0; i < 2; i++) {
        int fd = dial(&t);
        for (const char *p = requests[i]; *p != '\0'; p++) {
            assert_int_equal(send(fd, p, 1, MSG_NOSIGNAL), 1);
            if (i == 0) {
                usleep(500);
            }
        }
        receive(fd, text, sizeof text, NULL, 0);
        assert_memory_equal(text, "HTTP/1.1 200 OK\r\n", 17);
        assert_non_null(strstr(text, "Content-Length: 5\r\n"));
        assert_string_equal(text + strlen(text) - 9, "\r\n\r\nhello");
        close(fd);
    }
    stop(&t);
    assert_int_equal(t.n_handled, 2);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    char text[16384];
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    start(&t, &o);
    int fd = dial(&t);
    send_text(
        fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\noneGET /echo HTTP/1.1\r\n"
            "Host: a\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            "3\r\ntwo\r\n0\r\n\r\nPOST /echo HTTP/1.1\r\n" CLOSE "Content-Length: 5\r\n\r\nthree");
    receive(fd, text, sizeof text, NULL, 0);
    const char *at = text;
    for (size_t i = 0; i < 3; i++) {
        static const char *const words[] = {"\r\n\r\none", "\r\n\r\ntwo", "\r\n\r\nthree"};
        at = strstr(at, words[i]);
        assert_non_null(at);
    }
    close(fd);
    stop(&t);
    assert_int_equal(t.n_handled, 4);
}

static void a_client_is_told_to_go_on_only_when_its_body_is_wanted(void **state)
{
    (void)state;
    char text[4096];
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    start(&t, &o);
    int fd = dial(&t);
    send_text(fd,
              "POST /echo HTTP/1.1\r\n" CLOSE "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    receive(fd, text, sizeof text, "\r\n\r\n", 1);
    assert_string_equal(text, "HTTP/1.1 100 Continue\r\n\r\n");
    send_text(fd, "ok");
    receive(fd, text, sizeof text, NULL, 0);
    assert_memory_equal(text, "HTTP/1.1 200", 12);
    close(fd);
    assert_int_equal(ask(&t,
                         "POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
                         "Expect: 100-continue\r\n\r\n",
                         text, sizeof text),
                     404);
    assert_non_null(strstr(text, "Connection: close\r\n"));
    stop(&t);
}

static void an_event_is_exactly_its_bytes(void **state)
{
    (void)state;
    char text[4096];
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    start(&t, &o);
    assert_int_equal(ask(&t, "GET /events HTTP/1.1\r\n" CLOSE "\r\n", text, sizeof text), 200);
    assert_non_null(strstr(text, "Content-Type: text/event-stream"));
    assert_non_null(strstr(text, "Cache-Control: no-cache\r\n"));
    assert_null(strstr(text, "no-store"));
    assert_non_null(strstr(text, "X-Accel-Buffering: no\r\n"));
    assert_string_equal(strstr(text, "\r\n\r\n"),
                        "\r\n\r\ne\r\n: keep-alive\n\n\r\n11\r\ndata: {\"a\":\"b\"}\n\n\r\n"
                        "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
    assert_int_equal(ask(&t, "GET /events HTTP/1.0\r\n\r\n", text, sizeof text), 200);
    assert_string_equal(strstr(text, "\r\n\r\n"),
                        "\r\n\r\n: keep-alive\n\ndata: {\"a\":\"b\"}\n\ndata: [DONE]\n\n");
    assert_int_equal(ask(&t, "HEAD /events HTTP/1.1\r\n" CLOSE "\r\n", text, sizeof text), 200);
    assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\n");
    stop(&t);
}

static void fields_cannot_be_smuggled_into_an_answer(void **state)
{
    (void)state;
    char text[4096];
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    start(&t, &o);
    assert_int_equal(
        ask(&t, "GET /v1/headers/a/%0d%0aX: HTTP/1.1\r\n" CLOSE "\r\n", text, sizeof text), 200);
    assert_non_null(strstr(text, "X-Good: a b\r\n"));
    assert_null(strstr(text, "Bad"));
    assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\na/\r\nX:");
    stop(&t);
}

static void only_listed_origins_may_call_where_there_is_a_list(void **state)
{
    (void)state;
    static const struct str origins[] = {STR("https://one.example"), STR("https://two.example")};
    char text[4096];
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    o.origins = origins;
    o.n_origins = 2;
    start(&t, &o);
    assert_int_equal(ask(&t, "GET /echo HTTP/1.1\r\n" CLOSE "Origin: https://two.example\r\n\r\n",
                         text, sizeof text),
                     200);
    assert_non_null(strstr(text, "Access-Control-Allow-Origin: https://two.example\r\n"));
    static const char *const others[] = {
        "GET /echo HTTP/1.1\r\n" CLOSE "Origin: https://two.example.three.example\r\n\r\n",
        "GET /echo HTTP/1.1\r\n" CLOSE "Origin:\r\n\r\n",
        "GET /echo HTTP/1.1\r\n" CLOSE "Origin: http://a.example\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" CLOSE "Origin: null\r\nContent-Type: text/plain\r\n"
        "Content-Length: 2\r\n\r\nhi",
        "OPTIONS /echo HTTP/1.1\r\n" CLOSE
        "Origin: null\r\nAccess-Control-Request-Method: GET\r\n\r\n",
    };
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(ask(&t, others[i], text, sizeof text), i < 4 ? 403 : 204);
        assert_null(strstr(text, "Access-Control"));
        assert_non_null(strstr(text, "Vary: Origin\r\n"));
    }
    static const char *const own[] = {
        "GET /echo HTTP/1.1\r\nHost: Own.example:80\r\nConnection: close\r\n"
        "Origin: http://own.example:80\r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost: own.example\r\nConnection: close\r\n"
        "Origin: https://own.example\r\n\r\n", /* a proxy ends TLS */
        "GET /echo HTTP/1.1\r\n" CLOSE "\r\n",
    };
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(ask(&t, own[i], text, sizeof text), 200);
    }
    stop(&t);
    assert_int_equal(t.n_handled, 4);
}

/* --- answers from another thread */

static void answer_kept(void *argument)
{
    struct toy *t = argument;
    t->n_tasks++;
    if (t->kept != NULL) {
        struct http_exchange *x = t->kept;
        t->kept = NULL;
        t->keeps = false;
        http_reply(x, 200, "text/plain", STR("later"));
    }
}

static void another_thread_answers(void **state)
{
    (void)state;
    char text[4096];
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    t.task = (struct http_task){.run = answer_kept, .argument = &t};
    start(&t, &o);
    int fd = dial(&t);
    for (int i = 0; i < 3; i++) {
        send_text(fd, "GET /keep HTTP/1.1\r\nHost: a\r\n\r\n");
        WAIT_FOR(t.keeps);
        http_server_post(t.server, &t.task);
        receive(fd, text, sizeof text, "later", 1);
        assert_memory_equal(text, "HTTP/1.1 200", 12);
    }
    close(fd);
    stop(&t);
    assert_int_equal(t.n_closed, 0);
    assert_int_equal(t.n_tasks, 3);
}

struct counter {
    struct http_task task;
    _Atomic int n;
};

static void count(void *argument)
{
    struct counter *c = argument;
    c->n++;
}

struct poster {
    struct http_server *server;
    struct counter *counters;
    pthread_t thread;
};

enum { N_COUNTERS = 100, N_POSTERS = 4 };

static void *post_all(void *argument)
{
    struct poster *p = argument;
    for (int i = 0; i < N_COUNTERS; i++) {
        http_server_post(p->server, &p->counters[i].task);
    }
    return NULL;
}

static void every_task_runs_once_for_each_time_it_was_posted(void **state)
{
    (void)state;
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    static struct counter counters[N_POSTERS][N_COUNTERS];
    struct poster posters[N_POSTERS];
    start(&t, &o);
    for (int k = 0; k < N_POSTERS; k++) {
        for (int i = 0; i < N_COUNTERS; i++) {
            counters[k][i].task = (struct http_task){.run = count, .argument = &counters[k][i]};
        }
        posters[k] = (struct poster){t.server, counters[k], 0};
        pthread_create(&posters[k].thread, NULL, post_all, &posters[k]);
    }
    for (int k = 0; k < N_POSTERS; k++) {
        pthread_join(posters[k].thread, NULL);
        for (int i = 0; i < N_COUNTERS; i++) {
            WAIT_FOR(counters[k][i].n == 1);
        }
    }
    stop(&t);
}

/* Nothing runs before http_server_run(), so that what waits is known. */
static void a_task_that_was_taken_back_does_not_run(void **state)
{
    (void)state;
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    struct counter c[3] = {0};
    t.server = http_server_create(&o, NULL);
    for (int i = 0; i < 3; i++) {
        c[i].task = (struct http_task){.run = count, .argument = &c[i]};
        http_server_post(t.server, &c[i].task);
        http_server_post(t.server, &c[i].task); /* waits already */
    }
    http_server_unpost(t.server, &c[2].task);
    http_server_unpost(t.server, &c[0].task);
    http_server_post(t.server, &c[2].task);
    http_server_unpost(t.server, &c[0].task); /* does not wait */
    assert_int_equal(pthread_create(&t.thread, NULL, serve, &t), 0);
    WAIT_FOR(c[2].n == 1 && c[1].n == 1);
    stop(&t);
    assert_int_equal(c[0].n, 0);
    assert_int_equal(c[1].n + c[2].n, 2);
}

/* --- clients that leave */

enum leaving { CLOSES, HALF_CLOSES, RESETS };

static void leave(int fd, enum leaving how)
{
    if (how == HALF_CLOSES) {
        shutdown(fd, SHUT_WR);
        return;
    }
    if (how == RESETS) {
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    }
    close(fd);
}

static void a_client_that_leaves_is_noticed_at_every_stage(void **state)
{
    (void)state;
    static const char *const paths[] = {"/keep", "/stream", "/flood"};
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    start(&t, &o);
    int n = 0;
    for (size_t path = 0; path < 3; path++) {
        for (int how = CLOSES; how <= RESETS; how++) {
            char request[100];
            int fd = dial(&t);
            snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", paths[path]);
            send_text(fd, request);
            WAIT_FOR(t.keeps);
            leave(fd, (enum leaving)how);
            n++;
            WAIT_FOR(t.n_closed == n && !t.keeps);
            if (how == HALF_CLOSES) {
                close(fd);
            }
        }
    }
    stop(&t);
    assert_int_equal(t.n_closed, n);
}

static void the_end_of_every_exchange_is_told_once(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int status;
        uint64_t bytes; /* 0: some */
    } cases[] = {
        {"POST /echo HTTP/1.1\r\n" CLOSE "Content-Length: 3\r\n\r\nabc", 200, 3},
        {"GET /events HTTP/1.1\r\n" CLOSE "\r\n", 200,
         sizeof ": keep-alive\n\ndata: {\"a\":\"b\"}\n\ndata: [DONE]\n\n" - 1},
        {"HEAD /echo HTTP/1.1\r\n" CLOSE "\r\n", 200, 0},
        {"OPTIONS /echo HTTP/1.1\r\n" CLOSE "Origin: a\r\n"
         "Access-Control-Request-Method: GET\r\n\r\n",
         204, 0},
        {"GET /nowhere HTTP/1.1\r\n" CLOSE "\r\n", 404, 0},
        {"nonsense\r\n\r\n", 400, 0},
        {"POST /echo HTTP/1.1\r\n" CLOSE "Content-Length: 99999999999\r\n\r\n", 413, 0},
    };
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    start(&t, &o);
    int n = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[4096];
        ask(&t, cases[i].request, text, sizeof text);
        n++;
        WAIT_FOR(t.n_ended == n);
        assert_int_equal(t.last_status, cases[i].status);
        assert_true(cases[i].bytes == 0 || t.last_bytes == cases[i].bytes);
        assert_null(t.last_attached);
    }
    static const char *const paths[] = {"/keep", "/stream"};
    for (size_t i = 0; i < 2; i++) {
        char request[100];
        int fd = dial(&t);
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", paths[i]);
        send_text(fd, request);
        WAIT_FOR(t.keeps);
        assert_int_equal(t.n_ended, n);
        leave(fd, RESETS);
        n++;
        WAIT_FOR(t.n_ended == n);
        assert_int_equal(t.last_status, 499);
        assert_ptr_equal(t.last_attached, &t);
    }
    stop(&t);
    assert_int_equal(t.n_ended, n);
}

/* The end of its input could not be seen behind so much. */
static void a_client_that_sends_much_ahead_counts_as_one_that_left(void **state)
{
    (void)state;
    static char much[1 << 20];
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    start(&t, &o);
    int fd = dial(&t);
    send_text(fd, "GET /keep HTTP/1.1\r\nHost: a\r\n\r\n");
    WAIT_FOR(t.keeps);
    assert_int_equal(send(fd, much, 10000, MSG_NOSIGNAL), 10000);
    usleep(50000);
    assert_true(t.keeps);
    assert_true(send(fd, much, sizeof much, MSG_NOSIGNAL | MSG_DONTWAIT) > 0);
    WAIT_FOR(t.n_closed == 1);
    assert_true(is_closed(fd));
    close(fd);
    stop(&t);
}

static void a_half_closed_client_is_answered_where_that_is_wanted(void **state)
{
    (void)state;
    char text[4096];
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    o.half_close = true;
    t.task = (struct http_task){.run = answer_kept, .argument = &t};
    start(&t, &o);
    int fd = dial(&t);
    send_text(fd, "GET /keep HTTP/1.1\r\nHost: a\r\n\r\n");
    shutdown(fd, SHUT_WR);
    WAIT_FOR(t.keeps);
    http_server_post(t.server, &t.task);
    receive(fd, text, sizeof text, NULL, 0);
    assert_memory_equal(text, "HTTP/1.1 200", 12);
    close(fd);
    stop(&t);
    assert_int_equal(t.n_closed, 0);
}

static void what_is_answered_at_once_reaches_a_half_closed_client(void **state)
{
    (void)state;
    char text[4096];
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    start(&t, &o);
    int fd = dial(&t);
    send_text(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\noneGET /events "
                  "HTTP/1.1\r\nHost: a\r\n\r\n");
    shutdown(fd, SHUT_WR);
    receive(fd, text, sizeof text, NULL, 0);
    assert_non_null(strstr(text, "\r\n\r\none"));
    assert_string_equal(text + strlen(text) - 5, "0\r\n\r\n");
    close(fd);
    stop(&t);
}

/* --- limits */

static void what_passes_a_limit_is_refused_with_its_status(void **state)
{
    (void)state;
    char text[8192], request[4096];
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    o.limits.body_bytes = 10;
    o.limits.head_bytes = 1000;
    o.limits.target_bytes = 100;
    start(&t, &o);
    const char *const too_large[] = {
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999999999\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\n",
    };
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(ask(&t, too_large[i], text, sizeof text), 413);
        assert_non_null(
            strstr(text, "{\"error\":{\"message\":\"the body is too large: 10 bytes at most\","
                         "\"type\":"
                         "\"invalid_request_error\",\"param\":null,\"code\":null}}"));
    }
    snprintf(request, sizeof request, "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n", 100, 0);
    assert_int_equal(ask(&t, request, text, sizeof text), 414);
    assert_non_null(strstr(text, "the request target is too long: 100 bytes at most"));
    snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: a\r\nX: %0*d\r\n\r\n", 1000, 0);
    assert_int_equal(ask(&t, request, text, sizeof text), 431);
    assert_non_null(strstr(text, "too large: 1000 bytes of request line and fields at most"));
    stop(&t);
    assert_int_equal(t.n_handled, 0);
}

static void all_bodies_together_are_bounded(void **state)
{
    (void)state;
    char text[4096];
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    o.limits.all_bodies_bytes = 3000;
    start(&t, &o);
    char body[2001];
    memset(body, 'x', sizeof body - 1);
    body[sizeof body - 1] = '\0';
    int first = dial(&t);
    send_text(first, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2001\r\n\r\n");
    send_text(first, body);
    WAIT_FOR(t.n_heads == 1);
    usleep(50000); /* the body is read too */
    char request[2200];
    snprintf(request, sizeof request,
             "POST /echo HTTP/1.1\r\n" CLOSE "Content-Length: 2000\r\n\r\n%s", body);
    assert_int_equal(ask(&t, request, text, sizeof text), 503);
    send_text(first, "y");
    receive(first, text, sizeof text, "xy", 1);
    assert_memory_equal(text, "HTTP/1.1 200", 12);
    close(first);
    assert_int_equal(ask(&t, request, text, sizeof text), 200);
    stop(&t);
}

static void connections_are_counted(void **state)
{
    (void)state;
    char text[4096];
    for (int each = 0; each < 2; each++) {
        struct toy t = {0};
        struct http_options o = toy_options(&t);
        *(each ? &o.limits.per_address : &o.limits.connections) = 2;
        start(&t, &o);
        int first = dial(&t), second = dial(&t);
        send_text(second, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
        receive(second, text, sizeof text, "\r\n\r\n", 1);
        assert_int_equal(ask(&t, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", text, sizeof text), 503);
        assert_non_null(strstr(text, each ? "too many connections from one address: 2 at once"
                                          : "too many connections: 2 at once at most"));
        assert_non_null(strstr(text, "Retry-After: 1\r\n"));
        close(first);
        bool again = false; /* the server sees the end of the first a little later */
        for (int i = 0; i < 100 && !again; i++) {
            again = ask(&t, "GET /echo HTTP/1.1\r\n" CLOSE "\r\n", text, sizeof text) == 200;
        }
        assert_true(again);
        close(second);
        stop(&t);
    }
}

static void what_does_not_come_in_time_is_refused(void **state)
{
    (void)state;
    char text[4096];
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    o.limits.head_ms = o.limits.body_ms = o.limits.idle_ms = 100;
    start(&t, &o);
    assert_int_equal(ask(&t, "GET / HT", text, sizeof text), 408);
    assert_non_null(strstr(text, "head did not come in time: 100 milliseconds at most"));
    assert_int_equal(
        ask(&t, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx", text, sizeof text),
        408);
    assert_int_equal(ask(&t, "", text, sizeof text), 0);
    assert_string_equal(text, "");
    int fd = dial(&t);
    send_text(fd, "GET /keep HTTP/1.1\r\nHost: a\r\n\r\n");
    WAIT_FOR(t.keeps);
    usleep(300000); /* none of these times is that of an answer */
    assert_true(t.keeps);
    close(fd);
    stop(&t);
}

/* --- the end */

static void drain_now(void *argument)
{
    struct toy *t = argument;
    http_server_drain(t->server, 1);
}

static void draining_lets_answers_end_and_nothing_begin(void **state)
{
    (void)state;
    char text[4096];
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    t.task = (struct http_task){.run = answer_kept, .argument = &t};
    struct http_task drain_task = {.run = drain, .argument = &t};
    start(&t, &o);
    int idle = dial(&t), busy = dial(&t);
    send_text(busy, "GET /keep HTTP/1.1\r\nHost: a\r\n\r\n");
    WAIT_FOR(t.keeps);
    http_server_post(t.server, &drain_task);
    assert_true(is_closed(idle));
    assert_int_equal(t.n_waited_for, 1);
    http_server_post(t.server, &t.task);
    receive(busy, text, sizeof text, NULL, 0);
    assert_non_null(strstr(text, "Connection: close\r\n"));
    assert_non_null(strstr(text, "later"));
    close(busy);
    close(idle);
    pthread_join(t.thread, NULL);
    assert_true(t.ran);
    http_server_destroy(t.server);
    assert_int_equal(t.n_closed, 0);
}

static void what_outlasts_a_drain_is_closed(void **state)
{
    (void)state;
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    struct http_task drain_task = {.run = drain_now, .argument = &t};
    start(&t, &o);
    int fd = dial(&t);
    send_text(fd, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    WAIT_FOR(t.keeps);
    http_server_post(t.server, &drain_task);
    pthread_join(t.thread, NULL);
    http_server_destroy(t.server);
    assert_int_equal(t.n_closed, 1);
    close(fd);
}

struct timed {
    struct http_timer *timer;
    struct toy *toy;
    _Atomic int n;
};

static void on_time(void *argument)
{
    struct timed *t = argument;
    if (++t->n < 3) {
        http_timer_start(t->timer, 1);
    }
}

static void start_timers(void *argument)
{
    struct timed *t = argument;
    http_timer_start(t->timer, 1);
}

static void a_timer_runs_each_time_it_is_started(void **state)
{
    (void)state;
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    struct timed timed = {.toy = &t};
    struct http_task task = {.run = start_timers, .argument = &timed};
    t.server = http_server_create(&o, NULL);
    timed.timer = http_timer_create(t.server, on_time, &timed, NULL);
    assert_int_equal(pthread_create(&t.thread, NULL, serve, &t), 0);
    http_server_post(t.server, &task);
    WAIT_FOR(timed.n == 3);
    http_server_stop(t.server);
    pthread_join(t.thread, NULL);
    http_timer_destroy(timed.timer);
    http_server_destroy(t.server);
    assert_int_equal(timed.n, 3);
}

static void a_server_that_cannot_be_says_why(void **state)
{
    (void)state;
    struct toy t = {0};
    struct error e = {0};
    struct http_options o = toy_options(&t);
    start(&t, &o);
    struct http_options same = o;
    same.port = http_server_port(t.server);
    assert_null(http_server_create(&same, &e));
    assert_int_equal(e.code, ERROR_IO);
    assert_non_null(strstr(e.text, "cannot listen on 127.0.0.1, port "));
    assert_non_null(strstr(e.text, "Address already in use"));
    stop(&t);
    static const char *const far[] = {"0.0.0.0"}, *const none[] = {"no.such.host.invalid"};
    o.hosts = far;
    assert_null(http_server_create(&o, &e));
    assert_int_equal(e.code, ERROR_USAGE);
    o.hosts = none;
    assert_null(http_server_create(&o, &e));
    assert_int_equal(e.code, ERROR_IO);
    assert_non_null(strstr(e.text, "no.such.host.invalid"));
}

/* --- memory */

static void creating_fails_cleanly_at_every_allocation(void **state)
{
    (void)state;
    struct toy t = {0};
    char local[64];
    snprintf(local, sizeof local, "unix:/tmp/puna-http-%d.sock", (int)getpid());
    const char *const hosts[] = {"127.0.0.1", local};
    struct http_options o = toy_options(&t);
    o.hosts = hosts;
    o.n_hosts = 2;
    struct http_server *s = NULL;
    size_t n = 0, n_needed = 0, n_failed = 0;
    do { /* some of libevent's has a reserve */
        struct error e = {0};
        http_server_destroy(s);
        mem_fail_nth(++n);
        s = http_server_create(&o, &e);
        n_needed = mem_count();
        mem_fail_nth(0);
        assert_true(s != NULL || e.code == ERROR_MEMORY || e.code == ERROR_IO);
        assert_int_equal(access(local + 5, F_OK) == 0, s != NULL);
        n_failed += s == NULL;
    } while (n <= n_needed);
    assert_true(n_failed > 2);
    http_server_destroy(s);
    assert_int_not_equal(access(local + 5, F_OK), 0);
}

/* A request may be lost then, with its connection; the server goes on. */
static void a_request_fails_cleanly_at_every_allocation(void **state)
{
    (void)state;
    static const char request[] =
        "POST /echo HTTP/1.1\r\n" CLOSE "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    char text[4096];
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    start(&t, &o);
    int n_lost = 0;
    for (size_t n = 1;; n++) {
        mem_fail_nth(n);
        int status = ask(&t, request, text, sizeof text);
        assert_true(status == 0 || status == 200 || status == 503);
        n_lost += status != 200;
        if (mem_count() < n) { /* the answer needed fewer */
            break;
        }
    }
    mem_fail_nth(0);
    assert_true(n_lost >= 3);
    assert_int_equal(ask(&t, request, text, sizeof text), 200);
    stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_may_come_in_any_pieces),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(a_client_is_told_to_go_on_only_when_its_body_is_wanted),
        cmocka_unit_test(an_event_is_exactly_its_bytes),
        cmocka_unit_test(fields_cannot_be_smuggled_into_an_answer),
        cmocka_unit_test(only_listed_origins_may_call_where_there_is_a_list),
        cmocka_unit_test(another_thread_answers),
        cmocka_unit_test(every_task_runs_once_for_each_time_it_was_posted),
        cmocka_unit_test(a_task_that_was_taken_back_does_not_run),
        cmocka_unit_test(a_client_that_leaves_is_noticed_at_every_stage),
        cmocka_unit_test(the_end_of_every_exchange_is_told_once),
        cmocka_unit_test(a_client_that_sends_much_ahead_counts_as_one_that_left),
        cmocka_unit_test(a_half_closed_client_is_answered_where_that_is_wanted),
        cmocka_unit_test(what_is_answered_at_once_reaches_a_half_closed_client),
        cmocka_unit_test(what_passes_a_limit_is_refused_with_its_status),
        cmocka_unit_test(all_bodies_together_are_bounded),
        cmocka_unit_test(connections_are_counted),
        cmocka_unit_test(what_does_not_come_in_time_is_refused),
        cmocka_unit_test(draining_lets_answers_end_and_nothing_begin),
        cmocka_unit_test(what_outlasts_a_drain_is_closed),
        cmocka_unit_test(a_timer_runs_each_time_it_is_started),
        cmocka_unit_test(a_server_that_cannot_be_says_why),
        cmocka_unit_test(creating_fails_cleanly_at_every_allocation),
        cmocka_unit_test(a_request_fails_cleanly_at_every_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
