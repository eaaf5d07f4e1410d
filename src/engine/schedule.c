/* schedule.c - the plan of a step. Decodes come first and take a page now and then; a prompt
 * reserves the pages of all its tokens when it begins, so that it never stops half-way for lack of
 * them. The first sequence in the order can always go on: everybody else's pages are there to be
 * taken. */
#include "engine/schedule.h"

#include "engine/spill.h"

#include <math.h>

enum { TILE = KERN_ATTN_TILE };

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* ---- order ---- */

static bool comes_before(const struct engine_seq *a, const struct engine_seq *b)
{
    return a->priority != b->priority ? a->priority < b->priority : a->number < b->number;
}

void schedule_add(struct engine *g, struct engine_seq *s)
{
    uint32_t i = g->n_open++;
    for (; i > 0 && comes_before(s, g->order[i - 1]); i--) {
        g->order[i] = g->order[i - 1];
    }
    g->order[i] = s;
}

void schedule_remove(struct engine *g, struct engine_seq *s)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < g->n_open; i++) {
        if (g->order[i] != s) {
            g->order[kept++] = g->order[i];
        }
    }
    g->n_open = kept;
}

/* ---- what is computed, kept and let go ---- */

static uint32_t n_computed(const struct engine_seq *s)
{
    return smaller(s->kv.n_tokens, s->n_tokens); /* guesses apart */
}

/* Texts that are embedded come once: they do not push out the beginnings of chats. */
static bool may_keep(const struct engine_seq *s)
{
    return s->rows != ENGINE_HIDDEN;
}

void schedule_keep_pages(struct engine *g, struct engine_seq *s)
{
    uint32_t n_pages = n_computed(s) / TILE;
    if (n_pages > s->n_kept && may_keep(s)) {
        prefix_insert(&g->prefix, s->salt, s->tokens, n_pages * TILE, s->kv.pages);
        s->n_kept = n_pages;
    }
}

/* The last page, too: s writes to it no more. */
static void keep_all(struct engine *g, struct engine_seq *s)
{
    if (n_computed(s) > 0 && may_keep(s)) {
        prefix_insert(&g->prefix, s->salt, s->tokens, n_computed(s), s->kv.pages);
    }
}

void schedule_truncate(struct engine *g, struct engine_seq *s, uint32_t n_tokens)
{
    if (n_tokens < n_computed(s)) {
        keep_all(g, s);
    }
    kv_seq_truncate(&s->kv, &g->kv, n_tokens);
    s->n_kept = smaller(s->n_kept, n_tokens / TILE);
}

static void preempt(struct engine *g, struct engine_seq *s)
{
    keep_all(g, s);
    kv_seq_truncate(&s->kv, &g->kv, 0);
    s->n_kept = 0;
    s->was_preempted = true;
    g->n_preempted++;
}

/* ---- room ---- */

static bool is_picked(const struct engine *g, const struct engine_seq *s)
{
    uint32_t i = 0;
    while (i < g->n_items && g->picked[i] != s) {
        i++;
    }
    return i < g->n_items;
}

/* Who gives up its pages for s: the last idle one; else, if that is allowed, the last one behind s
 * that is not in the step yet. */
static struct engine_seq *find_victim(const struct engine *g, const struct engine_seq *s,
                                      bool may_preempt)
{
    struct engine_seq *due = NULL;
    for (uint32_t i = g->n_open; i > 0; i--) {
        struct engine_seq *v = g->order[i - 1];
        if (v == s || v->kv.n_pages == 0) {
            continue;
        }
        if (!v->is_due) {
            return v;
        }
        if (due == NULL && may_preempt && comes_before(s, v) && !is_picked(g, v)) {
            due = v;
        }
    }
    return due;
}

/* s must copy its last page because the cache holds it, too: makes the cache let go of it. */
static bool forget_last_page(struct engine *g, const struct engine_seq *s)
{
    if (!kv_seq_must_copy(&s->kv, &g->kv)) {
        return false;
    }
    uint32_t page = s->kv.pages[s->kv.n_tokens / TILE];
    return g->kv.n_users[page] == 2 && prefix_forget(&g->prefix, page);
}

