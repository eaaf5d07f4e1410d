/* mask.c - masks of tokens. Most of a mask depends on a leaf's automaton alone: of each of its
 * states the tokens that it reads to their end are found once, by a walk over the vocabulary's
 * trie, and kept, with the places of the trie where the leaf may end in the middle of a token. A
 * mask is the sum of these over a state's readings, and of what lies below those places and goes
 * on as the stack says. Equal leaves are the same states (link.c), equal ones of other grammars
 * have been walked (walk_cache.h), and a state that is met again has its mask already. */
#include "schema/automaton_internal.h"

#include "base/mem.h"
#include "schema/text_limit.h"

enum {
    MAX_MASKS = 512,              /* of states */
    MAX_LEAF_BYTES = 96 << 20,    /* of what is kept of leaves; then all is forgotten */
    MAX_STATES_BYTES = 256 << 20, /* while one mask is made; more is an error */
    MAX_STEPS = 6000000,          /* of a mask that is made, about 20 ns each */
    FEW_TOKENS = 256              /* are listed, and no mask */
};

/* What one state of a leaf reads. Equal keys read the same tokens. */
struct leaf_mask {
    uint32_t hash;
    uint32_t dfa, loop;
    uint32_t least, most; /* times that the loop must, and may be done; at most the longest token.
                             Of a limit the place in an escape, and characters that are left; none
                             of it where no token can pass the limit */
    struct token_walk walk;
    bool is_shared; /* walk's arrays are the cache's */
};

struct state_mask {
    uint64_t *bits; /* (n_words), NULL until it is used */
    uint32_t state; /* AUTOMATON_UNKNOWN: free */
};

struct masks {
    struct pool leaves; /* struct leaf_mask */
    struct index leaf_index;
    size_t leaf_bytes, state_bytes;
    struct state_mask states[MAX_MASKS];
    uint32_t hand;             /* place of `states` to be given away next */
    struct pool tokens, exits; /* uint32_t, of the walk */
    struct pool key;           /* char, of the cache */
    uint64_t most_steps;       /* of the automaton, at which the mask costs too much */
    uint64_t *loops;           /* (dfa's n_states) kinds of bytes that lead back, and KNOWN */
    uint32_t *path;            /* (max_depth + 1) states of a walk, by depth */
    uint32_t *counts;          /* (max_depth + 1) */
};

struct masks *masks_create(const struct automaton *a, struct error *e)
{
    struct masks *m = mem_alloc(1, sizeof *m, "token masks", e);
    if (m == NULL) {
        return NULL;
    }
    size_t n = (size_t)a->trie->max_depth + 1;
    m->path = mem_alloc(n, sizeof *m->path, "token masks", e);
    m->counts = m->path != NULL ? mem_alloc(n, sizeof *m->counts, "token masks", e) : NULL;
    m->loops = m->counts != NULL
                   ? mem_alloc(a->grammar->dfa.n_states, sizeof *m->loops, "token masks", e)
                   : NULL;
    if (m->loops == NULL) {
        masks_destroy(m);
        return NULL;
    }
    masks_forget(m);
    return m;
}

static void forget_leaves(struct masks *m)
{
    for (uint32_t i = 0; i < m->leaves.n; i++) {
        struct leaf_mask *leaf = (struct leaf_mask *)m->leaves.items + i;
        if (!leaf->is_shared) {
            token_walk_finish(&leaf->walk);
        }
    }
    mem_free(m->leaf_index.slots);
    m->leaf_index = (struct index){0};
    m->leaves.n = 0;
    m->leaf_bytes = 0;
}

void masks_destroy(struct masks *m)
{
    if (m == NULL) {
        return;
    }
    forget_leaves(m);
    for (int i = 0; i < MAX_MASKS; i++) {
        mem_free(m->states[i].bits);
    }
    mem_free(m->leaves.items);
    mem_free(m->tokens.items);
    mem_free(m->exits.items);
    mem_free(m->key.items);
    mem_free(m->path);
    mem_free(m->counts);
    mem_free(m->loops);
    mem_free(m);
}

void masks_forget(struct masks *m)
{
    for (int i = 0; i < MAX_MASKS; i++) {
        m->states[i].state = AUTOMATON_UNKNOWN;
    }
}

