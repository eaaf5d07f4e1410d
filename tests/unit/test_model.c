/* test_model.c - configuration, tensors, RoPE and KV pages of models made by hand: a table of bad
 * models with what is said of them, and what good ones are read as. */
#include "base/fmath.h"
#include "base/mem.h"
#include "model/forward.h"
#include "model_file.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

static struct pool *pool;

static int make_pool(void **state)
{
    (void)state;
    pool = pool_create(2, NULL);
    return pool == NULL;
}

static int destroy_pool(void **state)
{
    (void)state;
    pool_destroy(pool);
    return 0;
}

struct loaded {
    struct model_file file;
    struct model model;
};

static bool load(struct loaded *l, const struct model_spec *spec, bool exact, struct error *e)
{
    model_file_open(&l->file, spec, e);
    bool ok =
        l->file.gguf != NULL && model_load(&l->model, l->file.gguf, kern_get(kern_best(), NULL),
                                           &(struct model_load_options){.exact = exact}, pool, e);
    if (!ok) {
        model_file_close(&l->file);
    }
    return ok;
}

static void load_good(struct loaded *l, const struct model_spec *spec)
{
    struct error e = {0};
    if (!load(l, spec, false, &e)) {
        fail_msg("%s", e.text);
    }
}

static void unload(struct loaded *l)
{
    model_finish(&l->model);
    model_file_close(&l->file);
}

static void expect_error(const char *name, const struct model_spec *spec, enum error_code code,
                         const char *message)
{
    for (int exact = 0; exact <= 1; exact++) {
        struct error e = {0};
        struct loaded l;
        if (load(&l, spec, exact, &e)) {
            fail_msg("%s: loaded", name);
        }
        if (e.code != code || strstr(e.text, message) == NULL) {
            fail_msg("%s: code %d '%s', expected code %d '%s'", name, (int)e.code, e.text,
                     (int)code, message);
        }
    }
}

/* --- bad models */

#define U32(key, value)   GGUF_TEXT_U32(key, value)
#define STRING(key, text) GGUF_TEXT_STR(key, text)
#define F32(key, value)   " s:" key " 4:6 f4:" #value
#define BOOL(key, value)  " s:" key " 4:7 1:" #value
#define KEYS(n, text)     .keys = text, .n_keys = n
#define ROPE              "llama.rope.scaling."
#define YARN              STRING(ROPE "type", "yarn") F32(ROPE "factor", 4)
#define EXTRA(name, c, r) .tensor = {name, c, r, QUANT_F32}
#define POKE(name, at, x) .poked = name, .poked_at = at, .poked_value = x

