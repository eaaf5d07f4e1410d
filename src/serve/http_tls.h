/* http_tls.h - TLS under the HTTP server: certificates, and connections that speak it. TLS 1.2 and
 * 1.3 with ephemeral keys and authenticated ciphers alone, no renegotiation, no compression, ALPN
 * "http/1.1".
 *
 * Threads: the I/O thread's. OpenSSL's queue of errors is empty after every function. */
#ifndef SERVE_HTTP_TLS_H
#define SERVE_HTTP_TLS_H

#include "base/error.h"

#include <event2/bufferevent.h>
#include <openssl/ssl.h>

/* PEM files: a certificate with those between it and its root behind it, and its key. `note`
 * (NULL: not wanted) is told what is odd with them, a phrase each: out of date, a key that others
 * can read. A key with a pass phrase, or one of another certificate, is an error. ERROR_IO,
 * naming the file and the reason; NULL then. Freed with SSL_CTX_free(); connections keep
 * their own reference. */
SSL_CTX *http_tls_load(const char *certificate, const char *key, void (*note)(const char *text),
                       struct error *e);

/* The server's side of a connection, which closes fd; BEV_EVENT_CONNECTED tells that the handshake
 * is done. Callbacks come from the loop alone. NULL, and fd is the caller's, when memory runs
 * out. */
struct bufferevent *http_tls_accept(SSL_CTX *ctx, struct event_base *base, evutil_socket_t fd);

/* For the handshake's error: what came was HTTP without TLS. */
bool http_tls_met_http(struct bufferevent *bev);

/* After BEV_EVENT_EOF: what is to be written still is, and nothing more is read. */
void http_tls_end_reading(struct bufferevent *bev);

/* Tells the client that nothing more comes. Output must be empty. */
void http_tls_end_writing(struct bufferevent *bev);

#endif
