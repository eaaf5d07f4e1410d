/* choice.c - one choice of an answer. */
#include "serve/choice.h"

enum { MAX_PIECE_BYTES = 1 << 20, MAX_PASSED_BYTES = 4 << 20 };

bool choice_init(struct choice *c, const struct choice_rules *rules, struct error *e)
{
    *c = (struct choice){.rules = rules};
    token_stream_init(&c->stream);
    c->stream.at_start = false; /* an answer goes on after the prompt */
    stop_init(&c->stop, rules->stops, rules->n_stops);
    guard_text_init(&c->guard, rules->guard, GUARD_ANSWER);
    buf_init(&c->piece, MAX_PIECE_BYTES);
    buf_init(&c->passed, MAX_PASSED_BYTES);
    buf_init(&c->judged, MAX_PASSED_BYTES);
    if (rules->tools == NULL) {
        return true;
    }
    c->parser = tool_parser_create(rules->tool_format, rules->tools, e);
    if (c->parser == NULL) {
        return false;
    }
    tool_parser_frame(c->parser, rules->framing);
    if (rules->one_call) {
        tool_parser_end_with_call(c->parser);
    }
    return true;
}

void choice_finish(struct choice *c)
{
    stop_finish(&c->stop);
    guard_text_finish(&c->guard);
    tool_parser_destroy(c->parser);
    buf_finish(&c->piece);
    buf_finish(&c->passed);
    buf_finish(&c->judged);
    *c = (struct choice){0};
}

size_t choice_released(const struct choice *c)
{
    if (c->end != CHOICE_RUNS && !c->stop.found && !c->guard.blocked) {
        return c->text_bytes;
    }
    return c->judged_bytes - (c->parser != NULL ? tool_parser_held(c->parser) : 0);
}

/* The sampler holds back what it knows of, which with ignore_eos does not count stop_ids. */
static bool may_end(const struct choice *c)
{
    return c->n_tokens > c->rules->min_tokens;
}

static bool ends_choice(const struct choice_rules *r, uint32_t token)
{
    for (size_t i = 0; i < r->n_stop_ids; i++) {
        if (r->stop_ids[i] == token) {
            return true;
        }
    }
    return !r->ignore_eos && tokenizer_is_end(r->tokenizer, token);
}

/* Hands c->piece on to the stop strings, and what these let go to c->passed. A stop string begins
 * behind the first min_tokens tokens. */
static bool pass_piece(struct choice *c, struct error *e)
{
    c->text_bytes += c->piece.n;
    struct str piece = buf_str(&c->piece);
    bool ok =
        may_end(c) ? stop_push(&c->stop, piece, &c->passed, e) : buf_append(&c->passed, piece, e);
    buf_clear(&c->piece);
    return ok;
}

/* Hands c->passed on to the content filter, and what that lets go to *out; where tools are offered
 * by way of the parser. */
static bool pass_text(struct choice *c, bool is_last, struct tool_output *out, struct error *e)
{
    struct buf *judged = c->parser != NULL ? &c->judged : &out->text;
    size_t n_before = judged->n;
    bool ok = guard_text_push(&c->guard, buf_str(&c->passed), judged, e) &&
              (!is_last || guard_text_flush(&c->guard, judged, e));
    c->judged_bytes += judged->n - n_before;
    if (ok && c->parser != NULL) {
        ok = tool_parser_push(c->parser, buf_str(judged), out, e) &&
             (!is_last || tool_parser_flush(c->parser, out, e));
    }
    buf_clear(&c->passed);
    buf_clear(&c->judged);
    return ok;
}

/* Whether the choice has the one call that is wanted; what comes behind that in *out goes. */
static bool has_its_call(const struct choice *c, struct tool_output *out)
{
    if (!c->rules->one_call || c->parser == NULL || tool_parser_calls(c->parser) == 0) {
        return false;
    }
    size_t n = 0, n_bytes = 0;
    while (n < out->n_spans && out->spans[n].kind != TOOL_CALL_END) {
        n_bytes += out->spans[n++].n_bytes;
    }
    out->n_spans = n + 1;
    out->text.n = n_bytes;
    return true;
}

/* The model has not ended its answer itself. */
static void cut(struct choice *c)
{
    if (c->parser != NULL) {
        tool_parser_cut(c->parser);
    }
}

/* No token follows: what was held back leaves, unless it turns out to be a stop string or is
 * filtered. */
static bool end(struct choice *c, enum choice_end why, struct tool_output *out, struct error *e)
{
    if (why == CHOICE_LENGTH) {
        cut(c);
    }
    if (!token_stream_flush(&c->stream, &c->piece, e) || !pass_piece(c, e) ||
        !stop_flush(&c->stop, &c->passed, e) || !pass_text(c, true, out, e)) {
        return false;
    }
    bool has_whole_call = has_its_call(c, out) && out->spans[out->n_spans - 1].end != TOOL_CUT;
    bool is_stopped = c->stop.found || has_whole_call;
    c->end = c->guard.blocked ? CHOICE_FILTERED : is_stopped ? CHOICE_STOP : why;
    return true;
}

bool choice_push(struct choice *c, uint32_t token, struct tool_output *out, struct error *e)
{
    const struct choice_rules *r = c->rules;
    c->n_tokens++;
    if ((may_end(c) || r->has_grammar) && ends_choice(r, token)) {
        if (!tokenizer_is_end(r->tokenizer, token)) { /* a client's */
            cut(c);
        }
        return end(c, CHOICE_STOP, out, e);
    }
    bool is_shown = c->parser != NULL && tool_format_shows_token(r->tokenizer, token);
    if (!token_stream_push(&c->stream, r->tokenizer, token, is_shown, &c->piece, e) ||
        !pass_piece(c, e) || !pass_text(c, false, out, e)) {
        return false;
    }
    if (has_its_call(c, out)) {
        c->end = c->guard.blocked ? CHOICE_FILTERED : CHOICE_STOP;
        return true;
    }
    if (c->stop.found || c->guard.blocked || c->n_tokens >= r->max_tokens) {
        return end(c, CHOICE_LENGTH, out, e);
    }
    return true;
}

bool choice_cut(struct choice *c, struct tool_output *out, struct error *e)
{
    return end(c, CHOICE_LENGTH, out, e);
}
