/* test_choice_calls.c - choices that may call tools: control tokens that frame calls, what ends
 * them, and how much of their text is out. */
#include "guard/words.h"
#include "serve/choice.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "vocab_file.h"

enum { X, TAG, OPEN, ARGUMENT, NUMBER, CLOSE, OTHER, EOT, EOM };
static const struct vocab_spec spec = {
    .model = "gpt2",
    .pre = "gpt-2",
    .tokens =
        "x,<|python_tag|>,<function=f>,{\"a\":,1},</function>,<|other|>,<|eot_id|>,<|eom_id|>,1,}",
    .merges = "1 }",
    .kinds = "13111133311",
    .u32_key = "eos_token_id",
    .u32 = EOT};

#define CALL OPEN, ARGUMENT, NUMBER, CLOSE
#define END  UINT32_MAX

struct fixture {
    struct vocab_file file;
    struct tokenizer *tokenizer;
    json_t *json;
    struct tool_set tools;
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
    f->json = json_loads("[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]", 0, NULL);
    assert_true(tool_set_init(&f->tools, f->json, &e));
    f->rules = rules;
    f->rules.tokenizer = f->tokenizer;
    f->rules.tools = &f->tools;
    f->rules.tool_format = TOOL_FORMAT_LLAMA3_JSON;
    assert_true(choice_init(&f->choice, &f->rules, &e));
    tool_output_init(&f->out);
}

static void close_fixture(struct fixture *f)
{
    tool_output_finish(&f->out);
    choice_finish(&f->choice);
    tool_set_finish(&f->tools);
    json_decref(f->json);
    tokenizer_destroy(f->tokenizer);
    vocab_file_close(&f->file);
}

static void push_all(struct fixture *f, const uint32_t *tokens)
{
    struct error e = {0};
    for (; *tokens != END && f->choice.end == CHOICE_RUNS; tokens++) {
        assert_true(choice_push(&f->choice, *tokens, &f->out, &e));
    }
}

/* What came: content as it is, calls as (name|arguments), their end ? when broken, ... when cut. */
static void expect(struct fixture *f, const char *text, enum choice_end end, uint32_t n)
{
    static const char *const ends[] = {")", "?)", "...)"};
    char shown[512] = "";
    struct str rest = buf_str(&f->out.text);
    for (size_t i = 0; i < f->out.n_spans; i++) {
        const struct tool_span *s = &f->out.spans[i];
        size_t at = strlen(shown);
        snprintf(shown + at, sizeof shown - at, "%s%.*s%s",
                 s->kind == TOOL_CALL_NAME  ? "("
                 : s->kind == TOOL_CALL_END ? ends[s->end]
                                            : "",
                 (int)s->n_bytes, rest.p, s->kind == TOOL_CALL_NAME ? "|" : "");
        rest = str_skip(rest, s->n_bytes);
    }
    assert_int_equal(rest.n, 0);
    assert_string_equal(shown, text);
    assert_int_equal(f->choice.end, end);
    assert_int_equal(f->choice.n_tokens, n);
}

static void calls_leave_as_spans(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, (struct choice_rules){.max_tokens = 20});
    push_all(&f, (uint32_t[]){X, CALL, CALL, EOT, END});
    expect(&f, "x(f|{\"a\":1})(f|{\"a\":1})", CHOICE_STOP, 10);
    close_fixture(&f);
}

static void a_control_token_is_text_only_where_it_frames_calls(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, (struct choice_rules){.max_tokens = 20});
    push_all(&f, (uint32_t[]){TAG, CALL, EOM, END}); /* the tag goes with the call */
    expect(&f, "(f|{\"a\":1})", CHOICE_STOP, 6);
    close_fixture(&f);
    open_fixture(&f, (struct choice_rules){.max_tokens = 20});
    push_all(&f, (uint32_t[]){X, OTHER, X, EOT, END});
    expect(&f, "xx", CHOICE_STOP, 4);
    close_fixture(&f);
}

static void an_only_call_ends_the_choice(void **state)
{
    (void)state;
    struct fixture f;
    for (uint32_t max_tokens = 4; max_tokens < 9; max_tokens++) {
        open_fixture(
            &f, (struct choice_rules){.max_tokens = max_tokens, .min_tokens = 5, .one_call = true});
        push_all(&f, (uint32_t[]){X, CALL, CALL, EOT, END});
        expect(&f, "x(f|{\"a\":1})", CHOICE_STOP, 4); /* its tag is not waited for */
        assert_int_equal(choice_released(&f.choice), f.choice.text_bytes);
        close_fixture(&f);
    }
}

