/* json_tree.h - a text as a tree of jansson, in one block of memory.
 *
 * jansson 2.14 writes past the end of its memory when an allocation fails in the middle of a parse.
 * So a text is looked through first, which gives a bound of what the tree takes, that is allocated
 * as one block, and the parser gets its memory from there: it fails before it starts or not at all.
 * The tree belongs to the thread that parsed it. */
#ifndef BASE_JSON_TREE_H
#define BASE_JSON_TREE_H

#include "base/str.h"

#include <jansson.h>

/* Once in a process, before any other thread exists: jansson's memory comes from base/mem.h
 * then. */
void json_tree_init(void);

/* Of a text, JSON or not: no fewer than its tree has. */
struct json_counts {
    size_t n_values; /* elements and members */
    size_t n_containers;
};

struct json_counts json_tree_count(struct str text);

/* i: of the quote in front of a string; of the one behind, or past the end. */
size_t json_tree_skip_string(struct str text, size_t i);

/* Bytes that the tree takes at most; false when that is no number. */
bool json_tree_bound(size_t n_text, const struct json_counts *counts, size_t *out_bytes);

struct json_block {
    char *bytes; /* (capacity), the first n are taken */
    size_t n, capacity;
};

struct json_tree {
    json_t *root;            /* NULL: the text is no JSON, *why says what is wrong */
    struct json_block outer; /* the thread's before it */
};

/* flags are jansson's (JSON_ALLOW_NUL goes without saying). Needs json_tree_init(). False, and *out
 * untouched: no memory. A thread may have a tree within another's life: who was parsed last is
 * finished first. */
bool json_tree_parse(struct json_tree *out, struct str text, const struct json_counts *counts,
                     size_t flags, json_error_t *why);
void json_tree_finish(struct json_tree *tree);

/* The same in memory of the caller's (n_bytes: json_tree_bound): the tree needs no release, and its
 * references must be given back one for one. NULL: no JSON. */
json_t *json_tree_load(struct str text, void *bytes, size_t n_bytes);

#endif
