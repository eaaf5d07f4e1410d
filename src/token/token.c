/* token.c - the tokenizer: creation, lookup, and encoding of text around special tokens. */
#include "token/token.h"

#include "base/mem.h"
#include "token/bpe.h"
#include "token/special.h"
#include "token/spm.h"
#include "token/vocab.h"

struct tokenizer {
    struct vocab vocab;
    struct bpe bpe;              /* BPE models */
    struct spm spm;              /* SPM models */
    struct special user_defined; /* matched always */
    struct special all_special;  /* matched with TOKEN_PARSE_SPECIAL */
    size_t longest_piece;        /* bytes, at least 1 */
};

void token_list_finish(struct token_list *list)
{
    mem_free(list->ids);
    *list = (struct token_list){0};
}

bool token_list_push(struct token_list *list, uint32_t id, struct error *e)
{
    if (list->n == list->capacity) {
        size_t capacity = list->capacity > 0 ? list->capacity * 2 : 64;
        uint32_t *ids = mem_resize(list->ids, capacity, sizeof *ids, "token list", e);
        if (ids == NULL) {
            return false;
        }
        list->ids = ids;
        list->capacity = capacity;
    }
    list->ids[list->n++] = id;
    return true;
}

static bool is_special(enum token_kind kind)
{
    return kind == TOKEN_CONTROL || kind == TOKEN_USER_DEFINED || kind == TOKEN_UNKNOWN;
}

static bool find_specials(struct tokenizer *t, struct error *e)
{
    const struct vocab *v = &t->vocab;
    struct token_list all = {0};
    struct token_list user = {0};
    bool ok = true;
    for (uint32_t id = 0; ok && id < v->info.n_tokens; id++) {
        if (is_special(v->kinds[id])) {
            ok = token_list_push(&all, id, e) &&
                 (v->kinds[id] != TOKEN_USER_DEFINED || token_list_push(&user, id, e));
        }
    }
    ok = ok && special_init(&t->all_special, v->pieces, all.ids, all.n, e) &&
         special_init(&t->user_defined, v->pieces, user.ids, user.n, e);
    token_list_finish(&all);
    token_list_finish(&user);
    return ok;
}

static size_t find_longest_piece(const struct vocab *v)
{
    size_t longest = 1;
    for (uint32_t id = 0; id < v->info.n_tokens; id++) {
        longest = v->pieces[id].n > longest ? v->pieces[id].n : longest;
    }
    return longest;
}

struct tokenizer *tokenizer_create(const struct gguf *g, struct error *e)
{
    struct tokenizer *t = mem_alloc(1, sizeof *t, "tokenizer", e);
    if (t == NULL) {
        return NULL;
    }
    if (!vocab_init(&t->vocab, g, e) || !find_specials(t, e)) {
        goto fail;
    }
    t->longest_piece = find_longest_piece(&t->vocab);
    if (t->vocab.info.model == TOKEN_MODEL_SPM) {
        spm_init(&t->spm, &t->vocab);
    } else if (!bpe_init(&t->bpe, &t->vocab, g, e)) {
        goto fail;
    }
    return t;
fail:
    tokenizer_destroy(t);
    return NULL;
}

void tokenizer_destroy(struct tokenizer *t)
{
    if (t != NULL) {
        special_finish(&t->user_defined);
        special_finish(&t->all_special);
        bpe_finish(&t->bpe);
        vocab_finish(&t->vocab);
        mem_free(t);
    }
}

const struct token_info *tokenizer_info(const struct tokenizer *t)
{
    return &t->vocab.info;
}

struct str tokenizer_piece(const struct tokenizer *t, uint32_t id, bool with_special)
{
    enum token_kind kind = tokenizer_kind(t, id);
    bool hidden = !with_special && (kind == TOKEN_CONTROL || kind == TOKEN_UNKNOWN);
    return hidden ? (struct str){t->vocab.piece_bytes, 0} : t->vocab.pieces[id];
}

struct str tokenizer_text(const struct tokenizer *t, uint32_t id)
{
    return t->vocab.texts[id];
}

enum token_kind tokenizer_kind(const struct tokenizer *t, uint32_t id)
{
    return (enum token_kind)t->vocab.kinds[id];
}

