/* kern_matmul_ref.c - the specification of the matmul slots: plain C over unpacked blocks.
 *
 * Integer sums are exact in int32. Their bounds, with |qa| <= 127: a block of 32 of Q8_0 sums to
 * 128 * 127 * 32 < 2^19; a super-block to at most 128 * 32 * 127 * 256 < 2^27 (Q6_K), less in the
 * other types; minima to 63 * 127 * 256 < 2^21. */
#include "base/half.h"
#include "kern/matmul.h"

#include <math.h>
#include <string.h>

/* Sums of one group of rows with one tile of tokens. */
struct sums {
    float f[KERN_TILE][PACK_ROWS];
};

static void store_sums(const struct sums *sums, const struct pack_matrix *w, uint32_t group,
                       const struct matmul_tile *tile, float *y, size_t y_stride)
{
    uint32_t row = group * PACK_ROWS;
    uint32_t n_rows = w->rows - row < PACK_ROWS ? w->rows - row : PACK_ROWS;
    for (uint32_t t = 0; t < tile->n; t++) {
        for (uint32_t r = 0; r < n_rows; r++) {
            y[(tile->first + t) * y_stride + row + r] = sums->f[t][r];
        }
    }
}

/* Item k of the tile's token t; Q256: of the first super-block. */
static int act_item(const struct matmul_tile *tile, size_t k, uint32_t t)
{
    return tile->q[(k / 8 * tile->n + t) * 8 + k % 8];
}

/* isum[r] = sum over n items from first on of item * qa, for 16 rows. */
static void dot_items(const struct pack_block *block, size_t first, size_t n, size_t act_first,
                      const struct matmul_tile *tile, uint32_t t, int32_t isum[PACK_ROWS])
{
    memset(isum, 0, sizeof(int32_t[PACK_ROWS]));
    for (size_t k = 0; k < n; k++) {
        int32_t qa = act_item(tile, act_first + first + k, t);
        for (int r = 0; r < PACK_ROWS; r++) {
            isum[r] += block->q[first + k][r] * qa;
        }
    }
}

static void fold_q32(const struct pack_matrix *w, const struct pack_block *block, uint32_t b,
                     const struct matmul_tile *tile, struct sums *sums)
{
    bool has_minimum = w->type == QUANT_Q4_1 || w->type == QUANT_Q5_1;
    for (uint32_t t = 0; t < tile->n; t++) {
        float da = tile->d[(size_t)b * tile->n + t];
        float s = tile->s[(size_t)b * tile->n + t];
        int32_t isum[PACK_ROWS];
        dot_items(block, 0, 32, (size_t)b * 32, tile, t, isum);
        for (int r = 0; r < PACK_ROWS; r++) {
            float *f = &sums->f[t][r];
            *f = fmaf(block->d[r] * da, (float)isum[r], *f);
            if (has_minimum) {
                *f = fmaf(block->m[r], s, *f);
            }
        }
    }
}

/* Sums over the super-block of sub-scale * item * qa, and of sub-minimum * qa, for 16 rows. */
static void super_sums(const struct pack_block *block, const struct matmul_tile *tile, uint32_t t,
                       int32_t isum[PACK_ROWS], int32_t msum[PACK_ROWS])
{
    memset(isum, 0, sizeof(int32_t[PACK_ROWS]));
    memset(msum, 0, sizeof(int32_t[PACK_ROWS]));
    for (size_t i = 0; i < 16; i++) {
        int32_t sub[PACK_ROWS], sum_of_qa = 0;
        dot_items(block, 16 * i, 16, 0, tile, t, sub);
        for (size_t k = 16 * i; k < 16 * i + 16; k++) {
            sum_of_qa += act_item(tile, k, t);
        }
        for (int r = 0; r < PACK_ROWS; r++) {
            isum[r] += block->sub[i][r] * sub[r];
            msum[r] += block->sub_min[i][r] * sum_of_qa;
        }
    }
}

static void fold_q256(const struct pack_matrix *w, const struct pack_block *block, uint32_t b,
                      const struct matmul_tile *tile, struct sums *sums)
{
    bool has_minimum = w->type == QUANT_Q2_K || w->type == QUANT_Q4_K || w->type == QUANT_Q5_K;
    struct matmul_tile super = matmul_tile_from(*tile, b);
    for (uint32_t t = 0; t < super.n; t++) {
        float da = super.d[t];
        int32_t isum[PACK_ROWS], msum[PACK_ROWS];
        super_sums(block, &super, t, isum, msum);
        for (int r = 0; r < PACK_ROWS; r++) {
            float *f = &sums->f[t][r];
            *f = fmaf(block->d[r] * da, (float)isum[r], *f);
            if (has_minimum) {
                *f = fmaf(-(block->m[r] * da), (float)msum[r], *f);
            }
        }
    }
}

