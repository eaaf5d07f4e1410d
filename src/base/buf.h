/* buf.h - a growable byte buffer born with a maximum. One owner, no locking. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/error.h"
#include "base/str.h"

/* data[0..n) are the bytes; capacity grows by doubling and never passes max. */
struct buf {
    char *data;
    size_t n;
    size_t capacity;
    size_t max;
    bool is_full; /* something was not appended for max, and not for lack of memory */
};

/* Empty buffer; allocates nothing yet. */
void buf_init(struct buf *b, size_t max_bytes);
void buf_finish(struct buf *b);

/* Appends; ERROR_MEMORY beyond max or when memory runs out, with *b unchanged. */
bool buf_append(struct buf *b, struct str s, struct error *e);
bool buf_append_byte(struct buf *b, char c, struct error *e);
bool buf_printf(struct buf *b, struct error *e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Makes room for n more bytes without changing b->n. */
bool buf_reserve(struct buf *b, size_t n_more, struct error *e);

/* Removes the first n bytes. */
void buf_consume(struct buf *b, size_t n);

static inline void buf_clear(struct buf *b)
{
    b->n = 0;
}

static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->data, b->n};
}

#endif
