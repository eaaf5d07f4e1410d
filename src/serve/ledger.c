/* ledger.c - entries on the I/O thread: their beginning, and who is told of their end. */
#include "serve/ledger_internal.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <time.h>

enum { RETRY_S = 2 };

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static uint64_t patience_ns(const struct ledger *l)
{
    return (uint64_t)l->options.patience_ms * 1000000u;
}

static bool refuse(struct api_error *error)
{
    api_error_set(error, API_ERROR_LEDGER, NULL,
                  "the ledger of usage cannot be written, so the request is refused");
    error->retry_s = RETRY_S;
    return false;
}

static void free_entry(struct ledger *l, struct ledger_entry *entry)
{
    l->n_entries--;
    mem_free(entry);
}

/* --- telling */

static void tell(struct ledger *l, struct ledger_entry *entry, const struct api_error *error)
{
    ledger_told_fn *told = entry->told;
    ledger_forget(l, entry);
    if (told != NULL) {
        told(entry->argument, error);
    }
}

/* The first whose row is not written and who need not, or will not, wait any longer. */
static struct ledger_entry *find_due(struct ledger *l)
{
    uint64_t now = clock_now_ns();
    pthread_mutex_lock(&l->lock);
    struct ledger_entry *x = l->waiting.first;
    bool at_once = l->options.policy == LEDGER_SERVES && l->status.is_failing;
    while (x != NULL && (x->told == NULL || (!at_once && now - x->put_ns < patience_ns(l)))) {
        x = x->next;
    }
    pthread_mutex_unlock(&l->lock);
    return x;
}

void ledger_hurry(struct ledger *l, struct ledger_entry *entry)
{
    struct api_error error = {0};
    bool serves = l->options.policy == LEDGER_SERVES || refuse(&error);
    pthread_mutex_lock(&l->lock);
    serves = serves || entry->is_written;
    entry->told_status = serves ? 0 : api_error_meaning(error.kind)->http_status;
    pthread_mutex_unlock(&l->lock);
    tell(l, entry, serves ? NULL : &error);
}

/* An entry that was found stays: only this thread frees. Where nobody waits none is looked for:
 * rows that are in memory alone may be many. */
static void tell_due(struct ledger *l)
{
    struct ledger_entry *x;
    while (l->n_told > 0 && (x = find_due(l)) != NULL) {
        ledger_hurry(l, x);
    }
}

static void tell_written(void *ledger)
{
    struct ledger *l = ledger;
    struct ledger_entry *x;
    do {
        pthread_mutex_lock(&l->lock);
        x = ledger_queue_take(&l->written);
        pthread_mutex_unlock(&l->lock);
        if (x != NULL) {
            tell(l, x, NULL);
            free_entry(l, x);
        }
    } while (x != NULL);
    tell_due(l);
}

static void start_timer(struct ledger *l)
{
    http_timer_start(l->timer, l->options.patience_ms / 10 + 1);
    l->is_ticking = true;
}

static void tick(void *ledger)
{
    struct ledger *l = ledger;
    struct ledger_status status;
    l->is_ticking = false;
    tell_due(l);
    ledger_status(l, &status);
    if (status.n_waiting > 0) {
        start_timer(l);
    }
}

/* --- entries */

/* A disk that hangs does not say that it fails. */
static bool is_stuck(struct ledger *l)
{
    pthread_mutex_lock(&l->lock);
    bool is_late =
        l->waiting.first != NULL && clock_now_ns() - l->waiting.first->put_ns >= patience_ns(l);
    bool is_failing = l->status.is_failing;
    pthread_mutex_unlock(&l->lock);
    return is_failing || is_late;
}

static struct str copy_text(char **at, struct str text)
{
    struct str copy = {*at, text.n};
    if (text.n > 0) {
        memcpy(*at, text.p, text.n);
    }
    *at += text.n;
    return copy;
}

