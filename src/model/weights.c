/* weights.c - binding and checking of a model's tensors. */
#include "model/weights.h"

#include "base/mem.h"
#include "model/packing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 64 };

/* Collects what is needed in two passes: with floats == NULL sizes are summed, else filled. */
struct binder {
    const struct gguf *g;
    struct model_weights *w;
    float *floats;   /* next free float; NULL in the first pass */
    size_t n_floats; /* needed so far */
    size_t n_bound;  /* tensors used */
    bool *is_bound;  /* (tensors of the file) */
    struct error *e;
};

static void format_shape(char *out, size_t n, const struct gguf_tensor *t)
{
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < t->n_dims && used < n; i++) {
        int k = snprintf(out + used, n - used, "%s%llu", i > 0 ? " x " : "",
                         (unsigned long long)t->dims[i]);
        used += k > 0 ? (size_t)k : 0;
    }
}

/* The named tensor with exactly this shape; NULL with the error set, or without when optional. */
static const struct gguf_tensor *find(struct binder *b, const char *name, uint64_t cols,
                                      uint64_t rows, bool required)
{
    const struct gguf_tensor *t = gguf_find_tensor(b->g, name);
    if (t == NULL) {
        if (required) {
            error_set(b->e, ERROR_FORMAT, "tensor '%s' (%llu x %llu) is missing", name,
                      (unsigned long long)cols, (unsigned long long)rows);
        }
        return NULL;
    }
    if (t->dims[0] != cols || t->dims[1] != rows || t->dims[2] != 1 || t->dims[3] != 1) {
        char shape[96];
        format_shape(shape, sizeof shape, t);
        error_set(b->e, ERROR_FORMAT, "tensor '%s' has shape %s, expected %llu x %llu", name, shape,
                  (unsigned long long)cols, (unsigned long long)rows);
        return NULL;
    }
    b->n_bound++;
    b->is_bound[t - gguf_tensor_at(b->g, 0)] = true; /* the tensors are one array */
    return t;
}

/* A norm or a divisor that is no number would make every logit one. */
static bool check_values(struct binder *b, const char *name, const float *x, uint32_t n)
{
    bool divisors = strcmp(name, "rope_freqs.weight") == 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!isfinite(x[i]) || (divisors && !(x[i] > 0.0f))) {
            return error_set(b->e, ERROR_FORMAT, "tensor '%s': item %u is %g, expected a finite %s",
                             name, i, (double)x[i], divisors ? "number above 0" : "number");
        }
    }
    return true;
}

/* A vector of n f32 values (stored in any dense type). An absent optional one leaves *out NULL. */
static bool bind_vector(struct binder *b, const char *name, uint32_t n, bool required,
                        const float **out)
{
    if (!required && gguf_find_tensor(b->g, name) == NULL) {
        *out = NULL;
        return true;
    }
    const struct gguf_tensor *t = find(b, name, n, 1, true);
    if (t == NULL) {
        return false;
    }
    if (pack_act_of(t->type) != PACK_ACT_F32) {
        return error_set(b->e, ERROR_UNSUPPORTED, "tensor '%s' is %s, expected F32, F16 or BF16",
                         name, quant_type_name(t->type));
    }
    if (b->floats != NULL) {
        quant_dequantize(t->type, t->data, b->floats, n);
        if (!check_values(b, name, b->floats, n)) {
            return false;
        }
        *out = b->floats;
        b->floats += n;
    }
    b->n_floats += n;
    return true;
}

static bool bind_matrix(struct binder *b, const char *stem, uint32_t cols, uint32_t rows,
                        struct model_matrix *m)
{
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%s.weight", stem);
    m->tensor = find(b, name, cols, rows, true);
    if (m->tensor == NULL) {
        return false;
    }
    if (!pack_matrix_init(&m->packed, m->tensor->type, rows, cols, b->e)) {
        return error_prefix(b->e, "tensor '%s'", name);
    }
    snprintf(name, sizeof name, "%s.bias", stem);
    return bind_vector(b, name, rows, false, &m->bias);
}

