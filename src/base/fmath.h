/* fmath.h - exp, log, sin, cos and pow of our own: the same bits on every CPU and C library.
 *
 * glibc picks variants of these by CPU, so their last bit moves from machine to machine. Here only
 * + - * /, sqrt, fma and integer operations are used; IEEE 754 fixes the result of each. A C file
 * compiled without FMA instructions calls the C library's fma, which is correctly rounded too.
 * Pure functions, thread-safe. They assume the default rounding mode (to nearest even) and no
 * flushing of denormals; nothing in Puna changes either.
 * source  tools/fmath_coefficients.py prints every constant; the reductions are Cody and Waite's */
#ifndef BASE_FMATH_H
#define BASE_FMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* The constants of fmath_expf, for the kernels that repeat its operations on vectors. */
#define FMATH_EXPF_LOWEST  -0x1.5d5898p+6f /* below: 0. 2^-126 <= exp(this); results are normal */
#define FMATH_EXPF_HIGHEST 0x1.62e42ep+6f  /* above: infinity. exp(this) is the last finite one */
#define FMATH_EXPF_ROUND   0x1.8p+23f /* adding it leaves the nearest integer in the low bits */
#define FMATH_EXPF_LOG2E   0x1.715476p+0f
#define FMATH_EXPF_LN2_HI  0x1.62e43p-1f
#define FMATH_EXPF_LN2_LO  -0x1.05c61p-29f
#define FMATH_EXPF_C2      0x1.000000p-1f
#define FMATH_EXPF_C3      0x1.5554dcp-3f
#define FMATH_EXPF_C4      0x1.55551ap-5f
#define FMATH_EXPF_C5      0x1.120b6ep-7f
#define FMATH_EXPF_C6      0x1.6d110ap-10f

/* e^x within 1 ulp (0.976 over all floats of at least 1e-4); results below 2^-126 are 0, -inf gives
 * 0, large x inf, NaN NaN.
 * How: x = n ln2 + r with |r| <= ln2/2, e^x = 2^n e^r. The rounding to n is the addition of
 * 1.5 * 2^23, after which the sum's last mantissa bits are n in two's complement: no conversion
 * instruction, and the rounding mode that it depends on is the one everything else here has too.
 * 2^n is multiplied in by adding n to the exponent: with x in [LOWEST, HIGHEST] the result is
 * normal, so this is exact. */
static inline float fmath_expf(float x)
{
    float shifted = fmaf(x, FMATH_EXPF_LOG2E, FMATH_EXPF_ROUND);
    float n = shifted - FMATH_EXPF_ROUND;
    float r = fmaf(n, -FMATH_EXPF_LN2_HI, x);
    r = fmaf(n, -FMATH_EXPF_LN2_LO, r);
    float p = fmaf(FMATH_EXPF_C6, r, FMATH_EXPF_C5);
    p = fmaf(p, r, FMATH_EXPF_C4);
    p = fmaf(p, r, FMATH_EXPF_C3);
    p = fmaf(p, r, FMATH_EXPF_C2);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    uint32_t exponent, bits;
    memcpy(&exponent, &shifted, sizeof exponent);
    memcpy(&bits, &p, sizeof bits);
    bits += exponent << 23; /* the magic number's own bits fall off the top */
    float y;
    memcpy(&y, &bits, sizeof y);
    y = x < FMATH_EXPF_LOWEST ? 0.0f : y;
    y = x > FMATH_EXPF_HIGHEST ? INFINITY : y;
    return x != x ? x : y;
}

/* e^x within 1 ulp; results below 2^-1022 are 0; -inf -> 0, large x -> inf, NaN -> NaN. */
double fmath_exp(double x);

/* x[i] = fmath_exp(x[i]), bit by bit, several times as fast; none may be NaN. */
void fmath_exp_all(double *x, size_t n_items);

/* Natural logarithm within 1 ulp; 0 -> -inf, x < 0 -> NaN, inf -> inf, NaN -> NaN. */
double fmath_log(double x);

/* Within 2 ulp for |x| <= FMATH_MAX_ANGLE; NaN beyond, where the reduction would lose digits. */
#define FMATH_MAX_ANGLE 0x1p20
double fmath_sin(double x);
double fmath_cos(double x);

/* x^y within 2 ulp for x >= 0; results below 2^-1022 are 0. y = 0 or x = 1 -> 1; x < 0 -> NaN, for
 * integer y too; 0 and infinities as in C; otherwise a NaN gives NaN. */
double fmath_pow(double x, double y);

#endif
