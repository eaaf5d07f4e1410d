/* faults.c - a library to preload: n-th calls fail, the clock jumps, live memory is counted.
 *
 * A file of eight-byte numbers (struct faults, named by $FAULTS) is shared with the test, which
 * arms and reads while the program runs. A call of kind k is number ++count; it fails while
 * first <= number < first + n_failing. What fails does nothing but set errno; with errno 0 reads
 * and writes do one byte alone. Memory that is live is counted from the first call on. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* In the order of KINDS in faults.py. */
enum kind {
    MALLOC,
    READ,
    WRITE,
    ACCEPT,
    MMAP,
    OPEN,
    SYNC,
    FILE_READ,
    FILE_WRITE,
    SQLITE,
    EPOLL,
    THREAD,
    KIND_COUNT
};

struct faults {
    _Atomic int64_t clock_ahead_s; /* of the real-time clock alone */
    _Atomic int64_t live_blocks, live_bytes;
    struct {
        _Atomic int64_t count, first, n_failing, reason, n_failed;
    } kinds[KIND_COUNT];
};

static struct faults before_main; /* and where there is no file */
static _Atomic(struct faults *) shared = &before_main;

/* The next function of that name: the C library's, or the address sanitizer's. */
#define NEXT(name) next_##name(#name)
#define DEFINE_NEXT(name)                                                                          \
    static __typeof__(&(name)) next_##name(const char *symbol)                                     \
    {                                                                                              \
        static _Atomic(void *) found;                                                              \
        void *p = atomic_load_explicit(&found, memory_order_relaxed);                              \
        if (p == NULL) {                                                                           \
            p = dlsym(RTLD_NEXT, symbol);                                                          \
            atomic_store_explicit(&found, p, memory_order_relaxed);                                \
        }                                                                                          \
        __typeof__(&(name)) f;                                                                     \
        memcpy(&f, &p, sizeof f);                                                                  \
        return f;                                                                                  \
    }

DEFINE_NEXT(open)

