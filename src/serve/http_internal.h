/* http_internal.h - what the files of the HTTP server share: server, connection, exchange. */
#ifndef SERVE_HTTP_INTERNAL_H
#define SERVE_HTTP_INTERNAL_H

#include "base/buf.h"
#include "serve/http.h"
#include "serve/http_chunked.h"
#include "serve/http_head.h"
#include "serve/http_tls.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/types.h>

enum {
    HTTP_MAX_LISTENERS = 16,
    HTTP_MAX_SIGNALS = 4,
    HTTP_REFUSING_CONNECTIONS = 64, /* beyond the limit, only to be told so */
    HTTP_PEER_BYTES = 64,
    HTTP_ID_BYTES = 129,
    HTTP_URL_BYTES = 320
};

struct http_listener {
    struct evconnlistener *event;
    /* The file of a local socket that is to be removed, and which one it was; path NULL: none. */
    char *path;
    dev_t device;
    ino_t inode;
};

struct http_signal {
    struct event *event;
    void (*run)(void *argument);
    void *argument;
};

struct http_server {
    struct http_options options;
    uint16_t port;
    SSL_CTX *tls; /* of connections to come; NULL: they speak plain HTTP */
    struct event_base *base;
    struct http_listener listeners[HTTP_MAX_LISTENERS];
    size_t n_listeners;
    char urls[HTTP_MAX_LISTENERS][HTTP_URL_BYTES]; /* of each host and given socket */
    size_t n_urls;
    int reserve_fd; /* given up to accept and close a connection when no other is left; -1: none */
    struct event *pause_event; /* nothing is accepted until then */

    struct http_connection *connections; /* doubly linked */
    uint32_t n_connections;
    size_t bodies_bytes; /* allocated for the bodies of all exchanges */

    pthread_mutex_t tasks_lock; /* of the queue and what is linked into it */
    struct http_task *first_task, **last_task;
    int wake_fd; /* eventfd: tasks wait, or `stopping` was set */
    struct event *wake_event;
    _Atomic bool stopping;

    struct event *drain_event;
    bool draining;
    struct http_signal signals[HTTP_MAX_SIGNALS];
    size_t n_signals;
};

enum http_connection_state {
    HTTP_READING_HEAD,
    HTTP_READING_BODY,
    HTTP_ANSWERING, /* the exchange is its owner's */
    HTTP_CLOSING,   /* answers are being written, nothing more is read */
    HTTP_LINGERING, /* our side is closed; what still comes is dropped, so that no reset overtakes
                       the answer */
    HTTP_DOOMED     /* freed by the next turn of the loop */
};

struct http_connection {
    struct http_server *server;
    struct http_connection *next, **link; /* link: what points to this one */
    struct bufferevent *bev;
    struct event *timer;  /* what it means depends on the state */
    struct event *resume; /* made active to go on in a fresh turn of the loop */
    struct http_exchange *x;
    enum http_connection_state state;
    struct http_scan scan;
    struct sockaddr_storage address;
    char peer[HTTP_PEER_BYTES];
    const char *over_limit;   /* accepted only to be told this; NULL: within the limits */
    uint32_t most;            /* that may be connected, with over_limit */
    uint64_t n_next_deadline; /* bytes of the body at which its time starts anew */
    size_t n_lingered;
    bool is_tls;
    bool is_shaking;   /* hands: the handshake of TLS is under way */
    bool eof;          /* the client closed its sending side */
    bool skipped_line; /* the one empty line that may come before a request */
    bool half_written; /* pending was above HTTP_STREAM_LOW: http_on_drain is due */
};

struct http_exchange {
    struct http_connection *connection;
    struct http_head head;
    char *block; /* the bytes that head has views into */
    struct buf body;
    size_t body_counted; /* of server.bodies_bytes */
    struct http_chunked chunked;
    struct buf extra; /* header fields of the owner: "Name: value\r\n"... */
    char id[HTTP_ID_BYTES];
    uint64_t start_ns;
    void (*on_close)(void *argument);
    void *on_close_argument;
    void (*on_drain)(void *argument);
    void *on_drain_argument;
    void *attached, *caller;
    int status;          /* of the answer; 0: none is begun */
    uint64_t body_bytes; /* written of the answer's body */
    bool is_answered;
    bool has_head;        /* it could be parsed */
    bool body_pending;    /* not all of the body was read */
    bool has_cache_field; /* the owner set Cache-Control */
    bool is_chunked;      /* the stream, not the request */
};

/* --- http_listen.c */

/* As the options say; the errors of http_server_create(); http_listen_end() then, too. */
bool http_listen_on_all(struct http_server *s, struct error *e);
void http_listen_begin(struct http_server *s); /* accepts from now on */
void http_listen_end(struct http_server *s);   /* for ever; again: nothing */

/* --- http_connection.c */

/* Takes fd over. */
void http_connection_create(struct http_server *s, evutil_socket_t fd,
                            const struct sockaddr *address, socklen_t n);
/* Calls the close callback of an exchange under way. */
void http_connection_destroy(struct http_connection *c);
/* Has the state machine go on in the next turn of the loop. */
void http_connection_resume(struct http_connection *c);
/* Drops the connection, in the next turn of the loop. */
void http_connection_doom(struct http_connection *c);
/* The answer of c->x is written: frees it; `close` ends the connection after it. */
void http_connection_answered(struct http_connection *c, bool close);
/* Whether draining may end it now. */
bool http_connection_is_idle(const struct http_connection *c);

/* --- http_exchange.c */

struct http_exchange *http_exchange_create(struct http_connection *c);
/* Tells the end of it. Takes NULL. */
void http_exchange_destroy(struct http_exchange *x);
/* Chooses the request id, when the head is there. */
void http_exchange_name(struct http_exchange *x);
/* What is wrong with the request as such: answers and closes. */
void http_exchange_refuse(struct http_exchange *x, struct http_problem problem);
/* One write of several parts to a stream. */
void http_stream_write_parts(struct http_exchange *x, const struct str *parts, size_t n);

#endif
