/* tool_text.h - the parser of calls, shown as text: content as it is, a call as its name and its
 * arguments in these marks; one that is broken ends with !, one that is cut with ~. */
#ifndef TESTS_TOOL_TEXT_H
#define TESTS_TOOL_TEXT_H

#include "base/mem.h"
#include "chat/tool_parser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define CALL "\xc2\xab" /* « */
#define END  "\xc2\xbb" /* » */

enum { MAX_SHOWN = 64 << 20 };

static const char tools_text[] =
    "[{\"type\": \"function\", \"function\": {\"name\": \"f\"}},"
    " {\"type\": \"function\", \"function\": {\"name\": \"g\"}},"
    " {\"type\": \"function\", \"function\": {\"name\": \"g.h\"}},"
    " {\"type\": \"function\", \"function\": {\"name\": \"get_weather\"}},"
    " {\"type\": \"function\", \"function\": {\"name\": \"get-time\"}},"
    " {\"type\": \"function\", \"function\": {\"name\": \"find\"}},"
    " {\"type\": \"function\", \"function\": {\"name\": \"brave_search\"}},"
    " {\"type\": \"function\", \"function\": {\"name\": \"wolfram_alpha\"}}";
static const char code_text[] =
    ", {\"type\": \"function\", \"function\": {\"name\": \"code_interpreter\"}}";

static json_t *tools, *tools_with_code;
static struct tool_set set, set_with_code;

static json_t *load(const char *a, const char *b)
{
    char text[2048];
    snprintf(text, sizeof text, "%s%s]", a, b);
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    return json;
}

static inline int set_up(void **state)
{
    (void)state;
    struct error e = {0};
    tools = load(tools_text, "");
    tools_with_code = load(tools_text, code_text);
    assert_true(tool_set_init(&set, tools, &e));
    assert_true(tool_set_init(&set_with_code, tools_with_code, &e));
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    tool_set_finish(&set);
    tool_set_finish(&set_with_code);
    json_decref(tools);
    json_decref(tools_with_code);
    return 0;
}

/* Collects spans, and checks what holds for all of them. */
struct shown {
    struct buf text;
    struct buf arguments; /* of the call that is open */
    bool is_open;
    size_t n_calls;
    enum tool_span_kind last;
};

static inline void shown_init(struct shown *s)
{
    *s = (struct shown){0};
    buf_init(&s->text, MAX_SHOWN);
    buf_init(&s->arguments, MAX_SHOWN);
}

static inline void shown_finish(struct shown *s)
{
    buf_finish(&s->text);
    buf_finish(&s->arguments);
}

static inline void add(struct shown *s, struct str text)
{
    assert_true(buf_append(&s->text, text, NULL));
}

static inline void check_whole(struct str arguments)
{
    json_error_t why;
    json_t *json = json_loadb(arguments.p, arguments.n, JSON_ALLOW_NUL, &why);
    assert_true(json_is_object(json));
    assert_true(arguments.p[0] == '{' && arguments.p[arguments.n - 1] == '}');
    json_decref(json);
}

static inline void show_span(struct shown *s, const struct tool_span *span, struct str text)
{
    if (span->kind == TOOL_CONTENT) {
        assert_false(s->is_open);
        assert_true(text.n > 0);
        add(s, text);
        return;
    }
    assert_int_equal(span->call, s->n_calls);
    assert_int_equal(s->is_open, span->kind != TOOL_CALL_NAME);
    if (span->kind == TOOL_CALL_NAME) {
        add(s, STR(CALL));
        add(s, text);
        add(s, STR(" "));
        s->is_open = true;
        buf_clear(&s->arguments);
    } else if (span->kind == TOOL_CALL_ARGUMENTS) {
        assert_true(text.n > 0);
        add(s, text);
        assert_true(buf_append(&s->arguments, text, NULL));
    } else {
        assert_int_equal(text.n, 0);
        add(s, span->end == TOOL_COMPLETE ? STR("")
               : span->end == TOOL_BROKEN ? STR("!")
                                          : STR("~"));
        add(s, STR(END));
        if (span->end == TOOL_COMPLETE) {
            check_whole(buf_str(&s->arguments));
        }
        s->is_open = false;
        s->n_calls++;
    }
}

static inline void show(struct shown *s, struct tool_output *out)
{
    size_t at = 0;
    for (size_t i = 0; i < out->n_spans; i++) {
        const struct tool_span *span = &out->spans[i];
        show_span(s, span, (struct str){out->text.data + at, span->n_bytes});
        at += span->n_bytes;
    }
    assert_int_equal(at, out->text.n);
    tool_output_clear(out);
}

/* Text in pieces of n_piece bytes, the first one of n_first. */
static inline void parse(enum tool_format format, const struct tool_set *t, struct str text,
                         size_t n_first, size_t n_piece, struct shown *s)
{
    struct error e = {0};
    struct tool_output out;
    struct tool_parser *p = tool_parser_create(format, t, &e);
    assert_non_null(p);
    tool_output_init(&out);
    shown_init(s);
    for (size_t n = n_first; text.n > 0; n = n_piece) {
        n = n < text.n ? n : text.n;
        assert_true(tool_parser_push(p, (struct str){text.p, n}, &out, &e));
        text = str_skip(text, n);
        show(s, &out);
        assert_int_equal(tool_parser_calls(p), s->n_calls);
        assert_true(tool_parser_held(p) <= 2 * TOOL_PARSER_MAX_HELD);
    }
    assert_true(tool_parser_flush(p, &out, &e));
    show(s, &out);
    assert_false(s->is_open);
    assert_int_equal(tool_parser_held(p), 0);
    tool_output_finish(&out);
    tool_parser_destroy(p);
}

static inline void expect(enum tool_format format, const struct tool_set *t, struct str text,
                          size_t n_first, size_t n_piece, const char *expected)
{
    struct shown s;
    parse(format, t, text, n_first, n_piece, &s);
    assert_true(buf_append_byte(&s.text, '\0', NULL));
    if (strcmp(s.text.data, expected) != 0) {
        print_message("%s, first %zu, then %zu: %.*s\n", tool_format_name(format), n_first, n_piece,
                      STR_ARG(text));
    }
    assert_string_equal(s.text.data, expected);
    shown_finish(&s);
}

struct row {
    const char *text, *expected; /* NULL: the text */
};

static inline void expect_row(enum tool_format format, const struct tool_set *t,
                              const struct row *row)
{
    struct str text = str_from(row->text);
    const char *expected = row->expected != NULL ? row->expected : row->text;
    expect(format, t, text, text.n, text.n, expected);
    for (size_t n_piece = 1; n_piece < 4; n_piece++) {
        expect(format, t, text, n_piece, n_piece, expected);
    }
    for (size_t n_first = 1; n_first < text.n; n_first++) {
        expect(format, t, text, n_first, text.n, expected);
    }
}

static inline void expect_llama(const struct tool_set *t, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t format = TOOL_FORMAT_LLAMA3_JSON; format <= TOOL_FORMAT_FUNCTION_TAG;
             format++) {
            expect_row((enum tool_format)format, t, &rows[i]);
        }
    }
}

#define N(rows) (sizeof(rows) / sizeof(rows)[0])

#endif
