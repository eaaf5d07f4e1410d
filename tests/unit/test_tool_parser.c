/* test_tool_parser.c - calls of tools in text, however it is cut. What is expected was written by
 * hand, after the documents of the formats (docs/TOOLS.md) and what peers got wrong. */
#include "tool_text.h"

/* --- Llama's formats */

static void json_objects_are_calls(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{\"name\": \"f\", \"parameters\": {\"a\": 1}}", CALL "f {\"a\": 1}" END},
        {"{\"name\": \"f\", \"parameters\": {}}", CALL "f {}" END},
        {"{\"type\": \"function\", \"name\": \"f\", \"parameters\": {\"a\": \"1\"}}",
         CALL "f {\"a\": \"1\"}" END},
        {"{\"name\":\"f\",\"arguments\":{\"a\":[1,{\"b\":2}]}}",
         CALL "f {\"a\":[1,{\"b\":2}]}" END},
        {"{\n    \"name\": \"get_weather\",\n    \"parameters\": {\n        \"city\": \"Rome\"\n   "
         " }\n}",
         CALL "get_weather {\n        \"city\": \"Rome\"\n    }" END},
        /* the name last, the type between */
        {"{\"parameters\": {\"a\": {}}, \"name\": \"f\"}", CALL "f {\"a\": {}}" END},
        {"{\"arguments\": {\"a\": 1}, \"type\": \"function\", \"name\": \"f\"}",
         CALL "f {\"a\": 1}" END},
        {"{\"name\": \"f\", \"parameters\": {\"a\": 1}, \"type\": \"function\"}",
         CALL "f {\"a\": 1}" END},
        {"{\"parameters\": {\"a\": 1}, \"name\": \"f\", \"id\": [1, 2]}", CALL "f {\"a\": 1}" END},
        /* no arguments */
        {"{\"name\": \"f\"}", CALL "f {}" END},
        {"{\"name\": \"f\", \"parameters\": null}", CALL "f {}" END},
        {"{\"arguments\": null, \"name\": \"f\"}", CALL "f {}" END},
        {"{\"name\": \"f\", \"arguments\": \"\"}", CALL "f {}" END},
        /* a string that holds the object */
        {"{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": \\\"x\\\\ny\\\"}\"}",
         CALL "f {\"a\": \"x\\ny\"}" END},
        {"{\"arguments\": \" {\\\"a\\\": \\u00e9\\\"\\\"}\", \"name\": \"f\"}", NULL},
        {"{\"arguments\": \" {\\\"a\\\": \\\"\\u00e9\\ud83d\\ude00\\\"} \", \"name\": \"f\"}",
         CALL "f {\"a\": \"é😀\"}" END},
        /* escapes in keys and names */
        {"{\"n\\u0061me\": \"\\u0066\", \"parameters\": {\"\\u0061\": 1}}",
         CALL "f {\"\\u0061\": 1}" END},
        /* spelled as it came: braces, quotes, escapes, numbers */
        {"{\"name\": \"f\", \"parameters\": {\"a\": \"}{][\\\\\\\"}\", \"b\": -1.50e+02, \"c\": "
         "12345678901234567, \"d\": \"it's \\/ \\u00e9\"}}",
         CALL "f {\"a\": \"}{][\\\\\\\"}\", \"b\": -1.50e+02, \"c\": 12345678901234567, \"d\": "
              "\"it's \\/ \\u00e9\"}" END},
    };
    expect_llama(&set, rows, N(rows));
}

static void several_json_calls_follow_each_other(void **state)
{
    (void)state;
#define F  "{\"name\": \"f\", \"parameters\": {\"a\": 1}}"
#define G  "{\"name\": \"g\", \"parameters\": {}}"
#define FG CALL "f {\"a\": 1}" END CALL "g {}" END
    static const struct row rows[] = {
        {F "; " G, FG},
        {F ";" G, FG},
        {F ", " G, FG},
        {F "\n" G "\n", FG},
        {F G, FG},
        {F " ;\n\n" G ";", FG},
        {"[" F ", " G "]", FG},
        {"[\n  " F ",\n  " G "\n]\n", FG},
        {"[" F "]; [" G "]", FG},
        {"[" F "," G, FG},
        {F "; " F "; " G, CALL "f {\"a\": 1}" END FG},
        /* two separators are text */
        {F ";; " G, CALL "f {\"a\": 1}" END ";; " CALL "g {}" END},
        {F "; x", CALL "f {\"a\": 1}" END "; x"},
        {F "] " G, CALL "f {\"a\": 1}" END "] " CALL "g {}" END},
        {"[" F ", {\"name\": \"unknown\"}]", CALL "f {\"a\": 1}" END ", {\"name\": \"unknown\"}]"},
    };
    expect_llama(&set, rows, N(rows));
}

