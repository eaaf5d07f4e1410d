/* matmul.h - what the matmul kernels of every set share. Private to kern/. */
#ifndef KERN_MATMUL_H
#define KERN_MATMUL_H

#include "kern/kern_internal.h"
#include "quant/pack_layout.h"

#include <assert.h>
#include <string.h>

#define TEMPLATE static inline __attribute__((always_inline))

typedef int32_t matmul_word __attribute__((may_alias));

/* How the quants of a type lie, all compile-time constants. */
struct line_form {
    int low_bits, high_bits;
    bool table; /* IQ4: the low bits are an index */
    bool bytes; /* of a panel: unpacked, 8 lines a unit */
};

/* Lines of a unit of 32 items. */
TEMPLATE int unit_lines(struct line_form form)
{
    return form.bytes ? 8 : form.low_bits + form.high_bits;
}

/* One tile of activations: n tokens side by side, pointers to the tile's own part (kern.h). */
struct matmul_tile {
    uint32_t n, first, cols;
    const float *f;
    const int8_t *q;
    size_t q_step; /* Q256: bytes from super-block to super-block */
    const float *d, *s;
    const int32_t *n_sum;     /* Q32: n */
    const int16_t *n16, *n32; /* Q256 */
    const uint16_t *most16;   /* Q256 */
    const uint16_t *b;        /* BF16 */
};

static inline struct matmul_tile matmul_tile_of(const struct kern_act *a, uint32_t tile)
{
    size_t first = kern_tile_begin(tile), cols = a->cols;
    struct matmul_tile t = {
        .n = kern_tile_width(a, tile), .first = kern_tile_begin(tile), .cols = a->cols};
    switch (a->form) {
    case PACK_ACT_F32:
        t.f = a->f + first * cols;
        break;
    case PACK_ACT_Q32:
        t.q = a->q + first * cols;
        t.d = a->d + first * (cols / 32);
        t.s = a->s + first * (cols / 32);
        t.n_sum = a->n + first * (cols / 32);
        break;
    case PACK_ACT_BF16:
        t.b = a->b + first * cols;
        break;
    default:
        t.q = a->q + first * PACK_SUPER;
        t.q_step = a->q_step;
        t.d = a->d + first * (cols / 256);
        t.n16 = a->n16 + first * (cols / 16);
        t.n32 = a->n32 + first * (cols / 32);
        t.most16 = a->most16 + first * (cols / 256);
        break;
    }
    return t;
}

/* The tile from super-block `block` on (Q256). */
static inline struct matmul_tile matmul_tile_from(struct matmul_tile t, uint32_t block)
{
    size_t n = (size_t)t.n * block;
    t.q += block * t.q_step;
    t.d += n;
    t.n16 += n * (PACK_SUPER / 16);
    t.n32 += n * (PACK_SUPER / 32);
    t.most16 += n;
    return t;
}

/* The tile behind a whole one (Q256). */
static inline struct matmul_tile matmul_tile_next(struct matmul_tile t)
{
    size_t n_super = (size_t)t.n * (t.cols / PACK_SUPER);
    t.first += t.n;
    t.q += (size_t)t.n * PACK_SUPER;
    t.d += n_super;
    t.n16 += n_super * (PACK_SUPER / 16);
    t.n32 += n_super * (PACK_SUPER / 32);
    t.most16 += n_super;
    return t;
}

/* Byte of the 4 items that line i of a unit is multiplied with, of token t of n, from the unit's
 * first quants on. */
static inline size_t matmul_act_at(int i, int t, size_t n)
{
    return (((size_t)i / 2 * n + (size_t)t) * 2 + (size_t)i % 2) * 4;
}

/* The tile without its first n_tokens tokens; n stays the distance between items. */
static inline struct matmul_tile matmul_tile_skip(struct matmul_tile t, uint32_t n_tokens)
{
    t.first += n_tokens;
    t.f = t.f != NULL ? t.f + n_tokens : NULL;
    t.q = t.q != NULL ? t.q + 8 * n_tokens : NULL;
    t.d = t.d != NULL ? t.d + n_tokens : NULL;
    t.s = t.s != NULL ? t.s + n_tokens : NULL;
    t.n_sum = t.n_sum != NULL ? t.n_sum + n_tokens : NULL;
    t.n16 = t.n16 != NULL ? t.n16 + 2 * n_tokens : NULL;
    t.n32 = t.n32 != NULL ? t.n32 + 2 * n_tokens : NULL;
    t.most16 = t.most16 != NULL ? t.most16 + n_tokens : NULL;
    t.b = t.b != NULL ? t.b + 2 * n_tokens : NULL;
    return t;
}

