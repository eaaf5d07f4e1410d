/* attend_f16_avx2.c - the vectors of attend_f16.h: a group of 16 floats is two registers. */
#include "kern/simd_avx2.h"

#define VECTOR __m256
/* rows * groups * 2 of 16 registers are sums: two groups of more rows leave none for the factors */
enum { LANES = 8, GROUPS = 2, WIDE_ROWS = 2, LATER = 1 };
#define BLOCKS(M) ATTEND_F16_ROWS(M, 1) M(1, 2) M(2, 2)

#define vec_load    _mm256_loadu_ps
#define vec_store   _mm256_storeu_ps
#define vec_set     _mm256_set1_ps
#define vec_fma     _mm256_fmadd_ps
#define vec_max     _mm256_max_ps
#define vec_largest simd256_max
#define vec_exp     simd256_exp
#define vec_sum(x)  simd256_sum((x)[0], (x)[1])

static inline __m256 vec_load_halves(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)p));
}

static inline void vec_store_halves(uint16_t *p, __m256 x)
{
    __m128i halves = _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm_storeu_si128((void *)p, halves);
}

#include "kern/attend_f16.h"

void kern_fill_attend_f16_avx2(struct kern_table *t)
{
    t->to_f16 = to_f16;
    t->attend[KERN_KV_F16] = attend;
}
