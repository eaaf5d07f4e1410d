/* api_request.c - from a body to a request: JSON, names, then the tables. */
#include "serve/api_request.h"

#include "serve/api_json.h"
#include "serve/api_parameter.h"

/* --- tables */

static const struct api_parameter common_items[] = {
    {"model", API_KIND_TEXT, API_FIELD(model), 1, API_MAX_NAME_CHARS, NULL},
};
static const struct api_table common_table = {common_items, 1};

enum { MAX_TABLES = 3, MAX_REQUIRED = 4 };

/* Which tables an endpoint reads, and which of its parameters must be there. */
struct form {
    const struct api_table *tables[MAX_TABLES];
    const char *required[MAX_REQUIRED];
};

static const struct form *form_of(enum api_endpoint endpoint)
{
    static const struct form forms[API_ENDPOINT_COUNT] = {
        [API_CHAT] = {{&common_table, &api_generation_table, &api_chat_table},
                      {"model", "messages"}},
        [API_COMPLETION] = {{&common_table, &api_generation_table, &api_completion_table},
                            {"model", "prompt"}},
        [API_EMBEDDING] = {{&common_table, &api_embedding_table}, {"model", "input"}},
        [API_TOKENIZE] = {{&common_table, &api_tokenize_table}, {"content"}},
        [API_DETOKENIZE] = {{&common_table, &api_detokenize_table}, {"tokens"}},
        [API_APPLY_TEMPLATE] = {{&common_table, &api_template_table}, {"messages"}},
        [API_EPHEMERAL_KEY] = {{&common_table, &api_ephemeral_key_table},
                               {"model", "origin", "max_tokens", "budget_tokens"}},
    };
    return &forms[endpoint];
}

/* Known elsewhere, by OpenAI's specification or in other servers, and never taken here. */
static const char *why_refused(const char *name)
{
    static const char not_sampled[] = "no such sampler (/v1/capabilities lists what is taken)";
    static const char own_template[] = "prompts are written in the template of the model";
    static const struct {
        const char *name, *why;
    } refused[] = {
        {"audio", "the model writes text alone"},
        {"moderation", "what is judged is chosen when the server is started"},
        {"suffix", "the model continues texts and fills no gaps"},
        {"web_search_options", "the server searches no web"},
        {"bad_words", "logit_bias forbids tokens"},
        {"chat_template", own_template},
        {"chat_template_kwargs", own_template},
        {"dry_multiplier", not_sampled},
        {"mirostat", not_sampled},
        {"prompt_logprobs", "completions with echo and logprobs tell those of a prompt"},
        {"truncate_prompt_tokens", "a chat's truncation drops whole turns"},
        {"use_beam_search", "answers are sampled"},
        {"xtc_probability", not_sampled},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (strcmp(refused[i].name, name) == 0) {
            return refused[i].why;
        }
    }
    return NULL;
}

const char *api_parameter_name(enum api_endpoint endpoint, size_t i)
{
    const struct form *f = form_of(endpoint);
    for (size_t t = 0; t < MAX_TABLES && f->tables[t] != NULL; t++) {
        for (size_t k = 0; k < f->tables[t]->n; k++) {
            if (i-- == 0) {
                return f->tables[t]->items[k].name;
            }
        }
    }
    return NULL;
}

