/* jinja_compare.c - truth, equality, order and membership, dicts by any key, sorting. */
#include "chat/jinja_eval.h"

bool jinja_truth(struct jinja_value v)
{
    switch (v.kind) {
    case JINJA_MISSING:
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
        return v.u.boolean;
    case JINJA_INT:
        return v.u.integer != 0;
    case JINJA_FLOAT:
        return v.u.real != 0;
    case JINJA_STRING:
        return v.u.string->n > 0;
    case JINJA_LIST:
    case JINJA_TUPLE:
        return v.u.list->n > 0;
    case JINJA_DICT:
        return v.u.dict->n > 0;
    case JINJA_RANGE:
        return v.u.range->n > 0;
    case JINJA_VIEW:
        return v.u.view->dict->n > 0;
    default: /* objects without a length; a loop runs only when it has one */
        return true;
    }
}

/* --- equality */

static bool equal_lists(struct jinja_eval *ev, const struct jinja_list *a,
                        const struct jinja_list *b, bool *out)
{
    *out = a->n == b->n;
    for (size_t i = 0; *out && i < a->n; i++) {
        if (!jinja_equal(ev, a->items[i], b->items[i], out)) {
            return false;
        }
    }
    return true;
}

static bool equal_dicts(struct jinja_eval *ev, const struct jinja_dict *a,
                        const struct jinja_dict *b, bool *out)
{
    *out = a->n == b->n;
    for (size_t i = 0; *out && i < a->n; i++) {
        struct jinja_entry *other;
        if (!jinja_dict_find(ev, b, a->entries[i].key, &other)) {
            return false;
        }
        *out = other != NULL;
        if (other != NULL && !jinja_equal(ev, a->entries[i].value, other->value, out)) {
            return false;
        }
    }
    return true;
}

static bool equal_ranges(const struct jinja_range *a, const struct jinja_range *b)
{
    return a->n == b->n &&
           (a->n == 0 || (a->start == b->start && (a->n == 1 || a->step == b->step)));
}

static bool equal_same_kind(struct jinja_eval *ev, struct jinja_value a, struct jinja_value b,
                            bool *out)
{
    switch (a.kind) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        *out = true;
        return true;
    case JINJA_STRING:
        *out = str_eq(jinja_str(a), jinja_str(b));
        return jinja_spend_bytes(ev, *out ? a.u.string->n : 0);
    case JINJA_LIST:
    case JINJA_TUPLE:
        return equal_lists(ev, a.u.list, b.u.list, out);
    case JINJA_DICT:
        return equal_dicts(ev, a.u.dict, b.u.dict, out);
    case JINJA_RANGE:
        *out = equal_ranges(a.u.range, b.u.range);
        return true;
    case JINJA_VIEW:
        return jinja_refuse(ev, "comparing views of dicts");
    case JINJA_METHOD:
        return jinja_refuse(ev, "comparing methods");
    default:
        *out = a.u.dict == b.u.dict; /* one object */
        return true;
    }
}

bool jinja_equal(struct jinja_eval *ev, struct jinja_value a, struct jinja_value b, bool *out)
{
    if (!jinja_spend(ev, 1)) {
        return false;
    }
    if (jinja_is_number(a) && jinja_is_number(b)) {
        *out = jinja_order_numbers(a, b) == 0;
        return true;
    }
    if (a.kind != b.kind) {
        *out = false;
        return true;
    }
    if (!jinja_descend(ev)) {
        return false;
    }
    bool ok = equal_same_kind(ev, a, b, out);
    ev->depth--;
    return ok;
}

/* --- order */

static int order_strings(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n > 0 ? memcmp(a.p, b.p, n) : 0; /* of UTF-8: as the code points' */
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static bool decide(enum jinja_operator op, int order)
{
    switch (op) {
    case JINJA_OP_LT:
        return order < 0;
    case JINJA_OP_LE:
        return order <= 0;
    case JINJA_OP_GT:
        return order > 0 && order != 2;
    default:
        return order >= 0 && order != 2;
    }
}

static bool order_lists(struct jinja_eval *ev, enum jinja_operator op, const struct jinja_list *a,
                        const struct jinja_list *b, bool *out)
{
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        bool same;
        if (!jinja_equal(ev, a->items[i], b->items[i], &same)) {
            return false;
        }
        if (!same) {
            return jinja_compare(ev, op, a->items[i], b->items[i], out);
        }
    }
    *out = decide(op, a->n < b->n ? -1 : a->n > b->n ? 1 : 0);
    return true;
}

