/* api_read.h - what the readers of requests share: where we are in the body, typed values, memory.
 *
 * Every api_read_* returns false with the reader's error set, which names the path and says what is
 * there and what was expected. Internal to serve/api_*; one reader lives for one parse. */
#ifndef SERVE_API_READ_H
#define SERVE_API_READ_H

#include "serve/api_request.h"

#include <jansson.h>

struct api_reader {
    struct api_request *request; /* being filled; owns what is allocated */
    const struct api_options *options;
    struct api_error *error;
    const json_t *root;
    char path[API_PARAM_BYTES]; /* of the value being read, as errors tell it */
    size_t path_n;
};

/* --- memory of the request, zeroed; ids and texts live as long as it does */

void *api_alloc(struct api_reader *r, size_t n, size_t size);
bool api_copy_text(struct api_reader *r, struct str s, struct str *out);

/* --- errors and warnings about the value at the path; both fail when `strict` */

bool api_fail(struct api_reader *r, enum api_error_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool api_warn(struct api_reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool api_fail_yet(struct api_reader *r); /* "is not supported yet" */

/* --- the path: enter appends, leave takes it back to what enter returned */

size_t api_enter_key(struct api_reader *r, const char *key);
size_t api_enter_index(struct api_reader *r, size_t i);
void api_leave(struct api_reader *r, size_t path_n);

/* --- values */

bool api_read_bool(struct api_reader *r, const json_t *v, bool *out);
/* Also numbers like 3.0, which are integers in JSON. */
bool api_read_int(struct api_reader *r, const json_t *v, int64_t min, int64_t max, int64_t *out);
bool api_read_float(struct api_reader *r, const json_t *v, double min, double max, float *out);
/* Borrows from the JSON. max_chars counts code points. */
bool api_view_text(struct api_reader *r, const json_t *v, size_t max_chars, struct str *out);
/* Copies. */
bool api_read_text(struct api_reader *r, const json_t *v, size_t max_chars, struct str *out);
/* A string that is one of names (NULL at the end); *out is its index. */
bool api_read_choice(struct api_reader *r, const json_t *v, const char *const *names, size_t *out);
/* A member that must be there; a string, viewed; one of names. */
bool api_want_member(struct api_reader *r, const json_t *object, const char *key,
                     const json_t **out);
bool api_want_text(struct api_reader *r, const json_t *object, const char *key, size_t max_chars,
                   struct str *out);
bool api_want_choice(struct api_reader *r, const json_t *object, const char *key,
                     const char *const *names, size_t *out);
bool api_want_object(struct api_reader *r, const json_t *v);
bool api_want_array(struct api_reader *r, const json_t *v, size_t min, size_t max);
/* An object with none but these keys (NULL at the end). */
bool api_check_keys(struct api_reader *r, const json_t *v, const char *const *names);
/* The member, or NULL when it is missing or null. */
const json_t *api_member(const json_t *object, const char *key);

bool api_read_id(struct api_reader *r, const json_t *v, uint32_t *out);
/* An array of at least min token ids. */
bool api_read_ids(struct api_reader *r, const json_t *v, size_t min, const uint32_t **out,
                  size_t *out_n);
/* A string, strings, ids, or arrays of ids: one prompt or several. */
bool api_read_prompts(struct api_reader *r, const json_t *v, size_t max,
                      const struct api_prompt **out, size_t *out_n);

bool api_fail_memory(struct api_reader *r);

#endif
