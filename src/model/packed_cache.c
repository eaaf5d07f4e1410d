/* packed_cache.c - finds, judges, stores and forgets files of packed weights. */
#include "model/packed_cache.h"

#include "base/path.h"
#include "quant/pack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

/* A file is called 32 hexadecimal digits and ".packed"; while it is written ".XXXXXX" follows. */
#define SUFFIX      ".packed"
#define PART_SUFFIX ".XXXXXX"
enum {
    HEX_DIGITS = 32,
    NAME_LENGTH = HEX_DIGITS + sizeof SUFFIX - 1,
    PART_LENGTH = NAME_LENGTH + sizeof PART_SUFFIX - 1,
    ABANDONED_S = 3600 /* a file that is being written changes all the time */
};

/* --- notes */

static void tell(const struct packed_cache *c, const char *what, const char *why,
                 const char *consequence)
{
    char text[PATH_MAX + ERROR_TEXT_BYTES + 100];
    snprintf(text, sizeof text, "%s: %s; %s", what, why, consequence);
    model_watch_note(&c->watch, text);
}

static void let_go(struct packed_cache *c)
{
    packed_file_finish(&c->file);
    if (c->fd >= 0) {
        close(c->fd);
    }
    c->fd = -1;
}

/* What is wrong with a file stays wrong; what went wrong around it does not. */
static void reject(struct packed_cache *c, const struct error *e)
{
    tell(c, c->path, e->text, "the model is packed again");
    let_go(c);
    if (e->code == ERROR_FORMAT) {
        unlink(c->path);
    }
    c->state = PACKED_CACHE_ABSENT;
}

/* --- the folder */

static bool is_hex(const char *name)
{
    return strspn(name, "0123456789abcdef") == HEX_DIGITS;
}

static bool is_packed_name(const char *name)
{
    return strlen(name) == NAME_LENGTH && is_hex(name) && strcmp(name + HEX_DIGITS, SUFFIX) == 0;
}

static bool is_part_name(const char *name)
{
    return strlen(name) == PART_LENGTH && is_hex(name) &&
           strncmp(name + HEX_DIGITS, SUFFIX ".", sizeof SUFFIX) == 0;
}

static bool is_older(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

/* What lies in the folder; the time of the last write of a file is that of its last use. */
struct survey {
    uint64_t n_bytes;
    char oldest[NAME_LENGTH + 1]; /* "" when there is none */
    struct timespec oldest_use;
};

static void count_file(struct survey *s, const char *name, const struct stat *file)
{
    s->n_bytes += (uint64_t)file->st_size;
    if (s->oldest[0] == '\0' || is_older(&file->st_mtim, &s->oldest_use)) {
        memcpy(s->oldest, name, sizeof s->oldest); /* names have one length */
        s->oldest_use = file->st_mtim;
    }
}

/* Also removes what processes that were killed left behind. */
static void survey_folder(DIR *folder, struct survey *out)
{
    *out = (struct survey){0};
    rewinddir(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        const char *name = entry->d_name;
        struct stat s;
        if ((!is_packed_name(name) && !is_part_name(name)) ||
            fstatat(dirfd(folder), name, &s, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(s.st_mode)) {
            continue;
        }
        if (is_packed_name(name)) {
            count_file(out, name, &s);
        } else if (s.st_mtim.tv_sec < time(NULL) - ABANDONED_S) {
            unlinkat(dirfd(folder), name, 0);
        }
    }
}

/* Removes the files that were not used for longest until the others have limit_bytes at most. */
static void trim_folder(const char *path, uint64_t limit_bytes)
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return;
    }
    struct survey survey;
    survey_folder(folder, &survey);
    while (survey.n_bytes > limit_bytes && survey.oldest[0] != '\0' &&
           unlinkat(dirfd(folder), survey.oldest, 0) == 0) {
        survey_folder(folder, &survey);
    }
    closedir(folder);
}

/* --- reading */

static bool name_file(struct packed_cache *c, struct error *e)
{
    const struct packed_cache_options *o = &c->options;
    char resolved[PATH_MAX], hex[HEX_DIGITS + 1];
    if (o->folder == NULL) {
        return error_set(e, ERROR_NOT_FOUND, "neither XDG_CACHE_HOME nor HOME names a place");
    }
    if (realpath(o->model_path, resolved) == NULL) {
        return error_set(e, ERROR_IO, "%s: %s", o->model_path, strerror(errno));
    }
    struct digest d = digest_of(resolved, strlen(resolved));
    for (size_t i = 0; i < sizeof d.bytes; i++) {
        snprintf(hex + 2 * i, 3, "%02x", d.bytes[i]);
    }
    int n = snprintf(c->path, sizeof c->path, "%s/%s" SUFFIX, o->folder, hex);
    return (n > 0 && (size_t)n < sizeof c->path) ||
           error_set(e, ERROR_IO, "the name of the folder is too long");
}

/* For writing where that is allowed: its times and the model's identity may change. */
static int open_file(const char *path)
{
    const int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    int fd = open(path, O_RDWR | flags);
    return fd < 0 && (errno == EACCES || errno == EROFS) ? open(path, O_RDONLY | flags) : fd;
}

static bool check_file(struct packed_cache *c, struct error *e)
{
    if (!packed_file_open(&c->file, c->fd, e)) {
        return false;
    }
    const struct packed_head *head = &c->file.head;
    if (!digest_eq(head->layout, c->wanted.layout)) {
        return error_set(e, ERROR_FORMAT, "it is of a puna that packs otherwise");
    }
    if (head->n_bytes != c->wanted.n_bytes) {
        return error_set(e, ERROR_FORMAT, "the model has changed: %llu bytes of weights, now %llu",
                         (unsigned long long)head->n_bytes, (unsigned long long)c->wanted.n_bytes);
    }
    return true;
}

