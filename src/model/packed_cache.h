/* packed_cache.h - the folder that keeps packed weights, so that the next start reads them.
 *
 * The file of a model is found by the model's path and proved by what it says of the model: layout,
 * size, and content. The content is believed without reading the model when the file system's word
 * on the model file (gguf_identity) has not changed, otherwise the caller hashes it. Nothing that
 * goes wrong here stops a load: it is told to watch->note, and the model is packed.
 * One thread, that which loads; in the order of the functions below. docs/CACHE.md says the
 * whole. */
#ifndef MODEL_PACKED_CACHE_H
#define MODEL_PACKED_CACHE_H

#include "base/keep.h"
#include "format/gguf.h"
#include "model/packed_file.h"

struct packed_cache_options {
    const char *folder;     /* absolute; made when something is stored; NULL: there is no place */
    const char *model_path; /* of the model's first file */
    uint64_t limit_bytes;   /* of all files of the folder together */
    uint64_t min_bytes;     /* smaller packed weights are packed at every start */
};

enum packed_cache_state {
    PACKED_CACHE_OFF,    /* nothing is kept for this model */
    PACKED_CACHE_ABSENT, /* nothing to read, but packed weights are to be stored */
    PACKED_CACHE_UNSURE, /* there is a file; packed_cache_confirm says whether of this model */
    PACKED_CACHE_VALID   /* there is a file of this model */
};

struct packed_cache {
    struct packed_cache_options options;
    struct keep keep;
    struct model_watch watch;
    enum packed_cache_state state;
    struct packed_head wanted; /* content: once it is known */
    int fd;                    /* of the file while there is one to read, else -1 */
    struct packed_file file;
    char path[PATH_MAX];
};

/* Looks for the packed weights (n_bytes) of g, in which matrices have this order
 * (packing_order_digest). What options and watch point to outlives c. */
void packed_cache_open(struct packed_cache *c, const struct packed_cache_options *options,
                       const struct model_watch *watch, const struct gguf *g, uint64_t n_bytes,
                       const struct digest *order);
void packed_cache_close(struct packed_cache *c);

/* Tells what the model file's matrices really are; makes an unsure file valid, or absent. */
void packed_cache_confirm(struct packed_cache *c, const struct digest *content);

/* Reads a valid file into dst (n_bytes). On failure, told, the file is absent and dst holds
 * anything. */
bool packed_cache_read(struct packed_cache *c, uint8_t *dst, struct pool *pool);

/* When the file is absent: stores src (n_bytes), of that content, under the model's name unless it
 * does not fit the limit or half of what is free on the disk; files that were not used for longest
 * make room. Either the whole file gets its name or none does, whatever signal or error comes (a
 * killed process leaves a file of another name, which a later start removes). */
void packed_cache_store(struct packed_cache *c, const struct digest *content, const uint8_t *src,
                        struct pool *pool);

#endif
