/* model_file.h - small `llama` models as GGUF bytes, for tests: one good model, and changes to it.
 * Values are deterministic; norms are 1. */
#ifndef TESTS_MODEL_FILE_H
#define TESTS_MODEL_FILE_H

#include "gguf_text.h"

#include "format/gguf.h"
#include "quant/quant.h"

enum {
    MODEL_FILE_EMBD = 32,
    MODEL_FILE_FF = 48,
    MODEL_FILE_VOCAB = 20,
    MODEL_FILE_CTX = 128,
    MODEL_FILE_MAX_TENSORS = 32
};

/* cols is the length of a row; rows 0 makes a vector. */
struct model_file_tensor {
    const char *name;
    uint64_t cols, rows;
    uint32_t type; /* enum quant_type */
};

/* Two heads of 16 that share keys and values, one layer. */
static const struct model_file_tensor model_file_tensors[] = {
    {"token_embd.weight", MODEL_FILE_EMBD, MODEL_FILE_VOCAB, QUANT_F32},
    {"output_norm.weight", MODEL_FILE_EMBD, 0, QUANT_F32},
    {"output.weight", MODEL_FILE_EMBD, MODEL_FILE_VOCAB, QUANT_F32},
    {"blk.0.attn_norm.weight", MODEL_FILE_EMBD, 0, QUANT_F32},
    {"blk.0.ffn_norm.weight", MODEL_FILE_EMBD, 0, QUANT_F32},
    {"blk.0.attn_q.weight", MODEL_FILE_EMBD, 32, QUANT_F32},
    {"blk.0.attn_k.weight", MODEL_FILE_EMBD, 16, QUANT_F32},
    {"blk.0.attn_v.weight", MODEL_FILE_EMBD, 16, QUANT_F32},
    {"blk.0.attn_output.weight", 32, MODEL_FILE_EMBD, QUANT_F32},
    {"blk.0.ffn_gate.weight", MODEL_FILE_EMBD, MODEL_FILE_FF, QUANT_F32},
    {"blk.0.ffn_up.weight", MODEL_FILE_EMBD, MODEL_FILE_FF, QUANT_F32},
    {"blk.0.ffn_down.weight", MODEL_FILE_FF, MODEL_FILE_EMBD, QUANT_F32},
};
enum { MODEL_FILE_TENSORS = sizeof model_file_tensors / sizeof model_file_tensors[0] };

/* Keys as gguf_text.h writes them. */
static const struct {
    const char *name, *text;
} model_file_keys[] = {
    {"general.architecture", " s:general.architecture 4:8 s:llama"},
    {"llama.block_count", " s:llama.block_count 4:4 4:1"},
    {"llama.embedding_length", " s:llama.embedding_length 4:4 4:32"},
    {"llama.context_length", " s:llama.context_length 4:4 4:128"},
    {"llama.feed_forward_length", " s:llama.feed_forward_length 4:4 4:48"},
    {"llama.attention.head_count", " s:llama.attention.head_count 4:4 4:2"},
    {"llama.attention.layer_norm_rms_epsilon",
     " s:llama.attention.layer_norm_rms_epsilon 4:6 f4:1e-5"},
    {"llama.attention.head_count_kv", " s:llama.attention.head_count_kv 4:4 4:1"},
};
enum { MODEL_FILE_KEYS = sizeof model_file_keys / sizeof model_file_keys[0] };

/* What differs from the good model. All fields may be zero. */
struct model_spec {
    const char *without; /* a key or a tensor that is left out */
    const char *keys;    /* more keys, as gguf_text.h writes them, n_keys of them */
    uint64_t n_keys;
    struct model_file_tensor tensor; /* one more, or another for the one of its name */
    const char *poked;               /* an F32 tensor whose item poked_at is poked_value */
    uint64_t poked_at;
    float poked_value;
    uint32_t seed; /* other values */
};

struct model_file {
    struct buf bytes;
    uint8_t *aligned; /* the bytes, where a mapped file would have them */
    struct gguf *gguf;
};

