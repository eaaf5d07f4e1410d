/* packed_file.c - reads, checks and writes files of packed weights. */
#include "model/packed_file.h"

#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

/* The head as it lies in the file; no padding. */
struct disk_head {
    char magic[8];
    uint64_t version;
    uint64_t n_bytes;
    struct digest layout, content;
    struct digest checksum; /* of everything before it and of the table */
    struct digest identity;
};
_Static_assert(sizeof(struct disk_head) == PACKED_FILE_HEAD, "the head has a fixed size");

static const char magic[8] = {'P', 'U', 'N', 'A', 'p', 'a', 'c', 'k'};

static struct digest head_checksum(const struct disk_head *head, const struct digest *checksums,
                                   uint32_t n_chunks)
{
    struct {
        uint8_t head[offsetof(struct disk_head, checksum)];
        struct digest table;
    } all;
    memcpy(all.head, head, sizeof all.head);
    all.table = digest_of(checksums, (size_t)n_chunks * sizeof *checksums);
    return digest_of(&all, sizeof all);
}

/* Sizes that follow from n_bytes; false when they are too large. */
static bool measure(uint64_t n_bytes, uint32_t *out_n_chunks, uint64_t *out_data_offset,
                    uint64_t *out_file_bytes)
{
    uint64_t n_chunks = n_bytes / PACKED_FILE_CHUNK + (n_bytes % PACKED_FILE_CHUNK != 0);
    if (n_chunks > INT32_MAX) { /* half a PiB; pool_next_chunk counts to twice as many */
        return false;
    }
    uint64_t table_end = PACKED_FILE_HEAD + n_chunks * sizeof(struct digest);
    *out_n_chunks = (uint32_t)n_chunks;
    *out_data_offset =
        (table_end + PACKED_FILE_ALIGNMENT - 1) / PACKED_FILE_ALIGNMENT * PACKED_FILE_ALIGNMENT;
    *out_file_bytes = *out_data_offset + n_bytes;
    return true;
}

uint64_t packed_file_bytes(uint64_t n_bytes)
{
    uint32_t n_chunks;
    uint64_t data_offset, file_bytes;
    return measure(n_bytes, &n_chunks, &data_offset, &file_bytes) ? file_bytes : 0;
}

/* --- head and table */

static bool read_head(int fd, struct disk_head *out, struct error *e)
{
    uint64_t n_bytes, data_offset, expected;
    uint32_t n_chunks;
    if (!file_size(fd, &n_bytes, e)) {
        return false;
    }
    if (n_bytes < PACKED_FILE_HEAD) {
        return error_set(e, ERROR_FORMAT, "%llu bytes, a head has %d", (unsigned long long)n_bytes,
                         PACKED_FILE_HEAD);
    }
    if (!file_read_at(fd, out, sizeof *out, 0, e)) {
        return false;
    }
    if (memcmp(out->magic, magic, sizeof magic) != 0) {
        return error_set(e, ERROR_FORMAT, "not a file of packed weights");
    }
    if (out->version != PACKED_FILE_VERSION) {
        return error_set(e, ERROR_FORMAT, "version %llu, expected %d",
                         (unsigned long long)out->version, PACKED_FILE_VERSION);
    }
    if (!measure(out->n_bytes, &n_chunks, &data_offset, &expected)) {
        return error_set(e, ERROR_FORMAT, "%llu bytes of weights are too many",
                         (unsigned long long)out->n_bytes);
    }
    return n_bytes == expected ||
           error_set(e, ERROR_FORMAT, "%llu bytes, expected %llu", (unsigned long long)n_bytes,
                     (unsigned long long)expected);
}

static bool check_wanted(const struct disk_head *disk, const struct packed_head *wanted,
                         struct error *e)
{
    if (disk->n_bytes != wanted->n_bytes) {
        return error_set(e, ERROR_FORMAT, "the model has changed: %llu bytes of weights, now %llu",
                         (unsigned long long)disk->n_bytes, (unsigned long long)wanted->n_bytes);
    }
    return digest_eq(disk->layout, wanted->layout) ||
           error_set(e, ERROR_FORMAT, "it is of another model or of a puna that packs otherwise");
}

bool packed_file_open(struct packed_file *f, int fd, const struct packed_head *wanted,
                      struct error *e)
{
    struct disk_head disk;
    uint64_t file_bytes;
    if (!read_head(fd, &disk, e) || (wanted != NULL && !check_wanted(&disk, wanted, e))) {
        return false;
    }
    struct packed_file opened = {.fd = fd,
                                 .head = {.n_bytes = disk.n_bytes,
                                          .layout = disk.layout,
                                          .content = disk.content,
                                          .identity = disk.identity}};
    measure(disk.n_bytes, &opened.n_chunks, &opened.data_offset, &file_bytes);
    opened.checksums = mem_alloc(opened.n_chunks, sizeof *opened.checksums, "checksums", e);
    if (opened.checksums == NULL) {
        return false;
    }
    size_t table_bytes = opened.n_chunks * sizeof *opened.checksums;
    bool ok = file_read_at(fd, opened.checksums, table_bytes, PACKED_FILE_HEAD, e);
    if (ok && !digest_eq(disk.checksum, head_checksum(&disk, opened.checksums, opened.n_chunks))) {
        ok = error_set(e, ERROR_FORMAT, "the head is damaged");
    }
    if (!ok) {
        packed_file_finish(&opened);
        return false;
    }
    *f = opened;
    return true;
}

void packed_file_finish(struct packed_file *f)
{
    mem_free(f->checksums);
    *f = (struct packed_file){0};
}

