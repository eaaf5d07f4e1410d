/* check_emulate.c - the kernel set avxvnni on a CPU that lacks its instructions: they are emulated,
 * and the emulator is held against AVX-512's of the same names where the CPU has them. */
#include "check.h"

#include "emulate_avxvnni.h"
#include "kern/kern_internal.h"
#include "kern/probe_internal.h"

#include <assert.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)

enum { OPERAND = 64 }; /* bytes: what lies beyond the 16 or 32 of an instruction must become 0 */

struct operands {
    _Alignas(OPERAND) uint8_t dst[OPERAND], src1[OPERAND], src2[OPERAND];
};
static_assert(offsetof(struct operands, src2) == 128, "as the code below says");

/* For an operand relative to the instruction pointer. */
static _Alignas(OPERAND) uint8_t near_code[OPERAND] __asm__("check_emulate_near_code")
    __attribute__((used));

/* Runs INSTRUCTION on o and leaves its result in o->dst. BEFORE makes SRC2, given that o is in rdi;
 * SIZE, SRC1, DST: the other registers' names are SIZEmmSRC1 and SIZEmmDST. */
#define RUN(NAME, INSTRUCTION, SIZE, BEFORE, SRC2, SRC1, DST)                                      \
    static void NAME(struct operands *o)                                                           \
    {                                                                                              \
        __asm__ volatile("vmovdqu64 (%%rdi), %%zmm" #DST "\n\t"                                    \
                         "vmovdqu64 64(%%rdi), %%zmm" #SRC1 "\n\t"                                 \
                         "mov %%rbp, %%r15\n\t" BEFORE "\n\t" INSTRUCTION " " SRC2 ", %%" SIZE     \
                         "mm" #SRC1 ", %%" SIZE "mm" #DST "\n\t"                                   \
                         "mov %%r15, %%rbp\n\t"                                                    \
                         "vmovdqu64 %%zmm" #DST ", (%%rdi)\n\t"                                    \
                         "vzeroupper"                                                              \
                         :                                                                         \
                         : "D"(o)                                                                  \
                         : "memory", "cc", "rax", "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10",   \
                           "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3",      \
                           "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",       \
                           "xmm12", "xmm13", "xmm14", "xmm15");                                    \
    }

/* M(NAME, SIZE, BEFORE, SRC2, SRC1, DST): every way to name an operand. */
#define LOAD(REGISTER) "vmovdqu64 128(%%rdi), %%zmm" #REGISTER
#define FORMS(M)                                                                                   \
    M(low_registers, "y", LOAD(0), "%%ymm0", 1, 2)                                                 \
    M(high_registers, "y", LOAD(11), "%%ymm11", 9, 14)                                             \
    M(low_and_high, "y", LOAD(7), "%%ymm7", 15, 8)                                                 \
    M(one_register, "y", "", "%%ymm5", 5, 5)                                                       \
    M(xmm, "x", LOAD(7), "%%xmm7", 12, 3)                                                          \
    M(xmm_memory, "x", "lea 128(%%rdi), %%rax", "(%%rax)", 13, 11)                                 \
    M(base, "y", "lea 128(%%rdi), %%rax", "(%%rax)", 1, 2)                                         \
    M(base_rbp, "y", "lea 128(%%rdi), %%rbp", "(%%rbp)", 0, 15)                                    \
    M(base_r12, "y", "lea 128(%%rdi), %%r12", "(%%r12)", 9, 10)                                    \
    M(base_r13, "y", "lea 128(%%rdi), %%r13", "(%%r13)", 6, 4)                                     \
    M(base_rsp, "y", "lea 128(%%rdi), %%rcx\n\tsub %%rsp, %%rcx", "(%%rsp,%%rcx)", 4, 6)           \
    M(byte_ahead, "y", "lea 127(%%rdi), %%rdx", "1(%%rdx)", 3, 7)                                  \
    M(byte_back, "y", "lea 256(%%rdi), %%r14", "-128(%%r14)", 8, 13)                               \
    M(dword_ahead, "y", "lea -0x12345600(%%rdi), %%rbx", "0x12345680(%%rbx)", 2, 1)                \
    M(dword_back, "y", "lea 256(%%rdi), %%r11", "-129(%%r11)", 2, 1)                               \
    M(index_back, "y", "lea 300(%%rdi), %%r8\n\tmov $-43, %%r9", "(%%r8,%%r9,4)", 3, 12)           \
    M(index_r12, "y", "lea 100(%%rdi), %%rsi\n\tmov $10, %%r12", "8(%%rsi,%%r12,2)", 14, 9)        \
    M(index_rbp, "y", "lea -1024(%%rdi), %%r13\n\tmov $9, %%rbp", "0x438(%%r13,%%rbp,8)", 5, 0)    \
    M(no_base, "y", "lea -0x11b8(%%rdi), %%rsi\n\tshr $3, %%rsi", "0x1238(,%%rsi,8)", 11, 5)       \
    M(from_rip, "y", LOAD(4) "\n\tvmovdqu64 %%zmm4, check_emulate_near_code(%%rip)",               \
      "check_emulate_near_code(%%rip)", 13, 7)

