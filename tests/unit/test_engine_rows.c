/* test_engine_rows.c - rows of a prompt, logits or hidden states, are those of one forward pass
 * over it alone, each handed over once and in order, whatever is batched, cached or preempted. The
 * model is tiny.gguf beside this program (random weights, made by gen_gguf). */
#include "base/mem.h"
#include "engine/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TILE = KERN_ATTN_TILE, N_CTX = 4 * TILE, N_PROMPT = 150, MAX_SEQS = 6, MAX_STEPS = 4000 };

static char model_path[4096];
static struct gguf *file;
static struct pool *pools[2];  /* of one thread and of two */
static struct model models[2]; /* packed, exact */

/* Rows of the prompts of one number; what a sequence gave, and what it should have. */
struct rows {
    uint32_t width, n; /* numbers of a row; rows so far */
    float *data;       /* (N_PROMPT, width) */
};

static uint32_t width_of(enum engine_rows kind)
{
    const struct model_config *c = &models[0].config;
    return kind == ENGINE_HIDDEN ? c->n_embd : c->n_vocab;
}

static struct rows make_rows(enum engine_rows kind)
{
    struct rows r = {.width = width_of(kind)};
    r.data = calloc((size_t)N_PROMPT * r.width, sizeof *r.data);
    assert_non_null(r.data);
    return r;
}

static void make_prompt(uint32_t number, uint32_t *out)
{
    for (uint32_t i = 0; i < N_PROMPT; i++) {
        out[i] = ((i % 40) * 2654435761u + number * 40503u) >> 8 & 0xFF;
    }
}

static bool stops;         /* steps and passes are stopped once before they are computed */
static uint32_t n_stopped; /* steps */

static bool count_down(void *argument)
{
    uint32_t *n_layers = argument;
    return (*n_layers)-- > 0;
}

/* A pass over other tokens that ends before its last layer. */
static void stop_pass(struct forward *f, struct forward_item item, uint32_t number)
{
    uint32_t tokens[N_PROMPT], left = f->model->config.n_layers - 1;
    struct error e = {0};
    make_prompt(number, tokens);
    item.tokens = tokens;
    f->goes_on = count_down;
    f->goes_on_argument = &left;
    assert_false(forward_batch(f, &item, 1, &e));
    assert_int_equal(e.code, ERROR_INTERRUPTED);
    assert_int_equal(item.seq->n_tokens, 0);
    f->goes_on = NULL;
}

/* What one forward pass over the prompt gives, without an engine. */
static struct rows compute_alone(enum engine_rows kind, uint32_t number, enum kern_kv type,
                                 bool exact)
{
    struct rows r = make_rows(kind);
    uint32_t tokens[N_PROMPT];
    struct kv_pool kv;
    struct kv_seq seq;
    struct forward f;
    const struct model *m = &models[exact];
    bool hidden = kind == ENGINE_HIDDEN;
    struct forward_item item = {.seq = &seq,
                                .tokens = tokens,
                                .n_tokens = N_PROMPT,
                                .n_logits = hidden ? 0 : N_PROMPT,
                                .n_hidden = hidden ? N_PROMPT : 0};
    make_prompt(number, tokens);
    assert_true(kv_pool_init(&kv, &m->config, type, N_CTX, NULL));
    assert_true(kv_seq_init(&seq, N_CTX, NULL));
    struct forward_limits limits = {N_PROMPT, N_PROMPT};
    assert_true(forward_init(&f, m, &kv, pools[0], limits, NULL));
    if (stops) {
        stop_pass(&f, item, number + 1);
    }
    assert_true(forward_batch(&f, &item, 1, NULL));
    memcpy(r.data, hidden ? forward_hidden(&f, 0) : forward_logits(&f, 0),
           (size_t)N_PROMPT * r.width * sizeof *r.data);
    r.n = N_PROMPT;
    forward_finish(&f);
    kv_seq_finish(&seq, &kv);
    kv_pool_finish(&kv);
    return r;
}

