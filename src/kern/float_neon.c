/* float_neon.c - rmsnorm, rope, silu, add and to_q16 of 4 floats at a time. Whole registers first,
 * then what is left one by one. */
#include "kern/simd_neon.h"

static float sum_of_squares(const float *x, uint32_t n)
{
    float32x4_t lanes[4] = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f), vdupq_n_f32(0.0f),
                            vdupq_n_f32(0.0f)};
    uint32_t i = 0;
    for (; i + KERN_LANES <= n; i += KERN_LANES) {
        UNROLL
        for (int j = 0; j < 4; j++) {
            float32x4_t v = vld1q_f32(x + i + 4 * j);
            lanes[j] = vfmaq_f32(lanes[j], v, v);
        }
    }
    float last[KERN_LANES] = {0}; /* adds 0 to sums that are no -0: nothing */
    memcpy(last, x + i, (n - i) * sizeof *x);
    UNROLL
    for (int j = 0; j < 4; j++) {
        float32x4_t v = vld1q_f32(last + 4 * j);
        lanes[j] = vfmaq_f32(lanes[j], v, v);
    }
    return simd128_sum(lanes);
}

static void rmsnorm(float *y, const float *x, const float *w, uint32_t n, float eps)
{
    float scale = 1.0f / sqrtf(sum_of_squares(x, n) / (float)n + eps);
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t v = vmulq_n_f32(vld1q_f32(x + i), scale);
        vst1q_f32(y + i, vmulq_f32(v, vld1q_f32(w + i)));
    }
    for (; i < n; i++) {
        y[i] = (x[i] * scale) * w[i];
    }
}

static void rope(float *x, uint32_t n_heads, uint32_t head_dim, uint32_t n_rot,
                 const float *cos_sin)
{
    for (uint32_t h = 0; h < n_heads; h++) {
        float *head = x + (size_t)h * head_dim;
        uint32_t i = 0;
        for (; i + 8 <= n_rot; i += 8) { /* 4 pairs */
            float32x4x2_t pairs = vld2q_f32(head + i), table = vld2q_f32(cos_sin + i);
            float32x4_t a = pairs.val[0], b = pairs.val[1];
            float32x4_t c = table.val[0], s = table.val[1];
            pairs.val[0] = vfmaq_f32(vnegq_f32(vmulq_f32(b, s)), a, c);
            pairs.val[1] = vfmaq_f32(vmulq_f32(b, c), a, s);
            vst2q_f32(head + i, pairs);
        }
        for (; i + 1 < n_rot; i += 2) {
            float a = head[i], b = head[i + 1];
            float c = cos_sin[i], s = cos_sin[i + 1];
            head[i] = fmaf(a, c, -(b * s));
            head[i + 1] = fmaf(a, s, b * c);
        }
    }
}

static void silu_mul(float *y, const float *gate, const float *up, uint32_t n)
{
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t g = vld1q_f32(gate + i);
        float32x4_t e = simd128_exp(vnegq_f32(g));
        g = vdivq_f32(g, vaddq_f32(vdupq_n_f32(1.0f), e));
        vst1q_f32(y + i, vmulq_f32(g, vld1q_f32(up + i)));
    }
    for (; i < n; i++) {
        y[i] = (gate[i] / (1.0f + fmath_expf(-gate[i]))) * up[i];
    }
}

static void add(float *y, const float *x, uint32_t n)
{
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        vst1q_f32(y + i, vaddq_f32(vld1q_f32(y + i), vld1q_f32(x + i)));
    }
    for (; i < n; i++) {
        y[i] += x[i];
    }
}

static float to_q16(int16_t *dst, const float *src, uint32_t n, uint32_t max)
{
    uint32x4_t bits = vdupq_n_u32(0);
    for (uint32_t i = 0; i < n; i += 4) {
        bits = vmaxq_u32(bits, vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(src + i))));
    }
    float inverse, d = kern_block_scale(vmaxvq_u32(bits), (float)max, &inverse);
    for (uint32_t i = 0; i < n; i += 8) {
        vst1q_s16(dst + i, simd128_quants(src + i, inverse));
    }
    return d;
}

void kern_fill_float_neon(struct kern_table *t)
{
    t->rmsnorm = rmsnorm;
    t->rope = rope;
    t->silu_mul = silu_mul;
    t->add = add;
    t->to_q16 = to_q16;
}
