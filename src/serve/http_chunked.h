/* http_chunked.h - bodies of the transfer coding "chunked" (RFC 9112, section 7.1), piece by piece.
 * Extensions and trailer fields are read and dropped. Pure: no sockets. */
#ifndef SERVE_HTTP_CHUNKED_H
#define SERVE_HTTP_CHUNKED_H

#include "base/buf.h"
#include "serve/http_head.h"

enum http_chunked_state {
    HTTP_CHUNK_SIZE, /* within the line of a size */
    HTTP_CHUNK_DATA,
    HTTP_CHUNK_DATA_END, /* CR LF after the data */
    HTTP_CHUNK_TRAILER,
    HTTP_CHUNK_DONE
};

/* Zero before the first piece. */
struct http_chunked {
    enum http_chunked_state state;
    size_t left;       /* of the chunk's data */
    size_t n_line;     /* bytes of the line being read */
    size_t n_trailer;  /* bytes of all trailer fields */
    bool has_digit;    /* of a size */
    bool in_extension; /* of a size's line */
    bool after_cr;
};

/* Takes bytes of *in, until it is empty or the body is complete (state HTTP_CHUNK_DONE), and
 * appends the data to body. False with *problem set: 400 for malformed bytes, 413 beyond body->max,
 * 503 when memory runs out. */
bool http_chunked_feed(struct http_chunked *c, struct str *in, struct buf *body,
                       struct http_problem *problem);

#endif
