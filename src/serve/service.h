/* service.h - what the server answers: the table of addresses and their handlers.
 * One thread, the I/O thread, but for what takes long (background.h); the engine's is behind
 * worker.h. */
#ifndef SERVE_SERVICE_H
#define SERVE_SERVICE_H

#include "base/rng.h"
#include "chat/template.h"
#include "serve/access_log.h"
#include "serve/answer.h"
#include "serve/auth.h"
#include "serve/background.h"
#include "serve/embeddings.h"
#include "serve/http_router.h"
#include "serve/ledger.h"
#include "serve/metrics.h"
#include "serve/usage_report.h"

enum {
    SERVICE_MAX_NAMES = 65,
    /* A larger body is parsed and made ready in the background, where grammars of smaller ones are
     * compiled, too: of so many requests at once, half of them of one key or address. */
    SERVICE_SMALL_BYTES = 16 << 10,
    SERVICE_MAX_BACKGROUND = 64,
    /* A layer of Llama 3.1 405B is 3.3e12 operations for a step of 512 tokens: half a minute for
     * two slow cores, who would need an hour for the step. */
    SERVICE_DEFAULT_STALL_S = 120
};

/* The names that a request may call the model by: the file's own first, then the aliases. */
struct service_model {
    const char *names[SERVICE_MAX_NAMES];
    size_t n_names;
    int64_t created; /* seconds since 1970 */
};

/* What requests may have, and what is kept in memory of an answer to one. */
struct service_limits {
    struct api_limits api;
    size_t body_bytes;   /* told, not held against anybody: http.h does that */
    size_t answer_bytes; /* of one that is sent as a whole */
    size_t stream_bytes; /* unread of a stream: as http_limits.output_bytes */
};

/* Where a line of every exchange that ends goes. */
struct service_log {
    bool (*write)(struct str line); /* NULL: nowhere; must not block; false: it is lost */
    enum access_log_form form;
    uint64_t n_lost;
};

struct service {
    struct http_router router;
    struct service_model model;
    struct service_log log;
    struct metrics metrics;
    struct auth *auth;              /* NULL: there are no keys */
    struct ledger *ledger;          /* NULL: nobody keeps what requests used */
    bool counts_all;                /* the ledger has requests also where no key is asked for */
    uint32_t stall_s;               /* that the engine may take for a layer, or is stuck */
    void (*warn)(const char *text); /* of the server's state; NULL: not wanted */
    const char *ledger_path;        /* what was used is read from there; NULL: nowhere */
    bool ready;                     /* the model is loaded; until then requests for it are 503 */

    /* what follows is set by service_start() */
    const struct chat_template *chat; /* NULL: the model has none that is known */
    struct error no_chat;             /* why chat is NULL */
    uint32_t n_ctx;
    struct api_options api;
    struct service_limits limits;
    struct answer_list answers;
    struct embeddings_list embeddings;
    struct background *background;   /* makes requests into work */
    struct usage_reporter *reporter; /* NULL without a ledger */
    struct rng seeds;                /* for requests that name none */
    struct http_timer *alive;
    bool is_stuck;
    uint64_t n_stalls;
    char fingerprint[32];
};

/* What requests are answered with; all of it must outlive the service. */
struct service_engine {
    struct http_server *server;
    struct worker *worker;
    const struct model *model;
    const struct tokenizer *tokenizer;
    const struct chat_template *chat; /* or NULL, with the reason in no_chat */
    struct error no_chat;
    const struct guard *guard; /* NULL: no content filter */
    uint32_t n_ctx;
    struct service_limits limits;
    enum api_pooling pooling; /* of embeddings, where the request is silent */
    uint64_t seed;            /* of the seeds that requests get */
    uint64_t
        digest; /* of what makes the bytes of an answer, beside the request: for fingerprints */
};

void service_init(struct service *s);

/* The model is there: from now on requests for it are answered. ERROR_MEMORY. */
bool service_start(struct service *s, const struct service_engine *engine, struct error *e);

/* After the worker's end. A service that never started is allowed. */
void service_finish(struct service *s);

/* What /health tells. The I/O thread. */
bool service_is_healthy(const struct service *s);

/* For http_options: on_head, on_request, on_answer and on_end, with the service as context. */
void service_on_head(void *service, struct http_exchange *x);
void service_on_request(void *service, struct http_exchange *x);
void service_on_answer(void *service, struct http_exchange *x);
void service_on_end(void *service, const struct http_exchange *x,
                    const struct http_outcome *outcome);

/* Ends what is being answered with an error, each in its own form. */
void service_end_answers(struct service *s);

#endif
