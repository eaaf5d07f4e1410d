/* spill_disk.c - one job at a time between two threads: the state says whose the job is. */
#include "engine/spill_disk.h"

#include "base/clock.h"
#include "base/keep.h"
#include "base/mem.h"
#include "kern/kern.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The disk's thread has the job in READ, WRITE and TOUCH, the engine's in the others. */
enum state { IDLE, READ, WRITE, TOUCH, DONE /* a page was read, if is_good */ };

struct spill_disk {
    struct spill_options options;
    struct keep keep;
    char folder[PATH_MAX];
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t lock; /* of what follows, to the job */
    pthread_cond_t changed;
    enum state state;
    bool is_good, is_stopping;
    uint64_t paused_until_ns;

    struct spill_prefix job;
    uint32_t *tokens; /* (max_tokens) the job's */
    uint8_t *page;    /* (page_bytes) the job's */
    char path[PATH_MAX];

    /* the disk's thread alone: what went wrong, until it is told; empty: nothing */
    char trouble[PATH_MAX + ERROR_TEXT_BYTES + 100];
};

/* ---- the disk's thread ---- */

static void keep_trouble(struct spill_disk *d, const char *what, const char *why,
                         const char *consequence)
{
    snprintf(d->trouble, sizeof d->trouble, "%s: %s; %s", what, why, consequence);
}

static void tell_trouble(struct spill_disk *d)
{
    if (d->trouble[0] != '\0') {
        d->options.note(d->trouble);
        d->trouble[0] = '\0';
    }
}

/* A page looks a second older for each before it, so that of a prefix the end goes first. */
static void set_use(int fd, uint32_t n_tokens)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};
    clock_gettime(CLOCK_REALTIME, &times[1]);
    times[1].tv_sec -= (time_t)(n_tokens / KERN_ATTN_TILE);
    futimens(fd, times);
}

/* What is wrong with a file stays wrong; what went wrong around it does not. */
static bool read_job(struct spill_disk *d)
{
    struct error e = {0};
    int fd = keep_open(d->path);
    if (fd < 0) {
        if (errno != ENOENT) {
            error_set(&e, ERROR_IO, "cannot be opened: %s", strerror(errno));
            keep_trouble(d, d->path, e.text, "the prompt is computed");
        }
        return false;
    }
    bool ok = spill_file_read(fd, &d->job, d->page, &e);
    if (ok) {
        set_use(fd, d->job.n_tokens);
    }
    close(fd);
    if (!ok) {
        keep_trouble(d, d->path, e.text, "the prompt is computed");
        if (e.code == ERROR_FORMAT) {
            unlink(d->path);
        }
    }
    return ok;
}

static bool write_file(struct spill_disk *d, struct error *e)
{
    uint64_t n_bytes = spill_file_bytes(&d->job), free_bytes;
    char part[KEEP_PART_BYTES];
    if (!keep_make_room(&d->keep, n_bytes, &free_bytes, e)) {
        return false;
    }
    if (free_bytes < n_bytes + SPILL_SPARE_BYTES) {
        return error_set(e, ERROR_IO, "%llu bytes are free, of which %d stay so",
                         (unsigned long long)free_bytes, SPILL_SPARE_BYTES);
    }
    int fd = keep_create(d->path, part, e);
    if (fd < 0) {
        return false;
    }
    bool ok = spill_file_write(fd, &d->job, d->page, e);
    set_use(fd, d->job.n_tokens);
    return keep_finish(fd, part, d->path, ok, e);
}

static bool write_job(struct spill_disk *d)
{
    struct error e = {0};
    bool ok = write_file(d, &e);
    if (!ok) {
        keep_trouble(d, d->folder, e.text, "no prefixes are kept for ten minutes");
    }
    return ok;
}

static void touch_job(struct spill_disk *d)
{
    int fd = keep_open(d->path);
    if (fd >= 0) {
        set_use(fd, d->job.n_tokens);
        close(fd);
    }
}

static bool is_job(enum state state)
{
    return state == READ || state == WRITE || state == TOUCH;
}

/* Called with the lock held, which it lets go while it works. */
static void do_job(struct spill_disk *d)
{
    enum state kind = d->state;
    bool is_good = true;
    pthread_mutex_unlock(&d->lock);
    if (kind == READ) {
        is_good = read_job(d);
    } else if (kind == WRITE) {
        is_good = write_job(d);
    } else {
        touch_job(d);
    }
    pthread_mutex_lock(&d->lock);
    if (kind == WRITE && !is_good) {
        d->paused_until_ns = clock_now_ns() + SPILL_PAUSE_S * UINT64_C(1000000000);
    }
    d->is_good = is_good;
    d->state = kind == READ ? DONE : IDLE;
    pthread_cond_broadcast(&d->changed);
}

