/* test_template.c - which template a file gets, what is seen of it, what it refuses, and how calls
 * of tools are written. */
#include "base/json_tree.h"
#include "chat_file.h"
#include "vocab_file.h"

#include <stdlib.h>
#include <time.h>

/* --- which template */

static void without_a_template_the_tokens_and_the_name_of_the_model_decide(void **state)
{
    (void)state;
    static const struct {
        const char *const *specials;
        const char *jinja, *name, *chosen; /* NULL: the file's own */
        bool spm;
    } table[] = {
        {chatml_tokens, "{{ '<|im_start|>' + messages[0].content }}", NULL, NULL, false},
        {chatml_tokens, NULL, NULL, "chatml", false},
        {llama3_tokens, NULL, "Llama 3.1", "llama3", false},
        {llama31_tokens, NULL, NULL, "llama3.1", false},
        {llama31_tokens, NULL, "llama-3.2-3b", "llama3.2", false},
        {llama31_tokens, NULL, "Llama 3.3 70B", "llama3.3", false},
        {llama2_tokens, NULL, "LLaMA v2 Chat", "llama2", true},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct file f;
        struct chat_template t;
        open_file(&f, table[i].spm, table[i].specials, table[i].jinja, table[i].name);
        open_template(&t, &f, NULL);
        assert_int_equal(t.name == NULL, table[i].chosen == NULL);
        if (t.name != NULL) {
            assert_string_equal(t.name, table[i].chosen);
        }
        chat_template_finish(&t);
        close_file(&f);
    }
}

