/* exact.c - the plain reference forward pass (--exact): weights dequantised a row at a time,
 * activations in f32, sums in double, keys and values kept in f32. Nothing is shared with the
 * packed path but the plan of the batch, the embedding and RoPE's angles; it is the oracle inside
 * the house. */
#include "base/fmath.h"
#include "base/mem.h"
#include "model/forward_internal.h"

#include <math.h>
#include <string.h>

/* Buffers, and keys and values of every page in f32, laid out plainly:
 * (n_pages, KERN_ATTN_TILE, n_layers, n_kv_heads, dim). They are found by page, so that a shared
 * page is shared here, too, and a copy of one is copied. */
struct exact_cache {
    float *k, *v;
    size_t k_bytes, v_bytes;
    float *rows;    /* (threads, widest) one dequantised row a thread */
    double *scores; /* (threads, longest context) */
    float *gate;    /* (n, n_ff) */
    float *up;      /* (n, n_ff) */
    float *y;       /* (n, n_embd) what is added to the residual stream */
    uint32_t widest, longest;
    uint32_t n_pages;
};

static void copy_page(void *argument, uint32_t from, uint32_t to)
{
    const struct exact_cache *x = argument;
    size_t k_floats = x->k_bytes / x->n_pages / sizeof(float);
    size_t v_floats = x->v_bytes / x->n_pages / sizeof(float);
    memcpy(x->k + to * k_floats, x->k + from * k_floats, k_floats * sizeof(float));
    memcpy(x->v + to * v_floats, x->v + from * v_floats, v_floats * sizeof(float));
}

bool exact_cache_init(struct forward *f, struct error *e)
{
    const struct model_config *c = &f->model->config;
    size_t tokens = (size_t)f->kv->n_pages * KERN_ATTN_TILE;
    struct exact_cache *x = f->exact = mem_alloc(1, sizeof *x, "exact cache", e);
    if (x == NULL) {
        return false;
    }
    uint32_t o_cols = c->n_heads * c->dim_v;
    x->widest = c->n_ff > c->n_embd ? c->n_ff : c->n_embd;
    x->widest = x->widest > o_cols ? x->widest : o_cols;
    x->longest = (uint32_t)tokens;
    x->n_pages = f->kv->n_pages;
    x->k_bytes = tokens * c->n_layers * c->n_kv_heads * c->dim_k * sizeof(float);
    x->v_bytes = tokens * c->n_layers * c->n_kv_heads * c->dim_v * sizeof(float);
    size_t n_threads = pool_n_threads(f->pool);
    x->k = mem_alloc_pages(x->k_bytes, "exact keys", e);
    x->v = x->k != NULL ? mem_alloc_pages(x->v_bytes, "exact values", e) : NULL;
    x->rows = x->v != NULL ? mem_alloc(n_threads * x->widest, sizeof *x->rows, "row", e) : NULL;
    x->scores =
        x->rows != NULL ? mem_alloc(n_threads * x->longest, sizeof *x->scores, "scores", e) : NULL;
    size_t n = f->limits.max_tokens, n_ff = c->n_ff;
    x->gate = x->scores != NULL ? mem_alloc(n * n_ff, sizeof *x->gate, "exact gate", e) : NULL;
    x->up = x->gate != NULL ? mem_alloc(n * n_ff, sizeof *x->up, "exact up", e) : NULL;
    x->y = x->up != NULL ? mem_alloc(n * c->n_embd, sizeof *x->y, "exact sums", e) : NULL;
    f->kv->copied = copy_page;
    f->kv->copied_argument = x;
    return x->y != NULL;
}

void exact_cache_finish(struct forward *f)
{
    struct exact_cache *x = f->exact;
    if (x != NULL) {
        mem_free_pages(x->k, x->k_bytes);
        mem_free_pages(x->v, x->v_bytes);
        mem_free(x->rows);
        mem_free(x->scores);
        mem_free(x->gate);
        mem_free(x->up);
        mem_free(x->y);
        mem_free(x);
        f->kv->copied = NULL;
    }
    f->exact = NULL;
}

/* Eight partial sums, so that the compiler can use SIMD registers; n is any number. */
static double dot(const float *a, const float *b, uint32_t n)
{
    double sums[8] = {0};
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (int lane = 0; lane < 8; lane++) {
            sums[lane] += (double)a[i + lane] * (double)b[i + lane];
        }
    }
    for (; i < n; i++) {
        sums[0] += (double)a[i] * (double)b[i];
    }
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) +
           ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

