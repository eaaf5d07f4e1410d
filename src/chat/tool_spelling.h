/* tool_spelling.h - the ways in which models spell one call. A model does not keep to the one that
 * its template writes; so that the next turn has the bytes that were sampled, the id of a call
 * names its spelling where that is another: clients send ids back, and nothing is kept here.
 * Threads: everything here is pure. */
#ifndef CHAT_TOOL_SPELLING_H
#define CHAT_TOOL_SPELLING_H

#include "base/buf.h"
#include "chat/call.h"
#include "chat/tool_format.h"

enum tool_trait {
    TOOL_TRAIT_TAG = 1 << 0,       /* <|python_tag|> before the first call */
    TOOL_TRAIT_TYPE = 1 << 1,      /* "type": "function" before the name */
    TOOL_TRAIT_ARGUMENTS = 1 << 2, /* "arguments" for "parameters" */
    TOOL_TRAIT_DENSE = 1 << 3,     /* JSON without spaces */
    TOOL_TRAIT_ONE_LINE = 1 << 4,  /* <tool_call>{...}</tool_call> without its newlines */
    TOOL_TRAIT_LIST = 1 << 5       /* [{...}, {...}], also of one; within one <tool_call> */
};

struct tool_spelling {
    enum tool_format format;
    unsigned traits;
};

/* Where a text has tags of calls, which the vocabulary may have as tokens. */
struct tool_tag {
    size_t begin, n_bytes;
};
struct tool_tags {
    struct tool_tag *list; /* (n) of two for each call */
    size_t n;
};

enum {
    TOOL_CALL_DIGITS = 24,
    TOOL_CALL_ID_BYTES = sizeof "call_" + TOOL_CALL_DIGITS + 2 /* of an id, and a NUL */
};

/* The one that tool_prompt_write() teaches; of TOOL_FORMAT_NONE that of TOOL_FORMAT_LLAMA3_JSON. */
const struct tool_spelling *tool_spelling_usual(enum tool_format format);

/* Which one an answer has that writes this before the arguments of its first call, of that name;
 * NULL: none that an id can name. ERROR_MEMORY: NULL, and e->code is set. */
const struct tool_spelling *tool_spelling_find(struct str before, struct str name, struct error *e);

/* s if it has this text before the arguments of a call that follows another, else NULL; so, too, if
 * s is. Errors as tool_spelling_find. */
const struct tool_spelling *tool_spelling_check(const struct tool_spelling *s, struct str before,
                                                struct str name, struct error *e);

/* The one whose text of this call is the longest that is in a prompt; NULL: no one's is. Errors as
 * tool_spelling_find. */
const struct tool_spelling *tool_spelling_look(struct str prompt, const struct chat_call *call,
                                               struct error *e);

/* Whether answers of a model that is taught `format` are searched for calls of this spelling. */
bool tool_spelling_is_heard(const struct tool_spelling *s, enum tool_format format);

/* An id with TOOL_CALL_DIGITS digits that names s, or nothing when that is NULL. */
void tool_call_id_write(char out[TOOL_CALL_ID_BYTES], const char *digits,
                        const struct tool_spelling *s);

/* The spelling that the ids of all n calls name; else NULL. */
const struct tool_spelling *tool_spelling_named(const struct chat_call *calls, size_t n);

/* Appends the text of an assistant that makes these n calls. Numbers and names stay as they are
 * spelled; so does the JSON of all but TOOL_FORMAT_PYTHONIC. Arguments that are not the JSON text
 * of an object are written as a string. tags: the caller's list, to which those in *out are added;
 * NULL: they are not wanted. ERROR_MEMORY. On failure both are as before. */
bool tool_calls_write(const struct tool_spelling *s, const struct chat_call *calls, size_t n,
                      struct buf *out, struct tool_tags *tags, struct error *e);

/* Appends what tool_calls_write() writes from the end of the call before up to the arguments. */
bool tool_call_begin_write(const struct tool_spelling *s, struct str name, bool is_first,
                           struct buf *out, struct error *e);

#endif
