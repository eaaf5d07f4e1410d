/* test_mask.c - masks of tokens against trying every token byte by byte, for many grammars and
 * vocabularies, and what is forgotten. */
#include "base/mem.h"
#include "base/rng.h"
#include "schema/matcher.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { N_TOKENS = 600, PIECE_BYTES = 12 };

struct vocabulary {
    char bytes[N_TOKENS][PIECE_BYTES];
    struct str pieces[N_TOKENS];
    bool is_end[N_TOKENS];
    struct token_trie *trie;
};

static size_t below(struct rng *r, size_t n)
{
    return (size_t)(rng_next(r) % n);
}

/* Every byte, then strings of the alphabet; some of them twice, some of no bytes; the last two are
 * ends. */
static void vocabulary_init(struct vocabulary *v, struct rng *r, const char *alphabet)
{
    for (size_t i = 0; i < N_TOKENS; i++) {
        size_t n = i < 256 ? 1 : below(r, PIECE_BYTES);
        for (size_t k = 0; k < n; k++) {
            v->bytes[i][k] = alphabet[below(r, strlen(alphabet))];
        }
        if (i < 256) {
            v->bytes[i][0] = (char)i;
        }
        v->pieces[i] = (struct str){v->bytes[i], n};
        v->is_end[i] = i >= N_TOKENS - 2;
    }
    v->trie = token_trie_from_pieces(v->pieces, v->is_end, N_TOKENS, NULL);
    assert_non_null(v->trie);
}

/* What a mask has to say of a token, by single bytes. */
static bool is_allowed(struct automaton *a, const struct vocabulary *v, uint32_t state,
                       uint32_t token)
{
    if (v->is_end[token]) {
        return automaton_is_complete(a, state);
    }
    for (size_t i = 0; i < v->pieces[token].n && state != AUTOMATON_DEAD; i++) {
        assert_true(automaton_step(a, state, (uint8_t)v->bytes[token][i], &state, NULL));
    }
    return v->pieces[token].n > 0 && state != AUTOMATON_DEAD;
}

/* The first 256 tokens are the bytes. */
static bool take_bytes(struct matcher *m, struct str bytes, struct error *e)
{
    bool ok = true;
    for (size_t i = 0; i < bytes.n && ok; i++) {
        ok = matcher_take(m, (uint8_t)bytes.p[i], e);
    }
    return ok;
}

/* Walks at random by allowed tokens, and compares every mask on the way. */
static size_t walk(struct matcher *m, const struct vocabulary *v, struct rng *r, size_t n_steps)
{
    size_t n_taken = 0;
    while (n_taken < n_steps && m->user.state != AUTOMATON_ENDED) {
        struct error e = {0};
        const uint64_t *mask = matcher_mask(m, &e);
        uint32_t allowed[N_TOKENS], n_allowed = 0;
        assert_non_null(mask);
        uint32_t state = m->user.state;
        for (uint32_t i = 0; i < N_TOKENS; i++) {
            if (token_mask_has(mask, i)) {
                allowed[n_allowed++] = i;
            }
        }
        for (uint32_t i = 0, k = 0; i < N_TOKENS; i++) {
            bool has = k < n_allowed && allowed[k] == i;
            k += has;
            if (has != is_allowed(m->automaton, v, state, i)) {
                fail_msg("token %u '%.*s' after %zu tokens: mask says %d", i, STR_ARG(v->pieces[i]),
                         n_taken, has);
            }
        }
        assert_true(n_allowed > 0);
        uint32_t token = allowed[below(r, n_allowed)];
        token = v->is_end[token] && below(r, 8) > 0 ? allowed[0] : token;
        assert_true(matcher_take(m, token, &e));
        n_taken++;
    }
    return n_taken;
}

