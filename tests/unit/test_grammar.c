/* test_grammar.c - what texts a grammar has: GBNF, expressions made by a builder, choices; what
 * is refused, and how it is named. */
#include "base/mem.h"
#include "base/rng.h"
#include "grammar_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void check_text(struct grammar *g, struct str text, bool expected, const char *what)
{
    struct grammar_text t;
    assert_true(grammar_text_init(&t, g, NULL));
    if (grammar_text_accepts(&t, text) != expected) {
        fail_msg("%s: '%.*s' should%s be accepted", what, STR_ARG(text), expected ? "" : " not");
    }
    grammar_text_finish(&t);
}

static struct grammar *gbnf(const char *text)
{
    struct error e = {0};
    struct grammar *g = grammar_from_gbnf(str_from(text), &e);
    if (g == NULL) {
        fail_msg("%s: %s", text, e.text);
    }
    return g;
}

/* yes and no are texts with '|' between them. */
static void check_list(struct grammar *g, const char *list, bool expected, const char *what)
{
    while (list != NULL) {
        const char *bar = strchr(list, '|');
        check_text(g, (struct str){list, bar != NULL ? (size_t)(bar - list) : strlen(list)},
                   expected, what);
        list = bar != NULL ? bar + 1 : NULL;
    }
}

/* --- GBNF */

static void gbnf_means_what_its_guide_says(void **state)
{
    (void)state;
    static const struct {
        const char *grammar, *yes, *no;
    } cases[] = {
        {"root ::= \"a\" \"b\"", "ab", "a|b|abc|"},
        {"root ::= \"a\" | \"b\" | ", "a|b|", "ab|c"},
        {"root ::= [a-c]+", "a|abc|cab", "|d|abd"},
        {"root ::= [^a-c]*", "|xyz|d-", "a|xa"},
        {"root ::= [-a]", "-|a", "b|"},
        {"root ::= [a-]", "-|a", "b|"},
        {"root ::= [\\]\\[\\\\\\-]", "]|[|\\|-", "a|"},
        {"root ::= \"\\x41\\u00e9\\U0001F600\\n\\t\\r\\\"\\\\\"",
         "A\xc3\xa9\xf0\x9f\x98\x80\n\t\r\"\\", "A"},
        {"root ::= [\xd0\xb0-\xd1\x8f]+", "\xd0\xbc\xd0\xb8\xd1\x80", "mir|\xd0"},
        {"root ::= .", "a|\n|\xc3\xa9|\xf0\x9f\x98\x80", "ab||\xc3|\xff"},
        {"root ::= \"a\"{3}", "aaa", "aa|aaaa|"},
        {"root ::= \"a\"{2,}", "aa|aaaaaa", "a|"},
        {"root ::= \"a\"{1,3} \"b\"?", "a|aab|aaab|aaa", "b|aaaa|"},
        {"root ::= \"a\"{0}", "", "a"},
        {"root ::= (\"a\" \"b\"?)* \"c\"", "c|abac|aac", "b|abb|ab"},
        {"root ::= \"a\"+?", "|a|aaa", "b"},
        {"# c\nroot ::= ( # c\n \"a\"\n  | x )\n\n# c\nx ::=\n  \"b\" x |\n  \"c\" # end",
         "a|c|bbc", "b|ac|bb"},
        {"root ::= \"a\"\n  | \"b\"\nx ::= \"c\"", "a|b", "c"},
        {"root ::= \"(\" root \")\" | \"\"", "|()|(())", "(|)|(()|())"},
        {"root ::= [0-9]+ (\"+\" root)?", "1|1+2|12+34+5", "+|1+|+1"},
        {"root ::= x x x\nx ::= \"a\"?", "|a|aa|aaa", "aaaa"},
        {"root ::= x*\nx ::= y y\ny ::= \"a\" | (\"(\" root \")\")?", "|a|()|(a())a|aaa|(())",
         "(|b|)"},
        {"root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"\"", "|ab|ac|aabc|aacb", "a|b|abc"},
        {"root ::= a-b a-b\na-b ::= [a-b]", "ab|ba", "a|abc"},
        {"root ::= (\"x\" root \"y\"){2,3} | \"z\"", "z|xzyxzy|xzyxzyxzy|xxzyxzyyxzy",
         "xzy|xzyxzyxzyxzy|"},
        {"root ::= (\"x\" root \"y\"){2,} | \"z\"", "z|xzyxzy|xzyxzyxzyxzyxzy", "xzy|zz"},
        {"root ::= (e \",\"?){3} \"!\"\ne ::= (\"(\" e \")\")?", "!|,!|,,,!|()(),()!|(()),,!",
         ",,,,!|()()()()!|("},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct grammar *g = gbnf(cases[i].grammar);
        check_list(g, cases[i].yes, true, cases[i].grammar);
        check_list(g, cases[i].no, false, cases[i].grammar);
        grammar_destroy(g);
    }
}

