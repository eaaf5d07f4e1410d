/* jinja_access.c - attributes, items, slices and lengths. An attribute is looked for among what
 * Python's type has (dict.items is the method, whatever the keys are) and then among the items;
 * an item the other way round. What is not there is undefined, and no error until it is used. */
#include "chat/jinja_eval.h"

#include "chat/jinja_unicode.h"

int64_t jinja_range_at(const struct jinja_range *r, int64_t index)
{
    return r->start + index * r->step;
}

bool jinja_length(struct jinja_eval *ev, struct jinja_value v, int64_t *out)
{
    switch (v.kind) {
    case JINJA_UNDEFINED:
        *out = 0;
        return true;
    case JINJA_STRING:
        *out = (int64_t)v.u.string->n_chars;
        return true;
    case JINJA_LIST:
    case JINJA_TUPLE:
        *out = (int64_t)v.u.list->n;
        return true;
    case JINJA_DICT:
        *out = (int64_t)v.u.dict->n;
        return true;
    case JINJA_VIEW:
        *out = (int64_t)v.u.view->dict->n;
        return true;
    case JINJA_RANGE:
        *out = v.u.range->n;
        return true;
    case JINJA_LOOP: {
        struct jinja_value length;
        bool ok = jinja_loop_attribute(ev, v.u.loop, STR("length"), &length);
        *out = ok ? length.u.integer : 0;
        return ok;
    }
    default:
        return jinja_fail(ev, "%s has no length", jinja_type_name(v));
    }
}

/* --- items */

static bool is_hashable(struct jinja_value v)
{
    bool ok = v.kind != JINJA_LIST && v.kind != JINJA_DICT;
    for (size_t i = 0; v.kind == JINJA_TUPLE && ok && i < v.u.list->n; i++) {
        const struct jinja_value item = v.u.list->items[i];
        ok = item.kind == JINJA_TUPLE || is_hashable(item); /* deeper ones fail when hashed */
    }
    return ok;
}

static bool item_of_string(struct jinja_eval *ev, const struct jinja_string *s, int64_t index,
                           struct jinja_value *out)
{
    size_t from = jinja_byte_of_char(s, (size_t)index), n;
    jinja_decode((struct str){s->p, s->n}, from, &n);
    return jinja_spend_bytes(ev, s->n == s->n_chars ? 0 : s->n) &&
           jinja_substring(&ev->arena, s, from, from + n, out, ev->e);
}

static bool item_at(struct jinja_eval *ev, struct jinja_value object, int64_t index,
                    struct jinja_value *out)
{
    int64_t n;
    if (!jinja_length(ev, object, &n)) {
        return false;
    }
    index += index < 0 ? n : 0;
    if (index < 0 || index >= n) {
        *out = jinja_undefined(NULL);
        return true;
    }
    switch (object.kind) {
    case JINJA_STRING:
        return item_of_string(ev, object.u.string, index, out);
    case JINJA_RANGE:
        *out = jinja_int(jinja_range_at(object.u.range, index), JINJA_TEMPLATE);
        return true;
    default:
        *out = object.u.list->items[index];
        return true;
    }
}

/* Python's object[index]; *found false where that raises TypeError or LookupError. */
static bool subscribe(struct jinja_eval *ev, struct jinja_value object, struct jinja_value index,
                      bool *found, struct jinja_value *out)
{
    *found = false;
    switch (object.kind) {
    case JINJA_UNDEFINED:
        return jinja_fail_undefined(ev, object);
    case JINJA_DICT: {
        struct jinja_entry *entry = NULL;
        if (is_hashable(index) && !jinja_dict_find(ev, object.u.dict, index, &entry)) {
            return false;
        }
        *found = entry != NULL;
        if (entry != NULL) {
            *out = entry->value;
        }
        return true;
    }
    case JINJA_STRING:
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_RANGE:
        *found = jinja_is_whole(index);
        return !*found || item_at(ev, object, jinja_whole(index), out);
    default:
        return true;
    }
}

/* --- attributes */

