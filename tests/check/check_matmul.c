/* check_matmul.c - the matmul slots: every set against ref bit for bit, ref against doubles.
 *
 * Weights are blocks of the file's form with random bits and chosen scales, packed; activations are
 * written straight in their stored form, so that extreme quants need no luck. */
#include "check.h"

#include "base/half.h"
#include "base/mem.h"
#include "quant/pack_layout.h"
#include "quant/quant_block.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const enum quant_type types[] = {QUANT_F32,  QUANT_F16,    QUANT_BF16,  QUANT_Q4_0,
                                        QUANT_Q4_1, QUANT_Q5_0,   QUANT_Q5_1,  QUANT_Q8_0,
                                        QUANT_Q2_K, QUANT_Q3_K,   QUANT_Q4_K,  QUANT_Q5_K,
                                        QUANT_Q6_K, QUANT_IQ4_NL, QUANT_IQ4_XS};
enum { N_TYPES = sizeof types / sizeof types[0] };

/* Where the f16 scales of a file's block lie; -1: none. */
struct scale_offsets {
    int d, m;
};

static struct scale_offsets scale_offsets(enum quant_type type)
{
    switch (type) {
    case QUANT_Q4_1:
    case QUANT_Q5_1:
    case QUANT_Q4_K:
    case QUANT_Q5_K:
        return (struct scale_offsets){0, 2};
    case QUANT_Q2_K:
        return (struct scale_offsets){offsetof(struct quant_q2_k, d),
                                      offsetof(struct quant_q2_k, dmin)};
    case QUANT_Q3_K:
        return (struct scale_offsets){offsetof(struct quant_q3_k, d), -1};
    case QUANT_Q6_K:
        return (struct scale_offsets){offsetof(struct quant_q6_k, d), -1};
    default:
        return (struct scale_offsets){0, -1};
    }
}

/* Kinds of data. */
enum data {
    DATA_RANDOM,  /* random quants, ordinary scales */
    DATA_EXTREME, /* runs of smallest or largest quants and sub-scales, activations +-127 */
    DATA_EDGE,    /* the same, and sums of 16 |activations| as large as a kernel may take them in 16
                     bits, other ones by super-block, of one token larger by one */
    DATA_FLOATS,  /* random quants, scales of every kind: huge, denormal, zero, infinite, NaN */
    DATA_SMALL,   /* dense types: products round the smallest normal number */
    DATA_COUNT
};

static const char *const data_names[DATA_COUNT] = {"random", "extreme", "edge", "floats", "small"};

/* A matrix in both forms, and activations for it. */
struct problem {
    struct pack_matrix w;
    struct kern_act a;
    uint8_t *file;
    size_t row_bytes;
    struct check_buf packed, act_memory; /* end where a page that cannot be read begins */
};

static void *allocate(size_t n_bytes)
{
    void *p = aligned_alloc(64, (n_bytes + 64) / 64 * 64);
    if (p == NULL) {
        fprintf(stderr, "check: cannot allocate %zu bytes\n", n_bytes);
        exit(1);
    }
    return p;
}

/* A scale of a block, as f32. */
static float any_scale(struct check *c, enum data data, float ordinary)
{
    float x;
    check_fill_f32(c, &x, 1, data == DATA_FLOATS ? CHECK_MIXED : CHECK_NORMAL);
    if (data == DATA_SMALL) {
        return x * ldexpf(0x1p-63f, (int)check_random(c, 8) - 6);
    }
    return data == DATA_FLOATS ? x : x * ordinary;
}

static void fill_dense(struct check *c, enum data data, enum quant_type type, uint8_t *row,
                       uint32_t cols)
{
    for (uint32_t k = 0; k < cols; k++) {
        float x = any_scale(c, data, 1.0f);
        uint16_t half = type == QUANT_F16 ? half_f32_to_f16(x) : (uint16_t)(half_to_bits(x) >> 16);
        if (type == QUANT_F32) {
            memcpy(row + (size_t)k * 4, &x, 4);
        } else {
            memcpy(row + (size_t)k * 2, &half, 2);
        }
    }
}

static void fill_blocks(struct check *c, enum data data, enum quant_type type, uint8_t *row,
                        size_t row_bytes)
{
    struct scale_offsets at = scale_offsets(type);
    size_t block_bytes = quant_type_info(type)->block_bytes;
    check_fill_bytes(c, row, row_bytes);
    for (uint8_t *block = row; block < row + row_bytes; block += block_bytes) {
        if ((data == DATA_EXTREME || data == DATA_EDGE) && check_random(c, 4) != 0) {
            /* all bits set, none, or (signed types: 127) all but the highest */
            static const uint8_t bytes[] = {0xFF, 0x00, 0x7F, 0x80};
            memset(block, bytes[check_random(c, 4)], block_bytes);
        }
        for (int i = 0; i < 2; i++) {
            int offset = i == 0 ? at.d : at.m;
            if (offset >= 0) {
                uint16_t half = half_f32_to_f16(any_scale(c, data, 0x1p-6f));
                memcpy(block + offset, &half, 2);
            }
        }
    }
}

