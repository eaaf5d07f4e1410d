/* quant.c - names and sizes of tensor types, and dequantisation of dense types and blocks of 32. */
#include "quant/quant.h"

#include "quant/quant_block.h"

#include <string.h>

/* Every size in the table is the size of the struct that reads it. */
static const struct quant_info type_infos[QUANT_TYPE_COUNT] = {
    [QUANT_F32] = {"F32", 1, 4},
    [QUANT_F16] = {"F16", 1, 2},
    [QUANT_BF16] = {"BF16", 1, 2},
    [QUANT_Q4_0] = {"Q4_0", QUANT_BLOCK, sizeof(struct quant_q4_0)},
    [QUANT_Q4_1] = {"Q4_1", QUANT_BLOCK, sizeof(struct quant_q4_1)},
    [QUANT_Q5_0] = {"Q5_0", QUANT_BLOCK, sizeof(struct quant_q5_0)},
    [QUANT_Q5_1] = {"Q5_1", QUANT_BLOCK, sizeof(struct quant_q5_1)},
    [QUANT_Q8_0] = {"Q8_0", QUANT_BLOCK, sizeof(struct quant_q8_0)},
    [QUANT_Q2_K] = {"Q2_K", QUANT_SUPER, sizeof(struct quant_q2_k)},
    [QUANT_Q3_K] = {"Q3_K", QUANT_SUPER, sizeof(struct quant_q3_k)},
    [QUANT_Q4_K] = {"Q4_K", QUANT_SUPER, sizeof(struct quant_q4_k)},
    [QUANT_Q5_K] = {"Q5_K", QUANT_SUPER, sizeof(struct quant_q5_k)},
    [QUANT_Q6_K] = {"Q6_K", QUANT_SUPER, sizeof(struct quant_q6_k)},
    [QUANT_IQ4_NL] = {"IQ4_NL", QUANT_BLOCK, sizeof(struct quant_iq4_nl)},
    [QUANT_IQ4_XS] = {"IQ4_XS", QUANT_SUPER, sizeof(struct quant_iq4_xs)},
};

/* GGML's names by id, those removed from GGML long ago included. */
static const char *const type_names[] = {
    "F32",   "F16",        "Q4_0",       "Q4_1",       "Q4_2",     "Q4_3",     "Q5_0",
    "Q5_1",  "Q8_0",       "Q8_1",       "Q2_K",       "Q3_K",     "Q4_K",     "Q5_K",
    "Q6_K",  "Q8_K",       "IQ2_XXS",    "IQ2_XS",     "IQ3_XXS",  "IQ1_S",    "IQ4_NL",
    "IQ3_S", "IQ2_S",      "IQ4_XS",     "I8",         "I16",      "I32",      "I64",
    "F64",   "IQ1_M",      "BF16",       "Q4_0_4_4",   "Q4_0_4_8", "Q4_0_8_8", "TQ1_0",
    "TQ2_0", "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8", "MXFP4",    "NVFP4",    "Q1_0",
    "Q2_0",
};

const int8_t quant_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};

const struct quant_info *quant_type_info(uint32_t type)
{
    if (type >= QUANT_TYPE_COUNT || type_infos[type].name == NULL) {
        return NULL;
    }
    return &type_infos[type];
}

const char *quant_type_name(uint32_t type)
{
    return type < sizeof type_names / sizeof type_names[0] ? type_names[type] : NULL;
}

static void dequantize_f16(const uint8_t *src, float *dst, size_t n_items)
{
    for (size_t i = 0; i < n_items; i++) {
        dst[i] = quant_f16(src + 2 * i);
    }
}

static void dequantize_bf16(const uint8_t *src, float *dst, size_t n_items)
{
    for (size_t i = 0; i < n_items; i++) {
        dst[i] = half_bf16_to_f32(quant_u16(src + 2 * i));
    }
}

static void dequantize_q4_0(const struct quant_q4_0 *b, float *dst, size_t n_blocks)
{
    for (; n_blocks > 0; n_blocks--, b++, dst += QUANT_BLOCK) {
        float d = quant_f16(b->d);
        for (int i = 0; i < 16; i++) {
            dst[i] = d * (float)((b->qs[i] & 15) - 8);
            dst[i + 16] = d * (float)((b->qs[i] >> 4) - 8);
        }
    }
}

