/* test_draft.c - a draft model changes the speed and no token, whatever it guesses. */
#include "base/mem.h"
#include "engine/engine.h"
#include "model_file.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum {
    N_CTX = 512,
    N_PROMPT = 60,
    N_ANSWER = 160,
    N_MATES = 3,
    N_GUESSES = 7,
    SHORT_CTX = 100,
    SAID = 5
};

/* N_CTX and SHORT_CTX as literals. */
#define CTX(n)                                                                                     \
    .without = "llama.context_length", .keys = GGUF_TEXT_U32("llama.context_length", n), .n_keys = 1

enum which { TARGET, SAME, OTHER, SHORT, FIRM, FEW, N_MODELS };

/* OTHER has other weights, SHORT less context, FIRM is sure that SAID follows whatever there is,
 * FEW knows 12 of the tokens. */
static const struct model_spec specs[N_MODELS] = {
    [TARGET] = {CTX(512)},
    [SAME] = {CTX(512)},
    [OTHER] = {CTX(512), .seed = 1000},
    [SHORT] = {CTX(100)},
    [FIRM] = {CTX(512), .tensor = {"output.bias", MODEL_FILE_VOCAB, 0, QUANT_F32},
              .poked = "output.bias", .poked_at = SAID, .poked_value = 1000},
    [FEW] = {.without = "output.weight",
             .tensor = {"token_embd.weight", MODEL_FILE_EMBD, 12, QUANT_F32}},
};

static struct model_file files[N_MODELS];
static struct model models[N_MODELS];
static struct pool *pool;

static int open_models(void **state)
{
    (void)state;
    struct error e = {0};
    pool = pool_create(3, &e);
    for (int i = 0; i < N_MODELS; i++) {
        model_file_open(&files[i], &specs[i], &e);
        if (files[i].gguf == NULL ||
            !model_load(&models[i], files[i].gguf, kern_get(kern_best(), NULL),
                        &(struct model_load_options){0}, pool, &e)) {
            fail_msg("%s", e.text);
        }
    }
    return 0;
}

static int close_models(void **state)
{
    (void)state;
    for (int i = 0; i < N_MODELS; i++) {
        model_finish(&models[i]);
        model_file_close(&files[i]);
    }
    pool_destroy(pool);
    return 0;
}

static struct engine_options options_with(enum which draft)
{
    return (struct engine_options){.n_ctx = N_CTX,
                                   .max_sequences = 1 + N_MATES,
                                   .max_guesses = draft == TARGET ? 0 : N_GUESSES,
                                   .draft = draft == TARGET ? NULL : &models[draft]};
}

static void open_engine(struct engine *g, const struct engine_options *options)
{
    struct error e = {0};
    if (!engine_init(g, &models[TARGET], pool, options, &e)) {
        fail_msg("%s", e.text);
    }
}

static struct sampler_params greedy(void)
{
    static const struct sampler_bias never_said = {SAID, -INFINITY};
    struct sampler_params p;
    sampler_params_default(&p);
    p.temperature = 0;
    p.logit_bias = &never_said;
    p.n_logit_bias = 1;
    return p;
}

static struct sampler_params warm(void)
{
    struct sampler_params p = greedy();
    p.temperature = 0.9F;
    p.repeat_penalty = 1.2F;
    p.seed = 11;
    return p;
}

static void make_prompt(uint32_t *tokens, uint32_t n, uint32_t salt)
{
    uint32_t x = salt + 1;
    for (uint32_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        tokens[i] = (x >> 16) % MODEL_FILE_VOCAB;
    }
}

static struct engine_seq *open_sequence(struct engine *g, const struct sampler_params *p,
                                        uint32_t n, uint32_t salt)
{
    uint32_t prompt[N_CTX];
    make_prompt(prompt, n, salt);
    struct engine_seq *s = engine_open(g, &(struct engine_request){.sampler = p}, NULL);
    assert_non_null(s);
    assert_true(engine_feed(g, s, prompt, n, NULL));
    return s;
}

static void step(struct engine *g)
{
    bool busy;
    struct error e = {0};
    if (!engine_step(g, &busy, &e)) {
        fail_msg("%s", e.text);
    }
    assert_true(busy);
}

/* Up to n tokens of s, those of the others being fed as they come; the last one is not fed. Returns
 * the number of steps. */
static uint32_t answer(struct engine *g, struct engine_seq *s, uint32_t n, uint32_t *out)
{
    uint32_t n_steps = 0;
    for (uint32_t i = 0; i < n;) {
        if (!s->has_token) {
            step(g);
            n_steps++;
        }
        for (struct engine_seq *mate = g->seqs; mate < g->seqs + g->options.max_sequences; mate++) {
            uint32_t token;
            while (mate != s && mate->n_tokens < N_CTX - 9 && engine_take(mate, &token)) {
                assert_true(engine_feed(g, mate, &token, 1, NULL));
            }
        }
        for (; i < n && engine_take(s, &out[i]); i++) {
            if (i + 1 < n) {
                assert_true(engine_feed(g, s, &out[i], 1, NULL));
            }
        }
    }
    return n_steps;
}

