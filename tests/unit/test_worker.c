/* test_worker.c - the engine thread: what a request gets does not depend on the others, and whoever
 * leaves takes nothing along. The model is tiny.gguf beside this program (random weights). */
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

static void open_world(struct world *w, uint32_t threads, uint32_t max_queue)
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

static void close_world(struct world *w)
{
    worker_destroy(w->worker);
    model_finish(&w->model);
    pool_destroy(w->pool);
    tokenizer_destroy(w->tokenizer);
    gguf_destroy(w->file);
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* A request for one prompt of n tokens; the salt chooses prompt and seed. */
static struct generation *make_request(struct world *w, uint32_t n, uint32_t salt,
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

static bool take(struct generation *g, struct generation_taken *taken, struct result *r)
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
static void finish(struct generation *g, struct result *r)
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

static void drop_result(struct result *r)
{
    for (int i = 0; i < 8; i++) {
        buf_finish(&r->text[i]);
    }
}

static void assert_same_text(const struct buf *a, const struct buf *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->data, b->data, a->n);
}

/* What the engine says without worker and without others. */
static void answer_alone(struct world *w, uint32_t n, uint32_t salt, uint32_t max_tokens,
                         struct buf *out)
{
    struct generation *g = make_request(w, n, salt, 1, max_tokens);
    struct engine engine;
    struct engine_options options = {.n_ctx = N_CTX};
    assert_true(engine_init(&engine, &w->model, w->pool, &options, NULL));
    struct engine_request request = {
        .sampler = &g->sampling, .tokens = g->prompts[0].ids, .n_tokens = n};
    struct engine_seq *s = engine_open(&engine, &request, NULL);
    struct token_list tokens = {0};
    while (tokens.n < max_tokens) {
        bool busy;
        uint32_t token;
        assert_true(engine_step(&engine, &busy, NULL));
        if (engine_take(s, &token)) {
            assert_true(token_list_push(&tokens, token, NULL));
            assert_true(engine_feed(&engine, s, &token, 1, NULL));
        }
    }
    struct token_stream stream;
    token_stream_init(&stream);
    stream.at_start = false;
    for (size_t i = 0; i < tokens.n; i++) {
        assert_true(token_stream_push(&stream, w->tokenizer, tokens.ids[i], false, out, NULL));
    }
    assert_true(token_stream_flush(&stream, out, NULL));
    token_list_finish(&tokens);
    engine_finish(&engine);
    generation_destroy(g);
}

/* Nobody wants them any more: waits until the engine has let go. Returns the steps until then:
 * those that had ended when the last of them was cancelled. */
static uint64_t drop_all(struct world *w, struct generation **all, uint32_t n)
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

static void wait_until_idle(struct world *w)
{
    struct worker_status status;
    uint64_t start = clock_now_ns();
    do {
        nap();
        worker_status(w->worker, &status);
        assert_true(clock_seconds_since(start) < PATIENCE_S);
    } while (status.n_running > 0 || status.n_queued > 0);
}

static void an_answer_is_the_engines_whoever_asks_beside(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 2; threads++) {
        struct world w;
        open_world(&w, threads, 0);
        struct generation *all[16];
        for (uint32_t i = 0; i < 16; i++) {
            all[i] = make_request(&w, 20 + 11 * i % 70, i, 1, 5 + i);
            assert_true(worker_submit(w.worker, all[i], NULL));
        }
        struct result r[16];
        for (uint32_t i = 0; i < 16; i++) {
            finish(all[i], &r[i]);
        }
        wait_until_idle(&w);
        worker_destroy(w.worker); /* the pool is this thread's again */
        w.worker = NULL;
        for (uint32_t i = 0; i < 16; i++) {
            struct buf expected;
            buf_init(&expected, MAX_TEXT);
            answer_alone(&w, 20 + 11 * i % 70, i, 5 + i, &expected);
            assert_int_equal(r[i].error.code, ERROR_NONE);
            assert_int_equal(r[i].n_tokens[0], 5 + i);
            assert_same_text(&r[i].text[0], &expected);
            buf_finish(&expected);
            drop_result(&r[i]);
        }
        close_world(&w);
    }
}

