/* gguf_internal.h - what the files of the GGUF reader share; included by src/format/gguf*.c alone.
 *
 * gguf.c opens, maps and joins files; gguf_metadata.c reads keys and values; gguf_tensors.c reads
 * the tensor table and checks where the data lies. All of them read through the bounded cursor
 * below. */
#ifndef FORMAT_GGUF_INTERNAL_H
#define FORMAT_GGUF_INTERNAL_H

#include "format/gguf.h"

#include <inttypes.h>

enum {
    GGUF_DEFAULT_ALIGNMENT = 32, /* GGUF specification, general.alignment */
    GGUF_MIN_ALIGNMENT = 8,
    GGUF_MAX_ALIGNMENT = 1 << 20
};

/* Reads forward through the bytes of one file and never past their end. part, index and n_parts say
 * what is being read, for error texts: "key 3 of 24". */
struct gguf_cursor {
    const uint8_t *data;
    size_t n_bytes;
    size_t at; /* <= n_bytes */
    const char *part;
    uint64_t index; /* from 0; shown from 1 */
    uint64_t n_parts;
};

/* Both are ERROR_FORMAT, with the cursor unmoved, when the file ends too early. */
bool gguf_cursor_u32(struct gguf_cursor *c, uint32_t *out, struct error *e);
bool gguf_cursor_u64(struct gguf_cursor *c, uint64_t *out, struct error *e);

/* A key or a tensor name: 1 to GGUF_MAX_NAME_BYTES bytes of UTF-8 without control characters, so
 * that error texts and listings may print it as it is. */
bool gguf_cursor_name(struct gguf_cursor *c, struct str *out, struct error *e);

/* *out_n = n when n things of at least min_bytes each fit what is left of the file and n <= max. So
 * that a count from the file never leads to an allocation larger than the file justifies. */
bool gguf_cursor_count(const struct gguf_cursor *c, uint64_t n, uint64_t max, size_t min_bytes,
                       size_t *out_n, struct error *e);

/* Positions of the n items sorted by name: finds in O(log n) whatever names a hostile file chooses
 * (a hash table would need a secret). An item is a struct whose first member is its name. */
struct gguf_index {
    const void *items;
    size_t stride; /* sizeof of an item */
    size_t n;
    uint32_t *order; /* (n) */
};

bool gguf_index_init(struct gguf_index *index, const void *items, size_t stride, size_t n,
                     struct error *e);
void gguf_index_finish(struct gguf_index *index);
/* Position of the item with that name, or SIZE_MAX. */
size_t gguf_index_find(const struct gguf_index *index, struct str name);
/* True when two items share a name; *out_first < *out_second are their positions. */
bool gguf_index_has_duplicate(const struct gguf_index *index, size_t *out_first,
                              size_t *out_second);

/* The metadata of one file. */
struct gguf_metadata {
    struct gguf_value *values; /* (n) */
    size_t n;
    struct gguf_index index;
};

/* Reads n_keys pairs at the cursor into *m (zeroed before). Also on failure the caller finishes m.
 */
bool gguf_metadata_read(struct gguf_cursor *c, uint64_t n_keys, struct gguf_metadata *m,
                        struct error *e);
void gguf_metadata_finish(struct gguf_metadata *m);
bool gguf_metadata_get_u32(const struct gguf_metadata *m, const char *key, bool required,
                           uint32_t *out, struct error *e);

/* What the file system said of a file when it was opened. All of 64 bits: no padding. */
struct gguf_file_state {
    uint64_t device, inode, n_bytes;
    int64_t written_s, written_ns, changed_s, changed_ns;
};

/* One file of a model. */
struct gguf_shard {
    const uint8_t *data;
    size_t n_bytes;
    bool is_mapped;  /* ours to unmap */
    bool is_settled; /* when it was opened, the last write was long enough ago */
    struct gguf_file_state state;
};

struct gguf {
    struct gguf_shard *shards; /* (n_shards) */
    uint32_t n_shards;
    uint32_t version;              /* of the first shard */
    struct gguf_metadata metadata; /* of the first shard */
    struct gguf_tensor *tensors;   /* (n_tensors) in the order of the shards and their tables */
    size_t n_tensors;
    struct gguf_index tensor_index;
};

/* Reads the table of n_tensors at the cursor, checks each entry against the shard's data section
 * and appends them to g->tensors. Also on failure g stays fit for gguf_destroy. */
bool gguf_tensors_read(struct gguf *g, struct gguf_cursor *c, uint64_t n_tensors,
                       uint32_t alignment, struct error *e);

/* Once all shards are read: names are unique and no data is used twice. Builds g->tensor_index. */
bool gguf_tensors_check(struct gguf *g, struct error *e);

#endif