static struct speculation_count drafted(const struct engine *g)
{
    return g->speculation.counts[SPECULATION_DRAFT];
}

static void close_engine(struct engine *g)
{
    for (uint32_t i = 0; i < g->options.max_sequences; i++) {
        engine_close(g, &g->seqs[i]);
    }
    assert_int_equal(g->kv.n_free, g->kv.n_pages);
    assert_int_equal(g->speculation.draft.kv.n_free, g->speculation.draft.kv.n_pages);
    engine_finish(g);
}

/* --- what it gains */

static void a_draft_that_is_the_model_itself_is_always_right(void **state)
{
    (void)state;
    uint32_t tokens[N_ANSWER];
    struct sampler_params p = greedy();
    p.n_logit_bias = 0; /* of which the draft would not know */
    const struct engine_options options = options_with(SAME);
    struct engine g;
    open_engine(&g, &options);
    struct engine_seq *s = open_sequence(&g, &p, N_PROMPT, 1);
    uint32_t n_steps = answer(&g, s, N_ANSWER, tokens);
    engine_feed(&g, s, &tokens[N_ANSWER - 1], 1, NULL);
    assert_int_equal(drafted(&g).right + s->guesses.left, drafted(&g).made);
    assert_true(drafted(&g).right > 0);
    assert_true(n_steps < N_ANSWER / 4);
    close_engine(&g);
}

/* Now and then the owner goes on with another token than the one that was taken: the guesses behind
 * it are void, and those made afterwards right again. */
static void a_draft_forgets_what_was_rejected(void **state)
{
    (void)state;
    const struct engine_options options = options_with(SAME);
    struct sampler_params p = greedy();
    p.n_logit_bias = 0;
    uint32_t n_void = 0;
    struct engine g;
    open_engine(&g, &options);
    struct engine_seq *s = open_sequence(&g, &p, N_PROMPT, 1);
    for (uint32_t i = 1; i <= N_ANSWER; i++) {
        uint32_t token;
        answer(&g, s, 1, &token);
        bool is_first_guess = s->guesses.n > 0 && s->guesses.left == s->guesses.n;
        bool is_other = i % 11 == 0 || (i % 3 == 0 && is_first_guess);
        n_void += is_other && s->guesses.source == SPECULATION_DRAFT ? s->guesses.left : 0;
        token = is_other ? (token + 1) % MODEL_FILE_VOCAB : token;
        assert_true(engine_feed(&g, s, &token, 1, NULL));
    }
    assert_true(n_void > 0 && drafted(&g).right > 0);
    bool are_drafted = s->guesses.source == SPECULATION_DRAFT;
    assert_int_equal(drafted(&g).made - drafted(&g).right,
                     n_void + (are_drafted ? s->guesses.left : 0));
    close_engine(&g);
}

/* Every wrong guess doubles the pause: after k of them 2^k - 1 steps have passed. */
static void a_draft_that_is_never_right_is_asked_less_and_less(void **state)
{
    (void)state;
    uint32_t tokens[N_ANSWER], most_asked = 2;
    for (uint32_t n = N_ANSWER; n > 1; n /= 2) {
        most_asked++;
    }
    const struct engine_options options = options_with(FIRM);
    struct sampler_params p = warm();
    struct engine g;
    open_engine(&g, &options);
    answer(&g, open_sequence(&g, &p, N_PROMPT, 1), N_ANSWER, tokens);
    assert_int_equal(drafted(&g).right, 0);
    assert_in_range(drafted(&g).made, N_GUESSES + 2, N_GUESSES + most_asked);
    close_engine(&g);
}

static void sequences_share_the_guesses_of_a_step(void **state)
{
    (void)state;
    const struct engine_options options = options_with(SAME);
    struct sampler_params p = greedy();
    struct engine g;
    open_engine(&g, &options);
    for (uint32_t i = 0; i < 1 + N_MATES; i++) {
        open_sequence(&g, &p, 3 + i, i);
    }
    step(&g); /* the prompts */
    for (uint32_t i = 0; i < 1 + N_MATES; i++) {
        uint32_t token;
        assert_true(engine_take(&g.seqs[i], &token));
        assert_true(engine_feed(&g, &g.seqs[i], &token, 1, NULL));
    }
    step(&g);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < 1 + N_MATES; i++) {
        assert_true(g.seqs[i].guesses.n > 0);
        sum += g.seqs[i].guesses.n;
    }
    assert_int_equal(sum, N_GUESSES);
    close_engine(&g);
}

