/* schema_check.c - what Puna says of JSON schemas, for the comparisons of tests/oracle: one JSON
 * object a line on standard input
 *   {"schema": SCHEMA, "instances": [VALUE, ...], "texts": [TEXT, ...], "walks": N, "seed": N}
 * (all but the schema may be missing), one a line on standard output
 *   {"verdicts": [["valid" | "invalid" | "unchecked", TEXT], ...] of the validator,
 *    "error": null or why there is no grammar, "code": NAME, "ms": of compiling,
 *    "allowed": [whether the grammar has each of the texts],
 *    "walks": [texts that were written by taking any byte that is allowed]} */
#include "base/rng.h"
#include "schema/automaton.h"
#include "schema/schema_compile.h"
#include "schema/schema_validate.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char *const outcome_names[] = {
    [SCHEMA_VALID] = "valid", [SCHEMA_INVALID] = "invalid", [SCHEMA_UNCHECKED] = "unchecked"};
static const char *const code_names[ERROR_CODE_COUNT] = {[ERROR_USAGE] = "usage",
                                                         [ERROR_FORMAT] = "format",
                                                         [ERROR_UNSUPPORTED] = "unsupported",
                                                         [ERROR_MEMORY] = "memory"};

static json_t *verdicts(const json_t *schema, const json_t *instances)
{
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(instances); i++) {
        struct schema_verdict v;
        schema_validate(schema, json_array_get(instances, i), NULL, &v);
        json_array_append_new(list, json_pack("[s, s]", outcome_names[v.outcome], v.text));
    }
    return list;
}

static uint32_t step(struct automaton *a, uint32_t state, uint8_t byte)
{
    struct error e = {0};
    if (!automaton_step(a, state, byte, &state, &e)) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
    return state;
}

static json_t *allowed(struct automaton *a, const json_t *texts)
{
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(texts); i++) {
        const json_t *text = json_array_get(texts, i);
        const char *p = json_string_value(text);
        uint32_t state = AUTOMATON_START;
        for (size_t n = 0; n < json_string_length(text) && state != AUTOMATON_DEAD; n++) {
            state = step(a, state, (uint8_t)p[n]);
        }
        bool has = state != AUTOMATON_DEAD && automaton_is_complete(a, state);
        json_array_append_new(list, json_boolean(has));
    }
    return list;
}

/* Bytes of a kind are drawn as one, so that a string does not go on for ever. */
static int kind_of(int byte)
{
    return byte >= 0x80                 ? 0
           : byte >= '0' && byte <= '9' ? 1
           : byte >= 'a' && byte <= 'z' ? 2
           : byte >= 'A' && byte <= 'Z' ? 2
           : byte == '"'                ? 3
           : byte == ']' || byte == '}' ? 4
           : byte == ','                ? 5
           : byte == '\\'               ? 6
                                        : 7;
}

enum { MAX_WALK = 4000, SOON = 300 };

static int pick(struct automaton *a, uint32_t state, size_t n, struct rng *r)
{
    int bytes[256], n_bytes = 0, kinds[256];
    unsigned seen = 0;
    for (int byte = 0; byte < 256; byte++) {
        if (step(a, state, (uint8_t)byte) != AUTOMATON_DEAD) {
            seen |= 1u << kind_of(byte);
            bytes[n_bytes++] = byte;
        }
    }
    int n_kinds = 0;
    for (int i = 0; i < 8; i++) {
        if ((seen >> i & 1) != 0) {
            kinds[n_kinds++] = i;
        }
    }
    if (n_bytes == 0) {
        return -1;
    }
    int kind = kinds[rng_next(r) % (uint64_t)n_kinds];
    kind = n > SOON && (seen & 8) != 0 ? 3 : n > SOON && (seen & 16) != 0 ? 4 : kind;
    for (;;) {
        int byte = bytes[rng_next(r) % (uint64_t)n_bytes];
        if (kind_of(byte) == kind) {
            return byte;
        }
    }
}

static json_t *walk(struct automaton *a, struct rng *r)
{
    char text[MAX_WALK];
    size_t n = 0;
    uint32_t state = AUTOMATON_START;
    while (n < MAX_WALK) {
        int byte =
            automaton_is_complete(a, state) && rng_next(r) % 4 == 0 ? -1 : pick(a, state, n, r);
        if (byte < 0 && !automaton_is_complete(a, state)) {
            fprintf(stderr, "no way on from '%.*s'\n", (int)n, text);
            abort();
        }
        if (byte < 0) {
            return json_stringn(text, n);
        }
        text[n++] = (char)byte;
        state = step(a, state, (uint8_t)byte);
    }
    return json_null();
}

static void ask_grammar(const json_t *request, const struct grammar *g, json_t *answer)
{
    const struct str pieces[] = {{"a", 1}};
    const bool ends[] = {false};
    struct rng r;
    struct token_trie *trie = token_trie_from_pieces(pieces, ends, 1, NULL);
    struct automaton *a = automaton_create(g, trie, NULL);
    json_t *walks = json_array();
    rng_init(&r, (uint64_t)json_integer_value(json_object_get(request, "seed")));
    json_object_set_new(answer, "allowed", allowed(a, json_object_get(request, "texts")));
    for (json_int_t i = 0; i < json_integer_value(json_object_get(request, "walks")); i++) {
        json_array_append_new(walks, walk(a, &r));
    }
    json_object_set_new(answer, "walks", walks);
    automaton_destroy(a);
    token_trie_destroy(trie);
}

static json_t *answer(const json_t *request)
{
    struct error e = {0};
    const json_t *schema = json_object_get(request, "schema");
    json_t *result =
        json_pack("{s:o}", "verdicts", verdicts(schema, json_object_get(request, "instances")));
    clock_t start = clock();
    struct grammar *g = schema_compile(schema, NULL, &e);
    double ms = (double)(clock() - start) * 1000.0 / CLOCKS_PER_SEC;
    json_object_set_new(result, "ms", json_real(ms));
    json_object_set_new(result, "error", g == NULL ? json_string(e.text) : json_null());
    json_object_set_new(result, "code", g == NULL ? json_string(code_names[e.code]) : json_null());
    if (g != NULL) {
        ask_grammar(request, g, result);
    }
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
        json_t *result = request != NULL ? answer(request) : json_pack("{s:s}", "unread", why.text);
        json_dumpf(result, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(result);
        json_decref(request);
    }
    free(line);
    return 0;
}
