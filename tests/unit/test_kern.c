/* test_kern.c - which sets exist and run, the memory of activations, and what `ref` promises where
 * the answer is known without it. That the other sets equal `ref` is the work of tests/check. */
#include "base/half.h"
#include "base/rng.h"
#include "kern/kern_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const enum kern_set all_sets[] = {KERN_REF, KERN_AVX2, KERN_AVXVNNI, KERN_AVX512,
                                         KERN_AMX, KERN_NEON, KERN_I8MM};

static void names_and_sets_are_the_same_list(void **state)
{
    (void)state;
    for (int i = 0; i < KERN_SET_COUNT; i++) {
        enum kern_set parsed = KERN_SET_COUNT;
        assert_true(kern_parse(kern_name(all_sets[i]), &parsed));
        assert_int_equal(parsed, all_sets[i]);
    }
    assert_string_equal(kern_name(KERN_AVX2), "avx2");
    enum kern_set untouched = KERN_AVX2;
    assert_false(kern_parse("avx", &untouched));
    assert_false(kern_parse("", &untouched));
    assert_int_equal(untouched, KERN_AVX2);
}

static void every_slot_of_every_set_is_filled(void **state)
{
    (void)state;
    for (int i = 0; i < KERN_SET_COUNT; i++) {
        struct error e = {0};
        const struct kern_table *t = kern_get(all_sets[i], &e);
        if (!t) {
            assert_int_equal(e.code, ERROR_UNSUPPORTED);
            assert_non_null(strstr(e.text, kern_name(all_sets[i])));
            continue;
        }
        assert_string_equal(t->name, kern_name(all_sets[i]));
        for (int form = 0; form < PACK_ACT_COUNT; form++) {
            assert_non_null(t->store_act[form]);
        }
        for (uint32_t type = 0; type < QUANT_TYPE_COUNT; type++) {
            assert_int_equal(t->matmul[type] != NULL, quant_type_info(type) != NULL);
        }
        assert_true(t->rmsnorm && t->rope && t->silu_mul && t->add && t->to_q8 && t->to_q16);
        assert_true(t->to_f16 && t->merge);
        for (enum kern_kv type = 0; type < KERN_KV_COUNT; type++) {
            assert_non_null(t->attend[type]);
        }
    }
}

static void the_best_set_runs_and_none_behind_it_does(void **state)
{
    (void)state;
    assert_non_null(kern_get(KERN_REF, NULL));
    assert_non_null(kern_get(kern_best(), NULL));
    assert_true(KERN_AVX2 < KERN_AVXVNNI && KERN_AVXVNNI < KERN_AVX512);
    assert_int_not_equal(kern_best(), KERN_AMX); /* has to be asked for */
    for (int s = kern_best() + 1; s < KERN_SET_COUNT; s++) {
        assert_true(s == KERN_AMX || kern_get((enum kern_set)s, NULL) == NULL);
    }
}

