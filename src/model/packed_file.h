/* packed_file.h - a file of packed weights: its format, read and written with all threads, every
 * byte of the weights under a checksum. Which file stands for which model is packed_cache.h's
 * concern.
 *
 * Numbers are little endian. docs/CACHE.md draws it:
 *   head      88 bytes: magic, version, size of the weights, digests of the packed layout and of
 *             the matrices in the model file, checksum of all these and of the table, identity of
 *             the model file
 *   table     a digest for each chunk of PACKED_FILE_CHUNK bytes, the last one shorter
 *   padding   to a multiple of 4096
 *   weights   to the end of the file
 * The identity lies outside the checksum, because it changes when the model file is moved; it
 * either equals the one that is wanted or says nothing. */
#ifndef MODEL_PACKED_FILE_H
#define MODEL_PACKED_FILE_H

#include "base/digest.h"
#include "base/error.h"
#include "base/pool.h"
#include "model/watch.h"

enum {
    PACKED_FILE_VERSION = 1, /* of this format; the weights' own layout has a digest */
    PACKED_FILE_CHUNK =
        256 * 1024, /* fits the second-level cache, so that hashing reads no memory */
    PACKED_FILE_HEAD = 88,
    PACKED_FILE_ALIGNMENT = 4096
};

struct packed_head {
    uint64_t n_bytes;       /* of the weights */
    struct digest layout;   /* of pack_layout_digest() and packing_order_digest() */
    struct digest content;  /* of what was packed */
    struct digest identity; /* gguf_identity() of the model file; all zero: not known */
};

/* A file whose head and table are sound. */
struct packed_file {
    int fd; /* borrowed */
    struct packed_head head;
    uint32_t n_chunks;
    uint64_t data_offset;
    struct digest *checksums; /* (n_chunks) */
};

/* Bytes of the whole file, 0 when n_bytes of weights are too many for one. */
uint64_t packed_file_bytes(uint64_t n_bytes);

/* Reads and checks head and table of an open file, whose layout and size must be those that are
 * wanted (NULL: any): that comes before memory is taken for the table, as a file may claim to be
 * large and take no room on the disk. ERROR_FORMAT says what is wrong with it, ERROR_IO,
 * ERROR_MEMORY. On success the caller finishes f. */
bool packed_file_open(struct packed_file *f, int fd, const struct packed_head *wanted,
                      struct error *e);
void packed_file_finish(struct packed_file *f);

/* dst (head.n_bytes) = the weights, each chunk compared with its checksum by the thread that read
 * it. ERROR_FORMAT names the chunk that differs, ERROR_IO; dst holds anything then. */
bool packed_file_read(const struct packed_file *f, uint8_t *dst, struct pool *pool,
                      const struct model_watch *watch, struct error *e);

/* Writes the whole file and waits until it is on the disk. src (head->n_bytes). ERROR_IO;
 * ERROR_INTERRUPTED as soon as a SIGINT, SIGTERM, SIGHUP or SIGQUIT that the caller blocked is
 * pending, or watch->stop is set. After a failure the file holds anything and is to be removed. */
bool packed_file_write(int fd, const struct packed_head *head, const uint8_t *src,
                       struct pool *pool, const struct model_watch *watch, struct error *e);

/* Replaces the identity of an open file. */
bool packed_file_identify(int fd, const struct digest *identity);

#endif
