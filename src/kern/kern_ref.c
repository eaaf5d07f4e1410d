/* kern_ref.c - the float kernels in plain C, written as kern.h states them: the specification that
 * every other set must equal bit for bit. The matmuls are in kern_matmul_ref.c. */
#include "base/half.h"
#include "kern/kern_internal.h"

static void store_act_f32(const struct kern_act *a, const float *x, size_t x_stride,
                          uint32_t tile_begin, uint32_t tile_end)
{
    for (uint32_t tile = tile_begin; tile < tile_end; tile++) {
        uint32_t width = kern_tile_width(a, tile);
        float *f = a->f + (size_t)kern_tile_begin(tile) * a->cols;
        for (uint32_t t = 0; t < width; t++) {
            const float *row = x + (kern_tile_begin(tile) + t) * x_stride;
            for (uint32_t k = 0; k < a->cols; k++) {
                f[(size_t)k * width + t] = row[k];
            }
        }
    }
}

/* Quantises n items x to q, item k at q[k / 8 * q_stride + k % 8]; returns the scale d. */
static float quantise_block(const float *x, uint32_t n, int8_t *q, size_t q_stride)
{
    uint32_t max_bits = 0; /* of |x|: ordered as the values are, NaN above infinity */
    for (uint32_t k = 0; k < n; k++) {
        uint32_t bits = half_to_bits(x[k]) & 0x7FFFFFFF;
        max_bits = bits > max_bits ? bits : max_bits;
    }
    float m = half_from_bits(max_bits);
    bool finite = max_bits < 0x7F800000;
    if (!finite || m < 0x1p-100f) {
        for (uint32_t k = 0; k < n; k++) {
            q[k / 8 * q_stride + k % 8] = 0;
        }
        return finite ? 0.0f : NAN;
    }
    float inverse = 127.0f / m;
    for (uint32_t k = 0; k < n; k++) {
        q[k / 8 * q_stride + k % 8] = (int8_t)nearbyintf(x[k] * inverse);
    }
    return m / 127.0f;
}

static int32_t sum_quants(const int8_t *q, uint32_t n, size_t q_stride)
{
    int32_t sum = 0;
    for (uint32_t k = 0; k < n; k++) {
        sum += q[k / 8 * q_stride + k % 8];
    }
    return sum;
}

static void store_act_q32(const struct kern_act *a, const float *x, size_t x_stride,
                          uint32_t tile_begin, uint32_t tile_end)
{
    uint32_t n_blocks = a->cols / 32;
    for (uint32_t tile = tile_begin; tile < tile_end; tile++) {
        size_t width = kern_tile_width(a, tile);
        size_t first = kern_tile_begin(tile);
        for (size_t t = 0; t < width; t++) {
            const float *row = x + (first + t) * x_stride;
            int8_t *q = a->q + first * a->cols + 8 * t;
            for (uint32_t b = 0; b < n_blocks; b++) {
                int8_t *block_q = q + (size_t)b * 32 * width;
                size_t at = first * n_blocks + b * width + t;
                float d = quantise_block(row + b * 32, 32, block_q, width * 8);
                int32_t sum = sum_quants(block_q, 32, width * 8);
                a->d[at] = d;
                a->s[at] = d * (float)sum;
                a->n[at] = -sum;
            }
        }
    }
}

/* The negated sums of one super-block of token t: n16 and n32 point at the token's first pair of
 * the super-block, pairs of the token are 2 * width apart. */
static void store_sums_q256(const int8_t *q, int16_t *n16, int16_t *n32, size_t width)
{
    for (size_t i = 0; i < 8; i++) { /* block of 32 */
        int32_t low = sum_quants(q + i * 32 * width, 16, width * 8);
        int32_t high = sum_quants(q + (i * 32 + 16) * width, 16, width * 8);
        n16[i * width * 2] = (int16_t)-low;
        n16[i * width * 2 + 1] = (int16_t)-high;
        n32[i / 2 * width * 2 + i % 2] = (int16_t) - (low + high);
    }
}

static void store_act_q256(const struct kern_act *a, const float *x, size_t x_stride,
                           uint32_t tile_begin, uint32_t tile_end)
{
    size_t n_blocks = a->cols / 256;
    for (uint32_t tile = tile_begin; tile < tile_end; tile++) {
        size_t width = kern_tile_width(a, tile);
        size_t first = kern_tile_begin(tile);
        for (size_t t = 0; t < width; t++) {
            const float *row = x + (first + t) * x_stride;
            for (size_t b = 0; b < n_blocks; b++) {
                int8_t *q = a->q + first * a->cols + (b * 32 * width + t) * 8;
                int16_t *n16 = a->n16 + first * n_blocks * 16 + (b * 8 * width + t) * 2;
                int16_t *n32 = a->n32 + first * n_blocks * 8 + (b * 4 * width + t) * 2;
                float d = quantise_block(row + b * 256, 256, q, width * 8);
                a->d[first * n_blocks + b * width + t] = d;
                store_sums_q256(q, n16, n32, width);
            }
        }
    }
}

static void store_act_bf16(const struct kern_act *a, const float *x, size_t x_stride,
                           uint32_t tile_begin, uint32_t tile_end)
{
    for (uint32_t tile = tile_begin; tile < tile_end; tile++) {
        uint32_t width = kern_tile_width(a, tile);
        uint16_t *b = a->b + (size_t)kern_tile_begin(tile) * a->cols;
        for (uint32_t t = 0; t < width; t++) {
            const float *row = x + (kern_tile_begin(tile) + t) * x_stride;
            for (uint32_t k = 0; k < a->cols; k++) {
                b[((size_t)(k / 2) * width + t) * 2 + k % 2] = half_f32_to_bf16(row[k]);
            }
        }
    }
}