static const struct {
    const char *name;
    struct model_spec spec;
    enum error_code code;
    const char *message;
} bad_models[] = {
    {"no architecture", {.without = "general.architecture"}, ERROR_FORMAT, "general.architecture"},
    {"another architecture",
     {.without = "general.architecture", KEYS(1, STRING("general.architecture", "qwen2"))},
     ERROR_UNSUPPORTED,
     "'qwen2'"},
    {"experts", {KEYS(1, U32("llama.expert_count", 8))}, ERROR_UNSUPPORTED, "expert_count is 8"},
    {"layers as text",
     {.without = "llama.block_count", KEYS(1, STRING("llama.block_count", "1"))},
     ERROR_FORMAT,
     "llama.block_count"},
    {"no layer",
     {.without = "llama.block_count", KEYS(1, U32("llama.block_count", 0))},
     ERROR_FORMAT,
     "0 is outside 1 to 1024"},
    {"too many layers",
     {.without = "llama.block_count", KEYS(1, U32("llama.block_count", 1025))},
     ERROR_FORMAT,
     "1025 is outside"},
    {"no context",
     {.without = "llama.context_length", KEYS(1, U32("llama.context_length", 0))},
     ERROR_FORMAT,
     "'llama.context_length': 0"},
    {"no heads",
     {.without = "llama.attention.head_count", KEYS(1, U32("llama.attention.head_count", 0))},
     ERROR_FORMAT,
     "'llama.attention.head_count': 0"},
    {"heads that KV heads do not divide",
     {.without = "llama.attention.head_count_kv", KEYS(1, U32("llama.attention.head_count_kv", 3))},
     ERROR_FORMAT,
     "2 attention heads are no multiple of 3 KV heads"},
    {"no KV heads",
     {.without = "llama.attention.head_count_kv", KEYS(1, U32("llama.attention.head_count_kv", 0))},
     ERROR_FORMAT,
     "of 0 KV heads"},
    {"layers of different widths",
     {.without = "llama.feed_forward_length",
      KEYS(1, " s:llama.feed_forward_length 4:9 4:4 8:2 4:48 4:64")},
     ERROR_UNSUPPORTED,
     "differs between layers (48 and 64)"},
    {"a head too small",
     {KEYS(1, U32("llama.attention.key_length", 8))},
     ERROR_UNSUPPORTED,
     "head size 8"},
    {"a head too large",
     {KEYS(1, U32("llama.attention.value_length", 1024))},
     ERROR_UNSUPPORTED,
     "head size 1024"},
    {"a head of an odd size",
     {KEYS(1, U32("llama.attention.key_length", 24))},
     ERROR_UNSUPPORTED,
     "head size 24"},
    {"a head of nothing",
     {KEYS(1, U32("llama.attention.value_length", 0))},
     ERROR_UNSUPPORTED,
     "head size 0"},
    {"half a pair rotates",
     {KEYS(1, U32("llama.rope.dimension_count", 15))},
     ERROR_FORMAT,
     "15 is no even number from 2 to 16"},
    {"more rotates than a head has",
     {KEYS(1, U32("llama.rope.dimension_count", 18))},
     ERROR_FORMAT,
     "18 is no even number"},
    {"epsilon of nothing",
     {.without = "llama.attention.layer_norm_rms_epsilon",
      KEYS(1, F32("llama.attention.layer_norm_rms_epsilon", 0))},
     ERROR_FORMAT,
     "layer_norm_rms_epsilon': 0"},
    {"epsilon that is no number",
     {.without = "llama.attention.layer_norm_rms_epsilon",
      KEYS(1, F32("llama.attention.layer_norm_rms_epsilon", nan))},
     ERROR_FORMAT,
     "layer_norm_rms_epsilon': nan"},
    {"longrope", {KEYS(1, STRING(ROPE "type", "longrope"))}, ERROR_UNSUPPORTED, "'longrope'"},
    {"a scaling nobody knows", {KEYS(1, STRING(ROPE "type", "su"))}, ERROR_UNSUPPORTED, "'su'"},
    {"a negative factor", {KEYS(1, F32(ROPE "factor", -2))}, ERROR_FORMAT, "-2 is outside"},
    {"a factor that is no number", {KEYS(1, F32(ROPE "factor", nan))}, ERROR_FORMAT, "nan is"},
    {"a factor that turns too fast", {KEYS(1, F32(ROPE "factor", 1e-5))}, ERROR_FORMAT, "pair 0"},
    {"a base below 1", {KEYS(1, F32("llama.rope.freq_base", 0.5))}, ERROR_FORMAT, "freq_base"},
    {"no attention factor", {KEYS(1, F32(ROPE "attn_factor", 0))}, ERROR_FORMAT, "attn_factor': 0"},
    {"betas the wrong way round",
     {KEYS(3, YARN F32(ROPE "yarn_beta_fast", 0.5))},
     ERROR_FORMAT,
     "beta 0.5 and 1"},
    {"YaRN of another share",
     {KEYS(3, YARN F32(ROPE "yarn_ext_factor", 0.5))},
     ERROR_UNSUPPORTED,
     "yarn_ext_factor' is 0.5"},
    {"YaRN of another magnitude",
     {KEYS(3, YARN F32(ROPE "yarn_attn_factor", 3))},
     ERROR_UNSUPPORTED,
     "yarn_attn_factor' is 3"},
    {"YaRN of another logarithm",
     {KEYS(3, YARN F32(ROPE "yarn_log_multiplier", 0.1))},
     ERROR_UNSUPPORTED,
     "yarn_log_multiplier"},
    {"YaRN's share without YaRN",
     {KEYS(1, F32(ROPE "yarn_ext_factor", 1))},
     ERROR_UNSUPPORTED,
     "yarn_ext_factor' is 1"},
    {"alpha", {KEYS(1, F32(ROPE "alpha", 1000))}, ERROR_UNSUPPORTED, "scaling.alpha"},
    {"attention in both directions",
     {KEYS(1, BOOL("llama.attention.causal", 0))},
     ERROR_UNSUPPORTED,
     "'llama.attention.causal' is false"},
    {"parallel residual",
     {KEYS(1, BOOL("llama.use_parallel_residual", 1))},
     ERROR_UNSUPPORTED,
     "'llama.use_parallel_residual' is true"},
    {"attention of another scale",
     {KEYS(1, F32("llama.attention.scale", 0.5))},
     ERROR_UNSUPPORTED,
     "'llama.attention.scale' is 0.5"},
    {"a sliding window",
     {KEYS(1, U32("llama.attention.sliding_window", 64))},
     ERROR_UNSUPPORTED,
     "sliding_window' is 64"},
    {"scaled logits",
     {KEYS(1, F32("llama.logit_scale", 2))},
     ERROR_UNSUPPORTED,
     "logit_scale' is 2"},
    {"logits that are no number",
     {KEYS(1, F32("llama.logit_scale", nan))},
     ERROR_UNSUPPORTED,
     "logit_scale' is nan"},
    {"a scaled residual",
     {KEYS(1, F32("llama.residual_scale", 0.2))},
     ERROR_UNSUPPORTED,
     "residual_scale"},
    {"a scaled embedding",
     {KEYS(1, F32("llama.embedding_scale", 12))},
     ERROR_UNSUPPORTED,
     "embedding_scale"},
    {"capped logits",
     {KEYS(1, F32("llama.final_logit_softcapping", 30))},
     ERROR_UNSUPPORTED,
     "final_logit_softcapping"},
    {"ALiBi",
     {KEYS(1, F32("llama.attention.max_alibi_bias", 8))},
     ERROR_UNSUPPORTED,
     "max_alibi_bias"},
    {"more tokens than rows",
     {KEYS(1, " s:tokenizer.ggml.tokens 4:9 4:8 8:21 zero:168")},
     ERROR_FORMAT,
     "21 tokens, but 'token_embd.weight' has 20 rows"},
    {"experts' tensors",
     {EXTRA("blk.0.ffn_gate_inp.weight", 32, 4)},
     ERROR_FORMAT,
     "'blk.0.ffn_gate_inp.weight' (32 x 4)"},
    {"a layer too many",
     {EXTRA("blk.1.attn_q.weight", 32, 32)},
     ERROR_FORMAT,
     "1 of 13 tensors are not part of a 'llama' model of 1 layers, the first is "
     "'blk.1.attn_q.weight'"},
    {"a layer's name with zeros", {EXTRA("blk.00.attn_q.weight", 4, 4)}, ERROR_FORMAT, "'blk.00."},
    {"a layer's name with a sign", {EXTRA("blk.+0.attn_q.weight", 4, 4)}, ERROR_FORMAT, "'blk.+0."},
    {"a layer's number that wraps",
     {EXTRA("blk.4294967296.attn_q.weight", 4, 4)},
     ERROR_FORMAT,
     "'blk.4294967296."},
    {"a bias of a tied output",
     {.without = "output.weight", EXTRA("output.bias", 20, 0)},
     ERROR_FORMAT,
     "without output.weight, the first is 'output.bias' (20)"},
    {"a norm in blocks",
     {.tensor = {"output_norm.weight", 32, 0, QUANT_Q8_0}},
     ERROR_UNSUPPORTED,
     "'output_norm.weight' is Q8_0, expected F32, F16 or BF16"},
    {"a norm that is no number",
     {POKE("output_norm.weight", 3, NAN)},
     ERROR_FORMAT,
     "'output_norm.weight': item 3 is nan"},
    {"a norm without bound",
     {POKE("blk.0.ffn_norm.weight", 31, -INFINITY)},
     ERROR_FORMAT,
     "'blk.0.ffn_norm.weight': item 31 is -inf"},
    {"a bias without bound",
     {EXTRA("blk.0.attn_q.bias", 32, 0), POKE("blk.0.attn_q.bias", 0, INFINITY)},
     ERROR_FORMAT,
     "'blk.0.attn_q.bias': item 0 is inf"},
    {"a divisor of 0",
     {EXTRA("rope_freqs.weight", 8, 0), POKE("rope_freqs.weight", 7, 0)},
     ERROR_FORMAT,
     "'rope_freqs.weight': item 7 is 0, expected a finite number above 0"},
    {"a divisor below 0",
     {EXTRA("rope_freqs.weight", 8, 0), POKE("rope_freqs.weight", 7, -1)},
     ERROR_FORMAT,
     "item 7 is -1"},
    {"a divisor that turns too fast",
     {EXTRA("rope_freqs.weight", 8, 0), POKE("rope_freqs.weight", 2, 1e-9f)},
     ERROR_FORMAT,
     "RoPE pair 2"},
    {"divisors for other heads",
     {EXTRA("rope_freqs.weight", 16, 0)},
     ERROR_FORMAT,
     "has shape 16, expected 8 x 1"},
};

