/* choice.c - one choice of an answer. */
#include "serve/choice.h"

enum { MAX_PIECE_BYTES = 1 << 20, MAX_PASSED_BYTES = 4 << 20 };

void choice_init(struct choice *c, const struct choice_rules *rules)
{
    *c = (struct choice){.rules = rules};
    token_stream_init(&c->stream);
    c->stream.at_start = false; /* an answer goes on after the prompt */
    stop_init(&c->stop, rules->stops, rules->n_stops);
    guard_text_init(&c->guard, rules->guard, GUARD_ANSWER);
    buf_init(&c->piece, MAX_PIECE_BYTES);
    buf_init(&c->passed, MAX_PASSED_BYTES);
}

void choice_finish(struct choice *c)
{
    stop_finish(&c->stop);
    guard_text_finish(&c->guard);
    buf_finish(&c->piece);
    buf_finish(&c->passed);
    *c = (struct choice){0};
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

/* Hands c->piece on to the stop strings, and what these let go to the content filter. A stop string
 * begins behind the first min_tokens tokens. */
static bool pass_piece(struct choice *c, struct buf *out, struct error *e)
{
    c->text_bytes += c->piece.n;
    struct str piece = buf_str(&c->piece);
    bool ok = (may_end(c) ? stop_push(&c->stop, piece, &c->passed, e)
                          : buf_append(&c->passed, piece, e)) &&
              guard_text_push(&c->guard, buf_str(&c->passed), out, e);
    buf_clear(&c->piece);
    buf_clear(&c->passed);
    return ok;
}

/* No token follows: what was held back leaves, unless it turns out to be a stop string or is
 * filtered. */
static bool end(struct choice *c, enum choice_end why, struct buf *out, struct error *e)
{
    if (!token_stream_flush(&c->stream, &c->piece, e) || !pass_piece(c, out, e) ||
        !stop_flush(&c->stop, &c->passed, e) ||
        !guard_text_push(&c->guard, buf_str(&c->passed), out, e) ||
        !guard_text_flush(&c->guard, out, e)) {
        return false;
    }
    c->end = c->guard.blocked ? CHOICE_FILTERED : c->stop.found ? CHOICE_STOP : why;
    return true;
}

bool choice_push(struct choice *c, uint32_t token, struct buf *out, struct error *e)
{
    const struct choice_rules *r = c->rules;
    c->n_tokens++;
    if (may_end(c) && ends_choice(r, token)) {
        return end(c, CHOICE_STOP, out, e);
    }
    if (!token_stream_push(&c->stream, r->tokenizer, token, false, &c->piece, e) ||
        !pass_piece(c, out, e)) {
        return false;
    }
    if (c->stop.found || c->guard.blocked || c->n_tokens >= r->max_tokens) {
        return end(c, CHOICE_LENGTH, out, e);
    }
    return true;
}

bool choice_cut(struct choice *c, struct buf *out, struct error *e)
{
    return end(c, CHOICE_LENGTH, out, e);
}
