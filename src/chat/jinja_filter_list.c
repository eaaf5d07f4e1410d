/* jinja_filter_list.c - filters of lists, dicts and whatever can be walked. */
#include "chat/jinja_text.h"

static bool is_given(struct jinja_value v)
{
    return v.kind != JINJA_MISSING && v.kind != JINJA_NONE;
}

/* What sorting, unique and the like compare by: the item or its attribute, in lower case unless
 * case counts. */
static bool key_of(struct jinja_eval *ev, struct jinja_value item, struct jinja_value attribute,
                   bool case_sensitive, struct jinja_value *out)
{
    if (!jinja_get_path(ev, item, attribute, out)) {
        return false;
    }
    if (case_sensitive || out->kind != JINJA_STRING) {
        return true;
    }
    struct jinja_text t = jinja_text_of(ev);
    return jinja_add_cased(ev, &t, out->u.string, 0, out->u.string->n, JINJA_CASE_LOWER) &&
           jinja_text_end(&t, out);
}

static bool keys_of(struct jinja_eval *ev, struct jinja_value list, struct jinja_value attribute,
                    bool case_sensitive, struct jinja_value *out)
{
    if (!jinja_make_list(ev, out)) {
        return false;
    }
    for (size_t i = 0; i < list.u.list->n; i++) {
        struct jinja_value key;
        if (!key_of(ev, list.u.list->items[i], attribute, case_sensitive, &key) ||
            !jinja_push(ev, *out, key)) {
            return false;
        }
    }
    return true;
}

/* --- length, ends, order */

static bool filter_length(struct jinja_eval *ev, const struct jinja_call *c,
                          struct jinja_value *out)
{
    int64_t n;
    if (!jinja_length(ev, c->self, &n)) {
        return false;
    }
    *out = jinja_int(n, jinja_value_origin(c->self));
    return true;
}

static bool filter_list(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return jinja_collect(ev, c->self, out);
}

static bool filter_first(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_generator *g;
    bool found;
    if (!jinja_iterate(ev, c->self, &g) || !jinja_next(ev, g, &found, out)) {
        return false;
    }
    if (!found) {
        *out = jinja_undefined(NULL);
    }
    return true;
}

static bool filter_last(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value list;
    if (c->self.kind == JINJA_GENERATOR) {
        return jinja_fail(ev, "last needs a list; a generator has no end to start from");
    }
    if (!jinja_collect(ev, c->self, &list)) {
        return false;
    }
    *out = list.u.list->n > 0 ? list.u.list->items[list.u.list->n - 1] : jinja_undefined(NULL);
    return true;
}

static bool filter_reverse(struct jinja_eval *ev, const struct jinja_call *c,
                           struct jinja_value *out)
{
    if (c->self.kind == JINJA_STRING) {
        struct jinja_value bounds[3] = {jinja_none(), jinja_none(), jinja_int(-1, JINJA_TEMPLATE)};
        return jinja_get_slice(ev, c->self, bounds, out);
    }
    if (c->self.kind != JINJA_GENERATOR) {
        return jinja_reversed(ev, c->self, out);
    }
    struct jinja_value list; /* a generator becomes a list */
    if (!jinja_collect(ev, c->self, &list)) {
        return false;
    }
    size_t n = list.u.list->n;
    for (size_t i = 0; i < n / 2; i++) {
        struct jinja_value first = list.u.list->items[i];
        list.u.list->items[i] = list.u.list->items[n - 1 - i];
        list.u.list->items[n - 1 - i] = first;
    }
    *out = list;
    return true;
}

/* Keys of several attributes, "age,name", compare as lists; one key is a list of one, in which
 * what is equal needs no order. */
static bool many_keys(struct jinja_eval *ev, struct jinja_value item, const struct jinja_call *c,
                      struct jinja_value *out)
{
    struct jinja_value attribute = c->arg[2], key, path;
    if (!jinja_make_list(ev, out)) {
        return false;
    }
    if (attribute.kind != JINJA_STRING) {
        return key_of(ev, item, attribute, jinja_truth(c->arg[1]), &key) &&
               jinja_push(ev, *out, key);
    }
    const struct jinja_string *s = attribute.u.string;
    for (size_t from = 0; from <= s->n;) {
        size_t to = jinja_find_bytes(jinja_str(attribute), STR(","), from);
        to = to == SIZE_MAX ? s->n : to;
        if (!jinja_substring(&ev->arena, s, from, to, &path, ev->e) ||
            !key_of(ev, item, path, jinja_truth(c->arg[1]), &key) || !jinja_push(ev, *out, key)) {
            return false;
        }
        from = to + 1;
    }
    return true;
}