static void rmsnorm(float *y, const float *x, const float *w, uint32_t n, float eps)
{
    float lanes[KERN_LANES] = {0};
    for (uint32_t i = 0; i < n; i++) {
        lanes[i % KERN_LANES] = fmaf(x[i], x[i], lanes[i % KERN_LANES]);
    }
    float scale = 1.0f / sqrtf(kern_sum_lanes(lanes) / (float)n + eps);
    for (uint32_t i = 0; i < n; i++) {
        y[i] = (x[i] * scale) * w[i];
    }
}

static void rope(float *x, uint32_t n_heads, uint32_t head_dim, uint32_t n_rot,
                 const float *cos_sin)
{
    for (uint32_t h = 0; h < n_heads; h++) {
        float *head = x + (size_t)h * head_dim;
        for (uint32_t i = 0; i + 1 < n_rot; i += 2) {
            float a = head[i], b = head[i + 1];
            float c = cos_sin[i], s = cos_sin[i + 1];
            head[i] = fmaf(a, c, -(b * s));
            head[i + 1] = fmaf(a, s, b * c);
        }
    }
}

static void silu_mul(float *y, const float *gate, const float *up, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        y[i] = (gate[i] / (1.0f + fmath_expf(-gate[i]))) * up[i];
    }
}

static void add(float *y, const float *x, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
}

static void to_f16(uint16_t *dst, const float *src, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        dst[i] = half_f32_to_f16(src[i]);
    }
}

static float to_q8(int8_t *dst, const float *src, uint32_t n)
{
    return quantise_block(src, n, dst, 8);
}

/* Item `at` of the keys or values of a tile. */
static float kv_item(enum kern_kv type, const void *items, size_t at)
{
    return type == KERN_KV_F16 ? half_f16_to_f32(((const uint16_t *)items)[at])
                               : (float)((const int8_t *)items)[at];
}

/* p[i] = exp(score of key i - *mn) for i < n_keys; *mn enters as the running maximum and leaves as
 * the new one. Returns the sum of p. */
static float attend_weights(const struct kern_attn *a, const float *q,
                            const struct kern_kv_tile *tile, uint32_t n_keys, float *mn,
                            float p[KERN_ATTN_TILE])
{
    float max = *mn;
    for (uint32_t i = 0; i < n_keys; i++) {
        size_t key = (size_t)(i / 16) * a->dim_k * 16 + i % 16;
        p[i] = 0.0f;
        for (uint32_t d = 0; d < a->dim_k; d++) {
            p[i] = fmaf(q[d], kv_item(a->type, tile->k, key + d * 16), p[i]);
        }
        p[i] = tile->kd ? p[i] * tile->kd[i] : p[i];
        max = p[i] > max ? p[i] : max;
    }
    *mn = max + 0.0f;
    float lanes[KERN_LANES] = {0};
    for (uint32_t i = 0; i < n_keys; i++) {
        p[i] = fmath_expf(p[i] - *mn);
        lanes[i % KERN_LANES] += p[i];
    }
    return kern_sum_lanes(lanes);
}

static void attend(const struct kern_attn *a, const struct kern_kv_tile *tile,
                   const uint32_t *n_keys)
{
    for (uint32_t row = 0; row < a->n_rows; row++) {
        if (n_keys[row] == 0) {
            continue;
        }
        float p[KERN_ATTN_TILE];
        float mn = a->m[row];
        float sum = attend_weights(a, a->q + (size_t)row * a->dim_k, tile, n_keys[row], &mn, p);
        for (uint32_t i = 0; i < n_keys[row] && tile->vd; i++) {
            p[i] *= tile->vd[i];
        }
        float c = fmath_expf(a->m[row] - mn);
        a->m[row] = mn;
        a->l[row] = fmaf(a->l[row], c, sum);
        float *o = a->o + (size_t)row * a->dim_v;
        for (uint32_t d = 0; d < a->dim_v; d++) {
            float f = o[d] * c;
            for (uint32_t i = 0; i < n_keys[row]; i++) {
                f = fmaf(p[i], kv_item(a->type, tile->v, (size_t)i * a->dim_v + d), f);
            }
            o[d] = f;
        }
    }
}

static void merge(float *ma, float *la, float *oa, const float *mb, const float *lb,
                  const float *ob, uint32_t dim_v)
{
    float factors[2];
    kern_merge_scalars(ma, la, *mb, *lb, factors);
    for (uint32_t d = 0; d < dim_v; d++) {
        oa[d] = fmaf(ob[d], factors[1], oa[d] * factors[0]);
    }
}

void kern_fill_ref(struct kern_table *t)
{
    t->store_act[PACK_ACT_F32] = store_act_f32;
    t->store_act[PACK_ACT_Q32] = store_act_q32;
    t->store_act[PACK_ACT_Q256] = store_act_q256;
    t->store_act[PACK_ACT_BF16] = store_act_bf16;
    t->rmsnorm = rmsnorm;
    t->rope = rope;
    t->silu_mul = silu_mul;
    t->add = add;
    t->to_f16 = to_f16;
    t->to_q8 = to_q8;
    t->attend = attend;
    t->merge = merge;
}
