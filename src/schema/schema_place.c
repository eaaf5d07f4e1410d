/* schema_place.c - JSON pointers (RFC 6901) of places in a document. */
#include "schema/schema_place.h"

#include "base/str.h"

#include <stdio.h>
#include <string.h>

enum { MAX_DEPTH = 200 };

static size_t put(char *out, size_t n, size_t n_bytes, struct str s)
{
    size_t fits = n < n_bytes ? n_bytes - 1 - n : 0;
    size_t taken = s.n < fits ? s.n : fits;
    memcpy(out + n, s.p, taken);
    return n + s.n; /* what it would have needed */
}

/* From the root down. Returns the bytes that the whole would need. */
static size_t put_pointer(const struct schema_place *p, char *out, size_t n_bytes)
{
    if (p == NULL || (p->parent == NULL && p->key == NULL)) {
        return 0;
    }
    char number[24];
    size_t n = put(out, put_pointer(p->parent, out, n_bytes), n_bytes, STR("/"));
    if (p->key == NULL) {
        snprintf(number, sizeof number, "%zu", p->index);
        return put(out, n, n_bytes, str_from(number));
    }
    for (const char *c = p->key; *c != '\0'; c++) {
        n = put(out, n, n_bytes,
                *c == '~'   ? STR("~0")
                : *c == '/' ? STR("~1")
                            : (struct str){c, 1});
    }
    return n;
}

void schema_place_print(const struct schema_place *p, char *out, size_t n_bytes)
{
    enum { DOTS = 3 };
    size_t n = put_pointer(p, out, n_bytes);
    if (n >= n_bytes) {
        n = str_complete_utf8((struct str){out, n_bytes - 1 - DOTS});
        memcpy(out + n, "...", DOTS);
        n += DOTS;
    }
    out[n] = '\0';
}

struct search {
    const json_t *wanted;
    char *out;
    size_t n_bytes;
};

static bool find(const struct search *s, const json_t *at, const struct schema_place *here,
                 unsigned depth)
{
    const char *key;
    json_t *member;
    if (at == s->wanted) {
        schema_place_print(here, s->out, s->n_bytes);
        return true;
    }
    for (size_t i = 0; i < json_array_size(at) && depth > 0; i++) {
        struct schema_place below = {.parent = here, .index = i};
        if (find(s, json_array_get(at, i), &below, depth - 1)) {
            return true;
        }
    }
    json_object_foreach((json_t *)at, key, member)
    {
        struct schema_place below = {.parent = here, .key = key};
        if (depth > 0 && find(s, member, &below, depth - 1)) {
            return true;
        }
    }
    return false;
}

bool schema_place_find(const json_t *root, const json_t *wanted, char *out, size_t n_bytes)
{
    struct schema_place top = {0};
    struct search s = {wanted, out, n_bytes};
    out[0] = '\0';
    return find(&s, root, &top, MAX_DEPTH);
}
