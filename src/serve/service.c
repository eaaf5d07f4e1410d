/* service.c - addresses of the server, and answers about itself. */
#include "serve/api_openapi.h"
#include "serve/service_internal.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <time.h>

enum { MAX_JSON_BYTES = 1 << 20 };

static const char type_json[] = "application/json";

void service_reply_json(struct http_exchange *x, const struct buf *body)
{
    http_reply(x, 200, type_json, buf_str(body));
}

static void reply_printed(struct http_exchange *x, bool ok, const struct buf *body,
                          const struct error *e)
{
    if (ok) {
        service_reply_json(x, body);
    } else {
        http_reply_failure(x, e);
    }
}

static void answer_root(void *service, struct http_exchange *x, struct str parameter)
{
    (void)service;
    (void)parameter;
    http_reply(x, 200, "text/plain; charset=utf-8",
               STR("Puna serves a language model here, to programs that speak OpenAI's API.\n"
                   "\n"
                   "POST /v1/chat/completions   a chat goes on\n"
                   "POST /v1/completions        a text goes on\n"
                   "POST /v1/embeddings         vectors of texts\n"
                   "GET  /v1/models             the names of the model\n"
                   "POST /v1/keys/ephemeral     a key of minutes, for a page in a browser\n"
                   "GET  /v1/organization/usage/completions, /v1/organization/usage/embeddings\n"
                   "                            what was used, by time, key and model\n"
                   "POST /v1/tokenize           also /v1/detokenize, /v1/apply-template\n"
                   "GET  /v1/capabilities       what this server offers\n"
                   "GET  /openapi.json          all of this, for programs\n"
                   "GET  /health, /ready        whether the server works, and the model is loaded\n"
                   "GET  /metrics               for Prometheus\n"
                   "\n"
                   "/v3/openai and /openai/v1 stand for /v1 too.\n"));
}

/* An engine thread that has something to do and does not go on is no health; how long its steps
 * take is a matter of the model. */
static bool is_healthy(const struct service *s, double *out_silent_s)
{
    struct worker_status status = {0};
    if (s->ready) {
        worker_status(s->answers.worker, &status);
    }
    *out_silent_s = status.silent_seconds;
    return status.silent_seconds <= s->stall_s;
}

bool service_is_healthy(const struct service *s)
{
    double silent_s;
    return is_healthy(s, &silent_s);
}

static void answer_health(void *service, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    double silent_s;
    if (!is_healthy(service, &silent_s)) {
        struct api_error error = {0};
        api_error_set(&error, API_ERROR_OVERLOADED, NULL,
                      "the engine has been stuck for %.0f seconds", silent_s);
        http_reply_error(x, &error);
        return;
    }
    http_reply(x, 200, type_json, STR("{\"status\":\"ok\"}"));
}

bool service_check_ready(const struct service *s, struct http_exchange *x)
{
    struct api_error error = {0};
    if (http_server_is_draining(http_exchange_server(x))) {
        api_error_set(&error, API_ERROR_NOT_READY, NULL, "the server is shutting down");
    } else if (!s->ready) {
        api_error_set(&error, API_ERROR_NOT_READY, NULL, "the model is being loaded");
    } else {
        return true;
    }
    http_reply_error(x, &error);
    return false;
}

static void answer_ready(void *service, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    if (service_check_ready(service, x)) {
        http_reply(x, 200, type_json, STR("{\"status\":\"ready\"}"));
    }
}

static struct api_model model_of(const struct service *s, struct str name)
{
    return (struct api_model){name, s->model.created, STR("puna")};
}

static void answer_models(void *service, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    const struct service *s = service;
    if (!service_check_ready(s, x)) {
        return;
    }
    struct str names[SERVICE_MAX_NAMES];
    struct api_model models[SERVICE_MAX_NAMES];
    size_t n = service_list_names(s, x, names);
    struct error e = {0};
    struct buf body;
    for (size_t i = 0; i < n; i++) {
        models[i] = model_of(s, names[i]);
    }
    buf_init(&body, MAX_JSON_BYTES);
    reply_printed(x, api_models_print(models, n, &body, &e), &body, &e);
    buf_finish(&body);
}

