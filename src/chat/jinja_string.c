/* jinja_string.c - the methods of strings, as Python has them. */
#include "chat/jinja_text.h"

#include "chat/jinja_unicode.h"

static const struct jinja_string *self_of(const struct jinja_call *c)
{
    return c->self.u.string;
}

static bool is_given(struct jinja_value v)
{
    return v.kind != JINJA_MISSING && v.kind != JINJA_NONE;
}

static bool need_string(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value v)
{
    return v.kind == JINJA_STRING ||
           jinja_fail(ev, "%s needs a string, not %s", c->callee->name, jinja_type_name(v));
}

static bool whole_or(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value v,
                     int64_t otherwise, int64_t *out)
{
    *out = otherwise;
    if (v.kind == JINJA_MISSING) {
        return true;
    }
    if (!jinja_is_whole(v)) {
        return jinja_fail(ev, "%s needs an integer, not %s", c->callee->name, jinja_type_name(v));
    }
    *out = jinja_whole(v);
    return true;
}

/* --- case and ends */

static bool cased(struct jinja_eval *ev, const struct jinja_call *c, enum jinja_case which,
                  struct jinja_value *out)
{
    struct jinja_text t = jinja_text_of(ev);
    t.is_markup = self_of(c)->is_markup;
    return jinja_add_cased(ev, &t, self_of(c), 0, self_of(c)->n, which) && jinja_text_end(&t, out);
}

static bool str_upper(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return cased(ev, c, JINJA_CASE_UPPER, out);
}

static bool str_lower(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return cased(ev, c, JINJA_CASE_LOWER, out);
}

static bool str_capitalize(struct jinja_eval *ev, const struct jinja_call *c,
                           struct jinja_value *out)
{
    return cased(ev, c, JINJA_CASE_CAPITALIZE, out);
}

static bool str_swapcase(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return cased(ev, c, JINJA_CASE_SWAP, out);
}

/* Words are runs of cased characters. */
static bool str_title(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    const struct jinja_string *s = self_of(c);
    struct str text = {s->p, s->n};
    struct jinja_text t = jinja_text_of(ev);
    t.is_markup = s->is_markup;
    for (size_t at = 0, n; at < s->n; at += n) {
        size_t end = at;
        n = 0;
        while (end < s->n) { /* to the end of a run, and over one character between two */
            uint32_t code_point = jinja_decode(text, end, &n);
            end += n;
            if ((jinja_unicode_flags(code_point) & JINJA_CASED) == 0) {
                break;
            }
        }
        n = end - at;
        if (jinja_find_bytes((struct str){s->p + at, n}, STR("\xce\xa3"), 0) != SIZE_MAX) {
            return jinja_refuse(ev, "title of a text with a capital sigma");
        }
        if (!jinja_add_cased(ev, &t, s, at, end, JINJA_CASE_CAPITALIZE)) {
            return false;
        }
    }
    return jinja_text_end(&t, out);
}

static bool strip(struct jinja_eval *ev, const struct jinja_call *c, int sides,
                  struct jinja_value *out)
{
    if (is_given(c->arg[0]) && !need_string(ev, c, c->arg[0])) {
        return false;
    }
    return jinja_strip(ev, self_of(c), is_given(c->arg[0]) ? c->arg[0].u.string : NULL, sides, out);
}

static bool str_lstrip(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return strip(ev, c, 1, out);
}

static bool str_rstrip(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return strip(ev, c, 2, out);
}

static bool str_strip(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return strip(ev, c, 3, out);
}

static bool str_removeprefix(struct jinja_eval *ev, const struct jinja_call *c,
                             struct jinja_value *out)
{
    const struct jinja_string *s = self_of(c);
    if (!need_string(ev, c, c->arg[0])) {
        return false;
    }
    bool has = str_starts_with(jinja_str(c->self), jinja_str(c->arg[0]));
    return jinja_substring(&ev->arena, s, has ? c->arg[0].u.string->n : 0, s->n, out, ev->e);
}

static bool ends_with(struct str s, struct str end)
{
    return s.n >= end.n && str_eq(str_skip(s, s.n - end.n), end);
}

