/* kern_ref.c - the float kernels in plain C, written as kern.h states them: the specification that
 * every other set must equal bit for bit. The matmuls are in kern_matmul_ref.c. */
#include "base/half.h"
#include "kern/kern_internal.h"

#include <stdlib.h>

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

static float block_scale(const float *x, uint32_t n, uint32_t max, float *inverse)
{
    uint32_t max_bits = 0; /* of |x| */
    for (uint32_t k = 0; k < n; k++) {
        uint32_t bits = half_to_bits(x[k]) & 0x7FFFFFFF;
        max_bits = bits > max_bits ? bits : max_bits;
    }
    return kern_block_scale(max_bits, (float)max, inverse);
}

static int32_t quant_of(float x, float inverse)
{
    return inverse != 0.0f ? (int32_t)nearbyintf(x * inverse) : 0;
}

/* Quantises n items x to q, item k at q[k / 8 * q_stride + k % 8]; returns the scale d. */
static float quantise_block(const float *x, uint32_t n, int8_t *q, size_t q_stride)
{
    float inverse, d = block_scale(x, n, 127, &inverse);
    for (uint32_t k = 0; k < n; k++) {
        q[k / 8 * q_stride + k % 8] = (int8_t)quant_of(x[k], inverse);
    }
    return d;
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

/* Of a super-block whose 32 rows of 8 quants are q_stride bytes apart. */
static uint16_t most_of_16(const int8_t *q, size_t q_stride)
{
    int most = 0;
    for (size_t half = 0; half < 16; half++) {
        int sum = 0;
        for (size_t k = half * 16; k < half * 16 + 16; k++) {
            sum += abs(q[k / 8 * q_stride + k % 8]);
        }
        most = sum > most ? sum : most;
    }
    return (uint16_t)most;
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
                int8_t *q = a->q + b * a->q_step + first * 256 + t * 8;
                int16_t *n16 = a->n16 + first * n_blocks * 16 + (b * 8 * width + t) * 2;
                int16_t *n32 = a->n32 + first * n_blocks * 8 + (b * 4 * width + t) * 2;
                float d = quantise_block(row + b * 256, 256, q, width * 8);
                a->d[first * n_blocks + b * width + t] = d;
                a->most16[first * n_blocks + b * width + t] = most_of_16(q, width * 8);
                store_sums_q256(q, n16, n32, width);
            }
        }
    }
}

