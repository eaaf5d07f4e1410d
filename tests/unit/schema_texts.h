/* schema_texts.h - grammars of JSON schemas, and which texts they have. */
#ifndef TESTS_SCHEMA_TEXTS_H
#define TESTS_SCHEMA_TEXTS_H

#include "schema/automaton.h"
#include "schema/schema_compile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Single quotes stand for double ones in schemas and texts. */
static inline char *quoted(const char *text)
{
    char *copy = strdup(text);
    for (char *p = copy; *p != '\0'; p++) {
        *p = (char)(*p == '\'' ? '"' : *p);
    }
    return copy;
}

static inline json_t *parse(const char *text)
{
    json_error_t why;
    char *json = quoted(text);
    json_t *value = json_loads(json, JSON_DECODE_ANY, &why);
    if (value == NULL) {
        fail_msg("%s: %s", text, why.text);
    }
    free(json);
    return value;
}

static inline struct grammar *compile(const char *schema, struct error *e)
{
    json_t *value = parse(schema);
    struct grammar *g = schema_compile(value, NULL, e);
    json_decref(value);
    return g;
}

struct reader {
    struct token_trie *trie;
    struct automaton *automaton;
};

static inline struct reader reader_of(const struct grammar *g)
{
    static const struct str pieces[] = {{"a", 1}};
    static const bool ends[] = {false};
    struct reader r = {.trie = token_trie_from_pieces(pieces, ends, 1, NULL)};
    r.automaton = automaton_create(g, r.trie, NULL);
    assert_non_null(r.automaton);
    return r;
}

static inline bool reader_has(struct reader *r, const char *text)
{
    uint32_t state = AUTOMATON_START;
    char *bytes = quoted(text);
    for (const char *p = bytes; *p != '\0' && state != AUTOMATON_DEAD; p++) {
        assert_true(automaton_step(r->automaton, state, (uint8_t)*p, &state, NULL));
    }
    free(bytes);
    return state != AUTOMATON_DEAD && automaton_is_complete(r->automaton, state);
}

static inline void reader_finish(struct reader *r)
{
    automaton_destroy(r->automaton);
    token_trie_destroy(r->trie);
}

struct texts {
    const char *schema;
    const char *yes[8], *no[10];
};

static inline void check_texts(const struct texts *t, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct error e = {0};
        struct grammar *g = compile(t[i].schema, &e);
        if (g == NULL) {
            fail_msg("%s: %s", t[i].schema, e.text);
        }
        struct reader r = reader_of(g);
        for (size_t k = 0; k < 8 && t[i].yes[k] != NULL; k++) {
            if (!reader_has(&r, t[i].yes[k])) {
                fail_msg("%s has no %s", t[i].schema, t[i].yes[k]);
            }
        }
        for (size_t k = 0; k < 10 && t[i].no[k] != NULL; k++) {
            if (reader_has(&r, t[i].no[k])) {
                fail_msg("%s has %s", t[i].schema, t[i].no[k]);
            }
        }
        reader_finish(&r);
        grammar_destroy(g);
    }
}

#define CHECK(table) check_texts((table), sizeof(table) / sizeof *(table))

#endif