size_t masks_bytes(const struct masks *m)
{
    return m->leaf_bytes + m->state_bytes;
}

/* --- what a leaf reads */

static bool push(struct pool *p, uint32_t item, struct error *e)
{
    uint32_t *place = pool_add(p, 1, sizeof item, UINT32_MAX / 2, "grammar states", e);
    if (place != NULL) {
        *place = item;
    }
    return place != NULL;
}

static bool push_tokens(const struct token_trie *t, uint32_t token, struct pool *p, struct error *e)
{
    for (; token != TOKEN_NONE; token = t->next_equal[token]) {
        if (!push(p, token, e)) {
            return false;
        }
    }
    return true;
}

/* One step of a leaf's automaton. Returns false when no text goes on so; *ends: a text of the leaf
 * ends here; *goes_on: one may be longer. */
static bool step_leaf(const struct grammar *g, const struct loop *loop, uint8_t byte,
                      struct reading *r, bool *ends, bool *goes_on)
{
    uint32_t to = g->dfa.next[(size_t)r->dfa * g->dfa.n_classes + g->dfa.class_of[byte]];
    *ends = g->dfa.accepting[to];
    *goes_on = g->has_next[to];
    r->dfa = to;
    if (loop != NULL && loop->is_limit) {
        r->count = text_limit_step(r->count, byte);
        return to != 0 && text_limit_allows(g, loop, to, r->count);
    }
    if (loop != NULL && *ends) {
        r->dfa = loop->start;
        r->count++;
        *ends = r->count >= loop->min;
        *goes_on = r->count < loop->max;
    }
    return to != 0;
}

/* --- states that bytes lead back to */

#define KNOWN ((uint64_t)1 << 63)

/* Whether any n more bytes of a character, the first of them from first to last, lead from one
 * state to another, and end no text on their way. */
static bool leads_to(const struct dfa *d, uint32_t from, uint32_t to, int n, uint32_t first,
                     uint32_t last)
{
    uint32_t before = 0;
    for (uint32_t byte = first; byte <= last; byte++) {
        uint32_t next = d->next[(size_t)from * d->n_classes + d->class_of[byte]];
        bool ok = n == 1 ? next == to
                         : next != 0 && !d->accepting[next] &&
                               (next == before || leads_to(d, next, to, n - 1, 0x80, 0xBF));
        if (!ok) {
            return false;
        }
        before = next;
    }
    return true;
}

/* source  RFC 3629, section 4: the bytes of characters */
static bool reads_characters(const struct dfa *d, uint32_t state)
{
    static const struct {
        uint8_t lead, last_lead, n, first, last;
    } forms[] = {{0xC2, 0xDF, 1, 0x80, 0xBF}, {0xE0, 0xE0, 2, 0xA0, 0xBF},
                 {0xE1, 0xEC, 2, 0x80, 0xBF}, {0xED, 0xED, 2, 0x80, 0x9F},
                 {0xEE, 0xEF, 2, 0x80, 0xBF}, {0xF0, 0xF0, 3, 0x90, 0xBF},
                 {0xF1, 0xF3, 3, 0x80, 0xBF}, {0xF4, 0xF4, 3, 0x80, 0x8F}};
    bool ok = true;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        for (uint32_t lead = forms[i].lead; lead <= forms[i].last_lead && ok; lead++) {
            uint32_t next = d->next[(size_t)state * d->n_classes + d->class_of[lead]];
            ok = next != 0 && !d->accepting[next] &&
                 leads_to(d, next, state, forms[i].n, forms[i].first, forms[i].last);
        }
    }
    return ok;
}

/* The kinds of bytes that lead from a state back to it, without ending a text. */
static uint64_t loop_kinds(struct automaton *a, uint32_t state)
{
    const struct dfa *d = &a->grammar->dfa;
    uint64_t *known = &a->masks->loops[state];
    if (*known == 0) {
        uint64_t leaves = 0; /* kinds that lead elsewhere */
        for (uint32_t byte = 0; byte < 0x80; byte++) {
            bool stays = d->next[(size_t)state * d->n_classes + d->class_of[byte]] == state;
            leaves |= (uint64_t)!stays << token_byte_kind((uint8_t)byte);
        }
        uint64_t ascii = ((uint64_t)1 << TOKEN_BYTE_MULTI) - 1;
        *known = KNOWN | (d->accepting[state] ? 0 : ascii & ~leaves);
        if ((*known & ascii) != 0 && reads_characters(d, state)) {
            *known |= (uint64_t)1 << TOKEN_BYTE_MULTI;
        }
    }
    return *known;
}