static void a_template_that_cannot_be_used_says_why_and_what_to_do(void **state)
{
    (void)state;
    static const struct {
        const char *const *specials;
        const char *jinja, *name, *chosen, *text;
        bool spm;
    } table[] = {
        {no_tokens, NULL, NULL, NULL, "--raw", false},
        {llama2_tokens, NULL, "LLaMA v2", NULL, "no chat template", true},
        {no_tokens, NULL, NULL, "chatml", "'<|im_start|>', which the vocabulary lacks", false},
        {no_tokens, "{% if %}", NULL, NULL, "(--chat-template names another): line 1", false},
        {no_tokens, "{{ messages | urlize }}", NULL, NULL, "urlize", false},
        {no_tokens, "a text that never changes", NULL, NULL, "leaves out what the user says",
         false},
        {no_tokens, "{# nothing at all #}", NULL, NULL, "leaves out what the user says", false},
        {no_tokens, "{{ raise_exception('no chats today') }}", NULL, NULL, "no chats today", false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct file f;
        struct chat_template t;
        struct error e = {0};
        open_file(&f, table[i].spm, table[i].specials, table[i].jinja, table[i].name);
        assert_false(chat_template_init(&t, f.gguf, f.tokenizer,
                                        &(struct chat_choice){.name = table[i].chosen}, &e));
        if (strstr(e.text, table[i].text) == NULL) {
            fail_msg("'%s' does not say '%s'", e.text, table[i].text);
        }
        close_file(&f);
    }
    struct chat_choice choice;
    struct error e = {0};
    assert_false(chat_choice_init(&choice, "llama4", &e));
    assert_int_equal(e.code, ERROR_USAGE);
    assert_non_null(strstr(e.text, "'llama4' is none of chatml, llama2"));
    assert_false(chat_choice_init(&choice, "/", &e));
    assert_non_null(strstr(e.text, "is no file"));
}

static void the_text_of_a_file_is_a_template(void **state)
{
    (void)state;
    static char text[] = "{% for m in messages %}{{ '<|im_start|>' + m.content }}{% endfor %}";
    struct chat_choice choice = {.name = "x.jinja", .text = text, .n = sizeof text - 1};
    struct file f;
    struct chat_template t;
    struct error e = {0};
    struct token_list ids = {0};
    open_file(&f, false, chatml_tokens, NULL, NULL);
    assert_true(chat_template_init(&t, f.gguf, f.tokenizer, &choice, &e));
    assert_true(render(&t, user_says(""), 1, true, &ids, &e));
    assert_int_equal(ids.n, 1);
    assert_int_equal(ids.ids[0], 1);
    token_list_finish(&ids);
    chat_template_finish(&t);
    close_file(&f);
}

static void the_beginning_of_a_text_stands_once(void **state)
{
    (void)state;
    static const struct {
        const char *jinja;
        bool add_bos;
        size_t n_bos, first; /* how many, and where the first stands */
    } table[] = {{"{{ bos_token + bos_token + messages[0].content }}", true, 1, 0},
                 {"{{ bos_token + messages[0].content + bos_token }}", true, 2, 0},
                 {"{{ messages[0].content }}", true, 1, 0},
                 {"{{ messages[0].content }}", false, 0, 0},
                 {"{{ bos_token + messages[0].content }}", false, 1, 0},
                 {"{{ ' ' + bos_token + messages[0].content }}", true, 1, 1}, /* Llama Guard 3 */
                 {"{{ ' ' + messages[0].content + bos_token }}", true, 2, 0},
                 {"{{ ' </s>' + bos_token + messages[0].content }}", true, 2, 0}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct vocab_file f;
        char key[256];
        snprintf(key, sizeof key, "s:tokenizer.ggml.add_bos_token 4:7 1:%d", table[i].add_bos);
        vocab_file_open(&f, &(struct vocab_spec){.model = "gpt2",
                                                 .pre = "gpt-2",
                                                 .tokens = "<s>,</s>,a,aa,\xC4\xA0",
                                                 .merges = "a a",
                                                 .kinds = "33111",
                                                 .u32_key = "bos_token_id",
                                                 .raw = key,
                                                 .n_raw = 1});
        struct error e = {0};
        struct tokenizer *tokenizer = tokenizer_create(f.gguf, &e);
        struct chat_choice choice = {
            .name = "x", .text = (char *)table[i].jinja, .n = strlen(table[i].jinja)};
        struct chat_template t;
        if (tokenizer == NULL || !chat_template_init(&t, f.gguf, tokenizer, &choice, &e)) {
            fail_msg("%s", e.text);
        }
        struct token_list ids = {0};
        assert_true(token_list_push(&ids, 3, &e)); /* what was there is left alone */
        assert_true(render(&t, user_says("a<s>"), 1, true, &ids, &e));
        size_t n_bos = 0;
        for (size_t k = 0; k < ids.n; k++) {
            n_bos += ids.ids[k] == 0;
        }
        assert_int_equal(ids.ids[0], 3);
        assert_int_equal(n_bos, table[i].n_bos);
        assert_true(n_bos == 0 || ids.ids[1 + table[i].first] == 0);
        token_list_finish(&ids);
        chat_template_finish(&t);
        tokenizer_destroy(tokenizer);
        vocab_file_close(&f);
    }
}

static void the_date_can_be_set(void **state)
{
    (void)state;
    struct file f;
    struct chat_template t;
    open_file(&f, false, llama31_tokens, NULL, NULL);
    open_template(&t, &f, "llama3.2");
    assert_true(t.support.date);
    t.date = "01 Feb 2025 <|eot_id|>";
    struct token_list ids = {0};
    struct error e = {0};
    assert_true(render(&t, user_says("hello"), 1, true, &ids, &e));
    size_t n_control = 0;
    for (size_t i = 0; i < ids.n; i++) {
        n_control += tokenizer_kind(t.tokenizer, ids.ids[i]) == TOKEN_CONTROL;
    }
    assert_int_equal(n_control, 1 + 2 * 3 + 2); /* the beginning, two turns, a header */
    token_list_finish(&ids);
    struct jinja_output text;
    struct chat_input input = {.messages = user_says("x"), .n = 1};
    t.date = "today";
    time_t now = time(NULL);
    char today[32];
    strftime(today, sizeof today, "Today Date: %d %b %Y", localtime(&now));
    assert_true(chat_template_write(&t, &input, &text, &e));
    assert_non_null(memmem(text.text.data, text.text.n, today, strlen(today)));
    jinja_output_finish(&text);
    chat_template_finish(&t);
    close_file(&f);
}

/* --- conversations that a template refuses, or would leave out */

static void llama_2_refuses_roles_that_do_not_take_turns(void **state)
{
    (void)state;
    static const struct chat_message user = {.role = CHAT_USER, .content = {"a", 1}},
                                     system = {.role = CHAT_SYSTEM, .content = {"b", 1}},
                                     assistant = {.role = CHAT_ASSISTANT, .content = {"c", 1}},
                                     tool = {.role = CHAT_TOOL, .content = {"d", 1}};
    const struct chat_message bad[][3] = {{user, user, user},      {assistant, user, user},
                                          {user, system, user},    {system, assistant, user},
                                          {user, assistant, tool}, {user, tool, user}};
    struct file f;
    struct chat_template t;
    open_file(&f, true, llama2_tokens, NULL, NULL);
    open_template(&t, &f, "llama2");
    struct token_list ids = {0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct error e = {0};
        assert_false(render(&t, bad[i], 3, true, &ids, &e));
        assert_int_equal(e.code, ERROR_USAGE);
        assert_non_null(strstr(e.text, "take turns"));
        assert_int_equal(ids.n, 0);
    }
    struct error e = {0};
    assert_false(render(&t, &system, 1, true, &ids, &e));
    assert_false(render(&t, &system, 0, true, &ids, &e));
    assert_non_null(strstr(e.text, "0 messages"));
    token_list_finish(&ids);
    chat_template_finish(&t);
    close_file(&f);
}

static void what_a_template_would_leave_out_or_is_no_text_is_refused(void **state)
{
    (void)state;
    static const char jinja[] =
        "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}";
    static const struct chat_message messages[] = {
        {.role = CHAT_USER, .content = {"a", 1}},
        {.role = CHAT_SYSTEM, .content = {"b", 1}},
        {.role = CHAT_TOOL, .content = {"c", 1}},
        {.role = CHAT_USER, .content = {"\xFF", 1}},
    };
    struct file f;
    struct chat_template t;
    struct token_list ids = {0};
    open_file(&f, false, chatml_tokens, jinja, NULL);
    open_template(&t, &f, NULL);
    struct error e = {0};
    assert_false(render(&t, messages, 2, true, &ids, &e));
    assert_int_equal(e.code, ERROR_USAGE);
    assert_non_null(strstr(e.text, "message 2 is from system, which"));
    assert_false(render(&t, messages + 2, 1, true, &ids, &e));
    assert_non_null(strstr(e.text, "message 1 is from tool, which"));
    assert_false(render(&t, messages + 3, 1, true, &ids, &e));
    assert_int_equal(e.code, ERROR_USAGE);
    assert_non_null(strstr(e.text, "message 1"));
    assert_non_null(strstr(e.text, "UTF-8"));
    token_list_finish(&ids);
    chat_template_finish(&t);
    close_file(&f);
}

/* --- tools and their calls */

/* The text of a conversation, in a buffer for the caller to finish. */
static struct buf text_of(const struct chat_template *t, const struct chat_message *messages,
                          size_t n, const json_t *tools)
{
    struct chat_input input = {.messages = messages, .n = n, .tools = tools};
    struct jinja_output out;
    struct error e = {0};
    if (!chat_template_write(t, &input, &out, &e)) {
        fail_msg("%s", e.text);
    }
    mem_free(out.spans);
    return out.text;
}

static void assert_ends(struct buf *text, const char *end)
{
    struct str s = buf_str(text), want = str_from(end);
    if (s.n < want.n || !str_eq(str_skip(s, s.n - want.n), want)) {
        fail_msg("'%.*s' does not end with '%s'", STR_ARG(s), end);
    }
    buf_finish(text);
}

static void calls_are_written_by_the_template_as_they_were_spelled_or_as_text(void **state)
{
    (void)state;
    static const struct chat_call calls[] = {
        {.id = {"1", 1}, .name = {"f", 1}, .arguments = {"{\"a\":1.0,  \"b\": \"\\u00e9\"}", 25}},
        {.id = {"2", 1}, .name = {"g", 1}, .arguments = {"{}", 2}}};
    const struct chat_message asked = {.role = CHAT_USER, .content = STR("?")};
    const struct chat_message one[] = {asked,
                                       {.role = CHAT_ASSISTANT, .calls = calls, .n_calls = 1}};
    const struct chat_message two[] = {asked,
                                       {.role = CHAT_ASSISTANT, .calls = calls, .n_calls = 2}};
    const struct chat_message said[] = {
        asked,
        {.role = CHAT_ASSISTANT, .content = STR("I ask. "), .calls = calls + 1, .n_calls = 1}};
    struct file f;
    struct chat_template t;
    open_file(&f, false, llama31_tokens, NULL, NULL);
    open_template(&t, &f, NULL);
    assert_true(t.support.tools && t.support.calls && t.support.tool_answers);
    assert_false(t.support.several_calls || t.support.text_and_calls);
    assert_int_equal(t.tool_format, TOOL_FORMAT_LLAMA3_JSON);
    struct buf text = text_of(&t, one, 2, NULL);
    assert_ends(&text,
                "{\"name\": \"f\", \"parameters\": {\"a\":1.0,  \"b\": \"\\u00e9\"}}<|eot_id|>");
    text = text_of(&t, two, 2, NULL);
    assert_ends(
        &text,
        "{\"a\":1.0,  \"b\": \"\\u00e9\"}}; {\"name\": \"g\", \"parameters\": {}}<|eot_id|>");
    text = text_of(&t, said, 2, NULL);
    assert_ends(&text, "I ask. {\"name\": \"g\", \"parameters\": {}}<|eot_id|>");
    struct chat_call bad = {.id = STR("1"), .name = STR("f"), .arguments = STR("[1]")};
    struct chat_message wrong = {.role = CHAT_ASSISTANT, .calls = &bad, .n_calls = 1};
    struct token_list ids = {0};
    text = text_of(&t, &wrong, 1, NULL);
    assert_ends(&text, "{\"name\": \"f\", \"parameters\": \"[1]\"}<|eot_id|>");
    bad.arguments = STR("{\"a\": 1e400}");
    text = text_of(&t, &wrong, 1, NULL);
    assert_ends(&text, "\"parameters\": \"{\\\"a\\\": 1e400}\"}<|eot_id|>");
    bad.arguments = STR("{<|eot_id|>");
    assert_true(render(&t, &wrong, 1, false, &ids, NULL));
    assert_int_equal(ids.n_neutralised, 1);
    token_list_finish(&ids);
    chat_template_finish(&t);
    close_file(&f);
}

static void a_template_without_a_place_for_tools_gets_a_system_message_that_tells_them(void **state)
{
    (void)state;
    json_t *tools =
        json_loads("[{\"type\": \"function\", \"function\": {\"name\": \"look_up\"}}]", 0, NULL);
    const struct chat_message messages[] = {{.role = CHAT_SYSTEM, .content = STR("Be kind.")},
                                            {.role = CHAT_USER, .content = STR("?")}};
    struct file f;
    struct chat_template t;
    open_file(&f, false, chatml_tokens, SMOLLM_JINJA, NULL);
    open_template(&t, &f, NULL);
    assert_false(t.support.tools || t.support.calls);
    assert_int_equal(t.tool_format, TOOL_FORMAT_HERMES);
    for (size_t first = 0; first < 2; first++) {
        struct buf text = text_of(&t, messages + first, 2 - first, tools);
        const char *begin =
            first == 0 ? "<|im_start|>system\nBe kind.\n\n" : "<|im_start|>system\n";
        assert_memory_equal(text.data, begin, strlen(begin));
        assert_non_null(memmem(text.data, text.n, "\"look_up\"", 9));
        assert_non_null(memmem(text.data, text.n, "<tool_call>", 11));
        assert_ends(&text, "<|im_end|>\n<|im_start|>user\n?<|im_end|>\n");
    }
    json_decref(tools);
    chat_template_finish(&t);
    close_file(&f);
}

static void tools_that_nothing_would_tell_of_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *jinja, *text;
        enum tool_format format;
    } table[] = {
        {"{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}",
         "neither for tools nor for a system message", TOOL_FORMAT_HERMES},
        {SMOLLM_JINJA, "no place for tools, and with the tool format 'none'", TOOL_FORMAT_NONE},
    };
    json_t *tools =
        json_loads("[{\"type\": \"function\", \"function\": {\"name\": \"look_up\"}}]", 0, NULL);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct file f;
        struct chat_template t;
        struct jinja_output out;
        struct error e = {0};
        struct chat_input input = {.messages = user_says("?"), .n = 1, .tools = tools};
        open_file(&f, false, chatml_tokens, table[i].jinja, NULL);
        open_template(&t, &f, NULL);
        t.tool_format = table[i].format;
        assert_false(chat_template_write(&t, &input, &out, &e));
        assert_int_equal(e.code, ERROR_USAGE);
        assert_non_null(strstr(e.text, table[i].text));
        input.tools = NULL;
        assert_true(chat_template_write(&t, &input, &out, &e));
        jinja_output_finish(&out);
        chat_template_finish(&t);
        close_file(&f);
    }
    json_decref(tools);
}