static bool attribute_of_cycle(struct jinja_eval *ev, struct jinja_value object, struct str name,
                               bool *found, struct jinja_value *out)
{
    const struct jinja_cycle *cycle = object.u.cycle;
    *found = true;
    if (object.kind == JINJA_CYCLER && str_eq(name, STR("current"))) {
        *out = cycle->items[cycle->at];
    } else if (object.kind == JINJA_CYCLER && str_eq(name, STR("pos"))) {
        *out = jinja_int((int64_t)cycle->at, JINJA_TEMPLATE);
    } else if (object.kind == JINJA_CYCLER && str_eq(name, STR("items"))) {
        return jinja_make_tuple(ev, cycle->items, cycle->n, out);
    } else if (object.kind == JINJA_JOINER && str_eq(name, STR("sep"))) {
        *out = cycle->items[0];
    } else if (object.kind == JINJA_JOINER && str_eq(name, STR("used"))) {
        *out = jinja_bool(cycle->at > 0, JINJA_TEMPLATE);
    } else {
        *found = false;
    }
    return true;
}

static bool attribute_of_macro(struct jinja_eval *ev, const struct jinja_macro_node *macro,
                               struct str name, bool *found, struct jinja_value *out)
{
    static const char *const others[] = {"arguments", "catch_kwargs", "catch_varargs", "caller",
                                         "explicit_caller"};
    *found = str_eq(name, STR("name"));
    if (*found) {
        *out = jinja_none();
        return macro->name == NULL || jinja_make_string(ev, *macro->name, JINJA_TEMPLATE, out);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (str_eq(name, str_from(others[i]))) {
            return jinja_refuse(ev, "a macro's attribute '%s'", others[i]);
        }
    }
    return true;
}

static bool is_dunder(struct str name)
{
    return name.n > 4 && memcmp(name.p, "__", 2) == 0 && memcmp(name.p + name.n - 2, "__", 2) == 0;
}

/* Python's own attributes, which are there but out of a template's reach. */
static bool is_internal(struct jinja_value object, struct str name)
{
    bool has_some = object.kind == JINJA_UNDEFINED || object.kind == JINJA_LOOP ||
                    object.kind == JINJA_CYCLER || object.kind == JINJA_JOINER ||
                    object.kind == JINJA_MACRO ||
                    (object.kind == JINJA_TUPLE && object.u.list->is_group);
    return is_dunder(name) || (has_some && name.n > 0 && name.p[0] == '_');
}

/* What Python's getattr finds that a template may see; *found false for nothing. */
static bool find_attribute(struct jinja_eval *ev, struct jinja_value object, struct str name,
                           bool *found, struct jinja_value *out)
{
    const struct jinja_callee *method;
    *found = false;
    if (object.kind != JINJA_NAMESPACE && is_internal(object, name)) {
        return jinja_refuse(ev, "the attribute '%.*s'", STR_ARG(str_shown(name)));
    }
    switch (object.kind) {
    case JINJA_UNDEFINED:
        return jinja_fail_undefined(ev, object);
    case JINJA_NAMESPACE: {
        const struct jinja_entry *entry = jinja_dict_find_str(object.u.dict, name);
        *found = entry != NULL;
        if (entry != NULL) {
            *out = name.p[0] == '_' ? jinja_undefined(NULL) : entry->value;
        }
        return jinja_spend(ev, 1 + object.u.dict->n / 16);
    }
    case JINJA_MACRO:
        return attribute_of_macro(ev, object.u.macro->node, name, found, out);
    case JINJA_CYCLER:
    case JINJA_JOINER:
        if (!attribute_of_cycle(ev, object, name, found, out) || *found) {
            return *found;
        }
        break;
    case JINJA_LOOP:
        if (!jinja_loop_attribute(ev, object.u.loop, name, out)) {
            return false;
        }
        *found = out->kind != JINJA_MISSING;
        if (*found) {
            return true;
        }
        break;
    case JINJA_TUPLE:
        if (object.u.list->is_group &&
            (str_eq(name, STR("grouper")) || str_eq(name, STR("list")))) {
            *out = object.u.list->items[name.p[0] == 'l'];
            *found = true;
            return true;
        }
        break;
    default:
        break;
    }
    if (jinja_is_unsafe(object, name)) {
        *out = jinja_undefined(NULL);
        *found = true;
        return true;
    }
    if (!jinja_find_method(ev, object, name, &method)) {
        return false;
    }
    if (method != NULL) {
        struct jinja_method *bound = jinja_arena_alloc(&ev->arena, 1, sizeof *bound, ev->e);
        if (bound == NULL) {
            return false;
        }
        *bound = (struct jinja_method){method, object};
        *out = (struct jinja_value){.kind = JINJA_METHOD, .u.method = bound};
        *found = true;
    }
    return true;
}

