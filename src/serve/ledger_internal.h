/* ledger_internal.h - what both threads of the ledger share. */
#ifndef SERVE_LEDGER_INTERNAL_H
#define SERVE_LEDGER_INTERNAL_H

#include "serve/ledger.h"

#include <pthread.h>

enum { LEDGER_BATCH = 1024 }; /* rows of a transaction */

struct ledger_queue {
    struct ledger_entry *first, **last;
};

struct ledger {
    struct ledger_options options;
    pthread_t thread;
    bool has_thread;
    /* the I/O thread's */
    size_t n_entries; /* that are not freed */
    size_t n_told;    /* of them: those that somebody waits for */
    struct http_timer *timer;
    bool is_ticking;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct ledger_queue waiting; /* in the order of their ends; the writer alone takes them off */
    struct ledger_queue written; /* to be told and freed */
    struct ledger_status status;
    uint64_t stop_ns;      /* clock_now_ns() when the end is; 0: it goes on */
    struct http_task task; /* something was written, or cannot be */

    /* the writer's */
    struct store *store;                        /* NULL: to be opened */
    struct store_stamp place;                   /* of the file that is open */
    const struct store_use *rows[LEDGER_BATCH]; /* of the batch in hand */
    char why[ERROR_TEXT_BYTES]; /* it last failed, as it was noted; "": it did not */
};

static inline void ledger_queue_init(struct ledger_queue *q)
{
    q->first = NULL;
    q->last = &q->first;
}

static inline void ledger_queue_add(struct ledger_queue *q, struct ledger_entry *entry)
{
    entry->next = NULL;
    *q->last = entry;
    q->last = &entry->next;
}

/* NULL when there is none. */
static inline struct ledger_entry *ledger_queue_take(struct ledger_queue *q)
{
    struct ledger_entry *entry = q->first;
    if (entry != NULL) {
        q->first = entry->next;
        q->last = q->first != NULL ? q->last : &q->first;
    }
    return entry;
}

/* The thread that writes. ledger_writer.c */
void *ledger_write(void *ledger);

#endif