/* All tokens below a node. */
static bool push_subtree(const struct token_trie *t, uint32_t node, struct pool *p, struct error *e)
{
    uint32_t first = t->n_before[node + 1], past = t->n_before[t->nodes[node].end];
    uint32_t *place = pool_add(p, past - first, sizeof *place, UINT32_MAX / 2, "grammar states", e);
    if (place != NULL && past > first) {
        memcpy(place, t->ordered + first, (past - first) * sizeof *place);
    }
    return place != NULL;
}

/* --- a walk */

/* Fills m->tokens and m->exits. */
static bool walk_leaf(struct automaton *a, const struct reading *start, struct error *e)
{
    const struct token_trie *t = a->trie;
    const struct grammar *g = a->grammar;
    const struct loop *loop = start->loop > 0 ? &g->loops[start->loop - 1] : NULL;
    struct masks *m = a->masks;
    m->tokens.n = m->exits.n = 0;
    m->path[0] = start->dfa;
    m->counts[0] = start->count;
    for (uint32_t i = 1; i < t->n_nodes;) {
        const struct token_node *node = &t->nodes[i];
        struct reading r = {.dfa = m->path[node->depth - 1], .count = m->counts[node->depth - 1]};
        bool ends, goes_on;
        if (!step_leaf(g, loop, node->byte, &r, &ends, &goes_on)) {
            i = node->end;
            continue;
        }
        if (node->token != TOKEN_NONE && !push_tokens(t, node->token, &m->tokens, e)) {
            return false;
        }
        for (uint32_t c = i + 1; ends && c < node->end; c = t->nodes[c].end) {
            if (!push(&m->exits, c, e)) {
                return false;
            }
        }
        if (loop == NULL && node->end > i + 1 && (t->kinds[i] & ~loop_kinds(a, r.dfa)) == 0) {
            if (!push_subtree(t, i, &m->tokens, e)) {
                return false;
            }
            i = node->end;
            continue;
        }
        m->path[node->depth] = r.dfa;
        m->counts[node->depth] = r.count;
        i = goes_on ? i + 1 : node->end;
    }
    return true;
}

/* Moves m->tokens and m->exits to a walk's own memory. */
static bool keep_tokens(const struct automaton *a, struct token_walk *leaf, struct error *e)
{
    struct masks *m = a->masks;
    const uint32_t *tokens = m->tokens.items;
    leaf->n_tokens = m->tokens.n;
    if (m->tokens.n <= FEW_TOKENS) {
        leaf->tokens = mem_alloc(m->tokens.n, sizeof *tokens, "token masks", e);
        if (leaf->tokens != NULL && m->tokens.n > 0) {
            memcpy(leaf->tokens, tokens, m->tokens.n * sizeof *tokens);
        }
        leaf->n_bytes += m->tokens.n * sizeof *tokens;
        return leaf->tokens != NULL;
    }
    leaf->bits = mem_alloc(a->trie->n_words, sizeof *leaf->bits, "token masks", e);
    for (uint32_t i = 0; i < m->tokens.n && leaf->bits != NULL; i++) {
        token_mask_add(leaf->bits, tokens[i]);
    }
    leaf->n_bytes += a->trie->n_words * sizeof *leaf->bits;
    return leaf->bits != NULL;
}

static bool keep_exits(const struct automaton *a, struct token_walk *leaf, struct error *e)
{
    struct masks *m = a->masks;
    const uint32_t *exits = m->exits.items;
    leaf->n_exits = m->exits.n;
    if (m->exits.n == 0) {
        return true;
    }
    leaf->exits = mem_alloc(m->exits.n, sizeof *exits, "token masks", e);
    leaf->exits_of = mem_alloc(258, sizeof *leaf->exits_of, "token masks", e);
    if (leaf->exits == NULL || leaf->exits_of == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < m->exits.n; i++) {
        leaf->exits_of[a->trie->nodes[exits[i]].byte + 2]++;
    }
    for (uint32_t b = 2; b < 258; b++) {
        leaf->exits_of[b] += leaf->exits_of[b - 1];
    }
    for (uint32_t i = 0; i < m->exits.n; i++) {
        leaf->exits[leaf->exits_of[a->trie->nodes[exits[i]].byte + 1]++] = exits[i];
    }
    leaf->n_bytes += (m->exits.n + 258) * sizeof *exits;
    return true;
}

