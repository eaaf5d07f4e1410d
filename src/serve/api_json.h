/* api_json.h - a text as a tree of jansson, within bounds and in one block of memory.
 *
 * jansson 2.14 writes past the end of its memory when an allocation fails in the middle of a parse.
 * So a text is looked through first, which gives a bound of what the tree takes, that is allocated
 * as one block, and the parser gets its memory from there: it fails before it starts or not at all.
 * Internal to serve/api_*. The tree belongs to the thread that parsed it. */
#ifndef SERVE_API_JSON_H
#define SERVE_API_JSON_H

#include "serve/api_read.h"

struct api_json_block {
    char *bytes; /* (capacity), the first n are taken */
    size_t n, capacity;
};

struct api_json {
    json_t *root;                /* an object */
    struct api_json_block outer; /* the thread's before it */
};

/* Needs api_init(). `what` names the text in errors, flags are jansson's (JSON_ALLOW_NUL goes
 * without saying). API_ERROR_BAD_JSON: no JSON, or more than the first five limits allow;
 * API_ERROR_INVALID_TYPE: no object; API_ERROR_OVERLOADED: no memory. A thread may have a tree
 * within another's life: who was parsed last is finished first. */
bool api_json_parse(struct api_json *out, struct str text, const char *what, size_t flags,
                    const struct api_limits *limits, struct api_error *e);
void api_json_finish(struct api_json *json);

/* For texts within a body, whose members have other names: one bound for all of their values. */
struct api_limits api_limits_of_text(const struct api_limits *limits, uint32_t values);

/* The first of these checks alone: whether a text is within the limits, JSON or not. */
bool api_json_check_bounds(struct str text, const char *what, const struct api_limits *limits,
                           struct api_error *e);

/* A copy of an array or object of the reader's tree, in the request's memory: it needs no release,
 * and its references must be given back one for one. Never NULL but with the reader's error set:
 * no memory. */
json_t *api_json_copy(struct api_reader *r, const json_t *v);

#endif
