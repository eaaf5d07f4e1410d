/* numa.h - machines whose memory has nodes, each near to some of the CPUs: the nodes that this
 * process may use, and how rows of a matrix are shared out among them.
 *
 * Memory lies on the node of the thread that touches it first. So each node's threads touch the
 * rows of their share before the weights come, and multiply them first later on. Which thread
 * computes a row changes no bit of it. */
#ifndef BASE_NUMA_H
#define BASE_NUMA_H

#include <stdbool.h>
#include <stdint.h>

enum { NUMA_MAX_NODES = 16, NUMA_MAX_CPUS = 1024, NUMA_UNIT = 16 };

/* CPUs by node; nodes without a CPU that this process may use are left out. */
struct numa {
    unsigned n_nodes; /* 1 where the machine tells of none, or of more than fit here */
    uint64_t cpus[NUMA_MAX_NODES][NUMA_MAX_CPUS / 64];
};

/* Reads folder/node0/cpulist and so on; folder is /sys/devices/system/node but for tests. */
void numa_read(const char *folder, struct numa *out);

/* Lets the calling thread run on the node's CPUs alone. False, with nothing changed, when the
 * system refuses. */
bool numa_pin(const struct numa *n, unsigned node);

/* The node's share [*begin, *end) of n items: shares cover 0..n in order, and begin at multiples of
 * NUMA_UNIT. */
void numa_share(uint32_t n, unsigned node, unsigned n_nodes, uint32_t *begin, uint32_t *end);

#endif
