/* answer.c - delivers what the engine thread has made. */
#include "serve/answer.h"

#include "base/clock.h"
#include "base/mem.h"
#include "serve/echo.h"
#include "serve/reply.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

enum { SLOW_BYTES = 64 << 10 };

/* Seconds of silence before a comment, unless the reader has less patience, and before one that
 * has something to say. */
static const double longest_quiet_s = 10.0, shortest_quiet_s = 0.9;

/* What was delivered of a choice, and for whole answers the text itself. */
struct answer_choice {
    struct buf text; /* of whole answers; of streams what an event adds to an echo */
    struct choice_logprob *logprobs; /* (n_logprobs) of whole answers */
    size_t n_logprobs, max_logprobs;
    double sum;         /* of the log probabilities, for best_of */
    size_t text_offset; /* code points of the tokens that were told */
    struct api_filter_result filter;
    bool ended;
    bool echoed; /* the prompt's tokens are told */
};

/* ---- prompts ---- */

static struct echo echo_of(const struct answer *a, uint32_t choice)
{
    uint32_t prompt = choice / a->g->n_per_prompt;
    return (struct echo){.tokenizer = a->list->tokenizer,
                         .given = &a->request.generation.prompts[prompt],
                         .prompt = &a->g->prompts[prompt],
                         .rows = &a->g->prompt_rows[prompt],
                         .n_top = a->g->rules.n_top};
}

/* With echo the answer begins with its prompt. */
static bool echo_prompts(struct answer *a, struct error *e)
{
    for (uint32_t i = 0; i < generation_n_choices(a->g); i++) {
        struct echo echo = echo_of(a, i);
        if (!echo_text(&echo, &a->taken.outputs[i].text, e)) {
            return false;
        }
    }
    return true;
}

/* ---- pieces of JSON ---- */

static enum api_finish finish_of(enum choice_end end)
{
    switch (end) {
    case CHOICE_STOP:
        return API_FINISH_STOP;
    case CHOICE_LENGTH:
        return API_FINISH_LENGTH;
    case CHOICE_FILTERED:
        return API_FINISH_CONTENT_FILTER;
    default:
        return API_FINISH_NONE;
    }
}

/* What the content filter has found in choice i so far; NULL: there is none. */
static const struct api_filter_result *filter_of(const struct answer *a, uint32_t i)
{
    const struct generation_output *o = &a->taken.outputs[i];
    struct api_filter_result *result = &a->choices[i].filter;
    result->detected = o->found;
    result->filtered = o->end == CHOICE_FILTERED ? o->found : 0;
    return a->list->guard != NULL ? result : NULL;
}

/* Tokens of the prompt that c tells before its own. */
static size_t n_to_echo(const struct answer *a, const struct answer_choice *c)
{
    bool tells = a->g->rows == ENGINE_LOGITS && !c->echoed;
    return tells ? a->g->prompts[(c - a->choices) / a->g->n_per_prompt].n : 0;
}

/* Entries as the API tells them, n_to_echo() of the prompt first; one block, freed with mem_free.
 * NULL with *e when memory ran out. */
static struct api_token *make_tokens(const struct answer *a, struct answer_choice *c,
                                     const struct choice_logprob *entries, size_t n,
                                     struct error *e)
{
    size_t n_top = a->g->rules.n_top, n_echo = n_to_echo(a, c);
    size_t size = sizeof(struct api_token) + n_top * sizeof(struct api_candidate);
    struct api_token *tokens = mem_alloc(n_echo + n + 1, size, "logprobs of an answer", e);
    if (tokens == NULL) {
        return NULL;
    }
    struct api_token *told = tokens;
    struct api_candidate *top = (struct api_candidate *)(void *)(tokens + n_echo + n);
    if (n_echo > 0) {
        struct echo echo = echo_of(a, (uint32_t)(c - a->choices));
        if (!echo_tokens(&echo, told, top, &c->text_offset, e)) {
            mem_free(tokens);
            return NULL;
        }
        c->echoed = true;
        told += n_echo;
        top += n_echo * n_top;
    }
    for (size_t i = 0; i < n; i++, top += n_top) {
        struct str bytes = tokenizer_piece(a->list->tokenizer, entries[i].chosen.token, true);
        told[i] = (struct api_token){.bytes = bytes,
                                     .logprob = entries[i].chosen.logprob,
                                     .text_offset = c->text_offset,
                                     .top = top,
                                     .n_top = n_top};
        c->text_offset += api_count_text(bytes);
        for (size_t k = 0; k < n_top; k++) {
            top[k].bytes = tokenizer_piece(a->list->tokenizer, entries[i].top[k].token, true);
            top[k].logprob = entries[i].top[k].logprob;
        }
    }
    return tokens;
}

