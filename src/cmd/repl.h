/* repl.h - what repl.c (turns), repl_calls.c (calls of tools) and repl_command.c (slash commands)
 * share. */
#ifndef CMD_REPL_H
#define CMD_REPL_H

#include "cmd/repl_input.h"
#include "cmd/run.h"

struct repl {
    struct run *run;
    struct repl_input *input;
    struct conversation conversation;
    bool may_run[RUN_MAX_TOOLS]; /* calls of the conversation's i-th tool, without being asked */
    uint32_t n_rounds_alone;     /* of calls and answers in this turn, since the user had a say */
    struct generate_stats last;
    bool has_last; /* last is set: the newest answer with a token since the chat began */
    bool quit;
};

/* Obeys one line that begins with a slash. ERROR_USAGE for commands that do not exist. */
bool repl_command(struct repl *r, struct str line, struct error *e);

/* Answers the calls of the conversation's last message, by the user or, where he allows it, by
 * --tool-command. *out_answered is false when he leaves one unanswered: messages may have been
 * added then, too. */
bool repl_answer_calls(struct repl *r, const struct run_calls *calls, bool *out_answered,
                       struct error *e);

#endif
