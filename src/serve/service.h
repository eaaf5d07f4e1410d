/* service.h - what the server answers: the table of addresses, and those that need no engine.
 * One thread, the I/O thread. */
#ifndef SERVE_SERVICE_H
#define SERVE_SERVICE_H

#include "serve/http_router.h"

enum { SERVICE_MAX_NAMES = 65 };

/* The names that a request may call the model by: the file's own first, then the aliases. */
struct service_model {
    const char *names[SERVICE_MAX_NAMES];
    size_t n_names;
    int64_t created; /* seconds since 1970 */
};

struct service {
    struct http_router router;
    struct service_model model;
    bool ready; /* the model is loaded; until then requests for it are 503 */
};

void service_init(struct service *s);

/* For http_options: on_head and on_request, with the service as context. */
void service_on_head(void *service, struct http_exchange *x);
void service_on_request(void *service, struct http_exchange *x);

/* Whether a request may name the model so. */
bool service_knows_model(const struct service *s, struct str name);

#endif
