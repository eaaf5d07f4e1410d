/* fuzz_chat.c - the chat template that a model file asks for. The input is a text, a NUL byte and a
 * GGUF file. Whatever template and tokens it has, a conversation is written or refused, and control
 * tokens come from the template's own bytes alone: with the letters of all data changed the
 * template's text gives the same ones. */
#include "base/json_tree.h"
#include "chat/template.h"

#include "require.h"

/* The control tokens of ids, into *out. */
static bool keep_control(const struct tokenizer *t, const struct token_list *ids,
                         struct token_list *out)
{
    for (size_t i = 0; i < ids->n; i++) {
        require(ids->ids[i] < tokenizer_info(t)->n_tokens);
        if (tokenizer_kind(t, ids->ids[i]) == TOKEN_CONTROL &&
            !token_list_push(out, ids->ids[i], NULL)) {
            return false;
        }
    }
    return true;
}

static void check_text(const struct chat_template *t, struct jinja_output *text)
{
    struct token_list ids = {0}, other_ids = {0}, control = {0}, other_control = {0};
    struct error e = {0};
    bool ok = chat_template_encode(t, text, &ids, &e) && keep_control(t->tokenizer, &ids, &control);
    size_t at = 0;
    for (size_t i = 0; i < text->n_spans; i++) {
        size_t n = text->spans[i].n_bytes;
        if (text->spans[i].origin == JINJA_DATA) {
            memset(text->text.data + at, 'x', n);
        }
        at += n;
    }
    require(at == text->text.n);
    ok = ok && chat_template_encode(t, text, &other_ids, &e) &&
         keep_control(t->tokenizer, &other_ids, &other_control);
    require(ok || e.code == ERROR_MEMORY || e.code == ERROR_NONE);
    if (ok) {
        require(control.n == other_control.n);
        require(control.n == 0 ||
                memcmp(control.ids, other_control.ids, control.n * sizeof *control.ids) == 0);
    }
    token_list_finish(&ids);
    token_list_finish(&other_ids);
    token_list_finish(&control);
    token_list_finish(&other_control);
}

static void check(const struct chat_template *t, struct str said, const json_t *tools)
{
    static const struct chat_call call = {
        .id = {"c", 1}, .name = {"f", 1}, .arguments = {"{\"a\": 1}", 8}};
    const struct chat_message messages[] = {{.role = CHAT_USER, .content = said},
                                            {.role = CHAT_ASSISTANT, .content = said},
                                            {.role = CHAT_USER, .content = said},
                                            {.role = CHAT_ASSISTANT, .calls = &call, .n_calls = 1},
                                            {.role = CHAT_TOOL, .content = said},
                                            {.role = CHAT_SYSTEM, .content = said}};
    for (size_t n = 1; n <= 6; n++) {
        struct chat_input input = {.messages = messages,
                                   .n = n,
                                   .tools = n > 3 ? tools : NULL,
                                   .add_generation_prompt = n % 2 == 1};
        struct jinja_output text;
        struct error e = {0};
        if (chat_template_write(t, &input, &text, &e)) {
            check_text(t, &text);
            jinja_output_finish(&text);
        } else {
            require(e.code != ERROR_NONE && e.code != ERROR_INTERNAL);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const uint8_t *nul = n_bytes > 0 ? memchr(data, 0, n_bytes) : NULL;
    if (nul == NULL) {
        return 0;
    }
    struct str text = {(const char *)data, (size_t)(nul - data)};
    json_tree_init();
    struct gguf *g = gguf_parse(nul + 1, n_bytes - text.n - 1, NULL);
    struct tokenizer *tokenizer = g != NULL ? tokenizer_create(g, NULL) : NULL;
    struct chat_template t;
    struct error e = {0};
    if (tokenizer != NULL && chat_template_init(&t, g, tokenizer, NULL, &e)) {
        json_t *tools = json_pack("[{s:{s:s#}}]", "function", "description", text.p, (int)text.n);
        check(&t, text, tools); /* NULL where the text is not UTF-8 */
        json_decref(tools);
        chat_template_finish(&t);
    } else if (tokenizer != NULL) {
        require(e.code != ERROR_NONE && e.code != ERROR_INTERNAL && e.text[0] != '\0');
    }
    tokenizer_destroy(tokenizer);
    gguf_destroy(g);
    return 0;
}
