/* jinja_json.c - the filter tojson as transformers has it: Python's json.dumps with the keywords
 * ensure_ascii (off unless asked for), indent, separators and sort_keys. What json.dumps writes
 * round the strings is of origin JINJA_DATA. A dict that has a spelling of its own keeps it. */
#include "chat/jinja_eval.h"

#include "chat/jinja_unicode.h"

#include <math.h>
#include <stdio.h>

struct dump {
    struct jinja_eval *ev;
    struct jinja_text t;
    bool ascii, is_indented, sorts;
    bool is_usual;             /* nothing of how it is written was asked for */
    struct jinja_value indent; /* a string, when is_indented */
    struct jinja_value item_separator, key_separator;
    size_t level;
};

static bool dump_value(struct dump *d, struct jinja_value v);

static bool put(struct dump *d, struct str text)
{
    return jinja_text_add(&d->t, text, JINJA_DATA);
}

static bool put_string(struct dump *d, struct jinja_value s)
{
    return jinja_text_add_string(&d->t, s.u.string);
}

/* --- strings */

static bool dump_char(struct dump *d, uint32_t c, enum jinja_origin origin)
{
    static const char letters[] = "\"\\\b\f\n\r\t";
    static const char escapes[] = "\"\\bfnrt";
    const char *letter = c > 0 && c < 0x80 ? strchr(letters, (int)c) : NULL;
    char text[16];
    if (letter != NULL) {
        snprintf(text, sizeof text, "\\%c", escapes[letter - letters]);
        return jinja_text_add(&d->t, str_from(text), origin);
    }
    if (c >= 0x20 && (!d->ascii || c < 0x7f)) {
        return jinja_text_add_char(&d->t, c, origin);
    }
    if (c >= 0x10000) {
        snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
                 0xdc00 + ((c - 0x10000) & 0x3ff));
    } else {
        snprintf(text, sizeof text, "\\u%04x", c);
    }
    return jinja_text_add(&d->t, str_from(text), origin);
}

static bool dump_string(struct dump *d, const struct jinja_string *s)
{
    struct str text = {s->p, s->n};
    size_t at = 0;
    bool ok = put(d, STR("\"")) && jinja_spend_bytes(d->ev, s->n);
    for (size_t i = 0; ok && i < s->n_spans; i++) {
        for (size_t end = at + s->spans[i].n_bytes, n; ok && at < end; at += n) {
            uint32_t c = jinja_decode(text, at, &n);
            ok = dump_char(d, c, s->spans[i].origin);
        }
    }
    return ok && put(d, STR("\""));
}

/* --- numbers */

static bool dump_number(struct dump *d, struct jinja_value v)
{
    char text[JINJA_FLOAT_BYTES];
    if (v.kind == JINJA_BOOL) {
        return put(d, v.u.boolean ? STR("true") : STR("false"));
    }
    if (v.kind == JINJA_INT) {
        int n = snprintf(text, sizeof text, "%lld", (long long)v.u.integer);
        return put(d, (struct str){text, (size_t)n});
    }
    if (v.u.real != v.u.real || isinf(v.u.real)) {
        return put(d, v.u.real != v.u.real ? STR("NaN")
                      : v.u.real > 0       ? STR("Infinity")
                                           : STR("-Infinity"));
    }
    return put(d, (struct str){text, jinja_print_float(v.u.real, text)});
}

/* --- containers */

static bool new_line(struct dump *d)
{
    bool ok = !d->is_indented || put(d, STR("\n"));
    for (size_t i = 0; ok && d->is_indented && i < d->level; i++) {
        ok = put_string(d, d->indent);
    }
    return ok && jinja_spend(d->ev, 1 + (d->is_indented ? d->level : 0));
}

static bool dump_list(struct dump *d, const struct jinja_list *list)
{
    if (list->n == 0) {
        return put(d, STR("[]"));
    }
    bool ok = put(d, STR("["));
    d->level++;
    for (size_t i = 0; ok && i < list->n; i++) {
        ok = (i == 0 || put_string(d, d->item_separator)) && new_line(d) &&
             dump_value(d, list->items[i]);
    }
    d->level--;
    return ok && new_line(d) && put(d, STR("]"));
}

static bool dump_key(struct dump *d, struct jinja_value key)
{
    if (key.kind == JINJA_STRING) {
        return dump_string(d, key.u.string);
    }
    if (key.kind == JINJA_NONE) {
        return put(d, STR("\"null\""));
    }
    if (!jinja_is_number(key)) {
        return jinja_fail(d->ev, "tojson: a key of a JSON object cannot be %s",
                          jinja_type_name(key));
    }
    return put(d, STR("\"")) && dump_number(d, key) && put(d, STR("\""));
}

