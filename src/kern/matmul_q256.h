/* matmul_q256.h - the types of super-blocks, 256 items with integer sub-scales: what the sets
 * share. Private to kern/. */
#ifndef KERN_MATMUL_Q256_H
#define KERN_MATMUL_Q256_H

#include "kern/matmul.h"

struct q256_form {
    struct line_form lines;
    enum quant_type type;
    int scale_bytes;
    int sub_items;  /* 16 or 32 */
    int zero_shift; /* of unsigned quants: zero = 1 << zero_shift; 0: nothing to take off */
    bool minimum;
    bool pairs; /* sub-scales are unpacked in pairs of 16 bits, where a set can use them so */
};

/* What a super-block is multiplied with: its part of a tile. */
struct q256_act {
    const int8_t *q;
    const float *d;
    const int16_t *n; /* n16 or n32 */
    const uint16_t *most16;
};

TEMPLATE struct q256_act q256_first_act(const struct matmul_job *job, struct q256_form form)
{
    const struct matmul_tile *t = &job->tile;
    return (struct q256_act){t->q, t->d, form.sub_items == 16 ? t->n16 : t->n32, t->most16};
}

#define Q256_FORM(TYPE, SCALE_BYTES, LOW, HIGH, TABLE, SUB_ITEMS, ZERO_SHIFT, MINIMUM)             \
    ((struct q256_form){                                                                           \
        {LOW, HIGH, TABLE, false}, TYPE, SCALE_BYTES, SUB_ITEMS, ZERO_SHIFT, MINIMUM, false})

/* M(NAME, TYPE, FORM) for every type; BYTE_ZERO as in matmul_q32.h. */
#define Q256_K_TYPES(M)                                                                            \
    M(q2_k, QUANT_Q2_K, Q256_FORM(QUANT_Q2_K, 320, 2, 0, false, 16, 0, true))                      \
    M(q3_k, QUANT_Q3_K, Q256_FORM(QUANT_Q3_K, 224, 2, 1, false, 16, 2, false))                     \
    M(q4_k, QUANT_Q4_K, Q256_FORM(QUANT_Q4_K, 256, 4, 0, false, 32, 0, true))                      \
    M(q5_k, QUANT_Q5_K, Q256_FORM(QUANT_Q5_K, 256, 4, 1, false, 32, 0, true))                      \
    M(q6_k, QUANT_Q6_K, Q256_FORM(QUANT_Q6_K, 288, 4, 2, false, 16, 5, false))
#define Q256_IQ4_XS(M, BYTE_ZERO)                                                                  \
    M(iq4_xs, QUANT_IQ4_XS, Q256_FORM(QUANT_IQ4_XS, 128, 4, 0, true, 32, BYTE_ZERO, false))

/* Kernels of a set with functions q256_unpack and q256_panel, for struct matmul_kernels. */
#define Q256_UNPACK(NAME, FORM)                                                                    \
    static void NAME##_unpack(const struct matmul_job *job, struct matmul_panel *out)              \
    {                                                                                              \
        q256_unpack(job, FORM, out);                                                               \
    }
#define Q256_PANEL(NAME, FORM, T)                                                                  \
    static void NAME##_panel_##T(const struct matmul_job *job)                                     \
    {                                                                                              \
        q256_panel(job, FORM, T);                                                                  \
    }

#endif
