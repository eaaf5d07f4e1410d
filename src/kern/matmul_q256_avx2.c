/* matmul_q256_avx2.c - AVX2 kernels of super-blocks. */
#include "kern/products_avx2.h"

#include "kern/matmul_q256_avx2.h"

void kern_fill_matmul_q256_avx2(struct kern_table *t)
{
    Q256_K_TYPES(MATMUL_FILL)
    Q256_IQ4_XS(MATMUL_FILL, BYTE_ZERO)
}
