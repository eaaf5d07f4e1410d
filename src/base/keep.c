/* keep.c - names, looks through and bounds a folder of kept files. */
#include "base/keep.h"

#include "base/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define PART_SUFFIX ".XXXXXX"
enum {
    NAME_BYTES = KEEP_HEX_DIGITS + KEEP_SUFFIX_BYTES + 1,
    ABANDONED_S = 3600, /* a file that is being written changes all the time */
    MAX_OLDEST = 64,    /* files that one look through the folder can remove */
    LOOKS = 16          /* a folder is looked through again after a part of the limit was stored */
};

bool keep_path(const struct keep *k, const struct digest *name, char out[PATH_MAX], struct error *e)
{
    char hex[KEEP_HEX_DIGITS + 1];
    for (size_t i = 0; i < sizeof name->bytes; i++) {
        snprintf(hex + 2 * i, 3, "%02x", name->bytes[i]);
    }
    int n = snprintf(out, PATH_MAX, "%s/%s%s", k->folder, hex, k->suffix);
    return (n > 0 && n < PATH_MAX) ||
           error_set(e, ERROR_IO, "a path of %d bytes, at most %d are possible", n, PATH_MAX - 1);
}

/* 0 when it was not there before. */
static int make_folder(const struct keep *k)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", k->folder);
    path_make_parents(path);
    return mkdir(path, 0700) == 0 ? 0 : errno;
}

bool keep_make_folder(const struct keep *k, int *out_why_not, struct error *e)
{
    char inside[PATH_MAX];
    int n = snprintf(inside, sizeof inside, "%s/.", k->folder); /* of a folder, or a link to one */
    if (n < 0 || n >= (int)sizeof inside) {
        return error_set(e, ERROR_IO, "the name of the folder is too long");
    }
    int why_not_made = make_folder(k);
    if (faccessat(AT_FDCWD, inside, X_OK, AT_EACCESS) != 0) {
        int reason = errno == ENOENT && why_not_made != EEXIST ? why_not_made : errno;
        return error_set(e, ERROR_IO, "%s: %s", k->folder, strerror(reason));
    }
    *out_why_not = faccessat(AT_FDCWD, inside, R_OK | W_OK | X_OK, AT_EACCESS) != 0 ? errno : 0;
    return true;
}

int keep_open(const char *path)
{
    const int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    int fd = open(path, O_RDWR | flags);
    return fd < 0 && (errno == EACCES || errno == EROFS) ? open(path, O_RDONLY | flags) : fd;
}

/* --- the limit */

static bool has_suffix(const struct keep *k, const char *name)
{
    return strspn(name, "0123456789abcdef") == KEEP_HEX_DIGITS &&
           strncmp(name + KEEP_HEX_DIGITS, k->suffix, strlen(k->suffix)) == 0;
}

static bool is_kept_name(const struct keep *k, const char *name)
{
    return has_suffix(k, name) && name[KEEP_HEX_DIGITS + strlen(k->suffix)] == '\0';
}

static bool is_part_name(const struct keep *k, const char *name)
{
    size_t whole = KEEP_HEX_DIGITS + strlen(k->suffix);
    return has_suffix(k, name) && name[whole] == '.' &&
           strlen(name) == whole + sizeof PART_SUFFIX - 1;
}

struct kept_file {
    char name[NAME_BYTES];
    struct timespec use;
    uint64_t n_bytes;
};

/* What lies in the folder. */
struct survey {
    uint64_t n_bytes;
    size_t n_oldest;
    struct kept_file oldest[MAX_OLDEST]; /* the oldest first */
};

