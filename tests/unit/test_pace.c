/* test_pace.c - no step with prompts takes twice as long as the running answers alone would have:
 * on machines that are simulated, so that nothing here depends on a clock. The engine's model is
 * tiny.gguf beside this program (random weights, made by gen_gguf). */
#include "base/rng.h"
#include "engine/engine.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char model_path[4096];

/* Seconds of a step with so many rows that attend to so many keys together. */
struct machine {
    double read_s; /* of all weights, whatever the rows */
    double row_s;  /* computing a row; reading and computing overlap */
    double key_s;
    uint32_t tile; /* rows are computed in tiles of so many */
};

static const struct machine machines[] = {
    {.read_s = 0.1, .row_s = 0.01, .key_s = 1e-6, .tile = 1},
    {.read_s = 0.1, .row_s = 0.004, .key_s = 1e-6, .tile = 4},
    {.read_s = 0.002, .row_s = 0.0003, .key_s = 3e-7, .tile = 1}, /* attention is slow */
    {.read_s = 0.002, .row_s = 0.00005, .key_s = 1e-8, .tile = 2},
    {.read_s = 0.0, .row_s = 0.01, .key_s = 1e-6, .tile = 1}, /* rows are all that costs */
};
enum { N_MACHINES = sizeof machines / sizeof machines[0], ROW_KEYS = 800 };

static double seconds_of(const struct machine *m, double rows, double keys)
{
    double whole = ceil(rows / m->tile) * m->tile, compute_s = whole * m->row_s;
    return fmax(m->read_s, compute_s) + keys * m->key_s;
}

/* A world of answers that all have the same depth, and one prompt. */
struct simulation {
    const struct machine *machine;
    struct pace pace;
    uint32_t n_decodes;
    double answer_keys; /* of each answer */
    double slowness;
    double worst; /* time of a step with rows of a prompt, in those of one without */
    double sum;   /* of the same */
    uint32_t n_mixed, n_alone, n_over; /* over: twice the time or more */
};

static struct simulation begin(const struct machine *m, uint32_t n_decodes)
{
    return (struct simulation){.machine = m,
                               .pace = {.row_keys = ROW_KEYS},
                               .n_decodes = n_decodes,
                               .answer_keys = 300,
                               .slowness = 1.0};
}

/* One step with as much of a prompt as the pace allows, of `left` tokens; returns how many. */
static uint32_t simulate_step(struct simulation *s, uint32_t depth, uint32_t left)
{
    double keys = s->n_decodes * s->answer_keys;
    double alone_s = s->slowness * seconds_of(s->machine, s->n_decodes, keys);
    double rows = pace_rows(&s->pace, s->n_decodes, depth + 1.0);
    if (rows >= 1.0) {
        rows = pace_rows(&s->pace, s->n_decodes, depth + fmin(rows, left) / 2.0);
    }
    uint32_t n = rows < left ? (uint32_t)rows : left;
    struct pace_step step = {.n_decodes = s->n_decodes, .n_rows = n};
    step.n_keys = n * (depth + (n + 1) / 2.0);
    double took_s = s->slowness * seconds_of(s->machine, s->n_decodes + n, keys + step.n_keys);
    pace_note(&s->pace, &step, took_s);
    if (n > 0) {
        s->worst = n > 1 ? fmax(s->worst, took_s / alone_s) : s->worst; /* one goes in any case */
        s->n_over += n > 1 && took_s >= 2.0 * alone_s;
        s->sum += took_s / alone_s;
        s->n_mixed++;
    } else {
        s->n_alone++;
    }
    return n;
}

static void simulate_prompt(struct simulation *s, uint32_t depth, uint32_t n)
{
    for (uint32_t done = 0, steps = 0; done < n; steps++) {
        assert_true(steps < 4 * n + 100); /* it goes on */
        done += simulate_step(s, depth + done, n - done);
    }
}

static void a_long_prompt_leaves_running_answers_half_their_pace(void **state)
{
    (void)state;
    static const uint32_t n_decodes[] = {1, 3, 8, 16};
    for (size_t i = 0; i < N_MACHINES * 4; i++) {
        struct simulation s = begin(&machines[i / 4], n_decodes[i % 4]);
        for (int k = 0; k < 3; k++) {
            simulate_prompt(&s, 0, 4096);
        }
        assert_true(s.worst < 2.0);
        /* and uses what it may; a row alone may cost more than a lone answer's step */
        assert_true(s.n_decodes < 8 || s.sum / s.n_mixed > 1.25);
        assert_true(s.n_alone * 10 < s.n_mixed + 100);
    }
}

static void prompts_of_any_depth_in_any_order_do_too(void **state)
{
    (void)state;
    static const uint32_t depths[] = {0, 30000, 64, 7000, 100, 60000, 0, 15000};
    for (size_t i = 0; i < N_MACHINES; i++) {
        struct simulation s = begin(&machines[i], 8);
        s.answer_keys = 3000;
        for (size_t k = 0; k < sizeof depths / sizeof depths[0]; k++) {
            simulate_prompt(&s, depths[k], 1500);
        }
        assert_true(s.worst < 2.0);
    }
}

