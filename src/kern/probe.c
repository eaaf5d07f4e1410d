/* probe.c - hands probe loops to all threads and times them; the loops in plain C. */
#include "kern/probe.h"

#include "base/clock.h"
#include "kern/kern.h"
#include "kern/probe_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    LINE = 64,
    CHUNK_MAX_LINES = (1 << 20) / LINE,
    CHUNK_MIN_LINES = (16 << 10) / LINE, /* so that handing out costs nothing */
    CHUNKS_PER_THREAD = 16,              /* of a small working set: threads end together */
    CHUNK_ROUNDS = 1 << 14,              /* of arithmetic: some 30 microseconds, of tiles 500 */
    MAX_CHUNKS = 1 << 30,
    REF_LANES = 16
};

/* 16 bytes, which every CPU that has kernels of its own reads at once. */
typedef uint64_t words __attribute__((vector_size(16), may_alias));

static inline words read_line(const uint8_t *p)
{
    const words *w = (const void *)p;
    return (w[0] ^ w[1]) ^ (w[2] ^ w[3]);
}

static uint64_t read_ref(const void *data, size_t n_lines)
{
    const uint8_t *p = data;
    words sum = {0};
    for (size_t i = 0; i < n_lines; i++, p += LINE) {
        sum ^= read_line(p);
    }
    return sum[0] ^ sum[1];
}

uint64_t probe_read_apart(const void *data, size_t n_lines)
{
    size_t quarter = n_lines / 4 * LINE;
    const uint8_t *p = data;
    uint64_t rest = read_ref(p + 4 * quarter, n_lines % 4);
    words sums[4] = {{0}};
    for (const uint8_t *end = p + quarter; p < end; p += LINE) {
        for (size_t i = 0; i < 4; i++) {
            sums[i] ^= read_line(p + i * quarter);
        }
    }
    words sum = (sums[0] ^ sums[1]) ^ (sums[2] ^ sums[3]);
    return rest ^ sum[0] ^ sum[1];
}

/* Makes the compiler forget what it knows about the operands. */
static inline void forget(void *p)
{
    __asm__ volatile("" : : "r"(p) : "memory");
}

static uint32_t int8_ref(uint32_t n_rounds)
{
    int8_t weights[REF_LANES], activations[REF_LANES];
    uint32_t sums[REF_LANES] = {0};
    memset(weights, PROBE_WEIGHT, sizeof weights);
    memset(activations, PROBE_ACTIVATION, sizeof activations);
    for (uint32_t round = 0; round < n_rounds; round++) {
        forget(weights);
        forget(activations);
        for (int i = 0; i < REF_LANES; i++) {
            sums[i] += (uint32_t)(weights[i] * activations[i]);
        }
    }
    uint32_t sum = 0;
    for (int i = 0; i < REF_LANES; i++) {
        sum += sums[i];
    }
    return sum;
}

static uint32_t f32_ref(uint32_t n_rounds)
{
    float factors[REF_LANES], sums[REF_LANES] = {0}, sum = 0;
    for (int i = 0; i < REF_LANES; i++) {
        factors[i] = PROBE_FACTOR;
    }
    for (uint32_t round = 0; round < n_rounds; round++) {
        forget(factors);
        for (int i = 0; i < REF_LANES; i++) {
            sums[i] += factors[i] * factors[i];
        }
    }
    for (int i = 0; i < REF_LANES; i++) {
        sum += sums[i];
    }
    return (uint32_t)sum;
}

uint32_t probe_additions_ref(uint32_t n_rounds)
{
    uint32_t a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
    for (uint32_t round = 0; round < n_rounds; round++) {
        for (int i = 0; i < PROBE_ADDITIONS / 8; i++) {
            a++, b++, c++, d++, e++, f++, g++, h++;
            __asm__ volatile("" /* so that none is left out */
                             : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f), "+r"(g),
                               "+r"(h));
        }
    }
    return a + b + c + d + e + f + g + h;
}

const struct probe_loops probe_loops_ref = {read_ref,      int8_ref, f32_ref, 2 * REF_LANES,
                                            2 * REF_LANES, NULL,     0};

static const struct probe_loops *tile_loops(void)
{
#if defined(__x86_64__)
    return &probe_loops_amx;
#else
    return &probe_loops_ref;
#endif
}

static const struct probe_loops *best_loops(void)
{
#if defined(__x86_64__)
    switch (kern_best()) {
    case KERN_AVX512:
        return &probe_loops_avx512;
    case KERN_AVXVNNI:
        return &probe_loops_avxvnni;
    case KERN_AVX2:
        return &probe_loops_avx2;
    default:
        break;
    }
#elif defined(__aarch64__)
    switch (kern_best()) {
    case KERN_I8MM:
        return &probe_loops_i8mm;
    case KERN_NEON:
        return &probe_loops_neon;
    default:
        break;
    }
#endif
    return &probe_loops_ref;
}

