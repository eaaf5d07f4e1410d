/* test_tool_frame.c - calls whose text no spelling is: their ids carry what is round the arguments,
 * and the next turn has the very bytes. */
#include "tool_frames.h"

/* is_odd: some call begins as its answer's spelling does not, which a stream sees before the id. */
struct row {
    enum tool_format taught;
    bool is_odd;
    size_t n_calls, n_frames;
    const char *text;
};

static const struct row rows[] = {
    /* nothing that a letter does not say */
    {LLAMA, false, 1, 0, F_CALL},
    {LLAMA, false, 2, 0, F_CALL "; " G_CALL},
    {LLAMA, false, 2, 0, "[" F_CALL ", " G_CALL "]"},
    {LLAMA, false, 2, 0, "[f(a='x'), g()]"},
    {LLAMA, false, 1, 0, "<|python_tag|>print(1)\n"},
    {HERMES, false, 1, 0, "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>"},
    /* other begins */
    {LLAMA, true, 1, 1, " " F_CALL},
    {LLAMA, true, 1, 1, "{ \"name\": \"f\", \"parameters\": {\"a\": 1} }"},
    {LLAMA, true, 1, 1, "{\"name\": \"f\", \"type\": \"function\", \"parameters\": {\"a\": 1}}"},
    {LLAMA, true, 1, 1, "{\"type\": \"function\", \"parameters\": {\"a\": 1}, \"name\": \"f\"}"},
    {LLAMA, true, 1, 1, "{\"name\": \"f\", \"parameters\": \"{\\\"a\\\": 1}\"}"},
    {LLAMA, true, 1, 1, "{\"name\": \"\\u0066\", \"parameters\": {\"a\": 1}}"},
    {LLAMA, true, 1, 1, "[ " F_CALL " ]"},
    {LLAMA, true, 2, 2, "[\n" F_CALL ",\n" G_CALL "\n]\n"},
    {LLAMA, true, 2, 2, "\n" F_CALL "\n\n" G_CALL},
    {LLAMA, true, 1, 1, "[f.call(a=1)]"},
    {LLAMA, true, 1, 1, "<|python_tag|> f.call(a=1)"},
    {LLAMA, true, 2, 2, "[ f( a = 'x' ) ,g( ) ]"},
    {LLAMA, true, 1, 1, "<function=f>\n{\"a\": 1}\n</function>"},
    {LLAMA, true, 1, 1, "<function=f></function>"},
    {HERMES, true, 1, 1, "<tool_call> {\"name\": \"f\", \"arguments\": {\"a\": 1}} </tool_call>"},
    {HERMES, true, 2, 2,
     "<tool_call>\n\n{\"name\": \"f\", \"arguments\": {}}</tool_call>"
     "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>"},
    /* a list that ends, and then another call: the first one's id says nothing of that */
    {LLAMA, true, 2, 2, "[f(a='x')]\n[g()]"},
    {LLAMA, true, 2, 2, "[f(a=\"x\")]\ng.call()"},
    {LLAMA, true, 2, 2, "[" F_CALL "]\n[" G_CALL "]"},
    {LLAMA, true, 2, 2, "[" F_CALL "]; " G_CALL},
    {LLAMA, true, 2, 2, "[" F_CALL "], " G_CALL},
    {LLAMA, true, 3, 3, "[" F_CALL "]; " G_CALL ", " G_CALL},
    {LLAMA, true, 3, 2, "[" F_CALL ", " G_CALL "]; " G_CALL},
    {LLAMA, true, 2, 2, "[" F_CALL "]<function=g>{}</function>"},
    {LLAMA, true, 2, 1, "[" F_CALL ", { \"name\": \"g\", \"parameters\": {}}]"},
    {LLAMA, false, 2, 1, "[f(a=1), g( )]"},
    {HERMES, true, 2, 2,
     "<tool_call>\n[{\"name\": \"f\", \"arguments\": {}}]\n</tool_call>\n"
     "<tool_call>\n[{\"name\": \"g\", \"arguments\": {}}]\n</tool_call>"},
    /* other ends */
    {LLAMA, false, 1, 1,
     "{\"name\": \"f\", \"parameters\": {\"a\": \"{\\\"a\\\": 1}\"},\n\"id\": 7}"
     " \n"},
    {LLAMA, false, 1, 1, F_CALL "\n"},
    {LLAMA, false, 1, 1, "{\"name\": \"f\", \"parameters\": {\"a\": 1}, \"id\": \"<tool_call>\"}"},
    {LLAMA, false, 1, 1, "{\"name\": \"f\", \"parameters\": {\"a\": 1}"},
    {LLAMA, false, 2, 1, "{\"name\": \"f\", \"parameters\": {\"a\": 1} }; " G_CALL},
    {LLAMA, false, 2, 1, "[" F_CALL ", " G_CALL},
    {LLAMA, true, 2, 1, F_CALL "; <function=g>{}</function>"},
    {LLAMA, true, 2, 1, F_CALL "\n<|python_tag|>print('x')"},
    {LLAMA, false, 1, 1, "[f(a = 'x')]"},
    {LLAMA, false, 1, 1, "[f(a='x', b=\"y\")]"},
    {LLAMA, false, 1, 1, "[f(a=r'\\d', b='''x''')]"},
    {LLAMA, false, 2, 1, "[f(a='x'), g(a=(1,))]"},
    {LLAMA, true, 2, 1, "f.call(a=1); g.call()"},
    {HERMES, false, 1, 1, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}"},
    {HERMES, false, 1, 1, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_"},
    {HERMES, false, 1, 1, "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n\n</tool_call>\n"},
};

/* With a frame, a letter, or, in the spelling `own`, none of both. */
static void expect_written(const struct row *row, const struct tool_spelling *own,
                           const struct found_calls *f)
{
    bool is_fit = false;
    struct buf out;
    buf_init(&out, MOST_BYTES);
    const struct tool_spelling *base = tool_spellings_named(own, row->taught, f->calls, f->n);
    assert_non_null(base);
    struct tool_said said = said_of(f);
    assert_true(tool_frames_fit(base, row->taught, &said, &is_fit, NULL));
    assert_true(is_fit);
    assert_true(tool_said_write(base, &said, &out, NULL, NULL));
    assert_true(buf_append_byte(&out, '\0', NULL));
    assert_string_equal(out.data, row->text);
    buf_finish(&out);
}

static void every_text_is_written_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(rows); i++) {
        for (size_t n_piece = 1; n_piece < 100; n_piece += 7) {
            struct found_calls f;
            find_calls(tools_text, rows[i].taught, TOOL_FRAMES_ALL, rows[i].text, n_piece, ENDS,
                       &f);
            assert_int_equal(f.n, rows[i].n_calls);
            if (f.n_frames != rows[i].n_frames) {
                fail_msg("%zu frames: %s", f.n_frames, rows[i].text);
            }
            expect_written(&rows[i], NULL, &f);
            expect_written(&rows[i], tool_spelling_usual(rows[i].taught), &f);
            found_finish(&f);
        }
    }
}

