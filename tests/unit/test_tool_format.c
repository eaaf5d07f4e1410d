/* test_tool_format.c - which format a template teaches, the prompts, and calls as a model would
 * have written them: what is written is read back by the parser. */
#include "base/mem.h"
#include "chat/tool_format.h"
#include "chat/tool_parser.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define N(rows) (sizeof(rows) / sizeof(rows)[0])

static bool write_usual(enum tool_format format, const struct chat_call *calls, size_t n,
                        struct buf *out, struct error *e)
{
    return tool_calls_write(tool_spelling_usual(format), calls, n, out, NULL, e);
}

static const char tools_text[] =
    "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"description\": \"It's <é>\", "
    "\"parameters\": {\"type\": \"object\", \"properties\": {\"a\": {\"default\": 0.1}}}}},"
    " {\"type\": \"function\", \"function\": {\"name\": \"g\"}}]";

static void formats_have_names(void **state)
{
    (void)state;
    enum tool_format found = TOOL_FORMAT_HERMES;
    for (size_t i = 0; i < TOOL_FORMAT_COUNT; i++) {
        assert_true(tool_format_parse(str_from(tool_format_name((enum tool_format)i)), &found));
        assert_int_equal(found, i);
    }
    assert_false(tool_format_parse(STR("json"), &found));
    assert_false(tool_format_parse(STR(""), &found));
}

static void a_template_tells_its_format(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum tool_format format;
    } rows[] = {
        {"", TOOL_FORMAT_LLAMA3_JSON},
        {"{{ messages }}", TOOL_FORMAT_LLAMA3_JSON},
        {"<|start_header_id|> ... {\"name\": function name, \"parameters\": dictionary ...}",
         TOOL_FORMAT_LLAMA3_JSON},
        {"<|start_header_id|>{{ role }}", TOOL_FORMAT_LLAMA3_JSON},
        {"<|start_header_id|>[func_name1(params_name1=params_value1, ...)]", TOOL_FORMAT_PYTHONIC},
        {"<|start_header_id|><function=example>{\"a\": 1}</function>", TOOL_FORMAT_FUNCTION_TAG},
        {"<|im_start|>{{ role }}", TOOL_FORMAT_HERMES},
        {"<|im_start|>{{ role }} <tool_call>[{\"name\": ...}]</tool_call>", TOOL_FORMAT_HERMES},
        {"<|start_header_id|> <tool_call>", TOOL_FORMAT_HERMES},
    };
    for (size_t i = 0; i < N(rows); i++) {
        assert_int_equal(tool_format_detect(str_from(rows[i].text)), rows[i].format);
    }
}

static void prompts_show_the_functions_and_the_form(void **state)
{
    (void)state;
    static const char *const forms[TOOL_FORMAT_COUNT] = {
        [TOOL_FORMAT_LLAMA3_JSON] =
            "\n{\"name\": \"NAME\", \"parameters\": {\"ARGUMENT\": VALUE, ...}}\n",
        [TOOL_FORMAT_PYTHONIC] = "\n[NAME(ARGUMENT=VALUE, ...), NAME(...)]\n",
        [TOOL_FORMAT_FUNCTION_TAG] = "\n<function=NAME>{\"ARGUMENT\": VALUE, ...}</function>\n",
        [TOOL_FORMAT_HERMES] =
            "\n<tool_call>\n{\"name\": \"NAME\", \"arguments\": {\"ARGUMENT\": VALUE, "
            "...}}\n</tool_call>\n",
    };
    /* as Python's json.dumps writes them */
    static const char functions[] =
        "\n\n{\"name\": \"f\", \"description\": \"It's <é>\", \"parameters\": {\"type\": "
        "\"object\", "
        "\"properties\": {\"a\": {\"default\": 0.1}}}}\n{\"name\": \"g\"}\n\n";
    json_t *tools = json_loads(tools_text, 0, NULL);
    for (size_t format = 0; format < TOOL_FORMAT_COUNT; format++) {
        struct buf out;
        struct error e = {0};
        buf_init(&out, 1 << 20);
        assert_true(buf_append(&out, STR("Be kind."), NULL));
        assert_true(tool_prompt_write((enum tool_format)format, tools, &out, &e));
        assert_true(buf_append_byte(&out, '\0', NULL));
        if (forms[format] != NULL) {
            assert_non_null(strstr(out.data, functions));
            assert_non_null(strstr(out.data, forms[format]));
            assert_true(out.data[out.n - 2] != '\n');
        } else {
            assert_string_equal(out.data, "Be kind.");
        }
        buf_finish(&out);
    }
    json_decref(tools);
}

static void without_tools_there_is_no_prompt(void **state)
{
    (void)state;
    struct buf out;
    json_t *none = json_array();
    buf_init(&out, 100);
    assert_true(tool_prompt_write(TOOL_FORMAT_PYTHONIC, none, &out, NULL));
    assert_true(tool_prompt_write(TOOL_FORMAT_PYTHONIC, NULL, &out, NULL));
    assert_int_equal(out.n, 0);
    json_decref(none);
}

