/* dfa.c - deterministic automata: without dead ends, combined, and as small as they can be. */
#include "schema/dfa.h"

#include "base/mem.h"

void dfa_finish(struct dfa *d)
{
    mem_free(d->next);
    mem_free(d->accepting);
    *d = (struct dfa){0};
}

bool dfa_copy(const struct dfa *d, uint64_t *steps, struct dfa *out, struct error *e)
{
    size_t n = (size_t)d->n_states * d->n_classes;
    if (!dfa_spend(steps, n / 16, e)) {
        return false;
    }
    *out = *d;
    out->next = mem_alloc(n, sizeof *out->next, "grammar automaton", e);
    out->accepting = mem_alloc(d->n_states, sizeof *out->accepting, "grammar automaton", e);
    if (out->next == NULL || out->accepting == NULL) {
        dfa_finish(out);
        return false;
    }
    memcpy(out->next, d->next, n * sizeof *out->next);
    memcpy(out->accepting, d->accepting, d->n_states * sizeof *out->accepting);
    return true;
}

bool dfa_matches(const struct dfa *d, struct str text)
{
    uint32_t s = d->start;
    for (size_t i = 0; i < text.n && s != 0; i++) {
        s = d->next[(size_t)s * d->n_classes + d->class_of[(uint8_t)text.p[i]]];
    }
    return s != 0 && d->accepting[s];
}

bool dfa_longest(const struct dfa *d, uint32_t *out, struct error *e)
{
    enum { UNSEEN = 0, OPEN = 1, DONE = 2 }; /* DONE + bytes of the longest from there on */
    struct place {
        uint32_t state, class;
    } *stack = mem_alloc(d->n_states, sizeof *stack, "grammar automaton", e);
    uint32_t *seen = mem_alloc(d->n_states, sizeof *seen, "grammar automaton", e);
    bool ok = stack != NULL && seen != NULL, has_loop = false;
    uint32_t n = 0;
    if (ok) {
        seen[0] = DONE;
        stack[n++] = (struct place){d->start, 0};
    }
    while (n > 0 && !has_loop) {
        struct place *top = &stack[n - 1];
        const uint32_t *row = d->next + (size_t)top->state * d->n_classes;
        while (top->class < d->n_classes && seen[row[top->class]] >= DONE) {
            top->class ++;
        }
        if (top->class < d->n_classes) {
            has_loop = seen[row[top->class]] == OPEN || row[top->class] == top->state;
            seen[top->state] = OPEN;
            stack[n] = (struct place){row[top->class], 0};
            n += !has_loop;
            continue;
        }
        uint32_t longest = DONE;
        for (uint32_t c = 0; c < d->n_classes; c++) {
            uint32_t behind = row[c] != 0 ? seen[row[c]] + 1 : DONE;
            longest = behind > longest ? behind : longest;
        }
        seen[top->state] = longest;
        n--;
    }
    if (ok) {
        *out = has_loop ? UINT32_MAX : seen[d->start] - DONE;
    }
    mem_free(stack);
    mem_free(seen);
    return ok;
}

bool dfa_is_prefix_free(const struct dfa *d)
{
    for (uint32_t s = 1; s < d->n_states; s++) {
        for (uint32_t c = 0; c < d->n_classes && d->accepting[s]; c++) {
            if (d->next[(size_t)s * d->n_classes + c] != 0) {
                return false;
            }
        }
    }
    return true;
}

/* --- without dead ends */

/* States by where transitions come from: begins[s]..begins[s + 1] in sources. */
struct reverse {
    uint32_t *begins;  /* (n_states + 1) */
    uint32_t *sources; /* (transitions) */
};

static bool find_reverse(const struct dfa *d, struct reverse *out, struct error *e)
{
    size_t n_all = (size_t)d->n_states * d->n_classes;
    out->sources = NULL;
    out->begins = mem_alloc(d->n_states + 2, sizeof *out->begins, "grammar automaton", e);
    if (out->begins == NULL) {
        return false;
    }
    for (size_t i = 0; i < n_all; i++) {
        out->begins[d->next[i] + 2]++;
    }
    for (uint32_t s = 2; s <= d->n_states + 1; s++) {
        out->begins[s] += out->begins[s - 1];
    }
    out->sources = mem_alloc(n_all + 1, sizeof *out->sources, "grammar automaton", e);
    if (out->sources == NULL) {
        mem_free(out->begins);
        return false;
    }
    for (size_t i = 0; i < n_all; i++) {
        out->sources[out->begins[d->next[i] + 1]++] = (uint32_t)(i / d->n_classes);
    }
    return true;
}

