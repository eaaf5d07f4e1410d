/* attention.c - attention over the paged KV cache.
 *
 * A row is a (token, query head); rows that share a KV head read its tiles together. A task is up
 * to KERN_ATTN_ROWS rows of one KV head of one sequence. Keys are walked tile by tile from position
 * 0; every KERN_ATTN_SPAN keys the partial result is merged into the total, in order, so that the
 * bits depend on positions alone. Where tasks are fewer than threads (a decode of few sequences on
 * many cores), threads share the spans of a task, and merge them in the same order afterwards. */
#include "model/forward_internal.h"

#include <math.h>
#include <string.h>

static struct kern_kv_tile tile_of(const struct forward *f, const struct kv_seq *s,
                                   uint32_t position, uint32_t layer, uint32_t head)
{
    return kv_tile(f->kv, s->pages[position / KERN_ATTN_TILE], layer, head);
}

static void store_q16(const struct forward *f, const struct kern_kv_tile *tile, uint32_t slot,
                      const float *key, const float *value)
{
    uint32_t dim_k = f->kv->dim_k, dim_v = f->kv->dim_v, max = kern_kv_item_max(KERN_KV_Q16);
    int16_t items[KERN_ATTN_MAX_DIM], *k = tile->k, *v = tile->v;
    tile->kd[slot] = f->model->kern->to_q16(items, key, dim_k, max);
    for (uint32_t d = 0; d < dim_k; d++) {
        k[kern_kv_key_at(KERN_KV_Q16, dim_k, slot, d)] = items[d];
    }
    tile->vd[slot] = f->model->kern->to_q16(items, value, dim_v, max);
    for (uint32_t d = 0; d < dim_v; d++) {
        v[kern_kv_value_at(KERN_KV_Q16, dim_v, slot, d)] = items[d];
    }
}

static void store_q8_0(const struct forward *f, const struct kern_kv_tile *tile, uint32_t slot,
                       const float *key, const float *value)
{
    uint32_t dim_k = f->kv->dim_k, dim_v = f->kv->dim_v;
    int8_t items[KERN_ATTN_MAX_DIM], *k = tile->k, *v = tile->v;
    tile->kd[slot] = f->model->kern->to_q8(items, key, dim_k);
    for (uint32_t d = 0; d < dim_k; d++) {
        k[kern_kv_key_at(KERN_KV_Q8_0, dim_k, slot, d)] = items[d];
    }
    tile->vd[slot] = f->model->kern->to_q8(items, value, dim_v);
    for (uint32_t d = 0; d < dim_v; d++) {
        v[kern_kv_value_at(KERN_KV_Q8_0, dim_v, slot, d)] = items[d];
    }
}

static void store_f16(const struct forward *f, const struct kern_kv_tile *tile, uint32_t slot,
                      const float *key, const float *value)
{
    uint32_t dim_k = f->kv->dim_k, dim_v = f->kv->dim_v;
    uint16_t items[KERN_ATTN_MAX_DIM], *k = tile->k, *v = tile->v;
    f->model->kern->to_f16(items, key, dim_k);
    for (uint32_t d = 0; d < dim_k; d++) {
        k[kern_kv_key_at(KERN_KV_F16, dim_k, slot, d)] = items[d];
    }
    f->model->kern->to_f16(v + kern_kv_value_at(KERN_KV_F16, dim_v, slot, 0), value, dim_v);
}

typedef void store_fn(const struct forward *f, const struct kern_kv_tile *tile, uint32_t slot,
                      const float *key, const float *value);

