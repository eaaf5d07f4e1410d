/* gguf_tensors.c - the tensor table: shapes, types, and where the data lies in its file. */
#include "base/mem.h"
#include "format/gguf_internal.h"
#include "quant/quant.h"

#include <assert.h>
#include <stdlib.h>

/* Dimensions and their product. An empty tensor has no use and would hide overlaps. */
static bool read_dims(struct gguf_cursor *c, struct gguf_tensor *t, struct error *e)
{
    if (!gguf_cursor_u32(c, &t->n_dims, e)) {
        return false;
    }
    if (t->n_dims == 0 || t->n_dims > GGUF_MAX_DIMS) {
        return error_set(e, ERROR_FORMAT, "%" PRIu32 " dimensions, expected 1 to %d", t->n_dims,
                         GGUF_MAX_DIMS);
    }
    t->n_items = 1;
    for (uint32_t i = 0; i < GGUF_MAX_DIMS; i++) {
        t->dims[i] = 1;
        if (i < t->n_dims && !gguf_cursor_u64(c, &t->dims[i], e)) {
            return false;
        }
        if (t->dims[i] == 0) {
            return error_set(e, ERROR_FORMAT, "dimension %" PRIu32 " is 0", i);
        }
        if (__builtin_mul_overflow(t->n_items, t->dims[i], &t->n_items)) {
            return error_set(e, ERROR_FORMAT,
                             "dimension %" PRIu32 " is %" PRIu64 ", the product overflows", i,
                             t->dims[i]);
        }
    }
    return true;
}

/* Type and, from it, the size. Rows are made of whole blocks. */
static bool read_type(struct gguf_cursor *c, struct gguf_tensor *t, struct error *e)
{
    if (!gguf_cursor_u32(c, &t->type, e)) {
        return false;
    }
    const struct quant_info *info = quant_type_info(t->type);
    const char *name = quant_type_name(t->type);
    if (info == NULL) {
        return name != NULL
                   ? error_set(e, ERROR_UNSUPPORTED, "type %s is not supported", name)
                   : error_set(e, ERROR_UNSUPPORTED, "type %" PRIu32 " is unknown", t->type);
    }
    if (t->dims[0] % info->block_items != 0) {
        return error_set(e, ERROR_FORMAT,
                         "rows of %" PRIu64 " items, type %s needs a multiple of %" PRIu32,
                         t->dims[0], info->name, info->block_items);
    }
    if (__builtin_mul_overflow(t->n_items / info->block_items, (uint64_t)info->block_bytes,
                               &t->n_bytes)) {
        return error_set(e, ERROR_FORMAT, "%" PRIu64 " items of type %s overflow 64 bits",
                         t->n_items, info->name);
    }
    return true;
}

/* Reads one entry; t->file_offset is relative to the data section until place_tensors. */
static bool read_tensor(struct gguf_cursor *c, uint32_t alignment, struct gguf_tensor *t,
                        struct error *e)
{
    if (!gguf_cursor_name(c, &t->name, e)) {
        return false;
    }
    if (!read_dims(c, t, e) || !read_type(c, t, e) || !gguf_cursor_u64(c, &t->file_offset, e)) {
        return error_prefix(e, "tensor '%.*s'", STR_ARG(str_shown(t->name)));
    }
    if (t->file_offset % alignment != 0) {
        return error_set(e, ERROR_FORMAT,
                         "tensor '%.*s': offset %" PRIu64
                         " is not a multiple of the alignment %" PRIu32,
                         STR_ARG(str_shown(t->name)), t->file_offset, alignment);
    }
    return true;
}

/* The data section starts behind the table, at the next multiple of the alignment. */
static bool place_tensors(const struct gguf_cursor *c, uint32_t alignment, struct gguf_tensor *t,
                          size_t n, struct error *e)
{
    uint64_t start = ((uint64_t)c->at + alignment - 1) & ~(uint64_t)(alignment - 1);
    uint64_t section_bytes = start < c->n_bytes ? c->n_bytes - start : 0;
    for (size_t i = 0; i < n; i++) {
        if (t[i].file_offset > section_bytes || t[i].n_bytes > section_bytes - t[i].file_offset) {
            return error_set(
                e, ERROR_FORMAT,
                "tensor '%.*s': %" PRIu64 " bytes at %" PRIu64
                " pass the end of the data section of %" PRIu64 " bytes (is the file cut off?)",
                STR_ARG(str_shown(t[i].name)), t[i].n_bytes, t[i].file_offset, section_bytes);
        }
        t[i].file_offset += start;
        t[i].data = c->data + t[i].file_offset;
    }
    return true;
}