static void a_set_is_refused_for_each_feature_it_needs(void **state)
{
    (void)state;
    const unsigned avx2 = KERN_CPU_AVX2 | KERN_CPU_FMA | KERN_CPU_F16C;
    assert_null(kern_cpu_missing(KERN_REF, 0));
    assert_null(kern_cpu_missing(KERN_AVX2, avx2));
    assert_string_equal(kern_cpu_missing(KERN_AVX2, avx2 & ~(unsigned)KERN_CPU_FMA), "FMA");
    assert_string_equal(kern_cpu_missing(KERN_AVX2, avx2 & ~(unsigned)KERN_CPU_F16C), "F16C");
    assert_string_equal(kern_cpu_missing(KERN_AVX2, avx2 & ~(unsigned)KERN_CPU_AVX2), "AVX2");
    assert_null(kern_cpu_missing(KERN_AVXVNNI, avx2 | KERN_CPU_AVXVNNI));
    assert_string_equal(kern_cpu_missing(KERN_AVXVNNI, avx2), "AVX_VNNI");
    assert_string_equal(kern_cpu_missing(KERN_AVXVNNI, ~(unsigned)KERN_CPU_AVXVNNI), "AVX_VNNI");
    assert_string_equal(kern_cpu_missing(KERN_AVXVNNI, KERN_CPU_AVXVNNI), "AVX2");
    for (unsigned bit = 1; bit <= KERN_CPU_AVX512VNNI; bit *= 2) {
        assert_non_null(kern_cpu_missing(KERN_AVX512, ~bit));
    }
    assert_null(kern_cpu_missing(KERN_AVX512, ~(unsigned)KERN_CPU_AVXVNNI));
    assert_string_equal(kern_cpu_missing(KERN_AVX512, avx2), "AVX512F");
    assert_null(kern_cpu_missing(KERN_AMX, ~0u));
    assert_string_equal(kern_cpu_missing(KERN_AMX, ~(unsigned)KERN_CPU_AMX_TILE), "AMX_TILE");
    assert_string_equal(kern_cpu_missing(KERN_AMX, ~(unsigned)KERN_CPU_AMX_INT8), "AMX_INT8");
    assert_string_equal(kern_cpu_missing(KERN_AMX, ~(unsigned)KERN_CPU_AVX512VNNI), "AVX512_VNNI");
    assert_null(kern_cpu_missing(KERN_NEON, KERN_CPU_DOTPROD));
    assert_string_equal(kern_cpu_missing(KERN_NEON, ~(unsigned)KERN_CPU_DOTPROD), "FEAT_DotProd");
    assert_null(kern_cpu_missing(KERN_I8MM, KERN_CPU_DOTPROD | KERN_CPU_I8MM));
    assert_string_equal(kern_cpu_missing(KERN_I8MM, KERN_CPU_DOTPROD), "FEAT_I8MM");
    assert_string_equal(kern_cpu_missing(KERN_I8MM, KERN_CPU_I8MM), "FEAT_DotProd");
}

static void numerics_have_names(void **state)
{
    (void)state;
    for (int i = 0; i < KERN_NUMERICS_COUNT; i++) {
        enum kern_numerics parsed = KERN_NUMERICS_COUNT;
        assert_true(kern_numerics_parse(kern_numerics_name((enum kern_numerics)i), &parsed));
        assert_int_equal(parsed, i);
    }
    enum kern_numerics untouched = KERN_BF16;
    assert_false(kern_numerics_parse("bf", &untouched));
    assert_int_equal(untouched, KERN_BF16);
}

static void numerics_bf16_take_ref_or_the_instructions_of_avx512(void **state)
{
    (void)state;
    assert_true(kern_cpu_has_bf16(KERN_REF, 0));
#if defined(__x86_64__)
    assert_true(kern_cpu_has_bf16(KERN_AVX512, ~0u) && kern_cpu_has_bf16(KERN_AMX, ~0u));
#endif
    assert_false(kern_cpu_has_bf16(KERN_AVX512, ~(unsigned)KERN_CPU_AVX512BF16));
    assert_false(kern_cpu_has_bf16(KERN_AVX512, KERN_CPU_AVX512BF16));
    assert_false(kern_cpu_has_bf16(KERN_AVX2, ~0u));
    assert_false(kern_cpu_has_bf16(KERN_NEON, ~0u));
    struct error e = {0};
    for (int i = 0; i < KERN_SET_COUNT; i++) {
        const struct kern_table *plain = kern_get(all_sets[i], &e);
        const struct kern_table *bf16 = kern_get_bf16(all_sets[i], &e);
        if (bf16 == NULL) {
            assert_int_equal(e.code, ERROR_UNSUPPORTED);
            assert_non_null(strstr(e.text, kern_name(all_sets[i])));
            assert_non_null(strstr(e.text, plain == NULL ? "feature" : "AVX512_BF16"));
            continue;
        }
        assert_true(plain->numerics == KERN_PORTABLE && bf16->numerics == KERN_BF16);
        assert_string_equal(bf16->name, plain->name);
        for (uint32_t type = 0; type < QUANT_TYPE_COUNT; type++) {
            bool is_bf16 = type == QUANT_BF16;
            assert_int_equal(bf16->matmul[type] == plain->matmul[type], !is_bf16);
            assert_int_equal(bf16->act[type], is_bf16 ? PACK_ACT_BF16 : plain->act[type]);
        }
    }
}

