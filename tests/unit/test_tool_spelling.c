/* test_tool_spelling.c - how an answer spelled its calls: found, named by an id, written again. */
#include "tool_ids.h"

#define N(rows) (sizeof(rows) / sizeof(rows)[0])
#define HERMES  TOOL_FORMAT_HERMES
#define LLAMA   TOOL_FORMAT_LLAMA3_JSON

/* One call, and it with another. Clients keep the letters: no row ever changes. */
static const struct row {
    char letter;
    enum tool_format taught;
    const char *one, *two;
} rows[] = {
    {'a', LLAMA, "{\"name\": \"f\", \"parameters\": {\"a\": 1}}",
     "{\"name\": \"f\", \"parameters\": {\"a\": 1}}; {\"name\": \"g\", \"parameters\": {}}"},
    {'b', LLAMA, "{\"type\": \"function\", \"name\": \"f\", \"parameters\": {\"a\": 1}}",
     "{\"type\": \"function\", \"name\": \"f\", \"parameters\": {\"a\": 1}}; "
     "{\"type\": \"function\", \"name\": \"g\", \"parameters\": {}}"},
    {'c', LLAMA, "{\"name\": \"f\", \"arguments\": {\"a\": 1}}",
     "{\"name\": \"f\", \"arguments\": {\"a\": 1}}; {\"name\": \"g\", \"arguments\": {}}"},
    {'d', LLAMA, "{\"type\": \"function\", \"name\": \"f\", \"arguments\": {\"a\": 1}}", NULL},
    {'e', LLAMA, "{\"name\":\"f\",\"parameters\":{\"a\": 1}}",
     "{\"name\":\"f\",\"parameters\":{\"a\": 1}}; {\"name\":\"g\",\"parameters\":{}}"},
    {'f', LLAMA, "{\"type\":\"function\",\"name\":\"f\",\"parameters\":{\"a\": 1}}", NULL},
    {'g', LLAMA, "{\"name\":\"f\",\"arguments\":{\"a\": 1}}", NULL},
    {'h', LLAMA, "<|python_tag|>{\"name\": \"f\", \"parameters\": {\"a\": 1}}",
     "<|python_tag|>{\"name\": \"f\", \"parameters\": {\"a\": 1}}; "
     "{\"name\": \"g\", \"parameters\": {}}"},
    {'i', LLAMA,
     "<|python_tag|>{\"type\": \"function\", \"name\": \"f\", \"parameters\": {\"a\": 1}}", NULL},
    {'j', LLAMA, "<|python_tag|>{\"name\": \"f\", \"arguments\": {\"a\": 1}}", NULL},
    {'k', LLAMA, "<|python_tag|>{\"name\":\"f\",\"parameters\":{\"a\": 1}}", NULL},
    {'l', LLAMA, "[f(a=1)]", "[f(a=1), g()]"},
    {'m', LLAMA, "<|python_tag|>[f(a=1)]", "<|python_tag|>[f(a=1), g()]"},
    {'n', LLAMA, "<function=f>{\"a\": 1}</function>",
     "<function=f>{\"a\": 1}</function>\n<function=g>{}</function>"},
    {'o', LLAMA, "<|python_tag|><function=f>{\"a\": 1}</function>", NULL},
    {'p', HERMES, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>",
     "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>\n"
     "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>"},
    {'q', HERMES, "<tool_call>\n{\"name\": \"f\", \"parameters\": {\"a\": 1}}\n</tool_call>", NULL},
    {'r', HERMES, "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}</tool_call>",
     "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}</tool_call>\n"
     "<tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call>"},
    {'s', HERMES, "<tool_call>{\"name\": \"f\", \"parameters\": {\"a\": 1}}</tool_call>", NULL},
    {'t', HERMES, "<tool_call>\n{\"name\":\"f\",\"arguments\":{\"a\": 1}}\n</tool_call>", NULL},
    {'u', HERMES, "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\": 1}}</tool_call>", NULL},
    {'v', HERMES,
     "<tool_call>\n{\"type\": \"function\", \"name\": \"f\", \"arguments\": {\"a\": 1}}\n"
     "</tool_call>",
     NULL},
    {'w', LLAMA, "[{\"name\": \"f\", \"parameters\": {\"a\": 1}}]",
     "[{\"name\": \"f\", \"parameters\": {\"a\": 1}}, {\"name\": \"g\", \"parameters\": {}}]"},
    {'x', HERMES, "<tool_call>[{\"name\": \"f\", \"arguments\": {\"a\": 1}}]</tool_call>",
     "<tool_call>[{\"name\": \"f\", \"arguments\": {\"a\": 1}}, "
     "{\"name\": \"g\", \"arguments\": {}}]</tool_call>"},
    {'y', HERMES, "<tool_call>\n[{\"name\": \"f\", \"arguments\": {\"a\": 1}}]\n</tool_call>",
     "<tool_call>\n[{\"name\": \"f\", \"arguments\": {\"a\": 1}}, "
     "{\"name\": \"g\", \"arguments\": {}}]\n</tool_call>"},
    {'B', LLAMA, "{\"parameters\": {\"a\": 1}, \"name\": \"f\"}",
     "{\"parameters\": {\"a\": 1}, \"name\": \"f\"}; {\"parameters\": {}, \"name\": \"g\"}"},
    {'C', LLAMA, "{\"arguments\": {\"a\": 1}, \"name\": \"f\"}", NULL},
    {'D', LLAMA, "{\n  \"name\": \"f\",\n  \"parameters\": {\"a\": 1}\n}",
     "{\n  \"name\": \"f\",\n  \"parameters\": {\"a\": 1}\n}; "
     "{\n  \"name\": \"g\",\n  \"parameters\": {}\n}"},
    {'E', LLAMA, "{\n    \"name\": \"f\",\n    \"parameters\": {\"a\": 1}\n}", NULL},
    {'F', LLAMA, "{\n  \"name\": \"f\",\n  \"arguments\": {\"a\": 1}\n}", NULL},
    {'G', LLAMA, "{\n    \"name\": \"f\",\n    \"arguments\": {\"a\": 1}\n}", NULL},
    {'H', HERMES,
     "<tool_call>\n{\n  \"name\": \"f\",\n  \"arguments\": {\"a\": 1}\n}\n</tool_call>", NULL},
    {'I', HERMES,
     "<tool_call>\n{\n    \"name\": \"f\",\n    \"arguments\": {\"a\": 1}\n}\n</tool_call>", NULL},
    {'L', LLAMA, "f.call(a=1)", "f.call(a=1)\ng.call()"},
    {'N', LLAMA, "<|python_tag|>f.call(a=1)", "<|python_tag|>f.call(a=1)\ng.call()"},
    {'a', HERMES, "{\"name\": \"f\", \"parameters\": {\"a\": 1}}", NULL},
    {'c', HERMES, "{\"name\": \"f\", \"arguments\": {\"a\": 1}}", NULL},
};

