/* jinja_format.c - "..." % values and "...".format(values), as Python has them. A value keeps its
 * origin; padding has that of the format. */
#include "chat/jinja_eval.h"

#include "chat/jinja_unicode.h"

#include <math.h>
#include <stdio.h>

enum { MAX_WIDTH = 1000, NUMBER_BYTES = 1600 };

/* What a directive asks for. */
struct spec {
    uint32_t fill; /* 0 when none is given */
    char align;    /* '<' '>' '^' '=', 0 when none is given */
    char sign;     /* '+', ' ' or 0 */
    char grouping; /* ',' '_' or 0 */
    char type;     /* 0 when none is given */
    bool alternate, zero;
    int64_t width, precision; /* precision -1 when none is given */
};

struct formatter {
    struct jinja_eval *ev;
    struct jinja_text t;
    const struct jinja_string *s; /* the format */
    size_t at;
    enum jinja_origin origin; /* of the directive at hand */
    const struct jinja_args *args;
    int64_t next_arg; /* -1 once arguments were numbered */
};

static bool bad(struct formatter *f)
{
    return jinja_fail(f->ev, "a malformed format string");
}

static char peek(const struct formatter *f)
{
    return f->at < f->s->n ? f->s->p[f->at] : '\0';
}

static bool skip(struct formatter *f, char c)
{
    bool found = f->at < f->s->n && f->s->p[f->at] == c;
    f->at += found;
    return found;
}

/* Digits at the place; *out stays when there are none. */
static bool read_number(struct formatter *f, int64_t *out)
{
    int64_t value = 0;
    bool found = false;
    for (; peek(f) >= '0' && peek(f) <= '9'; f->at++) {
        value = value * 10 + (peek(f) - '0');
        found = true;
        if (value > MAX_WIDTH) {
            return jinja_refuse(f->ev, "a format of more than %d characters", MAX_WIDTH);
        }
    }
    *out = found ? value : *out;
    return true;
}

/* --- numbers as text */

static bool print_whole(struct formatter *f, const struct spec *spec, int64_t value, char *out)
{
    uint64_t size = value < 0 ? -(uint64_t)value : (uint64_t)value;
    char digits[80];
    size_t n = 0;
    unsigned base = spec->type == 'x' || spec->type == 'X' ? 16
                    : spec->type == 'o'                    ? 8
                    : spec->type == 'b'                    ? 2
                                                           : 10;
    do {
        digits[n++] = (spec->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[size % base];
        size /= base;
    } while (size > 0);
    if (spec->precision > (int64_t)sizeof digits) {
        return jinja_refuse(f->ev, "a format of more than %zu digits", sizeof digits);
    }
    while ((int64_t)n < spec->precision) {
        digits[n++] = '0';
    }
    if (spec->alternate && base != 10) {
        *out++ = '0';
        *out++ = spec->type;
    }
    while (n > 0) {
        *out++ = digits[--n];
    }
    *out = '\0';
    return true;
}

/* The absolute value; the sign is put before it later. */
static bool print_real(struct formatter *f, const struct spec *spec, double value, char *out)
{
    int precision = spec->precision < 0 ? 6 : (int)spec->precision;
    bool is_percent = spec->type == '%';
    value = fabs(value) * (is_percent ? 100 : 1);
    if (spec->alternate || precision > 300) {
        return jinja_refuse(f->ev, "a format of a float with '#' or more than 300 digits");
    }
    switch (spec->type) {
    case 'e':
        snprintf(out, NUMBER_BYTES, "%.*e", precision, value);
        break;
    case 'E':
        snprintf(out, NUMBER_BYTES, "%.*E", precision, value);
        break;
    case 'g':
        snprintf(out, NUMBER_BYTES, "%.*g", precision, value);
        break;
    case 'G':
        snprintf(out, NUMBER_BYTES, "%.*G", precision, value);
        break;
    case 'F':
        snprintf(out, NUMBER_BYTES, "%.*F", precision, value);
        break;
    default:
        snprintf(out, NUMBER_BYTES, "%.*f", precision, value);
    }
    if (is_percent) {
        size_t n = strlen(out);
        out[n] = '%';
        out[n + 1] = '\0';
    }
    return true;
}

/* Separators between groups of three of the digits before the point. */
static void group_digits(char *text, char separator)
{
    size_t n = strspn(text, "0123456789"), rest = strlen(text + n) + 1;
    for (size_t i = n; i > 3; i -= 3) {
        memmove(text + i - 2, text + i - 3, n - i + 3 + rest);
        text[i - 3] = separator;
        n++;
    }
}

/* --- padding */

static bool put_fill(struct formatter *f, uint32_t fill, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (!jinja_text_add_char(&f->t, fill, f->origin)) {
            return false;
        }
    }
    return true;
}