static bool str_removesuffix(struct jinja_eval *ev, const struct jinja_call *c,
                             struct jinja_value *out)
{
    const struct jinja_string *s = self_of(c);
    if (!need_string(ev, c, c->arg[0])) {
        return false;
    }
    size_t n = c->arg[0].u.string->n;
    bool has = n > 0 && ends_with(jinja_str(c->self), jinja_str(c->arg[0]));
    return jinja_substring(&ev->arena, s, 0, s->n - (has ? n : 0), out, ev->e);
}

/* --- splitting and joining */

static bool push_part(struct jinja_eval *ev, struct jinja_value list, const struct jinja_string *s,
                      size_t from, size_t to)
{
    struct jinja_value part;
    return jinja_spend(ev, 1 + s->n_spans / 8) &&
           jinja_substring(&ev->arena, s, from, to, &part, ev->e) && jinja_push(ev, list, part);
}

static bool is_space_at(struct str s, size_t at, size_t *n)
{
    return jinja_is_space(jinja_decode(s, at, n));
}

static bool split_space(struct jinja_eval *ev, const struct jinja_string *s, int64_t most,
                        struct jinja_value list)
{
    struct str text = {s->p, s->n};
    size_t at = jinja_skip_space(text, 0), n;
    while (at < s->n) {
        size_t end = at;
        if (most == 0) {
            return push_part(ev, list, s, at, s->n);
        }
        while (end < s->n && !is_space_at(text, end, &n)) {
            end += n;
        }
        if (!push_part(ev, list, s, at, end)) {
            return false;
        }
        most -= most > 0;
        at = jinja_skip_space(text, end);
    }
    return true;
}

static bool split_at(struct jinja_eval *ev, const struct jinja_string *s, struct str separator,
                     int64_t most, struct jinja_value list)
{
    struct str text = {s->p, s->n};
    size_t at = 0;
    for (; most != 0; most -= most > 0) {
        size_t found = jinja_find_bytes(text, separator, at);
        if (found == SIZE_MAX) {
            break;
        }
        if (!push_part(ev, list, s, at, found)) {
            return false;
        }
        at = found + separator.n;
    }
    return push_part(ev, list, s, at, s->n);
}

/* What looking for m bytes at each of n may take. */
static bool spend_search(struct jinja_eval *ev, size_t n, size_t m)
{
    return jinja_spend_bytes(ev, n) && jinja_spend(ev, n / 64 * m);
}

/* The last place of needle that ends at or before `end`, or SIZE_MAX. */
static size_t find_last(struct str s, struct str needle, size_t end)
{
    for (size_t at = end + 1 - needle.n; needle.n <= end && at-- > 0;) {
        if (memcmp(s.p + at, needle.p, needle.n) == 0) {
            return at;
        }
    }
    return SIZE_MAX;
}

/* From the end; the parts come out last first. */
static bool rsplit_at(struct jinja_eval *ev, const struct jinja_string *s, struct str separator,
                      int64_t most, struct jinja_value list)
{
    size_t end = s->n;
    for (; most != 0; most -= most > 0) {
        size_t found = find_last((struct str){s->p, s->n}, separator, end);
        if (found == SIZE_MAX) {
            break;
        }
        if (!push_part(ev, list, s, found + separator.n, end)) {
            return false;
        }
        end = found;
    }
    return push_part(ev, list, s, 0, end);
}

static bool rsplit_space(struct jinja_eval *ev, const struct jinja_string *s, int64_t most,
                         struct jinja_value list)
{
    struct str text = jinja_strip_end((struct str){s->p, s->n});
    size_t n;
    for (; text.n > 0; text = jinja_strip_end(text)) {
        size_t from = text.n;
        if (most == 0) {
            return push_part(ev, list, s, 0, text.n); /* Python leaves the space before it */
        }
        while (from > 0 && !jinja_is_space(jinja_decode_before(text, from, &n))) {
            from -= n;
        }
        if (!push_part(ev, list, s, from, text.n)) {
            return false;
        }
        most -= most > 0;
        text.n = from;
    }
    return true;
}

