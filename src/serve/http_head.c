/* http_head.c - strict parsing of request lines and header fields. */
#include "serve/http_head.h"

#include <string.h>

static bool refuse(struct http_problem *problem, enum api_error_kind kind, const char *text)
{
    *problem = (struct http_problem){.kind = kind, .text = text};
    return false;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

bool http_str_eq_nocase(struct str a, struct str b)
{
    if (a.n != b.n) {
        return false;
    }
    for (size_t i = 0; i < a.n; i++) {
        if (lower(a.p[i]) != lower(b.p[i])) {
            return false;
        }
    }
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_token_char(char c)
{
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

bool http_is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!is_token_char(s.p[i])) {
            return false;
        }
    }
    return s.n > 0;
}

/* --- where the head ends */

/* Room in the first line for what is not the target. */
enum { AROUND_TARGET = 64 };

static enum http_scan_result too_long(const struct http_scan *scan, size_t max_head,
                                      size_t max_target, struct http_problem *problem)
{
    size_t max_line = max_target + AROUND_TARGET;
    if (scan->past_first_line) {
        *problem =
            (struct http_problem){API_ERROR_HEAD_TOO_LARGE, "the header fields are too large",
                                  max_head, "bytes of request line and fields"};
    } else {
        *problem = (struct http_problem){API_ERROR_URL_TOO_LONG, "the request line is too long",
                                         max_line < max_head ? max_line : max_head, "bytes"};
    }
    return HTTP_SCAN_BAD;
}

enum http_scan_result http_head_scan(struct http_scan *scan, struct str bytes, size_t max_head,
                                     size_t max_target, struct http_problem *problem)
{
    for (; scan->at < bytes.n; scan->at++) {
        unsigned char c = (unsigned char)bytes.p[scan->at];
        if (scan->at >= max_head ||
            (!scan->past_first_line && scan->at >= max_target + AROUND_TARGET)) {
            return too_long(scan, max_head, max_target, problem);
        }
        if (c == '\r') {
            if (scan->at + 1 == bytes.n) {
                return HTTP_SCAN_MORE;
            }
            if (bytes.p[scan->at + 1] != '\n') {
                refuse(problem, API_ERROR_BAD_HTTP,
                       "a carriage return without a line feed after it");
                return HTTP_SCAN_BAD;
            }
            if (scan->at + 1 >= max_head) {
                return too_long(scan, max_head, max_target, problem);
            }
            bool is_empty = scan->at == scan->line_start;
            scan->at++; /* on the line feed */
            scan->line_start = scan->at + 1;
            scan->past_first_line = true;
            if (is_empty) {
                scan->at++;
                return HTTP_SCAN_DONE;
            }
        } else if (c == '\n') {
            refuse(problem, API_ERROR_BAD_HTTP, "a line feed without a carriage return before it");
            return HTTP_SCAN_BAD;
        } else if ((c < 0x20 && c != '\t') || c == 0x7F) {
            refuse(problem, API_ERROR_BAD_HTTP, "a control character in the request's head");
            return HTTP_SCAN_BAD;
        }
    }
    return HTTP_SCAN_MORE;
}

/* --- the request line */

