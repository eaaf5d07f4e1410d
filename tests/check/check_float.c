/* check_float.c - the slots without weights: storing activations, rmsnorm, rope, silu, add, to_q8,
 * to_q16, to_f16.
 * Inputs end at an untouchable page (tail 0) or lie at an odd place; outputs lie in canaries. */
#include "base/half.h"
#include "check.h"

#include <stdio.h>
#include <string.h>

static const uint32_t sizes[] = {0,  1,  7,  8,  15,  16,  17,  31,  32,  33,   63,
                                 64, 65, 80, 96, 255, 256, 257, 576, 999, 1536, 4096};
enum { N_SIZES = sizeof sizes / sizeof sizes[0] };

static size_t random_tail(struct check *c)
{
    return check_random(c, 2) ? 0 : 4 + 4 * check_random(c, 15);
}

static void *input_f32(struct check *c, struct check_buf *b, size_t n, enum check_fill fill)
{
    float *x = check_buf_init(b, n * sizeof *x, random_tail(c));
    check_fill_f32(c, x, n, fill);
    return x;
}

/* --- slots of the form y(n) = f(y, x(n), w(n)) */

struct vectors {
    float *y, *x, *w;
    uint32_t n;
    const struct kern_table *set;
};
typedef void vector_call_fn(void *vectors);

static void call_rmsnorm(void *argument)
{
    struct vectors *v = argument;
    v->set->rmsnorm(v->y, v->x, v->w, v->n, 1e-5f);
}

static void call_silu_mul(void *argument)
{
    struct vectors *v = argument;
    v->set->silu_mul(v->y, v->x, v->w, v->n);
}

static void call_add(void *argument)
{
    struct vectors *v = argument;
    v->set->add(v->y, v->x, v->n);
}

/* One size and fill; `in_place` makes y the first input. */
static void vector_case(struct check *c, struct check_slot *s, vector_call_fn *call,
                        struct vectors v, const struct kern_table *sets[2], enum check_fill fill,
                        bool in_place)
{
    struct check_buf x, w, y, inputs[2];
    input_f32(c, &x, v.n, fill);
    input_f32(c, &w, v.n, check_random(c, 2) ? fill : CHECK_NORMAL);
    float *want = input_f32(c, &y, v.n, fill);
    float *got = check_buf_init(&inputs[0], v.n * sizeof *got, random_tail(c));
    const void *start = in_place ? x.p : want;
    memcpy(got, start, v.n * sizeof *got);
    memmove(want, start, v.n * sizeof *want);
    v.w = w.p;
    v.y = want;
    v.x = in_place ? want : x.p;
    v.set = sets[0];
    call(&v);
    v.y = got;
    v.x = in_place ? got : x.p;
    v.set = sets[1];
    call(&v);
    bool intact = check_buf_intact(&inputs[0]) && check_buf_intact(&x) && check_buf_intact(&w);
    check_case(s, intact && check_same_f32(want, got, v.n), "n %u fill %d%s%s", v.n, (int)fill,
               in_place ? " in place" : "", intact ? "" : ": canary overwritten");
    check_buf_finish(&x);
    check_buf_finish(&w);
    check_buf_finish(&y);
    check_buf_finish(&inputs[0]);
}

static void bench_vectors(const char *slot, vector_call_fn *call, const struct kern_table *set,
                          uint32_t n_arrays)
{
    static const uint32_t bench_sizes[] = {576, 1536, 4096, 14336};
    for (size_t i = 0; i < sizeof bench_sizes / sizeof bench_sizes[0]; i++) {
        static _Alignas(64) float y[14336], x[14336], w[14336];
        struct vectors v = {y, x, w, bench_sizes[i], set};
        for (uint32_t k = 0; k < v.n; k++) {
            x[k] = (float)(k % 17) - 8.0f;
            y[k] = 0.0f;
            w[k] = 1.0f;
        }
        char what[64];
        snprintf(what, sizeof what, "%s n %u", slot, v.n);
        check_bench(what, set, call, &v, (double)n_arrays * 4.0 * v.n, 0.0);
    }
}

/* n_arrays: how many arrays of n floats a call reads or writes */
static void check_vectors(struct check *c, const char *slot, vector_call_fn *call,
                          const struct kern_table *sets[2], uint32_t n_arrays)
{
    struct check_slot s;
    if (check_begin(c, &s, slot, sets[1])) {
        for (int i = 0; i < N_SIZES; i++) {
            for (int fill = 0; fill < CHECK_FILL_COUNT; fill++) {
                struct vectors v = {.n = sizes[i]};
                vector_case(c, &s, call, v, sets, (enum check_fill)fill, false);
                vector_case(c, &s, call, v, sets, (enum check_fill)fill, true);
            }
        }
        check_end(c, &s);
    }
    if (check_wants_bench(c, slot)) {
        bench_vectors(slot, call, sets[1], n_arrays);
    }
}

