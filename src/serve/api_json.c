/* api_json.c - bounds of a body, and jansson in one block of memory. */
#include "serve/api_json.h"

#include "base/json_why.h"
#include "base/mem.h"

/* --- the block that the thread's parser takes its memory from; nothing is given back before all */

enum { ALIGNMENT = 16 };

static _Thread_local struct api_json_block block;

static void *take(size_t n_bytes)
{
    size_t rounded = (n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (block.bytes == NULL || rounded < n_bytes || rounded > block.capacity - block.n) {
        return mem_alloc(n_bytes, 1, "JSON", NULL);
    }
    void *p = block.bytes + block.n;
    block.n += rounded;
    return p;
}

static void give_back(void *p)
{
    uintptr_t at = (uintptr_t)p;
    uintptr_t start = (uintptr_t)block.bytes;
    if (block.bytes == NULL || at < start || at >= start + block.capacity) {
        mem_free(p);
    }
}

void api_init(void)
{
    json_set_alloc_funcs(take, give_back);
}

/* --- bounds, before anything is built: jansson itself allows a depth of 2048 and any number */

struct scan {
    size_t depth, deepest, n_containers, n_values;
    size_t n_schema_values; /* of the outermost object's members but those of texts and tokens */
    size_t longest;         /* bytes of a string there */
    bool is_key;            /* the next string of that object's own level */
    bool is_long;           /* within texts and tokens */
};

/* From the quote in front to the one behind, or past the end. */
static size_t skip_string(struct str text, size_t i)
{
    for (i++; i < text.n && text.p[i] != '"'; i++) {
        i += text.p[i] == '\\';
    }
    return i;
}

/* Members that have texts and tokens. A key that is spelled with escapes is none of them, which is
 * the narrower bound. */
static bool names_long_text(struct str key)
{
    return str_eq(key, STR("messages")) || str_eq(key, STR("prompt")) ||
           str_eq(key, STR("input")) || str_eq(key, STR("content")) || str_eq(key, STR("tokens"));
}

static void count_value(struct scan *s)
{
    s->n_values++;
    s->n_schema_values += !s->is_long;
}

static void scan_text(struct str text, struct scan *s)
{
    for (size_t begin, i = 0; i < text.n; i++) {
        switch (text.p[i]) {
        case '"':
            begin = i + 1;
            i = skip_string(text, i);
            if (s->is_key && i < text.n) {
                s->is_long = names_long_text((struct str){text.p + begin, i - begin});
            }
            s->longest = !s->is_long && i - begin > s->longest ? i - begin : s->longest;
            s->is_key = false;
            break;
        case '[':
        case '{':
            s->n_containers++;
            count_value(s);
            s->depth++;
            s->deepest = s->depth > s->deepest ? s->depth : s->deepest;
            s->is_key = s->depth == 1;
            break;
        case ']':
        case '}':
            s->depth -= s->depth > 0;
            break;
        case ',':
            s->is_key = s->depth == 1;
            s->is_long = s->is_long && s->depth > 1;
            count_value(s);
            break;
        default:
            break;
        }
    }
}

static bool check_bounds(const struct scan *s, const char *what, const struct api_limits *limits,
                         struct api_error *e)
{
    if (s->deepest > limits->depth) {
        return api_error_set(e, API_ERROR_BAD_JSON, NULL,
                             "%s nests %zu arrays and objects, at most %u are read", what,
                             s->deepest, limits->depth);
    }
    if (s->n_containers > limits->containers) {
        return api_error_set(e, API_ERROR_BAD_JSON, NULL,
                             "%s has %zu arrays and objects, at most %u are read", what,
                             s->n_containers, limits->containers);
    }
    if (s->n_values > limits->values) {
        return api_error_set(e, API_ERROR_BAD_JSON, NULL,
                             "%s has %zu elements and members, at most %u are read", what,
                             s->n_values, limits->values);
    }
    if (s->longest > limits->schema_bytes) {
        return api_error_set(e, API_ERROR_BAD_JSON, NULL,
                             "%s has a string of %zu bytes beside its texts and tokens, at most %u "
                             "are read",
                             what, s->longest, limits->schema_bytes);
    }
    if (s->n_schema_values > limits->schema_values) {
        return api_error_set(
            e, API_ERROR_BAD_JSON, NULL,
            "%s has %zu elements and members beside its texts and tokens, at most %u are "
            "read",
            what, s->n_schema_values, limits->schema_values);
    }
    return true;
}

struct api_limits api_limits_of_text(const struct api_limits *limits, uint32_t values)
{
    struct api_limits out = *limits;
    out.values = values < limits->values ? values : limits->values;
    out.schema_values = out.values;
    out.schema_bytes = UINT32_MAX;
    return out;
}

bool api_json_check_bounds(struct str text, const char *what, const struct api_limits *limits,
                           struct api_error *e)
{
    struct scan s = {0};
    scan_text(text, &s);
    return check_bounds(&s, what, limits, e);
}

/* What jansson takes, with nothing given back. A member: a pair (56 bytes and its name, and the
 * name once more while it is read), places in tables that double (64), a value (32, or 48 and its
 * text). A container: itself and its first table (208). The text of a token gathers in a buffer
 * that doubles, of the longest token. */
static bool bound_memory(const struct scan *s, size_t n_text, size_t *out)
{
    enum { FIXED = 4096, A_BYTE = 8, A_VALUE = 320, A_CONTAINER = 256 };
    size_t text, rest = FIXED + s->n_values * A_VALUE + s->n_containers * A_CONTAINER;
    return mem_mul(n_text, A_BYTE, &text) && mem_add(text, rest, out);
}

/* --- parsing */

static bool fail_memory(struct api_error *e)
{
    return api_error_set(e, API_ERROR_OVERLOADED, NULL,
                         "the server has no memory for this request now");
}

/* Sets *outer to the block that the thread had. */
static void enter_block(void *bytes, size_t capacity, struct api_json_block *outer)
{
    *outer = block;
    block = (struct api_json_block){.bytes = bytes, .capacity = capacity};
}

bool api_json_parse(struct api_json *out, struct str text, const char *what, size_t flags,
                    const struct api_limits *limits, struct api_error *e)
{
    struct scan s = {0};
    size_t n_bytes = 0;
    scan_text(text, &s);
    if (!check_bounds(&s, what, limits, e)) {
        return false;
    }
    void *bytes = bound_memory(&s, text.n, &n_bytes) ? mem_alloc(n_bytes, 1, "JSON", NULL) : NULL;
    if (bytes == NULL) {
        return fail_memory(e);
    }
    struct api_json made = {0};
    enter_block(bytes, n_bytes, &made.outer);
    json_error_t why = {0};
    made.root = json_loadb(text.n > 0 ? text.p : "", text.n, flags | JSON_ALLOW_NUL, &why);
    bool ok = json_is_object(made.root);
    if (made.root == NULL) {
        api_error_set(e, API_ERROR_BAD_JSON, NULL,
                      "%s could not be parsed as JSON: line %d, column %d: %s", what, why.line,
                      why.column, json_why(&why));
    } else if (!ok) {
        api_error_set(e, API_ERROR_INVALID_TYPE, NULL, "%s is no JSON object", what);
    }
    if (!ok) {
        api_json_finish(&made);
        return false;
    }
    *out = made;
    return true;
}

void api_json_finish(struct api_json *json)
{
    json_decref(json->root);
    mem_free(block.bytes);
    block = json->outer;
    *json = (struct api_json){0};
}

json_t *api_json_copy(struct api_reader *r, const json_t *v)
{
    enum { FLAGS = JSON_COMPACT | JSON_REAL_PRECISION(17) };
    struct scan s = {0};
    struct api_json_block outer;
    json_t *copy = NULL;
    size_t n_bytes = 0, n = json_dumpb(v, NULL, 0, FLAGS);
    char *text = n > 0 ? mem_alloc(n, 1, "JSON", NULL) : NULL;
    if (text != NULL && json_dumpb(v, text, n, FLAGS) == n) {
        scan_text((struct str){text, n}, &s);
        void *bytes = bound_memory(&s, n, &n_bytes) ? api_alloc(r, n_bytes, 1) : NULL;
        if (bytes != NULL) {
            enter_block(bytes, n_bytes, &outer);
            copy = json_loadb(text, n, JSON_ALLOW_NUL, NULL);
            block = outer;
        }
    }
    mem_free(text);
    if (copy == NULL) {
        api_fail_memory(r);
    }
    return copy;
}
