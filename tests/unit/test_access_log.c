/* test_access_log.c - a line of the log is one line, whatever the client sent. */
#include "serve/access_log.h"

#include <jansson.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct access_entry plain = {.time_ms = 1700000000123,
                                          .method = {"POST", 4},
                                          .path = {"/v1/chat/completions", 20},
                                          .peer = "[::1]:4711",
                                          .id = "req_1",
                                          .status = 200,
                                          .body_bytes = 1234,
                                          .ms = 56.75,
                                          .has_tokens = true,
                                          .prompt_tokens = 12,
                                          .cached_tokens = 5,
                                          .completion_tokens = 34};

static void assert_line(enum access_log_form form, const struct access_entry *x, const char *line)
{
    struct buf out;
    buf_init(&out, ACCESS_LOG_BYTES);
    assert_true(access_log_print(form, x, &out, NULL));
    assert_true(buf_append_byte(&out, '\0', NULL));
    assert_string_equal(out.data, line);
    buf_finish(&out);
}

static void a_line_says_who_what_and_how_long(void **state)
{
    (void)state;
    struct access_entry x = plain;
    assert_line(ACCESS_LOG_TEXT, &x,
                "2023-11-14T22:13:20.123Z POST /v1/chat/completions 200 bytes=1234 ms=56.8 "
                "peer=[::1]:4711 id=req_1 prompt_tokens=12 cached_tokens=5 completion_tokens=34\n");
    assert_line(ACCESS_LOG_JSON, &x,
                "{\"time\":\"2023-11-14T22:13:20.123Z\",\"method\":\"POST\","
                "\"path\":\"/v1/chat/completions\",\"status\":200,\"bytes\":1234,\"ms\":56.75,"
                "\"peer\":\"[::1]:4711\",\"id\":\"req_1\",\"prompt_tokens\":12,"
                "\"cached_tokens\":5,\"completion_tokens\":34}\n");
    x.has_tokens = false;
    x.method = x.path = (struct str){NULL, 0};
    assert_line(ACCESS_LOG_TEXT, &x,
                "2023-11-14T22:13:20.123Z - - 200 bytes=1234 ms=56.8 peer=[::1]:4711 id=req_1\n");
}

static void what_a_client_sends_stays_in_its_word(void **state)
{
    (void)state;
    struct access_entry x = plain;
    x.has_tokens = false;
    x.path = STR("/a b\"%\n\x1b\x7f\xc3\xa9\xff");
    assert_line(ACCESS_LOG_TEXT, &x,
                "2023-11-14T22:13:20.123Z POST /a%20b%22%25%0A%1B%7F%C3%A9%FF 200 bytes=1234 "
                "ms=56.8 peer=[::1]:4711 id=req_1\n");
    struct buf out;
    buf_init(&out, ACCESS_LOG_BYTES);
    assert_true(access_log_print(ACCESS_LOG_JSON, &x, &out, NULL));
    assert_ptr_equal(memchr(out.data, '\n', out.n), out.data + out.n - 1);
    json_t *line = json_loadb(out.data, out.n, 0, NULL);
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "path")),
                        "/a b\"%\n\x1b\x7f\xc3\xa9\xef\xbf\xbd");
    json_decref(line);
    buf_finish(&out);
}

/* Three bytes in text, six in JSON for one of a path. */
static void the_longest_line_is_shorter_than_a_pipe_takes_at_once(void **state)
{
    (void)state;
    assert_true(ACCESS_LOG_BYTES <= PIPE_BUF);
    char path[9000], id[129], method[9000];
    memset(path, '\x01', sizeof path);
    memset(method, 'M', sizeof method);
    memset(id, 'i', sizeof id - 1);
    id[sizeof id - 1] = '\0';
    struct access_entry x = plain;
    x.path = (struct str){path, sizeof path};
    x.method = (struct str){method, sizeof method};
    x.id = id;
    x.body_bytes = x.prompt_tokens = x.cached_tokens = x.completion_tokens = INT64_MAX;
    x.ms = 1e15;
    for (int form = ACCESS_LOG_TEXT; form <= ACCESS_LOG_JSON; form++) {
        struct buf out;
        buf_init(&out, ACCESS_LOG_BYTES);
        assert_true(access_log_print((enum access_log_form)form, &x, &out, NULL));
        buf_finish(&out);
        buf_init(&out, 100);
        assert_false(access_log_print((enum access_log_form)form, &x, &out, NULL));
        assert_int_equal(out.n, 0);
        buf_finish(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_says_who_what_and_how_long),
        cmocka_unit_test(what_a_client_sends_stays_in_its_word),
        cmocka_unit_test(the_longest_line_is_shorter_than_a_pipe_takes_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
