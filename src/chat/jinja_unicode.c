/* jinja_unicode.c - classes and cases of characters; the tables lie in jinja_unicode_table.c. */
#include "chat/jinja_unicode.h"

bool jinja_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

static const struct jinja_case_special *find_special(const struct jinja_case_table *t, uint32_t c)
{
    size_t low = 0, high = t->n_specials;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (t->specials[middle].from < c) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < t->n_specials && t->specials[low].from == c ? &t->specials[low] : NULL;
}

size_t jinja_case_map(const struct jinja_case_table *t, uint32_t c, uint32_t out[JINJA_CASE_MOST])
{
    const struct jinja_case_special *special = find_special(t, c);
    if (special != NULL) {
        memcpy(out, special->to, sizeof special->to);
        return out[2] != 0 ? 3 : 2;
    }
    size_t low = 0, high = t->n_runs;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (t->runs[middle].last < c) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    out[0] = c;
    if (low < t->n_runs) {
        const struct jinja_case_run *run = &t->runs[low];
        if (c >= run->first && (c - run->first) % run->step == 0) {
            out[0] = c + (uint32_t)run->delta;
        }
    }
    return 1;
}

uint32_t jinja_decode(struct str s, size_t at, size_t *n_bytes)
{
    uint32_t c = 0xfffd;
    size_t n = str_decode_utf8(str_skip(s, at), &c);
    *n_bytes = n > 0 ? n : 1;
    return c;
}

uint32_t jinja_decode_before(struct str s, size_t at, size_t *n_bytes)
{
    size_t start = at - 1;
    while (start > 0 && ((unsigned char)s.p[start] & 0xc0) == 0x80) {
        start--;
    }
    size_t n;
    uint32_t c = jinja_decode(s, start, &n);
    *n_bytes = at - start;
    return c;
}

size_t jinja_count_chars(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    }
    return n;
}

size_t jinja_skip_space(struct str s, size_t at)
{
    while (at < s.n) {
        size_t n;
        if (!jinja_is_space(jinja_decode(s, at, &n))) {
            break;
        }
        at += n;
    }
    return at;
}

struct str jinja_strip_end(struct str s)
{
    while (s.n > 0) {
        size_t n;
        if (!jinja_is_space(jinja_decode_before(s, s.n, &n))) {
            break;
        }
        s.n -= n;
    }
    return s;
}
