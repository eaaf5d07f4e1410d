/* test_pool.c - phases do all their work, whoever comes, and chunks cover the range exactly. */
#include "base/cgroup.h"
#include "base/pool.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_ITEMS = 1000, N_PHASES = 300 };

struct phase {
    _Atomic uint32_t counter;
    _Atomic uint32_t inside[8]; /* calls of a thread under way */
    _Atomic uint32_t n_overlaps;
    _Atomic uint32_t visits[N_ITEMS];
};

static void visit_chunks(void *argument, unsigned thread)
{
    struct phase *phase = argument;
    atomic_fetch_add(&phase->n_overlaps, atomic_fetch_add(&phase->inside[thread], 1));
    uint32_t begin, end;
    while (pool_next_chunk(&phase->counter, N_ITEMS, 7, &begin, &end)) {
        for (uint32_t i = begin; i < end; i++) {
            atomic_fetch_add(&phase->visits[i], 1);
        }
    }
    atomic_fetch_sub(&phase->inside[thread], 1);
}

static void every_phase_visits_every_item_once(void **state)
{
    (void)state;
    for (unsigned n_threads = 1; n_threads <= 4; n_threads++) {
        struct pool *p = pool_create(n_threads, NULL);
        assert_non_null(p);
        for (int i = 0; i < N_PHASES; i++) {
            struct phase phase = {0};
            pool_run(p, visit_chunks, &phase);
            assert_int_equal(phase.n_overlaps, 0);
            for (unsigned t = 0; t < n_threads; t++) {
                assert_int_equal(phase.inside[t], 0); /* all who came have left */
            }
            for (int k = 0; k < N_ITEMS; k++) {
                assert_int_equal(phase.visits[k], 1);
            }
        }
        pool_destroy(p);
    }
}

/* Each chunk takes a millisecond, so that workers come while there is work. */
static void visit_slowly(void *argument, unsigned thread)
{
    struct phase *phase = argument;
    atomic_fetch_or(&phase->visits[thread], 1);
    uint32_t begin, end;
    while (pool_next_chunk(&phase->counter, 20, 1, &begin, &end)) {
        usleep(1000);
    }
}

static void sleeping_workers_wake_up(void **state)
{
    (void)state;
    struct pool *p = pool_create(3, NULL);
    assert_non_null(p);
    struct phase phase = {0};
    for (int i = 0; i < 500 && phase.visits[1] + phase.visits[2] < 2; i++) {
        usleep(20000);
        phase.counter = 0;
        pool_run(p, visit_slowly, &phase);
        assert_true(phase.visits[0] == 1 && phase.counter >= 20);
    }
    assert_int_equal(phase.visits[1] + phase.visits[2], 2);
    pool_destroy(p);
}

static void a_worker_that_comes_is_waited_for(void **state)
{
    (void)state;
    struct pool *p = pool_create(4, NULL);
    assert_non_null(p);
    for (int i = 0; i < N_PHASES; i++) {
        struct phase *phase = calloc(1, sizeof *phase); /* freed at once: the sanitizers watch */
        assert_non_null(phase);
        pool_run(p, visit_chunks, phase);
        free(phase);
    }
    pool_destroy(p);
}

/* Stands for the system call: a machine of 4096 CPUs, on 2000 of which this process may run. */
enum { MACHINE_CPUS = 4096, ALLOWED_CPUS = 2000 };

int sched_getaffinity(pid_t pid, size_t n_bytes, cpu_set_t *set)
{
    (void)pid;
    if (n_bytes < MACHINE_CPUS / 8) {
        errno = EINVAL;
        return -1;
    }
    CPU_ZERO_S(n_bytes, set);
    for (size_t i = 0; i < ALLOWED_CPUS; i++) {
        CPU_SET_S(2 * i, n_bytes, set);
    }
    return 0;
}

static void a_machine_of_thousands_of_cpus_is_used_whole(void **state)
{
    (void)state;
    unsigned n = pool_default_threads();
    if (cgroup_cpus(CGROUP_ROOT, CGROUP_SELF) > 0) {
        print_message("SKIPPED: this machine has a CPU quota\n");
        skip();
    }
    assert_int_equal(n, ALLOWED_CPUS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_phase_visits_every_item_once),
        cmocka_unit_test(sleeping_workers_wake_up),
        cmocka_unit_test(a_worker_that_comes_is_waited_for),
        cmocka_unit_test(a_machine_of_thousands_of_cpus_is_used_whole),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
