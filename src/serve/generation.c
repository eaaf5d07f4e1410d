/* generation.c - what the I/O thread and the engine thread share of a request. */
#include "serve/generation.h"

#include "base/clock.h"
#include "base/mem.h"

enum { MAX_TEXT_BYTES = 64 << 20, FIRST_ITEMS = 16 };

static struct generation_output *create_outputs(uint32_t n, struct error *e)
{
    struct generation_output *outputs = mem_alloc(n, sizeof *outputs, "outputs of a request", e);
    for (uint32_t i = 0; outputs != NULL && i < n; i++) {
        buf_init(&outputs[i].text, MAX_TEXT_BYTES);
    }
    return outputs;
}

static void destroy_outputs(struct generation_output *outputs, uint32_t n)
{
    for (uint32_t i = 0; outputs != NULL && i < n; i++) {
        buf_finish(&outputs[i].text);
        mem_free(outputs[i].spans);
        mem_free(outputs[i].logprobs);
    }
    mem_free(outputs);
}

struct generation *generation_create(uint32_t n_prompts, uint32_t n_per_prompt, struct error *e)
{
    struct generation *g = mem_alloc(1, sizeof *g, "request", e);
    if (g == NULL) {
        return NULL;
    }
    g->arrived_ns = clock_now_ns();
    g->n_prompts = n_prompts;
    g->n_per_prompt = n_per_prompt;
    g->prompts = mem_alloc(n_prompts, sizeof *g->prompts, "prompts of a request", e);
    g->prompt_rows =
        g->prompts ? mem_alloc(n_prompts, sizeof *g->prompt_rows, "prompts of a request", e) : NULL;
    g->outputs = g->prompt_rows ? create_outputs(generation_n_choices(g), e) : NULL;
    if (g->outputs == NULL) {
        mem_free(g->prompt_rows);
        mem_free(g->prompts);
        mem_free(g);
        return NULL;
    }
    pthread_mutex_init(&g->lock, NULL);
    return g;
}

void generation_destroy(struct generation *g)
{
    if (g == NULL) {
        return;
    }
    for (uint32_t i = 0; i < g->n_prompts; i++) {
        token_list_finish(&g->prompts[i]);
        prompt_rows_finish(&g->prompt_rows[i]);
    }
    grammar_destroy(g->grammar);
    mem_free(g->prompt_rows);
    mem_free(g->prompts);
    destroy_outputs(g->outputs, generation_n_choices(g));
    pthread_mutex_destroy(&g->lock);
    mem_free(g);
}

/* ---- the engine thread's side ---- */

static void unlock_and_notify(struct generation *g)
{
    if (!g->notified && g->notify != NULL) {
        g->notified = true;
        g->notify(g->notify_argument);
    }
    pthread_mutex_unlock(&g->lock);
}

void generation_accept(struct generation *g)
{
    pthread_mutex_lock(&g->lock);
    g->accepted = true;
    unlock_and_notify(g);
}

/* Nobody need be told at once. */
void generation_begin(struct generation *g, uint32_t i)
{
    pthread_mutex_lock(&g->lock);
    g->outputs[i].began = true;
    pthread_mutex_unlock(&g->lock);
}

void generation_start(struct generation *g, uint32_t i, uint32_t n_cached, enum prefix_end why)
{
    pthread_mutex_lock(&g->lock);
    g->outputs[i].started = true;
    g->outputs[i].n_cached = n_cached;
    g->outputs[i].cache_end = why;
    unlock_and_notify(g);
}

/* Room for n more than n_used in a list of *max items; NULL without memory. */
static void *make_room(void *items, size_t size, size_t n_used, size_t n, size_t *max,
                       struct error *e)
{
    if (n <= *max - n_used) {
        return items;
    }
    size_t room = *max > 0 ? 2 * *max : FIRST_ITEMS;
    room = room > n_used + n ? room : n_used + n;
    void *grown = mem_resize(items, room, size, "what came of a choice", e);
    if (grown != NULL) {
        *max = room;
    }
    return grown;
}

