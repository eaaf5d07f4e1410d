/* spill.c - marks pages of the prefix cache that are worth a file, and hands them over. */
#include "engine/spill.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/schedule.h"

enum { TILE = KERN_ATTN_TILE };

static char *page_of(const struct engine *g, uint32_t page)
{
    return g->kv.data + page * g->kv.page_bytes;
}

/* Never 0. */
static uint32_t now_s(void)
{
    return (uint32_t)(clock_now_ns() / 1000000000u) + 1;
}

/* What else the bytes of a page depend on. */
static struct digest make_maker(const struct engine *g, const struct spill_options *o)
{
    struct {
        struct digest given;
        uint32_t kv_type, numerics, tile, n_layers, n_kv_heads, dim_k, dim_v;
    } all = {o->maker,    g->kv.type,     g->model->kern->numerics,
             TILE,        g->kv.n_layers, g->kv.n_kv_heads,
             g->kv.dim_k, g->kv.dim_v};
    return digest_of(&all, sizeof all);
}

struct spill *spill_create(const struct engine *g, const struct spill_options *options,
                           struct error *e)
{
    struct spill *sp = mem_alloc(1, sizeof *sp, "spilled pages", e);
    if (sp == NULL) {
        return NULL;
    }
    sp->maker = make_maker(g, options);
    sp->tokens = mem_alloc(g->options.n_ctx + TILE, sizeof *sp->tokens, "spilled tokens", e);
    sp->disk = sp->tokens != NULL
                   ? spill_disk_create(options, g->kv.page_bytes, g->options.n_ctx + TILE, e)
                   : NULL;
    if (sp->disk == NULL) {
        mem_free(sp->tokens);
        mem_free(sp);
        return NULL;
    }
    return sp;
}

static struct spill_prefix describe(const struct engine *g, uint64_t salt, const uint32_t *tokens,
                                    uint32_t n_tokens)
{
    return (struct spill_prefix){.maker = g->spill->maker,
                                 .salt = salt,
                                 .tokens = tokens,
                                 .n_tokens = n_tokens,
                                 .page_bytes = g->kv.page_bytes};
}

/* ---- writing ---- */

/* Files are used as their pages are; but not every hit is worth a look at the disk. */
static void mark(struct engine *g, uint32_t page)
{
    struct prefix_node *node = &g->prefix.nodes[page];
    if (node->kept_s == 0 || now_s() - node->kept_s >= SPILL_AGAIN_S) {
        prefix_mark(&g->prefix, page, true);
    }
}

void spill_note_found(struct engine *g, const struct engine_seq *s, uint32_t n_tokens)
{
    if (g->spill == NULL || n_tokens < SPILL_LEAST) {
        return;
    }
    for (uint32_t i = 0; i < n_tokens / TILE; i++) {
        if (prefix_has_page(&g->prefix, s->kv.pages[i])) {
            mark(g, s->kv.pages[i]);
        }
    }
}

static void write_page(struct engine *g, uint32_t page)
{
    struct prefix_node *node = &g->prefix.nodes[page];
    uint32_t n_tokens = prefix_depth(&g->prefix, page) * TILE;
    prefix_mark(&g->prefix, page, false);
    node->kept_s = now_s();
    prefix_spell(&g->prefix, page, g->spill->tokens);
    struct spill_prefix p = describe(g, node->salt, g->spill->tokens, n_tokens);
    spill_disk_put(g->spill->disk, &p, page_of(g, page));
}

void spill_write_next(struct engine *g)
{
    uint32_t page;
    if (g->spill != NULL && !g->waits_for_disk && g->prefix.n_marked > 0 &&
        spill_disk_is_free(g->spill->disk) && prefix_find_marked(&g->prefix, &page)) {
        write_page(g, page);
    }
}

/* All that the cache holds. */
static void mark_all(struct engine *g)
{
    const struct prefix *c = &g->prefix;
    for (uint32_t i = 0; c->n_pages > 0 && i < g->kv.n_pages; i++) {
        if (prefix_has_page(c, i) && prefix_depth(c, i) >= SPILL_LEAST / TILE) {
            for (uint32_t page = i; page != g->kv.n_pages; page = c->nodes[page].parent) {
                prefix_mark(&g->prefix, page, true);
            }
        }
    }
}

void spill_destroy(struct engine *g, struct spill *sp)
{
    if (sp == NULL) {
        return;
    }
    uint64_t until_ns = clock_now_ns() + SPILL_END_S * UINT64_C(1000000000);
    uint32_t page;
    mark_all(g);
    while (spill_disk_wait(sp->disk, until_ns) && clock_now_ns() < until_ns &&
           prefix_find_marked(&g->prefix, &page)) {
        write_page(g, page);
    }
    spill_disk_destroy(sp->disk);
    mem_free(sp->tokens);
    mem_free(sp);
}

/* ---- reading ---- */

/* The page at `page` of s is the one of its next tokens now. */
static void accept_page(struct engine *g, struct engine_seq *s, uint32_t end)
{
    uint32_t n = end - s->kv.n_tokens;
    if (!s->was_preempted) {
        g->prefix.n_hits += s->n_cached == 0;
        g->prefix.n_reused += n;
        s->n_cached += n;
    }
    g->prefix.n_from_disk += n;
    s->kv.n_tokens = end;
    schedule_keep_pages(g, s);
    uint32_t page = s->kv.pages[end / TILE - 1];
    if (prefix_has_page(&g->prefix, page)) {
        g->prefix.nodes[page].kept_s = now_s();
    }
}

bool spill_fetch(struct engine *g, struct engine_seq *s)
{
    while (g->spill != NULL && s->asks_disk) {
        uint32_t at = s->kv.n_tokens / TILE, end = (at + 1) * TILE;
        enum spill_answer answer = SPILL_ABSENT;
        if (end < s->n_tokens) { /* the last token's logits are wanted */
            struct spill_prefix p = describe(g, s->salt, s->tokens, end);
            answer = spill_disk_take(g->spill->disk, &p, page_of(g, s->kv.pages[at]));
        }
        if (answer == SPILL_COMING) {
            g->waits_for_disk = true;
            return true;
        }
        s->asks_disk = answer == SPILL_HERE;
        if (answer == SPILL_HERE) {
            accept_page(g, s, end);
        }
    }
    return false;
}
