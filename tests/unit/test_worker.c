/* test_worker.c - the engine thread: what a request gets does not depend on the others, and whoever
 * leaves takes nothing along. */
#include "worker_world.h"

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
    find_model(argv[0]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_the_engines_whoever_asks_beside),
        cmocka_unit_test(choice_i_is_what_seed_plus_i_gives),
        cmocka_unit_test(who_leaves_frees_the_place_at_every_stage),
        cmocka_unit_test(a_paused_request_gets_no_more_than_the_token_in_hand),
        cmocka_unit_test(what_is_observed_adds_up),
        cmocka_unit_test(logprobs_cover_the_text_that_is_out_and_no_more),
        cmocka_unit_test(rows_of_prompts_are_the_same_whoever_asks_beside),
        cmocka_unit_test(who_leaves_a_prompt_half_scored_frees_the_place),
        cmocka_unit_test(the_worker_ends_with_requests_that_run_and_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
