/* schema_ref.h - where the references of a JSON schema lead: "#", "#/json/pointer" and "#anchor"
 * ($anchor, or $id "#anchor" of draft 7), within one document. Borrows the document; pure. */
#ifndef SCHEMA_SCHEMA_REF_H
#define SCHEMA_SCHEMA_REF_H

#include "base/error.h"

#include <jansson.h>
#include <stddef.h>

/* *out = the schema (an object or a boolean) that `ref` names in root. *steps is what may be looked
 * at yet, in values, and gets less.
 * ERROR_UNSUPPORTED: a reference to another document, or into a schema whose references start
 * there (schema_ref_own_base); ERROR_FORMAT: it leads nowhere or to no schema;
 * ERROR_CONTEXT: no steps are left. */
bool schema_ref_resolve(const json_t *root, const char *ref, size_t *steps, const json_t **out,
                        struct error *e);

/* The keyword that makes the schema a document of its own, "$id" or "id" (draft 4), when it has one
 * and there is a reference in it, which then starts there and not at the root; NULL: none. Without
 * references such a keyword says nothing. *steps as above; a schema that cannot be looked through
 * with them counts as one with a reference. */
const char *schema_ref_own_base(const json_t *schema, size_t *steps);

#endif
