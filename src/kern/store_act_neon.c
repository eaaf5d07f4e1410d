/* store_act_neon.c - stores activations: values transposed four tokens at a time, quants as
 * store_act.h says. */
#include "kern/simd_neon.h"
#include "kern/store_act.h"

/* The first n of four lanes, n 1 to 4. */
static inline void store_first(void *dst, uint32x4_t x, uint32_t n)
{
    uint32_t lanes[4];
    if (n == 4) {
        vst1q_u8(dst, vreinterpretq_u8_u32(x));
    } else {
        vst1q_u32(lanes, x);
        memcpy(dst, lanes, n * sizeof lanes[0]);
    }
}

static inline void transpose(uint32x4_t x[4])
{
    uint32x4_t ac_low = vzip1q_u32(x[0], x[2]), ac_high = vzip2q_u32(x[0], x[2]);
    uint32x4_t bd_low = vzip1q_u32(x[1], x[3]), bd_high = vzip2q_u32(x[1], x[3]);
    x[0] = vzip1q_u32(ac_low, bd_low);
    x[1] = vzip2q_u32(ac_low, bd_low);
    x[2] = vzip1q_u32(ac_high, bd_high);
    x[3] = vzip2q_u32(ac_high, bd_high);
}

/* --- values */

/* Tokens t .. t + n - 1 of a tile of `width`: f the tile's values, x token t's. */
static void store_tokens_f32(float *f, const float *x, size_t x_stride, uint32_t cols, size_t width,
                             size_t t, uint32_t n)
{
    uint32_t k = 0;
    for (; k + 4 <= cols; k += 4) {
        uint32x4_t v[4];
        for (uint32_t i = 0; i < 4; i++) {
            v[i] = i < n ? vreinterpretq_u32_f32(vld1q_f32(x + i * x_stride + k)) : vdupq_n_u32(0);
        }
        transpose(v);
        for (uint32_t i = 0; i < 4; i++) {
            store_first(f + (k + i) * width + t, v[i], n);
        }
    }
    for (; k < cols; k++) {
        for (uint32_t i = 0; i < n; i++) {
            f[k * width + t + i] = x[i * x_stride + k];
        }
    }
}

static void store_act_f32(const struct kern_act *a, const float *x, size_t x_stride,
                          uint32_t tile_begin, uint32_t tile_end)
{
    for (uint32_t tile = tile_begin; tile < tile_end; tile++) {
        uint32_t width = kern_tile_width(a, tile);
        size_t first = kern_tile_begin(tile);
        float *f = a->f + first * a->cols;
        if (width == 1) {
            memcpy(f, x + first * x_stride, a->cols * sizeof *f);
            continue;
        }
        for (uint32_t t = 0; t < width; t += 4) {
            uint32_t n = width - t < 4 ? width - t : 4;
            store_tokens_f32(f, x + (first + t) * x_stride, x_stride, a->cols, width, t, n);
        }
    }
}

/* --- quants */

/* What the maxima of four blocks say; `used` is all or nothing: nothing makes every quant 0. */
struct scales {
    float32x4_t d;
    float inverse[4];
    uint32_t used[4];
};

/* max_bits: of |x|, ordered as the values are, NaN above infinity. */
static inline void find_scales(struct scales *s, uint32x4_t max_bits)
{
    float32x4_t m = vreinterpretq_f32_u32(max_bits), full = vdupq_n_f32(127.0f);
    uint32x4_t finite = vcltq_u32(max_bits, vdupq_n_u32(0x7F800000));
    uint32x4_t used = vandq_u32(finite, vcgeq_f32(m, vdupq_n_f32(0x1p-100f)));
    float32x4_t unused_d = vbslq_f32(finite, vdupq_n_f32(0.0f), vdupq_n_f32(NAN));
    s->d = vbslq_f32(used, vdivq_f32(m, full), unused_d);
    vst1q_f32(s->inverse, vdivq_f32(full, m));
    vst1q_u32(s->used, used);
}

/* The maxima of |x| over n_items items of each of four blocks, as bits. */
static inline uint32x4_t find_max(const float *const x[4], int n_items)
{
    uint32_t max_bits[4];
    for (int i = 0; i < 4; i++) {
        uint32x4_t max = vdupq_n_u32(0);
        for (int k = 0; k < n_items; k += 4) {
            float32x4_t magnitude = vabsq_f32(vld1q_f32(x[i] + k));
            max = vmaxq_u32(max, vreinterpretq_u32_f32(magnitude));
        }
        max_bits[i] = vmaxvq_u32(max);
    }
    return vld1q_u32(max_bits);
}

/* Items 0..3 of x: rounded to nearest even, at most +-127. */
static inline int32x4_t quantise(const float *x, const struct scales *s, int block)
{
    int32x4_t q = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), s->inverse[block]));
    return vandq_s32(q, vreinterpretq_s32_u32(vdupq_n_u32(s->used[block])));
}

static inline int16x8_t quantise_8(const float *x, const struct scales *s, int block)
{
    return vcombine_s16(vmovn_s32(quantise(x, s, block)), vmovn_s32(quantise(x + 4, s, block)));
}

/* 32 quants of each of four blocks: bytes[h][i] items 16h .. 16h+15 of block i; sum[h]: theirs;
 * most[i]: the larger sum of |q| of 16. */
struct quants {
    int8x16_t bytes[2][4];
    int32x4_t sum[2];
    uint32_t most[4];
};