/* What ends oddly is told behind the arguments, where an id is told already. */
static void a_stream_has_the_same_frames(void **state)
{
    (void)state;
    for (size_t i = 0; i < N(rows); i++) {
        struct found_calls f;
        find_calls(tools_text, rows[i].taught, TOOL_FRAMES_ODD, rows[i].text, 5, ENDS, &f);
        assert_int_equal(f.n, rows[i].n_calls);
        assert_int_equal(f.n_frames, rows[i].n_frames);
        assert_true(rows[i].is_odd == (f.n_blank < f.n_frames));
        expect_written(&rows[i], NULL, &f);
        expect_written(&rows[i], tool_spelling_usual(rows[i].taught), &f);
        found_finish(&f);
        find_calls(tools_text, rows[i].taught, TOOL_FRAMES_NONE, rows[i].text, 5, ENDS, &f);
        assert_int_equal(f.n_frames, 0);
        found_finish(&f);
    }
}

/* All of a call is told at once, when it is known what follows it; others as they come. */
static void a_call_is_kept_no_longer_than_its_frame_asks(void **state)
{
    (void)state;
    static const struct step {
        enum tool_framing framing;
        const char *piece;
        size_t n_spans; /* that it tells */
        const char *held;
    } steps[] = {
        {TOOL_FRAMES_ODD, "{\"name\": \"f\", \"parameters\": {\"a\"", 2, ""},
        {TOOL_FRAMES_ODD, F_CALL, 2, ""},
        {TOOL_FRAMES_ODD, F_CALL " \n", 2, " \n"},
        {TOOL_FRAMES_ODD, F_CALL " \nDone", 4, ""},
        {TOOL_FRAMES_ODD, F_CALL "; " G_CALL, 5, ""},
        {TOOL_FRAMES_ODD, ODD_CALL, 0, ODD_CALL},
        {TOOL_FRAMES_ODD, ODD_CALL " \n{\"name\"", 0, ODD_CALL " \n{\"name\""},
        {TOOL_FRAMES_ODD, ODD_CALL " Done", 5, ""},
        {TOOL_FRAMES_ODD, ODD_CALL "\n" G_CALL, 4, "\n" G_CALL},
        {TOOL_FRAMES_ALL, F_CALL, 0, F_CALL},
        {TOOL_FRAMES_ALL, F_CALL " Done", 5, ""},
        {TOOL_FRAMES_NONE, "{ \"name\": \"f\", \"parameters\": {\"a\"", 2, ""},
    };
    struct error e = {0};
    struct tool_set set;
    json_t *tools = json_loads(tools_text, 0, NULL);
    assert_true(tool_set_init(&set, tools, &e));
    for (size_t i = 0; i < N(steps); i++) {
        struct tool_output out;
        struct tool_parser *p = tool_parser_create(LLAMA, &set, &e);
        tool_output_init(&out);
        tool_parser_frame(p, steps[i].framing);
        assert_true(tool_parser_push(p, str_from(steps[i].piece), &out, &e));
        assert_int_equal(out.n_spans, steps[i].n_spans);
        assert_int_equal(tool_parser_held(p), strlen(steps[i].held));
        size_t n_ends = 0;
        for (size_t k = 0; k < out.n_spans; k++) {
            n_ends += out.spans[k].kind == TOOL_CALL_END;
        }
        assert_int_equal(tool_parser_calls(p), n_ends);
        tool_parser_destroy(p);
        tool_output_finish(&out);
    }
    tool_set_finish(&set);
    json_decref(tools);
}

