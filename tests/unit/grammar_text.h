/* grammar_text.h - whether a grammar accepts a text, for tests: through an automaton over a
 * vocabulary of single bytes. */
#ifndef TESTS_GRAMMAR_TEXT_H
#define TESTS_GRAMMAR_TEXT_H

#include "schema/automaton.h"

struct grammar_text {
    struct token_trie *trie;
    struct automaton *automaton;
    char bytes[256];
};

static inline bool grammar_text_init(struct grammar_text *t, const struct grammar *g,
                                     struct error *e)
{
    struct str pieces[257];
    bool is_end[257] = {[256] = true};
    for (int b = 0; b < 256; b++) {
        t->bytes[b] = (char)b;
        pieces[b] = (struct str){&t->bytes[b], 1};
    }
    pieces[256] = (struct str){0};
    t->trie = token_trie_from_pieces(pieces, is_end, 257, e);
    t->automaton = t->trie != NULL ? automaton_create(g, t->trie, e) : NULL;
    if (t->automaton == NULL) {
        token_trie_destroy(t->trie);
    }
    return t->automaton != NULL;
}

static inline void grammar_text_finish(struct grammar_text *t)
{
    automaton_destroy(t->automaton);
    token_trie_destroy(t->trie);
}

/* The state behind a text. */
static inline uint32_t grammar_text_state(struct grammar_text *t, struct str text)
{
    uint32_t state = AUTOMATON_START;
    for (size_t i = 0; i < text.n && state != AUTOMATON_DEAD; i++) {
        if (!automaton_step(t->automaton, state, (uint8_t)text.p[i], &state, NULL)) {
            return AUTOMATON_DEAD;
        }
    }
    return state;
}

static inline bool grammar_text_accepts(struct grammar_text *t, struct str text)
{
    return automaton_is_complete(t->automaton, grammar_text_state(t, text));
}

#endif
