/* print.h - foreign text on a terminal and in JSON: whatever a file or a model holds, no control
 * character comes out. Threads: as stdio. */
#ifndef CMD_PRINT_H
#define CMD_PRINT_H

#include "base/error.h"
#include "base/str.h"

#include <jansson.h>
#include <stdio.h>

/* At most max_code_points of s, and "..." where it is cut. \n, \t, \r and \\ stand for line break,
 * tab, return and backslash; \xNN for other control characters of ASCII and for bytes that are no
 * UTF-8; \u{N} for the control characters of Latin-1 and for marks that are invisible or turn the
 * direction of writing. */
void print_escaped(FILE *f, struct str s, size_t max_code_points);

/* "puna: warning: TEXT", escaped, a line on stderr, or in f. */
void print_warning(const char *text);
void print_warning_to(FILE *f, const char *text);

/* The same between quotation marks; \" stands for one within. */
void print_quoted(FILE *f, struct str s, size_t max_code_points);

/* A JSON string, quotation marks included. U+FFFD stands for each maximal ill-formed part (Unicode
 * 3.9, as in the streaming decoder); \uNNNN for what print_escaped does not show either. */
void print_json_text(FILE *f, struct str s);

/* The text of a JSON value as it is spelled, in one line: what print_escaped does not show is
 * \uNNNN within its strings and a blank between them; so is what is no UTF-8, as U+FFFD. */
void print_json_line(FILE *f, struct str json);

/* The same text as a value of jansson's; NULL when memory runs out. */
json_t *print_json_string(struct str s);

/* A document and a line break on stdout, pure ASCII; flags are jansson's. Takes root over; NULL is
 * ERROR_MEMORY. What cannot be written is left for cmd_finish_output to say. */
bool print_json_document(json_t *root, size_t flags, struct error *e);

#endif