static void bad_models_are_refused_with_what_is_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_models / sizeof bad_models[0]; i++) {
        expect_error(bad_models[i].name, &bad_models[i].spec, bad_models[i].code,
                     bad_models[i].message);
    }
}

static void every_missing_key_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < MODEL_FILE_KEYS; i++) {
        const char *name = model_file_keys[i].name;
        if (strcmp(name, "llama.attention.head_count_kv") != 0) {
            expect_error(name, &(struct model_spec){.without = name}, ERROR_FORMAT, name);
        }
    }
}

static void every_missing_or_misshaped_tensor_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < MODEL_FILE_TENSORS; i++) {
        struct model_file_tensor t = model_file_tensors[i];
        if (strcmp(t.name, "output.weight") != 0) {
            expect_error(t.name, &(struct model_spec){.without = t.name}, ERROR_FORMAT, t.name);
        }
        struct model_spec wide = {.tensor = t};
        wide.tensor.cols += 1;
        expect_error("wide", &wide, ERROR_FORMAT, t.name);
        struct model_spec high = {.tensor = t};
        high.tensor.rows = t.rows == 0 ? 2 : t.rows + 1;
        expect_error("high", &high, ERROR_FORMAT,
                     i == 0 ? "output.weight"
                            : t.name); /* the embedding's rows are the vocabulary */
    }
}

