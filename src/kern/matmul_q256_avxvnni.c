/* matmul_q256_avxvnni.c - AVX-VNNI kernels of super-blocks. */
#include "kern/products_avxvnni.h"

#include "kern/matmul_q256_avx2.h"

void kern_fill_matmul_q256_avxvnni(struct kern_table *t)
{
    Q256_K_TYPES(MATMUL_FILL)
    Q256_IQ4_XS(MATMUL_FILL, BYTE_ZERO)
}
