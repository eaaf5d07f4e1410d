/* forward_internal.h - what forward.c shares with attention.c and exact.c. */
#ifndef MODEL_FORWARD_INTERNAL_H
#define MODEL_FORWARD_INTERNAL_H

#include "model/forward.h"

/* Rows (token, head) of one attention task; o and q by dimension. */
struct forward_scratch {
    union {                                            /* queries */
        int16_t q[KERN_ATTN_ROWS * KERN_ATTN_MAX_DIM]; /* quantised with scales qd */
        float q_f32[KERN_ATTN_ROWS * KERN_ATTN_MAX_DIM];
    };
    float qd[KERN_ATTN_ROWS];
    float o[KERN_ATTN_ROWS * KERN_ATTN_MAX_DIM];       /* of the running span of keys */
    float o_total[KERN_ATTN_ROWS * KERN_ATTN_MAX_DIM]; /* of all spans so far */
    float m[KERN_ATTN_ROWS], l[KERN_ATTN_ROWS];
    float m_total[KERN_ATTN_ROWS], l_total[KERN_ATTN_ROWS];
};

/* False: the batch ends here. */
static inline bool forward_begin_layer(struct forward *f)
{
    f->n_layers++;
    return f->goes_on == NULL || f->goes_on(f->goes_on_argument);
}

/* attention.c: writes keys and values of tokens [begin, end) of the batch to their pages. */
void attention_store(const struct forward *f, uint32_t layer, uint32_t begin, uint32_t end);

/* attention.c: f->attended = softmax(q k / sqrt(dim_k)) v for every token and head. */
void attention_run(struct forward *f, uint32_t layer);

/* exact.c: the whole batch in double sums over dequantised weights, f32 keys and values; false when
 * f->goes_on said no. */
bool exact_cache_init(struct forward *f, struct error *e);
void exact_cache_finish(struct forward *f);
bool exact_batch(struct forward *f);

#endif
