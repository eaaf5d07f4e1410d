/* service_work.c - a request's way from its body to what answers it. */
#include "base/clock.h"
#include "base/mem.h"
#include "serve/service_internal.h"

#include <stdatomic.h>
#include <string.h>
#include <xxhash.h>

/* The key that it came with, or the machine that it came from. */
static uint64_t owner_of(const struct http_exchange *x)
{
    const struct auth_caller *caller = http_caller(x);
    const char *peer = http_peer(x), *port = strrchr(peer, ':');
    return caller != NULL ? auth_owner(caller)
                          : XXH3_64bits(peer, port != NULL ? (size_t)(port - peer) : strlen(peer));
}

static void end_work(struct service_work *w, struct http_exchange *x)
{
    bool ok = w->ok;
    struct api_error error = w->error;
    w->kind->finish(w);
    api_request_finish(&w->request);
    buf_finish(&w->body);
    mem_free(w);
    if (x != NULL && !ok) {
        http_reply_error(x, &error);
    }
}

static void parse(struct service_work *w)
{
    w->is_parsed = api_request_parse(w->kind->endpoint, buf_str(&w->body), &w->options, &w->request,
                                     &w->error);
    w->model = w->request.model;
    buf_finish(&w->body);
}

/* Whether it asks for a name of the model that it may use, or for none. */
static bool is_for_us(const struct service_work *w)
{
    size_t i = 0;
    while (i < w->n_names && !str_eq(w->names[i], w->model)) {
        i++;
    }
    return i < w->n_names || w->model.n == 0;
}

/* check_model() tells the error for another model, unless the key's rights change meanwhile. */
static void make(struct service_work *w)
{
    if (w->is_parsed && !is_for_us(w)) {
        api_error_set(&w->error, API_ERROR_MODEL_FORBIDDEN, "model",
                      "the key did not have access to the model when the request came");
        return;
    }
    w->ok = w->is_parsed && w->kind->make(w);
}

static void parse_and_make(void *argument)
{
    struct service_work *w = argument;
    if (!w->is_parsed) {
        parse(w);
    }
    if (!atomic_load(&w->job.is_cancelled)) {
        make(w);
    }
}

static bool check_model(struct service_work *w, const struct http_exchange *x)
{
    const struct service *s = w->service;
    bool may_be_silent = w->kind->names_no_model && w->model.n == 0;
    return service_allow_model(s, x, w->model, &w->error) &&
           (may_be_silent || service_check_model(s, x, w->model, &w->error));
}

/* Tells what is wrong with the model before what `make` found, as if it had been asked before. */
static void answer(void *argument, struct http_exchange *x)
{
    struct service_work *w = argument;
    w->ok = x != NULL && w->is_parsed && check_model(w, x) && w->ok && w->kind->begin(w, x);
    end_work(w, x);
}

void service_begin_work(struct service *s, struct http_exchange *x, const struct service_kind *kind)
{
    struct error e = {0};
    if (!service_check_ready(s, x)) {
        return;
    }
    struct service_work *w = mem_alloc(1, kind->bytes, "request", &e);
    if (w == NULL) {
        http_reply_failure(x, &e);
        return;
    }
    w->service = s;
    w->kind = kind;
    w->start_ns = clock_now_ns();
    w->options = service_options(s, x);
    w->n_names = service_list_names(s, x, w->names);
    w->body = http_take_body(x);
    w->job = (struct background_job){
        .work = parse_and_make, .done = answer, .argument = w, .whose = owner_of(x)};
    bool is_small = w->body.n <= SERVICE_SMALL_BYTES;
    if (is_small) {
        parse(w);
    }
    bool at_once = is_small && (!w->is_parsed || !service_is_constrained(&w->request));
    struct api_error is_full = {0};
    if (!at_once && background_begin(s->background, &w->job, x, &is_full)) {
        return;
    }
    if (is_small) { /* and where the background is full: the engine's queue alone refuses it */
        make(w);
        answer(w, x);
    } else {
        w->error = is_full;
        end_work(w, x);
    }
}
