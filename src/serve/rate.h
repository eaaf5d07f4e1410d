/* rate.h - so much a minute: a bucket that fills steadily and holds what a minute brings. Pure, one
 * owner; times are clock_now_ns(). */
#ifndef SERVE_RATE_H
#define SERVE_RATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RATE_NO_LIMIT UINT32_MAX

struct rate {
    uint32_t per_minute; /* > 0; RATE_NO_LIMIT: the rest means nothing */
    double level;        /* what may be taken */
    uint64_t at_ns;      /* when that was so */
};

/* Full. */
void rate_init(struct rate *r, uint32_t per_minute, uint64_t now_ns);

/* Another limit: what was taken stays taken. */
void rate_change(struct rate *r, uint32_t per_minute, uint64_t now_ns);

/* Takes n, or nothing when there is less. */
bool rate_take(struct rate *r, uint64_t n, uint64_t now_ns);

/* Gives back what was taken and not used. */
void rate_give_back(struct rate *r, uint64_t n, uint64_t now_ns);

/* What may be taken now; UINT64_MAX without a limit. */
uint64_t rate_left(struct rate *r, uint64_t now_ns);

/* Seconds until n may be taken; n <= per_minute. */
double rate_wait_s(struct rate *r, uint64_t n, uint64_t now_ns);

/* As OpenAI writes it: "0s", "120ms", "8.64s", "1m0s"; rounded up. */
enum { RATE_TIME_BYTES = 32 };
void rate_print_time(double seconds, char out[RATE_TIME_BYTES]);

#endif
