/* http.h - an HTTP/1.1 server on one thread: whole requests in, whole answers or streams out. It
 * knows nothing of models. Strict (RFC 9112: refuse rather than repair) and bounded in everything a
 * client can make grow.
 *
 * Threads: all functions belong to the thread in http_server_run() (the I/O thread), but for
 * http_server_post(), http_server_unpost() and http_server_stop(), which any thread may call.
 *
 * An exchange is a request and its answer. From the call of the handler on it is the handler's (or
 * whoever it gives it to), until exactly one of three ends it:
 *   http_reply() and its kin     the whole answer
 *   http_stream_end()            the end of an answer begun with http_stream_begin()
 *   the close callback           the client left, or stopped reading, before either of these
 * After that it is gone. Who keeps an exchange beyond the handler's return must have set
 * http_on_close(). None of these functions but http_server_destroy() calls a close callback: it
 * comes from the loop.
 * A client has left, too, when it closes its sending side alone (half_close: see http_options), or
 * sends more than about 64 KiB or limits.head_bytes ahead of the answer: an end behind that cannot
 * be seen. */
#ifndef SERVE_HTTP_H
#define SERVE_HTTP_H

#include "base/error.h"
#include "base/str.h"
#include "serve/api_error.h"

#include <stdint.h>

struct http_server;
struct http_exchange;

/* --- the server */

typedef void http_handler_fn(void *context, struct http_exchange *x);

enum { HTTP_CLIENT_LEFT = 499 }; /* the status of an exchange whose client left before its end */

/* What became of an exchange. */
struct http_outcome {
    int status;          /* or HTTP_CLIENT_LEFT */
    uint64_t body_bytes; /* written of the answer's body */
    uint64_t ns;         /* from when the request was complete to now */
};
typedef void http_end_fn(void *context, const struct http_exchange *x,
                         const struct http_outcome *outcome);

struct http_limits {
    size_t head_bytes;       /* request line and header fields */
    size_t target_bytes;     /* within the request line */
    size_t body_bytes;       /* of a request */
    size_t all_bodies_bytes; /* of all requests being received or worked on */
    size_t output_bytes;     /* that a client may leave unread of a stream before it is dropped */
    uint32_t connections;    /* in all */
    uint32_t per_address;    /* of one IPv4 address or IPv6 /64; local sockets have none */
    uint32_t head_ms;        /* from the first byte of a head to its last; for a TLS handshake */
    uint32_t body_ms;        /* for every 256 KiB of a body */
    uint32_t idle_ms;        /* between requests, from when the answer is written */
    uint32_t stall_ms;       /* without a byte taken of an answer */
};

struct http_options {
    /* Names and addresses to listen on, 16 at most; "unix:PATH" is a local socket, which replaces
     * one at that path on which nobody listens, and is removed at the end; "unix:@NAME" has no
     * file. */
    const char *const *hosts;
    size_t n_hosts;
    unsigned unix_mode; /* permissions of the files of local sockets */
    uint16_t port;      /* of the others; 0: a free one, see http_server_port() */
    /* Sockets that listen already, beside hosts; the server takes them over. */
    const int *given;
    size_t n_given;
    bool only_loopback; /* refuse a host that other machines can reach */
    /* The client's closing its sending side alone does not end an exchange: then a client that
     * leaves is only noticed when something is written or its connection is reset. */
    bool half_close;
    struct http_limits limits;
    /* PEM files (see http_tls.h), both or neither: with them all but local sockets speak
     * TLS. */
    const char *tls_cert, *tls_key;
    void (*tls_note)(const char *text); /* what is odd with them; NULL: not wanted */
    /* Origins of web pages that may call; none: all may. A request of another page, but for one of
     * the server's own origin, is answered with 403 and goes no further. */
    const struct str *origins;
    size_t n_origins;
    /* Called with the head alone, before any of the body is read (NULL: not wanted). It may end
     * the exchange with http_reply(): then the body is not read and the connection closes. It may
     * not keep the exchange or begin a stream. Preflights of browsers never come here, nor what
     * `origins` refuses. */
    http_handler_fn *on_head;
    http_handler_fn *on_request; /* called with the whole request */
    /* Called when the head of an answer is about to be written, also of one that the server gives
     * by itself: for http_add_header(). NULL: not wanted. */
    http_handler_fn *on_answer;
    /* Called once for every exchange, preflights and what could not be read as a request too, when
     * it has ended; x may be read. NULL: not wanted. */
    http_end_fn *on_end;
    void *context; /* for all four */
};

/* Limits that are safe on a small machine; host 127.0.0.1, port 8080. */
void http_options_init(struct http_options *o);

/* Listens on every address of o->hosts; strings and arrays of *o must outlive the server. Nothing
 * is accepted before http_server_run(). While the file of a local socket is made the process has
 * another umask: no other thread may make files then. ERROR_IO names the address when it cannot be
 * had, ERROR_USAGE a host that only_loopback forbids; those of http_tls_load(); NULL then. */
struct http_server *http_server_create(const struct http_options *o, struct error *e);

/* Closes every connection (close callbacks come from here then) and frees; tasks that wait are not
 * run. Takes NULL. */
void http_server_destroy(struct http_server *s);

uint16_t http_server_port(const struct http_server *s);
/* Of the i-th host or given socket: "http://127.0.0.1:8080", with TLS "https", the host as it was
 * given; "unix:PATH"; NULL behind the last one. Lives as long as s. */
const char *http_server_url(const struct http_server *s, size_t i);

