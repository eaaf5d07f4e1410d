/* test_sandbox.c - what a process may do in the sandbox and what not. Every act is done by a
 * process of its own: without the sandbox, where nothing refuses it, and inside, by the thread that
 * went in and by one that was started later. What this kernel has no means for is skipped. */
#include "base/sandbox.h"
#include "base/sandbox_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* home has a file, and folders with a file each: stored, shown, removed. */
static char home[] = "/tmp/puna-sandbox-XXXXXX";
static const char *const folders[] = {"stored", "shown", "removed"};
enum { N_FOLDERS = 3, PATH_BYTES = 128 };

static const char *at(const char *name)
{
    static _Thread_local char paths[2][PATH_BYTES];
    static _Thread_local unsigned turn;
    char *path = paths[turn++ % 2];
    snprintf(path, PATH_BYTES, "%s/%s", home, name);
    return path;
}

/* --- what the process has from before */

static struct sockaddr_in address; /* of tcp_listener */
static int tcp_listener, tcp_idle, tcp_connecting, datagrams[2], watched_pid;
static uint8_t *page;
static char secret[] = "secret";

static bool open_sockets(void)
{
    socklen_t n = sizeof address;
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    tcp_listener = socket(AF_INET, SOCK_STREAM, 0);
    tcp_idle = socket(AF_INET, SOCK_STREAM, 0);
    tcp_connecting = socket(AF_INET, SOCK_STREAM, 0);
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return bind(tcp_listener, (struct sockaddr *)&address, n) == 0 &&
           listen(tcp_listener, 4) == 0 &&
           getsockname(tcp_listener, (struct sockaddr *)&address, &n) == 0 &&
           connect(tcp_connecting, (struct sockaddr *)&address, n) == 0 &&
           socketpair(AF_UNIX, SOCK_DGRAM, 0, datagrams) == 0 && page != MAP_FAILED;
}

/* --- acts: true when it could be done, else errno says why not */

static bool opens(const char *path, int flags)
{
    int fd = open(path, flags, 0600);
    return fd >= 0 && close(fd) == 0;
}

static bool read_passwords(void)
{
    return opens("/etc/passwd", O_RDONLY);
}

static bool read_beside(void)
{
    return opens(at("file"), O_RDONLY);
}

static bool read_control_group(void)
{
    return opens("/proc/self/cgroup", O_RDONLY);
}

static bool read_status(void)
{
    return opens("/proc/self/status", O_RDONLY);
}

static bool make_beside(void)
{
    return opens(at("new"), O_WRONLY | O_CREAT);
}

static bool read_shown(void)
{
    return opens(at("shown/file"), O_RDONLY);
}

static bool write_shown(void)
{
    return opens(at("shown/file"), O_WRONLY);
}

static bool remove_shown(void)
{
    return unlink(at("shown/file")) == 0;
}

static bool make_shown(void)
{
    return opens(at("shown/new"), O_WRONLY | O_CREAT);
}

static bool store(void)
{
    int fd = open(at("stored/new"), O_RDWR | O_CREAT | O_EXCL, 0600);
    return fd >= 0 && write(fd, "x", 1) == 1 && ftruncate(fd, 0) == 0 && fsync(fd) == 0 &&
           close(fd) == 0 && rename(at("stored/new"), at("stored/file")) == 0 &&
           opens(at("stored/file"), O_RDWR | O_TRUNC) && unlink(at("stored/file")) == 0;
}

/* As packed weights are written. */
static bool begin_to_store(void)
{
    int fd = open(at("stored/file"), O_WRONLY);
    return fd >= 0 && write(fd, "x", 1) == 1 &&
           sync_file_range(fd, 0, 1, SYNC_FILE_RANGE_WRITE) == 0 && close(fd) == 0;
}

static bool ask_for_pending_signals(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0;
}

static bool store_link(void)
{
    return symlink("/etc/passwd", at("stored/link")) == 0;
}

static bool store_folder(void)
{
    return mkdir(at("stored/folder"), 0700) == 0;
}

static bool store_socket(void)
{
    return mknod(at("stored/pipe"), S_IFIFO | 0600, 0) == 0;
}

static bool move_out(void)
{
    return rename(at("stored/file"), at("moved")) == 0;
}

static bool remove_removed(void)
{
    return unlink(at("removed/file")) == 0;
}

static bool read_removed(void)
{
    return opens(at("removed/file"), O_RDONLY);
}

static bool make_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0) >= 0;
}

