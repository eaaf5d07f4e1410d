/* fmath.c - the double functions of fmath.h. */
#include "base/fmath.h"

/* ln 2 in two doubles; the first has 32 bits, so that its product with an exponent is exact. */
#define LN2_HI 0x1.62e42fee00000p-1
#define LN2_LO 0x1.a39ef35793c76p-33
#define LOG2_E 0x1.71547652b82fep+0

#define EXP_HIGHEST 0x1.62e42fefa39efp+9
#define EXP_LOWEST  -0x1.6232bdd7abcd2p+9 /* ln 2^-1022 */

static uint64_t to_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static double from_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The nearest integer, |x| < 2^51, by an addition that leaves no bits behind the point. */
static double round_nearest(double x)
{
    return (x + 0x1.8p+52) - 0x1.8p+52;
}

/* e^(x + low) / 2^n for n = the nearest integer of x / ln 2: in [sqrt(1/2), sqrt 2]. */
static inline double exp_fraction(double x, double low, double n)
{
    double hi = x - n * LN2_HI;
    double lo = low - n * LN2_LO;
    double r = hi + lo;
    lo = hi - r + lo; /* what r lost */
    double p = 0x1.1f730349868cep-29;
    p = p * r + 0x1.af4de97ca4194p-26;
    p = p * r + 0x1.27e4db646b17ep-22;
    p = p * r + 0x1.71de0231960ebp-19;
    p = p * r + 0x1.a01a01a6d889cp-16;
    p = p * r + 0x1.a01a01abe7fe1p-13;
    p = p * r + 0x1.6c16c16c162d4p-10;
    p = p * r + 0x1.11111111100dcp-7;
    p = p * r + 0x1.5555555555556p-5;
    p = p * r + 0x1.5555555555557p-3;
    p = p * r + 0.5;
    return 1.0 + (r + (p * (r * r) + (lo + lo * r)));
}

/* e^(x + low), |low| tiny beside x, x not NaN. As fmath_expf, with a polynomial of degree 12. */
static double exp_sum(double x, double low)
{
    if (x > EXP_HIGHEST) {
        return INFINITY;
    }
    if (x < EXP_LOWEST) {
        return 0.0;
    }
    double n = round_nearest(x * LOG2_E);
    double y = exp_fraction(x, low, n);
    /* In two steps: 2^1024 is no double, and y * 2^-1022 is normal or it is flushed. */
    int exponent = (int)n;
    int first = exponent / 2;
    y = y * from_bits((uint64_t)(1023 + first) << 52);
    y = y * from_bits((uint64_t)(1023 + exponent - first) << 52);
    return y < 0x1p-1022 ? 0.0 : y;
}

double fmath_exp(double x)
{
    return x != x ? x : exp_sum(x, 0.0);
}

/* Without a branch, so that the compiler takes as many at once as the machine has lanes. The
 * exponent is read off the bits of the sum that rounds it; halves of it differ from exp_sum()'s
 * where it is odd and negative, their product does not. */
void fmath_exp_all(double *x, size_t n_items)
{
    for (size_t i = 0; i < n_items; i++) {
        double in = x[i];
        double v = in < EXP_LOWEST ? EXP_LOWEST : in;
        v = v > EXP_HIGHEST ? EXP_HIGHEST : v;
        double shifted = v * LOG2_E + 0x1.8p+52;
        double y = exp_fraction(v, 0.0, shifted - 0x1.8p+52);
        uint64_t exponent = to_bits(shifted) - to_bits(0x1.8p+52) + 2046;
        uint64_t first = exponent >> 1;
        y = y * from_bits(first << 52);
        y = y * from_bits((exponent - first) << 52);
        y = y < 0x1p-1022 ? 0.0 : y;
        y = in < EXP_LOWEST ? 0.0 : y;
        x[i] = in > EXP_HIGHEST ? INFINITY : y;
    }
}

