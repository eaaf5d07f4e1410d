/* bench_measure.c - times one test: repetitions with probes of the machine between them.
 *
 * The depth of a sequence is made without computing it: its pages are reserved and hold a constant.
 * Attention takes the same time whatever the keys are, and a deep test costs no long prefill. */
#include "cmd/bench.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cmd/limit.h"

#include <string.h>

enum {
    DECODE_MAX_TOKENS = 64, /* of a repetition */
    DECODE_WARM_TOKENS = 4,
    SKIP_FACTOR = 4 /* a repetition may take so many times --seconds */
};
#define DECODE_SECONDS 0.3 /* of a repetition */

static bool init_seqs(struct bench *b, struct error *e)
{
    uint64_t n_cached = b->n_ctx;
    for (size_t i = 0; i < b->n_tests; i++) {
        const struct bench_test *t = &b->tests[i];
        uint64_t n = (uint64_t)t->batch * (t->depth + DECODE_MAX_TOKENS + KERN_ATTN_TILE);
        n_cached = n > n_cached ? n : n_cached;
    }
    if (!kv_pool_init(&b->kv, &b->session.model.config, b->session.kv_type, n_cached, e)) {
        return false;
    }
    /* touches every page: an untouched one would be read from the cache. As an item within the
     * largest; as a scale small, but no denormal */
    memset(b->kv.data, 0x0E, b->kv.n_pages * b->kv.page_bytes);
    for (uint32_t i = 0; i < BENCH_MAX_BATCH; i++) {
        if (!kv_seq_init(&b->seqs[i], b->n_ctx, e)) {
            return false;
        }
    }
    return true;
}

bool bench_buffers_init(struct bench *b, struct error *e)
{
    const struct model *m = &b->session.model;
    struct forward_limits limits = {b->step_tokens, BENCH_MAX_BATCH};
    limits.max_tokens = limits.max_tokens < BENCH_MAX_BATCH ? BENCH_MAX_BATCH : limits.max_tokens;
    size_t n_probes = b->n_tests * (b->options.repetitions + 1);
    for (int i = 0; i < BENCH_PROBES; i++) {
        b->probes[i] = mem_alloc(n_probes, sizeof *b->probes[i], "probes", e);
        if (b->probes[i] == NULL) {
            return false;
        }
    }
    b->tokens = mem_alloc(b->n_ctx, sizeof *b->tokens, "tokens", e);
    if (b->tokens == NULL || !init_seqs(b, e)) {
        return false;
    }
    struct rng rng;
    rng_init(&rng, 1);
    for (uint32_t i = 0; i < b->n_ctx; i++) {
        b->tokens[i] = (uint32_t)(rng_next(&rng) % m->config.n_vocab);
    }
    return forward_init(&b->forward, m, &b->kv, b->session.pool, limits, e);
}

void bench_buffers_finish(struct bench *b)
{
    forward_finish(&b->forward);
    for (uint32_t i = 0; i < BENCH_MAX_BATCH; i++) {
        kv_seq_finish(&b->seqs[i], &b->kv);
    }
    kv_pool_finish(&b->kv);
    mem_free(b->tokens);
    for (int i = 0; i < BENCH_PROBES; i++) {
        mem_free(b->probes[i]);
    }
}

/* Tokens of each sequence in step number `step` of a repetition, 0 when there is none. */
static uint32_t step_tokens(const struct bench *b, const struct bench_test *t, uint32_t step)
{
    if (t->is_decode) {
        return step < t->n_tokens ? 1 : 0;
    }
    uint64_t done = (uint64_t)step * b->step_tokens;
    uint64_t left = done < t->n_tokens ? t->n_tokens - done : 0;
    return left < b->step_tokens ? (uint32_t)left : b->step_tokens;
}

/* Only the last token of a prompt needs logits. */
static uint32_t step_logits(const struct bench *b, const struct bench_test *t, uint32_t step)
{
    return t->is_decode || step_tokens(b, t, step + 1) == 0 ? 1 : 0;
}

/* Gives the test's sequences their depth. */
static bool set_depth(struct bench *b, const struct bench_test *t, struct error *e)
{
    for (uint32_t i = 0; i < BENCH_MAX_BATCH; i++) {
        kv_seq_truncate(&b->seqs[i], &b->kv, 0);
    }
    for (uint32_t i = 0; i < t->batch; i++) {
        if (!kv_seq_reserve(&b->seqs[i], &b->kv, t->depth, e)) {
            return false;
        }
        b->seqs[i].n_tokens = t->depth;
    }
    return true;
}

/* One repetition. */
static bool run_once(struct bench *b, const struct bench_test *t, double *out_seconds,
                     struct error *e)
{
    if (!set_depth(b, t, e)) {
        return false;
    }
    struct forward_item items[BENCH_MAX_BATCH];
    uint64_t cpu_start = clock_cpu_ns(), start = clock_now_ns();
    uint32_t n;
    for (uint32_t step = 0; (n = step_tokens(b, t, step)) > 0; step++) {
        for (uint32_t i = 0; i < t->batch; i++) {
            const uint32_t *tokens = b->tokens + b->seqs[i].n_tokens;
            items[i] = (struct forward_item){&b->seqs[i], tokens, n, step_logits(b, t, step), 0};
        }
        if (!forward_batch(&b->forward, items, t->batch, e)) {
            return false;
        }
    }
    uint64_t ns = clock_now_ns() - start;
    b->cpu_ns += clock_cpu_ns() - cpu_start;
    b->ns += ns;
    *out_seconds = (double)ns * 1e-9;
    return true;
}

