/* test_tool_grammar.c - what the grammar of calls allows, the parser of calls finds: random texts
 * of the grammar, byte by byte. */
#include "base/rng.h"
#include "chat/tool_grammar.h"
#include "chat/tool_parser.h"
#include "schema/automaton.h"
#include "schema/schema_validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char tools_text[] =
    "[{\"type\": \"function\", \"function\": {\"name\": \"weather\", \"parameters\": {\"type\":"
    " \"object\", \"properties\": {\"city\": {\"enum\": [\"Rome\", \"K\\u00f6ln\"]}, \"days\":"
    " {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 9}}, \"required\": [\"city\"],"
    " \"additionalProperties\": false}}},"
    " {\"type\": \"function\", \"function\": {\"name\": \"now\"}},"
    " {\"type\": \"function\", \"function\": {\"name\": \"free\", \"parameters\": {\"properties\":"
    " {\"x\": {\"type\": [\"boolean\", \"null\"]}}, \"additionalProperties\": false}}}]";

/* A vocabulary of bytes: token b is byte b, 256 ends a text. */
static struct token_trie *byte_trie(void)
{
    static char bytes[256];
    static struct str pieces[257];
    static bool is_end[257];
    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        pieces[i] = (struct str){&bytes[i], 1};
    }
    pieces[256] = (struct str){bytes, 0};
    is_end[256] = true;
    struct error e = {0};
    struct token_trie *t = token_trie_from_pieces(pieces, is_end, 257, &e);
    assert_non_null(t);
    return t;
}

/* A text of the grammar; false when it got too long. */
static bool random_text(struct automaton *a, struct rng *rng, struct buf *out)
{
    struct error e = {0};
    uint32_t state = AUTOMATON_START;
    buf_clear(out);
    while (out->n < 2000) {
        uint32_t allowed[257], n = 0;
        const uint64_t *mask = automaton_mask(a, state, &e);
        assert_non_null(mask);
        for (uint32_t i = 0; i < 257; i++) {
            if (token_mask_has(mask, i)) {
                allowed[n++] = i;
            }
        }
        assert_true(n > 0);
        uint32_t chosen = allowed[rng_next(rng) % n];
        if (token_mask_has(mask, 256) && rng_next(rng) % 3 == 0) {
            chosen = 256;
        }
        if (chosen == 256) {
            return true;
        }
        assert_true(buf_append_byte(out, (char)chosen, &e));
        assert_true(automaton_step(a, state, (uint8_t)chosen, &state, &e));
    }
    return false;
}

struct found {
    size_t n_calls, n_content;
    char names[TOOL_PARSER_MAX_CALLS][32];
};

/* Parses the text whole, and checks each call's arguments. */
static void parse(enum tool_format format, const struct tool_set *set, struct str text,
                  struct found *out)
{
    struct error e = {0};
    struct tool_output o;
    struct buf arguments;
    buf_init(&arguments, 1 << 16);
    *out = (struct found){0};
    tool_output_init(&o);
    struct tool_parser *p = tool_parser_create(format, set, &e);
    assert_non_null(p);
    assert_true(tool_parser_push(p, text, &o, &e) && tool_parser_flush(p, &o, &e));
    size_t at = 0;
    for (size_t i = 0; i < o.n_spans; i++) {
        const struct tool_span *span = &o.spans[i];
        struct str bytes = {o.text.data + at, span->n_bytes};
        at += span->n_bytes;
        if (span->kind == TOOL_CONTENT) {
            out->n_content += span->n_bytes;
        } else if (span->kind == TOOL_CALL_NAME) {
            assert_true(out->n_calls < TOOL_PARSER_MAX_CALLS);
            snprintf(out->names[out->n_calls], 32, "%.*s", STR_ARG(bytes));
        } else if (span->kind == TOOL_CALL_ARGUMENTS) {
            assert_true(buf_append(&arguments, bytes, &e));
        } else {
            assert_int_equal(span->end, TOOL_COMPLETE);
            const struct tool *tool = tool_set_find(set, str_from(out->names[out->n_calls]));
            json_t *value = json_loadb(arguments.data, arguments.n, 0, NULL);
            assert_non_null(tool);
            assert_true(json_is_object(value));
            json_t *schema = json_object_get(tool->function, "parameters");
            struct schema_verdict verdict;
            if (schema != NULL) {
                assert_int_equal(schema_validate(schema, value, NULL, &verdict), SCHEMA_VALID);
            } else {
                assert_int_equal(json_object_size(value), 0);
            }
            json_decref(value);
            buf_clear(&arguments);
            out->n_calls++;
        }
    }
    tool_parser_destroy(p);
    tool_output_finish(&o);
    buf_finish(&arguments);
}

