/* http_cors.c - header fields for pages of other origins. */
#include "serve/http_cors.h"

#include <ctype.h>

enum { MAX_ORIGIN = HTTP_CORS_ORIGIN_BYTES - 1, MAX_REQUESTED = 4096 };

/* All that a client of the API sends, for a preflight that does not say what it will. */
#define DEFAULT_HEADERS                                                                            \
    "authorization, content-type, openai-organization, openai-project, x-request-id, "             \
    "x-stainless-arch, x-stainless-async, x-stainless-helper-method, x-stainless-lang, "           \
    "x-stainless-os, x-stainless-package-version, x-stainless-read-timeout, "                      \
    "x-stainless-retry-count, x-stainless-runtime, x-stainless-runtime-version, "                  \
    "x-stainless-timeout"

/* "*" would not do: it does not stand for these where credentials are sent. */
#define EXPOSED_HEADERS                                                                            \
    "x-request-id, retry-after, retry-after-ms, x-should-retry, openai-processing-ms, "            \
    "x-ratelimit-limit-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-requests, "       \
    "x-ratelimit-remaining-tokens, x-ratelimit-reset-requests, x-ratelimit-reset-tokens"

bool http_cors_is_preflight(const struct http_head *head)
{
    return str_eq(head->method, STR("OPTIONS")) && http_head_field(head, "origin").p != NULL &&
           http_head_field(head, "access-control-request-method").p != NULL;
}

static bool is_visible_ascii(struct str s, size_t max)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7F) {
            return false;
        }
    }
    return s.n > 0 && s.n <= max;
}

static bool is_allowed(const struct http_cors *cors, struct str origin)
{
    if (!is_visible_ascii(origin, MAX_ORIGIN)) {
        return false;
    }
    for (size_t i = 0; i < cors->n_origins; i++) {
        if (http_str_eq_nocase(cors->origins[i], origin)) {
            return true;
        }
    }
    return cors->n_origins == 0;
}

bool http_cors_is_origin(struct str s)
{
    size_t i = 0;
    while (i < s.n && s.p[i] != ':') {
        i++;
    }
    struct str host = str_skip(s, i);
    if (i == 0 || !str_starts_with(host, STR("://")) || !is_visible_ascii(s, MAX_ORIGIN)) {
        return false;
    }
    host = str_skip(host, 3);
    for (size_t k = 0; k < host.n; k++) {
        if (strchr("/?#*@,", host.p[k]) != NULL) {
            return false;
        }
    }
    return host.n > 0;
}

void http_cors_write_origin(struct str s, char out[static HTTP_CORS_ORIGIN_BYTES])
{
    static const struct {
        struct str scheme, port;
    } own[] = {{STR("http://"), STR(":80")}, {STR("https://"), STR(":443")}};
    for (size_t i = 0; i < s.n; i++) {
        out[i] = (char)tolower((unsigned char)s.p[i]);
    }
    out[s.n] = '\0';
    for (size_t i = 0; i < 2; i++) {
        size_t n = s.n - own[i].port.n;
        if (str_starts_with(str_from(out), own[i].scheme) && n > own[i].scheme.n &&
            str_eq((struct str){out + n, own[i].port.n}, own[i].port)) {
            out[n] = '\0';
        }
    }
}

/* "http://" or "https://" and the host that the request is to: TLS may end before this server. */
static bool is_own(const struct http_head *head, struct str origin)
{
    struct str host = http_head_field(head, "host");
    struct str scheme = str_starts_with(origin, STR("https://")) ? STR("https://") : STR("http://");
    return host.n > 0 && str_starts_with(origin, scheme) &&
           http_str_eq_nocase(str_skip(origin, scheme.n), host);
}

bool http_cors_is_refused(const struct http_cors *cors, const struct http_head *head)
{
    struct str origin = http_head_field(head, "origin");
    return cors->n_origins > 0 && origin.p != NULL && !is_allowed(cors, origin) &&
           !is_own(head, origin);
}

/* Names with commas and blanks between. */
static bool is_list_of_names(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != ',' && s.p[i] != ' ' && !http_is_token((struct str){s.p + i, 1})) {
            return false;
        }
    }
    return s.n > 0 && s.n <= MAX_REQUESTED;
}

static bool append_preflight(const struct http_head *head, struct buf *out, struct error *e)
{
    struct str requested = http_head_field(head, "access-control-request-headers");
    struct str allowed = is_list_of_names(requested) ? requested : STR(DEFAULT_HEADERS);
    bool private_network = http_str_eq_nocase(
        http_head_field(head, "access-control-request-private-network"), STR("true"));
    return buf_printf(out, e,
                      "Access-Control-Allow-Methods: " HTTP_METHODS "\r\n"
                      "Access-Control-Allow-Headers: %.*s\r\n"
                      "Access-Control-Max-Age: 86400\r\n%s",
                      STR_ARG(allowed),
                      private_network ? "Access-Control-Allow-Private-Network: true\r\n" : "");
}

bool http_cors_append(const struct http_cors *cors, const struct http_head *head, struct buf *out,
                      struct error *e)
{
    if (!buf_append(out, STR("Vary: Origin\r\n"), e)) {
        return false;
    }
    struct str origin = http_head_field(head, "origin");
    if (!is_allowed(cors, origin)) {
        return true;
    }
    return buf_printf(out, e,
                      "Access-Control-Allow-Origin: %.*s\r\n"
                      "Access-Control-Expose-Headers: " EXPOSED_HEADERS "\r\n",
                      STR_ARG(origin)) &&
           (!http_cors_is_preflight(head) || append_preflight(head, out, e));
}
