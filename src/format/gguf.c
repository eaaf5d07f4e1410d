/* gguf.c - opens GGUF files: maps them, tells foreign files apart, joins the shards of a model. */
#include "format/gguf.h"

#include "base/mem.h"
#include "format/gguf_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    HEADER_BYTES = 4 + 4 + 8 + 8, /* magic, version, number of tensors, number of keys */
    PATH_SHOWN_BYTES = 200,       /* of a path in an error text */
    SETTLED_S = 2                 /* the coarsest times of a file system, those of FAT */
};

/* --- one file: header, metadata, tensor table */

/* What people hand in by mistake, by its first bytes. */
static const struct {
    const char *magic;
    size_t n_bytes;
    size_t offset;
    enum error_code code;
    const char *text;
} foreign_files[] = {
    {"FUGG", 4, 0, ERROR_UNSUPPORTED, "a big-endian GGUF file; convert the model to little-endian"},
    {"lmgg", 4, 0, ERROR_UNSUPPORTED, "a GGML file, older than GGUF; convert the model again"},
    {"fmgg", 4, 0, ERROR_UNSUPPORTED, "a GGMF file, older than GGUF; convert the model again"},
    {"tjgg", 4, 0, ERROR_UNSUPPORTED, "a GGJT file, older than GGUF; convert the model again"},
    {"algg", 4, 0, ERROR_UNSUPPORTED, "a GGLA adapter, not a GGUF model"},
    {"{\"", 2, 8, ERROR_FORMAT, "a safetensors file, not a GGUF file"},
    {"PK\3\4", 4, 0, ERROR_FORMAT, "a zip archive (a PyTorch checkpoint?), not a GGUF file"},
    {"\x1f\x8b", 2, 0, ERROR_FORMAT, "a gzip archive, not a GGUF file"},
    {"version https://git-lfs", 23, 0, ERROR_FORMAT,
     "a Git LFS pointer, not the model itself; fetch it with git lfs pull"},
    {"<", 1, 0, ERROR_FORMAT, "an HTML or XML page, not a GGUF file (a failed download?)"},
    {"{", 1, 0, ERROR_FORMAT, "a JSON text, not a GGUF file (a failed download?)"},
};

static bool refuse_foreign(const uint8_t *data, size_t n_bytes, struct error *e)
{
    for (size_t i = 0; i < sizeof foreign_files / sizeof foreign_files[0]; i++) {
        size_t end = foreign_files[i].offset + foreign_files[i].n_bytes;
        if (n_bytes >= end && memcmp(data + foreign_files[i].offset, foreign_files[i].magic,
                                     foreign_files[i].n_bytes) == 0) {
            return error_set(e, foreign_files[i].code, "this is %s", foreign_files[i].text);
        }
    }
    return error_set(e, ERROR_FORMAT,
                     "not a GGUF file: it starts with bytes %02x %02x %02x %02x, expected 'GGUF'",
                     data[0], data[1], data[2], data[3]);
}

static bool check_version(uint32_t version, struct error *e)
{
    if (version == 2 || version == 3) {
        return true;
    }
    if (version == 1) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "GGUF version 1 is not supported (2 and 3 are); convert the model again");
    }
    if (version != 0 && (version & 0xFFFF) == 0) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "a big-endian GGUF file (version bytes %08" PRIx32
                         "); convert the model to little-endian",
                         version);
    }
    return error_set(e, version == 0 ? ERROR_FORMAT : ERROR_UNSUPPORTED,
                     "GGUF version %" PRIu32 " is unknown, 2 and 3 are supported", version);
}

struct header {
    uint32_t version;
    uint64_t n_tensors;
    uint64_t n_keys;
};

static bool read_header(struct gguf_cursor *c, struct header *out, struct error *e)
{
    c->part = "header";
    c->n_parts = 1;
    if (c->n_bytes < 4) {
        return error_set(e, ERROR_FORMAT, "not a GGUF file: %zu bytes, a header has %d", c->n_bytes,
                         HEADER_BYTES);
    }
    if (memcmp(c->data, "GGUF", 4) != 0) {
        return refuse_foreign(c->data, c->n_bytes, e);
    }
    c->at = 4;
    return gguf_cursor_u32(c, &out->version, e) && check_version(out->version, e) &&
           gguf_cursor_u64(c, &out->n_tensors, e) && gguf_cursor_u64(c, &out->n_keys, e);
}