static bool filter_sort(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value list, keys;
    if (!jinja_collect(ev, c->self, &list) || !jinja_make_list(ev, &keys)) {
        return false;
    }
    for (size_t i = 0; i < list.u.list->n; i++) {
        struct jinja_value key;
        if (!many_keys(ev, list.u.list->items[i], c, &key) || !jinja_push(ev, keys, key)) {
            return false;
        }
    }
    *out = list;
    return jinja_sort(ev, list.u.list->items, keys.u.list->items, list.u.list->n,
                      jinja_truth(c->arg[0]));
}

static bool filter_dictsort(struct jinja_eval *ev, const struct jinja_call *c,
                            struct jinja_value *out)
{
    struct jinja_value view, list, keys, place;
    bool by_value = c->arg[1].kind == JINJA_STRING && str_eq(jinja_str(c->arg[1]), STR("value"));
    bool by_key = c->arg[1].kind == JINJA_MISSING ||
                  (c->arg[1].kind == JINJA_STRING && str_eq(jinja_str(c->arg[1]), STR("key")));
    if (c->self.kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(ev, c->self);
    }
    if (c->self.kind != JINJA_DICT || (!by_value && !by_key)) {
        return c->self.kind != JINJA_DICT
                   ? jinja_fail(ev, "dictsort needs a dict, not %s", jinja_type_name(c->self))
                   : jinja_fail(ev, "dictsort: by is 'key' or 'value'");
    }
    struct jinja_view items = {JINJA_VIEW_ITEMS, c->self.u.dict};
    view = (struct jinja_value){.kind = JINJA_VIEW, .u.view = &items};
    place = jinja_int(by_value, JINJA_TEMPLATE);
    if (!jinja_collect(ev, view, &list) ||
        !keys_of(ev, list, place, jinja_truth(c->arg[0]), &keys)) {
        return false;
    }
    *out = list;
    return jinja_sort(ev, list.u.list->items, keys.u.list->items, list.u.list->n,
                      jinja_truth(c->arg[2]));
}

static bool extreme(struct jinja_eval *ev, const struct jinja_call *c, enum jinja_operator op,
                    struct jinja_value *out)
{
    struct jinja_generator *g;
    struct jinja_value item, key, best_key;
    bool found = true, first = true, better = true;
    *out = jinja_undefined(NULL);
    if (!jinja_iterate(ev, c->self, &g)) {
        return false;
    }
    for (; found; first = false) {
        if (!jinja_next(ev, g, &found, &item)) {
            return false;
        }
        if (!found) {
            break;
        }
        if (!key_of(ev, item, c->arg[1], jinja_truth(c->arg[0]), &key) ||
            (!first && !jinja_compare(ev, op, key, best_key, &better))) {
            return false;
        }
        if (better) {
            best_key = key;
            *out = item;
        }
    }
    return true;
}

static bool filter_min(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return extreme(ev, c, JINJA_OP_LT, out);
}

static bool filter_max(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return extreme(ev, c, JINJA_OP_GT, out);
}

static bool filter_sum(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_generator *g;
    struct jinja_value total = c->arg[1], item;
    bool found = true;
    if (total.kind == JINJA_MISSING) {
        total = jinja_int(0, JINJA_TEMPLATE);
    }
    if (total.kind == JINJA_STRING) {
        return jinja_fail(ev, "sum of strings: use join");
    }
    if (!jinja_iterate(ev, c->self, &g)) {
        return false;
    }
    while (found) {
        if (!jinja_next(ev, g, &found, &item)) {
            return false;
        }
        if (found && ((is_given(c->arg[0]) && !jinja_get_path(ev, item, c->arg[0], &item)) ||
                      !jinja_binary(ev, JINJA_OP_ADD, total, item, &total))) {
            return false;
        }
    }
    *out = total;
    return true;
}

/* --- generators */

static bool start_generator(struct jinja_eval *ev, const struct jinja_call *c,
                            bool (*next)(struct jinja_eval *, struct jinja_generator *, bool *,
                                         struct jinja_value *),
                            struct jinja_value *out)
{
    struct jinja_generator *g = jinja_generator_create(ev, c->self);
    struct jinja_call *kept = jinja_arena_alloc(&ev->arena, 1, sizeof *kept, ev->e);
    if (g == NULL || kept == NULL) {
        return false;
    }
    *kept = *c;
    g->next = next;
    g->state = kept;
    *out = jinja_generator_value(g);
    return true;
}