/* A call that is broken or cut: no prompt has it so. */
static void what_no_prompt_has_gets_no_frame(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n_calls, n_frames;
    } odd[] = {
        {"{ \"name\": \"f\", \"parameters\": {\"a\": 1", 1, 0},
        {"{ \"name\": \"f\", \"parameters\": {\"a\": 1]", 1, 0},
        {"{\"name\": \"f\", \"parameters\": {\"a\": 1", 1, 0},
        {"{\"name\": \"f\", \"parameters\": {\"a\": 1]", 1, 0},
    };
    for (size_t i = 0; i < N(odd); i++) {
        for (enum tool_framing how = TOOL_FRAMES_ODD; how <= TOOL_FRAMES_ALL; how++) {
            struct found_calls f;
            find_calls(tools_text, LLAMA, how, odd[i].text, 3, ENDS, &f);
            assert_int_equal(f.n, odd[i].n_calls);
            if (f.n_frames != odd[i].n_frames) {
                fail_msg("%zu frames: %s", f.n_frames, odd[i].text);
            }
            found_finish(&f);
        }
    }
}

/* What is said behind a call, and between two, is written there. */
static void words_stay_where_they_were(void **state)
{
    (void)state;
    static const struct row said[] = {
        {LLAMA, false, 1, 0, "Well: " F_CALL},
        {LLAMA, false, 1, 1, F_CALL " Done"},
        {LLAMA, false, 1, 1, F_CALL "\n\nDone: \xc3\xbc.\n"},
        {LLAMA, false, 1, 1, "\xc3\xbc " F_CALL "."},
        {LLAMA, false, 1, 1, ODD_CALL " Done"},
        {LLAMA, false, 2, 2, "A " F_CALL " b " G_CALL},
        {LLAMA, false, 2, 2, "A " F_CALL " b " G_CALL " c"},
        {LLAMA, false, 2, 1, "A " F_CALL "; " G_CALL " c"},
        {LLAMA, false, 3, 2, F_CALL "; " G_CALL " c\n" G_CALL},
        {LLAMA, false, 1, 1, "[" F_CALL "] c"},
        {LLAMA, false, 2, 2, "[" F_CALL "] c [" G_CALL "]"},
        {LLAMA, false, 2, 2, "[" F_CALL " c " G_CALL},
        {LLAMA, false, 2, 2, "[f(a='x')] c [g()]"},
        {LLAMA, false, 1, 1, "[f(a = 'x')] c"},
        {LLAMA, false, 2, 2, "f.call(a=1) c\ng.call()"},
        {LLAMA, false, 2, 2, "<function=f>{}</function> c <function=g></function>"},
        {LLAMA, false, 2, 2, F_CALL " c <|python_tag|>print('x')"},
        {HERMES, false, 2, 2,
         "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call> and "
         "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>"},
    };
    for (size_t i = 0; i < N(said); i++) {
        for (enum tool_framing how = TOOL_FRAMES_ODD; how <= TOOL_FRAMES_ALL; how++) {
            struct found_calls f;
            find_calls(tools_text, said[i].taught, how, said[i].text, 3, ENDS, &f);
            assert_int_equal(f.n, said[i].n_calls);
            if (f.n_frames != said[i].n_frames) {
                fail_msg("%zu frames: %s", f.n_frames, said[i].text);
            }
            if (f.n_frames > 0) {
                expect_written(&said[i], tool_spelling_usual(said[i].taught), &f);
            }
            found_finish(&f);
        }
    }
}