bool service_check_model(const struct service *s, const struct http_exchange *x, struct str name,
                         struct api_error *error)
{
    enum { SHOWN = 200 };
    struct str names[SERVICE_MAX_NAMES];
    for (size_t i = 0; i < s->model.n_names; i++) {
        if (str_eq(str_from(s->model.names[i]), name)) {
            return true;
        }
    }
    name.n = str_complete_utf8((struct str){name.p, name.n < SHOWN ? name.n : SHOWN});
    if (service_list_names(s, x, names) == 0) {
        return api_error_set(error, API_ERROR_MODEL_NOT_FOUND, "model",
                             "The model '%.*s' does not exist, nor is there another that the key "
                             "has access to",
                             STR_ARG(name));
    }
    return api_error_set(error, API_ERROR_MODEL_NOT_FOUND, "model",
                         "The model '%.*s' does not exist; this server has '%.*s' (all its names: "
                         "/v1/models)",
                         STR_ARG(name), STR_ARG(names[0]));
}

static void answer_model(void *service, struct http_exchange *x, struct str parameter)
{
    const struct service *s = service;
    struct api_error error = {0};
    struct error e = {0};
    if (!service_check_ready(s, x)) {
        return;
    }
    if (!service_allow_model(s, x, parameter, &error) ||
        !service_check_model(s, x, parameter, &error)) {
        http_reply_error(x, &error);
        return;
    }
    struct api_model model = model_of(s, parameter);
    struct buf body;
    buf_init(&body, MAX_JSON_BYTES);
    reply_printed(x, api_model_print(&model, &body, &e), &body, &e);
    buf_finish(&body);
}

static void answer_openapi(void *service, struct http_exchange *x, struct str parameter)
{
    (void)service;
    (void)parameter;
    http_reply(x, 200, type_json, api_openapi_json());
}

static void answer_metrics(void *service, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    const struct service *s = service;
    struct worker_status w = {0};
    struct ledger_status usage = {0};
    if (s->ready) {
        worker_status(s->answers.worker, &w);
    }
    if (s->ledger != NULL) {
        ledger_status(s->ledger, &usage);
    }
    const struct metrics_value values[] = {
        {"puna_ready", "gauge", "1 when the model is loaded.", s->ready},
        {"puna_requests_preparing", "gauge",
         "Requests that are being made ready in the background.",
         s->ready ? (double)background_n_jobs(s->background) : 0.0},
        {"puna_requests_running", "gauge", "Choices computed together.", w.n_running},
        {"puna_requests_waiting", "gauge", "Requests in the queue.", w.n_queued},
        {"puna_prompt_tokens_total", "counter", "Tokens of prompts.", (double)w.n_prompt},
        {"puna_prompt_tokens_cached_total", "counter", "Those found in the prefix cache.",
         (double)w.n_cached},
        {"puna_prompt_tokens_from_disk_total", "counter", "Those of them read from disk.",
         (double)w.n_from_disk},
        {"puna_generation_tokens_total", "counter", "Tokens of answers.", (double)w.n_answer},
        {"puna_steps_total", "counter", "Steps of the engine.", (double)w.n_steps},
        {"puna_preemptions_total", "counter", "Sequences that gave up their pages.",
         (double)w.n_preempted},
        {"puna_guesses_total", "counter", "Tokens guessed.", (double)w.n_guessed},
        {"puna_guesses_right_total", "counter", "Guesses that came true.", (double)w.n_confirmed},
        {"puna_kv_pages", "gauge", "KV pages in all.", w.pages.total},
        {"puna_kv_pages_in_use", "gauge", "KV pages held by sequences.", w.pages.in_use},
        {"puna_kv_pages_cached", "gauge", "KV pages held by the prefix cache alone.",
         w.pages.cached},
        {"puna_engine_stuck", "gauge", "1 while the engine is stuck.", s->is_stuck},
        {"puna_stalls_total", "counter", "Times that the engine was found stuck.",
         (double)s->n_stalls},
        {"puna_log_lines_lost_total", "counter", "Lines of the log that nobody took in time.",
         (double)s->log.n_lost},
        {"puna_usage_rows_total", "counter", "Rows written to the ledger of usage.",
         (double)usage.n_written},
        {"puna_usage_rows_waiting", "gauge", "Rows that are in memory alone.",
         (double)usage.n_waiting},
        {"puna_usage_failures_total", "counter", "Times that rows could not be written.",
         (double)usage.n_failures},
    };
    struct error e = {0};
    struct buf body;
    buf_init(&body, MAX_JSON_BYTES);
    if (metrics_print_values(values, sizeof values / sizeof values[0], &body, &e) &&
        metrics_print(&s->metrics, &body, &e)) {
        http_reply(x, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&body));
    } else {
        http_reply_failure(x, &e);
    }
    buf_finish(&body);
}

