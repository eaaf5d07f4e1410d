/* api_answer.c - whole answers, and the parts that events have too. */
#include "serve/api_answer_internal.h"

/* --- parts */

void api_write_head(struct api_writer *w, const struct api_head *h, const char *object)
{
    api_write_raw(w, "{\"id\":");
    api_write_text(w, h->id);
    api_write_raw(w, ",\"object\":\"");
    api_write_raw(w, object);
    api_write_raw(w, "\",\"created\":");
    api_write_int(w, h->created_s);
    api_write_raw(w, ",\"model\":");
    api_write_text(w, h->model);
    api_write_raw(w, ",\"system_fingerprint\":");
    api_write_text(w, h->fingerprint);
    if (h->tell_tier) {
        api_write_raw(w, ",\"service_tier\":\"default\"");
    }
}

static void write_member(struct api_writer *w, const char *name, uint64_t value)
{
    api_write_raw(w, name);
    api_write_int(w, (int64_t)value);
}

void api_write_warnings(struct api_writer *w, const struct api_warning *warnings, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        api_write_raw(w, i == 0 ? ",\"warnings\":[" : ",");
        api_write_raw(w, "{\"param\":");
        api_write_text(w, warnings[i].param);
        api_write_raw(w, ",\"message\":");
        api_write_text(w, warnings[i].message);
        api_write_raw(w, i + 1 == n ? "}]" : "}");
    }
}

void api_write_reports(struct api_writer *w, const struct api_head *h)
{
    api_write_warnings(w, h->warnings, h->n_warnings);
    if (h->truncated != NULL) {
        write_member(w, ",\"truncation\":{\"dropped_messages\":", h->truncated->n_messages);
        write_member(w, ",\"dropped_tokens\":", h->truncated->n_tokens);
        write_member(w, ",\"first_dropped_message\":", h->truncated->first);
        api_write_raw(w, "}");
    }
}

void api_write_usage(struct api_writer *w, const struct api_usage *u)
{
    write_member(w, ",\"usage\":{\"prompt_tokens\":", u->prompt_tokens);
    write_member(w, ",\"completion_tokens\":", u->completion_tokens);
    write_member(w, ",\"total_tokens\":", u->prompt_tokens + u->completion_tokens);
    write_member(w, ",\"prompt_tokens_details\":{\"cached_tokens\":", u->cached_tokens);
    write_member(w, ",\"audio_tokens\":0,\"image_tokens\":0,\"text_tokens\":", u->prompt_tokens);
    write_member(w, ",\"neutralized_tokens\":", u->neutralised_tokens);
    write_member(w, "},\"completion_tokens_details\":{\"text_tokens\":", u->completion_tokens);
    api_write_raw(w, ",\"reasoning_tokens\":0,\"audio_tokens\":0,"
                     "\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}");
    if (u->miss_reason.p != NULL) {
        write_member(w, ",\"cache\":{\"hit_tokens\":", u->cached_tokens);
        api_write_raw(w, ",\"miss_reason\":");
        api_write_text(w, u->miss_reason);
        api_write_raw(w, "}");
    }
    api_write_raw(w, "}");
}

void api_write_function(struct api_writer *w, const struct api_call *call)
{
    if (call->id.p != NULL) {
        api_write_raw(w, "\"name\":");
        api_write_text(w, call->name);
        api_write_raw(w, ",");
    }
    api_write_raw(w, "\"arguments\":");
    api_write_text(w, call->arguments);
}

/* --- whole answers */

static void write_calls(struct api_writer *w, const struct api_choice *c)
{
    if (c->is_function_form) {
        api_write_raw(w, ",\"function_call\":{");
        api_write_function(w, &c->calls[0]);
        api_write_raw(w, "}");
        return;
    }
    for (size_t i = 0; i < c->n_calls; i++) {
        api_write_raw(w, i == 0 ? ",\"tool_calls\":[{\"id\":" : ",{\"id\":");
        api_write_text(w, c->calls[i].id);
        api_write_raw(w, ",\"type\":\"function\",\"function\":{");
        api_write_function(w, &c->calls[i]);
        api_write_raw(w, "}}");
    }
    api_write_raw(w, "]");
}

static void write_chat_choice(struct api_writer *w, const struct api_choice *c)
{
    write_member(w, "{\"index\":", c->index);
    api_write_raw(w, ",\"message\":{\"role\":\"assistant\",\"content\":");
    if (c->n_calls > 0 && c->text.n == 0) {
        api_write_raw(w, "null");
    } else {
        api_write_text(w, c->text);
    }
    api_write_raw(w, ",\"refusal\":null");
    if (c->n_calls > 0) {
        write_calls(w, c);
    }
    api_write_raw(w, "}");
    api_write_choice_tail(w, c, true);
    api_write_raw(w, "}");
}

static void write_completion_choice(struct api_writer *w, const struct api_choice *c)
{
    write_member(w, "{\"index\":", c->index);
    api_write_raw(w, ",\"text\":");
    api_write_text(w, c->text);
    api_write_choice_tail(w, c, false);
    api_write_raw(w, "}");
}

bool api_chat_print(const struct api_head *h, const struct api_choice *choices, size_t n_choices,
                    const struct api_usage *usage, struct buf *out, struct error *e)
{
    struct api_writer w;
    api_writer_init(&w, out, e);
    api_write_head(&w, h, "chat.completion");
    api_write_raw(&w, ",\"choices\":[");
    for (size_t i = 0; i < n_choices; i++) {
        api_write_raw(&w, i > 0 ? "," : "");
        write_chat_choice(&w, &choices[i]);
    }
    api_write_raw(&w, "]");
    api_write_usage(&w, usage);
    api_write_reports(&w, h);
    api_write_raw(&w, "}");
    return api_writer_end(&w);
}

bool api_completion_print(const struct api_head *h, const struct api_choice *choices,
                          size_t n_choices, const struct api_usage *usage, struct buf *out,
                          struct error *e)
{
    struct api_writer w;
    api_writer_init(&w, out, e);
    api_write_head(&w, h, "text_completion");
    api_write_raw(&w, ",\"choices\":[");
    for (size_t i = 0; i < n_choices; i++) {
        api_write_raw(&w, i > 0 ? "," : "");
        write_completion_choice(&w, &choices[i]);
    }
    api_write_raw(&w, "]");
    api_write_usage(&w, usage);
    api_write_reports(&w, h);
    api_write_raw(&w, "}");
    return api_writer_end(&w);
}