static void a_python_tag_may_stand_before_each_call(void **state)
{
    (void)state;
#define TAG "<|python_tag|>"
    static const struct row rows[] = {
        {TAG F, CALL "f {\"a\": 1}" END},
        {TAG " " F ";" TAG G, FG},
        {TAG "[" F "," G "]", FG},
        {TAG "[f(a=1), g()]", FG},
        {TAG "f(a=1)", CALL "f {\"a\": 1}" END},
        {TAG "<function=f>{\"a\": 1}</function>", CALL "f {\"a\": 1}" END},
        {TAG "brave_search.call(query=\"current weather in Menlo Park\")",
         CALL "brave_search {\"query\": \"current weather in Menlo Park\"}" END},
        {"Yes. " TAG "wolfram_alpha.call(query='solve x^3 - 4x^2 + 6x - 24 = 0')",
         "Yes. " CALL "wolfram_alpha {\"query\": \"solve x^3 - 4x^2 + 6x - 24 = 0\"}" END},
        /* nobody runs code: it is text, and so is the tag */
        {TAG "print(1)", NULL},
        {TAG "{\"a\": 1}", NULL},
        {TAG, NULL},
        {"<|python_tag", NULL},
        {TAG TAG F, TAG TAG CALL "f {\"a\": 1}" END},
    };
    expect_llama(&set, rows, N(rows));
}

static void built_in_tools_are_called_where_a_line_begins(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"brave_search.call(query=\"x\")", CALL "brave_search {\"query\": \"x\"}" END},
        {"I search.\n  brave_search.call(query=\"x\")\n",
         "I search.\n  " CALL "brave_search {\"query\": \"x\"}" END},
        {"brave_search.call(query=\"x\"); brave_search.call(query=\"y\")",
         CALL "brave_search {\"query\": \"x\"}" END CALL "brave_search {\"query\": \"y\"}" END},
        {"Use brave_search.call(query=\"x\") for it", NULL},
        {"brave_search(query=\"x\")", NULL},
        {"brave_search.call", NULL},
        {"brave_search.call(\"x\")", NULL},
        {"bing_search.call(query=\"x\")", NULL},
    };
    expect_llama(&set, rows, N(rows));
}

static void python_lists_are_calls(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"[f(a=1)]", CALL "f {\"a\": 1}" END},
        {"[f()]", CALL "f {}" END},
        {"[f(a=1), g()]", FG},
        {"[ f ( a=1)]", NULL},
        {"[f(a=1),\n g(), ]\n", FG},
        {"[f( a = 1 , )]", CALL "f {\"a\": 1}" END},
        {"[g.h(x=True), get-time()]", CALL "g.h {\"x\": true}" END CALL "get-time {}" END},
        {"[f(a='x', b=-1, c=[True, None], d={'k': 1})]",
         CALL "f {\"a\": \"x\", \"b\": -1, \"c\": [true, null], \"d\": {\"k\": 1}}" END},
        {"[get_weather(city='San Francisco', metric='celsius'), "
         "get_weather(city='Seattle', metric='celsius')]",
         CALL "get_weather {\"city\": \"San Francisco\", \"metric\": \"celsius\"}" END CALL
              "get_weather {\"city\": \"Seattle\", \"metric\": \"celsius\"}" END},
        {"[f(**{'a b': 1, 'c': 2}, d=3)]", CALL "f {\"a b\": 1, \"c\": 2, \"d\": 3}" END},
        {"[f(d=3, **{}, e=4)]", CALL "f {\"d\": 3, \"e\": 4}" END},
        {"Sure: [f(a=1)] is it.", "Sure: " CALL "f {\"a\": 1}" END " is it."},
        {"[f(été=1)]", CALL "f {\"été\": 1}" END},
    };
    expect_llama(&set, rows, N(rows));
}

