/* echo.c - prompts that are told. */
#include "serve/echo.h"

#include <math.h>

enum { MAX_PIECE_BYTES = 1 << 20 };

bool echo_text(const struct echo *p, struct buf *out, struct error *e)
{
    return p->given->is_ids
               ? tokenizer_decode(p->tokenizer, p->prompt->ids, p->prompt->n, false, out, e)
               : buf_append(out, p->given->text, e);
}

/* Whether the first token is one that the tokenizer put in front of the text. */
static bool has_added_bos(const struct echo *p)
{
    uint32_t bos = tokenizer_info(p->tokenizer)->bos;
    if (p->given->is_ids || bos == TOKEN_NONE || p->prompt->ids[0] != bos) {
        return false;
    }
    struct str name = tokenizer_piece(p->tokenizer, bos, true), text = p->given->text;
    return text.n < name.n || !str_eq((struct str){text.p, name.n}, name);
}

static void tell_token(const struct echo *p, size_t i, struct api_token *out,
                       struct api_candidate *top)
{
    const struct tokenizer *t = p->tokenizer;
    out->bytes = tokenizer_piece(t, p->prompt->ids[i], true);
    out->logprob = NAN;
    if (i == 0) {
        return;
    }
    const struct logprob *entry = p->rows->scores + i * (1 + p->n_top);
    out->logprob = entry[0].logprob;
    out->top = top;
    out->n_top = p->n_top;
    for (size_t k = 0; k < p->n_top; k++) {
        top[k].bytes = tokenizer_piece(t, entry[1 + k].token, true);
        top[k].logprob = entry[1 + k].logprob;
    }
}

bool echo_tokens(const struct echo *p, struct api_token *tokens, struct api_candidate *top,
                 size_t *out_end, struct error *e)
{
    struct token_stream stream;
    struct buf text;
    size_t offset = 0, n_text = 0;
    bool ok = true;
    token_stream_init(&stream);
    buf_init(&text, MAX_PIECE_BYTES);
    for (size_t i = 0; ok && i < p->prompt->n; i++) {
        tokens[i] = (struct api_token){.text_offset = offset};
        tell_token(p, i, &tokens[i], top + i * p->n_top);
        if (i > 0 || !has_added_bos(p)) {
            ok = token_stream_push(&stream, p->tokenizer, p->prompt->ids[i], !p->given->is_ids,
                                   &text, e);
        }
        n_text += api_count_text(buf_str(&text));
        offset = n_text + (stream.n_pending > 0); /* a code point counts where it begins */
        buf_clear(&text);
    }
    buf_finish(&text);
    *out_end = offset;
    return ok;
}
