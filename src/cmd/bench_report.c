/* bench_report.c - what `puna bench` prints, as a table of at most 100 columns or as JSON. */
#include "cmd/bench.h"
#include "cmd/print.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static const struct {
    const char *name; /* in JSON */
    const char *text;
    const char *unit; /* and what it is of */
} probe_texts[BENCH_PROBES] = {
    [ROOFLINE_READ] = {"read_bytes_per_second", "read", "GB/s of the packed weights"},
    [ROOFLINE_INT8] = {"int8_ops_per_second", "int8", "GOP/s"},
    [ROOFLINE_F32] = {"f32_ops_per_second", "f32", "GFLOP/s"},
    [ROOFLINE_BF16] = {"bf16_ops_per_second", "bf16", "GFLOP/s"},
    [BENCH_ADDITIONS] = {"additions_per_second", "adds", "G additions/s: how far cores are shared"},
};

static uint64_t count_weights(const struct gguf *g)
{
    uint64_t n = 0;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        n += gguf_tensor_at(g, i)->n_items;
    }
    return n;
}

/* Largest resident memory of the process so far. */
static uint64_t peak_bytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)usage.ru_maxrss * 1024;
}

static uint64_t kv_bytes_per_token(const struct bench *b)
{
    return kv_bytes(&b->session.model.config, b->kv.type, KERN_ATTN_TILE) / KERN_ATTN_TILE;
}