#define RUN_ALL(NAME, ...)                                                                         \
    RUN(NAME##_busd, "%{vex%} vpdpbusd", __VA_ARGS__)                                              \
    RUN(NAME##_busd_evex, "%{evex%} vpdpbusd", __VA_ARGS__)                                        \
    RUN(NAME##_wssd, "%{vex%} vpdpwssd", __VA_ARGS__)                                              \
    RUN(NAME##_wssd_evex, "%{evex%} vpdpwssd", __VA_ARGS__)
FORMS(RUN_ALL)

static const struct {
    const char *name;
    void (*vex)(struct operands *), (*evex)(struct operands *);
} forms[] = {
#define ROW(NAME, ...)                                                                             \
    {"vpdpbusd " #NAME, NAME##_busd, NAME##_busd_evex},                                            \
        {"vpdpwssd " #NAME, NAME##_wssd, NAME##_wssd_evex},
    FORMS(ROW)
#undef ROW
};

/* Random bytes, or extreme ones: the same in most places, or any. */
static void fill_operand(struct check *c, uint8_t x[OPERAND])
{
    static const uint8_t extremes[] = {0x80, 0x7F, 0xFF, 0x00};
    uint32_t kind = check_random(c, 8);
    check_fill_bytes(c, x, OPERAND);
    for (int i = 0; kind < 5 && i < OPERAND; i++) {
        if (kind == 4 || check_random(c, 16) != 0) {
            x[i] = extremes[kind == 4 ? check_random(c, 4) : kind];
        }
    }
}

static void check_instructions(struct check *c, const struct kern_table *set)
{
    struct check_slot s;
    if (!check_begin(c, &s, "emulator", set)) {
        return;
    }
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        for (int round = 0; round < 300; round++) {
            struct operands got, expected;
            fill_operand(c, got.dst);
            fill_operand(c, got.src1);
            fill_operand(c, got.src2);
            expected = got;
            forms[i].vex(&got);
            forms[i].evex(&expected);
            check_case(&s, memcmp(&got, &expected, sizeof got) == 0, "%s", forms[i].name);
        }
    }
    /* what it does not know ends a program as before */
    pid_t child = fork();
    if (child == 0) {
        __asm__ volatile("ud2");
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    check_case(&s, WIFSIGNALED(status) && WTERMSIG(status) == SIGILL, "ud2: status %d", status);
    check_end(c, &s);
}

static void check_probe(struct check *c, const struct kern_table *set)
{
    struct check_slot s;
    if (check_begin(c, &s, "probe int8", set)) {
        uint32_t sum = probe_loops_avxvnni.int8(777);
        check_case(&s, sum == 777 * probe_loops_avxvnni.int8_ops / 2 * PROBE_PRODUCT, "%u", sum);
        check_end(c, &s);
    }
}

#else

static void check_probe(struct check *c, const struct kern_table *set)
{
    (void)c;
    (void)set;
}

static void check_instructions(struct check *c, const struct kern_table *set)
{
    (void)c;
    (void)set;
}

#endif

static void skip(struct check *c, const char *what, const struct error *e)
{
    printf("SKIPPED %s: %s\n", what, e->text);
    c->n_skipped++;
}

void check_emulated_avxvnni(struct check *c, const struct kern_table *ref)
{
    struct error e;
    const struct kern_table *avx2 = kern_get(KERN_AVX2, &e);
    if (avx2 == NULL || !emulate_avxvnni_start(&e)) {
        skip(c, "avxvnni", &e);
        return;
    }
    struct kern_table set = *avx2;
    kern_fill(KERN_AVXVNNI, &set);
    if (kern_get(KERN_AVX512, &e) != NULL) {
        check_instructions(c, &set);
    } else {
        skip(c, "the emulator against AVX-512", &e);
    }
    check_probe(c, &set);
    uint64_t n_before = emulate_avxvnni_count();
    check_matmul(c, ref, &set);
    if (kern_get(KERN_AVXVNNI, NULL) == NULL && emulate_avxvnni_count() == n_before && !c->only) {
        printf("FAILED avxvnni: no instruction was emulated\n");
        c->n_failed++;
    }
}
