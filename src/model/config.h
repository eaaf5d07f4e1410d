/* config.h - hyperparameters of a `llama` model, read from GGUF metadata and checked. */
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H

#include "base/error.h"
#include "format/gguf.h"

#include <stdint.h>

enum rope_scaling { ROPE_SCALING_NONE, ROPE_SCALING_LINEAR, ROPE_SCALING_YARN };

struct model_config {
    uint32_t n_layers;
    uint32_t n_embd;  /* width of the residual stream */
    uint32_t n_ff;    /* width of the feed-forward layer */
    uint32_t n_heads; /* query heads, a multiple of n_kv_heads */
    uint32_t n_kv_heads;
    uint32_t dim_k, dim_v; /* per head, multiples of 16 */
    uint32_t n_vocab;
    uint32_t ctx_train; /* positions the model was made for */
    float rms_eps;

    uint32_t n_rot; /* leading dimensions of a head that rotate, even */
    float rope_base;
    enum rope_scaling rope_scaling;
    float rope_factor;      /* 1 when there is no scaling, never 0 */
    uint32_t rope_ctx_orig; /* YaRN: context before scaling */
    float rope_attn_factor; /* multiplies cos and sin, with any scaling */
    float yarn_beta_fast, yarn_beta_slow;
};

enum { MODEL_MAX_LAYERS = 1024, MODEL_MAX_EMBD = 1 << 17, MODEL_MAX_VOCAB = 1 << 22 };

/* ERROR_UNSUPPORTED names another architecture, experts, a scaling that is not offered, or a key by
 * which the model would compute something else (a sliding window, scaled logits); ERROR_FORMAT
 * names the key and the numbers that do not fit together. */
bool model_config_read(struct model_config *out, const struct gguf *g, struct error *e);

/* YaRN's own factor of cos and sin, 1 + 0.1 ln(rope_factor) where that is more than 1; 1 without
 * YaRN. */
double model_yarn_magnitude(const struct model_config *c);

#endif
