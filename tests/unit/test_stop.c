/* test_stop.c - stop strings whatever the pieces are. */
#include "base/rng.h"
#include "serve/stop.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { MAX_OUT = 4096 };

/* What comes out of text in pieces of n bytes; "|" at the end when a stop string was found. */
static void run(const char *text, size_t n, const struct str *stops, size_t n_stops, char *out)
{
    struct stop s;
    struct buf b;
    struct error e = {0};
    stop_init(&s, stops, n_stops);
    buf_init(&b, MAX_OUT);
    for (struct str rest = str_from(text); rest.n > 0;) {
        size_t take = rest.n < n ? rest.n : n;
        assert_true(stop_push(&s, (struct str){rest.p, take}, &b, &e));
        rest = str_skip(rest, take);
    }
    assert_true(stop_flush(&s, &b, &e));
    assert_true(buf_append(&b, s.found ? STR("|") : STR(""), &e));
    assert_true(buf_append_byte(&b, '\0', &e));
    memcpy(out, b.data, b.n);
    buf_finish(&b);
    stop_finish(&s);
}

static void the_answer_ends_before_the_string_that_is_complete_first(void **state)
{
    (void)state;
    static const struct {
        const char *text, *stops[3], *expected;
    } cases[] = {
        {"hello world", {"wor"}, "hello |"},
        {"hello", {"world"}, "hello"},
        {"aaab", {"aab"}, "a|"},
        {"abcabd", {"abd"}, "abc|"},
        {"xabcdy", {"abcd", "bc"}, "xa|"}, /* bc is complete first */
        {"xabcy", {"bc", "abc"}, "x|"},    /* both at the same byte: the longer */
        {"xbcabc", {"abc", "bc"}, "x|"},   /* the earlier place */
        {"stop", {"stop"}, "|"},
        {"sto", {"stop"}, "sto"}, /* held back, then released */
        {"a\n\nb", {"\n\n"}, "a|"},
        {"caf\xC3\xA9 \xC3\xA8", {"\xC3\xA8"}, "caf\xC3\xA9 |"},
        {"", {"x"}, ""},
        {"no stops", {NULL}, "no stops"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct str stops[3];
        size_t n = 0;
        while (n < 3 && cases[i].stops[n] != NULL) {
            stops[n] = str_from(cases[i].stops[n]);
            n++;
        }
        for (size_t piece = 1; piece <= 12; piece++) {
            char out[MAX_OUT];
            run(cases[i].text, piece, stops, n, out);
            assert_string_equal(out, cases[i].expected);
        }
    }
}

static int below(struct rng *rng, int n)
{
    return (int)(rng_uniform(rng) * n);
}

/* Against the definition: the least end over all places of all strings. */
static void random_texts_agree_with_the_definition(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 7);
    for (int round = 0; round < 20000; round++) {
        char text[24] = {0}, stop_text[3][6] = {{0}}, expected[32] = {0}, out[MAX_OUT];
        struct str stops[3];
        for (int i = 0; i < 20; i++) {
            text[i] = (char)('a' + below(&rng, 2));
        }
        for (int i = 0; i < 3; i++) {
            int n = 2 + below(&rng, 4);
            for (int k = 0; k < n; k++) {
                stop_text[i][k] = (char)('a' + below(&rng, 2) + (below(&rng, 8) == 0));
            }
            stops[i] = str_from(stop_text[i]);
        }
        size_t begin = 20, end = 99;
        for (size_t last = 1; last <= 20 && end == 99; last++) {
            for (size_t at = 0; at < last; at++) {
                for (int i = 0; i < 3 && end == 99; i++) {
                    if (stops[i].n == last - at && memcmp(text + at, stops[i].p, last - at) == 0) {
                        begin = at;
                        end = last;
                    }
                }
            }
        }
        memcpy(expected, text, begin);
        expected[begin] = end < 99 ? '|' : '\0';
        run(text, (size_t)(1 + below(&rng, 5)), stops, 3, out);
        assert_string_equal(out, expected);
    }
}

static void what_cannot_begin_a_stop_string_is_not_held_back(void **state)
{
    (void)state;
    const struct str stops[1] = {STR("<end>")};
    struct stop s;
    struct buf out;
    struct error e = {0};
    stop_init(&s, stops, 1);
    buf_init(&out, MAX_OUT);
    assert_true(stop_push(&s, STR("abc<e"), &out, &e));
    assert_int_equal(out.n, 3);
    assert_true(stop_push(&s, STR("x"), &out, &e));
    assert_int_equal(out.n, 6);
    assert_true(stop_push(&s, STR("<end>tail"), &out, &e));
    assert_true(s.found);
    assert_true(stop_push(&s, STR("more"), &out, &e));
    assert_int_equal(out.n, 6);
    buf_finish(&out);
    stop_finish(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_answer_ends_before_the_string_that_is_complete_first),
        cmocka_unit_test(random_texts_agree_with_the_definition),
        cmocka_unit_test(what_cannot_begin_a_stop_string_is_not_held_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
