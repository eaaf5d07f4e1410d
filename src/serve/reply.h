/* reply.h - an exchange's end with an error of the API. */
#ifndef SERVE_REPLY_H
#define SERVE_REPLY_H

#include "serve/api_error.h"
#include "serve/http.h"

/* Status and body of the error; 429 and 503 say when to come again; they and 500 say when
 * it is no use. */
void reply_error(struct http_exchange *x, const struct api_error *error);

#endif
