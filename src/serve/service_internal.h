/* service_internal.h - what the files of the service share. Handlers are of http_route_fn's
 * form. */
#ifndef SERVE_SERVICE_INTERNAL_H
#define SERVE_SERVICE_INTERNAL_H

#include "serve/service.h"

/* ---- service_work.c */

struct service_work;

/* Endpoints whose requests are parsed, made into something and answered. */
struct service_kind {
    enum api_endpoint endpoint;
    size_t bytes;        /* of its struct, which begins with a service_work and is zeroed */
    bool names_no_model; /* its requests need not */
    /* Makes the request into what will be answered; any thread, with the work and what of the
     * service is never changed. False with w->error. */
    bool (*make)(struct service_work *w);
    /* The I/O thread: answers x, or gives it to who will; false with w->error. */
    bool (*begin)(struct service_work *w, struct http_exchange *x);
    /* Releases what `make` made and `begin` has not handed over. */
    void (*finish)(struct service_work *w);
};

struct service_work {
    struct service *service;
    const struct service_kind *kind;
    struct background_job job;
    uint64_t start_ns; /* when the body was complete */
    struct buf body;
    struct api_options options;
    struct api_request request;          /* `make` may take it */
    struct str model;                    /* that it names */
    struct str names[SERVICE_MAX_NAMES]; /* (n_names) that it may */
    size_t n_names;
    struct api_error error;
    bool is_parsed, ok;
};

/* Answers x. What is large, or has a grammar to be compiled, is made in the background. */
void service_begin_work(struct service *s, struct http_exchange *x,
                        const struct service_kind *kind);

/* service_generate.c */
http_route_fn service_chat, service_completion;

/* service_embed.c */
http_route_fn service_embeddings;
/* Texts that one request may have: what is allowed of any model, or what makes an answer of
 * EMBEDDINGS_MAX_NUMBERS. */
uint32_t service_max_inputs(const struct service *s);

/* service_capabilities.c */
http_route_fn service_capabilities;

/* service_keys.c */
http_route_fn service_ephemeral_key;

/* service_organization.c */
http_route_fn service_usage_completions, service_usage_embeddings;

/* service_text.c */
http_route_fn service_tokenize, service_detokenize, service_apply_template;

/* service_usage.c: the name of an answer to come, and its row in the ledger; NULL where none is
 * wanted. False with *error, a 500 or 503, when there shall be one and cannot. */
bool service_begin_row(const struct service *s, const struct http_exchange *x,
                       enum api_endpoint endpoint, char out_id[API_ID_BYTES],
                       struct ledger_entry **out, struct api_error *error);

/* service_keys.c: what the key of an exchange, if it has one, allows */

/* Lets it in, or answers 401, 403 or 429 and returns false. service_dismiss() is for its end where
 * nothing was computed. */
bool service_admit(struct service *s, struct http_exchange *x);
void service_dismiss(const struct http_exchange *x);
/* NULL without one. */
const char *service_key_id(const struct http_exchange *x);

/* For the parser of its body. */
struct api_options service_options(const struct service *s, const struct http_exchange *x);

/* The names of the model that it may use, and so may be told; returns how many. */
size_t service_list_names(const struct service *s, const struct http_exchange *x,
                          struct str out[SERVICE_MAX_NAMES]);
bool service_allow_model(const struct service *s, const struct http_exchange *x, struct str name,
                         struct api_error *error);

/* Takes what the work may take of the key's limits, and says whose it is. Lowers max_tokens, with a
 * warning, where the request does not say it and there are fewer left. */
bool service_reserve(const struct http_exchange *x, struct answer_job *job,
                     struct api_error *error);
bool service_reserve_inputs(const struct http_exchange *x, struct generation *g,
                            struct api_error *error);

/* Seconds that the client waits for a byte before it gives up; 0: it does not say. */
double service_patience_of(const struct http_exchange *x);

void service_reply_json(struct http_exchange *x, const struct buf *body);

/* Answers 503 and returns false unless requests for the model can be answered. */
bool service_check_ready(const struct service *s, struct http_exchange *x);

/* True for a name of the model; the error tells one that the exchange may use. */
bool service_check_model(const struct service *s, const struct http_exchange *x, struct str name,
                         struct api_error *error);

/* Where entry i of n comes from, for errors: "input", or of several "input[2]". param: short. */
enum { SERVICE_ENTRY_BYTES = 32 };
void service_name_entry(char out[SERVICE_ENTRY_BYTES], const char *param, size_t i, size_t n);

/* Warns of bytes that the vocabulary has no token for, if any; see api_request_warn(). */
bool service_warn_dropped(struct api_request *request, const char *param, size_t n_bytes,
                          struct api_error *error);

/* Whether calls can be demanded here at all, and told from the format. To be asked before
 * service_constrain(), which takes longer. */
bool service_check_calls(const struct service *s, const struct api_request *request,
                         struct api_error *error);

/* Whether the answer's text is held to a grammar, which takes time to compile. */
bool service_is_constrained(const struct api_request *request);

/* *out: the grammar that the answer's text is held to; NULL: none. It is the caller's, also on
 * failure (a warning that `strict` makes an error). */
bool service_constrain(const struct service *s, struct api_request *request, struct grammar **out,
                       struct api_error *error);

/* The text of a chat without n_dropped messages behind the first n_system; its owner is the caller
 * (jinja_output_finish). Errors as chat_template_write, for a client's eyes. */
bool service_write(const struct service *s, const struct api_generation *r, size_t n_system,
                   size_t n_dropped, struct jinja_output *out, struct error *e);

#endif
