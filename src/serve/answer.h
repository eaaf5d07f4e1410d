/* answer.h - the answer to one chat or completion: from the engine thread's outputs to the client,
 * as one JSON text or as a stream of events.
 *
 * Belongs to the I/O thread. An answer outlives its exchange when the client leaves, until the
 * engine thread has let go of the generation. */
#ifndef SERVE_ANSWER_H
#define SERVE_ANSWER_H

#include "serve/api_answer.h"
#include "serve/bill.h"
#include "serve/generation.h"
#include "serve/http.h"
#include "serve/worker.h"

enum {
    ANSWER_MAX_ENDS = 64,          /* of a model */
    ANSWER_MAX_DELIVERY = 64 << 20 /* bytes that a stream gets at once */
};
_Static_assert(ANSWER_MAX_ENDS + API_MAX_STOP_IDS <= SAMPLER_MAX_ENDS, "all are held back at once");
_Static_assert((int)API_MAX_STOPS <= (int)STOP_MAX_STRINGS, "all are looked for at once");

/* What all answers of a server have in common; must outlive them. */
struct answer_list {
    struct http_server *server;
    struct worker *worker;
    const struct tokenizer *tokenizer;
    uint32_t ends[ANSWER_MAX_ENDS]; /* (n_ends) tokens that end a turn */
    size_t n_ends;
    size_t max_bytes; /* of an answer that is sent as a whole */
    struct str fingerprint;
    const struct guard *guard;            /* NULL: no content filter */
    enum tool_format tool_format;         /* of the model's calls */
    const struct tool_spelling *spelling; /* as the template writes them; NULL: it has no name */
    bool keeps_calls;      /* the template can write them otherwise, too: as they were sampled */
    struct ledger *ledger; /* of the answers that have an entry */
    struct answer *first;
    uint32_t n;
};

struct answer_choice; /* answer_internal.h */

struct answer {
    struct answer_list *list;
    struct answer *next, **link;
    struct http_exchange *x; /* NULL when it has ended, or the client has left */
    struct api_request request;
    struct tool_set tools; /* of the request */
    struct generation *g;
    struct generation_taken taken;
    struct http_task task; /* outputs wait */
    struct api_head head;
    struct api_warning *all_warnings; /* those of the head, where they are not the request's */
    char id[API_ID_BYTES];
    struct bill bill;
    struct api_truncated truncated;
    uint32_t ends[SAMPLER_MAX_ENDS]; /* the model's and stop_ids, that min_tokens holds back */
    uint64_t n_prompt;               /* tokens of all prompts */
    uint64_t last_write_ns;          /* of a stream */
    double quiet_s;                  /* that its reader can bear */
    uint32_t told_position;          /* in the queue; 0: none */
    struct answer_choice *choices;   /* (choices of g) */
    struct buf out;                  /* events of one delivery, or the whole answer */
    bool is_chat, is_stream;
    bool is_open; /* of a stream: its head is written */
    bool began;
};

/* What the service has made of a request. */
struct answer_job {
    struct api_request request; /* a chat or a completion */
    struct generation *g;       /* with its prompts; the rest is filled in from the request */
    char id[API_ID_BYTES];
    struct ledger_entry *entry; /* NULL: no row of it is wanted */
    struct api_truncated truncated;
    uint32_t most_tokens; /* of an answer whose length the request leaves open */
    uint32_t max_tokens;
    double patience_s; /* that the client waits from byte to byte; 0: it does not say */
    uint32_t retry_s;  /* out, with ERROR_BUSY: see generation.h */
};

/* Takes over job->request, job->g and job->entry (all zeroed then), submits the work and begins the
 * stream if one was asked for: at once, unless its client has so little patience that it may be
 * refused for what it would wait; then when the engine thread has let it in, so that a refusal has
 * its status. Its end is told when its row is written (ledger.h). On failure they are released, and
 * x is the caller's to answer. ERROR_MEMORY, ERROR_BUSY. While it runs the answer is what
 * http_attached(x) gives. */
bool answer_begin(struct answer_list *list, struct http_exchange *x, struct answer_job *job,
                  struct error *e);

/* As it is told: with the tokens of all prompts. */
struct api_usage answer_usage(const struct answer *a);

/* Its exchange has ended: the caller, NULL without one, leaves with the tokens of its row. */
void answer_dismiss(struct answer *a, struct auth_caller *caller);

/* To be called every ANSWER_TICK_MS: tells the readers of streams that have been quiet for a while
 * that the server is alive, and those who wait for their turn where they are in the queue:
 *   : keep-alive
 *   : queued position=3 eta_s=12
 * A client that waits ANSWER_PATIENCE_S or more for a byte gets one in time. */
enum { ANSWER_TICK_MS = 1000, ANSWER_PATIENCE_S = 3 };
void answers_keep_alive(struct answer_list *list);

/* Ends them with that error, each in its own form: all, or those alone that the engine has begun.
 * Where all end, those that wait for their rows alone end as if their patience did. */
void answers_end(struct answer_list *list, bool only_begun, const struct error *why);

/* After the worker's end: frees what is left, and hands over its rows; exchanges that still run
 * stay without an owner. */
void answers_finish(struct answer_list *list);

#endif
