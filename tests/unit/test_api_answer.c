/* test_api_answer.c - answers, events and errors: their exact form, UTF-8 and numbers, and a buffer
 * left as it was on failure. `test_api_answer --print` writes one sample a line, "name<TAB>text"
 * with line ends escaped, which tests/cli/test_api_models.py gives to the official client's
 * models. */
#include "base/mem.h"
#include "serve/api_answer.h"
#include "serve/api_write.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct api_candidate top[] = {{{"Hi", 2}, -0.1}, {{"\xE2\x9C", 2}, -INFINITY}};
static const struct api_token tokens[] = {
    {.bytes = {"Hi", 2}, .logprob = -0.1, .top = top, .n_top = 2},
    {.bytes = {"\xE2\x9C", 2}, .logprob = -1.5, .text_offset = 2, .top = top, .n_top = 1},
};
static const struct api_token echoed[] = {
    {.bytes = {"The", 3}, .logprob = NAN, .top = top, .n_top = 0},
    {.bytes = {" end", 4}, .logprob = -20000, .text_offset = 3, .top = top, .n_top = 2},
};
static const struct api_filter_result filter = {.filtered = 1U << GUARD_PROFANITY,
                                                .detected = 1U << GUARD_PROFANITY};
static const struct api_warning warnings[] = {{{"verbosity", 9}, {"has no effect", 13}},
                                              {{"seed", 4}, {"\xff\n", 2}}};
static const struct api_truncated truncated = {.n_messages = 3, .n_tokens = 400, .first = 1};
static const struct api_usage usage = {
    .prompt_tokens = 10, .completion_tokens = 5, .cached_tokens = 8, .miss_reason = {"evicted", 7}};
static const struct api_head head = {.id = {"chatcmpl-1", 10},
                                     .model = {"m/x", 3},
                                     .fingerprint = {"fp", 2},
                                     .created_s = 1700000000};
static const struct api_choice choices[] = {
    {.index = 0, .text = {"Hi\xE2\x9C\x93", 5}, .finish = API_FINISH_STOP},
    {.index = 1,
     .text = {"a\"\\\n\x01\x7F\xFF", 7},
     .finish = API_FINISH_LENGTH,
     .logprobs = true,
     .tokens = tokens,
     .n_tokens = 2,
     .filter = &filter},
};
static const struct api_choice scored = {.text = {"The end", 7},
                                         .finish = API_FINISH_LENGTH,
                                         .logprobs = true,
                                         .tokens = echoed,
                                         .n_tokens = 2};

/* --- every writer once */

static struct api_head full_head(void)
{
    struct api_head h = head;
    h.include_usage = true;
    h.tell_tier = true;
    h.warnings = warnings;
    h.n_warnings = 2;
    h.truncated = &truncated;
    return h;
}

static bool write_chat(struct buf *b, struct error *e)
{
    return api_chat_print(&head, choices, 2, &usage, b, e);
}

static bool write_full_chat(struct buf *b, struct error *e)
{
    struct api_head h = full_head();
    return api_chat_print(&h, choices, 1, &usage, b, e);
}

static bool write_completion(struct buf *b, struct error *e)
{
    return api_completion_print(&head, choices, 2, &usage, b, e);
}

static bool write_scored(struct buf *b, struct error *e)
{
    return api_completion_print(&head, &scored, 1, &usage, b, e);
}

/* Two choices: roles, contents, ends, usage. */
static bool write_chat_stream(struct buf *b, struct error *e)
{
    struct api_head h = full_head();
    return api_chat_role_event(&h, 0, true, b, e) && api_chat_role_event(&h, 1, false, b, e) &&
           api_chat_content_event(&h, &choices[0], b, e) &&
           api_chat_content_event(&h, &choices[1], b, e) &&
           api_chat_finish_event(&h, &choices[0], b, e) &&
           api_chat_finish_event(&h, &choices[1], b, e) && api_usage_event(&h, true, &usage, b, e);
}

