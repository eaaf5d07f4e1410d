/* serving_limits.c - defaults, sizes, and the limits that are parts of others. */
#include "cmd/serving_limits.h"

#include <stdio.h>

enum { MS = 1000, BODIES_AT_ONCE = 16 };

void serving_limits_init(struct serving_limits *l, const struct http_limits *http)
{
    const uint64_t kib = 1 << 10, mib = 1 << 20, gib = 1 << 30;
    *l = (struct serving_limits){
        .connections = http->connections,
        /* Below 1K not even a question with a model's name of some length would fit. */
        .head = {.bytes = http->head_bytes, .least = kib, .most = mib},
        .body = {.bytes = http->body_bytes, .least = kib, .most = 4 * gib},
        /* What an answer is written in is less: a vector, the tokens of a step. */
        .output = {.bytes = http->output_bytes, .least = mib, .most = gib},
        .answer = {.bytes = 64 * mib, .least = 64 * kib, .most = gib},
        .head_s = http->head_ms / MS,
        .body_s = http->body_ms / MS,
        .idle_s = http->idle_ms / MS,
        .stall_s = http->stall_ms / MS,
        .queue = WORKER_DEFAULT_QUEUE};
    api_limits_default(&l->service.api);
    l->schema_values = 0;
}

static void name_bytes(uint64_t n, char out[static 24])
{
    static const char units[] = "BKMG";
    size_t i = 0;
    for (; n >= 1024; i++) {
        n /= 1024;
    }
    snprintf(out, 24, "%llu%c", (unsigned long long)n, units[i]);
}

bool serving_set_size(void *target, const char *value, struct error *e)
{
    struct serving_size *s = target;
    uint64_t bytes;
    char least[24], most[24];
    if (!options_parse_size(value, &bytes, e)) {
        return false;
    }
    if (bytes < s->least || bytes > s->most) {
        name_bytes(s->least, least);
        name_bytes(s->most, most);
        return error_set(e, ERROR_USAGE, "'%s' is not from %s to %s", value, least, most);
    }
    s->bytes = (size_t)bytes;
    return true;
}

/* A part that is more than the whole would change nothing. */
static bool check_part(const char *option, uint32_t part, const char *of, uint32_t whole,
                       struct error *e)
{
    return part <= whole || error_set(e, ERROR_USAGE, "option --%s: %u is more than the %u of --%s",
                                      option, part, whole, of);
}

static uint32_t half(uint32_t n)
{
    return (n + 1) / 2;
}

bool serving_limits_choose(struct serving_limits *l, struct http_limits *out, struct error *e)
{
    if (!check_part("max-connections-per-address", l->per_address, "max-connections",
                    l->connections, e) ||
        !check_part("queue-per-key", l->queue_per_key, "queue", l->queue, e) ||
        !check_part("max-schema-values", l->schema_values, "max-json-values", l->service.api.values,
                    e)) {
        return false;
    }
    struct api_limits *api = &l->service.api;
    bool is_less = api->values < api->schema_values;
    api->schema_values = l->schema_values > 0 ? l->schema_values
                         : is_less            ? api->values
                                              : api->schema_values;
    l->queue_per_key = l->queue_per_key > 0 ? l->queue_per_key : half(l->queue);
    l->service.api.tokens = l->tokens > 0 ? l->tokens : API_TO_CONTEXT_END;
    l->service.body_bytes = l->body.bytes;
    l->service.answer_bytes = l->answer.bytes;
    l->service.stream_bytes = l->output.bytes;
    out->connections = l->connections;
    out->per_address = l->per_address > 0 ? l->per_address : half(l->connections);
    out->head_bytes = l->head.bytes;
    out->body_bytes = l->body.bytes;
    out->all_bodies_bytes = l->body.bytes * BODIES_AT_ONCE;
    out->output_bytes = l->output.bytes;
    out->head_ms = l->head_s * MS;
    out->body_ms = l->body_s * MS;
    out->idle_ms = l->idle_s * MS;
    out->stall_ms = l->stall_s * MS;
    return true;
}
