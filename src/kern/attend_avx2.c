/* attend_avx2.c - the vector parts of attend.h, and merge: a group of 16 sums is two registers. */
#include "kern/attend.h"
#include "kern/simd_avx2.h"

enum { ROWS = ATTEND_ROWS, GROUPS = 2 };

/* 8 pairs. */
static inline __m256i load_pairs(enum kern_kv type, const char *m)
{
    return type == KERN_KV_Q16 ? _mm256_loadu_si256((const void *)m)
                               : _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)m));
}

/* `rows` rows times `groups` groups from group `first` on. Inlined with constants, so that all sums
 * live in registers; rows * groups * 2 of 16. */
static inline __attribute__((always_inline)) void multiply_block(const struct attend_product *p,
                                                                 uint32_t first, enum kern_kv type,
                                                                 uint32_t rows, uint32_t groups)
{
    __m256i s[ROWS][2 * GROUPS];
    size_t factor_stride = p->factor_stride, group_stride = p->group_stride;
    UNROLL
    for (uint32_t r = 0; r < rows; r++) {
        UNROLL
        for (uint32_t i = 0; i < 2 * groups; i++) {
            s[r][i] = _mm256_setzero_si256();
        }
    }
    const char *m = p->m + first * group_stride;
    const int16_t *pair = p->factors;
    struct attend_later later = *p->later;
    for (const int16_t *end = pair + 2 * p->n_steps; pair < end; pair += 2, m += p->step_stride) {
        if (p->ahead != 0) {
            UNROLL
            for (uint32_t g = 0; g < groups; g++) {
                attend_ask(&later, later.step_bytes);
            }
        }
        __m256i v[2 * GROUPS];
        UNROLL
        for (uint32_t i = 0; i < 2 * groups; i++) {
            size_t at = i / 2 * group_stride + i % 2 * 16 * kern_kv_item_bytes(type);
            v[i] = load_pairs(type, m + at);
        }
        UNROLL
        for (uint32_t r = 0; r < rows; r++) {
            __m256i f = _mm256_set1_epi32(attend_pair(pair + r * factor_stride));
            UNROLL
            for (uint32_t i = 0; i < 2 * groups; i++) {
                s[r][i] = _mm256_add_epi32(s[r][i], _mm256_madd_epi16(v[i], f));
            }
        }
    }
    *p->later = later;
    UNROLL
    for (uint32_t r = 0; r < rows; r++) {
        UNROLL
        for (uint32_t i = 0; i < 2 * groups; i++) {
            int32_t *sums = p->sums + r * KERN_ATTN_MAX_DIM + first * 16 + i * 8;
            _mm256_storeu_si256((void *)sums, s[r][i]);
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
    MULTIPLY(type, 2, 2)
/* [groups - 1][rows - 1]; two groups of more rows leave no register for the factors */
#define NAMES_TYPE(type)                                                                           \
    {                                                                                              \
        {multiply_##type##_1x1, multiply_##type##_2x1, multiply_##type##_3x1,                      \
         multiply_##type##_4x1, multiply_##type##_5x1, multiply_##type##_6x1},                     \
            {multiply_##type##_1x2, multiply_##type##_2x2},                                        \
    }

MULTIPLY_TYPE(Q16)
MULTIPLY_TYPE(Q8_0)

static multiply_block_fn *const multiply_table[KERN_KV_COUNT][GROUPS][ROWS] = {NAMES_TYPE(Q16),
                                                                               NAMES_TYPE(Q8_0)};

static void multiply(const struct attend_product *p)
{
    uint32_t n_at_once = p->n_rows <= 2 ? 2 : 1;
    for (uint32_t first = 0; first < p->n_groups; first += n_at_once) {
        uint32_t left = p->n_groups - first;
        multiply_table[p->type][(left < n_at_once ? left : n_at_once) - 1][p->n_rows - 1](p, first);
    }
}

/* All bits set in those of keys i..i+7 that are among the first n_keys. */
static inline __m256 valid_keys(uint32_t i, uint32_t n_keys)
{
    return _mm256_castsi256_ps(simd256_first((int)n_keys - (int)i));
}

/* p = the scores of row r, up to a multiple of 16; returns the largest of them and of the row's m,
 * NaN left out, and never -0. */
static float scores(const struct attend_block *b, uint32_t r, float *p)
{
    __m256 max = _mm256_set1_ps(b->a->m[b->first + r]), qd = _mm256_set1_ps(b->a->qd[b->first + r]);
    for (uint32_t i = 0; i < attend_round_keys(b->n_keys[r]); i += 8) {
        __m256 sum = _mm256_cvtepi32_ps(_mm256_loadu_si256((const void *)(b->sums[r] + i)));
        __m256 score = _mm256_mul_ps(sum, _mm256_mul_ps(qd, _mm256_loadu_ps(b->tile->kd + i)));
        _mm256_storeu_ps(p + i, score);
        score = _mm256_blendv_ps(max, score, valid_keys(i, b->n_keys[r]));
        max = _mm256_max_ps(score, max); /* max when score is NaN */
    }
    return simd256_max(max) + 0.0f;
}

/* p enters as the scores of row r, whose largest is mn, and leaves as weights times vd; returns the
 * largest of them, as bits. */
static uint32_t weigh(struct attend_block *b, uint32_t r, float mn, float *p)
{
    uint32_t n_keys = b->n_keys[r];
    __m256 lanes[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF));
    __m256i top = _mm256_setzero_si256();
    for (uint32_t i = 0; i < n_keys; i += 16) {
        attend_ask_in_weights(b);
        UNROLL
        for (uint32_t h = 0; h < 2; h++) {
            uint32_t at = i + h * 8;
            __m256 valid = valid_keys(at, n_keys);
            __m256 weight = simd256_exp(_mm256_sub_ps(_mm256_loadu_ps(p + at), _mm256_set1_ps(mn)));
            /* a weight is no -0: adding 0 is nothing */
            lanes[h] = _mm256_add_ps(lanes[h], _mm256_and_ps(weight, valid));
            weight = _mm256_mul_ps(weight, _mm256_loadu_ps(b->tile->vd + at));
            weight = _mm256_and_ps(weight, valid);
            top = _mm256_max_epu32(top, _mm256_castps_si256(_mm256_and_ps(weight, magnitude)));
            _mm256_storeu_ps(p + at, weight);
        }
    }
    attend_update(b, r, mn, simd256_sum(lanes[0], lanes[1]));
    return simd256_max_bits(top);
}

static void quantise(struct attend_block *b, uint32_t r, uint32_t top, const float *p)
{
    float inverse = attend_scale_weights(b, r, top);
    uint32_t i = 0;
    for (; i < attend_round_keys(b->n_keys[r]); i += 16) {
        _mm256_storeu_si256((void *)(b->pq[r] + i), simd256_quants(p + i, inverse));
    }
    for (; i < KERN_ATTN_TILE; i += 16) {
        _mm256_storeu_si256((void *)(b->pq[r] + i), _mm256_setzero_si256());
    }
}

/* Step by step for all rows, as in a row each step waits for the one before. */
static void weights(struct attend_block *b)
{
    float p[ATTEND_ROWS][KERN_ATTN_TILE], mn[ATTEND_ROWS];
    uint32_t top[ATTEND_ROWS];
    for (uint32_t r = 0; r < b->n_rows; r++) {
        mn[r] = scores(b, r, p[r]);
    }
    for (uint32_t r = 0; r < b->n_rows; r++) {
        top[r] = weigh(b, r, mn[r], p[r]);
    }
    for (uint32_t r = 0; r < b->n_rows; r++) {
        quantise(b, r, top[r], p[r]);
    }
}

static void add(float *o, const int32_t *sums, uint32_t dim_v, float pd, float c)
{
    for (uint32_t d = 0; d < dim_v; d += 8) {
        __m256 sum = _mm256_cvtepi32_ps(_mm256_loadu_si256((const void *)(sums + d)));
        __m256 kept = _mm256_mul_ps(_mm256_loadu_ps(o + d), _mm256_set1_ps(c));
        _mm256_storeu_ps(o + d, _mm256_fmadd_ps(sum, _mm256_set1_ps(pd), kept));
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
    __m256 ca = _mm256_set1_ps(factors[0]), cb = _mm256_set1_ps(factors[1]);
    for (uint32_t d = 0; d < dim_v; d += 8) {
        __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(oa + d), ca);
        _mm256_storeu_ps(oa + d, _mm256_fmadd_ps(_mm256_loadu_ps(ob + d), cb, scaled));
    }
}

void kern_fill_attend_avx2(struct kern_table *t)
{
    t->attend[KERN_KV_Q16] = t->attend[KERN_KV_Q8_0] = attend;
    t->merge = merge;
}
