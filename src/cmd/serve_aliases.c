/* serve_aliases.c - names of the model, from options. */
#include "cmd/serve_aliases.h"

#include <string.h>

bool serve_aliases_add(void *target, const char *value, struct error *e)
{
    struct service_model *m = target;
    if (value[0] == '\0') {
        return error_set(e, ERROR_USAGE, "a name must not be empty");
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

bool serve_aliases_replace(struct service_model *m, const struct service_model *fresh)
{
    bool is_other = !are_same(m, fresh);
    m->n_names = fresh->n_names;
    for (size_t i = 1; i < m->n_names; i++) {
        m->names[i] = fresh->names[i];
    }
    return is_other;
}
