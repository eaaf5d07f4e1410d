/* http_listen.c - accepting, and the sockets that listen: of the network, of this machine alone. */
#include "base/mem.h"
#include "serve/http_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024, PAUSE_US = 100000, LOCK_PAUSE_US = 10000, LOCK_TRIES = 500 };

static const char local_prefix[] = "unix:";

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
        evconnlistener_disable(s->listeners[i].event);
    }
    event_add(s->pause_event, &pause);
}

/* The kernel may have no memory to watch them; it may soon. */
void http_listen_begin(struct http_server *s)
{
    for (size_t i = 0; i < s->n_listeners; i++) {
        if (evconnlistener_enable(s->listeners[i].event) != 0) {
            pause_listening(s);
            return;
        }
    }
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
    } else {
        http_listen_begin(s);
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

/* --- sockets of either kind */

static void add_url(struct http_server *s, const char *host)
{
    char *url = s->urls[s->n_urls++];
    if (strncmp(host, local_prefix, sizeof local_prefix - 1) == 0) {
        snprintf(url, HTTP_URL_BYTES, "%s", host);
        return;
    }
    bool is_v6 = strchr(host, ':') != NULL;
    snprintf(url, HTTP_URL_BYTES, "%s://%s%s%s:%u", s->tls != NULL ? "https" : "http",
             is_v6 ? "[" : "", host, is_v6 ? "]" : "", s->port);
}

static bool has_room(const struct http_server *s, const char *host, struct error *e)
{
    return s->n_listeners < HTTP_MAX_LISTENERS ||
           error_set(e, ERROR_IO, "host '%s': more than %d addresses to listen on", host,
                     HTTP_MAX_LISTENERS);
}

/* Takes over fd, which listens, in any case. There is room. */
static bool add_listener(struct http_server *s, int fd, struct error *e)
{
    struct evconnlistener *event =
        evconnlistener_new(s->base, on_accept, s,
                           LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_DISABLED, 0, fd);
    if (event == NULL) {
        close(fd);
        return error_set(e, ERROR_MEMORY, "no memory for a listener");
    }
    evconnlistener_set_error_cb(event, on_accept_error);
    s->listeners[s->n_listeners++].event = event;
    return true;
}

/* --- of the network */

static bool is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET6) {
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
    }
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)a;
    return a->sa_family == AF_UNIX || ntohl(v4->sin_addr.s_addr) >> 24 == 127;
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

/* All addresses get the port that the first one got. */
static bool listen_on_address(struct http_server *s, const char *host, struct addrinfo *a,
                              struct error *e)
{
    if (s->options.only_loopback && !is_loopback(a->ai_addr)) {
        return error_set(e, ERROR_USAGE, "host '%s' can be reached from other machines", host);
    }
    *port_of(a->ai_addr) = htons(s->port);
    int fd = has_room(s, host, e) ? open_listener(a) : -1;
    if (fd < 0) {
        return s->n_listeners < HTTP_MAX_LISTENERS &&
               error_set(e, ERROR_IO, "cannot listen on %s, port %u: %s", host, s->port,
                         strerror(errno));
    }
    struct sockaddr_storage bound;
    socklen_t n = sizeof bound;
    getsockname(fd, (struct sockaddr *)&bound, &n);
    s->port = ntohs(*port_of((struct sockaddr *)&bound));
    return add_listener(s, fd, e);
}

static bool listen_on_name(struct http_server *s, const char *host, struct error *e)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int code = getaddrinfo(host, NULL, &hints, &found);
    if (code != 0) {
        return error_set(e, ERROR_IO, "host '%s': %s", host,
                         code == EAI_SYSTEM ? strerror(errno) : gai_strerror(code));
    }
    bool ok = true;
    for (struct addrinfo *a = found; ok && a != NULL; a = a->ai_next) {
        ok = listen_on_address(s, host, a, e);
    }
    freeaddrinfo(found);
    return ok;
}

/* --- of this machine */

