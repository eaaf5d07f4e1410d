/* bare_amx.c - the kernel set amx against ref on an emulated computer without operating system (see
 * run): stored activations and products of super-blocks, bit for bit. Text goes to port 0xE9, which
 * Bochs prints. */
#include "base/mem.h"
#include "kern/kern_internal.h"
#include "quant/pack.h"
#include "quant/quant.h"

#include <assert.h>
#include <string.h>

/* --- what stands in for the C library and base/ --- */

static void print(const char *text)
{
    for (; *text; text++) {
        __asm__ volatile("outb %0, %1" : : "a"(*text), "Nd"((uint16_t)0xE9));
    }
}

static void print_number(uint32_t n)
{
    char digits[11], *p = digits + sizeof digits - 1;
    *p = '\0';
    do {
        *--p = (char)('0' + n % 10);
    } while ((n /= 10) > 0);
    print(p);
}

static void print_with(const char *text, uint32_t n)
{
    print(text);
    print_number(n);
}

/* The empty assembly keeps compilers from making a call of the function of its own loop. */
void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ((char *)dst)[i] = ((const char *)src)[i];
        __asm__ volatile("");
    }
    return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
    char *to = dst;
    const char *from = src;
    bool is_down = to > from;
    for (size_t i = 0; i < n; i++) {
        size_t at = is_down ? n - 1 - i : i;
        to[at] = from[at];
        __asm__ volatile("");
    }
    return dst;
}

void *memset(void *dst, int byte, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ((char *)dst)[i] = (char)byte;
        __asm__ volatile("");
    }
    return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;
    for (size_t i = 0; i < n; i++) {
        if (x[i] != y[i]) {
            return x[i] - y[i];
        }
    }
    return 0;
}

void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function)
{
    (void)function;
    print_with(file, line);
    print(assertion);
    for (;;) {
        __asm__ volatile("hlt");
    }
}

bool error_set(struct error *e, enum error_code code, const char *format, ...)
{
    (void)e;
    (void)code;
    print(format);
    return false;
}

bool mem_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* Memory from 96 MiB on, taken and given back as a stack. */
static uintptr_t next_free = 96 << 20;

static void *take(size_t n_bytes)
{
    uintptr_t p = (next_free + 63) & ~(uintptr_t)63;
    next_free = p + n_bytes;
    return memset((void *)p, 0, n_bytes);
}

/* xorshift64 (Marsaglia, 2003) */
static uint32_t random_below(uint32_t n)
{
    static uint64_t state = 88172645463325252;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 32) * n >> 32);
}

/* --- cases --- */

enum data { RANDOM, EXTREME, ODD_SCALES, DATA_COUNT };

struct type {
    enum quant_type type;
    int d, minimum; /* bytes of a block where halves are; -1: none */
    const char *name;
};

static struct kern_table ref, amx;
static uint32_t n_passed, n_failed;

static uint16_t random_half(enum data data)
{
    static const uint16_t odd[] = {0x7C00, 0xFC00, 0x7E00, 0x8000, 0x0001};
    if (data == ODD_SCALES && random_below(8) == 0) {
        return odd[random_below(5)];
    }
    return (uint16_t)(0x1000 + random_below(0x1800) + random_below(2) * 0x8000);
}

static void fill_block(const struct type *type, enum data data, uint8_t *block)
{
    static const uint8_t extreme[] = {0xFF, 0x00, 0x7F, 0x80};
    size_t n_bytes = quant_type_info(type->type)->block_bytes;
    for (size_t i = 0; i < n_bytes; i++) {
        block[i] = (uint8_t)random_below(256);
    }
    if (data == EXTREME && random_below(4) > 0) {
        memset(block, extreme[random_below(4)], n_bytes);
    }
    uint16_t d = random_half(data), minimum = random_half(data);
    memcpy(block + type->d, &d, sizeof d);
    if (type->minimum >= 0) {
        memcpy(block + type->minimum, &minimum, sizeof minimum);
    }
}

/* Extreme quants are of one sign in most tokens, so that sums reach their bounds. */
static float any_activation(enum data data, uint32_t token)
{
    if (data == EXTREME) {
        return token % 3 == 0 || (token % 3 == 1 && random_below(2) == 0) ? 1.0f : -1.0f;
    }
    return (float)random_below(20001) * 1e-3f - 10.0f;
}

static bool is_same(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&a[i], &b[i], sizeof *a) != 0 && !(a[i] != a[i] && b[i] != b[i])) {
            return false;
        }
    }
    return true;
}

