/* repl_file.c - reads and replaces whole files. */
#include "cmd/repl_file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 16 };

static bool failed(struct str name, struct error *e)
{
    return error_set(e, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_IO, "%.*s: %s", STR_ARG(name),
                     strerror(errno));
}

static bool find_path(const struct cmd_env *env, struct str name, char path[PATH_MAX],
                      struct error *e)
{
    if (name.n == 0) {
        return error_set(e, ERROR_USAGE, "name a file");
    }
    bool in_home = str_starts_with(name, STR("~/")) && env->home != NULL;
    struct str rest = str_skip(name, in_home ? 1 : 0);
    int n = snprintf(path, PATH_MAX, "%s%.*s", in_home ? env->home : "", STR_ARG(rest));
    if (n < 0 || n >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return failed(name, e);
    }
    return true;
}

bool repl_file_read(const struct cmd_env *env, struct str name, struct buf *out, struct error *e)
{
    char path[PATH_MAX];
    if (!find_path(env, name, path, e)) {
        return false;
    }
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        return failed(name, e);
    }
    bool ok = true;
    size_t n = 1;
    while (ok && n > 0) {
        ok = buf_reserve(out, PIECE, e);
        n = ok ? fread(out->data + out->n, 1, PIECE, f) : 0;
        out->n += n;
        if (out->n > REPL_FILE_BYTES) {
            ok = error_set(e, ERROR_USAGE, "%.*s: more than %d MiB", STR_ARG(name),
                           REPL_FILE_BYTES >> 20);
        }
    }
    if (ok && ferror(f)) {
        ok = failed(name, e);
    }
    fclose(f);
    return ok;
}

/* The path that links lead to; a file of that name may not exist yet. */
static bool follow_links(struct str name, const char *path, char target[PATH_MAX], struct error *e)
{
    struct stat s;
    if (realpath(path, target) == NULL) {
        if (errno != ENOENT || lstat(path, &s) == 0) {
            return failed(name, e);
        }
        snprintf(target, PATH_MAX, "%s", path);
    } else if (stat(target, &s) == 0 && !S_ISREG(s.st_mode)) {
        return error_set(e, ERROR_USAGE, "%.*s is not a regular file", STR_ARG(name));
    } else if (access(target, W_OK) != 0 || !(s.st_mode & S_IWUSR)) { /* rename would not ask */
        errno = EACCES;
        return failed(name, e);
    }
    return true;
}

static bool write_all(int descriptor, struct str text)
{
    while (text.n > 0) {
        ssize_t n = write(descriptor, text.p, text.n);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        text = str_skip(text, n > 0 ? (size_t)n : 0);
    }
    return fsync(descriptor) == 0;
}

/* Written beside the file and renamed, so that the name never stands for half a text. */
bool repl_file_write(const struct cmd_env *env, struct str name, struct str text, struct error *e)
{
    char path[PATH_MAX], target[PATH_MAX], part[PATH_MAX + sizeof ".puna.XXXXXX"];
    if (!find_path(env, name, path, e) || !follow_links(name, path, target, e)) {
        return false;
    }
    const char *slash = strrchr(target, '/');
    int n_folder = slash != NULL ? (int)(slash + 1 - target) : 0;
    snprintf(part, sizeof part, "%.*s.puna.XXXXXX", n_folder, target);
    int descriptor = mkstemp(part); /* mode 0600 */
    if (descriptor < 0) {
        return failed(name, e);
    }
    bool ok = write_all(descriptor, text) || failed(name, e);
    if (close(descriptor) != 0 && ok) {
        ok = failed(name, e);
    }
    if (ok && rename(part, target) != 0) {
        ok = failed(name, e);
    }
    if (!ok) {
        unlink(part);
    }
    return ok;
}
