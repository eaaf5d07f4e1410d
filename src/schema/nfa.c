/* nfa.c - nondeterministic automata, and the deterministic one of one: sets of states that bytes
 * lead to, found from the start on. */
#include "schema/dfa.h"

#include "base/mem.h"

enum { LOOK_BACK = 12 }; /* states in which the same one is looked for before a new one is made */

bool dfa_spend(uint64_t *steps, uint64_t n, struct error *e)
{
    if (*steps < n) {
        *steps = 0;
        return error_set(e, ERROR_UNSUPPORTED, "too complex: more than %d steps to compile",
                         DFA_MAX_STEPS);
    }
    *steps -= n;
    return true;
}

/* --- states */

static uint32_t add_state(struct nfa *a, struct nfa_state s, struct error *e)
{
    if (a->n >= a->max) {
        error_set(e, ERROR_UNSUPPORTED, "too large: more than %u states before determinization",
                  a->max);
        return NFA_NONE;
    }
    if (!dfa_spend(a->steps, 1, e)) {
        return NFA_NONE;
    }
    for (uint32_t i = a->n; i > 2 && i + LOOK_BACK > a->n; i--) {
        const struct nfa_state *t = &a->states[i - 1];
        if (t->out == s.out && t->alt == s.alt && t->first == s.first && t->last == s.last) {
            return i - 1;
        }
    }
    if (a->n == a->capacity) {
        uint32_t capacity = a->capacity > 0 ? 2 * a->capacity : 64;
        struct nfa_state *states =
            mem_resize(a->states, capacity, sizeof *states, "grammar automaton", e);
        if (states == NULL) {
            return NFA_NONE;
        }
        a->states = states;
        a->capacity = capacity;
    }
    a->states[a->n] = s;
    return a->n++;
}

bool nfa_init(struct nfa *a, uint32_t max, uint64_t *steps, struct error *e)
{
    *a = (struct nfa){.max = max, .steps = steps};
    a->states = mem_alloc(64, sizeof *a->states, "grammar automaton", e);
    if (a->states == NULL) {
        return false;
    }
    a->capacity = 64;
    a->n = 2;
    for (uint32_t i = 0; i < 2; i++) {
        a->states[i] = (struct nfa_state){i, i, 1, 0};
    }
    return true;
}

void nfa_finish(struct nfa *a)
{
    mem_free(a->states);
    *a = (struct nfa){0};
}

uint32_t nfa_byte(struct nfa *a, uint8_t first, uint8_t last, uint32_t next, struct error *e)
{
    return next == NFA_NONE || next == NFA_FAIL
               ? next
               : add_state(a, (struct nfa_state){next, next, first, last}, e);
}

uint32_t nfa_either(struct nfa *a, uint32_t one, uint32_t other, struct error *e)
{
    return one == NFA_NONE || other == NFA_NONE
               ? NFA_NONE
               : add_state(a, (struct nfa_state){one, other, 1, 0}, e);
}

uint32_t nfa_dfa(struct nfa *a, const struct dfa *d, uint32_t next, struct error *e)
{
    /* a state of d is a chain of choices among its runs of classes; heads come first, so that
     * transitions can name them */
    uint32_t *heads = mem_alloc(d->n_states, sizeof *heads, "grammar automaton", e);
    if (heads == NULL) {
        return NFA_NONE;
    }
    uint8_t first_of[256], last_of[256];
    for (uint32_t b = 256; b-- > 0;) {
        first_of[d->class_of[b]] = (uint8_t)b;
        last_of[d->class_of[255 - b]] = (uint8_t)(255 - b);
    }
    bool ok = true;
    for (uint32_t s = 1; s < d->n_states && ok; s++) {
        /* the number makes it unlike the heads before; it is overwritten below */
        heads[s] = add_state(a, (struct nfa_state){NFA_FAIL, a->n, 1, 0}, e);
        ok = heads[s] != NFA_NONE;
    }
    for (uint32_t s = 1; s < d->n_states && ok; s++) {
        uint32_t chain = d->accepting[s] ? next : NFA_FAIL;
        const uint32_t *row = d->next + (size_t)s * d->n_classes;
        for (uint32_t c = 0, last; c < d->n_classes && ok; c = last + 1) {
            for (last = c; last + 1 < d->n_classes && row[last + 1] == row[c]; last++) {
            }
            if (row[c] != 0) {
                uint32_t read = nfa_byte(a, first_of[c], last_of[last], heads[row[c]], e);
                chain = chain == NFA_FAIL ? read : nfa_either(a, read, chain, e);
                ok = chain != NFA_NONE;
            }
        }
        if (ok) {
            a->states[heads[s]] = (struct nfa_state){chain, chain, 1, 0};
        }
    }
    uint32_t start = !ok ? NFA_NONE : d->start == 0 ? NFA_FAIL : heads[d->start];
    mem_free(heads);
    return start;
}