static void integers_of_any_size_are_written_as_they_were_spelled(void **state)
{
    (void)state;
    static const char arguments[] = "{\"a\": 123456789012345678901234567890, \"b\": 1}";
    const struct chat_call call = {
        .id = STR("1"), .name = STR("f"), .arguments = {arguments, sizeof arguments - 1}};
    const struct chat_message messages[] = {{.role = CHAT_USER, .content = STR("?")},
                                            {.role = CHAT_ASSISTANT, .calls = &call, .n_calls = 1}};
    struct file f;
    struct chat_template t;
    open_file(&f, false, llama31_tokens, NULL, NULL);
    open_template(&t, &f, NULL);
    struct buf text = text_of(&t, messages, 2, NULL);
    assert_ends(&text,
                "\"parameters\": {\"a\": 123456789012345678901234567890, \"b\": 1}}<|eot_id|>");
    chat_template_finish(&t);
    close_file(&f);
}

static void a_refused_conversation_leaves_no_count_of_dropped_bytes(void **state)
{
    (void)state;
    static const struct chat_message m[] = {{.role = CHAT_USER, .content = {"a\1", 2}},
                                            {.role = CHAT_ASSISTANT, .content = {"a", 1}},
                                            {.role = CHAT_ASSISTANT, .content = {"a", 1}}};
    struct vocab_file f;
    vocab_file_open(&f, &(struct vocab_spec){.model = "gpt2",
                                             .pre = "gpt-2",
                                             .tokens = "<s>,</s>,a,aa",
                                             .merges = "a a",
                                             .kinds = "3311",
                                             .u32_key = "bos_token_id",
                                             .raw = GGUF_TEXT_U32("tokenizer.ggml.eos_token_id", 1),
                                             .n_raw = 1});
    struct error e = {0};
    struct tokenizer *tokenizer = tokenizer_create(f.gguf, &e);
    struct chat_template t;
    if (tokenizer == NULL ||
        !chat_template_init(&t, f.gguf, tokenizer, &(struct chat_choice){.name = "llama2"}, &e)) {
        fail_msg("%s", e.text);
    }
    struct token_list ids = {.n_dropped = 5};
    assert_false(render(&t, m, 3, true, &ids, &e));
    assert_int_equal(ids.n, 0);
    assert_int_equal(ids.n_dropped, 5);
    assert_true(render(&t, m, 2, true, &ids, &e));
    assert_true(ids.n_dropped > 5);
    token_list_finish(&ids);
    chat_template_finish(&t);
    tokenizer_destroy(tokenizer);
    vocab_file_close(&f);
}

