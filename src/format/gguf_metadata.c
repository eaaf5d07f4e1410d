/* gguf_metadata.c - the bounded cursor, the index by name, metadata values and their typed reads.
 */
#include "format/gguf_internal.h"

#include "base/mem.h"

#include <assert.h>
#include <endian.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>

/* Widths of values in the file; 0 for strings and arrays. */
static const struct value_type {
    const char *name;
    uint8_t n_bytes;
} value_types[GGUF_VALUE_TYPE_COUNT] = {
    [GGUF_U8] = {"u8", 1},       [GGUF_I8] = {"i8", 1},     [GGUF_U16] = {"u16", 2},
    [GGUF_I16] = {"i16", 2},     [GGUF_U32] = {"u32", 4},   [GGUF_I32] = {"i32", 4},
    [GGUF_F32] = {"f32", 4},     [GGUF_BOOL] = {"bool", 1}, [GGUF_STRING] = {"string", 0},
    [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"u64", 8},   [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

const char *gguf_value_type_name(enum gguf_value_type type)
{
    return (unsigned)type < GGUF_VALUE_TYPE_COUNT ? value_types[type].name : "unknown";
}

/* --- cursor */

static uint32_t load_u32(const uint8_t *p)
{
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return le32toh(x);
}

static uint64_t load_u64(const uint8_t *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return le64toh(x);
}

static bool cursor_take(struct gguf_cursor *c, uint64_t n_bytes, const uint8_t **out,
                        struct error *e)
{
    size_t left = c->n_bytes - c->at;
    if (n_bytes > left) {
        return error_set(e, ERROR_FORMAT,
                         "the file ends in %s %" PRIu64 " of %" PRIu64 ": %" PRIu64
                         " bytes wanted at offset %zu, %zu are left",
                         c->part, c->index + 1, c->n_parts, n_bytes, c->at, left);
    }
    *out = c->data + c->at;
    c->at += n_bytes;
    return true;
}

bool gguf_cursor_u32(struct gguf_cursor *c, uint32_t *out, struct error *e)
{
    const uint8_t *p = NULL;
    if (!cursor_take(c, sizeof *out, &p, e)) {
        return false;
    }
    *out = load_u32(p);
    return true;
}

bool gguf_cursor_u64(struct gguf_cursor *c, uint64_t *out, struct error *e)
{
    const uint8_t *p = NULL;
    if (!cursor_take(c, sizeof *out, &p, e)) {
        return false;
    }
    *out = load_u64(p);
    return true;
}

static bool cursor_str(struct gguf_cursor *c, struct str *out, struct error *e)
{
    size_t start = c->at;
    uint64_t n = 0;
    const uint8_t *p = NULL;
    if (!gguf_cursor_u64(c, &n, e)) {
        return false;
    }
    if (!cursor_take(c, n, &p, e)) {
        c->at = start;
        return false;
    }
    *out = (struct str){(const char *)p, n};
    return true;
}

static bool is_control(uint32_t code_point)
{
    return code_point < 0x20 || (code_point >= 0x7F && code_point < 0xA0);
}

bool gguf_cursor_name(struct gguf_cursor *c, struct str *out, struct error *e)
{
    size_t start = c->at;
    struct str name;
    if (!cursor_str(c, &name, e)) {
        return false;
    }
    if (name.n == 0 || name.n > GGUF_MAX_NAME_BYTES) {
        c->at = start;
        return error_set(e, ERROR_FORMAT,
                         "name of %s %" PRIu64 " of %" PRIu64 " has %zu bytes, 1 to %d are allowed",
                         c->part, c->index + 1, c->n_parts, name.n, GGUF_MAX_NAME_BYTES);
    }
    for (size_t i = 0; i < name.n;) {
        uint32_t code_point = 0;
        size_t length = str_decode_utf8(str_skip(name, i), &code_point);
        if (length == 0 || is_control(code_point)) {
            c->at = start;
            return error_set(e, ERROR_FORMAT,
                             "name of %s %" PRIu64 " of %" PRIu64
                             " has byte 0x%02x at %zu, which is no printable UTF-8",
                             c->part, c->index + 1, c->n_parts, (unsigned char)name.p[i], i);
        }
        i += length;
    }
    *out = name;
    return true;
}

bool gguf_cursor_count(const struct gguf_cursor *c, uint64_t n, uint64_t max, size_t min_bytes,
                       size_t *out_n, struct error *e)
{
    if (n > max) {
        return error_set(e, ERROR_FORMAT, "%" PRIu64 " %ss, at most %" PRIu64 " are read", n,
                         c->part, max);
    }
    size_t left = c->n_bytes - c->at;
    if (n > left / min_bytes) {
        return error_set(e, ERROR_FORMAT,
                         "the file ends too early: %" PRIu64
                         " %ss need at least %zu bytes each, %zu bytes are left",
                         n, c->part, min_bytes, left);
    }
    *out_n = (size_t)n;
    return true;
}

/* --- index by name */

static struct str item_name(const struct gguf_index *index, size_t i)
{
    return *(const struct str *)(const void *)((const char *)index->items + i * index->stride);
}

static int compare_names(struct str a, struct str b)
{
    int order = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n); /* names are never empty */
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

/* Equal names keep the order of their positions, so that the later one is called the duplicate. */
static int compare_items(const void *a, const void *b, void *context)
{
    uint32_t i = *(const uint32_t *)a;
    uint32_t j = *(const uint32_t *)b;
    int order = compare_names(item_name(context, i), item_name(context, j));
    return order != 0 ? order : (i > j) - (i < j);
}

bool gguf_index_init(struct gguf_index *index, const void *items, size_t stride, size_t n,
                     struct error *e)
{
    uint32_t *order = mem_alloc(n, sizeof *order, "GGUF name index", e);
    if (order == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        order[i] = (uint32_t)i;
    }
    *index = (struct gguf_index){items, stride, n, order};
    qsort_r(order, n, sizeof *order, compare_items, index);
    return true;
}

void gguf_index_finish(struct gguf_index *index)
{
    mem_free(index->order);
    *index = (struct gguf_index){0};
}

size_t gguf_index_find(const struct gguf_index *index, struct str name)
{
    size_t low = 0;
    size_t high = index->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_names(item_name(index, index->order[middle]), name);
        if (order == 0) {
            return index->order[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return SIZE_MAX;
}

bool gguf_index_has_duplicate(const struct gguf_index *index, size_t *out_first, size_t *out_second)
{
    for (size_t i = 1; i < index->n; i++) {
        if (str_eq(item_name(index, index->order[i - 1]), item_name(index, index->order[i]))) {
            *out_first = index->order[i - 1];
            *out_second = index->order[i];
            return true;
        }
    }
    return false;
}

/* --- values */

/* Widens the scalar at p into the member of *v that its type calls for. */
static void load_scalar(const uint8_t *p, enum gguf_value_type type, struct gguf_value *v)
{
    unsigned n_bytes = value_types[type].n_bytes;
    uint64_t bits = 0;
    for (unsigned i = 0; i < n_bytes; i++) {
        bits |= (uint64_t)p[i] << (8 * i);
    }
    unsigned unused_bits = 64 - 8 * n_bytes;
    switch (type) {
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64:
        v->i = (int64_t)(bits << unused_bits) >> unused_bits;
        break;
    case GGUF_F32: {
        uint32_t low = (uint32_t)bits;
        float f;
        memcpy(&f, &low, sizeof f);
        v->f = (double)f;
        break;
    }
    case GGUF_F64:
        memcpy(&v->f, &bits, sizeof v->f);
        break;
    default:
        v->u = bits;
        break;
    }
}

static bool read_type(struct gguf_cursor *c, struct str key, enum gguf_value_type *out,
                      struct error *e)
{
    uint32_t type = 0;
    if (!gguf_cursor_u32(c, &type, e)) {
        return false;
    }
    if (type >= GGUF_VALUE_TYPE_COUNT) {
        return error_set(e, ERROR_FORMAT, "key '%.*s': unknown value type %" PRIu32,
                         STR_ARG(str_shown(key)), type);
    }
    *out = (enum gguf_value_type)type;
    return true;
}

/* The strings of an array follow each other, each behind its length: notes where they begin. The
 * offsets take 8 bytes a string, no more than the lengths in the file do. */
static bool read_strings(struct gguf_cursor *c, struct gguf_value *v, struct error *e)
{
    uint64_t *offsets = mem_alloc(v->n_items, sizeof *offsets, "GGUF string array", e);
    if (offsets == NULL) {
        return false;
    }
    v->string_offsets = offsets;
    for (uint64_t i = 0; i < v->n_items; i++) {
        struct str s;
        if (!cursor_str(c, &s, e)) {
            return error_prefix(e, "key '%.*s', string %" PRIu64 " of %" PRIu64,
                                STR_ARG(str_shown(v->key)), i + 1, v->n_items);
        }
        offsets[i] = (uint64_t)((const uint8_t *)s.p - v->items);
    }
    return true;
}

static bool check_bools(const struct gguf_value *v, const uint8_t *p, size_t n, struct error *e)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] > 1) {
            return error_set(e, ERROR_FORMAT, "key '%.*s': bool with value %u, expected 0 or 1",
                             STR_ARG(str_shown(v->key)), p[i]);
        }
    }
    return true;
}