void attention_store(const struct forward *f, uint32_t layer, uint32_t begin, uint32_t end)
{
    static store_fn *const stores[KERN_KV_COUNT] = {store_q16, store_q8_0, store_f16};
    const struct model_config *c = &f->model->config;
    for (uint32_t t = begin; t < end; t++) {
        const struct kv_seq *s = f->items[f->item_of[t]].seq;
        uint32_t slot = f->position[t] % KERN_ATTN_TILE;
        for (uint32_t h = 0; h < c->n_kv_heads; h++) {
            struct kern_kv_tile tile = tile_of(f, s, f->position[t], layer, h);
            const float *key = f->k + ((size_t)t * c->n_kv_heads + h) * c->dim_k;
            const float *value = f->v + ((size_t)t * c->n_kv_heads + h) * c->dim_v;
            stores[f->kv->type](f, &tile, slot, key, value);
        }
    }
}

/* Rows [begin, begin + n) of the item's tokens x heads-of-a-KV-head. */
struct task {
    const struct forward_item *item;
    uint32_t first_token; /* of the item, in the batch */
    uint32_t layer, kv_head;
    uint32_t begin, n;
};

static uint32_t heads_per_kv(const struct forward *f)
{
    return f->model->config.n_heads / f->model->config.n_kv_heads;
}

/* Where row `row` of a task finds its query or its result among (tokens, heads, dim). */
static size_t row_offset(const struct forward *f, const struct task *task, uint32_t row,
                         uint32_t dim)
{
    uint32_t group = heads_per_kv(f), r = task->begin + row;
    size_t token = task->first_token + r / group;
    return (token * f->model->config.n_heads + task->kv_head * group + r % group) * dim;
}

static uint32_t row_position(const struct forward *f, const struct task *task, uint32_t row)
{
    return f->position[task->first_token + (task->begin + row) / heads_per_kv(f)];
}

static void load_queries(const struct forward *f, const struct task *task,
                         struct forward_scratch *s)
{
    bool is_f16 = f->kv->type == KERN_KV_F16;
    uint32_t dim = f->model->config.dim_k;
    uint32_t max = kern_attn_query_max(f->kv->type, dim); /* unless f16 */
    float scale = 1.0f / sqrtf((float)dim), scaled[KERN_ATTN_MAX_DIM];
    for (uint32_t row = 0; row < task->n; row++) {
        const float *q = f->q + row_offset(f, task, row, dim);
        float *out = is_f16 ? s->q_f32 + row * dim : scaled;
        for (uint32_t d = 0; d < dim; d++) {
            out[d] = q[d] * scale;
        }
        if (!is_f16) {
            s->qd[row] = f->model->kern->to_q16(s->q + row * dim, scaled, dim, max);
        }
    }
}

static void clear_rows(float *m, float *l, float *o, uint32_t n_rows, uint32_t dim)
{
    for (uint32_t row = 0; row < n_rows; row++) {
        m[row] = -INFINITY;
        l[row] = 0.0f;
    }
    memset(o, 0, (size_t)n_rows * dim * sizeof *o);
}

/* Keys [span, span + KERN_ATTN_SPAN) for all rows of the task, into s->m, l, o. */
static void attend_span(const struct forward *f, const struct task *task, struct forward_scratch *s,
                        uint32_t span, uint32_t last_position)
{
    const struct model_config *c = &f->model->config;
    struct kern_attn a = {.type = f->kv->type,
                          .n_rows = task->n,
                          .dim_k = c->dim_k,
                          .dim_v = c->dim_v,
                          .q = s->q, /* where q_f32 lies, too */
                          .qd = s->qd,
                          .m = s->m,
                          .l = s->l,
                          .o = s->o};
    clear_rows(s->m, s->l, s->o, task->n, c->dim_v);
    for (uint32_t tile = span; tile < span + KERN_ATTN_SPAN && tile <= last_position;
         tile += KERN_ATTN_TILE) {
        uint32_t n_keys[KERN_ATTN_ROWS];
        for (uint32_t row = 0; row < task->n; row++) {
            uint32_t visible = row_position(f, task, row) + 1;
            uint32_t beyond = visible > tile ? visible - tile : 0;
            n_keys[row] = beyond < KERN_ATTN_TILE ? beyond : KERN_ATTN_TILE;
        }
        struct kern_kv_tile kv = tile_of(f, task->item->seq, tile, task->layer, task->kv_head);
        uint32_t next = tile + KERN_ATTN_TILE;
        const char *next_k = next <= last_position
                                 ? tile_of(f, task->item->seq, next, task->layer, task->kv_head).k
                                 : kv.k;
        a.ahead = next_k - (const char *)kv.k;
        f->model->kern->attend[a.type](&a, &kv, n_keys);
    }
}

