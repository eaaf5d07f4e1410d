/* token.h - tokenisers: byte-level BPE and SentencePiece-style SPM, read from GGUF metadata.
 *
 * A tokenizer is immutable after creation: any thread may use it. Ids are indices of
 * tokenizer.ggml.tokens. Special tokens (type CONTROL, and USER_DEFINED as the file says) are
 * recognised in text only when the caller asks (promise: text cannot become control). */
#ifndef TOKEN_TOKEN_H
#define TOKEN_TOKEN_H

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "format/gguf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum token_kind { /* values of tokenizer.ggml.token_type */
                  TOKEN_NORMAL = 1,
                  TOKEN_UNKNOWN = 2,
                  TOKEN_CONTROL = 3,
                  TOKEN_USER_DEFINED = 4,
                  TOKEN_UNUSED = 5,
                  TOKEN_BYTE = 6
};

enum token_model { TOKEN_MODEL_BPE, TOKEN_MODEL_SPM };

#define TOKEN_NONE UINT32_MAX

struct tokenizer;

/* What the file says about its vocabulary. Ids are TOKEN_NONE where the file has none; eos, eot and
 * eom are also found by the names that model families use. */
struct token_info {
    enum token_model model;
    const char
        *pre; /* canonical pre-tokeniser: "llama3", "smollm", "gpt2", "default"; "" for SPM */
    uint32_t n_tokens;
    uint32_t bos, eos, eot, eom, unknown, pad;
    bool add_bos, add_eos, add_space_prefix;
    bool pre_is_guess; /* the file does not say, and the tokens do not tell */
};

/* A growable list of ids. Zeroed is empty. */
struct token_list {
    uint32_t *ids;
    size_t n;
    size_t capacity;
    size_t n_dropped;     /* bytes of the encoded texts that no token stands for, see below */
    size_t n_neutralised; /* spellings of control tokens that tokenizer_encode_spans took as text */
};
void token_list_finish(struct token_list *list);
bool token_list_push(struct token_list *list, uint32_t id, struct error *e);

/* Reads tokenizer.ggml.* (works on vocabulary-only files). g must outlive the tokenizer.
 * NULL with *e: ERROR_FORMAT (bad table: names key and numbers), ERROR_UNSUPPORTED (model or
 * pre-tokeniser named), ERROR_MEMORY. Of tokens with equal texts the lowest id is the one found;
 * empty texts are never found and stand for nothing. */
struct tokenizer *tokenizer_create(const struct gguf *g, struct error *e);
void tokenizer_destroy(struct tokenizer *t);
const struct token_info *tokenizer_info(const struct tokenizer *t);

enum token_flags {
    TOKEN_PARSE_SPECIAL = 1, /* special tokens in the text become their ids */
    TOKEN_ADD_BOS = 2,       /* put BOS first if the file says add_bos_token */
    TOKEN_CONTINUE = 4,      /* SPM: text follows text already tokenised: no space prefix */
    TOKEN_ADD_EOS = 8        /* put EOS last if the file says add_eos_token */
};

/* Appends the ids of text (any bytes, invalid UTF-8 too) to *out; time O(n log n) at worst, and
 * linear in practice. USER_DEFINED tokens are matched as they are spelled with any flags; CONTROL
 * tokens never come out without TOKEN_PARSE_SPECIAL (but for the BOS and EOS asked for). Bytes for
 * which the vocabulary has no token at all (some of SmolLM2's control characters) are left out, and
 * added to out->n_dropped. On failure (ERROR_MEMORY) *out is as before. */
bool tokenizer_encode(const struct tokenizer *t, struct str text, unsigned flags,
                      struct token_list *out, struct error *e);

/* Bytes of a text that lie together, and whether a control token may be spelled there. */
struct token_span {
    size_t n_bytes;
    bool may_be_special;
};

/* A text of which parts may spell control tokens. */
struct token_spans {
    const struct token_span *spans; /* (n) cover the text in order */
    size_t n;
    const struct token_list
        *marks; /* user-defined tokens that count as control here; may be NULL */
};

/* As tokenizer_encode without flags, but control tokens that lie within one span that allows them
 * come out as their ids. What stands between two special tokens is tokenised as one piece, whatever
 * spans it crosses. Spellings of control tokens that are taken as text are added to
 * out->n_neutralised. */
bool tokenizer_encode_spans(const struct tokenizer *t, struct str text,
                            const struct token_spans *parts, struct token_list *out,
                            struct error *e);

/* Appends the user-defined tokens that text spells and that more than white space stands for, each
 * once. ERROR_MEMORY. */
bool tokenizer_find_user_defined(const struct tokenizer *t, struct str text, struct token_list *out,
                                 struct error *e);

/* A lower bound of the tokens that tokenizer_encode makes of text, whatever the flags: its bytes,
 * but for those that may be left out, by the bytes of the vocabulary's longest token. Reads a byte
 * a step, so it costs nothing beside encoding. */
size_t tokenizer_least_tokens(const struct tokenizer *t, struct str text);

/* Pre-tokeniser alone: byte offset of the end of each split (BPE models). For the oracles.
 * ends: array for at most text.n entries; returns how many were written. */
size_t tokenizer_split(const struct tokenizer *t, struct str text, size_t *ends);

/* The bytes that a token stands for. Control tokens give their name when with_special, else
 * nothing. SPM: U+2581 becomes a space. Points into t; id < n_tokens. */
struct str tokenizer_piece(const struct tokenizer *t, uint32_t id, bool with_special);

/* The token's text as the vocabulary spells it, and its kind. */
struct str tokenizer_text(const struct tokenizer *t, uint32_t id);
enum token_kind tokenizer_kind(const struct tokenizer *t, uint32_t id);

/* Id of the token whose vocabulary text is exactly `text`, TOKEN_NONE if there is none. */
uint32_t tokenizer_find(const struct tokenizer *t, struct str text);

/* True for tokens that end a turn: eos, eot, eom and the names that model families use for them. */
bool tokenizer_is_end(const struct tokenizer *t, uint32_t id);

/* Checks that an id means the same to both: as many tokens, of the same text and kind, and the same
 * of them end a turn. ERROR_USAGE naming the first id that differs and how b and a have it. */
bool tokenizer_check_same(const struct tokenizer *a, const struct tokenizer *b, struct error *e);

/* Text of all ids (each < n_tokens), as one string: the inverse of encode. SPM: a space is removed
 * where encode adds one, at the start and after a special token. Bytes come out as they are. On
 * failure *out is as before. */
bool tokenizer_decode(const struct tokenizer *t, const uint32_t *ids, size_t n_ids,
                      bool with_special, struct buf *out, struct error *e);

/* Streaming decoding that never hands out half a code point. Bytes that can no longer become a
 * valid code point come out as U+FFFD, one per maximal ill-formed part (Unicode 3.9, W3C). */
struct token_stream {
    char pending[4];
    size_t n_pending;
    bool at_start; /* SPM: the next piece loses its space prefix */
};
void token_stream_init(struct token_stream *s);
/* Appends to *out what can be shown after this token. ERROR_MEMORY with *s and *out as before, here
 * and below. */
bool token_stream_push(struct token_stream *s, const struct tokenizer *t, uint32_t id,
                       bool with_special, struct buf *out, struct error *e);
/* Appends what is left (an unfinished sequence as U+FFFD). */
bool token_stream_flush(struct token_stream *s, struct buf *out, struct error *e);

#endif
