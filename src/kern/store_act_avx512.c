/* store_act_avx512.c - quantises activations as store_act.h says, and rounds them to bf16; f32
 * values are stored by avx2. */
#include "kern/simd_avx512.h"
#include "kern/store_act.h"

/* Lane i: the reduction of the 16 lanes of a[i]. */
static inline __m128i max_of_four(const __m512i a[4])
{
    __m512i ab =
        _mm512_max_epu32(_mm512_unpacklo_epi32(a[0], a[1]), _mm512_unpackhi_epi32(a[0], a[1]));
    __m512i cd =
        _mm512_max_epu32(_mm512_unpacklo_epi32(a[2], a[3]), _mm512_unpackhi_epi32(a[2], a[3]));
    __m512i all = _mm512_max_epu32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    __m256i half = _mm256_max_epu32(_mm512_castsi512_si256(all), _mm512_extracti32x8_epi32(all, 1));
    return _mm_max_epu32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

static inline __m128i sum_of_four(const __m512i a[4])
{
    __m512i ab =
        _mm512_add_epi32(_mm512_unpacklo_epi32(a[0], a[1]), _mm512_unpackhi_epi32(a[0], a[1]));
    __m512i cd =
        _mm512_add_epi32(_mm512_unpacklo_epi32(a[2], a[3]), _mm512_unpackhi_epi32(a[2], a[3]));
    __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti32x8_epi32(all, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

/* What the maxima of four blocks say. */
struct scales {
    __m128 d;
    float inverse[4];
    __mmask16 used[4]; /* all or nothing: nothing makes every quant 0 */
};

static inline void find_scales(struct scales *s, __m128i max_bits)
{
    __m128 m = _mm_castsi128_ps(max_bits);
    const __m128 full = _mm_set1_ps(127.0f);
    __mmask8 finite = _mm_cmplt_epi32_mask(max_bits, _mm_set1_epi32(0x7F800000));
    __mmask8 used = _mm_mask_cmp_ps_mask(finite, m, _mm_set1_ps(0x1p-100f), _CMP_GE_OQ);
    __m128 unused_d = _mm_mask_mov_ps(_mm_set1_ps(NAN), finite, _mm_setzero_ps());
    s->d = _mm_mask_div_ps(unused_d, used, m, full);
    _mm_storeu_ps(s->inverse, _mm_maskz_div_ps(used, full, m));
    for (int i = 0; i < 4; i++) {
        s->used[i] = (__mmask16) - (used >> i & 1);
    }
}

static inline __m512i quantise(__m512 x, const struct scales *s, int block)
{
    __m512 inverse = _mm512_set1_ps(s->inverse[block]);
    return _mm512_cvtps_epi32(_mm512_maskz_mul_ps(s->used[block], x, inverse));
}

static inline __m512i magnitude(__m512 x)
{
    return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7FFFFFFF));
}

/* 32 quants of each of four blocks: low[i] items 0-15, high[i] items 16-31. */
struct quants {
    __m512i low[4], high[4];
};

/* Items k .. k + 31 of the four. */
static inline void quantise_four(const float *const x[4], int k, const struct scales *s,
                                 struct quants *q)
{
    for (int i = 0; i < 4; i++) {
        q->low[i] = quantise(_mm512_loadu_ps(x[i] + k), s, i);
        q->high[i] = quantise(_mm512_loadu_ps(x[i] + k + 16), s, i);
    }
}

/* The maxima of n_items items of each of the four. */
static inline __m128i find_max(const float *const x[4], int n_items)
{
    __m512i max[4];
    for (int i = 0; i < 4; i++) {
        max[i] = magnitude(_mm512_loadu_ps(x[i]));
        for (int k = 16; k < n_items; k += 16) {
            max[i] = _mm512_max_epu32(max[i], magnitude(_mm512_loadu_ps(x[i] + k)));
        }
    }
    return max_of_four(max);
}

/* 16-byte lane j of ab: items 4j.. of block 0, 16+4j.. of 0, 4j.. of 1, 16+4j.. of 1; cd alike. */
static inline void pack_bytes(const struct quants *q, __m512i *ab, __m512i *cd)
{
    __m512i w[4];
    for (int i = 0; i < 4; i++) {
        w[i] = _mm512_packs_epi32(q->low[i], q->high[i]);
    }
    *ab = _mm512_packs_epi16(w[0], w[1]);
    *cd = _mm512_packs_epi16(w[2], w[3]);
}

/* Four tokens: 4 rows of 4 x 8 bytes, `stride` bytes apart; of each only those of `mask`. */
static inline void store_tokens(int8_t *dst, size_t stride, const struct quants *q, __mmask8 mask)
{
    __m512i ab, cd;
    __m512i order = _mm512_setr_epi32(0, 4, 2, 6, 16, 20, 18, 22, 8, 12, 10, 14, 24, 28, 26, 30);
    pack_bytes(q, &ab, &cd);
    for (int i = 0; i < 2; i++, dst += 2 * stride) {
        __m512i rows = _mm512_permutex2var_epi32(ab, order, cd);
        _mm256_mask_storeu_epi64(dst, mask, _mm512_castsi512_si256(rows));
        _mm256_mask_storeu_epi64(dst + stride, mask, _mm512_extracti64x4_epi64(rows, 1));
        order = _mm512_add_epi32(order, _mm512_set1_epi32(1));
    }
}

/* Four blocks of one token: 32 bytes each, `stride` bytes apart; only the first n. No masked stores
 * here: gcc 12 merges one with the extraction before it into vextracti32x8, whose masked-out lanes
 * may fault (store_tokens stays inside the activation's memory with all lanes). */
static inline void store_blocks(int8_t *dst, size_t stride, const struct quants *q, uint32_t n)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i pairs[2];
    pack_bytes(q, &pairs[0], &pairs[1]);
    for (uint32_t i = 0; i < n; i++) {
        __m512i bytes = _mm512_permutexvar_epi32(order, pairs[i / 2]);
        __m256i block = i % 2 ? _mm512_extracti32x8_epi32(bytes, 1) : _mm512_castsi512_si256(bytes);
        _mm256_storeu_si256((__m256i *)(void *)(dst + i * stride), block);
    }
}

