/* attend_avx2.c - the vector parts of attend.h, and merge: 16 floats are two registers. */
#include "kern/attend.h"
#include "kern/simd_avx2.h"

enum { ROWS = ATTEND_ROWS, GROUPS = 2 };

/* 8 items as floats. */
static inline __m256 load_items(enum kern_kv type, const char *m)
{
    return type == KERN_KV_F16
               ? _mm256_cvtph_ps(_mm_loadu_si128((const void *)m))
               : _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)m)));
}

/* `rows` rows times `groups` groups from group `first` on. Inlined with constants, so that all sums
 * live in registers; rows * groups * 2 of 16. */
static inline __attribute__((always_inline)) void multiply_block(const struct attend_product *p,
                                                                 uint32_t first, enum kern_kv type,
                                                                 uint32_t rows, uint32_t groups)
{
    __m256 s[ROWS][2 * GROUPS];
    float *sums = p->sums + first * 16;
    size_t factor_stride = p->factor_stride, group_stride = p->group_stride;
#pragma GCC unroll 6
    for (uint32_t r = 0; r < rows; r++) {
        __m256 scale = _mm256_set1_ps(p->scale ? p->scale[r] : 0.0f);
#pragma GCC unroll 4
        for (uint32_t i = 0; i < 2 * groups; i++) {
            const float *sum = sums + r * p->sum_stride + i * 8;
            s[r][i] = p->scale ? _mm256_mul_ps(_mm256_loadu_ps(sum), scale) : scale;
        }
    }
    const char *m = p->m + first * group_stride;
    const float *factor = p->factors;
    for (const float *end = factor + p->n_steps; factor < end; factor++, m += p->step_stride) {
        if (p->ahead != 0) {
#pragma GCC unroll 4
            for (uint32_t g = 0; g < groups; g++) {
                __builtin_prefetch(m + g * group_stride + p->ahead, 0, 2);
            }
        }
        __m256 v[2 * GROUPS];
#pragma GCC unroll 4
        for (uint32_t i = 0; i < 2 * groups; i++) {
            size_t at = i / 2 * group_stride + i % 2 * 8 * kern_kv_item_bytes(type);
            v[i] = load_items(type, m + at);
        }
#pragma GCC unroll 6
        for (uint32_t r = 0; r < rows; r++) {
            __m256 f = _mm256_set1_ps(factor[r * factor_stride]);
#pragma GCC unroll 4
            for (uint32_t i = 0; i < 2 * groups; i++) {
                s[r][i] = _mm256_fmadd_ps(f, v[i], s[r][i]);
            }
        }
    }
#pragma GCC unroll 6
    for (uint32_t r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (uint32_t i = 0; i < 2 * groups; i++) {
            if (type == KERN_KV_Q8_0 && p->end_scale) {
                s[r][i] =
                    _mm256_mul_ps(s[r][i], _mm256_loadu_ps(p->end_scale + first * 16 + i * 8));
            }
            _mm256_storeu_ps(sums + r * p->sum_stride + i * 8, s[r][i]);
        }
    }
}

typedef void multiply_block_fn(const struct attend_product *p, uint32_t first);

