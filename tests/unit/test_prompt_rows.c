/* test_prompt_rows.c - rows of a prompt to log-probabilities and vectors, and how a prompt that is
 * echoed tells them; expectations by hand. */
#include "base/mem.h"
#include "serve/echo.h"
#include "serve/prompt_rows.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "vocab_file.h"

enum { N_TOKENS = 3, N_VOCAB = 5, N_CHOICES = 4, N_EMBD = 2 };

static const uint32_t tokens[N_TOKENS] = {3, 0, 2};
/* Each row's weights are 2, 1, 1, 4 of 8, as logits; the fifth is padding, and no token. */
#define LN2 0.6931471805599453F
static const float logits[N_TOKENS * N_VOCAB] = {LN2,     0,  0,   2 * LN2, 99, LN2,     0, 0,
                                                 2 * LN2, 99, LN2, 0,       0,  2 * LN2, 99};

static struct prompt_rows_rules score_rules(void)
{
    return (struct prompt_rows_rules){.rows = ENGINE_LOGITS,
                                      .tokens = tokens,
                                      .n_tokens = N_TOKENS,
                                      .n_choices = N_CHOICES,
                                      .n_top = 2,
                                      .stride = N_VOCAB};
}

static struct prompt_rows_rules pool_rules(bool only_last)
{
    return (struct prompt_rows_rules){
        .rows = ENGINE_HIDDEN, .n_tokens = 3, .only_last = only_last, .stride = N_EMBD};
}

/* All n rows, at most `part` of them at once. */
static bool add_all(struct prompt_rows *p, const struct prompt_rows_rules *r, const float *rows,
                    uint32_t n, uint32_t part, struct error *e)
{
    for (uint32_t i = 0; i < n; i += part) {
        struct engine_row_span span = {i, n - i < part ? n - i : part, rows + i * r->stride};
        if (!prompt_rows_add(p, r, &span, e)) {
            return false;
        }
    }
    return true;
}

static void assert_logprob(const struct logprob *l, uint32_t token, double p)
{
    assert_int_equal(l->token, token);
    assert_true(fabs(l->logprob - log(p)) < 1e-6);
}

static void a_row_scores_the_token_behind_it(void **state)
{
    (void)state;
    for (uint32_t part = 1; part <= N_TOKENS; part++) {
        struct prompt_rows_rules rules = score_rules();
        struct prompt_rows p = {0};
        assert_true(add_all(&p, &rules, logits, N_TOKENS, part, NULL));
        assert_int_equal(p.n, N_TOKENS);
        for (uint32_t i = 1; i < N_TOKENS; i++) {
            assert_logprob(&p.scores[3 * i], tokens[i], i == 1 ? 0.25 : 0.125);
            assert_logprob(&p.scores[3 * i + 1], 3, 0.5);
            assert_logprob(&p.scores[3 * i + 2], 0, 0.25);
        }
        prompt_rows_finish(&p);
    }
}

static void vectors_have_length_one(void **state)
{
    (void)state;
    static const float hidden[] = {1, 1, 2, 2, 0, 1}; /* the sum is 3, 4; the last 0, 1 */
    for (uint32_t part = 1; part <= 3; part++) {
        for (int only_last = 0; only_last <= 1; only_last++) {
            struct prompt_rows_rules rules = pool_rules(only_last);
            struct prompt_rows p = {0};
            float out[N_EMBD];
            assert_true(add_all(&p, &rules, hidden, 3, part, NULL));
            prompt_rows_normalise(&p, N_EMBD, out);
            assert_true(out[0] == (only_last ? 0.0F : 0.6F));
            assert_true(out[1] == (only_last ? 1.0F : 0.8F));
            prompt_rows_finish(&p);
        }
    }
}

static void a_vector_without_a_length_is_zero(void **state)
{
    (void)state;
    static const float hidden[] = {3, -1, -3, 1};
    struct prompt_rows_rules rules = pool_rules(false);
    struct prompt_rows p = {0};
    float out[N_EMBD] = {7, 7};
    assert_true(add_all(&p, &rules, hidden, 2, 2, NULL));
    prompt_rows_normalise(&p, N_EMBD, out);
    assert_true(out[0] == 0.0F && out[1] == 0.0F);
    prompt_rows_finish(&p);
}

static void huge_hidden_states_do_not_overflow(void **state)
{
    (void)state;
    static const float hidden[] = {3e38F, 0, 3e38F, 0};
    struct prompt_rows_rules rules = pool_rules(false);
    struct prompt_rows p = {0};
    float out[N_EMBD];
    assert_true(add_all(&p, &rules, hidden, 2, 1, NULL));
    prompt_rows_normalise(&p, N_EMBD, out);
    assert_true(out[0] == 1.0F && out[1] == 0.0F);
    prompt_rows_finish(&p);
}

static void what_is_no_number_is_named(void **state)
{
    (void)state;
    float bad[N_TOKENS * N_VOCAB];
    struct prompt_rows_rules rules = score_rules();
    for (size_t i = 0; i < N_TOKENS; i++) { /* the last row too, though it scores nothing */
        struct prompt_rows p = {0};
        struct error e = {0};
        char text[64];
        memcpy(bad, logits, sizeof bad);
        bad[i * N_VOCAB + 1] = i == 1 ? -INFINITY : NAN;
        assert_false(add_all(&p, &rules, bad, N_TOKENS, 2, &e));
        assert_int_equal(e.code, ERROR_FORMAT);
        snprintf(text, sizeof text, "the logit of token 1 after %zu tokens", i + 1);
        assert_non_null(strstr(e.text, text));
        prompt_rows_finish(&p);
    }
    static const float hidden[] = {0, 0, 1, INFINITY};
    struct prompt_rows_rules pools = pool_rules(true);
    struct prompt_rows p = {0};
    struct error e = {0};
    assert_false(add_all(&p, &pools, hidden, 2, 2, &e));
    assert_string_equal(e.text, "number 1 of the hidden state after 2 tokens is inf");
    prompt_rows_finish(&p);
}