static bool decode_path(char *p, size_t n, struct str *out, struct http_problem *problem)
{
    size_t n_out = 0;
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (c == '%') {
            int high = i + 2 < n ? str_hex_digit(p[i + 1]) : -1;
            int low = i + 2 < n ? str_hex_digit(p[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return refuse(problem, API_ERROR_BAD_HTTP,
                              "a '%' in the path without two hexadecimal digits");
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0') {
            return refuse(problem, API_ERROR_BAD_HTTP, "a NUL in the path");
        }
        p[n_out++] = c;
    }
    for (struct str rest = {p, n_out}; rest.n > 0;) {
        uint32_t code_point;
        size_t step = str_decode_utf8(rest, &code_point);
        if (step == 0) {
            return refuse(problem, API_ERROR_BAD_HTTP, "the path is not UTF-8");
        }
        rest = str_skip(rest, step);
    }
    *out = (struct str){p, n_out};
    return true;
}

/* Absolute form: what follows the authority. False for other schemes and an empty authority. */
static bool skip_authority(char **p, char *end)
{
    struct str target = {*p, (size_t)(end - *p)};
    size_t n_scheme = target.n >= 7 && http_str_eq_nocase((struct str){*p, 7}, STR("http://")) ? 7
                      : target.n >= 8 && http_str_eq_nocase((struct str){*p, 8}, STR("https://"))
                          ? 8
                          : 0;
    char *at = *p + n_scheme;
    while (at < end && *at != '/' && *at != '?') {
        at++;
    }
    bool ok = n_scheme > 0 && at > *p + n_scheme;
    *p = at;
    return ok;
}

static bool parse_target(char *p, char *end, struct http_head *out, struct http_problem *problem)
{
    for (const char *c = p; c < end; c++) {
        if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7F || *c == '#') {
            return refuse(problem, API_ERROR_BAD_HTTP,
                          "a character in the request target that has no place there");
        }
    }
    out->query = (struct str){end, 0};
    if (end - p == 1 && *p == '*') {
        out->path = (struct str){p, 1};
        return str_eq(out->method, STR("OPTIONS")) ||
               refuse(problem, API_ERROR_BAD_HTTP, "the request target '*' is for OPTIONS alone");
    }
    if (str_eq(out->method, STR("CONNECT"))) {
        return refuse(problem, API_ERROR_NOT_IMPLEMENTED,
                      "CONNECT is not offered: this is no proxy");
    }
    if (*p != '/' && !skip_authority(&p, end)) {
        return refuse(problem, API_ERROR_BAD_HTTP,
                      "the request target is neither a path nor an http address");
    }
    char *query = memchr(p, '?', (size_t)(end - p));
    char *path_end = query != NULL ? query : end;
    if (query != NULL) {
        struct str given = {query + 1, (size_t)(end - query - 1)};
        if (memmem(given.p, given.n, "%00", 3) != NULL) {
            return refuse(problem, API_ERROR_BAD_HTTP, "a NUL in the query");
        }
        out->query = given;
    }
    if (p == path_end) {
        out->path = STR("/");
        return true;
    }
    return decode_path(p, (size_t)(path_end - p), &out->path, problem);
}

static bool parse_version(struct str version, struct http_head *out, struct http_problem *problem)
{
    if (version.n != 8 || !str_starts_with(version, STR("HTTP/")) || !is_digit(version.p[5]) ||
        version.p[6] != '.' || !is_digit(version.p[7])) {
        return refuse(problem, API_ERROR_BAD_HTTP,
                      "the request line does not end with an HTTP version");
    }
    out->is_1_0 = version.p[7] == '0';
    return version.p[5] == '1' ||
           refuse(problem, API_ERROR_HTTP_VERSION, "only HTTP/1.0 and HTTP/1.1 are spoken here");
}

/* line: without CR LF. Exactly one blank stands between the three parts. */
static bool parse_request_line(char *line, size_t n, size_t max_target, struct http_head *out,
                               struct http_problem *problem)
{
    char *end = line + n;
    char *target = memchr(line, ' ', n);
    char *version = target != NULL ? memchr(target + 1, ' ', (size_t)(end - target - 1)) : NULL;
    if (version == NULL || version == target + 1) {
        return refuse(problem, API_ERROR_BAD_HTTP, "the first line is no 'METHOD TARGET HTTP/1.1'");
    }
    struct str method = {line, (size_t)(target - line)};
    if (!http_is_token(method) || method.n > 32) {
        return refuse(problem, API_ERROR_BAD_HTTP, "the method is no name");
    }
    out->method = method;
    if (!parse_version((struct str){version + 1, (size_t)(end - version - 1)}, out, problem)) {
        return false;
    }
    if ((size_t)(version - target - 1) > max_target) {
        *problem = (struct http_problem){API_ERROR_URL_TOO_LONG, "the request target is too long",
                                         max_target, "bytes"};
        return false;
    }
    return parse_target(target + 1, version, out, problem);
}