static struct jinja_value undefined_of(struct jinja_eval *ev, struct jinja_value name)
{
    struct str *text = name.kind == JINJA_STRING
                           ? jinja_arena_alloc(&ev->arena, 1, sizeof *text, NULL)
                           : NULL; /* without its name when memory ran out */
    if (text != NULL) {
        *text = jinja_str(name);
    }
    return jinja_undefined(text);
}

bool jinja_get_attribute(struct jinja_eval *ev, struct jinja_value object, struct jinja_value name,
                         struct jinja_value *out)
{
    bool found;
    if (!find_attribute(ev, object, jinja_str(name), &found, out)) {
        return false;
    }
    if (!found && !subscribe(ev, object, name, &found, out)) {
        return false;
    }
    if (!found) {
        *out = undefined_of(ev, name);
    }
    return true;
}

bool jinja_get_item(struct jinja_eval *ev, struct jinja_value object, struct jinja_value index,
                    struct jinja_value *out)
{
    bool found;
    if (!subscribe(ev, object, index, &found, out)) {
        return false;
    }
    if (!found && index.kind == JINJA_STRING &&
        !find_attribute(ev, object, jinja_str(index), &found, out)) {
        return false;
    }
    if (!found) {
        *out = undefined_of(ev, index);
    }
    return true;
}

/* --- paths of attributes */

static bool is_digits(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return false;
        }
    }
    return s.n > 0;
}

static bool path_step(struct jinja_eval *ev, struct jinja_value path, size_t from, size_t to,
                      struct jinja_value *item)
{
    struct str part = {path.u.string->p + from, to - from};
    struct jinja_value index;
    if (is_digits(part)) {
        int64_t value = 0;
        for (size_t i = 0; i < part.n; i++) {
            value = value > INT64_MAX / 16 ? value : value * 10 + (part.p[i] - '0');
        }
        index = jinja_int(value, JINJA_TEMPLATE);
    } else if (!jinja_substring(&ev->arena, path.u.string, from, to, &index, ev->e)) {
        return false;
    }
    return jinja_get_item(ev, *item, index, item);
}

bool jinja_get_path(struct jinja_eval *ev, struct jinja_value object, struct jinja_value path,
                    struct jinja_value *out)
{
    *out = object;
    if (path.kind == JINJA_NONE || path.kind == JINJA_MISSING) {
        return true;
    }
    if (path.kind != JINJA_STRING) {
        return jinja_get_item(ev, object, path, out);
    }
    struct str text = jinja_str(path);
    for (size_t from = 0; from <= text.n;) {
        size_t to = jinja_find_bytes(text, STR("."), from);
        to = to == SIZE_MAX ? text.n : to;
        if (!path_step(ev, path, from, to, out)) {
            return false;
        }
        from = to + 1;
    }
    return true;
}

/* --- slices */

/* Python's slice.indices: where a slice of n items starts, its step and how many items it has. */
static bool slice_bounds(struct jinja_eval *ev, const struct jinja_value bounds[3], int64_t n,
                         struct jinja_range *out)
{
    for (size_t i = 0; i < 3; i++) {
        if (bounds[i].kind != JINJA_NONE && !jinja_is_whole(bounds[i])) {
            return jinja_refuse(ev, "a slice with bounds of %s", jinja_type_name(bounds[i]));
        }
    }
    int64_t step = bounds[2].kind == JINJA_NONE ? 1 : jinja_whole(bounds[2]);
    if (step == 0) {
        return jinja_fail(ev, "a slice's step cannot be 0");
    }
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
    int64_t ends[2] = {step > 0 ? low : high, step > 0 ? high : low};
    for (size_t i = 0; i < 2; i++) {
        if (bounds[i].kind != JINJA_NONE) {
            int64_t at = jinja_whole(bounds[i]);
            at += at < 0 ? n : 0;
            ends[i] = at < low ? low : at > high ? high : at;
        }
    }
    int64_t distance = step > 0 ? ends[1] - ends[0] : ends[0] - ends[1];
    uint64_t stride = step > 0 ? (uint64_t)step : -(uint64_t)step;
    int64_t count = distance <= 0 ? 0 : (int64_t)(((uint64_t)distance - 1) / stride) + 1;
    *out = (struct jinja_range){.start = ends[0], .stop = ends[1], .step = step, .n = count};
    return true;
}

