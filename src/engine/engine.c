/* engine.c - sequences and the step. */
#include "engine/engine.h"

#include "base/mem.h"
#include "engine/schedule.h"
#include "engine/spill.h"

#include <string.h>

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value > 0 ? value : fallback;
}

static bool set_options(struct engine *g, const struct engine_options *o, struct error *e)
{
    const struct model_config *c = &g->model->config;
    uint32_t most = c->ctx_train < ENGINE_DEFAULT_CTX ? c->ctx_train : ENGINE_DEFAULT_CTX;
    g->options = (struct engine_options){
        .n_ctx = or_default(o->n_ctx, most),
        .max_sequences = or_default(o->max_sequences, 1),
        .batch = or_default(o->batch, ENGINE_DEFAULT_BATCH),
        .n_choices = or_default(o->n_choices, c->n_vocab),
        .max_guesses = o->max_guesses,
        .draft = o->draft,
        .kv_type = o->kv_type,
        .kv_bytes = o->kv_bytes,
        .prefix_pages = o->prefix_pages,
        .keeps_pace = o->keeps_pace,
        .prompt_logits = or_default(o->prompt_logits, ENGINE_DEFAULT_PROMPT_LOGITS),
    };
    if (!rope_check_ctx(g->options.n_ctx, c->ctx_train, e)) {
        return false;
    }
    if (g->options.max_guesses > ENGINE_MAX_GUESSES) {
        return error_set(e, ERROR_USAGE, "%u guesses a step, expected at most %d",
                         g->options.max_guesses, ENGINE_MAX_GUESSES);
    }
    if (g->options.n_choices > c->n_vocab) {
        return error_set(e, ERROR_INTERNAL, "%u tokens to choose from, but %u logits",
                         g->options.n_choices, c->n_vocab);
    }
    return true;
}

/* Of the products of a row the model's shape tells the numbers. Those with keys may take four times
 * as long as those with weights, each: they are made two by two, not in tiles. */
static void set_pace(struct engine *g)
{
    enum { SLOWER_KEYS = 4 };
    const struct model_config *c = &g->model->config;
    double heads = (double)c->n_heads * (c->dim_k + c->dim_v); /* products of a key */
    double layer = c->n_embd * (heads + (double)c->n_kv_heads * (c->dim_k + c->dim_v)) +
                   3.0 * c->n_embd * c->n_ff;
    g->pace.row_keys = layer / heads / SLOWER_KEYS;
    g->logits_rows = (double)c->n_vocab * c->n_embd / (layer * c->n_layers);
}

/* Tokens that fit the memory for keys and values. */
static bool choose_kv_tokens(const struct engine *g, uint64_t *out, struct error *e)
{
    const struct model_config *c = &g->model->config;
    uint64_t pages = kv_pages_for(g->options.n_ctx), wanted = g->options.kv_bytes;
    uint64_t page_bytes = kv_bytes(c, g->options.kv_type, KERN_ATTN_TILE);
    if (wanted > 0 && wanted / page_bytes < pages) {
        return error_set(e, ERROR_USAGE,
                         "%llu bytes for keys and values are too few: a context of %u tokens takes "
                         "%llu; give as many, or a shorter context",
                         (unsigned long long)wanted, g->options.n_ctx,
                         (unsigned long long)(pages * page_bytes));
    }
    *out = (wanted > 0 ? wanted / page_bytes : pages * g->options.max_sequences) * KERN_ATTN_TILE;
    return true;
}

/* One for each thread that can have a sequence to sample. */
static bool make_scratches(struct engine *g, const struct pool *pool, struct error *e)
{
    uint32_t n_threads = pool_n_threads(pool), n_seqs = g->options.max_sequences;
    uint32_t n = n_threads < n_seqs ? n_threads : n_seqs;
    g->scratches = mem_alloc(n, sizeof *g->scratches, "scratch of samplers", e);
    while (g->scratches != NULL && g->n_scratches < n &&
           sampler_scratch_init(&g->scratches[g->n_scratches], g->options.n_choices, e)) {
        g->n_scratches++;
    }
    return g->n_scratches == n;
}