/* Calls stand one behind the other, and in no code point. */
static void places_that_are_none_fit_no_calls(void **state)
{
    (void)state;
    static const struct {
        size_t places[2]; /* of "a \xc3\xbc" */
        bool fits;
    } forged[] = {{{0, 2}, true},  {{2, 2}, true},  {{0, 4}, true},
                  {{0, 3}, false}, {{3, 4}, false}, {{2, 0}, false}};
    struct str content = STR("a \xc3\xbc");
    for (size_t i = 0; i < N(forged); i++) {
        struct buf texts[2];
        struct chat_call calls[2] = {{.name = STR("f")}, {.name = STR("f")}};
        struct tool_places read = {0};
        bool is_fit = false;
        for (size_t k = 0; k < 2; k++) {
            struct str before = {content.p, forged[i].places[k]};
            struct buf frame;
            buf_init(&frame, 100);
            buf_init(&texts[k], 1000);
            assert_true(
                tool_frame_place(tool_place_behind(tool_place_begin(), before), &frame, NULL));
            assert_true(buf_append(&texts[k], STR("{}"), NULL));
            assert_true(
                tool_frame_blank(buf_str(&frame), NULL, &calls[k], k == 0, &texts[k], NULL));
            calls[k].id = STR("call_" DIGITS);
            calls[k].arguments = buf_str(&texts[k]);
            calls[k] = tool_frame_read(calls[k], content, &read);
            assert_int_equal(calls[k].place, before.n + 1);
            buf_finish(&frame);
        }
        struct tool_said said = {content, calls, 2};
        assert_true(tool_frames_fit(tool_spelling_usual(LLAMA), LLAMA, &said, &is_fit, NULL));
        assert_int_equal(is_fit, forged[i].fits);
        buf_finish(&texts[0]);
        buf_finish(&texts[1]);
    }
}

/* ... where what is before their calls is what was said there; else these follow all content. */
static void places_are_of_the_very_content(void **state)
{
    (void)state;
    static const struct {
        const char *content, *written;
    } sent[] = {
        {"A  b  c", "A " F_CALL " b " ODD_CALL " c"}, /* as it was said */
        {"A  b ", "A " F_CALL " b " ODD_CALL},
        {"A  b  other", "A " F_CALL " b " ODD_CALL " other"},
        {"B  b  c", "B  b  c" F_CALL ODD_CALL},
        {"A  b", "A " F_CALL " b" ODD_CALL},
        {"A  B  c", "A " F_CALL " B  c" ODD_CALL},
        {"A", "A" F_CALL ODD_CALL},
        {"", F_CALL ODD_CALL},
    };
    for (enum tool_framing how = TOOL_FRAMES_ODD; how <= TOOL_FRAMES_ALL; how++) {
        struct found_calls f;
        find_calls(tools_text, LLAMA, how, sent[0].written, 3, ENDS, &f);
        assert_int_equal(f.n, 2);
        for (size_t i = 0; i < N(sent); i++) {
            struct chat_call calls[2];
            struct tool_places read = {0};
            struct tool_said said = {str_from(sent[i].content), calls, 2};
            struct buf out;
            bool is_fit = false;
            buf_init(&out, MOST_BYTES);
            for (size_t k = 0; k < 2; k++) {
                calls[k] = f.calls[k];
                calls[k].arguments = buf_str(&f.texts[k][2]);
                calls[k].arguments.n--; /* a NUL */
                calls[k] = tool_frame_read(calls[k], said.content, &read);
            }
            const struct tool_spelling *usual = tool_spelling_usual(LLAMA);
            assert_true(tool_frames_fit(usual, LLAMA, &said, &is_fit, NULL) && is_fit);
            assert_true(tool_said_write(usual, &said, &out, NULL, NULL));
            assert_true(buf_append_byte(&out, '\0', NULL));
            assert_string_equal(out.data, sent[i].written);
            buf_finish(&out);
        }
        found_finish(&f);
    }
}

