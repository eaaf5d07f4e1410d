/* vocab.h - the vocabulary of a GGUF file: texts, kinds, bytes, scores, special ids; what both
 * tokenizer models need. Everything the file says is checked here.
 * Owner: one struct vocab inside a tokenizer, immutable after vocab_init. */
#ifndef TOKEN_VOCAB_H
#define TOKEN_VOCAB_H

#include "token/pretoken.h"
#include "token/token.h"
#include "token/token_map.h"

enum vocab_flag {
    VOCAB_END = 1,  /* ends a turn */
    VOCAB_PLAIN = 2 /* merging plain text may give it: never CONTROL, UNKNOWN or BYTE */
};

struct vocab {
    struct token_info info;
    const struct pretoken_rule *pre; /* BPE; NULL for SPM */
    struct str *texts;               /* (n_tokens) as the file spells them; bytes of the file */
    struct str *pieces;              /* (n_tokens) what they stand for, in piece_bytes */
    char *piece_bytes;
    uint8_t *kinds;            /* (n_tokens) enum token_kind */
    uint8_t *flags;            /* (n_tokens) enum vocab_flag */
    float *scores;             /* (n_tokens) SPM; NULL for BPE */
    struct token_map by_text;  /* all tokens */
    struct token_map by_bytes; /* pieces of the tokens that plain text may become: never CONTROL */
    uint32_t byte_ids[256];    /* token of a single byte, TOKEN_NONE where there is none */
};

/* Errors as tokenizer_create. On failure *v is finished. */
bool vocab_init(struct vocab *v, const struct gguf *g, struct error *e);
void vocab_finish(struct vocab *v);

/* Array of strings `key`; ERROR_FORMAT when it is absent or something else. */
bool vocab_find_strings(const struct gguf *g, const char *key, const struct gguf_value **out,
                        struct error *e);

#endif
