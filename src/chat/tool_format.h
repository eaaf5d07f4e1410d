/* tool_format.h - how a model writes calls of tools: the forms it may have been taught, the system
 * text that teaches one. docs/TOOLS.md has the forms.
 * Threads: everything here is pure. */
#ifndef CHAT_TOOL_FORMAT_H
#define CHAT_TOOL_FORMAT_H

#include "base/buf.h"
#include "token/token.h"

#include <jansson.h>

/* The form that a model is taught. Of Llama's three, each parser listens for all
 * (tool_parser.h). */
enum tool_format {
    TOOL_FORMAT_NONE,         /* "none": text is text */
    TOOL_FORMAT_LLAMA3_JSON,  /* "llama3-json": {"name": "f", "parameters": {"a": 1}} */
    TOOL_FORMAT_PYTHONIC,     /* "pythonic": [f(a=1), g()] */
    TOOL_FORMAT_FUNCTION_TAG, /* "function-tag": <function=f>{"a": 1}</function> */
    TOOL_FORMAT_HERMES, /* "hermes": <tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call> */
    TOOL_FORMAT_COUNT
};

const char *tool_format_name(enum tool_format format);
bool tool_format_parse(struct str name, enum tool_format *out);

/* The form that a chat template teaches when it is given tools, or, where it has no place for them,
 * the one that models with such a template know best; never TOOL_FORMAT_NONE. text may be empty. */
enum tool_format tool_format_detect(struct str template_text);

/* Whether a control token is part of calls in an answer's text: <|python_tag|>, <tool_call>. What
 * looks for calls there has to be shown it as its text; the others are no text. */
bool tool_format_shows_token(const struct tokenizer *t, uint32_t id);

/* Appends what teaches a model the tools in this form: text of a system message, which ends without
 * a newline; for a model whose template has no place for tools. tools: an array as tool_set.h has
 * it. Nothing is appended for TOOL_FORMAT_NONE or without tools.
 * ERROR_MEMORY, ERROR_FORMAT (JSON too deep). On failure *out is as before. */
bool tool_prompt_write(enum tool_format format, const json_t *tools, struct buf *out,
                       struct error *e);

#endif
