/* service_manager.h - what is said between systemd and a service: sockets that it opened, and
 * messages about what the service does (sd_listen_fds(3), sd_notify(3)). Without such a manager
 * nothing is taken and nothing told.
 *
 * Threads: one at a time. */
#ifndef CMD_SERVICE_MANAGER_H
#define CMD_SERVICE_MANAGER_H

#include "cmd/cmd.h"

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { SERVICE_MANAGER_SOCKETS = 16 };

struct service_manager {
    int sockets[SERVICE_MANAGER_SOCKETS]; /* that listen; whoever uses them closes them */
    size_t n_sockets;
    uint32_t watchdog_ms; /* between signs of life, half of what the manager waits; 0: none */
    bool is_told;         /* there is one that wants to hear */

    int fd; /* to it */
    struct sockaddr_un address;
    socklen_t address_bytes;
};

/* ERROR_USAGE names the variable that makes no sense. service_manager_close() then, too. */
bool service_manager_open(struct service_manager *m, const struct cmd_env *env, struct error *e);
void service_manager_close(struct service_manager *m);

/* A message of lines NAME=VALUE: READY=1, STATUS=..., STOPPING=1. Waits a second at most; one that
 * cannot be sent is lost. */
void service_manager_tell(const struct service_manager *m, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