struct job {
    uint32_t number, n_prompt;
    enum engine_rows kind;
    int32_t priority;
    struct engine_seq *s;
    struct rows rows;
    uint32_t token; /* sampled behind the prompt */
    bool has_token;
};

static void open_job(struct engine *g, struct job *j)
{
    uint32_t tokens[N_PROMPT];
    struct sampler_params p;
    struct error e = {0};
    sampler_params_default(&p);
    make_prompt(j->number, tokens);
    struct engine_request r = {.sampler = &p,
                               .tokens = tokens,
                               .n_tokens = j->n_prompt,
                               .priority = j->priority,
                               .rows = j->kind};
    j->s = engine_open(g, &r, &e);
    if (j->s == NULL) {
        fail_msg("%s", e.text);
    }
    j->rows = make_rows(j->kind);
    j->has_token = false;
}

/* Takes what the last step gave. */
static void advance(struct engine *g, struct job *j)
{
    struct engine_row_span span;
    struct engine_seq *s = j->s;
    if (engine_take_rows(g, s, &span)) {
        assert_true(j->kind != ENGINE_NO_ROWS && span.n > 0);
        assert_int_equal(span.first, j->rows.n);
        assert_true(span.n <= j->n_prompt - span.first);
        assert_true(j->kind == ENGINE_HIDDEN || span.n <= g->options.prompt_logits);
        memcpy(j->rows.data + (size_t)span.first * j->rows.width, span.rows,
               (size_t)span.n * j->rows.width * sizeof *span.rows);
        j->rows.n += span.n;
        assert_false(engine_take_rows(g, s, &span));
    }
    j->has_token = engine_take(s, &j->token) || j->has_token;
}

static bool is_done(const struct job *j)
{
    bool has_rows = j->kind == ENGINE_NO_ROWS || j->rows.n == j->n_prompt;
    return has_rows && (j->kind == ENGINE_HIDDEN || j->has_token);
}

/* Before one layer of the step that comes, in turn each. It gives nothing. */
static void stop_step(struct engine *g, struct job *jobs, uint32_t n)
{
    bool busy;
    struct error e = {0};
    uint32_t left = n_stopped % g->forward.model->config.n_layers;
    g->forward.goes_on = count_down;
    g->forward.goes_on_argument = &left;
    if (engine_step(g, &busy, &e)) {
        assert_false(busy);
    } else {
        assert_int_equal(e.code, ERROR_INTERRUPTED);
        n_stopped++;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct engine_row_span span;
        uint32_t token;
        assert_false(jobs[i].s != NULL && engine_take_rows(g, jobs[i].s, &span));
        assert_false(jobs[i].s != NULL && engine_take(jobs[i].s, &token));
    }
    assert_true(engine_check_pages(g, NULL));
    g->forward.goes_on = NULL;
}

/* One step; false when nothing waited. */
static bool step(struct engine *g, struct job *jobs, uint32_t n)
{
    bool busy;
    struct error e = {0};
    if (stops) {
        stop_step(g, jobs, n);
    }
    if (!engine_step(g, &busy, &e) || !engine_check_pages(g, &e)) {
        fail_msg("%s", e.text);
    }
    engine_note_time(g, 1.0 + g->planned.n_rows / 4.0); /* so that prompts come in small parts */
    for (uint32_t i = 0; i < n; i++) {
        if (jobs[i].s != NULL) {
            advance(g, &jobs[i]);
        }
    }
    return busy;
}

static void close_job(struct engine *g, struct job *j)
{
    engine_close(g, j->s);
    free(j->rows.data);
    j->s = NULL;
}

