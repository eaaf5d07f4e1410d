/* test_quant.c - dequantisation equals the recorded oracle bit for bit (tests/golden/quant). */
#include "quant/quant.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { GOLDEN_MAX_BYTES = 1 << 16 };

/* A golden file: n_items values as src bytes (unaligned on purpose), then as f32. */
struct golden {
    uint8_t bytes[GOLDEN_MAX_BYTES];
    uint8_t unaligned[GOLDEN_MAX_BYTES + 1];
    float got[GOLDEN_MAX_BYTES / sizeof(float)];
    size_t n_items, src_bytes;
};

static void read_golden(struct golden *g, const struct quant_info *info)
{
    char path[64];
    snprintf(path, sizeof path, "tests/golden/quant/%s.bin", info->name);
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        fail_msg("cannot open %s: run from the root of the repository", path);
        return;
    }
    size_t n = fread(g->bytes, 1, sizeof g->bytes, f);
    fclose(f);
    size_t record = info->block_bytes + sizeof(float) * info->block_items;
    assert_true(n > 0 && n < sizeof g->bytes && n % record == 0);
    size_t n_blocks = n / record;
    g->n_items = n_blocks * info->block_items;
    g->src_bytes = n_blocks * info->block_bytes;
    memcpy(g->unaligned + 1, g->bytes, g->src_bytes);
}

static void every_type_dequantizes_as_the_oracle_did(void **state)
{
    (void)state;
    struct golden *g = mem_alloc(1, sizeof *g, "golden", NULL);
    assert_non_null(g);
    int n_types = 0;
    for (uint32_t type = 0; type < QUANT_TYPE_COUNT; type++) {
        const struct quant_info *info = quant_type_info(type);
        if (info == NULL) {
            continue;
        }
        n_types++;
        read_golden(g, info);
        quant_dequantize((enum quant_type)type, g->unaligned + 1, g->got, g->n_items);
        if (memcmp(g->got, g->bytes + g->src_bytes, g->n_items * sizeof(float)) != 0) {
            fail_msg("%s differs from the golden file", info->name);
        }
    }
    assert_int_equal(n_types, 15);
    mem_free(g);
}

static void nothing_beyond_the_items_is_written(void **state)
{
    (void)state;
    uint8_t src[256 * 4] = {0};
    float dst[257];
    for (uint32_t type = 0; type < QUANT_TYPE_COUNT; type++) {
        const struct quant_info *info = quant_type_info(type);
        if (info == NULL) {
            continue;
        }
        dst[info->block_items] = 42.0f;
        quant_dequantize((enum quant_type)type, src, dst, info->block_items);
        assert_true(dst[info->block_items] == 42.0f);
        quant_dequantize((enum quant_type)type, src, dst + info->block_items, 0);
        assert_true(dst[info->block_items] == 42.0f);
    }
}

/* Sizes as ggml's documentation states them, independent of our structs. */
static void block_sizes_are_those_of_the_format(void **state)
{
    (void)state;
    static const struct {
        uint32_t type, items, bytes;
        const char *name;
    } expected[] = {
        {0, 1, 4, "F32"},       {1, 1, 2, "F16"},         {2, 32, 18, "Q4_0"},
        {3, 32, 20, "Q4_1"},    {6, 32, 22, "Q5_0"},      {7, 32, 24, "Q5_1"},
        {8, 32, 34, "Q8_0"},    {10, 256, 84, "Q2_K"},    {11, 256, 110, "Q3_K"},
        {12, 256, 144, "Q4_K"}, {13, 256, 176, "Q5_K"},   {14, 256, 210, "Q6_K"},
        {20, 32, 18, "IQ4_NL"}, {23, 256, 136, "IQ4_XS"}, {30, 1, 2, "BF16"},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const struct quant_info *info = quant_type_info(expected[i].type);
        assert_non_null(info);
        assert_string_equal(info->name, expected[i].name);
        assert_int_equal(info->block_items, expected[i].items);
        assert_int_equal(info->block_bytes, expected[i].bytes);
    }
}

static void unsupported_types_have_a_name_but_no_size(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        const char *name;
    } expected[] = {{9, "Q8_1"},     {16, "IQ2_XXS"}, {19, "IQ1_S"}, {28, "F64"},
                    {29, "IQ1_M"},   {34, "TQ1_0"},   {35, "TQ2_0"}, {39, "MXFP4"},
                    {40, "NVFP4"},   {41, "Q1_0"},    {42, "Q2_0"},  {36, "IQ4_NL_4_4"},
                    {31, "Q4_0_4_4"}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_string_equal(quant_type_name(expected[i].type), expected[i].name);
        assert_null(quant_type_info(expected[i].type));
    }
    for (uint32_t type = 0; type < QUANT_TYPE_COUNT; type++) {
        const struct quant_info *info = quant_type_info(type);
        if (info != NULL) {
            assert_string_equal(info->name, quant_type_name(type));
        }
    }
}

static void unknown_ids_have_neither_name_nor_size(void **state)
{
    (void)state;
    static const uint32_t ids[] = {43, 100, 0x7FFFFFFF, UINT32_MAX};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        assert_null(quant_type_name(ids[i]));
        assert_null(quant_type_info(ids[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_dequantizes_as_the_oracle_did),
        cmocka_unit_test(nothing_beyond_the_items_is_written),
        cmocka_unit_test(block_sizes_are_those_of_the_format),
        cmocka_unit_test(unsupported_types_have_a_name_but_no_size),
        cmocka_unit_test(unknown_ids_have_neither_name_nor_size),
    };
    return cmocka_run_group_tests_name("quant", tests, NULL, NULL);
}
