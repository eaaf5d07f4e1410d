/* bpe.c - reads ranked merges and applies them to the splits of a text. */
#include "token/bpe.h"

#include "base/mem.h"
#include "token/byte_level.h"

enum { FILTER_BITS = 1 << 22 };

static uint64_t hash_pair(const struct bpe *b, uint32_t left, uint32_t right)
{
    uint64_t h = (((uint64_t)left << 32 | right) ^ b->seed) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 32;
}

static struct bpe_pair *find_slot(const struct bpe *b, uint64_t hash, uint32_t left, uint32_t right)
{
    for (size_t i = hash & b->mask;; i = (i + 1) & b->mask) {
        struct bpe_pair *pair = &b->pairs[i];
        if (pair->rank == MERGE_NEVER || (pair->left == left && pair->right == right)) {
            return pair;
        }
    }
}

static size_t filter_bit(uint64_t hash)
{
    return hash >> 40 & (FILTER_BITS - 1);
}

static void add_pair(struct bpe *b, struct bpe_pair new_pair)
{
    uint64_t hash = hash_pair(b, new_pair.left, new_pair.right);
    struct bpe_pair *pair = find_slot(b, hash, new_pair.left, new_pair.right);
    if (pair->rank == MERGE_NEVER) {
        *pair = new_pair;
        b->filter[filter_bit(hash) / 64] |= (uint64_t)1 << filter_bit(hash) % 64;
    }
}

static const struct bpe_pair *find_pair(const struct bpe *b, uint32_t left, uint32_t right)
{
    static const struct bpe_pair none = {.rank = MERGE_NEVER};
    uint64_t hash = hash_pair(b, left, right);
    bool possible = b->filter[filter_bit(hash) / 64] >> filter_bit(hash) % 64 & 1;
    return possible ? find_slot(b, hash, left, right) : &none;
}

static bool bad_merge(struct str merge, uint64_t rank, const char *why, struct error *e)
{
    return error_set(e, ERROR_FORMAT, "tokenizer.ggml.merges: merge %llu '%.*s' %s",
                     (unsigned long long)rank, STR_ARG(str_shown(merge)), why);
}

/* A merge as the tokens that it joins and the one that results. */
struct resolved {
    uint32_t left, right, id;
};

/* Token for the bytes of text; *known: the vocabulary spells a token so, whatever its kind. */
static uint32_t resolve(const struct vocab *v, struct str text, struct str bytes, bool *known)
{
    uint32_t id = token_map_find(&v->by_bytes, bytes);
    *known = *known && (id != TOKEN_NONE || token_map_find(&v->by_text, text) != TOKEN_NONE);
    return id;
}

/* "LEFT RIGHT"; scratch has room for the bytes of merge. False for what is no merge of tokens. */
static bool read_merge(const struct vocab *v, struct str merge, uint64_t rank, char *scratch,
                       struct resolved *out, struct error *e)
{
    const char *space = merge.n > 1 ? memchr(merge.p + 1, ' ', merge.n - 1) : NULL;
    if (space == NULL) {
        return bad_merge(merge, rank, "is not a pair", e);
    }
    struct str left = {merge.p, (size_t)(space - merge.p)};
    struct str right = str_skip(merge, left.n + 1);
    size_t n_left = 0;
    size_t n_right = 0;
    if (!byte_level_decode(left, scratch, &n_left) ||
        !byte_level_decode(right, scratch + n_left, &n_right)) {
        return bad_merge(merge, rank, "has characters that stand for no byte", e);
    }
    bool known = true;
    out->left = resolve(v, left, (struct str){scratch, n_left}, &known);
    out->right = resolve(v, right, (struct str){scratch + n_left, n_right}, &known);
    if (!known) {
        return bad_merge(merge, rank, "joins what is not in the vocabulary", e);
    }
    out->id = token_map_find(&v->by_bytes, (struct str){scratch, n_left + n_right});
    if (out->id == TOKEN_NONE && out->left != TOKEN_NONE && out->right != TOKEN_NONE) {
        memmove(scratch, left.p, left.n);
        memcpy(scratch + left.n, right.p, right.n);
        if (token_map_find(&v->by_text, (struct str){scratch, left.n + right.n}) == TOKEN_NONE) {
            return bad_merge(merge, rank, "gives what is not in the vocabulary", e);
        }
    }
    return true;
}