static void keep_states(struct dfa *d, const uint32_t *number, uint32_t n_kept)
{
    for (uint32_t s = 0; s < d->n_states; s++) {
        if (s > 0 && number[s] == 0) {
            continue;
        }
        uint32_t *to = d->next + (size_t)number[s] * d->n_classes;
        const uint32_t *from = d->next + (size_t)s * d->n_classes;
        for (uint32_t c = 0; c < d->n_classes; c++) {
            to[c] = number[from[c]];
        }
        d->accepting[number[s]] = d->accepting[s];
    }
    d->start = number[d->start];
    d->n_states = n_kept;
}

/* Whether a few looks at the table, from the last state on, show that none is a dead end: states
 * lead to later ones more often than not. leads: (n_states) zeroes. */
static bool has_no_dead_ends(const struct dfa *d, uint32_t *leads)
{
    enum { MOST_LOOKS = 4 };
    uint32_t n_unknown = d->n_states - 1;
    for (int look = 0; look < MOST_LOOKS && n_unknown > 0; look++) {
        for (uint32_t s = d->n_states; s-- > 1;) {
            const uint32_t *row = d->next + (size_t)s * d->n_classes;
            bool does = d->accepting[s];
            for (uint32_t c = 0; c < d->n_classes && !does && leads[s] == 0; c++) {
                does = leads[row[c]] != 0;
            }
            if (does && leads[s] == 0) {
                leads[s] = 1;
                n_unknown--;
            }
        }
    }
    return n_unknown == 0;
}

bool dfa_prune(struct dfa *d, struct error *e)
{
    struct reverse r;
    uint32_t *number = mem_alloc(d->n_states, sizeof *number, "grammar automaton", e);
    uint32_t *stack = mem_alloc(d->n_states, sizeof *stack, "grammar automaton", e);
    bool ok = number != NULL && stack != NULL;
    bool is_pruned = ok && has_no_dead_ends(d, number);
    ok = ok && (is_pruned || find_reverse(d, &r, e));
    if (ok && !is_pruned) {
        uint32_t n_stack = 0, n_kept = 1;
        for (uint32_t s = 1; s < d->n_states; s++) {
            number[s] = d->accepting[s];
            if (d->accepting[s]) {
                stack[n_stack++] = s;
            }
        }
        while (n_stack > 0) {
            uint32_t s = stack[--n_stack];
            for (uint32_t i = r.begins[s]; i < r.begins[s + 1]; i++) {
                uint32_t from = r.sources[i];
                if (from != 0 && number[from] == 0) {
                    number[from] = 1;
                    stack[n_stack++] = from;
                }
            }
        }
        for (uint32_t s = 1; s < d->n_states; s++) {
            number[s] = number[s] != 0 ? n_kept++ : 0;
        }
        keep_states(d, number, n_kept);
        mem_free(r.begins);
        mem_free(r.sources);
    }
    mem_free(number);
    mem_free(stack);
    return ok;
}

/* --- two at once */

struct pairs {
    uint64_t *items; /* (n) a state of a << 32 | one of b */
    uint32_t n, capacity;
    uint32_t *slots; /* (n_slots) pair + 1 */
    size_t n_slots;
};

static size_t hash_pair(uint64_t pair)
{
    return (size_t)((pair * 0x9E3779B97F4A7C15u) >> 24);
}

static bool grow_pairs(struct pairs *p, struct error *e)
{
    uint32_t capacity = p->capacity > 0 ? 2 * p->capacity : 64;
    uint64_t *items = mem_resize(p->items, capacity, sizeof *items, "grammar automaton", e);
    if (items == NULL) {
        return false;
    }
    p->items = items;
    uint32_t *slots = mem_alloc(4 * (size_t)capacity, sizeof *slots, "grammar automaton", e);
    if (slots == NULL) {
        return false;
    }
    mem_free(p->slots);
    p->slots = slots;
    p->capacity = capacity;
    p->n_slots = 4 * (size_t)capacity;
    for (uint32_t i = 0; i < p->n; i++) {
        size_t at = hash_pair(p->items[i]) & (p->n_slots - 1);
        while (p->slots[at] != 0) {
            at = (at + 1) & (p->n_slots - 1);
        }
        p->slots[at] = i + 1;
    }
    return true;
}

