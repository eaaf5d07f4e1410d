/* attend_f16_avx512.c - the vectors of attend_f16.h: a group is a register of 16 floats. */
#include "kern/simd_avx512.h"

#define VECTOR __m512
enum { LANES = 16, GROUPS = 4, WIDE_ROWS = 6, LATER = 0 };
#define BLOCKS(M)                                                                                  \
    ATTEND_F16_ROWS(M, 1) ATTEND_F16_ROWS(M, 2) ATTEND_F16_ROWS(M, 3) ATTEND_F16_ROWS(M, 4)

#define vec_load    _mm512_loadu_ps
#define vec_store   _mm512_storeu_ps
#define vec_set     _mm512_set1_ps
#define vec_fma     _mm512_fmadd_ps
#define vec_max     _mm512_max_ps
#define vec_largest _mm512_reduce_max_ps
#define vec_exp     simd512_exp
#define vec_sum(x)  simd512_sum((x)[0])

static inline __m512 vec_load_halves(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}

static inline void vec_store_halves(uint16_t *p, __m512 x)
{
    __m256i halves = _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_storeu_si256((void *)p, halves);
}

#include "kern/attend_f16.h"

void kern_fill_attend_f16_avx512(struct kern_table *t)
{
    t->to_f16 = to_f16;
    t->attend[KERN_KV_F16] = attend;
}