/* The key of what a reading's leaf reads: counts that no token can tell apart are equal. */
static struct leaf_mask key_of(const struct automaton *a, const struct reading *r)
{
    struct leaf_mask key = {.dfa = r->dfa, .loop = r->loop};
    uint32_t longest = a->trie->max_depth + 1;
    const struct loop *loop = r->loop > 0 ? &a->grammar->loops[r->loop - 1] : NULL;
    if (loop != NULL && loop->is_limit) {
        key.least = r->count % TEXT_LIMIT_PLACES;
        key.most = loop->max - r->count / TEXT_LIMIT_PLACES;
        if (key.most >= longest + a->grammar->most_least) {
            key.loop = key.least = key.most = 0;
        }
    } else if (loop != NULL) {
        key.least = loop->min > r->count ? loop->min - r->count : 0;
        key.most = loop->max == GRAMMAR_UNLIMITED ? longest : loop->max - r->count;
        key.least = key.least < longest ? key.least : longest;
        key.most = key.most < longest ? key.most : longest;
    }
    uint64_t h = ((uint64_t)key.dfa << 32 | key.loop) * 0x9E3779B97F4A7C15u;
    h = (h ^ h >> 32 ^ ((uint64_t)key.least << 32 | key.most)) * 0xBF58476D1CE4E5B9u;
    key.hash = (uint32_t)(h >> 32);
    return key;
}

/* --- leaves of other grammars */

enum {
    MOST_STATES = 64, /* of what a shared walk may lead to */
    WIDE = 64         /* bytes that its first state reads, at least: others are quickly walked */
};

static bool is_wide(const struct grammar *g, uint32_t state)
{
    uint32_t n = 0;
    for (uint32_t byte = 0; byte < 256; byte++) {
        n += g->dfa.next[(size_t)state * g->dfa.n_classes + g->dfa.class_of[byte]] != 0;
    }
    return n >= WIDE;
}

static bool push_key(struct masks *m, const void *bytes, size_t n, struct error *e)
{
    char *place = pool_add(&m->key, n, 1, UINT32_MAX / 2, "token masks", e);
    if (place != NULL) {
        memcpy(place, bytes, n);
    }
    return place != NULL;
}

/* The number of a state in the order in which they are met; MOST_STATES: too many. */
static uint8_t number_of(uint32_t states[MOST_STATES], uint32_t *n, uint32_t state)
{
    uint32_t i = 0;
    while (i < *n && states[i] != state) {
        i++;
    }
    if (i == *n && i < MOST_STATES) {
        states[(*n)++] = state;
    }
    return (uint8_t)i;
}

/* All that a walk from the leaf's state depends on, into m->key: the state in which the loop begins
 * again, if there is one, its counts, and the automaton from the leaf's state on, whose states are
 * numbered as bytes lead to them. As it is minimal, equal ones have equal keys. Empty where the
 * walk is not to be shared: by far not all counts of a loop are. */
