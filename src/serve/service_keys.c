/* service_keys.c - what becomes of a request by the key that it came with. Without keys nobody is
 * asked, and nothing here changes anything. */
#include "serve/service_internal.h"

#include "base/clock.h"
#include "serve/api_write.h"

#include <stdio.h>
#include <time.h>

static struct auth_caller *caller_of(const struct http_exchange *x)
{
    return http_caller(x);
}

/* --- the beginning and the end of an exchange */

bool service_admit(struct service *s, struct http_exchange *x)
{
    const struct http_route *route = http_router_find(&s->router, x);
    bool is_open = route != NULL && route->is_open;
    if (is_open || s->auth == NULL || !auth_is_on(s->auth)) {
        return true;
    }
    const struct auth_request r = {
        .authorization = http_header(x, "authorization"),
        .origin = http_header(x, "origin"),
        .has_other_key =
            http_header(x, "api-key").p != NULL || http_header(x, "x-api-key").p != NULL,
        .scope = route != NULL ? route->scope : 0,
        .now_s = (int64_t)time(NULL),
        .now_ns = clock_now_ns(),
    };
    struct api_error error = {0};
    struct auth_caller *caller;
    bool ok = auth_enter(s->auth, &r, &caller, &error);
    http_set_caller(x, caller);
    if (ok) {
        return true;
    }
    if (error.kind == API_ERROR_KEY) {
        http_add_header(x, "WWW-Authenticate", "Bearer realm=\"puna\"");
    }
    http_reply_error(x, &error);
    return false;
}

void service_dismiss(const struct http_exchange *x)
{
    struct auth_caller *caller = caller_of(x);
    if (caller != NULL) {
        auth_leave(caller, 0, (int64_t)time(NULL), clock_now_ns());
    }
}

const char *service_key_id(const struct http_exchange *x)
{
    const struct auth_caller *caller = caller_of(x);
    return caller != NULL ? auth_id(caller) : NULL;
}

static void add_field(void *to, const char *name, const char *value)
{
    http_add_header(to, name, value);
}

void service_on_answer(void *service, struct http_exchange *x)
{
    (void)service;
    const struct auth_caller *caller = caller_of(x);
    if (caller != NULL) {
        auth_list_limits(caller, clock_now_ns(), add_field, x);
    }
}

/* --- what it may ask for */

struct api_options service_options(const struct service *s, const struct http_exchange *x)
{
    const struct auth_caller *caller = caller_of(x);
    struct api_options o = s->api;
    if (caller == NULL) {
        return o;
    }
    o.priority = o.least_priority = auth_priority(caller);
    o.most_tokens = auth_max_tokens(caller);
    return o;
}

size_t service_list_names(const struct service *s, const struct http_exchange *x,
                          struct str out[SERVICE_MAX_NAMES])
{
    const struct auth_caller *caller = caller_of(x);
    size_t n = 0;
    for (size_t i = 0; i < s->model.n_names; i++) {
        struct str name = str_from(s->model.names[i]);
        if (caller == NULL || auth_check_model(caller, name, NULL)) {
            out[n++] = name;
        }
    }
    return n;
}

/* Without a name the model that there is is meant, by any of its names. */
bool service_allow_model(const struct service *s, const struct http_exchange *x, struct str name,
                         struct api_error *error)
{
    const struct auth_caller *caller = caller_of(x);
    struct str names[SERVICE_MAX_NAMES];
    if (caller == NULL || name.n > 0) {
        return caller == NULL || auth_check_model(caller, name, error);
    }
    return service_list_names(s, x, names) > 0 ||
           api_error_set(error, API_ERROR_MODEL_FORBIDDEN, "model",
                         "key %s does not have access to any model that there is", auth_id(caller));
}

/* --- what it takes */

static uint64_t count_prompts(const struct generation *g)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < g->n_prompts; i++) {
        n += g->prompts[i].n;
    }
    return n;
}

/* Nothing is cut in silence. */
static bool warn_cut(struct answer_job *job, const char *id, struct api_error *error)
{
    char text[160];
    snprintf(
        text, sizeof text,
        "is not given: an answer has %u tokens at most, by what is left of the limit of key %s",
        job->max_tokens, id);
    return api_request_warn(
        &job->request, job->request.endpoint == API_CHAT ? "max_completion_tokens" : "max_tokens",
        text, error);
}

