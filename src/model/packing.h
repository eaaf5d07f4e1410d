/* packing.h - fills the block of packed weights; a part of model_weights_load(). */
#ifndef MODEL_PACKING_H
#define MODEL_PACKING_H

#include "model/weights.h"

struct packing {
    struct model_weights *weights; /* bound: every matrix knows its tensor and its packed size */
    const struct gguf *gguf;
    uint32_t n_layers;
    const struct model_load_options *options;
    struct pool *pool;
};

/* Allocates weights->packed and packs every matrix into it on all threads of the pool. The file's
 * pages are given back matrix by matrix, so that memory peaks at the model and one tensor.
 * ERROR_MEMORY, or ERROR_FORMAT when the sizes do not fit the address space. */
bool packing_run(const struct packing *p, struct error *e);

#endif
