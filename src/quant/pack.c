/* pack.c - moves the bits of a file's blocks into the layout of pack_layout.h.
 *
 * Every type goes the same way: read_items gives 32 items of a row as unsigned bytes, put_plane
 * spreads their low and high bits over the planes, put_scales places the numbers of a block. */
#include "base/mem.h"
#include "quant/pack_layout.h"
#include "quant/quant_block.h"

#include <string.h>

static const struct pack_layout layouts[QUANT_TYPE_COUNT] = {
    [QUANT_F32] = {PACK_ACT_F32, 2, 0, 0, 0, 0},
    [QUANT_F16] = {PACK_ACT_F32, 2, 0, 0, 0, 0},
    [QUANT_BF16] = {PACK_ACT_F32, 2, 0, 0, 0, 0},
    [QUANT_Q4_0] = {PACK_ACT_Q32, 32, 32, 4, 0, 8},
    [QUANT_Q4_1] = {PACK_ACT_Q32, 32, 64, 4, 0, 0},
    [QUANT_Q5_0] = {PACK_ACT_Q32, 32, 32, 4, 1, 16},
    [QUANT_Q5_1] = {PACK_ACT_Q32, 32, 64, 4, 1, 0},
    [QUANT_Q8_0] = {PACK_ACT_Q32, 32, 32, 8, 0, 128},
    [QUANT_IQ4_NL] = {PACK_ACT_Q32, 32, 32, 4, 0, 128},
    [QUANT_Q2_K] = {PACK_ACT_Q256, 256, 320, 2, 0, 0},
    [QUANT_Q3_K] = {PACK_ACT_Q256, 256, 224, 2, 1, 4},
    [QUANT_Q4_K] = {PACK_ACT_Q256, 256, 256, 4, 0, 0},
    [QUANT_Q5_K] = {PACK_ACT_Q256, 256, 256, 4, 1, 0},
    [QUANT_Q6_K] = {PACK_ACT_Q256, 256, 288, 4, 2, 32},
    [QUANT_IQ4_XS] = {PACK_ACT_Q256, 256, 128, 4, 0, 128},
};

const struct pack_layout *pack_layout_of(enum quant_type type)
{
    return &layouts[type];
}

enum pack_act pack_act_of(enum quant_type type)
{
    return layouts[type].act;
}

static size_t round_to_line(size_t n)
{
    return (n + PACK_LINE - 1) / PACK_LINE * PACK_LINE;
}

size_t pack_quants_offset(const struct pack_matrix *m)
{
    const struct pack_layout *l = pack_layout_of(m->type);
    return round_to_line((size_t)(m->cols / l->block_items) * l->scale_bytes);
}

bool pack_matrix_init(struct pack_matrix *out, enum quant_type type, uint64_t rows, uint64_t cols,
                      struct error *e)
{
    const struct quant_info *info = quant_type_info(type);
    if (info == NULL) {
        return error_set(e, ERROR_UNSUPPORTED, "tensor type %d cannot be packed", (int)type);
    }
    const struct pack_layout *l = pack_layout_of(type);
    if (cols % l->block_items != 0) {
        return error_set(e, ERROR_UNSUPPORTED, "%llu columns of type %s: not a multiple of %u",
                         (unsigned long long)cols, info->name, (unsigned)l->block_items);
    }
    if (rows > UINT32_MAX - PACK_ROWS || cols > UINT32_MAX) {
        return error_set(e, ERROR_UNSUPPORTED, "matrix of %llu x %llu is too large to pack",
                         (unsigned long long)rows, (unsigned long long)cols);
    }
    struct pack_matrix m = {.type = type, .rows = (uint32_t)rows, .cols = (uint32_t)cols};
    m.n_groups = (m.rows + PACK_ROWS - 1) / PACK_ROWS;
    /* At most 64 bytes an item of a group: fits 64 bits, as cols fits 32. */
    size_t bytes;
    if (l->act == PACK_ACT_F32) {
        m.group_bytes = (size_t)info->block_bytes * PACK_ROWS * m.cols;
    } else {
        size_t line_bits = (size_t)(l->low_bits + l->high_bits) * PACK_LINE;
        m.group_bytes = pack_quants_offset(&m) + m.cols / PACK_UNIT * line_bits;
    }
    if (!mem_mul(m.n_groups, m.group_bytes, &bytes)) {
        return error_set(e, ERROR_UNSUPPORTED, "matrix of %llu x %llu is too large to pack",
                         (unsigned long long)rows, (unsigned long long)cols);
    }
    *out = m;
    return true;
}

