/* ledger.h - what requests used goes to the store (store_usage.h), a row each, before whoever asked
 * is told the end of the answer: what a client knows of is in the file, whatever happens to this
 * program.
 *
 * An entry is a row to be. It is made when its request begins, so that its end cannot fail for lack
 * of memory, filled in at the end and handed over. One thread writes all that wait in one
 * transaction. What cannot be written stays in memory, and the thread tries again, with the file
 * opened anew, until it can: no row is lost while the process lives.
 * Owner/threads: all functions belong to the I/O thread; callbacks come there, from the loop. */
#ifndef SERVE_LEDGER_H
#define SERVE_LEDGER_H

#include "serve/api_error.h"
#include "serve/http.h"
#include "store/store_usage.h"

struct ledger;

/* What is done while rows cannot be written. */
enum ledger_policy {
    LEDGER_REFUSES, /* new requests are refused; ends wait for so long, and become errors then */
    LEDGER_SERVES   /* ends are told although their rows are in memory alone */
};

enum { LEDGER_PATIENCE_MS = 10000, LEDGER_MAX_ROWS = 1 << 20 };

struct ledger_options {
    const char *path; /* of the file, which is made when there is a row for it */
    struct http_server *server;
    enum ledger_policy policy;
    uint32_t patience_ms; /* that an end waits; tries are made each tenth of it, and take half */
    size_t max_rows;      /* begun and waiting; beyond it new requests are refused */
    /* A line about what cannot be written and why, once, and when it can again. Any thread. */
    void (*note)(const char *text);
};

/* *options is copied, path must outlive it. Starts the thread. ERROR_MEMORY. */
struct ledger *ledger_create(const struct ledger_options *options, struct error *e);

/* Writes what waits, and gives up after patience_ms, with a note; calls nobody back. Before the
 * server's end, and after that of everybody who has an entry. Takes NULL. */
void ledger_destroy(struct ledger *l);

/* error NULL: the end may be told; else it is what to tell in its place. */
typedef void ledger_told_fn(void *argument, const struct api_error *error);

struct ledger_entry {
    struct store_use use; /* numbers and status are the owner's until ledger_put() */
    /* private */
    struct ledger_entry *next;
    ledger_told_fn *told; /* the I/O thread's alone, as is its argument; NULL: nobody waits */
    void *argument;
    uint64_t put_ns;
    int told_status; /* what was told in place of use.status; 0: nothing else */
    bool is_written; /* its row is in the file, as whoever waits will be told */
};

/* Texts of *use are copied, began_ms is now. NULL with *error, a 503, when requests are refused or
 * there is no memory. */
struct ledger_entry *ledger_begin(struct ledger *l, const struct store_use *use,
                                  struct api_error *error);

/* It becomes no row. Takes NULL. */
void ledger_drop(struct ledger *l, struct ledger_entry *entry);

/* Hands it over; ended_ms is now. True when nobody needs to wait (told is not called then): told is
 * NULL, or the row cannot be written and that is no reason to wait. The status of a row that was
 * waited for in vain becomes that of the error. */
bool ledger_put(struct ledger *l, struct ledger_entry *entry, ledger_told_fn *told, void *argument);

/* Tells who waits for it at once what he would be told at the end of his patience. */
void ledger_hurry(struct ledger *l, struct ledger_entry *entry);

/* Who waits for it does not any more. */
void ledger_forget(struct ledger *l, struct ledger_entry *entry);

struct ledger_status {
    uint64_t n_written, n_failures; /* rows; tries that failed */
    size_t n_waiting;               /* rows that are in memory alone */
    bool is_failing;                /* since the last try */
};
void ledger_status(struct ledger *l, struct ledger_status *out);

#endif