/* One product of a pair by every set that has numerics bf16: W = (even, odd), a likewise. The chain
 * starts at f by a pair before, f as a product of 1. */
struct pair_case {
    uint32_t f[2]; /* bf16 of a weight and an activation */
    uint32_t w_even, w_odd, a_even, a_odd;
    uint32_t want; /* bits of f32 */
};

static float bf16_product(const struct kern_table *set, const struct pair_case *p)
{
    enum { COLS = 4 };
    _Alignas(64) uint8_t packed[64 * COLS / 2] = {0}, memory[64];
    const uint32_t weights[2] = {p->f[0], p->w_even | p->w_odd << 16};
    memcpy(packed, &weights[0], 4);
    memcpy(packed + 64, &weights[1], 4);
    struct pack_matrix w;
    assert_true(pack_matrix_init(&w, QUANT_BF16, 1, COLS, NULL));
    w.data = packed;
    struct kern_act a;
    kern_act_init(&a, PACK_ACT_BF16, 1, COLS, memory);
    const uint16_t items[COLS] = {(uint16_t)p->f[1], 0, (uint16_t)p->a_even, (uint16_t)p->a_odd};
    memcpy(a.b, items, sizeof items);
    float y;
    set->matmul[QUANT_BF16](&w, 0, 1, &a, &y, 1);
    return y;
}

/* Worked by hand from the description of vdpbf16ps: see kern.h. */
static void a_bf16_pair_adds_its_odd_product_first_and_knows_no_denormals(void **state)
{
    (void)state;
    static const struct pair_case cases[] = {
        /* 1 + 2 * 4 + 3 * 5 */
        {{0x3F80, 0x3F80}, 0x4000, 0x4040, 0x4080, 0x40A0, 0x41C00000},
        /* -2^30 + 2^30 (odd) + 1 (even) = 1; the other way round 1 would be lost, and the sum 0 */
        {{0xCE80, 0x3F80}, 0x3F80, 0x4E80, 0x3F80, 0x3F80, 0x3F800000},
        /* 2^30 + 1 (odd) - 2^30 (even): 1 is lost, exact would be 1 */
        {{0x4E80, 0x3F80}, 0xCE80, 0x3F80, 0x3F80, 0x3F80, 0x00000000},
        /* 2^24 + 1 (odd) is a tie, rounded to even: 2^24; + 3 (even): 2^24 + 3 is a tie: 2^24 +
         * 4 */
        {{0x4B80, 0x3F80}, 0x4040, 0x3F80, 0x3F80, 0x3F80, 0x4B800002},
        /* denormal operands are zeros: 2^-127 * 2^100 */
        {{0, 0}, 0x0040, 0, 0x7180, 0, 0x00000000},
        {{0, 0}, 0x7180, 0, 0x0040, 0, 0x00000000},
        /* denormal results, too: 2^-63 * 2^-64, of either sign; 2^-63 * 2^-63 is normal */
        {{0, 0}, 0x2000, 0, 0x1F80, 0, 0x00000000},
        {{0x8000, 0x3F80}, 0xA000, 0x8000, 0x1F80, 0x3F80, 0x80000000},
        {{0, 0}, 0x2000, 0, 0x2000, 0, 0x00800000},
        /* 2^-126 - 2^-150 has 24 bits and is too small; 2^-126 - 2^-151 rounds to 2^-126 */
        {{0x0080, 0x3F80}, 0x9280, 0, 0x2180, 0, 0x00000000},
        {{0x0080, 0x3F80}, 0x9200, 0, 0x2180, 0, 0x00800000},
        /* after the odd product, too: (2^-126 - 2^-150) + 2^-126 is 2^-126 */
        {{0x0080, 0x3F80}, 0x2000, 0x9280, 0x2000, 0x2180, 0x00800000},
        /* largest bf16 squared; infinity stays */
        {{0, 0}, 0x7F7F, 0, 0x7F7F, 0, 0x7F800000},
        {{0xFF80, 0x3F80}, 0x7F7F, 0x7F7F, 0x3F80, 0x3F80, 0xFF800000},
    };
    for (int s = 0; s < KERN_SET_COUNT; s++) {
        const struct kern_table *set = kern_get_bf16((enum kern_set)s, NULL);
        for (size_t i = 0; set != NULL && i < sizeof cases / sizeof cases[0]; i++) {
            uint32_t got = half_to_bits(bf16_product(set, &cases[i]));
            if (got != cases[i].want) {
                fail_msg("%s, case %zu: %08x, expected %08x", set->name, i, got, cases[i].want);
            }
        }
        if (set != NULL) { /* infinity times 0, and infinity - infinity */
            assert_true(isnan(bf16_product(set, &(struct pair_case){.w_odd = 0x7F80})));
            const struct pair_case less = {{0xFF80, 0x3F80}, 0x7F80, 0, 0x3F80, 0, 0};
            assert_true(isnan(bf16_product(set, &less)));
        }
    }
}

