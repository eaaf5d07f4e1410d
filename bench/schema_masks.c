/* schema_masks.c - what a schema costs, for structured_peers.py: `schema_masks MODEL.gguf` writes
 * a line of JSON about the vocabulary,
 *   {"pieces": [bytes of each token, in hexadecimal, "" if they are no text], "ends": [IDS]}
 * and then, for each line on standard input,
 *   {"schema": SCHEMA as text, "texts": [TEXT, ...]}
 * one about the schema, where times are nanoseconds:
 *   {"tokens": [[IDS of a text], ...], "error": null or why there is no grammar, "compile": TIME,
 *    "accepted": [whether the grammar has each text], "cold": [TIMES], "warm": [TIMES],
 *    "failed": why some text could not be judged, if so}
 * Compiling begins with the schema's text and ends with an automaton. Each text is taken token by
 * token as a model would write it, with a mask before every token and one behind the last; a time
 * is that of a mask and, if it has the token, of the step. First all texts by the new automaton
 * (cold), then all again (warm). */
#include "base/clock.h"
#include "schema/matcher.h"
#include "schema/schema_compile.h"

#include <stdio.h>
#include <stdlib.h>

struct vocabulary {
    const struct tokenizer *tokenizer;
    struct token_trie *trie;
};

static void write_line(json_t *value)
{
    json_dumpf(value, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(value);
}

static void write_vocabulary(const struct token_trie *t)
{
    json_t *pieces = json_array(), *ends = json_array();
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        char hex[2 * TOKEN_TRIE_MAX_BYTES + 1] = "";
        for (size_t n = 0; n < t->pieces[i].n && n < TOKEN_TRIE_MAX_BYTES; n++) {
            snprintf(hex + 2 * n, 3, "%02x", (uint8_t)t->pieces[i].p[n]);
        }
        json_array_append_new(pieces, json_string(hex));
        if (token_mask_has(t->ends, i)) {
            json_array_append_new(ends, json_integer(i));
        }
    }
    write_line(json_pack("{s:o, s:o}", "pieces", pieces, "ends", ends));
}

static json_t *tokens_of(const struct vocabulary *v, const json_t *texts, struct error *e)
{
    json_t *all = json_array();
    for (size_t i = 0; i < json_array_size(texts); i++) {
        const json_t *text = json_array_get(texts, i);
        struct str s = {json_string_value(text), json_string_length(text)};
        struct token_list list = {0};
        json_t *ids = json_array();
        if (!tokenizer_encode(v->tokenizer, s, 0, &list, e)) {
            fprintf(stderr, "%s\n", e->text);
            exit(1);
        }
        for (size_t k = 0; k < list.n; k++) {
            json_array_append_new(ids, json_integer(list.ids[k]));
        }
        json_array_append_new(all, ids);
        token_list_finish(&list);
    }
    return all;
}

/* Whether the grammar has the text; false with *e set where that cannot be said. */
static bool take_text(struct automaton *a, const json_t *ids, json_t *times, struct error *e)
{
    struct matcher m;
    size_t n = json_array_size(ids);
    bool has = true, ok = true;
    matcher_init(&m, a);
    for (size_t i = 0; i <= n && has && ok; i++) {
        uint32_t id = i < n ? (uint32_t)json_integer_value(json_array_get(ids, i)) : 0;
        uint64_t start = clock_now_ns();
        const uint64_t *mask = matcher_mask(&m, e);
        ok = mask != NULL;
        has = ok && (i == n ? matcher_is_complete(&m) : token_mask_has(mask, id));
        ok = ok && (!has || i == n || matcher_take(&m, id, e));
        json_array_append_new(times, json_integer((json_int_t)(clock_now_ns() - start)));
    }
    matcher_finish(&m);
    return ok && has;
}

static void take_texts(struct automaton *a, const json_t *tokens, const char *round, json_t *answer)
{
    json_t *accepted = json_array(), *times = json_array();
    for (size_t i = 0; i < json_array_size(tokens); i++) {
        struct error e = {0};
        bool has = take_text(a, json_array_get(tokens, i), times, &e);
        json_array_append_new(accepted, json_boolean(has));
        if (e.text[0] != '\0') {
            json_object_set_new(answer, "failed", json_string(e.text));
        }
    }
    json_object_set_new(answer, "accepted", accepted);
    json_object_set_new(answer, round, times);
}

static json_t *answer(const struct vocabulary *v, const json_t *request)
{
    struct error e = {0};
    const json_t *text = json_object_get(request, "schema");
    json_t *tokens = tokens_of(v, json_object_get(request, "texts"), &e);
    json_t *result = json_pack("{s:o}", "tokens", tokens);
    uint64_t start = clock_now_ns();
    json_t *schema = json_loadb(json_string_value(text), json_string_length(text),
                                JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    struct grammar *g = schema_compile(schema, NULL, &e);
    struct automaton *a = g != NULL ? automaton_create(g, v->trie, &e) : NULL;
    uint64_t end = clock_now_ns();
    json_object_set_new(result, "compile", json_integer((json_int_t)(end - start)));
    json_object_set_new(result, "error", a == NULL ? json_string(e.text) : json_null());
    if (a != NULL) {
        take_texts(a, tokens, "cold", result);
        take_texts(a, tokens, "warm", result);
    }
    automaton_destroy(a);
    grammar_destroy(g);
    json_decref(schema);
    return result;
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct vocabulary v = {0};
    if (argc != 2) {
        fprintf(stderr, "usage: schema_masks MODEL.gguf\n");
        return 2;
    }
    struct gguf *g = gguf_open(argv[1], &e);
    struct tokenizer *t = g != NULL ? tokenizer_create(g, &e) : NULL;
    v.tokenizer = t;
    v.trie = t != NULL ? token_trie_create(t, &e) : NULL;
    if (v.trie == NULL) {
        fprintf(stderr, "%s: %s\n", argv[1], e.text);
        return 1;
    }
    write_vocabulary(v.trie);
    char *line = NULL;
    size_t capacity = 0;
    for (ssize_t n; (n = getline(&line, &capacity, stdin)) > 0;) {
        json_t *request = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, NULL);
        write_line(answer(&v, request));
        json_decref(request);
    }
    free(line);
    token_trie_destroy(v.trie);
    tokenizer_destroy(t);
    gguf_destroy(g);
    return 0;
}
