/* choice.c - one choice of an answer. */
#include "serve/choice.h"

enum { MAX_PIECE_BYTES = 1 << 20 };

void choice_init(struct choice *c, const struct choice_rules *rules)
{
    *c = (struct choice){.rules = rules};
    token_stream_init(&c->stream);
    c->stream.at_start = false; /* an answer goes on after the prompt */
    stop_init(&c->stop, rules->stops, rules->n_stops);
    buf_init(&c->piece, MAX_PIECE_BYTES);
}

void choice_finish(struct choice *c)
{
    stop_finish(&c->stop);
    buf_finish(&c->piece);
    *c = (struct choice){0};
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

/* Hands c->piece on to the stop strings. */
static bool pass_piece(struct choice *c, struct buf *out, struct error *e)
{
    c->text_bytes += c->piece.n;
    bool ok = stop_push(&c->stop, buf_str(&c->piece), out, e);
    buf_clear(&c->piece);
    return ok;
}

/* No token follows: what was held back leaves, unless it turns out to be a stop string. */
static bool end(struct choice *c, enum choice_end why, struct buf *out, struct error *e)
{
    if (!token_stream_flush(&c->stream, &c->piece, e) || !pass_piece(c, out, e) ||
        !stop_flush(&c->stop, out, e)) {
        return false;
    }
    c->end = c->stop.found ? CHOICE_STOP : why;
    return true;
}

bool choice_push(struct choice *c, uint32_t token, struct buf *out, struct error *e)
{
    const struct choice_rules *r = c->rules;
    c->n_tokens++;
    if (ends_choice(r, token)) {
        return end(c, CHOICE_STOP, out, e);
    }
    if (!token_stream_push(&c->stream, r->tokenizer, token, false, &c->piece, e) ||
        !pass_piece(c, out, e)) {
        return false;
    }
    if (c->stop.found) {
        c->end = CHOICE_STOP;
        return true;
    }
    return c->n_tokens < r->max_tokens || end(c, CHOICE_LENGTH, out, e);
}

bool choice_cut(struct choice *c, struct buf *out, struct error *e)
{
    return end(c, CHOICE_LENGTH, out, e);
}
