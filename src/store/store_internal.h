/* store_internal.h - statements, for the files of the store: every error of SQLite's becomes one of
 * ours that names the file. */
#ifndef STORE_STORE_INTERNAL_H
#define STORE_STORE_INTERNAL_H

#include "base/str.h"
#include "store/store.h"

#include <sqlite3.h>

struct store {
    const struct store_schema *schema;
    sqlite3 *db;
    char *path;
    uint32_t patience_ms;
    uint64_t asked_ns; /* when what waits for others was first refused */
};

/* Sets *e from the last error of s->db; returns false. */
bool store_fail(struct store *s, struct error *e);

/* Statements without results, several with semicolons between. */
bool store_run(struct store *s, const char *sql, struct error *e);

/* A statement under way. A failure is remembered: then the rest does nothing, and the end says
 * so. Parameters are bound from the first on, columns read from 0 on. */
struct store_query {
    struct store *store;
    sqlite3_stmt *statement;
    struct error *e;
    int n_bound;
    bool ok;
};

void store_query_begin(struct store_query *q, struct store *s, const char *sql, struct error *e);

/* `s` stays where it is until the end. */
void store_bind_text(struct store_query *q, struct str s);
void store_bind_blob(struct store_query *q, const void *bytes, size_t n);
void store_bind_int(struct store_query *q, int64_t value);
/* absent: for which NULL stands */
void store_bind_int_or_null(struct store_query *q, int64_t value, int64_t absent);

/* True when there is a row. */
bool store_query_next(struct store_query *q);

/* Views, until the next row. What is NULL is empty, or `absent`. */
struct str store_column_text(const struct store_query *q, int i);
struct str store_column_blob(const struct store_query *q, int i);
int64_t store_column_int(const struct store_query *q, int i, int64_t absent);

/* True when all went well. */
bool store_query_end(struct store_query *q);

#endif