bool gguf_tensors_read(struct gguf *g, struct gguf_cursor *c, uint64_t n_tensors,
                       uint32_t alignment, struct error *e)
{
    /* name length, one byte of name, n_dims, one dimension, type, offset */
    enum { MIN_ENTRY_BYTES = 8 + 1 + 4 + 8 + 4 + 8 };
    size_t n = 0;
    c->part = "tensor";
    c->index = 0;
    c->n_parts = n_tensors;
    if (!gguf_cursor_count(c, n_tensors, GGUF_MAX_TENSORS - g->n_tensors, MIN_ENTRY_BYTES, &n, e)) {
        return false;
    }
    struct gguf_tensor *tensors =
        mem_resize(g->tensors, g->n_tensors + n, sizeof *tensors, "GGUF tensor table", e);
    if (tensors == NULL) {
        return false;
    }
    g->tensors = tensors;
    tensors += g->n_tensors;
    for (size_t i = 0; i < n; i++) {
        c->index = i;
        tensors[i] = (struct gguf_tensor){.split = g->n_shards - 1};
        if (!read_tensor(c, alignment, &tensors[i], e)) {
            return false;
        }
    }
    if (!place_tensors(c, alignment, tensors, n, e)) {
        return false;
    }
    g->n_tensors += n;
    return true;
}

static int compare_places(const void *a, const void *b, void *context)
{
    const struct gguf_tensor *tensors = context;
    const struct gguf_tensor *x = &tensors[*(const uint32_t *)a];
    const struct gguf_tensor *y = &tensors[*(const uint32_t *)b];
    if (x->split != y->split) {
        return x->split < y->split ? -1 : 1;
    }
    return (x->file_offset > y->file_offset) - (x->file_offset < y->file_offset);
}

/* Sorted by place, a tensor that overlaps any other overlaps its neighbour. */
static bool check_overlap(const struct gguf *g, struct error *e)
{
    uint32_t *order = mem_alloc(g->n_tensors, sizeof *order, "GGUF overlap check", e);
    if (order == NULL) {
        return false;
    }
    for (size_t i = 0; i < g->n_tensors; i++) {
        order[i] = (uint32_t)i;
    }
    qsort_r(order, g->n_tensors, sizeof *order, compare_places, g->tensors);
    bool ok = true;
    for (size_t i = 1; i < g->n_tensors && ok; i++) {
        const struct gguf_tensor *a = &g->tensors[order[i - 1]];
        const struct gguf_tensor *b = &g->tensors[order[i]];
        if (a->split == b->split && a->file_offset + a->n_bytes > b->file_offset) {
            ok = error_set(e, ERROR_FORMAT,
                           "tensors '%.*s' and '%.*s' overlap: %" PRIu64 " bytes at %" PRIu64
                           " and %" PRIu64 " bytes at %" PRIu64,
                           STR_ARG(str_shown(a->name)), STR_ARG(str_shown(b->name)), a->n_bytes,
                           a->file_offset, b->n_bytes, b->file_offset);
        }
    }
    mem_free(order);
    return ok;
}

bool gguf_tensors_check(struct gguf *g, struct error *e)
{
    static_assert(offsetof(struct gguf_tensor, name) == 0, "gguf_index needs the name first");
    if (!gguf_index_init(&g->tensor_index, g->tensors, sizeof *g->tensors, g->n_tensors, e)) {
        return false;
    }
    size_t first;
    size_t second;
    if (gguf_index_has_duplicate(&g->tensor_index, &first, &second)) {
        return error_set(e, ERROR_FORMAT,
                         "tensor '%.*s' is there twice, as number %zu (shard %" PRIu32
                         ") and %zu (shard %" PRIu32 ")",
                         STR_ARG(str_shown(g->tensors[first].name)), first + 1,
                         g->tensors[first].split + 1, second + 1, g->tensors[second].split + 1);
    }
    return check_overlap(g, e);
}

size_t gguf_n_tensors(const struct gguf *g)
{
    return g->n_tensors;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t index)
{
    assert(index < g->n_tensors);
    return &g->tensors[index];
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name)
{
    size_t i = gguf_index_find(&g->tensor_index, str_from(name));
    return i == SIZE_MAX ? NULL : &g->tensors[i];
}
