/* worker.c - the engine thread's loop: drop, admit, step, take, feed. */
#include "serve/worker.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/spill.h"
#include "serve/queue.h"

/* Fewer tokens of prompts in a step do not show how fast prompts are. */
enum { TELLING_TOKENS = 64 };

/* A choice that has a sequence. */
struct active {
    struct generation *g; /* NULL: free */
    uint32_t index;       /* of the choice in g */
    struct engine_seq *seq;
    struct choice choice;
    struct choice_logprob *waiting; /* (n_waiting) of tokens whose text is held back */
    size_t n_waiting, max_waiting;
    bool began;     /* the prompt is being computed */
    bool started;   /* the prompt is computed */
    bool has_token; /* `token` is out, but not fed back yet */
    uint32_t token;
    uint64_t opened_ns, token_ns; /* of its last token; 0: none */
};

struct worker {
    struct engine engine;
    const struct model *model;
    const struct token_trie *trie;
    uint32_t max_active;
    struct metrics *metrics;
    struct active *actives;  /* (max_active) */
    struct tool_output said; /* of the token in hand */
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct queue queue;
    bool stopping, woken;
    struct worker_status status;
    uint64_t round_began_ns;    /* 0 when there is nothing to do */
    uint64_t seen_layers;       /* at the last look ... */
    uint64_t seen_ns;           /* ... and when it was the first with so many */
    double hold_s, prompt_rate; /* as estimate.h has them */
    uint64_t last_opened_ns;    /* when the last of those that run began */
};

/* ---- the queue: all of it with the lock held ---- */

static struct estimate_load load_of(const struct worker *w)
{
    struct estimate_load load = {.n_places = w->max_active,
                                 .n_held = w->status.n_running,
                                 .hold_s = w->hold_s,
                                 .prompt_rate = w->prompt_rate};
    if (load.n_held == load.n_places) {
        load.held_s = clock_seconds_since(w->last_opened_ns);
    }
    return load;
}

/* No choice of it runs any more. */
static void finish(struct generation *g)
{
    automaton_destroy(g->automaton);
    g->automaton = NULL;
    generation_finish(g);
}

/* Choices that never start count as ended. */
static void drop_rest(struct generation *g)
{
    g->n_ended += generation_n_choices(g) - g->n_started;
    g->n_started = generation_n_choices(g);
    if (g->n_ended == g->n_started) {
        finish(g);
    }
}

/* It is told what it would have been told on arrival. */
static void displace(struct worker *w, struct generation *g, const struct estimate_load *load)
{
    struct error why = {0};
    queue_refuse(&w->queue, g, load, &why);
    generation_fail(g, &why);
    drop_rest(g);
}

static bool enqueue(struct worker *w, struct generation *g, struct error *e)
{
    const struct estimate_load load = load_of(w);
    struct generation *displaced = NULL;
    if (!queue_add(&w->queue, g, &load, &displaced, e)) {
        return false;
    }
    if (displaced != NULL) {
        displace(w, displaced, &load);
    }
    if (w->round_began_ns == 0) {
        w->round_began_ns = clock_now_ns();
    }
    w->woken = true;
    pthread_cond_signal(&w->changed);
    return true;
}

bool worker_submit(struct worker *w, struct generation *g, struct error *e)
{
    pthread_mutex_lock(&w->lock);
    bool ok = enqueue(w, g, e);
    pthread_mutex_unlock(&w->lock);
    return ok;
}

void worker_rank(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    const struct estimate_load load = load_of(w);
    queue_rank(&w->queue, &load);
    pthread_mutex_unlock(&w->lock);
}

bool worker_has_begun(struct worker *w, const struct generation *g)
{
    pthread_mutex_lock(&w->lock);
    bool has_begun = g->n_started > 0;
    pthread_mutex_unlock(&w->lock);
    return has_begun;
}