static void dequantize_q4_1(const struct quant_q4_1 *b, float *dst, size_t n_blocks)
{
    for (; n_blocks > 0; n_blocks--, b++, dst += QUANT_BLOCK) {
        float d = quant_f16(b->d), m = quant_f16(b->m);
        for (int i = 0; i < 16; i++) {
            dst[i] = d * (float)(b->qs[i] & 15) + m;
            dst[i + 16] = d * (float)(b->qs[i] >> 4) + m;
        }
    }
}

/* Bit 4 of item k, in place. */
static int fifth_bit(const uint8_t qh[4], int k)
{
    return (qh[k / 8] >> k % 8 & 1) << 4;
}

static void dequantize_q5_0(const struct quant_q5_0 *b, float *dst, size_t n_blocks)
{
    for (; n_blocks > 0; n_blocks--, b++, dst += QUANT_BLOCK) {
        float d = quant_f16(b->d);
        for (int i = 0; i < 16; i++) {
            dst[i] = d * (float)(((b->qs[i] & 15) | fifth_bit(b->qh, i)) - 16);
            dst[i + 16] = d * (float)(((b->qs[i] >> 4) | fifth_bit(b->qh, i + 16)) - 16);
        }
    }
}

static void dequantize_q5_1(const struct quant_q5_1 *b, float *dst, size_t n_blocks)
{
    for (; n_blocks > 0; n_blocks--, b++, dst += QUANT_BLOCK) {
        float d = quant_f16(b->d), m = quant_f16(b->m);
        for (int i = 0; i < 16; i++) {
            dst[i] = d * (float)((b->qs[i] & 15) | fifth_bit(b->qh, i)) + m;
            dst[i + 16] = d * (float)((b->qs[i] >> 4) | fifth_bit(b->qh, i + 16)) + m;
        }
    }
}

static void dequantize_q8_0(const struct quant_q8_0 *b, float *dst, size_t n_blocks)
{
    for (; n_blocks > 0; n_blocks--, b++, dst += QUANT_BLOCK) {
        float d = quant_f16(b->d);
        for (int i = 0; i < QUANT_BLOCK; i++) {
            dst[i] = (float)b->qs[i] * d;
        }
    }
}

static void dequantize_iq4_nl(const struct quant_iq4_nl *b, float *dst, size_t n_blocks)
{
    for (; n_blocks > 0; n_blocks--, b++, dst += QUANT_BLOCK) {
        float d = quant_f16(b->d);
        for (int i = 0; i < 16; i++) {
            dst[i] = d * (float)quant_iq4_values[b->qs[i] & 15];
            dst[i + 16] = d * (float)quant_iq4_values[b->qs[i] >> 4];
        }
    }
}

void quant_dequantize(enum quant_type type, const void *src, float *dst, size_t n_items)
{
    switch (type) {
    case QUANT_F32:
        memcpy(dst, src, n_items * sizeof *dst);
        break;
    case QUANT_F16:
        dequantize_f16(src, dst, n_items);
        break;
    case QUANT_BF16:
        dequantize_bf16(src, dst, n_items);
        break;
    case QUANT_Q4_0:
        dequantize_q4_0(src, dst, n_items / QUANT_BLOCK);
        break;
    case QUANT_Q4_1:
        dequantize_q4_1(src, dst, n_items / QUANT_BLOCK);
        break;
    case QUANT_Q5_0:
        dequantize_q5_0(src, dst, n_items / QUANT_BLOCK);
        break;
    case QUANT_Q5_1:
        dequantize_q5_1(src, dst, n_items / QUANT_BLOCK);
        break;
    case QUANT_Q8_0:
        dequantize_q8_0(src, dst, n_items / QUANT_BLOCK);
        break;
    case QUANT_IQ4_NL:
        dequantize_iq4_nl(src, dst, n_items / QUANT_BLOCK);
        break;
    case QUANT_Q2_K:
        quant_dequantize_q2_k(src, dst, n_items / QUANT_SUPER);
        break;
    case QUANT_Q3_K:
        quant_dequantize_q3_k(src, dst, n_items / QUANT_SUPER);
        break;
    case QUANT_Q4_K:
        quant_dequantize_q4_k(src, dst, n_items / QUANT_SUPER);
        break;
    case QUANT_Q5_K:
        quant_dequantize_q5_k(src, dst, n_items / QUANT_SUPER);
        break;
    case QUANT_Q6_K:
        quant_dequantize_q6_k(src, dst, n_items / QUANT_SUPER);
        break;
    case QUANT_IQ4_XS:
        quant_dequantize_iq4_xs(src, dst, n_items / QUANT_SUPER);
        break;
    case QUANT_TYPE_COUNT:
        break;
    }
}
