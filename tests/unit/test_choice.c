/* test_choice.c - from tokens to the text of a choice: ends, limits, half code points. */
#include "guard/words.h"
#include "serve/choice.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "vocab_file.h"

/* Ids 0-5: "a", "b", "ab", the two halves of U+00E9, and a token that ends a turn. */
enum { A, B, AB, E_FIRST, E_SECOND, END };
static const struct vocab_spec spec = {.model = "gpt2",
                                       .pre = "gpt-2",
                                       .tokens = "a,b,ab,\xC3\x83,\xC2\xA9,<end>",
                                       .merges = "a b",
                                       .kinds = "111113",
                                       .u32_key = "eos_token_id",
                                       .u32 = END};

struct fixture {
    struct vocab_file file;
    struct tokenizer *tokenizer;
    struct choice_rules rules;
    struct choice choice;
    struct tool_output out;
};

static void open_fixture(struct fixture *f, struct choice_rules rules)
{
    struct error e = {0};
    vocab_file_open(&f->file, &spec);
    assert_non_null(f->file.gguf);
    f->tokenizer = tokenizer_create(f->file.gguf, &e);
    if (f->tokenizer == NULL) {
        fail_msg("%s", e.text);
    }
    f->rules = rules;
    f->rules.tokenizer = f->tokenizer;
    assert_true(choice_init(&f->choice, &f->rules, &e));
    tool_output_init(&f->out);
}

static void close_fixture(struct fixture *f)
{
    tool_output_finish(&f->out);
    choice_finish(&f->choice);
    tokenizer_destroy(f->tokenizer);
    vocab_file_close(&f->file);
}

/* Pushes the tokens (the last one is followed by UINT32_MAX) while the choice runs. */
static void push_all(struct fixture *f, const uint32_t *tokens)
{
    struct error e = {0};
    for (; *tokens != UINT32_MAX && f->choice.end == CHOICE_RUNS; tokens++) {
        assert_true(choice_push(&f->choice, *tokens, &f->out, &e));
    }
}

static void assert_result(struct fixture *f, const char *text, enum choice_end end, uint32_t n)
{
    struct error e = {0};
    assert_int_equal(f->out.n_spans, 0); /* there are no tools */
    assert_true(buf_append_byte(&f->out.text, '\0', &e));
    assert_string_equal(f->out.text.data, text);
    assert_int_equal(f->choice.end, end);
    assert_int_equal(f->choice.n_tokens, n);
    close_fixture(f);
}

static void an_end_token_ends_the_choice_and_leaves_no_text(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, (struct choice_rules){.max_tokens = 9});
    push_all(&f, (uint32_t[]){A, AB, END, A, UINT32_MAX});
    assert_result(&f, "aab", CHOICE_STOP, 3);
    open_fixture(&f, (struct choice_rules){.max_tokens = 4, .ignore_eos = true});
    push_all(&f, (uint32_t[]){A, END, END, B, A, UINT32_MAX});
    assert_result(&f, "ab", CHOICE_LENGTH, 4);
}

static void a_stop_id_ends_the_choice_even_with_ignore_eos(void **state)
{
    (void)state;
    static const uint32_t ids[2] = {E_FIRST, B};
    struct fixture f;
    open_fixture(&f, (struct choice_rules){
                         .max_tokens = 9, .stop_ids = ids, .n_stop_ids = 2, .ignore_eos = true});
    push_all(&f, (uint32_t[]){A, END, AB, B, A, UINT32_MAX});
    assert_result(&f, "aab", CHOICE_STOP, 4);
}

static void nothing_ends_a_choice_before_min_tokens(void **state)
{
    (void)state;
    static const uint32_t ids[1] = {B};
    static const struct str stops[1] = {STR("ba")};
    struct fixture f;
    struct choice_rules rules = {.max_tokens = 9, .min_tokens = 3, .stops = stops, .n_stops = 1};
    open_fixture(&f, rules);
    push_all(&f, (uint32_t[]){B, A, B, UINT32_MAX});
    assert_int_equal(f.out.text.n, 3);
    push_all(&f, (uint32_t[]){A, B, A, UINT32_MAX}); /* its "b" came too soon once */
    assert_result(&f, "baba", CHOICE_STOP, 6);
    rules.n_stops = 0;
    rules.stop_ids = ids;
    rules.n_stop_ids = 1;
    for (int ignores = 0; ignores < 2; ignores++) {
        rules.ignore_eos = ignores == 1;
        open_fixture(&f, rules);
        push_all(&f, (uint32_t[]){A, END, B, B, A, UINT32_MAX});
        assert_result(&f, "ab", CHOICE_STOP, 4);
    }
    rules.ignore_eos = false;
    rules.has_grammar = true; /* which the sampler let say that nothing else can follow */
    open_fixture(&f, rules);
    push_all(&f, (uint32_t[]){A, END, B, UINT32_MAX});
    assert_result(&f, "a", CHOICE_STOP, 2);
}

static void max_tokens_releases_what_was_held_back(void **state)
{
    (void)state;
    static const struct str stops[1] = {STR("abba")};
    struct fixture f;
    open_fixture(&f, (struct choice_rules){.max_tokens = 3, .stops = stops, .n_stops = 1});
    push_all(&f, (uint32_t[]){A, B, UINT32_MAX});
    assert_int_equal(f.out.text.n, 0);
    push_all(&f, (uint32_t[]){B, UINT32_MAX});
    assert_result(&f, "abb", CHOICE_LENGTH, 3);
    /* complete with the last token that may come: it is a stop all the same */
    open_fixture(&f, (struct choice_rules){.max_tokens = 4, .stops = stops, .n_stops = 1});
    push_all(&f, (uint32_t[]){A, B, B, A, UINT32_MAX});
    assert_result(&f, "", CHOICE_STOP, 4);
}

