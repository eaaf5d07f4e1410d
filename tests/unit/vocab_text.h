/* vocab_text.h - small vocabularies as GGUF bytes, for tests: all 256 bytes as tokens, a few pieces
 * and merges, and the special tokens of a model family under their real names. */
#ifndef TESTS_VOCAB_TEXT_H
#define TESTS_VOCAB_TEXT_H

#include "gguf_text.h"
#include "token/token.h"

struct vocab_text {
    struct buf tokens; /* GGUF strings */
    struct buf types;  /* i32 */
    struct buf scores; /* f32 */
    uint32_t n;
};

static void vocab_text_add(struct vocab_text *v, const char *text, size_t n, enum token_kind kind)
{
    gguf_text_int(&v->tokens, n, 8);
    gguf_text_bytes(&v->tokens, text, n);
    gguf_text_int(&v->types, kind, 4);
    float score = -(float)v->n;
    gguf_text_bytes(&v->scores, &score, sizeof score);
    v->n++;
}

static void vocab_text_init(struct vocab_text *v)
{
    *v = (struct vocab_text){0};
    buf_init(&v->tokens, 1 << 20);
    buf_init(&v->types, 1 << 20);
    buf_init(&v->scores, 1 << 20);
}

/* Byte-level BPE writes byte b as code point b where that is printable, else as 256 + its rank. */
static void vocab_text_add_bpe_bytes(struct vocab_text *v)
{
    uint32_t moved = 256;
    for (uint32_t b = 0; b < 256; b++) {
        bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        char text[4];
        vocab_text_add(v, text, str_encode_utf8(printable ? b : moved++, text), TOKEN_NORMAL);
    }
}

static void vocab_text_add_spm_bytes(struct vocab_text *v)
{
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        int n = snprintf(text, sizeof text, "<0x%02X>", b);
        vocab_text_add(v, text, (size_t)n, TOKEN_BYTE);
    }
}

static void vocab_text_array(struct buf *out, const char *key, uint32_t type, uint64_t n,
                             const struct buf *items)
{
    gguf_text_int(out, strlen(key), 8);
    gguf_text_bytes(out, key, strlen(key));
    gguf_text_int(out, 9, 4);
    gguf_text_int(out, type, 4);
    gguf_text_int(out, n, 8);
    gguf_text_bytes(out, items->data, items->n);
}

static void vocab_text_string(struct buf *out, const char *key, const char *value)
{
    gguf_text_int(out, strlen(key), 8);
    gguf_text_bytes(out, key, strlen(key));
    gguf_text_int(out, 8, 4);
    gguf_text_int(out, strlen(value), 8);
    gguf_text_bytes(out, value, strlen(value));
}

#endif
