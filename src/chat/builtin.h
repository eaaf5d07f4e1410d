/* builtin.h - chat templates written here, for files that have none and for who names one. */
#ifndef CHAT_BUILTIN_H
#define CHAT_BUILTIN_H

#include "base/error.h"
#include "base/str.h"
#include "format/gguf.h"
#include "token/token.h"

struct chat_builtin {
    const char *name;
    const char *text;        /* Jinja */
    const char *controls[4]; /* tokens that it writes beside BOS and EOS; NULL ends them */
    bool needs_bos, needs_eos;
};

/* All their names, for messages. */
#define CHAT_BUILTIN_NAMES "chatml, llama2, llama3, llama3.1, llama3.2, llama3.3"

/* NULL when there is none of that name. */
const struct chat_builtin *chat_builtin_find(struct str name);

/* The one that the vocabulary, and the name of the model, ask for; NULL: none. */
const struct chat_builtin *chat_builtin_choose(const struct tokenizer *t, struct str model_name);

/* ERROR_UNSUPPORTED naming a token that it writes and the vocabulary lacks or has as text. */
bool chat_builtin_check(const struct chat_builtin *b, const struct tokenizer *t, struct error *e);

#endif
