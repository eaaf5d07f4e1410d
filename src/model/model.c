/* model.c - loading a model: configuration, then weights, then RoPE frequencies. */
#include "model/model.h"

#include "base/str.h"

/* The embedding multiplies only where it is the output, too. */
static bool multiplies_bf16(const struct gguf *g)
{
    bool is_tied = gguf_find_tensor(g, "output.weight") == NULL;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        if (t->type == QUANT_BF16 && t->n_dims > 1 &&
            (is_tied || !str_eq(t->name, STR("token_embd.weight")))) {
            return true;
        }
    }
    return false;
}

bool model_load(struct model *m, const struct gguf *g, const struct kern_table *kern,
                const struct model_load_options *options, struct pool *pool, struct error *e)
{
    *m = (struct model){.kern = kern, .exact = options->exact};
    if (kern->numerics == KERN_BF16 && !multiplies_bf16(g)) {
        return error_set(e, ERROR_USAGE,
                         "numerics 'bf16' would change nothing: no matrix of the model is BF16");
    }
    if (!model_config_read(&m->config, g, e) ||
        !model_weights_load(&m->weights, g, &m->config, options, pool, e)) {
        return false;
    }
    if (!rope_init(&m->rope, &m->config, m->weights.rope_factors, e)) {
        model_weights_finish(&m->weights);
        return false;
    }
    return true;
}

void model_finish(struct model *m)
{
    rope_finish(&m->rope);
    model_weights_finish(&m->weights);
}
