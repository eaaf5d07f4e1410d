/* pack_layout.h - where the bytes of a packed matrix lie. Shared by the packer and the kernels.
 *
 * A group of 16 rows holds, first, for every block in order its scales (scale_bytes), padded to 64,
 * and then, for every 32 items in order, their quants: a plane of low_bits bits an item, and after
 * it a plane of high_bits bits; q = low | high << low_bits. A plane of n bits takes n lines of 64
 * bytes. Item 4i + j of row r lies in byte 4r + j of line i / (8/n), at bit n * (i % (8/n)).
 * docs/QUANT.md draws every type. */
#ifndef QUANT_PACK_LAYOUT_H
#define QUANT_PACK_LAYOUT_H

#include "quant/pack.h"

enum {
    PACK_LINE = 64,  /* bytes that 4 items of 16 rows take as bytes */
    PACK_UNIT = 32,  /* items that make up whole lines in every plane */
    PACK_SUPER = 256 /* items of a super-block */
};

/* Offsets in the scales of a block. [n][16] means n times one value a row. A six-bit number s of
 * sub-block i is split in low (bits 0..3) and high (bits 4..5); sub-blocks whose numbers share a
 * byte are n lines apart, so that one shift and mask gives a whole vector of them. */
enum {
    PACK_D = 0,  /* f16 d[16]: every quantised type */
    PACK_M = 32, /* f16 m[16], added: Q4_1, Q5_1. f16 dmin[16], subtracted: Q2_K, Q4_K, Q5_K */

    PACK_Q2_K_SUB = 64, /* [16][16]: scale bits 0..3, minimum bits 4..7 */

    PACK_Q3_K_LOW = 32,   /* [8][16]: low of i in bits 0..3, of i + 8 in bits 4..7 */
    PACK_Q3_K_HIGH = 160, /* [4][16]: high of i, i + 4, i + 8, i + 12, two bits each; scale - 32 */

    PACK_Q45_K_LOW = 64,   /* [8][16]: low of scale i in bits 0..3, of minimum i in bits 4..7 */
    PACK_Q45_K_HIGH = 192, /* [4][16]: high of scale i, minimum i, scale i + 4, minimum i + 4 */

    PACK_Q6_K_SUB = 32, /* [16][16] int8 */

    PACK_IQ4_XS_LOW = 32, /* [4][16]: low of i in bits 0..3, of i + 4 in bits 4..7 */
    PACK_IQ4_XS_HIGH = 96 /* [2][16]: high of i, i + 2, i + 4, i + 6, two bits each; scale - 32 */
};

struct pack_layout {
    enum pack_act act;
    uint16_t block_items; /* 32 or 256; dense types 2, the items of a BF16 pair */
    uint16_t scale_bytes; /* of a block of 16 rows */
    uint16_t low_bits, high_bits;
    int16_t zero; /* what is taken off q; IQ4 types: off the table's value + 128 */
};

/* Layout of a supported type. */
const struct pack_layout *pack_layout_of(enum quant_type type);

/* Bytes from the start of a group to its quants, a multiple of 64. */
size_t pack_quants_offset(const struct pack_matrix *m);

/* One block of 16 rows in plain numbers, for the reference kernels and the inverse. Sub-blocks are
 * of 16 items in every type; those of 32 items appear twice. Blocks of 32 use q[0..31] and neither
 * sub nor sub_min. */
struct pack_block {
    float d[PACK_ROWS], m[PACK_ROWS]; /* m: PACK_M of types that have it, else 0 */
    int16_t sub[16][PACK_ROWS];       /* scale of a sub-block, -128..127 */
    int16_t sub_min[16][PACK_ROWS];   /* minimum of a sub-block, 0..63 */
    int16_t q[PACK_SUPER][PACK_ROWS]; /* item, zero taken off: -128..127 */
};

/* Reads block `block` of group `group`; the type is not dense. */
void pack_read_block(const struct pack_matrix *m, uint32_t group, uint32_t block,
                     struct pack_block *out);

/* Value of item k of row r of a group; the type is dense. */
float pack_read_dense(const struct pack_matrix *m, uint32_t group, uint32_t r, uint32_t k);

#endif
