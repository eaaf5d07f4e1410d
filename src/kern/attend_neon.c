/* attend_neon.c - the vector parts of attend.h, and merge: a group of 16 sums is four registers. */
#include "kern/attend.h"
#include "kern/simd_neon.h"

enum { ROWS = ATTEND_ROWS, GROUPS = 2, GROUP_REGISTERS = 4 };

/* 8 pairs, their first items apart from their second. */
static inline int16x8x2_t load_pairs(enum kern_kv type, const char *m)
{
    if (type == KERN_KV_Q16) {
        return vld2q_s16((const void *)m);
    }
    int8x8x2_t bytes = vld2_s8((const void *)m);
    return (int16x8x2_t){{vmovl_s8(bytes.val[0]), vmovl_s8(bytes.val[1])}};
}

/* `rows` rows times `groups` groups from group `first` on. Inlined with constants, so that all sums
 * live in registers; rows * groups * 4 of 32. */
static inline __attribute__((always_inline)) void multiply_block(const struct attend_product *p,
                                                                 uint32_t first, enum kern_kv type,
                                                                 uint32_t rows, uint32_t groups)
{
    int32x4_t s[ROWS][GROUP_REGISTERS * GROUPS];
    size_t factor_stride = p->factor_stride, group_stride = p->group_stride;
    UNROLL
    for (uint32_t r = 0; r < rows; r++) {
        UNROLL
        for (uint32_t i = 0; i < GROUP_REGISTERS * groups; i++) {
            s[r][i] = vdupq_n_s32(0);
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
        UNROLL
        for (uint32_t h = 0; h < 2 * groups; h++) {
            size_t at = h / 2 * group_stride + h % 2 * 16 * kern_kv_item_bytes(type);
            int16x8x2_t v = load_pairs(type, m + at);
            UNROLL
            for (uint32_t r = 0; r < rows; r++) {
                int16x4_t f =
                    vreinterpret_s16_s32(vdup_n_s32(attend_pair(pair + r * factor_stride)));
                int32x4_t *low = &s[r][2 * h], *high = low + 1;
                *low = vmlal_lane_s16(*low, vget_low_s16(v.val[0]), f, 0);
                *high = vmlal_high_lane_s16(*high, v.val[0], f, 0);
                *low = vmlal_lane_s16(*low, vget_low_s16(v.val[1]), f, 1);
                *high = vmlal_high_lane_s16(*high, v.val[1], f, 1);
            }
        }
    }
    UNROLL
    for (uint32_t r = 0; r < rows; r++) {
        UNROLL
        for (uint32_t i = 0; i < GROUP_REGISTERS * groups; i++) {
            vst1q_s32(p->sums + r * KERN_ATTN_MAX_DIM + first * 16 + i * 4, s[r][i]);
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
/* [groups - 1][rows - 1]; two groups of more rows do not fit the registers */
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

/* All bits set in the lowest n of 4 lanes (none when n < 0, all when n > 4). */
static inline uint32x4_t first_lanes(int32_t n)
{
    static const int32_t lane[4] = {0, 1, 2, 3};
    return vcgtq_s32(vdupq_n_s32(n), vld1q_s32(lane));
}

/* p = the scores of row r; returns the largest of them and of the row's m, NaN left out. */
static float scores(const struct attend_block *b, uint32_t r, float *p)
{
    float32x4_t max = vdupq_n_f32(b->a->m[b->first + r]);
    float qd = b->a->qd[b->first + r];
    for (uint32_t i = 0; i < b->n_keys[r]; i += 4) {
        float32x4_t score = vcvtq_f32_s32(vld1q_s32(b->sums[r] + i));
        score = vmulq_f32(score, vmulq_n_f32(vld1q_f32(b->tile->kd + i), qd));
        vst1q_f32(p + i, score);
        max = vmaxnmq_f32(max, vbslq_f32(first_lanes((int32_t)(b->n_keys[r] - i)), score, max));
    }
    return vmaxnmvq_f32(max);
}

static void weigh(struct attend_block *b, uint32_t r)
{
    float p[KERN_ATTN_TILE] = {0}; /* scores, then weights times vd */
    uint32_t n_keys = b->n_keys[r];
    float mn = scores(b, r, p) + 0.0f;
    float32x4_t lanes[4] = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f), vdupq_n_f32(0.0f),
                            vdupq_n_f32(0.0f)};
    uint32x4_t top = vdupq_n_u32(0); /* the largest weights, as bits */
    for (uint32_t i = 0; i < n_keys; i += KERN_LANES) {
        UNROLL
        for (uint32_t j = 0; j < 4; j++) {
            uint32_t at = i + j * 4;
            uint32x4_t valid = first_lanes((int32_t)n_keys - (int32_t)at);
            float32x4_t weight = simd128_exp(vsubq_f32(vld1q_f32(p + at), vdupq_n_f32(mn)));
            /* a weight is no -0: adding 0 is nothing */
            uint32x4_t bits = vandq_u32(vreinterpretq_u32_f32(weight), valid);
            lanes[j] = vaddq_f32(lanes[j], vreinterpretq_f32_u32(bits));
            weight = vmulq_f32(weight, vld1q_f32(b->tile->vd + at));
            weight = vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(weight), valid));
            top = vmaxq_u32(top, vreinterpretq_u32_f32(vabsq_f32(weight)));
            vst1q_f32(p + at, weight);
        }
    }
    attend_update(b, r, mn, simd128_sum(lanes));
    float inverse = attend_scale_weights(b, r, vmaxvq_u32(top));
    for (uint32_t i = 0; i < KERN_ATTN_TILE; i += 8) {
        vst1q_s16(b->pq[r] + i, simd128_quants(p + i, inverse));
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
    for (uint32_t d = 0; d < dim_v; d += 4) {
        float32x4_t kept = vmulq_n_f32(vld1q_f32(o + d), c);
        vst1q_f32(o + d, vfmaq_n_f32(kept, vcvtq_f32_s32(vld1q_s32(sums + d)), pd));
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
    for (uint32_t d = 0; d < dim_v; d += 4) {
        float32x4_t scaled = vmulq_n_f32(vld1q_f32(oa + d), factors[0]);
        vst1q_f32(oa + d, vfmaq_n_f32(scaled, vld1q_f32(ob + d), factors[1]));
    }
}

void kern_fill_attend_neon(struct kern_table *t)
{
    t->attend[KERN_KV_Q16] = t->attend[KERN_KV_Q8_0] = attend;
    t->merge = merge;
}