static void bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    static const struct {
        uint32_t f32;
        uint16_t want;
    } cases[] = {
        {0x3F800000, 0x3F80}, {0x3F808000, 0x3F80}, {0x3F818000, 0x3F82}, {0x3F808001, 0x3F81},
        {0xBF817FFF, 0xBF81}, {0x7F7F7FFF, 0x7F7F}, {0x7F7F8000, 0x7F80}, {0xFF800000, 0xFF80},
        {0x00008000, 0x0000}, {0x00008001, 0x0001}, {0x007FFFFF, 0x0080}, {0x80000000, 0x8000},
        {0x7F800001, 0x7FC0}, {0xFFFFFFFF, 0xFFFF}, {0x7FA12345, 0x7FE1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(half_f32_to_bf16(half_from_bits(cases[i].f32)), cases[i].want);
    }
}

/* As numpy.float16 rounds them; a signalling NaN becomes a quiet one (IEEE 754, 6.2). */
static void floats_become_halves_by_rounding_to_nearest_even(void **state)
{
    (void)state;
    static const struct {
        uint32_t f32;
        uint16_t want;
    } cases[32] = {
        {0x3F800000, 0x3C00},
        {0x3F801000, 0x3C00},
        {0x3F801001, 0x3C01},
        {0x3F803000, 0x3C02},
        {0xBF803000, 0xBC02},
        {0x3F802FFF, 0x3C01},
        /* the largest half is 65504, and 65520 a tie with what is infinite */
        {0x477FE000, 0x7BFF},
        {0x477FEFFF, 0x7BFF},
        {0x477FF000, 0x7C00},
        {0xC77FF000, 0xFC00},
        {0x7F7FFFFF, 0x7C00},
        {0x7F800000, 0x7C00},
        {0xFF800000, 0xFC00},
        /* 2^-14 is the smallest that is normal, 2^-24 the smallest of all */
        {0x38800000, 0x0400},
        {0x387FFFFF, 0x0400},
        {0x387FE000, 0x0400},
        {0x387FD000, 0x03FF},
        {0x33800000, 0x0001},
        {0x33000000, 0x0000},
        {0x33000001, 0x0001},
        {0xB3000000, 0x8000},
        {0x33C00000, 0x0002},
        {0x34200000, 0x0002},
        {0x00000001, 0x0000},
        {0x80000000, 0x8000},
        {0x807FFFFF, 0x8000},
        {0x00000000, 0x0000},
        {0x7FC00000, 0x7E00},
        {0xFFFFFFFF, 0xFFFF},
        {0x7F802000, 0x7E01},
        {0x7F800001, 0x7E00},
        {0xFFA12345, 0xFF09},
    };
    float x[32];
    uint16_t halves[32];
    for (int i = 0; i < 32; i++) {
        x[i] = half_from_bits(cases[i].f32);
    }
    for (int set = 0; set < KERN_SET_COUNT; set++) {
        const struct kern_table *kern = kern_get(all_sets[set], NULL);
        if (kern != NULL) {
            kern->to_f16(halves, x, 32);
        }
        for (int i = 0; kern != NULL && i < 32; i++) {
            assert_int_equal(halves[i], cases[i].want);
        }
    }
}