static bool read_alignment(const struct gguf_metadata *m, uint32_t *out, struct error *e)
{
    uint32_t alignment = GGUF_DEFAULT_ALIGNMENT;
    if (!gguf_metadata_get_u32(m, "general.alignment", false, &alignment, e)) {
        return false;
    }
    if (alignment < GGUF_MIN_ALIGNMENT || alignment > GGUF_MAX_ALIGNMENT ||
        (alignment & (alignment - 1)) != 0) {
        return error_set(e, ERROR_FORMAT,
                         "key 'general.alignment' is %" PRIu32
                         ", expected a power of two from %d to %d",
                         alignment, GGUF_MIN_ALIGNMENT, GGUF_MAX_ALIGNMENT);
    }
    *out = alignment;
    return true;
}

/* --- shards */

/* What split.* keys say; n_shards 1 where they are absent. gguf-split --merge leaves a count of 0.
 */
struct split_keys {
    uint32_t index; /* from 0 */
    uint32_t n_shards;
    uint32_t n_tensors; /* of all shards */
    bool has_n_tensors;
};

static bool read_split_keys(const struct gguf_metadata *m, struct split_keys *out, struct error *e)
{
    struct split_keys s = {0};
    if (!gguf_metadata_get_u32(m, "split.count", false, &s.n_shards, e)) {
        return false;
    }
    if (s.n_shards > GGUF_MAX_SPLITS) {
        return error_set(e, ERROR_FORMAT, "key 'split.count' is %" PRIu32 ", expected at most %d",
                         s.n_shards, GGUF_MAX_SPLITS);
    }
    if (s.n_shards == 0) {
        s.n_shards = 1;
        *out = s;
        return true;
    }
    if (!gguf_metadata_get_u32(m, "split.no", true, &s.index, e) ||
        !gguf_metadata_get_u32(m, "split.tensors.count", true, &s.n_tensors, e)) {
        return false;
    }
    if (s.index >= s.n_shards) {
        return error_set(e, ERROR_FORMAT,
                         "key 'split.no' is %" PRIu32 ", expected less than split.count %" PRIu32,
                         s.index, s.n_shards);
    }
    s.has_n_tensors = true;
    *out = s;
    return true;
}

/* Reads g->shards[index], the last one so far: its keys into *m (zeroed before; also on failure the
 * caller finishes it), its tensors behind those of the shards before. */
static bool read_shard(struct gguf *g, uint32_t index, struct gguf_metadata *m,
                       struct split_keys *out_split, struct error *e)
{
    const struct gguf_shard *shard = &g->shards[index];
    struct gguf_cursor c = {.data = shard->data, .n_bytes = shard->n_bytes};
    struct header header = {0};
    struct split_keys split = {0};
    uint32_t alignment = 0;
    if (!read_header(&c, &header, e) || !gguf_metadata_read(&c, header.n_keys, m, e) ||
        !read_split_keys(m, &split, e)) {
        return false;
    }
    if (split.index != index) {
        return index == 0
                   ? error_set(e, ERROR_USAGE,
                               "this is shard %" PRIu32 " of %" PRIu32 "; open shard 1",
                               split.index + 1, split.n_shards)
                   : error_set(e, ERROR_FORMAT, "key 'split.no' is %" PRIu32 ", expected %" PRIu32,
                               split.index, index);
    }
    if (!read_alignment(m, &alignment, e) ||
        !gguf_tensors_read(g, &c, header.n_tensors, alignment, e)) {
        return false;
    }
    if (index == 0) {
        g->version = header.version;
    }
    *out_split = split;
    return true;
}

static bool check_n_tensors(const struct gguf *g, const struct split_keys *split, struct error *e)
{
    if (split->has_n_tensors && g->n_tensors != split->n_tensors) {
        return error_set(e, ERROR_FORMAT,
                         "%zu tensors in %" PRIu32
                         " files, key 'split.tensors.count' says %" PRIu32,
                         g->n_tensors, g->n_shards, split->n_tensors);
    }
    return true;
}

/* "-00001-of-00003.gguf" */
enum { SHARD_SUFFIX_BYTES = 1 + 5 + 4 + 5 + 5 };

/* Writes the suffix of shard `index` over the one that ends path. */
static void set_shard_suffix(char *path, size_t n, uint32_t index, uint32_t n_shards)
{
    snprintf(path + n - SHARD_SUFFIX_BYTES, SHARD_SUFFIX_BYTES + 1,
             "-%05" PRIu32 "-of-%05" PRIu32 ".gguf", (index + 1) % 100000, n_shards % 100000);
}

