/* attend_avx512.c - the vector parts of attend.h, and merge: a group is a register of 16 sums. */
#include "kern/attend.h"
#include "kern/simd_avx512.h"

enum { ROWS = ATTEND_ROWS, GROUPS = 4 };

/* 16 pairs. */
static inline __m512i load_pairs(enum kern_kv type, const char *m)
{
    return type == KERN_KV_Q16 ? _mm512_loadu_si512((const void *)m)
                               : _mm512_cvtepi8_epi16(_mm256_loadu_si256((const void *)m));
}

/* `rows` rows times `groups` groups from group `first` on. Inlined with constants, so that all sums
 * live in registers. */
static inline __attribute__((always_inline)) void multiply_block(const struct attend_product *p,
                                                                 uint32_t first, enum kern_kv type,
                                                                 uint32_t rows, uint32_t groups)
{
    __m512i s[ROWS][GROUPS];
    size_t factor_stride = p->factor_stride, group_stride = p->group_stride;
    UNROLL
    for (uint32_t r = 0; r < rows; r++) {
        UNROLL
        for (uint32_t g = 0; g < groups; g++) {
            s[r][g] = _mm512_setzero_si512();
        }
    }
    const char *m = p->m + first * group_stride;
    const int16_t *pair = p->factors;
    for (const int16_t *end = pair + 2 * p->n_steps; pair < end; pair += 2, m += p->step_stride) {
        if (p->ahead != 0) {
            UNROLL
            for (uint32_t g = 0; g < groups; g++) {
                __builtin_prefetch(m + g * group_stride + p->ahead, 0, 2);
            }
        }
        __m512i v[GROUPS];
        UNROLL
        for (uint32_t g = 0; g < groups; g++) {
            v[g] = load_pairs(type, m + g * group_stride);
        }
        UNROLL
        for (uint32_t r = 0; r < rows; r++) {
            __m512i f = _mm512_set1_epi32(attend_pair(pair + r * factor_stride));
            UNROLL
            for (uint32_t g = 0; g < groups; g++) {
                s[r][g] = _mm512_dpwssd_epi32(s[r][g], v[g], f);
            }
        }
    }
    UNROLL
    for (uint32_t r = 0; r < rows; r++) {
        UNROLL
        for (uint32_t g = 0; g < groups; g++) {
            int32_t *sums = p->sums + r * KERN_ATTN_MAX_DIM + (first + g) * 16;
            _mm512_storeu_si512(sums, s[r][g]);
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

MULTIPLY_TYPE(Q16)
MULTIPLY_TYPE(Q8_0)

static multiply_block_fn *const multiply_table[KERN_KV_COUNT][ROWS][GROUPS] = {NAMES_TYPE(Q16),
                                                                               NAMES_TYPE(Q8_0)};

static void multiply(const struct attend_product *p)
{
    for (uint32_t first = 0; first < p->n_groups; first += GROUPS) {
        uint32_t left = p->n_groups - first;
        multiply_table[p->type][p->n_rows - 1][left < GROUPS ? left - 1 : GROUPS - 1](p, first);
    }
}

/* Which of keys i..i+15 are among the first n_keys. */
static inline __mmask16 valid_keys(uint32_t i, uint32_t n_keys)
{
    return n_keys <= i ? 0 : n_keys - i < 16 ? simd512_first(n_keys - i) : 0xFFFF;
}

static void weigh(struct attend_block *b, uint32_t r)
{
    float p[KERN_ATTN_TILE]; /* scores, then weights times vd */
    uint32_t n_keys = b->n_keys[r];
    __m512 max = _mm512_set1_ps(b->a->m[b->first + r]), qd = _mm512_set1_ps(b->a->qd[b->first + r]);
    for (uint32_t i = 0; i < n_keys; i += 16) {
        __m512 score = _mm512_cvtepi32_ps(_mm512_loadu_si512(b->sums[r] + i));
        score = _mm512_mul_ps(score, _mm512_mul_ps(qd, _mm512_loadu_ps(b->tile->kd + i)));
        _mm512_storeu_ps(p + i, score);
        /* the second operand of max is the result when the first is NaN */
        max = _mm512_mask_max_ps(max, valid_keys(i, n_keys), score, max);
    }
    float mn = _mm512_reduce_max_ps(max) + 0.0f;
    __m512 lanes = _mm512_setzero_ps();
    __m512i top = _mm512_setzero_si512(); /* the largest weights, as bits */
    for (uint32_t i = 0; i < n_keys; i += 16) {
        __mmask16 valid = valid_keys(i, n_keys);
        __m512 weight = simd512_exp(_mm512_sub_ps(_mm512_loadu_ps(p + i), _mm512_set1_ps(mn)));
        lanes = _mm512_mask_add_ps(lanes, valid, lanes, weight);
        weight = _mm512_mul_ps(weight, _mm512_loadu_ps(b->tile->vd + i));
        __m512i bits = _mm512_castps_si512(_mm512_abs_ps(weight));
        top = _mm512_mask_max_epu32(top, valid, top, bits);
        _mm512_storeu_ps(p + i, weight);
    }
    attend_update(b, r, mn, simd512_sum(lanes));
    float inverse = attend_scale_weights(b, r, _mm512_reduce_max_epu32(top));
    for (uint32_t i = 0; i < KERN_ATTN_TILE; i += 16) {
        __mmask16 valid = inverse != 0.0f ? valid_keys(i, n_keys) : 0;
        __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(valid, p + i), _mm512_set1_ps(inverse));
        __m512i quants = _mm512_maskz_cvtps_epi32(valid, scaled);
        _mm256_storeu_si256((void *)(b->pq[r] + i), _mm512_cvtepi32_epi16(quants));
    }
}

static void weights(struct attend_block *b)
{
    for (uint32_t r = 0; r < b->n_rows; r++) {
        weigh(b, r);
    }
}

static void add(float *o, const int32_t *sums, uint32_t dim_v, float pd, float c)
{
    for (uint32_t d = 0; d < dim_v; d += 16) {
        __m512 sum = _mm512_cvtepi32_ps(_mm512_loadu_si512(sums + d));
        __m512 kept = _mm512_mul_ps(_mm512_loadu_ps(o + d), _mm512_set1_ps(c));
        _mm512_storeu_ps(o + d, _mm512_fmadd_ps(sum, _mm512_set1_ps(pd), kept));
    }
}

static void attend(const struct kern_attn *a, const struct kern_kv_tile *tile,
                   const uint32_t *n_keys)
{
    attend_tile(a, tile, n_keys, &(const struct attend_set){multiply, weights, add});
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
    t->attend[KERN_KV_Q16] = t->attend[KERN_KV_Q8_0] = attend;
    t->merge = merge;
}