static const struct api_call calls[] = {
    {.id = {"call_1", 6}, .name = {"f", 1}, .arguments = {"{\"a\": \"\xC3\xA9\"}", 11}},
    {.id = {"call_2", 6}, .name = {"g-2", 3}, .arguments = {"{}", 2}},
};
static const struct api_choice calling = {.finish = API_FINISH_TOOL_CALLS,
                                          .calls = calls,
                                          .n_calls = 2,
                                          .warnings = warnings,
                                          .n_warnings = 1};

static bool write_calls(struct buf *b, struct error *e)
{
    struct api_choice both[2] = {calling, calling};
    both[1].index = 1;
    both[1].text = STR("Hi");
    both[1].n_calls = 1;
    return api_chat_print(&head, both, 2, &usage, b, e);
}

static bool write_function_call(struct buf *b, struct error *e)
{
    struct api_choice c = calling;
    c.finish = API_FINISH_FUNCTION_CALL;
    c.is_function_form = true;
    return api_chat_print(&head, &c, 1, &usage, b, e);
}

/* Two calls, arguments in pieces. */
static bool write_call_stream(struct buf *b, struct error *e)
{
    const struct api_call begin[2] = {{.id = calls[0].id, .name = calls[0].name},
                                      {.id = calls[1].id, .name = calls[1].name}};
    const struct api_call pieces[3] = {{.arguments = STR("{\"a\":")},
                                       {.arguments = STR(" \"\xC3\xA9\"}")},
                                       {.arguments = STR("{}")}};
    struct api_choice told = calling;
    told.logprobs = true;
    told.tokens = tokens;
    told.n_tokens = 1;
    return api_chat_role_event(&head, 0, true, b, e) &&
           api_chat_call_event(&head, &told, 0, &begin[0], b, e) &&
           api_chat_call_event(&head, &calling, 0, &pieces[0], b, e) &&
           api_chat_call_event(&head, &calling, 0, &pieces[1], b, e) &&
           api_chat_call_event(&head, &calling, 1, &begin[1], b, e) &&
           api_chat_call_event(&head, &calling, 1, &pieces[2], b, e) &&
           api_chat_finish_event(&head, &calling, b, e);
}

static bool write_function_stream(struct buf *b, struct error *e)
{
    const struct api_call begin = {.id = calls[0].id, .name = calls[0].name};
    const struct api_call piece = {.arguments = calls[0].arguments};
    struct api_choice c = calling;
    c.finish = API_FINISH_FUNCTION_CALL;
    c.is_function_form = true;
    c.n_warnings = 0;
    return api_chat_call_event(&head, &c, 0, &begin, b, e) &&
           api_chat_call_event(&head, &c, 0, &piece, b, e) &&
           api_chat_finish_event(&head, &c, b, e);
}

static bool write_completion_stream(struct buf *b, struct error *e)
{
    struct api_choice part = choices[1];
    part.finish = API_FINISH_NONE;
    return api_completion_event(&head, &part, true, b, e) &&
           api_completion_event(&head, &choices[1], false, b, e);
}

static bool write_embeddings(struct buf *b, struct error *e, bool base64)
{
    static const float vectors[2][4] = {{0.1F, -1.0F, 0.0F, 3.4e38F}, {1e-45F, 2.5F, -0.3F, 1.0F}};
    return api_embeddings_begin(b, e) && api_embeddings_add(0, vectors[0], 4, base64, b, e) &&
           api_embeddings_add(1, vectors[1], 4, base64, b, e) &&
           api_embeddings_end(&(struct api_head){.model = STR("m")}, 7, b, e);
}

static bool write_float_embeddings(struct buf *b, struct error *e)
{
    return write_embeddings(b, e, false);
}

static bool write_base64_embeddings(struct buf *b, struct error *e)
{
    return write_embeddings(b, e, true);
}

static const struct api_model models[] = {{{"m", 1}, 1700000000, {"puna", 4}},
                                          {{"meta-llama/x", 12}, 0, {"puna", 4}}};

static bool write_model_list(struct buf *b, struct error *e)
{
    return api_models_print(models, 2, b, e);
}

static bool write_model(struct buf *b, struct error *e)
{
    return api_model_print(&models[1], b, e);
}

static bool write_ids(struct buf *b, struct error *e)
{
    return api_tokenize_print(&(struct api_head){0}, NULL, (const uint32_t[]){1, 200000}, 2, b, e);
}

