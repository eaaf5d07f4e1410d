/* text_limit.h - texts of at most so many characters, counted while they are read: states of an
 * automaton times lengths would be too many. Pure functions.
 *
 * Characters are spelled as GRAMMAR_JSON_PLAIN says: one begins with each byte that is neither
 * inside an escape nor a continuation of UTF-8. A count is TEXT_LIMIT_PLACES times the characters
 * that have begun, plus the place inside of an escape, 0 outside. */
#ifndef SCHEMA_TEXT_LIMIT_H
#define SCHEMA_TEXT_LIMIT_H

#include "schema/grammar_internal.h"

enum {
    TEXT_LIMIT_PLACES = 6 /* none, behind the backslash, behind u and each digit but the last */
};
#define TEXT_LIMIT_NEVER UINT32_MAX

static inline uint32_t text_limit_step(uint32_t count, uint8_t byte)
{
    uint32_t place = count % TEXT_LIMIT_PLACES;
    if (place == 0) {
        uint32_t begins = (byte & 0xC0) != 0x80 ? TEXT_LIMIT_PLACES : 0;
        return count + begins + (byte == '\\');
    }
    bool goes_on = place == 1 ? byte == 'u' : place + 1 < TEXT_LIMIT_PLACES;
    return goes_on ? count + 1 : count - place;
}

/* Whether what was read up to a state can still come to an end. */
static inline bool text_limit_allows(const struct grammar *g, const struct loop *limit,
                                     uint32_t state, uint32_t count)
{
    uint32_t least = g->least[TEXT_LIMIT_PLACES * state + count % TEXT_LIMIT_PLACES];
    return least <= limit->max && count / TEXT_LIMIT_PLACES <= limit->max - least;
}

/* Marks in begins[] the bytes at which classes have to begin so that the bytes of one are counted
 * alike. */
void text_limit_cut_classes(bool begins[256]);

/* Characters that have to begin until a text of d may end, (n_states, TEXT_LIMIT_PLACES), for all
 * that is reached from the starts (n); TEXT_LIMIT_NEVER elsewhere. The caller frees it; NULL:
 * ERROR_MEMORY, or ERROR_UNSUPPORTED for too many steps. */
uint32_t *text_limit_find_least(const struct dfa *d, const uint32_t *starts, uint32_t n,
                                uint64_t *steps, struct error *e);

#endif
