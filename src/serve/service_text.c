/* service_text.c - tokenize, detokenize, apply-template, as llama-server has them: no engine
 * needed. */
#include "serve/service_internal.h"

/* A request, and what it becomes. */
struct text_work {
    struct service_work work; /* first */
    const char *param;        /* what errors are about */
    struct token_list ids;
    struct jinja_output written;
    struct buf text, out;
};

static bool tokenize_pieces(const struct service *s, const struct api_tokenize *r,
                            struct token_list *out, struct error *e)
{
    unsigned special = r->parse_special ? TOKEN_PARSE_SPECIAL : 0;
    for (size_t i = 0; i < r->n_pieces; i++) {
        const struct api_prompt *piece = &r->pieces[i];
        unsigned place = i > 0 ? TOKEN_CONTINUE : r->add_special ? TOKEN_ADD_BOS : 0;
        if (!piece->is_ids &&
            !tokenizer_encode(s->answers.tokenizer, piece->text, special | place, out, e)) {
            return false;
        }
        for (size_t k = 0; piece->is_ids && k < piece->n_ids; k++) {
            if (!token_list_push(out, piece->ids[k], e)) {
                return false;
            }
        }
    }
    return true;
}

static struct api_head head_of(const struct text_work *t)
{
    return (struct api_head){.warnings = t->work.request.warnings,
                             .n_warnings = t->work.request.n_warnings};
}

/* Whether no byte was left out, or that could be said. */
static bool warn_dropped(struct text_work *t)
{
    return service_warn_dropped(&t->work.request, t->param, t->ids.n_dropped, &t->work.error);
}

static bool tokenize(struct text_work *t, struct error *e)
{
    const struct service *s = t->work.service;
    const struct api_tokenize *r = &t->work.request.tokenize;
    if (!tokenize_pieces(s, r, &t->ids, e) || !warn_dropped(t)) {
        return false;
    }
    struct api_head head = head_of(t);
    return api_tokenize_print(&head, r->with_pieces ? s->answers.tokenizer : NULL, t->ids.ids,
                              t->ids.n, &t->out, e);
}

static bool detokenize(struct text_work *t, struct error *e)
{
    const struct api_detokenize *r = &t->work.request.detokenize;
    bool ok =
        tokenizer_decode(t->work.service->answers.tokenizer, r->ids, r->n_ids, true, &t->text, e) &&
        api_detokenize_print(buf_str(&t->text), &t->out, e);
    t->out.is_full = t->out.is_full || t->text.is_full;
    return ok;
}

static bool apply_template(struct text_work *t, struct error *e)
{
    const struct service *s = t->work.service;
    if (!service_write(s, &t->work.request.generation, 0, 0, &t->written, e) ||
        !chat_template_encode(s->chat, &t->written, &t->ids, e) || !warn_dropped(t)) {
        return false;
    }
    struct api_head head = head_of(t);
    return api_apply_template_print(&head, buf_str(&t->written.text), t->ids.ids, t->ids.n, &t->out,
                                    e);
}

static bool make_text(struct service_work *w, const char *param,
                      bool (*make)(struct text_work *t, struct error *e))
{
    struct text_work *t = (struct text_work *)w;
    struct error e = {0};
    t->param = param;
    buf_init(&t->text, w->service->limits.answer_bytes);
    buf_init(&t->out, w->service->limits.answer_bytes);
    bool ok = make(t, &e) && !t->out.is_full;
    if (t->out.is_full) {
        api_error_set(&w->error, API_ERROR_INVALID_VALUE, param,
                      "the answer takes more than %zu bytes, the most that one may", t->out.max);
    } else if (!ok && e.code != ERROR_NONE) {
        api_error_from(&w->error, &e, param);
    }
    return ok;
}

static bool make_tokens(struct service_work *w)
{
    return make_text(w, "content", tokenize);
}

static bool make_text_of_tokens(struct service_work *w)
{
    return make_text(w, "tokens", detokenize);
}

static bool make_chat_text(struct service_work *w)
{
    return make_text(w, "messages", apply_template);
}

static bool answer_text(struct service_work *w, struct http_exchange *x)
{
    service_reply_json(x, &((struct text_work *)w)->out);
    return true;
}

static void finish_text(struct service_work *w)
{
    struct text_work *t = (struct text_work *)w;
    buf_finish(&t->out);
    buf_finish(&t->text);
    jinja_output_finish(&t->written);
    token_list_finish(&t->ids);
}

#define TEXT                                                                                       \
    .bytes = sizeof(struct text_work), .names_no_model = true, .begin = answer_text,               \
    .finish = finish_text

void service_tokenize(void *service, struct http_exchange *x, struct str parameter)
{
    static const struct service_kind kind = {TEXT, .endpoint = API_TOKENIZE, .make = make_tokens};
    (void)parameter;
    service_begin_work(service, x, &kind);
}

void service_detokenize(void *service, struct http_exchange *x, struct str parameter)
{
    static const struct service_kind kind = {TEXT, .endpoint = API_DETOKENIZE,
                                             .make = make_text_of_tokens};
    (void)parameter;
    service_begin_work(service, x, &kind);
}

void service_apply_template(void *service, struct http_exchange *x, struct str parameter)
{
    static const struct service_kind kind = {TEXT, .endpoint = API_APPLY_TEMPLATE,
                                             .make = make_chat_text};
    (void)parameter;
    service_begin_work(service, x, &kind);
}
