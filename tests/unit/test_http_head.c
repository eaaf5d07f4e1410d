/* test_http_head.c - heads and chunked bodies: what is taken, what is refused, and that it does not
 * matter where packets end. */
#include "base/mem.h"
#include "serve/http_chunked.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MAX_HEAD = 4096, MAX_TARGET = 200, MAX_BODY = 100 };

/* Status of the problem, 0 for a head that is taken, 1 for one that is not complete. *block holds
 * what *head has views into. */
static int read_head(struct str bytes, char **block, struct http_head *head)
{
    struct http_scan scan = {0};
    struct http_problem problem = {0};
    *block = malloc(bytes.n + 1);
    memcpy(*block, bytes.p, bytes.n);
    switch (http_head_scan(&scan, bytes, MAX_HEAD, MAX_TARGET, &problem)) {
    case HTTP_SCAN_MORE:
        return 1;
    case HTTP_SCAN_BAD:
        return api_error_meaning(problem.kind)->http_status;
    case HTTP_SCAN_DONE:
        break;
    }
    memset(head, 0, sizeof *head);
    return http_head_parse(*block, scan.at, MAX_TARGET, head, &problem)
               ? 0
               : api_error_meaning(problem.kind)->http_status;
}

#define G "GET / HTTP/1.1\r\nHost: a\r\n"
#define P "POST / HTTP/1.1\r\nHost: a\r\n"

