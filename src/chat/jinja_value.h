/* jinja_value.h - inside of values, and text that is put together with its origins.
 * All memory comes from an arena; nothing is freed by itself. */
#ifndef CHAT_JINJA_VALUE_H
#define CHAT_JINJA_VALUE_H

#include "chat/jinja.h"

/* Zeroed memory; ERROR_MEMORY beyond the arena's maximum. */
void *jinja_arena_alloc(struct jinja_arena *a, size_t n, size_t size, struct error *e);

/* n objects of `size` bytes more room behind *p, whose capacity is doubled as needed. */
bool jinja_arena_grow(struct jinja_arena *a, void *p, size_t *capacity, size_t needed, size_t size,
                      struct error *e);

struct jinja_string {
    const char *p;
    size_t n;
    size_t n_chars;
    bool is_markup;                 /* what the filters safe and escape give */
    const struct jinja_span *spans; /* (n_spans): cover the n bytes */
    size_t n_spans;
};

struct jinja_list {
    struct jinja_value *items;
    size_t n, capacity;
    bool is_group; /* a tuple of the filter groupby: has the attributes grouper and list */
};

struct jinja_entry {
    struct jinja_value key, value;
    uint64_t hash;
};

/* Entries in the order in which their keys came. Looked up one by one: keys are few, and steps are
 * counted. */
struct jinja_dict {
    struct jinja_entry *entries;
    size_t n, capacity;
    const struct jinja_string *json; /* as tojson spells it; NULL: from the entries */
};

struct jinja_range {
    int64_t start, stop, step;
    int64_t n;
};

enum jinja_view_kind { JINJA_VIEW_KEYS, JINJA_VIEW_VALUES, JINJA_VIEW_ITEMS };

struct jinja_view {
    enum jinja_view_kind kind;
    struct jinja_dict *dict;
};

struct jinja_cycle {
    struct jinja_value *items; /* (n); of a joiner: its separator */
    size_t n, at;
};

static inline struct str jinja_str(struct jinja_value v)
{
    return (struct str){v.u.string->p, v.u.string->n};
}

static inline bool jinja_is_number(struct jinja_value v)
{
    return v.kind == JINJA_BOOL || v.kind == JINJA_INT || v.kind == JINJA_FLOAT;
}

static inline bool jinja_is_whole(struct jinja_value v)
{
    return v.kind == JINJA_BOOL || v.kind == JINJA_INT;
}

static inline int64_t jinja_whole(struct jinja_value v)
{
    return v.kind == JINJA_BOOL ? v.u.boolean : v.u.integer;
}

struct jinja_value jinja_undefined(const struct str *name);

/* JINJA_DATA when any byte of s[from, to) is. */
enum jinja_origin jinja_origin_of(const struct jinja_string *s, size_t from, size_t to);

/* The origin of a value that something is computed from: JINJA_DATA if any part of it is. */
enum jinja_origin jinja_value_origin(struct jinja_value v);

static inline enum jinja_origin jinja_origin_both(enum jinja_origin a, enum jinja_origin b)
{
    return a == JINJA_DATA || b == JINJA_DATA ? JINJA_DATA : JINJA_TEMPLATE;
}

/* --- text that grows; the first failure of an addition is returned, and *e set */

struct jinja_text {
    struct jinja_arena *arena;
    struct error *e;
    size_t max_bytes;
    char *p;
    size_t n, capacity;
    struct jinja_span *spans;
    size_t n_spans, spans_capacity;
    bool is_markup;
};

struct jinja_text jinja_text_begin(struct jinja_arena *a, size_t max_bytes, struct error *e);
bool jinja_text_add(struct jinja_text *t, struct str bytes, enum jinja_origin origin);
bool jinja_text_add_char(struct jinja_text *t, uint32_t code_point, enum jinja_origin origin);
/* The bytes [from, to) of s with their origins. */
bool jinja_text_add_part(struct jinja_text *t, const struct jinja_string *s, size_t from,
                         size_t to);
bool jinja_text_add_string(struct jinja_text *t, const struct jinja_string *s);
/* The text becomes a string; *t is not used after it. */
bool jinja_text_end(struct jinja_text *t, struct jinja_value *out);

/* The byte at which character `index` (<= n_chars) of s starts. */
size_t jinja_byte_of_char(const struct jinja_string *s, size_t index);

/* The bytes [from, to) of s as a string of its own. */
bool jinja_substring(struct jinja_arena *a, const struct jinja_string *s, size_t from, size_t to,
                     struct jinja_value *out, struct error *e);

bool jinja_tuple_create(struct jinja_arena *a, const struct jinja_value *items, size_t n,
                        struct jinja_value *out, struct error *e);

/* A string value without its own allocation of the bytes, which must be UTF-8 and outlive it. */
bool jinja_string_borrow(struct jinja_arena *a, struct str text, enum jinja_origin origin,
                         struct jinja_value *out, struct error *e);

/* --- dicts by key; a key's hash is equal for equal keys (1, 1.0 and true are one key) */

uint64_t jinja_hash_str(struct str s);
/* The entry with that string as its key; NULL when there is none. */
struct jinja_entry *jinja_dict_find_str(const struct jinja_dict *d, struct str key);
bool jinja_dict_append(struct jinja_arena *a, struct jinja_dict *d, struct jinja_entry entry,
                       struct error *e);

#endif