static bool put_padded(struct formatter *f, const struct spec *spec, struct jinja_value text,
                       char default_align)
{
    int64_t missing = spec->width - (int64_t)text.u.string->n_chars;
    char align = spec->align != 0 ? spec->align : default_align;
    int64_t left = missing <= 0 ? 0 : align == '>' ? missing : align == '^' ? missing / 2 : 0;
    uint32_t fill = spec->fill != 0 ? spec->fill : ' ';
    return put_fill(f, fill, left) && jinja_text_add_string(&f->t, text.u.string) &&
           put_fill(f, fill, missing - left);
}

/* A sign, zeros or fill, digits. */
static bool put_number(struct formatter *f, const struct spec *spec, struct jinja_value number,
                       char *digits)
{
    bool is_negative = number.kind == JINJA_FLOAT
                           ? signbit(number.u.real) && number.u.real == number.u.real
                           : jinja_whole(number) < 0;
    char sign[2] = {is_negative ? '-' : spec->sign, '\0'};
    struct jinja_text whole = jinja_text_of(f->ev);
    struct jinja_value text;
    if (spec->grouping != 0) {
        group_digits(digits, spec->grouping);
    }
    size_t n = strlen(digits) + strlen(sign);
    bool inside = spec->align == '=' || (spec->zero && spec->align == 0);
    uint32_t fill = spec->fill != 0 ? spec->fill : spec->zero ? '0' : ' ';
    bool has_prefix = spec->alternate && digits[0] == '0' && digits[1] == spec->type;
    if (inside && ((int64_t)n < spec->width && (spec->grouping != 0 || has_prefix))) {
        return jinja_refuse(f->ev, "a format with both zeros and groups or a prefix");
    }
    if (!jinja_text_add(&whole, str_from(sign), number.origin)) {
        return false;
    }
    for (int64_t i = (int64_t)n; inside && i < spec->width; i++) {
        if (!jinja_text_add_char(&whole, fill, f->origin)) {
            return false;
        }
    }
    return jinja_text_add(&whole, str_from(digits), number.origin) &&
           jinja_text_end(&whole, &text) && put_padded(f, spec, text, '>');
}

static bool put_string(struct formatter *f, const struct spec *spec, struct jinja_value text)
{
    const struct jinja_string *s = text.u.string;
    if (spec->precision >= 0 && (size_t)spec->precision < s->n_chars &&
        !jinja_substring(&f->ev->arena, s, 0, jinja_byte_of_char(s, (size_t)spec->precision), &text,
                         f->ev->e)) {
        return false;
    }
    return put_padded(f, spec, text, '<');
}

/* --- % */

static bool percent_real(struct formatter *f, struct spec *spec, struct jinja_value v)
{
    char digits[NUMBER_BYTES];
    if (!jinja_is_number(v)) {
        return jinja_fail(f->ev, "'%%%c' needs a number, not %s", spec->type, jinja_type_name(v));
    }
    double value = jinja_to_double(v);
    spec->zero &= isfinite(value) != 0;
    return print_real(f, spec, value, digits) &&
           put_number(f, spec, jinja_float(value, v.origin), digits);
}

static bool percent_whole(struct formatter *f, const struct spec *given, struct jinja_value v)
{
    struct spec spec = *given;
    char digits[NUMBER_BYTES];
    bool is_decimal = strchr("diu", spec.type) != NULL;
    if (v.kind == JINJA_FLOAT && is_decimal) {
        int64_t value;
        if (!jinja_truncate(f->ev, v.u.real, &value)) {
            return false;
        }
        v = jinja_int(value, v.origin);
    }
    if (!jinja_is_whole(v)) {
        return jinja_fail(f->ev, "'%%%c' needs an integer, not %s", spec.type, jinja_type_name(v));
    }
    if (is_decimal) {
        spec.type = 'd';
    }
    return print_whole(f, &spec, jinja_whole(v), digits) && put_number(f, &spec, v, digits);
}

static bool percent_value(struct formatter *f, struct spec *spec, struct jinja_value v)
{
    struct jinja_text t = jinja_text_of(f->ev);
    struct jinja_value text;
    switch (spec->type) {
    case 's':
        return jinja_to_string(f->ev, v, &text) && put_string(f, spec, text);
    case 'r':
        return jinja_repr(f->ev, &t, v) && jinja_text_end(&t, &text) && put_string(f, spec, text);
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
        return percent_whole(f, spec, v);
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
        return percent_real(f, spec, v);
    case 'a':
    case 'c':
        return jinja_refuse(f->ev, "the format '%%%c'", spec->type);
    default:
        return bad(f);
    }
}

