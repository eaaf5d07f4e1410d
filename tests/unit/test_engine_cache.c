/* test_engine_cache.c - tokens and logits are those of a sequence alone, whatever is shared,
 * evicted or preempted; and every page is accounted for after every step. The model is
 * tiny.gguf beside this program (random weights, made by gen_gguf). */
#include "base/mem.h"
#include "engine/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum {
    TILE = KERN_ATTN_TILE,
    N_CTX = 4 * TILE,
    MAX_ANSWER = 120,
    MAX_EXACT = 9, /* which is slow */
    MAX_SEQS = 8,
    MAX_STEPS = 4000,
    N_PROMPTS = 6,
    N_PARAMS = 3,
    MAX_KNOWN = 256
};

static char model_path[4096];
static struct gguf *file;
static struct pool *pool;
static struct model models[2]; /* packed, exact */

/* What a sequence gave: logits by their hash. */
struct answer {
    uint32_t n, tokens[MAX_ANSWER];
    uint64_t logits[MAX_ANSWER];
};

struct job {
    uint32_t prompt, n_prompt; /* number of the prompt, and how many of its tokens */
    uint32_t params;
    uint32_t n_answer;
    int32_t priority;
    uint64_t salt;
    struct engine_seq *s;
    bool is_noted; /* the logits of the token that was not taken yet */
    struct answer answer;
};

static struct engine_options plain_options(void)
{
    return (struct engine_options){.n_ctx = N_CTX, .max_sequences = MAX_SEQS, .batch = 512};
}

/* Pages for keys and values. */
static uint64_t bytes_of(uint32_t n_pages, enum kern_kv type)
{
    return kv_bytes(&models[0].config, type, (uint64_t)n_pages * TILE);
}

static void open_engine(struct engine *g, const struct engine_options *o, bool exact)
{
    struct error e = {0};
    if (!engine_init(g, &models[exact], pool, o, &e)) {
        fail_msg("%s", e.text);
    }
}

/* Prompts 0 to 2 are one text as far as TILE + 30 * number, 3 to 5 another. They repeat themselves,
 * so that n-grams have something to guess. */
static void make_prompt(uint32_t number, uint32_t *out)
{
    uint32_t common = TILE + 30 * (number % 3);
    for (uint32_t i = 0; i < N_CTX; i++) {
        uint32_t text = i < common ? number / 3 : 7 + number;
        out[i] = ((i % 40) * 2654435761u + text * 40503u) >> 8 & 0xFF;
    }
}

/* Greedy, and with two seeds; few tokens to choose from, so that texts repeat themselves. */
static struct sampler_params make_params(uint32_t number)
{
    static const struct sampler_bias few[] = {
        {3, 100.0f}, {4, 100.0f}, {5, 100.0f}, {6, 100.0f}, {7, 100.0f}};
    struct sampler_params p;
    sampler_params_default(&p);
    p.temperature = number == 0 ? 0.0f : 0.9f;
    p.frequency_penalty = number == 2 ? 0.05f : 0.0f;
    p.seed = number;
    p.logit_bias = few;
    p.n_logit_bias = 5;
    return p;
}

static void open_job(struct engine *g, struct job *j)
{
    uint32_t tokens[N_CTX];
    struct error e = {0};
    struct sampler_params p = make_params(j->params);
    make_prompt(j->prompt, tokens);
    struct engine_request r = {.sampler = &p,
                               .tokens = tokens,
                               .n_tokens = j->n_prompt,
                               .priority = j->priority,
                               .salt = j->salt};
    j->answer.n = 0;
    j->is_noted = false;
    j->s = engine_open(g, &r, &e);
    if (j->s == NULL) {
        fail_msg("%s", e.text);
    }
}

static void check_pages(const struct engine *g)
{
    struct error e = {0};
    if (!engine_check_pages(g, &e)) {
        fail_msg("%s", e.text);
    }
}

static uint64_t hash_logits(const struct engine *g, const struct engine_seq *s)
{
    const float *logits = forward_logits(&g->forward, s->guesses.row - 1);
    uint64_t hash = 0xCBF29CE484222325u;
    for (uint32_t i = 0; i < g->model->config.n_vocab; i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        hash = (hash ^ bits) * 0x100000001B3u;
    }
    return hash;
}