bool service_reserve(const struct http_exchange *x, struct answer_job *job, struct api_error *error)
{
    struct auth_caller *caller = caller_of(x);
    if (caller == NULL) {
        return true;
    }
    struct auth_work w = {.n_prompt = count_prompts(job->g),
                          .n_choices = generation_n_choices(job->g),
                          .max_tokens = job->max_tokens,
                          .is_open = job->request.generation.max_tokens == API_TO_CONTEXT_END};
    job->g->owner = auth_owner(caller);
    if (!auth_reserve(caller, &w, (int64_t)time(NULL), clock_now_ns(), error)) {
        return false;
    }
    bool is_cut = w.max_tokens < job->max_tokens;
    job->max_tokens = w.max_tokens;
    return !is_cut || warn_cut(job, auth_id(caller), error);
}

bool service_reserve_inputs(const struct http_exchange *x, struct generation *g,
                            struct api_error *error)
{
    struct auth_caller *caller = caller_of(x);
    if (caller == NULL) {
        return true;
    }
    struct auth_work w = {.n_prompt = count_prompts(g)};
    g->owner = auth_owner(caller);
    g->priority = auth_priority(caller);
    return auth_reserve(caller, &w, (int64_t)time(NULL), clock_now_ns(), error);
}

/* --- keys of minutes */

enum { MAX_KEY_JSON = 16 << 10 };

/* What of a key is not in its request. */
struct made_key {
    char id[SECRET_ID_BYTES], secret[SECRET_BYTES];
    int64_t begin_s, end_s;
};

static bool print_key(const struct api_request *r, const struct made_key *made, struct buf *out,
                      struct error *e)
{
    const struct api_ephemeral_key *k = &r->ephemeral_key;
    struct api_writer w;
    api_writer_init(&w, out, e);
    api_write_raw(&w, "{\"id\":");
    api_write_text(&w, str_from(made->id));
    api_write_raw(&w, ",\"object\":\"ephemeral_key\",\"value\":");
    api_write_text(&w, str_from(made->secret));
    api_write_raw(&w, ",\"created_at\":");
    api_write_int(&w, made->begin_s);
    api_write_raw(&w, ",\"expires_at\":");
    api_write_int(&w, made->end_s);
    api_write_raw(&w, ",\"origin\":");
    api_write_text(&w, k->origin);
    api_write_raw(&w, ",\"model\":");
    api_write_text(&w, r->model);
    api_write_raw(&w, ",\"max_tokens\":");
    api_write_int(&w, k->max_tokens);
    api_write_raw(&w, ",\"budget_tokens\":");
    api_write_int(&w, k->budget_tokens);
    api_write_raw(&w, "}");
    return api_writer_end(&w);
}

static bool make_key(const struct service *s, const struct http_exchange *x,
                     const struct api_request *r, struct buf *out, struct api_error *error)
{
    struct auth_caller *caller = caller_of(x);
    struct made_key made = {.begin_s = (int64_t)time(NULL)};
    struct error e = {0};
    if (caller == NULL) {
        return api_error_set(error, API_ERROR_SCOPE, NULL,
                             "there are no keys on this server, and nothing to make one of");
    }
    const struct auth_offer offer = {.origin = r->ephemeral_key.origin,
                                     .model = r->model,
                                     .max_tokens = r->ephemeral_key.max_tokens,
                                     .n_budget = r->ephemeral_key.budget_tokens,
                                     .life_s = r->ephemeral_key.seconds};
    if (!service_check_model(s, x, r->model, error) ||
        !auth_offer(caller, &offer, made.begin_s, made.id, made.secret, error)) {
        return false;
    }
    made.end_s = auth_offer_end(caller, &offer, made.begin_s);
    bool ok = print_key(r, &made, out, &e) || api_error_from(error, &e, NULL);
    secret_forget(made.secret);
    return ok;
}

void service_ephemeral_key(void *service, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    const struct service *s = service;
    struct api_request request = {0};
    struct api_error error = {0};
    struct buf out;
    if (!service_check_ready(s, x)) {
        return;
    }
    buf_init(&out, MAX_KEY_JSON);
    if (api_request_parse(API_EPHEMERAL_KEY, http_body(x), &s->api, &request, &error) &&
        make_key(s, x, &request, &out, &error)) {
        service_reply_json(x, &out);
    } else {
        http_reply_error(x, &error);
    }
    buf_finish(&out);
    api_request_finish(&request);
}
