/* fuzz_conversation.c - conversations from any bytes. What is read survives being written and read
 * again, and what is refused leaves the conversation as it was. */
#include "chat/conversation.h"

#include "require.h"

static void require_same(const struct conversation *a, const struct conversation *b)
{
    require(a->n == b->n);
    for (size_t i = 0; i < a->n; i++) {
        require(a->messages[i].role == b->messages[i].role);
        require(str_eq(a->messages[i].content, b->messages[i].content));
    }
}

static void check_round_trip(const struct conversation *c)
{
    struct conversation again = {0};
    struct buf json;
    buf_init(&json, 1 << 24);
    require(conversation_print(c, &json, NULL));
    require(conversation_parse(&again, buf_str(&json), NULL));
    require_same(c, &again);
    conversation_finish(&again);
    buf_finish(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct conversation c = {0};
    struct error e = {0};
    require(conversation_add(&c, CHAT_USER, STR("kept"), &e));
    if (conversation_parse(&c, (struct str){(const char *)data, n_bytes}, &e)) {
        check_round_trip(&c);
        require(conversation_set_system(&c, STR("another"), &e));
        require(c.n > 0 && c.messages[0].role == CHAT_SYSTEM);
        conversation_truncate(&c, c.n / 2);
        check_round_trip(&c);
    } else {
        require(e.code == ERROR_FORMAT && e.text[0] != '\0');
        require(c.n == 1 && str_eq(c.messages[0].content, STR("kept")));
    }
    conversation_finish(&c);
    return 0;
}
