/* packing.h - fills the block of packed weights; a part of model_weights_load() but for
 * packing_store(). */
#ifndef MODEL_PACKING_H
#define MODEL_PACKING_H

#include "base/digest.h"
#include "model/weights.h"

struct packing {
    struct model_weights *weights; /* bound: every matrix knows its tensor and its packed size */
    const struct gguf *gguf;
    uint32_t n_layers;
    const struct model_load_options *options;
    struct pool *pool;
};

/* Allocates weights->packed and fills it on all threads of the pool: reads what an earlier process
 * kept, or packs every matrix, and sets weights->cache when that is to be kept. The file's pages
 * are given back matrix by matrix, so that memory peaks at the model and one tensor. Then the
 * packed weights are read-only: a stray write ends the process before a weight changes.
 * ERROR_MEMORY, or ERROR_FORMAT when the sizes do not fit the address space. */
bool packing_run(const struct packing *p, struct error *e);

/* Keeps weights that were packed for the next load, where options->cache of this one said, whose
 * strings and watch are still needed; at most once, on the thread that loaded. Waits for the disk,
 * so it is for the time when the work is done. What goes wrong is told to the watch. */
void packing_store(struct model_weights *weights, struct pool *pool);

/* Tells which matrices lie where in the packed weights: names, types, shapes and offsets in their
 * order. Once they have their places. */
void packing_order_digest(const struct packing *p, struct digest *out);

void packing_cache_destroy(struct packing_cache *c);

#endif
