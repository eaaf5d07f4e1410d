/* error.h - the one way a function says why it failed.
 *
 * A fallible function returns bool and takes `struct error *e` last. The struct lives on the
 * caller's stack; NULL is allowed and means "I only want the bool". On success it is untouched.
 * The text is one phrase, lower case, names the thing and the numbers, and has no final newline. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

enum error_code {
    ERROR_NONE = 0,
    ERROR_USAGE,     /* the caller (a person or a client) asked for something that is not offered */
    ERROR_NOT_FOUND, /* a file or a name does not exist */
    ERROR_IO,        /* the operating system failed a read, write or map */
    ERROR_FORMAT,    /* bytes that do not follow their format */
    ERROR_UNSUPPORTED, /* well-formed, but a feature that Puna does not have */
    ERROR_CONTEXT,     /* the tokens do not fit the context */
    ERROR_MEMORY,      /* an allocation failed */
    ERROR_INTERRUPTED, /* the user asked to stop */
    ERROR_BUSY,        /* as many wait already as may, or somebody else is at it */
    ERROR_INTERNAL,    /* our own bug */
    ERROR_CODE_COUNT
};

enum { ERROR_TEXT_BYTES = 480 };

struct error {
    enum error_code code;
    char text[ERROR_TEXT_BYTES];
};

/* Fills *e (if not NULL) from a printf format and returns false, so that a function can end with
 * `return error_set(e, ERROR_FORMAT, "...")`. Text longer than the buffer is cut on a code point.
 */
bool error_set(struct error *e, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text of an error that is already set; returns false. */
bool error_prefix(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What the program exits with. What a client is told is in serve/api_error.h. */
int error_exit_code(enum error_code code);

#endif
