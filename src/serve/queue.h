/* queue.h - requests that wait for places, of which each of their choices takes one.
 *
 * Lower priority goes first, whatever it takes. Within a priority requests are served in turns: who
 * comes goes behind those that are there, and so does, for its next choice, who was given a place.
 * So first choices start in the order in which the requests came, and no request, whether it has
 * many choices or came behind one that has, waits for more than one choice of each other.
 * Owner/threads: none of its own: the worker holds a lock round every call. */
#ifndef SERVE_QUEUE_H
#define SERVE_QUEUE_H

#include "serve/estimate.h"
#include "serve/generation.h"

/* Linked by generation.next. */
struct queue {
    struct generation *first;
    uint32_t n, max;
};

/* Choices of g that have no place yet. */
uint32_t queue_n_choices(const struct generation *g);

/* Puts g behind those of its priority. ERROR_BUSY, with g->retry_s set and the queue as it was,
 * when max requests wait or when g's turn alone comes too late for it. */
bool queue_add(struct queue *q, struct generation *g, const struct estimate_load *load,
               struct error *e);

/* The next choice of a request that waits was given a place; returns its number. The request waits
 * behind the others now, or does not wait any more. */
uint32_t queue_start(struct queue *q, struct generation *g);

void queue_remove(struct queue *q, struct generation *g);

/* For a walk along the queue: zeroed first, then asked for every request in order. */
struct queue_ahead {
    int32_t priority;
    uint64_t n_before; /* choices of lower priority */
    uint64_t n_same;   /* ... and of this one, as far as the walk has come */
    uint32_t n_requests;
};

/* Choices of others that get a place before the next one of g. */
uint64_t queue_count_ahead(struct queue_ahead *a, const struct generation *g);

/* Sets position and turn_s of all that have no place yet. */
void queue_rank(struct queue *q, const struct estimate_load *load);

/* Whether g, whose turn comes in turn_s and whose prompt takes prompt_s then, can have a token in
 * time. ERROR_BUSY naming the times, with g->retry_s set. */
bool queue_check_patience(struct generation *g, double turn_s, double prompt_s, struct error *e);

#endif