static void *disk_main(void *argument)
{
    struct spill_disk *d = argument;
    pthread_mutex_lock(&d->lock);
    while (!d->is_stopping) {
        if (!is_job(d->state)) {
            pthread_cond_wait(&d->changed, &d->lock);
            continue;
        }
        do_job(d);
        pthread_mutex_unlock(&d->lock);
        if (d->options.wake != NULL) {
            d->options.wake(d->options.wake_argument);
        }
        tell_trouble(d); /* nobody waits for this job any more */
        pthread_mutex_lock(&d->lock);
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

/* ---- the engine's thread ---- */

static enum state state_of(struct spill_disk *d)
{
    pthread_mutex_lock(&d->lock);
    enum state state = d->state;
    pthread_mutex_unlock(&d->lock);
    return state;
}

static void set_state(struct spill_disk *d, enum state state)
{
    pthread_mutex_lock(&d->lock);
    d->state = state;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

/* The job is the engine's: makes it one of the disk's. */
static void start_job(struct spill_disk *d, enum state kind, const struct spill_prefix *p,
                      const char *path)
{
    memcpy(d->tokens, p->tokens, p->n_tokens * sizeof *p->tokens);
    d->job = *p;
    d->job.tokens = d->tokens;
    snprintf(d->path, sizeof d->path, "%s", path);
    set_state(d, kind);
}

static bool is_wanted(const struct spill_disk *d, const struct spill_prefix *p)
{
    return d->job.salt == p->salt && d->job.n_tokens == p->n_tokens &&
           memcmp(d->tokens, p->tokens, p->n_tokens * sizeof *p->tokens) == 0;
}

enum spill_answer spill_disk_take(struct spill_disk *d, const struct spill_prefix *p, void *page)
{
    enum state state = state_of(d);
    if (state == DONE && is_wanted(d, p)) {
        if (d->is_good) {
            memcpy(page, d->page, p->page_bytes);
        }
        set_state(d, IDLE);
        return d->is_good ? SPILL_HERE : SPILL_ABSENT;
    }
    char path[PATH_MAX];
    struct digest name = spill_file_name(p);
    if (!keep_path(&d->keep, &name, path, NULL) || access(path, F_OK) != 0) {
        return SPILL_ABSENT;
    }
    if (!is_job(state)) { /* else after that */
        start_job(d, READ, p, path);
    }
    return SPILL_COMING;
}

bool spill_disk_is_free(struct spill_disk *d)
{
    pthread_mutex_lock(&d->lock);
    bool is_free = !is_job(d->state) && clock_now_ns() >= d->paused_until_ns;
    pthread_mutex_unlock(&d->lock);
    return is_free;
}

void spill_disk_put(struct spill_disk *d, const struct spill_prefix *p, const void *page)
{
    char path[PATH_MAX];
    struct digest name = spill_file_name(p);
    if (!keep_path(&d->keep, &name, path, NULL)) {
        return;
    }
    bool is_there = access(path, F_OK) == 0;
    if (!is_there) {
        memcpy(d->page, page, p->page_bytes);
    }
    start_job(d, is_there ? TOUCH : WRITE, p, path);
}

bool spill_disk_wait(struct spill_disk *d, uint64_t until_ns)
{
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u),
                             .tv_nsec = (long)(until_ns % 1000000000u)};
    pthread_mutex_lock(&d->lock);
    while (is_job(d->state) && pthread_cond_timedwait(&d->changed, &d->lock, &until) != ETIMEDOUT) {
    }
    pthread_mutex_unlock(&d->lock);
    return spill_disk_is_free(d);
}

/* ---- life ---- */

static bool start_thread(struct spill_disk *d, struct error *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int failed = pthread_create(&d->thread, NULL, disk_main, d);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    d->has_thread = failed == 0;
    return failed == 0 ||
           error_set(e, ERROR_MEMORY, "the thread for the disk could not be started (error %d)",
                     failed);
}

struct spill_disk *spill_disk_create(const struct spill_options *options, size_t page_bytes,
                                     uint32_t max_tokens, struct error *e)
{
    struct spill_disk *d = mem_alloc(1, sizeof *d, "spilled pages", e);
    if (d == NULL) {
        return NULL;
    }
    d->options = *options;
    d->paused_until_ns = options->reads_only ? UINT64_MAX : 0;
    d->keep =
        (struct keep){.folder = d->folder, .suffix = ".page", .limit_bytes = options->limit_bytes};
    pthread_mutex_init(&d->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&d->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int n = snprintf(d->folder, sizeof d->folder, "%s", options->folder);
    struct digest any = {0};
    if (n < 0 || n >= (int)sizeof d->folder || !keep_path(&d->keep, &any, d->path, e)) {
        error_set(e, ERROR_IO, "the name of the folder is too long");
        goto fail;
    }
    d->tokens = mem_alloc(max_tokens, sizeof *d->tokens, "tokens of a spilled page", e);
    d->page = d->tokens != NULL ? mem_alloc(page_bytes, 1, "spilled page", e) : NULL;
    if (d->page == NULL || !start_thread(d, e)) {
        goto fail;
    }
    return d;
fail:
    spill_disk_destroy(d);
    return NULL;
}

void spill_disk_destroy(struct spill_disk *d)
{
    if (d == NULL) {
        return;
    }
    pthread_mutex_lock(&d->lock);
    d->is_stopping = true;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
    if (d->has_thread) {
        pthread_join(d->thread, NULL);
    }
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
    mem_free(d->tokens);
    mem_free(d->page);
    mem_free(d);
}
