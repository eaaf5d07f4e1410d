/* gguf.h - reader of GGUF v2 and v3 model files, single or split. Every number from the file is
 * checked before use; nothing is trusted.
 *
 * A struct gguf owns read-only maps of its files; every str and data pointer it hands out points
 * into them and lives until gguf_destroy. Immutable after opening, so any thread may read it.
 * source  GGUF specification, ggml docs/gguf.md */
#ifndef FORMAT_GGUF_H
#define FORMAT_GGUF_H

#include "base/digest.h"
#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gguf_value_type {
    GGUF_U8 = 0,
    GGUF_I8 = 1,
    GGUF_U16 = 2,
    GGUF_I16 = 3,
    GGUF_U32 = 4,
    GGUF_I32 = 5,
    GGUF_F32 = 6,
    GGUF_BOOL = 7,
    GGUF_STRING = 8,
    GGUF_ARRAY = 9,
    GGUF_U64 = 10,
    GGUF_I64 = 11,
    GGUF_F64 = 12,
    GGUF_VALUE_TYPE_COUNT
};

enum {
    GGUF_MAX_DIMS = 4,
    GGUF_MAX_KEYS = 65536,    /* metadata keys in a file */
    GGUF_MAX_TENSORS = 65536, /* tensors in all splits together */
    GGUF_MAX_SPLITS = 1024,
    GGUF_MAX_NAME_BYTES = 1024,    /* of a key or a tensor name */
    GGUF_MAX_ARRAY_ITEMS = 1 << 24 /* items of one metadata array */
};

/* One metadata value. Scalars are widened: unsigned and bool into u, signed into i, floats into f.
 * A string is in s. An array has element type and count, read with gguf_array_*. */
struct gguf_value {
    struct str key;
    enum gguf_value_type type;
    uint64_t u;
    int64_t i;
    double f;
    struct str s;
    enum gguf_value_type array_type; /* never GGUF_ARRAY: nested arrays are refused */
    uint64_t n_items;
    const uint8_t *items; /* packed items as in the file (little endian, unaligned) */
    const uint64_t
        *string_offsets; /* array of strings: byte offset of each item's bytes from items */
};

/* One tensor. dims[0] is the fastest (a row's length); dims beyond n_dims are 1. */
struct gguf_tensor {
    struct str name;
    uint32_t type; /* GGML type id as in the file; known and supported, see quant.h */
    uint32_t n_dims;
    uint64_t dims[GGUF_MAX_DIMS];
    uint64_t n_items; /* product of dims */
    uint64_t n_bytes;
    const uint8_t *data; /* n_bytes, aligned as the file says (at least 8 where the file does so) */
    uint32_t split;      /* which file holds it, from 0 */
    uint64_t file_offset; /* of data in that file */
};

struct gguf;

/* Opens and maps path; when it is shard 00001 of a split model (metadata split.count), opens the
 * others beside it, named as it is but for the number. Returns NULL with *e set: ERROR_NOT_FOUND (a
 * missing shard is named), _IO, _FORMAT, _UNSUPPORTED, _MEMORY, or _USAGE for any other shard. */
struct gguf *gguf_open(const char *path, struct error *e);

/* The same for one file already in memory (tests, fuzzing). data must outlive the result; tensor
 * data is aligned as data is. A shard of several is ERROR_UNSUPPORTED. */
struct gguf *gguf_parse(const uint8_t *data, size_t n_bytes, struct error *e);

void gguf_destroy(struct gguf *g);

uint32_t gguf_version(const struct gguf *g);
uint64_t gguf_file_bytes(const struct gguf *g); /* all splits */
uint32_t gguf_n_splits(const struct gguf *g);

/* A digest of what the file system said of the files when they were opened: device, inode, size,
 * time of the last write and of the last change. As long as it is the same, nobody has written to
 * them. False where that cannot be relied on: after gguf_parse, or when a file was written to
 * within the two seconds before, as a later write might leave the same times (they are that coarse
 * on FAT). */
bool gguf_identity(const struct gguf *g, struct digest *out);

/* A digest of what stands before the tensors' data in the (first) file: its keys and values. */
struct digest gguf_head_digest(const struct gguf *g);

size_t gguf_n_values(const struct gguf *g);
const struct gguf_value *gguf_value_at(const struct gguf *g, size_t index);
const struct gguf_value *gguf_find(const struct gguf *g, const char *key); /* NULL when absent */

size_t gguf_n_tensors(const struct gguf *g);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t index);
const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name);

/* Typed reads. `required` absent keys and wrong types are ERROR_FORMAT naming the key; an absent
 * optional key leaves *out as it was and returns true. Integers of any width are accepted when the
 * value fits; a float key accepts f32 and f64. */
bool gguf_get_u32(const struct gguf *g, const char *key, bool required, uint32_t *out,
                  struct error *e);
bool gguf_get_f32(const struct gguf *g, const char *key, bool required, float *out,
                  struct error *e);
bool gguf_get_bool(const struct gguf *g, const char *key, bool required, bool *out,
                   struct error *e);
bool gguf_get_str(const struct gguf *g, const char *key, bool required, struct str *out,
                  struct error *e);

/* Item `index` (< n_items) of an array value. The caller has checked array_type: GGUF_STRING; any
 * integer or bool (a u64 above INT64_MAX comes out negative); GGUF_F32 or GGUF_F64. */
struct str gguf_array_str(const struct gguf_value *v, uint64_t index);
int64_t gguf_array_int(const struct gguf_value *v, uint64_t index);
double gguf_array_float(const struct gguf_value *v, uint64_t index);

/* Tells the kernel that a tensor's pages are not needed any more (after packing). Reading
 * it again stays allowed, it comes from the file then. Does nothing after gguf_parse. */
void gguf_release_tensor(const struct gguf *g, const struct gguf_tensor *t);

const char *gguf_value_type_name(enum gguf_value_type type); /* "u32", "string", ... */

#endif
