/* test_jinja.c - chat templates: where every byte of the output came from, errors with their
 * place, what is refused by name, bounds, and failing allocations. That the language is Python's
 * is compared in tests/oracle/test_jinja.py. */
#include "base/mem.h"
#include "chat/jinja.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* --- tools */

static const char variables_json[] =
    "{\"user\": \"ab <|x|> cd\", \"messages\": [{\"role\": \"user\", \"content\": \" Hi\\n\"},"
    "{\"role\": \"assistant\", \"content\": null}], \"n\": 3, \"x\": 0.5, \"on\": true}";

struct rendered {
    struct jinja_template *t;
    struct jinja_arena arena;
    struct jinja_output out;
    struct error e;
    bool ok;
};

static void render_with(struct rendered *r, const char *text, const struct jinja_limits *limits,
                        const struct tm *now)
{
    struct jinja_value variables;
    *r = (struct rendered){0};
    jinja_arena_init(&r->arena, 1 << 20);
    json_t *json = json_loads(variables_json, 0, NULL);
    assert_non_null(json);
    r->t = jinja_parse(str_from(text), &r->e);
    r->ok = r->t != NULL && jinja_from_json(&r->arena, json, JINJA_DATA, &variables, &r->e);
    struct jinja_value bos;
    r->ok = r->ok && jinja_string_of(&r->arena, STR("<s>"), JINJA_TEMPLATE, &bos, &r->e) &&
            jinja_dict_put(&r->arena, variables, STR("bos_token"), JINJA_TEMPLATE, bos, &r->e) &&
            jinja_render(r->t, variables, now, limits, &r->out, &r->e);
    json_decref(json);
}

static void finish(struct rendered *r)
{
    jinja_output_finish(&r->out);
    jinja_arena_finish(&r->arena);
    jinja_destroy(r->t);
}

/* The output with the bytes of data between braces. */
static void assert_marked(const char *text, const char *expected)
{
    struct rendered r;
    char marked[1024] = "";
    size_t n = 0, at = 0;
    render_with(&r, text, NULL, NULL);
    if (!r.ok) {
        fail_msg("%s: %s", text, r.e.text);
    }
    for (size_t i = 0; i < r.out.n_spans; i++) {
        bool is_data = r.out.spans[i].origin == JINJA_DATA;
        n += (size_t)snprintf(marked + n, sizeof marked - n, is_data ? "{%.*s}" : "%.*s",
                              (int)r.out.spans[i].n_bytes, r.out.text.data + at);
        at += r.out.spans[i].n_bytes;
    }
    assert_int_equal(at, r.out.text.n);
    assert_string_equal(marked, expected);
    finish(&r);
}

static void assert_refused(const char *text, enum error_code code, const char *why)
{
    struct rendered r;
    render_with(&r, text, NULL, NULL);
    assert_false(r.ok);
    assert_string_equal(r.e.text, why);
    assert_int_equal(r.e.code, code);
    finish(&r);
}

/* --- origins */

static void text_of_the_template_and_of_a_message_are_told_apart(void **state)
{
    (void)state;
    assert_marked("<|x|>{{ user }}<|x|>", "<|x|>{ab <|x|> cd}<|x|>");
    assert_marked("{{ '<|' ~ 'x|>' }}", "<|x|>");
    assert_marked("{{ bos_token + user[:2] }}", "<s>{ab}");
    assert_marked("<|{{ messages[0].role }}|>", "<|{user}|>");
    assert_marked("{{ {'user': '<|u|>'}[messages[0].role] }}", "<|u|>");
    assert_marked("{% for key in messages[0] %}{{ key }},{% endfor %}", "{role},{content},");
}

static void every_part_of_a_joined_text_keeps_its_origin(void **state)
{
    (void)state;
    assert_marked("{{ ('[' + user + ']')[2:-2]|upper }}", "{B <|X|> C}");
    assert_marked("{{ ('-' + user[:1] + '-')[::-1] }}", "-{a}-");
    assert_marked("{{ ['x', user[:2], 'y']|join('+') }}", "x+{ab}+y");
    assert_marked("{{ (' ' + messages[0].content + ' .')|trim }}", "{Hi\n} .");
    assert_marked("{% set t %}<{{ user[:2] }}>{% endset %}{{ t.split('a')[1] }}", "{b}>");
    assert_marked("{% macro m(v) %}<{{ v }}>{% endmacro %}{{ m(user[:2]) }}", "<{ab}>");
    assert_marked("{{ 'v=%s;' % user[:2] }}{{ 'w={};'.format(user[:2]) }}", "v={ab};w={ab};");
    assert_marked("{{ 'x%5s|' % user[:2] }}", "x   {ab}|");
    assert_marked("{{ user|title }}", "{Ab <|x|> Cd}");
    assert_marked("{{ (user[:2] ~ 'Z')|list|last }}{{ (user[:2] ~ 'Z')|first }}", "Z{a}");
}

