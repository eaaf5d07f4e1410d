/* jinja_filter_text.c - filters of text. */
#include "chat/jinja_text.h"

#include "chat/jinja_unicode.h"

static bool is_given(struct jinja_value v)
{
    return v.kind != JINJA_MISSING && v.kind != JINJA_NONE;
}

/* The value as text. */
static bool text_of(struct jinja_eval *ev, const struct jinja_call *c,
                    const struct jinja_string **out)
{
    struct jinja_value s;
    if (!jinja_to_string(ev, c->self, &s)) {
        return false;
    }
    *out = s.u.string;
    return true;
}

static bool cased(struct jinja_eval *ev, const struct jinja_call *c, enum jinja_case which,
                  struct jinja_value *out)
{
    const struct jinja_string *s;
    struct jinja_text t = jinja_text_of(ev);
    if (!text_of(ev, c, &s)) {
        return false;
    }
    t.is_markup = s->is_markup;
    return jinja_add_cased(ev, &t, s, 0, s->n, which) && jinja_text_end(&t, out);
}

static bool filter_upper(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return cased(ev, c, JINJA_CASE_UPPER, out);
}

static bool filter_lower(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    return cased(ev, c, JINJA_CASE_LOWER, out);
}

static bool filter_capitalize(struct jinja_eval *ev, const struct jinja_call *c,
                              struct jinja_value *out)
{
    return cased(ev, c, JINJA_CASE_CAPITALIZE, out);
}

static bool starts_word(uint32_t c)
{
    return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || jinja_is_space(c);
}

/* Words begin after white space and - ( { [ <. */
static bool filter_title(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    const struct jinja_string *s;
    struct jinja_text t = jinja_text_of(ev);
    if (!text_of(ev, c, &s)) {
        return false;
    }
    struct str text = {s->p, s->n};
    for (size_t at = 0; at < s->n;) {
        size_t n, end = at;
        bool is_gap = starts_word(jinja_decode(text, at, &n));
        size_t first = n;
        while (end < s->n && starts_word(jinja_decode(text, end, &n)) == is_gap) {
            end += n;
        }
        if (!jinja_add_cased(ev, &t, s, at, at + first, JINJA_CASE_UPPER) ||
            !jinja_add_cased(ev, &t, s, at + first, end, JINJA_CASE_LOWER) ||
            !jinja_spend(ev, 1 + s->n_spans / 8)) {
            return false;
        }
        at = end;
    }
    return jinja_text_end(&t, out);
}

static bool filter_trim(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    const struct jinja_string *s;
    if (!text_of(ev, c, &s)) {
        return false;
    }
    if (is_given(c->arg[0]) && c->arg[0].kind != JINJA_STRING) {
        return jinja_fail(ev, "trim needs a string, not %s", jinja_type_name(c->arg[0]));
    }
    return jinja_strip(ev, s, is_given(c->arg[0]) ? c->arg[0].u.string : NULL, 3, out);
}

static bool filter_replace(struct jinja_eval *ev, const struct jinja_call *c,
                           struct jinja_value *out)
{
    const struct jinja_string *s;
    struct jinja_value old, new_text;
    int64_t count = -1;
    if (!text_of(ev, c, &s) || !jinja_to_string(ev, c->arg[0], &old) ||
        !jinja_to_string(ev, c->arg[1], &new_text)) {
        return false;
    }
    if (is_given(c->arg[2])) {
        if (!jinja_is_whole(c->arg[2])) {
            return jinja_fail(ev, "replace needs an integer, not %s", jinja_type_name(c->arg[2]));
        }
        count = jinja_whole(c->arg[2]);
    }
    struct jinja_string plain = *s;
    plain.is_markup = false;
    return jinja_replace(ev, &plain, old.u.string, new_text.u.string, count, out);
}

static bool filter_string(struct jinja_eval *ev, const struct jinja_call *c,
                          struct jinja_value *out)
{
    return jinja_to_string(ev, c->self, out);
}

static bool filter_safe(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    const struct jinja_string *s;
    struct jinja_text t = jinja_text_of(ev);
    t.is_markup = true;
    return text_of(ev, c, &s) && jinja_text_add_string(&t, s) && jinja_text_end(&t, out);
}

static bool filter_escape(struct jinja_eval *ev, const struct jinja_call *c,
                          struct jinja_value *out)
{
    return jinja_escape(ev, c->self, out);
}

/* Escapes what was marked safe, too. */
static bool filter_forceescape(struct jinja_eval *ev, const struct jinja_call *c,
                               struct jinja_value *out)
{
    const struct jinja_string *s;
    if (!text_of(ev, c, &s)) {
        return false;
    }
    struct jinja_string plain = *s;
    plain.is_markup = false;
    return jinja_escape(ev, (struct jinja_value){.kind = JINJA_STRING, .u.string = &plain}, out);
}

/* --- indent */

static bool indent_lines(struct jinja_eval *ev, struct jinja_text *t, const struct jinja_string *s,
                         const struct jinja_string *indent, bool blank)
{
    struct str text = {s->p, s->n};
    size_t end, next;
    bool first = true;
    for (size_t at = 0; jinja_next_line(text, at, &end, &next); at = next, first = false) {
        /* the lines are joined again with "\n", whatever ended them */
        if (!first && !jinja_text_add(t, STR("\n"), jinja_origin_of(s, at - 1, at))) {
            return false;
        }
        if ((!first && (blank || end > at) && !jinja_text_add_string(t, indent)) ||
            !jinja_text_add_part(t, s, at, end) || !jinja_spend(ev, 1 + s->n_spans / 8)) {
            return false;
        }
    }
    return jinja_spend_bytes(ev, s->n);
}

