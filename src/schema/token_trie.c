/* token_trie.c - tokens sorted by their bytes; each adds the nodes that the one before lacks. */
#include "schema/token_trie.h"

#include "base/mem.h"

#include <stdlib.h>

struct entry {
    struct str piece;
    uint32_t token;
};

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    size_t n = x->piece.n < y->piece.n ? x->piece.n : y->piece.n;
    int order = memcmp(x->piece.p, y->piece.p, n);
    if (order != 0) {
        return order;
    }
    if (x->piece.n != y->piece.n) {
        return x->piece.n < y->piece.n ? -1 : 1;
    }
    return x->token < y->token ? -1 : 1;
}

static size_t common_prefix(struct str a, struct str b)
{
    size_t n = 0;
    while (n < a.n && n < b.n && a.p[n] == b.p[n]) {
        n++;
    }
    return n;
}

/* Room for the nodes of sorted entries. */
static bool count_nodes(struct token_trie *t, const struct entry *entries, uint32_t n,
                        struct error *e)
{
    size_t n_nodes = 1;
    struct str before = {0};
    for (uint32_t i = 0; i < n; i++) {
        n_nodes += entries[i].piece.n - common_prefix(before, entries[i].piece);
        before = entries[i].piece;
        t->max_depth = before.n > t->max_depth ? (uint32_t)before.n : t->max_depth;
    }
    if (n_nodes >= UINT32_MAX) {
        return error_set(e, ERROR_UNSUPPORTED, "%zu bytes of tokens", n_nodes);
    }
    t->nodes = mem_alloc(n_nodes, sizeof *t->nodes, "token trie", e);
    return t->nodes != NULL;
}

static void add_nodes(struct token_trie *t, const struct entry *entries, uint32_t n)
{
    uint32_t path[TOKEN_TRIE_MAX_BYTES + 1] = {0}; /* nodes of the token before, by depth */
    struct str before = {0};
    t->nodes[0] = (struct token_node){.token = TOKEN_NONE};
    t->n_nodes = 1;
    for (uint32_t i = 0; i < n; i++) {
        struct str piece = entries[i].piece;
        size_t shared = common_prefix(before, piece);
        for (size_t d = shared + 1; d <= before.n; d++) {
            t->nodes[path[d]].end = t->n_nodes;
        }
        for (size_t d = shared + 1; d <= piece.n; d++) {
            path[d] = t->n_nodes;
            t->nodes[t->n_nodes++] = (struct token_node){
                .token = TOKEN_NONE, .depth = (uint16_t)d, .byte = (uint8_t)piece.p[d - 1]};
        }
        struct token_node *last = &t->nodes[path[piece.n]];
        t->next_equal[entries[i].token] = last->token;
        last->token = entries[i].token;
        before = piece;
    }
    for (size_t d = 0; d <= before.n; d++) {
        t->nodes[path[d]].end = t->n_nodes;
    }
}

/* --- what is below a node */

enum token_byte_kind token_byte_kind(uint8_t ascii)
{
    static const char signs[] = " !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
    const char *sign = ascii != 0 ? strchr(signs, ascii) : NULL;
    return sign != NULL                   ? (enum token_byte_kind)(sign - signs)
           : ascii >= 'a' && ascii <= 'z' ? TOKEN_BYTE_LOWER
           : ascii >= 'A' && ascii <= 'Z' ? TOKEN_BYTE_UPPER
           : ascii >= '0' && ascii <= '9' ? TOKEN_BYTE_DIGIT
                                          : TOKEN_BYTE_CONTROL;
}

/* The kind of a byte behind a beginning of a character, or none, which becomes that with the
 * byte; what belongs to no character is left out. */
static enum token_byte_kind take_byte(char begun[4], uint8_t *n_begun, uint8_t byte)
{
    uint32_t code_point;
    if (*n_begun == 0 && byte < 0x80) {
        return token_byte_kind(byte);
    }
    begun[(*n_begun)++] = (char)byte;
    if (str_complete_utf8((struct str){begun, *n_begun}) == 0) {
        return TOKEN_BYTE_MULTI;
    }
    bool is_whole = str_decode_utf8((struct str){begun, *n_begun}, &code_point) == *n_begun;
    *n_begun = 0;
    return is_whole ? TOKEN_BYTE_MULTI : TOKEN_BYTE_OTHER;
}

