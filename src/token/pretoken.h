/* pretoken.h - pre-tokenisers of byte-level BPE: where a text is cut before merging. Each is one
 * regular expression (or a short sequence of them) of the reference, matched here by hand in linear
 * time, without backtracking. docs/TOKENS.md gives the expressions.
 * Bytes that are not UTF-8 count as one symbol character each. */
#ifndef TOKEN_PRETOKEN_H
#define TOKEN_PRETOKEN_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

enum pretoken { PRETOKEN_LLAMA3, PRETOKEN_SMOLLM, PRETOKEN_GPT2, PRETOKEN_DEFAULT };

/* What a value of tokenizer.ggml.pre stands for. */
struct pretoken_rule {
    const char *name;
    enum pretoken kind;
    bool ignore_merges; /* a whole split found in the vocabulary is taken without merging */
    bool add_bos;       /* where the file does not say */
};

/* NULL for a name that is none of ours. */
const struct pretoken_rule *pretoken_find(struct str name);

const char *pretoken_name(enum pretoken kind);

/* End (byte offset) of the split that starts at `start` < text.n. text is a whole fragment: what
 * follows the split may decide where it ends. Calling it from 0 on until text.n gives all splits;
 * the sum of all calls is O(text.n). */
size_t pretoken_next(enum pretoken kind, struct str text, size_t start);

#endif
