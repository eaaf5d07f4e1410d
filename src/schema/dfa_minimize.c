/* dfa_minimize.c - equal states made one. States are cut into blocks and transitions into cords
 * until no cord comes from a part of a block, and no block is reached by a part of a cord; a set
 * that is cut leaves its number to the larger part, so that a state or transition is looked at
 * again only when its set has become half as large.
 * source  Valmari and Lehtinen, "Efficient minimization of DFAs with partial transition functions",
 *         STACS 2008: the algorithm */
#include "schema/dfa.h"

#include "base/mem.h"

struct partition {
    uint32_t n_sets, n_touched;
    uint32_t *items;   /* (n) those of a set side by side, the marked ones first */
    uint32_t *place;   /* (n) where an item stands */
    uint32_t *set_of;  /* (n) */
    uint32_t *first;   /* (n) of a set, in items */
    uint32_t *past;    /* (n) */
    uint32_t *marked;  /* (n) how many */
    uint32_t *touched; /* (n) sets with marked items */
};

static bool partition_init(struct partition *p, uint32_t n, struct error *e)
{
    uint32_t *block = mem_alloc((size_t)n + 1, 7 * sizeof *block, "grammar automaton", e);
    if (block == NULL) {
        return false;
    }
    *p = (struct partition){.items = block,
                            .place = block + n,
                            .set_of = block + 2 * (size_t)n,
                            .first = block + 3 * (size_t)n,
                            .past = block + 4 * (size_t)n,
                            .marked = block + 5 * (size_t)n,
                            .touched = block + 6 * (size_t)n};
    p->n_sets = n > 0;
    for (uint32_t i = 0; i < n; i++) {
        p->items[i] = p->place[i] = i;
    }
    p->past[0] = n;
    return true;
}

static void mark(struct partition *p, uint32_t item)
{
    uint32_t set = p->set_of[item], at = p->place[item], to = p->first[set] + p->marked[set];
    if (at < to) {
        return;
    }
    p->items[at] = p->items[to];
    p->place[p->items[at]] = at;
    p->items[to] = item;
    p->place[item] = to;
    if (p->marked[set]++ == 0) {
        p->touched[p->n_touched++] = set;
    }
}

/* Cuts every touched set into its marked items and the others. */
static void split(struct partition *p)
{
    while (p->n_touched > 0) {
        uint32_t set = p->touched[--p->n_touched];
        uint32_t middle = p->first[set] + p->marked[set], new = p->n_sets;
        if (middle == p->past[set]) {
            p->marked[set] = 0;
            continue;
        }
        if (p->marked[set] <= p->past[set] - middle) {
            p->first[new] = p->first[set];
            p->past[new] = p->first[set] = middle;
        } else {
            p->past[new] = p->past[set];
            p->first[new] = p->past[set] = middle;
        }
        for (uint32_t i = p->first[new]; i < p->past[new]; i++) {
            p->set_of[p->items[i]] = new;
        }
        p->marked[set] = p->marked[new] = 0;
        p->n_sets++;
    }
}

struct minimization {
    struct partition blocks, cords;
    uint32_t n_transitions;
    uint32_t *tails;    /* (n_transitions) ordered by class */
    uint32_t *heads;    /* (n_transitions) the same */
    uint32_t *begins;   /* (n_states + 2) incoming transitions of a state in incoming */
    uint32_t *incoming; /* (n_transitions) */
};

/* Transitions class by class, each class a cord. The table is read row by row, as it lies. */
static void list_transitions(const struct dfa *d, struct minimization *m)
{
    uint32_t places[257] = {0}; /* of the next transition of a class */
    for (uint32_t s = 1; s < d->n_states; s++) {
        const uint32_t *row = d->next + (size_t)s * d->n_classes;
        for (uint32_t c = 0; c < d->n_classes; c++) {
            places[c + 1] += row[c] != 0;
        }
    }
    m->cords.n_sets = 0;
    for (uint32_t c = 0; c < d->n_classes; c++) {
        uint32_t first = places[c], past = first + places[c + 1], set = m->cords.n_sets;
        places[c + 1] = past;
        if (first < past) {
            m->cords.first[set] = first;
            m->cords.past[set] = past;
            m->cords.n_sets++;
        }
        for (uint32_t t = first; t < past; t++) {
            m->cords.set_of[t] = set;
        }
    }
    for (uint32_t s = 1; s < d->n_states; s++) {
        const uint32_t *row = d->next + (size_t)s * d->n_classes;
        for (uint32_t c = 0; c < d->n_classes; c++) {
            if (row[c] != 0) {
                m->tails[places[c]] = s;
                m->heads[places[c]++] = row[c];
                m->begins[row[c] + 2]++;
            }
        }
    }
    for (uint32_t s = 2; s < d->n_states + 2; s++) {
        m->begins[s] += m->begins[s - 1];
    }
    for (uint32_t t = 0; t < m->n_transitions; t++) {
        m->incoming[m->begins[m->heads[t] + 1]++] = t;
    }
}