__attribute__((constructor)) static void share(void)
{
    const char *path = getenv("FAULTS");
    int fd = path != NULL ? NEXT(open)(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) {
        return;
    }
    struct faults *f = mmap(NULL, sizeof *f, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (f != MAP_FAILED) {
        atomic_store(&shared, f);
    }
}

static int64_t armed_reason(enum kind k)
{
    return atomic_load(&atomic_load(&shared)->kinds[k].reason);
}

static bool fails(enum kind k)
{
    struct faults *f = atomic_load(&shared);
    int64_t number = atomic_fetch_add(&f->kinds[k].count, 1) + 1;
    int64_t first = atomic_load(&f->kinds[k].first);
    if (number < first || number - first >= atomic_load(&f->kinds[k].n_failing)) {
        return false;
    }
    atomic_fetch_add(&f->kinds[k].n_failed, 1);
    errno = (int)armed_reason(k);
    return true;
}

/* As fails(), for calls that can do a part of their work: *n becomes 1 then, if that is meant. */
static bool fails_or_shortens(enum kind k, size_t *n)
{
    if (!fails(k)) {
        return false;
    }
    if (errno != 0) {
        return true;
    }
    *n = *n > 1 ? 1 : *n;
    return false;
}

/* --- memory */

/* What dlsym() asks for while it looks for malloc(); never freed. */
static _Alignas(16) uint8_t early[64 << 10];
static _Atomic size_t n_early;
static _Thread_local bool is_looking;

static void *take_early(size_t n)
{
    size_t at = atomic_fetch_add(&n_early, (n + 15) & ~(size_t)15);
    return at + n <= sizeof early ? early + at : NULL;
}

static bool is_early(const void *p)
{
    return (const uint8_t *)p >= early && (const uint8_t *)p < early + sizeof early;
}

DEFINE_NEXT(malloc)
DEFINE_NEXT(calloc)
DEFINE_NEXT(realloc)
DEFINE_NEXT(free)
DEFINE_NEXT(posix_memalign)
DEFINE_NEXT(aligned_alloc)

/* libseccomp 2.5 goes on with null pointers when it finds no memory. It is asked once, before there
 * is anybody to serve. */
static bool is_excused(void *caller)
{
    Dl_info library;
    return dladdr(caller, &library) != 0 && strstr(library.dli_fname, "libseccomp") != NULL;
}

#define FAILS_MALLOC() (fails(MALLOC) && !is_excused(__builtin_return_address(0)))

static void *note(void *p)
{
    struct faults *f = atomic_load(&shared);
    if (p != NULL && f != &before_main) {
        atomic_fetch_add(&f->live_blocks, 1);
        atomic_fetch_add(&f->live_bytes, (int64_t)malloc_usable_size(p));
    }
    return p;
}

static void forget(void *p)
{
    struct faults *f = atomic_load(&shared);
    if (p != NULL && f != &before_main) {
        atomic_fetch_sub(&f->live_blocks, 1);
        atomic_fetch_sub(&f->live_bytes, (int64_t)malloc_usable_size(p));
    }
}

/* False while dlsym() is at it, which allocates and frees itself. */
static bool found_next(void)
{
    static _Atomic bool is_done;
    if (!atomic_load(&is_done) && !is_looking) {
        is_looking = true;
        atomic_store(&is_done, NEXT(malloc) != NULL && NEXT(calloc) != NULL &&
                                   NEXT(realloc) != NULL && NEXT(free) != NULL);
        is_looking = false;
    }
    return atomic_load(&is_done);
}

void *malloc(size_t n)
{
    if (!found_next()) {
        return take_early(n);
    }
    return FAILS_MALLOC() ? NULL : note(NEXT(malloc)(n));
}

void *calloc(size_t n, size_t size)
{
    if (!found_next()) {
        return take_early(n * size);
    }
    return FAILS_MALLOC() ? NULL : note(NEXT(calloc)(n, size));
}

void *realloc(void *p, size_t n)
{
    if (FAILS_MALLOC()) {
        return NULL;
    }
    if (p == NULL || is_early(p)) {
        void *copy = malloc(n);
        if (copy != NULL && p != NULL) {
            memcpy(copy, p, n);
        }
        return copy;
    }
    struct faults *f = atomic_load(&shared);
    int64_t before = f != &before_main ? (int64_t)malloc_usable_size(p) : 0;
    void *moved = NEXT(realloc)(p, n);
    if (moved != NULL && f != &before_main) {
        atomic_fetch_add(&f->live_bytes, (int64_t)malloc_usable_size(moved) - before);
    }
    return moved;
}

void free(void *p)
{
    if (!is_early(p) && found_next()) {
        int reason = errno;
        forget(p);
        NEXT(free)(p);
        errno = reason;
    }
}

int posix_memalign(void **out, size_t alignment, size_t n)
{
    int code = fails(MALLOC) ? ENOMEM : NEXT(posix_memalign)(out, alignment, n);
    if (code == 0) {
        note(*out);
    }
    return code;
}

void *aligned_alloc(size_t alignment, size_t n)
{
    return fails(MALLOC) ? NULL : note(NEXT(aligned_alloc)(alignment, n));
}

DEFINE_NEXT(mmap)

void *mmap(void *p, size_t n, int protection, int flags, int fd, off_t at)
{
    return fails(MMAP) ? MAP_FAILED : NEXT(mmap)(p, n, protection, flags, fd, at);
}

void *mmap64(void *p, size_t n, int protection, int flags, int fd, off_t at)
{
    return mmap(p, n, protection, flags, fd, at);
}

DEFINE_NEXT(pthread_create)

int pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *argument)
{
    return fails(THREAD) ? EAGAIN : NEXT(pthread_create)(out, attributes, run, argument);
}

/* --- sockets, pipes */

