/* background.c - jobs wait in a queue for the thread; what it has done comes back as a task. */
#include "serve/background.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>

struct background {
    struct http_server *server;
    const char *what;
    struct background_job *all; /* the I/O thread's, as is n_jobs */
    size_t n_jobs, max_jobs;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    struct background_job *first, **end; /* the queue, and where the next one is linked */
    bool stop;
};

/* --- the thread */

static struct background_job *take(struct background *b)
{
    pthread_mutex_lock(&b->lock);
    while (b->first == NULL && !b->stop) {
        pthread_cond_wait(&b->wake, &b->lock);
    }
    struct background_job *job = b->stop ? NULL : b->first;
    if (job != NULL) {
        b->first = job->behind;
        b->end = b->first != NULL ? b->end : &b->first;
    }
    pthread_mutex_unlock(&b->lock);
    return job;
}

static void *thread_main(void *argument)
{
    struct background *b = argument;
    struct background_job *job;
    while ((job = take(b)) != NULL) {
        job->work(job->argument);
        http_server_post(b->server, &job->task);
    }
    return NULL;
}

struct background *background_create(struct http_server *server, const char *what, size_t max_jobs,
                                     struct error *e)
{
    struct background *b = mem_alloc(1, sizeof *b, "work beside the clients", e);
    if (b == NULL) {
        return NULL;
    }
    b->server = server;
    b->what = what;
    b->max_jobs = max_jobs;
    b->end = &b->first;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->wake, NULL);
    if (pthread_create(&b->thread, NULL, thread_main, b) != 0) {
        error_set(e, ERROR_MEMORY, "no thread for work beside the clients");
        pthread_cond_destroy(&b->wake);
        pthread_mutex_destroy(&b->lock);
        mem_free(b);
        return NULL;
    }
    return b;
}

/* --- the I/O thread */

/* Takes it out of the queue; false: the thread has it, or has had it. */
static bool take_back(struct background *b, struct background_job *job)
{
    pthread_mutex_lock(&b->lock);
    struct background_job **at = &b->first;
    while (*at != NULL && *at != job) {
        at = &(*at)->behind;
    }
    bool is_there = *at != NULL;
    if (is_there) {
        *at = job->behind;
        b->end = *at != NULL ? b->end : at;
    }
    pthread_mutex_unlock(&b->lock);
    return is_there;
}

static void end_job(struct background_job *job)
{
    struct background *b = job->owner;
    struct background_job **at = &b->all;
    while (*at != job) {
        at = &(*at)->next;
    }
    *at = job->next;
    b->n_jobs--;
    if (job->x != NULL) {
        http_on_close(job->x, NULL, NULL);
    }
    job->done(job->argument, job->x); /* which frees it */
}

static void come_back(void *argument)
{
    end_job(argument);
}

static void let_go(struct background_job *job)
{
    job->x = NULL;
    atomic_store(&job->is_cancelled, true);
    if (take_back(job->owner, job)) {
        end_job(job);
    }
}

static void client_left(void *argument)
{
    let_go(argument);
}

bool background_begin(struct background *b, struct background_job *job, struct http_exchange *x,
                      struct api_error *error)
{
    if (b->n_jobs == b->max_jobs) {
        return api_error_set(error, API_ERROR_RATE_LIMIT, NULL, "%zu %s, the most that may at once",
                             b->n_jobs, b->what);
    }
    job->owner = b;
    job->x = x;
    job->task = (struct http_task){.run = come_back, .argument = job};
    struct background_job **at = &b->all;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = job;
    b->n_jobs++;
    http_on_close(x, client_left, job);
    pthread_mutex_lock(&b->lock);
    *b->end = job;
    b->end = &job->behind;
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->lock);
    return true;
}

size_t background_n_jobs(const struct background *b)
{
    return b->n_jobs;
}

void background_end(struct background *b)
{
    const struct error why = {ERROR_INTERRUPTED, "the server is shutting down"};
    struct background_job *next;
    for (struct background_job *job = b != NULL ? b->all : NULL; job != NULL; job = next) {
        next = job->next;
        if (job->x != NULL) {
            http_reply_failure(job->x, &why);
            let_go(job);
        }
    }
}

void background_destroy(struct background *b)
{
    if (b == NULL) {
        return;
    }
    for (struct background_job *job = b->all; job != NULL; job = job->next) {
        atomic_store(&job->is_cancelled, true);
    }
    pthread_mutex_lock(&b->lock);
    b->stop = true;
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->lock);
    pthread_join(b->thread, NULL);
    while (b->all != NULL) {
        struct background_job *job = b->all;
        http_server_unpost(b->server, &job->task);
        if (job->x != NULL) {
            http_on_close(job->x, NULL, NULL);
            job->x = NULL;
        }
        end_job(job);
    }
    pthread_cond_destroy(&b->wake);
    pthread_mutex_destroy(&b->lock);
    mem_free(b);
}
