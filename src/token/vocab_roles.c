/* vocab_roles.c - special ids from the file's keys, or from the names that model families use. */
#include "token/vocab_roles.h"

/* Names of tokens that end a turn. Only </s> and the bracketed ones could be ordinary text of a
 * vocabulary, so those count only when the file says that they are more than text. */
static const struct {
    const char *name;
    bool surely_a_mark;
} end_names[] = {
    {"<|eot_id|>", true},
    {"<|eom_id|>", true},
    {"<|im_end|>", true},
    {"<|end_of_text|>", true},
    {"<|endoftext|>", true},
    {"<|end|>", true},
    {"<\xEF\xBD\x9C"
     "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
     true},
    {"<end_of_turn>", true},
    {"<end_of_utterance>", true},
    {"</s>", false},
    {"<eos>", false},
    {"<EOT>", false},
    {"\xE2\x96\x81<EOT>", false},
    {"[EOT]", false},
    {"[EOS]", false},
};

/* Control tokens that the built-in chat templates write besides those above. */
static const char *const template_names[] = {
    "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|python_tag|>",    "<|im_start|>",
};

/* <|...|> */
static bool is_bar_mark(struct str text)
{
    return text.n > 4 && str_starts_with(text, STR("<|")) &&
           str_starts_with(str_skip(text, text.n - 2), STR("|>"));
}

/* <...> or [...] */
static bool is_mark(struct str text)
{
    return text.n > 2 && ((text.p[0] == '<' && text.p[text.n - 1] == '>') ||
                          (text.p[0] == '[' && text.p[text.n - 1] == ']'));
}

static bool read_id(const struct vocab *v, const struct gguf *g, const char *key, uint32_t *id,
                    struct error *e)
{
    uint32_t value = *id;
    if (!gguf_get_u32(g, key, false, &value, e)) {
        return false;
    }
    if (value >= v->info.n_tokens && value != TOKEN_NONE) {
        return error_set(e, ERROR_FORMAT, "%s: token id %u, but the vocabulary has %u tokens", key,
                         value, v->info.n_tokens);
    }
    *id = value;
    return true;
}

/* A padding id one past the vocabulary is common, and padding is not used: none then. */
static bool read_pad(struct vocab *v, const struct gguf *g, struct error *e)
{
    uint32_t id = TOKEN_NONE;
    if (!gguf_get_u32(g, "tokenizer.ggml.padding_token_id", false, &id, e)) {
        return false;
    }
    v->info.pad = id < v->info.n_tokens ? id : TOKEN_NONE;
    return true;
}

static bool read_ids(struct vocab *v, const struct gguf *g, struct error *e)
{
    struct token_info *info = &v->info;
    info->bos = info->eos = info->eot = info->eom = info->unknown = TOKEN_NONE;
    if (info->model == TOKEN_MODEL_SPM) { /* where SentencePiece puts them unless told otherwise */
        info->unknown = 0;
        info->bos = info->n_tokens > 1 ? 1 : TOKEN_NONE;
        info->eos = info->n_tokens > 2 ? 2 : TOKEN_NONE;
    }
    return read_id(v, g, "tokenizer.ggml.bos_token_id", &info->bos, e) &&
           read_id(v, g, "tokenizer.ggml.eos_token_id", &info->eos, e) &&
           read_id(v, g, "tokenizer.ggml.eot_token_id", &info->eot, e) &&
           read_id(v, g, "tokenizer.ggml.eom_token_id", &info->eom, e) &&
           read_id(v, g, "tokenizer.ggml.unknown_token_id", &info->unknown, e) && read_pad(v, g, e);
}

static uint32_t first_found(const struct vocab *v, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t id = token_map_find(&v->by_text, str_from(names[i]));
        if (id != TOKEN_NONE) {
            return id;
        }
    }
    return TOKEN_NONE;
}

static void find_by_name(struct vocab *v)
{
    static const char *const bos[] = {"<|begin_of_text|>"};
    static const char *const eos[] = {"<|end_of_text|>"};
    static const char *const eot[] = {"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>"};
    static const char *const eom[] = {"<|eom_id|>"};
    struct token_info *info = &v->info;
    info->bos = info->bos == TOKEN_NONE ? first_found(v, bos, 1) : info->bos;
    info->eos = info->eos == TOKEN_NONE ? first_found(v, eos, 1) : info->eos;
    info->eot = info->eot == TOKEN_NONE ? first_found(v, eot, 4) : info->eot;
    info->eom = info->eom == TOKEN_NONE ? first_found(v, eom, 1) : info->eom;
}

static void make_control(struct vocab *v, uint32_t id)
{
    if (id != TOKEN_NONE && v->kinds[id] != TOKEN_UNKNOWN && v->kinds[id] != TOKEN_BYTE) {
        v->kinds[id] = TOKEN_CONTROL;
    }
}

/* USER_DEFINED tokens are matched in any text as they are spelled, so one that a chat template
 * writes, or that begins or ends a text, must not stay such. */
static void make_control_of_user_defined(struct vocab *v, uint32_t id)
{
    if (id != TOKEN_NONE && v->kinds[id] == TOKEN_USER_DEFINED) {
        v->kinds[id] = TOKEN_CONTROL;
    }
}

static void mark_roles(struct vocab *v)
{
    const uint32_t roles[] = {v->info.bos, v->info.eos, v->info.eot, v->info.eom};
    for (size_t i = 0; i < 4; i++) {
        make_control_of_user_defined(v, roles[i]);
        if (roles[i] != TOKEN_NONE && is_mark(v->texts[roles[i]])) {
            make_control(v, roles[i]);
        }
    }
    for (size_t i = 0; i < sizeof template_names / sizeof template_names[0]; i++) {
        make_control_of_user_defined(v, token_map_find(&v->by_text, str_from(template_names[i])));
    }
}

static void mark_ends(struct vocab *v)
{
    const uint32_t ids[] = {v->info.eos, v->info.eot, v->info.eom};
    for (size_t i = 0; i < 3; i++) {
        if (ids[i] != TOKEN_NONE) {
            v->flags[ids[i]] |= VOCAB_END;
        }
    }
    for (size_t i = 0; i < sizeof end_names / sizeof end_names[0]; i++) {
        uint32_t id = token_map_find(&v->by_text, str_from(end_names[i].name));
        if (id == TOKEN_NONE) {
            continue;
        }
        bool typed = v->kinds[id] == TOKEN_CONTROL || v->kinds[id] == TOKEN_USER_DEFINED;
        if (typed || end_names[i].surely_a_mark) {
            v->flags[id] |= VOCAB_END;
            make_control(v, id);
        }
    }
}

bool vocab_find_roles(struct vocab *v, const struct gguf *g, bool has_kinds, struct error *e)
{
    if (!read_ids(v, g, e)) {
        return false;
    }
    find_by_name(v);
    if (!has_kinds) {
        for (uint32_t id = 0; id < v->info.n_tokens; id++) {
            if (is_bar_mark(v->texts[id])) {
                make_control(v, id);
            }
        }
    }
    mark_roles(v);
    mark_ends(v);
    return true;
}
