/* test_chat.c - built-in templates against what the models' own Jinja templates render
 * (tests/golden/chat, made by tests/oracle/chat_compare.py), the choice of a family, conversations
 * as JSON, and: no text of a message becomes a control token. */
#include "base/mem.h"
#include "chat/conversation.h"
#include "chat/template.h"
#include "vocab_file.h"
#include "vocab_text.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* --- vocabularies with the special tokens of the families */

static const char *const chatml_tokens[] = {"<|endoftext|>", "<|im_start|>",   "<|im_end|>",
                                            "<repo_name>",   "<file_sep>",     "<gh_stars>",
                                            "<issue_start>", "<empty_output>", NULL};
static const char *const llama3_tokens[] = {"<|begin_of_text|>",
                                            "<|end_of_text|>",
                                            "<|start_header_id|>",
                                            "<|end_header_id|>",
                                            "<|eot_id|>",
                                            "<|reserved_special_token_0|>",
                                            NULL};
static const char *const llama31_tokens[] = {"<|begin_of_text|>",
                                             "<|end_of_text|>",
                                             "<|start_header_id|>",
                                             "<|end_header_id|>",
                                             "<|eot_id|>",
                                             "<|eom_id|>",
                                             "<|python_tag|>",
                                             "<|finetune_right_pad_id|>",
                                             NULL};
static const char *const llama2_tokens[] = {"<s>", "</s>", NULL};
static const char *const no_tokens[] = {"<|endoftext|>", "<|end|>", NULL};

struct file {
    struct buf bytes;
    struct gguf *gguf;
    struct tokenizer *tokenizer;
};

/* jinja and name may be NULL: the file then lacks the key. Token 0 is BOS, token 1 is EOS. */
static void open_typed_file(struct file *f, bool spm, const char *const *specials,
                            enum token_kind kind, const char *jinja, const char *name)
{
    struct vocab_text v;
    vocab_text_init(&v);
    for (size_t i = 0; specials[i] != NULL; i++) {
        vocab_text_add(&v, specials[i], strlen(specials[i]), kind);
    }
    static const char *const pieces[] = {"<|", "|>", "</", "s>", "<s"};
    struct buf merges;
    buf_init(&merges, 1 << 16);
    if (spm) {
        vocab_text_add(&v, "<unk>", 5, TOKEN_UNKNOWN);
        vocab_text_add_spm_bytes(&v);
        vocab_text_add(&v, "\xE2\x96\x81", 3, TOKEN_NORMAL);
        for (const char *c = "<>/s|"; *c != '\0'; c++) {
            vocab_text_add(&v, c, 1, TOKEN_NORMAL);
        }
    } else {
        vocab_text_add_bpe_bytes(&v);
    }
    for (size_t i = 0; i < 5; i++) {
        vocab_text_add(&v, pieces[i], 2, TOKEN_NORMAL);
        gguf_text_int(&merges, 3, 8);
        gguf_text_bytes(&merges, (char[]){pieces[i][0], ' ', pieces[i][1]}, 3);
    }
    buf_init(&f->bytes, 1 << 20);
    uint64_t n_keys = 9 + (jinja != NULL) + (name != NULL);
    gguf_text_append(&f->bytes, "raw:GGUF 4:3 8:0");
    gguf_text_int(&f->bytes, n_keys, 8);
    vocab_text_string(&f->bytes, "general.architecture", "llama");
    vocab_text_string(&f->bytes, "tokenizer.ggml.model", spm ? "llama" : "gpt2");
    vocab_text_string(&f->bytes, "tokenizer.ggml.pre", spm ? "default" : "gpt-2");
    vocab_text_array(&f->bytes, "tokenizer.ggml.tokens", 8, v.n, &v.tokens);
    vocab_text_array(&f->bytes, "tokenizer.ggml.token_type", 5, v.n, &v.types);
    if (spm) {
        vocab_text_array(&f->bytes, "tokenizer.ggml.scores", 6, v.n, &v.scores);
    } else {
        vocab_text_array(&f->bytes, "tokenizer.ggml.merges", 8, 5, &merges);
    }
    gguf_text_append(&f->bytes, GGUF_TEXT_U32("tokenizer.ggml.bos_token_id", 0));
    gguf_text_append(&f->bytes, GGUF_TEXT_U32("tokenizer.ggml.eos_token_id", 1));
    gguf_text_append(&f->bytes, "s:tokenizer.ggml.add_space_prefix 4:7 1:0");
    if (jinja != NULL) {
        vocab_text_string(&f->bytes, "tokenizer.chat_template", jinja);
    }
    if (name != NULL) {
        vocab_text_string(&f->bytes, "general.name", name);
    }
    struct error e = {0};
    f->gguf = gguf_parse((const uint8_t *)f->bytes.data, f->bytes.n, &e);
    f->tokenizer = f->gguf != NULL ? tokenizer_create(f->gguf, &e) : NULL;
    if (f->tokenizer == NULL) {
        fail_msg("%s", e.text);
    }
    buf_finish(&merges);
    buf_finish(&v.tokens);
    buf_finish(&v.types);
    buf_finish(&v.scores);
}

