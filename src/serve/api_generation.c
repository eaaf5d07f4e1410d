/* api_generation.c - parameters that chats and completions share, and those of completions. */
#include "serve/api_parameter.h"

#include <math.h>

void api_limits_default(struct api_limits *out)
{
    *out = (struct api_limits){.depth = 64,
                               .containers = 65536,
                               .values = 1 << 19,
                               .schema_values = 1 << 16,
                               .schema_bytes = 4 << 20,
                               .messages = 4096,
                               .tokens = API_TO_CONTEXT_END,
                               .stops = 4,
                               .logit_bias = SAMPLER_MAX_BIASES,
                               .n = 16};
}

void api_options_default(struct api_options *out)
{
    *out = (struct api_options){
        .sampler = {.temperature = 1.0F,
                    .top_p = 1.0F,
                    .typical_p = 1.0F,
                    .repeat_penalty = 1.0F,
                    .repeat_last_n = SAMPLER_MAX_LAST_N,
                    .answer_only = true},
        .chat_max_tokens = API_TO_CONTEXT_END,
        .completion_max_tokens = 16,
        .max_prompts = 128,
        .least_priority = INT32_MIN,
        .most_tokens = API_TO_CONTEXT_END,
    };
    api_limits_default(&out->limits);
}

void api_generation_default(struct api_generation *g, const struct api_options *o)
{
    *g = (struct api_generation){.sampler = o->sampler,
                                 .n = 1,
                                 .best_of = 1,
                                 .add_generation_prompt = true,
                                 .priority = o->priority};
}

static struct api_generation *generation(struct api_reader *r)
{
    return &r->request->generation;
}

/* --- shared */

static bool read_label(struct api_reader *r, const json_t *v, size_t max_chars)
{
    struct str text = {0};
    return api_view_text(r, v, max_chars, &text) &&
           api_warn(r, "has no effect: this server does not tell users apart");
}

bool api_read_user(struct api_reader *r, const json_t *v)
{
    return read_label(r, v, API_MAX_USER_CHARS);
}

bool api_read_safety_identifier(struct api_reader *r, const json_t *v)
{
    return read_label(r, v, API_MAX_SAFETY_CHARS);
}

static bool read_seed(struct api_reader *r, const json_t *v)
{
    int64_t seed = 0;
    if (!api_read_int(r, v, INT64_MIN, INT64_MAX, &seed)) {
        return false;
    }
    generation(r)->sampler.seed = (uint64_t)seed;
    generation(r)->has_seed = true;
    return true;
}

static bool read_n(struct api_reader *r, const json_t *v)
{
    int64_t n = 0;
    if (!api_read_int(r, v, 1, r->options->limits.n, &n)) {
        return false;
    }
    generation(r)->n = (uint32_t)n;
    return true;
}

/* The one spelling of a token id: two keys must not mean one token. */
static bool parse_id(const char *text, int64_t *out)
{
    int64_t id = 0;
    size_t n = strlen(text);
    if (n == 0 || n > 10 || (text[0] == '0' && n > 1)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        id = id * 10 + (text[i] - '0');
    }
    *out = id;
    return true;
}

static bool read_bias(struct api_reader *r, const char *key, const json_t *v,
                      struct sampler_bias *out)
{
    int64_t id = 0;
    int64_t end = r->options->n_vocab > 0 ? (int64_t)r->options->n_vocab : INT32_MAX;
    size_t before = api_enter_key(r, key);
    if (!parse_id(key, &id) || id >= end) {
        return api_fail(r, API_ERROR_INVALID_VALUE, "names no token, expected an id from 0 to %lld",
                        (long long)end - 1);
    }
    out->token = (uint32_t)id;
    if (!api_read_float(r, v, -100, 100, &out->bias)) {
        return false;
    }
    api_leave(r, before);
    return true;
}

