/* matcher.c - a walk through an automaton's states. */
#include "schema/matcher.h"

void matcher_init(struct matcher *m, struct automaton *a)
{
    *m = (struct matcher){.automaton = a, .user = {.state = AUTOMATON_START}};
    automaton_add_user(a, &m->user);
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
    return automaton_make_room(m->automaton, e) ? automaton_mask(m->automaton, m->user.state, e)
                                                : NULL;
}

bool matcher_take(struct matcher *m, uint32_t token, struct error *e)
{
    const struct token_trie *t = automaton_trie(m->automaton);
    uint32_t state = AUTOMATON_DEAD;
    if (token >= t->n_tokens) {
        return error_set(e, ERROR_USAGE, "token %u of %u", token, t->n_tokens);
    }
    struct str piece = t->pieces[token];
    if (token_mask_has(t->ends, token)) {
        state = matcher_is_complete(m) ? AUTOMATON_ENDED : AUTOMATON_DEAD;
    } else if (piece.n > 0) {
        state = m->user.state;
    }
    for (size_t i = 0; i < piece.n && state != AUTOMATON_DEAD; i++) {
        if (!automaton_step(m->automaton, state, (uint8_t)piece.p[i], &state, e)) {
            return false;
        }
    }
    if (state == AUTOMATON_DEAD) {
        return error_set(e, ERROR_USAGE, "token %u is not allowed by the grammar", token);
    }
    m->user.state = state;
    return true;
}

bool matcher_is_complete(const struct matcher *m)
{
    return automaton_is_complete(m->automaton, m->user.state);
}
