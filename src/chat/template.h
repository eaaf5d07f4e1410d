/* template.h - chat templates: conversations to token ids.
 *
 * A template is a Jinja text: the one in the model's file, one given by name (written here) or one
 * out of a file of the user's. Control tokens come from the template's own bytes alone; what a
 * message, a tool or an argument says is text, whatever it spells (promise 3; jinja.h has how the
 * origin of every byte is known). A struct chat_template borrows the tokenizer and the model file
 * and is immutable after init: any thread may render.
 * source  how transformers calls a template; docs/CHAT.md */
#ifndef CHAT_TEMPLATE_H
#define CHAT_TEMPLATE_H

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "chat/jinja.h"
#include "chat/tool_spelling.h"
#include "format/gguf.h"
#include "token/token.h"

#include <stdbool.h>
#include <stddef.h>

/* CHAT_TOOL: what a program that the model called has answered. */
enum chat_role { CHAT_SYSTEM, CHAT_USER, CHAT_ASSISTANT, CHAT_TOOL, CHAT_ROLE_COUNT };

/* "system", "user", ... */
const char *chat_role_name(enum chat_role role);
bool chat_role_parse(struct str name, enum chat_role *out);

struct chat_message {
    enum chat_role role;
    struct str content; /* UTF-8; p is NULL where an assistant that calls tools says nothing */
    const struct chat_call *calls; /* (n_calls) an assistant's */
    size_t n_calls;
    struct str call_id; /* of a tool's answer: which call it answers; may be empty */
};

/* What a template was seen to do with conversations made to find that out. */
struct chat_support {
    bool system;         /* writes what a system message says */
    bool later_system;   /* ... also of one that is not the first message */
    bool tools;          /* ... which tools there are */
    bool calls;          /* ... an assistant's call of one */
    bool several_calls;  /* ... more than one of them in a message */
    bool text_and_calls; /* ... and what is said beside them */
    bool tool_answers;   /* ... what a tool answered */
    bool calls_as_text;  /* ... and all of that alike where a call is said as a text */
    bool date;           /* ... the date that it is told */
    bool clock;          /* ... the day, which it asks the clock for */
};

/* Which messages a template was seen to write, and as whose. */
struct chat_roles {
    bool writes[CHAT_ROLE_COUNT];
    const char *names[CHAT_ROLE_COUNT]; /* what it calls them, in small letters; NULL: no name that
                                           is known as one, as [INST] */
    bool take_turns; /* two of a user or of an assistant in a row are refused, or one is left out */
};

/* How a template must be called where what transformers passes gives nothing or an error. */
struct chat_shape {
    bool content_parts;  /* contents are lists of {"type": "text", "text": ...} */
    bool tools_list;     /* tools are an empty list, not none, where there are none */
    bool content_empty;  /* an assistant that calls tools and says nothing has "", not none */
    bool arguments_text; /* arguments of calls are JSON text, not a mapping */
};

/* The template that a user asks for. Zeroed: the model's own. */
struct chat_choice {
    const char *name; /* of a template written here, or a path; borrowed */
    char *text;       /* (n) of the file; NULL for one written here */
    size_t n;
};

/* name: "chatml", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", the path of a Jinja file,
 * or NULL. Blocks on reading the file. ERROR_USAGE: it is neither; ERROR_IO, ERROR_MEMORY. On
 * failure there is nothing to release. */
bool chat_choice_init(struct chat_choice *out, const char *name, struct error *e);
void chat_choice_finish(struct chat_choice *c);

struct chat_template {
    struct jinja_template *jinja;
    struct str text;  /* of it */
    const char *name; /* of a template written here, else NULL */
    const struct tokenizer *tokenizer;
    struct token_list marks; /* user-defined tokens that it writes: data cannot */
    struct chat_support support;
    struct chat_roles roles;
    struct chat_shape shape;
    enum tool_format tool_format;         /* of calls; set it after init to have another */
    const struct tool_spelling *spelling; /* that it writes them in; NULL: none that has a name */
    const char *date; /* variable date_string: a text, "today" or, as at first, NULL */
    bool is_on_trial; /* while it is tried: calls that are written as texts are data */
};

/* choice: which; NULL or zeroed for the file's own, or where it has none for the one that its
 * tokens ask for (docs/CHAT.md). The template borrows it, g and t, and is tried on some
 * conversations.
 * ERROR_FORMAT, ERROR_UNSUPPORTED: it is no template, or Puna cannot render it; the vocabulary
 * lacks a control token of a template written here; nothing fits. ERROR_MEMORY. On failure there is
 * nothing to release. */
bool chat_template_init(struct chat_template *out, const struct gguf *g, const struct tokenizer *t,
                        const struct chat_choice *choice, struct error *e);
void chat_template_finish(struct chat_template *t);

/* How calls are written that do not tell how they were spelled, in a conversation with tools. */
const struct tool_spelling *chat_template_spelling(const struct chat_template *t);

/* What is written. */
struct chat_input {
    const struct chat_message *messages; /* (n) >= 1 */
    size_t n;
    const json_t *tools;        /* array in OpenAI's form; NULL: none */
    const json_t *variables;    /* object: more variables of the template; NULL: none */
    bool add_generation_prompt; /* begin the assistant's next turn */
};

/* The text of a conversation, with the origin of its bytes; released with jinja_output_finish.
 * ERROR_USAGE: no messages, one that is not UTF-8, tools that nothing would tell of, or the
 * template refuses the conversation and says so in its own words. ERROR_FORMAT, ERROR_UNSUPPORTED:
 * see jinja_render. ERROR_MEMORY. */
bool chat_template_write(const struct chat_template *t, const struct chat_input *input,
                         struct jinja_output *out, struct error *e);

/* Appends the ids of such a text. Exactly one BOS stands in front where the template writes it or
 * the file asks for it. out->n_neutralised counts control tokens that data spelled. ERROR_MEMORY;
 * on failure *out is as before. */
bool chat_template_encode(const struct chat_template *t, const struct jinja_output *text,
                          struct token_list *out, struct error *e);

/* Both. */
bool chat_template_render(const struct chat_template *t, const struct chat_input *input,
                          struct token_list *out, struct error *e);

#endif
