/* generate.h - one answer of a loaded model, streamed: what `puna run` does for every turn. */
#ifndef CMD_GENERATE_H
#define CMD_GENERATE_H

#include "cmd/session.h"
#include "engine/engine.h"

#include <signal.h>

enum generate_end { GENERATE_END_OF_TURN, GENERATE_LENGTH, GENERATE_CONTEXT, GENERATE_STOPPED };

struct generate_stats {
    uint32_t n_prompt; /* tokens of the prompt that had to be computed */
    uint32_t n_kept;   /* tokens that were in the cache from before */
    uint32_t n_answer; /* sampled tokens, the end token included */
    struct speculation_count guesses[SPECULATION_SOURCES];
    double prompt_seconds, answer_seconds;
    enum generate_end end;
};

/* Receives whole code points as they come; false stops with *e set. */
typedef bool generate_emit_fn(void *argument, struct str text, struct error *e);

struct generate_request {
    const uint32_t *tokens; /* the whole conversation so far */
    size_t n_tokens;
    int32_t max_tokens; /* -1: until the turn or the context ends */
    generate_emit_fn *emit;
    void *emit_argument;
    bool shows_calls; /* control tokens that are part of calls come as their text */
    struct session_progress *progress; /* shows how far a long prompt is; NULL: nothing does */
    const volatile sig_atomic_t *stop; /* not 0: end before the model's next layer; or NULL */
};

/* Computes s's tokens as the request says (what is cached and agrees is kept) and streams the
 * answer. ERROR_CONTEXT when the prompt leaves no room for a token; nothing is cut. */
bool generate_answer(struct engine *g, struct engine_seq *s, const struct tokenizer *t,
                     const struct generate_request *r, struct generate_stats *out_stats,
                     struct error *e);

#endif