static bool write_text(struct buf *b, struct error *e)
{
    return api_detokenize_print(STR("\xE2\x9Cx"), b, e);
}

static bool write_prompt(struct buf *b, struct error *e)
{
    const struct api_head h = {.warnings = warnings, .n_warnings = 1};
    return api_apply_template_print(&h, STR("<s>\n"), (const uint32_t[]){1, 13}, 2, b, e);
}

static bool write_error(struct buf *b, struct error *e)
{
    struct api_error error;
    api_error_set(&error, API_ERROR_INVALID_TYPE, "messages[2].content", "bad \"%s\"", "\xF0\x9F");
    return api_error_print(&error, b, e);
}

static bool write_error_event(struct buf *b, struct error *e)
{
    struct api_error error;
    api_error_set(&error, API_ERROR_SERVER, NULL, "the step failed");
    return api_stream_error(&error, b, e);
}

static const struct sample {
    const char *name;
    bool (*write)(struct buf *b, struct error *e);
} samples[] = {
    {"chat", write_chat},
    {"chat_full", write_full_chat},
    {"completion", write_completion},
    {"completion_scored", write_scored},
    {"chat_stream", write_chat_stream},
    {"calls", write_calls},
    {"function_call", write_function_call},
    {"call_stream", write_call_stream},
    {"function_stream", write_function_stream},
    {"completion_stream", write_completion_stream},
    {"embeddings_float", write_float_embeddings},
    {"embeddings_base64", write_base64_embeddings},
    {"models", write_model_list},
    {"model", write_model},
    {"tokenize", write_ids},
    {"detokenize", write_text},
    {"apply_template", write_prompt},
    {"error", write_error},
    {"error_event", write_error_event},
};
enum { N_SAMPLES = sizeof samples / sizeof samples[0] };

static void expect_text(bool (*write)(struct buf *b, struct error *e), const char *expected)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_true(write(&b, NULL));
    assert_true(buf_append_byte(&b, '\0', NULL));
    assert_string_equal(b.data, expected);
    buf_finish(&b);
}

/* --- tests */

#define HEAD(object)                                                                               \
    "{\"id\":\"chatcmpl-1\",\"object\":\"" object                                                  \
    "\",\"created\":1700000000,\"model\":\"m/x\",\"system_fingerprint\":\"fp\""
#define USAGE                                                                                      \
    "\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15,"                 \
    "\"prompt_tokens_details\":{\"cached_tokens\":8,\"audio_tokens\":0,"                           \
    "\"image_tokens\":0,\"text_tokens\":10,\"neutralized_tokens\":0},\"completion_tokens_"         \
    "details\":{\"text_tokens\":5,"                                                                \
    "\"reasoning_tokens\":0,\"audio_tokens\":0,\"accepted_prediction_tokens\":0,"                  \
    "\"rejected_prediction_tokens\":0},\"cache\":{\"hit_tokens\":8,\"miss_reason\":\"evicted\"}}"
#define FILTER                                                                                     \
    "\"content_filter_results\":{\"hate\":{\"filtered\":false},\"self_harm\":{\"filtered\":"       \
    "false},\"sexual\":{\"filtered\":false},\"violence\":{\"filtered\":false},\"jailbreak\":"      \
    "{\"filtered\":false,\"detected\":false},\"profanity\":{\"filtered\":true,\"detected\":true}}"
#define REPORTS                                                                                    \
    ",\"warnings\":[{\"param\":\"verbosity\",\"message\":\"has no effect\"},{\"param\":\"seed\","  \
    "\"message\":\"\xEF\xBF\xBD\\n\"}],\"truncation\":{\"dropped_messages\":3,"                    \
    "\"dropped_tokens\":400,\"first_dropped_message\":1}"

static void a_chat_answer_is_openais(void **state)
{
    (void)state;
    expect_text(
        write_full_chat,
        HEAD(
            "chat.completion") ",\"service_tier\":\"default\",\"choices\":[{\"index\":0,"
                               "\"message\":{\"role\":\"assistant\",\"content\":\"Hi\xE2\x9C\x93\","
                               "\"refusal\":"
                               "null},\"logprobs\":null,\"finish_reason\":\"stop\"}]," USAGE REPORTS
                               "}");
}