bool engine_init(struct engine *g, const struct model *m, struct pool *pool,
                 const struct engine_options *options, struct error *e)
{
    *g = (struct engine){.model = m};
    if (!set_options(g, options, e)) {
        return false;
    }
    uint32_t n_seqs = g->options.max_sequences;
    uint64_t kv_tokens = 0;
    set_pace(g);
    uint32_t batch = g->options.batch < g->options.n_ctx ? g->options.batch : g->options.n_ctx;
    g->budget = batch > n_seqs ? batch : n_seqs;
    if (g->options.prompt_logits > g->budget) {
        g->options.prompt_logits = g->budget;
    }
    struct forward_limits limits = {.max_tokens = g->budget + g->options.max_guesses,
                                    .max_logits =
                                        n_seqs + g->options.max_guesses + g->options.prompt_logits};
    g->seqs = mem_alloc(n_seqs, sizeof *g->seqs, "sequences", e);
    g->items = g->seqs ? mem_alloc(n_seqs, sizeof *g->items, "batch items", e) : NULL;
    g->order = g->items ? mem_alloc(n_seqs, sizeof(void *), "sequences", e) : NULL;
    g->picked = g->order ? mem_alloc(n_seqs, sizeof(void *), "batch items", e) : NULL;
    g->guessers = g->picked ? mem_alloc(n_seqs, sizeof *g->guessers, "batch items", e) : NULL;
    if (g->guessers == NULL || !choose_kv_tokens(g, &kv_tokens, e) ||
        !kv_pool_init(&g->kv, &m->config, g->options.kv_type, kv_tokens, e) ||
        !prefix_init(&g->prefix, &g->kv, g->options.prefix_pages, e) ||
        !constraints_init(&g->constraints, n_seqs, e)) {
        goto fail;
    }
    struct speculation_options speculation = {.max_guesses = g->options.max_guesses,
                                              .draft = g->options.draft,
                                              .draft_options = {.n_ctx = g->options.n_ctx,
                                                                .max_sequences = n_seqs,
                                                                .n_choices = g->options.n_choices,
                                                                .kv_type = g->options.kv_type}};
    if (!make_scratches(g, pool, e) || !forward_init(&g->forward, m, &g->kv, pool, limits, e) ||
        !speculation_init(&g->speculation, &speculation, pool, e)) {
        goto fail;
    }
    if (options->spill != NULL) {
        g->spill = spill_create(g, options->spill, e);
        if (g->spill == NULL) {
            goto fail;
        }
    }
    return true;
fail:
    engine_finish(g);
    return false;
}

void engine_finish(struct engine *g)
{
    for (uint32_t i = 0; g->seqs != NULL && i < g->options.max_sequences; i++) {
        engine_close(g, &g->seqs[i]);
    }
    spill_destroy(g, g->spill);
    speculation_finish(&g->speculation);
    constraints_finish(&g->constraints);
    forward_finish(&g->forward);
    while (g->n_scratches > 0) {
        sampler_scratch_finish(&g->scratches[--g->n_scratches]);
    }
    mem_free(g->scratches);
    prefix_finish(&g->prefix);
    kv_pool_finish(&g->kv);
    mem_free(g->guessers);
    mem_free(g->picked);
    mem_free(g->order);
    mem_free(g->items);
    mem_free(g->seqs);
    *g = (struct engine){0};
}

struct engine_seq *engine_open(struct engine *g, const struct engine_request *r, struct error *e)
{
    struct engine_seq *s = g->seqs;
    while (s < g->seqs + g->options.max_sequences && s->in_use) {
        s++;
    }
    if (s == g->seqs + g->options.max_sequences) {
        error_set(e, ERROR_USAGE, "all %u sequences are in use", g->options.max_sequences);
        return NULL;
    }
    *s = (struct engine_seq){.in_use = true,
                             .rows = r->rows,
                             .n_rows = r->rows != ENGINE_NO_ROWS ? r->n_tokens : 0,
                             .priority = r->priority,
                             .number = g->n_opened,
                             .salt = r->salt,
                             .asks_disk = g->spill != NULL && r->rows == ENGINE_NO_ROWS};
    if (!sampler_init(&s->sampler, r->sampler, g->options.n_choices, e)) {
        *s = (struct engine_seq){0};
        return NULL;
    }
    s->tokens = mem_alloc(g->options.n_ctx, sizeof *s->tokens, "tokens of a sequence", e);
    if (s->tokens == NULL || !kv_seq_init(&s->kv, g->options.n_ctx, e) ||
        !speculation_open(&g->speculation, &s->guesses, g->options.n_ctx, e) ||
        !engine_feed(g, s, r->tokens, r->n_tokens, e)) {
        engine_close(g, s);
        return NULL;
    }
    g->n_opened++;
    schedule_add(g, s);
    return s;
}

