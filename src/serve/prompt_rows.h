/* prompt_rows.h - what the engine's rows of a prompt become, as the steps hand them over: the
 * log-probabilities of its tokens, or the vector of a text. A row is reduced at once and not kept.
 * Zeroed is empty. Belongs to the engine thread until the prompt is complete, and is constant
 * then. */
#ifndef SERVE_PROMPT_ROWS_H
#define SERVE_PROMPT_ROWS_H

#include "base/error.h"
#include "engine/engine.h"
#include "engine/logprobs.h"

struct prompt_rows {
    uint32_t n; /* rows so far */
    /* (n_tokens, 1 + n_top) of each token itself, then the likeliest in its place; the first token
     * has none before it, and no entries that are set */
    struct logprob *scores;
    double *vector; /* (n_embd) sum of the hidden states, or the last one */
};

/* What is wanted, and of what. */
struct prompt_rows_rules {
    enum engine_rows rows;
    const uint32_t *tokens; /* (n_tokens) of the prompt */
    uint32_t n_tokens;
    uint32_t n_choices; /* logits of ids from here on stand for no token */
    uint32_t n_top;
    bool only_last;  /* the vector is the last hidden state, not the sum of all */
    uint32_t stride; /* numbers of a row */
};

/* Takes rows that follow those so far. ERROR_FORMAT when a number is not finite, naming the place;
 * ERROR_MEMORY. */
bool prompt_rows_add(struct prompt_rows *p, const struct prompt_rows_rules *r,
                     const struct engine_row_span *span, struct error *e);

/* The vector at length 1, or zeros where it has none. out may not overlap it.
 * shapes  out (n_embd) */
void prompt_rows_normalise(const struct prompt_rows *p, uint32_t n_embd, float *out);

void prompt_rows_finish(struct prompt_rows *p);

#endif
