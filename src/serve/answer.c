/* answer.c - delivers what the engine thread has made. */
#include "serve/answer_internal.h"

#include "base/clock.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

enum { SLOW_BYTES = 64 << 10 };

/* Seconds of silence before a comment, unless the reader has less patience, and before one that
 * has something to say. */
static const double longest_quiet_s = 10.0, shortest_quiet_s = 0.9;

/* With echo the answer begins with its prompt. */
static bool echo_prompts(struct answer *a, struct error *e)
{
    for (uint32_t i = 0; i < generation_n_choices(a->g); i++) {
        struct echo echo = answer_echo_of(a, i);
        if (!echo_text(&echo, &a->taken.outputs[i].text, e)) {
            return false;
        }
    }
    return true;
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
    for (uint32_t i = 0; i < a->g->n_prompts; i++) {
        usage.neutralised_tokens += a->g->prompts[i].n_neutralised;
    }
    if (outputs[0].started) {
        usage.miss_reason = str_from(prefix_end_name(outputs[0].cache_end));
    }
    return usage;
}

static struct bill_sums sums_of(const struct answer *a)
{
    const struct generation_output *outputs = a->taken.outputs;
    struct api_usage usage = answer_usage(a);
    struct bill_sums sums = {.n_cached = usage.cached_tokens,
                             .n_completion = usage.completion_tokens};
    for (uint32_t i = 0; i < a->g->n_prompts; i++) {
        sums.n_prompt += outputs[(size_t)i * a->g->n_per_prompt].began ? a->g->prompts[i].n : 0;
    }
    for (uint32_t i = 0; i < generation_n_choices(a->g); i++) {
        sums.is_filtered = sums.is_filtered || outputs[i].end == CHOICE_FILTERED;
    }
    return sums;
}

void answer_dismiss(struct answer *a, struct auth_caller *caller)
{
    struct bill_sums sums = sums_of(a);
    bill_dismiss(&a->bill, caller, &sums, !a->taken.done && !answer_all_ended(a));
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
        answer_calls_finish(&a->choices[i]);
        mem_free(a->choices[i].logprobs);
    }
    mem_free(a->choices);
    mem_free(a->all_warnings);
    generation_taken_finish(&a->taken, a->g);
    generation_destroy(a->g);
    tool_set_finish(&a->tools);
    api_request_finish(&a->request);
    buf_finish(&a->out);
    mem_free(a);
}

/* The engine need not go on. What it has done until now is taken, as answer_usage() is asked
 * when the exchange ends. */
static void stop_engine(struct answer *a)
{
    if (!a->taken.done) {
        generation_take(a->g, &a->taken, NULL);
    }
    atomic_store(&a->g->cancelled, true);
    worker_wake(a->list->worker);
}

static void client_left(void *argument)
{
    struct answer *a = argument;
    a->x = NULL;
    bill_leave(&a->bill);
    stop_engine(a);
}

/* Ends the exchange with an error, in the answer's own form. */
static void tell_error(struct answer *a, const struct api_error *error)
{
    buf_clear(&a->out);
    if (a->is_open) {
        if (api_stream_error(error, &a->out, NULL)) {
            http_stream_write(a->x, buf_str(&a->out));
        }
        http_stream_end(a->x);
    } else {
        http_reply_error(a->x, error);
    }
    a->x = NULL;
}

static void fail(struct answer *a, const struct error *why)
{
    struct api_error error = {0};
    api_error_from(&error, why, NULL);
    error.retry_s = a->g->retry_s;
    error.is_final = error.is_final || (why->code == ERROR_BUSY && a->g->retry_s == 0);
    a->bill.status = api_error_meaning(error.kind)->http_status;
    stop_engine(a);
    tell_error(a, &error);
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
    struct echo echo = answer_echo_of(a, i);
    if (!echo_text(&echo, &c->text, e) || !buf_append(&c->text, part->text, e)) {
        return false;
    }
    part->text = buf_str(&c->text);
    return true;
}

/* An event with a span of choice i, where that has anything to tell. */
static bool append_span(struct answer *a, uint32_t i, const struct tool_span *span,
                        const struct api_choice *part, struct error *e)
{
    struct answer_choice *c = &a->choices[i];
    if (span->kind == TOOL_CONTENT) {
        return api_chat_content_event(&a->head, part, &a->out, e);
    }
    if (!answer_take_span(a, i, span, part->text, e)) {
        return false;
    }
    struct api_call call = {.arguments = part->text};
    if (span->kind == TOOL_CALL_NAME) {
        call = answer_call_of(c, span->call);
    }
    return span->kind == TOOL_CALL_END || span->kind == TOOL_CALL_FRAME ||
           api_chat_call_event(&a->head, part, span->call, &call, &a->out, e);
}

