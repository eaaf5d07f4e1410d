/* listening.h - where `puna serve` listens, as its options say. */
#ifndef CMD_LISTENING_H
#define CMD_LISTENING_H

#include "cmd/options.h"
#include "serve/http.h"

enum { LISTENING_MOST_HOSTS = 16 };

struct listening {
    const char *hosts[LISTENING_MOST_HOSTS];
    size_t n_hosts;
    uint32_t port;
    uint32_t unix_mode;
    const char *tls_cert, *tls_key; /* NULL: not given */
};

/* clang-format off */
#define OPTIONS_LISTENING(l)                                                                       \
    {OPTION_CALLS, "host", 0, NULL, "NAME", &(l), 0, 0,                                            \
     "address to listen on, or unix:PATH for a local socket; may\n"                                \
     "be given many times (default: 127.0.0.1)",                                                   \
     listening_add_host},                                                                          \
    {OPTION_U32, "port", 0, NULL, "N", &(l).port, 0, 65535,                                        \
     "port to listen on (default: 8080; 0: any that is free)", NULL},                              \
    {OPTION_CALL, "unix-mode", 0, NULL, "MODE", &(l).unix_mode, 0, 0,                              \
     "permissions of local sockets' files (default: 600)", listening_set_mode},                    \
    {OPTION_TEXT, "tls-cert", 0, NULL, "FILE", &(l).tls_cert, 0, 0,                                \
     "speak TLS 1.2 and 1.3 with this certificate, in PEM form,\n"                                 \
     "those of its authorities behind it, but on local sockets;\n"                                 \
     "SIGHUP reads it again",                                                                      \
     NULL},                                                                                        \
    {OPTION_TEXT, "tls-key", 0, NULL, "FILE", &(l).tls_key, 0, 0,                                  \
     "the certificate's key, in PEM form without a pass phrase", NULL}
/* clang-format on */

/* What is there when no option is given. */
void listening_init(struct listening *l);

/* For the table of options: target is the struct, or its unix_mode. */
bool listening_add_host(void *target, const char *value, struct error *e);
bool listening_set_mode(void *target, const char *value, struct error *e);

/* Fills in the server's options, which borrow from *l and `given`: sockets that a service manager
 * opened, in the place of hosts. ERROR_USAGE names the option. */
bool listening_choose(const struct listening *l, const int *given, size_t n_given,
                      struct http_options *out, struct error *e);

#endif