/* All quantised types. */
static void matmul_blocks(const struct pack_matrix *w, uint32_t group_begin, uint32_t group_end,
                          const struct kern_act *a, float *y, size_t y_stride)
{
    const struct pack_layout *l = pack_layout_of(w->type);
    for (uint32_t g = group_begin; g < group_end; g++) {
        for (uint32_t i = 0; i < kern_act_tiles(a->n_tokens); i++) {
            struct matmul_tile tile = matmul_tile_of(a, i);
            struct sums sums = {0};
            for (uint32_t b = 0; b < w->cols / l->block_items; b++) {
                struct pack_block block;
                pack_read_block(w, g, b, &block);
                if (l->act == PACK_ACT_Q32) {
                    fold_q32(w, &block, b, &tile, &sums);
                } else {
                    fold_q256(w, &block, b, &tile, &sums);
                }
            }
            store_sums(&sums, w, g, &tile, y, y_stride);
        }
    }
}

/* F32, F16, BF16. */
static void matmul_dense(const struct pack_matrix *w, uint32_t group_begin, uint32_t group_end,
                         const struct kern_act *a, float *y, size_t y_stride)
{
    for (uint32_t g = group_begin; g < group_end; g++) {
        for (uint32_t i = 0; i < kern_act_tiles(a->n_tokens); i++) {
            struct matmul_tile tile = matmul_tile_of(a, i);
            struct sums sums = {0};
            for (uint32_t k = 0; k < w->cols; k++) {
                for (uint32_t r = 0; r < PACK_ROWS; r++) {
                    float weight = pack_read_dense(w, g, r, k);
                    for (uint32_t t = 0; t < tile.n; t++) {
                        float *f = &sums.f[t][r];
                        *f = fmaf(weight, tile.f[(size_t)k * tile.n + t], *f);
                    }
                }
            }
            store_sums(&sums, w, g, &tile, y, y_stride);
        }
    }
}

void kern_fill_matmul_ref(struct kern_table *t)
{
    for (uint32_t type = 0; type < QUANT_TYPE_COUNT; type++) {
        if (quant_type_info(type) != NULL) {
            t->act[type] = pack_act_of((enum quant_type)type);
            t->matmul[type] = t->act[type] == PACK_ACT_F32 ? matmul_dense : matmul_blocks;
        }
    }
}

/* --- numerics bf16 ---------------------------------------------------------------------------- */

static float without_denormals(float x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x;
}

/* w * a + f as kern.h says, for w and a of 8 bits of precision. What rounds up to 2^-126 begins at
 * T = 2^-126 - 2^-151. The sum in double lies on the same side of T as the exact one: near T it is
 * exact, as its last bit is 2^-179 there, unless the product is below 2^-163; but then f, a
 * multiple of 2^-149, is at least 2^-151 away from T. */
static float fma_bf16(float w, float a, float f)
{
    w = without_denormals(w);
    a = without_denormals(a);
    f = without_denormals(f);
    double sum = (double)w * (double)a + (double)f;
    return fabs(sum) < 0x1.ffffffp-127 ? copysignf(0.0f, (float)sum) : fmaf(w, a, f);
}

static void matmul_bf16(const struct pack_matrix *w, uint32_t group_begin, uint32_t group_end,
                        const struct kern_act *a, float *y, size_t y_stride)
{
    for (uint32_t g = group_begin; g < group_end; g++) {
        for (uint32_t i = 0; i < kern_act_tiles(a->n_tokens); i++) {
            struct matmul_tile tile = matmul_tile_of(a, i);
            struct sums sums = {0};
            for (uint32_t k = 0; k < w->cols; k++) {
                uint32_t item = k ^ 1; /* the odd one of a pair comes first */
                const uint16_t *at = tile.b + (size_t)(item / 2) * tile.n * 2 + item % 2;
                for (uint32_t r = 0; r < PACK_ROWS; r++) {
                    float weight = pack_read_dense(w, g, r, item);
                    for (uint32_t t = 0; t < tile.n; t++) {
                        float *f = &sums.f[t][r];
                        *f = fma_bf16(weight, half_bf16_to_f32(at[2 * t]), *f);
                    }
                }
            }
            store_sums(&sums, w, g, &tile, y, y_stride);
        }
    }
}

void kern_fill_matmul_bf16_ref(struct kern_table *t)
{
    t->act[QUANT_BF16] = PACK_ACT_BF16;
    t->matmul[QUANT_BF16] = matmul_bf16;
}
