/* test_template_shape.c - templates that want to be called otherwise than transformers calls them,
 * and what they would leave out without a word. */
#include "base/json_tree.h"
#include "chat_file.h"

static const struct chat_call call = {
    .id = STR("c1"), .name = STR("f"), .arguments = STR("{\"a\":1, \"b\": \"x\"}")};
static const struct chat_message messages[] = {
    {.role = CHAT_USER, .content = STR("?")},
    {.role = CHAT_ASSISTANT, .calls = &call, .n_calls = 1},
    {.role = CHAT_TOOL, .content = STR("1")},
};

/* The text of the first n messages, or of the error. Freed by the caller. */
static char *text_of(const struct chat_template *t, const struct chat_message *list, size_t n,
                     const json_t *tools)
{
    struct chat_input input = {.messages = list, .n = n, .tools = tools};
    struct jinja_output out;
    struct error e = {0};
    if (!chat_template_write(t, &input, &out, &e)) {
        assert_int_equal(e.code, ERROR_USAGE);
        return strdup(e.text);
    }
    char *text = strndup(out.text.data, out.text.n);
    jinja_output_finish(&out);
    return text;
}

static void assert_text(const struct chat_template *t, const struct chat_message *list, size_t n,
                        const char *expected)
{
    char *text = text_of(t, list, n, NULL);
    assert_string_equal(text, expected);
    free(text);
}

/* a loop over messages with the given inside; the vocabulary has ChatML's tokens */
#define EACH(inside) "{% for m in messages %}" inside "{% endfor %}"

