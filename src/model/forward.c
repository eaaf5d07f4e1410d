/* forward.c - the forward pass of a Llama: embed, layers of attention and feed-forward, logits.
 *
 * A phase is a pool_run. Work on tokens is divided by activation tiles; a batch of one tile (every
 * decode step) does such work on the calling thread, which costs less than waking the others. */
#include "model/forward.h"

#include "base/mem.h"
#include "model/forward_internal.h"

#include <assert.h>
#include <string.h>

enum { ALIGNMENT = 64, MAX_JOBS = 3, MAX_PARTS = 4 << 20 };
enum { CHUNKS_PER_THREAD = 6, EPILOGUE_GROUPS = 16 /* a multiple of every unit */ };
/* Floats from token to token of rows of products that an epilogue takes: one line more than they
 * are, as rows a power of two apart would share few places in a cache. */
enum { PRODUCTS_STRIDE = (EPILOGUE_GROUPS + 1) * PACK_ROWS, PRODUCTS_JOBS = 2 };
static_assert(NUMA_UNIT % EPILOGUE_GROUPS == 0, "shares begin with whole units");

/* ---- phases over activation tiles ---- */

typedef void tile_fn(struct forward *f, const void *argument, uint32_t tile, uint32_t begin,
                     uint32_t end);

struct tile_phase {
    struct forward *f;
    tile_fn *fn;
    const void *argument;
    uint32_t n_rows;
    _Atomic uint32_t next;
};

static void tile_worker(void *argument, unsigned thread)
{
    (void)thread;
    struct tile_phase *p = argument;
    uint32_t tile, end;
    while (pool_next_chunk(&p->next, kern_act_tiles(p->n_rows), 1, &tile, &end)) {
        uint32_t first = tile * KERN_TILE;
        uint32_t last = p->n_rows - first < KERN_TILE ? p->n_rows : first + KERN_TILE;
        p->fn(p->f, p->argument, tile, first, last);
    }
}

/* fn(f, argument, tile, begin, end) for every tile of n_rows tokens. */
static void for_tiles(struct forward *f, uint32_t n_rows, tile_fn *fn, const void *argument)
{
    struct tile_phase phase = {.f = f, .fn = fn, .argument = argument, .n_rows = n_rows};
    if (kern_act_tiles(n_rows) <= 1) {
        tile_worker(&phase, 0);
    } else {
        pool_run(f->pool, tile_worker, &phase);
    }
}

/* ---- matrix products ---- */

struct job {
    const struct model_matrix *m;
    float *y; /* (n_rows, m rows); NULL: an epilogue takes the products */
};

/* Rows [begin, end) of the products of a phase's matrices, in memory of the thread that has just
 * computed them and uses it again and again: it stays in a cache, as the whole products would
 * not. */
struct products {
    uint32_t begin, end;
    float *y[PRODUCTS_JOBS]; /* (n_tokens, end - begin), PRODUCTS_STRIDE apart */
};
typedef void rows_fn(struct forward *f, const void *argument, const struct products *p);

/* What a phase of matrices with equally many rows does to their products. Groups of rows come in
 * multiples of `unit` (the last ones may be fewer). */
struct epilogue {
    rows_fn *fn;
    const void *argument;
    uint32_t unit;
};

struct matmul_phase {
    struct forward *f;
    const struct epilogue *epilogue; /* NULL: none, and matrices are multiplied one by one */
    struct job jobs[MAX_JOBS];
    struct kern_act act[MAX_JOBS];
    struct pool_shares shares[MAX_JOBS]; /* with an epilogue the first stands for all */
    uint32_t n_jobs;
};

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void multiply(const struct matmul_phase *p, uint32_t job, uint32_t begin, uint32_t end)
{
    const struct pack_matrix *w = &p->jobs[job].m->packed;
    p->f->model->kern->matmul[w->type](w, begin, end, &p->act[job], p->jobs[job].y, w->rows);
}

