/* matmul_q256_neon.c - NEON kernels of super-blocks. */
#include "kern/matmul_q256_neon.h"

#define Q256_SLOT(NAME, TYPE, FORM) MATMUL_SLOT(NAME, q256_tile, FORM, .wide = {NULL})
Q256_K_TYPES(Q256_SLOT)
Q256_IQ4_XS(Q256_SLOT, 0)

void kern_fill_matmul_q256_neon(struct kern_table *t)
{
    Q256_K_TYPES(MATMUL_FILL)
    Q256_IQ4_XS(MATMUL_FILL, 0)
}
