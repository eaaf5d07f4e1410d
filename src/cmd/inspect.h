/* inspect.h - what `puna inspect` gathers about a model file, and the two ways of printing it. */
#ifndef CMD_INSPECT_H
#define CMD_INSPECT_H

#include "chat/template.h"
#include "format/gguf.h"
#include "model/kv.h"
#include "quant/quant.h"
#include "token/token.h"

/* Tensors of one type together. */
struct inspect_type_sum {
    uint64_t n_tensors;
    uint64_t n_items;
    uint64_t n_bytes;
};

/* What a context of n_ctx tokens needs. Not known when a number is missing, then why says which. */
struct inspect_memory {
    bool is_known;
    struct error why;
    uint32_t n_ctx;
    uint32_t n_layers;
    uint64_t n_kv_heads; /* of all layers together */
    uint32_t key_length;
    uint32_t value_length;
    uint64_t weight_bytes; /* of all tensors: packing keeps their size */
    uint64_t tied_bytes;  /* of an embedding that is the output too: that is a packed copy, rows are
                              still looked up in the file's pages. 0 when there is an output */
    enum kern_kv kv_type; /* as asked for */
    uint64_t n_kv_tokens; /* n_ctx, to whole pages */
    uint64_t kv_bytes;    /* n_kv_tokens * n_kv_heads * kv_row_bytes() */
    uint64_t total_bytes;
};

struct inspect_report {
    const char *path;
    const struct gguf *g;
    bool all_items; /* print arrays in full */
    struct inspect_type_sum types[QUANT_TYPE_COUNT];
    uint64_t tensor_bytes;
    struct inspect_memory memory;
    const struct tokenizer *tokenizer; /* NULL when the file has none or it cannot be used */
    struct error tokenizer_why;        /* set in the second case */
    struct chat_template chat;         /* with has_chat: how a chat is written */
    struct error chat_why;             /* why it is not, where there is a tokenizer */
    bool has_chat;
};

/* The special tokens that a file may name: ids by role, TOKEN_NONE where it names none. */
enum { INSPECT_N_ROLES = 6 };
struct inspect_role {
    const char *name;
    uint32_t id;
};
void inspect_roles(const struct token_info *info, struct inspect_role out[INSPECT_N_ROLES]);

/* What a chat template may be seen to write. */
enum { INSPECT_N_SUPPORTED = 7 };
struct inspect_supported {
    const char *key, *text; /* for JSON, for people */
    const char *otherwise;  /* what is done where it is not so */
    bool is_so;
};
void inspect_support(const struct chat_template *t,
                     struct inspect_supported out[INSPECT_N_SUPPORTED]);

/* Both print on stdout; nothing from the file reaches the terminal as a control character. */
void inspect_print_text(const struct inspect_report *r);
/* One document, written while it is walked: memory does not grow with the arrays. */
void inspect_print_json(const struct inspect_report *r);

#endif
