/* pack_read.c - reads the packed layout back into plain numbers: for the reference kernels,
 * and to prove that packing loses nothing. */
#include "base/half.h"
#include "quant/pack_layout.h"
#include "quant/quant_block.h"

#include <string.h>

/* Which rows of a group to read: [begin, end). */
struct row_range {
    unsigned begin, end;
};

/* q[i][r] |= the plane's bits of items 4i..4i+3 of row r, a byte each, shifted left by `to`. */
static inline void add_plane(const uint8_t *plane, unsigned n_bits, unsigned to,
                             struct row_range rows, uint32_t q[PACK_UNIT / 4][PACK_ROWS])
{
    uint32_t mask = ((1u << n_bits) - 1) * 0x01010101u;
    unsigned per_line = 8 / n_bits;
    for (unsigned i = 0; i < PACK_UNIT / 4; i++) {
        const uint8_t *line = plane + i / per_line * PACK_LINE;
        for (unsigned r = rows.begin; r < rows.end; r++) {
            uint32_t word;
            memcpy(&word, line + 4 * r, 4);
            q[i][r] |= (word >> n_bits * (i % per_line) & mask) << to;
        }
    }
}

/* 32 items of some rows, zero taken off. */
static inline void read_unit(enum quant_type type, const uint8_t *unit, struct row_range rows,
                             int16_t out[][PACK_ROWS])
{
    const struct pack_layout *l = pack_layout_of(type);
    uint32_t q[PACK_UNIT / 4][PACK_ROWS] = {0};
    add_plane(unit, l->low_bits, 0, rows, q);
    if (l->high_bits > 0) {
        add_plane(unit + (size_t)l->low_bits * PACK_LINE, l->high_bits, l->low_bits, rows, q);
    }
    bool table = type == QUANT_IQ4_NL || type == QUANT_IQ4_XS;
    for (int i = 0; i < PACK_UNIT / 4; i++) {
        uint8_t bytes[PACK_ROWS][4];
        memcpy(bytes, q[i], sizeof bytes);
        for (unsigned r = rows.begin; r < rows.end; r++) {
            for (int j = 0; j < 4; j++) {
                int value = table ? quant_iq4_values[bytes[r][j]] : bytes[r][j] - l->zero;
                out[4 * i + j][r] = (int16_t)value;
            }
        }
    }
}

/* Bits [shift, shift + n_bits) of row r in line i of [n][16]. */
static unsigned line_bits(const uint8_t *lines, unsigned i, unsigned r, unsigned shift,
                          unsigned n_bits)
{
    return (unsigned)lines[i * PACK_ROWS + r] >> shift & ((1u << n_bits) - 1);
}

/* Scale and minimum of sub-block i of 16 items of row r. */
static void read_sub(enum quant_type type, const uint8_t *s, unsigned i, unsigned r,
                     struct pack_block *out)
{
    unsigned h = i / 2; /* the sub-block of 32 it is half of */
    unsigned low, high;
    int scale = 0, minimum = 0;
    switch (type) {
    case QUANT_Q2_K:
        scale = (int)line_bits(s + PACK_Q2_K_SUB, i, r, 0, 4);
        minimum = (int)line_bits(s + PACK_Q2_K_SUB, i, r, 4, 4);
        break;
    case QUANT_Q3_K:
        low = line_bits(s + PACK_Q3_K_LOW, i % 8, r, 4 * (i / 8), 4);
        high = line_bits(s + PACK_Q3_K_HIGH, i % 4, r, 2 * (i / 4), 2);
        scale = (int)(low | high << 4) - 32;
        break;
    case QUANT_Q4_K:
    case QUANT_Q5_K:
        low = line_bits(s + PACK_Q45_K_LOW, h, r, 0, 4);
        high = line_bits(s + PACK_Q45_K_HIGH, h % 4, r, 4 * (h / 4), 2);
        scale = (int)(low | high << 4);
        low = line_bits(s + PACK_Q45_K_LOW, h, r, 4, 4);
        high = line_bits(s + PACK_Q45_K_HIGH, h % 4, r, 4 * (h / 4) + 2, 2);
        minimum = (int)(low | high << 4);
        break;
    case QUANT_Q6_K:
        scale = (int8_t)s[PACK_Q6_K_SUB + i * PACK_ROWS + r];
        break;
    case QUANT_IQ4_XS:
        low = line_bits(s + PACK_IQ4_XS_LOW, h % 4, r, 4 * (h / 4), 4);
        high = line_bits(s + PACK_IQ4_XS_HIGH, h % 2, r, 2 * (h / 2), 2);
        scale = (int)(low | high << 4) - 32;
        break;
    default:
        break;
    }
    out->sub[i][r] = (int16_t)scale;
    out->sub_min[i][r] = (int16_t)minimum;
}

