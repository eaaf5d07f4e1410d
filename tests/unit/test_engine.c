/* test_engine.c - the tokens of a sequence depend on its own tokens, parameters and seed alone.
 * The models are tiny.gguf and tiny-bf16.gguf beside this program (random weights, made by
 * gen_gguf). */
#include "base/mem.h"
#include "engine/engine.h"
#include "model_file.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { N_CTX = 256, N_PROMPT = 90, N_ANSWER = 12, N_MATES = 3, MAX_STEPS = 400 };

static char model_path[4096], bf16_model_path[4096];

struct setting {
    enum kern_set set;
    uint32_t threads, batch;
    bool mates; /* other sequences compute beside */
    uint32_t max_guesses;
    enum kern_kv kv_type;
    uint32_t n_ctx;   /* 0: N_CTX */
    unsigned n_nodes; /* that the machine's memory is imagined to have; 0: 1 */
};

/* What all settings of a test share. */
static struct {
    bool is_bf16; /* the model */
    enum kern_numerics numerics;
} common;

struct world {
    struct gguf *file;
    struct pool *pool;
    struct model model;
    struct engine engine;
};

static void open_world(struct world *w, const struct setting *s)
{
    struct error e = {0};
    *w = (struct world){0};
    w->file = gguf_open(common.is_bf16 ? bf16_model_path : model_path, &e);
    if (w->file == NULL) {
        fail_msg("%s", e.text);
    }
    struct numa numa = {.n_nodes = s->n_nodes > 0 ? s->n_nodes : 1};
    w->pool = pool_create_on(s->threads, &numa, &e);
    const struct kern_table *kern =
        common.numerics == KERN_BF16 ? kern_get_bf16(s->set, &e) : kern_get(s->set, &e);
    assert_non_null(w->pool);
    assert_non_null(kern);
    if (!model_load(&w->model, w->file, kern, &(struct model_load_options){0}, w->pool, &e)) {
        fail_msg("%s", e.text);
    }
    struct engine_options options = {.n_ctx = s->n_ctx > 0 ? s->n_ctx : N_CTX,
                                     .max_sequences = 1 + N_MATES,
                                     .batch = s->batch,
                                     .max_guesses = s->max_guesses,
                                     .kv_type = s->kv_type};
    if (!engine_init(&w->engine, &w->model, w->pool, &options, &e)) {
        fail_msg("%s", e.text);
    }
}

static void close_world(struct world *w)
{
    engine_finish(&w->engine);
    model_finish(&w->model);
    pool_destroy(w->pool);
    gguf_destroy(w->file);
}

static void make_prompt(uint32_t *tokens, uint32_t n, uint32_t salt)
{
    for (uint32_t i = 0; i < n; i++) {
        tokens[i] = (i * 2654435761u + salt * 40503u) >> 8 & 0xFF;
    }
}

static struct sampler_params params_with_seed(uint64_t seed)
{
    struct sampler_params p;
    sampler_params_default(&p);
    p.seed = seed;
    return p;
}

static struct engine_seq *open_with_prompt(struct world *w, uint32_t n, uint32_t salt)
{
    uint32_t tokens[N_PROMPT];
    make_prompt(tokens, n, salt);
    struct sampler_params p = params_with_seed(salt);
    struct engine_seq *s = engine_open(&w->engine, &(struct engine_request){.sampler = &p}, NULL);
    assert_non_null(s);
    assert_true(engine_feed(&w->engine, s, tokens, n, NULL));
    return s;
}

/* Steps until s has a token; every other sequence is fed its own as it comes. */
static uint32_t next_token(struct world *w, struct engine_seq *s)
{
    for (int i = 0; i < MAX_STEPS; i++) {
        bool busy;
        uint32_t token;
        assert_true(engine_step(&w->engine, &busy, NULL));
        for (uint32_t k = 0; k < w->engine.options.max_sequences; k++) {
            struct engine_seq *mate = &w->engine.seqs[k];
            if (mate != s && mate->in_use && mate->n_tokens < 200 && engine_take(mate, &token)) {
                assert_true(engine_feed(&w->engine, mate, &token, 1, NULL));
            }
        }
        if (engine_take(s, &token)) {
            return token;
        }
    }
    fail_msg("no token after %d steps", MAX_STEPS);
    return 0;
}

