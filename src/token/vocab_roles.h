/* vocab_roles.h - which tokens have a role: BOS, EOS, end of turn, control marks. */
#ifndef TOKEN_VOCAB_ROLES_H
#define TOKEN_VOCAB_ROLES_H

#include "token/vocab.h"

/* Fills the special ids of v->info and the VOCAB_END flags, and makes CONTROL of the tokens that
 * are marks although the file types them as text. Needs texts, kinds, flags and by_text; has_kinds:
 * the file has token types. ERROR_FORMAT for an id beyond the vocabulary. */
bool vocab_find_roles(struct vocab *v, const struct gguf *g, bool has_kinds, struct error *e);

#endif
