/* prefix.c - the tree of cached pages, their order of use, and ghosts of what was evicted.
 *
 * Siblings are free of prefixes: none is the beginning of another, so at most one of them can be
 * the way on. A use moves the nodes of its way to the new end, the deepest first: a node is always
 * newer than what is below it, and the old end is a leaf. */
#include "engine/prefix.h"

#include "base/mem.h"

#include <string.h>

enum { TILE = KERN_ATTN_TILE };

static uint32_t root_of(const struct prefix *c)
{
    return c->kv->n_pages; /* "none" in links to children and siblings, too: the root is neither */
}

bool prefix_init(struct prefix *c, struct kv_pool *kv, uint32_t max_pages, struct error *e)
{
    *c = (struct prefix){.kv = kv, .max_pages = max_pages < kv->n_pages ? max_pages : kv->n_pages};
    if (max_pages == 0) {
        return true;
    }
    size_t n = kv->n_pages;
    size_t n_ghosts = 1;
    while (n_ghosts < 2 * n) {
        n_ghosts *= 2;
    }
    c->ghost_mask = (uint32_t)(n_ghosts - 1);
    c->nodes = mem_alloc(n + 1, sizeof *c->nodes, "prefix cache", e);
    c->tokens = c->nodes ? mem_alloc(n, TILE * sizeof *c->tokens, "prefix cache", e) : NULL;
    c->way = c->tokens ? mem_alloc(n, sizeof *c->way, "prefix cache", e) : NULL;
    c->ghosts = c->way ? mem_alloc(n_ghosts, sizeof *c->ghosts, "prefix cache", e) : NULL;
    if (c->ghosts == NULL) {
        prefix_finish(c);
        return false;
    }
    uint32_t root = root_of(c);
    c->nodes[root] = (struct prefix_node){.first_child = root, .newer = root, .older = root};
    return true;
}

void prefix_finish(struct prefix *c)
{
    if (c->ghosts != NULL) {
        for (uint32_t i = 0; i < c->kv->n_pages; i++) {
            if (c->nodes[i].n_tokens > 0) {
                kv_page_release(c->kv, i);
            }
        }
    }
    mem_free(c->nodes);
    mem_free(c->tokens);
    mem_free(c->way);
    mem_free(c->ghosts);
    *c = (struct prefix){0};
}

/* ---- order of use ---- */

static void unlink_use(struct prefix *c, uint32_t i)
{
    const struct prefix_node *node = &c->nodes[i];
    c->nodes[node->older].newer = node->newer;
    c->nodes[node->newer].older = node->older;
}

static void make_newest(struct prefix *c, uint32_t i)
{
    uint32_t root = root_of(c), newest = c->nodes[root].older;
    c->nodes[i].older = newest;
    c->nodes[i].newer = root;
    c->nodes[newest].newer = i;
    c->nodes[root].older = i;
}

/* The node and all above it. */
static void use_way(struct prefix *c, uint32_t i)
{
    for (; i != root_of(c); i = c->nodes[i].parent) {
        unlink_use(c, i);
        make_newest(c, i);
    }
}

/* ---- nodes ---- */

static const uint32_t *tokens_of(const struct prefix *c, uint32_t i)
{
    return c->tokens + (size_t)i * TILE;
}

/* FNV-1a over whole words, and a last mix so that low bits depend on all. */
static uint64_t hash_on(uint64_t hash, const uint32_t *tokens, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        hash = (hash ^ tokens[i]) * 0x100000001B3u;
    }
    return hash ^ hash >> 29;
}

static uint64_t path_of(const struct prefix *c, uint32_t node, uint64_t salt)
{
    return node == root_of(c) ? salt ^ 0xCBF29CE484222325u : c->nodes[node].path;
}

static void add_node(struct prefix *c, uint32_t parent, uint64_t salt, const uint32_t *tokens,
                     uint32_t n, uint32_t page)
{
    uint32_t root = root_of(c), sibling = c->nodes[parent].first_child;
    c->nodes[page] = (struct prefix_node){.salt = salt,
                                          .path = hash_on(path_of(c, parent, salt), tokens, n),
                                          .n_tokens = n,
                                          .parent = parent,
                                          .first_child = root,
                                          .next = sibling,
                                          .previous = root};
    if (sibling != root) {
        c->nodes[sibling].previous = page;
    }
    c->nodes[parent].first_child = page;
    memcpy(c->tokens + (size_t)page * TILE, tokens, n * sizeof *tokens);
    make_newest(c, page);
    kv_page_hold(c->kv, page);
    c->n_pages++;
}

static void remove_leaf(struct prefix *c, uint32_t page)
{
    uint32_t root = root_of(c);
    struct prefix_node *node = &c->nodes[page];
    if (node->previous != root) {
        c->nodes[node->previous].next = node->next;
    } else {
        c->nodes[node->parent].first_child = node->next;
    }
    if (node->next != root) {
        c->nodes[node->next].previous = node->previous;
    }
    unlink_use(c, page);
    c->n_marked -= node->is_marked;
    node->is_marked = false;
    node->n_tokens = 0;
    c->n_pages--;
    kv_page_release(c->kv, page);
}

