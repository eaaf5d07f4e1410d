/* service.c - addresses of the server, and answers about itself. */
#include "serve/service.h"

#include "base/buf.h"

#include <jansson.h>
#include <stdio.h>

enum { MAX_JSON = 1 << 20 };

static const char type_json[] = "application/json";

static int append_json(const char *text, size_t n, void *out)
{
    return buf_append(out, (struct str){text, n}, NULL) ? 0 : -1;
}

/* Takes root over; NULL stands for memory that ran out. */
static void reply_json(struct http_exchange *x, json_t *root)
{
    struct buf body;
    buf_init(&body, MAX_JSON);
    if (root != NULL && json_dump_callback(root, append_json, &body, JSON_COMPACT) == 0) {
        http_reply(x, 200, type_json, buf_str(&body));
    } else {
        struct error e;
        error_set(&e, ERROR_MEMORY, "no memory for the answer");
        http_reply_failure(x, &e);
    }
    buf_finish(&body);
    json_decref(root);
}

static void reply_unavailable(struct http_exchange *x, const char *code, const char *message)
{
    http_add_header(x, "Retry-After", "1");
    http_reply_error(x, &(struct http_error){.status = 503,
                                             .type = "service_unavailable_error",
                                             .code = code,
                                             .message = message});
}

static void answer_root(void *service, struct http_exchange *x, struct str parameter)
{
    (void)service;
    (void)parameter;
    http_reply(x, 200, "text/plain; charset=utf-8",
               STR("Puna serves a language model here.\n"
                   "\n"
                   "GET /health          whether the server works\n"
                   "GET /ready           whether the model is loaded\n"
                   "GET /v1/models       the names of the model\n"
                   "\n"
                   "/v3/openai and /openai/v1 stand for /v1 too.\n"));
}

static void answer_health(void *service, struct http_exchange *x, struct str parameter)
{
    (void)service;
    (void)parameter;
    http_reply(x, 200, type_json, STR("{\"status\":\"ok\"}"));
}

/* Says why not, unless requests for the model can be answered. */
static bool check_ready(const struct service *s, struct http_exchange *x)
{
    if (http_server_is_draining(http_exchange_server(x))) {
        reply_unavailable(x, "shutting_down", "the server is shutting down");
        return false;
    }
    if (!s->ready) {
        reply_unavailable(x, "model_loading", "the model is being loaded");
        return false;
    }
    return true;
}

static void answer_ready(void *service, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    if (check_ready(service, x)) {
        http_reply(x, 200, type_json, STR("{\"status\":\"ready\"}"));
    }
}

static json_t *model_object(const struct service *s, const char *name)
{
    return json_pack("{s:s,s:s,s:I,s:s}", "id", name, "object", "model", "created",
                     (json_int_t)s->model.created, "owned_by", "puna");
}

static void answer_models(void *service, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    const struct service *s = service;
    if (!check_ready(s, x)) {
        return;
    }
    json_t *data = json_array();
    json_t *root = json_pack("{s:s,s:O*}", "object", "list", "data", data);
    for (size_t i = 0; i < s->model.n_names; i++) {
        if (json_array_append_new(data, model_object(s, s->model.names[i])) != 0) {
            json_decref(root);
            root = NULL;
            break;
        }
    }
    json_decref(data);
    reply_json(x, root);
}

static const char *find_name(const struct service *s, struct str name)
{
    for (size_t i = 0; i < s->model.n_names; i++) {
        if (str_eq(str_from(s->model.names[i]), name)) {
            return s->model.names[i];
        }
    }
    return NULL;
}

bool service_knows_model(const struct service *s, struct str name)
{
    return find_name(s, name) != NULL;
}

static void answer_model(void *service, struct http_exchange *x, struct str parameter)
{
    enum { SHOWN = 200 };
    const struct service *s = service;
    if (!check_ready(s, x)) {
        return;
    }
    const char *name = find_name(s, parameter);
    if (name != NULL) {
        reply_json(x, model_object(s, name));
        return;
    }
    char message[SHOWN + 64];
    parameter.n =
        str_complete_utf8((struct str){parameter.p, parameter.n < SHOWN ? parameter.n : SHOWN});
    snprintf(message, sizeof message, "The model '%.*s' does not exist", STR_ARG(parameter));
    http_reply_error(x, &(struct http_error){.status = 404,
                                             .type = "invalid_request_error",
                                             .param = "model",
                                             .code = "model_not_found",
                                             .message = message});
}

static const struct http_route routes[] = {
    {"GET", "/", answer_root, .bare = true},
    {"GET", "/health", answer_health, .bare = true},
    {"GET", "/ready", answer_ready, .bare = true},
    {"GET", "/models", answer_models, .prefixed = true},
    {"GET", "/models/{id}", answer_model, .prefixed = true},
};

static const char *const prefixes[] = {"/v1", "/v3/openai", "/openai/v1"};

void service_init(struct service *s)
{
    *s = (struct service){.router = {.routes = routes,
                                     .n_routes = sizeof routes / sizeof routes[0],
                                     .prefixes = prefixes,
                                     .n_prefixes = sizeof prefixes / sizeof prefixes[0],
                                     .context = s}};
}

void service_on_head(void *service, struct http_exchange *x)
{
    const struct service *s = service;
    http_router_check(&s->router, x);
}

void service_on_request(void *service, struct http_exchange *x)
{
    const struct service *s = service;
    http_router_dispatch(&s->router, x);
}