static void python_literals_become_json(void **state)
{
    (void)state;
    static const struct row rows[] = {
        /* strings */
        {"[f(a=\"it's\", b='\"', c='\\'\\\"\\\\', d='a\\n\\t\\x41\\101\\0f\\u00e9\\U0001f600')]",
         CALL "f {\"a\": \"it's\", \"b\": \"\\\"\", \"c\": \"'\\\"\\\\\", \"d\": "
              "\"a\\n\\tAA\\u0000fé😀\"}" END},
        {"[f(a='', b=\"\", c='''x'y\n''', d=\"\"\"\"q\" \"\"\", e='')]", CALL
         "f {\"a\": \"\", \"b\": \"\", \"c\": \"x'y\\n\", \"d\": \"\\\"q\\\" \", \"e\": \"\"}" END},
        {"[f(a='x' \"y\"\n'z', b=('p' 'q'), c=r'\\d\\'', d=u'v', e='\\d\\\n!')]",
         CALL "f {\"a\": \"xyz\", \"b\":  \"pq\", \"c\": \"\\\\d\\\\'\", \"d\": \"v\", \"e\": "
              "\"\\\\d!\"}" END},
        {"[f(a='\\ud83d\\ude00', b='tab\there')]",
         CALL "f {\"a\": \"😀\", \"b\": \"tab\\there\"}" END},
        {"[f(a='[g(b=1)]}', b='x]', c=\"),(\")]",
         CALL "f {\"a\": \"[g(b=1)]}\", \"b\": \"x]\", \"c\": \"),(\"}" END},
        {"[f(a='x' r'\\d' U'y')]", CALL "f {\"a\": \"x\\\\dy\"}" END},
        /* numbers */
        {"[f(a=-1, b=+2, c=1_000, d=.5, e=1., f=-1.5e-3, g=0x1F, h=0b11, i=0o17, j=00, k=007.50)]",
         CALL
         "f {\"a\": -1, \"b\": 2, \"c\": 1000, \"d\": 0.5, \"e\": 1.0, \"f\": -1.5e-3, \"g\": 31, "
         "\"h\": 3, \"i\": 15, \"j\": 0, \"k\": 7.50}" END},
        {"[f(a=123456789012345678, b=1E+5, c=1.e2, d=.5e1, e=0.10)]", CALL
         "f {\"a\": 123456789012345678, \"b\": 1E+5, \"c\": 1.0e2, \"d\": 0.5e1, \"e\": 0.10}" END},
        {"[f(a=- 1, b=(+ .5))]", CALL "f {\"a\": -1, \"b\":  0.5}" END},
        /* words, as Python and as JSON spell them */
        {"[f(a=True, b=False, c=None, d=true, e=false, f=null)]", CALL
         "f {\"a\": true, \"b\": false, \"c\": null, \"d\": true, \"e\": false, \"f\": null}" END},
        /* lists, tuples, dicts */
        {"[f(a=[], b=(), c={}, d=(1,), e=(1, 2,), f=[[1], (2, [3])], g=(-1), h=((('x'))))]", CALL
         "f {\"a\": [], \"b\": [], \"c\": {}, \"d\": [1], \"e\": [1, 2], \"f\": [[1], [2, [3]]], "
         "\"g\":  -1, \"h\":    \"x\"}" END},
        {"[f(a={'k': {'l': [1, {'m': None}]}, \"n\": (1, 2), 1: 'i', True: 't', None: 0, -.5: "
         "1,})]",
         CALL "f {\"a\": {\"k\": {\"l\": [1, {\"m\": null}]}, \"n\": [1, 2], \"1\": \"i\", "
              "\"true\": \"t\", "
              "\"null\": 0, \"-0.5\": 1}}" END},
    };
    expect_llama(&set, rows, N(rows));
}

static void function_tags_are_calls(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"<function=f>{\"a\": {\"b\": \"}\"}}</function>", CALL "f {\"a\": {\"b\": \"}\"}}" END},
        {"<function=f> {\"a\": 1} </function>\n<function=g>{}</function>\n", FG},
        {"<function=g></function>", CALL "g {}" END},
        {"<function=g>\n</function>", CALL "g {}" END},
        {"<function=f>{\"a\": 1}", CALL "f {\"a\": 1}" END},
        {"<function=f>{\"a\": 1}</function", CALL "f {\"a\": 1}" END},
        {"<function=f>{\"a\": 1}</functional>", CALL "f {\"a\": 1}" END "</functional>"},
        {"A <function=f>{\"a\": 1}</function> b", "A " CALL "f {\"a\": 1}" END " b"},
        {"<function=unknown>{\"a\": 1}</function>", NULL},
        {"<function=f>(a=1)</function>", NULL},
        {"<function=f>[1]</function>", NULL},
        {"<function=f", NULL},
        {"</function>", NULL},
        {"<functions=f>", NULL},
    };
    expect_llama(&set, rows, N(rows));
}

static void code_after_the_tag_is_a_call_where_somebody_runs_it(void **state)
{
    (void)state;
#define CODE "code_interpreter {\"code\": "
    static const struct row rows[] = {
        {TAG "print(\"a\\n\")\nx = 'é'\n", CALL CODE "\"print(\\\"a\\\\n\\\")\\nx = 'é'\\n\"}" END},
        {TAG "{\"a\": 1}", CALL CODE "\"{\\\"a\\\": 1}\"}" END},
        {TAG "[f(x) for x in y]", CALL CODE "\"[f(x) for x in y]\"}" END},
        {TAG "f(1)", CALL CODE "\"f(1)\"}" END},
        {TAG "\nimport os", CALL CODE "\"\\nimport os\"}" END},
        {TAG "f", CALL CODE "\"f\"}" END},
        {TAG "{\"name\": \"f\"", CALL CODE "\"{\\\"name\\\": \\\"f\\\"\"}" END},
        {TAG "<x>", CALL CODE "\"<x>\"}" END},
        {"I compute. " TAG "1 + 1", "I compute. " CALL CODE "\"1 + 1\"}" END},
        /* the other formats first */
        {TAG F, CALL "f {\"a\": 1}" END},
        {TAG "brave_search.call(query=\"x\")", CALL "brave_search {\"query\": \"x\"}" END},
        {TAG "[f(a=1), g()]", FG},
        {F "; " TAG "1", CALL "f {\"a\": 1}" END CALL CODE "\"1\"}" END},
        {"{\"name\": \"code_interpreter\", \"parameters\": {\"code\": \"1\"}}",
         CALL CODE "\"1\"}" END},
        {TAG, NULL},
        {TAG " \n", NULL},
        {"print(1)", NULL},
    };
    expect_llama(&set_with_code, rows, N(rows));
}

