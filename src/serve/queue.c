/* queue.c - turns, and who cannot wait for one. */
#include "serve/queue.h"

#include "base/clock.h"

uint32_t queue_n_choices(const struct generation *g)
{
    return generation_n_choices(g) - g->n_started;
}

static bool is_of_same(const struct generation *a, const struct generation *b)
{
    return a->owner != 0 && a->owner == b->owner && a->priority == b->priority;
}

/* The end of those that g waits behind; sets its round. */
static struct generation **find_place(struct queue *q, struct generation *g)
{
    struct generation **at = &q->first;
    g->round = g->least_round = 0;
    for (const struct generation *o = q->first; o != NULL && o->priority <= g->priority;
         o = o->next) {
        if (o->priority == g->priority) {
            uint64_t least = is_of_same(o, g) ? o->round + 1 : o->least_round;
            g->round = least > g->round ? least : g->round;
            g->least_round = o->least_round;
        }
    }
    while (*at != NULL && ((*at)->priority < g->priority ||
                           ((*at)->priority == g->priority && (*at)->round <= g->round))) {
        at = &(*at)->next;
    }
    return at;
}

static void insert(struct queue *q, struct generation *g)
{
    struct generation **at = find_place(q, g);
    g->next = *at;
    *at = g;
    q->n++;
}

void queue_remove(struct queue *q, struct generation *g)
{
    struct generation **at = &q->first;
    while (*at != g) {
        at = &(*at)->next;
    }
    *at = g->next;
    g->next = NULL;
    q->n--;
}

/* The round of g has begun: nobody joins it any more. */
static void begin_round(struct queue *q, const struct generation *g)
{
    for (struct generation *o = q->first; o != NULL; o = o->next) {
        if (o->priority == g->priority && o->least_round <= g->round) {
            o->least_round = g->round + 1;
        }
    }
}

uint64_t queue_count_ahead(struct queue_ahead *a, const struct generation *g)
{
    if (g->priority != a->priority) {
        a->n_before += a->n_same;
        a->priority = g->priority;
        a->n_requests = 0;
        a->n_same = 0;
    }
    a->n_same += queue_n_choices(g);
    return a->n_before + a->n_requests++;
}

bool queue_check_patience(struct generation *g, double turn_s, double prompt_s, struct error *e)
{
    double late_s = clock_seconds_since(g->arrived_ns) + turn_s + prompt_s - g->patience_s;
    if (g->patience_s <= 0.0 || late_s <= 0.0) {
        return true;
    }
    g->retry_s = prompt_s > g->patience_s ? 0 : estimate_retry_s(late_s);
    return error_set(e, ERROR_BUSY,
                     "the request would wait some %.1f seconds for its turn and %.1f for its "
                     "prompt; its client waits %.1f",
                     turn_s, prompt_s, g->patience_s);
}

static bool check_room(const struct queue *q, struct generation *g,
                       const struct estimate_load *load, struct error *e)
{
    uint32_t n_own = 0;
    for (const struct generation *o = q->first; g->owner != 0 && o != NULL; o = o->next) {
        n_own += o->owner == g->owner;
    }
    bool is_owners = n_own > 0 && n_own >= q->max_per_owner;
    if (q->n < q->max && !is_owners) {
        return true;
    }
    g->retry_s = estimate_retry_s(estimate_wait_s(load, 0));
    return is_owners
               ? error_set(e, ERROR_BUSY,
                           "%u requests of this key are waiting already, the most that may", n_own)
               : error_set(e, ERROR_BUSY, "%u requests are waiting already, the most that may",
                           q->n);
}

bool queue_add(struct queue *q, struct generation *g, const struct estimate_load *load,
               struct error *e)
{
    struct queue_ahead ahead = {0};
    if (!check_room(q, g, load, e)) {
        return false;
    }
    const struct generation *behind = *find_place(q, g);
    for (const struct generation *o = q->first; o != behind; o = o->next) {
        queue_count_ahead(&ahead, o);
    }
    if (!queue_check_patience(g, estimate_wait_s(load, queue_count_ahead(&ahead, g)), 0.0, e)) {
        return false;
    }
    insert(q, g);
    return true;
}

uint32_t queue_start(struct queue *q, struct generation *g)
{
    uint32_t index = g->n_started++;
    begin_round(q, g);
    queue_remove(q, g);
    if (queue_n_choices(g) > 0) {
        insert(q, g);
    }
    return index;
}

void queue_rank(struct queue *q, const struct estimate_load *load)
{
    struct queue_ahead ahead = {0};
    uint32_t position = 0;
    for (struct generation *g = q->first; g != NULL; g = g->next) {
        uint64_t n = queue_count_ahead(&ahead, g);
        if (g->n_started == 0) {
            g->position = ++position;
            g->turn_s = estimate_wait_s(load, n);
        }
    }
}
