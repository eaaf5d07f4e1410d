/* schema_ref.c - JSON pointers and anchors within one schema. */
#include "schema/schema_ref.h"

#include "base/str.h"

#include <string.h>

enum { MAX_DEPTH = 256, MAX_SEGMENT_BYTES = 1024 };

/* --- schemas that are documents of their own */

static bool is_document(const json_t *schema, const char *keyword)
{
    const char *id = json_string_value(json_object_get(schema, keyword));
    return id != NULL && id[0] != '#' && id[0] != '\0';
}

/* Anywhere in it: a reference in what is no schema counts, too. */
static bool has_reference(const json_t *at, size_t *steps, unsigned depth)
{
    static const char *const references[] = {"$ref", "$dynamicRef", "$recursiveRef"};
    const char *key;
    json_t *member;
    bool has = depth > MAX_DEPTH || *steps == 0;
    *steps -= *steps > 0;
    for (size_t i = 0; i < sizeof references / sizeof *references && !has; i++) {
        has = json_is_string(json_object_get(at, references[i]));
    }
    for (size_t i = 0; i < json_array_size(at) && !has; i++) {
        has = has_reference(json_array_get(at, i), steps, depth + 1);
    }
    json_object_foreach((json_t *)at, key, member)
    {
        if (has || (has = has_reference(member, steps, depth + 1))) {
            break;
        }
    }
    return has;
}

const char *schema_ref_own_base(const json_t *schema, size_t *steps)
{
    const char *keyword = is_document(schema, "$id")  ? "$id"
                          : is_document(schema, "id") ? "id"
                                                      : NULL;
    return keyword != NULL && has_reference(schema, steps, 0) ? keyword : NULL;
}

/* --- pointers */