/* --- text */

static void what_only_looks_like_a_call_is_text(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"", NULL},
        {"Hello, world!", NULL},
        {" \n ", NULL},
        {"A set {1, 2} and {x} and {", NULL},
        {"{\"name\": \"unknown\", \"parameters\": {\"a\": 1}}", NULL},
        {"{\"name\": \"fo\", \"parameters\": {}}", NULL},
        {"{\"name\": \"John\", \"age\": 3, \"x\": {\"name\": \"f\", \"parameters\": {}}}", NULL},
        {"{\"name\": \"f\", \"parameters\": [1]}", NULL},
        {"{\"name\": \"f\", \"parameters\": 1}", NULL},
        {"{\"name\": \"f\", \"parameters\": \"x\"}", NULL},
        {"{\"name\": \"f\", \"parameters\": \"[1]\"}", NULL},
        {"{\"name\": 1}", NULL},
        {"{\"type\": \"object\", \"name\": \"f\"}", NULL},
        {"{\"type\": \"functions\", \"name\": \"f\"}", NULL},
        {"{\"type\": \"func\", \"name\": \"f\"}", NULL},
        {"{\"name\": \"f\", \"name\": \"g\", \"parameters\": {}}", NULL},
        {"{\"parameters\": {}, \"arguments\": {}, \"name\": \"f\"}", NULL},
        {"{\"parameters\": {\"a\": 1}}", NULL},
        {"{\"name\": \"f\"", NULL},
        {"{}", NULL},
        {"[]", NULL},
        {"[1, 2, {\"name\": \"f\", \"parameters\": {}}]", NULL},
        {"[[f(a=1)]]", NULL},
        {"[see](the link)", NULL},
        {"[f](the link) and [find out]", NULL},
        {"[f(x)]", NULL},
        {"[f(a==1)]", NULL},
        {"[f(a=b)]", NULL},
        {"[unknown(a=1)]", NULL},
        {"f(a=1)", NULL},
        {"<|eot_id|> < <f> <|", NULL},
        /* code */
        {"```json\n" F "\n```\n", NULL},
        {"```json\n" F "\n```\n" F, "```json\n" F "\n```\n" CALL "f {\"a\": 1}" END},
        {"Write `" F "` or `[f(a=1)]`, ``" F "``.", NULL},
        {"A ` alone\n" F, "A ` alone\n" CALL "f {\"a\": 1}" END},
        {"    ```\nbrave_search.call(query='x')\n    ```", NULL},
        /* text in which a candidate breaks may hold a call */
        {"{ " F, "{ " CALL "f {\"a\": 1}" END},
        {"{\"a\": \"not closed\n" F, "{\"a\": \"not closed\n" CALL "f {\"a\": 1}" END},
        {"[see " F "]", "[see " CALL "f {\"a\": 1}" END "]"},
        {"<function=" F, "<function=" CALL "f {\"a\": 1}" END},
        {"{\"x\": 1} " F, "{\"x\": 1} " CALL "f {\"a\": 1}" END},
    };
    expect_llama(&set, rows, N(rows));
}

static void text_around_calls_is_content(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"I'll check.\n\n" F, "I'll check.\n\n" CALL "f {\"a\": 1}" END},
        {" \n" F " \n", CALL "f {\"a\": 1}" END},
        {F "\n\nDone.", CALL "f {\"a\": 1}" END "\n\nDone."},
        {"A " F " b " G " c", "A " CALL "f {\"a\": 1}" END " b " CALL "g {}" END " c"},
        {"It's {so} " F "{", "It's {so} " CALL "f {\"a\": 1}" END "{"},
        {F ".", CALL "f {\"a\": 1}" END "."},
    };
    expect_llama(&set, rows, N(rows));
}

