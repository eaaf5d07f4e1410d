/* encode.h - text to tokens as the commands do it: bytes for which the vocabulary has no token are
 * counted, and said (docs/TOKENS.md has which vocabularies lack some). */
#ifndef CMD_ENCODE_H
#define CMD_ENCODE_H

#include "chat/template.h"
#include "token/token.h"

/* As tokenizer_encode; *n_dropped grows by the bytes that were left out. */
bool encode_text(const struct tokenizer *t, struct str text, unsigned flags, struct token_list *out,
                 size_t *n_dropped, struct error *e);

/* *n_dropped grows by the bytes of these messages that a chat template leaves out. ERROR_MEMORY. */
bool encode_count_dropped(const struct tokenizer *t, const struct chat_message *messages, size_t n,
                          size_t *n_dropped, struct error *e);

/* A line on stderr, if there is something to say. */
void encode_warn(const char *command, size_t n_dropped);

#endif
