/* test_fmath.c - the errors of fmath.h in units of the last place, and its corners.
 * The oracle is the C library's long double functions (64 bits of mantissa on x86-64, 113 on most
 * others), which are right to about a thousandth of a double's last place. */
#include "base/fmath.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

enum { N_POINTS = 200000 };

/* |y - exact| in units of the last place of a double of exact's size (float: 24 bits). */
static double ulp_error(long double y, long double exact, int mantissa_bits)
{
    int exponent;
    frexpl(exact, &exponent);
    return (double)(fabsl(y - exact) / ldexpl(1.0L, exponent - mantissa_bits));
}

static double uniform(struct rng *r, double low, double high)
{
    return low + (high - low) * rng_uniform(r);
}

static void expf_is_within_one_ulp(void **state)
{
    (void)state;
    double worst = 0.0;
    /* every 997th float of those whose exponential is a normal float, both signs */
    for (uint32_t bits = 0; bits < 0x42B00000; bits += 997) {
        for (int sign = 0; sign < 2; sign++) {
            float x;
            memcpy(&x, &bits, sizeof x);
            x = sign && x < 87.0f ? -x : x;
            double error = ulp_error(fmath_expf(x), expl(x), 24);
            worst = error > worst ? error : worst;
        }
    }
    assert_true(worst < 1.0);
}

static void expf_has_the_documented_corners(void **state)
{
    (void)state;
    assert_true(fmath_expf(0.0f) == 1.0f);
    assert_true(fmath_expf(-0.0f) == 1.0f);
    assert_true(fmath_expf(-INFINITY) == 0.0f);
    assert_true(fmath_expf(-1e30f) == 0.0f);
    assert_true(fmath_expf(INFINITY) == INFINITY);
    assert_true(fmath_expf(88.73f) == INFINITY);
    assert_true(isnan(fmath_expf(NAN)));
    float lowest = FMATH_EXPF_LOWEST, highest = FMATH_EXPF_HIGHEST;
    assert_true(fmath_expf(lowest) >= 0x1p-126f);
    assert_true(ulp_error(fmath_expf(lowest), expl(lowest), 24) < 1.0);
    assert_true(fmath_expf(nextafterf(lowest, -100.0f)) == 0.0f);
    assert_true(fmath_expf(highest) < INFINITY);
    assert_true(ulp_error(fmath_expf(highest), expl(highest), 24) < 1.0);
    assert_true(expl(nextafterf(highest, 100.0f)) > 0x1.ffffffp+127L); /* rounds to infinity */
    assert_true(fmath_expf(nextafterf(highest, 100.0f)) == INFINITY);
}

static void exp_is_within_one_ulp(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 1);
    double worst = 0.0;
    for (int i = 0; i < N_POINTS; i++) {
        double x = i % 2 ? uniform(&r, -708.0, 709.7) : uniform(&r, -2.0, 2.0);
        double error = ulp_error(fmath_exp(x), expl(x), 53);
        worst = error > worst ? error : worst;
    }
    assert_true(worst < 1.0);
    assert_true(fmath_exp(0.0) == 1.0);
    assert_true(fmath_exp(-INFINITY) == 0.0);
    assert_true(fmath_exp(-709.0) == 0.0);
    assert_true(fmath_exp(-1e300) == 0.0);
    assert_true(fmath_exp(INFINITY) == INFINITY);
    assert_true(fmath_exp(709.79) == INFINITY);
    assert_true(fmath_exp(0x1.62e42fefa39efp+9) < INFINITY);
    assert_true(isnan(fmath_exp(NAN)));
}

static void exp_of_many_is_that_of_each(void **state)
{
    (void)state;
    enum { N = 37 }; /* at a time, so that lanes and what they leave get every kind */
    static const double odd[] = {
        -INFINITY, -1e300, -709.0,  -708.0, -0x1.6232bdd7abcd2p+9, -0.0, 0.0, 0x1.62e42fefa39efp+9,
        709.79,    1e300,  INFINITY};
    struct rng r;
    rng_init(&r, 5);
    for (int i = 0; i < N_POINTS / N; i++) {
        double x[N], y[N];
        for (int k = 0; k < N; k++) {
            size_t kind = rng_next(&r) % (2 * sizeof odd / sizeof odd[0]);
            x[k] = kind < sizeof odd / sizeof odd[0] ? odd[kind] : uniform(&r, -710.0, 710.0);
            y[k] = x[k];
        }
        fmath_exp_all(y, N);
        for (int k = 0; k < N; k++) {
            double expected = fmath_exp(x[k]);
            assert_memory_equal(&y[k], &expected, sizeof expected);
        }
    }
}

