/* http_head.h - the head of a request: request line and header fields, as RFC 9112 has them. What
 * the RFC lets a server repair is refused. Pure: no sockets, no allocation. */
#ifndef SERVE_HTTP_HEAD_H
#define SERVE_HTTP_HEAD_H

#include "serve/api_error.h"

enum { HTTP_MAX_FIELDS = 100 };

#define HTTP_METHODS "GET, HEAD, POST, OPTIONS" /* that there are, at some address or other */

/* Why a request is refused: what kind of error, and one sentence, a literal. Where a limit is met,
 * `most` of `unit` is what is allowed: "the body is too large: 1024 bytes at most". */
struct http_problem {
    enum api_error_kind kind;
    const char *text;
    uint64_t most;
    const char *unit; /* NULL: no limit was met */
};

struct http_field {
    struct str name, value;
};

/* Views into the block that was parsed. */
struct http_head {
    struct str method;
    struct str path; /* decoded */
    struct str query;
    struct http_field fields[HTTP_MAX_FIELDS];
    size_t n_fields;
    uint64_t content_length;
    bool is_1_0;
    bool is_chunked;
    bool has_body; /* chunked, or a length above 0 */
    bool keep_alive;
    bool expects_continue;
};

/* How far the bytes of a head have been looked at: zero before the first call for a request. */
struct http_scan {
    size_t at;         /* bytes looked at; after HTTP_SCAN_DONE the length of the head */
    size_t line_start; /* of the line that `at` is in */
    bool past_first_line;
};

enum http_scan_result { HTTP_SCAN_MORE, HTTP_SCAN_DONE, HTTP_SCAN_BAD };

/* Looks for the empty line that ends a head, going on where the last call stopped; `bytes` begin
 * with the head each time. Bare CR, bare LF and control characters are bad as soon as they come, a
 * head longer than max_head is 431, a first line longer than max_target and some is 414.
 * An empty line in front is DONE with at == 2. */
enum http_scan_result http_head_scan(struct http_scan *scan, struct str bytes, size_t max_head,
                                     size_t max_target, struct http_problem *problem);

/* Parses a head that http_head_scan() found, n bytes with the empty line; %XX of the path are
 * decoded in place. False with *problem set: then *out, zeroed before, has what could be read: all
 * fields in front of a bad one, and of the first line what is as it should be. */
bool http_head_parse(char *block, size_t n, size_t max_target, struct http_head *out,
                     struct http_problem *problem);

/* Value of the first field of that name; p NULL where there is none. */
struct str http_head_field(const struct http_head *head, const char *name);

/* The first coding of the body (Content-Encoding) that is not "identity"; p NULL where there is
 * none. */
struct str http_head_content_coding(const struct http_head *head);

/* Name of a query's first parameter, "b c" in "&b+c=d&e", decoded into out (n_out >= 1 bytes with
 * the NUL) and cut there where a code point ends; what is no %XX stays as it is. False for a query
 * without parameters. The query has no %00, as those of http_head_parse(). */
bool http_query_name(struct str query, char *out, size_t n_out);

/* Letters of ASCII compared without case. */
bool http_str_eq_nocase(struct str a, struct str b);

/* token of RFC 9110: what names and methods are made of */
bool http_is_token(struct str s);

#endif
