/* http_server.c - life of the server, and work from other threads. */
#include "base/mem.h"
#include "serve/http_internal.h"
#include "serve/http_library.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

void http_options_init(struct http_options *o)
{
    static const char *const hosts[] = {"127.0.0.1"};
    *o = (struct http_options){
        .hosts = hosts,
        .n_hosts = 1,
        .port = 8080,
        .unix_mode = 0600,
        .limits = {.head_bytes = 64 << 10,
                   .target_bytes = 8 << 10,
                   .body_bytes = 16 << 20,
                   .all_bodies_bytes = 256 << 20,
                   .output_bytes = 4 << 20,
                   .connections = 4096,
                   .per_address = 2048,
                   .head_ms = 10000,
                   .body_ms = 30000,
                   .idle_ms = 75000,
                   .stall_ms = 30000},
    };
}

/* --- tasks of other threads */

void http_server_post(struct http_server *s, struct http_task *t)
{
    pthread_mutex_lock(&s->tasks_lock);
    bool is_new = !t->waits;
    if (is_new) {
        t->waits = true;
        t->next = NULL;
        *s->last_task = t;
        s->last_task = &t->next;
    }
    pthread_mutex_unlock(&s->tasks_lock);
    if (is_new) {
        (void)eventfd_write(s->wake_fd, 1);
    }
}

void http_server_unpost(struct http_server *s, struct http_task *t)
{
    pthread_mutex_lock(&s->tasks_lock);
    for (struct http_task **at = &s->first_task; t->waits && *at != NULL; at = &(*at)->next) {
        if (*at == t) {
            *at = t->next;
            if (s->last_task == &t->next) {
                s->last_task = at;
            }
            t->waits = false;
            break;
        }
    }
    pthread_mutex_unlock(&s->tasks_lock);
}

static struct http_task *take_task(struct http_server *s)
{
    pthread_mutex_lock(&s->tasks_lock);
    struct http_task *t = s->first_task;
    if (t != NULL) {
        s->first_task = t->next;
        if (s->first_task == NULL) {
            s->last_task = &s->first_task;
        }
        t->waits = false;
    }
    pthread_mutex_unlock(&s->tasks_lock);
    return t;
}

/* A bounded number, so that tasks that post themselves again do not starve the sockets. */
static void on_wake(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    enum { MOST = 256 };
    struct http_server *s = argument;
    eventfd_t n;
    (void)eventfd_read(fd, &n);
    if (s->stopping) {
        event_base_loopbreak(s->base);
        return;
    }
    struct http_task *t = NULL;
    for (int i = 0; i < MOST && (t = take_task(s)) != NULL; i++) {
        t->run(t->argument);
    }
    if (t != NULL) {
        (void)eventfd_write(s->wake_fd, 1);
    }
}

void http_server_stop(struct http_server *s)
{
    int before = errno;
    s->stopping = true;
    (void)eventfd_write(s->wake_fd, 1);
    errno = before;
}

/* --- timers and signals */

struct http_timer {
    struct event *event;
    void (*run)(void *argument);
    void *argument;
};

static void on_timer(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct http_timer *t = argument;
    t->run(t->argument);
}

struct http_timer *http_timer_create(struct http_server *s, void (*run)(void *argument),
                                     void *argument, struct error *e)
{
    struct http_timer *t = mem_alloc(1, sizeof *t, "timer", e);
    if (t == NULL) {
        return NULL;
    }
    *t = (struct http_timer){event_new(s->base, -1, 0, on_timer, t), run, argument};
    if (t->event == NULL) {
        mem_free(t);
        error_set(e, ERROR_MEMORY, "no memory for a timer");
        return NULL;
    }
    return t;
}

void http_timer_destroy(struct http_timer *t)
{
    if (t != NULL) {
        event_free(t->event);
        mem_free(t);
    }
}

void http_timer_start(struct http_timer *t, uint32_t ms)
{
    struct timeval after = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
    event_add(t->event, &after);
}

static void on_signal(evutil_socket_t number, short what, void *argument)
{
    (void)number;
    (void)what;
    const struct http_signal *signal = argument;
    signal->run(signal->argument);
}

bool http_server_on_signal(struct http_server *s, int number, void (*run)(void *argument),
                           void *argument, struct error *e)
{
    if (s->n_signals == HTTP_MAX_SIGNALS) {
        return error_set(e, ERROR_INTERNAL, "more than %d signals", HTTP_MAX_SIGNALS);
    }
    struct http_signal *signal = &s->signals[s->n_signals];
    *signal = (struct http_signal){evsignal_new(s->base, number, on_signal, signal), run, argument};
    if (signal->event == NULL) {
        return error_set(e, ERROR_MEMORY, "no memory for a signal");
    }
    s->n_signals++;
    return event_add(signal->event, NULL) == 0 ||
           error_set(e, ERROR_MEMORY, "no memory for a signal");
}

/* --- draining */

static void on_drain_end(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct http_server *s = argument;
    event_base_loopbreak(s->base);
}

