/* jinja_text.c - operations on text. */
#include "chat/jinja_text.h"

#include "chat/jinja_unicode.h"

/* --- case */

/* Python's rule for a capital sigma in lower(): the final form when a cased letter comes before it
 * and none after, characters that case ignores left aside. */
static uint32_t lower_sigma(struct str s, size_t at, size_t n_bytes)
{
    unsigned flags = JINJA_IGNORABLE;
    size_t n, before = at, after = at + n_bytes;
    while (before > 0 && (flags & JINJA_IGNORABLE) != 0) {
        flags = jinja_unicode_flags(jinja_decode_before(s, before, &n));
        before -= n;
    }
    bool is_final = (flags & JINJA_IGNORABLE) == 0 && (flags & JINJA_CASED) != 0;
    flags = JINJA_IGNORABLE;
    while (is_final && after < s.n && (flags & JINJA_IGNORABLE) != 0) {
        flags = jinja_unicode_flags(jinja_decode(s, after, &n));
        after += n;
    }
    is_final = is_final && ((flags & JINJA_IGNORABLE) != 0 || (flags & JINJA_CASED) == 0);
    return is_final ? 0x3c2 : 0x3c3;
}

static bool add_mapped(struct jinja_text *t, const struct jinja_case_table *table, uint32_t c,
                       enum jinja_origin origin)
{
    uint32_t mapped[JINJA_CASE_MOST];
    size_t n = jinja_case_map(table, c, mapped);
    for (size_t i = 0; i < n; i++) {
        if (!jinja_text_add_char(t, mapped[i], origin)) {
            return false;
        }
    }
    return true;
}

bool jinja_add_cased(struct jinja_eval *ev, struct jinja_text *t, const struct jinja_string *s,
                     size_t from, size_t to, enum jinja_case which)
{
    struct str text = {s->p, to};
    size_t span_end = 0, span = 0;
    for (size_t at = from, n; at < to; at += n) {
        uint32_t c = jinja_decode(text, at, &n);
        while (span < s->n_spans && span_end + s->spans[span].n_bytes <= at) {
            span_end += s->spans[span++].n_bytes;
        }
        enum jinja_origin origin = s->spans[span].origin;
        bool is_upper = (jinja_unicode_flags(c) & JINJA_UPPER) != 0;
        bool lowers = which == JINJA_CASE_LOWER || (which == JINJA_CASE_CAPITALIZE && at > from) ||
                      (which == JINJA_CASE_SWAP && is_upper);
        bool is_plain =
            which == JINJA_CASE_SWAP && !is_upper && (jinja_unicode_flags(c) & JINJA_LOWER) == 0;
        if (lowers && c == 0x3a3) {
            struct str within = {s->p + from, to - from};
            c = lower_sigma(within, at - from, n);
            is_plain = true;
        }
        const struct jinja_case_table *table = lowers                           ? &jinja_lower
                                               : which == JINJA_CASE_CAPITALIZE ? &jinja_title
                                                                                : &jinja_upper;
        if (is_plain ? !jinja_text_add_char(t, c, origin) : !add_mapped(t, table, c, origin)) {
            return false;
        }
    }
    return jinja_spend_bytes(ev, 4 * (to - from));
}

bool jinja_is_cased(struct str s, bool upper)
{
    unsigned wanted = upper ? JINJA_UPPER : JINJA_LOWER;
    bool found = false;
    for (size_t at = 0, n; at < s.n; at += n) {
        unsigned flags = jinja_unicode_flags(jinja_decode(s, at, &n)) & JINJA_CASED;
        if (flags != 0 && (flags & wanted) == 0) {
            return false;
        }
        found |= flags != 0;
    }
    return found;
}

/* --- ends */

static bool strips(uint32_t c, const char *at, size_t n, const struct jinja_string *chars)
{
    if (chars == NULL) {
        return jinja_is_space(c);
    }
    struct str set = {chars->p, chars->n};
    return jinja_find_bytes(set, (struct str){at, n}, 0) != SIZE_MAX;
}

