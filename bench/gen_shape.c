/* gen_shape.c - the shapes of the Llama family, their tensors, and which type each tensor gets. */
#include "gen.h"

#include "base/fmath.h"

#include <stdio.h>
#include <string.h>

/* Sizes as Meta and Hugging Face publish them in config.json. */
#define LLAMA_3                                                                                    \
    .vocab = 128256, .ctx = 131072, .rope_base = 500000, .rope_original = 8192, .rope_freqs = true
static const struct gen_shape presets[] = {
    {.name = "tiny",
     .layers = 2,
     .embd = 256,
     .heads = 4,
     .kv_heads = 2,
     .key_length = 64,
     .ff = 512,
     .vocab = 512,
     .ctx = 2048,
     .rope_base = 10000},
    {.name = "135m",
     .layers = 30,
     .embd = 576,
     .heads = 9,
     .kv_heads = 3,
     .key_length = 64,
     .ff = 1536,
     .vocab = 49152,
     .ctx = 8192,
     .rope_base = 100000,
     .tied = true},
    {.name = "1b",
     .layers = 16,
     .embd = 2048,
     .heads = 32,
     .kv_heads = 8,
     .key_length = 64,
     .ff = 8192,
     .rope_factor = 32,
     .tied = true,
     LLAMA_3},
    {.name = "3b",
     .layers = 28,
     .embd = 3072,
     .heads = 24,
     .kv_heads = 8,
     .key_length = 128,
     .ff = 8192,
     .rope_factor = 32,
     .tied = true,
     LLAMA_3},
    {.name = "7b",
     .layers = 32,
     .embd = 4096,
     .heads = 32,
     .kv_heads = 32,
     .key_length = 128,
     .ff = 11008,
     .vocab = 32000,
     .ctx = 4096,
     .rope_base = 10000},
    {.name = "8b",
     .layers = 32,
     .embd = 4096,
     .heads = 32,
     .kv_heads = 8,
     .key_length = 128,
     .ff = 14336,
     .rope_factor = 8,
     LLAMA_3},
    {.name = "13b",
     .layers = 40,
     .embd = 5120,
     .heads = 40,
     .kv_heads = 40,
     .key_length = 128,
     .ff = 13824,
     .vocab = 32000,
     .ctx = 4096,
     .rope_base = 10000},
    {.name = "70b",
     .layers = 80,
     .embd = 8192,
     .heads = 64,
     .kv_heads = 8,
     .key_length = 128,
     .ff = 28672,
     .rope_factor = 8,
     LLAMA_3},
    {.name = "405b",
     .layers = 126,
     .embd = 16384,
     .heads = 128,
     .kv_heads = 8,
     .key_length = 128,
     .ff = 53248,
     .rope_factor = 8,
     LLAMA_3},
};

const struct gen_shape *gen_shape_find(const char *name, const char **out_names)
{
    *out_names = "tiny, 135m, 1b, 3b, 7b, 8b, 13b, 70b, 405b";
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        if (strcmp(presets[i].name, name) == 0) {
            return &presets[i];
        }
    }
    return NULL;
}

bool gen_shape_check(const struct gen_shape *s, struct error *e)
{
    uint32_t rope_dim = gen_shape_rope_dim(s);
    if (s->heads % s->kv_heads != 0) {
        return error_set(e, ERROR_USAGE, "%u heads are no multiple of %u KV heads", s->heads,
                         s->kv_heads);
    }
    if (rope_dim % 2 != 0 || rope_dim > s->key_length) {
        return error_set(e, ERROR_USAGE, "rope dimension %u: must be even and at most %u (a key)",
                         rope_dim, s->key_length);
    }
    if (s->rope_scaling != NULL && strcmp(s->rope_scaling, "linear") != 0 &&
        strcmp(s->rope_scaling, "yarn") != 0) {
        return error_set(e, ERROR_USAGE, "rope scaling '%s': linear or yarn expected",
                         s->rope_scaling);
    }
    if ((s->rope_freqs || s->rope_scaling != NULL) &&
        (s->rope_factor < 1 || s->rope_original == 0)) {
        return error_set(e, ERROR_USAGE,
                         "rope scaling needs --rope-factor and --rope-original-ctx");
    }
    return true;
}