struct ledger_entry *ledger_begin(struct ledger *l, const struct store_use *use,
                                  struct api_error *error)
{
    if ((l->options.policy == LEDGER_REFUSES && is_stuck(l)) ||
        l->n_entries >= l->options.max_rows) {
        refuse(error);
        return NULL;
    }
    size_t n = use->id.n + use->key.n + use->minutes.n + use->model.n + use->endpoint.n;
    struct ledger_entry *entry = mem_alloc(1, sizeof *entry + n, "usage of a request", NULL);
    if (entry == NULL) {
        api_error_set(error, API_ERROR_OVERLOADED, NULL, "no memory for another request");
        return NULL;
    }
    char *at = (char *)(entry + 1);
    entry->use = (struct store_use){.id = copy_text(&at, use->id),
                                    .key = copy_text(&at, use->key),
                                    .minutes = copy_text(&at, use->minutes),
                                    .model = copy_text(&at, use->model),
                                    .endpoint = copy_text(&at, use->endpoint),
                                    .began_ms = now_ms()};
    l->n_entries++;
    return entry;
}

void ledger_drop(struct ledger *l, struct ledger_entry *entry)
{
    if (entry != NULL) {
        free_entry(l, entry);
    }
}

bool ledger_put(struct ledger *l, struct ledger_entry *entry, ledger_told_fn *told, void *argument)
{
    entry->use.ended_ms = now_ms();
    entry->put_ns = clock_now_ns();
    pthread_mutex_lock(&l->lock);
    bool waits = told != NULL && (l->options.policy == LEDGER_REFUSES || !l->status.is_failing);
    entry->told = waits ? told : NULL;
    l->n_told += waits;
    entry->argument = argument;
    ledger_queue_add(&l->waiting, entry);
    l->status.n_waiting++;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
    if (waits && !l->is_ticking) {
        start_timer(l);
    }
    return !waits;
}

void ledger_forget(struct ledger *l, struct ledger_entry *entry)
{
    l->n_told -= entry->told != NULL;
    entry->told = NULL;
}

void ledger_status(struct ledger *l, struct ledger_status *out)
{
    pthread_mutex_lock(&l->lock);
    *out = l->status;
    pthread_mutex_unlock(&l->lock);
}

/* --- life */

struct ledger *ledger_create(const struct ledger_options *options, struct error *e)
{
    struct ledger *l = mem_alloc(1, sizeof *l, "ledger of usage", e);
    if (l == NULL) {
        return NULL;
    }
    l->options = *options;
    l->task = (struct http_task){.run = tell_written, .argument = l};
    ledger_queue_init(&l->waiting);
    ledger_queue_init(&l->written);
    pthread_mutex_init(&l->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&l->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    l->timer = http_timer_create(options->server, tick, l, e);
    int failed = l->timer != NULL ? pthread_create(&l->thread, NULL, ledger_write, l) : 0;
    l->has_thread = l->timer != NULL && failed == 0;
    if (!l->has_thread) {
        if (failed != 0) {
            error_set(e, ERROR_MEMORY, "no thread for the ledger of usage (error %d)", failed);
        }
        ledger_destroy(l);
        return NULL;
    }
    return l;
}

static void free_all(struct ledger *l, struct ledger_queue *q)
{
    struct ledger_entry *x;
    while ((x = ledger_queue_take(q)) != NULL) {
        free_entry(l, x);
    }
}

static void stop_writer(struct ledger *l)
{
    char line[ERROR_TEXT_BYTES];
    pthread_mutex_lock(&l->lock);
    l->stop_ns = clock_now_ns();
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    if (l->waiting.first != NULL) {
        snprintf(line, sizeof line, "%s: usage of %zu request%s could not be written",
                 l->options.path, l->status.n_waiting, l->status.n_waiting > 1 ? "s" : "");
        l->options.note(line);
    }
}

void ledger_destroy(struct ledger *l)
{
    if (l == NULL) {
        return;
    }
    if (l->has_thread) {
        stop_writer(l);
    }
    http_server_unpost(l->options.server, &l->task);
    http_timer_destroy(l->timer);
    free_all(l, &l->waiting);
    free_all(l, &l->written);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    mem_free(l);
}