static void what_replaces_data_is_data(void **state)
{
    (void)state;
    assert_marked("{{ user|replace('ab', '<|y|>') }}", "{<|y|> <|x|> cd}");
    assert_marked("{{ ('ab' + user)|replace('ab', 'q') }}", "q{q <|x|> cd}");
    assert_marked("{{ 'a-b'|replace('-', user[:2]) }}", "a{ab}b");
    assert_marked("{{ 'ab'.replace('', '.') }}{{ user[:1].replace('', '.') }}", ".a.b.{.a.}");
}

static void what_json_and_repr_write_round_values_is_data(void **state)
{
    (void)state;
    assert_marked("{{ messages[0]|tojson }}", "{{\"role\": \"user\", \"content\": \" Hi\\n\"}}");
    assert_marked("{{ ['<|x|>', n]|tojson }}", "{[\"}<|x|>{\", 3]}");
    assert_marked("{{ ['<|x|>', user[:2]] }}", "{['}<|x|>{', 'ab']}");
}

static void numbers_are_data_when_they_come_from_data(void **state)
{
    (void)state;
    assert_marked("{{ n }},{{ 3 }},{{ n + 1 }},{{ 1 + 1 }},{{ x }},{{ on }},{{ true }}",
                  "{3},3,{4},2,{0.5},{True},True");
    assert_marked("{% for m in messages %}{{ loop.index }}{% endfor %}", "12");
    assert_marked("{{ user|length }},{{ messages|length }},{{ '12'|int }},{{ -n }}",
                  "{11},2,12,{-3}");
    assert_marked("{{ messages[1].content }}{{ none }}", "{None}None");
}

/* --- white space (the rules of trim_blocks and lstrip_blocks, from jinja2's documentation) */

static void a_block_takes_its_line(void **state)
{
    (void)state;
    assert_marked("a\n  {% if 1 %}\nb\n  {% endif %}\nc\n", "a\nb\nc");
    assert_marked("a\n  {%+ if 1 %}\nb\n  {% endif +%}\nc", "a\n  b\n\nc");
    assert_marked("a \n {%- if 1 -%} \n b \n {%- endif -%} \n c", "abc");
    assert_marked("a\n  {{ 1 }}\nb", "a\n  1\nb");
    assert_marked("a {# c #}\nb\n {# d #}\nc", "a b\nc");
    assert_marked("{% raw %}{{ x }} {% if %}{% endraw %}", "{{ x }} {% if %}");
}

/* --- errors */

static void an_error_names_line_and_column(void **state)
{
    (void)state;
    assert_refused("a\n{{ 1 +\n  }}", ERROR_FORMAT, "line 3, column 3: unexpected '}}'");
    assert_refused("\u00e9\u00e9{{ u.x }}", ERROR_FORMAT, "line 1, column 7: 'u' is undefined");
    assert_refused("{% for m in messages %}\n  {{ m.content + 'x' }}\n{% endfor %}", ERROR_FORMAT,
                   "line 2, column 16: '+' of None and str");
    assert_refused("\n\n{% if 1 %}", ERROR_FORMAT,
                   "line 3, column 11: the template ends where 'endif' is missing");
    assert_refused("{{ 1 // 0 }}", ERROR_FORMAT, "line 1, column 6: division by zero");
    assert_refused("{{ user|nosuch }}", ERROR_FORMAT, "line 1, column 9: no filter named 'nosuch'");
    assert_refused("{{ 'x }}", ERROR_FORMAT,
                   "line 1, column 4: a string without its closing quote");
    assert_refused("{{ 1 ? 2 }}", ERROR_FORMAT,
                   "line 1, column 6: unexpected character U+003F '?'");
    assert_refused("{{ (1] }}", ERROR_FORMAT, "line 1, column 6: unexpected ']'");
}