static void activation_arrays_follow_each_other_on_64_bytes(void **state)
{
    (void)state;
    _Alignas(64) static char memory[16384];
    struct kern_act a;
    kern_act_init(&a, PACK_ACT_Q256, 13, 512, memory);
    /* 13 * 512 quants, 13 * 2 scales, 13 * 32, 13 * 16 and 13 * 2 sums of 2 bytes, rounded up */
    assert_ptr_equal(a.q, memory);
    assert_ptr_equal(a.d, memory + 6656);
    assert_ptr_equal(a.n16, memory + 6656 + 128);
    assert_ptr_equal(a.n32, memory + 6656 + 128 + 832);
    assert_ptr_equal(a.most16, memory + 6656 + 128 + 832 + 448);
    assert_null(a.f);
    assert_null(a.s);
    assert_null(a.n);
    assert_int_equal(kern_act_bytes(PACK_ACT_Q256, 13, 512), 6656 + 128 + 832 + 448 + 64);
    assert_int_equal(kern_act_bytes(PACK_ACT_F32, 3, 5), 64);
    assert_int_equal(kern_act_bytes(PACK_ACT_BF16, 5, 10), 2 * 64);
    assert_int_equal(kern_act_bytes(PACK_ACT_Q32, 1, 32), 4 * 64);
    assert_int_equal(kern_act_bytes(PACK_ACT_Q32, 0, 32), 0);
    size_t tiles = kern_act_bytes(PACK_ACT_Q256, 13, 512);
    kern_act_init(&a, PACK_ACT_Q256_ROWS, 13, 512, memory);
    assert_ptr_equal(a.rows, memory + tiles);
    assert_int_equal(kern_act_bytes(PACK_ACT_Q256_ROWS, 13, 512), tiles + 13 * 2 * 320);
    assert_int_equal(kern_act_tiles(0), 0);
    assert_int_equal(kern_act_tiles(12), 1);
    assert_int_equal(kern_act_tiles(13), 2);
}

/* What a Q32 or Q256 activation says value k of token t is. */
static double stored_value(const struct kern_act *a, uint32_t t, uint32_t k)
{
    uint32_t first = t / KERN_TILE * KERN_TILE;
    uint32_t width = a->n_tokens - first < KERN_TILE ? a->n_tokens - first : KERN_TILE;
    uint32_t block = a->form == PACK_ACT_Q32 ? 32 : 256;
    size_t n = a->form == PACK_ACT_Q32 ? a->cols : 256; /* quants in tile order */
    size_t q = (k / n * a->n_tokens + first) * n + (k % n / 8 * width + (t - first)) * 8 + k % 8;
    size_t d = (size_t)first * (a->cols / block) + (size_t)(k / block) * width + (t - first);
    return (double)a->d[d] * a->q[q];
}