void engine_close(struct engine *g, struct engine_seq *s)
{
    if (s == NULL || !s->in_use) {
        return;
    }
    schedule_truncate(g, s, 0);
    schedule_remove(g, s);
    kv_seq_finish(&s->kv, &g->kv);
    sampler_finish(&s->sampler);
    constraint_finish(&s->constraint);
    speculation_close(&g->speculation, &s->guesses);
    mem_free(s->tokens);
    *s = (struct engine_seq){0};
}

static bool check_ids(const struct engine *g, const uint32_t *tokens, uint32_t n_tokens,
                      struct error *e)
{
    for (uint32_t i = 0; i < n_tokens; i++) {
        if (tokens[i] >= g->model->config.n_vocab) {
            return error_set(e, ERROR_USAGE, "token id %u is outside the vocabulary of %u",
                             tokens[i], g->model->config.n_vocab);
        }
    }
    return true;
}

/* The token behind s's last, from the logits of s->row. */
static void sample(const struct engine *g, struct engine_seq *s, struct sampler_scratch *scratch)
{
    s->is_due = false;
    if (s->constraint.automaton != NULL && !s->constraint.has_mask) {
        s->error = s->constraint.error;
        return;
    }
    s->sampler.allowed = s->constraint.mask;
    s->has_token = sampler_sample(&s->sampler, scratch, forward_logits(&g->forward, s->row),
                                  &s->token, &s->error);
}

struct sampling {
    struct engine *g;
    uint32_t n; /* of g->picked, from the first on */
    _Atomic uint32_t next;
};

static void sampling_worker(void *argument, unsigned thread)
{
    struct sampling *p = argument;
    uint32_t i, end;
    while (thread < p->g->n_scratches && pool_next_chunk(&p->next, p->n, 1, &i, &end)) {
        sample(p->g, p->g->picked[i], &p->g->scratches[thread]);
    }
}

/* A sequence's numbers are its own, so it does not matter who samples when. */
static void sample_all(struct engine *g, uint32_t n)
{
    struct sampling sampling = {.g = g, .n = n};
    if (n > 1) {
        pool_run(g->forward.pool, sampling_worker, &sampling);
    } else {
        sampling_worker(&sampling, 0);
    }
}

static void drop_guesses(struct engine *g, struct engine_seq *s)
{
    if (s->guesses.n > 0) {
        speculation_drop(&g->speculation, &s->guesses, s->n_tokens);
        kv_seq_truncate(&s->kv, &g->kv, s->n_tokens);
    }
}

/* What was fed is the text's once something of it was sampled. */
static bool take_constrained(struct engine_seq *s, const uint32_t *tokens, uint32_t n_tokens,
                             struct error *e)
{
    bool is_text = s->constraint.automaton != NULL && s->sampler.n_sampled > 0;
    for (uint32_t i = 0; is_text && i < n_tokens; i++) {
        if (!constraint_take(&s->constraint, tokens[i], e)) {
            return false;
        }
    }
    return true;
}

/* The token behind s's own was guessed and computed: makes it s's own and samples the next. */
static void confirm_guess(struct engine *g, struct engine_seq *s)
{
    uint32_t token = s->tokens[s->n_tokens++];
    speculation_add(&g->speculation, &s->guesses, s->tokens, s->n_tokens - 1, s->n_tokens);
    sampler_accept(&s->sampler, token);
    s->row = speculation_confirm(&g->speculation, &s->guesses);
    if (s->constraint.automaton != NULL) {
        constraint_make_mask(&s->constraint);
    }
    sample(g, s, &g->scratches[0]);
    if (s->guesses.left == 0) {
        drop_guesses(g, s);
    }
}

bool engine_feed(struct engine *g, struct engine_seq *s, const uint32_t *tokens, uint32_t n_tokens,
                 struct error *e)
{
    if (n_tokens > g->options.n_ctx - s->n_tokens) {
        return error_set(e, ERROR_CONTEXT,
                         "the context of %u tokens is full: it holds %u and %u more do not fit",
                         g->options.n_ctx, s->n_tokens, n_tokens);
    }
    if (!check_ids(g, tokens, n_tokens, e)) {
        return false;
    }
    if (!take_constrained(s, tokens, n_tokens, e)) {
        return false;
    }
    s->has_token = false;
    s->error = (struct error){0};
    if (n_tokens == 1 && s->guesses.left > 0 && tokens[0] == s->tokens[s->n_tokens]) {
        confirm_guess(g, s);
        return true;
    }
    if (n_tokens > 0) {
        drop_guesses(g, s);
    }
    for (uint32_t i = 0; i < n_tokens; i++) {
        s->tokens[s->n_tokens++] = tokens[i];
        sampler_accept(&s->sampler, tokens[i]);
    }
    s->is_due = s->is_due || n_tokens > 0;
    speculation_add(&g->speculation, &s->guesses, s->tokens, s->n_tokens - n_tokens, s->n_tokens);
    return true;
}