/* Groups [begin, end) of all jobs, a few at a time, and the epilogue of each few. */
static void multiply_together(const struct matmul_phase *p, uint32_t begin, uint32_t end,
                              unsigned thread)
{
    struct forward *f = p->f;
    for (uint32_t last; begin < end; begin = last) {
        last = least(end, begin + EPILOGUE_GROUPS);
        struct products products = {.begin = begin * PACK_ROWS};
        for (uint32_t i = 0; i < p->n_jobs; i++) {
            struct pack_matrix part = pack_matrix_part(&p->jobs[i].m->packed, begin, last);
            size_t index = thread * PRODUCTS_JOBS + i;
            products.y[i] = f->products + index * f->limits.max_tokens * PRODUCTS_STRIDE;
            products.end = products.begin + part.rows;
            f->model->kern->matmul[part.type](&part, 0, part.n_groups, &p->act[i], products.y[i],
                                              PRODUCTS_STRIDE);
        }
        p->epilogue->fn(f, p->epilogue->argument, &products);
    }
}

/* A thread multiplies the rows of its own share first, of every matrix, and then helps others: rows
 * that follow one another, as kernels fetch ahead, and lie on its node. */
static void matmul_worker(void *argument, unsigned thread)
{
    struct matmul_phase *p = argument;
    unsigned n_shares = pool_n_shares(p->f->pool), own = pool_share_of(p->f->pool, thread);
    uint32_t n_turns = p->epilogue != NULL ? 1 : p->n_jobs;
    for (unsigned i = 0; i < n_shares; i++) {
        unsigned share = (own + i) % n_shares;
        for (uint32_t job = 0; job < n_turns; job++) {
            uint32_t begin, end;
            while (pool_next_of_share(&p->shares[job], share, &begin, &end)) {
                if (p->epilogue != NULL) {
                    multiply_together(p, begin, end, thread);
                } else {
                    multiply(p, job, begin, end);
                }
            }
        }
    }
}

/* y = W a for up to three matrices that multiply the same activations (n_rows, cols), which lie in
 * act[form]; or the epilogue of the products of up to two. */
static void matmul(struct forward *f, uint32_t n_rows, void *const *act, const struct job *jobs,
                   uint32_t n_jobs, const struct epilogue *epilogue)
{
    assert(n_jobs <= (epilogue != NULL ? PRODUCTS_JOBS : MAX_JOBS));
    struct matmul_phase p = {.f = f, .epilogue = epilogue, .n_jobs = n_jobs};
    uint32_t n_groups = 0;
    for (uint32_t i = 0; i < n_jobs; i++) {
        n_groups += jobs[i].m->packed.n_groups;
    }
    /* with an epilogue, the jobs' groups of a chunk go together: fewer chunks, of more work */
    uint32_t unit = epilogue != NULL ? epilogue->unit : 1;
    n_groups = epilogue != NULL ? n_groups / n_jobs : n_groups;
    uint32_t n_units = n_groups / (pool_n_threads(f->pool) * CHUNKS_PER_THREAD * unit);
    uint32_t chunk = (n_units > 0 ? n_units : 1) * unit;
    for (uint32_t i = 0; i < n_jobs; i++) {
        const struct pack_matrix *w = &jobs[i].m->packed;
        enum pack_act form = f->model->kern->act[w->type];
        p.jobs[i] = jobs[i];
        kern_act_init(&p.act[i], form, n_rows, w->cols, act[form]);
        p.shares[i] = (struct pool_shares){
            .n_shares = pool_n_shares(f->pool), .n = w->n_groups, .chunk = chunk};
    }
    pool_run(f->pool, matmul_worker, &p);
}

/* Stores tile `tile` of x (n_rows, cols) in every form that one of the matrices reads. */
static void store_act(struct forward *f, const float *x, uint32_t n_rows, uint32_t cols,
                      unsigned forms, uint32_t tile)
{
    for (enum pack_act form = 0; form < PACK_ACT_COUNT; form++) {
        if (forms & 1u << form) {
            struct kern_act a;
            kern_act_init(&a, form, n_rows, cols, f->act[form]);
            f->model->kern->store_act[form](&a, x, cols, tile, tile + 1);
        }
    }
}

