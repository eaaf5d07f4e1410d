/* serve_log.c - a line is written when stderr takes it at once, else lost. */
#include "cmd/serve_log.h"

#include "cmd/print.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A pipe that can be written to takes a whole line, but only one. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

bool serve_log_write(struct str line)
{
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
    pthread_mutex_lock(&lock);
    bool ok = poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT) != 0 &&
              write(STDERR_FILENO, line.p, line.n) == (ssize_t)line.n;
    pthread_mutex_unlock(&lock);
    return ok;
}

void serve_log_warn(const char *text)
{
    char line[PIPE_BUF + 1];
    FILE *f = fmemopen(line, sizeof line, "w");
    if (f == NULL) {
        return;
    }
    print_warning_to(f, text);
    fclose(f);
    size_t n = strlen(line);
    if (n > 0) {
        line[n - 1] = '\n'; /* of a line that was cut, too */
        serve_log_write((struct str){line, n});
    }
}