static void a_prompt_that_cannot_be_written_leaves_the_text_as_it_was(void **state)
{
    (void)state;
    json_t *tools = json_loads(tools_text, 0, NULL);
    struct error e = {0};
    struct buf out;
    buf_init(&out, 100);
    assert_true(buf_append(&out, STR("x"), NULL));
    assert_false(tool_prompt_write(TOOL_FORMAT_PYTHONIC, tools, &out, &e));
    assert_int_equal(e.code, ERROR_MEMORY);
    assert_int_equal(out.n, 1);
    mem_fail_nth(0);
    out.max = 1 << 20;
    assert_true(tool_prompt_write(TOOL_FORMAT_PYTHONIC, tools, &out, &e));
    size_t n = mem_count();
    for (size_t i = 1; i <= n; i++) {
        buf_finish(&out);
        mem_fail_nth(i);
        e = (struct error){0};
        assert_false(tool_prompt_write(TOOL_FORMAT_PYTHONIC, tools, &out, &e));
        assert_int_equal(e.code, ERROR_MEMORY);
        assert_int_equal(out.n, 0);
    }
    mem_fail_nth(0);
    buf_finish(&out);
    json_decref(tools);
}

static struct chat_call call(const char *name, const char *arguments)
{
    return (struct chat_call){.name = str_from(name), .arguments = str_from(arguments)};
}

static void calls_are_written_in_their_form(void **state)
{
    (void)state;
    static const char *const expected[TOOL_FORMAT_COUNT] = {
        [TOOL_FORMAT_NONE] = "{\"name\": \"f\", \"parameters\": {\"a\":1.50}}; {\"name\": \"g\", "
                             "\"parameters\": {}}",
        [TOOL_FORMAT_LLAMA3_JSON] = "{\"name\": \"f\", \"parameters\": {\"a\":1.50}}; {\"name\": "
                                    "\"g\", \"parameters\": {}}",
        [TOOL_FORMAT_PYTHONIC] = "[f(a=1.50), g()]",
        [TOOL_FORMAT_FUNCTION_TAG] =
            "<function=f>{\"a\":1.50}</function>\n<function=g>{}</function>",
        [TOOL_FORMAT_HERMES] =
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\":1.50}}\n</tool_call>\n"
            "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>",
    };
    struct chat_call calls[] = {call("f", " {\"a\":1.50} "), call("g", "{}\n")};
    for (size_t format = 0; format < TOOL_FORMAT_COUNT; format++) {
        struct buf out;
        struct error e = {0};
        buf_init(&out, 1 << 20);
        assert_true(write_usual((enum tool_format)format, calls, 2, &out, &e));
        assert_true(str_eq(buf_str(&out), str_from(expected[format])));
        buf_clear(&out);
        assert_true(write_usual((enum tool_format)format, calls, 0, &out, &e));
        assert_int_equal(out.n, 0);
        buf_finish(&out);
    }
}

static const char *const arguments[] = {
    "{}",
    "{\"a\": true, \"b\": false, \"c\": null, \"d\": [], \"e\": {}, \"f\": -0.0, \"g\": 1e+30}",
    "{\"a\": [1, [2, {\"b\": [null]}], \"x\"], \"c\": {\"d e\": {\"\": 1}, \"true\": true}}",
    "{\"a\": \"it's \\\"q\\\" \\\\ \\/ \\b\\f\\n\\r\\t\"}",
    "{\"a\": \"\\u0000\\u001f\\u007f \\u00e9\\ud83d\\ude00 é😀\"}",
    "{\"a b\": 1, \"\": 2, \"c'd\": 3}",
    "{\"1a\": 1}",
    "{\"a-b\": \"[f(x=1)]</function></tool_call>\"}",
    "{\"été\": 1, \"_x9\": 2}",
    "{\"\\u0061\": 1}",
    "{\n  \"a\": [\n    1,\n    2\n  ]\n}",
};

/* The arguments of the one call that the text is. */
static json_t *read_back(enum tool_format format, const struct tool_set *set, struct str text)
{
    struct tool_output out;
    struct tool_parser *p = tool_parser_create(format, set, NULL);
    tool_output_init(&out);
    assert_true(tool_parser_push(p, text, &out, NULL));
    assert_true(tool_parser_flush(p, &out, NULL));
    assert_int_equal(out.n_spans, 3);
    assert_int_equal(out.spans[0].kind, TOOL_CALL_NAME);
    assert_int_equal(out.spans[1].kind, TOOL_CALL_ARGUMENTS);
    assert_int_equal(out.spans[2].end, TOOL_COMPLETE);
    json_t *json = json_loadb(out.text.data + out.spans[0].n_bytes, out.spans[1].n_bytes,
                              JSON_ALLOW_NUL, NULL);
    assert_non_null(json);
    tool_output_finish(&out);
    tool_parser_destroy(p);
    return json;
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    struct tool_set set;
    json_t *tools = json_loads(tools_text, 0, NULL);
    assert_true(tool_set_init(&set, tools, NULL));
    for (size_t format = TOOL_FORMAT_LLAMA3_JSON; format < TOOL_FORMAT_COUNT; format++) {
        for (size_t i = 0; i < N(arguments); i++) {
            struct chat_call c = call("f", arguments[i]);
            struct buf out;
            buf_init(&out, 1 << 20);
            assert_true(write_usual((enum tool_format)format, &c, 1, &out, NULL));
            json_t *json = read_back((enum tool_format)format, &set, buf_str(&out));
            json_t *expected = json_loads(arguments[i], JSON_ALLOW_NUL, NULL);
            assert_non_null(expected);
            assert_true(json_equal(json, expected));
            json_decref(json);
            json_decref(expected);
            buf_finish(&out);
        }
    }
    tool_set_finish(&set);
    json_decref(tools);
}

