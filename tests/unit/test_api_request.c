/* test_api_request.c - bodies of requests: every parameter accepted, of a wrong type, out of range;
 * what is refused by name, and what is a warning. test_api_body.c has what is no request at all. */
#include "api_body.h"
#include "base/json_tree.h"
#include "serve/api_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct api_options options;

static bool parse(enum api_endpoint endpoint, const char *body, struct api_request *out,
                  struct api_error *e)
{
    *e = (struct api_error){0};
    return api_request_parse(endpoint, str_from(body), &options, out, e);
}

/* The smallest good body of an endpoint with one more member. */
static void parse_with(enum api_endpoint endpoint, const char *member, struct api_request *out)
{
    char body[4096];
    struct api_error e;
    api_body(body, sizeof body, endpoint, member);
    if (!parse(endpoint, body, out, &e)) {
        fail_msg("%s: %s", body, e.message);
    }
}

static void expect_error(enum api_endpoint endpoint, const char *body, enum api_error_kind kind,
                         const char *param)
{
    struct api_request q;
    struct api_error e;
    if (parse(endpoint, body, &q, &e)) {
        fail_msg("accepted: %s", body);
    }
    if (e.kind != kind || strcmp(e.param, param) != 0 || e.message[0] == '\0') {
        fail_msg("%s: kind %d, param '%s': %s", body, (int)e.kind, e.param, e.message);
    }
    assert_null(q.blocks);
}

static void expect_refused(enum api_endpoint endpoint, const char *member, enum api_error_kind kind,
                           const char *param)
{
    char body[4096];
    api_body(body, sizeof body, endpoint, member);
    expect_error(endpoint, body, kind, param);
}

/* --- one line a parameter: values that pass, one of a wrong type, one outside the range */

struct parameter_case {
    enum api_endpoint endpoint; /* or SHARED */
    const char *name;
    const char *good[5];
    const char *wrong_type;
    const char *wrong_value; /* NULL: every value of the type passes */
    const char *at;          /* behind the name, where wrong_value is found */
};

#define SHARED API_ENDPOINT_COUNT /* chats and completions */

#define FUNCTIONS "[{\"name\":\"f\"}]"
#define TOOL      "[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]"
#define WITH_TOOL ",\"tools\":" TOOL