static bool find_kinds(struct token_trie *t, struct error *e)
{
    struct {
        uint32_t node;
        uint8_t n;
        char begun[4];
    } path[TOKEN_TRIE_MAX_BYTES + 1] = {0};
    t->kinds = mem_alloc(t->n_nodes, sizeof *t->kinds, "token trie", e);
    uint32_t *parents = mem_alloc(t->n_nodes, sizeof *parents, "token trie", e);
    uint8_t *own = mem_alloc(t->n_nodes, sizeof *own, "token trie", e);
    bool ok = t->kinds != NULL && parents != NULL && own != NULL;
    for (uint32_t i = 1; i < t->n_nodes && ok; i++) {
        uint16_t depth = t->nodes[i].depth;
        path[depth] = path[depth - 1];
        own[i] = (uint8_t)take_byte(path[depth].begun, &path[depth].n, t->nodes[i].byte);
        parents[i] = path[depth].node;
        path[depth].node = i;
        t->kinds[i] = (uint64_t)(path[depth].n > 0) << TOKEN_BYTE_INSIDE;
    }
    for (uint32_t i = t->n_nodes; i-- > 1 && ok;) {
        t->kinds[parents[i]] |= (t->kinds[i] & ~((uint64_t)1 << TOKEN_BYTE_INSIDE)) | (uint64_t)1
                                                                                          << own[i];
    }
    mem_free(parents);
    mem_free(own);
    return ok;
}

static bool order_tokens(struct token_trie *t, struct error *e)
{
    uint32_t n = 0;
    t->n_before = mem_alloc((size_t)t->n_nodes + 1, sizeof *t->n_before, "token trie", e);
    t->ordered = mem_alloc(t->n_tokens, sizeof *t->ordered, "token trie", e);
    if (t->n_before == NULL || t->ordered == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < t->n_nodes; i++) {
        t->n_before[i] = n;
        for (uint32_t k = t->nodes[i].token; k != TOKEN_NONE; k = t->next_equal[k]) {
            t->ordered[n++] = k;
        }
    }
    t->n_before[t->n_nodes] = n;
    return true;
}

static bool build(struct token_trie *t, const bool *is_end, struct error *e)
{
    struct entry *entries = mem_alloc(t->n_tokens, sizeof *entries, "token trie", e);
    t->next_equal = mem_alloc(t->n_tokens, sizeof *t->next_equal, "token trie", e);
    t->ends = mem_alloc(t->n_words, sizeof *t->ends, "token trie", e);
    if (entries == NULL || t->next_equal == NULL || t->ends == NULL) {
        mem_free(entries);
        return false;
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        t->next_equal[i] = TOKEN_NONE;
        if (is_end[i]) {
            token_mask_add(t->ends, i);
            t->pieces[i] = (struct str){0};
        } else if (t->pieces[i].n > TOKEN_TRIE_MAX_BYTES) {
            t->pieces[i] = (struct str){0};
        } else if (t->pieces[i].n > 0) {
            entries[n++] = (struct entry){t->pieces[i], i};
        }
    }
    if (n > 0) {
        qsort(entries, n, sizeof *entries, compare_entries);
    }
    bool ok = count_nodes(t, entries, n, e);
    if (ok) {
        add_nodes(t, entries, n);
    }
    mem_free(entries);
    return ok && find_kinds(t, e) && order_tokens(t, e);
}

struct token_trie *token_trie_from_pieces(const struct str *pieces, const bool *is_end, uint32_t n,
                                          struct error *e)
{
    struct token_trie *t = mem_alloc(1, sizeof *t, "token trie", e);
    if (t == NULL) {
        return NULL;
    }
    t->n_tokens = n;
    t->n_words = (n + 63) / 64;
    t->walks = walk_cache_create(e);
    t->pieces = t->walks != NULL ? mem_alloc(n, sizeof *t->pieces, "token trie", e) : NULL;
    if (t->pieces != NULL && n > 0) {
        memcpy(t->pieces, pieces, n * sizeof *pieces);
    }
    if (t->pieces == NULL || !build(t, is_end, e)) {
        token_trie_destroy(t);
        return NULL;
    }
    return t;
}

struct token_trie *token_trie_create(const struct tokenizer *tokenizer, struct error *e)
{
    uint32_t n = tokenizer_info(tokenizer)->n_tokens;
    struct token_trie *t = NULL;
    struct str *pieces = mem_alloc(n, sizeof *pieces, "token trie", e);
    bool *is_end = mem_alloc(n, sizeof *is_end, "token trie", e);
    if (pieces != NULL && is_end != NULL) {
        for (uint32_t i = 0; i < n; i++) {
            enum token_kind kind = tokenizer_kind(tokenizer, i);
            bool is_text = kind == TOKEN_NORMAL || kind == TOKEN_BYTE || kind == TOKEN_USER_DEFINED;
            is_end[i] = tokenizer_is_end(tokenizer, i);
            pieces[i] = is_text ? tokenizer_piece(tokenizer, i, false) : (struct str){0};
        }
        t = token_trie_from_pieces(pieces, is_end, n, e);
    }
    mem_free(pieces);
    mem_free(is_end);
    return t;
}

void token_trie_destroy(struct token_trie *t)
{
    if (t != NULL) {
        mem_free(t->nodes);
        mem_free(t->kinds);
        mem_free(t->n_before);
        mem_free(t->ordered);
        mem_free(t->next_equal);
        mem_free(t->pieces);
        mem_free(t->ends);
        walk_cache_destroy(t->walks);
        mem_free(t);
    }
}
