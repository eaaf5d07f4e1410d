/* background.h - what takes too long for the I/O thread: a thread of its own, which does one job
 * after the other while the I/O thread goes on talking to clients (as libuv's uv_queue_work does).
 * Owners of jobs take turns: who has many waits for himself.
 *
 * Belongs to the I/O thread, but for background_job.work. A job lies in the owner's memory, zeroed
 * but for its first four members, from background_begin() until `done`. */
#ifndef SERVE_BACKGROUND_H
#define SERVE_BACKGROUND_H

#include "serve/http.h"

struct background;

struct background_job {
    /* On the thread; not called if nobody waits any more when its turn comes. */
    void (*work)(void *argument);
    /* On the I/O thread, once, to answer x and to free: x is NULL where the client has left, or was
     * told that the server ends, and `work` may not have been called then. */
    void (*done)(void *argument, struct http_exchange *x);
    void *argument;
    uint64_t whose;            /* of whom it is; any number */
    _Atomic bool is_cancelled; /* nobody waits any more: for work of many steps to look at */

    /* private */
    struct background *owner;
    struct background_job *next; /* of all, in order of arrival; the I/O thread's */
    struct background_job *behind;
    uint64_t turn;
    struct http_exchange *x;
    struct http_task task;
};

struct background_limits {
    const char *what; /* "reports of usage are being made", for who is refused */
    size_t jobs;      /* at once */
    size_t of_one;    /* of them of one owner */
};

/* limits->what and the server must outlive it. Starts the thread. ERROR_MEMORY. */
struct background *background_create(struct http_server *server,
                                     const struct background_limits *limits, struct error *e);

/* Has the job done, and x with it. False with *error, a 429 that says when the others may be done:
 * job and x are still the caller's. */
bool background_begin(struct background *b, struct background_job *job, struct http_exchange *x,
                      struct api_error *error);

/* Jobs that are not done yet. */
size_t background_n_jobs(const struct background *b);

/* Tells all clients that the server is shutting down. Takes NULL. */
void background_end(struct background *b);

/* Before the server's end. Waits for the one job that is being worked on, to its end where it does
 * not look at is_cancelled; all are `done` then, without an exchange. Takes NULL. */
void background_destroy(struct background *b);

#endif