static void check_rows(const struct job *j, enum kern_kv type, bool exact)
{
    if (j->kind == ENGINE_NO_ROWS) {
        return;
    }
    struct rows alone = compute_alone(j->kind, j->number, type, exact);
    assert_int_equal(j->rows.n, j->n_prompt);
    assert_memory_equal(j->rows.data, alone.data,
                        (size_t)j->n_prompt * alone.width * sizeof *alone.data);
    free(alone.data);
}

/* Steps until all jobs are done, checks and closes them. */
static void finish(struct engine *g, struct job *jobs, uint32_t n, bool exact)
{
    bool done = false;
    for (uint32_t i = 0; !done; i++) {
        assert_true(i < MAX_STEPS);
        done = true;
        for (uint32_t k = 0; k < n; k++) {
            done = done && is_done(&jobs[k]);
        }
        assert_true(done || step(g, jobs, n));
    }
    assert_false(step(g, jobs, n));
    for (uint32_t k = 0; k < n; k++) {
        assert_true(jobs[k].has_token == (jobs[k].kind != ENGINE_HIDDEN));
        check_rows(&jobs[k], g->options.kv_type, exact);
        close_job(g, &jobs[k]);
    }
}

static struct engine_options plain_options(void)
{
    return (struct engine_options){
        .n_ctx = N_CTX, .max_sequences = MAX_SEQS, .batch = 512, .prefix_pages = UINT32_MAX};
}

static void open_engine(struct engine *g, const struct engine_options *o, bool exact,
                        unsigned threads)
{
    struct error e = {0};
    if (!engine_init(g, &models[exact], pools[threads - 1], o, &e)) {
        fail_msg("%s", e.text);
    }
}

static uint64_t bytes_of(uint32_t n_pages, enum kern_kv type)
{
    return kv_bytes(&models[0].config, type, (uint64_t)n_pages * TILE);
}

/* --- alone and beside others */

static uint32_t token_without_rows(const struct engine_options *o, uint32_t n_prompt)
{
    struct engine g;
    struct job j = {.number = 1, .n_prompt = n_prompt};
    open_engine(&g, o, false, 1);
    open_job(&g, &j);
    finish(&g, &j, 1, false);
    engine_finish(&g);
    return j.token;
}

static void rows_do_not_depend_on_parts_or_threads(void **state)
{
    (void)state;
    /* 149 leaves a single token, behind which there are guesses where they are allowed */
    static const uint32_t batches[] = {512, 150, 149, 64, 7, 1}, logits[] = {0, 1, 3, 512};
    for (uint32_t i = 0; i < 24; i++) {
        struct engine_options o = plain_options();
        o.batch = batches[i % 6];
        o.prompt_logits = logits[i / 6];
        o.kv_type = (i + i / 6) % KERN_KV_COUNT;
        o.max_guesses = i / 6 % 2 * 7;
        uint32_t expected = token_without_rows(&o, N_PROMPT);
        for (enum engine_rows kind = ENGINE_LOGITS; kind <= ENGINE_HIDDEN; kind++) {
            struct engine g;
            struct job j = {.number = 1, .n_prompt = N_PROMPT, .kind = kind};
            open_engine(&g, &o, false, 1 + i % 2);
            open_job(&g, &j);
            finish(&g, &j, 1, false);
            assert_true(kind == ENGINE_HIDDEN || j.token == expected);
            engine_finish(&g);
        }
    }
}

static void rows_of_the_exact_mode_are_handed_over_too(void **state)
{
    (void)state;
    struct engine_options o = plain_options();
    o.batch = 40;
    for (enum engine_rows kind = ENGINE_LOGITS; kind <= ENGINE_HIDDEN; kind++) {
        struct engine g;
        struct job j = {.number = 1, .n_prompt = 70, .kind = kind};
        open_engine(&g, &o, true, 2);
        open_job(&g, &j);
        finish(&g, &j, 1, true);
        engine_finish(&g);
    }
}