/* One measurement. Chunks 0 .. n_chunks-1 are handed out; chunk i reads part i % n_parts of the
 * data, or (compute != NULL) does CHUNK_ROUNDS rounds. */
struct task {
    probe_read_fn *read;
    probe_compute_fn *compute;
    const uint8_t *data;
    size_t n_lines, part_lines;
    uint32_t n_parts;
    uint32_t n_chunks;
    _Atomic uint32_t next;
    _Atomic uint64_t result; /* keeps the loops alive */
};

static uint64_t read_part(const struct task *t, uint32_t part)
{
    size_t first = part * t->part_lines;
    size_t left = t->n_lines - first;
    return t->read(t->data + first * LINE, left < t->part_lines ? left : t->part_lines);
}

static void work(void *argument, unsigned thread)
{
    (void)thread;
    struct task *t = argument;
    uint64_t result = 0;
    uint32_t begin, end;
    while (pool_next_chunk(&t->next, t->n_chunks, 1, &begin, &end)) {
        result ^= t->compute != NULL ? t->compute(CHUNK_ROUNDS) : read_part(t, begin % t->n_parts);
    }
    atomic_fetch_xor(&t->result, result);
}

/* Chunks a second, from a run that lasts at least half of PROBE_SECONDS; shorter ones before it
 * find out how many chunks that is. round_to: the number of chunks is a multiple of it. */
static double measure(struct pool *p, struct task *t, uint32_t round_to)
{
    double n_chunks = round_to;
    for (;;) {
        t->n_chunks = (uint32_t)n_chunks;
        atomic_store(&t->next, 0);
        uint64_t start = clock_now_ns();
        pool_run(p, work, t);
        double seconds = clock_seconds_since(start) + 1e-9;
        if (seconds >= PROBE_SECONDS / 2 || n_chunks * 16 > MAX_CHUNKS) {
            return n_chunks / seconds;
        }
        double factor = PROBE_SECONDS / seconds;
        double wanted = n_chunks * (factor < 16 ? factor : 16);
        n_chunks = (double)((uint32_t)(wanted / round_to) + 1) * round_to;
    }
}

static double measure_read(struct pool *p, probe_read_fn *read, const void *data, size_t n_bytes)
{
    struct task t = {.read = read, .data = data, .n_lines = n_bytes / LINE};
    size_t share = t.n_lines / ((size_t)pool_n_threads(p) * CHUNKS_PER_THREAD);
    t.part_lines = share < CHUNK_MIN_LINES   ? CHUNK_MIN_LINES
                   : share > CHUNK_MAX_LINES ? CHUNK_MAX_LINES
                                             : share;
    t.n_parts = (uint32_t)((t.n_lines + t.part_lines - 1) / t.part_lines);
    double passes_a_second = measure(p, &t, t.n_parts) / t.n_parts;
    return passes_a_second * (double)(t.n_lines * LINE);
}

double probe_read(struct pool *p, const void *data, size_t n_bytes)
{
    double one = measure_read(p, best_loops()->read, data, n_bytes);
    double four = measure_read(p, probe_read_apart, data, n_bytes);
    return one > four ? one : four;
}

static double measure_compute(struct pool *p, probe_compute_fn *compute, uint32_t ops)
{
    struct task t = {.compute = compute};
    return measure(p, &t, pool_n_threads(p)) * CHUNK_ROUNDS * ops;
}

double probe_int8(struct pool *p, enum kern_set set)
{
    const struct probe_loops *loops = set == KERN_AMX ? tile_loops() : best_loops();
    return measure_compute(p, loops->int8, loops->int8_ops);
}

double probe_f32(struct pool *p)
{
    const struct probe_loops *loops = best_loops();
    return measure_compute(p, loops->f32, loops->f32_ops);
}

double probe_bf16(struct pool *p)
{
    const struct probe_loops *loops = best_loops();
    if (loops->bf16 == NULL || kern_get_bf16(kern_best(), NULL) == NULL) {
        return probe_f32(p);
    }
    return measure_compute(p, loops->bf16, loops->bf16_ops);
}

double probe_additions(struct pool *p)
{
    return measure_compute(p, probe_additions_ref, PROBE_ADDITIONS);
}

static int compare_doubles(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

struct probe_summary probe_summary(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare_doubles);
    return (struct probe_summary){values[n - 1], (values[(n - 1) / 2] + values[n / 2]) / 2};
}