static void choice_i_is_what_seed_plus_i_gives(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 2, 0);
    struct generation *g = make_request(&w, 40, 5, 6, 9);
    assert_true(worker_submit(w.worker, g, NULL));
    struct result together, one;
    finish(g, &together);
    for (uint32_t i = 0; i < 6; i++) {
        g = make_request(&w, 40, 5, 1, 9);
        g->sampling.seed += i;
        assert_true(worker_submit(w.worker, g, NULL));
        finish(g, &one);
        assert_same_text(&together.text[i], &one.text[0]);
        drop_result(&one);
    }
    assert_true(together.text[0].n != together.text[1].n ||
                memcmp(together.text[0].data, together.text[1].data, together.text[0].n) != 0);
    drop_result(&together);
    close_world(&w);
}

static void a_full_queue_refuses_and_says_how_many_wait(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 1, 3);
    struct generation *all[32];
    struct error e = {0};
    uint32_t n = 0;
    bool ok = true;
    while (ok && n < 32) {
        all[n] = make_request(&w, 60, n, 1, 100);
        ok = worker_submit(w.worker, all[n++], &e);
    }
    assert_false(ok);
    assert_int_equal(e.code, ERROR_BUSY);
    assert_non_null(strstr(e.text, "3 requests are waiting"));
    generation_destroy(all[--n]);
    drop_all(&w, all, n);
    wait_until_idle(&w);
    close_world(&w);
}

static void who_leaves_frees_the_place_at_every_stage(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 2, 0);
    /* queued behind four that run; while the prompt is computed; while tokens come */
    for (uint32_t round = 0; round < 30; round++) {
        struct generation *all[6];
        for (uint32_t i = 0; i < 6; i++) {
            all[i] = make_request(&w, 100, i + 10 * round, 1, 100);
            assert_true(worker_submit(w.worker, all[i], NULL));
        }
        for (uint32_t i = 0; i < round % 7; i++) {
            nap();
        }
        uint64_t n_steps = drop_all(&w, all, 6);
        wait_until_idle(&w);
        struct worker_status status;
        worker_status(w.worker, &status);
        assert_in_range(status.n_steps, n_steps, n_steps + 1); /* the one that ran */
        assert_int_equal(status.pages.in_use, 0);
        assert_int_equal(status.pages.free + status.pages.cached, status.pages.total);
    }
    close_world(&w);
}

static void a_paused_request_gets_no_more_than_the_token_in_hand(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 1, 0);
    struct generation *g = make_request(&w, 10, 3, 1, 40);
    atomic_store(&g->paused, true);
    assert_true(worker_submit(w.worker, g, NULL));
    struct generation *other = make_request(&w, 10, 4, 1, 40);
    assert_true(worker_submit(w.worker, other, NULL));
    struct result r;
    finish(other, &r);
    assert_int_equal(r.n_tokens[0], 40);
    drop_result(&r);
    pthread_mutex_lock(&g->lock);
    uint32_t n = g->outputs[0].n_tokens;
    pthread_mutex_unlock(&g->lock);
    assert_in_range(n, 0, 1);
    atomic_store(&g->paused, false);
    worker_wake(w.worker);
    finish(g, &r);
    assert_int_equal(r.n_tokens[0], 40);
    drop_result(&r);
    close_world(&w);
}

static uint64_t n_observed(const struct metrics *m, enum metrics_histogram which)
{
    uint64_t n = 0;
    for (int i = 0; i <= METRICS_MAX_BOUNDS; i++) {
        n += m->histograms[which].buckets[i];
    }
    return n;
}