static bool filter_indent(struct jinja_eval *ev, const struct jinja_call *c,
                          struct jinja_value *out)
{
    struct jinja_value indent = c->arg[0], space, newline, s;
    if (c->self.kind != JINJA_STRING) {
        return c->self.kind == JINJA_UNDEFINED
                   ? jinja_fail_undefined(ev, c->self)
                   : jinja_fail(ev, "indent needs a string, not %s", jinja_type_name(c->self));
    }
    if (c->self.u.string->is_markup) {
        return jinja_refuse(ev, "indent of safe text");
    }
    if (indent.kind == JINJA_MISSING) {
        indent = jinja_int(4, JINJA_TEMPLATE);
    }
    if (indent.kind != JINJA_STRING && (!jinja_make_string(ev, STR(" "), JINJA_TEMPLATE, &space) ||
                                        !jinja_binary(ev, JINJA_OP_MUL, space, indent, &indent))) {
        return false;
    }
    if (indent.kind != JINJA_STRING) {
        return jinja_fail(ev, "indent needs a width, not %s", jinja_type_name(c->arg[0]));
    }
    struct jinja_text t = jinja_text_of(ev);
    return jinja_make_string(ev, STR("\n"), jinja_value_origin(c->self), &newline) &&
           jinja_binary(ev, JINJA_OP_ADD, c->self, newline, &s) &&
           (!jinja_truth(c->arg[1]) || jinja_text_add_string(&t, indent.u.string)) &&
           indent_lines(ev, &t, s.u.string, indent.u.string, jinja_truth(c->arg[2])) &&
           jinja_text_end(&t, out);
}

static bool filter_wordcount(struct jinja_eval *ev, const struct jinja_call *c,
                             struct jinja_value *out)
{
    const struct jinja_string *s;
    int64_t n_words = 0;
    bool in_word = false;
    if (!text_of(ev, c, &s)) {
        return false;
    }
    for (size_t at = 0, n; at < s->n; at += n) {
        uint32_t code_point = jinja_decode((struct str){s->p, s->n}, at, &n);
        bool is_word = code_point == '_' || (jinja_unicode_flags(code_point) &
                                             (JINJA_ALPHA | JINJA_DECIMAL | JINJA_NUMERIC)) != 0;
        n_words += is_word && !in_word;
        in_word = is_word;
    }
    *out = jinja_int(n_words, jinja_origin_of(s, 0, s->n));
    return jinja_spend_bytes(ev, s->n);
}

/* "..."|format(a, b) and "..."|format(name=a) */
static bool filter_format(struct jinja_eval *ev, const struct jinja_call *c,
                          struct jinja_value *out)
{
    struct jinja_value format, values;
    if (c->args->n > 0 && c->args->named.n > 0) {
        return jinja_fail(ev, "format takes values by place or by name, not both");
    }
    if (!jinja_to_string(ev, c->self, &format) ||
        !jinja_make_tuple(ev, c->args->items, c->args->n, &values)) {
        return false;
    }
    if (c->args->named.n > 0) {
        if (!jinja_dict_create(&ev->arena, &values, ev->e)) {
            return false;
        }
        *values.u.dict = c->args->named;
    }
    return jinja_format_percent(ev, format, values, out);
}

/* --- join */

static bool filter_join(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value separator = c->arg[0], items;
    struct jinja_text t = jinja_text_of(ev);
    if (separator.kind == JINJA_MISSING &&
        !jinja_make_string(ev, STR(""), JINJA_TEMPLATE, &separator)) {
        return false;
    }
    if (!jinja_collect(ev, c->self, &items) || !jinja_to_string(ev, separator, &separator)) {
        return false;
    }
    for (size_t i = 0; i < items.u.list->n; i++) {
        struct jinja_value item = items.u.list->items[i];
        if ((is_given(c->arg[1]) && !jinja_get_path(ev, item, c->arg[1], &item)) ||
            (i > 0 && !jinja_text_add_string(&t, separator.u.string)) ||
            !jinja_print(ev, &t, item)) {
            return false;
        }
    }
    return jinja_text_end(&t, out);
}

const struct jinja_callee jinja_text_filters[] = {
    {"capitalize", "", 0, filter_capitalize},
    {"e", "", 0, filter_escape},
    {"escape", "", 0, filter_escape},
    {"forceescape", "", 0, filter_forceescape},
    {"format", "*", 0, filter_format},
    {"indent", "width,first,blank", 0, filter_indent},
    {"join", "d,attribute", 0, filter_join},
    {"lower", "", 0, filter_lower},
    {"replace", "old,new,count", 2, filter_replace},
    {"safe", "", 0, filter_safe},
    {"string", "", 0, filter_string},
    {"title", "", 0, filter_title},
    {"tojson", "ensure_ascii,indent,separators,sort_keys", 0, jinja_filter_tojson},
    {"trim", "chars", 0, filter_trim},
    {"upper", "", 0, filter_upper},
    {"wordcount", "", 0, filter_wordcount},
    {NULL, NULL, 0, NULL},
};
