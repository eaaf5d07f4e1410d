/* repl_input.h - messages typed in the terminal: line editing, history, pastes, continued lines. */
#ifndef CMD_REPL_INPUT_H
#define CMD_REPL_INPUT_H

#include "base/buf.h"
#include "cmd/cmd.h"

#include <histedit.h>

enum { REPL_MESSAGE_BYTES = 1 << 20 };

enum repl_event {
    REPL_MESSAGE,     /* a text to answer, possibly empty */
    REPL_COMMAND,     /* one line that begins with a slash */
    REPL_DISCARDED,   /* Ctrl-C: what was typed is gone */
    REPL_INTERRUPTED, /* Ctrl-C where nothing was typed */
    REPL_END          /* Ctrl-D or the end of standard input */
};

struct repl_input {
    EditLine *editor;
    History *history;
    char *history_path;    /* NULL: nowhere to keep it */
    struct error not_kept; /* why the newest lines are not in the file; no error when they are */
    const char *prompt;    /* of the line being read */
    bool marks_pastes;     /* the terminal is asked to bracket what is pasted */
    bool paste_was_cut;
};

/* Prompts and echo go to standard error. Keeps the history in cmd_user_path(... "history"); close
 * says on standard error when that was not possible. ERROR_MEMORY; close also what failed to
 * open. */
bool repl_input_open(struct repl_input *in, const struct cmd_env *env, struct error *e);
void repl_input_close(struct repl_input *in);

/* Reads a message into *out (empty before): a line, a pasted block of lines, lines joined by a
 * backslash at their end, or everything between two """. ERROR_USAGE when a text is too long; the
 * next call goes on with the input behind it. */
bool repl_input_read(struct repl_input *in, struct buf *out, enum repl_event *out_event,
                     struct error *e);

/* The same for the answer to a question: a command is a text like others, and nothing is kept in
 * the history. prompt: until the next call. */
bool repl_input_ask(struct repl_input *in, const char *prompt, struct buf *out,
                    enum repl_event *out_event, struct error *e);

/* Forgets what was typed before it was asked for. */
void repl_input_drop(void);

#endif
