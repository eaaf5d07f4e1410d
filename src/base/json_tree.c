/* json_tree.c - jansson in one block of memory. */
#include "base/json_tree.h"

#include "base/mem.h"

/* --- the block that the thread's parser takes its memory from; nothing is given back before all */

enum { ALIGNMENT = 16 };

static _Thread_local struct json_block block;

static void *take(size_t n_bytes)
{
    size_t rounded = (n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (block.bytes == NULL || rounded < n_bytes || rounded > block.capacity - block.n) {
        return mem_alloc(n_bytes, 1, "JSON", NULL);
    }
    void *p = block.bytes + block.n;
    block.n += rounded;
    return p;
}

static void give_back(void *p)
{
    uintptr_t at = (uintptr_t)p;
    uintptr_t start = (uintptr_t)block.bytes;
    if (block.bytes == NULL || at < start || at >= start + block.capacity) {
        mem_free(p);
    }
}

void json_tree_init(void)
{
    json_set_alloc_funcs(take, give_back);
}

/* --- how much a tree takes */

size_t json_tree_skip_string(struct str text, size_t i)
{
    for (i++; i < text.n && text.p[i] != '"'; i++) {
        i += text.p[i] == '\\';
    }
    return i;
}

struct json_counts json_tree_count(struct str text)
{
    struct json_counts counts = {0};
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool begins = c == '[' || c == '{';
        counts.n_containers += begins;
        counts.n_values += begins || c == ',';
        i = c == '"' ? json_tree_skip_string(text, i) : i;
    }
    return counts;
}

/* What jansson takes, with nothing given back. A member: a pair (56 bytes and its name, and the
 * name once more while it is read), places in tables that double (64), a value (32, or 48 and its
 * text). A container: itself and its first table (208). The text of a token gathers in a buffer
 * that doubles, of the longest token. */
bool json_tree_bound(size_t n_text, const struct json_counts *counts, size_t *out_bytes)
{
    enum { FIXED = 4096, A_BYTE = 8, A_VALUE = 320, A_CONTAINER = 256 };
    size_t text, rest = FIXED + counts->n_values * A_VALUE + counts->n_containers * A_CONTAINER;
    return mem_mul(n_text, A_BYTE, &text) && mem_add(text, rest, out_bytes);
}

/* --- parsing */

/* Sets *outer to the block that the thread had. */
static void enter_block(void *bytes, size_t capacity, struct json_block *outer)
{
    *outer = block;
    block = (struct json_block){.bytes = bytes, .capacity = capacity};
}

bool json_tree_parse(struct json_tree *out, struct str text, const struct json_counts *counts,
                     size_t flags, json_error_t *why)
{
    size_t n_bytes;
    void *bytes =
        json_tree_bound(text.n, counts, &n_bytes) ? mem_alloc(n_bytes, 1, "JSON", NULL) : NULL;
    if (bytes == NULL) {
        return false;
    }
    enter_block(bytes, n_bytes, &out->outer);
    out->root = json_loadb(text.n > 0 ? text.p : "", text.n, flags | JSON_ALLOW_NUL, why);
    return true;
}

void json_tree_finish(struct json_tree *tree)
{
    json_decref(tree->root);
    mem_free(block.bytes);
    block = tree->outer;
    *tree = (struct json_tree){0};
}

json_t *json_tree_load(struct str text, void *bytes, size_t n_bytes)
{
    struct json_block outer;
    enter_block(bytes, n_bytes, &outer);
    json_t *root = json_loadb(text.p, text.n, JSON_ALLOW_NUL, NULL);
    block = outer;
    return root;
}
