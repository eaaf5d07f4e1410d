/* config.c - the `llama.*` metadata keys, as llama.cpp's converter writes them. */
#include "model/config.h"

#include "base/fmath.h"
#include "kern/kern.h"

#include <math.h>

static bool check_architecture(const struct gguf *g, struct error *e)
{
    struct str architecture = {0};
    if (!gguf_get_str(g, "general.architecture", true, &architecture, e)) {
        return false;
    }
    if (!str_eq(architecture, STR("llama"))) {
        return error_set(e, ERROR_UNSUPPORTED, "architecture '%.*s' is not supported, only 'llama'",
                         STR_ARG(str_shown(architecture)));
    }
    uint32_t n_experts = 0;
    if (!gguf_get_u32(g, "llama.expert_count", false, &n_experts, e)) {
        return false;
    }
    if (n_experts > 0) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "mixture-of-experts models are not supported (llama.expert_count is %u)",
                         n_experts);
    }
    return true;
}

/* Some converters write a per-layer array; all layers must agree. */
static bool get_uniform(const struct gguf *g, const char *key, bool required, uint32_t *out,
                        struct error *e)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (v == NULL || v->type != GGUF_ARRAY) {
        return gguf_get_u32(g, key, required, out, e);
    }
    bool is_integer = v->array_type == GGUF_U32 || v->array_type == GGUF_I32 ||
                      v->array_type == GGUF_U64 || v->array_type == GGUF_I64;
    if (!is_integer || v->n_items == 0) {
        return error_set(e, ERROR_FORMAT, "key '%s': expected an integer or an array of integers",
                         key);
    }
    int64_t first = gguf_array_int(v, 0);
    for (uint64_t i = 1; i < v->n_items; i++) {
        if (gguf_array_int(v, i) != first) {
            return error_set(
                e, ERROR_UNSUPPORTED,
                "key '%s' differs between layers (%lld and %lld), which is not supported", key,
                (long long)first, (long long)gguf_array_int(v, i));
        }
    }
    if (first < 0 || first > UINT32_MAX) {
        return error_set(e, ERROR_FORMAT, "key '%s': %lld is outside 0 to %u", key,
                         (long long)first, UINT32_MAX);
    }
    *out = (uint32_t)first;
    return true;
}

static bool check_range(const char *key, uint32_t value, uint32_t min, uint32_t max,
                        struct error *e)
{
    if (value < min || value > max) {
        return error_set(e, ERROR_FORMAT, "key '%s': %u is outside %u to %u", key, value, min, max);
    }
    return true;
}

static bool read_sizes(struct model_config *c, const struct gguf *g, struct error *e)
{
    bool ok = gguf_get_u32(g, "llama.block_count", true, &c->n_layers, e) &&
              gguf_get_u32(g, "llama.embedding_length", true, &c->n_embd, e) &&
              gguf_get_u32(g, "llama.context_length", true, &c->ctx_train, e) &&
              get_uniform(g, "llama.feed_forward_length", true, &c->n_ff, e) &&
              get_uniform(g, "llama.attention.head_count", true, &c->n_heads, e) &&
              gguf_get_f32(g, "llama.attention.layer_norm_rms_epsilon", true, &c->rms_eps, e) &&
              check_range("llama.block_count", c->n_layers, 1, MODEL_MAX_LAYERS, e) &&
              check_range("llama.embedding_length", c->n_embd, 2, MODEL_MAX_EMBD, e) &&
              check_range("llama.context_length", c->ctx_train, 1, 1 << 28, e) &&
              check_range("llama.feed_forward_length", c->n_ff, 2, 1 << 20, e) &&
              check_range("llama.attention.head_count", c->n_heads, 1, 4096, e);
    if (!ok) {
        return false;
    }
    if (!(c->rms_eps > 0.0f && c->rms_eps < 1.0f)) {
        return error_set(e, ERROR_FORMAT,
                         "key 'llama.attention.layer_norm_rms_epsilon': %g is outside 0 to 1",
                         (double)c->rms_eps);
    }
    c->n_kv_heads = c->n_heads;
    if (!get_uniform(g, "llama.attention.head_count_kv", false, &c->n_kv_heads, e)) {
        return false;
    }
    if (c->n_kv_heads == 0 || c->n_heads % c->n_kv_heads != 0) {
        return error_set(e, ERROR_FORMAT, "%u attention heads are no multiple of %u KV heads",
                         c->n_heads, c->n_kv_heads);
    }
    return true;
}

