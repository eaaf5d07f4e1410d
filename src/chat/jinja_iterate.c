/* jinja_iterate.c - walking values one item after the other, and the variable `loop`. What a
 * filter like map gives is walked once and made as it goes, as Python's generators are: a test
 * that looks at a namespace sees what the loop's body did to it. */
#include "chat/jinja_eval.h"

#include "chat/jinja_unicode.h"

struct jinja_generator *jinja_generator_create(struct jinja_eval *ev, struct jinja_value source)
{
    struct jinja_generator *g = jinja_arena_alloc(&ev->arena, 1, sizeof *g, ev->e);
    if (g != NULL) {
        g->source = source;
    }
    return g;
}

struct jinja_value jinja_generator_value(struct jinja_generator *g)
{
    return (struct jinja_value){.kind = JINJA_GENERATOR, .u.generator = g};
}

bool jinja_next(struct jinja_eval *ev, struct jinja_generator *g, bool *found,
                struct jinja_value *item)
{
    if (!jinja_spend(ev, 1) || !jinja_descend(ev)) {
        return false;
    }
    bool ok = g->next(ev, g, found, item);
    ev->depth--;
    return ok;
}

static bool next_nothing(struct jinja_eval *ev, struct jinja_generator *g, bool *found,
                         struct jinja_value *item)
{
    (void)ev;
    (void)g;
    (void)item;
    *found = false;
    return true;
}

static bool next_of_list(struct jinja_eval *ev, struct jinja_generator *g, bool *found,
                         struct jinja_value *item)
{
    (void)ev;
    *found = g->at < g->source.u.list->n;
    if (*found) {
        *item = g->source.u.list->items[g->at++];
    }
    return true;
}

static bool next_of_string(struct jinja_eval *ev, struct jinja_generator *g, bool *found,
                           struct jinja_value *item)
{
    const struct jinja_string *s = g->source.u.string;
    *found = g->at < s->n;
    if (!*found) {
        return true;
    }
    size_t n, from = g->at;
    jinja_decode((struct str){s->p, s->n}, from, &n);
    g->at += n;
    struct jinja_string plain = *s;
    plain.is_markup = false; /* the characters of text that was marked safe are not */
    return jinja_substring(&ev->arena, &plain, from, from + n, item, ev->e);
}

static bool next_of_range(struct jinja_eval *ev, struct jinja_generator *g, bool *found,
                          struct jinja_value *item)
{
    (void)ev;
    *found = (int64_t)g->at < g->source.u.range->n;
    if (*found) {
        *item = jinja_int(jinja_range_at(g->source.u.range, (int64_t)g->at++), JINJA_TEMPLATE);
    }
    return true;
}

static bool entry_as(struct jinja_eval *ev, enum jinja_view_kind kind,
                     const struct jinja_entry *entry, struct jinja_value *item)
{
    if (kind == JINJA_VIEW_ITEMS) {
        return jinja_make_tuple(ev, (struct jinja_value[]){entry->key, entry->value}, 2, item);
    }
    *item = kind == JINJA_VIEW_KEYS ? entry->key : entry->value;
    return true;
}

static bool next_of_dict(struct jinja_eval *ev, struct jinja_generator *g, bool *found,
                         struct jinja_value *item)
{
    bool is_view = g->source.kind == JINJA_VIEW;
    const struct jinja_dict *d = is_view ? g->source.u.view->dict : g->source.u.dict;
    *found = g->at < d->n;
    return !*found || entry_as(ev, is_view ? g->source.u.view->kind : JINJA_VIEW_KEYS,
                               &d->entries[g->at++], item);
}

bool jinja_is_iterable(struct jinja_value v)
{
    switch (v.kind) {
    case JINJA_UNDEFINED:
    case JINJA_STRING:
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_DICT:
    case JINJA_RANGE:
    case JINJA_VIEW:
    case JINJA_GENERATOR:
    case JINJA_LOOP:
        return true;
    default:
        return false;
    }
}

bool jinja_iterate(struct jinja_eval *ev, struct jinja_value v, struct jinja_generator **out)
{
    if (v.kind == JINJA_GENERATOR) {
        *out = v.u.generator;
        return true;
    }
    if (v.kind == JINJA_LOOP) {
        return jinja_refuse(ev, "walking the variable 'loop'");
    }
    if (!jinja_is_iterable(v)) {
        return jinja_fail(ev, "%s is not iterable", jinja_type_name(v));
    }
    struct jinja_generator *g = jinja_generator_create(ev, v);
    if (g == NULL) {
        return false;
    }
    g->next = v.kind == JINJA_STRING                          ? next_of_string
              : v.kind == JINJA_LIST || v.kind == JINJA_TUPLE ? next_of_list
              : v.kind == JINJA_RANGE                         ? next_of_range
              : v.kind == JINJA_UNDEFINED                     ? next_nothing
                                                              : next_of_dict;
    *out = g;
    return true;
}

