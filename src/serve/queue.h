/* queue.h - requests that wait for places, of which each of their choices takes one.
 *
 * Lower priority goes first, whatever it takes. Within a priority owners are served in rounds, each
 * with one choice, and an owner's requests in turns. Who comes goes to the end of the round that
 * begins next, or behind the last of its own; so does, for its next choice, who was given a place.
 * So no choice waits for more of another owner than of its own and two: who sends a hundred
 * requests delays those of others one by one. Requests without an owner are each its own: their
 * first choices start in the order in which they came.
 *
 * A full queue makes room as turns do, or those who ask most often would have all of it: who comes
 * takes the room of a request of the lowest class that waits, of the owner with the most waiting,
 * the newest of it, where that class is lower than his own, or is his own and that owner has two
 * more than he. So classes get better or owners more equal each time, and no two take each other's
 * room in turns. Whose first choice was given a place stays.
 * Owner/threads: none of its own: the worker holds a lock round every call. */
#ifndef SERVE_QUEUE_H
#define SERVE_QUEUE_H

#include "serve/estimate.h"
#include "serve/generation.h"

/* Linked by generation.next. */
struct queue {
    struct generation *first;
    uint32_t n, max;
    uint32_t max_per_owner; /* of those that have one */
};

/* Choices of g that have no place yet. */
uint32_t queue_n_choices(const struct generation *g);

/* Puts g where its turn is. *out_displaced: who had to make room for it and does not wait any more;
 * NULL: nobody. ERROR_BUSY, with g->retry_s set and the queue as it was, when max requests wait and
 * none makes room, when max_per_owner of g's owner do, or when g's turn alone comes too late for
 * it. */
bool queue_add(struct queue *q, struct generation *g, const struct estimate_load *load,
               struct generation **out_displaced, struct error *e);

/* ERROR_BUSY, as for want of room, with g->retry_s set; returns false. */
bool queue_refuse(const struct queue *q, struct generation *g, const struct estimate_load *load,
                  struct error *e);

/* The next choice of a request that waits was given a place; returns its number. The request waits
 * for its next turn now, or does not wait any more. */
uint32_t queue_start(struct queue *q, struct generation *g);

void queue_remove(struct queue *q, struct generation *g);

/* For a walk along the queue: zeroed first, then asked for every request in order. */
struct queue_ahead {
    int32_t priority;
    uint64_t n_before; /* choices of lower priority */
    uint64_t n_same;   /* ... and of this one, as far as the walk has come */
    uint32_t n_requests;
};

/* Choices of others that get a place before the next one of g; more of those who have several may,
 * where g's owner has other requests before it. */
uint64_t queue_count_ahead(struct queue_ahead *a, const struct generation *g);

/* Sets position and turn_s of all that have no place yet. */
void queue_rank(struct queue *q, const struct estimate_load *load);

/* Whether g, whose turn comes in turn_s and whose prompt takes prompt_s then, can have a token in
 * time. ERROR_BUSY naming the times, with g->retry_s set. */
bool queue_check_patience(struct generation *g, double turn_s, double prompt_s, struct error *e);

#endif