static bool is_known(const struct form *f, const char *name)
{
    for (size_t t = 0; t < MAX_TABLES && f->tables[t] != NULL; t++) {
        for (size_t k = 0; k < f->tables[t]->n; k++) {
            if (strcmp(f->tables[t]->items[k].name, name) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* --- reading */

static bool read_whole(struct api_reader *r, const struct api_parameter *p, const json_t *v)
{
    int64_t x = 0;
    char *place = (char *)r->request + p->offset;
    if (!api_read_int(r, v, (int64_t)p->min, (int64_t)p->max, &x)) {
        return false;
    }
    if (p->kind == API_KIND_INT32) {
        *(int32_t *)(void *)place = (int32_t)x;
    } else {
        *(uint32_t *)(void *)place = (uint32_t)x;
    }
    return true;
}

static bool read_name(struct api_reader *r, const struct api_parameter *p, const json_t *v)
{
    struct str *place = (struct str *)(void *)((char *)r->request + p->offset);
    if (!api_read_text(r, v, (size_t)p->max, place)) {
        return false;
    }
    return (double)place->n >= p->min || api_fail(r, API_ERROR_INVALID_VALUE, "is empty");
}

static bool read_parameter(struct api_reader *r, const struct api_parameter *p, const json_t *v)
{
    char *place = (char *)r->request + p->offset;
    switch (p->kind) {
    case API_KIND_BOOL:
        return api_read_bool(r, v, (bool *)place);
    case API_KIND_INT32:
    case API_KIND_UINT32:
        return read_whole(r, p, v);
    case API_KIND_FLOAT:
        return api_read_float(r, v, p->min, p->max, (float *)(void *)place);
    case API_KIND_TEXT:
        return read_name(r, p, v);
    default:
        return p->read(r, v);
    }
}

static bool read_table(struct api_reader *r, const struct api_table *table)
{
    for (size_t i = 0; i < table->n; i++) {
        const struct api_parameter *p = &table->items[i];
        const json_t *v = api_member(r->root, p->name);
        if (v != NULL) {
            size_t before = api_enter_key(r, p->name);
            if (!read_parameter(r, p, v)) {
                return false;
            }
            api_leave(r, before);
        }
    }
    return true;
}

/* A parameter that must be there and is not; NULL when there is none. */
static const char *find_missing(const struct api_reader *r, const struct form *f)
{
    for (size_t i = 0; i < MAX_REQUIRED && f->required[i] != NULL; i++) {
        if (api_member(r->root, f->required[i]) == NULL) {
            return f->required[i];
        }
    }
    return NULL;
}

/* A name that the endpoint does not have; one that is missing may be what was meant. */
static bool check_other(struct api_reader *r, const struct form *f, const char *key,
                        const json_t *value)
{
    const char *why = why_refused(key), *missing = find_missing(r, f);
    if (why != NULL && json_is_null(value)) {
        return true;
    }
    api_enter_key(r, key);
    if (why != NULL) {
        return api_fail(r, API_ERROR_UNSUPPORTED_PARAMETER, "is not offered by this server: %s",
                        why);
    }
    return missing != NULL ? api_fail(r, API_ERROR_UNKNOWN_PARAMETER,
                                      "is no known parameter, and %s is missing", missing)
                           : api_fail(r, API_ERROR_UNKNOWN_PARAMETER, "is no known parameter");
}

static bool check_names(struct api_reader *r, const struct form *f)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)r->root, key, value)
    {
        if (!is_known(f, key) && !check_other(r, f, key, value)) {
            return false;
        }
    }
    const char *missing = find_missing(r, f);
    if (missing != NULL) {
        api_enter_key(r, missing);
        return api_fail(r, API_ERROR_MISSING_PARAMETER, "is missing");
    }
    return true;
}

static void set_defaults(struct api_request *q, const struct api_options *o)
{
    uint32_t most = api_most_tokens(o);
    switch (q->endpoint) {
    case API_CHAT:
    case API_APPLY_TEMPLATE:
        api_generation_default(&q->generation, o);
        q->generation.max_tokens = o->chat_max_tokens;
        break;
    case API_COMPLETION:
        api_generation_default(&q->generation, o);
        q->generation.max_tokens =
            o->completion_max_tokens < most ? o->completion_max_tokens : most;
        break;
    case API_EMBEDDING:
        q->embedding.pooling = o->pooling;
        break;
    case API_EPHEMERAL_KEY:
        q->ephemeral_key.seconds = API_MAX_KEY_SECONDS;
        break;
    case API_TOKENIZE:
        q->tokenize.parse_special = true;
        break;
    default:
        break;
    }
}

static bool check_together(struct api_reader *r)
{
    switch (r->request->endpoint) {
    case API_CHAT:
        return api_chat_check(r) && api_generation_check(r);
    case API_APPLY_TEMPLATE:
        return api_tools_check(r);
    case API_COMPLETION:
        return api_completion_check(r) && api_generation_check(r);
    default:
        return true;
    }
}

static bool read_request(struct api_reader *r)
{
    const struct form *f = form_of(r->request->endpoint);
    /* first, as it decides what a warning is; type and name are checked with the others */
    r->request->strict = json_is_true(json_object_get(r->root, "strict"));
    if (!check_names(r, f)) {
        return false;
    }
    for (size_t t = 0; t < MAX_TABLES && f->tables[t] != NULL; t++) {
        if (!read_table(r, f->tables[t])) {
            return false;
        }
    }
    return check_together(r);
}

bool api_request_parse(enum api_endpoint endpoint, struct str body,
                       const struct api_options *options, struct api_request *out,
                       struct api_error *e)
{
    *out = (struct api_request){.endpoint = endpoint};
    struct api_error ignored = {0};
    struct api_reader r = {.request = out, .options = options, .error = e != NULL ? e : &ignored};
    struct json_tree json;
    if (!api_json_parse(&json, body, "the body", JSON_REJECT_DUPLICATES, &options->limits,
                        r.error)) {
        *out = (struct api_request){0};
        return false;
    }
    r.root = json.root;
    set_defaults(out, options);
    bool ok = read_request(&r);
    json_tree_finish(&json);
    if (!ok) {
        api_request_finish(out);
    }
    return ok;
}

bool api_request_warn(struct api_request *r, const char *param, const char *message,
                      struct api_error *e)
{
    struct api_error ignored = {0};
    struct api_reader reader = {.request = r, .error = e != NULL ? e : &ignored};
    api_enter_key(&reader, param);
    return api_warn(&reader, "%s", message);
}