static void turn_round(struct jinja_list *list)
{
    for (size_t i = 0; i < list->n / 2; i++) {
        struct jinja_value first = list->items[i];
        list->items[i] = list->items[list->n - 1 - i];
        list->items[list->n - 1 - i] = first;
    }
}

static bool split(struct jinja_eval *ev, const struct jinja_call *c, bool from_end,
                  struct jinja_value *out)
{
    const struct jinja_string *s = self_of(c);
    int64_t most;
    if (!whole_or(ev, c, c->arg[1], -1, &most) || !jinja_make_list(ev, out) ||
        !jinja_spend_bytes(ev, s->n)) {
        return false;
    }
    bool ok;
    if (!is_given(c->arg[0])) {
        ok = from_end ? rsplit_space(ev, s, most, *out) : split_space(ev, s, most, *out);
    } else if (!need_string(ev, c, c->arg[0])) {
        return false;
    } else if (c->arg[0].u.string->n == 0) {
        return jinja_fail(ev, "%s: an empty separator", c->callee->name);
    } else {
        struct str separator = jinja_str(c->arg[0]);
        ok = from_end
                 ? spend_search(ev, s->n, separator.n) && rsplit_at(ev, s, separator, most, *out)
                 : split_at(ev, s, separator, most, *out);
    }
    if (ok && from_end) {
        turn_round(out->u.list);
    }
    return ok;
}

static bool str_split(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return split(ev, c, false, out);
}

static bool str_rsplit(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return split(ev, c, true, out);
}

static bool str_splitlines(struct jinja_eval *ev, const struct jinja_call *c,
                           struct jinja_value *out)
{
    const struct jinja_string *s = self_of(c);
    size_t end, next;
    bool keeps = jinja_truth(c->arg[0]);
    if (!jinja_make_list(ev, out)) {
        return false;
    }
    for (size_t at = 0; jinja_next_line((struct str){s->p, s->n}, at, &end, &next); at = next) {
        if (!push_part(ev, *out, s, at, keeps ? next : end)) {
            return false;
        }
    }
    return jinja_spend_bytes(ev, s->n);
}

static bool partition(struct jinja_eval *ev, const struct jinja_call *c, bool from_end,
                      struct jinja_value *out)
{
    const struct jinja_string *s = self_of(c);
    if (!need_string(ev, c, c->arg[0])) {
        return false;
    }
    struct str separator = jinja_str(c->arg[0]);
    if (separator.n == 0) {
        return jinja_fail(ev, "%s: an empty separator", c->callee->name);
    }
    if (!spend_search(ev, s->n, separator.n)) {
        return false;
    }
    size_t at = from_end ? find_last(jinja_str(c->self), separator, s->n)
                         : jinja_find_bytes(jinja_str(c->self), separator, 0);
    size_t cuts[4] = {0, at, at + separator.n, s->n};
    if (at == SIZE_MAX) {
        cuts[1] = cuts[2] = from_end ? 0 : s->n;
    }
    if (!jinja_make_list(ev, out)) {
        return false;
    }
    for (size_t i = 0; i < 3; i++) {
        if (!push_part(ev, *out, s, cuts[i], cuts[i + 1])) {
            return false;
        }
    }
    out->kind = JINJA_TUPLE;
    return true;
}

static bool str_partition(struct jinja_eval *ev, const struct jinja_call *c,
                          struct jinja_value *out)
{
    return partition(ev, c, false, out);
}

static bool str_rpartition(struct jinja_eval *ev, const struct jinja_call *c,
                           struct jinja_value *out)
{
    return partition(ev, c, true, out);
}

static bool str_join(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value items;
    struct jinja_text t = jinja_text_of(ev);
    if (!jinja_collect(ev, c->arg[0], &items)) {
        return false;
    }
    for (size_t i = 0; i < items.u.list->n; i++) {
        if (!need_string(ev, c, items.u.list->items[i]) ||
            (i > 0 && !jinja_text_add_string(&t, self_of(c))) ||
            !jinja_text_add_string(&t, items.u.list->items[i].u.string)) {
            return false;
        }
    }
    return jinja_text_end(&t, out);
}

