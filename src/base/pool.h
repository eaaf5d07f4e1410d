/* pool.h - a fixed team of threads that runs one function at a time, all threads together.
 *
 * pool_run() is a phase: the caller and every worker that comes in time call fn, and pool_run
 * returns when all who came have finished. Work inside a phase is divided by pool_next_chunk(). So
 * a thread whose core was taken away costs a chunk at most, and nothing when it was away between
 * phases: who is late is not waited for. Between phases workers spin briefly, then sleep on a
 * futex. Where the machine's memory has nodes (numa.h), every node has its threads, which stay on
 * its CPUs.
 * Owner/threads: one thread at a time calls pool_run; it is thread 0 of the team. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/error.h"
#include "base/numa.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct pool;

/* thread is 0 .. pool_n_threads-1 */
typedef void pool_fn(void *argument, unsigned thread);

/* n_threads >= 1 (1 starts no thread), shared out among the machine's NUMA nodes. On failure
 * returns NULL with *e set. */
struct pool *pool_create(unsigned n_threads, struct error *e);

/* The same for nodes that the caller describes; without CPUs they are imagined, and no thread is
 * held to any. For tests. */
struct pool *pool_create_on(unsigned n_threads, const struct numa *numa, struct error *e);
void pool_destroy(struct pool *p);
unsigned pool_n_threads(const struct pool *p);

/* Nodes that have threads, and the node of a thread. */
unsigned pool_n_nodes(const struct pool *p);
unsigned pool_node_of(const struct pool *p, unsigned thread);

/* Shares of one thread each, or of a few where there are many threads, that lie within their nodes'
 * shares; and the one of a thread. */
unsigned pool_n_shares(const struct pool *p);
unsigned pool_share_of(const struct pool *p, unsigned thread);

/* Runs fn(argument, 0) on the calling thread and fn(argument, t) on the threads t that come before
 * it has returned (once, or seldom twice in turn), and waits for them. fn must do all the work
 * whoever comes. Must not be nested. */
void pool_run(struct pool *p, pool_fn *fn, void *argument);

/* The next chunk [*begin, *end) of 0..n in steps of `chunk`, false when none is left.
 * *counter starts at 0 and is shared by the threads of a phase. */
static inline bool pool_next_chunk(_Atomic uint32_t *counter, uint32_t n, uint32_t chunk,
                                   uint32_t *begin, uint32_t *end)
{
    uint32_t first = atomic_fetch_add_explicit(counter, chunk, memory_order_relaxed);
    if (first >= n) {
        return false;
    }
    *begin = first;
    *end = n - first < chunk ? n : first + chunk;
    return true;
}

/* Items 0..n in n_shares shares, one a node or pool_n_shares(), given out in chunks to the threads
 * of a phase. */
struct pool_shares {
    unsigned n_shares;
    uint32_t n, chunk;
    _Atomic uint32_t taken[NUMA_MAX_NODES]; /* of each share; starts at 0 */
};

/* The next chunk of a share, false when none is left. */
static inline bool pool_next_of_share(struct pool_shares *s, unsigned share, uint32_t *begin,
                                      uint32_t *end)
{
    uint32_t first, last;
    numa_share(s->n, share, s->n_shares, &first, &last);
    if (!pool_next_chunk(&s->taken[share], last - first, s->chunk, begin, end)) {
        return false;
    }
    *begin += first;
    *end += first;
    return true;
}

/* CPUs this process may use: the smaller of the affinity mask and the cgroup quota; at least 1. */
unsigned pool_default_threads(void);

#endif