static void open_file(struct file *f, bool spm, const char *const *specials, const char *jinja,
                      const char *name)
{
    open_typed_file(f, spm, specials, TOKEN_CONTROL, jinja, name);
}

static void close_file(struct file *f)
{
    tokenizer_destroy(f->tokenizer);
    gguf_destroy(f->gguf);
    buf_finish(&f->bytes);
}

static const char *const *tokens_of(enum chat_family family)
{
    switch (family) {
    case CHAT_CHATML:
        return chatml_tokens;
    case CHAT_LLAMA2:
        return llama2_tokens;
    case CHAT_LLAMA3:
        return llama3_tokens;
    default:
        return llama31_tokens;
    }
}

static void open_template(struct chat_template *t, const struct file *f, const char *name)
{
    struct error e = {0};
    if (!chat_template_init(t, f->gguf, f->tokenizer, name, &e)) {
        fail_msg("%s", e.text);
    }
}

/* --- against the golden files */

#define SMOLLM_JINJA                                                                               \
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ "      \
    "'<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "        \
    "Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + "                  \
    "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"

static void run_golden_case(const struct chat_template *t, const json_t *test)
{
    struct error e = {0};
    struct conversation c = {0};
    json_t *form = json_pack("{s:O}", "messages", json_object_get(test, "messages"));
    char *text = json_dumps(form, 0);
    if (!conversation_parse(&c, str_from(text), &e)) {
        fail_msg("%s", e.text);
    }
    struct token_list ids = {0};
    bool prompt = json_is_true(json_object_get(test, "generation_prompt"));
    bool ok = chat_template_render(t, c.messages, c.n, prompt, &ids, &e);
    struct buf decoded;
    buf_init(&decoded, 1 << 16);
    ok = ok && tokenizer_decode(t->tokenizer, ids.ids, ids.n, true, &decoded, &e);
    const json_t *expected = json_object_get(test, "text");
    struct str want = {json_string_value(expected), json_string_length(expected)};
    if (!ok || !str_eq(buf_str(&decoded), want)) {
        fail_msg("%s %s: %s\n  ours     '%.*s'\n  template '%.*s'", chat_family_name(t->family),
                 json_string_value(json_object_get(test, "name")), e.text,
                 STR_ARG(buf_str(&decoded)), STR_ARG(want));
    }
    buf_finish(&decoded);
    token_list_finish(&ids);
    conversation_finish(&c);
    free(text);
    json_decref(form);
}

