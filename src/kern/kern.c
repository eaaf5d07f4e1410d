/* kern.c - which kernel sets exist, which of them this CPU runs, and the memory of activations. */
#include "kern/kern.h"

#include "kern/kern_internal.h"

#include <pthread.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

struct set {
    const char *name;
    unsigned needs;             /* bits of enum kern_cpu */
    kern_fill_fn *const *fills; /* up to a NULL */
    kern_fill_fn *bf16;         /* what numerics bf16 change; NULL for sets that have none */
};

enum {
    NEEDS_AVX2 = KERN_CPU_FMA | KERN_CPU_F16C | KERN_CPU_AVX2,
    NEEDS_AVXVNNI = NEEDS_AVX2 | KERN_CPU_AVXVNNI,
    NEEDS_AVX512 = NEEDS_AVX2 | KERN_CPU_AVX512F | KERN_CPU_AVX512BW | KERN_CPU_AVX512VL |
                   KERN_CPU_AVX512DQ | KERN_CPU_AVX512VNNI,
    NEEDS_AMX = NEEDS_AVX512 | KERN_CPU_AMX_TILE | KERN_CPU_AMX_INT8,
    NEEDS_I8MM = KERN_CPU_DOTPROD | KERN_CPU_I8MM
};

static kern_fill_fn *const fills_ref[] = {kern_fill_ref, kern_fill_matmul_ref, NULL};

#if defined(__x86_64__)
static kern_fill_fn *const fills_avx2[] = {kern_fill_store_act_avx2,    kern_fill_float_avx2,
                                           kern_fill_attend_avx2,       kern_fill_attend_f16_avx2,
                                           kern_fill_matmul_q32_avx2,   kern_fill_matmul_q256_avx2,
                                           kern_fill_matmul_dense_avx2, NULL};
static kern_fill_fn *const fills_avxvnni[] = {kern_fill_matmul_q32_avxvnni,
                                              kern_fill_matmul_q256_avxvnni, NULL};
static kern_fill_fn *const fills_avx512[] = {
    kern_fill_store_act_avx512,    kern_fill_float_avx512,
    kern_fill_attend_avx512,       kern_fill_attend_f16_avx512,
    kern_fill_matmul_q32_avx512,   kern_fill_matmul_q256_avx512,
    kern_fill_matmul_dense_avx512, NULL};
static kern_fill_fn *const fills_amx[] = {kern_fill_store_act_amx, kern_fill_matmul_q256_amx, NULL};
#define BF16_AVX512 kern_fill_matmul_bf16_avx512
#else
static kern_fill_fn *const fills_avx2[] = {NULL};
static kern_fill_fn *const fills_avxvnni[] = {NULL};
static kern_fill_fn *const fills_avx512[] = {NULL};
static kern_fill_fn *const fills_amx[] = {NULL};
#define BF16_AVX512 NULL
#endif

#if defined(__aarch64__)
static kern_fill_fn *const fills_neon[] = {kern_fill_store_act_neon,    kern_fill_float_neon,
                                           kern_fill_attend_neon,       kern_fill_attend_f16_neon,
                                           kern_fill_matmul_q32_neon,   kern_fill_matmul_q256_neon,
                                           kern_fill_matmul_dense_neon, NULL};
static kern_fill_fn *const fills_i8mm[] = {kern_fill_matmul_q32_i8mm, kern_fill_matmul_q256_i8mm,
                                           NULL};
#else
static kern_fill_fn *const fills_neon[] = {NULL};
static kern_fill_fn *const fills_i8mm[] = {NULL};
#endif

static const struct set sets[KERN_SET_COUNT] = {
    [KERN_REF] = {"ref", 0, fills_ref, kern_fill_matmul_bf16_ref},
    [KERN_AVX2] = {"avx2", NEEDS_AVX2, fills_avx2, NULL},
    [KERN_AVXVNNI] = {"avxvnni", NEEDS_AVXVNNI, fills_avxvnni, NULL},
    [KERN_AVX512] = {"avx512", NEEDS_AVX512, fills_avx512, BF16_AVX512},
    [KERN_AMX] = {"amx", NEEDS_AMX, fills_amx, BF16_AVX512},
    [KERN_NEON] = {"neon", KERN_CPU_DOTPROD, fills_neon, NULL},
    [KERN_I8MM] = {"i8mm", NEEDS_I8MM, fills_i8mm, NULL},
};