void worker_wake(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->woken = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

/* ---- choices come and go ---- */

static struct active *free_active(struct worker *w)
{
    for (uint32_t i = 0; i < w->max_active; i++) {
        if (w->actives[i].g == NULL) {
            return &w->actives[i];
        }
    }
    return NULL;
}

/* All choices of a request read by one automaton. */
static bool constrain(struct worker *w, struct active *a, struct error *e)
{
    struct generation *g = a->g;
    if (g->grammar == NULL) {
        return true;
    }
    if (g->automaton == NULL) {
        g->automaton = automaton_create(g->grammar, w->trie, e);
    }
    return g->automaton != NULL && engine_constrain(&w->engine, a->seq, g->automaton, e);
}

static bool open_choice(struct worker *w, struct active *a, struct error *e)
{
    const struct generation *g = a->g;
    const struct token_list *prompt = &g->prompts[a->index / g->n_per_prompt];
    struct sampler_params sampling = g->sampling;
    sampling.seed += a->index % g->n_per_prompt;
    struct engine_request request = {.sampler = &sampling,
                                     .tokens = prompt->ids,
                                     .n_tokens = (uint32_t)prompt->n,
                                     .priority = g->priority,
                                     .salt = g->salt,
                                     .rows = a->index % g->n_per_prompt == 0 ? g->rows
                                                                             : ENGINE_NO_ROWS};
    a->seq = engine_open(&w->engine, &request, e);
    return a->seq != NULL && constrain(w, a, e);
}

/* How long places are held, lately. */
static void count_hold(struct worker *w, double seconds)
{
    pthread_mutex_lock(&w->lock);
    w->hold_s += (seconds - w->hold_s) * (w->hold_s > 0 ? 0.2 : 1.0);
    pthread_mutex_unlock(&w->lock);
}

/* Lets go of a sequence, and of the request when it was the last. */
static void close_active(struct worker *w, struct active *a)
{
    if (a->seq != NULL) {
        count_hold(w, clock_seconds_since(a->opened_ns));
    }
    engine_close(&w->engine, a->seq);
    choice_finish(&a->choice);
    a->seq = NULL;
    a->n_waiting = 0;
    struct generation *g = a->g;
    a->g = NULL;
    g->n_ended++;
    if (g->n_ended == generation_n_choices(g)) {
        finish(g);
    }
}

/* The request cannot go on: the choices that were not started never will be. */
static void fail(struct worker *w, struct active *a, const struct error *why)
{
    struct generation *g = a->g;
    generation_fail(g, why);
    atomic_store(&g->cancelled, true);
    close_active(w, a);
}

static void start_choice(struct worker *w, struct generation *g, uint32_t index, struct active *a)
{
    struct error e = {0};
    *a = (struct active){.g = g,
                         .index = index,
                         .waiting = a->waiting,
                         .max_waiting = a->max_waiting,
                         .opened_ns = clock_now_ns()};
    if (choice_init(&a->choice, &g->rules, &e) && open_choice(w, a, &e)) {
        generation_begin(g, index);
    } else {
        fail(w, a, &e);
    }
}

/* Whether the next choice of g may start: the first of a prompt, or one whose prompt is
 * computed. */
static bool may_start(const struct worker *w, const struct generation *g)
{
    for (uint32_t i = 0; i < w->max_active; i++) {
        const struct active *a = &w->actives[i];
        if (a->g == g && !a->started &&
            a->index / g->n_per_prompt == g->n_started / g->n_per_prompt) {
            return false;
        }
    }
    return true;
}

static uint32_t count_active(const struct worker *w)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->max_active; i++) {
        n += w->actives[i].g != NULL;
    }
    return n;
}

/* Once, as soon as this thread, which knows the prefix cache, sees it. With the lock held. */
static bool judge(struct worker *w, struct generation *g, uint64_t n_ahead)
{
    struct error e = {0};
    struct estimate_load load = load_of(w);
    uint64_t n_tokens = 0;
    load.n_held = count_active(w);
    /* How much of a prompt lies on disk is not known here: then none of it counts. */
    bool knows = g->patience_s > 0.0 && w->engine.spill == NULL;
    for (uint32_t i = 0; knows && i < g->n_prompts; i++) {
        const struct token_list *p = &g->prompts[i];
        n_tokens += p->n;
        if (g->rows == ENGINE_NO_ROWS) {
            n_tokens -= prefix_find(&w->engine.prefix, g->salt, p->ids, (uint32_t)p->n).n_tokens;
        }
    }
    g->is_judged = true;
    if (!queue_check_patience(g, estimate_wait_s(&load, n_ahead),
                              estimate_prompt_s(&load, n_tokens), &e)) {
        generation_fail(g, &e);
        return false;
    }
    if (g->patience_s > 0.0) {
        generation_accept(g);
    }
    return true;
}