static void answers_may_come_and_go(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MACHINES; i++) {
        struct simulation s = begin(&machines[i], 1);
        for (uint32_t k = 0, depth = 0; k < 2000; k++) {
            if (k % 5 == 0) {
                s.n_decodes = 1 + k * 7919 % 16;
            }
            depth += simulate_step(&s, depth, 4096);
            depth = depth > 4096 ? 0 : depth;
        }
        assert_true(s.worst < 2.0);
    }
}

/* With many short answers one ends, or begins, at every step: prompts go on all the same. */
static void prompts_go_on_while_answers_end_at_every_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MACHINES; i++) {
        struct simulation s = begin(&machines[i], 64);
        for (uint32_t k = 0, depth = 0; k < 2000; k++) {
            s.n_decodes = 64 - k % 48;
            depth += simulate_step(&s, depth, 4096);
            depth = depth > 4096 ? 0 : depth;
        }
        assert_true(s.worst < 2.0);
        assert_true(s.n_alone * 3 < s.n_mixed);
    }
}

/* Another program takes the CPUs, and goes again. */
static void a_machine_may_change_its_speed(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MACHINES; i++) {
        struct simulation s = begin(&machines[i], 4);
        static const double slowness[] = {1, 3, 1, 0.5, 2};
        for (size_t k = 0; k < 5; k++) {
            s.slowness = slowness[k];
            simulate_prompt(&s, 0, 4096);
        }
        assert_true(s.worst < 2.0);
    }
}

/* A step that took ten times its time tells little, with a prompt and without. */
static void an_outlier_does_not_spoil_the_pace(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MACHINES; i++) {
        struct simulation s = begin(&machines[i], 4);
        for (uint32_t k = 0, depth = 0; k < 3000; k++) {
            s.slowness = k % 50 == 49 ? 10.0 : 1.0;
            depth += simulate_step(&s, depth, 4096);
            depth = depth > 4096 ? 0 : depth;
        }
        assert_true(s.worst < 2.3);
        assert_true(s.sum / s.n_mixed > 1.2);
    }
}

/* A third of the steps takes longer by up to a half, some twice as long: prompts come on, at a pace
 * that would be right without. */
static void noise_does_not_slow_prompts_down(void **state)
{
    (void)state;
    for (size_t i = 0; i + 1 < N_MACHINES; i++) {
        struct simulation s = begin(&machines[i], 8);
        struct rng rng;
        rng_init(&rng, 7);
        for (uint32_t k = 0, depth = 0; k < 4000; k++) {
            double chance = (double)(rng_next(&rng) >> 40) / (1 << 24);
            s.slowness = chance < 0.05 ? 2.0 : chance < 0.35 ? 1.0 + chance : 1.0;
            depth += simulate_step(&s, depth, 4096);
            depth = depth > 4096 ? 0 : depth;
        }
        assert_true(s.worst < 3.5 && s.n_over * 10 < s.n_mixed);
        assert_true(s.sum / s.n_mixed > 1.35 && s.sum / s.n_mixed < 1.8);
        assert_true(s.n_alone * 10 < s.n_mixed + 100);
    }
}

static void guesses_are_no_measure_of_a_step_without(void **state)
{
    (void)state;
    struct pace p = {.row_keys = ROW_KEYS};
    assert_true(pace_rows(&p, 2, 10.0) == 0.0);
    pace_note(&p, &(struct pace_step){.n_decodes = 2, .n_guesses = 5}, 1.0);
    assert_true(pace_rows(&p, 2, 10.0) == 0.0);
    pace_note(&p, &(struct pace_step){.n_decodes = 2}, 1.0);
    assert_true(pace_rows(&p, 2, 10.0) >= 1.0);
    pace_note(&p, &(struct pace_step){.n_rows = 500, .n_keys = 500 * 200}, 50.0); /* no answers */
    assert_true(pace_rows(&p, 2, 10.0) >= 1.0);
    assert_true(pace_rows(&p, 1, 10.0) >= 1.0); /* half as long at least */
    assert_true(pace_rows(&p, 9, 10.0) == 0.0); /* may be much more */
}

/* --- the engine */

enum { N_CTX = 2048, N_RUNNING = 3, N_PROMPT = 2000 };

struct world {
    struct gguf *file;
    struct pool *pool;
    struct model model;
    struct engine engine;
};

static void open_world(struct world *w)
{
    struct error e = {0};
    *w = (struct world){.file = gguf_open(model_path, &e), .pool = pool_create(2, &e)};
    const struct kern_table *kern = kern_get(kern_best(), &e);
    if (w->file == NULL || w->pool == NULL || kern == NULL ||
        !model_load(&w->model, w->file, kern, &(struct model_load_options){0}, w->pool, &e) ||
        !engine_init(&w->engine, &w->model, w->pool,
                     &(struct engine_options){.n_ctx = N_CTX,
                                              .max_sequences = N_RUNNING + 1,
                                              .prefix_pages = UINT32_MAX,
                                              .keeps_pace = true},
                     &e)) {
        fail_msg("%s: %s", model_path, e.text);
    }
}