static const char *const numerics_names[KERN_NUMERICS_COUNT] = {"portable", "bf16"};

static const struct {
    unsigned bit;
    const char *name;
} features[] = {
    {KERN_CPU_AVX2, "AVX2"},
    {KERN_CPU_FMA, "FMA"},
    {KERN_CPU_F16C, "F16C"},
    {KERN_CPU_AVXVNNI, "AVX_VNNI"},
    {KERN_CPU_AVX512F, "AVX512F"},
    {KERN_CPU_AVX512BW, "AVX512BW"},
    {KERN_CPU_AVX512VL, "AVX512VL"},
    {KERN_CPU_AVX512DQ, "AVX512DQ"},
    {KERN_CPU_AVX512VNNI, "AVX512_VNNI"},
    {KERN_CPU_AMX_TILE, "AMX_TILE"},
    {KERN_CPU_AMX_INT8, "AMX_INT8"},
    {KERN_CPU_DOTPROD, "FEAT_DotProd"},
    {KERN_CPU_I8MM, "FEAT_I8MM"},
};

const char *kern_cpu_missing(enum kern_set set, unsigned cpu)
{
    unsigned missing = sets[set].needs & ~cpu;
    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++) {
        if (missing & features[i].bit) {
            return features[i].name;
        }
    }
    return NULL;
}

bool kern_cpu_has_bf16(enum kern_set set, unsigned cpu)
{
    return kern_cpu_missing(set, cpu) == NULL && sets[set].bf16 != NULL &&
           (set == KERN_REF || (cpu & KERN_CPU_AVX512BF16) != 0);
}

#if defined(__x86_64__)

/* XCR0: which register files the operating system saves for a thread. Without that an instruction
 * set is not usable, whatever CPUID says. */
static uint32_t saved_register_files(void)
{
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static unsigned bit_if(uint32_t word, unsigned position, unsigned feature)
{
    return word >> position & 1 ? feature : 0;
}

/* source  Intel SDM volume 2A, CPUID leaves 1 and 7; volume 1, 13.3 (XCR0) */
static unsigned detect_cpu(void)
{
    enum { SAVES_YMM = 0x06, SAVES_ZMM = 0xE6, SAVES_TILES = 0x60000, OSXSAVE = 27 };
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c >> OSXSAVE & 1) == 0) {
        return 0;
    }
    uint32_t saved = saved_register_files();
    if ((saved & SAVES_YMM) != SAVES_YMM) {
        return 0;
    }
    unsigned cpu = bit_if(c, 12, KERN_CPU_FMA) | bit_if(c, 29, KERN_CPU_F16C);
    uint32_t a1, b1, c1, d1;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !__get_cpuid_count(7, 1, &a1, &b1, &c1, &d1)) {
        return cpu;
    }
    cpu |= bit_if(b, 5, KERN_CPU_AVX2) | bit_if(a1, 4, KERN_CPU_AVXVNNI);
    if ((saved & SAVES_ZMM) != SAVES_ZMM) {
        return cpu;
    }
    cpu |= bit_if(b, 16, KERN_CPU_AVX512F) | bit_if(b, 17, KERN_CPU_AVX512DQ);
    cpu |= bit_if(b, 30, KERN_CPU_AVX512BW) | bit_if(b, 31, KERN_CPU_AVX512VL);
    cpu |= bit_if(c, 11, KERN_CPU_AVX512VNNI) | bit_if(a1, 5, KERN_CPU_AVX512BF16);
    unsigned amx = bit_if(d, 24, KERN_CPU_AMX_TILE) | bit_if(d, 25, KERN_CPU_AMX_INT8);
    return cpu | ((saved & SAVES_TILES) == SAVES_TILES ? amx : 0);
}

#elif defined(__aarch64__) && defined(__APPLE__)

static unsigned feature_if(const char *name, unsigned feature)
{
    int has = 0;
    size_t size = sizeof has;
    bool known = sysctlbyname(name, &has, &size, NULL, 0) == 0;
    return known && has ? feature : 0;
}

static unsigned detect_cpu(void)
{
    return feature_if("hw.optional.arm.FEAT_DotProd", KERN_CPU_DOTPROD) |
           feature_if("hw.optional.arm.FEAT_I8MM", KERN_CPU_I8MM);
}

#elif defined(__aarch64__)

