/* answer_internal.h - what the files of an answer share. */
#ifndef SERVE_ANSWER_INTERNAL_H
#define SERVE_ANSWER_INTERNAL_H

#include "serve/answer.h"
#include "serve/echo.h"

/* What was delivered of a choice, and for whole answers the text itself. */
struct answer_choice {
    struct buf text; /* of whole answers; of streams what an event adds to an echo */
    struct choice_logprob *logprobs; /* (n_logprobs) of whole answers */
    size_t n_logprobs, max_logprobs;
    double sum;         /* of the log probabilities, for best_of */
    size_t text_offset; /* code points of the tokens that were told */
    struct api_filter_result filter;
    bool ended;
    bool echoed; /* the prompt's tokens are told */
};

/* ---- answer_parts.c */

/* The prompt of a choice, as its echo. */
struct echo answer_echo_of(const struct answer *a, uint32_t choice);

enum api_finish answer_finish_of(enum choice_end end);

/* What the content filter has found in choice i so far; NULL: there is none. */
const struct api_filter_result *answer_filter_of(const struct answer *a, uint32_t i);

/* Tokens of the prompt that c tells before its own. */
size_t answer_n_to_echo(const struct answer *a, const struct answer_choice *c);

/* Entries as the API tells them, answer_n_to_echo() of the prompt first; one block, freed with
 * mem_free. NULL with *e when memory ran out. */
struct api_token *answer_make_tokens(const struct answer *a, struct answer_choice *c,
                                     const struct choice_logprob *entries, size_t n,
                                     struct error *e);

/* No choice runs any more. */
bool answer_all_ended(const struct answer *a);

/* ---- answer_whole.c */

/* Keeps what was taken, and prints the answer to a->out when that is all. ERROR_MEMORY. */
bool answer_collect(struct answer *a, struct error *e);

#endif
