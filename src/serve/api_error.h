/* api_error.h - what a client is told when a request fails, in OpenAI's form:
 *   {"error":{"message":"...","type":"...","param":"messages[0].content"|null,"code":"..."|null}}
 *
 * A kind stands for one line of the table: HTTP status, type and code. Pure functions, any
 * thread. */
#ifndef SERVE_API_ERROR_H
#define SERVE_API_ERROR_H

#include "base/buf.h"
#include "base/error.h"

#include <stdint.h>

enum api_error_kind {
    API_ERROR_NONE,
    /* of what is asked for */
    API_ERROR_BAD_JSON,              /* 400: the body is no JSON, or JSON past a limit */
    API_ERROR_INVALID_TYPE,          /* 400 */
    API_ERROR_INVALID_VALUE,         /* 400: right type, outside its range */
    API_ERROR_MISSING_PARAMETER,     /* 400 */
    API_ERROR_UNKNOWN_PARAMETER,     /* 400: a name that nobody defines */
    API_ERROR_UNSUPPORTED_PARAMETER, /* 400: known, but not offered here; a warning when strict */
    API_ERROR_UNSUPPORTED_VALUE,     /* 400: known value of a supported parameter, not offered */
    API_ERROR_CONTEXT_LENGTH,        /* 400 */
    API_ERROR_KEY,                   /* 401: none, or none that counts */
    API_ERROR_SCOPE,                 /* 403: the key is not for this */
    API_ERROR_MODEL_FORBIDDEN,       /* 403: the key is not for this model */
    API_ERROR_NOT_FOUND,             /* 404: a thing other than a model */
    API_ERROR_MODEL_NOT_FOUND,       /* 404 */
    API_ERROR_RATE_LIMIT,            /* 429 */
    API_ERROR_QUOTA,                 /* 429: a budget is used up */
    API_ERROR_SERVER,                /* 500 */
    API_ERROR_OVERLOADED,            /* 503: no memory, or too many connections */
    API_ERROR_NOT_READY,             /* 503: starting or stopping */
    API_ERROR_LEDGER,                /* 503: what is used cannot be written down */
    /* of HTTP */
    API_ERROR_BAD_HTTP,             /* 400: what came is no request */
    API_ERROR_ORIGIN,               /* 403: a web page that may not call */
    API_ERROR_UNKNOWN_URL,          /* 404 */
    API_ERROR_METHOD_NOT_SUPPORTED, /* 405 */
    API_ERROR_TIMEOUT,              /* 408: the request did not arrive in time */
    API_ERROR_BODY_TOO_LARGE,       /* 413 */
    API_ERROR_URL_TOO_LONG,         /* 414 */
    API_ERROR_CONTENT_CODING,       /* 415: the body is compressed */
    API_ERROR_EXPECTATION,          /* 417 */
    API_ERROR_HEAD_TOO_LARGE,       /* 431 */
    API_ERROR_NOT_IMPLEMENTED,      /* 501: HTTP that is right, but not spoken here */
    API_ERROR_HTTP_VERSION,         /* 505 */
    API_ERROR_KIND_COUNT
};

/* code is NULL where the client gets null. */
struct api_error_meaning {
    int http_status;
    const char *type;
    const char *code;
};
const struct api_error_meaning *api_error_meaning(enum api_error_kind kind);

enum { API_PARAM_BYTES = 128, API_MESSAGE_BYTES = 640 };

/* Lives on the caller's stack; zeroed is "no error". param "" is null for the client. */
struct api_error {
    enum api_error_kind kind;
    char param[API_PARAM_BYTES];
    char message[API_MESSAGE_BYTES];
    uint32_t retry_s; /* 429 and 503: seconds until it is worth asking again; 0: one */
    bool is_final;    /* 429, 500 and 503: it never will be */
};

/* Fills *e and returns false. e may be NULL, so may param. What is too long is cut. */
bool api_error_set(struct api_error *e, enum api_error_kind kind, const char *param,
                   const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The same from an error of the modules below: the kind by its code, the text as it is;
 * final when the same request would fail again in the same way. */
bool api_error_from(struct api_error *out, const struct error *e, const char *param);

/* The 400 that clients know by its sentence: "This model's maximum context length is N tokens. ..."
 * n_answer: tokens asked for behind the prompt, 0 when the prompt alone is too long.
 * param: "messages", "prompt" or "input", maybe with an index: "input[2]"; not NULL. */
bool api_error_context(struct api_error *e, const char *param, uint64_t n_ctx, uint64_t n_prompt,
                       uint64_t n_answer);

/* The same of a prompt that cannot fit, before it was tokenised: least is a lower bound. */
bool api_error_context_least(struct api_error *e, const char *param, uint64_t n_ctx,
                             uint64_t least);

/* Appends the body, on one line without a final newline. ERROR_MEMORY leaves *out as it was. */
bool api_error_print(const struct api_error *e, struct buf *out, struct error *why);

#endif