static bool order(struct jinja_eval *ev, enum jinja_operator op, struct jinja_value a,
                  struct jinja_value b, bool *out)
{
    if (jinja_is_number(a) && jinja_is_number(b)) {
        int by = jinja_order_numbers(a, b);
        *out = by != 2 && decide(op, by);
        return true;
    }
    if (a.kind == JINJA_UNDEFINED || b.kind == JINJA_UNDEFINED) {
        return jinja_fail_undefined(ev, a.kind == JINJA_UNDEFINED ? a : b);
    }
    if (a.kind == JINJA_STRING && b.kind == JINJA_STRING) {
        int by = order_strings(jinja_str(a), jinja_str(b));
        *out = decide(op, by < 0 ? -1 : by > 0 ? 1 : 0);
        return jinja_spend_bytes(ev, a.u.string->n < b.u.string->n ? a.u.string->n : b.u.string->n);
    }
    if (a.kind == b.kind && (a.kind == JINJA_LIST || a.kind == JINJA_TUPLE)) {
        if (!jinja_descend(ev)) {
            return false;
        }
        bool ok = order_lists(ev, op, a.u.list, b.u.list, out);
        ev->depth--;
        return ok;
    }
    if (a.kind == JINJA_VIEW || b.kind == JINJA_VIEW) {
        return jinja_refuse(ev, "comparing views of dicts");
    }
    return jinja_fail(ev, "%s and %s have no order", jinja_type_name(a), jinja_type_name(b));
}

bool jinja_compare(struct jinja_eval *ev, enum jinja_operator op, struct jinja_value a,
                   struct jinja_value b, bool *out)
{
    bool ok = true;
    switch (op) {
    case JINJA_OP_EQ:
    case JINJA_OP_NE:
        ok = jinja_equal(ev, a, b, out);
        *out = *out == (op == JINJA_OP_EQ);
        return ok;
    case JINJA_OP_IN:
    case JINJA_OP_NOT_IN:
        ok = jinja_contains(ev, b, a, out);
        *out = *out == (op == JINJA_OP_IN);
        return ok;
    default:
        return order(ev, op, a, b, out);
    }
}

/* --- membership */

size_t jinja_find_bytes(struct str s, struct str needle, size_t from)
{
    if (from > s.n || needle.n > s.n - from) {
        return SIZE_MAX;
    }
    if (needle.n == 0) {
        return from;
    }
    const char *found = memmem(s.p + from, s.n - from, needle.p, needle.n);
    return found != NULL ? (size_t)(found - s.p) : SIZE_MAX;
}

static bool range_contains(const struct jinja_range *r, struct jinja_value item)
{
    if (item.kind == JINJA_FLOAT) {
        item = jinja_fits_int(item.u.real) && item.u.real == (double)(int64_t)item.u.real
                   ? jinja_int((int64_t)item.u.real, JINJA_TEMPLATE)
                   : jinja_none();
    }
    if (!jinja_is_whole(item) || r->n == 0) {
        return false;
    }
    int64_t value = jinja_whole(item), last = r->start + (r->n - 1) * r->step;
    return r->step > 0 ? value >= r->start && value <= last && (value - r->start) % r->step == 0
                       : value <= r->start && value >= last && (r->start - value) % -r->step == 0;
}

static bool walk_contains(struct jinja_eval *ev, struct jinja_value container,
                          struct jinja_value item, bool *out)
{
    struct jinja_generator *g;
    bool found = true, same = false;
    if (!jinja_iterate(ev, container, &g)) {
        return false;
    }
    while (found && !same) {
        struct jinja_value other;
        if (!jinja_next(ev, g, &found, &other) || (found && !jinja_equal(ev, other, item, &same))) {
            return false;
        }
    }
    *out = same;
    return true;
}

bool jinja_contains(struct jinja_eval *ev, struct jinja_value container, struct jinja_value item,
                    bool *out)
{
    *out = false;
    if (container.kind == JINJA_STRING) {
        if (item.kind != JINJA_STRING) {
            return jinja_fail(ev, "'in <string>' needs a string on its left, not %s",
                              jinja_type_name(item));
        }
        *out = jinja_find_bytes(jinja_str(container), jinja_str(item), 0) != SIZE_MAX;
        return jinja_spend_bytes(ev, container.u.string->n);
    }
    bool is_keys = container.kind == JINJA_VIEW && container.u.view->kind == JINJA_VIEW_KEYS;
    if (container.kind == JINJA_DICT || is_keys) {
        struct jinja_entry *entry;
        bool ok =
            jinja_dict_find(ev, is_keys ? container.u.view->dict : container.u.dict, item, &entry);
        *out = ok && entry != NULL;
        return ok;
    }
    if (container.kind == JINJA_RANGE) {
        *out = range_contains(container.u.range, item);
        return true;
    }
    if (!jinja_is_iterable(container)) {
        return jinja_fail(ev, "%s is not iterable", jinja_type_name(container));
    }
    return walk_contains(ev, container, item, out);
}

/* --- dicts by key */

