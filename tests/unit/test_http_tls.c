/* test_http_tls.c - TLS under the toy server: what is spoken, clients that are slow, leave or never
 * begin, and certificates that are read again. Certificates are made here. */
#include "http_toy.h"
#include "serve/http_tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/stat.h>

enum { DAY_S = 86400, BODY = 300000, N_ABORTS = 25 };

/* --- certificates */

static char folder[] = "/tmp/puna-tls-XXXXXX";
static char cert[64], key[64], other_cert[64], other_key[64], odd[64], odd_key[64], locked[64],
    plain[64], pipe_path[64];

static void write_key(const char *path, EVP_PKEY *k, const char *phrase)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fchmod(fileno(f), 0600), 0);
    assert_int_equal(PEM_write_PrivateKey(f, k, phrase != NULL ? EVP_aes_128_cbc() : NULL,
                                          (const unsigned char *)phrase,
                                          phrase != NULL ? (int)strlen(phrase) : 0, NULL, NULL),
                     1);
    fclose(f);
}

/* Signed by itself, valid between the seconds from now; returns its number. */
static void make_certificate(const char *cert_path, const char *key_path, long from_s, long to_s)
{
    static long n_made;
    EVP_PKEY *k = EVP_EC_gen("P-256");
    X509 *c = X509_new();
    assert_true(k != NULL && c != NULL);
    X509_set_version(c, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(c), ++n_made);
    X509_gmtime_adj(X509_getm_notBefore(c), from_s);
    X509_gmtime_adj(X509_getm_notAfter(c), to_s);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_ASC,
                               (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(c, X509_get_subject_name(c));
    X509_set_pubkey(c, k);
    assert_true(X509_sign(c, k, EVP_sha256()) > 0);
    FILE *f = fopen(cert_path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, c), 1);
    fclose(f);
    write_key(key_path, k, NULL);
    write_key(locked, k, "sesame");
    X509_free(c);
    EVP_PKEY_free(k);
}

static int make_files(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    char *const paths[] = {cert,    key,    other_cert, other_key, odd,
                           odd_key, locked, plain,      pipe_path};
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        snprintf(paths[i], sizeof cert, "%s/%zu", folder, i);
    }
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    make_certificate(odd, odd_key, -2 * DAY_S, -DAY_S);
    make_certificate(other_cert, other_key, 0, DAY_S);
    make_certificate(cert, key, 0, DAY_S);
    FILE *f = fopen(plain, "w");
    return f == NULL || fputs("no certificate\n", f) < 0 || fclose(f) != 0 ? -1 : 0;
}

static int remove_files(void **state)
{
    (void)state;
    char *const paths[] = {cert,    key,    other_cert, other_key, odd,
                           odd_key, locked, plain,      pipe_path};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        unlink(paths[i]);
    }
    return rmdir(folder);
}

static char noted[4][ERROR_TEXT_BYTES];
static int n_noted;

static void take_note(const char *text)
{
    assert_true(n_noted < 4);
    snprintf(noted[n_noted++], sizeof noted[0], "%s", text);
}

/* --- the client */

static SSL_CTX *client_ctx;

struct client {
    int fd;
    SSL *ssl;
};

static struct http_options tls_options(struct toy *t)
{
    struct http_options o = toy_options(t);
    o.tls_cert = cert;
    o.tls_key = key;
    return o;
}

