/* attend_avx512.c - the vector parts of attend.h, and merge: a group of 16 floats is a register. */
#include "kern/attend.h"
#include "kern/simd_avx512.h"

enum { ROWS = ATTEND_ROWS, GROUPS = 4 };

/* 16 items as floats. */
static inline __m512 load_items(enum kern_kv type, const char *m)
{
    return type == KERN_KV_F16
               ? _mm512_cvtph_ps(_mm256_loadu_si256((const void *)m))
               : _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)m)));
}

/* `rows` rows times `groups` groups from group `first` on. Inlined with constants, so that all sums
 * live in registers. */
static inline __attribute__((always_inline)) void multiply_block(const struct attend_product *p,
                                                                 uint32_t first, enum kern_kv type,
                                                                 uint32_t rows, uint32_t groups)
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
    const char *m = p->m + first * group_stride;
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
            v[g] = load_items(type, m + g * group_stride);
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
            if (type == KERN_KV_Q8_0 && p->end_scale) {
                s[r][g] = _mm512_mul_ps(s[r][g], _mm512_loadu_ps(p->end_scale + (first + g) * 16));
            }
            _mm512_storeu_ps(sums + r * p->sum_stride + g * 16, s[r][g]);
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
#define MULTIPLY_ROWS(type, rows)                                                                  \
    MULTIPLY(type, rows, 1)                                                                        \
    MULTIPLY(type, rows, 2)                                                                        \
    MULTIPLY(type, rows, 3)                                                                        \
    MULTIPLY(type, rows, 4)
#define MULTIPLY_TYPE(type)                                                                        \
    MULTIPLY_ROWS(type, 1)                                                                         \
    MULTIPLY_ROWS(type, 2)                                                                         \
    MULTIPLY_ROWS(type, 3)                                                                         \
    MULTIPLY_ROWS(type, 4)                                                                         \
    MULTIPLY_ROWS(type, 5)                                                                         \
    MULTIPLY_ROWS(type, 6)
#define NAMES(type, rows)                                                                          \
    {                                                                                              \
        multiply_##type##_##rows##x1, multiply_##type##_##rows##x2, multiply_##type##_##rows##x3,  \
            multiply_##type##_##rows##x4                                                           \
    }
#define NAMES_TYPE(type)                                                                           \
    {                                                                                              \
        NAMES(type, 1), NAMES(type, 2), NAMES(type, 3), NAMES(type, 4), NAMES(type, 5),            \
            NAMES(type, 6)                                                                         \
    }

MULTIPLY_TYPE(F16)
MULTIPLY_TYPE(Q8_0)

static multiply_block_fn *const multiply_table[KERN_KV_COUNT][ROWS][GROUPS] = {NAMES_TYPE(F16),
                                                                               NAMES_TYPE(Q8_0)};

static void multiply(const struct attend_product *p)
{
    for (uint32_t first = 0; first < p->n_groups; first += GROUPS) {
        uint32_t left = p->n_groups - first;
        multiply_table[p->type][p->n_rows - 1][left < GROUPS ? left - 1 : GROUPS - 1](p, first);
    }
}

static float weights(float *p, uint32_t n_keys, float *m, float *l, const float *vd)
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
        lanes = _mm512_mask_add_ps(lanes, valid, lanes, weight);
        _mm512_storeu_ps(p + i, vd ? _mm512_mul_ps(weight, _mm512_loadu_ps(vd + i)) : weight);
    }
    float c = fmath_expf(*m - mn);
    *l = fmaf(*l, c, simd512_sum(lanes));
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