/* Sequences of all kinds, one token long and many. */
static void make_crowd(struct job *jobs)
{
    static const uint32_t lengths[MAX_SEQS] = {150, 1, 90, 150, 2, 65};
    for (uint32_t i = 0; i < MAX_SEQS; i++) {
        jobs[i] = (struct job){
            .number = i % 4, .n_prompt = lengths[i], .kind = i % 3, .priority = i == 4 ? -1 : 0};
    }
}

static void rows_do_not_depend_on_others(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 8; i++) {
        struct engine_options o = plain_options();
        struct engine g;
        struct job jobs[MAX_SEQS];
        o.batch = i % 2 ? 33 : 512;
        o.prompt_logits = i % 4 == 0 ? 10 : 0;
        o.max_guesses = i % 4 < 2 ? 7 : 0;
        o.draft = i == 1 ? &models[0] : NULL;
        o.keeps_pace = i > 5;
        open_engine(&g, &o, false, 2);
        make_crowd(jobs);
        for (uint32_t k = 0; k < MAX_SEQS; k++) {
            open_job(&g, &jobs[k]);
        }
        finish(&g, jobs, MAX_SEQS, false);
        engine_finish(&g);
    }
}

/* Beside a sequence that decodes: its items come first, and only they are counted as such. */
static void prompts_with_rows_are_no_decodes(void **state)
{
    (void)state;
    struct engine_options o = plain_options();
    struct engine g;
    struct job jobs[2] = {{.number = 0, .n_prompt = 3},
                          {.number = 1, .n_prompt = N_PROMPT, .kind = ENGINE_LOGITS}};
    o.prompt_logits = 20;
    open_engine(&g, &o, false, 2);
    open_job(&g, &jobs[0]);
    step(&g, jobs, 1);
    assert_true(engine_feed(&g, jobs[0].s, &jobs[0].token, 1, NULL));
    open_job(&g, &jobs[1]);
    step(&g, jobs, 2);
    assert_int_equal(g.n_items, 2);
    assert_int_equal(g.planned.n_decodes, 1);
    assert_int_equal(jobs[1].rows.n, 20);
    close_job(&g, &jobs[0]);
    finish(&g, &jobs[1], 1, false);
    engine_finish(&g);
}

/* --- the cache */

static void rows_are_computed_though_the_prompt_is_cached(void **state)
{
    (void)state;
    struct engine_options o = plain_options();
    struct engine g;
    open_engine(&g, &o, false, 2);
    for (int again = 0; again < 2; again++) {
        for (enum engine_rows kind = ENGINE_LOGITS; kind <= ENGINE_HIDDEN; kind++) {
            struct job j = {.number = 2, .n_prompt = N_PROMPT, .kind = kind};
            open_job(&g, &j);
            step(&g, &j, 1);
            assert_int_equal(j.s->n_cached, 0);
            assert_string_equal(prefix_end_name(j.s->cache_end), "prompt_logprobs");
            finish(&g, &j, 1, false);
        }
    }
    assert_int_equal(g.prefix.n_lookups + g.prefix.n_hits + g.prefix.n_reused, 0);
    struct job plain = {.number = 2, .n_prompt = N_PROMPT}; /* finds what the first left */
    open_job(&g, &plain);
    step(&g, &plain, 1);
    assert_int_equal(plain.s->n_cached, N_PROMPT - 1);
    close_job(&g, &plain);
    engine_finish(&g);
}

/* Texts that are embedded come once: they do not push out the beginnings of chats. */
static void prompts_for_hidden_states_are_not_kept(void **state)
{
    (void)state;
    struct engine_options o = plain_options();
    struct engine g;
    open_engine(&g, &o, false, 2);
    struct job j = {.number = 3, .n_prompt = N_PROMPT, .kind = ENGINE_HIDDEN};
    open_job(&g, &j);
    finish(&g, &j, 1, false);
    assert_int_equal(g.prefix.n_pages, 0);
    assert_int_equal(g.kv.n_free, g.kv.n_pages);
    engine_finish(&g);
}