/* Behind the step that gave them: the next one overwrites logits. */
static void note_logits(const struct engine *g, struct job *j)
{
    if (j->s->has_token && !j->is_noted) {
        j->answer.logits[j->answer.n] = hash_logits(g, j->s);
        j->is_noted = true;
    }
}

/* Takes and feeds what is there; true when the answer is complete. */
static bool advance(struct engine *g, struct job *j)
{
    struct answer *a = &j->answer;
    while (a->n < j->n_answer && j->s->has_token) {
        note_logits(g, j);
        j->is_noted = false;
        assert_true(engine_take(j->s, &a->tokens[a->n]));
        a->n++;
        if (a->n < j->n_answer) {
            assert_true(engine_feed(g, j->s, &a->tokens[a->n - 1], 1, NULL));
        }
    }
    return a->n == j->n_answer;
}

static void step(struct engine *g)
{
    bool busy;
    struct error e = {0};
    if (!engine_step(g, &busy, &e)) {
        fail_msg("%s", e.text);
    }
    assert_true(busy);
    engine_note_time(g, 1.0 + g->planned.n_rows / 8.0); /* so that prompts come in small parts */
    check_pages(g);
}

/* Takes tokens and steps until all jobs are done; each is closed when it is. */
static void finish(struct engine *g, struct job *jobs, uint32_t n)
{
    for (uint32_t i = 0, n_open = n; n_open > 0; i++) {
        assert_true(i < MAX_STEPS);
        n_open = 0;
        for (uint32_t k = 0; k < n; k++) {
            if (jobs[k].s != NULL && advance(g, &jobs[k])) {
                engine_close(g, jobs[k].s);
                jobs[k].s = NULL;
                check_pages(g);
            }
            n_open += jobs[k].s != NULL;
        }
        if (n_open > 0) {
            step(g);
        }
    }
}

/* Computes the longest answer by a sequence alone: what the tests know is right. */
static void answer_alone(struct job *j, enum kern_kv type, bool exact)
{
    struct engine g;
    struct engine_options o = plain_options();
    o.max_sequences = 1;
    o.kv_type = type;
    uint32_t most = exact ? MAX_EXACT : MAX_ANSWER;
    j->n_answer = N_CTX - j->n_prompt < most ? N_CTX - j->n_prompt : most;
    open_engine(&g, &o, exact);
    open_job(&g, j);
    finish(&g, j, 1);
    assert_int_equal(g.prefix.n_lookups + g.n_preempted, 0);
    engine_finish(&g);
}

/* Answers that were asked for before. */
static struct {
    struct job job;
    enum kern_kv type;
    bool exact;
} known[MAX_KNOWN];
static uint32_t n_known;

static const struct answer *find_alone(const struct job *j, enum kern_kv type, bool exact)
{
    for (uint32_t i = 0; i < n_known; i++) {
        const struct job *k = &known[i].job;
        if (k->prompt == j->prompt && k->n_prompt == j->n_prompt && k->params == j->params &&
            known[i].type == type && known[i].exact == exact) {
            return &k->answer;
        }
    }
    assert_true(n_known < MAX_KNOWN);
    known[n_known].job =
        (struct job){.prompt = j->prompt, .n_prompt = j->n_prompt, .params = j->params};
    known[n_known].type = type;
    known[n_known].exact = exact;
    answer_alone(&known[n_known].job, type, exact);
    return &known[n_known++].job.answer;
}

static void check_answer(const struct job *j, enum kern_kv type, bool exact)
{
    const struct answer *alone = find_alone(j, type, exact);
    assert_int_equal(j->answer.n, j->n_answer);
    assert_true(j->answer.n <= alone->n);
    assert_memory_equal(j->answer.tokens, alone->tokens, j->n_answer * sizeof(uint32_t));
    assert_memory_equal(j->answer.logits, alone->logits, j->n_answer * sizeof(uint64_t));
}

/* With nothing open all pages are free, or cached and free once the cache lets go. */
static void check_nothing_leaks(struct engine *g)
{
    struct engine_pages n = engine_count_pages(g);
    check_pages(g);
    assert_int_equal(n.in_use, 0);
    assert_int_equal(n.free + n.cached, n.total);
    assert_int_equal(n.cached, g->prefix.n_pages);
    assert_int_equal(prefix_evict(&g->prefix, UINT32_MAX), n.cached);
    assert_int_equal(g->kv.n_free, g->kv.n_pages);
}