/* What no id can name. */
static const struct row others[] = {
    {0, LLAMA, " {\"name\": \"f\", \"parameters\": {\"a\": 1}}", NULL},
    {0, LLAMA, "{ \"name\": \"f\", \"parameters\": {\"a\": 1}}", NULL},
    {0, LLAMA, "{\"name\": \"f\", \"type\": \"function\", \"parameters\": {\"a\": 1}}", NULL},
    {0, LLAMA, "{\"parameters\":{\"a\": 1}, \"name\": \"f\"}", NULL},
    {0, LLAMA, "{\"type\": \"function\", \"parameters\": {\"a\": 1}, \"name\": \"f\"}", NULL},
    {0, LLAMA, "{\n   \"name\": \"f\",\n   \"parameters\": {\"a\": 1}\n}", NULL},
    {0, LLAMA, "{\"name\": \"f\", \"parameters\": \"{\\\"a\\\": 1}\"}", NULL},
    {0, LLAMA, "{\"name\": \"\\u0066\", \"parameters\": {\"a\": 1}}", NULL},
    {0, LLAMA, "[ {\"name\": \"f\", \"parameters\": {\"a\": 1}}]", NULL},
    {0, LLAMA, "<|python_tag|> f.call(a=1)", NULL},
    {0, LLAMA, "[f.call(a=1)]", NULL},
    {0, HERMES, "<tool_call> {\"name\": \"f\", \"arguments\": {\"a\": 1}} </tool_call>", NULL},
};

enum { ID_BYTES = sizeof "call_" DIGITS "_a" };

static const char tools_text[] = "[{\"type\": \"function\", \"function\": {\"name\": \"f\"}},"
                                 " {\"type\": \"function\", \"function\": {\"name\": \"g\"}},"
                                 " {\"function\": {\"name\": \"code_interpreter\"}}]";

