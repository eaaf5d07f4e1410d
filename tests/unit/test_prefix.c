/* test_prefix.c - the tree of cached pages against a naive model: a list of token arrays, compared
 * with each other in full. */
#include "base/mem.h"
#include "base/rng.h"
#include "engine/prefix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { TILE = KERN_ATTN_TILE, N_PAGES = 40, MAX_TOKENS = 5 * TILE, N_SEQS = 6, MAX_GHOSTS = 20000 };

static const struct model_config config = {.n_layers = 1, .n_kv_heads = 1, .dim_k = 8, .dim_v = 8};

struct text {
    uint64_t salt;
    uint32_t n, tokens[MAX_TOKENS];
};

/* One node: all tokens down to its end. */
struct entry {
    bool is_used, is_marked;
    struct text text;
    uint64_t used_at, added_at;
};

struct live {
    bool is_open;
    struct text text;
    struct kv_seq kv;
};

struct world {
    struct kv_pool kv;
    struct prefix cache;
    struct entry entries[N_PAGES]; /* by page */
    struct live seqs[N_SEQS];
    struct text ghosts[MAX_GHOSTS]; /* whole pages that were evicted */
    uint32_t n_ghosts, max_pages;
    uint64_t now, n_evicted;
    struct rng rng;
};

static uint32_t below(struct world *w, uint32_t n)
{
    return (uint32_t)(rng_next(&w->rng) % n);
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t depth(const struct text *t)
{
    return (t->n - 1) / TILE;
}

static uint32_t n_agreed(const struct text *a, const struct text *b)
{
    uint32_t i = 0;
    while (a->salt == b->salt && i < a->n && i < b->n && a->tokens[i] == b->tokens[i]) {
        i++;
    }
    return i;
}

/* --- the naive model */

static uint32_t naive_count(const struct world *w)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < N_PAGES; i++) {
        n += w->entries[i].is_used;
    }
    return n;
}

/* The page of depth `at` that agrees longest with t beyond the pages before it; N_PAGES: none. The
 * latest one among equals. */
static uint32_t naive_page(const struct world *w, const struct text *t, uint32_t at)
{
    uint32_t best = N_PAGES, most = at * TILE;
    for (uint32_t i = 0; i < N_PAGES; i++) {
        const struct entry *x = &w->entries[i];
        uint32_t n = x->is_used && depth(&x->text) == at ? n_agreed(&x->text, t) : 0;
        if (n > most || (n == most && best < N_PAGES && x->added_at > w->entries[best].added_at)) {
            best = i;
            most = n;
        }
    }
    return best;
}

static void naive_use(struct world *w, const uint32_t *pages, uint32_t n)
{
    while (n > 0) {
        w->entries[pages[--n]].used_at = ++w->now;
    }
}

static bool naive_has_child(const struct world *w, uint32_t page)
{
    const struct text *t = &w->entries[page].text;
    for (uint32_t i = 0; i < N_PAGES; i++) {
        const struct entry *x = &w->entries[i];
        if (x->is_used && x->text.n > t->n && n_agreed(&x->text, t) == t->n) {
            return true;
        }
    }
    return false;
}

/* Spares `held`, which somebody is about to hold. */
static bool naive_evict(struct world *w, const uint32_t *held, uint32_t n_held)
{
    uint32_t oldest = N_PAGES;
    for (uint32_t i = 0; i < N_PAGES; i++) {
        const struct entry *x = &w->entries[i];
        bool is_held = false;
        for (uint32_t k = 0; k < n_held; k++) {
            is_held = is_held || held[k] == i;
        }
        if (x->is_used && !is_held && w->kv.n_users[i] == 1 && !naive_has_child(w, i) &&
            (oldest == N_PAGES || x->used_at < w->entries[oldest].used_at)) {
            oldest = i;
        }
    }
    if (oldest == N_PAGES) {
        return false;
    }
    w->entries[oldest].is_used = false;
    if (w->entries[oldest].text.n % TILE == 0) {
        assert_true(w->n_ghosts < MAX_GHOSTS);
        w->ghosts[w->n_ghosts++] = w->entries[oldest].text;
    }
    w->n_evicted++;
    return true;
}

