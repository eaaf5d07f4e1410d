/* template.c - which template a conversation is written with, and from its text to token ids. What
 * a template sees is made in template_values.c. */
#include "chat/template.h"

#include "base/mem.h"
#include "chat/builtin.h"
#include "chat/template_internal.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

enum { MAX_FILE_BYTES = 4 << 20 }; /* what jinja_parse takes */

static const char *const role_names[CHAT_ROLE_COUNT] = {
    [CHAT_SYSTEM] = "system",
    [CHAT_USER] = "user",
    [CHAT_ASSISTANT] = "assistant",
    [CHAT_TOOL] = "tool",
};

const char *chat_role_name(enum chat_role role)
{
    return role_names[role];
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

/* --- which template */

static bool read_file(struct chat_choice *c, FILE *f, struct error *e)
{
    struct stat info;
    if (fstat(fileno(f), &info) != 0 || !S_ISREG(info.st_mode)) {
        return error_set(e, ERROR_USAGE, "chat template %s is no file", c->name);
    }
    if (info.st_size > MAX_FILE_BYTES) {
        return error_set(e, ERROR_USAGE, "chat template %s has %lld bytes, at most %d are allowed",
                         c->name, (long long)info.st_size, MAX_FILE_BYTES);
    }
    c->text = mem_alloc((size_t)info.st_size + 1, 1, "chat template", e);
    if (c->text == NULL) {
        return false;
    }
    c->n = fread(c->text, 1, (size_t)info.st_size, f);
    return !ferror(f) ||
           error_set(e, ERROR_IO, "chat template %s cannot be read: %s", c->name, strerror(errno));
}

bool chat_choice_init(struct chat_choice *out, const char *name, struct error *e)
{
    *out = (struct chat_choice){.name = name};
    if (name == NULL || chat_builtin_find(str_from(name)) != NULL) {
        return true;
    }
    FILE *f = fopen(name, "re");
    if (f == NULL) {
        return error_set(e, ERROR_USAGE,
                         "chat template '%s' is none of " CHAT_BUILTIN_NAMES
                         ", nor a file that can be read: %s",
                         name, strerror(errno));
    }
    bool ok = read_file(out, f, e);
    fclose(f);
    if (!ok) {
        chat_choice_finish(out);
    }
    return ok;
}

void chat_choice_finish(struct chat_choice *c)
{
    mem_free(c->text);
    *c = (struct chat_choice){0};
}

static bool use_builtin(struct chat_template *t, const struct chat_builtin *b, struct error *e)
{
    t->name = b->name;
    t->text = str_from(b->text);
    return chat_builtin_check(b, t->tokenizer, e);
}

/* The file's own, or what its tokens ask for. */
static bool use_model(struct chat_template *t, const struct gguf *g, struct error *e)
{
    struct str own = {NULL, 0}, model_name = {NULL, 0};
    if (!gguf_get_str(g, "tokenizer.chat_template", false, &own, e) ||
        !gguf_get_str(g, "general.name", false, &model_name, e)) {
        return false;
    }
    if (own.n > 0) {
        t->text = own;
        return true;
    }
    const struct chat_builtin *b = chat_builtin_choose(t->tokenizer, model_name);
    return b != NULL ? use_builtin(t, b, e)
                     : error_set(e, ERROR_UNSUPPORTED,
                                 "the file has no chat template and no family's control tokens: "
                                 "name one with --chat-template (" CHAT_BUILTIN_NAMES
                                 ", or a Jinja file) or continue plain text with --raw");
}

static bool choose(struct chat_template *t, const struct gguf *g, const struct chat_choice *c,
                   struct error *e)
{
    if (c == NULL || c->name == NULL) {
        return use_model(t, g, e);
    }
    if (c->text == NULL) {
        return use_builtin(t, chat_builtin_find(str_from(c->name)), e);
    }
    t->text = (struct str){c->text, c->n};
    return true;
}

bool chat_template_init(struct chat_template *out, const struct gguf *g, const struct tokenizer *t,
                        const struct chat_choice *choice, struct error *e)
{
    struct chat_template made = {.tokenizer = t};
    struct error unwanted = {0};
    e = e != NULL ? e : &unwanted; /* trying a template goes by its errors */
    if (!choose(&made, g, choice, e)) {
        return false;
    }
    made.jinja = jinja_parse(made.text, e);
    made.tool_format = tool_format_detect(made.text);
    if (made.jinja == NULL || !tokenizer_find_user_defined(t, made.text, &made.marks, e) ||
        !chat_template_probe(&made, e)) {
        chat_template_finish(&made);
        return choice != NULL && choice->name != NULL
                   ? error_prefix(e, "chat template %s", choice->name)
                   : error_prefix(e, "the file's chat template (--chat-template names another)");
    }
    *out = made;
    return true;
}

void chat_template_finish(struct chat_template *t)
{
    jinja_destroy(t->jinja);
    token_list_finish(&t->marks);
    *t = (struct chat_template){0};
}

/* --- text to ids */

/* White space, then BOS: Llama Guard 3 begins so, and was trained with it. */
static bool begins_behind_space(const struct tokenizer *t, const uint32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct str piece = tokenizer_piece(t, ids[i], false);
        size_t k = 0;
        while (k < piece.n && (piece.p[k] == ' ' || piece.p[k] == '\n')) {
            k++;
        }
        if (k < piece.n || piece.n == 0) {
            return ids[i] == tokenizer_info(t)->bos;
        }
    }
    return false;
}