/* Rounding to 127 steps of the block's largest value errs by at most half a step. */
static void quantised_activations_are_within_half_a_step(void **state)
{
    (void)state;
    enum { TOKENS = 14, COLS = 512 };
    static float x[TOKENS][COLS];
    _Alignas(64) static char memory[65536];
    struct rng r;
    rng_init(&r, 7);
    for (uint32_t t = 0; t < TOKENS; t++) {
        for (uint32_t k = 0; k < COLS; k++) {
            x[t][k] = (float)((rng_uniform(&r) - 0.5) * (t + 1) * (k % 7));
        }
    }
    const struct kern_table *ref = kern_get(KERN_REF, NULL);
    for (int form = PACK_ACT_Q32; form <= PACK_ACT_Q256; form++) {
        struct kern_act a;
        uint32_t block = form == PACK_ACT_Q32 ? 32 : 256;
        kern_act_init(&a, (enum pack_act)form, TOKENS, COLS, memory);
        ref->store_act[form](&a, x[0], COLS, 0, kern_act_tiles(TOKENS));
        for (uint32_t t = 0; t < TOKENS; t++) {
            for (uint32_t k = 0; k < COLS; k++) {
                double largest = 0.0;
                for (uint32_t i = k / block * block; i < (k / block + 1) * block; i++) {
                    largest = fmax(largest, fabs((double)x[t][i]));
                }
                double bound = largest / 127.0 * 0.5 * 1.00001;
                assert_true(fabs(stored_value(&a, t, k) - (double)x[t][k]) <= bound);
            }
        }
    }
}

static void activations_stored_in_parts_are_those_stored_whole(void **state)
{
    (void)state;
    enum { TOKENS = 14, COLS = 512, MEMORY = 65536 };
    static float x[TOKENS][COLS];
    _Alignas(64) static char whole[MEMORY], parts[MEMORY];
    for (uint32_t i = 0; i < TOKENS * COLS; i++) {
        x[i / COLS][i % COLS] = sinf((float)i);
    }
    for (int i = 0; i < KERN_SET_COUNT * PACK_ACT_COUNT; i++) {
        const struct kern_table *set = kern_get(all_sets[i / PACK_ACT_COUNT], NULL);
        int form = i % PACK_ACT_COUNT;
        struct kern_act a, b;
        if (set == NULL) {
            continue;
        }
        memset(whole, 0, MEMORY);
        memset(parts, 0, MEMORY);
        kern_act_init(&a, (enum pack_act)form, TOKENS, COLS, whole);
        kern_act_init(&b, (enum pack_act)form, TOKENS, COLS, parts);
        set->store_act[form](&a, x[0], COLS, 0, kern_act_tiles(TOKENS));
        for (uint32_t tile = 0; tile < kern_act_tiles(TOKENS); tile++) {
            for (uint32_t begin = 0; begin < COLS; begin += 256) {
                struct kern_act part = kern_act_part(&b, tile, begin, begin + 256);
                set->store_act[form](&part, x[kern_tile_begin(tile)] + begin, COLS, 0, 1);
            }
        }
        assert_memory_equal(whole, parts, MEMORY);
    }
}

static void the_float_kernels_of_ref_compute_their_formulas(void **state)
{
    (void)state;
    enum { N = 100 };
    const struct kern_table *ref = kern_get(KERN_REF, NULL);
    float x[N], w[N], y[N];
    double squares = 0.0;
    for (int i = 0; i < N; i++) {
        x[i] = sinf((float)i) * 3.0f;
        w[i] = 1.0f + 0.01f * (float)i;
        squares += (double)x[i] * x[i];
    }
    ref->rmsnorm(y, x, w, N, 1e-5f);
    for (int i = 0; i < N; i++) {
        assert_float_equal(y[i], x[i] / sqrt(squares / N + 1e-5) * w[i], 1e-5);
    }
    ref->silu_mul(y, x, w, N);
    for (int i = 0; i < N; i++) {
        assert_float_equal(y[i], x[i] / (1.0 + exp(-(double)x[i])) * w[i], 1e-5);
    }
    memcpy(y, x, sizeof y);
    float cos_sin[4] = {cosf(0.3f), sinf(0.3f), cosf(2.0f), sinf(2.0f)};
    ref->rope(y, 2, 6, 4, cos_sin); /* two heads of 6, of which 4 rotate */
    for (int head = 0; head < 12; head += 6) {
        assert_float_equal(y[head], x[head] * cos(0.3) - x[head + 1] * sin(0.3), 1e-5);
        assert_float_equal(y[head + 1], x[head] * sin(0.3) + x[head + 1] * cos(0.3), 1e-5);
        assert_float_equal(y[head + 3], x[head + 2] * sin(2.0) + x[head + 3] * cos(2.0), 1e-5);
        assert_true(y[head + 4] == x[head + 4] && y[head + 5] == x[head + 5]);
    }
}

