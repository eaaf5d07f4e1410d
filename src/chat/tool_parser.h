/* tool_parser.h - finds calls of tools in the text of an answer while it is written.
 *
 * Text goes in, in any pieces; text comes out with spans that say what it is: content, the name of
 * a call, arguments of a call. How the text was cut changes nothing but how the spans are cut. A
 * byte leaves as soon as it is known what it is: content that cannot begin a call at once, a call's
 * name when it is sure (known tool, first byte of the arguments; of Python's, the first string or
 * 4 KiB), its arguments as they come from then on.
 *
 * Listened for, docs/TOOLS.md has the grammar:
 *   Llama's formats, all of them whichever is taught, each with <|python_tag|> in front or without
 *     {"name": "f", "parameters": {...}}   also "arguments", a JSON string that holds the object,
 *                                          "type": "function", any order of keys; lists of them
 *     [f(a='x', b=-1), g.h()]              Python's literals, written as JSON
 *     <function=f>{...}</function>
 *     f.call(query="x")                    where a line begins
 *     <|python_tag|>CODE                   when a tool "code_interpreter" is offered and CODE is
 *                                          none of the above: arguments {"code": "CODE"}
 *   TOOL_FORMAT_HERMES
 *     <tool_call>{...}</tool_call>         the JSON of above, or a list of it
 *     {...}                                the same, where nothing but calls has come before
 *   TOOL_FORMAT_NONE: nothing, or when no tools are offered.
 * Calls follow each other directly, or with white space and one `;` or `,` between.
 *
 * What is content: every byte that is not part of a call, in its order. A text that only looks like
 * one (unknown tool, other keys, within a code block or `code`, longer than the limits) is content
 * whole. White space is content but where it, and perhaps one `;` or `,`, lies before the first
 * call of an answer that begins with a call, between two calls, or after a last call at the end.
 * An answer in which no call was found comes out as it went in.
 *
 * The caller shows control tokens (<|python_tag|>, <tool_call>) as their text and leaves out those
 * that end a turn.
 * Memory: at most TOOL_PARSER_MAX_HELD bytes are held; of a call that may have a frame its text and
 * what is told of it, as far as TOOL_PARSER_MAX_OUTPUT / 8 bytes. Time is linear in the text.
 * Owner/threads: one owner, no locking; the tool set may be shared. Nothing blocks. */
#ifndef CHAT_TOOL_PARSER_H
#define CHAT_TOOL_PARSER_H

#include "base/buf.h"
#include "chat/tool_format.h"
#include "chat/tool_set.h"
#include "chat/tool_spelling.h"

enum {
    TOOL_PARSER_MAX_HELD = 64 << 10,  /* bytes of what may yet be a call; beyond they are content */
    TOOL_PARSER_MAX_DEPTH = 64,       /* of JSON or Python values in each other */
    TOOL_PARSER_MAX_CALLS = 128,      /* of an answer; what looks like one more is content */
    TOOL_PARSER_MAX_OUTPUT = 16 << 20 /* bytes of a struct tool_output between two clears */
};

enum tool_span_kind {
    TOOL_CONTENT,
    TOOL_CALL_FRAME, /* what its id is to carry (tool_frame.h); if any, before its name */
    TOOL_CALL_NAME,  /* begins a call: its whole name, always followed by its arguments or end */
    TOOL_CALL_ARGUMENTS, /* the next bytes of a JSON text of an object, no white space round it but
                            what tool_frame_blank() writes */
    TOOL_CALL_END        /* no bytes: nothing more comes of this call */
};

enum tool_call_end {
    TOOL_COMPLETE, /* the arguments are the JSON text of an object */
    TOOL_BROKEN,   /* what followed is not its form: the arguments end early, the rest is content */
    TOOL_CUT       /* the answer ended within the arguments */
};

struct tool_span {
    enum tool_span_kind kind;
    size_t n_bytes;
    size_t call;                          /* index from 0 on; of all kinds but TOOL_CONTENT */
    enum tool_call_end end;               /* of TOOL_CALL_END */
    const struct tool_spelling *spelling; /* of TOOL_CALL_NAME: of this call, as far as it is told;
                                             NULL: none that an id can name */
};

/* Spans cover the text in order; neighbours of the same kind and call are one. */
struct tool_output {
    struct buf text;
    struct tool_span *spans; /* (n_spans) */
    size_t n_spans, spans_capacity;
};

void tool_output_init(struct tool_output *o);
void tool_output_finish(struct tool_output *o);
/* For the next piece; keeps the memory. */
void tool_output_clear(struct tool_output *o);

struct tool_parser;

/* set must outlive the parser. ERROR_MEMORY. Released with tool_parser_destroy. */
struct tool_parser *tool_parser_create(enum tool_format format, const struct tool_set *set,
                                       struct error *e);
void tool_parser_destroy(struct tool_parser *p);

/* Whether calls that are not, up to their end, as their id could name them, or that content
 * follows, have frames, and how: a TOOL_CALL_FRAME of a call that is kept until it is known what
 * follows it, and then leaves at once; white space behind the arguments of one that has left as it
 * came but for its end. */
enum tool_framing {
    TOOL_FRAMES_NONE,
    TOOL_FRAMES_ODD, /* those are kept that begin as no id can name */
    TOOL_FRAMES_ALL  /* every call is kept */
};

/* Before the first piece; at first TOOL_FRAMES_NONE. */
void tool_parser_frame(struct tool_parser *p, enum tool_framing framing);

/* Before the first piece: the caller's answer ends with its first call, which is told at once. */
void tool_parser_end_with_call(struct tool_parser *p);

/* Takes the next piece and appends to *out what is known now. Pieces of whole code points give
 * spans of whole code points. ERROR_MEMORY (also for more than TOOL_PARSER_MAX_OUTPUT): *out has
 * what was found before, and the parser can only be destroyed. */
bool tool_parser_push(struct tool_parser *p, struct str piece, struct tool_output *out,
                      struct error *e);

/* The answer has ended: appends what was held, and ends a call that is open. */
bool tool_parser_flush(struct tool_parser *p, struct tool_output *out, struct error *e);

/* Calls whose TOOL_CALL_END has been told, however they ended. A caller that wants one call only
 * stops at 1, and leaves out what else the last piece told: spans after that TOOL_CALL_END. */
size_t tool_parser_calls(const struct tool_parser *p);

/* Before the flush of an answer that did not end by itself: what its last call lacks behind its
 * arguments is no wish of the model's. It needs no frame for that, and one that it has closes it.
 */
void tool_parser_cut(struct tool_parser *p);

/* Whether a string is open that the arguments of the last call lay in. */
bool tool_parser_in_string(const struct tool_parser *p);

/* Bytes that came and are not told, but for what a call's end waits for. */
size_t tool_parser_held(const struct tool_parser *p);

#endif