static void a_template_is_called_in_the_way_that_it_can_write(void **state)
{
    (void)state;
    static const struct {
        const char *jinja;
        struct chat_shape shape;
        size_t n;
        const char *text;
    } table[] = {
        /* as transformers does, where several ways do */
        {EACH("[{{ m.content }}{% for c in m.tool_calls %}{{ c.function | tojson }}{% endfor %}]"),
         {0},
         2,
         "[?][None{\"name\": \"f\", \"arguments\": {\"a\":1, \"b\": \"x\"}}]"},
        {"{% if tools is not none %}no{% endif %}" EACH("{{ m.content }}"), {0}, 1, "?"},
        {EACH("{{ m.content if m.content is string else m.content[0].text }}"), {0}, 1, "?"},
        /* Llama Guard 3 1B */
        {EACH("{% for p in m.content | selectattr('type', 'equalto', 'text') %}{{ p.text }}{% "
              "endfor %}"),
         {.content_parts = true},
         1,
         "?"},
        /* Hermes 2 Pro with tools */
        {"{% for tool in tools %}{{ tool }}{% endfor %}" EACH("{{ m.content }}"),
         {.tools_list = true},
         1,
         "?"},
        {"{% for tool in tools %}{{ tool }}{% endfor %}" EACH("{{ m.content[0].text }}"),
         {.tools_list = true, .content_parts = true},
         1,
         "?"},
        /* Ministral */
        {EACH("[{{ m.content + '' }}{% for c in m.tool_calls %}{{ c.function.name }}{{ "
              "c.function.arguments | tojson }}{% endfor %}]"),
         {.content_empty = true},
         2,
         "[?][f{\"a\":1, \"b\": \"x\"}]"},
        /* DeepSeek R1 Distill Llama */
        {EACH("{% if m.content is none %}{{ m.tool_calls[0].function.name + '(' + "
              "m.tool_calls[0].function.arguments + ')' }}{% else %}{{ m.content }}{% endif %}"),
         {.arguments_text = true},
         2,
         "?f({\"a\":1, \"b\": \"x\"})"},
        /* a mapping would be printed as Python has it */
        {EACH("{{ m.content }}{% for c in m.tool_calls %}{{ c.function.name }}{{ "
              "c.function.arguments }}{% endfor %}"),
         {.arguments_text = true},
         2,
         "?Nonef{\"a\":1, \"b\": \"x\"}"},
        {EACH("{% if m.content == '' %}{{ m.tool_calls[0].function.name + "
              "m.tool_calls[0].function.arguments }}{% else %}{{ m.content }}{% endif %}"),
         {.content_empty = true, .arguments_text = true},
         2,
         "?f{\"a\":1, \"b\": \"x\"}"},
        /* only the values are written */
        {EACH("{{ m.content }}{% for c in m.tool_calls %}{{ c.function.name }}{% for k, v in "
              "c.function.arguments.items() %}<{{ v }}>{% endfor %}{% endfor %}"),
         {0},
         2,
         "?Nonef<1><x>"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct file f;
        struct chat_template t;
        open_file(&f, false, chatml_tokens, table[i].jinja, NULL);
        open_template(&t, &f, NULL);
        assert_memory_equal(&t.shape, &table[i].shape, sizeof t.shape);
        assert_text(&t, messages, table[i].n, table[i].text);
        chat_template_finish(&t);
        close_file(&f);
    }
}

static void a_call_without_an_id_has_none(void **state)
{
    (void)state;
    static const struct chat_call nameless = {.name = STR("f"), .arguments = STR("{}")};
    static const struct chat_message list[] = {
        {.role = CHAT_USER, .content = STR("?")},
        {.role = CHAT_ASSISTANT, .calls = &nameless, .n_calls = 1}};
    struct file f;
    struct chat_template t;
    open_file(&f, false, chatml_tokens,
              EACH("{{ m.content }}{% for c in m.tool_calls %}{{ c.function.name }}{{ "
                   "c.function.arguments | tojson }}{{ c.id is defined }}{% endfor %}"),
              NULL);
    open_template(&t, &f, NULL);
    assert_text(&t, list, 2, "?Nonef{}False");
    assert_text(&t, messages, 2, "?Nonef{\"a\":1, \"b\": \"x\"}True");
    chat_template_finish(&t);
    close_file(&f);
}

static void calls_have_the_form_that_our_system_message_teaches(void **state)
{
    (void)state;
    json_t *tools =
        json_loads("[{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]", 0, NULL);
    struct file f;
    struct chat_template t;
    open_file(&f, false, chatml_tokens,
              EACH("{{ m.content }}{% for c in m.tool_calls %}<call {{ c.function.name }}>{{ "
                   "c.function.arguments | tojson }}{% endfor %}"),
              NULL);
    open_template(&t, &f, NULL);
    t.tool_format = TOOL_FORMAT_HERMES;
    assert_false(t.support.tools);
    assert_true(t.support.calls);
    assert_text(&t, messages, 2, "?None<call f>{\"a\":1, \"b\": \"x\"}");
    char *text = text_of(&t, messages, 2, tools);
    assert_non_null(strstr(text, "within <tool_call> tags"));
    assert_non_null(strstr(
        text,
        "?<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\":1, \"b\": \"x\"}}\n</tool_call>"));
    assert_null(strstr(text, "<call f>"));
    free(text);
    json_decref(tools);
    chat_template_finish(&t);
    close_file(&f);
}

#define ID(letter) STR("call_000000000000000000000000" letter)
#define CALLED                                                                                     \
    "{% for c in m.tool_calls %}{\"name\": \"{{ c.function.name }}\", \"parameters\": "            \
    "{{ c.function.arguments | tojson }}}{% endfor %}"

/* A model's own spelling, named by the id, unless the template has to see that it is a call, or
 * would cut what is said. */
static void a_call_keeps_its_spelling_where_the_template_bears_it(void **state)
{
    (void)state;
    static const char plain[] = EACH("<{{ m.content or '' }}" CALLED ">");
    static const struct {
        const char *jinja;
        struct str arguments;
        const char *text;
        bool bears;
    } table[] = {
        {plain, STR("{}"), "<?><{\"name\": \"f\", \"arguments\": {}}><1>", true},
        {"{% for m in messages %}{% if m.role == 'tool' and not messages[loop.index0 - "
         "1].tool_calls %}{{ raise_exception('answers nothing') }}{% endif %}<{{ m.content or '' "
         "}}" CALLED ">{% endfor %}",
         STR("{}"), "<?><{\"name\": \"f\", \"parameters\": {}}><1>", false},
        {"{% for m in messages %}<{{ m.content or '' }}" CALLED "{% if m.role == 'tool' %} of {{ "
         "messages[loop.index0 - 1].tool_calls[0].function.name if messages[loop.index0 - "
         "1].tool_calls else '?' }}{% endif %}>{% endfor %}",
         STR("{}"), "<?><{\"name\": \"f\", \"parameters\": {}}><1 of f>", false},
        {EACH("<{{ (m.content or '').split('</think>')[-1] }}" CALLED ">"), STR("{}"),
         "<?><{\"name\": \"f\", \"arguments\": {}}><1>", true},
        {EACH("<{{ (m.content or '').split('</think>')[-1] }}" CALLED ">"),
         STR("{\"a\": \"</think>\"}"),
         "<?><{\"name\": \"f\", \"parameters\": {\"a\": \"</think>\"}}><1>", true},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct chat_call spelled = {
            .id = ID("_c"), .name = STR("f"), .arguments = table[i].arguments};
        struct chat_message list[] = {
            {.role = CHAT_USER, .content = STR("?")},
            {.role = CHAT_ASSISTANT, .calls = &spelled, .n_calls = 1},
            {.role = CHAT_TOOL, .content = STR("1"), .call_id = ID("_c")},
        };
        struct file f;
        struct chat_template t;
        open_file(&f, false, chatml_tokens, table[i].jinja, NULL);
        open_template(&t, &f, NULL);
        assert_int_equal(t.support.calls_as_text, table[i].bears);
        assert_ptr_equal(t.spelling, tool_spelling_usual(TOOL_FORMAT_LLAMA3_JSON));
        assert_text(&t, list, 3, table[i].text);
        chat_template_finish(&t);
        close_file(&f);
    }
}

/* Calls are looked for behind those before, wherever else their text stands; a template that moves
 * more than a few has its own spelling. */
static void calls_are_found_in_the_order_of_their_messages(void **state)
{
    (void)state;
    enum { N_CALLS = 40 };
    static const struct {
        const char *jinja;
        size_t n, n_apart; /* messages; calls that differ */
        bool keeps;
    } table[] = {
        {EACH("<{{ m.content or '' }}" CALLED ">"), N_CALLS, N_CALLS, true},
        {EACH("<{{ m.content or '' }}" CALLED ">"), N_CALLS, 1, true},
        {EACH("<{{ m.content or '' }}" CALLED ">"), N_CALLS, 3, true},
        {"{% for m in messages[::-1] %}<{{ m.content or '' }}" CALLED ">{% endfor %}", 8, 8, true},
        {"{% for m in messages[::-1] %}<{{ m.content or '' }}" CALLED ">{% endfor %}", N_CALLS, 1,
         true},
        {"{% for m in messages[::-1] %}<{{ m.content or '' }}" CALLED ">{% endfor %}", N_CALLS,
         N_CALLS, false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct chat_call calls[N_CALLS];
        struct chat_message list[1 + N_CALLS] = {
            {.role = CHAT_USER, .content = STR("{\"name\": \"f\", \"arguments\": {\"a\": 1}}")}};
        char arguments[N_CALLS][32];
        for (size_t k = 0; k < table[i].n; k++) {
            snprintf(arguments[k], sizeof arguments[k], "{\"a\": %zu}", k % table[i].n_apart);
            calls[k] = (struct chat_call){
                .id = ID("_c"), .name = STR("f"), .arguments = str_from(arguments[k])};
            list[1 + k] =
                (struct chat_message){.role = CHAT_ASSISTANT, .calls = &calls[k], .n_calls = 1};
        }
        struct file f;
        struct chat_template t;
        open_file(&f, false, chatml_tokens, table[i].jinja, NULL);
        open_template(&t, &f, NULL);
        char *text = text_of(&t, list, 1 + table[i].n, NULL);
        assert_int_equal(strstr(text, "parameters") == NULL, table[i].keeps);
        free(text);
        chat_template_finish(&t);
        close_file(&f);
    }
}

/* Where no id names one and the template cannot write the message, it is the template's own. */
static void calls_that_a_template_leaves_out_have_its_spelling(void **state)
{
    (void)state;
    static const struct chat_message list[] = {
        {.role = CHAT_USER, .content = STR("?")},
        {.role = CHAT_ASSISTANT, .content = STR("Well: "), .calls = &call, .n_calls = 1}};
    json_t *tools =
        json_loads("[{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]", 0, NULL);
    struct file f;
    struct chat_template t;
    open_file(&f, false, chatml_tokens,
              "{{ tools }}" EACH("[{% if m.tool_calls %}{\"name\": \"{{ "
                                 "m.tool_calls[0].function.name }}\", \"arguments\": {{ "
                                 "m.tool_calls[0].function.arguments | tojson }}}{% else %}{{ "
                                 "m.content }}{% endif %}]"),
              NULL);
    open_template(&t, &f, NULL);
    assert_true(t.support.tools && t.support.calls && !t.support.text_and_calls);
    char *text = text_of(&t, list, 2, tools);
    assert_non_null(
        strstr(text, "[Well: {\"name\": \"f\", \"arguments\": {\"a\":1, \"b\": \"x\"}}]"));
    free(text);
    json_decref(tools);
    chat_template_finish(&t);
    close_file(&f);
}

static void a_system_message_that_would_be_left_out_is_refused(void **state)
{
    (void)state;
    static const struct chat_message user = {.role = CHAT_USER, .content = STR("u")},
                                     system = {.role = CHAT_SYSTEM, .content = STR("s")},
                                     said = {.role = CHAT_ASSISTANT, .content = STR("a")};
    static const char *const leave_out[] = {
        /* the first alone */
        "{% for m in messages %}{% if m.role != 'system' or loop.first %}{{ m.content }}{% endif "
        "%}{% endfor %}",
        /* the last alone: DeepSeek R1 Distill Llama */
        "{% set ns = namespace(s='') %}{% for m in messages %}{% if m.role == 'system' %}{% set "
        "ns.s = m.content %}{% endif %}{% endfor %}{{ ns.s }}{% for m in messages %}{% if m.role "
        "!= 'system' %}{{ m.content }}{% endif %}{% endfor %}",
        /* the last of all messages: Llama 2 as published */
        "{% for m in messages %}{% if not (loop.last and m.role == 'system') %}{{ m.content }}{% "
        "endif %}{% endfor %}",
    };
    const struct chat_message first[] = {system, user, said, user},
                              later[] = {system, user, system};
    struct file f;
    struct chat_template t;
    for (size_t i = 0; i < 3; i++) {
        open_file(&f, false, chatml_tokens, leave_out[i], NULL);
        open_template(&t, &f, NULL);
        assert_text(&t, first, 4, "suau");
        assert_text(&t, later, 3,
                    "message 3 is from system, of which the model's chat template leaves out all "
                    "but one");
        chat_template_finish(&t);
        close_file(&f);
    }
    open_file(&f, false, chatml_tokens, NULL, NULL);
    open_template(&t, &f, NULL);
    assert_true(t.support.later_system);
    char *text = text_of(&t, later, 3, NULL);
    assert_non_null(
        strstr(text, "system\ns<|im_end|>\n<|im_start|>user\nu<|im_end|>\n<|im_start|>system\ns"));
    free(text);
    chat_template_finish(&t);
    close_file(&f);
}

static void tools_that_a_system_message_displaces_count_as_not_written(void **state)
{
    (void)state;
    struct file f;
    struct chat_template t;
    open_file(&f, false, chatml_tokens,
              "{% if tools and messages[0].role != 'system' %}{{ tools | tojson }}{% endif %}" EACH(
                  "{{ m.content }}"),
              NULL);
    open_template(&t, &f, NULL);
    assert_false(t.support.tools);
    chat_template_finish(&t);
    close_file(&f);
}

static void a_date_comes_as_a_text_or_from_the_clock(void **state)
{
    (void)state;
    static const struct {
        const char *jinja;
        bool date, clock;
    } table[] = {
        {"{{ messages[0].content }}", false, false},
        {"{{ messages[0].content }}{{ date_string }}", true, false},
        {"{{ messages[0].content }}{{ strftime_now('%d %B') }}", false, true},
        {"{{ messages[0].content }}{{ date_string if date_string is defined else "
         "strftime_now('%d') }}",
         true, true},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct file f;
        struct chat_template t;
        open_file(&f, false, chatml_tokens, table[i].jinja, NULL);
        open_template(&t, &f, NULL);
        assert_int_equal(t.support.date, table[i].date);
        assert_int_equal(t.support.clock, table[i].clock);
        assert_null(t.date);
        chat_template_finish(&t);
        close_file(&f);
    }
}

static void a_template_that_never_ends_is_refused(void **state)
{
    (void)state;
    struct file f;
    struct chat_template t;
    struct error e = {0};
    open_file(&f, false, chatml_tokens,
              "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
              NULL);
    assert_false(chat_template_init(&t, f.gguf, f.tokenizer, NULL, &e));
    assert_int_equal(e.code, ERROR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "steps"));
    close_file(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_template_is_called_in_the_way_that_it_can_write),
        cmocka_unit_test(a_call_without_an_id_has_none),
        cmocka_unit_test(calls_have_the_form_that_our_system_message_teaches),
        cmocka_unit_test(a_call_keeps_its_spelling_where_the_template_bears_it),
        cmocka_unit_test(calls_are_found_in_the_order_of_their_messages),
        cmocka_unit_test(calls_that_a_template_leaves_out_have_its_spelling),
        cmocka_unit_test(a_system_message_that_would_be_left_out_is_refused),
        cmocka_unit_test(tools_that_a_system_message_displaces_count_as_not_written),
        cmocka_unit_test(a_date_comes_as_a_text_or_from_the_clock),
        cmocka_unit_test(a_template_that_never_ends_is_refused),
    };
    json_tree_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
