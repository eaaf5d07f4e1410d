/* test_api_tools.c - requests with tools: what is taken of them, how they are chosen, calls in
 * messages and their answers. */
#include "base/json_tree.h"
#include "base/mem.h"
#include "serve/api_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct api_options options;

#define USER    "{\"role\":\"user\",\"content\":\"a\"}"
#define BODY(x) "{\"model\":\"m\",\"messages\":[" USER "]," x "}"
#define F(more) "{\"type\":\"function\",\"function\":{\"name\":\"f\"" more "}}"
#define TOOLS   "\"tools\":[" F("") "]"

static void parse(const char *body, struct api_request *out)
{
    struct api_error e = {0};
    if (!api_request_parse(API_CHAT, str_from(body), &options, out, &e)) {
        fail_msg("%s: %s", body, e.message);
    }
}

static void expect_error(enum api_endpoint endpoint, const char *body, enum api_error_kind kind,
                         const char *param)
{
    struct api_request q;
    struct api_error e = {0};
    if (api_request_parse(endpoint, str_from(body), &options, &q, &e)) {
        fail_msg("accepted: %s", body);
    }
    if (e.kind != kind || strcmp(e.param, param) != 0) {
        fail_msg("%s: kind %d, param '%s': %s", body, (int)e.kind, e.param, e.message);
    }
    assert_null(q.blocks);
}

/* --- tools */

static void tools_are_kept_as_they_came(void **state)
{
    (void)state;
    struct api_request q;
    const char *tools =
        "[{\"type\":\"function\",\"function\":{\"name\":\"get-it_9\",\"description\":\"\\u0000 "
        "\xF0\x9F\xA6\x99\",\"parameters\":{\"type\":\"object\",\"properties\":{\"z\":{\"enum\":"
        "[0.1,-5,null,true]},\"a\":{}}},\"strict\":false}}," F(
            ",\"description\":null,\"parameters\":null,\"strict\":null") "]";
    char body[512];
    snprintf(body, sizeof body, BODY("\"tools\":%s"), tools);
    parse(body, &q);
    json_t *expected = json_loads(tools, JSON_ALLOW_NUL, NULL);
    assert_non_null(expected);
    assert_true(json_equal(q.generation.tools, expected));
    json_t *properties = json_object_get(
        json_object_get(json_object_get(json_array_get(q.generation.tools, 0), "function"),
                        "parameters"),
        "properties");
    /* in their order */
    assert_string_equal(json_object_iter_key(json_object_iter(properties)), "z");
    assert_false(q.generation.one_call || q.generation.is_function_form);
    assert_int_equal(q.n_warnings, 0);
    json_decref(expected);
    api_request_finish(&q);
    parse(BODY("\"tools\":[]"), &q);
    assert_null(q.generation.tools);
    api_request_finish(&q);
}

static void tools_outlive_another_body_of_the_thread(void **state)
{
    (void)state;
    struct api_request q, other;
    parse(BODY(TOOLS), &q);
    parse(BODY("\"tools\":[" F(",\"description\":\"d\"") "]"), &other);
    api_request_finish(&other);
    json_t *tool = json_incref(json_array_get(q.generation.tools, 0));
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(tool, "function"), "name")), "f");
    json_decref(tool);
    api_request_finish(&q);
}

