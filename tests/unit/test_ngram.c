/* test_ngram.c - guesses are what followed the same tokens the last time, and nothing else. */
#include "base/mem.h"
#include "engine/ngram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

enum { ROOM = 64 };

/* Guesses behind text of n tokens; what follows it is filled with a token that occurs nowhere. */
static uint32_t guess(const uint32_t *text, uint32_t n, uint32_t max, uint32_t min_match,
                      uint32_t tokens[ROOM])
{
    struct ngram g;
    assert_true(ngram_init(&g, ROOM, NULL));
    for (uint32_t i = 0; i < ROOM; i++) {
        tokens[i] = i < n ? text[i] : 99;
        if (i < n) {
            ngram_add(&g, tokens, i, i + 1);
        }
    }
    uint32_t n_guesses = ngram_guess(&g, tokens, n, max, min_match);
    ngram_finish(&g);
    return n_guesses;
}

static void nothing_is_guessed_without_an_earlier_place(void **state)
{
    (void)state;
    const uint32_t text[] = {1, 2, 3, 4, 5, 6, 7, 2, 3};
    uint32_t tokens[ROOM];
    for (uint32_t n = 0; n <= 9; n++) {
        assert_int_equal(guess(text, n, 4, NGRAM_ORDER, tokens), 0);
        assert_int_equal(tokens[n], 99);
    }
}

static void the_last_earlier_place_is_followed(void **state)
{
    (void)state;
    const uint32_t text[] = {1, 2, 3, 4, 5, 8, 1, 2, 3, 6, 7, 8, 1, 2, 3};
    uint32_t tokens[ROOM];
    assert_int_equal(guess(text, 15, 3, NGRAM_ORDER, tokens), 3);
    assert_int_equal(tokens[15], 6);
    assert_int_equal(tokens[16], 7);
    assert_int_equal(tokens[17], 8);
    assert_int_equal(tokens[18], 99);
}

static void a_text_that_repeats_itself_goes_on(void **state)
{
    (void)state;
    const uint32_t text[] = {5, 6, 5, 6, 5};
    uint32_t tokens[ROOM];
    assert_int_equal(guess(text, 5, 6, NGRAM_ORDER, tokens), 6);
    for (uint32_t i = 5; i < 11; i++) {
        assert_int_equal(tokens[i], i % 2 ? 6 : 5);
    }
}

static void a_longer_match_can_be_asked_for(void **state)
{
    (void)state;
    const uint32_t text[] = {9, 1, 2, 3, 4, 7, 8, 1, 2, 3, 4};
    uint32_t tokens[ROOM];
    assert_int_equal(guess(text, 11, 2, 4, tokens), 2);
    assert_int_equal(tokens[11], 7);
    assert_int_equal(guess(text, 11, 2, 5, tokens), 0);
}

/* After a sequence was set anew, entries name places that hold other tokens or none. */
static void stale_entries_are_not_followed(void **state)
{
    (void)state;
    struct ngram g;
    uint32_t tokens[ROOM] = {1, 2, 3, 4, 1, 2, 3, 5};
    assert_true(ngram_init(&g, ROOM, NULL));
    ngram_add(&g, tokens, 0, 8);
    assert_int_equal(ngram_guess(&g, tokens, 3, 2, NGRAM_ORDER), 0);
    tokens[4] = 6;
    tokens[8] = 1, tokens[9] = 2, tokens[10] = 3;
    assert_int_equal(ngram_guess(&g, tokens, 11, 2, NGRAM_ORDER), 0);
    ngram_finish(&g);
}

static void memory_that_runs_out_is_said(void **state)
{
    (void)state;
    struct ngram g;
    struct error e = {0};
    mem_fail_nth(1);
    assert_false(ngram_init(&g, ROOM, &e));
    mem_fail_nth(0);
    assert_int_equal(e.code, ERROR_MEMORY);
    ngram_finish(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_guessed_without_an_earlier_place),
        cmocka_unit_test(the_last_earlier_place_is_followed),
        cmocka_unit_test(a_text_that_repeats_itself_goes_on),
        cmocka_unit_test(a_longer_match_can_be_asked_for),
        cmocka_unit_test(stale_entries_are_not_followed),
        cmocka_unit_test(memory_that_runs_out_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