uint32_t http_server_drain(struct http_server *s, uint32_t timeout_ms)
{
    struct timeval after = {timeout_ms / 1000, (suseconds_t)(timeout_ms % 1000) * 1000};
    event_add(s->drain_event, &after);
    s->draining = true;
    http_listen_end(s);
    uint32_t n_waited_for = 0;
    for (struct http_connection *c = s->connections, *next; c != NULL; c = next) {
        next = c->next;
        if (http_connection_is_idle(c)) {
            http_connection_doom(c);
        } else {
            n_waited_for += c->state != HTTP_LINGERING && c->state != HTTP_DOOMED;
        }
    }
    if (s->n_connections == 0) {
        event_base_loopbreak(s->base);
    }
    return n_waited_for;
}

bool http_server_is_draining(const struct http_server *s)
{
    return s->draining;
}

/* --- life */

static bool create_events(struct http_server *s, struct error *e)
{
    s->base = event_base_new();
    s->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (s->base == NULL || s->wake_fd < 0) {
        return error_set(e, ERROR_IO, "no event loop: %s", strerror(errno));
    }
    s->wake_event = event_new(s->base, s->wake_fd, EV_READ | EV_PERSIST, on_wake, s);
    s->drain_event = event_new(s->base, -1, 0, on_drain_end, s);
    if (s->wake_event == NULL || s->drain_event == NULL || event_add(s->wake_event, NULL) != 0) {
        return error_set(e, ERROR_MEMORY, "no memory for an event loop");
    }
    return true;
}

/* So that event_add() never fails for a timer: what libevent keeps them in grows to its largest
 * here, and never shrinks. One that were lost would leave a connection, or the whole server, as it
 * is for ever. */
static bool reserve_timers(struct http_server *s, struct error *e)
{
    enum { OF_SERVER = 16, OF_CONNECTION = 2 };
    static const struct timeval never = {3600, 0};
    uint32_t n_connections = s->options.limits.connections + HTTP_REFUSING_CONNECTIONS;
    size_t n = OF_SERVER + (size_t)OF_CONNECTION * n_connections, n_added = 0;
    struct event *timers = mem_alloc(n, sizeof *timers, "timers", e);
    if (timers == NULL) {
        return false;
    }
    while (n_added < n && event_assign(&timers[n_added], s->base, -1, 0, on_drain_end, s) == 0 &&
           event_add(&timers[n_added], &never) == 0) {
        n_added++;
    }
    for (size_t i = 0; i < n_added; i++) {
        event_del(&timers[i]);
    }
    mem_free(timers);
    return n_added == n || error_set(e, ERROR_MEMORY, "no memory for %zu timers", n);
}

struct http_server *http_server_create(const struct http_options *o, struct error *e)
{
    http_library_install();
    struct http_server *s = mem_alloc(1, sizeof *s, "server", e);
    if (s == NULL) {
        return NULL;
    }
    pthread_mutex_init(&s->tasks_lock, NULL);
    s->options = *o;
    s->port = o->port;
    s->last_task = &s->first_task;
    s->wake_fd = -1;
    s->reserve_fd = -1;
    if ((o->tls_cert != NULL && !http_server_reload_tls(s, e)) || !create_events(s, e) ||
        !reserve_timers(s, e) || !http_listen_on_all(s, e)) {
        http_server_destroy(s);
        return NULL;
    }
    return s;
}

void http_server_destroy(struct http_server *s)
{
    if (s == NULL) {
        return;
    }
    s->draining = false; /* nothing is to be woken */
    http_listen_end(s);
    while (s->connections != NULL) {
        http_connection_destroy(s->connections);
    }
    for (size_t i = 0; i < s->n_signals; i++) {
        event_free(s->signals[i].event);
    }
    if (s->wake_event != NULL) {
        event_free(s->wake_event);
    }
    if (s->drain_event != NULL) {
        event_free(s->drain_event);
    }
    if (s->base != NULL) {
        /* Callbacks that were deferred hold their bufferevents, which nothing else would free. */
        event_base_loop(s->base, EVLOOP_NONBLOCK);
        event_base_free(s->base);
    }
    if (s->wake_fd >= 0) {
        close(s->wake_fd);
    }
    pthread_mutex_destroy(&s->tasks_lock);
    SSL_CTX_free(s->tls);
    mem_free(s);
}

bool http_server_reload_tls(struct http_server *s, struct error *e)
{
    const struct http_options *o = &s->options;
    SSL_CTX *tls = http_tls_load(o->tls_cert, o->tls_key, o->tls_note, e);
    if (tls == NULL) {
        return false;
    }
    SSL_CTX_free(s->tls);
    s->tls = tls;
    return true;
}

bool http_server_run(struct http_server *s, struct error *e)
{
    sigset_t pipe_alone;
    sigemptyset(&pipe_alone);
    sigaddset(&pipe_alone, SIGPIPE); /* writing to a connection that is gone is an error, no end */
    pthread_sigmask(SIG_BLOCK, &pipe_alone, NULL);
    http_listen_begin(s);
    return event_base_loop(s->base, EVLOOP_NO_EXIT_ON_EMPTY) >= 0 ||
           error_set(e, ERROR_IO, "the event loop failed: %s", strerror(errno));
}