static void a_bad_tool_is_named_by_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *tools;
        enum api_error_kind kind;
        const char *at;
    } table[] = {
        {"[{}]", API_ERROR_MISSING_PARAMETER, "[0].type"},
        {"[" F("") ",{\"type\":\"custom\",\"custom\":{\"name\":\"f\"}}]", API_ERROR_INVALID_VALUE,
         "[1].type"},
        {"[{\"type\":\"function\"}]", API_ERROR_MISSING_PARAMETER, "[0].function"},
        {"[{\"type\":\"function\",\"function\":5}]", API_ERROR_INVALID_TYPE, "[0].function"},
        {"[{\"type\":\"function\",\"function\":{}}]", API_ERROR_MISSING_PARAMETER,
         "[0].function.name"},
        {"[{\"type\":\"function\",\"function\":{\"name\":\"\"}}]", API_ERROR_INVALID_VALUE,
         "[0].function.name"},
        {"[{\"type\":\"function\",\"function\":{\"name\":\"a.b\"}}]", API_ERROR_INVALID_VALUE,
         "[0].function.name"},
        {"[{\"type\":\"function\",\"function\":{\"name\":\"a\\u0000b\"}}]", API_ERROR_INVALID_VALUE,
         "[0].function.name"},
        {"[{\"type\":\"function\",\"function\":{\"name\":\"0123456789012345678901234567890123456789"
         "0123456789012345678901234\"}}]",
         API_ERROR_INVALID_VALUE, "[0].function.name"},
        {"[" F(",\"description\":5") "]", API_ERROR_INVALID_TYPE, "[0].function.description"},
        {"[" F(",\"parameters\":[]") "]", API_ERROR_INVALID_TYPE, "[0].function.parameters"},
        {"[" F(",\"parameters\":{\"type\":\"string\"}") "]", API_ERROR_INVALID_VALUE,
         "[0].function.parameters.type"},
        {"[" F(",\"strict\":1") "]", API_ERROR_INVALID_TYPE, "[0].function.strict"},
        {"[" F(",\"returns\":{}") "]", API_ERROR_UNKNOWN_PARAMETER, "[0].function.returns"},
        {"[{\"type\":\"function\",\"name\":\"f\",\"function\":{\"name\":\"f\"}}]",
         API_ERROR_UNKNOWN_PARAMETER, "[0].name"},
        {"[" F("") "," F(",\"description\":\"d\"") "]", API_ERROR_INVALID_VALUE, "[1]"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char body[512], param[128];
        snprintf(body, sizeof body, BODY("\"tools\":%s"), table[i].tools);
        snprintf(param, sizeof param, "tools%s", table[i].at);
        expect_error(API_CHAT, body, table[i].kind, param);
    }
}

static void there_may_be_128_tools(void **state)
{
    (void)state;
    struct api_request q;
    for (int n = API_MAX_TOOLS; n <= API_MAX_TOOLS + 1; n++) {
        struct buf b;
        buf_init(&b, 1 << 16);
        assert_true(
            buf_append(&b, STR("{\"model\":\"m\",\"messages\":[" USER "],\"tools\":["), NULL));
        for (int i = 0; i < n; i++) {
            assert_true(buf_printf(&b, NULL,
                                   "%s{\"type\":\"function\",\"function\":{\"name\":\"%d\"}}",
                                   i > 0 ? "," : "", i));
        }
        assert_true(buf_append(&b, STR("]}\0"), NULL));
        if (n == API_MAX_TOOLS) {
            parse(b.data, &q);
            assert_int_equal(json_array_size(q.generation.tools), n);
            api_request_finish(&q);
        } else {
            expect_error(API_CHAT, b.data, API_ERROR_INVALID_VALUE, "tools");
        }
        buf_finish(&b);
    }
}

static void functions_are_tools_of_which_one_is_called(void **state)
{
    (void)state;
    struct api_request q;
    parse(BODY("\"functions\":[{\"name\":\"f\",\"parameters\":{}},{\"name\":\"g\"}],"
               "\"function_call\":\"auto\""),
          &q);
    json_t *expected =
        json_loads("[" F(",\"parameters\":{}") ",{\"type\":\"function\",\"function\":"
                                               "{\"name\":\"g\"}}]",
                   0, NULL);
    assert_true(json_equal(q.generation.tools, expected));
    assert_true(q.generation.one_call && q.generation.is_function_form);
    json_decref(expected);
    api_request_finish(&q);
    parse(BODY("\"functions\":[]"), &q);
    assert_null(q.generation.tools);
    assert_false(q.generation.is_function_form);
    api_request_finish(&q);
    expect_error(API_CHAT, BODY("\"functions\":[{}]"), API_ERROR_MISSING_PARAMETER,
                 "functions[0].name");
    expect_error(API_CHAT, BODY("\"functions\":[{\"name\":\"f\",\"strict\":false}]"),
                 API_ERROR_UNKNOWN_PARAMETER, "functions[0].strict");
    expect_error(API_CHAT, BODY("\"functions\":[{\"name\":\"f\"},{\"name\":\"f\"}]"),
                 API_ERROR_INVALID_VALUE, "functions[1]");
    expect_error(API_CHAT, BODY("\"functions\":[{\"name\":\"f\"}]," TOOLS), API_ERROR_INVALID_VALUE,
                 "functions");
}