/* What prefix_insert should do; pages are changed as it should change them. Runs before it. */
static void naive_insert(struct world *w, const struct text *t, uint32_t *pages)
{
    uint32_t way[MAX_TOKENS / TILE], n_way = 0;
    bool is_whole = true;
    for (uint32_t at = 0; at * TILE < t->n && is_whole; at++) {
        uint32_t end = smaller(t->n, (at + 1) * TILE), page = naive_page(w, t, at);
        uint32_t agreed = page < N_PAGES ? n_agreed(&w->entries[page].text, t) : 0;
        if (agreed < end) {
            if (page < N_PAGES && agreed == w->entries[page].text.n) {
                w->entries[page].is_used = false;
            }
            is_whole = naive_count(w) < w->max_pages || naive_evict(w, pages, at);
            if (!is_whole) {
                break;
            }
            page = pages[at];
            w->entries[page] = (struct entry){.is_used = true, .text = *t, .added_at = ++w->now};
            w->entries[page].text.n = end;
        } else if (end % TILE == 0) {
            pages[at] = page;
        }
        way[n_way++] = page;
    }
    naive_use(w, way, n_way);
}

static bool naive_was_evicted(const struct world *w, const struct text *t, uint32_t n)
{
    struct text wanted = *t;
    wanted.n = n;
    for (uint32_t i = 0; i < w->n_ghosts; i++) {
        if (w->ghosts[i].n == n && n_agreed(&w->ghosts[i], &wanted) == n) {
            return true;
        }
    }
    return false;
}

static uint32_t naive_idle(const struct world *w)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < N_PAGES; i++) {
        bool idle = w->entries[i].is_used && w->kv.n_users[i] == 1;
        for (uint32_t k = 0; idle && k < N_PAGES; k++) {
            const struct entry *x = &w->entries[k];
            idle = !(x->is_used && w->kv.n_users[k] > 1 &&
                     n_agreed(&x->text, &w->entries[i].text) == w->entries[i].text.n);
        }
        n += idle;
    }
    return n;
}

/* --- comparisons */

static void check_all(const struct world *w)
{
    uint32_t n_free = 0;
    assert_int_equal(w->cache.n_pages, naive_count(w));
    assert_int_equal(w->cache.n_evicted, w->n_evicted);
    for (uint32_t i = 0; i < N_PAGES; i++) {
        uint32_t n = w->entries[i].is_used;
        assert_int_equal(w->cache.nodes[i].n_tokens,
                         n > 0 ? w->entries[i].text.n - depth(&w->entries[i].text) * TILE : 0);
        for (uint32_t s = 0; s < N_SEQS; s++) {
            for (uint32_t k = 0; w->seqs[s].is_open && k < w->seqs[s].kv.n_pages; k++) {
                n += w->seqs[s].kv.pages[k] == i;
            }
        }
        assert_int_equal(w->kv.n_users[i], n);
        n_free += n == 0;
    }
    assert_int_equal(w->kv.n_free, n_free);
    assert_int_equal(prefix_n_idle(&w->cache), naive_idle(w));
}

static bool naive_has_page(const struct world *w, uint32_t page)
{
    return w->entries[page].is_used && w->entries[page].text.n % TILE == 0;
}

/* Every whole page is spelled, and of those that are marked the last used one is found. */
static void check_marks(const struct world *w)
{
    uint32_t n_marked = 0, newest = N_PAGES, found = N_PAGES, spelled[MAX_TOKENS];
    for (uint32_t i = 0; i < N_PAGES; i++) {
        const struct entry *x = &w->entries[i];
        assert_int_equal(prefix_has_page(&w->cache, i), naive_has_page(w, i));
        if (naive_has_page(w, i)) {
            assert_int_equal(prefix_depth(&w->cache, i) * TILE, x->text.n);
            prefix_spell(&w->cache, i, spelled);
            assert_memory_equal(spelled, x->text.tokens, x->text.n * sizeof *spelled);
        }
        if (x->is_used && x->is_marked) {
            n_marked++;
            newest = newest < N_PAGES && w->entries[newest].used_at > x->used_at ? newest : i;
        }
    }
    assert_int_equal(w->cache.n_marked, n_marked);
    assert_int_equal(prefix_find_marked(&w->cache, &found), n_marked > 0);
    assert_int_equal(found, newest);
}

