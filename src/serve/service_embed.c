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
        char param[SERVICE_ENTRY_BYTES];
        struct error e = {0};
        service_name_entry(param, "input", i, r->n_inputs);
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

static bool make_job(const struct service *s, struct embeddings_job *job, struct api_error *error)
{
    const struct api_embedding *r = &job->request.embedding;
    struct error e = {0};
    if (!check_size(s, r, error)) {
        return false;
    }
    job->g = generation_create((uint32_t)r->n_inputs, 1, &e);
    if (job->g == NULL) {
        return api_error_from(error, &e, NULL);
    }
    return make_inputs(s, r, job->g, error) && warn_dropped(job, error);
}

/* A request on its way to the engine. */
struct embeddings_work {
    struct service_work work; /* first */
    struct embeddings_job job;
};

static bool make_embeddings(struct service_work *w)
{
    struct embeddings_job *job = &((struct embeddings_work *)w)->job;
    job->request = w->request;
    w->request = (struct api_request){0};
    return make_job(w->service, job, &w->error);
}

static bool begin_embeddings(struct service_work *w, struct http_exchange *x)
{
    struct service *s = w->service;
    struct embeddings_job *job = &((struct embeddings_work *)w)->job;
    struct error e = {0};
    char id[API_ID_BYTES];
    job->g->patience_s = service_patience_of(x);
    job->g->arrived_ns = w->start_ns;
    if (!service_reserve_inputs(x, job->g, &w->error) ||
        !service_begin_row(s, x, API_EMBEDDING, id, &job->entry, &w->error)) {
        return false;
    }
    bool ok = embeddings_begin(&s->embeddings, x, job, &e) || api_error_from(&w->error, &e, NULL);
    w->error.retry_s = job->retry_s;
    return ok;
}

static void finish_embeddings(struct service_work *w)
{
    struct embeddings_job *job = &((struct embeddings_work *)w)->job;
    generation_destroy(job->g);
    api_request_finish(&job->request);
}

void service_embeddings(void *service, struct http_exchange *x, struct str parameter)
{
    static const struct service_kind kind = {.endpoint = API_EMBEDDING,
                                             .bytes = sizeof(struct embeddings_work),
                                             .make = make_embeddings,
                                             .begin = begin_embeddings,
                                             .finish = finish_embeddings};
    (void)parameter;
    service_begin_work(service, x, &kind);
}
