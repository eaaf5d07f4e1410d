/* http_router.h - from method and path to a handler. One thread. */
#ifndef SERVE_HTTP_ROUTER_H
#define SERVE_HTTP_ROUTER_H

#include "serve/http.h"

/* parameter: what stands for {...} in the pattern, empty where it has none; valid as long as x. */
typedef void http_route_fn(void *context, struct http_exchange *x, struct str parameter);

struct http_route {
    const char *method; /* GET answers HEAD too */
    /* "/models", or with one parameter at the end, "/models/{id}": one character or more of
     * whatever comes, '/' too. The first pattern that fits counts. */
    const char *pattern;
    http_route_fn *handler;
    bool bare;        /* exists as it stands */
    bool prefixed;    /* exists below each prefix */
    bool takes_query; /* the handler reads it; else there may be none */
    /* The owner's: the router does not look at them. */
    bool is_open;   /* to everybody */
    unsigned scope; /* what a caller needs otherwise; 0: nothing special */
};

struct http_router {
    const struct http_route *routes;
    size_t n_routes;
    const char *const *prefixes; /* "/v1", ... */
    size_t n_prefixes;
    void *context; /* of all handlers */
};

/* The route that would take it, NULL where there is none. */
const struct http_route *http_router_find(const struct http_router *r,
                                          const struct http_exchange *x);

/* Ends the exchange (404, 405 with Allow, 204 for OPTIONS, 400 for a query that the handler would
 * not read)
 * when no handler would take it, and returns false: to be called before the body is read. */
bool http_router_check(const struct http_router *r, struct http_exchange *x);

/* The same, and calls the handler. */
void http_router_dispatch(const struct http_router *r, struct http_exchange *x);

#endif
