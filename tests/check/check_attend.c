/* check_attend.c - attention over one tile of keys of every type, and merging partial results. */
#include "base/half.h"
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Everything a call touches; the state (m, l, o) is in one guarded buffer a set. */
struct attend_case {
    enum kern_kv type;
    uint32_t n_rows, dim_k, dim_v;
    uint32_t n_keys[KERN_ATTN_ROWS];
    struct check_buf q, qd, k, v, kd, vd;
    ptrdiff_t ahead;
};

static const char *const slots[KERN_KV_COUNT] = {"attend q16", "attend q8_0", "attend f16"};

/* An integer within +-max; for CHECK_EDGE the largest or one less, so that sums of products come
 * near what int32 holds. */
static int32_t random_item(struct check *c, uint32_t max, enum check_fill fill)
{
    if (fill == CHECK_ZERO) {
        return 0;
    }
    if (fill == CHECK_EDGE) {
        return (int32_t)(max - check_random(c, 2));
    }
    return (int32_t)check_random(c, 2 * max + 1) - (int32_t)max;
}

static void fill_words(struct check *c, int16_t *x, size_t n, uint32_t max, enum check_fill fill)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (int16_t)random_item(c, max, fill);
    }
}

/* Halves; for CHECK_EDGE any that are finite, else what the floats become: large ones infinite,
 * small ones denormal or 0. */
static void fill_halves(struct check *c, uint16_t *x, size_t n, enum check_fill fill)
{
    for (size_t i = 0; i < n; i++) {
        float f;
        check_fill_f32(c, &f, 1, fill);
        x[i] = half_f32_to_f16(f);
        if (fill == CHECK_EDGE) {
            x[i] = (uint16_t)(check_random(c, 1u << 16) & ~(1u << (10 + check_random(c, 5))));
        }
    }
}

static void fill_items(struct check *c, struct check_buf *b, enum kern_kv type, size_t n,
                       enum check_fill fill)
{
    size_t item_bytes = kern_kv_item_bytes(type);
    void *items = check_buf_init(b, n * item_bytes, item_bytes * check_random(c, 16));
    if (type == KERN_KV_F16) {
        fill_halves(c, items, n, fill);
        return;
    }
    if (type == KERN_KV_Q16) {
        fill_words(c, items, n, kern_kv_item_max(type), fill);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        ((int8_t *)items)[i] = (int8_t)random_item(c, kern_kv_item_max(type), fill);
    }
}

/* Scales, none negative, of quants of at most `max`; some of a mixture are too large or none. */
static void fill_scales(struct check *c, struct check_buf *b, size_t n, double max,
                        enum check_fill fill)
{
    float *d = check_buf_init(b, n * sizeof *d, 4 * check_random(c, 16));
    check_fill_f32(c, d, n, fill == CHECK_EDGE ? CHECK_NORMAL : fill);
    for (size_t i = 0; i < n; i++) {
        d[i] = fabsf(d[i]) / (float)max;
    }
}

/* Such that scores of normal rows are within some tens. */
static void fill_queries(struct check *c, struct attend_case *a, enum check_fill fill)
{
    size_t n = (size_t)a->n_rows * a->dim_k;
    uint32_t max = kern_attn_query_max(a->type, a->dim_k);
    fill_scales(c, &a->qd, a->n_rows, max * sqrt(a->dim_k), fill);
    if (a->type != KERN_KV_F16) {
        fill_words(c, check_buf_init(&a->q, n * 2, 2 * check_random(c, 16)), n, max, fill);
        return;
    }
    float *q = check_buf_init(&a->q, n * sizeof *q, 4 * check_random(c, 16));
    check_fill_f32(c, q, n, fill);
    for (size_t i = 0; i < n; i++) {
        q[i] /= sqrtf((float)a->dim_k);
    }
}

/* Makes NaN of the scales of key `key` and of its halves; of its integers, unless some row sees
 * them, what no key has. */
static void spoil_key(struct attend_case *a, uint32_t key, bool is_seen)
{
    enum kern_kv type = a->type;
    size_t item_bytes = kern_kv_item_bytes(type);
    int byte = type == KERN_KV_F16 ? 0xFF : 0x80;
    ((float *)a->kd.p)[key] = ((float *)a->vd.p)[key] = NAN;
    if (is_seen && type != KERN_KV_F16) {
        return;
    }
    for (uint32_t d = 0; d < a->dim_k; d++) {
        size_t at = kern_kv_key_at(type, a->dim_k, key, d);
        memset((char *)a->k.p + at * item_bytes, byte, item_bytes);
    }
    for (uint32_t d = 0; d < a->dim_v; d++) {
        size_t at = kern_kv_value_at(type, a->dim_v, key, d);
        memset((char *)a->v.p + at * item_bytes, byte, item_bytes);
    }
}