/* A chat's: of content and calls as they follow each other. The first event has the tokens. */
static bool append_spans(struct answer *a, uint32_t i, const struct api_choice *all,
                         struct error *e)
{
    const struct generation_output *o = &a->taken.outputs[i];
    struct api_choice part = *all;
    struct str rest = all->text;
    bool ok = true;
    if (o->n_spans == 0 || (part.n_tokens > 0 && o->spans[0].kind != TOOL_CONTENT)) {
        part.text.n = o->n_spans == 0 ? rest.n : 0;
        ok = api_chat_content_event(&a->head, &part, &a->out, e);
        part.logprobs = false;
    }
    for (size_t k = 0; ok && k < o->n_spans; k++) {
        part.text = (struct str){rest.p, o->spans[k].n_bytes};
        rest = str_skip(rest, part.text.n);
        ok = append_span(a, i, &o->spans[k], &part, e);
        part.logprobs = false;
    }
    return ok;
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
                              .filter = answer_filter_of(a, i),
                              .is_function_form = a->request.generation.is_function_form};
    bool ends = o->end != CHOICE_RUNS && !c->ended;
    size_t n_echo = o->started ? answer_n_to_echo(a, c) : 0;
    bool ok = n_echo == 0 || echo_into_event(a, i, &part, e);
    part.n_tokens += n_echo;
    struct api_token *tokens = NULL;
    if (ok && (part.text.n > 0 || part.n_tokens > 0 || o->n_spans > 0)) {
        tokens = answer_make_tokens(a, c, o->logprobs, o->n_logprobs, e);
        part.tokens = tokens;
        ok = tokens != NULL &&
             (a->is_chat ? append_spans(a, i, &part, e)
                         : api_completion_event(&a->head, &part, !a->began, &a->out, e));
        a->began = true;
    }
    if (ok && ends) {
        struct api_choice last = {.index = i,
                                  .finish = answer_finish_of(a, i),
                                  .filter = answer_filter_of(a, i),
                                  .warnings = c->warnings,
                                  .n_warnings = c->n_warnings};
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

static bool stream_outputs(struct answer *a, struct error *e)
{
    for (uint32_t i = 0; i < generation_n_choices(a->g); i++) {
        if (!append_events(a, i, e)) {
            return false;
        }
    }
    if (a->is_open) {
        write_events(a);
    }
    if (answer_all_ended(a) && a->request.generation.include_usage) {
        struct api_usage usage = answer_usage(a); /* told with the end */
        return api_usage_event(&a->head, a->is_chat, &usage, &a->out, e);
    }
    return true;
}

/* ---- the end is told when its row is written ---- */

/* The usage of a stream, or the whole answer, lies in a->out. */
static void tell_end(struct answer *a)
{
    if (a->is_stream) {
        write_events(a);
        http_sse_done(a->x);
    } else {
        http_reply(a->x, 200, "application/json", buf_str(&a->out));
    }
    a->x = NULL;
}

/* Frees it when both the engine and the ledger have let go of it. */
static void release(struct answer *a)
{
    if (a->taken.done && !a->bill.is_settling) {
        struct bill_sums sums = sums_of(a);
        bill_close(&a->bill, &sums, a->taken.outputs[0].began);
        unlink_answer(a);
        http_server_unpost(a->list->server, &a->task); /* of what stop_engine() has taken */
        destroy(a);
    }
}

/* The row is in the file, or will not be in time. */
static void settled(void *argument, const struct api_error *error)
{
    struct answer *a = argument;
    bill_settled(&a->bill);
    if (a->x != NULL && error == NULL) {
        tell_end(a);
    } else if (a->x != NULL) {
        tell_error(a, error);
    }
    release(a);
}

/* All of it is there: its end is told when its row is written. */
static void settle(struct answer *a)
{
    struct bill_sums sums = sums_of(a);
    if (bill_settle(&a->bill, &sums, settled, a)) {
        tell_end(a);
    }
}

/* ---- the way of an answer ---- */

/* Passes on what was taken; all_ended: it is complete. */
static bool pass_on(struct answer *a, bool all_ended, struct error *e)
{
    if (a->taken.error.code != ERROR_NONE) {
        *e = a->taken.error;
        return false;
    }
    if (a->is_stream && !a->is_open && a->taken.accepted) {
        open_stream(a);
    }
    return (a->is_stream ? stream_outputs(a, e) : answer_collect(a, e)) &&
           (all_ended || !a->taken.done ||
            error_set(e, ERROR_INTERRUPTED, "the server is shutting down"));
}

static void deliver_taken(struct answer *a)
{
    struct error e = {0};
    bool all_ended = answer_all_ended(a);
    if (a->x != NULL && !a->bill.is_settling) {
        if (!pass_on(a, all_ended, &e)) {
            fail(a, &e);
        } else if (all_ended) {
            settle(a);
        }
    }
    release(a);
}

static void deliver(void *argument)
{
    struct answer *a = argument;
    generation_take(a->g, &a->taken, NULL); /* cannot fail: prepare() was the first time */
    deliver_taken(a);
}

/* On any thread. */
static void outputs_wait(void *argument)
{
    struct answer *a = argument;
    http_server_post(a->list->server, &a->task);
}

static void set_head(struct answer *a)
{
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

/* Calls of a whole answer may wait for what follows them; those of a stream leave as they come, and
 * functions have no ids to carry anything. */
static enum tool_framing framing_of(const struct answer *a)
{
    bool keeps = a->list->keeps_calls && !a->request.generation.is_function_form;
    return !keeps ? TOOL_FRAMES_NONE : a->is_stream ? TOOL_FRAMES_ODD : TOOL_FRAMES_ALL;
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
                                     .tools = r->callable != NULL ? &a->tools : NULL,
                                     .tool_format = a->list->tool_format,
                                     .framing = framing_of(a),
                                     .one_call = r->one_call,
                                     .max_tokens = max_tokens,
                                     .min_tokens = r->min_tokens,
                                     .has_grammar = g->grammar != NULL,
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
    size_t max_bytes = a->is_stream ? ANSWER_MAX_DELIVERY : a->list->max_bytes;
    buf_init(&a->out, max_bytes);
    a->choices = mem_alloc(n, sizeof *a->choices, "choices of an answer", e);
    for (uint32_t i = 0; a->choices != NULL && i < n; i++) {
        buf_init(&a->choices[i].text, max_bytes);
        buf_init(&a->choices[i].called, max_bytes);
        buf_init(&a->choices[i].frame, TOOL_FRAME_BYTES);
    }
    for (uint32_t i = 0; i < a->g->n_prompts; i++) {
        a->n_prompt += a->g->prompts[i].n;
    }
    a->task = (struct http_task){.run = deliver, .argument = a};
    set_rules(a, max_tokens);
    set_head(a);
    bool tells_later = a->is_stream && a->g->rows == ENGINE_LOGITS; /* with what is said of them */
    return a->choices != NULL && generation_take(a->g, &a->taken, e) &&
           tool_set_init(&a->tools, a->is_chat ? a->request.generation.callable : NULL, e) &&
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
        a->taken.outputs[i].began = true; /* as far as it has to */
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
        ledger_drop(list->ledger, job->entry);
        job->g = NULL;
        job->entry = NULL;
        return false;
    }
    *a = (struct answer){.list = list,
                         .x = x,
                         .request = job->request,
                         .g = job->g,
                         .bill = {.ledger = list->ledger, .entry = job->entry},
                         .truncated = job->truncated,
                         .is_chat = job->request.endpoint == API_CHAT,
                         .is_stream = job->request.generation.stream};
    memcpy(a->id, job->id, sizeof a->id);
    job->request = (struct api_request){0};
    job->g = NULL;
    job->entry = NULL;
    set_patience(a, job->patience_s);
    bool is_ready = prepare(a, job->max_tokens, e);
    bool computes = job->max_tokens > 0 || a->g->rows != ENGINE_NO_ROWS;
    if (!is_ready || (computes && !worker_submit(list->worker, a->g, e))) {
        job->retry_s = a->g->retry_s;
        ledger_drop(list->ledger, a->bill.entry);
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

void answers_end(struct answer_list *list, bool only_begun, const struct error *why)
{
    struct answer *next;
    for (struct answer *a = list->first; a != NULL; a = next) {
        next = a->next; /* who is told may be gone */
        if (a->x != NULL && a->bill.is_settling && !only_begun) {
            ledger_hurry(list->ledger, a->bill.entry);
        } else if (a->x != NULL && !a->bill.is_settling &&
                   (!only_begun || worker_has_begun(list->worker, a->g))) {
            fail(a, why);
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
            bill_leave(&a->bill); /* its connection goes */
        }
        bill_forget(&a->bill);
        generation_take(a->g, &a->taken, NULL); /* of what nobody was told */
        a->taken.done = true;
        release(a);
    }
}