static void what_is_observed_adds_up(void **state)
{
    (void)state;
    static const uint32_t n_choices[] = {1, 2, 3, 1, 2};
    struct world w;
    open_world(&w, 2, 0);
    struct generation *all[5];
    uint32_t n = 0;
    for (uint32_t i = 0; i < 5; i++) {
        all[i] = make_request(&w, i < 3 ? 30 : 1, i, n_choices[i], 4 + i);
        assert_true(worker_submit(w.worker, all[i], NULL));
        n += n_choices[i] * (4 + i - 1);
    }
    for (uint32_t i = 0; i < 5; i++) {
        struct result r;
        finish(all[i], &r);
        drop_result(&r);
    }
    wait_until_idle(&w);
    struct worker_status status;
    worker_status(w.worker, &status);
    assert_int_equal(n_observed(&w.metrics, METRICS_QUEUE), 5);
    assert_int_equal(n_observed(&w.metrics, METRICS_FIRST_TOKEN), 5);
    assert_int_equal(n_observed(&w.metrics, METRICS_NEXT_TOKEN), n);
    assert_int_equal(n_observed(&w.metrics, METRICS_BATCH), status.n_steps);
    assert_in_range(w.metrics.histograms[METRICS_BATCH].sum, status.n_steps,
                    N_SEQUENCES * status.n_steps);
    assert_true(w.metrics.histograms[METRICS_QUEUE].sum <=
                w.metrics.histograms[METRICS_FIRST_TOKEN].sum);
    close_world(&w);
}

/* Requests whose readers are slow hold all places for as long as the test wants. */
static void hold_all_places(struct world *w, struct generation *held[N_SEQUENCES])
{
    struct worker_status status;
    for (uint32_t i = 0; i < N_SEQUENCES; i++) {
        held[i] = make_request(w, 10, 100 + i, 1, 40);
        atomic_store(&held[i]->paused, true);
        assert_true(worker_submit(w->worker, held[i], NULL));
        do {
            nap();
            worker_status(w->worker, &status);
        } while (status.n_running <= i || status.n_queued > 0);
    }
}

static void who_waits_is_told_where_and_how_long(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 1, 0);
    struct generation *held[N_SEQUENCES], *waits[3];
    hold_all_places(&w, held);
    for (uint32_t i = 0; i < 3; i++) {
        waits[i] = make_request(&w, 10, i, 2, 5);
        waits[i]->priority = i == 2 ? -1 : 0;
        assert_true(worker_submit(w.worker, waits[i], NULL));
    }
    worker_rank(w.worker);
    assert_int_equal(waits[2]->position, 1); /* the priority */
    assert_int_equal(waits[0]->position, 2);
    assert_int_equal(waits[1]->position, 3);
    assert_true(waits[2]->turn_s > 0.0);
    /* each of two choices takes one place's time; then it is a choice of each in turn */
    assert_true(waits[0]->turn_s > 2.99 * waits[2]->turn_s);
    assert_true(waits[0]->turn_s < 3.01 * waits[2]->turn_s);
    assert_true(waits[1]->turn_s > 3.99 * waits[2]->turn_s);
    assert_true(waits[1]->turn_s < 4.01 * waits[2]->turn_s);
    drop_all(&w, &waits[2], 1);
    worker_rank(w.worker);
    assert_int_equal(waits[0]->position, 1);
    drop_all(&w, waits, 2);
    drop_all(&w, held, N_SEQUENCES);
    close_world(&w);
}

/* Choices as they begin, by the letters of their requests. */
struct beginnings {
    char names[32];
    uint32_t n;
};
struct beginner {
    struct beginnings *all;
    struct generation *g;
    char name;
    uint32_t n;
};

/* On the engine thread, with g's lock held. */
static void note_beginnings(void *argument)
{
    struct beginner *b = argument;
    uint32_t n = 0;
    for (uint32_t k = 0; k < generation_n_choices(b->g); k++) {
        n += b->g->outputs[k].started;
    }
    for (; b->n < n && b->all->n < sizeof b->all->names - 1; b->n++) {
        b->all->names[b->all->n++] = b->name;
    }
    b->g->notified = false; /* to be called for everything */
}