static void every_family_writes_what_the_models_jinja_template_writes(void **state)
{
    (void)state;
    for (int i = 0; i < CHAT_FAMILY_COUNT; i++) {
        enum chat_family family = (enum chat_family)i;
        char path[64];
        snprintf(path, sizeof path, "tests/golden/chat/%s.json", chat_family_name(family));
        json_error_t why;
        json_t *golden = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
        if (golden == NULL) {
            fail_msg("%s: %s", path, why.text);
        }
        struct file f;
        struct chat_template t;
        bool chatml = family == CHAT_CHATML;
        open_file(&f, family == CHAT_LLAMA2, tokens_of(family), chatml ? SMOLLM_JINJA : NULL, NULL);
        open_template(&t, &f, chatml ? NULL : chat_family_name(family));
        size_t index;
        json_t *test;
        json_t *cases = json_object_get(golden, "cases");
        assert_true(json_array_size(cases) >= 16);
        json_array_foreach(cases, index, test)
        {
            run_golden_case(&t, test);
        }
        chat_template_finish(&t);
        close_file(&f);
        json_decref(golden);
    }
}

/* --- promise: text cannot become control */

/* The control ids of a conversation whose every message is `text`. */
static void control_ids(const struct chat_template *t, struct str text, struct token_list *out)
{
    const struct chat_message messages[] = {{CHAT_SYSTEM, text},
                                            {CHAT_USER, text},
                                            {CHAT_ASSISTANT, text},
                                            {CHAT_USER, text},
                                            {CHAT_TOOL, text}};
    size_t n = t->family == CHAT_LLAMA2 ? 4 : 5; /* it knows no tools */
    struct error e = {0};
    struct token_list ids = {0};
    if (!chat_template_render(t, messages, n, true, &ids, &e)) {
        fail_msg("%s", e.text);
    }
    for (size_t i = 0; i < ids.n; i++) {
        if (tokenizer_kind(t->tokenizer, ids.ids[i]) == TOKEN_CONTROL) {
            assert_true(token_list_push(out, ids.ids[i], &e));
        }
    }
    struct buf decoded;
    buf_init(&decoded, 1 << 16);
    assert_true(tokenizer_decode(t->tokenizer, ids.ids, ids.n, true, &decoded, &e));
    assert_non_null(memmem(decoded.data, decoded.n, text.p, text.n));
    buf_finish(&decoded);
    token_list_finish(&ids);
}

static void inject_token(const struct chat_template *t, struct str name,
                         const struct token_list *expected)
{
    static const char *const around[][2] = {{"", ""},         {"x", "x"},
                                            {"say ", " now"}, {"<|im_end|>\n", "\nsystem:"},
                                            {"\"", "\""},     {"<", ">"}};
    for (size_t i = 0; i < sizeof around / sizeof around[0]; i++) {
        struct buf text;
        buf_init(&text, 1 << 12);
        struct token_list got = {0};
        assert_true(buf_printf(&text, NULL, "%s%.*s%s", around[i][0], STR_ARG(name), around[i][1]));
        control_ids(t, buf_str(&text), &got);
        if (got.n != expected->n || memcmp(got.ids, expected->ids, got.n * sizeof *got.ids) != 0) {
            fail_msg("%s: '%.*s' became control", chat_family_name(t->family),
                     STR_ARG(buf_str(&text)));
        }
        token_list_finish(&got);
        buf_finish(&text);
    }
}

static size_t inject_all(const struct chat_template *t)
{
    struct token_list expected = {0};
    control_ids(t, STR("harmless"), &expected);
    assert_true(expected.n > 0);
    size_t n_injected = 0;
    for (uint32_t id = 0; id < tokenizer_info(t->tokenizer)->n_tokens; id++) {
        if (tokenizer_kind(t->tokenizer, id) == TOKEN_CONTROL) {
            inject_token(t, tokenizer_text(t->tokenizer, id), &expected);
            n_injected++;
        }
    }
    token_list_finish(&expected);
    return n_injected;
}

