/* print.h - foreign text on a terminal: whatever a file or a model holds, no control character
 * comes out. Threads: as stdio. */
#ifndef CMD_PRINT_H
#define CMD_PRINT_H

#include "base/str.h"

#include <stdio.h>

/* At most max_code_points of s, and "..." where it is cut. \n, \t, \r and \\ stand for line break,
 * tab, return and backslash; \xNN for other control characters of ASCII and for bytes that are no
 * UTF-8; \u{N} for the control characters of Latin-1 and for marks that are invisible or turn the
 * direction of writing. */
void print_escaped(FILE *f, struct str s, size_t max_code_points);

/* The same between quotation marks; \" stands for one within. */
void print_quoted(FILE *f, struct str s, size_t max_code_points);

#endif
