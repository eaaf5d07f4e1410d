/* engine.h - sequences, and the step that computes them together.
 *
 * A sequence holds tokens that are computed (in the KV cache) and tokens that wait. engine_step()
 * picks {sequence, n tokens} pairs under a token budget, single waiting tokens (decodes) first, then
 * chunks of longer ones (prompts), computes them in one forward pass, and samples a token for every
 * sequence that has nothing left waiting. The owner takes the token and, to go on, feeds it back.
 *
 * Speculation: beside a single waiting token the step may compute guesses of what follows it, by
 * n-grams and by a draft model (speculation.h). When
 * the owner feeds back the token that was guessed, its logits are there already and the next token
 * is sampled at once, with the same numbers drawn in the same order: guesses change the speed and
 * nothing else. So an owner takes and feeds until there is no token, and then steps.
 *
 * The tokens of a sequence do not depend on the other sequences, the budget or the threads. They do
 * on kv_type, which is arithmetic.
 * Owner/threads: one thread owns an engine and all its sequences. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "engine/sampler.h"
#include "engine/speculation.h"
#include "model/forward.h"

struct engine_options {
    uint32_t n_ctx;            /* tokens a sequence may have; 0: the model's, at most 8192 */
    uint32_t max_sequences;    /* 0: 1 */
    uint32_t batch;            /* tokens of a step, guesses apart; 0: 512 */
    uint32_t n_choices;        /* ids below this may be sampled (the tokenizer's); 0: all */
    uint32_t max_guesses;      /* of a step, all sequences together; 0: no speculation */
    enum kern_kv kv_type;      /* of the keys and values, the draft's too */
    const struct model *draft; /* guesses where n-grams do not; same vocabulary; NULL: none */
};

enum {
    ENGINE_DEFAULT_CTX = 8192,
    ENGINE_DEFAULT_BATCH = 512,
    ENGINE_DEFAULT_GUESSES = 7, /* a step of 8 tokens costs less than two of one */
    ENGINE_MAX_GUESSES = 64
};

struct engine_seq {
    bool in_use;
    struct kv_seq kv;
    struct sampler sampler;
    uint32_t *tokens; /* (n_ctx) all tokens: kv.n_tokens computed, the rest waiting; then guesses */
    uint32_t n_tokens;
    struct speculation_seq guesses;
    bool has_token; /* `token` was sampled and not taken yet */
    uint32_t token;
    struct error error; /* why the last step gave no token; ERROR_NONE when it did */
};

struct engine {
    const struct model *model;
    struct engine_options options;
    uint32_t budget; /* tokens of a step: batch, but at least one a sequence */
    struct kv_pool kv;
    struct forward forward;
    struct sampler_scratch scratch;
    struct engine_seq *seqs;           /* (max_sequences) */
    struct forward_item *items;        /* (max_sequences) of the running step */
    struct engine_seq **picked;        /* (max_sequences) sequence of each item */
    struct speculation_item *guessers; /* (max_sequences) likewise */
    struct speculation speculation;
};

/* m and pool must outlive the engine. ERROR_MEMORY, ERROR_USAGE (context too long for the model),
 * ERROR_UNSUPPORTED (longer than RoPE has angles for). */
bool engine_init(struct engine *g, const struct model *m, struct pool *pool,
                 const struct engine_options *options, struct error *e);
void engine_finish(struct engine *g);

/* A new empty sequence with its own random stream. Released with engine_close (NULL is allowed).
 * ERROR_USAGE from the sampler's parameters or when max_sequences are open. */
struct engine_seq *engine_open(struct engine *g, const struct sampler_params *params,
                               struct error *e);
void engine_close(struct engine *g, struct engine_seq *s);

/* Appends tokens, which wait for the next steps; a single one that was guessed is computed already,
 * and the next token can be taken. ERROR_CONTEXT, naming the numbers, when they do
 * not fit n_ctx: nothing is cut and s is unchanged. ERROR_USAGE for an id outside the vocabulary. */
bool engine_feed(struct engine *g, struct engine_seq *s, const uint32_t *tokens, uint32_t n_tokens,
                 struct error *e);

/* Makes s hold exactly `tokens`, keeping the computed part that agrees and at least one token
 * waiting. The sampler's penalties look at these tokens from now on. Errors as engine_feed. */
bool engine_set_tokens(struct engine *g, struct engine_seq *s, const uint32_t *tokens,
                       uint32_t n_tokens, struct error *e);

/* One forward pass over whatever waits. False with *e when the pass failed; true, with *out_busy
 * false, when nothing waited. A sequence whose token cannot be sampled does not stop the others: see
 * engine_failed. */
bool engine_step(struct engine *g, bool *out_busy, struct error *e);

/* The sampled token, once: true when there was one. */
bool engine_take(struct engine_seq *s, uint32_t *out_token);

/* True, with the reason in *e, when the last step of s gave logits that no token can be sampled from.
 * Nothing of s waits then; feeding it again, or setting its tokens, clears the failure. */
bool engine_failed(const struct engine_seq *s, struct error *e);

#endif