/* --- the choice */

static void a_choice_needs_something_to_choose_among(void **state)
{
    (void)state;
    struct api_request q;
    static const struct {
        const char *members, *param;
    } table[] = {
        {"\"tool_choice\":\"auto\"", "tool_choice"},
        {"\"tool_choice\":\"none\"", "tool_choice"},
        {"\"tool_choice\":\"auto\",\"tools\":[]", "tool_choice"},
        {"\"tool_choice\":\"auto\",\"functions\":[{\"name\":\"f\"}]", "tool_choice"},
        {"\"parallel_tool_calls\":true", "parallel_tool_calls"},
        {"\"function_call\":\"none\"", "function_call"},
        {"\"function_call\":\"auto\"," TOOLS, "function_call"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char body[256];
        snprintf(body, sizeof body, BODY("%s"), table[i].members);
        expect_error(API_CHAT, body, API_ERROR_INVALID_VALUE, table[i].param);
    }
    parse(BODY("\"tool_choice\":null,\"parallel_tool_calls\":null,\"function_call\":null"), &q);
    api_request_finish(&q);
}

static void none_leaves_no_tools_and_one_call_may_be_asked_for(void **state)
{
    (void)state;
    struct api_request q;
    parse(BODY("\"tool_choice\":\"none\"," TOOLS), &q);
    assert_null(q.generation.tools);
    api_request_finish(&q);
    parse(BODY("\"function_call\":\"none\",\"functions\":[{\"name\":\"f\"}]"), &q);
    assert_null(q.generation.tools);
    api_request_finish(&q);
    parse(BODY("\"tool_choice\":\"auto\",\"parallel_tool_calls\":false," TOOLS), &q);
    assert_non_null(q.generation.tools);
    assert_true(q.generation.one_call && !q.generation.is_function_form);
    api_request_finish(&q);
}

static void a_call_may_be_demanded(void **state)
{
    (void)state;
    struct api_request q;
    parse(BODY(TOOLS), &q);
    assert_int_equal(q.generation.tool_choice, API_TOOLS_AUTO);
    api_request_finish(&q);
    parse(BODY(TOOLS ",\"tool_choice\":\"required\""), &q);
    assert_int_equal(q.generation.tool_choice, API_TOOLS_REQUIRED);
    api_request_finish(&q);
    parse(BODY(TOOLS ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"), &q);
    assert_int_equal(q.generation.tool_choice, API_TOOLS_NAMED);
    assert_true(str_eq(q.generation.tool_name, STR("f")));
    api_request_finish(&q);
    parse(
        BODY(
            "\"functions\":[{\"name\":\"f\"},{\"name\":\"g\"}],\"function_call\":{\"name\":\"g\"}"),
        &q);
    assert_int_equal(q.generation.tool_choice, API_TOOLS_NAMED);
    assert_true(str_eq(q.generation.tool_name, STR("g")));
    api_request_finish(&q);
}

static void a_demand_that_is_none_is_refused_by_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        enum api_error_kind kind;
        const char *param;
    } table[] = {
        {TOOLS ",\"tool_choice\":{\"type\":\"custom\",\"custom\":{\"name\":\"f\"}}",
         API_ERROR_INVALID_VALUE, "tool_choice.type"},
        {TOOLS ",\"tool_choice\":{}", API_ERROR_MISSING_PARAMETER, "tool_choice.type"},
        {TOOLS ",\"tool_choice\":{\"type\":\"any\"}", API_ERROR_INVALID_VALUE, "tool_choice.type"},
        {TOOLS ",\"tool_choice\":{\"type\":\"function\"}", API_ERROR_MISSING_PARAMETER,
         "tool_choice.function"},
        {TOOLS ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":5}}",
         API_ERROR_INVALID_TYPE, "tool_choice.function.name"},
        {TOOLS ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"g\"}}",
         API_ERROR_INVALID_VALUE, "tool_choice"},
        {"\"tool_choice\":\"required\"", API_ERROR_INVALID_VALUE, "tool_choice"},
        {"\"tool_choice\":\"required\",\"tools\":[]", API_ERROR_INVALID_VALUE, "tool_choice"},
        {"\"functions\":[{\"name\":\"f\"}],\"function_call\":{\"name\":\"g\"}",
         API_ERROR_INVALID_VALUE, "function_call"},
        {"\"functions\":[{\"name\":\"f\"}],\"function_call\":\"required\"", API_ERROR_INVALID_VALUE,
         "function_call"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char body[512];
        snprintf(body, sizeof body, BODY("%s"), table[i].members);
        expect_error(API_CHAT, body, table[i].kind, table[i].param);
    }
}

/* --- some of the tools */

#define ALLOWED(members)                                                                           \
    ",\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{" members "}}"
#define NAMED(name) "{\"type\":\"function\",\"function\":{\"name\":\"" name "\"}}"
#define THREE       "\"tools\":[" NAMED("f") "," NAMED("g") "," NAMED("h") "]"

static const char *name_in(const json_t *tools, size_t i)
{
    const json_t *function = json_object_get(json_array_get(tools, i), "function");
    return json_string_value(json_object_get(function, "name"));
}

static void some_of_the_tools_may_be_called_and_all_are_told_of(void **state)
{
    (void)state;
    struct api_request q;
    parse(BODY(THREE ALLOWED("\"mode\":\"auto\",\"tools\":[" NAMED("h") "," NAMED("f") "]")), &q);
    const struct api_generation *g = &q.generation;
    assert_int_equal(g->tool_choice, API_TOOLS_AUTO);
    assert_int_equal(json_array_size(g->tools), 3);
    assert_int_equal(json_array_size(g->callable), 2);
    assert_string_equal(name_in(g->callable, 0), "f");
    assert_string_equal(name_in(g->callable, 1), "h");
    api_request_finish(&q);
    parse(BODY(THREE ALLOWED("\"mode\":\"required\",\"tools\":[" NAMED("g") "," NAMED("g") "]")),
          &q);
    assert_int_equal(g->tool_choice, API_TOOLS_REQUIRED);
    assert_int_equal(json_array_size(g->callable), 1);
    assert_string_equal(name_in(g->callable, 0), "g");
    api_request_finish(&q);
    parse(BODY(THREE), &q);
    assert_ptr_equal(g->callable, g->tools);
    api_request_finish(&q);
    parse(BODY("\"tool_choice\":\"none\"," THREE), &q);
    assert_null(g->callable);
    api_request_finish(&q);
}

static void some_tools_that_are_none_are_refused_by_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        enum api_error_kind kind;
        const char *param;
    } table[] = {
        {ALLOWED(""), API_ERROR_MISSING_PARAMETER, "tool_choice.allowed_tools.mode"},
        {ALLOWED("\"mode\":\"none\""), API_ERROR_INVALID_VALUE, "tool_choice.allowed_tools.mode"},
        {ALLOWED("\"mode\":\"auto\""), API_ERROR_MISSING_PARAMETER,
         "tool_choice.allowed_tools.tools"},
        {ALLOWED("\"mode\":\"auto\",\"tools\":[]"), API_ERROR_INVALID_VALUE,
         "tool_choice.allowed_tools.tools"},
        {ALLOWED("\"mode\":\"auto\",\"tools\":{}"), API_ERROR_INVALID_TYPE,
         "tool_choice.allowed_tools.tools"},
        {ALLOWED("\"mode\":\"auto\",\"tools\":[" NAMED("f") "],\"x\":1"),
         API_ERROR_UNKNOWN_PARAMETER, "tool_choice.allowed_tools.x"},
        {ALLOWED("\"mode\":\"auto\",\"tools\":[" NAMED("f") ",\"g\"]"), API_ERROR_INVALID_TYPE,
         "tool_choice.allowed_tools.tools[1]"},
        {ALLOWED("\"mode\":\"auto\",\"tools\":[{\"type\":\"custom\"}]"), API_ERROR_INVALID_VALUE,
         "tool_choice.allowed_tools.tools[0].type"},
        {ALLOWED("\"mode\":\"auto\",\"tools\":[" NAMED("f") "," NAMED("i") "]"),
         API_ERROR_INVALID_VALUE, "tool_choice.allowed_tools.tools[1].function.name"},
        {",\"tool_choice\":{\"type\":\"allowed_tools\"}", API_ERROR_MISSING_PARAMETER,
         "tool_choice.allowed_tools"},
        {",\"tool_choice\":{\"type\":\"allowed_tools\",\"function\":{\"name\":\"f\"}}",
         API_ERROR_UNKNOWN_PARAMETER, "tool_choice.function"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char body[512];
        snprintf(body, sizeof body, BODY(THREE "%s"), table[i].members);
        expect_error(API_CHAT, body, table[i].kind, table[i].param);
    }
    expect_error(API_CHAT,
                 BODY("\"tools\":[]" ALLOWED("\"mode\":\"auto\",\"tools\":[" NAMED("f") "]")),
                 API_ERROR_INVALID_VALUE, "tool_choice");
}

/* --- calls and their answers */

#define CALL(id, arguments)                                                                        \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"         \
    "\"" arguments "\"}}"
#define CALLS(list)  "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" list "]}"
#define ANSWER(id)   "{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":\"t\"}"
#define CHAT(list)   "{\"model\":\"m\",\"messages\":[" list "]}"
#define PROMPT(list) "{\"messages\":[" list "]}"

static void calls_and_answers_reach_the_messages(void **state)
{
    (void)state;
    struct api_request q;
    parse(CHAT(USER "," CALLS(CALL("c1", "{\\\"a\\\": [1, 1.50, 123456789012345678901]}") "," CALL(
              "c2", " {} ")) "," ANSWER("c2") ","
                                              "{\"role\":\"tool\",\"tool_call_id\":\"c1\","
                                              "\"content\":[{\"type\":\"text\",\"text\":\"x\"}"
                                              "]},{\"role\":\"assistant\",\"content\":\"\","
                                              "\"tool_calls\":[" CALL(
                                                  "c1", "{}") "]},"
                                                              "" ANSWER("c1") "," USER),
          &q);
    const struct chat_message *m = q.generation.messages;
    assert_int_equal(q.generation.n_messages, 7);
    assert_int_equal(m[1].n_calls, 2);
    assert_null(m[1].content.p);
    assert_true(str_eq(m[1].calls[0].id, STR("c1")) && str_eq(m[1].calls[0].name, STR("f")));
    assert_true(str_eq(m[1].calls[0].arguments, STR("{\"a\": [1, 1.50, 123456789012345678901]}")));
    assert_true(str_eq(m[1].calls[1].arguments, STR(" {} ")));
    /* in the order of the calls */
    assert_true(m[2].role == CHAT_TOOL && str_eq(m[2].call_id, STR("c1")));
    assert_true(str_eq(m[2].content, STR("x")));
    assert_true(str_eq(m[3].call_id, STR("c2")) && str_eq(m[3].content, STR("t")));
    assert_true(m[4].content.p != NULL && m[4].content.n == 0 && m[4].n_calls == 1);
    assert_int_equal(m[6].n_calls, 0);
    assert_int_equal(q.n_warnings, 0);
    api_request_finish(&q);
}

static void calls_of_old_have_no_id(void **state)
{
    (void)state;
    struct api_request q;
    parse(CHAT(USER ",{\"role\":\"assistant\",\"content\":null,\"function_call\":{\"name\":\"f\","
                    "\"arguments\":\"{}\"}},{\"role\":\"function\",\"name\":\"f\",\"content\":"
                    "\"t\"}"),
          &q);
    const struct chat_message *m = q.generation.messages;
    assert_int_equal(m[1].n_calls, 1);
    assert_int_equal(m[1].calls[0].id.n, 0);
    assert_true(str_eq(m[1].calls[0].name, STR("f")));
    assert_true(m[2].role == CHAT_TOOL && m[2].call_id.n == 0);
    api_request_finish(&q);
    parse(CHAT(USER
               ",{\"role\":\"assistant\",\"content\":null,\"function_call\":{\"name\":\"f\","
               "\"arguments\":\"{}\"}},{\"role\":\"function\",\"name\":\"f\",\"content\":null}"),
          &q);
    assert_true(q.generation.messages[2].content.p != NULL);
    assert_int_equal(q.generation.messages[2].content.n, 0);
    api_request_finish(&q);
}

static void an_answer_of_old_has_the_name_of_the_call_in_front(void **state)
{
    (void)state;
#define CALL_OF(name)                                                                              \
    "{\"role\":\"assistant\",\"content\":null,\"function_call\":{\"name\":\"" name                 \
    "\",\"arguments\":\"{}\"}}"
#define ANSWER_OF(name) "{\"role\":\"function\",\"name\":\"" name "\",\"content\":\"t\"}"
    static const struct {
        const char *body, *param, *text;
    } table[] = {
        {CHAT(USER "," CALL_OF("f") "," ANSWER_OF("g")), "messages[2].name",
         "messages[2].name is 'g', but the function_call of messages[1] is of 'f'"},
        {CHAT(ANSWER_OF("f")), "messages[0].name",
         "messages[0].name is 'f', but no message with a function_call is in front"},
        {CHAT(CALL_OF("f") "," USER "," ANSWER_OF("f")), "messages[2].name", "no message with"},
        {CHAT(CALL_OF("f") "," ANSWER_OF("f") "," ANSWER_OF("f")), "messages[2].name",
         "no message with"},
        {CHAT(CALLS(CALL("c", "{}")) "," ANSWER_OF("f")), "messages[1].name", "no message with"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct api_request q;
        struct api_error e = {0};
        assert_false(api_request_parse(API_CHAT, str_from(table[i].body), &options, &q, &e));
        assert_int_equal(e.kind, API_ERROR_INVALID_VALUE);
        assert_string_equal(e.param, table[i].param);
        assert_non_null(strstr(e.message, table[i].text));
    }
}

static void what_clients_keep_of_streams_may_come_back(void **state)
{
    (void)state;
    struct api_request q;
    parse(CHAT(USER ",{\"role\":\"assistant\",\"content\":\"\",\"parsed\":null,\"refusal\":null,"
                    "\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"type\":\"function\",\"function\":"
                    "{\"name\":\"f\",\"arguments\":\"{}\",\"parsed_arguments\":null}}]},"
                    "{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"t\",\"name\":\"f\"}"),
          &q);
    assert_int_equal(q.generation.messages[1].n_calls, 1);
    assert_int_equal(q.n_warnings, 1);
    assert_true(str_eq(q.warnings[0].param, STR("messages[2].name")));
    api_request_finish(&q);
}

static void a_bad_call_is_named_by_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *calls;
        enum api_error_kind kind;
        const char *at;
    } table[] = {
        {"5", API_ERROR_INVALID_TYPE, "[0]"},
        {"{}", API_ERROR_MISSING_PARAMETER, "[0].id"},
        {CALL("", "{}"), API_ERROR_INVALID_VALUE, "[0].id"},
        {CALL("c", "{}") "," CALL("c", "{}"), API_ERROR_INVALID_VALUE, "[1].id"},
        {"{\"id\":\"c\",\"function\":{}}", API_ERROR_MISSING_PARAMETER, "[0].type"},
        {"{\"id\":\"c\",\"type\":\"custom\",\"custom\":{}}", API_ERROR_INVALID_VALUE, "[0].type"},
        {"{\"id\":\"c\",\"type\":\"function\",\"custom\":{}}", API_ERROR_UNKNOWN_PARAMETER,
         "[0].custom"},
        {"{\"id\":\"c\",\"type\":\"custom\"}", API_ERROR_INVALID_VALUE, "[0].type"},
        {"{\"id\":\"c\",\"type\":\"function\"}", API_ERROR_MISSING_PARAMETER, "[0].function"},
        {"{\"id\":\"c\",\"type\":\"function\",\"function\":{\"arguments\":\"{}\"}}",
         API_ERROR_MISSING_PARAMETER, "[0].function.name"},
        {"{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"\",\"arguments\":\"{}\"}}",
         API_ERROR_INVALID_VALUE, "[0].function.name"},
        {"{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\"}}",
         API_ERROR_MISSING_PARAMETER, "[0].function.arguments"},
        {"{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{}}}",
         API_ERROR_INVALID_TYPE, "[0].function.arguments"},
        {"{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\","
         "\"parsed_arguments\":{}}}",
         API_ERROR_UNSUPPORTED_PARAMETER, "[0].function.parsed_arguments"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char body[512], param[128];
        snprintf(body, sizeof body, CHAT(USER "," CALLS("%s")), table[i].calls);
        snprintf(param, sizeof param, "messages[1].tool_calls%s", table[i].at);
        expect_error(API_CHAT, body, table[i].kind, param);
    }
}

/* As some servers write calls without arguments. */
static void empty_arguments_are_an_empty_object(void **state)
{
    (void)state;
    struct api_request q;
    parse(CHAT(USER "," CALLS(CALL("c", "")) "," ANSWER("c")), &q);
    assert_true(str_eq(q.generation.messages[1].calls[0].arguments, STR("{}")));
    api_request_finish(&q);
}

static void arguments_that_are_no_object_are_kept_with_a_warning(void **state)
{
    (void)state;
    static const char *const table[] = {" ",  "{", "{\\\"a\\\": ", "{a: 1}",
                                        "[]", "1", "{} {}",        "{\\\"a\\\": 1e400}"};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct api_request q;
        char body[512], text[64];
        size_t n = 0;
        for (const char *p = table[i]; *p != '\0'; p++) {
            text[n] = *p;
            n += *p != '\\';
        }
        snprintf(body, sizeof body,
                 CHAT(USER "," CALLS(CALL("b", "{}") "," CALL("c", "%s")) "," ANSWER(
                     "b") "," ANSWER("c")),
                 table[i]);
        parse(body, &q);
        assert_true(str_eq(q.generation.messages[1].calls[1].arguments, (struct str){text, n}));
        assert_int_equal(q.n_warnings, 1);
        assert_true(
            str_eq(q.warnings[0].param, STR("messages[1].tool_calls[1].function.arguments")));
        api_request_finish(&q);
    }
    expect_error(API_CHAT,
                 "{\"model\":\"m\",\"strict\":true,\"messages\":[" USER
                 "," CALLS(CALL("c", "{")) "," ANSWER("c") "]}",
                 API_ERROR_UNSUPPORTED_PARAMETER, "messages[1].tool_calls[0].function.arguments");
}

