/* json_scan.h - follows the text of a JSON object or array byte by byte: is it one so far, and
 * where in it are we. Nothing is kept but the kinds of the open levels: text may have any length.
 * Stricter than RFC 8259 in what jansson refuses, too: half a surrogate pair, NUL in a key.
 * That bytes are UTF-8 is the caller's to know. Owner/threads: plain data. */
#ifndef CHAT_JSON_SCAN_H
#define CHAT_JSON_SCAN_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_SCAN_MAX_DEPTH = 64 };

/* What the next byte is looked at as. */
enum scan_state {
    SCAN_START,       /* white space, { or [ */
    SCAN_FIRST_KEY,   /* after {: a key or } */
    SCAN_KEY,         /* after , in an object */
    SCAN_COLON,       /* after a key */
    SCAN_VALUE,       /* after : or , */
    SCAN_FIRST_VALUE, /* after [: a value or ] */
    SCAN_AFTER_VALUE, /* , or the end of the level */
    SCAN_STRING,      /* within a string; so are the next four */
    SCAN_ESCAPE,      /* after \ */
    SCAN_HEX,         /* after \u */
    SCAN_LOW_ESCAPE,  /* after the first half of a pair: \ */
    SCAN_LOW_U,       /* ... and u */
    SCAN_LITERAL,     /* within true, false or null */
    SCAN_MINUS,       /* numbers: after - */
    SCAN_ZERO,        /* after a leading 0 */
    SCAN_DIGITS,      /* before . and e */
    SCAN_POINT,       /* after . */
    SCAN_FRACTION,    /* digits after . */
    SCAN_EXPONENT,    /* after e */
    SCAN_SIGN,        /* after e and a sign */
    SCAN_POWER,       /* digits after e */
    SCAN_END,         /* the object or array is closed */
    SCAN_BROKEN       /* no byte makes this JSON any more */
};

struct json_scan {
    enum scan_state state;
    unsigned depth;      /* levels that are open */
    uint64_t arrays;     /* bit i: level i is an array */
    const char *literal; /* what is left of it */
    unsigned n_hex;      /* digits of a \u seen */
    uint32_t hex;
    bool is_low; /* the second half of a pair */
    bool is_key; /* the string that is open, or was last, is a key */
};

void json_scan_init(struct json_scan *s);

/* False, with SCAN_BROKEN, when the byte does not belong here. Not called after the end. */
bool json_scan_push(struct json_scan *s, char c);

/* Whether all of it is one object, without white space behind. */
bool json_scan_is_object(struct str text);

static inline bool json_scan_in_string(const struct json_scan *s)
{
    return s->state >= SCAN_STRING && s->state <= SCAN_LOW_U;
}

/* The characters of a string that json_scan_push has taken. */
struct json_unescape {
    unsigned n_hex;
    uint32_t hex, high;
    bool after_backslash, in_hex;
};

/* Takes a byte between the quotes and writes what it completes; returns how many bytes that are. */
size_t json_unescape_push(struct json_unescape *u, char c, char out[4]);

/* The escaped form of a byte of a string's text (at most 6 bytes, more than one for control
 * characters, " and \ alone). Returns its length. */
size_t json_escape_byte(char c, char out[6]);

static inline bool json_is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

#endif
