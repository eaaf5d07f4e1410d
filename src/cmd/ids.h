/* ids.h - token ids in text, for the commands that read them from standard input. */
#ifndef CMD_IDS_H
#define CMD_IDS_H

#include "token/token.h"

/* Appends the ids in `input` to *out: decimal numbers below n_tokens with white space or commas
 * between them, all together in brackets or not. ERROR_USAGE names what is no id or no token,
 * ERROR_MEMORY; *out then holds the ids before it. */
bool ids_parse(struct str input, uint32_t n_tokens, struct token_list *out, struct error *e);

#endif
