/* test_probe.c - the probes really do the work they count. How fast is no matter of a test. */
#include "kern/probe.h"

#include "base/mem.h"
#include "base/rng.h"
#include "kern/kern.h"
#include "kern/probe_internal.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

enum { N_LINES = 37, LINE_WORDS = 8 };

/* Loops that this CPU can run. */
static size_t usable_loops(const struct probe_loops *out[KERN_SET_COUNT])
{
    size_t n = 0;
    out[n++] = &probe_loops_ref;
#if defined(__x86_64__)
    if (kern_get(KERN_AVX2, NULL) != NULL) {
        out[n++] = &probe_loops_avx2;
    }
    if (kern_get(KERN_AVXVNNI, NULL) != NULL) {
        out[n++] = &probe_loops_avxvnni;
    }
    if (kern_get(KERN_AVX512, NULL) != NULL) {
        out[n++] = &probe_loops_avx512;
    }
    if (kern_get(KERN_AMX, NULL) != NULL) {
        out[n++] = &probe_loops_amx;
    }
#elif defined(__aarch64__)
    if (kern_get(KERN_NEON, NULL) != NULL) {
        out[n++] = &probe_loops_neon;
    }
    if (kern_get(KERN_I8MM, NULL) != NULL) {
        out[n++] = &probe_loops_i8mm;
    }
#endif
    return n;
}

static void compute_loops_add_as_many_products_as_they_count(void **state)
{
    (void)state;
    const struct probe_loops *loops[KERN_SET_COUNT];
    size_t n = usable_loops(loops);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(loops[i]->int8(0), 0);
        assert_int_equal(loops[i]->int8(777), 777 * loops[i]->int8_ops / 2 * PROBE_PRODUCT);
        /* so many rounds that a lane's products add up to exactly 1 */
        assert_int_equal(loops[i]->f32(1 << 20), loops[i]->f32_ops / 2);
    }
    assert_int_equal(probe_additions_ref(0), 0);
    assert_int_equal(probe_additions_ref(777), 777 * PROBE_ADDITIONS);
#if defined(__x86_64__)
    if (kern_get_bf16(KERN_AVX512, NULL) != NULL) {
        assert_int_equal(probe_loops_avx512.bf16(1 << 20), probe_loops_avx512.bf16_ops / 2);
    }
#endif
}

static void read_loops_see_every_byte(void **state)
{
    (void)state;
    const struct probe_loops *loops[KERN_SET_COUNT];
    size_t n = usable_loops(loops);
    uint64_t *words = mem_alloc_pages(sizeof(uint64_t) * N_LINES * LINE_WORDS, "lines", NULL);
    assert_non_null(words);
    struct rng rng;
    rng_init(&rng, 1);
    uint64_t all = 0;
    for (size_t i = 0; i < N_LINES * LINE_WORDS; i++) {
        words[i] = rng_next(&rng);
    }
    for (size_t n_lines = 0; n_lines <= N_LINES; n_lines++) {
        for (size_t i = 0; i < n; i++) {
            assert_true(loops[i]->read(words, n_lines) == all);
        }
        assert_true(probe_read_apart(words, n_lines) == all);
        for (size_t k = 0; n_lines < N_LINES && k < LINE_WORDS; k++) {
            all ^= words[n_lines * LINE_WORDS + k];
        }
    }
    mem_free_pages(words, sizeof(uint64_t) * N_LINES * LINE_WORDS);
}

static void summary_gives_best_and_median(void **state)
{
    (void)state;
    double odd[] = {3, 9, 1}, even[] = {4, 1, 3, 2}, one[] = {7};
    struct probe_summary s = probe_summary(odd, 3);
    assert_true(s.best == 9 && s.median == 3);
    s = probe_summary(even, 4);
    assert_true(s.best == 4 && s.median == 2.5);
    s = probe_summary(one, 1);
    assert_true(s.best == 7 && s.median == 7);
}

static void every_probe_gives_a_rate_for_any_size(void **state)
{
    (void)state;
    static const size_t sizes[] = {64, 65, 16384, 3 << 20};
    struct pool *p = pool_create(2, NULL);
    uint8_t *data = mem_alloc_pages(3 << 20, "data", NULL);
    assert_non_null(p);
    assert_non_null(data);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        double rate = probe_read(p, data, sizes[i]);
        assert_true(isfinite(rate) && rate > 0);
    }
    double rates[] = {probe_int8(p, kern_best()), probe_f32(p), probe_bf16(p), probe_additions(p)};
    for (int i = 0; i < 4; i++) {
        assert_true(isfinite(rates[i]) && rates[i] > 0);
    }
    mem_free_pages(data, 3 << 20);
    pool_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compute_loops_add_as_many_products_as_they_count),
        cmocka_unit_test(read_loops_see_every_byte),
        cmocka_unit_test(summary_gives_best_and_median),
        cmocka_unit_test(every_probe_gives_a_rate_for_any_size),
    };
    return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
