/* test_numa.c - nodes as the system lists them, and threads that multiply their own node's share
 * first. */
#include "base/pool.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAX_LISTS = 3, N_ITEMS = 1000 };

/* numa_read of a folder like /sys/devices/system/node with these lists; NULL leaves the node out.
 * */
static struct numa read_nodes(const char *const lists[MAX_LISTS])
{
    char folder[] = "/tmp/puna-numa-XXXXXX", path[128];
    struct numa numa;
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < MAX_LISTS; i++) {
        snprintf(path, sizeof path, "%s/node%d", folder, 2 * i); /* numbers with gaps */
        assert_int_equal(mkdir(path, 0700), 0);
        snprintf(path, sizeof path, "%s/node%d/cpulist", folder, 2 * i);
        FILE *f = lists[i] != NULL ? fopen(path, "w") : NULL;
        if (f != NULL) {
            fputs(lists[i], f);
            fclose(f);
        }
    }
    numa_read(folder, &numa);
    for (int i = 0; i < MAX_LISTS; i++) {
        snprintf(path, sizeof path, "%s/node%d/cpulist", folder, 2 * i);
        unlink(path);
        snprintf(path, sizeof path, "%s/node%d", folder, 2 * i);
        rmdir(path);
    }
    rmdir(folder);
    return numa;
}

static void nodes_are_read_as_the_system_lists_them(void **state)
{
    (void)state;
    /* CPU 0 is allowed wherever this runs; those of the second list may not exist */
    struct numa n = read_nodes((const char *const[]){"0\n", "900-903,1000\n", NULL});
    assert_int_equal(n.n_nodes, 1);
    assert_true(n.cpus[0][0] == 1);
    n = read_nodes((const char *const[]){"0\n", "\n", NULL}); /* memory without a CPU */
    assert_int_equal(n.n_nodes, 1);
    assert_true(n.cpus[0][0] == 1);
    static const char *const bad[] = {"0-\n",   "3-1\n", "0,x\n",          "0,\n",
                                      "1024\n", "0 1\n", "0-99999999999\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        n = read_nodes((const char *const[]){"0\n", bad[i], NULL});
        assert_int_equal(n.n_nodes, 1);
        assert_true(n.cpus[0][0] == 0); /* one node that nobody is held to */
    }
    n = read_nodes((const char *const[]){NULL, NULL, NULL});
    assert_int_equal(n.n_nodes, 1);
}

static void shares_cover_the_range_in_whole_units(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {0, 1, 15, 16, 17, 100, 896, 8016, UINT32_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (unsigned n_nodes = 1; n_nodes <= NUMA_MAX_NODES; n_nodes++) {
            uint32_t next = 0, begin, end;
            for (unsigned node = 0; node < n_nodes; node++) {
                numa_share(sizes[i], node, n_nodes, &begin, &end);
                assert_int_equal(begin, next);
                assert_true(begin <= end && (begin % NUMA_UNIT == 0 || begin == sizes[i]));
                next = end;
            }
            assert_int_equal(next, sizes[i]);
        }
    }
}

struct shared_phase {
    struct pool *pool;
    struct pool_shares shares;
    _Atomic uint32_t visits[N_ITEMS];
    uint32_t first; /* that thread 0 took */
    bool has_first;
};

/* Own share first, then the others', as a product of matrices does it. */
static void visit_shares(void *argument, unsigned thread)
{
    struct shared_phase *s = argument;
    unsigned n_shares = pool_n_shares(s->pool), own = pool_share_of(s->pool, thread);
    for (unsigned i = 0; i < n_shares; i++) {
        uint32_t begin, end;
        unsigned share = (own + i) % n_shares;
        while (pool_next_of_share(&s->shares, share, &begin, &end)) {
            for (uint32_t k = begin; k < end; k++) {
                atomic_fetch_add(&s->visits[k], 1);
            }
            if (thread == 0 && !s->has_first) {
                s->first = begin;
                s->has_first = true;
            }
            usleep(100); /* so that others come while there is work */
        }
    }
}