static void case_init(struct check *c, struct attend_case *a, enum check_fill fill)
{
    fill_queries(c, a, fill);
    fill_items(c, &a->k, a->type, (size_t)KERN_ATTN_TILE * a->dim_k, fill);
    fill_items(c, &a->v, a->type, (size_t)KERN_ATTN_TILE * a->dim_v, fill);
    fill_scales(c, &a->kd, KERN_ATTN_TILE, kern_kv_item_max(a->type), fill);
    fill_scales(c, &a->vd, KERN_ATTN_TILE, kern_kv_item_max(a->type), fill);
    /* what lies behind the last key of a row may be anything: spoilt are keys that no row sees, or
     * those that not all see */
    bool wants_all = check_random(c, 4) == 0;
    for (uint32_t key = 0; key < KERN_ATTN_TILE; key++) {
        uint32_t n_seeing = 0;
        for (uint32_t row = 0; row < a->n_rows; row++) {
            n_seeing += key < a->n_keys[row];
        }
        if (n_seeing < (wants_all ? a->n_rows : 1)) {
            spoil_key(a, key, n_seeing > 0);
        }
    }
}

static void case_finish(struct attend_case *a)
{
    check_buf_finish(&a->q);
    check_buf_finish(&a->qd);
    check_buf_finish(&a->k);
    check_buf_finish(&a->v);
    check_buf_finish(&a->kd);
    check_buf_finish(&a->vd);
}

static size_t state_floats(const struct attend_case *a)
{
    return (size_t)a->n_rows * (2 + a->dim_v);
}

static void call_case(const struct attend_case *a, const struct kern_table *set, float *state)
{
    bool has_scales = kern_kv_has_scales(a->type);
    struct kern_attn attn = {.type = a->type,
                             .n_rows = a->n_rows,
                             .dim_k = a->dim_k,
                             .dim_v = a->dim_v,
                             .q = a->q.p,
                             .qd = has_scales ? a->qd.p : NULL,
                             .m = state,
                             .l = state + a->n_rows,
                             .o = state + 2 * a->n_rows,
                             .ahead = a->ahead};
    struct kern_kv_tile tile = {.k = a->k.p, .v = a->v.p};
    if (has_scales) {
        tile.kd = a->kd.p;
        tile.vd = a->vd.p;
    }
    set->attend[a->type](&attn, &tile, a->n_keys);
}

static float *state_init(const struct attend_case *a, struct check_buf *b, size_t tail)
{
    float *state = check_buf_init(b, state_floats(a) * sizeof *state, tail);
    for (size_t i = 0; i < state_floats(a); i++) {
        state[i] = i < a->n_rows ? -INFINITY : 0.0f;
    }
    return state;
}

/* The tile is seen twice: with the state of a start, then with the one this left, and as if another
 * one came next. */
static void run_case(struct check *c, struct check_slot *s, const struct kern_table *sets[2],
                     struct attend_case *a, enum check_fill fill)
{
    case_init(c, a, fill);
    struct check_buf states[2];
    for (int i = 0; i < 2; i++) {
        float *state = state_init(a, &states[i], 4 * check_random(c, 16));
        call_case(a, sets[i], state);
        char first[4];
        memcpy(first, a->q.p, sizeof first);
        memset(a->q.p, 0, sizeof first);
        a->ahead = 4096;
        call_case(a, sets[i], state);
        a->ahead = 0;
        memcpy(a->q.p, first, sizeof first);
    }
    bool intact = check_buf_intact(&states[1]);
    bool same = memcmp(states[0].p, states[1].p, states[0].n_bytes) == 0 ||
                check_same_f32(states[0].p, states[1].p, state_floats(a));
    check_case(s, intact && same, "rows %u dims %u %u keys %u.. fill %d%s", a->n_rows, a->dim_k,
               a->dim_v, a->n_keys[0], (int)fill, intact ? "" : ": canary overwritten");
    check_buf_finish(&states[0]);
    check_buf_finish(&states[1]);
    case_finish(a);
}

/* Makes of row `row` one with `score` for key `key` and far less for the others, which all have
 * items of one sign. */