static bool find_pair(struct pairs *p, uint64_t pair, uint32_t *out, struct error *e)
{
    if (p->n == p->capacity && !grow_pairs(p, e)) {
        return false;
    }
    size_t at = hash_pair(pair) & (p->n_slots - 1);
    for (; p->slots[at] != 0; at = (at + 1) & (p->n_slots - 1)) {
        if (p->items[p->slots[at] - 1] == pair) {
            *out = p->slots[at] - 1;
            return true;
        }
    }
    if (p->n >= GRAMMAR_MAX_DFA_STATES) {
        return error_set(e, ERROR_UNSUPPORTED, "too large: more than %d states of an automaton",
                         GRAMMAR_MAX_DFA_STATES);
    }
    p->items[p->n] = pair;
    p->slots[at] = p->n + 1;
    *out = p->n++;
    return true;
}

/* Classes of bytes that neither a nor b tells apart, and one byte of each. */
static void common_classes(const struct dfa *a, const struct dfa *b, struct dfa *out,
                           uint8_t byte_of[256])
{
    out->n_classes = 1;
    byte_of[0] = 0;
    out->class_of[0] = 0;
    for (uint32_t i = 1; i < 256; i++) {
        if (a->class_of[i] != a->class_of[i - 1] || b->class_of[i] != b->class_of[i - 1]) {
            byte_of[out->n_classes++] = (uint8_t)i;
        }
        out->class_of[i] = (uint8_t)(out->n_classes - 1);
    }
}

struct combination {
    const struct dfa *a, *b;
    enum dfa_operation operation;
    struct pairs pairs;
    uint64_t *steps;
};

static bool combine_rows(struct combination *k, struct dfa *out, struct error *e)
{
    const struct dfa *a = k->a, *b = k->b;
    enum dfa_operation operation = k->operation;
    struct pairs *p = &k->pairs;
    uint8_t byte_of[256];
    size_t capacity = 0;
    common_classes(a, b, out, byte_of);
    for (uint32_t i = 0; i < p->n; i++) {
        uint32_t x = (uint32_t)(p->items[i] >> 32), y = (uint32_t)p->items[i];
        if (i >= capacity) {
            capacity = 2 * capacity + 64;
            uint32_t *next = mem_resize(out->next, capacity * out->n_classes, sizeof *next,
                                        "grammar automaton", e);
            out->next = next != NULL ? next : out->next;
            bool *accepting = next != NULL ? mem_resize(out->accepting, capacity, sizeof *accepting,
                                                        "grammar automaton", e)
                                           : NULL;
            if (accepting == NULL) {
                return false;
            }
            out->accepting = accepting;
        }
        out->accepting[i] =
            x != 0 && a->accepting[x] &&
            (operation == DFA_AND ? y != 0 && b->accepting[y] : y == 0 || !b->accepting[y]);
        for (uint32_t c = 0; c < out->n_classes; c++) {
            uint32_t to_x = a->next[(size_t)x * a->n_classes + a->class_of[byte_of[c]]];
            uint32_t to_y = b->next[(size_t)y * b->n_classes + b->class_of[byte_of[c]]];
            bool dead = to_x == 0 || (operation == DFA_AND && to_y == 0);
            uint64_t pair = dead ? 0 : (uint64_t)to_x << 32 | to_y;
            if (!find_pair(p, pair, &out->next[(size_t)i * out->n_classes + c], e)) {
                return false;
            }
        }
        if (!dfa_spend(k->steps, out->n_classes, e)) {
            return false;
        }
    }
    return true;
}

bool dfa_combine(const struct dfa *a, const struct dfa *b, enum dfa_operation operation,
                 uint64_t *steps, struct dfa *out, struct error *e)
{
    struct combination k = {.a = a, .b = b, .operation = operation, .steps = steps};
    struct dfa d = {0};
    uint32_t dead;
    bool none = a->start == 0 || (operation == DFA_AND && b->start == 0);
    bool ok = find_pair(&k.pairs, 0, &dead, e) &&
              find_pair(&k.pairs, none ? 0 : (uint64_t)a->start << 32 | b->start, &d.start, e) &&
              combine_rows(&k, &d, e);
    d.n_states = k.pairs.n;
    mem_free(k.pairs.items);
    mem_free(k.pairs.slots);
    if (ok && dfa_prune(&d, e)) {
        *out = d;
        return true;
    }
    dfa_finish(&d);
    return false;
}
