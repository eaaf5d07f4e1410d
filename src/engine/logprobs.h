/* logprobs.h - log-probabilities from logits: of one token, and the most probable ones.
 *
 * They are what the model says: before bias, penalties, filters and temperature, over all tokens
 * that may be chosen. In doubles, the maximum subtracted. Pure: any thread. */
#ifndef ENGINE_LOGPROBS_H
#define ENGINE_LOGPROBS_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct logprob {
    uint32_t token;
    double logprob; /* <= 0, natural logarithm; -inf where the logit is */
};

/* ERROR_FORMAT naming a token whose logit is no finite number, and how many tokens came before. */
bool logprobs_check(const float *logits, uint32_t n, size_t n_before, struct error *e);

/* log(sum of exp(logit)) over n > 0 logits that are numbers or -inf, not all of them -inf. */
double logprobs_log_sum(const float *logits, uint32_t n);

/* The n_top most probable of n tokens, best first, equal ones by ascending id. log_sum as above.
 * needs   n_top <= n; top (n_top) */
void logprobs_top(const float *logits, uint32_t n, double log_sum, struct logprob *top,
                  uint32_t n_top);

#endif
