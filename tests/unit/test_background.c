/* test_background.c - work beside the I/O thread: its order, and clients and servers that do not
 * wait for its end. */
#include "base/mem.h"
#include "http_toy.h"
#include "serve/background.h"

enum { MOST = 5, MOST_OF_ONE = 3, ALL = 100, PATH = 16 };

/* A job for each request but /echo, whose owner is the first letter of the path; the client is told
 * the path. */
struct world {
    struct toy toy; /* first: it is the server's context */
    struct background *background;
    _Atomic int n_open; /* jobs that may end; others may where they are cancelled and `is_quick` */
    bool is_quick;
    _Atomic int n_asked, n_begun, n_done, n_cancelled, n_destroyed;
    char told[PATH * PATH]; /* by `done`, in its order: "/a " answered, "(/b) " nobody waited */
};

struct toy_job {
    struct background_job job;
    struct world *world;
    char path[PATH];
    pthread_t began_by;
    bool is_beside; /* it was worked on by another thread */
};

static void work(void *argument)
{
    struct toy_job *j = argument;
    struct world *w = j->world;
    bool told = false;
    int number = ++w->n_begun;
    j->is_beside = !pthread_equal(pthread_self(), j->began_by);
    while (w->n_open < number && !(w->is_quick && j->job.is_cancelled)) {
        w->n_cancelled += j->job.is_cancelled && !told;
        told = told || j->job.is_cancelled;
        usleep(TICK_US);
    }
}

static void done(void *argument, struct http_exchange *x)
{
    struct toy_job *j = argument;
    struct world *w = j->world;
    size_t n = strlen(w->told);
    snprintf(w->told + n, sizeof w->told - n, x != NULL ? "%s " : "(%s) ", j->path);
    if (x != NULL) {
        http_reply(x, j->is_beside ? 200 : 500, "text/plain", str_from(j->path));
    }
    mem_free(j);
    w->n_done++;
}

static void begin(void *context, struct http_exchange *x)
{
    struct world *w = context;
    struct api_error error = {0};
    if (str_eq(http_path(x), STR("/echo"))) {
        on_request(&w->toy, x);
        return;
    }
    struct toy_job *j = mem_alloc(1, sizeof *j, "job", NULL);
    assert_non_null(j);
    *j = (struct toy_job){
        .job = {.work = work, .done = done, .argument = j}, .world = w, .began_by = pthread_self()};
    snprintf(j->path, sizeof j->path, "%.*s", STR_ARG(http_path(x)));
    j->job.whose = (uint64_t)j->path[1];
    if (!background_begin(w->background, &j->job, x, &error)) {
        mem_free(j);
        http_reply_error(x, &error);
    }
    w->n_asked++;
}

static void start_world(struct world *w)
{
    struct http_options o = toy_options(&w->toy);
    o.on_head = NULL;
    o.on_request = begin;
    start(&w->toy, &o);
    w->background = background_create(
        w->toy.server, &(struct background_limits){"jobs are at work", MOST, MOST_OF_ONE}, NULL);
    assert_non_null(w->background);
}

static void destroy(void *argument)
{
    struct world *w = argument;
    background_destroy(w->background);
    w->n_destroyed++;
}

static void stop_world(struct world *w)
{
    struct http_task task = {.run = destroy, .argument = w};
    http_server_post(w->toy.server, &task);
    WAIT_FOR(w->n_destroyed == 1);
    stop(&w->toy);
}

/* Returns the socket; requests come in the order of these calls. */
static int ask_for(struct world *w, const char *path)
{
    char request[100];
    int fd = dial(&w->toy), n = w->n_asked;
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" CLOSE "\r\n", path);
    send_text(fd, request);
    WAIT_FOR(w->n_asked == n + 1);
    return fd;
}

static void assert_answer(int fd, const char *status, const char *end)
{
    char text[4096];
    size_t n = receive(fd, text, sizeof text, NULL, 0);
    close(fd);
    assert_true(n >= strlen(end));
    assert_memory_equal(text, status, strlen(status));
    assert_non_null(strstr(text, end));
}