static void one_more_turn_keeps_the_ids_before_it(void **state)
{
    (void)state;
    static const struct chat_message m[] = {{.role = CHAT_SYSTEM, .content = {"s", 1}},
                                            {.role = CHAT_USER, .content = {"u", 1}},
                                            {.role = CHAT_ASSISTANT, .content = {"v", 1}},
                                            {.role = CHAT_USER, .content = {"w", 1}}};
    for (int i = 0; i < N_FAMILIES; i++) {
        const struct family *family = &families[i];
        struct file f;
        struct chat_template t;
        struct error e = {0};
        open_file(&f, family->spm, family->tokens, NULL, NULL);
        open_template(&t, &f, family->name);
        struct token_list head = {0}, whole = {0};
        assert_true(render(&t, m, 2, true, &head, &e));
        assert_true(render(&t, m, 4, true, &whole, &e));
        assert_true(whole.n > head.n);
        assert_memory_equal(whole.ids, head.ids, head.n * sizeof *head.ids);
        token_list_finish(&head);
        token_list_finish(&whole);
        chat_template_finish(&t);
        close_file(&f);
    }
}

static void fail_every_allocation(const char *jinja, struct str id)
{
    const struct chat_call call = {.id = id, .name = STR("f"), .arguments = STR("{}")};
    const struct chat_message m[] = {{.role = CHAT_SYSTEM, .content = {"s", 1}},
                                     {.role = CHAT_USER, .content = {"hello you", 9}},
                                     {.role = CHAT_ASSISTANT, .calls = &call, .n_calls = 1}};
    struct file f;
    open_file(&f, false, chatml_tokens, jinja, NULL);
    size_t n_failed = 0;
    bool done = false;
    for (size_t nth = 1; !done; nth++) {
        struct error e = {0};
        struct chat_template t;
        struct token_list ids = {0};
        mem_fail_nth(nth);
        bool opened = chat_template_init(&t, f.gguf, f.tokenizer, NULL, &e);
        done = opened && render(&t, m, 3, true, &ids, &e);
        assert_true(!done || mem_count() < nth); /* no failure is passed over */
        mem_fail_nth(0);
        if (!done) {
            n_failed++;
            assert_int_equal(e.code, ERROR_MEMORY);
            assert_int_equal(ids.n, 0);
        }
        if (opened) {
            chat_template_finish(&t);
        }
        token_list_finish(&ids);
        assert_true(nth < 10000);
    }
    assert_true(n_failed >= 3);
    close_file(&f);
}

