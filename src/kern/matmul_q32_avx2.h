/* matmul_q32_avx2.h - the AVX2 and AVX-VNNI kernels of types with a float scale for every 32 items;
 * included behind products_avx2.h or products_avxvnni.h. */
#ifndef KERN_MATMUL_Q32_AVX2_H
#define KERN_MATMUL_Q32_AVX2_H

#include "kern/matmul_avx2.h"
#include "kern/matmul_q32.h"

/* Where the integer sums start: at zero * n, n = -(sum of qa). */
TEMPLATE void start_sums(struct q32_form form, const int32_t *n_sum,
                         __m256i isum[AVX2_TOKENS][HALVES], const int n_tokens)
{
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        __m256i start = form.zero_shift > 0
                            ? shift_left_32(_mm256_set1_epi32(n_sum[t]), form.zero_shift)
                            : _mm256_setzero_si256();
        isum[t][0] = start;
        isum[t][1] = start;
    }
}

TEMPLATE void q32_tile(const struct matmul_job *job, struct q32_form form, const int n_groups,
                       const int n_tokens)
{
    const int scale_bytes = form.minimum ? 64 : 32;
    const unsigned piece_bytes = (unsigned)(scale_bytes + unit_lines(form.lines) * PACK_LINE);
    const size_t stride = job->tile.n;
    const uint8_t *scales = job->scales, *unit = job->quants;
    const int8_t *q = job->tile.q;
    const float *d = job->tile.d, *s = job->tile.s;
    const int32_t *n_sum = job->tile.n_sum;
    struct ahead ahead = ahead_first(job->scales, job->scale_bytes, job->place, piece_bytes);
    __m256 f[AVX2_TOKENS][HALVES];
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        f[t][0] = f[t][1] = _mm256_setzero_ps();
    }
    for (uint32_t b = 0; b < job->n_blocks; b++) {
        __m256i isum[AVX2_TOKENS][HALVES];
        start_sums(form, n_sum, isum, n_tokens);
        if (b % 2 == 0) { /* for two: half of one is less of a whole number of lines */
            ask_ahead(job, ahead.at, ahead_lines(piece_bytes, 2), piece_bytes);
        }
        ahead_next(&ahead, piece_bytes);
        add_lines(form.lines, unit, (struct line_range){0, 8}, q, stride, NULL, isum, n_tokens);
        UNROLL
        for (int h = 0; h < HALVES; h++) {
            __m256 dw = load_halves(scales + PACK_D + 16 * h);
            UNROLL
            for (int t = 0; t < n_tokens; t++) {
                __m256 scale = _mm256_mul_ps(dw, _mm256_set1_ps(d[t]));
                f[t][h] = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(isum[t][h]), f[t][h]);
            }
            if (form.minimum) {
                __m256 mw = load_halves(scales + PACK_M + 16 * h);
                UNROLL
                for (int t = 0; t < n_tokens; t++) {
                    f[t][h] = _mm256_fmadd_ps(mw, _mm256_set1_ps(s[t]), f[t][h]);
                }
            }
        }
        scales += scale_bytes;
        unit += unit_lines(form.lines) * PACK_LINE;
        q += 32 * stride;
        d += stride;
        s += stride;
        n_sum += stride;
    }
    store_tokens(job, 0, n_groups, f, n_tokens);
}

#define Q32_UNSIGNED_SLOT(NAME, TYPE, FORM)                                                        \
    MATMUL_SLOT(UNSIGNED_TOKENS, NAME, q32_tile, FORM, .wide = {NULL})
#define Q32_BYTE_SLOT(NAME, TYPE, FORM)                                                            \
    MATMUL_SLOT(BYTE_TOKENS, NAME, q32_tile, FORM, .wide = {NULL})
Q32_UNSIGNED_TYPES(Q32_UNSIGNED_SLOT)
Q32_BYTE_TYPES(Q32_BYTE_SLOT, BYTE_ZERO)

#endif