/* What the % operator has on its right: values in order, or a dict by name. */
struct percent_values {
    struct jinja_value all;
    struct jinja_value *items; /* (n) */
    size_t n, used;
};

static bool next_value(struct formatter *f, struct percent_values *values, struct jinja_value *out)
{
    if (values->used >= values->n) {
        return jinja_fail(f->ev, "not enough values for the format string");
    }
    *out = values->items[values->used++];
    return true;
}

/* A width or precision: digits, or '*' for the next value. */
static bool read_size(struct formatter *f, struct percent_values *values, int64_t *out)
{
    struct jinja_value v = jinja_none();
    if (!skip(f, '*')) {
        return read_number(f, out);
    }
    if (!next_value(f, values, &v)) {
        return false;
    }
    if (v.kind != JINJA_INT || v.u.integer < 0 || v.u.integer > MAX_WIDTH) {
        return jinja_refuse(f->ev, "a format's '*' that is no integer up to %d", MAX_WIDTH);
    }
    *out = v.u.integer;
    return true;
}

static bool named_value(struct formatter *f, struct percent_values *values, struct jinja_value *out)
{
    size_t from = f->at, depth = 1;
    for (; f->at < f->s->n && depth > 0; f->at++) {
        depth += f->s->p[f->at] == '(';
        depth -= f->s->p[f->at] == ')';
    }
    if (depth > 0) {
        return bad(f);
    }
    if (values->all.kind != JINJA_DICT) {
        return jinja_fail(f->ev, "a format with names needs a dict");
    }
    struct str name = {f->s->p + from, f->at - 1 - from};
    const struct jinja_entry *entry = jinja_dict_find_str(values->all.u.dict, name);
    if (entry == NULL) {
        return jinja_fail(f->ev, "the format's '%.*s' is not in the dict",
                          STR_ARG(str_shown(name)));
    }
    *out = entry->value;
    values->used = values->n;
    return true;
}

static bool percent_directive(struct formatter *f, struct percent_values *values)
{
    struct spec spec = {.precision = -1};
    struct jinja_value v = {.kind = JINJA_MISSING};
    if (skip(f, '(') && !named_value(f, values, &v)) {
        return false;
    }
    bool minus = false, space = false;
    for (; peek(f) != '\0' && strchr("-+ #0", peek(f)) != NULL; f->at++) {
        minus |= peek(f) == '-';
        space |= peek(f) == ' ';
        spec.alternate |= peek(f) == '#';
        spec.zero |= peek(f) == '0';
        spec.sign = peek(f) == '+' ? '+' : spec.sign;
    }
    spec.sign = spec.sign == 0 && space ? ' ' : spec.sign;
    if (!read_size(f, values, &spec.width)) {
        return false;
    }
    if (skip(f, '.')) {
        spec.precision = 0;
        if (!read_size(f, values, &spec.precision)) {
            return false;
        }
    }
    if (strchr("hlL", peek(f)) != NULL && peek(f) != '\0') {
        f->at++;
    }
    spec.type = peek(f);
    f->at++;
    if (spec.type == '%') {
        return jinja_text_add(&f->t, STR("%"), f->origin);
    }
    bool is_text = strchr("sra", spec.type) != NULL;
    spec.align = minus ? '<' : is_text ? '>' : 0;
    if (v.kind == JINJA_MISSING && !next_value(f, values, &v)) {
        return false;
    }
    return percent_value(f, &spec, v);
}

bool jinja_format_percent(struct jinja_eval *ev, struct jinja_value format,
                          struct jinja_value arguments, struct jinja_value *out)
{
    struct formatter f = {.ev = ev, .t = jinja_text_of(ev), .s = format.u.string};
    struct percent_values values = {.all = arguments, .items = &arguments, .n = 1};
    if (f.s->is_markup) {
        return jinja_refuse(ev, "formatting safe text");
    }
    if (arguments.kind == JINJA_TUPLE) {
        values.items = arguments.u.list->items;
        values.n = arguments.u.list->n;
    }
    while (f.at < f.s->n) {
        const char *next = memchr(f.s->p + f.at, '%', f.s->n - f.at);
        size_t end = next != NULL ? (size_t)(next - f.s->p) : f.s->n;
        if (!jinja_spend(ev, 1) || !jinja_text_add_part(&f.t, f.s, f.at, end)) {
            return false;
        }
        f.at = end;
        if (next != NULL) {
            f.origin = jinja_origin_of(f.s, end, end + 1);
            f.at++;
            if (!percent_directive(&f, &values)) {
                return false;
            }
        }
    }
    bool is_mapping = arguments.kind == JINJA_DICT || arguments.kind == JINJA_LIST ||
                      arguments.kind == JINJA_UNDEFINED || arguments.kind == JINJA_RANGE;
    if (values.used < values.n && !is_mapping) {
        return jinja_fail(ev, "not all values are used by the format string");
    }
    return jinja_text_end(&f.t, out);
}

