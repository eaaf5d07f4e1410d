/* bench.h - what the files of `puna bench` share: the tests, their measurements, the report.
 *
 * bench.c parses options and runs the tests, bench_measure.c times one of them, bench_report.c
 * prints. */
#ifndef CMD_BENCH_H
#define CMD_BENCH_H

#include "cmd/session.h"
#include "kern/probe.h"
#include "model/forward.h"
#include "model/roofline.h"

enum {
    BENCH_MAX_BATCH = 16,
    BENCH_MAX_REPETITIONS = 100,
    BENCH_MAX_LIST = 8,
    BENCH_MAX_TESTS = 3 * BENCH_MAX_LIST,
    BENCH_ADDITIONS = ROOFLINE_BOUND_COUNT, /* probes: the bounds, and whether cores are shared */
    BENCH_PROBES
};

/* Numbers of an option that says which tests to run. */
struct bench_list {
    uint32_t min, max; /* of a number */
    bool is_given;     /* on the command line */
    uint32_t n, values[BENCH_MAX_LIST];
};

struct bench_options {
    struct options_model model;
    struct bench_list prompts, depths, parallel;
    uint32_t repetitions;
    uint32_t seconds; /* of one test; fewer repetitions when they would take longer */
    bool json;
};

/* n_tokens of each of `batch` sequences that hold `depth` tokens already, all at once (prefill: in
 * steps of --batch-size) or one by one (decode). */
struct bench_test {
    bool is_decode;
    uint32_t n_tokens; /* decode: found out by a first run */
    uint32_t depth, batch;

    /* results; rates in tokens a second, all sequences together */
    uint32_t n_repetitions; /* 0: skipped, skipped_seconds says why */
    double skipped_seconds; /* what one repetition would take */
    double median, best;
    double spread; /* (largest - smallest) / median of the repetitions */
    double limit;  /* at the medians of the probes between the repetitions */
    enum roofline_bound bound;
    struct roofline_machine machine; /* those medians */
    double additions;                /* and the one of probe_additions */
};

struct bench {
    struct bench_options options;
    struct session session;
    struct kv_pool kv;
    struct kv_seq seqs[BENCH_MAX_BATCH];
    struct forward forward;
    uint32_t n_ctx, step_tokens;
    uint32_t *tokens; /* (n_ctx) random */
    struct bench_test tests[BENCH_MAX_TESTS];
    size_t n_tests;
    uint64_t ns, cpu_ns;          /* of all repetitions: on the clock, and of CPUs */
    double *probes[BENCH_PROBES]; /* every probe of the run */
    size_t n_probes;
};

/* KV cache, buffers and tokens for all tests. Released with bench_buffers_finish. */
bool bench_buffers_init(struct bench *b, struct error *e);
void bench_buffers_finish(struct bench *b);

/* Runs a test and fills its results. rate: tokens a second of the test of the same kind before it,
 * 0 when there was none; a test that would take several times --seconds by it is skipped. */
bool bench_measure(struct bench *b, struct bench_test *t, double rate, struct error *e);

/* Whether a kind of probe is measured: bf16 in these numerics alone. */
static inline bool bench_has_probe(const struct bench *b, int kind)
{
    return kind != ROOFLINE_BF16 || b->session.model.kern->numerics == KERN_BF16;
}

/* Best and median of every probe of the run; of the kinds that are not measured, zeros. */
void bench_probe_summaries(struct bench *b, struct probe_summary out[BENCH_PROBES]);

/* Text: the head before the tests, a line after each test, the machine at the end. */
void bench_print_head(const struct bench *b);
void bench_print_test(const struct bench_test *t);
void bench_print_machine(struct bench *b);

/* All of it as one JSON object. */
bool bench_print_json(struct bench *b, struct error *e);

#endif