static void broken_and_cut_calls_end_where_they_do(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{\"name\": \"f\", \"parameters\": {\"a\": x}} y", CALL "f {\"a\": !" END "x}} y"},
        {"{\"name\": \"f\", \"parameters\": {\"a\": \"x\ny\"}}",
         CALL "f {\"a\": \"x!" END "\ny\"}}"},
        {"{\"name\": \"f\", \"parameters\": {'a': 1}}", CALL "f {!" END "'a': 1}}"},
        {"{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": }\"}", CALL "f {\"a\": !" END "}\"}"},
        {"{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1\"} x", CALL "f {\"a\": 1!" END "\"} x"},
        {"<function=f>{\"a\": 01}</function>", CALL "f {\"a\": 0!" END "1}</function>"},
        {"[f(a=1 + 2)]", CALL "f {\"a\": 1!" END "+ 2)]"},
        {"[f(a='x\ny')]", CALL "f {\"a\": \"x!" END "\ny')]"},
        {"[f(a='x', b=y)]", CALL "f {\"a\": \"x\", \"b\": !" END ")]"},
        {"[f(a=f'x')]", NULL},
        {"[f(a='x' f'y')]", CALL "f {\"a\": \"x!" END "f'y')]"},
        {"[f(a=[1, f'x'])]", CALL "f {\"a\": [1, !" END "'x'])]"},
        {"[f(a={1, 2})]", CALL "f {\"a\": {\"!" END ", 2})]"},
        {"[f(a='\\N{DASH}')]", CALL "f {\"a\": \"!" END "N{DASH}')]"},
        {"[f(a='\\ud83d')]", CALL "f {\"a\": \"!" END "')]"},
        {"{\"name\": \"f\", \"parameters\": {\"a\": \"\\ud83d\"}}",
         CALL "f {\"a\": \"\\ud83d!" END "\"}}"},
        /* broken, and then another one */
        {"{\"name\": \"f\", \"parameters\": {\"a\": 1,}} " G,
         CALL "f {\"a\": 1,!" END "}} " CALL "g {}" END},
        /* cut */
        {"{\"name\": \"f\", \"parameters\": {\"a\": \"x", CALL "f {\"a\": \"x~" END},
        {"{\"name\": \"f\", \"parameters\": {", CALL "f {~" END},
        {"[f(a='x', b=(1", CALL "f {\"a\": \"x\", \"b\": [~" END},
        {"<function=f>{", CALL "f {~" END},
        {"{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": \\\"\\u00", CALL "f {\"a\": \"~" END},
        {"{\"name\": \"f\", \"arguments\": \"{\\\"a\\\"", CALL "f {\"a\"~" END},
        /* the arguments are whole: what is missing behind them does not matter */
        {"{\"name\": \"f\", \"parameters\": {\"a\": 1}", CALL "f {\"a\": 1}" END},
        {"{\"name\": \"f\", \"parameters\": {\"a\": 1}; " G, FG},
        {"{\"name\": \"f\", \"parameters\": {\"a\": 1}, then", CALL "f {\"a\": 1}" END ", then"},
        {"[f(a=1)", CALL "f {\"a\": 1}" END},
    };
    expect_llama(&set, rows, N(rows));
}

/* --- Hermes */

static void hermes_tags_are_calls(void **state)
{
    (void)state;
#define H  "{\"name\": \"f\", \"arguments\": {\"a\": 1}}"
#define HG "{\"arguments\": {}, \"name\": \"g\"}"
    static const struct row rows[] = {
        {"<tool_call>\n" H "\n</tool_call>", CALL "f {\"a\": 1}" END},
        {"<tool_call>\n" H "\n</tool_call>\n<tool_call>\n" HG "\n</tool_call>", FG},
        {"<tool_call>" H HG "</tool_call>", FG},
        {"<tool_call>[" H ", " HG "]</tool_call>", FG},
        {"<tool_call>[\n " H "\n]\n</tool_call>\n", CALL "f {\"a\": 1}" END},
        {"<tool_call>\n" H, CALL "f {\"a\": 1}" END},
        {"<tool_call>\n" H "\n</tool_", CALL "f {\"a\": 1}" END},
        {"<tool_call>\n" H "\n</tool_call> done", CALL "f {\"a\": 1}" END " done"},
        {"I call.\n<tool_call>\n" H "\n</tool_call>", "I call.\n" CALL "f {\"a\": 1}" END},
        {"<tool_call>\n{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}\n</tool_call>",
         CALL "f {\"a\": 1}" END},
        /* without tags, at the start */
        {H, CALL "f {\"a\": 1}" END},
        {" " H "\n" HG, FG},
        {"[" H "]", CALL "f {\"a\": 1}" END},
        {"So: " H, NULL},
        {H " so: " HG, CALL "f {\"a\": 1}" END " so: " HG},
        /* text */
        {"<tool_call>\n{\"name\": \"unknown\"}\n</tool_call>", NULL},
        {"<tool_call>[]</tool_call>", NULL},
        {"<tool_call>\nf(a=1)\n</tool_call>", NULL},
        {"</tool_call>", NULL},
        {"<tool_calls>", NULL},
        {"[f(a=1)]", NULL},
        {TAG F, NULL},
        {"<function=f>{}</function>", NULL},
        {"brave_search.call(query='x')", NULL},
    };
    for (size_t i = 0; i < N(rows); i++) {
        expect_row(TOOL_FORMAT_HERMES, &set, &rows[i]);
    }
}

