/* jinja_callee.c - finding filters and tests, and putting arguments to their parameters. */
#include "chat/jinja_callee.h"

#include "chat/jinja_eval.h"

static const struct jinja_callee *find_in(const struct jinja_callee *table, struct str name)
{
    for (; table->name != NULL; table++) {
        if (str_eq(name, str_from(table->name))) {
            return table;
        }
    }
    return NULL;
}

const struct jinja_callee *jinja_find_filter(struct str name)
{
    const struct jinja_callee *const tables[] = {jinja_text_filters, jinja_number_filters,
                                                 jinja_list_filters, jinja_pick_filters,
                                                 jinja_absent_filters};
    const struct jinja_callee *found = NULL;
    for (size_t i = 0; found == NULL && i < sizeof tables / sizeof *tables; i++) {
        found = find_in(tables[i], name);
    }
    return found;
}

const struct jinja_callee *jinja_find_test(struct str name)
{
    return find_in(jinja_tests, name);
}

/* The filters of jinja2 that make HTML, web addresses or terminal output, or are random. */
const struct jinja_callee jinja_absent_filters[] = {
    {"center", "", 0, NULL},   {"filesizeformat", "", 0, NULL}, {"pprint", "", 0, NULL},
    {"random", "", 0, NULL},   {"striptags", "", 0, NULL},      {"urlencode", "", 0, NULL},
    {"urlize", "", 0, NULL},   {"wordwrap", "", 0, NULL},       {"xmlattr", "", 0, NULL},
    {"truncate", "", 0, NULL}, {NULL, NULL, 0, NULL},
};

/* The name of the next parameter of the list at *params, which moves on; *by_place is set from the
 * "/" before it on. */
static struct str next_param(const char **params, bool *by_place)
{
    if (**params == '/') {
        *by_place = true;
        ++*params;
    }
    size_t n = strcspn(*params, ",");
    struct str name = {*params, n};
    *params += n + ((*params)[n] == ',');
    return name;
}

static bool bind(struct jinja_eval *ev, const struct jinja_args *args, struct jinja_call *c)
{
    const char *params = c->callee->params;
    size_t n_params = 0, n_named = 0;
    bool by_place = false;
    while (*params != '\0') {
        struct str name = next_param(&params, &by_place);
        const struct jinja_entry *entry = jinja_dict_find_str(&args->named, name);
        struct jinja_value *value = &c->arg[n_params];
        value->kind = JINJA_MISSING;
        if (n_params < args->n) {
            *value = args->items[n_params];
        }
        if (entry != NULL && (by_place || n_params < args->n)) {
            return jinja_fail(ev, "%s: argument '%.*s' given twice", c->callee->name,
                              STR_ARG(name));
        }
        if (entry != NULL) {
            *value = entry->value;
            n_named++;
        }
        if (value->kind == JINJA_MISSING && n_params < c->callee->n_required) {
            return jinja_fail(ev, "%s: argument '%.*s' is missing", c->callee->name, STR_ARG(name));
        }
        n_params++;
    }
    if (args->n > n_params) {
        return jinja_fail(ev, "%s: %zu arguments, at most %zu are taken", c->callee->name, args->n,
                          n_params);
    }
    return n_named == args->named.n ||
           jinja_fail(ev, "%s: an unknown keyword argument", c->callee->name);
}

bool jinja_apply(struct jinja_eval *ev, const struct jinja_callee *callee, struct jinja_value self,
                 const struct jinja_args *args, struct jinja_value *out)
{
    struct jinja_call c = {.callee = callee, .self = self, .args = args};
    if (!jinja_descend(ev)) {
        return false;
    }
    bool ok = (callee->params[0] == '*' || bind(ev, args, &c)) && callee->call(ev, &c, out);
    ev->depth--;
    return ok;
}
