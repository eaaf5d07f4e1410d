/* engine.c - sequences and the step. */
#include "engine/engine.h"

#include "base/mem.h"

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
    };
    if (g->options.n_ctx > c->ctx_train) {
        return error_set(e, ERROR_USAGE, "a context of %u tokens: the model was made for %u",
                         g->options.n_ctx, c->ctx_train);
    }
    if (g->options.n_ctx > ROPE_MAX_POSITIONS) {
        return error_set(e, ERROR_UNSUPPORTED, "a context of %u tokens: at most %d are supported",
                         g->options.n_ctx, ROPE_MAX_POSITIONS);
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

bool engine_init(struct engine *g, const struct model *m, struct pool *pool,
                 const struct engine_options *options, struct error *e)
{
    *g = (struct engine){.model = m};
    if (!set_options(g, options, e)) {
        return false;
    }
    uint32_t n_seqs = g->options.max_sequences;
    uint64_t pages = ((uint64_t)g->options.n_ctx + KERN_ATTN_TILE - 1) / KERN_ATTN_TILE;
    uint32_t batch = g->options.batch < g->options.n_ctx ? g->options.batch : g->options.n_ctx;
    g->budget = batch > n_seqs ? batch : n_seqs;
    uint32_t most_logits = n_seqs + g->options.max_guesses;
    struct forward_limits limits = {.max_tokens = g->budget + g->options.max_guesses,
                                    .max_logits = most_logits};
    g->seqs = mem_alloc(n_seqs, sizeof *g->seqs, "sequences", e);
    g->items = g->seqs ? mem_alloc(n_seqs, sizeof *g->items, "batch items", e) : NULL;
    g->picked = g->items ? mem_alloc(n_seqs, sizeof(void *), "batch items", e) : NULL;
    g->guessers = g->picked ? mem_alloc(n_seqs, sizeof *g->guessers, "batch items", e) : NULL;
    if (g->guessers == NULL ||
        !kv_pool_init(&g->kv, &m->config, g->options.kv_type, pages * KERN_ATTN_TILE * n_seqs, e)) {
        goto fail;
    }
    struct speculation_options speculation = {.max_guesses = g->options.max_guesses,
                                              .draft = g->options.draft,
                                              .draft_options = {.n_ctx = g->options.n_ctx,
                                                                .max_sequences = n_seqs,
                                                                .n_choices = g->options.n_choices,
                                                                .kv_type = g->options.kv_type}};
    if (!sampler_scratch_init(&g->scratch, g->options.n_choices, e) ||
        !forward_init(&g->forward, m, &g->kv, pool, limits, e) ||
        !speculation_init(&g->speculation, &speculation, pool, e)) {
        goto fail;
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
    speculation_finish(&g->speculation);
    forward_finish(&g->forward);
    sampler_scratch_finish(&g->scratch);
    kv_pool_finish(&g->kv);
    mem_free(g->guessers);
    mem_free(g->picked);
    mem_free(g->items);
    mem_free(g->seqs);
    *g = (struct engine){0};
}

struct engine_seq *engine_open(struct engine *g, const struct sampler_params *params,
                               struct error *e)
{
    struct engine_seq *s = g->seqs;
    while (s < g->seqs + g->options.max_sequences && s->in_use) {
        s++;
    }
    if (s == g->seqs + g->options.max_sequences) {
        error_set(e, ERROR_USAGE, "all %u sequences are in use", g->options.max_sequences);
        return NULL;
    }
    *s = (struct engine_seq){.in_use = true};
    if (!sampler_init(&s->sampler, params, g->options.n_choices, e)) {
        *s = (struct engine_seq){0};
        return NULL;
    }
    s->tokens = mem_alloc(g->options.n_ctx, sizeof *s->tokens, "tokens of a sequence", e);
    if (s->tokens == NULL || !kv_seq_init(&s->kv, g->options.n_ctx, e) ||
        !speculation_open(&g->speculation, &s->guesses, g->options.n_ctx, e)) {
        engine_close(g, s);
        return NULL;
    }
    return s;
}

void engine_close(struct engine *g, struct engine_seq *s)
{
    if (s == NULL || !s->in_use) {
        return;
    }
    kv_seq_finish(&s->kv, &g->kv);
    sampler_finish(&s->sampler);
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

static void sample(struct engine *g, struct engine_seq *s, uint32_t row)
{
    s->has_token = sampler_sample(&s->sampler, &g->scratch, forward_logits(&g->forward, row),
                                  &s->token, &s->error);
}

static void drop_guesses(struct engine *g, struct engine_seq *s)
{
    if (s->guesses.n > 0) {
        speculation_drop(&g->speculation, &s->guesses, s->n_tokens);
        kv_seq_truncate(&s->kv, &g->kv, s->n_tokens);
    }
}

/* The token behind s's own was guessed and computed: makes it s's own and samples the next. */
static void confirm_guess(struct engine *g, struct engine_seq *s)
{
    uint32_t token = s->tokens[s->n_tokens++];
    speculation_add(&g->speculation, &s->guesses, s->tokens, s->n_tokens - 1, s->n_tokens);
    sampler_accept(&s->sampler, token);
    sample(g, s, speculation_confirm(&g->speculation, &s->guesses));
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
    s->has_token = false;
    s->error = (struct error){0};
    if (n_tokens == 1 && s->guesses.left > 0 && tokens[0] == s->tokens[s->n_tokens]) {
        confirm_guess(g, s);
        return true;
    }
    if (n_tokens > 0) {
        drop_guesses(g, s);
    }
    memcpy(s->tokens + s->n_tokens, tokens, n_tokens * sizeof *tokens);
    s->n_tokens += n_tokens;
    speculation_add(&g->speculation, &s->guesses, s->tokens, s->n_tokens - n_tokens, s->n_tokens);
    for (uint32_t i = 0; i < n_tokens; i++) {
        sampler_accept(&s->sampler, tokens[i]);
    }
    return true;
}

bool engine_set_tokens(struct engine *g, struct engine_seq *s, const uint32_t *tokens,
                       uint32_t n_tokens, struct error *e)
{
    if (n_tokens == 0 || n_tokens > g->options.n_ctx) {
        return error_set(e, ERROR_CONTEXT, "%u tokens do not fit a context of %u", n_tokens,
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
    kv_seq_truncate(&s->kv, &g->kv, kept);
    speculation_truncate(&g->speculation, &s->guesses, kept);
    s->n_tokens = 0;
    sampler_forget(&s->sampler);
    return engine_feed(g, s, tokens, n_tokens, e);
}

/* Puts the first n waiting tokens of s into the step. */
static void pick(struct engine *g, uint32_t *n_items, struct engine_seq *s, uint32_t n)
{
    uint32_t waiting = s->n_tokens - s->kv.n_tokens;
    g->picked[*n_items] = s;
    g->items[(*n_items)++] = (struct forward_item){.seq = &s->kv,
                                                   .tokens = s->tokens + s->kv.n_tokens,
                                                   .n_tokens = n,
                                                   .n_logits = n == waiting ? 1 : 0};
}

/* Puts guesses behind the tokens of a step that are all decodes. */
static void add_guesses(struct engine *g, uint32_t n_items)
{
    for (uint32_t i = 0; i < n_items; i++) {
        struct engine_seq *s = g->picked[i];
        g->guessers[i] = (struct speculation_item){.seq = &s->guesses,
                                                   .tokens = s->tokens,
                                                   .n_tokens = s->n_tokens,
                                                   .room = g->options.n_ctx - s->n_tokens};
    }
    speculation_guess(&g->speculation, g->guessers, n_items);
    for (uint32_t i = 0; i < n_items; i++) {
        g->items[i].n_tokens += g->guessers[i].n_guesses;
        g->items[i].n_logits += g->guessers[i].n_guesses;
    }
}

/* Decodes first, then prompts, in the order of the sequences, until the budget is spent. Guesses
 * have a budget of their own, and none while a prompt waits: they would hold it up. */
static uint32_t plan_step(struct engine *g)
{
    uint32_t n_items = 0, budget = g->budget;
    bool prompt_waits = false;
    for (int prompts = 0; prompts <= 1; prompts++) {
        for (uint32_t i = 0; i < g->options.max_sequences && budget > 0; i++) {
            struct engine_seq *s = &g->seqs[i];
            drop_guesses(g, s);
            uint32_t waiting = s->n_tokens - s->kv.n_tokens;
            prompt_waits = prompt_waits || waiting > 1;
            if (waiting > 0 && (waiting > 1) == prompts) {
                uint32_t n = waiting < budget ? waiting : budget;
                pick(g, &n_items, s, n);
                budget -= n;
            }
        }
    }
    if (!prompt_waits) {
        add_guesses(g, n_items);
    }
    return n_items;
}

bool engine_step(struct engine *g, bool *out_busy, struct error *e)
{
    bool waits = false;
    for (uint32_t i = 0; i < g->options.max_sequences; i++) {
        waits = waits || g->seqs[i].n_tokens > g->seqs[i].kv.n_tokens;
    }
    *out_busy = waits;
    if (!waits) {
        return true;
    }
    uint32_t n_items = plan_step(g);
    if (!forward_batch(&g->forward, g->items, n_items, e)) {
        for (uint32_t i = 0; i < n_items; i++) {
            speculation_truncate(&g->speculation, &g->picked[i]->guesses, g->picked[i]->n_tokens);
        }
        return false;
    }
    uint32_t row = 0;
    for (uint32_t i = 0; i < n_items; i++) {
        if (g->items[i].n_logits > 0) {
            g->picked[i]->guesses.row = row + 1;
            sample(g, g->picked[i], row);
            row += g->items[i].n_logits;
        }
    }
    return true;
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
