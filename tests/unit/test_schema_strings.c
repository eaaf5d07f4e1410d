/* test_schema_strings.c - lengths of strings beside their patterns and formats. */
#include "schema_texts.h"

/* A web address of n characters, between quotes. */
static char *address_of(size_t n)
{
    char *text = malloc(n + 3);
    memset(text, 'a', n + 2);
    memcpy(text, "'http://b.example/", 18);
    memcpy(text + n + 1, "'", 2);
    return text;
}

static void a_length_beside_a_format_is_exact_whatever_it_is(void **state)
{
    (void)state;
    for (size_t max = 25; max < 5000; max = 3 * max + 41) {
        char schema[200];
        snprintf(schema, sizeof schema,
                 "{'type':'object','properties':{'a':{'type':'string','format':'uri','minLength':1,"
                 "'maxLength':%zu}},'required':['a']}",
                 max);
        struct error e = {0};
        struct grammar *g = compile(schema, &e);
        if (g == NULL) {
            fail_msg("%s: %s", schema, e.text);
        }
        struct reader r = reader_of(g);
        for (size_t n = max - 2; n < max + 3; n++) {
            char *address = address_of(n), text[8000];
            snprintf(text, sizeof text, "{'a': %s}", address);
            assert_int_equal(reader_has(&r, text), n <= max);
            free(address);
        }
        reader_finish(&r);
        grammar_destroy(g);
    }
    static const struct texts table[] = {
        {"{'type':'string','format':'email','maxLength':12}",
         {"'a@b.example'", "'aa@b.example'"},
         {"'aaa@b.example'", "'aaaaaaaaaaa@'"}},
        {"{'type':'string','pattern':'\\n|\u00e9','maxLength':3,'minLength':2}",
         {"'a\\n'", "'\\n\\n\\n'", "'\xc3\xa9\xf0\x9f\xa6\x99\\u0001'"},
         {"'\\n'", "'\\n\\n\\n\\n'", "'abc'", "'\xc3\xa9\xf0\x9f\xa6\x99\\u0001a'"}},
        {"{'items':{'type':'string','pattern':'^a+$','maxLength':2},'type':'array'}",
         {"[]", "['a', 'aa', 'a']"},
         {"['aaa']", "['aa', 'aaa']"}},
    };
    CHECK(table);
}

static void what_no_text_has_is_no_limit_or_refused_by_name(void **state)
{
    (void)state;
    static const struct texts table[] = {
        {"{'type':'string','maxLength':9223372036854775807}", {"''", "'ab'"}, {"1"}},
        {"{'type':'array','maxItems':1e30,'items':{'type':'integer'}}", {"[]", "[1, 2]"}, {"{}"}},
        {"{'type':'string','format':'date','maxLength':1e300}", {"'2026-01-02'"}, {"''"}},
    };
    CHECK(table);
    struct error e = {0};
    assert_null(compile("{'pattern':'^\\\\uD83D\\\\uDE00$'}", &e));
    assert_int_equal(e.code, ERROR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "schema #: 'pattern'"));
    assert_non_null(strstr(e.text, "half a surrogate pair"));
    assert_null(compile("{'properties':{'a':{'minLength':10000000}}}", &e));
    assert_int_equal(e.code, ERROR_UNSUPPORTED);
    assert_non_null(
        strstr(e.text, "#/properties/a: 'minLength' 10000000: it has to be below 1000"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_length_beside_a_format_is_exact_whatever_it_is),
        cmocka_unit_test(what_no_text_has_is_no_limit_or_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
