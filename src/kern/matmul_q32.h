/* matmul_q32.h - the types with a float scale for every 32 items: what the sets share. Private to
 * kern/. */
#ifndef KERN_MATMUL_Q32_H
#define KERN_MATMUL_Q32_H

#include "kern/matmul.h"

struct q32_form {
    struct line_form lines;
    int zero_shift; /* of unsigned quants: zero = 1 << zero_shift; 0: nothing to take off */
    bool minimum;
};

#define Q32_FORM(LOW, HIGH, TABLE, ZERO_SHIFT, MINIMUM)                                            \
    ((struct q32_form){{LOW, HIGH, TABLE, false}, ZERO_SHIFT, MINIMUM})

/* M(NAME, TYPE, FORM) for every type. BYTE_ZERO: zero_shift of those whose quants take whole bytes
 * once unpacked, 0 where a set unpacks them signed, 7 where 128 stays added. */
#define Q32_TYPES(M, BYTE_ZERO)                                                                    \
    Q32_UNSIGNED_TYPES(M)                                                                          \
    Q32_BYTE_TYPES(M, BYTE_ZERO)
#define Q32_UNSIGNED_TYPES(M)                                                                      \
    M(q4_0, QUANT_Q4_0, Q32_FORM(4, 0, false, 3, false))                                           \
    M(q4_1, QUANT_Q4_1, Q32_FORM(4, 0, false, 0, true))                                            \
    M(q5_0, QUANT_Q5_0, Q32_FORM(4, 1, false, 4, false))                                           \
    M(q5_1, QUANT_Q5_1, Q32_FORM(4, 1, false, 0, true))
/* whole bytes once unpacked */
#define Q32_BYTE_TYPES(M, BYTE_ZERO)                                                               \
    M(q8_0, QUANT_Q8_0, Q32_FORM(8, 0, false, BYTE_ZERO, false))                                   \
    M(iq4_nl, QUANT_IQ4_NL, Q32_FORM(4, 0, true, BYTE_ZERO, false))

#endif
