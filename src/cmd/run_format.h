/* run_format.h - what the answers of `puna run` are held to: a JSON schema or a grammar. */
#ifndef CMD_RUN_FORMAT_H
#define CMD_RUN_FORMAT_H

#include "cmd/options.h"
#include "engine/engine.h"

struct run_format {
    const char *schema_path, *grammar_path; /* options; at most one is not NULL */
    struct grammar *grammar;                /* NULL: answers are anything */
    struct token_trie *trie;
    struct automaton *automaton;
};

/* clang-format off */
#define OPTIONS_FORMAT(f)                                                                          \
    {OPTION_TEXT, "schema", 0, "json-schema-file", "FILE", &(f).schema_path, 0, 0,                 \
     "answers are JSON that is valid by the JSON schema in FILE\n(docs/STRUCTURED.md)", NULL},     \
    {OPTION_TEXT, "grammar", 0, "grammar-file", "FILE", &(f).grammar_path, 0, 0,                   \
     "answers are texts of the grammar in FILE, in GBNF, the form\nof llama.cpp", NULL}
/* clang-format on */

/* Name of an option that was given, with its dashes; NULL: none was. */
const char *run_format_given(const struct run_format *f);

/* Reads and compiles the file; what has no effect in a schema is told on stderr. ERROR_USAGE: both
 * are given, or what is in it is no schema or grammar, or none that can be enforced;
 * ERROR_NOT_FOUND, ERROR_IO, ERROR_MEMORY. */
bool run_format_read(struct run_format *f, struct error *e);

/* Makes what the engine needs, after run_format_read. ERROR_MEMORY. */
bool run_format_open(struct run_format *f, const struct tokenizer *t, struct error *e);

/* After the engine. Also after failures. */
void run_format_close(struct run_format *f);

#endif