/* Written here from the JSON specification. */
static const char json_grammar[] =
    "root ::= object\n"
    "value ::= object | array | string | number | (\"true\" | \"false\" | \"null\") ws\n"
    "object ::= \"{\" ws (string \":\" ws value (\",\" ws string \":\" ws value)*)? \"}\" ws\n"
    "array ::= \"[\" ws (value (\",\" ws value)*)? \"]\" ws\n"
    "string ::= \"\\\"\" ([^\"\\\\\\x7F\\x00-\\x1F] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" "
    "[0-9a-fA-F]{4}))* "
    "\"\\\"\" ws\n"
    "number ::= (\"-\"? ([0-9] | [1-9] [0-9]{0,15})) (\".\" [0-9]+)? ([eE] [-+]? [0-9]+)? ws\n"
    "ws ::= [ \\t\\n]*\n";

static void a_grammar_of_json_has_json(void **state)
{
    (void)state;
    struct grammar *g = gbnf(json_grammar);
    check_list(g,
               "{}|{ \"a\" : [1, -2.5e+3, {\"\": null}] , \"b\":\"\\u00e9\\\"\xc3\xa9\"}|"
               "{\"a\":[[[[]]],{}]}\n",
               true, "json");
    check_list(g,
               "|[]|{|{\"a\":}|{\"a\":01}|{\"a\":\"\n\"}|{\"a\":[1,]}|{\"a\":\"\\x\"}|{}{}|{\"a\":"
               "\"\xff\"}",
               false, "json");
    grammar_destroy(g);
}

static void what_is_wrong_in_gbnf_is_named_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *grammar, *error;
        enum error_code code;
    } cases[] = {
        {"", "no rule is called 'root'", ERROR_FORMAT},
        {"a ::= \"x\"", "no rule is called 'root'", ERROR_FORMAT},
        {"root = \"x\"", "line 1, column 1: not a rule", ERROR_FORMAT},
        {"root ::= \"x", "line 1, column 10: a literal without its \"", ERROR_FORMAT},
        {"root ::= [a", "line 1, column 10: a class without its ]", ERROR_FORMAT},
        {"root ::= []", "a class of no characters", ERROR_FORMAT},
        {"root ::= [z-a]", "wrong order", ERROR_FORMAT},
        {"root ::=\n  (\"x\"", "line 2, column 3: a ( without its )", ERROR_FORMAT},
        {"root ::= \"x\")", "not an element", ERROR_FORMAT},
        {"root ::= \"\\q\"", "unknown escape", ERROR_FORMAT},
        {"root ::= \"\\x4\"", "hexadecimal", ERROR_FORMAT},
        {"root ::= \"\\uD800\"", "no character", ERROR_FORMAT},
        {"root ::= \"\\", "unknown escape", ERROR_FORMAT},
        {"root ::= \"\xff\"", "not UTF-8", ERROR_FORMAT},
        {"root ::= \"a\"{3,1}", "wrong order", ERROR_FORMAT},
        {"root ::= \"a\"{}", "not {m}", ERROR_FORMAT},
        {"root ::= \"a\"{,}", "not {m}", ERROR_FORMAT},
        {"root ::= \"a\"{99999999999}", "at most 10000000", ERROR_UNSUPPORTED},
        {"root ::= \"a\"\nroot ::= \"b\"", "'root' is defined twice", ERROR_USAGE},
        {"root ::= x", "'x' is not defined", ERROR_USAGE},
        {"root ::= <think>", "token by name", ERROR_UNSUPPORTED},
        {"root ::= * \"a\"", "not an element", ERROR_FORMAT},
        {"root ::= root \"a\" | \"b\"", "left recursion: root -> root", ERROR_USAGE},
        {"root ::= \"x\" a\na ::= b? c\nb ::= \"y\"\nc ::= d | \"z\"\nd ::= [q]* a",
         "left recursion: a -> c -> d -> a", ERROR_USAGE},
        {"root ::= (\"\" root)?", "left recursion", ERROR_USAGE},
        {"root ::= (x root){2}\nx ::= \"a\"?", "left recursion", ERROR_USAGE},
        {"root ::= \"a\" root", "no text can match", ERROR_USAGE},
        {"root ::= x \"a\"\nx ::= \"b\" y\ny ::= \"c\" x", "no text can match", ERROR_USAGE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error e = {0};
        struct grammar *g = grammar_from_gbnf(str_from(cases[i].grammar), &e);
        if (g != NULL || strstr(e.text, cases[i].error) == NULL || e.code != cases[i].code) {
            fail_msg("%s: '%s' (%d), expected '%s' (%d)", cases[i].grammar, e.text, e.code,
                     cases[i].error, cases[i].code);
        }
    }
}