static bool make_local_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0) >= 0;
}

static bool connect_old(void)
{
    return connect(tcp_idle, (struct sockaddr *)&address, sizeof address) == 0;
}

static bool connect_with_message(void)
{
    return sendto(tcp_idle, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr *)&address,
                  sizeof address) == 1;
}

static bool bind_old(void)
{
    struct sockaddr_in any = address;
    any.sin_port = 0;
    return bind(tcp_idle, (struct sockaddr *)&any, sizeof any) == 0;
}

static bool send_handle(void)
{
    struct msghdr message = {0};
    return sendmsg(datagrams[0], &message, 0) >= 0;
}

static bool accept_one(void)
{
    return accept4(tcp_listener, NULL, NULL, SOCK_CLOEXEC) >= 0;
}

static bool tell_manager(void)
{
    char got;
    return sendto(datagrams[0], "x", 1, MSG_NOSIGNAL, NULL, 0) == 1 &&
           recv(datagrams[1], &got, 1, 0) == 1;
}

static bool make_process(void)
{
    pid_t child = fork();
    if (child == 0) {
        _exit(0);
    }
    return child > 0;
}

static bool run_program(void)
{
    char *const arguments[] = {"true", NULL};
    return execv("/bin/true", arguments) == 0;
}

static bool trace(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
}

static bool look_into_parent(void)
{
    char copy[sizeof secret];
    struct iovec here = {copy, sizeof copy}, there = {secret, sizeof secret};
    return process_vm_readv(watched_pid, &here, 1, &there, 1, 0) == sizeof copy;
}

static bool signal_parent(void)
{
    return kill(watched_pid, 0) == 0;
}

/* The kernel would send it when a byte comes. */
static bool have_a_socket_signal(void)
{
    return fcntl(datagrams[0], F_SETOWN, watched_pid) == 0;
}

static bool have_it_sent(void)
{
    return fcntl(datagrams[0], F_SETFL, fcntl(datagrams[0], F_GETFL) | O_ASYNC) == 0;
}

static bool wait_for_nobody(void)
{
    return fcntl(datagrams[0], F_SETFL, fcntl(datagrams[0], F_GETFL) | O_NONBLOCK) == 0;
}

static bool map_code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
           MAP_FAILED;
}

static bool turn_into_code(void)
{
    return mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0;
}

static bool protect_memory(void)
{
    return mprotect(page, 4096, PROT_READ) == 0;
}

static bool show_memory(void)
{
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0;
}

static bool raise_limit(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_CORE, &limit) == 0 && setrlimit(RLIMIT_CORE, &limit) == 0;
}

static bool make_nameless_file(void)
{
    return memfd_create("x", 0) >= 0;
}

static bool type_into_terminal(void)
{
    return ioctl(datagrams[0], TIOCSTI, "x") == 0;
}

enum outcome { DONE, REFUSED, DEADLY };
enum means { ANY, LANDLOCK, SECCOMP, NO_SANITIZER };

