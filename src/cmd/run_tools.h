/* run_tools.h - tools that the model of `puna run` may call: the file that lists them, and the
 * calls of an answer. One owner, no locking. */
#ifndef CMD_RUN_TOOLS_H
#define CMD_RUN_TOOLS_H

#include "chat/template.h"
#include "chat/tool_parser.h"

enum { RUN_MAX_TOOLS = 128, RUN_MAX_TOOL_CHARS = 64 };

/* --- which tools there are */

/* Whether it is what an answer may be offered: an array of 1 to RUN_MAX_TOOLS tools in OpenAI's
 * form, with names of a-z, A-Z, 0-9, _ and - that are there once. ERROR_FORMAT: names the tool by
 * its number, from 1 on, and what is wrong. */
bool run_tools_check(const json_t *tools, struct error *e);

/* Such an array, or {"tools": [...]}, out of a JSON text. *out is for json_decref. ERROR_FORMAT. */
bool run_tools_parse(struct str json, json_t **out, struct error *e);

/* The same out of a file, which errors name: a bad one is ERROR_USAGE. ERROR_NOT_FOUND, ERROR_IO,
 * ERROR_MEMORY. */
bool run_tools_read(const char *path, json_t **out, struct error *e);

/* --- what an answer calls */

struct run_call;

struct run_calls {
    struct tool_set set;
    struct tool_parser *parser;           /* NULL: no tools are offered, all is content */
    const struct tool_spelling *spelling; /* as the template writes calls */
    struct tool_output found;             /* in the last piece */
    struct buf text;                      /* of the calls */
    struct buf frame;                     /* of the call that begins next, or empty */
    struct run_call *list;                /* (n_list) all that was found */
    size_t n_list, capacity;
    struct chat_call *calls; /* (n) the complete ones, after run_calls_settle; views of this */
    size_t n;
};

/* t writes the conversation. tools: as run_tools_check wants them, to outlive the calls; NULL:
 * none. ERROR_MEMORY. Released with run_calls_finish, also after a failure. */
bool run_calls_init(struct run_calls *c, const struct chat_template *t, const json_t *tools,
                    struct error *e);
void run_calls_finish(struct run_calls *c);

/* Takes the next piece of an answer and appends what is known to be content to *out. ERROR_MEMORY,
 * ERROR_IO (no random numbers for an id); what failed can only be finished. */
bool run_calls_push(struct run_calls *c, struct str piece, struct buf *out, struct error *e);

/* The answer has ended, cut where that was not the model's will: appends the content that was held
 * back. */
bool run_calls_flush(struct run_calls *c, bool is_cut, struct buf *out, struct error *e);

/* After that: says on standard error which calls have no end, and makes c->calls of the others. */
bool run_calls_settle(struct run_calls *c, struct error *e);

#endif