/* --- good models */

static void sizes_are_read_from_the_keys(void **state)
{
    (void)state;
    struct loaded l;
    load_good(&l, &(struct model_spec){0});
    const struct model_config *c = &l.model.config;
    assert_int_equal(c->n_layers, 1);
    assert_int_equal(c->n_embd, MODEL_FILE_EMBD);
    assert_int_equal(c->n_ff, MODEL_FILE_FF);
    assert_int_equal(c->n_heads, 2);
    assert_int_equal(c->n_kv_heads, 1);
    assert_true(c->dim_k == 16 && c->dim_v == 16 && c->n_rot == 16);
    assert_int_equal(c->n_vocab, MODEL_FILE_VOCAB);
    assert_int_equal(c->ctx_train, MODEL_FILE_CTX);
    assert_true(c->rope_scaling == ROPE_SCALING_NONE && c->rope_factor == 1.0f);
    assert_true(c->rope_base == 10000.0f);
    assert_null(l.model.weights.rope_factors);
    assert_ptr_not_equal(l.model.weights.output.tensor, l.model.weights.embedding);
    unload(&l);
}

static void other_good_models_load(void **state)
{
    (void)state;
    static const struct model_spec specs[] = {
        {EXTRA("blk.0.attn_q.bias", 32, 0)},
        {EXTRA("output.bias", 20, 0)},
        {.tensor = {"output_norm.weight", 32, 0, QUANT_F16}},
        {.tensor = {"blk.0.attn_q.weight", 32, 32, QUANT_Q8_0}},
        {EXTRA("rope_freqs.weight", 8, 0)},
        {.without = "llama.attention.head_count",
         KEYS(1, " s:llama.attention.head_count 4:9 4:5 8:2 4:2 4:2")},
        {KEYS(5, U32("llama.attention.sliding_window", 128) F32("llama.logit_scale", 1)
                     F32("llama.attention.scale", 0.25) BOOL("llama.attention.causal", 1)
                         U32("llama.expert_count", 0))},
        {KEYS(4, YARN F32(ROPE "yarn_attn_factor", 1.1386294) F32(ROPE "yarn_ext_factor", 1))},
        {KEYS(2, F32(ROPE "yarn_attn_factor", 1) F32(ROPE "yarn_ext_factor", -1))},
    };
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        struct loaded l;
        load_good(&l, &specs[i]);
        unload(&l);
    }
    struct loaded l;
    load_good(&l, &(struct model_spec){.without = "output.weight"});
    assert_ptr_equal(l.model.weights.output.tensor, l.model.weights.embedding);
    unload(&l);
}

static void memory_that_runs_out_while_loading_is_an_error(void **state)
{
    (void)state;
    static const struct model_spec spec = {EXTRA("blk.0.attn_q.bias", 32, 0)};
    struct model_file f;
    model_file_open(&f, &spec, NULL);
    for (int exact = 0; exact <= 1; exact++) {
        bool ok = false;
        size_t n = 0;
        while (!ok) {
            struct error e = {0};
            struct model m;
            mem_fail_nth(++n);
            ok = model_load(&m, f.gguf, kern_get(KERN_REF, NULL),
                            &(struct model_load_options){.exact = exact}, pool, &e);
            mem_fail_nth(0);
            assert_true(ok || e.code == ERROR_MEMORY);
            if (ok) {
                model_finish(&m);
            }
        }
        assert_true(n > 3);
    }
    model_file_close(&f);
}

/* --- the digest */

static struct digest digest_model(const struct model_spec *spec)
{
    struct loaded l;
    struct digest d = {0};
    struct error e = {0};
    load_good(&l, spec);
    for (size_t n = 3; n > 0; n--) { /* three allocations, and then all goes well */
        mem_fail_nth(n);
        assert_false(model_digest(&l.model, pool, &d, &e));
        assert_int_equal(e.code, ERROR_MEMORY);
    }
    mem_fail_nth(0);
    assert_true(model_digest(&l.model, pool, &d, &e));
    unload(&l);
    return d;
}

