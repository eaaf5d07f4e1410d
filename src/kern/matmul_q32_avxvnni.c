/* matmul_q32_avxvnni.c - AVX-VNNI kernels of types with a float scale for every 32 items. */
#include "kern/products_avxvnni.h"

#include "kern/matmul_q32_avx2.h"

void kern_fill_matmul_q32_avxvnni(struct kern_table *t)
{
    Q32_TYPES(MATMUL_FILL, BYTE_ZERO)
}
