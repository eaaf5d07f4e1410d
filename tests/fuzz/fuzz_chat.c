/* fuzz_chat.c - the chat template that a model file asks for. The input is a text, a NUL byte and a
 * GGUF file. Whatever family, tokens and default system message the file leads to, a conversation
 * is written, and the text of a message adds no control token to it. */
#include "chat/template.h"

#include "require.h"

/* Control tokens of a chat with that message; SIZE_MAX when there is no memory for it. */
static size_t count_control(const struct chat_template *t, struct str text)
{
    const struct chat_message messages[] = {{CHAT_USER, text}, {CHAT_ASSISTANT, text}};
    struct token_list ids = {0};
    struct error e = {0};
    size_t n = 0;
    if (!chat_template_render(t, messages, 2, t->family != CHAT_LLAMA2, &ids, &e)) {
        require(e.code == ERROR_MEMORY && ids.n == 0);
        n = SIZE_MAX;
    }
    for (size_t i = 0; i < ids.n; i++) {
        require(ids.ids[i] < tokenizer_info(t->tokenizer)->n_tokens);
        n += tokenizer_kind(t->tokenizer, ids.ids[i]) == TOKEN_CONTROL;
    }
    token_list_finish(&ids);
    return n;
}

static void check(const struct chat_template *t, struct str text)
{
    size_t n = count_control(t, text);
    require(n == SIZE_MAX || n == count_control(t, STR("")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const uint8_t *nul = n_bytes > 0 ? memchr(data, 0, n_bytes) : NULL;
    if (nul == NULL) {
        return 0;
    }
    struct str text = {(const char *)data, (size_t)(nul - data)};
    struct gguf *g = gguf_parse(nul + 1, n_bytes - text.n - 1, NULL);
    struct tokenizer *tokenizer = g != NULL ? tokenizer_create(g, NULL) : NULL;
    struct chat_template t;
    struct error e = {0};
    if (tokenizer != NULL && chat_template_init(&t, g, tokenizer, NULL, &e)) {
        check(&t, text);
        chat_template_finish(&t);
    } else if (tokenizer != NULL) {
        require(e.code != ERROR_NONE && e.code != ERROR_INTERNAL && e.text[0] != '\0');
    }
    tokenizer_destroy(tokenizer);
    gguf_destroy(g);
    return 0;
}