/* Reads certificate and key again, for connections to come. False: the old ones stay. */
bool http_server_reload_tls(struct http_server *s, struct error *e);

/* Serves until http_server_stop() or the end of a drain. SIGPIPE is blocked in this thread. */
bool http_server_run(struct http_server *s, struct error *e);

/* Makes http_server_run() return. Any thread, and signal handlers. */
void http_server_stop(struct http_server *s);

/* Accepts nothing new, closes idle connections, lets the others finish, and returns from
 * http_server_run() when none is left or after timeout_ms; what still runs then is dropped by
 * http_server_destroy(). Again: a shorter time may be given. Returns how many clients are waited
 * for. */
uint32_t http_server_drain(struct http_server *s, uint32_t timeout_ms);
bool http_server_is_draining(const struct http_server *s);

/* --- work for the I/O thread: tasks, timers, signals */

/* Lies in the owner's memory, zeroed before its first use, so that posting neither allocates nor
 * fails. */
struct http_task {
    void (*run)(void *argument);
    void *argument;
    struct http_task *next; /* private, as is `waits` */
    bool waits;
};

/* Has t->run called once on the I/O thread, in the order of posting. A task that waits already
 * stays where it is. Any thread. */
void http_server_post(struct http_server *s, struct http_task *t);
/* Takes it back if it waits. Any thread; on the I/O thread it will not run after this returns. */
void http_server_unpost(struct http_server *s, struct http_task *t);

struct http_timer;
struct http_timer *http_timer_create(struct http_server *s, void (*run)(void *argument),
                                     void *argument, struct error *e);
void http_timer_destroy(struct http_timer *t);            /* before its server; takes NULL */
void http_timer_start(struct http_timer *t, uint32_t ms); /* once; starting again replaces */

/* Has run called on the I/O thread for each signal of that number. At most 4 signals. */
bool http_server_on_signal(struct http_server *s, int number, void (*run)(void *argument),
                           void *argument, struct error *e);

/* --- the request of an exchange; views live as long as it does, and are empty where what came
 * could not be read */

struct str http_method(const struct http_exchange *x);
struct str http_path(const struct http_exchange *x); /* %XX decoded, valid UTF-8 without NUL */
/* What is behind '?', as it came; empty where there is nothing. */
struct str http_query(const struct http_exchange *x);
/* Value of the first field of that name, whatever its case; p is NULL where there is none. */
struct str http_header(const struct http_exchange *x, const char *name);
struct str http_body(const struct http_exchange *x);
/* Hands it over: released with buf_finish, at whatever time; empty for the exchange then. */
struct buf http_take_body(struct http_exchange *x);
const char *http_peer(const struct http_exchange *x); /* "127.0.0.1:4711", "[::1]:4711", "unix" */
/* The client's own X-Request-Id where it is 1..128 of A-Z a-z 0-9 . _ : / + = @ -, else a new
 * one. */
const char *http_request_id(const struct http_exchange *x);
struct http_server *http_exchange_server(const struct http_exchange *x);

/* Something of the owner's that on_end may want; NULL at first. Must live as long as x. */
void http_attach(struct http_exchange *x, void *thing);
void *http_attached(const struct http_exchange *x);

/* Who asks, as on_head has found; for on_end to let go of. NULL at first. */
void http_set_caller(struct http_exchange *x, void *caller);
void *http_caller(const struct http_exchange *x);

/* `fn` is called at once when the client leaves, at most once and never after the exchange ended
 * otherwise; x may be read in it and is gone when it returns. NULL takes it back. */
void http_on_close(struct http_exchange *x, void (*fn)(void *argument), void *argument);

/* --- the answer. Every answer also carries date, x-request-id, openai-processing-ms, cache-control
 * (no-store), and what a web page of another origin needs. Memory that runs out closes the
 * connection and needs no care of the owner. */

/* A field of the answer to come; name and value are copied. One that is no header field (line
 * breaks ...) is left out and false returned. Content-Length, Transfer-Encoding and Connection are
 * not the owner's. */
bool http_add_header(struct http_exchange *x, const char *name, const char *value);

/* type: of the body; NULL with an empty body for none. */
void http_reply(struct http_exchange *x, int status, const char *type, struct str body);

/* Status and body of the error; 429 and 503 say when to come again; they and 500 say when it is no
 * use. */
void http_reply_error(struct http_exchange *x, const struct api_error *error);
/* The same for api_error_from(e). */
void http_reply_failure(struct http_exchange *x, const struct error *e);

void http_stream_begin(struct http_exchange *x, int status, const char *type);
/* Copies s; never blocks. Beyond limits.output_bytes the client is dropped. */
void http_stream_write(struct http_exchange *x, struct str s);
/* Bytes written that the client's system has not taken: above a few KiB, produce no more. SIZE_MAX
 * where the client is being dropped. */
size_t http_stream_pending(const struct http_exchange *x);
/* `fn` is called each time pending falls to HTTP_STREAM_LOW or below; NULL takes it back. */
enum { HTTP_STREAM_LOW = 16 << 10 };
void http_on_drain(struct http_exchange *x, void (*fn)(void *argument), void *argument);
void http_stream_end(struct http_exchange *x);

/* --- server-sent events */

void http_sse_begin(struct http_exchange *x); /* http_stream_begin with its fields */
void http_sse_data(struct http_exchange *x, struct str line); /* "data: LINE\n\n", no line break */
void http_sse_comment(struct http_exchange *x, struct str line); /* ": LINE\n\n" */
void http_sse_done(struct http_exchange *x); /* "data: [DONE]\n\n", and the end */

#endif
