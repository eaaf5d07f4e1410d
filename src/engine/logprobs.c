/* logprobs.c - log-probabilities from logits. */
#include "engine/logprobs.h"

#include "base/fmath.h"

#include <math.h>

bool logprobs_check(const float *logits, uint32_t n, size_t n_before, struct error *e)
{
    for (uint32_t id = 0; id < n; id++) {
        if (!isfinite(logits[id])) {
            return error_set(e, ERROR_FORMAT,
                             "the logit of token %u after %zu tokens is %g, expected a number", id,
                             n_before, (double)logits[id]);
        }
    }
    return true;
}

double logprobs_log_sum(const float *logits, uint32_t n)
{
    double max = -INFINITY, sum = 0.0;
    for (uint32_t i = 0; i < n; i++) {
        max = (double)logits[i] > max ? (double)logits[i] : max;
    }
    for (uint32_t i = 0; i < n; i++) {
        sum += fmath_exp((double)logits[i] - max);
    }
    return max + fmath_log(sum);
}

void logprobs_top(const float *logits, uint32_t n, double log_sum, struct logprob *top,
                  uint32_t n_top)
{
    uint32_t n_found = 0;
    for (uint32_t id = 0; id < n && n_top > 0; id++) {
        double logprob = (double)logits[id] - log_sum;
        if (n_found == n_top && !(logprob > top[n_found - 1].logprob)) {
            continue;
        }
        uint32_t at = n_found < n_top ? n_found++ : n_found - 1;
        while (at > 0 && logprob > top[at - 1].logprob) {
            top[at] = top[at - 1];
            at--;
        }
        top[at] = (struct logprob){id, logprob};
    }
}
