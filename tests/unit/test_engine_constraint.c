/* test_engine_constraint.c - sequences that a grammar writes with: every finished text is of the
 * grammar, and it is the same whoever computes beside it and whatever is guessed.
 * The model is tiny.gguf beside this program (random weights, made by gen_gguf). */
#include "engine/engine.h"
#include "schema/schema_compile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { N_CTX = 256, N_PROMPT = 20, N_MATES = 3, MAX_TOKENS = 200, FEW_TOKENS = 60 };

static char model_path[4096];

struct world {
    struct gguf *file;
    struct tokenizer *tokenizer;
    struct pool *pool;
    struct model model;
    struct engine engine;
    struct token_trie *trie;
    struct grammar *grammar;
    struct automaton *automaton;
};

static void open_world(struct world *w, uint32_t threads, uint32_t max_guesses)
{
    static const char schema_text[] =
        "{\"type\": \"object\", \"properties\": {\"kind\": {\"enum\": [\"llama\", \"alpaca\"]},"
        " \"age\": {\"type\": \"integer\", \"minimum\": 0, \"maximum\": 30}, \"tags\": {\"type\":"
        " \"array\", \"items\": {\"type\": \"boolean\"}, \"maxItems\": 3}}, \"required\": "
        "[\"kind\","
        " \"age\", \"tags\"], \"additionalProperties\": false}";
    struct error e = {0};
    json_t *schema = json_loads(schema_text, 0, NULL);
    *w = (struct world){.file = gguf_open(model_path, &e), .pool = pool_create(threads, &e)};
    assert_non_null(w->file);
    w->tokenizer = tokenizer_create(w->file, &e);
    assert_non_null(w->tokenizer);
    const struct kern_table *kern = kern_get(kern_best(), &e);
    assert_true(model_load(&w->model, w->file, kern, &(struct model_load_options){0}, w->pool, &e));
    struct engine_options options = {.n_ctx = N_CTX,
                                     .max_sequences = 1 + N_MATES,
                                     .batch = 32,
                                     .max_guesses = max_guesses,
                                     .n_choices = tokenizer_info(w->tokenizer)->n_tokens};
    assert_true(engine_init(&w->engine, &w->model, w->pool, &options, &e));
    w->trie = token_trie_create(w->tokenizer, &e);
    assert_non_null(w->trie);
    w->grammar = schema_compile(schema, NULL, &e);
    if (w->grammar == NULL) {
        fail_msg("%s", e.text);
    }
    w->automaton = automaton_create(w->grammar, w->trie, &e);
    assert_non_null(w->automaton);
    json_decref(schema);
}

static void close_world(struct world *w)
{
    engine_finish(&w->engine);
    automaton_destroy(w->automaton);
    grammar_destroy(w->grammar);
    token_trie_destroy(w->trie);
    model_finish(&w->model);
    pool_destroy(w->pool);
    tokenizer_destroy(w->tokenizer);
    gguf_destroy(w->file);
}

static struct engine_seq *open_seq(struct world *w, uint64_t seed, bool constrained)
{
    struct error e = {0};
    struct sampler_params params;
    sampler_params_default(&params);
    params.temperature = seed % 2 == 0 ? 0.0F : 2.0F;
    params.top_k = 0;
    params.top_p = 1;
    params.min_p = 0;
    params.seed = seed;
    uint32_t prompt[N_PROMPT];
    for (uint32_t i = 0; i < N_PROMPT; i++) {
        prompt[i] = 3 + (uint32_t)(seed * 7 + i) % 60;
    }
    struct engine_request request = {.sampler = &params, .tokens = prompt, .n_tokens = N_PROMPT};
    struct engine_seq *s = engine_open(&w->engine, &request, &e);
    if (s == NULL || (constrained && !engine_constrain(&w->engine, s, w->automaton, &e))) {
        fail_msg("%s", e.text);
    }
    return s;
}

