/* speculation.h - guesses of the tokens that come next, which a step computes beside the one that
 * waits: where they come from, how many, and what is learnt from those that come true.
 *
 * N-grams cost nothing and are asked first. The draft model, where there is one, guesses for the
 * sequences that n-grams found nothing for; what is left of the step's guesses is shared out evenly
 * among them. A draft that is wrong sits out twice as many guesses as the time before,
 * until it is right again, so that a useless one costs next to nothing.
 *
 * The step that computes a sequence's guesses has its logits behind each of them, so that tokens
 * are confirmed one by one as the owner feeds them, and the rest is dropped.
 * Owner/threads: the engine's thread. Nothing allocates between open and close. */
#ifndef ENGINE_SPECULATION_H
#define ENGINE_SPECULATION_H

#include "engine/draft.h"
#include "engine/ngram.h"

enum speculation_source { SPECULATION_NGRAM, SPECULATION_DRAFT, SPECULATION_SOURCES };

enum { SPECULATION_MAX_PAUSE = 64 };

struct speculation_options {
    uint32_t max_guesses;      /* of a step, all sequences together; 0: none */
    const struct model *draft; /* NULL: n-grams alone */
    struct draft_options draft_options;
};

struct speculation_count {
    uint64_t made, right;
};

/* Of an engine. */
struct speculation {
    uint32_t max_guesses;
    struct draft draft;
    struct speculation_item **undecided; /* (max_sequences) whom the draft guesses for */
    struct draft_item *draft_items;      /* (max_sequences) likewise */
    struct speculation_count counts[SPECULATION_SOURCES];
};

/* Of a sequence. */
struct speculation_seq {
    struct ngram ngram;
    struct kv_seq draft_kv;               /* what the draft has read */
    enum speculation_source source;       /* of the last step's guesses */
    uint32_t n, left;                     /* those: made, and not yet confirmed */
    uint32_t row;                         /* of the logits behind the next one to confirm */
    uint32_t length[SPECULATION_SOURCES]; /* how many to make next time */
    uint32_t match; /* how many tokens must agree with an earlier place for an n-gram's guess */
    uint32_t pause, wait; /* guesses that the draft sat out last, and those it has yet to sit out */
};

/* A sequence with one token waiting, and how many guesses were made behind it. */
struct speculation_item {
    struct speculation_seq *seq;
    uint32_t *tokens; /* (n_tokens + room) all of the sequence's; guesses go behind them */
    uint32_t n_tokens, room;
    uint32_t n_guesses;
};

/* Errors as draft_init. On failure there is nothing to release. */
bool speculation_init(struct speculation *g, const struct speculation_options *o, struct pool *pool,
                      struct error *e);
void speculation_finish(struct speculation *g);

/* For a sequence of at most n_ctx tokens. ERROR_MEMORY: closing s is allowed, and needed. */
bool speculation_open(const struct speculation *g, struct speculation_seq *s, uint32_t n_ctx,
                      struct error *e);
void speculation_close(struct speculation *g, struct speculation_seq *s);

/* Tokens [first, n) of the sequence are new. */
void speculation_add(const struct speculation *g, struct speculation_seq *s, const uint32_t *tokens,
                     uint32_t first, uint32_t n);

/* Makes guesses for the sequences of a step, at most max_guesses in all. Those of earlier steps
 * must have been dropped. */
void speculation_guess(struct speculation *g, struct speculation_item *items, uint32_t n_items);

/* The next guess came true: returns the row of the logits behind it. s->left must not be 0. */
uint32_t speculation_confirm(struct speculation *g, struct speculation_seq *s);

/* Forgets the guesses that are left of s->n > 0 behind the sequence's n_tokens, and learns from how
 * many were right: the more, the longer the next ones; none, and a longer match is asked for, or a
 * longer pause made. */
void speculation_drop(struct speculation *g, struct speculation_seq *s, uint32_t n_tokens);

/* Tokens from position n_tokens on are others from now on, and guesses behind them void: of a
 * step that failed, or of a conversation that was changed. */
void speculation_truncate(struct speculation *g, struct speculation_seq *s, uint32_t n_tokens);

#endif
