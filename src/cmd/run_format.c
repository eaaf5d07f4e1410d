/* run_format.c - from a file to the automaton that answers are written by. */
#include "cmd/run_format.h"

#include "base/json_why.h"
#include "cmd/cmd.h"
#include "cmd/print.h"
#include "schema/schema_compile.h"

enum { MAX_FILE_BYTES = 16 << 20 };

const char *run_format_given(const struct run_format *f)
{
    return f->schema_path != NULL ? "--schema" : f->grammar_path != NULL ? "--grammar" : NULL;
}

static void warn(const char *path, const struct schema_remarks *remarks)
{
    for (size_t i = 0; i < remarks->n; i++) {
        fprintf(stderr, "puna run: warning: option --schema: ");
        print_escaped(stderr, str_from(path), SIZE_MAX);
        fputs(": ", stderr);
        print_escaped(stderr, str_from(remarks->text[i]), SIZE_MAX);
        putc('\n', stderr);
    }
}

static struct grammar *compile_schema(const char *path, struct str text, struct error *e)
{
    struct schema_remarks remarks = {0};
    json_error_t why;
    json_t *schema = json_loadb(text.n > 0 ? text.p : "", text.n,
                                JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (schema == NULL) {
        error_set(e, ERROR_FORMAT, "not JSON: line %d, column %d: %s", why.line, why.column,
                  json_why(&why));
        return NULL;
    }
    struct grammar *g = schema_compile(schema, &remarks, e);
    json_decref(schema);
    if (g != NULL) {
        warn(path, &remarks);
    }
    return g;
}

bool run_format_read(struct run_format *f, struct error *e)
{
    if (f->schema_path != NULL && f->grammar_path != NULL) {
        return error_set(e, ERROR_USAGE, "--schema and --grammar: an answer has one format");
    }
    bool is_schema = f->schema_path != NULL;
    const char *path = is_schema ? f->schema_path : f->grammar_path;
    struct error why = {0};
    struct buf text;
    if (path == NULL) {
        return true;
    }
    buf_init(&text, 2 * MAX_FILE_BYTES);
    if (cmd_read_file(path, MAX_FILE_BYTES, &text, &why)) {
        f->grammar = is_schema ? compile_schema(path, buf_str(&text), &why)
                               : grammar_from_gbnf(buf_str(&text), &why);
    }
    buf_finish(&text);
    /* what is in the file was written by the user: no model file is to blame */
    bool is_users = why.code == ERROR_FORMAT || why.code == ERROR_UNSUPPORTED;
    return f->grammar != NULL ||
           error_set(e, is_users ? ERROR_USAGE : why.code, "option %s: %s: %s", run_format_given(f),
                     path, why.text);
}

bool run_format_open(struct run_format *f, const struct tokenizer *t, struct error *e)
{
    if (f->grammar == NULL) {
        return true;
    }
    f->trie = token_trie_create(t, e);
    f->automaton = f->trie != NULL ? automaton_create(f->grammar, f->trie, e) : NULL;
    return f->automaton != NULL;
}

void run_format_close(struct run_format *f)
{
    automaton_destroy(f->automaton);
    token_trie_destroy(f->trie);
    grammar_destroy(f->grammar);
    f->automaton = NULL;
    f->trie = NULL;
    f->grammar = NULL;
}