static void store_act_q256_rows(const struct kern_act *a, const float *x, size_t x_stride,
                                uint32_t tile_begin, uint32_t tile_end)
{
    store_act_q256(a, x, x_stride, tile_begin, tile_end);
    for (uint32_t tile = tile_begin; tile < tile_end; tile++) {
        size_t width = kern_tile_width(a, tile), first = kern_tile_begin(tile);
        for (size_t i = 0; i < width * (a->cols / 256); i++) {
            size_t t = i % width, b = i / width;
            struct kern_act_row *row = &a->rows[b * (a->q_step / 256) + first + t];
            *row = (struct kern_act_row){.d = a->d[first * (a->cols / 256) + i]};
            for (size_t k = 0; k < 256; k++) {
                row->q[k] = a->q[b * a->q_step + first * 256 + (k / 8 * width + t) * 8 + k % 8];
            }
            for (size_t k = 0; k < 16; k++) {
                size_t pair = (b * 8 + k / 2) * width + t;
                row->n16[k] = a->n16[first * (a->cols / 16) + pair * 2 + k % 2];
            }
            for (size_t k = 0; k < 8; k++) {
                size_t pair = (b * 4 + k / 2) * width + t;
                row->n32[k] = a->n32[first * (a->cols / 32) + pair * 2 + k % 2];
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

static float to_q8(int8_t *dst, const float *src, uint32_t n)
{
    return quantise_block(src, n, dst, 8);
}

static float to_q16(int16_t *dst, const float *src, uint32_t n, uint32_t max)
{
    float inverse, d = block_scale(src, n, max, &inverse);
    for (uint32_t k = 0; k < n; k++) {
        dst[k] = (int16_t)quant_of(src[k], inverse);
    }
    return d;
}

static void to_f16(uint16_t *dst, const float *src, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        dst[i] = half_f32_to_f16(src[i]);
    }
}

/* Item `at` of the integers of a tile. */
static int32_t kv_item(enum kern_kv type, const void *items, size_t at)
{
    return type == KERN_KV_Q16 ? ((const int16_t *)items)[at] : ((const int8_t *)items)[at];
}

static float attend_score(const struct kern_attn *a, uint32_t row, const struct kern_kv_tile *tile,
                          uint32_t key)
{
    const int16_t *q = (const int16_t *)a->q + (size_t)row * a->dim_k;
    int32_t sum = 0;
    for (uint32_t d = 0; d < a->dim_k; d++) {
        sum += q[d] * kv_item(a->type, tile->k, kern_kv_key_at(a->type, a->dim_k, key, d));
    }
    return (float)sum * (a->qd[row] * tile->kd[key]);
}

static float attend_score_f16(const struct kern_attn *a, uint32_t row,
                              const struct kern_kv_tile *tile, uint32_t key)
{
    const float *q = (const float *)a->q + (size_t)row * a->dim_k;
    const uint16_t *k = tile->k;
    float s = 0.0f;
    for (uint32_t d = 0; d < a->dim_k; d++) {
        s = fmaf(q[d], half_f16_to_f32(k[kern_kv_key_at(KERN_KV_F16, a->dim_k, key, d)]), s);
    }
    return s;
}

/* p enters as scores and leaves as exp(score - the new maximum); m and l of the row become the new
 * ones. Returns c. */
static float attend_weights(const struct kern_attn *a, uint32_t row, uint32_t n_keys,
                            float p[KERN_ATTN_TILE])
{
    float mn = a->m[row];
    for (uint32_t i = 0; i < n_keys; i++) {
        mn = p[i] > mn ? p[i] : mn;
    }
    mn += 0.0f;
    float lanes[KERN_LANES] = {0};
    for (uint32_t i = 0; i < n_keys; i++) {
        p[i] = fmath_expf(p[i] - mn);
        lanes[i % KERN_LANES] += p[i];
    }
    float c = fmath_expf(a->m[row] - mn);
    a->m[row] = mn;
    a->l[row] = fmaf(a->l[row], c, kern_sum_lanes(lanes));
    return c;
}

static void attend_add(const struct kern_attn *a, uint32_t row, const struct kern_kv_tile *tile,
                       uint32_t n_keys, float p[KERN_ATTN_TILE], float c)
{
    float *o = a->o + (size_t)row * a->dim_v;
    int16_t pq[KERN_ATTN_TILE];
    for (uint32_t i = 0; i < n_keys; i++) {
        p[i] *= tile->vd[i];
    }
    float pd = to_q16(pq, p, n_keys, kern_attn_weight_max(a->type));
    for (uint32_t d = 0; d < a->dim_v; d++) {
        int32_t isum = 0;
        for (uint32_t i = 0; i < n_keys; i++) {
            isum += pq[i] * kv_item(a->type, tile->v, kern_kv_value_at(a->type, a->dim_v, i, d));
        }
        o[d] = fmaf((float)isum, pd, o[d] * c);
    }
}

static void attend_add_f16(const struct kern_attn *a, uint32_t row, const struct kern_kv_tile *tile,
                           uint32_t n_keys, const float p[KERN_ATTN_TILE], float c)
{
    float *o = a->o + (size_t)row * a->dim_v;
    const uint16_t *v = tile->v;
    for (uint32_t d = 0; d < a->dim_v; d++) {
        float sum = o[d] * c;
        for (uint32_t i = 0; i < n_keys; i++) {
            sum =
                fmaf(p[i], half_f16_to_f32(v[kern_kv_value_at(KERN_KV_F16, a->dim_v, i, d)]), sum);
        }
        o[d] = sum;
    }
}

static void attend_row(const struct kern_attn *a, uint32_t row, const struct kern_kv_tile *tile,
                       uint32_t n_keys)
{
    bool is_f16 = a->type == KERN_KV_F16;
    float p[KERN_ATTN_TILE];
    for (uint32_t i = 0; i < n_keys; i++) {
        p[i] = (is_f16 ? attend_score_f16 : attend_score)(a, row, tile, i);
    }
    float c = attend_weights(a, row, n_keys, p);
    if (is_f16) {
        attend_add_f16(a, row, tile, n_keys, p, c);
    } else {
        attend_add(a, row, tile, n_keys, p, c);
    }
}

static void attend(const struct kern_attn *a, const struct kern_kv_tile *tile,
                   const uint32_t *n_keys)
{
    for (uint32_t row = 0; row < a->n_rows; row++) {
        if (n_keys[row] > 0) {
            attend_row(a, row, tile, n_keys[row]);
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
    t->store_act[PACK_ACT_Q256_ROWS] = store_act_q256_rows;
    t->rmsnorm = rmsnorm;
    t->rope = rope;
    t->silu_mul = silu_mul;
    t->add = add;
    t->to_q8 = to_q8;
    t->to_q16 = to_q16;
    t->to_f16 = to_f16;
    t->attend[KERN_KV_Q16] = t->attend[KERN_KV_Q8_0] = t->attend[KERN_KV_F16] = attend;
    t->merge = merge;
}
