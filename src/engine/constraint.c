/* constraint.c - masks of constrained sequences, beside the forward pass. */
#include "engine/constraint.h"

#include "base/mem.h"

#include <signal.h>
#include <string.h>

bool constraint_set(struct constraint *c, struct automaton *a, struct error *e)
{
    uint64_t *mask = mem_alloc(automaton_trie(a)->n_words, sizeof *mask, "mask of tokens", e);
    if (mask == NULL) {
        return false;
    }
    constraint_finish(c);
    c->automaton = a;
    c->mask = mask;
    matcher_init(&c->matcher, a);
    return true;
}

void constraint_finish(struct constraint *c)
{
    if (c->automaton != NULL) {
        matcher_finish(&c->matcher);
        mem_free(c->mask);
    }
    *c = (struct constraint){0};
}

bool constraint_take(struct constraint *c, uint32_t token, struct error *e)
{
    c->has_mask = false;
    return matcher_take(&c->matcher, token, e);
}

bool constraint_make_mask(struct constraint *c)
{
    if (!c->has_mask) {
        const uint64_t *mask = matcher_mask(&c->matcher, &c->error);
        if (mask == NULL) {
            return false;
        }
        memcpy(c->mask, mask, automaton_trie(c->automaton)->n_words * sizeof *mask);
        c->has_mask = true;
    }
    return true;
}

/* --- the thread */

static void *make_masks(void *argument)
{
    struct constraints *all = argument;
    pthread_mutex_lock(&all->lock);
    while (!all->ends) {
        while (all->n_done < all->n) {
            struct constraint *c = all->list[all->n_done];
            pthread_mutex_unlock(&all->lock);
            constraint_make_mask(c); /* what went wrong is the sequence's */
            pthread_mutex_lock(&all->lock);
            all->n_done++;
        }
        pthread_cond_broadcast(&all->changed);
        if (!all->ends && all->n_done == all->n) {
            pthread_cond_wait(&all->changed, &all->lock);
        }
    }
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

/* Signals are for other threads. */
bool constraints_start(struct constraints *all, struct error *e)
{
    sigset_t every, before;
    if (all->is_running) {
        return true;
    }
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    all->is_running = pthread_create(&all->thread, NULL, make_masks, all) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return all->is_running ||
           error_set(e, ERROR_IO, "a thread for masks of tokens cannot be started");
}

bool constraints_init(struct constraints *all, uint32_t most, struct error *e)
{
    *all = (struct constraints){.most = most};
    all->list = mem_alloc(most, sizeof(void *), "constrained sequences", e);
    if (all->list == NULL) {
        return false;
    }
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->changed, NULL);
    return true;
}

void constraints_finish(struct constraints *all)
{
    if (all->list == NULL) {
        return;
    }
    if (all->is_running) {
        pthread_mutex_lock(&all->lock);
        all->ends = true;
        pthread_cond_broadcast(&all->changed);
        pthread_mutex_unlock(&all->lock);
        pthread_join(all->thread, NULL);
    }
    pthread_cond_destroy(&all->changed);
    pthread_mutex_destroy(&all->lock);
    mem_free(all->list);
    *all = (struct constraints){0};
}

void constraints_begin(struct constraints *all, uint32_t n)
{
    if (n == 0 && all->n == all->n_done) {
        return;
    }
    pthread_mutex_lock(&all->lock);
    all->n = n;
    all->n_done = 0;
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
}

void constraints_end(struct constraints *all)
{
    pthread_mutex_lock(&all->lock);
    while (all->n_done < all->n) {
        pthread_cond_wait(&all->changed, &all->lock);
    }
    pthread_mutex_unlock(&all->lock);
}
