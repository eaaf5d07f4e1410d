/* watch.h - who is told how a load goes, and may stop the storing behind it. Everything is called
 * on the thread that loads. */
#ifndef MODEL_WATCH_H
#define MODEL_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A function that is NULL is not called. */
struct model_watch {
    /* what: "loading", "checking" or "storing"; ends with bytes_done == bytes_total when nothing
     * fails */
    void (*progress)(void *argument, const char *what, uint64_t bytes_done, uint64_t bytes_total);
    /* One line, without its newline: something went wrong that costs time and nothing else. */
    void (*note)(void *argument, const char *text);
    void *argument;
    const _Atomic bool *stop; /* set by any thread: storing ends and leaves nothing; NULL: never */
};

static inline void model_watch_progress(const struct model_watch *w, const char *what,
                                        uint64_t bytes_done, uint64_t bytes_total)
{
    if (w->progress != NULL) {
        w->progress(w->argument, what, bytes_done, bytes_total);
    }
}

static inline bool model_watch_is_stopped(const struct model_watch *w)
{
    return w->stop != NULL && atomic_load(w->stop);
}

static inline void model_watch_note(const struct model_watch *w, const char *text)
{
    if (w->note != NULL) {
        w->note(w->argument, text);
    }
}

#endif
