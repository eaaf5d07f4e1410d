/* engine.h - sequences, and the step that computes them together.
 *
 * A sequence holds tokens that are computed (in the KV cache) and tokens that wait. engine_step()
 * picks {sequence, n tokens} pairs under a token budget, single waiting tokens (decodes) first,
 * then chunks of longer ones (prompts), computes them in one forward pass, and samples a token for
 * every sequence that has nothing left waiting. The owner takes the token and, to go on, feeds it
 * back.
 *
 * Order: by priority, the lowest first, then by the time of opening. Prompts begin in this order,
 * each when there are KV pages for all of its tokens; one that waits for pages holds up those
 * behind it.
 *
 * Prefix cache: pages of what was computed are kept, as long as nobody else needs them, and a
 * prompt takes from there what it can (never its last token, whose logits are wanted). Sequences
 * that begin together wait for no other.
 *
 * Spilling: long prefixes may be kept on disk, too, and come back from there after a restart, page
 * by page instead of being computed (spill.h).
 *
 * Preemption: when pages run out the cache gives up its own, least recently used first; then a
 * sequence gives up its: an idle one (its owner has not fed what it took), or the last in the order
 * that comes behind the one that needs them. It stays open with all its tokens and is computed
 * again when pages are free. Its owner sees nothing of this but time: no step fails for lack of
 * pages.
 *
 * Speculation: beside a single waiting token the step may compute guesses of what follows it, by
 * n-grams and by a draft model (speculation.h). When the owner feeds back the token that was
 * guessed, its logits are there already and the next token is sampled at once, with the same
 * numbers drawn in the same order: guesses change the speed and nothing else. So an owner takes and
 * feeds until there is no token, and then steps.
 *
 * Constraints: a sequence may sample what a grammar allows alone (constraint.h); whatever guesses a
 * token, it is drawn under the same mask.
 *
 * Rows: a sequence may be opened for what the model says at each place of its prompt, logits or
 * hidden states. The steps that compute the prompt hand them over, each place once and in order;
 * logits in parts of at most prompt_logits. Nothing of such a prompt is taken from the prefix
 * cache, and of one whose hidden states are wanted nothing is kept there.
 *
 * The tokens of a sequence do not depend on the other sequences, the budget, the threads, the cache
 * or preemption. They do on kv_type, which is arithmetic.
 * Owner/threads: one thread owns an engine and all its sequences. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "engine/constraint.h"
#include "engine/pace.h"
#include "engine/prefix.h"
#include "engine/sampler.h"
#include "engine/speculation.h"
#include "model/forward.h"

struct spill;
struct spill_options;

struct engine_options {
    uint32_t n_ctx;            /* tokens a sequence may have; 0: the model's, at most 8192 */
    uint32_t max_sequences;    /* 0: 1 */
    uint32_t batch;            /* tokens of a step, guesses apart; 0: 512 */
    uint32_t n_choices;        /* ids below this may be sampled (the tokenizer's); 0: all */
    uint32_t max_guesses;      /* of a step, all sequences together; 0: no speculation */
    enum kern_kv kv_type;      /* of the keys and values, the draft's too */
    const struct model *draft; /* guesses where n-grams do not; same vocabulary; NULL: none */
    uint64_t kv_bytes;         /* for keys and values, the draft's apart; 0: n_ctx a sequence */
    uint32_t prefix_pages;     /* that the prefix cache may hold, UINT32_MAX: all; 0: no cache */
    /* Prompts beside decodes are computed in parts that keep a step below twice the time of one
     * without (pace.h), as far as engine_note_time() tells; false: as much as the batch has room
     * for. */
    bool keeps_pace;
    const struct spill_options *spill; /* prefixes go to disk, too (spill.h); NULL: they do not */
    uint32_t prompt_logits; /* rows of a step for sequences opened with ENGINE_LOGITS; 0: 64 */
};

enum {
    ENGINE_DEFAULT_CTX = 8192,
    ENGINE_DEFAULT_BATCH = 512,
    ENGINE_DEFAULT_GUESSES = 7, /* a step of 8 tokens costs less than two of one */
    ENGINE_DEFAULT_PROMPT_LOGITS = 64,
    ENGINE_MAX_GUESSES = 64
};

/* What is wanted at each place of a prompt. */
enum engine_rows {
    ENGINE_NO_ROWS,
    ENGINE_LOGITS, /* (n_vocab) what the model says of the next token */
    ENGINE_HIDDEN  /* (n_embd) the hidden state after the last norm; no token is sampled then */
};

struct engine_request {
    const struct sampler_params *sampler; /* borrowed until engine_open returns */
    const uint32_t *tokens;               /* (n_tokens) that wait from the start; may be none */
    uint32_t n_tokens;
    int32_t priority;      /* lower is earlier */
    uint64_t salt;         /* entries of the prefix cache made with another salt are not seen */
    enum engine_rows rows; /* of `tokens`, to be taken with engine_take_rows */
};

/* Rows of tokens [first, first + n) of a sequence. */
struct engine_row_span {
    uint32_t first, n;
    const float *rows; /* (n, n_vocab) or (n, n_embd), until the next step */
};

struct engine_seq {
    bool in_use;
    struct kv_seq kv;
    struct sampler sampler;
    struct constraint constraint; /* of the tokens that are sampled */
    uint32_t *tokens; /* (n_ctx) all tokens: kv.n_tokens computed, the rest waiting; then guesses */
    uint32_t n_tokens;
    struct speculation_seq guesses;
    bool is_due;    /* has tokens that were fed behind the last one sampled */
    bool has_token; /* `token` was sampled and not taken yet */
    uint32_t token;
    uint32_t row;       /* of the logits it was sampled from */
    struct error error; /* why the last step gave no token; ERROR_NONE when it did */