static void store_four_q32(const struct kern_act *a, const struct store_place *p)
{
    __mmask8 mask = (__mmask8)((1u << p->n) - 1);
    struct scales s;
    struct quants q;
    find_scales(&s, find_max(p->x, 32));
    quantise_four(p->x, 0, &s, &q);
    int8_t *bytes = store_quants_q32(a, p);
    if (p->width > 1) {
        store_tokens(bytes, p->width * 8, &q, mask);
    } else {
        store_blocks(bytes, 32, &q, p->n);
    }
    __m512i totals[4];
    for (int i = 0; i < 4; i++) {
        totals[i] = _mm512_add_epi32(q.low[i], q.high[i]);
    }
    size_t at = store_scale_index(p, a->cols / 32);
    __m128i sums = sum_of_four(totals);
    _mm_mask_storeu_ps(a->d + at, mask, s.d);
    _mm_mask_storeu_ps(a->s + at, mask, _mm_mul_ps(s.d, _mm_cvtepi32_ps(sums)));
    _mm_mask_storeu_epi32(a->n + at, mask, _mm_sub_epi32(_mm_setzero_si128(), sums));
}

/* Pairs (-a, -b) of 16-bit numbers. */
static inline __m128i negative_pairs(__m128i a, __m128i b)
{
    __m128i zero = _mm_setzero_si128();
    return _mm_mask_blend_epi16(0xAA, _mm_sub_epi32(zero, a),
                                _mm_slli_epi32(_mm_sub_epi32(zero, b), 16));
}

/* Four pairs of 16-bit numbers: side by side for tokens, `block_pairs` pairs apart for blocks. */
static inline void store_pairs(int16_t *dst, __m128i pairs, size_t block_pairs,
                               const struct store_place *p)
{
    if (p->width > 1) {
        _mm_mask_storeu_epi32(dst, (__mmask8)((1u << p->n) - 1), pairs);
        return;
    }
    uint32_t each[4];
    _mm_storeu_si128((__m128i *)(void *)each, pairs);
    for (uint32_t i = 0; i < p->n; i++) {
        memcpy(dst + i * block_pairs * 2, &each[i], sizeof each[i]);
    }
}

/* Lane i: the sum of |q| of 16 quants of block i. */
static inline __m128i sum_magnitudes(const __m512i q[4])
{
    __m512i magnitudes[4];
    for (int i = 0; i < 4; i++) {
        magnitudes[i] = _mm512_abs_epi32(q[i]);
    }
    return sum_of_four(magnitudes);
}

static void store_four_q256(const struct kern_act *a, const struct store_place *p)
{
    __mmask8 mask = (__mmask8)((1u << p->n) - 1);
    struct scales s;
    find_scales(&s, find_max(p->x, 256));
    _mm_mask_storeu_ps(a->d + store_scale_index(p, a->cols / 256), mask, s.d);
    int8_t *bytes = store_quants_q256(a, p);
    int16_t *n16 = store_pairs_at(a, p, a->n16, 8), *n32 = store_pairs_at(a, p, a->n32, 4);
    __m128i most = _mm_setzero_si128();
    __m128i even = _mm_setzero_si128(); /* sums of the even block of 32 */
    for (int block = 0; block < 8; block++, bytes += 32 * p->width, n16 += 2 * p->width) {
        struct quants q;
        quantise_four(p->x, block * 32, &s, &q);
        if (p->width > 1) {
            store_tokens(bytes, p->width * 8, &q, mask);
        } else {
            store_blocks(bytes, a->q_step, &q, p->n);
        }
        most = _mm_max_epu32(most, sum_magnitudes(q.low));
        most = _mm_max_epu32(most, sum_magnitudes(q.high));
        __m128i low = sum_of_four(q.low), high = sum_of_four(q.high);
        store_pairs(n16, negative_pairs(low, high), 8, p);
        __m128i both = _mm_add_epi32(low, high);
        if (block % 2) {
            store_pairs(n32, negative_pairs(even, both), 4, p);
            n32 += 2 * p->width;
        }
        even = both;
    }
    _mm_mask_cvtepi32_storeu_epi16(a->most16 + store_scale_index(p, a->cols / 256), mask, most);
}

