/* packed_cache.c - finds, judges, stores and forgets files of packed weights. */
#include "model/packed_cache.h"

#include "quant/pack.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- notes */

static void tell(const struct packed_cache *c, const char *what, const char *why,
                 const char *consequence)
{
    char text[PATH_MAX + ERROR_TEXT_BYTES + 100];
    snprintf(text, sizeof text, "%s: %s; %s", what, why, consequence);
    model_watch_note(&c->watch, text);
}

static void let_go(struct packed_cache *c)
{
    packed_file_finish(&c->file);
    if (c->fd >= 0) {
        close(c->fd);
    }
    c->fd = -1;
}

/* What is wrong with a file stays wrong; what went wrong around it does not. */
static void reject(struct packed_cache *c, const struct error *e)
{
    tell(c, c->path, e->text, "the model is packed again");
    let_go(c);
    if (e->code == ERROR_FORMAT) {
        unlink(c->path);
    }
    c->state = PACKED_CACHE_ABSENT;
}

/* --- reading */

static bool name_file(struct packed_cache *c, struct error *e)
{
    const struct packed_cache_options *o = &c->options;
    char resolved[PATH_MAX];
    if (o->folder == NULL) {
        return error_set(e, ERROR_NOT_FOUND, "neither XDG_CACHE_HOME nor HOME names a place");
    }
    if (realpath(o->model_path, resolved) == NULL) {
        return error_set(e, ERROR_IO, "%s: %s", o->model_path, strerror(errno));
    }
    struct digest d = digest_of(resolved, strlen(resolved));
    return keep_path(&c->keep, &d, c->path, e);
}

static bool knows_identity(const struct packed_cache *c)
{
    return !digest_eq(c->wanted.identity, (struct digest){0});
}

static void find_file(struct packed_cache *c)
{
    struct error e = {0};
    c->state = PACKED_CACHE_ABSENT;
    c->fd = keep_open(c->path);
    if (c->fd < 0) {
        if (errno != ENOENT && errno != ENOTDIR) {
            error_set(&e, ERROR_IO, "cannot be opened: %s", strerror(errno));
            reject(c, &e);
        }
        return;
    }
    if (!packed_file_open(&c->file, c->fd, &c->wanted, &e)) {
        reject(c, &e);
        return;
    }
    bool same = knows_identity(c) && digest_eq(c->file.head.identity, c->wanted.identity);
    c->state = same ? PACKED_CACHE_VALID : PACKED_CACHE_UNSURE;
}

void packed_cache_open(struct packed_cache *c, const struct packed_cache_options *options,
                       const struct model_watch *watch, const struct gguf *g, uint64_t n_bytes,
                       const struct digest *order)
{
    *c = (struct packed_cache){.options = *options,
                               .keep = {.folder = options->folder,
                                        .suffix = ".packed",
                                        .limit_bytes = options->limit_bytes},
                               .watch = *watch,
                               .fd = -1,
                               .wanted = {.n_bytes = n_bytes}};
    if (n_bytes < options->min_bytes) {
        return;
    }
    struct error e = {0};
    struct digest layout[2] = {{{0}}, *order};
    gguf_identity(g, &c->wanted.identity);
    if (!name_file(c, &e) || !pack_layout_digest(&layout[0], &e)) {
        tell(c, "packed weights", e.text, "they are not kept");
        return;
    }
    c->wanted.layout = digest_of(layout, sizeof layout);
    find_file(c);
}

void packed_cache_close(struct packed_cache *c)
{
    let_go(c);
}

void packed_cache_confirm(struct packed_cache *c, const struct digest *content)
{
    if (digest_eq(c->file.head.content, *content)) {
        c->state = PACKED_CACHE_VALID;
        return;
    }
    struct error e;
    error_set(&e, ERROR_FORMAT, "the model has changed");
    reject(c, &e);
}

bool packed_cache_read(struct packed_cache *c, uint8_t *dst, struct pool *pool)
{
    struct error e = {0};
    if (!packed_file_read(&c->file, dst, pool, &c->watch, &e)) {
        reject(c, &e);
        return false;
    }
    if (knows_identity(c) && !digest_eq(c->file.head.identity, c->wanted.identity)) {
        packed_file_identify(c->fd, &c->wanted.identity);
    }
    futimens(c->fd, NULL);
    keep_trim(&c->keep, c->keep.limit_bytes);
    return true;
}

/* --- storing */

static bool make_room(struct packed_cache *c, struct error *e)
{
    uint64_t needed = packed_file_bytes(c->wanted.n_bytes), free_bytes;
    if (needed == 0) {
        return error_set(e, ERROR_IO, "%llu bytes of weights are too many for a file",
                         (unsigned long long)c->wanted.n_bytes);
    }
    if (!keep_make_room(&c->keep, needed, &free_bytes, e)) {
        return false;
    }
    return needed <= free_bytes / 2 ||
           error_set(e, ERROR_IO, "%llu bytes are more than half of the %llu that are free",
                     (unsigned long long)needed, (unsigned long long)free_bytes);
}

static bool write_file(struct packed_cache *c, const uint8_t *src, struct pool *pool,
                       struct error *e)
{
    char part[KEEP_PART_BYTES];
    int fd = keep_create(c->path, part, e);
    if (fd < 0) {
        return false;
    }
    bool ok = packed_file_write(fd, &c->wanted, src, pool, &c->watch, e);
    return keep_finish(fd, part, c->path, ok, e);
}

/* Signals that end the program wait until the half-written file is gone. */
void packed_cache_store(struct packed_cache *c, const struct digest *content, const uint8_t *src,
                        struct pool *pool)
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    sigset_t set, before;
    struct error e = {0};
    if (c->state != PACKED_CACHE_ABSENT || model_watch_is_stopped(&c->watch)) {
        return;
    }
    c->wanted.content = *content;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++) {
        sigaddset(&set, ending[i]);
    }
    pthread_sigmask(SIG_BLOCK, &set, &before);
    bool ok = make_room(c, &e) && write_file(c, src, pool, &e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!ok && e.code != ERROR_INTERRUPTED) {
        tell(c, c->options.folder, e.text, "packed weights are not kept");
    }
}