static void set_score(const struct attend_case *a, uint32_t row, uint32_t key, float score)
{
    float largest = (float)kern_attn_query_max(a->type, a->dim_k) * (float)a->dim_k *
                    (float)kern_kv_item_max(a->type);
    for (uint32_t i = 0; i < KERN_ATTN_TILE; i++) {
        ((float *)a->kd.p)[i] = i == key ? 0x1p-20f : 1.0f;
    }
    ((float *)a->qd.p)[row] = score * (0x1p20f / largest);
    for (uint32_t d = 0; a->type == KERN_KV_F16 && d < a->dim_k; d++) {
        ((float *)a->q.p)[row * a->dim_k + d] = d == 0 ? score : 0.0f;
        for (uint32_t i = 0; i < KERN_ATTN_TILE; i++) {
            uint16_t *item = (uint16_t *)a->k.p + kern_kv_key_at(a->type, a->dim_k, i, d);
            *item = i == key ? 0x3C00 : 0x7BFF; /* 1, 65504 */
        }
    }
}

/* A row's maximum is 0 before; one key has a score down to where exp ends, the others have far
 * less, so l shows exp of that score. */
static void run_exp_case(struct check *c, struct check_slot *s, const struct kern_table *sets[2],
                         enum kern_kv type)
{
    struct attend_case a = {.type = type, .n_rows = 6, .dim_k = 16, .dim_v = 16};
    for (uint32_t row = 0; row < a.n_rows; row++) {
        a.n_keys[row] = KERN_ATTN_TILE;
    }
    case_init(c, &a, CHECK_EDGE); /* all items of one sign */
    uint32_t key = check_random(c, KERN_ATTN_TILE);
    float score = 0.0f;
    for (uint32_t row = 0; row < a.n_rows; row++) {
        check_fill_f32(c, &score, 1, CHECK_EDGE);
        score = -fabsf(score) * (check_random(c, 2) ? 1.0f : (float)rng_uniform(&c->rng));
        set_score(&a, row, key, score);
    }
    struct check_buf states[2];
    for (int i = 0; i < 2; i++) {
        float *state = state_init(&a, &states[i], 0);
        memset(state, 0, a.n_rows * sizeof *state);
        call_case(&a, sets[i], state);
    }
    check_case(s, memcmp(states[0].p, states[1].p, states[0].n_bytes) == 0, "exp down to %a",
               (double)score);
    check_buf_finish(&states[0]);
    check_buf_finish(&states[1]);
    case_finish(&a);
}

static void run_cases(struct check *c, struct check_slot *s, const struct kern_table *sets[2],
                      enum kern_kv type)
{
    static const uint32_t dims[] = {16, 48, 64, 80, 96, 128, 256};
    static const uint32_t keys[] = {1, 2, 15, 16, 17, 31, 33, 48, 63, 64};
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        for (uint32_t n_rows = 0; n_rows <= KERN_ATTN_ROWS; n_rows += n_rows < 14 ? 1 : 6) {
            struct attend_case a = {
                .type = type, .n_rows = n_rows, .dim_k = dims[d], .dim_v = dims[d]};
            if (n_rows % 3 == 2) {
                a.dim_v = dims[check_random(c, 7)];
            }
            uint32_t same = keys[check_random(c, 10)];
            uint32_t kind = check_random(c, 3); /* all alike, causal, any */
            for (uint32_t row = 0; row < n_rows; row++) {
                uint32_t causal = same + row / 3 > 64 ? 64 : same + row / 3;
                a.n_keys[row] = kind == 0 ? same : kind == 1 ? causal : check_random(c, 65);
            }
            if (n_rows > 0) {
                run_case(c, s, sets, &a, (enum check_fill)check_random(c, CHECK_FILL_COUNT));
            }
        }
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
            for (int f = 0; f < CHECK_FILL_COUNT; f++) {
                struct attend_case a = {
                    .type = type, .n_rows = 1, .dim_k = dims[d], .dim_v = dims[d]};
                a.n_keys[0] = keys[i];
                run_case(c, s, sets, &a, (enum check_fill)f);
            }
        }
    }
    for (int i = 0; i < 100; i++) {
        run_exp_case(c, s, sets, type);
    }
}

/* --- bench: `n_tiles` tiles of keys that lie one after the other, as in decode and prefill */

struct attend_bench {
    struct attend_case a;
    uint32_t n_tiles;
    char *items;   /* (tiles, keys and values) */
    float *scales; /* (tiles, KERN_ATTN_TILE) */
    float state[KERN_ATTN_ROWS * (2 + KERN_ATTN_MAX_DIM)];
    const struct kern_table *set;
};

static void call_attend(void *argument)
{
    struct attend_bench *b = argument;
    for (uint32_t row = 0; row < b->a.n_rows; row++) {
        b->state[row] = -INFINITY;
    }
    for (uint32_t tile = 0; tile < b->n_tiles; tile++) {
        struct attend_case a = b->a;
        size_t k_bytes = KERN_ATTN_TILE * a.dim_k * kern_kv_item_bytes(a.type);
        size_t v_bytes = KERN_ATTN_TILE * a.dim_v * kern_kv_item_bytes(a.type);
        a.k.p = b->items + tile * (k_bytes + v_bytes);
        a.v.p = (char *)a.k.p + k_bytes;
        a.ahead = tile + 1 < b->n_tiles ? (ptrdiff_t)(k_bytes + v_bytes) : 0;
        a.kd.p = a.vd.p = b->scales + (size_t)tile * KERN_ATTN_TILE;
        call_case(&a, b->set, b->state);
    }
}

