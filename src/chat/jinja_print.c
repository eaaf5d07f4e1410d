/* jinja_print.c - values as Python's str() and repr() write them. What stands round a container's
 * items (brackets, quotes, commas) is of origin JINJA_DATA: the template did not write it. */
#include "chat/jinja_eval.h"

#include "chat/jinja_unicode.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* --- floats */

/* The decimal digits of a number; returns how many. */
static size_t digits_of(unsigned long long number, char digits[32])
{
    return (size_t)snprintf(digits, 32, "%llu", number);
}

/* The fewest digits that read back as v >= 0: at most 17. Returns how many; the exponent of the
 * first. Beside the nearest number of so many digits the next larger one is tried: above a power
 * of two more numbers read back as it than below, so the nearest one may not, where that one
 * does. */
static size_t shortest_digits(double v, char digits[32], int *exponent)
{
    for (int precision = 0;; precision++) {
        char text[48], larger[48];
        snprintf(text, sizeof text, "%.*e", precision, v);
        const char *e = strchr(text, 'e');
        unsigned long long number = (unsigned long long)(text[0] - '0');
        for (const char *p = text + 2; p < e; p++) {
            number = number * 10 + (unsigned long long)(*p - '0');
        }
        *exponent = (int)strtol(e + 1, NULL, 10);
        if (precision == 16 || strtod(text, NULL) == v) {
            return digits_of(number, digits);
        }
        snprintf(larger, sizeof larger, "%llue%d", number + 1, *exponent - precision);
        if (strtod(larger, NULL) == v) {
            size_t n = digits_of(number + 1, digits);
            *exponent += n > (size_t)precision + 1;
            while (n > 1 && digits[n - 1] == '0') {
                n--;
            }
            return n;
        }
    }
}

size_t jinja_print_float(double v, char out[JINJA_FLOAT_BYTES])
{
    if (v != v || isinf(v)) {
        return (size_t)snprintf(out, JINJA_FLOAT_BYTES, "%s",
                                v != v  ? "nan"
                                : v > 0 ? "inf"
                                        : "-inf");
    }
    char digits[32];
    int exponent;
    size_t n = shortest_digits(fabs(v), digits, &exponent), at = 0;
    if (signbit(v)) {
        out[at++] = '-';
    }
    if (exponent < -4 || exponent >= 16) {
        out[at++] = digits[0];
        if (n > 1) {
            out[at++] = '.';
            memcpy(out + at, digits + 1, n - 1);
            at += n - 1;
        }
        return at + (size_t)snprintf(out + at, JINJA_FLOAT_BYTES - at, "e%c%02d",
                                     exponent < 0 ? '-' : '+', abs(exponent));
    }
    if (exponent < 0) {
        out[at++] = '0';
        out[at++] = '.';
        for (int i = -1; i > exponent; i--) {
            out[at++] = '0';
        }
        memcpy(out + at, digits, n);
        return at + n;
    }
    for (size_t i = 0; i < n || i <= (size_t)exponent + 1; i++) {
        if (i == (size_t)exponent + 1) {
            out[at++] = '.';
        }
        out[at++] = i < n ? digits[i] : '0';
    }
    return at;
}

/* --- repr */