static void close_engine(struct engine *g)
{
    check_nothing_leaks(g);
    engine_finish(g);
}

/* --- hits */

/* One after the other, and how much of each is there already. */
struct visit {
    struct job job;
    uint32_t n_cached;
    enum prefix_end end;
};

static void check_visits(const struct engine_options *o, bool exact)
{
    struct visit visits[] = {
        {{.prompt = 0, .n_prompt = 150, .n_answer = 30}, 0, PREFIX_COLD},
        {{.prompt = 0, .n_prompt = 150, .n_answer = 30, .params = 1}, 149, PREFIX_COMPLETE},
        {{.prompt = 0, .n_prompt = 64, .n_answer = 10, .params = 2}, 63, PREFIX_COMPLETE},
        {{.prompt = 0, .n_prompt = 160, .n_answer = 9, .params = 2}, 150, PREFIX_DIVERGED},
        {{.prompt = 1, .n_prompt = 130, .n_answer = 20, .params = 1}, 64, PREFIX_DIVERGED},
        {{.prompt = 2, .n_prompt = 200, .n_answer = 8, .params = 2}, 94, PREFIX_DIVERGED},
        {{.prompt = 2, .n_prompt = 200, .n_answer = 8, .salt = 5}, 0, PREFIX_COLD},
        {{.prompt = 2, .n_prompt = 2, .n_answer = 8, .params = 1}, 1, PREFIX_COMPLETE},
    };
    struct engine g;
    open_engine(&g, o, exact);
    uint64_t n_reused = 0;
    size_t n = exact ? 5 : 8;
    for (size_t i = 0; i < n; i++) {
        struct job *j = &visits[i].job;
        j->n_answer = exact && j->n_answer > MAX_EXACT ? MAX_EXACT : j->n_answer;
        open_job(&g, j);
        step(&g);
        assert_int_equal(j->s->n_cached, visits[i].n_cached);
        assert_string_equal(prefix_end_name(j->s->cache_end), prefix_end_name(visits[i].end));
        n_reused += visits[i].n_cached;
        advance(&g, j);
        finish(&g, j, 1);
        check_answer(j, o->kv_type, exact);
    }
    assert_int_equal(g.prefix.n_lookups, n);
    assert_int_equal(g.prefix.n_hits, exact ? 4 : 6);
    assert_int_equal(g.prefix.n_reused, n_reused);
    close_engine(&g);
}

static void hits_change_no_byte(void **state)
{
    (void)state;
    for (enum kern_kv type = 0; type < KERN_KV_COUNT; type++) {
        struct engine_options o = plain_options();
        o.kv_type = type;
        o.prefix_pages = UINT32_MAX;
        check_visits(&o, false);
        o.max_guesses = 7;
        check_visits(&o, false);
        o.batch = 256;
        check_visits(&o, false);
    }
}

static void hits_change_no_byte_of_the_exact_mode(void **state)
{
    (void)state;
    struct engine_options o = plain_options();
    o.prefix_pages = UINT32_MAX;
    check_visits(&o, true);
}

static void evicted_prefixes_are_computed_again(void **state)
{
    (void)state;
    struct engine_options o = plain_options();
    struct engine g;
    o.kv_bytes = bytes_of(4, o.kv_type); /* a context, and no more */
    o.prefix_pages = UINT32_MAX;
    open_engine(&g, &o, false);
    assert_int_equal(g.kv.n_pages, 4);
    for (uint32_t i = 0; i < 8; i++) {
        struct job j = {.prompt = i % 2 * 3, .n_prompt = 140, .params = i % 3, .n_answer = 100};
        open_job(&g, &j);
        finish(&g, &j, 1);
        check_answer(&j, o.kv_type, false);
    }
    assert_true(g.prefix.n_evicted >= 8);
    struct job j = {.prompt = 0, .n_prompt = 140, .n_answer = 2};
    open_job(&g, &j);
    step(&g);
    assert_string_equal(prefix_end_name(j.s->cache_end), "evicted");
    finish(&g, &j, 1);
    close_engine(&g);
}

/* --- sequences beside each other, and too few pages for them */

