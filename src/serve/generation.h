/* generation.h - one request's work for the engine: prompts in, choices out.
 *
 * Made and freed by the I/O thread, and lent to the engine thread from worker_submit() until
 * `done`. What the request says is constant meanwhile; outputs are filled and taken under
 * `lock`. One that has to make room in the queue for another is ended by who submits that. */
#ifndef SERVE_GENERATION_H
#define SERVE_GENERATION_H

#include "engine/prefix.h"
#include "engine/sampler.h"
#include "schema/automaton.h"
#include "serve/choice.h"
#include "serve/prompt_rows.h"

#include <pthread.h>
#include <stdatomic.h>

/* What came of one choice since it was last taken. */
struct generation_output {
    struct buf text;
    struct tool_span *spans; /* (n_spans) what the text is; none where no tools are offered */
    size_t n_spans, max_spans;
    struct choice_logprob *logprobs; /* (n_logprobs) of the tokens of this text */
    size_t n_logprobs, max_logprobs;
    uint32_t n_tokens;         /* sampled in all */
    uint32_t n_cached;         /* tokens of its prompt that were not computed for it */
    enum prefix_end cache_end; /* why not more of them */
    bool began;                /* the engine has its prompt, of which it may compute */
    bool started;              /* the last two are known: its first token is there */
    enum choice_end end;       /* set once, with the last text */
    unsigned found;            /* categories (guard.h) that the content filter found, so far */
};

struct generation;
typedef void generation_notify_fn(void *argument);

struct generation {
    /* what the request says */
    struct choice_rules rules;      /* borrows from the maker, as does sampling */
    struct sampler_params sampling; /* choice i draws with seed + i % n_per_prompt */
    struct token_list *prompts;     /* (n_prompts) owned */
    uint32_t n_prompts;
    uint32_t n_per_prompt;   /* choice i belongs to prompt i / n_per_prompt */
    enum engine_rows rows;   /* wanted of the prompts; without tokens to sample they are all */
    bool only_last;          /* see prompt_rows.h */
    struct grammar *grammar; /* that the answers are written by, owned; NULL: none */
    int32_t priority;        /* lower goes first */
    uint64_t owner;          /* whose it is, for turns in the queue; 0: nobody else has it */
    uint64_t salt;           /* of the prefix cache */
    uint64_t arrived_ns;     /* clock_now_ns() when the whole request was there */
    double patience_s;       /* that whoever asks waits for the first token; 0: any time */
    /* Called on the engine thread, or in worker_submit() for another, with the lock held, at most
     * once between two generation_take(), when there is something to take; must not block. */
    generation_notify_fn *notify;
    void *notify_argument;

    atomic_bool cancelled; /* nobody wants the rest: the engine lets go of it within a step */
    atomic_bool paused;    /* the reader is slow: no tokens for now */

    struct prompt_rows *prompt_rows; /* (n_prompts) complete when a choice of it has started */

    pthread_mutex_t lock;
    struct generation_output *outputs; /* (choices) */
    struct error error;                /* why it could not go on; ERROR_NONE while it can */
    uint32_t retry_s;                  /* with ERROR_BUSY: when to ask again; 0: it is no use */
    bool accepted;                     /* it will not be refused for what it would wait */
    bool done;                         /* the engine thread has let go of it */
    bool notified;

    /* the engine thread's */
    struct automaton *automaton; /* of the grammar, while choices run */
    uint32_t n_ended;            /* choices */
    uint32_t n_started;          /* choices; under the worker's lock */
    bool is_judged;              /* its patience and what it will take were compared */
    struct generation *next;     /* in the queue; under the worker's lock, as are the next three */
    uint64_t round;              /* that it is served in */
    uint64_t least_round;        /* of who comes now, of its priority */
    uint32_t n_of_owner;         /* requests of its owner that wait, itself too */

    /* the I/O thread's, from worker_rank() */
    uint32_t position; /* among those that wait, from 1; 0: it does not */
    double turn_s;     /* estimated seconds until it is its turn */
};

/* With room for n_prompts empty prompts; the caller fills in the rest. NULL with ERROR_MEMORY. */
struct generation *generation_create(uint32_t n_prompts, uint32_t n_per_prompt, struct error *e);

/* Not while it is lent. NULL is allowed. */
void generation_destroy(struct generation *g);

static inline uint32_t generation_n_choices(const struct generation *g)
{
    return g->n_prompts * g->n_per_prompt;
}

/* ---- the engine thread's side; g may be gone when generation_finish() returns ---- */

void generation_accept(struct generation *g);
void generation_begin(struct generation *g, uint32_t i);
void generation_start(struct generation *g, uint32_t i, uint32_t n_cached, enum prefix_end why);

struct generation_part {
    struct str text;
    const struct tool_span *spans; /* (n_spans) */
    size_t n_spans;
    const struct choice_logprob *logprobs; /* (n_logprobs) */
    size_t n_logprobs;
};

/* Adds a part to choice i and tells how far c has come. ERROR_MEMORY. */
bool generation_add(struct generation *g, uint32_t i, const struct choice *c,
                    const struct generation_part *part, struct error *e);

void generation_fail(struct generation *g, const struct error *why);
void generation_finish(struct generation *g);

/* ---- the I/O thread's side ---- */

/* What generation_take() gives: zeroed before the first call, used again by the next ones. */
struct generation_taken {
    struct generation_output *outputs; /* (choices) */
    struct error error;
    bool accepted, done;
};

/* Moves what has come since the last call to *taken; notify may be called again. ERROR_MEMORY. */
bool generation_take(struct generation *g, struct generation_taken *taken, struct error *e);
void generation_taken_finish(struct generation_taken *taken, const struct generation *g);

#endif