static unsigned form_of(const struct forward *f, const struct model_matrix *m)
{
    return 1u << f->model->kern->act[m->packed.type];
}

/* ---- the parts of a layer that work token by token ---- */

static void embed_tile(struct forward *f, const void *argument, uint32_t tile, uint32_t begin,
                       uint32_t end)
{
    (void)argument;
    (void)tile;
    const struct model *m = f->model;
    for (uint32_t t = begin; t < end; t++) {
        model_weights_embed(&m->weights, &m->config, f->token[t],
                            f->x + (size_t)t * m->config.n_embd);
        rope_angles(&m->rope, f->position[t], f->angles + (size_t)t * m->config.n_rot);
    }
}

/* Norm, and the quantised input of the matrices that follow. */
struct norm {
    const float *weight;
    unsigned forms;
};

static void norm_tile(struct forward *f, const void *argument, uint32_t tile, uint32_t begin,
                      uint32_t end)
{
    const struct norm *norm = argument;
    const struct model_config *c = &f->model->config;
    for (uint32_t t = begin; t < end; t++) {
        size_t at = (size_t)t * c->n_embd;
        f->model->kern->rmsnorm(f->normed + at, f->x + at, norm->weight, c->n_embd, c->rms_eps);
    }
    store_act(f, f->normed, f->n_tokens, c->n_embd, norm->forms, tile);
}

struct rotate {
    const struct model_layer *layer;
    uint32_t index;
};

static void rotate_tile(struct forward *f, const void *argument, uint32_t tile, uint32_t begin,
                        uint32_t end)
{
    (void)tile;
    const struct rotate *r = argument;
    const struct model_config *c = &f->model->config;
    const struct kern_table *kern = f->model->kern;
    uint32_t q_dim = c->n_heads * c->dim_k, k_dim = c->n_kv_heads * c->dim_k;
    uint32_t v_dim = c->n_kv_heads * c->dim_v;
    for (uint32_t t = begin; t < end; t++) {
        float *q = f->q + (size_t)t * q_dim, *k = f->k + (size_t)t * k_dim;
        const float *angles = f->angles + (size_t)t * c->n_rot;
        if (r->layer->q.bias != NULL) {
            kern->add(q, r->layer->q.bias, q_dim);
        }
        if (r->layer->k.bias != NULL) {
            kern->add(k, r->layer->k.bias, k_dim);
        }
        if (r->layer->v.bias != NULL) {
            kern->add(f->v + (size_t)t * v_dim, r->layer->v.bias, v_dim);
        }
        kern->rope(q, c->n_heads, c->dim_k, c->n_rot, angles);
        kern->rope(k, c->n_kv_heads, c->dim_k, c->n_rot, angles);
    }
    attention_store(f, r->index, begin, end);
}

static void attended_tile(struct forward *f, const void *argument, uint32_t tile, uint32_t begin,
                          uint32_t end)
{
    (void)begin;
    (void)end;
    const struct model_matrix *o = argument;
    store_act(f, f->attended, f->n_tokens, o->packed.cols, form_of(f, o), tile);
}

/* Last norm of the rows that are wanted, and quantised input for those whose logits are. */
static void rows_tile(struct forward *f, const void *argument, uint32_t tile, uint32_t begin,
                      uint32_t end)
{
    (void)argument;
    const struct model *m = f->model;
    uint32_t n = m->config.n_embd;
    for (uint32_t row = begin; row < end; row++) {
        size_t at = (size_t)f->row_token[row] * n;
        m->kern->rmsnorm(f->normed + (size_t)row * n, f->x + at, m->weights.output_norm, n,
                         m->config.rms_eps);
    }
    if (begin < f->n_logits) {
        store_act(f, f->normed, f->n_logits, n, form_of(f, &m->weights.output), tile);
    }
}

/* ---- epilogues: what is done to rows of a product where they were computed ---- */

