/* emulate_avxvnni.c - see emulate_avxvnni.h. check_emulate.c holds it against AVX-512's.
 *
 * source  Intel SDM volume 2, 2.3 (VEX prefix), 2.1.5 (ModR/M, SIB), VPDPBUSD and VPDPWSSD; volume
 *         1, 13.4 (layout of the XSAVE area); what surrounds it in a signal's frame: Linux,
 *         arch/x86/include/uapi/asm/sigcontext.h */
#include "emulate_avxvnni.h"

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

enum {
    DWORDS = 8, /* of a register of 256 bits */
    /* of the frame: the magic number that says that an XSAVE area follows, the area's parts */
    MAGIC_AT = 464,
    MAGIC = 0x46505853,
    XMM_AT = 160,
    XSTATE_BV_AT = 512,
    /* numbers of the XSAVE area's components */
    COMPONENT_YMM = 2,
    COMPONENT_ZMM = 6,
    VPDPBUSD = 0x50,
    VPDPWSSD = 0x52
};

static uint32_t ymm_at, zmm_at; /* upper halves of ymm0.. and zmm0..; 0: the CPU has none */
static _Atomic uint64_t n_emulated;

/* dst += products of src1 and src2, which is register `src2` or lies at `address`. */
struct instruction {
    uint8_t opcode;
    bool is_256, in_memory;
    unsigned dst, src1, src2;
    uintptr_t address;
    size_t n_bytes;
};

static int32_t read_i32(const uint8_t *p)
{
    int32_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static uintptr_t general_register(const ucontext_t *u, unsigned number)
{
    static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                  REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                  REG_R12, REG_R13, REG_R14, REG_R15};
    return (uintptr_t)u->uc_mcontext.gregs[order[number]];
}

/* The memory operand of the instruction at p, whose ModR/M byte is p[4]. x, b: the prefix's bits 3
 * of index and base. */
static void decode_memory(const uint8_t *p, const ucontext_t *u, unsigned x, unsigned b,
                          struct instruction *out)
{
    unsigned mod = p[4] >> 6, base = p[4] & 7;
    bool has_base = true, from_rip = base == 5 && mod == 0;
    const uint8_t *next = p + 5;
    uintptr_t address = 0;
    if (base == 4) {
        unsigned sib = *next++, index = (sib >> 3 & 7) | x;
        base = sib & 7;
        has_base = base != 5 || mod != 0;
        address = index == 4 ? 0 : general_register(u, index) << (sib >> 6);
    }
    if (mod == 1) {
        address += (uintptr_t)(intptr_t)(int8_t)*next++;
    } else if (mod == 2 || from_rip || !has_base) {
        address += (uintptr_t)(intptr_t)read_i32(next);
        next += 4;
    }
    if (from_rip) {
        address += (uintptr_t)next;
    } else if (has_base) {
        address += general_register(u, base | b);
    }
    out->in_memory = true;
    out->address = address;
    out->n_bytes = (size_t)(next - p);
}

/* The instruction at p; false when it is none of the two. */
static bool decode(const uint8_t *p, const ucontext_t *u, struct instruction *out)
{
    enum { VEX3 = 0xC4, MAP_0F38 = 2, W0_66 = 1 };
    if (p[0] != VEX3 || (p[1] & 0x1F) != MAP_0F38 || (p[2] & 0x83) != W0_66 ||
        (p[3] != VPDPBUSD && p[3] != VPDPWSSD)) {
        return false;
    }
    unsigned r = p[1] & 0x80 ? 0 : 8, x = p[1] & 0x40 ? 0 : 8, b = p[1] & 0x20 ? 0 : 8;
    *out = (struct instruction){.opcode = p[3],
                                .is_256 = p[2] & 4,
                                .dst = (p[4] >> 3 & 7) | r,
                                .src1 = ~p[2] >> 3 & 15,
                                .src2 = (p[4] & 7) | b,
                                .n_bytes = 5};
    if (p[4] >> 6 != 3) {
        decode_memory(p, u, x, b, out);
    }
    return true;
}

/* Whether the saved area holds a component; what it does not hold is 0. */
static bool has_component(const char *area, unsigned component)
{
    uint64_t held;
    memcpy(&held, area + XSTATE_BV_AT, sizeof held);
    return held >> component & 1;
}

