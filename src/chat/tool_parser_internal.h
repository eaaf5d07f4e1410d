/* tool_parser_internal.h - a parser's state: text (tool_parser.c) with candidates in it, texts that
 * may yet be calls (tool_candidate.c). */
#ifndef CHAT_TOOL_PARSER_INTERNAL_H
#define CHAT_TOOL_PARSER_INTERNAL_H

#include "chat/python_call.h"
#include "chat/tool_frame.h"
#include "chat/tool_object.h"
#include "chat/tool_parser.h"

enum tool_state {
    TOOL_TEXT,
    /* candidates */
    TOOL_LITERAL,       /* within <|python_tag|> and the like */
    TOOL_AFTER_TAG,     /* after <|python_tag|> */
    TOOL_IN_TAG,        /* after <tool_call> */
    TOOL_FUNCTION_NAME, /* after <function= */
    TOOL_FUNCTION_BODY, /* after its > */
    TOOL_LIST,          /* after [ */
    TOOL_OBJECT,
    TOOL_PYTHON_NAME,
    TOOL_PYTHON,
    /* what is known */
    TOOL_SKIP, /* JSON that is no call */
    TOOL_OBJECT_ARGUMENTS,
    TOOL_OBJECT_TAIL, /* after the arguments, before the object's } */
    TOOL_FUNCTION_ARGUMENTS,
    TOOL_PYTHON_ARGUMENTS,
    TOOL_CODE
};

enum tool_list_kind { TOOL_NO_LIST, TOOL_JSON_LIST, TOOL_PYTHON_LIST };

/* What of a call is not told yet. */
enum tool_keeps { TOOL_KEEPS_NOTHING, TOOL_KEEPS_END, TOOL_KEEPS_ALL };

/* Where content is code. */
struct tool_marks {
    bool in_fence, in_code;
    bool line_is_blank; /* up to here */
    size_t n_ticks;     /* ` directly before */
    bool ticks_begin_line;
};

struct tool_parser {
    const struct tool_set *set;
    bool hears_llama, hears_hermes;
    const struct tool *code; /* the code interpreter, or NULL */
    enum tool_state state;
    size_t n_begun, n_ended;
    const struct tool_spelling *first_spelling, *spelling; /* of the first call, and of this one;
                                                              NULL: none that has a name */
    const struct tool_spelling *single_quoted, *double_quoted; /* if its Python strings are so */
    bool name_waits;                                           /* has not been told yet */

    /* frames */
    enum tool_framing framing;
    bool is_cut;               /* the answer, at its end */
    bool one_call;             /* ends the answer */
    bool in_words;             /* follow the call that is released */
    struct tool_place content; /* so far */

    /* the last call, if it may have a frame */
    enum tool_keeps keeps;
    bool ends_list;          /* in which the call before it is */
    struct buf kept_text;    /* from the end of the call before up to here */
    size_t n_to_end;         /* bytes of it up to the end of the arguments */
    struct buf closers;      /* what it lacks there to be whole */
    struct tool_output kept; /* all that is told of it, now or later */

    /* the text so far */
    struct buf held; /* the gap, then the candidate */
    bool only_calls; /* no content yet */
    bool in_gap; /* nothing but white space, separators and brackets since the begin or a call */
    bool has_separator;
    enum tool_list_kind list;  /* open before the gap */
    bool is_in_list;           /* the last call */
    bool list_ended;           /* some list has: no spelling has calls behind one */
    enum tool_state closer_of; /* TOOL_FUNCTION_BODY or TOOL_IN_TAG: its closing tag may follow */
    struct tool_marks marks;

    /* the candidate */
    size_t name_begin; /* byte of held where its tag or name begins */
    bool after_tag;    /* held has <|python_tag|> ... */
    size_t code_begin; /* ... up to here */
    bool needs_call;   /* a Python name ends with .call */
    enum tool_list_kind candidate_list;
    enum tool_state candidate_tag; /* what closer_of will be */
    struct json_scan scan; /* of a list, of JSON that is no call, of a function's arguments */
    struct tool_object object;
    struct python_call python;
    const struct tool *tool;
    struct buf name;
    struct buf arguments; /* that have not left */

    /* while a piece is pushed */
    struct tool_output *out;
    struct error *e;
    bool failed; /* for want of memory: nothing works any more */
};

enum tool_verdict {
    TOOL_MAY_BE,
    TOOL_IS_NOT,     /* this byte is no part of it */
    TOOL_IS_JSON,    /* ... it is, of JSON that is no call */
    TOOL_IS_CALL,    /* of p->tool; the state says where its arguments go on, TOOL_TEXT: nowhere */
    TOOL_IS_ENVELOPE /* what is held says nothing: a closing tag */
};

/* Whether a candidate begins with c, and if so its state. The caller holds c afterwards. */
bool tool_candidate_begin(struct tool_parser *p, char c);

/* The candidate's next byte, which the caller has not held yet. */
enum tool_verdict tool_candidate_push(struct tool_parser *p, char c);

static inline bool tool_hears(const struct tool_parser *p)
{
    return p->n_begun < TOOL_PARSER_MAX_CALLS && (p->hears_llama || p->hears_hermes);
}

#endif
