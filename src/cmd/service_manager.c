/* service_manager.c - the protocols are lines in datagrams and numbers in variables: too little for
 * a library. */
#include "cmd/service_manager.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_FD = 3, MESSAGE_BYTES = 512 };

static bool parse_number(const char *name, const char *text, uint64_t most, uint64_t *out,
                         struct error *e)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || n > most) {
        return error_set(e, ERROR_USAGE, "%s: '%s' is not a whole number from 0 to %llu", name,
                         text, (unsigned long long)most);
    }
    *out = n;
    return true;
}

/* Variables for another process are its own matter: *out false. */
static bool is_for_us(const char *name, const char *pid, bool *out, struct error *e)
{
    uint64_t n = 0;
    if (!parse_number(name, pid, INT32_MAX, &n, e)) {
        return false;
    }
    *out = n == (uint64_t)getpid();
    return true;
}

static bool take_sockets(struct service_manager *m, const struct cmd_env *env, struct error *e)
{
    bool ours = false;
    uint64_t n = 0;
    if (env->listen_pid == NULL || env->listen_fds == NULL) {
        return true;
    }
    if (!is_for_us("LISTEN_PID", env->listen_pid, &ours, e)) {
        return false;
    }
    if (!ours) {
        return true;
    }
    if (!parse_number("LISTEN_FDS", env->listen_fds, SERVICE_MANAGER_SOCKETS, &n, e)) {
        return false;
    }
    for (int fd = FIRST_FD; fd < FIRST_FD + (int)n; fd++) {
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
            return error_set(e, ERROR_USAGE, "LISTEN_FDS: file descriptor %d: %s", fd,
                             strerror(errno));
        }
        m->sockets[m->n_sockets++] = fd;
    }
    return true;
}

static bool find_manager(struct service_manager *m, const struct cmd_env *env, struct error *e)
{
    const char *path = env->notify_socket;
    struct sockaddr_un *a = &m->address;
    if (path == NULL || path[0] == '\0') {
        return true;
    }
    size_t n = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || n >= sizeof a->sun_path) {
        return error_set(e, ERROR_USAGE,
                         "NOTIFY_SOCKET: '%s' is neither a path nor a name after @, of %zu bytes "
                         "at most",
                         path, sizeof a->sun_path - 1);
    }
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(a->sun_path, path, n);
    a->sun_path[0] = path[0] == '@' ? '\0' : path[0];
    m->address_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (path[0] != '@'));
    m->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (m->fd < 0) {
        return error_set(e, ERROR_IO, "no socket to the service manager: %s", strerror(errno));
    }
    /* To a name without a file the sandbox lets a message through only where the socket was
     * connected before; one with a file may be made anew. */
    if (path[0] == '@') {
        connect(m->fd, (const struct sockaddr *)a, m->address_bytes);
    }
    const struct timeval patience = {1, 0};
    setsockopt(m->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    m->is_told = true;
    return true;
}

static bool choose_watchdog(struct service_manager *m, const struct cmd_env *env, struct error *e)
{
    bool ours = true;
    uint64_t us = 0;
    if (!m->is_told || env->watchdog_usec == NULL) {
        return true;
    }
    if (env->watchdog_pid != NULL && !is_for_us("WATCHDOG_PID", env->watchdog_pid, &ours, e)) {
        return false;
    }
    if (!parse_number("WATCHDOG_USEC", env->watchdog_usec, UINT64_MAX, &us, e)) {
        return false;
    }
    uint64_t ms = us / 2000 < UINT32_MAX ? us / 2000 : UINT32_MAX;
    m->watchdog_ms = !ours || us == 0 ? 0 : ms == 0 ? 1 : (uint32_t)ms;
    return true;
}

bool service_manager_open(struct service_manager *m, const struct cmd_env *env, struct error *e)
{
    *m = (struct service_manager){.fd = -1};
    return take_sockets(m, env, e) && find_manager(m, env, e) && choose_watchdog(m, env, e);
}

void service_manager_close(struct service_manager *m)
{
    if (m->is_told) {
        close(m->fd);
    }
    m->is_told = false;
}

void service_manager_tell(const struct service_manager *m, const char *format, ...)
{
    char text[MESSAGE_BYTES];
    if (!m->is_told) {
        return;
    }
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t n_bytes = n < (int)sizeof text ? (size_t)n : sizeof text - 1;
    (void)sendto(m->fd, text, n_bytes, MSG_NOSIGNAL, (const struct sockaddr *)&m->address,
                 m->address_bytes);
}
