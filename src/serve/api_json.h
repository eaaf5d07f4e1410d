/* api_json.h - a text as a tree of jansson, within bounds. Internal to serve/api_*. */
#ifndef SERVE_API_JSON_H
#define SERVE_API_JSON_H

#include "base/json_tree.h"
#include "serve/api_read.h"

/* As json_tree_parse(), of an object; json_tree_finish() ends it. `what` names the text in errors.
 * API_ERROR_BAD_JSON: no JSON, or more than the first five limits allow;
 * API_ERROR_INVALID_TYPE: no object; API_ERROR_OVERLOADED: no memory. A thread may have a tree
 * within another's life: who was parsed last is finished first. */
bool api_json_parse(struct json_tree *out, struct str text, const char *what, size_t flags,
                    const struct api_limits *limits, struct api_error *e);

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