static void answer(const struct setting *setting, uint32_t *out)
{
    struct world w;
    open_world(&w, setting);
    for (uint32_t i = 0; setting->mates && i < N_MATES; i++) {
        open_with_prompt(&w, 1 + 37 * i, 100 + i);
    }
    struct engine_seq *s = open_with_prompt(&w, N_PROMPT, 1);
    for (int i = 0; i < N_ANSWER; i++) {
        out[i] = next_token(&w, s);
        assert_true(engine_feed(&w.engine, s, &out[i], 1, NULL));
    }
    close_world(&w);
}

/* In all settings the answer of ref with one thread. */
static void check_set_with(enum kern_set set, enum kern_kv type, const uint32_t *expected)
{
    const struct setting settings[] = {{set, 1, 512, false, 0, type, 0, 0},
                                       {set, 2, 512, false, 0, type, 0, 0},
                                       {set, 2, 7, false, 0, type, 0, 0},
                                       {set, 1, 13, true, 0, type, 0, 0},
                                       {set, 3, 512, true, 0, type, 0, 0}};
    for (size_t i = set == KERN_REF; i < sizeof settings / sizeof settings[0]; i++) {
#ifdef __SANITIZE_THREAD__ /* has nothing to watch in one thread, and makes that last minutes */
        if (settings[i].threads == 1) {
            continue;
        }
#endif
        uint32_t tokens[N_ANSWER];
        answer(&settings[i], tokens);
        assert_memory_equal(tokens, expected, sizeof tokens);
    }
}

static void answer_of_ref(enum kern_kv type, uint32_t *out)
{
    const struct setting plain = {KERN_REF, 1, 512, false, 0, type, 0, 0};
    answer(&plain, out);
}

static void check_set(enum kern_set set)
{
    struct error e = {0};
    if (kern_get(set, &e) == NULL) {
        print_message("SKIPPED: %s\n", e.text);
        skip();
    }
    static uint32_t expected[KERN_KV_COUNT][N_ANSWER]; /* for all sets */
    static bool is_known;
    for (enum kern_kv type = 0; type < KERN_KV_COUNT; type++) {
        if (!is_known) {
            answer_of_ref(type, expected[type]);
        }
        check_set_with(set, type, expected[type]);
    }
    is_known = true;
    assert_memory_not_equal(expected[KERN_KV_Q16], expected[KERN_KV_Q8_0], sizeof expected[0]);
    assert_memory_not_equal(expected[KERN_KV_Q16], expected[KERN_KV_F16], sizeof expected[0]);
}

static void tokens_do_not_depend_on_anything_else(void **state)
{
    (void)state;
    check_set(KERN_REF);
}

static void tokens_do_not_depend_on_the_nodes_of_the_memory(void **state)
{
    (void)state;
    struct setting setting = {.set = kern_best(), .threads = 3, .batch = 64};
    uint32_t expected[N_ANSWER], tokens[N_ANSWER];
    answer(&setting, expected);
    for (setting.n_nodes = 2; setting.n_nodes <= 3; setting.n_nodes++) {
        answer(&setting, tokens);
        assert_memory_equal(tokens, expected, sizeof expected);
    }
}

static void tokens_of_avx2_are_those_of_ref(void **state)
{
    (void)state;
    check_set(KERN_AVX2);
}

static void tokens_of_avxvnni_are_those_of_ref(void **state)
{
    (void)state;
    check_set(KERN_AVXVNNI);
}

static void tokens_of_avx512_are_those_of_ref(void **state)
{
    (void)state;
    check_set(KERN_AVX512);
}

static void tokens_of_amx_are_those_of_ref(void **state)
{
    (void)state;
    check_set(KERN_AMX);
}

static void tokens_of_neon_are_those_of_ref(void **state)
{
    (void)state;
    check_set(KERN_NEON);
}

static void tokens_of_i8mm_are_those_of_ref(void **state)
{
    (void)state;
    check_set(KERN_I8MM);
}

/* That they differ from the portable ones is seen in logits: tests/cli/test_same_bytes.py. */
static void tokens_in_numerics_bf16_do_not_depend_on_anything_else(void **state)
{
    (void)state;
    uint32_t expected[N_ANSWER];
    struct error e = {0};
    bool has_avx512 = kern_get_bf16(KERN_AVX512, &e) != NULL;
    if (!has_avx512) {
        print_message("ref alone: %s\n", e.text);
    }
    common.is_bf16 = true;
    common.numerics = KERN_BF16;
    answer_of_ref(KERN_KV_Q16, expected);
    check_set_with(has_avx512 ? KERN_AVX512 : KERN_REF, KERN_KV_Q16, expected);
    common.numerics = KERN_PORTABLE;
    common.is_bf16 = false;
}