/* Not connected yet. */
static struct client prepare(const struct toy *t)
{
    struct client c = {dial(t), SSL_new(client_ctx)};
    struct timeval patience = {WAIT_MS / 1000, 0};
    assert_non_null(c.ssl);
    setsockopt(c.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(SSL_set_fd(c.ssl, c.fd), 1);
    return c;
}

static struct client dial_tls(const struct toy *t)
{
    struct client c = prepare(t);
    assert_int_equal(SSL_connect(c.ssl), 1);
    return c;
}

/* Without a word of TLS. */
static void leave(struct client *c)
{
    SSL_free(c->ssl);
    close(c->fd);
    ERR_clear_error();
}

static void leave_by_reset(struct client *c)
{
    struct linger l = {1, 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    leave(c);
}

static void leave_politely(struct client *c)
{
    SSL_shutdown(c->ssl);
    leave(c);
}

static void send_tls(struct client *c, const char *text)
{
    assert_int_equal(SSL_write(c->ssl, text, (int)strlen(text)), strlen(text));
}

/* As receive(). */
static size_t receive_tls(struct client *c, char *text, size_t capacity, const char *until,
                          int n_times)
{
    size_t n = 0;
    text[0] = '\0';
    int seen = 0;
    while (n + 1 < capacity && (until == NULL || seen < n_times)) {
        int got = SSL_read(c->ssl, text + n, (int)(capacity - n - 1));
        if (got <= 0) {
            break;
        }
        size_t from = n > 64 ? n - 64 : 0;
        n += (size_t)got;
        text[n] = '\0';
        if (until != NULL && n_times == 1) {
            seen = strstr(text + from, until) != NULL;
        }
    }
    return n;
}

static bool was_told_the_end(const struct client *c)
{
    return (SSL_get_shutdown(c->ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
}

static int ask_tls(const struct toy *t, const char *request, char *text, size_t capacity)
{
    struct client c = dial_tls(t);
    send_tls(&c, request);
    receive_tls(&c, text, capacity, NULL, 0);
    assert_true(was_told_the_end(&c));
    leave_politely(&c);
    return strncmp(text, "HTTP/1.1 ", 9) == 0 ? (int)strtol(text + 9, NULL, 10) : 0;
}

static int make_client(void **state)
{
    client_ctx = SSL_CTX_new(TLS_client_method());
    return client_ctx == NULL ? -1 : make_files(state);
}

static int free_client(void **state)
{
    SSL_CTX_free(client_ctx);
    return remove_files(state);
}

/* --- what is spoken */

/* The version that a client of these versions and ciphers gets, NULL where it is refused. */
static const char *agree(const struct toy *t, int least, int most, const char *ciphers)
{
    static char version[16];
    struct client c = prepare(t);
    SSL_set_min_proto_version(c.ssl, least);
    SSL_set_max_proto_version(c.ssl, most);
    assert_int_equal(SSL_set_cipher_list(c.ssl, ciphers), 1);
    bool ok = SSL_connect(c.ssl) == 1;
    snprintf(version, sizeof version, "%s", SSL_get_version(c.ssl));
    leave(&c);
    return ok ? version : NULL;
}

static void only_what_is_strong_is_spoken(void **state)
{
    (void)state;
    struct toy t = {0};
    struct http_options o = tls_options(&t);
    start(&t, &o);
    assert_string_equal(agree(&t, 0, 0, "DEFAULT"), "TLSv1.3");
    assert_string_equal(agree(&t, 0, TLS1_2_VERSION, "DEFAULT"), "TLSv1.2");
    assert_string_equal(agree(&t, 0, TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305"), "TLSv1.2");
    assert_null(agree(&t, 0, TLS1_1_VERSION, "DEFAULT@SECLEVEL=0"));
    assert_null(agree(&t, 0, TLS1_VERSION, "DEFAULT@SECLEVEL=0"));
    static const char *const weak[] = {"ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384",
                                       "ECDHE-ECDSA-AES128-SHA",    "AES128-GCM-SHA256",
                                       "ECDHE-ECDSA-AES256-CCM8",   "NULL@SECLEVEL=0"};
    for (size_t i = 0; i < sizeof weak / sizeof weak[0]; i++) {
        assert_null(agree(&t, 0, TLS1_2_VERSION, weak[i]));
    }
    assert_int_equal(strncmp(http_server_url(t.server, 0), "https://127.0.0.1:", 18), 0);
    stop(&t);
}

static void the_protocol_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *offered; /* as on the wire */
        const char *chosen;
    } cases[] = {
        {"\x08http/1.1", "http/1.1"}, {"\x02h2\x08http/1.1", "http/1.1"}, {"\x02h2", NULL}};
    struct toy t = {0};
    struct http_options o = tls_options(&t);
    start(&t, &o);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct client c = prepare(&t);
        const unsigned char *name = NULL;
        unsigned n = 0;
        SSL_set_alpn_protos(c.ssl, (const unsigned char *)cases[i].offered,
                            (unsigned)strlen(cases[i].offered));
        assert_int_equal(SSL_connect(c.ssl) == 1, cases[i].chosen != NULL);
        SSL_get0_alpn_selected(c.ssl, &name, &n);
        if (cases[i].chosen != NULL) {
            assert_int_equal(n, strlen(cases[i].chosen));
            assert_memory_equal(name, cases[i].chosen, n);
        }
        leave(&c);
    }
    stop(&t);
}

static void nobody_negotiates_twice(void **state)
{
    (void)state;
    char text[4096];
    struct toy t = {0};
    struct http_options o = tls_options(&t);
    start(&t, &o);
    struct client c = prepare(&t);
    SSL_set_max_proto_version(c.ssl, TLS1_2_VERSION);
    assert_int_equal(SSL_connect(c.ssl), 1);
    SSL_renegotiate(c.ssl);
    assert_int_not_equal(SSL_do_handshake(c.ssl), 1);
    leave(&c);
    assert_int_equal(ask_tls(&t, "GET /echo HTTP/1.1\r\n" CLOSE "\r\n", text, sizeof text), 200);
    stop(&t);
}

/* --- requests and answers */

static void a_long_body_comes_back_whole(void **state)
{
    (void)state;
    static char body[BODY + 1], text[BODY + 4096];
    char head[100];
    struct toy t = {0};
    struct http_options o = tls_options(&t);
    start(&t, &o);
    for (size_t i = 0; i < BODY; i++) {
        body[i] = (char)('a' + i * i % 23);
    }
    struct client c = dial_tls(&t);
    snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\n" CLOSE "Content-Length: %d\r\n\r\n", BODY);
    send_tls(&c, head);
    send_tls(&c, body);
    receive_tls(&c, text, sizeof text, NULL, 0);
    assert_string_equal(strstr(text, "\r\n\r\n") + 4, body);
    assert_true(was_told_the_end(&c));
    leave(&c);
    stop(&t);
}

static size_t count_answers(const char *text)
{
    size_t n = 0;
    while ((text = strstr(text, "HTTP/1.1 200 OK\r\n")) != NULL) {
        text++;
        n++;
    }
    return n;
}

/* The server stops reading where answers are not taken: here in the middle of the last record, so
 * that nothing is left in the socket when it goes on. */
static void requests_that_wait_in_a_record_are_answered(void **state)
{
    (void)state;
    enum { LIMIT = (64 << 10) + 4096, N = LIMIT / 31 + 150 };
    static const char one[] = "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n";
    static char body[FLOOD_BYTES + 1], all[N * 31 + 1], text[FLOOD_BYTES + N * 600];
    char head[100];
    struct toy t = {0};
    struct http_options o = tls_options(&t);
    start(&t, &o);
    assert_int_equal(sizeof one - 1, 31);
    assert_int_equal(o.limits.head_bytes, LIMIT - 4096);
    assert_int_equal(LIMIT / 16384, N * 31 / 16384);
    for (size_t i = 0; i < N; i++) {
        memcpy(all + i * 31, one, 31);
    }
    memset(body, 'x', FLOOD_BYTES);
    struct client c = dial_tls(&t);
    snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
             FLOOD_BYTES);
    send_tls(&c, head);
    send_tls(&c, body);
    WAIT_FOR(t.n_ended == 1);
    send_tls(&c, all);
    usleep(100000); /* for it to be read */
    size_t n = 0, n_answers = 0;
    while (n_answers <= N) {
        int got = SSL_read(c.ssl, text + n, (int)(sizeof text - n - 1));
        assert_true(got > 0);
        n += (size_t)got;
        text[n] = '\0';
        n_answers = n < FLOOD_BYTES ? 0 : count_answers(text + FLOOD_BYTES - 1) + 1;
    }
    leave(&c);
    stop(&t);
}

static void a_slow_reader_holds_its_stream_back(void **state)
{
    (void)state;
    static char text[FLOOD_BYTES / 8];
    struct toy t = {0};
    struct http_options o = tls_options(&t);
    start(&t, &o);
    struct client c = dial_tls(&t);
    int small = 64 << 10;
    setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    send_tls(&c, "GET /flood HTTP/1.0\r\n\r\n");
    WAIT_FOR(t.keeps);
    usleep(50000); /* nothing is read, and so nothing more is made than sockets hold */
    assert_true(t.n_closed == 0 && t.n_ended == 0);
    size_t n = receive_tls(&c, text, sizeof text, "\r\n\r\n", 1);
    n -= (size_t)(strstr(text, "\r\n\r\n") + 4 - text);
    int drained = t.n_drained;
    for (int got; (got = SSL_read(c.ssl, text, sizeof text)) > 0;) {
        n += (size_t)got;
    }
    assert_true(n >= FLOOD_BYTES && n < FLOOD_BYTES + PIECE);
    assert_true(was_told_the_end(&c)); /* no one cut it */
    leave(&c);
    stop(&t);
    assert_true(t.n_drained > drained);
    assert_true(t.most_pending < 4 * HTTP_STREAM_LOW + 2 * PIECE);
    assert_int_equal(t.n_closed, 0);
}

static void a_client_that_takes_nothing_is_dropped(void **state)
{
    (void)state;
    struct toy t = {0};
    struct http_options o = tls_options(&t);
    o.limits.stall_ms = 200;
    start(&t, &o);
    struct client c = dial_tls(&t);
    send_tls(&c, "GET /flood HTTP/1.1\r\nHost: a\r\n\r\n");
    WAIT_FOR(t.n_closed == 1);
    leave(&c);
    c = dial_tls(&t);
    send_tls(&c, "GET /blind HTTP/1.1\r\nHost: a\r\n\r\n");
    WAIT_FOR(t.n_closed == 2);
    leave(&c);
    stop(&t);
}

static void a_client_that_leaves_is_noticed(void **state)
{
    (void)state;
    static void (*const ways[])(struct client *) = {leave, leave_politely, leave_by_reset};
    static const char *const requests[] = {"GET /keep HTTP/1.1\r\nHost: a\r\n\r\n",
                                           "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n",
                                           "GET /flood HTTP/1.1\r\nHost: a\r\n\r\n"};
    struct toy t = {0};
    struct http_options o = tls_options(&t);
    int n = 0;
    start(&t, &o);
    for (size_t way = 0; way < 3; way++) {
        for (size_t i = 0; i < 3; i++) {
            struct client c = dial_tls(&t);
            send_tls(&c, requests[i]);
            WAIT_FOR(t.keeps);
            ways[way](&c);
            WAIT_FOR(t.n_closed == n + 1);
            assert_int_equal(t.last_status, 499);
            n++;
        }
    }
    stop(&t);
}

static void a_half_closed_client_gets_its_answer(void **state)
{
    (void)state;
    static char text[FLOOD_BYTES + 4096 + FLOOD_BYTES / 50];
    struct toy t = {0};
    struct http_options o = tls_options(&t);
    o.half_close = true;
    start(&t, &o);
    struct client c = dial_tls(&t);
    send_tls(&c, "GET /flood HTTP/1.0\r\n\r\n");
    assert_true(SSL_shutdown(c.ssl) >= 0);
    WAIT_FOR(t.keeps);
    size_t n = receive_tls(&c, text, sizeof text, NULL, 0);
    assert_true(n >= FLOOD_BYTES);
    assert_int_equal(t.n_closed, 0);
    leave(&c);
    stop(&t);
}

/* Nothing is kept of it: the answer is in the server already, more than sockets hold. */
static void what_is_answered_reaches_a_half_closed_client(void **state)
{
    (void)state;
    enum { LONG = 8 << 20 };
    static char body[LONG + 1], text[LONG + 4096];
    char head[100];
    struct toy t = {0};
    struct http_options o = tls_options(&t);
    start(&t, &o);
    memset(body, 'x', LONG);
    struct client c = dial_tls(&t);
    snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\n" CLOSE "Content-Length: %d\r\n\r\n", LONG);
    send_tls(&c, head);
    send_tls(&c, body);
    WAIT_FOR(t.n_ended == 1);
    SSL_shutdown(c.ssl);
    usleep(20000);
    receive_tls(&c, text, sizeof text, NULL, 0);
    assert_int_equal(strspn(strstr(text, "\r\n\r\n") + 4, "x"), LONG);
    leave(&c);
    stop(&t);
}

/* --- who never gets so far */

/* The first bytes that a client sends. */
static size_t make_hello(unsigned char *out, size_t capacity)
{
    SSL *ssl = SSL_new(client_ctx);
    BIO *in = BIO_new(BIO_s_mem()), *written = BIO_new(BIO_s_mem());
    assert_true(ssl != NULL && in != NULL && written != NULL);
    SSL_set_bio(ssl, in, written);
    SSL_connect(ssl);
    int n = BIO_read(written, out, (int)capacity);
    assert_true(n > 100);
    SSL_free(ssl);
    ERR_clear_error();
    return (size_t)n;
}

static void a_handshake_that_does_not_end_in_time_is_dropped(void **state)
{
    (void)state;
    unsigned char hello[2048];
    size_t n = make_hello(hello, sizeof hello), lengths[] = {0, 1, n / 2, n};
    struct toy t = {0};
    struct http_options o = tls_options(&t);
    o.limits.head_ms = 50; /* idle_ms is more than this test takes */
    start(&t, &o);
    for (size_t i = 0; i < 4; i++) {
        int fd = dial(&t);
        assert_int_equal(send(fd, hello, lengths[i], MSG_NOSIGNAL), lengths[i]);
        assert_true(is_closed(fd));
        close(fd);
    }
    stop(&t);
    assert_int_equal(t.n_ended, 0);
}

static void what_is_no_tls_is_refused(void **state)
{
    (void)state;
    static const char *const http[] = {"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                                       "POST /echo HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
                                       "HEAD / HTTP/1.0\r\n\r\n"};
    static const char *const garbage[] = {"\x16\x03\x01\xFF\xFF garbage", "SSH-2.0-x\r\n",
                                          "\x80\x2E\x01\x03\x01", "aaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    char text[4096];
    struct toy t = {0}, hasty = {0};
    struct http_options o = tls_options(&t);
    start(&t, &o);
    for (size_t i = 0; i < sizeof http / sizeof http[0]; i++) {
        assert_int_equal(ask(&t, http[i], text, sizeof text), 400);
        assert_non_null(strstr(text, "this port speaks TLS"));
    }
    WAIT_FOR(t.n_ended == 3);
    stop(&t);
    o = tls_options(&hasty);
    o.limits.head_ms = 200; /* what could be the beginning of a handshake is waited for */
    start(&hasty, &o);
    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
        int fd = dial(&hasty);
        send_text(fd, garbage[i]);
        receive(fd, text, sizeof text, NULL, 0);
        assert_null(strstr(text, "HTTP"));
        close(fd);
    }
    stop(&hasty);
    assert_int_equal(hasty.n_ended, 0);
}

/* At every stage, again and again: the sanitizer sees what is left. */
static void who_gives_up_leaves_nothing(void **state)
{
    (void)state;
    unsigned char hello[2048];
    char text[4096];
    size_t n = make_hello(hello, sizeof hello);
    struct toy t = {0};
    struct http_options o = tls_options(&t);
    start(&t, &o);
    for (int i = 0; i < N_ABORTS; i++) {
        size_t lengths[] = {0, n / 2, n};
        for (size_t k = 0; k < 3; k++) {
            int fd = dial(&t);
            assert_int_equal(send(fd, hello, lengths[k], MSG_NOSIGNAL), lengths[k]);
            if (k == 2) {
                recv(fd, text, sizeof text, 0);
            }
            close(fd);
        }
        struct client c = dial_tls(&t);
        send_tls(&c, "GET /echo HT");
        i % 2 == 0 ? leave(&c) : leave_by_reset(&c);
    }
    struct client last = prepare(&t); /* what is under way when the server ends */
    assert_int_equal(send(last.fd, hello, n / 2, MSG_NOSIGNAL), n / 2);
    assert_int_equal(ask_tls(&t, "GET /echo HTTP/1.1\r\n" CLOSE "\r\n", text, sizeof text), 200);
    stop(&t);
    leave(&last);
}

static void a_drain_closes_what_is_idle_and_waits_for_the_rest(void **state)
{
    (void)state;
    char text[4096];
    struct toy t = {0};
    struct http_options o = tls_options(&t);
    struct http_task drain_task = {.run = drain, .argument = &t};
    start(&t, &o);
    struct client idle = dial_tls(&t), busy = dial_tls(&t);
    send_tls(&idle, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    receive_tls(&idle, text, sizeof text, "\r\n\r\n", 1);
    send_tls(&busy, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    receive_tls(&busy, text, sizeof text, "first", 1);
    http_server_post(t.server, &drain_task);
    WAIT_FOR(t.n_tasks == 1);
    assert_int_equal(t.n_waited_for, 1);
    assert_int_equal(SSL_read(idle.ssl, text, sizeof text), 0);
    leave(&idle);
    leave(&busy);
    pthread_join(t.thread, NULL);
    assert_true(t.ran);
    http_server_destroy(t.server);
}

/* --- the files */

static void a_file_that_will_not_do_is_named_with_the_reason(void **state)
{
    (void)state;
    const struct {
        const char *cert, *key, *path, *reason;
    } cases[] = {
        {"/nonexistent", key, "/nonexistent", "No such file or directory"},
        {cert, "/nonexistent", "/nonexistent", "No such file or directory"},
        {folder, key, folder, "no regular file"},
        {pipe_path, key, pipe_path, "no regular file"}, /* and nobody waits for who writes */
        {cert, pipe_path, pipe_path, "no regular file"},
        {plain, key, plain, "there is none in PEM form"},
        {cert, plain, plain, "there is none in PEM form"},
        {key, key, key, "there is none in PEM form"},
        {cert, cert, cert, "there is none in PEM form"},
        {cert, locked, locked, "it has a pass phrase; write it without one"},
        {cert, other_key, other_key, "it is not the key of the certificate in "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error e = {0};
        assert_null(http_tls_load(cases[i].cert, cases[i].key, NULL, &e));
        size_t n = strlen(cases[i].path);
        assert_int_equal(e.code, ERROR_IO);
        assert_memory_equal(e.text, cases[i].path, n);
        assert_memory_equal(e.text + n, ": ", 2);
        assert_memory_equal(e.text + n + 2, cases[i].reason, strlen(cases[i].reason));
        assert_int_equal(ERR_peek_error(), 0);
    }
}

static void what_is_odd_is_told(void **state)
{
    (void)state;
    n_noted = 0;
    SSL_CTX *ctx = http_tls_load(cert, key, take_note, NULL);
    assert_non_null(ctx);
    SSL_CTX_free(ctx);
    assert_int_equal(n_noted, 0);
    assert_int_equal(chmod(odd_key, 0644), 0);
    ctx = http_tls_load(odd, odd_key, take_note, NULL);
    assert_non_null(ctx);
    SSL_CTX_free(ctx);
    assert_int_equal(n_noted, 2);
    assert_non_null(strstr(noted[0], "the certificate has expired at "));
    assert_non_null(strstr(noted[1], "(mode 644)"));
}

static long serial_of(const struct toy *t)
{
    struct client c = dial_tls(t);
    X509 *found = SSL_get1_peer_certificate(c.ssl);
    long serial = ASN1_INTEGER_get(X509_get_serialNumber(found));
    X509_free(found);
    leave(&c);
    return serial;
}

struct reload {
    struct toy *toy;
    struct error error;
    bool ok;
    _Atomic int n_done;
};

static void reload(void *argument)
{
    struct reload *r = argument;
    r->error = (struct error){0};
    r->ok = http_server_reload_tls(r->toy->server, &r->error);
    r->n_done++;
}

static void copy_file(const char *from, const char *to)
{
    char text[8192];
    FILE *in = fopen(from, "r"), *out = fopen(to, "w");
    assert_true(in != NULL && out != NULL);
    size_t n = fread(text, 1, sizeof text, in);
    assert_int_equal(fwrite(text, 1, n, out), n);
    fclose(in);
    fclose(out);
}

static void certificates_are_read_again_and_bad_ones_change_nothing(void **state)
{
    (void)state;
    char own[80], own_key[80], text[4096];
    struct toy t = {0};
    struct reload r = {.toy = &t};
    struct http_task task = {.run = reload, .argument = &r};
    snprintf(own, sizeof own, "%s/own", folder);
    snprintf(own_key, sizeof own_key, "%s/own-key", folder);
    copy_file(cert, own);
    copy_file(key, own_key);
    struct http_options o = tls_options(&t);
    o.tls_cert = own;
    o.tls_key = own_key;
    start(&t, &o);
    long first = serial_of(&t);
    struct client before = dial_tls(&t);
    copy_file(other_cert, own); /* and not its key */
    http_server_post(t.server, &task);
    WAIT_FOR(r.n_done == 1);
    assert_true(!r.ok && strstr(r.error.text, "is not the key of") != NULL);
    assert_int_equal(serial_of(&t), first);
    copy_file(other_key, own_key);
    http_server_post(t.server, &task);
    WAIT_FOR(r.n_done == 2);
    assert_true(r.ok);
    assert_int_not_equal(serial_of(&t), first);
    send_tls(&before, "GET /echo HTTP/1.1\r\n" CLOSE "\r\n"); /* goes on with what it has */
    receive_tls(&before, text, sizeof text, NULL, 0);
    assert_memory_equal(text, "HTTP/1.1 200 OK", 15);
    leave(&before);
    stop(&t);
    unlink(own);
    unlink(own_key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_strong_is_spoken),
        cmocka_unit_test(the_protocol_is_named),
        cmocka_unit_test(nobody_negotiates_twice),
        cmocka_unit_test(a_long_body_comes_back_whole),
        cmocka_unit_test(requests_that_wait_in_a_record_are_answered),
        cmocka_unit_test(a_slow_reader_holds_its_stream_back),
        cmocka_unit_test(a_client_that_takes_nothing_is_dropped),
        cmocka_unit_test(a_client_that_leaves_is_noticed),
        cmocka_unit_test(a_half_closed_client_gets_its_answer),
        cmocka_unit_test(what_is_answered_reaches_a_half_closed_client),
        cmocka_unit_test(a_handshake_that_does_not_end_in_time_is_dropped),
        cmocka_unit_test(what_is_no_tls_is_refused),
        cmocka_unit_test(who_gives_up_leaves_nothing),
        cmocka_unit_test(a_drain_closes_what_is_idle_and_waits_for_the_rest),
        cmocka_unit_test(a_file_that_will_not_do_is_named_with_the_reason),
        cmocka_unit_test(what_is_odd_is_told),
        cmocka_unit_test(certificates_are_read_again_and_bad_ones_change_nothing),
    };
    return cmocka_run_group_tests(tests, make_client, free_client);
}