static void arguments_that_nest_beyond_the_bodys_limit_are_refused(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 16);
    assert_true(buf_append(&b,
                           STR("{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\","
                               "\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\","
                               "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":"),
                           NULL));
    for (int i = 0; i < 3000; i++) {
        assert_true(buf_append_byte(&b, '[', NULL));
    }
    assert_true(buf_append(&b, STR("\"}}]}]}\0"), NULL));
    expect_error(API_CHAT, b.data, API_ERROR_INVALID_VALUE,
                 "messages[0].tool_calls[0].function.arguments");
    buf_finish(&b);
}

static void every_call_has_its_answer_and_every_answer_its_call(void **state)
{
    (void)state;
    static const struct {
        const char *messages, *param;
    } table[] = {
        {USER "," ANSWER("c"), "messages[1].tool_call_id"},
        {CALLS(CALL("c", "{}")) "," ANSWER("d"), "messages[1].tool_call_id"},
        {CALLS(CALL("c", "{}")) "," ANSWER("c") "," ANSWER("c"), "messages[2].tool_call_id"},
        {CALLS(CALL("c", "{}")) "," ANSWER("c") "," USER "," ANSWER("c"),
         "messages[3].tool_call_id"},
        {CALLS(CALL("c", "{}")) "," USER, "messages[1].role"},
        {CALLS(CALL("c", "{}") "," CALL("d", "{}")) "," ANSWER("c") "," USER, "messages[2].role"},
        {CALLS(CALL("c", "{}")) "," CALLS(CALL("d", "{}")), "messages[1].role"},
        {CALLS(CALL("c", "{}")), "messages[0].tool_calls"},
        {CALLS(CALL("c", "{}") "," CALL("d", "{}")) "," ANSWER("d"), "messages[0].tool_calls"},
        {CALLS(CALL("c", "{}")) ",{\"role\":\"tool\",\"tool_call_id\":\"\",\"content\":\"\"}",
         "messages[1].tool_call_id"},
    };
    struct api_request q;
    struct api_error e;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char body[1024];
        snprintf(body, sizeof body, CHAT("%s"), table[i].messages);
        expect_error(API_CHAT, body, API_ERROR_INVALID_VALUE, table[i].param);
    }
    /* a prompt may end with calls */
    assert_true(api_request_parse(API_APPLY_TEMPLATE, STR(PROMPT(CALLS(CALL("c", "{}")))), &options,
                                  &q, &e));
    api_request_finish(&q);
}