static void choices_of_all_requests_get_a_place_in_turn(void **state)
{
    (void)state;
    static const uint32_t n_choices[3] = {4, 1, 2};
    struct world w;
    struct beginnings all = {0};
    struct beginner b[3];
    open_world(&w, 1, 0);
    struct generation *held[N_SEQUENCES];
    hold_all_places(&w, held);
    for (uint32_t i = 0; i < 3; i++) {
        struct generation *g = make_request(&w, 20, i, n_choices[i], 3);
        b[i] = (struct beginner){.all = &all, .g = g, .name = (char)('a' + i)};
        g->notify = note_beginnings;
        g->notify_argument = &b[i];
        assert_true(worker_submit(w.worker, g, NULL));
    }
    drop_all(&w, held, 1); /* so there is one place */
    for (uint32_t i = 0; i < 3; i++) {
        struct result r;
        finish(b[i].g, &r);
        drop_result(&r);
    }
    assert_string_equal(all.names, "abcacaa");
    drop_all(&w, held + 1, N_SEQUENCES - 1);
    close_world(&w);
}

static void who_cannot_wait_so_long_is_refused(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 1, 1);
    struct generation *held[N_SEQUENCES];
    struct error e = {0};
    hold_all_places(&w, held);
    struct generation *g = make_request(&w, 10, 1, 1, 5);
    g->patience_s = 1e-6;
    assert_false(worker_submit(w.worker, g, &e));
    assert_int_equal(e.code, ERROR_BUSY);
    assert_non_null(strstr(e.text, "its client waits 0.0"));
    assert_in_range(g->retry_s, 1, 60);
    g->patience_s = 1e6;
    assert_true(worker_submit(w.worker, g, NULL));
    struct generation *other = make_request(&w, 10, 2, 1, 5);
    assert_false(worker_submit(w.worker, other, &e)); /* the queue is full */
    assert_in_range(other->retry_s, 1, 60);
    generation_destroy(other);
    drop_all(&w, &g, 1);
    drop_all(&w, held, N_SEQUENCES);
    close_world(&w);
}

/* True when it was refused for its prompt alone, false when it was computed. One that had come too
 * late already is asked again. */
static bool is_refused(struct world *w, uint32_t salt, double patience_s)
{
    for (;;) {
        struct generation *g = make_request(w, 200, salt, 1, 1);
        struct result r;
        g->patience_s = patience_s;
        if (!worker_submit(w->worker, g, NULL)) {
            generation_destroy(g);
            continue;
        }
        struct generation_taken taken = {0};
        r = (struct result){0};
        buf_init(&r.text[0], MAX_TEXT);
        while (!take(g, &taken, &r)) {
            nap();
        }
        uint32_t retry_s = g->retry_s;
        generation_taken_finish(&taken, g);
        generation_destroy(g);
        drop_result(&r);
        if (r.error.code == ERROR_NONE) {
            return false;
        }
        assert_int_equal(r.error.code, ERROR_BUSY);
        assert_int_equal(r.n_tokens[0], 0);
        if (retry_s == 0) {
            return true;
        }
    }
}

static void a_prompt_that_takes_too_long_is_refused_unless_it_is_cached(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 1, 0);
    assert_false(is_refused(&w, 1, 1e6)); /* measures the pace */
    struct worker_status status;
    worker_status(w.worker, &status);
    assert_true(status.prompt_rate > 0.0);
    double patience_s = 100 / status.prompt_rate; /* for half of such a prompt */
    uint64_t n_prompt = status.n_prompt;
    assert_true(is_refused(&w, 2, patience_s));
    worker_status(w.worker, &status);
    assert_int_equal(status.n_prompt, n_prompt);
    assert_false(is_refused(&w, 1, patience_s));
    assert_false(is_refused(&w, 2, 1e6));
    close_world(&w);
}

static _Atomic bool holds;

static void hold_thread(void *argument)
{
    (void)argument;
    while (holds) {
        nap();
    }
}

static void an_engine_thread_that_is_stuck_can_be_seen(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 1, 0);
    struct worker_status status;
    struct generation *g = make_request(&w, 10, 1, 1, 5);
    struct result r;
    holds = true;
    g->notify = hold_thread;
    assert_true(worker_submit(w.worker, g, NULL));
    uint64_t start = clock_now_ns();
    do {
        nap();
        worker_status(w.worker, &status);
        assert_true(clock_seconds_since(start) < PATIENCE_S);
    } while (status.round_seconds < 0.1);
    holds = false;
    finish(g, &r);
    drop_result(&r);
    start = clock_now_ns();
    do {
        nap();
        worker_status(w.worker, &status);
        assert_true(clock_seconds_since(start) < PATIENCE_S);
    } while (status.round_seconds > 0.0);
    close_world(&w);
}