/* One part between slashes: %XX is a byte, ~1 a slash and ~0 a tilde. NULL when it is malformed. */
static const char *decode_segment(struct str part, char out[MAX_SEGMENT_BYTES])
{
    char plain[MAX_SEGMENT_BYTES];
    size_t n = 0, n_out = 0;
    if (part.n >= MAX_SEGMENT_BYTES) {
        return NULL;
    }
    for (size_t i = 0; i < part.n; i++) {
        char c = part.p[i];
        if (c == '%') {
            int high = i + 2 < part.n ? str_hex_digit(part.p[i + 1]) : -1;
            int low = high >= 0 ? str_hex_digit(part.p[i + 2]) : -1;
            if (low < 0 || high * 16 + low == 0) {
                return NULL;
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        plain[n++] = c;
    }
    for (size_t i = 0; i < n; i++) {
        char c = plain[i];
        if (c == '~') {
            if (++i >= n || (plain[i] != '0' && plain[i] != '1')) {
                return NULL;
            }
            c = plain[i] == '0' ? '~' : '/';
        }
        out[n_out++] = c;
    }
    out[n_out] = '\0';
    return out;
}

static const json_t *step_into(const json_t *at, const char *name)
{
    if (!json_is_array(at)) {
        return json_object_get(at, name);
    }
    size_t index = 0;
    if (name[0] == '\0' || (name[0] == '0' && name[1] != '\0')) {
        return NULL;
    }
    for (const char *p = name; *p != '\0'; p++) {
        if (*p < '0' || *p > '9' || index > 1000000) {
            return NULL;
        }
        index = index * 10 + (size_t)(*p - '0');
    }
    return json_array_get(at, index);
}

static bool follow_pointer(const json_t *root, const char *ref, size_t *steps, const json_t **out,
                           struct error *e)
{
    char name[MAX_SEGMENT_BYTES];
    const json_t *at = root;
    const char *p = ref + 1; /* behind the # */
    while (at != NULL && *p == '/') {
        struct str part = {p + 1, strcspn(p + 1, "/")};
        const char *own = at != root ? schema_ref_own_base(at, steps) : NULL;
        if (own != NULL && *steps == 0) {
            return error_set(e, ERROR_UNSUPPORTED, "takes too many steps to follow");
        }
        if (own != NULL) {
            return error_set(e, ERROR_UNSUPPORTED, "leads into a schema with an %s of its own",
                             own);
        }
        at = decode_segment(part, name) != NULL ? step_into(at, name) : NULL;
        p = part.p + part.n;
    }
    if (!json_is_object(at) && !json_is_boolean(at)) {
        return error_set(e, ERROR_FORMAT, "leads to no schema");
    }
    *out = at;
    return true;
}

/* --- anchors: looked for where schemas stand, not in enum, const and the like */

static const char *const holders[] = {
    "$defs", "definitions", "properties", "patternProperties", "dependentSchemas", "dependencies"};
static const char *const schemas[] = {"items",
                                      "prefixItems",
                                      "additionalItems",
                                      "contains",
                                      "additionalProperties",
                                      "propertyNames",
                                      "allOf",
                                      "anyOf",
                                      "oneOf",
                                      "not",
                                      "if",
                                      "then",
                                      "else",
                                      "unevaluatedItems",
                                      "unevaluatedProperties",
                                      "contentSchema"};

struct search {
    const json_t *root;
    const char *anchor;
    size_t *steps;
    bool stopped;
};

static const json_t *find_anchor(struct search *s, const json_t *at, unsigned depth);

static const json_t *find_in_members(struct search *s, const json_t *holder, unsigned depth)
{
    const char *key;
    json_t *member;
    const json_t *found = NULL;
    json_object_foreach((json_t *)holder, key, member)
    {
        if ((found = find_anchor(s, member, depth + 1)) != NULL || s->stopped) {
            break;
        }
    }
    return found;
}

static bool is_named(const json_t *schema, const char *anchor)
{
    const char *name = json_string_value(json_object_get(schema, "$anchor"));
    const char *id = json_string_value(json_object_get(schema, "$id"));
    return (name != NULL && strcmp(name, anchor) == 0) ||
           (id != NULL && id[0] == '#' && strcmp(id + 1, anchor) == 0);
}

static bool is_one_of(const char *key, const char *const *names, size_t n)
{
    size_t i = 0;
    while (i < n && (names[i][0] != key[0] || strcmp(names[i], key) != 0)) {
        i++;
    }
    return i < n;
}

/* Goes through the members that there are: looking for each name that may hold schemas takes
 * several times as long. */
static const json_t *find_in_schema(struct search *s, const json_t *at, unsigned depth)
{
    enum { OF_A_STEP = 8 /* members */ };
    const json_t *found = NULL;
    const char *key;
    json_t *member;
    size_t cost = json_object_size(at) / OF_A_STEP;
    *s->steps -= cost < *s->steps ? cost : *s->steps;
    json_object_foreach((json_t *)at, key, member)
    {
        if (is_one_of(key, schemas, sizeof schemas / sizeof *schemas)) {
            found = find_anchor(s, member, depth + 1);
        } else if (is_one_of(key, holders, sizeof holders / sizeof *holders)) {
            found = find_in_members(s, member, depth);
        }
        if (found != NULL || s->stopped) {
            break;
        }
    }
    return found;
}

static const json_t *find_anchor(struct search *s, const json_t *at, unsigned depth)
{
    if (s->stopped || (!json_is_object(at) && !json_is_array(at))) {
        return NULL;
    }
    if (depth > MAX_DEPTH || *s->steps == 0) {
        s->stopped = true;
        return NULL;
    }
    --*s->steps;
    if (json_is_array(at)) {
        const json_t *found = NULL;
        for (size_t i = 0; i < json_array_size(at) && found == NULL; i++) {
            found = find_anchor(s, json_array_get(at, i), depth + 1);
        }
        return found;
    }
    if (at != s->root && is_document(at, "$id")) {
        return NULL; /* its anchors are its own */
    }
    return is_named(at, s->anchor) ? at : find_in_schema(s, at, depth);
}

bool schema_ref_resolve(const json_t *root, const char *ref, size_t *steps, const json_t **out,
                        struct error *e)
{
    if (ref[0] != '#') {
        return error_set(e, ERROR_UNSUPPORTED, "refers to another document");
    }
    if (ref[1] == '\0' || ref[1] == '/') {
        return follow_pointer(root, ref, steps, out, e);
    }
    struct search s = {.root = root, .anchor = ref + 1, .steps = steps};
    const json_t *found = find_anchor(&s, root, 0);
    if (s.stopped) {
        return error_set(e, ERROR_CONTEXT, "is looked for in too large a schema");
    }
    if (found == NULL) {
        return error_set(e, ERROR_FORMAT, "leads to no schema");
    }
    *out = found;
    return true;
}