/* Keys of more than two spans, which the threads share when they decode. */
static void check_long_prompt(enum kern_kv type)
{
    enum { N_LONG = 1100, N_SHORT_ANSWER = 6 };
    uint32_t tokens[4][N_SHORT_ANSWER], prompt[N_LONG];
    make_prompt(prompt, N_LONG, 9);
    for (uint32_t i = 0; i < 4; i++) {
        const struct setting setting = {.set = kern_best(),
                                        .threads = 1 + 3 * i,
                                        .batch = 512,
                                        .max_guesses = i / 2 * 7,
                                        .kv_type = type,
                                        .n_ctx = N_LONG + N_SHORT_ANSWER};
        struct sampler_params p = params_with_seed(4);
        struct world w;
        open_world(&w, &setting);
        struct engine_seq *s =
            engine_open(&w.engine, &(struct engine_request){.sampler = &p}, NULL);
        assert_true(engine_feed(&w.engine, s, prompt, N_LONG, NULL));
        for (int k = 0; k < N_SHORT_ANSWER; k++) {
            tokens[i][k] = next_token(&w, s);
            assert_true(engine_feed(&w.engine, s, &tokens[i][k], 1, NULL));
        }
        close_world(&w);
        assert_memory_equal(tokens[i], tokens[0], sizeof tokens[0]);
    }
}

static void tokens_behind_a_long_prompt_do_not_depend_on_threads(void **state)
{
    (void)state;
    check_long_prompt(KERN_KV_Q16);
    check_long_prompt(KERN_KV_F16);
}

static void a_kept_prefix_changes_nothing(void **state)
{
    (void)state;
    const struct setting setting = {kern_best(), 2, 64, false, 0, KERN_KV_Q16, 0, 0};
    struct world w;
    open_world(&w, &setting);
    struct engine_seq *s = open_with_prompt(&w, N_PROMPT, 1);
    uint32_t first = next_token(&w, s);
    uint32_t tokens[N_PROMPT];
    make_prompt(tokens, N_PROMPT, 1);
    sampler_finish(&s->sampler);
    struct sampler_params p = params_with_seed(1);
    assert_true(sampler_init(&s->sampler, &p, w.engine.options.n_choices, NULL));
    assert_true(engine_set_tokens(&w.engine, s, tokens, N_PROMPT, NULL));
    assert_int_equal(s->kv.n_tokens, N_PROMPT - 1);
    assert_int_equal(next_token(&w, s), first);
    close_world(&w);
}

/* --- speculation */

enum { N_PATTERN = 20, N_COPIES = 4, N_LONG_ANSWER = N_CTX - N_PATTERN * N_COPIES };

/* Answers a prompt that repeats itself until the context is full, beside mates if the setting says
 * so: as the engine's owner should, taking and feeding until there is no token. Half-way the
 * conversation is set anew. */
static uint64_t answer_repeating(const struct setting *setting, const struct sampler_params *p,
                                 uint32_t *out)
{
    struct world w;
    open_world(&w, setting);
    uint32_t prompt[N_PATTERN * N_COPIES + N_LONG_ANSWER], n = 0;
    for (; n < N_PATTERN * N_COPIES; n++) {
        make_prompt(&prompt[n], 1, n % N_PATTERN);
    }
    struct engine_seq *mates[N_MATES],
        *s = engine_open(&w.engine, &(struct engine_request){.sampler = p}, NULL);
    for (uint32_t i = 0; i < (setting->mates ? N_MATES : 0); i++) {
        mates[i] = engine_open(&w.engine, &(struct engine_request){.sampler = p}, NULL);
        assert_true(engine_feed(&w.engine, mates[i], prompt + i, n - 7 * i, NULL));
    }
    assert_true(engine_feed(&w.engine, s, prompt, n, NULL));
    for (uint32_t i = 0; i < N_LONG_ANSWER;) {
        bool busy;
        uint32_t token;
        assert_true(engine_step(&w.engine, &busy, NULL));
        for (uint32_t k = 0; k < (setting->mates ? N_MATES : 0); k++) {
            while (mates[k]->n_tokens < 200 && engine_take(mates[k], &token)) {
                assert_true(engine_feed(&w.engine, mates[k], &token, 1, NULL));
            }
        }
        for (; i < N_LONG_ANSWER && engine_take(s, &out[i]); i++) {
            prompt[n++] = out[i];
            assert_true(i == N_LONG_ANSWER / 2 ? engine_set_tokens(&w.engine, s, prompt, n, NULL)
                                               : engine_feed(&w.engine, s, &out[i], 1, NULL));
        }
    }
    assert_int_equal(s->n_tokens, N_CTX);
    struct speculation_count guesses = w.engine.speculation.counts[SPECULATION_NGRAM];
    assert_true(guesses.right <= guesses.made);
    for (uint32_t i = 0; i < w.engine.options.max_sequences; i++) {
        engine_close(&w.engine, &w.engine.seqs[i]);
    }
    assert_int_equal(w.engine.kv.n_free, w.engine.kv.n_pages);
    close_world(&w);
    return guesses.right;
}

