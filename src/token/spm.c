/* spm.c - merging by score, byte fallback. */
#include "token/spm.h"

void spm_init(struct spm *s, const struct vocab *v)
{
    uint32_t unknown = v->info.unknown;
    bool text_may_give_it = unknown != TOKEN_NONE && v->kinds[unknown] != TOKEN_CONTROL;
    bool has_space = token_map_find(&v->by_bytes, STR(" ")) != TOKEN_NONE;
    *s = (struct spm){.space_starts_piece = has_space,
                      .unknown = text_may_give_it ? unknown : TOKEN_NONE};
    for (uint32_t id = 0; id < v->info.n_tokens; id++) {
        struct str piece = v->pieces[id];
        for (size_t i = 1; (v->flags[id] & VOCAB_PLAIN) && i < piece.n; i++) {
            if (piece.p[i] == ' ' && piece.p[i - 1] != ' ') {
                s->space_starts_piece = false;
                return;
            }
        }
    }
}

size_t spm_word(const struct spm *s, struct str text)
{
    if (!s->space_starts_piece) {
        return text.n;
    }
    size_t i = 0;
    while (i < text.n && text.p[i] == ' ') {
        i++;
    }
    const char *space = memchr(text.p + i, ' ', text.n - i);
    return space != NULL ? (size_t)(space - text.p) : text.n;
}

struct context {
    const struct vocab *v;
    const char *text;
};

/* Unsigned integers in the opposite order of the floats: the best score gets the smallest. */
static uint32_t falling_order(float score)
{
    uint32_t bits = 0;
    score += 0.0f; /* -0 becomes +0 */
    memcpy(&bits, &score, sizeof bits);
    return bits & 0x80000000u ? bits : ~bits & 0x7FFFFFFFu;
}

static uint32_t find_piece(const void *context, const struct merge_symbol *left,
                           const struct merge_symbol *right, uint32_t *id)
{
    const struct context *c = context;
    struct str piece = {c->text + left->start, (size_t)left->n + right->n};
    *id = token_map_find(&c->v->by_bytes, piece);
    return *id != TOKEN_NONE ? falling_order(c->v->scores[*id]) : MERGE_NEVER;
}

/* One symbol a character; bytes that are not UTF-8 are symbols of their own. */
static void add_characters(struct merge *m, struct str word)
{
    for (size_t i = 0; i < word.n;) {
        uint32_t c = 0;
        size_t n = str_decode_utf8(str_skip(word, i), &c);
        n = n > 0 ? n : 1;
        merge_add(m, TOKEN_NONE, (uint32_t)i, (uint32_t)n);
        i += n;
    }
}

/* Bytes of a symbol that is no piece; neighbouring unknown characters are one unknown token. */
static bool push_bytes(const struct spm *s, const struct vocab *v, struct str bytes,
                       bool *after_unknown, struct token_list *out, struct error *e)
{
    for (size_t i = 0; i < bytes.n; i++) {
        uint32_t id = v->byte_ids[(uint8_t)bytes.p[i]];
        bool unknown = id == TOKEN_NONE;
        out->n_dropped += unknown && s->unknown == TOKEN_NONE;
        if (unknown && (*after_unknown || s->unknown == TOKEN_NONE)) {
            continue;
        }
        *after_unknown = unknown;
        if (!token_list_push(out, unknown ? s->unknown : id, e)) {
            return false;
        }
    }
    return true;
}

bool spm_encode(const struct spm *s, const struct vocab *v, struct str word, struct merge *m,
                struct token_list *out, struct error *e)
{
    struct context context = {v, word.p};
    if (!merge_start(m, word.n, e)) {
        return false;
    }
    add_characters(m, word);
    if (!merge_run(m, find_piece, &context, e)) {
        return false;
    }
    bool after_unknown = false;
    for (uint32_t i = m->n_symbols > 0 ? 0 : MERGE_END; i != MERGE_END; i = m->symbols[i].next) {
        struct str bytes = {word.p + m->symbols[i].start, m->symbols[i].n};
        uint32_t id = m->symbols[i].id;
        if (id == TOKEN_NONE) {
            id = token_map_find(&v->by_bytes, bytes);
        }
        if (id == TOKEN_NONE) {
            if (!push_bytes(s, v, bytes, &after_unknown, out, e)) {
                return false;
            }
            continue;
        }
        after_unknown = false;
        if (!token_list_push(out, id, e)) {
            return false;
        }
    }
    return true;
}
