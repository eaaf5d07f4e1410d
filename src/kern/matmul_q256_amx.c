/* matmul_q256_amx.c - super-blocks multiplied by tile registers (Intel AMX): prompts.
 *
 * A tile product adds 64 byte products to each of 16 x 16 sums, too many at once for sub-scales to
 * be applied behind it. So they go into the weights before it: sub-scale * (q - zero), at most 4096
 * in magnitude, is split into two digits of base 128, each of which is a byte, and the integer sum
 * of a super-block is low + 128 * high, the same exact number that the other sets find. A panel of
 * digits, two groups by a super-block, is made once for all tokens; while the tiles multiply 16
 * tokens by it, vector instructions add up the sums of the 16 before them.
 *
 * source  Intel's SDM, volume 2 (tileloadd, tdpbssd); its optimization manual, chapter 20. */
#include "kern/matmul_q256_avx512.h"
#include "kern/tiles_amx.h"

enum {
    STEPS = PACK_SUPER / PACK_LINE, /* tile products of a digit and a super-block */
    DIGIT_BITS = 7,
    PASS_GROUPS = 8,   /* that multiply a super-block of activations while it is in L2 */
    PASS_TOKENS = 512, /* whose sums of PASS_GROUPS fit beside it */
    PANEL_GROUPS = 2,
    FEW = 16 /* fewer tokens than this are no tile */
};

/* A group's super-block: tiles [step] of low digits, then of high ones. */
struct digits {
    _Alignas(PACK_LINE) uint8_t low[STEPS * TILE_BYTES], high[STEPS * TILE_BYTES];
    struct q256_scales scales;
};

/* Products of at most 128 in magnitude are one digit; of Q3_K -128..124 once negated. */
TEMPLATE bool is_one_digit(struct q256_form form)
{
    return form.type == QUANT_Q2_K || form.type == QUANT_Q3_K;
}

/* Sub-scales as 16-bit numbers, twice a row. */
TEMPLATE __m512i double_words(__m512i sub, bool negated)
{
    sub = negated ? _mm512_sub_epi32(_mm512_setzero_si512(), sub) : sub;
    return _mm512_mask_blend_epi16(0xAAAAAAAA, sub, shift_left_32(sub, 16));
}

/* mask & a | ~mask & b */
TEMPLATE __m512i choose(__m512i mask, __m512i a, __m512i b)
{
    return _mm512_ternarylogic_epi32(mask, a, b, 0xCA);
}

TEMPLATE void make_digits(struct q256_form form, const uint8_t *s, const uint8_t *unit,
                          struct digits *out)
{
    const __m512i even_bytes = _mm512_set1_epi16(0xFF), seven_bits = _mm512_set1_epi8(127);
    const __m512i zero = _mm512_set1_epi16((short)(form.zero_shift ? 1 << form.zero_shift : 0));
    uint8_t *low = out->low, *high = out->high;
    read_scales(form, s, &out->scales);
    for (int u = 0; u < 8; u++) {
        UNROLL
        for (int i = 0; i < 8; i++, low += PACK_LINE, high += PACK_LINE) {
            int sub = (u * 32 + i * 4) / form.sub_items;
            __m512i scale = double_words(out->scales.sub[sub], form.type == QUANT_Q3_K);
            __m512i q = unit_line(form.lines, unit, i);
            __m512i even = _mm512_and_si512(q, even_bytes), odd = _mm512_srli_epi16(q, 8);
            if (form.zero_shift > 0) {
                even = _mm512_sub_epi16(even, zero);
                odd = _mm512_sub_epi16(odd, zero);
            }
            even = _mm512_mullo_epi16(even, scale);
            odd = _mm512_mullo_epi16(odd, scale);
            __m512i bytes = choose(even_bytes, even, _mm512_slli_epi16(odd, 8));
            if (is_one_digit(form)) {
                _mm512_store_si512(low, bytes);
                continue;
            }
            _mm512_store_si512(low, _mm512_and_si512(bytes, seven_bits));
            _mm512_store_si512(high, choose(even_bytes, _mm512_srli_epi16(even, DIGIT_BITS),
                                            _mm512_slli_epi16(odd, 8 - DIGIT_BITS)));
        }
        unit += unit_lines(form.lines) * PACK_LINE;
    }
}

/* Sums of 16 tokens, from `first` on, by a panel, as tiles store them. */
struct tile_sums {
    _Alignas(PACK_LINE) int32_t low[PANEL_GROUPS][TILE_LINES][PACK_ROWS];
    _Alignas(PACK_LINE) int32_t high[PANEL_GROUPS][TILE_LINES][PACK_ROWS];
    uint32_t first;
};

/* A panel times the tokens [begin, end) of n_tokens. To y, (end - begin, y_stride) floats, of which
 * a token's first ones are (groups, 16), is added. */
struct panel_job {
    const struct digits *digits; /* of each group */
    const struct kern_act_row *rows;
    uint32_t begin, end, n_tokens;
    float *y;
    size_t y_stride;
};

