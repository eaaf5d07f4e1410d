/* bench.c - `puna bench`: how fast a model runs here, and what share of the machine's limit that
 * is. */
#include "cmd/bench.h"

enum { DEFAULT_REPETITIONS = 5, DEFAULT_SECONDS = 20, DEFAULT_BATCH = 512 };

static void add_test(struct bench *b, bool is_decode, uint32_t n_tokens, uint32_t depth,
                     uint32_t batch)
{
    uint32_t needed = depth + (is_decode ? 1 : n_tokens);
    if (needed <= b->n_ctx && b->n_tests < BENCH_MAX_TESTS) {
        b->tests[b->n_tests++] = (struct bench_test){
            .is_decode = is_decode, .n_tokens = n_tokens, .depth = depth, .batch = batch};
    }
}

/* Those that fit the context. */
static void plan_tests(struct bench *b)
{
    static const uint32_t prompts[] = {128, 512, 2048};
    static const uint32_t depths[] = {0, 512, 2048, 8192, 32768};
    uint32_t batch_depth = b->n_ctx > 512 ? 512 : 0;
    for (size_t i = 0; i < sizeof prompts / sizeof prompts[0]; i++) {
        add_test(b, false, prompts[i], 0, 1);
    }
    for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++) {
        add_test(b, true, 0, depths[i], 1);
    }
    for (uint32_t batch = 2; batch <= BENCH_MAX_BATCH; batch *= 2) {
        add_test(b, true, 0, batch_depth, batch);
    }
}

static bool run_tests(struct bench *b, struct error *e)
{
    double rate = 0;
    for (size_t i = 0; i < b->n_tests; i++) {
        struct bench_test *t = &b->tests[i];
        if (!bench_measure(b, t, rate, e)) {
            return false;
        }
        rate = t->n_repetitions > 0 ? t->median : rate;
        if (!b->options.json) {
            bench_print_test(t);
        }
    }
    return true;
}

static bool run(struct bench *b, const struct cmd_env *env, const char *model, struct error *e)
{
    if (!session_open(&b->session, env, model, &b->options.model, e)) {
        return false;
    }
    b->n_ctx = b->session.n_ctx;
    b->step_tokens = b->options.model.batch < b->n_ctx ? b->options.model.batch : b->n_ctx;
    plan_tests(b);
    if (!bench_buffers_init(b, e)) {
        return false;
    }
    if (!b->options.json) {
        bench_print_head(b);
    }
    if (!run_tests(b, e)) {
        return false;
    }
    if (b->options.json) {
        return bench_print_json(b, e);
    }
    bench_print_machine(b);
    return true;
}

int cmd_bench(const struct cmd_env *env, int argc, char **argv)
{
    static const struct options_usage usage = {
        .command = "bench",
        .synopsis = "[OPTION]... [MODEL]",
        .about = "Measure prefill and decode, and what share of this machine's limit they reach.",
        .epilog =
            "'tokens/s' is the median of the repetitions, 'spread' their range over it, 'limit'\n"
            "the rate at which the weights and keys could be read, or the multiplications done,\n"
            "at the speeds that this machine showed between the repetitions with as many threads\n"
            "('limited by' says which). Decode counts the forward pass alone, without sampling; "
            "'depth' tokens lie\n"
            "in the cache before it; 'batch' sequences decode together.",
    };
    struct bench b = {.options = {.repetitions = DEFAULT_REPETITIONS,
                                  .seconds = DEFAULT_SECONDS,
                                  .model.batch = DEFAULT_BATCH}};
    struct bench_options *o = &b.options;
    const struct option_spec specs[] = {
        {OPTION_HEADING, .help = "Options"},
        {OPTION_U32, "repetitions", 'r', NULL, "N", &o->repetitions, 1, BENCH_MAX_REPETITIONS,
         "of each test (default: 5)", NULL},
        {OPTION_U32, "seconds", 0, NULL, "N", &o->seconds, 1, 100000,
         "no new repetition of a test after so long; tests that\nwould take four times as long for "
         "one are skipped\n(default: 20)",
         NULL},
        {OPTION_FLAG, "json", 0, NULL, NULL, &o->json, 0, 0, "print one JSON object", NULL},
        OPTIONS_MODEL(o->model, "512"),
    };
    const char *model;
    OPTIONS_OR_RETURN(&usage, specs, argc, argv, &model, 1);
    struct error e = {0};
    bool ok = run(&b, env, model, &e);
    bench_buffers_finish(&b);
    session_close(&b.session);
    return ok ? cmd_finish_output("bench", 0) : cmd_fail("bench", &e);
}