/* --- rope */

struct rope_call {
    float *x;
    const float *cos_sin;
    uint32_t n_heads, head_dim, n_rot;
    const struct kern_table *set;
};

static void call_rope(void *argument)
{
    struct rope_call *r = argument;
    r->set->rope(r->x, r->n_heads, r->head_dim, r->n_rot, r->cos_sin);
}

static void rope_case(struct check *c, struct check_slot *s, const struct kern_table *sets[2],
                      struct rope_call r, enum check_fill fill)
{
    struct check_buf a, b, table;
    size_t n = (size_t)r.n_heads * r.head_dim;
    float *want = input_f32(c, &a, n, fill);
    float *got = check_buf_init(&b, n * sizeof *got, random_tail(c));
    memcpy(got, want, n * sizeof *got);
    r.cos_sin = input_f32(c, &table, r.n_rot, check_random(c, 2) ? fill : CHECK_NORMAL);
    r.x = want;
    r.set = sets[0];
    call_rope(&r);
    r.x = got;
    r.set = sets[1];
    call_rope(&r);
    check_case(s, check_buf_intact(&b) && check_same_f32(want, got, n),
               "heads %u dim %u rot %u fill %d", r.n_heads, r.head_dim, r.n_rot, (int)fill);
    check_buf_finish(&a);
    check_buf_finish(&b);
    check_buf_finish(&table);
}

static void check_rope(struct check *c, const struct kern_table *sets[2])
{
    static const struct rope_call shapes[] = {
        {.n_heads = 0, .head_dim = 64, .n_rot = 64},
        {.n_heads = 1, .head_dim = 2, .n_rot = 2},
        {.n_heads = 3, .head_dim = 6, .n_rot = 6},
        {.n_heads = 9, .head_dim = 64, .n_rot = 64},
        {.n_heads = 2, .head_dim = 80, .n_rot = 80},
        {.n_heads = 5, .head_dim = 96, .n_rot = 96},
        {.n_heads = 4, .head_dim = 128, .n_rot = 64},
        {.n_heads = 32, .head_dim = 128, .n_rot = 128},
        {.n_heads = 2, .head_dim = 64, .n_rot = 0},
        {.n_heads = 3, .head_dim = 64, .n_rot = 22},
        {.n_heads = 3, .head_dim = 50, .n_rot = 38},
    };
    struct check_slot s;
    if (check_begin(c, &s, "rope", sets[1])) {
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            for (int fill = 0; fill < CHECK_FILL_COUNT; fill++) {
                rope_case(c, &s, sets, shapes[i], (enum check_fill)fill);
                rope_case(c, &s, sets, shapes[i], (enum check_fill)fill);
            }
        }
        check_end(c, &s);
    }
    if (check_wants_bench(c, "rope")) {
        static _Alignas(64) float x[32 * 128], table[128];
        struct rope_call small = {x, table, 9, 64, 64, sets[1]};
        struct rope_call large = {x, table, 32, 128, 128, sets[1]};
        check_bench("rope 9 x 64", sets[1], call_rope, &small, 8.0 * 9 * 64, 0.0);
        check_bench("rope 32 x 128", sets[1], call_rope, &large, 8.0 * 32 * 128, 0.0);
    }
}

/* --- to_q8, to_q16, to_f16 */

/* Quants of at most `max`; to_q8 when that is 127, to_f16 when it is 0. */
struct quantise_call {
    void *q;
    const float *x;
    uint32_t n, max;
    const struct kern_table *set;
};

static float quantise(const struct quantise_call *q)
{
    if (q->max == 0) {
        q->set->to_f16(q->q, q->x, q->n);
        return 0.0f;
    }
    return q->max == INT8_MAX ? q->set->to_q8(q->q, q->x, q->n)
                              : q->set->to_q16(q->q, q->x, q->n, q->max);
}

static void call_quantise(void *argument)
{
    quantise(argument);
}

/* Any floats there are, half of them halves or just between two. */
static void any_bits(struct check *c, float *x, uint32_t n)
{
    check_fill_bytes(c, x, n * sizeof *x);
    for (uint32_t i = 0; i < n; i += 2) {
        x[i] = half_from_bits(half_to_bits(x[i]) & 0xFFFFF000);
    }
}

