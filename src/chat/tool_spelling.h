/* tool_spelling.h - the ways in which models spell one call. A model does not keep to the one that
 * its template writes; so that the next turn has the bytes that were sampled, the id of a call
 * names its spelling where that is another than the template's: clients send ids back, and nothing
 * is kept here. Calls of one answer may be spelled differently, but for what is round them all.
 * What none of the spellings is has a frame (tool_frame.h).
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
    TOOL_TRAIT_LIST = 1 << 5,      /* [{...}, {...}], also of one; within one <tool_call> */
    TOOL_TRAIT_LINES = 1 << 6,     /* a newline alone before a call that follows another */
    TOOL_TRAIT_NAME_LAST = 1 << 7, /* behind the arguments */
    TOOL_TRAIT_INDENT_2 = 1 << 8,  /* members on lines of their own, with two spaces before */
    TOOL_TRAIT_INDENT_4 = 1 << 9,  /* ... four */
    TOOL_TRAIT_QUOTES = 1 << 10,   /* Python strings in " */
    TOOL_TRAIT_CALL = 1 << 11,     /* f.call(a='x') without brackets: of built-in tools */
    TOOL_TRAIT_CODE = 1 << 12      /* of code_interpreter: its code alone */
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

enum { TOOL_CALL_DIGITS = 24 };

/* What an assistant said and called. */
struct tool_said {
    struct str content;
    const struct chat_call *calls; /* (n) */
    size_t n;
};

/* The one that tool_prompt_write() teaches; of TOOL_FORMAT_NONE that of TOOL_FORMAT_LLAMA3_JSON. */
const struct tool_spelling *tool_spelling_usual(enum tool_format format);

/* What is known of a call when it is found to be one. */
struct tool_begin {
    struct str before;    /* the text from the end of the call before up to the arguments; where a
                             name follows these, up to its closing quote */
    struct str name;      /* of the function */
    struct str arguments; /* JSON text that lies in `before`, else "" */
    char quote;           /* of the first Python string; NUL: none has begun */
    bool is_code;         /* what follows is code */
};

/* How the first call of an answer is spelled, or, where first is not NULL, one that follows a first
 * one of that spelling; NULL: as no id can name. ERROR_MEMORY: NULL, and e->code is set. */
const struct tool_spelling *tool_spelling_find(const struct tool_begin *begin,
                                               const struct tool_spelling *first, struct error *e);

/* The one whose text of this call is the longest that is in a prompt; NULL: no one's is. Errors as
 * tool_spelling_find. */
const struct tool_spelling *tool_spelling_look(struct str prompt, const struct chat_call *call,
                                               struct error *e);

/* Whether answers of a model that is taught `format` are searched for calls of this spelling. */
bool tool_spelling_is_heard(const struct tool_spelling *s, enum tool_format format);

/* Appends an id with TOOL_CALL_DIGITS digits that carries a frame (tool_frame.h), or where that is
 * empty names s, or nothing when that is NULL. ERROR_MEMORY. */
bool tool_call_id_write(struct buf *out, const char *digits, const struct tool_spelling *s,
                        struct str frame, struct error *e);

/* The spelling that an id names, or NULL. */
const struct tool_spelling *tool_spelling_named(struct str id);

/* Where the ids of all n calls are ours, one or more of them name a spelling or have a frame, and
 * all spellings can be in one answer of a model that is taught `format`: the spelling of those that
 * name none, which is `own`; where that is NULL and none needs it, some other. Else NULL. What
 * frames say is for tool_frames_fit() to judge. */
const struct tool_spelling *tool_spellings_named(const struct tool_spelling *own,
                                                 enum tool_format format,
                                                 const struct chat_call *calls, size_t n);

/* Appends the text of an assistant that makes these n calls. Numbers and names stay as they are
 * spelled; so does the JSON of all but TOOL_FORMAT_PYTHONIC. Arguments that are not the JSON text
 * of an object are written as a string. s: not one with TOOL_TRAIT_CODE. tags: the caller's list,
 * to which those in *out are added; NULL: they are not wanted. ERROR_MEMORY. On failure both are
 * as before. */
bool tool_calls_write(const struct tool_spelling *s, const struct chat_call *calls, size_t n,
                      struct buf *out, struct tool_tags *tags, struct error *e);

/* Bytes of the content that are before call i: all of it, but where this one or one behind it has
 * another place. */
size_t tool_said_place(const struct tool_said *said, size_t i);

/* Appends the content, and in it, where their places are, the calls, each in its frame, or the
 * spelling that its id names, else in `own`: what tool_spellings_named() said of them. The places
 * are such that tool_frames_fit(). tags, errors: as tool_calls_write. */
bool tool_said_write(const struct tool_spelling *own, const struct tool_said *said, struct buf *out,
                     struct tool_tags *tags, struct error *e);

/* Appends what tool_calls_write() writes of one call, the first of an answer or not, and the last.
 * ERROR_MEMORY, and *out may have a part. */
bool tool_call_write(const struct tool_spelling *s, const struct chat_call *call, bool is_first,
                     bool is_last, struct buf *out, struct error *e);

/* The same of call i in what tool_said_write() writes. */
bool tool_said_write_call(const struct tool_spelling *own, const struct tool_said *said, size_t i,
                          struct buf *out, struct error *e);

/* Appends what tool_calls_write() writes of a call in this spelling, from the end of the call
 * before up to where a struct tool_begin ends. */
bool tool_call_begin_write(const struct tool_spelling *s, const struct chat_call *call,
                           bool is_first, struct buf *out, struct error *e);

/* Whether the arguments are those of a code_interpreter, {"code": "..."}, and nothing else, and the
 * code is not blank. Appends the code to *out, which may be NULL. ERROR_MEMORY: false, and e->code
 * is set. */
bool tool_call_code(const struct chat_call *call, struct buf *out, struct error *e);

#endif