/* Adds up what `sums` has of its token t. scales: of each group, in registers. */
TEMPLATE void add_token(const struct panel_job *job, struct q256_form form,
                        const struct q256_scales *scales, const struct tile_sums *sums, uint32_t t,
                        const int n_groups)
{
    const struct kern_act_row *row = job->rows + sums->first + t;
    float *y = job->y + (size_t)(sums->first + t - job->begin) * job->y_stride;
    UNROLL
    for (int g = 0; g < n_groups; g++) {
        __m512i sum = _mm512_load_si512(sums->low[g][t]), msum = _mm512_setzero_si512();
        if (form.type == QUANT_Q3_K) {
            sum = _mm512_sub_epi32(msum, sum);
        } else if (!is_one_digit(form)) {
            __m512i high = _mm512_load_si512(sums->high[g][t]);
            sum = _mm512_add_epi32(sum, shift_left_32(high, DIGIT_BITS));
        }
        if (form.minimum) {
            pair_sums(form, &scales[g], form.sub_items == 16 ? row->n16 : row->n32, &msum, 1);
        }
        __m512 f = _mm512_load_ps(y + g * PACK_ROWS);
        f = add_super(form, &scales[g], row->d, f, _mm512_cvtepi32_ps(sum), msum);
        _mm512_store_ps(y + g * PACK_ROWS, f);
    }
}

/* One step's products of 16 tokens, from their 64 quants at q on. Tiles 0 to 3 are sums, number
 * 2 * group + digit; 4 activations; 5 to 7 weights. */
TEMPLATE void multiply_tiles(const struct panel_job *job, struct q256_form form, const int8_t *q,
                             int step, const int n_groups)
{
    const struct digits *digits = job->digits;
    const int at = step * TILE_BYTES;
    TILE_LOAD(4, q, sizeof(struct kern_act_row));
    TILE_LOAD(5, digits[0].low + at, PACK_LINE);
    TILE_DOT(0, 4, 5);
    if (!is_one_digit(form)) {
        TILE_LOAD(6, digits[0].high + at, PACK_LINE);
        TILE_DOT(1, 4, 6);
    }
    if (n_groups > 1) {
        TILE_LOAD(7, digits[1].low + at, PACK_LINE);
        TILE_DOT(2, 4, 7);
    }
    if (n_groups > 1 && !is_one_digit(form)) {
        TILE_LOAD(5, digits[1].high + at, PACK_LINE);
        TILE_DOT(3, 4, 5);
    }
}

TEMPLATE void store_sums(struct tile_sums *sums, struct q256_form form, const int n_groups)
{
    TILE_STORE(0, sums->low[0]);
    if (!is_one_digit(form)) {
        TILE_STORE(1, sums->high[0]);
    }
    if (n_groups > 1) {
        TILE_STORE(2, sums->low[1]);
    }
    if (n_groups > 1 && !is_one_digit(form)) {
        TILE_STORE(3, sums->high[1]);
    }
}

/* While tiles multiply 16 tokens, the sums of the 16 before are added up. Where fewer than 16 are
 * left at the end of all tokens, tiles take some of the 16 before again, which then do not count.
 */
TEMPLATE void multiply_panel(const struct panel_job *job, struct q256_form form, const int n_groups)
{
    struct tile_sums sums[2], *last = NULL;
    struct q256_scales scales[PANEL_GROUPS];
    uint32_t known = 0;
    UNROLL
    for (int g = 0; g < n_groups; g++) {
        const struct q256_scales *from = &job->digits[g].scales;
        scales[g].d = from->d;
        scales[g].m = from->m;
        UNROLL
        for (int i = 0; i < 128 / form.sub_items; i++) {
            scales[g].pair[i] = from->pair[i];
        }
    }
    for (uint32_t t = job->begin; t < job->end; t += TILE_LINES) {
        struct tile_sums *now = &sums[t / TILE_LINES % 2];
        now->first = t + TILE_LINES <= job->n_tokens ? t : job->n_tokens - TILE_LINES;
        known = t - now->first;
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
        UNROLL
        for (int step = 0; step < STEPS; step++) {
            multiply_tiles(job, form, job->rows[now->first].q + step * PACK_LINE, step, n_groups);
            UNROLL
            for (int i = 0; last != NULL && i < TILE_LINES / STEPS; i++) {
                add_token(job, form, scales, last, step * (TILE_LINES / STEPS) + i, n_groups);
            }
        }
        store_sums(now, form, n_groups);
        last = now;
    }
    for (uint32_t i = known; i < TILE_LINES; i++) {
        add_token(job, form, scales, last, i, n_groups);
    }
}

/* Some groups of rows times some tokens. */
struct pass {
    uint32_t n_groups, begin, end;
};