static bool read_head_sizes(struct model_config *c, const struct gguf *g, struct error *e)
{
    c->dim_k = c->dim_v = c->n_embd / c->n_heads;
    if (!gguf_get_u32(g, "llama.attention.key_length", false, &c->dim_k, e) ||
        !gguf_get_u32(g, "llama.attention.value_length", false, &c->dim_v, e)) {
        return false;
    }
    uint32_t dims[2] = {c->dim_k, c->dim_v};
    for (int i = 0; i < 2; i++) {
        if (dims[i] == 0 || dims[i] % KERN_LANES != 0 || dims[i] > KERN_ATTN_MAX_DIM) {
            return error_set(e, ERROR_UNSUPPORTED,
                             "attention head size %u: only multiples of %d up to %d are supported",
                             dims[i], KERN_LANES, KERN_ATTN_MAX_DIM);
        }
    }
    c->n_rot = c->dim_k;
    if (!gguf_get_u32(g, "llama.rope.dimension_count", false, &c->n_rot, e)) {
        return false;
    }
    if (c->n_rot == 0 || c->n_rot % 2 != 0 || c->n_rot > c->dim_k) {
        return error_set(e, ERROR_FORMAT,
                         "key 'llama.rope.dimension_count': %u is no even number from 2 to %u",
                         c->n_rot, c->dim_k);
    }
    return true;
}

/* A factor without a type means linear, as files from before the type existed have it. */
static bool read_scaling_type(struct model_config *c, const struct gguf *g, struct error *e)
{
    struct str type = STR("linear");
    if (!gguf_get_str(g, "llama.rope.scaling.type", false, &type, e)) {
        return false;
    }
    c->rope_scaling = ROPE_SCALING_NONE;
    if (str_eq(type, STR("linear"))) {
        c->rope_scaling = ROPE_SCALING_LINEAR;
    } else if (str_eq(type, STR("yarn"))) {
        c->rope_scaling = ROPE_SCALING_YARN;
    } else if (!str_eq(type, STR("none"))) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "RoPE scaling '%.*s' is not supported, only none, linear and yarn",
                         STR_ARG(str_shown(type)));
    }
    return true;
}

/* Type and factor; scale_linear is what early converters called the factor, and 0 is none. */
static bool read_scaling(struct model_config *c, const struct gguf *g, struct error *e)
{
    float factor = 0.0f;
    if (!read_scaling_type(c, g, e) ||
        !gguf_get_f32(g, "llama.rope.scale_linear", false, &factor, e) ||
        !gguf_get_f32(g, "llama.rope.scaling.factor", false, &factor, e)) {
        return false;
    }
    c->rope_factor = factor == 0.0f || c->rope_scaling == ROPE_SCALING_NONE ? 1.0f : factor;
    if (c->rope_scaling == ROPE_SCALING_LINEAR && c->rope_factor == 1.0f) {
        c->rope_scaling = ROPE_SCALING_NONE;
    }
    if (!(c->rope_factor > 1e-6f && c->rope_factor < 1e6f)) {
        return error_set(e, ERROR_FORMAT,
                         "key 'llama.rope.scaling.factor': %g is outside 1e-6 to 1e6",
                         (double)c->rope_factor);
    }
    return true;
}

static bool refuse_value(const char *key, double value, const char *neutral, struct error *e)
{
    return error_set(e, ERROR_UNSUPPORTED, "key '%s' is %g, only %s is supported", key, value,
                     neutral);
}

