/* worker_world.h - an engine thread with the model tiny.gguf that lies beside the program (random
 * weights), and requests for it. */
#ifndef TESTS_UNIT_WORKER_WORLD_H
#define TESTS_UNIT_WORKER_WORLD_H

#include "base/clock.h"
#include "serve/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

enum { N_CTX = 256, N_SEQUENCES = 4, MAX_TEXT = 1 << 16, PATIENCE_S = 60 };

static char model_path[4096];

struct world {
    struct gguf *file;
    struct tokenizer *tokenizer;
    struct pool *pool;
    struct model model;
    struct worker *worker;
    struct metrics metrics;
};

static inline void open_world(struct world *w, uint32_t threads, uint32_t max_queue)
{
    struct error e = {0};
    *w = (struct world){0};
    w->file = gguf_open(model_path, &e);
    w->tokenizer = w->file != NULL ? tokenizer_create(w->file, &e) : NULL;
    if (w->tokenizer == NULL) {
        fail_msg("%s: %s", model_path, e.text);
    }
    w->pool = pool_create(threads, &e);
    const struct kern_table *kern = kern_get(kern_best(), &e);
    assert_true(model_load(&w->model, w->file, kern, &(struct model_load_options){0}, w->pool, &e));
    struct worker_options options = {.engine = {.n_ctx = N_CTX,
                                                .max_sequences = N_SEQUENCES,
                                                .max_guesses = 3,
                                                .prefix_pages = UINT32_MAX},
                                     .max_queue = max_queue,
                                     .metrics = &w->metrics};
    w->worker = worker_create(&w->model, w->pool, &options, &e);
    if (w->worker == NULL) {
        fail_msg("%s", e.text);
    }
}

static inline void close_world(struct world *w)
{
    worker_destroy(w->worker);
    model_finish(&w->model);
    pool_destroy(w->pool);
    tokenizer_destroy(w->tokenizer);
    gguf_destroy(w->file);
}

static inline void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* A request for one prompt of n tokens; the salt chooses prompt and seed. */
static inline struct generation *make_request(struct world *w, uint32_t n, uint32_t salt,
                                              uint32_t n_choices, uint32_t max_tokens)
{
    struct generation *g = generation_create(1, n_choices, NULL);
    assert_non_null(g);
    g->rules = (struct choice_rules){
        .tokenizer = w->tokenizer, .max_tokens = max_tokens, .ignore_eos = true};
    sampler_params_default(&g->sampling);
    g->sampling.seed = salt;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t token = (i * 2654435761u + salt * 40503u) >> 8 & 0xFF;
        assert_true(token_list_push(&g->prompts[0], token, NULL));
    }
    return g;
}

struct result {
    struct buf text[8];
    uint32_t n_tokens[8], n_logprobs[8];
    size_t text_end[8]; /* of the last entry */
    struct error error;
};

static inline bool take(struct generation *g, struct generation_taken *taken, struct result *r)
{
    bool all = true;
    assert_true(generation_take(g, taken, NULL));
    for (uint32_t i = 0; i < generation_n_choices(g); i++) {
        const struct generation_output *o = &taken->outputs[i];
        assert_true(buf_append(&r->text[i], buf_str(&o->text), NULL));
        r->n_tokens[i] = o->n_tokens;
        r->n_logprobs[i] += (uint32_t)o->n_logprobs;
        if (o->n_logprobs > 0) {
            r->text_end[i] = o->logprobs[o->n_logprobs - 1].text_end;
        }
        all = all && o->end != CHOICE_RUNS;
    }
    r->error = taken->error;
    assert_true(!taken->done || all || r->error.code != ERROR_NONE);
    return taken->done;
}

/* Waits for the end, and lets go of g. */
static inline void finish(struct generation *g, struct result *r)
{
    struct generation_taken taken = {0};
    *r = (struct result){0};
    for (int i = 0; i < 8; i++) {
        buf_init(&r->text[i], MAX_TEXT);
    }
    uint64_t start = clock_now_ns();
    while (!take(g, &taken, r)) {
        assert_true(clock_seconds_since(start) < PATIENCE_S);
        nap();
    }
    generation_taken_finish(&taken, g);
    generation_destroy(g);
}

static inline void drop_result(struct result *r)
{
    for (int i = 0; i < 8; i++) {
        buf_finish(&r->text[i]);
    }
}

/* Nobody wants them any more: waits until the engine has let go. Returns the steps until then:
 * those that had ended when the last of them was cancelled. */
static inline uint64_t drop_all(struct world *w, struct generation **all, uint32_t n)
{
    struct worker_status status;
    for (uint32_t i = 0; i < n; i++) {
        atomic_store(&all[i]->cancelled, true);
    }
    worker_wake(w->worker);
    worker_status(w->worker, &status);
    uint64_t start = clock_now_ns();
    for (uint32_t i = 0; i < n; i++) {
        for (bool done = false; !done; nap()) {
            pthread_mutex_lock(&all[i]->lock);
            done = all[i]->done;
            pthread_mutex_unlock(&all[i]->lock);
            assert_true(clock_seconds_since(start) < PATIENCE_S);
        }
        generation_destroy(all[i]);
    }
    return status.n_steps;
}

static inline void wait_until_idle(struct world *w)
{
    struct worker_status status;
    uint64_t start = clock_now_ns();
    do {
        nap();
        worker_status(w->worker, &status);
        assert_true(clock_seconds_since(start) < PATIENCE_S);
    } while (status.n_running > 0 || status.n_queued > 0);
}

/* The model lies beside the program of that name. */
static inline void find_model(const char *program)
{
    const char *slash = strrchr(program, '/');
    int n = slash != NULL ? (int)(slash - program) : 1;
    snprintf(model_path, sizeof model_path, "%.*s/tiny.gguf", n, slash != NULL ? program : ".");
}

#endif
