/* chat_options.h - options of every command that writes conversations. */
#ifndef CMD_CHAT_OPTIONS_H
#define CMD_CHAT_OPTIONS_H

#include "chat/template.h"
#include "cmd/options.h"

struct chat_options {
    const char *template;      /* name or path; NULL: the model's own */
    const char *date;          /* a text or "today"; NULL: the template's own */
    const char *tool_format;   /* name; NULL: as the template has it */
    struct chat_choice choice; /* from chat_options_read on */
};

/* clang-format off */
#define OPTIONS_CHAT(o)                                                                            \
    {OPTION_TEXT, "chat-template", 0, NULL, "NAME", &(o).template, 0, 0,                           \
     "how a chat is written: chatml, llama2, llama3, llama3.1,\nllama3.2, llama3.3 or a Jinja "    \
     "file (default: the model's\nown)",                                                           \
     NULL},                                                                                        \
    {OPTION_TEXT, "date", 0, NULL, "TEXT", &(o).date, 0, 0,                                        \
     "the date that the chat template tells the model, or 'today'\n(default: 26 Jul 2024, so that "\
     "the same chat always gives\nthe same tokens)",                                               \
     NULL},                                                                                        \
    {OPTION_TEXT, "tool-format", 0, NULL, "NAME", &(o).tool_format, 0, 0,                          \
     "how the model calls tools: llama3-json, pythonic,\nfunction-tag, hermes or none (default: "  \
     "as its template says)",                                                                      \
     NULL}
/* clang-format on */

/* Name of an option that was given, with its dashes; NULL: none was. */
const char *chat_options_given(const struct chat_options *o);

/* Checks them, and reads the file that --chat-template names. Released with chat_options_finish,
 * also after a failure. */
bool chat_options_read(struct chat_options *o, struct error *e);
void chat_options_finish(struct chat_options *o);

/* Makes the template of the model in g, after chat_options_read; the options must outlive it. */
bool chat_options_open(const struct chat_options *o, const struct gguf *g,
                       const struct tokenizer *t, struct chat_template *out, struct error *e);

#endif