static void logprobs_have_bytes_and_a_floor(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 16);
    assert_true(write_chat(&b, NULL) && buf_append_byte(&b, '\0', NULL));
    assert_non_null(strstr(
        b.data, "\"logprobs\":{\"content\":[{\"token\":\"Hi\",\"logprob\":-0.1,\"bytes\":[72,105],"
                "\"top_logprobs\":[{\"token\":\"Hi\",\"logprob\":-0.1,\"bytes\":[72,105]},"
                "{\"token\":\"\\\\xe2\\\\x9c\",\"logprob\":-9999.0,\"bytes\":[226,156]}]},"
                "{\"token\":\"\\\\xe2\\\\x9c\",\"logprob\":-1.5,\"bytes\":[226,156],"
                "\"top_logprobs\":[{\"token\":\"Hi\",\"logprob\":-0.1,\"bytes\":[72,105]}]}],"
                "\"refusal\":null},\"finish_reason\":\"length\"," FILTER));
    buf_finish(&b);
}

static void a_completions_logprobs_are_parallel_arrays(void **state)
{
    (void)state;
    expect_text(write_scored,
                HEAD("text_completion") ",\"choices\":[{\"index\":0,\"text\":\"The end\","
                                        "\"logprobs\":{\"tokens\":[\"The\",\" "
                                        "end\"],\"token_logprobs\":[null,-9999.0],"
                                        "\"top_logprobs\":[null,{\"Hi\":-0.1,\"bytes:"
                                        "\\\\xe2\\\\x9c\":-9999.0,\" end\":"
                                        "-9999.0}],\"text_offset\":[0,3]},\"finish_reason\":"
                                        "\"length\"}]," USAGE "}");
}

#define CHUNK(tier) "data: " HEAD("chat.completion.chunk") tier ",\"choices\":["
#define TIER        ",\"service_tier\":\"default\""

static void a_stream_says_role_once_and_usage_at_the_end(void **state)
{
    (void)state;
    struct buf b;
    struct api_head h = full_head();
    buf_init(&b, 1 << 16);
    assert_true(api_chat_role_event(&h, 1, true, &b, NULL) &&
                api_chat_content_event(&h, &choices[0], &b, NULL) &&
                api_chat_finish_event(&h, &choices[1], &b, NULL) &&
                api_usage_event(&h, true, &usage, &b, NULL) && buf_append_byte(&b, '\0', NULL));
    assert_string_equal(
        b.data,
        CHUNK(TIER) "{\"index\":1,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":"
                    "null},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null" REPORTS
                    "}\n\n" CHUNK(TIER) "{\"index\":0,\"delta\":{\"content\":\"Hi\xE2\x9C\x93\"},"
                                        "\"logprobs\":null,"
                                        "\"finish_reason\":null}],\"usage\":null}\n\n" CHUNK(
                                            TIER) "{\"index\":1,\"delta\":{},\"logprobs\":null,"
                                                  "\"finish_reason\":\"length\"," FILTER
                                                  "}],\"usage\":null}\n\n" CHUNK(TIER) "]," USAGE
                                                                                       "}\n\n");
    buf_finish(&b);
}

#define CALL_1     "{\"id\":\"call_1\",\"type\":\"function\",\"function\":{" FUNCTION_1 "}}"
#define FUNCTION_1 "\"name\":\"f\",\"arguments\":\"{\\\"a\\\": \\\"\xC3\xA9\\\"}\""
#define CALL_2                                                                                     \
    "{\"id\":\"call_2\",\"type\":\"function\",\"function\":{\"name\":\"g-2\",\"arguments\":\"{}"   \
    "\"}}"
#define MESSAGE(content)                                                                           \
    "\"message\":{\"role\":\"assistant\",\"content\":" content ",\"refusal\":null,"
#define ENDS(reason) ",\"logprobs\":null,\"finish_reason\":" reason "}"

