/* service_capabilities.c - /capabilities: what this server offers, and what it does not. */
#include "serve/api_write.h"
#include "serve/service_internal.h"

enum { MAX_JSON_BYTES = 1 << 20 };

static void write_names(struct api_writer *w, const struct service *s,
                        const struct http_exchange *x)
{
    struct str names[SERVICE_MAX_NAMES];
    size_t n = service_list_names(s, x, names);
    api_write_raw(w, "\"models\":[");
    for (size_t i = 0; i < n; i++) {
        api_write_raw(w, i > 0 ? "," : "");
        api_write_text(w, names[i]);
    }
    api_write_raw(w, "]");
}

/* Every parameter that is taken; those that are always refused are not among them. */
static void write_parameters(struct api_writer *w, const char *address, enum api_endpoint endpoint)
{
    api_write_text(w, str_from(address));
    api_write_raw(w, ":[");
    const char *name;
    for (size_t i = 0; (name = api_parameter_name(endpoint, i)) != NULL; i++) {
        api_write_raw(w, i > 0 ? "," : "");
        api_write_text(w, str_from(name));
    }
    api_write_raw(w, "]");
}

/* Who judges what; null: nobody does, whatever the results in answers look like. */
static void write_judges(struct api_writer *w, const struct guard *g)
{
    api_write_raw(w, "\"content_filter\":{");
    for (int i = 0; i < GUARD_CATEGORY_COUNT; i++) {
        enum guard_category category = (enum guard_category)i;
        api_write_raw(w, i > 0 ? "," : "");
        api_write_text(w, str_from(guard_category_name(category)));
        api_write_raw(w, ":");
        api_write_text_or_null(w, g != NULL ? guard_judge_name(g, category) : NULL);
    }
    api_write_raw(w, "},");
}

static void write_limits(struct api_writer *w, const struct service *s)
{
    uint32_t most = s->api.limits.tokens;
    const struct {
        const char *name;
        int64_t value;
    } limits[] = {
        {"context_length", s->n_ctx},
        {"max_tokens", most < s->n_ctx ? most : s->n_ctx},
        {"n", s->api.limits.n},
        {"prompts", s->api.max_prompts},
        {"messages", s->api.limits.messages},
        {"tools", API_MAX_TOOLS},
        {"tool_calls", API_MAX_CALLS},
        {"stop", s->api.limits.stops},
        {"stop_bytes", API_MAX_STOP_BYTES},
        {"logit_bias", s->api.limits.logit_bias},
        {"top_logprobs", API_MAX_TOP_LOGPROBS},
        {"logprobs", API_MAX_LOGPROBS},
        {"inputs", service_max_inputs(s)},
        {"dimensions", s->api.n_embd},
        {"body_bytes", (int64_t)s->limits.body_bytes},
        {"answer_bytes", (int64_t)s->limits.answer_bytes},
        {"json_depth", s->api.limits.depth},
        {"json_objects", s->api.limits.containers},
        {"json_values", s->api.limits.values},
        {"schema_values", s->api.limits.schema_values},
        {"schema_bytes", s->api.limits.schema_bytes},
    };
    api_write_raw(w, "\"limits\":{");
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        api_write_raw(w, i > 0 ? "," : "");
        api_write_text(w, str_from(limits[i].name));
        api_write_raw(w, ":");
        api_write_int(w, limits[i].value);
    }
    api_write_raw(w, "}");
}

void service_capabilities(void *service, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    const struct service *s = service;
    struct error e = {0};
    struct api_writer w;
    struct buf body;
    if (!service_check_ready(s, x)) {
        return;
    }
    buf_init(&body, MAX_JSON_BYTES);
    api_writer_init(&w, &body, &e);
    api_write_raw(&w, "{\"object\":\"capabilities\",");
    write_names(&w, s, x);
    api_write_raw(&w, ",\"system_fingerprint\":");
    api_write_text(&w, s->answers.fingerprint);
    api_write_raw(&w, ",\"chat\":");
    api_write_bool(&w, s->chat != NULL);
    api_write_raw(&w, ",\"tools\":");
    api_write_bool(&w, s->chat != NULL && s->answers.tool_format != TOOL_FORMAT_NONE &&
                           (s->chat->support.tools || s->chat->support.system));
    api_write_raw(&w, ",\"tool_format\":");
    api_write_text(&w, str_from(tool_format_name(s->answers.tool_format)));
    api_write_raw(&w, ",\"streaming\":true,\"structured_output\":true,"
                      "\"embeddings\":true,\"images\":false,\"audio\":false,");
    write_judges(&w, s->answers.guard);
    write_limits(&w, s);
    api_write_raw(&w, ",\"parameters\":{");
    write_parameters(&w, "chat/completions", API_CHAT);
    api_write_raw(&w, ",");
    write_parameters(&w, "completions", API_COMPLETION);
    api_write_raw(&w, ",");
    write_parameters(&w, "embeddings", API_EMBEDDING);
    api_write_raw(&w, "}}");
    if (api_writer_end(&w)) {
        service_reply_json(x, &body);
    } else {
        http_reply_failure(x, &e);
    }
    buf_finish(&body);
}
