/* fuzz_grammar.c - a byte that says what the text is (GBNF, or a pattern and its flags), a
 * grammar up to a NUL, and bytes that are matched by it. What is refused says why. No state is a
 * dead end, equal bytes lead to equal states, and masks have the tokens whose bytes are allowed. */
#include "schema/matcher.h"

#include "require.h"

enum { MOST_GRAMMAR_BYTES = 2048, MOST_TEXT_BYTES = 64, N_TOKENS = 280 };

static const struct token_trie *vocabulary(void)
{
    static const char *const words[] = {"\",", "\":",      "\"}",  "{\"", "  ",   "aa",  "ab",
                                        "ba",  "((",       "))",   "],",  "\\n",  "\\u", "00",
                                        "xy",  "\xc3\xa9", "\xc3", "a\"", "true", "\n\n"};
    static char bytes[256];
    static struct str pieces[N_TOKENS];
    static bool is_end[N_TOKENS];
    static struct token_trie *trie;
    for (size_t i = 0; trie == NULL && i < 256; i++) {
        bytes[i] = (char)i;
        pieces[i] = (struct str){&bytes[i], 1};
    }
    for (size_t i = 0; trie == NULL && i < sizeof words / sizeof words[0]; i++) {
        pieces[256 + i] = str_from(words[i]);
    }
    is_end[N_TOKENS - 1] = true;
    trie = trie != NULL ? trie : token_trie_from_pieces(pieces, is_end, N_TOKENS, NULL);
    return trie;
}

static void require_error(const struct error *e)
{
    require(e->code == ERROR_USAGE || e->code == ERROR_FORMAT || e->code == ERROR_UNSUPPORTED);
    require(e->text[0] != '\0');
}

static struct grammar *compile(unsigned kind, struct str text, struct error *e)
{
    if (kind % 2 == 0) {
        return grammar_from_gbnf(text, e);
    }
    struct grammar_builder *b = grammar_builder_create(e);
    struct grammar *g = grammar_compile(b, grammar_pattern(b, text, kind / 2 % 16), e);
    grammar_builder_destroy(b);
    return g;
}

/* False: the grammar can be read in too many ways. */
static bool step(struct automaton *a, uint32_t *state, struct str bytes)
{
    struct error e = {0};
    for (size_t i = 0; i < bytes.n && *state != AUTOMATON_DEAD; i++) {
        if (!automaton_step(a, *state, (uint8_t)bytes.p[i], state, &e)) {
            require_error(&e);
            return false;
        }
    }
    return true;
}

static bool check_state(struct automaton *a, uint32_t state)
{
    struct error e = {0};
    const struct token_trie *t = automaton_trie(a);
    const uint64_t *mask = automaton_mask(a, state, &e);
    uint64_t copy[N_TOKENS / 64 + 1];
    bool any = false;
    if (mask == NULL) {
        require_error(&e);
        return false;
    }
    memcpy(copy, mask, t->n_words * sizeof *mask);
    for (uint32_t i = 0; i < N_TOKENS; i++) {
        uint32_t to = t->pieces[i].n > 0 ? state : AUTOMATON_DEAD;
        if (!step(a, &to, t->pieces[i])) {
            return false;
        }
        bool is_allowed =
            i == N_TOKENS - 1 ? automaton_is_complete(a, state) : to != AUTOMATON_DEAD;
        require(token_mask_has(copy, i) == is_allowed);
        any = any || is_allowed;
    }
    require(any);
    return true;
}

static void match(struct automaton *a, struct automaton *other, struct str text)
{
    uint32_t state = AUTOMATON_START;
    for (size_t i = 0; i < text.n && check_state(a, state); i++) {
        uint32_t next = state;
        if (!step(a, &next, (struct str){text.p + i, 1})) {
            return;
        }
        /* a byte that is not allowed is replaced by one that is, so that texts go deep */
        for (unsigned b = 0; next == AUTOMATON_DEAD && b < 256; b++) {
            char byte = (char)((uint8_t)text.p[i] + b);
            next = state;
            if (!step(a, &next, (struct str){&byte, 1})) {
                return;
            }
        }
        if (next == AUTOMATON_DEAD) {
            require(automaton_is_complete(a, state));
            break;
        }
        state = next;
    }
    /* what was asked before changes nothing */
    uint32_t here = AUTOMATON_START, there = AUTOMATON_START;
    if (step(a, &here, text) && step(other, &there, text)) {
        require(automaton_is_complete(a, here) == automaton_is_complete(other, there));
        require((here == AUTOMATON_DEAD) == (there == AUTOMATON_DEAD));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct error e = {0};
    struct str input = {(const char *)data + 1, n_bytes - 1};
    if (n_bytes == 0) {
        return 0;
    }
    const char *nul = input.n > 0 ? memchr(input.p, 0, input.n) : NULL;
    struct str text = {input.p, nul != NULL ? (size_t)(nul - input.p) : input.n};
    struct str rest = str_skip(input, text.n + (nul != NULL));
    text.n = text.n < MOST_GRAMMAR_BYTES ? text.n : MOST_GRAMMAR_BYTES;
    rest.n = rest.n < MOST_TEXT_BYTES ? rest.n : MOST_TEXT_BYTES;
    struct grammar *g = compile(data[0], text, &e);
    if (g == NULL) {
        require_error(&e);
        return 0;
    }
    struct automaton *a = automaton_create(g, vocabulary(), &e);
    struct automaton *other = a != NULL ? automaton_create(g, vocabulary(), &e) : NULL;
    if (other != NULL) {
        match(a, other, rest);
    } else {
        require_error(&e);
    }
    automaton_destroy(other);
    automaton_destroy(a);
    grammar_destroy(g);
    return 0;
}