/* part_cols columns of a tile at a time. */
static void store_in_parts(const struct kern_table *set, const struct kern_act *a, const float *x,
                           uint32_t part_cols)
{
    for (uint32_t tile = 0; tile < kern_act_tiles(a->n_tokens); tile++) {
        for (uint32_t begin = 0; begin < a->cols; begin += part_cols) {
            struct kern_act part = kern_act_part(a, tile, begin, begin + part_cols);
            const float *from = x + (size_t)kern_tile_begin(tile) * a->cols + begin;
            set->store_act[a->form](&part, from, a->cols, 0, 1);
        }
    }
}

static void check_product(const struct type *type, enum data data, uint32_t rows, uint32_t cols,
                          uint32_t n_tokens)
{
    const uintptr_t begin_of_memory = next_free;
    const struct kern_table *sets[2] = {&ref, &amx};
    struct pack_matrix w;
    struct error e;
    if (!pack_matrix_init(&w, type->type, rows, cols, &e)) {
        n_failed++;
        return;
    }
    size_t block_bytes = quant_type_info(type->type)->block_bytes, n_blocks = rows * (cols / 256);
    uint8_t *file = take(n_blocks * block_bytes), *packed = take(pack_matrix_bytes(&w));
    for (size_t i = 0; i < n_blocks; i++) {
        fill_block(type, data, file + i * block_bytes);
    }
    pack_groups(&w, file, packed, 0, w.n_groups);
    w.data = packed;
    float *x = take((size_t)n_tokens * cols * sizeof(float));
    for (size_t i = 0; i < (size_t)n_tokens * cols; i++) {
        x[i] = any_activation(data, (uint32_t)(i / cols));
    }
    size_t act_bytes = kern_act_bytes(PACK_ACT_Q256_ROWS, n_tokens, cols), stride = rows + 3;
    void *act[2];
    float *y[2];
    uint32_t begin = random_below(2) * random_below(w.n_groups);
    for (int i = 0; i < 2; i++) {
        struct kern_act a;
        act[i] = take(act_bytes);
        y[i] = take(n_tokens * stride * sizeof(float));
        kern_act_init(&a, PACK_ACT_Q256_ROWS, n_tokens, cols, act[i]);
        store_in_parts(sets[i], &a, x, i == 0 ? cols : 256);
        sets[i]->matmul[type->type](&w, begin, w.n_groups, &a, y[i], stride);
    }
    bool same_act = memcmp(act[0], act[1], act_bytes) == 0;
    bool same_y = is_same(y[0], y[1], n_tokens * stride);
    n_passed += same_act && same_y;
    n_failed += !same_act || !same_y;
    if (!same_act || !same_y) {
        print("FAIL ");
        print(type->name);
        print(same_act ? " products" : " activations");
        print_with(", data ", data);
        print_with(", rows ", rows);
        print_with(", columns ", cols);
        print_with(", tokens ", n_tokens);
        print("\n");
    }
    next_free = begin_of_memory;
}

void bare_main(void);

void bare_main(void)
{
    static const struct type types[] = {
        {QUANT_Q2_K, 80, 82, "Q2_K"},  {QUANT_Q3_K, 108, -1, "Q3_K"},
        {QUANT_Q4_K, 0, 2, "Q4_K"},    {QUANT_Q5_K, 0, 2, "Q5_K"},
        {QUANT_Q6_K, 208, -1, "Q6_K"}, {QUANT_IQ4_XS, 0, -1, "IQ4_XS"}};
    static const uint32_t tokens[] = {1,  15, 16, 17,  24,  31,  32, 33,
                                      37, 47, 48, 100, 512, 513, 604};
    static const uint32_t rows[] = {1, 16, 17, 33, 145, 25, 32, 48};
    print("amx against ref\n");
    kern_fill_ref(&ref);
    kern_fill_matmul_ref(&ref);
    amx = ref;
    kern_fill_store_act_avx512(&amx);
    kern_fill_matmul_q256_avx512(&amx);
    kern_fill_store_act_amx(&amx);
    kern_fill_matmul_q256_amx(&amx);
    for (uint32_t i = 0; i < sizeof types / sizeof *types; i++) {
        for (enum data data = 0; data < DATA_COUNT; data++) {
            for (uint32_t t = 0; t < sizeof tokens / sizeof *tokens; t++) {
                uint32_t n_rows = tokens[t] > 100 ? rows[(t + i + data) % 4] : rows[(t + data) % 8];
                check_product(&types[i], data, n_rows, 256 * (1 + (t + i) % 3), tokens[t]);
            }
        }
        check_product(&types[i], RANDOM, 145, 512, 530);
        print(types[i].name);
        print("\n");
    }
    print_with("", n_passed);
    print_with(" passed, ", n_failed);
    print(" failed\n");
}