static bool model_file_is(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

/* The tensors of the file in order; returns how many. */
static size_t model_file_list(const struct model_spec *s, struct model_file_tensor *out)
{
    size_t n = 0;
    bool replaced = s->tensor.name == NULL;
    for (size_t i = 0; i < MODEL_FILE_TENSORS; i++) {
        bool same = model_file_is(s->tensor.name, model_file_tensors[i].name);
        replaced = replaced || same;
        if (!model_file_is(s->without, model_file_tensors[i].name)) {
            out[n++] = same ? s->tensor : model_file_tensors[i];
        }
    }
    if (!replaced) {
        out[n++] = s->tensor;
    }
    return n;
}

static uint64_t model_file_items(const struct model_file_tensor *t)
{
    return t->cols * (t->rows > 0 ? t->rows : 1);
}

/* Blocks of any type but F32 hold the same byte, which is a small number in all of them. */
static void model_file_data(struct buf *b, const struct model_spec *s,
                            const struct model_file_tensor *t, uint32_t seed)
{
    const struct quant_info *info = quant_type_info(t->type);
    uint64_t n = model_file_items(t);
    if (t->type != QUANT_F32) {
        gguf_text_fill(b, 0x11, n / info->block_items * info->block_bytes);
        return;
    }
    for (uint64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        float value = t->rows == 0 ? 1.0f : (float)(int32_t)seed * 0x1p-32f;
        value = model_file_is(s->poked, t->name) && s->poked_at == i ? s->poked_value : value;
        gguf_text_bytes(b, &value, sizeof value);
    }
}

static void model_file_pad(struct buf *b)
{
    gguf_text_fill(b, 0, (32 - b->n % 32) % 32);
}

static void model_file_write(struct buf *b, const struct model_spec *s)
{
    struct model_file_tensor tensors[MODEL_FILE_MAX_TENSORS];
    size_t n = model_file_list(s, tensors);
    uint64_t n_keys = s->n_keys;
    for (size_t i = 0; i < MODEL_FILE_KEYS; i++) {
        n_keys += !model_file_is(s->without, model_file_keys[i].name);
    }
    gguf_text_append(b, "raw:GGUF 4:3");
    gguf_text_int(b, n, 8);
    gguf_text_int(b, n_keys, 8);
    for (size_t i = 0; i < MODEL_FILE_KEYS; i++) {
        if (!model_file_is(s->without, model_file_keys[i].name)) {
            gguf_text_append(b, model_file_keys[i].text);
        }
    }
    gguf_text_append(b, s->keys != NULL ? s->keys : "");
    uint64_t offset = 0;
    for (size_t i = 0; i < n; i++) {
        const struct model_file_tensor *t = &tensors[i];
        const struct quant_info *info = quant_type_info(t->type);
        gguf_text_int(b, strlen(t->name), 8);
        gguf_text_bytes(b, t->name, strlen(t->name));
        gguf_text_int(b, t->rows > 0 ? 2 : 1, 4);
        gguf_text_int(b, t->cols, 8);
        if (t->rows > 0) {
            gguf_text_int(b, t->rows, 8);
        }
        gguf_text_int(b, t->type, 4);
        gguf_text_int(b, offset, 8);
        uint64_t n_bytes = model_file_items(t) / info->block_items * info->block_bytes;
        offset += (n_bytes + 31) / 32 * 32;
    }
    model_file_pad(b);
    for (size_t i = 0; i < n; i++) {
        model_file_data(b, s, &tensors[i], s->seed + (uint32_t)i + 1);
        model_file_pad(b);
    }
}

/* f->gguf is NULL, with the error in *e, when the reader refuses the file. */
static inline void model_file_open(struct model_file *f, const struct model_spec *s,
                                   struct error *e)
{
    *f = (struct model_file){0};
    buf_init(&f->bytes, 1 << 20);
    model_file_write(&f->bytes, s);
    size_t n = (f->bytes.n + 63) / 64 * 64;
    f->aligned = aligned_alloc(64, n);
    if (f->aligned == NULL) {
        abort();
    }
    memcpy(f->aligned, f->bytes.data, f->bytes.n);
    f->gguf = gguf_parse(f->aligned, f->bytes.n, e);
}

static inline void model_file_close(struct model_file *f)
{
    gguf_destroy(f->gguf);
    free(f->aligned);
    buf_finish(&f->bytes);
}

#endif
