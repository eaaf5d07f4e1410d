/* roofline.h - the least time that a forward pass can take on a machine: the bytes it must read and
 * the operations it must do, over the machine's measured limits (kern/probe.h).
 *
 * Counted are the packed weights once a pass, keys and values of each sequence once, and the
 * multiplications and additions of matrices and attention (those of 16-bit integers as two of 8
 * bits, those of halves as floats); not norms, activations and the sampler, which a perfect program
 * would hide.
 * Pure functions, thread-safe.
 * source  Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009 */
#ifndef MODEL_ROOFLINE_H
#define MODEL_ROOFLINE_H

#include "model/model.h"

/* Bytes or operations a second; bf16 counts in these numerics alone. */
struct roofline_machine {
    double read, int8, f32, bf16;
};

/* One forward pass. */
struct roofline_step {
    uint64_t n_tokens; /* of all sequences together */
    uint64_t n_logits; /* rows of logits */
    uint64_t n_keys;   /* keys that each token looks at, summed over the tokens */
    uint64_t n_cached; /* tokens whose keys and values are read, summed over the sequences */
    enum kern_kv kv_type;
};

struct roofline_work {
    double bytes, int8_ops, f32_ops, bf16_ops;
};

enum roofline_bound {
    ROOFLINE_READ,
    ROOFLINE_INT8,
    ROOFLINE_F32,
    ROOFLINE_BF16,
    ROOFLINE_BOUND_COUNT
};

/* m is loaded and packed (not exact). */
struct roofline_work roofline_work(const struct model *m, const struct roofline_step *s);

/* Reading and computing go on at the same time, the kinds of computing do not. *out_bound says
 * what takes longest; NULL is allowed. */
double roofline_seconds(const struct roofline_work *w, const struct roofline_machine *machine,
                        enum roofline_bound *out_bound);

const char *roofline_bound_name(enum roofline_bound bound); /* "read", "int8", "f32", "bf16" */

#endif