static void nothing_is_listened_for_without_a_format_or_tools(void **state)
{
    (void)state;
    static const struct row rows[] = {{F, NULL},
                                      {"[f(a=1)]", NULL},
                                      {TAG "1", NULL},
                                      {"<tool_call>" F "</tool_call>", NULL},
                                      {" ", NULL}};
    struct tool_set none;
    struct error e = {0};
    assert_true(tool_set_init(&none, NULL, &e));
    for (size_t i = 0; i < N(rows); i++) {
        expect_row(TOOL_FORMAT_NONE, &set_with_code, &rows[i]);
        expect_llama(&none, &rows[i], 1);
        expect_row(TOOL_FORMAT_HERMES, &none, &rows[i]);
    }
    tool_set_finish(&none);
}

/* --- as little as decides is held back */

static void bytes_leave_as_soon_as_they_are_decided(void **state)
{
    (void)state;
    static const struct {
        enum tool_format format;
        const char *text, *told;
    } rows[] = {
        {TOOL_FORMAT_LLAMA3_JSON, "Hello", "Hello"},
        {TOOL_FORMAT_LLAMA3_JSON, "Hello ", "Hello "},
        {TOOL_FORMAT_LLAMA3_JSON, "A {", "A "},
        {TOOL_FORMAT_LLAMA3_JSON, "A {x", "A {x"},
        {TOOL_FORMAT_LLAMA3_JSON, "{\"nam", ""},
        {TOOL_FORMAT_LLAMA3_JSON, "{\"nat", "{\"nat"},
        {TOOL_FORMAT_LLAMA3_JSON, "{\"name\": \"g", ""},
        {TOOL_FORMAT_LLAMA3_JSON, "{\"name\": \"go", "{\"name\": \"go"},
        {TOOL_FORMAT_LLAMA3_JSON, "{\"type\": \"fut", "{\"type\": \"fut"},
        {TOOL_FORMAT_LLAMA3_JSON, "{\"name\": \"f\", \"parameters\": ", ""},
        {TOOL_FORMAT_LLAMA3_JSON, "{\"name\": \"f\", \"parameters\": {", CALL "f {"},
        {TOOL_FORMAT_LLAMA3_JSON, "{\"name\": \"f\", \"parameters\": {\"a\": \"xy",
         CALL "f {\"a\": \"xy"},
        {TOOL_FORMAT_LLAMA3_JSON, "{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": \\\"xy",
         CALL "f {\"a\": \"xy"},
        {TOOL_FORMAT_LLAMA3_JSON, "{\"parameters\": {\"a\": 1}, \"name\": \"f\"",
         CALL "f {\"a\": 1}" END},
        {TOOL_FORMAT_PYTHONIC, "[fi", ""},
        {TOOL_FORMAT_PYTHONIC, "[fo", "[fo"},
        {TOOL_FORMAT_PYTHONIC, "[f(a", ""},
        {TOOL_FORMAT_PYTHONIC, "[f(a=", ""},
        {TOOL_FORMAT_PYTHONIC, "[f(a='x", CALL "f {\"a\": \"x"},
        {TOOL_FORMAT_PYTHONIC, "[f(a='', b=(2", CALL "f {\"a\": \"\", \"b\": "},
        {TOOL_FORMAT_PYTHONIC, "[f(a='', b=(2,", CALL "f {\"a\": \"\", \"b\": [2"},
        /* the quotes are not known yet, which the id tells */
        {TOOL_FORMAT_PYTHONIC, "[f(a=1, b=(2,", ""},
        {TOOL_FORMAT_PYTHONIC, "[f(a=1, b=(2, \"", CALL "f {\"a\": 1, \"b\": [2, \""},
        {TOOL_FORMAT_PYTHONIC, "[f(a=1)", CALL "f {\"a\": 1}" END},
        {TOOL_FORMAT_PYTHONIC, "wo", ""},
        {TOOL_FORMAT_PYTHONIC, "we", "we"},
        {TOOL_FORMAT_FUNCTION_TAG, "A <fu", "A "},
        {TOOL_FORMAT_FUNCTION_TAG, "A <fun=", "A <fun="},
        {TOOL_FORMAT_FUNCTION_TAG, "<function=go", "<function=go"},
        {TOOL_FORMAT_FUNCTION_TAG, "<function=f>{\"a", CALL "f {\"a"},
        {TOOL_FORMAT_HERMES, "{\"name\": \"f\"", ""},
        {TOOL_FORMAT_HERMES, "A {\"name\": \"f\"", "A {\"name\": \"f\""},
        {TOOL_FORMAT_HERMES, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a", CALL "f {\"a"},
    };
    for (size_t i = 0; i < N(rows); i++) {
        struct tool_output out;
        struct shown s;
        struct tool_parser *p = tool_parser_create(rows[i].format, &set, NULL);
        tool_output_init(&out);
        shown_init(&s);
        assert_true(tool_parser_push(p, str_from(rows[i].text), &out, NULL));
        show(&s, &out);
        assert_true(buf_append_byte(&s.text, '\0', NULL));
        assert_string_equal(s.text.data, rows[i].told);
        tool_output_finish(&out);
        shown_finish(&s);
        tool_parser_destroy(p);
    }
}

static void a_caller_can_stop_after_the_first_call(void **state)
{
    (void)state;
    struct tool_output out;
    struct tool_parser *p = tool_parser_create(TOOL_FORMAT_PYTHONIC, &set, NULL);
    tool_output_init(&out);
    assert_true(tool_parser_push(p, STR("[f(a=1"), &out, NULL));
    assert_int_equal(tool_parser_calls(p), 0);
    assert_true(tool_parser_push(p, STR("), g("), &out, NULL));
    assert_int_equal(tool_parser_calls(p), 1);
    tool_output_finish(&out);
    tool_parser_destroy(p);
}

/* --- limits */

enum { MANY = 200000 };

/* begin, then n times part, then end */
static struct buf repeated(const char *begin, const char *part, size_t n, const char *end)
{
    struct buf text;
    buf_init(&text, 64 << 20);
    assert_true(buf_append(&text, str_from(begin), NULL));
    for (size_t i = 0; i < n; i++) {
        assert_true(buf_append(&text, str_from(part), NULL));
    }
    assert_true(buf_append(&text, str_from(end), NULL));
    return text;
}

static void expect_repeated(const char *begin, const char *part, size_t n, const char *end,
                            const char *name)
{
    struct buf text = repeated(begin, part, n, end);
    for (size_t n_piece = 1; n_piece < 8192; n_piece *= 13) {
        struct shown s;
        parse(TOOL_FORMAT_LLAMA3_JSON, &set_with_code, buf_str(&text), n_piece, n_piece, &s);
        if (name == NULL) {
            assert_int_equal(s.n_calls, 0);
            assert_true(str_eq(buf_str(&s.text), buf_str(&text)));
        } else {
            assert_int_equal(s.n_calls, 1);
            assert_true(str_starts_with(buf_str(&s.text), str_from(name)));
        }
        shown_finish(&s);
    }
    buf_finish(&text);
}

static void what_is_too_long_or_too_deep_to_be_a_call_is_text(void **state)
{
    (void)state;
    size_t too_long = TOOL_PARSER_MAX_HELD;
    expect_repeated("", " ", too_long + 9, "x", NULL);
    expect_repeated("{", " ", too_long, "\"name\": \"f\"}", NULL);
    expect_repeated("[", "\n", too_long, "f(a=1)]", NULL);
    expect_repeated("<function=f>", " ", too_long, "{}", NULL);
    expect_repeated("[f(", " ", too_long, "a=1)]", NULL);
    expect_repeated("[f(", "a", too_long, "=1)]", NULL);
    expect_repeated("{\"parameters\": {\"a\": \"", "x", too_long, "\"}, \"name\": \"f\"}", NULL);
    expect_repeated("{\"parameters\": {\"a\": ", "[", 2 * TOOL_PARSER_MAX_DEPTH, "", NULL);
    expect_repeated("", "{\"parameters\": ", MANY, "", NULL);
    expect_repeated("", "[", MANY, "f()", NULL);
    expect_repeated("", "{", MANY, "", NULL);
    expect_repeated("", "<function=", MANY, "", NULL);
    expect_repeated("", "`", MANY, "{", NULL);
}

static void arguments_are_as_long_as_they_are(void **state)
{
    (void)state;
    expect_repeated("{\"name\": \"f\", \"parameters\": {\"a\": \"", "xy\\n", MANY, "\"}}",
                    CALL "f {");
    expect_repeated("{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": \\\"", "x\\u0041", MANY,
                    "\\\"}\"}", CALL "f {");
    expect_repeated("{\"parameters\": {\"a\": \"", "x", 60000, "\"}, \"name\": \"f\"}", CALL "f {");
    expect_repeated("[f(a=[", "'x\\n', ", MANY, "])]", CALL "f {");
    expect_repeated("<function=f>{\"a\": [0", ", 1", MANY, "]}</function>", CALL "f {");
    expect_repeated("<|python_tag|>", "print()\n", MANY, "", CALL "code_interpreter {");
    /* what waits behind a parenthesis is bounded: there the call is broken */
    expect_repeated("[f(a=('", "x", MANY, "'))]", CALL "f {\"a\": ");
    expect_repeated("[f(a=", "(", 65, "", CALL "f {\"a\": ");
}

static void an_answer_has_so_many_calls_at_most(void **state)
{
    (void)state;
    struct buf text = repeated("", "{\"name\": \"f\"}\n", TOOL_PARSER_MAX_CALLS + 2, "");
    struct shown s;
    parse(TOOL_FORMAT_LLAMA3_JSON, &set, buf_str(&text), 7, 7, &s);
    assert_int_equal(s.n_calls, TOOL_PARSER_MAX_CALLS);
    struct str end = STR(END "\n{\"name\": \"f\"}\n{\"name\": \"f\"}\n");
    assert_true(s.text.n > end.n);
    assert_true(str_eq((struct str){s.text.data + s.text.n - end.n, end.n}, end));
    shown_finish(&s);
    buf_finish(&text);
}

/* --- the set */

static void tools_are_found_by_name(void **state)
{
    (void)state;
    assert_int_equal(set.n_tools, 8);
    assert_int_equal(set.max_name_bytes, strlen("wolfram_alpha"));
    for (size_t i = 0; i < set.n_tools; i++) {
        assert_ptr_equal(tool_set_find(&set, set.tools[i].name), &set.tools[i]);
    }
    assert_null(tool_set_find(&set, STR("")));
    assert_null(tool_set_find(&set, STR("ff")));
    assert_null(tool_set_find(&set, STR("zz")));
    assert_true(tool_set_may_find(&set, STR("")));
    assert_true(tool_set_may_find(&set, STR("get")));
    assert_false(tool_set_may_find(&set, STR("got")));
    assert_false(tool_set_may_find(&set, STR("zz")));
}

static void a_set_of_something_else_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *error;
    } rows[] = {
        {"[1]", "tools[0]: no function with a name"},
        {"[{\"type\": \"function\", \"function\": {\"name\": \"\"}}]",
         "tools[0]: no function with a name"},
        {"[{\"function\": {\"name\": \"f\"}}, {\"function\": {\"name\": 1}}]",
         "tools[1]: no function with a name"},
        {"[{\"function\": {\"name\": \"f\"}}, {\"function\": {\"name\": \"f\"}}]",
         "tools[1]: the function 'f' is there twice"},
    };
    for (size_t i = 0; i < N(rows); i++) {
        struct tool_set s;
        struct error e = {0};
        json_t *json = json_loads(rows[i].json, 0, NULL);
        assert_false(tool_set_init(&s, json, &e));
        assert_int_equal(e.code, ERROR_USAGE);
        assert_string_equal(e.text, rows[i].error);
        json_decref(json);
    }
}