bool http_query_name(struct str query, char *out, size_t n_out)
{
    size_t n = 0;
    while (query.n > 0 && query.p[0] == '&') {
        query = str_skip(query, 1);
    }
    for (size_t i = 0; i < query.n && n < n_out - 1 && query.p[i] != '&' && query.p[i] != '=';
         i++) {
        char c = query.p[i];
        int high = c == '%' && i + 2 < query.n ? str_hex_digit(query.p[i + 1]) : -1;
        int low = high >= 0 ? str_hex_digit(query.p[i + 2]) : -1;
        out[n++] = low >= 0 ? (char)(high * 16 + low) : (char)(c == '+' ? ' ' : c);
        i += low >= 0 ? 2 : 0;
    }
    out[n == n_out - 1 ? str_complete_utf8((struct str){out, n}) : n] = '\0';
    return query.n > 0;
}

/* --- fields */

static struct str trim(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s = str_skip(s, 1);
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) {
        s.n--;
    }
    return s;
}

static bool parse_field(struct str line, struct http_head *out, struct http_problem *problem)
{
    if (line.p[0] == ' ' || line.p[0] == '\t') {
        return refuse(problem, API_ERROR_BAD_HTTP, "a header field that goes on in the next line");
    }
    const char *colon = memchr(line.p, ':', line.n);
    struct str name = {line.p, colon != NULL ? (size_t)(colon - line.p) : 0};
    if (colon == NULL || !http_is_token(name)) {
        return refuse(problem, API_ERROR_BAD_HTTP, "a header line that is no 'NAME: VALUE'");
    }
    if (out->n_fields == HTTP_MAX_FIELDS) {
        return refuse(problem, API_ERROR_HEAD_TOO_LARGE, "more than 100 header fields");
    }
    out->fields[out->n_fields++] = (struct http_field){name, trim(str_skip(line, name.n + 1))};
    return true;
}

struct str http_head_field(const struct http_head *head, const char *name)
{
    for (size_t i = 0; i < head->n_fields; i++) {
        if (http_str_eq_nocase(head->fields[i].name, str_from(name))) {
            return head->fields[i].value;
        }
    }
    return (struct str){NULL, 0};
}

static size_t count_fields(const struct http_head *head, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < head->n_fields; i++) {
        n += http_str_eq_nocase(head->fields[i].name, str_from(name));
    }
    return n;
}

/* Takes the next element of a list off *rest. */
static struct str next_element(struct str *rest)
{
    const char *comma = memchr(rest->p, ',', rest->n);
    size_t n = comma != NULL ? (size_t)(comma - rest->p) : rest->n;
    struct str element = trim((struct str){rest->p, n});
    *rest = str_skip(*rest, comma != NULL ? n + 1 : n);
    return element;
}

/* Whether a list of names, in any field called `name`, holds `word`. */
static bool list_has(const struct http_head *head, const char *name, struct str word)
{
    for (size_t i = 0; i < head->n_fields; i++) {
        struct str rest = head->fields[i].value;
        if (!http_str_eq_nocase(head->fields[i].name, str_from(name))) {
            continue;
        }
        while (rest.n > 0) {
            if (http_str_eq_nocase(next_element(&rest), word)) {
                return true;
            }
        }
    }
    return false;
}

struct str http_head_content_coding(const struct http_head *head)
{
    for (size_t i = 0; i < head->n_fields; i++) {
        struct str rest = head->fields[i].value;
        bool is_it = http_str_eq_nocase(head->fields[i].name, STR("content-encoding"));
        while (is_it && rest.n > 0) {
            struct str coding = next_element(&rest);
            if (coding.n > 0 && !http_str_eq_nocase(coding, STR("identity"))) {
                return coding;
            }
        }
    }
    return (struct str){NULL, 0};
}

/* --- what the fields mean for the message */