/* Quant k of a tile's token. */
static int8_t *act_quant(const struct kern_act *a, uint32_t token, uint32_t k)
{
    size_t first = token / KERN_TILE * KERN_TILE;
    size_t width = a->n_tokens - first < KERN_TILE ? a->n_tokens - first : KERN_TILE;
    size_t n = a->form == PACK_ACT_Q32 ? a->cols : 256; /* quants in tile order */
    return a->q + (k / n * a->n_tokens + first) * n + (k % n / 8 * width + (token - first)) * 8 +
           k % 8;
}

/* Index of number i of a token in an array of n_each numbers a token. */
static size_t act_index(const struct kern_act *a, uint32_t token, size_t n_each, size_t i)
{
    size_t first = token / KERN_TILE * KERN_TILE;
    size_t width = a->n_tokens - first < KERN_TILE ? a->n_tokens - first : KERN_TILE;
    return first * n_each + i * width + (token - first);
}

static int32_t sum_quants(const struct kern_act *a, uint32_t token, uint32_t k, uint32_t n)
{
    int32_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += *act_quant(a, token, k + i);
    }
    return sum;
}

static uint16_t most_of_16(const struct kern_act *a, uint32_t token, uint32_t k, uint32_t n)
{
    int most = 0;
    for (uint32_t i = 0; i < n; i += 16) {
        int sum = 0;
        for (uint32_t j = 0; j < 16; j++) {
            sum += abs(*act_quant(a, token, k + i + j));
        }
        most = sum > most ? sum : most;
    }
    return (uint16_t)most;
}

static void fill_act_sums(struct check *c, enum data data, const struct kern_act *a, uint32_t token)
{
    uint32_t block = a->form == PACK_ACT_Q32 ? 32 : 256;
    for (uint32_t b = 0; b < a->cols / block; b++) {
        size_t at = act_index(a, token, a->cols / block, b);
        a->d[at] = any_scale(c, data, 0x1p-5f);
        if (a->form == PACK_ACT_Q32) {
            int32_t sum = sum_quants(a, token, b * 32, 32);
            a->s[at] = a->d[at] * (float)sum;
            a->n[at] = -sum;
        } else {
            a->most16[at] = most_of_16(a, token, b * 256, 256);
        }
    }
    if (a->form != PACK_ACT_Q32) {
        for (uint32_t i = 0; i < a->cols / 16; i++) {
            size_t at = act_index(a, token, a->cols / 32, i / 2);
            a->n16[2 * at + i % 2] = (int16_t)-sum_quants(a, token, i * 16, 16);
            at = act_index(a, token, a->cols / 64, i / 4);
            a->n32[2 * at + i / 2 % 2] = (int16_t)-sum_quants(a, token, i / 2 * 32, 32);
        }
    }
}

/* A token's rows, from its tiles. */
static void fill_rows(const struct kern_act *a, uint32_t token)
{
    for (uint32_t k = 0; k < a->cols; k++) {
        uint32_t b = k / 256, i = k % 256;
        struct kern_act_row *row = &a->rows[b * a->n_tokens + token];
        row->q[i] = *act_quant(a, token, k);
        row->d = a->d[act_index(a, token, a->cols / 256, b)];
        row->n16[i / 16] =
            a->n16[2 * act_index(a, token, a->cols / 32, b * 8 + i / 32) + i / 16 % 2];
        row->n32[i / 32] =
            a->n32[2 * act_index(a, token, a->cols / 64, b * 4 + i / 64) + i / 32 % 2];
    }
}

/* Item k of a token of a BF16 form. */
static uint16_t *act_bf16(const struct kern_act *a, uint32_t token, uint32_t k)
{
    return a->b + 2 * act_index(a, token, a->cols / 2, k / 2) + k % 2;
}

