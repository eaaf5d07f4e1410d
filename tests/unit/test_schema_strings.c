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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_length_beside_a_format_is_exact_whatever_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