struct api_usage answer_usage(const struct answer *a)
{
    struct api_usage usage = {.prompt_tokens = a->n_prompt};
    const struct generation_output *outputs = a->taken.outputs;
    for (uint32_t i = 0; i < generation_n_choices(a->g); i++) {
        usage.completion_tokens += outputs[i].n_tokens;
        if (i % a->g->n_per_prompt == 0 && outputs[i].started) {
            usage.cached_tokens += outputs[i].n_cached;
        }
    }
    if (outputs[0].started) {
        usage.miss_reason = str_from(prefix_end_name(outputs[0].cache_end));
    }
    return usage;
}

/* ---- the end of an answer ---- */

static void unlink_answer(struct answer *a)
{
    *a->link = a->next;
    if (a->next != NULL) {
        a->next->link = a->link;
    }
    a->list->n--;
}

static void destroy(struct answer *a)
{
    for (uint32_t i = 0; a->choices != NULL && i < generation_n_choices(a->g); i++) {
        buf_finish(&a->choices[i].text);
        mem_free(a->choices[i].logprobs);
    }
    mem_free(a->choices);
    generation_taken_finish(&a->taken, a->g);
    generation_destroy(a->g);
    api_request_finish(&a->request);
    buf_finish(&a->out);
    mem_free(a);
}

/* The engine need not go on. */
static void stop_engine(struct answer *a)
{
    atomic_store(&a->g->cancelled, true);
    worker_wake(a->list->worker);
}

static void client_left(void *argument)
{
    struct answer *a = argument;
    a->x = NULL;
    stop_engine(a);
}

/* Ends the exchange with an error, in the answer's own form. */
static void fail(struct answer *a, const struct error *why)
{
    struct api_error error = {0};
    api_error_from(&error, why, NULL);
    error.retry_s = a->g->retry_s;
    error.is_final = error.is_final || (why->code == ERROR_BUSY && a->g->retry_s == 0);
    buf_clear(&a->out);
    if (a->is_open) {
        if (api_stream_error(&error, &a->out, NULL)) {
            http_stream_write(a->x, buf_str(&a->out));
        }
        http_stream_end(a->x);
    } else {
        reply_error(a->x, &error);
    }
    a->x = NULL;
    stop_engine(a);
}

/* ---- streams ---- */

static void reader_is_back(void *argument)
{
    struct answer *a = argument;
    if (atomic_exchange(&a->g->paused, false)) {
        worker_wake(a->list->worker);
    }
}

static void write_events(struct answer *a)
{
    if (a->out.n > 0) {
        http_stream_write(a->x, buf_str(&a->out));
        buf_clear(&a->out);
        a->last_write_ns = clock_now_ns();
    }
    if (http_stream_pending(a->x) > SLOW_BYTES) {
        atomic_store(&a->g->paused, true);
    }
}

static void open_stream(struct answer *a)
{
    a->is_open = true;
    a->last_write_ns = clock_now_ns();
    http_on_drain(a->x, reader_is_back, a);
    http_sse_begin(a->x);
    write_events(a);
}

/* The text of the first event of a choice that tells its prompt's tokens. */
static bool echo_into_event(struct answer *a, uint32_t i, struct api_choice *part, struct error *e)
{
    struct answer_choice *c = &a->choices[i];
    struct echo echo = echo_of(a, i);
    if (!echo_text(&echo, &c->text, e) || !buf_append(&c->text, part->text, e)) {
        return false;
    }
    part->text = buf_str(&c->text);
    return true;
}

