/* stop.c - stop strings in streamed text. What is held is shorter than the longest stop string plus
 * a piece, so looking at all of it for every piece costs little. */
#include "serve/stop.h"

enum { MAX_HELD_BYTES = 2 << 20 };

void stop_init(struct stop *s, const struct str *strings, size_t n_strings)
{
    *s = (struct stop){.strings = strings, .n_strings = n_strings};
    buf_init(&s->held, MAX_HELD_BYTES);
}

void stop_finish(struct stop *s)
{
    buf_finish(&s->held);
    *s = (struct stop){0};
}

/* Where `wanted` begins in text the first time; text.n when it does not. */
static size_t find(struct str text, struct str wanted)
{
    for (size_t at = 0; at + wanted.n <= text.n; at++) {
        if (str_starts_with(str_skip(text, at), wanted)) {
            return at;
        }
    }
    return text.n;
}

/* Bytes in front of the stop string that is complete first; text.n + 1 when there is none. */
static size_t first_stop(const struct stop *s, struct str text)
{
    size_t begin = text.n + 1, end = text.n + 1;
    for (size_t i = 0; i < s->n_strings; i++) {
        size_t at = find(text, s->strings[i]);
        size_t last = at + s->strings[i].n;
        if (at < text.n && (last < end || (last == end && at < begin))) {
            begin = at;
            end = last;
        }
    }
    return begin;
}

/* Where the longest end of text lies that begins a stop string; text.n when there is none. */
static size_t possible_stop(const struct stop *s, struct str text)
{
    for (size_t at = text.n > STOP_MAX_BYTES ? text.n - STOP_MAX_BYTES : 0; at < text.n; at++) {
        struct str rest = str_skip(text, at);
        for (size_t i = 0; i < s->n_strings; i++) {
            if (rest.n < s->strings[i].n && str_starts_with(s->strings[i], rest)) {
                return at;
            }
        }
    }
    return text.n;
}

bool stop_push(struct stop *s, struct str piece, struct buf *out, struct error *e)
{
    if (s->found) {
        return true;
    }
    if (!buf_append(&s->held, piece, e)) {
        return false;
    }
    struct str text = buf_str(&s->held);
    size_t n = first_stop(s, text);
    bool found = n <= text.n;
    n = found ? n : possible_stop(s, text);
    if (!buf_append(out, (struct str){text.p, n}, e)) {
        return false;
    }
    s->found = found;
    buf_consume(&s->held, found ? text.n : n);
    return true;
}

bool stop_flush(struct stop *s, struct buf *out, struct error *e)
{
    if (!buf_append(out, buf_str(&s->held), e)) {
        return false;
    }
    buf_clear(&s->held);
    return true;
}
