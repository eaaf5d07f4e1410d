/* file.c - reads and writes until all is moved; looks for numbers. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool file_read_at(int fd, void *dst, size_t n_bytes, uint64_t offset, struct error *e)
{
    char *p = dst;
    while (n_bytes > 0) {
        ssize_t n = pread(fd, p, n_bytes, (off_t)offset);
        if (n == 0) {
            return error_set(e, ERROR_FORMAT, "the file ends at byte %llu",
                             (unsigned long long)offset);
        }
        if (n < 0 && errno != EINTR) {
            return error_set(e, ERROR_IO, "cannot be read: %s", strerror(errno));
        }
        size_t done = n > 0 ? (size_t)n : 0;
        p += done;
        offset += done;
        n_bytes -= done;
    }
    return true;
}

bool file_write_at(int fd, const void *src, size_t n_bytes, uint64_t offset, struct error *e)
{
    const char *p = src;
    while (n_bytes > 0) {
        ssize_t n = pwrite(fd, p, n_bytes, (off_t)offset);
        if (n < 0 && errno != EINTR) {
            return error_set(e, ERROR_IO, "cannot be written: %s", strerror(errno));
        }
        size_t done = n > 0 ? (size_t)n : 0;
        p += done;
        offset += done;
        n_bytes -= done;
    }
    return true;
}

bool file_reserve(int fd, uint64_t n_bytes, struct error *e)
{
    if (fallocate(fd, 0, 0, (off_t)n_bytes) == 0 ||
        (errno != ENOSPC && errno != EDQUOT && errno != EFBIG)) {
        return true;
    }
    return error_set(e, ERROR_IO, "%llu bytes cannot be written: %s", (unsigned long long)n_bytes,
                     strerror(errno));
}

bool file_size(int fd, uint64_t *out, struct error *e)
{
    struct stat s;
    if (fstat(fd, &s) != 0) {
        return error_set(e, ERROR_IO, "cannot be examined: %s", strerror(errno));
    }
    if (!S_ISREG(s.st_mode)) {
        return error_set(e, ERROR_FORMAT, "not a regular file");
    }
    *out = (uint64_t)s.st_size;
    return true;
}

enum { LINE_BYTES = 256 };

bool file_find_number(const char *path, const char *key, uint64_t *out)
{
    FILE *f = fopen(path, "r");
    char line[LINE_BYTES];
    size_t n = strlen(key);
    bool found = false;
    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
        unsigned long long value;
        found = strncmp(line, key, n) == 0 && sscanf(line + n, "%llu", &value) == 1;
        *out = found ? value : *out;
    }
    if (f != NULL) {
        fclose(f);
    }
    return found;
}
