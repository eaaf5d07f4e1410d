/* api_read.c - typed values of a JSON body, with errors that name them. */
#include "serve/api_read.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>

/* --- memory */

enum { BLOCK_BYTES = 4096, ALIGNMENT = 16 };

struct block {
    struct block *next;
    size_t n, capacity;
    _Alignas(ALIGNMENT) char bytes[];
};

bool api_fail_memory(struct api_reader *r)
{
    return api_error_set(r->error, API_ERROR_OVERLOADED, NULL,
                         "the server has no memory for this request now");
}

void *api_alloc(struct api_reader *r, size_t n, size_t size)
{
    size_t n_bytes, whole;
    struct block *b = r->request->blocks;
    if (!mem_mul(n, size, &n_bytes) || !mem_add(n_bytes, sizeof *b + 2 * ALIGNMENT, &whole)) {
        api_fail_memory(r);
        return NULL;
    }
    n_bytes = (n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (b == NULL || b->capacity - b->n < n_bytes) {
        size_t capacity = n_bytes > BLOCK_BYTES ? n_bytes : BLOCK_BYTES;
        struct block *made = mem_alloc(1, sizeof *made + capacity, "request", NULL);
        if (made == NULL) {
            api_fail_memory(r);
            return NULL;
        }
        made->capacity = capacity;
        made->next = b;
        r->request->blocks = b = made;
    }
    void *p = b->bytes + b->n;
    b->n += n_bytes;
    return p;
}

void api_request_finish(struct api_request *r)
{
    struct block *b = r->blocks;
    while (b != NULL) {
        struct block *next = b->next;
        mem_free(b);
        b = next;
    }
    *r = (struct api_request){0};
}

bool api_copy_text(struct api_reader *r, struct str s, struct str *out)
{
    char *copy = api_alloc(r, s.n, 1);
    if (copy == NULL) {
        return false;
    }
    if (s.n > 0) {
        memcpy(copy, s.p, s.n);
    }
    *out = (struct str){copy, s.n};
    return true;
}

/* --- errors and warnings */

bool api_fail(struct api_reader *r, enum api_error_kind kind, const char *format, ...)
{
    char text[API_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *path = r->path_n > 0 ? r->path : "the body";
    return api_error_set(r->error, kind, r->path, "%s %s", path, text);
}

bool api_fail_yet(struct api_reader *r)
{
    return api_fail(r, API_ERROR_UNSUPPORTED_PARAMETER, "is not supported yet");
}

static bool has_warned(const struct api_request *request, struct str message)
{
    for (size_t i = 0; i < request->n_warnings; i++) {
        if (str_eq(request->warnings[i].message, message)) {
            return true;
        }
    }
    return false;
}

bool api_warn(struct api_reader *r, const char *format, ...)
{
    char text[API_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct api_request *q = r->request;
    if (q->strict) {
        return api_fail(r, API_ERROR_UNSUPPORTED_PARAMETER, "%s (strict is true)", text);
    }
    /* the same thing in a hundred messages is told once */
    if (has_warned(q, str_from(text)) || q->n_warnings == API_MAX_WARNINGS) {
        return true;
    }
    if (q->warnings == NULL) {
        q->warnings = api_alloc(r, API_MAX_WARNINGS, sizeof *q->warnings);
    }
    struct api_warning made;
    if (q->warnings == NULL || !api_copy_text(r, str_from(r->path), &made.param) ||
        !api_copy_text(r, str_from(text), &made.message)) {
        return false;
    }
    q->warnings[q->n_warnings++] = made;
    return true;
}

/* --- the path */

static size_t append_path(struct api_reader *r, const char *text)
{
    size_t before = r->path_n;
    size_t room = sizeof r->path - 1 - before;
    size_t n = strnlen(text, room);
    memcpy(r->path + before, text, n);
    r->path[before + n] = '\0';
    r->path_n = before + n;
    return before;
}

size_t api_enter_key(struct api_reader *r, const char *key)
{
    char text[80];
    snprintf(text, sizeof text, "%s%.64s", r->path_n > 0 ? "." : "", key);
    return append_path(r, text);
}

size_t api_enter_index(struct api_reader *r, size_t i)
{
    char text[32];
    snprintf(text, sizeof text, "[%zu]", i);
    return append_path(r, text);
}

void api_leave(struct api_reader *r, size_t path_n)
{
    r->path_n = path_n;
    r->path[path_n] = '\0';
}

/* --- values */

static const char *type_of(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    default:
        return "null";
    }
}

static bool wrong_type(struct api_reader *r, const json_t *v, const char *wanted)
{
    return api_fail(r, API_ERROR_INVALID_TYPE, "is %s, expected %s", type_of(v), wanted);
}

const json_t *api_member(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return json_is_null(v) ? NULL : v;
}

bool api_read_bool(struct api_reader *r, const json_t *v, bool *out)
{
    if (!json_is_boolean(v)) {
        return wrong_type(r, v, "a boolean");
    }
    *out = json_is_true(v);
    return true;
}

static bool whole_number(const json_t *v, int64_t *out)
{
    static const double exact_end = 9007199254740992.0; /* 2^53 */
    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        return true;
    }
    double x = json_is_real(v) ? json_real_value(v) : 0.5;
    if (x != floor(x) || fabs(x) > exact_end) {
        return false;
    }
    *out = (int64_t)x;
    return true;
}

bool api_read_int(struct api_reader *r, const json_t *v, int64_t min, int64_t max, int64_t *out)
{
    int64_t x = 0;
    if (!whole_number(v, &x)) {
        return wrong_type(r, v, "an integer");
    }
    if (x < min || x > max) {
        return api_fail(r, API_ERROR_INVALID_VALUE, "is %lld, expected %lld to %lld", (long long)x,
                        (long long)min, (long long)max);
    }
    *out = x;
    return true;
}

bool api_read_float(struct api_reader *r, const json_t *v, double min, double max, float *out)
{
    if (!json_is_number(v)) {
        return wrong_type(r, v, "a number");
    }
    double x = json_number_value(v);
    if (!(x >= min && x <= max)) {
        return api_fail(r, API_ERROR_INVALID_VALUE, "is %g, expected %g to %g", x, min, max);
    }
    *out = (float)x;
    return true;
}

static size_t count_chars(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    }
    return n;
}

