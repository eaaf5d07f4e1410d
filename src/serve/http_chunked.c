/* http_chunked.c - a state machine over the bytes of a chunked body. */
#include "serve/http_chunked.h"

enum { MAX_LINE = 256, MAX_TRAILER = 4096 };

static bool refuse(struct http_problem *problem, enum api_error_kind kind, const char *text)
{
    *problem = (struct http_problem){.kind = kind, .text = text};
    return false;
}

static bool refuse_size(struct http_problem *problem, const struct buf *body)
{
    *problem = (struct http_problem){API_ERROR_BODY_TOO_LARGE, "the body is too large", body->max,
                                     "bytes"};
    return false;
}

static bool is_text(char c)
{
    return ((unsigned char)c >= 0x20 && c != 0x7F) || c == '\t';
}

/* CR LF, a byte at a time. *out_ended after the LF; false for bytes that make no line end. */
static bool feed_line_end(struct http_chunked *c, char byte, bool *out_ended)
{
    *out_ended = c->after_cr && byte == '\n';
    if (c->after_cr) {
        c->after_cr = false;
        return byte == '\n';
    }
    c->after_cr = byte == '\r';
    return c->after_cr;
}

static bool begin_chunk(struct http_chunked *c, const struct buf *body,
                        struct http_problem *problem)
{
    if (!c->has_digit) {
        return refuse(problem, API_ERROR_BAD_HTTP, "a chunk without a size");
    }
    if (c->left > body->max - body->n) {
        return refuse_size(problem, body);
    }
    c->state = c->left > 0 ? HTTP_CHUNK_DATA : HTTP_CHUNK_TRAILER;
    c->n_line = 0;
    c->has_digit = c->in_extension = false;
    return true;
}

static bool feed_size(struct http_chunked *c, char byte, const struct buf *body,
                      struct http_problem *problem)
{
    int digit = str_hex_digit(byte);
    if (++c->n_line > MAX_LINE) {
        return refuse(problem, API_ERROR_BAD_HTTP, "the line of a chunk's size is too long");
    }
    if (!c->in_extension && !c->after_cr && digit >= 0) {
        if (c->left > SIZE_MAX >> 4) {
            return refuse_size(problem, body);
        }
        c->left = c->left << 4 | (size_t)digit;
        c->has_digit = true;
        return true;
    }
    if (!c->after_cr && c->has_digit && (byte == ';' || (c->in_extension && is_text(byte)))) {
        c->in_extension = true;
        return true;
    }
    bool ended;
    if (!feed_line_end(c, byte, &ended)) {
        return refuse(problem, API_ERROR_BAD_HTTP, "the size of a chunk is malformed");
    }
    return !ended || begin_chunk(c, body, problem);
}

static bool feed_trailer(struct http_chunked *c, char byte, struct http_problem *problem)
{
    if (++c->n_trailer > MAX_TRAILER) {
        return refuse(problem, API_ERROR_HEAD_TOO_LARGE, "the trailer fields are too large");
    }
    if (!c->after_cr && is_text(byte)) {
        c->n_line++;
        return true;
    }
    bool ended;
    if (!feed_line_end(c, byte, &ended)) {
        return refuse(problem, API_ERROR_BAD_HTTP, "the trailer of a chunked body is malformed");
    }
    if (ended) {
        c->state = c->n_line == 0 ? HTTP_CHUNK_DONE : HTTP_CHUNK_TRAILER;
        c->n_line = 0;
    }
    return true;
}

static bool feed_data_end(struct http_chunked *c, char byte, struct http_problem *problem)
{
    bool ended;
    if (!feed_line_end(c, byte, &ended)) {
        return refuse(problem, API_ERROR_BAD_HTTP, "a chunk is not as long as its size");
    }
    c->state = ended ? HTTP_CHUNK_SIZE : HTTP_CHUNK_DATA_END;
    return true;
}

static bool feed_data(struct http_chunked *c, struct str *in, struct buf *body,
                      struct http_problem *problem)
{
    size_t n = in->n < c->left ? in->n : c->left;
    if (!buf_append(body, (struct str){in->p, n}, NULL)) {
        return refuse(problem, API_ERROR_OVERLOADED, "no memory for the body");
    }
    *in = str_skip(*in, n);
    c->left -= n;
    c->state = c->left > 0 ? HTTP_CHUNK_DATA : HTTP_CHUNK_DATA_END;
    return true;
}

bool http_chunked_feed(struct http_chunked *c, struct str *in, struct buf *body,
                       struct http_problem *problem)
{
    while (in->n > 0 && c->state != HTTP_CHUNK_DONE) {
        if (c->state == HTTP_CHUNK_DATA) {
            if (!feed_data(c, in, body, problem)) {
                return false;
            }
            continue;
        }
        char byte = in->p[0];
        bool ok = c->state == HTTP_CHUNK_SIZE      ? feed_size(c, byte, body, problem)
                  : c->state == HTTP_CHUNK_TRAILER ? feed_trailer(c, byte, problem)
                                                   : feed_data_end(c, byte, problem);
        if (!ok) {
            return false;
        }
        *in = str_skip(*in, 1);
    }
    return true;
}
