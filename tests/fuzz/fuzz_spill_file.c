/* fuzz_spill_file.c - files of single pages of keys and values: any bytes as they are and with a
 * checksum made right, read for a prefix that they may be of, and a good file in which one byte is
 * changed. A page is read only when all of it and of its prefix is as it was written. */
#include "base/mem.h"
#include "engine/spill_file.h"

#include "require.h"

#include <sys/mman.h>
#include <unistd.h>

enum { CHECKSUM_AT = 56, PAGE_BYTES = 96, MAX_TOKENS = 64 };

static int new_file(const uint8_t *data, size_t n_bytes)
{
    int fd = memfd_create("page", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, data, n_bytes) == (ssize_t)n_bytes);
    return fd;
}

/* The reader gets a block of just the page, so that a byte too many is seen. */
static bool read_page(int fd, const struct spill_prefix *p, uint8_t **out)
{
    struct error e = {0};
    *out = mem_alloc(p->page_bytes, 1, "page", NULL);
    require(*out != NULL);
    bool ok = spill_file_read(fd, p, *out, &e);
    require(ok || (e.code == ERROR_FORMAT && e.text[0] != '\0'));
    return ok;
}

/* The prefix that the bytes say they are of, as far as it is in bounds. */
static struct spill_prefix prefix_of(const uint8_t *data, size_t n_bytes, uint32_t *tokens)
{
    struct spill_prefix p = {.tokens = tokens, .n_tokens = MAX_TOKENS, .page_bytes = PAGE_BYTES};
    uint64_t n_tokens;
    if (n_bytes >= SPILL_FILE_HEAD) {
        memcpy(&p.maker, data + 16, sizeof p.maker);
        memcpy(&p.salt, data + 32, sizeof p.salt);
        memcpy(&n_tokens, data + 40, sizeof n_tokens);
        p.n_tokens = n_tokens < MAX_TOKENS ? (uint32_t)n_tokens : MAX_TOKENS;
        size_t left = n_bytes - SPILL_FILE_HEAD, wanted = p.n_tokens * sizeof *tokens;
        memcpy(tokens, data + SPILL_FILE_HEAD, left < wanted ? left : wanted);
    }
    return p;
}

static void read_as_it_is(const uint8_t *data, size_t n_bytes, const struct spill_prefix *p)
{
    uint8_t *page;
    int fd = new_file(data, n_bytes);
    if (read_page(fd, p, &page)) {
        require(n_bytes == spill_file_bytes(p));
        require(memcmp(page, data + n_bytes - PAGE_BYTES, PAGE_BYTES) == 0);
    }
    mem_free(page);
    close(fd);
}

/* As spill_file.h describes it. */
static void read_repaired(const uint8_t *data, size_t n_bytes, const struct spill_prefix *p)
{
    if (n_bytes < SPILL_FILE_HEAD + PAGE_BYTES) {
        return;
    }
    uint8_t *copy = mem_alloc(n_bytes, 1, "file", NULL);
    require(copy != NULL);
    memcpy(copy, data, n_bytes);
    struct digest parts[2] = {spill_file_name(p),
                              digest_of(copy + n_bytes - PAGE_BYTES, PAGE_BYTES)};
    parts[0] = digest_of(parts, sizeof parts);
    memcpy(copy + CHECKSUM_AT, &parts[0], sizeof parts[0]);
    read_as_it_is(copy, n_bytes, p);
    mem_free(copy);
}

/* The first bytes say where a good file of the others is changed, and to what. */
static void read_changed(const uint8_t *data, size_t n_bytes, const struct spill_prefix *p)
{
    uint32_t at;
    if (n_bytes < 5 + PAGE_BYTES) {
        return;
    }
    memcpy(&at, data, sizeof at);
    uint8_t change = data[4], byte, *page;
    data += 5;
    int fd = new_file(data, 0);
    require(spill_file_write(fd, p, data, NULL));
    at %= (uint32_t)spill_file_bytes(p);
    require(pread(fd, &byte, 1, at) == 1);
    byte ^= change;
    require(pwrite(fd, &byte, 1, at) == 1);
    bool ok = read_page(fd, p, &page);
    require(ok == (change == 0));
    require(!ok || memcmp(page, data, PAGE_BYTES) == 0);
    mem_free(page);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    uint32_t tokens[MAX_TOKENS] = {0};
    struct spill_prefix p = prefix_of(data, n_bytes, tokens);
    read_as_it_is(data, n_bytes, &p);
    read_repaired(data, n_bytes, &p);
    read_changed(data, n_bytes, &p);
    return 0;
}
