/* schema_compile.h - a grammar of a JSON schema: of the JSON texts whose values are valid.
 *
 * Every text of the grammar is valid; where a schema asks for what cannot be enforced, or has a
 * keyword that is not known, there is no grammar but an error that names the place and the keyword.
 * docs/STRUCTURED.md says which keywords are enforced, how texts are written (one line, ", " and
 * ": ", members in the order of the schema) and which valid values have no text.
 * Pure; all calls are thread-safe as long as nobody changes the schema. */
#ifndef SCHEMA_SCHEMA_COMPILE_H
#define SCHEMA_SCHEMA_COMPILE_H

#include "schema/grammar.h"

#include <jansson.h>

/* *out = an expression of the builder, which may be part of a larger one. Borrows the schema for
 * the call.
 *   ERROR_UNSUPPORTED  something cannot be enforced, or takes more than the limits (64 MiB, 400,000
 *                      steps, those of grammar.h)
 *   ERROR_USAGE        no value is valid
 *   ERROR_FORMAT       no schema
 *   ERROR_MEMORY */
bool schema_compile_into(struct grammar_builder *b, const json_t *schema, uint32_t *out,
                         struct error *e);

/* The same as a grammar of its own, the caller's. NULL with *e. */
struct grammar *schema_compile(const json_t *schema, struct error *e);

/* Of any JSON object. NULL: ERROR_MEMORY. */
struct grammar *schema_compile_any_object(struct error *e);

#endif
