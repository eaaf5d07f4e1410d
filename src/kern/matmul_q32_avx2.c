/* matmul_q32_avx2.c - AVX2 kernels of types with a float scale for every 32 items. */
#include "kern/products_avx2.h"

#include "kern/matmul_q32_avx2.h"

void kern_fill_matmul_q32_avx2(struct kern_table *t)
{
    Q32_TYPES(MATMUL_FILL, BYTE_ZERO)
}