/* Adds the products, and the bias of the matrix they come from, to the residual stream. */
static void add_residual(struct forward *f, const void *argument, const struct products *p)
{
    const struct model_matrix *added = argument;
    const struct kern_table *kern = f->model->kern;
    uint32_t n_embd = f->model->config.n_embd, n = p->end - p->begin;
    for (uint32_t t = 0; t < f->n_tokens; t++) {
        float *x = f->x + (size_t)t * n_embd + p->begin;
        kern->add(x, p->y[0] + (size_t)t * PRODUCTS_STRIDE, n);
        if (added->bias != NULL) {
            kern->add(x, added->bias + p->begin, n);
        }
    }
}

/* gate = silu(gate) * up, and its quantised form. */
static void gate_silu(struct forward *f, const void *argument, const struct products *p)
{
    const struct model_layer *l = argument;
    const struct kern_table *kern = f->model->kern;
    uint32_t n = p->end - p->begin;
    for (uint32_t t = 0; t < f->n_tokens; t++) {
        float *gate = p->y[0] + (size_t)t * PRODUCTS_STRIDE;
        float *up = p->y[1] + (size_t)t * PRODUCTS_STRIDE;
        if (l->gate.bias != NULL) {
            kern->add(gate, l->gate.bias + p->begin, n);
        }
        if (l->up.bias != NULL) {
            kern->add(up, l->up.bias + p->begin, n);
        }
        kern->silu_mul(gate, gate, up, n);
    }
    enum pack_act form = kern->act[l->down.packed.type];
    struct kern_act act;
    kern_act_init(&act, form, f->n_tokens, f->model->config.n_ff, f->act_ff[form]);
    for (uint32_t tile = 0; tile < kern_act_tiles(f->n_tokens); tile++) {
        struct kern_act part = kern_act_part(&act, tile, p->begin, p->end);
        const float *gate = p->y[0] + (size_t)tile * KERN_TILE * PRODUCTS_STRIDE;
        kern->store_act[form](&part, gate, PRODUCTS_STRIDE, 0, 1);
    }
}

/* Groups of rows of a product that become whole blocks of the input of m. */
static uint32_t groups_of_block(const struct model_matrix *m)
{
    uint32_t items = quant_type_info(m->packed.type)->block_items;
    return items > PACK_ROWS ? items / PACK_ROWS : 1;
}

/* ---- the forward pass ---- */

/* False when f->goes_on said no. */
static bool run_layers(struct forward *f)
{
    const struct model *m = f->model;
    uint32_t n = f->n_tokens;
    for_tiles(f, n, embed_tile, NULL);
    for (uint32_t i = 0; i < m->config.n_layers; i++) {
        const struct model_layer *l = &m->weights.layers[i];
        if (!forward_begin_layer(f)) {
            return false;
        }
        struct norm attn_norm = {l->attn_norm,
                                 form_of(f, &l->q) | form_of(f, &l->k) | form_of(f, &l->v)};
        for_tiles(f, n, norm_tile, &attn_norm);
        matmul(f, n, f->act, (struct job[]){{&l->q, f->q}, {&l->k, f->k}, {&l->v, f->v}}, 3, NULL);
        for_tiles(f, n, rotate_tile, &(struct rotate){l, i});
        attention_run(f, i);
        for_tiles(f, n, attended_tile, &l->o);
        matmul(f, n, f->act, (struct job[]){{&l->o, NULL}}, 1,
               &(struct epilogue){add_residual, &l->o, 1});

        struct norm ffn_norm = {l->ffn_norm, form_of(f, &l->gate) | form_of(f, &l->up)};
        for_tiles(f, n, norm_tile, &ffn_norm);
        matmul(f, n, f->act, (struct job[]){{&l->gate, NULL}, {&l->up, NULL}}, 2,
               &(struct epilogue){gate_silu, l, groups_of_block(&l->down)});
        matmul(f, n, f->act_ff, (struct job[]){{&l->down, NULL}}, 1,
               &(struct epilogue){add_residual, &l->down, 1});
    }
    return true;
}

