/* echo.h - a prompt in front of its answer: its text, and what the model says of its tokens. */
#ifndef SERVE_ECHO_H
#define SERVE_ECHO_H

#include "serve/api_answer.h"
#include "serve/prompt_rows.h"

/* A prompt as the request gave it, and the tokens it became. Borrows all of it. */
struct echo {
    const struct tokenizer *tokenizer;
    const struct api_prompt *given;
    const struct token_list *prompt;
    const struct prompt_rows *rows; /* complete; for echo_tokens() alone */
    size_t n_top;                   /* of the rows */
};

/* Appends the text: as it was given, or what the ids stand for without control tokens. */
bool echo_text(const struct echo *p, struct buf *out, struct error *e);

/* An entry for every token, and how many code points all of them have. The first has neither a
 * log-probability nor likeliest tokens; a BOS that the text was given has no place in it.
 * shapes  tokens (prompt->n); top (prompt->n, n_top)
 * ERROR_MEMORY */
bool echo_tokens(const struct echo *p, struct api_token *tokens, struct api_candidate *top,
                 size_t *out_end, struct error *e);

#endif
