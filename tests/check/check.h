/* check.h - the harness of the kernel check: every slot of every set against `ref`, bit for bit.
 *
 * A family of slots (check_float.c, check_matmul.c) has one function that check.c calls once for
 * each set this CPU runs:
 *
 *     struct check_slot s;
 *     if (check_begin(c, &s, "rmsnorm", set)) {        false: not asked for, or `set` is ref
 *         for (each case) { run ref and set; check_case(&s, same, "n %u", n); }
 *         check_end(c, &s);                            prints "ok rmsnorm avx2 (120 cases)"
 *     }
 *     if (check_wants_bench(c, "rmsnorm")) {           ref is timed too
 *         check_bench("rmsnorm n 4096", set, call, &argument, n_bytes, n_ops);
 *     }
 */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include "base/rng.h"
#include "kern/kern.h"

struct check {
    struct rng rng;
    uint64_t seed;
    bool bench;
    const char *only; /* part of a slot's name; NULL: all */
    unsigned n_passed, n_failed;
    unsigned n_skipped;    /* sets that this CPU does not run */
    uint64_t max_products; /* leave out larger matmul cases, an emulated set is slow; 0: none */
};

struct check_slot {
    const char *slot, *set;
    uint64_t n_cases, n_failures;
};

/* The families. `set` may be `ref` itself. */
void check_float(struct check *c, const struct kern_table *ref, const struct kern_table *set);
void check_attend(struct check *c, const struct kern_table *ref, const struct kern_table *set);
void check_matmul(struct check *c, const struct kern_table *ref, const struct kern_table *set);

/* The set avxvnni with its instructions emulated. */
void check_emulated_avxvnni(struct check *c, const struct kern_table *ref);

/* Starts a slot. The stream restarts from the seed and the slot's name, so --only repeats a run. */
bool check_begin(struct check *c, struct check_slot *s, const char *slot,
                 const struct kern_table *set);

/* Counts a case; prints the first failing ones. */
void check_case(struct check_slot *s, bool ok, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void check_end(struct check *c, const struct check_slot *s);

/* Uniform in 0..n-1. */
uint32_t check_random(struct check *c, uint32_t n);

/* What to fill inputs with. MIXED has a little of all the others among normal values. */
enum check_fill {
    CHECK_NORMAL,   /* -4..4 */
    CHECK_WIDE,     /* both signs, magnitudes 2^-40 .. 2^40 */
    CHECK_HUGE,     /* near the largest float */
    CHECK_DENORMAL, /* denormals, negative zeros */
    CHECK_ZERO,     /* zeros of both signs */
    CHECK_INF,      /* normal with some infinities */
    CHECK_NAN,      /* normal with some NaN */
    CHECK_EDGE,     /* round the limits of exp, or of the smallest block that is quantised */
    CHECK_MIXED,
    CHECK_FILL_COUNT
};
void check_fill_f32(struct check *c, float *x, size_t n, enum check_fill fill);
void check_fill_bytes(struct check *c, void *p, size_t n_bytes);

/* Equal bits, or both NaN. */
bool check_same_f32(const float *a, const float *b, size_t n);

/* Guarded memory. The bytes end `tail` bytes before a page that cannot be touched: tail 0 makes the
 * smallest read or write too far a crash; otherwise the tail, and what lies before, is a canary.
 * The bytes' alignment follows: (4096 - tail - n_bytes) modulo 64. */
struct check_buf {
    void *p;
    size_t n_bytes, tail;
    unsigned char *map;
    size_t map_bytes;
};
void *check_buf_init(struct check_buf *b, size_t n_bytes, size_t tail);
bool check_buf_intact(const struct check_buf *b);
void check_buf_finish(struct check_buf *b);

/* Times call(argument) (shortest of several rounds) and prints GB/s of n_bytes and GOP/s of n_ops
 * touched a call; either may be 0. `what` names the slot and the shape. */
typedef void check_call_fn(void *argument);
bool check_wants_bench(struct check *c, const char *slot);
void check_bench(const char *what, const struct kern_table *set, check_call_fn *call,
                 void *argument, double n_bytes, double n_ops);

#endif
