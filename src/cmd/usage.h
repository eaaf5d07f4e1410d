/* usage.h - what the files of `puna usage` share. */
#ifndef CMD_USAGE_H
#define CMD_USAGE_H

#include "base/buf.h"
#include "store/usage_sums.h"

#include <stdio.h>

enum usage_form { USAGE_TABLE, USAGE_CSV, USAGE_JSON };

enum { USAGE_DAY_BYTES = 16, USAGE_DAY_MS = 86400 * 1000 };

/* Ids and names of the keys, in the order of ids. */
struct usage_names {
    struct usage_name *all; /* (n) */
    size_t n, capacity;
};

struct usage_printer {
    enum usage_form form;
    bool by_day, by_key, by_model; /* at least one */
    const struct usage_names *names;
    struct store_usage_sum total;
    bool has_rows;
};

/* What stands before the rows, one of them (day: "2026-11-26", where it is by_day), and what stands
 * behind them. ERROR_FORMAT when a total would be above INT64_MAX. */
void usage_print_begin(const struct usage_printer *p);
bool usage_print_row(struct usage_printer *p, const char *day, const struct store_usage_sum *sum,
                     struct error *e);
void usage_print_end(const struct usage_printer *p);

/* The names that the store at `path` has. False with *e when it cannot be read; one that is not
 * there has none. */
bool usage_names_read(struct usage_names *names, const char *path, struct error *e);
void usage_names_finish(struct usage_names *names);
/* Empty where there is none. */
struct str usage_names_find(const struct usage_names *names, struct str id);

/* "2026-11-26", of 1970 or later, as milliseconds since then, of its beginning in UTC, and back. */
bool usage_parse_day(const char *text, int64_t *out_ms);
void usage_print_day(int64_t ms, char out[USAGE_DAY_BYTES]);

#endif