/* --- memory */

static bool parse_once(struct str text, enum tool_framing framing, struct error *e)
{
    struct tool_output out;
    struct tool_set s;
    tool_output_init(&out);
    if (!tool_set_init(&s, tools_with_code, e)) {
        return false;
    }
    struct tool_parser *p = tool_parser_create(TOOL_FORMAT_LLAMA3_JSON, &s, e);
    bool ok = p != NULL;
    if (ok) {
        tool_parser_frame(p, framing);
    }
    for (; ok && text.n > 0; text = str_skip(text, 1)) {
        ok = tool_parser_push(p, (struct str){text.p, 1}, &out, e);
    }
    ok = ok && tool_parser_flush(p, &out, e);
    tool_parser_destroy(p);
    tool_set_finish(&s);
    tool_output_finish(&out);
    return ok;
}

static void every_allocation_that_fails_is_told(void **state)
{
    (void)state;
    struct buf text =
        repeated("A [f(a=('x',), b='", "y", 200,
                 "')] {\"arguments\": {\"a\": 1}, \"name\": \"f\"} <function=f>{}</function>"
                 "{\"name\": \"f\", \"arguments\": \"{}\"} b <|python_tag|>1 + 1 + 1 + 1");
    for (enum tool_framing f = TOOL_FRAMES_NONE; f <= TOOL_FRAMES_ALL; f++) {
        mem_fail_nth(0);
        assert_true(parse_once(buf_str(&text), f, NULL));
        size_t n = mem_count();
        assert_true(n > 10);
        for (size_t i = 1; i <= n; i++) {
            struct error e = {0};
            mem_fail_nth(i);
            assert_false(parse_once(buf_str(&text), f, &e));
            assert_int_equal(e.code, ERROR_MEMORY);
        }
    }
    mem_fail_nth(0);
    buf_finish(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_objects_are_calls),
        cmocka_unit_test(several_json_calls_follow_each_other),
        cmocka_unit_test(a_python_tag_may_stand_before_each_call),
        cmocka_unit_test(built_in_tools_are_called_where_a_line_begins),
        cmocka_unit_test(python_lists_are_calls),
        cmocka_unit_test(python_literals_become_json),
        cmocka_unit_test(function_tags_are_calls),
        cmocka_unit_test(code_after_the_tag_is_a_call_where_somebody_runs_it),
        cmocka_unit_test(what_only_looks_like_a_call_is_text),
        cmocka_unit_test(text_around_calls_is_content),
        cmocka_unit_test(broken_and_cut_calls_end_where_they_do),
        cmocka_unit_test(hermes_tags_are_calls),
        cmocka_unit_test(nothing_is_listened_for_without_a_format_or_tools),
        cmocka_unit_test(bytes_leave_as_soon_as_they_are_decided),
        cmocka_unit_test(a_caller_can_stop_after_the_first_call),
        cmocka_unit_test(what_is_too_long_or_too_deep_to_be_a_call_is_text),
        cmocka_unit_test(arguments_are_as_long_as_they_are),
        cmocka_unit_test(an_answer_has_so_many_calls_at_most),
        cmocka_unit_test(tools_are_found_by_name),
        cmocka_unit_test(a_set_of_something_else_is_refused),
        cmocka_unit_test(every_allocation_that_fails_is_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