#define MULTIPLY(type, rows, groups)                                                               \
    static void multiply_##type##_##rows##x##groups(const struct attend_product *p,                \
                                                    uint32_t first)                                \
    {                                                                                              \
        multiply_block(p, first, KERN_KV_##type, rows, groups);                                    \
    }
#define MULTIPLY_TYPE(type)                                                                        \
    MULTIPLY(type, 1, 1)                                                                           \
    MULTIPLY(type, 2, 1)                                                                           \
    MULTIPLY(type, 3, 1)                                                                           \
    MULTIPLY(type, 4, 1)                                                                           \
    MULTIPLY(type, 5, 1)                                                                           \
    MULTIPLY(type, 6, 1)                                                                           \
    MULTIPLY(type, 1, 2)                                                                           \
    MULTIPLY(type, 2, 2)                                                                           \
    MULTIPLY(type, 3, 2)
/* [groups - 1][rows - 1]; two groups of more rows do not fit the registers */
#define NAMES_TYPE(type)                                                                           \
    {                                                                                              \
        {multiply_##type##_1x1, multiply_##type##_2x1, multiply_##type##_3x1,                      \
         multiply_##type##_4x1, multiply_##type##_5x1, multiply_##type##_6x1},                     \
            {multiply_##type##_1x2, multiply_##type##_2x2, multiply_##type##_3x2},                 \
    }

MULTIPLY_TYPE(F16)
MULTIPLY_TYPE(Q8_0)

static multiply_block_fn *const multiply_table[KERN_KV_COUNT][GROUPS][ROWS] = {NAMES_TYPE(F16),
                                                                               NAMES_TYPE(Q8_0)};

static void multiply(const struct attend_product *p)
{
    uint32_t n_at_once = p->n_rows <= 3 ? 2 : 1;
    for (uint32_t first = 0; first < p->n_groups; first += n_at_once) {
        uint32_t left = p->n_groups - first;
        multiply_table[p->type][(left < n_at_once ? left : n_at_once) - 1][p->n_rows - 1](p, first);
    }
}

/* The largest of m and p[0..n_keys). */
static float max_score(const float *p, uint32_t n_keys, float m)
{
    __m256 max = _mm256_set1_ps(m);
    for (uint32_t i = 0; i < n_keys; i += 8) {
        __m256 score = _mm256_loadu_ps(p + i);
        if (n_keys - i < 8) {
            __m256 valid = _mm256_castsi256_ps(simd256_first((int)(n_keys - i)));
            score = _mm256_blendv_ps(max, score, valid);
        }
        max = _mm256_max_ps(max, score);
    }
    __m128 max4 = _mm_max_ps(_mm256_castps256_ps128(max), _mm256_extractf128_ps(max, 1));
    max4 = _mm_max_ps(max4, _mm_movehl_ps(max4, max4));
    return _mm_cvtss_f32(_mm_max_ss(max4, _mm_movehdup_ps(max4)));
}

static float weights(float *p, uint32_t n_keys, float *m, float *l, const float *vd)
{
    float mn = max_score(p, n_keys, *m) + 0.0f;
    __m256 lanes[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (uint32_t i = 0; i < n_keys; i += 16) {
#pragma GCC unroll 2
        for (uint32_t h = 0; h < 2; h++) {
            float *at = p + i + h * 8;
            __m256 valid = _mm256_castsi256_ps(simd256_first((int)n_keys - (int)(i + h * 8)));
            __m256 weight = simd256_exp(_mm256_sub_ps(_mm256_loadu_ps(at), _mm256_set1_ps(mn)));
            weight = _mm256_and_ps(weight, valid); /* a weight is no -0: adding 0 is nothing */
            lanes[h] = _mm256_add_ps(lanes[h], weight);
            weight = vd ? _mm256_mul_ps(weight, _mm256_loadu_ps(vd + i + h * 8)) : weight;
            _mm256_storeu_ps(at, weight);
        }
    }
    float c = fmath_expf(*m - mn);
    *l = fmaf(*l, c, simd256_sum(lanes[0], lanes[1]));
    *m = mn;
    return c;
}

static void attend(const struct kern_attn *a, const struct kern_kv_tile *tile,
                   const uint32_t *n_keys)
{
    attend_tile(a, tile, n_keys, multiply, weights);
}

static void merge(float *ma, float *la, float *oa, const float *mb, const float *lb,
                  const float *ob, uint32_t dim_v)
{
    float factors[2];
    kern_merge_scalars(ma, la, *mb, *lb, factors);
    __m256 ca = _mm256_set1_ps(factors[0]), cb = _mm256_set1_ps(factors[1]);
    for (uint32_t d = 0; d < dim_v; d += 8) {
        __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(oa + d), ca);
        _mm256_storeu_ps(oa + d, _mm256_fmadd_ps(_mm256_loadu_ps(ob + d), cb, scaled));
    }
}

void kern_fill_attend_avx2(struct kern_table *t)
{
    t->attend = attend;
    t->merge = merge;
}
