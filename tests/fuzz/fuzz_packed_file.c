/* fuzz_packed_file.c - files of packed weights: any bytes as they are and with a head whose
 * checksum was made right, and a good file of the bytes in which one is changed. Whatever is read
 * must be what its checksums say, and weights that were changed must never be read. */
#include "base/mem.h"
#include "model/packed_file.h"

#include "require.h"

#include <sys/mman.h>
#include <unistd.h>

enum { SIZE_AT = 16, CHECKSUM_AT = 56, IDENTITY_AT = 72, MAX_WEIGHTS = 1 << 22 };

static struct pool *pool;
static const struct model_watch nobody;

static int new_file(const uint8_t *data, size_t n_bytes)
{
    int fd = memfd_create("packed", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, data, n_bytes) == (ssize_t)n_bytes);
    return fd;
}

/* True when the weights could be read; the caller frees them. */
static bool read_weights(int fd, uint8_t **out, uint64_t *out_n)
{
    struct packed_file f;
    struct error e = {0};
    if (!packed_file_open(&f, fd, NULL, &e)) {
        require((e.code == ERROR_FORMAT || e.code == ERROR_IO) && e.text[0] != '\0');
        return false;
    }
    require(f.head.n_bytes <= MAX_WEIGHTS); /* the file is as long */
    *out_n = f.head.n_bytes;
    *out = mem_alloc(f.head.n_bytes, 1, "weights", NULL);
    require(*out != NULL);
    bool ok = packed_file_read(&f, *out, pool, &nobody, &e);
    require(ok || (e.code == ERROR_FORMAT && e.text[0] != '\0'));
    packed_file_finish(&f);
    if (!ok) {
        mem_free(*out);
    }
    return ok;
}

static void read_as_it_is(const uint8_t *data, size_t n_bytes)
{
    int fd = new_file(data, n_bytes);
    uint8_t *weights;
    uint64_t n;
    if (read_weights(fd, &weights, &n)) {
        mem_free(weights);
    }
    close(fd);
}

/* As packed_file.h describes it: over the head and a digest of the table. */
static void repair_checksum(uint8_t *data, size_t n_bytes)
{
    uint64_t weights;
    memcpy(&weights, data + SIZE_AT, sizeof weights);
    uint64_t n_table = (weights / PACKED_FILE_CHUNK + (weights % PACKED_FILE_CHUNK != 0)) * 16;
    if (n_table > n_bytes - PACKED_FILE_HEAD) {
        return;
    }
    uint8_t head[CHECKSUM_AT + 16];
    memcpy(head, data, CHECKSUM_AT);
    struct digest d = digest_of(data + PACKED_FILE_HEAD, n_table);
    memcpy(head + CHECKSUM_AT, &d, sizeof d);
    d = digest_of(head, sizeof head);
    memcpy(data + CHECKSUM_AT, &d, sizeof d);
}

static void read_repaired(const uint8_t *data, size_t n_bytes)
{
    if (n_bytes < PACKED_FILE_HEAD) {
        return;
    }
    uint8_t *copy = mem_alloc(n_bytes, 1, "file", NULL);
    require(copy != NULL);
    memcpy(copy, data, n_bytes);
    repair_checksum(copy, n_bytes);
    read_as_it_is(copy, n_bytes);
    mem_free(copy);
}

/* The first bytes say where a good file of the others is changed, and to what. */
static void read_changed(const uint8_t *data, size_t n_bytes)
{
    if (n_bytes < 6) {
        return;
    }
    uint32_t at;
    memcpy(&at, data, sizeof at);
    uint8_t change = data[4];
    data += 5;
    n_bytes -= 5;
    int fd = new_file(data, 0);
    struct packed_head head = {.n_bytes = n_bytes, .content = digest_of(data, n_bytes)};
    require(packed_file_write(fd, &head, data, pool, &nobody, NULL));
    at %= (uint32_t)packed_file_bytes(n_bytes);
    uint8_t byte, *weights;
    uint64_t n;
    require(pread(fd, &byte, 1, at) == 1);
    byte ^= change;
    require(pwrite(fd, &byte, 1, at) == 1);
    bool ok = read_weights(fd, &weights, &n);
    bool counts = at < IDENTITY_AT || (at >= PACKED_FILE_HEAD && at < PACKED_FILE_HEAD + 16) ||
                  at >= PACKED_FILE_ALIGNMENT; /* neither identity nor padding, of one chunk */
    require(ok == (change == 0 || !counts));
    if (ok) {
        require(n == n_bytes && memcmp(weights, data, n_bytes) == 0);
        mem_free(weights);
    }
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    pool = pool != NULL ? pool : pool_create(1, NULL); /* one for all inputs */
    require(pool != NULL);
    read_as_it_is(data, n_bytes);
    read_repaired(data, n_bytes);
    if (n_bytes <= PACKED_FILE_CHUNK) {
        read_changed(data, n_bytes);
    }
    return 0;
}
