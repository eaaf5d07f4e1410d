/* gguf_text.h - GGUF bytes from a readable text, for tests. Items are separated by spaces:
 *   raw:TEXT    the bytes of TEXT             s:TEXT    a GGUF string: u64 length, bytes
 *   1:N 2:N 4:N 8:N   little-endian integer   long:N    a GGUF string of N letters 'a'
 *   f4:X f8:X   little-endian float           zero:N    N zero bytes
 *   pad:N       zero bytes up to a multiple of N */
#ifndef TESTS_GGUF_TEXT_H
#define TESTS_GGUF_TEXT_H

#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#define GGUF_TEXT_HEAD(n_tensors, n_keys) "raw:GGUF 4:3 8:" #n_tensors " 8:" #n_keys
#define GGUF_TEXT_U32(key, value)         " s:" key " 4:4 4:" #value
#define GGUF_TEXT_STR(key, value)         " s:" key " 4:8 s:" value
#define GGUF_TEXT_TENSOR(name, n_items, type, offset)                                              \
    " s:" name " 4:1 8:" #n_items " 4:" #type " 8:" #offset
#define GGUF_TEXT_MATRIX(name, cols, rows, type, offset)                                           \
    " s:" name " 4:2 8:" #cols " 8:" #rows " 4:" #type " 8:" #offset

static void gguf_text_bytes(struct buf *b, const void *p, size_t n)
{
    if (!buf_append(b, (struct str){p, n}, NULL)) {
        fprintf(stderr, "gguf_text: out of memory\n");
        abort();
    }
}

static void gguf_text_int(struct buf *b, uint64_t x, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) {
        uint8_t byte = (uint8_t)(x >> (8 * i));
        gguf_text_bytes(b, &byte, 1);
    }
}

static void gguf_text_fill(struct buf *b, char c, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        gguf_text_bytes(b, &c, 1);
    }
}

static void gguf_text_item(struct buf *b, struct str kind, struct str text)
{
    const char *number = text.p; /* ends at the space or NUL behind the item */
    if (str_eq(kind, STR("raw"))) {
        gguf_text_bytes(b, text.p, text.n);
    } else if (str_eq(kind, STR("s"))) {
        gguf_text_int(b, text.n, 8);
        gguf_text_bytes(b, text.p, text.n);
    } else if (str_eq(kind, STR("long"))) {
        uint64_t n = strtoull(number, NULL, 0);
        gguf_text_int(b, n, 8);
        gguf_text_fill(b, 'a', n);
    } else if (str_eq(kind, STR("zero"))) {
        gguf_text_fill(b, 0, strtoull(number, NULL, 0));
    } else if (str_eq(kind, STR("pad"))) {
        uint64_t n = strtoull(number, NULL, 0);
        gguf_text_fill(b, 0, (n - b->n % n) % n);
    } else if (str_eq(kind, STR("f4"))) {
        float f = strtof(number, NULL);
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        gguf_text_int(b, bits, 4);
    } else if (str_eq(kind, STR("f8"))) {
        double f = strtod(number, NULL);
        uint64_t bits;
        memcpy(&bits, &f, sizeof bits);
        gguf_text_int(b, bits, 8);
    } else if (kind.n == 1 && kind.p[0] >= '1' && kind.p[0] <= '8') {
        gguf_text_int(b, strtoull(number, NULL, 0), (size_t)(kind.p[0] - '0'));
    } else {
        fprintf(stderr, "gguf_text: unknown item '%.*s'\n", STR_ARG(kind));
        abort();
    }
}

/* Appends the bytes that text describes. */
static void gguf_text_append(struct buf *b, const char *text)
{
    while (*text != '\0') {
        size_t n = strcspn(text, " ");
        size_t colon = strcspn(text, ":");
        if (n > 0 && colon < n) {
            gguf_text_item(b, (struct str){text, colon},
                           (struct str){text + colon + 1, n - colon - 1});
        } else if (n > 0) {
            fprintf(stderr, "gguf_text: no colon in '%.*s'\n", (int)n, text);
            abort();
        }
        text += n + (text[n] == ' ');
    }
}

#endif
