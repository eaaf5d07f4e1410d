/* stop.h - finds stop strings in text that arrives in pieces, and holds back what may begin one.
 *
 * The answer ends before the stop string that is complete first (of several that end at the same
 * byte, before the one that begins first); how the text was cut into pieces does not matter. Text
 * is UTF-8 in whole code points, and so is what comes out. One owner, no locking. */
#ifndef SERVE_STOP_H
#define SERVE_STOP_H

#include "base/buf.h"

enum { STOP_MAX_STRINGS = 16, STOP_MAX_BYTES = 1024 };

struct stop {
    const struct str *strings; /* (n_strings) borrowed, none empty, each at most STOP_MAX_BYTES */
    size_t n_strings;
    struct buf held;
    bool found;
};

/* needs   n_strings <= STOP_MAX_STRINGS */
void stop_init(struct stop *s, const struct str *strings, size_t n_strings);
void stop_finish(struct stop *s);

/* Takes the next piece and appends to *out what can no longer be part of a stop string. Once one
 * was found nothing comes out any more. ERROR_MEMORY leaves *out as it was. */
bool stop_push(struct stop *s, struct str piece, struct buf *out, struct error *e);

/* The text has ended without one: appends what was held back. */
bool stop_flush(struct stop *s, struct buf *out, struct error *e);

#endif