static size_t count_allocations(const struct file *f, struct str arguments)
{
    const struct chat_call call = {.name = STR("f"), .arguments = arguments};
    const struct chat_message m[] = {{.role = CHAT_USER, .content = {"hello you", 9}},
                                     {.role = CHAT_ASSISTANT, .calls = &call, .n_calls = 1}};
    struct error e = {0};
    struct chat_template t;
    struct token_list ids = {0};
    assert_true(chat_template_init(&t, f->gguf, f->tokenizer, NULL, &e));
    mem_fail_nth(SIZE_MAX);
    assert_true(render(&t, m, 2, true, &ids, &e));
    size_t n = mem_count();
    mem_fail_nth(0);
    token_list_finish(&ids);
    chat_template_finish(&t);
    return n;
}

/* jansson must not run out of memory in the middle. */
static void arguments_are_parsed_in_one_block(void **state)
{
    (void)state;
    struct file f;
    open_file(&f, false, chatml_tokens,
              "{% for m in messages %}<{{ m.content or '' }}{% for c in m.tool_calls %}"
              "{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}>{% endfor %}",
              NULL);
    assert_int_equal(count_allocations(&f, STR("[[[]],[1,2],[true,[]]]")),
                     count_allocations(&f, STR("[                    ]")));
    close_file(&f);
}