/* --- what is too large, or would take too long */

static struct str repeated(const char *before, const char *part, size_t n, const char *after)
{
    size_t n_part = strlen(part), n_before = strlen(before), n_after = strlen(after);
    char *text = malloc(n_before + n * n_part + n_after + 1);
    assert_non_null(text);
    memcpy(text, before, n_before);
    for (size_t i = 0; i < n; i++) {
        memcpy(text + n_before + i * n_part, part, n_part);
    }
    memcpy(text + n_before + n * n_part, after, n_after + 1);
    return (struct str){text, n_before + n * n_part + n_after};
}

static void refuse_text(struct str text, const char *error)
{
    struct error e = {0};
    struct grammar *g = grammar_from_gbnf(text, &e);
    if (g != NULL || strstr(e.text, error) == NULL) {
        fail_msg("%.60s: '%s', expected '%s'", text.p, e.text, error);
    }
    free((char *)text.p);
}

static void hostile_grammars_are_refused_with_numbers(void **state)
{
    (void)state;
    refuse_text(repeated("root ::= \"a\"", " | \"b\" root", 300000, ""), "more than");
    refuse_text(repeated("root ::= ", "(", 5000, "\"a\""), "100 groups");
    refuse_text(repeated("root ::= \"a\"", "*", 500, ""), "more than 400");
    refuse_text(repeated("root ::= ", "[a]", 5000000, ""), "4194304");
    char rules[64 * 25000], *at = rules;
    at += snprintf(at, 64, "root ::= \"a\" r0");
    for (int i = 0; i < 24000; i++) {
        at += snprintf(at, 64, "\nr%d ::= \"b\" r%d", i, i + 1);
    }
    refuse_text(repeated(rules, "", 0, ""), "20000");
}

static void too_many_ways_to_read_a_byte_are_refused(void **state)
{
    (void)state;
    struct error e = {0};
    struct str text = repeated("x ::= \"a\" x \"c\" | \"b\"\nroot ::= ", "x? ", 60000, "");
    struct grammar *g = grammar_from_gbnf(text, &e);
    struct grammar_text t;
    assert_non_null(g);
    assert_false(grammar_text_init(&t, g, &e));
    assert_int_equal(e.code, ERROR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "too many ways: more than 50000 places"));
    free((char *)text.p);
    grammar_destroy(g);
}

/* Rules that call rules of which each text is twice as long: the automaton would be huge, and is
 * not needed. */
static void doubling_rules_are_matched_by_calls(void **state)
{
    (void)state;
    char text[2048], *at = text;
    at += snprintf(at, 64, "root ::= r0");
    for (int i = 0; i < 30; i++) {
        at += snprintf(at, 64, "\nr%d ::= r%d r%d", i, i + 1, i + 1);
    }
    snprintf(at, 64, "\nr30 ::= [ab]");
    struct grammar *g = gbnf(text);
    struct grammar_text t;
    assert_true(grammar_text_init(&t, g, NULL));
    struct str many = repeated("", "ab", 50000, "");
    assert_int_not_equal(grammar_text_state(&t, many), AUTOMATON_DEAD);
    assert_false(grammar_text_accepts(&t, many));
    free((char *)many.p);
    grammar_text_finish(&t);
    grammar_destroy(g);
}

