/* options.h - GNU-style options from a table: one table gives parsing, error texts and --help. */
#ifndef CMD_OPTIONS_H
#define CMD_OPTIONS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_kind {
    OPTION_HEADING, /* help text only: starts a group called `help` */
    OPTION_FLAG,    /* bool *target = true */
    OPTION_U32,     /* uint32_t *target in [min, max] */
    OPTION_U64,     /* uint64_t *target */
    OPTION_SEED,    /* uint64_t *target; -1 chooses one at random */
    OPTION_I32,     /* int32_t *target in [min, max] */
    OPTION_F32,     /* float *target in [min, max] */
    OPTION_TEXT,    /* const char **target, points into argv */
    OPTION_CALL,    /* call(target, value, e) */
    OPTION_CALLS    /* the same; may be given many times */
};

struct option_spec {
    enum option_kind kind;
    const char *name;    /* long name without dashes */
    char letter;         /* short name, 0 for none */
    const char *alias;   /* second long name, NULL for none */
    const char *metavar; /* "N", "FILE", ...; NULL for flags */
    void *target;
    double min, max;  /* numbers; min == max == 0: the type's own range */
    const char *help; /* one or more lines; says the default */
    bool (*call)(void *target, const char *value, struct error *e);
};

struct options_usage {
    const char *command;  /* "run" */
    const char *synopsis; /* "[OPTION]... [MODEL]"; lines separated by \n for several forms */
    const char *about;    /* what it does, wrapped by hand at 80 columns */
    const char *epilog;   /* exit codes, examples; NULL for none */
    const char *program;  /* shown before the command; NULL: "puna " */
};

enum options_result {
    OPTIONS_RUN,  /* go on */
    OPTIONS_HELP, /* --help was printed on stdout: exit 0 */
    OPTIONS_BAD   /* *e says why */
};

/* A command line and where its operands go. */
struct options_line {
    int argc;
    char **argv; /* argv[0] is the subcommand's name; getopt reorders the rest */
    const char **operands;
    size_t max_operands;
    /* Called for each option that was set, if it is there. */
    bool (*on_option)(void *context, const struct option_spec *spec, const char *value,
                      struct error *e);
    void *context;
};

/* Parses argv[1..]. Operands (at most max_operands) go to operands[], unset ones stay NULL.
 * Unknown options, abbreviated ones too, missing, malformed and out-of-range values, and surplus
 * operands are errors that name them. -h and --help are added by themselves. */
enum options_result options_parse(const struct options_usage *usage,
                                  const struct option_spec *specs, size_t n_specs,
                                  const struct options_line *line, struct error *e);

/* One value, checked as one of the command line; of a flag (value is not read) that it is given. */
bool options_set(const struct option_spec *s, const char *value, struct error *e);

/* The usual head of a subcommand: parse, and on help or error leave with the exit code. */
#define OPTIONS_OR_RETURN(usage, specs, n_args, args, operand_list, n_operands)                    \
    do {                                                                                           \
        struct error options_error = {0};                                                          \
        const struct options_line options_line = {.argc = (n_args),                                \
                                                  .argv = (args),                                  \
                                                  .operands = (operand_list),                      \
                                                  .max_operands = (n_operands)};                   \
        switch (options_parse((usage), (specs), sizeof(specs) / sizeof((specs)[0]), &options_line, \
                              &options_error)) {                                                   \
        case OPTIONS_RUN:                                                                          \
            break;                                                                                 \
        case OPTIONS_HELP:                                                                         \
            return cmd_finish_output((usage)->command, 0);                                         \
        case OPTIONS_BAD:                                                                          \
            return cmd_fail((usage)->command, &options_error);                                     \
        }                                                                                          \
    } while (0)