static void guesses_change_no_token(void **state)
{
    (void)state;
    struct sampler_params greedy = params_with_seed(1), warm = params_with_seed(2);
    greedy.temperature = 0;
    warm.temperature = 0.4f;
    warm.repeat_penalty = 1.1f;
    /* a model of random weights repeats itself only when it has little choice */
    static const struct sampler_bias few[] = {{3, 1000.0f}, {4, 1000.0f}};
    greedy.logit_bias = warm.logit_bias = few;
    greedy.n_logit_bias = warm.n_logit_bias = 2;
    const struct sampler_params params[] = {greedy, warm};
    for (int i = 0; i < 2; i++) {
        uint32_t expected[N_LONG_ANSWER], tokens[N_LONG_ANSWER];
        const struct setting plain = {kern_best(), 2, 64, false, 0, KERN_KV_Q16, 0, 0};
        assert_int_equal(answer_repeating(&plain, &params[i], expected), 0);
        for (int k = 0; k < 8; k++) {
            const struct setting guessing = {kern_best(),
                                             2,
                                             k % 2 ? 64 : 9,
                                             k / 2 % 2,
                                             k < 4 ? 7 : ENGINE_MAX_GUESSES,
                                             KERN_KV_Q16,
                                             0,
                                             0};
            uint64_t n_confirmed = answer_repeating(&guessing, &params[i], tokens);
            assert_memory_equal(tokens, expected, sizeof expected);
            assert_true(n_confirmed > N_LONG_ANSWER / 10);
        }
    }
}

static void a_full_context_is_an_error_that_changes_nothing(void **state)
{
    (void)state;
    const struct setting setting = {kern_best(), 1, 64, false, 7, KERN_KV_Q16, 0, 0};
    struct world w;
    open_world(&w, &setting);
    struct engine_seq *s = open_with_prompt(&w, N_PROMPT, 1);
    uint32_t tokens[200] = {0};
    struct error e = {0};
    assert_false(engine_feed(&w.engine, s, tokens, 200, &e));
    assert_int_equal(e.code, ERROR_CONTEXT);
    assert_non_null(strstr(e.text, "256"));
    assert_int_equal(s->n_tokens, N_PROMPT);
    uint32_t bad = UINT32_MAX;
    assert_false(engine_feed(&w.engine, s, &bad, 1, &e));
    assert_int_equal(e.code, ERROR_USAGE);
    close_world(&w);
}

static void pages_come_back_when_sequences_close(void **state)
{
    (void)state;
    const struct setting setting = {kern_best(), 1, 64, false, 7, KERN_KV_Q16, 0, 0};
    struct world w;
    open_world(&w, &setting);
    uint32_t n_free = w.engine.kv.n_free;
    for (int i = 0; i < 20; i++) {
        struct engine_seq *s = open_with_prompt(&w, N_PROMPT, 3);
        next_token(&w, s);
        assert_true(w.engine.kv.n_free < n_free);
        engine_close(&w.engine, s);
        assert_int_equal(w.engine.kv.n_free, n_free);
    }
    close_world(&w);
}

/* --- a sequence that fails beside others */

enum { POISON = 5, N_HARMLESS = 4 };

/* Opens sequences, feeds each its own prompt and steps until nothing waits. The first one is fed
 * the token whose embedding is no number, if `poisoned`. */
