/* api_stream.c - the events of a stream: "data: {...}\n\n", one line of JSON each. */
#include "serve/api_answer_internal.h"

static void begin_event(struct api_writer *w, const struct api_head *h, bool is_chat)
{
    api_write_raw(w, "data: ");
    api_write_head(w, h, is_chat ? "chat.completion.chunk" : "text_completion");
    api_write_raw(w, ",\"choices\":[");
}

static void begin_choice(struct api_writer *w, uint32_t index)
{
    api_write_raw(w, "{\"index\":");
    api_write_int(w, index);
}

static bool end_event(struct api_writer *w, const struct api_head *h, bool is_first,
                      const struct api_choice *c)
{
    api_write_raw(w, h->include_usage ? "}],\"usage\":null" : "}]");
    if (is_first) {
        api_write_reports(w, h);
    } else {
        api_write_warnings(w, c->warnings, c->n_warnings);
    }
    api_write_raw(w, "}\n\n");
    return api_writer_end(w);
}

bool api_chat_role_event(const struct api_head *h, uint32_t index, bool is_first, struct buf *out,
                         struct error *e)
{
    struct api_writer w;
    struct api_choice nothing = {.index = index};
    api_writer_init(&w, out, e);
    begin_event(&w, h, true);
    begin_choice(&w, index);
    api_write_raw(&w, ",\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}");
    api_write_choice_tail(&w, &nothing, true);
    return end_event(&w, h, is_first, &nothing);
}

bool api_chat_content_event(const struct api_head *h, const struct api_choice *c, struct buf *out,
                            struct error *e)
{
    struct api_writer w;
    struct api_choice part = *c;
    part.finish = API_FINISH_NONE;
    part.n_warnings = 0;
    api_writer_init(&w, out, e);
    begin_event(&w, h, true);
    begin_choice(&w, c->index);
    api_write_raw(&w, ",\"delta\":{\"content\":");
    api_write_text(&w, c->text);
    api_write_raw(&w, "}");
    api_write_choice_tail(&w, &part, true);
    return end_event(&w, h, false, &part);
}

bool api_chat_call_event(const struct api_head *h, const struct api_choice *c, size_t i,
                         const struct api_call *part, struct buf *out, struct error *e)
{
    struct api_writer w;
    struct api_choice rest = {.index = c->index,
                              .logprobs = c->logprobs,
                              .tokens = c->tokens,
                              .n_tokens = c->n_tokens,
                              .filter = c->filter};
    api_writer_init(&w, out, e);
    begin_event(&w, h, true);
    begin_choice(&w, c->index);
    if (c->is_function_form) {
        api_write_raw(&w, ",\"delta\":{\"function_call\":{");
        api_write_function(&w, part);
        api_write_raw(&w, "}}");
    } else {
        api_write_raw(&w, ",\"delta\":{\"tool_calls\":[{\"index\":");
        api_write_int(&w, (int64_t)i);
        if (part->id.p != NULL) {
            api_write_raw(&w, ",\"id\":");
            api_write_text(&w, part->id);
            api_write_raw(&w, ",\"type\":\"function\"");
        }
        api_write_raw(&w, ",\"function\":{");
        api_write_function(&w, part);
        api_write_raw(&w, "}}]}");
    }
    api_write_choice_tail(&w, &rest, true);
    return end_event(&w, h, false, &rest);
}

bool api_chat_finish_event(const struct api_head *h, const struct api_choice *c, struct buf *out,
                           struct error *e)
{
    struct api_writer w;
    struct api_choice end = {.index = c->index, .finish = c->finish, .filter = c->filter};
    api_writer_init(&w, out, e);
    begin_event(&w, h, true);
    begin_choice(&w, c->index);
    api_write_raw(&w, ",\"delta\":{}");
    api_write_choice_tail(&w, &end, true);
    return end_event(&w, h, false, c);
}

bool api_completion_event(const struct api_head *h, const struct api_choice *c, bool is_first,
                          struct buf *out, struct error *e)
{
    struct api_writer w;
    api_writer_init(&w, out, e);
    begin_event(&w, h, false);
    begin_choice(&w, c->index);
    api_write_raw(&w, ",\"text\":");
    api_write_text(&w, c->text);
    api_write_choice_tail(&w, c, false);
    return end_event(&w, h, is_first, c);
}

bool api_usage_event(const struct api_head *h, bool is_chat, const struct api_usage *usage,
                     struct buf *out, struct error *e)
{
    struct api_writer w;
    api_writer_init(&w, out, e);
    begin_event(&w, h, is_chat);
    api_write_raw(&w, "]");
    api_write_usage(&w, usage);
    api_write_raw(&w, "}\n\n");
    return api_writer_end(&w);
}

bool api_stream_error(const struct api_error *error, struct buf *out, struct error *e)
{
    size_t n_before = out->n;
    bool ok = buf_append(out, STR("data: "), e) && api_error_print(error, out, e) &&
              buf_append(out, STR("\n\n"), e);
    if (!ok) {
        out->n = n_before;
    }
    return ok;
}