static bool is_older(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

static void count_file(struct survey *s, const char *name, const struct stat *file)
{
    s->n_bytes += (uint64_t)file->st_size;
    size_t i = s->n_oldest;
    while (i > 0 && is_older(&file->st_mtim, &s->oldest[i - 1].use)) {
        i--;
    }
    if (i == MAX_OLDEST) {
        return;
    }
    s->n_oldest += s->n_oldest < MAX_OLDEST;
    memmove(&s->oldest[i + 1], &s->oldest[i], (s->n_oldest - 1 - i) * sizeof s->oldest[0]);
    s->oldest[i] = (struct kept_file){.use = file->st_mtim, .n_bytes = (uint64_t)file->st_size};
    memcpy(s->oldest[i].name, name, strlen(name) + 1); /* of the length that names have */
}

/* Also removes what processes that were killed left behind. */
static void survey_folder(const struct keep *k, DIR *folder, struct survey *out)
{
    out->n_bytes = 0;
    out->n_oldest = 0;
    rewinddir(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        const char *name = entry->d_name;
        bool is_kept = is_kept_name(k, name);
        struct stat s;
        if ((!is_kept && !is_part_name(k, name)) ||
            fstatat(dirfd(folder), name, &s, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(s.st_mode)) {
            continue;
        }
        if (is_kept) {
            count_file(out, name, &s);
        } else if (s.st_mtim.tv_sec < time(NULL) - ABANDONED_S) {
            unlinkat(dirfd(folder), name, 0);
        }
    }
}

/* Removes the oldest of the survey; false when that cannot be. */
static bool remove_oldest(DIR *folder, struct survey *s, uint64_t most_bytes)
{
    for (size_t i = 0; i < s->n_oldest && s->n_bytes > most_bytes; i++) {
        if (unlinkat(dirfd(folder), s->oldest[i].name, 0) != 0 && errno != ENOENT) {
            return false;
        }
        s->n_bytes -= s->oldest[i].n_bytes;
    }
    return s->n_oldest > 0;
}

void keep_trim(struct keep *k, uint64_t most_bytes)
{
    DIR *folder = opendir(k->folder);
    if (folder == NULL) {
        return;
    }
    struct survey survey;
    survey_folder(k, folder, &survey);
    while (survey.n_bytes > most_bytes && remove_oldest(folder, &survey, most_bytes)) {
        survey_folder(k, folder, &survey);
    }
    k->n_bytes = survey.n_bytes;
    k->n_unseen = k->limit_bytes / LOOKS;
    closedir(folder);
}

/* Many small files do not look through the folder each: what this process stored is added up, and
 * a look makes room for more than one of them. */
static void make_room(struct keep *k, uint64_t n_bytes)
{
    bool exceeds = k->n_bytes + n_bytes > k->limit_bytes;
    if (exceeds || k->n_unseen < n_bytes) {
        uint64_t more = k->limit_bytes / LOOKS;
        keep_trim(k, k->limit_bytes - (exceeds && more > n_bytes ? more : n_bytes));
    }
    k->n_unseen -= k->n_unseen < n_bytes ? k->n_unseen : n_bytes;
    k->n_bytes += n_bytes;
}

bool keep_make_room(struct keep *k, uint64_t n_bytes, uint64_t *out_free, struct error *e)
{
    struct rlimit most;
    struct statvfs disk;
    if (n_bytes > k->limit_bytes) {
        return error_set(e, ERROR_IO, "%llu bytes are more than the limit of the folder, %llu",
                         (unsigned long long)n_bytes, (unsigned long long)k->limit_bytes);
    }
    if (getrlimit(RLIMIT_FSIZE, &most) == 0 && n_bytes > most.rlim_cur) { /* would be a signal */
        return error_set(e, ERROR_IO, "%llu bytes are more than a file may have here, %llu",
                         (unsigned long long)n_bytes, (unsigned long long)most.rlim_cur);
    }
    make_folder(k);
    make_room(k, n_bytes);
    if (statvfs(k->folder, &disk) != 0) {
        return error_set(e, ERROR_IO, "%s", strerror(errno));
    }
    *out_free = (uint64_t)disk.f_bavail * disk.f_frsize;
    return true;
}

/* --- storing */

int keep_create(const char *path, char part[KEEP_PART_BYTES], struct error *e)
{
    snprintf(part, KEEP_PART_BYTES, "%s" PART_SUFFIX, path);
    int fd = mkostemp(part, O_CLOEXEC); /* mode 0600 */
    if (fd < 0) {
        error_set(e, ERROR_IO, "%s", strerror(errno));
    }
    return fd;
}

bool keep_finish(int fd, const char *part, const char *path, bool ok, struct error *e)
{
    if (close(fd) != 0 && ok) {
        ok = error_set(e, ERROR_IO, "%s", strerror(errno));
    }
    if (ok && rename(part, path) != 0) {
        ok = error_set(e, ERROR_IO, "%s", strerror(errno));
    }
    if (!ok) {
        unlink(part);
    }
    return ok;
}
