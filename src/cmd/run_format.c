/* run_format.c - from a file to the automaton that answers are written by. */
#include "cmd/run_format.h"

#include "cmd/cmd.h"
#include "schema/schema_compile.h"

enum { MAX_FILE_BYTES = 16 << 20 };

const char *run_format_given(const struct run_format *f)
{
    return f->schema_path != NULL ? "--schema" : f->grammar_path != NULL ? "--grammar" : NULL;
}

static struct grammar *compile_schema(struct str text, struct error *e)
{
    json_error_t why;
    json_t *schema = json_loadb(text.n > 0 ? text.p : "", text.n,
                                JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (schema == NULL) {
        error_set(e, ERROR_FORMAT, "not JSON: line %d, column %d: %s", why.line, why.column,
                  why.text);
        return NULL;
    }
    struct grammar *g = schema_compile(schema, e);
    json_decref(schema);
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
        f->grammar = (is_schema ? compile_schema : grammar_from_gbnf)(buf_str(&text), &why);
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
