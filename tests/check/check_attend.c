/* check_attend.c - attention over one tile of keys of either type, and merging partial results. */
#include "check.h"

#include "base/half.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Everything a call touches; the state (m, l, o) is in one guarded buffer a set. */
struct attend_case {
    enum kern_kv type;
    uint32_t n_rows, dim_k, dim_v;
    uint32_t n_keys[KERN_ATTN_ROWS];
    struct check_buf q, k, v, kd, vd; /* kd, vd: Q8_0 only */
};

static const char *const slots[KERN_KV_COUNT] = {"attend f16", "attend q8_0"};

/* What keys and values are made of; NaN is left out, see kern.h. */
static const enum check_fill fills[] = {CHECK_NORMAL, CHECK_WIDE, CHECK_DENORMAL, CHECK_ZERO,
                                        CHECK_EDGE};
enum { N_FILLS = sizeof fills / sizeof fills[0] };

/* CHECK_EDGE stands for products below every float here: scores of -0 and +0. */
static void fill_f16(struct check *c, uint16_t *x, size_t n, enum check_fill fill)
{
    for (size_t i = 0; i < n; i++) {
        float value;
        check_fill_f32(c, &value, 1, fill);
        uint16_t h = half_f32_to_f16(fill == CHECK_DENORMAL ? value * 0x1p+110f : value);
        x[i] = (h & 0x7C00) == 0x7C00 ? 0x7BFF : h; /* the largest finite one */
        if (fill == CHECK_EDGE) {
            x[i] = value < 0.0f ? 0x8001 : 0x0001;
        }
    }
}

/* Scales of such values: up to what f16 could hold. */
static void fill_scales(struct check *c, float *d, size_t n, enum check_fill fill)
{
    check_fill_f32(c, d, n, fill);
    for (size_t i = 0; i < n; i++) {
        d[i] = fill == CHECK_EDGE ? 0x1p-149f : fminf(fabsf(d[i]), 512.0f);
    }
}

static void fill_tile(struct check *c, struct attend_case *a, enum check_fill fill)
{
    size_t n_k = (size_t)KERN_ATTN_TILE * a->dim_k, n_v = (size_t)KERN_ATTN_TILE * a->dim_v;
    if (a->type == KERN_KV_F16) {
        fill_f16(c, check_buf_init(&a->k, n_k * 2, 2 * check_random(c, 16)), n_k, fill);
        fill_f16(c, check_buf_init(&a->v, n_v * 2, 2 * check_random(c, 16)), n_v, fill);
        return;
    }
    size_t n_bytes = KERN_ATTN_TILE * sizeof(float);
    check_fill_bytes(c, check_buf_init(&a->k, n_k, check_random(c, 16)), n_k);
    check_fill_bytes(c, check_buf_init(&a->v, n_v, check_random(c, 16)), n_v);
    fill_scales(c, check_buf_init(&a->kd, n_bytes, 4 * check_random(c, 16)), KERN_ATTN_TILE, fill);
    fill_scales(c, check_buf_init(&a->vd, n_bytes, 4 * check_random(c, 16)), KERN_ATTN_TILE, fill);
}

/* Makes NaN of key `key`, which no row sees. */
static void spoil_key(struct attend_case *a, uint32_t key)
{
    if (a->type == KERN_KV_Q8_0) {
        ((float *)a->kd.p)[key] = ((float *)a->vd.p)[key] = NAN;
        return;
    }
    for (uint32_t d = 0; d < a->dim_k; d++) {
        ((uint16_t *)a->k.p)[((size_t)(key / 16) * a->dim_k + d) * 16 + key % 16] = 0x7E00;
    }
    for (uint32_t d = 0; d < a->dim_v; d++) {
        ((uint16_t *)a->v.p)[(size_t)key * a->dim_v + d] = 0x7E00;
    }
}