static const struct {
    const char *name;
    struct str bytes;
    int status;
} heads[] = {
    {"plain", STR(G "\r\n"), 0},
    {"cut off", STR(G "\r"), 1},
    {"blank around a value", STR("GET / HTTP/1.1\r\nHost: \t a \t\r\n\r\n"), 0},
    {"empty value", STR(G "X:\r\n\r\n"), 0},
    {"bytes above 127 in a value", STR(G "X: \xC3\xA9\xFF\r\n\r\n"), 0},
    {"bare line feeds", STR("GET / HTTP/1.1\nHost: a\n\n"), 400},
    {"bare line feed in a value", STR(G "X: a\nY: b\r\n\r\n"), 400},
    {"bare carriage return", STR(G "X: a\rb\r\n\r\n"), 400},
    {"NUL in a value", STR(G "X: a\0b\r\n\r\n"), 400},
    {"NUL in the target", STR("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
    {"DEL", STR(G "X: \x7F\r\n\r\n"), 400},
    {"escape", STR(G "X: \x1B[0m\r\n\r\n"), 400},
    {"blank before the colon", STR(G "X : a\r\n\r\n"), 400},
    {"no colon", STR(G "X\r\n\r\n"), 400},
    {"no name", STR(G ": a\r\n\r\n"), 400},
    {"a name of two words", STR(G "X Y: a\r\n\r\n"), 400},
    {"a name beyond ASCII", STR(G "\xC3\xA9: a\r\n\r\n"), 400},
    {"folded line", STR(G "X: a\r\n b\r\n\r\n"), 400},
    {"folded first field", STR("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), 400},
    {"no Host", STR("GET / HTTP/1.1\r\n\r\n"), 400},
    {"no Host in 1.0", STR("GET / HTTP/1.0\r\n\r\n"), 0},
    {"two Hosts", STR(G "Host: a\r\n\r\n"), 400},
    {"one Authorization", STR(G "Authorization: Bearer a\r\n\r\n"), 0},
    {"two Authorizations", STR(G "Authorization: Bearer a\r\nauthorization: Bearer a\r\n\r\n"),
     400},
    {"empty Host", STR("GET / HTTP/1.1\r\nHost:\r\n\r\n"), 400},
    {"Host with a path", STR("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400},
    {"Host of IPv6", STR("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"), 0},
    {"equal lengths twice", STR(P "Content-Length: 3\r\nContent-Length: 3\r\n\r\n"), 400},
    {"lengths that differ", STR(P "Content-Length: 3\r\nContent-Length: 4\r\n\r\n"), 400},
    {"list of lengths", STR(P "Content-Length: 3, 3\r\n\r\n"), 400},
    {"signed length", STR(P "Content-Length: +3\r\n\r\n"), 400},
    {"negative length", STR(P "Content-Length: -3\r\n\r\n"), 400},
    {"hexadecimal length", STR(P "Content-Length: 0x3\r\n\r\n"), 400},
    {"empty length", STR(P "Content-Length:\r\n\r\n"), 400},
    {"length of 2^64 + 3", STR(P "Content-Length: 18446744073709551619\r\n\r\n"), 400},
    {"length and coding", STR(P "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"), 400},
    {"coding twice", STR(P "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
     400},
    {"coding in capitals", STR(P "Transfer-Encoding: Chunked\r\n\r\n"), 0},
    {"coding in 1.0", STR("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400},
    {"other coding", STR(P "Transfer-Encoding: gzip, chunked\r\n\r\n"), 501},
    {"hidden coding",
     STR(P "Transfer-Encoding: \x0B"
           "chunked\r\n\r\n"),
     400},
    {"other expectation", STR(P "Content-Length: 3\r\nExpect: 200-ok\r\n\r\n"), 417},
    {"%00", STR("GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
    {"%00 in the query", STR("GET /a?b=%00 HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
    {"% alone", STR("GET /a% HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
    {"% with one digit", STR("GET /a%4 HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
    {"% with no digits", STR("GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
    {"path that is not UTF-8", STR("GET /a%ff HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
    {"raw byte above 127", STR("GET /\xC3\xA9 HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
    {"fragment", STR("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
    {"two blanks", STR("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
    {"tab for a blank", STR("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
    {"blank behind", STR("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), 400},
    {"blank in front", STR(" GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
    {"no version", STR("GET /\r\nHost: a\r\n\r\n"), 400},
    {"version in small letters", STR("GET / http/1.1\r\nHost: a\r\n\r\n"), 400},
    {"long version", STR("GET / HTTP/1.10\r\nHost: a\r\n\r\n"), 400},
    {"version 2", STR("PRI * HTTP/2.0\r\n\r\n"), 505},
    {"relative path", STR("GET a HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
    {"absolute form", STR("GET http://a.example/b?c HTTP/1.1\r\nHost: a\r\n\r\n"), 0},
    {"other scheme", STR("GET ftp://a/b HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
    {"star for GET", STR("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
    {"star for OPTIONS", STR("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), 0},
    {"CONNECT", STR("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"), 501},
    {"bracket in the method", STR("G[T / HTTP/1.1\r\nHost: a\r\n\r\n"), 400},
    {"start of TLS", STR("\x16\x03\x01\x02"), 400},
};

static void heads_are_taken_or_refused_as_the_table_says(void **state)
{
    (void)state;
    struct http_head head;
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        char *block;
        int status = read_head(heads[i].bytes, &block, &head);
        if (status != heads[i].status) {
            print_error("%s: %d, expected %d\n", heads[i].name, status, heads[i].status);
        }
        assert_int_equal(status, heads[i].status);
        free(block);
    }
}

/* It is logged and counted as others are. */
static void what_is_refused_has_no_part_that_is_not_as_it_should_be(void **state)
{
    (void)state;
    static const struct str bytes[] = {STR("GET /a%FFb HTTP/1.1\r\nHost: a\r\n\r\n"),
                                       STR("G\xFFT /a HTTP/1.1\r\nHost: a\r\n\r\n"),
                                       STR("GET /a?b=%00 HTTP/1.1\r\nHost: a\r\n\r\n"),
                                       STR("HEAD /a HTTP/2.0\r\nHost: a\r\n\r\n")};
    static const char *const methods[] = {"GET", "", "GET", "HEAD"};
    struct http_head head;
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        char *block;
        assert_true(read_head(bytes[i], &block, &head) >= 400);
        assert_true(str_eq(head.method, str_from(methods[i])));
        assert_true(head.path.n == 0 && head.query.n == 0);
        assert_true(str_eq(http_head_field(&head, "host"), STR("a")));
        free(block);
    }
}

/* However the bytes come, the scan says the same at the same byte. */
static void a_scan_goes_on_where_it_stopped(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct http_scan whole = {0}, split = {0};
        struct http_problem a = {0}, b = {0};
        struct str bytes = heads[i].bytes;
        enum http_scan_result expected = http_head_scan(&whole, bytes, MAX_HEAD, MAX_TARGET, &a);
        enum http_scan_result result = HTTP_SCAN_MORE;
        for (size_t n = 0; n <= bytes.n && result == HTTP_SCAN_MORE; n++) {
            result = http_head_scan(&split, (struct str){bytes.p, n}, MAX_HEAD, MAX_TARGET, &b);
        }
        assert_int_equal(result, expected);
        assert_int_equal(split.at, whole.at);
        assert_int_equal(a.kind, b.kind);
    }
}

static void a_head_is_read_into_its_parts(void **state)
{
    (void)state;
    struct http_head head;
    char *block;
    struct str bytes = STR("POST /v1/models/a%2Fb%20%C3%A9?x=%41 HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n"
                           "x-a: 2\r\nContent-Length: 7\r\nExpect: 100-Continue\r\n\r\nrest");
    assert_int_equal(read_head(bytes, &block, &head), 0);
    assert_true(str_eq(head.method, STR("POST")));
    assert_true(str_eq(head.path, STR("/v1/models/a/b \xC3\xA9")));
    assert_true(str_eq(head.query, STR("x=%41")));
    assert_true(str_eq(http_head_field(&head, "x-A"), STR("1")));
    assert_null(http_head_field(&head, "x-b").p);
    assert_int_equal(head.content_length, 7);
    assert_true(head.has_body && head.expects_continue && head.keep_alive && !head.is_chunked);
    free(block);
    assert_int_equal(
        read_head(STR("GET http://a.example:1?q HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n"),
                  &block, &head),
        0);
    assert_true(str_eq(head.path, STR("/")) && str_eq(head.query, STR("q")));
    assert_true(head.is_1_0 && head.keep_alive && !head.has_body);
    free(block);
    assert_int_equal(read_head(STR(G "Connection: Close\r\n\r\n"), &block, &head), 0);
    assert_false(head.keep_alive);
    free(block);
}

static void a_coding_of_the_body_is_found(void **state)
{
    (void)state;
    static const struct {
        struct str bytes, coding; /* n 0: there is none */
    } table[] = {
        {STR(P "\r\n"), STR("")},
        {STR(P "Content-Encoding: identity\r\n\r\n"), STR("")},
        {STR(P "Content-Encoding:\r\n\r\n"), STR("")},
        {STR(P "Content-Encoding: , ,\r\n\r\n"), STR("")},
        {STR(P "Content-Encoding: Identity, IDENTITY\r\n\r\n"), STR("")},
        {STR(P "content-encoding: gzip\r\n\r\n"), STR("gzip")},
        {STR(P "Content-Encoding: identity ,\t x y ,br\r\n\r\n"), STR("x y")},
        {STR(P "Content-Encoding: identity\r\nContent-Encoding: zstd\r\n\r\n"), STR("zstd")},
        {STR(P "Accept-Encoding: gzip\r\nContent-Encodings: gzip\r\n\r\n"), STR("")},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct http_head head;
        char *block;
        assert_int_equal(read_head(table[i].bytes, &block, &head), 0);
        struct str coding = http_head_content_coding(&head);
        assert_true(str_eq(coding, table[i].coding) && (coding.p == NULL) == (coding.n == 0));
        free(block);
    }
}

static void the_first_name_of_a_query_is_decoded(void **state)
{
    (void)state;
    static const struct {
        struct str query, name; /* p NULL: the query has no parameter */
    } table[] = {
        {STR(""), {NULL, 0}},
        {STR("&&"), {NULL, 0}},
        {STR("api-version=1&b=2"), STR("api-version")},
        {STR("&&a"), STR("a")},
        {STR("="), STR("")},
        {STR("=a&b"), STR("")},
        {STR("a+b%5B%c3%a9%5d=%00"), STR("a b[\xC3\xA9]")},
        {STR("%"), STR("%")},
        {STR("%4"), STR("%4")},
        {STR("%4g%g4%41"), STR("%4g%g4A")},
        {STR("%3D%26=1"), STR("=&")},
        {STR("%ff"), STR("\xFF")},
        {STR("123456789012345=a"), STR("123456789012345")},
        {STR("1234567890123456"), STR("123456789012345")},
        {STR("12345678901234%c3%a9"), STR("12345678901234")}, /* no half a code point */
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char *copy =
            malloc(table[i].query.n + (table[i].query.n == 0)); /* to be read to its end alone */
        char name[16] = "";
        memcpy(copy, table[i].query.p, table[i].query.n);
        assert_int_equal(http_query_name((struct str){copy, table[i].query.n}, name, sizeof name),
                         table[i].name.p != NULL);
        assert_true(str_eq(str_from(name), table[i].name));
        free(copy);
    }
}

static void what_is_too_long_has_a_status_of_its_own(void **state)
{
    (void)state;
    char bytes[MAX_HEAD + 200];
    struct http_head head;
    char *block;
    int n = snprintf(bytes, sizeof bytes, "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n", MAX_TARGET, 0);
    assert_int_equal(read_head((struct str){bytes, (size_t)n}, &block, &head), 414);
    free(block);
    memset(bytes, 'a', sizeof bytes);
    assert_int_equal(read_head((struct str){bytes, sizeof bytes}, &block, &head), 414);
    free(block);
    n = snprintf(bytes, sizeof bytes, G "X: %0*d\r\n\r\n", MAX_HEAD, 0);
    assert_int_equal(read_head((struct str){bytes, (size_t)n}, &block, &head), 431);
    free(block);
    for (int more = 0; more < 2; more++) { /* to the byte */
        int n_digits = MAX_HEAD - (int)strlen(G "X: \r\n\r\n") + more;
        n = snprintf(bytes, sizeof bytes, G "X: %0*d\r\n\r\n", n_digits, 0);
        assert_int_equal(n, MAX_HEAD + more);
        assert_int_equal(read_head((struct str){bytes, (size_t)n}, &block, &head), more ? 431 : 0);
        free(block);
    }
    n = snprintf(bytes, sizeof bytes, G);
    for (int i = 0; i < HTTP_MAX_FIELDS; i++) {
        n += snprintf(bytes + n, sizeof bytes - (size_t)n, "X: %d\r\n", i);
    }
    n += snprintf(bytes + n, sizeof bytes - (size_t)n, "\r\n");
    assert_int_equal(read_head((struct str){bytes, (size_t)n}, &block, &head), 431);
    free(block);
}

static void an_empty_line_in_front_is_told(void **state)
{
    (void)state;
    struct http_scan scan = {0};
    struct http_problem problem;
    assert_int_equal(http_head_scan(&scan, STR("\r\n" G "\r\n"), MAX_HEAD, MAX_TARGET, &problem),
                     HTTP_SCAN_DONE);
    assert_int_equal(scan.at, 2);
}

/* --- chunked bodies */

static const struct {
    const char *name;
    struct str bytes;
    int status; /* 0: complete, 1: more is to come */
    struct str body;
} bodies[] = {
    {"empty", STR("0\r\n\r\n"), 0, STR("")},
    {"two chunks", STR("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), 0, STR("abcde")},
    {"zeros, capitals", STR("000A\r\n0123456789\r\n000\r\n\r\n"), 0, STR("0123456789")},
    {"extension", STR("3;a=\"b\"\r\nabc\r\n0;x\r\n\r\n"), 0, STR("abc")},
    {"trailer", STR("1\r\na\r\n0\r\nX: y\r\nZ: \r\n\r\n"), 0, STR("a")},
    {"cut in a size", STR("3"), 1, STR("")},
    {"cut in data", STR("3\r\nab"), 1, STR("ab")},
    {"cut before the end", STR("1\r\na\r\n0\r\n"), 1, STR("a")},
    {"no size", STR("\r\nabc\r\n"), 400, STR("")},
    {"extension alone", STR(";a\r\n"), 400, STR("")},
    {"0x", STR("0x3\r\nabc\r\n"), 400, STR("")},
    {"sign", STR("-1\r\n"), 400, STR("")},
    {"blank", STR("3 \r\nabc\r\n"), 400, STR("")},
    {"bare line feed", STR("3\nabc\r\n"), 400, STR("")},
    {"bare carriage return", STR("3\rabc\r\n"), 400, STR("")},
    {"longer than its size", STR("3\r\nabcd\r\n"), 400, STR("abc")},
    {"line feed after data", STR("3\r\nabc\n0\r\n\r\n"), 400, STR("abc")},
    {"NUL in an extension", STR("3;\0\r\nabc\r\n"), 400, STR("")},
    {"line feed in a trailer", STR("0\r\nX: y\n\r\n"), 400, STR("")},
    {"too large", STR("65\r\n"), 413, STR("")},
    {"too large together", STR("3\r\nabc\r\n62\r\n"), 413, STR("abc")},
    {"larger than any number", STR("fffffffffffffffff\r\n"), 413, STR("")},
    {"2^64 - 1", STR("ffffffffffffffff\r\n"), 413, STR("")},
};

static int read_chunked(struct str bytes, size_t step, struct buf *body)
{
    struct http_chunked c = {0};
    struct http_problem problem = {0};
    buf_init(body, MAX_BODY);
    while (bytes.n > 0 && c.state != HTTP_CHUNK_DONE) {
        struct str in = {bytes.p, bytes.n < step ? bytes.n : step};
        size_t n = in.n;
        if (!http_chunked_feed(&c, &in, body, &problem)) {
            return api_error_meaning(problem.kind)->http_status;
        }
        bytes = str_skip(bytes, n - in.n);
    }
    return c.state == HTTP_CHUNK_DONE && bytes.n == 0 ? 0 : 1;
}

static void chunked_bodies_are_taken_or_refused_however_they_are_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        for (size_t step = 1; step <= bodies[i].bytes.n; step++) {
            struct buf body;
            int status = read_chunked(bodies[i].bytes, step, &body);
            if (status != bodies[i].status) {
                print_error("%s: %d, expected %d\n", bodies[i].name, status, bodies[i].status);
            }
            assert_int_equal(status, bodies[i].status);
            assert_true(str_eq(buf_str(&body), bodies[i].body));
            buf_finish(&body);
        }
    }
}

static void lines_and_trailers_of_chunks_are_bounded(void **state)
{
    (void)state;
    char bytes[8192];
    struct buf body;
    int n = snprintf(bytes, sizeof bytes, "3;%0*d\r\nabc", 400, 0);
    assert_int_equal(read_chunked((struct str){bytes, (size_t)n}, 7, &body), 400);
    buf_finish(&body);
    n = snprintf(bytes, sizeof bytes, "0\r\nX: %0*d\r\n\r\n", 5000, 0);
    assert_int_equal(read_chunked((struct str){bytes, (size_t)n}, 7, &body), 431);
    buf_finish(&body);
}

static void what_follows_a_chunked_body_is_left(void **state)
{
    (void)state;
    struct http_chunked c = {0};
    struct http_problem problem;
    struct buf body;
    buf_init(&body, MAX_BODY);
    struct str in = STR("1\r\na\r\n0\r\n\r\nGET /");
    assert_true(http_chunked_feed(&c, &in, &body, &problem));
    assert_true(str_eq(in, STR("GET /")) && c.state == HTTP_CHUNK_DONE);
    buf_finish(&body);
}

static void memory_that_runs_out_is_a_status(void **state)
{
    (void)state;
    struct buf body;
    mem_fail_nth(1);
    assert_int_equal(read_chunked(STR("3\r\nabc\r\n"), 99, &body), 503);
    mem_fail_nth(0);
    buf_finish(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_taken_or_refused_as_the_table_says),
        cmocka_unit_test(what_is_refused_has_no_part_that_is_not_as_it_should_be),
        cmocka_unit_test(a_scan_goes_on_where_it_stopped),
        cmocka_unit_test(a_head_is_read_into_its_parts),
        cmocka_unit_test(a_coding_of_the_body_is_found),
        cmocka_unit_test(the_first_name_of_a_query_is_decoded),
        cmocka_unit_test(what_is_too_long_has_a_status_of_its_own),
        cmocka_unit_test(an_empty_line_in_front_is_told),
        cmocka_unit_test(chunked_bodies_are_taken_or_refused_however_they_are_cut),
        cmocka_unit_test(lines_and_trailers_of_chunks_are_bounded),
        cmocka_unit_test(what_follows_a_chunked_body_is_left),
        cmocka_unit_test(memory_that_runs_out_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
