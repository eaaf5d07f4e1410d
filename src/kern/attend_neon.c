/* attend_neon.c - the vector parts of attend.h, and merge: 16 floats are four registers. */
#include "kern/attend.h"
#include "kern/simd_neon.h"

enum { ROWS = ATTEND_ROWS, GROUPS = 2, GROUP_REGISTERS = 4 };

/* 4 items as floats. */
static inline float32x4_t load_items(enum kern_kv type, const char *m)
{
    if (type == KERN_KV_F16) {
        return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16((const void *)m)));
    }
    int8_t four[8] = {0};
    memcpy(four, m, 4);
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vld1_s8(four)))));
}

/* `rows` rows times `groups` groups from group `first` on. Inlined with constants, so that all sums
 * live in registers; rows * groups * 4 of 32. */
static inline __attribute__((always_inline)) void multiply_block(const struct attend_product *p,
                                                                 uint32_t first, enum kern_kv type,
                                                                 uint32_t rows, uint32_t groups)
{
    float32x4_t s[ROWS][GROUP_REGISTERS * GROUPS];
    float *sums = p->sums + first * 16;
    size_t factor_stride = p->factor_stride, group_stride = p->group_stride;
#pragma GCC unroll 6
    for (uint32_t r = 0; r < rows; r++) {
        float scale = p->scale ? p->scale[r] : 0.0f;
#pragma GCC unroll 8
        for (uint32_t i = 0; i < GROUP_REGISTERS * groups; i++) {
            const float *sum = sums + r * p->sum_stride + i * 4;
            s[r][i] = p->scale ? vmulq_n_f32(vld1q_f32(sum), scale) : vdupq_n_f32(0.0f);
        }
    }
    const char *m = p->m + first * group_stride;
    const float *factor = p->factors;
    for (const float *end = factor + p->n_steps; factor < end; factor++, m += p->step_stride) {
        if (p->ahead != 0) {
#pragma GCC unroll 2
            for (uint32_t g = 0; g < groups; g++) {
                __builtin_prefetch(m + g * group_stride + p->ahead, 0, 2);
            }
        }
        float32x4_t v[GROUP_REGISTERS * GROUPS];
#pragma GCC unroll 8
        for (uint32_t i = 0; i < GROUP_REGISTERS * groups; i++) {
            size_t item = i % GROUP_REGISTERS * 4 * kern_kv_item_bytes(type);
            v[i] = load_items(type, m + i / GROUP_REGISTERS * group_stride + item);
        }
#pragma GCC unroll 6
        for (uint32_t r = 0; r < rows; r++) {
            float f = factor[r * factor_stride];
#pragma GCC unroll 8
            for (uint32_t i = 0; i < GROUP_REGISTERS * groups; i++) {
                s[r][i] = vfmaq_n_f32(s[r][i], v[i], f);
            }
        }
    }
#pragma GCC unroll 6
    for (uint32_t r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (uint32_t i = 0; i < GROUP_REGISTERS * groups; i++) {
            if (type == KERN_KV_Q8_0 && p->end_scale) {
                s[r][i] = vmulq_f32(s[r][i], vld1q_f32(p->end_scale + first * 16 + i * 4));
            }
            vst1q_f32(sums + r * p->sum_stride + i * 4, s[r][i]);
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

MULTIPLY_TYPE(F16)
MULTIPLY_TYPE(Q8_0)

static multiply_block_fn *const multiply_table[KERN_KV_COUNT][GROUPS][ROWS] = {NAMES_TYPE(F16),
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

/* The largest of m and p[0..n_keys). */
static float max_score(const float *p, uint32_t n_keys, float m)
{
    float32x4_t max = vdupq_n_f32(m);
    for (uint32_t i = 0; i < n_keys; i += 4) {
        float32x4_t score = vbslq_f32(first_lanes((int32_t)(n_keys - i)), vld1q_f32(p + i), max);
        max = vmaxnmq_f32(max, score); /* as `ref`, it leaves a NaN out */
    }
    return vmaxnmvq_f32(max);
}

static float weights(float *p, uint32_t n_keys, float *m, float *l, const float *vd)
{
    float mn = max_score(p, n_keys, *m) + 0.0f;
    float32x4_t lanes[4] = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f), vdupq_n_f32(0.0f),
                            vdupq_n_f32(0.0f)};
    for (uint32_t i = 0; i < n_keys; i += KERN_LANES) {
#pragma GCC unroll 4
        for (uint32_t j = 0; j < 4; j++) {
            float *at = p + i + j * 4;
            float32x4_t weight = simd128_exp(vsubq_f32(vld1q_f32(at), vdupq_n_f32(mn)));
            /* a weight is no -0: adding 0 is nothing */
            uint32x4_t bits = vandq_u32(vreinterpretq_u32_f32(weight),
                                        first_lanes((int32_t)n_keys - (int32_t)(i + j * 4)));
            weight = vreinterpretq_f32_u32(bits);
            lanes[j] = vaddq_f32(lanes[j], weight);
            vst1q_f32(at, vd ? vmulq_f32(weight, vld1q_f32(vd + i + j * 4)) : weight);
        }
    }
    float c = fmath_expf(*m - mn);
    *l = fmaf(*l, c, simd128_sum(lanes));
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
    for (uint32_t d = 0; d < dim_v; d += 4) {
        float32x4_t scaled = vmulq_n_f32(vld1q_f32(oa + d), factors[0]);
        vst1q_f32(oa + d, vfmaq_n_f32(scaled, vld1q_f32(ob + d), factors[1]));
    }
}

void kern_fill_attend_neon(struct kern_table *t)
{
    t->attend = attend;
    t->merge = merge;
}