static bool read_logit_bias(struct api_reader *r, const json_t *v)
{
    if (!api_want_object(r, v)) {
        return false;
    }
    size_t n = json_object_size(v);
    if (n > r->options->limits.logit_bias) {
        return api_fail(r, API_ERROR_INVALID_VALUE, "has %zu entries, expected at most %u", n,
                        r->options->limits.logit_bias);
    }
    struct sampler_bias *biases = api_alloc(r, n, sizeof *biases);
    if (biases == NULL) {
        return false;
    }
    const char *key;
    json_t *value;
    size_t i = 0;
    json_object_foreach((json_t *)v, key, value)
    {
        if (!read_bias(r, key, value, &biases[i++])) {
            return false;
        }
    }
    generation(r)->sampler.logit_bias = biases;
    generation(r)->sampler.n_logit_bias = n;
    return true;
}

static bool read_stop_text(struct api_reader *r, const json_t *v)
{
    struct api_generation *g = generation(r);
    struct str s = {0};
    if (!api_read_text(r, v, SIZE_MAX, &s)) {
        return false;
    }
    if (s.n == 0 || s.n > API_MAX_STOP_BYTES) {
        return api_fail(r, API_ERROR_INVALID_VALUE, "has %zu bytes, expected 1 to %d", s.n,
                        API_MAX_STOP_BYTES);
    }
    g->stop[g->n_stop++] = s;
    return true;
}

static bool read_stop(struct api_reader *r, const json_t *v)
{
    if (!json_is_string(v) && !json_is_array(v)) {
        return api_fail(r, API_ERROR_INVALID_TYPE,
                        "is neither a string nor an array of at most %u strings",
                        r->options->limits.stops);
    }
    if (json_is_string(v)) {
        return read_stop_text(r, v);
    }
    if (!api_want_array(r, v, 0, r->options->limits.stops)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(v); i++) {
        size_t before = api_enter_index(r, i);
        if (!read_stop_text(r, json_array_get(v, i))) {
            return false;
        }
        api_leave(r, before);
    }
    return true;
}

static bool read_stop_ids(struct api_reader *r, const json_t *v)
{
    return api_want_array(r, v, 0, API_MAX_STOP_IDS) &&
           api_read_ids(r, v, 0, &generation(r)->stop_ids, &generation(r)->n_stop_ids);
}

static bool read_stream_options(struct api_reader *r, const json_t *v)
{
    static const char *const keys[] = {"include_usage", "include_obfuscation", NULL};
    if (!api_check_keys(r, v, keys)) {
        return false;
    }
    const json_t *usage = api_member(v, keys[0]);
    const json_t *padding = api_member(v, keys[1]);
    bool wants_padding = false;
    size_t before = api_enter_key(r, keys[0]);
    if (usage != NULL && !api_read_bool(r, usage, &generation(r)->include_usage)) {
        return false;
    }
    api_leave(r, before);
    api_enter_key(r, keys[1]);
    if (padding != NULL && !api_read_bool(r, padding, &wants_padding)) {
        return false;
    }
    if (wants_padding && !api_warn(r, "has no effect: chunks are not padded")) {
        return false;
    }
    api_leave(r, before);
    return true;
}

#define GENERATION(field) API_FIELD(generation.field)
#define SAMPLER(field)    API_FIELD(generation.sampler.field)

/* bounds of an inverse that a float can hold, and wider than anybody uses */
#define PENALTY_MIN 0.01
#define PENALTY_MAX 100

