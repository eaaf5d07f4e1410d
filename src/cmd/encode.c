/* encode.c - counts what tokenizer_encode leaves out. */
#include "cmd/encode.h"

#include <stdio.h>

/* Tokens of byte-level models stand for the bytes that they came from. SPM loses none: what is no
 * piece becomes byte tokens or the unknown token. */
static size_t count_dropped(const struct tokenizer *t, size_t text_bytes, const uint32_t *ids,
                            size_t n)
{
    size_t held = 0;
    for (size_t i = 0; i < n; i++) {
        held += tokenizer_piece(t, ids[i], true).n;
    }
    bool byte_level = tokenizer_info(t)->model == TOKEN_MODEL_BPE;
    return byte_level && held < text_bytes ? text_bytes - held : 0;
}

bool encode_text(const struct tokenizer *t, struct str text, unsigned flags, struct token_list *out,
                 size_t *n_dropped, struct error *e)
{
    bool has_bos = (flags & TOKEN_ADD_BOS) != 0 && tokenizer_info(t)->add_bos;
    size_t first = out->n + (has_bos ? 1 : 0);
    if (!tokenizer_encode(t, text, flags, out, e)) {
        return false;
    }
    *n_dropped += count_dropped(t, text.n, out->ids + first, out->n - first);
    return true;
}

bool encode_count_dropped(const struct tokenizer *t, const struct chat_message *messages, size_t n,
                          size_t *n_dropped, struct error *e)
{
    struct token_list ids = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        ids.n = 0;
        ok = encode_text(t, messages[i].content, 0, &ids, n_dropped, e);
    }
    token_list_finish(&ids);
    return ok;
}

void encode_warn(const char *command, size_t n_dropped)
{
    if (n_dropped > 0) {
        fflush(stdout);
        fprintf(stderr,
                "puna %s: warning: %zu byte%s left out: the vocabulary has no token for %s\n",
                command, n_dropped, n_dropped > 1 ? "s" : "", n_dropped > 1 ? "them" : "it");
    }
}