static void run_rows(struct forward *f)
{
    const struct model *m = f->model;
    for_tiles(f, f->n_logits + f->n_hidden, rows_tile, NULL);
    if (f->n_logits == 0) {
        return;
    }
    matmul(f, f->n_logits, f->act, (struct job[]){{&m->weights.output, f->logits}}, 1, NULL);
    for (uint32_t row = 0; m->weights.output.bias != NULL && row < f->n_logits; row++) {
        m->kern->add(f->logits + (size_t)row * m->config.n_vocab, m->weights.output.bias,
                     m->config.n_vocab);
    }
}

static bool reserve_pages(struct forward *f, struct error *e)
{
    for (uint32_t i = 0; i < f->n_items; i++) {
        if (!kv_seq_reserve(f->items[i].seq, f->kv, f->items[i].n_tokens, e)) {
            for (uint32_t k = 0; k < i; k++) {
                kv_seq_truncate(f->items[k].seq, f->kv, f->items[k].seq->n_tokens);
            }
            return false;
        }
    }
    return true;
}

/* Rows of logits come first, so that their quantised input is theirs alone. */
static void list_rows(struct forward *f)
{
    uint32_t *out = f->row_token, end = 0;
    for (uint32_t i = 0; i < f->n_items; i++) {
        end += f->items[i].n_tokens;
        for (uint32_t t = end - f->items[i].n_logits; t < end; t++) {
            *out++ = t;
        }
    }
    f->n_logits = (uint32_t)(out - f->row_token);
    end = 0;
    for (uint32_t i = 0; i < f->n_items; i++) {
        end += f->items[i].n_tokens;
        for (uint32_t t = end - f->items[i].n_hidden; t < end; t++) {
            *out++ = t;
        }
    }
    f->n_hidden = (uint32_t)(out - f->row_token) - f->n_logits;
}

/* Flattens the items into the per-token arrays. */
static bool plan(struct forward *f, const struct forward_item *items, uint32_t n_items,
                 struct error *e)
{
    f->items = items;
    f->n_items = n_items;
    f->n_tokens = 0;
    for (uint32_t i = 0, n_logits = 0; i < n_items; i++) {
        uint32_t n = items[i].n_tokens;
        if (n > f->limits.max_tokens - f->n_tokens ||
            items[i].n_logits > f->limits.max_logits - n_logits || items[i].n_logits > n ||
            items[i].n_hidden > n - items[i].n_logits) {
            return error_set(e, ERROR_INTERNAL, "a batch of more than %u tokens or %u logit rows",
                             f->limits.max_tokens, f->limits.max_logits);
        }
        for (uint32_t k = 0; k < n; k++) {
            uint32_t t = f->n_tokens++;
            if (items[i].tokens[k] >= f->model->config.n_vocab) {
                return error_set(e, ERROR_USAGE, "token id %u is outside the vocabulary of %u",
                                 items[i].tokens[k], f->model->config.n_vocab);
            }
            f->token[t] = items[i].tokens[k];
            f->item_of[t] = i;
            f->position[t] = items[i].seq->n_tokens + k;
        }
        n_logits += items[i].n_logits;
    }
    list_rows(f);
    return reserve_pages(f, e);
}

bool forward_batch(struct forward *f, const struct forward_item *items, uint32_t n_items,
                   struct error *e)
{
    if (!plan(f, items, n_items, e)) {
        return false;
    }
    if (!(f->model->exact ? exact_batch(f) : run_layers(f))) {
        return error_set(e, ERROR_INTERRUPTED, "the computation was stopped");
    }
    if (!f->model->exact) {
        run_rows(f);
    }
    for (uint32_t i = 0; i < n_items; i++) {
        items[i].seq->n_tokens += items[i].n_tokens;
    }
    return true;
}

/* ---- buffers ---- */

/* Hands out 64-byte aligned parts of one block; with base == NULL it only adds up. */
struct carver {
    uint8_t *base;
    size_t used;
};

