/* worker.h - the engine thread: takes requests from a bounded queue, steps the engine, fills
 * outputs.
 *
 * First come, first served, by priority, and choice by choice in turns (queue.h). A choice takes
 * one of the engine's sequences; the choices of a prompt start when the first of them has computed
 * it, so that they find it in the prefix cache.
 * Owner/threads: created and destroyed by one thread; worker_submit, worker_wake and worker_status
 * are for any thread. The engine, and from worker_create() on the pool, are the engine thread's. */
#ifndef SERVE_WORKER_H
#define SERVE_WORKER_H

#include "engine/engine.h"
#include "serve/generation.h"
#include "serve/metrics.h"

struct worker;

struct worker_options {
    struct engine_options engine;
    uint32_t max_queue;            /* requests that may wait; 0: WORKER_DEFAULT_QUEUE */
    uint32_t max_per_owner;        /* of them, of one owner; 0: half of them */
    const struct token_trie *trie; /* of the vocabulary; must outlive the worker; NULL: requests
                                      have no grammars */
    struct metrics *metrics;       /* what is observed goes here; must outlive the worker */
};

enum { WORKER_DEFAULT_QUEUE = 64 };

/* m, t and pool must outlive the worker; the wake of options.engine.spill is the worker's. Errors
 * as engine_init; ERROR_MEMORY when no thread starts. */
struct worker *worker_create(const struct model *m, struct pool *pool,
                             const struct worker_options *options, struct error *e);

/* Ends the thread, and lets go of what runs and waits (done, without an end or an error); what of
 * prefixes goes to disk is written first, see engine_finish(). NULL is allowed. */
void worker_destroy(struct worker *w);

/* Puts g into the queue and lends it to the engine thread until it is `done`. False, with g still
 * the caller's, when the queue is full, or its owner's part of it (ERROR_BUSY, naming the number
 * that wait), or when the wait for its turn alone is estimated (estimate.h) to be longer than
 * g->patience_s (ERROR_BUSY, naming both); g->retry_s is set then. One whose turn and prompt
 * together would take too long fails in the same way later, before anything of it is computed, and
 * so does one that makes room for another in a full queue (queue.h): from this function, with the
 * notify of that one called. */
bool worker_submit(struct worker *w, struct generation *g, struct error *e);

/* Sets position and turn_s of all that wait; does not touch those that do not. Costs a walk along
 * the queue. The I/O thread. */
void worker_rank(struct worker *w);

/* Makes the thread look again at cancelled and paused. */
void worker_wake(struct worker *w);

/* Whether the engine has anything to do with g yet, which is lent: it may be in the step that runs.
 * The I/O thread. */
bool worker_has_begun(struct worker *w, const struct generation *g);

struct worker_status {
    uint32_t n_running, n_queued;    /* choices computed together; requests that wait */
    uint64_t n_prompt, n_cached;     /* tokens of prompts, and those of them that were cached */
    uint64_t n_answer;               /* tokens of answers */
    uint64_t n_from_disk;            /* tokens of prompts whose keys and values lay on disk */
    uint64_t n_guessed, n_confirmed; /* guesses made, and found right */
    uint64_t n_preempted, n_steps;
    struct engine_pages pages;
    uint64_t n_layers;     /* of the model, computed for steps: these grow within a step, too */
    double prompt_rate;    /* tokens of prompts a second, at best lately; 0: not measured */
    double silent_seconds; /* 0: there is nothing to do */
};

/* silent_seconds: since the engine thread went round its loop, or was first seen with as many
 * layers; so somebody has to look now and then. Any thread. */
void worker_status(struct worker *w, struct worker_status *out);

#endif
