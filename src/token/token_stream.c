/* token_stream.c - ids back to text, at once or token by token in whole code points. */
#include "token/token.h"

/* What of an id's piece is shown; at_start says whether an SPM space prefix may be in front, and
 * becomes what holds for the next id. */
static struct str shown_piece(const struct tokenizer *t, uint32_t id, bool with_special,
                              bool *at_start)
{
    struct str piece = tokenizer_piece(t, id, with_special);
    enum token_kind kind = tokenizer_kind(t, id);
    if (kind == TOKEN_CONTROL || kind == TOKEN_USER_DEFINED || kind == TOKEN_UNKNOWN) {
        *at_start = true;
        return piece;
    }
    bool prefixed =
        tokenizer_info(t)->add_space_prefix && *at_start && piece.n > 0 && piece.p[0] == ' ';
    *at_start = *at_start && piece.n == 0;
    return prefixed ? str_skip(piece, 1) : piece;
}

bool tokenizer_decode(const struct tokenizer *t, const uint32_t *ids, size_t n_ids,
                      bool with_special, struct buf *out, struct error *e)
{
    size_t n_before = out->n;
    bool at_start = true;
    for (size_t i = 0; i < n_ids; i++) {
        if (!buf_append(out, shown_piece(t, ids[i], with_special, &at_start), e)) {
            out->n = n_before;
            return false;
        }
    }
    return true;
}

void token_stream_init(struct token_stream *s)
{
    *s = (struct token_stream){.at_start = true};
}

static bool append_replacement(struct buf *out, struct error *e)
{
    return buf_append(out, STR("\xEF\xBF\xBD"), e);
}

/* Takes one byte. pending holds a prefix of a code point that more bytes could complete: it grows,
 * is complete, or the byte does not fit, and then what was pending is one ill-formed part. */
static bool push_byte(struct token_stream *s, char byte, struct buf *out, struct error *e)
{
    s->pending[s->n_pending++] = byte;
    struct str pending = {s->pending, s->n_pending};
    uint32_t c = 0;
    if (str_decode_utf8(pending, &c) > 0) {
        s->n_pending = 0;
        return buf_append(out, pending, e);
    }
    if (str_complete_utf8(pending) == 0) {
        return true;
    }
    bool alone = s->n_pending == 1;
    s->n_pending = 0;
    return append_replacement(out, e) && (alone || push_byte(s, byte, out, e));
}

bool token_stream_push(struct token_stream *s, const struct tokenizer *t, uint32_t id,
                       bool with_special, struct buf *out, struct error *e)
{
    struct token_stream next = *s;
    size_t n_before = out->n;
    struct str piece = shown_piece(t, id, with_special, &next.at_start);
    for (size_t i = 0; i < piece.n; i++) {
        if (!push_byte(&next, piece.p[i], out, e)) {
            out->n = n_before;
            return false;
        }
    }
    *s = next;
    return true;
}

bool token_stream_flush(struct token_stream *s, struct buf *out, struct error *e)
{
    if (s->n_pending > 0 && !append_replacement(out, e)) {
        return false;
    }
    s->n_pending = 0;
    return true;
}