/* Content is read once for all its calls; for calls in another order, twice at most. */
static void places_are_looked_up_in_one_reading(void **state)
{
    (void)state;
    enum { N_CALLS = 5 };
    static const struct {
        size_t places[N_CALLS], n_bytes;
        unsigned wrong, n_left; /* wrong: bits of calls with another check; n_left: their places */
    } sent[] = {
        {{0, 3, 3, 50, 100}, 100, 0, 5},    {{0, 3, 3, 50, 100}, 100, 1 << 2 | 1 << 3, 3},
        {{40, 60, 10, 10, 30}, 90, 0, 5}, /* two turns made one */
        {{100, 0, 100, 0, 100}, 200, 0, 4}, {{100, 0, 99, 0, 100}, 199, 0, 4},
        {{100, 99, 98, 97, 96}, 199, 0, 2}, {{100, 60, 30, 20, 101}, 190, 0, 3},
    };
    char text[100];
    memset(text, 'x', sizeof text);
    struct str content = {text, sizeof text};
    for (size_t i = 0; i < N(sent); i++) {
        struct tool_places read = {0};
        unsigned n_left = 0;
        for (size_t k = 0; k < N_CALLS; k++) {
            struct buf frame, id;
            struct tool_place place = {.n = sent[i].places[k]};
            if (place.n <= content.n) {
                place = tool_place_behind(tool_place_begin(), (struct str){text, place.n});
            }
            place.check ^= sent[i].wrong >> k & 1;
            buf_init(&frame, 100);
            buf_init(&id, 200);
            assert_true(tool_frame_place(place, &frame, NULL));
            assert_true(tool_call_id_write(&id, DIGITS, NULL, buf_str(&frame), NULL));
            struct chat_call call = tool_frame_read(
                (struct chat_call){.id = buf_str(&id), .arguments = STR("{}")}, content, &read);
            assert_true(call.place == 0 || call.place == 1 + sent[i].places[k]);
            n_left += call.place > 0;
            buf_finish(&frame);
            buf_finish(&id);
        }
        assert_int_equal(read.n_bytes, sent[i].n_bytes);
        assert_int_equal(n_left, sent[i].n_left);
    }
}

/* All that was sampled up to the end of the arguments is written, and then what closes it. */
static void a_call_that_an_answer_ends_within_is_closed(void **state)
{
    (void)state;
    static const struct {
        enum tool_format taught;
        size_t n_frames;
        const char *text, *written;
    } open[] = {
        {LLAMA, 0, F_CALL, F_CALL},
        {LLAMA, 0, "{\"name\": \"f\", \"parameters\": {\"a\": 1}", F_CALL},
        {LLAMA, 0, "{\n  \"name\": \"f\",\n  \"parameters\": {}",
         "{\n  \"name\": \"f\",\n  \"parameters\": {}\n}"},
        {LLAMA, 0, "[f(a='x')", "[f(a='x')]"},
        {LLAMA, 0, "<function=f>{}", "<function=f>{}</function>"},
        {LLAMA, 0, F_CALL " \n", F_CALL},
        {LLAMA, 0, "[" F_CALL ", ", "[" F_CALL "]"},
        {LLAMA, 1, "{ \"name\": \"f\", \"parameters\": {\"a\": 1}", ODD_CALL},
        {LLAMA, 1, ODD_CALL "\n", ODD_CALL},
        {LLAMA, 1, "{ \"name\": \"f\", \"parameters\": {\"a\": 1}, \"b", ODD_CALL},
        {LLAMA, 1, "[ " ODD_CALL, "[ " ODD_CALL "]"},
        {LLAMA, 1, "{\"parameters\": {}, \"name\" : \"f\"",
         "{\"parameters\": {}, \"name\" : \"f\"}"},
        {LLAMA, 1, "{\"name\": \"f\", \"parameters\": \"{\\\"a\\\": 1}",
         "{\"name\": \"f\", \"parameters\": \"{\\\"a\\\": 1}\"}"},
        {LLAMA, 1, "[f(a = 'x' )", "[f(a = 'x' )]"},
        {LLAMA, 1, "[ f( )", "[ f( )]"},
        {LLAMA, 1, " f.call(a=1)", " f.call(a=1)"},
        {LLAMA, 1, "<function=f> {}", "<function=f> {}</function>"},
        {HERMES, 0, "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n",
         "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>"},
        {HERMES, 1, "<tool_call> {\"name\": \"f\", \"arguments\": {}",
         "<tool_call> {\"name\": \"f\", \"arguments\": {}}</tool_call>"},
        {HERMES, 1, "<tool_call>[ {\"name\": \"f\", \"arguments\": {}}",
         "<tool_call>[ {\"name\": \"f\", \"arguments\": {}}]</tool_call>"},
    };
    for (size_t i = 0; i < N(open); i++) {
        for (enum tool_framing how = TOOL_FRAMES_ODD; how <= TOOL_FRAMES_ALL; how++) {
            for (enum answer_end end = IS_CUT; end <= ENDS_WITH_CALL; end++) {
                struct row row = {.taught = open[i].taught, .text = open[i].written};
                struct found_calls f;
                find_calls(tools_text, row.taught, how, open[i].text, 3, end, &f);
                assert_int_equal(f.n, 1);
                if (f.n_frames != open[i].n_frames) {
                    fail_msg("%zu frames: %s", f.n_frames, open[i].text);
                }
                expect_written(&row, tool_spelling_usual(row.taught), &f);
                found_finish(&f);
            }
        }
    }
}

