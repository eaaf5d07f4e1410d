/* serve_sandbox.h - what `puna serve` still needs once it listens, and giving up the rest, before
 * the first byte of a model is read: see base/sandbox.h. */
#ifndef CMD_SERVE_SANDBOX_H
#define CMD_SERVE_SANDBOX_H

#include "base/sandbox.h"
#include "cmd/cmd.h"
#include "cmd/listening.h"
#include "cmd/options.h"

/* Zeroed before. */
struct serve_sandbox {
    const char *option; /* --sandbox; NULL: not given */
    bool is_off, must;  /* what it says: "off", "on" */
    struct sandbox_state state;
};

/* clang-format off */
#define OPTION_SANDBOX(s)                                                                          \
    {OPTION_TEXT, "sandbox", 0, NULL, "MODE", &(s).option, 0, 0,                                   \
     "auto: give up the rights that serving does not need, as far\n"                               \
     "as the kernel can take them (default); on: that, or do not\n"                                \
     "start; off: keep them, also for debuggers and core dumps",                                   \
     NULL}
/* clang-format on */

/* Reads the option, and hides memory from debuggers and core dumps. ERROR_USAGE names it. */
bool serve_sandbox_open(struct serve_sandbox *s, struct error *e);

/* Which files of others are in use; NULL for none. */
struct serve_sandbox_files {
    const char *model;
    const char *stores[2];     /* their folders are written to */
    const char *prefix_folder; /* and this one */
    const char *config;        /* is read again */
    const struct listening *listening;
    const struct options_model *options; /* of the packed weights' cache */
};

/* Holds for the calling thread and those that it starts; there must be no other. Where the option
 * leaves that open, what cannot be is a warning. ERROR_UNSUPPORTED says what the kernel lacks. */
bool serve_sandbox_enter(struct serve_sandbox *s, const struct cmd_env *env,
                         const struct serve_sandbox_files *files, struct error *e);

/* A line for people on standard output: what is in force. */
void serve_sandbox_print(const struct serve_sandbox *s);

#endif