static enum prefix_end naive_end(const struct world *w, const struct text *t, uint32_t n)
{
    bool goes_on = false;
    for (uint32_t i = 0; i < N_PAGES; i++) {
        const struct entry *x = &w->entries[i];
        goes_on = goes_on || (x->is_used && x->text.n > n && n_agreed(&x->text, t) == n);
    }
    return n == t->n ? PREFIX_COMPLETE
           : n == 0  ? PREFIX_COLD
           : goes_on ? PREFIX_DIVERGED
                     : PREFIX_ENDED;
}

static struct prefix_match find(struct world *w, const struct text *t)
{
    uint32_t longest = 0;
    for (uint32_t i = 0; i < N_PAGES; i++) {
        uint32_t n = w->entries[i].is_used ? n_agreed(&w->entries[i].text, t) : 0;
        longest = n > longest ? n : longest;
    }
    struct prefix_match m = prefix_find(&w->cache, t->salt, t->tokens, t->n);
    uint32_t n_pages = (uint32_t)kv_pages_for(longest);
    assert_int_equal(m.n_tokens, longest);
    for (uint32_t i = 0; i < n_pages; i++) {
        assert_int_equal(m.pages[i], naive_page(w, t, i));
    }
    if (m.end == PREFIX_EVICTED) {
        assert_true(naive_was_evicted(w, t, (longest / TILE + 1) * TILE));
    } else {
        assert_int_equal(m.end, naive_end(w, t, longest));
    }
    naive_use(w, m.pages, n_pages);
    return m;
}

/* --- what sequences do */

static void evict(struct world *w, uint32_t n)
{
    uint32_t n_naive = 0;
    while (n_naive < n && naive_evict(w, NULL, 0)) {
        n_naive++;
    }
    assert_int_equal(prefix_evict(&w->cache, n), n_naive);
}

/* A text that begins like another one, most of the time. */
static void make_text(struct world *w, struct text *t)
{
    const struct text *old = &w->seqs[below(w, N_SEQS)].text;
    uint32_t shared = below(w, 8) > 0 ? below(w, old->n + 1) : 0;
    if (below(w, 3) == 0) {
        shared = shared / TILE * TILE;
    }
    *t = *old;
    t->salt = below(w, 10) > 0 ? old->salt : below(w, 2);
    t->n = shared + below(w, MAX_TOKENS - shared + 1);
    t->n = t->n > 0 ? t->n : 1;
    for (uint32_t i = shared; i < t->n; i++) {
        t->tokens[i] = below(w, 3);
    }
}

static void open_seq(struct world *w, struct live *s)
{
    make_text(w, &s->text);
    s->is_open = true;
    struct prefix_match m = find(w, &s->text);
    kv_seq_share(&s->kv, &w->kv, m.pages, m.n_tokens);
    uint32_t rest = s->text.n - m.n_tokens, needed = kv_seq_needs(&s->kv, &w->kv, rest);
    if (needed > w->kv.n_free) {
        evict(w, needed - w->kv.n_free);
    }
    if (kv_seq_reserve(&s->kv, &w->kv, rest, NULL)) {
        s->kv.n_tokens = s->text.n;
    }
    s->text.n = s->kv.n_tokens;
}

static void insert(struct world *w, struct live *s, uint32_t n)
{
    uint32_t expected[MAX_TOKENS / TILE];
    struct text t = s->text;
    t.n = n;
    memcpy(expected, s->kv.pages, s->kv.n_pages * sizeof *expected);
    naive_insert(w, &t, expected);
    prefix_insert(&w->cache, t.salt, t.tokens, n, s->kv.pages);
    assert_memory_equal(s->kv.pages, expected, s->kv.n_pages * sizeof *expected);
}

static void close_seq(struct world *w, struct live *s)
{
    kv_seq_truncate(&s->kv, &w->kv, 0);
    s->text.n = smaller(s->text.n, MAX_TOKENS);
    s->is_open = false;
}