/* A copy of path, whose end must name shard 1 of n_shards. */
static char *copy_shard_path(const char *path, uint32_t n_shards, struct error *e)
{
    size_t n = strlen(path);
    char *copy = mem_alloc(n + 1, 1, "path", e);
    if (copy == NULL) {
        return NULL;
    }
    if (n >= SHARD_SUFFIX_BYTES) {
        memcpy(copy, path, n);
        set_shard_suffix(copy, n, 0, n_shards);
    }
    if (strcmp(copy, path) != 0) {
        mem_free(copy);
        error_set(e, ERROR_FORMAT,
                  "this is shard 1 of %" PRIu32 ", its name must end in -00001-of-%05" PRIu32
                  ".gguf so that the others can be found",
                  n_shards, n_shards);
        return NULL;
    }
    return copy;
}

/* --- files */

/* Names the file in front of the text; of a long path only the end. */
static bool prefix_path(struct error *e, const char *path)
{
    size_t n = strlen(path);
    bool is_long = n > PATH_SHOWN_BYTES;
    return error_prefix(e, "%s%s", is_long ? "..." : "",
                        path + (is_long ? n - PATH_SHOWN_BYTES : 0));
}

static struct gguf_file_state state_of(const struct stat *s)
{
    return (struct gguf_file_state){.device = (uint64_t)s->st_dev,
                                    .inode = (uint64_t)s->st_ino,
                                    .n_bytes = (uint64_t)s->st_size,
                                    .written_s = s->st_mtim.tv_sec,
                                    .written_ns = s->st_mtim.tv_nsec,
                                    .changed_s = s->st_ctim.tv_sec,
                                    .changed_ns = s->st_ctim.tv_nsec};
}

static bool is_settled(const struct stat *s)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    time_t newest = s->st_mtim.tv_sec > s->st_ctim.tv_sec ? s->st_mtim.tv_sec : s->st_ctim.tv_sec;
    return newest < now.tv_sec - SETTLED_S;
}

static bool map_open_file(int fd, struct gguf_shard *out, struct error *e)
{
    struct stat s;
    if (fstat(fd, &s) != 0) {
        return error_set(e, ERROR_IO, "cannot be examined: %s", strerror(errno));
    }
    if (!S_ISREG(s.st_mode)) {
        return error_set(e, ERROR_FORMAT, "%s, expected a GGUF file",
                         S_ISDIR(s.st_mode) ? "a directory" : "not a regular file");
    }
    if (s.st_size == 0) {
        return error_set(e, ERROR_FORMAT, "the file is empty");
    }
    if ((uint64_t)s.st_size > SIZE_MAX) {
        return error_set(e, ERROR_MEMORY, "%" PRIu64 " bytes do not fit the address space",
                         (uint64_t)s.st_size);
    }
    size_t n_bytes = (size_t)s.st_size;
    void *p = mmap(NULL, n_bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        return error_set(e, ERROR_IO, "%zu bytes cannot be mapped: %s", n_bytes, strerror(errno));
    }
    *out = (struct gguf_shard){.data = p,
                               .n_bytes = n_bytes,
                               .is_mapped = true,
                               .is_settled = is_settled(&s),
                               .state = state_of(&s)};
    return true;
}

/* O_NONBLOCK: opening a FIFO must not wait for a writer. */
static bool map_file(const char *path, struct gguf_shard *out, struct error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        bool is_absent = errno == ENOENT || errno == ENOTDIR;
        return error_set(e, is_absent ? ERROR_NOT_FOUND : ERROR_IO, "cannot be opened: %s",
                         strerror(errno));
    }
    bool ok = map_open_file(fd, out, e);
    close(fd);
    return ok;
}

static bool open_other_shard(struct gguf *g, const char *path, uint32_t n_shards, struct error *e)
{
    uint32_t index = g->n_shards;
    struct gguf_metadata m = {0};
    struct split_keys split = {0};
    bool ok = map_file(path, &g->shards[index], e);
    if (ok) {
        g->n_shards++;
        ok = read_shard(g, index, &m, &split, e);
    }
    if (ok && split.n_shards != n_shards) {
        ok = error_set(e, ERROR_FORMAT,
                       "key 'split.count' is %" PRIu32 ", %" PRIu32 " in the first shard",
                       split.n_shards, n_shards);
    }
    gguf_metadata_finish(&m);
    return ok || prefix_path(e, path);
}

static bool open_other_shards(struct gguf *g, const char *path, uint32_t n_shards, struct error *e)
{
    char *shard_path = copy_shard_path(path, n_shards, e);
    if (shard_path == NULL) {
        return prefix_path(e, path);
    }
    bool ok = true;
    struct gguf_shard *shards = mem_resize(g->shards, n_shards, sizeof *shards, "GGUF shards", e);
    if (shards != NULL) {
        g->shards = shards;
    } else {
        ok = false;
    }
    size_t n = strlen(path);
    for (uint32_t i = 1; i < n_shards && ok; i++) {
        set_shard_suffix(shard_path, n, i, n_shards);
        ok = open_other_shard(g, shard_path, n_shards, e);
    }
    mem_free(shard_path);
    return ok;
}

