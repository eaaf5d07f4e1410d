/* The packed layout against quant_dequantize, which the oracle proves on its own. */
#include "base/mem.h"
#include "base/rng.h"
#include "quant/pack_layout.h"
#include "quant/quant_block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const enum quant_type types[] = {QUANT_F32,  QUANT_F16,    QUANT_BF16,  QUANT_Q4_0,
                                        QUANT_Q4_1, QUANT_Q5_0,   QUANT_Q5_1,  QUANT_Q8_0,
                                        QUANT_Q2_K, QUANT_Q3_K,   QUANT_Q4_K,  QUANT_Q5_K,
                                        QUANT_Q6_K, QUANT_IQ4_NL, QUANT_IQ4_XS};
enum { N_TYPES = sizeof types / sizeof types[0] };

/* A matrix of random bytes in the file's form, packed. */
struct fixture {
    struct pack_matrix m;
    size_t row_bytes;
    uint8_t *file, *packed;
};

static void fixture_init(struct fixture *f, enum quant_type type, uint32_t rows, uint32_t cols)
{
    const struct quant_info *info = quant_type_info(type);
    assert_true(pack_matrix_init(&f->m, type, rows, cols, NULL));
    f->row_bytes = (size_t)(cols / info->block_items) * info->block_bytes;
    f->file = mem_alloc(rows, f->row_bytes, "file", NULL);
    f->packed = mem_alloc_pages(pack_matrix_bytes(&f->m), "packed", NULL);
    assert_non_null(f->file);
    assert_non_null(f->packed);
    f->m.data = f->packed;
    struct rng rng;
    rng_init(&rng, 1000 * (uint64_t)type + rows);
    for (size_t i = 0; i < rows * f->row_bytes; i++) {
        f->file[i] = (uint8_t)(rng_next(&rng) >> 32);
    }
}

static void fixture_finish(struct fixture *f)
{
    mem_free_pages(f->packed, pack_matrix_bytes(&f->m));
    mem_free(f->file);
}

static bool same_float(float a, float b)
{
    return (a != a && b != b) || memcmp(&a, &b, sizeof a) == 0;
}

static void assert_rows_equal(const struct fixture *f)
{
    float *expected = mem_alloc(f->m.cols, sizeof *expected, "expected", NULL);
    float *got = mem_alloc(f->m.cols, sizeof *got, "got", NULL);
    for (uint32_t row = 0; row < f->m.rows; row++) {
        quant_dequantize(f->m.type, f->file + row * f->row_bytes, expected, f->m.cols);
        pack_dequantize_row(&f->m, row, got);
        for (uint32_t k = 0; k < f->m.cols; k++) {
            if (!same_float(expected[k], got[k])) {
                fail_msg("%s row %u item %u: %a, expected %a", quant_type_info(f->m.type)->name,
                         row, k, (double)got[k], (double)expected[k]);
            }
        }
    }
    mem_free(expected);
    mem_free(got);
}

static void every_type_unpacks_to_the_bits_of_the_file(void **state)
{
    (void)state;
    static const uint32_t row_counts[] = {1, 15, 16, 17, 33};
    for (int i = 0; i < N_TYPES; i++) {
        for (int j = 0; j < 5; j++) {
            struct fixture f;
            fixture_init(&f, types[i], row_counts[j], 512 + (types[i] < QUANT_Q2_K ? 32 : 0));
            pack_groups(&f.m, f.file, f.packed, 0, f.m.n_groups);
            assert_rows_equal(&f);
            fixture_finish(&f);
        }
    }
}

static void disjoint_ranges_give_the_same_bytes_as_one(void **state)
{
    (void)state;
    for (int i = 0; i < N_TYPES; i++) {
        struct fixture f;
        fixture_init(&f, types[i], 70, 256);
        size_t bytes = pack_matrix_bytes(&f.m);
        uint8_t *whole = mem_alloc(bytes, 1, "whole", NULL);
        memset(whole, 0xAA, bytes);
        memset(f.packed, 0x55, bytes);
        pack_groups(&f.m, f.file, whole, 0, f.m.n_groups);
        pack_groups(&f.m, f.file, f.packed, 3, 5);
        pack_groups(&f.m, f.file, f.packed, 0, 1);
        pack_groups(&f.m, f.file, f.packed, 1, 3);
        assert_memory_equal(whole, f.packed, bytes);
        mem_free(whole);
        fixture_finish(&f);
    }
}

static void a_part_has_the_rows_of_its_groups(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, QUANT_Q4_K, 70, 256);
    pack_groups(&f.m, f.file, f.packed, 0, f.m.n_groups);
    struct fixture part = f;
    part.m = pack_matrix_part(&f.m, 1, 3);
    part.file = f.file + 16 * f.row_bytes;
    assert_int_equal(part.m.rows, 32);
    assert_rows_equal(&part);
    part.m = pack_matrix_part(&f.m, 3, 5); /* the last group has 6 rows */
    part.file = f.file + 48 * f.row_bytes;
    assert_int_equal(part.m.rows, 22);
    assert_int_equal(part.m.n_groups, 2);
    assert_rows_equal(&part);
    fixture_finish(&f);
}