static void logprobs_cover_the_text_that_is_out_and_no_more(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 1, 0);
    struct result plain, stopped;
    struct generation *g = make_request(&w, 30, 8, 1, 24);
    g->rules.logprobs = true;
    g->rules.n_top = 3;
    assert_true(worker_submit(w.worker, g, NULL));
    finish(g, &plain);
    assert_int_equal(plain.n_logprobs[0], 24);
    assert_int_equal(plain.text_end[0], plain.text[0].n);
    assert_true(plain.text[0].n > 8);
    /* four bytes in the middle of that text as the stop string */
    char stop_text[5] = {0};
    size_t at = plain.text[0].n / 2;
    while (at > 0 && ((unsigned char)plain.text[0].data[at] & 0xC0) == 0x80) {
        at--;
    }
    memcpy(stop_text, plain.text[0].data + at, 4);
    struct str stop = {stop_text, 4};
    g = make_request(&w, 30, 8, 1, 24);
    g->rules.logprobs = true;
    g->rules.stops = &stop;
    g->rules.n_stops = 1;
    assert_true(worker_submit(w.worker, g, NULL));
    finish(g, &stopped);
    assert_true(stopped.text[0].n <= at);
    assert_memory_equal(stopped.text[0].data, plain.text[0].data, stopped.text[0].n);
    assert_true(stopped.n_logprobs[0] < stopped.n_tokens[0]);
    assert_true(stopped.text_end[0] <= stopped.text[0].n);
    drop_result(&plain);
    drop_result(&stopped);
    close_world(&w);
}

/* Waits for the end and keeps g, whose prompts' rows are looked at. */
static void finish_rows(struct generation *g)
{
    struct generation_taken taken = {0};
    uint64_t start = clock_now_ns();
    do {
        nap();
        assert_true(generation_take(g, &taken, NULL));
        assert_true(clock_seconds_since(start) < PATIENCE_S);
    } while (!taken.done);
    assert_int_equal(taken.error.code, ERROR_NONE);
    for (uint32_t i = 0; i < generation_n_choices(g); i++) {
        assert_int_equal(taken.outputs[i].end, CHOICE_LENGTH);
        assert_int_equal(taken.outputs[i].n_tokens, g->rules.max_tokens);
    }
    generation_taken_finish(&taken, g);
}

static struct generation *make_rows_request(struct world *w, enum engine_rows rows, uint32_t salt,
                                            uint32_t n_choices, uint32_t max_tokens)
{
    struct generation *g = make_request(w, 150, salt, n_choices, max_tokens);
    g->rows = rows;
    g->rules.n_top = rows == ENGINE_LOGITS ? 2 : 0;
    return g;
}

static void assert_same_rows(const struct generation *a, const struct generation *b,
                             uint32_t n_embd)
{
    const struct prompt_rows *p = a->prompt_rows, *q = b->prompt_rows;
    assert_int_equal(p->n, 150);
    assert_int_equal(q->n, 150);
    for (uint32_t i = 3; a->rows == ENGINE_LOGITS && i < 150 * 3; i++) {
        assert_int_equal(p->scores[i].token, q->scores[i].token);
        assert_true(p->scores[i].logprob == q->scores[i].logprob);
    }
    if (a->rows == ENGINE_HIDDEN) {
        assert_memory_equal(p->vector, q->vector, n_embd * sizeof *p->vector);
    }
}

