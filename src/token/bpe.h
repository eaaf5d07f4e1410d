/* bpe.h - byte-level BPE: splits of the text are merged by the file's ranked pairs.
 * Immutable after bpe_init. */
#ifndef TOKEN_BPE_H
#define TOKEN_BPE_H

#include "token/merge.h"
#include "token/vocab.h"

struct bpe_pair {
    uint32_t left, right;
    uint32_t rank; /* place in the file's list; MERGE_NEVER: free slot */
    uint32_t id;   /* what the pair becomes */
};

/* The tables lie in one block of n_bytes in huge pages: every look-up is a random access. */
struct bpe {
    struct bpe_pair *pairs; /* (mask + 1) open addressing, three quarters full at most */
    size_t mask;
    uint64_t seed;
    struct bpe_pair *byte_pairs; /* (256 * 256) merges of two bytes, by their values */
    uint64_t *filter; /* (FILTER_BITS / 64) a bit for every pair's hash: most pairs of a text are no
                         merge, and this stays in the cache */
    size_t n_bytes;
};

/* Reads tokenizer.ggml.merges. ERROR_FORMAT for a merge that is no pair of tokens of the
 * vocabulary, or whose result is none; merges that touch a control token are left out, since text
 * cannot become one. Of equal pairs the first counts. */
bool bpe_init(struct bpe *b, const struct vocab *v, const struct gguf *g, struct error *e);
void bpe_finish(struct bpe *b);

/* Appends the ids of one split. Bytes that the vocabulary has no token for are counted
 * in out->n_dropped. */
bool bpe_encode(const struct bpe *b, const struct vocab *v, struct str split, struct merge *m,
                struct token_list *out, struct error *e);

#endif