DEFINE_NEXT(read)
DEFINE_NEXT(readv)
DEFINE_NEXT(recv)
DEFINE_NEXT(write)
DEFINE_NEXT(writev)
DEFINE_NEXT(send)
DEFINE_NEXT(sendmsg)
DEFINE_NEXT(accept4)
DEFINE_NEXT(epoll_ctl)

ssize_t read(int fd, void *p, size_t n)
{
    return fails_or_shortens(READ, &n) ? -1 : NEXT(read)(fd, p, n);
}

ssize_t readv(int fd, const struct iovec *v, int n_parts)
{
    size_t n = v[0].iov_len;
    if (fails_or_shortens(READ, &n)) {
        return -1;
    }
    return n < v[0].iov_len ? NEXT(read)(fd, v[0].iov_base, n) : NEXT(readv)(fd, v, n_parts);
}

ssize_t recv(int fd, void *p, size_t n, int flags)
{
    return fails_or_shortens(READ, &n) ? -1 : NEXT(recv)(fd, p, n, flags);
}

ssize_t write(int fd, const void *p, size_t n)
{
    return fails_or_shortens(WRITE, &n) ? -1 : NEXT(write)(fd, p, n);
}

ssize_t writev(int fd, const struct iovec *v, int n_parts)
{
    size_t n = v[0].iov_len;
    if (fails_or_shortens(WRITE, &n)) {
        return -1;
    }
    return n < v[0].iov_len ? NEXT(write)(fd, v[0].iov_base, n) : NEXT(writev)(fd, v, n_parts);
}

ssize_t send(int fd, const void *p, size_t n, int flags)
{
    return fails_or_shortens(WRITE, &n) ? -1 : NEXT(send)(fd, p, n, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    return fails(WRITE) ? -1 : NEXT(sendmsg)(fd, message, flags);
}

int accept4(int fd, struct sockaddr *address, socklen_t *n, int flags)
{
    return fails(ACCEPT) ? -1 : NEXT(accept4)(fd, address, n, flags);
}

int epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
    return what == EPOLL_CTL_ADD && fails(EPOLL) ? -1 : NEXT(epoll_ctl)(epoll, what, fd, event);
}

/* --- files */

DEFINE_NEXT(openat)
DEFINE_NEXT(pread)
DEFINE_NEXT(pwrite)
DEFINE_NEXT(fsync)
DEFINE_NEXT(fdatasync)
DEFINE_NEXT(ftruncate)
DEFINE_NEXT(rename)

#define MODE_OF(last, mode)                                                                        \
    do {                                                                                           \
        va_list rest;                                                                              \
        va_start(rest, last);                                                                      \
        mode = va_arg(rest, mode_t);                                                               \
        va_end(rest);                                                                              \
    } while (0)