static uint64_t check_crowd(const struct engine_options *o)
{
    struct job jobs[MAX_SEQS];
    struct engine g;
    open_engine(&g, o, false);
    for (uint32_t i = 0; i < MAX_SEQS; i++) {
        jobs[i] = (struct job){.prompt = i % N_PROMPTS,
                               .n_prompt = i < 2 ? 140 : 1 + 9 * i,
                               .params = i % N_PARAMS,
                               .n_answer = 64 + 7 * i,
                               .priority = i == 5 ? -1 : 0};
        open_job(&g, &jobs[i]);
    }
    finish(&g, jobs, MAX_SEQS);
    for (uint32_t i = 0; i < MAX_SEQS; i++) {
        check_answer(&jobs[i], o->kv_type, false);
    }
    uint64_t n_preempted = g.n_preempted;
    close_engine(&g);
    return n_preempted;
}

static void preemption_changes_no_byte(void **state)
{
    (void)state;
    struct engine_options o = plain_options();
    uint64_t n_preempted = 0;
    assert_int_equal(check_crowd(&o), 0);
    for (uint32_t i = 0; i < 12; i++) {
        o.kv_type = i / 2 % KERN_KV_COUNT;
        o.kv_bytes = bytes_of(i < 6 ? 5 : 7, o.kv_type);
        o.prefix_pages = (uint32_t[]){0, UINT32_MAX, 3}[i % 3];
        o.max_guesses = i % 4 < 2 ? 0 : 7;
        o.draft = i % 4 == 2 ? &models[0] : NULL; /* which is always right about itself */
        o.batch = i % 4 == 1 ? 17 : 512;
        o.keeps_pace = i % 4 == 2;
        uint64_t n = check_crowd(&o);
        n_preempted += n;
        assert_true(n > 0 || i >= 6);
    }
    assert_true(n_preempted > 12); /* more than one a crowd; how many depends on the tokens */
}

static void an_idle_sequence_gives_up_its_pages(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        struct engine_options o = plain_options();
        struct engine g;
        struct job slow = {.prompt = 0, .n_prompt = 150, .n_answer = 60, .params = 1};
        struct job other = {.prompt = 4, .n_prompt = 200, .n_answer = 50, .params = 2};
        o.kv_bytes = bytes_of(5, o.kv_type);
        o.prefix_pages = i % 2 ? UINT32_MAX : 0;
        o.max_guesses = i / 2 * 7;
        open_engine(&g, &o, false);
        open_job(&g, &slow);
        while (slow.answer.n < 20) {
            step(&g);
            advance(&g, &slow);
        }
        if (!slow.s->has_token) {
            step(&g);
        }
        assert_true(slow.s->has_token); /* which nobody takes */
        note_logits(&g, &slow);
        open_job(&g, &other);
        finish(&g, &other, 1);
        assert_true(g.n_preempted == 1 && slow.s->kv.n_pages == 0 && slow.s->has_token);
        bool busy = true;
        struct job third = {.prompt = 5, .n_prompt = 10, .n_answer = 5};
        assert_true(engine_step(&g, &busy, NULL) && !busy);
        open_job(&g, &third);
        finish(&g, &third, 1);
        assert_true(slow.s->kv.n_pages == 0); /* nothing is sampled twice, though there is room */
        advance(&g, &slow);
        step(&g);
        assert_true(slow.s->kv.n_tokens >= 170);
        assert_int_equal(slow.s->n_cached, 0); /* of its prompt all was computed, once */
        finish(&g, &slow, 1);
        check_answer(&slow, o.kv_type, false);
        check_answer(&other, o.kv_type, false);
        close_engine(&g);
    }
}

static void prompts_begin_in_order(void **state)
{
    (void)state;
    struct engine_options o = plain_options();
    struct engine g;
    o.batch = 100;
    open_engine(&g, &o, false);
    struct job jobs[5];
    static const int32_t priorities[] = {3, 0, -2, 0, 1};
    static const uint32_t expected[] = {2, 1, 3, 4, 0};
    for (uint32_t i = 0; i < 5; i++) {
        jobs[i] =
            (struct job){.prompt = i, .n_prompt = 100, .n_answer = 1, .priority = priorities[i]};
        open_job(&g, &jobs[i]);
    }
    for (uint32_t i = 0; i < 5; i++) {
        step(&g);
        struct job *first = &jobs[expected[i]];
        assert_true(first->s->has_token && advance(&g, first));
        engine_close(&g, first->s);
    }
    close_engine(&g);
}

