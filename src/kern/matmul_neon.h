/* matmul_neon.h - what the NEON matmul kernels share: unpacking, products, storing.
 *
 * A register is a quarter of a line of the packed layout: 4 rows by 4 consecutive items. One `sdot`
 * multiplies it with 4 items of one token, any of the four that lie side by side in a register of
 * activations. Kernels are inline templates over compile-time constants (the form of a type, the
 * number of tokens). One token takes all quarters of a line at once, so that enough sums are under
 * way; many tokens take one quarter after the other, so that all their sums fit the 32 registers
 * and a line is unpacked once for the whole tile. */
#ifndef KERN_MATMUL_NEON_H
#define KERN_MATMUL_NEON_H

#include "kern/matmul.h"

#include <arm_neon.h>

enum { QUARTERS = 4, QUARTER_LINE = 16 };

/* How many quarters at once: 4 to 12 sums. */
TEMPLATE int quarters_at_once(int n_tokens)
{
    return n_tokens == 1 ? 4 : n_tokens <= 6 ? 2 : 1;
}

/* acc + sum over j of w[4r + j] * a[4 * lane + j] per row r. Intrinsics want a lane that is
 * constant before anything is unrolled. */
TEMPLATE int32x4_t dot_bytes(int32x4_t acc, int8x16_t w, int8x16_t a, int lane)
{
    switch (lane) {
    case 0:
        return vdotq_laneq_s32(acc, w, a, 0);
    case 1:
        return vdotq_laneq_s32(acc, w, a, 1);
    case 2:
        return vdotq_laneq_s32(acc, w, a, 2);
    default:
        return vdotq_laneq_s32(acc, w, a, 3);
    }
}

/* acc + w[r] * a[lane] per row r. */
TEMPLATE int32x4_t multiply_words(int32x4_t acc, int16x4_t w, int16x4_t a, int lane)
{
    switch (lane) {
    case 0:
        return vmlal_lane_s16(acc, w, a, 0);
    case 1:
        return vmlal_lane_s16(acc, w, a, 1);
    case 2:
        return vmlal_lane_s16(acc, w, a, 2);
    default:
        return vmlal_lane_s16(acc, w, a, 3);
    }
}

/* Makes the compiler forget what it knows about a pointer. Else gcc 12 loads what all quarters of a
 * block share before the first one, and spills it. */
#define FORGET_POINTER(p) __asm__("" : "+r"(p))

/* Shift of bytes, to the left when n < 0; n becomes the instruction's constant. */
TEMPLATE uint8x16_t shift_right(uint8x16_t x, int n)
{
    return n >= 0 ? x >> n : x << -n;
}

/* 4 f16 as f32. */
TEMPLATE float32x4_t load_halves(const uint8_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}

/* Line i of the 8 of a unit of 32 items, as signed bytes; unit points at the quarter's first byte.
 * Of Q8_0 and IQ4 the zero is taken off. */
TEMPLATE int8x16_t unit_quarter(struct line_form form, const uint8_t *unit, int i)
{
    static const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};
    if (form.low_bits == 8) { /* stored with 128 added */
        uint8x16_t stored = vld1q_u8(unit + i * PACK_LINE);
        return vreinterpretq_s8_u8(veorq_u8(stored, vdupq_n_u8(128)));
    }
    int per_line = 8 / form.low_bits, shift = form.low_bits * (i % per_line);
    uint8x16_t q = shift_right(vld1q_u8(unit + i / per_line * PACK_LINE), shift);
    if (shift + form.low_bits < 8) {
        q = vandq_u8(q, vdupq_n_u8((uint8_t)((1 << form.low_bits) - 1)));
    }
    if (form.high_bits > 0) {
        int high_per_line = 8 / form.high_bits, from = form.high_bits * (i % high_per_line);
        const uint8_t *plane = unit + form.low_bits * PACK_LINE;
        uint8x16_t high = vld1q_u8(plane + i / high_per_line * PACK_LINE);
        uint8x16_t mask = vdupq_n_u8((uint8_t)(((1 << form.high_bits) - 1) << form.low_bits));
        q = vorrq_u8(q, vandq_u8(shift_right(high, from - form.low_bits), mask));
    }
    return form.table ? vqtbl1q_s8(vld1q_s8(iq4_values), q) : vreinterpretq_s8_u8(q);
}

/* Lines [begin, end) of a unit. */
struct line_range {
    int begin, end;
};

/* sum += the products of a range of lines, n_quarters quarters wide, with the activations.
 * shapes  unit the first quarter's bytes; q (4, n_tokens, 8) activations of the unit
 *         sum (n_tokens, n_quarters) */
TEMPLATE void add_lines(struct line_form form, const uint8_t *unit, const struct line_range range,
                        const int8_t *q, int32x4_t sum[KERN_TILE][QUARTERS], const int n_quarters,
                        const int n_tokens)
{
    UNROLL
    for (int i = range.begin; i < range.end; i += 2) {
        int8x16_t w[2][QUARTERS];
        UNROLL
        for (int r = 0; r < n_quarters; r++) {
            w[0][r] = unit_quarter(form, unit + r * QUARTER_LINE, i);
            w[1][r] = unit_quarter(form, unit + r * QUARTER_LINE, i + 1);
        }
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            const int at = i / 2 * n_tokens + t; /* two of them are a register */
            int8x16_t a = vld1q_s8(q + at / 2 * 16);
            UNROLL
            for (int r = 0; r < n_quarters; r++) {
                sum[t][r] = dot_bytes(sum[t][r], w[0][r], a, at % 2 * 2);
                sum[t][r] = dot_bytes(sum[t][r], w[1][r], a, at % 2 * 2 + 1);
            }
        }
        FORGET_POINTER(q);
    }
}

/* Stores the sums of group g of n_groups. */
TEMPLATE void store_tokens(const struct matmul_job *job, int g, int n_groups,
                           float32x4_t f[KERN_TILE][QUARTERS], int n_tokens)
{
    uint32_t n_rows = g == n_groups - 1 ? job->n_rows : PACK_ROWS;
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        float *y = job->y + (size_t)t * job->y_stride + g * PACK_ROWS;
        float rows[PACK_ROWS];
        UNROLL
        for (int r = 0; r < QUARTERS; r++) {
            vst1q_f32(rows + 4 * r, f[t][r]);
        }
        if (n_rows == PACK_ROWS) { /* a constant: no call */
            memcpy(y, rows, sizeof rows);
        } else {
            memcpy(y, rows, n_rows * sizeof *y);
        }
    }
}

/* Defines a slot of kernels NAME_1xT for all T from FN(job, FORM, 1, T). Last: what else the type
 * has. */
#define MATMUL_SLOT(NAME, FN, FORM, ...)                                                           \
    FOR_TOKENS(MATMUL_KERNEL, NAME, FN, FORM, 1)                                                   \
    static void matmul_##NAME(const struct pack_matrix *w, uint32_t group_begin,                   \
                              uint32_t group_end, const struct kern_act *a, float *y,              \
                              size_t y_stride)                                                     \
    {                                                                                              \
        static const struct matmul_kernels kernels = {                                             \
            .max_tokens = KERN_TILE, .one = {LIST_TOKENS(NAME##_1x)}, __VA_ARGS__};                \
        matmul_run(&kernels, w, group_begin, group_end, a, y, y_stride);                           \
    }

#endif