static void a_long_prompt_is_read_in_chunks_once_the_answer_has_begun(void **state)
{
    (void)state;
    enum { N_LONG = 3 * DRAFT_CHUNK - 5 };
    const struct engine_options options = options_with(SAME);
    struct sampler_params p = greedy();
    uint32_t tokens[N_ANSWER];
    struct engine g;
    open_engine(&g, &options);
    struct engine_seq *s = open_sequence(&g, &p, N_LONG, 1);
    answer(&g, s, 1, tokens);
    assert_int_equal(s->guesses.draft_kv.n_tokens, 0);
    s->guesses.match = NGRAM_MAX_MATCH; /* nothing for n-grams to find */
    for (uint32_t i = 1; i <= 2; i++) {
        assert_int_equal(drafted(&g).made, 0);
        assert_true(engine_feed(&g, s, tokens, 1, NULL));
        answer(&g, s, 1, tokens);
        assert_int_equal(s->guesses.draft_kv.n_tokens, i * DRAFT_CHUNK);
    }
    assert_true(engine_feed(&g, s, tokens, 1, NULL));
    answer(&g, s, 1, tokens);
    assert_int_equal(drafted(&g).made, N_GUESSES);
    close_engine(&g);
}

/* --- what it must not change */

struct setting {
    uint32_t batch;
    uint32_t n_mates;
    enum kern_kv kv_type;
    struct sampler_params (*params)(void);
};

/* Two conversations one after the other in the same engine. The first is changed in the middle: its
 * last tokens go, and others come. */
static void converse(enum which draft, const struct setting *setting, uint32_t out[2][N_ANSWER])
{
    struct engine_options options = options_with(draft);
    options.batch = setting->batch;
    options.kv_type = setting->kv_type;
    struct sampler_params p = setting->params();
    struct engine g;
    open_engine(&g, &options);
    for (uint32_t k = 0; k < 2; k++) {
        for (uint32_t i = 0; i < setting->n_mates; i++) {
            open_sequence(&g, &p, 1 + 30 * i, 50 + k + i);
        }
        struct engine_seq *s = open_sequence(&g, &p, N_PROMPT, k);
        answer(&g, s, N_ANSWER / 2, out[k]);
        uint32_t changed[N_CTX], n = s->n_tokens - 20;
        memcpy(changed, s->tokens, n * sizeof *changed);
        make_prompt(changed + n, 9, 3);
        assert_true(engine_set_tokens(&g, s, changed, n + 9, NULL));
        assert_true(s->guesses.draft_kv.n_tokens <= n);
        answer(&g, s, N_ANSWER / 2, out[k] + N_ANSWER / 2);
        for (uint32_t i = 0; i < g.options.max_sequences; i++) {
            engine_close(&g, &g.seqs[i]);
        }
    }
    struct speculation_count c = drafted(&g);
    assert_true(c.right <= c.made && (c.made > 0) == (draft != TARGET));
    close_engine(&g);
}

static void a_draft_changes_no_token(void **state)
{
    (void)state;
    static const struct setting settings[] = {
        {512, 0, KERN_KV_Q16, greedy},     {512, 0, KERN_KV_Q16, warm},
        {7, N_MATES, KERN_KV_Q16, greedy}, {64, N_MATES, KERN_KV_Q16, warm},
        {64, 1, KERN_KV_Q8_0, warm},       {64, 1, KERN_KV_F16, warm},
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        uint32_t expected[2][N_ANSWER], tokens[2][N_ANSWER];
        converse(TARGET, &settings[i], expected);
        static const enum which drafts[] = {SAME, OTHER, SHORT, FIRM};
        for (size_t k = 0; k < sizeof drafts / sizeof drafts[0]; k++) {
            converse(drafts[k], &settings[i], tokens);
            assert_memory_equal(tokens, expected, sizeof expected);
        }
    }
}

/* Answers until the context is full; returns what the draft guessed. */
static struct speculation_count fill(enum which draft, bool without_pages, uint32_t *out)
{
    struct engine_options options = options_with(draft);
    struct sampler_params p = greedy();
    struct engine g;
    p.n_logit_bias = 0;
    open_engine(&g, &options);
    struct kv_pool *pages = &g.speculation.draft.kv;
    uint32_t n_free = pages->n_free;
    pages->n_free = without_pages ? 0 : n_free;
    struct engine_seq *s = open_sequence(&g, &p, N_PROMPT, 2);
    answer(&g, s, N_CTX - N_PROMPT, out);
    assert_true(engine_feed(&g, s, &out[N_CTX - N_PROMPT - 1], 1, NULL));
    assert_false(engine_feed(&g, s, out, 1, NULL));
    assert_true(s->guesses.draft_kv.n_tokens <= models[draft].config.ctx_train);
    pages->n_free = without_pages ? n_free : pages->n_free;
    struct speculation_count c = drafted(&g);
    close_engine(&g);
    return c;
}

