/* rate.c - a bucket of requests or tokens. */
#include "serve/rate.h"

#include <math.h>
#include <stdio.h>

/* A whole one that filled in parts may lack the last bit. */
static const double rounding = 1e-6;

static void fill(struct rate *r, uint64_t now_ns)
{
    double seconds = now_ns > r->at_ns ? (double)(now_ns - r->at_ns) * 1e-9 : 0.0;
    r->level = fmin(r->per_minute, r->level + seconds * r->per_minute / 60.0);
    r->at_ns = now_ns;
}

void rate_init(struct rate *r, uint32_t per_minute, uint64_t now_ns)
{
    *r = (struct rate){per_minute, per_minute, now_ns};
}

void rate_change(struct rate *r, uint32_t per_minute, uint64_t now_ns)
{
    if (r->per_minute == RATE_NO_LIMIT || per_minute == RATE_NO_LIMIT) {
        rate_init(r, per_minute, now_ns);
        return;
    }
    fill(r, now_ns);
    double taken = r->per_minute - r->level;
    r->per_minute = per_minute;
    r->level = fmax(0.0, per_minute - taken);
}

uint64_t rate_left(struct rate *r, uint64_t now_ns)
{
    if (r->per_minute == RATE_NO_LIMIT) {
        return UINT64_MAX;
    }
    fill(r, now_ns);
    return (uint64_t)(r->level + rounding);
}

bool rate_take(struct rate *r, uint64_t n, uint64_t now_ns)
{
    if (rate_left(r, now_ns) < n) {
        return false;
    }
    r->level = fmax(0.0, r->level - (double)n);
    return true;
}

void rate_give_back(struct rate *r, uint64_t n, uint64_t now_ns)
{
    fill(r, now_ns);
    r->level = fmin(r->per_minute, r->level + (double)n);
}

double rate_wait_s(struct rate *r, uint64_t n, uint64_t now_ns)
{
    if (rate_left(r, now_ns) >= n) {
        return 0.0;
    }
    return ((double)n - r->level) * 60.0 / r->per_minute;
}

void rate_print_time(double seconds, char out[RATE_TIME_BYTES])
{
    unsigned long long ms = (unsigned long long)ceil(seconds * 1e3 - rounding);
    if (ms >= 60000) {
        unsigned long long whole = (ms + 999) / 1000;
        snprintf(out, RATE_TIME_BYTES, "%llum%llus", whole / 60, whole % 60);
    } else if (ms > 0 && ms < 1000) {
        snprintf(out, RATE_TIME_BYTES, "%llums", ms);
    } else if (ms % 1000 == 0) { /* 0, too, which gcc makes -0.0 on its way through an integer */
        snprintf(out, RATE_TIME_BYTES, "%llus", ms / 1000);
    } else {
        snprintf(out, RATE_TIME_BYTES, "%.10gs", (double)ms * 1e-3);
    }
}