static bool refine(struct minimization *m, uint64_t *steps, struct error *e)
{
    uint32_t done_blocks = 1, done_cords = 0;
    while (done_cords < m->cords.n_sets) {
        uint64_t n = 1;
        for (uint32_t i = m->cords.first[done_cords]; i < m->cords.past[done_cords]; i++, n++) {
            mark(&m->blocks, m->tails[m->cords.items[i]]);
        }
        split(&m->blocks);
        done_cords++;
        for (; done_blocks < m->blocks.n_sets; done_blocks++) {
            for (uint32_t i = m->blocks.first[done_blocks]; i < m->blocks.past[done_blocks]; i++) {
                uint32_t s = m->blocks.items[i];
                for (uint32_t k = m->begins[s]; k < m->begins[s + 1]; k++, n++) {
                    mark(&m->cords, m->incoming[k]);
                }
            }
            split(&m->cords);
        }
        if (!dfa_spend(steps, n, e)) {
            return false;
        }
    }
    return true;
}

/* Rewrites d with a state a block. Blocks are numbered by their first state, so that what is equal
 * gets equal numbers however the cutting went. */
static void rewrite(struct dfa *d, const struct partition *blocks, uint32_t *number, uint32_t *map)
{
    uint32_t n = 1;
    map[0] = 0;
    for (uint32_t s = 1; s < d->n_states; s++) {
        uint32_t block = blocks->set_of[s];
        if (number[block] == 0) {
            number[block] = n++;
        }
        map[s] = number[block];
    }
    uint32_t written = 0;
    for (uint32_t s = 0; s < d->n_states; s++) {
        if (s > 0 && map[s] <= written) {
            continue; /* the first state of a block stands for it */
        }
        written = map[s];
        d->accepting[map[s]] = d->accepting[s];
        for (uint32_t c = 0; c < d->n_classes; c++) {
            d->next[(size_t)map[s] * d->n_classes + c] = map[d->next[(size_t)s * d->n_classes + c]];
        }
    }
    d->start = map[d->start];
    d->n_states = n;
}

bool dfa_minimize(struct dfa *d, uint32_t *map, uint64_t *steps, struct error *e)
{
    struct minimization m = {0};
    uint32_t *number = NULL;
    size_t n_all = (size_t)d->n_states * d->n_classes;
    for (size_t i = 0; i < n_all; i++) {
        m.n_transitions += d->next[i] != 0;
    }
    bool ok = dfa_spend(steps, n_all / 4 + 2 * m.n_transitions, e) &&
              partition_init(&m.blocks, d->n_states, e) &&
              partition_init(&m.cords, m.n_transitions, e);
    if (ok) {
        m.tails = mem_alloc(2 * (size_t)m.n_transitions, sizeof *m.tails, "grammar automaton", e);
        m.begins = mem_alloc(d->n_states + 3, sizeof *m.begins, "grammar automaton", e);
        m.incoming = mem_alloc(m.n_transitions, sizeof *m.incoming, "grammar automaton", e);
        number = mem_alloc(d->n_states + 1, sizeof *number, "grammar automaton", e);
        m.heads = m.tails != NULL ? m.tails + m.n_transitions : NULL;
        ok = m.tails != NULL && m.begins != NULL && m.incoming != NULL && number != NULL;
    }
    if (ok) {
        mark(&m.blocks, 0);
        split(&m.blocks); /* the dead state, which has no transitions, is alone */
        for (uint32_t s = 1; s < d->n_states; s++) {
            if (d->accepting[s]) {
                mark(&m.blocks, s);
            }
        }
        split(&m.blocks);
        list_transitions(d, &m);
        ok = refine(&m, steps, e);
    }
    if (ok) {
        rewrite(d, &m.blocks, number, map);
    }
    mem_free(m.blocks.items);
    mem_free(m.cords.items);
    mem_free(m.tails);
    mem_free(m.begins);
    mem_free(m.incoming);
    mem_free(number);
    return ok;
}