static bool str_replace(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    int64_t count;
    return need_string(ev, c, c->arg[0]) && need_string(ev, c, c->arg[1]) &&
           whole_or(ev, c, c->arg[2], -1, &count) &&
           jinja_replace(ev, self_of(c), c->arg[0].u.string, c->arg[1].u.string, count, out);
}

/* --- looking for text; start and end are characters, as in a slice */

static bool within(struct jinja_eval *ev, const struct jinja_call *c, size_t *from, size_t *to)
{
    const struct jinja_string *s = self_of(c);
    int64_t n = (int64_t)s->n_chars, ends[2] = {0, n};
    for (size_t i = 0; i < 2; i++) {
        if (is_given(c->arg[i + 1]) && !whole_or(ev, c, c->arg[i + 1], 0, &ends[i])) {
            return false;
        }
        ends[i] += ends[i] < 0 ? n : 0;
        ends[i] = ends[i] < 0 ? 0 : ends[i];
    }
    ends[1] = ends[1] > n ? n : ends[1];
    *from = ends[0] > ends[1] ? SIZE_MAX : jinja_byte_of_char(s, (size_t)ends[0]);
    *to = jinja_byte_of_char(s, (size_t)ends[1]);
    return jinja_spend_bytes(ev, s->n);
}

static bool meets(struct jinja_eval *ev, const struct jinja_call *c, bool at_end, bool *out)
{
    struct jinja_value wanted = c->arg[0];
    size_t from, to;
    if (!within(ev, c, &from, &to)) {
        return false;
    }
    struct jinja_value *items = wanted.kind == JINJA_TUPLE ? wanted.u.list->items : &wanted;
    size_t n = wanted.kind == JINJA_TUPLE ? wanted.u.list->n : 1;
    *out = false;
    for (size_t i = 0; i < n && !*out; i++) {
        if (!need_string(ev, c, items[i])) {
            return false;
        }
        struct str part = {self_of(c)->p + (from == SIZE_MAX ? 0 : from),
                           from == SIZE_MAX ? 0 : to - from};
        *out = from != SIZE_MAX && (at_end ? ends_with(part, jinja_str(items[i]))
                                           : str_starts_with(part, jinja_str(items[i])));
    }
    return true;
}

static bool str_startswith(struct jinja_eval *ev, const struct jinja_call *c,
                           struct jinja_value *out)
{
    bool holds;
    bool ok = meets(ev, c, false, &holds);
    *out = jinja_bool(ok && holds, JINJA_TEMPLATE);
    return ok;
}

static bool str_endswith(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    bool holds;
    bool ok = meets(ev, c, true, &holds);
    *out = jinja_bool(ok && holds, JINJA_TEMPLATE);
    return ok;
}

static bool find(struct jinja_eval *ev, const struct jinja_call *c, bool from_end, bool must,
                 struct jinja_value *out)
{
    size_t from, to, found = SIZE_MAX;
    if (!need_string(ev, c, c->arg[0]) || !within(ev, c, &from, &to)) {
        return false;
    }
    struct str text = {self_of(c)->p, to}, needle = jinja_str(c->arg[0]);
    if (from_end && !spend_search(ev, to, needle.n)) {
        return false;
    }
    if (from != SIZE_MAX && from_end) {
        found = find_last(text, needle, to);
        found = found < from ? SIZE_MAX : found;
    } else if (from != SIZE_MAX) {
        found = jinja_find_bytes(text, needle, from);
    }
    if (found == SIZE_MAX && must) {
        return jinja_fail(ev, "%s: the text is not there", c->callee->name);
    }
    int64_t index =
        found == SIZE_MAX ? -1 : (int64_t)jinja_count_chars((struct str){self_of(c)->p, found});
    *out = jinja_int(index, jinja_value_origin(c->self));
    return true;
}

static bool str_find(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return find(ev, c, false, false, out);
}

static bool str_rfind(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return find(ev, c, true, false, out);
}

