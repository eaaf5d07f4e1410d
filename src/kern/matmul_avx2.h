/* matmul_avx2.h - what the AVX2 and AVX-VNNI matmul kernels share: unpacking, storing.
 *
 * A vector is half a line of the packed layout: 8 rows by 4 consecutive items, so a group is two
 * halves. Kernels are inline templates over compile-time constants, of up to 6 tokens: 12 sums, two
 * halves of weights, what they are multiplied with and a product are 16 registers. Integers are
 * multiplied by add_lines and add_words of products_avx2.h or products_avxvnni.h, whichever a file
 * includes. */
#ifndef KERN_MATMUL_AVX2_H
#define KERN_MATMUL_AVX2_H

#include "kern/ahead.h"
#include "kern/matmul.h"
#include "kern/simd_avx2.h"

enum { AVX2_TOKENS = 6, HALVES = 2, HALF_LINE = 32 };

/* Asks for n_lines of each half of a stretch, of the first one at `at`, into L2. By kernels of one
 * group; dense ones of one token take MATMUL_WIDE groups, which are as many streams. */
TEMPLATE void ask_ahead(const struct matmul_job *job, uintptr_t at, const int n_lines,
                        const unsigned piece_bytes)
{
    if (!job->cold) {
        return;
    }
    UNROLL
    for (int i = 0; i < n_lines; i++) {
        uintptr_t line = at + (unsigned)i * PACK_LINE;
        __builtin_prefetch((const void *)line, 0, 2);
        __builtin_prefetch((const void *)(line + ahead_half(piece_bytes)), 0, 2);
    }
}

/* Four items of one token in every lane. */
TEMPLATE __m256i broadcast_4(const void *a)
{
    return _mm256_set1_epi32(*(const matmul_word *)a);
}

/* Shift of 16-bit lanes, to the left when n < 0; n becomes the instruction's constant. */
TEMPLATE __m256i shift_right_16(__m256i x, int n)
{
    typedef uint16_t words __attribute__((vector_size(32)));
    return n >= 0 ? (__m256i)((words)x >> n) : (__m256i)((words)x << -n);
}

TEMPLATE __m256i shift_left_32(__m256i x, int n)
{
    typedef uint32_t dwords __attribute__((vector_size(32)));
    return (__m256i)((dwords)x << n);
}

