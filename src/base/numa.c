/* numa.c - NUMA nodes as Linux tells of them. */
#include "base/numa.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

enum { MAX_NODE_NUMBER = 1024 };

/* Adds the CPUs of a list such as "0-3,8,10-11\n" that are in `allowed`; false for all else. The
 * list of a node that is memory alone is "\n". */
static bool add_cpus(FILE *f, const cpu_set_t *allowed, uint64_t cpus[NUMA_MAX_CPUS / 64])
{
    unsigned first, last;
    int end = fgetc(f);
    if (end == '\n') {
        return true;
    }
    ungetc(end, f);
    end = ',';
    while (end == ',' && fscanf(f, "%9u", &first) == 1) {
        last = first;
        end = fgetc(f);
        if (end == '-') {
            if (fscanf(f, "%9u", &last) != 1) {
                return false;
            }
            end = fgetc(f);
        }
        if (last < first || last >= NUMA_MAX_CPUS) {
            return false;
        }
        for (unsigned cpu = first; cpu <= last; cpu++) {
            if (CPU_ISSET(cpu, allowed)) {
                cpus[cpu / 64] |= UINT64_C(1) << cpu % 64;
            }
        }
    }
    return end == '\n' || end == EOF;
}

static bool is_empty(const uint64_t cpus[NUMA_MAX_CPUS / 64])
{
    for (unsigned i = 0; i < NUMA_MAX_CPUS / 64; i++) {
        if (cpus[i] != 0) {
            return false;
        }
    }
    return true;
}

/* False when there are lists that cannot be read, or too many of them. */
static bool read_nodes(const char *folder, const cpu_set_t *allowed, struct numa *out)
{
    for (unsigned i = 0; i < MAX_NODE_NUMBER; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/node%u/cpulist", folder, i);
        FILE *f = fopen(path, "r");
        if (f == NULL) {
            continue; /* numbers may have gaps */
        }
        uint64_t cpus[NUMA_MAX_CPUS / 64] = {0};
        bool ok = add_cpus(f, allowed, cpus);
        fclose(f);
        if (!ok || (!is_empty(cpus) && out->n_nodes == NUMA_MAX_NODES)) {
            return false;
        }
        if (!is_empty(cpus)) {
            memcpy(out->cpus[out->n_nodes++], cpus, sizeof cpus);
        }
    }
    return out->n_nodes > 0;
}

void numa_read(const char *folder, struct numa *out)
{
    cpu_set_t allowed;
    *out = (struct numa){0};
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || !read_nodes(folder, &allowed, out)) {
        *out = (struct numa){.n_nodes = 1};
    }
}

bool numa_pin(const struct numa *n, unsigned node)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (unsigned cpu = 0; cpu < NUMA_MAX_CPUS; cpu++) {
        if (n->cpus[node][cpu / 64] >> cpu % 64 & 1) {
            CPU_SET(cpu, &set);
        }
    }
    return sched_setaffinity(0, sizeof set, &set) == 0;
}

void numa_share(uint32_t n, unsigned node, unsigned n_nodes, uint32_t *begin, uint32_t *end)
{
    uint64_t units = ((uint64_t)n + NUMA_UNIT - 1) / NUMA_UNIT;
    uint64_t first = units * node / n_nodes * NUMA_UNIT;
    uint64_t last = units * (node + 1) / n_nodes * NUMA_UNIT;
    *begin = first < n ? (uint32_t)first : n;
    *end = last < n ? (uint32_t)last : n;
}
