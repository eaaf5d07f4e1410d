/* serve_aliases.c - names of the model, from options. */
#include "cmd/serve_aliases.h"

#include <string.h>

static bool has_name(const struct service_model *m, const char *name)
{
    for (size_t i = 0; i < m->n_names; i++) {
        if (m->names[i] != NULL && strcmp(m->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

bool serve_aliases_add(void *target, const char *value, struct error *e)
{
    struct service_model *m = target;
    if (value[0] == '\0') {
        return error_set(e, ERROR_USAGE, "a name must not be empty");
    }
    if (has_name(m, value)) {
        return true;
    }
    if (m->n_names == SERVICE_MAX_NAMES) {
        return error_set(e, ERROR_USAGE, "more than %d names", SERVICE_MAX_NAMES - 1);
    }
    for (struct str rest = str_from(value); rest.n > 0;) {
        uint32_t code_point;
        size_t step = str_decode_utf8(rest, &code_point);
        if (step == 0) {
            return error_set(e, ERROR_USAGE, "'%s' is not UTF-8", value);
        }
        rest = str_skip(rest, step);
    }
    m->names[m->n_names++] = value;
    return true;
}

static bool are_same(const struct service_model *a, const struct service_model *b)
{
    bool same = a->n_names == b->n_names;
    for (size_t i = 1; same && i < a->n_names; i++) {
        same = strcmp(a->names[i], b->names[i]) == 0;
    }
    return same;
}

void serve_aliases_set_own(struct service_model *m, const char *name)
{
    size_t n = 1;
    for (size_t i = 1; i < m->n_names; i++) {
        if (strcmp(m->names[i], name) != 0) {
            m->names[n++] = m->names[i];
        }
    }
    m->n_names = n;
    m->names[0] = name;
}

bool serve_aliases_replace(struct service_model *m, const struct service_model *fresh)
{
    struct service_model next = *fresh;
    next.created = m->created;
    if (m->names[0] != NULL) {
        serve_aliases_set_own(&next, m->names[0]);
    }
    bool is_other = !are_same(m, &next);
    *m = next;
    return is_other;
}