static void bench_attend(struct check *c, const struct kern_table *set, enum kern_kv type)
{
    static const uint32_t shapes[][4] = {
        /* rows, dim, tiles, keys of a tile */
        {3, 64, 8, 64},  {3, 64, 1, 5},   {1, 64, 8, 64},   {32, 64, 8, 64}, {30, 64, 8, 64},
        {4, 128, 8, 64}, {8, 128, 8, 64}, {32, 128, 8, 64}, {1, 128, 8, 64}, {4, 128, 512, 64},
    };
    static struct attend_bench b;
    static struct check_buf items, scales;
    struct attend_case queries = {.type = type, .n_rows = 32, .dim_k = 128};
    fill_items(c, &items, type, (size_t)2 * 512 * 64 * 128, CHECK_NORMAL);
    fill_scales(c, &scales, (size_t)512 * 64, kern_kv_item_max(type), CHECK_NORMAL);
    fill_queries(c, &queries, CHECK_NORMAL);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const uint32_t *shape = shapes[i];
        b = (struct attend_bench){
            .n_tiles = shape[2], .items = items.p, .scales = scales.p, .set = set};
        b.a = (struct attend_case){
            .type = type, .n_rows = shape[0], .dim_k = shape[1], .dim_v = shape[1]};
        b.a.q = queries.q;
        b.a.qd = queries.qd;
        for (uint32_t row = 0; row < shape[0]; row++) {
            b.a.n_keys[row] = shape[3];
        }
        char what[64];
        snprintf(what, sizeof what, "%s rows %u dim %u keys %u", slots[type], shape[0], shape[1],
                 shape[2] * shape[3]);
        double n_keys = (double)shape[2] * shape[3];
        double key_bytes = 2.0 * shape[1] * (double)kern_kv_item_bytes(type);
        check_bench(what, set, call_attend, &b, n_keys * key_bytes,
                    n_keys * shape[1] * 4.0 * shape[0]);
    }
    check_buf_finish(&queries.q);
    check_buf_finish(&queries.qd);
    check_buf_finish(&items);
    check_buf_finish(&scales);
}

/* --- merge */

static void merge_case(struct check *c, struct check_slot *s, const struct kern_table *sets[2],
                       uint32_t dim, enum check_fill fill)
{
    struct check_buf b, states[2];
    float *other = check_buf_init(&b, (dim + 2) * sizeof *other, 4 * check_random(c, 16));
    check_fill_f32(c, other, dim + 2, fill);
    float *want = check_buf_init(&states[0], (dim + 2) * sizeof *want, 0);
    float *got = check_buf_init(&states[1], (dim + 2) * sizeof *got, 4 * check_random(c, 16));
    check_fill_f32(c, want, dim + 2, fill);
    if (check_random(c, 4) == 0) {
        want[0] = -INFINITY; /* nothing merged yet */
    }
    memcpy(got, want, (dim + 2) * sizeof *got);
    sets[0]->merge(want, want + 1, want + 2, other, other + 1, other + 2, dim);
    sets[1]->merge(got, got + 1, got + 2, other, other + 1, other + 2, dim);
    check_case(s, check_buf_intact(&states[1]) && check_same_f32(want, got, dim + 2),
               "dim %u fill %d", dim, (int)fill);
    check_buf_finish(&b);
    check_buf_finish(&states[0]);
    check_buf_finish(&states[1]);
}

void check_attend(struct check *c, const struct kern_table *ref, const struct kern_table *set)
{
    const struct kern_table *sets[2] = {ref, set};
    struct check_slot s;
    for (enum kern_kv type = 0; type < KERN_KV_COUNT; type++) {
        if (check_begin(c, &s, slots[type], set)) {
            run_cases(c, &s, sets, type);
            check_end(c, &s);
        }
        if (check_wants_bench(c, slots[type])) {
            bench_attend(c, set, type);
        }
    }
    if (check_begin(c, &s, "merge", set)) {
        static const uint32_t dims[] = {16, 32, 48, 64, 80, 96, 112, 128, 256};
        for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
            for (int fill = 0; fill < CHECK_FILL_COUNT; fill++) {
                merge_case(c, &s, sets, dims[i], (enum check_fill)fill);
            }
        }
        check_end(c, &s);
    }
}