static void a_call_that_is_cut_says_so(void **state)
{
    (void)state;
    static const struct str stops[1] = {STR("1}")};
    struct error e = {0};
    struct fixture f;
    for (int one_call = 0; one_call < 2; one_call++) {
        open_fixture(&f, (struct choice_rules){.max_tokens = 3, .one_call = one_call});
        push_all(&f, (uint32_t[]){X, CALL, EOT, END});
        expect(&f, "x(f|{\"a\":...)", CHOICE_LENGTH, 3);
        close_fixture(&f);
    }
    open_fixture(&f, (struct choice_rules){.max_tokens = 9, .stops = stops, .n_stops = 1});
    push_all(&f, (uint32_t[]){X, CALL, EOT, END});
    expect(&f, "x(f|{\"a\":...)", CHOICE_STOP, 4);
    close_fixture(&f);
    open_fixture(&f, (struct choice_rules){.max_tokens = 9});
    push_all(&f, (uint32_t[]){OPEN, ARGUMENT, END});
    assert_true(choice_cut(&f.choice, &f.out, &e));
    expect(&f, "(f|{\"a\":...)", CHOICE_LENGTH, 2);
    close_fixture(&f);
}

/* What is missing behind a call is the model's wish only where the model ended the answer. */
static void an_answer_that_is_cut_gives_its_last_call_no_frame(void **state)
{
    (void)state;
    static const struct str stops[1] = {STR("x")};
    static const uint32_t other[1] = {OTHER}, own[1] = {EOT};
    static const struct {
        struct choice_rules rules;
        uint32_t tokens[10];
        bool is_cut; /* from outside */
        size_t n_frames;
    } rows[] = {
        {{.max_tokens = 9}, {CALL, EOT, END}, false, 0}, /* as usual */
        {{.max_tokens = 9}, {OPEN, ARGUMENT, NUMBER, EOT, END}, false, 1},
        {{.max_tokens = 9}, {OPEN, ARGUMENT, NUMBER, EOM, END}, false, 1},
        {{.max_tokens = 3}, {OPEN, ARGUMENT, NUMBER, EOT, END}, false, 0},
        {{.max_tokens = 9, .stops = stops, .n_stops = 1},
         {OPEN, ARGUMENT, NUMBER, X, EOT, END},
         false,
         0},
        {{.max_tokens = 9, .stop_ids = other, .n_stop_ids = 1},
         {OPEN, ARGUMENT, NUMBER, OTHER, EOT, END},
         false,
         0},
        {{.max_tokens = 9, .stop_ids = own, .n_stop_ids = 1},
         {OPEN, ARGUMENT, NUMBER, EOT, END},
         false,
         1},
        {{.max_tokens = 9}, {OPEN, ARGUMENT, NUMBER, END}, true, 0},
        {{.max_tokens = 5}, {OPEN, ARGUMENT, NUMBER, CALL, EOT, END}, false, 1}, /* of the first */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct error e = {0};
        struct fixture f;
        struct choice_rules rules = rows[i].rules;
        rules.framing = TOOL_FRAMES_ALL;
        open_fixture(&f, rules);
        push_all(&f, rows[i].tokens);
        assert_true(!rows[i].is_cut || choice_cut(&f.choice, &f.out, &e));
        assert_int_not_equal(f.choice.end, CHOICE_RUNS);
        size_t n_frames = 0;
        for (size_t k = 0; k < f.out.n_spans; k++) {
            n_frames += f.out.spans[k].kind == TOOL_CALL_FRAME;
        }
        if (n_frames != rows[i].n_frames) {
            fail_msg("row %zu: %zu frames", i, n_frames);
        }
        close_fixture(&f);
    }
}

static void what_may_begin_a_call_is_not_released(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, (struct choice_rules){.max_tokens = 20});
    push_all(&f, (uint32_t[]){X, END});
    assert_int_equal(choice_released(&f.choice), 1);
    push_all(&f, (uint32_t[]){OPEN, END});
    assert_int_equal(f.out.text.n, 1);
    assert_int_equal(choice_released(&f.choice), 1);
    push_all(&f, (uint32_t[]){X, END}); /* it was text */
    assert_int_equal(choice_released(&f.choice), f.choice.text_bytes);
    push_all(&f, (uint32_t[]){EOT, END});
    expect(&f, "x<function=f>x", CHOICE_STOP, 4);
    close_fixture(&f);
}

static void the_content_filter_reads_calls(void **state)
{
    (void)state;
    struct error e = {0};
    struct words *words = words_parse(STR("a"), &e);
    assert_non_null(words);
    struct guard guard = {.judges = {words_judge(words)}, .n_judges = 1, .blocks = true};
    struct fixture f;
    open_fixture(&f, (struct choice_rules){.max_tokens = 9, .guard = &guard});
    push_all(&f, (uint32_t[]){X, CALL, EOT, END});
    expect(&f, "x(f|{\"...)", CHOICE_FILTERED, 3);
    close_fixture(&f);
    words_destroy(words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_leave_as_spans),
        cmocka_unit_test(a_control_token_is_text_only_where_it_frames_calls),
        cmocka_unit_test(an_only_call_ends_the_choice),
        cmocka_unit_test(a_call_that_is_cut_says_so),
        cmocka_unit_test(an_answer_that_is_cut_gives_its_last_call_no_frame),
        cmocka_unit_test(what_may_begin_a_call_is_not_released),
        cmocka_unit_test(the_content_filter_reads_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