static const struct parameter_case cases[] = {
    {API_CHAT, "model", {"\"m\"", "\"meta-llama/llama-3.3-70b-instruct\""}, "1", "\"\"", ""},
    {API_EPHEMERAL_KEY, "model", {"\"m\""}, "1", "\"\"", ""},
    {API_EPHEMERAL_KEY, "origin", {"\"http://localhost:3000\""}, "1", "\"a.example\"", ""},
    {API_EPHEMERAL_KEY, "origin", {"\"x://[::1]:80\""}, "[]", "\"https://a.example/\"", ""},
    {API_EPHEMERAL_KEY, "max_tokens", {"1", "2147483647"}, "\"1\"", "0", ""},
    {API_EPHEMERAL_KEY, "budget_tokens", {"1", "2147483647"}, "\"1\"", "2147483648", ""},
    {API_EPHEMERAL_KEY,
     "expires_after",
     {"{}", "{\"seconds\":600}"},
     "60",
     "{\"seconds\":601}",
     ".seconds"},
    {API_EPHEMERAL_KEY,
     "expires_after",
     {"{\"anchor\":\"created_at\",\"seconds\":null}"},
     "[]",
     "{\"anchor\":\"now\"}",
     ".anchor"},
    {SHARED, "strict", {"true", "false"}, "1", NULL, ""},
    {SHARED, "stream", {"true", "false"}, "\"true\"", NULL, ""},
    {SHARED, "stream_options", {"null"}, "true", NULL, ""},
    {SHARED, "n", {"1", "2", "16", "2.0"}, "\"1\"", "0", ""},
    {SHARED, "n", {"1"}, "1.5", "17", ""},
    {SHARED, "n", {"1"}, "true", "129", ""},
    {SHARED, "user", {"\"u\"", "\"\""}, "1", NULL, ""},
    {SHARED, "stop", {"\"\\n\"", "[\"a\",\"b\",\"c\",\"d\"]", "[]"}, "5", "\"\"", ""},
    {SHARED, "stop", {"[\"a\"]"}, "{}", "[\"a\",\"b\",\"c\",\"d\",\"e\"]", ""},
    {SHARED, "stop", {"[\"a\"]"}, "false", "[\"a\",\"\"]", "[1]"},
    {SHARED, "seed", {"0", "-1", "9223372036854775807", "-9223372036854775808"}, "\"1\"", NULL, ""},
    {SHARED, "seed", {"5"}, "0.5", NULL, ""},
    {SHARED, "temperature", {"0", "1", "0.7", "2"}, "\"hot\"", "2.01", ""},
    {SHARED, "temperature", {"1e-30"}, "[1]", "-0.1", ""},
    {SHARED, "top_p", {"0", "1", "0.5"}, "\"1\"", "1.1", ""},
    {SHARED, "frequency_penalty", {"-2", "2", "0.5"}, "\"1\"", "2.5", ""},
    {SHARED, "presence_penalty", {"-2", "2", "0.5"}, "{}", "-2.5", ""},
    {SHARED, "logit_bias", {"{}", "{\"0\":-100,\"31\":100,\"7\":1.5}"}, "[]", "{\"x\":1}", ".x"},
    {SHARED, "logit_bias", {"{\"10\":0}"}, "1", "{\"-1\":1}", ".-1"},
    {SHARED, "logit_bias", {"{\"10\":0}"}, "1", "{\"07\":1}", ".07"},
    {SHARED, "logit_bias", {"{\"10\":0}"}, "1", "{\"32\":1}", ".32"},
    {SHARED, "logit_bias", {"{\"10\":0}"}, "1", "{\"99999999999\":1}", ".99999999999"},
    {SHARED, "logit_bias", {"{\"10\":0}"}, "1", "{\"3\":101}", ".3"},
    {SHARED, "top_k", {"-1", "0", "40"}, "1.5", "-2", ""},
    {SHARED, "min_p", {"0", "1", "0.05"}, "\"0\"", "1.5", ""},
    {SHARED, "typical_p", {"0", "1", "0.5"}, "\"0\"", "-0.5", ""},
    {SHARED, "repetition_penalty", {"1", "1.1", "100"}, "\"1\"", "0", ""},
    {SHARED, "repeat_penalty", {"1", "1.1"}, "\"1\"", "-1", ""},
    {SHARED, "ignore_eos", {"true", "false"}, "0", NULL, ""},
    {SHARED, "min_tokens", {"0", "1"}, "\"1\"", "-1", ""},
    {SHARED, "stop_token_ids", {"[]", "[1,2,31]"}, "1", "[32]", "[0]"},
    {SHARED, "priority", {"0", "-5", "5"}, "\"low\"", "3000000000", ""},
    {SHARED, "cache_salt", {"\"tenant\""}, "1", "\"\"", ""},
    {SHARED,
     "response_format",
     {"{\"type\":\"text\"}", "{\"type\":\"json_object\"}",
      "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a\"}}",
      "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a\",\"description\":null,"
      "\"schema\":{\"type\":\"object\"},\"strict\":true}}"},
     "\"text\"",
     "{\"type\":\"xml\"}",
     ".type"},
    {SHARED, "json_schema", {"{}", "true", "{\"type\":5}"}, "1", "\"{\"", ""},
    {SHARED, "guided_json", {"{}", "\"{\\\"type\\\":\\\"null\\\"}\""}, "[]", "\"5\"", ""},
    {SHARED, "guided_regex", {"\"a|b\"", "\"(\""}, "1", NULL, ""},
    {SHARED, "guided_choice", {"[\"a\",\"\"]"}, "\"a\"", "[]", ""},
    {SHARED, "guided_grammar", {"\"root ::= \\\"a\\\"\""}, "{}", NULL, ""},
    {SHARED, "grammar", {"\"root ::= root\""}, "1", NULL, ""},
    {SHARED,
     "structured_outputs",
     {"{}", "{\"json\":{}}", "{\"regex\":\"a\"}", "{\"choice\":[\"a\"],\"json_object\":false}",
      "{\"json_object\":true}"},
     "\"a\"",
     "{\"choice\":[]}",
     ".choice"},

    {API_CHAT, "messages", {"[{\"role\":\"user\",\"content\":\"\"}]"}, "\"hi\"", "[]", ""},
    {API_CHAT, "max_tokens", {"1", "2147483647"}, "\"1\"", "0", ""},
    {API_CHAT, "max_completion_tokens", {"1", "100"}, "\"1\"", "0", ""},
    {API_CHAT, "logprobs", {"true", "false"}, "1", NULL, ""},
    {API_CHAT, "top_logprobs", {"0"}, "\"1\"", "21", ""},
    {API_CHAT, "tools", {"[]", TOOL}, "{}", NULL, ""},
    {API_CHAT,
     "tool_choice",
     {"\"none\"" WITH_TOOL, "\"auto\"" WITH_TOOL, "\"required\"" WITH_TOOL,
      "{\"type\":\"function\",\"function\":{\"name\":\"f\"}}" WITH_TOOL},
     "1",
     "\"some\"",
     ""},
    {API_CHAT, "parallel_tool_calls", {"true" WITH_TOOL, "false" WITH_TOOL}, "\"yes\"", NULL, ""},
    {API_CHAT, "functions", {"[]", FUNCTIONS}, "{}", NULL, ""},
    {API_CHAT,
     "function_call",
     {"\"none\",\"functions\":" FUNCTIONS, "\"auto\",\"functions\":" FUNCTIONS,
      "{\"name\":\"f\"},\"functions\":" FUNCTIONS},
     "1",
     "\"some\"",
     ""},
    {API_CHAT, "modalities", {"[\"text\"]"}, "\"text\"", "[\"smell\"]", "[0]"},
    {API_CHAT,
     "prediction",
     {"{\"type\":\"content\",\"content\":\"a\"}"},
     "\"a\"",
     "{\"type\":\"other\",\"content\":\"a\"}",
     ".type"},
    {API_CHAT, "store", {"false"}, "0", NULL, ""},
    {API_CHAT, "metadata", {"{}", "{\"a\":\"b\"}"}, "[]", NULL, ""},
    {API_CHAT, "service_tier", {"\"auto\"", "\"default\"", "\"flex\""}, "1", "\"gold\"", ""},
    {API_CHAT, "safety_identifier", {"\"u\""}, "1", NULL, ""},
    {API_CHAT, "prompt_cache_key", {"\"k\""}, "1", NULL, ""},
    {API_CHAT,
     "prompt_cache_options",
     {"{\"mode\":\"implicit\"}", "{}"},
     "1",
     "{\"ttl\":\"1h\"}",
     ".ttl"},
    {API_CHAT, "prompt_cache_retention", {"\"in_memory\"", "\"24h\""}, "1", "\"1h\"", ""},
    {API_CHAT, "reasoning_effort", {"\"none\"", "\"high\""}, "1", "\"huge\"", ""},
    {API_CHAT, "verbosity", {"\"low\"", "\"medium\""}, "1", "\"loud\"", ""},
    {API_CHAT, "truncation", {"\"auto\"", "\"disabled\""}, "true", "\"middle\"", ""},
    {API_CHAT, "add_generation_prompt", {"true", "false"}, "1", NULL, ""},
    {API_CHAT, "continue_final_message", {"false"}, "1", NULL, ""},

    {API_COMPLETION, "prompt", {"\"\"", "[\"a\",\"b\"]", "[1,2]", "[[1],[2,3]]"}, "5", "[]", ""},
    {API_COMPLETION, "prompt", {"\"a\""}, "{}", "[[1],[]]", "[1]"},
    {API_COMPLETION, "prompt", {"\"a\""}, "true", "[1,32]", "[1]"},
    {API_COMPLETION, "prompt", {"\"a\""}, "true", "[-1]", "[0]"},
    {API_COMPLETION, "max_tokens", {"0", "16"}, "\"1\"", "-1", ""},
    {API_COMPLETION, "best_of", {"1", "3"}, "\"1\"", "0", ""},
    {API_COMPLETION, "best_of", {"1", "3"}, "1.5", "21", ""},
    {API_COMPLETION, "echo", {"true", "false"}, "1", NULL, ""},
    {API_COMPLETION, "logprobs", {"0", "5"}, "true", "6", ""},

    {API_EMBEDDING, "model", {"\"m\""}, "{}", "\"\"", ""},
    {API_EMBEDDING, "input", {"\"a\"", "[\"a\",\"b\"]", "[1,2]", "[[1],[2]]"}, "1", "\"\"", ""},
    {API_EMBEDDING, "input", {"\"a\""}, "{}", "[\"a\",\"\"]", "[1]"},
    {API_EMBEDDING, "encoding_format", {"\"float\"", "\"base64\""}, "1", "\"int8\"", ""},
    {API_EMBEDDING, "dimensions", {"64"}, "\"64\"", "0", ""},
    {API_EMBEDDING, "pooling", {"\"mean\"", "\"last\""}, "1", "\"max\"", ""},
    {API_EMBEDDING, "user", {"\"u\""}, "1", NULL, ""},
    {API_EMBEDDING, "strict", {"true", "false"}, "1", NULL, ""},

    {API_TOKENIZE, "model", {"\"m\""}, "1", "\"\"", ""},
    {API_TOKENIZE, "content", {"\"a\"", "\"\"", "[\"a\",5,\"b\"]", "[]"}, "1", "[\"a\",32]", "[1]"},
    {API_TOKENIZE, "add_special", {"true", "false"}, "1", NULL, ""},
    {API_TOKENIZE, "parse_special", {"true", "false"}, "1", NULL, ""},
    {API_TOKENIZE, "with_pieces", {"true", "false"}, "1", NULL, ""},
    {API_DETOKENIZE, "model", {"\"m\""}, "1", "\"\"", ""},
    {API_DETOKENIZE, "tokens", {"[]", "[1,2]"}, "\"a\"", "[1,-2]", "[1]"},
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

/* What apply-template has of a chat. */
static bool makes_prompts(const char *name)
{
    static const char *const names[] = {"model",
                                        "strict",
                                        "messages",
                                        "tools",
                                        "tool_choice",
                                        "add_generation_prompt",
                                        "continue_final_message"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Endpoints that a line speaks of. */
static bool speaks_of(const struct parameter_case *c, enum api_endpoint endpoint)
{
    if (c->endpoint == endpoint) {
        return true;
    }
    return (c->endpoint == SHARED && (endpoint == API_CHAT || endpoint == API_COMPLETION)) ||
           ((c->endpoint == SHARED || c->endpoint == API_CHAT) && endpoint == API_APPLY_TEMPLATE &&
            makes_prompts(c->name)) ||
           (c->endpoint == API_CHAT && strcmp(c->name, "model") == 0 && endpoint == API_COMPLETION);
}

static void check_case(const struct parameter_case *c, enum api_endpoint endpoint)
{
    char member[512];
    char param[128];
    for (size_t i = 0; i < 5 && c->good[i] != NULL; i++) {
        struct api_request q;
        snprintf(member, sizeof member, "\"%s\":%s", c->name, c->good[i]);
        parse_with(endpoint, member, &q);
        api_request_finish(&q);
    }
    snprintf(member, sizeof member, "\"%s\":%s", c->name, c->wrong_type);
    expect_refused(endpoint, member, API_ERROR_INVALID_TYPE, c->name);
    if (c->wrong_value != NULL) {
        snprintf(member, sizeof member, "\"%s\":%s", c->name, c->wrong_value);
        snprintf(param, sizeof param, "%s%s", c->name, c->at);
        expect_refused(endpoint, member, API_ERROR_INVALID_VALUE, param);
    }
}

static void every_parameter_is_read_and_its_wrong_types_and_values_are_named(void **state)
{
    (void)state;
    for (int endpoint = 0; endpoint < API_ENDPOINT_COUNT; endpoint++) {
        for (size_t i = 0; i < N_CASES; i++) {
            if (speaks_of(&cases[i], (enum api_endpoint)endpoint)) {
                check_case(&cases[i], (enum api_endpoint)endpoint);
            }
        }
    }
}

static void the_table_of_this_test_leaves_no_parameter_out(void **state)
{
    (void)state;
    for (int endpoint = 0; endpoint < API_ENDPOINT_COUNT; endpoint++) {
        const char *name;
        for (size_t k = 0; (name = api_parameter_name((enum api_endpoint)endpoint, k)) != NULL;
             k++) {
            bool found = false;
            for (size_t i = 0; i < N_CASES; i++) {
                found = found || (speaks_of(&cases[i], (enum api_endpoint)endpoint) &&
                                  strcmp(cases[i].name, name) == 0);
            }
            if (!found) {
                fail_msg("endpoint %d: no case for %s", endpoint, name);
            }
        }
    }
}

static void null_means_not_given_where_a_parameter_is_optional(void **state)
{
    (void)state;
    for (int endpoint = 0; endpoint < API_ENDPOINT_COUNT; endpoint++) {
        const char *name;
        for (size_t k = 0; (name = api_parameter_name((enum api_endpoint)endpoint, k)) != NULL;
             k++) {
            char member[64];
            struct api_request q;
            snprintf(member, sizeof member, "\"%s\":null", name);
            if (api_body_has((enum api_endpoint)endpoint, name)) {
                expect_refused((enum api_endpoint)endpoint, member, API_ERROR_MISSING_PARAMETER,
                               name);
            } else {
                parse_with((enum api_endpoint)endpoint, member, &q);
                api_request_finish(&q);
            }
        }
    }
}

static void expect_message(enum api_endpoint endpoint, const char *body, const char *message)
{
    struct api_request q;
    struct api_error e = {0};
    assert_false(api_request_parse(endpoint, str_from(body), &options, &q, &e));
    assert_string_equal(e.message, message);
}

static void a_number_of_answers_has_one_limit(void **state)
{
    (void)state;
    static const char *const numbers[] = {"17", "129", "-1"};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char body[128], message[64];
        snprintf(message, sizeof message, "n is %s, expected 1 to 16", numbers[i]);
        snprintf(body, sizeof body, "{\"model\":\"m\",\"prompt\":\"a\",\"n\":%s}", numbers[i]);
        expect_message(API_COMPLETION, body, message);
    }
    expect_message(API_COMPLETION, "{\"model\":\"m\",\"prompt\":\"a\",\"best_of\":20}",
                   "best_of is 20, expected 1 to 16");
}

static void an_unknown_name_is_told_with_the_one_that_is_missing(void **state)
{
    (void)state;
    expect_message(API_TOKENIZE, "{\"prompt\":\"a\"}",
                   "prompt is no known parameter, and content is missing");
    expect_message(API_TOKENIZE, "{\"content\":null,\"text\":\"a\"}",
                   "text is no known parameter, and content is missing");
    expect_message(API_TOKENIZE, "{\"content\":\"a\",\"text\":\"a\"}",
                   "text is no known parameter");
    expect_message(API_EMBEDDING, "{\"texts\":[],\"model\":\"m\"}",
                   "texts is no known parameter, and input is missing");
}

/* --- what the values become */

static void a_silent_chat_has_openais_defaults(void **state)
{
    (void)state;
    struct api_request q;
    parse_with(API_CHAT, "", &q);
    const struct api_generation *g = &q.generation;
    assert_true(str_eq(q.model, STR("m")));
    assert_true(g->sampler.temperature == 1 && g->sampler.top_p == 1 && g->sampler.top_k == 0);
    assert_true(g->sampler.min_p == 0 && g->sampler.typical_p == 1);
    assert_true(g->sampler.repeat_penalty == 1 && g->sampler.answer_only && !g->has_seed);
    assert_int_equal(g->sampler.repeat_last_n, SAMPLER_MAX_LAST_N);
    assert_true(sampler_params_check(&g->sampler, 32, NULL));
    assert_int_equal(g->n, 1);
    assert_int_equal(g->best_of, 1);
    assert_true(g->max_tokens == API_TO_CONTEXT_END && g->min_tokens == 0);
    assert_true(!g->stream && !g->include_usage && !g->logprobs && !g->ignore_eos);
    assert_true(g->add_generation_prompt && g->truncation == API_TRUNCATION_DISABLED);
    assert_int_equal(g->n_messages, 1);
    assert_null(g->prompts);
    assert_int_equal(q.n_warnings, 0);
    api_request_finish(&q);
}

static void a_silent_completion_makes_16_tokens(void **state)
{
    (void)state;
    struct api_request q;
    parse_with(API_COMPLETION, "", &q);
    assert_int_equal(q.generation.max_tokens, 16);
    assert_int_equal(q.generation.n_prompts, 1);
    assert_null(q.generation.messages);
    api_request_finish(&q);
    parse_with(API_COMPLETION, "\"max_tokens\":0,\"echo\":true,\"logprobs\":1", &q);
    assert_true(q.generation.max_tokens == 0 && q.generation.echo && q.generation.logprobs);
    assert_int_equal(q.generation.top_logprobs, 1);
    api_request_finish(&q);
}

static void values_reach_the_engines_structs(void **state)
{
    (void)state;
    struct api_request q;
    parse_with(API_CHAT,
               "\"temperature\":0.5,\"top_p\":0.25,\"top_k\":7,\"min_p\":0.125,\"typical_p\":0.75,"
               "\"frequency_penalty\":1,\"presence_penalty\":-1,\"seed\":-2,\"n\":3,"
               "\"logit_bias\":{\"3\":-100,\"4\":1.5},\"stop\":[\"x\",\"yz\"],\"stream\":true,"
               "\"stream_options\":{\"include_usage\":true,\"include_obfuscation\":false},"
               "\"stop_token_ids\":[9,8],\"logprobs\":true,\"top_logprobs\":20,\"min_tokens\":2,"
               "\"max_completion_tokens\":5,\"ignore_eos\":true,\"priority\":-3,"
               "\"cache_salt\":\"s\",\"truncation\":\"auto\",\"service_tier\":\"auto\",\"add_"
               "generation_prompt\":false",
               &q);
    const struct api_generation *g = &q.generation;
    const struct sampler_params *s = &g->sampler;
    assert_true(s->temperature == 0.5F && s->top_p == 0.25F && s->top_k == 7 && s->min_p == 0.125F);
    assert_true(s->typical_p == 0.75F && s->frequency_penalty == 1 && s->presence_penalty == -1);
    assert_true(g->has_seed && s->seed == (uint64_t)-2);
    assert_int_equal(s->n_logit_bias, 2);
    assert_true(s->logit_bias[0].token == 3 && s->logit_bias[0].bias == -100);
    assert_true(s->logit_bias[1].token == 4 && s->logit_bias[1].bias == 1.5F);
    assert_int_equal(g->n_stop, 2);
    assert_true(str_eq(g->stop[0], STR("x")) && str_eq(g->stop[1], STR("yz")));
    assert_int_equal(g->n_stop_ids, 2);
    assert_true(g->stop_ids[0] == 9 && g->stop_ids[1] == 8);
    assert_true(g->n == 3 && g->best_of == 3 && g->stream && g->include_usage && g->ignore_eos);
    assert_true(g->logprobs && g->top_logprobs == 20 && g->min_tokens == 2 && g->max_tokens == 5);
    assert_true(g->priority == -3 && str_eq(g->cache_salt, STR("s")));
    assert_true(g->truncation == API_TRUNCATION_AUTO && g->tell_tier);
    assert_false(g->add_generation_prompt);
    assert_int_equal(q.n_warnings, 0);
    api_request_finish(&q);
}

static void prompts_come_as_text_texts_ids_or_lists_of_ids(void **state)
{
    (void)state;
    struct api_request q;
    struct api_error e;
    assert_true(
        parse(API_COMPLETION, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\\u0000c\"]}", &q, &e));
    assert_int_equal(q.generation.n_prompts, 2);
    assert_true(str_eq(q.generation.prompts[1].text, (struct str){"b\0c", 3}));
    api_request_finish(&q);
    assert_true(parse(API_COMPLETION, "{\"model\":\"m\",\"prompt\":[5,6,7]}", &q, &e));
    assert_int_equal(q.generation.n_prompts, 1);
    assert_true(q.generation.prompts[0].is_ids && q.generation.prompts[0].n_ids == 3);
    assert_int_equal(q.generation.prompts[0].ids[2], 7);
    api_request_finish(&q);
    assert_true(parse(API_COMPLETION, "{\"model\":\"m\",\"prompt\":[[5],[6,7]]}", &q, &e));
    assert_int_equal(q.generation.n_prompts, 2);
    assert_int_equal(q.generation.prompts[1].ids[1], 7);
    api_request_finish(&q);
    expect_error(API_COMPLETION, "{\"model\":\"m\",\"prompt\":[\"a\",5]}", API_ERROR_INVALID_TYPE,
                 "prompt[1]");
    expect_error(API_COMPLETION, "{\"model\":\"m\",\"prompt\":[5,\"a\"]}", API_ERROR_INVALID_TYPE,
                 "prompt[1]");
    assert_true(parse(API_TOKENIZE, "{\"content\":[\"a\",5]}", &q, &e));
    assert_int_equal(q.tokenize.n_pieces, 2);
    assert_true(q.tokenize.pieces[1].is_ids && q.tokenize.pieces[1].ids[0] == 5);
    assert_true(q.tokenize.parse_special && !q.tokenize.add_special);
    api_request_finish(&q);
    assert_true(parse(API_APPLY_TEMPLATE, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}",
                      &q, &e));
    assert_int_equal(q.model.n, 0);
    api_request_finish(&q);
}

/* --- several parameters together */

static void parameters_that_contradict_each_other_are_named(void **state)
{
    (void)state;
    static const struct {
        enum api_endpoint endpoint;
        const char *members, *param;
    } table[] = {
        {API_CHAT, "\"top_logprobs\":2", "top_logprobs"},
        {API_CHAT, "\"stream_options\":{\"include_usage\":true}", "stream_options"},
        {API_CHAT, "\"max_tokens\":2,\"min_tokens\":3", "min_tokens"},
        {API_CHAT, "\"repetition_penalty\":1.1,\"repeat_penalty\":1.2", "repeat_penalty"},
        {API_COMPLETION, "\"best_of\":2,\"n\":3", "best_of"},
        {API_COMPLETION, "\"best_of\":3,\"n\":2,\"stream\":true", "best_of"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        expect_refused(table[i].endpoint, table[i].members, API_ERROR_INVALID_VALUE,
                       table[i].param);
    }
}

static void max_completion_tokens_wins_and_says_so(void **state)
{
    (void)state;
    struct api_request q;
    parse_with(API_CHAT, "\"max_tokens\":7,\"max_completion_tokens\":9", &q);
    assert_int_equal(q.generation.max_tokens, 9);
    assert_int_equal(q.n_warnings, 1);
    assert_true(str_eq(q.warnings[0].param, STR("max_tokens")));
    api_request_finish(&q);
    parse_with(API_CHAT, "\"max_tokens\":9,\"max_completion_tokens\":9", &q);
    assert_int_equal(q.n_warnings, 0);
    api_request_finish(&q);
}

/* --- refused by name, warned about */

static void what_is_not_offered_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        enum api_endpoint endpoint;
        const char *members;
        enum api_error_kind kind;
        const char *param;
    } table[] = {
        {API_CHAT, "\"temprature\":1", API_ERROR_UNKNOWN_PARAMETER, "temprature"},
        {API_CHAT, "\"prompt\":\"a\"", API_ERROR_UNKNOWN_PARAMETER, "prompt"},
        {API_COMPLETION, "\"messages\":[]", API_ERROR_UNKNOWN_PARAMETER, "messages"},
        {API_EMBEDDING, "\"temperature\":1", API_ERROR_UNKNOWN_PARAMETER, "temperature"},
        {API_EMBEDDING, "\"dimensions\":65", API_ERROR_UNSUPPORTED_VALUE, "dimensions"},
        {API_COMPLETION, "\"suffix\":\"a\"", API_ERROR_UNSUPPORTED_PARAMETER, "suffix"},
        {API_CHAT, "\"moderation\":{}", API_ERROR_UNSUPPORTED_PARAMETER, "moderation"},
        {API_CHAT, "\"audio\":{}", API_ERROR_UNSUPPORTED_PARAMETER, "audio"},
        {API_CHAT, "\"web_search_options\":{}", API_ERROR_UNSUPPORTED_PARAMETER,
         "web_search_options"},
        {API_CHAT, "\"continue_final_message\":true", API_ERROR_UNSUPPORTED_PARAMETER,
         "continue_final_message"},
        {API_CHAT, "\"store\":true", API_ERROR_UNSUPPORTED_VALUE, "store"},
        {API_CHAT, "\"modalities\":[\"text\",\"audio\"]", API_ERROR_UNSUPPORTED_VALUE,
         "modalities[1]"},
        {API_CHAT, "\"stream\":true,\"stream_options\":{\"x\":1}", API_ERROR_UNKNOWN_PARAMETER,
         "stream_options.x"},
        {API_CHAT, "\"metadata\":{\"a\":1}", API_ERROR_INVALID_TYPE, "metadata.a"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        expect_refused(table[i].endpoint, table[i].members, table[i].kind, table[i].param);
    }
}

static void what_has_no_effect_is_a_warning_and_an_error_when_strict(void **state)
{
    (void)state;
    static const struct {
        const char *member, *param;
    } table[] = {
        {"\"reasoning_effort\":\"high\"", "reasoning_effort"},
        {"\"verbosity\":\"low\"", "verbosity"},
        {"\"user\":\"u\"", "user"},
        {"\"safety_identifier\":\"u\"", "safety_identifier"},
        {"\"metadata\":{\"a\":\"b\"}", "metadata"},
        {"\"prompt_cache_key\":\"k\"", "prompt_cache_key"},
        {"\"service_tier\":\"flex\"", "service_tier"},
        {"\"prompt_cache_options\":{\"mode\":\"explicit\"}", "prompt_cache_options"},
        {"\"prompt_cache_options\":{\"ttl\":\"30m\"}", "prompt_cache_options"},
        {"\"prompt_cache_retention\":\"24h\"", "prompt_cache_retention"},
        {"\"prediction\":{\"type\":\"content\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}",
         "prediction"},
        {"\"stream\":true,\"stream_options\":{\"include_obfuscation\":true}",
         "stream_options.include_obfuscation"},
        {"\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"name\":\"b\"},"
         "{\"role\":\"user\",\"content\":\"a\",\"name\":\"c\"}]",
         "messages[0].name"},
        {"\"messages\":[{\"role\":\"assistant\",\"content\":\"a\",\"refusal\":\"no\"}]",
         "messages[0].refusal"},
        {"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\","
         "\"prompt_cache_breakpoint\":{}}]}]",
         "messages[0].content[0].prompt_cache_breakpoint"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct api_request q;
        char strict[512];
        parse_with(API_CHAT, table[i].member, &q);
        assert_int_equal(q.n_warnings, 1);
        assert_true(str_eq(q.warnings[0].param, str_from(table[i].param)));
        assert_true(q.warnings[0].message.n > 0);
        api_request_finish(&q);
        snprintf(strict, sizeof strict, "%s,\"strict\":true", table[i].member);
        expect_refused(API_CHAT, strict, API_ERROR_UNSUPPORTED_PARAMETER, table[i].param);
    }
}

/* --- messages */

static void contents_are_strings_or_parts_and_developers_are_the_system(void **state)
{
    (void)state;
    struct api_request q;
    parse_with(API_CHAT,
               "\"messages\":["
               "{\"role\":\"developer\",\"content\":\"d\"},"
               "{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"s\"}]},"
               "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"one\"},"
               "{\"type\":\"text\",\"text\":\"\"},{\"type\":\"text\",\"text\":\"two\"}]},"
               "{\"role\":\"assistant\",\"content\":\"a\",\"refusal\":null,\"tool_calls\":null,"
               "\"function_call\":null,\"audio\":null,\"annotations\":[]},"
               "{\"role\":\"assistant\",\"content\":null,\"refusal\":\"no\"},"
               "{\"role\":\"assistant\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"r\"}],"
               "\"tool_calls\":[]},"
               "{\"role\":\"assistant\",\"content\":\"c\",\"function_call\":{\"name\":\"f\","
               "\"arguments\":\"{}\"}},"
               "{\"role\":\"function\",\"name\":\"f\",\"content\":\"t\"}]",
               &q);
    static const struct {
        enum chat_role role;
        const char *text;
    } expected[] = {{CHAT_SYSTEM, "d"},    {CHAT_SYSTEM, "s"},     {CHAT_USER, "one\n\ntwo"},
                    {CHAT_ASSISTANT, "a"}, {CHAT_ASSISTANT, "no"}, {CHAT_ASSISTANT, "r"},
                    {CHAT_ASSISTANT, "c"}, {CHAT_TOOL, "t"}};
    assert_int_equal(q.generation.n_messages, 8);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(q.generation.messages[i].role, expected[i].role);
        assert_true(str_eq(q.generation.messages[i].content, str_from(expected[i].text)));
    }
    assert_int_equal(q.n_warnings, 0);
    api_request_finish(&q);
}

static void a_bad_message_is_named_by_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *message;
        enum api_error_kind kind;
        const char *at;
    } table[] = {
        {"5", API_ERROR_INVALID_TYPE, ""},
        {"{}", API_ERROR_MISSING_PARAMETER, ".role"},
        {"{\"role\":5,\"content\":\"a\"}", API_ERROR_INVALID_TYPE, ".role"},
        {"{\"role\":\"human\",\"content\":\"a\"}", API_ERROR_INVALID_VALUE, ".role"},
        {"{\"role\":\"user\"}", API_ERROR_MISSING_PARAMETER, ".content"},
        {"{\"role\":\"user\",\"content\":null}", API_ERROR_INVALID_TYPE, ".content"},
        {"{\"role\":\"user\",\"content\":5}", API_ERROR_INVALID_TYPE, ".content"},
        {"{\"role\":\"user\",\"content\":[]}", API_ERROR_INVALID_VALUE, ".content"},
        {"{\"role\":\"user\",\"content\":[\"a\"]}", API_ERROR_INVALID_TYPE, ".content[0]"},
        {"{\"role\":\"user\",\"content\":[{}]}", API_ERROR_MISSING_PARAMETER, ".content[0].type"},
        {"{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}", API_ERROR_MISSING_PARAMETER,
         ".content[0].text"},
        {"{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":1}]}", API_ERROR_INVALID_TYPE,
         ".content[0].text"},
        {"{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"x\"}}]}",
         API_ERROR_UNSUPPORTED_VALUE, ".content[0].type"},
        {"{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\"}]}",
         API_ERROR_UNSUPPORTED_VALUE, ".content[0].type"},
        {"{\"role\":\"user\",\"content\":[{\"type\":\"smell\"}]}", API_ERROR_INVALID_VALUE,
         ".content[0].type"},
        {"{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\",\"x\":1}]}",
         API_ERROR_UNKNOWN_PARAMETER, ".content[0].x"},
        {"{\"role\":\"user\",\"content\":\"a\",\"x\":1}", API_ERROR_UNKNOWN_PARAMETER, ".x"},
        {"{\"role\":\"user\",\"content\":\"a\",\"tool_calls\":[]}", API_ERROR_UNKNOWN_PARAMETER,
         ".tool_calls"},
        {"{\"role\":\"assistant\"}", API_ERROR_MISSING_PARAMETER, ".content"},
        {"{\"role\":\"assistant\",\"content\":null}", API_ERROR_MISSING_PARAMETER, ".content"},
        {"{\"role\":\"assistant\",\"content\":\"a\",\"refusal\":1}", API_ERROR_INVALID_TYPE,
         ".refusal"},
        {"{\"role\":\"assistant\",\"content\":\"a\",\"tool_calls\":{}}", API_ERROR_INVALID_TYPE,
         ".tool_calls"},
        {"{\"role\":\"tool\",\"content\":\"a\"}", API_ERROR_MISSING_PARAMETER, ".tool_call_id"},
        {"{\"role\":\"tool\",\"tool_call_id\":\"c\"}", API_ERROR_MISSING_PARAMETER, ".content"},
        {"{\"role\":\"tool\",\"content\":\"a\",\"tool_call_id\":5}", API_ERROR_INVALID_TYPE,
         ".tool_call_id"},
        {"{\"role\":\"function\",\"content\":\"a\"}", API_ERROR_MISSING_PARAMETER, ".name"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char body[512];
        char param[128];
        snprintf(body, sizeof body,
                 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"},%s]}",
                 table[i].message);
        snprintf(param, sizeof param, "messages[1]%s", table[i].at);
        expect_error(API_CHAT, body, table[i].kind, param);
    }
}

