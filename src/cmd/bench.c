/* bench.c - `puna bench`: how fast a model runs here, and what share of the machine's limit that
 * is. */
#include "cmd/bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_REPETITIONS = 5, DEFAULT_SECONDS = 20, DEFAULT_BATCH = 512, MAX_TOKENS = 1 << 20 };

/* "N,N,...", or "none". */
static bool set_list(void *target, const char *value, struct error *e)
{
    struct bench_list *list = target;
    const char *p = value;
    list->n = 0;
    list->is_given = true;
    if (strcmp(value, "none") == 0) {
        return true;
    }
    do {
        char *end;
        errno = 0;
        unsigned long n = strtoul(p, &end, 10);
        bool is_number = *p >= '0' && *p <= '9' && (*end == ',' || *end == '\0');
        if (!is_number || errno != 0 || n < list->min || n > list->max ||
            list->n == BENCH_MAX_LIST) {
            return error_set(e, ERROR_USAGE,
                             "'%s' is neither 'none' nor at most %d numbers from %u to %u with "
                             "commas between them",
                             value, BENCH_MAX_LIST, list->min, list->max);
        }
        list->values[list->n++] = (uint32_t)n;
        p = end;
    } while (*p++ == ',');
    return true;
}

/* Of the tests that were not asked for, those that do not fit the context are left out. */
static bool add_test(struct bench *b, const struct bench_list *list, struct bench_test t,
                     struct error *e)
{
    uint32_t needed = t.depth + (t.is_decode ? 1 : t.n_tokens);
    if (needed <= b->n_ctx) {
        b->tests[b->n_tests++] = t;
        return true;
    }
    return !list->is_given ||
           error_set(e, ERROR_USAGE, "a test of %u tokens does not fit a context of %u (--ctx)",
                     needed, b->n_ctx);
}

static bool plan_tests(struct bench *b, struct error *e)
{
    const struct bench_options *o = &b->options;
    uint32_t batch_depth = b->n_ctx > 512 ? 512 : 0;
    bool ok = true;
    for (uint32_t i = 0; ok && i < o->prompts.n; i++) {
        struct bench_test t = {.n_tokens = o->prompts.values[i], .batch = 1};
        ok = add_test(b, &o->prompts, t, e);
    }
    for (uint32_t i = 0; ok && i < o->depths.n; i++) {
        struct bench_test t = {.is_decode = true, .depth = o->depths.values[i], .batch = 1};
        ok = add_test(b, &o->depths, t, e);
    }
    for (uint32_t i = 0; ok && i < o->parallel.n; i++) {
        struct bench_test t = {
            .is_decode = true, .depth = batch_depth, .batch = o->parallel.values[i]};
        ok = add_test(b, &o->parallel, t, e);
    }
    if (ok && b->n_tests == 0) {
        return error_set(e, ERROR_USAGE,
                         "no test is left: --n-prompt, --n-depth and --parallel are 'none' or need "
                         "more than the context of %u tokens",
                         b->n_ctx);
    }
    return ok;
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
    if (!plan_tests(b, e) || !bench_buffers_init(b, e)) {
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
            "at the speeds that this machine showed between its repetitions with as many threads\n"
            "('limited by' says which; reading goes in one stream a thread or in four, whichever\n"
            "is faster), 'share' tokens/s of it. Decode counts the forward pass alone, without\n"
            "sampling; before it 'depth' tokens lie in the cache, made up instead of computed,\n"
            "which takes as long to attend to; 'batch' sequences decode together, 'tokens' each:\n"
            "as many as fit 0.3 seconds, 64 at most.\n\n"
            "'adds' limits no test: additions that need not wait for each other. Where the\n"
            "median is below the best, or below that of an idle hour, other programs (on a\n"
            "virtual machine anybody's) run on the same cores, and shares are lower than\n"
            "they would be. 'CPUs' is lower than the threads where other programs of this\n"
            "system took the rest.",
    };
    struct bench b = {.options = {.repetitions = DEFAULT_REPETITIONS,
                                  .seconds = DEFAULT_SECONDS,
                                  .prompts = {1, MAX_TOKENS, false, 3, {128, 512, 2048}},
                                  .depths = {0, MAX_TOKENS, false, 5, {0, 512, 2048, 8192, 32768}},
                                  .parallel = {1, BENCH_MAX_BATCH, false, 4, {2, 4, 8, 16}},
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
        {OPTION_HEADING, .help = "Tests (by default those that fit the context; 'none' for none)"},
        {OPTION_CALL, "n-prompt", 'p', NULL, "N,...", &o->prompts, 0, 0,
         "prefill of so many tokens (default: 128,512,2048)", set_list},
        {OPTION_CALL, "n-depth", 'd', NULL, "N,...", &o->depths, 0, 0,
         "decode behind so many tokens\n(default: 0,512,2048,8192,32768)", set_list},
        {OPTION_CALL, "parallel", 0, NULL, "N,...", &o->parallel, 0, 0,
         "decode of so many sequences together, at depth 512\n(default: 2,4,8,16)", set_list},
        OPTIONS_MODEL(o->model, "512"),
        OPTIONS_CACHE(o->model),
    };
    const char *model;
    OPTIONS_OR_RETURN(&usage, specs, argc, argv, &model, 1);
    struct error e = {0};
    bool ok = run(&b, env, model, &e);
    int code = ok ? cmd_finish_output("bench", 0) : cmd_fail("bench", &e);
    if (code == 0) {
        session_keep(&b.session, b.session.pool); /* the output is out: nobody waits for this */
    }
    bench_buffers_finish(&b);
    session_close(&b.session);
    return code;
}
