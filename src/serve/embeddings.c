/* embeddings.c - keeps vectors as numbers until all are there, and writes them as JSON as fast as
 * the client reads: the text is four times as long, and a thousand vectors at once would hold up
 * the streams of others. */
#include "serve/embeddings.h"

#include "base/mem.h"
#include "serve/api_answer.h"
#include "serve/estimate.h"
#include "serve/service_internal.h"

#include <assert.h>

enum {
    UNREAD_BYTES = 64 << 10, /* as text in memory, of an answer, but for the vector in hand */
    MAX_NUMBER_BYTES = 20,   /* of a number in JSON */
    MAX_ESCAPED = 6,         /* of a byte of the model's name and of warnings */
    MAX_AROUND_BYTES = 1000, /* what is round a vector but for those */
    MAX_AROUND_WARNING = 40
};

struct embeddings {
    struct embeddings_list *list;
    struct embeddings *next, **link;
    struct http_exchange *x; /* NULL when it has ended, or the client has left */
    struct api_request request;
    struct generation *g;
    struct generation_taken taken;
    struct http_task task; /* outputs wait */
    struct bill bill;
    uint32_t n_done;    /* inputs whose vectors are there, as far as none before is missing */
    uint32_t n_written; /* inputs */
    bool is_open;       /* the head of the answer is written */
    uint64_t n_tokens;  /* of all inputs */
    float *vectors;     /* (inputs, n_embd) */
    uint64_t n_numbers; /* of vectors, counted in the list's */
};

static void destroy(struct embeddings *a)
{
    a->list->n_numbers -= a->n_numbers;
    generation_taken_finish(&a->taken, a->g);
    generation_destroy(a->g);
    api_request_finish(&a->request);
    mem_free(a->vectors);
    mem_free(a);
}

uint64_t embeddings_n_tokens(const struct embeddings *a)
{
    return a->n_tokens;
}

static struct bill_sums sums_of(const struct embeddings *a)
{
    struct bill_sums sums = {0};
    for (uint32_t i = 0; i < a->g->n_prompts; i++) {
        sums.n_prompt += a->taken.outputs[i].began ? a->g->prompts[i].n : 0;
    }
    return sums;
}

void embeddings_dismiss(struct embeddings *a, struct auth_caller *caller)
{
    struct bill_sums sums = sums_of(a);
    bill_dismiss(&a->bill, caller, &sums, !a->taken.done && a->n_done < a->g->n_prompts);
}

/* When client, engine and ledger have let go of it. */
static void release(struct embeddings *a)
{
    if (a->x != NULL || !a->taken.done || a->bill.is_settling) {
        return;
    }
    struct bill_sums sums = sums_of(a);
    bill_close(&a->bill, &sums, a->taken.outputs[0].began);
    *a->link = a->next;
    if (a->next != NULL) {
        a->next->link = a->link;
    }
    http_server_unpost(a->list->server, &a->task); /* it may still be posted */
    destroy(a);
}

/* What the engine has done until now is taken, as its tokens are asked for when the exchange
 * ends. */
static void stop_engine(struct embeddings *a)
{
    if (!a->taken.done) {
        generation_take(a->g, &a->taken, NULL);
    }
    atomic_store(&a->g->cancelled, true);
    worker_wake(a->list->worker);
}

/* The exchange, whose end is told behind this, looks at a: so it goes by a task if nothing else
 * will take it along. */
static void client_left(void *argument)
{
    struct embeddings *a = argument;
    a->x = NULL;
    bill_leave(&a->bill);
    stop_engine(a);
    if (a->taken.done) {
        http_server_post(a->list->server, &a->task);
    }
}

/* ---- writing ---- */

/* Appends what comes next of the answer. Nothing of it fails: there is room, and who asked for
 * hidden states has none that is no number. */
static bool print_next(struct embeddings *a, struct buf *out)
{
    uint32_t n_embd = a->list->n_embd, i = a->n_written++;
    const struct api_head head = {.model = a->request.model,
                                  .warnings = a->request.warnings,
                                  .n_warnings = a->request.n_warnings};
    return (i > 0 || api_embeddings_begin(out, NULL)) &&
           api_embeddings_add(i, a->vectors + (size_t)i * n_embd, n_embd,
                              a->request.embedding.base64, out, NULL) &&
           (a->n_written < a->g->n_prompts || api_embeddings_end(&head, a->n_tokens, out, NULL));
}

static void write_vectors(struct embeddings *a)
{
    struct buf *out = &a->list->out;
    while (a->n_written < a->g->n_prompts && http_stream_pending(a->x) < UNREAD_BYTES) {
        buf_clear(out);
        bool ok = print_next(a, out);
        assert(ok);
        (void)ok;
        http_stream_write(a->x, buf_str(out));
    }
    if (a->n_written == a->g->n_prompts) {
        http_stream_end(a->x);
        a->x = NULL;
    }
}

static void reader_is_back(void *argument)
{
    struct embeddings *a = argument;
    write_vectors(a);
    release(a);
}

static void tell_error(struct embeddings *a, const struct api_error *error)
{
    http_reply_error(a->x, error);
    a->x = NULL;
}

static void open_answer(struct embeddings *a)
{
    a->is_open = true;
    http_on_drain(a->x, reader_is_back, a);
    http_stream_begin(a->x, 200, "application/json");
    write_vectors(a);
}

/* The row is in the file, or will not be in time. */
static void settled(void *argument, const struct api_error *error)
{
    struct embeddings *a = argument;
    bill_settled(&a->bill);
    if (a->x != NULL && error == NULL) {
        open_answer(a);
    } else if (a->x != NULL) {
        tell_error(a, error);
    }
    release(a);
}

