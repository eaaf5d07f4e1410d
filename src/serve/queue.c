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

/* Requests of that owner that wait; those without one have one in common here. */
static uint32_t count_of_owner(const struct queue *q, uint64_t owner)
{
    uint32_t n = 0;
    for (const struct generation *o = q->first; o != NULL; o = o->next) {
        n += o->owner == owner;
    }
    return n;
}

/* Each knows the number, so that nobody has to be counted for each when there is no room. */
static void tell_owner(struct queue *q, uint64_t owner)
{
    uint32_t n = count_of_owner(q, owner);
    for (struct generation *o = q->first; o != NULL; o = o->next) {
        if (o->owner == owner) {
            o->n_of_owner = n;
        }
    }
}

static void insert(struct queue *q, struct generation *g)
{
    struct generation **at = find_place(q, g);
    g->next = *at;
    *at = g;
    q->n++;
    tell_owner(q, g->owner);
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
    tell_owner(q, g->owner);
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

/* Who makes room for g, of an owner with n_own that wait; NULL: nobody. The newest of an owner and
 * a class is the last of them. */
static struct generation *find_displaced(const struct queue *q, const struct generation *g,
                                         uint32_t n_own)
{
    struct generation *found = NULL;
    for (struct generation *o = q->first; o != NULL; o = o->next) {
        if (o->n_started == 0 && (found == NULL || o->priority > found->priority ||
                                  o->n_of_owner >= found->n_of_owner)) {
            found = o;
        }
    }
    bool gives_way =
        found != NULL && (found->priority > g->priority ||
                          (found->priority == g->priority && found->n_of_owner >= n_own + 2));
    return gives_way ? found : NULL;
}

bool queue_refuse(const struct queue *q, struct generation *g, const struct estimate_load *load,
                  struct error *e)
{
    g->retry_s = estimate_retry_s(estimate_wait_s(load, 0));
    return error_set(e, ERROR_BUSY, "%u requests are waiting already, the most that may", q->n);
}

static bool check_room(const struct queue *q, struct generation *g,
                       const struct estimate_load *load, struct generation **out_displaced,
                       struct error *e)
{
    uint32_t n_own = count_of_owner(q, g->owner);
    if (g->owner != 0 && n_own > 0 && n_own >= q->max_per_owner) {
        g->retry_s = estimate_retry_s(estimate_wait_s(load, 0));
        return error_set(e, ERROR_BUSY,
                         "%u requests of this key are waiting already, the most that may", n_own);
    }
    *out_displaced = q->n < q->max ? NULL : find_displaced(q, g, n_own);
    return q->n < q->max || *out_displaced != NULL || queue_refuse(q, g, load, e);
}

bool queue_add(struct queue *q, struct generation *g, const struct estimate_load *load,
               struct generation **out_displaced, struct error *e)
{
    struct queue_ahead ahead = {0};
    struct generation *displaced = NULL;
    if (!check_room(q, g, load, &displaced, e)) {
        return false;
    }
    const struct generation *behind = *find_place(q, g);
    for (const struct generation *o = q->first; o != behind; o = o->next) {
        if (o != displaced) {
            queue_count_ahead(&ahead, o);
        }
    }
    if (!queue_check_patience(g, estimate_wait_s(load, queue_count_ahead(&ahead, g)), 0.0, e)) {
        return false;
    }
    if (displaced != NULL) {
        queue_remove(q, displaced);
    }
    insert(q, g);
    *out_displaced = displaced;
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