bool jinja_strip(struct jinja_eval *ev, const struct jinja_string *s,
                 const struct jinja_string *chars, int sides, struct jinja_value *out)
{
    struct str text = {s->p, s->n};
    size_t from = 0, to = s->n, n;
    if (!jinja_spend_bytes(ev, s->n) || (chars != NULL && !jinja_spend(ev, s->n / 64 * chars->n))) {
        return false;
    }
    while ((sides & 1) != 0 && from < to) {
        uint32_t c = jinja_decode(text, from, &n);
        if (!strips(c, s->p + from, n, chars)) {
            break;
        }
        from += n;
    }
    while ((sides & 2) != 0 && from < to) {
        uint32_t c = jinja_decode_before(text, to, &n);
        if (!strips(c, s->p + to - n, n, chars)) {
            break;
        }
        to -= n;
    }
    return jinja_substring(&ev->arena, s, from, to, out, ev->e);
}

/* --- replacing */

static bool add_replacement(struct jinja_text *t, const struct jinja_string *s, size_t from,
                            size_t to, const struct jinja_string *new_text)
{
    if (jinja_origin_of(s, from, to) == JINJA_DATA) {
        return jinja_text_add(t, (struct str){new_text->p, new_text->n}, JINJA_DATA);
    }
    return jinja_text_add_string(t, new_text);
}

/* The empty text is found before every character and at the end. */
static bool replace_empty(struct jinja_eval *ev, struct jinja_text *t, const struct jinja_string *s,
                          const struct jinja_string *new_text, int64_t count)
{
    struct str text = {s->p, s->n};
    size_t n = 0;
    for (size_t at = 0;; at += n) {
        if (count != 0 && !add_replacement(t, s, at > 0 ? at - 1 : 0, at + (at < s->n), new_text)) {
            return false;
        }
        count -= count > 0;
        if (at == s->n) {
            return true;
        }
        jinja_decode(text, at, &n);
        if (!jinja_text_add_part(t, s, at, at + n) || !jinja_spend(ev, 1 + s->n_spans / 8)) {
            return false;
        }
    }
}

bool jinja_replace(struct jinja_eval *ev, const struct jinja_string *s,
                   const struct jinja_string *old, const struct jinja_string *new_text,
                   int64_t count, struct jinja_value *out)
{
    struct jinja_text t = jinja_text_of(ev);
    t.is_markup = s->is_markup;
    if (old->n == 0) {
        return replace_empty(ev, &t, s, new_text, count) && jinja_text_end(&t, out);
    }
    struct str text = {s->p, s->n}, needle = {old->p, old->n};
    size_t at = 0;
    while (count != 0) {
        size_t found = jinja_find_bytes(text, needle, at);
        if (found == SIZE_MAX) {
            break;
        }
        if (!jinja_spend(ev, 1 + s->n_spans / 8) || !jinja_text_add_part(&t, s, at, found) ||
            !add_replacement(&t, s, found, found + old->n, new_text)) {
            return false;
        }
        at = found + old->n;
        count -= count > 0;
    }
    return jinja_spend_bytes(ev, s->n) && jinja_text_add_part(&t, s, at, s->n) &&
           jinja_text_end(&t, out);
}

/* --- lines and HTML */

static bool ends_line(uint32_t c)
{
    return (c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
}

bool jinja_next_line(struct str s, size_t at, size_t *end, size_t *next)
{
    if (at >= s.n) {
        return false;
    }
    for (size_t n; at < s.n; at += n) {
        uint32_t c = jinja_decode(s, at, &n);
        if (ends_line(c)) {
            *end = at;
            *next = at + n + (c == '\r' && at + 1 < s.n && s.p[at + 1] == '\n');
            return true;
        }
    }
    *end = *next = s.n;
    return true;
}

bool jinja_escape(struct jinja_eval *ev, struct jinja_value v, struct jinja_value *out)
{
    struct jinja_value s;
    if (!jinja_to_string(ev, v, &s)) {
        return false;
    }
    if (s.u.string->is_markup) {
        *out = s;
        return true;
    }
    const struct jinja_string *from = s.u.string;
    struct jinja_text t = jinja_text_of(ev);
    t.is_markup = true;
    size_t at = 0;
    for (size_t i = 0; i < from->n_spans; i++) {
        for (size_t end = at + from->spans[i].n_bytes; at < end; at++) {
            char c = from->p[at];
            struct str text = c == '&'    ? STR("&amp;")
                              : c == '<'  ? STR("&lt;")
                              : c == '>'  ? STR("&gt;")
                              : c == '\'' ? STR("&#39;")
                              : c == '"'  ? STR("&#34;")
                                          : (struct str){from->p + at, 1};
            if (!jinja_text_add(&t, text, from->spans[i].origin)) {
                return false;
            }
        }
    }
    return jinja_spend_bytes(ev, from->n) && jinja_text_end(&t, out);
}
