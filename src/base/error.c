/* error.c - error texts and the table from code to exit code. */
#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* A cut text must not end in half a UTF-8 sequence: step back over continuation bytes. */
static void trim_to_code_point(char *text, size_t capacity)
{
    size_t n = strlen(text);
    if (n + 1 < capacity) {
        return;
    }
    while (n > 0 && ((unsigned char)text[n - 1] & 0xC0) == 0x80) {
        n--;
    }
    if (n > 0 && ((unsigned char)text[n - 1] & 0x80) != 0) {
        n--;
    }
    text[n] = '\0';
}

bool error_set(struct error *e, enum error_code code, const char *format, ...)
{
    if (e == NULL) {
        return false;
    }
    va_list args;
    va_start(args, format);
    e->code = code;
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    trim_to_code_point(e->text, sizeof e->text);
    return false;
}

bool error_prefix(struct error *e, const char *format, ...)
{
    if (e == NULL) {
        return false;
    }
    char prefix[ERROR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);

    char old[ERROR_TEXT_BYTES];
    memcpy(old, e->text, sizeof old);
    size_t n = strnlen(prefix, sizeof prefix - 3);
    memcpy(e->text, prefix, n);
    memcpy(e->text + n, ": ", 3);
    snprintf(e->text + n + 2, sizeof e->text - n - 2, "%s", old);
    trim_to_code_point(e->text, sizeof e->text);
    return false;
}

int error_exit_code(enum error_code code)
{
    static const int exit_codes[ERROR_CODE_COUNT] = {
        [ERROR_NONE] = 0,    [ERROR_USAGE] = 2,     [ERROR_NOT_FOUND] = 3,
        [ERROR_IO] = 4,      [ERROR_FORMAT] = 5,    [ERROR_UNSUPPORTED] = 6,
        [ERROR_CONTEXT] = 7, [ERROR_MEMORY] = 8,    [ERROR_INTERRUPTED] = 130,
        [ERROR_BUSY] = 75,   [ERROR_INTERNAL] = 70,
    };
    return exit_codes[code < ERROR_CODE_COUNT ? code : ERROR_INTERNAL];
}
