/* attend_avx512.c - the vector parts of attend.h, and merge: a group of 16 floats is a register. */
#include "kern/attend.h"
#include "kern/simd_avx512.h"

enum { ROWS = ATTEND_ROWS, GROUPS = 4 };

/* `rows` rows times `groups` groups from group `first` on. Inlined with constants, so that all sums
 * live in registers. */
static inline __attribute__((always_inline)) void
multiply_block(const struct attend_product *p, uint32_t first, uint32_t rows, uint32_t groups)
{
    __m512 s[ROWS][GROUPS];
    float *sums = p->sums + first * 16;
    size_t factor_stride = p->factor_stride, group_stride = p->group_stride;
#pragma GCC unroll 6
    for (uint32_t r = 0; r < rows; r++) {
        __m512 scale = _mm512_set1_ps(p->scale ? p->scale[r] : 0.0f);
#pragma GCC unroll 4
        for (uint32_t g = 0; g < groups; g++) {
            const float *sum = sums + r * p->sum_stride + g * 16;
            s[r][g] = p->scale ? _mm512_mul_ps(_mm512_loadu_ps(sum), scale) : scale;
        }
    }
    const uint16_t *m = p->m + first * group_stride;
    const float *factor = p->factors;
    for (const float *end = factor + p->n_steps; factor < end; factor++, m += p->step_stride) {
        if (p->ahead != 0) {
#pragma GCC unroll 4
            for (uint32_t g = 0; g < groups; g++) {
                __builtin_prefetch(m + g * group_stride + p->ahead, 0, 2);
            }
        }
        __m512 v[GROUPS];
#pragma GCC unroll 4
        for (uint32_t g = 0; g < groups; g++) {
            v[g] = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(m + g * group_stride)));
        }
#pragma GCC unroll 6
        for (uint32_t r = 0; r < rows; r++) {
            __m512 f = _mm512_set1_ps(factor[r * factor_stride]);
#pragma GCC unroll 4
            for (uint32_t g = 0; g < groups; g++) {
                s[r][g] = _mm512_fmadd_ps(f, v[g], s[r][g]);
            }
        }
    }
#pragma GCC unroll 6
    for (uint32_t r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (uint32_t g = 0; g < groups; g++) {
            _mm512_storeu_ps(sums + r * p->sum_stride + g * 16, s[r][g]);
        }
    }
}

typedef void multiply_block_fn(const struct attend_product *p, uint32_t first);

#define MULTIPLY(rows, groups)                                                                     \
    static void multiply_##rows##x##groups(const struct attend_product *p, uint32_t first)         \
    {                                                                                              \
        multiply_block(p, first, rows, groups);                                                    \
    }
#define MULTIPLY_ROWS(rows) MULTIPLY(rows, 1) MULTIPLY(rows, 2) MULTIPLY(rows, 3) MULTIPLY(rows, 4)
#define NAMES(rows)                                                                                \
    {                                                                                              \
        multiply_##rows##x1, multiply_##rows##x2, multiply_##rows##x3, multiply_##rows##x4         \
    }

MULTIPLY_ROWS(1)
MULTIPLY_ROWS(2)
MULTIPLY_ROWS(3)
MULTIPLY_ROWS(4)
MULTIPLY_ROWS(5)
MULTIPLY_ROWS(6)

static multiply_block_fn *const multiply_table[ROWS][GROUPS] = {NAMES(1), NAMES(2), NAMES(3),
                                                                NAMES(4), NAMES(5), NAMES(6)};

static void multiply(const struct attend_product *p)
{
    for (uint32_t first = 0; first < p->n_groups; first += GROUPS) {
        uint32_t left = p->n_groups - first;
        multiply_table[p->n_rows - 1][left < GROUPS ? left - 1 : GROUPS - 1](p, first);
    }
}

static float weights(float *p, uint32_t n_keys, float *m, float *l)
{
    __m512 max = _mm512_set1_ps(*m);
    for (uint32_t i = 0; i < n_keys; i += 16) {
        __mmask16 valid = n_keys - i < 16 ? simd512_first(n_keys - i) : 0xFFFF;
        max = _mm512_mask_max_ps(max, valid, max, _mm512_loadu_ps(p + i));
    }
    float mn = _mm512_reduce_max_ps(max) + 0.0f;
    __m512 lanes = _mm512_setzero_ps();
    for (uint32_t i = 0; i < n_keys; i += 16) {
        __mmask16 valid = n_keys - i < 16 ? simd512_first(n_keys - i) : 0xFFFF;
        __m512 score = _mm512_loadu_ps(p + i);
        __m512 weight = simd512_exp(_mm512_sub_ps(score, _mm512_set1_ps(mn)));
        _mm512_storeu_ps(p + i, weight);
        lanes = _mm512_mask_add_ps(lanes, valid, lanes, weight);
    }
    float c = fmath_expf(*m - mn);
    *l = fmaf(*l, c, simd512_sum(lanes));
    *m = mn;
    return c;
}

static void attend(const struct kern_attn *a, const uint16_t *k, const uint16_t *v,
                   const uint32_t *n_keys)
{
    attend_tile(a, k, v, n_keys, multiply, weights);
}

static void merge(float *ma, float *la, float *oa, const float *mb, const float *lb,
                  const float *ob, uint32_t dim_v)
{
    float factors[2];
    kern_merge_scalars(ma, la, *mb, *lb, factors);
    __m512 ca = _mm512_set1_ps(factors[0]), cb = _mm512_set1_ps(factors[1]);
    for (uint32_t d = 0; d < dim_v; d += 16) {
        __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(oa + d), ca);
        _mm512_storeu_ps(oa + d, _mm512_fmadd_ps(_mm512_loadu_ps(ob + d), cb, scaled));
    }
}

void kern_fill_attend_avx512(struct kern_table *t)
{
    t->attend = attend;
    t->merge = merge;
}