/* Quant k of a token. */
static int any_quant(struct check *c, enum data data, uint32_t token, uint32_t k, uint32_t edge)
{
    int q = (int)check_random(c, 255) - 127;
    switch (data) {
    case DATA_EXTREME: /* one sign in most tokens, so that sums reach their bounds */
        return token % 4 == 0 ? 127 : token % 4 == 1 ? -127 : q < 0 ? -127 : 127;
    case DATA_EDGE: { /* 16 in a row have the sum `edge`, of one sign in most tokens */
        int magnitude = (int)(edge / 16 + (k % 16 < edge % 16));
        return token % 3 == 0 || (token % 3 == 1 && q < 0) ? -magnitude : magnitude;
    }
    case DATA_RANDOM: /* as most are that are quantised by their largest */
        return (q + (int)check_random(c, 255) + (int)check_random(c, 255) - 2 * 127) / 4;
    default:
        return q;
    }
}

static void fill_act(struct check *c, enum data data, const struct kern_act *a)
{
    uint32_t start = check_random(c, 2), odd_token = check_random(c, a->n_tokens + 1);
    bool dense = a->form == PACK_ACT_F32 || a->form == PACK_ACT_BF16;
    for (uint32_t token = 0; token < a->n_tokens; token++) {
        for (uint32_t k = 0; k < a->cols; k++) {
            if (a->form == PACK_ACT_F32) {
                a->f[act_index(a, token, a->cols, k)] = any_scale(c, data, 1.0f);
            } else if (a->form == PACK_ACT_BF16) {
                *act_bf16(a, token, k) = (uint16_t)(half_to_bits(any_scale(c, data, 1.0f)) >> 16);
            } else {
                uint32_t edge = (k / 256 + start) % 2 == 0 ? 1023 : 1092;
                edge += token == odd_token;
                *act_quant(a, token, k) = (int8_t)any_quant(c, data, token, k, edge);
            }
        }
        if (!dense) {
            fill_act_sums(c, data, a, token);
        }
        if (a->form == PACK_ACT_Q256_ROWS) {
            fill_rows(a, token);
        }
    }
}

/* For a set in the numerics of `set`. */
static void problem_init(struct check *c, struct problem *p, enum data data,
                         const struct kern_table *set, enum quant_type type, uint32_t rows,
                         uint32_t cols, uint32_t n_tokens)
{
    struct error e;
    if (!pack_matrix_init(&p->w, type, rows, cols, &e)) {
        fprintf(stderr, "check: %s\n", e.text);
        exit(1);
    }
    const struct quant_info *info = quant_type_info(type);
    p->row_bytes = (size_t)(cols / info->block_items) * info->block_bytes;
    p->file = allocate(rows * p->row_bytes);
    for (uint32_t r = 0; r < rows; r++) {
        if (info->block_items == 1) {
            fill_dense(c, data, type, p->file + r * p->row_bytes, cols);
        } else {
            fill_blocks(c, data, type, p->file + r * p->row_bytes, p->row_bytes);
        }
    }
    uint8_t *packed = check_buf_init(&p->packed, pack_matrix_bytes(&p->w), 0);
    pack_groups(&p->w, p->file, packed, 0, p->w.n_groups);
    p->w.data = packed;
    enum pack_act form = set->act[type];
    void *memory = check_buf_init(&p->act_memory, kern_act_bytes(form, n_tokens, cols), 0);
    kern_act_init(&p->a, form, n_tokens, cols, memory);
    fill_act(c, data, &p->a);
}

static void problem_finish(struct problem *p)
{
    free(p->file);
    check_buf_finish(&p->packed);
    check_buf_finish(&p->act_memory);
}

/* y (n_tokens, stride) of groups [begin, end); what the kernel must not write keeps its canary. */
static void run_into(const struct kern_table *set, const struct problem *p, uint32_t begin,
                     uint32_t end, float *y, size_t stride)
{
    for (size_t i = 0; i < p->a.n_tokens * stride; i++) {
        y[i] = 12345.0f;
    }
    set->matmul[p->w.type](&p->w, begin, end, &p->a, y, stride);
}

static bool same_as_ref(const struct kern_table *ref, const struct kern_table *set,
                        const struct problem *p, uint32_t begin, uint32_t end)
{
    size_t stride = p->w.rows + 3, n = p->a.n_tokens * stride;
    struct check_buf expected, got;
    check_buf_init(&expected, n * sizeof(float), 0);
    check_buf_init(&got, n * sizeof(float), 0);
    run_into(ref, p, begin, end, expected.p, stride);
    run_into(set, p, begin, end, got.p, stride);
    bool same = check_same_f32(expected.p, got.p, n) && check_buf_intact(&got);
    check_buf_finish(&expected);
    check_buf_finish(&got);
    return same;
}

/* sum of |weight part| * |activation| over the row, with a minimum counted apart: what rounding
 * errors are relative to. */
