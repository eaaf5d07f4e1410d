/* automaton.c - the states that were met, their transitions, and forgetting them. */
#include "schema/automaton_internal.h"

#include "base/mem.h"

enum { KEPT_BYTES = 24 << 20 }; /* more is forgotten */

static bool add_fixed_states(struct automaton *a, struct error *e)
{
    struct stack_node *none = pool_add(&a->nodes, 1, sizeof *none, 1, "grammar states", e);
    struct state *ended;
    uint32_t number;
    if (none == NULL) {
        return false;
    }
    *none = (struct stack_node){.after = AUTOMATON_UNKNOWN};
    if (!stack_find_state(a, NULL, 0, false, &number, e) ||
        (ended = pool_add(&a->states, 1, sizeof *ended, 2, "grammar states", e)) == NULL) {
        return false;
    }
    *ended = *automaton_state(a, AUTOMATON_DEAD);
    /* some text matches, so this is a state of its own: AUTOMATON_START */
    return closure_start(a, &number, e);
}

struct automaton *automaton_create(const struct grammar *g, const struct token_trie *t,
                                   struct error *e)
{
    struct automaton *a = mem_alloc(1, sizeof *a, "grammar states", e);
    if (a == NULL) {
        return NULL;
    }
    a->grammar = g;
    a->trie = t;
    if (!closure_init(a, e) || (a->masks = masks_create(a, e)) == NULL || !add_fixed_states(a, e)) {
        automaton_destroy(a);
        return NULL;
    }
    return a;
}

static void finish_states(struct automaton *a)
{
    mem_free(a->edges.items);
    mem_free(a->nodes.items);
    mem_free(a->readings.items);
    mem_free(a->states.items);
    mem_free(a->rows.items);
    mem_free(a->node_index.slots);
    mem_free(a->state_index.slots);
}

void automaton_destroy(struct automaton *a)
{
    if (a != NULL) {
        closure_finish(a);
        masks_destroy(a->masks);
        finish_states(a);
        mem_free(a);
    }
}

const struct token_trie *automaton_trie(const struct automaton *a)
{
    return a->trie;
}

bool automaton_is_complete(const struct automaton *a, uint32_t state)
{
    return automaton_state(a, state)->is_complete;
}

bool automaton_step(struct automaton *a, uint32_t state, uint8_t byte, uint32_t *out,
                    struct error *e)
{
    uint32_t n_classes = a->grammar->dfa.n_classes, class = a->grammar->dfa.class_of[byte], to;
    uint32_t row = automaton_state(a, state)->row;
    if (row != AUTOMATON_UNKNOWN) {
        to = ((const uint32_t *)a->rows.items)[row + class];
        if (to != AUTOMATON_UNKNOWN) {
            *out = to;
            return true;
        }
    } else {
        uint32_t *place =
            pool_add(&a->rows, n_classes, sizeof *place, UINT32_MAX / 2, "grammar states", e);
        if (place == NULL) {
            return false;
        }
        memset(place, 0xFF, n_classes * sizeof *place);
        row = a->rows.n - n_classes;
        ((struct state *)a->states.items)[state].row = row;
    }
    if (!closure_step(a, state, class, &to, e)) {
        return false;
    }
    ((uint32_t *)a->rows.items)[row + class] = to;
    *out = to;
    return true;
}

bool automaton_after(struct automaton *a, uint32_t node, uint32_t *out, struct error *e)
{
    uint32_t after = automaton_node(a, node)->after;
    if (after == AUTOMATON_UNKNOWN) {
        if (!closure_after(a, node, &after, e)) {
            return false;
        }
        ((struct stack_node *)a->nodes.items)[node].after = after;
    }
    *out = after;
    return true;
}

const uint64_t *automaton_first(struct automaton *a, uint32_t state)
{
    struct state *s = (struct state *)a->states.items + state;
    const struct dfa *d = &a->grammar->dfa;
    if (s->has_first) {
        return s->first;
    }
    for (uint32_t i = 0; i < s->n_readings; i++) {
        const struct reading *r = (const struct reading *)a->readings.items + s->readings + i;
        for (uint32_t b = 0; b < 256; b++) {
            bool goes = d->next[(size_t)r->dfa * d->n_classes + d->class_of[b]] != 0;
            s->first[b / 64] |= (uint64_t)goes << b % 64;
        }
    }
    s->has_first = true;
    return s->first;
}

const uint64_t *automaton_mask(struct automaton *a, uint32_t state, struct error *e)
{
    return masks_find(a, state, e);
}

/* --- users, and forgetting */

void automaton_add_user(struct automaton *a, struct automaton_user *user)
{
    user->before = NULL;
    user->next = a->users;
    if (a->users != NULL) {
        a->users->before = user;
    }
    a->users = user;
}

void automaton_remove_user(struct automaton *a, struct automaton_user *user)
{
    if (user->next != NULL) {
        user->next->before = user->before;
    }
    if (user->before != NULL) {
        user->before->next = user->next;
    } else {
        a->users = user->next;
    }
}

