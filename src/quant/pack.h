/* pack.h - the layout that kernels read: 16 rows interleaved by 4 consecutive k, so that a 512-bit
 * lane is an output row and no horizontal sum exists. Lossless and without growth: every bit of the
 * file's blocks is kept, only moved.
 *
 * A packed matrix is a sequence of row groups of 16 rows (the last one padded with zero rows), each
 * group_bytes long (a multiple of 64): first the scales of all its blocks, then all its quants.
 * docs/QUANT.md draws every type. In short, with r = row in the group, k = item in its block of 32,
 * j = k % 4, and "line" = 64 bytes:
 *   byte plane   8 lines a block: line k/4, byte 4r+j = q
 *   nibble plane 4 lines a block: line k/8, byte 4r+j = low nibble when k/4 is even, else high
 *   2-bit plane  2 lines a block: line k/16, byte 4r+j, bits 2*(k/4%4)..+1
 *   1-bit plane  1 line a block: byte 4r+j, bit k/4
 * q is unsigned: Q8_0 stores q + 128 (zero = 128). Dense types store one k of 16 rows together
 * (F32: 64 bytes, F16: 32 bytes); BF16 stores pairs (row r: dword r = k even low, k odd high). */
#ifndef QUANT_PACK_H
#define QUANT_PACK_H

#include "base/digest.h"
#include "base/error.h"
#include "quant/quant.h"

enum { PACK_ROWS = 16 };

/* Which quantised form of the activations a type multiplies with, see kern.h. */
enum pack_act {
    PACK_ACT_F32,       /* dense types: f32 arithmetic */
    PACK_ACT_Q32,       /* blocks of 32 with a float scale: Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 IQ4_NL */
    PACK_ACT_Q256,      /* super-blocks of 256 with integer sub-scales: Q2_K .. Q6_K, IQ4_XS */
    PACK_ACT_BF16,      /* of no type by itself: BF16 weights in numerics bf16 (kern/kern.h) */
    PACK_ACT_Q256_ROWS, /* nor this: Q256 for a set that multiplies by tile registers */
    PACK_ACT_COUNT
};

struct pack_matrix {
    enum quant_type type;
    uint32_t rows, cols;
    uint32_t n_groups; /* (rows + 15) / 16 */
    size_t group_bytes;
    const uint8_t *data; /* n_groups * group_bytes, 64-byte aligned; the allocator owns it */
};

/* Activation form of a supported type in portable numerics. */
enum pack_act pack_act_of(enum quant_type type);

/* Fills all of *out but data. ERROR_UNSUPPORTED when cols is no multiple of the type's block (dense
 * types: of 2) or a size overflows; names both numbers. */
bool pack_matrix_init(struct pack_matrix *out, enum quant_type type, uint64_t rows, uint64_t cols,
                      struct error *e);

/* Bytes that data needs. */
size_t pack_matrix_bytes(const struct pack_matrix *m);

/* Groups [begin, end) of m as a matrix of its own, in m's data. */
struct pack_matrix pack_matrix_part(const struct pack_matrix *m, uint32_t begin, uint32_t end);

/* Packs groups [group_begin, group_end) from the file's rows.
 * shapes  src (rows, cols) in the file's blocks, row after row; dst n_groups * group_bytes
 * thread  disjoint group ranges may be packed at the same time */
void pack_groups(const struct pack_matrix *m, const uint8_t *src, uint8_t *dst,
                 uint32_t group_begin, uint32_t group_end);

/* The inverse, by which tests prove that packing loses nothing: dst (cols) f32, bit-equal to
 * quant_dequantize of the file's row. */
void pack_dequantize_row(const struct pack_matrix *m, uint32_t row, float *dst);

/* A digest of what the packer makes of fixed bytes of every type: another one means another layout,
 * so packed bytes that were kept are of no use. Takes about 1 ms; ERROR_MEMORY. */
bool pack_layout_digest(struct digest *out, struct error *e);

#endif
