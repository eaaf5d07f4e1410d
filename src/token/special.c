/* special.c - Aho-Corasick over reversed token spellings. */
#include "token/special.h"

#include "base/mem.h"
#include "token/token.h"

static uint32_t find_child(const struct special *s, uint32_t node, uint8_t byte)
{
    if (node == 0) {
        return s->root_child[byte];
    }
    uint32_t child = s->nodes[node].first_child;
    while (child != 0 && s->nodes[child].byte != byte) {
        child = s->nodes[child].next_sibling;
    }
    return child;
}

static uint32_t add_child(struct special *s, uint32_t node, uint8_t byte)
{
    uint32_t child = s->n_nodes++;
    s->nodes[child] = (struct special_node){
        .next_sibling = s->nodes[node].first_child, .id = TOKEN_NONE, .byte = byte};
    s->nodes[node].first_child = child;
    if (node == 0) {
        s->root_child[byte] = child;
    }
    return child;
}

static void insert_reversed(struct special *s, struct str spelling, uint32_t id)
{
    uint32_t node = 0;
    for (size_t i = spelling.n; i > 0; i--) {
        uint8_t byte = (uint8_t)spelling.p[i - 1];
        uint32_t child = find_child(s, node, byte);
        node = child != 0 ? child : add_child(s, node, byte);
    }
    if (node != 0 && s->nodes[node].id == TOKEN_NONE) {
        s->nodes[node].id = id;
    }
}

/* The node reached from `node` by byte, through the failure links. */
static uint32_t step(const struct special *s, uint32_t node, uint8_t byte)
{
    uint32_t child = find_child(s, node, byte);
    while (child == 0 && node != 0) {
        node = s->nodes[node].fail;
        child = find_child(s, node, byte);
    }
    return child;
}

/* Breadth first, so that a node's failure target, which is shallower, is ready before it. */
static void link_failures(struct special *s, uint32_t *queue)
{
    size_t head = 0;
    size_t tail = 0;
    queue[tail++] = 0;
    while (head < tail) {
        uint32_t parent = queue[head++];
        for (uint32_t child = s->nodes[parent].first_child; child != 0;
             child = s->nodes[child].next_sibling) {
            struct special_node *node = &s->nodes[child];
            node->fail = parent == 0 ? 0 : step(s, s->nodes[parent].fail, node->byte);
            if (node->id == TOKEN_NONE) {
                node->id = s->nodes[node->fail].id;
            }
            queue[tail++] = child;
        }
    }
}

bool special_init(struct special *s, const struct str *spellings, const uint32_t *ids, size_t n_ids,
                  struct error *e)
{
    *s = (struct special){0};
    size_t n_nodes = 1;
    for (size_t i = 0; i < n_ids; i++) {
        if (!mem_add(n_nodes, spellings[ids[i]].n, &n_nodes) || n_nodes > UINT32_MAX) {
            return error_set(e, ERROR_FORMAT, "special tokens of more than %u bytes", UINT32_MAX);
        }
    }
    s->nodes = mem_alloc(n_nodes, sizeof *s->nodes, "special tokens", e);
    uint32_t *queue = s->nodes ? mem_alloc(n_nodes, sizeof *queue, "special tokens", e) : NULL;
    if (queue == NULL) {
        special_finish(s);
        return false;
    }
    s->nodes[0].id = TOKEN_NONE;
    s->n_nodes = 1;
    for (size_t i = 0; i < n_ids; i++) {
        insert_reversed(s, spellings[ids[i]], ids[i]);
    }
    link_failures(s, queue);
    mem_free(queue);
    return true;
}

void special_finish(struct special *s)
{
    mem_free(s->nodes);
    *s = (struct special){0};
}

void special_matches_finish(struct special_matches *m)
{
    mem_free(m->items);
    *m = (struct special_matches){0};
}

static bool push_match(struct special_matches *m, size_t start, uint32_t id, struct error *e)
{
    if (m->n == m->capacity) {
        size_t capacity = m->capacity > 0 ? m->capacity * 2 : 16;
        struct special_match *items =
            mem_resize(m->items, capacity, sizeof *items, "special token matches", e);
        if (items == NULL) {
            return false;
        }
        m->items = items;
        m->capacity = capacity;
    }
    m->items[m->n++] = (struct special_match){start, id};
    return true;
}

bool special_search(const struct special *s, struct str text, size_t from, size_t to,
                    struct special_matches *m, struct error *e)
{
    if (s->n_nodes <= 1) {
        return true;
    }
    uint32_t node = 0;
    for (size_t i = to; i > from; i--) {
        uint8_t byte = (uint8_t)text.p[i - 1];
        node = node == 0 ? s->root_child[byte] : step(s, node, byte);
        uint32_t id = s->nodes[node].id;
        if (id != TOKEN_NONE && !push_match(m, i - 1, id, e)) {
            return false;
        }
    }
    return true;
}