bool engine_constrain(struct engine *g, struct engine_seq *s, struct automaton *a, struct error *e)
{
    if (a == NULL) {
        constraint_finish(&s->constraint);
        return true;
    }
    return constraints_start(&g->constraints, e) && constraint_set(&s->constraint, a, e);
}

bool engine_set_tokens(struct engine *g, struct engine_seq *s, const uint32_t *tokens,
                       uint32_t n_tokens, struct error *e)
{
    if (n_tokens == 0 || n_tokens > g->options.n_ctx) {
        return error_set(e, ERROR_CONTEXT, "%u tokens, but a sequence has 1 to %u", n_tokens,
                         g->options.n_ctx);
    }
    if (!check_ids(g, tokens, n_tokens, e)) {
        return false;
    }
    drop_guesses(g, s);
    uint32_t kept = 0;
    while (kept < s->kv.n_tokens && kept + 1 < n_tokens && s->tokens[kept] == tokens[kept]) {
        kept++;
    }
    schedule_truncate(g, s, kept);
    speculation_truncate(&g->speculation, &s->guesses, kept);
    s->rows = ENGINE_NO_ROWS;
    s->n_rows = s->n_given = 0;
    s->has_begun = s->was_preempted = false;
    s->asks_disk = g->spill != NULL;
    s->n_cached = kept;
    s->n_tokens = 0;
    sampler_forget(&s->sampler);
    return engine_feed(g, s, tokens, n_tokens, e);
}

/* Puts guesses behind the tokens of a step that are all decodes. */
static void add_guesses(struct engine *g)
{
    uint32_t most = g->options.max_guesses;
    for (uint32_t i = 0; i < g->n_items; i++) {
        struct engine_seq *s = g->picked[i];
        uint32_t room = g->options.n_ctx - s->n_tokens;
        room = schedule_guess_room(g, s, room < most ? room : most);
        room = g->items[i].n_logits > 0 ? room : 0;
        g->guessers[i] = (struct speculation_item){
            .seq = &s->guesses, .tokens = s->tokens, .n_tokens = s->n_tokens, .room = room};
    }
    speculation_guess(&g->speculation, g->guessers, g->n_items);
    for (uint32_t i = 0; i < g->n_items; i++) {
        g->items[i].n_tokens += g->guessers[i].n_guesses;
        g->items[i].n_logits += g->guessers[i].n_guesses;
    }
}

/* Guesses have a budget of their own, and none while a prompt waits: they would hold it up. */
static void plan_step(struct engine *g)
{
    for (uint32_t i = 0; i < g->n_open; i++) {
        drop_guesses(g, g->order[i]);
        g->order[i]->n_new = 0;
    }
    if (!schedule_plan(g)) {
        add_guesses(g);
    }
}

/* The masks that sampling behind this step needs, while it is computed. */
static void begin_masks(struct engine *g)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->n_items; i++) {
        if (g->items[i].n_logits > 0 && g->picked[i]->constraint.automaton != NULL) {
            g->constraints.list[n++] = &g->picked[i]->constraint;
        }
    }
    constraints_begin(&g->constraints, n);
}

/* What the step gave to the i-th item, whose rows begin at these: rows of its prompt. True when
 * nothing of it waits any more, and a token is to follow. */
static bool finish_item(struct engine *g, uint32_t i, uint32_t logits_row, uint32_t hidden_row)
{
    struct engine_seq *s = g->picked[i];
    schedule_keep_pages(g, s);
    s->new_row = s->rows == ENGINE_HIDDEN ? hidden_row : logits_row;
    s->n_given += s->n_new;
    if (s->kv.n_tokens < s->n_tokens) {
        return false;
    }
    if (g->items[i].n_logits == 0) {
        s->is_due = false;
        return false;
    }
    s->row = logits_row + (s->n_new > 0 ? s->n_new - 1 : 0);
    s->guesses.row = s->row + 1;
    return true;
}

