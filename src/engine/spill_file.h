/* spill_file.h - a file of one page of keys and values: those of the last KERN_ATTN_TILE tokens of
 * a prefix. What a prefix is of (model, arithmetic, salt, all its tokens) names the file, and is
 * compared in full when it is read: no two prefixes are ever taken for each other. The page lies
 * under a checksum.
 *
 * Numbers are little endian; docs/CACHE.md draws the file:
 *   head    72 bytes: magic, version, digest of model and arithmetic, salt, number of tokens,
 *           bytes of the page, checksum of the page together with all before
 *   tokens  (n_tokens) 32 bits each
 *   page    to the end of the file
 * Nothing here allocates or keeps state; any thread. */
#ifndef ENGINE_SPILL_FILE_H
#define ENGINE_SPILL_FILE_H

#include "base/digest.h"
#include "base/error.h"

enum { SPILL_FILE_VERSION = 1, SPILL_FILE_HEAD = 72 };

/* What the page of a file is of. */
struct spill_prefix {
    struct digest maker; /* of all that makes the bytes of a page beside its tokens */
    uint64_t salt;
    const uint32_t *tokens; /* (n_tokens) from the first of the sequence to the last of the page */
    uint32_t n_tokens;
    size_t page_bytes;
};

struct digest spill_file_name(const struct spill_prefix *p);

/* Bytes of the whole file. */
uint64_t spill_file_bytes(const struct spill_prefix *p);

/* page (page_bytes) = that of the file. ERROR_FORMAT says what is wrong or whose it is instead,
 * ERROR_IO; page holds anything then. */
bool spill_file_read(int fd, const struct spill_prefix *p, void *page, struct error *e);

/* Writes the whole file and waits until it is on the disk. ERROR_IO; the file holds anything then
 * and is to be removed. */
bool spill_file_write(int fd, const struct spill_prefix *p, const void *page, struct error *e);

#endif