/* The names that the calls of a text have, in ids (n). Pieces of n_piece bytes. */
static size_t ids_of(enum tool_format taught, const char *text, size_t n_piece,
                     char ids[][ID_BYTES])
{
    struct found_calls found;
    find_calls(tools_text, taught, TOOL_FRAMES_NONE, text, n_piece, ENDS, &found);
    for (size_t i = 0; i < found.n; i++) {
        snprintf(ids[i], ID_BYTES, "%s", found.calls[i].id.p);
    }
    size_t n = found.n;
    found_finish(&found);
    return n;
}

static void expect_written(const struct chat_call *calls, size_t n, enum tool_format format,
                           const struct tool_spelling *own, const char *text)
{
    struct buf out;
    buf_init(&out, 1 << 10);
    const struct tool_spelling *base = tool_spellings_named(own, format, calls, n);
    assert_ptr_equal(base, own != NULL ? own : tool_spelling_named(calls[0].id));
    struct tool_said said = {.calls = calls, .n = n};
    assert_true(tool_said_write(base, &said, &out, NULL, NULL));
    assert_int_equal(out.n, strlen(text));
    assert_memory_equal(out.data, text, out.n);
    buf_finish(&out);
}

static void check_text(const struct row *row, const char *text, size_t n, size_t n_piece)
{
    char ids[2][ID_BYTES];
    assert_int_equal(ids_of(row->taught, text, n_piece, ids), n);
    struct chat_call calls[] = {
        {.id = str_from(ids[0]), .name = STR("f"), .arguments = STR("{\"a\": 1}")},
        {.id = str_from(ids[1]), .name = STR("g"), .arguments = STR("{}")}};
    if (row->letter == '\0') {
        assert_string_equal(ids[0], "call_" DIGITS);
        assert_null(tool_spellings_named(NULL, row->taught, calls, n));
        return;
    }
    char expected[] = "call_" DIGITS "_?";
    expected[sizeof expected - 2] = row->letter;
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(ids[i], expected);
        const struct tool_spelling *s = tool_spelling_named(calls[i].id);
        assert_non_null(s);
        assert_true(tool_spelling_is_heard(s, row->taught));
    }
    expect_written(calls, n, row->taught, NULL, text);
}

static void spellings_are_found_named_and_written_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(rows); i++) {
        for (size_t n_piece = 1; n_piece < 100; n_piece += 7) {
            check_text(&rows[i], rows[i].one, 1, n_piece);
            if (rows[i].two != NULL) {
                check_text(&rows[i], rows[i].two, 2, n_piece);
            }
        }
    }
}

static void others_have_no_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(others); i++) {
        check_text(&others[i], others[i].one, 1, 5);
    }
}

/* Each by itself, within one frame. */
static void calls_of_an_answer_have_their_own_spellings(void **state)
{
    (void)state;
    static const struct mixed {
        const char *letters, *first, *second, *text;
    } mixed[] = {
        {"az", "{}", "{}",
         "{\"name\": \"f\", \"parameters\": {}}\n{\"name\": \"g\", \"parameters\": {}}"},
        {"cA", "{}", "{}",
         "{\"name\": \"f\", \"arguments\": {}}\n{\"name\": \"g\", \"arguments\": {}}"},
        {"ac", "{}", "{}",
         "{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"arguments\": {}}"},
        {"he", "{}", "{}",
         "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}; {\"name\":\"g\",\"parameters\":{}}"},
        {"lJ", "{\"a\": \"x\"}", "{\"a\": \"y'\"}", "[f(a='x'), g(a=\"y'\")]"},
        {"Jl", "{\"a\": \"x\"}", "{\"a\": \"\\\"\"}", "[f(a=\"x\"), g(a='\"')]"},
        {"KK", "{\"a\": \"x\"}", "{\"a\": \"\\\"\"}", "<|python_tag|>[f(a=\"x\"), g(a=\"\\\"\")]"},
        {"JJ", "{\"a\": 1, \"b\": \"x\"}", "{\"a\": [2.5, \"y\"]}",
         "[f(a=1, b=\"x\"), g(a=[2.5, \"y\"])]"},
        {"ll", "{\"a\": 1, \"b\": \"x\"}", "{\"a\": {\"c\": true}}",
         "[f(a=1, b='x'), g(a={'c': True})]"},
        {"Jl", "{\"a\": true, \"b\": \"x\"}", "{\"a\": 1, \"b\": \"y\"}",
         "[f(a=True, b=\"x\"), g(a=1, b='y')]"},
        {"MM", "{\"a\": \"x\"}", "{\"a\": \"y\"}", "f.call(a=\"x\")\ng.call(a=\"y\")"},
        {"OO", "{\"a\": \"x\"}", "{\"a\": \"y\"}",
         "<|python_tag|>f.call(a=\"x\")\ng.call(a=\"y\")"},
    };
    for (size_t i = 0; i < N(mixed); i++) {
        const struct mixed *m = &mixed[i];
        for (size_t n_piece = 1; n_piece < 60; n_piece += 11) {
            char ids[2][ID_BYTES];
            assert_int_equal(ids_of(LLAMA, m->text, n_piece, ids), 2);
            struct chat_call calls[] = {
                {.id = str_from(ids[0]), .name = STR("f"), .arguments = str_from(m->first)},
                {.id = str_from(ids[1]), .name = STR("g"), .arguments = str_from(m->second)}};
            assert_int_equal(ids[0][sizeof "call_" DIGITS], m->letters[0]);
            assert_int_equal(ids[1][sizeof "call_" DIGITS], m->letters[1]);
            expect_written(calls, 2, LLAMA, NULL, m->text);
            /* the template's own spelling needs no letter */
            const struct tool_spelling *own = tool_spelling_named(calls[0].id);
            ids[0][sizeof "call_" DIGITS - 1] = '\0';
            calls[0].id = str_from(ids[0]);
            bool is_own_alone = tool_spelling_named(calls[1].id) == own;
            if (!is_own_alone) {
                expect_written(calls, 2, LLAMA, own, m->text);
            }
            assert_null(tool_spellings_named(NULL, LLAMA, calls, 2));
        }
    }
}