bool packed_file_identify(int fd, const struct digest *identity)
{
    return file_write_at(fd, identity, sizeof *identity, offsetof(struct disk_head, identity),
                         NULL);
}

/* --- weights */

/* What the threads share while they move chunks. */
struct transfer {
    const struct packed_file *file;
    uint8_t *dst;       /* reading */
    const uint8_t *src; /* writing */
    const struct model_watch *watch;
    _Atomic uint32_t next_chunk;
    _Atomic uint64_t bytes_done;
    _Atomic bool has_failed;
    struct error error; /* of the first thread that failed */
};

static bool read_chunk(struct transfer *t, uint32_t index, size_t n_bytes, struct error *e)
{
    const struct packed_file *f = t->file;
    uint64_t at = (uint64_t)index * PACKED_FILE_CHUNK;
    if (!file_read_at(f->fd, t->dst + at, n_bytes, f->data_offset + at, e)) {
        return false;
    }
    return digest_eq(digest_of(t->dst + at, n_bytes), f->checksums[index]) ||
           error_set(e, ERROR_FORMAT, "chunk %u of %u is damaged", index + 1, f->n_chunks);
}

static bool is_interrupted(void)
{
    sigset_t pending;
    sigemptyset(&pending);
    sigpending(&pending);
    return sigismember(&pending, SIGINT) || sigismember(&pending, SIGTERM) ||
           sigismember(&pending, SIGHUP) || sigismember(&pending, SIGQUIT);
}

/* The kernel is told to begin with the chunk right away, so that fsync has little to wait for. */
static bool write_chunk(struct transfer *t, uint32_t index, size_t n_bytes, struct error *e)
{
    const struct packed_file *f = t->file;
    uint64_t at = (uint64_t)index * PACKED_FILE_CHUNK, offset = f->data_offset + at;
    if (is_interrupted() || model_watch_is_stopped(t->watch)) {
        return error_set(e, ERROR_INTERRUPTED, "interrupted");
    }
    f->checksums[index] = digest_of(t->src + at, n_bytes);
    if (!file_write_at(f->fd, t->src + at, n_bytes, offset, e)) {
        return false;
    }
    sync_file_range(f->fd, (off_t)offset, (off_t)n_bytes, SYNC_FILE_RANGE_WRITE);
    return true;
}

static void transfer_phase(void *argument, unsigned thread)
{
    struct transfer *t = argument;
    const struct packed_file *f = t->file;
    uint64_t total = f->head.n_bytes;
    bool is_read = t->dst != NULL;
    uint32_t begin, end;
    while (!atomic_load(&t->has_failed) &&
           pool_next_chunk(&t->next_chunk, f->n_chunks, 1, &begin, &end)) {
        uint64_t left = total - (uint64_t)begin * PACKED_FILE_CHUNK;
        size_t n_bytes = left < PACKED_FILE_CHUNK ? (size_t)left : PACKED_FILE_CHUNK;
        struct error e = {0};
        if (!(is_read ? read_chunk(t, begin, n_bytes, &e) : write_chunk(t, begin, n_bytes, &e))) {
            if (!atomic_exchange(&t->has_failed, true)) {
                t->error = e;
            }
            return;
        }
        uint64_t done = atomic_fetch_add(&t->bytes_done, n_bytes) + n_bytes;
        if (thread == 0 && done < total) {
            model_watch_progress(t->watch, is_read ? "loading" : "storing", done, total);
        }
    }
}

static bool transfer(struct transfer *t, struct pool *pool, struct error *e)
{
    pool_run(pool, transfer_phase, t);
    if (t->has_failed) {
        if (e != NULL) {
            *e = t->error;
        }
        return false;
    }
    return true;
}

bool packed_file_read(const struct packed_file *f, uint8_t *dst, struct pool *pool,
                      const struct model_watch *watch, struct error *e)
{
    struct transfer t = {.file = f, .dst = dst, .watch = watch};
    if (!transfer(&t, pool, e)) {
        return false;
    }
    model_watch_progress(watch, "loading", f->head.n_bytes, f->head.n_bytes);
    return true;
}

bool packed_file_write(int fd, const struct packed_head *head, const uint8_t *src,
                       struct pool *pool, const struct model_watch *watch, struct error *e)
{
    struct packed_file f = {.fd = fd, .head = *head};
    uint64_t file_bytes;
    if (!measure(head->n_bytes, &f.n_chunks, &f.data_offset, &file_bytes)) {
        return error_set(e, ERROR_IO, "%llu bytes of weights are too many for a file",
                         (unsigned long long)head->n_bytes);
    }
    f.checksums = mem_alloc(f.n_chunks, sizeof *f.checksums, "checksums", e);
    if (f.checksums == NULL) {
        return false;
    }
    struct transfer t = {.file = &f, .src = src, .watch = watch};
    bool ok = file_reserve(fd, file_bytes, e) && transfer(&t, pool, e);
    struct disk_head disk = {.version = PACKED_FILE_VERSION,
                             .n_bytes = head->n_bytes,
                             .layout = head->layout,
                             .content = head->content,
                             .identity = head->identity};
    memcpy(disk.magic, magic, sizeof magic);
    disk.checksum = head_checksum(&disk, f.checksums, f.n_chunks);
    ok = ok &&
         file_write_at(fd, f.checksums, f.n_chunks * sizeof *f.checksums, PACKED_FILE_HEAD, e) &&
         file_write_at(fd, &disk, sizeof disk, 0, e) &&
         (fsync(fd) == 0 || error_set(e, ERROR_IO, "cannot be written: %s", strerror(errno)));
    if (ok) {
        model_watch_progress(watch, "storing", head->n_bytes, head->n_bytes);
    }
    packed_file_finish(&f);
    return ok;
}
