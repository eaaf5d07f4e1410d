/* vocab.c - reads tokenizer.ggml.* of a GGUF file into a struct vocab. */
#include "token/vocab.h"

#include "base/mem.h"
#include "token/byte_level.h"
#include "token/vocab_roles.h"

#include <math.h>

enum { LLAMA3_FIRST_SPECIAL = 128000 };

static bool is_integer_type(enum gguf_value_type type)
{
    return type <= GGUF_I32 || type == GGUF_U64 || type == GGUF_I64;
}

static bool is_float_type(enum gguf_value_type type)
{
    return type == GGUF_F32 || type == GGUF_F64;
}

static bool check_array(const struct gguf_value *v, const char *key, bool type_fits,
                        const char *wanted, uint64_t n_items, struct error *e)
{
    if (v->type != GGUF_ARRAY || !type_fits) {
        return error_set(e, ERROR_FORMAT, "%s: %s%s, expected an array of %s", key,
                         v->type == GGUF_ARRAY ? "array of " : "",
                         gguf_value_type_name(v->type == GGUF_ARRAY ? v->array_type : v->type),
                         wanted);
    }
    if (n_items > 0 && v->n_items != n_items) {
        return error_set(e, ERROR_FORMAT, "%s: %llu items, but the vocabulary has %llu tokens", key,
                         (unsigned long long)v->n_items, (unsigned long long)n_items);
    }
    return true;
}

bool vocab_find_strings(const struct gguf *g, const char *key, const struct gguf_value **out,
                        struct error *e)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (v == NULL) {
        return error_set(e, ERROR_FORMAT, "%s: missing", key);
    }
    if (!check_array(v, key, v->array_type == GGUF_STRING, "strings", 0, e)) {
        return false;
    }
    *out = v;
    return true;
}

static bool read_model(struct vocab *v, const struct gguf *g, struct error *e)
{
    struct str model = {0};
    if (!gguf_get_str(g, "tokenizer.ggml.model", true, &model, e)) {
        return false;
    }
    if (str_eq(model, STR("gpt2"))) {
        v->info.model = TOKEN_MODEL_BPE;
    } else if (str_eq(model, STR("llama"))) {
        v->info.model = TOKEN_MODEL_SPM;
    } else {
        return error_set(e, ERROR_UNSUPPORTED,
                         "tokenizer.ggml.model: '%.*s' is not supported (gpt2 and llama are)",
                         STR_ARG(str_shown(model)));
    }
    return true;
}

static bool allocate(struct vocab *v, const struct gguf_value *tokens, struct error *e)
{
    size_t n = v->info.n_tokens;
    size_t n_bytes = 0;
    for (size_t i = 0; i < n; i++) {
        n_bytes += gguf_array_str(tokens, i).n; /* all in one mapped file: no overflow */
    }
    bool spm = v->info.model == TOKEN_MODEL_SPM;
    v->texts = mem_alloc(n, sizeof *v->texts, "token texts", e);
    v->pieces = v->texts ? mem_alloc(n, sizeof *v->pieces, "token pieces", e) : NULL;
    v->piece_bytes = v->pieces ? mem_alloc(n_bytes, 1, "token pieces", e) : NULL;
    v->kinds = v->piece_bytes ? mem_alloc(n, 1, "token kinds", e) : NULL;
    v->flags = v->kinds ? mem_alloc(n, 1, "token flags", e) : NULL;
    v->scores = v->flags && spm ? mem_alloc(n, sizeof *v->scores, "token scores", e) : NULL;
    return v->flags != NULL && (!spm || v->scores != NULL);
}