static bool parse_length(struct str digits, uint64_t *out)
{
    uint64_t value = 0;
    if (digits.n == 0 || digits.n > 18) {
        return false;
    }
    for (size_t i = 0; i < digits.n; i++) {
        if (!is_digit(digits.p[i])) {
            return false;
        }
        value = value * 10 + (uint64_t)(digits.p[i] - '0');
    }
    *out = value;
    return true;
}

static bool check_body(struct http_head *head, struct http_problem *problem)
{
    size_t n_lengths = count_fields(head, "content-length");
    size_t n_codings = count_fields(head, "transfer-encoding");
    if (n_lengths > 1 || n_codings > 1 || (n_lengths > 0 && n_codings > 0)) {
        return refuse(problem, API_ERROR_BAD_HTTP,
                      "more than one Content-Length or Transfer-Encoding");
    }
    if (n_lengths > 0 &&
        !parse_length(http_head_field(head, "content-length"), &head->content_length)) {
        return refuse(problem, API_ERROR_BAD_HTTP, "Content-Length is not a number of bytes");
    }
    if (n_codings > 0) {
        if (head->is_1_0) {
            return refuse(problem, API_ERROR_BAD_HTTP, "Transfer-Encoding in an HTTP/1.0 request");
        }
        if (!http_str_eq_nocase(http_head_field(head, "transfer-encoding"), STR("chunked"))) {
            return refuse(problem, API_ERROR_NOT_IMPLEMENTED, "Transfer-Encoding is not 'chunked'");
        }
        head->is_chunked = true;
    }
    head->has_body = head->is_chunked || head->content_length > 0;
    return true;
}

static bool check_host(const struct http_head *head, struct http_problem *problem)
{
    size_t n = count_fields(head, "host");
    if (n == 0 && head->is_1_0) {
        return true;
    }
    if (n != 1) {
        return refuse(problem, API_ERROR_BAD_HTTP, "there must be exactly one Host");
    }
    struct str host = http_head_field(head, "host");
    for (size_t i = 0; i < host.n; i++) {
        if (!is_token_char(host.p[i]) && strchr("[]:,;()=", host.p[i]) == NULL) {
            return refuse(problem, API_ERROR_BAD_HTTP, "Host is no name or address");
        }
    }
    return host.n > 0 || refuse(problem, API_ERROR_BAD_HTTP, "Host is empty");
}

/* Of two keys one would count, and a proxy before this server might mean the other. */
static bool check_authorization(const struct http_head *head, struct http_problem *problem)
{
    return count_fields(head, "authorization") <= 1 ||
           refuse(problem, API_ERROR_BAD_HTTP, "there may be one Authorization at most");
}

static bool check_expect(struct http_head *head, struct http_problem *problem)
{
    struct str expect = http_head_field(head, "expect");
    if (expect.p == NULL) {
        return true;
    }
    if (!http_str_eq_nocase(expect, STR("100-continue"))) {
        return refuse(problem, API_ERROR_EXPECTATION, "Expect is not '100-continue'");
    }
    head->expects_continue = !head->is_1_0 && head->has_body;
    return true;
}

bool http_head_parse(char *block, size_t n, size_t max_target, struct http_head *out,
                     struct http_problem *problem)
{
    out->n_fields = 0;
    out->content_length = 0;
    out->is_chunked = out->expects_continue = false;
    char *end = block + n - 2; /* the empty line */
    char *first_end = memchr(block, '\r', n);
    /* Fields first: Origin lets a page read the refusal of a first line. */
    for (char *line = first_end + 2; line < end;) {
        char *line_end = memchr(line, '\r', (size_t)(block + n - line));
        if (!parse_field((struct str){line, (size_t)(line_end - line)}, out, problem)) {
            return false;
        }
        line = line_end + 2;
    }
    if (!parse_request_line(block, (size_t)(first_end - block), max_target, out, problem)) {
        return false;
    }
    if (!check_host(out, problem) || !check_authorization(out, problem) ||
        !check_body(out, problem) || !check_expect(out, problem)) {
        return false;
    }
    out->keep_alive = !list_has(out, "connection", STR("close")) &&
                      (!out->is_1_0 || list_has(out, "connection", STR("keep-alive")));
    return true;
}