/* x = 2^*exponent * m with m in [sqrt(1/2), sqrt 2); x positive, finite. Returns m. */
static double split_exponent(double x, int *exponent)
{
    int scale = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p+54;
        scale = -54;
    }
    uint64_t bits = to_bits(x);
    /* from sqrt(1/2) upwards the exponent field counts one more */
    uint64_t above = bits - 0x3FE6A09E667F3BCD;
    *exponent = (int)((int64_t)above >> 52) + scale;
    return from_bits(bits - (above & 0xFFF0000000000000));
}

/* log m = 2 atanh s with s = (m-1)/(m+1) = 2s + s z P(z), z = s^2. With f = m - 1 the leading 2s is
 * f - s f, so that the rounding of s hurts only a small term. */
double fmath_log(double x)
{
    if (x != x || x == INFINITY) {
        return x;
    }
    if (x <= 0.0) {
        return x < 0.0 ? NAN : -INFINITY;
    }
    int exponent;
    double f = split_exponent(x, &exponent) - 1.0;
    double s = f / (2.0 + f);
    double z = s * s;
    double p = 0x1.0c0aff044a970p-3;
    p = p * z + 0x1.0fbde0f4ad17bp-3;
    p = p * z + 0x1.3b1c3c1c81c8fp-3;
    p = p * z + 0x1.745cf8e4bba1bp-3;
    p = p * z + 0x1.c71c7201a55d7p-3;
    p = p * z + 0x1.2492492476a1ap-2;
    p = p * z + 0x1.9999999999a39p-2;
    p = p * z + 0x1.5555555555555p-1;
    /* log m = f - s (f - z P) = f - (f^2/2 - s (f^2/2 + z P)), the halves as in
     * fdlibm's analysis */
    double half_square = 0.5 * f * f;
    double k = (double)exponent;
    double low = s * (half_square + z * p) + k * LN2_LO;
    return k * LN2_HI - ((half_square - low) - f);
}

/* An angle |x| <= 2^20 reduced to hi + lo in [-pi/4, pi/4]; returns the quadrant, 0 to 3.
 * pi/2 is three doubles, the first two of 33 bits: their products with n < 2^20 are exact. */
static unsigned reduce_angle(double x, double *hi, double *lo)
{
    double n = round_nearest(x * 0x1.45f306dc9c883p-1);
    double a = x - n * 0x1.921fb54400000p+0; /* exact: the leading bits cancel */
    double b = n * 0x1.0b4611a600000p-34;
    double sum = a - b;
    /* two-sum: what a - b lost, whichever of them is larger */
    double b_part = a - sum;
    double lost = (a - (sum + b_part)) + (b_part - b);
    double tail = lost - n * 0x1.3198a2e037073p-69;
    *hi = sum + tail;
    *lo = sum - *hi + tail;
    return (unsigned)((int64_t)n & 3);
}

/* sin(hi + lo), cos(hi + lo) for |hi| <= pi/4. */
static double sin_kernel(double hi, double lo)
{
    double z = hi * hi;
    double p = -0x1.ab16f5caa198ap-41;
    p = p * z + 0x1.61217d9252c03p-33;
    p = p * z - 0x1.ae645410e937bp-26;
    p = p * z + 0x1.71de3a545f836p-19;
    p = p * z - 0x1.a01a01a01992fp-13;
    p = p * z + 0x1.1111111111110p-7;
    p = p * z - 0x1.5555555555555p-3;
    return hi + (lo * (1.0 - 0.5 * z) + p * z * hi);
}

static double cos_kernel(double hi, double lo)
{
    double z = hi * hi;
    double p = -0x1.907cd8ff5ede7p-37;
    p = p * z + 0x1.1eeb67d026ec6p-29;
    p = p * z - 0x1.27e4fa16cc2d1p-22;
    p = p * z + 0x1.a01a019f4ddfdp-16;
    p = p * z - 0x1.6c16c16c16963p-10;
    p = p * z + 0x1.5555555555555p-5;
    double half = 0.5 * z;
    double head = 1.0 - half;
    double lost = (1.0 - head) - half;
    return head + (lost + (p * z * z - hi * lo));
}