static void a_template_refuses_a_conversation_in_its_own_words(void **state)
{
    (void)state;
    assert_refused("{{ raise_exception('Roles must alternate, not ' + messages[0].role) }}",
                   ERROR_USAGE, "Roles must alternate, not user");
}

static void what_is_not_supported_is_named(void **state)
{
    (void)state;
    assert_refused("{% include 'x' %}", ERROR_UNSUPPORTED,
                   "line 1, column 4: the statement 'include'");
    assert_refused("{{ user|urlize }}", ERROR_UNSUPPORTED, "line 1, column 9: the filter 'urlize'");
    assert_refused("{% for a in b recursive %}{% endfor %}", ERROR_UNSUPPORTED,
                   "line 1, column 15: a recursive loop");
    assert_refused("{{ user.encode() }}", ERROR_UNSUPPORTED, "line 1, column 8: 'encode' of str");
    assert_refused("{{ 99999999999999999999 }}", ERROR_UNSUPPORTED,
                   "line 1, column 4: an integer of more than 64 bits");
    assert_refused("{{ n * 9223372036854775807 }}", ERROR_UNSUPPORTED,
                   "line 1, column 6: an integer of more than 64 bits");
    assert_refused("{{ strftime_now('%Y') }}", ERROR_UNSUPPORTED,
                   "line 1, column 16: strftime_now without a clock");
    assert_refused("{{ self }}", ERROR_UNSUPPORTED, "line 1, column 4: the name 'self'");
}

static void text_that_is_not_utf8_is_refused(void **state)
{
    (void)state;
    struct error e = {0};
    assert_null(jinja_parse(STR("a\xff"), &e));
    assert_int_equal(e.code, ERROR_FORMAT);
    struct jinja_arena a;
    struct jinja_value v;
    jinja_arena_init(&a, 1 << 16);
    assert_false(jinja_string_of(&a, STR("\xed\xa0\x80"), JINJA_DATA, &v, &e));
    jinja_arena_finish(&a);
}

/* --- clock */

static void the_date_is_the_callers(void **state)
{
    (void)state;
    struct rendered r;
    struct tm now = {.tm_year = 124, .tm_mon = 6, .tm_mday = 6, .tm_hour = 9, .tm_wday = 6};
    render_with(&r, "{{ strftime_now('%d %b %Y, %-d %A %H h %%') }}", NULL, &now);
    assert_true(r.ok);
    assert_memory_equal(r.out.text.data, "06 Jul 2024, 6 Saturday 09 h %", r.out.text.n);
    assert_int_equal(r.out.n_spans, 1);
    assert_int_equal(r.out.spans[0].origin, JINJA_TEMPLATE);
    finish(&r);
}

/* --- bounds */

static void assert_bounded(const char *text, struct jinja_limits limits, const char *why)
{
    struct rendered r;
    render_with(&r, text, &limits, NULL);
    assert_false(r.ok);
    assert_int_equal(r.e.code, ERROR_UNSUPPORTED);
    if (strstr(r.e.text, why) == NULL) {
        fail_msg("%s: %s", text, r.e.text);
    }
    finish(&r);
}

static void a_hostile_template_ends_with_an_error(void **state)
{
    (void)state;
    struct jinja_limits few = {.max_steps = 10000, .max_output_bytes = 1 << 16};
    struct jinja_limits short_text = {.max_output_bytes = 1 << 16};
    struct jinja_limits small = {.max_memory_bytes = 1 << 20};
    assert_bounded("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
                   few, "takes more than the 10000 steps allowed");
    assert_bounded("{% set s = namespace(a='x') %}{% for i in range(99) %}"
                   "{% set s.a = s.a ~ s.a %}{% endfor %}",
                   few, "a text of more than the 65536 bytes allowed");
    assert_bounded("{% for i in range(999) %}{{ 'x' * 1000 }}{% endfor %}", short_text,
                   "a text of more than the 65536 bytes allowed");
    assert_bounded("{{ [0] * 999999999 }}", small, "bytes of memory beside");
    assert_bounded("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", (struct jinja_limits){0},
                   "nests deeper than the 400 levels allowed");
    assert_bounded("{% set s = namespace() %}{% set s.a = s %}{{ s }}", (struct jinja_limits){0},
                   "nests deeper than the 400 levels allowed");
    assert_bounded("{% set s = namespace(a=[]) %}{% for i in range(900) %}{% set s.a = [s.a] %}"
                   "{% endfor %}{{ s.a == s.a or s.a|tojson }}{{ s.a|tojson }}",
                   (struct jinja_limits){0}, "nests deeper than the 400 levels allowed");
}