#define TOKENS .bare = true, .prefixed = true, .scope = STORE_SCOPE_TOKENIZE
#define USAGE  .prefixed = true, .takes_query = true, .scope = STORE_SCOPE_USAGE
/* Behind a key, where there are keys, but for those that are open. */
static const struct http_route routes[] = {
    {"GET", "/", answer_root, .bare = true, .is_open = true},
    {"GET", "/health", answer_health, .bare = true, .is_open = true},
    {"GET", "/ready", answer_ready, .bare = true, .is_open = true},
    {"GET", "/metrics", answer_metrics, .bare = true, .scope = STORE_SCOPE_METRICS},
    {"GET", "/openapi.json", answer_openapi, .bare = true},
    {"GET", "/models", answer_models, .prefixed = true},
    {"GET", "/models/{id}", answer_model, .prefixed = true},
    {"GET", "/capabilities", service_capabilities, .bare = true, .prefixed = true},
    {"POST", "/chat/completions", service_chat, .prefixed = true, .scope = STORE_SCOPE_CHAT},
    {"POST", "/completions", service_completion, .prefixed = true, .scope = STORE_SCOPE_CHAT},
    {"POST", "/embeddings", service_embeddings, .prefixed = true, .scope = STORE_SCOPE_EMBEDDINGS},
    {"POST", "/keys/ephemeral", service_ephemeral_key, .prefixed = true, .scope = STORE_SCOPE_KEYS},
    {"GET", "/organization/usage/completions", service_usage_completions, USAGE},
    {"GET", "/organization/usage/embeddings", service_usage_embeddings, USAGE},
    {"POST", "/tokenize", service_tokenize, TOKENS},
    {"POST", "/detokenize", service_detokenize, TOKENS},
    {"POST", "/apply-template", service_apply_template, TOKENS},
};

static const char *const prefixes[] = {"/v1", "/v3/openai", "/openai/v1"};

void service_init(struct service *s)
{
    *s = (struct service){.router = {.routes = routes,
                                     .n_routes = sizeof routes / sizeof routes[0],
                                     .prefixes = prefixes,
                                     .n_prefixes = sizeof prefixes / sizeof prefixes[0],
                                     .context = s},
                          .stall_s = SERVICE_DEFAULT_STALL_S};
}

static void end_answers(struct service *s, bool only_begun, const struct error *why)
{
    answers_end(&s->answers, only_begun, why);
    embeddings_end(&s->embeddings, only_begun, why);
}

/* A step that does not end takes its own requests along; what waits in the queue goes on when, and
 * if, the engine does. */
static void watch_engine(struct service *s)
{
    struct error why = {0};
    double silent_s;
    bool is_stuck = !is_healthy(s, &silent_s);
    if (is_stuck && !s->is_stuck) {
        s->n_stalls++;
        error_set(&why, ERROR_INTERNAL, "the engine has been stuck for %.0f seconds", silent_s);
        end_answers(s, true, &why);
    }
    if (is_stuck != s->is_stuck && s->warn != NULL) {
        s->warn(is_stuck ? why.text : "the engine goes on");
    }
    s->is_stuck = is_stuck;
}

static void keep_alive(void *argument)
{
    struct service *s = argument;
    watch_engine(s);
    answers_keep_alive(&s->answers);
    http_timer_start(s->alive, ANSWER_TICK_MS);
}

static void find_ends(struct answer_list *answers)
{
    uint32_t n = tokenizer_info(answers->tokenizer)->n_tokens;
    for (uint32_t id = 0; id < n && answers->n_ends < ANSWER_MAX_ENDS; id++) {
        if (tokenizer_is_end(answers->tokenizer, id)) {
            answers->ends[answers->n_ends++] = id;
        }
    }
}

