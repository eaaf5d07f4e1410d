/* check.c - the kernel check's program and harness, see check.h.
 * Usage: check [--seed N] [--bench] [--only NAME] [--emulate avxvnni]
 * --emulate: that set alone, whether the CPU has its instructions or not. */
#include "check.h"

#include "base/clock.h"
#include "base/fmath.h"
#include "base/half.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, FRONT = 256, CANARY = 0xC3, SHOWN_FAILURES = 5 };

/* The same data for a slot, whatever ran before it. */
static void restart(struct check *c, const char *slot)
{
    uint64_t stream = c->seed;
    for (const char *p = slot; *p; p++) {
        stream = stream * 31 + (unsigned char)*p;
    }
    rng_init(&c->rng, stream);
}

bool check_begin(struct check *c, struct check_slot *s, const char *slot,
                 const struct kern_table *set)
{
    if ((c->only && !strstr(slot, c->only)) || strcmp(set->name, kern_name(KERN_REF)) == 0) {
        return false;
    }
    *s = (struct check_slot){.slot = slot, .set = set->name};
    restart(c, slot);
    return true;
}

void check_case(struct check_slot *s, bool ok, const char *format, ...)
{
    s->n_cases++;
    if (ok || s->n_failures++ >= SHOWN_FAILURES) {
        return;
    }
    printf("FAIL %s %s: ", s->slot, s->set);
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

void check_end(struct check *c, const struct check_slot *s)
{
    bool ok = s->n_failures == 0 && s->n_cases > 0;
    c->n_passed += ok;
    c->n_failed += !ok;
    if (ok) {
        printf("ok %s %s (%llu cases)\n", s->slot, s->set, (unsigned long long)s->n_cases);
    } else {
        printf("FAILED %s %s (%llu of %llu cases)\n", s->slot, s->set,
               (unsigned long long)s->n_failures, (unsigned long long)s->n_cases);
    }
    fflush(stdout);
}

uint32_t check_random(struct check *c, uint32_t n)
{
    return (uint32_t)((rng_next(&c->rng) >> 32) * n >> 32);
}

static float random_sign(struct check *c, float magnitude)
{
    return rng_next(&c->rng) >> 63 ? -magnitude : magnitude;
}

static float random_value(struct check *c, enum check_fill fill)
{
    float uniform = (float)rng_uniform(&c->rng);
    uint32_t one_in_16 = check_random(c, 16);
    switch (fill) {
    case CHECK_WIDE:
        return random_sign(c, ldexpf(1.0f + uniform, (int)check_random(c, 81) - 40));
    case CHECK_HUGE:
        return random_sign(c, 0x1.fffffep+127f * (1.0f - uniform * 0x1p-4f));
    case CHECK_DENORMAL:
        return random_sign(c, one_in_16 ? half_from_bits(check_random(c, 0x800000)) : 0.0f);
    case CHECK_ZERO:
        return random_sign(c, 0.0f);
    case CHECK_INF:
        return one_in_16 ? random_sign(c, 4.0f * uniform) : random_sign(c, INFINITY);
    case CHECK_NAN:
        return one_in_16 ? random_sign(c, 4.0f * uniform) : random_sign(c, NAN);
    case CHECK_MIXED:
        return random_value(c, one_in_16 < CHECK_EDGE ? (enum check_fill)one_in_16 : CHECK_NORMAL);
    default:
        return random_sign(c, 4.0f * uniform);
    }
}

/* One of a few values that an implementation treats differently from their neighbours. */
static float edge_value(struct check *c, bool of_exp)
{
    static const float exp_edges[] = {FMATH_EXPF_LOWEST, FMATH_EXPF_HIGHEST, -87.0f, 88.0f, 104.0f};
    static const float block_edges[] = {0x1p-100f, 0x1p-100f, 0x1p-101f, 0x1p-126f, 0.0f};
    float edge = (of_exp ? exp_edges : block_edges)[check_random(c, 5)];
    switch (check_random(c, 6)) {
    case 0:
        edge = nextafterf(edge, -INFINITY);
        break;
    case 1:
        edge = of_exp ? nextafterf(edge, INFINITY) : edge;
        break;
    case 2:
        edge *= of_exp ? 1.0f + (float)rng_uniform(&c->rng) * 0x1p-6f : 1.0f;
        break;
    default:
        break;
    }
    return random_sign(c, edge);
}

void check_fill_f32(struct check *c, float *x, size_t n, enum check_fill fill)
{
    bool of_exp = check_random(c, 2);
    for (size_t i = 0; i < n; i++) {
        x[i] = fill == CHECK_EDGE ? edge_value(c, of_exp) : random_value(c, fill);
    }
}

void check_fill_bytes(struct check *c, void *p, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) {
        ((unsigned char *)p)[i] = (unsigned char)(rng_next(&c->rng) >> 56);
    }
}

bool check_same_f32(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (half_to_bits(a[i]) != half_to_bits(b[i]) && !(a[i] != a[i] && b[i] != b[i])) {
            return false;
        }
    }
    return true;
}