/* Items k .. k + 31 of the four blocks. */
static inline void quantise_four(const float *const x[4], int k, const struct scales *s,
                                 struct quants *q)
{
    for (int h = 0; h < 2; h++) {
        int32_t sum[4];
        for (int i = 0; i < 4; i++) {
            const float *items = x[i] + k + 16 * h;
            int16x8_t low = quantise_8(items, s, i), high = quantise_8(items + 8, s, i);
            q->bytes[h][i] = vcombine_s8(vmovn_s16(low), vmovn_s16(high));
            sum[i] = vaddlvq_s8(q->bytes[h][i]);
            uint32_t most = vaddlvq_u8(vreinterpretq_u8_s8(vabsq_s8(q->bytes[h][i])));
            q->most[i] = h == 0 || most > q->most[i] ? most : q->most[i];
        }
        q->sum[h] = vld1q_s32(sum);
    }
}

/* Four tokens: 4 rows of 4 x 8 bytes, `stride` bytes apart; of each the first n. */
static inline void store_tokens(int8_t *dst, size_t stride, const struct quants *q, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++, dst += 8) {
        for (int h = 0; h < 2; h++) {
            vst1_s8(dst + 2 * h * stride, vget_low_s8(q->bytes[h][i]));
            vst1_s8(dst + (2 * h + 1) * stride, vget_high_s8(q->bytes[h][i]));
        }
    }
}

/* Four blocks of one token: 32 bytes each, `stride` bytes apart; only the first n. */
static inline void store_blocks(int8_t *dst, size_t stride, const struct quants *q, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        vst1q_s8(dst + i * stride, q->bytes[0][i]);
        vst1q_s8(dst + i * stride + 16, q->bytes[1][i]);
    }
}

static void store_four_q32(const struct kern_act *a, const struct store_place *p)
{
    struct scales s;
    struct quants q;
    find_scales(&s, find_max(p->x, 32));
    quantise_four(p->x, 0, &s, &q);
    int8_t *bytes = store_quants_q32(a, p);
    if (p->width > 1) {
        store_tokens(bytes, p->width * 8, &q, p->n);
    } else {
        store_blocks(bytes, 32, &q, p->n);
    }
    size_t at = store_scale_index(p, a->cols / 32);
    int32x4_t sums = vaddq_s32(q.sum[0], q.sum[1]);
    float32x4_t scaled = vmulq_f32(s.d, vcvtq_f32_s32(sums));
    store_first(a->d + at, vreinterpretq_u32_f32(s.d), p->n);
    store_first(a->s + at, vreinterpretq_u32_f32(scaled), p->n);
    store_first(a->n + at, vreinterpretq_u32_s32(vnegq_s32(sums)), p->n);
}

/* Pairs (-a, -b) of 16-bit numbers, side by side for tokens, `block_pairs` pairs apart
 * for blocks. */
static inline void store_pairs(int16_t *dst, int32x4_t a, int32x4_t b, size_t block_pairs,
                               const struct store_place *p)
{
    int16x4x2_t both = vzip_s16(vmovn_s32(vnegq_s32(a)), vmovn_s32(vnegq_s32(b)));
    uint32x4_t pairs = vreinterpretq_u32_s16(vcombine_s16(both.val[0], both.val[1]));
    if (p->width > 1) {
        store_first(dst, pairs, p->n);
        return;
    }
    uint32_t each[4];
    vst1q_u32(each, pairs);
    for (uint32_t i = 0; i < p->n; i++) {
        memcpy(dst + i * block_pairs * 2, &each[i], sizeof each[i]);
    }
}

static void store_four_q256(const struct kern_act *a, const struct store_place *p)
{
    struct scales s;
    find_scales(&s, find_max(p->x, 256));
    store_first(a->d + store_scale_index(p, a->cols / 256), vreinterpretq_u32_f32(s.d), p->n);
    int8_t *bytes = store_quants_q256(a, p);
    int16_t *n16 = store_pairs_at(a, p, a->n16, 8), *n32 = store_pairs_at(a, p, a->n32, 4);
    uint32_t most[4] = {0};
    int32x4_t even = vdupq_n_s32(0); /* sums of the even block of 32 */
    for (int block = 0; block < 8; block++, bytes += 32 * p->width, n16 += 2 * p->width) {
        struct quants q;
        quantise_four(p->x, block * 32, &s, &q);
        for (int i = 0; i < 4; i++) {
            most[i] = q.most[i] > most[i] ? q.most[i] : most[i];
        }
        if (p->width > 1) {
            store_tokens(bytes, p->width * 8, &q, p->n);
        } else {
            store_blocks(bytes, a->q_step, &q, p->n);
        }
        store_pairs(n16, q.sum[0], q.sum[1], 8, p);
        int32x4_t both = vaddq_s32(q.sum[0], q.sum[1]);
        if (block % 2) {
            store_pairs(n32, even, both, 4, p);
            n32 += 2 * p->width;
        }
        even = both;
    }
    for (uint32_t i = 0; i < p->n; i++) {
        a->most16[store_scale_index(p, a->cols / 256) + i] = (uint16_t)most[i];
    }
}

static void store_act_q32(const struct kern_act *a, const float *x, size_t x_stride,
                          uint32_t tile_begin, uint32_t tile_end)
{
    store_act_tiles(a, x, x_stride, tile_begin, tile_end, 32, store_four_q32);
}

static void store_act_q256(const struct kern_act *a, const float *x, size_t x_stride,
                           uint32_t tile_begin, uint32_t tile_end)
{
    store_act_tiles(a, x, x_stride, tile_begin, tile_end, 256, store_four_q256);
}

void kern_fill_store_act_neon(struct kern_table *t)
{
    t->store_act[PACK_ACT_F32] = store_act_f32;
    t->store_act[PACK_ACT_Q32] = store_act_q32;
    t->store_act[PACK_ACT_Q256] = store_act_q256;
}
