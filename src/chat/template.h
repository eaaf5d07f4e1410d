/* template.h - built-in chat templates: messages to token ids.
 *
 * A template's control tokens are put as ids looked up in the vocabulary; everything else, the
 * messages above all, is tokenised with special tokens off. So no text can become control: a
 * message that spells "<|eot_id|>" gives the ordinary tokens of these letters.
 * A struct chat_template borrows the tokenizer and is immutable after init: any thread may render.
 * source  the Jinja templates that the models are published with; docs/CHAT.md */
#ifndef CHAT_TEMPLATE_H
#define CHAT_TEMPLATE_H

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "format/gguf.h"
#include "token/token.h"

#include <stdbool.h>
#include <stddef.h>

enum chat_family {
    CHAT_CHATML,
    CHAT_LLAMA2,
    CHAT_LLAMA3,
    CHAT_LLAMA31,
    CHAT_LLAMA32,
    CHAT_LLAMA33,
    CHAT_FAMILY_COUNT
};

/* CHAT_TOOL: what a program that the model called has answered. */
enum chat_role { CHAT_SYSTEM, CHAT_USER, CHAT_ASSISTANT, CHAT_TOOL, CHAT_ROLE_COUNT };

/* A call of a tool, as an assistant made it. */
struct chat_call {
    struct str id;
    struct str name;      /* of the function */
    struct str arguments; /* JSON text of an object, spelled as it came */
};

struct chat_message {
    enum chat_role role;
    struct str content; /* any bytes; p is NULL where an assistant that calls tools says nothing */
    const struct chat_call *calls; /* (n_calls) an assistant's */
    size_t n_calls;
    struct str call_id; /* of a tool's answer: which call it answers; may be empty */
};

/* "chatml", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3"; "system", "user", ... */
const char *chat_family_name(enum chat_family family);
const char *chat_role_name(enum chat_role role);
bool chat_family_parse(struct str name, enum chat_family *out);
bool chat_role_parse(struct str name, enum chat_role *out);

/* Bytes of text between two control tokens at most. */
enum { CHAT_MAX_TEXT_BYTES = 64 << 20 };

struct chat_template {
    enum chat_family family;
    const struct tokenizer *tokenizer;
    uint32_t bos, eos;       /* TOKEN_NONE where the family does not use them */
    uint32_t start, end;     /* a turn's first and last token */
    uint32_t end_header;     /* Llama 3: between role and text */
    bool has_default_system; /* ChatML: said when the first message is not the system's */
    struct buf default_system;
    struct str date; /* Llama 3.1 and later: "Today Date"; set it after init to change it */
};

/* name: a family's name, or NULL to choose by the file (rules in docs/CHAT.md). With a name the
 * file's own template is not looked at. Released with chat_template_finish.
 * ERROR_USAGE: unknown name. ERROR_UNSUPPORTED: no family fits, or the vocabulary lacks one of its
 * control tokens (named). ERROR_MEMORY. On failure there is nothing to release. */
bool chat_template_init(struct chat_template *out, const struct gguf *g, const struct tokenizer *t,
                        const char *name, struct error *e);
void chat_template_finish(struct chat_template *t);

/* Appends the ids of a whole conversation (n >= 1 messages) and, if asked, of the beginning of the
 * assistant's next turn. A conversation with one more turn starts with the same ids.
 * ERROR_USAGE: no messages, or roles in an order that the model's template refuses (Llama 2).
 * ERROR_MEMORY. On failure *out is as before. */
bool chat_template_render(const struct chat_template *t, const struct chat_message *messages,
                          size_t n, bool add_generation_prompt, struct token_list *out,
                          struct error *e);

/* A lower bound of the tokens that chat_template_render makes of n messages, found without
 * tokenising them. */
size_t chat_template_least_tokens(const struct chat_template *t,
                                  const struct chat_message *messages, size_t n);

#endif
