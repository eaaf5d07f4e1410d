/* quant.h - the tensor types of GGUF files: names, block sizes, and exact dequantisation.
 * Pure functions, thread-safe.
 * source  ggml block formats; the oracle is the Python package `gguf` (quants.py), bit for bit. */
#ifndef QUANT_QUANT_H
#define QUANT_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Values are GGML's type ids. */
enum quant_type {
    QUANT_F32 = 0,
    QUANT_F16 = 1,
    QUANT_Q4_0 = 2,
    QUANT_Q4_1 = 3,
    QUANT_Q5_0 = 6,
    QUANT_Q5_1 = 7,
    QUANT_Q8_0 = 8,
    QUANT_Q2_K = 10,
    QUANT_Q3_K = 11,
    QUANT_Q4_K = 12,
    QUANT_Q5_K = 13,
    QUANT_Q6_K = 14,
    QUANT_IQ4_NL = 20,
    QUANT_IQ4_XS = 23,
    QUANT_BF16 = 30,
    QUANT_TYPE_COUNT = 31
};

/* A block is block_items consecutive values of a row stored in block_bytes bytes. */
struct quant_info {
    const char *name;
    uint32_t block_items; /* 1 for F32, F16, BF16; 32 or 256 for the others */
    uint32_t block_bytes;
};

/* NULL when the id is not one of enum quant_type. */
const struct quant_info *quant_type_info(uint32_t type);

/* GGML's name of any id ("IQ2_XXS", "TQ1_0", ...), supported or not; NULL when unknown to GGML too.
 */
const char *quant_type_name(uint32_t type);

/* dst[i] = exact value of item i, f32, same operations in the same order as gguf's quants.py.
 * shapes  src n_items/block_items blocks; dst (n_items) f32
 * needs   type supported; n_items a multiple of block_items; src may be unaligned */
void quant_dequantize(enum quant_type type, const void *src, float *dst, size_t n_items);

#endif