bool jinja_collect(struct jinja_eval *ev, struct jinja_value v, struct jinja_value *out)
{
    struct jinja_generator *g;
    struct jinja_value list, item;
    bool found = true;
    if (!jinja_iterate(ev, v, &g) || !jinja_make_list(ev, &list)) {
        return false;
    }
    while (found) {
        if (!jinja_next(ev, g, &found, &item) || (found && !jinja_push(ev, list, item))) {
            return false;
        }
    }
    *out = list;
    return true;
}

/* The last item first; the list is walked from its end. */
static bool next_reversed(struct jinja_eval *ev, struct jinja_generator *g, bool *found,
                          struct jinja_value *item)
{
    (void)ev;
    const struct jinja_list *list = g->source.u.list;
    *found = g->at < list->n;
    if (*found) {
        *item = list->items[list->n - ++g->at];
    }
    return true;
}

bool jinja_reversed(struct jinja_eval *ev, struct jinja_value v, struct jinja_value *out)
{
    struct jinja_value list;
    if (!jinja_collect(ev, v, &list)) {
        return false;
    }
    struct jinja_generator *g = jinja_generator_create(ev, list);
    if (g == NULL) {
        return false;
    }
    g->next = next_reversed;
    *out = jinja_generator_value(g);
    return true;
}

/* --- loop */

static bool read_ahead(struct jinja_eval *ev, struct jinja_loop *loop)
{
    if (loop->has_after || loop->is_over) {
        return true;
    }
    if (!jinja_next(ev, loop->items, &loop->has_after, &loop->after)) {
        return false;
    }
    loop->is_over = !loop->has_after;
    return true;
}

bool jinja_loop_next(struct jinja_eval *ev, struct jinja_loop *loop, bool *found)
{
    if (!read_ahead(ev, loop)) {
        return false;
    }
    *found = loop->has_after;
    if (*found) {
        loop->index0++;
        loop->previous = loop->current;
        loop->current = loop->after;
        loop->has_after = false;
    }
    return true;
}

/* Items left are collected, so that they can be counted. */
static bool find_length(struct jinja_eval *ev, struct jinja_loop *loop)
{
    struct jinja_value rest;
    if (loop->length >= 0) {
        return true;
    }
    loop->length = loop->index0 + 1 + loop->has_after;
    if (loop->is_over) {
        return true;
    }
    if (!jinja_collect(ev, jinja_generator_value(loop->items), &rest)) {
        return false;
    }
    loop->length += (int64_t)rest.u.list->n;
    return jinja_iterate(ev, rest, &loop->items);
}

static bool counted_attribute(struct jinja_eval *ev, struct jinja_loop *loop, struct str name,
                              bool *found, int64_t *out)
{
    *found = true;
    if (str_eq(name, STR("index"))) {
        *out = loop->index0 + 1;
    } else if (str_eq(name, STR("index0"))) {
        *out = loop->index0;
    } else if (str_eq(name, STR("depth"))) {
        *out = 1;
    } else if (str_eq(name, STR("depth0"))) {
        *out = 0;
    } else if (str_eq(name, STR("length")) || str_eq(name, STR("revindex")) ||
               str_eq(name, STR("revindex0"))) {
        if (!find_length(ev, loop)) {
            return false;
        }
        *out = name.p[0] == 'l' ? loop->length
                                : loop->length - loop->index0 - (name.p[name.n - 1] == '0');
    } else {
        *found = false;
    }
    return true;
}

bool jinja_loop_attribute(struct jinja_eval *ev, struct jinja_loop *loop, struct str name,
                          struct jinja_value *out)
{
    bool found;
    int64_t count = 0;
    *out = (struct jinja_value){.kind = JINJA_MISSING};
    if (!counted_attribute(ev, loop, name, &found, &count)) {
        return false;
    }
    if (found) {
        *out = jinja_int(count, JINJA_TEMPLATE);
    } else if (str_eq(name, STR("first"))) {
        *out = jinja_bool(loop->index0 == 0, JINJA_TEMPLATE);
    } else if (str_eq(name, STR("previtem"))) {
        *out = loop->index0 > 0 ? loop->previous : jinja_undefined(NULL);
    } else if (str_eq(name, STR("last")) || str_eq(name, STR("nextitem"))) {
        if (!read_ahead(ev, loop)) {
            return false;
        }
        *out = name.p[0] == 'l'  ? jinja_bool(loop->is_over, JINJA_TEMPLATE)
               : loop->has_after ? loop->after
                                 : jinja_undefined(NULL);
    }
    return true;
}