/* The page and all below it, unless any of these is held: then some of them may be gone. */
static void forget(struct world *w, uint32_t page)
{
    struct text top = w->entries[page].text;
    bool is_used = w->entries[page].is_used, below_is_held = false;
    for (uint32_t i = 0; i < N_PAGES; i++) {
        bool is_below = is_used && i != page && w->entries[i].is_used &&
                        n_agreed(&w->entries[i].text, &top) == top.n;
        below_is_held = below_is_held || (is_below && w->kv.n_users[i] > 1);
    }
    assert_int_equal(prefix_forget(&w->cache, page), is_used && !below_is_held);
    for (uint32_t i = 0; is_used && i < N_PAGES; i++) {
        struct entry *x = &w->entries[i];
        if (x->is_used && w->cache.nodes[i].n_tokens == 0) {
            assert_int_equal(n_agreed(&x->text, &top), top.n);
            assert_true(!below_is_held || w->kv.n_users[i] == 0);
            x->is_used = false;
            w->n_evicted++;
            if (x->text.n % TILE == 0) {
                assert_true(w->n_ghosts < MAX_GHOSTS);
                w->ghosts[w->n_ghosts++] = x->text;
            }
        }
        assert_false(!below_is_held && x->is_used && n_agreed(&x->text, &top) == top.n);
    }
}

static void truncate(struct world *w, struct live *s)
{
    uint32_t n = below(w, s->text.n + 1);
    kv_seq_truncate(&s->kv, &w->kv, n);
    if (kv_seq_must_copy(&s->kv, &w->kv)) {
        forget(w, s->kv.pages[n / TILE]);
    }
    s->text.n = n;
    close_seq(w, s);
}

static void mark(struct world *w)
{
    uint32_t page = below(w, N_PAGES);
    if (naive_has_page(w, page)) {
        w->entries[page].is_marked = below(w, 3) > 0;
        prefix_mark(&w->cache, page, w->entries[page].is_marked);
    }
}

static void run_operations(struct world *w, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct live *s = &w->seqs[below(w, N_SEQS)];
        uint32_t kind = below(w, 16);
        if (!s->is_open) {
            open_seq(w, s);
        } else if (kind < 6) {
            insert(w, s, s->text.n);
            close_seq(w, s);
        } else if (kind < 9) {
            insert(w, s, s->text.n / TILE * TILE);
        } else if (kind < 11) {
            insert(w, s, below(w, s->text.n + 1));
            close_seq(w, s);
        } else if (kind < 13) {
            truncate(w, s);
        } else if (kind == 13) {
            evict(w, below(w, 4));
        } else {
            close_seq(w, s);
        }
        mark(w);
        check_all(w);
        check_marks(w);
    }
}

static void compare(uint64_t seed, uint32_t max_pages, uint32_t n_operations)
{
    struct error e = {0};
    struct world *w = mem_alloc(1, sizeof *w, "world", &e);
    assert_non_null(w);
    w->max_pages = smaller(max_pages, N_PAGES);
    rng_init(&w->rng, seed);
    assert_true(kv_pool_init(&w->kv, &config, KERN_KV_Q16, N_PAGES * TILE, &e));
    assert_true(prefix_init(&w->cache, &w->kv, max_pages, &e));
    for (uint32_t i = 0; i < N_SEQS; i++) {
        assert_true(kv_seq_init(&w->seqs[i].kv, MAX_TOKENS, &e));
    }
    run_operations(w, n_operations);
    assert_true(w->n_evicted > n_operations / 20); /* a small cache is busy */
    for (uint32_t i = 0; i < N_SEQS; i++) {
        kv_seq_finish(&w->seqs[i].kv, &w->kv);
    }
    assert_true(w->kv.n_free < N_PAGES);
    prefix_finish(&w->cache);
    assert_int_equal(w->kv.n_free, N_PAGES);
    kv_pool_finish(&w->kv);
    mem_free(w);
}

static void the_tree_is_the_naive_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        compare(seed, UINT32_MAX, 2500);
        compare(seed, 12, 2500);
    }
}

/* --- what a miss says, on texts written by hand */

struct small {
    struct kv_pool kv;
    struct prefix cache;
    struct kv_seq seq;
};

static void open_small(struct small *s, uint32_t max_pages)
{
    assert_true(kv_pool_init(&s->kv, &config, KERN_KV_Q16, 8 * TILE, NULL));
    assert_true(prefix_init(&s->cache, &s->kv, max_pages, NULL));
    assert_true(kv_seq_init(&s->seq, MAX_TOKENS, NULL));
}

