/* schema_validate.h - is a value valid against a JSON schema, and if not, why?
 *
 * Draft 2020-12, with the spellings of draft 7 where they differ: definitions, items as an array
 * and additionalItems, dependencies, $id "#name". Keywords beside $ref apply (as in 2020-12),
 * whatever $schema says. Numbers are compared as decimals (1 == 1.0); lengths are code points.
 *   annotations  title, description, default, examples, format, contentEncoding, contentMediaType,
 *                contentSchema, readOnly, writeOnly, deprecated, $comment, $schema, and any keyword
 *                that is not known: they allow everything
 *   unchecked    what this file cannot judge: unevaluatedProperties, unevaluatedItems, $dynamicRef,
 *                $recursiveRef, draft 3's extends, disallow and divisibleBy, $ref to another
 *                document or nowhere, an $id or id of its own below the root with references in it,
 *                a keyword whose value is malformed, a regular expression that grammar.h refuses,
 *                and more steps or depth than the limits allow.
 * A value is never said to be valid where something unchecked could have made it invalid; it can be
 * invalid for another reason, or valid by another branch of anyOf.
 * Pure; all calls are thread-safe as long as nobody changes the values. */
#ifndef SCHEMA_SCHEMA_VALIDATE_H
#define SCHEMA_SCHEMA_VALIDATE_H

#include <jansson.h>
#include <stddef.h>

enum schema_outcome { SCHEMA_VALID, SCHEMA_INVALID, SCHEMA_UNCHECKED };

struct schema_limits {
    size_t steps;   /* keywords applied, members, items and 64 bytes looked at; 0: 1,000,000 */
    unsigned depth; /* schemas within schemas, $ref included; 0: 200 */
};

enum { SCHEMA_POINTER_BYTES = 256, SCHEMA_REASON_BYTES = 400 };

/* What was found first: why the value is invalid, or what kept it from being judged. */
struct schema_verdict {
    enum schema_outcome outcome;
    const char *keyword; /* "required"; NULL when valid */
    char
        instance[SCHEMA_POINTER_BYTES]; /* JSON pointers, "" for the whole; a long one is cut and */
    char schema[SCHEMA_POINTER_BYTES];  /* ends in "..." */
    char text[SCHEMA_REASON_BYTES];     /* "/location: is missing (required)"; "" when valid */
};

/* limits may be NULL. Borrows both values for the call. */
enum schema_outcome schema_validate(const json_t *schema, const json_t *instance,
                                    const struct schema_limits *limits, struct schema_verdict *out);

#endif
