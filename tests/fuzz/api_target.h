/* api_target.h - a body of a request from any bytes, at one endpoint. What is refused says why in
 * valid JSON and owns nothing; what is taken is within the ranges of the engine, and its strings
 * are UTF-8. */
#ifndef TESTS_FUZZ_API_TARGET_H
#define TESTS_FUZZ_API_TARGET_H

#include "base/json_tree.h"
#include "base/mem.h"
#include "serve/api_request.h"
#include "serve/api_write.h"

#include "require.h"

#include <jansson.h>

enum { N_VOCAB = 1000 };

static void check_prompts(const struct api_prompt *prompts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        require(prompts[i].is_ids ? prompts[i].n_ids > 0 : str_is_utf8(prompts[i].text));
        for (size_t k = 0; k < prompts[i].n_ids; k++) {
            require(prompts[i].ids[k] < N_VOCAB);
        }
    }
}

/* Arguments are the text of an object, or there is a warning that they are not. */
static void check_calls(const struct chat_message *m, bool is_warned)
{
    for (size_t i = 0; i < m->n_calls; i++) {
        const struct chat_call *c = &m->calls[i];
        json_t *arguments = json_loadb(c->arguments.p, c->arguments.n,
                                       JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
        require(json_is_object(arguments) || is_warned);
        require(m->role == CHAT_ASSISTANT && c->name.n > 0);
        require(str_is_utf8(c->id) && str_is_utf8(c->name) && str_is_utf8(c->arguments));
        json_decref(arguments);
    }
    require(m->call_id.n == 0 || m->role == CHAT_TOOL);
}

static void check_tools(const struct api_generation *g)
{
    size_t n = json_array_size(g->tools);
    require(g->tools == NULL || (n > 0 && n <= API_MAX_TOOLS));
    for (size_t i = 0; i < n; i++) {
        const json_t *function = json_object_get(json_array_get(g->tools, i), "function");
        require(json_string_length(json_object_get(function, "name")) > 0);
    }
}

/* It has what its kind needs, and the name of who asked for it. */
static void check_format(const struct api_format *f)
{
    bool is_text = f->kind == API_FORMAT_PATTERN || f->kind == API_FORMAT_GBNF;
    require((f->kind == API_FORMAT_TEXT) == (f->param == NULL));
    require((f->kind == API_FORMAT_SCHEMA) == (f->schema != NULL));
    require((f->kind == API_FORMAT_CHOICE) == (f->n_choices > 0));
    require(str_is_utf8(f->text) && (is_text || f->text.n == 0));
    require(f->schema == NULL || json_is_object(f->schema) || json_is_boolean(f->schema));
    for (size_t i = 0; i < f->n_choices; i++) {
        require(str_is_utf8(f->choices[i]));
    }
}

static void check_generation(const struct api_generation *g, bool is_warned)
{
    require(sampler_params_check(&g->sampler, N_VOCAB, NULL));
    require(g->n >= 1 && g->best_of >= g->n && g->n_stop <= API_MAX_STOPS);
    require((g->n_messages > 0) != (g->n_prompts > 0) && g->min_tokens <= g->max_tokens);
    require(g->stream || !g->include_usage);
    for (size_t i = 0; i < g->n_stop; i++) {
        require(g->stop[i].n > 0 && str_is_utf8(g->stop[i]));
    }
    check_tools(g);
    check_format(&g->format);
    require(g->tool_choice == API_TOOLS_AUTO || g->tools != NULL);
    for (size_t i = 0; i < g->n_messages; i++) {
        check_calls(&g->messages[i], is_warned);
        require(g->messages[i].role < CHAT_ROLE_COUNT && str_is_utf8(g->messages[i].content));
    }
    check_prompts(g->prompts, g->n_prompts);
}

static void check_request(const struct api_request *q)
{
    require(!q->strict || q->n_warnings == 0);
    for (size_t i = 0; i < q->n_warnings; i++) {
        require(q->warnings[i].param.n > 0 && q->warnings[i].message.n > 0);
    }
    switch (q->endpoint) {
    case API_EMBEDDING:
        require(q->embedding.n_inputs > 0);
        check_prompts(q->embedding.inputs, q->embedding.n_inputs);
        break;
    case API_TOKENIZE:
        check_prompts(q->tokenize.pieces, q->tokenize.n_pieces);
        break;
    case API_DETOKENIZE:
        break;
    case API_EPHEMERAL_KEY:
        require(q->model.n > 0 && q->ephemeral_key.origin.n > 0);
        require(q->ephemeral_key.max_tokens > 0 && q->ephemeral_key.budget_tokens > 0);
        require(q->ephemeral_key.seconds > 0);
        break;
    default:
        check_generation(&q->generation, q->n_warnings > 0);
        break;
    }
}

static void check_error(const struct api_error *e)
{
    struct buf b;
    buf_init(&b, 1 << 16);
    require(api_error_meaning(e->kind)->http_status == 400 && e->message[0] != '\0');
    require(api_error_print(e, &b, NULL));
    json_t *root = json_loadb(b.data, b.n, 0, NULL);
    require(root != NULL);
    json_decref(root);
    buf_finish(&b);
}

static inline void check_body(enum api_endpoint endpoint, const uint8_t *data, size_t n_bytes)
{
    struct api_options options;
    struct api_request q;
    struct api_error e = {0};
    json_tree_init();
    api_options_default(&options);
    options.n_vocab = N_VOCAB;
    mem_fail_nth(SIZE_MAX);
    if (api_request_parse(endpoint, (struct str){(const char *)data, n_bytes}, &options, &q, &e)) {
        check_request(&q);
    } else {
        /* the tree stayed in its one block */
        require(e.kind != API_ERROR_BAD_JSON || mem_count() <= 1);
        require(q.blocks == NULL);
        check_error(&e);
    }
    api_request_finish(&q);
    mem_fail_nth(0);
}

#endif
