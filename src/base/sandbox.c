/* sandbox.c - Landlock, and what belongs to no other part. Its calls have no functions in the C
 * library; of its constants Debian 12's header has those of the first two versions. */
#include "base/sandbox.h"

#include "base/cgroup.h"
#include "base/mem.h"
#include "base/sandbox_calls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of versions 3, 4, 5 and 6, as the kernel's interface has them. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (UINT64_C(1) << 14)
#endif
#ifndef LANDLOCK_ACCESS_NET_BIND_TCP
#define LANDLOCK_ACCESS_NET_BIND_TCP    (UINT64_C(1) << 0)
#define LANDLOCK_ACCESS_NET_CONNECT_TCP (UINT64_C(1) << 1)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (UINT64_C(1) << 15)
#endif
#ifndef LANDLOCK_SCOPE_SIGNAL
#define LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET (UINT64_C(1) << 0)
#define LANDLOCK_SCOPE_SIGNAL               (UINT64_C(1) << 1)
#endif

enum { PATIENCE_MS = 1000 };

/* struct landlock_ruleset_attr of version 6; zeros behind what a kernel knows are taken by all. */
struct ruleset {
    uint64_t files, net, scoped;
};

static const uint64_t of_files =
    LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE;

/* All that the version can refuse. */
static struct ruleset ruleset_of(int version)
{
    struct ruleset r = {.files = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1};
    r.files |= version >= 2 ? LANDLOCK_ACCESS_FS_REFER : 0;
    r.files |= version >= 3 ? LANDLOCK_ACCESS_FS_TRUNCATE : 0;
    r.files |= version >= 5 ? LANDLOCK_ACCESS_FS_IOCTL_DEV : 0;
    r.net = version >= 4 ? LANDLOCK_ACCESS_NET_BIND_TCP | LANDLOCK_ACCESS_NET_CONNECT_TCP : 0;
    r.scoped = version >= 6 ? LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL : 0;
    return r;
}

static uint64_t rights_of(enum sandbox_access access)
{
    const uint64_t reads = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    switch (access) {
    case SANDBOX_READ:
        return reads;
    case SANDBOX_STORE:
        return reads | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE |
               LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE;
    case SANDBOX_REMOVE:
        return LANDLOCK_ACCESS_FS_REMOVE_FILE;
    }
    return 0;
}

/* What cannot be opened even for its name alone cannot be used later either. */
static bool allow(int ruleset, uint64_t handled, const struct sandbox_path *p, struct error *e)
{
    struct stat s;
    int fd = p->path != NULL ? open(p->path, O_PATH | O_CLOEXEC) : -1;
    if (fd < 0 || fstat(fd, &s) != 0) {
        return true;
    }
    uint64_t rights = rights_of(p->access) & handled & (S_ISDIR(s.st_mode) ? handled : of_files);
    struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = fd};
    return rights == 0 ||
           syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0 ||
           error_set(e, ERROR_IO, "Landlock: no rule for %s: %s", p->path, strerror(errno));
}

/* 0: built without it (ENOSYS), or switched off (EOPNOTSUPP). */
static int find_version(void)
{
    long n = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return n > 0 ? (int)n : 0;
}

static bool restrict_files(const struct sandbox_path *paths, size_t n_paths, int version,
                           struct error *e)
{
    static const char *const of_memory[] = {MEM_INFO, MEM_STATUS, CGROUP_ROOT, CGROUP_SELF};
    static const struct sandbox_path for_sanitizers = {"/proc", SANDBOX_READ};
    const struct ruleset r = ruleset_of(version);
    int fd = (int)syscall(SYS_landlock_create_ruleset, &r, sizeof r, 0);
    if (fd < 0) {
        return error_set(e, ERROR_IO, "Landlock: no rules: %s", strerror(errno));
    }
    bool ok = !SANDBOX_HAS_SANITIZER || allow(fd, r.files, &for_sanitizers, e);
    for (size_t i = 0; i < sizeof of_memory / sizeof of_memory[0] && ok; i++) {
        ok = allow(fd, r.files, &(struct sandbox_path){of_memory[i], SANDBOX_READ}, e);
    }
    for (size_t i = 0; i < n_paths && ok; i++) {
        ok = allow(fd, r.files, &paths[i], e);
    }
    if (ok && syscall(SYS_landlock_restrict_self, fd, 0) != 0) {
        ok = error_set(e, ERROR_IO, "Landlock: %s", strerror(errno));
    }
    close(fd);
    return ok;
}

/* 1 where the kernel does not tell. */
static unsigned count_threads(void)
{
    unsigned n = 0;
    DIR *folder = opendir("/proc/self/task");
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        n += entry->d_name[0] != '.';
    }
    if (folder != NULL) {
        closedir(folder);
    }
    return n > 0 ? n : 1;
}

/* One that was joined is listed a little longer. */
static bool check_alone(struct error *e)
{
    unsigned n_threads;
    for (int i = 0; (n_threads = count_threads()) > 1 && i < PATIENCE_MS; i++) {
        usleep(1000);
    }
    return n_threads == 1 ||
           error_set(e, ERROR_INTERNAL, "the sandbox would leave out %u threads that run",
                     n_threads - 1);
}

bool sandbox_enter(const struct sandbox_path *paths, size_t n_paths, struct sandbox_state *out,
                   struct error *e)
{
    const struct sandbox_state state = {find_version(), sandbox_calls_can()};
    if (state.landlock > 0 || state.seccomp) {
        if (!check_alone(e)) {
            return false;
        }
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
            return error_set(e, ERROR_IO, "no_new_privs: %s", strerror(errno));
        }
    }
    if ((state.landlock > 0 && !restrict_files(paths, n_paths, state.landlock, e)) ||
        (state.seccomp && !sandbox_calls_restrict(e))) {
        return false;
    }
    *out = state;
    return true;
}

bool sandbox_hide_memory(struct error *e)
{
    const struct rlimit none = {0, 0};
    return (setrlimit(RLIMIT_CORE, &none) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0) ||
           error_set(e, ERROR_IO, "memory cannot be kept out of core dumps: %s", strerror(errno));
}