static void memory_that_runs_out_is_an_error(void **state)
{
    (void)state;
    for (int hidden = 0; hidden <= 1; hidden++) {
        struct prompt_rows_rules rules = hidden ? pool_rules(false) : score_rules();
        struct prompt_rows p = {0};
        struct error e = {0};
        mem_fail_nth(1);
        assert_false(add_all(&p, &rules, logits, N_TOKENS, 1, &e));
        mem_fail_nth(0);
        assert_int_equal(e.code, ERROR_MEMORY);
        assert_true(add_all(&p, &rules, logits, N_TOKENS, 1, &e));
        prompt_rows_finish(&p);
    }
}

/* --- echoes */

/* "a", " ", the two halves of U+00E9, BOS "<s>", control "<c>". */
enum { A, BLANK, E_FIRST, E_SECOND, BOS, CONTROL, N_SPELLED };
static const struct vocab_spec spec = {.model = "gpt2",
                                       .pre = "gpt-2",
                                       .tokens = "a,\xC4\xA0,\xC3\x83,\xC2\xA9,<s>,<c>,b,ab",
                                       .merges = "a b",
                                       .kinds = "11113311",
                                       .u32_key = "bos_token_id",
                                       .u32 = BOS};

/* How a prompt is told: offsets, the end, and its text. */
static void check_echo(const struct api_prompt *given, const uint32_t *ids, size_t n,
                       const size_t *offsets, size_t end, const char *text)
{
    struct vocab_file file;
    vocab_file_open(&file, &spec);
    struct tokenizer *t = tokenizer_create(file.gguf, NULL);
    assert_non_null(t);
    struct token_list prompt = {.ids = (uint32_t *)ids, .n = n};
    struct logprob scores[16] = {{0}};
    struct prompt_rows rows = {.n = (uint32_t)n, .scores = scores};
    struct api_token told[8];
    struct api_candidate top[8];
    struct echo p = {t, given, &prompt, &rows, 1};
    for (uint32_t i = 2; i < 2 * n; i++) {
        scores[i] = (struct logprob){i % N_SPELLED, -0.5 * i};
    }
    size_t told_end = 99;
    assert_true(echo_tokens(&p, told, top, &told_end, NULL));
    assert_int_equal(told_end, end);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(told[i].text_offset, offsets[i]);
        assert_true(str_eq(told[i].bytes, tokenizer_piece(t, ids[i], true)));
        assert_int_equal(told[i].n_top, i > 0);
        assert_true(i > 0 ? told[i].logprob == -1.0 * (double)i : isnan(told[i].logprob));
        assert_true(i == 0 || told[i].top[0].logprob == -1.0 * (double)i - 0.5);
    }
    struct buf out;
    buf_init(&out, 64);
    assert_true(echo_text(&p, &out, NULL));
    assert_true(str_eq(buf_str(&out), str_from(text)));
    buf_finish(&out);
    tokenizer_destroy(t);
    vocab_file_close(&file);
}

static void offsets_are_code_points_of_the_text_that_is_told(void **state)
{
    (void)state;
    static const uint32_t ids[] = {A, E_FIRST, E_SECOND, BLANK, A};
    struct api_prompt by_ids = {.is_ids = true, .ids = ids, .n_ids = 5};
    check_echo(&by_ids, ids, 5, (size_t[]){0, 1, 2, 2, 3}, 4, "a\xC3\xA9 a");
    struct api_prompt by_text = {.text = STR("a\xC3\xA9 a")};
    check_echo(&by_text, ids, 5, (size_t[]){0, 1, 2, 2, 3}, 4, "a\xC3\xA9 a");
    check_echo(&by_ids, ids, 2, (size_t[]){0, 1}, 2, "a\xC3"); /* half a code point counts */
}

/* Of ids they are not told; of a text they are what it says, but for a BOS that it was given. */
static void control_tokens_are_where_the_text_has_them(void **state)
{
    (void)state;
    static const uint32_t ids[] = {BOS, A, CONTROL, BLANK};
    struct api_prompt by_ids = {.is_ids = true, .ids = ids, .n_ids = 4};
    check_echo(&by_ids, ids, 4, (size_t[]){0, 0, 1, 1}, 2, "a ");
    struct api_prompt was_given = {.text = STR("a<c> ")};
    check_echo(&was_given, ids, 4, (size_t[]){0, 0, 1, 4}, 5, "a<c> ");
    struct api_prompt says_so = {.text = STR("<s>a<c> ")};
    check_echo(&says_so, ids, 4, (size_t[]){0, 3, 4, 7}, 8, "<s>a<c> ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_scores_the_token_behind_it),
        cmocka_unit_test(vectors_have_length_one),
        cmocka_unit_test(a_vector_without_a_length_is_zero),
        cmocka_unit_test(huge_hidden_states_do_not_overflow),
        cmocka_unit_test(what_is_no_number_is_named),
        cmocka_unit_test(memory_that_runs_out_is_an_error),
        cmocka_unit_test(offsets_are_code_points_of_the_text_that_is_told),
        cmocka_unit_test(control_tokens_are_where_the_text_has_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
