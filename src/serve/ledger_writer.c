/* ledger_writer.c - the thread that writes rows: all that wait in one transaction, and what failed
 * again and again. */
#include "serve/ledger_internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <time.h>

enum {
    TRIES = 3, /* of a file that does not stay where it is */
    /* Others come to read and write the file, too: reports, a second server. */
    BUSY_MS = 100,
    TURN_MS = 5
};

/* --- the file */

/* A name may come to stand for another file, or none, while this thread writes to the old one,
 * which nobody will read. */
static bool is_in_place(const struct ledger *l)
{
    struct store_stamp now;
    return store_look(l->options.path, &now, NULL) && now.inode != 0 &&
           now.device == l->place.device && now.inode == l->place.inode;
}

static bool fail_to_stay(const struct ledger *l, struct error *e)
{
    return error_set(e, ERROR_IO, "%s: is moved or removed again and again", l->options.path);
}

static void close_file(struct ledger *l)
{
    store_close(l->store);
    l->store = NULL;
}

/* What stands there before it is opened and after is what was opened: else another may have taken
 * its place in between, or it was made, and it is opened once more. */
static bool open_file(struct ledger *l, struct error *e)
{
    const struct store_options options = {.schema = &store_usage_schema,
                                          .path = l->options.path,
                                          .creates = true,
                                          .patience_ms = l->options.patience_ms / 2};
    for (int i = 0; i < TRIES; i++) {
        l->store = store_look(l->options.path, &l->place, e) ? store_open(&options, e) : NULL;
        if (l->store == NULL || is_in_place(l)) {
            return l->store != NULL;
        }
        close_file(l);
    }
    return fail_to_stay(l, e);
}

static void note(const struct ledger *l, const char *text)
{
    char line[ERROR_TEXT_BYTES + 160];
    snprintf(line, sizeof line, "%s: %s", l->options.path, text);
    l->options.note(line);
}

/* Writing a row twice makes one row: so what may have gone to a file that is not there any more is
 * written to the one that is. */
static bool write_rows(struct ledger *l, size_t n, struct error *e)
{
    for (int i = 0; i < TRIES; i++) {
        if (l->store != NULL && !is_in_place(l)) {
            note(l, "was moved or removed; usage goes to a new file of that name");
            close_file(l);
        }
        if ((l->store == NULL && !open_file(l, e)) || !store_usage_add(l->store, l->rows, n, e)) {
            close_file(l);
            return false;
        }
        if (is_in_place(l)) {
            return true;
        }
    }
    return fail_to_stay(l, e);
}

/* --- what came of it */

/* The same trouble is noted once. */
static void note_failure(struct ledger *l, const struct error *e)
{
    char line[ERROR_TEXT_BYTES + 160];
    if (strcmp(l->why, e->text) == 0) {
        return;
    }
    snprintf(l->why, sizeof l->why, "%s", e->text);
    snprintf(line, sizeof line, "%s; until usage can be written, %s", e->text,
             l->options.policy == LEDGER_REFUSES ? "requests are refused"
                                                 : "it is kept in memory alone");
    l->options.note(line);
}

static void note_recovery(struct ledger *l)
{
    if (l->why[0] != '\0') {
        l->why[0] = '\0';
        note(l, "usage is written again");
    }
}

/* With the lock held, all. What was told since the last try goes into the rows of this one. */
static size_t take_batch(struct ledger *l)
{
    size_t n = 0;
    for (struct ledger_entry *x = l->waiting.first; x != NULL && n < LEDGER_BATCH; x = x->next) {
        x->use.status = x->told_status != 0 ? x->told_status : x->use.status;
        l->rows[n++] = &x->use;
    }
    return n;
}

/* Whoever was told an error while his row was written has to have it there: it waits once more. */
static void end_row(struct ledger *l)
{
    struct ledger_entry *x = ledger_queue_take(&l->waiting);
    if (x->told_status != 0 && x->told_status != x->use.status) {
        x->put_ns = clock_now_ns();
        ledger_queue_add(&l->waiting, x);
    } else {
        x->is_written = true;
        ledger_queue_add(&l->written, x);
        l->status.n_written++;
        l->status.n_waiting--;
    }
}

static void end_batch(struct ledger *l, size_t n, bool ok)
{
    for (size_t i = 0; ok && i < n; i++) {
        end_row(l);
    }
    l->status.is_failing = !ok;
    l->status.n_failures += !ok;
    http_server_post(l->options.server, &l->task);
}

/* --- the loop */

/* Until the next try, or the end comes. With the lock held. */
static void pause_writing(struct ledger *l)
{
    uint64_t until_ns = clock_now_ns() + (uint64_t)l->options.patience_ms * 100000u;
    bool was_stopping = l->stop_ns != 0;
    struct timespec until = {(time_t)(until_ns / 1000000000u), (long)(until_ns % 1000000000u)};
    while (clock_now_ns() < until_ns && was_stopping == (l->stop_ns != 0)) {
        pthread_cond_timedwait(&l->changed, &l->lock, &until);
    }
}

/* Rows that come without end leave the file to others from time to time. With the lock held. */
static void give_turn(struct ledger *l, uint64_t *rested_ns)
{
    const struct timespec turn = {0, TURN_MS * 1000000};
    if (l->waiting.first != NULL && clock_now_ns() - *rested_ns >= BUSY_MS * UINT64_C(1000000)) {
        pthread_mutex_unlock(&l->lock);
        nanosleep(&turn, NULL);
        pthread_mutex_lock(&l->lock);
        *rested_ns = clock_now_ns();
    }
}

static bool goes_on(const struct ledger *l)
{
    uint64_t patience_ns = (uint64_t)l->options.patience_ms * 1000000u;
    return l->stop_ns == 0 ||
           (l->waiting.first != NULL && clock_now_ns() - l->stop_ns < patience_ns);
}

void *ledger_write(void *ledger)
{
    struct ledger *l = ledger;
    uint64_t rested_ns = clock_now_ns();
    pthread_mutex_lock(&l->lock);
    while (goes_on(l)) {
        if (l->waiting.first == NULL) {
            pthread_cond_wait(&l->changed, &l->lock);
            rested_ns = clock_now_ns();
            continue;
        }
        struct error e = {0};
        size_t n = take_batch(l);
        pthread_mutex_unlock(&l->lock);
        bool ok = write_rows(l, n, &e);
        pthread_mutex_lock(&l->lock);
        end_batch(l, n, ok);
        pthread_mutex_unlock(&l->lock);
        ok ? note_recovery(l) : note_failure(l, &e); /* it is so by now */
        pthread_mutex_lock(&l->lock);
        if (ok) {
            give_turn(l, &rested_ns);
        } else {
            pause_writing(l);
        }
    }
    pthread_mutex_unlock(&l->lock);
    close_file(l);
    return NULL;
}