/* All of it is there: it is told when its row is written. */
static void settle(struct embeddings *a)
{
    struct bill_sums sums = sums_of(a);
    if (bill_settle(&a->bill, &sums, settled, a)) {
        open_answer(a);
    }
}

/* ---- what the engine has made ---- */

/* Keeps the vectors that are there, and lets go of the sums that they are made of. */
static void take_vectors(struct embeddings *a)
{
    uint32_t n_embd = a->list->n_embd;
    while (a->n_done < a->g->n_prompts && a->taken.outputs[a->n_done].end != CHOICE_RUNS) {
        struct prompt_rows *rows = &a->g->prompt_rows[a->n_done];
        prompt_rows_normalise(rows, n_embd, a->vectors + (size_t)a->n_done * n_embd);
        prompt_rows_finish(rows);
        a->n_done++;
    }
    if (a->n_done == a->g->n_prompts && a->bill.status == 0) {
        settle(a);
    }
}

static void fail(struct embeddings *a, const struct error *why)
{
    struct api_error error = {0};
    api_error_from(&error, why, NULL);
    error.retry_s = a->g->retry_s;
    error.is_final = error.is_final || (why->code == ERROR_BUSY && a->g->retry_s == 0);
    a->bill.status = api_error_meaning(error.kind)->http_status;
    stop_engine(a);
    tell_error(a, &error);
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
    if (a->x != NULL && ok) {
        take_vectors(a);
    }
    if (a->x != NULL && ok && a->taken.done && a->bill.status == 0) {
        ok = error_set(&e, ERROR_INTERRUPTED, "the server is shutting down");
    }
    if (a->x != NULL && !ok) {
        fail(a, &e);
    }
    release(a);
}

/* On any thread. */
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
    g->priority += g->n_prompts > 1; /* who sends a thousand texts waits for no answer to read */
    g->only_last = a->request.embedding.pooling == API_POOLING_LAST;
    g->notify = outputs_wait;
    g->notify_argument = a;
    for (uint32_t i = 0; i < g->n_prompts; i++) {
        a->n_tokens += g->prompts[i].n;
    }
}

static bool count_numbers(struct embeddings *a, struct error *e)
{
    struct embeddings_list *list = a->list;
    uint64_t n = (uint64_t)a->g->n_prompts * list->n_embd;
    if (n > EMBEDDINGS_ALL_NUMBERS - list->n_numbers) {
        a->g->retry_s = ESTIMATE_LEAST_RETRY_S;
        return error_set(e, ERROR_BUSY,
                         "the vectors would have %llu numbers beside %llu of other answers that "
                         "are being made or read; at most %d are kept",
                         (unsigned long long)n, (unsigned long long)list->n_numbers,
                         EMBEDDINGS_ALL_NUMBERS);
    }
    a->n_numbers = n;
    list->n_numbers += n;
    return true;
}

/* Of a vector with all that may be round it. */
static size_t most_bytes(const struct embeddings *a)
{
    const struct api_request *r = &a->request;
    size_t n_text = r->model.n, n_around = MAX_AROUND_BYTES;
    for (size_t i = 0; i < r->n_warnings; i++) {
        n_text += r->warnings[i].param.n + r->warnings[i].message.n;
        n_around += MAX_AROUND_WARNING;
    }
    return (size_t)a->list->n_embd * MAX_NUMBER_BYTES + n_around + n_text * MAX_ESCAPED;
}

static bool prepare(struct embeddings *a, struct error *e)
{
    a->task = (struct http_task){.run = deliver, .argument = a};
    set_work(a);
    buf_clear(&a->list->out);
    if (!count_numbers(a, e) || !buf_reserve(&a->list->out, most_bytes(a), e)) {
        return false;
    }
    a->vectors =
        mem_alloc(a->g->n_prompts, a->list->n_embd * sizeof *a->vectors, "vectors of texts", e);
    return a->vectors != NULL && generation_take(a->g, &a->taken, e);
}

bool embeddings_begin(struct embeddings_list *list, struct http_exchange *x,
                      struct embeddings_job *job, struct error *e)
{
    struct embeddings *a = mem_alloc(1, sizeof *a, "answer", e);
    if (a == NULL) {
        api_request_finish(&job->request);
        generation_destroy(job->g);
        ledger_drop(list->ledger, job->entry);
        job->g = NULL;
        job->entry = NULL;
        return false;
    }
    *a = (struct embeddings){.list = list,
                             .x = x,
                             .request = job->request,
                             .g = job->g,
                             .bill = {.ledger = list->ledger, .entry = job->entry}};
    job->request = (struct api_request){0};
    job->g = NULL;
    job->entry = NULL;
    if (!prepare(a, e) || !worker_submit(list->worker, a->g, e)) {
        job->retry_s = a->g->retry_s;
        ledger_drop(list->ledger, a->bill.entry);
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

void embeddings_end(struct embeddings_list *list, bool only_begun, const struct error *why)
{
    struct embeddings *next;
    for (struct embeddings *a = list->first; a != NULL; a = next) {
        next = a->next; /* who is told may be gone */
        if (a->x != NULL && a->bill.is_settling && !only_begun) {
            ledger_hurry(list->ledger, a->bill.entry);
        } else if (a->x != NULL && a->bill.status == 0 &&
                   (!only_begun || worker_has_begun(list->worker, a->g))) {
            fail(a, why);
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
            http_on_drain(a->x, NULL, NULL);
            http_attach(a->x, NULL);
            bill_leave(&a->bill); /* its connection goes */
            a->x = NULL;
        }
        bill_forget(&a->bill);
        generation_take(a->g, &a->taken, NULL); /* of what nobody was told */
        a->taken.done = true;
        release(a);
    }
    buf_finish(&list->out);
}
