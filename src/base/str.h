/* str.h - a borrowed view of bytes, and UTF-8. Nothing here allocates. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* n bytes at p, not NUL-terminated, owned by somebody else. p may be NULL when n is 0. */
struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
/* for printf("%.*s", STR_ARG(s)): the first INT_MAX bytes of a longer one */
#define STR_ARG(s) str_precision(s), (s).p

static inline int str_precision(struct str s)
{
    return s.n < INT_MAX ? (int)s.n : INT_MAX;
}

static inline struct str str_from(const char *text)
{
    return (struct str){text, strlen(text)};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_starts_with(struct str s, struct str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

static inline struct str str_skip(struct str s, size_t n)
{
    return n > 0 ? (struct str){s.p + n, s.n - n} : s; /* no text may have no address */
}

/* The value of a hexadecimal digit of either case, or -1. */
static inline int str_hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Decodes the code point at the start of s (s.n > 0) as RFC 3629 says: no overlong forms, no
 * surrogates, nothing above U+10FFFF. Returns its length in bytes (1 to 4) and sets *code_point; on
 * malformed bytes returns 0 and leaves *code_point. */
size_t str_decode_utf8(struct str s, uint32_t *code_point);

/* Whether all of it is code points so. */
bool str_is_utf8(struct str s);

/* Writes the UTF-8 form (1 to 4 bytes) of a code point <= 0x10FFFF that is no surrogate. */
size_t str_encode_utf8(uint32_t code_point, char out[4]);

/* The longest prefix of s that does not end inside a UTF-8 sequence that more bytes could complete.
 */
size_t str_complete_utf8(struct str s);

/* What error texts show of a text from a file: the whole, or as many code points as fit
 * STR_SHOWN_BYTES. */
enum { STR_SHOWN_BYTES = 96 };
struct str str_shown(struct str s);

#endif