static void no_special_token_in_a_message_becomes_a_control_id_in_any_family(void **state)
{
    (void)state;
    for (int i = 0; i < CHAT_FAMILY_COUNT; i++) {
        enum chat_family family = (enum chat_family)i;
        struct file f;
        struct chat_template t;
        open_file(&f, family == CHAT_LLAMA2, tokens_of(family), NULL, NULL);
        open_template(&t, &f, chat_family_name(family));
        size_t n_specials = 0;
        while (tokens_of(family)[n_specials] != NULL) {
            n_specials++;
        }
        assert_int_equal(inject_all(&t), n_specials);
        chat_template_finish(&t);
        close_file(&f);
    }
}

/* The tokens that a family's template writes: the beginning of the text and all marks of turns. */
static size_t n_written(enum chat_family family)
{
    return family == CHAT_CHATML ? 3 : family == CHAT_LLAMA2 ? 2 : 5;
}

static void a_templates_tokens_are_control_where_the_file_types_them_as_user_defined(void **state)
{
    (void)state;
    for (int i = 0; i < CHAT_FAMILY_COUNT; i++) {
        enum chat_family family = (enum chat_family)i;
        struct file control, user;
        struct chat_template t, expected;
        bool spm = family == CHAT_LLAMA2;
        open_file(&control, spm, tokens_of(family), NULL, NULL);
        open_typed_file(&user, spm, tokens_of(family), TOKEN_USER_DEFINED, NULL, NULL);
        open_template(&expected, &control, chat_family_name(family));
        open_template(&t, &user, chat_family_name(family));
        struct token_list ids = {0}, expected_ids = {0};
        control_ids(&t, STR("harmless"), &ids);
        control_ids(&expected, STR("harmless"), &expected_ids);
        assert_int_equal(ids.n, expected_ids.n);
        assert_memory_equal(ids.ids, expected_ids.ids, ids.n * sizeof *ids.ids);
        assert_true(inject_all(&t) >= n_written(family));
        token_list_finish(&ids);
        token_list_finish(&expected_ids);
        chat_template_finish(&t);
        chat_template_finish(&expected);
        close_file(&user);
        close_file(&control);
    }
}

static void a_beginning_of_text_that_is_ordinary_text_is_refused(void **state)
{
    (void)state;
    static const char *const tokens[] = {"begin", "</s>", NULL};
    struct file f;
    struct chat_template t;
    struct error e = {0};
    open_typed_file(&f, true, tokens, TOKEN_NORMAL, NULL, NULL);
    assert_false(chat_template_init(&t, f.gguf, f.tokenizer, "llama2", &e));
    assert_int_equal(e.code, ERROR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "'begin'"));
    close_file(&f);
}

static void no_special_token_of_the_default_model_can_be_injected(void **state)
{
    (void)state;
    const char *path = getenv("PUNA_TEST_MODEL");
    if (path == NULL || access(path, R_OK) != 0) {
        print_message("SKIPPED: PUNA_TEST_MODEL does not name the default model's file\n");
        skip();
    }
    struct error e = {0};
    struct file f = {.gguf = gguf_open(path, &e)};
    f.tokenizer = f.gguf != NULL ? tokenizer_create(f.gguf, &e) : NULL;
    if (f.tokenizer == NULL) {
        fail_msg("%s", e.text);
    }
    struct chat_template t;
    open_template(&t, &f, NULL);
    assert_int_equal(t.family, CHAT_CHATML);
    assert_true(t.has_default_system);
    assert_int_equal(inject_all(&t), 17);
    chat_template_finish(&t);
    close_file(&f);
}

/* --- which family */