static bool str_index(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return find(ev, c, false, true, out);
}

static bool str_rindex(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return find(ev, c, true, true, out);
}

static bool str_count(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    size_t from, to;
    if (!need_string(ev, c, c->arg[0]) || !within(ev, c, &from, &to)) {
        return false;
    }
    struct str needle = jinja_str(c->arg[0]), text = {self_of(c)->p, to};
    int64_t n = 0;
    if (needle.n == 0 && from != SIZE_MAX) {
        n = 1 + (int64_t)jinja_count_chars(str_skip(text, from));
    }
    while (needle.n > 0 && (from = jinja_find_bytes(text, needle, from)) != SIZE_MAX) {
        from += needle.n;
        n++;
    }
    *out = jinja_int(n, jinja_value_origin(c->self));
    return true;
}

/* --- what all characters are */

static bool all_have(const struct jinja_call *c, unsigned flags, struct jinja_value *out)
{
    struct str s = jinja_str(c->self);
    bool holds = s.n > 0;
    for (size_t at = 0, n; holds && at < s.n; at += n) {
        holds = (jinja_unicode_flags(jinja_decode(s, at, &n)) & flags) != 0;
    }
    *out = jinja_bool(holds, JINJA_TEMPLATE);
    return true;
}

static bool str_isalpha(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return jinja_spend_bytes(ev, c->self.u.string->n) && all_have(c, JINJA_ALPHA, out);
}

static bool str_isalnum(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return jinja_spend_bytes(ev, c->self.u.string->n) &&
           all_have(c, JINJA_ALPHA | JINJA_NUMERIC, out);
}

static bool str_isdecimal(struct jinja_eval *ev, const struct jinja_call *c,
                          struct jinja_value *out)
{
    return jinja_spend_bytes(ev, c->self.u.string->n) && all_have(c, JINJA_DECIMAL, out);
}

/* isdigit knows more than decimal digits, isnumeric still more: only where they agree. */
static bool str_isdigit(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value numeric;
    if (!jinja_spend_bytes(ev, c->self.u.string->n) || !all_have(c, JINJA_DECIMAL, out) ||
        !all_have(c, JINJA_NUMERIC, &numeric)) {
        return false;
    }
    return out->u.boolean == numeric.u.boolean ||
           jinja_refuse(ev, "%s of numbers that are no decimal digits", c->callee->name);
}

static bool str_isnumeric(struct jinja_eval *ev, const struct jinja_call *c,
                          struct jinja_value *out)
{
    return jinja_spend_bytes(ev, c->self.u.string->n) && all_have(c, JINJA_NUMERIC, out);
}

static bool str_isspace(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct str s = jinja_str(c->self);
    *out = jinja_bool(s.n > 0 && jinja_skip_space(s, 0) == s.n, JINJA_TEMPLATE);
    return jinja_spend_bytes(ev, s.n);
}

static bool str_isascii(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    (void)ev;
    *out = jinja_bool(self_of(c)->n == self_of(c)->n_chars, JINJA_TEMPLATE);
    return true;
}

static bool str_islower(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    *out = jinja_bool(jinja_is_cased(jinja_str(c->self), false), JINJA_TEMPLATE);
    return jinja_spend_bytes(ev, self_of(c)->n);
}

static bool str_isupper(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    *out = jinja_bool(jinja_is_cased(jinja_str(c->self), true), JINJA_TEMPLATE);
    return jinja_spend_bytes(ev, self_of(c)->n);
}

/* --- width */