static void case_init(struct check *c, struct attend_case *a, enum check_fill fill)
{
    size_t n_q = (size_t)a->n_rows * a->dim_k;
    float *q = check_buf_init(&a->q, n_q * sizeof *q, 4 * check_random(c, 16));
    check_fill_f32(c, q, n_q, fill);
    for (size_t i = 0; i < n_q && fill == CHECK_EDGE; i++) {
        q[i] = q[i] < 0.0f ? -0x1p-149f : 0x1p-149f;
    }
    fill_tile(c, a, fill);
    /* what lies behind the last key any row sees may be anything: make it NaN */
    for (uint32_t key = 0; key < KERN_ATTN_TILE; key++) {
        bool seen = false;
        for (uint32_t row = 0; row < a->n_rows; row++) {
            seen = seen || key < a->n_keys[row];
        }
        if (!seen) {
            spoil_key(a, key);
        }
    }
}

static void case_finish(struct attend_case *a)
{
    check_buf_finish(&a->q);
    check_buf_finish(&a->k);
    check_buf_finish(&a->v);
    if (a->type == KERN_KV_Q8_0) {
        check_buf_finish(&a->kd);
        check_buf_finish(&a->vd);
    }
}

static size_t state_floats(const struct attend_case *a)
{
    return (size_t)a->n_rows * (2 + a->dim_v);
}

static void call_case(const struct attend_case *a, const struct kern_table *set, float *state)
{
    struct kern_attn attn = {.type = a->type,
                             .n_rows = a->n_rows,
                             .dim_k = a->dim_k,
                             .dim_v = a->dim_v,
                             .q = a->q.p,
                             .m = state,
                             .l = state + a->n_rows,
                             .o = state + 2 * a->n_rows};
    struct kern_kv_tile tile = {a->k.p, a->v.p, a->kd.p, a->vd.p};
    set->attend(&attn, &tile, a->n_keys);
}