/* Places of the entries in the order of their keys. */
static bool sorted_entries(struct dump *d, const struct jinja_dict *dict, struct jinja_value *out)
{
    struct jinja_value keys;
    if (!jinja_make_list(d->ev, &keys) || !jinja_make_list(d->ev, out)) {
        return false;
    }
    for (size_t i = 0; i < dict->n; i++) {
        if (!jinja_push(d->ev, keys, dict->entries[i].key) ||
            !jinja_push(d->ev, *out, jinja_int((int64_t)i, JINJA_TEMPLATE))) {
            return false;
        }
    }
    return !d->sorts || jinja_sort(d->ev, out->u.list->items, keys.u.list->items, dict->n, false);
}

static bool dump_dict(struct dump *d, const struct jinja_dict *dict)
{
    struct jinja_value places;
    if (dict->json != NULL && d->is_usual) {
        return jinja_spend_bytes(d->ev, dict->json->n) && jinja_text_add_string(&d->t, dict->json);
    }
    if (dict->n == 0) {
        return put(d, STR("{}"));
    }
    bool ok = sorted_entries(d, dict, &places) && put(d, STR("{"));
    d->level++;
    for (size_t i = 0; ok && i < dict->n; i++) {
        const struct jinja_entry *entry = &dict->entries[places.u.list->items[i].u.integer];
        ok = (i == 0 || put_string(d, d->item_separator)) && new_line(d) &&
             dump_key(d, entry->key) && put_string(d, d->key_separator) &&
             dump_value(d, entry->value);
    }
    d->level--;
    return ok && new_line(d) && put(d, STR("}"));
}

static bool dump_value(struct dump *d, struct jinja_value v)
{
    if (!jinja_spend(d->ev, 1) || !jinja_descend(d->ev)) {
        return false;
    }
    bool ok;
    switch (v.kind) {
    case JINJA_NONE:
        ok = put(d, STR("null"));
        break;
    case JINJA_BOOL:
    case JINJA_INT:
    case JINJA_FLOAT:
        ok = dump_number(d, v);
        break;
    case JINJA_STRING:
        ok = dump_string(d, v.u.string);
        break;
    case JINJA_LIST:
    case JINJA_TUPLE:
        ok = dump_list(d, v.u.list);
        break;
    case JINJA_DICT:
        ok = dump_dict(d, v.u.dict);
        break;
    default:
        ok = jinja_fail(d->ev, "tojson: %s has no JSON form", jinja_type_name(v));
    }
    d->ev->depth--;
    return ok;
}

/* --- keywords */

static bool read_indent(struct dump *d, struct jinja_value v)
{
    d->is_indented = v.kind != JINJA_MISSING && v.kind != JINJA_NONE;
    if (!d->is_indented || v.kind == JINJA_STRING) {
        d->indent = v;
        return true;
    }
    if (!jinja_is_whole(v)) {
        return jinja_fail(d->ev, "tojson: indent cannot be %s", jinja_type_name(v));
    }
    struct jinja_value space;
    return jinja_make_string(d->ev, STR(" "), JINJA_DATA, &space) &&
           jinja_binary(d->ev, JINJA_OP_MUL, space, v, &d->indent);
}

static bool read_separators(struct dump *d, struct jinja_value v)
{
    if (v.kind == JINJA_MISSING || v.kind == JINJA_NONE) {
        return jinja_make_string(d->ev, d->is_indented ? STR(",") : STR(", "), JINJA_DATA,
                                 &d->item_separator) &&
               jinja_make_string(d->ev, STR(": "), JINJA_DATA, &d->key_separator);
    }
    bool is_pair = (v.kind == JINJA_LIST || v.kind == JINJA_TUPLE) && v.u.list->n == 2 &&
                   v.u.list->items[0].kind == JINJA_STRING &&
                   v.u.list->items[1].kind == JINJA_STRING;
    if (!is_pair) {
        return jinja_fail(d->ev, "tojson: separators are two strings");
    }
    d->item_separator = v.u.list->items[0];
    d->key_separator = v.u.list->items[1];
    return true;
}

bool jinja_filter_tojson(struct jinja_eval *ev, const struct jinja_call *c, struct jinja_value *out)
{
    struct dump d = {.ev = ev,
                     .t = jinja_text_of(ev),
                     .ascii = jinja_truth(c->arg[0]),
                     .sorts = jinja_truth(c->arg[3])};
    d.is_usual =
        !d.ascii && !d.sorts && c->arg[1].kind == JINJA_MISSING && c->arg[2].kind == JINJA_MISSING;
    return read_indent(&d, c->arg[1]) && read_separators(&d, c->arg[2]) &&
           dump_value(&d, c->self) && jinja_text_end(&d.t, out);
}