static void calls_are_a_list_and_content_may_be_null(void **state)
{
    (void)state;
    expect_text(write_calls, HEAD("chat.completion") ",\"choices\":[{\"index\":0," MESSAGE(
                                 "null") "\"tool_calls\":"
                                         "[" CALL_1 "," CALL_2
                                         "]}" ENDS("\"tool_calls\"") ",{\"index\":1," MESSAGE(
                                             "\"Hi\"") "\"tool_calls\":[" CALL_1
                                                       "]}" ENDS("\"tool_calls\"") "]," USAGE "}");
    expect_text(write_function_call, HEAD("chat.completion") ",\"choices\":[{\"index\":0," MESSAGE(
                                         "null") "\"function_call\":{" FUNCTION_1
                                                 "}}" ENDS("\"function_call\"") "]," USAGE "}");
}

#define DELTA(json, end) CHUNK("") "{\"index\":0,\"delta\":" json ENDS(end) "]"

static void a_calls_id_and_name_come_once_and_first(void **state)
{
    (void)state;
    expect_text(
        write_function_stream,
        DELTA("{\"function_call\":{\"name\":\"f\",\"arguments\":\"\"}}", "null") "}\n\n" DELTA(
            "{\"function_call\":{\"arguments\":\"{\\\"a\\\": \\\"\xC3\xA9\\\"}\"}}",
            "null") "}\n\n" DELTA("{}", "\"function_call\"") "}\n\n");
    struct buf b;
    const struct api_call piece = {.arguments = STR(" {")};
    const struct api_call begin = {.id = calls[1].id, .name = calls[1].name};
    buf_init(&b, 1 << 16);
    assert_true(api_chat_call_event(&head, &calling, 127, &begin, &b, NULL) &&
                api_chat_call_event(&head, &calling, 127, &piece, &b, NULL) &&
                api_chat_finish_event(&head, &calling, &b, NULL) &&
                buf_append_byte(&b, '\0', NULL));
    assert_string_equal(
        b.data,
        DELTA(
            "{\"tool_calls\":[{\"index\":127,\"id\":\"call_2\",\"type\":\"function\",\"function\":{"
            "\"name\":\"g-2\",\"arguments\":\"\"}}]}",
            "null") "}\n\n" DELTA("{\"tool_calls\":[{\"index\":127,\"function\":{\"arguments\":\" "
                                  "{\"}}]}",
                                  "null") "}\n\n" DELTA("{}",
                                                        "\"tool_calls\"") ",\"warnings\":[{"
                                                                          "\"param\":\"verbosity\","
                                                                          "\"message\":"
                                                                          "\"has no "
                                                                          "effect\"}]}\n\n");
    buf_finish(&b);
}

static void without_include_usage_no_event_speaks_of_it(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 16);
    assert_true(api_chat_role_event(&head, 0, true, &b, NULL) &&
                api_chat_content_event(&head, &choices[0], &b, NULL) &&
                api_chat_finish_event(&head, &choices[0], &b, NULL) &&
                api_completion_event(&head, &choices[0], true, &b, NULL) &&
                buf_append_byte(&b, '\0', NULL));
    assert_null(strstr(b.data, "usage"));
    buf_finish(&b);
}

static void an_error_has_all_four_keys(void **state)
{
    (void)state;
    expect_text(write_error, "{\"error\":{\"message\":\"bad \\\"\xEF\xBF\xBD\\\"\",\"type\":"
                             "\"invalid_request_error\",\"param\":\"messages[2].content\","
                             "\"code\":\"invalid_type\"}}");
    expect_text(write_error_event, "data: {\"error\":{\"message\":\"the step failed\",\"type\":"
                                   "\"server_error\",\"param\":null,\"code\":null}}\n\n");
}