size_t pack_matrix_bytes(const struct pack_matrix *m)
{
    return m->n_groups * m->group_bytes;
}

struct pack_matrix pack_matrix_part(const struct pack_matrix *m, uint32_t begin, uint32_t end)
{
    struct pack_matrix part = *m;
    uint32_t first = begin * PACK_ROWS, left = m->rows - first;
    part.n_groups = end - begin;
    part.rows = left < part.n_groups * PACK_ROWS ? left : part.n_groups * PACK_ROWS;
    part.data += begin * m->group_bytes;
    return part;
}

/* --- items of a file's block as unsigned bytes ------------------------------------------------ */

/* 16 bytes of nibbles: items 0..15 low, 16..31 high. */
static void read_nibbles(const uint8_t *qs, uint8_t q[PACK_UNIT])
{
    for (int k = 0; k < 16; k++) {
        q[k] = qs[k] & 15;
        q[k + 16] = qs[k] >> 4;
    }
}

static void add_fifth_bits(const uint8_t qh[4], uint8_t q[PACK_UNIT])
{
    for (int k = 0; k < PACK_UNIT; k++) {
        q[k] |= (uint8_t)((qh[k / 8] >> k % 8 & 1) << 4);
    }
}

/* q[k] = bits [from, from + n_bits) of src[k], set at bit `to`. */
static void add_bits(const uint8_t *src, unsigned from, unsigned n_bits, unsigned to,
                     uint8_t q[PACK_UNIT])
{
    uint8_t mask = (uint8_t)((1u << n_bits) - 1);
    for (int k = 0; k < PACK_UNIT; k++) {
        q[k] |= (uint8_t)((src[k] >> from & mask) << to);
    }
}

/* Items 32 u .. 32 u + 31 of a block; u is 0 for blocks of 32. */
static void read_items(enum quant_type type, const void *block, unsigned u, uint8_t q[PACK_UNIT])
{
    memset(q, 0, PACK_UNIT);
    switch (type) {
    case QUANT_Q4_0:
    case QUANT_IQ4_NL:
        read_nibbles(((const struct quant_q4_0 *)block)->qs, q);
        break;
    case QUANT_Q4_1:
        read_nibbles(((const struct quant_q4_1 *)block)->qs, q);
        break;
    case QUANT_Q5_0:
        read_nibbles(((const struct quant_q5_0 *)block)->qs, q);
        add_fifth_bits(((const struct quant_q5_0 *)block)->qh, q);
        break;
    case QUANT_Q5_1:
        read_nibbles(((const struct quant_q5_1 *)block)->qs, q);
        add_fifth_bits(((const struct quant_q5_1 *)block)->qh, q);
        break;
    case QUANT_Q8_0:
        for (int k = 0; k < PACK_UNIT; k++) {
            q[k] = (uint8_t)(((const struct quant_q8_0 *)block)->qs[k] + 128);
        }
        break;
    case QUANT_Q2_K:
        add_bits(((const struct quant_q2_k *)block)->qs + 32 * (u / 4), 2 * (u % 4), 2, 0, q);
        break;
    case QUANT_Q3_K:
        add_bits(((const struct quant_q3_k *)block)->qs + 32 * (u / 4), 2 * (u % 4), 2, 0, q);
        add_bits(((const struct quant_q3_k *)block)->hmask, u, 1, 2, q);
        break;
    case QUANT_Q4_K:
        add_bits(((const struct quant_q4_k *)block)->qs + 32 * (u / 2), 4 * (u % 2), 4, 0, q);
        break;
    case QUANT_Q5_K:
        add_bits(((const struct quant_q5_k *)block)->qs + 32 * (u / 2), 4 * (u % 2), 4, 0, q);
        add_bits(((const struct quant_q5_k *)block)->qh, u, 1, 4, q);
        break;
    case QUANT_Q6_K: {
        const struct quant_q6_k *b = block;
        add_bits(b->ql + 64 * (u / 4) + 32 * (u % 2), 4 * (u / 2 % 2), 4, 0, q);
        add_bits(b->qh + 32 * (u / 4), 2 * (u % 4), 2, 4, q);
        break;
    }
    case QUANT_IQ4_XS:
        read_nibbles(((const struct quant_iq4_xs *)block)->qs + 16 * u, q);
        break;
    default:
        break;
    }
}

/* --- planes and scales ------------------------------------------------------------------------ */

/* Writes the plane of bits [from, from + n_bits) of q: n_bits lines. Four items of a row move
 * together as one word; the masks keep them apart, so the order of bytes does not matter. */
