/* http_router.c - a table searched from its top: routes are few. */
#include "serve/http_router.h"

#include "serve/http_head.h"

#include <stdio.h>
#include <string.h>

static bool match_pattern(const char *pattern, struct str path, struct str *parameter)
{
    const char *brace = strchr(pattern, '{');
    *parameter = (struct str){path.p + path.n, 0};
    if (brace == NULL) {
        return str_eq(path, str_from(pattern));
    }
    struct str fixed = {pattern, (size_t)(brace - pattern)};
    if (path.n <= fixed.n || !str_starts_with(path, fixed)) {
        return false;
    }
    *parameter = str_skip(path, fixed.n);
    return true;
}

static bool match(const struct http_router *r, const struct http_route *route, struct str path,
                  struct str *parameter)
{
    if (route->bare && match_pattern(route->pattern, path, parameter)) {
        return true;
    }
    for (size_t i = 0; route->prefixed && i < r->n_prefixes; i++) {
        struct str prefix = str_from(r->prefixes[i]);
        if (str_starts_with(path, prefix) &&
            match_pattern(route->pattern, str_skip(path, prefix.n), parameter)) {
            return true;
        }
    }
    return false;
}

static bool method_fits(const struct http_route *route, struct str method)
{
    struct str own = str_from(route->method);
    return str_eq(own, method) || (str_eq(own, STR("GET")) && str_eq(method, STR("HEAD")));
}

/* "GET, HEAD, OPTIONS": of all routes with that path; empty when there is none. */
static void list_methods(const struct http_router *r, struct str path, char *out, size_t capacity)
{
    struct str parameter;
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < r->n_routes; i++) {
        const struct http_route *route = &r->routes[i];
        if (match(r, route, path, &parameter) && strstr(out, route->method) == NULL) {
            bool is_get = strcmp(route->method, "GET") == 0;
            int more =
                snprintf(out + n, capacity - n, "%s%s, ", route->method, is_get ? ", HEAD" : "");
            n += more > 0 && (size_t)more < capacity - n ? (size_t)more : 0;
        }
    }
    if (n > 0) {
        snprintf(out + n, capacity - n, "OPTIONS");
    }
}

static const struct http_route *find(const struct http_router *r, const struct http_exchange *x,
                                     struct str *parameter)
{
    for (size_t i = 0; i < r->n_routes; i++) {
        if (method_fits(&r->routes[i], http_method(x)) &&
            match(r, &r->routes[i], http_path(x), parameter)) {
            return &r->routes[i];
        }
    }
    return NULL;
}

const struct http_route *http_router_find(const struct http_router *r,
                                          const struct http_exchange *x)
{
    struct str parameter;
    return find(r, x, &parameter);
}

enum { SHOWN_PATH = 200 };

static void refuse(struct http_exchange *x, enum api_error_kind kind, const char *why)
{
    struct api_error error = {0};
    struct str path = http_path(x);
    if (path.n > SHOWN_PATH) {
        path.n = str_complete_utf8((struct str){path.p, SHOWN_PATH});
    }
    api_error_set(&error, kind, NULL, "%s: %.*s %.*s", why, STR_ARG(http_method(x)), STR_ARG(path));
    http_reply_error(x, &error);
}

static void answer_without_handler(const struct http_router *r, struct http_exchange *x)
{
    struct str path = http_path(x);
    bool is_options = str_eq(http_method(x), STR("OPTIONS"));
    bool is_star = str_eq(path, STR("*"));
    char methods[64];
    list_methods(r, path, methods, sizeof methods);
    if (methods[0] == '\0' && !is_star) {
        refuse(x, API_ERROR_UNKNOWN_URL,
               "there is nothing at this address (the API lies below /v1)");
    } else {
        http_add_header(x, "Allow", is_star ? HTTP_METHODS : methods);
        if (is_options) {
            http_reply(x, 204, NULL, (struct str){NULL, 0});
        } else {
            refuse(x, API_ERROR_METHOD_NOT_SUPPORTED, "this address does not take that method");
        }
    }
}

/* Nothing is ignored: few handlers read a query. */
static bool check_query(struct http_exchange *x)
{
    struct api_error error = {0};
    char name[API_PARAM_BYTES];
    if (!http_query_name(http_query(x), name, sizeof name)) {
        return true;
    }
    api_error_set(&error, API_ERROR_UNKNOWN_PARAMETER, name,
                  "'%s' is no known query parameter: this address takes none", name);
    http_reply_error(x, &error);
    return false;
}

/* The route that takes it; else ends the exchange. */
static const struct http_route *find_or_refuse(const struct http_router *r, struct http_exchange *x,
                                               struct str *parameter)
{
    const struct http_route *route = find(r, x, parameter);
    if (route == NULL) {
        answer_without_handler(r, x);
        return NULL;
    }
    return route->takes_query || check_query(x) ? route : NULL;
}

bool http_router_check(const struct http_router *r, struct http_exchange *x)
{
    struct str parameter;
    return find_or_refuse(r, x, &parameter) != NULL;
}

void http_router_dispatch(const struct http_router *r, struct http_exchange *x)
{
    struct str parameter;
    const struct http_route *route = find_or_refuse(r, x, &parameter);
    if (route != NULL) {
        route->handler(r->context, x, parameter);
    }
}
