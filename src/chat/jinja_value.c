/* jinja_value.c - the arena, text with origins, lists and dicts. */
#include "chat/jinja_value.h"

#include "base/mem.h"
#include "chat/jinja_unicode.h"

enum { BLOCK_BYTES = 16 << 10, ALIGN_BYTES = 16, FIRST_CAPACITY = 8 };

struct jinja_block {
    struct jinja_block *next;
    size_t n, capacity; /* bytes of data */
    _Alignas(ALIGN_BYTES) char data[];
};

void jinja_arena_init(struct jinja_arena *a, size_t max_bytes)
{
    *a = (struct jinja_arena){.max_bytes = max_bytes};
}

void jinja_arena_finish(struct jinja_arena *a)
{
    while (a->blocks != NULL) {
        struct jinja_block *next = a->blocks->next;
        mem_free(a->blocks);
        a->blocks = next;
    }
    a->n_bytes = 0;
}

/* A block for at least n_bytes. Blocks grow with what there is already, so that they stay few. */
static struct jinja_block *add_block(struct jinja_arena *a, size_t n_bytes, struct error *e)
{
    size_t capacity = BLOCK_BYTES > a->n_bytes / 4 ? BLOCK_BYTES : a->n_bytes / 4;
    size_t left = a->max_bytes - a->n_bytes;
    capacity = capacity < left ? capacity : left;
    capacity = capacity > n_bytes ? capacity : n_bytes;
    if (n_bytes > left) {
        error_set(e, ERROR_UNSUPPORTED,
                  "the template needs %zu bytes of memory beside %zu, %zu are allowed", n_bytes,
                  a->n_bytes, a->max_bytes);
        return NULL;
    }
    struct jinja_block *block = mem_alloc(1, sizeof *block + capacity, "template", e);
    if (block != NULL) {
        block->capacity = capacity;
        block->next = a->blocks;
        a->blocks = block;
        a->n_bytes += capacity;
    }
    return block;
}

void *jinja_arena_alloc(struct jinja_arena *a, size_t n, size_t size, struct error *e)
{
    size_t bytes;
    if (!mem_mul(n, size, &bytes) || !mem_add(bytes, ALIGN_BYTES - 1, &bytes)) {
        error_set(e, ERROR_MEMORY, "out of memory: template needs %zu x %zu bytes", n, size);
        return NULL;
    }
    bytes &= ~(size_t)(ALIGN_BYTES - 1);
    struct jinja_block *block = a->blocks;
    if (block == NULL || block->capacity - block->n < bytes) {
        block = add_block(a, bytes, e);
    }
    if (block == NULL) {
        return NULL;
    }
    void *p = block->data + block->n;
    block->n += bytes;
    return p;
}

/* Whether the `bytes` at p end the newest block and could grow there to `needed`. */
static bool grows_in_place(struct jinja_arena *a, const char *p, size_t bytes, size_t needed)
{
    struct jinja_block *block = a->blocks;
    size_t rounded = (bytes + ALIGN_BYTES - 1) & ~(size_t)(ALIGN_BYTES - 1);
    size_t wanted = (needed + ALIGN_BYTES - 1) & ~(size_t)(ALIGN_BYTES - 1);
    if (p == NULL || p < block->data || p >= block->data + block->capacity ||
        p + rounded != block->data + block->n || wanted - rounded > block->capacity - block->n) {
        return false;
    }
    block->n += wanted - rounded;
    return true;
}

bool jinja_arena_grow(struct jinja_arena *a, void *p, size_t *capacity, size_t needed, size_t size,
                      struct error *e)
{
    if (needed <= *capacity) {
        return true;
    }
    size_t wanted = *capacity > 0 ? *capacity : FIRST_CAPACITY;
    while (wanted < needed) {
        wanted += wanted / 2;
    }
    void *old;
    memcpy(&old, p, sizeof old);
    if (!grows_in_place(a, old, *capacity * size, wanted * size)) {
        void *moved = jinja_arena_alloc(a, wanted, size, e);
        if (moved == NULL) {
            return false;
        }
        if (*capacity > 0) {
            memcpy(moved, old, *capacity * size);
        }
        memcpy(p, &moved, sizeof moved);
    }
    *capacity = wanted;
    return true;
}

/* --- plain values */

struct jinja_value jinja_undefined(const struct str *name)
{
    return (struct jinja_value){.kind = JINJA_UNDEFINED, .u.name = name};
}

struct jinja_value jinja_none(void)
{
    return (struct jinja_value){.kind = JINJA_NONE};
}

struct jinja_value jinja_bool(bool value, enum jinja_origin origin)
{
    return (struct jinja_value){.kind = JINJA_BOOL, .origin = origin, .u.boolean = value};
}

