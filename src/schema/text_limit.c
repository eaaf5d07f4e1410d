/* text_limit.c - how many characters a text needs at least, from each state on. */
#include "schema/text_limit.h"

#include "base/mem.h"

void text_limit_cut_classes(bool begins[256])
{
    begins['\\'] = begins['\\' + 1] = true;
    begins['u'] = begins['u' + 1] = true;
    begins[0x80] = begins[0xC0] = true;
}

/* A pair is TEXT_LIMIT_PLACES * state + place. */
struct search {
    const struct dfa *d;
    uint32_t n_pairs;
    uint8_t bytes[256]; /* (n_bytes) one of each class, ascending */
    uint32_t n_bytes;
    uint32_t *least; /* (n_pairs) */
    bool *seen;      /* (n_pairs) */
    uint32_t *queue; /* (n_pairs) those that are reached, in that order */
    uint32_t n_queue;
    uint32_t *begins;      /* (n_pairs + 2) of a pair's sources */
    uint32_t *sources;     /* (transitions) 2 * pair, plus 1 where a character begins */
    uint32_t *now, *later; /* (n_pairs) found with as many characters as are looked at, or more */
};

/* Where a pair goes by a byte, and whether a character begins; UINT32_MAX: nowhere. */
static uint32_t follow(const struct search *s, uint32_t pair, uint8_t byte, uint32_t *begins)
{
    const struct dfa *d = s->d;
    uint32_t state = pair / TEXT_LIMIT_PLACES,
             count = text_limit_step(pair % TEXT_LIMIT_PLACES, byte);
    uint32_t to = d->next[(size_t)state * d->n_classes + d->class_of[byte]];
    *begins = count / TEXT_LIMIT_PLACES;
    return to == 0 ? UINT32_MAX : TEXT_LIMIT_PLACES * to + count % TEXT_LIMIT_PLACES;
}

/* Transitions of a pair, with those of neighbouring classes that are equal as one: counted in
 * begins, or filled into sources. */
static uint32_t list_transitions(struct search *s, uint32_t pair, bool is_filling)
{
    uint32_t n = 0, last = UINT32_MAX, last_begins = 0;
    for (uint32_t i = 0; i < s->n_bytes; i++) {
        uint32_t begins, to = follow(s, pair, s->bytes[i], &begins);
        if (to == UINT32_MAX || (to == last && begins == last_begins)) {
            continue;
        }
        last = to;
        last_begins = begins;
        n++;
        if (is_filling) {
            s->sources[s->begins[to + 1]++] = 2 * pair + begins;
            continue;
        }
        s->begins[to + 2]++;
        if (!s->seen[to]) {
            s->seen[to] = true;
            s->queue[s->n_queue++] = to;
        }
    }
    return n;
}

static bool find_transitions(struct search *s, const uint32_t *starts, uint32_t n, uint64_t *steps,
                             struct error *e)
{
    size_t n_all = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t pair = TEXT_LIMIT_PLACES * starts[i];
        if (starts[i] != 0 && !s->seen[pair]) {
            s->seen[pair] = true;
            s->queue[s->n_queue++] = pair;
        }
    }
    for (uint32_t i = 0; i < s->n_queue; i++) {
        n_all += list_transitions(s, s->queue[i], false);
        if (!dfa_spend(steps, 1 + s->n_bytes / 4, e)) {
            return false;
        }
    }
    for (uint32_t p = 2; p < s->n_pairs + 2; p++) {
        s->begins[p] += s->begins[p - 1];
    }
    s->sources = mem_alloc(n_all + 1, sizeof *s->sources, "grammar automaton", e);
    for (uint32_t i = 0; i < s->n_queue && s->sources != NULL; i++) {
        list_transitions(s, s->queue[i], true);
    }
    return s->sources != NULL;
}

/* From the ends back, those of fewer characters first. */
static void find_least(struct search *s)
{
    uint32_t n_now = 0, n_later = 0;
    for (uint32_t i = 0; i < s->n_queue; i++) {
        if (s->d->accepting[s->queue[i] / TEXT_LIMIT_PLACES]) {
            s->least[s->queue[i]] = 0;
            s->now[n_now++] = s->queue[i];
        }
    }
    for (uint32_t least = 0; n_now > 0; least++) {
        for (uint32_t i = 0; i < n_now; i++) {
            for (uint32_t k = s->begins[s->now[i]]; k < s->begins[s->now[i] + 1]; k++) {
                uint32_t pair = s->sources[k] / 2, is_later = s->sources[k] % 2;
                if (s->least[pair] <= least + is_later) {
                    continue;
                }
                if (is_later == 0) {
                    s->now[n_now++] = pair;
                } else {
                    s->later[n_later++] = pair;
                }
                s->least[pair] = least + is_later;
            }
        }
        uint32_t *done = s->now;
        n_now = 0;
        for (uint32_t i = 0; i < n_later; i++) {
            if (s->least[s->later[i]] == least + 1) {
                s->later[n_now++] = s->later[i];
            }
        }
        s->now = s->later;
        s->later = done;
        n_later = 0;
    }
}

uint32_t *text_limit_find_least(const struct dfa *d, const uint32_t *starts, uint32_t n,
                                uint64_t *steps, struct error *e)
{
    struct search s = {.d = d, .n_pairs = TEXT_LIMIT_PLACES * d->n_states};
    bool begins[256] = {true};
    text_limit_cut_classes(begins);
    for (uint32_t b = 0; b < 256; b++) {
        if (begins[b] || d->class_of[b] != d->class_of[b - 1]) {
            s.bytes[s.n_bytes++] = (uint8_t)b;
        }
    }
    s.least = mem_alloc(s.n_pairs, sizeof *s.least, "grammar automaton", e);
    s.seen = mem_alloc(s.n_pairs, sizeof *s.seen, "grammar automaton", e);
    s.begins = mem_alloc((size_t)s.n_pairs + 3, sizeof *s.begins, "grammar automaton", e);
    s.queue = mem_alloc(s.n_pairs, 3 * sizeof *s.queue, "grammar automaton", e);
    bool ok = s.least != NULL && s.seen != NULL && s.begins != NULL && s.queue != NULL;
    if (ok) {
        memset(s.least, 0xFF, s.n_pairs * sizeof *s.least);
        s.now = s.queue + s.n_pairs;
        s.later = s.now + s.n_pairs;
        ok = find_transitions(&s, starts, n, steps, e);
    }
    if (ok) {
        find_least(&s);
    } else {
        mem_free(s.least);
    }
    mem_free(s.seen);
    mem_free(s.begins);
    mem_free(s.queue);
    mem_free(s.sources);
    return ok ? s.least : NULL;
}
