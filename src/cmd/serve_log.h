/* serve_log.h - what a server says on stderr while it serves. A reader that does not read costs
 * lines, not time. Any thread. */
#ifndef CMD_SERVE_LOG_H
#define CMD_SERVE_LOG_H

#include "base/str.h"

/* A line, of at most PIPE_BUF bytes with its newline; false when it was lost. */
bool serve_log_write(struct str line);

/* As print_warning(); of a longer text the end is missing. */
void serve_log_warn(const char *text);

#endif