/* Results of rows: running maximum, sum and weighted sum (n, dim_v). */
struct rows {
    float *m, *l, *o;
};

/* Merges those of a span into the total, for rows that see a key of it. */
static void merge_span(const struct forward *f, const struct task *task, uint32_t span,
                       const struct rows *part, struct forward_scratch *s)
{
    uint32_t dim = f->model->config.dim_v;
    for (uint32_t row = 0; row < task->n; row++) {
        if (row_position(f, task, row) >= span) {
            f->model->kern->merge(&s->m_total[row], &s->l_total[row], &s->o_total[row * dim],
                                  &part->m[row], &part->l[row], &part->o[row * dim], dim);
        }
    }
}

static void write_rows(const struct forward *f, const struct task *task,
                       const struct forward_scratch *s)
{
    uint32_t dim = f->model->config.dim_v;
    for (uint32_t row = 0; row < task->n; row++) {
        float *out = f->attended + row_offset(f, task, row, dim);
        float scale = 1.0f / s->l_total[row];
        for (uint32_t d = 0; d < dim; d++) {
            out[d] = s->o_total[row * dim + d] * scale;
        }
    }
}

static void run_task(const struct forward *f, const struct task *task, struct forward_scratch *s)
{
    const struct rows part = {s->m, s->l, s->o};
    uint32_t last_position = row_position(f, task, task->n - 1);
    load_queries(f, task, s);
    clear_rows(s->m_total, s->l_total, s->o_total, task->n, f->model->config.dim_v);
    for (uint32_t span = 0; span <= last_position; span += KERN_ATTN_SPAN) {
        attend_span(f, task, s, span, last_position);
        merge_span(f, task, span, &part, s);
    }
    write_rows(f, task, s);
}

struct attention_phase {
    const struct forward *f;
    uint32_t layer;
    uint32_t n_tasks;
    uint32_t n_spans, max_rows; /* of any task */
    _Atomic uint32_t next;
};

static uint32_t blocks_of(const struct forward *f, const struct forward_item *item)
{
    return (item->n_tokens * heads_per_kv(f) + KERN_ATTN_ROWS - 1) / KERN_ATTN_ROWS;
}

/* Task number `index`: items in order; in an item the last rows, which see most keys, first. */
static struct task task_at(const struct attention_phase *p, uint32_t index)
{
    const struct forward *f = p->f;
    struct task task = {.item = f->items, .layer = p->layer};
    uint32_t n_kv_heads = f->model->config.n_kv_heads;
    while (index >= blocks_of(f, task.item) * n_kv_heads) {
        index -= blocks_of(f, task.item) * n_kv_heads;
        task.first_token += task.item->n_tokens;
        task.item++;
    }
    uint32_t block = blocks_of(f, task.item) - 1 - index / n_kv_heads;
    uint32_t n_rows = task.item->n_tokens * heads_per_kv(f);
    task.kv_head = index % n_kv_heads;
    task.begin = block * KERN_ATTN_ROWS;
    task.n = n_rows - task.begin < KERN_ATTN_ROWS ? n_rows - task.begin : KERN_ATTN_ROWS;
    return task;
}

static void attention_worker(void *argument, unsigned thread)
{
    struct attention_phase *p = argument;
    uint32_t index, end;
    while (pool_next_chunk(&p->next, p->n_tasks, 1, &index, &end)) {
        struct task task = task_at(p, index);
        run_task(p->f, &task, &p->f->scratch[thread]);
    }
}