static bool bind_layer(struct binder *b, const struct model_config *c, uint32_t i,
                       struct model_layer *l)
{
    char name[NAME_BYTES];
#define LAYER(stem) (snprintf(name, sizeof name, "blk.%u." stem, i), name)
    uint32_t q_rows = c->n_heads * c->dim_k, k_rows = c->n_kv_heads * c->dim_k;
    uint32_t v_rows = c->n_kv_heads * c->dim_v, o_cols = c->n_heads * c->dim_v;
    return bind_vector(b, LAYER("attn_norm.weight"), c->n_embd, true, &l->attn_norm) &&
           bind_vector(b, LAYER("ffn_norm.weight"), c->n_embd, true, &l->ffn_norm) &&
           bind_matrix(b, LAYER("attn_q"), c->n_embd, q_rows, &l->q) &&
           bind_matrix(b, LAYER("attn_k"), c->n_embd, k_rows, &l->k) &&
           bind_matrix(b, LAYER("attn_v"), c->n_embd, v_rows, &l->v) &&
           bind_matrix(b, LAYER("attn_output"), o_cols, c->n_embd, &l->o) &&
           bind_matrix(b, LAYER("ffn_gate"), c->n_embd, c->n_ff, &l->gate) &&
           bind_matrix(b, LAYER("ffn_up"), c->n_embd, c->n_ff, &l->up) &&
           bind_matrix(b, LAYER("ffn_down"), c->n_ff, c->n_embd, &l->down);
#undef LAYER
}

static bool bind_output(struct binder *b, const struct model_config *c)
{
    struct model_weights *w = b->w;
    w->embedding = find(b, "token_embd.weight", c->n_embd, c->n_vocab, true);
    if (w->embedding == NULL) {
        return false;
    }
    if (gguf_find_tensor(b->g, "output.weight") != NULL) {
        return bind_matrix(b, "output", c->n_embd, c->n_vocab, &w->output);
    }
    w->output.tensor = w->embedding;
    return pack_matrix_init(&w->output.packed, w->embedding->type, c->n_vocab, c->n_embd, b->e) ||
           error_prefix(b->e, "tensor 'token_embd.weight'");
}

static bool bind_all(struct binder *b, const struct model_config *c)
{
    b->n_floats = b->n_bound = 0;
    if (!bind_output(b, c) ||
        !bind_vector(b, "output_norm.weight", c->n_embd, true, &b->w->output_norm) ||
        !bind_vector(b, "rope_freqs.weight", c->n_rot / 2, false, &b->w->rope_factors)) {
        return false;
    }
    for (uint32_t i = 0; i < c->n_layers; i++) {
        if (!bind_layer(b, c, i, &b->w->layers[i])) {
            return false;
        }
    }
    return true;
}

/* Every tensor of the file must have been used, else the file computes something else. */
static bool check_surplus(const struct binder *b, const struct model_config *c)
{
    size_t n_tensors = gguf_n_tensors(b->g);
    if (b->n_bound == n_tensors) {
        return true;
    }
    size_t i = 0;
    while (b->is_bound[i]) {
        i++;
    }
    const struct gguf_tensor *t = gguf_tensor_at(b->g, i);
    char shape[96];
    format_shape(shape, sizeof shape, t);
    return error_set(b->e, ERROR_FORMAT,
                     "%zu of %zu tensors are not part of a 'llama' model of %u layers%s, the first "
                     "is '%.*s' (%s)",
                     n_tensors - b->n_bound, n_tensors, c->n_layers,
                     b->w->output.tensor == b->w->embedding ? " without output.weight" : "",
                     STR_ARG(str_shown(t->name)), shape);
}

bool model_weights_load(struct model_weights *w, const struct gguf *g, const struct model_config *c,
                        const struct model_load_options *options, struct pool *pool,
                        struct error *e)
{
    *w = (struct model_weights){0};
    struct binder b = {.g = g, .w = w, .e = e};
    const struct packing packing = {w, g, c->n_layers, options, pool};
    w->layers = mem_alloc(c->n_layers, sizeof *w->layers, "layers", e);
    b.is_bound = mem_alloc(gguf_n_tensors(g), sizeof *b.is_bound, "list of tensors", e);
    if (w->layers == NULL || b.is_bound == NULL || !bind_all(&b, c) || !check_surplus(&b, c)) {
        goto fail;
    }
    w->floats = mem_alloc(b.n_floats, sizeof *w->floats, "norms and biases", e);
    if (w->floats == NULL) {
        goto fail;
    }
    w->n_floats = b.n_floats;
    b.floats = w->floats;
    if (!bind_all(&b, c) || (!options->exact && !packing_run(&packing, e))) {
        goto fail;
    }
    mem_free(b.is_bound);
    return true;
fail:
    mem_free(b.is_bound);
    model_weights_finish(w);
    return false;
}

void model_weights_finish(struct model_weights *w)
{
    packing_cache_destroy(w->cache);
    mem_free(w->layers);
    mem_free(w->floats);
    mem_free_pages(w->packed, w->packed_bytes);
    *w = (struct model_weights){0};
}

void model_weights_embed(const struct model_weights *w, const struct model_config *c,
                         uint32_t token, float *dst)
{
    size_t row_bytes = w->embedding->n_bytes / c->n_vocab;
    quant_dequantize(w->embedding->type, w->embedding->data + token * row_bytes, dst, c->n_embd);
}