static bool knows_identity(const struct packed_cache *c)
{
    return !digest_eq(c->wanted.identity, (struct digest){0});
}

static void find_file(struct packed_cache *c)
{
    struct error e = {0};
    c->state = PACKED_CACHE_ABSENT;
    c->fd = open_file(c->path);
    if (c->fd < 0) {
        if (errno != ENOENT && errno != ENOTDIR) {
            error_set(&e, ERROR_IO, "cannot be opened: %s", strerror(errno));
            reject(c, &e);
        }
        return;
    }
    if (!check_file(c, &e)) {
        reject(c, &e);
        return;
    }
    bool same = knows_identity(c) && digest_eq(c->file.head.identity, c->wanted.identity);
    c->state = same ? PACKED_CACHE_VALID : PACKED_CACHE_UNSURE;
}

void packed_cache_open(struct packed_cache *c, const struct packed_cache_options *options,
                       const struct model_watch *watch, const struct gguf *g, uint64_t n_bytes)
{
    *c = (struct packed_cache){
        .options = *options, .watch = *watch, .fd = -1, .wanted = {.n_bytes = n_bytes}};
    if (n_bytes < options->min_bytes) {
        return;
    }
    struct error e = {0};
    gguf_identity(g, &c->wanted.identity);
    if (!name_file(c, &e) || !pack_layout_digest(&c->wanted.layout, &e)) {
        tell(c, "packed weights", e.text, "they are not kept");
        return;
    }
    find_file(c);
}

void packed_cache_close(struct packed_cache *c)
{
    let_go(c);
}

void packed_cache_confirm(struct packed_cache *c, const struct digest *content)
{
    if (digest_eq(c->file.head.content, *content)) {
        c->state = PACKED_CACHE_VALID;
        return;
    }
    struct error e;
    error_set(&e, ERROR_FORMAT, "the model has changed");
    reject(c, &e);
}

bool packed_cache_read(struct packed_cache *c, uint8_t *dst, struct pool *pool)
{
    struct error e = {0};
    if (!packed_file_read(&c->file, dst, pool, &c->watch, &e)) {
        reject(c, &e);
        return false;
    }
    if (knows_identity(c) && !digest_eq(c->file.head.identity, c->wanted.identity)) {
        packed_file_identify(c->fd, &c->wanted.identity);
    }
    futimens(c->fd, NULL);
    trim_folder(c->options.folder, c->options.limit_bytes);
    return true;
}

/* --- storing */

static bool make_room(struct packed_cache *c, struct error *e)
{
    const struct packed_cache_options *o = &c->options;
    unsigned long long needed = packed_file_bytes(c->wanted.n_bytes);
    struct rlimit most;
    struct statvfs disk;
    if (needed == 0 || needed > o->limit_bytes) {
        return error_set(e, ERROR_IO, "%llu bytes are more than the limit of the folder, %llu",
                         (unsigned long long)c->wanted.n_bytes, (unsigned long long)o->limit_bytes);
    }
    if (getrlimit(RLIMIT_FSIZE, &most) == 0 && needed > most.rlim_cur) { /* would be a signal */
        return error_set(e, ERROR_IO, "%llu bytes are more than a file may have here, %llu", needed,
                         (unsigned long long)most.rlim_cur);
    }
    path_make_parents(c->path);
    trim_folder(o->folder, o->limit_bytes - needed);
    if (statvfs(o->folder, &disk) != 0) {
        return error_set(e, ERROR_IO, "%s", strerror(errno));
    }
    unsigned long long free_bytes = (unsigned long long)disk.f_bavail * disk.f_frsize;
    return needed <= free_bytes / 2 ||
           error_set(e, ERROR_IO, "%llu bytes are more than half of the %llu that are free", needed,
                     free_bytes);
}

/* Under another name in the same folder, then renamed: the name never stands for half a file. */
static bool write_file(struct packed_cache *c, const uint8_t *src, struct pool *pool,
                       struct error *e)
{
    char part[PATH_MAX + sizeof PART_SUFFIX];
    snprintf(part, sizeof part, "%s" PART_SUFFIX, c->path);
    int fd = mkostemp(part, O_CLOEXEC); /* mode 0600 */
    if (fd < 0) {
        return error_set(e, ERROR_IO, "%s", strerror(errno));
    }
    bool ok = packed_file_write(fd, &c->wanted, src, pool, &c->watch, e);
    if (close(fd) != 0 && ok) {
        ok = error_set(e, ERROR_IO, "%s", strerror(errno));
    }
    if (ok && rename(part, c->path) != 0) {
        ok = error_set(e, ERROR_IO, "%s", strerror(errno));
    }
    if (!ok) {
        unlink(part);
    }
    return ok;
}

/* Signals that end the program wait until the half-written file is gone. */
void packed_cache_store(struct packed_cache *c, const struct digest *content, const uint8_t *src,
                        struct pool *pool)
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    sigset_t set, before;
    struct error e = {0};
    if (c->state != PACKED_CACHE_ABSENT) {
        return;
    }
    c->wanted.content = *content;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++) {
        sigaddset(&set, ending[i]);
    }
    pthread_sigmask(SIG_BLOCK, &set, &before);
    bool ok = make_room(c, &e) && write_file(c, src, pool, &e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!ok) {
        tell(c, c->options.folder, e.text, "packed weights are not kept");
    }
}