static void put_plane(const uint32_t q[PACK_UNIT / 4][PACK_ROWS], unsigned from, unsigned n_bits,
                      uint8_t *dst)
{
    uint32_t mask = ((1u << n_bits) - 1) * 0x01010101u;
    unsigned per_line = 8 / n_bits;
    for (unsigned line = 0; line < n_bits; line++) {
        uint32_t words[PACK_ROWS] = {0};
        for (unsigned i = 0; i < per_line; i++) {
            const uint32_t *items = q[line * per_line + i];
            for (int r = 0; r < PACK_ROWS; r++) {
                words[r] |= (items[r] >> from & mask) << n_bits * i;
            }
        }
        memcpy(dst + (size_t)line * PACK_LINE, words, PACK_LINE);
    }
}

/* Packs the quants of 32 items of 16 rows. blocks[r]: the row's block, which they are part u of. */
static void put_unit(enum quant_type type, const uint8_t *const blocks[PACK_ROWS], unsigned u,
                     uint8_t *dst)
{
    const struct pack_layout *l = pack_layout_of(type);
    uint32_t q[PACK_UNIT / 4][PACK_ROWS];
    for (int r = 0; r < PACK_ROWS; r++) {
        uint32_t items[PACK_UNIT / 4];
        uint8_t bytes[PACK_UNIT];
        read_items(type, blocks[r], u, bytes);
        memcpy(items, bytes, sizeof items);
        for (int i = 0; i < PACK_UNIT / 4; i++) {
            q[i][r] = items[i];
        }
    }
    put_plane(q, 0, l->low_bits, dst);
    if (l->high_bits > 0) {
        put_plane(q, l->low_bits, l->high_bits, dst + (size_t)l->low_bits * PACK_LINE);
    }
}

static void put_two(uint8_t *dst, int r, const uint8_t src[2])
{
    memcpy(dst + 2 * r, src, 2);
}

/* Adds `bits` at bit `shift` of the byte of row r in line `line` of [n][16]. */
static void put_bits(uint8_t *dst, unsigned line, int r, unsigned bits, unsigned shift)
{
    dst[line * PACK_ROWS + (unsigned)r] |= (uint8_t)(bits << shift);
}

static void put_scales_q3_k(const struct quant_q3_k *b, int r, uint8_t *dst)
{
    put_two(dst + PACK_D, r, b->d);
    for (unsigned i = 0; i < 16; i++) {
        unsigned s = (unsigned)(quant_q3_k_scale(b->scales, i) + 32);
        put_bits(dst + PACK_Q3_K_LOW, i % 8, r, s & 15, 4 * (i / 8));
        put_bits(dst + PACK_Q3_K_HIGH, i % 4, r, s >> 4, 2 * (i / 4));
    }
}

/* Q4_K, and Q5_K, which begins with the same fields. */
static void put_scales_q45_k(const struct quant_q4_k *b, int r, uint8_t *dst)
{
    put_two(dst + PACK_D, r, b->d);
    put_two(dst + PACK_M, r, b->dmin);
    for (unsigned i = 0; i < 8; i++) {
        unsigned scale, minimum;
        quant_k_scale(b->scales, i, &scale, &minimum);
        put_bits(dst + PACK_Q45_K_LOW, i, r, scale & 15, 0);
        put_bits(dst + PACK_Q45_K_LOW, i, r, minimum & 15, 4);
        put_bits(dst + PACK_Q45_K_HIGH, i % 4, r, scale >> 4, 4 * (i / 4));
        put_bits(dst + PACK_Q45_K_HIGH, i % 4, r, minimum >> 4, 4 * (i / 4) + 2);
    }
}

static void put_scales_iq4_xs(const struct quant_iq4_xs *b, int r, uint8_t *dst)
{
    put_two(dst + PACK_D, r, b->d);
    for (unsigned i = 0; i < 8; i++) {
        unsigned s = (unsigned)(quant_iq4_xs_scale(b, i) + 32);
        put_bits(dst + PACK_IQ4_XS_LOW, i % 4, r, s & 15, 4 * (i / 4));
        put_bits(dst + PACK_IQ4_XS_HIGH, i % 2, r, s >> 4, 2 * (i / 2));
    }
}