bool service_start(struct service *s, const struct service_engine *engine, struct error *e)
{
    s->chat = engine->chat;
    s->no_chat = engine->no_chat;
    s->n_ctx = engine->n_ctx;
    s->limits = engine->limits;
    api_options_default(&s->api);
    s->api.limits = engine->limits.api;
    s->api.n_vocab = tokenizer_info(engine->tokenizer)->n_tokens;
    s->api.n_embd = engine->model->config.n_embd;
    s->api.pooling = engine->pooling;
    rng_init(&s->seeds, engine->seed);
    snprintf(s->fingerprint, sizeof s->fingerprint, "fp_%016llx",
             (unsigned long long)engine->digest);
    s->answers = (struct answer_list){
        .server = engine->server,
        .worker = engine->worker,
        .tokenizer = engine->tokenizer,
        .max_bytes = engine->limits.answer_bytes,
        .fingerprint = str_from(s->fingerprint),
        .guard = engine->guard,
        .tool_format = s->chat != NULL ? s->chat->tool_format : TOOL_FORMAT_NONE,
        .spelling = s->chat != NULL ? chat_template_spelling(s->chat) : NULL,
        .keeps_calls = s->chat != NULL && s->chat->support.calls_as_text,
        .ledger = s->ledger};
    s->embeddings = (struct embeddings_list){.server = engine->server,
                                             .worker = engine->worker,
                                             .n_embd = s->api.n_embd,
                                             .ledger = s->ledger};
    buf_init(&s->embeddings.out, EMBEDDINGS_MAX_VECTOR_BYTES);
    find_ends(&s->answers);
    s->alive = http_timer_create(engine->server, keep_alive, s, e);
    if (s->alive == NULL) {
        return false;
    }
    const struct background_limits limits = {.what = "requests are being made ready",
                                             .jobs = SERVICE_MAX_BACKGROUND,
                                             .of_one = SERVICE_MAX_BACKGROUND / 2};
    s->background = background_create(engine->server, &limits, e);
    if (s->background == NULL) {
        return false;
    }
    if (s->ledger_path != NULL) {
        s->reporter = usage_reporter_create(engine->server, s->ledger_path, s->warn, e);
        if (s->reporter == NULL) {
            return false;
        }
    }
    http_timer_start(s->alive, ANSWER_TICK_MS);
    s->ready = true;
    return true;
}

void service_finish(struct service *s)
{
    http_timer_destroy(s->alive);
    s->alive = NULL;
    answers_finish(&s->answers);
    embeddings_finish(&s->embeddings);
    background_destroy(s->background);
    s->background = NULL;
    usage_reporter_destroy(s->reporter);
    s->reporter = NULL;
}

void service_on_head(void *service, struct http_exchange *x)
{
    struct service *s = service;
    if (service_admit(s, x)) {
        http_router_check(&s->router, x);
    }
}

void service_on_request(void *service, struct http_exchange *x)
{
    const struct service *s = service;
    http_router_dispatch(&s->router, x);
}

/* What was attached to the exchange tells what it was about: the log has the tokens of prompts that
 * the engine never had, too. */
static void note_tokens(const struct http_exchange *x, bool is_embedding,
                        struct access_entry *entry)
{
    const void *attached = http_attached(x);
    entry->has_tokens = attached != NULL;
    if (attached != NULL && is_embedding) {
        entry->prompt_tokens = embeddings_n_tokens(attached);
    } else if (attached != NULL) {
        struct api_usage usage = answer_usage(attached);
        entry->prompt_tokens = usage.prompt_tokens;
        entry->cached_tokens = usage.cached_tokens;
        entry->completion_tokens = usage.completion_tokens;
    }
}

static void log_end(struct service_log *log, const struct http_exchange *x,
                    const struct access_entry *tokens, const struct http_outcome *outcome)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct access_entry entry = *tokens;
    entry.time_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    entry.method = http_method(x);
    entry.path = http_path(x);
    entry.peer = http_peer(x);
    entry.id = http_request_id(x);
    entry.key = service_key_id(x);
    entry.status = outcome->status;
    entry.body_bytes = outcome->body_bytes;
    entry.ms = (double)outcome->ns * 1e-6;
    struct buf line;
    buf_init(&line, ACCESS_LOG_BYTES);
    bool ok = access_log_print(log->form, &entry, &line, NULL) && log->write(buf_str(&line));
    log->n_lost += !ok;
    buf_finish(&line);
}

static void dismiss(const struct http_exchange *x, bool is_embedding)
{
    void *attached = http_attached(x);
    if (attached == NULL) {
        service_dismiss(x);
    } else if (is_embedding) {
        embeddings_dismiss(attached, http_caller(x));
    } else {
        answer_dismiss(attached, http_caller(x));
    }
}

void service_on_end(void *service, const struct http_exchange *x,
                    const struct http_outcome *outcome)
{
    struct service *s = service;
    const struct http_route *route = http_router_find(&s->router, x);
    struct access_entry tokens = {0};
    metrics_count_request(&s->metrics, route != NULL ? route->pattern : "other", outcome->status);
    bool is_embedding = route != NULL && route->handler == service_embeddings;
    note_tokens(x, is_embedding, &tokens);
    if (s->log.write != NULL) {
        log_end(&s->log, x, &tokens, outcome);
    }
    dismiss(x, is_embedding);
}

void service_end_answers(struct service *s)
{
    const struct error why = {ERROR_INTERRUPTED, "the server is shutting down"};
    end_answers(s, false, &why);
    background_end(s->background);
    usage_reports_end(s->reporter);
}