/* --- conversations: one sequence whose tokens are set anew, as `puna run` does */

static void check_conversation(const struct engine_options *o)
{
    /* how many tokens of prompt 0, then of another one, each turn has */
    static const uint32_t turns[][3] = {{60, 60, 3}, {90, 120, 3}, {90, 240, 4},  {200, 240, 5},
                                        {10, 30, 1}, {90, 240, 4}, {249, 250, 1}, {70, 250, 2}};
    struct engine g;
    uint32_t first[N_CTX], second[N_CTX];
    struct sampler_params p = make_params(0);
    open_engine(&g, o, false);
    struct job j = {.params = 0, .n_answer = 6};
    j.s = engine_open(&g, &(struct engine_request){.sampler = &p}, NULL);
    make_prompt(0, first);
    for (size_t i = 0; i < sizeof turns / sizeof turns[0]; i++) {
        make_prompt(turns[i][2], second);
        memcpy(second, first, turns[i][0] * sizeof *second);
        struct engine alone;
        struct job expected = {.n_answer = 6};
        struct engine_options plain = plain_options();
        plain.kv_type = o->kv_type;
        open_engine(&alone, &plain, false);
        struct engine_request r = {.sampler = &p, .tokens = second, .n_tokens = turns[i][1]};
        expected.s = engine_open(&alone, &r, NULL);
        finish(&alone, &expected, 1);
        close_engine(&alone);

        assert_true(engine_set_tokens(&g, j.s, second, turns[i][1], NULL));
        check_pages(&g);
        j.answer.n = 0;
        while (!advance(&g, &j)) {
            step(&g);
        }
        assert_memory_equal(j.answer.tokens, expected.answer.tokens, 6 * sizeof(uint32_t));
        assert_memory_equal(j.answer.logits, expected.answer.logits, 6 * sizeof(uint64_t));
        if (i == 5 && o->kv_bytes == 0) { /* the same as turn 2; in between was another */
            assert_int_equal(j.s->n_cached, o->prefix_pages > 0 ? 239 : 30);
        }
    }
    engine_close(&g, j.s);
    close_engine(&g);
}

static void conversations_change_no_byte(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 8; i++) {
        struct engine_options o = plain_options();
        o.prefix_pages = i % 2 ? UINT32_MAX : 0;
        o.max_guesses = i / 2 % 2 * 7;
        o.kv_bytes = i / 4 ? bytes_of(4, 0) : 0;
        check_conversation(&o);
    }
}

/* --- anything at any time */

static void run_at_random(struct rng *rng, const struct engine_options *o, struct job *jobs)
{
    struct engine g;
    open_engine(&g, o, false);
    for (uint32_t i = 0; i < 250; i++) {
        uint64_t r = rng_next(rng);
        struct job *j = &jobs[r % MAX_SEQS];
        if (j->s == NULL) {
            *j = (struct job){.prompt = (uint32_t)(r >> 20) % N_PROMPTS,
                              .n_prompt = 1 + (uint32_t)(r >> 24) % 5 * 33,
                              .params = (uint32_t)(r >> 32) % N_PARAMS,
                              .n_answer = 10 + (uint32_t)(r >> 36) % 110,
                              .priority = (int32_t)(r >> 44 & 1)};
            open_job(&g, j);
        } else if ((r >> 16) % 16 == 0) {
            engine_close(&g, j->s);
            j->s = NULL;
        }
        bool busy;
        assert_true(engine_step(&g, &busy, NULL));
        engine_note_time(&g, 1.0 + g.planned.n_rows / 8.0);
        check_pages(&g);
        for (uint32_t k = 0; k < MAX_SEQS; k++) {
            bool pauses = rng_next(rng) % 8 == 0;
            if (jobs[k].s != NULL) {
                note_logits(&g, &jobs[k]);
            }
            if (jobs[k].s != NULL && !pauses && advance(&g, &jobs[k])) {
                engine_close(&g, jobs[k].s);
                jobs[k].s = NULL;
                check_answer(&jobs[k], o->kv_type, false);
            }
        }
    }
    for (uint32_t k = 0; k < MAX_SEQS; k++) {
        engine_close(&g, jobs[k].s);
    }
    close_engine(&g);
}

