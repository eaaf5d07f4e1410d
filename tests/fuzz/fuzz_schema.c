/* fuzz_schema.c - JSON schemas from any bytes. What is refused says why. Texts that are written by
 * taking any byte that the grammar allows, which the input's own bytes choose, are JSON, and the
 * validator does not call their values invalid. What has no effect is told in bounds. */
#include "schema/automaton.h"
#include "schema/schema_compile.h"
#include "schema/schema_validate.h"

#include "require.h"

#include <string.h>

enum { N_WALKS = 6, MAX_WALK = 200 };

struct walk {
    struct automaton *automaton;
    const uint8_t *choices; /* (n_choices) */
    size_t n_choices, n_chosen;
    char text[MAX_WALK];
    size_t n;
    uint32_t state;
};

static uint32_t step(const struct walk *w, uint8_t byte)
{
    uint32_t state = AUTOMATON_DEAD;
    struct error e = {0};
    /* a grammar that is read in too many ways ends as one that has no way on */
    require(automaton_step(w->automaton, w->state, byte, &state, &e) ||
            e.code == ERROR_UNSUPPORTED);
    return state;
}

/* The next byte from a start that the input gives; -1 when there is none. */
static int next_byte(struct walk *w)
{
    uint8_t start = w->choices[w->n_chosen++ % w->n_choices];
    for (int i = 0; i < 256; i++) {
        uint8_t byte = (uint8_t)(start + i);
        if (step(w, byte) != AUTOMATON_DEAD) {
            return byte;
        }
    }
    return -1;
}

/* Whether the text came to an end. */
static bool write_text(struct walk *w)
{
    w->n = 0;
    w->state = AUTOMATON_START;
    while (w->n < MAX_WALK) {
        bool may_end = automaton_is_complete(w->automaton, w->state);
        int byte = next_byte(w);
        if (byte < 0 && !may_end) {
            return false;
        }
        if (byte < 0 || (may_end && byte % 2 == 0)) {
            return true;
        }
        w->text[w->n++] = (char)byte;
        w->state = step(w, (uint8_t)byte);
    }
    return false;
}

static void check_text(const json_t *schema, const struct walk *w)
{
    json_error_t why;
    struct schema_verdict v;
    json_t *value = json_loadb(w->text, w->n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (value == NULL) { /* bounds may ask for integers that jansson does not hold */
        require(json_error_code(&why) == json_error_numeric_overflow);
        return;
    }
    require(schema_validate(schema, value, NULL, &v) != SCHEMA_INVALID);
    json_decref(value);
}

static void check_grammar(const json_t *schema, const struct grammar *g, const uint8_t *data,
                          size_t n_bytes)
{
    static const struct str pieces[] = {{"a", 1}};
    static const bool ends[] = {false};
    struct error e = {0};
    struct token_trie *trie = token_trie_from_pieces(pieces, ends, 1, &e);
    struct walk w = {.choices = data, .n_choices = n_bytes};
    require(trie != NULL && (w.automaton = automaton_create(g, trie, &e)) != NULL);
    for (int i = 0; i < N_WALKS; i++) {
        if (write_text(&w)) {
            check_text(schema, &w);
        }
    }
    automaton_destroy(w.automaton);
    token_trie_destroy(trie);
}

/* Each is a text of UTF-8 with its end. */
static void check_remarks(const struct schema_remarks *remarks)
{
    require(remarks->n <= SCHEMA_MAX_REMARKS + 1);
    require((remarks->n_more > 0) == (remarks->n > SCHEMA_MAX_REMARKS));
    for (size_t i = 0; i < remarks->n; i++) {
        require(memchr(remarks->text[i], '\0', SCHEMA_REMARK_BYTES) != NULL);
        json_t *text = json_string(remarks->text[i]);
        require(text != NULL && json_string_length(text) > 0);
        json_decref(text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    json_error_t why;
    struct error e = {0};
    struct schema_remarks remarks = {0};
    json_t *schema = n_bytes > 0 ? json_loadb((const char *)data, n_bytes,
                                              JSON_DECODE_ANY | JSON_ALLOW_NUL, &why)
                                 : NULL;
    if (schema == NULL) {
        return 0;
    }
    struct grammar *g = schema_compile(schema, &remarks, &e);
    if (g != NULL) {
        check_remarks(&remarks);
        check_grammar(schema, g, data, n_bytes);
    } else {
        require(e.text[0] != '\0' &&
                (e.code == ERROR_UNSUPPORTED || e.code == ERROR_USAGE || e.code == ERROR_FORMAT));
    }
    grammar_destroy(g);
    json_decref(schema);
    return 0;
}