static void every_kind_of_error_has_a_status_and_a_type(void **state)
{
    (void)state;
    for (int kind = API_ERROR_NONE + 1; kind < API_ERROR_KIND_COUNT; kind++) {
        const struct api_error_meaning *m = api_error_meaning((enum api_error_kind)kind);
        assert_true(m->http_status >= 400 && m->http_status <= 505 && m->type[0] != '\0');
    }
    static const int statuses[ERROR_CODE_COUNT] = {
        [ERROR_USAGE] = 400,    [ERROR_NOT_FOUND] = 404,   [ERROR_IO] = 500,
        [ERROR_FORMAT] = 500,   [ERROR_UNSUPPORTED] = 400, [ERROR_CONTEXT] = 400,
        [ERROR_MEMORY] = 503,   [ERROR_INTERRUPTED] = 503, [ERROR_BUSY] = 429,
        [ERROR_INTERNAL] = 500,
    };
    for (int code = ERROR_NONE + 1; code < ERROR_CODE_COUNT; code++) {
        struct error e = {.code = (enum error_code)code, .text = "why"};
        struct api_error a;
        assert_false(api_error_from(&a, &e, "messages"));
        assert_int_equal(api_error_meaning(a.kind)->http_status, statuses[code]);
        assert_string_equal(a.message, "why");
        assert_string_equal(a.param, "messages");
        assert_int_equal(a.is_final, code == ERROR_FORMAT || code == ERROR_INTERNAL);
    }
}

static void a_prompt_that_is_too_long_is_told_in_openais_sentence(void **state)
{
    (void)state;
    struct api_error e;
    assert_false(api_error_context(&e, "messages", 8192, 9000, 0));
    assert_string_equal(e.message, "This model's maximum context length is 8192 tokens. However, "
                                   "your messages resulted in 9000 tokens. Please reduce the "
                                   "length of the messages. (context_length_exceeded)");
    assert_string_equal(api_error_meaning(e.kind)->code, "context_length_exceeded");
    assert_false(api_error_context_least(&e, "input[12]", 8192, 9000));
    assert_string_equal(e.message, "This model's maximum context length is 8192 tokens. However, "
                                   "your input resulted in at least 9000 tokens. Please reduce "
                                   "the length of the input. (context_length_exceeded)");
    assert_string_equal(e.param, "input[12]");
    assert_string_equal(api_error_meaning(e.kind)->code, "context_length_exceeded");
    assert_false(api_error_context(&e, "messages", 8192, 8000, 500));
    assert_non_null(strstr(e.message, "8500 tokens (8000 in the messages, 500 in the completion)"));
    assert_false(api_error_context(&e, "prompt", 8192, 8000, 500));
    assert_non_null(strstr(e.message, "in the prompt, 500 in the completion). Please reduce the "
                                      "length of the prompt or completion."));
}

/* Whatever bytes come, one line of valid JSON leaves. */
static void any_bytes_become_valid_json(void **state)
{
    (void)state;
    for (unsigned a = 0; a < 256; a++) {
        for (unsigned c = 0; c < 256; c += a < 0x80 ? 51 : 1) {
            char bytes[4] = {(char)a, (char)c, (char)0x80, 'x'};
            struct buf b;
            buf_init(&b, 1 << 10);
            assert_true(api_detokenize_print((struct str){bytes, 4}, &b, NULL));
            json_t *root = json_loadb(b.data, b.n, JSON_ALLOW_NUL, NULL);
            assert_non_null(root);
            assert_null(memchr(b.data, '\n', b.n));
            json_decref(root);
            buf_finish(&b);
        }
    }
    expect_text(write_text, "{\"content\":\"\xEF\xBF\xBDx\"}");
}

static void numbers_are_short_and_read_back_the_same(void **state)
{
    (void)state;
    static const struct {
        float value;
        const char *text;
    } table[] = {{0.1F, "0.1"},
                 {-0.0F, "0"},
                 {1.0F, "1"},
                 {-2.5F, "-2.5"},
                 {1e-45F, "1.4013e-45"},
                 {3.4028235e38F, "3.4028235e+38"},
                 {16777216.0F, "16777216"},
                 {-0.33333334F, "-0.33333334"}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct buf b;
        struct api_writer w;
        buf_init(&b, 64);
        api_writer_init(&w, &b, NULL);
        api_write_float(&w, table[i].value);
        assert_true(api_writer_end(&w) && buf_append_byte(&b, '\0', NULL));
        assert_string_equal(b.data, table[i].text);
        buf_finish(&b);
    }
}