/* Events of what came of choice i. */
static bool append_events(struct answer *a, uint32_t i, struct error *e)
{
    const struct generation_output *o = &a->taken.outputs[i];
    struct answer_choice *c = &a->choices[i];
    struct api_choice part = {.index = i,
                              .text = buf_str(&o->text),
                              .logprobs = a->request.generation.logprobs,
                              .n_tokens = o->n_logprobs,
                              .filter = filter_of(a, i)};
    bool ends = o->end != CHOICE_RUNS && !c->ended;
    size_t n_echo = o->started ? n_to_echo(a, c) : 0;
    bool ok = n_echo == 0 || echo_into_event(a, i, &part, e);
    part.n_tokens += n_echo;
    struct api_token *tokens = NULL;
    if (ok && (part.text.n > 0 || part.n_tokens > 0)) {
        tokens = make_tokens(a, c, o->logprobs, o->n_logprobs, e);
        part.tokens = tokens;
        ok = tokens != NULL &&
             (a->is_chat ? api_chat_content_event(&a->head, &part, &a->out, e)
                         : api_completion_event(&a->head, &part, !a->began, &a->out, e));
        a->began = true;
    }
    if (ok && ends) {
        struct api_choice last = {
            .index = i, .finish = finish_of(o->end), .filter = filter_of(a, i)};
        ok = a->is_chat ? api_chat_finish_event(&a->head, &last, &a->out, e)
                        : api_completion_event(&a->head, &last, !a->began, &a->out, e);
        a->began = true;
        c->ended = true;
    }
    mem_free(tokens);
    return ok;
}

/* The role of every choice comes first, in order. */
static bool append_roles(struct answer *a, struct error *e)
{
    bool ok = true;
    for (uint32_t i = 0; ok && i < generation_n_choices(a->g); i++) {
        ok = api_chat_role_event(&a->head, i, i == 0, &a->out, e);
    }
    return ok;
}

static bool all_ended(const struct answer *a)
{
    for (uint32_t i = 0; i < generation_n_choices(a->g); i++) {
        if (a->taken.outputs[i].end == CHOICE_RUNS) {
            return false;
        }
    }
    return true;
}

static bool stream_outputs(struct answer *a, struct error *e)
{
    for (uint32_t i = 0; i < generation_n_choices(a->g); i++) {
        if (!append_events(a, i, e)) {
            return false;
        }
    }
    bool ends = all_ended(a);
    if (ends && a->request.generation.include_usage) {
        struct api_usage usage = answer_usage(a);
        if (!api_usage_event(&a->head, a->is_chat, &usage, &a->out, e)) {
            return false;
        }
    }
    if (a->is_open) {
        write_events(a);
    }
    if (ends) {
        http_sse_done(a->x);
        a->x = NULL;
    }
    return true;
}

/* ---- whole answers ---- */

static bool keep_logprobs(struct answer_choice *c, const struct generation_output *o,
                          struct error *e)
{
    if (o->n_logprobs > c->max_logprobs - c->n_logprobs) {
        size_t room = 2 * (c->n_logprobs + o->n_logprobs);
        void *grown = mem_resize(c->logprobs, room, sizeof *c->logprobs, "logprobs", e);
        if (grown == NULL) {
            return false;
        }
        c->logprobs = grown;
        c->max_logprobs = room;
    }
    for (size_t i = 0; i < o->n_logprobs; i++) {
        c->logprobs[c->n_logprobs++] = o->logprobs[i];
        c->sum += o->logprobs[i].chosen.logprob;
    }
    return true;
}

/* Of the best_of choices of a prompt, those with the highest mean log probability: writes the n
 * numbers to best, likeliest first, equal ones in order. All of them stay as they were made. */
static void choose_best(const struct answer *a, uint32_t first, uint32_t n, uint32_t *best)
{
    uint32_t n_found = 0;
    for (uint32_t i = 0; i < n && n == a->g->n_per_prompt; i++) {
        best[n_found++] = first + i;
    }
    if (n_found == n) {
        return;
    }
    for (uint32_t i = first; i < first + a->g->n_per_prompt; i++) {
        uint32_t at = n_found < n ? n_found++ : n;
        for (; at > 0; at--) {
            const struct answer_choice *c = &a->choices[best[at - 1]];
            double mean = c->sum / (double)(c->n_logprobs > 0 ? c->n_logprobs : 1);
            const struct answer_choice *mine = &a->choices[i];
            double my_mean = mine->sum / (double)(mine->n_logprobs > 0 ? mine->n_logprobs : 1);
            if (!(my_mean > mean)) {
                break;
            }
            if (at < n) {
                best[at] = best[at - 1];
            }
        }
        if (at < n) {
            best[at] = i;
        }
    }
}