static void whatever_the_tokens_depend_on_changes_the_digest(void **state)
{
    (void)state;
    struct model_spec specs[MODEL_FILE_TENSORS + 9] = {
        {0},
        {.without = "output.weight"},
        {EXTRA("blk.0.attn_q.bias", 32, 0)},
        {EXTRA("rope_freqs.weight", 8, 0)},
        {.tensor = {"blk.0.attn_q.weight", 32, 32, QUANT_Q8_0}},
        {.tensor = {"blk.0.attn_q.weight", 32, 32, QUANT_Q5_0}},
        {.tensor = {"token_embd.weight", 32, 20, QUANT_Q8_0}},
        {KEYS(1, F32("llama.rope.freq_base", 20000))},
        {.without = "llama.attention.layer_norm_rms_epsilon",
         KEYS(1, F32("llama.attention.layer_norm_rms_epsilon", 1e-6))},
    };
    size_t n = 9;
    for (size_t i = 0; i < MODEL_FILE_TENSORS; i++) {
        const struct model_file_tensor *t = &model_file_tensors[i];
        specs[n++] = (struct model_spec){
            .poked = t->name, .poked_at = model_file_items(t) - 1, .poked_value = 0.25f};
    }
    struct digest digests[MODEL_FILE_TENSORS + 9];
    for (size_t i = 0; i < n; i++) {
        digests[i] = digest_model(&specs[i]);
        for (size_t k = 0; k < i; k++) {
            if (digest_eq(digests[i], digests[k])) {
                fail_msg("models %zu and %zu have one digest", k, i);
            }
        }
        assert_true(digest_eq(digests[i], digest_model(&specs[i])));
    }
}

/* --- RoPE */

static void read_scaling(const struct model_spec *spec, enum rope_scaling scaling, float factor,
                         double magnitude)
{
    struct loaded l;
    load_good(&l, spec);
    assert_int_equal(l.model.config.rope_scaling, scaling);
    assert_true(l.model.config.rope_factor == factor);
    assert_true(fabs(l.model.rope.magnitude - magnitude) < 1e-6);
    unload(&l);
}

static void a_scaling_factor_is_linear_unless_a_type_says_otherwise(void **state)
{
    (void)state;
    read_scaling(&(struct model_spec){KEYS(1, F32(ROPE "factor", 4))}, ROPE_SCALING_LINEAR, 4, 1);
    read_scaling(&(struct model_spec){KEYS(1, F32("llama.rope.scale_linear", 2))},
                 ROPE_SCALING_LINEAR, 2, 1);
    read_scaling(
        &(struct model_spec){KEYS(2, F32("llama.rope.scale_linear", 2) F32(ROPE "factor", 4))},
        ROPE_SCALING_LINEAR, 4, 1);
    read_scaling(&(struct model_spec){KEYS(1, F32(ROPE "factor", 0))}, ROPE_SCALING_NONE, 1, 1);
    read_scaling(&(struct model_spec){KEYS(2, STRING(ROPE "type", "none") F32(ROPE "factor", 4))},
                 ROPE_SCALING_NONE, 1, 1);
    read_scaling(&(struct model_spec){KEYS(2, YARN)}, ROPE_SCALING_YARN, 4,
                 1 + 0.1 * 1.3862943611198906);
}

static void the_attention_factor_counts_with_every_scaling(void **state)
{
    (void)state;
    read_scaling(&(struct model_spec){KEYS(1, F32(ROPE "attn_factor", 2))}, ROPE_SCALING_NONE, 1,
                 2);
    read_scaling(&(struct model_spec){KEYS(2, F32(ROPE "factor", 4) F32(ROPE "attn_factor", 2))},
                 ROPE_SCALING_LINEAR, 4, 2);
    read_scaling(&(struct model_spec){KEYS(3, YARN F32(ROPE "attn_factor", 2))}, ROPE_SCALING_YARN,
                 4, 2 * (1 + 0.1 * 1.3862943611198906));
}

static void check_frequencies(const struct model_spec *spec, const double *expected)
{
    struct loaded l;
    load_good(&l, spec);
    const struct rope *r = &l.model.rope;
    assert_int_equal(r->n_pairs, 8);
    float angles[16];
    rope_angles(r, 100, angles);
    for (uint32_t i = 0; i < 8; i++) {
        assert_true(fabs(r->frequency[i] - expected[i]) <= 1e-12 * expected[i]);
        assert_true(fabs((double)angles[2 * i] - r->magnitude * cos(100 * expected[i])) < 1e-6);
        assert_true(fabs((double)angles[2 * i + 1] - r->magnitude * sin(100 * expected[i])) < 1e-6);
    }
    unload(&l);
}

static void pairs_turn_by_powers_of_the_base(void **state)
{
    (void)state;
    double plain[8], slower[8], divided[8], yarn[8];
    for (int i = 0; i < 8; i++) {
        plain[i] = pow(10000.0, -i / 8.0);
        slower[i] = plain[i] / 4;
        divided[i] = i == 3 ? plain[i] / 2 : plain[i];
    }
    /* YaRN for 128 positions: pairs of more than 32 turns keep their frequency, those of less than
     * one are slowed down, between the indices where that happens by a straight line. */
    double low = floor(16 * log(128 / (32 * 2 * M_PI)) / (2 * log(10000)));
    double high = ceil(16 * log(128 / (2 * M_PI)) / (2 * log(10000)));
    low = fmax(low, 0);
    for (int i = 0; i < 8; i++) {
        double slowed = fmin(fmax((i - low) / (high - low), 0), 1);
        yarn[i] = plain[i] * (1 - slowed) + plain[i] / 4 * slowed;
    }
    check_frequencies(&(struct model_spec){0}, plain);
    check_frequencies(&(struct model_spec){KEYS(1, F32(ROPE "factor", 4))}, slower);
    check_frequencies(
        &(struct model_spec){EXTRA("rope_freqs.weight", 8, 0), POKE("rope_freqs.weight", 3, 2)},
        divided);
    check_frequencies(&(struct model_spec){KEYS(2, YARN)}, yarn);
}