static void jobs_are_done_in_their_order_while_others_are_answered(void **state)
{
    (void)state;
    struct world w = {0};
    start_world(&w);
    int a = ask_for(&w, "/a"), b = ask_for(&w, "/b"), c = ask_for(&w, "/c");
    char text[4096];
    WAIT_FOR(w.n_begun == 1);
    assert_int_equal(ask(&w.toy, "GET /echo HTTP/1.1\r\n" CLOSE "\r\n", text, sizeof text), 200);
    assert_int_equal(w.n_done, 0);
    w.n_open = ALL;
    assert_answer(a, "HTTP/1.1 200 ", "\r\n\r\n/a");
    assert_answer(b, "HTTP/1.1 200 ", "\r\n\r\n/b");
    assert_answer(c, "HTTP/1.1 200 ", "\r\n\r\n/c");
    assert_answer(ask_for(&w, "/d"), "HTTP/1.1 200 ", "\r\n\r\n/d"); /* the queue was empty */
    stop_world(&w);
    assert_string_equal(w.told, "/a /b /c /d ");
}

static void nothing_is_done_for_a_client_that_left_before(void **state)
{
    (void)state;
    struct world w = {0};
    start_world(&w);
    int a = ask_for(&w, "/a"), b = ask_for(&w, "/b"), c = ask_for(&w, "/c");
    WAIT_FOR(w.n_begun == 1);
    close(c); /* the last of the queue, behind which the next one goes */
    WAIT_FOR(w.n_done == 1);
    int d = ask_for(&w, "/d");
    close(b);
    WAIT_FOR(w.n_done == 2);
    close(a); /* that is being worked on */
    WAIT_FOR(w.n_cancelled == 1);
    assert_int_equal(w.n_done, 2);
    w.n_open = ALL;
    assert_answer(d, "HTTP/1.1 200 ", "\r\n\r\n/d");
    stop_world(&w);
    assert_int_equal(w.n_begun, 2);
    assert_string_equal(w.told, "(/c) (/b) (/a) /d ");
}

/* Asks for all of them, the first of which is being worked on when the next comes. */
static void ask_for_all(struct world *w, const char *const paths[MOST], int fds[MOST])
{
    for (int i = 0; i < MOST; i++) {
        fds[i] = ask_for(w, paths[i]);
        WAIT_FOR(w->n_begun == 1);
    }
}

static void assert_all_answered(const char *const paths[MOST], const int fds[MOST])
{
    for (int i = 0; i < MOST; i++) {
        assert_answer(fds[i], "HTTP/1.1 200 ", paths[i]);
    }
}

static void owners_take_turns(void **state)
{
    (void)state;
    static const char *const paths[MOST] = {"/a", "/a2", "/a3", "/b", "/b2"};
    struct world w = {0};
    int fds[MOST];
    start_world(&w);
    ask_for_all(&w, paths, fds);
    w.n_open = ALL;
    assert_all_answered(paths, fds);
    assert_answer(ask_for(&w, "/a4"), "HTTP/1.1 200 ", "/a4"); /* nothing is held against it */
    stop_world(&w);
    assert_string_equal(w.told, "/a /a2 /b /a3 /b2 /a4 ");
}

static void who_comes_back_passes_nobody_who_waits(void **state)
{
    (void)state;
    static const char *const paths[MOST] = {"/a", "/a2", "/a3", "/b", "/c"};
    struct world w = {0};
    int fds[MOST];
    start_world(&w);
    ask_for_all(&w, paths, fds);
    w.n_open = 3; /* a, a2, b */
    WAIT_FOR(w.n_done == 3 && w.n_begun == 4);
    int b = ask_for(&w, "/b2"), later = ask_for(&w, "/d");
    w.n_open = ALL;
    assert_all_answered(paths, fds);
    assert_answer(b, "HTTP/1.1 200 ", "/b2");
    assert_answer(later, "HTTP/1.1 200 ", "/d");
    stop_world(&w);
    assert_string_equal(w.told, "/a /a2 /b /c /a3 /b2 /d ");
}