static void close_world(struct world *w)
{
    engine_finish(&w->engine);
    model_finish(&w->model);
    pool_destroy(w->pool);
    gguf_destroy(w->file);
}

static struct engine_seq *open_seq(struct world *w, uint32_t n, uint32_t salt,
                                   enum engine_rows rows)
{
    static uint32_t tokens[N_PROMPT];
    for (uint32_t i = 0; i < n; i++) {
        tokens[i] = (i * 2654435761u + salt * 40503u) >> 8 & 0xFF;
    }
    struct sampler_params params;
    sampler_params_default(&params);
    struct engine_request r = {.sampler = &params, .tokens = tokens, .n_tokens = n, .rows = rows};
    struct engine_seq *s = engine_open(&w->engine, &r, NULL);
    assert_non_null(s);
    return s;
}

/* Time of the step that was computed, told to the engine, in times of one without its prompts. */
static double simulate_engine(struct world *w, const struct machine *m)
{
    const struct engine *g = &w->engine;
    double rows = 0.0, keys = 0.0, alone_rows = 0.0, alone_keys = 0.0;
    for (uint32_t i = 0; i < g->n_items; i++) {
        const struct forward_item *item = &g->items[i];
        double end = item->seq->n_tokens, n = item->n_tokens;
        double logits = item->n_logits > 1 ? item->n_logits * g->logits_rows : 0.0;
        double item_keys = n * (end - (n - 1.0) / 2.0);
        bool is_decode = i < g->planned.n_decodes;
        rows += n + logits;
        keys += item_keys;
        alone_rows += is_decode ? n : 0.0;
        alone_keys += is_decode ? item_keys : 0.0;
    }
    double took_s = seconds_of(m, rows, keys), alone_s = seconds_of(m, alone_rows, alone_keys);
    engine_note_time(&w->engine, took_s);
    return g->planned.n_decodes > 0 ? took_s / alone_s : 1.0;
}

/* Steps until s has its token, or the rows of its prompt; what it is to be computed beside gets a
 * token every step. */
static void step_until_there(struct world *w, struct engine_seq *s, struct engine_seq **running,
                             const struct machine *m)
{
    uint32_t token, n_steps = 0;
    double sum = 0.0;
    for (bool busy; !engine_take(s, &token); n_steps++) {
        assert_true(engine_step(&w->engine, &busy, NULL) && busy && n_steps < 2 * N_PROMPT);
        double times = simulate_engine(w, m);
        assert_true(times < 2.0);
        sum += times;
        for (uint32_t i = 0; i < N_RUNNING && running != NULL; i++) {
            assert_true(engine_take(running[i], &token));
            assert_true(engine_set_tokens(&w->engine, running[i], running[i]->tokens,
                                          running[i]->n_tokens, NULL)); /* the same place again */
        }
    }
    assert_true(running == NULL || n_steps < 10 || sum / n_steps > 1.15);
}

static void the_engine_keeps_pace_beside_long_deep_and_scored_prompts(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_MACHINES; i++) {
        struct world w;
        struct engine_seq *running[N_RUNNING];
        open_world(&w);
        for (uint32_t k = 0; k < N_RUNNING; k++) {
            running[k] = open_seq(&w, 60 + k, 10 + k, ENGINE_NO_ROWS);
            step_until_there(&w, running[k], NULL, &machines[i]);
        }
        for (uint32_t k = 0; k < N_RUNNING; k++) {
            assert_true(engine_set_tokens(&w.engine, running[k], running[k]->tokens,
                                          running[k]->n_tokens, NULL));
        }
        static const uint32_t lengths[] = {1600, 20, N_PROMPT, N_PROMPT}; /* one goes on deep */
        static const uint32_t salts[] = {1, 2, 1, 3};
        for (size_t k = 0; k < 4; k++) {
            enum engine_rows rows = k == 3 ? ENGINE_LOGITS : ENGINE_NO_ROWS;
            struct engine_seq *s = open_seq(&w, lengths[k], salts[k], rows);
            step_until_there(&w, s, running, &machines[i]);
            engine_close(&w.engine, s);
        }
        close_world(&w);
    }
}

int main(int argc, char **argv)
{
    (void)argc;
    const char *slash = strrchr(argv[0], '/');
    int n = slash != NULL ? (int)(slash - argv[0]) : 1;
    snprintf(model_path, sizeof model_path, "%.*s/tiny.gguf", n, slash != NULL ? argv[0] : ".");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_prompt_leaves_running_answers_half_their_pace),
        cmocka_unit_test(prompts_of_any_depth_in_any_order_do_too),
        cmocka_unit_test(answers_may_come_and_go),
        cmocka_unit_test(prompts_go_on_while_answers_end_at_every_step),
        cmocka_unit_test(a_machine_may_change_its_speed),
        cmocka_unit_test(an_outlier_does_not_spoil_the_pace),
        cmocka_unit_test(noise_does_not_slow_prompts_down),
        cmocka_unit_test(guesses_are_no_measure_of_a_step_without),
        cmocka_unit_test(the_engine_keeps_pace_beside_long_deep_and_scored_prompts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
