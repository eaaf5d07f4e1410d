/* base64.h - bytes as text (RFC 4648). Threads: everything here is pure. */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/buf.h"

enum base64_form {
    BASE64_PADDED, /* section 4: + and /, with = at the end */
    BASE64_URL     /* section 5: - and _, without */
};

/* Appends n_bytes as text. ERROR_MEMORY, with *out unchanged. */
bool base64_append(const void *bytes, size_t n_bytes, enum base64_form form, struct buf *out,
                   struct error *e);

/* Whether it is what base64_append() writes of one byte or more in BASE64_URL. */
bool base64_is_url(struct str text);

/* Byte i of a text that is, or of "", and -1 behind it. */
int base64_url_byte(struct str text, size_t i);

/* Appends the bytes of a text that is. ERROR_MEMORY, with *out unchanged. */
bool base64_decode_url(struct str text, struct buf *out, struct error *e);

#endif