static bool read_array(struct gguf_cursor *c, struct gguf_value *v, struct error *e)
{
    uint64_t n = 0;
    if (!read_type(c, v->key, &v->array_type, e)) {
        return false;
    }
    if (v->array_type == GGUF_ARRAY) {
        return error_set(e, ERROR_UNSUPPORTED, "key '%.*s': arrays of arrays are not supported",
                         STR_ARG(str_shown(v->key)));
    }
    if (!gguf_cursor_u64(c, &n, e)) {
        return false;
    }
    size_t item_bytes = value_types[v->array_type].n_bytes;
    struct gguf_cursor items = *c;
    items.part = "array item";
    size_t n_items = 0;
    if (!gguf_cursor_count(&items, n, GGUF_MAX_ARRAY_ITEMS,
                           v->array_type == GGUF_STRING ? sizeof n : item_bytes, &n_items, e)) {
        return error_prefix(e, "key '%.*s'", STR_ARG(str_shown(v->key)));
    }
    v->n_items = n_items;
    v->items = c->data + c->at;
    if (v->array_type == GGUF_STRING) {
        return read_strings(c, v, e);
    }
    c->at += n_items * item_bytes; /* inside the file: gguf_cursor_count has checked */
    return v->array_type != GGUF_BOOL || check_bools(v, v->items, n_items, e);
}