/* Advanced SIMD itself is part of every aarch64 Linux. */
static unsigned detect_cpu(void)
{
    unsigned cpu = getauxval(AT_HWCAP) & HWCAP_ASIMDDP ? KERN_CPU_DOTPROD : 0;
    return cpu | (getauxval(AT_HWCAP2) & HWCAP2_I8MM ? KERN_CPU_I8MM : 0);
}

#else

static unsigned detect_cpu(void)
{
    return 0;
}

#endif

static struct kern_table tables[KERN_SET_COUNT], bf16_tables[KERN_SET_COUNT];
static unsigned cpu_features;
static pthread_once_t tables_built = PTHREAD_ONCE_INIT;

void kern_fill(enum kern_set set, struct kern_table *t)
{
    t->name = sets[set].name;
    t->set = set;
    for (int i = 0; sets[set].fills[i]; i++) {
        sets[set].fills[i](t);
    }
}

/* Each set starts as a copy of the one before. The files that fill a set are compiled for it as a
 * whole, so a set that the CPU lacks stays the copy: neon starts as ref, the only one it finds. */
static void build_tables(void)
{
    cpu_features = detect_cpu();
    for (int s = 0; s < KERN_SET_COUNT; s++) {
        if (s > 0) {
            tables[s] = tables[s - 1];
        }
        if (kern_cpu_missing((enum kern_set)s, cpu_features) == NULL) {
            kern_fill((enum kern_set)s, &tables[s]);
        }
        if (kern_cpu_has_bf16((enum kern_set)s, cpu_features)) {
            bf16_tables[s] = tables[s];
            bf16_tables[s].numerics = KERN_BF16;
            sets[s].bf16(&bf16_tables[s]);
        }
    }
}

#if defined(__x86_64__) && defined(__linux__)

/* Tile registers are 8 KiB more for the kernel to keep of each thread, so Linux gives them to
 * processes that ask, for all their threads and for good.
 * source  Documentation/arch/x86/xstate.rst of Linux (5.16 and later) */
