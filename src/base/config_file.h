/* config_file.h - files of options: a line `name = value` each. Empty lines and those that begin
 * with `#` say nothing; blanks round name and value do not count. A value is the rest of the line
 * as it is: no quotation marks, no escapes, no comment behind it, no sections, no includes. Pure
 * functions. */
#ifndef BASE_CONFIG_FILE_H
#define BASE_CONFIG_FILE_H

#include "base/error.h"
#include "base/str.h"

enum { CONFIG_FILE_MAX_BYTES = 64 << 10 };

/* Views into the text. */
struct config_file_line {
    struct str name;  /* a-z, 0-9 and '-', a letter first */
    struct str value; /* UTF-8 without control characters, not empty */
    uint32_t number;  /* of the line, from 1 */
};

struct config_file_reader {
    struct str rest;
    uint32_t number; /* of lines read */
};

/* A byte order mark in front is skipped. */
void config_file_begin(struct config_file_reader *r, struct str text);

/* The next line that says something. False at the end, with e->code ERROR_NONE, and at a line that
 * is none: ERROR_USAGE, "line N: ...". */
bool config_file_next(struct config_file_reader *r, struct config_file_line *out, struct error *e);

/* Whether config_file_next() would give this value again. */
bool config_file_is_value(struct str value);

#endif