/* YaRN's parameters. Converters write two that Puna computes itself: they must agree. */
static bool read_yarn(struct model_config *c, const struct gguf *g, struct error *e)
{
    static const char ext_key[] = "llama.rope.scaling.yarn_ext_factor";
    static const char attn_key[] = "llama.rope.scaling.yarn_attn_factor";
    bool yarn = c->rope_scaling == ROPE_SCALING_YARN;
    double magnitude = model_yarn_magnitude(c);
    float ext = -1.0f, attn = (float)magnitude;
    c->rope_attn_factor = 1.0f;
    c->yarn_beta_fast = 32.0f;
    c->yarn_beta_slow = 1.0f;
    c->rope_ctx_orig = c->ctx_train;
    bool ok =
        gguf_get_f32(g, "llama.rope.scaling.attn_factor", false, &c->rope_attn_factor, e) &&
        gguf_get_f32(g, "llama.rope.scaling.yarn_beta_fast", false, &c->yarn_beta_fast, e) &&
        gguf_get_f32(g, "llama.rope.scaling.yarn_beta_slow", false, &c->yarn_beta_slow, e) &&
        gguf_get_f32(g, ext_key, false, &ext, e) && gguf_get_f32(g, attn_key, false, &attn, e) &&
        gguf_get_u32(g, "llama.rope.scaling.original_context_length", false, &c->rope_ctx_orig, e);
    if (!ok) {
        return false;
    }
    if (!(ext < 0.0f || ext == (yarn ? 1.0f : 0.0f))) {
        return refuse_value(ext_key, (double)ext, yarn ? "1" : "0", e);
    }
    if (!(fabs((double)attn - magnitude) <= 1e-3 * magnitude)) {
        return refuse_value(attn_key, (double)attn, "1 + 0.1 ln(factor), or 1 without YaRN,", e);
    }
    if (!(c->rope_attn_factor > 0 && c->rope_attn_factor < 1e3f)) {
        return error_set(e, ERROR_FORMAT,
                         "key 'llama.rope.scaling.attn_factor': %g is outside 0 to 1000",
                         (double)c->rope_attn_factor);
    }
    if (yarn && !(c->rope_ctx_orig > 0 && c->yarn_beta_fast > c->yarn_beta_slow &&
                  c->yarn_beta_slow > 0 && c->yarn_beta_fast < 1e6f)) {
        return error_set(e, ERROR_FORMAT,
                         "YaRN keys do not fit together: original context %u, beta %g and %g",
                         c->rope_ctx_orig, (double)c->yarn_beta_fast, (double)c->yarn_beta_slow);
    }
    return true;
}

static bool read_rope(struct model_config *c, const struct gguf *g, struct error *e)
{
    c->rope_base = 10000.0f;
    if (!read_scaling(c, g, e) || !read_yarn(c, g, e) ||
        !gguf_get_f32(g, "llama.rope.freq_base", false, &c->rope_base, e)) {
        return false;
    }
    return (c->rope_base > 1.0f && c->rope_base < 1e12f) ||
           error_set(e, ERROR_FORMAT, "key 'llama.rope.freq_base': %g is outside 1 to 1e12",
                     (double)c->rope_base);
}

double model_yarn_magnitude(const struct model_config *c)
{
    bool grows = c->rope_scaling == ROPE_SCALING_YARN && c->rope_factor > 1.0f;
    return grows ? 1.0 + 0.1 * fmath_log((double)c->rope_factor) : 1.0;
}

/* Keys of the format that change what a model computes and that Puna does not compute: a value
 * other than the neutral one, or 0 for "not set", must not be ignored. */
