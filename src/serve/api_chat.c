/* api_chat.c - parameters of chats alone. */
#include "serve/api_parameter.h"

static struct api_generation *generation(struct api_reader *r)
{
    return &r->request->generation;
}

/* --- lengths */

static bool read_max_tokens(struct api_reader *r, const json_t *v)
{
    int64_t n = 0;
    if (!api_read_int(r, v, 1, INT32_MAX, &n)) {
        return false;
    }
    const json_t *newer = api_member(r->root, "max_completion_tokens");
    if (newer != NULL && json_number_value(newer) != (double)n) {
        return api_warn(r, "has no effect: max_completion_tokens is given too");
    }
    generation(r)->max_tokens = (uint32_t)n;
    return true;
}

static bool read_truncation(struct api_reader *r, const json_t *v)
{
    static const char *const names[] = {"disabled", "auto", NULL};
    size_t i = 0;
    if (!api_read_choice(r, v, names, &i)) {
        return false;
    }
    generation(r)->truncation = i == 0 ? API_TRUNCATION_DISABLED : API_TRUNCATION_AUTO;
    return true;
}

static bool read_continue(struct api_reader *r, const json_t *v)
{
    bool wanted = false;
    return api_read_bool(r, v, &wanted) && (!wanted || api_fail_yet(r));
}

/* --- what the model writes */

static bool read_modalities(struct api_reader *r, const json_t *v)
{
    static const char *const names[] = {"text", "audio", NULL};
    if (!api_want_array(r, v, 1, 2)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(v); i++) {
        size_t kind = 0;
        size_t before = api_enter_index(r, i);
        if (!api_read_choice(r, json_array_get(v, i), names, &kind)) {
            return false;
        }
        if (kind == 1) {
            return api_fail(r, API_ERROR_UNSUPPORTED_VALUE,
                            "is 'audio': the model writes text alone");
        }
        api_leave(r, before);
    }
    return true;
}

/* --- logprobs */

static bool read_top_logprobs(struct api_reader *r, const json_t *v)
{
    int64_t n = 0;
    if (!api_read_int(r, v, 0, API_MAX_TOP_LOGPROBS, &n)) {
        return false;
    }
    generation(r)->top_logprobs = (uint32_t)n;
    return true;
}

/* --- what concerns the hosted product, not the answer */

static bool read_store(struct api_reader *r, const json_t *v)
{
    bool wanted = false;
    if (!api_read_bool(r, v, &wanted)) {
        return false;
    }
    return !wanted || api_fail(r, API_ERROR_UNSUPPORTED_VALUE,
                               "is true, but this server does not store answers");
}

static bool check_pair(struct api_reader *r, const char *key, const json_t *value)
{
    enum { KEY_CHARS = 64, VALUE_CHARS = 512 };
    struct str text = {0};
    size_t n_chars = 0;
    for (const char *c = key; *c != '\0'; c++) {
        n_chars += ((unsigned char)*c & 0xC0) != 0x80;
    }
    size_t before = api_enter_key(r, key);
    if (n_chars > KEY_CHARS) {
        return api_fail(r, API_ERROR_INVALID_VALUE, "is a key of %zu characters, at most %d",
                        n_chars, KEY_CHARS);
    }
    if (!api_view_text(r, value, VALUE_CHARS, &text)) {
        return false;
    }
    api_leave(r, before);
    return true;
}

/* Belongs to stored answers; there are none. */
static bool read_metadata(struct api_reader *r, const json_t *v)
{
    if (!api_want_object(r, v)) {
        return false;
    }
    if (json_object_size(v) > API_MAX_METADATA) {
        return api_fail(r, API_ERROR_INVALID_VALUE, "has %zu pairs, expected at most %d",
                        json_object_size(v), API_MAX_METADATA);
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)v, key, value)
    {
        if (!check_pair(r, key, value)) {
            return false;
        }
    }
    return json_object_size(v) == 0 || api_warn(r, "has no effect: answers are not stored");
}

static bool read_service_tier(struct api_reader *r, const json_t *v)
{
    static const char *const names[] = {"auto",     "default", "flex", "scale",
                                        "priority", "fast",    NULL};
    size_t i = 0;
    if (!api_read_choice(r, v, names, &i)) {
        return false;
    }
    generation(r)->tell_tier = true;
    return i < 2 || api_warn(r, "is answered as 'default': this server has one tier");
}

/* Elsewhere it leads to the machine that has the prefix; here there is one, and cache_salt keeps
 * prefixes apart. */
static bool read_cache_key(struct api_reader *r, const json_t *v)
{
    struct str text = {0};
    return api_view_text(r, v, API_MAX_USER_CHARS, &text) &&
           api_warn(r, "has no effect: every cached prefix is found without it");
}

static bool read_cache_options(struct api_reader *r, const json_t *v)
{
    static const char *const keys[] = {"mode", "ttl", NULL};
    static const char *const modes[] = {"implicit", "explicit", NULL};
    static const char *const times[] = {"30m", NULL};
    size_t i = 0, chosen = 0;
    if (!api_check_keys(r, v, keys)) {
        return false;
    }
    const json_t *mode = api_member(v, "mode");
    const json_t *ttl = api_member(v, "ttl");
    size_t before = api_enter_key(r, "mode");
    if (mode != NULL && !api_read_choice(r, mode, modes, &chosen)) {
        return false;
    }
    api_leave(r, before);
    api_enter_key(r, "ttl");
    if (ttl != NULL && !api_read_choice(r, ttl, times, &i)) {
        return false;
    }
    api_leave(r, before);
    return (chosen == 0 && ttl == NULL) ||
           api_warn(r, "has no effect: every prefix is cached until its room is needed");
}