static bool make_key(struct automaton *a, const struct leaf_mask *leaf, struct error *e)
{
    const struct grammar *g = a->grammar;
    struct masks *m = a->masks;
    uint32_t states[MOST_STATES], n = 0, counts[3] = {0, leaf->least, leaf->most};
    uint32_t longest = a->trie->max_depth + 1;
    m->key.n = 0;
    bool is_limited = leaf->loop > 0 && g->loops[leaf->loop - 1].is_limit;
    if (is_limited || !is_wide(g, leaf->dfa) || (leaf->least > 0 && leaf->least < longest) ||
        (leaf->loop > 0 && leaf->most < longest)) {
        return true;
    }
    number_of(states, &n, leaf->dfa);
    if (leaf->loop > 0) {
        counts[0] = 1u + number_of(states, &n, g->loops[leaf->loop - 1].start);
    }
    bool ok = push_key(m, counts, sizeof counts, e), is_small = true;
    for (uint32_t i = 0; i < n && ok && is_small; i++) {
        const uint32_t *row = g->dfa.next + (size_t)states[i] * g->dfa.n_classes;
        uint8_t ends = g->dfa.accepting[states[i]];
        ok = push_key(m, &ends, 1, e);
        for (uint32_t first = 0, byte = 1; byte <= 256 && ok && is_small; byte++) {
            uint32_t to = row[g->dfa.class_of[first]];
            if (byte < 256 && row[g->dfa.class_of[byte]] == to) {
                continue;
            }
            uint8_t run[3] = {(uint8_t)first, (uint8_t)(byte - 1),
                              to != 0 ? number_of(states, &n, to) : UINT8_MAX};
            is_small = run[2] != MOST_STATES;
            ok = push_key(m, run, sizeof run, e);
            first = byte;
        }
    }
    m->key.n = is_small ? m->key.n : 0;
    return ok;
}

/* Fills the walk of a new leaf: from the cache, or by walking. */
static bool find_walk(struct automaton *a, const struct reading *r, struct leaf_mask *leaf,
                      struct error *e)
{
    struct masks *m = a->masks;
    a->n_steps += a->trie->n_nodes / 8; /* also where it is known: whether a mask costs too much
                                           depends on this grammar alone */
    if (!make_key(a, leaf, e)) {
        return false;
    }
    struct str key = {m->key.items, m->key.n};
    const struct token_walk *kept = key.n > 0 ? walk_cache_find(a->trie->walks, key) : NULL;
    if (kept == NULL) {
        struct reading start = {.dfa = r->dfa, .loop = leaf->loop, .count = r->count};
        bool ok = walk_leaf(a, &start, e) && keep_tokens(a, &leaf->walk, e) &&
                  keep_exits(a, &leaf->walk, e) &&
                  (key.n == 0 || walk_cache_keep(a->trie->walks, key, &leaf->walk, &kept, e));
        if (!ok) {
            token_walk_finish(&leaf->walk);
            return false;
        }
    }
    if (kept != NULL) {
        leaf->walk = *kept;
        leaf->is_shared = true;
    }
    return true;
}

static bool find_leaf(struct automaton *a, const struct reading *r, const struct token_walk **out,
                      struct error *e)
{
    struct masks *m = a->masks;
    struct leaf_mask key = key_of(a, r);
    if (m->leaf_bytes > MAX_LEAF_BYTES) {
        forget_leaves(m);
    }
    if (!index_make_room(&m->leaf_index, m->leaves.items, m->leaves.n, sizeof key, e)) {
        return false;
    }
    size_t slot = key.hash;
    for (uint32_t i; (i = index_at(&m->leaf_index, slot)) != AUTOMATON_UNKNOWN; slot++) {
        const struct leaf_mask *leaf = (const struct leaf_mask *)m->leaves.items + i;
        if (leaf->dfa == key.dfa && leaf->loop == key.loop && leaf->least == key.least &&
            leaf->most == key.most) {
            *out = &leaf->walk;
            return true;
        }
    }
    struct leaf_mask *place = NULL;
    if (!find_walk(a, r, &key, e)) {
        return false;
    }
    place = pool_add(&m->leaves, 1, sizeof key, UINT32_MAX / 2, "automata", e);
    if (place == NULL) {
        if (!key.is_shared) {
            token_walk_finish(&key.walk);
        }
        return false;
    }
    *place = key;
    m->leaf_bytes += sizeof key + key.walk.n_bytes;
    m->leaf_index.slots[slot & (m->leaf_index.n_slots - 1)] = m->leaves.n;
    *out = &place->walk;
    return true;
}

/* --- what goes on behind a leaf */

static void add_tokens(const struct token_trie *t, uint32_t token, uint64_t *bits)
{
    for (; token != TOKEN_NONE; token = t->next_equal[token]) {
        token_mask_add(bits, token);
    }
}

/* False when the mask has cost too much. */
static bool check_cost(const struct automaton *a, struct error *e)
{
    if (a->n_steps > a->masks->most_steps) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the grammar can be read in too many ways: more than %d steps for a mask",
                         MAX_STEPS);
    }
    return true;
}