static double magnitude(const struct problem *p, uint32_t row, uint32_t token, double *out_exact,
                        const float *weights)
{
    const struct pack_layout *l = pack_layout_of(p->w.type);
    bool dense = l->act == PACK_ACT_F32;
    double sum = 0, exact = 0;
    struct pack_block block;
    for (uint32_t k = 0; k < p->w.cols; k++) {
        double a, m = 0;
        if (p->a.form == PACK_ACT_BF16) {
            a = (double)half_bf16_to_f32(*act_bf16(&p->a, token, k));
        } else if (dense) {
            a = (double)p->a.f[act_index(&p->a, token, p->a.cols, k)];
        } else {
            uint32_t n = l->block_items, r = row % PACK_ROWS;
            if (k % n == 0) {
                pack_read_block(&p->w, row / PACK_ROWS, k / n, &block);
            }
            a = (double)p->a.d[act_index(&p->a, token, p->w.cols / n, k / n)] *
                *act_quant(&p->a, token, k);
            m = (double)block.m[r] * (n == 256 ? block.sub_min[k % n / 16][r] : 1);
        }
        exact += (double)weights[k] * a;
        sum += (fabs((double)weights[k]) + 2 * fabs(m)) * fabs(a);
    }
    *out_exact = exact;
    return sum;
}

enum { SLOT_NAME_BYTES = 32 };

static const char *slot_name(char name[SLOT_NAME_BYTES], const struct kern_table *set,
                             enum quant_type type)
{
    snprintf(name, SLOT_NAME_BYTES, "matmul %s%s", quant_type_info(type)->name,
             set->numerics == KERN_BF16 ? " in bf16" : "");
    return name;
}

/* The ref kernel against a product in double of quant_dequantize's weights and the activations.
 * Bound: with u = 2^-24, a term passes at most n chained fused multiply-adds (n: two a block with
 * a minimum, cols for dense types), each off by u of a partial sum that the magnitude bounds; dw *
 * da, (float)isum, s and the three operations of quant_dequantize add at most 6 u a term. */
static void check_ref(struct check *c, const struct kern_table *ref, enum quant_type type)
{
    char name[SLOT_NAME_BYTES];
    struct check_slot s = {.slot = slot_name(name, ref, type), .set = "ref against double"};
    uint32_t block = pack_layout_of(type)->block_items;
    if (c->only && !strstr("matmul", c->only)) {
        return;
    }
    for (uint32_t n_blocks = 1; n_blocks <= 5; n_blocks += 2) {
        struct problem p;
        uint32_t rows = 17, n_tokens = 14, cols = n_blocks * block;
        problem_init(c, &p, n_blocks == 5 ? DATA_EXTREME : DATA_RANDOM, ref, type, rows, cols,
                     n_tokens);
        float *y = allocate(sizeof(float) * n_tokens * rows);
        float *weights = allocate(sizeof(float) * cols);
        run_into(ref, &p, 0, p.w.n_groups, y, rows);
        double n_steps = block == 2 ? cols : 2 * n_blocks;
        for (uint32_t row = 0; row < rows; row++) {
            quant_dequantize(type, p.file + row * p.row_bytes, weights, cols);
            for (uint32_t t = 0; t < n_tokens; t++) {
                double exact, size = magnitude(&p, row, t, &exact, weights);
                double error = fabs((double)y[t * rows + row] - exact);
                check_case(&s, error <= (n_steps + 6) * 0x1p-24 * 1.0001 * size,
                           "cols %u row %u token %u: %g, exact %g, bound %g", cols, row, t,
                           (double)y[t * rows + row], exact, (n_steps + 6) * 0x1p-24 * size);
            }
        }
        free(y);
        free(weights);
        problem_finish(&p);
    }
    check_end(c, &s);
}

struct shape {
    uint32_t rows, cols, n_tokens;
};

/* sets[1] against sets[0], ref: all groups of rows, and those from some group on. */
static void check_product(struct check *c, struct check_slot *s,
                          const struct kern_table *const sets[2], enum data data,
                          enum quant_type type, struct shape shape)
{
    uint64_t n_products = (uint64_t)shape.n_tokens * shape.rows * shape.cols;
    if (c->max_products != 0 && n_products > c->max_products) {
        return;
    }
    struct problem p;
    problem_init(c, &p, data, sets[1], type, shape.rows, shape.cols, shape.n_tokens);
    check_case(s, same_as_ref(sets[0], sets[1], &p, 0, p.w.n_groups),
               "%s: %u tokens, %u rows, %u columns", data_names[data], shape.n_tokens, shape.rows,
               p.w.cols);
    uint32_t begin = check_random(c, p.w.n_groups + 1);
    check_case(s, same_as_ref(sets[0], sets[1], &p, begin, p.w.n_groups - begin / 2),
               "%s: %u tokens, groups from %u of %u", data_names[data], shape.n_tokens, begin,
               p.w.n_groups);
    problem_finish(&p);
}