static bool read_value(struct gguf_cursor *c, struct gguf_value *v, struct error *e)
{
    if (!gguf_cursor_name(c, &v->key, e) || !read_type(c, v->key, &v->type, e)) {
        return false;
    }
    if (v->type == GGUF_STRING) {
        return cursor_str(c, &v->s, e) || error_prefix(e, "key '%.*s'", STR_ARG(str_shown(v->key)));
    }
    if (v->type == GGUF_ARRAY) {
        return read_array(c, v, e);
    }
    const uint8_t *p = NULL;
    if (!cursor_take(c, value_types[v->type].n_bytes, &p, e)) {
        return error_prefix(e, "key '%.*s'", STR_ARG(str_shown(v->key)));
    }
    load_scalar(p, v->type, v);
    return v->type != GGUF_BOOL || check_bools(v, p, 1, e);
}

bool gguf_metadata_read(struct gguf_cursor *c, uint64_t n_keys, struct gguf_metadata *m,
                        struct error *e)
{
    /* length, one byte of key, type, one byte of value */
    enum { MIN_PAIR_BYTES = 8 + 1 + 4 + 1 };
    size_t n = 0;
    c->part = "metadata key";
    c->n_parts = n_keys;
    if (!gguf_cursor_count(c, n_keys, GGUF_MAX_KEYS, MIN_PAIR_BYTES, &n, e)) {
        return false;
    }
    m->values = mem_alloc(n, sizeof *m->values, "GGUF metadata", e);
    if (m->values == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        c->index = i;
        m->n = i + 1;
        if (!read_value(c, &m->values[i], e)) {
            return false;
        }
    }
    static_assert(offsetof(struct gguf_value, key) == 0, "gguf_index needs the name first");
    if (!gguf_index_init(&m->index, m->values, sizeof *m->values, n, e)) {
        return false;
    }
    size_t first;
    size_t second;
    if (gguf_index_has_duplicate(&m->index, &first, &second)) {
        return error_set(e, ERROR_FORMAT, "key '%.*s' is there twice, as number %zu and %zu",
                         STR_ARG(str_shown(m->values[first].key)), first + 1, second + 1);
    }
    return true;
}

void gguf_metadata_finish(struct gguf_metadata *m)
{
    for (size_t i = 0; i < m->n; i++) {
        mem_free((void *)m->values[i].string_offsets);
    }
    mem_free(m->values);
    gguf_index_finish(&m->index);
    *m = (struct gguf_metadata){0};
}

/* --- typed reads */

size_t gguf_n_values(const struct gguf *g)
{
    return g->metadata.n;
}