/* --- sets */

/* Sets of reading states are slices of pool; a set's number is the dfa's state. */
struct sets {
    uint32_t *pool;
    size_t n_pool, pool_capacity;
    size_t *begins;  /* (n + 1) */
    bool *accepting; /* (n) */
    uint32_t n, capacity, max;
    uint32_t *slots; /* (n_slots) set + 1, 0: free */
    size_t n_slots;
};

struct construction {
    const struct nfa *nfa;
    struct sets sets;
    uint32_t *stamps; /* (nfa->n) last closure that met the state */
    uint32_t stamp;
    uint32_t *stack; /* (nfa->n) */
    uint32_t *found; /* (nfa->n) reading states of the closure */
    struct {
        uint32_t *items;
        size_t n, capacity;
    } targets[256];
    struct dfa dfa;
    size_t next_capacity; /* rows */
};

static bool grow(void **p, size_t *capacity, size_t n, size_t size, struct error *e)
{
    if (n <= *capacity) {
        return true;
    }
    size_t wanted = n < 2 * *capacity ? 2 * *capacity : n + 16;
    void *bigger = mem_resize(*p, wanted, size, "grammar automaton", e);
    if (bigger != NULL) {
        *p = bigger;
        *capacity = wanted;
    }
    return bigger != NULL;
}

/* Reading states behind the given ones in k->found, stamped; whether a match is among them. */
static bool close_set(struct construction *k, const uint32_t *from, size_t n_from, uint32_t *n,
                      bool *accepting, struct error *e)
{
    uint32_t n_stack = 0, n_met = 0;
    k->stamp++;
    *n = 0;
    *accepting = false;
    for (size_t i = 0; i < n_from; i++) {
        if (k->stamps[from[i]] != k->stamp) {
            k->stamps[from[i]] = k->stamp;
            k->stack[n_stack++] = from[i];
        }
    }
    while (n_stack > 0) {
        uint32_t s = k->stack[--n_stack];
        const struct nfa_state *state = &k->nfa->states[s];
        n_met++;
        if (s == NFA_MATCH) {
            *accepting = true;
        } else if (state->first <= state->last) {
            k->found[(*n)++] = s;
        } else {
            uint32_t ways[2] = {state->out, state->alt};
            for (int i = 0; i < 2; i++) {
                if (k->stamps[ways[i]] != k->stamp) {
                    k->stamps[ways[i]] = k->stamp;
                    k->stack[n_stack++] = ways[i];
                }
            }
        }
    }
    return dfa_spend(k->nfa->steps, n_from + 2 * n_met, e);
}

/* Sets have no order: the hash is a sum. */
static size_t hash_set(const uint32_t *items, size_t n, bool accepting)
{
    uint64_t sum = accepting;
    for (size_t i = 0; i < n; i++) {
        uint64_t h = (items[i] + 1) * 0x9E3779B97F4A7C15u;
        sum += (h ^ h >> 32) * 0xBF58476D1CE4E5B9u;
    }
    return (size_t)(sum ^ sum >> 29);
}