/* --- KV pages */

static const struct model_config kv_config = {
    .n_layers = 2, .n_kv_heads = 3, .dim_k = 16, .dim_v = 32};

static void sequences_take_and_give_back_pages(void **state)
{
    (void)state;
    struct kv_pool p;
    struct kv_seq a, b;
    struct error e = {0};
    assert_true(kv_pool_init(&p, &kv_config, KERN_KV_Q16, 4 * KERN_ATTN_TILE, &e));
    assert_true(kv_seq_init(&a, 5 * KERN_ATTN_TILE, &e) && kv_seq_init(&b, KERN_ATTN_TILE, &e));
    assert_true(kv_seq_reserve(&a, &p, KERN_ATTN_TILE + 1, &e));
    a.n_tokens = KERN_ATTN_TILE + 1;
    assert_int_equal(a.n_pages, 2);
    assert_int_equal(p.n_free, 2);
    assert_true(kv_seq_reserve(&a, &p, KERN_ATTN_TILE - 1, &e)); /* the second page has room */
    assert_int_equal(p.n_free, 2);
    assert_true(kv_seq_reserve(&b, &p, 1, &e));
    assert_true(a.pages[0] != a.pages[1] && b.pages[0] != a.pages[0] && b.pages[0] != a.pages[1]);
    assert_false(kv_seq_reserve(&b, &p, KERN_ATTN_TILE + 1, &e));
    assert_int_equal(e.code, ERROR_CONTEXT);
    assert_false(kv_seq_reserve(&a, &p, 3 * KERN_ATTN_TILE, &e));
    assert_int_equal(e.code, ERROR_CONTEXT);
    assert_non_null(strstr(e.text, "1 of 4 are free"));
    assert_true(a.n_pages == 2 && p.n_free == 1);
    kv_seq_truncate(&a, &p, KERN_ATTN_TILE);
    assert_true(a.n_pages == 1 && a.n_tokens == KERN_ATTN_TILE && p.n_free == 2);
    kv_seq_truncate(&a, &p, KERN_ATTN_TILE + 5); /* nothing to forget */
    assert_int_equal(a.n_tokens, KERN_ATTN_TILE);
    kv_seq_finish(&a, &p);
    kv_seq_finish(&b, &p);
    assert_int_equal(p.n_free, 4);
    kv_pool_finish(&p);
}

static void note_copy(void *argument, uint32_t from, uint32_t to)
{
    uint32_t *noted = argument;
    noted[0]++;
    noted[1] = from;
    noted[2] = to;
}

static void a_fork_shares_pages_and_copies_the_one_it_writes_to(void **state)
{
    (void)state;
    struct kv_pool p;
    struct kv_seq a, b, c;
    struct error e = {0};
    uint32_t noted[3] = {0};
    assert_true(kv_pool_init(&p, &kv_config, KERN_KV_Q8_0, 5 * KERN_ATTN_TILE, &e));
    p.copied = note_copy;
    p.copied_argument = noted;
    assert_true(kv_seq_init(&a, 5 * KERN_ATTN_TILE, &e) &&
                kv_seq_init(&b, 5 * KERN_ATTN_TILE, &e) && kv_seq_init(&c, KERN_ATTN_TILE, &e));
    assert_true(kv_seq_reserve(&a, &p, KERN_ATTN_TILE + 9, &e));
    a.n_tokens = KERN_ATTN_TILE + 9;
    for (size_t i = 0; i < p.page_bytes; i++) {
        p.data[a.pages[1] * p.page_bytes + i] = (char)(i * 7);
    }
    kv_seq_share(&b, &p, a.pages, a.n_tokens);
    kv_seq_share(&c, &p, a.pages, KERN_ATTN_TILE); /* a whole page: nothing to copy */
    assert_true(p.n_free == 3 && b.n_pages == 2 && b.pages[1] == a.pages[1]);
    assert_true(p.n_users[a.pages[0]] == 3 && p.n_users[a.pages[1]] == 2);
    assert_true(kv_seq_must_copy(&a, &p) && kv_seq_must_copy(&b, &p) && !kv_seq_must_copy(&c, &p));
    assert_int_equal(kv_seq_needs(&b, &p, 1), 1);
    assert_int_equal(kv_seq_needs(&b, &p, 0), 0);
    assert_int_equal(kv_seq_needs(&b, &p, KERN_ATTN_TILE), 2);
    assert_true(kv_seq_reserve(&b, &p, 1, &e));
    assert_true(b.pages[0] == a.pages[0] && b.pages[1] != a.pages[1] && p.n_free == 2);
    assert_true(noted[0] == 1 && noted[1] == a.pages[1] && noted[2] == b.pages[1]);
    assert_memory_equal(p.data + a.pages[1] * p.page_bytes, p.data + b.pages[1] * p.page_bytes,
                        p.page_bytes);
    assert_true(!kv_seq_must_copy(&a, &p) && kv_seq_reserve(&a, &p, 1, &e) && noted[0] == 1);
    kv_seq_truncate(&b, &p, 5); /* into a page that all three hold */
    assert_true(kv_seq_needs(&b, &p, 4 * KERN_ATTN_TILE) == 5 && p.n_free == 3);
    assert_false(kv_seq_reserve(&b, &p, 4 * KERN_ATTN_TILE, &e));
    assert_true(b.pages[0] == a.pages[0] && p.n_users[a.pages[0]] == 3);
    kv_seq_finish(&a, &p);
    kv_seq_finish(&b, &p);
    assert_int_equal(p.n_free, 4);
    kv_seq_finish(&c, &p);
    assert_int_equal(p.n_free, 5);
    kv_pool_finish(&p);
}

