/* tool_frame.h - what a model wrote round the arguments of a call, where no spelling has a name
 * (tool_spelling.h): its id carries that text itself, in base64. Where that was told before it was
 * known how the call ends, the text follows the arguments, as white space, which JSON may have
 * there: eight bytes for each of it, behind eight that say so, the highest bit first, a tab for 1
 * and a space for 0. So the next turn has the bytes that were sampled, and nothing is kept here.
 * A frame is text with one NUL where the arguments go, or without, where these are in it: Python's,
 * or those in a JSON string, which a client sees otherwise than they were written. A NUL in front
 * says in an id that the list ended in which the call before is, and behind arguments that the call
 * begins as its id says. Where content follows a call, its frame has its place before all that: two
 * NULs, the number of bytes of content before the call, a comma, the eight hexadecimal digits of
 * their check, and a NUL. With nothing behind them the call is spelled as its id says.
 * Threads: everything here is pure. */
#ifndef CHAT_TOOL_FRAME_H
#define CHAT_TOOL_FRAME_H

#include "base/buf.h"
#include "chat/call.h"
#include "chat/tool_format.h"
#include "chat/tool_spelling.h"

enum {
    TOOL_FRAME_BYTES = 3072,  /* at most; a longer one is not kept */
    TOOL_FRAME_DIGITS = 4096, /* of that many bytes */
    TOOL_FRAME_BLANKS = 8 * (1 + TOOL_FRAME_BYTES),
    TOOL_CALL_ID_BYTES = sizeof "call_" - 1 + TOOL_CALL_DIGITS + 1 + TOOL_FRAME_DIGITS
};

/* Bytes of content, and what tells them from others of that number: the FNV-1a hash. */
struct tool_place {
    size_t n;
    uint32_t check;
};

/* Before any content, and behind more of it. */
struct tool_place tool_place_begin(void);
struct tool_place tool_place_behind(struct tool_place place, struct str content);

/* Appends what a frame has in front of a call that content follows. ERROR_MEMORY. */
bool tool_frame_place(struct tool_place place, struct buf *out, struct error *e);

/* Appends the frame of a call with this text, from the end of the call before, whose arguments were
 * told so; nothing where it would be too long, or the text has a NUL. ends_list: the call before is
 * in a list that has ended. ERROR_MEMORY. */
bool tool_frame_make(struct str text, struct str arguments, bool ends_list, struct buf *out,
                     struct error *e);

/* Appends the frame of a call that is spelled so, the first of an answer or not, as white space. s:
 * NULL where no spelling is as it begins. ERROR_MEMORY, with *out unchanged. */
bool tool_frame_blank(struct str frame, const struct tool_spelling *s, const struct chat_call *call,
                      bool is_first, struct buf *out, struct error *e);

/* How far a content was read for the places of its calls. Zero it before the first one. Places
 * ascend, so that it is read once; where they do not, twice its bytes are read at most. */
struct tool_places {
    struct tool_place last;
    size_t n_bytes; /* read, some of them again */
};

/* The next call that a client sent back beside this content: with the frame that its id carries, or
 * else what is behind its arguments, and the place in the content, if that begins as it did and may
 * be read. Arguments that are an object are without white space behind them. What is in `frame`
 * already goes. All is borrowed. */
struct chat_call tool_frame_read(struct chat_call call, struct str content,
                                 struct tool_places *read);

/* Whether this call's frame says that a list ended before it. */
bool tool_frame_ends_list(const struct chat_call *call);

/* Appends the text of a call that has a frame. s: as it begins where the frame does not say. tags:
 * as tool_calls_write has them. ERROR_MEMORY, and *out may have a part. */
bool tool_frame_write(const struct tool_spelling *s, const struct chat_call *call, bool is_first,
                      struct buf *out, struct tool_tags *tags, struct error *e);

/* Sets *out to whether a parser finds in the text of each of these calls, which own, their ids and
 * frames spell (tool_said_write), that call and nothing besides, whole before the next one
 * begins, and, of those with a frame, with the very arguments; true where none has a frame. The
 * content between them is left out, as it may say anything. So one
 * that has arguments in it fits no others, and no tag that tool_frame_write() notes is part of what
 * a call says. Members behind the arguments are part of a call, and may say anything, as the text
 * of an assistant's message may. Calls of more than TOOL_PARSER_MAX_OUTPUT / 8 bytes together do
 * not fit, nor do places beside the content. ERROR_MEMORY, and *out is as before. */
bool tool_frames_fit(const struct tool_spelling *own, enum tool_format format,
                     const struct tool_said *said, bool *out, struct error *e);

#endif