struct automaton_size automaton_size(const struct automaton *a)
{
    size_t n = (size_t)a->edges.n * sizeof(struct stack_edge) +
               (size_t)a->nodes.n * sizeof(struct stack_node) +
               (size_t)a->readings.n * sizeof(struct reading) +
               (size_t)a->states.n * sizeof(struct state) + (size_t)a->rows.n * sizeof(uint32_t) +
               (a->node_index.n_slots + a->state_index.n_slots) * sizeof(uint32_t);
    return (struct automaton_size){n + masks_bytes(a->masks), a->states.n};
}

/* What is kept: old numbers to new ones, 0 for what is not (and for the first of each). */
struct survivors {
    uint32_t *states; /* (n_states) */
    uint32_t *nodes;  /* (n_nodes) */
};

static void mark_survivors(const struct automaton *a, struct survivors *s)
{
    s->states[AUTOMATON_ENDED] = s->states[AUTOMATON_START] = 1;
    for (const struct automaton_user *u = a->users; u != NULL; u = u->next) {
        s->states[u->state] = 1;
    }
    for (uint32_t i = 0; i < a->states.n; i++) {
        const struct state *state = automaton_state(a, i);
        for (uint32_t r = 0; s->states[i] != 0 && r < state->n_readings; r++) {
            s->nodes[((const struct reading *)a->readings.items)[state->readings + r].node] = 1;
        }
    }
    /* parents have smaller numbers */
    for (uint32_t i = a->nodes.n; i-- > 1;) {
        const struct stack_node *node = automaton_node(a, i);
        for (uint32_t k = 0; s->nodes[i] != 0 && k < node->n_edges; k++) {
            s->nodes[((const struct stack_edge *)a->edges.items)[node->edges + k].parent] = 1;
        }
    }
}

/* Copies of what is kept, renumbered, into `to`, which has the fixed states of its own. */
static bool copy_nodes(const struct automaton *a, struct automaton *to, const struct survivors *s,
                       struct error *e)
{
    for (uint32_t i = 1; i < a->nodes.n; i++) {
        const struct stack_node *node = automaton_node(a, i);
        struct closure *c = &to->closure;
        if (s->nodes[i] == 0) {
            continue;
        }
        c->edges.n = 0;
        struct stack_edge *edges =
            pool_add(&c->edges, node->n_edges, sizeof *edges, UINT32_MAX / 2, "grammar states", e);
        if (edges == NULL) {
            return false;
        }
        for (uint32_t k = 0; k < node->n_edges; k++) {
            edges[k] = ((const struct stack_edge *)a->edges.items)[node->edges + k];
            edges[k].parent = s->nodes[edges[k].parent];
        }
        if (!stack_find_node(to, edges, node->n_edges, &s->nodes[i], e)) {
            return false;
        }
    }
    return true;
}

static bool copy_states(const struct automaton *a, struct automaton *to, const struct survivors *s,
                        struct error *e)
{
    for (uint32_t i = AUTOMATON_START; i < a->states.n; i++) {
        const struct state *state = automaton_state(a, i);
        struct closure *c = &to->closure;
        if (s->states[i] == 0) {
            continue;
        }
        c->readings.n = 0;
        struct reading *readings = pool_add(&c->readings, state->n_readings, sizeof *readings,
                                            UINT32_MAX / 2, "grammar states", e);
        if (readings == NULL) {
            return false;
        }
        for (uint32_t r = 0; r < state->n_readings; r++) {
            readings[r] = ((const struct reading *)a->readings.items)[state->readings + r];
            readings[r].node = s->nodes[readings[r].node];
        }
        if (!stack_find_state(to, readings, state->n_readings, state->is_complete, &s->states[i],
                              e)) {
            return false;
        }
    }
    return true;
}

static bool copy_survivors(struct automaton *a, struct survivors *s, struct error *e)
{
    struct automaton to = {.grammar = a->grammar, .trie = a->trie, .closure = a->closure};
    mark_survivors(a, s);
    bool ok = add_fixed_states(&to, e) && copy_nodes(a, &to, s, e) && copy_states(a, &to, s, e);
    a->closure = to.closure; /* its buffers may have moved */
    if (!ok) {
        finish_states(&to);
        return false;
    }
    s->states[AUTOMATON_DEAD] = AUTOMATON_DEAD;
    s->states[AUTOMATON_ENDED] = AUTOMATON_ENDED;
    for (struct automaton_user *u = a->users; u != NULL; u = u->next) {
        u->state = s->states[u->state];
    }
    finish_states(a);
    to.masks = a->masks;
    to.users = a->users;
    to.n_steps = a->n_steps;
    *a = to;
    masks_forget(a->masks);
    return true;
}

bool automaton_make_room(struct automaton *a, struct error *e)
{
    struct automaton_size size = automaton_size(a);
    if (size.n_bytes - masks_bytes(a->masks) < KEPT_BYTES) {
        return true;
    }
    struct survivors s = {mem_alloc(a->states.n, sizeof *s.states, "grammar states", e), NULL};
    s.nodes = s.states != NULL ? mem_alloc(a->nodes.n, sizeof *s.nodes, "grammar states", e) : NULL;
    bool ok = s.nodes != NULL && copy_survivors(a, &s, e);
    mem_free(s.states);
    mem_free(s.nodes);
    return ok;
}
