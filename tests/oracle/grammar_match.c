/* grammar_match.c - matches texts for the comparisons of tests/oracle: one JSON object a line on
 * standard input
 *   {"gbnf" or "pattern": TEXT, "flags": GRAMMAR_PATTERN_..., "texts": [TEXT, ...]}
 * one a line on standard output
 *   {"matches": [BOOL, ...]}  or  {"error": TEXT, "code": NAME}
 * Each text is a string of Latin-1: its characters are the bytes. Without "texts" each character of
 * Unicode is one, and {"characters": [FIRST, LAST, FIRST, LAST, ...]} are those that match. */
#include "schema/automaton.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const code_names[ERROR_CODE_COUNT] = {
    [ERROR_USAGE] = "usage",
    [ERROR_FORMAT] = "format",
    [ERROR_UNSUPPORTED] = "unsupported",
    [ERROR_MEMORY] = "memory",
};

static json_t *failure(const struct error *e)
{
    const char *name = code_names[e->code] != NULL ? code_names[e->code] : "other";
    return json_pack("{s:s, s:s}", "error", e->text, "code", name);
}

static struct str text_of(const json_t *json)
{
    return (struct str){json_string_value(json), json_string_length(json)};
}

static struct grammar *compile(const json_t *request, struct error *e)
{
    const json_t *gbnf = json_object_get(request, "gbnf");
    if (gbnf != NULL) {
        return grammar_from_gbnf(text_of(gbnf), e);
    }
    struct grammar_builder *b = grammar_builder_create(e);
    unsigned flags = (unsigned)json_integer_value(json_object_get(request, "flags"));
    uint32_t node = grammar_pattern(b, text_of(json_object_get(request, "pattern")), flags);
    struct grammar *g = grammar_compile(b, node, e);
    grammar_builder_destroy(b);
    return g;
}

static bool matches(struct automaton *a, struct str text)
{
    uint32_t state = AUTOMATON_START, c;
    for (size_t n; text.n > 0 && state != AUTOMATON_DEAD; text = str_skip(text, n)) {
        n = str_decode_utf8(text, &c);
        if (n == 0 || !automaton_step(a, state, (uint8_t)c, &state, NULL)) {
            return false;
        }
    }
    return automaton_is_complete(a, state);
}

static bool matches_character(struct automaton *a, uint32_t c)
{
    char bytes[4], text[8];
    size_t n = str_encode_utf8(c, bytes), length = 0;
    for (size_t i = 0; i < n; i++) {
        length += str_encode_utf8((uint8_t)bytes[i], text + length);
    }
    return n > 0 && matches(a, (struct str){text, length});
}

static json_t *characters(struct automaton *a)
{
    json_t *list = json_array();
    bool was_in = false;
    for (uint32_t c = 0; c <= 0x110000; c++) {
        bool is_in = c < 0x110000 && !(c >= 0xd800 && c < 0xe000) && matches_character(a, c);
        if (is_in != was_in) {
            json_array_append_new(list, json_integer(is_in ? c : c - 1));
        }
        was_in = is_in;
    }
    return json_pack("{s:o}", "characters", list);
}

static json_t *matched(struct automaton *a, const json_t *texts)
{
    json_t *list = json_array(), *text;
    size_t i;
    json_array_foreach(texts, i, text)
    {
        json_array_append_new(list, json_boolean(a != NULL && matches(a, text_of(text))));
    }
    return json_pack("{s:o}", "matches", list);
}

static json_t *answer(const json_t *request)
{
    struct error e = {0};
    struct grammar *g = compile(request, &e);
    if (g == NULL) {
        return failure(&e);
    }
    struct token_trie *t = token_trie_from_pieces(NULL, NULL, 0, &e);
    struct automaton *a = automaton_create(g, t, &e);
    const json_t *texts = json_object_get(request, "texts");
    json_t *result = texts != NULL || a == NULL ? matched(a, texts) : characters(a);
    automaton_destroy(a);
    token_trie_destroy(t);
    grammar_destroy(g);
    return result;
}

int main(void)
{
    char *line = NULL;
    size_t capacity = 0;
    for (ssize_t n; (n = getline(&line, &capacity, stdin)) > 0;) {
        json_error_t why;
        json_t *request = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, &why);
        json_t *result = request != NULL
                             ? answer(request)
                             : json_pack("{s:s, s:s}", "error", why.text, "code", "json");
        json_dumpf(result, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(result);
        json_decref(request);
    }
    free(line);
    return 0;
}