static bool read_texts(struct vocab *v, const struct gguf *g, struct error *e)
{
    const struct gguf_value *tokens = NULL;
    if (!vocab_find_strings(g, "tokenizer.ggml.tokens", &tokens, e)) {
        return false;
    }
    if (tokens->n_items == 0 || tokens->n_items >= TOKEN_NONE) {
        return error_set(e, ERROR_FORMAT, "tokenizer.ggml.tokens: %llu tokens, expected 1 to %u",
                         (unsigned long long)tokens->n_items, TOKEN_NONE - 1);
    }
    v->info.n_tokens = (uint32_t)tokens->n_items;
    if (!allocate(v, tokens, e) || !token_map_init(&v->by_text, v->texts, v->info.n_tokens, e)) {
        return false;
    }
    for (uint32_t id = 0; id < v->info.n_tokens; id++) {
        v->texts[id] = gguf_array_str(tokens, id);
        if (v->texts[id].n > 0) {
            token_map_add(&v->by_text, id);
        }
    }
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* <0xNN>; -1 for other texts. */
static int byte_token(struct str text)
{
    if (text.n != 6 || !str_starts_with(text, STR("<0x")) || text.p[5] != '>') {
        return -1;
    }
    int high = hex_digit(text.p[3]);
    int low = hex_digit(text.p[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static bool read_kinds(struct vocab *v, const struct gguf *g, bool *out_present, struct error *e)
{
    static const char key[] = "tokenizer.ggml.token_type";
    const struct gguf_value *a = gguf_find(g, key);
    *out_present = a != NULL;
    if (a != NULL &&
        !check_array(a, key, is_integer_type(a->array_type), "integers", v->info.n_tokens, e)) {
        return false;
    }
    for (uint32_t id = 0; id < v->info.n_tokens; id++) {
        bool is_byte = v->info.model == TOKEN_MODEL_SPM && byte_token(v->texts[id]) >= 0;
        int64_t kind = a != NULL ? gguf_array_int(a, id) : is_byte ? TOKEN_BYTE : TOKEN_NORMAL;
        if (kind < 0 || kind > TOKEN_BYTE) {
            return error_set(e, ERROR_FORMAT, "%s: token %u has type %lld, expected 1 to 6", key,
                             id, (long long)kind);
        }
        if (kind == TOKEN_BYTE && byte_token(v->texts[id]) < 0) {
            return error_set(e, ERROR_FORMAT,
                             "%s: token %u '%.*s' is of type byte, but is not spelled <0xNN>", key,
                             id, STR_ARG(str_shown(v->texts[id])));
        }
        v->kinds[id] = kind == 0 ? TOKEN_UNUSED : (uint8_t)kind;
    }
    return true;
}

static bool read_scores(struct vocab *v, const struct gguf *g, struct error *e)
{
    static const char key[] = "tokenizer.ggml.scores";
    if (v->scores == NULL) {
        return true;
    }
    const struct gguf_value *a = gguf_find(g, key);
    if (a == NULL) {
        return error_set(e, ERROR_FORMAT, "%s: missing", key);
    }
    if (!check_array(a, key, is_float_type(a->array_type), "floats", v->info.n_tokens, e)) {
        return false;
    }
    for (uint32_t id = 0; id < v->info.n_tokens; id++) {
        v->scores[id] = (float)gguf_array_float(a, id);
        if (isnan(v->scores[id])) {
            return error_set(e, ERROR_FORMAT, "%s: the score of token %u is not a number", key, id);
        }
    }
    return true;
}

/* Files made before tokenizer.ggml.pre existed: Llama 3 is known by where its specials begin. */
static bool looks_like_llama3(const struct vocab *v)
{
    return v->info.n_tokens > LLAMA3_FIRST_SPECIAL + 1 &&
           str_eq(v->texts[LLAMA3_FIRST_SPECIAL], STR("<|begin_of_text|>")) &&
           str_eq(v->texts[LLAMA3_FIRST_SPECIAL + 1], STR("<|end_of_text|>"));
}

static bool read_pre(struct vocab *v, const struct gguf *g, struct error *e)
{
    v->info.pre = "";
    if (v->info.model == TOKEN_MODEL_SPM) {
        return true;
    }
    struct str name = looks_like_llama3(v) ? STR("llama3") : STR("default");
    if (!gguf_get_str(g, "tokenizer.ggml.pre", false, &name, e)) {
        return false;
    }
    bool is_told = gguf_find(g, "tokenizer.ggml.pre") != NULL && name.n > 0;
    v->info.pre_is_guess = !is_told && !looks_like_llama3(v);
    if (name.n == 0 || (str_eq(name, STR("default")) && looks_like_llama3(v))) {
        name = looks_like_llama3(v) ? STR("llama3") : STR("default");
    }
    v->pre = pretoken_find(name);
    if (v->pre == NULL) {
        return error_set(
            e, ERROR_UNSUPPORTED,
            "tokenizer.ggml.pre: '%.*s' is not supported (llama3, smollm, gpt-2, default are)",
            STR_ARG(str_shown(name)));
    }
    v->info.pre = pretoken_name(v->pre->kind);
    return true;
}

/* What is added without being asked. A file that wants a token which it does not name is refused.
 */
static bool read_adds(struct vocab *v, const struct gguf *g, struct error *e)
{
    struct token_info *info = &v->info;
    bool spm = info->model == TOKEN_MODEL_SPM;
    info->add_bos = (spm || v->pre->add_bos) && info->bos != TOKEN_NONE;
    info->add_eos = false;
    info->add_space_prefix = spm;
    if (!gguf_get_bool(g, "tokenizer.ggml.add_bos_token", false, &info->add_bos, e) ||
        !gguf_get_bool(g, "tokenizer.ggml.add_eos_token", false, &info->add_eos, e) ||
        !gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", false, &info->add_space_prefix, e)) {
        return false;
    }
    info->add_space_prefix = info->add_space_prefix && spm;
    if (info->add_bos && info->bos == TOKEN_NONE) {
        return error_set(e, ERROR_FORMAT,
                         "tokenizer.ggml.add_bos_token is true, but there is no BOS token");
    }
    if (info->add_eos && info->eos == TOKEN_NONE) {
        return error_set(e, ERROR_FORMAT,
                         "tokenizer.ggml.add_eos_token is true, but there is no EOS token");
    }
    return true;
}

/* U+2581 stands for a space in SentencePiece vocabularies. */
static size_t unescape_spaces(struct str text, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n;) {
        bool escaped = str_starts_with(str_skip(text, i), STR("\xE2\x96\x81"));
        out[n++] = escaped ? ' ' : text.p[i];
        i += escaped ? 3 : 1;
    }
    return n;
}

/* Writes the bytes of one token to out; returns whether plain text may become it. */
static bool make_piece(const struct vocab *v, uint32_t id, char *out, size_t *out_n)
{
    struct str text = v->texts[id];
    enum token_kind kind = v->kinds[id];
    bool plain = kind == TOKEN_NORMAL || kind == TOKEN_USER_DEFINED || kind == TOKEN_UNUSED;
    int byte = kind == TOKEN_BYTE ? byte_token(text) : -1;
    if (byte >= 0) {
        out[0] = (char)byte;
        *out_n = 1;
        return false;
    }
    if (v->info.model == TOKEN_MODEL_SPM && kind != TOKEN_CONTROL) {
        *out_n = unescape_spaces(text, out);
        return plain && text.n > 0;
    }
    bool spelled_in_bytes = kind == TOKEN_NORMAL || kind == TOKEN_UNUSED;
    if (v->info.model == TOKEN_MODEL_BPE && spelled_in_bytes &&
        byte_level_decode(text, out, out_n)) {
        return text.n > 0;
    }
    if (text.n > 0) {
        memcpy(out, text.p, text.n);
    }
    *out_n = text.n;
    return false;
}

/* Normal tokens go first: of two with the same bytes the table keeps the one entered first. */
static bool make_pieces(struct vocab *v, struct error *e)
{
    if (!token_map_init(&v->by_bytes, v->pieces, v->info.n_tokens, e)) {
        return false;
    }
    char *out = v->piece_bytes;
    for (uint32_t id = 0; id < v->info.n_tokens; id++) {
        size_t n = 0;
        bool plain = make_piece(v, id, out, &n);
        v->pieces[id] = (struct str){out, n};
        out += n;
        v->flags[id] |= plain ? VOCAB_PLAIN : 0;
        if (plain && v->kinds[id] == TOKEN_NORMAL) {
            token_map_add(&v->by_bytes, id);
        }
    }
    for (uint32_t id = 0; id < v->info.n_tokens; id++) {
        if ((v->flags[id] & VOCAB_PLAIN) && v->kinds[id] != TOKEN_NORMAL) {
            token_map_add(&v->by_bytes, id);
        }
    }
    return true;
}

static void find_bytes(struct vocab *v)
{
    for (unsigned b = 0; b < 256; b++) {
        char c = (char)b;
        v->byte_ids[b] = token_map_find(&v->by_bytes, (struct str){&c, 1});
    }
    if (v->info.model == TOKEN_MODEL_SPM) {
        for (uint32_t id = v->info.n_tokens; id-- > 0;) {
            if (v->kinds[id] == TOKEN_BYTE) {
                v->byte_ids[(uint8_t)v->pieces[id].p[0]] = id;
            }
        }
    }
}

bool vocab_init(struct vocab *v, const struct gguf *g, struct error *e)
{
    *v = (struct vocab){0};
    bool has_kinds = false;
    if (!read_model(v, g, e) || !read_texts(v, g, e) || !read_kinds(v, g, &has_kinds, e) ||
        !read_scores(v, g, e) || !vocab_find_roles(v, g, has_kinds, e) || !read_pre(v, g, e) ||
        !read_adds(v, g, e) || !make_pieces(v, e)) {
        vocab_finish(v);
        return false;
    }
    find_bytes(v);
    return true;
}

void vocab_finish(struct vocab *v)
{
    mem_free(v->texts);
    mem_free(v->pieces);
    mem_free(v->piece_bytes);
    mem_free(v->kinds);
    mem_free(v->flags);
    mem_free(v->scores);
    token_map_finish(&v->by_text);
    token_map_finish(&v->by_bytes);
    *v = (struct vocab){0};
}