static uint64_t kv_pool_bytes(const struct bench *b)
{
    return (uint64_t)b->kv.n_pages * b->kv.page_bytes;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* That the process had while tests ran; 0 when all were skipped. */
static double cpus(const struct bench *b)
{
    return b->ns > 0 ? (double)b->cpu_ns / (double)b->ns : 0.0;
}

static double mb(double bytes)
{
    return bytes * 1e-6;
}

static const char *source_of(const struct session *s)
{
    return s->model.weights.from_cache ? "cache" : "model";
}

void bench_print_head(const struct bench *b)
{
    const struct session *s = &b->session;
    double file_bytes = (double)gguf_file_bytes(s->file);
    printf("model    ");
    print_escaped(stdout, str_from(base_name(s->path)), SIZE_MAX);
    putchar('\n');
    printf("         %.1f M weights in %.1f MB\n", (double)count_weights(s->file) * 1e-6,
           mb(file_bytes));
    printf("compute  %u thread%s, kernels %s, numerics %s\n", pool_n_threads(s->pool),
           pool_n_threads(s->pool) == 1 ? "" : "s", s->model.kern->name,
           kern_numerics_name(s->model.kern->numerics));
    printf("load     %.2f s, %.0f MB/s, from the %s\n", s->load_seconds,
           mb(file_bytes) / s->load_seconds, source_of(s));
    printf("memory   weights %.1f MB, KV cache (%s) %.1f kB a token, buffers %.1f MB\n\n",
           mb((double)s->model.weights.packed_bytes), kv_type_name(b->kv.type),
           (double)kv_bytes_per_token(b) * 1e-3, mb((double)b->forward.memory_bytes));
    printf("%-8s %6s %6s %5s %11s %11s %7s %11s %6s  %s\n", "test", "tokens", "depth", "batch",
           "tokens/s", "best", "spread", "limit", "share", "limited by");
}

void bench_print_test(const struct bench_test *t)
{
    printf("%-8s %6u %6u %5u ", t->is_decode ? "decode" : "prefill", t->n_tokens, t->depth,
           t->batch);
    if (t->n_repetitions == 0) {
        printf("skipped: %.0f s a repetition (--seconds)\n", t->skipped_seconds);
    } else {
        printf("%11.2f %11.2f %5.0f %% %11.2f %4.0f %%  %s\n", t->median, t->best, t->spread * 100,
               t->limit, t->median / t->limit * 100, roofline_bound_name(t->bound));
    }
    fflush(stdout);
}

void bench_print_machine(struct bench *b)
{
    struct probe_summary summaries[BENCH_PROBES];
    bench_probe_summaries(b, summaries);
    printf("\nmachine, measured between the repetitions; median (best)\n");
    for (int i = 0; i < BENCH_PROBES; i++) {
        if (bench_has_probe(b, i)) {
            printf("  %-6s %8.1f (%.1f) %s\n", probe_texts[i].text, summaries[i].median * 1e-9,
                   summaries[i].best * 1e-9, probe_texts[i].unit);
        }
    }
    printf("  %-6s %8.2f of %u, that this process had during the tests\n", "CPUs", cpus(b),
           pool_n_threads(b->session.pool));
    printf("memory of the process at most %.1f MB\n", mb((double)peak_bytes()));
}

static json_t *json_test(const struct bench_test *t)
{
    json_t *entry = json_pack("{s:s,s:i,s:i,s:i,s:i}", "test", t->is_decode ? "decode" : "prefill",
                              "tokens", (int)t->n_tokens, "depth", (int)t->depth, "batch",
                              (int)t->batch, "repetitions", (int)t->n_repetitions);
    if (t->n_repetitions == 0) {
        json_object_set_new(entry, "skipped_seconds", json_real(t->skipped_seconds));
        return entry;
    }
    json_t *rest =
        json_pack("{s:f,s:f,s:f,s:f,s:f,s:s,s:f,s:f,s:f,s:f}", "tokens_per_second", t->median,
                  "best_tokens_per_second", t->best, "spread", t->spread, "limit_tokens_per_second",
                  t->limit, "share", t->median / t->limit, "limited_by",
                  roofline_bound_name(t->bound), probe_texts[ROOFLINE_READ].name, t->machine.read,
                  probe_texts[ROOFLINE_INT8].name, t->machine.int8, probe_texts[ROOFLINE_F32].name,
                  t->machine.f32, probe_texts[BENCH_ADDITIONS].name, t->additions);
    json_object_update_new(entry, rest);
    if (t->machine.bf16 > 0) {
        json_object_set_new(entry, probe_texts[ROOFLINE_BF16].name, json_real(t->machine.bf16));
    }
    return entry;
}

static json_t *json_machine(struct bench *b)
{
    struct probe_summary summaries[BENCH_PROBES];
    bench_probe_summaries(b, summaries);
    json_t *machine = json_object();
    for (int i = 0; i < BENCH_PROBES; i++) {
        if (bench_has_probe(b, i)) {
            json_object_set_new(
                machine, probe_texts[i].name,
                json_pack("{s:f,s:f}", "median", summaries[i].median, "best", summaries[i].best));
        }
    }
    json_object_set_new(machine, "cpus", json_real(cpus(b)));
    return machine;
}

bool bench_print_json(struct bench *b, struct error *e)
{
    const struct session *s = &b->session;
    json_t *tests = json_array();
    for (size_t i = 0; i < b->n_tests; i++) {
        json_array_append_new(tests, json_test(&b->tests[i]));
    }
    json_t *memory =
        json_pack("{s:I,s:s,s:I,s:I,s:I,s:I}", "weight_bytes",
                  (json_int_t)s->model.weights.packed_bytes, "kv_type", kv_type_name(b->kv.type),
                  "kv_bytes_per_token", (json_int_t)kv_bytes_per_token(b), "kv_pool_bytes",
                  (json_int_t)kv_pool_bytes(b), "buffer_bytes", (json_int_t)b->forward.memory_bytes,
                  "process_peak_bytes", (json_int_t)peak_bytes());
    json_t *root = json_pack(
        "{s:o,s:I,s:I,s:s,s:s,s:i,s:f,s:s,s:o,s:o,s:o}", "model",
        print_json_string(str_from(s->path)), "file_bytes", (json_int_t)gguf_file_bytes(s->file),
        "n_weights", (json_int_t)count_weights(s->file), "kernels", s->model.kern->name, "numerics",
        kern_numerics_name(s->model.kern->numerics), "threads", (int)pool_n_threads(s->pool),
        "load_seconds", s->load_seconds, "load_from", source_of(s), "memory", memory, "machine",
        json_machine(b), "tests", tests);
    return print_json_document(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9), e);
}