static void nesting_is_allowed_as_deep_as_the_stack_and_can_always_be_closed(void **state)
{
    (void)state;
    struct grammar *g = gbnf("root ::= x\nx ::= \"[\" x \"]\" | \"(\" x \"+\" x \")\" | \"1\"");
    struct grammar_text t;
    assert_true(grammar_text_init(&t, g, NULL));
    struct str open = repeated("", "[", 2000, "");
    uint32_t at = AUTOMATON_START;
    size_t depth = 0;
    for (uint32_t next; automaton_step(t.automaton, at, '[', &next, NULL) && next != AUTOMATON_DEAD;
         at = next) {
        depth++;
    }
    assert_in_range(depth, GRAMMAR_MAX_STACK - 2, GRAMMAR_MAX_STACK);
    assert_true(automaton_step(t.automaton, at, '1', &at, NULL));
    for (size_t i = 0; i < depth; i++) {
        assert_true(automaton_step(t.automaton, at, ']', &at, NULL));
    }
    assert_true(automaton_is_complete(t.automaton, at));
    free((char *)open.p);
    grammar_text_finish(&t);
    grammar_destroy(g);
}

static void a_list_by_right_recursion_is_as_long_as_one_likes(void **state)
{
    (void)state;
    struct grammar *g = gbnf("root ::= \"a\" root | \"(\" root \")\" root | \"b\"");
    struct str text = repeated("", "a(b)", 5000, "b");
    check_text(g, text, true, "list");
    free((char *)text.p);
    grammar_destroy(g);
}

/* --- builder */

static void choices_are_texts(void **state)
{
    (void)state;
    struct error e = {0};
    struct str choices[] = {STR("yes"), STR("no"), STR("yes, indeed"), STR("\xc3\xa9\xff")};
    struct grammar *g = grammar_from_choices(choices, 4, &e);
    assert_non_null(g);
    for (size_t i = 0; i < 4; i++) {
        check_text(g, choices[i], true, "choices");
    }
    check_list(g, "ye|yesno||yes,", false, "choices");
    grammar_destroy(g);
    assert_null(grammar_from_choices(choices, 0, &e));
    assert_non_null(strstr(e.text, "no text can match"));
    /* many, of which an automaton is made in one piece */
    enum { N = 3000 };
    char words[N][8];
    struct str many[N];
    for (int i = 0; i < N; i++) {
        many[i] = (struct str){words[i], (size_t)snprintf(words[i], 8, "w%d", i * 7)};
    }
    g = grammar_from_choices(many, N, &e);
    assert_non_null(g);
    check_text(g, STR("w20993"), true, "words");
    check_text(g, STR("w20992"), false, "words");
    grammar_destroy(g);
}

static struct grammar *compile(struct grammar_builder *b, uint32_t root)
{
    struct error e = {0};
    struct grammar *g = grammar_compile(b, root, &e);
    if (g == NULL) {
        fail_msg("%s", e.text);
    }
    return g;
}

static void languages_are_intersected_and_subtracted(void **state)
{
    (void)state;
    struct grammar_builder *b = grammar_builder_create(NULL);
    uint32_t words = grammar_pattern(b, STR("[a-d]{2,4}"), 0);
    uint32_t with_c = grammar_pattern(b, STR("c"), GRAMMAR_PATTERN_SEARCH);
    uint32_t both = grammar_intersect(b, words, with_c),
             others = grammar_subtract(b, words, with_c);
    struct grammar *g = compile(b, both);
    check_list(g, "ca|abc|cccc", true, "intersection");
    check_list(g, "c|ab|abcab|xc", false, "intersection");
    grammar_destroy(g);
    g = compile(b, others);
    check_list(g, "ab|abba", true, "difference");
    check_list(g, "c|abc|a|abbaa|", false, "difference");
    grammar_destroy(g);
    assert_false(grammar_is_nothing(b, both));
    assert_true(grammar_is_nothing(b, grammar_intersect(b, both, others)));
    assert_true(grammar_is_nothing(b, grammar_subtract(b, both, words)));
    assert_true(grammar_has_text(b, both, STR("dc")));
    assert_false(grammar_has_text(b, both, STR("d")));
    /* inside something larger */
    uint32_t parts[] = {grammar_bytes(b, STR("<")), both, grammar_bytes(b, STR(">"))};
    g = compile(b, grammar_repeat(b, grammar_sequence(b, parts, 3), 1, GRAMMAR_UNLIMITED));
    check_list(g, "<ca>|<abc><cc>", true, "sequence");
    check_list(g, "<ab>|ca|<ca", false, "sequence");
    grammar_destroy(g);
    assert_int_equal(grammar_builder_error(b)->code, ERROR_NONE);
    assert_int_equal(grammar_intersect(b, both, grammar_call(b, grammar_declare(b, STR("r")))),
                     GRAMMAR_NONE);
    assert_int_equal(grammar_builder_error(b)->code, ERROR_UNSUPPORTED);
    grammar_builder_destroy(b);
}

