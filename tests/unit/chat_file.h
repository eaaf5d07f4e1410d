/* chat_file.h - vocabularies with the special tokens of the templates written here, for tests. */
#ifndef TESTS_CHAT_FILE_H
#define TESTS_CHAT_FILE_H

#include "base/mem.h"
#include "chat/template.h"
#include "vocab_text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* --- vocabularies with the special tokens of the families */

static const char *const chatml_tokens[] = {"<|endoftext|>", "<|im_start|>",   "<|im_end|>",
                                            "<repo_name>",   "<file_sep>",     "<gh_stars>",
                                            "<issue_start>", "<empty_output>", NULL};
static const char *const llama3_tokens[] = {"<|begin_of_text|>",
                                            "<|end_of_text|>",
                                            "<|start_header_id|>",
                                            "<|end_header_id|>",
                                            "<|eot_id|>",
                                            "<|reserved_special_token_0|>",
                                            NULL};
static const char *const llama31_tokens[] = {"<|begin_of_text|>",
                                             "<|end_of_text|>",
                                             "<|start_header_id|>",
                                             "<|end_header_id|>",
                                             "<|eot_id|>",
                                             "<|eom_id|>",
                                             "<|python_tag|>",
                                             "<|finetune_right_pad_id|>",
                                             NULL};
static const char *const llama2_tokens[] = {"<s>", "</s>", NULL};
static const char *const no_tokens[] = {"<|endoftext|>", "<|end|>", NULL};

struct file {
    struct buf bytes;
    struct gguf *gguf;
    struct tokenizer *tokenizer;
};

/* jinja and name may be NULL: the file then lacks the key. Token 0 is BOS, token 1 is EOS. */
static inline void open_typed_file(struct file *f, bool spm, const char *const *specials,
                                   enum token_kind kind, const char *jinja, const char *name)
{
    struct vocab_text v;
    vocab_text_init(&v);
    for (size_t i = 0; specials[i] != NULL; i++) {
        vocab_text_add(&v, specials[i], strlen(specials[i]), kind);
    }
    static const char *const pieces[] = {"<|", "|>", "</", "s>", "<s"};
    struct buf merges;
    buf_init(&merges, 1 << 16);
    if (spm) {
        vocab_text_add(&v, "<unk>", 5, TOKEN_UNKNOWN);
        vocab_text_add_spm_bytes(&v);
        vocab_text_add(&v, "\xE2\x96\x81", 3, TOKEN_NORMAL);
        for (const char *c = "<>/s|"; *c != '\0'; c++) {
            vocab_text_add(&v, c, 1, TOKEN_NORMAL);
        }
    } else {
        vocab_text_add_bpe_bytes(&v);
    }
    for (size_t i = 0; i < 5; i++) {
        vocab_text_add(&v, pieces[i], 2, TOKEN_NORMAL);
        gguf_text_int(&merges, 3, 8);
        gguf_text_bytes(&merges, (char[]){pieces[i][0], ' ', pieces[i][1]}, 3);
    }
    buf_init(&f->bytes, 1 << 20);
    uint64_t n_keys = 9 + (jinja != NULL) + (name != NULL);
    gguf_text_append(&f->bytes, "raw:GGUF 4:3 8:0");
    gguf_text_int(&f->bytes, n_keys, 8);
    vocab_text_string(&f->bytes, "general.architecture", "llama");
    vocab_text_string(&f->bytes, "tokenizer.ggml.model", spm ? "llama" : "gpt2");
    vocab_text_string(&f->bytes, "tokenizer.ggml.pre", spm ? "default" : "gpt-2");
    vocab_text_array(&f->bytes, "tokenizer.ggml.tokens", 8, v.n, &v.tokens);
    vocab_text_array(&f->bytes, "tokenizer.ggml.token_type", 5, v.n, &v.types);
    if (spm) {
        vocab_text_array(&f->bytes, "tokenizer.ggml.scores", 6, v.n, &v.scores);
    } else {
        vocab_text_array(&f->bytes, "tokenizer.ggml.merges", 8, 5, &merges);
    }
    gguf_text_append(&f->bytes, GGUF_TEXT_U32("tokenizer.ggml.bos_token_id", 0));
    gguf_text_append(&f->bytes, GGUF_TEXT_U32("tokenizer.ggml.eos_token_id", 1));
    gguf_text_append(&f->bytes, "s:tokenizer.ggml.add_space_prefix 4:7 1:0");
    if (jinja != NULL) {
        vocab_text_string(&f->bytes, "tokenizer.chat_template", jinja);
    }
    if (name != NULL) {
        vocab_text_string(&f->bytes, "general.name", name);
    }
    struct error e = {0};
    f->gguf = gguf_parse((const uint8_t *)f->bytes.data, f->bytes.n, &e);
    f->tokenizer = f->gguf != NULL ? tokenizer_create(f->gguf, &e) : NULL;
    if (f->tokenizer == NULL) {
        fail_msg("%s", e.text);
    }
    buf_finish(&merges);
    buf_finish(&v.tokens);
    buf_finish(&v.types);
    buf_finish(&v.scores);
}

static inline void open_file(struct file *f, bool spm, const char *const *specials,
                             const char *jinja, const char *name)
{
    open_typed_file(f, spm, specials, TOKEN_CONTROL, jinja, name);
}

static inline void close_file(struct file *f)
{
    tokenizer_destroy(f->tokenizer);
    gguf_destroy(f->gguf);
    buf_finish(&f->bytes);
}

/* The templates written here. */
static const struct family {
    const char *name;
    const char *const *tokens;
    bool spm, tools;  /* the latter: a conversation may have answers of tools */
    size_t n_written; /* tokens that it writes: beginning of the text, and all marks of turns */
} families[] = {
    {"chatml", chatml_tokens, false, true, 2},    {"llama2", llama2_tokens, true, false, 2},
    {"llama3", llama3_tokens, false, true, 4},    {"llama3.1", llama31_tokens, false, true, 4},
    {"llama3.2", llama31_tokens, false, true, 4}, {"llama3.3", llama31_tokens, false, true, 4},
};
enum { N_FAMILIES = sizeof families / sizeof families[0] };

/* name: of a template written here, or NULL. */
static inline void open_template(struct chat_template *t, const struct file *f, const char *name)
{
    struct error e = {0};
    if (!chat_template_init(t, f->gguf, f->tokenizer, &(struct chat_choice){.name = name}, &e)) {
        fail_msg("%s", e.text);
    }
}

static inline bool render(const struct chat_template *t, const struct chat_message *messages,
                          size_t n, bool prompt, struct token_list *ids, struct error *e)
{
    struct chat_input input = {.messages = messages, .n = n, .add_generation_prompt = prompt};
    return chat_template_render(t, &input, ids, e);
}

static inline const struct chat_message *user_says(const char *text)
{
    static struct chat_message m;
    m = (struct chat_message){.role = CHAT_USER, .content = str_from(text)};
    return &m;
}

#define SMOLLM_JINJA                                                                               \
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ "      \
    "'<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "        \
    "Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + "                  \
    "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{{ '<|im_start|>assistant\n' if "       \
    "add_generation_prompt }}"

#endif