/* Reserves pages for n_more tokens of s, with `spare` more left free. */
static bool make_room(struct engine *g, struct engine_seq *s, uint32_t n_more, uint32_t spare,
                      bool may_preempt)
{
    for (;;) {
        uint32_t needed = kv_seq_needs(&s->kv, &g->kv, n_more) + spare;
        if (needed <= g->kv.n_free) {
            return kv_seq_reserve(&s->kv, &g->kv, n_more, NULL);
        }
        uint32_t missing = needed - g->kv.n_free;
        bool may_evict = may_preempt || missing <= prefix_n_idle(&g->prefix); /* else in vain */
        if ((may_evict && prefix_evict(&g->prefix, missing) > 0) || forget_last_page(g, s)) {
            continue;
        }
        struct engine_seq *victim = find_victim(g, s, may_preempt);
        if (victim == NULL) {
            return false;
        }
        preempt(g, victim);
    }
}

uint32_t schedule_guess_room(struct engine *g, struct engine_seq *s, uint32_t most)
{
    uint32_t n_free = s->kv.n_pages * TILE - s->kv.n_tokens - 1; /* behind the token that waits */
    if (n_free >= most) {
        return most;
    }
    uint32_t needed = kv_seq_needs(&s->kv, &g->kv, 1 + most);
    uint32_t missing = needed > g->kv.n_free ? needed - g->kv.n_free : 0;
    if (missing > 0 && missing <= prefix_n_idle(&g->prefix)) {
        prefix_evict(&g->prefix, missing);
    }
    return kv_seq_reserve(&s->kv, &g->kv, 1 + most, NULL) ? most : n_free;
}

/* ---- the plan ---- */

static uint32_t n_waiting(const struct engine_seq *s)
{
    return s->is_due ? s->n_tokens - s->kv.n_tokens : 0;
}

/* Rows of the prompt that are yet to be computed. */
static bool wants_rows(const struct engine_seq *s)
{
    return s->n_given < s->n_rows;
}

/* Puts the first n waiting tokens of s into the step. Rows that were given are not computed again
 * with the tokens of a sequence that was preempted. */
static void pick(struct engine *g, struct engine_seq *s, uint32_t n)
{
    uint32_t end = s->kv.n_tokens + n;
    bool samples = n == n_waiting(s) && !(s->rows == ENGINE_HIDDEN && s->n_tokens == s->n_rows);
    s->n_new = wants_rows(s) && end > s->n_given ? end - s->n_given : 0;
    bool is_scored = s->rows == ENGINE_LOGITS && s->n_new > 0;
    g->picked[g->n_items] = s;
    g->items[g->n_items++] =
        (struct forward_item){.seq = &s->kv,
                              .tokens = s->tokens + s->kv.n_tokens,
                              .n_tokens = n,
                              .n_logits = is_scored ? s->n_new : samples,
                              .n_hidden = s->rows == ENGINE_HIDDEN ? s->n_new : 0};
}

/* A prompt of one token has nothing before it that could be shared. */
static void begin_alone(struct engine_seq *s)
{
    if (!s->has_begun) {
        s->has_begun = true;
        s->cache_end = wants_rows(s) ? PREFIX_PROMPT_ROWS : PREFIX_COMPLETE;
    }
}

static void plan_decodes(struct engine *g)
{
    for (uint32_t i = 0; i < g->n_open; i++) {
        struct engine_seq *s = g->order[i];
        if (n_waiting(s) > 1) {
            continue;
        }
        kv_seq_truncate(&s->kv, &g->kv, s->n_tokens); /* pages that guesses did not fill */
        if (n_waiting(s) == 1) {
            if (make_room(g, s, 1, 0, true)) {
                begin_alone(s);
                pick(g, s, 1);
            } else {
                preempt(g, s); /* those before it need all there is */
            }
        }
    }
}

/* Gives s what others have computed of its tokens, if that is more than it has itself. */
static uint32_t share_pages(struct engine *g, struct engine_seq *s, enum prefix_end *out_end)
{
    uint32_t had = s->kv.n_tokens;
    struct prefix_match m =
        prefix_find(&g->prefix, s->salt, s->tokens, wants_rows(s) ? s->n_given : s->n_tokens - 1);
    *out_end = wants_rows(s) ? PREFIX_PROMPT_ROWS : m.end;
    if (m.n_tokens <= had) {
        return 0;
    }
    kv_seq_truncate(&s->kv, &g->kv, 0);
    kv_seq_share(&s->kv, &g->kv, m.pages, m.n_tokens);
    return m.n_tokens - had;
}