static void check_type(struct check *c, const struct kern_table *ref, const struct kern_table *set,
                       enum quant_type type)
{
    /* 12, 16, 25 or 37 and more: panels, with every width of the last tile; 604: more than they
     * take at once. 145 rows: more groups than they do. */
    static const uint32_t token_counts[] = {0,  1,  2,  3,  4,  5,  6,  7,   8,  9,  10, 11,
                                            12, 13, 15, 16, 17, 18, 24, 25,  31, 37, 38, 39,
                                            40, 41, 42, 43, 44, 45, 46, 604, 47, 48};
    static const uint32_t row_counts[] = {1, 15, 16, 17, 24, 25, 33, 145};
    enum { N_ROW_COUNTS = sizeof row_counts / sizeof row_counts[0] };
    struct check_slot s;
    char name[SLOT_NAME_BYTES];
    const struct kern_table *const sets[2] = {ref, set};
    slot_name(name, set, type);
    if (set->matmul[type] == ref->matmul[type] || !check_begin(c, &s, name, set)) {
        return;
    }
    uint32_t block = pack_layout_of(type)->block_items;
    enum data n_data = block == 2 ? DATA_COUNT : DATA_SMALL;
    for (enum data data = 0; data < n_data; data++) {
        for (size_t i = 0; i < sizeof token_counts / sizeof token_counts[0]; i++) {
            uint32_t n_tokens = token_counts[i], cols = (uint32_t[]){1, 2, 3, 5}[i % 4] * block;
            uint32_t rows = row_counts[(i + data) % N_ROW_COUNTS];
            check_product(c, &s, sets, data, type, (struct shape){rows, cols, n_tokens});
            if (n_tokens <= 4) { /* kernels of many groups, the last one not whole */
                struct shape wide = {120, cols + 4 * block, n_tokens};
                check_product(c, &s, sets, data, type, wide);
            }
        }
    }
    check_end(c, &s);
}

struct bench_call {
    const struct kern_table *set;
    const struct problem *p;
    float *y;
};

static void call_matmul(void *argument)
{
    const struct bench_call *b = argument;
    b->set->matmul[b->p->w.type](&b->p->w, 0, b->p->w.n_groups, &b->p->a, b->y, b->p->w.rows);
}

static void bench_type(struct check *c, const struct kern_table *set, enum quant_type type)
{
    static const struct {
        uint32_t rows, cols;
    } shapes[] = {{4096, 4096}, {1536, 576}, {576, 1536}};
    static const uint32_t token_counts[] = {1, 4, 12, 48, 512};
    bool is_ref = strcmp(set->name, kern_name(KERN_REF)) == 0;
    for (int i = is_ref; i < 3; i++) {
        if (shapes[i].cols % pack_layout_of(type)->block_items != 0) {
            continue;
        }
        for (int j = 0; j < (is_ref ? 1 : 5); j++) {
            struct problem p;
            char slot[SLOT_NAME_BYTES], name[64];
            snprintf(name, sizeof name, "%s %ux%u, %u", slot_name(slot, set, type), shapes[i].rows,
                     shapes[i].cols, token_counts[j]);
            if (!check_wants_bench(c, name)) {
                continue;
            }
            problem_init(c, &p, DATA_RANDOM, set, type, shapes[i].rows, shapes[i].cols,
                         token_counts[j]);
            size_t bytes = pack_matrix_bytes(&p.w);
            uint8_t *pages = mem_alloc_pages(bytes, "weights", NULL); /* as at run time: huge */
            memcpy(pages, p.w.data, bytes);
            p.w.data = pages;
            struct bench_call call = {set, &p, NULL};
            call.y = allocate(sizeof(float) * p.w.rows * p.a.n_tokens);
            check_bench(name, set, call_matmul, &call, (double)bytes,
                        2.0 * p.w.rows * p.w.cols * p.a.n_tokens);
            free(call.y);
            mem_free_pages(pages, bytes);
            problem_finish(&p);
        }
    }
}

void check_matmul(struct check *c, const struct kern_table *ref, const struct kern_table *set)
{
    for (int i = 0; i < N_TYPES; i++) {
        if (set->numerics == KERN_BF16 && types[i] != QUANT_BF16) {
            continue; /* the same slots as in portable numerics */
        }
        if (set == ref) {
            check_ref(c, ref, types[i]);
        }
        check_type(c, ref, set, types[i]);
        if (c->bench) {
            bench_type(c, set, types[i]);
        }
    }
}