struct jinja_value jinja_int(int64_t value, enum jinja_origin origin)
{
    return (struct jinja_value){.kind = JINJA_INT, .origin = origin, .u.integer = value};
}

struct jinja_value jinja_float(double value, enum jinja_origin origin)
{
    return (struct jinja_value){.kind = JINJA_FLOAT, .origin = origin, .u.real = value};
}

enum jinja_origin jinja_origin_of(const struct jinja_string *s, size_t from, size_t to)
{
    size_t at = 0;
    for (size_t i = 0; i < s->n_spans && at < to; i++) {
        size_t end = at + s->spans[i].n_bytes;
        if (end > from && s->spans[i].origin == JINJA_DATA) {
            return JINJA_DATA;
        }
        at = end;
    }
    return JINJA_TEMPLATE;
}

enum jinja_origin jinja_value_origin(struct jinja_value v)
{
    if (v.kind == JINJA_STRING) {
        return jinja_origin_of(v.u.string, 0, v.u.string->n);
    }
    return jinja_is_number(v) ? v.origin : JINJA_TEMPLATE;
}

/* --- text */

struct jinja_text jinja_text_begin(struct jinja_arena *a, size_t max_bytes, struct error *e)
{
    return (struct jinja_text){.arena = a, .max_bytes = max_bytes, .e = e};
}

static bool add_span(struct jinja_text *t, size_t n_bytes, enum jinja_origin origin)
{
    if (n_bytes == 0) {
        return true;
    }
    if (t->n_spans > 0 && t->spans[t->n_spans - 1].origin == origin) {
        t->spans[t->n_spans - 1].n_bytes += n_bytes;
        return true;
    }
    if (!jinja_arena_grow(t->arena, &t->spans, &t->spans_capacity, t->n_spans + 1, sizeof *t->spans,
                          t->e)) {
        return false;
    }
    t->spans[t->n_spans++] = (struct jinja_span){n_bytes, origin};
    return true;
}

static bool add_bytes(struct jinja_text *t, struct str bytes)
{
    if (bytes.n > t->max_bytes - t->n) {
        return error_set(t->e, ERROR_UNSUPPORTED,
                         "the template makes a text of more than the %zu bytes allowed",
                         t->max_bytes);
    }
    if (!jinja_arena_grow(t->arena, &t->p, &t->capacity, t->n + bytes.n, 1, t->e)) {
        return false;
    }
    if (bytes.n > 0) {
        memcpy(t->p + t->n, bytes.p, bytes.n);
        t->n += bytes.n;
    }
    return true;
}

bool jinja_text_add(struct jinja_text *t, struct str bytes, enum jinja_origin origin)
{
    return add_bytes(t, bytes) && add_span(t, bytes.n, origin);
}

bool jinja_text_add_char(struct jinja_text *t, uint32_t code_point, enum jinja_origin origin)
{
    char bytes[4];
    size_t n = str_encode_utf8(code_point, bytes);
    return jinja_text_add(t, (struct str){bytes, n}, origin);
}

bool jinja_text_add_part(struct jinja_text *t, const struct jinja_string *s, size_t from, size_t to)
{
    if (!add_bytes(t, (struct str){s->p + from, to - from})) {
        return false;
    }
    size_t at = 0;
    for (size_t i = 0; i < s->n_spans && at < to; i++) {
        size_t end = at + s->spans[i].n_bytes;
        size_t first = at > from ? at : from, last = end < to ? end : to;
        if (first < last && !add_span(t, last - first, s->spans[i].origin)) {
            return false;
        }
        at = end;
    }
    return true;
}

bool jinja_text_add_string(struct jinja_text *t, const struct jinja_string *s)
{
    return jinja_text_add_part(t, s, 0, s->n);
}

bool jinja_text_end(struct jinja_text *t, struct jinja_value *out)
{
    struct jinja_string *s = jinja_arena_alloc(t->arena, 1, sizeof *s, t->e);
    if (s == NULL) {
        return false;
    }
    *s = (struct jinja_string){.p = t->n > 0 ? t->p : "",
                               .n = t->n,
                               .n_chars = jinja_count_chars((struct str){t->p, t->n}),
                               .is_markup = t->is_markup,
                               .spans = t->spans,
                               .n_spans = t->n_spans};
    *out = (struct jinja_value){.kind = JINJA_STRING, .u.string = s};
    return true;
}

size_t jinja_byte_of_char(const struct jinja_string *s, size_t index)
{
    if (s->n == s->n_chars) {
        return index;
    }
    size_t at = 0;
    for (size_t i = 0; at < s->n; at++) {
        if (((unsigned char)s->p[at] & 0xc0) != 0x80 && i++ == index) {
            break;
        }
    }
    return at;
}