/* The least time of a repetition, step by step as run_once does them. */
static double least_seconds(const struct bench *b, const struct bench_test *t,
                            const struct roofline_machine *machine, enum roofline_bound *out_bound)
{
    struct limit limit = {0};
    struct limit_step s = {.batch = t->batch, .depth = t->depth, .kv_type = b->kv.type};
    uint32_t n;
    for (uint32_t step = 0; (n = step_tokens(b, t, step)) > 0; step++, s.depth += n) {
        s.n_tokens = n;
        s.n_logits = step_logits(b, t, step);
        limit_add(&limit, &b->session.model, machine, &s);
    }
    *out_bound = limit_bound(&limit);
    return limit.seconds;
}

static void probe_machine(struct bench *b)
{
    const struct model_weights *w = &b->session.model.weights;
    struct pool *pool = b->session.pool;
    b->probes[ROOFLINE_READ][b->n_probes] = probe_read(pool, w->packed, w->packed_bytes);
    b->probes[ROOFLINE_INT8][b->n_probes] = probe_int8(pool, b->session.model.kern->set);
    b->probes[ROOFLINE_F32][b->n_probes] = probe_f32(pool);
    b->probes[BENCH_ADDITIONS][b->n_probes] = probe_additions(pool);
    if (bench_has_probe(b, ROOFLINE_BF16)) {
        b->probes[ROOFLINE_BF16][b->n_probes] = probe_bf16(pool);
    }
    b->n_probes++;
}

/* Median of the probes from number `first` on. */
static double probe_median(const struct bench *b, int kind, size_t first)
{
    double values[BENCH_MAX_REPETITIONS + 1];
    size_t n = b->n_probes - first;
    memcpy(values, b->probes[kind] + first, n * sizeof *values);
    return probe_summary(values, n).median;
}

void bench_probe_summaries(struct bench *b, struct probe_summary out[BENCH_PROBES])
{
    for (int i = 0; i < BENCH_PROBES; i++) {
        out[i] = bench_has_probe(b, i) ? probe_summary(b->probes[i], b->n_probes)
                                       : (struct probe_summary){0};
    }
}

/* The first step of a prompt, outside the measurement: buffers are touched for the first time. */
static bool warm_up(struct bench *b, const struct bench_test *t, struct error *e)
{
    struct bench_test first = *t;
    first.n_tokens = t->n_tokens < b->step_tokens ? t->n_tokens : b->step_tokens;
    double seconds;
    return run_once(b, &first, &seconds, e);
}

/* How many tokens a decode repetition generates: about DECODE_SECONDS, within the context. */
static bool choose_tokens(struct bench *b, struct bench_test *t, struct error *e)
{
    double seconds;
    uint32_t most =
        b->n_ctx - t->depth < DECODE_MAX_TOKENS ? b->n_ctx - t->depth : DECODE_MAX_TOKENS;
    t->n_tokens = most < DECODE_WARM_TOKENS ? most : DECODE_WARM_TOKENS;
    if (!run_once(b, t, &seconds, e)) {
        return false;
    }
    double wanted = DECODE_SECONDS / (seconds / t->n_tokens);
    t->n_tokens = wanted > most ? most : wanted > t->n_tokens ? (uint32_t)wanted : t->n_tokens;
    return true;
}

bool bench_measure(struct bench *b, struct bench_test *t, double rate, struct error *e)
{
    double rates[BENCH_MAX_REPETITIONS];
    size_t first_probe = b->n_probes;
    uint64_t start = clock_now_ns();
    if (!(t->is_decode ? choose_tokens(b, t, e) : warm_up(b, t, e))) {
        return false;
    }
    double n_tokens = (double)t->n_tokens * t->batch;
    if (!t->is_decode && rate > 0 && n_tokens / rate > (double)b->options.seconds * SKIP_FACTOR) {
        t->skipped_seconds = n_tokens / rate;
        return true;
    }
    probe_machine(b);
    do {
        double seconds;
        if (!run_once(b, t, &seconds, e)) {
            return false;
        }
        rates[t->n_repetitions++] = n_tokens / seconds;
        probe_machine(b);
    } while (t->n_repetitions < b->options.repetitions &&
             clock_seconds_since(start) < (double)b->options.seconds);
    struct probe_summary summary = probe_summary(rates, t->n_repetitions);
    t->median = summary.median;
    t->best = summary.best;
    t->spread = (rates[t->n_repetitions - 1] - rates[0]) / summary.median;
    t->machine = (struct roofline_machine){probe_median(b, ROOFLINE_READ, first_probe),
                                           probe_median(b, ROOFLINE_INT8, first_probe),
                                           probe_median(b, ROOFLINE_F32, first_probe), 0};
    if (bench_has_probe(b, ROOFLINE_BF16)) {
        t->machine.bf16 = probe_median(b, ROOFLINE_BF16, first_probe);
    }
    t->additions = probe_median(b, BENCH_ADDITIONS, first_probe);
    t->limit = n_tokens / least_seconds(b, t, &t->machine, &t->bound);
    return true;
}