static bool hash_value(struct jinja_eval *ev, struct jinja_value key, uint64_t *out)
{
    switch (key.kind) {
    case JINJA_STRING:
        *out = jinja_hash_str(jinja_str(key));
        return jinja_spend_bytes(ev, key.u.string->n);
    case JINJA_BOOL:
    case JINJA_INT:
        *out = (uint64_t)jinja_whole(key) * 0x9e3779b97f4a7c15u;
        return true;
    case JINJA_FLOAT:
        if (jinja_fits_int(key.u.real) && key.u.real == (double)(int64_t)key.u.real) {
            *out = (uint64_t)(int64_t)key.u.real * 0x9e3779b97f4a7c15u;
        } else {
            memcpy(out, &key.u.real, sizeof *out);
        }
        return true;
    case JINJA_TUPLE: {
        uint64_t hash = key.u.list->n, item;
        for (size_t i = 0; i < key.u.list->n; i++) {
            if (!jinja_spend(ev, 1) || !jinja_descend(ev)) {
                return false;
            }
            bool ok = hash_value(ev, key.u.list->items[i], &item);
            ev->depth--;
            if (!ok) {
                return false;
            }
            hash = (hash ^ item) * 0x100000001b3u;
        }
        *out = hash;
        return true;
    }
    case JINJA_LIST:
    case JINJA_DICT:
        return jinja_fail(ev, "%s cannot be a key", jinja_type_name(key));
    default:
        *out = key.kind; /* few are keys; equality decides */
        return true;
    }
}

static bool find_hashed(struct jinja_eval *ev, const struct jinja_dict *d, struct jinja_value key,
                        uint64_t hash, struct jinja_entry **out)
{
    *out = NULL;
    for (size_t i = 0; i < d->n; i++) {
        bool same = false;
        if (d->entries[i].hash != hash) {
            continue;
        }
        if (!jinja_equal(ev, d->entries[i].key, key, &same)) {
            return false;
        }
        if (same) {
            *out = &d->entries[i];
            break;
        }
    }
    return jinja_spend(ev, 1 + d->n / 16);
}

bool jinja_dict_find(struct jinja_eval *ev, const struct jinja_dict *d, struct jinja_value key,
                     struct jinja_entry **out)
{
    uint64_t hash;
    return hash_value(ev, key, &hash) && find_hashed(ev, d, key, hash, out);
}

bool jinja_dict_set(struct jinja_eval *ev, struct jinja_dict *d, struct jinja_value key,
                    struct jinja_value value)
{
    struct jinja_entry *found, entry = {.key = key, .value = value};
    if (!hash_value(ev, key, &entry.hash) || !find_hashed(ev, d, key, entry.hash, &found)) {
        return false;
    }
    if (found != NULL) {
        found->value = value;
        return true;
    }
    return jinja_dict_append(&ev->arena, d, entry, ev->e);
}

/* --- sorting: merges runs, so that equal items keep their order */

struct sorting {
    struct jinja_eval *ev;
    struct jinja_value *values, *keys;             /* (n) */
    struct jinja_value *other_values, *other_keys; /* (n), room for a merge */
    bool reverse;
};

/* Whether the right one goes first; with reverse, the larger does. */
static bool right_first(const struct sorting *s, size_t left, size_t right, bool *out)
{
    return s->reverse ? jinja_compare(s->ev, JINJA_OP_LT, s->keys[left], s->keys[right], out)
                      : jinja_compare(s->ev, JINJA_OP_LT, s->keys[right], s->keys[left], out);
}

static bool merge(struct sorting *s, size_t from, size_t middle, size_t to)
{
    size_t left = from, right = middle;
    for (size_t i = from; i < to; i++) {
        bool take_right = left == middle;
        if (left < middle && right < to && !right_first(s, left, right, &take_right)) {
            return false;
        }
        size_t taken = take_right ? right++ : left++;
        s->other_values[i] = s->values[taken];
        s->other_keys[i] = s->keys[taken];
    }
    memcpy(s->values + from, s->other_values + from, (to - from) * sizeof *s->values);
    memcpy(s->keys + from, s->other_keys + from, (to - from) * sizeof *s->keys);
    return true;
}

bool jinja_sort(struct jinja_eval *ev, struct jinja_value *values, struct jinja_value *keys,
                size_t n, bool reverse)
{
    struct sorting s = {.ev = ev, .values = values, .keys = keys, .reverse = reverse};
    s.other_values = jinja_arena_alloc(&ev->arena, n, sizeof *values, ev->e);
    s.other_keys = jinja_arena_alloc(&ev->arena, n, sizeof *keys, ev->e);
    if (s.other_values == NULL || s.other_keys == NULL) {
        return false;
    }
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t from = 0; from + width < n; from += 2 * width) {
            size_t to = from + 2 * width < n ? from + 2 * width : n;
            if (!merge(&s, from, from + width, to)) {
                return false;
            }
        }
    }
    return true;
}