static bool read_merges(struct bpe *b, const struct vocab *v, const struct gguf_value *merges,
                        struct error *e)
{
    size_t longest = 0;
    for (uint64_t rank = 0; rank < merges->n_items; rank++) {
        size_t n = gguf_array_str(merges, rank).n;
        longest = n > longest ? n : longest;
    }
    char *scratch = mem_alloc(longest, 1, "merge", e);
    if (scratch == NULL) {
        return false;
    }
    bool ok = true;
    for (uint64_t rank = 0; ok && rank < merges->n_items; rank++) {
        struct resolved r = {TOKEN_NONE, TOKEN_NONE, TOKEN_NONE};
        ok = read_merge(v, gguf_array_str(merges, rank), rank, scratch, &r, e);
        if (ok && r.left != TOKEN_NONE && r.right != TOKEN_NONE && r.id != TOKEN_NONE) {
            add_pair(b, (struct bpe_pair){r.left, r.right, (uint32_t)rank, r.id});
        }
    }
    mem_free(scratch);
    return ok;
}

static bool allocate(struct bpe *b, uint64_t n_merges, struct error *e)
{
    size_t n_slots = 16; /* far from overflow: an array has at most GGUF_MAX_ARRAY_ITEMS items */
    while (n_slots / 4 * 3 < n_merges) {
        n_slots *= 2;
    }
    b->n_bytes = n_slots * sizeof *b->pairs + FILTER_BITS / 8 + 256 * 256 * sizeof *b->byte_pairs;
    b->pairs = mem_alloc_pages(b->n_bytes, "merge table", e);
    if (b->pairs == NULL) {
        return false;
    }
    b->byte_pairs = b->pairs + n_slots;
    b->filter = (uint64_t *)(b->byte_pairs + 256 * 256);
    for (size_t i = 0; i < n_slots; i++) {
        b->pairs[i].rank = MERGE_NEVER;
    }
    b->mask = n_slots - 1;
    b->seed = token_map_seed();
    return true;
}

static void fill_byte_pairs(struct bpe *b, const struct vocab *v)
{
    for (size_t i = 0; i < 256 * 256; i++) {
        b->byte_pairs[i] = *find_pair(b, v->byte_ids[i / 256], v->byte_ids[i % 256]);
    }
}

bool bpe_init(struct bpe *b, const struct vocab *v, const struct gguf *g, struct error *e)
{
    *b = (struct bpe){0};
    const struct gguf_value *merges = NULL;
    if (!vocab_find_strings(g, "tokenizer.ggml.merges", &merges, e)) {
        return false;
    }
    if (!allocate(b, merges->n_items, e) || !read_merges(b, v, merges, e)) {
        bpe_finish(b);
        return false;
    }
    fill_byte_pairs(b, v);
    return true;
}

void bpe_finish(struct bpe *b)
{
    mem_free_pages(b->pairs, b->n_bytes);
    *b = (struct bpe){0};
}

struct context {
    const struct bpe *b;
    const uint8_t *text;
};

static uint32_t find_rank(const void *context, const struct merge_symbol *left,
                          const struct merge_symbol *right, uint32_t *id)
{
    const struct context *c = context;
    const struct bpe_pair *pair =
        left->n == 1 && right->n == 1
            ? &c->b->byte_pairs[c->text[left->start] * 256 + c->text[right->start]]
            : find_pair(c->b, left->id, right->id);
    *id = pair->id;
    return pair->rank;
}

bool bpe_encode(const struct bpe *b, const struct vocab *v, struct str split, struct merge *m,
                struct token_list *out, struct error *e)
{
    if (v->pre->ignore_merges || split.n == 1) {
        uint32_t whole = token_map_find(&v->by_bytes, split);
        if (whole != TOKEN_NONE) {
            return token_list_push(out, whole, e);
        }
    }
    if (!merge_start(m, split.n, e)) {
        return false;
    }
    for (size_t i = 0; i < split.n; i++) {
        uint32_t id = v->byte_ids[(uint8_t)split.p[i]];
        if (id != TOKEN_NONE) {
            merge_add(m, id, (uint32_t)i, 1);
        } else {
            out->n_dropped++;
        }
    }
    struct context context = {b, (const uint8_t *)split.p};
    if (!merge_run(m, find_rank, &context, e)) {
        return false;
    }
    for (uint32_t i = m->n_symbols > 0 ? 0 : MERGE_END; i != MERGE_END; i = m->symbols[i].next) {
        if (!token_list_push(out, m->symbols[i].id, e)) {
            return false;
        }
    }
    return true;
}