/* --- format() */

static bool is_align(char c)
{
    return c == '<' || c == '>' || c == '^' || c == '=';
}

static bool read_spec(struct formatter *f, struct spec *spec)
{
    struct str text = {f->s->p, f->s->n};
    size_t n = 0;
    if (f->at < f->s->n) {
        uint32_t c = jinja_decode(text, f->at, &n);
        if (f->at + n < f->s->n && is_align(f->s->p[f->at + n])) {
            spec->fill = c;
            spec->align = f->s->p[f->at + n];
            f->at += n + 1;
        } else if (is_align(peek(f))) {
            spec->align = peek(f);
            f->at++;
        }
    }
    if (peek(f) == '+' || peek(f) == ' ' || peek(f) == '-') {
        spec->sign = peek(f) == '-' ? 0 : peek(f);
        f->at++;
    }
    spec->alternate = skip(f, '#');
    spec->zero = skip(f, '0');
    if (!read_number(f, &spec->width)) {
        return false;
    }
    if (peek(f) == ',' || peek(f) == '_') {
        spec->grouping = peek(f);
        f->at++;
    }
    if (skip(f, '.')) {
        size_t from = f->at;
        if (!read_number(f, &spec->precision) || from == f->at) {
            return from == f->at ? bad(f) : false;
        }
    }
    if (peek(f) != '}' && peek(f) != '\0') {
        spec->type = peek(f);
        f->at++;
    }
    return peek(f) == '}' || bad(f);
}

static bool format_number(struct formatter *f, const struct spec *spec, struct jinja_value v)
{
    char digits[NUMBER_BYTES];
    bool is_whole = jinja_is_whole(v) && (spec->type == 0 || strchr("dxXob", spec->type) != NULL);
    bool is_real = spec->type != 0 && strchr("eEfFgG%", spec->type) != NULL;
    if (is_whole && spec->precision < 0 &&
        !(spec->grouping == ',' && strchr("xXob", spec->type) != NULL && spec->type != 0) &&
        !(spec->grouping == '_' && spec->type != 0 && spec->type != 'd')) {
        return print_whole(f, spec, jinja_whole(v), digits) && put_number(f, spec, v, digits);
    }
    if (is_real) {
        double value = jinja_to_double(v);
        return print_real(f, spec, value, digits) &&
               put_number(f, spec, jinja_float(value, v.origin), digits);
    }
    if (v.kind == JINJA_FLOAT && spec->type == 0 && spec->precision < 0) {
        digits[jinja_print_float(fabs(v.u.real), digits)] = '\0';
        return put_number(f, spec, v, digits);
    }
    return jinja_refuse(f->ev, "this format of %s", jinja_type_name(v));
}

static bool format_value(struct formatter *f, const struct spec *spec, bool is_plain,
                         struct jinja_value v)
{
    struct jinja_value text;
    if (is_plain) {
        return jinja_print(f->ev, &f->t, v);
    }
    if (jinja_is_number(v)) {
        return format_number(f, spec, v);
    }
    if (v.kind != JINJA_STRING) {
        return jinja_fail(f->ev, "%s takes no format", jinja_type_name(v));
    }
    bool fits = (spec->type == 0 || spec->type == 's') && spec->sign == 0 && !spec->alternate &&
                spec->grouping == 0 && spec->align != '=';
    if (!fits || (spec->zero && spec->align == 0)) {
        return jinja_refuse(f->ev, "this format of a string");
    }
    struct spec with_fill = *spec;
    with_fill.fill = spec->fill == 0 && spec->zero ? '0' : spec->fill;
    text = v;
    return put_string(f, &with_fill, text);
}

static bool is_digits(struct str s)
{
    size_t i = 0;
    while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9') {
        i++;
    }
    return i == s.n && s.n > 0;
}

