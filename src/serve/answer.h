/* answer.h - the answer to one chat or completion: from the engine thread's outputs to the client,
 * as one JSON text or as a stream of events.
 *
 * Belongs to the I/O thread. An answer outlives its exchange when the client leaves, until the
 * engine thread has let go of the generation. */
#ifndef SERVE_ANSWER_H
#define SERVE_ANSWER_H

#include "serve/api_answer.h"
#include "serve/generation.h"
#include "serve/http.h"
#include "serve/worker.h"

/* What all answers of a server have in common; must outlive them. */
struct answer_list {
    struct http_server *server;
    struct worker *worker;
    const struct tokenizer *tokenizer;
    uint32_t ends[SAMPLER_MAX_ENDS]; /* (n_ends) tokens that end a turn */
    size_t n_ends;
    struct str fingerprint;
    const struct guard *guard; /* NULL: no content filter */
    struct answer *first;
    uint32_t n;
};

struct answer_choice; /* answer.c */

struct answer {
    struct answer_list *list;
    struct answer *next, **link;
    struct http_exchange *x; /* NULL when it has ended, or the client has left */
    struct api_request request;
    struct generation *g;
    struct generation_taken taken;
    struct http_task task; /* outputs wait */
    struct api_head head;
    char id[48];
    struct api_truncated truncated;
    uint32_t ends[SAMPLER_MAX_ENDS]; /* that min_tokens holds back */
    uint64_t n_prompt;               /* tokens of all prompts */
    uint64_t last_write_ns;          /* of a stream */
    struct answer_choice *choices;   /* (choices of g) */
    struct buf out;                  /* events of one delivery, or the whole answer */
    bool is_chat, is_stream, began;
};

/* What the service has made of a request. */
struct answer_job {
    struct api_request request; /* a chat or a completion */
    struct generation *g;       /* with its prompts; the rest is filled in from the request */
    struct api_truncated truncated;
    uint32_t max_tokens;
};

/* Takes over job->request and job->g (both zeroed then), submits the work and begins the stream if
 * one was asked for. On failure they are released, and x is the caller's to answer. ERROR_MEMORY,
 * ERROR_BUSY. */
bool answer_begin(struct answer_list *list, struct http_exchange *x, struct answer_job *job,
                  struct error *e);

/* Tells the readers of streams that have been quiet for so long that the server is alive. */
void answers_keep_alive(struct answer_list *list, double quiet_seconds);

/* After the worker's end: frees what is left. */
void answers_finish(struct answer_list *list);

#endif