static void a_class_is_written_in_every_way_of_json(void **state)
{
    (void)state;
    struct grammar_builder *b = grammar_builder_create(NULL);
    struct grammar_range ranges[] = {
        {'"', '"'}, {'\n', '\n'}, {0xE9, 0xEB}, {0x1F600, 0x1F64F}, {'/', '/'}};
    struct grammar_class c = {.ranges = ranges, .n_ranges = 5, .alphabet = GRAMMAR_JSON};
    struct grammar *g = compile(b, grammar_class(b, &c));
    check_list(g,
               "\\\"|\\u0022|\\n|\\u000a|\\u000A|\xc3\xa9|\\u00e9|\\u00EB|\xf0\x9f\x98\x80|"
               "\\ud83d\\ude00|\\uD83D\\uDe4f|/|\\/|\\u002f",
               true, "class");
    check_list(g,
               "\"|\n|\\t|\\u00e8|\\ud83d|\\ude00|\\ud83d\\ude50|\\ud83c\\ude00|\\u00e|\\x22|\\|"
               "\\u00ec|\xc3\xa8|a",
               false, "class");
    grammar_destroy(g);
    c.negated = true;
    g = compile(b, grammar_class(b, &c));
    check_list(g, "a|\\t|\\u00e8|\\ud83d\\ude50|\\\\|\xf0\x9f\x99\x90", true, "others");
    check_list(g, "\\\"|\"|\\ud83d\\ude00|\\ud83d|\\udfff|\t|\\u000a", false, "others");
    grammar_destroy(g);
    c = (struct grammar_class){.negated = true, .alphabet = GRAMMAR_JSON_PLAIN};
    g = compile(b, grammar_class(b, &c));
    check_list(g,
               "a|/|'|\\\"|\\\\|\\b|\\f|\\n|\\r|\\t|\\u0000|\\u000b|\\u001f|\x7f|\xc3\xa9|"
               "\xe2\x80\xa8|\xf0\x9f\x98\x80",
               true, "plain");
    check_list(g, "\"|\\|\n|\\/|\\u000a|\\u000B|\\u0022|\\u0041|\\u007f|\\u00e9|\\ud83d\\ude00",
               false, "plain");
    grammar_destroy(g);
    grammar_builder_destroy(b);
}

static void bounded_loops_are_counted(void **state)
{
    (void)state;
    static const struct {
        uint32_t min, max;
    } cases[] = {{0, 5},        {3, 5},  {0, 40}, {40, 40}, {7, GRAMMAR_UNLIMITED},
                 {1, 10000000}, {9, 100}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct grammar_builder *b = grammar_builder_create(NULL);
        struct grammar_class any = {.negated = true};
        uint32_t parts[] = {grammar_bytes(b, STR("<")),
                            grammar_repeat(b, grammar_class(b, &any), cases[i].min, cases[i].max),
                            grammar_bytes(b, STR(">>"))};
        struct grammar *g = compile(b, grammar_sequence(b, parts, 3));
        struct grammar_text t;
        assert_true(grammar_text_init(&t, g, NULL));
        for (size_t n = 0; n < 110; n++) {
            struct str text = repeated("<", "\xc3\xa9", n, ">>");
            bool expected = n >= cases[i].min && n <= cases[i].max;
            if (grammar_text_accepts(&t, text) != expected) {
                fail_msg("%zu of %u to %u", n, cases[i].min, cases[i].max);
            }
            free((char *)text.p);
        }
        grammar_text_finish(&t);
        grammar_destroy(g);
        grammar_builder_destroy(b);
    }
}