/* Prints the choices that are answered; tokens (choices) receives memory to free. */
static bool print_whole(struct answer *a, const uint32_t *chosen, uint32_t n,
                        struct api_choice *parts, struct api_token **tokens, struct error *e)
{
    bool wants = a->request.generation.logprobs;
    for (uint32_t i = 0; i < n; i++) {
        struct answer_choice *c = &a->choices[chosen[i]];
        size_t n_tokens = wants ? n_to_echo(a, c) + c->n_logprobs : 0;
        tokens[i] = wants ? make_tokens(a, c, c->logprobs, c->n_logprobs, e) : NULL;
        if (wants && tokens[i] == NULL) {
            return false;
        }
        parts[i] = (struct api_choice){.index = i,
                                       .text = buf_str(&c->text),
                                       .finish = finish_of(a->taken.outputs[chosen[i]].end),
                                       .logprobs = wants,
                                       .tokens = tokens[i],
                                       .n_tokens = n_tokens,
                                       .filter = filter_of(a, chosen[i])};
    }
    struct api_usage usage = answer_usage(a);
    return a->is_chat ? api_chat_print(&a->head, parts, n, &usage, &a->out, e)
                      : api_completion_print(&a->head, parts, n, &usage, &a->out, e);
}

static bool reply_whole(struct answer *a, struct error *e)
{
    uint32_t n = a->request.generation.n, n_all = n * a->g->n_prompts;
    struct api_choice *parts = mem_alloc(n_all, sizeof *parts, "choices of an answer", e);
    uint32_t *chosen = parts ? mem_alloc(n_all, sizeof *chosen, "choices of an answer", e) : NULL;
    struct api_token **tokens =
        chosen ? mem_alloc(n_all, sizeof(void *), "choices of an answer", e) : NULL;
    bool ok = tokens != NULL;
    for (uint32_t p = 0; ok && p < a->g->n_prompts; p++) {
        choose_best(a, p * a->g->n_per_prompt, n, chosen + p * n);
    }
    ok = ok && print_whole(a, chosen, n_all, parts, tokens, e);
    for (uint32_t i = 0; tokens != NULL && i < n_all; i++) {
        mem_free(tokens[i]);
    }
    mem_free(tokens);
    mem_free(chosen);
    mem_free(parts);
    if (ok) {
        http_reply(a->x, 200, "application/json", buf_str(&a->out));
        a->x = NULL;
    }
    return ok;
}

static bool collect_outputs(struct answer *a, struct error *e)
{
    for (uint32_t i = 0; i < generation_n_choices(a->g); i++) {
        const struct generation_output *o = &a->taken.outputs[i];
        if (!buf_append(&a->choices[i].text, buf_str(&o->text), e) ||
            !keep_logprobs(&a->choices[i], o, e)) {
            return false;
        }
    }
    return !all_ended(a) || reply_whole(a, e);
}

/* ---- the way of an answer ---- */

/* Passes on what was taken, and frees the answer when all is done. */
static void deliver_taken(struct answer *a)
{
    struct error e = {0};
    bool ok = true;
    if (a->x != NULL && a->taken.error.code != ERROR_NONE) {
        e = a->taken.error;
        ok = false;
    }
    if (a->x != NULL && ok && a->is_stream && !a->is_open && a->taken.accepted) {
        open_stream(a);
    }
    if (a->x != NULL && ok) {
        ok = a->is_stream ? stream_outputs(a, &e) : collect_outputs(a, &e);
    }
    if (a->x != NULL && ok && a->taken.done) {
        ok = error_set(&e, ERROR_INTERRUPTED, "the server is shutting down");
    }
    if (a->x != NULL && !ok) {
        fail(a, &e);
    }
    if (a->taken.done) {
        unlink_answer(a);
        destroy(a);
    }
}