void *check_buf_init(struct check_buf *b, size_t n_bytes, size_t tail)
{
    size_t used = (FRONT + n_bytes + tail + PAGE - 1) / PAGE * PAGE;
    b->map_bytes = used + PAGE;
    b->map = mmap(NULL, b->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b->map == MAP_FAILED || mprotect(b->map + used, PAGE, PROT_NONE) != 0) {
        fprintf(stderr, "check: cannot map %zu bytes\n", b->map_bytes);
        exit(1);
    }
    memset(b->map, CANARY, used);
    b->n_bytes = n_bytes;
    b->tail = tail;
    b->p = b->map + used - tail - n_bytes;
    return b->p;
}

bool check_buf_intact(const struct check_buf *b)
{
    const unsigned char *p = b->p;
    for (size_t i = 1; i <= FRONT; i++) {
        if (*(p - i) != CANARY) {
            return false;
        }
    }
    for (size_t i = 0; i < b->tail; i++) {
        if (p[b->n_bytes + i] != CANARY) {
            return false;
        }
    }
    return true;
}

void check_buf_finish(struct check_buf *b)
{
    munmap(b->map, b->map_bytes);
    *b = (struct check_buf){0};
}

bool check_wants_bench(struct check *c, const char *slot)
{
    bool wants = c->bench && (!c->only || strstr(slot, c->only));
    if (wants) {
        restart(c, slot);
    }
    return wants;
}

static double seconds_of(check_call_fn *call, void *argument, unsigned n_calls)
{
    uint64_t start = clock_now_ns();
    for (unsigned i = 0; i < n_calls; i++) {
        call(argument);
    }
    return clock_seconds_since(start);
}

void check_bench(const char *what, const struct kern_table *set, check_call_fn *call,
                 void *argument, double n_bytes, double n_ops)
{
    unsigned n_calls = 1;
    while (seconds_of(call, argument, n_calls) < 2e-4 && n_calls < 1u << 20) {
        n_calls *= 2;
    }
    /* short rounds: the best is one that nothing disturbed; slow calls get three */
    double shortest = 1e9, total = 0.0;
    for (int round = 0; round < 3 || (round < 60 && total < 0.02); round++) {
        double seconds = seconds_of(call, argument, n_calls);
        total += seconds;
        shortest = seconds / n_calls < shortest ? seconds / n_calls : shortest;
    }
    printf("bench %-34s %-6s %10.3f us", what, set->name, shortest * 1e6);
    if (n_bytes > 0) {
        printf(" %8.2f GB/s", n_bytes / shortest * 1e-9);
    }
    if (n_ops > 0) {
        printf(" %8.2f GOP/s", n_ops / shortest * 1e-9);
    }
    printf("\n");
    fflush(stdout);
}

static bool parse_options(struct check *c, bool *emulate, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool has_value = i + 1 < argc;
        if (strcmp(argv[i], "--bench") == 0) {
            c->bench = true;
        } else if (strcmp(argv[i], "--only") == 0 && has_value) {
            c->only = argv[++i];
        } else if (strcmp(argv[i], "--emulate") == 0 && has_value) {
            *emulate = true;
            if (strcmp(argv[++i], kern_name(KERN_AVXVNNI)) != 0) {
                return false;
            }
        } else if (strcmp(argv[i], "--seed") == 0 && has_value) {
            char *end;
            c->seed = strtoull(argv[++i], &end, 10);
            if (*end || end == argv[i]) {
                return false;
            }
        } else {
            return false;
        }
    }
    return true;
}

/* Numerics bf16, of sets that have them. */
static void check_bf16(struct check *c, enum kern_set s)
{
    struct error e;
    const struct kern_table *set = kern_get_bf16(s, &e);
    if (set) {
        check_matmul(c, kern_get_bf16(KERN_REF, NULL), set);
    } else if (s == KERN_AVX512) {
        printf("SKIPPED %s\n", e.text);
        c->n_skipped++;
    }
}

static void check_sets(struct check *c, const struct kern_table *ref)
{
    for (int s = 0; s < KERN_SET_COUNT; s++) {
        struct error e;
        const struct kern_table *set = kern_get((enum kern_set)s, &e);
        if (!set) {
            printf("SKIPPED %s: %s\n", kern_name((enum kern_set)s), e.text);
            c->n_skipped++;
            continue;
        }
        check_float(c, ref, set);
        check_attend(c, ref, set);
        check_matmul(c, ref, set);
        check_bf16(c, (enum kern_set)s);
    }
}

int main(int argc, char **argv)
{
    struct check c = {.seed = clock_now_ns() % 1000000};
    bool emulate = false;
    if (!parse_options(&c, &emulate, argc, argv)) {
        fprintf(stderr, "usage: check [--seed N] [--bench] [--only NAME] [--emulate avxvnni]\n");
        return 2;
    }
    printf("seed %llu\n", (unsigned long long)c.seed);
    const struct kern_table *ref = kern_get(KERN_REF, NULL);
    if (emulate) {
        c.max_products = 48 * 16 * 256; /* a group times a panel of each width */
        check_emulated_avxvnni(&c, ref);
    } else {
        check_sets(&c, ref);
    }
    if (c.n_passed + c.n_failed == 0 && c.only && !c.bench) {
        printf("no slot is called '%s'\n", c.only);
        c.n_failed = 1;
    }
    printf("%u passed, %u failed", c.n_passed, c.n_failed);
    printf(c.n_skipped > 0 ? ", %u skipped\n" : "\n", c.n_skipped);
    return c.n_failed > 0;
}