/* Halves, which are stored, have the same NaN in every bit. */
static void quantise_case(struct check *c, struct check_slot *s, const struct kern_table *sets[2],
                          struct quantise_call call, enum check_fill fill)
{
    struct check_buf x, q[2];
    float d[2];
    size_t item_bytes = call.max == INT8_MAX ? 1 : 2, n_bytes = call.n * item_bytes;
    float *input = input_f32(c, &x, call.n, fill);
    if (call.max == 0 && check_random(c, 2)) {
        any_bits(c, input, call.n);
    }
    call.x = input;
    for (int i = 0; i < 2; i++) {
        call.q = check_buf_init(&q[i], n_bytes, item_bytes * check_random(c, 20));
        call.set = sets[i];
        d[i] = quantise(&call);
    }
    check_case(s,
               check_buf_intact(&q[1]) && memcmp(q[0].p, q[1].p, n_bytes) == 0 &&
                   check_same_f32(&d[0], &d[1], 1),
               "n %u max %u fill %d", call.n, call.max, (int)fill);
    check_buf_finish(&x);
    check_buf_finish(&q[0]);
    check_buf_finish(&q[1]);
}

static void check_quantise(struct check *c, const struct kern_table *sets[2], const char *slot,
                           const uint32_t max[2])
{
    struct check_slot s;
    if (check_begin(c, &s, slot, sets[1])) {
        for (uint32_t n = 0; n <= 256; n += 16) {
            for (int fill = 0; fill < CHECK_FILL_COUNT; fill++) {
                for (int i = 0; i < 2; i++) {
                    struct quantise_call call = {.n = n, .max = max[i]};
                    quantise_case(c, &s, sets, call, (enum check_fill)fill);
                }
            }
        }
        check_end(c, &s);
    }
    if (check_wants_bench(c, slot)) {
        static _Alignas(64) float x[128];
        static _Alignas(64) int16_t q[128];
        for (int i = 0; i < 128; i++) {
            x[i] = (float)(i % 97) * 0.01f - 0.4f;
        }
        struct quantise_call call = {q, x, 128, max[0], sets[1]};
        char what[32];
        snprintf(what, sizeof what, "%s n 128", slot);
        check_bench(what, sets[1], call_quantise, &call, (max[0] == INT8_MAX ? 5.0 : 6.0) * 128,
                    0.0);
    }
}

/* --- store_act */

struct store_call {
    struct kern_act a;
    const float *x;
    size_t x_stride;
    const struct kern_table *set;
};

static void call_store(void *argument)
{
    struct store_call *s = argument;
    s->set->store_act[s->a.form](&s->a, s->x, s->x_stride, 0, kern_act_tiles(s->a.n_tokens));
}

static bool same_rows(const struct kern_act_row *a, const struct kern_act_row *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(a[i].q, b[i].q, sizeof a->q) != 0 || !check_same_f32(&a[i].d, &b[i].d, 1) ||
            memcmp(a[i].n16, b[i].n16, sizeof a->n16) != 0 ||
            memcmp(a[i].n32, b[i].n32, sizeof a->n32) != 0) {
            return false;
        }
    }
    return true;
}

/* The arrays agree; integers bit for bit, floats with NaN equal to NaN. */
static bool same_act(const struct kern_act *a, const struct kern_act *b)
{
    size_t n = (size_t)a->n_tokens * a->cols;
    if (n == 0) {
        return true; /* the arrays are NULL */
    }
    if (a->form == PACK_ACT_F32) {
        return check_same_f32(a->f, b->f, n);
    }
    if (a->form == PACK_ACT_BF16) {
        return memcmp(a->b, b->b, n * sizeof *a->b) == 0;
    }
    if (memcmp(a->q, b->q, n) != 0) {
        return false;
    }
    if (a->form == PACK_ACT_Q32) {
        return check_same_f32(a->d, b->d, n / 32) && check_same_f32(a->s, b->s, n / 32) &&
               memcmp(a->n, b->n, n / 32 * sizeof *a->n) == 0;
    }
    return check_same_f32(a->d, b->d, n / 256) &&
           memcmp(a->n16, b->n16, n / 16 * sizeof *a->n16) == 0 &&
           memcmp(a->n32, b->n32, n / 32 * sizeof *a->n32) == 0 &&
           memcmp(a->most16, b->most16, n / 256 * sizeof *a->most16) == 0 &&
           (a->form != PACK_ACT_Q256_ROWS || same_rows(a->rows, b->rows, n / 256));
}