bool jinja_substring(struct jinja_arena *a, const struct jinja_string *s, size_t from, size_t to,
                     struct jinja_value *out, struct error *e)
{
    struct jinja_text t = jinja_text_begin(a, to - from, e);
    t.is_markup = s->is_markup;
    return jinja_text_add_part(&t, s, from, to) && jinja_text_end(&t, out);
}

bool jinja_string_borrow(struct jinja_arena *a, struct str text, enum jinja_origin origin,
                         struct jinja_value *out, struct error *e)
{
    struct {
        struct jinja_string string;
        struct jinja_span span;
    } *s = jinja_arena_alloc(a, 1, sizeof *s, e);
    if (s == NULL) {
        return false;
    }
    s->span = (struct jinja_span){text.n, origin};
    s->string = (struct jinja_string){.p = text.n > 0 ? text.p : "",
                                      .n = text.n,
                                      .n_chars = jinja_count_chars(text),
                                      .spans = &s->span,
                                      .n_spans = text.n > 0};
    *out = (struct jinja_value){.kind = JINJA_STRING, .u.string = &s->string};
    return true;
}

/* A copy; NULL on failure. */
static const char *copy_text(struct jinja_arena *a, struct str text, struct error *e)
{
    if (!str_is_utf8(text)) {
        error_set(e, ERROR_FORMAT, "a text for a template is not UTF-8");
        return NULL;
    }
    char *p = jinja_arena_alloc(a, text.n, 1, e);
    if (p != NULL && text.n > 0) {
        memcpy(p, text.p, text.n);
    }
    return p;
}

bool jinja_string_of(struct jinja_arena *a, struct str text, enum jinja_origin origin,
                     struct jinja_value *out, struct error *e)
{
    const char *p = copy_text(a, text, e);
    return p != NULL && jinja_string_borrow(a, (struct str){p, text.n}, origin, out, e);
}

bool jinja_string_of_spans(struct jinja_arena *a, struct str text, const struct jinja_span *spans,
                           size_t n_spans, struct jinja_value *out, struct error *e)
{
    struct jinja_string *s = jinja_arena_alloc(a, 1, sizeof *s, e);
    struct jinja_span *copy = s != NULL ? jinja_arena_alloc(a, n_spans, sizeof *copy, e) : NULL;
    const char *p = copy != NULL ? copy_text(a, text, e) : NULL;
    if (p == NULL) {
        return false;
    }
    if (n_spans > 0) {
        memcpy(copy, spans, n_spans * sizeof *copy);
    }
    *s = (struct jinja_string){
        .p = p, .n = text.n, .n_chars = jinja_count_chars(text), .spans = copy, .n_spans = n_spans};
    *out = (struct jinja_value){.kind = JINJA_STRING, .u.string = s};
    return true;
}

/* --- lists and dicts */

bool jinja_list_create(struct jinja_arena *a, struct jinja_value *out, struct error *e)
{
    struct jinja_list *list = jinja_arena_alloc(a, 1, sizeof *list, e);
    if (list != NULL) {
        *out = (struct jinja_value){.kind = JINJA_LIST, .u.list = list};
    }
    return list != NULL;
}

bool jinja_list_push(struct jinja_arena *a, struct jinja_value list, struct jinja_value item,
                     struct error *e)
{
    struct jinja_list *l = list.u.list;
    if (!jinja_arena_grow(a, &l->items, &l->capacity, l->n + 1, sizeof item, e)) {
        return false;
    }
    l->items[l->n++] = item;
    return true;
}

bool jinja_tuple_create(struct jinja_arena *a, const struct jinja_value *items, size_t n,
                        struct jinja_value *out, struct error *e)
{
    struct jinja_value tuple;
    bool ok = jinja_list_create(a, &tuple, e);
    for (size_t i = 0; ok && i < n; i++) {
        ok = jinja_list_push(a, tuple, items[i], e);
    }
    if (ok) {
        tuple.kind = JINJA_TUPLE;
        *out = tuple;
    }
    return ok;
}

bool jinja_dict_create(struct jinja_arena *a, struct jinja_value *out, struct error *e)
{
    struct jinja_dict *dict = jinja_arena_alloc(a, 1, sizeof *dict, e);
    if (dict != NULL) {
        *out = (struct jinja_value){.kind = JINJA_DICT, .u.dict = dict};
    }
    return dict != NULL;
}

