/* jinja_text.h - operations on text that filters and methods share; they keep each part's
 * origin. */
#ifndef CHAT_JINJA_TEXT_H
#define CHAT_JINJA_TEXT_H

#include "chat/jinja_eval.h"

enum jinja_case { JINJA_CASE_UPPER, JINJA_CASE_LOWER, JINJA_CASE_CAPITALIZE, JINJA_CASE_SWAP };

/* The bytes [from, to) of s in another case, after the rules of Python's str methods. */
bool jinja_add_cased(struct jinja_eval *ev, struct jinja_text *t, const struct jinja_string *s,
                     size_t from, size_t to, enum jinja_case which);
/* s without the characters of `chars` (NULL: white space) at its ends: 1 left, 2 right, 3 both. */
bool jinja_strip(struct jinja_eval *ev, const struct jinja_string *s,
                 const struct jinja_string *chars, int sides, struct jinja_value *out);
/* At most `count` (negative: all) places of `old` replaced. Where data held the old text, the new
 * one counts as data, too: nobody turns what they write into the template's. */
bool jinja_replace(struct jinja_eval *ev, const struct jinja_string *s,
                   const struct jinja_string *old, const struct jinja_string *new_text,
                   int64_t count, struct jinja_value *out);
/* The next line of s from *at on, as str.splitlines has them: [*at, *end) without its line end, and
 * where the following one starts. False at the end of s. */
bool jinja_next_line(struct str s, size_t at, size_t *end, size_t *next);
/* & < > ' " as HTML has them; the result is marked as safe. */
bool jinja_escape(struct jinja_eval *ev, struct jinja_value v, struct jinja_value *out);
/* Whether all cased characters of s are of that case, and there is one. */
bool jinja_is_cased(struct str s, bool upper);

/* The methods of strings (jinja_string.c). */
extern const struct jinja_callee jinja_string_methods[];
/* Text that was marked safe escapes what most of them take: those where that makes no
 * difference. */
bool jinja_is_for_markup(struct str name);

#endif