static bool repr_char(struct jinja_text *t, uint32_t c, char quote, enum jinja_origin origin)
{
    char text[16];
    const char *named = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : NULL;
    if (named != NULL) {
        return jinja_text_add(t, str_from(named), origin);
    }
    if (c == '\\' || c == (unsigned char)quote) {
        snprintf(text, sizeof text, "\\%c", (char)c);
        return jinja_text_add(t, str_from(text), origin);
    }
    if (c != ' ' && (jinja_unicode_flags(c) & JINJA_PRINTABLE) == 0) {
        snprintf(text, sizeof text, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
        return jinja_text_add(t, str_from(text), origin);
    }
    return jinja_text_add_char(t, c, origin);
}

static bool repr_string(struct jinja_eval *ev, struct jinja_text *t, const struct jinja_string *s)
{
    struct str text = {s->p, s->n};
    bool has_single = memchr(text.p, '\'', text.n) != NULL;
    char quote = has_single && memchr(text.p, '"', text.n) == NULL ? '"' : '\'';
    if ((s->is_markup && !jinja_text_add(t, STR("Markup("), JINJA_DATA)) ||
        !jinja_text_add_char(t, (unsigned char)quote, JINJA_DATA)) {
        return false;
    }
    size_t at = 0;
    for (size_t i = 0; i < s->n_spans; i++) {
        for (size_t end = at + s->spans[i].n_bytes, n; at < end; at += n) {
            uint32_t c = jinja_decode(text, at, &n);
            if (!repr_char(t, c, quote, s->spans[i].origin)) {
                return false;
            }
        }
    }
    return jinja_text_add_char(t, (unsigned char)quote, JINJA_DATA) &&
           (!s->is_markup || jinja_text_add(t, STR(")"), JINJA_DATA)) &&
           jinja_spend_bytes(ev, s->n);
}

static bool repr_list(struct jinja_eval *ev, struct jinja_text *t, const struct jinja_list *list,
                      bool is_tuple)
{
    if (!jinja_text_add(t, is_tuple ? STR("(") : STR("["), JINJA_DATA)) {
        return false;
    }
    for (size_t i = 0; i < list->n; i++) {
        if ((i > 0 && !jinja_text_add(t, STR(", "), JINJA_DATA)) ||
            !jinja_repr(ev, t, list->items[i])) {
            return false;
        }
    }
    return jinja_text_add(t,
                          !is_tuple      ? STR("]")
                          : list->n == 1 ? STR(",)")
                                         : STR(")"),
                          JINJA_DATA);
}

static bool repr_dict(struct jinja_eval *ev, struct jinja_text *t, const struct jinja_dict *d)
{
    if (!jinja_text_add(t, STR("{"), JINJA_DATA)) {
        return false;
    }
    for (size_t i = 0; i < d->n; i++) {
        if ((i > 0 && !jinja_text_add(t, STR(", "), JINJA_DATA)) ||
            !jinja_repr(ev, t, d->entries[i].key) || !jinja_text_add(t, STR(": "), JINJA_DATA) ||
            !jinja_repr(ev, t, d->entries[i].value)) {
            return false;
        }
    }
    return jinja_text_add(t, STR("}"), JINJA_DATA);
}

static bool repr_view(struct jinja_eval *ev, struct jinja_text *t, const struct jinja_view *view)
{
    static const char *const names[] = {"dict_keys(", "dict_values(", "dict_items("};
    struct jinja_value list, whole = {.kind = JINJA_VIEW, .u.view = view};
    return jinja_collect(ev, whole, &list) &&
           jinja_text_add(t, str_from(names[view->kind]), JINJA_DATA) &&
           repr_list(ev, t, list.u.list, false) && jinja_text_add(t, STR(")"), JINJA_DATA);
}

static bool add_number(struct jinja_text *t, struct jinja_value v)
{
    char text[JINJA_FLOAT_BYTES];
    size_t n;
    if (v.kind == JINJA_BOOL) {
        return jinja_text_add(t, v.u.boolean ? STR("True") : STR("False"), v.origin);
    }
    if (v.kind == JINJA_INT) {
        n = (size_t)snprintf(text, sizeof text, "%lld", (long long)v.u.integer);
    } else {
        n = jinja_print_float(v.u.real, text);
    }
    return jinja_text_add(t, (struct str){text, n}, v.origin);
}

static bool repr_range(struct jinja_text *t, const struct jinja_range *r)
{
    char text[96];
    int n = r->step == 1 ? snprintf(text, sizeof text, "range(%lld, %lld)", (long long)r->start,
                                    (long long)r->stop)
                         : snprintf(text, sizeof text, "range(%lld, %lld, %lld)",
                                    (long long)r->start, (long long)r->stop, (long long)r->step);
    return jinja_text_add(t, (struct str){text, (size_t)n}, JINJA_DATA);
}

static bool repr_macro(struct jinja_eval *ev, struct jinja_text *t,
                       const struct jinja_macro_node *macro)
{
    struct jinja_value name;
    if (macro->name == NULL) {
        return jinja_text_add(t, STR("<Macro anonymous>"), JINJA_DATA);
    }
    return jinja_make_string(ev, *macro->name, JINJA_DATA, &name) &&
           jinja_text_add(t, STR("<Macro "), JINJA_DATA) && repr_string(ev, t, name.u.string) &&
           jinja_text_add(t, STR(">"), JINJA_DATA);
}

static bool repr_loop(struct jinja_eval *ev, struct jinja_text *t, struct jinja_loop *loop)
{
    char text[64];
    struct jinja_value length;
    if (!jinja_loop_attribute(ev, loop, STR("length"), &length)) {
        return false;
    }
    int n = snprintf(text, sizeof text, "<LoopContext %lld/%lld>", (long long)loop->index0 + 1,
                     (long long)length.u.integer);
    return jinja_text_add(t, (struct str){text, (size_t)n}, JINJA_DATA);
}

static bool repr_other(struct jinja_eval *ev, struct jinja_text *t, struct jinja_value v)
{
    switch (v.kind) {
    case JINJA_UNDEFINED:
        return jinja_text_add(t, STR("Undefined"), JINJA_DATA);
    case JINJA_NONE:
        return jinja_text_add(t, STR("None"), v.origin);
    case JINJA_RANGE:
        return repr_range(t, v.u.range);
    case JINJA_VIEW:
        return repr_view(ev, t, v.u.view);
    case JINJA_NAMESPACE:
        return jinja_text_add(t, STR("<Namespace "), JINJA_DATA) && repr_dict(ev, t, v.u.dict) &&
               jinja_text_add(t, STR(">"), JINJA_DATA);
    case JINJA_MACRO:
        return repr_macro(ev, t, v.u.macro->node);
    case JINJA_LOOP:
        return repr_loop(ev, t, v.u.loop);
    default:
        return jinja_refuse(ev, "printing a %s", jinja_type_name(v));
    }
}

bool jinja_repr(struct jinja_eval *ev, struct jinja_text *t, struct jinja_value v)
{
    if (!jinja_spend(ev, 1) || !jinja_descend(ev)) {
        return false;
    }
    bool ok;
    switch (v.kind) {
    case JINJA_STRING:
        ok = repr_string(ev, t, v.u.string);
        break;
    case JINJA_BOOL:
    case JINJA_INT:
    case JINJA_FLOAT:
        ok = add_number(t, v);
        break;
    case JINJA_LIST:
    case JINJA_TUPLE:
        ok = repr_list(ev, t, v.u.list, v.kind == JINJA_TUPLE);
        break;
    case JINJA_DICT:
        ok = repr_dict(ev, t, v.u.dict);
        break;
    default:
        ok = repr_other(ev, t, v);
    }
    ev->depth--;
    return ok;
}

bool jinja_print(struct jinja_eval *ev, struct jinja_text *t, struct jinja_value v)
{
    if (v.kind == JINJA_STRING) {
        return jinja_text_add_string(t, v.u.string) && jinja_spend_bytes(ev, v.u.string->n);
    }
    return v.kind == JINJA_UNDEFINED || jinja_repr(ev, t, v);
}

bool jinja_to_string(struct jinja_eval *ev, struct jinja_value v, struct jinja_value *out)
{
    if (v.kind == JINJA_STRING) {
        *out = v;
        return true;
    }
    struct jinja_text t = jinja_text_of(ev);
    return jinja_print(ev, &t, v) && jinja_text_end(&t, out);
}