bool api_view_text(struct api_reader *r, const json_t *v, size_t max_chars, struct str *out)
{
    if (!json_is_string(v)) {
        return wrong_type(r, v, "a string");
    }
    struct str s = {json_string_value(v), json_string_length(v)};
    size_t n_chars = max_chars < s.n ? count_chars(s) : 0;
    if (n_chars > max_chars) {
        return api_fail(r, API_ERROR_INVALID_VALUE, "has %zu characters, expected at most %zu",
                        n_chars, max_chars);
    }
    *out = s;
    return true;
}

bool api_read_text(struct api_reader *r, const json_t *v, size_t max_chars, struct str *out)
{
    struct str s = {0};
    return api_view_text(r, v, max_chars, &s) && api_copy_text(r, s, out);
}

bool api_read_choice(struct api_reader *r, const json_t *v, const char *const *names, size_t *out)
{
    struct str s = {0};
    if (!api_view_text(r, v, SIZE_MAX, &s)) {
        return false;
    }
    char list[256] = "";
    for (size_t i = 0; names[i] != NULL; i++) {
        if (str_eq(s, str_from(names[i]))) {
            *out = i;
            return true;
        }
        size_t n = strlen(list);
        snprintf(list + n, sizeof list - n, "%s'%s'", i > 0 ? ", " : "", names[i]);
    }
    return api_fail(r, API_ERROR_INVALID_VALUE, "is '%.64s', expected %s%s", json_string_value(v),
                    names[0] != NULL && names[1] != NULL ? "one of " : "", list);
}

bool api_want_member(struct api_reader *r, const json_t *object, const char *key,
                     const json_t **out)
{
    *out = api_member(object, key);
    if (*out == NULL) {
        api_enter_key(r, key);
        return api_fail(r, API_ERROR_MISSING_PARAMETER, "is missing");
    }
    return true;
}

bool api_want_text(struct api_reader *r, const json_t *object, const char *key, size_t max_chars,
                   struct str *out)
{
    const json_t *v;
    if (!api_want_member(r, object, key, &v)) {
        return false;
    }
    size_t before = api_enter_key(r, key);
    if (!api_view_text(r, v, max_chars, out)) {
        return false;
    }
    api_leave(r, before);
    return true;
}