static void a_full_context_or_no_pages_end_the_guesses_alone(void **state)
{
    (void)state;
    uint32_t expected[N_CTX], tokens[N_CTX];
    size_t n_bytes = (N_CTX - N_PROMPT) * sizeof *tokens;
    fill(TARGET, false, expected);
    struct speculation_count same = fill(SAME, false, tokens);
    assert_memory_equal(tokens, expected, n_bytes);
    assert_int_equal(same.right, same.made);
    struct speculation_count few = fill(SHORT, false, tokens);
    assert_memory_equal(tokens, expected, n_bytes);
    assert_in_range(few.made, 1, SHORT_CTX - N_PROMPT);
    assert_int_equal(fill(SAME, true, tokens).made, 0);
    assert_memory_equal(tokens, expected, n_bytes);
}

static void a_token_that_the_draft_does_not_know_is_a_matter_of_its_own(void **state)
{
    (void)state;
    uint32_t expected[30], tokens[30];
    for (int i = 0; i < 3; i++) {
        struct engine_options options = options_with(i == 0 ? TARGET : FEW);
        options.n_ctx = MODEL_FILE_CTX;
        options.n_choices = 12;
        struct sampler_params p = warm();
        struct engine g;
        open_engine(&g, &options);
        struct engine_seq *s = engine_open(&g, &(struct engine_request){.sampler = &p}, NULL);
        assert_true(engine_feed(&g, s, (const uint32_t[]){1, i == 1 ? 11 : 12, 2}, 3, NULL));
        answer(&g, s, 30, i == 0 ? expected : tokens);
        assert_int_equal(drafted(&g).made > 0, i == 1);
        close_engine(&g);
    }
    assert_memory_equal(tokens, expected, sizeof expected);
}

static void a_draft_with_too_few_logits_is_refused(void **state)
{
    (void)state;
    const struct engine_options options = options_with(FEW);
    struct error e = {0};
    struct engine g;
    assert_false(engine_init(&g, &models[TARGET], pool, &options, &e));
    assert_int_equal(e.code, ERROR_USAGE);
    assert_non_null(strstr(e.text, "12 logits"));
}

/* --- memory that runs out */

/* An engine, two sequences and some tokens, the n-th allocation failing; true when all went
 * well. */
static bool open_with_failure(size_t n)
{
    const struct engine_options options = options_with(SAME);
    struct sampler_params p = greedy();
    struct error e = {0};
    struct engine g;
    struct engine_seq *s = NULL;
    uint32_t tokens[20];
    mem_fail_nth(n);
    bool is_open = engine_init(&g, &models[TARGET], pool, &options, &e);
    const struct engine_request r = {.sampler = &p};
    s = is_open && engine_open(&g, &r, &e) != NULL ? engine_open(&g, &r, &e) : NULL;
    if (s != NULL) {
        size_t n_opening = mem_count();
        assert_true(engine_feed(&g, s, (const uint32_t[]){1, 2, 3}, 3, &e));
        answer(&g, s, 20, tokens);
        assert_int_equal(mem_count(), n_opening); /* a step allocates nothing */
        assert_true(drafted(&g).right > 0);
    }
    mem_fail_nth(0);
    assert_int_equal(e.code, s != NULL ? ERROR_NONE : ERROR_MEMORY);
    if (is_open) {
        close_engine(&g);
    }
    return s != NULL;
}

static void every_failing_allocation_is_a_clean_error(void **state)
{
    (void)state;
    size_t n = 1;
    while (!open_with_failure(n)) {
        n++;
        assert_true(n < 1000);
    }
    assert_true(n > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_draft_that_is_the_model_itself_is_always_right),
        cmocka_unit_test(a_draft_forgets_what_was_rejected),
        cmocka_unit_test(a_draft_that_is_never_right_is_asked_less_and_less),
        cmocka_unit_test(sequences_share_the_guesses_of_a_step),
        cmocka_unit_test(a_long_prompt_is_read_in_chunks_once_the_answer_has_begun),
        cmocka_unit_test(a_draft_changes_no_token),
        cmocka_unit_test(a_full_context_or_no_pages_end_the_guesses_alone),
        cmocka_unit_test(a_token_that_the_draft_does_not_know_is_a_matter_of_its_own),
        cmocka_unit_test(a_draft_with_too_few_logits_is_refused),
        cmocka_unit_test(every_failing_allocation_is_a_clean_error),
    };
    return cmocka_run_group_tests_name("draft", tests, open_models, close_models);
}