static void count_shared(struct engine *g, struct engine_seq *s, uint32_t n, enum prefix_end end)
{
    bool is_lookup = g->prefix.max_pages > 0 && end != PREFIX_PROMPT_ROWS;
    if (s->was_preempted) {
        return;
    }
    s->n_cached += n;
    g->prefix.n_reused += is_lookup ? n : 0;
    if (!s->has_begun) {
        g->prefix.n_lookups += is_lookup;
        g->prefix.n_hits += is_lookup && n > 0;
        spill_note_found(g, s, is_lookup ? n : 0);
    }
    if (!s->has_begun || s->asks_disk) {
        s->cache_end = end;
    }
    s->has_begun = true;
}

/* Pages for all waiting tokens of s, those of others as far as they go. While others decode a
 * prompt begins only if a page for each of them stays free: else it might be preempted at once. */
static bool prepare_prompt(struct engine *g, struct engine_seq *s)
{
    bool begins = s->kv.n_pages == 0;
    enum prefix_end end;
    uint32_t n_shared = share_pages(g, s, &end);
    if (!make_room(g, s, n_waiting(s), begins ? g->n_items : 0, g->n_items == 0)) {
        if (begins) {
            kv_seq_truncate(&s->kv, &g->kv, 0);
        }
        return false;
    }
    count_shared(g, s, n_shared, end);
    return true;
}

/* Tokens of s for a step with room for so many, and for so many rows of logits. A part of a prompt
 * ends where the rows that are wanted do. */
static uint32_t part_of_prompt(const struct engine_seq *s, uint32_t budget, uint32_t n_logits)
{
    uint32_t n = smaller(n_waiting(s), budget), done = s->kv.n_tokens;
    if (!wants_rows(s)) {
        return n;
    }
    n = smaller(n, s->n_rows - done);
    return s->rows == ENGINE_LOGITS ? smaller(n, s->n_given - done + n_logits) : n;
}

/* Rows of prompts that the step still has room for when they attend to so many keys. */
static double rows_left(const struct engine *g, double keys)
{
    if (!g->options.keeps_pace || g->planned.n_decodes == 0) {
        return HUGE_VAL;
    }
    return pace_rows(&g->pace, g->planned.n_decodes, keys) - g->planned.n_rows;
}

/* How many of the next n tokens of s the step has room for, when one takes so many rows; of the
 * first prompt in a step that may have any, one at least. */
static uint32_t tokens_at_pace(const struct engine *g, const struct engine_seq *s, uint32_t n,
                               double row)
{
    double least = g->planned.n_rows > 0.0 ? 0.0 : 1.0, most = 0.0;
    for (int i = 0; i < 2; i++) { /* as if all were as deep as the first, then as they are */
        double rows = rows_left(g, s->kv.n_tokens + most / 2.0);
        if (rows <= 0.0) {
            return 0;
        }
        most = rows / row < n ? rows / row : n;
    }
    return (uint32_t)(most > least ? most : least);
}

static void count_rows(struct engine *g, const struct engine_seq *s, uint32_t n, double row)
{
    g->planned.n_rows += n * row;
    g->planned.n_keys += n * row * (s->kv.n_tokens + (n + 1) / 2.0);
}

/* Returns whether a prompt is in the step or waits for its budget alone. */
static bool plan_prompts(struct engine *g, uint32_t budget)
{
    bool is_blocked = false, has_prompts = false;
    uint32_t n_logits = g->options.prompt_logits;
    for (uint32_t i = 0; i < g->n_open; i++) {
        struct engine_seq *s = g->order[i];
        bool begins = s->kv.n_pages == 0;
        if (n_waiting(s) <= 1 || (begins && is_blocked)) {
            continue;
        }
        if (budget == 0 || rows_left(g, s->kv.n_tokens) <= 0.0) {
            return true;
        }
        bool is_scored = s->rows == ENGINE_LOGITS && wants_rows(s);
        if (is_scored && n_logits == 0) {
            has_prompts = true;
            continue;
        }
        if (!prepare_prompt(g, s)) {
            is_blocked = true;
            continue;
        }
        if (spill_fetch(g, s)) {
            continue;
        }
        has_prompts = true;
        double row = is_scored ? 1.0 + g->logits_rows : 1.0;
        uint32_t n = tokens_at_pace(g, s, part_of_prompt(s, budget, n_logits), row);
        if (n == 0) {
            return true;
        }
        count_rows(g, s, n, row);
        pick(g, s, n);
        budget -= n;
        n_logits -= is_scored ? s->n_new : 0;
    }
    return has_prompts;
}

bool schedule_plan(struct engine *g)
{
    g->n_items = 0;
    plan_decodes(g);
    g->planned = (struct pace_step){.n_decodes = g->n_items};
    return plan_prompts(g, g->budget - g->n_items);
}