static void *carve(struct carver *c, size_t n, size_t size)
{
    void *p = c->base != NULL ? c->base + c->used : NULL;
    c->used += (n * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return p;
}

/* Floats that a few tokens of every sequence need for all spans of their keys, within reason. */
static size_t most_parts(const struct forward *f)
{
    const struct model_config *k = &f->model->config;
    size_t n_spans =
        (size_t)f->kv->n_pages * KERN_ATTN_TILE / KERN_ATTN_SPAN + f->limits.max_logits;
    size_t n_tokens = f->limits.max_logits < 8 ? f->limits.max_logits : 8;
    size_t n = n_spans * k->n_heads * (2 + k->dim_v) * n_tokens;
    return n < MAX_PARTS ? n : MAX_PARTS;
}

/* Rounded up so that any narrower matrix fits, whatever its form needs beside the quants. */
static size_t act_bytes(const struct forward *f, enum pack_act form, uint32_t cols)
{
    bool is_read = false;
    for (int type = 0; type < QUANT_TYPE_COUNT; type++) {
        is_read = is_read || f->model->kern->act[type] == form;
    }
    return is_read ? kern_act_bytes(form, f->limits.max_tokens, (cols + 255) / 256 * 256) : 0;
}

static void carve_all(struct forward *f, struct carver *c)
{
    const struct model_config *k = &f->model->config;
    size_t n = f->limits.max_tokens;
    f->item_of = carve(c, n, sizeof *f->item_of);
    f->position = carve(c, n, sizeof *f->position);
    f->token = carve(c, n, sizeof *f->token);
    f->row_token = carve(c, n, sizeof *f->row_token);
    f->x = carve(c, n * k->n_embd, sizeof(float));
    f->normed = carve(c, n * k->n_embd, sizeof(float));
    f->q = carve(c, n * k->n_heads * k->dim_k, sizeof(float));
    f->k = carve(c, n * k->n_kv_heads * k->dim_k, sizeof(float));
    f->v = carve(c, n * k->n_kv_heads * k->dim_v, sizeof(float));
    f->attended = carve(c, n * k->n_heads * k->dim_v, sizeof(float));
    f->angles = carve(c, n * k->n_rot, sizeof(float));
    f->logits = carve(c, (size_t)f->limits.max_logits * k->n_vocab, sizeof(float));
    f->scratch = carve(c, pool_n_threads(f->pool), sizeof *f->scratch);
    f->products =
        carve(c, pool_n_threads(f->pool) * PRODUCTS_JOBS * n, PRODUCTS_STRIDE * sizeof(float));
    f->n_parts = most_parts(f);
    f->parts = carve(c, f->n_parts, sizeof *f->parts);
    uint32_t o_cols = k->n_heads * k->dim_v;
    uint32_t widest = k->n_embd > o_cols ? k->n_embd : o_cols;
    for (enum pack_act form = 0; form < PACK_ACT_COUNT; form++) {
        f->act[form] = carve(c, 1, act_bytes(f, form, widest));
        f->act_ff[form] = carve(c, 1, act_bytes(f, form, k->n_ff));
    }
}

bool forward_init(struct forward *f, const struct model *m, struct kv_pool *kv, struct pool *pool,
                  struct forward_limits limits, struct error *e)
{
    limits.max_tokens = limits.max_tokens > 0 ? limits.max_tokens : 1;
    limits.max_logits = limits.max_logits > 0 ? limits.max_logits : 1;
    limits.max_logits =
        limits.max_logits < limits.max_tokens ? limits.max_logits : limits.max_tokens;
    *f = (struct forward){.model = m, .kv = kv, .pool = pool, .limits = limits};
    struct carver c = {0};
    carve_all(f, &c);
    f->memory_bytes = c.used;
    f->memory = mem_alloc_pages(c.used, "buffers of the forward pass", e);
    if (f->memory == NULL) {
        return false;
    }
    c = (struct carver){.base = f->memory};
    carve_all(f, &c);
    if (m->exact && !exact_cache_init(f, e)) {
        forward_finish(f);
        return false;
    }
    return true;
}

void forward_finish(struct forward *f)
{
    exact_cache_finish(f);
    mem_free_pages(f->memory, f->memory_bytes);
    *f = (struct forward){0};
}