int open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    if ((flags & (O_CREAT | __O_TMPFILE)) != 0) {
        MODE_OF(flags, mode);
    }
    return fails(OPEN) ? -1 : NEXT(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    mode_t mode = 0;
    if ((flags & (O_CREAT | __O_TMPFILE)) != 0) {
        MODE_OF(flags, mode);
    }
    return fails(OPEN) ? -1 : NEXT(open)(path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
    mode_t mode = 0;
    if ((flags & (O_CREAT | __O_TMPFILE)) != 0) {
        MODE_OF(flags, mode);
    }
    return fails(OPEN) ? -1 : NEXT(openat)(folder, path, flags, mode);
}

ssize_t pread(int fd, void *p, size_t n, off_t at)
{
    return fails_or_shortens(FILE_READ, &n) ? -1 : NEXT(pread)(fd, p, n, at);
}

ssize_t pread64(int fd, void *p, size_t n, off_t at)
{
    return pread(fd, p, n, at);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    return fails_or_shortens(FILE_WRITE, &n) ? -1 : NEXT(pwrite)(fd, p, n, at);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off_t at)
{
    return pwrite(fd, p, n, at);
}

int ftruncate(int fd, off_t n)
{
    return fails(FILE_WRITE) ? -1 : NEXT(ftruncate)(fd, n);
}

int ftruncate64(int fd, off_t n)
{
    return ftruncate(fd, n);
}

int rename(const char *from, const char *to)
{
    return fails(FILE_WRITE) ? -1 : NEXT(rename)(from, to);
}

int fsync(int fd)
{
    return fails(SYNC) ? -1 : NEXT(fsync)(fd);
}

int fdatasync(int fd)
{
    return fails(SYNC) ? -1 : NEXT(fdatasync)(fd);
}

/* --- SQLite: a call that fails has an error of its library's; what it says of its last error is
 * that, until its next call */

static _Thread_local int sqlite_failed;
static _Thread_local bool is_within; /* a call of its own of another */

DEFINE_NEXT(sqlite3_open_v2)
DEFINE_NEXT(sqlite3_prepare_v2)
DEFINE_NEXT(sqlite3_step)
DEFINE_NEXT(sqlite3_exec)
DEFINE_NEXT(sqlite3_errcode)
DEFINE_NEXT(sqlite3_extended_errcode)
DEFINE_NEXT(sqlite3_errmsg)
DEFINE_NEXT(sqlite3_errstr)

static bool sqlite_fails(void)
{
    if (is_within) {
        return false;
    }
    sqlite_failed = fails(SQLITE) ? (int)armed_reason(SQLITE) : 0;
    return sqlite_failed != 0;
}

int sqlite3_open_v2(const char *path, sqlite3 **out, int flags, const char *system)
{
    bool is_failing = sqlite_fails();
    int code = NEXT(sqlite3_open_v2)(path, out, flags, system);
    return is_failing ? sqlite_failed : code;
}

int sqlite3_prepare_v2(sqlite3 *db, const char *sql, int n, sqlite3_stmt **out, const char **rest)
{
    if (sqlite_fails()) {
        *out = NULL;
        return sqlite_failed;
    }
    return NEXT(sqlite3_prepare_v2)(db, sql, n, out, rest);
}

int sqlite3_step(sqlite3_stmt *statement)
{
    return sqlite_fails() ? sqlite_failed : NEXT(sqlite3_step)(statement);
}

int sqlite3_exec(sqlite3 *db, const char *sql, int (*row)(void *, int, char **, char **),
                 void *argument, char **message)
{
    if (sqlite_fails()) {
        return sqlite_failed;
    }
    is_within = true;
    int code = NEXT(sqlite3_exec)(db, sql, row, argument, message);
    is_within = false;
    return code;
}

int sqlite3_errcode(sqlite3 *db)
{
    return sqlite_failed != 0 ? sqlite_failed & 0xFF : NEXT(sqlite3_errcode)(db);
}

int sqlite3_extended_errcode(sqlite3 *db)
{
    return sqlite_failed != 0 ? sqlite_failed : NEXT(sqlite3_extended_errcode)(db);
}

const char *sqlite3_errmsg(sqlite3 *db)
{
    return sqlite_failed != 0 ? NEXT(sqlite3_errstr)(sqlite_failed) : NEXT(sqlite3_errmsg)(db);
}

/* --- the clock of the world; that which only measures goes on */

DEFINE_NEXT(clock_gettime)

int clock_gettime(clockid_t id, struct timespec *t)
{
    int code = NEXT(clock_gettime)(id, t);
    if (code == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        t->tv_sec += atomic_load(&atomic_load(&shared)->clock_ahead_s);
    }
    return code;
}

time_t time(time_t *out)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out != NULL) {
        *out = t.tv_sec;
    }
    return t.tv_sec;
}

/* --- what the leak sanitizer, where there is one, shall not tell: OpenSSL 3.0 leaves behind what
 * it has made when its first calls run out of memory, names of algorithms and its context. Within
 * the sandbox only our own functions have names. */

const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:secret_digest\n"
           "leak:OBJ_NAME_do_all\n"
           "leak:OSSL_LIB_CTX_get0_global_default\n";
}