enum { ROWS = 7, DIM = 48, KEYS = 3 * KERN_ATTN_TILE };

/* A row's attention over the keys it sees, in double, by the textbook. */
static void plain_attention(const float *q, const float k[KEYS][DIM], const float v[KEYS][DIM],
                            uint32_t n_keys, double out[DIM])
{
    double scores[KEYS], max = -INFINITY, sum = 0.0;
    for (uint32_t i = 0; i < n_keys; i++) {
        scores[i] = 0.0;
        for (int d = 0; d < DIM; d++) {
            scores[i] += (double)q[d] * k[i][d];
        }
        max = fmax(max, scores[i]);
    }
    for (int d = 0; d < DIM; d++) {
        out[d] = 0.0;
    }
    for (uint32_t i = 0; i < n_keys; i++) {
        double p = exp(scores[i] - max);
        sum += p;
        for (int d = 0; d < DIM; d++) {
            out[d] += p * v[i][d];
        }
    }
    for (int d = 0; d < DIM; d++) {
        out[d] /= sum;
    }
}

struct partial {
    float m[ROWS], l[ROWS], o[ROWS][DIM];
};

/* Rows that see the first n_keys of some keys. */
struct problem {
    float q[ROWS][DIM], k[KEYS][DIM], v[KEYS][DIM];
    uint32_t n_keys[ROWS];
};

/* One tile, and the queries, as they are stored. */
struct tile {
    int16_t k[KERN_ATTN_TILE * DIM], v[KERN_ATTN_TILE * DIM];
    float kd[KERN_ATTN_TILE], vd[KERN_ATTN_TILE];
    int16_t q[ROWS * DIM]; /* q16 */
    float qd[ROWS];
};

/* One row of items of 16 bits, and its scale. */
static float store_row(const struct kern_table *set, enum kern_kv type, int16_t *items,
                       const float *x)
{
    if (type == KERN_KV_F16) {
        set->to_f16((uint16_t *)items, x, DIM);
        return NAN; /* not to be read */
    }
    return set->to_q16(items, x, DIM, kern_kv_item_max(type));
}

static void store_tile(const struct kern_table *set, enum kern_kv type, struct tile *t, int tile,
                       const struct problem *p)
{
    int16_t items[DIM];
    for (uint32_t i = 0; i < KERN_ATTN_TILE; i++) {
        const uint32_t key = (uint32_t)tile * KERN_ATTN_TILE + i;
        t->kd[i] = store_row(set, type, items, p->k[key]);
        for (uint32_t d = 0; d < DIM; d++) {
            t->k[kern_kv_key_at(type, DIM, i, d)] = items[d];
        }
        t->vd[i] = store_row(set, type, items, p->v[key]);
        for (uint32_t d = 0; d < DIM; d++) {
            t->v[kern_kv_value_at(type, DIM, i, d)] = items[d];
        }
    }
}

