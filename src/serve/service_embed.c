/* service_embed.c - embeddings: from the body of a request to work for the engine. */
#include "serve/service_internal.h"

#include <stdio.h>

/* A text is text, whatever it says: names of control tokens in it are not read as such. The tokens
 * round it are those that the file asks for. */
static bool make_input(const struct service *s, const struct api_prompt *given,
                       struct token_list *out, struct error *e)
{
    if (!given->is_ids) {
        return tokenizer_encode(s->answers.tokenizer, given->text, TOKEN_ADD_BOS | TOKEN_ADD_EOS,
                                out, e) &&
               (out->n > 0 || error_set(e, ERROR_USAGE, "the text has no tokens"));
    }
    for (size_t k = 0; k < given->n_ids; k++) {
        if (!token_list_push(out, given->ids[k], e)) {
            return false;
        }
    }
    return true;
}

static bool make_inputs(const struct service *s, const struct api_embedding *r,
                        struct generation *g, struct api_error *error)
{
    for (uint32_t i = 0; i < g->n_prompts; i++) {
        char param[32] = "input";
        struct error e = {0};
        if (r->n_inputs > 1) {
            snprintf(param, sizeof param, "input[%u]", i);
        }
        const struct api_prompt *given = &r->inputs[i];
        size_t least =
            given->is_ids ? 0 : tokenizer_least_tokens(s->answers.tokenizer, given->text);
        if (least > s->n_ctx) {
            return api_error_context_least(error, param, s->n_ctx, least);
        }
        if (!make_input(s, given, &g->prompts[i], &e)) {
            return api_error_from(error, &e, param);
        }
        if (g->prompts[i].n > s->n_ctx) {
            return api_error_context(error, param, s->n_ctx, g->prompts[i].n, 0);
        }
    }
    return true;
}

uint32_t service_max_inputs(const struct service *s)
{
    uint32_t most = EMBEDDINGS_MAX_NUMBERS / s->embeddings.n_embd;
    return most < API_MAX_INPUTS ? most : API_MAX_INPUTS;
}

static bool check_size(const struct service *s, const struct api_embedding *r,
                       struct api_error *error)
{
    uint32_t most = service_max_inputs(s);
    return r->n_inputs <= most ||
           api_error_set(error, API_ERROR_INVALID_VALUE, "input",
                         "input has %zu elements, at most %u are allowed of a model whose "
                         "embeddings have %u numbers",
                         r->n_inputs, most, s->embeddings.n_embd);
}

static bool warn_dropped(struct embeddings_job *job, struct api_error *error)
{
    size_t n = 0;
    for (uint32_t i = 0; i < job->g->n_prompts; i++) {
        n += job->g->prompts[i].n_dropped;
    }
    return service_warn_dropped(&job->request, "input", n, error);
}

static bool make_job(const struct service *s, const struct http_exchange *x,
                     struct embeddings_job *job, struct api_error *error)
{
    const struct api_embedding *r = &job->request.embedding;
    struct error e = {0};
    if (!service_check_model(s, x, job->request.model, error) || !check_size(s, r, error)) {
        return false;
    }
    job->g = generation_create((uint32_t)r->n_inputs, 1, &e);
    if (job->g == NULL) {
        return api_error_from(error, &e, NULL);
    }
    job->g->patience_s = service_patience_of(x);
    return make_inputs(s, r, job->g, error) && warn_dropped(job, error);
}

void service_embeddings(void *service, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    struct service *s = service;
    struct embeddings_job job = {0};
    struct api_error error = {0};
    struct error e = {0};
    char id[API_ID_BYTES];
    if (!service_check_ready(s, x)) {
        return;
    }
    bool ok = api_request_parse(API_EMBEDDING, http_body(x), &s->api, &job.request, &error) &&
              service_allow_model(s, x, job.request.model, &error) &&
              make_job(s, x, &job, &error) && service_reserve_inputs(x, job.g, &error) &&
              service_begin_row(s, x, API_EMBEDDING, id, &job.entry, &error);
    if (ok && !embeddings_begin(&s->embeddings, x, &job, &e)) {
        ok = api_error_from(&error, &e, NULL);
        error.retry_s = job.retry_s;
    }
    if (!ok) {
        generation_destroy(job.g);
        api_request_finish(&job.request);
        http_reply_error(x, &error);
    }
}
