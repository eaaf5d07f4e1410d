/* http_tls.c - certificates, and libevent's bufferevents over OpenSSL. */
#include "serve/http_tls.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/bufferevent_struct.h>
#include <event2/event.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of TLS 1.2: Mozilla's "intermediate" recommendation without finite-field Diffie-Hellman. All are
 * strong, so that the client, who knows whether its CPU computes AES, chooses. */
static const char ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                              "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                              "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

/* --- files */

/* With the reason of OpenSSL's first error. */
static bool refuse_file(const char *path, struct error *e)
{
    unsigned long code = ERR_peek_error();
    const char *reason = ERR_reason_error_string(code);
    bool is_empty =
        (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE) ||
        ERR_GET_REASON(code) == ERR_R_UNSUPPORTED;
    ERR_clear_error();
    return error_set(e, ERROR_IO, "%s: %s", path,
                     is_empty         ? "there is none in PEM form"
                     : reason != NULL ? reason
                                      : "it cannot be read");
}

/* For the system's reason, which OpenSSL does not tell. Opened like this a pipe to which nobody
 * writes is not waited for, and OpenSSL never gets to see one. */
static bool find_file(const char *path, struct error *e)
{
    struct stat file;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    bool ok = fd >= 0 && fstat(fd, &file) == 0;
    if (!ok) {
        error_set(e, ERROR_IO, "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(file.st_mode)) {
        ok = error_set(e, ERROR_IO, "%s: no regular file", path);
    }
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

/* Nobody is asked for a pass phrase: a server has nobody to ask. */
static int give_no_phrase(char *out, int n, int is_writing, void *asked)
{
    (void)out;
    (void)n;
    (void)is_writing;
    *(bool *)asked = true;
    return -1;
}

static bool use_certificate(SSL_CTX *ctx, const char *path, struct error *e)
{
    return find_file(path, e) &&
           (SSL_CTX_use_certificate_chain_file(ctx, path) == 1 || refuse_file(path, e));
}

static bool use_key(SSL_CTX *ctx, const char *path, struct error *e)
{
    bool has_phrase = false;
    if (!find_file(path, e)) {
        return false;
    }
    SSL_CTX_set_default_passwd_cb(ctx, give_no_phrase);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, &has_phrase);
    bool ok = SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) == 1;
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
    if (has_phrase) {
        ERR_clear_error();
        return error_set(e, ERROR_IO, "%s: it has a pass phrase; write it without one", path);
    }
    return ok || refuse_file(path, e);
}

/* --- what is odd */

static void note_time(const ASN1_TIME *time, const char *path, const char *what,
                      void (*note)(const char *text))
{
    char text[ERROR_TEXT_BYTES];
    struct tm t = {0};
    ASN1_TIME_to_tm(time, &t);
    snprintf(text, sizeof text, "%s: the certificate %s %04d-%02d-%02d %02d:%02d UTC", path, what,
             t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min);
    note(text);
}

static void note_oddities(SSL_CTX *ctx, const char *certificate, const char *key,
                          void (*note)(const char *text))
{
    const X509 *own = SSL_CTX_get0_certificate(ctx);
    struct stat file;
    if (X509_cmp_current_time(X509_get0_notAfter(own)) < 0) {
        note_time(X509_get0_notAfter(own), certificate, "has expired at", note);
    }
    if (X509_cmp_current_time(X509_get0_notBefore(own)) > 0) {
        note_time(X509_get0_notBefore(own), certificate, "is not valid before", note);
    }
    if (stat(key, &file) == 0 && (file.st_mode & S_IRWXO) != 0) {
        char text[ERROR_TEXT_BYTES];
        snprintf(text, sizeof text,
                 "%s: every user of this machine may read or write the key (mode "
                 "%03o)",
                 key, (unsigned)(file.st_mode & 0777));
        note(text);
    }
}

/* --- the context */

/* A client that names its protocols, and not this one, would not understand the answers. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                           const unsigned char *offered, unsigned n, void *argument)
{
    static const unsigned char own[] = "\x08http/1.1";
    (void)ssl;
    (void)argument;
    for (unsigned at = 0; at < n && at + 1U + offered[at] <= n; at += 1U + offered[at]) {
        if (offered[at] == own[0] && memcmp(offered + at + 1, own + 1, own[0]) == 0) {
            *out = offered + at + 1;
            *out_n = own[0];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool set_up(SSL_CTX *ctx)
{
    /* A client that closes without saying so is one that closes: requests say how long they are. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* Never SSL_MODE_ENABLE_PARTIAL_WRITE: libevent 2.1 would go on with the next piece of its
     * buffer after a part of one was written. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets do without */
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(ctx, ciphers) == 1 &&
           SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") == 1;
}

SSL_CTX *http_tls_load(const char *certificate, const char *key, void (*note)(const char *text),
                       struct error *e)
{
    if (OSSL_LIB_CTX_get0_global_default() == NULL) { /* see secret_digest() */
        error_set(e, ERROR_MEMORY, "no TLS: no memory");
        return NULL;
    }
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    bool ok = ctx != NULL && set_up(ctx);
    if (!ok) {
        error_set(e, ERROR_MEMORY, "no TLS: %s", ERR_reason_error_string(ERR_peek_last_error()));
    }
    ok = ok && use_key(ctx, key, e) && use_certificate(ctx, certificate, e);
    if (ok && SSL_CTX_check_private_key(ctx) != 1) {
        ok = error_set(e, ERROR_IO, "%s: it is not the key of the certificate in %s", key,
                       certificate);
    }
    if (ok && note != NULL) {
        note_oddities(ctx, certificate, key, note);
    }
    ERR_clear_error();
    if (!ok) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

/* --- connections */

/* libevent 2.1 goes on reading when the socket becomes readable. What OpenSSL has taken from it
 * already, the rest of a record that did not fit below the watermark, would lie there for ever. */
static void on_taken(struct evbuffer *input, const struct evbuffer_cb_info *info, void *argument)
{
    struct bufferevent *bev = argument;
    (void)input;
    if (info->n_deleted > 0 && SSL_pending(bufferevent_openssl_get_ssl(bev)) > 0) {
        event_active(&bev->ev_read, EV_READ, 0);
    }
}

struct bufferevent *http_tls_accept(SSL_CTX *ctx, struct event_base *base, evutil_socket_t fd)
{
    ERR_clear_error();
    SSL *ssl = SSL_new(ctx);
    /* libevent 2.1 would not look whether it can do that, and never close the socket. */
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    /* Deferred: within a call that writes, too, libevent may find that the client has left. */
    struct bufferevent *bev = bufferevent_openssl_socket_new(
        base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (bev != NULL) { /* else it has freed ssl */
        bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
        evbuffer_add_cb(bufferevent_get_input(bev), on_taken, bev);
    }
    ERR_clear_error();
    return bev;
}

bool http_tls_met_http(struct bufferevent *bev)
{
    unsigned long code = bufferevent_get_openssl_error(bev);
    return ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_HTTP_REQUEST;
}

void http_tls_end_reading(struct bufferevent *bev)
{
    bufferevent_disable(bev, EV_READ);
    bufferevent_enable(bev, EV_WRITE); /* libevent 2.1 has stopped that, too */
}

void http_tls_end_writing(struct bufferevent *bev)
{
    SSL_shutdown(bufferevent_openssl_get_ssl(bev));
    ERR_clear_error(); /* whether it could be told makes no difference */
}
