/* model.h - a loaded model: configuration, weights, kernels. Immutable, shared by all threads. */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "kern/kern.h"
#include "model/config.h"
#include "model/rope.h"
#include "model/weights.h"

struct model {
    struct model_config config;
    struct model_weights weights;
    struct rope rope;
    const struct kern_table *kern;
    bool exact; /* compute with the file's tensors in double sums: exact.c */
};

/* Reads, checks and packs the model in g (which must outlive it) with all threads of pool.
 * On failure nothing is left allocated. Errors as model_config_read and model_weights_load;
 * ERROR_USAGE when kern's numerics would change nothing, as no matrix is BF16. */
bool model_load(struct model *m, const struct gguf *g, const struct kern_table *kern,
                const struct model_load_options *options, struct pool *pool, struct error *e);
void model_finish(struct model *m);

/* *out = a digest of all that the tokens of a packed model depend on, beside the kernels: reads the
 * weights once, with all threads of the pool. ERROR_MEMORY. */
bool model_digest(const struct model *m, struct pool *pool, struct digest *out, struct error *e);

#endif