static void close_small(struct small *s)
{
    kv_seq_finish(&s->seq, &s->kv);
    prefix_finish(&s->cache);
    assert_int_equal(s->kv.n_free, s->kv.n_pages);
    kv_pool_finish(&s->kv);
}

static void keep(struct small *s, uint64_t salt, const uint32_t *tokens, uint32_t n)
{
    assert_true(kv_seq_reserve(&s->seq, &s->kv, n, NULL));
    s->seq.n_tokens = n;
    prefix_insert(&s->cache, salt, tokens, n, s->seq.pages);
    kv_seq_truncate(&s->seq, &s->kv, 0);
}

static void check_match(struct small *s, uint64_t salt, const uint32_t *tokens, uint32_t n_tokens,
                        uint32_t expected, enum prefix_end end)
{
    struct prefix_match m = prefix_find(&s->cache, salt, tokens, n_tokens);
    assert_int_equal(m.n_tokens, expected);
    assert_string_equal(prefix_end_name(m.end), prefix_end_name(end));
}

static void a_miss_says_why(void **state)
{
    (void)state;
    struct small s;
    uint32_t tokens[3 * TILE], other[3 * TILE];
    for (uint32_t i = 0; i < 3 * TILE; i++) {
        tokens[i] = other[i] = i;
    }
    other[TILE + 5] = 1000;
    open_small(&s, UINT32_MAX);
    check_match(&s, 7, tokens, 9, 0, PREFIX_COLD);
    keep(&s, 7, tokens, 2 * TILE + 9);
    check_match(&s, 7, tokens, 2 * TILE, 2 * TILE, PREFIX_COMPLETE);
    check_match(&s, 7, tokens, 2 * TILE + 4, 2 * TILE + 4, PREFIX_COMPLETE);
    check_match(&s, 7, tokens, 3 * TILE, 2 * TILE + 9, PREFIX_ENDED);
    check_match(&s, 7, other, 3 * TILE, TILE + 5, PREFIX_DIVERGED);
    check_match(&s, 8, tokens, 3 * TILE, 0, PREFIX_COLD); /* somebody else's */
    assert_int_equal(prefix_evict(&s.cache, 2), 2); /* the part of a page, and one before it */
    check_match(&s, 7, tokens, 2 * TILE, TILE, PREFIX_EVICTED);
    check_match(&s, 7, tokens, 2 * TILE - 1, TILE, PREFIX_ENDED); /* no whole page to remember */
    check_match(&s, 7, other, 3 * TILE, TILE, PREFIX_ENDED);
    assert_int_equal(prefix_evict(&s.cache, 9), 1);
    check_match(&s, 7, tokens, TILE, 0, PREFIX_EVICTED);
    check_match(&s, 8, tokens, TILE, 0, PREFIX_COLD);
    close_small(&s);
}

static void a_cache_of_no_pages_keeps_nothing(void **state)
{
    (void)state;
    struct small s;
    const uint32_t tokens[3] = {1, 2, 3};
    open_small(&s, 0);
    keep(&s, 0, tokens, 3);
    check_match(&s, 0, tokens, 3, 0, PREFIX_COLD);
    assert_int_equal(prefix_n_idle(&s.cache), 0);
    assert_int_equal(prefix_evict(&s.cache, 1), 0);
    assert_false(prefix_forget(&s.cache, 0));
    close_small(&s);
}

static void every_failing_allocation_leaves_nothing_behind(void **state)
{
    (void)state;
    struct kv_pool kv;
    struct prefix c;
    assert_true(kv_pool_init(&kv, &config, KERN_KV_Q16, 8 * TILE, NULL));
    size_t n = 1;
    for (bool ok = false; !ok; n++) {
        struct error e = {0};
        mem_fail_nth(n);
        ok = prefix_init(&c, &kv, 4, &e);
        mem_fail_nth(0);
        assert_int_equal(e.code, ok ? ERROR_NONE : ERROR_MEMORY);
    }
    assert_true(n > 4);
    prefix_finish(&c);
    kv_pool_finish(&kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tree_is_the_naive_model),
        cmocka_unit_test(a_miss_says_why),
        cmocka_unit_test(a_cache_of_no_pages_keeps_nothing),
        cmocka_unit_test(every_failing_allocation_leaves_nothing_behind),
    };
    return cmocka_run_group_tests_name("prefix", tests, NULL, NULL);
}
