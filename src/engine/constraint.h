/* constraint.h - a sequence whose answer a grammar writes with (schema/grammar.h): where the text
 * is, and which tokens may come next.
 *
 * The mask of the next tokens is known as soon as a token is fed. Those of all sequences of a step
 * are made by a thread of their own while the forward pass runs, so that sampling waits for none;
 * only a guess that came true, behind which a token is sampled at once, has its mask made there.
 * Owner/threads: the engine's thread; between constraints_begin and constraints_end the thread of
 * struct constraints owns what it was given. */
#ifndef ENGINE_CONSTRAINT_H
#define ENGINE_CONSTRAINT_H

#include "schema/matcher.h"

#include <pthread.h>

struct constraint {
    struct automaton *automaton; /* NULL: there is none */
    struct matcher matcher;
    uint64_t *mask;     /* (automaton_trie()->n_words) */
    bool has_mask;      /* it is that of the matcher's place */
    struct error error; /* why it could not be made */
};

/* What c, zeroed or set before, is from now on; a must outlive it, and knows where it lies: it is
 * not moved. ERROR_MEMORY: c is as before. */
bool constraint_set(struct constraint *c, struct automaton *a, struct error *e);
void constraint_finish(struct constraint *c);

/* A token of the answer was fed. Errors as matcher_take. */
bool constraint_take(struct constraint *c, uint32_t token, struct error *e);

/* Makes the mask, if it is not there; false with c->error set. */
bool constraint_make_mask(struct constraint *c);

/* The thread that makes masks. */
struct constraints {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct constraint **list; /* (most) n of them are to be done */
    uint32_t n, n_done, most;
    bool is_running, ends;
};

/* For at most `most` at once. ERROR_MEMORY. On failure there is nothing to release. */
bool constraints_init(struct constraints *all, uint32_t most, struct error *e);
void constraints_finish(struct constraints *all);

/* Starts the thread, unless it runs; before the first constraints_begin with some. ERROR_IO. */
bool constraints_start(struct constraints *all, struct error *e);

/* Hands over what was put into all->list[0, n). */
void constraints_begin(struct constraints *all, uint32_t n);
/* Waits until all of it is done. */
void constraints_end(struct constraints *all);

#endif
