/* test_estimate.c - waiting times, computed by hand. */
#include "serve/estimate.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void assert_near(double a, double b)
{
    assert_true(fabs(a - b) <= 1e-12 * fabs(b));
}

static void who_finds_a_place_does_not_wait(void **state)
{
    (void)state;
    const struct estimate_load l = {.n_places = 4, .n_held = 1, .hold_s = 100.0};
    for (uint64_t n_ahead = 0; n_ahead < 3; n_ahead++) {
        assert_true(estimate_wait_s(&l, n_ahead) == 0.0);
    }
    assert_near(estimate_wait_s(&l, 3), 25.0); /* the first that becomes free */
    assert_near(estimate_wait_s(&l, 5), 75.0);
}

static void places_become_free_at_the_measured_pace(void **state)
{
    (void)state;
    const struct estimate_load l = {.n_places = 4, .n_held = 4, .hold_s = 20.0, .held_s = 1.0};
    assert_near(estimate_wait_s(&l, 0), 5.0);
    assert_near(estimate_wait_s(&l, 1), 10.0);
    assert_near(estimate_wait_s(&l, 63), 320.0);
    const struct estimate_load one = {.n_places = 1, .n_held = 1, .hold_s = 7.0};
    assert_near(estimate_wait_s(&one, 2), 21.0);
}

static void but_not_faster_than_can_be_seen(void **state)
{
    (void)state;
    struct estimate_load l = {.n_places = 4, .n_held = 4, .hold_s = 20.0, .held_s = 30.0};
    assert_near(estimate_wait_s(&l, 1), 15.0);
    l.hold_s = 0.0; /* nothing has ended yet */
    assert_near(estimate_wait_s(&l, 0), 7.5);
}

static void what_was_not_measured_is_no_time(void **state)
{
    (void)state;
    const struct estimate_load l = {.n_places = 2, .n_held = 2};
    assert_true(estimate_wait_s(&l, 1000) == 0.0);
    assert_true(estimate_prompt_s(&l, 1000) == 0.0);
}

static void a_prompt_takes_its_tokens_time(void **state)
{
    (void)state;
    const struct estimate_load l = {.n_places = 2, .prompt_rate = 250.0};
    assert_true(estimate_prompt_s(&l, 0) == 0.0);
    assert_near(estimate_prompt_s(&l, 1000), 4.0);
}

static void who_comes_again_comes_within_what_clients_obey(void **state)
{
    (void)state;
    const struct {
        double seconds;
        uint32_t expected;
    } cases[] = {{-5, 1},  {0, 1},      {0.2, 1},    {1, 1},         {1.01, 2}, {12.5, 13},
                 {60, 60}, {60.01, 60}, {1e300, 60}, {HUGE_VAL, 60}, {NAN, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(estimate_retry_s(cases[i].seconds), cases[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_finds_a_place_does_not_wait),
        cmocka_unit_test(places_become_free_at_the_measured_pace),
        cmocka_unit_test(but_not_faster_than_can_be_seen),
        cmocka_unit_test(what_was_not_measured_is_no_time),
        cmocka_unit_test(a_prompt_takes_its_tokens_time),
        cmocka_unit_test(who_comes_again_comes_within_what_clients_obey),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