static void store_case(struct check *c, struct check_slot *s, const struct kern_table *sets[2],
                       const struct kern_act *shape, enum check_fill fill)
{
    size_t n_bytes = kern_act_bytes(shape->form, shape->n_tokens, shape->cols);
    size_t stride = shape->cols + check_random(c, 3);
    struct check_buf x, buffers[2];
    size_t n_x = shape->n_tokens == 0 ? 0 : (shape->n_tokens - 1) * stride + shape->cols;
    struct store_call calls[2];
    input_f32(c, &x, n_x, fill);
    for (int i = 0; i < 2; i++) {
        calls[i].set = sets[i];
        kern_act_init(&calls[i].a, shape->form, shape->n_tokens, shape->cols,
                      check_buf_init(&buffers[i], n_bytes, 64 * check_random(c, 2)));
    }
    uint32_t n_tiles = kern_act_tiles(shape->n_tokens);
    sets[0]->store_act[shape->form](&calls[0].a, x.p, stride, 0, n_tiles);
    uint32_t first = n_tiles ? check_random(c, n_tiles) : 0;
    sets[1]->store_act[shape->form](&calls[1].a, x.p, stride, first, n_tiles);
    sets[1]->store_act[shape->form](&calls[1].a, x.p, stride, 0, first);
    bool intact = check_buf_intact(&buffers[0]) && check_buf_intact(&buffers[1]);
    /* what lies between the arrays is canary in both */
    check_case(s, intact && same_act(&calls[0].a, &calls[1].a), "tokens %u cols %u fill %d%s",
               shape->n_tokens, shape->cols, (int)fill, intact ? "" : ": canary overwritten");
    check_buf_finish(&x);
    check_buf_finish(&buffers[0]);
    check_buf_finish(&buffers[1]);
}

static void bench_store(const char *slot, enum pack_act form, const struct kern_table *set)
{
    static _Alignas(64) float x[12 * 4096];
    static _Alignas(64) char memory[12 * 4096 * 5]; /* of F32, the largest, with room */
    static const uint32_t shapes[][2] = {{1, 576}, {1, 1536}, {1, 4096}, {12, 1536}, {12, 4096}};
    for (size_t i = 0; i < 12 * 4096; i++) {
        x[i] = (float)(i % 97) * 0.01f - 0.4f;
    }
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        bool is_super = form == PACK_ACT_Q256 || form == PACK_ACT_Q256_ROWS;
        uint32_t cols = is_super ? (shapes[i][1] + 255) / 256 * 256 : shapes[i][1];
        struct store_call call = {.x = x, .x_stride = cols, .set = set};
        kern_act_init(&call.a, form, shapes[i][0], cols, memory);
        char what[64];
        snprintf(what, sizeof what, "%s %u x %u", slot, shapes[i][0], cols);
        double n_bytes =
            4.0 * shapes[i][0] * cols + (double)kern_act_bytes(form, shapes[i][0], cols);
        check_bench(what, set, call_store, &call, n_bytes, 0.0);
    }
}

static void check_store(struct check *c, const char *slot, enum pack_act form,
                        const struct kern_table *sets[2])
{
    static const uint32_t tokens[] = {0, 1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 24, 29};
    static const uint32_t blocks[] = {1, 2, 3, 6, 18, 48};
    struct check_slot s;
    bool is_own = sets[1]->store_act[form] != sets[0]->store_act[form];
    if (is_own && check_begin(c, &s, slot, sets[1])) {
        static const uint32_t blocks_of[PACK_ACT_COUNT] = {[PACK_ACT_F32] = 1,
                                                           [PACK_ACT_Q32] = 32,
                                                           [PACK_ACT_Q256] = 256,
                                                           [PACK_ACT_BF16] = 2,
                                                           [PACK_ACT_Q256_ROWS] = 256};
        uint32_t block = blocks_of[form];
        for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
            for (size_t b = 0; b < sizeof blocks / sizeof blocks[0]; b++) {
                uint32_t cols = blocks[b] * block + (block <= 2) * block * check_random(c, 70);
                struct kern_act shape = {.form = form, .n_tokens = tokens[i], .cols = cols};
                for (int fill = 0; fill < CHECK_FILL_COUNT; fill++) {
                    store_case(c, &s, sets, &shape, (enum check_fill)fill);
                }
            }
        }
        check_end(c, &s);
    }
    if (check_wants_bench(c, slot)) {
        bench_store(slot, form, sets[1]);
    }
}

void check_float(struct check *c, const struct kern_table *ref, const struct kern_table *set)
{
    const struct kern_table *sets[2] = {ref, set};
    check_store(c, "store_act F32", PACK_ACT_F32, sets);
    check_store(c, "store_act Q32", PACK_ACT_Q32, sets);
    check_store(c, "store_act Q256", PACK_ACT_Q256, sets);
    check_store(c, "store_act BF16", PACK_ACT_BF16, sets);
    check_store(c, "store_act Q256_ROWS", PACK_ACT_Q256_ROWS, sets);
    check_vectors(c, "rmsnorm", call_rmsnorm, sets, 3);
    check_vectors(c, "silu_mul", call_silu_mul, sets, 3);
    check_vectors(c, "add", call_add, sets, 3);
    check_rope(c, sets);
    check_quantise(c, sets, "to_q8", (const uint32_t[]){INT8_MAX, INT8_MAX});
    check_quantise(c, sets, "to_q16", (const uint32_t[]){INT16_MAX, 4095});
    check_quantise(c, sets, "to_f16", (const uint32_t[]){0, 0});
}
