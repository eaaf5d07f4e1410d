/* fuzz_token.c - tokenizers of any vocabulary on any text. The input is a text, a NUL byte and a
 * GGUF file; what a tokenizer promises whatever its vocabulary says is checked. */
#include "token/token.h"

#include "base/mem.h"

#include "require.h"

/* Ids are in range and, with flags that do not parse them, none is a control token but BOS and EOS.
 */
static void check_ids(const struct tokenizer *t, unsigned flags, const struct token_list *list)
{
    const struct token_info *info = tokenizer_info(t);
    bool has_bos = (flags & TOKEN_ADD_BOS) && info->add_bos;
    require(!has_bos || (list->n > 0 && list->ids[0] == info->bos));
    bool has_eos = (flags & TOKEN_ADD_EOS) && info->add_eos;
    require(!has_eos || (list->n > 0 && list->ids[list->n - 1] == info->eos));
    for (size_t i = has_bos ? 1 : 0; i < list->n - has_eos; i++) {
        require(list->ids[i] < info->n_tokens);
        require((flags & TOKEN_PARSE_SPECIAL) || tokenizer_kind(t, list->ids[i]) != TOKEN_CONTROL);
    }
}

/* Streamed text is UTF-8 at every step, and decoded text is no longer than that and BOS. */
static void check_decoding(const struct tokenizer *t, const struct token_list *list)
{
    struct token_stream s;
    struct buf streamed;
    struct buf whole;
    token_stream_init(&s);
    buf_init(&streamed, 1 << 24);
    buf_init(&whole, 1 << 24);
    bool ok = true;
    for (size_t i = 0; ok && i < list->n; i++) {
        ok = token_stream_push(&s, t, list->ids[i], true, &streamed, NULL);
        require(str_complete_utf8(buf_str(&streamed)) == streamed.n);
    }
    ok = ok && token_stream_flush(&s, &streamed, NULL);
    for (struct str rest = buf_str(&streamed); rest.n > 0;) {
        uint32_t c = 0;
        size_t n = str_decode_utf8(rest, &c);
        require(n > 0);
        rest = str_skip(rest, n);
    }
    ok = ok && tokenizer_decode(t, list->ids, list->n, true, &whole, NULL);
    require(!ok || whole.n <= streamed.n);
    buf_finish(&streamed);
    buf_finish(&whole);
}

static void check_text(const struct tokenizer *t, struct str text, unsigned flags)
{
    struct token_list list = {0};
    if (tokenizer_encode(t, text, flags, &list, NULL)) {
        check_ids(t, flags, &list);
        check_decoding(t, &list);
    }
    token_list_finish(&list);
}

static void check_splits(const struct tokenizer *t, struct str text)
{
    size_t *ends = mem_alloc(text.n, sizeof *ends, "splits", NULL);
    if (ends != NULL) {
        size_t n = tokenizer_split(t, text, ends);
        size_t end = 0;
        for (size_t i = 0; i < n; i++) {
            require(ends[i] > end);
            end = ends[i];
        }
        require(end == (tokenizer_info(t)->model == TOKEN_MODEL_BPE ? text.n : 0));
        mem_free(ends);
    }
}

static void check_tokens(const struct tokenizer *t)
{
    uint32_t n = tokenizer_info(t)->n_tokens;
    for (uint32_t id = 0; id < n; id++) {
        struct str text = tokenizer_text(t, id);
        uint32_t found = tokenizer_find(t, text);
        require(text.n == 0 ? found == TOKEN_NONE : found <= id);
        require(tokenizer_piece(t, id, true).n <= text.n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const uint8_t *nul = n_bytes > 0 ? memchr(data, 0, n_bytes) : NULL;
    if (nul == NULL) {
        return 0;
    }
    struct str text = {(const char *)data, (size_t)(nul - data)};
    struct gguf *g = gguf_parse(nul + 1, n_bytes - text.n - 1, NULL);
    struct tokenizer *t = g != NULL ? tokenizer_create(g, NULL) : NULL;
    if (t != NULL) {
        check_tokens(t);
        check_splits(t, text);
        check_text(t, text, 0);
        check_text(t, text, TOKEN_PARSE_SPECIAL | TOKEN_ADD_BOS);
        check_text(t, text, TOKEN_ADD_BOS | TOKEN_ADD_EOS);
        check_text(t, text, TOKEN_CONTINUE);
    }
    tokenizer_destroy(t);
    gguf_destroy(g);
    return 0;
}
