/* template.c - how each family writes a conversation. chat_choice.c decides which family it is. */
#include "chat/template.h"

#include "chat/template_internal.h"

static const struct str default_date = {"26 Jul 2024", sizeof "26 Jul 2024" - 1};

static const char *const family_names[CHAT_FAMILY_COUNT] = {
    [CHAT_CHATML] = "chatml",    [CHAT_LLAMA2] = "llama2",    [CHAT_LLAMA3] = "llama3",
    [CHAT_LLAMA31] = "llama3.1", [CHAT_LLAMA32] = "llama3.2", [CHAT_LLAMA33] = "llama3.3",
};

static const char *const role_names[CHAT_ROLE_COUNT] = {
    [CHAT_SYSTEM] = "system",
    [CHAT_USER] = "user",
    [CHAT_ASSISTANT] = "assistant",
    [CHAT_TOOL] = "tool",
};

const char *chat_family_name(enum chat_family family)
{
    return family_names[family];
}

const char *chat_role_name(enum chat_role role)
{
    return role_names[role];
}

bool chat_family_parse(struct str name, enum chat_family *out)
{
    for (int i = 0; i < CHAT_FAMILY_COUNT; i++) {
        if (str_eq(name, str_from(family_names[i]))) {
            *out = (enum chat_family)i;
            return true;
        }
    }
    return false;
}

bool chat_role_parse(struct str name, enum chat_role *out)
{
    for (int i = 0; i < CHAT_ROLE_COUNT; i++) {
        if (str_eq(name, str_from(role_names[i]))) {
            *out = (enum chat_role)i;
            return true;
        }
    }
    return false;
}

/* --- the tokens a family needs */

/* Text may give any token but a CONTROL one: a template that writes another would let a message
 * spell it. */
static bool check_control(const struct tokenizer *t, enum chat_family family, uint32_t id,
                          struct error *e)
{
    enum token_kind kind = tokenizer_kind(t, id);
    if (kind == TOKEN_CONTROL) {
        return true;
    }
    struct str text = str_shown(tokenizer_text(t, id));
    return error_set(e, ERROR_UNSUPPORTED,
                     "chat template %s needs token '%.*s' as a control token, but token %u is of "
                     "type %d",
                     family_names[family], STR_ARG(text), id, (int)kind);
}

static bool find_control(const struct tokenizer *t, enum chat_family family, const char *text,
                         uint32_t *out, struct error *e)
{
    uint32_t id = tokenizer_find(t, str_from(text));
    if (id == TOKEN_NONE) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "chat template %s needs token '%s', which the vocabulary lacks",
                         family_names[family], text);
    }
    *out = id;
    return check_control(t, family, id, e);
}

static bool need(const struct chat_template *t, uint32_t id, const char *what, struct error *e)
{
    if (id == TOKEN_NONE) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "chat template %s needs a %s token, which the file lacks",
                         family_names[t->family], what);
    }
    return check_control(t->tokenizer, t->family, id, e);
}

static bool find_tokens(struct chat_template *t, const struct token_info *info, struct error *e)
{
    switch (t->family) {
    case CHAT_CHATML:
        t->bos = info->add_bos ? info->bos : TOKEN_NONE;
        return find_control(t->tokenizer, t->family, "<|im_start|>", &t->start, e) &&
               find_control(t->tokenizer, t->family, "<|im_end|>", &t->end, e);
    case CHAT_LLAMA2:
        t->bos = info->bos;
        t->eos = info->eos;
        return need(t, t->bos, "beginning-of-text", e) && need(t, t->eos, "end-of-text", e);
    default:
        t->bos = info->bos;
        return need(t, t->bos, "beginning-of-text", e) &&
               find_control(t->tokenizer, t->family, "<|start_header_id|>", &t->start, e) &&
               find_control(t->tokenizer, t->family, "<|end_header_id|>", &t->end_header, e) &&
               find_control(t->tokenizer, t->family, "<|eot_id|>", &t->end, e);
    }
}

static bool parse_name(const char *name, enum chat_family *out, struct error *e)
{
    if (chat_family_parse(str_from(name), out)) {
        return true;
    }
    return error_set(e, ERROR_USAGE,
                     "chat template '%s' is none of chatml, llama2, llama3, llama3.1, llama3.2, "
                     "llama3.3",
                     name);
}

bool chat_template_init(struct chat_template *out, const struct gguf *g, const struct tokenizer *t,
                        const char *name, struct error *e)
{
    struct chat_template made = {
        .tokenizer = t,
        .bos = TOKEN_NONE,
        .eos = TOKEN_NONE,
        .start = TOKEN_NONE,
        .end = TOKEN_NONE,
        .end_header = TOKEN_NONE,
        .date = default_date,
    };
    buf_init(&made.default_system, CHAT_MAX_TEXT_BYTES);
    bool chosen = name != NULL ? parse_name(name, &made.family, e)
                               : chat_choose_family(g, t, &made.family, e);
    if (!chosen || !find_tokens(&made, tokenizer_info(t), e)) {
        return false;
    }
    bool ok = name != NULL || made.family != CHAT_CHATML || chat_read_chatml_details(g, &made, e);
    if (!ok || (made.bos != TOKEN_NONE && !check_control(t, made.family, made.bos, e))) {
        chat_template_finish(&made);
        return false;
    }
    *out = made;
    return true;
}

