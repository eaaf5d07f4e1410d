/* quant_k.c - dequantisation of super-blocks: 256 items, groups of 16 or 32 with integer scales.
 * The float operations are those of the oracle, in its order: group scale = d * (float)scale first,
 * then times the quant, then minus the group's minimum. */
#include "quant/quant_block.h"

/* Bits of item k in a plane of 2 bits an item (Q2_K, Q3_K, the high part of Q6_K). */
static int two_bits(const uint8_t plane[64], int k)
{
    return plane[k / 128 * 32 + k % 32] >> 2 * (k / 32 % 4) & 3;
}

/* Bit of item k in a plane of 1 bit an item (Q3_K, Q5_K). */
static int one_bit(const uint8_t plane[32], int k)
{
    return plane[k % 32] >> k / 32 & 1;
}

/* Nibble of item k where 32 low nibbles are followed by the 32 high ones (Q4_K, Q5_K). */
static int nibble(const uint8_t plane[128], int k)
{
    return plane[k / 64 * 32 + k % 32] >> 4 * (k / 32 % 2) & 15;
}

void quant_dequantize_q2_k(const struct quant_q2_k *b, float *dst, size_t n_blocks)
{
    for (; n_blocks > 0; n_blocks--, b++, dst += QUANT_SUPER) {
        float d = quant_f16(b->d), dmin = quant_f16(b->dmin);
        for (int k = 0; k < QUANT_SUPER; k++) {
            uint8_t scale = b->scales[k / QUANT_SUB];
            float group_d = d * (float)(scale & 15);
            float group_min = dmin * (float)(scale >> 4);
            dst[k] = group_d * (float)two_bits(b->qs, k) - group_min;
        }
    }
}

void quant_dequantize_q3_k(const struct quant_q3_k *b, float *dst, size_t n_blocks)
{
    for (; n_blocks > 0; n_blocks--, b++, dst += QUANT_SUPER) {
        float d = quant_f16(b->d);
        for (int k = 0; k < QUANT_SUPER; k++) {
            float group_d = d * (float)quant_q3_k_scale(b->scales, (unsigned)k / QUANT_SUB);
            int q = two_bits(b->qs, k) + 4 * one_bit(b->hmask, k) - 4;
            dst[k] = group_d * (float)q;
        }
    }
}

void quant_dequantize_q4_k(const struct quant_q4_k *b, float *dst, size_t n_blocks)
{
    for (; n_blocks > 0; n_blocks--, b++, dst += QUANT_SUPER) {
        float d = quant_f16(b->d), dmin = quant_f16(b->dmin);
        for (unsigned g = 0; g < QUANT_SUPER / 32; g++) {
            unsigned scale, minimum;
            quant_k_scale(b->scales, g, &scale, &minimum);
            float group_d = d * (float)scale, group_min = dmin * (float)minimum;
            for (int k = 32 * (int)g; k < 32 * (int)g + 32; k++) {
                dst[k] = group_d * (float)nibble(b->qs, k) - group_min;
            }
        }
    }
}

void quant_dequantize_q5_k(const struct quant_q5_k *b, float *dst, size_t n_blocks)
{
    for (; n_blocks > 0; n_blocks--, b++, dst += QUANT_SUPER) {
        float d = quant_f16(b->d), dmin = quant_f16(b->dmin);
        for (unsigned g = 0; g < QUANT_SUPER / 32; g++) {
            unsigned scale, minimum;
            quant_k_scale(b->scales, g, &scale, &minimum);
            float group_d = d * (float)scale, group_min = dmin * (float)minimum;
            for (int k = 32 * (int)g; k < 32 * (int)g + 32; k++) {
                int q = nibble(b->qs, k) | one_bit(b->qh, k) << 4;
                dst[k] = group_d * (float)q - group_min;
            }
        }
    }
}

void quant_dequantize_q6_k(const struct quant_q6_k *b, float *dst, size_t n_blocks)
{
    for (; n_blocks > 0; n_blocks--, b++, dst += QUANT_SUPER) {
        float d = quant_f16(b->d);
        for (int k = 0; k < QUANT_SUPER; k++) {
            float group_d = d * (float)b->scales[k / QUANT_SUB];
            int low = b->ql[k / 128 * 64 + k % 64] >> 4 * (k / 64 % 2) & 15;
            dst[k] = group_d * (float)((low | two_bits(b->qh, k) << 4) - 32);
        }
    }
}

void quant_dequantize_iq4_xs(const struct quant_iq4_xs *b, float *dst, size_t n_blocks)
{
    for (; n_blocks > 0; n_blocks--, b++, dst += QUANT_SUPER) {
        float d = quant_f16(b->d);
        for (unsigned g = 0; g < QUANT_SUPER / 32; g++) {
            float group_d = d * (float)quant_iq4_xs_scale(b, g);
            const uint8_t *qs = b->qs + 16 * g;
            float *group = dst + 32 * g;
            for (int i = 0; i < 16; i++) {
                group[i] = group_d * (float)quant_iq4_values[qs[i] & 15];
                group[i + 16] = group_d * (float)quant_iq4_values[qs[i] >> 4];
            }
        }
    }
}