static void deliver(void *argument)
{
    struct answer *a = argument;
    generation_take(a->g, &a->taken, NULL); /* cannot fail: prepare() was the first time */
    deliver_taken(a);
}

/* On the engine thread. */
static void outputs_wait(void *argument)
{
    struct answer *a = argument;
    http_server_post(a->list->server, &a->task);
}

static void set_head(struct answer *a)
{
    static uint64_t number;
    const char *kind = a->is_chat ? "chatcmpl" : "cmpl";
    snprintf(a->id, sizeof a->id, "%s-%llx%06llx", kind, (unsigned long long)clock_now_ns(),
             (unsigned long long)(++number & 0xFFFFFF));
    a->head = (struct api_head){.id = str_from(a->id),
                                .model = a->request.model,
                                .fingerprint = a->list->fingerprint,
                                .created_s = (int64_t)time(NULL),
                                .include_usage = a->request.generation.include_usage,
                                .tell_tier = a->request.generation.tell_tier,
                                .warnings = a->request.warnings,
                                .n_warnings = a->request.n_warnings,
                                .truncated = a->truncated.n_messages > 0 ? &a->truncated : NULL};
}

/* Tokens that cannot be chosen at first, or with ignore_eos never. */
static void hold_back_ends(struct answer *a, struct sampler_params *p)
{
    const struct api_generation *r = &a->request.generation;
    size_t n = a->list->n_ends;
    memcpy(a->ends, a->list->ends, n * sizeof *a->ends);
    for (size_t i = 0; !r->ignore_eos && i < r->n_stop_ids; i++) {
        a->ends[n++] = r->stop_ids[i];
    }
    p->ends = a->ends;
    p->n_ends = n;
    p->min_tokens = r->ignore_eos ? UINT32_MAX : r->min_tokens;
}

/* The rules borrow from a->request, which stays where it is. */
static void set_rules(struct answer *a, uint32_t max_tokens)
{
    const struct api_generation *r = &a->request.generation;
    struct generation *g = a->g;
    g->rules = (struct choice_rules){.tokenizer = a->list->tokenizer,
                                     .stops = r->stop,
                                     .n_stops = r->n_stop,
                                     .stop_ids = r->stop_ids,
                                     .n_stop_ids = r->n_stop_ids,
                                     .guard = a->list->guard,
                                     .max_tokens = max_tokens,
                                     .min_tokens = r->min_tokens,
                                     .ignore_eos = r->ignore_eos,
                                     .logprobs = r->logprobs || r->best_of > r->n,
                                     .tells_end = !a->is_chat,
                                     .n_top = r->logprobs ? r->top_logprobs : 0};
    g->rows = r->echo && r->logprobs ? ENGINE_LOGITS : ENGINE_NO_ROWS;
    g->sampling = r->sampler;
    g->sampling.answer_only = true;
    g->priority = r->priority;
    g->notify = outputs_wait;
    g->notify_argument = a;
    hold_back_ends(a, &g->sampling);
}

static bool prepare(struct answer *a, uint32_t max_tokens, struct error *e)
{
    uint32_t n = generation_n_choices(a->g);
    buf_init(&a->out, ANSWER_MAX_BYTES);
    a->choices = mem_alloc(n, sizeof *a->choices, "choices of an answer", e);
    for (uint32_t i = 0; a->choices != NULL && i < n; i++) {
        buf_init(&a->choices[i].text, ANSWER_MAX_BYTES);
    }
    for (uint32_t i = 0; i < a->g->n_prompts; i++) {
        a->n_prompt += a->g->prompts[i].n;
    }
    a->task = (struct http_task){.run = deliver, .argument = a};
    set_rules(a, max_tokens);
    set_head(a);
    bool tells_later = a->is_stream && a->g->rows == ENGINE_LOGITS; /* with what is said of them */
    return a->choices != NULL && generation_take(a->g, &a->taken, e) &&
           (!a->is_stream || !a->is_chat || append_roles(a, e)) &&
           (!a->request.generation.echo || tells_later || echo_prompts(a, e));
}