static struct gguf *create(struct error *e)
{
    struct gguf *g = mem_alloc(1, sizeof *g, "GGUF file", e);
    if (g == NULL) {
        return NULL;
    }
    g->shards = mem_alloc(1, sizeof *g->shards, "GGUF shards", e);
    if (g->shards == NULL) {
        gguf_destroy(g);
        return NULL;
    }
    return g;
}

static bool open_into(struct gguf *g, const char *path, struct error *e)
{
    struct split_keys split = {0};
    if (!map_file(path, &g->shards[0], e)) {
        return prefix_path(e, path);
    }
    g->n_shards = 1;
    if (!read_shard(g, 0, &g->metadata, &split, e)) {
        return prefix_path(e, path);
    }
    if (split.n_shards > 1 && !open_other_shards(g, path, split.n_shards, e)) {
        return false;
    }
    return (check_n_tensors(g, &split, e) && gguf_tensors_check(g, e)) || prefix_path(e, path);
}

struct gguf *gguf_open(const char *path, struct error *e)
{
    struct gguf *g = create(e);
    if (g != NULL && !open_into(g, path, e)) {
        gguf_destroy(g);
        return NULL;
    }
    return g;
}

static bool parse_into(struct gguf *g, struct error *e)
{
    struct split_keys split = {0};
    if (!read_shard(g, 0, &g->metadata, &split, e)) {
        return false;
    }
    if (split.n_shards > 1) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "shard 1 of %" PRIu32 " cannot be read without the others",
                         split.n_shards);
    }
    return check_n_tensors(g, &split, e) && gguf_tensors_check(g, e);
}

struct gguf *gguf_parse(const uint8_t *data, size_t n_bytes, struct error *e)
{
    struct gguf *g = create(e);
    if (g == NULL) {
        return NULL;
    }
    g->shards[0] = (struct gguf_shard){.data = data, .n_bytes = n_bytes};
    g->n_shards = 1;
    if (!parse_into(g, e)) {
        gguf_destroy(g);
        return NULL;
    }
    return g;
}

void gguf_destroy(struct gguf *g)
{
    if (g == NULL) {
        return;
    }
    for (uint32_t i = 0; i < g->n_shards; i++) {
        if (g->shards[i].is_mapped) {
            munmap((void *)g->shards[i].data, g->shards[i].n_bytes);
        }
    }
    gguf_metadata_finish(&g->metadata);
    gguf_index_finish(&g->tensor_index);
    mem_free(g->tensors);
    mem_free(g->shards);
    mem_free(g);
}

uint32_t gguf_version(const struct gguf *g)
{
    return g->version;
}

uint64_t gguf_file_bytes(const struct gguf *g)
{
    uint64_t n_bytes = 0;
    for (uint32_t i = 0; i < g->n_shards; i++) {
        n_bytes += g->shards[i].n_bytes;
    }
    return n_bytes;
}

struct digest gguf_head_digest(const struct gguf *g)
{
    uint64_t n_bytes = g->shards[0].n_bytes;
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        if (t->split == 0 && t->file_offset < n_bytes) {
            n_bytes = t->file_offset;
        }
    }
    return digest_of(g->shards[0].data, (size_t)n_bytes);
}

uint32_t gguf_n_splits(const struct gguf *g)
{
    return g->n_shards;
}

bool gguf_identity(const struct gguf *g, struct digest *out)
{
    struct digest all = {0};
    for (uint32_t i = 0; i < g->n_shards; i++) {
        const struct gguf_shard *shard = &g->shards[i];
        if (!shard->is_mapped || !shard->is_settled) {
            return false;
        }
        struct {
            struct digest before;
            struct gguf_file_state state;
        } chain = {all, shard->state};
        all = digest_of(&chain, sizeof chain);
    }
    *out = all;
    return true;
}

/* Whole pages, also those shared with a neighbour: what is still needed is read again. */
void gguf_release_tensor(const struct gguf *g, const struct gguf_tensor *t)
{
    const struct gguf_shard *shard = &g->shards[t->split];
    if (!shard->is_mapped) {
        return;
    }
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t begin = t->file_offset / page_bytes * page_bytes;
    madvise((void *)(shard->data + begin), t->file_offset + t->n_bytes - begin, MADV_DONTNEED);
}
