/* repl.h - what repl.c (turns) and repl_command.c (slash commands) share. */
#ifndef CMD_REPL_H
#define CMD_REPL_H

#include "cmd/run.h"

struct repl {
    struct run *run;
    struct conversation conversation;
    struct generate_stats last;
    bool has_last; /* last is set: the newest answer with a token since the chat began */
    bool quit;
};

/* Obeys one line that begins with a slash. ERROR_USAGE for commands that do not exist. */
bool repl_command(struct repl *r, struct str line, struct error *e);

#endif