static void python_is_written_as_python(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"{\"a\": \"it's\\n\\u0001\\\"\\\\é\\ud83d\\ude00\\/\"}",
         "[f(a='it\\'s\\n\\x01\"\\\\é😀/')]"},
        {"{\"a\":true,\"b\":[null,false],\"c\":{\"d\":1}}",
         "[f(a=True, b=[None, False], c={'d': 1})]"},
        {"{\"a b\": {\"c\": 1}, \"d\": 2}", "[f(**{'a b': {'c': 1}, 'd': 2})]"},
        {"{ \"a\" : 12345678901234567890 }", "[f(a=12345678901234567890)]"},
    };
    for (size_t i = 0; i < N(rows); i++) {
        struct chat_call c = call("f", rows[i][0]);
        struct buf out;
        buf_init(&out, 1 << 20);
        assert_true(write_usual(TOOL_FORMAT_PYTHONIC, &c, 1, &out, NULL));
        assert_true(buf_append_byte(&out, '\0', NULL));
        assert_string_equal(out.data, rows[i][1]);
        buf_finish(&out);
    }
}

static void arguments_that_are_no_object_are_written_as_a_string(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",           " ", "x", "1", "[]", "{", "{}x", "{} {}", "{'a': 1}", "{\"a\": \"\\ud800\"}",
        "{\"a\": 1,}"};
    static const char *const around[TOOL_FORMAT_COUNT][2] = {
        [TOOL_FORMAT_NONE] = {"{\"name\": \"g\", \"parameters\": ", "}"},
        [TOOL_FORMAT_LLAMA3_JSON] = {"{\"name\": \"g\", \"parameters\": ", "}"},
        [TOOL_FORMAT_PYTHONIC] = {"[g(", ")]"},
        [TOOL_FORMAT_FUNCTION_TAG] = {"<function=g>", "</function>"},
        [TOOL_FORMAT_HERMES] = {"<tool_call>\n{\"name\": \"g\", \"arguments\": ",
                                "}\n</tool_call>"},
    };
    for (size_t i = 0; i < N(bad) * TOOL_FORMAT_COUNT; i++) {
        size_t format = i % TOOL_FORMAT_COUNT;
        const char *text = bad[i / TOOL_FORMAT_COUNT];
        struct chat_call c = call("g", text);
        struct buf out;
        buf_init(&out, 1 << 20);
        assert_true(write_usual((enum tool_format)format, &c, 1, &out, NULL));
        struct str written = str_skip(buf_str(&out), strlen(around[format][0]));
        written.n -= strlen(around[format][1]);
        assert_memory_equal(out.data, around[format][0], strlen(around[format][0]));
        assert_memory_equal(written.p + written.n, around[format][1], strlen(around[format][1]));
        json_t *json = json_loadb(written.p, written.n, JSON_DECODE_ANY, NULL);
        assert_string_equal(json_string_value(json), text);
        json_decref(json);
        buf_finish(&out);
    }
}

static void a_failed_write_leaves_the_text_as_it_was(void **state)
{
    (void)state;
    struct chat_call c = call("f", arguments[2]);
    for (size_t format = 0; format < TOOL_FORMAT_COUNT; format++) {
        struct buf out;
        buf_init(&out, 1 << 20);
        assert_true(write_usual((enum tool_format)format, &c, 1, &out, NULL));
        for (size_t max = 0, n = out.n; max < n; max++) {
            struct error e = {0};
            buf_finish(&out);
            buf_init(&out, max);
            assert_false(write_usual((enum tool_format)format, &c, 1, &out, &e));
            assert_int_equal(e.code, ERROR_MEMORY);
            assert_int_equal(out.n, 0);
        }
        buf_finish(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_have_names),
        cmocka_unit_test(a_template_tells_its_format),
        cmocka_unit_test(prompts_show_the_functions_and_the_form),
        cmocka_unit_test(without_tools_there_is_no_prompt),
        cmocka_unit_test(a_prompt_that_cannot_be_written_leaves_the_text_as_it_was),
        cmocka_unit_test(calls_are_written_in_their_form),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(python_is_written_as_python),
        cmocka_unit_test(arguments_that_are_no_object_are_written_as_a_string),
        cmocka_unit_test(a_failed_write_leaves_the_text_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