const struct gguf_value *gguf_value_at(const struct gguf *g, size_t index)
{
    assert(index < g->metadata.n);
    return &g->metadata.values[index];
}

static const struct gguf_value *find(const struct gguf_metadata *m, const char *key)
{
    size_t i = gguf_index_find(&m->index, str_from(key));
    return i == SIZE_MAX ? NULL : &m->values[i];
}

const struct gguf_value *gguf_find(const struct gguf *g, const char *key)
{
    return find(&g->metadata, key);
}

static bool absent(const char *key, bool required, struct error *e)
{
    return !required || error_set(e, ERROR_FORMAT, "key '%s' is missing", key);
}

static bool wrong_type(const struct gguf_value *v, const char *expected, struct error *e)
{
    return error_set(e, ERROR_FORMAT, "key '%.*s' is of type %s, expected %s",
                     STR_ARG(str_shown(v->key)), gguf_value_type_name(v->type), expected);
}

bool gguf_metadata_get_u32(const struct gguf_metadata *m, const char *key, bool required,
                           uint32_t *out, struct error *e)
{
    const struct gguf_value *v = find(m, key);
    if (v == NULL) {
        return absent(key, required, e);
    }
    switch (v->type) {
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_U64:
        if (v->u > UINT32_MAX) {
            return error_set(e, ERROR_FORMAT, "key '%s' is %" PRIu64 ", expected at most %" PRIu32,
                             key, v->u, UINT32_MAX);
        }
        *out = (uint32_t)v->u;
        return true;
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64:
        if (v->i < 0 || v->i > UINT32_MAX) {
            return error_set(e, ERROR_FORMAT, "key '%s' is %" PRId64 ", expected 0 to %" PRIu32,
                             key, v->i, UINT32_MAX);
        }
        *out = (uint32_t)v->i;
        return true;
    default:
        return wrong_type(v, "an integer", e);
    }
}

bool gguf_get_u32(const struct gguf *g, const char *key, bool required, uint32_t *out,
                  struct error *e)
{
    return gguf_metadata_get_u32(&g->metadata, key, required, out, e);
}

bool gguf_get_f32(const struct gguf *g, const char *key, bool required, float *out, struct error *e)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (v == NULL) {
        return absent(key, required, e);
    }
    if (v->type != GGUF_F32 && v->type != GGUF_F64) {
        return wrong_type(v, "a float", e);
    }
    if (isfinite(v->f) && fabs(v->f) > (double)FLT_MAX) {
        return error_set(e, ERROR_FORMAT, "key '%s' is %g, too large for f32", key, v->f);
    }
    *out = (float)v->f;
    return true;
}

bool gguf_get_bool(const struct gguf *g, const char *key, bool required, bool *out, struct error *e)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (v == NULL) {
        return absent(key, required, e);
    }
    if (v->type != GGUF_BOOL) {
        return wrong_type(v, "bool", e);
    }
    *out = v->u != 0;
    return true;
}

bool gguf_get_str(const struct gguf *g, const char *key, bool required, struct str *out,
                  struct error *e)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (v == NULL) {
        return absent(key, required, e);
    }
    if (v->type != GGUF_STRING) {
        return wrong_type(v, "string", e);
    }
    *out = v->s;
    return true;
}

struct str gguf_array_str(const struct gguf_value *v, uint64_t index)
{
    assert(v->type == GGUF_ARRAY && v->array_type == GGUF_STRING && index < v->n_items);
    const uint8_t *p = v->items + v->string_offsets[index];
    return (struct str){(const char *)p, load_u64(p - sizeof(uint64_t))};
}

static struct gguf_value array_item(const struct gguf_value *v, uint64_t index)
{
    assert(v->type == GGUF_ARRAY && v->array_type != GGUF_STRING && index < v->n_items);
    struct gguf_value item = {.type = v->array_type};
    load_scalar(v->items + index * value_types[v->array_type].n_bytes, v->array_type, &item);
    return item;
}

int64_t gguf_array_int(const struct gguf_value *v, uint64_t index)
{
    assert(v->array_type != GGUF_F32 && v->array_type != GGUF_F64);
    struct gguf_value item = array_item(v, index);
    return item.i != 0 ? item.i : (int64_t)item.u;
}

double gguf_array_float(const struct gguf_value *v, uint64_t index)
{
    assert(v->array_type == GGUF_F32 || v->array_type == GGUF_F64);
    return array_item(v, index).f;
}
