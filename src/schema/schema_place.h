/* schema_place.h - where a value stands in a JSON document, and its JSON pointer. */
#ifndef SCHEMA_SCHEMA_PLACE_H
#define SCHEMA_SCHEMA_PLACE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* A chain up to the root, on the stack. */
struct schema_place {
    const struct schema_place *parent; /* NULL at the root */
    const char *key;                   /* a member's name, or NULL and the index of an item */
    size_t index;
};

/* "/a/b~1c/3", "" for the root; a long one is cut and ends in "...". out (n_bytes > 4). */
void schema_place_print(const struct schema_place *p, char *out, size_t n_bytes);

/* The pointer of a value by its address, printed as above; false, and "" in out, when it is not in
 * the document or deeper than 200 values. */
bool schema_place_find(const json_t *root, const json_t *wanted, char *out, size_t n_bytes);

#endif
