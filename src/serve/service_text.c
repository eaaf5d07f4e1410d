/* service_text.c - tokenize, detokenize, apply-template, as llama-server has them: no engine
 * needed. */
#include "base/mem.h"
#include "serve/service_internal.h"

/* A request, and what becomes of it. */
struct made_text {
    struct service *service;
    struct background_job background;
    bool (*make)(struct made_text *made, struct error *e); /* fills in `out` */
    const char *param;                                     /* what errors are about */
    struct api_request request;
    struct token_list ids;
    struct jinja_output written;
    struct buf text, out;
    struct api_error error;
    bool ok;
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

static struct api_head head_of(const struct made_text *made)
{
    return (struct api_head){.warnings = made->request.warnings,
                             .n_warnings = made->request.n_warnings};
}

/* Whether no byte was left out, or that could be said. */
static bool warn_dropped(struct made_text *made)
{
    return service_warn_dropped(&made->request, made->param, made->ids.n_dropped, &made->error);
}

static bool tokenize(struct made_text *made, struct error *e)
{
    const struct tokenizer *t = made->service->answers.tokenizer;
    const struct api_tokenize *r = &made->request.tokenize;
    if (!tokenize_pieces(made->service, r, &made->ids, e) || !warn_dropped(made)) {
        return false;
    }
    struct api_head head = head_of(made);
    return api_tokenize_print(&head, r->with_pieces ? t : NULL, made->ids.ids, made->ids.n,
                              &made->out, e);
}

static bool detokenize(struct made_text *made, struct error *e)
{
    const struct api_detokenize *r = &made->request.detokenize;
    bool ok = tokenizer_decode(made->service->answers.tokenizer, r->ids, r->n_ids, true,
                               &made->text, e) &&
              api_detokenize_print(buf_str(&made->text), &made->out, e);
    made->out.is_full = made->out.is_full || made->text.is_full;
    return ok;
}

static bool apply_template(struct made_text *made, struct error *e)
{
    const struct service *s = made->service;
    if (!service_write(s, &made->request.generation, 0, 0, &made->written, e) ||
        !chat_template_encode(s->chat, &made->written, &made->ids, e) || !warn_dropped(made)) {
        return false;
    }
    struct api_head head = head_of(made);
    return api_apply_template_print(&head, buf_str(&made->written.text), made->ids.ids, made->ids.n,
                                    &made->out, e);
}

static void make_text(void *argument)
{
    struct made_text *made = argument;
    struct error e = {0};
    made->ok = made->make(made, &e) && !made->out.is_full;
    if (made->out.is_full) {
        api_error_set(&made->error, API_ERROR_INVALID_VALUE, made->param,
                      "the answer takes more than %zu bytes, the most that one may", made->out.max);
    } else if (!made->ok && e.code != ERROR_NONE) {
        api_error_from(&made->error, &e, made->param);
    }
}

/* x NULL: the client has left meanwhile. */
static void text_made(void *argument, struct http_exchange *x)
{
    struct made_text *made = argument;
    if (x != NULL && made->ok) {
        service_reply_json(x, &made->out);
    } else if (x != NULL) {
        http_reply_error(x, &made->error);
    }
    buf_finish(&made->out);
    buf_finish(&made->text);
    jinja_output_finish(&made->written);
    token_list_finish(&made->ids);
    api_request_finish(&made->request);
    mem_free(made);
}

/* The model need not be named, but a name must be one of its names. */
static void answer(struct service *s, struct http_exchange *x, enum api_endpoint endpoint,
                   bool (*make)(struct made_text *made, struct error *e), const char *param)
{
    struct error e = {0};
    if (!service_check_ready(s, x)) {
        return;
    }
    struct made_text *made = mem_alloc(1, sizeof *made, "request", &e);
    if (made == NULL) {
        http_reply_failure(x, &e);
        return;
    }
    struct api_request *request = &made->request;
    *made =
        (struct made_text){.service = s,
                           .background = {.work = make_text, .done = text_made, .argument = made},
                           .make = make,
                           .param = param};
    buf_init(&made->text, s->limits.answer_bytes);
    buf_init(&made->out, s->limits.answer_bytes);
    if (!api_request_parse(endpoint, http_body(x), &s->api, request, &made->error) ||
        !service_allow_model(s, x, request->model, &made->error) ||
        (request->model.n > 0 && !service_check_model(s, x, request->model, &made->error))) {
        text_made(made, x);
        return;
    }
    service_make(s, x, &made->background);
}

void service_tokenize(void *service, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    answer(service, x, API_TOKENIZE, tokenize, "content");
}

void service_detokenize(void *service, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    answer(service, x, API_DETOKENIZE, detokenize, "tokens");
}

void service_apply_template(void *service, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    answer(service, x, API_APPLY_TEMPLATE, apply_template, "messages");
}