    enum engine_rows rows; /* wanted of the first n_rows tokens */
    uint32_t n_rows, n_given;
    uint32_t new_row, n_new; /* first row and number of those that the last step gave */

    int32_t priority;
    uint64_t number; /* of opening */
    uint64_t salt;
    uint32_t n_cached;         /* tokens that were not computed for this sequence, but shared */
    enum prefix_end cache_end; /* why n_cached is not more; set when the prompt begins */
    bool has_begun;            /* ... which was counted as a look-up */
    bool asks_disk;            /* more of its prompt may come from disk */
    bool was_preempted;        /* what is taken from the cache since is no news */
    uint32_t n_kept;           /* whole pages that the cache was given */
};

struct engine {
    const struct model *model;
    struct engine_options options;
    uint32_t budget; /* tokens of a step: batch, but at least one a sequence */
    struct kv_pool kv;
    struct prefix prefix;
    struct forward forward;
    struct constraints constraints;
    struct sampler_scratch *scratches; /* (n_scratches) a thread of the pool's each */
    uint32_t n_scratches;
    struct engine_seq *seqs;   /* (max_sequences) */
    struct engine_seq **order; /* (n_open) */
    uint32_t n_open;
    uint64_t n_opened, n_preempted; /* since the start */
    struct forward_item *items;     /* (n_items) of the running step, at most max_sequences */
    struct engine_seq **picked;     /* (n_items) sequence of each item */
    uint32_t n_items;               /* decodes come first */
    struct pace pace;
    struct pace_step planned;          /* what the running step is to pace; guesses apart */
    double logits_rows;                /* what a row of logits costs, in rows */
    struct speculation_item *guessers; /* (max_sequences) likewise */
    struct speculation speculation;
    struct spill *spill; /* NULL: prefixes are kept in memory alone */
    bool waits_for_disk; /* a prompt could not be picked, as pages of it are being read */
};

/* KV pages by who holds them. */
struct engine_pages {
    uint32_t total, free, cached; /* cached: by the prefix cache alone */
    uint32_t in_use;              /* by sequences */
};

/* m and pool must outlive the engine. ERROR_MEMORY, ERROR_USAGE (context too long for the model,
 * kv_bytes too few for one context), ERROR_UNSUPPORTED (longer than RoPE has angles for). */
bool engine_init(struct engine *g, const struct model *m, struct pool *pool,
                 const struct engine_options *options, struct error *e);

/* With options.spill: writes prefixes to disk first, which may take SPILL_END_S. */
void engine_finish(struct engine *g);

/* A new sequence with its own random stream. Released with engine_close (NULL is allowed).
 * ERROR_USAGE from the sampler's parameters or when max_sequences are open; the errors of
 * engine_feed for its tokens. */
struct engine_seq *engine_open(struct engine *g, const struct engine_request *r, struct error *e);

/* What s has computed stays in the prefix cache; pages that nobody holds are free. */
void engine_close(struct engine *g, struct engine_seq *s);

/* Appends tokens, which wait for the next steps; a single one that was guessed is computed already,
 * and the next token can be taken. ERROR_CONTEXT, naming the numbers, when they do not fit n_ctx:
 * nothing is cut and s is unchanged. ERROR_USAGE for an id outside the vocabulary. */
bool engine_feed(struct engine *g, struct engine_seq *s, const uint32_t *tokens, uint32_t n_tokens,
                 struct error *e);

/* Makes s hold exactly `tokens`, keeping the computed part that agrees and at least one token
 * waiting; rows are not wanted any more. The sampler's penalties look at these tokens from now on.
 * Errors as engine_feed. */
bool engine_set_tokens(struct engine *g, struct engine_seq *s, const uint32_t *tokens,
                       uint32_t n_tokens, struct error *e);

/* From now on s samples what a's grammar allows, from the start of a text on; NULL: anything.
 * Tokens that are fed after the first one sampled are the text's. a must outlive s, or the next
 * call. Before anything of the text was sampled. ERROR_MEMORY, ERROR_IO (no thread can be
 * started): s is as before. */
bool engine_constrain(struct engine *g, struct engine_seq *s, struct automaton *a, struct error *e);

/* One forward pass over whatever waits and has room. False with *e when the pass failed; true, with
 * *out_busy false, when nothing waited but for the disk (spill_options.wake tells when to step
 * again). A sequence whose token cannot be sampled does not stop the
 * others: see engine_failed. */
bool engine_step(struct engine *g, bool *out_busy, struct error *e);

/* What the last step that was busy took: keeps_pace lives on it. Before the next step. */
void engine_note_time(struct engine *g, double seconds);

/* The sampled token, once: true when there was one. */
bool engine_take(struct engine_seq *s, uint32_t *out_token);

/* What the last step computed of a prompt opened for its rows, once: true when there is something.
 * Taken between any two steps it is every place of the prompt, in order. */
bool engine_take_rows(const struct engine *g, struct engine_seq *s, struct engine_row_span *out);

/* The logits that the last token of s was sampled from: (n_vocab), until the next step. */
const float *engine_logits(const struct engine *g, const struct engine_seq *s);

/* True, with the reason in *e, when the last step of s gave logits that no token can be sampled
 * from. Nothing of s waits then; feeding it again, or setting its tokens, clears the failure. */
bool engine_failed(const struct engine_seq *s, struct error *e);

struct engine_pages engine_count_pages(const struct engine *g);

/* For tests, slow: every page is free, or held by as many sequences and nodes of the prefix cache
 * as its count says. ERROR_INTERNAL naming the page, ERROR_MEMORY. */
bool engine_check_pages(const struct engine *g, struct error *e);

#endif
