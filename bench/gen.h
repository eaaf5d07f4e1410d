/* gen.h - what the files of gen_gguf share: a writer of GGUF models with random weights.
 *
 * gen_gguf.c parses options and writes the file; gen_shape.c knows the shapes of the Llama family
 * and which tensors and types a model has; gen_vocab.c writes the vocabulary; gen_blocks.c makes
 * random blocks. */
#ifndef BENCH_GEN_H
#define BENCH_GEN_H

#include "base/buf.h"
#include "base/error.h"
#include "base/rng.h"
#include "quant/quant.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- gen_shape.c */

/* A model: sizes as in GGUF metadata. */
struct gen_shape {
    const char *name;
    uint32_t layers, embd, heads, kv_heads;
    uint32_t key_length, value_length; /* of one head */
    uint32_t ff, vocab, ctx;
    uint32_t rope_dim; /* 0: key_length */
    float rope_base;
    float rope_factor;        /* of rope_freqs or of rope_scaling; 0: none */
    uint32_t rope_original;   /* context before scaling */
    bool rope_freqs;          /* llama3 scaling, as a tensor */
    const char *rope_scaling; /* "linear", "yarn" or NULL, as metadata */
    bool tied, bias, mlp_bias;
};

/* A preset by name ("8b"); NULL when there is none. *out_names lists all, for the error text. */
const struct gen_shape *gen_shape_find(const char *name, const char **out_names);

/* ERROR_USAGE naming what does not fit together. */
bool gen_shape_check(const struct gen_shape *s, struct error *e);

static inline uint32_t gen_shape_rope_dim(const struct gen_shape *s)
{
    return s->rope_dim != 0 ? s->rope_dim : s->key_length;
}

/* How types are given to tensors: one for all matrices, or a mix as llama.cpp's quantiser makes. */
struct gen_recipe {
    enum quant_type base;
    bool mix; /* Q4_K_M or Q5_K_M: more bits for some attn_v and ffn_down, Q6_K for the head */
    uint32_t file_type; /* general.file_type */
};
bool gen_recipe_parse(const char *name, struct gen_recipe *out, struct error *e);

enum gen_values {
    GEN_RANDOM,    /* mean 0, root mean square `spread` */
    GEN_NORM,      /* mean 1, deviation `spread` */
    GEN_ROPE_FREQS /* divisors of the rotary frequencies, llama3 scaling */
};

struct gen_tensor {
    char name[64];
    enum quant_type type;
    uint32_t n_dims;
    uint64_t dims[2]; /* dims[0] is a row's length; dims[1] is 1 for vectors */
    enum gen_values values;
    float spread;
};

/* Tensor `index` of the model in file order; false when index is past the last. */
bool gen_tensor_at(const struct gen_shape *s, const struct gen_recipe *r, uint32_t index,
                   struct gen_tensor *out);

uint64_t gen_tensor_bytes(const struct gen_tensor *t);

/* dst (rope_dim / 2): what rope_freqs.weight holds. source  Llama 3.1's RoPE scaling */
void gen_rope_freqs(const struct gen_shape *s, float *dst);

/* --- gen_blocks.c */

/* A stream of random blocks of one type, every value finite. */
struct gen_blocks {
    enum quant_type type;
    struct rng rng;
    float scale;      /* of a block's f16 scale; the largest value of a dense type */
    uint16_t *halves; /* F16, BF16: (65536) the value of each random half; else NULL */
};

enum { GEN_BLOCKS_SLACK = 8 };

/* Values will have mean about 0 and root mean square `spread`. The same seed gives the same bytes
 * on every machine. */
bool gen_blocks_init(struct gen_blocks *g, enum quant_type type, float spread, uint64_t seed,
                     struct error *e);
void gen_blocks_finish(struct gen_blocks *g);

/* Fills dst with the stream's next n_blocks blocks. dst has room for GEN_BLOCKS_SLACK more bytes.
 */
void gen_blocks_fill(struct gen_blocks *g, uint8_t *dst, size_t n_blocks);

/* --- gen_vocab.c */

enum { GEN_VOCAB_MIN = 384, GEN_VOCAB_MAX = 500000 };

/* Metadata being written: the bytes of the key-value pairs, and how many there are. */
struct gen_keys {
    struct buf bytes;
    uint64_t n;
};

/* One little-endian number; a string with its length before it. */
bool gen_put(struct buf *out, uint64_t value, size_t n_bytes, struct error *e);
bool gen_put_str(struct buf *out, const char *text, struct error *e);

/* One key with its value. */
bool gen_key_u32(struct gen_keys *k, const char *key, uint32_t value, struct error *e);
bool gen_key_f32(struct gen_keys *k, const char *key, float value, struct error *e);
bool gen_key_bool(struct gen_keys *k, const char *key, bool value, struct error *e);
bool gen_key_str(struct gen_keys *k, const char *key, const char *value, struct error *e);

/* Appends tokenizer.*: a byte-level BPE vocabulary of n_tokens (between the limits above): 256
 * bytes, a few merged words, filler words, and CONTROL tokens last with Llama 3's names in its
 * order (256 of them, or 16 when the vocabulary has fewer than 4096 tokens). */
bool gen_vocab_write(struct gen_keys *k, uint32_t n_tokens, struct error *e);

#endif