static uint32_t n_equal(const uint32_t *a, const uint32_t *b, uint32_t n)
{
    uint32_t i = 0;
    while (i < n && a[i] == b[i]) {
        i++;
    }
    return i;
}

/* The child that agrees longest with the tokens, at least with the first; the root when none does.
 */
static uint32_t find_child(const struct prefix *c, uint32_t parent, uint64_t salt,
                           const uint32_t *tokens, uint32_t n, uint32_t *out_n)
{
    uint32_t best = root_of(c);
    *out_n = 0;
    for (uint32_t i = c->nodes[parent].first_child; i != root_of(c); i = c->nodes[i].next) {
        const struct prefix_node *node = &c->nodes[i];
        uint32_t most = node->n_tokens < n ? node->n_tokens : n;
        uint32_t equal = node->salt == salt ? n_equal(tokens_of(c, i), tokens, most) : 0;
        if (equal > *out_n) {
            *out_n = equal;
            best = i;
        }
    }
    return best;
}

/* ---- finding ---- */

/* Where tokens leave the tree: below `parent`, whose tokens all agree, or inside of `child`. */
struct fork {
    uint32_t parent;
    uint32_t child;    /* agrees with n_agreed tokens more; the root: there is none */
    uint32_t n_agreed; /* less than TILE */
    uint32_t n_way;    /* nodes down to parent, in c->way */
};

static struct fork walk(struct prefix *c, uint64_t salt, const uint32_t *tokens, uint32_t n_tokens)
{
    struct fork f = {.parent = root_of(c), .child = root_of(c)};
    while (f.n_way * TILE < n_tokens) {
        uint32_t at = f.n_way * TILE;
        uint32_t n = n_tokens - at < TILE ? n_tokens - at : TILE;
        f.child = find_child(c, f.parent, salt, tokens + at, n, &f.n_agreed);
        if (f.n_agreed < TILE) {
            break;
        }
        c->way[f.n_way++] = f.parent = f.child;
        f.child = root_of(c);
        f.n_agreed = 0;
    }
    return f;
}

static bool has_child_of(const struct prefix *c, uint32_t parent, uint64_t salt)
{
    uint32_t i = c->nodes[parent].first_child;
    while (i != root_of(c) && c->nodes[i].salt != salt) {
        i = c->nodes[i].next;
    }
    return i != root_of(c);
}

/* Why the walk along tokens (n_tokens), more than agreed, ended in f. */
static enum prefix_end judge(const struct prefix *c, const struct fork *f, uint64_t salt,
                             const uint32_t *tokens, uint32_t n_tokens)
{
    uint32_t at = f->n_way * TILE;
    if (n_tokens - at >= TILE) {
        uint64_t path = hash_on(path_of(c, f->parent, salt), tokens + at, TILE);
        if (c->ghosts[path & c->ghost_mask] == path) {
            return PREFIX_EVICTED;
        }
    }
    if (at + f->n_agreed == 0) {
        return PREFIX_COLD;
    }
    bool goes_on = f->child != root_of(c) ? c->nodes[f->child].n_tokens > f->n_agreed
                                          : has_child_of(c, f->parent, salt);
    return goes_on ? PREFIX_DIVERGED : PREFIX_ENDED;
}

struct prefix_match prefix_find(struct prefix *c, uint64_t salt, const uint32_t *tokens,
                                uint32_t n_tokens)
{
    if (c->max_pages == 0) {
        return (struct prefix_match){.end = PREFIX_COLD};
    }
    struct fork f = walk(c, salt, tokens, n_tokens);
    struct prefix_match m = {.n_tokens = f.n_way * TILE + f.n_agreed, .pages = c->way};
    m.end = m.n_tokens < n_tokens ? judge(c, &f, salt, tokens, n_tokens) : PREFIX_COMPLETE;
    use_way(c, f.child != root_of(c) ? f.child : f.parent);
    if (f.n_agreed > 0) {
        c->way[f.n_way] = f.child;
    }
    return m;
}

/* ---- keeping and evicting ---- */

/* Where the page's tokens are cached in whole, holds that page in the place of the caller's. */
static void hold_cached(struct prefix *c, uint32_t cached, uint32_t *page)
{
    if (*page != cached) {
        kv_page_hold(c->kv, cached);
        kv_page_release(c->kv, *page);
        *page = cached;
    }
}