/* ---- tasks whose spans are shared ---- */

static size_t part_floats(const struct attention_phase *p)
{
    return (size_t)p->max_rows * (2 + p->f->model->config.dim_v);
}

static struct rows part_at(const struct attention_phase *p, uint32_t task, uint32_t span)
{
    float *m = p->f->parts + ((size_t)task * p->n_spans + span) * part_floats(p);
    return (struct rows){m, m + p->max_rows, m + 2 * (size_t)p->max_rows};
}

static void span_worker(void *argument, unsigned thread)
{
    struct attention_phase *p = argument;
    struct forward_scratch *s = &p->f->scratch[thread];
    uint32_t index, end;
    while (pool_next_chunk(&p->next, p->n_tasks * p->n_spans, 1, &index, &end)) {
        struct task task = task_at(p, index / p->n_spans);
        uint32_t last_position = row_position(p->f, &task, task.n - 1);
        uint32_t number = index % p->n_spans, span = number * KERN_ATTN_SPAN;
        if (span <= last_position) {
            struct rows part = part_at(p, index / p->n_spans, number);
            load_queries(p->f, &task, s);
            attend_span(p->f, &task, s, span, last_position);
            memcpy(part.m, s->m, task.n * sizeof *s->m);
            memcpy(part.l, s->l, task.n * sizeof *s->l);
            memcpy(part.o, s->o, (size_t)task.n * p->f->model->config.dim_v * sizeof *s->o);
        }
    }
}

static void merge_worker(void *argument, unsigned thread)
{
    struct attention_phase *p = argument;
    struct forward_scratch *s = &p->f->scratch[thread];
    uint32_t index, end;
    while (pool_next_chunk(&p->next, p->n_tasks, 1, &index, &end)) {
        struct task task = task_at(p, index);
        uint32_t last_position = row_position(p->f, &task, task.n - 1);
        clear_rows(s->m_total, s->l_total, s->o_total, task.n, p->f->model->config.dim_v);
        for (uint32_t i = 0; i < p->n_spans && i * KERN_ATTN_SPAN <= last_position; i++) {
            struct rows part = part_at(p, index, i);
            merge_span(p->f, &task, i * KERN_ATTN_SPAN, &part, s);
        }
        write_rows(p->f, &task, s);
    }
}

/* Whether threads would have no task, and there is room to share spans instead. */
static bool shares_spans(const struct attention_phase *p)
{
    unsigned n_threads = pool_n_threads(p->f->pool);
    return p->n_spans > 1 && p->n_tasks < n_threads && p->max_rows <= KERN_ATTN_ROWS &&
           (size_t)p->n_tasks * p->n_spans * part_floats(p) <= p->f->n_parts;
}

void attention_run(struct forward *f, uint32_t layer)
{
    struct attention_phase phase = {.f = f, .layer = layer};
    uint32_t n_tokens = 0;
    for (uint32_t i = 0; i < f->n_items; i++) {
        const struct forward_item *item = &f->items[i];
        uint32_t n_rows = item->n_tokens * heads_per_kv(f);
        n_tokens += item->n_tokens;
        uint32_t n_spans = f->position[n_tokens - 1] / KERN_ATTN_SPAN + 1;
        phase.n_tasks += blocks_of(f, item) * f->model->config.n_kv_heads;
        phase.n_spans = n_spans > phase.n_spans ? n_spans : phase.n_spans;
        phase.max_rows = n_rows > phase.max_rows ? n_rows : phase.max_rows;
    }
    if (!shares_spans(&phase)) {
        pool_run(f->pool, attention_worker, &phase);
        return;
    }
    pool_run(f->pool, span_worker, &phase);
    atomic_store(&phase.next, 0);
    pool_run(f->pool, merge_worker, &phase);
}