static bool pad(struct jinja_eval *ev, const struct jinja_call *c, int sides,
                struct jinja_value *out)
{
    struct jinja_value fill = c->arg[1];
    int64_t width;
    if (!whole_or(ev, c, c->arg[0], 0, &width) ||
        (fill.kind == JINJA_MISSING && !jinja_make_string(ev, STR(" "), JINJA_TEMPLATE, &fill)) ||
        !need_string(ev, c, fill)) {
        return false;
    }
    if (fill.u.string->n_chars != 1) {
        return jinja_fail(ev, "%s: the fill is one character", c->callee->name);
    }
    int64_t n_chars = (int64_t)self_of(c)->n_chars, missing = width > n_chars ? width - n_chars : 0;
    /* both sides: Python puts the odd one left when the width is odd */
    int64_t left = sides == 3 ? missing / 2 + (missing & width & 1) : sides == 1 ? missing : 0;
    struct jinja_text t = jinja_text_of(ev);
    for (int64_t i = 0; i <= missing; i++) {
        if ((i == left && !jinja_text_add_string(&t, self_of(c))) ||
            (i < missing && !jinja_text_add_string(&t, fill.u.string)) || !jinja_spend(ev, 1)) {
            return false;
        }
    }
    return jinja_text_end(&t, out);
}

static bool str_ljust(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return pad(ev, c, 2, out);
}

static bool str_rjust(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return pad(ev, c, 1, out);
}

static bool str_center(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return pad(ev, c, 3, out);
}

/* Without a function: Python has it, Puna does not. */
const struct jinja_callee jinja_string_methods[] = {
    {"capitalize", "", 0, str_capitalize},
    {"casefold", "", 0, NULL},
    {"center", "/width,fillchar", 1, str_center},
    {"count", "/sub,start,end", 1, str_count},
    {"encode", "", 0, NULL},
    {"endswith", "/suffix,start,end", 1, str_endswith},
    {"expandtabs", "", 0, NULL},
    {"find", "/sub,start,end", 1, str_find},
    {"format", "*", 0, jinja_format_braces},
    {"format_map", "", 0, NULL},
    {"index", "/sub,start,end", 1, str_index},
    {"isalnum", "", 0, str_isalnum},
    {"isalpha", "", 0, str_isalpha},
    {"isascii", "", 0, str_isascii},
    {"isdecimal", "", 0, str_isdecimal},
    {"isdigit", "", 0, str_isdigit},
    {"isidentifier", "", 0, NULL},
    {"islower", "", 0, str_islower},
    {"isnumeric", "", 0, str_isnumeric},
    {"isprintable", "", 0, NULL},
    {"isspace", "", 0, str_isspace},
    {"istitle", "", 0, NULL},
    {"isupper", "", 0, str_isupper},
    {"join", "/iterable", 1, str_join},
    {"ljust", "/width,fillchar", 1, str_ljust},
    {"lower", "", 0, str_lower},
    {"lstrip", "/chars", 0, str_lstrip},
    {"maketrans", "", 0, NULL},
    {"partition", "/sep", 1, str_partition},
    {"removeprefix", "/prefix", 1, str_removeprefix},
    {"removesuffix", "/suffix", 1, str_removesuffix},
    {"replace", "/old,new,count", 2, str_replace},
    {"rfind", "/sub,start,end", 1, str_rfind},
    {"rindex", "/sub,start,end", 1, str_rindex},
    {"rjust", "/width,fillchar", 1, str_rjust},
    {"rpartition", "/sep", 1, str_rpartition},
    {"rsplit", "sep,maxsplit", 0, str_rsplit},
    {"rstrip", "/chars", 0, str_rstrip},
    {"split", "sep,maxsplit", 0, str_split},
    {"splitlines", "keepends", 0, str_splitlines},
    {"startswith", "/prefix,start,end", 1, str_startswith},
    {"strip", "/chars", 0, str_strip},
    {"swapcase", "", 0, str_swapcase},
    {"title", "", 0, str_title},
    {"translate", "", 0, NULL},
    {"upper", "", 0, str_upper},
    {"zfill", "", 0, NULL},
    {NULL, NULL, 0, NULL},
};
bool jinja_is_for_markup(struct str name)
{
    static const char *const names[] = {
        "capitalize", "count",      "endswith",   "find",  "index",    "isalnum", "isalpha",
        "isspace",    "islower",    "isupper",    "lower", "lstrip",   "rsplit",  "rstrip",
        "split",      "splitlines", "startswith", "strip", "swapcase", "title",   "upper"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (str_eq(name, str_from(names[i]))) {
            return true;
        }
    }
    return false;
}