static const struct act {
    const char *name;
    bool (*fn)(void);
    enum outcome expected;
    enum means means; /* what refuses it */
} acts[] = {
    {"read /etc/passwd", read_passwords, REFUSED, LANDLOCK},
    {"read a file beside", read_beside, REFUSED, LANDLOCK},
    {"read its control group", read_control_group, DONE, ANY},
    {"read its status", read_status, DONE, ANY},
    {"make a file beside", make_beside, REFUSED, LANDLOCK},
    {"read in a shown folder", read_shown, DONE, ANY},
    {"write in a shown folder", write_shown, REFUSED, LANDLOCK},
    {"remove in a shown folder", remove_shown, REFUSED, LANDLOCK},
    {"make a file in a shown folder", make_shown, REFUSED, LANDLOCK},
    {"store, rename, cut and remove", store, DONE, ANY},
    {"have the disk begin to store", begin_to_store, DONE, ANY},
    {"ask for pending signals", ask_for_pending_signals, DONE, ANY},
    {"store a link", store_link, REFUSED, SECCOMP},
    {"store a folder", store_folder, REFUSED, LANDLOCK},
    {"store a pipe", store_socket, REFUSED, SECCOMP},
    {"move a file out", move_out, REFUSED, LANDLOCK},
    {"remove a socket's file", remove_removed, DONE, ANY},
    {"read a socket's neighbour", read_removed, REFUSED, LANDLOCK},
    {"make a socket", make_socket, REFUSED, SECCOMP},
    {"make a local socket", make_local_socket, REFUSED, SECCOMP},
    {"connect an old socket", connect_old, REFUSED, SECCOMP},
    {"connect by a message", connect_with_message, REFUSED, SECCOMP},
    {"bind an old socket", bind_old, REFUSED, SECCOMP},
    {"send a message with parts", send_handle, REFUSED, SECCOMP},
    {"accept a connection", accept_one, DONE, ANY},
    {"tell the service manager", tell_manager, DONE, ANY},
    {"make a process", make_process, REFUSED, NO_SANITIZER},
    {"run a program", run_program, DEADLY, NO_SANITIZER},
    {"trace", trace, DEADLY, NO_SANITIZER},
    {"look into the parent", look_into_parent, DEADLY, NO_SANITIZER},
    {"signal the parent", signal_parent, REFUSED, NO_SANITIZER},
    {"have a socket signal the parent", have_a_socket_signal, REFUSED, SECCOMP},
    {"have that signal sent", have_it_sent, REFUSED, SECCOMP},
    {"wait for nobody", wait_for_nobody, DONE, ANY},
    {"map code", map_code, REFUSED, NO_SANITIZER},
    {"turn memory into code", turn_into_code, REFUSED, NO_SANITIZER},
    {"protect memory", protect_memory, DONE, ANY},
    {"show memory again", show_memory, REFUSED, NO_SANITIZER},
    {"set a limit", raise_limit, REFUSED, SECCOMP},
    {"make a file without a name", make_nameless_file, REFUSED, SECCOMP},
    {"type into a terminal", type_into_terminal, REFUSED, SECCOMP},
};

/* --- doing them */

enum { SUCCEEDED, WAS_REFUSED, FAILED_OTHERWISE, NO_SANDBOX };

static bool enter(struct sandbox_state *out, struct error *e)
{
    char texts[N_FOLDERS][PATH_BYTES];
    struct sandbox_path paths[N_FOLDERS + 2];
    const enum sandbox_access access[] = {SANDBOX_STORE, SANDBOX_READ, SANDBOX_REMOVE};
    for (size_t i = 0; i < N_FOLDERS; i++) {
        snprintf(texts[i], PATH_BYTES, "%s/%s", home, folders[i]);
        paths[i] = (struct sandbox_path){texts[i], access[i]};
    }
    paths[N_FOLDERS] = (struct sandbox_path){NULL, SANDBOX_STORE};
    paths[N_FOLDERS + 1] = (struct sandbox_path){"/no/such/path", SANDBOX_STORE};
    return sandbox_enter(paths, N_FOLDERS + 2, out, e);
}

static void *do_act(void *argument)
{
    const struct act *a = argument;
    errno = 0;
    int code = a->fn()                             ? SUCCEEDED
               : errno == EACCES || errno == EPERM ? WAS_REFUSED
                                                   : FAILED_OTHERWISE;
    _exit(code);
}

static void make_files(void)
{
    FILE *f = fopen(at("file"), "w");
    assert_non_null(f);
    fclose(f);
    for (size_t i = 0; i < N_FOLDERS; i++) {
        char path[PATH_BYTES];
        snprintf(path, sizeof path, "%s/%s/file", home, folders[i]);
        mkdir(at(folders[i]), 0700);
        f = fopen(path, "w");
        assert_non_null(f);
        fclose(f);
    }
}

static void remove_files(void)
{
    static const char *const names[] = {"file",         "new",         "moved",      "shown/new",
                                        "stored/link",  "stored/pipe", "stored/new", "stored/file",
                                        "removed/file", "shown/file"};
    rmdir(at("stored/folder"));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        unlink(at(names[i]));
    }
}

/* Status of a process that does it. */
static int status_of(const struct act *a, bool inside, bool on_new_thread)
{
    remove_files();
    make_files();
    watched_pid = getpid();
    pid_t child = fork();
    if (child == 0) {
        struct sandbox_state state;
        pthread_t thread;
        if (!open_sockets() || (inside && !enter(&state, NULL))) {
            _exit(NO_SANDBOX);
        }
        if (!on_new_thread) {
            do_act((void *)a);
        }
        if (pthread_create(&thread, NULL, do_act, (void *)a) == 0) {
            pthread_join(thread, NULL);
        }
        _exit(NO_SANDBOX);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static enum outcome outcome_of(const struct act *a, int status)
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
        return DEADLY;
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) == NO_SANDBOX) {
        fail_msg("%s: status %x", a->name, (unsigned)status);
    }
    return WEXITSTATUS(status) == WAS_REFUSED ? REFUSED : DONE;
}

