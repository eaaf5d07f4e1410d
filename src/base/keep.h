/* keep.h - a folder of files that are kept for the next start: each under a name of 32 hexadecimal
 * digits and a suffix, whole or not at all; those that were not used for longest are removed where
 * all together exceed a limit. The time of the last write of a file is that of its last use.
 *
 * Several processes may use a folder at once: who finishes a file last wins, and no name ever
 * stands for half a file. While it is written a file is called by its later name and ".XXXXXX";
 * what killed processes left of that kind is removed when it was not written to for an hour.
 * One thread at a time. */
#ifndef BASE_KEEP_H
#define BASE_KEEP_H

#include "base/digest.h"
#include "base/error.h"

#include <limits.h>

struct keep {
    const char *folder; /* made, for its owner alone, when something is stored */
    const char *suffix; /* ".packed"; KEEP_SUFFIX_BYTES at most */
    uint64_t limit_bytes;
    uint64_t n_bytes;  /* of the files at the last look and of those stored since */
    uint64_t n_unseen; /* bytes that may be stored before the next look; starts at 0 */
};

enum { KEEP_HEX_DIGITS = 32, KEEP_SUFFIX_BYTES = 8, KEEP_PART_BYTES = PATH_MAX + 8 };

/* Path of the file that is named by a digest. ERROR_IO when it is too long. */
bool keep_path(const struct keep *k, const struct digest *name, char out[PATH_MAX],
               struct error *e);

/* Makes the folder. *out_why_not = 0, or the errno for which nothing can be stored there, while
 * files can be opened. ERROR_IO, naming the folder, when they cannot. */
bool keep_make_folder(const struct keep *k, int *out_why_not, struct error *e);

/* Opens a file, for writing where that is allowed: its times may change. -1 and errno. */
int keep_open(const char *path);

/* Makes the folder, and room for a file of n_bytes. *out_free = what the disk has left. ERROR_IO
 * with the numbers when it exceeds the limit of the folder or what a file may have. */
bool keep_make_room(struct keep *k, uint64_t n_bytes, uint64_t *out_free, struct error *e);

/* Removes the files that were not used for longest until the others have most_bytes at most. */
void keep_trim(struct keep *k, uint64_t most_bytes);

/* A new file, readable and writable by its owner alone, under a name for the time being; -1 with
 * ERROR_IO. */
int keep_create(const char *path, char part[KEEP_PART_BYTES], struct error *e);

/* Closes it and, when all went well (ok), gives it its name; otherwise removes it and returns
 * false. */
bool keep_finish(int fd, const char *part, const char *path, bool ok, struct error *e);

#endif
