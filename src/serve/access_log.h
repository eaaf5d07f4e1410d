/* access_log.h - the line that the server's log has for every exchange: who asked for what, what
 * came of it, how long it took. Nothing of what was said: no prompt, no answer, no query, and no
 * secret. Pure functions. */
#ifndef SERVE_ACCESS_LOG_H
#define SERVE_ACCESS_LOG_H

#include "base/buf.h"

#include <stdint.h>

enum access_log_form { ACCESS_LOG_TEXT, ACCESS_LOG_JSON };

/* A line is shorter than PIPE_BUF, which a pipe takes whole or not at all. */
enum { ACCESS_LOG_BYTES = 4096 };

struct access_entry {
    int64_t time_ms;         /* since 1970, UTC */
    struct str method, path; /* as the client sent them: any bytes, or empty */
    const char *peer, *id;
    const char *key; /* the id of it; NULL: the request came without one that counts */
    int status;
    uint64_t body_bytes;
    double ms;
    bool has_tokens;
    uint64_t prompt_tokens, cached_tokens, completion_tokens;
};

/* Appends the line with its end. In text, what is neither visible nor ASCII is %XX, and "-" stands
 * for nothing. A long path is cut. ERROR_MEMORY leaves *out as it was. */
bool access_log_print(enum access_log_form form, const struct access_entry *entry, struct buf *out,
                      struct error *e);

#endif
