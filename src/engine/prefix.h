/* prefix.h - the prefix cache: which tokens' keys and values lie in which KV pages.
 *
 * A tree whose nodes are pages: the way from the root to a node spells tokens, KERN_ATTN_TILE a
 * node. A leaf may hold fewer, and a match may end inside of a node: whoever goes on from there
 * writes to a copy (kv.h), so hits are exact to the token. Pages in the tree are held by it as by a
 * sequence.
 *
 * Eviction takes the least recently used leaves that the tree alone holds. A salt is a namespace:
 * entries of different salt never match (the caller hashes; two salts with one hash would share).
 * Owner/threads: the engine's thread. Nothing allocates after init: a page is in at most one node,
 * so that nodes are as many as pages and a page's number is its node's.
 * cost    a look-up reads the children of every node on its way: at most all nodes, mostly few. */
#ifndef ENGINE_PREFIX_H
#define ENGINE_PREFIX_H

#include "model/kv.h"

/* Why a match is no longer than it is. */
enum prefix_end {
    PREFIX_COMPLETE,    /* it is all that was asked for */
    PREFIX_COLD,        /* nothing cached begins with the first token */
    PREFIX_ENDED,       /* what is cached ends there */
    PREFIX_DIVERGED,    /* what is cached goes on with another token */
    PREFIX_EVICTED,     /* a whole page was cached and evicted; remembered for a while only */
    PREFIX_PROMPT_ROWS, /* the caller's reason: what it wants of the prompt is not in a cache */
    PREFIX_END_COUNT
};

struct prefix_match {
    uint32_t n_tokens;
    const uint32_t *pages; /* (kv_pages_for(n_tokens)) until the next call */
    enum prefix_end end;
};

/* Numbers of nodes are those of pages; the root is n_pages. */
struct prefix_node {
    uint64_t salt, path; /* path: hash of the salt and all tokens down to the node's end */
    uint32_t n_tokens;   /* 0: the page is not in the tree */
    uint32_t parent, first_child, next, previous; /* next and previous among siblings */
    uint32_t newer, older;                        /* by last use, a ring closed by the root */
    bool is_marked;                               /* by prefix_mark */
    uint32_t kept_s;                              /* its holder's; 0 in a new node */
};

struct prefix {
    struct kv_pool *kv;
    uint32_t max_pages, n_pages; /* in the tree */
    uint32_t n_marked;
    uint64_t n_from_disk; /* tokens brought back, of those reused; counted by the caller, too */
    uint64_t n_lookups, n_hits, n_reused, n_evicted; /* the first three are counted by the caller */
    struct prefix_node *nodes;                       /* (kv->n_pages + 1) */
    uint32_t *tokens;                                /* (kv->n_pages, KERN_ATTN_TILE) */
    uint32_t *way;                                   /* (kv->n_pages) of the running call */
    uint64_t *ghosts; /* (ghost_mask + 1) paths of evicted nodes, by their low bits */
    uint32_t ghost_mask;
};

/* For at most max_pages pages of kv, which must outlive the cache; 0: nothing is ever kept, and
 * every other call is allowed. 360 bytes a page of kv. ERROR_MEMORY leaves nothing to release. */
bool prefix_init(struct prefix *c, struct kv_pool *kv, uint32_t max_pages, struct error *e);

/* Lets go of all pages. */
void prefix_finish(struct prefix *c);

/* The longest prefix of the tokens that is cached. Counts as a use. */
struct prefix_match prefix_find(struct prefix *c, uint64_t salt, const uint32_t *tokens,
                                uint32_t n_tokens);

/* Keeps the pages that hold the tokens, the last one even if partly filled; nobody may write to
 * them any more without a copy. Where a whole page's tokens are cached already, the caller's page
 * is let go and the cached one held and written to `pages` in its place. When the cache is full
 * others go, least recently used first, or the rest is not kept.
 * needs   the caller holds the pages
 * shapes  pages (kv_pages_for(n_tokens)) */
void prefix_insert(struct prefix *c, uint64_t salt, const uint32_t *tokens, uint32_t n_tokens,
                   uint32_t *pages);

/* Pages that prefix_evict could free: those that nobody else holds. */
uint32_t prefix_n_idle(const struct prefix *c);

/* Frees up to n pages, least recently used first; returns how many. */
uint32_t prefix_evict(struct prefix *c, uint32_t n);

/* Lets go of a page, though others hold it, and of all below it: so that the only other one may
 * write to it. False when it is not in the tree, or something below it is held. */
bool prefix_forget(struct prefix *c, uint32_t page);

/* ---- for who writes entries elsewhere (spill.h); to bring one back, fill pages of a sequence and
 * call prefix_insert ---- */

/* The page is a whole one in the tree. */
bool prefix_has_page(const struct prefix *c, uint32_t page);

/* Marks such a page, or takes the mark away. It goes with the page. */
void prefix_mark(struct prefix *c, uint32_t page, bool is_marked);

/* The marked page that was used last; what is above a page comes before it. False: none is
 * marked. */
bool prefix_find_marked(const struct prefix *c, uint32_t *out_page);

/* Pages down to this one, itself included. */
uint32_t prefix_depth(const struct prefix *c, uint32_t page);

/* All tokens down to the page's end: out (prefix_depth * KERN_ATTN_TILE). For whole pages. */
void prefix_spell(const struct prefix *c, uint32_t page, uint32_t *out);

/* "cold", ... for messages and metrics. */
const char *prefix_end_name(enum prefix_end end);

#endif
