/* token_trie.h - the vocabulary as a trie of bytes in one array, made once and shared:
 * immutable but for what was found by walking it, any thread. */
#ifndef SCHEMA_TOKEN_TRIE_H
#define SCHEMA_TOKEN_TRIE_H

#include "schema/walk_cache.h"
#include "token/token.h"

/* In order of their bytes, parents before children: the children of node i are i + 1 (if that is
 * below end), and from each the node at its end. */
struct token_node {
    uint32_t end;   /* the first node behind its subtree */
    uint32_t token; /* whose bytes end here, TOKEN_NONE; more of the same bytes: next_equal */
    uint16_t depth; /* bytes up to here; node 0, the root: 0 */
    uint8_t byte;
};

/* Kinds of bytes, as bits of a set: a state to which all kinds of a subtree lead back reads all of
 * it. */
enum token_byte_kind {
    TOKEN_BYTE_PUNCTUATION, /* 33: space and ASCII's signs, each its own */
    TOKEN_BYTE_LOWER = 33,
    TOKEN_BYTE_UPPER,
    TOKEN_BYTE_DIGIT,
    TOKEN_BYTE_CONTROL, /* below 0x20, and 0x7f */
    TOKEN_BYTE_MULTI, /* of a character of several bytes in UTF-8, of which the last of a token may
                           lack some */
    TOKEN_BYTE_OTHER, /* of no character */
    TOKEN_BYTE_INSIDE /* the node is within a character: nothing is said of what is below */
};
enum token_byte_kind token_byte_kind(uint8_t ascii);

struct token_trie {
    struct token_node *nodes; /* (n_nodes) */
    uint64_t *kinds;          /* (n_nodes) of the bytes below a node, without its own */
    uint32_t *n_before;       /* (n_nodes + 1) tokens at nodes with smaller numbers */
    uint32_t *ordered;        /* (n_before[n_nodes]) tokens by their nodes */
    uint32_t *next_equal;     /* (n_tokens) another token of the same bytes, TOKEN_NONE */
    struct str *pieces;       /* (n_tokens) bytes; empty: never allowed as text; borrowed */
    uint64_t *ends;           /* (n_words) tokens that end a text */
    struct walk_cache *walks;
    uint32_t n_nodes, n_tokens;
    uint32_t n_words;   /* of 64 bits, of a mask over all tokens */
    uint32_t max_depth; /* bytes of the longest token */
};

enum { TOKEN_TRIE_MAX_BYTES = 1024 }; /* of a token; longer ones are never allowed */

/* Every token that stands for bytes, but for control tokens and those that end a turn, which are
 * allowed only where a text may end. t must outlive the trie. NULL: ERROR_MEMORY. */
struct token_trie *token_trie_create(const struct tokenizer *t, struct error *e);

/* Of these pieces, (n) empty where a token has none; is_end (n). pieces' bytes must outlive it. */
struct token_trie *token_trie_from_pieces(const struct str *pieces, const bool *is_end, uint32_t n,
                                          struct error *e);
/* NULL is allowed. */
void token_trie_destroy(struct token_trie *t);

static inline bool token_mask_has(const uint64_t *mask, uint32_t token)
{
    return (mask[token / 64] >> token % 64 & 1) != 0;
}

static inline void token_mask_add(uint64_t *mask, uint32_t token)
{
    mask[token / 64] |= (uint64_t)1 << token % 64;
}

#endif