void chat_template_finish(struct chat_template *t)
{
    buf_finish(&t->default_system);
}

/* --- writing: text gathers until the next control token, so that it is tokenised as one piece,
 * which is what tokenising the rendered template does too */

struct writer {
    const struct chat_template *t;
    struct token_list *out;
    struct buf text;
};

static bool put_text(struct writer *w, struct str s, struct error *e)
{
    return buf_append(&w->text, s, e);
}

static bool flush_text(struct writer *w, struct error *e)
{
    if (w->text.n > 0 && !tokenizer_encode(w->t->tokenizer, buf_str(&w->text), 0, w->out, e)) {
        return false;
    }
    buf_clear(&w->text);
    return true;
}

static bool put_control(struct writer *w, uint32_t id, struct error *e)
{
    return flush_text(w, e) && token_list_push(w->out, id, e);
}

/* Python's str.isspace: what `trim` and `strip()` of the templates remove. */
static bool is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

static struct str trim(struct str s)
{
    uint32_t c = 0;
    size_t length;
    while (s.n > 0 && (length = str_decode_utf8(s, &c)) > 0 && is_space(c)) {
        s = str_skip(s, length);
    }
    while (s.n > 0) {
        size_t start = s.n - 1; /* of the last code point */
        while (start > 0 && s.n - start < 4 && ((unsigned char)s.p[start] & 0xC0) == 0x80) {
            start--;
        }
        if (str_decode_utf8(str_skip(s, start), &c) != s.n - start || !is_space(c)) {
            break;
        }
        s.n = start;
    }
    return s;
}

/* --- ChatML: <|im_start|>ROLE\nTEXT<|im_end|>\n */

static bool chatml_turn(struct writer *w, const char *role, struct str content, struct error *e)
{
    return put_control(w, w->t->start, e) && put_text(w, str_from(role), e) &&
           put_text(w, STR("\n"), e) && put_text(w, content, e) && put_control(w, w->t->end, e) &&
           put_text(w, STR("\n"), e);
}

static bool render_chatml(struct writer *w, const struct chat_message *m, size_t n, bool prompt,
                          struct error *e)
{
    const struct chat_template *t = w->t;
    if (t->bos != TOKEN_NONE && !put_control(w, t->bos, e)) {
        return false;
    }
    if (t->has_default_system && m[0].role != CHAT_SYSTEM &&
        !chatml_turn(w, "system", buf_str(&t->default_system), e)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!chatml_turn(w, role_names[m[i].role], m[i].content, e)) {
            return false;
        }
    }
    return !prompt || (put_control(w, t->start, e) && put_text(w, STR("assistant\n"), e));
}

/* --- Llama 3: <|start_header_id|>ROLE<|end_header_id|>\n\nTEXT<|eot_id|> */

static bool llama3_header(struct writer *w, const char *role, struct error *e)
{
    return put_control(w, w->t->start, e) && put_text(w, str_from(role), e) &&
           put_control(w, w->t->end_header, e) && put_text(w, STR("\n\n"), e);
}

/* As a JSON string, in the spelling of Python's json.dumps(..., ensure_ascii=False), which is what
 * the templates' filter `tojson` is. */
