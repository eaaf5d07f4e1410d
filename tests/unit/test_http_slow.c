/* test_http_slow.c - clients that take their answers slowly, or not at all, and those for whom
 * there is no file. */
#include "http_toy.h"

#include <sys/resource.h>
#include <sys/syscall.h>

static void a_slow_reader_holds_its_stream_back_and_loses_nothing(void **state)
{
    (void)state;
    static char text[FLOOD_BYTES / 8];
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    start(&t, &o);
    int fd = dial(&t), small = 64 << 10;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    send_text(fd, "GET /flood HTTP/1.0\r\n\r\n");
    WAIT_FOR(t.keeps);
    size_t n = receive(fd, text, sizeof text, "\r\n\r\n", 1);
    n -= (size_t)(strstr(text, "\r\n\r\n") + 4 - text);
    int drained = t.n_drained;
    for (;;) {
        ssize_t got = recv(fd, text, sizeof text, 0);
        if (got <= 0) {
            break;
        }
        n += (size_t)got;
    }
    assert_true(n >= FLOOD_BYTES && n < FLOOD_BYTES + PIECE);
    close(fd);
    stop(&t);
    assert_true(t.n_drained > drained);
    assert_true(t.most_pending < 4 * HTTP_STREAM_LOW + 2 * PIECE);
    assert_int_equal(t.n_closed, 0);
}

static void a_client_that_takes_nothing_is_dropped(void **state)
{
    (void)state;
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    o.limits.stall_ms = 200;
    start(&t, &o);
    int fd = dial(&t);
    send_text(fd, "GET /flood HTTP/1.1\r\nHost: a\r\n\r\n");
    WAIT_FOR(t.n_closed == 1); /* stalled */
    close(fd);
    fd = dial(&t);
    send_text(fd, "GET /blind HTTP/1.1\r\nHost: a\r\n\r\n");
    WAIT_FOR(t.n_closed == 2); /* the owner wrote more than output_bytes */
    close(fd);
    char text[4096];
    assert_int_equal(ask(&t, "GET /echo HTTP/1.1\r\n" CLOSE "\r\n", text, sizeof text), 200);
    stop(&t);
    assert_int_equal(t.most_pending, SIZE_MAX); /* so that it could see that more is no use */
}

enum { LONG_ANSWER = 8 << 20 }; /* bytes: more than sockets hold */

/* Asks for it, and for what `behind` does; reads nothing. */
static int ask_long(const struct toy *t, const char *behind)
{
    static char body[LONG_ANSWER + 1];
    char head[100];
    int fd = dial(t);
    memset(body, 'x', LONG_ANSWER);
    snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
             LONG_ANSWER);
    send_text(fd, head);
    send_text(fd, body);
    send_text(fd, behind);
    WAIT_FOR(t->n_ended == 1);
    return fd;
}

static void a_slow_reader_loses_no_whole_answer_to_the_time_for_its_next_request(void **state)
{
    (void)state;
    static char text[LONG_ANSWER + 4096];
    static const char *const behind[] = {"", "GET /echo HTTP/1.1\r\n" CLOSE "\r\n"};
    for (size_t i = 0; i < 2; i++) {
        struct toy t = {0};
        struct http_options o = toy_options(&t);
        o.limits.head_ms = o.limits.idle_ms = 1000; /* and no less: machines are busy */
        start(&t, &o);
        int fd = ask_long(&t, behind[i]);
        usleep(1500000); /* the answer waits in the server for longer than these times */
        size_t n = receive(fd, text, sizeof text, NULL, 0);
        const char *body = strstr(text, "\r\n\r\n") + 4;
        size_t n_body = strspn(body, "x");
        assert_int_equal(n_body, LONG_ANSWER);
        assert_true(i == 0 ? body + n_body == text + n
                           : strncmp(body + n_body, "HTTP/1.1 200 OK\r\n", 17) == 0);
        close(fd);
        stop(&t);
        assert_int_equal(t.n_handled, i + 1);
    }
}

static void a_drain_closes_what_was_not_idle_when_its_answer_is_taken(void **state)
{
    (void)state;
    static char text[LONG_ANSWER + 4096];
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    struct http_task drain_task = {.run = drain, .argument = &t};
    start(&t, &o);
    int fd = ask_long(&t, ""), busy = dial(&t);
    send_text(busy, "GET /keep HTTP/1.1\r\nHost: a\r\n\r\n");
    WAIT_FOR(t.keeps);
    http_server_post(t.server, &drain_task);
    WAIT_FOR(t.n_tasks == 1);
    receive(fd, text, sizeof text, NULL, 0);
    assert_int_equal(strspn(strstr(text, "\r\n\r\n") + 4, "x"), LONG_ANSWER);
    assert_true(is_closed(fd));
    close(fd);
    close(busy);
    pthread_join(t.thread, NULL);
    assert_true(t.ran);
    http_server_destroy(t.server);
}

/* --- without files */

static _Atomic int n_accepts;

/* In the place of the library's. */
int accept4(int fd, struct sockaddr *address, socklen_t *n, int flags)
{
    n_accepts++;
    return (int)syscall(SYS_accept4, fd, address, n, flags);
}

static void allow_files(rlim_t n)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = n;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* A socket that was made before, as there are no files. */
static void connect_late(const struct toy *t, int fd)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(http_server_port(t->server)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
}

static void echo(int fd)
{
    char text[4096];
    send_text(fd, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    receive(fd, text, sizeof text, "\r\n\r\n", 1);
    assert_memory_equal(text, "HTTP/1.1 200 ", 13);
}

/* One has a connection. Then there is no file at all, not even one in the place of that which the
 * server holds back; another waits, and the loop does not spin about it. Then there are files; and
 * at last the one that is held back is all there is. */
static void a_lack_of_files_holds_up_nobody_who_has_one(void **state)
{
    (void)state;
    struct toy t = {0};
    struct http_options o = toy_options(&t);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    start(&t, &o);
    int late[3], first = dial(&t);
    for (int i = 0; i < 3; i++) {
        late[i] = socket(AF_INET, SOCK_STREAM, 0);
    }
    echo(first);
    for (int round = 0; round < 2; round++) {
        allow_files(3);
        int n = n_accepts;
        connect_late(&t, late[round]);
        for (int i = 0; i < 1000; i++) {
            echo(first);
        }
        assert_in_range(n_accepts - n, 1, 2); /* as found, and with the file held back: no more */
        allow_files(before.rlim_cur);
        echo(late[round]);
    }
    int lowest = dup(first); /* all below are open, and stay so */
    close(lowest);
    allow_files((rlim_t)lowest);
    connect_late(&t, late[2]);
    assert_true(is_closed(late[2]));
    echo(first);
    allow_files(before.rlim_cur);
    int last = dial(&t);
    echo(last);
    for (int i = 0; i < 3; i++) {
        close(late[i]);
    }
    close(first);
    close(last);
    stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_reader_holds_its_stream_back_and_loses_nothing),
        cmocka_unit_test(a_client_that_takes_nothing_is_dropped),
        cmocka_unit_test(a_slow_reader_loses_no_whole_answer_to_the_time_for_its_next_request),
        cmocka_unit_test(a_drain_closes_what_was_not_idle_when_its_answer_is_taken),
        cmocka_unit_test(a_lack_of_files_holds_up_nobody_who_has_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