static void read_register(const char *area, unsigned number, uint32_t out[DWORDS])
{
    memset(out + DWORDS / 2, 0, 16);
    memcpy(out, area + XMM_AT + 16 * number, 16);
    if (has_component(area, COMPONENT_YMM)) {
        memcpy(out + DWORDS / 2, area + ymm_at + 16 * number, 16);
    }
}

/* Bits that x does not have become 0, as instructions with VEX leave them. */
static void write_register(char *area, unsigned number, const uint32_t x[DWORDS])
{
    if (!has_component(area, COMPONENT_YMM)) {
        uint64_t held;
        memcpy(&held, area + XSTATE_BV_AT, sizeof held);
        held |= UINT64_C(1) << COMPONENT_YMM;
        memcpy(area + XSTATE_BV_AT, &held, sizeof held);
        memset(area + ymm_at, 0, 16 * 16);
    }
    memcpy(area + XMM_AT + 16 * number, x, 16);
    memcpy(area + ymm_at + 16 * number, x + DWORDS / 2, 16);
    if (zmm_at != 0 && has_component(area, COMPONENT_ZMM)) {
        memset(area + zmm_at + 32 * number, 0, 32);
    }
}

static uint32_t dot_bytes(uint32_t sum, uint32_t unsigned_bytes, uint32_t signed_bytes)
{
    for (int i = 0; i < 32; i += 8) {
        sum += (uint32_t)((int32_t)(unsigned_bytes >> i & 0xFF) * (int8_t)(signed_bytes >> i));
    }
    return sum;
}

static uint32_t dot_words(uint32_t sum, uint32_t a, uint32_t b)
{
    sum += (uint32_t)((int16_t)a * (int16_t)b);
    return sum + (uint32_t)((int16_t)(a >> 16) * (int16_t)(b >> 16));
}

static void execute(const struct instruction *i, char *area)
{
    uint32_t dst[DWORDS], src1[DWORDS], src2[DWORDS];
    size_t n = i->is_256 ? DWORDS : DWORDS / 2;
    read_register(area, i->dst, dst);
    read_register(area, i->src1, src1);
    if (i->in_memory) {
        memcpy(src2, (const void *)i->address, n * sizeof *src2);
    } else {
        read_register(area, i->src2, src2);
    }
    for (size_t k = 0; k < n; k++) {
        dst[k] = i->opcode == VPDPBUSD ? dot_bytes(dst[k], src1[k], src2[k])
                                       : dot_words(dst[k], src1[k], src2[k]);
    }
    memset(dst + n, 0, (DWORDS - n) * sizeof *dst);
    write_register(area, i->dst, dst);
}

static void on_illegal_instruction(int number, siginfo_t *info, void *context)
{
    (void)info;
    ucontext_t *u = context;
    char *area = (char *)u->uc_mcontext.fpregs;
    struct instruction i;
    bool done = false;
    uint32_t magic;
    memcpy(&magic, area + MAGIC_AT, sizeof magic);
    /* what stands behind it is often another one, and a signal less */
    while (magic == MAGIC && decode((const uint8_t *)u->uc_mcontext.gregs[REG_RIP], u, &i)) {
        execute(&i, area);
        u->uc_mcontext.gregs[REG_RIP] += (greg_t)i.n_bytes;
        n_emulated++;
        done = true;
    }
    if (!done) {
        signal(number, SIG_DFL); /* the instruction comes again, and ends the process */
    }
}

bool emulate_avxvnni_start(struct error *e)
{
    uint32_t n_bytes = 0, unused;
    if (!__get_cpuid_count(0x0D, COMPONENT_YMM, &n_bytes, &ymm_at, &unused, &unused) ||
        n_bytes == 0) {
        return error_set(e, ERROR_UNSUPPORTED, "emulating AVX-VNNI needs the CPU feature AVX");
    }
    if (!__get_cpuid_count(0x0D, COMPONENT_ZMM, &n_bytes, &zmm_at, &unused, &unused)) {
        zmm_at = 0;
    }
    struct sigaction action = {.sa_sigaction = on_illegal_instruction, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
    return true;
}

uint64_t emulate_avxvnni_count(void)
{
    return n_emulated;
}

#else

bool emulate_avxvnni_start(struct error *e)
{
    return error_set(e, ERROR_UNSUPPORTED, "AVX-VNNI is emulated by builds for Linux on x86-64");
}

uint64_t emulate_avxvnni_count(void)
{
    return 0;
}

#endif
