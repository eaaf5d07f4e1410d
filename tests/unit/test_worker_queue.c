/* test_worker_queue.c - who waits for the engine thread: in which order places are given, what is
 * told meanwhile, who is refused; and how it is seen that the thread goes on. */
#include "worker_world.h"

#include <sys/syscall.h>
#include <unistd.h>

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

static void who_makes_room_is_refused_and_all_others_are_served(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, 1, 4);
    struct generation *held[N_SEQUENCES], *waits[4], *new;
    struct worker_status status;
    struct result r;
    hold_all_places(&w, held);
    for (uint32_t i = 0; i < 4; i++) {
        waits[i] = make_request(&w, 10, i, 2, 5);
        waits[i]->owner = 1 + i % 2;
        assert_true(worker_submit(w.worker, waits[i], NULL));
    }
    new = make_request(&w, 10, 4, 2, 5);
    new->owner = 3;
    assert_true(worker_submit(w.worker, new, NULL));
    worker_status(w.worker, &status);
    assert_int_equal(status.n_queued, 4);
    assert_in_range(waits[3]->retry_s, 1, 60);
    finish(waits[3], &r); /* at once: nobody has a place */
    assert_int_equal(r.error.code, ERROR_BUSY);
    assert_string_equal(r.error.text, "4 requests are waiting already, the most that may");
    assert_int_equal(r.n_tokens[0] + r.n_tokens[1], 0);
    drop_result(&r);
    waits[3] = new;
    drop_all(&w, held, N_SEQUENCES);
    for (uint32_t i = 0; i < 4; i++) {
        finish(waits[i], &r);
        assert_int_equal(r.error.code, ERROR_NONE);
        assert_int_equal(r.n_tokens[0] + r.n_tokens[1], 10);
        drop_result(&r);
    }
    wait_until_idle(&w);
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

/* The program's clock, which a test may put forward. */
static _Atomic int64_t ahead_s;

int clock_gettime(clockid_t id, struct timespec *t)
{
    int failed = (int)syscall(SYS_clock_gettime, id, t);
    t->tv_sec += id == CLOCK_MONOTONIC ? ahead_s : 0;
    return failed;
}

/* On a machine where a layer takes 100 seconds, a step takes many times as long. */
static void a_step_that_takes_long_is_not_stuck(void **state)
{
    (void)state;
    enum { LAYER_S = 100, MUCH = 100 };
    struct world w;
    open_world(&w, 1, 0);
    struct worker_status status = {0};
    uint64_t n_layers = 0, n_seen = 0;
    double most_s = 0.0;
    while (n_seen < MUCH) {
        struct generation *g = make_request(&w, 250, (uint32_t)n_seen, 1, 1);
        struct result r;
        assert_true(worker_submit(w.worker, g, NULL));
        do {
            worker_status(w.worker, &status);
            most_s = status.silent_seconds > most_s ? status.silent_seconds : most_s;
            if (status.n_layers != n_layers) {
                n_layers = status.n_layers;
                n_seen++;
                ahead_s += LAYER_S;
            }
        } while (status.silent_seconds > 0.0);
        finish(g, &r);
        assert_int_equal(r.error.code, ERROR_NONE);
        drop_result(&r);
    }
    assert_true(status.n_layers >= (uint64_t)w.model.config.n_layers * status.n_steps);
    assert_true(most_s >= LAYER_S && most_s < LAYER_S + PATIENCE_S);
    close_world(&w);
    ahead_s = 0; /* nobody measures any more: the next test has its own clock */
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
    } while (status.silent_seconds < 0.1);
    holds = false;
    finish(g, &r);
    drop_result(&r);
    start = clock_now_ns();
    do {
        nap();
        worker_status(w.worker, &status);
        assert_true(clock_seconds_since(start) < PATIENCE_S);
    } while (status.silent_seconds > 0.0);
    close_world(&w);
}

int main(int argc, char **argv)
{
    (void)argc;
    find_model(argv[0]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_queue_refuses_and_says_how_many_wait),
        cmocka_unit_test(who_waits_is_told_where_and_how_long),
        cmocka_unit_test(choices_of_all_requests_get_a_place_in_turn),
        cmocka_unit_test(who_cannot_wait_so_long_is_refused),
        cmocka_unit_test(who_makes_room_is_refused_and_all_others_are_served),
        cmocka_unit_test(a_prompt_that_takes_too_long_is_refused_unless_it_is_cached),
        cmocka_unit_test(a_step_that_takes_long_is_not_stuck),
        cmocka_unit_test(an_engine_thread_that_is_stuck_can_be_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