/* Exactly one in front, where there is to be one. */
static bool set_bos(const struct tokenizer *t, struct token_list *out, size_t start,
                    struct error *e)
{
    const struct token_info *info = tokenizer_info(t);
    size_t n = 0;
    while (info->bos != TOKEN_NONE && start + n < out->n && out->ids[start + n] == info->bos) {
        n++;
    }
    if (n > 1) {
        out->n -= n - 1;
        memmove(out->ids + start + 1, out->ids + start + n,
                (out->n - start - 1) * sizeof *out->ids);
    }
    if (n > 0 || !info->add_bos || begins_behind_space(t, out->ids + start, out->n - start)) {
        return true;
    }
    if (!token_list_push(out, info->bos, e)) {
        return false;
    }
    memmove(out->ids + start + 1, out->ids + start, (out->n - start - 1) * sizeof *out->ids);
    out->ids[start] = info->bos;
    return true;
}

bool chat_template_encode(const struct chat_template *t, const struct jinja_output *text,
                          struct token_list *out, struct error *e)
{
    struct token_list before = *out;
    struct token_span *spans =
        mem_alloc(text->n_spans, sizeof *spans, "origins of a prompt's text", e);
    if (spans == NULL) {
        return false;
    }
    for (size_t i = 0; i < text->n_spans; i++) {
        spans[i] = (struct token_span){.n_bytes = text->spans[i].n_bytes,
                                       .may_be_special = text->spans[i].origin == JINJA_TEMPLATE};
    }
    struct token_spans parts = {.spans = spans, .n = text->n_spans, .marks = &t->marks};
    bool ok = tokenizer_encode_spans(t->tokenizer, buf_str(&text->text), &parts, out, e) &&
              set_bos(t->tokenizer, out, before.n, e);
    mem_free(spans);
    if (!ok) {
        out->n = before.n;
        out->n_dropped = before.n_dropped;
        out->n_neutralised = before.n_neutralised;
    }
    return ok;
}

bool chat_template_render(const struct chat_template *t, const struct chat_input *input,
                          struct token_list *out, struct error *e)
{
    struct jinja_output text;
    if (!chat_template_write(t, input, &text, e)) {
        return false;
    }
    bool ok = chat_template_encode(t, &text, out, e);
    jinja_output_finish(&text);
    return ok;
}
