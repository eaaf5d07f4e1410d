/* test_tool_traps.c - what other servers' parsers of calls get wrong, one test each. */
#include "tool_text.h"

/* One row for each of Llama's formats. */
static void expect_calls(const char *text, const char *expected)
{
    struct row row = {text, expected};
    expect_llama(&set, &row, 1);
}

static void arguments_may_have_braces_in_braces(void **state)
{
    (void)state;
    /* elsewhere a pattern ends at the first } */
    expect_calls("<function=f>{\"a\": {\"b\": {\"c\": {\"d\": {}}}}, \"e\": 1}</function>",
                 CALL "f {\"a\": {\"b\": {\"c\": {\"d\": {}}}}, \"e\": 1}" END);
    expect_calls(
        "{\"name\": \"f\", \"parameters\": {\"a\": {\"b\": {\"c\": {\"d\": {\"e\": {}}}}}}}",
        CALL "f {\"a\": {\"b\": {\"c\": {\"d\": {\"e\": {}}}}}}" END);
}

static void apostrophes_stay(void **state)
{
    (void)state;
    /* elsewhere each ' becomes " */
    expect_calls("<function=f>{\"a\": \"it's 5 o'clock\"}</function>",
                 CALL "f {\"a\": \"it's 5 o'clock\"}" END);
    expect_calls("[f(a=\"it's 5 o'clock\")]", CALL "f {\"a\": \"it's 5 o'clock\"}" END);
}

static void all_calls_are_found(void **state)
{
    (void)state;
    /* elsewhere the first alone, or the second stays in the text */
    expect_calls("{\"name\": \"f\", \"parameters\": {}}{\"name\": \"g\", \"parameters\": {}}\n"
                 "{\"name\": \"f\", \"parameters\": {}}",
                 CALL "f {}" END CALL "g {}" END CALL "f {}" END);
    expect_calls("<function=f>{}</function><function=g>{}</function>",
                 CALL "f {}" END CALL "g {}" END);
}

static void semicolons_and_newlines_are_separators_and_text_in_strings(void **state)
{
    (void)state;
    /* elsewhere calls are split at "; ", or lose a byte after ; or newline */
    expect_calls("{\"name\": \"f\", \"parameters\": {\"a\": \"x; y;z\"}};{\"name\": \"g\"}",
                 CALL "f {\"a\": \"x; y;z\"}" END CALL "g {}" END);
    expect_calls("{\"name\": \"f\", \"parameters\": {\"a\": 1}}\n{\"name\": \"g\"}",
                 CALL "f {\"a\": 1}" END CALL "g {}" END);
    expect_calls("{\"name\": \"f\", \"parameters\": {\"a\": 1}} ; {\"name\": \"g\"}",
                 CALL "f {\"a\": 1}" END CALL "g {}" END);
}

static void other_braces_do_not_hide_a_call(void **state)
{
    (void)state;
    /* elsewhere a brace that is no call makes the whole answer text */
    expect_calls("For {x, y} in {\"a\": 1}: {\"name\": \"f\", \"parameters\": {\"a\": 1}}",
                 "For {x, y} in {\"a\": 1}: " CALL "f {\"a\": 1}" END);
    expect_calls("{\"name\": \"f\", \"parameters\": {\"a\": 1}} for {x}",
                 CALL "f {\"a\": 1}" END " for {x}");
}

static void an_answer_with_braces_is_whole(void **state)
{
    (void)state;
    /* elsewhere it is cut at the brace, or an error 500 */
    expect_calls("int main(void) { return 0; }\n{ \"a\": {\"b\": [", NULL);
    expect_calls("{\"title\": \"x\", \"items\": [{\"name\": \"y\"}]}", NULL);
}

static void prose_before_a_call_stays(void **state)
{
    (void)state;
    /* elsewhere content is null, or the call is not found */
    expect_calls("I'll look that up. {\"name\": \"f\", \"parameters\": {}}",
                 "I'll look that up. " CALL "f {}" END);
    expect_calls("I'll look that up: [f(a=1)]", "I'll look that up: " CALL "f {\"a\": 1}" END);
}

static void python_has_signs_dots_and_a_tag(void **state)
{
    (void)state;
    /* elsewhere -1 is no literal, g.h no function, and the tag in front is text */
    expect_calls("<|python_tag|>[g.h(a=-1, b=+.5, c=[-2])]",
                 CALL "g.h {\"a\": -1, \"b\": 0.5, \"c\": [-2]}" END);
}

static void parameters_and_arguments_are_the_same(void **state)
{
    (void)state;
    /* elsewhere one of them is asked for */
    expect_calls("{\"name\": \"f\", \"parameters\": {\"a\": 1}}; {\"name\": \"f\", \"arguments\": "
                 "{\"a\": 1}}",
                 CALL "f {\"a\": 1}" END CALL "f {\"a\": 1}" END);
}

static void a_tools_name_in_prose_calls_nothing(void **state)
{
    (void)state;
    /* elsewhere the name counts wherever it stands */
    expect_calls("You could ask get_weather about {\"city\": \"Rome\"}.", NULL);
    expect_calls("{\"text\": \"name f\", \"parameters\": {}}", NULL);
    expect_calls("{\"name\": \"get_weather_of\", \"parameters\": {}}", NULL);
}

static void a_call_may_do_without_arguments(void **state)
{
    (void)state;
    /* elsewhere it is text */
    expect_calls("{\"name\": \"f\"}", CALL "f {}" END);
    expect_calls("{\"name\": \"f\", \"parameters\": {}}", CALL "f {}" END);
    expect_calls("[f()]", CALL "f {}" END);
    expect_calls("<function=f></function>", CALL "f {}" END);
}

static void built_in_tools_are_called(void **state)
{
    (void)state;
    /* elsewhere they raise, or are not offered */
    expect_calls("<|python_tag|>brave_search.call(query=\"llamas\")",
                 CALL "brave_search {\"query\": \"llamas\"}" END);
}

static void pretty_printed_calls_are_calls(void **state)
{
    (void)state;
    /* elsewhere {"name": is looked for, byte by byte */
    expect_calls("{\n  \"type\" : \"function\" ,\n  \"name\" :\n \"f\",\n\t\"parameters\" : { }\n}",
                 CALL "f { }" END);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_may_have_braces_in_braces),
        cmocka_unit_test(apostrophes_stay),
        cmocka_unit_test(all_calls_are_found),
        cmocka_unit_test(semicolons_and_newlines_are_separators_and_text_in_strings),
        cmocka_unit_test(other_braces_do_not_hide_a_call),
        cmocka_unit_test(an_answer_with_braces_is_whole),
        cmocka_unit_test(prose_before_a_call_stays),
        cmocka_unit_test(python_has_signs_dots_and_a_tag),
        cmocka_unit_test(parameters_and_arguments_are_the_same),
        cmocka_unit_test(a_tools_name_in_prose_calls_nothing),
        cmocka_unit_test(a_call_may_do_without_arguments),
        cmocka_unit_test(built_in_tools_are_called),
        cmocka_unit_test(pretty_printed_calls_are_calls),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