/* Of a process that went in. */
static struct sandbox_state state_here(void)
{
    struct sandbox_state state = {0};
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        bool ok = enter(&state, NULL);
        _exit(ok && write(ends[1], &state, sizeof state) == sizeof state ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(read(ends[0], &state, sizeof state), sizeof state);
    close(ends[0]);
    close(ends[1]);
    return state;
}

static bool has_means(const struct sandbox_state *s, enum means means)
{
    switch (means) {
    case LANDLOCK:
        return s->landlock > 0;
    case SECCOMP:
        return s->seccomp;
    case NO_SANITIZER:
        return s->seccomp && !SANDBOX_HAS_SANITIZER;
    case ANY:
        break;
    }
    return true;
}

static void what_is_not_needed_is_refused_and_the_rest_is_not(void **unused)
{
    (void)unused;
    const struct sandbox_state state = state_here();
    print_message("Landlock %d, seccomp %d\n", state.landlock, state.seccomp);
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
        const struct act *a = &acts[i];
        if (!has_means(&state, a->means)) {
            print_message("NOT TESTED: %s\n", a->name);
            continue;
        }
        if (outcome_of(a, status_of(a, false, false)) != DONE) {
            print_message("NOT TESTED: %s: refused without the sandbox\n", a->name);
            continue;
        }
        for (int on_new_thread = 0; on_new_thread <= 1; on_new_thread++) {
            int status = status_of(a, true, on_new_thread);
            if (outcome_of(a, status) != a->expected ||
                (a->expected == DONE && WEXITSTATUS(status) != SUCCEEDED)) {
                fail_msg("%s, %s thread: status %x", a->name, on_new_thread ? "new" : "first",
                         (unsigned)status);
            }
        }
    }
}

static void *wait_for_end(void *lock)
{
    pthread_mutex_lock(lock);
    pthread_mutex_unlock(lock);
    return NULL;
}

static void threads_that_run_already_are_not_left_out(void **unused)
{
    (void)unused;
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_t thread;
    struct sandbox_state state = state_here();
    struct error e = {0};
    if (state.landlock == 0 && !state.seccomp) {
        skip();
    }
    pthread_mutex_lock(&lock);
    assert_int_equal(pthread_create(&thread, NULL, wait_for_end, &lock), 0);
    bool entered = enter(&state, &e);
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
    assert_false(entered);
    assert_int_equal(e.code, ERROR_INTERNAL);
    assert_non_null(strstr(e.text, "the sandbox would leave out "));
    assert_true(opens("/etc/passwd", O_RDONLY)); /* nothing is in force */
}

static void hidden_memory_is_in_no_core_dump(void **unused)
{
    (void)unused;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {1, 1};
        bool ok = sandbox_hide_memory(NULL) && prctl(PR_GET_DUMPABLE) == 0 &&
                  getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_cur == 0 && limit.rlim_max == 0;
        if (!ok) {
            _exit(1);
        }
        raise(SIGKILL);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Also where the kernel, or an emulator, has no seccomp. */
static void rules_can_be_made_for_this_architecture(void **unused)
{
    (void)unused;
    char text[1 << 16];
    FILE *f = tmpfile();
    struct error e = {0};
    assert_non_null(f);
    if (!sandbox_calls_print(fileno(f), &e)) {
        fail_msg("%s", e.text);
    }
    rewind(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    static const char *const named[] = {"\"futex\"", "\"openat\"", "\"accept4\"", "\"clone3\""};
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        assert_non_null(strstr(text, named[i]));
    }
    assert_null(strstr(text, "\"socket\""));
    assert_null(strstr(text, "\"connect\""));
}

static int make_home(void **unused)
{
    (void)unused;
    return mkdtemp(home) != NULL ? 0 : -1;
}

static int remove_home(void **unused)
{
    (void)unused;
    remove_files();
    for (size_t i = 0; i < N_FOLDERS; i++) {
        rmdir(at(folders[i]));
    }
    return rmdir(home);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_needed_is_refused_and_the_rest_is_not),
        cmocka_unit_test(threads_that_run_already_are_not_left_out),
        cmocka_unit_test(hidden_memory_is_in_no_core_dump),
        cmocka_unit_test(rules_can_be_made_for_this_architecture),
    };
    return cmocka_run_group_tests(tests, make_home, remove_home);
}
