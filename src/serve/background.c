/* background.c - jobs wait in a queue for the thread; what it has done comes back as a task. */
#include "serve/background.h"

#include "base/clock.h"
#include "base/mem.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

enum { MAX_RETRY_S = 600, STACK_BYTES = 8 << 20 };

struct background {
    struct http_server *server;
    struct background_limits limits;
    struct background_job *all; /* in order of arrival; the I/O thread's, as is n_jobs */
    size_t n_jobs;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    struct background_job *first; /* the queue, in order of arrival */
    uint64_t turn;                /* of the job that was taken last */
    double job_s;                 /* that one takes, the last ones weighing most; 0: none yet */
    bool stop;
};

/* --- the thread */

/* Takes out of the queue the first job of the lowest turn; NULL: there is none. */
static struct background_job *pick(struct background *b)
{
    struct background_job **best = &b->first;
    for (struct background_job **at = &b->first; *at != NULL; at = &(*at)->behind) {
        best = (*at)->turn < (*best)->turn ? at : best;
    }
    struct background_job *job = *best;
    if (job != NULL) {
        *best = job->behind;
        b->turn = job->turn;
    }
    return job;
}

static struct background_job *take(struct background *b)
{
    pthread_mutex_lock(&b->lock);
    while (b->first == NULL && !b->stop) {
        pthread_cond_wait(&b->wake, &b->lock);
    }
    struct background_job *job = b->stop ? NULL : pick(b);
    pthread_mutex_unlock(&b->lock);
    return job;
}

static void note_seconds(struct background *b, double seconds)
{
    enum { WEIGHT = 4 };
    pthread_mutex_lock(&b->lock);
    b->job_s += (seconds - b->job_s) / (b->job_s > 0.0 ? WEIGHT : 1);
    pthread_mutex_unlock(&b->lock);
}

static void *thread_main(void *argument)
{
    struct background *b = argument;
    struct background_job *job;
    while ((job = take(b)) != NULL) {
        uint64_t start = clock_now_ns();
        if (!atomic_load(&job->is_cancelled)) {
            job->work(job->argument);
            note_seconds(b, clock_seconds_since(start));
        }
        http_server_post(b->server, &job->task);
    }
    return NULL;
}

static bool start_thread(struct background *b)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    /* as the main thread has, whatever the limit of stacks says */
    bool ok = pthread_attr_setstacksize(&attributes, STACK_BYTES) == 0 &&
              pthread_create(&b->thread, &attributes, thread_main, b) == 0;
    pthread_attr_destroy(&attributes);
    return ok;
}

struct background *background_create(struct http_server *server,
                                     const struct background_limits *limits, struct error *e)
{
    struct background *b = mem_alloc(1, sizeof *b, "work beside the clients", e);
    if (b == NULL) {
        return NULL;
    }
    b->server = server;
    b->limits = *limits;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->wake, NULL);
    if (!start_thread(b)) {
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

/* Whole seconds until the jobs that there are will be done, as far as the last ones tell. */
static uint32_t retry_s(struct background *b)
{
    pthread_mutex_lock(&b->lock);
    double seconds = ceil((double)b->n_jobs * b->job_s);
    pthread_mutex_unlock(&b->lock);
    return seconds < 1.0 ? 1 : seconds > MAX_RETRY_S ? MAX_RETRY_S : (uint32_t)seconds;
}

static bool refuse(struct background *b, size_t n, const char *of_one, struct api_error *error)
{
    api_error_set(error, API_ERROR_RATE_LIMIT, NULL, "%zu %s%s, the most that may at once", n,
                  b->limits.what, of_one);
    error->retry_s = retry_s(b);
    return false;
}

/* Behind those of its owner, and behind one of each other: who comes back at once passes nobody who
 * waits. (Start-time fair queueing, Goyal, Vin and Cheng 1996, with jobs of one length.) */
static void enqueue(struct background *b, struct background_job *job, uint64_t last_turn)
{
    pthread_mutex_lock(&b->lock);
    struct background_job **at = &b->first;
    job->turn = (last_turn > b->turn ? last_turn : b->turn) + 1;
    while (*at != NULL) {
        at = &(*at)->behind;
    }
    *at = job;
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->lock);
}

bool background_begin(struct background *b, struct background_job *job, struct http_exchange *x,
                      struct api_error *error)
{
    struct background_job **at = &b->all;
    uint64_t last_turn = 0;
    size_t n_own = 0;
    for (; *at != NULL; at = &(*at)->next) {
        if ((*at)->whose == job->whose) {
            last_turn = (*at)->turn;
            n_own++;
        }
    }
    if (b->n_jobs >= b->limits.jobs) {
        return refuse(b, b->n_jobs, "", error);
    }
    if (n_own >= b->limits.of_one) {
        return refuse(b, n_own, " for the same key or address", error);
    }
    job->owner = b;
    job->x = x;
    job->task = (struct http_task){.run = come_back, .argument = job};
    *at = job;
    b->n_jobs++;
    http_on_close(x, client_left, job);
    enqueue(b, job, last_turn);
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
