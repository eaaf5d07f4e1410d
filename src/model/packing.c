/* packing.c - all matrices of a model into one block, each by all threads. */
#include "model/packing.h"

#include "base/mem.h"

enum { CHUNK_GROUPS = 16, MATRICES_PER_LAYER = 7 };

/* The matrices in a fixed order: index 0 is the output, then 7 a layer. */
static struct model_matrix *matrix_at(const struct packing *p, size_t index)
{
    if (index == 0) {
        return &p->weights->output;
    }
    struct model_layer *l = &p->weights->layers[(index - 1) / MATRICES_PER_LAYER];
    struct model_matrix *in_layer[MATRICES_PER_LAYER] = {&l->q,    &l->k,  &l->v,   &l->o,
                                                         &l->gate, &l->up, &l->down};
    return in_layer[(index - 1) % MATRICES_PER_LAYER];
}

static size_t n_matrices(const struct packing *p)
{
    return 1 + (size_t)p->n_layers * MATRICES_PER_LAYER;
}

static bool add_sizes(const struct packing *p, size_t *out_total, struct error *e)
{
    size_t total = 0;
    for (size_t i = 0; i < n_matrices(p); i++) {
        if (!mem_add(total, pack_matrix_bytes(&matrix_at(p, i)->packed), &total)) {
            return error_set(e, ERROR_FORMAT, "the packed weights do not fit the address space");
        }
    }
    *out_total = total;
    return true;
}

struct phase {
    const struct model_matrix *m;
    uint8_t *data;
    _Atomic uint32_t next_group;
};

static void pack_phase(void *argument, unsigned thread)
{
    (void)thread;
    struct phase *p = argument;
    uint32_t begin, end;
    while (pool_next_chunk(&p->next_group, p->m->packed.n_groups, CHUNK_GROUPS, &begin, &end)) {
        pack_groups(&p->m->packed, p->m->tensor->data, p->data, begin, end);
    }
}

static void pack_all(const struct packing *p)
{
    struct model_weights *w = p->weights;
    size_t done = 0;
    for (size_t i = 0; i < n_matrices(p); i++) {
        struct model_matrix *m = matrix_at(p, i);
        struct phase phase = {.m = m, .data = w->packed + done};
        pool_run(p->pool, pack_phase, &phase);
        m->packed.data = phase.data;
        done += pack_matrix_bytes(&m->packed);
        if (m->tensor != w->embedding) {
            gguf_release_tensor(p->gguf, m->tensor);
        }
        if (p->options->progress != NULL) {
            p->options->progress(p->options->progress_argument, done, w->packed_bytes);
        }
    }
}

bool packing_run(const struct packing *p, struct error *e)
{
    struct model_weights *w = p->weights;
    size_t total = 0;
    if (!add_sizes(p, &total, e)) {
        return false;
    }
    w->packed = mem_alloc_pages(total, "packed weights", e);
    if (w->packed == NULL) {
        return false;
    }
    w->packed_bytes = total;
    pack_all(p);
    return true;
}
