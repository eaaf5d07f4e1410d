/* sandbox_calls.c - which system calls a running server needs: those that strace sees, and what the
 * C library, libevent, OpenSSL and SQLite use for the same on other kernels and architectures. */
#include "base/sandbox_calls.h"

#include <asm/termbits.h> /* the kernel's struct termios, of which TCGETS has the size */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CALL(name) SCMP_SYS(name)

/* clang-format off */
static const int allowed[] = {
    /* memory; see add_conditions() for mmap and mprotect */
    CALL(brk), CALL(munmap), CALL(mremap), CALL(madvise), CALL(membarrier),
    /* files, of which Landlock says which */
    CALL(open), CALL(openat), CALL(close), CALL(read), CALL(readv), CALL(pread64), CALL(preadv),
    CALL(write), CALL(writev), CALL(pwrite64), CALL(pwritev), CALL(lseek), CALL(sendfile),
    CALL(stat), CALL(lstat), CALL(fstat), CALL(newfstatat), CALL(fstatat64), CALL(statx),
    CALL(statfs), CALL(fstatfs), CALL(access), CALL(faccessat), CALL(faccessat2), CALL(readlink),
    CALL(readlinkat), CALL(getcwd), CALL(getdents64), CALL(ftruncate), CALL(fallocate), CALL(fsync),
    CALL(fdatasync), CALL(sync_file_range), CALL(sync_file_range2), CALL(fadvise64), CALL(flock),
    CALL(rename), CALL(renameat), CALL(renameat2), CALL(unlink), CALL(unlinkat), CALL(mkdir),
    CALL(mkdirat), CALL(fchmod), CALL(fchown), CALL(utimensat),
    /* connections that are there or come in */
    CALL(accept), CALL(accept4), CALL(getsockname), CALL(getpeername), CALL(getsockopt),
    CALL(setsockopt), CALL(shutdown), CALL(recvfrom),
    /* waiting */
    CALL(epoll_ctl), CALL(epoll_wait), CALL(epoll_pwait), CALL(epoll_pwait2), CALL(poll),
    CALL(ppoll), CALL(eventfd2), CALL(timerfd_create), CALL(timerfd_settime), CALL(nanosleep),
    CALL(clock_nanosleep), CALL(restart_syscall),
    /* threads and signals; see add_conditions() for clone */
    CALL(futex), CALL(set_robust_list), CALL(set_tid_address), CALL(rseq), CALL(sched_yield),
    CALL(sched_getaffinity), CALL(sched_setaffinity), CALL(gettid), CALL(exit), CALL(exit_group),
    CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(rt_sigpending), CALL(rt_sigreturn),
    CALL(sigreturn), CALL(sigaltstack),
    /* about the process and the machine */
    CALL(getpid), CALL(getppid), CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid),
    CALL(getrlimit), CALL(ugetrlimit), CALL(getrusage), CALL(getcpu), CALL(uname), CALL(sysinfo),
    CALL(getrandom), CALL(clock_gettime), CALL(clock_getres), CALL(gettimeofday), CALL(time),
    CALL(arch_prctl),
};
/* clang-format on */

/* Nobody needs them, and who tries is not to try on. */
static const int deadly[] = {CALL(execve), CALL(execveat), CALL(ptrace), CALL(process_vm_readv),
                             CALL(process_vm_writev)};

/* At the end a sanitizer looks through stopped threads for leaks, from a process of its own. */
static const int for_sanitizers[] = {CALL(clone), CALL(ptrace),   CALL(wait4),   CALL(prctl),
                                     CALL(mmap),  CALL(mprotect), CALL(tgkill),  CALL(kill),
                                     CALL(pipe),  CALL(pipe2),    CALL(getdents)};

/* Of an argument, counted from 0. */
#define EQUALS(n, value)                                                                           \
    {                                                                                              \
        (n), SCMP_CMP_EQ, (value), 0                                                               \
    }
#define HAS_BITS(n, mask, bits)                                                                    \
    {                                                                                              \
        (n), SCMP_CMP_MASKED_EQ, (mask), (bits)                                                    \
    }

struct rule {
    int call;
    struct scmp_arg_cmp condition;
};

/* What is allowed with some arguments. Nothing gets to be code; threads, no processes; prctl names
 * threads, and cannot make memory visible again; limits can be read; no connection begins with a
 * message (MSG_FASTOPEN); files are locked, and signal nobody (F_SETOWN, O_ASYNC); terminals are
 * asked for their form, and not typed into. */