static bool read_cache_retention(struct api_reader *r, const json_t *v)
{
    static const char *const names[] = {"in_memory", "24h", NULL};
    size_t i = 0;
    return api_read_choice(r, v, names, &i) &&
           (i == 0 || api_warn(r, "has no effect: prefixes are cached until room is needed"));
}

static bool read_reasoning_effort(struct api_reader *r, const json_t *v)
{
    static const char *const names[] = {"none", "minimal", "low", "medium",
                                        "high", "xhigh",   "max", NULL};
    size_t i = 0;
    return api_read_choice(r, v, names, &i) &&
           (i == 0 || api_warn(r, "has no effect: the model does not reason apart"));
}

static bool read_verbosity(struct api_reader *r, const json_t *v)
{
    static const char *const names[] = {"medium", "low", "high", NULL};
    size_t i = 0;
    return api_read_choice(r, v, names, &i) &&
           (i == 0 || api_warn(r, "has no effect: the model was not trained to follow it"));
}

/* A text that the answer will resemble: it would change speed and nothing else. */
static bool read_prediction(struct api_reader *r, const json_t *v)
{
    static const char *const keys[] = {"type", "content", NULL};
    static const char *const types[] = {"content", NULL};
    size_t i = 0;
    const json_t *content = NULL;
    struct str text = {0};
    if (!api_check_keys(r, v, keys) || !api_want_choice(r, v, "type", types, &i) ||
        !api_want_member(r, v, "content", &content)) {
        return false;
    }
    size_t before = api_enter_key(r, "content");
    if (!api_read_content(r, content, &text)) {
        return false;
    }
    api_leave(r, before);
    return api_warn(r, "has no effect: it could change the speed alone");
}

#define GENERATION(field) API_FIELD(generation.field)

static const struct api_parameter chat_items[] = {
    {"messages", API_KIND_CUSTOM, 0, 0, 0, api_read_messages},
    {"max_tokens", API_KIND_CUSTOM, 0, 0, 0, read_max_tokens},
    {"max_completion_tokens", API_KIND_UINT32, GENERATION(max_tokens), 1, INT32_MAX, NULL},
    {"logprobs", API_KIND_BOOL, GENERATION(logprobs), 0, 0, NULL},
    {"top_logprobs", API_KIND_CUSTOM, 0, 0, 0, read_top_logprobs},
    {"tools", API_KIND_CUSTOM, 0, 0, 0, api_read_tools},
    {"tool_choice", API_KIND_CUSTOM, 0, 0, 0, api_read_tool_choice},
    {"parallel_tool_calls", API_KIND_CUSTOM, 0, 0, 0, api_read_parallel},
    {"functions", API_KIND_CUSTOM, 0, 0, 0, api_read_functions},
    {"function_call", API_KIND_CUSTOM, 0, 0, 0, api_read_function_call},
    {"modalities", API_KIND_CUSTOM, 0, 0, 0, read_modalities},
    {"prediction", API_KIND_CUSTOM, 0, 0, 0, read_prediction},
    {"store", API_KIND_CUSTOM, 0, 0, 0, read_store},
    {"metadata", API_KIND_CUSTOM, 0, 0, 0, read_metadata},
    {"service_tier", API_KIND_CUSTOM, 0, 0, 0, read_service_tier},
    {"safety_identifier", API_KIND_CUSTOM, 0, 0, 0, api_read_safety_identifier},
    {"prompt_cache_key", API_KIND_CUSTOM, 0, 0, 0, read_cache_key},
    {"prompt_cache_options", API_KIND_CUSTOM, 0, 0, 0, read_cache_options},
    {"prompt_cache_retention", API_KIND_CUSTOM, 0, 0, 0, read_cache_retention},
    {"reasoning_effort", API_KIND_CUSTOM, 0, 0, 0, read_reasoning_effort},
    {"verbosity", API_KIND_CUSTOM, 0, 0, 0, read_verbosity},
    {"truncation", API_KIND_CUSTOM, 0, 0, 0, read_truncation},
    {"add_generation_prompt", API_KIND_BOOL, GENERATION(add_generation_prompt), 0, 0, NULL},
    {"continue_final_message", API_KIND_CUSTOM, 0, 0, 0, read_continue},
};
const struct api_table api_chat_table = API_TABLE(chat_items);

/* What a prompt is made of, and nothing that only an answer could follow. */
static const struct api_parameter template_items[] = {
    {"strict", API_KIND_BOOL, API_FIELD(strict), 0, 0, NULL},
    {"messages", API_KIND_CUSTOM, 0, 0, 0, api_read_messages},
    {"tools", API_KIND_CUSTOM, 0, 0, 0, api_read_tools},
    {"tool_choice", API_KIND_CUSTOM, 0, 0, 0, api_read_tool_choice},
    {"add_generation_prompt", API_KIND_BOOL, GENERATION(add_generation_prompt), 0, 0, NULL},
    {"continue_final_message", API_KIND_CUSTOM, 0, 0, 0, read_continue},
};
const struct api_table api_template_table = API_TABLE(template_items);

bool api_chat_check(struct api_reader *r)
{
    struct api_generation *g = generation(r);
    g->best_of = g->n;
    if (g->top_logprobs > 0 && !g->logprobs) {
        api_enter_key(r, "top_logprobs");
        return api_fail(r, API_ERROR_INVALID_VALUE, "is only allowed when logprobs is true");
    }
    return api_tools_check(r);
}
