/* store_usage.c - rows of the ledger, and their sums. */
#include "store/store_usage.h"

#include "base/buf.h"
#include "store/store_internal.h"

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
                      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                      "ON CONFLICT (id) DO UPDATE SET status = excluded.status",
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

/* --- sums */

enum { MAX_SQL_BYTES = 4096 };

static bool append_names(struct buf *sql, const char *column, size_t n, struct error *e)
{
    bool ok = n == 0 || buf_printf(sql, e, " AND %s IN (?", column);
    for (size_t i = 1; ok && i < n; i++) {
        ok = buf_append(sql, STR(", ?"), e);
    }
    return ok && (n == 0 || buf_append_byte(sql, ')', e));
}

/* What is grouped by is a column's name or nothing: columns are the same in all forms. */
static bool write_walk(const struct store_usage_range *r, struct buf *sql, struct error *e)
{
    static const char *const kinds[] = {
        [STORE_USAGE_ALL] = "",
        [STORE_USAGE_TEXTS] = " AND endpoint <> '" STORE_USAGE_VECTORS_ENDPOINT "'",
        [STORE_USAGE_VECTORS] = " AND endpoint = '" STORE_USAGE_VECTORS_ENDPOINT "'",
    };
    static const char *const groups[] = {"", " GROUP BY key ORDER BY key",
                                         " GROUP BY model ORDER BY model",
                                         " GROUP BY key, model ORDER BY key, model"};
    return buf_printf(sql, e,
                      "SELECT %s, %s, count(*), sum(n_prompt), sum(n_cached), sum(n_completion), "
                      "sum(is_filtered <> 0), sum(status >= 400 AND status <> 499)  "
                      "FROM usage WHERE ended >= ? AND ended < ?%s",
                      r->by_key ? "key" : "''", r->by_model ? "model" : "''", kinds[r->kind]) &&
           append_names(sql, "key", r->n_keys, e) && append_names(sql, "model", r->n_models, e) &&
           buf_append(sql, str_from(groups[r->by_key + 2 * r->by_model]), e) &&
           buf_append_byte(sql, '\0', e);
}

static bool read_sum(const struct store_query *q, struct store_usage_sum *out)
{
    uint64_t *const numbers[] = {&out->n_requests,   &out->n_prompt,   &out->n_cached,
                                 &out->n_completion, &out->n_filtered, &out->n_failed};
    out->key = store_column_text(q, 0);
    out->model = store_column_text(q, 1);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        int64_t value = store_column_int(q, (int)i + 2, 0);
        if (value < 0) {
            return error_set(q->e, ERROR_FORMAT, "%s: a sum of %lld, below 0", store_path(q->store),
                             (long long)value);
        }
        *numbers[i] = (uint64_t)value;
    }
    return true;
}

bool store_usage_walk(struct store *s, const struct store_usage_range *range, store_usage_fn *fn,
                      void *argument, struct error *e)
{
    struct store_query q;
    struct buf sql;
    buf_init(&sql, MAX_SQL_BYTES);
    if (!write_walk(range, &sql, e)) {
        buf_finish(&sql);
        return false;
    }
    store_query_begin(&q, s, sql.data, e);
    store_bind_int(&q, range->from_ms);
    store_bind_int(&q, range->until_ms);
    for (size_t i = 0; i < range->n_keys; i++) {
        store_bind_text(&q, range->keys[i]);
    }
    for (size_t i = 0; i < range->n_models; i++) {
        store_bind_text(&q, range->models[i]);
    }
    while (store_query_next(&q)) {
        struct store_usage_sum sum;
        q.ok = read_sum(&q, &sum) && (sum.n_requests == 0 || fn(argument, &sum, e));
    }
    buf_finish(&sql);
    return store_query_end(&q);
}

bool store_usage_find_first(struct store *s, int64_t from_ms, int64_t *out_ms, struct error *e)
{
    struct store_query q;
    int64_t first = INT64_MAX;
    store_query_begin(&q, s, "SELECT min(ended) FROM usage WHERE ended >= ?", e);
    store_bind_int(&q, from_ms);
    if (store_query_next(&q)) {
        first = store_column_int(&q, 0, INT64_MAX);
    }
    if (!store_query_end(&q)) {
        return false;
    }
    if (first != INT64_MAX && (first < 0 || first > STORE_USAGE_LAST_MS)) {
        return error_set(e, ERROR_FORMAT, "%s: a request that ended at %lld ms, which is no time",
                         store_path(s), (long long)first);
    }
    *out_ms = first;
    return true;
}

/* --- retention */

bool store_usage_forget(struct store *s, int64_t before_ms, uint64_t n_most, uint64_t *out_n,
                        struct error *e)
{
    struct store_query q;
    if (!store_begin(s, e)) {
        return false;
    }
    store_query_begin(&q, s,
                      "DELETE FROM usage WHERE rowid IN "
                      "(SELECT rowid FROM usage WHERE ended < ? ORDER BY ended LIMIT ?)",
                      e);
    store_bind_int(&q, before_ms);
    store_bind_int(&q, n_most < INT64_MAX ? (int64_t)n_most : INT64_MAX);
    store_query_next(&q);
    if (!store_query_end(&q)) {
        store_rollback(s);
        return false;
    }
    uint64_t n = (uint64_t)sqlite3_changes64(s->db);
    if (!store_commit(s, e)) {
        return false;
    }
    *out_n = n;
    return true;
}

bool store_usage_vacuum(struct store *s, struct error *e)
{
    return store_run(s, "VACUUM", e);
}
