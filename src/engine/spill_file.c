/* spill_file.c - reads, compares and writes files of single pages. The head that is wanted is made
 * first and the file held against it: no number of the file is ever used. */
#include "engine/spill_file.h"

#include "base/file.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

enum { COMPARED_TOKENS = 1024 }; /* at once */

/* The head as it lies in the file; no padding. */
struct disk_head {
    char magic[8];
    uint64_t version;
    struct digest maker;
    uint64_t salt, n_tokens, page_bytes;
    struct digest checksum; /* of the name of the prefix and the digest of the page */
};
_Static_assert(sizeof(struct disk_head) == SPILL_FILE_HEAD, "the head has a fixed size");

static struct disk_head make_head(const struct spill_prefix *p)
{
    return (struct disk_head){.magic = {'P', 'U', 'N', 'A', 'p', 'a', 'g', 'e'},
                              .version = SPILL_FILE_VERSION,
                              .maker = p->maker,
                              .salt = p->salt,
                              .n_tokens = p->n_tokens,
                              .page_bytes = p->page_bytes};
}

struct digest spill_file_name(const struct spill_prefix *p)
{
    struct {
        uint8_t head[offsetof(struct disk_head, checksum)];
        struct digest tokens;
    } all;
    struct disk_head head = make_head(p);
    memcpy(all.head, &head, sizeof all.head);
    all.tokens = digest_of(p->tokens, p->n_tokens * sizeof *p->tokens);
    return digest_of(&all, sizeof all);
}

static struct digest checksum_of(const struct spill_prefix *p, const void *page)
{
    struct digest parts[2] = {spill_file_name(p), digest_of(page, p->page_bytes)};
    return digest_of(parts, sizeof parts);
}

static uint64_t page_offset(const struct spill_prefix *p)
{
    return SPILL_FILE_HEAD + (uint64_t)p->n_tokens * sizeof *p->tokens;
}

uint64_t spill_file_bytes(const struct spill_prefix *p)
{
    return page_offset(p) + p->page_bytes;
}

/* --- reading */

static bool check_head(int fd, const struct spill_prefix *p, struct digest *out_checksum,
                       struct error *e)
{
    struct disk_head head, wanted = make_head(p);
    uint64_t n_bytes, expected = spill_file_bytes(p);
    if (!file_size(fd, &n_bytes, e) || !file_read_at(fd, &head, sizeof head, 0, e)) {
        return false;
    }
    if (memcmp(head.magic, wanted.magic, sizeof head.magic) != 0) {
        return error_set(e, ERROR_FORMAT, "not a file of keys and values");
    }
    if (head.version != wanted.version) {
        return error_set(e, ERROR_FORMAT, "version %llu, expected %d",
                         (unsigned long long)head.version, SPILL_FILE_VERSION);
    }
    if (!digest_eq(head.maker, wanted.maker)) {
        return error_set(e, ERROR_FORMAT, "it is of another model, type of cache or puna");
    }
    if (head.salt != wanted.salt || head.n_tokens != wanted.n_tokens) {
        return error_set(e, ERROR_FORMAT, "it is of another prefix");
    }
    if (head.page_bytes != wanted.page_bytes || n_bytes != expected) {
        return error_set(e, ERROR_FORMAT, "%llu bytes with a page of %llu, expected %llu with %zu",
                         (unsigned long long)n_bytes, (unsigned long long)head.page_bytes,
                         (unsigned long long)expected, p->page_bytes);
    }
    *out_checksum = head.checksum;
    return true;
}

static bool compare_tokens(int fd, const struct spill_prefix *p, struct error *e)
{
    uint32_t tokens[COMPARED_TOKENS];
    uint64_t offset = SPILL_FILE_HEAD;
    for (uint32_t at = 0; at < p->n_tokens; at += COMPARED_TOKENS) {
        uint32_t left = p->n_tokens - at;
        size_t n_bytes = (left < COMPARED_TOKENS ? left : COMPARED_TOKENS) * sizeof *tokens;
        if (!file_read_at(fd, tokens, n_bytes, offset, e)) {
            return false;
        }
        if (memcmp(tokens, p->tokens + at, n_bytes) != 0) {
            return error_set(e, ERROR_FORMAT, "it is of another prefix");
        }
        offset += n_bytes;
    }
    return true;
}

bool spill_file_read(int fd, const struct spill_prefix *p, void *page, struct error *e)
{
    struct digest checksum;
    if (!check_head(fd, p, &checksum, e) || !compare_tokens(fd, p, e) ||
        !file_read_at(fd, page, p->page_bytes, page_offset(p), e)) {
        return false;
    }
    return digest_eq(checksum, checksum_of(p, page)) ||
           error_set(e, ERROR_FORMAT, "the page is damaged");
}

/* --- writing */

bool spill_file_write(int fd, const struct spill_prefix *p, const void *page, struct error *e)
{
    struct disk_head head = make_head(p);
    head.checksum = checksum_of(p, page);
    return file_reserve(fd, spill_file_bytes(p), e) &&
           file_write_at(fd, page, p->page_bytes, page_offset(p), e) &&
           file_write_at(fd, p->tokens, p->n_tokens * sizeof *p->tokens, SPILL_FILE_HEAD, e) &&
           file_write_at(fd, &head, sizeof head, 0, e) &&
           (fsync(fd) == 0 || error_set(e, ERROR_IO, "cannot be written: %s", strerror(errno)));
}