bool gen_recipe_parse(const char *name, struct gen_recipe *out, struct error *e)
{
    /* general.file_type: values of enum llama_ftype in llama.h */
    static const struct {
        const char *name;
        struct gen_recipe recipe;
    } recipes[] = {
        {"F32", {QUANT_F32, false, 0}},        {"F16", {QUANT_F16, false, 1}},
        {"BF16", {QUANT_BF16, false, 32}},     {"Q4_0", {QUANT_Q4_0, false, 2}},
        {"Q4_1", {QUANT_Q4_1, false, 3}},      {"Q5_0", {QUANT_Q5_0, false, 8}},
        {"Q5_1", {QUANT_Q5_1, false, 9}},      {"Q8_0", {QUANT_Q8_0, false, 7}},
        {"Q2_K", {QUANT_Q2_K, false, 10}},     {"Q3_K", {QUANT_Q3_K, false, 11}},
        {"Q4_K", {QUANT_Q4_K, false, 14}},     {"Q5_K", {QUANT_Q5_K, false, 16}},
        {"Q6_K", {QUANT_Q6_K, false, 18}},     {"IQ4_NL", {QUANT_IQ4_NL, false, 25}},
        {"IQ4_XS", {QUANT_IQ4_XS, false, 30}}, {"Q4_K_M", {QUANT_Q4_K, true, 15}},
        {"Q5_K_M", {QUANT_Q5_K, true, 17}},
    };
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++) {
        if (strcmp(recipes[i].name, name) == 0) {
            *out = recipes[i].recipe;
            return true;
        }
    }
    return error_set(e, ERROR_USAGE,
                     "type '%s': F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, "
                     "Q5_K, Q6_K, IQ4_NL, IQ4_XS, Q4_K_M or Q5_K_M expected",
                     name);
}

/* What llama.cpp takes instead when a row is no multiple of the type's block. */
static enum quant_type fit_columns(enum quant_type type, uint64_t cols)
{
    static const enum quant_type smaller[QUANT_TYPE_COUNT] = {
        [QUANT_Q2_K] = QUANT_Q4_0, [QUANT_Q3_K] = QUANT_Q4_0, [QUANT_IQ4_XS] = QUANT_IQ4_NL,
        [QUANT_Q4_K] = QUANT_Q5_0, [QUANT_Q5_K] = QUANT_Q5_1, [QUANT_Q6_K] = QUANT_Q8_0,
    };
    if (cols % quant_type_info(type)->block_items == 0) {
        return type;
    }
    enum quant_type fit = smaller[type];
    return fit != 0 && cols % quant_type_info(fit)->block_items == 0 ? fit : QUANT_F16;
}

/* Layers whose attn_v and ffn_down get more bits in the _M mixes: the first and last eighth, and
 * every third one between. source  llama.cpp, src/llama-quant.cpp */
static bool has_more_bits(uint32_t layer, uint32_t n_layers)
{
    uint32_t eighth = n_layers / 8;
    return layer < eighth || layer >= 7 * n_layers / 8 || (layer - eighth) % 3 == 2;
}

enum role { ROLE_HEAD, ROLE_V, ROLE_DOWN, ROLE_OTHER };

static enum quant_type type_for(const struct gen_shape *s, const struct gen_recipe *r,
                                enum role role, uint32_t layer, uint64_t cols)
{
    enum quant_type type = r->base;
    if (!r->mix) {
        return fit_columns(type, cols);
    }
    if (role == ROLE_HEAD) {
        type = cols % quant_type_info(type)->block_items == 0 ? QUANT_Q6_K : QUANT_Q8_0;
    } else if ((role == ROLE_V || role == ROLE_DOWN) && has_more_bits(layer, s->layers)) {
        type = QUANT_Q6_K;
    } else if (role == ROLE_V && type == QUANT_Q4_K && s->layers == 80 && s->heads != s->kv_heads) {
        type = QUANT_Q5_K; /* the 70B models: attn_v is small there */
    }
    return fit_columns(type, cols);
}

static void set_matrix(struct gen_tensor *t, enum quant_type type, uint64_t cols, uint64_t rows,
                       float spread)
{
    t->type = type;
    t->n_dims = 2;
    t->dims[0] = cols;
    t->dims[1] = rows;
    t->values = GEN_RANDOM;
    t->spread = spread;
}

static void set_vector(struct gen_tensor *t, enum gen_values values, uint64_t n, float spread)
{
    t->type = QUANT_F32;
    t->n_dims = 1;
    t->dims[0] = n;
    t->dims[1] = 1;
    t->values = values;
    t->spread = spread;
}

static float inverse_root(uint64_t n)
{
    return 1.0f / sqrtf((float)n);
}

/* Matrices of a layer; those before PART_GATE belong to attention. */
enum part { PART_Q, PART_K, PART_V, PART_O, PART_GATE, PART_UP, PART_DOWN, PART_COUNT };

static const char *const part_names[PART_COUNT] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                                   "ffn_gate", "ffn_up", "ffn_down"};