static int prepare(void **state)
{
    (void)state;
    json_tree_init();
    api_options_default(&options);
    options.n_vocab = 32;
    options.n_embd = 64;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_parameter_is_read_and_its_wrong_types_and_values_are_named),
        cmocka_unit_test(the_table_of_this_test_leaves_no_parameter_out),
        cmocka_unit_test(null_means_not_given_where_a_parameter_is_optional),
        cmocka_unit_test(a_number_of_answers_has_one_limit),
        cmocka_unit_test(an_unknown_name_is_told_with_the_one_that_is_missing),
        cmocka_unit_test(a_silent_chat_has_openais_defaults),
        cmocka_unit_test(a_silent_completion_makes_16_tokens),
        cmocka_unit_test(values_reach_the_engines_structs),
        cmocka_unit_test(prompts_come_as_text_texts_ids_or_lists_of_ids),
        cmocka_unit_test(parameters_that_contradict_each_other_are_named),
        cmocka_unit_test(max_completion_tokens_wins_and_says_so),
        cmocka_unit_test(what_is_not_offered_is_refused_by_name),
        cmocka_unit_test(what_has_no_effect_is_a_warning_and_an_error_when_strict),
        cmocka_unit_test(contents_are_strings_or_parts_and_developers_are_the_system),
        cmocka_unit_test(a_bad_message_is_named_by_its_place),
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
