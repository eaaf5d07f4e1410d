/* roofline.c - counts the work of a forward pass and divides it by the machine's limits. */
#include "model/roofline.h"

#include "model/kv.h"

#include <math.h>

enum {
    OPS_PER_PRODUCT = 2,
    INT8_PER_INT16 = 2 /* a product of 16 bits takes the time of so many of 8 */
};

/* W times n_rows activations; the weights are read once. */
static void add_matrix(struct roofline_work *w, const struct kern_table *kern,
                       const struct model_matrix *m, double n_rows)
{
    const struct pack_matrix *p = &m->packed;
    double ops = OPS_PER_PRODUCT * (double)p->rows * (double)p->cols * n_rows;
    w->bytes += (double)pack_matrix_bytes(p);
    switch (kern->act[p->type]) {
    case PACK_ACT_F32:
        w->f32_ops += ops;
        break;
    case PACK_ACT_BF16:
        w->bf16_ops += ops;
        break;
    default:
        w->int8_ops += ops;
        break;
    }
}

static void add_layers(struct roofline_work *w, const struct model *m, double n_tokens)
{
    for (uint32_t i = 0; i < m->config.n_layers; i++) {
        const struct model_layer *l = &m->weights.layers[i];
        const struct model_matrix *matrices[] = {&l->q,    &l->k,  &l->v,   &l->o,
                                                 &l->gate, &l->up, &l->down};
        for (size_t k = 0; k < sizeof matrices / sizeof matrices[0]; k++) {
            add_matrix(w, m->kern, matrices[k], n_tokens);
        }
    }
}

struct roofline_work roofline_work(const struct model *m, const struct roofline_step *s)
{
    const struct model_config *c = &m->config;
    struct roofline_work w = {0};
    add_layers(&w, m, (double)s->n_tokens);
    if (s->n_logits > 0) {
        add_matrix(&w, m->kern, &m->weights.output, (double)s->n_logits);
    }
    double row_bytes = (double)kv_row_bytes(s->kv_type, c->dim_k, c->dim_v);
    w.bytes += row_bytes * c->n_layers * c->n_kv_heads * (double)s->n_cached;
    double dims = (double)(c->dim_k + c->dim_v) * c->n_layers;
    double ops = OPS_PER_PRODUCT * dims * c->n_heads * (double)s->n_keys;
    if (s->kv_type == KERN_KV_F16) {
        w.f32_ops += ops;
    } else {
        w.int8_ops += INT8_PER_INT16 * ops;
    }
    return w;
}

double roofline_seconds(const struct roofline_work *w, const struct roofline_machine *machine,
                        enum roofline_bound *out_bound)
{
    double read = w->bytes / machine->read;
    double int8 = w->int8_ops / machine->int8;
    double f32 = w->f32_ops / machine->f32;
    double bf16 = w->bf16_ops > 0 ? w->bf16_ops / machine->bf16 : 0;
    double computing = int8 + f32 + bf16;
    if (out_bound != NULL) {
        *out_bound = read >= computing         ? ROOFLINE_READ
                     : int8 >= fmax(f32, bf16) ? ROOFLINE_INT8
                     : f32 >= bf16             ? ROOFLINE_F32
                                               : ROOFLINE_BF16;
    }
    return fmax(read, computing);
}

const char *roofline_bound_name(enum roofline_bound bound)
{
    static const char *const names[ROOFLINE_BOUND_COUNT] = {"read", "int8", "f32", "bf16"};
    return names[bound];
}