struct product {
    struct forward *f;
    const struct model_matrix *m;
    const float *a; /* (n_rows, cols) */
    float *y;       /* (n_rows, rows) */
    uint32_t n_rows;
    _Atomic uint32_t next;
};

static void product_worker(void *argument, unsigned thread)
{
    struct product *p = argument;
    uint32_t rows = p->m->packed.rows, cols = p->m->packed.cols;
    const struct gguf_tensor *t = p->m->tensor;
    float *w = p->f->exact->rows + (size_t)thread * p->f->exact->widest;
    size_t row_bytes = t->n_bytes / rows;
    uint32_t begin, end;
    while (pool_next_chunk(&p->next, rows, 16, &begin, &end)) {
        for (uint32_t r = begin; r < end; r++) {
            quant_dequantize(t->type, t->data + r * row_bytes, w, cols);
            double bias = p->m->bias != NULL ? (double)p->m->bias[r] : 0.0;
            for (uint32_t i = 0; i < p->n_rows; i++) {
                p->y[(size_t)i * rows + r] = (float)(dot(w, p->a + (size_t)i * cols, cols) + bias);
            }
        }
    }
}

/* y = W a + bias */
static void multiply(struct forward *f, const struct model_matrix *m, const float *a, float *y,
                     uint32_t n_rows)
{
    struct product p = {.f = f, .m = m, .a = a, .y = y, .n_rows = n_rows};
    pool_run(f->pool, product_worker, &p);
}

static void normalise(const float *x, const float *w, float *y, uint32_t n, float eps)
{
    double scale = 1.0 / sqrt(dot(x, x, n) / n + (double)eps);
    for (uint32_t i = 0; i < n; i++) {
        y[i] = (float)((double)x[i] * scale * (double)w[i]);
    }
}

static void rotate(float *x, uint32_t n_heads, uint32_t dim, uint32_t n_rot, const float *angles)
{
    for (uint32_t h = 0; h < n_heads; h++) {
        for (uint32_t i = 0; i < n_rot / 2; i++) {
            float *pair = x + (size_t)h * dim + (size_t)2 * i;
            double a = (double)pair[0], b = (double)pair[1];
            double cosine = (double)angles[2 * i], sine = (double)angles[2 * i + 1];
            pair[0] = (float)(a * cosine - b * sine);
            pair[1] = (float)(a * sine + b * cosine);
        }
    }
}

static float *slot(const struct forward *f, float *cache, uint32_t dim, const struct kv_seq *s,
                   uint32_t position, uint32_t layer)
{
    const struct model_config *c = &f->model->config;
    size_t token =
        (size_t)s->pages[position / KERN_ATTN_TILE] * KERN_ATTN_TILE + position % KERN_ATTN_TILE;
    return cache + ((token * c->n_layers + layer) * c->n_kv_heads) * dim;
}

struct attend {
    struct forward *f;
    uint32_t layer;
    _Atomic uint32_t next;
};

/* One query head of one token: softmax(q k / sqrt(dim)) v. */
static void attend_head(const struct forward *f, uint32_t layer, uint32_t t, uint32_t head,
                        double *scores)
{
    const struct model_config *c = &f->model->config;
    const struct kv_seq *s = f->items[f->item_of[t]].seq;
    uint32_t kv_head = head / (c->n_heads / c->n_kv_heads);
    uint32_t n_keys = f->position[t] + 1;
    const float *q = f->q + ((size_t)t * c->n_heads + head) * c->dim_k;
    double max = -INFINITY, sum = 0.0;
    for (uint32_t i = 0; i < n_keys; i++) {
        const float *k = slot(f, f->exact->k, c->dim_k, s, i, layer) + (size_t)kv_head * c->dim_k;
        scores[i] = dot(q, k, c->dim_k) / sqrt((double)c->dim_k);
        max = scores[i] > max ? scores[i] : max;
    }
    double out[KERN_ATTN_MAX_DIM] = {0};
    for (uint32_t i = 0; i < n_keys; i++) {
        const float *v = slot(f, f->exact->v, c->dim_v, s, i, layer) + (size_t)kv_head * c->dim_v;
        double p = fmath_exp(scores[i] - max);
        sum += p;
        for (uint32_t d = 0; d < c->dim_v; d++) {
            out[d] += p * (double)v[d];
        }
    }
    float *y = f->attended + ((size_t)t * c->n_heads + head) * c->dim_v;
    for (uint32_t d = 0; d < c->dim_v; d++) {
        y[d] = (float)(out[d] / sum);
    }
}