bool engine_step(struct engine *g, bool *out_busy, struct error *e)
{
    bool waits = false;
    for (uint32_t i = 0; i < g->n_open; i++) {
        waits = waits || g->order[i]->is_due;
    }
    *out_busy = waits;
    g->waits_for_disk = false;
    if (waits) {
        plan_step(g);
    }
    spill_write_next(g);
    if (!waits || (g->n_items == 0 && g->waits_for_disk)) {
        *out_busy = false;
        return true;
    }
    if (g->n_items == 0) {
        return error_set(e, ERROR_INTERNAL, "no sequence has room in %u KV pages", g->kv.n_pages);
    }
    begin_masks(g);
    bool ok = forward_batch(&g->forward, g->items, g->n_items, e);
    constraints_end(&g->constraints);
    if (!ok) {
        for (uint32_t i = 0; i < g->n_items; i++) {
            speculation_truncate(&g->speculation, &g->picked[i]->guesses, g->picked[i]->n_tokens);
            g->picked[i]->n_new = 0;
        }
        return false;
    }
    uint32_t logits_row = 0, hidden_row = 0, n_sampled = 0;
    for (uint32_t i = 0; i < g->n_items; i++) {
        if (finish_item(g, i, logits_row, hidden_row)) {
            g->picked[n_sampled++] = g->picked[i];
        }
        logits_row += g->items[i].n_logits;
        hidden_row += g->items[i].n_hidden;
    }
    sample_all(g, n_sampled);
    return true;
}

void engine_note_time(struct engine *g, double seconds)
{
    struct pace_step step = g->planned;
    for (uint32_t i = 0; i < step.n_decodes; i++) {
        step.n_guesses += g->items[i].n_tokens - 1;
    }
    pace_note(&g->pace, &step, seconds);
}

bool engine_take_rows(const struct engine *g, struct engine_seq *s, struct engine_row_span *out)
{
    if (s->n_new == 0) {
        return false;
    }
    *out = (struct engine_row_span){.first = s->n_given - s->n_new,
                                    .n = s->n_new,
                                    .rows = s->rows == ENGINE_HIDDEN
                                                ? forward_hidden(&g->forward, s->new_row)
                                                : forward_logits(&g->forward, s->new_row)};
    s->n_new = 0;
    return true;
}

const float *engine_logits(const struct engine *g, const struct engine_seq *s)
{
    return forward_logits(&g->forward, s->row);
}

bool engine_failed(const struct engine_seq *s, struct error *e)
{
    if (s->error.code == ERROR_NONE) {
        return false;
    }
    error_set(e, s->error.code, "%s", s->error.text);
    return true;
}

bool engine_take(struct engine_seq *s, uint32_t *out_token)
{
    if (!s->has_token) {
        return false;
    }
    s->has_token = false;
    *out_token = s->token;
    return true;
}

struct engine_pages engine_count_pages(const struct engine *g)
{
    struct engine_pages n = {
        .total = g->kv.n_pages, .free = g->kv.n_free, .cached = g->prefix.n_pages};
    for (uint32_t i = 0; g->prefix.n_pages > 0 && i < g->kv.n_pages; i++) {
        n.cached -= g->prefix.nodes[i].n_tokens > 0 && g->kv.n_users[i] > 1;
    }
    n.in_use = n.total - n.free - n.cached;
    return n;
}

bool engine_check_pages(const struct engine *g, struct error *e)
{
    uint32_t *n =
        mem_alloc(g->kv.n_pages, sizeof *n, "holders of pages", e); /* and free: a million */
    for (uint32_t i = 0; n != NULL && i < g->kv.n_free; i++) {
        n[g->kv.free_pages[i]] += 1000000;
    }
    for (uint32_t i = 0; n != NULL && i < g->options.max_sequences; i++) {
        for (uint32_t k = 0; k < g->seqs[i].kv.n_pages; k++) {
            n[g->seqs[i].kv.pages[k]]++;
        }
    }
    bool ok = n != NULL;
    for (uint32_t i = 0; ok && i < g->kv.n_pages; i++) {
        n[i] += g->prefix.n_pages > 0 && g->prefix.nodes[i].n_tokens > 0;
        uint32_t expected = g->kv.n_users[i] > 0 ? g->kv.n_users[i] : 1000000;
        ok = n[i] == expected ||
             error_set(e, ERROR_INTERNAL, "KV page %u is held %u times, counted %u", i, n[i],
                       g->kv.n_users[i]);
    }
    mem_free(n);
    return ok;
}