static void link_answer(struct answer *a)
{
    struct answer_list *list = a->list;
    a->next = list->first;
    a->link = &list->first;
    if (a->next != NULL) {
        a->next->link = &a->next;
    }
    list->first = a;
    list->n++;
}

/* max_tokens 0, and no log-probabilities of the prompt: there is nothing for the engine to do. */
static void end_at_once(struct answer *a)
{
    for (uint32_t i = 0; i < generation_n_choices(a->g); i++) {
        a->taken.outputs[i].end = CHOICE_LENGTH;
    }
    a->taken.done = true;
}

/* Comments keep a patient reader of a stream, however long it takes; who waits for the whole
 * answer, or has no patience, is served in time or not at all. */
static void set_patience(struct answer *a, double patience_s)
{
    bool is_kept = a->is_stream && patience_s >= ANSWER_PATIENCE_S;
    a->quiet_s = is_kept && patience_s / 2 < longest_quiet_s ? patience_s / 2 : longest_quiet_s;
    a->g->patience_s = is_kept ? 0.0 : patience_s;
}

bool answer_begin(struct answer_list *list, struct http_exchange *x, struct answer_job *job,
                  struct error *e)
{
    struct answer *a = mem_alloc(1, sizeof *a, "answer", e);
    if (a == NULL) {
        api_request_finish(&job->request);
        generation_destroy(job->g);
        job->g = NULL;
        return false;
    }
    *a = (struct answer){.list = list,
                         .x = x,
                         .request = job->request,
                         .g = job->g,
                         .truncated = job->truncated,
                         .is_chat = job->request.endpoint == API_CHAT,
                         .is_stream = job->request.generation.stream};
    job->request = (struct api_request){0};
    job->g = NULL;
    set_patience(a, job->patience_s);
    bool is_ready = prepare(a, job->max_tokens, e);
    bool computes = job->max_tokens > 0 || a->g->rows != ENGINE_NO_ROWS;
    if (!is_ready || (computes && !worker_submit(list->worker, a->g, e))) {
        job->retry_s = a->g->retry_s;
        destroy(a);
        return false;
    }
    link_answer(a);
    http_on_close(x, client_left, a);
    http_attach(x, a);
    if (!computes) {
        end_at_once(a);
    }
    if (a->is_stream && (!computes || a->g->patience_s <= 0.0)) {
        open_stream(a);
    }
    deliver_taken(a); /* an echo, and what needs no engine */
    return true;
}

static void tell_position(struct answer *a, double quiet_s)
{
    const struct generation *g = a->g;
    bool is_news = g->position > 0 && g->position != a->told_position;
    char line[64];
    if (quiet_s < (is_news ? shortest_quiet_s : a->quiet_s)) {
        return;
    }
    if (g->position > 0) {
        snprintf(line, sizeof line, "queued position=%u eta_s=%.0f", g->position, ceil(g->turn_s));
    } else {
        snprintf(line, sizeof line, "keep-alive");
    }
    http_sse_comment(a->x, str_from(line));
    a->told_position = g->position;
    a->last_write_ns = clock_now_ns();
}

void answers_keep_alive(struct answer_list *list)
{
    for (struct answer *a = list->first; a != NULL; a = a->next) {
        a->g->position = 0;
    }
    if (list->first != NULL) {
        worker_rank(list->worker);
    }
    for (struct answer *a = list->first; a != NULL; a = a->next) {
        if (a->x != NULL && a->is_open) {
            tell_position(a, clock_seconds_since(a->last_write_ns));
        }
    }
}

void answers_end(struct answer_list *list)
{
    const struct error why = {ERROR_INTERRUPTED, "the server is shutting down"};
    for (struct answer *a = list->first; a != NULL; a = a->next) {
        if (a->x != NULL) {
            fail(a, &why);
        }
    }
}

void answers_finish(struct answer_list *list)
{
    while (list->first != NULL) {
        struct answer *a = list->first;
        http_server_unpost(list->server, &a->task);
        if (a->x != NULL) {
            http_on_close(a->x, NULL, NULL);
            http_on_drain(a->x, NULL, NULL);
            http_attach(a->x, NULL);
        }
        unlink_answer(a);
        destroy(a);
    }
}
