/* matmul_q32_avx512.c - AVX-512 VNNI kernels of types with a float scale for every 32 items.
 *
 * Per block and token: 8 byte products, one conversion, dw * da, one fused multiply-add. The zero
 * of a type costs nothing: integer sums start at zero * n, n = -(sum of qa). */
#include "kern/matmul_avx512.h"
#include "kern/matmul_q32.h"

TEMPLATE void q32_tile(const struct matmul_job *job, struct q32_form form, const int n_groups,
                       const int n_tokens)
{
    const uint8_t *scales = job->scales, *unit = job->quants;
    const int8_t *q = job->tile.q;
    const float *d = job->tile.d, *s = job->tile.s;
    const int32_t *n_sum = job->tile.n_sum;
    __m512 f[KERN_TILE];
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        f[t] = _mm512_setzero_ps();
    }
    for (uint32_t b = 0; b < job->n_blocks; b++) {
        __m512i acc[KERN_TILE];
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            acc[t] = form.zero_shift > 0
                         ? shift_left_32(_mm512_set1_epi32(n_sum[t]), form.zero_shift)
                         : _mm512_setzero_si512();
        }
        matmul_prefetch(job, unit, unit_lines(form.lines), 0, n_tokens);
        matmul_prefetch_scales(job, scales, 512, 1);
        UNROLL
        for (int i = 0; i < 8; i++) {
            __m512i w = unit_line(form.lines, unit, i);
            UNROLL
            for (int t = 0; t < n_tokens; t++) {
                acc[t] = dot_bytes(acc[t], w, q + matmul_act_at(i, t, n_tokens));
            }
        }
        __m512 dw = load_halves(scales + PACK_D);
        UNROLL
        for (int t = 0; t < n_tokens; t++) {
            __m512 scale = _mm512_mul_ps(dw, _mm512_set1_ps(d[t]));
            f[t] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(acc[t]), f[t]);
        }
        if (form.minimum) {
            __m512 mw = load_halves(scales + PACK_M);
            UNROLL
            for (int t = 0; t < n_tokens; t++) {
                f[t] = _mm512_fmadd_ps(mw, _mm512_set1_ps(s[t]), f[t]);
            }
        }
        scales += form.minimum ? 64 : 32;
        unit += unit_lines(form.lines) * PACK_LINE;
        q += 32 * n_tokens;
        d += n_tokens;
        s += n_tokens;
        n_sum += n_tokens;
    }
    store_tokens(job, 0, n_groups, f, n_tokens);
}

#define Q32_SLOT(NAME, TYPE, FORM) MATMUL_SLOT(NAME, q32_tile, FORM, .wide = {NULL})
Q32_TYPES(Q32_SLOT, 7)

void kern_fill_matmul_q32_avx512(struct kern_table *t)
{
    Q32_TYPES(MATMUL_FILL, 7)
}