static void step_all(struct engine *g, bool poisoned, struct engine_seq **out)
{
    for (uint32_t i = 0; i < 1 + N_HARMLESS; i++) {
        struct sampler_params p = params_with_seed(i);
        const uint32_t prompt[] = {i, i == 0 && poisoned ? POISON : 7, 2 * i};
        out[i] = engine_open(g, &(struct engine_request){.sampler = &p}, NULL);
        assert_non_null(out[i]);
        assert_true(engine_feed(g, out[i], prompt, 3, NULL));
    }
    bool busy = true;
    while (busy) {
        assert_true(engine_step(g, &busy, NULL));
    }
}

static void a_sequence_that_fails_does_not_stop_the_others(void **state)
{
    (void)state;
    static const struct model_spec spec = {
        .poked = "token_embd.weight", .poked_at = POISON * MODEL_FILE_EMBD, .poked_value = NAN};
    uint32_t tokens[2][1 + N_HARMLESS];
    struct error e = {0};
    struct model_file file;
    struct model model;
    struct pool *pool = pool_create(2, &e);
    model_file_open(&file, &spec, &e);
    if (pool == NULL || file.gguf == NULL ||
        !model_load(&model, file.gguf, kern_get(kern_best(), NULL), &(struct model_load_options){0},
                    pool, &e)) {
        fail_msg("%s", e.text);
    }
    for (int poisoned = 0; poisoned <= 1; poisoned++) {
        struct engine g;
        struct engine_seq *seqs[1 + N_HARMLESS];
        assert_true(engine_init(&g, &model, pool,
                                &(struct engine_options){.max_sequences = 1 + N_HARMLESS}, &e));
        step_all(&g, poisoned, seqs);
        assert_int_equal(engine_failed(seqs[0], &e), poisoned);
        assert_int_equal(engine_take(seqs[0], &tokens[poisoned][0]), !poisoned);
        for (uint32_t i = 1; i <= N_HARMLESS; i++) {
            assert_false(engine_failed(seqs[i], NULL));
            assert_true(engine_take(seqs[i], &tokens[poisoned][i]));
        }
        if (poisoned) {
            assert_int_equal(e.code, ERROR_FORMAT);
            assert_non_null(strstr(e.text, "nan"));
            assert_true(engine_set_tokens(&g, seqs[0], (const uint32_t[]){1, 2}, 2, &e));
            bool busy;
            assert_true(engine_step(&g, &busy, &e) && !engine_failed(seqs[0], &e));
            assert_true(engine_take(seqs[0], &tokens[poisoned][0]));
        }
        engine_finish(&g);
    }
    assert_memory_equal(tokens[0] + 1, tokens[1] + 1, N_HARMLESS * sizeof tokens[0][0]);
    model_finish(&model);
    model_file_close(&file);
    pool_destroy(pool);
}

static void a_context_beyond_rope_is_refused(void **state)
{
    (void)state;
    static const struct model_spec spec = {.without = "llama.context_length",
                                           .keys = GGUF_TEXT_U32("llama.context_length", 0x200000),
                                           .n_keys = 1};
    struct error e = {0};
    struct model_file file;
    struct model model;
    struct engine g;
    struct pool *pool = pool_create(1, &e);
    model_file_open(&file, &spec, &e);
    assert_true(model_load(&model, file.gguf, kern_get(KERN_REF, NULL),
                           &(struct model_load_options){0}, pool, &e));
    assert_false(engine_init(&g, &model, pool, &(struct engine_options){.n_ctx = 0x100001}, &e));
    assert_int_equal(e.code, ERROR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "1048577"));
    assert_true(engine_init(&g, &model, pool, &(struct engine_options){0}, &e));
    engine_finish(&g);
    model_finish(&model);
    model_file_close(&file);
    pool_destroy(pool);
}

/* --- memory that runs out */

/* All that opening a model, an engine and a sequence allocates. */
struct opened {
    struct gguf *file;
    struct pool *pool;
    struct model model;
    struct engine engine;
    bool is_loaded, is_ready;
};

static void close_all(struct opened *o)
{
    if (o->is_ready) {
        engine_finish(&o->engine);
    }
    if (o->is_loaded) {
        model_finish(&o->model);
    }
    pool_destroy(o->pool);
    gguf_destroy(o->file);
}

/* Samples with every parameter that keeps a copy or a list. */
static struct engine_seq *open_sequence(struct engine *g, struct error *e)
{
    static const struct sampler_bias bias = {.token = 1, .bias = 1.0f};
    struct sampler_params p = params_with_seed(1);
    p.repeat_penalty = 1.1F;
    p.logit_bias = &bias;
    p.n_logit_bias = 1;
    return engine_open(g, &(struct engine_request){.sampler = &p}, e);
}