static void store_act_q32(const struct kern_act *a, const float *x, size_t x_stride,
                          uint32_t tile_begin, uint32_t tile_end)
{
    store_act_tiles(a, x, x_stride, tile_begin, tile_end, 32, store_four_q32);
}

static void store_act_q256(const struct kern_act *a, const float *x, size_t x_stride,
                           uint32_t tile_begin, uint32_t tile_end)
{
    store_act_tiles(a, x, x_stride, tile_begin, tile_end, 256, store_four_q256);
}

/* --- bf16 */

/* half_f32_to_bf16 of 16 lanes, in the high words. */
static inline __m512i round_to_bf16(__m512 x)
{
    __m512i bits = _mm512_castps_si512(x);
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
    return _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
}

/* 16 pairs of one token from its items on, of which n exist, n even. */
static inline __m512i bf16_pairs(const float *x, uint32_t n)
{
    static const _Alignas(64)
        uint16_t high_words[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                                   33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
    __m512 low = _mm512_maskz_loadu_ps(simd512_first(n < 16 ? n : 16), x);
    __m512 high = _mm512_maskz_loadu_ps(simd512_first(n < 16 ? 0 : n - 16), x + 16);
    return _mm512_permutex2var_epi16(round_to_bf16(low), _mm512_load_si512(high_words),
                                     round_to_bf16(high));
}

/* Pairs of four tokens, n_pairs of each: rows of the four's side by side, `width` pairs apart. */
static inline void store_pair_rows(uint16_t *dst, size_t width, const __m512i p[4],
                                   uint32_t n_pairs)
{
    __m512i ab[2] = {_mm512_unpacklo_epi32(p[0], p[1]), _mm512_unpackhi_epi32(p[0], p[1])};
    __m512i cd[2] = {_mm512_unpacklo_epi32(p[2], p[3]), _mm512_unpackhi_epi32(p[2], p[3])};
    _Alignas(64) uint16_t rows[4][4][8]; /* [i][j]: row i + 4 j */
    for (int i = 0; i < 2; i++) {
        _mm512_store_si512(rows[2 * i], _mm512_unpacklo_epi64(ab[i], cd[i]));
        _mm512_store_si512(rows[2 * i + 1], _mm512_unpackhi_epi64(ab[i], cd[i]));
    }
    for (uint32_t i = 0; i < n_pairs; i++) {
        memcpy(dst + i * width * 2, rows[i % 4][i / 4], sizeof rows[0][0]);
    }
}

/* Token t and those behind it, at most four, of a tile of several. */
static inline void store_tokens_bf16(uint16_t *dst, size_t width, const float *x, size_t x_stride,
                                     uint32_t cols, uint32_t n)
{
    for (uint32_t k = 0; k < cols; k += 32, dst += 32 * width) {
        uint32_t left = cols - k < 32 ? cols - k : 32;
        __m512i pairs[4];
        for (uint32_t i = 0; i < 4; i++) {
            pairs[i] = i < n ? bf16_pairs(x + i * x_stride + k, left) : _mm512_setzero_si512();
        }
        if (n == 4) {
            store_pair_rows(dst, width, pairs, left / 2);
            continue;
        }
        for (uint32_t i = 0; i < n; i++) {
            uint32_t each[16];
            _mm512_storeu_si512(each, pairs[i]);
            for (uint32_t pair = 0; pair < left / 2; pair++) {
                memcpy(dst + (pair * width + i) * 2, &each[pair], sizeof each[pair]);
            }
        }
    }
}

static void store_act_bf16(const struct kern_act *a, const float *x, size_t x_stride,
                           uint32_t tile_begin, uint32_t tile_end)
{
    for (uint32_t tile = tile_begin; tile < tile_end; tile++) {
        uint32_t width = kern_tile_width(a, tile);
        const float *row = x + kern_tile_begin(tile) * x_stride;
        uint16_t *b = a->b + (size_t)kern_tile_begin(tile) * a->cols;
        if (width == 1) {
            for (uint32_t k = 0; k < a->cols; k += 32) {
                uint32_t left = a->cols - k < 32 ? a->cols - k : 32;
                _mm512_mask_storeu_epi32(b + k, simd512_first(left / 2), bf16_pairs(row + k, left));
            }
            continue;
        }
        for (uint32_t t = 0; t < width; t += 4) {
            store_tokens_bf16(b + 2 * t, width, row + t * x_stride, x_stride, a->cols,
                              width - t < 4 ? width - t : 4);
        }
    }
}

void kern_fill_store_act_avx512(struct kern_table *t)
{
    t->store_act[PACK_ACT_Q32] = store_act_q32;
    t->store_act[PACK_ACT_Q256] = store_act_q256;
    t->store_act[PACK_ACT_BF16] = store_act_bf16;
}