/* The first in the queue that may start; what was cancelled leaves the queue anywhere, and so does
 * what would come too late. With the lock held. */
static struct generation *next_to_start(struct worker *w, bool has_place)
{
    struct generation *found = NULL, *next;
    struct queue_ahead ahead = {0};
    for (struct generation *g = w->queue.first; g != NULL && found == NULL; g = next) {
        next = g->next;
        bool is_wanted = !atomic_load(&g->cancelled);
        struct queue_ahead before = ahead;
        uint64_t n_ahead = is_wanted ? queue_count_ahead(&ahead, g) : 0;
        if (!is_wanted || (!g->is_judged && !judge(w, g, n_ahead))) {
            ahead = before; /* of nobody is it ahead any more */
            queue_remove(&w->queue, g);
            drop_rest(g);
        } else if (has_place && may_start(w, g)) {
            found = g;
        }
    }
    return found;
}

/* Starts what may start. */
static void admit(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    struct generation *g;
    struct active *a = free_active(w);
    while ((g = next_to_start(w, a != NULL)) != NULL) {
        uint32_t index = queue_start(&w->queue, g);
        pthread_mutex_unlock(&w->lock);
        start_choice(w, g, index, a);
        a = free_active(w);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
}

static void drop_cancelled(struct worker *w)
{
    for (uint32_t i = 0; i < w->max_active; i++) {
        struct active *a = &w->actives[i];
        if (a->g != NULL && atomic_load(&a->g->cancelled)) {
            close_active(w, a);
        }
    }
}

/* ---- tokens ---- */

/* What the model said of the token in hand. */
static void read_logprobs(const struct worker *w, const struct active *a, uint32_t token,
                          struct choice_logprob *out)
{
    const float *logits = engine_logits(&w->engine, a->seq);
    uint32_t n = w->engine.options.n_choices;
    double log_sum = logprobs_log_sum(logits, n);
    out->chosen = (struct logprob){token, (double)logits[token] - log_sum};
    logprobs_top(logits, n, log_sum, out->top, a->g->rules.n_top);
}

static bool keep_logprob(struct active *a, const struct choice_logprob *entry, struct error *e)
{
    if (a->n_waiting == a->max_waiting) {
        size_t n = a->max_waiting > 0 ? 2 * a->max_waiting : 16;
        void *grown = mem_resize(a->waiting, n, sizeof *a->waiting, "logprobs of a choice", e);
        if (grown == NULL) {
            return false;
        }
        a->waiting = grown;
        a->max_waiting = n;
    }
    a->waiting[a->n_waiting++] = *entry;
    return true;
}

/* Passes on the text of the token in hand, and the entries whose text is out; behind a stop string
 * there is none. */
static bool pass_text(struct worker *w, struct active *a, struct error *e)
{
    size_t n = 0, released = choice_released(&a->choice);
    while (n < a->n_waiting && a->waiting[n].text_end <= released) {
        n++;
    }
    struct generation_part part = {.text = buf_str(&w->said.text),
                                   .spans = w->said.spans,
                                   .n_spans = w->said.n_spans,
                                   .logprobs = a->waiting,
                                   .n_logprobs = n};
    if (!generation_add(a->g, a->index, &a->choice, &part, e)) {
        return false;
    }
    a->n_waiting -= n;
    if (a->n_waiting > 0) {
        memmove(a->waiting, a->waiting + n, a->n_waiting * sizeof *a->waiting);
    }
    return true;
}

/* One sampled token: to the choice, and its text to the output. */
static bool pass_token(struct worker *w, struct active *a, uint32_t token, struct error *e)
{
    struct choice_logprob entry;
    bool wants_entry = a->g->rules.logprobs;
    if (wants_entry) {
        read_logprobs(w, a, token, &entry);
    }
    size_t text_bytes = a->choice.text_bytes;
    tool_output_clear(&w->said);
    if (!choice_push(&a->choice, token, &w->said, e)) {
        return false;
    }
    bool full = a->seq->n_tokens == w->engine.options.n_ctx;
    if (a->choice.end == CHOICE_RUNS && full && !choice_cut(&a->choice, &w->said, e)) {
        return false;
    }
    entry.text_end = a->choice.text_bytes;
    bool is_told = a->choice.end != CHOICE_STOP || a->choice.text_bytes > text_bytes ||
                   (a->g->rules.tells_end && !a->choice.stop.found);
    if (wants_entry && is_told && !keep_logprob(a, &entry, e)) {
        return false;
    }
    return pass_text(w, a, e);
}

/* Tokens are counted before the client can see them. */
static void count_tokens(struct worker *w, uint64_t n_prompt, uint64_t n_cached, uint64_t n_answer)
{
    pthread_mutex_lock(&w->lock);
    w->status.n_prompt += n_prompt;
    w->status.n_cached += n_cached;
    w->status.n_answer += n_answer;
    pthread_mutex_unlock(&w->lock);
}

/* The prompt is computed. It counts with its first choice, as in the usage of the answer. */
static void start_answer(struct worker *w, struct active *a)
{
    a->started = true;
    if (a->index % a->g->n_per_prompt == 0) {
        count_tokens(w, a->g->prompts[a->index / a->g->n_per_prompt].n, a->seq->n_cached, 0);
    }
    generation_start(a->g, a->index, a->seq->n_cached, a->seq->cache_end);
}

/* Tells the time of a token that is there now. */
static void time_token(struct worker *w, struct active *a)
{
    uint64_t now = clock_now_ns();
    if (a->token_ns > 0) {
        metrics_observe(w->metrics, METRICS_NEXT_TOKEN, now - a->token_ns);
    } else if (a->index == 0) {
        metrics_observe(w->metrics, METRICS_FIRST_TOKEN, now - a->g->arrived_ns);
    }
    a->token_ns = now;
}

/* Without tokens to sample a choice ends with its prompt. */
static bool end_prompt(struct worker *w, struct active *a, struct error *e)
{
    const struct generation_part nothing = {0};
    start_answer(w, a);
    a->choice.end = CHOICE_LENGTH;
    return generation_add(a->g, a->index, &a->choice, &nothing, e);
}

/* What the last step says of the prompt. */
static bool take_rows(struct worker *w, struct active *a, struct error *e)
{
    const struct generation *g = a->g;
    const struct token_list *prompt = &g->prompts[a->index / g->n_per_prompt];
    struct prompt_rows *rows = &g->prompt_rows[a->index / g->n_per_prompt];
    struct engine_row_span span;
    if (!engine_take_rows(&w->engine, a->seq, &span)) {
        return true;
    }
    const struct model_config *c = &w->model->config;
    struct prompt_rows_rules rules = {.rows = g->rows,
                                      .tokens = prompt->ids,
                                      .n_tokens = (uint32_t)prompt->n,
                                      .n_choices = w->engine.options.n_choices,
                                      .n_top = g->rules.n_top,
                                      .only_last = g->only_last,
                                      .stride = g->rows == ENGINE_HIDDEN ? c->n_embd : c->n_vocab};
    return prompt_rows_add(rows, &rules, &span, e) &&
           (g->rows != ENGINE_HIDDEN || rows->n < prompt->n || end_prompt(w, a, e));
}

/* All tokens that a choice can have without a step: the one that was sampled, and those behind it
 * that were guessed. A slow reader's token is not fed back, and so nothing is computed behind
 * it. */
static bool take_tokens(struct worker *w, struct active *a, struct error *e)
{
    while (a->choice.end == CHOICE_RUNS) {
        if (a->has_token && atomic_load(&a->g->paused)) {
            a->token_ns = clock_now_ns(); /* the reader's time is none of ours */
            return true;
        }
        if (a->has_token && !engine_feed(&w->engine, a->seq, &a->token, 1, e)) {
            return false;
        }
        a->has_token = engine_take(a->seq, &a->token);
        if (!a->has_token) {
            return !engine_failed(a->seq, e);
        }
        if (a->g->rules.max_tokens == 0) {
            return end_prompt(w, a, e);
        }
        if (!a->started) {
            start_answer(w, a);
        }
        count_tokens(w, 0, 0, 1);
        time_token(w, a);
        if (!pass_token(w, a, a->token, e)) {
            return false;
        }
    }
    return true;
}

/* ---- the loop ---- */

/* A step that began at start_ns has ended; with busy it computed something. */
static void count_step(struct worker *w, uint64_t start_ns, bool busy)
{
    if (busy) {
        metrics_observe(w->metrics, METRICS_BATCH, w->engine.n_items);
    }
    for (uint32_t i = 0; i < w->max_active; i++) {
        struct active *a = &w->actives[i];
        if (a->g != NULL && !a->began && a->seq->has_begun) {
            a->began = true;
            if (a->index == 0) {
                metrics_observe(w->metrics, METRICS_QUEUE, start_ns - a->g->arrived_ns);
            }
        }
    }
    pthread_mutex_lock(&w->lock);
    struct worker_status *c = &w->status;
    c->n_steps += busy;
    c->n_guessed = c->n_confirmed = 0;
    for (int i = 0; i < SPECULATION_SOURCES; i++) {
        c->n_guessed += w->engine.speculation.counts[i].made;
        c->n_confirmed += w->engine.speculation.counts[i].right;
    }
    c->n_preempted = w->engine.n_preempted;
    c->n_from_disk = w->engine.prefix.n_from_disk;
    pthread_mutex_unlock(&w->lock);
}

/* What a step took: for the pace of the next ones, and to tell how long prompts take. */
static void note_time(struct worker *w, double seconds)
{
    struct engine *g = &w->engine;
    uint32_t n_prompt = 0;
    engine_note_time(g, seconds);
    for (uint32_t i = g->planned.n_decodes; i < g->n_items; i++) {
        n_prompt += g->items[i].n_tokens;
    }
    if (n_prompt >= TELLING_TOKENS) {
        double rate = n_prompt / seconds;
        pthread_mutex_lock(&w->lock);
        w->prompt_rate += (rate - w->prompt_rate) * (rate > w->prompt_rate ? 1.0 : 0.05);
        pthread_mutex_unlock(&w->lock);
    }
}

/* A step that fails ends the requests that are computed, and none that wait. False when nothing
 * came of it, and nothing will before the thread is woken. */
static bool step(struct worker *w)
{
    struct error e = {0};
    bool busy = false;
    uint64_t start = clock_now_ns();
    bool ok = engine_step(&w->engine, &busy, &e);
    count_step(w, start, busy && ok);
    if (busy && ok) {
        note_time(w, clock_seconds_since(start));
    }
    bool goes_on = busy;
    for (uint32_t i = 0; i < w->max_active; i++) {
        struct active *a = &w->actives[i];
        if (a->g == NULL) {
            continue;
        }
        bool held_token = a->has_token;
        if (!ok || !take_rows(w, a, &e) || !take_tokens(w, a, &e)) {
            fail(w, a, &e);
        } else if (a->choice.end != CHOICE_RUNS) {
            close_active(w, a);
        }
        /* its place is free, or its reader is back */
        goes_on = goes_on || a->g == NULL || (held_token && !a->has_token);
    }
    return goes_on;
}

/* Sleeps until something changes: nothing waits, or all readers are slow. */
static void wait_for_work(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    while (!w->woken && !w->stopping) {
        w->round_began_ns = 0;
        pthread_cond_wait(&w->changed, &w->lock);
    }
    w->woken = false;
    pthread_mutex_unlock(&w->lock);
}

/* False when it is the end. */
static bool begin_round(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->round_began_ns = clock_now_ns();
    bool goes_on = !w->stopping;
    pthread_mutex_unlock(&w->lock);
    return goes_on;
}

/* What is held now; pages are counted one by one. */
static void publish_status(struct worker *w)
{
    uint64_t last_opened_ns = 0;
    for (uint32_t i = 0; i < w->max_active; i++) {
        const struct active *a = &w->actives[i];
        last_opened_ns =
            a->g != NULL && a->opened_ns > last_opened_ns ? a->opened_ns : last_opened_ns;
    }
    struct engine_pages pages = engine_count_pages(&w->engine);
    pthread_mutex_lock(&w->lock);
    w->status.n_running = count_active(w);
    w->last_opened_ns = last_opened_ns;
    w->status.pages = pages;
    pthread_mutex_unlock(&w->lock);
}

static void *worker_main(void *argument)
{
    struct worker *w = argument;
    while (begin_round(w)) {
        drop_cancelled(w);
        admit(w);
        publish_status(w); /* what runs is told while its first step runs, which may be long */
        if (!step(w)) {
            publish_status(w);
            wait_for_work(w);
        }
    }
    return NULL;
}

/* ---- life ---- */

static void wake(void *argument)
{
    worker_wake(argument);
}

struct worker *worker_create(const struct model *m, struct pool *pool,
                             const struct worker_options *options, struct error *e)
{
    struct worker *w = mem_alloc(1, sizeof *w, "engine thread", e);
    if (w == NULL) {
        return NULL;
    }
    w->model = m;
    w->trie = options->trie;
    w->metrics = options->metrics;
    w->queue.max = options->max_queue > 0 ? options->max_queue : WORKER_DEFAULT_QUEUE;
    w->queue.max_per_owner =
        options->max_per_owner > 0 ? options->max_per_owner : (w->queue.max + 1) / 2;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    tool_output_init(&w->said);
    struct engine_options engine = options->engine;
    engine.keeps_pace = true;
    struct spill_options spill;
    if (engine.spill != NULL) {
        spill = *engine.spill;
        spill.wake = wake;
        spill.wake_argument = w;
        engine.spill = &spill;
    }
    if (!engine_init(&w->engine, m, pool, &engine, e)) {
        goto fail;
    }
    w->max_active = w->engine.options.max_sequences;
    w->actives = mem_alloc(w->max_active, sizeof *w->actives, "choices that run", e);
    if (w->actives == NULL) {
        goto fail;
    }
    publish_status(w);
    int failed = pthread_create(&w->thread, NULL, worker_main, w);
    if (failed != 0) {
        error_set(e, ERROR_MEMORY, "the engine thread could not be started (error %d)", failed);
        goto fail;
    }
    w->has_thread = true;
    return w;
fail:
    worker_destroy(w);
    return NULL;
}

/* Nobody waits for the choices any more. */
static void drop_all(struct worker *w)
{
    while (w->queue.first != NULL) {
        struct generation *g = w->queue.first;
        queue_remove(&w->queue, g);
        drop_rest(g);
    }
    for (uint32_t i = 0; w->actives != NULL && i < w->max_active; i++) {
        if (w->actives[i].g != NULL) {
            close_active(w, &w->actives[i]);
        }
        mem_free(w->actives[i].waiting);
    }
}

void worker_destroy(struct worker *w)
{
    if (w == NULL) {
        return;
    }
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
    if (w->has_thread) {
        pthread_join(w->thread, NULL);
    }
    drop_all(w);
    engine_finish(&w->engine);
    mem_free(w->actives);
    tool_output_finish(&w->said);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
}

/* A step may take minutes, of a large model; a layer of it does not. With the lock held. */
static double silent_seconds(struct worker *w, uint64_t n_layers)
{
    if (n_layers != w->seen_layers) {
        w->seen_layers = n_layers;
        w->seen_ns = clock_now_ns();
    }
    uint64_t since_ns = w->round_began_ns > w->seen_ns ? w->round_began_ns : w->seen_ns;
    return w->round_began_ns > 0 ? clock_seconds_since(since_ns) : 0.0;
}

void worker_status(struct worker *w, struct worker_status *out)
{
    pthread_mutex_lock(&w->lock);
    *out = w->status;
    out->n_queued = w->queue.n;
    out->prompt_rate = w->prompt_rate;
    out->n_layers = w->engine.forward.n_layers;
    out->silent_seconds = silent_seconds(w, out->n_layers);
    pthread_mutex_unlock(&w->lock);
}