struct world {
    json_t *tools;
    struct tool_set set;
    struct token_trie *trie;
    struct grammar *grammar;
    struct automaton *automaton;
};

static void open_world(struct world *w, struct tool_grammar_options o, const char *only)
{
    struct error e = {0};
    struct tool_grammar_notes notes;
    w->tools = json_loads(tools_text, 0, NULL);
    assert_true(tool_set_init(&w->set, w->tools, &e));
    o.set = &w->set;
    o.only = only != NULL ? tool_set_find(&w->set, str_from(only)) : NULL;
    struct grammar_builder *b = grammar_builder_create(&e);
    uint32_t root = GRAMMAR_NONE;
    if (!tool_grammar_build(b, &o, &root, &notes, &e)) {
        fail_msg("%s", e.text);
    }
    assert_null(notes.loose);
    assert_int_equal(notes.remarks.n, 0);
    w->grammar = grammar_compile(b, root, &e);
    if (w->grammar == NULL) {
        fail_msg("%s", e.text);
    }
    grammar_builder_destroy(b);
    w->trie = byte_trie();
    w->automaton = automaton_create(w->grammar, w->trie, &e);
    assert_non_null(w->automaton);
}

static void close_world(struct world *w)
{
    automaton_destroy(w->automaton);
    grammar_destroy(w->grammar);
    token_trie_destroy(w->trie);
    tool_set_finish(&w->set);
    json_decref(w->tools);
}

static const enum tool_format formats[] = {TOOL_FORMAT_LLAMA3_JSON, TOOL_FORMAT_PYTHONIC,
                                           TOOL_FORMAT_FUNCTION_TAG, TOOL_FORMAT_HERMES};

static void every_forced_answer_is_calls_that_the_parser_finds(void **state)
{
    (void)state;
    struct rng rng;
    struct buf text;
    rng_init(&rng, 5);
    buf_init(&text, 1 << 16);
    for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
        for (int several = 0; several < 2; several++) {
            struct world w;
            struct found found;
            size_t n_most = 0, n_texts = 0;
            open_world(&w,
                       (struct tool_grammar_options){.format = formats[f], .several = several == 1},
                       several ? NULL : "weather");
            for (int round = 0; round < 300; round++) {
                if (!random_text(w.automaton, &rng, &text)) {
                    continue;
                }
                n_texts++;
                parse(formats[f], &w.set, buf_str(&text), &found);
                if (found.n_calls == 0 || found.n_content > 0) {
                    fail_msg("'%.*s': %zu calls, %zu bytes of content", STR_ARG(buf_str(&text)),
                             found.n_calls, found.n_content);
                }
                assert_true(several ||
                            (found.n_calls == 1 && strcmp(found.names[0], "weather") == 0));
                n_most = found.n_calls > n_most ? found.n_calls : n_most;
            }
            assert_true(n_texts > 100);
            assert_int_equal(n_most > 1, several);
            close_world(&w);
        }
    }
    buf_finish(&text);
}

static bool accepts(struct automaton *a, struct str text)
{
    struct error e = {0};
    uint32_t state = AUTOMATON_START;
    for (size_t i = 0; i < text.n; i++) {
        assert_true(automaton_step(a, state, (uint8_t)text.p[i], &state, &e));
    }
    return automaton_is_complete(a, state);
}

static void no_more_calls_are_allowed_than_the_parser_finds(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, 1 << 16);
    for (int hermes = 0; hermes < 2; hermes++) {
        enum tool_format format = hermes ? TOOL_FORMAT_HERMES : TOOL_FORMAT_LLAMA3_JSON;
        struct str call =
            hermes ? STR("<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>")
                   : STR("{\"name\": \"now\", \"parameters\": {}}");
        struct world w;
        struct found found;
        open_world(&w, (struct tool_grammar_options){.format = format, .several = true}, NULL);
        buf_clear(&text);
        for (int n = 1; n <= TOOL_GRAMMAR_MAX_CALLS + 1; n++) {
            assert_true(buf_append(&text, n == 1 ? STR("") : hermes ? STR("\n") : STR("; "), NULL));
            assert_true(buf_append(&text, call, NULL));
            assert_int_equal(accepts(w.automaton, buf_str(&text)), n <= TOOL_GRAMMAR_MAX_CALLS);
            if (n == TOOL_GRAMMAR_MAX_CALLS) {
                parse(format, &w.set, buf_str(&text), &found);
                assert_int_equal(found.n_calls, n);
                assert_int_equal(found.n_content, 0);
            }
        }
        close_world(&w);
    }
    buf_finish(&text);
}