static void the_arrays_of_tiles_fill_the_pages(void **state)
{
    (void)state;
    const size_t n_rows = 2 * KERN_ATTN_TILE * 2 * 3; /* 2 pages, 2 layers, 3 KV heads */
    assert_int_equal(kv_bytes(&kv_config, KERN_KV_Q16, KERN_ATTN_TILE + 1),
                     n_rows * ((16 + 32) * 2 + 2 * 4));
    assert_int_equal(kv_bytes(&kv_config, KERN_KV_Q8_0, KERN_ATTN_TILE + 1),
                     n_rows * (16 + 32 + 2 * 4));
    assert_int_equal(kv_bytes(&kv_config, KERN_KV_F16, KERN_ATTN_TILE + 1), n_rows * (16 + 32) * 2);
    for (enum kern_kv type = 0; type < KERN_KV_COUNT; type++) {
        struct kv_pool p;
        enum kern_kv parsed;
        assert_true(kv_pool_init(&p, &kv_config, type, KERN_ATTN_TILE + 1, NULL));
        char *next = p.data;
        size_t item_bytes = type == KERN_KV_Q8_0 ? 1 : 2;
        for (uint32_t i = 0; i < 2 * 2 * 3; i++) {
            struct kern_kv_tile t = kv_tile(&p, i / 6, i / 3 % 2, i % 3);
            assert_ptr_equal(t.k, next);
            assert_ptr_equal(t.v, next + KERN_ATTN_TILE * 16 * item_bytes);
            next += KERN_ATTN_TILE * (16 + 32) * item_bytes;
            if (type == KERN_KV_F16) {
                assert_true(t.kd == NULL && t.vd == NULL);
                continue;
            }
            assert_ptr_equal(t.kd, next);
            assert_ptr_equal(t.vd, next + KERN_ATTN_TILE * 4);
            next += 2 * KERN_ATTN_TILE * 4;
        }
        assert_int_equal(next - p.data, kv_bytes(&kv_config, type, KERN_ATTN_TILE + 1));
        assert_true(kv_type_parse(kv_type_name(type), &parsed) && parsed == type);
        kv_pool_finish(&p);
    }
    enum kern_kv unchanged = KERN_KV_COUNT;
    assert_false(kv_type_parse("q8", &unchanged));
    assert_int_equal(unchanged, KERN_KV_COUNT);
}

static void a_cache_that_memory_cannot_hold_is_an_error(void **state)
{
    (void)state;
    struct kv_pool p;
    struct error e = {0};
    assert_false(kv_pool_init(&p, &kv_config, KERN_KV_Q16, (uint64_t)1 << 37, &e));
    assert_int_equal(e.code, ERROR_MEMORY);
    assert_non_null(strstr(e.text, "KV cache needs 85761906966528 bytes"));
    assert_false(kv_pool_init(&p, &kv_config, KERN_KV_Q16, (uint64_t)1 << 40,
                              &e)); /* more pages than have ids */
    assert_int_equal(e.code, ERROR_MEMORY);
}

/* --- the two forward passes */

enum { N_TOKENS = 40 };

/* How to compute; `type` of keys and values when not exact. */
struct way {
    bool exact;
    enum kern_kv type;
    uint32_t chunk;
};