static bool add_conditions(scmp_filter_ctx filter)
{
    const struct rule rules[] = {
        {CALL(mmap), HAS_BITS(2, PROT_EXEC, 0)},
        {CALL(mmap2), HAS_BITS(2, PROT_EXEC, 0)},
        {CALL(mprotect), HAS_BITS(2, PROT_EXEC, 0)},
        {CALL(clone), HAS_BITS(0, CLONE_THREAD, CLONE_THREAD)},
        {CALL(prctl), EQUALS(0, PR_SET_NAME)},
        {CALL(tgkill), EQUALS(0, (scmp_datum_t)getpid())},
        {CALL(prlimit64), EQUALS(2, 0)},
        {CALL(sendto), EQUALS(3, MSG_NOSIGNAL)},
        {CALL(fcntl), EQUALS(1, F_GETFD)},
        {CALL(fcntl), EQUALS(1, F_SETFD)},
        {CALL(fcntl), EQUALS(1, F_GETFL)},
        {CALL(fcntl), EQUALS(1, F_DUPFD_CLOEXEC)},
        {CALL(fcntl), EQUALS(1, F_GETLK)},
        {CALL(fcntl), EQUALS(1, F_SETLK)},
        {CALL(fcntl), EQUALS(1, F_SETLKW)},
        {CALL(ioctl), EQUALS(1, FIONREAD)},
        {CALL(ioctl), EQUALS(1, FIONBIO)},
        {CALL(ioctl), EQUALS(1, TCGETS)},
        {CALL(ioctl), EQUALS(1, TIOCGWINSZ)},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, rules[i].call, 1, &rules[i].condition) !=
            0) {
            return false;
        }
    }
    const struct scmp_arg_cmp set_flags[] = {EQUALS(1, F_SETFL), HAS_BITS(2, O_ASYNC, 0)};
    if (seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, CALL(fcntl), 2, set_flags) != 0) {
        return false;
    }
    /* Its flags lie in memory, where no rule sees them: the C library then takes clone(). */
    return seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), CALL(clone3), 0) == 0;
}

static bool add_calls(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (seccomp_rule_add(filter, action, calls[i], 0) != 0) {
            return false;
        }
    }
    return true;
}

static bool add_extremes(scmp_filter_ctx filter)
{
    if (SANDBOX_HAS_SANITIZER) {
        return add_calls(filter, SCMP_ACT_ALLOW, for_sanitizers,
                         sizeof for_sanitizers / sizeof for_sanitizers[0]);
    }
    /* Before Linux 4.14, and for emulators, it is the thread alone that ends. */
    uint32_t kill = seccomp_api_get() >= 3 ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_KILL;
    return add_calls(filter, kill, deadly, sizeof deadly / sizeof deadly[0]);
}

/* NULL with *e set. A call that this architecture lacks is left out by the library. */
static scmp_filter_ctx make_filter(struct error *e)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    bool ok = filter != NULL &&
              add_calls(filter, SCMP_ACT_ALLOW, allowed, sizeof allowed / sizeof allowed[0]) &&
              add_conditions(filter) && add_extremes(filter) &&
              seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) == 0 &&
              seccomp_attr_set(filter, SCMP_FLTATR_API_SYSRAWRC, 1) == 0;
    if (!ok) {
        seccomp_release(filter);
        error_set(e, ERROR_INTERNAL, "no filter of system calls can be made");
        return NULL;
    }
    return filter;
}

/* A kernel that knows the call finds no filter at address 0; emulators do not know it. */
bool sandbox_calls_can(void)
{
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL) != 0 && errno == EFAULT;
}

bool sandbox_calls_restrict(struct error *e)
{
    scmp_filter_ctx filter = make_filter(e);
    if (filter == NULL) {
        return false;
    }
    int code = seccomp_load(filter);
    seccomp_release(filter);
    return code == 0 ||
           error_set(e, ERROR_IO, "system calls cannot be restricted: %s", strerror(-code));
}

bool sandbox_calls_print(int fd, struct error *e)
{
    scmp_filter_ctx filter = make_filter(e);
    if (filter == NULL) {
        return false;
    }
    int code = seccomp_export_pfc(filter, fd);
    seccomp_release(filter);
    return code == 0 || error_set(e, ERROR_IO, "%s", strerror(-code));
}
