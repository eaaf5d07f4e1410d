/* sampler.h - from logits to one token: the chain of filters that llama.cpp made usual, in doubles.
 *
 * A struct sampler belongs to one sequence: its parameters, the tokens it has seen lately and its
 * random stream, so a draw never depends on other sequences. A struct sampler_scratch is working
 * memory sized by the vocabulary; any number of samplers may take turns on one. Neither is
 * thread-safe. Nothing allocates after init. docs/SAMPLING.md has the order, formulas, defaults. */
#ifndef ENGINE_SAMPLER_H
#define ENGINE_SAMPLER_H

#include "base/error.h"
#include "base/rng.h"

#include <stddef.h>
#include <stdint.h>

enum {
    SAMPLER_MAX_LAST_N = 131072, /* repeat_last_n: Llama 3.1's context; others may be longer */
    SAMPLER_MAX_BIASES = 1024,   /* entries of a logit_bias list */
    SAMPLER_MAX_ENDS = 128,      /* tokens that min_tokens holds back */
    SAMPLER_DEFAULT_TOP_K = 40,
    SAMPLER_DEFAULT_LAST_N = 64
};

/* Added to the logit of one token; -INFINITY bans it. */
struct sampler_bias {
    uint32_t token;
    float bias;
};

/* Names and defaults are llama.cpp's. Comments: accepted range; value that switches the step off.
 */
struct sampler_params {
    float temperature;       /* >= 0; 0 is greedy: highest logit, lowest id among equals */
    int32_t top_k;           /* >= -1; 0 and -1: off */
    float top_p;             /* 0..1; 1: off */
    float min_p;             /* 0..1; 0: off */
    float typical_p;         /* 0..1; 1: off */
    float repeat_penalty;    /* > 0, finite, as its inverse; 1: off */
    float frequency_penalty; /* finite; 0: off */
    float presence_penalty;  /* finite; 0: off */
    int32_t repeat_last_n;   /* 0..SAMPLER_MAX_LAST_N tokens the penalties look back; 0: off */
    bool answer_only; /* frequency and presence count what was sampled alone, not the prompt */
    const struct sampler_bias *logit_bias; /* borrowed until sampler_init returns */
    size_t n_logit_bias;
    const uint32_t *ends; /* cannot be chosen before min_tokens others were; borrowed likewise */
    size_t n_ends;        /* at most SAMPLER_MAX_ENDS */
    uint32_t min_tokens;
    uint64_t seed;
};

/* Defaults: temperature 0.8, top_k 40, top_p 0.95, min_p 0.05, penalties off over 64 tokens, seed
 * 0. */
void sampler_params_default(struct sampler_params *out);

/* ERROR_USAGE naming the parameter, its value and its range when one does not hold. */
bool sampler_params_check(const struct sampler_params *p, uint32_t n_vocab, struct error *e);

struct sampler {
    struct sampler_params params; /* logit_bias and ends point to own copies */
    /* Tokens that can be chosen, bit i % 64 of word i / 64 for token i; NULL: all. The owner sets
     * it before a draw. Where it leaves nothing but tokens that min_tokens holds back, these can
     * be. */
    const uint64_t *allowed;
    struct rng rng;
    uint32_t *recent; /* (repeat_last_n) ring of accepted tokens, NULL when no penalty is on */
    size_t n_recent;
    size_t next_recent;
    size_t n_answer;    /* accepted since the first sampled token */
    uint32_t n_sampled; /* since the start or sampler_forget */
};

/* Checks the parameters and copies what it needs; the result is released with sampler_finish.
 * ERROR_USAGE (sampler_params_check), ERROR_MEMORY. On failure there is nothing to release. */
bool sampler_init(struct sampler *s, const struct sampler_params *p, uint32_t n_vocab,
                  struct error *e);
void sampler_finish(struct sampler *s);

/* One token became part of the sequence: the penalties count it from now on. Before the first
 * sample it belongs to the prompt, then to the answer. */
void sampler_accept(struct sampler *s, uint32_t token);

/* Forgets all accepted tokens, what follows is a prompt again; the random stream goes on. */
void sampler_forget(struct sampler *s);

/* A token that may still be chosen. Candidates are kept in ascending order of ids. */
struct sampler_candidate {
    double logit; /* after logit_bias and penalties; not divided by the temperature */
    double p;     /* see sampler_sample_at */
    uint32_t token;
};

struct sampler_heap_item;
struct sampler_counts;

struct sampler_scratch {
    uint32_t n_vocab;
    double *logits;                 /* (n_vocab) */
    struct sampler_counts *counts;  /* (n_vocab) all zero between calls */
    struct sampler_heap_item *heap; /* (n_vocab) */
    struct sampler_candidate *candidates;
    size_t n_candidates;
};

/* 56 bytes a token of the vocabulary. ERROR_MEMORY leaves nothing to release. */
bool sampler_scratch_init(struct sampler_scratch *w, uint32_t n_vocab, struct error *e);
void sampler_scratch_finish(struct sampler_scratch *w);

/* Chooses the next token and draws at most one number of the sampler's stream (none when greedy).
 * Does not call sampler_accept.
 * shapes  logits (w->n_vocab) f32
 * error   ERROR_FORMAT when a logit is NaN or +inf (named) or none is above -inf: the weights of
 *         the model give no numbers; ERROR_USAGE when logit_bias forbids all that are allowed */
bool sampler_sample(struct sampler *s, struct sampler_scratch *w, const float *logits,
                    uint32_t *out_token, struct error *e);

/* The same with the uniform number given, 0 <= uniform < 1: the first candidate, in ascending order
 * of ids, where the running sum of p is above uniform * (sum of p). On success w->candidates are
 * the tokens that were left and p their probabilities, which add up to 1. */
bool sampler_sample_at(const struct sampler *s, struct sampler_scratch *w, const float *logits,
                       double uniform, uint32_t *out_token, struct error *e);

#endif
