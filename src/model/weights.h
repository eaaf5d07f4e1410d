/* weights.h - the tensors of a `llama` model: bound by name, checked, packed for the kernels. */
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include "base/pool.h"
#include "format/gguf.h"
#include "model/config.h"
#include "model/packed_cache.h"
#include "model/watch.h"
#include "quant/pack.h"

/* A matrix (rows = outputs, cols = inputs). packed.data is NULL in exact mode. */
struct model_matrix {
    struct pack_matrix packed;
    const struct gguf_tensor *tensor;
    const float *bias; /* (rows) f32, NULL when the model has none */
};

struct model_layer {
    const float *attn_norm, *ffn_norm; /* (n_embd) f32 */
    struct model_matrix q, k, v, o;    /* (heads*dim_k, n_embd) .. (n_embd, heads*dim_v) */
    struct model_matrix gate, up;      /* (n_ff, n_embd) */
    struct model_matrix down;          /* (n_embd, n_ff) */
};

struct model_weights {
    const struct gguf_tensor *embedding; /* (n_vocab, n_embd), read in the file's form */
    const float *output_norm;            /* (n_embd) f32 */
    struct model_matrix output;          /* (n_vocab, n_embd); the embedding when tied */
    const float *rope_factors;           /* (n_rot/2) f32 or NULL */
    struct model_layer *layers;          /* (n_layers) */
    float *floats;                       /* (n_floats) all norms, biases, factors */
    size_t n_floats;
    uint8_t *packed; /* one block for all packed matrices */
    size_t packed_bytes;
    bool from_cache;             /* read packed, not packed now */
    struct packing_cache *cache; /* what packing_store() has to keep, or NULL */
};

struct model_load_options {
    bool exact; /* keep the file's tensors, do not pack */
    struct model_watch watch;
    const struct packed_cache_options *cache; /* where packed weights are kept; NULL: nowhere */
};

/* Binds every tensor that the architecture has (name, shape and type checked; missing and surplus
 * ones, and norms, biases and RoPE divisors that are no finite numbers, are ERROR_FORMAT with names
 * and numbers) and packs the matrices on all threads of pool, or reads them packed.
 * g must outlive the weights. On failure nothing is left allocated. */
bool model_weights_load(struct model_weights *w, const struct gguf *g, const struct model_config *c,
                        const struct model_load_options *options, struct pool *pool,
                        struct error *e);
void model_weights_finish(struct model_weights *w);

/* dst (n_embd) f32 = row `token` of the embedding. */
void model_weights_embed(const struct model_weights *w, const struct model_config *c,
                         uint32_t token, float *dst);

#endif