/* With a call that its id spells, where the template writes calls, and where it does not. */
static void running_out_of_memory_leaves_the_list_as_it_was(void **state)
{
    (void)state;
    static const char *const ids[] = {
        "call_000000000000000000000000_c",
        /* { "name": "f", "parameters": \0} */
        "call_000000000000000000000000_eyAibmFtZSI6ICJmIiwgInBhcmFtZXRlcnMiOiAAfQ",
    };
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct str id = str_from(ids[i]);
        fail_every_allocation(SMOLLM_JINJA, id);
        fail_every_allocation("{% for m in messages %}<{{ m.content or '' }}{% for c in "
                              "m.tool_calls %}{\"name\": \"{{ c.function.name }}\", "
                              "\"parameters\": {{ c.function.arguments | tojson }}}"
                              "{% endfor %}>{% endfor %}",
                              id);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_template_the_tokens_and_the_name_of_the_model_decide),
        cmocka_unit_test(a_template_that_cannot_be_used_says_why_and_what_to_do),
        cmocka_unit_test(the_text_of_a_file_is_a_template),
        cmocka_unit_test(the_beginning_of_a_text_stands_once),
        cmocka_unit_test(the_date_can_be_set),
        cmocka_unit_test(llama_2_refuses_roles_that_do_not_take_turns),
        cmocka_unit_test(what_a_template_would_leave_out_or_is_no_text_is_refused),
        cmocka_unit_test(calls_are_written_by_the_template_as_they_were_spelled_or_as_text),
        cmocka_unit_test(
            a_template_without_a_place_for_tools_gets_a_system_message_that_tells_them),
        cmocka_unit_test(tools_that_nothing_would_tell_of_are_refused),
        cmocka_unit_test(integers_of_any_size_are_written_as_they_were_spelled),
        cmocka_unit_test(a_refused_conversation_leaves_no_count_of_dropped_bytes),
        cmocka_unit_test(one_more_turn_keeps_the_ids_before_it),
        cmocka_unit_test(arguments_are_parsed_in_one_block),
        cmocka_unit_test(running_out_of_memory_leaves_the_list_as_it_was),
    };
    json_tree_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
