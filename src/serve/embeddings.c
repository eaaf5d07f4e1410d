/* embeddings.c - vectors to JSON, each when it is there: a thousand of them at once would hold up
 * the streams of others. */
#include "serve/embeddings.h"

#include "base/mem.h"
#include "serve/api_answer.h"
#include "serve/service_internal.h"

enum { MAX_OUT_BYTES = 160 << 20 }; /* EMBEDDINGS_MAX_NUMBERS, and what is round them */

struct embeddings {
    struct embeddings_list *list;
    struct embeddings *next, **link;
    struct http_exchange *x; /* NULL when it has ended, or the client has left */
    struct api_request request;
    struct generation *g;
    struct generation_taken taken;
    struct http_task task; /* outputs wait */
    uint32_t n_written;    /* inputs */
    uint64_t n_tokens;     /* of all inputs */
    float *vector;         /* (n_embd) in hand */
    struct buf out;
};

static void destroy(struct embeddings *a)
{
    generation_taken_finish(&a->taken, a->g);
    generation_destroy(a->g);
    api_request_finish(&a->request);
    mem_free(a->vector);
    buf_finish(&a->out);
    mem_free(a);
}

static void unlink_and_destroy(struct embeddings *a)
{
    *a->link = a->next;
    if (a->next != NULL) {
        a->next->link = a->link;
    }
    destroy(a);
}

static void stop_engine(struct embeddings *a)
{
    atomic_store(&a->g->cancelled, true);
    worker_wake(a->list->worker);
}

static void client_left(void *argument)
{
    struct embeddings *a = argument;
    a->x = NULL;
    stop_engine(a);
}

/* Vectors that are there, as far as none before them is missing; their numbers are let go. */
static bool write_vectors(struct embeddings *a, struct error *e)
{
    uint32_t n_embd = a->list->n_embd;
    for (; a->n_written < a->g->n_prompts; a->n_written++) {
        struct prompt_rows *rows = &a->g->prompt_rows[a->n_written];
        if (a->taken.outputs[a->n_written].end == CHOICE_RUNS) {
            return true;
        }
        prompt_rows_normalise(rows, n_embd, a->vector);
        if (!api_embeddings_add(a->n_written, a->vector, n_embd, a->request.embedding.base64,
                                &a->out, e)) {
            return false;
        }
        prompt_rows_finish(rows);
    }
    const struct api_head head = {.model = a->request.model,
                                  .warnings = a->request.warnings,
                                  .n_warnings = a->request.n_warnings};
    if (!api_embeddings_end(&head, a->n_tokens, &a->out, e)) {
        return false;
    }
    service_reply_json(a->x, &a->out);
    a->x = NULL;
    return true;
}

static void fail(struct embeddings *a, const struct error *why)
{
    struct api_error error = {0};
    api_error_from(&error, why, NULL);
    error.retry_s = a->g->retry_s;
    error.is_final = error.is_final || (why->code == ERROR_BUSY && a->g->retry_s == 0);
    http_reply_error(a->x, &error);
    a->x = NULL;
    stop_engine(a);
}

static void deliver(void *argument)
{
    struct embeddings *a = argument;
    struct error e = {0};
    generation_take(a->g, &a->taken, NULL); /* cannot fail: prepare() was the first time */
    bool ok = a->taken.error.code == ERROR_NONE;
    if (!ok) {
        e = a->taken.error;
    }
    ok = ok && (a->x == NULL || write_vectors(a, &e));
    if (a->x != NULL && ok && a->taken.done) {
        ok = error_set(&e, ERROR_INTERRUPTED, "the server is shutting down");
    }
    if (a->x != NULL && !ok) {
        fail(a, &e);
    }
    if (a->taken.done) {
        unlink_and_destroy(a);
    }
}

/* On the engine thread. */
static void outputs_wait(void *argument)
{
    struct embeddings *a = argument;
    http_server_post(a->list->server, &a->task);
}

/* No token is sampled: a choice ends with its prompt, and its vector is the prompt's. */
static void set_work(struct embeddings *a)
{
    struct generation *g = a->g;
    g->rules = (struct choice_rules){.max_tokens = 0};
    sampler_params_default(&g->sampling);
    g->rows = ENGINE_HIDDEN;
    g->priority = g->n_prompts > 1; /* who sends a thousand texts waits for no answer to read */
    g->only_last = a->request.embedding.pooling == API_POOLING_LAST;
    g->notify = outputs_wait;
    g->notify_argument = a;
    for (uint32_t i = 0; i < g->n_prompts; i++) {
        a->n_tokens += g->prompts[i].n;
    }
}

static bool prepare(struct embeddings *a, struct error *e)
{
    buf_init(&a->out, MAX_OUT_BYTES);
    a->task = (struct http_task){.run = deliver, .argument = a};
    a->vector = mem_alloc(a->list->n_embd, sizeof *a->vector, "vector of a text", e);
    set_work(a);
    return a->vector != NULL && api_embeddings_begin(&a->out, e) &&
           generation_take(a->g, &a->taken, e);
}

bool embeddings_begin(struct embeddings_list *list, struct http_exchange *x,
                      struct embeddings_job *job, struct error *e)
{
    struct embeddings *a = mem_alloc(1, sizeof *a, "answer", e);
    if (a == NULL) {
        api_request_finish(&job->request);
        generation_destroy(job->g);
        job->g = NULL;
        return false;
    }
    *a = (struct embeddings){.list = list, .x = x, .request = job->request, .g = job->g};
    job->request = (struct api_request){0};
    job->g = NULL;
    if (!prepare(a, e) || !worker_submit(list->worker, a->g, e)) {
        job->retry_s = a->g->retry_s;
        destroy(a);
        return false;
    }
    a->next = list->first;
    a->link = &list->first;
    if (a->next != NULL) {
        a->next->link = &a->next;
    }
    list->first = a;
    http_on_close(x, client_left, a);
    http_attach(x, a);
    return true;
}

uint64_t embeddings_n_tokens(const struct embeddings *a)
{
    return a->n_tokens;
}

void embeddings_end(struct embeddings_list *list)
{
    const struct error why = {ERROR_INTERRUPTED, "the server is shutting down"};
    for (struct embeddings *a = list->first; a != NULL; a = a->next) {
        if (a->x != NULL) {
            fail(a, &why);
        }
    }
}

void embeddings_finish(struct embeddings_list *list)
{
    while (list->first != NULL) {
        struct embeddings *a = list->first;
        http_server_unpost(list->server, &a->task);
        if (a->x != NULL) {
            http_on_close(a->x, NULL, NULL);
            http_attach(a->x, NULL);
        }
        unlink_and_destroy(a);
    }
}
