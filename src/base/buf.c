/* buf.c - growable byte buffer with a maximum. */
#include "base/buf.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

enum { FIRST_CAPACITY = 64 };

void buf_init(struct buf *b, size_t max_bytes)
{
    *b = (struct buf){.max = max_bytes};
}

void buf_finish(struct buf *b)
{
    mem_free(b->data);
    *b = (struct buf){.max = b->max};
}

bool buf_reserve(struct buf *b, size_t n_more, struct error *e)
{
    if (n_more > b->max || b->n > b->max - n_more) {
        b->is_full = true;
        return error_set(e, ERROR_MEMORY,
                         "buffer of at most %zu bytes would need %zu more than its %zu", b->max,
                         n_more, b->n);
    }
    size_t needed = b->n + n_more;
    if (needed <= b->capacity) {
        return true;
    }
    size_t first = FIRST_CAPACITY < b->max ? FIRST_CAPACITY : b->max;
    size_t capacity = b->capacity > 0 ? b->capacity : first;
    while (capacity < needed) {
        capacity = capacity > b->max / 2 ? b->max : capacity * 2;
    }
    char *data = mem_resize(b->data, capacity, 1, "buffer", e);
    if (data == NULL) {
        return false;
    }
    b->data = data;
    b->capacity = capacity;
    return true;
}

bool buf_append(struct buf *b, struct str s, struct error *e)
{
    if (!buf_reserve(b, s.n, e)) {
        return false;
    }
    if (s.n > 0) {
        memcpy(b->data + b->n, s.p, s.n);
        b->n += s.n;
    }
    return true;
}

bool buf_append_byte(struct buf *b, char c, struct error *e)
{
    return buf_append(b, (struct str){&c, 1}, e);
}

bool buf_printf(struct buf *b, struct error *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    bool ok = n >= 0 && buf_reserve(b, (size_t)n + 1, e);
    if (ok) {
        vsnprintf(b->data + b->n, (size_t)n + 1, format, again);
        b->n += (size_t)n;
    } else if (n < 0) {
        error_set(e, ERROR_INTERNAL, "format '%s' cannot be printed", format);
    }
    va_end(again);
    return ok;
}

void buf_consume(struct buf *b, size_t n)
{
    if (n > 0) { /* else data may be NULL, which memmove() must not be given */
        memmove(b->data, b->data + n, b->n - n);
        b->n -= n;
    }
}