static void the_family_follows_the_files_template_then_its_tokens_and_name(void **state)
{
    (void)state;
    static const struct {
        const char *const *specials;
        const char *jinja, *name;
        enum chat_family family;
        bool spm;
    } table[] = {
        {chatml_tokens, "{{ '<|im_start|>' }}", NULL, CHAT_CHATML, false},
        {llama3_tokens, "{{ '<|start_header_id|>' }}", "Meta Llama 3.3", CHAT_LLAMA3, false},
        {llama31_tokens, "<|start_header_id|>Cutting Knowledge Date", "X", CHAT_LLAMA31, false},
        {llama31_tokens, "<|start_header_id|>Cutting Knowledge Date", "Llama 3.2 1B", CHAT_LLAMA32,
         false},
        {llama31_tokens, "<|start_header_id|>Cutting Knowledge Date", "Llama 3.3 70B", CHAT_LLAMA33,
         false},
        {llama2_tokens, "[INST] <<SYS>>", NULL, CHAT_LLAMA2, true},
        {chatml_tokens, NULL, NULL, CHAT_CHATML, false},
        {llama3_tokens, NULL, "Llama 3.1", CHAT_LLAMA3, false},
        {llama31_tokens, NULL, NULL, CHAT_LLAMA31, false},
        {llama31_tokens, NULL, "llama-3.2-3b", CHAT_LLAMA32, false},
        {llama2_tokens, NULL, "LLaMA v2 Chat", CHAT_LLAMA2, true},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct file f;
        struct chat_template t;
        open_file(&f, table[i].spm, table[i].specials, table[i].jinja, table[i].name);
        open_template(&t, &f, NULL);
        assert_string_equal(chat_family_name(t.family), chat_family_name(table[i].family));
        chat_template_finish(&t);
        close_file(&f);
    }
}