static void running_out_of_memory_at_any_point_leaks_nothing(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{\"model\":\"m\",\"tools\":[" F("") "],\"messages\":[" CALLS(CALL("c", "{}")) "," ANSWER(
            "c") "]}",
        BODY("\"functions\":[{\"name\":\"f\"},{\"name\":\"g\",\"description\":\"d\"}]"),
        BODY(THREE ALLOWED("\"mode\":\"auto\",\"tools\":[" NAMED("h") "]")),
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        bool ok = false;
        for (size_t n = 1; !ok; n++) {
            struct api_request q;
            struct api_error e = {0};
            mem_fail_nth(n);
            ok = api_request_parse(API_CHAT, str_from(bodies[i]), &options, &q, &e);
            mem_fail_nth(0);
            assert_true(ok || e.kind == API_ERROR_OVERLOADED);
            assert_true(n < 1000);
            api_request_finish(&q);
        }
    }
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
        cmocka_unit_test(tools_are_kept_as_they_came),
        cmocka_unit_test(tools_outlive_another_body_of_the_thread),
        cmocka_unit_test(a_bad_tool_is_named_by_its_place),
        cmocka_unit_test(there_may_be_128_tools),
        cmocka_unit_test(functions_are_tools_of_which_one_is_called),
        cmocka_unit_test(a_choice_needs_something_to_choose_among),
        cmocka_unit_test(none_leaves_no_tools_and_one_call_may_be_asked_for),
        cmocka_unit_test(a_call_may_be_demanded),
        cmocka_unit_test(a_demand_that_is_none_is_refused_by_its_place),
        cmocka_unit_test(some_of_the_tools_may_be_called_and_all_are_told_of),
        cmocka_unit_test(some_tools_that_are_none_are_refused_by_their_place),
        cmocka_unit_test(calls_and_answers_reach_the_messages),
        cmocka_unit_test(calls_of_old_have_no_id),
        cmocka_unit_test(an_answer_of_old_has_the_name_of_the_call_in_front),
        cmocka_unit_test(what_clients_keep_of_streams_may_come_back),
        cmocka_unit_test(a_bad_call_is_named_by_its_place),
        cmocka_unit_test(empty_arguments_are_an_empty_object),
        cmocka_unit_test(arguments_that_are_no_object_are_kept_with_a_warning),
        cmocka_unit_test(arguments_that_nest_beyond_the_bodys_limit_are_refused),
        cmocka_unit_test(every_call_has_its_answer_and_every_answer_its_call),
        cmocka_unit_test(running_out_of_memory_at_any_point_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