/* Super-block by super-block: job has the first group's place. */
TEMPLATE void q256_pass(struct matmul_job job, struct q256_form form, const struct kern_act *a,
                        struct pass pass)
{
    struct digits digits[PANEL_GROUPS];
    _Alignas(PACK_LINE) float sums[PASS_TOKENS * PASS_GROUPS * PACK_ROWS];
    const size_t y_stride = pass.n_groups * PACK_ROWS;
    const size_t quant_bytes = (size_t)unit_lines(form.lines) * PACK_LINE * 8;
    struct panel_job panel = {.digits = digits,
                              .begin = pass.begin,
                              .end = pass.end,
                              .n_tokens = a->n_tokens,
                              .y_stride = y_stride};
    memset(sums, 0, (pass.end - pass.begin) * y_stride * sizeof *sums);
    for (uint32_t block = 0; block < job.n_blocks; block++) {
        panel.rows = a->rows + block * (a->q_step / 256);
        for (uint32_t g = 0; g < pass.n_groups; g += PANEL_GROUPS) {
            for (uint32_t i = 0; i < PANEL_GROUPS && g + i < pass.n_groups; i++) {
                const size_t at = (g + i) * job.group_bytes;
                make_digits(form, job.scales + at, job.quants + at, &digits[i]);
            }
            panel.y = sums + g * PACK_ROWS;
            if (g + 1 < pass.n_groups) {
                multiply_panel(&panel, form, 2);
            } else {
                multiply_panel(&panel, form, 1);
            }
        }
        job.scales += form.scale_bytes;
        job.quants += quant_bytes;
    }
    size_t n_rows = (pass.n_groups - 1) * PACK_ROWS + job.n_rows;
    for (uint32_t t = pass.begin; t < pass.end; t++) {
        memcpy(job.y + t * job.y_stride, sums + (t - pass.begin) * y_stride, n_rows * sizeof *sums);
    }
}

struct range {
    uint32_t begin, end;
};

TEMPLATE void q256_matmul(struct q256_form form, const struct pack_matrix *w, struct range groups,
                          const struct kern_act *a, float *y, size_t y_stride)
{
    struct matmul_job job = {
        .group_bytes = w->group_bytes, .n_blocks = w->cols / PACK_SUPER, .y_stride = y_stride};
    uint32_t n_passes = (a->n_tokens + PASS_TOKENS - 1) / PASS_TOKENS;
    uint32_t n_tiles = (a->n_tokens + TILE_LINES - 1) / TILE_LINES;
    uint32_t pass_tokens = (n_tiles + n_passes - 1) / n_passes * TILE_LINES;
    struct pass pass;
    tiles_begin();
    for (uint32_t g = groups.begin; g < groups.end; g += pass.n_groups) {
        pass.n_groups = groups.end - g < PASS_GROUPS ? groups.end - g : PASS_GROUPS;
        uint32_t last_row = (g + pass.n_groups - 1) * PACK_ROWS;
        job.n_rows = w->rows - last_row < PACK_ROWS ? w->rows - last_row : PACK_ROWS;
        job.scales = w->data + g * w->group_bytes;
        job.quants = job.scales + pack_quants_offset(w);
        job.y = y + g * PACK_ROWS;
        for (pass.begin = 0; pass.begin < a->n_tokens; pass.begin = pass.end) {
            uint32_t left = a->n_tokens - pass.begin;
            pass.end = pass.begin + (left < pass_tokens ? left : pass_tokens);
            q256_pass(job, form, a, pass);
        }
    }
    tiles_end();
}

/* The kernels of avx512, for few tokens. */
static kern_matmul_fn *few[QUANT_TYPE_COUNT];

/* NAME_many is not inlined: few tokens do without its 290 KiB of the stack. */
#define Q256_SLOT(NAME, TYPE, FORM)                                                                \
    static __attribute__((noinline)) void NAME##_many(                                             \
        const struct pack_matrix *w, struct range groups, const struct kern_act *a, float *y,      \
        size_t y_stride)                                                                           \
    {                                                                                              \
        q256_matmul(FORM, w, groups, a, y, y_stride);                                              \
    }                                                                                              \
    static void matmul_##NAME(const struct pack_matrix *w, uint32_t group_begin,                   \
                              uint32_t group_end, const struct kern_act *a, float *y,              \
                              size_t y_stride)                                                     \
    {                                                                                              \
        if (a->n_tokens < FEW) {                                                                   \
            few[TYPE](w, group_begin, group_end, a, y, y_stride);                                  \
        } else {                                                                                   \
            NAME##_many(w, (struct range){group_begin, group_end}, a, y, y_stride);                \
        }                                                                                          \
    }
Q256_K_TYPES(Q256_SLOT)
Q256_IQ4_XS(Q256_SLOT, 7)

#define Q256_FILL(NAME, TYPE, FORM)                                                                \
    few[TYPE] = below.matmul[TYPE];                                                                \
    t->matmul[TYPE] = matmul_##NAME;                                                               \
    t->act[TYPE] = PACK_ACT_Q256_ROWS;

void kern_fill_matmul_q256_amx(struct kern_table *t)
{
    struct kern_table below = {0};
    kern_fill_matmul_q256_avx512(&below);
    Q256_K_TYPES(Q256_FILL)
    Q256_IQ4_XS(Q256_FILL, 7)
}
