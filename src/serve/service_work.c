/* service_work.c - a request's way from its body to what answers it. */
#include "base/clock.h"
#include "base/mem.h"
#include "serve/service_internal.h"

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

/* What is asked of another model is not made. */
static void make(struct service_work *w)
{
    bool is_known = w->model.n == 0 || service_has_name(w->service, w->model);
    w->ok = w->is_parsed && is_known && w->kind->make(w);
}

static void parse_and_make(void *argument)
{
    struct service_work *w = argument;
    if (!w->is_parsed) {
        parse(w);
    }
    make(w);
}

/* The error that is told is the first in the order of a reader. */
static bool check_model(struct service_work *w, const struct http_exchange *x)
{
    const struct service *s = w->service;
    bool may_be_silent = w->kind->names_no_model && w->model.n == 0;
    return service_allow_model(s, x, w->model, &w->error) &&
           (may_be_silent || service_check_model(s, x, w->model, &w->error));
}

static void answer(void *argument, struct http_exchange *x)
{
    struct service_work *w = argument;
    w->ok = x != NULL && w->is_parsed && check_model(w, x) && w->ok && w->kind->begin(w, x);
    end_work(w, x);
}

double service_patience(const struct service_work *w, const struct http_exchange *x)
{
    const double least_s = 0.001;
    double all_s = service_patience_of(x), left_s = all_s - clock_seconds_since(w->start_ns);
    return all_s <= 0.0 ? 0.0 : left_s > least_s ? left_s : least_s;
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
    w->body = http_take_body(x);
    w->job = (struct background_job){
        .work = parse_and_make, .done = answer, .argument = w, .whose = owner_of(x)};
    bool is_quick = w->body.n <= SERVICE_QUICK_BYTES;
    if (is_quick) {
        parse(w);
        is_quick = !w->is_parsed || !service_is_constrained(&w->request);
    }
    if (is_quick) {
        make(w);
        answer(w, x);
    } else if (!background_begin(s->background, &w->job, x, &w->error)) {
        w->ok = false;
        end_work(w, x);
    }
}
