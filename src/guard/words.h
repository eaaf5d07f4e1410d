/* words.h - a judge of profanity: lists of words and phrases, found whole and in any case.
 *
 * A list is UTF-8, a word or phrase a line; blank lines and those that begin with # say nothing.
 * Whole: no letter, number or combining character goes on before or behind. Scripts written without
 * spaces (Thai, Lao, Han, kana) have no such ends, so there a word is found wherever its characters
 * stand, but never in the middle of a vowel and its consonant. docs/GUARD.md has the rules.
 * source  simple case folding and categories of Unicode (token/unicode.h) */
#ifndef GUARD_WORDS_H
#define GUARD_WORDS_H

#include "guard/guard.h"

enum { WORDS_MAX_FILE_BYTES = 1 << 20, WORDS_MAX_CHARS = 64 };

struct words; /* immutable: any thread */

/* The list that is built in (src/guard/profanity.txt). Static. */
struct str words_builtin(void);

/* ERROR_USAGE naming the line: not UTF-8, a control character, more than WORDS_MAX_CHARS
 * characters; or no words at all, or more than WORDS_MAX_FILE_BYTES. ERROR_MEMORY. */
struct words *words_parse(struct str list, struct error *e);

/* NULL is allowed. */
void words_destroy(struct words *w);

/* Judges GUARD_PROFANITY in answers. Each character costs a step for every word that it may go on
 * with, WORDS_MAX_CHARS at most and mostly none; what may become a word is at most
 * 8 * WORDS_MAX_CHARS bytes long. w must outlive the judge. */
struct guard_judge words_judge(const struct words *w);

#endif