uint32_t tokenizer_find(const struct tokenizer *t, struct str text)
{
    return token_map_find(&t->vocab.by_text, text);
}

bool tokenizer_is_end(const struct tokenizer *t, uint32_t id)
{
    return (t->vocab.flags[id] & VOCAB_END) != 0;
}

static const char *role(const struct tokenizer *t, uint32_t id)
{
    static const char *const kinds[] = {
        [TOKEN_NORMAL] = "normal",   [TOKEN_UNKNOWN] = "unknown",
        [TOKEN_CONTROL] = "control", [TOKEN_USER_DEFINED] = "user-defined",
        [TOKEN_UNUSED] = "unused",   [TOKEN_BYTE] = "byte"};
    return tokenizer_is_end(t, id) ? "an end of turn" : kinds[tokenizer_kind(t, id)];
}

static bool same_token(const struct tokenizer *a, const struct tokenizer *b, uint32_t id)
{
    return str_eq(a->vocab.texts[id], b->vocab.texts[id]) &&
           a->vocab.kinds[id] == b->vocab.kinds[id] &&
           tokenizer_is_end(a, id) == tokenizer_is_end(b, id);
}

bool tokenizer_check_same(const struct tokenizer *a, const struct tokenizer *b, struct error *e)
{
    static const char *const models[] = {[TOKEN_MODEL_BPE] = "BPE", [TOKEN_MODEL_SPM] = "SPM"};
    const struct token_info *ai = &a->vocab.info, *bi = &b->vocab.info;
    if (ai->model != bi->model || ai->n_tokens != bi->n_tokens) {
        return error_set(e, ERROR_USAGE, "a vocabulary of %u tokens (%s), not of %u (%s)",
                         bi->n_tokens, models[bi->model], ai->n_tokens, models[ai->model]);
    }
    uint32_t id = 0;
    while (id < ai->n_tokens && same_token(a, b, id)) {
        id++;
    }
    if (id < ai->n_tokens) {
        struct str at = str_shown(a->vocab.texts[id]), bt = str_shown(b->vocab.texts[id]);
        return error_set(e, ERROR_USAGE, "token %u is '%.*s' (%s), not '%.*s' (%s)", id,
                         STR_ARG(bt), role(b, id), STR_ARG(at), role(a, id));
    }
    return true;
}

size_t tokenizer_split(const struct tokenizer *t, struct str text, size_t *ends)
{
    size_t n = 0;
    if (t->vocab.pre == NULL) {
        return 0;
    }
    for (size_t i = 0; i < text.n;) {
        i = pretoken_next(t->vocab.pre->kind, text, i);
        ends[n++] = i;
    }
    return n;
}

static bool encode_bpe(const struct tokenizer *t, struct str text, struct merge *m,
                       struct token_list *out, struct error *e)
{
    for (size_t i = 0; i < text.n;) {
        size_t end = pretoken_next(t->vocab.pre->kind, text, i);
        struct str split = {text.p + i, end - i};
        if (!bpe_encode(&t->bpe, &t->vocab, split, m, out, e)) {
            return false;
        }
        i = end;
    }
    return true;
}

/* Puts text into *spaced as the vocabulary's pieces see it: with the prefix, and with every U+2581
 * as the space that it stands for. */
static bool space_text(struct str text, bool prefix, struct buf *spaced, struct error *e)
{
    static const char escaped_space[] = "\xE2\x96\x81";
    buf_clear(spaced);
    if (prefix && !buf_append_byte(spaced, ' ', e)) {
        return false;
    }
    while (text.n > 0) {
        const char *mark = memmem(text.p, text.n, escaped_space, 3);
        struct str plain = {text.p, mark != NULL ? (size_t)(mark - text.p) : text.n};
        if (!buf_append(spaced, plain, e) || (mark != NULL && !buf_append_byte(spaced, ' ', e))) {
            return false;
        }
        text = str_skip(text, plain.n + (mark != NULL ? 3 : 0));
    }
    return true;
}

/* Working memory of one call of tokenizer_encode. */
struct work {
    struct merge merge;
    struct buf spaced;
    struct special_matches special; /* where control tokens may be */
    struct special_matches user_defined;
};