bool api_want_choice(struct api_reader *r, const json_t *object, const char *key,
                     const char *const *names, size_t *out)
{
    const json_t *v;
    if (!api_want_member(r, object, key, &v)) {
        return false;
    }
    size_t before = api_enter_key(r, key);
    if (!api_read_choice(r, v, names, out)) {
        return false;
    }
    api_leave(r, before);
    return true;
}

bool api_want_object(struct api_reader *r, const json_t *v)
{
    return json_is_object(v) || wrong_type(r, v, "an object");
}

bool api_want_array(struct api_reader *r, const json_t *v, size_t min, size_t max)
{
    if (!json_is_array(v)) {
        return wrong_type(r, v, "an array");
    }
    size_t n = json_array_size(v);
    if (n < min || n > max) {
        return api_fail(r, API_ERROR_INVALID_VALUE, "has %zu elements, expected %zu to %zu", n, min,
                        max);
    }
    return true;
}

bool api_check_keys(struct api_reader *r, const json_t *v, const char *const *names)
{
    if (!api_want_object(r, v)) {
        return false;
    }
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)v, key, member)
    {
        size_t i = 0;
        while (names[i] != NULL && strcmp(names[i], key) != 0) {
            i++;
        }
        if (names[i] == NULL) {
            api_enter_key(r, key);
            return api_fail(r, API_ERROR_UNKNOWN_PARAMETER, "is no known parameter");
        }
    }
    return true;
}

/* --- token ids and prompts */

bool api_read_id(struct api_reader *r, const json_t *v, uint32_t *out)
{
    uint32_t n_vocab = r->options->n_vocab;
    int64_t id = 0;
    if (!api_read_int(r, v, 0, n_vocab > 0 ? n_vocab - 1 : INT32_MAX, &id)) {
        return false;
    }
    *out = (uint32_t)id;
    return true;
}

bool api_read_ids(struct api_reader *r, const json_t *v, size_t min, const uint32_t **out,
                  size_t *out_n)
{
    if (!api_want_array(r, v, min, r->options->limits.values)) {
        return false;
    }
    size_t n = json_array_size(v);
    uint32_t *ids = api_alloc(r, n, sizeof *ids);
    if (ids == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        size_t before = api_enter_index(r, i);
        if (!api_read_id(r, json_array_get(v, i), &ids[i])) {
            return false;
        }
        api_leave(r, before);
    }
    *out = ids;
    *out_n = n;
    return true;
}

static bool read_prompt(struct api_reader *r, const json_t *v, struct api_prompt *out)
{
    out->is_ids = json_is_array(v);
    return out->is_ids ? api_read_ids(r, v, 1, &out->ids, &out->n_ids)
                       : api_read_text(r, v, SIZE_MAX, &out->text);
}

bool api_read_prompts(struct api_reader *r, const json_t *v, size_t max,
                      const struct api_prompt **out, size_t *out_n)
{
    if (!json_is_string(v) && !json_is_array(v)) {
        return wrong_type(r, v, "a string or an array of strings, token ids or arrays of them");
    }
    bool is_one = json_is_string(v) || json_is_number(json_array_get(v, 0));
    size_t n = is_one ? 1 : json_array_size(v);
    if (!is_one && !api_want_array(r, v, 1, max)) {
        return false;
    }
    struct api_prompt *made = api_alloc(r, n, sizeof *made);
    if (made == NULL) {
        return false;
    }
    if (is_one && !read_prompt(r, v, &made[0])) {
        return false;
    }
    for (size_t i = 0; i < n && !is_one; i++) {
        const json_t *item = json_array_get(v, i);
        size_t before = api_enter_index(r, i);
        if (i > 0 && json_typeof(item) != json_typeof(json_array_get(v, 0))) {
            return api_fail(r, API_ERROR_INVALID_TYPE, "is %s, but element 0 is %s", type_of(item),
                            type_of(json_array_get(v, 0)));
        }
        if (!read_prompt(r, item, &made[i])) {
            return false;
        }
        api_leave(r, before);
    }
    *out = made;
    *out_n = n;
    return true;
}