static bool add_logprobs(struct generation_output *o, const struct generation_part *part,
                         struct error *e)
{
    size_t n = part->n_logprobs;
    void *list =
        n > 0 ? make_room(o->logprobs, sizeof *o->logprobs, o->n_logprobs, n, &o->max_logprobs, e)
              : NULL;
    if (n == 0 || list == NULL) {
        return n == 0;
    }
    o->logprobs = list;
    memcpy(o->logprobs + o->n_logprobs, part->logprobs, n * sizeof *part->logprobs);
    o->n_logprobs += n;
    return true;
}

/* Pieces of one thing become one, as its reader may be slow. */
static bool add_spans(struct generation_output *o, const struct generation_part *part,
                      struct error *e)
{
    size_t n = part->n_spans;
    void *list =
        n > 0 ? make_room(o->spans, sizeof *o->spans, o->n_spans, n, &o->max_spans, e) : NULL;
    if (n == 0 || list == NULL) {
        return n == 0;
    }
    o->spans = list;
    for (size_t i = 0; i < n; i++) {
        const struct tool_span *s = &part->spans[i];
        struct tool_span *last = o->n_spans > 0 ? &o->spans[o->n_spans - 1] : NULL;
        if (last != NULL && last->kind == s->kind &&
            (s->kind == TOOL_CONTENT ||
             (s->kind == TOOL_CALL_ARGUMENTS && last->call == s->call))) {
            last->n_bytes += s->n_bytes;
        } else {
            o->spans[o->n_spans++] = *s;
        }
    }
    return true;
}

bool generation_add(struct generation *g, uint32_t i, const struct choice *c,
                    const struct generation_part *part, struct error *e)
{
    pthread_mutex_lock(&g->lock);
    struct generation_output *o = &g->outputs[i];
    bool ok =
        add_logprobs(o, part, e) && add_spans(o, part, e) && buf_append(&o->text, part->text, e);
    if (ok) {
        o->n_tokens = c->n_tokens;
        o->end = c->end;
        o->found = c->guard.found;
    }
    unlock_and_notify(g);
    return ok;
}

void generation_fail(struct generation *g, const struct error *why)
{
    pthread_mutex_lock(&g->lock);
    g->error = *why;
    unlock_and_notify(g);
}

void generation_finish(struct generation *g)
{
    pthread_mutex_lock(&g->lock);
    g->done = true;
    unlock_and_notify(g);
}

/* ---- the I/O thread's side ---- */

/* *to gets what *from has, and *from the emptied buffers of *to. */
static void move_output(struct generation_output *from, struct generation_output *to)
{
    struct generation_output old = *to;
    *to = *from;
    from->text = old.text;
    from->spans = old.spans;
    from->max_spans = old.max_spans;
    from->logprobs = old.logprobs;
    from->max_logprobs = old.max_logprobs;
    buf_clear(&from->text);
    from->n_logprobs = 0;
    from->n_spans = 0;
}

bool generation_take(struct generation *g, struct generation_taken *taken, struct error *e)
{
    if (taken->outputs == NULL) {
        taken->outputs = create_outputs(generation_n_choices(g), e);
        if (taken->outputs == NULL) {
            return false;
        }
    }
    pthread_mutex_lock(&g->lock);
    for (uint32_t i = 0; i < generation_n_choices(g); i++) {
        move_output(&g->outputs[i], &taken->outputs[i]);
    }
    taken->error = g->error;
    taken->accepted = g->accepted;
    taken->done = g->done;
    g->notified = false;
    pthread_mutex_unlock(&g->lock);
    return true;
}

void generation_taken_finish(struct generation_taken *taken, const struct generation *g)
{
    destroy_outputs(taken->outputs, generation_n_choices(g));
    *taken = (struct generation_taken){0};
}
