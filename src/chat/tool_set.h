/* tool_set.h - the tools that a request offers, and which of them a model's text may call.
 * Owner/threads: immutable after init, any thread may read; it borrows the JSON, whose owner must
 * outlive it and leave it as it is. */
#ifndef CHAT_TOOL_SET_H
#define CHAT_TOOL_SET_H

#include "base/error.h"
#include "base/str.h"
#include "chat/call.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct tool {
    struct str name;
    const json_t *function; /* {"name", "description"?, "parameters"?, "strict"?} */
};

struct tool_set {
    struct tool *tools; /* (n_tools) as the request has them */
    size_t *by_name;    /* (n_tools) indices, in order of the names' bytes */
    size_t n_tools;
    size_t max_name_bytes; /* of the longest name */
};

/* tools: an array of {"type": "function", "function": {"name": TEXT, ...}}; NULL or an empty one
 * makes an empty set. Released with tool_set_finish.
 * ERROR_USAGE: an item that has no such name, or a name that is there twice. ERROR_MEMORY.
 * On failure there is nothing to release. */
bool tool_set_init(struct tool_set *out, const json_t *tools, struct error *e);
/* Of the functions that these calls name; each borrows its name, and has no JSON. ERROR_MEMORY, and
 * then there is nothing to release. */
bool tool_set_of_calls(struct tool_set *out, const struct chat_call *calls, size_t n,
                       struct error *e);
void tool_set_finish(struct tool_set *s);

/* NULL: no tool has this name. */
const struct tool *tool_set_find(const struct tool_set *s, struct str name);

/* Whether some tool's name begins with this. */
bool tool_set_may_find(const struct tool_set *s, struct str beginning);

#endif