static void imagined_nodes_do_all_the_work_their_own_first(void **state)
{
    (void)state;
    for (unsigned n_nodes = 1; n_nodes <= 4; n_nodes++) {
        struct pool *p = pool_create_on(4, &(struct numa){.n_nodes = n_nodes}, NULL);
        assert_int_equal(pool_n_nodes(p), n_nodes);
        assert_int_equal(pool_node_of(p, 0), 0);
        assert_int_equal(pool_node_of(p, 3), n_nodes - 1);
        struct shared_phase s = {
            .pool = p, .shares = {.n_shares = pool_n_shares(p), .n = N_ITEMS, .chunk = 7}};
        pool_run(p, visit_shares, &s);
        for (int k = 0; k < N_ITEMS; k++) {
            assert_int_equal(s.visits[k], 1);
        }
        assert_true(s.has_first && s.first < N_ITEMS / pool_n_shares(p));
        pool_destroy(p);
    }
}

/* So that what a thread multiplies first was placed near to it. */
static void shares_of_threads_lie_within_those_of_their_nodes(void **state)
{
    (void)state;
    for (unsigned n_threads = 1; n_threads <= 37; n_threads += 3) {
        for (unsigned n_nodes = 1; n_nodes <= 5; n_nodes++) {
            struct pool *p = pool_create_on(n_threads, &(struct numa){.n_nodes = n_nodes}, NULL);
            unsigned nodes = pool_n_nodes(p), shares = pool_n_shares(p), last_share = 0;
            assert_true(shares >= nodes && shares <= NUMA_MAX_NODES && shares % nodes == 0);
            for (unsigned share = 0; share < shares; share++) {
                uint32_t begin, end, node_begin, node_end;
                numa_share(N_ITEMS, share, shares, &begin, &end);
                numa_share(N_ITEMS, share / (shares / nodes), nodes, &node_begin, &node_end);
                assert_true(node_begin <= begin && end <= node_end);
            }
            for (unsigned thread = 0; thread < n_threads; thread++) {
                unsigned share = pool_share_of(p, thread);
                assert_true(share == last_share || share == last_share + 1);
                last_share = share;
                assert_int_equal(share / (shares / nodes), pool_node_of(p, thread));
            }
            assert_int_equal(last_share, shares - 1);
            pool_destroy(p);
        }
    }
}

static void note_cpus(void *argument, unsigned thread)
{
    cpu_set_t *sets = argument;
    sched_getaffinity(0, sizeof sets[thread], &sets[thread]);
    usleep(20000);
}

static void threads_stay_on_the_cpus_of_their_node(void **state)
{
    (void)state;
    cpu_set_t before, sets[2];
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    if (!CPU_ISSET(0, &before) || !CPU_ISSET(1, &before)) {
        print_message("SKIPPED: threads cannot be held to CPUs 0 and 1, which this needs\n");
        skip();
    }
    struct numa numa = {.n_nodes = 2, .cpus = {{1}, {2}}};
    struct pool *p = pool_create_on(2, &numa, NULL);
    memset(sets, 0, sizeof sets);
    for (int i = 0; i < 200 && CPU_COUNT(&sets[1]) == 0; i++) {
        pool_run(p, note_cpus, sets);
    }
    pool_destroy(p);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(CPU_COUNT(&sets[i]), 1);
        assert_true(CPU_ISSET(i, &sets[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_are_read_as_the_system_lists_them),
        cmocka_unit_test(shares_cover_the_range_in_whole_units),
        cmocka_unit_test(imagined_nodes_do_all_the_work_their_own_first),
        cmocka_unit_test(shares_of_threads_lie_within_those_of_their_nodes),
        cmocka_unit_test(threads_stay_on_the_cpus_of_their_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