static bool has_m(enum quant_type type)
{
    return type == QUANT_Q4_1 || type == QUANT_Q5_1 || type == QUANT_Q2_K || type == QUANT_Q4_K ||
           type == QUANT_Q5_K;
}

static inline void read_rows(const struct pack_matrix *m, uint32_t group, uint32_t block,
                             struct row_range rows, struct pack_block *out)
{
    const struct pack_layout *l = pack_layout_of(m->type);
    const uint8_t *base = m->data + group * m->group_bytes;
    const uint8_t *scales = base + (size_t)block * l->scale_bytes;
    size_t unit_bytes = (size_t)(l->low_bits + l->high_bits) * PACK_LINE;
    size_t n_units = l->block_items / PACK_UNIT;
    const uint8_t *quants = base + pack_quants_offset(m) + block * n_units * unit_bytes;
    for (unsigned r = rows.begin; r < rows.end; r++) {
        out->d[r] = quant_f16(scales + PACK_D + 2 * r);
        out->m[r] = has_m(m->type) ? quant_f16(scales + PACK_M + 2 * r) : 0.0f;
        for (unsigned i = 0; l->act == PACK_ACT_Q256 && i < 16; i++) {
            read_sub(m->type, scales, i, r, out);
        }
    }
    for (size_t u = 0; u < n_units; u++) {
        read_unit(m->type, quants + u * unit_bytes, rows, out->q + u * PACK_UNIT);
    }
}

void pack_read_block(const struct pack_matrix *m, uint32_t group, uint32_t block,
                     struct pack_block *out)
{
    read_rows(m, group, block, (struct row_range){0, PACK_ROWS}, out);
}

float pack_read_dense(const struct pack_matrix *m, uint32_t group, uint32_t r, uint32_t k)
{
    const uint8_t *base = m->data + group * m->group_bytes;
    float f;
    switch (m->type) {
    case QUANT_F16:
        return quant_f16(base + ((size_t)k * PACK_ROWS + r) * 2);
    case QUANT_BF16:
        return half_bf16_to_f32(quant_u16(base + k / 2 * (size_t)PACK_LINE + r * 4 + k % 2 * 2));
    default:
        memcpy(&f, base + ((size_t)k * PACK_ROWS + r) * sizeof f, sizeof f);
        return f;
    }
}

/* The float operations of quant_dequantize, in its order. */
static float block_value(enum quant_type type, const struct pack_block *b, unsigned r, unsigned k)
{
    float q = b->q[k][r];
    switch (type) {
    case QUANT_Q4_1:
    case QUANT_Q5_1:
        return b->d[r] * q + b->m[r];
    case QUANT_Q2_K:
    case QUANT_Q4_K:
    case QUANT_Q5_K:
        return b->d[r] * (float)b->sub[k / 16][r] * q - b->m[r] * (float)b->sub_min[k / 16][r];
    case QUANT_Q3_K:
    case QUANT_Q6_K:
    case QUANT_IQ4_XS:
        return b->d[r] * (float)b->sub[k / 16][r] * q;
    default:
        return b->d[r] * q;
    }
}

void pack_dequantize_row(const struct pack_matrix *m, uint32_t row, float *dst)
{
    const struct pack_layout *l = pack_layout_of(m->type);
    uint32_t group = row / PACK_ROWS, r = row % PACK_ROWS;
    if (l->act == PACK_ACT_F32) {
        for (uint32_t k = 0; k < m->cols; k++) {
            dst[k] = pack_read_dense(m, group, r, k);
        }
        return;
    }
    struct pack_block b;
    for (uint32_t block = 0; block < m->cols / l->block_items; block++) {
        read_rows(m, group, block, (struct row_range){r, r + 1}, &b);
        for (unsigned k = 0; k < l->block_items; k++) {
            *dst++ = block_value(m->type, &b, r, k);
        }
    }
}
