/* scratch.h - a file of this process alone for targets whose code wants one by its name: in memory,
 * where the system has such a folder, as it is written thousands of times a second. */
#ifndef TESTS_FUZZ_SCRATCH_H
#define TESTS_FUZZ_SCRATCH_H

#include "require.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SCRATCH_PATH_BYTES = 80 };

static inline void scratch_name(const char *what, char out[SCRATCH_PATH_BYTES])
{
    const char *folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(out, SCRATCH_PATH_BYTES, "%s/puna-fuzz-%s-%d", folder, what, (int)getpid());
}

static inline void scratch_write(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    require(f != NULL);
    require(fwrite(bytes, 1, n, f) == n);
    require(fclose(f) == 0);
}

/* With what SQLite leaves beside it. */
static inline void scratch_remove(const char *path)
{
    char journal[SCRATCH_PATH_BYTES + 16];
    snprintf(journal, sizeof journal, "%s-journal", path);
    unlink(journal);
    unlink(path);
}

#endif