static const char *const grammars[] = {
    "root ::= \"(\" root \")\" root | \"a\" | [b-d]+ \",\" root",
    "root ::= \"{\" (pair (\",\" pair)*)? \"}\"\npair ::= string \":\" value\n"
    "value ::= string | root | \"[\" (value (\",\" value)*)? \"]\" | [0-9]{1,3}\n"
    "string ::= \"\\\"\" ([^\"\\\\] | \"\\\\\" [\"\\\\nt])* \"\\\"\"",
    "root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"\"",
    "root ::= (x \",\"?){2,5} \"!\" root?\nx ::= (\"(\" x \")\")? \"a\"*",
    "root ::= \"<\" .{0,40} \">\" root?",
    "root ::= [^\"(]{3,9} \"(\" root \")\" | \"\\\"\" [a-c]{2,} \"\\\"\"",
    "root ::= e\ne ::= t (\"+\" t)*\nt ::= [a-c] | \"(\" e \")\" | \"(\" e \",\" e \")\"",
    "root ::= s s s | x\nx ::= \"a\" x \"a\" | \"b\" x \"b\" | s\ns ::= [abc]? [^a]?",
};
static const char alphabet[] = "abc(){}[],:\"\\<>!+01 \xc3\xa9";

static void a_mask_has_the_tokens_whose_bytes_are_allowed(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 7);
    for (size_t i = 0; i < sizeof grammars / sizeof grammars[0]; i++) {
        struct error e = {0};
        struct grammar *g = grammar_from_gbnf(str_from(grammars[i]), &e);
        if (g == NULL) {
            fail_msg("%s: %s", grammars[i], e.text);
        }
        for (int round = 0; round < 3; round++) {
            static struct vocabulary v;
            vocabulary_init(&v, &r, alphabet);
            struct automaton *a = automaton_create(g, v.trie, &e);
            assert_non_null(a);
            size_t n_taken = 0;
            for (int text = 0; text < 40 && n_taken < 400; text++) {
                struct matcher m;
                matcher_init(&m, a);
                n_taken += walk(&m, &v, &r, 60);
                matcher_finish(&m);
            }
            assert_true(n_taken > 40);
            automaton_destroy(a);
            token_trie_destroy(v.trie);
        }
        grammar_destroy(g);
    }
}

/* A list of quoted texts of a pattern, none of more than max characters. */
static struct grammar *limited_texts(const char *pattern, uint32_t max)
{
    struct grammar_builder *b = grammar_builder_create(NULL);
    uint32_t quote = grammar_bytes(b, STR("\""));
    uint32_t inside = grammar_pattern(b, str_from(pattern), GRAMMAR_PATTERN_JSON);
    uint32_t rest[] = {inside, quote};
    uint32_t limited = grammar_limit(b, grammar_sequence(b, rest, 2), max + 1);
    uint32_t parts[] = {quote, limited, grammar_bytes(b, STR(","))};
    uint32_t list = grammar_repeat(b, grammar_sequence(b, parts, 3), 1, GRAMMAR_UNLIMITED);
    struct grammar *g = grammar_compile(b, list, NULL);
    assert_non_null(g);
    grammar_builder_destroy(b);
    return g;
}

static void a_mask_ends_where_a_limit_is_reached(void **state)
{
    (void)state;
    static const char *const patterns[] = {"[a-c]*", "([abc]+:)*0", "[^b]*",
                                           "(an|\\n|\\x01|\u00e9)*", "(abc)*"};
    struct rng r;
    static struct vocabulary v;
    rng_init(&r, 14);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        for (uint32_t max = 1; max < 100; max = 2 * max + 3) {
            vocabulary_init(&v, &r, "abcn:0\\\",1u \xc3\xa9");
            struct grammar *g = limited_texts(patterns[i], max);
            struct automaton *a = automaton_create(g, v.trie, NULL);
            for (int round = 0; round < 12; round++) {
                struct matcher m;
                matcher_init(&m, a);
                walk(&m, &v, &r, 60);
                matcher_finish(&m);
            }
            automaton_destroy(a);
            grammar_destroy(g);
            token_trie_destroy(v.trie);
        }
    }
}

/* Two grammars with the same kind of string among other things: the second finds what the first has
 * walked, and its masks are right. A third has another kind, and counts. */
