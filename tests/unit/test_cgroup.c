/* test_cgroup.c - limits of control groups, in a folder like /sys/fs/cgroup that is made up. */
#include "base/cgroup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATH_BYTES = 128 };

static const char *const folders[] = {"", "/a.slice", "/a.slice/b.service"};
enum { N_FOLDERS = 3 };

static char root[] = "/tmp/puna-cgroup-XXXXXX";

static const char *at(const char *folder, const char *name)
{
    static char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s%s/%s", root, folder, name);
    return path;
}

/* NULL removes the file. */
static void put(const char *folder, const char *name, const char *text)
{
    const char *path = at(folder, name);
    unlink(path);
    FILE *f = text != NULL ? fopen(path, "w") : NULL;
    if (f != NULL) {
        fputs(text, f);
        fclose(f);
    }
}

static uint64_t memory_left(void)
{
    return cgroup_memory_left(root, at("", "self"), 0);
}

static unsigned cpus(void)
{
    return cgroup_cpus(root, at("", "self"));
}

static int make_folders(void **state)
{
    (void)state;
    return mkdtemp(root) == NULL || mkdir(at("", "a.slice"), 0700) != 0 ||
           mkdir(at("", "a.slice/b.service"), 0700) != 0;
}

static int empty(void **state)
{
    (void)state;
    static const char *const names[] = {"self",    "memory.max",      "memory.stat",
                                        "cpu.max", "memory.swap.max", "memory.swap.current"};
    for (int i = 0; i < N_FOLDERS; i++) {
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
            put(folders[i], names[k], NULL);
        }
    }
    return 0;
}

static int remove_folders(void **state)
{
    empty(state);
    return rmdir(at("", "a.slice/b.service")) | rmdir(at("", "a.slice")) | rmdir(root);
}

static void the_smallest_limit_from_the_own_group_up_counts(void **state)
{
    (void)state;
    put("", "self", "4:memory:/c\n0::/a.slice/b.service\n");
    for (int i = 0; i < N_FOLDERS; i++) {
        put(folders[i], "memory.max", "max\n");
        put(folders[i], "memory.stat", "file 7\nanon 100\nanon_thp 3\n");
        put(folders[i], "cpu.max", "max 100000\n");
    }
    assert_true(memory_left() == UINT64_MAX);
    assert_int_equal(cpus(), 0);
    for (int i = 0; i < N_FOLDERS; i++) {
        put(folders[i], "memory.max", "1000\n");
        put(folders[i], "cpu.max", "150000 100000\n");
        assert_int_equal(memory_left(), 900);
        assert_int_equal(cpus(), 2);
        put(folders[(i + 1) % N_FOLDERS], "memory.max", "5000\n");
        put(folders[(i + 1) % N_FOLDERS], "cpu.max", "700000 100000\n");
        assert_int_equal(memory_left(), 900);
        assert_int_equal(cpus(), 2);
        put(folders[(i + 1) % N_FOLDERS], "memory.max", "max\n");
        put(folders[(i + 1) % N_FOLDERS], "cpu.max", "max 100000\n");
        put(folders[i], "memory.max", "90\n"); /* less than is used */
        assert_int_equal(memory_left(), 0);
        put(folders[i], "memory.max", "max\n");
        put(folders[i], "cpu.max", "max 100000\n");
    }
}

/* A group may have as much of the free swap as its own limit and those above it leave. */
static void swap_counts_as_far_as_a_group_may_have_it(void **state)
{
    (void)state;
    static const struct {
        const char *most, *used;
        uint64_t free, left;
    } table[] = {
        {NULL, NULL, 5000, 6000},       {"max\n", "40\n", 5000, 6000},
        {"0\n", "0\n", 5000, 1000},     {"700\n", "200\n", 5000, 1500},
        {"700\n", "900\n", 5000, 1000}, {"700\n", "200\n", 300, 1300},
    };
    put("", "self", "0::/a.slice/b.service\n");
    put("/a.slice", "memory.max", "1000\n");
    put("/a.slice/b.service", "memory.max", "100000\n");
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        put("/a.slice", "memory.swap.max", table[i].most);
        put("/a.slice", "memory.swap.current", table[i].used);
        assert_int_equal(cgroup_memory_left(root, at("", "self"), table[i].free), table[i].left);
    }
}

/* In a container the root is its own group, whatever the line says. */
static void the_root_counts_where_no_group_is_known(void **state)
{
    (void)state;
    static const char *const lines[] = {
        NULL, "", "0::/\n", "0::/docker/1f\n", "0::/../a.slice\n", "4:memory:/a.slice\n"};
    put("", "memory.max", "1000\n");
    put("", "cpu.max", "50000 100000\n");
    put("/a.slice", "memory.max", "10\n");
    put("/a.slice", "cpu.max", "100 100000\n");
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        put("", "self", lines[i]);
        assert_int_equal(memory_left(), 1000);
        assert_int_equal(cpus(), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_smallest_limit_from_the_own_group_up_counts, empty),
        cmocka_unit_test_teardown(swap_counts_as_far_as_a_group_may_have_it, empty),
        cmocka_unit_test_teardown(the_root_counts_where_no_group_is_known, empty),
    };
    return cmocka_run_group_tests(tests, make_folders, remove_folders);
}