static const struct api_parameter generation_items[] = {
    {"strict", API_KIND_BOOL, API_FIELD(strict), 0, 0, NULL},
    {"stream", API_KIND_BOOL, GENERATION(stream), 0, 0, NULL},
    {"stream_options", API_KIND_CUSTOM, 0, 0, 0, read_stream_options},
    {"n", API_KIND_CUSTOM, 0, 0, 0, read_n},
    {"user", API_KIND_CUSTOM, 0, 0, 0, api_read_user},
    {"stop", API_KIND_CUSTOM, 0, 0, 0, read_stop},
    {"seed", API_KIND_CUSTOM, 0, 0, 0, read_seed},
    {"temperature", API_KIND_FLOAT, SAMPLER(temperature), 0, 2, NULL},
    {"top_p", API_KIND_FLOAT, SAMPLER(top_p), 0, 1, NULL},
    {"frequency_penalty", API_KIND_FLOAT, SAMPLER(frequency_penalty), -2, 2, NULL},
    {"presence_penalty", API_KIND_FLOAT, SAMPLER(presence_penalty), -2, 2, NULL},
    {"logit_bias", API_KIND_CUSTOM, 0, 0, 0, read_logit_bias},
    /* the community's, by the names of vLLM and llama.cpp */
    {"top_k", API_KIND_INT32, SAMPLER(top_k), -1, INT32_MAX, NULL},
    {"min_p", API_KIND_FLOAT, SAMPLER(min_p), 0, 1, NULL},
    {"typical_p", API_KIND_FLOAT, SAMPLER(typical_p), 0, 1, NULL},
    {"repetition_penalty", API_KIND_FLOAT, SAMPLER(repeat_penalty), PENALTY_MIN, PENALTY_MAX, NULL},
    {"repeat_penalty", API_KIND_FLOAT, SAMPLER(repeat_penalty), PENALTY_MIN, PENALTY_MAX, NULL},
    {"ignore_eos", API_KIND_BOOL, GENERATION(ignore_eos), 0, 0, NULL},
    {"min_tokens", API_KIND_UINT32, GENERATION(min_tokens), 0, INT32_MAX, NULL},
    {"stop_token_ids", API_KIND_CUSTOM, 0, 0, 0, read_stop_ids},
    {"priority", API_KIND_INT32, GENERATION(priority), INT32_MIN, INT32_MAX, NULL},
    {"cache_salt", API_KIND_TEXT, GENERATION(cache_salt), 1, API_MAX_NAME_CHARS, NULL},
    {"response_format", API_KIND_CUSTOM, 0, 0, 0, api_read_response_format},
    {"json_schema", API_KIND_CUSTOM, 0, 0, 0, api_read_guided_json},
    {"guided_json", API_KIND_CUSTOM, 0, 0, 0, api_read_guided_json},
    {"guided_regex", API_KIND_CUSTOM, 0, 0, 0, api_read_guided_regex},
    {"guided_choice", API_KIND_CUSTOM, 0, 0, 0, api_read_guided_choice},
    {"guided_grammar", API_KIND_CUSTOM, 0, 0, 0, api_read_guided_grammar},
    {"grammar", API_KIND_CUSTOM, 0, 0, 0, api_read_guided_grammar},
    {"structured_outputs", API_KIND_CUSTOM, 0, 0, 0, api_read_structured_outputs},
};
const struct api_table api_generation_table = API_TABLE(generation_items);

static bool fail_at(struct api_reader *r, const char *name, const char *why)
{
    api_enter_key(r, name);
    return api_fail(r, API_ERROR_INVALID_VALUE, "%s", why);
}

static bool check_penalties(struct api_reader *r)
{
    const json_t *a = api_member(r->root, "repetition_penalty");
    const json_t *b = api_member(r->root, "repeat_penalty");
    if (a != NULL && b != NULL && (float)json_number_value(a) != (float)json_number_value(b)) {
        return fail_at(r, "repeat_penalty", "differs from repetition_penalty, which is the same");
    }
    return true;
}