static void code_is_written_as_it_is(void **state)
{
    (void)state;
    static const char text[] = "<|python_tag|>print('{\"a\": 1}')\n\tx = \"\xC3\xA9\\\"";
    static const char *const arguments[] = {
        "{\"code\": \"print('{\\\"a\\\": 1}')\\n\\tx = \\\"\xC3\xA9\\\\\\\"\"}",
        " {\"c\\u006fde\":\"print('{\\\"a\\\": 1}')\\n\\tx = \\\"\\u00e9\\\\\\\"\"} "};
    static const char *const edited[] = {"{}",
                                         "x",
                                         "{\"code\": 1}",
                                         "{\"code\": null}",
                                         "{\"code\": [\"x\"]}",
                                         "{\"code\": {}}",
                                         "{\"code\": \"\"}",
                                         "{\"code\": \" \\n\"}",
                                         "{\"cod\": \"x\"}",
                                         "{\"codes\": \"x\"}",
                                         "{\"code\": \"x\", \"a\": \"\"}",
                                         "{\"code\": \"x\", \"code\": \"x\"}",
                                         "{\"\": \"x\"}",
                                         "{\"code\": {\"code\": \"x\"}}",
                                         "{\"\": {\"code\": \"x\"}}",
                                         "{\"co\": {\"de\": \"x\"}}",
                                         "{\"code\": {\"\": \"x\"}}",
                                         "[{\"code\": \"x\"}]"};
    char ids[2][ID_BYTES];
    for (size_t n_piece = 1; n_piece < 60; n_piece += 11) {
        assert_int_equal(ids_of(LLAMA, text, n_piece, ids), 1);
        assert_string_equal(ids[0], "call_" DIGITS "_P");
    }
    for (size_t i = 0; i < N(arguments); i++) {
        struct chat_call call = {.id = str_from(ids[0]),
                                 .name = STR("code_interpreter"),
                                 .arguments = str_from(arguments[i])};
        expect_written(&call, 1, LLAMA, NULL, text);
    }
    /* what a client has made of it is no code: the template writes an ordinary call */
    for (size_t i = 0; i < N(edited); i++) {
        struct chat_call call = {.id = str_from(ids[0]),
                                 .name = STR("code_interpreter"),
                                 .arguments = str_from(edited[i])};
        assert_null(tool_spellings_named(tool_spelling_usual(LLAMA), LLAMA, &call, 1));
    }
    struct chat_call other = {
        .id = str_from(ids[0]), .name = STR("f"), .arguments = str_from(arguments[0])};
    assert_null(tool_spellings_named(NULL, LLAMA, &other, 1));
    other.name = STR("code_interpreter");
    assert_null(tool_spellings_named(NULL, LLAMA, (struct chat_call[]){other, other}, 2));
}

