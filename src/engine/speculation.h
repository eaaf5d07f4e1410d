/* speculation.h - guesses of the tokens that come next, which a step computes beside the one that
 * waits: how many, and what is learnt from those that come true.
 *
 * The step that computes a sequence's guesses has its logits behind each of them, so that tokens are
 * confirmed one by one as the owner feeds them, and the rest is dropped.
 * Owner/threads: the engine's thread. Nothing allocates between open and close. */
#ifndef ENGINE_SPECULATION_H
#define ENGINE_SPECULATION_H

#include "engine/ngram.h"

/* Of an engine. */
struct speculation {
    uint32_t max_guesses;            /* of a step, all sequences together; 0: none */
    uint64_t n_guessed, n_confirmed; /* guesses made, and found right */
};

/* Of a sequence. */
struct speculation_seq {
    struct ngram ngram;
    uint32_t n, left; /* guesses of the last step: made, and not yet confirmed */
    uint32_t row;     /* of the logits behind the next one to confirm */
    uint32_t length;  /* how many to make next time */
    uint32_t match;   /* how many tokens must agree with an earlier place for that */
};

/* A sequence with one token waiting, and how many guesses were made behind it. */
struct speculation_item {
    struct speculation_seq *seq;
    uint32_t *tokens; /* (n_tokens + room) all of the sequence's; guesses go behind them */
    uint32_t n_tokens, room;
    uint32_t n_guesses;
};

/* For a sequence of at most n_ctx tokens. ERROR_MEMORY leaves nothing to close. */
bool speculation_open(const struct speculation *g, struct speculation_seq *s, uint32_t n_ctx,
                      struct error *e);
void speculation_close(struct speculation_seq *s);

/* Tokens [first, n) of the sequence are new. */
void speculation_add(const struct speculation *g, struct speculation_seq *s, const uint32_t *tokens,
                     uint32_t first, uint32_t n);

/* Makes guesses for the sequences of a step, at most max_guesses in all. Those of earlier steps must
 * have been dropped. */
void speculation_guess(struct speculation *g, struct speculation_item *items, uint32_t n_items);

/* The next guess came true: returns the row of the logits behind it. s->left must not be 0. */
uint32_t speculation_confirm(struct speculation *g, struct speculation_seq *s);

/* Forgets the guesses that are left of s->n > 0, and learns from how many were right: the more, the longer the
 * next ones; none, and a longer match is asked for. */
void speculation_drop(const struct speculation *g, struct speculation_seq *s);

/* Forgets the guesses of a step that failed. */
static inline void speculation_forget(struct speculation_seq *s)
{
    s->n = s->left = 0;
}

#endif