/* The items of what the generator is of; it is looked at when the first one is asked for. */
static bool source_next(struct jinja_eval *ev, struct jinja_generator *g, bool *found,
                        struct jinja_value *item)
{
    return (g->inner != NULL || jinja_iterate(ev, g->source, &g->inner)) &&
           jinja_next(ev, g->inner, found, item);
}

struct unique_state {
    struct jinja_call call;
    struct jinja_dict seen;
};

static bool next_unique(struct jinja_eval *ev, struct jinja_generator *g, bool *found,
                        struct jinja_value *item)
{
    struct unique_state *state = g->state;
    const struct jinja_call *c = &state->call;
    for (;;) {
        struct jinja_value key;
        struct jinja_entry *entry;
        if (!source_next(ev, g, found, item)) {
            return false;
        }
        if (!*found) {
            return true;
        }
        if (!key_of(ev, *item, c->arg[1], jinja_truth(c->arg[0]), &key) ||
            !jinja_dict_find(ev, &state->seen, key, &entry)) {
            return false;
        }
        if (entry == NULL) {
            return jinja_dict_set(ev, &state->seen, key, jinja_none());
        }
    }
}

static bool filter_unique(struct jinja_eval *ev, const struct jinja_call *c,
                          struct jinja_value *out)
{
    struct unique_state *state = jinja_arena_alloc(&ev->arena, 1, sizeof *state, ev->e);
    if (state == NULL || !start_generator(ev, c, next_unique, out)) {
        return false;
    }
    state->call = *c;
    out->u.generator->state = state;
    return true;
}

static bool next_batch(struct jinja_eval *ev, struct jinja_generator *g, bool *found,
                       struct jinja_value *item)
{
    const struct jinja_call *c = g->state;
    struct jinja_value batch, one;
    if (!jinja_is_number(c->arg[0])) { /* then no batch is ever full, and what fills it up fails */
        return jinja_refuse(ev, "batch with a count of %s", jinja_type_name(c->arg[0]));
    }
    double wanted = jinja_to_double(c->arg[0]);
    if (wanted < 1 || wanted > 1e6 || c->arg[0].kind == JINJA_FLOAT) {
        return jinja_refuse(ev, "batch with a count that is no integer of 1 to 1000000");
    }
    if (!jinja_make_list(ev, &batch)) {
        return false;
    }
    bool more = true;
    while (more && (double)batch.u.list->n < wanted) {
        if (!source_next(ev, g, &more, &one) || (more && !jinja_push(ev, batch, one))) {
            return false;
        }
    }
    *found = batch.u.list->n > 0;
    while (*found && is_given(c->arg[1]) && (double)batch.u.list->n < wanted) {
        if (!jinja_push(ev, batch, c->arg[1]) || !jinja_spend(ev, 1)) {
            return false;
        }
    }
    *item = batch;
    return true;
}

static bool filter_batch(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return start_generator(ev, c, next_batch, out);
}

/* Columns: the longer ones first. */
static bool next_slice(struct jinja_eval *ev, struct jinja_generator *g, bool *found,
                       struct jinja_value *item)
{
    const struct jinja_call *c = g->state;
    if (c->arg[0].kind != JINJA_INT || c->arg[0].u.integer < 1) {
        return jinja_refuse(ev, "slice into a number that is no positive integer");
    }
    if (g->at == 0 && (!jinja_collect(ev, g->source, &g->source))) {
        return false;
    }
    size_t n = g->source.u.list->n, n_slices = (size_t)c->arg[0].u.integer, at = g->at++;
    size_t each = n / n_slices, n_longer = n % n_slices;
    *found = at < n_slices;
    if (!*found || !jinja_make_list(ev, item)) {
        return !*found;
    }
    size_t from = at * each + (at < n_longer ? at : n_longer);
    size_t to = from + each + (at < n_longer);
    for (size_t i = from; i < to; i++) {
        if (!jinja_push(ev, *item, g->source.u.list->items[i])) {
            return false;
        }
    }
    return !is_given(c->arg[1]) || at < n_longer || jinja_push(ev, *item, c->arg[1]);
}

static bool filter_slice(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return start_generator(ev, c, next_slice, out);
}

static bool next_item(struct jinja_eval *ev, struct jinja_generator *g, bool *found,
                      struct jinja_value *item)
{
    if (g->source.kind == JINJA_UNDEFINED) {
        *found = false;
        return true;
    }
    if (g->source.kind != JINJA_DICT) {
        return jinja_fail(ev, "items needs a dict, not %s", jinja_type_name(g->source));
    }
    *found = g->at < g->source.u.dict->n;
    if (!*found) {
        return true;
    }
    const struct jinja_entry *entry = &g->source.u.dict->entries[g->at++];
    return jinja_make_tuple(ev, (struct jinja_value[]){entry->key, entry->value}, 2, item);
}

