/* store_usage.c - rows of the ledger, and their sums. */
#include "store/store_usage.h"

#include "store/store_internal.h"

#include <stdio.h>

/* Times are milliseconds since 1970. The index has all that sums are made of but the rest of the
 * row, so that they read no more than the rows of their time. */
static const char *const migrations[] = {
    "CREATE TABLE usage ("
    " id TEXT PRIMARY KEY NOT NULL,"
    " key TEXT NOT NULL,"     /* '': the request came without one */
    " minutes TEXT NOT NULL," /* '': with the key itself */
    " model TEXT NOT NULL,"
    " endpoint TEXT NOT NULL,"
    " n_prompt INTEGER NOT NULL," /* tokens */
    " n_cached INTEGER NOT NULL,"
    " n_completion INTEGER NOT NULL,"
    " is_filtered INTEGER NOT NULL,"
    " status INTEGER NOT NULL,"
    " began INTEGER NOT NULL,"
    " ended INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX usage_by_time ON usage (ended);",
};

const struct store_schema store_usage_schema = {.application_id = 0x50756E75, /* "Punu" */
                                                .option = "--usage-store",
                                                .maker = "puna serve",
                                                .migrations = migrations,
                                                .n_forms =
                                                    sizeof migrations / sizeof migrations[0]};

/* --- rows */

static bool add(struct store *s, const struct store_use *use, struct error *e)
{
    struct store_query q;
    store_query_begin(&q, s,
                      "INSERT INTO usage (id, key, minutes, model, endpoint, n_prompt, n_cached, "
                      "n_completion, is_filtered, status, began, ended) "
                      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                      e);
    store_bind_text(&q, use->id);
    store_bind_text(&q, use->key);
    store_bind_text(&q, use->minutes);
    store_bind_text(&q, use->model);
    store_bind_text(&q, use->endpoint);
    store_bind_int(&q, (int64_t)use->n_prompt);
    store_bind_int(&q, (int64_t)use->n_cached);
    store_bind_int(&q, (int64_t)use->n_completion);
    store_bind_int(&q, use->is_filtered);
    store_bind_int(&q, use->status);
    store_bind_int(&q, use->began_ms);
    store_bind_int(&q, use->ended_ms);
    store_query_next(&q);
    return store_query_end(&q);
}

bool store_usage_add(struct store *s, const struct store_use *const *rows, size_t n,
                     struct error *e)
{
    if (!store_begin(s, e)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!add(s, rows[i], e)) {
            store_rollback(s);
            return false;
        }
    }
    return store_commit(s, e);
}
