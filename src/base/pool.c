/* pool.c - the thread team: an epoch counter tells of a phase, a gate lets workers in and is waited
 * at until all have left. Both are waited for by spinning shortly and then sleeping on a futex. */
#include "base/pool.h"

#include "base/cgroup.h"
#include "base/mem.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* About 20 microseconds of spinning: longer than the serial gaps inside a forward pass, short
 * enough that an idle program does not burn a core. */
enum { SPIN_ROUNDS = 4000, CACHE_LINE = 64, MAX_CPUS = 1 << 20 };

#define GATE_OPEN (UINT32_C(1) << 31)

struct pool {
    _Atomic uint32_t epoch; /* increases by one a phase */
    char pad_epoch[CACHE_LINE];
    _Atomic uint32_t gate; /* workers inside the phase, and GATE_OPEN while more may enter */
    char pad_gate[CACHE_LINE];
    _Atomic uint32_t n_asleep;
    pool_fn *fn;
    void *argument;
    _Atomic bool stopping;
    unsigned n_threads, n_nodes;
    unsigned n_started;
    struct numa numa; /* n_nodes of them; none has CPUs when they are imagined */
    bool pins;
    struct worker {
        struct pool *pool;
        unsigned index;
        pthread_t thread;
    } * workers; /* (n_threads), entry 0 unused: it is the caller */
};

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("" ::: "memory");
#endif
}

static void futex_wait(_Atomic uint32_t *word, uint32_t expected)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/* Returns when *word is no longer `old`. */
static void wait_for_change(struct pool *p, _Atomic uint32_t *word, uint32_t old)
{
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != old) {
            return;
        }
        cpu_relax();
    }
    atomic_fetch_add(&p->n_asleep, 1);
    while (atomic_load(word) == old) {
        futex_wait(word, old);
    }
    atomic_fetch_sub(&p->n_asleep, 1);
}

/* True when the phase still lets workers in: it then waits for this one to leave. */
static bool enter_phase(struct pool *p)
{
    uint32_t gate = atomic_load(&p->gate);
    while (gate & GATE_OPEN) {
        if (atomic_compare_exchange_weak(&p->gate, &gate, gate + 1)) {
            return true;
        }
    }
    return false;
}

static void leave_phase(struct pool *p)
{
    if (atomic_fetch_sub(&p->gate, 1) == 1 && atomic_load(&p->n_asleep) > 0) {
        futex_wake(&p->gate);
    }
}

static void *worker_main(void *argument)
{
    struct worker *w = argument;
    struct pool *p = w->pool;
    if (p->pins) {
        numa_pin(&p->numa, pool_node_of(p, w->index)); /* refused: it is slower, and as right */
    }
    for (uint32_t seen = 0;;) {
        wait_for_change(p, &p->epoch, seen);
        seen = atomic_load(&p->epoch);
        if (atomic_load(&p->stopping)) {
            return NULL;
        }
        if (enter_phase(p)) {
            seen = atomic_load(&p->epoch); /* came late, into a later phase */
            p->fn(p->argument, w->index);
            leave_phase(p);
        }
    }
}

/* Thread 0 is whoever calls: held to its node's CPUs once. */
static void pin_caller(struct pool *p)
{
    static _Thread_local const struct pool *pinned_for;
    if (p->pins && pinned_for != p) {
        pinned_for = p;
        numa_pin(&p->numa, 0);
    }
}

static void announce_phase(struct pool *p)
{
    atomic_fetch_add(&p->epoch, 1);
    if (atomic_load(&p->n_asleep) > 0) {
        futex_wake(&p->epoch);
    }
}

void pool_run(struct pool *p, pool_fn *fn, void *argument)
{
    pin_caller(p);
    if (p->n_started == 0) {
        fn(argument, 0);
        return;
    }
    p->fn = fn;
    p->argument = argument;
    atomic_store(&p->gate, GATE_OPEN);
    announce_phase(p);
    fn(argument, 0);
    uint32_t inside = atomic_fetch_and(&p->gate, ~GATE_OPEN) & ~GATE_OPEN;
    while (inside > 0) {
        wait_for_change(p, &p->gate, inside);
        inside = atomic_load_explicit(&p->gate, memory_order_acquire);
    }
}

