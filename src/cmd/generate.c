/* generate.c - the loop of one answer: step, take, decode, emit, feed back. */
#include "cmd/generate.h"

#include "base/clock.h"
#include "chat/tool_format.h"

#include <string.h>

enum { MAX_PIECE_BYTES = 1 << 20, LONG_PROMPT = 128 /* tokens: how far it is is shown */ };

struct answer {
    struct engine *engine;
    struct engine_seq *seq;
    const struct generate_request *request;
    struct generate_stats *stats;
    const struct tokenizer *tokenizer;
    bool shows_prompt;
    uint64_t n_layers_before; /* the running step */
    struct token_stream stream;
    struct buf text; /* what the last token made visible */
};

static bool emit(struct answer *a, struct error *e)
{
    const struct generate_request *r = a->request;
    bool ok = a->text.n == 0 || r->emit(r->emit_argument, buf_str(&a->text), e);
    buf_clear(&a->text);
    return ok;
}

/* The prompt's tokens before the running step, and of the step's the share of layers done. */
static void show_prompt(struct answer *a)
{
    const struct forward *f = &a->engine->forward;
    uint64_t n_layers = f->n_layers - a->n_layers_before - 1;
    uint64_t n_done =
        a->seq->kv.n_tokens - a->stats->n_kept + f->n_tokens * n_layers / f->model->config.n_layers;
    session_show_progress(a->request->progress, "prompt", n_done, a->stats->n_prompt);
}

static void end_prompt(struct answer *a)
{
    if (a->shows_prompt) {
        session_clear_progress(a->request->progress);
    }
    a->shows_prompt = false;
}

static bool is_stopped(const struct answer *a)
{
    return a->request->stop != NULL && *a->request->stop != 0;
}

/* Asked before each layer. */
static bool goes_on(void *argument)
{
    struct answer *a = argument;
    if (a->shows_prompt) {
        show_prompt(a);
    }
    return !is_stopped(a);
}

/* Steps until the sequence has its next token; false with *e on failure, *out_stopped when asked to
 * stop. */
static bool next_token(struct answer *a, uint32_t *out_token, bool *out_stopped, struct error *e)
{
    struct engine *g = a->engine;
    while (!engine_take(a->seq, out_token)) {
        bool busy;
        struct error why = {0};
        *out_stopped = is_stopped(a);
        if (*out_stopped) {
            return true;
        }
        a->n_layers_before = g->forward.n_layers;
        if (!engine_step(g, &busy, &why)) {
            *out_stopped = why.code == ERROR_INTERRUPTED;
            return *out_stopped || error_set(e, why.code, "%s", why.text);
        }
        if (engine_failed(a->seq, e)) {
            return false;
        }
        if (!busy && !a->seq->has_token) {
            return error_set(e, ERROR_INTERNAL, "the engine has nothing to do and no token");
        }
    }
    return true;
}

static bool answer_loop(struct answer *a, struct error *e)
{
    struct engine *g = a->engine;
    struct engine_seq *s = a->seq;
    const struct generate_request *r = a->request;
    struct generate_stats *stats = a->stats;
    uint64_t start = clock_now_ns();
    stats->end = GENERATE_LENGTH;
    while (r->max_tokens < 0 || stats->n_answer < (uint32_t)r->max_tokens) {
        uint32_t token;
        bool stopped = false;
        bool ok = next_token(a, &token, &stopped, e);
        end_prompt(a);
        if (!ok) {
            return false;
        }
        if (stopped) {
            stats->end = GENERATE_STOPPED;
            break;
        }
        if (stats->n_answer++ == 0) {
            stats->prompt_seconds = clock_seconds_since(start);
            start = clock_now_ns();
        }
        if (tokenizer_is_end(a->tokenizer, token)) {
            stats->end = GENERATE_END_OF_TURN;
            break;
        }
        bool is_shown = r->shows_calls && tool_format_shows_token(a->tokenizer, token);
        if (!token_stream_push(&a->stream, a->tokenizer, token, is_shown, &a->text, e) ||
            !emit(a, e)) {
            return false;
        }
        if (s->n_tokens == g->options.n_ctx) {
            stats->end = GENERATE_CONTEXT;
            break;
        }
        if (!engine_feed(g, s, &token, 1, e)) {
            return false;
        }
    }
    stats->answer_seconds = clock_seconds_since(start);
    return true;
}

bool generate_answer(struct engine *g, struct engine_seq *s, const struct tokenizer *t,
                     const struct generate_request *r, struct generate_stats *out_stats,
                     struct error *e)
{
    struct generate_stats stats = {0};
    struct speculation_count before[SPECULATION_SOURCES];
    memcpy(before, g->speculation.counts, sizeof before);
    if (r->n_tokens >= g->options.n_ctx) {
        return error_set(e, ERROR_CONTEXT,
                         "the prompt has %zu tokens, the context holds %u and one must stay free "
                         "for the answer",
                         r->n_tokens, g->options.n_ctx);
    }
    if (!engine_set_tokens(g, s, r->tokens, (uint32_t)r->n_tokens, e)) {
        return false;
    }
    stats.n_kept = s->kv.n_tokens;
    stats.n_prompt = s->n_tokens - s->kv.n_tokens;
    struct answer a = {.engine = g,
                       .seq = s,
                       .request = r,
                       .stats = &stats,
                       .tokenizer = t,
                       .shows_prompt = r->progress != NULL && stats.n_prompt >= LONG_PROMPT};
    g->forward.goes_on = goes_on;
    g->forward.goes_on_argument = &a;
    token_stream_init(&a.stream);
    a.stream.at_start = false; /* an answer goes on after the prompt */
    buf_init(&a.text, MAX_PIECE_BYTES);
    bool ok = answer_loop(&a, e) && token_stream_flush(&a.stream, &a.text, e) && emit(&a, e);
    g->forward.goes_on = NULL;
    buf_finish(&a.text);
    for (int i = 0; i < SPECULATION_SOURCES; i++) {
        stats.guesses[i].made = g->speculation.counts[i].made - before[i].made;
        stats.guesses[i].right = g->speculation.counts[i].right - before[i].right;
    }
    if (ok) {
        *out_stats = stats;
    }
    return ok;
}
