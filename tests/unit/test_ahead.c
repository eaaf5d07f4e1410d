/* test_ahead.c - what kernels ask for in advance: all that they read later, once, and in time. It
 * changes no bit of a result, so nothing else would tell. */
#include "kern/ahead.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Of blocks, as the types have them. */
struct form {
    unsigned scale_bytes, quant_bytes;
    unsigned n_together; /* blocks that are asked for at a time */
};

/* A run of groups, and by lines when they were asked for first, in lines that were read before. */
struct run {
    struct form form;
    uint32_t n_blocks, n_groups, place;
    size_t group_bytes, n_lines;
    uint32_t *asked_at; /* (n_lines), 0: never */
    uint32_t n_read, n_asked;
};

static void ask(struct run *r, uintptr_t at)
{
    size_t line = at / AHEAD_LINE;
    r->n_asked++;
    if (line < r->n_lines && r->asked_at[line] == 0) {
        r->asked_at[line] = r->n_read + 1;
    }
}

/* So many lines are read between a request and its line, at least. */
enum { LEAST_LINES = AHEAD_LEAST / AHEAD_LINE / 2 };

static bool is_late(const struct run *r, size_t line)
{
    return r->asked_at[line] == 0 || r->n_read - (r->asked_at[line] - 1) < LEAST_LINES;
}

/* Reads as a kernel does, a group's scales beside its quants. Returns how many lines of those from
 * first_line on had not been asked for, or not in time. */
static uint32_t multiply(struct run *r, size_t first_line)
{
    unsigned piece = r->form.scale_bytes + r->form.quant_bytes;
    size_t scale_bytes = (size_t)r->n_blocks * r->form.scale_bytes;
    size_t quants_at = (scale_bytes + AHEAD_LINE - 1) / AHEAD_LINE * AHEAD_LINE;
    uint32_t n_missed = 0;
    for (uint32_t g = 0; g < r->n_groups; g++) {
        size_t group = g * r->group_bytes;
        uint32_t place = r->place + g * r->n_blocks;
        struct ahead a = ahead_first((const uint8_t *)group, scale_bytes, place, piece);
        for (uint32_t b = 0; b < r->n_blocks; b++) {
            int n = b % r->form.n_together == 0 ? ahead_lines(piece, r->form.n_together) : 0;
            for (int i = 0; i < n; i++) {
                ask(r, a.at + (size_t)i * AHEAD_LINE);
                ask(r, a.at + ahead_half(piece) + (size_t)i * AHEAD_LINE);
            }
            ahead_next(&a, piece);
            size_t scales = group + (size_t)b * r->form.scale_bytes;
            size_t quants = group + quants_at + (size_t)b * r->form.quant_bytes;
            size_t first[] = {scales / AHEAD_LINE, quants / AHEAD_LINE};
            size_t last[] = {(scales + r->form.scale_bytes - 1) / AHEAD_LINE,
                             (quants + r->form.quant_bytes - 1) / AHEAD_LINE};
            for (int part = 0; part < 2; part++) {
                for (size_t line = first[part]; line <= last[part]; line++) {
                    n_missed += line >= first_line && is_late(r, line);
                    r->n_read++;
                }
            }
        }
    }
    return n_missed;
}

static void lines_are_asked_for_before_they_are_read(void **state)
{
    (void)state;
    static const struct form forms[] = {{256, 2048, 1}, {256, 2560, 1}, {288, 3072, 1},
                                        {320, 1024, 1}, {224, 1536, 1}, {128, 2048, 1},
                                        {32, 512, 2},   {32, 256, 2},   {64, 256, 2},
                                        {32, 320, 2},   {64, 320, 2}};
    struct rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < 600; i++) {
        struct run r = {.form = forms[(size_t)i % (sizeof forms / sizeof forms[0])]};
        unsigned piece = r.form.scale_bytes + r.form.quant_bytes;
        size_t stretch = 2 * ahead_half(piece);
        r.n_blocks = 1 + (uint32_t)(rng_next(&rng) % (i % 3 == 0 ? 1700 : 60));
        r.place = i % 5 == 0 ? 0 : (uint32_t)rng_next(&rng) / r.n_blocks * r.n_blocks;
        size_t scale_bytes = (size_t)r.n_blocks * r.form.scale_bytes;
        r.group_bytes = (scale_bytes + AHEAD_LINE - 1) / AHEAD_LINE * AHEAD_LINE +
                        (size_t)r.n_blocks * r.form.quant_bytes;
        r.n_groups = (uint32_t)(12 * stretch / r.group_bytes + 2);
        r.n_lines = r.n_groups * r.group_bytes / AHEAD_LINE;
        r.asked_at = calloc(r.n_lines, sizeof *r.asked_at);
        assert_non_null(r.asked_at);
        /* nobody has asked for the run's first lines, nor for the first ones of both halves of the
         * stretch in which it may have begun */
        size_t begin = (2 * stretch + scale_bytes + AHEAD_LEAST) / AHEAD_LINE;
        uint32_t n_missed = multiply(&r, begin);
        /* a few where groups have padding, or blocks for which there is no other to be asked for
         * together with */
        size_t padding = r.group_bytes - (size_t)r.n_blocks * piece;
        bool is_whole = padding == 0 && r.n_blocks % r.form.n_together == 0;
        assert_true(n_missed <= (is_whole ? 0 : r.n_lines / 50));
        /* once, but for shares of a line; of few blocks an odd one asks for two */
        size_t n_most = r.n_lines + r.n_lines / 8 + 2 * stretch / AHEAD_LINE;
        assert_true(r.n_blocks < 8 || r.n_asked < n_most);
        free(r.asked_at);
    }
}

static void a_stretch_has_the_size_that_was_measured(void **state)
{
    (void)state;
    for (unsigned piece = 64; piece <= 4096; piece += 32) {
        uint32_t n = ahead_pieces(piece);
        assert_int_equal(n & (n - 1), 0);
        assert_in_range(n * piece, AHEAD_BYTES, 2 * AHEAD_BYTES + 2 * piece);
        assert_int_equal(2 * ahead_half(piece), n * piece);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_asked_for_before_they_are_read),
        cmocka_unit_test(a_stretch_has_the_size_that_was_measured),
    };
    return cmocka_run_group_tests_name("ahead", tests, NULL, NULL);
}
