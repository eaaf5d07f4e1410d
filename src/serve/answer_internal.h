/* answer_internal.h - what the files of an answer share. */
#ifndef SERVE_ANSWER_INTERNAL_H
#define SERVE_ANSWER_INTERNAL_H

#include "chat/tool_frame.h"
#include "serve/answer.h"
#include "serve/echo.h"

/* A call of a tool; its id, name and arguments lie in `called` of its choice from `begin` on. */
struct answer_call {
    size_t begin, n_id, n_name, n_arguments;
};

/* What was delivered of a choice, and for whole answers the text itself. */
struct answer_choice {
    struct buf text;           /* of whole answers; of streams what an event adds to an echo */
    struct answer_call *calls; /* (n_calls) */
    size_t n_calls, max_calls;
    struct api_call *views;       /* (n_calls) of a whole answer that is printed */
    struct buf called;            /* texts of the calls; of streams of the last one */
    struct buf frame;             /* of the call that begins next, or empty */
    size_t n_complete;            /* calls that have all their arguments */
    struct api_warning *warnings; /* (n_warnings) of calls */
    size_t n_warnings;
    struct choice_logprob *logprobs; /* (n_logprobs) of whole answers that tell them */
    size_t n_logprobs, max_logprobs;
    double sum;         /* of n_summed log probabilities, for best_of */
    size_t n_summed;    /* whether they are kept or not */
    size_t text_offset; /* code points of the tokens that were told */
    struct api_filter_result filter;
    bool ended;
    bool echoed; /* the prompt's tokens are told */
};

/* ---- answer_parts.c */

/* The prompt of a choice, as its echo. */
struct echo answer_echo_of(const struct answer *a, uint32_t choice);

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

/* ---- answer_calls.c */

/* Takes a span that is no content. A call whose form broke, that was cut, or whose arguments are
 * not what its tool wants, becomes a warning. ERROR_MEMORY; ERROR_IO: no random id. */
bool answer_take_span(struct answer *a, uint32_t i, const struct tool_span *span, struct str bytes,
                      struct error *e);

/* Call k of the choice, borrowed until the next span; of streams the last one alone. */
struct api_call answer_call_of(const struct answer_choice *c, size_t k);

/* Why choice i ended, API_FINISH_NONE while it runs. Where it ends by itself and has calls, and
 * none that is broken or cut, whoever reads it is to make them. */
enum api_finish answer_finish_of(const struct answer *a, uint32_t i);

void answer_calls_finish(struct answer_choice *c);

/* ---- answer_whole.c */

/* Keeps what was taken, and prints the answer to a->out when that is all. ERROR_MEMORY. */
bool answer_collect(struct answer *a, struct error *e);

#endif
