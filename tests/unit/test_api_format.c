/* test_api_format.c - the ways to ask for a format of an answer, and what goes with none. */
#include "api_body.h"
#include "base/json_tree.h"
#include "serve/api_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct api_options options;

static bool parse(enum api_endpoint endpoint, const char *body, struct api_request *out,
                  struct api_error *e)
{
    *e = (struct api_error){0};
    return api_request_parse(endpoint, str_from(body), &options, out, e);
}

/* The smallest good body of an endpoint with one more member. */
static void parse_with(enum api_endpoint endpoint, const char *member, struct api_request *out)
{
    char body[4096];
    struct api_error e;
    api_body(body, sizeof body, endpoint, member);
    if (!parse(endpoint, body, out, &e)) {
        fail_msg("%s: %s", body, e.message);
    }
}

static void expect_error(enum api_endpoint endpoint, const char *body, enum api_error_kind kind,
                         const char *param)
{
    struct api_request q;
    struct api_error e;
    if (parse(endpoint, body, &q, &e)) {
        fail_msg("accepted: %s", body);
    }
    if (e.kind != kind || strcmp(e.param, param) != 0 || e.message[0] == '\0') {
        fail_msg("%s: kind %d, param '%s': %s", body, (int)e.kind, e.param, e.message);
    }
    assert_null(q.blocks);
}

static void expect_refused(enum api_endpoint endpoint, const char *member, enum api_error_kind kind,
                           const char *param)
{
    char body[4096];
    api_body(body, sizeof body, endpoint, member);
    expect_error(endpoint, body, kind, param);
}

static void each_way_to_ask_for_a_format_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *member;
        enum api_format_kind kind;
        const char *param, *schema, *text;
    } table[] = {
        {"\"response_format\":{\"type\":\"text\"}", API_FORMAT_TEXT, NULL, NULL, NULL},
        {"\"response_format\":{\"type\":\"json_object\"}", API_FORMAT_OBJECT, "response_format",
         NULL, NULL},
        {"\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a\","
         "\"schema\":{\"type\":\"null\"}}}",
         API_FORMAT_SCHEMA, "response_format.json_schema.schema", "{\"type\":\"null\"}", NULL},
        {"\"json_schema\":{\"enum\":[1]}", API_FORMAT_SCHEMA, "json_schema", "{\"enum\":[1]}",
         NULL},
        {"\"guided_json\":true", API_FORMAT_SCHEMA, "guided_json", "true", NULL},
        {"\"guided_json\":\"{\\\"enum\\\":[1]}\"", API_FORMAT_SCHEMA, "guided_json",
         "{\"enum\":[1]}", NULL},
        {"\"guided_regex\":\"a|b\"", API_FORMAT_PATTERN, "guided_regex", NULL, "a|b"},
        {"\"guided_grammar\":\"root ::= \"", API_FORMAT_GBNF, "guided_grammar", NULL, "root ::= "},
        {"\"grammar\":\"g\"", API_FORMAT_GBNF, "grammar", NULL, "g"},
        {"\"guided_choice\":[\"x\",\"\"]", API_FORMAT_CHOICE, "guided_choice", NULL, NULL},
        {"\"structured_outputs\":{\"json\":false}", API_FORMAT_SCHEMA, "structured_outputs.json",
         "false", NULL},
        {"\"structured_outputs\":{\"regex\":\"a\"}", API_FORMAT_PATTERN, "structured_outputs.regex",
         NULL, "a"},
        {"\"structured_outputs\":{\"choice\":[\"x\",\"\"]}", API_FORMAT_CHOICE,
         "structured_outputs.choice", NULL, NULL},
        {"\"structured_outputs\":{\"grammar\":\"g\"}", API_FORMAT_GBNF,
         "structured_outputs.grammar", NULL, "g"},
        {"\"structured_outputs\":{\"json_object\":true}", API_FORMAT_OBJECT,
         "structured_outputs.json_object", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct api_request q;
        parse_with(i % 2 == 0 ? API_CHAT : API_COMPLETION, table[i].member, &q);
        const struct api_format *f = &q.generation.format;
        assert_int_equal(f->kind, table[i].kind);
        if (table[i].param != NULL) {
            assert_string_equal(f->param, table[i].param);
        }
        if (table[i].schema != NULL) {
            json_t *expected = json_loads(table[i].schema, JSON_DECODE_ANY, NULL);
            assert_true(json_equal(f->schema, expected));
            json_decref(expected);
        }
        if (table[i].text != NULL) {
            assert_true(str_eq(f->text, str_from(table[i].text)));
        }
        if (f->kind == API_FORMAT_CHOICE) {
            assert_int_equal(f->n_choices, 2);
            assert_true(str_eq(f->choices[0], STR("x")) && str_eq(f->choices[1], STR("")));
        }
        api_request_finish(&q);
    }
}