TEMPLATE __m256i load_half_line(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* 8 f16 as f32. */
TEMPLATE __m256 load_halves(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

/* Two numbers of 16 rows, bytes: the first one's rows, then the other's. Brings those of half h to
 * dwords 2h (the first number) and 2h + 1 (the other) of both lanes, where a byte shuffle reaches
 * them: rows 0..3 of the half in lane 0, 4..7 in lane 1. */
TEMPLATE __m256i by_fours(__m256i two)
{
    return _mm256_permutevar8x32_epi32(two, _mm256_setr_epi32(0, 4, 2, 6, 1, 5, 3, 7));
}

/* A dword a row of half h. Low word: number `even` of by_fours() (0: the first one, 1: the other);
 * high word: number `odd`. */
TEMPLATE __m256i word_pairs(__m256i fours, const int h, const int even, const int odd,
                            bool with_sign)
{
    /* bytes at 8h + 4 even + row and 8h + 4 odd + row, or (the highest bit set) 0 */
    const int first = 8 * h * 0x10001 + 4 * even + 4 * odd * 0x10000, next = 0x10001;
    const __m128i rows = _mm_setr_epi32(first, first + next, first + 2 * next, first + 3 * next);
    const __m256i at = _mm256_broadcastsi128_si256(rows), none = _mm256_set1_epi16(0x80);
    if (!with_sign) {
        return _mm256_shuffle_epi8(fours, _mm256_or_si256(at, _mm256_slli_epi16(none, 8)));
    }
    __m256i high = _mm256_shuffle_epi8(fours, _mm256_or_si256(_mm256_slli_epi16(at, 8), none));
    return _mm256_srai_epi16(high, 8);
}

/* Half h of line i of the 8 of a unit of 32 items. Signed quants (Q8_0, IQ4) come as they are, or
 * (byte_zero > 0) with 128 added. */
TEMPLATE __m256i unit_half_line(struct line_form form, const uint8_t *unit, int i, int h,
                                const int byte_zero)
{
    const __m256i flip = _mm256_set1_epi8(byte_zero > 0 ? 0 : -128);
    unit += h * HALF_LINE;
    if (form.bytes) {
        return load_half_line(unit + i * PACK_LINE);
    }
    if (form.low_bits == 8) { /* stored with 128 added */
        return _mm256_xor_si256(load_half_line(unit + i * PACK_LINE), flip);
    }
    int per_line = 8 / form.low_bits;
    __m256i low_mask = _mm256_set1_epi8((char)((1 << form.low_bits) - 1));
    __m256i low = load_half_line(unit + i / per_line * PACK_LINE);
    __m256i q = _mm256_and_si256(shift_right_16(low, form.low_bits * (i % per_line)), low_mask);
    if (form.high_bits > 0) {
        int high_per_line = 8 / form.high_bits;
        const uint8_t *plane = unit + form.low_bits * PACK_LINE;
        __m256i high = load_half_line(plane + i / high_per_line * PACK_LINE);
        int from = form.high_bits * (i % high_per_line);
        __m256i mask = _mm256_set1_epi8((char)(((1 << form.high_bits) - 1) << form.low_bits));
        high = _mm256_and_si256(shift_right_16(high, from - form.low_bits), mask);
        q = _mm256_or_si256(q, high);
    }
    if (form.table) {
        __m256i values = _mm256_broadcastsi128_si256(
            _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, (char)129, (char)141, (char)153,
                          (char)166, (char)181, (char)197, (char)217, (char)241));
        values = _mm256_xor_si256(values, flip);
        q = _mm256_shuffle_epi8(values, q);
    }
    return q;
}

/* Lines [begin, end) of a unit. */
struct line_range {
    int begin, end;
};

/* Stores the sums of group g of n_groups. */
TEMPLATE void store_tokens(const struct matmul_job *job, int g, int n_groups, __m256 (*f)[HALVES],
                           int n_tokens)
{
    uint32_t n_rows = g == n_groups - 1 ? job->n_rows : PACK_ROWS;
    UNROLL
    for (int t = 0; t < n_tokens; t++) {
        float *y = job->y + (size_t)t * job->y_stride + g * PACK_ROWS;
        if (n_rows == PACK_ROWS) {
            _mm256_storeu_ps(y, f[t][0]);
            _mm256_storeu_ps(y + 8, f[t][1]);
            continue;
        }
        _mm256_maskstore_ps(y, simd256_first((int)n_rows), f[t][0]);
        if (n_rows > 8) {
            _mm256_maskstore_ps(y + 8, simd256_first((int)n_rows - 8), f[t][1]);
        }
    }
}

/* FOR_TOKENS and LIST_TOKENS of matmul.h, for 1 to N tokens. */
#define FOR_UP_TO(N, M, ...)  FOR_UP_TO_(N, M, __VA_ARGS__)
#define FOR_UP_TO_(N, M, ...) FOR_UP_TO_##N(M, __VA_ARGS__)
#define FOR_UP_TO_4(M, ...)                                                                        \
    M(__VA_ARGS__, 1)                                                                              \
    M(__VA_ARGS__, 2)                                                                              \
    M(__VA_ARGS__, 3)                                                                              \
    M(__VA_ARGS__, 4)
#define FOR_UP_TO_6(M, ...)                                                                        \
    FOR_UP_TO_4(M, __VA_ARGS__)                                                                    \
    M(__VA_ARGS__, 5)                                                                              \
    M(__VA_ARGS__, 6)
#define LIST_UP_TO(N, PREFIX)  LIST_UP_TO_(N, PREFIX)
#define LIST_UP_TO_(N, PREFIX) LIST_UP_TO_##N(PREFIX)
#define LIST_UP_TO_4(PREFIX)   PREFIX##1, PREFIX##2, PREFIX##3, PREFIX##4
#define LIST_UP_TO_6(PREFIX)   LIST_UP_TO_4(PREFIX), PREFIX##5, PREFIX##6

/* Defines a slot of kernels NAME_1xT for up to N tokens from FN(job, FORM, 1, T). Last comes what
 * else the type has. */
#define MATMUL_SLOT(N, NAME, FN, FORM, ...)                                                        \
    FOR_UP_TO(N, MATMUL_KERNEL, NAME, FN, FORM, 1)                                                 \
    static void matmul_##NAME(const struct pack_matrix *w, uint32_t group_begin,                   \
                              uint32_t group_end, const struct kern_act *a, float *y,              \
                              size_t y_stride)                                                     \
    {                                                                                              \
        static const struct matmul_kernels kernels = {                                             \
            .max_tokens = N, .one = {LIST_UP_TO(N, NAME##_1x)}, __VA_ARGS__};                      \
        matmul_run(&kernels, w, group_begin, group_end, a, y, y_stride);                           \
    }

#endif