struct pool *pool_create(unsigned n_threads, struct error *e)
{
    struct numa numa;
    numa_read("/sys/devices/system/node", &numa);
    return pool_create_on(n_threads, &numa, e);
}

static bool has_cpus(const struct numa *numa)
{
    static const uint64_t none[NUMA_MAX_CPUS / 64];
    return memcmp(numa->cpus[0], none, sizeof none) != 0;
}

struct pool *pool_create_on(unsigned n_threads, const struct numa *numa, struct error *e)
{
    struct pool *p = mem_alloc(1, sizeof *p, "thread pool", e);
    if (p == NULL) {
        return NULL;
    }
    p->n_threads = n_threads;
    p->numa = *numa;
    p->n_nodes = numa->n_nodes < n_threads ? numa->n_nodes : n_threads;
    p->pins = p->n_nodes > 1 && has_cpus(numa);
    p->workers = mem_alloc(n_threads, sizeof *p->workers, "thread pool", e);
    if (p->workers == NULL) {
        goto fail;
    }
    for (unsigned i = 1; i < n_threads; i++) {
        p->workers[i] = (struct worker){.pool = p, .index = i};
        int failed = pthread_create(&p->workers[i].thread, NULL, worker_main, &p->workers[i]);
        if (failed != 0) {
            error_set(e, ERROR_MEMORY, "thread %u of %u could not be started (error %d)", i + 1,
                      n_threads, failed);
            goto fail;
        }
        p->n_started++;
    }
    return p;
fail:
    pool_destroy(p);
    return NULL;
}

void pool_destroy(struct pool *p)
{
    if (p == NULL) {
        return;
    }
    atomic_store(&p->stopping, true);
    if (p->n_started > 0) {
        announce_phase(p);
    }
    for (unsigned i = 1; i <= p->n_started; i++) {
        pthread_join(p->workers[i].thread, NULL);
    }
    mem_free(p->workers);
    mem_free(p);
}

unsigned pool_n_threads(const struct pool *p)
{
    return p->n_threads;
}

unsigned pool_n_nodes(const struct pool *p)
{
    return p->n_nodes;
}

unsigned pool_node_of(const struct pool *p, unsigned thread)
{
    return (unsigned)((uint64_t)thread * p->n_nodes / p->n_threads);
}

unsigned pool_n_shares(const struct pool *p)
{
    unsigned n = p->n_threads < NUMA_MAX_NODES ? p->n_threads : NUMA_MAX_NODES;
    return n - n % p->n_nodes;
}

unsigned pool_share_of(const struct pool *p, unsigned thread)
{
    return (unsigned)((uint64_t)thread * pool_n_shares(p) / p->n_threads);
}

/* CPUs of the affinity mask, 0 when it cannot be read. The kernel refuses a set that is smaller
 * than its own, whose size it does not tell, so the set grows until it is accepted. */
static unsigned affinity_cpus(void)
{
    unsigned n = 0;
    int failed = EINVAL;
    for (size_t n_cpus = CPU_SETSIZE; failed == EINVAL && n_cpus <= MAX_CPUS; n_cpus *= 2) {
        size_t n_bytes = CPU_ALLOC_SIZE(n_cpus);
        cpu_set_t *set = mem_alloc(1, n_bytes, "CPU set", NULL);
        if (set == NULL) {
            return 0;
        }
        failed = sched_getaffinity(0, n_bytes, set) == 0 ? 0 : errno;
        n = failed == 0 ? (unsigned)CPU_COUNT_S(n_bytes, set) : 0;
        mem_free(set);
    }
    return n;
}

unsigned pool_default_threads(void)
{
    unsigned n = affinity_cpus();
    unsigned quota = cgroup_cpus(CGROUP_ROOT, CGROUP_SELF);
    if (quota > 0 && quota < n) {
        n = quota;
    }
    return n > 0 ? n : 1;
}
