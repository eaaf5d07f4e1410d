/* estimate.h - how long a request will wait: pure arithmetic on what was measured.
 *
 * What is assumed
 *   - A place is a sequence of the engine. A choice begins when it has one, in the queue's order;
 *     nobody who waits leaves, and nobody of higher priority comes.
 *   - Places become free at a steady pace: all of them within the time that a choice holds one.
 *     That is the mean of those that ended lately, whatever else ran then, but no less than what
 *     all that run now have held theirs already.
 *   - Memory for keys and values holds nobody up.
 *   - A prompt is computed at the best pace lately seen for many tokens at once; what the prefix
 *     cache holds of it costs nothing. Running answers slow it down, which is left out.
 *   - How long an answer will be is not known, so that it is left out, too.
 * So the estimate errs on the short side: whoever is refused for its sake would have waited in
 * vain, and who is let in may still come too late. What was not measured yet counts as no time. */
#ifndef SERVE_ESTIMATE_H
#define SERVE_ESTIMATE_H

#include <stdint.h>

struct estimate_load {
    uint32_t n_places, n_held; /* n_places > 0 */
    double hold_s;             /* mean time that a choice holds a place; 0: none measured */
    double held_s;             /* while all are held: since the last of them was taken */
    double prompt_rate;        /* tokens of prompts a second; 0: none measured */
};

enum { ESTIMATE_LEAST_RETRY_S = 1, ESTIMATE_MOST_RETRY_S = 60 };

/* Seconds until a choice gets a place when n_ahead others that wait are before it. */
double estimate_wait_s(const struct estimate_load *l, uint64_t n_ahead);

/* Seconds that n_tokens of a prompt take. */
double estimate_prompt_s(const struct estimate_load *l, uint64_t n_tokens);

/* Whole seconds for Retry-After: up, and within what clients obey. */
uint32_t estimate_retry_s(double seconds);

#endif
