/* fuzz_http_head.c - the head of a request and a chunked body from any bytes. They must not depend
 * on where the bytes are cut, and what is taken must be what the RFC allows. */
#include "base/mem.h"
#include "serve/auth.h"
#include "serve/http_chunked.h"

#include "require.h"

#include <stdlib.h>

enum { MAX_HEAD = 2048, MAX_TARGET = 512, MAX_BODY = 4096 };

static bool has_no_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (((unsigned char)s.p[i] < 0x20 && s.p[i] != '\t') || s.p[i] == 0x7F) {
            return false;
        }
    }
    return true;
}

static enum http_scan_result scan_head(struct str bytes, size_t step, size_t *out_n)
{
    struct http_scan scan = {0};
    struct http_problem problem = {0};
    enum http_scan_result result = HTTP_SCAN_MORE;
    for (size_t n = 0; result == HTTP_SCAN_MORE; n = n + step < bytes.n ? n + step : bytes.n) {
        result = http_head_scan(&scan, (struct str){bytes.p, n}, MAX_HEAD, MAX_TARGET, &problem);
        require(result != HTTP_SCAN_BAD || problem.kind != API_ERROR_NONE);
        if (n == bytes.n) {
            break;
        }
    }
    *out_n = scan.at;
    return result;
}

static void check_head(const struct http_head *head)
{
    require(http_is_token(head->method) && head->path.n > 0);
    require(head->path.p[0] == '/' || str_eq(head->path, STR("*")));
    require(memchr(head->path.p, '\0', head->path.n) == NULL);
    require(!(head->is_chunked && head->content_length > 0));
    for (size_t i = 0; i < head->n_fields; i++) {
        require(http_is_token(head->fields[i].name) && has_no_control(head->fields[i].value));
    }
    struct str coding = http_head_content_coding(head);
    require(coding.p == NULL || (coding.n > 0 && memchr(coding.p, ',', coding.n) == NULL));
}

static bool read_chunked(struct str bytes, size_t step, struct buf *body, size_t *out_left)
{
    struct http_chunked c = {0};
    struct http_problem problem = {0};
    buf_init(body, MAX_BODY);
    while (bytes.n > 0 && c.state != HTTP_CHUNK_DONE) {
        struct str in = {bytes.p, bytes.n < step ? bytes.n : step};
        size_t n = in.n;
        if (!http_chunked_feed(&c, &in, body, &problem)) {
            require(problem.kind != API_ERROR_NONE);
            *out_left = 0;
            return false;
        }
        bytes = str_skip(bytes, n - in.n);
    }
    *out_left = bytes.n;
    return c.state == HTTP_CHUNK_DONE;
}

static void check_chunked(struct str bytes)
{
    struct buf whole, pieces;
    size_t left_whole, left_pieces;
    bool a = read_chunked(bytes, SIZE_MAX, &whole, &left_whole);
    bool b = read_chunked(bytes, 1, &pieces, &left_pieces);
    require(a == b && left_whole == left_pieces && str_eq(buf_str(&whole), buf_str(&pieces)));
    buf_finish(&whole);
    buf_finish(&pieces);
}

/* Its first name is never longer than the query, nor than the room. */
static void check_query(struct str query)
{
    char name[8];
    memset(name, 'x', sizeof name);
    bool found = http_query_name(query, name, sizeof name);
    size_t n = strnlen(name, sizeof name);
    require(n < sizeof name && n <= query.n && (found || n == 0));
}

/* A token is one word of it; what is read as a secret is one in full. */
static void check_bearer(struct str value)
{
    struct str token = {0};
    enum secret_kind kind = SECRET_KIND_COUNT;
    char id[SECRET_ID_BYTES];
    if (auth_read_bearer(value, &token)) {
        require(token.n > 0 && token.n < value.n && memchr(token.p, ' ', token.n) == NULL);
    }
    if (secret_read(token.n > 0 ? token : value, &kind, id)) {
        require(kind < SECRET_KIND_COUNT && secret_is_id(str_from(id)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str bytes = {(const char *)data, n};
    check_bearer(bytes);
    size_t n_head, n_again;
    enum http_scan_result result = scan_head(bytes, n + 1, &n_head);
    require(scan_head(bytes, 1, &n_again) == result && n_again == n_head);
    check_chunked(bytes);
    if (result != HTTP_SCAN_DONE || n_head == 2) {
        return 0;
    }
    char *block = malloc(n_head);
    struct http_head head = {0};
    struct http_problem problem = {0};
    memcpy(block, data, n_head);
    if (http_head_parse(block, n_head, MAX_TARGET, &head, &problem)) {
        check_head(&head);
        check_query(head.query);
        check_bearer(http_head_field(&head, "authorization"));
        check_chunked(str_skip(bytes, n_head));
    } else {
        require(problem.kind != API_ERROR_NONE);
    }
    free(block);
    return 0;
}
