/* chat_choice.c - which built-in family a model file asks for. docs/CHAT.md lists these rules. */
#include "chat/template_internal.h"

static size_t find(struct str s, struct str what)
{
    const char *at = s.n > 0 ? memmem(s.p, s.n, what.p, what.n) : NULL;
    return at != NULL ? (size_t)(at - s.p) : SIZE_MAX;
}

static bool contains(struct str s, struct str what)
{
    return find(s, what) != SIZE_MAX;
}

static bool contains_nocase(struct str s, const char *lower)
{
    size_t n = strlen(lower);
    for (size_t i = 0; i + n <= s.n; i++) {
        size_t k = 0;
        while (k < n &&
               (s.p[i + k] | (s.p[i + k] >= 'A' && s.p[i + k] <= 'Z' ? 0x20 : 0)) == lower[k]) {
            k++;
        }
        if (k == n) {
            return true;
        }
    }
    return false;
}

/* 3.1, 3.2 and 3.3 are written alike; the name says which one it is. */
static enum chat_family llama31_by_name(struct str name)
{
    if (contains(name, STR("3.3"))) {
        return CHAT_LLAMA33;
    }
    return contains(name, STR("3.2")) ? CHAT_LLAMA32 : CHAT_LLAMA31;
}

static bool choose_by_template(struct str jinja, struct str name, enum chat_family *out)
{
    if (contains(jinja, STR("<|im_start|>"))) {
        *out = CHAT_CHATML;
    } else if (contains(jinja, STR("<|start_header_id|>"))) {
        *out = contains(jinja, STR("Cutting Knowledge Date")) ? llama31_by_name(name) : CHAT_LLAMA3;
    } else if (contains(jinja, STR("[INST]")) && contains(jinja, STR("<<SYS>>"))) {
        *out = CHAT_LLAMA2;
    } else {
        return false;
    }
    return true;
}

static bool has_token(const struct tokenizer *t, const char *text)
{
    return tokenizer_find(t, str_from(text)) != TOKEN_NONE;
}

/* Llama 3 keeps <|eom_id|> among its reserved tokens; 3.1 gave it its name. */
static bool choose_by_tokens(const struct tokenizer *t, struct str name, enum chat_family *out)
{
    if (has_token(t, "<|im_start|>") && has_token(t, "<|im_end|>")) {
        *out = CHAT_CHATML;
    } else if (has_token(t, "<|start_header_id|>") && has_token(t, "<|eot_id|>")) {
        *out = has_token(t, "<|eom_id|>") ? llama31_by_name(name) : CHAT_LLAMA3;
    } else if (tokenizer_info(t)->model == TOKEN_MODEL_SPM && contains_nocase(name, "chat") &&
               (contains_nocase(name, "llama-2") || contains_nocase(name, "llama 2") ||
                contains_nocase(name, "llama2") || contains_nocase(name, "llama v2"))) {
        *out = CHAT_LLAMA2;
    } else {
        return false;
    }
    return true;
}

bool chat_choose_family(const struct gguf *g, const struct tokenizer *t, enum chat_family *out,
                        struct error *e)
{
    struct str jinja = {NULL, 0}, name = {NULL, 0};
    if (!gguf_get_str(g, "tokenizer.chat_template", false, &jinja, e) ||
        !gguf_get_str(g, "general.name", false, &name, e)) {
        return false;
    }
    if (jinja.n > 0 ? choose_by_template(jinja, name, out) : choose_by_tokens(t, name, out)) {
        return true;
    }
    return error_set(
        e, ERROR_UNSUPPORTED,
        "%s: name one with --chat-template (chatml, llama2, llama3, llama3.1, llama3.2, "
        "llama3.3) or continue plain text with --raw",
        jinja.n > 0 ? "the file's chat template is of no family that is built in"
                    : "the file has no chat template and no family's control tokens");
}

/* --- ChatML's details */

/* What a string literal of Jinja spells. False when it has an escape other than the usual ones. */
static bool unescape(struct str literal, struct buf *out, bool *out_ok, struct error *e)
{
    *out_ok = true;
    for (size_t i = 0; i < literal.n; i++) {
        char c = literal.p[i];
        if (c == '\\' && i + 1 < literal.n) {
            static const char from[] = "nrt\\'\"", to[] = "\n\r\t\\'\"";
            const char *at = memchr(from, literal.p[++i], sizeof from - 1);
            *out_ok = at != NULL;
            if (!*out_ok) {
                return true;
            }
            c = to[at - from];
        }
        if (!buf_append_byte(out, c, e)) {
            return false;
        }
    }
    return true;
}

/* True when the bytes are the inside of one literal: no unescaped quote of its kind, or, outside of
 * quotes (quote 0), no opening brace. */
static bool is_literal(struct str s, char quote)
{
    for (size_t i = 0; i < s.n; i++) {
        if (quote != 0 && s.p[i] == '\\') {
            i++;
        } else if (s.p[i] == quote || (quote == 0 && s.p[i] == '{')) {
            return false;
        }
    }
    return true;
}

/* The first "<|im_start|>system\nTEXT<|im_end|>" in which TEXT is spelled out. Nothing is looked at
 * beyond the next opening, so that no byte is looked at more than a few times. */
static bool find_default_system(struct str jinja, struct str *out_text, char *out_quote)
{
    const struct str opening = STR("<|im_start|>system"), closing = STR("<|im_end|>");
    char before = 0;
    for (size_t at = find(jinja, opening); at != SIZE_MAX;) {
        before = at > 0 ? jinja.p[at - 1] : before;
        char quote = before == '\'' || before == '"' ? before : 0;
        jinja = str_skip(jinja, at + opening.n);
        at = find(jinja, opening);
        struct str turn = {jinja.p, at != SIZE_MAX ? at : jinja.n};
        struct str newline =
            quote != 0 && str_starts_with(turn, STR("\\n")) ? STR("\\n") : STR("\n");
        size_t end = find(turn, closing);
        if (!str_starts_with(turn, newline) || end == SIZE_MAX) {
            continue;
        }
        struct str text = {turn.p + newline.n, end - newline.n};
        if (is_literal(text, quote)) {
            *out_text = text;
            *out_quote = quote;
            return true;
        }
    }
    return false;
}

bool chat_read_chatml_details(const struct gguf *g, struct chat_template *t, struct error *e)
{
    struct str jinja = {NULL, 0};
    if (!gguf_get_str(g, "tokenizer.chat_template", false, &jinja, e)) {
        return false;
    }
    if (contains(jinja, STR("bos_token"))) {
        t->bos = tokenizer_info(t->tokenizer)->bos;
    }
    struct str text;
    char quote = 0;
    t->has_default_system = find_default_system(jinja, &text, &quote);
    if (!t->has_default_system) {
        return true;
    }
    if (quote == 0) {
        return buf_append(&t->default_system, text, e);
    }
    bool ok = false;
    if (!unescape(text, &t->default_system, &ok, e)) {
        return false;
    }
    return ok || error_set(e, ERROR_UNSUPPORTED,
                           "the chat template's default system message has an escape that is not "
                           "known: use --chat-template chatml");
}
