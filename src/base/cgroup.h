/* cgroup.h - what the control groups (v2) that this process is in leave to it: its own one, as
 * systemd makes it for a service (MemoryMax=, CPUQuota=), and those above it up to the root, which
 * in a container is the container's. The smallest limit counts.
 * Threads: both functions are thread-safe. */
#ifndef BASE_CGROUP_H
#define BASE_CGROUP_H

#include <stdint.h>

/* Where the kernel tells of them; tests have others. */
#define CGROUP_ROOT "/sys/fs/cgroup"
#define CGROUP_SELF "/proc/self/cgroup"

/* Bytes that can be taken before a limit is reached, file pages counted as free, and of the
 * machine's free swap what each group may have; UINT64_MAX: there is no limit. */
uint64_t cgroup_memory_left(const char *root, const char *self, uint64_t free_swap);

/* The quota in whole CPUs, rounded up; 0: there is none. */
unsigned cgroup_cpus(const char *root, const char *self);

#endif