static void attend_worker(void *argument, unsigned thread)
{
    struct attend *a = argument;
    struct forward *f = a->f;
    uint32_t n_heads = f->model->config.n_heads;
    uint32_t index, end;
    while (pool_next_chunk(&a->next, f->n_tokens * n_heads, 1, &index, &end)) {
        attend_head(f, a->layer, index / n_heads, index % n_heads,
                    f->exact->scores + (size_t)thread * f->exact->longest);
    }
}

static void attention_block(struct forward *f, const struct model_layer *l, uint32_t layer)
{
    const struct model_config *c = &f->model->config;
    uint32_t k_dim = c->n_kv_heads * c->dim_k, v_dim = c->n_kv_heads * c->dim_v;
    multiply(f, &l->q, f->normed, f->q, f->n_tokens);
    multiply(f, &l->k, f->normed, f->k, f->n_tokens);
    multiply(f, &l->v, f->normed, f->v, f->n_tokens);
    for (uint32_t t = 0; t < f->n_tokens; t++) {
        const float *angles = f->angles + (size_t)t * c->n_rot;
        const struct kv_seq *s = f->items[f->item_of[t]].seq;
        rotate(f->q + (size_t)t * c->n_heads * c->dim_k, c->n_heads, c->dim_k, c->n_rot, angles);
        rotate(f->k + (size_t)t * k_dim, c->n_kv_heads, c->dim_k, c->n_rot, angles);
        memcpy(slot(f, f->exact->k, c->dim_k, s, f->position[t], layer), f->k + (size_t)t * k_dim,
               k_dim * sizeof(float));
        memcpy(slot(f, f->exact->v, c->dim_v, s, f->position[t], layer), f->v + (size_t)t * v_dim,
               v_dim * sizeof(float));
    }
    struct attend a = {.f = f, .layer = layer};
    pool_run(f->pool, attend_worker, &a);
    multiply(f, &l->o, f->attended, f->exact->y, f->n_tokens);
}

static void feed_forward_block(struct forward *f, const struct model_layer *l)
{
    const struct exact_cache *x = f->exact;
    multiply(f, &l->gate, f->normed, x->gate, f->n_tokens);
    multiply(f, &l->up, f->normed, x->up, f->n_tokens);
    for (size_t i = 0; i < (size_t)f->n_tokens * f->model->config.n_ff; i++) {
        double gate = (double)x->gate[i];
        x->gate[i] = (float)(gate / (1.0 + fmath_exp(-gate)) * (double)x->up[i]);
    }
    multiply(f, &l->down, x->gate, x->y, f->n_tokens);
}

static void normalise_all(struct forward *f, const float *weight)
{
    const struct model_config *c = &f->model->config;
    for (size_t t = 0; t < f->n_tokens; t++) {
        normalise(f->x + t * c->n_embd, weight, f->normed + t * c->n_embd, c->n_embd, c->rms_eps);
    }
}

static void add_output(struct forward *f)
{
    for (size_t i = 0; i < (size_t)f->n_tokens * f->model->config.n_embd; i++) {
        f->x[i] += f->exact->y[i];
    }
}

bool exact_batch(struct forward *f)
{
    const struct model *m = f->model;
    uint32_t n_embd = m->config.n_embd;
    for (uint32_t t = 0; t < f->n_tokens; t++) {
        model_weights_embed(&m->weights, &m->config, f->token[t], f->x + (size_t)t * n_embd);
        rope_angles(&m->rope, f->position[t], f->angles + (size_t)t * m->config.n_rot);
    }
    for (uint32_t i = 0; i < m->config.n_layers; i++) {
        const struct model_layer *l = &m->weights.layers[i];
        if (!forward_begin_layer(f)) {
            return false;
        }
        normalise_all(f, l->attn_norm);
        attention_block(f, l, i);
        add_output(f);
        normalise_all(f, l->ffn_norm);
        feed_forward_block(f, l);
        add_output(f);
    }
    for (uint32_t row = 0; row < f->n_logits + f->n_hidden; row++) {
        normalise(f->x + (size_t)f->row_token[row] * n_embd, m->weights.output_norm,
                  f->normed + (size_t)row * n_embd, n_embd, m->config.rms_eps);
    }
    if (f->n_logits > 0) {
        multiply(f, &m->weights.output, f->normed, f->logits, f->n_logits);
    }
    return true;
}