static bool may_use_tiles(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM */
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

#else

static bool may_use_tiles(void)
{
    return false;
}

#endif

const struct kern_table *kern_get(enum kern_set set, struct error *e)
{
    pthread_once(&tables_built, build_tables);
    const char *missing = kern_cpu_missing(set, cpu_features);
    if (missing) {
        error_set(e, ERROR_UNSUPPORTED, "kernel set '%s' needs the CPU feature %s", sets[set].name,
                  missing);
        return NULL;
    }
    if (set == KERN_AMX && !may_use_tiles()) {
        error_set(e, ERROR_UNSUPPORTED,
                  "kernel set '%s' needs the CPU feature AMX_TILE, which the operating system does "
                  "not let this process use",
                  sets[set].name);
        return NULL;
    }
    return &tables[set];
}

const struct kern_table *kern_get_bf16(enum kern_set set, struct error *e)
{
    if (kern_get(set, e) == NULL) {
        return NULL;
    }
    if (!kern_cpu_has_bf16(set, cpu_features)) {
        error_set(e, ERROR_UNSUPPORTED,
                  "numerics 'bf16' with kernel set '%s': they take avx512 or amx on a CPU with the "
                  "feature AVX512_BF16, or ref, which is slow",
                  sets[set].name);
        return NULL;
    }
    return &bf16_tables[set];
}

enum kern_set kern_best(void)
{
    enum kern_set best = KERN_REF;
    for (int s = 0; s < KERN_SET_COUNT; s++) {
        if (s != KERN_AMX && kern_get((enum kern_set)s, NULL)) {
            best = (enum kern_set)s;
        }
    }
    return best;
}

bool kern_parse(const char *name, enum kern_set *out)
{
    for (int s = 0; s < KERN_SET_COUNT; s++) {
        if (strcmp(name, sets[s].name) == 0) {
            *out = (enum kern_set)s;
            return true;
        }
    }
    return false;
}

const char *kern_name(enum kern_set set)
{
    return sets[set].name;
}

bool kern_numerics_parse(const char *name, enum kern_numerics *out)
{
    for (int i = 0; i < KERN_NUMERICS_COUNT; i++) {
        if (strcmp(name, numerics_names[i]) == 0) {
            *out = (enum kern_numerics)i;
            return true;
        }
    }
    return false;
}

const char *kern_numerics_name(enum kern_numerics numerics)
{
    return numerics_names[numerics];
}

/* Bytes of the arrays of an activation matrix, each rounded up to 64. */
struct act_sizes {
    size_t f, q, d, s, n, n16, n32, most16, b, rows;
};

static size_t round_up_64(size_t n_bytes)
{
    return (n_bytes + 63) & ~(size_t)63;
}

static struct act_sizes act_sizes(enum pack_act form, uint32_t n_tokens, uint32_t cols)
{
    size_t tokens = n_tokens;
    struct act_sizes sizes = {0};
    switch (form) {
    case PACK_ACT_F32:
        sizes.f = round_up_64(tokens * cols * sizeof(float));
        break;
    case PACK_ACT_Q32:
        sizes.q = round_up_64(tokens * cols);
        sizes.d = round_up_64(tokens * (cols / 32) * sizeof(float));
        sizes.s = sizes.d;
        sizes.n = sizes.d;
        break;
    case PACK_ACT_Q256_ROWS:
        sizes.rows = tokens * (cols / 256) * sizeof(struct kern_act_row);
        /* fallthrough */
    case PACK_ACT_Q256:
        sizes.q = round_up_64(tokens * cols);
        sizes.d = round_up_64(tokens * (cols / 256) * sizeof(float));
        sizes.n16 = round_up_64(tokens * (cols / 16) * sizeof(int16_t));
        sizes.n32 = round_up_64(tokens * (cols / 32) * sizeof(int16_t));
        sizes.most16 = round_up_64(tokens * (cols / 256) * sizeof(uint16_t));
        break;
    case PACK_ACT_BF16:
        sizes.b = round_up_64(tokens * cols * sizeof(uint16_t));
        break;
    case PACK_ACT_COUNT:
        break;
    }
    return sizes;
}

size_t kern_act_bytes(enum pack_act form, uint32_t n_tokens, uint32_t cols)
{
    struct act_sizes sizes = act_sizes(form, n_tokens, cols);
    return sizes.f + sizes.q + sizes.d + sizes.s + sizes.n + sizes.n16 + sizes.n32 + sizes.most16 +
           sizes.b + sizes.rows;
}

/* The next array of n_bytes, NULL for none; *next moves on. */
static void *take(char **next, size_t n_bytes)
{
    void *p = n_bytes ? *next : NULL;
    *next += n_bytes;
    return p;
}

void kern_act_init(struct kern_act *a, enum pack_act form, uint32_t n_tokens, uint32_t cols,
                   void *memory)
{
    struct act_sizes sizes = act_sizes(form, n_tokens, cols);
    char *next = memory;
    *a = (struct kern_act){.form = form, .n_tokens = n_tokens, .cols = cols};
    a->f = take(&next, sizes.f);
    a->q = take(&next, sizes.q);
    bool is_super = form == PACK_ACT_Q256 || form == PACK_ACT_Q256_ROWS;
    a->q_step = is_super ? (size_t)n_tokens * 256 : 0;
    a->d = take(&next, sizes.d);
    a->s = take(&next, sizes.s);
    a->n = take(&next, sizes.n);
    a->n16 = take(&next, sizes.n16);
    a->n32 = take(&next, sizes.n32);
    a->most16 = take(&next, sizes.most16);
    a->b = take(&next, sizes.b);
    a->rows = take(&next, sizes.rows);
}

struct kern_act kern_act_part(const struct kern_act *a, uint32_t tile, uint32_t col_begin,
                              uint32_t col_end)
{
    struct kern_act part = {
        .form = a->form, .n_tokens = kern_tile_width(a, tile), .cols = col_end - col_begin};
    /* items before the part: of the tiles before this one, and of this one */
    size_t n = (size_t)kern_tile_begin(tile) * a->cols + (size_t)part.n_tokens * col_begin;
    switch (a->form) {
    case PACK_ACT_F32:
        part.f = a->f + n;
        break;
    case PACK_ACT_Q32:
        part.q = a->q + n;
        part.d = a->d + n / 32;
        part.s = a->s + n / 32;
        part.n = a->n + n / 32;
        break;
    case PACK_ACT_BF16:
        part.b = a->b + n;
        break;
    default:
        part.q_step = a->q_step;
        part.q = a->q + col_begin / 256 * a->q_step + (size_t)kern_tile_begin(tile) * 256;
        part.d = a->d + n / 256;
        part.n16 = a->n16 + n / 16;
        part.n32 = a->n32 + n / 32;
        part.most16 = a->most16 + n / 256;
        part.rows = a->rows == NULL
                        ? NULL
                        : a->rows + (col_begin / 256) * (a->q_step / 256) + kern_tile_begin(tile);
        break;
    }
    return part;
}