static bool rehash(struct sets *s, struct error *e)
{
    size_t n_slots = s->n_slots > 0 ? 2 * s->n_slots : 64;
    uint32_t *slots = mem_alloc(n_slots, sizeof *slots, "grammar automaton", e);
    if (slots == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < s->n; i++) {
        size_t at =
            hash_set(s->pool + s->begins[i], s->begins[i + 1] - s->begins[i], s->accepting[i]);
        for (at &= n_slots - 1; slots[at] != 0; at = (at + 1) & (n_slots - 1)) {
        }
        slots[at] = i + 1;
    }
    mem_free(s->slots);
    s->slots = slots;
    s->n_slots = n_slots;
    return true;
}

static bool room_for_set(struct sets *s, size_t n, struct error *e)
{
    if (s->n >= s->max) {
        return error_set(e, ERROR_UNSUPPORTED, "too large: more than %u states of an automaton",
                         s->max);
    }
    if (s->n + 2 > s->capacity) {
        uint32_t capacity = s->capacity > 0 ? 2 * s->capacity : 32;
        size_t *begins = mem_resize(s->begins, capacity, sizeof *begins, "grammar automaton", e);
        s->begins = begins != NULL ? begins : s->begins;
        bool *accepting = begins != NULL ? mem_resize(s->accepting, capacity, sizeof *accepting,
                                                      "grammar automaton", e)
                                         : NULL;
        s->accepting = accepting != NULL ? accepting : s->accepting;
        if (accepting == NULL) {
            return false;
        }
        s->capacity = capacity;
    }
    return (2 * (size_t)s->n < s->n_slots || rehash(s, e)) &&
           grow((void **)&s->pool, &s->pool_capacity, s->n_pool + n, sizeof *s->pool, e);
}

static bool all_are_stamped(const struct construction *k, const uint32_t *items, size_t n)
{
    size_t i = 0;
    while (i < n && k->stamps[items[i]] == k->stamp) {
        i++;
    }
    return i == n;
}

/* The number of the set k->found[0..n), whose items alone are stamped of all that read; a new one
 * gets an empty row of transitions. */
static bool find_set(struct construction *k, uint32_t n, bool accepting, uint32_t *out,
                     struct error *e)
{
    struct sets *s = &k->sets;
    size_t hash = hash_set(k->found, n, accepting), at = hash;
    for (; s->n_slots > 0 && s->slots[at & (s->n_slots - 1)] != 0; at++) {
        uint32_t i = s->slots[at & (s->n_slots - 1)] - 1;
        if (s->begins[i + 1] - s->begins[i] == n && s->accepting[i] == accepting &&
            (n == 0 || all_are_stamped(k, s->pool + s->begins[i], n))) {
            *out = i;
            return true;
        }
    }
    if (!room_for_set(s, n, e)) {
        return false;
    }
    size_t row = k->dfa.n_classes;
    if (!grow((void **)&k->dfa.next, &k->next_capacity, (s->n + 1) * row, sizeof *k->dfa.next, e)) {
        return false;
    }
    memset(k->dfa.next + s->n * row, 0, row * sizeof *k->dfa.next);
    for (at = hash & (s->n_slots - 1); s->slots[at] != 0; at = (at + 1) & (s->n_slots - 1)) {
    }
    s->slots[at] = s->n + 1;
    s->begins[0] = 0;
    if (n > 0) {
        memcpy(s->pool + s->n_pool, k->found, n * sizeof *k->found);
    }
    s->n_pool += n;
    s->accepting[s->n] = accepting;
    s->begins[s->n + 1] = s->n_pool;
    *out = s->n++;
    return dfa_spend(k->nfa->steps, n + row / 4, e);
}

static void find_classes(const struct nfa *a, struct dfa *d)
{
    bool begins[257] = {false};
    for (uint32_t i = 0; i < a->n; i++) {
        if (a->states[i].first <= a->states[i].last) {
            begins[a->states[i].first] = true;
            begins[a->states[i].last + 1] = true;
        }
    }
    uint32_t class = 0;
    for (uint32_t b = 0; b < 256; b++) {
        class += b > 0 && begins[b];
        d->class_of[b] = (uint8_t) class;
    }
    d->n_classes = class + 1;
}