/* NUL first: a name without a file. */
static bool make_local_address(const char *host, struct sockaddr_un *out, socklen_t *out_n,
                               struct error *e)
{
    const char *path = host + sizeof local_prefix - 1;
    size_t n = strlen(path), most = sizeof out->sun_path - 1;
    if (n == 0 || strcmp(path, "@") == 0) {
        return error_set(e, ERROR_IO, "host '%s': the path is empty", host);
    }
    if (n > most) {
        return error_set(e, ERROR_IO, "host '%s': the path has %zu bytes, at most %zu", host, n,
                         most);
    }
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(out->sun_path, path, n);
    bool has_file = path[0] != '@';
    out->sun_path[0] = has_file ? path[0] : '\0';
    *out_n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + has_file);
    return true;
}

/* A socket on which nobody listens is what a server left that was killed. */
static bool is_abandoned(const struct sockaddr_un *a, socklen_t n)
{
    struct stat file;
    if (lstat(a->sun_path, &file) != 0 || !S_ISSOCK(file.st_mode)) {
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool is_refused =
        fd >= 0 && connect(fd, (const struct sockaddr *)a, n) != 0 && errno == ECONNREFUSED;
    if (fd >= 0) {
        close(fd);
    }
    return is_refused;
}

/* Of two servers that find the same abandoned socket the second must not take away what the first
 * has bound and does not listen on yet. Folders are locked for other purposes, too, and one that
 * cannot be read cannot be locked: then it goes on without. Returns what to close, or -1. */
static int lock_folder(const struct sockaddr_un *a)
{
    char folder[sizeof a->sun_path] = ".";
    const char *slash = strrchr(a->sun_path, '/');
    if (slash != NULL) {
        size_t n = slash == a->sun_path ? 1 : (size_t)(slash - a->sun_path);
        memcpy(folder, a->sun_path, n);
        folder[n] = '\0';
    }
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; fd >= 0 && i < LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB) != 0; i++) {
        usleep(LOCK_PAUSE_US);
    }
    return fd;
}

/* The file gets its permissions as it is made: chmod() might meet another one. */
static bool bind_local(int fd, const struct sockaddr_un *a, socklen_t n, unsigned mode)
{
    mode_t before = umask(0777 & ~mode);
    bool ok = bind(fd, (const struct sockaddr *)a, n) == 0;
    if (!ok && errno == EADDRINUSE && a->sun_path[0] != '\0') {
        ok = is_abandoned(a, n) && unlink(a->sun_path) == 0 &&
             bind(fd, (const struct sockaddr *)a, n) == 0;
        errno = EADDRINUSE;
    }
    umask(before);
    return ok;
}

/* A listening socket, or -1 with errno set. */
static int open_local(const struct sockaddr_un *a, socklen_t n, unsigned mode)
{
    bool has_file = a->sun_path[0] != '\0';
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    int lock = has_file ? lock_folder(a) : -1;
    bool is_bound = bind_local(fd, a, n, mode);
    if (!is_bound || listen(fd, BACKLOG) != 0) {
        int reason = errno;
        if (is_bound && has_file) {
            unlink(a->sun_path);
        }
        close(fd);
        errno = reason;
        fd = -1;
    }
    if (lock >= 0) {
        int reason = errno;
        close(lock);
        errno = reason;
    }
    return fd;
}

static bool remember_file(struct http_listener *l, const char *path, struct error *e)
{
    struct stat file;
    size_t n = strlen(path) + 1;
    if (path[0] == '@' || lstat(path, &file) != 0) {
        return true;
    }
    l->path = mem_alloc(n, 1, "path of a socket", e);
    if (l->path == NULL) {
        unlink(path);
        return false;
    }
    memcpy(l->path, path, n);
    l->device = file.st_dev;
    l->inode = file.st_ino;
    return true;
}

static bool listen_locally(struct http_server *s, const char *host, struct error *e)
{
    struct sockaddr_un a;
    socklen_t n = 0;
    if (!make_local_address(host, &a, &n, e) || !has_room(s, host, e)) {
        return false;
    }
    int fd = open_local(&a, n, s->options.unix_mode);
    if (fd < 0) {
        return error_set(e, ERROR_IO, "cannot listen on %s: %s", host, strerror(errno));
    }
    const char *path = host + sizeof local_prefix - 1;
    if (!add_listener(s, fd, e)) {
        if (path[0] != '@') {
            unlink(path);
        }
        return false;
    }
    return remember_file(&s->listeners[s->n_listeners - 1], path, e);
}