/* The calls before the last one are what they are, code is never closed. */
static void of_several_calls_the_last_one_is_closed(void **state)
{
    (void)state;
    static const struct {
        enum tool_format taught;
        size_t n_calls;
        const char *text, *written; /* NULL: the same */
    } cut[] = {
        {LLAMA, 2, ODD_CALL " \n; " G_CALL "\n", ODD_CALL " \n; " G_CALL},
        {LLAMA, 1, "{\"name\": \"f\", \"parameters\": {}, \"id\": 7}\n{\"na", NULL},
        {HERMES, 1,
         "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n{\"na",
         NULL},
        {LLAMA, 1, "\n<|python_tag|>f", NULL},
        {LLAMA, 1, "\n<|python_tag|>print(1", NULL},
        {LLAMA, 2, F_CALL "<|python_tag|>f", NULL},
        {LLAMA, 2, "[" F_CALL ", <|python_tag|>print(1)", NULL},
        {LLAMA, 2, "<function=f>{}<|python_tag|>print(1)", NULL},
        {LLAMA, 2, "<function=g>{}\n<function=f></function>", NULL},
        {LLAMA, 2, "[ " F_CALL ", " F_CALL, "[ " F_CALL ", " F_CALL "]"},
        {HERMES, 2,
         "<tool_call>[ {\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": {}",
         "<tool_call>[ {\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": "
         "{}}]</tool_call>"},
    };
    for (size_t i = 0; i < N(cut); i++) {
        for (enum tool_framing how = TOOL_FRAMES_ODD; how <= TOOL_FRAMES_ALL; how++) {
            struct row row = {.taught = cut[i].taught,
                              .text = cut[i].written != NULL ? cut[i].written : cut[i].text};
            struct found_calls f;
            find_calls(tools_text, row.taught, how, cut[i].text, 3, IS_CUT, &f);
            assert_int_equal(f.n, cut[i].n_calls);
            expect_written(&row, tool_spelling_usual(row.taught), &f);
            found_finish(&f);
        }
    }
}

/* What no frame could be believed of is not kept: it leaves as it comes. */
static void a_call_that_is_too_large_is_not_kept(void **state)
{
    (void)state;
    const size_t n_pieces = 17 * 16, n_piece = 1 << 16;
    char *piece = test_malloc(n_piece);
    memset(piece, 'x', n_piece);
    json_t *tools = json_loads(tools_text, 0, NULL);
    struct tool_set set;
    assert_true(tool_set_init(&set, tools, NULL));
    for (enum tool_framing how = TOOL_FRAMES_ODD; how <= TOOL_FRAMES_ALL; how++) {
        struct tool_parser *p = tool_parser_create(LLAMA, &set, NULL);
        struct tool_output out;
        size_t n_told = 0, n_ends = 0;
        tool_output_init(&out);
        tool_parser_frame(p, how);
        struct str begin = STR("{\"name\": \"f\", \"parameters\": {\"a\": \"");
        assert_true(tool_parser_push(p, begin, &out, NULL));
        for (size_t i = 0; i < n_pieces; i++) {
            assert_true(tool_parser_push(p, (struct str){piece, n_piece}, &out, NULL));
            for (size_t k = 0; k < out.n_spans; k++) {
                assert_true(out.spans[k].kind != TOOL_CALL_FRAME);
                n_told += out.spans[k].kind == TOOL_CALL_ARGUMENTS ? out.spans[k].n_bytes : 0;
            }
            tool_output_clear(&out);
            assert_true(tool_parser_held(p) <= TOOL_PARSER_MAX_OUTPUT / 8);
        }
        assert_true(tool_parser_push(p, STR("\"}\n}\n"), &out, NULL));
        assert_true(tool_parser_flush(p, &out, NULL));
        for (size_t k = 0; k < out.n_spans; k++) {
            n_told += out.spans[k].kind == TOOL_CALL_ARGUMENTS ? out.spans[k].n_bytes : 0;
            n_ends += out.spans[k].kind == TOOL_CALL_END;
        }
        assert_int_equal(n_told, strlen("{\"a\": \"") + n_pieces * n_piece + strlen("\"}"));
        assert_int_equal(n_ends, 1);
        tool_output_finish(&out);
        tool_parser_destroy(p);
    }
    tool_set_finish(&set);
    json_decref(tools);
    test_free(piece);
}

