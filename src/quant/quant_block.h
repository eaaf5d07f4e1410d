/* quant_block.h - the blocks of GGUF files as bytes in memory, and how their small fields unpack.
 * Shared by the dequantisers (quant.c, quant_k.c) and the packer.
 *
 * Every struct is made of bytes alone, so it has no padding and may lie at any address. Two-byte
 * fields are little endian and read with quant_u16 or quant_f16.
 * source  ggml block formats; docs/QUANT.md draws each */
#ifndef QUANT_QUANT_BLOCK_H
#define QUANT_QUANT_BLOCK_H

#include "base/half.h"
#include "quant/quant.h"

enum {
    QUANT_BLOCK = 32,        /* items of a plain block */
    QUANT_SUPER = 256,       /* items of a super-block */
    QUANT_SUB = 16,          /* items of the smallest group with a scale in a super-block */
    QUANT_K_SCALE_BYTES = 12 /* packed 6-bit scales of Q3_K, Q4_K, Q5_K */
};

/* item k of 32: low nibble of qs[k] for k < 16, high nibble of qs[k - 16] above */
struct quant_q4_0 {
    uint8_t d[2];
    uint8_t qs[16];
};
struct quant_q4_1 {
    uint8_t d[2], m[2];
    uint8_t qs[16];
};
/* qh: bit k of the little-endian 32-bit word is bit 4 of item k */
struct quant_q5_0 {
    uint8_t d[2];
    uint8_t qh[4];
    uint8_t qs[16];
};
struct quant_q5_1 {
    uint8_t d[2], m[2];
    uint8_t qh[4];
    uint8_t qs[16];
};
struct quant_q8_0 {
    uint8_t d[2];
    int8_t qs[32];
};
/* nibbles as Q4_0, values through quant_iq4_values */
struct quant_iq4_nl {
    uint8_t d[2];
    uint8_t qs[16];
};

/* Super-blocks: 256 items in groups of 16 or 32 with their own integer scale. */
struct quant_q2_k {
    uint8_t scales[16]; /* group of 16: scale low nibble, minimum high nibble */
    uint8_t qs[64];     /* 2 bits; item k: byte 32*(k/128) + k%32, bits 2*(k/32%4)..+1 */
    uint8_t d[2], dmin[2];
};
struct quant_q3_k {
    uint8_t hmask[32]; /* bit k/32 of byte k%32: set means bit 2 of item k is set */
    uint8_t qs[64];    /* as Q2_K */
    uint8_t scales[QUANT_K_SCALE_BYTES]; /* 16 of 6 bits, see quant_q3_k_scale */
    uint8_t d[2];
};
struct quant_q4_k {
    uint8_t d[2], dmin[2];
    uint8_t scales[QUANT_K_SCALE_BYTES]; /* 8 scales, 8 minima, see quant_k_scale */
    uint8_t qs[128]; /* item k: byte 32*(k/64) + k%32, low nibble when k/32 is even, else high */
};
struct quant_q5_k {
    uint8_t d[2], dmin[2];
    uint8_t scales[QUANT_K_SCALE_BYTES];
    uint8_t qh[32];  /* bit k/32 of byte k%32 is bit 4 of item k */
    uint8_t qs[128]; /* as Q4_K */
};
struct quant_q6_k {
    uint8_t ql[128];   /* item k: byte 64*(k/128) + k%64, low nibble when k/64 is even, else high */
    uint8_t qh[64];    /* item k: byte 32*(k/128) + k%32, bits 2*(k/32%4)..+1 are bits 4..5 */
    int8_t scales[16]; /* group of 16 */
    uint8_t d[2];
};
struct quant_iq4_xs {
    uint8_t d[2];
    uint8_t scales_h[2]; /* bits 2g..2g+1 of the word: bits 4..5 of the scale of group g of 32 */
    uint8_t scales_l[4]; /* byte g/2, low nibble when g is even, else high */
    uint8_t qs[128];     /* 16 bytes a group of 32, nibbles as IQ4_NL */
};

/* The 16 values that an IQ4_NL or IQ4_XS nibble stands for. */
extern const int8_t quant_iq4_values[16];

static inline uint16_t quant_u16(const uint8_t bytes[2])
{
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static inline float quant_f16(const uint8_t bytes[2])
{
    return half_f16_to_f32(quant_u16(bytes));
}

/* Q3_K: scale of group g of 16 items, -32..31. Bits 0..3 lie in nibbles of bytes 0..7 (low nibbles
 * first), bits 4..5 in bytes 8..11, two bits each. */
static inline int quant_q3_k_scale(const uint8_t scales[QUANT_K_SCALE_BYTES], unsigned g)
{
    unsigned low = scales[g % 8] >> 4 * (g / 8) & 15;
    unsigned high = scales[8 + g % 4] >> 2 * (g / 4) & 3;
    return (int)(low | high << 4) - 32;
}

/* Q4_K, Q5_K: scale and minimum of group g of 32 items, 0..63. Groups 0..3 have their six bits in
 * bytes g and 4 + g; groups 4..7 have four bits in byte 4 + g and the two high ones above those. */
static inline void quant_k_scale(const uint8_t scales[QUANT_K_SCALE_BYTES], unsigned g,
                                 unsigned *scale, unsigned *minimum)
{
    if (g < 4) {
        *scale = scales[g] & 63;
        *minimum = scales[4 + g] & 63;
    } else {
        *scale = (scales[4 + g] & 15u) | (scales[g - 4] >> 2 & 48u);
        *minimum = (scales[4 + g] >> 4 & 15u) | (scales[g] >> 2 & 48u);
    }
}

/* IQ4_XS: scale of group g of 32 items, -32..31. */
static inline int quant_iq4_xs_scale(const struct quant_iq4_xs *b, unsigned g)
{
    unsigned low = b->scales_l[g / 2] >> 4 * (g % 2) & 15;
    unsigned high = quant_u16(b->scales_h) >> 2 * g & 3;
    return (int)(low | high << 4) - 32;
}

/* Dequantisers of super-block types (quant_k.c): n_blocks blocks of 256 items. */
void quant_dequantize_q2_k(const struct quant_q2_k *b, float *dst, size_t n_blocks);
void quant_dequantize_q3_k(const struct quant_q3_k *b, float *dst, size_t n_blocks);
void quant_dequantize_q4_k(const struct quant_q4_k *b, float *dst, size_t n_blocks);
void quant_dequantize_q5_k(const struct quant_q5_k *b, float *dst, size_t n_blocks);
void quant_dequantize_q6_k(const struct quant_q6_k *b, float *dst, size_t n_blocks);
void quant_dequantize_iq4_xs(const struct quant_iq4_xs *b, float *dst, size_t n_blocks);

#endif