/* Words between calls, or another frame: the first alone has a name, and so not all. */
static void what_has_another_frame_has_no_name(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"name\": \"f\", \"parameters\": {}} and {\"name\": \"g\", \"parameters\": {}}",
        "{\"name\": \"f\", \"parameters\": {}}; [{\"name\": \"g\", \"parameters\": {}}]",
        "{\"name\": \"f\", \"parameters\": {}}; <function=g>{}</function>",
        "[f(a=1), g.call()]",
    };
    for (size_t i = 0; i < N(texts); i++) {
        char ids[2][ID_BYTES];
        assert_int_equal(ids_of(LLAMA, texts[i], 3, ids), 2);
        struct chat_call calls[] = {{.id = str_from(ids[0])}, {.id = str_from(ids[1])}};
        assert_non_null(tool_spellings_named(NULL, LLAMA, calls, 1));
        assert_null(tool_spellings_named(NULL, LLAMA, calls, 2));
        assert_string_equal(ids[1], "call_" DIGITS);
    }
    struct chat_call forged[] = {{.id = STR("call_" DIGITS "_a")},
                                 {.id = STR("call_" DIGITS "_l")}};
    assert_null(tool_spellings_named(NULL, LLAMA, forged, 2));
    /* and what is not named is written in one spelling, whatever ids say */
    struct buf out;
    buf_init(&out, 1 << 10);
    forged[0].name = forged[1].name = STR("f");
    forged[0].arguments = forged[1].arguments = STR("{}");
    assert_true(tool_calls_write(tool_spelling_usual(HERMES), forged, 1, &out, NULL, NULL));
    assert_true(str_starts_with(buf_str(&out), STR("<tool_call>")));
    buf_finish(&out);
    struct chat_call foreign[] = {{.id = STR("call_" DIGITS "_a")}, {.id = STR("call_7")}};
    assert_null(tool_spellings_named(tool_spelling_usual(LLAMA), LLAMA, foreign, 2));
}

static void other_ids_name_nothing(void **state)
{
    (void)state;
    static const char *const ids[] = {
        "",
        "call_",
        "call_" DIGITS,
        "call_" DIGITS "_",
        "call_" DIGITS "_Q",
        "call_" DIGITS "_Z",
        "call_" DIGITS "_@",
        "call_" DIGITS "_[",
        "call_" DIGITS "_{",
        "call_" DIGITS "_0",
        "call_" DIGITS "_\xff",
        "call_" DIGITS "-a",
        "call_" DIGITS "_aaaaa",
        "call_" DIGITS "_aa=",
        "toolu" DIGITS "_a_",
    };
    for (size_t i = 0; i < N(ids); i++) {
        struct chat_call call = {.id = str_from(ids[i])};
        assert_null(tool_spelling_named(call.id));
        assert_null(tool_spellings_named(tool_spelling_usual(LLAMA), LLAMA, &call, 1));
    }
    assert_null(tool_spellings_named(tool_spelling_usual(LLAMA), LLAMA, NULL, 0));
}

/* Of each tag, in order: the text is data where it lies in arguments. */
static void tags_are_told_apart_from_arguments(void **state)
{
    (void)state;
    struct chat_call calls[] = {
        {.id = STR("call_" DIGITS "_r"),
         .name = STR("f"),
         .arguments = STR("{\"a\": \"<tool_call>\"}")},
        {.id = STR("call_" DIGITS "_r"), .name = STR("g"), .arguments = STR("{}")}};
    struct tool_tag list[4];
    struct tool_tags tags = {.list = list};
    struct buf out;
    buf_init(&out, 1 << 10);
    assert_true(buf_append(&out, STR("Well: <tool_call> "), NULL));
    assert_true(tool_calls_write(tool_spelling_named(calls[0].id), calls, 2, &out, &tags, NULL));
    assert_int_equal(tags.n, 4);
    for (size_t i = 0; i < tags.n; i++) {
        struct str tag = i % 2 == 0 ? STR("<tool_call>") : STR("</tool_call>");
        assert_true(str_eq((struct str){out.data + list[i].begin, list[i].n_bytes}, tag));
        assert_true(i == 0 ? list[i].begin == 18 : list[i].begin > list[i - 1].begin);
    }
    assert_true(list[1].begin > 18 + 11 + 40);
    buf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spellings_are_found_named_and_written_again),
        cmocka_unit_test(others_have_no_name),
        cmocka_unit_test(calls_of_an_answer_have_their_own_spellings),
        cmocka_unit_test(code_is_written_as_it_is),
        cmocka_unit_test(what_has_another_frame_has_no_name),
        cmocka_unit_test(other_ids_name_nothing),
        cmocka_unit_test(tags_are_told_apart_from_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
