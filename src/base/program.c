/* program.c - starts a program without copying this process, and watches it until it ends. */
#include "base/program.h"

#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLICE_MS = 20, GRACE_MS = 1000, PIECE_BYTES = 1 << 14 };

/* --- start */

/* In a file, not a pipe: it is all there, whether it is read or not. */
static int make_input(struct str text, struct error *e)
{
    int fd = memfd_create("input", MFD_CLOEXEC);
    if (fd < 0) {
        error_set(e, ERROR_IO, "no room for its input: %s", strerror(errno));
    } else if (!file_write_at(fd, text.p, text.n, 0, e)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Signals are as a shell would give them. 0, or why not. */
static int describe(posix_spawnattr_t *how)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int why = posix_spawnattr_setflags(how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                POSIX_SPAWN_SETSIGDEF);
    why = why != 0 ? why : posix_spawnattr_setpgroup(how, 0);
    why = why != 0 ? why : posix_spawnattr_setsigmask(how, &none);
    return why != 0 ? why : posix_spawnattr_setsigdefault(how, &all);
}

static int spawn(const struct program *p, int input, int output, pid_t *out_pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    int why = posix_spawn_file_actions_init(&files);
    if (why != 0) {
        return why;
    }
    why = posix_spawnattr_init(&how);
    if (why == 0) {
        why = describe(&how);
        why = why != 0 ? why : posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
        why = why != 0 ? why : posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
        why = why != 0 ? why
                       : posix_spawn(out_pid, p->path, &files, &how, p->arguments, p->environment);
        posix_spawnattr_destroy(&how);
    }
    posix_spawn_file_actions_destroy(&files);
    return why;
}

/* *out_output: where its output can be read, without waiting. */
static bool start(const struct program *p, pid_t *out_pid, int *out_output, struct error *e)
{
    int ends[2];
    int input = make_input(p->input, e);
    if (input < 0) {
        return false;
    }
    int why = pipe2(ends, O_CLOEXEC) != 0 ? errno : 0;
    if (why == 0) {
        fcntl(ends[0], F_SETFL, O_NONBLOCK);
        why = spawn(p, input, ends[1], out_pid);
        close(ends[1]);
        if (why != 0) {
            close(ends[0]);
        }
    }
    close(input);
    if (why != 0) {
        return error_set(e, ERROR_IO, "%s could not be started: %s", p->path, strerror(why));
    }
    *out_output = ends[0];
    return true;
}

/* --- watch */

/* It stays there to be waited for, so that its number means nobody else. */
static bool has_ended(pid_t pid)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

/* Takes what there is; *output is closed and -1 when no more can come. False when *out is full or
 * memory ran out, as *e says. */
static bool take_output(int *output, struct buf *out, struct error *e)
{
    char piece[PIECE_BYTES];
    while (*output >= 0) {
        ssize_t n = read(*output, piece, sizeof piece);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
            return true;
        }
        if (n <= 0) {
            close(*output);
            *output = -1;
        } else if (!buf_append(out, (struct str){piece, (size_t)n}, e)) {
            return false;
        }
    }
    return true;
}

static enum program_end watch(const struct program *p, pid_t pid, int *output, struct buf *out,
                              struct error *e)
{
    uint64_t begin = clock_now_ns();
    for (;;) {
        bool ended = has_ended(pid); /* asked first: then all that it wrote is there */
        if (!take_output(output, out, e)) {
            return PROGRAM_TOO_LONG;
        }
        if (ended) {
            return PROGRAM_EXITED;
        }
        if (p->stop != NULL && *p->stop != 0) {
            return PROGRAM_STOPPED;
        }
        if (clock_now_ns() - begin >= p->timeout_ms * UINT64_C(1000000)) {
            return PROGRAM_OUT_OF_TIME;
        }
        struct pollfd readable = {.fd = *output, .events = POLLIN};
        poll(&readable, *output >= 0 ? 1 : 0, SLICE_MS);
    }
}

static void end_group(pid_t pid)
{
    kill(-pid, SIGTERM);
    for (int ms = 0; ms < GRACE_MS && !has_ended(pid); ms += SLICE_MS) {
        poll(NULL, 0, SLICE_MS);
    }
    kill(-pid, SIGKILL);
}

bool program_run(const struct program *p, struct buf *out, struct program_result *out_result,
                 struct error *e)
{
    pid_t pid = 0;
    int output = -1, status = 0;
    struct error why = {0};
    if (!start(p, &pid, &output, e)) {
        return false;
    }
    struct program_result result = {.end = watch(p, pid, &output, out, &why)};
    if (result.end != PROGRAM_EXITED) {
        end_group(pid);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (output >= 0) {
        close(output);
    }
    if (result.end == PROGRAM_TOO_LONG && !out->is_full) {
        return error_set(e, why.code, "%s", why.text); /* for lack of memory */
    }
    if (result.end == PROGRAM_EXITED && WIFSIGNALED(status)) {
        result.end = PROGRAM_KILLED;
    }
    result.number = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    *out_result = result;
    return true;
}

/* --- find */

static bool is_file(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

static bool find_in_folders(const char *name, const char *folders, char out[PATH_MAX])
{
    while (folders != NULL && *folders != '\0') {
        size_t n = strcspn(folders, ":");
        int length = snprintf(out, PATH_MAX, "%.*s/%s", (int)n, folders, name);
        if (n > 0 && length < PATH_MAX && is_file(out) && access(out, X_OK) == 0) {
            return true;
        }
        folders += n + (folders[n] == ':');
    }
    return false;
}

bool program_find(const char *name, const char *search_path, char out[PATH_MAX], struct error *e)
{
    char found[PATH_MAX];
    if (strchr(name, '/') == NULL) {
        if (!find_in_folders(name, search_path, found)) {
            return error_set(e, ERROR_NOT_FOUND, "no program '%s' in the folders of PATH", name);
        }
    } else if (snprintf(found, sizeof found, "%s", name) >= PATH_MAX || access(found, F_OK) != 0) {
        return error_set(e, ERROR_NOT_FOUND, "no program '%s'", name);
    } else if (!is_file(found) || access(found, X_OK) != 0) {
        return error_set(e, ERROR_USAGE, "'%s' is not an executable file", name);
    }
    memcpy(out, found, strlen(found) + 1);
    return true;
}
