/* schema_ref.h - where the references of a JSON schema lead: "#", "#/json/pointer" and "#anchor"
 * ($anchor, or $id "#anchor" of draft 7), within one document. Borrows the document; pure. */
#ifndef SCHEMA_SCHEMA_REF_H
#define SCHEMA_SCHEMA_REF_H

#include "base/error.h"

#include <jansson.h>
#include <stddef.h>

/* *out = the schema (an object or a boolean) that `ref` names in root. *steps is what may be looked
 * at yet, in values, and gets less.
 * ERROR_UNSUPPORTED: a reference to another document, or into a schema with an $id of its own,
 * whose references would start there; ERROR_FORMAT: it leads nowhere or to no schema;
 * ERROR_CONTEXT: no steps are left. */
bool schema_ref_resolve(const json_t *root, const char *ref, size_t *steps, const json_t **out,
                        struct error *e);

/* Has the schema an identity of its own, so that references in it are none to the root? */
bool schema_ref_has_own_id(const json_t *schema);

#endif