static void doubles_have_the_fewest_digits_too(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } table[] = {{-0.1, "-0.1"},
                 {0.0, "0"},
                 {-2.0, "-2"},
                 {-0.1F, "-0.10000000149011612"},
                 {1.0 / 3, "0.3333333333333333"},
                 {-0.1 - 0.2, "-0.30000000000000004"},
                 {5e-324, "4.94065645841247e-324"}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct buf b;
        struct api_writer w;
        buf_init(&b, 64);
        api_writer_init(&w, &b, NULL);
        api_write_double(&w, table[i].value);
        assert_true(api_writer_end(&w) && buf_append_byte(&b, '\0', NULL));
        assert_string_equal(b.data, table[i].text);
        buf_finish(&b);
    }
}

static void a_number_that_is_not_finite_is_our_error(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        struct buf b;
        struct error e = {0};
        buf_init(&b, 1 << 10);
        assert_true(buf_append(&b, STR("kept"), NULL));
        assert_false(api_embeddings_add(0, &bad[i], 1, false, &b, &e));
        assert_int_equal(e.code, ERROR_INTERNAL);
        assert_true(str_eq(buf_str(&b), STR("kept")));
        buf_finish(&b);
    }
}

static void text_is_counted_where_code_points_begin(void **state)
{
    (void)state;
    assert_int_equal(api_count_text(STR("a\xC3\xA9")), 2);
    assert_int_equal(api_count_text(STR("\xE2\x9C")) + api_count_text(STR("\x93")), 1);
}

/* At every length of the buffer's maximum, and at every allocation. */
static void a_writer_that_fails_leaves_the_buffer_as_it_was(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SAMPLES; i++) {
        struct buf whole;
        buf_init(&whole, 1 << 16);
        assert_true(samples[i].write(&whole, NULL));
        for (size_t max = 4; max < whole.n + 4; max += 7) {
            struct buf b;
            struct error e = {0};
            buf_init(&b, max);
            assert_true(buf_append(&b, STR("kept"), NULL));
            assert_false(samples[i].write(&b, &e));
            assert_int_equal(e.code, ERROR_MEMORY);
            assert_true(b.n >= 4 && memcmp(b.data, "kept", 4) == 0);
            buf_finish(&b);
        }
        for (size_t n = 1;; n++) {
            struct buf b;
            buf_init(&b, 1 << 16);
            mem_fail_nth(n);
            bool ok = samples[i].write(&b, NULL);
            mem_fail_nth(0);
            bool same = ok && str_eq(buf_str(&b), buf_str(&whole));
            buf_finish(&b);
            assert_true(ok ? same : n < 50);
            if (ok) {
                break;
            }
        }
        buf_finish(&whole);
    }
}

static int print_samples(void)
{
    for (size_t i = 0; i < N_SAMPLES; i++) {
        struct buf b;
        buf_init(&b, 1 << 16);
        if (!samples[i].write(&b, NULL)) {
            return 1;
        }
        printf("%s\t", samples[i].name);
        for (size_t k = 0; k < b.n; k++) {
            if (b.data[k] == '\n') { /* never inside the JSON itself */
                fputs("\x1E", stdout);
            } else {
                putchar(b.data[k]);
            }
        }
        putchar('\n');
        buf_finish(&b);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--print") == 0) {
        return print_samples();
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chat_answer_is_openais),
        cmocka_unit_test(logprobs_have_bytes_and_a_floor),
        cmocka_unit_test(a_completions_logprobs_are_parallel_arrays),
        cmocka_unit_test(a_stream_says_role_once_and_usage_at_the_end),
        cmocka_unit_test(calls_are_a_list_and_content_may_be_null),
        cmocka_unit_test(a_calls_id_and_name_come_once_and_first),
        cmocka_unit_test(without_include_usage_no_event_speaks_of_it),
        cmocka_unit_test(an_error_has_all_four_keys),
        cmocka_unit_test(every_kind_of_error_has_a_status_and_a_type),
        cmocka_unit_test(a_prompt_that_is_too_long_is_told_in_openais_sentence),
        cmocka_unit_test(any_bytes_become_valid_json),
        cmocka_unit_test(numbers_are_short_and_read_back_the_same),
        cmocka_unit_test(doubles_have_the_fewest_digits_too),
        cmocka_unit_test(a_number_that_is_not_finite_is_our_error),
        cmocka_unit_test(text_is_counted_where_code_points_begin),
        cmocka_unit_test(a_writer_that_fails_leaves_the_buffer_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
