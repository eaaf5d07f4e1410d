/* vocab_file.h - vocabulary-only GGUF files from a C struct, for tests. */
#ifndef TESTS_VOCAB_FILE_H
#define TESTS_VOCAB_FILE_H

#include "gguf_text.h"

#include "format/gguf.h"
#include "token/token.h"

/* Lists are separated by ',' in `tokens` and `merges`; "" is one empty item, NULL leaves the key
 * out. kinds and scores have one character a token: a digit 0 to 9, and for scores minus that. */
struct vocab_spec {
    const char *model, *pre, *tokens, *merges, *kinds, *scores;
    const char *u32_key; /* one more key, tokenizer.ggml.KEY */
    uint32_t u32;
    const char *bool_key;
    bool boolean;
    const char *raw; /* keys as gguf_text.h writes them, n_raw of them */
    uint64_t n_raw;
};

struct vocab_file {
    struct buf bytes;
    struct gguf *gguf;
    uint64_t n_keys;
};

static void vocab_file_name(struct vocab_file *f, const char *name, int type)
{
    char key[128];
    snprintf(key, sizeof key, "tokenizer.ggml.%s", name);
    gguf_text_int(&f->bytes, strlen(key), 8);
    gguf_text_bytes(&f->bytes, key, strlen(key));
    gguf_text_int(&f->bytes, (uint64_t)type, 4);
    f->n_keys++;
}

static void vocab_file_str(struct vocab_file *f, const char *name, const char *value)
{
    if (value != NULL) {
        vocab_file_name(f, name, GGUF_STRING);
        gguf_text_int(&f->bytes, strlen(value), 8);
        gguf_text_bytes(&f->bytes, value, strlen(value));
    }
}

static void vocab_file_strings(struct vocab_file *f, const char *name, const char *list)
{
    if (list == NULL) {
        return;
    }
    vocab_file_name(f, name, GGUF_ARRAY);
    uint64_t n = 1;
    for (const char *p = list; *p != '\0'; p++) {
        n += *p == ',';
    }
    gguf_text_int(&f->bytes, GGUF_STRING, 4);
    gguf_text_int(&f->bytes, n, 8);
    for (uint64_t i = 0; i < n; i++) {
        size_t length = strcspn(list, ",");
        gguf_text_int(&f->bytes, length, 8);
        gguf_text_bytes(&f->bytes, list, length);
        list += length + 1;
    }
}

static void vocab_file_numbers(struct vocab_file *f, const char *name, const char *digits,
                               int item_type)
{
    if (digits == NULL) {
        return;
    }
    vocab_file_name(f, name, GGUF_ARRAY);
    gguf_text_int(&f->bytes, (uint64_t)item_type, 4);
    gguf_text_int(&f->bytes, strlen(digits), 8);
    for (; *digits != '\0'; digits++) {
        float score = *digits == 'n' ? __builtin_nanf("") : (float)('0' - *digits);
        uint32_t bits = (uint32_t)(*digits - '0');
        if (item_type == GGUF_F32) {
            memcpy(&bits, &score, sizeof bits);
        }
        gguf_text_int(&f->bytes, bits, 4);
    }
}

/* f->gguf is NULL if the reader refuses the file. */
static void vocab_file_open(struct vocab_file *f, const struct vocab_spec *s)
{
    *f = (struct vocab_file){0};
    buf_init(&f->bytes, 64 << 20);
    gguf_text_append(&f->bytes, GGUF_TEXT_HEAD(0, 0));
    vocab_file_str(f, "model", s->model);
    vocab_file_str(f, "pre", s->pre);
    vocab_file_strings(f, "tokens", s->tokens);
    vocab_file_numbers(f, "token_type", s->kinds, GGUF_I32);
    vocab_file_numbers(f, "scores", s->scores, GGUF_F32);
    vocab_file_strings(f, "merges", s->merges);
    if (s->u32_key != NULL) {
        vocab_file_name(f, s->u32_key, GGUF_U32);
        gguf_text_int(&f->bytes, s->u32, 4);
    }
    if (s->bool_key != NULL) {
        vocab_file_name(f, s->bool_key, GGUF_BOOL);
        gguf_text_int(&f->bytes, s->boolean, 1);
    }
    if (s->raw != NULL) {
        gguf_text_append(&f->bytes, s->raw);
        f->n_keys += s->n_raw;
    }
    memcpy(f->bytes.data + 16, &f->n_keys, sizeof f->n_keys);
    f->gguf = gguf_parse((const uint8_t *)f->bytes.data, f->bytes.n, NULL);
}

static void vocab_file_close(struct vocab_file *f)
{
    gguf_destroy(f->gguf);
    buf_finish(&f->bytes);
}

#endif