/* --- the loops round a micro-kernel ----------------------------------------------------------- */

/* What a micro-kernel works on: one group of rows (a wide kernel: MATMUL_WIDE groups, group_bytes
 * apart) and as many tokens as it is made for. */
struct matmul_job {
    const uint8_t *scales, *quants;
    size_t group_bytes;
    size_t scale_bytes, quant_bytes; /* that a group has */
    size_t step;                     /* bytes to the groups that come next */
    uint32_t n_blocks;
    uint32_t place;  /* of the group's first block, for ahead.h: blocks that lie before it */
    uint32_t n_rows; /* rows of the last group that exist */
    bool cold;       /* no tile was multiplied with these weights yet */
    size_t next_act; /* Q256: q_step where it skips other tiles, else 0 */
    struct matmul_tile tile;
    uint32_t n_tiles; /* of a panel: tiles of as many tokens, one behind the other */
    float *y;         /* of the first token, the first group's first row */
    size_t y_stride;
};

typedef void matmul_job_fn(const struct matmul_job *job);

/* Asks for a unit of n_lines that a cold job reads some 48 units later, in the order of reading,
 * which at a group's end goes on behind the next one's scales (a few lines there are asked for in
 * vain or not at all: where n_lines reach over it, or a group is shorter than the distance). A
 * CPU's own prefetchers stop at pages and stay close to the last load. Into L2, where more requests
 * may be under way than in L1, from which the loads then find them in time. group: of a wide
 * kernel; p lies in its first one. As measured with AVX-512: a third nearer or farther is slower;
 * one token of Q8_0, which hardly computes, is asked for later. */
TEMPLATE void matmul_prefetch(const struct matmul_job *job, const uint8_t *p, const int n_lines,
                              const int group, const int n_tokens)
{
    const int ahead = n_lines < 4                     ? 12288
                      : n_lines == 8 && n_tokens == 1 ? 4096
                                                      : 48 * n_lines * PACK_LINE;
    if (!job->cold) {
        return;
    }
    uintptr_t at = (uintptr_t)p + ahead;
    if (at - (uintptr_t)job->quants >= job->quant_bytes) {
        at += job->step - job->quant_bytes;
    }
    at += (size_t)group * job->group_bytes;
    UNROLL
    for (int i = 0; i < n_lines; i++) {
        __builtin_prefetch((const void *)(at + i * PACK_LINE), 0, 2);
    }
}

/* The same for scales: n_lines of those `ahead` bytes behind p, in the order of reading. */
TEMPLATE void matmul_prefetch_scales(const struct matmul_job *job, const uint8_t *p,
                                     const int ahead, const int n_lines)
{
    if (!job->cold) {
        return;
    }
    uintptr_t at = (uintptr_t)p + ahead;
    if (at - (uintptr_t)job->scales >= job->scale_bytes) {
        at += job->step - job->scale_bytes;
    }
    UNROLL
    for (int i = 0; i < n_lines; i++) {
        __builtin_prefetch((const void *)(at + i * PACK_LINE), 0, 2);
    }
}

enum { MATMUL_WIDE = 4 };

/* A super-block of a group with its quants and scales unpacked, as the set likes them, for all
 * tiles. A panel kernel's job has both in here, one block, and in y the sums (tokens, 16) that it
 * adds to. With panel_runs it takes all tiles but the last in one call: where the core's other
 * hardware thread is at work, and has every second turn to issue, a call a tile cost a few %. */
struct matmul_panel {
    _Alignas(PACK_LINE) uint8_t quants[PACK_SUPER * PACK_ROWS];
    _Alignas(PACK_LINE) uint8_t scales[26 * PACK_LINE];
};
typedef void matmul_unpack_fn(const struct matmul_job *job, struct matmul_panel *out);

