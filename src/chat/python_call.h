/* python_call.h - the arguments of a Python call whose values are literals, as the JSON text of an
 * object: a='x', b=[True, -1], **{'c d': None}) gives {"a": "x", "b": [true, -1], "c d": null}.
 *
 * Text goes in byte by byte from behind the opening parenthesis, JSON comes out as it is known.
 * Taken are the literals of Python's ast.literal_eval without sets, bytes and complex numbers, and
 * true, false and null. Tuples become arrays; numbers stay as they are spelled where JSON spells
 * them so; keys that are no strings become what json.dumps makes of them.
 * One owner, no locking. */
#ifndef CHAT_PYTHON_CALL_H
#define CHAT_PYTHON_CALL_H

#include "base/buf.h"

#include <stdint.h>

enum {
    PYTHON_MAX_DEPTH = 63,          /* with the arguments: what JSON has */
    PYTHON_MAX_TOKEN = 400,         /* bytes of a number or a word */
    PYTHON_MAX_UNSETTLED = 32 << 10 /* bytes that wait for the end of a parenthesis */
};

enum python_frame_kind {
    PYTHON_ARGUMENTS,
    PYTHON_LIST,
    PYTHON_PAREN, /* a value in parentheses, or a tuple: not known yet */
    PYTHON_TUPLE,
    PYTHON_DICT,
    PYTHON_SPREAD /* the dict after ** */
};

struct python_frame {
    enum python_frame_kind kind;
    bool has_items;
    size_t mark; /* byte of the JSON where the [ of a tuple will be */
};

enum python_result {
    PYTHON_MORE,
    PYTHON_DONE,  /* the call is closed, the JSON whole */
    PYTHON_BROKEN /* the byte does not belong here; nor does any after it */
};

struct python_call {
    struct buf *json; /* borrowed: what comes out is appended */
    unsigned state;
    struct python_frame frames[PYTHON_MAX_DEPTH + 1];
    size_t depth; /* of the last frame */
    bool is_sure; /* it cannot be but a call: a first value has begun, or it is closed */
    bool is_key;  /* the value is a key of a dict */
    char token[PYTHON_MAX_TOKEN];
    size_t n_token;
    /* strings */
    char quote;
    bool is_raw, is_triple;
    unsigned n_quotes, n_digits, max_digits, base;
    uint32_t code, high; /* of an escape; the first half of a pair before it */
};

/* Appends {; false for want of memory. json's maximum should be well above PYTHON_MAX_UNSETTLED. */
bool python_call_init(struct python_call *p, struct buf *json, struct error *e);

/* *out is written on success. ERROR_MEMORY, also when json is full. */
bool python_call_push(struct python_call *p, char c, enum python_result *out, struct error *e);

/* Bytes of json that will not change any more: they may be taken away with python_call_take. */
size_t python_call_settled(const struct python_call *p);
void python_call_take(struct python_call *p, size_t n);

/* Whether a name may begin, or go on, with this byte: a letter, _ or a byte of a letter that is not
 * ASCII; digits within. */
bool python_begins_name(char c);
bool python_continues_name(char c);

#endif