bool jinja_dict_spell(struct jinja_arena *a, struct jinja_value dict, struct str json,
                      struct error *e)
{
    struct jinja_value text;
    if (!jinja_string_of(a, json, JINJA_DATA, &text, e)) {
        return false;
    }
    dict.u.dict->json = text.u.string;
    return true;
}

/* FNV-1a, 64 bits: keys of one dict are compared by hash before they are compared by bytes. */
uint64_t jinja_hash_str(struct str s)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < s.n; i++) {
        hash = (hash ^ (unsigned char)s.p[i]) * 0x100000001b3u;
    }
    return hash;
}

struct jinja_entry *jinja_dict_find_str(const struct jinja_dict *d, struct str key)
{
    uint64_t hash = jinja_hash_str(key);
    for (size_t i = 0; i < d->n; i++) {
        struct jinja_entry *entry = &d->entries[i];
        if (entry->hash == hash && entry->key.kind == JINJA_STRING &&
            str_eq(jinja_str(entry->key), key)) {
            return entry;
        }
    }
    return NULL;
}

bool jinja_dict_append(struct jinja_arena *a, struct jinja_dict *d, struct jinja_entry entry,
                       struct error *e)
{
    if (!jinja_arena_grow(a, &d->entries, &d->capacity, d->n + 1, sizeof entry, e)) {
        return false;
    }
    d->entries[d->n++] = entry;
    return true;
}

bool jinja_dict_put(struct jinja_arena *a, struct jinja_value dict, struct str key,
                    enum jinja_origin key_origin, struct jinja_value value, struct error *e)
{
    struct jinja_entry *found = jinja_dict_find_str(dict.u.dict, key);
    if (found != NULL) {
        found->value = value;
        return true;
    }
    struct jinja_entry entry = {.value = value, .hash = jinja_hash_str(key)};
    return jinja_string_of(a, key, key_origin, &entry.key, e) &&
           jinja_dict_append(a, dict.u.dict, entry, e);
}

/* --- from JSON */

static bool from_json(struct jinja_arena *a, const json_t *json, enum jinja_origin origin,
                      struct jinja_value *out, size_t depth, struct error *e);

static bool list_from_json(struct jinja_arena *a, const json_t *json, enum jinja_origin origin,
                           struct jinja_value *out, size_t depth, struct error *e)
{
    bool ok = jinja_list_create(a, out, e);
    for (size_t i = 0; ok && i < json_array_size(json); i++) {
        struct jinja_value item;
        ok = from_json(a, json_array_get(json, i), origin, &item, depth, e) &&
             jinja_list_push(a, *out, item, e);
    }
    return ok;
}

static bool dict_from_json(struct jinja_arena *a, const json_t *json, enum jinja_origin origin,
                           struct jinja_value *out, size_t depth, struct error *e)
{
    if (!jinja_dict_create(a, out, e)) {
        return false;
    }
    const char *key;
    size_t n;
    json_t *value;
    json_object_keylen_foreach((json_t *)json, key, n, value)
    {
        struct str text = {key, n};
        struct jinja_entry entry = {.hash = jinja_hash_str(text)};
        if (!from_json(a, value, origin, &entry.value, depth, e) ||
            !jinja_string_of(a, text, origin, &entry.key, e) ||
            !jinja_dict_append(a, out->u.dict, entry, e)) {
            return false;
        }
    }
    return true;
}

static bool from_json(struct jinja_arena *a, const json_t *json, enum jinja_origin origin,
                      struct jinja_value *out, size_t depth, struct error *e)
{
    if (depth > JINJA_MAX_JSON_DEPTH) {
        return error_set(e, ERROR_FORMAT, "JSON nested deeper than %d levels",
                         JINJA_MAX_JSON_DEPTH);
    }
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return dict_from_json(a, json, origin, out, depth + 1, e);
    case JSON_ARRAY:
        return list_from_json(a, json, origin, out, depth + 1, e);
    case JSON_STRING:
        return jinja_string_of(a, (struct str){json_string_value(json), json_string_length(json)},
                               origin, out, e);
    case JSON_INTEGER:
        *out = jinja_int(json_integer_value(json), origin);
        return true;
    case JSON_REAL:
        *out = jinja_float(json_real_value(json), origin);
        return true;
    case JSON_TRUE:
    case JSON_FALSE:
        *out = jinja_bool(json_is_true(json), origin);
        return true;
    case JSON_NULL:
    default:
        *out = (struct jinja_value){.kind = JINJA_NONE, .origin = origin};
        return true;
    }
}

bool jinja_from_json(struct jinja_arena *a, const json_t *json, enum jinja_origin origin,
                     struct jinja_value *out, struct error *e)
{
    return from_json(a, json, origin, out, 0, e);
}
