/* run.h - what run.c (one answer) and repl.c (a chat) share. */
#ifndef CMD_RUN_H
#define CMD_RUN_H

#include "chat/conversation.h"
#include "chat/template.h"
#include "cmd/generate.h"

struct run_options {
    struct options_model model;
    struct sampler_params sampler;
    const char *prompt, *system, *template_name;
    int32_t max_tokens;
    bool raw, special, stats, ignore_eos, no_bos;
};

struct run {
    const struct cmd_env *env;
    struct run_options options;
    struct session session;
    struct engine engine;
    struct engine_seq *seq;
    struct chat_template template;
    bool has_engine, has_template;
    bool to_terminal; /* standard output is one: control characters are shown, not sent */
};

/* Set by Ctrl-C while an answer is computed. */
extern volatile sig_atomic_t run_interrupted;

/* Computes and streams the answer to `ids` on standard output; the text (without stop token) is
 * appended to *out_text unless that is NULL. */
bool run_answer(struct run *r, const struct token_list *ids, struct buf *out_text,
                struct generate_stats *out_stats, struct error *e);

/* Renders a conversation and answers it. */
bool run_conversation(struct run *r, const struct conversation *c, struct buf *out_text,
                      struct generate_stats *out_stats, struct error *e);

/* Prints tokens and tokens/s on stderr, with the share of the machine's limit when measured. */
void run_print_stats(struct run *r, const struct generate_stats *stats);

/* repl.c: a chat in the terminal until the user leaves. */
bool repl_run(struct run *r, struct error *e);

#endif