static bool refuse_scales(const struct gguf *g, struct error *e)
{
    static const struct {
        const char *key;
        float neutral;
    } floats[] = {
        {"llama.logit_scale", 1},
        {"llama.residual_scale", 1},
        {"llama.embedding_scale", 1},
        {"llama.attention.output_scale", 1},
        {"llama.attention.value_scale", 1},
        {"llama.attention.temperature_scale", 0},
        {"llama.attention.max_alibi_bias", 0},
        {"llama.attention.clamp_kqv", 0},
        {"llama.attn_logit_softcapping", 0},
        {"llama.final_logit_softcapping", 0},
        {"llama.rope.scaling.alpha", 0},
        {"llama.rope.scaling.yarn_log_multiplier", 0},
    };
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        float value = floats[i].neutral;
        if (!gguf_get_f32(g, floats[i].key, false, &value, e)) {
            return false;
        }
        if (value != 0.0f && value != floats[i].neutral) {
            return refuse_value(floats[i].key, (double)value, floats[i].neutral == 0.0f ? "0" : "1",
                                e);
        }
    }
    return true;
}

static bool refuse_attention(const struct model_config *c, const struct gguf *g, struct error *e)
{
    static const char scale_key[] = "llama.attention.scale";
    static const char window_key[] = "llama.attention.sliding_window";
    double usual = 1.0 / sqrt(c->dim_k);
    float scale = 0.0f;
    uint32_t window = 0;
    bool causal = true, parallel = false;
    if (!gguf_get_f32(g, scale_key, false, &scale, e) ||
        !gguf_get_u32(g, window_key, false, &window, e) ||
        !gguf_get_bool(g, "llama.attention.causal", false, &causal, e) ||
        !gguf_get_bool(g, "llama.use_parallel_residual", false, &parallel, e)) {
        return false;
    }
    if (scale != 0.0f && !(fabs((double)scale - usual) <= 1e-5 * usual)) {
        return refuse_value(scale_key, (double)scale, "1/sqrt(key length)", e);
    }
    if (window != 0 && window < c->ctx_train) {
        return refuse_value(window_key, window, "0 or the context length", e);
    }
    return (causal && !parallel) ||
           error_set(e, ERROR_UNSUPPORTED, "key '%s' is %s, which is not supported",
                     causal ? "llama.use_parallel_residual" : "llama.attention.causal",
                     causal ? "true" : "false");
}

/* Rows of the embedding; the token list must agree when the file has one. */
static bool read_vocab(struct model_config *c, const struct gguf *g, struct error *e)
{
    const struct gguf_tensor *t = gguf_find_tensor(g, "token_embd.weight");
    if (t == NULL) {
        return error_set(e, ERROR_FORMAT, "tensor 'token_embd.weight' is missing (%zu tensors%s)",
                         gguf_n_tensors(g),
                         gguf_n_tensors(g) == 0 ? ": this file holds a vocabulary alone" : "");
    }
    if (t->dims[1] < 1 || t->dims[1] > MODEL_MAX_VOCAB) {
        return error_set(e, ERROR_FORMAT, "tensor 'token_embd.weight': %llu rows, expected 1 to %d",
                         (unsigned long long)t->dims[1], MODEL_MAX_VOCAB);
    }
    c->n_vocab = (uint32_t)t->dims[1];
    const struct gguf_value *tokens = gguf_find(g, "tokenizer.ggml.tokens");
    if (tokens != NULL && tokens->type == GGUF_ARRAY && tokens->n_items > c->n_vocab) {
        return error_set(e, ERROR_FORMAT, "%llu tokens, but 'token_embd.weight' has %u rows",
                         (unsigned long long)tokens->n_items, c->n_vocab);
    }
    return true;
}

bool model_config_read(struct model_config *out, const struct gguf *g, struct error *e)
{
    struct model_config c = {0};
    if (!check_architecture(g, e) || !read_sizes(&c, g, e) || !read_head_sizes(&c, g, e) ||
        !read_rope(&c, g, e) || !refuse_scales(g, e) || !refuse_attention(&c, g, e) ||
        !read_vocab(&c, g, e)) {
        return false;
    }
    *out = c;
    return true;
}
