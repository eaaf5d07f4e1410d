/* matcher.c - a walk through an automaton's states. */
#include "schema/matcher.h"

enum { RING = MATCHER_MAX_BACK + 1 };

static uint32_t state_now(const struct matcher *m)
{
    return m->states[m->n % RING];
}

void matcher_init(struct matcher *m, struct automaton *a)
{
    *m = (struct matcher){.automaton = a};
    m->user.states = m->states;
    m->user.n_states = RING;
    for (int i = 0; i < RING; i++) {
        m->states[i] = AUTOMATON_START;
    }
    automaton_add_user(a, &m->user);
}

void matcher_clone(struct matcher *m, const struct matcher *from)
{
    matcher_init(m, from->automaton);
    memcpy(m->states, from->states, sizeof m->states);
    m->n = from->n;
}

void matcher_finish(struct matcher *m)
{
    if (m->automaton != NULL) {
        automaton_remove_user(m->automaton, &m->user);
        m->automaton = NULL;
    }
}

const uint64_t *matcher_mask(struct matcher *m, struct error *e)
{
    return automaton_make_room(m->automaton, e) ? automaton_mask(m->automaton, state_now(m), e)
                                                : NULL;
}

static void go(struct matcher *m, uint32_t state)
{
    m->n++;
    m->states[m->n % RING] = state;
}

static bool step_bytes(struct matcher *m, struct str bytes, uint32_t *state, struct error *e)
{
    *state = state_now(m);
    for (size_t i = 0; i < bytes.n && *state != AUTOMATON_DEAD; i++) {
        if (!automaton_step(m->automaton, *state, (uint8_t)bytes.p[i], state, e)) {
            return false;
        }
    }
    return true;
}

bool matcher_take(struct matcher *m, uint32_t token, struct error *e)
{
    const struct token_trie *t = automaton_trie(m->automaton);
    uint32_t state = AUTOMATON_DEAD;
    if (token >= t->n_tokens) {
        return error_set(e, ERROR_USAGE, "token %u of %u", token, t->n_tokens);
    }
    if (token_mask_has(t->ends, token)) {
        state = matcher_is_complete(m) ? AUTOMATON_ENDED : AUTOMATON_DEAD;
    } else if (t->pieces[token].n > 0 && !step_bytes(m, t->pieces[token], &state, e)) {
        return false;
    }
    if (state == AUTOMATON_DEAD) {
        return error_set(e, ERROR_USAGE, "token %u is not allowed by the grammar", token);
    }
    go(m, state);
    return true;
}

bool matcher_take_bytes(struct matcher *m, struct str bytes, struct error *e)
{
    uint32_t state;
    if (!step_bytes(m, bytes, &state, e)) {
        return false;
    }
    if (state == AUTOMATON_DEAD) {
        return error_set(e, ERROR_USAGE, "the grammar does not allow these %zu bytes", bytes.n);
    }
    go(m, state);
    return true;
}

void matcher_back(struct matcher *m, uint32_t n_tokens)
{
    m->n -= n_tokens;
}

bool matcher_is_complete(const struct matcher *m)
{
    return automaton_is_complete(m->automaton, state_now(m));
}

bool matcher_is_ended(const struct matcher *m)
{
    return state_now(m) == AUTOMATON_ENDED;
}