/* out (N_TOKENS, MODEL_FILE_VOCAB): logits after every token, computed a chunk at a time. */
static void compute(const struct model_spec *spec, struct way way, float *out)
{
    struct error e = {0};
    struct loaded l;
    struct kv_pool kv;
    struct kv_seq s;
    struct forward f;
    uint32_t tokens[N_TOKENS];
    if (!load(&l, spec, way.exact, &e) ||
        !kv_pool_init(&kv, &l.model.config, way.type, MODEL_FILE_CTX, &e) ||
        !kv_seq_init(&s, MODEL_FILE_CTX, &e) ||
        !forward_init(&f, &l.model, &kv, pool, (struct forward_limits){N_TOKENS, N_TOKENS}, &e)) {
        fail_msg("%s", e.text);
    }
    for (uint32_t i = 0; i < N_TOKENS; i++) {
        tokens[i] = i * 7 % MODEL_FILE_VOCAB;
    }
    for (uint32_t i = 0; i < N_TOKENS; i += way.chunk) {
        uint32_t n = N_TOKENS - i < way.chunk ? N_TOKENS - i : way.chunk;
        assert_true(forward_batch(&f, &(struct forward_item){&s, tokens + i, n, n, 0}, 1, &e));
        memcpy(out + (size_t)i * MODEL_FILE_VOCAB, f.logits,
               (size_t)n * MODEL_FILE_VOCAB * sizeof *out);
    }
    forward_finish(&f);
    kv_seq_finish(&s, &kv);
    kv_pool_finish(&kv);
    unload(&l);
}

static void the_exact_pass_agrees_with_the_packed_one(void **state)
{
    (void)state;
    static const struct model_spec specs[] = {
        {0},
        {EXTRA("blk.0.attn_q.bias", 32, 0)},
        {KEYS(3, YARN F32(ROPE "attn_factor", 0.5))},
        {.without = "output.weight"},
        {EXTRA("output.bias", 20, 0), POKE("output.bias", 4, -3)},
    };
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        float exact[N_TOKENS * MODEL_FILE_VOCAB], packed[N_TOKENS * MODEL_FILE_VOCAB];
        float int8[N_TOKENS * MODEL_FILE_VOCAB], halves[N_TOKENS * MODEL_FILE_VOCAB];
        compute(&specs[i], (struct way){true, KERN_KV_Q16, N_TOKENS}, exact);
        compute(&specs[i], (struct way){false, KERN_KV_Q16, N_TOKENS}, packed);
        compute(&specs[i], (struct way){false, KERN_KV_Q8_0, N_TOKENS}, int8);
        compute(&specs[i], (struct way){false, KERN_KV_F16, N_TOKENS}, halves);
        double sum = 0, int8_sum = 0;
        for (size_t k = 0; k < N_TOKENS * MODEL_FILE_VOCAB; k++) {
            sum += fabs((double)exact[k]);
            assert_true(fabs((double)exact[k] - (double)packed[k]) <
                        1e-2); /* activations are int8 */
            assert_true(fabs((double)exact[k] - (double)halves[k]) < 1e-2);
            int8_sum += fabs((double)exact[k] - (double)int8[k]);
        }
        assert_true(int8_sum / sum < 0.02);
        assert_memory_not_equal(packed, int8, sizeof int8);
        assert_memory_not_equal(packed, halves, sizeof halves);
        assert_true(sum / (N_TOKENS * MODEL_FILE_VOCAB) > 0.1);
    }
}

static void the_exact_pass_does_not_depend_on_chunks_or_the_cache(void **state)
{
    (void)state;
    float whole[N_TOKENS * MODEL_FILE_VOCAB], chunks[N_TOKENS * MODEL_FILE_VOCAB];
    compute(&(struct model_spec){0}, (struct way){true, KERN_KV_Q16, N_TOKENS}, whole);
    compute(&(struct model_spec){0}, (struct way){true, KERN_KV_Q8_0, 7}, chunks);
    assert_memory_equal(whole, chunks, sizeof whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_models_are_refused_with_what_is_wrong),
        cmocka_unit_test(every_missing_key_is_named),
        cmocka_unit_test(every_missing_or_misshaped_tensor_is_named),
        cmocka_unit_test(sizes_are_read_from_the_keys),
        cmocka_unit_test(other_good_models_load),
        cmocka_unit_test(memory_that_runs_out_while_loading_is_an_error),
        cmocka_unit_test(whatever_the_tokens_depend_on_changes_the_digest),
        cmocka_unit_test(a_scaling_factor_is_linear_unless_a_type_says_otherwise),
        cmocka_unit_test(the_attention_factor_counts_with_every_scaling),
        cmocka_unit_test(pairs_turn_by_powers_of_the_base),
        cmocka_unit_test(sequences_take_and_give_back_pages),
        cmocka_unit_test(a_fork_shares_pages_and_copies_the_one_it_writes_to),
        cmocka_unit_test(the_arrays_of_tiles_fill_the_pages),
        cmocka_unit_test(a_cache_that_memory_cannot_hold_is_an_error),
        cmocka_unit_test(the_exact_pass_agrees_with_the_packed_one),
        cmocka_unit_test(the_exact_pass_does_not_depend_on_chunks_or_the_cache),
    };
    return cmocka_run_group_tests_name("model", tests, make_pool, destroy_pool);
}