static void part_dims(const struct gen_shape *s, uint32_t part, uint64_t *cols, uint64_t *rows)
{
    const uint64_t dims[PART_COUNT][2] = {
        [PART_Q] = {s->embd, (uint64_t)s->heads * s->key_length},
        [PART_K] = {s->embd, (uint64_t)s->kv_heads * s->key_length},
        [PART_V] = {s->embd, (uint64_t)s->kv_heads * s->value_length},
        [PART_O] = {(uint64_t)s->heads * s->value_length, s->embd},
        [PART_GATE] = {s->embd, s->ff},
        [PART_UP] = {s->embd, s->ff},
        [PART_DOWN] = {s->ff, s->embd},
    };
    *cols = dims[part][0];
    *rows = dims[part][1];
}

static uint32_t layer_n_tensors(const struct gen_shape *s)
{
    return 2 + PART_COUNT + (s->bias ? PART_GATE : 0) + (s->mlp_bias ? PART_COUNT - PART_GATE : 0);
}

/* Tensor `index` of a layer: two norms, the matrices, then the biases there are. */
static void layer_tensor_at(const struct gen_shape *s, const struct gen_recipe *r, uint32_t layer,
                            uint32_t index, struct gen_tensor *out)
{
    uint64_t cols, rows;
    if (index < 2) {
        snprintf(out->name, sizeof out->name, "blk.%u.%s_norm.weight", layer,
                 index == 0 ? "attn" : "ffn");
        set_vector(out, GEN_NORM, s->embd, 0.1f);
    } else if (index < 2 + PART_COUNT) {
        uint32_t part = index - 2;
        enum role role = part == PART_V ? ROLE_V : part == PART_DOWN ? ROLE_DOWN : ROLE_OTHER;
        part_dims(s, part, &cols, &rows);
        snprintf(out->name, sizeof out->name, "blk.%u.%s.weight", layer, part_names[part]);
        set_matrix(out, type_for(s, r, role, layer, cols), cols, rows, inverse_root(cols));
    } else {
        uint32_t part = index - 2 - PART_COUNT + (s->bias ? 0 : PART_GATE);
        part_dims(s, part, &cols, &rows);
        snprintf(out->name, sizeof out->name, "blk.%u.%s.bias", layer, part_names[part]);
        set_vector(out, GEN_RANDOM, rows, 0.1f);
    }
}

bool gen_tensor_at(const struct gen_shape *s, const struct gen_recipe *r, uint32_t index,
                   struct gen_tensor *out)
{
    struct gen_tensor t = {0};
    /* logits with a root mean square of 3: peaked, as a trained model's are, but not degenerate */
    float head_spread = 3 * inverse_root(s->embd);
    uint32_t n_layered = layer_n_tensors(s) * s->layers;
    if (index == 0) {
        snprintf(t.name, sizeof t.name, "token_embd.weight");
        enum role role = s->tied ? ROLE_HEAD : ROLE_OTHER;
        set_matrix(&t, type_for(s, r, role, 0, s->embd), s->embd, s->vocab,
                   s->tied ? head_spread : 1.0f);
    } else if (index <= n_layered) {
        uint32_t n = layer_n_tensors(s);
        layer_tensor_at(s, r, (index - 1) / n, (index - 1) % n, &t);
    } else if (index == n_layered + 1) {
        snprintf(t.name, sizeof t.name, "output_norm.weight");
        set_vector(&t, GEN_NORM, s->embd, 0.1f);
    } else if (index == n_layered + 2 && !s->tied) {
        snprintf(t.name, sizeof t.name, "output.weight");
        set_matrix(&t, type_for(s, r, ROLE_HEAD, 0, s->embd), s->embd, s->vocab, head_spread);
    } else if (index == n_layered + (s->tied ? 2 : 3) && s->rope_freqs) {
        snprintf(t.name, sizeof t.name, "rope_freqs.weight");
        set_vector(&t, GEN_ROPE_FREQS, gen_shape_rope_dim(s) / 2, 0);
    } else {
        return false;
    }
    *out = t;
    return true;
}

uint64_t gen_tensor_bytes(const struct gen_tensor *t)
{
    const struct quant_info *info = quant_type_info(t->type);
    return t->dims[0] * t->dims[1] / info->block_items * info->block_bytes;
}

void gen_rope_freqs(const struct gen_shape *s, float *dst)
{
    const double low = 1, high = 4; /* low_freq_factor, high_freq_factor of every Llama 3 */
    uint32_t rope_dim = gen_shape_rope_dim(s);
    double original = s->rope_original;
    for (uint32_t i = 0; i < rope_dim / 2; i++) {
        double power = fmath_pow((double)s->rope_base, 2.0 * i / rope_dim);
        double wavelength = 2 * 3.14159265358979323846 * power;
        double factor = (double)s->rope_factor;
        if (wavelength < original / high) {
            factor = 1;
        } else if (wavelength <= original / low) {
            double smooth = (original / wavelength - low) / (high - low);
            factor = 1 / ((1 - smooth) / factor + smooth);
        }
        dst[i] = (float)factor;
    }
}
