/* mask_speed.c - what a grammar costs: `mask_speed MODEL.gguf GRAMMAR.gbnf TEXT...` compiles the
 * grammar, and takes each file TEXT token by token as a model would write it, with a mask before
 * every token. First all texts by a new automaton, then all of them again. Prints times in
 * microseconds. */
#include "base/buf.h"
#include "base/clock.h"
#include "schema/matcher.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_TIMES = 1 << 20, N_COMPILATIONS = 20 };

struct bench {
    const struct tokenizer *tokenizer;
    struct token_trie *trie;
    double times[MAX_TIMES];
    size_t n;
};

static int fail(const char *what, const struct error *e)
{
    fprintf(stderr, "%s: %s\n", what, e->text);
    return 1;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double share(struct bench *b, double part)
{
    return b->n > 0 ? b->times[(size_t)(part * (double)(b->n - 1))] : 0;
}

static void report(struct bench *b, const char *what)
{
    double sum = 0;
    qsort(b->times, b->n, sizeof *b->times, compare);
    for (size_t i = 0; i < b->n; i++) {
        sum += b->times[i];
    }
    printf("%-18s %7zu  mean %9.2f  p50 %9.2f  p99 %9.2f  most %9.2f us\n", what, b->n,
           b->n > 0 ? sum / (double)b->n : 0, share(b, 0.5), share(b, 0.99), share(b, 1));
    b->n = 0;
}

static bool take_text(struct bench *b, struct automaton *a, struct str text, struct error *e)
{
    struct token_list list = {0};
    struct matcher m;
    bool ok = tokenizer_encode(b->tokenizer, text, 0, &list, e);
    matcher_init(&m, a);
    for (size_t i = 0; i <= list.n && ok && b->n < MAX_TIMES; i++) {
        uint64_t start = clock_now_ns();
        ok = matcher_mask(&m, e) != NULL && (i == list.n || matcher_take(&m, list.ids[i], e));
        b->times[b->n++] = clock_seconds_since(start) * 1e6;
    }
    if (ok && !matcher_is_complete(&m)) {
        ok = error_set(e, ERROR_FORMAT, "the text is no text of the grammar");
    }
    matcher_finish(&m);
    token_list_finish(&list);
    return ok;
}

static bool run(struct bench *b, struct str grammar, struct str *texts, int n_texts,
                struct error *e)
{
    struct grammar *g = NULL;
    for (int i = 0; i < N_COMPILATIONS; i++) {
        grammar_destroy(g);
        uint64_t start = clock_now_ns();
        g = grammar_from_gbnf(grammar, e);
        b->times[b->n++] = clock_seconds_since(start) * 1e6;
        if (g == NULL) {
            return false;
        }
    }
    report(b, "compile");
    struct automaton *a = automaton_create(g, b->trie, e);
    bool ok = a != NULL;
    for (int round = 0; round < 2 && ok; round++) {
        for (int i = 0; i < n_texts && ok; i++) {
            ok = take_text(b, a, texts[i], e);
        }
        report(b, round == 0 ? "token, first time" : "token, again");
    }
    if (ok) {
        struct automaton_size size = automaton_size(a);
        printf("%u states, %zu bytes\n", size.n_states, size.n_bytes);
    }
    automaton_destroy(a);
    grammar_destroy(g);
    return ok;
}

static bool read_file(const char *path, struct buf *out, struct error *e)
{
    char part[4096];
    FILE *f = fopen(path, "rb");
    bool ok = f != NULL || error_set(e, ERROR_NOT_FOUND, "cannot be opened");
    for (size_t n; ok && (n = fread(part, 1, sizeof part, f)) > 0;) {
        ok = buf_append(out, (struct str){part, n}, e);
    }
    if (f != NULL) {
        fclose(f);
    }
    return ok;
}

int main(int argc, char **argv)
{
    static struct bench b;
    struct error e = {0};
    if (argc < 4) {
        fprintf(stderr, "usage: mask_speed MODEL.gguf GRAMMAR.gbnf TEXT...\n");
        return 2;
    }
    struct gguf *g = gguf_open(argv[1], &e);
    struct tokenizer *t = g != NULL ? tokenizer_create(g, &e) : NULL;
    b.tokenizer = t;
    b.trie = t != NULL ? token_trie_create(t, &e) : NULL;
    if (b.trie == NULL) {
        return fail(argv[1], &e);
    }
    printf("%u tokens, %u nodes\n", b.trie->n_tokens, b.trie->n_nodes);
    struct buf *files = calloc((size_t)argc, sizeof *files);
    struct str *texts = calloc((size_t)argc, sizeof *texts);
    for (int i = 2; i < argc; i++) {
        buf_init(&files[i], 64 << 20);
        if (!read_file(argv[i], &files[i], &e)) {
            return fail(argv[i], &e);
        }
        texts[i] = buf_str(&files[i]);
    }
    bool ok = run(&b, texts[2], texts + 3, argc - 3, &e);
    for (int i = 2; i < argc; i++) {
        buf_finish(&files[i]);
    }
    free(files);
    free(texts);
    token_trie_destroy(b.trie);
    tokenizer_destroy(t);
    gguf_destroy(g);
    return ok ? 0 : fail(argv[2], &e);
}