static void a_packed_matrix_of_whole_groups_is_as_large_as_the_file(void **state)
{
    (void)state;
    for (int i = 0; i < N_TYPES; i++) {
        struct fixture f;
        fixture_init(&f, types[i], 32, 1024);
        assert_int_equal(pack_matrix_bytes(&f.m), 32 * f.row_bytes);
        assert_int_equal(f.m.group_bytes % 64, 0);
        fixture_finish(&f);
    }
}

/* The kernels rely on these bytes; written from the text of docs/QUANT.md. */
static void planes_lie_as_the_document_says(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, QUANT_Q8_0, 16, 64);
    pack_groups(&f.m, f.file, f.packed, 0, 1);
    const struct quant_q8_0 *q8 = (const struct quant_q8_0 *)(f.file + 5 * f.row_bytes);
    const uint8_t *quants = f.packed + 2 * 32;
    /* row 5, item 39 = block 1, item 7: line 1 of the second unit, byte 4 * 5 + 3 */
    assert_int_equal(quants[8 * 64 + 64 + 23], (uint8_t)(q8[1].qs[7] + 128));
    assert_memory_equal(f.packed + 32 + 2 * 5, q8[1].d, 2);
    fixture_finish(&f);

    fixture_init(&f, QUANT_Q5_0, 16, 32);
    pack_groups(&f.m, f.file, f.packed, 0, 1);
    const struct quant_q5_0 *q5 = (const struct quant_q5_0 *)(f.file + 9 * f.row_bytes);
    quants = f.packed + 64; /* 32 bytes of scales, padded */
    /* row 9, item 29: high nibble of qs[13]; k/4 = 7 is odd: high nibble of line 3, bit 7 of
     * line 4 */
    assert_int_equal(quants[3 * 64 + 37] >> 4, q5->qs[13] >> 4);
    assert_int_equal(quants[4 * 64 + 37] >> 7, q5->qh[3] >> 5 & 1);
    fixture_finish(&f);

    fixture_init(&f, QUANT_BF16, 16, 4);
    pack_groups(&f.m, f.file, f.packed, 0, 1);
    assert_memory_equal(f.packed + 64 + 4 * 7, f.file + 7 * f.row_bytes + 4, 4);
    fixture_finish(&f);
}

static void rows_past_the_last_are_zero(void **state)
{
    (void)state;
    for (int i = 0; i < N_TYPES; i++) {
        struct fixture f;
        fixture_init(&f, types[i], 17, 256);
        pack_groups(&f.m, f.file, f.packed, 0, 2);
        struct pack_matrix padded = f.m;
        padded.rows = 32;
        float row[256];
        for (uint32_t r = 17; r < 32; r++) {
            pack_dequantize_row(&padded, r, row);
            for (int k = 0; k < 256; k++) {
                assert_true(row[k] == 0.0f);
            }
        }
        fixture_finish(&f);
    }
}

static void a_row_that_is_no_multiple_of_the_block_is_refused(void **state)
{
    (void)state;
    struct pack_matrix m;
    struct error e;
    assert_false(pack_matrix_init(&m, QUANT_Q4_K, 16, 288, &e));
    assert_int_equal(e.code, ERROR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "288"));
    assert_non_null(strstr(e.text, "256"));
    assert_false(pack_matrix_init(&m, QUANT_F16, 16, 3, &e));
    assert_false(pack_matrix_init(&m, QUANT_Q8_0, UINT64_MAX, 32, &e));
    assert_false(pack_matrix_init(&m, QUANT_Q8_0, 16, UINT64_C(1) << 40, &e));
    assert_false(pack_matrix_init(&m, QUANT_F32, UINT32_MAX - 16, UINT32_MAX - 1, &e));
    assert_false(pack_matrix_init(&m, (enum quant_type)4, 16, 32, &e));
    assert_true(pack_matrix_init(&m, QUANT_Q8_0, 16, 32, NULL));
}

static void the_layout_has_one_digest(void **state)
{
    (void)state;
    struct digest first = {0}, second = {0};
    struct error e = {0};
    assert_true(pack_layout_digest(&first, &e) && pack_layout_digest(&second, &e));
    assert_true(digest_eq(first, second));
    assert_false(digest_eq(first, (struct digest){0}));
    mem_fail_nth(1);
    assert_false(pack_layout_digest(&second, &e));
    mem_fail_nth(0);
    assert_int_equal(e.code, ERROR_MEMORY);
    assert_true(digest_eq(first, second));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_unpacks_to_the_bits_of_the_file),
        cmocka_unit_test(disjoint_ranges_give_the_same_bytes_as_one),
        cmocka_unit_test(a_part_has_the_rows_of_its_groups),
        cmocka_unit_test(a_packed_matrix_of_whole_groups_is_as_large_as_the_file),
        cmocka_unit_test(planes_lie_as_the_document_says),
        cmocka_unit_test(rows_past_the_last_are_zero),
        cmocka_unit_test(a_row_that_is_no_multiple_of_the_block_is_refused),
        cmocka_unit_test(the_layout_has_one_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