static void run_tile(const struct kern_table *set, enum kern_kv type, struct partial *out, int tile,
                     const struct problem *p)
{
    struct tile t;
    uint32_t seen[ROWS];
    store_tile(set, type, &t, tile, p);
    for (int r = 0; r < ROWS; r++) {
        int64_t left = (int64_t)p->n_keys[r] - tile * KERN_ATTN_TILE;
        seen[r] = (uint32_t)(left < 0 ? 0 : left > KERN_ATTN_TILE ? KERN_ATTN_TILE : left);
        t.qd[r] = set->to_q16(t.q + r * DIM, p->q[r], DIM, kern_attn_query_max(type, DIM));
    }
    const void *q = type == KERN_KV_F16 ? (const void *)p->q : t.q;
    struct kern_attn a = {type, ROWS, DIM, DIM, q, t.qd, out->m, out->l, out->o[0], 0};
    set->attend[type](&a, &(struct kern_kv_tile){t.k, t.v, t.kd, t.vd}, seen);
}

/* Tiles 0 and 1 in one partial result, tile 2 in another, merged where it saw keys. */
static void check_attention(enum kern_kv type, double bound)
{
    static struct problem p = {.n_keys = {1, 63, 64, 65, 129, 160, 192}};
    struct rng r;
    rng_init(&r, 11);
    for (int i = 0; i < ROWS; i++) {
        for (int d = 0; d < DIM; d++) {
            p.q[i][d] = (float)(rng_uniform(&r) - 0.5);
        }
    }
    for (int i = 0; i < KEYS; i++) {
        for (int d = 0; d < DIM; d++) {
            p.k[i][d] = (float)(int)(rng_uniform(&r) * 64.0 - 32.0) / 16.0f;
            p.v[i][d] = (float)(int)(rng_uniform(&r) * 64.0 - 32.0) / 16.0f;
        }
    }
    const struct kern_table *set = kern_get(kern_best(), NULL);
    struct partial parts[2] = {0};
    for (int i = 0; i < ROWS; i++) {
        parts[0].m[i] = parts[1].m[i] = -INFINITY;
    }
    run_tile(set, type, &parts[0], 0, &p);
    run_tile(set, type, &parts[0], 1, &p);
    run_tile(set, type, &parts[1], 2, &p);
    for (int i = 0; i < ROWS; i++) {
        set->merge(&parts[0].m[i], &parts[0].l[i], parts[0].o[i], &parts[1].m[i], &parts[1].l[i],
                   parts[1].o[i], DIM);
        double want[DIM];
        plain_attention(p.q[i], p.k, p.v, p.n_keys[i], want);
        for (int d = 0; d < DIM; d++) {
            assert_float_equal(parts[0].o[i][d] / parts[0].l[i], want[d], bound);
        }
    }
}

static void attention_over_tiles_and_merged_spans_is_attention(void **state)
{
    (void)state;
    check_attention(KERN_KV_Q16, 2e-3); /* 13 bits of values up to 2 */
    check_attention(KERN_KV_F16, 5e-6); /* which these keys and values are */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_sets_are_the_same_list),
        cmocka_unit_test(every_slot_of_every_set_is_filled),
        cmocka_unit_test(the_best_set_runs_and_none_behind_it_does),
        cmocka_unit_test(a_set_is_refused_for_each_feature_it_needs),
        cmocka_unit_test(numerics_have_names),
        cmocka_unit_test(numerics_bf16_take_ref_or_the_instructions_of_avx512),
        cmocka_unit_test(a_bf16_pair_adds_its_odd_product_first_and_knows_no_denormals),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(floats_become_halves_by_rounding_to_nearest_even),
        cmocka_unit_test(activation_arrays_follow_each_other_on_64_bytes),
        cmocka_unit_test(quantised_activations_are_within_half_a_step),
        cmocka_unit_test(activations_stored_in_parts_are_those_stored_whole),
        cmocka_unit_test(the_float_kernels_of_ref_compute_their_formulas),
        cmocka_unit_test(attention_over_tiles_and_merged_spans_is_attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
