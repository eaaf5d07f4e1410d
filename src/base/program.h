/* program.h - another program, run to its end: a text goes in, its output comes back, neither
 * without bounds. Blocks; any thread. */
#ifndef BASE_PROGRAM_H
#define BASE_PROGRAM_H

#include "base/buf.h"

#include <limits.h>
#include <signal.h>

struct program {
    const char *path;
    char *const *arguments;   /* its name first; NULL ends them */
    char *const *environment; /* "NAME=value"; NULL ends them */
    struct str input;         /* its standard input, which it can also seek in */
    uint32_t timeout_ms;
    const volatile sig_atomic_t *stop; /* not zero: end it; NULL for none */
};

enum program_end {
    PROGRAM_EXITED,      /* by itself, with a code */
    PROGRAM_KILLED,      /* by a signal that was not ours */
    PROGRAM_OUT_OF_TIME, /* this and what follows: ended by us, with the processes of its group */
    PROGRAM_TOO_LONG,    /* more output than there is room for */
    PROGRAM_STOPPED      /* as `stop` said */
};

struct program_result {
    enum program_end end;
    int number; /* the code it exited with, or the signal */
};

/* Runs it in a process group of its own, beside our standard error, and appends its standard output
 * to *out, whose maximum bounds it. Processes that it leaves behind go on. One that we end has a
 * second to do so itself, after SIGTERM. SIGCHLD must not be ignored: no end would be told.
 * ERROR_IO when it could not be started, quoting the system; ERROR_MEMORY. */
bool program_run(const struct program *p, struct buf *out, struct program_result *out_result,
                 struct error *e);

/* Path of the program that `name` stands for: itself where it has a slash, else in one of the
 * folders of search_path (as the variable PATH; NULL: none). ERROR_NOT_FOUND; ERROR_USAGE for what
 * is not executable. */
bool program_find(const char *name, const char *search_path, char out[PATH_MAX], struct error *e);

#endif