static bool encode_spm(const struct tokenizer *t, struct str text, bool prefix, struct work *w,
                       struct token_list *out, struct error *e)
{
    if (!space_text(text, prefix && t->vocab.info.add_space_prefix, &w->spaced, e)) {
        return false;
    }
    struct str rest = buf_str(&w->spaced);
    while (rest.n > 0) {
        struct str word = {rest.p, spm_word(&t->spm, rest)};
        if (!spm_encode(&t->spm, &t->vocab, word, &w->merge, out, e)) {
            return false;
        }
        rest = str_skip(rest, word.n);
    }
    return true;
}

/* Text without special tokens. after_special: it starts the text or follows a special token. */
static bool encode_fragment(const struct tokenizer *t, struct str text, bool after_special,
                            struct work *w, struct token_list *out, struct error *e)
{
    if (text.n == 0) {
        return true;
    }
    return t->vocab.info.model == TOKEN_MODEL_SPM ? encode_spm(t, text, after_special, w, out, e)
                                                  : encode_bpe(t, text, &w->merge, out, e);
}

/* The special tokens that lie within one span that allows them, into *out. */
static bool find_allowed(const struct tokenizer *t, struct str text, const struct token_span *spans,
                         size_t n_spans, struct special_matches *out, struct error *e)
{
    size_t end = text.n;
    for (size_t i = n_spans; i-- > 0;) { /* from the last one: in falling order of start */
        size_t start = end - spans[i].n_bytes;
        if (spans[i].may_be_special && !special_search(&t->all_special, text, start, end, out, e)) {
            return false;
        }
        end = start;
    }
    return true;
}

/* Takes matches off the end of *m, where the first ones are, up to the first that does not start
 * before `done`. */
static const struct special_match *first_match(struct special_matches *m, size_t done)
{
    while (m->n > 0 && m->items[m->n - 1].start < done) {
        m->n--;
    }
    return m->n > 0 ? &m->items[m->n - 1] : NULL;
}

static bool has_id(const struct token_list *list, uint32_t id)
{
    size_t i = 0;
    while (list != NULL && i < list->n && list->ids[i] != id) {
        i++;
    }
    return list != NULL && i < list->n;
}

/* The user-defined tokens of a text, without those that count as control. */
static bool find_user_defined(const struct tokenizer *t, struct str text,
                              const struct token_list *marks, struct special_matches *out,
                              struct error *e)
{
    if (!special_search(&t->user_defined, text, 0, text.n, out, e)) {
        return false;
    }
    size_t n = 0;
    for (size_t i = 0; i < out->n; i++) {
        if (!has_id(marks, out->items[i].id)) {
            out->items[n++] = out->items[i];
        }
    }
    out->n = n;
    return true;
}

/* Counts the spellings of control tokens beside those that are allowed. */
static bool count_neutralised(const struct tokenizer *t, struct str text,
                              const struct token_list *marks, const struct special_matches *allowed,
                              size_t *count, struct error *e)
{
    struct special_matches all = {0}, rest = *allowed;
    bool ok = special_search(&t->all_special, text, 0, text.n, &all, e);
    size_t done = 0;
    const struct special_match *m;
    while (ok && (m = first_match(&all, done)) != NULL) {
        const struct special_match *taken = first_match(&rest, done);
        size_t end = m->start + t->vocab.pieces[m->id].n;
        bool is_taken = taken != NULL && taken->start < end;
        done = is_taken ? taken->start + t->vocab.pieces[taken->id].n : end;
        *count += !is_taken && (tokenizer_kind(t, m->id) == TOKEN_CONTROL || has_id(marks, m->id));
    }
    special_matches_finish(&all);
    return ok;
}

/* The next special token that starts at `done` or behind it; NULL when there is none. A
 * user-defined one that reaches into one that is allowed, out of text, gives way. */
static const struct special_match *next_special(const struct tokenizer *t, struct work *w,
                                                size_t done)
{
    const struct special_match *m = first_match(&w->special, done), *user;
    while ((user = first_match(&w->user_defined, done)) != NULL && m != NULL &&
           user->start < m->start && user->start + t->vocab.pieces[user->id].n > m->start) {
        w->user_defined.n--;
    }
    return m != NULL && (user == NULL || m->start <= user->start) ? m : user;
}