static bool slice_string(struct jinja_eval *ev, const struct jinja_string *s,
                         const struct jinja_range *r, struct jinja_value *out)
{
    if (!jinja_spend_bytes(ev, s->n)) {
        return false;
    }
    if (r->step == 1) {
        size_t from = jinja_byte_of_char(s, (size_t)r->start);
        return jinja_substring(&ev->arena, s, from,
                               jinja_byte_of_char(s, (size_t)(r->start + r->n)), out, ev->e);
    }
    size_t *starts = jinja_arena_alloc(&ev->arena, s->n_chars + 1, sizeof *starts, ev->e);
    if (starts == NULL) {
        return false;
    }
    for (size_t at = 0, i = 0; at <= s->n; at++) {
        if (at == s->n || ((unsigned char)s->p[at] & 0xc0) != 0x80) {
            starts[i++] = at;
        }
    }
    struct jinja_text t = jinja_text_of(ev);
    t.is_markup = s->is_markup;
    for (int64_t i = 0; i < r->n; i++) {
        size_t at = (size_t)jinja_range_at(r, i);
        if (!jinja_spend(ev, 1) || !jinja_text_add_part(&t, s, starts[at], starts[at + 1])) {
            return false;
        }
    }
    return jinja_text_end(&t, out);
}

static bool slice_range(struct jinja_eval *ev, const struct jinja_range *source,
                        const struct jinja_range *r, struct jinja_value *out)
{
    struct jinja_range *range = jinja_arena_alloc(&ev->arena, 1, sizeof *range, ev->e);
    if (range == NULL) {
        return false;
    }
    if (__builtin_mul_overflow(source->step, r->step, &range->step) || r->step > 1 << 30 ||
        r->step < -(1 << 30)) {
        return jinja_refuse(ev, "a slice's step of more than 30 bits");
    }
    range->start = jinja_range_at(source, r->start);
    range->stop = jinja_range_at(source, r->stop);
    range->n = r->n;
    *out = (struct jinja_value){.kind = JINJA_RANGE, .u.range = range};
    return true;
}

bool jinja_get_slice(struct jinja_eval *ev, struct jinja_value object,
                     const struct jinja_value bounds[3], struct jinja_value *out)
{
    int64_t n;
    struct jinja_range r = {0};
    switch (object.kind) {
    case JINJA_UNDEFINED:
        return jinja_fail_undefined(ev, object);
    case JINJA_STRING:
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_RANGE:
        break;
    default: /* an error of jinja2, too, but not where it computes constants ahead: "{{ 4[1:] }}" */
        return jinja_refuse(ev, "a slice of %s", jinja_type_name(object));
    }
    if (!jinja_length(ev, object, &n) || !slice_bounds(ev, bounds, n, &r)) {
        return false;
    }
    if (object.kind == JINJA_STRING) {
        return slice_string(ev, object.u.string, &r, out);
    }
    if (object.kind == JINJA_RANGE) {
        return slice_range(ev, object.u.range, &r, out);
    }
    struct jinja_value list;
    if (!jinja_make_list(ev, &list)) {
        return false;
    }
    for (int64_t i = 0; i < r.n; i++) {
        if (!jinja_push(ev, list, object.u.list->items[jinja_range_at(&r, i)])) {
            return false;
        }
    }
    list.kind = object.kind;
    *out = list;
    return jinja_spend(ev, (size_t)r.n / 8);
}