static void half_a_code_point_waits_for_the_other_half(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, (struct choice_rules){.max_tokens = 9});
    push_all(&f, (uint32_t[]){A, E_FIRST, UINT32_MAX});
    assert_int_equal(f.out.text.n, 1);
    push_all(&f, (uint32_t[]){E_SECOND, END, UINT32_MAX});
    assert_result(&f, "a\xC3\xA9", CHOICE_STOP, 4);
    /* cut in the middle: a replacement character, never half a sequence */
    open_fixture(&f, (struct choice_rules){.max_tokens = 2});
    push_all(&f, (uint32_t[]){A, E_FIRST, UINT32_MAX});
    assert_result(&f, "a\xEF\xBF\xBD", CHOICE_LENGTH, 2);
}

static void a_cut_choice_ends_by_length(void **state)
{
    (void)state;
    struct error e = {0};
    struct fixture f;
    open_fixture(&f, (struct choice_rules){.max_tokens = 9});
    push_all(&f, (uint32_t[]){A, E_FIRST, UINT32_MAX});
    assert_true(choice_cut(&f.choice, &f.out, &e));
    assert_result(&f, "a\xEF\xBF\xBD", CHOICE_LENGTH, 2);
}

/* "b" and "ab" are words of the list; the tokens write "ab", "b" and U+00E9. */
static void the_content_filter_sees_what_the_stop_strings_let_go(void **state)
{
    (void)state;
    static const struct str stops[1] = {STR("bb")};
    static const struct {
        uint32_t tokens[6];
        const char *text;
        enum choice_end end;
        uint32_t n;
        bool blocks, found;
    } table[] = {
        {{A, B, END, UINT32_MAX}, "ab", CHOICE_STOP, 3, false, true},
        {{A, B, END, UINT32_MAX}, "", CHOICE_FILTERED, 3, true, true},
        {{A, A, B, END, UINT32_MAX}, "aab", CHOICE_STOP, 4, true, false},
        {{A, B, E_FIRST, E_SECOND, END, UINT32_MAX}, "ab\xC3\xA9", CHOICE_STOP, 5, true, false},
        {{A, AB, B, UINT32_MAX}, "aa", CHOICE_STOP, 3, true, false}, /* "aa" and a stop string */
        {{B, A, A, AB, B, UINT32_MAX}, "baaa", CHOICE_STOP, 5, false, false},
        {{A, B, B, UINT32_MAX}, "a", CHOICE_STOP, 3, true, false}, /* the stop string eats it */
        {{A, A, A, A, A, UINT32_MAX}, "aaaaa", CHOICE_LENGTH, 5, true, false},
        {{A, B, A, A, B, UINT32_MAX}, "abaab", CHOICE_LENGTH, 5, true, false},
    };
    struct error e = {0};
    struct words *words = words_parse(STR("b\nab"), &e);
    assert_non_null(words);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct guard guard = {
            .judges = {words_judge(words)}, .n_judges = 1, .blocks = table[i].blocks};
        struct fixture f;
        open_fixture(&f, (struct choice_rules){
                             .max_tokens = 5, .stops = stops, .n_stops = 1, .guard = &guard});
        push_all(&f, table[i].tokens);
        assert_int_equal(f.choice.guard.found, table[i].found ? guard_bit(GUARD_PROFANITY) : 0);
        assert_result(&f, table[i].text, table[i].end, table[i].n);
    }
    words_destroy(words);
}

/* With max_tokens and without an end token the last word is judged, too. */
static void a_word_that_max_tokens_ends_is_filtered(void **state)
{
    (void)state;
    struct error e = {0};
    struct words *words = words_parse(STR("ab"), &e);
    assert_non_null(words);
    struct guard guard = {.judges = {words_judge(words)}, .n_judges = 1, .blocks = true};
    struct fixture f;
    open_fixture(&f, (struct choice_rules){.max_tokens = 2, .guard = &guard});
    push_all(&f, (uint32_t[]){A, B, UINT32_MAX});
    assert_result(&f, "", CHOICE_FILTERED, 2);
    open_fixture(&f, (struct choice_rules){.max_tokens = 9, .guard = &guard});
    push_all(&f, (uint32_t[]){AB, UINT32_MAX});
    assert_int_equal(f.out.text.n, 0); /* held back: it may be a longer word */
    assert_true(choice_cut(&f.choice, &f.out, &e));
    assert_result(&f, "", CHOICE_FILTERED, 1);
    words_destroy(words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_end_token_ends_the_choice_and_leaves_no_text),
        cmocka_unit_test(a_stop_id_ends_the_choice_even_with_ignore_eos),
        cmocka_unit_test(nothing_ends_a_choice_before_min_tokens),
        cmocka_unit_test(max_tokens_releases_what_was_held_back),
        cmocka_unit_test(half_a_code_point_waits_for_the_other_half),
        cmocka_unit_test(a_cut_choice_ends_by_length),
        cmocka_unit_test(the_content_filter_sees_what_the_stop_strings_let_go),
        cmocka_unit_test(a_word_that_max_tokens_ends_is_filtered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
