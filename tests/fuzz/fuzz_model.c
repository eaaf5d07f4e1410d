/* fuzz_model.c - the whole way from the bytes of a GGUF file to a token: configuration, tokenizer,
 * tensors bound and packed, two tokens through the forward pass, one sampled. Whatever loads must
 * compute; a sampler may refuse the logits. The reference kernels compute, which sanitizers see. */
#include "engine/engine.h"

#include "base/mem.h"
#include "token/token.h"

#include "require.h"

#include <stdlib.h>

enum { CTX = 8, ALIGNMENT = 64, MAX_LOGITS = 1 << 16 };

static void check_config(const struct model_config *c)
{
    require(c->n_layers > 0 && c->n_embd > 0 && c->n_ff > 0 && c->n_vocab > 0 && c->ctx_train > 0);
    require(c->n_kv_heads > 0 && c->n_heads % c->n_kv_heads == 0);
    require(c->dim_k % KERN_LANES == 0 && c->dim_v % KERN_LANES == 0);
    require(c->n_rot > 0 && c->n_rot % 2 == 0 && c->n_rot <= c->dim_k);
    require(c->rope_factor > 0 && c->rope_attn_factor > 0);
}

static void check_angles(const struct rope *r, uint32_t position)
{
    float *angles = mem_alloc(r->n_pairs, 2 * sizeof *angles, "angles", NULL);
    require(angles != NULL);
    rope_angles(r, position, angles);
    for (uint32_t i = 0; i < 2 * r->n_pairs; i++) {
        require(angles[i] == angles[i]);
    }
    mem_free(angles);
}

static void compute(const struct model *m, struct pool *pool)
{
    struct engine g;
    struct engine_options options = {.n_ctx =
                                         m->config.ctx_train < CTX ? m->config.ctx_train : CTX};
    struct sampler_params params;
    sampler_params_default(&params);
    params.temperature = 0;
    if (options.n_ctx < 2 || !engine_init(&g, m, pool, &options, NULL)) {
        return;
    }
    struct engine_seq *s = engine_open(&g, &(struct engine_request){.sampler = &params}, NULL);
    const uint32_t tokens[] = {0, m->config.n_vocab - 1};
    bool busy = false;
    uint32_t token = 0;
    require(s != NULL && engine_feed(&g, s, tokens, 2, NULL));
    require(engine_step(&g, &busy, NULL) && busy);
    require(engine_take(s, &token) != engine_failed(s, NULL) && token < m->config.n_vocab);
    engine_finish(&g);
}

static void load(const struct gguf *g, bool exact)
{
    static struct pool *pool; /* one for all inputs: the caller's thread alone */
    pool = pool != NULL ? pool : pool_create(1, NULL);
    struct model m;
    struct error e = {0};
    require(pool != NULL);
    if (!model_load(&m, g, kern_get(KERN_REF, NULL), &(struct model_load_options){.exact = exact},
                    pool, &e)) {
        require(e.code != ERROR_NONE && e.code != ERROR_INTERNAL && e.text[0] != '\0');
        return;
    }
    check_config(&m.config);
    check_angles(&m.rope, 0);
    check_angles(&m.rope, m.config.ctx_train < ROPE_MAX_POSITIONS ? m.config.ctx_train - 1
                                                                  : ROPE_MAX_POSITIONS - 1);
    if (m.config.n_vocab <= MAX_LOGITS) {
        compute(&m, pool);
    }
    model_finish(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    /* tensors lie as in a mapped file; fuzz_gguf.c watches the exact end of the bytes */
    uint8_t *aligned = aligned_alloc(ALIGNMENT, (n_bytes / ALIGNMENT + 1) * ALIGNMENT);
    require(aligned != NULL);
    memcpy(aligned, data, n_bytes);
    struct gguf *g = gguf_parse(aligned, n_bytes, NULL);
    if (g != NULL) {
        tokenizer_destroy(tokenizer_create(g, NULL));
        load(g, false);
        load(g, true);
    }
    gguf_destroy(g);
    free(aligned);
    return 0;
}
