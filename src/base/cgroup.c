/* cgroup.c - limits of control groups, from the process's own one up. */
#include "base/cgroup.h"

#include "base/file.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { MAX_PATH = 2 * PATH_MAX };

/* path = the folder of the group that the line "0::/a/b" of self names. The root where there is no
 * such line, or where the group lies outside of what is shown ("/../c"). */
static void find_own(const char *root, const char *self, char path[MAX_PATH])
{
    static const char key[] = "0::/", outside[] = "0::/..";
    char line[PATH_MAX];
    FILE *f = fopen(self, "r");
    snprintf(path, MAX_PATH, "%s", root);
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, key, sizeof key - 1) == 0 &&
            strncmp(line, outside, sizeof outside - 1) != 0) {
            line[strcspn(line, "\n")] = 0;
            snprintf(path, MAX_PATH, "%s%s", root, line + 3);
        }
    }
    if (f != NULL) {
        fclose(f);
    }
}

/* False at the root. */
static bool go_up(char *path, size_t n_root)
{
    char *slash = strrchr(path + n_root, '/');
    if (slash != NULL) {
        *slash = 0;
    }
    return slash != NULL;
}

static bool read_limit(const char *folder, const char *name, const char *key, uint64_t *out)
{
    char path[MAX_PATH + 32];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return file_find_number(path, key, out);
}

static uint64_t difference(uint64_t limit, uint64_t used)
{
    return limit > used ? limit - used : 0;
}

/* Of the machine's free swap, what the group may still have: all of it without a limit. */
static uint64_t swap_left(const char *folder, uint64_t free_swap)
{
    uint64_t limit, used = 0;
    if (!read_limit(folder, "memory.swap.max", "", &limit)) {
        return free_swap;
    }
    read_limit(folder, "memory.swap.current", "", &used);
    uint64_t left = difference(limit, used);
    return left < free_swap ? left : free_swap;
}

uint64_t cgroup_memory_left(const char *root, const char *self, uint64_t free_swap)
{
    char path[MAX_PATH];
    uint64_t least = UINT64_MAX;
    find_own(root, self, path);
    do {
        uint64_t limit, used = 0;
        if (read_limit(path, "memory.max", "", &limit)) { /* "max" is no number */
            read_limit(path, "memory.stat", "anon ", &used);
            uint64_t left = difference(limit, used) + swap_left(path, free_swap);
            least = left < least ? left : least;
        }
    } while (go_up(path, strlen(root)));
    return least;
}

/* Of one group, in whole CPUs; 0: none. */
static unsigned read_quota(const char *folder)
{
    char path[MAX_PATH + 32];
    unsigned long quota = 0, period = 0;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    FILE *f = fopen(path, "r");
    int n = f != NULL ? fscanf(f, "%lu %lu", &quota, &period) : 0;
    if (f != NULL) {
        fclose(f);
    }
    return n == 2 && period > 0 ? (unsigned)((quota + period - 1) / period) : 0;
}

unsigned cgroup_cpus(const char *root, const char *self)
{
    char path[MAX_PATH];
    unsigned least = 0;
    find_own(root, self, path);
    do {
        unsigned n = read_quota(path);
        least = n > 0 && (least == 0 || n < least) ? n : least;
    } while (go_up(path, strlen(root)));
    return least;
}
