/* test_schema_numbers.c - numbers of JSON schemas where doubles round and integers are long.
 * tests/oracle/schema_numbers.py asks the same of random bounds. */
#include "schema_texts.h"

static void no_number_passes_its_bound_when_it_is_read_as_a_double(void **state)
{
    (void)state;
    static const struct texts table[] = {
        {"{'type':'number','minimum':9223372036854775805,'maximum':9223372036854775807}",
         {"9223372036854775805", "9223372036854775807"},
         {"9223372036854775806.94", "9223372036854775807.0", "9223372036854775808"}},
        {"{'type':'number','minimum':9007199254740993}",
         {"9007199254740993", "9007199254740994"},
         {"9007199254740992", "9007199254740993.0", "9007199254740993.4"}},
        {"{'type':'number','maximum':12345678901234567}",
         {"12345678901234567", "-0.5", "1234567.25"},
         {"12345678901234567.0", "12345678901234566.9", "12345678901234568"}},
        {"{'type':'number','minimum':-9007199254740993}",
         {"-9007199254740993", "-1.5"},
         {"-9007199254740994", "-9007199254740993.0"}},
        {"{'type':'number','not':{'exclusiveMinimum':9007199254740993}}",
         {"9007199254740993"},
         {"9007199254740992.99"}},
        {"{'type':'number','maximum':9007199254740992}",
         {"9007199254740992", "9007199254740992.0", "9007199254740991.9999999999999999"},
         {"9007199254740993", "9007199254740992.1"}},
        {"{'type':'number','minimum':0.1,'maximum':12345.678901234567}",
         {"0.1", "12345.678901234567", "0.10000000000000000001"},
         {"0.09999999999999999999", "12345.6789012345671"}},
    };
    CHECK(table);
}

static void large_reals_are_the_integers_that_they_are_read_as(void **state)
{
    (void)state;
    static const struct texts table[] = {
        {"{'type':'number','exclusiveMaximum':7.205759403792965e+16}", /* ...29648 */
         {"72057594037929647"},
         {"72057594037929648", "72057594037929649"}},
        {"{'type':'integer','minimum':1.4411518807585557e+17}", /* ...55568 */
         {"144115188075855568"},
         {"144115188075855567"}},
        {"{'enum':[1234567890123456700.0]}", /* ...6768 */
         {"1234567890123456768"},
         {"1234567890123456700"}},
        {"{'type':'integer','minimum':144115188075855560,'not':{'const':1.4411518807585557e+17}}",
         {"144115188075855570"},
         {"144115188075855568"}},
        {"{'enum':[0.1,1e300,1e20,2251799813685248.5]}",
         {"0.1", "1e300", "1e20", "2251799813685248.5"},
         {"0.10"}},
    };
    CHECK(table);
}

static void integers_have_as_many_digits_as_their_bounds_within_64_bits(void **state)
{
    (void)state;
    static const struct texts table[] = {
        {"{'type':'integer','minimum':0,'maximum':9223372036854775807}",
         {"0", "999999999999999999", "1000000000000000000", "9223372036854775807"},
         {"9223372036854775808", "-1", "10000000000000000000"}},
        {"{'type':'integer','minimum':-9223372036854775808}",
         {"-9223372036854775808", "0", "9223372036854775807"},
         {"-9223372036854775809", "9223372036854775808"}},
        {"{'type':'integer','maximum':4611686018427387903}",
         {"4611686018427387903", "-9223372036854775808"},
         {"4611686018427387904", "-9223372036854775809"}},
        {"{'type':'integer','minimum':9223372036854775806}",
         {"9223372036854775806", "9223372036854775807"},
         {"9223372036854775805", "9223372036854775808", "92233720368547758060"}},
        {"{'type':'number','minimum':-1e300,'maximum':1e19}",
         {"0", "999999999999999999.5", "-1.25000000000000000001"},
         {"1e5"}},
        {"{'type':'number','minimum':-2,'maximum':9.3e18}",
         {"-2", "9223372036854775807", "0.12345678901234"},
         {"-2.1", "9223372036854775808", "9223372036854775807.0"}},
        {"{'anyOf':[{'enum':[1e19]},{'type':'null'}],'minimum':1e19}", {"1e19", "null"}, {"1"}},
    };
    CHECK(table);
    static const char *const refused[] = {
        "{'items':{'type':'integer','minimum':9223372036854775808.0}}",
        "{'items':{'type':'number','minimum':1e19}}",
        "{'items':{'type':'number','exclusiveMinimum':9223372036854775807}}",
        "{'items':{'type':'number','maximum':-1e300}}",
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct error e = {0};
        assert_null(compile(refused[i], &e));
        if (e.code != ERROR_UNSUPPORTED || strstr(e.text, "schema #/items: 'minimum'") == NULL) {
            fail_msg("%s: %s", refused[i], e.text);
        }
    }
}

static void multiples_are_enforced_or_refused_by_name(void **state)
{
    (void)state;
    static const struct texts table[] = {
        {"{'type':'integer','multipleOf':999}",
         {"0", "999", "-1998", "999000000000000999"},
         {"998", "-0", "0999"}},
        {"{'type':'integer','multipleOf':1001}", {"1001", "-2002"}, {"1000", "1002"}},
        {"{'type':'integer','multipleOf':6000,'minimum':1}",
         {"6000", "12000", "600000"},
         {"0", "1000", "6001", "66000.0", "3000"}},
        {"{'type':'number','multipleOf':1000000}", {"0", "-1000000"}, {"100000", "10000000.0"}},
        {"{'type':'number','multipleOf':9.99}",
         {"9.99", "-19.98", "999", "999.0"},
         {"9.98", "9.991"}},
        {"{'type':'integer','multipleOf':9999,'minimum':-9999,'exclusiveMaximum':29997}",
         {"-9999", "0", "9999", "19998"},
         {"29997", "-19998", "1", "-0"}},
        {"{'type':'number','multipleOf':33.33,'minimum':0,'maximum':10000}",
         {"0", "33.33", "66.66", "3333", "9999"},
         {"33.34", "-33.33", "10032.33", "33.330"}},
        {"{'type':'integer','multipleOf':99.99,'minimum':0,'maximum':20000}",
         {"0", "9999", "19998"},
         {"99.99", "99"}},
        {"{'type':'number','multipleOf':0.9999,'minimum':10,'maximum':12,'not':{'const':11.9988}}",
         {"10.9989"},
         {"11.9988", "9.999", "10"}},
        {"{'type':'integer','multipleOf':7777,'minimum':0,'maximum':1000000,'allOf':[{'multipleOf':"
         "2}]}",
         {"15554", "0"},
         {"7777"}},
    };
    CHECK(table);
    struct error e = {0};
    assert_null(compile("{'properties':{'a':{'type':'integer','multipleOf':9999}}}", &e));
    assert_int_equal(e.code, ERROR_UNSUPPORTED);
    if (strstr(e.text, "schema #/properties/a: 'multipleOf' 9999 cannot be enforced") == NULL ||
        strstr(e.text, "give a minimum and a maximum with at most 4000 multiples") == NULL) {
        fail_msg("%s", e.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_number_passes_its_bound_when_it_is_read_as_a_double),
        cmocka_unit_test(large_reals_are_the_integers_that_they_are_read_as),
        cmocka_unit_test(integers_have_as_many_digits_as_their_bounds_within_64_bits),
        cmocka_unit_test(multiples_are_enforced_or_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