/* The micro-kernels of a type by number of tokens, index n - 1, n <= max_tokens. `wide` take
 * MATMUL_WIDE groups at once; NULL where one group keeps the core busy. `panel` and unpack: NULL
 * where unpacking for every tile costs little; else for panel_min tokens and more. */
struct matmul_kernels {
    uint32_t max_tokens, panel_min;
    matmul_job_fn *one[KERN_TILE], *wide[KERN_TILE], *panel[KERN_TILE];
    matmul_unpack_fn *unpack;
    bool panel_runs; /* `panel` take job->n_tiles tiles, else one */
};

/* One tile in as many steps as max_tokens asks for, of nearly equal size. y: token 0's rows. */
static inline void matmul_run_tile(matmul_job_fn *const by_tokens[KERN_TILE], uint32_t max_tokens,
                                   struct matmul_job *job, float *y)
{
    uint32_t n_left = job->tile.n;
    uint32_t n_steps = (n_left + max_tokens - 1) / max_tokens;
    for (; n_steps > 0; n_steps--) {
        uint32_t n = (n_left + n_steps - 1) / n_steps;
        job->y = y + job->tile.first * job->y_stride;
        by_tokens[n - 1](job);
        job->tile = matmul_tile_skip(job->tile, n);
        n_left -= n;
    }
}

/* Of how many tiles sums wait in the cache while panels pass. */
enum { MATMUL_PANEL_TILES = 48 };

/* Asks for `n` bytes from p on. */
static inline void matmul_fetch(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i += PACK_LINE) {
        __builtin_prefetch(p + i, 0, 3);
    }
}

/* A group times the tiles [first, last), super-block by super-block: each is unpacked once, and the
 * next one fetched before the last tile; earlier, the activations would push it out again. */
static inline void matmul_run_panels(const struct matmul_kernels *kernels, enum quant_type type,
                                     struct matmul_job job, const struct kern_act *a,
                                     uint32_t first, uint32_t last)
{
    const struct pack_layout *layout = pack_layout_of(type);
    const size_t scale_bytes = layout->scale_bytes;
    const size_t quant_bytes = (size_t)(layout->low_bits + layout->high_bits) * PACK_LINE * 8;
    struct matmul_panel panel;
    _Alignas(PACK_LINE) float sums[MATMUL_PANEL_TILES * KERN_TILE * PACK_ROWS];
    uint32_t n_tokens = kern_tile_begin(last - 1 - first) + kern_tile_width(a, last - 1);
    uint32_t first_single = kernels->panel_runs ? last - 1 : 0;
    struct matmul_job part = {.scales = panel.scales,
                              .quants = panel.quants,
                              .n_blocks = 1,
                              .n_rows = PACK_ROWS,
                              .y_stride = PACK_ROWS};
    memset(sums, 0, n_tokens * PACK_ROWS * sizeof *sums);
    for (uint32_t block = 0; block < job.n_blocks; block++) {
        kernels->unpack(&job, &panel);
        for (uint32_t i = first; i < last; i += part.n_tiles) {
            part.tile = matmul_tile_from(matmul_tile_of(a, i), block);
            part.tile.first -= kern_tile_begin(first);
            part.n_tiles = i < first_single ? first_single - i : 1;
            if (i + part.n_tiles == last) {
                matmul_fetch(job.scales + scale_bytes, scale_bytes);
                matmul_fetch(job.quants + quant_bytes, quant_bytes);
            }
            matmul_run_tile(kernels->panel, kernels->max_tokens, &part, sums);
        }
        job.scales += scale_bytes;
        job.quants += quant_bytes;
    }
    for (uint32_t t = 0; t < n_tokens; t++) {
        float *y = job.y + t * job.y_stride;
        if (job.n_rows == PACK_ROWS) { /* a constant: one or two instructions */
            memcpy(y, sums + t * PACK_ROWS, PACK_ROWS * sizeof *y);
        } else {
            memcpy(y, sums + t * PACK_ROWS, job.n_rows * sizeof *y);
        }
    }
}

