/* http_server.c - listening, accepting, and work from other threads. */
#include "base/mem.h"
#include "serve/http_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { URL_BYTES = 320, BACKLOG = 1024, PAUSE_US = 100000 };

void http_options_init(struct http_options *o)
{
    *o = (struct http_options){
        .host = "127.0.0.1",
        .port = 8080,
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

/* --- accepting */

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int n, void *argument)
{
    (void)listener;
    http_connection_create(argument, fd, address, (socklen_t)n);
}

static int open_reserve(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void pause_listening(struct http_server *s)
{
    static const struct timeval pause = {0, PAUSE_US};
    for (size_t i = 0; i < s->n_listeners; i++) {
        evconnlistener_disable(s->listeners[i]);
    }
    event_add(s->pause_event, &pause);
}

/* Nothing is accepted before there is a reserve again, or it would be missing next time. */
static void on_pause_end(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct http_server *s = argument;
    s->reserve_fd = s->reserve_fd < 0 ? open_reserve() : s->reserve_fd;
    if (s->reserve_fd < 0) {
        pause_listening(s);
        return;
    }
    for (size_t i = 0; i < s->n_listeners; i++) {
        evconnlistener_enable(s->listeners[i]);
    }
}

/* Without a free descriptor the connection would stay in the queue, and the loop would spin about
 * it. The reserved one is spent to accept and close it. Whoever else opens a file in that moment
 * may get it; then the connection has to wait, as it has when memory is what is missing. */
static void on_accept_error(struct evconnlistener *listener, void *argument)
{
    struct http_server *s = argument;
    int reason = errno, fd = -1;
    if ((reason == EMFILE || reason == ENFILE) && s->reserve_fd >= 0) {
        close(s->reserve_fd);
        fd = accept4(evconnlistener_get_fd(listener), NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            close(fd);
        }
        s->reserve_fd = open_reserve();
    }
    if (fd < 0 || s->reserve_fd < 0) {
        pause_listening(s);
    }
}

/* --- listening */

static bool is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET6) {
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
    }
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)a;
    return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
}

static in_port_t *port_of(struct sockaddr *a)
{
    return a->sa_family == AF_INET6 ? &((struct sockaddr_in6 *)(void *)a)->sin6_port
                                    : &((struct sockaddr_in *)(void *)a)->sin_port;
}

/* A listening socket, or -1 with errno set. */
static int open_listener(const struct addrinfo *a)
{
    int on = 1;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    bool ok = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
              (a->ai_family != AF_INET6 ||
               setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
              bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0;
    if (!ok) {
        int reason = errno;
        close(fd);
        errno = reason;
        return -1;
    }
    return fd;
}

/* All addresses of a name get the port that the first one got. */
static bool listen_on(struct http_server *s, struct addrinfo *a, struct error *e)
{
    const char *host = s->options.host;
    if (s->options.only_loopback && !is_loopback(a->ai_addr)) {
        return error_set(e, ERROR_USAGE, "host '%s' can be reached from other machines", host);
    }
    *port_of(a->ai_addr) = htons(s->port);
    int fd = open_listener(a);
    if (fd < 0) {
        return error_set(e, ERROR_IO, "cannot listen on %s, port %u: %s", host, s->port,
                         strerror(errno));
    }
    struct sockaddr_storage bound;
    socklen_t n = sizeof bound;
    getsockname(fd, (struct sockaddr *)&bound, &n);
    s->port = ntohs(*port_of((struct sockaddr *)&bound));
    struct evconnlistener *listener =
        evconnlistener_new(s->base, on_accept, s,
                           LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_DISABLED, 0, fd);
    if (listener == NULL) {
        close(fd);
        return error_set(e, ERROR_MEMORY, "no memory for a listener");
    }
    evconnlistener_set_error_cb(listener, on_accept_error);
    s->listeners[s->n_listeners++] = listener;
    return true;
}

static bool listen_on_all(struct http_server *s, struct error *e)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int code = getaddrinfo(s->options.host, NULL, &hints, &found);
    if (code != 0) {
        return error_set(e, ERROR_IO, "host '%s': %s", s->options.host,
                         code == EAI_SYSTEM ? strerror(errno) : gai_strerror(code));
    }
    bool ok = true;
    for (struct addrinfo *a = found; ok && a != NULL && s->n_listeners < HTTP_MAX_LISTENERS;
         a = a->ai_next) {
        ok = listen_on(s, a, e);
    }
    freeaddrinfo(found);
    return ok;
}