/* w has the special tokens. */
static bool encode_around(const struct tokenizer *t, struct str text, bool after_special,
                          struct work *w, struct token_list *out, struct error *e)
{
    const struct special_match *match;
    size_t done = 0;
    while ((match = next_special(t, w, done)) != NULL) {
        struct str fragment = {text.p + done, match->start - done};
        if (!encode_fragment(t, fragment, after_special, w, out, e) ||
            !token_list_push(out, match->id, e)) {
            return false;
        }
        after_special = true;
        done = match->start + t->vocab.pieces[match->id].n;
    }
    return encode_fragment(t, str_skip(text, done), after_special, w, out, e);
}

/* SPM reads U+2581, which is E2 96 81, as a blank: one byte of a piece. */
size_t tokenizer_least_tokens(const struct tokenizer *t, struct str text)
{
    bool is_spm = t->vocab.info.model == TOKEN_MODEL_SPM;
    uint8_t counts[256];
    size_t n = 0;
    for (unsigned b = 0; b < 256; b++) {
        bool vanishes = t->vocab.byte_ids[b] == TOKEN_NONE || (is_spm && (b == 0x96 || b == 0x81));
        counts[b] = !vanishes;
    }
    for (size_t i = 0; i < text.n; i++) {
        n += counts[(uint8_t)text.p[i]];
    }
    return n / t->longest_piece;
}

static void work_finish(struct work *w)
{
    merge_finish(&w->merge);
    buf_finish(&w->spaced);
    special_matches_finish(&w->special);
    special_matches_finish(&w->user_defined);
}

bool tokenizer_encode(const struct tokenizer *t, struct str text, unsigned flags,
                      struct token_list *out, struct error *e)
{
    const struct token_info *info = &t->vocab.info;
    struct token_span whole = {text.n, (flags & TOKEN_PARSE_SPECIAL) != 0};
    struct work w = {0};
    buf_init(&w.spaced, SIZE_MAX / 2);
    size_t n_before = out->n, n_dropped_before = out->n_dropped;
    bool ok = (!(flags & TOKEN_ADD_BOS) || !info->add_bos || token_list_push(out, info->bos, e)) &&
              find_allowed(t, text, &whole, 1, &w.special, e) &&
              find_user_defined(t, text, NULL, &w.user_defined, e) &&
              encode_around(t, text, (flags & TOKEN_CONTINUE) == 0, &w, out, e) &&
              (!(flags & TOKEN_ADD_EOS) || !info->add_eos || token_list_push(out, info->eos, e));
    if (!ok) {
        out->n = n_before;
        out->n_dropped = n_dropped_before;
    }
    work_finish(&w);
    return ok;
}

bool tokenizer_encode_spans(const struct tokenizer *t, struct str text,
                            const struct token_spans *parts, struct token_list *out,
                            struct error *e)
{
    struct work w = {0};
    buf_init(&w.spaced, SIZE_MAX / 2);
    size_t n_before = out->n, n_dropped_before = out->n_dropped, n_neutralised = 0;
    bool ok = find_allowed(t, text, parts->spans, parts->n, &w.special, e) &&
              find_user_defined(t, text, parts->marks, &w.user_defined, e) &&
              count_neutralised(t, text, parts->marks, &w.special, &n_neutralised, e) &&
              encode_around(t, text, true, &w, out, e);
    if (ok) {
        out->n_neutralised += n_neutralised;
    } else {
        out->n = n_before;
        out->n_dropped = n_dropped_before;
    }
    work_finish(&w);
    return ok;
}

bool tokenizer_find_user_defined(const struct tokenizer *t, struct str text, struct token_list *out,
                                 struct error *e)
{
    struct special_matches found = {0};
    bool ok = special_search(&t->user_defined, text, 0, text.n, &found, e);
    for (size_t i = 0; ok && i < found.n; i++) {
        uint32_t id = found.items[i].id;
        struct str piece = t->vocab.pieces[id];
        size_t n_space = 0;
        while (n_space < piece.n && memchr(" \t\n\r", piece.p[n_space], 4) != NULL) {
            n_space++;
        }
        ok = n_space == piece.n || has_id(out, id) || token_list_push(out, id, e);
    }
    special_matches_finish(&found);
    return ok;
}
