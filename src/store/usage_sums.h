/* usage_sums.h - sums of the ledger over any time, in memory. They are read in stretches of an hour
 * of use, between which those who write have their turn. The store's thread. */
#ifndef STORE_USAGE_SUMS_H
#define STORE_USAGE_SUMS_H

#include "store/store_usage.h"

/* Texts are its own, NUL behind them. */
struct usage_sums_row {
    char *key, *model;
    struct store_usage_sum sum; /* of them */
};

struct usage_sums {
    struct usage_sums_row *rows; /* (n) by key, then model */
    size_t n, capacity;
};

/* No rows; nothing is allocated yet. */
void usage_sums_init(struct usage_sums *u);
void usage_sums_finish(struct usage_sums *u);
void usage_sums_clear(struct usage_sums *u);

/* Adds the sums of a range to those that are there. `stop` (NULL: nobody will) ends it within a
 * stretch: ERROR_INTERRUPTED. ERROR_FORMAT when a number would be above INT64_MAX. What was read
 * before a failure stays added. */
bool usage_sums_read(struct usage_sums *u, struct store *s, const struct store_usage_range *range,
                     const _Atomic bool *stop, struct error *e);

/* Adds one, of rows that have key and model as it has. */
bool usage_sums_add(struct usage_sums *u, const struct store_usage_sum *sum, struct error *e);

#endif
