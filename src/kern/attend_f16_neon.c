/* attend_f16_neon.c - the vectors of attend_f16.h: a group of 16 floats is four registers. */
#include "kern/simd_neon.h"

#define VECTOR float32x4_t
/* rows * groups * 4 of 32 registers are sums: two groups of more rows do not fit */
enum { LANES = 4, GROUPS = 2, WIDE_ROWS = 2, LATER = 0 };
#define BLOCKS(M) ATTEND_F16_ROWS(M, 1) M(1, 2) M(2, 2)

#define vec_load         vld1q_f32
#define vec_store        vst1q_f32
#define vec_set          vdupq_n_f32
#define vec_fma(a, b, c) vfmaq_f32(c, a, b)
#define vec_max          vmaxnmq_f32
#define vec_largest      vmaxnmvq_f32
#define vec_exp          simd128_exp
#define vec_sum          simd128_sum

static inline float32x4_t vec_load_halves(const uint16_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

static inline void vec_store_halves(uint16_t *p, float32x4_t x)
{
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(x)));
}

#include "kern/attend_f16.h"

void kern_fill_attend_f16_neon(struct kern_table *t)
{
    t->to_f16 = to_f16;
    t->attend[KERN_KV_F16] = attend;
}