static void what_a_grammar_walked_is_found_by_others(void **state)
{
    (void)state;
    static const char string[] = "string ::= \"\\\"\" ([^\"\\] | \"\\\\\" [\"\\nt])* \"\\\"\"";
    static const char *const roots[] = {
        "root ::= \"[\" string (\",\" string)* \"]\"",
        "root ::= (\"ab\" string | \"c\" string \"!\"){1,9}",
        "root ::= \"\\\"\" ([^\"\\]){2,30} \"\\\"\" | \"\\\"\\\"\" ([^\"]){0,3} \"\\\"\" string"};
    size_t counts[3];
    struct rng r;
    static struct vocabulary v;
    rng_init(&r, 12);
    vocabulary_init(&v, &r, alphabet);
    for (size_t i = 0; i < 3; i++) {
        char text[256];
        snprintf(text, sizeof text, "%s\n%s", roots[i], string);
        struct grammar *g = grammar_from_gbnf(str_from(text), NULL);
        struct automaton *a = automaton_create(g, v.trie, NULL);
        for (int round = 0; round < 20; round++) {
            struct matcher m;
            matcher_init(&m, a);
            walk(&m, &v, &r, 40);
            matcher_finish(&m);
        }
        counts[i] = walk_cache_count(v.trie->walks);
        automaton_destroy(a);
        grammar_destroy(g);
    }
    assert_true(counts[0] > 0);
    assert_int_equal(counts[1], counts[0]);
    assert_true(counts[2] > counts[1]);
    token_trie_destroy(v.trie);
}

/* One begins where its rounds begin, the other beside it, and both go on alike: different walks. */
static void loops_that_begin_elsewhere_are_told_apart(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "root ::= (w (\"a\" w)* \".\"){50,4000}\nw ::= [!-,] | [0-Z] | [b-~]",
        "root ::= ((\"a\" w)* \".\"){50,4000}\nw ::= [!-,] | [0-Z] | [b-~]"};
    struct rng r;
    static struct vocabulary v;
    rng_init(&r, 13);
    for (size_t first = 0; first < 2; first++) {
        vocabulary_init(&v, &r, "abc.");
        for (size_t i = 0; i < 2; i++) {
            struct grammar *g = grammar_from_gbnf(str_from(texts[(first + i) % 2]), NULL);
            struct automaton *a = automaton_create(g, v.trie, NULL);
            for (int round = 0; round < 10; round++) {
                struct matcher m;
                matcher_init(&m, a);
                assert_true(walk(&m, &v, &r, 12) == 12);
                matcher_finish(&m);
            }
            automaton_destroy(a);
            grammar_destroy(g);
        }
        token_trie_destroy(v.trie);
    }
}

static void a_token_that_is_not_allowed_changes_nothing(void **state)
{
    (void)state;
    struct rng r;
    static struct vocabulary v;
    rng_init(&r, 8);
    vocabulary_init(&v, &r, alphabet);
    struct grammar *g = grammar_from_gbnf(str_from(grammars[1]), NULL);
    struct automaton *a = automaton_create(g, v.trie, NULL);
    struct matcher m;
    struct error e = {0};
    matcher_init(&m, a);
    assert_true(take_bytes(&m, STR("{\"a\":["), NULL));
    uint64_t before[(N_TOKENS + 63) / 64];
    memcpy(before, matcher_mask(&m, NULL), sizeof before);
    assert_false(matcher_take(&m, ':', NULL));
    assert_false(matcher_take(&m, N_TOKENS - 1, &e));
    assert_string_equal(e.text, "token 599 is not allowed by the grammar");
    assert_false(matcher_take(&m, N_TOKENS, &e));
    assert_memory_equal(before, matcher_mask(&m, NULL), sizeof before);
    assert_true(take_bytes(&m, STR("{}]}"), NULL));
    assert_true(matcher_is_complete(&m));
    assert_true(matcher_take(&m, N_TOKENS - 1, &e));
    assert_int_equal(m.user.state, AUTOMATON_ENDED);
    assert_false(matcher_is_complete(&m));
    assert_false(matcher_take(&m, N_TOKENS - 1, &e));
    assert_false(take_bytes(&m, STR("x"), &e));
    matcher_finish(&m);
    automaton_destroy(a);
    grammar_destroy(g);
    token_trie_destroy(v.trie);
}