static void brackets_and_blocks_are_parsed_only_so_deep(void **state)
{
    (void)state;
    static const char *const openings[] = {
        "{{ (",       "{{ [",  "{{ {1:", "{{ not ",        "{{ - ",
        "{% if 1 %}", "{{ a[", "{{ a(",  "{{ 1 if 1 else "};
    for (size_t i = 0; i < sizeof openings / sizeof *openings; i++) {
        struct buf text;
        struct error e = {0};
        buf_init(&text, 1 << 20);
        bool is_block = openings[i][1] == '%';
        assert_true(buf_append(&text, str_from(openings[i]), &e));
        for (size_t n = 0; n < 20000; n++) {
            assert_true(buf_append(&text, str_from(openings[i] + (is_block ? 0 : 3)), &e));
        }
        assert_null(jinja_parse(buf_str(&text), &e));
        assert_int_equal(e.code, ERROR_UNSUPPORTED);
        assert_non_null(strstr(e.text, "nested deeper than"));
        buf_finish(&text);
    }
}

static void a_long_chain_of_operators_is_too_deep_to_render(void **state)
{
    (void)state;
    struct buf text;
    struct error e = {0};
    buf_init(&text, 1 << 20);
    assert_true(buf_append(&text, STR("{{ 1"), &e));
    for (size_t n = 0; n < 100000; n++) {
        assert_true(buf_append(&text, STR("+1"), &e));
    }
    assert_true(buf_append(&text, STR(" }}\0"), &e));
    assert_bounded(text.data, (struct jinja_limits){0}, "nests deeper than");
    buf_finish(&text);
}

static void json_is_read_only_so_deep(void **state)
{
    (void)state;
    struct jinja_arena a;
    struct jinja_value v;
    struct error e = {0};
    json_t *json = json_integer(1);
    for (size_t i = 0; i < JINJA_MAX_JSON_DEPTH + 2; i++) {
        json_t *outer = json_array();
        json_array_append_new(outer, json);
        json = outer;
    }
    jinja_arena_init(&a, 1 << 20);
    assert_false(jinja_from_json(&a, json, JINJA_DATA, &v, &e));
    assert_string_equal(e.text, "JSON nested deeper than 200 levels");
    jinja_arena_finish(&a);
    json_decref(json);
}

/* --- memory that runs out */

static void any_allocation_may_fail(void **state)
{
    (void)state;
    static const char text[] =
        "{% macro m(v) %}<{{ v|tojson }}>{% endmacro %}{% for x in messages if x.role %}"
        "{{ m(x) }}{{ 'a%sb' % x.role }}{% endfor %}{{ messages|groupby('role') }}";
    struct rendered r;
    bool ok = false;
    for (size_t nth = 1; !ok; nth++) {
        assert_true(nth < 1000);
        mem_fail_nth(nth);
        render_with(&r, text, NULL, NULL);
        ok = r.ok && mem_count() < nth;
        assert_true(r.ok || r.e.code == ERROR_MEMORY);
        mem_fail_nth(0);
        finish(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_of_the_template_and_of_a_message_are_told_apart),
        cmocka_unit_test(every_part_of_a_joined_text_keeps_its_origin),
        cmocka_unit_test(what_replaces_data_is_data),
        cmocka_unit_test(what_json_and_repr_write_round_values_is_data),
        cmocka_unit_test(numbers_are_data_when_they_come_from_data),
        cmocka_unit_test(a_block_takes_its_line),
        cmocka_unit_test(an_error_names_line_and_column),
        cmocka_unit_test(a_template_refuses_a_conversation_in_its_own_words),
        cmocka_unit_test(what_is_not_supported_is_named),
        cmocka_unit_test(text_that_is_not_utf8_is_refused),
        cmocka_unit_test(the_date_is_the_callers),
        cmocka_unit_test(a_hostile_template_ends_with_an_error),
        cmocka_unit_test(brackets_and_blocks_are_parsed_only_so_deep),
        cmocka_unit_test(a_long_chain_of_operators_is_too_deep_to_render),
        cmocka_unit_test(json_is_read_only_so_deep),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