/* Pages for one prompt and a half: whoever comes behind is preempted while its rows are being
 * handed over, and goes on where it was. */
static void preemption_repeats_no_row(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 8; i++) {
        struct engine_options o = plain_options();
        struct engine g;
        struct job jobs[2] = {
            {.number = 1, .n_prompt = N_PROMPT, .kind = i % 2 ? ENGINE_LOGITS : ENGINE_HIDDEN},
            {.number = 2,
             .n_prompt = 130,
             .kind = i / 2 % 2 ? ENGINE_LOGITS : ENGINE_NO_ROWS,
             .priority = -1}};
        o.kv_bytes = bytes_of(4, o.kv_type);
        o.batch = 50;
        o.prompt_logits = 50;
        o.prefix_pages = i < 4 ? UINT32_MAX : 0;
        open_engine(&g, &o, false, 2);
        open_job(&g, &jobs[0]);
        step(&g, jobs, 1);
        step(&g, jobs, 1);
        assert_int_equal(jobs[0].rows.n, 100);
        open_job(&g, &jobs[1]);
        step(&g, jobs, 2);
        assert_true(g.n_preempted == 1 && jobs[0].s->kv.n_pages == 0);
        if (jobs[0].kind == ENGINE_HIDDEN) { /* nothing of it is kept */
            assert_int_equal(g.prefix.n_pages, 0);
            assert_int_equal(g.kv.n_free, g.kv.n_pages - jobs[1].s->kv.n_pages);
        }
        while (!is_done(&jobs[1])) {
            step(&g, jobs, 2);
        }
        assert_int_equal(jobs[0].rows.n, 100);
        check_rows(&jobs[1], o.kv_type, false);
        close_job(&g, &jobs[1]);
        finish(&g, &jobs[0], 1, false);
        assert_int_equal(g.prefix.n_reused, 0);
        engine_finish(&g);
    }
}

/* --- what may follow */

static void rows_end_with_the_tokens_given_at_opening(void **state)
{
    (void)state;
    uint32_t tokens[N_PROMPT];
    make_prompt(1, tokens);
    struct engine_options o = plain_options();
    o.batch = 60;
    for (enum engine_rows kind = ENGINE_LOGITS; kind <= ENGINE_HIDDEN; kind++) {
        for (int late = 0; late < 2; late++) {
            struct engine g;
            struct job j = {.number = 1, .n_prompt = 100, .kind = kind};
            open_engine(&g, &o, false, 2);
            open_job(&g, &j);
            while (late && !is_done(&j)) {
                step(&g, &j, 1);
            }
            assert_true(engine_feed(&g, j.s, tokens + 100, N_PROMPT - 100, NULL));
            j.has_token = false;
            while (!j.has_token) {
                assert_true(step(&g, &j, 1));
            }
            assert_int_equal(j.token, token_without_rows(&o, N_PROMPT));
            check_rows(&j, o.kv_type, false);
            assert_true(engine_set_tokens(&g, j.s, tokens + 20, 100, NULL));
            j.has_token = false;
            while (!j.has_token) {
                assert_true(step(&g, &j, 1));
            }
            assert_int_equal(j.rows.n, 100);
            close_job(&g, &j);
            engine_finish(&g);
        }
    }
}

static void rows_of_tokens_that_were_replaced_are_not_wanted(void **state)
{
    (void)state;
    struct engine_options o = plain_options();
    uint32_t tokens[N_PROMPT], expected = token_without_rows(&o, N_PROMPT);
    make_prompt(1, tokens);
    o.batch = 60;
    for (enum engine_rows kind = ENGINE_LOGITS; kind <= ENGINE_HIDDEN; kind++) {
        struct engine g;
        struct job j = {.number = 2, .n_prompt = 100, .kind = kind};
        open_engine(&g, &o, false, 2);
        open_job(&g, &j);
        step(&g, &j, 1);
        assert_int_equal(j.rows.n, 60);
        assert_true(engine_set_tokens(&g, j.s, tokens, N_PROMPT, NULL));
        while (!j.has_token) {
            assert_true(step(&g, &j, 1));
        }
        assert_true(j.rows.n == 60 && j.token == expected);
        close_job(&g, &j);
        engine_finish(&g);
    }
}