/* What the server and the key allow. */
static bool check_allowed(struct api_reader *r)
{
    const struct api_generation *g = generation(r);
    const struct api_options *o = r->options;
    uint32_t most = api_most_tokens(o);
    bool is_newer = api_member(r->root, "max_completion_tokens") != NULL;
    if (g->priority < o->least_priority) {
        api_enter_key(r, "priority");
        return api_fail(r, API_ERROR_INVALID_VALUE, "is %d, this key may ask for %d and above",
                        g->priority, o->least_priority);
    }
    if (g->max_tokens != API_TO_CONTEXT_END && g->max_tokens > most) {
        api_enter_key(r, is_newer ? "max_completion_tokens" : "max_tokens");
        return api_fail(r, API_ERROR_INVALID_VALUE, "is %u, this %s %u at most", g->max_tokens,
                        o->most_tokens == most ? "key may ask for" : "server allows", most);
    }
    if (g->min_tokens > most) {
        api_enter_key(r, "min_tokens");
        return api_fail(r, API_ERROR_INVALID_VALUE, "is %u, answers have %u tokens at most",
                        g->min_tokens, most);
    }
    return true;
}

/* An answer with a format, or that has to be a call, ends where it is complete. */
static bool check_end(struct api_reader *r)
{
    const struct api_generation *g = generation(r);
    size_t before = r->path_n;
    if (g->format.kind == API_FORMAT_TEXT && g->tool_choice == API_TOOLS_AUTO) {
        return true;
    }
    if (g->ignore_eos) {
        return fail_at(r, "ignore_eos", "is true, but an answer with a format ends with it");
    }
    api_enter_key(r, "min_tokens");
    if (g->min_tokens > 0 && !api_warn(r, "is kept as far as the format lets the answer go on")) {
        return false;
    }
    api_leave(r, before);
    return true;
}

bool api_generation_check(struct api_reader *r)
{
    const struct api_generation *g = generation(r);
    if (!check_allowed(r)) {
        return false;
    }
    if (g->min_tokens > g->max_tokens) {
        return fail_at(r, "min_tokens", "is more than max_tokens");
    }
    if (api_member(r->root, "stream_options") != NULL && !g->stream) {
        return fail_at(r, "stream_options", "is only allowed when stream is true");
    }
    return check_end(r) && check_penalties(r);
}

/* --- completions alone */

static bool read_prompt(struct api_reader *r, const json_t *v)
{
    return api_read_prompts(r, v, r->options->max_prompts, &generation(r)->prompts,
                            &generation(r)->n_prompts);
}

static bool read_best_of(struct api_reader *r, const json_t *v)
{
    int64_t n = 0;
    if (!api_read_int(r, v, 1, r->options->limits.n, &n)) {
        return false;
    }
    generation(r)->best_of = (uint32_t)n;
    return true;
}

static bool read_n_logprobs(struct api_reader *r, const json_t *v)
{
    int64_t n = 0;
    if (!api_read_int(r, v, 0, API_MAX_LOGPROBS, &n)) {
        return false;
    }
    generation(r)->logprobs = true;
    generation(r)->top_logprobs = (uint32_t)n;
    return true;
}

static const struct api_parameter completion_items[] = {
    {"prompt", API_KIND_CUSTOM, 0, 0, 0, read_prompt},
    {"max_tokens", API_KIND_UINT32, GENERATION(max_tokens), 0, INT32_MAX, NULL},
    {"best_of", API_KIND_CUSTOM, 0, 0, 0, read_best_of},
    {"echo", API_KIND_BOOL, GENERATION(echo), 0, 0, NULL},
    {"logprobs", API_KIND_CUSTOM, 0, 0, 0, read_n_logprobs},
};
const struct api_table api_completion_table = API_TABLE(completion_items);

bool api_completion_check(struct api_reader *r)
{
    struct api_generation *g = generation(r);
    if (api_member(r->root, "best_of") == NULL) {
        g->best_of = g->n;
    }
    if (g->best_of < g->n) {
        return fail_at(r, "best_of", "is less than n");
    }
    return g->best_of == g->n || !g->stream ||
           fail_at(r, "best_of", "cannot be more than n when stream is true");
}
