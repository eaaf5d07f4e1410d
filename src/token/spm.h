/* spm.h - SentencePiece's BPE: characters are merged into the vocabulary's best-scored pieces, what
 * is left over becomes byte tokens or the unknown token. Immutable after spm_init. */
#ifndef TOKEN_SPM_H
#define TOKEN_SPM_H

#include "token/merge.h"
#include "token/vocab.h"

struct spm {
    bool space_starts_piece; /* no piece has a space behind another character */
    uint32_t unknown;        /* token for what has no other, TOKEN_NONE: such bytes are dropped */
};

void spm_init(struct spm *s, const struct vocab *v);

/* Length of the part of text (text.n > 0) that can be merged by itself: a word with the spaces in
 * front of it where the vocabulary allows that, else all of text. */
size_t spm_word(const struct spm *s, struct str text);

/* Appends the ids of a word in which spaces are spaces (not U+2581). */
bool spm_encode(const struct spm *s, const struct vocab *v, struct str word, struct merge *m,
                struct token_list *out, struct error *e);

#endif