static bool add_target(struct construction *k, uint32_t class, uint32_t target, struct error *e)
{
    if (!grow((void **)&k->targets[class].items, &k->targets[class].capacity,
              k->targets[class].n + 1, sizeof target, e)) {
        return false;
    }
    k->targets[class].items[k->targets[class].n++] = target;
    return true;
}

static bool same_targets(const struct construction *k, uint32_t a, uint32_t b)
{
    return k->targets[a].n == k->targets[b].n &&
           memcmp(k->targets[a].items, k->targets[b].items,
                  k->targets[a].n * sizeof *k->targets[a].items) == 0;
}

/* Fills the row of transitions of set i. */
static bool expand_set(struct construction *k, uint32_t i, struct error *e)
{
    uint32_t n_classes = k->dfa.n_classes;
    uint64_t n_targets = 0;
    for (uint32_t c = 0; c < n_classes; c++) {
        k->targets[c].n = 0;
    }
    for (size_t at = k->sets.begins[i]; at < k->sets.begins[i + 1]; at++) {
        const struct nfa_state *s = &k->nfa->states[k->sets.pool[at]];
        uint32_t last = k->dfa.class_of[s->last];
        for (uint32_t c = k->dfa.class_of[s->first]; c <= last; c++) {
            n_targets++;
            if (!add_target(k, c, s->out, e)) {
                return false;
            }
        }
    }
    for (uint32_t c = 0; c < n_classes; c++) {
        size_t place = (size_t)i * n_classes + c;
        uint32_t n, target;
        bool accepting;
        if (k->targets[c].n == 0) {
            continue;
        }
        if (c > 0 && same_targets(k, c - 1, c)) {
            k->dfa.next[place] = k->dfa.next[place - 1];
            continue;
        }
        if (!close_set(k, k->targets[c].items, k->targets[c].n, &n, &accepting, e) ||
            ((n > 0 || accepting) && !find_set(k, n, accepting, &target, e))) {
            return false;
        }
        k->dfa.next[place] = n > 0 || accepting ? target : 0;
    }
    return dfa_spend(k->nfa->steps, n_targets, e);
}

static bool construct(struct construction *k, uint32_t start, struct error *e)
{
    size_t n = k->nfa->n;
    k->stamps = mem_alloc(n, sizeof *k->stamps, "grammar automaton", e);
    k->stack = k->stamps != NULL ? mem_alloc(n, sizeof *k->stack, "grammar automaton", e) : NULL;
    k->found = k->stack != NULL ? mem_alloc(n, sizeof *k->found, "grammar automaton", e) : NULL;
    if (k->found == NULL) {
        return false;
    }
    enum { FIXED_STEPS = 1000 }; /* what a small one costs, as time */
    uint32_t n_found, dead;
    bool accepting;
    if (!dfa_spend(k->nfa->steps, FIXED_STEPS, e)) {
        return false;
    }
    find_classes(k->nfa, &k->dfa);
    /* the empty set is the dead state */
    if (!find_set(k, 0, false, &dead, e) || !close_set(k, &start, 1, &n_found, &accepting, e) ||
        !find_set(k, n_found, accepting, &k->dfa.start, e)) {
        return false;
    }
    for (uint32_t i = 1; i < k->sets.n; i++) {
        if (!expand_set(k, i, e)) {
            return false;
        }
    }
    k->dfa.n_states = k->sets.n;
    return true;
}

bool dfa_from_nfa(const struct nfa *a, uint32_t start, uint32_t max_states, struct dfa *out,
                  struct error *e)
{
    struct construction k = {.nfa = a, .sets = {.max = max_states}};
    bool ok = construct(&k, start, e);
    k.dfa.accepting = k.sets.accepting;
    mem_free(k.sets.pool);
    mem_free(k.sets.begins);
    mem_free(k.sets.slots);
    mem_free(k.stamps);
    mem_free(k.stack);
    mem_free(k.found);
    for (uint32_t c = 0; c < k.dfa.n_classes; c++) {
        mem_free(k.targets[c].items);
    }
    if (ok) {
        ok = dfa_prune(&k.dfa, e);
    }
    if (ok) {
        *out = k.dfa;
    } else {
        dfa_finish(&k.dfa);
    }
    return ok;
}