/* White space within Python is no byte of the arguments, and its first string tells the name. */
static void a_call_that_is_too_large_may_have_no_name_yet(void **state)
{
    (void)state;
    const size_t n = 3 << 20;
    char *spaces = test_malloc(n);
    memset(spaces, ' ', n);
    json_t *tools = json_loads(tools_text, 0, NULL);
    struct tool_set set;
    assert_true(tool_set_init(&set, tools, NULL));
    for (enum tool_framing how = TOOL_FRAMES_ODD; how <= TOOL_FRAMES_ALL; how++) {
        struct tool_parser *p = tool_parser_create(LLAMA, &set, NULL);
        struct tool_output out;
        tool_output_init(&out);
        tool_parser_frame(p, how);
        assert_true(tool_parser_push(p, STR("[f(a=1"), &out, NULL));
        assert_true(tool_parser_push(p, (struct str){spaces, n}, &out, NULL));
        assert_int_equal(out.n_spans, 0);
        assert_true(tool_parser_push(p, STR(")]"), &out, NULL));
        assert_true(tool_parser_flush(p, &out, NULL));
        assert_true(str_eq(buf_str(&out.text), STR("f{\"a\": 1}")));
        assert_int_equal(out.n_spans, 3);
        tool_output_finish(&out);
        tool_parser_destroy(p);
    }
    tool_set_finish(&set);
    json_decref(tools);
    test_free(spaces);
}

/* A frame behind arguments says nothing of calls whose ids are from elsewhere. */
static void a_frame_is_of_an_id_of_ours(void **state)
{
    (void)state;
    static const char *const ids[] = {"call_" DIGITS, "call_" DIGITS "_a", "toolu_1", "call_7", ""};
    for (size_t i = 0; i < N(ids); i++) {
        struct chat_call call = tool_frame_read(
            (struct chat_call){.id = str_from(ids[i]),
                               .name = STR("f"),
                               .arguments = STR("{}\t \t \t \t          \t\t\t\t\t \t    \t \t ")},
            STR(""), &(struct tool_places){0});
        assert_int_equal(call.arguments.n, 2);
        const struct tool_spelling *base =
            tool_spellings_named(tool_spelling_usual(LLAMA), LLAMA, &call, 1);
        assert_int_equal(base != NULL, i < 2);
    }
}

/* Behind arguments: eight characters for each byte, and a mark before. */
static void a_frame_is_read_behind_arguments(void **state)
{
    (void)state;
#define MARK "\t \t \t \t "
    static const struct {
        const char *id, *arguments;
        size_t n_arguments, n_frame;
    } sent[] = {
        {"c", "{}" MARK "  \t    \t", 2, 8},
        {"c", "{} " MARK "  \t    \t", 2, 0},
        {"c", "{}\n" MARK "  \t    \t", 2, 0},
        {"c", "{}" MARK, 2, 0},
        {"c", "{}" MARK "  \t    ", 2, 0},
        {"c", "{}" MARK "  \t    \t ", 2, 0},
        {"c", "{}" MARK "  \t    \t\n", 2, 0},
        {"c", "{}" MARK "  \t   \n\t", 2, 0},
        {"c", "{}\t \t \t \t\t  \t    \t", 2, 0},
        {"c", "{}                ", 2, 0},
        {"c", " {} \n", 5, 0},
        {"c", MARK "  \t    \t", 16, 0},
        {"c", "{\"a\": {} ", 9, 0},
        {"c", "{\"a\": {}" MARK "  \t    \t", 24, 0},
        {"c", "", 0, 0},
        {"call_" DIGITS "_eAB5", "{}" MARK "  \t    \t", 2, 4}, /* the id's */
        {"call_" DIGITS "_eAB5", "{}", 2, 4},
        {"call_" DIGITS "_a", "{}" MARK "  \t    \t", 2, 8},
    };
    for (size_t i = 0; i < N(sent); i++) {
        struct chat_call call =
            tool_frame_read((struct chat_call){.id = str_from(sent[i].id),
                                               .arguments = str_from(sent[i].arguments)},
                            STR(""), &(struct tool_places){0});
        assert_int_equal(call.arguments.n, sent[i].n_arguments);
        assert_int_equal(call.frame.n, sent[i].n_frame);
    }
}