/* Each text is another way through the states, of which there is no end. */
static void what_nobody_holds_is_forgotten_and_changes_nothing(void **state)
{
    (void)state;
    struct rng r;
    static struct vocabulary v;
    rng_init(&r, 9);
    vocabulary_init(&v, &r, "ab(,)");
    struct grammar *g = grammar_from_gbnf(
        STR("root ::= (\"(\" root \")\"){0,100000} (\"a\" root){0,3} | \"b\""), NULL);
    struct automaton *a = automaton_create(g, v.trie, NULL), *fresh;
    struct matcher old, m, other;
    uint32_t most = 0, n_falls = 0, before = 0;
    size_t most_bytes = 0;
    matcher_init(&old, a);
    assert_true(take_bytes(&old, STR("((b)(b)((a"), NULL));
    for (int text = 0; text < 4000 && n_falls < 3; text++) {
        matcher_init(&m, a);
        for (int i = 0; i < 400; i++) {
            static const struct str parts[] = {STR("("), STR("(b)"), STR("(ab)"), STR(")")};
            (void)take_bytes(&m, parts[below(&r, 4)], NULL);
        }
        assert_non_null(matcher_mask(&m, NULL));
        struct automaton_size size = automaton_size(a);
        n_falls += size.n_states < before;
        before = size.n_states;
        most = size.n_states > most ? size.n_states : most;
        most_bytes = size.n_bytes > most_bytes ? size.n_bytes : most_bytes;
        matcher_finish(&m);
    }
    assert_true(n_falls == 3);
    assert_true(most_bytes < 64 << 20);
    /* what was held all the time is as in an automaton that is new */
    fresh = automaton_create(g, v.trie, NULL);
    matcher_init(&other, fresh);
    assert_true(take_bytes(&other, STR("((b)(b)((a"), NULL));
    uint64_t expected[(N_TOKENS + 63) / 64];
    memcpy(expected, matcher_mask(&other, NULL), sizeof expected);
    assert_memory_equal(expected, matcher_mask(&old, NULL), sizeof expected);
    assert_true(take_bytes(&old, STR("b)))"), NULL) == take_bytes(&other, STR("b)))"), NULL));
    matcher_finish(&old);
    matcher_finish(&other);
    automaton_destroy(fresh);
    automaton_destroy(a);
    grammar_destroy(g);
    token_trie_destroy(v.trie);
}

static void a_vocabulary_without_tokens_allows_nothing(void **state)
{
    (void)state;
    struct token_trie *t = token_trie_from_pieces(NULL, NULL, 0, NULL);
    struct grammar *g = grammar_from_gbnf(STR("root ::= \"a\"?"), NULL);
    struct automaton *a = automaton_create(g, t, NULL);
    assert_non_null(a);
    assert_non_null(automaton_mask(a, AUTOMATON_START, NULL));
    assert_true(automaton_is_complete(a, AUTOMATON_START));
    automaton_destroy(a);
    grammar_destroy(g);
    token_trie_destroy(t);
}

static void every_allocation_of_a_mask_may_fail(void **state)
{
    (void)state;
    struct rng r;
    static struct vocabulary v;
    rng_init(&r, 10);
    vocabulary_init(&v, &r, alphabet);
    token_trie_destroy(v.trie);
    struct grammar *g = grammar_from_gbnf(str_from(grammars[1]), NULL);
    for (size_t n = 1;; n++) {
        struct error e = {0};
        mem_fail_nth(n);
        bool ok = (v.trie = token_trie_from_pieces(v.pieces, v.is_end, N_TOKENS, &e)) != NULL;
        struct automaton *a = ok ? automaton_create(g, v.trie, &e) : NULL;
        struct matcher m = {0};
        ok = a != NULL;
        if (ok) {
            matcher_init(&m, a);
            ok = matcher_mask(&m, &e) != NULL && take_bytes(&m, STR("{\"x"), &e) &&
                 matcher_mask(&m, &e) != NULL;
        }
        matcher_finish(&m);
        automaton_destroy(a);
        token_trie_destroy(v.trie);
        if (ok && mem_count() < n) {
            break;
        }
        assert_false(ok);
        assert_int_equal(e.code, ERROR_MEMORY);
    }
    mem_fail_nth(0);
    grammar_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mask_has_the_tokens_whose_bytes_are_allowed),
        cmocka_unit_test(a_mask_ends_where_a_limit_is_reached),
        cmocka_unit_test(what_a_grammar_walked_is_found_by_others),
        cmocka_unit_test(loops_that_begin_elsewhere_are_told_apart),
        cmocka_unit_test(a_token_that_is_not_allowed_changes_nothing),
        cmocka_unit_test(what_nobody_holds_is_forgotten_and_changes_nothing),
        cmocka_unit_test(a_vocabulary_without_tokens_allows_nothing),
        cmocka_unit_test(every_allocation_of_a_mask_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
