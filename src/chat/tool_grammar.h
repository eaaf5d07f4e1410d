/* tool_grammar.h - answers that call tools, as a grammar: for requests that force a call, or that
 * hold arguments to their schemas. What it allows tool_parser.h finds again. */
#ifndef CHAT_TOOL_GRAMMAR_H
#define CHAT_TOOL_GRAMMAR_H

#include "chat/tool_format.h"
#include "chat/tool_parser.h"
#include "chat/tool_set.h"
#include "schema/schema_compile.h"

/* The parser takes one more, behind which a tag that closes it would be content. */
enum { TOOL_GRAMMAR_MAX_CALLS = TOOL_PARSER_MAX_CALLS - 1 };

struct tool_grammar_options {
    enum tool_format format; /* calls of TOOL_FORMAT_PYTHONIC are written as LLAMA3_JSON, which its
                                parser finds, too; not TOOL_FORMAT_NONE */
    const struct tool_set *set;
    const struct tool *only; /* the one tool that may be called; NULL: any of the set */
    bool several;            /* up to TOOL_GRAMMAR_MAX_CALLS may come, else one */
    bool may_say;            /* instead of calling, the answer may be a text without a call */
};

struct tool_grammar_notes {
    /* the first of those without `strict` whose schemas cannot be enforced, or not within what is
     * spent on all of them: any object will do for their arguments; NULL when there is none */
    const struct tool *loose;
    struct error loose_why; /* of that one */
    size_t n_loose;
    struct schema_remarks remarks; /* of the others' schemas; source: which tool of the set */
};

/* *out = an expression of the builder: a call of a tool of the set, or some, or a text. Arguments
 * are an object that the tool's `parameters` allow; without them, or with {}, one without
 * members.
 * Fills *notes.
 * ERROR_UNSUPPORTED, ERROR_USAGE, ERROR_FORMAT: the schema of a tool that is strict cannot be
 * enforced, allows nothing or is none (the tool is named). ERROR_MEMORY. */
bool tool_grammar_build(struct grammar_builder *b, const struct tool_grammar_options *o,
                        uint32_t *out, struct tool_grammar_notes *notes, struct error *e);

#endif
