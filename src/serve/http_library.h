/* http_library.h - what libevent is given: memory, and nobody to talk to.
 *
 * When memory runs out, version 2.1 takes note in most places, and goes on with a null pointer in
 * some (evbuffer_add_cb(), bufferevent_openssl_socket_new()): what a connection is made of comes
 * from a reserve then; what it reads and writes does not. What libevent has to say it would write
 * to standard error, and wait for who reads that.
 * Threads: any. */
#ifndef SERVE_HTTP_LIBRARY_H
#define SERVE_HTTP_LIBRARY_H

#include <stdbool.h>

/* Before anything else is asked of libevent; again: nothing. */
void http_library_install(void);

/* Whether there is enough of the reserve for another connection. */
bool http_library_has_reserve(void);

#endif