static void make_url(struct http_server *s)
{
    bool is_v6 = strchr(s->options.host, ':') != NULL;
    snprintf(s->url, URL_BYTES, "%s://%s%s%s:%u", s->tls != NULL ? "https" : "http",
             is_v6 ? "[" : "", s->options.host, is_v6 ? "]" : "", s->port);
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
    event_add(signal->event, NULL);
    return true;
}

/* --- draining */

static void on_drain_end(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct http_server *s = argument;
    event_base_loopbreak(s->base);
}

static void stop_listening(struct http_server *s)
{
    for (size_t i = 0; i < s->n_listeners; i++) {
        evconnlistener_free(s->listeners[i]);
    }
    s->n_listeners = 0;
}

uint32_t http_server_drain(struct http_server *s, uint32_t timeout_ms)
{
    struct timeval after = {timeout_ms / 1000, (suseconds_t)(timeout_ms % 1000) * 1000};
    event_add(s->drain_event, &after);
    s->draining = true;
    stop_listening(s);
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
    s->pause_event = event_new(s->base, -1, 0, on_pause_end, s);
    if (s->wake_event == NULL || s->drain_event == NULL || s->pause_event == NULL ||
        event_add(s->wake_event, NULL) != 0) {
        return error_set(e, ERROR_MEMORY, "no memory for an event loop");
    }
    return true;
}

struct http_server *http_server_create(const struct http_options *o, struct error *e)
{
    struct http_server *s = mem_alloc(1, sizeof *s, "server", e);
    if (s == NULL) {
        return NULL;
    }
    pthread_mutex_init(&s->tasks_lock, NULL);
    s->options = *o;
    s->port = o->port;
    s->last_task = &s->first_task;
    s->wake_fd = -1;
    s->reserve_fd = open_reserve();
    s->url = mem_alloc(URL_BYTES, 1, "address", e);
    if (s->url == NULL || (o->tls_cert != NULL && !http_server_reload_tls(s, e)) ||
        !create_events(s, e) || !listen_on_all(s, e)) {
        http_server_destroy(s);
        return NULL;
    }
    make_url(s);
    return s;
}

void http_server_destroy(struct http_server *s)
{
    if (s == NULL) {
        return;
    }
    s->draining = false; /* nothing is to be woken */
    stop_listening(s);
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
    if (s->pause_event != NULL) {
        event_free(s->pause_event);
    }
    if (s->base != NULL) {
        /* Callbacks that were deferred hold their bufferevents, which nothing else would free. */
        event_base_loop(s->base, EVLOOP_NONBLOCK);
        event_base_free(s->base);
    }
    if (s->wake_fd >= 0) {
        close(s->wake_fd);
    }
    if (s->reserve_fd >= 0) {
        close(s->reserve_fd);
    }
    pthread_mutex_destroy(&s->tasks_lock);
    SSL_CTX_free(s->tls);
    mem_free(s->url);
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

uint16_t http_server_port(const struct http_server *s)
{
    return s->port;
}

const char *http_server_url(const struct http_server *s)
{
    return s->url;
}

bool http_server_run(struct http_server *s, struct error *e)
{
    sigset_t pipe_alone;
    sigemptyset(&pipe_alone);
    sigaddset(&pipe_alone, SIGPIPE); /* writing to a connection that is gone is an error, no end */
    pthread_sigmask(SIG_BLOCK, &pipe_alone, NULL);
    for (size_t i = 0; i < s->n_listeners; i++) {
        evconnlistener_enable(s->listeners[i]);
    }
    return event_base_loop(s->base, EVLOOP_NO_EXIT_ON_EMPTY) >= 0 ||
           error_set(e, ERROR_IO, "the event loop failed: %s", strerror(errno));
}