/* A group times all tiles, through panels. */
static inline void matmul_run_group(const struct matmul_kernels *kernels, enum quant_type type,
                                    struct matmul_job job, const struct kern_act *a)
{
    uint32_t n_tiles = kern_act_tiles(a->n_tokens);
    for (uint32_t first = 0; first < n_tiles; first += MATMUL_PANEL_TILES) {
        uint32_t left = n_tiles - first;
        matmul_run_panels(kernels, type, job, a, first,
                          first + (left < MATMUL_PANEL_TILES ? left : MATMUL_PANEL_TILES));
        job.y += MATMUL_PANEL_TILES * KERN_TILE * job.y_stride;
    }
}

/* The slot's body. A group's weights stay in the cache while the tiles pass. */
static inline void matmul_run(const struct matmul_kernels *kernels, const struct pack_matrix *w,
                              uint32_t group_begin, uint32_t group_end, const struct kern_act *a,
                              float *y, size_t y_stride)
{
    struct matmul_job job = {.group_bytes = w->group_bytes, .y_stride = y_stride};
    size_t quants_offset = pack_quants_offset(w);
    uint32_t n_tiles = kern_act_tiles(a->n_tokens), n_groups;
    const struct pack_layout *layout = pack_layout_of(w->type);
    job.n_blocks = w->cols / layout->block_items;
    job.scale_bytes = (size_t)job.n_blocks * layout->scale_bytes;
    job.quant_bytes = w->group_bytes - quants_offset;
    for (uint32_t g = group_begin; g < group_end; g += n_groups) {
        bool wide =
            n_tiles == 1 && kernels->wide[a->n_tokens - 1] != NULL && g + MATMUL_WIDE <= group_end;
        n_groups = wide ? MATMUL_WIDE : 1;
        uint32_t row = g * PACK_ROWS, last_row = row + (n_groups - 1) * PACK_ROWS;
        job.n_rows = w->rows - last_row < PACK_ROWS ? w->rows - last_row : PACK_ROWS;
        job.scales = w->data + g * w->group_bytes;
        job.quants = job.scales + quants_offset;
        job.step = n_groups * w->group_bytes;
        job.place = g * job.n_blocks;
        if (kernels->unpack != NULL && a->n_tokens >= kernels->panel_min) {
            job.y = y + row;
            matmul_run_group(kernels, w->type, job, a);
            continue;
        }
        for (uint32_t i = 0; i < n_tiles; i++) {
            job.tile = matmul_tile_of(a, i);
            job.cold = i == 0;
            job.next_act = n_tiles > 1 ? a->q_step : 0;
            matmul_run_tile(wide ? kernels->wide : kernels->one, kernels->max_tokens, &job,
                            y + row);
        }
    }
}

/* --- how the files of a set define their kernels ---------------------------------------------- */

/* Kernel NAME_GxT of G groups and T tokens from FN(job, FORM, G, T). */
#define MATMUL_KERNEL(NAME, FN, FORM, GROUPS, T)                                                   \
    static void NAME##_##GROUPS##x##T(const struct matmul_job *job)                                \
    {                                                                                              \
        FN(job, FORM, GROUPS, T);                                                                  \
    }

/* FOR_TOKENS(M, ...) is M(..., T) and LIST_TOKENS(PREFIX) the names PREFIX##T for all T. */
#define FOR_TOKENS(M, ...)                                                                         \
    M(__VA_ARGS__, 1)                                                                              \
    M(__VA_ARGS__, 2)                                                                              \
    M(__VA_ARGS__, 3)                                                                              \
    M(__VA_ARGS__, 4)                                                                              \
    M(__VA_ARGS__, 5)                                                                              \
    M(__VA_ARGS__, 6)                                                                              \
    M(__VA_ARGS__, 7)                                                                              \
    M(__VA_ARGS__, 8)                                                                              \
    M(__VA_ARGS__, 9)                                                                              \
    M(__VA_ARGS__, 10)                                                                             \
    M(__VA_ARGS__, 11)                                                                             \
    M(__VA_ARGS__, 12)
#define LIST_TOKENS(PREFIX)                                                                        \
    PREFIX##1, PREFIX##2, PREFIX##3, PREFIX##4, PREFIX##5, PREFIX##6, PREFIX##7, PREFIX##8,        \
        PREFIX##9, PREFIX##10, PREFIX##11, PREFIX##12

/* Puts slot matmul_NAME into the table t. */
#define MATMUL_FILL(NAME, TYPE, FORM) t->matmul[TYPE] = matmul_##NAME;

#endif