/* The tile is seen twice: with the state of a start, then with the one this left. */
static void run_case(struct check *c, struct check_slot *s, const struct kern_table *sets[2],
                     struct attend_case *a, enum check_fill fill)
{
    case_init(c, a, fill);
    struct check_buf states[2];
    for (int i = 0; i < 2; i++) {
        float *state =
            check_buf_init(&states[i], state_floats(a) * sizeof *state, 4 * check_random(c, 16));
        for (size_t j = 0; j < state_floats(a); j++) {
            state[j] = j < a->n_rows ? -INFINITY : 0.0f;
        }
        call_case(a, sets[i], state);
        float *q = a->q.p, first = q[0];
        q[0] += 1.0f;
        call_case(a, sets[i], state);
        q[0] = first;
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

/* Key i's value is the unit vector i, so o shows its weight, exp of (q[0] * k[i]); key 0 has score
 * 0, the others scores down to where exp ends. */
static void run_exp_case(struct check *c, struct check_slot *s, const struct kern_table *sets[2])
{
    enum { DIM = KERN_ATTN_TILE };
    struct attend_case a = {.n_rows = 6, .dim_k = 16, .dim_v = DIM};
    struct check_buf states[2];
    for (uint32_t row = 0; row < a.n_rows; row++) {
        a.n_keys[row] = DIM;
    }
    case_init(c, &a, CHECK_ZERO);
    uint16_t *k = a.k.p, *v = a.v.p;
    float *q = a.q.p;
    memset(v, 0, a.v.n_bytes);
    for (uint32_t key = 0; key < DIM; key++) {
        float factor = key % 4 == 1 ? 1.0f : (float)rng_uniform(&c->rng);
        k[(size_t)(key / 16) * 16 * 16 + key % 16] = half_f32_to_f16(key == 0 ? 0.0f : factor);
        v[key * DIM + key] = half_f32_to_f16(1.0f);
    }
    for (uint32_t row = 0; row < a.n_rows; row++) {
        check_fill_f32(c, q + row * 16, 1, CHECK_EDGE);
        q[row * 16] = -fabsf(q[row * 16]);
    }
    for (int i = 0; i < 2; i++) {
        float *state = check_buf_init(&states[i], state_floats(&a) * sizeof *state, 0);
        for (size_t j = 0; j < state_floats(&a); j++) {
            state[j] = j < a.n_rows ? -INFINITY : 0.0f;
        }
        call_case(&a, sets[i], state);
    }
    check_case(s, memcmp(states[0].p, states[1].p, states[0].n_bytes) == 0, "exp down to %a",
               (double)q[0]);
    check_buf_finish(&states[0]);
    check_buf_finish(&states[1]);
    case_finish(&a);
}

/* NaN inputs: any result, but no crash and no write elsewhere. */
static void run_nan_case(struct check *c, struct check_slot *s, const struct kern_table *set,
                         enum kern_kv type)
{
    struct attend_case a = {.type = type, .n_rows = 5, .dim_k = 80, .dim_v = 96};
    for (uint32_t row = 0; row < a.n_rows; row++) {
        a.n_keys[row] = check_random(c, 65);
    }
    case_init(c, &a, CHECK_NAN);
    check_fill_bytes(c, a.k.p, a.k.n_bytes);
    check_fill_bytes(c, a.v.p, a.v.n_bytes);
    struct check_buf state;
    check_buf_init(&state, state_floats(&a) * sizeof(float), 32);
    check_fill_f32(c, state.p, state_floats(&a), CHECK_MIXED);
    call_case(&a, set, state.p);
    check_case(s, check_buf_intact(&state), "NaN: canary overwritten");
    check_buf_finish(&state);
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
                run_case(c, s, sets, &a, fills[check_random(c, N_FILLS)]);
            }
        }
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
            for (int f = 0; f < N_FILLS; f++) {
                struct attend_case a = {
                    .type = type, .n_rows = 1, .dim_k = dims[d], .dim_v = dims[d]};
                a.n_keys[0] = keys[i];
                run_case(c, s, sets, &a, fills[f]);
            }
        }
    }
    for (int i = 0; i < 20; i++) {
        if (type == KERN_KV_F16) {
            run_exp_case(c, s, sets);
        }
        run_nan_case(c, s, sets[1], type);
    }
}

/* --- bench: `n_tiles` tiles of keys that lie one after the other, as in decode and prefill */

struct attend_bench {
    struct attend_case a;
    uint32_t n_tiles;
    char *k, *v;
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
        a.k.p = b->k + tile * KERN_ATTN_TILE * a.dim_k * kern_kv_item_bytes(a.type);
        a.v.p = b->v + tile * KERN_ATTN_TILE * a.dim_v * kern_kv_item_bytes(a.type);
        if (a.type == KERN_KV_Q8_0) {
            a.kd.p = a.vd.p = b->scales + (size_t)tile * KERN_ATTN_TILE;
        }
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
    static struct check_buf q, k, v, scales;
    fill_f16(c, check_buf_init(&k, (size_t)512 * 64 * 128 * 2, 0), 512 * 64 * 128, CHECK_NORMAL);
    fill_f16(c, check_buf_init(&v, (size_t)512 * 64 * 128 * 2, 0), 512 * 64 * 128, CHECK_NORMAL);
    fill_scales(c, check_buf_init(&scales, 512 * 64 * 4, 0), 512 * 64, CHECK_NORMAL);
    check_fill_f32(c, check_buf_init(&q, 32 * 128 * 4, 0), 32 * 128, CHECK_NORMAL);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const uint32_t *shape = shapes[i];
        b = (struct attend_bench){
            .n_tiles = shape[2], .k = k.p, .v = v.p, .scales = scales.p, .set = set};
        b.a = (struct attend_case){
            .type = type, .n_rows = shape[0], .dim_k = shape[1], .dim_v = shape[1], .q = q};
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
    check_buf_finish(&q);
    check_buf_finish(&k);
    check_buf_finish(&v);
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