static double sin_quadrant(double x, unsigned shift)
{
    if (!(fabs(x) <= FMATH_MAX_ANGLE)) {
        return NAN;
    }
    double hi, lo;
    unsigned quadrant = (reduce_angle(x, &hi, &lo) + shift) & 3;
    double y = quadrant & 1 ? cos_kernel(hi, lo) : sin_kernel(hi, lo);
    return quadrant & 2 ? -y : y;
}

double fmath_sin(double x)
{
    return x == 0.0 ? x : sin_quadrant(x, 0);
}

double fmath_cos(double x)
{
    return sin_quadrant(x, 1);
}

/* A number held as the sum of two doubles, |lo| <= ulp(hi)/2. */
struct pair {
    double hi, lo;
};

/* a + b for |a| >= |b| or a = 0. */
static struct pair pair_fast_sum(double a, double b)
{
    double sum = a + b;
    return (struct pair){sum, a - sum + b};
}

static struct pair pair_mul(struct pair a, struct pair b)
{
    double product = a.hi * b.hi;
    double lost = fma(a.hi, b.hi, -product) + (a.hi * b.lo + a.lo * b.hi);
    return pair_fast_sum(product, lost);
}

static struct pair pair_add(struct pair a, struct pair b)
{
    double sum = a.hi + b.hi;
    double b_part = sum - a.hi;
    double lost = (a.hi - (sum - b_part)) + (b.hi - b_part);
    return pair_fast_sum(sum, lost + (a.lo + b.lo));
}

/* log x in two doubles, about 2^-64 relative: 2s + 2/3 s^3 + s^5 P(z), first two terms as pairs. */
static struct pair log_pair(double x)
{
    int exponent;
    double f = split_exponent(x, &exponent) - 1.0; /* exact */
    struct pair below = pair_fast_sum(2.0, f);
    double quotient = f / below.hi;
    double remainder = fma(-quotient, below.hi, f) - quotient * below.lo;
    struct pair s = pair_fast_sum(quotient, remainder / below.hi);
    struct pair z = pair_mul(s, s);
    struct pair cube = pair_mul(z, s);
    const struct pair two_thirds = {0x1.5555555555555p-1, 0x1.5555555555555p-55};
    const struct pair ln2 = {0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56};
    double p = 0x1.e03a7acf07f85p-4;
    p = p * z.hi + 0x1.df7ba1f4809c3p-4;
    p = p * z.hi + 0x1.1118cd67251c5p-3;
    p = p * z.hi + 0x1.3b1395b82701ep-3;
    p = p * z.hi + 0x1.745d177ad436ap-3;
    p = p * z.hi + 0x1.c71c71c6ea5acp-3;
    p = p * z.hi + 0x1.2492492492522p-2;
    p = p * z.hi + 0x1.999999999999ap-2;
    struct pair y = pair_add(pair_mul(two_thirds, cube), (struct pair){cube.hi * z.hi * p, 0.0});
    y = pair_add((struct pair){2.0 * s.hi, 2.0 * s.lo}, y);
    return pair_add(pair_mul(ln2, (struct pair){(double)exponent, 0.0}), y);
}

double fmath_pow(double x, double y)
{
    if (y == 0.0 || x == 1.0) {
        return 1.0;
    }
    if (x != x || y != y) {
        return NAN;
    }
    if (x < 0.0) {
        return NAN;
    }
    if (x == 0.0 || x == INFINITY) {
        return (x == 0.0) == (y > 0.0) ? 0.0 : INFINITY;
    }
    if (fabs(y) > 0x1p+70) { /* infinities too: the product below would lose its low part */
        return (x > 1.0) == (y > 0.0) ? INFINITY : 0.0;
    }
    struct pair exponent = pair_mul(log_pair(x), (struct pair){y, 0.0});
    return exp_sum(exponent.hi, exponent.lo);
}