/* A text of the pattern in quotes, spelled as in JSON, of at most max characters. */
static struct grammar *short_texts(const char *pattern, uint32_t max, bool is_counted)
{
    struct grammar_builder *b = grammar_builder_create(NULL);
    struct grammar_class all = {.negated = true, .alphabet = GRAMMAR_JSON_PLAIN};
    uint32_t any = grammar_class(b, &all), quote = grammar_bytes(b, STR("\""));
    uint32_t inside = grammar_pattern(b, str_from(pattern), GRAMMAR_PATTERN_JSON);
    uint32_t text =
        is_counted
            ? grammar_limit(b, grammar_sequence(b, (uint32_t[]){inside, quote}, 2), max + 1)
            : grammar_sequence(
                  b,
                  (uint32_t[]){grammar_intersect(b, inside, grammar_repeat(b, any, 0, max)), quote},
                  2);
    /* twice, so that counts begin again */
    struct grammar *g = compile(b, grammar_sequence(b, (uint32_t[]){quote, text, quote, text}, 4));
    grammar_builder_destroy(b);
    return g;
}

/* Along random texts both allow the same bytes, and may end where the other may. */
static void check_same_texts(struct grammar *one, struct grammar *other, struct rng *r)
{
    struct grammar_text t[2];
    assert_true(grammar_text_init(&t[0], one, NULL) && grammar_text_init(&t[1], other, NULL));
    for (int text = 0; text < 60; text++) {
        uint32_t at[2] = {AUTOMATON_START, AUTOMATON_START};
        for (;;) {
            uint8_t bytes[256];
            size_t n = 0;
            for (int byte = 0; byte < 256; byte++) {
                uint32_t to[2];
                for (int i = 0; i < 2; i++) {
                    assert_true(automaton_step(t[i].automaton, at[i], (uint8_t)byte, &to[i], NULL));
                }
                assert_int_equal(to[0] == AUTOMATON_DEAD, to[1] == AUTOMATON_DEAD);
                bytes[n] = (uint8_t)byte;
                n += to[0] != AUTOMATON_DEAD;
            }
            assert_int_equal(automaton_is_complete(t[0].automaton, at[0]),
                             automaton_is_complete(t[1].automaton, at[1]));
            if (n == 0) {
                break;
            }
            uint8_t byte = bytes[rng_next(r) % n];
            for (int i = 0; i < 2; i++) {
                assert_true(automaton_step(t[i].automaton, at[i], byte, &at[i], NULL));
            }
        }
        assert_true(automaton_is_complete(t[0].automaton, at[0]));
    }
    grammar_text_finish(&t[0]);
    grammar_text_finish(&t[1]);
}

static void limits_count_characters_as_states_would(void **state)
{
    (void)state;
    static const char *const patterns[] = {
        "[a-c]*", "(ab)*", "([a-c]+\\.)*[a-c]+@[a-c]+",
        /* one automaton is in the middle of an escape where it is behind a letter */
        "(\\]n|\\n)*", "(\\t0001|\\x01)*", "(an|\\n|b0001|\\u0001|\\\\u)*", "[^x]*",
        "[\\n\\x01-\\x03\u00e9\u20ac\U0001f999\"]+", "a{5}b*|c{3}", "(aaa|bb)*c?"};
    struct rng r;
    rng_init(&r, 3);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        for (uint32_t max = 3; max < 60; max += 1 + max / 3) {
            struct grammar *counted = short_texts(patterns[i], max, true);
            struct grammar *states = short_texts(patterns[i], max, false);
            check_same_texts(counted, states, &r);
            grammar_destroy(counted);
            grammar_destroy(states);
        }
    }
}

static void a_limit_below_every_text_has_none(void **state)
{
    (void)state;
    struct grammar_builder *b = grammar_builder_create(NULL);
    uint32_t text = grammar_pattern(b, STR("a{4}b*\""), 0);
    struct error e = {0};
    assert_null(grammar_compile(b, grammar_limit(b, text, 4), &e));
    assert_non_null(strstr(e.text, "no text can match"));
    struct grammar *g = compile(b, grammar_limit(b, text, 6));
    check_list(g, "aaaa\"|aaaab\"", true, "limit");
    check_list(g, "aaaabb\"|aaaa", false, "limit");
    grammar_destroy(g);
    assert_int_equal(grammar_limit(b, grammar_pattern(b, STR("a*"), 0), 4), GRAMMAR_NONE);
    grammar_builder_destroy(b);
}

