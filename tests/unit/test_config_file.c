/* test_config_file.c - configuration files, good and bad. */
#include "base/config_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* All lines as "number:name=value\n", and the error behind them. */
static const char *read_all(struct str text)
{
    static char out[4096];
    struct config_file_reader reader;
    struct config_file_line line;
    struct error e = {0};
    size_t n = 0;
    out[0] = '\0';
    config_file_begin(&reader, text);
    while (config_file_next(&reader, &line, &e)) {
        assert_true(config_file_is_value(line.value));
        n += (size_t)snprintf(out + n, sizeof out - n, "%u:%.*s=%.*s\n", line.number,
                              STR_ARG(line.name), STR_ARG(line.value));
    }
    if (e.code != ERROR_NONE) {
        assert_int_equal(e.code, ERROR_USAGE);
        snprintf(out + n, sizeof out - n, "%s", e.text);
    }
    return out;
}

static void a_line_is_a_name_and_a_value(void **state)
{
    (void)state;
    static const struct {
        const char *text, *read;
    } cases[] = {
        {"", ""},
        {"\n\n  \n\t\r\n", ""},
        {"# port = 1\n   # port = 2\n#\n", ""},
        {"port = 8080", "1:port=8080\n"},
        {"port=8080\n", "1:port=8080\n"},
        {"\xEF\xBB\xBFport = 8080\r\nlog = json\r\n", "1:port=8080\n2:log=json\n"},
        {"\n # x\n\t tls-cert \t=\t /a b/c#d = e \t\n", "3:tls-cert=/a b/c#d = e\n"},
        {"alias = \xC3\xA9t\xC3\xA9\nalias = x\n", "1:alias=\xC3\xA9t\xC3\xA9\n2:alias=x\n"},
        {"alias = it's \"good\"", "1:alias=it's \"good\"\n"},
        {"x = =", "1:x==\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(read_all(str_from(cases[i].text)), cases[i].read);
    }
}

static void what_is_no_line_is_refused_with_its_number(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"a = b\nport 8080\n", "1:a=b\nline 2: 'port 8080' is not like name = value"},
        {"[server]\n", "line 1: '[server]' is not like name = value"},
        {"\n\n = 8080\n", "line 3: '' is no name of an option"},
        {"Port = 1", "line 1: 'Port' is no name of an option"},
        {"--port = 1", "line 1: '--port' is no name of an option"},
        {"9a = 1", "line 1: '9a' is no name of an option"},
        {"a b = 1", "line 1: 'a b' is no name of an option"},
        {"port =  \t\n", "line 1: port has no value"},
        {"port = # none\n", "1:port=# none\n"},
        {"host = \"::1\"", "line 1: host: a value has no quotation marks round it"},
        {"host = '::1'", "line 1: host: a value has no quotation marks round it"},
        {"a = b\x1B[2J", "line 1: bytes that are no UTF-8, or a control character"},
        {"a = b\rc", "line 1: bytes that are no UTF-8, or a control character"},
        {"a = \xFF", "line 1: bytes that are no UTF-8, or a control character"},
        {"a = \xC0\xAF", "line 1: bytes that are no UTF-8, or a control character"},
        {"a = \xC2\x85", "line 1: bytes that are no UTF-8, or a control character"},
        {"a\xEF\xBB\xBF = 1", "line 1: 'a\xEF\xBB\xBF' is no name of an option"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(read_all(str_from(cases[i].text)), cases[i].error);
    }
    assert_string_equal(read_all(STR("a = b\0c\n")),
                        "line 1: bytes that are no UTF-8, or a control character");
}

static void a_value_that_would_not_come_back_is_known(void **state)
{
    (void)state;
    static const char *const bad[] = {"", " a", "a ", "\ta", "a\nb", "a\r", "\"a", "'a", "\xFF"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(config_file_is_value(str_from(bad[i])));
    }
    assert_true(config_file_is_value(STR("a b#c=\"d\"")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_a_name_and_a_value),
        cmocka_unit_test(what_is_no_line_is_refused_with_its_number),
        cmocka_unit_test(a_value_that_would_not_come_back_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