static void log_is_within_one_ulp(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 2);
    double worst = 0.0;
    for (int i = 0; i < N_POINTS; i++) {
        double x = i % 2 ? uniform(&r, 0.5, 2.0) : ldexp(uniform(&r, 1.0, 2.0), i % 2098 - 1074);
        double error = ulp_error(fmath_log(x), logl(x), 53);
        worst = error > worst ? error : worst;
    }
    assert_true(worst < 1.0);
    assert_true(fmath_log(1.0) == 0.0);
    assert_true(fmath_log(0.0) == -INFINITY);
    assert_true(fmath_log(-0.0) == -INFINITY);
    assert_true(fmath_log(INFINITY) == INFINITY);
    assert_true(isnan(fmath_log(-1.0)));
    assert_true(isnan(fmath_log(NAN)));
}

/* x near n * pi/2 is where a reduction fails. */
static double hard_angle(struct rng *r, int i)
{
    switch (i % 4) {
    case 0:
        return uniform(r, -FMATH_MAX_ANGLE, FMATH_MAX_ANGLE);
    case 1:
        return uniform(r, -4.0, 4.0);
    case 2:
        return ldexp(uniform(r, -1.0, 1.0), -(i / 4 % 60));
    default:
        return (double)((long double)(i / 4 * 12) * 1.57079632679489661923132L);
    }
}

static void sin_and_cos_are_within_two_ulp(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 3);
    double worst = 0.0;
    for (int i = 0; i < N_POINTS; i++) {
        double x = hard_angle(&r, i);
        double sin_error = ulp_error(fmath_sin(x), sinl(x), 53);
        double cos_error = ulp_error(fmath_cos(x), cosl(x), 53);
        worst = fmax(worst, fmax(sin_error, cos_error));
    }
    assert_true(worst < 2.0);
    assert_true(fmath_sin(0.0) == 0.0 && !signbit(fmath_sin(0.0)) && signbit(fmath_sin(-0.0)));
    assert_true(fmath_cos(0.0) == 1.0);
    assert_true(isnan(fmath_sin(1.0001 * FMATH_MAX_ANGLE)) &&
                isnan(fmath_cos(-1.0001 * FMATH_MAX_ANGLE)));
    assert_true(isnan(fmath_sin(INFINITY)) && isnan(fmath_cos(NAN)));
}

static void pow_is_within_two_ulp(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 4);
    double worst = 0.0;
    for (int i = 0; i < N_POINTS; i++) {
        double x = i % 2 ? ldexp(uniform(&r, 1.0, 2.0), i % 200 - 100) : uniform(&r, 0.5, 2.0);
        double y = uniform(&r, -700.0, 700.0) / fmax(1.0, fabs(log(x)));
        double error = ulp_error(fmath_pow(x, y), powl(x, y), 53);
        worst = error > worst ? error : worst;
    }
    assert_true(worst < 2.0);
}

static void pow_makes_rope_frequencies_within_two_ulp(void **state)
{
    (void)state;
    static const double bases[] = {10000.0, 100000.0, 500000.0, 1e6};
    for (int b = 0; b < 4; b++) {
        for (int dim = 64; dim <= 128; dim += 16) {
            for (int i = 0; i < dim; i += 2) {
                double y = -(double)i / dim;
                double error = ulp_error(fmath_pow(bases[b], y), powl(bases[b], y), 53);
                assert_true(error < 2.0);
            }
        }
    }
}

/* Negative x aside, the C library's answer is the expectation. */
static void pow_agrees_with_c_at_the_corners(void **state)
{
    (void)state;
    static const double values[] = {0.0,  0.5, 1.0,   1.5,       2.0, 1e300, INFINITY,
                                    -0.5, -3,  -1e25, -INFINITY, NAN, 1e25,  0x1p-1074};
    enum { N = sizeof values / sizeof values[0] };
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            double x = values[i], y = values[j];
            double got = fmath_pow(x, y), want = pow(x, y);
            if (x < 0.0 && y != 0.0) {
                assert_true(isnan(got));
            } else if (isnan(want)) {
                assert_true(isnan(got));
            } else if (want < 0x1p-1022) {
                assert_true(got == 0.0);
            } else {
                assert_true(got == want || ulp_error(got, want, 53) < 2.0);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expf_is_within_one_ulp),
        cmocka_unit_test(expf_has_the_documented_corners),
        cmocka_unit_test(exp_is_within_one_ulp),
        cmocka_unit_test(exp_of_many_is_that_of_each),
        cmocka_unit_test(log_is_within_one_ulp),
        cmocka_unit_test(sin_and_cos_are_within_two_ulp),
        cmocka_unit_test(pow_is_within_two_ulp),
        cmocka_unit_test(pow_makes_rope_frequencies_within_two_ulp),
        cmocka_unit_test(pow_agrees_with_c_at_the_corners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