/* An expression that is used again and again is made once. */
static void shared_expressions_stay_small(void **state)
{
    (void)state;
    struct grammar_builder *b = grammar_builder_create(NULL);
    uint32_t rule = grammar_declare(b, STR("rule"));
    uint32_t ways[] = {grammar_bytes(b, STR("x")), grammar_bytes(b, STR("(")),
                       grammar_call(b, rule), grammar_bytes(b, STR(")"))};
    uint32_t node = grammar_choice(b, (uint32_t[]){ways[0], grammar_sequence(b, ways + 1, 3)}, 2);
    grammar_define(b, rule, node);
    for (int i = 0; i < 60; i++) {
        node = grammar_sequence(b, (uint32_t[]){node, node}, 2);
    }
    struct grammar *g = compile(b, node);
    struct grammar_text t;
    assert_true(grammar_text_init(&t, g, NULL));
    assert_int_not_equal(grammar_text_state(&t, STR("x((x))xxx(x)")), AUTOMATON_DEAD);
    assert_int_equal(grammar_text_state(&t, STR("x((x))xxx(x)y")), AUTOMATON_DEAD);
    grammar_text_finish(&t);
    grammar_destroy(g);
    grammar_builder_destroy(b);
}

static void a_builder_remembers_its_first_error(void **state)
{
    (void)state;
    struct error e = {0};
    struct grammar_builder *b = grammar_builder_create(NULL);
    uint32_t bad = grammar_pattern(b, STR("(a"), 0);
    assert_int_equal(bad, GRAMMAR_NONE);
    assert_int_equal(grammar_repeat(b, bad, 2, 1), GRAMMAR_NONE);
    assert_null(grammar_compile(b, bad, &e));
    assert_string_equal(e.text, "pattern, byte 0: a ( without its )");
    assert_int_equal(e.code, ERROR_FORMAT);
    grammar_builder_destroy(b);
}

/* --- memory */

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        struct error e = {0};
        mem_fail_nth(n);
        struct grammar *g = grammar_from_gbnf(str_from(json_grammar), &e);
        struct grammar_text t;
        bool ok = g != NULL && grammar_text_init(&t, g, &e);
        if (ok) {
            uint32_t at = AUTOMATON_START;
            struct str text = STR("{\"a\": [1, {}]}");
            for (size_t i = 0; i < text.n && ok; i++) {
                ok = automaton_mask(t.automaton, at, &e) != NULL &&
                     automaton_step(t.automaton, at, (uint8_t)text.p[i], &at, &e);
            }
            grammar_text_finish(&t);
        }
        grammar_destroy(g);
        if (ok && mem_count() < n) {
            break;
        }
        assert_false(ok);
        assert_int_equal(e.code, ERROR_MEMORY);
    }
    mem_fail_nth(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gbnf_means_what_its_guide_says),
        cmocka_unit_test(a_grammar_of_json_has_json),
        cmocka_unit_test(what_is_wrong_in_gbnf_is_named_with_its_place),
        cmocka_unit_test(hostile_grammars_are_refused_with_numbers),
        cmocka_unit_test(too_many_ways_to_read_a_byte_are_refused),
        cmocka_unit_test(doubling_rules_are_matched_by_calls),
        cmocka_unit_test(nesting_is_allowed_as_deep_as_the_stack_and_can_always_be_closed),
        cmocka_unit_test(a_list_by_right_recursion_is_as_long_as_one_likes),
        cmocka_unit_test(choices_are_texts),
        cmocka_unit_test(languages_are_intersected_and_subtracted),
        cmocka_unit_test(a_class_is_written_in_every_way_of_json),
        cmocka_unit_test(bounded_loops_are_counted),
        cmocka_unit_test(limits_count_characters_as_states_would),
        cmocka_unit_test(a_limit_below_every_text_has_none),
        cmocka_unit_test(shared_expressions_stay_small),
        cmocka_unit_test(a_builder_remembers_its_first_error),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