/* Scales of row r of a block; dst is zeroed before its first row. */
static void put_scales(enum quant_type type, const void *block, int r, uint8_t *dst)
{
    switch (type) {
    case QUANT_Q4_1:
    case QUANT_Q5_1: {
        const struct quant_q4_1 *b = block;
        put_two(dst + PACK_D, r, b->d);
        put_two(dst + PACK_M, r, b->m);
        break;
    }
    case QUANT_Q2_K: {
        const struct quant_q2_k *b = block;
        put_two(dst + PACK_D, r, b->d);
        put_two(dst + PACK_M, r, b->dmin);
        for (unsigned i = 0; i < 16; i++) {
            put_bits(dst + PACK_Q2_K_SUB, i, r, b->scales[i], 0);
        }
        break;
    }
    case QUANT_Q3_K:
        put_scales_q3_k(block, r, dst);
        break;
    case QUANT_Q4_K:
    case QUANT_Q5_K:
        put_scales_q45_k(block, r, dst);
        break;
    case QUANT_Q6_K: {
        const struct quant_q6_k *b = block;
        put_two(dst + PACK_D, r, b->d);
        for (unsigned i = 0; i < 16; i++) {
            put_bits(dst + PACK_Q6_K_SUB, i, r, (uint8_t)b->scales[i], 0);
        }
        break;
    }
    case QUANT_IQ4_XS:
        put_scales_iq4_xs(block, r, dst);
        break;
    default: /* Q4_0, Q5_0, Q8_0, IQ4_NL begin with d */
        put_two(dst + PACK_D, r, block);
        break;
    }
}

/* --- groups ----------------------------------------------------------------------------------- */

/* What the missing rows of the last group are made of: a block of any type. */
static const uint8_t zero_block[sizeof(struct quant_q6_k)];

/* Items of `size` bytes, a run of n_run of each row side by side: with constants, plain moves. */
static inline void interleave(const uint8_t *const rows[PACK_ROWS], size_t n_items, size_t size,
                              size_t n_run, uint8_t *dst)
{
    for (size_t k = 0; k < n_items; k += n_run) {
        for (size_t r = 0; r < PACK_ROWS; r++, dst += n_run * size) {
            if (rows[r] != NULL) {
                memcpy(dst, rows[r] + k * size, n_run * size);
            } else {
                memset(dst, 0, n_run * size);
            }
        }
    }
}

/* rows[r]: the file's row, or NULL past the last one. */
static void pack_dense_group(const struct pack_matrix *m, const uint8_t *const rows[PACK_ROWS],
                             uint8_t *dst)
{
    switch (m->type) {
    case QUANT_F16:
        interleave(rows, m->cols, 2, 1, dst);
        break;
    case QUANT_BF16:
        interleave(rows, m->cols, 2, 2, dst);
        break;
    default:
        interleave(rows, m->cols, 4, 1, dst);
        break;
    }
}

static void pack_block_group(const struct pack_matrix *m, const uint8_t *const rows[PACK_ROWS],
                             uint8_t *dst)
{
    const struct pack_layout *l = pack_layout_of(m->type);
    size_t block_bytes = quant_type_info(m->type)->block_bytes;
    size_t unit_bytes = (size_t)(l->low_bits + l->high_bits) * PACK_LINE;
    uint8_t *scales = dst, *quants = dst + pack_quants_offset(m);
    memset(scales, 0, (size_t)(quants - scales));
    for (size_t b = 0; b < m->cols / l->block_items; b++, scales += l->scale_bytes) {
        const uint8_t *blocks[PACK_ROWS];
        for (int r = 0; r < PACK_ROWS; r++) {
            blocks[r] = rows[r] != NULL ? rows[r] + b * block_bytes : zero_block;
            put_scales(m->type, blocks[r], r, scales);
        }
        for (unsigned u = 0; u < l->block_items / PACK_UNIT; u++, quants += unit_bytes) {
            put_unit(m->type, blocks, u, quants);
        }
    }
}

void pack_groups(const struct pack_matrix *m, const uint8_t *src, uint8_t *dst,
                 uint32_t group_begin, uint32_t group_end)
{
    const struct quant_info *info = quant_type_info(m->type);
    size_t row_bytes = (size_t)(m->cols / info->block_items) * info->block_bytes;
    for (uint32_t g = group_begin; g < group_end; g++) {
        const uint8_t *rows[PACK_ROWS];
        for (uint32_t r = 0; r < PACK_ROWS; r++) {
            uint32_t row = g * PACK_ROWS + r;
            rows[r] = row < m->rows ? src + row * row_bytes : NULL;
        }
        if (pack_act_of(m->type) == PACK_ACT_F32) {
            pack_dense_group(m, rows, dst + g * m->group_bytes);
        } else {
            pack_block_group(m, rows, dst + g * m->group_bytes);
        }
    }
}