static void a_step_for_rows_needs_no_memory(void **state)
{
    (void)state;
    struct engine_options o = plain_options();
    struct engine g;
    struct job jobs[MAX_SEQS];
    bool busy = true;
    open_engine(&g, &o, false, 2);
    make_crowd(jobs);
    for (uint32_t k = 0; k < MAX_SEQS; k++) {
        open_job(&g, &jobs[k]);
    }
    mem_fail_nth(1);
    while (busy) {
        assert_true(engine_step(&g, &busy, NULL));
    }
    assert_int_equal(mem_count(), 0);
    mem_fail_nth(0);
    for (uint32_t k = 0; k < MAX_SEQS; k++) {
        close_job(&g, &jobs[k]);
    }
    engine_finish(&g);
}

static void steps_that_were_stopped_are_computed_again(void **state)
{
    (void)state;
    stops = true;
    for (int exact = 0; exact < 2; exact++) {
        struct engine g;
        struct engine_options o = plain_options();
        struct job jobs[] = {{.number = 1, .n_prompt = N_PROMPT, .kind = ENGINE_LOGITS},
                             {.number = 2, .n_prompt = N_PROMPT, .kind = ENGINE_HIDDEN},
                             {.number = 3, .n_prompt = 9}};
        o.batch = 32;
        n_stopped = 0;
        open_engine(&g, &o, exact != 0, 2);
        for (int i = 0; i < 3; i++) {
            open_job(&g, &jobs[i]);
        }
        finish(&g, jobs, 3, exact != 0);
        assert_true(n_stopped >= 2 * N_PROMPT / o.batch);
        engine_finish(&g);
    }
    stops = false;
}

static int load_models(void **state)
{
    (void)state;
    struct error e = {0};
    file = gguf_open(model_path, &e);
    for (unsigned i = 0; i < 2; i++) {
        pools[i] = pool_create(1 + i, &e);
        struct model_load_options o = {.exact = i == 1};
        if (file == NULL || pools[i] == NULL ||
            !model_load(&models[i], file, kern_get(kern_best(), NULL), &o, pools[i], &e)) {
            fail_msg("%s: %s", model_path, e.text);
        }
    }
    return 0;
}

static int unload_models(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        model_finish(&models[i]);
        pool_destroy(pools[i]);
    }
    gguf_destroy(file);
    return 0;
}

int main(int argc, char **argv)
{
    (void)argc;
    const char *slash = strrchr(argv[0], '/');
    snprintf(model_path, sizeof model_path, "%.*stiny.gguf",
             slash != NULL ? (int)(slash - argv[0] + 1) : 0, argv[0]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_do_not_depend_on_parts_or_threads),
        cmocka_unit_test(rows_of_the_exact_mode_are_handed_over_too),
        cmocka_unit_test(rows_do_not_depend_on_others),
        cmocka_unit_test(prompts_with_rows_are_no_decodes),
        cmocka_unit_test(rows_are_computed_though_the_prompt_is_cached),
        cmocka_unit_test(prompts_for_hidden_states_are_not_kept),
        cmocka_unit_test(preemption_repeats_no_row),
        cmocka_unit_test(rows_end_with_the_tokens_given_at_opening),
        cmocka_unit_test(rows_of_tokens_that_were_replaced_are_not_wanted),
        cmocka_unit_test(a_step_for_rows_needs_no_memory),
        cmocka_unit_test(steps_that_were_stopped_are_computed_again),
    };
    return cmocka_run_group_tests_name("engine's rows", tests, load_models, unload_models);
}