static bool put_json_text(struct writer *w, struct str s, struct error *e)
{
    static const char special[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
    bool ok = put_text(w, STR("\""), e);
    for (size_t i = 0; ok && i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        const char *at = memchr(special, c, sizeof special - 1);
        if (at != NULL) {
            ok = put_text(w, (struct str){(char[]){'\\', names[at - special]}, 2}, e);
        } else if (c < 0x20) {
            ok = buf_printf(&w->text, e, "\\u%04x", (unsigned)c);
        } else {
            ok = put_text(w, (struct str){s.p + i, 1}, e);
        }
    }
    return ok && put_text(w, STR("\""), e);
}

/* From 3.1 on what a tool answered comes from `ipython`, and as JSON. */
static bool llama3_turn(struct writer *w, const struct chat_message *m, struct error *e)
{
    bool from_tool = m->role == CHAT_TOOL && w->t->family != CHAT_LLAMA3;
    return llama3_header(w, from_tool ? "ipython" : role_names[m->role], e) &&
           (from_tool ? put_json_text(w, m->content, e) : put_text(w, trim(m->content), e)) &&
           put_control(w, w->t->end, e);
}

/* From 3.1 on a conversation always opens with a system turn that says two dates. */
static bool llama31_system_turn(struct writer *w, struct str content, struct error *e)
{
    return llama3_header(w, "system", e) &&
           put_text(w, STR("Cutting Knowledge Date: December 2023\nToday Date: "), e) &&
           put_text(w, w->t->date, e) && put_text(w, STR("\n\n"), e) &&
           put_text(w, trim(content), e) && put_control(w, w->t->end, e);
}

static bool render_llama3(struct writer *w, const struct chat_message *m, size_t n, bool prompt,
                          struct error *e)
{
    if (!put_control(w, w->t->bos, e)) {
        return false;
    }
    size_t first = 0;
    if (w->t->family != CHAT_LLAMA3) {
        first = m[0].role == CHAT_SYSTEM;
        if (!llama31_system_turn(w, first ? m[0].content : STR(""), e)) {
            return false;
        }
    }
    for (size_t i = first; i < n; i++) {
        if (!llama3_turn(w, &m[i], e)) {
            return false;
        }
    }
    return !prompt || llama3_header(w, "assistant", e);
}

/* --- Llama 2: <s>[INST] <<SYS>>\nSYSTEM\n<</SYS>>\n\nUSER [/INST] ASSISTANT </s><s>[INST] ... */

/* The template strips the system message and the user's text as one string: the space between
 * them stays. */
static bool llama2_user(struct writer *w, const struct chat_message *system,
                        const struct chat_message *user, struct error *e)
{
    struct buf whole;
    buf_init(&whole, CHAT_MAX_TEXT_BYTES);
    bool ok = true;
    if (system != NULL) {
        ok = buf_append(&whole, STR("<<SYS>>\n"), e) && buf_append(&whole, system->content, e) &&
             buf_append(&whole, STR("\n<</SYS>>\n\n"), e);
    }
    ok = ok && buf_append(&whole, user->content, e) && put_control(w, w->t->bos, e) &&
         put_text(w, STR("[INST] "), e) && put_text(w, trim(buf_str(&whole)), e) &&
         put_text(w, STR(" [/INST]"), e);
    buf_finish(&whole);
    return ok;
}

static bool llama2_assistant(struct writer *w, const struct chat_message *m, struct error *e)
{
    return put_text(w, STR(" "), e) && put_text(w, trim(m->content), e) &&
           put_text(w, STR(" "), e) && put_control(w, w->t->eos, e);
}

static bool render_llama2(struct writer *w, const struct chat_message *m, size_t n, struct error *e)
{
    const struct chat_message *system = m[0].role == CHAT_SYSTEM ? &m[0] : NULL;
    size_t first = system != NULL;
    for (size_t i = first; i < n; i++) {
        enum chat_role expected = (i - first) % 2 == 0 ? CHAT_USER : CHAT_ASSISTANT;
        if (m[i].role != expected) {
            return error_set(
                e, ERROR_USAGE,
                "message %zu is from %s, but chat template llama2 expects %s: after an "
                "optional system message user and assistant take turns",
                i + 1, role_names[m[i].role], role_names[expected]);
        }
        if (!(expected == CHAT_USER ? llama2_user(w, i == first ? system : NULL, &m[i], e)
                                    : llama2_assistant(w, &m[i], e))) {
            return false;
        }
    }
    return n > first ||
           error_set(e, ERROR_USAGE, "chat template llama2 cannot write a system message alone");
}

bool chat_template_render(const struct chat_template *t, const struct chat_message *messages,
                          size_t n, bool add_generation_prompt, struct token_list *out,
                          struct error *e)
{
    if (n == 0) {
        return error_set(e, ERROR_USAGE, "the conversation has 0 messages, at least 1 is needed");
    }
    struct writer w = {.t = t, .out = out};
    buf_init(&w.text, CHAT_MAX_TEXT_BYTES);
    size_t n_before = out->n, n_dropped_before = out->n_dropped;
    bool ok;
    switch (t->family) {
    case CHAT_CHATML:
        ok = render_chatml(&w, messages, n, add_generation_prompt, e);
        break;
    case CHAT_LLAMA2:
        ok = render_llama2(&w, messages, n, e);
        break;
    default:
        ok = render_llama3(&w, messages, n, add_generation_prompt, e);
        break;
    }
    ok = ok && flush_text(&w, e);
    buf_finish(&w.text);
    if (!ok) {
        out->n = n_before;
        out->n_dropped = n_dropped_before;
    }
    return ok;
}

/* Every family writes at least what is left between the white space at both ends. */
size_t chat_template_least_tokens(const struct chat_template *t,
                                  const struct chat_message *messages, size_t n)
{
    size_t least = 0;
    for (size_t i = 0; i < n; i++) {
        least += tokenizer_least_tokens(t->tokenizer, trim(messages[i].content));
    }
    return least;
}