static void who_comes_later_has_no_turns_to_make_up(void **state)
{
    (void)state;
    static const char *const paths[] = {"/b", "/b2"};
    struct world w = {0};
    start_world(&w);
    int a = ask_for(&w, "/a"), a2 = ask_for(&w, "/a2"), a3 = ask_for(&w, "/a3"), fds[2];
    w.n_open = 1;
    WAIT_FOR(w.n_begun == 2);
    for (int i = 0; i < 2; i++) {
        fds[i] = ask_for(&w, paths[i]);
    }
    w.n_open = ALL;
    assert_answer(a, "HTTP/1.1 200 ", "/a");
    assert_answer(a2, "HTTP/1.1 200 ", "/a2");
    assert_answer(a3, "HTTP/1.1 200 ", "/a3");
    for (int i = 0; i < 2; i++) {
        assert_answer(fds[i], "HTTP/1.1 200 ", paths[i]);
    }
    stop_world(&w);
    assert_string_equal(w.told, "/a /a2 /a3 /b /b2 ");
}

static void more_than_may_are_refused(void **state)
{
    (void)state;
    static const char *const paths[MOST] = {"/a", "/a", "/a", "/b", "/c"};
    struct world w = {0};
    int fds[MOST];
    start_world(&w);
    for (int i = 0; i < MOST; i++) {
        if (i == MOST_OF_ONE) {
            assert_answer(ask_for(&w, "/a"), "HTTP/1.1 429 ",
                          "3 jobs are at work for the same key or address, the most that may");
        }
        fds[i] = ask_for(&w, paths[i]);
        WAIT_FOR(w.n_begun == 1);
    }
    assert_answer(ask_for(&w, "/d"), "HTTP/1.1 429 ", "5 jobs are at work, the most that may at");
    close(fds[1]);
    WAIT_FOR(w.n_done == 1);
    int fd = ask_for(&w, "/d");
    w.n_open = ALL;
    assert_answer(fd, "HTTP/1.1 200 ", "\r\n\r\n/d");
    for (int i = 0; i < MOST; i++) {
        if (i != 1) {
            assert_answer(fds[i], "HTTP/1.1 200 ", paths[i]);
        }
    }
    stop_world(&w);
    assert_string_equal(w.told, "(/a) /a /b /c /d /a ");
}

static void end_all(void *argument)
{
    struct world *w = argument;
    background_end(w->background);
}

static void at_the_end_all_are_told(void **state)
{
    (void)state;
    struct world w = {0};
    struct http_task drain_task = {.run = drain, .argument = &w.toy};
    struct http_task task = {.run = end_all, .argument = &w};
    start_world(&w);
    int a = ask_for(&w, "/a"), b = ask_for(&w, "/b"), c = ask_for(&w, "/c");
    WAIT_FOR(w.n_begun == 1);
    http_server_post(w.toy.server, &drain_task);
    WAIT_FOR(w.toy.n_tasks == 1);
    assert_int_equal(w.toy.n_waited_for, 3);
    http_server_post(w.toy.server, &task);
    assert_answer(a, "HTTP/1.1 503 ", "the server is shutting down");
    assert_answer(b, "HTTP/1.1 503 ", "the server is shutting down");
    assert_answer(c, "HTTP/1.1 503 ", "the server is shutting down");
    assert_string_equal(w.told, "(/b) (/c) ");
    pthread_join(w.toy.thread, NULL); /* the drain has nobody left to wait for */
    assert_true(w.toy.ran);
    w.n_open = ALL;
    background_destroy(w.background);
    http_server_destroy(w.toy.server);
    assert_int_equal(w.n_begun, 1);
    assert_string_equal(w.told, "(/b) (/c) (/a) ");
    background_end(NULL);
    background_destroy(NULL);
}

static void a_server_that_stops_waits_for_no_more_than_one_job(void **state)
{
    (void)state;
    struct world w = {.is_quick = true};
    start_world(&w);
    int a = ask_for(&w, "/a"), b = ask_for(&w, "/b");
    WAIT_FOR(w.n_begun == 1);
    stop_world(&w);
    assert_int_equal(w.n_begun, 1);
    assert_string_equal(w.told, "(/a) (/b) ");
    assert_true(is_closed(a) && is_closed(b));
    close(a);
    close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_are_done_in_their_order_while_others_are_answered),
        cmocka_unit_test(nothing_is_done_for_a_client_that_left_before),
        cmocka_unit_test(owners_take_turns),
        cmocka_unit_test(who_comes_back_passes_nobody_who_waits),
        cmocka_unit_test(who_comes_later_has_no_turns_to_make_up),
        cmocka_unit_test(more_than_may_are_refused),
        cmocka_unit_test(at_the_end_all_are_told),
        cmocka_unit_test(a_server_that_stops_waits_for_no_more_than_one_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
