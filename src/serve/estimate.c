/* estimate.c - waiting times. */
#include "serve/estimate.h"

#include <math.h>

double estimate_wait_s(const struct estimate_load *l, uint64_t n_ahead)
{
    uint64_t n_free = l->n_places - l->n_held;
    if (n_ahead < n_free) {
        return 0.0;
    }
    double hold_s = l->hold_s > l->held_s ? l->hold_s : l->held_s;
    return (double)(n_ahead + 1 - n_free) * hold_s / l->n_places;
}

double estimate_prompt_s(const struct estimate_load *l, uint64_t n_tokens)
{
    return l->prompt_rate > 0.0 ? (double)n_tokens / l->prompt_rate : 0.0;
}

uint32_t estimate_retry_s(double seconds)
{
    double up = ceil(seconds);
    return !(up > ESTIMATE_LEAST_RETRY_S) ? ESTIMATE_LEAST_RETRY_S
           : up < ESTIMATE_MOST_RETRY_S   ? (uint32_t)up
                                          : ESTIMATE_MOST_RETRY_S;
}