/* A frame says how its call begins, and behind arguments only where the id does not. */
static void a_frame_behind_arguments_is_as_short_as_it_can_be(void **state)
{
    (void)state;
    struct chat_call call = {.name = STR("f"), .arguments = STR("{}")};
    const struct tool_spelling *usual = tool_spelling_usual(LLAMA);
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_true(tool_frame_blank(STR("!"), usual, &call, true, &out, NULL));
    assert_true(str_eq(buf_str(&out), STR(MARK "  \t    \t")));
    buf_clear(&out);
    struct str frame = STR("{\"name\": \"f\", \"parameters\": \0!");
    assert_true(tool_frame_blank(frame, usual, &call, true, &out, NULL));
    assert_true(str_eq(buf_str(&out), STR(MARK "          \t    \t")));
    const struct tool_spelling *others[] = {NULL, tool_spelling_usual(TOOL_FORMAT_PYTHONIC), usual};
    for (size_t i = 0; i < N(others); i++) {
        buf_clear(&out);
        assert_true(tool_frame_blank(frame, others[i], &call, false, &out, NULL));
        assert_int_equal(out.n, 8 * (1 + frame.n));
    }
    buf_finish(&out);
    char zeros[TOOL_FRAME_BYTES + 1] = {0};
    for (size_t n = TOOL_FRAME_BYTES; n <= TOOL_FRAME_BYTES + 1; n++) {
        buf_init(&out, 1 << 20);
        assert_true(buf_append(&out, STR("{}"), NULL));
        assert_true(tool_frame_blank((struct str){zeros, n}, NULL, &call, true, &out, NULL));
        call = tool_frame_read((struct chat_call){.arguments = buf_str(&out)}, STR(""),
                               &(struct tool_places){0});
        assert_int_equal(call.frame.n, n == TOOL_FRAME_BYTES ? 8 * n : 0);
        assert_false(tool_frame_ends_list(&call)); /* only an id's does */
        buf_finish(&out);
    }
}

static void a_frame_has_an_end(void **state)
{
    (void)state;
    for (size_t n = TOOL_FRAME_BYTES - 40; n < TOOL_FRAME_BYTES + 10; n += 5) {
        struct row row = {LLAMA, true, 1, 0, NULL};
        char text[TOOL_FRAME_BYTES + 200], spaces[TOOL_FRAME_BYTES + 20];
        memset(spaces, ' ', n);
        spaces[n] = '\0';
        snprintf(text, sizeof text, "%s%s", spaces, F_CALL);
        row.text = text;
        size_t n_frame = strlen(text) - strlen("{\"a\": 1}") + 1; /* and where they go */
        struct found_calls f;
        find_calls(tools_text, LLAMA, TOOL_FRAMES_ALL, text, 100, ENDS, &f);
        assert_int_equal(f.n_frames, n_frame <= TOOL_FRAME_BYTES);
        assert_true(f.calls[0].id.n <= TOOL_CALL_ID_BYTES);
        if (f.n_frames > 0) {
            expect_written(&row, NULL, &f);
        }
        found_finish(&f);
    }
    struct buf out;
    buf_init(&out, 100);
    assert_true(tool_frame_make((struct str){"{\0}", 3}, STR("{}"), false, &out, NULL));
    assert_int_equal(out.n, 0); /* a NUL is where the arguments go */
    buf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_text_is_written_again),
        cmocka_unit_test(a_stream_has_the_same_frames),
        cmocka_unit_test(a_call_is_kept_no_longer_than_its_frame_asks),
        cmocka_unit_test(what_no_prompt_has_gets_no_frame),
        cmocka_unit_test(words_stay_where_they_were),
        cmocka_unit_test(places_that_are_none_fit_no_calls),
        cmocka_unit_test(places_are_of_the_very_content),
        cmocka_unit_test(places_are_looked_up_in_one_reading),
        cmocka_unit_test(a_call_that_an_answer_ends_within_is_closed),
        cmocka_unit_test(of_several_calls_the_last_one_is_closed),
        cmocka_unit_test(a_call_that_is_too_large_is_not_kept),
        cmocka_unit_test(a_call_that_is_too_large_may_have_no_name_yet),
        cmocka_unit_test(a_frame_is_of_an_id_of_ours),
        cmocka_unit_test(a_frame_is_read_behind_arguments),
        cmocka_unit_test(a_frame_behind_arguments_is_as_short_as_it_can_be),
        cmocka_unit_test(a_frame_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
