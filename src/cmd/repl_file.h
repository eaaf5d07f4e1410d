/* repl_file.h - files that a person names in the chat, read and written whole. "~/" stands for the
 * home folder. Errors name the file as it was typed. */
#ifndef CMD_REPL_FILE_H
#define CMD_REPL_FILE_H

#include "base/buf.h"
#include "cmd/cmd.h"

enum { REPL_FILE_BYTES = 64 << 20 };

/* Appends the file to *out, whose maximum leaves room for more than REPL_FILE_BYTES.
 * ERROR_USAGE (no name, too large), ERROR_NOT_FOUND, ERROR_IO. */
bool repl_file_read(const struct cmd_env *env, struct str name, struct buf *out, struct error *e);

/* The file exists afterwards with all of text, readable by its owner alone, or is as it was; a link
 * stays one. ERROR_USAGE (no name, not a regular file), ERROR_NOT_FOUND (folder), ERROR_IO. */
bool repl_file_write(const struct cmd_env *env, struct str name, struct str text, struct error *e);

#endif
