/* listening.c - addresses, local sockets, and the files of TLS. */
#include "cmd/listening.h"

#include <stdlib.h>
#include <string.h>

void listening_init(struct listening *l)
{
    *l = (struct listening){.port = 8080, .unix_mode = 0600};
}

bool listening_add_host(void *target, const char *value, struct error *e)
{
    struct listening *l = target;
    if (value[0] == '\0') {
        return error_set(e, ERROR_USAGE, "a host must not be empty");
    }
    if (l->n_hosts == LISTENING_MOST_HOSTS) {
        return error_set(e, ERROR_USAGE, "more than %d hosts", LISTENING_MOST_HOSTS);
    }
    l->hosts[l->n_hosts++] = value;
    return true;
}

bool listening_set_mode(void *target, const char *value, struct error *e)
{
    uint32_t *mode = target;
    char *end;
    unsigned long n = strtoul(value, &end, 8);
    if (value[0] < '0' || value[0] > '7' || *end != '\0' || strlen(value) > 4 || n > 0777) {
        return error_set(e, ERROR_USAGE, "'%s' is not an octal number from 0 to 777", value);
    }
    *mode = (uint32_t)n;
    return true;
}

static bool are_all_local(const struct listening *l)
{
    size_t n = 0;
    while (n < l->n_hosts && strncmp(l->hosts[n], "unix:", 5) == 0) {
        n++;
    }
    return n > 0 && n == l->n_hosts;
}

bool listening_choose(const struct listening *l, const int *given, size_t n_given,
                      struct http_options *out, struct error *e)
{
    if (n_given > 0 && l->n_hosts > 0) {
        return error_set(e, ERROR_USAGE,
                         "option --host changes nothing: the service manager has opened %zu "
                         "socket%s to listen on",
                         n_given, n_given == 1 ? "" : "s");
    }
    if ((l->tls_cert == NULL) != (l->tls_key == NULL)) {
        return error_set(e, ERROR_USAGE, "option --tls-%s needs --tls-%s beside it",
                         l->tls_cert != NULL ? "cert" : "key",
                         l->tls_cert != NULL ? "key" : "cert");
    }
    if (l->tls_cert != NULL && are_all_local(l)) {
        return error_set(e, ERROR_USAGE,
                         "option --tls-cert changes nothing: every --host is a local socket, and "
                         "those speak no TLS");
    }
    if (l->n_hosts > 0 || n_given > 0) {
        out->hosts = l->hosts;
        out->n_hosts = l->n_hosts;
    }
    out->given = given;
    out->n_given = n_given;
    out->port = (uint16_t)l->port;
    out->unix_mode = l->unix_mode;
    out->tls_cert = l->tls_cert;
    out->tls_key = l->tls_key;
    return true;
}