/* "", "0" or "name" at the start of a field. */
static bool field_start(struct formatter *f, struct jinja_value *out)
{
    size_t from = f->at;
    while (f->at < f->s->n && strchr(".[!:}", f->s->p[f->at]) == NULL) {
        f->at++;
    }
    struct str name = {f->s->p + from, f->at - from};
    bool is_number = is_digits(name);
    if (name.n > 0 && !is_number) {
        const struct jinja_entry *entry = jinja_dict_find_str(&f->args->named, name);
        if (entry != NULL) {
            *out = entry->value;
        }
        return entry != NULL ||
               jinja_fail(f->ev, "format: no argument '%.*s'", STR_ARG(str_shown(name)));
    }
    int64_t index = 0;
    if (is_number ? f->next_arg > 0 : f->next_arg < 0) {
        return jinja_fail(f->ev, "format: numbered and unnumbered fields");
    }
    if (is_number) {
        f->at = from;
        f->next_arg = -1;
        if (!read_number(f, &index)) {
            return false;
        }
    } else {
        index = f->next_arg++;
    }
    if ((size_t)index >= f->args->n) {
        return jinja_fail(f->ev, "format: no argument %lld", (long long)index);
    }
    *out = f->args->items[index];
    return true;
}

/* ".attribute" and "[item]" after it. */
static bool field_path(struct formatter *f, struct jinja_value *v)
{
    while (peek(f) == '.' || peek(f) == '[') {
        bool is_item = f->s->p[f->at++] == '[';
        size_t from = f->at;
        while (f->at < f->s->n && strchr(is_item ? "]" : ".[!:}", f->s->p[f->at]) == NULL) {
            f->at++;
        }
        struct str name = {f->s->p + from, f->at - from};
        struct jinja_value key;
        if (name.n == 0 || (is_item && !skip(f, ']'))) {
            return bad(f);
        }
        bool is_index = is_item && is_digits(name) && name.n < 18;
        if (is_index) {
            key = jinja_int(0, JINJA_TEMPLATE);
            for (size_t i = 0; i < name.n; i++) {
                key.u.integer = key.u.integer * 10 + (name.p[i] - '0');
            }
        } else if (!jinja_make_string(f->ev, name, JINJA_TEMPLATE, &key)) {
            return false;
        }
        if (is_item ? !jinja_get_item(f->ev, *v, key, v)
                    : !jinja_get_attribute(f->ev, *v, key, v)) {
            return false;
        }
    }
    return true;
}

static bool braces_field(struct formatter *f)
{
    struct jinja_value v;
    struct spec spec = {.precision = -1};
    if (!field_start(f, &v) || !field_path(f, &v)) {
        return false;
    }
    if (skip(f, '!')) {
        char conversion = peek(f);
        f->at++;
        struct jinja_text t = jinja_text_of(f->ev);
        if (conversion != 's' && conversion != 'r') {
            return conversion == 'a' ? jinja_refuse(f->ev, "the conversion '!a'") : bad(f);
        }
        if (!(conversion == 's' ? jinja_print(f->ev, &t, v) : jinja_repr(f->ev, &t, v)) ||
            !jinja_text_end(&t, &v)) {
            return false;
        }
    }
    bool is_plain = !skip(f, ':') || peek(f) == '}';
    if (!is_plain && memchr(f->s->p + f->at, '{', f->s->n - f->at) != NULL) {
        size_t end = jinja_find_bytes((struct str){f->s->p, f->s->n}, STR("}"), f->at);
        if (memchr(f->s->p + f->at, '{', (end == SIZE_MAX ? f->s->n : end) - f->at) != NULL) {
            return jinja_refuse(f->ev, "a format with fields in it");
        }
    }
    if (!is_plain && !read_spec(f, &spec)) {
        return false;
    }
    return (skip(f, '}') || bad(f)) && format_value(f, &spec, is_plain, v);
}

bool jinja_format_braces(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct formatter f = {.ev = ev, .t = jinja_text_of(ev), .s = c->self.u.string, .args = c->args};
    while (f.at < f.s->n) {
        size_t end = f.at;
        while (end < f.s->n && f.s->p[end] != '{' && f.s->p[end] != '}') {
            end++;
        }
        if (!jinja_spend(ev, 1) || !jinja_text_add_part(&f.t, f.s, f.at, end)) {
            return false;
        }
        if (end == f.s->n) {
            break;
        }
        f.origin = jinja_origin_of(f.s, end, end + 1);
        f.at = end + 1;
        if (skip(&f, f.s->p[end])) { /* "{{" or "}}" */
            if (!jinja_text_add_part(&f.t, f.s, end, end + 1)) {
                return false;
            }
        } else if (f.s->p[end] == '}' || !braces_field(&f)) {
            return f.s->p[end] == '}' ? bad(&f) : false;
        }
    }
    return jinja_text_end(&f.t, out);
}