/* Options of every command that computes; zero means the default. */
struct options_model {
    uint32_t threads; /* 0: all CPUs of this process */
    uint32_t ctx;     /* 0: the model's own, at most 8192 (session.h) */
    uint32_t batch;   /* tokens of a prefill step; the command's default before parsing */
    const char *cpu; /* "ref", "avx2", "avxvnni", "avx512", "amx", "neon", "i8mm"; NULL: the best */
    const char *numerics;   /* "portable", "bf16" or NULL for portable */
    const char *cache_type; /* "q16", "q8_0", "f16" or NULL for q16 */
    const char *draft;      /* a second model that guesses for the first; NULL for none */
    bool exact;
    bool no_cache;           /* keep no packed weights */
    const char *cache_limit; /* size, see options_parse_size; NULL: session.c's */
    const char *cache_min;
    const _Atomic bool *stop;       /* set by any thread: session_keep() ends; NULL: signals do */
    void (*warn)(const char *text); /* of the model, on the thread that opens it; NULL: on stderr */
};

/* A number of bytes: digits, and K, M, G or T for powers of 1024. ERROR_USAGE quotes the text. */
bool options_parse_size(const char *text, uint64_t *out, struct error *e);

/* clang-format off */
/* default_batch: as a string literal */
#define OPTIONS_MODEL(o, default_batch)                                                            \
    {OPTION_HEADING, .help = "Computing"},                                                         \
    {OPTION_U32, "threads", 't', NULL, "N", &(o).threads, 1, 1024,                                 \
     "threads to compute with (default: all CPUs of this process)", NULL},                         \
    {OPTION_U32, "ctx", 'c', "ctx-size", "N", &(o).ctx, 1, 1 << 24,                                \
     "context size in tokens, no more than the model was made for\n"                               \
     "(default: that, at most 8192)",                                                              \
     NULL},                                                                                        \
    {OPTION_U32, "batch-size", 'b', NULL, "N", &(o).batch, 1, 8192,                                \
     "prompt tokens computed together (default: " default_batch ");\n"                             \
     "never changes the result",                                                                   \
     NULL},                                                                                        \
    {OPTION_TEXT, "cpu", 0, NULL, "SET", &(o).cpu, 0, 0,                                           \
     "kernels: ref, avx2, avxvnni, avx512, amx, neon or i8mm\n"                                    \
     "(default: the fastest; amx by name alone); same bytes with each",                            \
     NULL},                                                                                        \
    {OPTION_TEXT, "numerics", 0, NULL, "NAME", &(o).numerics, 0, 0,                                \
     "portable: the same bytes on every CPU (default);\nbf16: BF16 weights by the CPU's bf16 "     \
     "products: faster\nprompts, other bytes",                                                     \
     NULL},                                                                                        \
    OPTION_CACHE_TYPE((o).cache_type)

#define OPTION_CACHE_TYPE(target)                                                                  \
    {OPTION_TEXT, "cache-type", 0, NULL, "TYPE", &(target), 0, 0,                                  \
     "keys and values in memory: q16, q8_0 or f16 (default: q16);\n"                               \
     "q8_0 takes about half the space, f16 more time",                                             \
     NULL}

/* Behind the other options of a command that computes. */
#define OPTIONS_CACHE(o)                                                                           \
    {OPTION_HEADING, .help = "Packed weights that are kept for the next start"},                   \
    {OPTION_FLAG, "no-cache", 0, NULL, NULL, &(o).no_cache, 0, 0,                                  \
     "neither read nor keep any", NULL},                                                           \
    {OPTION_TEXT, "cache-limit", 0, NULL, "SIZE", &(o).cache_limit, 0, 0,                          \
     "bytes of all models together, with K, M, G or T\n"                                           \
     "(default: 64G); those not used for longest go",                                              \
     NULL},                                                                                        \
    {OPTION_TEXT, "cache-min", 0, NULL, "SIZE", &(o).cache_min, 0, 0,                              \
     "smaller models are packed at every start\n(default: 512M)", NULL}

/* For commands that offer it. */
#define OPTION_EXACT(o)                                                                            \
    {OPTION_FLAG, "exact", 0, NULL, NULL, &(o).exact, 0, 0,                                        \
     "slow reference arithmetic: dequantised weights, f32\nactivations, double sums", NULL}
/* clang-format on */

#endif
