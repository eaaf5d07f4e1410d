/* prompt_rows.c - logits to log-probabilities, hidden states to a vector. Sums are in doubles and
 * in the order of the tokens, so that they do not depend on the steps the rows came in. */
#include "serve/prompt_rows.h"

#include "base/mem.h"

#include <math.h>

/* The logits behind token `at` score the next one. */
static bool score(struct prompt_rows *p, const struct prompt_rows_rules *r, uint32_t at,
                  const float *logits, struct error *e)
{
    if (!logprobs_check(logits, r->n_choices, at + 1, e)) {
        return false;
    }
    if (at + 1 == r->n_tokens) {
        return true;
    }
    struct logprob *out = p->scores + (size_t)(at + 1) * (1 + r->n_top);
    uint32_t token = r->tokens[at + 1];
    double log_sum = logprobs_log_sum(logits, r->n_choices);
    out[0] = (struct logprob){token, (double)logits[token] - log_sum};
    logprobs_top(logits, r->n_choices, log_sum, out + 1, r->n_top);
    return true;
}

static bool pool_row(struct prompt_rows *p, const struct prompt_rows_rules *r, uint32_t at,
                     const float *hidden, struct error *e)
{
    for (uint32_t i = 0; i < r->stride; i++) {
        if (!isfinite(hidden[i])) {
            return error_set(e, ERROR_FORMAT, "number %u of the hidden state after %u tokens is %g",
                             i, at + 1, (double)hidden[i]);
        }
        p->vector[i] = (r->only_last ? 0.0 : p->vector[i]) + (double)hidden[i];
    }
    return true;
}

static bool make_room(struct prompt_rows *p, const struct prompt_rows_rules *r, struct error *e)
{
    if (r->rows == ENGINE_HIDDEN) {
        p->vector =
            p->vector ? p->vector : mem_alloc(r->stride, sizeof *p->vector, "vector of a text", e);
        return p->vector != NULL;
    }
    size_t entry = (1 + (size_t)r->n_top) * sizeof *p->scores;
    p->scores = p->scores ? p->scores : mem_alloc(r->n_tokens, entry, "logprobs of a prompt", e);
    return p->scores != NULL;
}

bool prompt_rows_add(struct prompt_rows *p, const struct prompt_rows_rules *r,
                     const struct engine_row_span *span, struct error *e)
{
    if (!make_room(p, r, e)) {
        return false;
    }
    for (uint32_t i = 0; i < span->n; i++) {
        const float *row = span->rows + (size_t)i * r->stride;
        if (!(r->rows == ENGINE_HIDDEN ? pool_row : score)(p, r, span->first + i, row, e)) {
            return false;
        }
    }
    p->n = span->first + span->n;
    return true;
}

void prompt_rows_normalise(const struct prompt_rows *p, uint32_t n_embd, float *out)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < n_embd; i++) {
        sum += p->vector[i] * p->vector[i];
    }
    double length = sqrt(sum);
    for (uint32_t i = 0; i < n_embd; i++) {
        out[i] = length > 0.0 ? (float)(p->vector[i] / length) : 0.0F;
    }
}

void prompt_rows_finish(struct prompt_rows *p)
{
    mem_free(p->scores);
    mem_free(p->vector);
    *p = (struct prompt_rows){0};
}