static void an_answer_that_may_be_a_text_has_no_call_that_is_not_held_to_its_schema(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool llama, hermes;
    } table[] = {
        {"", true, true},
        {"It is 20 degrees; {that} is [warm] (very).", true, true},
        {"{\"name\": \"weather\", \"parameters\": {\"city\": \"Rome\"}}", true, false},
        {"{\"name\": \"weather\", \"parameters\": {\"city\": \"Paris\"}}", false, false},
        {"So: {\"name\": \"weather\", \"parameters\": {\"city\": \"Rome\"}}", false, false},
        {"<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>", false, true},
        {"<tool_call>\n{\"name\": \"now\", \"arguments\": {\"x\": 1}}\n</tool_call>", false, false},
        {"[now()]", false, true},
        {"[ now (", false, true},
        {"<function=now>{}</function>", false, true},
        {"\xC3\xA9\n\n\xF0\x9F\xA6\x99", true, true},
    };
    for (int hermes = 0; hermes < 2; hermes++) {
        struct world w;
        open_world(&w,
                   (struct tool_grammar_options){.format = hermes ? TOOL_FORMAT_HERMES
                                                                  : TOOL_FORMAT_LLAMA3_JSON,
                                                 .several = true,
                                                 .may_say = true},
                   NULL);
        for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
            bool expected = hermes ? table[i].hermes : table[i].llama;
            if (accepts(w.automaton, str_from(table[i].text)) != expected) {
                fail_msg("%s: '%s' is %s", hermes ? "hermes" : "llama", table[i].text,
                         expected ? "refused" : "allowed");
            }
        }
        close_world(&w);
    }
}

static void a_schema_that_cannot_be_enforced_is_an_error_of_strict_tools_alone(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        int strict = i % 2;
        struct error e = {0};
        json_t *odd = i < 2 ? json_pack("{s:b}", "unevaluatedProperties", 0)
                            : json_pack("{s:{s:s}}", "propertyNames", "pattern", "(?=a)");
        json_t *tools = json_pack("[{s:s,s:{s:s,s:b,s:o}}]", "type", "function", "function", "name",
                                  "odd", "strict", strict, "parameters", odd);
        struct tool_set set;
        struct tool_grammar_notes notes = {0};
        uint32_t root;
        assert_true(tool_set_init(&set, tools, &e));
        struct grammar_builder *b = grammar_builder_create(&e);
        struct tool_grammar_options o = {.format = TOOL_FORMAT_HERMES, .set = &set};
        bool ok = tool_grammar_build(b, &o, &root, &notes, &e);
        assert_int_equal(ok, !strict);
        if (strict) {
            assert_int_equal(e.code, ERROR_UNSUPPORTED);
            assert_non_null(strstr(e.text, "tool 'odd'"));
            assert_non_null(strstr(e.text, i < 2 ? "unevaluatedProperties" : "'pattern'"));
        } else {
            assert_ptr_equal(notes.loose, &set.tools[0]);
            struct grammar *g = grammar_compile(b, root, &e);
            assert_non_null(g);
            grammar_destroy(g);
        }
        grammar_builder_destroy(b);
        tool_set_finish(&set);
        json_decref(tools);
    }
}

enum { N_MEMBERS = 8 }; /* more than may be spent, if they are costly */

/* A tool without `strict`, with members whose automata no other tool has. */
static json_t *tool_of_patterns(const char *name, bool is_costly)
{
    json_t *members = json_object();
    const char *pattern = is_costly ? "(a|b)*a(a|b){12}" : "(a|b)*a(a|b){4}";
    for (int i = 1; i <= N_MEMBERS; i++) {
        char key[16];
        int least = (name[0] - 'a') * N_MEMBERS + i + (is_costly ? 300 : 0);
        snprintf(key, sizeof key, "m%d", i);
        json_object_set_new(members, key,
                            json_pack("{s:s,s:s,s:i,s:i}", "type", "string", "pattern", pattern,
                                      "minLength", least, "maxLength", 3000 - least));
    }
    return json_pack("{s:s,s:{s:s,s:{s:s,s:o,s:b}}}", "type", "function", "function", "name", name,
                     "parameters", "type", "object", "properties", members, "additionalProperties",
                     0);
}

