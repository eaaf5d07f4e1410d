/* service_text.c - tokenize, detokenize, apply-template, as llama-server has them: no engine
 * needed. */
#include "serve/service_internal.h"

/* Ends the exchange with out, or with the error. */
static void reply(struct http_exchange *x, bool ok, const struct buf *out,
                  const struct api_error *error)
{
    struct api_error too_long;
    if (out->is_full) {
        api_error_set(&too_long, API_ERROR_INVALID_VALUE, error->param,
                      "the answer takes more than %zu bytes, the most that one may", out->max);
        error = &too_long;
    }
    if (ok) {
        service_reply_json(x, out);
    } else {
        http_reply_error(x, error);
    }
}

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

/* The model need not be named, but a name must be one of its names. */
static bool parse(const struct service *s, enum api_endpoint endpoint,
                  const struct http_exchange *x, struct api_request *out, struct api_error *error)
{
    return api_request_parse(endpoint, http_body(x), &s->api, out, error) &&
           service_allow_model(s, x, out->model, error) &&
           (out->model.n == 0 || service_check_model(s, x, out->model, error));
}

void service_tokenize(void *service, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    const struct service *s = service;
    struct api_request request = {0};
    struct api_error error = {0};
    struct error e = {0};
    struct token_list ids = {0};
    struct buf out;
    if (!service_check_ready(s, x)) {
        return;
    }
    buf_init(&out, s->limits.answer_bytes);
    bool ok = parse(s, API_TOKENIZE, x, &request, &error);
    if (ok && !tokenize_pieces(s, &request.tokenize, &ids, &e)) {
        ok = api_error_from(&error, &e, "content");
    }
    ok = ok && service_warn_dropped(&request, "content", ids.n_dropped, &error);
    struct api_head head = {.warnings = request.warnings, .n_warnings = request.n_warnings};
    const struct tokenizer *t = request.tokenize.with_pieces ? s->answers.tokenizer : NULL;
    if (ok && !api_tokenize_print(&head, t, ids.ids, ids.n, &out, &e)) {
        ok = api_error_from(&error, &e, "content");
    }
    reply(x, ok, &out, &error);
    buf_finish(&out);
    token_list_finish(&ids);
    api_request_finish(&request);
}

void service_detokenize(void *service, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    const struct service *s = service;
    struct api_request request = {0};
    struct api_error error = {0};
    struct error e = {0};
    struct buf text, out;
    if (!service_check_ready(s, x)) {
        return;
    }
    buf_init(&text, s->limits.answer_bytes);
    buf_init(&out, s->limits.answer_bytes);
    bool ok = parse(s, API_DETOKENIZE, x, &request, &error);
    if (ok && (!tokenizer_decode(s->answers.tokenizer, request.detokenize.ids,
                                 request.detokenize.n_ids, true, &text, &e) ||
               !api_detokenize_print(buf_str(&text), &out, &e))) {
        ok = api_error_from(&error, &e, "tokens");
    }
    out.is_full = out.is_full || text.is_full;
    reply(x, ok, &out, &error);
    buf_finish(&out);
    buf_finish(&text);
    api_request_finish(&request);
}

void service_apply_template(void *service, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    const struct service *s = service;
    struct api_request request = {0};
    struct api_error error = {0};
    struct error e = {0};
    struct token_list ids = {0};
    struct jinja_output text = {0};
    struct buf out;
    if (!service_check_ready(s, x)) {
        return;
    }
    buf_init(&out, s->limits.answer_bytes);
    bool ok = parse(s, API_APPLY_TEMPLATE, x, &request, &error);
    if (ok && (!service_write(s, &request.generation, 0, 0, &text, &e) ||
               !chat_template_encode(s->chat, &text, &ids, &e))) {
        ok = api_error_from(&error, &e, "messages");
    }
    ok = ok && service_warn_dropped(&request, "messages", ids.n_dropped, &error);
    struct api_head head = {.warnings = request.warnings, .n_warnings = request.n_warnings};
    if (ok && !api_apply_template_print(&head, buf_str(&text.text), ids.ids, ids.n, &out, &e)) {
        ok = api_error_from(&error, &e, "messages");
    }
    reply(x, ok, &out, &error);
    buf_finish(&out);
    jinja_output_finish(&text);
    token_list_finish(&ids);
    api_request_finish(&request);
}
