/* test_conversation.c - conversations, and their JSON form. */
#include "chat/conversation.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* --- conversations */

static void a_conversation_survives_its_json_form(void **state)
{
    (void)state;
    struct error e = {0};
    struct conversation c = {0}, again = {0};
    assert_true(
        conversation_add(&c, CHAT_USER, STR("line\n\"quoted\" \\ \xF0\x9F\xA6\x99 \0 nul"), &e));
    assert_true(conversation_add(&c, CHAT_ASSISTANT, STR(""), &e));
    struct chat_call call = {.id = STR("id1"), .name = STR("f"), .arguments = STR("{\"a\": 1.50}")};
    assert_true(conversation_add_message(
        &c, &(struct chat_message){.role = CHAT_ASSISTANT, .calls = &call, .n_calls = 1}, &e));
    assert_true(conversation_add_message(
        &c, &(struct chat_message){.role = CHAT_TOOL, .content = STR("r"), .call_id = call.id},
        &e));
    c.tools = json_loads("[{\"type\": \"function\"}]", 0, NULL);
    assert_true(conversation_set_system(&c, STR("be brief"), &e));
    assert_true(conversation_set_system(&c, STR("be briefer"), &e));
    struct buf json;
    buf_init(&json, 1 << 16);
    assert_true(conversation_print(&c, &json, &e));
    assert_true(conversation_parse(&again, buf_str(&json), &e));
    assert_int_equal(again.n, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(again.messages[i].role, c.messages[i].role);
        assert_true(str_eq(again.messages[i].content, c.messages[i].content));
    }
    assert_null(again.messages[3].content.p);
    assert_int_equal(again.messages[3].n_calls, 1);
    assert_true(str_eq(again.messages[3].calls[0].id, call.id));
    assert_true(str_eq(again.messages[3].calls[0].name, call.name));
    assert_true(str_eq(again.messages[3].calls[0].arguments, call.arguments));
    assert_true(str_eq(again.messages[4].call_id, call.id));
    assert_true(json_equal(again.tools, c.tools));
    assert_true(str_eq(again.messages[0].content, STR("be briefer")));
    assert_true(conversation_set_system(&again, STR(""), &e));
    assert_int_equal(again.n, 4);
    assert_int_equal(again.messages[0].role, CHAT_USER);
    assert_true(conversation_add(&c, CHAT_USER, STR("\xFF"), &e));
    assert_false(conversation_print(&c, &json, &e));
    assert_non_null(strstr(e.text, "message 6 is not UTF-8"));
    buf_finish(&json);
    conversation_finish(&c);
    conversation_finish(&again);
}

static void a_call_without_an_id_has_none_in_the_json_form(void **state)
{
    (void)state;
    struct error e = {0};
    struct conversation c = {0};
    struct buf json;
    buf_init(&json, 1 << 16);
    assert_true(conversation_parse(
        &c,
        STR("{\"messages\": [{\"role\": \"assistant\", \"tool_calls\": [{\"type\": "
            "\"function\", \"function\": {\"name\": \"f\", \"arguments\": \"{}\"}}]}]}"),
        &e));
    assert_true(conversation_print(&c, &json, &e));
    if (!conversation_parse(&c, buf_str(&json), &e)) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(c.messages[0].n_calls, 1);
    assert_int_equal(c.messages[0].calls[0].id.n, 0);
    buf_finish(&json);
    conversation_finish(&c);
}

/* What model_dump() of the official client's messages writes. */
static void a_member_that_is_null_is_none(void **state)
{
    (void)state;
    struct error e = {0};
    struct conversation c = {0};
    if (!conversation_parse(
            &c,
            STR("{\"messages\": [{\"content\": \"Hi\", \"refusal\": null, \"role\": \"assistant\", "
                "\"audio\": null, \"function_call\": null, \"tool_calls\": null}, {\"content\": "
                "\"r\", \"role\": \"tool\", \"tool_call_id\": null, \"tool_calls\": null}], "
                "\"tools\": null}"),
            &e)) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(c.n, 2);
    assert_true(str_eq(c.messages[0].content, STR("Hi")));
    assert_int_equal(c.messages[0].n_calls, 0);
    assert_int_equal(c.messages[1].call_id.n, 0);
    assert_null(c.tools);
    conversation_finish(&c);
}

static void a_bad_conversation_file_is_refused_by_message_and_key(void **state)
{
    (void)state;
    static const struct {
        const char *json, *text;
    } table[] = {
        {"", "not JSON"},
        {"[]", "array 'messages'"},
        {"{\"messages\": 1}", "array 'messages'"},
        {"{\"messages\": [], \"model\": 1}", "unknown key 'model'"},
        {"{\"messages\": [1]}", "message 1 is no object"},
        {"{\"messages\": [{\"role\": \"user\"}]}", "content of message 1"},
        {"{\"messages\": [{\"role\": \"ipython\", \"content\": \"\"}]}", "role of message 1"},
        {"{\"messages\": [{\"role\": 5, \"content\": \"\"}]}", "role of message 1"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"\", \"name\": 1}]}", "key 'name'"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"\", \"tool_calls\": []}]}",
         "from user, but has"},
        {"{\"messages\": [{\"role\": \"assistant\", \"tool_calls\": []}]}", "no array of calls"},
        {"{\"messages\": [{\"role\": \"assistant\", \"tool_calls\": [{\"id\": \"a\"}]}]}",
         "a call that is not"},
        {"{\"messages\": [{\"role\": \"assistant\", \"content\": null}]}", "content of message 1"},
        {"{\"messages\": [{\"role\": \"tool\", \"content\": \"\", \"tool_call_id\": 1}]}",
         "tool_call_id of message 1"},
        {"{\"messages\": [], \"tools\": {}}", "tools of the conversation"},
        {"{\"messages\": [{\"role\": \"user\", \"role\": \"user\", \"content\": \"\"}]}",
         "duplicate"},
    };
    struct conversation c = {0};
    assert_true(conversation_add(&c, CHAT_USER, STR("kept"), NULL));
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct error e = {0};
        assert_false(conversation_parse(&c, str_from(table[i].json), &e));
        assert_int_equal(e.code, ERROR_FORMAT);
        if (strstr(e.text, table[i].text) == NULL) {
            fail_msg("'%s' does not say '%s'", e.text, table[i].text);
        }
        assert_int_equal(c.n, 1);
    }
    conversation_finish(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_conversation_survives_its_json_form),
        cmocka_unit_test(a_call_without_an_id_has_none_in_the_json_form),
        cmocka_unit_test(a_member_that_is_null_is_none),
        cmocka_unit_test(a_bad_conversation_file_is_refused_by_message_and_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