void prefix_insert(struct prefix *c, uint64_t salt, const uint32_t *tokens, uint32_t n_tokens,
                   uint32_t *pages)
{
    if (c->max_pages == 0) {
        return;
    }
    struct fork f = walk(c, salt, tokens, n_tokens);
    for (uint32_t i = 0; i < f.n_way; i++) {
        hold_cached(c, c->way[i], &pages[i]);
    }
    uint32_t at = f.n_way * TILE;
    if (f.n_agreed > 0 && at + f.n_agreed < n_tokens && c->nodes[f.child].n_tokens == f.n_agreed) {
        remove_leaf(c, f.child);              /* the beginning of what comes now */
    } else if (at + f.n_agreed == n_tokens) { /* cached already */
        f.parent = f.child != root_of(c) ? f.child : f.parent;
        at = n_tokens;
    }
    for (; at < n_tokens; at += TILE) {
        uint32_t page = pages[at / TILE];
        bool has_room = c->n_pages < c->max_pages || prefix_evict(c, 1) > 0;
        if (!has_room || c->nodes[page].n_tokens > 0) {
            break;
        }
        uint32_t n = n_tokens - at < TILE ? n_tokens - at : TILE;
        add_node(c, f.parent, salt, tokens + at, n, page);
        f.parent = page;
    }
    use_way(c, f.parent);
}

static bool is_leaf(const struct prefix *c, uint32_t i)
{
    return c->nodes[i].first_child == root_of(c);
}

/* From the old end on, as prefix_evict goes: what is below a node comes before it. */
uint32_t prefix_n_idle(const struct prefix *c)
{
    uint32_t n = 0, root = root_of(c);
    if (c->n_pages == 0) {
        return 0;
    }
    for (uint32_t i = c->nodes[root].newer; i != root; i = c->nodes[i].newer) {
        c->way[i] = 0; /* nodes below that stay */
    }
    for (uint32_t i = c->nodes[root].newer; i != root; i = c->nodes[i].newer) {
        bool stays = c->way[i] > 0 || c->kv->n_users[i] > 1;
        n += !stays;
        if (stays && c->nodes[i].parent != root) {
            c->way[c->nodes[i].parent] = 1;
        }
    }
    return n;
}

static void evict_leaf(struct prefix *c, uint32_t i)
{
    c->ghosts[c->nodes[i].path & c->ghost_mask] = c->nodes[i].path;
    remove_leaf(c, i);
    c->n_evicted++;
}

uint32_t prefix_evict(struct prefix *c, uint32_t n)
{
    uint32_t n_evicted = 0;
    if (c->n_pages == 0) {
        return 0;
    }
    for (uint32_t i = c->nodes[root_of(c)].newer; i != root_of(c) && n_evicted < n;) {
        uint32_t newer = c->nodes[i].newer;
        if (is_leaf(c, i) && c->kv->n_users[i] == 1) {
            evict_leaf(c, i);
            n_evicted++;
        }
        i = newer;
    }
    return n_evicted;
}

bool prefix_forget(struct prefix *c, uint32_t page)
{
    if (c->n_pages == 0 || c->nodes[page].n_tokens == 0) {
        return false;
    }
    uint32_t i = page;
    while (!is_leaf(c, page)) {
        if (!is_leaf(c, i)) {
            i = c->nodes[i].first_child;
        } else if (c->kv->n_users[i] > 1) {
            return false;
        } else {
            uint32_t parent = c->nodes[i].parent;
            evict_leaf(c, i);
            i = parent;
        }
    }
    evict_leaf(c, page);
    return true;
}

/* ---- marks ---- */

bool prefix_has_page(const struct prefix *c, uint32_t page)
{
    return c->n_pages > 0 && c->nodes[page].n_tokens == TILE;
}

void prefix_mark(struct prefix *c, uint32_t page, bool is_marked)
{
    struct prefix_node *node = &c->nodes[page];
    c->n_marked += is_marked && !node->is_marked;
    c->n_marked -= !is_marked && node->is_marked;
    node->is_marked = is_marked;
}

bool prefix_find_marked(const struct prefix *c, uint32_t *out_page)
{
    if (c->n_marked == 0) {
        return false;
    }
    uint32_t i = c->nodes[root_of(c)].older;
    while (!c->nodes[i].is_marked) {
        i = c->nodes[i].older;
    }
    *out_page = i;
    return true;
}

uint32_t prefix_depth(const struct prefix *c, uint32_t page)
{
    uint32_t n = 0;
    for (; page != root_of(c); page = c->nodes[page].parent) {
        n++;
    }
    return n;
}

void prefix_spell(const struct prefix *c, uint32_t page, uint32_t *out)
{
    for (uint32_t n = prefix_depth(c, page); n > 0; page = c->nodes[page].parent) {
        memcpy(out + (size_t)--n * TILE, tokens_of(c, page), TILE * sizeof *out);
    }
}

const char *prefix_end_name(enum prefix_end end)
{
    static const char *const names[PREFIX_END_COUNT] = {"complete", "cold",    "ended",
                                                        "diverged", "evicted", "prompt_logprobs"};
    return names[end];
}