/* Everything from the file to the first token, the n-th allocation failing; true when it worked. */
static bool open_with_failure(size_t n, bool exact)
{
    struct error e = {0};
    struct opened o = {0};
    struct model_load_options load = {.exact = exact};
    struct engine_options options = {
        .n_ctx = 64, .max_sequences = 2, .max_guesses = 7, .prefix_pages = UINT32_MAX};
    struct engine_seq *s = NULL;
    bool stepped = false, busy;
    mem_fail_nth(n);
    o.file = gguf_open(model_path, &e);
    o.pool = o.file != NULL ? pool_create(2, &e) : NULL;
    o.is_loaded = o.pool != NULL &&
                  model_load(&o.model, o.file, kern_get(kern_best(), NULL), &load, o.pool, &e);
    o.is_ready = o.is_loaded && engine_init(&o.engine, &o.model, o.pool, &options, &e);
    s = o.is_ready ? open_sequence(&o.engine, &e) : NULL;
    size_t n_opening = mem_count();
    if (s != NULL) {
        stepped = engine_feed(&o.engine, s, (const uint32_t[]){1, 2, 3}, 3, &e) &&
                  engine_step(&o.engine, &busy, &e) && !engine_failed(s, &e);
        assert_int_equal(mem_count(), n_opening); /* a step allocates nothing */
        engine_close(&o.engine, s);
    }
    mem_fail_nth(0);
    if (!stepped) {
        assert_int_equal(e.code, ERROR_MEMORY);
        assert_true(e.text[0] != '\0');
        if (o.is_ready) { /* the sequence that was not opened left nothing behind */
            assert_int_equal(o.engine.kv.n_free, o.engine.kv.n_pages);
            assert_non_null(open_sequence(&o.engine, &e));
            assert_non_null(open_sequence(&o.engine, &e));
        }
    }
    close_all(&o);
    return stepped;
}

static void check_every_failing_allocation(bool exact)
{
    size_t n = 1;
    while (!open_with_failure(n, exact)) {
        n++;
        assert_true(n < 10000);
    }
    assert_true(n > 20);
}

static void every_failing_allocation_up_to_the_first_token_is_a_clean_error(void **state)
{
    (void)state;
    check_every_failing_allocation(false);
}

static void every_failing_allocation_of_the_exact_path_is_a_clean_error(void **state)
{
    (void)state;
    check_every_failing_allocation(true);
}

int main(int argc, char **argv)
{
    (void)argc;
    const char *slash = strrchr(argv[0], '/');
    int folder_bytes = slash != NULL ? (int)(slash - argv[0] + 1) : 0;
    snprintf(model_path, sizeof model_path, "%.*stiny.gguf", folder_bytes, argv[0]);
    snprintf(bf16_model_path, sizeof bf16_model_path, "%.*stiny-bf16.gguf", folder_bytes, argv[0]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_do_not_depend_on_anything_else),
        cmocka_unit_test(tokens_do_not_depend_on_the_nodes_of_the_memory),
        cmocka_unit_test(tokens_of_avx2_are_those_of_ref),
        cmocka_unit_test(tokens_of_avxvnni_are_those_of_ref),
        cmocka_unit_test(tokens_of_avx512_are_those_of_ref),
        cmocka_unit_test(tokens_of_amx_are_those_of_ref),
        cmocka_unit_test(tokens_of_neon_are_those_of_ref),
        cmocka_unit_test(tokens_of_i8mm_are_those_of_ref),
        cmocka_unit_test(tokens_in_numerics_bf16_do_not_depend_on_anything_else),
        cmocka_unit_test(tokens_behind_a_long_prompt_do_not_depend_on_threads),
        cmocka_unit_test(a_kept_prefix_changes_nothing),
        cmocka_unit_test(guesses_change_no_token),
        cmocka_unit_test(a_full_context_is_an_error_that_changes_nothing),
        cmocka_unit_test(pages_come_back_when_sequences_close),
        cmocka_unit_test(a_sequence_that_fails_does_not_stop_the_others),
        cmocka_unit_test(a_context_beyond_rope_is_refused),
        cmocka_unit_test(every_failing_allocation_up_to_the_first_token_is_a_clean_error),
        cmocka_unit_test(every_failing_allocation_of_the_exact_path_is_a_clean_error),
    };
    return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
