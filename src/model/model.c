/* model.c - loading a model: configuration, then weights, then RoPE frequencies. */
#include "model/model.h"

bool model_load(struct model *m, const struct gguf *g, const struct kern_table *kern,
                const struct model_load_options *options, struct pool *pool, struct error *e)
{
    *m = (struct model){.kern = kern, .exact = options->exact};
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