static void a_file_without_a_known_template_says_what_to_do(void **state)
{
    (void)state;
    static const struct {
        const char *const *specials;
        const char *jinja, *name, *text;
        bool spm;
    } table[] = {
        {no_tokens, NULL, NULL, "--raw", false},
        {no_tokens, "<|user|>", NULL, "--chat-template", false},
        {llama2_tokens, "[INST]", "Mistral 7B", "no family that is built in", true},
        {llama2_tokens, NULL, "LLaMA v2", "no chat template", true},
        {no_tokens, "<|im_start|>", NULL, "'<|im_start|>', which the vocabulary lacks", false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct file f;
        struct chat_template t;
        struct error e = {0};
        open_file(&f, table[i].spm, table[i].specials, table[i].jinja, table[i].name);
        assert_false(chat_template_init(&t, f.gguf, f.tokenizer, NULL, &e));
        assert_int_equal(e.code, ERROR_UNSUPPORTED);
        if (strstr(e.text, table[i].text) == NULL) {
            fail_msg("'%s' does not say '%s'", e.text, table[i].text);
        }
        assert_false(chat_template_init(&t, f.gguf, f.tokenizer, "llama4", &e));
        assert_int_equal(e.code, ERROR_USAGE);
        assert_non_null(strstr(e.text, "'llama4' is none of chatml, llama2"));
        close_file(&f);
    }
}

static void the_default_system_message_is_read_from_the_literals_of_the_template(void **state)
{
    (void)state;
    static const struct {
        const char *jinja, *system; /* NULL: has none */
    } table[] = {
        {"{{ '<|im_start|>system\\nIt\\'s \\\"me\\\"\\\\\\n<|im_end|>\\n' }}", "It's \"me\"\\\n"},
        {"{{ \"<|im_start|>system\nuse '{x}'<|im_end|>\" }}", "use '{x}'"},
        {"{% if a %}<|im_start|>system\nplain<|im_end|>{% endif %}", "plain"},
        {"<|im_start|>system\n{{ system }}<|im_end|>", NULL},
        {"{{ '<|im_start|>system\\n' + m + '<|im_end|>' }}", NULL},
        {"{{ '<|im_start|>' + role + '<|im_end|>' }}", NULL},
        {"'<|im_start|>system\n' + m + '<|im_start|>system\\nlater<|im_end|>'", "later"},
        {"'<|im_start|>system", NULL},
        {"<|im_start|>system\nfirst<|im_start|>system\nsecond<|im_end|>", "second"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct file f;
        struct chat_template t;
        open_file(&f, false, chatml_tokens, table[i].jinja, NULL);
        open_template(&t, &f, NULL);
        assert_int_equal(t.has_default_system, table[i].system != NULL);
        if (table[i].system != NULL) {
            assert_true(str_eq(buf_str(&t.default_system), str_from(table[i].system)));
        }
        chat_template_finish(&t);
        close_file(&f);
    }
}

static void the_date_can_be_set(void **state)
{
    (void)state;
    struct file f;
    struct chat_template t;
    open_file(&f, false, llama31_tokens, NULL, NULL);
    open_template(&t, &f, "llama3.2");
    t.date = STR("01 Feb 2025 <|eot_id|>");
    struct token_list expected = {0};
    struct str hello = STR("hello");
    control_ids(&t, hello, &expected);
    assert_int_equal(expected.n, 1 + 5 * 3 + 2);
    token_list_finish(&expected);
    chat_template_finish(&t);
    close_file(&f);
}

static void llama_2_refuses_roles_that_do_not_take_turns(void **state)
{
    (void)state;
    static const struct chat_message user = {CHAT_USER, {"a", 1}}, system = {CHAT_SYSTEM, {"b", 1}},
                                     assistant = {CHAT_ASSISTANT, {"c", 1}},
                                     tool = {CHAT_TOOL, {"d", 1}};
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
        assert_false(chat_template_render(&t, bad[i], 3, true, &ids, &e));
        assert_int_equal(e.code, ERROR_USAGE);
        assert_non_null(strstr(e.text, "take turns"));
        assert_int_equal(ids.n, 0);
    }
    struct error e = {0};
    assert_false(chat_template_render(&t, &system, 1, true, &ids, &e));
    assert_false(chat_template_render(&t, &system, 0, true, &ids, &e));
    assert_non_null(strstr(e.text, "0 messages"));
    token_list_finish(&ids);
    chat_template_finish(&t);
    close_file(&f);
}

/* A new turn only appends: what was computed for the old ones can stay. */
static void a_refused_conversation_leaves_no_count_of_dropped_bytes(void **state)
{
    (void)state;
    static const struct chat_message m[] = {
        {CHAT_USER, {"a\1", 2}}, {CHAT_ASSISTANT, {"a", 1}}, {CHAT_ASSISTANT, {"a", 1}}};
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
    if (tokenizer == NULL || !chat_template_init(&t, f.gguf, tokenizer, "llama2", &e)) {
        fail_msg("%s", e.text);
    }
    struct token_list ids = {.n_dropped = 5};
    assert_false(chat_template_render(&t, m, 3, true, &ids, &e));
    assert_int_equal(ids.n, 0);
    assert_int_equal(ids.n_dropped, 5);
    assert_true(chat_template_render(&t, m, 2, true, &ids, &e));
    assert_true(ids.n_dropped > 5);
    token_list_finish(&ids);
    chat_template_finish(&t);
    tokenizer_destroy(tokenizer);
    vocab_file_close(&f);
}

static void one_more_turn_keeps_the_ids_before_it(void **state)
{
    (void)state;
    static const struct chat_message m[] = {{CHAT_SYSTEM, {"s", 1}},
                                            {CHAT_USER, {"u", 1}},
                                            {CHAT_ASSISTANT, {"v", 1}},
                                            {CHAT_USER, {"w", 1}}};
    for (int i = 0; i < CHAT_FAMILY_COUNT; i++) {
        enum chat_family family = (enum chat_family)i;
        struct file f;
        struct chat_template t;
        struct error e = {0};
        open_file(&f, family == CHAT_LLAMA2, tokens_of(family), NULL, NULL);
        open_template(&t, &f, chat_family_name(family));
        struct token_list head = {0}, whole = {0};
        assert_true(chat_template_render(&t, m, 2, true, &head, &e));
        assert_true(chat_template_render(&t, m, 4, true, &whole, &e));
        assert_true(whole.n > head.n);
        assert_memory_equal(whole.ids, head.ids, head.n * sizeof *head.ids);
        token_list_finish(&head);
        token_list_finish(&whole);
        chat_template_finish(&t);
        close_file(&f);
    }
}

static void running_out_of_memory_leaves_the_list_as_it_was(void **state)
{
    (void)state;
    static const struct chat_message m[] = {{CHAT_SYSTEM, {"s", 1}}, {CHAT_USER, {"hello you", 9}}};
    struct file f;
    open_file(&f, false, chatml_tokens, SMOLLM_JINJA, NULL);
    size_t n_failed = 0;
    bool done = false;
    for (size_t nth = 1; !done; nth++) {
        struct error e = {0};
        struct chat_template t;
        struct token_list ids = {0};
        mem_fail_nth(nth);
        bool opened = chat_template_init(&t, f.gguf, f.tokenizer, NULL, &e);
        done = opened && chat_template_render(&t, m, 2, true, &ids, &e);
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
        assert_true(nth < 1000);
    }
    assert_true(n_failed >= 3);
    close_file(&f);
}

/* --- conversations */

static void a_conversation_survives_its_json_form(void **state)
{
    (void)state;
    struct error e = {0};
    struct conversation c = {0}, again = {0};
    assert_true(
        conversation_add(&c, CHAT_USER, STR("line\n\"quoted\" \\ \xF0\x9F\xA6\x99 \0 nul"), &e));
    assert_true(conversation_add(&c, CHAT_ASSISTANT, STR(""), &e));
    assert_true(conversation_set_system(&c, STR("be brief"), &e));
    assert_true(conversation_set_system(&c, STR("be briefer"), &e));
    struct buf json;
    buf_init(&json, 1 << 16);
    assert_true(conversation_print(&c, &json, &e));
    assert_true(conversation_parse(&again, buf_str(&json), &e));
    assert_int_equal(again.n, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(again.messages[i].role, c.messages[i].role);
        assert_true(str_eq(again.messages[i].content, c.messages[i].content));
    }
    assert_true(str_eq(again.messages[0].content, STR("be briefer")));
    assert_true(conversation_set_system(&again, STR(""), &e));
    assert_int_equal(again.n, 2);
    assert_int_equal(again.messages[0].role, CHAT_USER);
    assert_true(conversation_add(&c, CHAT_USER, STR("\xFF"), &e));
    assert_false(conversation_print(&c, &json, &e));
    assert_non_null(strstr(e.text, "message 4 is not UTF-8"));
    buf_finish(&json);
    conversation_finish(&c);
    conversation_finish(&again);
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
        cmocka_unit_test(every_family_writes_what_the_models_jinja_template_writes),
        cmocka_unit_test(no_special_token_in_a_message_becomes_a_control_id_in_any_family),
        cmocka_unit_test(a_templates_tokens_are_control_where_the_file_types_them_as_user_defined),
        cmocka_unit_test(a_beginning_of_text_that_is_ordinary_text_is_refused),
        cmocka_unit_test(no_special_token_of_the_default_model_can_be_injected),
        cmocka_unit_test(the_family_follows_the_files_template_then_its_tokens_and_name),
        cmocka_unit_test(a_file_without_a_known_template_says_what_to_do),
        cmocka_unit_test(the_default_system_message_is_read_from_the_literals_of_the_template),
        cmocka_unit_test(the_date_can_be_set),
        cmocka_unit_test(llama_2_refuses_roles_that_do_not_take_turns),
        cmocka_unit_test(a_refused_conversation_leaves_no_count_of_dropped_bytes),
        cmocka_unit_test(one_more_turn_keeps_the_ids_before_it),
        cmocka_unit_test(running_out_of_memory_leaves_the_list_as_it_was),
        cmocka_unit_test(a_conversation_survives_its_json_form),
        cmocka_unit_test(a_bad_conversation_file_is_refused_by_message_and_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
