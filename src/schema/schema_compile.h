/* schema_compile.h - a grammar of a JSON schema: of the JSON texts whose values are valid.
 *
 * Every text of the grammar is valid; where a schema asks for what cannot be enforced, or has what
 * looks like a slip of a keyword that restricts, there is no grammar but an error that names the
 * place and the keyword. Keywords and formats that JSON Schema does not define allow everything,
 * as the standard says; they are told as remarks.
 * docs/STRUCTURED.md says which keywords are enforced, how texts are written (one line, ", " and
 * ": ", members in the order of the schema) and which valid values have no text.
 * Pure; all calls are thread-safe as long as nobody changes the schema. */
#ifndef SCHEMA_SCHEMA_COMPILE_H
#define SCHEMA_SCHEMA_COMPILE_H

#include "schema/grammar.h"

#include <jansson.h>

enum { SCHEMA_MAX_REMARKS = 16, SCHEMA_REMARK_BYTES = 400 };

/* "schema #/a/b: 'faker' is no keyword of JSON Schema and has no effect (12 places)": one a name,
 * in the order in which they were met, with the place of the first. Names beyond SCHEMA_MAX_REMARKS
 * make one more, the last. Zero it before the first call; each call appends to what is there. */
struct schema_remarks {
    size_t n;
    size_t n_more; /* places of the names that the last one tells of */
    char text[SCHEMA_MAX_REMARKS + 1][SCHEMA_REMARK_BYTES]; /* (n) */
    size_t source[SCHEMA_MAX_REMARKS]; /* next_source when it was made; not of the last */
    size_t next_source;                /* the caller's own number for the schemas to come */
};

/* *out = an expression of the builder, which may be part of a larger one. Borrows the schema for
 * the call. remarks may be NULL.
 *   ERROR_UNSUPPORTED  something cannot be enforced, or takes more than the limits (64 MiB, 400,000
 *                      steps, those of grammar.h)
 *   ERROR_USAGE        no value is valid
 *   ERROR_FORMAT       no schema
 *   ERROR_MEMORY */
bool schema_compile_into(struct grammar_builder *b, const json_t *schema, uint32_t *out,
                         struct schema_remarks *remarks, struct error *e);

/* The same as a grammar of its own, the caller's. NULL with *e. */
struct grammar *schema_compile(const json_t *schema, struct schema_remarks *remarks,
                               struct error *e);

/* Of any JSON object. NULL: ERROR_MEMORY. */
struct grammar *schema_compile_any_object(struct error *e);

#endif