static bool filter_items(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return start_generator(ev, c, next_item, out);
}

/* --- groupby */

static bool group_key(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value item,
                      bool case_sensitive, struct jinja_value *out)
{
    if (!key_of(ev, item, c->arg[0], true, out)) {
        return false;
    }
    if (out->kind == JINJA_UNDEFINED && is_given(c->arg[1])) {
        *out = c->arg[1];
    }
    return key_of(ev, *out, jinja_none(), case_sensitive, out);
}

static bool push_group(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value key,
                       struct jinja_value items, struct jinja_value groups)
{
    struct jinja_value group;
    if (!jinja_truth(c->arg[2]) && !group_key(ev, c, items.u.list->items[0], true, &key)) {
        return false;
    }
    if (!jinja_make_tuple(ev, (struct jinja_value[]){key, items}, 2, &group)) {
        return false;
    }
    group.u.list->is_group = true;
    return jinja_push(ev, groups, group);
}

static bool filter_groupby(struct jinja_eval *ev, const struct jinja_call *c,
                           struct jinja_value *out)
{
    struct jinja_value list, keys, group = {0};
    if (is_given(c->arg[1]) && c->arg[0].kind == JINJA_STRING &&
        jinja_find_bytes(jinja_str(c->arg[0]), STR("."), 0) != SIZE_MAX) {
        return jinja_refuse(ev, "groupby with a default and a path of attributes");
    }
    if (!jinja_collect(ev, c->self, &list) || !jinja_make_list(ev, &keys) ||
        !jinja_make_list(ev, out)) {
        return false;
    }
    for (size_t i = 0; i < list.u.list->n; i++) {
        struct jinja_value key;
        if (!group_key(ev, c, list.u.list->items[i], jinja_truth(c->arg[2]), &key) ||
            !jinja_push(ev, keys, key)) {
            return false;
        }
    }
    if (!jinja_sort(ev, list.u.list->items, keys.u.list->items, list.u.list->n, false)) {
        return false;
    }
    for (size_t i = 0; i < list.u.list->n; i++) {
        bool same = false;
        if (i > 0 && !jinja_equal(ev, keys.u.list->items[i - 1], keys.u.list->items[i], &same)) {
            return false;
        }
        if (!same && ((i > 0 && !push_group(ev, c, keys.u.list->items[i - 1], group, *out)) ||
                      !jinja_make_list(ev, &group))) {
            return false;
        }
        if (!jinja_push(ev, group, list.u.list->items[i])) {
            return false;
        }
    }
    return list.u.list->n == 0 ||
           push_group(ev, c, keys.u.list->items[list.u.list->n - 1], group, *out);
}

/* --- default and attr */

static bool filter_default(struct jinja_eval *ev, const struct jinja_call *c,
                           struct jinja_value *out)
{
    bool is_missing =
        c->self.kind == JINJA_UNDEFINED || (jinja_truth(c->arg[1]) && !jinja_truth(c->self));
    *out = is_missing ? c->arg[0] : c->self;
    return out->kind != JINJA_MISSING || jinja_make_string(ev, STR(""), JINJA_TEMPLATE, out);
}

const struct jinja_callee jinja_list_filters[] = {
    {"batch", "linecount,fill_with", 1, filter_batch},
    {"count", "", 0, filter_length},
    {"d", "default_value,boolean", 0, filter_default},
    {"default", "default_value,boolean", 0, filter_default},
    {"dictsort", "case_sensitive,by,reverse", 0, filter_dictsort},
    {"first", "", 0, filter_first},
    {"groupby", "attribute,default,case_sensitive", 1, filter_groupby},
    {"items", "", 0, filter_items},
    {"last", "", 0, filter_last},
    {"length", "", 0, filter_length},
    {"list", "", 0, filter_list},
    {"max", "case_sensitive,attribute", 0, filter_max},
    {"min", "case_sensitive,attribute", 0, filter_min},
    {"reverse", "", 0, filter_reverse},
    {"slice", "slices,fill_with", 1, filter_slice},
    {"sort", "reverse,case_sensitive,attribute", 0, filter_sort},
    {"sum", "attribute,start", 0, filter_sum},
    {"unique", "case_sensitive,attribute", 0, filter_unique},
    {"attr", "", 0, NULL},
    {NULL, NULL, 0, NULL},
};
