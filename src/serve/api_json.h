/* api_json.h - a body as a tree of jansson, within bounds and in one block of memory.
 *
 * jansson 2.14 writes past the end of its memory when an allocation fails in the middle of a parse.
 * So a body is looked through first, which gives a bound of what the tree takes, that is allocated
 * as one block, and the parser gets its memory from there: it fails before it starts or not at all.
 * Internal to serve/api_*. The tree belongs to the thread that parsed it. */
#ifndef SERVE_API_JSON_H
#define SERVE_API_JSON_H

#include "serve/api_request.h"

#include <jansson.h>

struct api_json {
    json_t *root; /* an object */
    void *block;
};

/* Needs api_init(). API_ERROR_BAD_JSON: no JSON, a name twice, or more than the first three limits
 * allow; API_ERROR_INVALID_TYPE: no object; API_ERROR_OVERLOADED: no memory. One tree of a thread
 * at a time. */
bool api_json_parse(struct api_json *out, struct str body, const struct api_limits *limits,
                    struct api_error *e);
void api_json_finish(struct api_json *json);

#endif
