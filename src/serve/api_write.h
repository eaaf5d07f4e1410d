/* api_write.h - JSON text into a buffer, piece by piece, without a tree and without allocation
 * beyond the buffer's own.
 *
 * A writer remembers its first failure and does nothing after it, so a caller writes a whole object
 * and looks at the end; on failure the buffer is then as it was before. Internal to serve/api_*. */
#ifndef SERVE_API_WRITE_H
#define SERVE_API_WRITE_H

#include "base/buf.h"

#include <stdint.h>

struct api_writer {
    struct buf *out;
    struct error *e;
    size_t n_before;
    bool ok;
};

void api_writer_init(struct api_writer *w, struct buf *out, struct error *e);

/* True when everything was written; else the buffer has its old length. */
bool api_writer_end(struct api_writer *w);

/* JSON that is spelled out in the source. */
void api_write_raw(struct api_writer *w, const char *json);

/* A string in quotes. Control characters, U+2028 and U+2029 are escaped; bytes that are no UTF-8
 * come out as U+FFFD, one for each maximal ill-formed part. */
void api_write_text(struct api_writer *w, struct str s);
void api_write_text_or_null(struct api_writer *w, const char *text);

/* The inside of a string, which the caller puts in quotes: a part of a longer one. */
void api_write_escaped(struct api_writer *w, struct str s);

void api_write_int(struct api_writer *w, int64_t value);
void api_write_bool(struct api_writer *w, bool value);

/* The fewest digits that give the same number when read back. Not finite: ERROR_INTERNAL. */
void api_write_float(struct api_writer *w, float value);
void api_write_double(struct api_writer *w, double value);

/* [1,2,3]: the bytes as numbers. */
void api_write_byte_list(struct api_writer *w, struct str bytes);

/* Base64 (RFC 4648), without quotes; parts of whole groups of 3 bytes may follow each other. */
void api_write_base64(struct api_writer *w, const uint8_t *bytes, size_t n_bytes);

#endif