/* --- that somebody else opened */

static void name_given(const struct sockaddr_storage *a, socklen_t n, char *out, size_t capacity)
{
    char text[INET6_ADDRSTRLEN] = "?";
    if (a->ss_family == AF_UNIX) {
        const struct sockaddr_un *local = (const struct sockaddr_un *)a;
        int n_path = (int)(n - offsetof(struct sockaddr_un, sun_path));
        bool has_file = n_path > 0 && local->sun_path[0] != '\0';
        snprintf(out, capacity, "%s%s%.*s", local_prefix, has_file ? "" : "@",
                 n_path > 0 ? n_path - !has_file : 0, local->sun_path + !has_file);
    } else {
        inet_ntop(a->ss_family,
                  a->ss_family == AF_INET6
                      ? (const void *)&((const struct sockaddr_in6 *)a)->sin6_addr
                      : (const void *)&((const struct sockaddr_in *)a)->sin_addr,
                  text, sizeof text);
        snprintf(out, capacity, "%s", text);
    }
}

static bool take_given(struct http_server *s, int fd, struct error *e)
{
    struct sockaddr_storage a = {0};
    socklen_t n = sizeof a, n_int = sizeof(int);
    int type = 0, listens = 0;
    char name[HTTP_URL_BYTES - 32];
    if (getsockname(fd, (struct sockaddr *)&a, &n) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n_int) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n_int) != 0) {
        return error_set(e, ERROR_IO, "file descriptor %d: %s", fd, strerror(errno));
    }
    if (type != SOCK_STREAM || listens == 0 ||
        (a.ss_family != AF_UNIX && a.ss_family != AF_INET && a.ss_family != AF_INET6)) {
        return error_set(e, ERROR_IO, "file descriptor %d is no stream socket that listens", fd);
    }
    name_given(&a, n, name, sizeof name);
    if (s->options.only_loopback && !is_loopback((struct sockaddr *)&a)) {
        return error_set(e, ERROR_USAGE, "host '%s' can be reached from other machines", name);
    }
    if (a.ss_family != AF_UNIX) {
        s->port = ntohs(*port_of((struct sockaddr *)&a));
    }
    if (!has_room(s, name, e)) {
        return false;
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (!add_listener(s, fd, e)) {
        return false;
    }
    add_url(s, name);
    return true;
}

/* --- all of them */

bool http_listen_on_all(struct http_server *s, struct error *e)
{
    const struct http_options *o = &s->options;
    s->reserve_fd = open_reserve();
    s->pause_event = event_new(s->base, -1, 0, on_pause_end, s);
    if (s->pause_event == NULL) {
        return error_set(e, ERROR_MEMORY, "no memory for an event loop");
    }
    for (size_t i = 0; i < o->n_hosts; i++) {
        bool is_local = strncmp(o->hosts[i], local_prefix, sizeof local_prefix - 1) == 0;
        if (!(is_local ? listen_locally : listen_on_name)(s, o->hosts[i], e)) {
            return false;
        }
        add_url(s, o->hosts[i]);
    }
    for (size_t i = 0; i < o->n_given; i++) {
        if (!take_given(s, o->given[i], e)) {
            return false;
        }
    }
    return true;
}

/* Another server may have put its own in the place of the file. */
static void remove_file(struct http_listener *l)
{
    struct stat file;
    if (l->path != NULL && lstat(l->path, &file) == 0 && file.st_dev == l->device &&
        file.st_ino == l->inode) {
        unlink(l->path);
    }
    mem_free(l->path);
    l->path = NULL;
}

void http_listen_end(struct http_server *s)
{
    for (size_t i = 0; i < s->n_listeners; i++) {
        remove_file(&s->listeners[i]);
        evconnlistener_free(s->listeners[i].event);
    }
    s->n_listeners = 0;
    if (s->pause_event != NULL) {
        event_free(s->pause_event);
        s->pause_event = NULL;
    }
    if (s->reserve_fd >= 0) {
        close(s->reserve_fd);
        s->reserve_fd = -1;
    }
}

uint16_t http_server_port(const struct http_server *s)
{
    return s->port;
}

const char *http_server_url(const struct http_server *s, size_t i)
{
    return i < s->n_urls ? s->urls[i] : NULL;
}
