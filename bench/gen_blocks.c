/* gen_blocks.c - random weights: a block is random bytes with its float scales put right.
 *
 * Random quants and group scales, a random sign for each block's scale (so that a type whose quants
 * do not average 0 still does over a row), and minima chosen to cancel the mean. The root mean
 * square at scale 1 is measured with quant_dequantize, not derived a type at a time. */
#include "gen.h"

#include "base/half.h"
#include "base/mem.h"
#include "quant/quant_block.h"

#include <math.h>

enum { PROBE_ITEMS = 1 << 15 };

/* Where a block's f16 fields lie, and minimum = min_ratio * scale (0: the type has none). */
struct scale_fields {
    size_t d, min;
    float min_ratio;
};

static struct scale_fields fields_of(enum quant_type type)
{
    switch (type) {
    case QUANT_Q4_1:
        return (struct scale_fields){0, offsetof(struct quant_q4_1, m), -7.5f};
    case QUANT_Q5_1:
        return (struct scale_fields){0, offsetof(struct quant_q5_1, m), -15.5f};
    case QUANT_Q2_K:
        return (struct scale_fields){offsetof(struct quant_q2_k, d),
                                     offsetof(struct quant_q2_k, dmin), 1.5f};
    case QUANT_Q3_K:
        return (struct scale_fields){offsetof(struct quant_q3_k, d), 0, 0};
    case QUANT_Q4_K:
        return (struct scale_fields){0, offsetof(struct quant_q4_k, dmin), 7.5f};
    case QUANT_Q5_K:
        return (struct scale_fields){0, offsetof(struct quant_q5_k, dmin), 15.5f};
    case QUANT_Q6_K:
        return (struct scale_fields){offsetof(struct quant_q6_k, d), 0, 0};
    default: /* Q4_0, Q5_0, Q8_0, IQ4_NL, IQ4_XS begin with their only scale */
        return (struct scale_fields){0, 0, 0};
    }
}

static void put_half(uint8_t *dst, float value)
{
    uint16_t h = half_f32_to_f16(value);
    memcpy(dst, &h, sizeof h);
}

static void fill_quants(struct gen_blocks *g, uint8_t *dst, size_t n_blocks)
{
    size_t block_bytes = quant_type_info(g->type)->block_bytes;
    struct scale_fields fields = fields_of(g->type);
    for (size_t i = 0; i < n_blocks * block_bytes; i += 8) {
        uint64_t word = rng_next(&g->rng);
        memcpy(dst + i, &word, 8);
    }
    for (size_t i = 0; i < n_blocks; i++, dst += block_bytes) {
        uint64_t word = rng_next(&g->rng);
        float jitter = 0.75f + (float)(word >> 40) * 0x1p-25f; /* 0.75 to 1.25 */
        float d = (word & 1 ? -g->scale : g->scale) * jitter;
        put_half(dst + fields.d, d);
        if (fields.min_ratio != 0) {
            put_half(dst + fields.min, d * fields.min_ratio);
        }
    }
}

static void fill_f32(struct gen_blocks *g, uint8_t *dst, size_t n_items)
{
    for (size_t i = 0; i < n_items; i++, dst += 4) {
        float value = (float)(int32_t)(rng_next(&g->rng) >> 32) * 0x1p-31f * g->scale;
        memcpy(dst, &value, sizeof value);
    }
}

static void fill_halves(struct gen_blocks *g, uint8_t *dst, size_t n_items)
{
    for (size_t i = 0; i < n_items; i += 4, dst += 8) {
        uint64_t word = rng_next(&g->rng);
        uint16_t four[4];
        for (int k = 0; k < 4; k++) {
            four[k] = g->halves[word >> 16 * k & 0xFFFF];
        }
        memcpy(dst, four, sizeof four);
    }
}

void gen_blocks_fill(struct gen_blocks *g, uint8_t *dst, size_t n_blocks)
{
    if (g->halves != NULL) {
        fill_halves(g, dst, n_blocks);
    } else if (g->type == QUANT_F32) {
        fill_f32(g, dst, n_blocks);
    } else {
        fill_quants(g, dst, n_blocks);
    }
}

/* Table of the halves that uniform values in [-scale, scale) become. */
static bool make_halves(struct gen_blocks *g, struct error *e)
{
    g->halves = mem_alloc(65536, sizeof *g->halves, "table of halves", e);
    if (g->halves == NULL) {
        return false;
    }
    for (int i = 0; i < 65536; i++) {
        float value = (float)(i - 32768) * 0x1p-15f * g->scale;
        g->halves[i] = g->type == QUANT_F16 ? half_f32_to_f16(value)
                                            : (uint16_t)((half_to_bits(value) + 0x8000) >> 16);
    }
    return true;
}

/* Root mean square of what the type's blocks are worth at scale 1. */
static bool measure_spread(enum quant_type type, double *out_spread, struct error *e)
{
    const struct quant_info *info = quant_type_info(type);
    size_t n_blocks = PROBE_ITEMS / info->block_items;
    uint8_t *blocks = mem_alloc(n_blocks + 1, info->block_bytes, "probe blocks", e);
    float *values = mem_alloc(PROBE_ITEMS, sizeof *values, "probe values", e);
    bool ok = blocks != NULL && values != NULL;
    if (ok) {
        struct gen_blocks probe = {.type = type, .scale = 1};
        rng_init(&probe.rng, type);
        fill_quants(&probe, blocks, n_blocks);
        quant_dequantize(type, blocks, values, PROBE_ITEMS);
        double sum = 0;
        for (size_t i = 0; i < PROBE_ITEMS; i++) {
            sum += (double)values[i] * (double)values[i];
        }
        *out_spread = sqrt(sum / PROBE_ITEMS);
    }
    mem_free(blocks);
    mem_free(values);
    return ok;
}

bool gen_blocks_init(struct gen_blocks *g, enum quant_type type, float spread, uint64_t seed,
                     struct error *e)
{
    /* dense types: a uniform value's largest is sqrt(3) times its root mean square */
    struct gen_blocks made = {.type = type, .scale = spread * 1.7320508f};
    rng_init(&made.rng, seed);
    if (type == QUANT_F16 || type == QUANT_BF16) {
        if (!make_halves(&made, e)) {
            return false;
        }
    } else if (type != QUANT_F32) {
        double unit = 1;
        if (!measure_spread(type, &unit, e)) {
            return false;
        }
        made.scale = (float)((double)spread / unit);
    }
    *g = made;
    return true;
}

void gen_blocks_finish(struct gen_blocks *g)
{
    mem_free(g->halves);
    g->halves = NULL;
}