/* One after the other, then all at once among answers; with tokens to follow and without. */
static void rows_of_prompts_are_the_same_whoever_asks_beside(void **state)
{
    (void)state;
    struct world w;
    struct generation *first[4], *again[8], *others[3];
    open_world(&w, 2, 0);
    for (uint32_t i = 0; i < 4; i++) {
        first[i] = make_rows_request(&w, i % 2 ? ENGINE_HIDDEN : ENGINE_LOGITS, i, 1, 0);
        assert_true(worker_submit(w.worker, first[i], NULL));
        finish_rows(first[i]);
    }
    for (uint32_t i = 0; i < 3; i++) {
        others[i] = make_request(&w, 30, 20 + i, 2, 40);
        assert_true(worker_submit(w.worker, others[i], NULL));
    }
    for (uint32_t i = 0; i < 8; i++) {
        bool scores = i % 2 == 0;
        again[i] = make_rows_request(&w, scores ? ENGINE_LOGITS : ENGINE_HIDDEN, i % 4,
                                     scores ? 1 + i / 2 : 1, scores ? i : 0);
        assert_true(worker_submit(w.worker, again[i], NULL));
    }
    for (uint32_t i = 0; i < 8; i++) {
        finish_rows(again[i]);
        assert_same_rows(first[i % 4], again[i], w.model.config.n_embd);
        generation_destroy(again[i]);
    }
    for (uint32_t i = 0; i < 3; i++) {
        struct result r;
        finish(others[i], &r);
        drop_result(&r);
    }
    for (uint32_t i = 0; i < 4; i++) {
        generation_destroy(first[i]);
    }
    wait_until_idle(&w);
    close_world(&w);
}

static void who_leaves_a_prompt_half_scored_frees_the_place(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 2, 0);
    for (uint32_t round = 0; round < 12; round++) {
        struct generation *all[6];
        for (uint32_t i = 0; i < 6; i++) {
            all[i] = make_rows_request(&w, i % 2 ? ENGINE_HIDDEN : ENGINE_LOGITS, i, 1, 0);
            assert_true(worker_submit(w.worker, all[i], NULL));
        }
        for (uint32_t i = 0; i < round % 4; i++) {
            nap();
        }
        uint64_t n_steps = drop_all(&w, all, 6);
        wait_until_idle(&w);
        struct worker_status status;
        worker_status(w.worker, &status);
        assert_in_range(status.n_steps, n_steps, n_steps + 1); /* the one that ran */
        assert_int_equal(status.pages.in_use, 0);
    }
    close_world(&w);
}

static void the_worker_ends_with_requests_that_run_and_wait(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 2, 0);
    struct generation *all[12];
    for (uint32_t i = 0; i < 12; i++) {
        all[i] = make_request(&w, 80, i, 1 + i % 3, 150);
        assert_true(worker_submit(w.worker, all[i], NULL));
    }
    nap();
    close_world(&w);
    for (uint32_t i = 0; i < 12; i++) {
        assert_true(all[i]->done);
        generation_destroy(all[i]);
    }
}

int main(int argc, char **argv)
{
    (void)argc;
    const char *slash = strrchr(argv[0], '/');
    int n = slash != NULL ? (int)(slash - argv[0]) : 1;
    snprintf(model_path, sizeof model_path, "%.*s/tiny.gguf", n, slash != NULL ? argv[0] : ".");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_the_engines_whoever_asks_beside),
        cmocka_unit_test(choice_i_is_what_seed_plus_i_gives),
        cmocka_unit_test(a_full_queue_refuses_and_says_how_many_wait),
        cmocka_unit_test(who_leaves_frees_the_place_at_every_stage),
        cmocka_unit_test(a_paused_request_gets_no_more_than_the_token_in_hand),
        cmocka_unit_test(what_is_observed_adds_up),
        cmocka_unit_test(who_waits_is_told_where_and_how_long),
        cmocka_unit_test(choices_of_all_requests_get_a_place_in_turn),
        cmocka_unit_test(who_cannot_wait_so_long_is_refused),
        cmocka_unit_test(a_prompt_that_takes_too_long_is_refused_unless_it_is_cached),
        cmocka_unit_test(an_engine_thread_that_is_stuck_can_be_seen),
        cmocka_unit_test(logprobs_cover_the_text_that_is_out_and_no_more),
        cmocka_unit_test(rows_of_prompts_are_the_same_whoever_asks_beside),
        cmocka_unit_test(who_leaves_a_prompt_half_scored_frees_the_place),
        cmocka_unit_test(the_worker_ends_with_requests_that_run_and_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
