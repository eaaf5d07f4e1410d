/* matmul_q32_neon.c - NEON kernels of types with a float scale for every 32 items. */
#include "kern/matmul_q32_neon.h"

#define Q32_SLOT(NAME, TYPE, FORM) MATMUL_SLOT(NAME, q32_tile, FORM, .wide = {NULL})
Q32_TYPES(Q32_SLOT, 0)

void kern_fill_matmul_q32_neon(struct kern_table *t)
{
    Q32_TYPES(MATMUL_FILL, 0)
}