/* Runs all sequences until the first has ended; its text. */
static void run(struct world *w, struct engine_seq **seqs, uint32_t n, struct buf *text)
{
    struct error e = {0};
    struct token_list ids = {0};
    bool busy = true, ended = false;
    for (uint32_t step = 0; !ended && step < 4 * MAX_TOKENS; step++) {
        if (!engine_step(&w->engine, &busy, &e)) {
            fail_msg("%s", e.text);
        }
        for (uint32_t i = 0; i < n; i++) {
            uint32_t token;
            while (!(i == 0 && ended) && engine_take(seqs[i], &token)) {
                if (i == 0) {
                    ended = tokenizer_is_end(w->tokenizer, token);
                    assert_true(ended || token_list_push(&ids, token, &e));
                }
                bool goes_on = i == 0 ? !ended : seqs[i]->n_tokens + 1 < N_CTX;
                if (goes_on && !engine_feed(&w->engine, seqs[i], &token, 1, &e)) {
                    engine_close(&w->engine, seqs[i]); /* a mate's text has ended */
                }
            }
            if (engine_failed(seqs[i], &e)) {
                fail_msg("%s", e.text);
            }
        }
    }
    assert_true(ended);
    assert_true(tokenizer_decode(w->tokenizer, ids.ids, ids.n, false, text, &e));
    token_list_finish(&ids);
}

static void answer(uint64_t seed, uint32_t threads, uint32_t guesses, uint32_t n_mates,
                   struct buf *text)
{
    struct world w;
    open_world(&w, threads, guesses);
    struct engine_seq *seqs[1 + N_MATES] = {open_seq(&w, seed, true)};
    for (uint32_t i = 1; i <= n_mates; i++) {
        seqs[i] = open_seq(&w, seed + i, false);
    }
    buf_init(text, 1 << 16);
    run(&w, seqs, 1 + n_mates, text);
    close_world(&w);
}

static void a_constrained_answer_is_of_the_grammar_and_the_same_in_any_company(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 6; seed++) {
        struct buf alone, again;
        answer(seed, 1, 0, 0, &alone);
        json_error_t why;
        json_t *value = json_loadb(alone.data, alone.n, 0, &why);
        if (value == NULL) {
            fail_msg("%.*s: %s", STR_ARG(buf_str(&alone)), why.text);
        }
        assert_int_equal(json_object_size(value), 3);
        assert_true(json_integer_value(json_object_get(value, "age")) <= 30);
        assert_true(json_array_size(json_object_get(value, "tags")) <= 3);
        json_decref(value);
        const uint32_t settings[][3] = {{2, 0, 0}, {1, 7, 0}, {2, 7, 0}, {2, 0, N_MATES}};
        for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
            answer(seed, settings[i][0], settings[i][1], settings[i][2], &again);
            assert_true(str_eq(buf_str(&alone), buf_str(&again)));
            buf_finish(&again);
        }
        buf_finish(&alone);
    }
}

/* Takes and feeds what there is of s; its tokens come behind those of ids. False at the end of its
 * text. */
static bool take_all(struct world *w, struct engine_seq *s, struct token_list *ids)
{
    struct error e = {0};
    uint32_t token;
    while (engine_take(s, &token)) {
        if (tokenizer_is_end(w->tokenizer, token) || ids->n == FEW_TOKENS) {
            return false;
        }
        assert_true(token_list_push(ids, token, &e));
        assert_true(engine_feed(&w->engine, s, &token, 1, &e));
    }
    if (engine_failed(s, &e)) {
        fail_msg("%s", e.text);
    }
    return true;
}

/* Goes another way through the automaton's states, and leaves them. */
static void walk(struct world *w, struct rng *r)
{
    static const char *const parts[] = {"(", "(b)", "(ab)", ")"};
    struct matcher m;
    matcher_init(&m, w->automaton);
    for (int i = 0; i < 400; i++) {
        for (const char *p = parts[rng_next(r) % 4]; *p != '\0'; p++) {
            (void)matcher_take(&m, tokenizer_find(w->tokenizer, (struct str){p, 1}), NULL);
        }
    }
    assert_non_null(matcher_mask(&m, NULL));
    matcher_finish(&m);
}

/* What n sequences of one automaton write in one engine, beside `walks` between steps. Returns how
 * often states were forgotten. */
