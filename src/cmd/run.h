/* run.h - what run.c (one answer) and repl.c (a chat) share. */
#ifndef CMD_RUN_H
#define CMD_RUN_H

#include "chat/conversation.h"
#include "chat/template.h"
#include "cmd/chat_options.h"
#include "cmd/generate.h"
#include "cmd/run_format.h"
#include "cmd/run_tools.h"

#include <limits.h>

struct run_biases {
    size_t n;
    struct sampler_bias list[SAMPLER_MAX_BIASES];
};

enum { RUN_DRAFT_UNSET = 1 << 30 };

struct run_options {
    struct options_model model;
    struct sampler_params sampler; /* its logit_bias stays empty: run_set_sampler puts biases in */
    struct run_biases biases;
    const char *prompt, *system;
    const char *tools;        /* a file; NULL: none */
    const char *tool_command; /* NULL: the user answers calls */
    uint32_t tool_timeout;    /* seconds; 0: unset */
    struct chat_options chat;
    struct run_format format;
    int32_t max_tokens;
    uint32_t draft_max; /* guesses beside each token of an answer; RUN_DRAFT_UNSET */
    bool raw, special, stats, ignore_eos, no_bos;
};

/* "ID+B" or "ID-B" added to a list of biases: call of an option. */
bool run_parse_bias(void *biases, const char *value, struct error *e);

/* What an answer may be told, on the command line and with /set. */
/* clang-format off */
#define RUN_OPTIONS_SAMPLING(o)                                                                    \
    {OPTION_I32, "n-predict", 'n', "predict", "N", &(o).max_tokens, -1, 1 << 24,                   \
     "tokens of an answer at most (default: -1, no limit)", NULL},                                 \
    {OPTION_HEADING, .help = "Sampling, in this order (docs/SAMPLING.md)"},                        \
    {OPTION_CALLS, "logit-bias", 'l', NULL, "ID+B", &(o).biases, 0, 0,                             \
     "add B to the logit of token ID; ID-inf forbids it; may be\n"                                 \
     "given many times",                                                                           \
     run_parse_bias},                                                                              \
    {OPTION_F32, "repeat-penalty", 0, NULL, "X", &(o).sampler.repeat_penalty, 0, 0,                \
     "divides logits of tokens seen lately (default: 1, off)", NULL},                              \
    {OPTION_F32, "frequency-penalty", 0, NULL, "X", &(o).sampler.frequency_penalty, 0, 0,          \
     "subtracted for every time seen lately (default: 0)", NULL},                                  \
    {OPTION_F32, "presence-penalty", 0, NULL, "X", &(o).sampler.presence_penalty, 0, 0,            \
     "subtracted when seen lately (default: 0)", NULL},                                            \
    {OPTION_I32, "repeat-last-n", 0, NULL, "N", &(o).sampler.repeat_last_n, 0, 0,                  \
     "how many tokens are lately (default: 64)", NULL},                                            \
    {OPTION_I32, "top-k", 0, NULL, "N", &(o).sampler.top_k, 0, 0,                                  \
     "keep the N most probable (default: 40; 0: all)", NULL},                                      \
    {OPTION_F32, "typical", 0, "typical-p", "P", &(o).sampler.typical_p, 0, 0,                     \
     "locally typical sampling (default: 1, off)", NULL},                                          \
    {OPTION_F32, "top-p", 0, NULL, "P", &(o).sampler.top_p, 0, 0,                                  \
     "keep the most probable that add up to P (default: 0.95)", NULL},                             \
    {OPTION_F32, "min-p", 0, NULL, "P", &(o).sampler.min_p, 0, 0,                                  \
     "drop those below P times the best (default: 0.05)", NULL},                                   \
    {OPTION_F32, "temp", 0, "temperature", "T", &(o).sampler.temperature, 0, 0,                    \
     "default: 0.8; 0 always takes the most probable", NULL},                                      \
    {OPTION_SEED, "seed", 's', NULL, "N", &(o).sampler.seed, 0, 0,                                 \
     "of the random stream (default: 0; -1: a random one, which\n"                                 \
     "--stats tells); the same seed gives the same answer",                                        \
     NULL}
/* clang-format on */

struct run {
    const struct cmd_env *env;
    struct run_options options;
    struct session session;
    struct engine engine;
    struct engine_seq *seq;
    struct chat_template template;
    json_t *tools;               /* of the file; NULL: none */
    char tool_command[PATH_MAX]; /* what the option stands for; empty without */
    size_t n_dropped; /* bytes of the conversation of which it was said that they have no token */
    bool has_engine, has_template;
    bool to_terminal; /* standard output is one: control characters are shown, not sent */
};

/* Set by Ctrl-C: ends the answer. */
extern volatile sig_atomic_t run_interrupted;

/* Makes the sampling options in *o those of run and starts its random stream anew. On failure
 * (ERROR_USAGE naming the parameter, ERROR_MEMORY) nothing changes. */
bool run_set_sampler(struct run *r, const struct run_options *o, struct error *e);

/* What a model said. */
struct run_answer {
    struct buf text; /* content, without the token that ended it */
    struct run_calls calls;
    struct generate_stats stats;
};

/* Released with run_answer_finish, also when it was only zeroed. */
void run_answer_finish(struct run_answer *a);

/* Renders a conversation and streams what the answer says on standard output; what it calls, one of
 * the conversation's tools, which must outlive *out, is in out->calls. Bytes that have no token are
 * said once, behind the answer and a line break calls that have no end. *out is set also on
 * failure. */
bool run_conversation(struct run *r, const struct conversation *c, struct run_answer *out,
                      struct error *e);

/* Prints tokens and tokens/s on stderr, beside the most that this machine could do, measured now,
 * and what holds it back: read, int8, f32 or bf16 (model/roofline.h). */
void run_print_stats(struct run *r, const struct generate_stats *stats);

/* repl.c: a chat in the terminal until the user leaves. */
bool repl_run(struct run *r, struct error *e);

#endif
