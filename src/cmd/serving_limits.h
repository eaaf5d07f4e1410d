/* serving_limits.h - what `puna serve` lets a client have, as its options say. */
#ifndef CMD_SERVING_LIMITS_H
#define CMD_SERVING_LIMITS_H

#include "cmd/options.h"
#include "serve/http.h"
#include "serve/service.h"

/* Every connection is a file. */
enum { SERVING_MOST_CONNECTIONS = 65536, SERVING_MOST_N = 128 };

/* A number of bytes as an option gives it. */
struct serving_size {
    size_t bytes; /* the default, or what was given */
    uint64_t least, most;
};

struct serving_limits {
    uint32_t connections, per_address; /* per_address 0: half of them */
    struct serving_size head, body, output, answer;
    uint32_t head_s, body_s, idle_s, stall_s;
    uint32_t queue, queue_per_key; /* queue_per_key 0: half of the queue */
    uint32_t schema_values;        /* 0: what api_limits_default() says, or api.values if less */
    uint32_t tokens;               /* of an answer; 0: what the context leaves */
    struct service_limits service; /* what is above is filled in by serving_limits_choose() */
};

/* clang-format off */
#define OPTION_SERVING_SIZE(name, target, help)                                                    \
    {OPTION_CALL, name, 0, NULL, "SIZE", &(target), 0, 0, help, serving_set_size}

#define OPTIONS_SERVING_LIMITS(l)                                                                  \
    {OPTION_HEADING, .help = "Limits of clients and their requests"},                              \
    {OPTION_U32, "max-connections", 0, NULL, "N", &(l).connections, 1, SERVING_MOST_CONNECTIONS,   \
     "clients at once, up to 65536 (default: 4096)", NULL},                                        \
    {OPTION_U32, "max-connections-per-address", 0, NULL, "N", &(l).per_address, 1,                 \
     SERVING_MOST_CONNECTIONS,                                                                     \
     "of them, from one IPv4 address or IPv6 /64 (default: half);\n"                               \
     "local sockets have none", NULL},                                                             \
    OPTION_SERVING_SIZE("max-header", (l).head,                                                    \
     "bytes of a request's first line and fields, 1K to 1M\n(default: 64K)"),                      \
    OPTION_SERVING_SIZE("max-body", (l).body,                                                      \
     "bytes of a request's body, 1K to 4G (default: 16M); of all\nthat come or are worked on "     \
     "16 times as many"),                                                                          \
    {OPTION_U32, "header-timeout", 0, NULL, "SECONDS", &(l).head_s, 1, 86400,                      \
     "from the first byte of a header to its last, and for a TLS\nhandshake (default: 10)", NULL}, \
    {OPTION_U32, "body-timeout", 0, NULL, "SECONDS", &(l).body_s, 1, 86400,                        \
     "for every 256 KiB of a body (default: 30)", NULL},                                           \
    {OPTION_U32, "idle-timeout", 0, NULL, "SECONDS", &(l).idle_s, 1, 86400,                        \
     "between requests of a connection (default: 75)", NULL},                                      \
    {OPTION_U32, "write-timeout", 0, NULL, "SECONDS", &(l).stall_s, 1, 86400,                      \
     "without a byte taken of an answer (default: 30)", NULL},                                     \
    OPTION_SERVING_SIZE("max-output", (l).output,                                                  \
     "unread bytes of a stream, 1M to 1G; a client that leaves\nmore is dropped (default: 4M)"),  \
    OPTION_SERVING_SIZE("max-answer", (l).answer,                                                  \
     "bytes of an answer without stream, 64K to 1G (default: 64M)"),                               \
    {OPTION_U32, "queue", 0, NULL, "N", &(l).queue, 1, 1 << 20,                                    \
     "requests that may wait; more are refused (default: 64)", NULL},                              \
    {OPTION_U32, "queue-per-key", 0, NULL, "N", &(l).queue_per_key, 1, 1 << 20,                    \
     "of them, of one API key (default: half)", NULL},                                             \
    {OPTION_U32, "max-json-depth", 0, NULL, "N", &(l).service.api.depth, 4, 1024,                  \
     "arrays and objects of a body within each other, 4 to 1024\n(default: 64)", NULL},            \
    {OPTION_U32, "max-json-objects", 0, NULL, "N", &(l).service.api.containers, 4, 1 << 20,        \
     "arrays and objects of a body in all (default: 65536)", NULL},                                \
    {OPTION_U32, "max-json-values", 0, NULL, "N", &(l).service.api.values, 16, 1 << 24,            \
     "elements and members of a body, 320 bytes of memory each\n(default: 524288)", NULL},        \
    {OPTION_U32, "max-schema-values", 0, NULL, "N", &(l).schema_values, 16, 1 << 24,               \
     "of them, beside messages, prompt, input, content and\ntokens: schemas, tools (default: "     \
     "65536)", NULL},                                                                              \
    {OPTION_U32, "max-messages", 0, NULL, "N", &(l).service.api.messages, 1, 65536,                \
     "messages of a chat, up to 65536 (default: 4096)", NULL},                                     \
    {OPTION_U32, "max-tokens", 0, NULL, "N", &(l).tokens, 1, INT32_MAX,                \
     "tokens of an answer (default: what --ctx leaves)", NULL},                                    \
    {OPTION_U32, "max-stop", 0, NULL, "N", &(l).service.api.stops, 1, API_MAX_STOPS,               \
     "stop strings of a request, up to 16 (default: 4)", NULL},                                    \
    {OPTION_U32, "max-logit-bias", 0, NULL, "N", &(l).service.api.logit_bias, 0,                   \
     SAMPLER_MAX_BIASES,                                                                           \
     "entries of logit_bias, up to 1024 (default: 1024)", NULL},                                   \
    {OPTION_U32, "max-n", 0, NULL, "N", &(l).service.api.n, 1, SERVING_MOST_N,                     \
     "answers to a prompt, n and best_of, up to 128 (default: 16)", NULL}
/* clang-format on */

/* For the table of options: target is a struct serving_size. */
bool serving_set_size(void *target, const char *value, struct error *e);

/* What is there when no option is given: http's, and the others' own. */
void serving_limits_init(struct serving_limits *l, const struct http_limits *http);

/* Works out what depends on other options, and fills in the server's limits. ERROR_USAGE names the
 * option. */
bool serving_limits_choose(struct serving_limits *l, struct http_limits *out, struct error *e);

#endif
