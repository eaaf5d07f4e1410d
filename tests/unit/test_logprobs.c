/* test_logprobs.c - log-probabilities against sums that can be done by hand. */
#include "engine/logprobs.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void assert_close(double a, double b)
{
    if (!(fabs(a - b) <= 1e-12)) {
        fail_msg("%.17g is not %.17g", a, b);
    }
}

static void equal_logits_share_the_probability(void **state)
{
    (void)state;
    const float logits[5] = {2, 2, -INFINITY, 2, 2};
    assert_close(2.0 - logprobs_log_sum(logits, 5), -log(4.0));
}

static void huge_logits_do_not_overflow(void **state)
{
    (void)state;
    const float logits[2] = {3e38F, 3e38F};
    double log_sum = logprobs_log_sum(logits, 2);
    assert_true(isfinite(log_sum));
    const float low[3] = {-1000, -1001, -1002};
    /* log(1 + 1/e + 1/e^2) - 1000 */
    assert_close(logprobs_log_sum(low, 3) + 1000.0, log(1.0 + exp(-1.0) + exp(-2.0)));
}

static void the_best_come_first_and_equal_ones_by_id(void **state)
{
    (void)state;
    const float logits[6] = {1, 3, -INFINITY, 3, 2, 3};
    double log_sum = logprobs_log_sum(logits, 6);
    struct logprob top[6];
    logprobs_top(logits, 6, log_sum, top, 4);
    const uint32_t expected[4] = {1, 3, 5, 4};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(top[i].token, expected[i]);
        assert_close(top[i].logprob, (double)logits[expected[i]] - log_sum);
    }
    logprobs_top(logits, 6, log_sum, top, 6);
    assert_int_equal(top[5].token, 2);
    assert_true(top[5].logprob == -INFINITY);
}

static void what_is_no_number_is_named_with_its_place(void **state)
{
    (void)state;
    static const float bad[3] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        float logits[4] = {1, 2, bad[i], 3};
        struct error e = {0};
        assert_true(logprobs_check(logits, 2, 7, &e));
        assert_false(logprobs_check(logits, 4, 7, &e));
        assert_int_equal(e.code, ERROR_FORMAT);
        assert_non_null(strstr(e.text, "the logit of token 2 after 7 tokens is "));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_logits_share_the_probability),
        cmocka_unit_test(huge_logits_do_not_overflow),
        cmocka_unit_test(what_is_no_number_is_named_with_its_place),
        cmocka_unit_test(the_best_come_first_and_equal_ones_by_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