/* Tokens at and below node top, whose byte is read in `state`. */
static bool walk_states(struct automaton *a, uint32_t top, uint32_t state, uint64_t *bits,
                        struct error *e)
{
    const struct token_trie *t = a->trie;
    uint32_t *path = a->masks->path;
    path[t->nodes[top].depth - 1] = state;
    for (uint32_t i = top; i < t->nodes[top].end;) {
        const struct token_node *node = &t->nodes[i];
        uint32_t to;
        if (!automaton_step(a, path[node->depth - 1], node->byte, &to, e) || !check_cost(a, e)) {
            return false;
        }
        if (to == AUTOMATON_DEAD) {
            i = node->end;
            continue;
        }
        add_tokens(t, node->token, bits);
        path[node->depth] = to;
        i++;
    }
    return true;
}

static bool add_exits(struct automaton *a, const struct token_walk *leaf, uint32_t node,
                      uint64_t *bits, struct error *e)
{
    uint32_t after;
    if (leaf->n_exits == 0) {
        return true;
    }
    if (!automaton_after(a, node, &after, e)) {
        return false;
    }
    for (uint32_t word = 0; word < 4; word++) {
        for (uint64_t left = automaton_first(a, after)[word]; left != 0; left &= left - 1) {
            uint32_t byte = 64 * word + (uint32_t)__builtin_ctzll(left);
            for (uint32_t i = leaf->exits_of[byte]; i < leaf->exits_of[byte + 1]; i++) {
                if (!walk_states(a, leaf->exits[i], after, bits, e)) {
                    return false;
                }
            }
        }
        if (automaton_size(a).n_bytes > MAX_STATES_BYTES) {
            return error_set(e, ERROR_MEMORY, "a mask needs more than %d bytes of grammar states",
                             MAX_STATES_BYTES);
        }
    }
    return true;
}

static bool make_mask(struct automaton *a, uint32_t state, uint64_t *bits, struct error *e)
{
    const struct token_trie *t = a->trie;
    memset(bits, 0, t->n_words * sizeof *bits);
    for (uint32_t i = 0; i < automaton_state(a, state)->n_readings; i++) {
        struct reading r =
            ((const struct reading *)a->readings.items)[automaton_state(a, state)->readings + i];
        const struct token_walk *leaf;
        a->n_steps += 1 + t->n_words / 32;
        if (!find_leaf(a, &r, &leaf, e) || !check_cost(a, e)) {
            return false;
        }
        for (uint32_t w = 0; leaf->bits != NULL && w < t->n_words; w++) {
            bits[w] |= leaf->bits[w];
        }
        for (uint32_t k = 0; leaf->bits == NULL && k < leaf->n_tokens; k++) {
            token_mask_add(bits, leaf->tokens[k]);
        }
        if (!add_exits(a, leaf, r.node, bits, e)) {
            return false;
        }
    }
    for (uint32_t w = 0; automaton_state(a, state)->is_complete && w < t->n_words; w++) {
        bits[w] |= t->ends[w];
    }
    return true;
}

/* --- masks of states */

const uint64_t *masks_find(struct automaton *a, uint32_t state, struct error *e)
{
    struct masks *m = a->masks;
    uint32_t place = automaton_state(a, state)->mask;
    if (place != AUTOMATON_UNKNOWN && m->states[place].state == state) {
        return m->states[place].bits;
    }
    struct state_mask *mask = &m->states[m->hand];
    mask->state = AUTOMATON_UNKNOWN;
    m->most_steps = a->n_steps + MAX_STEPS;
    if (mask->bits == NULL) {
        mask->bits = mem_alloc(a->trie->n_words, sizeof *mask->bits, "token masks", e);
        if (mask->bits == NULL) {
            return NULL;
        }
        m->state_bytes += a->trie->n_words * sizeof *mask->bits;
    }
    if (!make_mask(a, state, mask->bits, e)) {
        return NULL;
    }
    mask->state = state;
    ((struct state *)a->states.items)[state].mask = m->hand;
    m->hand = (m->hand + 1) % MAX_MASKS;
    return mask->bits;
}