static uint32_t write_together(struct world *w, uint64_t first_seed, uint32_t n,
                               struct token_list *ids, uint32_t walks)
{
    struct error e = {0};
    struct engine_seq *seqs[1 + N_MATES];
    uint32_t n_running = n, n_states = 0, n_falls = 0;
    struct rng r;
    rng_init(&r, 9);
    for (uint32_t i = 0; i < n; i++) {
        ids[i] = (struct token_list){0};
        seqs[i] = open_seq(w, first_seed + 2 * i, true);
    }
    for (bool busy = true; n_running > 0;) {
        assert_true(engine_step(&w->engine, &busy, &e));
        for (uint32_t i = 0; i < n; i++) {
            if (seqs[i] != NULL && !take_all(w, seqs[i], &ids[i])) {
                engine_close(&w->engine, seqs[i]);
                seqs[i] = NULL;
                n_running--;
            }
        }
        for (uint32_t i = 0; i < walks; i++) {
            walk(w, &r);
            uint32_t now = automaton_size(w->automaton).n_states;
            n_falls += now < n_states;
            n_states = now;
        }
    }
    return n_falls;
}

static void assert_same_ids(struct token_list *a, struct token_list *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->ids, b->ids, a->n * sizeof *a->ids);
    token_list_finish(a);
    token_list_finish(b);
}

/* As the choices of one request do. */
static void sequences_of_one_automaton_write_what_each_would_alone(void **state)
{
    (void)state;
    struct world w;
    struct token_list together[1 + N_MATES], alone;
    open_world(&w, 2, 3);
    write_together(&w, 1, 1 + N_MATES, together, 0);
    for (uint32_t i = 0; i <= N_MATES; i++) {
        write_together(&w, 1 + 2 * i, 1, &alone, 0);
        assert_true(alone.n > 5);
        assert_same_ids(&alone, &together[i]);
    }
    close_world(&w);
}

static void sequences_go_on_where_they_were_when_states_are_forgotten(void **state)
{
    (void)state;
    struct world w;
    struct error e = {0};
    struct token_list quiet[1 + N_MATES], walked[1 + N_MATES];
    open_world(&w, 2, 0);
    automaton_destroy(w.automaton);
    grammar_destroy(w.grammar);
    w.grammar = grammar_from_gbnf(
        STR("root ::= (\"(\" root \")\"){2,100000} (\"a\" root){0,3} | \"b\""), &e);
    w.automaton = automaton_create(w.grammar, w.trie, &e);
    assert_non_null(w.automaton);
    write_together(&w, 1, 1 + N_MATES, quiet, 0);
    uint32_t n_falls = write_together(&w, 1, 1 + N_MATES, walked, 20);
    size_t n_tokens = 0;
    assert_true(n_falls > 2);
    for (uint32_t i = 0; i <= N_MATES; i++) {
        n_tokens += quiet[i].n;
        assert_same_ids(&quiet[i], &walked[i]);
    }
    assert_true(n_tokens > FEW_TOKENS); /* some went on behind the first time */
    close_world(&w);
}

static void a_token_that_the_grammar_does_not_have_is_not_taken(void **state)
{
    (void)state;
    struct world w;
    struct error e = {0};
    bool busy = true;
    uint32_t token = 0;
    open_world(&w, 1, 0);
    struct engine_seq *s = open_seq(&w, 0, true);
    while (!engine_take(s, &token)) {
        assert_true(engine_step(&w.engine, &busy, &e));
    }
    uint32_t before = s->n_tokens, brace = tokenizer_find(w.tokenizer, STR("}"));
    assert_int_not_equal(brace, TOKEN_NONE);
    assert_false(engine_feed(&w.engine, s, &brace, 1, &e));
    assert_int_equal(e.code, ERROR_USAGE);
    assert_int_equal(s->n_tokens, before);
    assert_true(engine_feed(&w.engine, s, &token, 1, &e));
    assert_true(engine_constrain(&w.engine, s, NULL, &e));
    assert_true(engine_feed(&w.engine, s, &brace, 1, &e));
    close_world(&w);
}

int main(int argc, char **argv)
{
    (void)argc;
    const char *slash = strrchr(argv[0], '/');
    int n = slash != NULL ? (int)(slash - argv[0] + 1) : 0;
    snprintf(model_path, sizeof model_path, "%.*stiny.gguf", n, argv[0]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_constrained_answer_is_of_the_grammar_and_the_same_in_any_company),
        cmocka_unit_test(sequences_of_one_automaton_write_what_each_would_alone),
        cmocka_unit_test(sequences_go_on_where_they_were_when_states_are_forgotten),
        cmocka_unit_test(a_token_that_the_grammar_does_not_have_is_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