static void why_the_text_of_a_schema_cannot_be_read_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } table[] = {
        {"{\\\"enum\\\":[123456789012345678901234567890]}",
         "guided_json cannot be read: the text could not be parsed as JSON: line 1, column 39: an "
         "integer is not within -9223372036854775808 to 9223372036854775807"},
        {"{\\\"a\\\":1,\\\"a\\\":2}", "duplicate object key"},
        {"{", "line 1, column 1: "},
        {"[]", "guided_json cannot be read: the text is no JSON object"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct api_request q;
        struct api_error e = {0};
        char member[128], body[1024];
        snprintf(member, sizeof member, "\"guided_json\":\"%s\"", table[i].text);
        api_body(body, sizeof body, API_CHAT, member);
        assert_false(api_request_parse(API_CHAT, str_from(body), &options, &q, &e));
        assert_int_equal(e.kind, API_ERROR_INVALID_VALUE);
        assert_string_equal(e.param, "guided_json");
        if (strstr(e.message, table[i].why) == NULL) {
            fail_msg("%s: %s", table[i].text, e.message);
        }
    }
}

static void what_is_wrong_with_a_format_is_told_by_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        enum api_error_kind kind;
        const char *param;
    } table[] = {
        {"\"response_format\":{}", API_ERROR_MISSING_PARAMETER, "response_format.type"},
        {"\"response_format\":{\"type\":\"json_object\",\"schema\":{}}",
         API_ERROR_UNKNOWN_PARAMETER, "response_format.schema"},
        {"\"response_format\":{\"type\":\"json_schema\"}", API_ERROR_MISSING_PARAMETER,
         "response_format.json_schema"},
        {"\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{}}}",
         API_ERROR_MISSING_PARAMETER, "response_format.json_schema.name"},
        {"\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a\","
         "\"schema\":[]}}",
         API_ERROR_INVALID_TYPE, "response_format.json_schema.schema"},
        {"\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a\","
         "\"strict\":1}}",
         API_ERROR_INVALID_TYPE, "response_format.json_schema.strict"},
        {"\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a\","
         "\"description\":5}}",
         API_ERROR_INVALID_TYPE, "response_format.json_schema.description"},
        {"\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a\","
         "\"examples\":[]}}",
         API_ERROR_UNKNOWN_PARAMETER, "response_format.json_schema.examples"},
        {"\"guided_json\":\"{\\\"a\\\":1,\\\"a\\\":2}\"", API_ERROR_INVALID_VALUE, "guided_json"},
        {"\"guided_choice\":[\"a\",1]", API_ERROR_INVALID_TYPE, "guided_choice[1]"},
        {"\"structured_outputs\":{\"whitespace_pattern\":\" \"}", API_ERROR_UNKNOWN_PARAMETER,
         "structured_outputs.whitespace_pattern"},
        {"\"structured_outputs\":{\"json_object\":1}", API_ERROR_INVALID_TYPE,
         "structured_outputs.json_object"},
        /* one answer, one format */
        {"\"response_format\":{\"type\":\"json_object\"},\"guided_regex\":\"a\"",
         API_ERROR_INVALID_VALUE, "guided_regex"},
        {"\"grammar\":\"g\",\"guided_grammar\":\"g\"", API_ERROR_INVALID_VALUE, "grammar"},
        {"\"structured_outputs\":{\"json\":{},\"regex\":\"a\"}", API_ERROR_INVALID_VALUE,
         "structured_outputs.regex"},
        {"\"structured_outputs\":{\"json\":{},\"json_object\":true}", API_ERROR_INVALID_VALUE,
         "structured_outputs.json_object"},
        /* an answer that is complete ends */
        {"\"guided_regex\":\"a+\",\"ignore_eos\":true", API_ERROR_INVALID_VALUE, "ignore_eos"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        expect_refused(API_CHAT, table[i].members, table[i].kind, table[i].param);
        expect_refused(API_COMPLETION, table[i].members, table[i].kind, table[i].param);
    }
    expect_refused(API_CHAT,
                   "\"tool_choice\":\"required\",\"ignore_eos\":true"
                   ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]",
                   API_ERROR_INVALID_VALUE, "ignore_eos");
}

/* What is complete ends: the warning says so. */
static void a_least_length_is_kept_as_far_as_a_format_goes(void **state)
{
    (void)state;
    struct api_request q;
    parse_with(API_CHAT, "\"guided_regex\":\"a+\",\"min_tokens\":3", &q);
    assert_int_equal(q.n_warnings, 1);
    assert_true(str_eq(q.warnings[0].param, STR("min_tokens")));
    assert_int_equal(q.generation.min_tokens, 3);
    api_request_finish(&q);
    parse_with(API_CHAT, "\"guided_regex\":\"a+\",\"min_tokens\":0,\"ignore_eos\":false", &q);
    assert_int_equal(q.n_warnings, 0);
    api_request_finish(&q);
    expect_refused(API_CHAT, "\"guided_regex\":\"a+\",\"min_tokens\":3,\"strict\":true",
                   API_ERROR_UNSUPPORTED_PARAMETER, "min_tokens");
}

static int prepare(void **state)
{
    (void)state;
    json_tree_init();
    api_options_default(&options);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_way_to_ask_for_a_format_is_read),
        cmocka_unit_test(why_the_text_of_a_schema_cannot_be_read_is_told),
        cmocka_unit_test(what_is_wrong_with_a_format_is_told_by_its_place),
        cmocka_unit_test(a_least_length_is_kept_as_far_as_a_format_goes),
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