static void all_schemas_that_are_tried_share_what_may_be_spent(void **state)
{
    (void)state;
    static const struct {
        const char *costly, *enforced; /* of the tools 'a' to 'd' */
    } table[] = {
        {"", "abcd"}, {"a", "bcd"}, {"c", "abd"}, /* one leaves enough for others */
        {"bc", "a"},  {"abc", ""},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct error e = {0};
        json_t *tools = json_array();
        for (int k = 0; k < 4; k++) {
            char name[] = {(char)('a' + k), '\0'};
            bool is_costly = strchr(table[i].costly, name[0]) != NULL;
            json_array_append_new(tools, tool_of_patterns(name, is_costly));
        }
        struct tool_set set;
        struct tool_grammar_notes notes;
        uint32_t root;
        assert_true(tool_set_init(&set, tools, &e));
        struct grammar_builder *b = grammar_builder_create(&e);
        struct tool_grammar_options o = {.format = TOOL_FORMAT_LLAMA3_JSON, .set = &set};
        assert_true(tool_grammar_build(b, &o, &root, &notes, &e));
        assert_int_equal(notes.n_loose, 4 - strlen(table[i].enforced));
        assert_int_equal(notes.loose == NULL, notes.n_loose == 0);
        assert_true(notes.loose == NULL || strstr(notes.loose_why.text, "too complex") != NULL);
        struct grammar *g = grammar_compile(b, root, &e);
        struct token_trie *trie = byte_trie();
        struct automaton *a = g != NULL ? automaton_create(g, trie, &e) : NULL;
        assert_non_null(a);
        for (char name = 'a'; name <= 'd'; name++) {
            char text[64];
            snprintf(text, sizeof text, "{\"name\": \"%c\", \"parameters\": {\"other\": 1}}", name);
            bool is_enforced = strchr(table[i].enforced, name) != NULL;
            if (accepts(a, str_from(text)) == is_enforced) {
                fail_msg("row %zu: '%c' is%s enforced", i, name, is_enforced ? " not" : "");
            }
        }
        automaton_destroy(a);
        token_trie_destroy(trie);
        grammar_destroy(g);
        grammar_builder_destroy(b);
        tool_set_finish(&set);
        json_decref(tools);
    }
}

static void remarks_say_of_which_tool_they_are(void **state)
{
    (void)state;
    static const char text[] =
        "[{'function':{'name':'plain','parameters':{'type':'object'}}},"
        "{'function':{'name':'loose','parameters':{'x-a':1,'unevaluatedProperties':false}}},"
        "{'function':{'name':'one','parameters':{'x-a':1}}},"
        "{'function':{'name':'two','strict':true,'parameters':{'x-a':1,'x-b':1}}}]";
    struct error e = {0};
    char quoted[sizeof text];
    for (size_t i = 0; i < sizeof text; i++) {
        quoted[i] = (char)(text[i] == '\'' ? '"' : text[i]);
    }
    json_t *tools = json_loads(quoted, 0, NULL);
    struct tool_set set;
    assert_true(tool_set_init(&set, tools, &e));
    for (int only = 0; only < 2; only++) {
        struct tool_grammar_notes notes;
        uint32_t root;
        struct grammar_builder *b = grammar_builder_create(&e);
        struct tool_grammar_options o = {.format = TOOL_FORMAT_HERMES,
                                         .set = &set,
                                         .only = only ? tool_set_find(&set, STR("two")) : NULL};
        assert_true(tool_grammar_build(b, &o, &root, &notes, &e));
        assert_ptr_equal(notes.loose, only ? NULL : &set.tools[1]);
        size_t n = notes.remarks.n;
        assert_int_equal(n, only ? 2 : 3);
        assert_non_null(strstr(notes.remarks.text[n - 2], "schema #: 'x-a'"));
        assert_non_null(strstr(notes.remarks.text[n - 1], "schema #: 'x-b'"));
        assert_int_equal(notes.remarks.source[0], only ? 3 : 2);
        assert_int_equal(notes.remarks.source[n - 1], 3);
        grammar_builder_destroy(b);
    }
    tool_set_finish(&set);
    json_decref(tools);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_forced_answer_is_calls_that_the_parser_finds),
        cmocka_unit_test(no_more_calls_are_allowed_than_the_parser_finds),
        cmocka_unit_test(an_answer_that_may_be_a_text_has_no_call_that_is_not_held_to_its_schema),
        cmocka_unit_test(a_schema_that_cannot_be_enforced_is_an_error_of_strict_tools_alone),
        cmocka_unit_test(all_schemas_that_are_tried_share_what_may_be_spent),
        cmocka_unit_test(remarks_say_of_which_tool_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