static void anything_at_any_time_changes_no_byte(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        struct rng rng;
        struct job jobs[MAX_SEQS] = {0};
        struct engine_options o = plain_options();
        rng_init(&rng, 77 + i);
        o.kv_bytes = bytes_of(6 + 2 * i, 0);
        o.prefix_pages = i % 2 ? UINT32_MAX : 4 * i;
        o.max_guesses = i / 2 * 7;
        o.draft = i == 3 ? &models[0] : NULL;
        o.batch = 40;
        run_at_random(&rng, &o, jobs);
    }
}

/* --- errors */

static void memory_for_less_than_a_context_is_refused(void **state)
{
    (void)state;
    struct engine_options o = plain_options();
    struct engine g;
    struct error e = {0};
    o.kv_bytes = bytes_of(4, 0) - 1;
    assert_false(engine_init(&g, &models[0], pool, &o, &e));
    assert_int_equal(e.code, ERROR_USAGE);
    assert_non_null(strstr(e.text, "a context of 256 tokens takes 270336"));
}

static void a_request_that_cannot_be_opened_leaves_nothing_behind(void **state)
{
    (void)state;
    struct engine_options o = plain_options();
    struct engine g;
    struct error e = {0};
    uint32_t tokens[N_CTX + 1] = {0};
    struct sampler_params p = make_params(0);
    struct engine_request r = {.sampler = &p, .tokens = tokens, .n_tokens = N_CTX + 1};
    o.prefix_pages = UINT32_MAX;
    o.max_guesses = 7;
    open_engine(&g, &o, false);
    assert_null(engine_open(&g, &r, &e));
    assert_int_equal(e.code, ERROR_CONTEXT);
    struct job j = {.prompt = 0, .n_prompt = 70, .n_answer = 5};
    open_job(&g, &j);
    size_t n = 1;
    struct engine_seq *second = NULL;
    r.n_tokens = 70;
    for (; second == NULL; n++) {
        e = (struct error){0};
        mem_fail_nth(n);
        second = engine_open(&g, &r, &e);
        mem_fail_nth(0);
        assert_int_equal(e.code, second != NULL ? ERROR_NONE : ERROR_MEMORY);
        assert_int_equal(g.n_open, second != NULL ? 2 : 1);
    }
    assert_true(n > 3);
    mem_fail_nth(1); /* steps and closing need no memory */
    bool busy;
    assert_true(engine_step(&g, &busy, NULL) && engine_step(&g, &busy, NULL));
    engine_close(&g, second);
    assert_int_equal(mem_count(), 0);
    mem_fail_nth(0);
    engine_close(&g, j.s);
    close_engine(&g);
}

static int load_models(void **state)
{
    (void)state;
    struct error e = {0};
    file = gguf_open(model_path, &e);
    pool = pool_create(2, &e);
    for (int exact = 0; exact <= 1; exact++) {
        struct model_load_options o = {.exact = exact};
        if (file == NULL || pool == NULL ||
            !model_load(&models[exact], file, kern_get(kern_best(), NULL), &o, pool, &e)) {
            fail_msg("%s: %s", model_path, e.text);
        }
    }
    return 0;
}

static int unload_models(void **state)
{
    (void)state;
    model_finish(&models[0]);
    model_finish(&models[1]);
    pool_destroy(pool);
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
        cmocka_unit_test(hits_change_no_byte),
        cmocka_unit_test(hits_change_no_byte_of_the_exact_mode),
        cmocka_unit_test(evicted_prefixes_are_computed_again),
        cmocka_unit_test(preemption_changes_no_byte),
        cmocka_unit_test(an_idle_sequence_gives_up_its_pages),
        cmocka_unit_test(prompts_begin_in_order),
        cmocka_unit_test(conversations_change_no_byte),
        cmocka_unit_test(anything_at_any_time_changes_no_byte),
        cmocka_unit_test(memory_for_less_than_a_context_is_refused),
        cmocka_unit_test(a_request_that_cannot_be_opened_leaves_nothing_behind),
    };
    return cmocka_run_group_tests_name("engine's cache", tests, load_models, unload_models);
}
