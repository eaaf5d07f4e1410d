/* draft.h - guesses by a draft model: a second, smaller model with the same vocabulary, which says
 * greedily what comes next.
 *
 * It has its own KV pages, and of every sequence of the engine a kv_seq: the first n_tokens of the
 * sequence's tokens, as far as the draft has read them, guesses of its own included. Whoever
 * changes tokens truncates it. It falls behind while nobody asks the draft (prompts, guesses of
 * others) and catches up when asked, DRAFT_CHUNK tokens a step, so that the first guess behind a
 * long prompt comes some steps late and no step waits for the whole of it. Then the draft guesses
 * token by token, all sequences in one pass.
 *
 * A draft never fails an answer: a sequence longer than the draft's context, or with a token that
 * the draft has no embedding for, gets no guesses.
 * How sure the draft is, nobody asks: a threshold on its probabilities drops more right guesses
 * than wrong ones (docs/ARCHITECTURE.md, Guesses).
 * Owner/threads: the engine's thread; the pool's threads help. Nothing allocates between open and
 * close. */
#ifndef ENGINE_DRAFT_H
#define ENGINE_DRAFT_H

#include "model/forward.h"

enum { DRAFT_CHUNK = 128 }; /* tokens of a pass, all sequences together */

struct draft_options {
    uint32_t n_ctx;         /* of the engine's sequences */
    uint32_t max_sequences; /* likewise */
    uint32_t n_choices;     /* ids below this are guessed */
    enum kern_kv kv_type;
};

struct draft_item;

struct draft {
    const struct model *model; /* NULL: there is no draft */
    struct draft_options options;
    uint32_t n_ctx; /* tokens it can read: options.n_ctx, or less where the model has less */
    struct kv_pool kv;
    struct forward forward;
    struct forward_item *batch; /* (max_sequences) of the running pass */
    struct draft_item **asked;  /* (max_sequences) whose each of them is */
};

/* What a sequence asks for, and what it gets. */
struct draft_item {
    struct kv_seq *kv; /* of the draft's pages, for draft.n_ctx tokens */
    uint32_t *tokens;  /* (n_tokens + most) all of the sequence's; guesses go behind them */
    uint32_t n_tokens; /* at least 1 */
    uint32_t most;
    uint32_t n; /* result: guesses made */
};

/* m and pool must outlive the draft. ERROR_MEMORY; ERROR_USAGE when m has fewer logits than
 * n_choices. On failure there is nothing to release. */
bool draft_init(struct draft *d, const struct model *m, struct pool *pool,
                const struct draft_options *options, struct error *e);
void draft_finish(struct draft *d);

/* Reads on in every item's sequence, and guesses `most` tokens for those that it has read to the
 * end, fewer where the draft's context ends. At most max_sequences items, each of another
 * sequence. */
void draft_guess(struct draft *d, struct draft_item *items, uint32_t n_items);

#endif
