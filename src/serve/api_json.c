/* api_json.c - bounds of a body. */
#include "serve/api_json.h"

#include "base/json_why.h"
#include "base/mem.h"

/* --- bounds, before anything is built: jansson itself allows a depth of 2048 and any number */

struct scan {
    size_t depth, deepest;
    struct json_counts counts;
    size_t n_schema_values; /* of the outermost object's members but those of texts and tokens */
    size_t longest;         /* bytes of a string there */
    bool is_key;            /* the next string of that object's own level */
    bool is_long;           /* within texts and tokens */
};

/* Members that have texts and tokens. A key that is spelled with escapes is none of them, which is
 * the narrower bound. */
static bool names_long_text(struct str key)
{
    return str_eq(key, STR("messages")) || str_eq(key, STR("prompt")) ||
           str_eq(key, STR("input")) || str_eq(key, STR("content")) || str_eq(key, STR("tokens"));
}

static void count_value(struct scan *s)
{
    s->counts.n_values++;
    s->n_schema_values += !s->is_long;
}

static void scan_text(struct str text, struct scan *s)
{
    for (size_t begin, i = 0; i < text.n; i++) {
        switch (text.p[i]) {
        case '"':
            begin = i + 1;
            i = json_tree_skip_string(text, i);
            if (s->is_key && i < text.n) {
                s->is_long = names_long_text((struct str){text.p + begin, i - begin});
            }
            s->longest = !s->is_long && i - begin > s->longest ? i - begin : s->longest;
            s->is_key = false;
            break;
        case '[':
        case '{':
            s->counts.n_containers++;
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
    if (s->counts.n_containers > limits->containers) {
        return api_error_set(e, API_ERROR_BAD_JSON, NULL,
                             "%s has %zu arrays and objects, at most %u are read", what,
                             s->counts.n_containers, limits->containers);
    }
    if (s->counts.n_values > limits->values) {
        return api_error_set(e, API_ERROR_BAD_JSON, NULL,
                             "%s has %zu elements and members, at most %u are read", what,
                             s->counts.n_values, limits->values);
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

/* --- parsing */

static bool fail_memory(struct api_error *e)
{
    return api_error_set(e, API_ERROR_OVERLOADED, NULL,
                         "the server has no memory for this request now");
}

bool api_json_parse(struct json_tree *out, struct str text, const char *what, size_t flags,
                    const struct api_limits *limits, struct api_error *e)
{
    struct scan s = {0};
    scan_text(text, &s);
    if (!check_bounds(&s, what, limits, e)) {
        return false;
    }
    struct json_tree made;
    json_error_t why = {0};
    if (!json_tree_parse(&made, text, &s.counts, flags, &why)) {
        return fail_memory(e);
    }
    bool ok = json_is_object(made.root);
    if (made.root == NULL) {
        api_error_set(e, API_ERROR_BAD_JSON, NULL,
                      "%s could not be parsed as JSON: line %d, column %d: %s", what, why.line,
                      why.column, json_why(&why));
    } else if (!ok) {
        api_error_set(e, API_ERROR_INVALID_TYPE, NULL, "%s is no JSON object", what);
    }
    if (!ok) {
        json_tree_finish(&made);
        return false;
    }
    *out = made;
    return true;
}

json_t *api_json_copy(struct api_reader *r, const json_t *v)
{
    enum { FLAGS = JSON_COMPACT | JSON_REAL_PRECISION(17) };
    json_t *copy = NULL;
    size_t n_bytes = 0, n = json_dumpb(v, NULL, 0, FLAGS);
    char *text = n > 0 ? mem_alloc(n, 1, "JSON", NULL) : NULL;
    if (text != NULL && json_dumpb(v, text, n, FLAGS) == n) {
        struct json_counts counts = json_tree_count((struct str){text, n});
        void *bytes = json_tree_bound(n, &counts, &n_bytes) ? api_alloc(r, n_bytes, 1) : NULL;
        copy = bytes != NULL ? json_tree_load((struct str){text, n}, bytes, n_bytes) : NULL;
    }
    mem_free(text);
    if (copy == NULL) {
        api_fail_memory(r);
    }
    return copy;
}
