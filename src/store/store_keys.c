/* store_keys.c - rows to keys and back. */
#include "store/store_keys.h"

#include "base/mem.h"
#include "store/store_internal.h"

/* --- the file */

static const char *const migrations[] = {
    "CREATE TABLE keys ("
    " id TEXT PRIMARY KEY NOT NULL CHECK (length(id) = 12),"
    " name TEXT NOT NULL,"
    " hash BLOB NOT NULL CHECK (length(hash) = 32)," /* SHA-256 of the secret */
    " old_hash BLOB CHECK (length(old_hash) = 32),"  /* ... of the one before, until old_until */
    " old_until INTEGER,"
    " created INTEGER NOT NULL," /* times are seconds since 1970 */
    " expires INTEGER,"
    " revoked INTEGER,"
    " scopes INTEGER NOT NULL,"   /* bits of enum store_scope */
    " priority INTEGER NOT NULL," /* enum store_priority */
    " requests_per_minute INTEGER,"
    " tokens_per_minute INTEGER,"
    " concurrent INTEGER,"
    " models TEXT NOT NULL," /* one a line; empty: all */
    " origins TEXT NOT NULL" /* one a line; empty: any */
    ") STRICT, WITHOUT ROWID;",
    "ALTER TABLE keys ADD COLUMN tokens_per_day INTEGER;"
    "ALTER TABLE keys ADD COLUMN tokens_per_month INTEGER;",
};

const struct store_schema store_keys_schema = {.application_id = 0x50756E61, /* "Puna" */
                                               .option = "--store",
                                               .maker = "puna keys add",
                                               .migrations = migrations,
                                               .n_forms = sizeof migrations / sizeof migrations[0],
                                               .is_checked = true};

/* --- names */

static const struct {
    const char *name;
    unsigned bits;
} scopes[] = {
    {"chat", STORE_SCOPE_CHAT},           {"embeddings", STORE_SCOPE_EMBEDDINGS},
    {"tokenize", STORE_SCOPE_TOKENIZE},   {"metrics", STORE_SCOPE_METRICS},
    {"keys", STORE_SCOPE_KEYS},           {"usage", STORE_SCOPE_USAGE},
    {"inference", STORE_SCOPE_INFERENCE}, {"all", STORE_SCOPE_ALL},
};

static const char *const priorities[] = {[STORE_PRIORITY_HIGH] = "high",
                                         [STORE_PRIORITY_NORMAL] = "normal",
                                         [STORE_PRIORITY_LOW] = "low"};

enum { N_PRIORITIES = sizeof priorities / sizeof priorities[0] };

const char *store_scope_name(size_t i, unsigned *out_bits)
{
    if (i >= sizeof scopes / sizeof scopes[0]) {
        return NULL;
    }
    *out_bits = scopes[i].bits;
    return scopes[i].name;
}

unsigned store_scope_of(const char *name)
{
    for (size_t i = 0; i < sizeof scopes / sizeof scopes[0]; i++) {
        if (strcmp(scopes[i].name, name) == 0) {
            return scopes[i].bits;
        }
    }
    return 0;
}

const char *store_priority_name(enum store_priority priority)
{
    return priorities[priority];
}

bool store_priority_of(const char *name, enum store_priority *out)
{
    for (int i = 0; i < N_PRIORITIES; i++) {
        if (strcmp(priorities[i], name) == 0) {
            *out = (enum store_priority)i;
            return true;
        }
    }
    return false;
}

/* --- keys in memory */

void store_key_init(struct store_key *k)
{
    *k = (struct store_key){.expires = STORE_NEVER,
                            .revoked = STORE_NEVER,
                            .scopes = STORE_SCOPE_ALL,
                            .priority = STORE_PRIORITY_NORMAL,
                            .requests_per_minute = STORE_NO_LIMIT,
                            .tokens_per_minute = STORE_NO_LIMIT,
                            .concurrent = STORE_NO_LIMIT,
                            .tokens_per_day = STORE_NO_BUDGET,
                            .tokens_per_month = STORE_NO_BUDGET};
}

void store_key_finish(struct store_key *k)
{
    mem_free(k->name);
    mem_free(k->models);
    mem_free(k->origins);
    k->name = k->models = k->origins = NULL;
}

bool store_key_set_text(char **text, struct str s, struct error *e)
{
    char *copy = mem_alloc(s.n + 1, 1, "text of a key", e);
    if (copy == NULL) {
        return false;
    }
    if (s.n > 0) {
        memcpy(copy, s.p, s.n);
    }
    mem_free(*text);
    *text = copy;
    return true;
}

bool store_next_item(struct str *rest, struct str *out)
{
    const char *end = rest->n > 0 ? memchr(rest->p, '\n', rest->n) : NULL;
    if (end == NULL) {
        return false;
    }
    *out = (struct str){rest->p, (size_t)(end - rest->p)};
    *rest = str_skip(*rest, out->n + 1);
    return true;
}

bool store_has_item(const char *list, struct str item)
{
    struct str rest = str_from(list), own;
    while (store_next_item(&rest, &own)) {
        if (str_eq(own, item)) {
            return true;
        }
    }
    return false;
}

/* --- rows */

/* In the order of `columns`. */
enum {
    COLUMN_ID,
    COLUMN_NAME,
    COLUMN_HASH,
    COLUMN_OLD_HASH,
    COLUMN_OLD_UNTIL,
    COLUMN_CREATED,
    COLUMN_EXPIRES,
    COLUMN_REVOKED,
    COLUMN_SCOPES,
    COLUMN_PRIORITY,
    COLUMN_REQUESTS,
    COLUMN_TOKENS,
    COLUMN_CONCURRENT,
    COLUMN_MODELS,
    COLUMN_ORIGINS,
    COLUMN_DAY,
    COLUMN_MONTH
};
#define COLUMNS                                                                                    \
    "id, name, hash, old_hash, old_until, created, expires, revoked, scopes, priority, "           \
    "requests_per_minute, tokens_per_minute, concurrent, models, origins, tokens_per_day, "        \
    "tokens_per_month"

static bool read_hash(const struct store_query *q, int i, struct secret_hash *out)
{
    struct str bytes = store_column_blob(q, i);
    if (bytes.n == sizeof out->bytes) {
        memcpy(out->bytes, bytes.p, bytes.n);
    }
    return bytes.n == sizeof out->bytes;
}

static bool read_limit(const struct store_query *q, int i, uint32_t *out)
{
    int64_t value = store_column_int(q, i, STORE_NO_LIMIT);
    *out = (uint32_t)value;
    return value > 0 && value <= STORE_NO_LIMIT;
}

static bool read_budget(const struct store_query *q, int i, uint64_t *out)
{
    int64_t value = store_column_int(q, i, -1);
    bool is_none = sqlite3_column_type(q->statement, i) == SQLITE_NULL;
    *out = is_none ? STORE_NO_BUDGET : (uint64_t)value;
    return is_none || (value > 0 && value <= (int64_t)STORE_MOST_BUDGET);
}

static bool read_scopes(const struct store_query *q, unsigned *out)
{
    int64_t bits = store_column_int(q, COLUMN_SCOPES, 0);
    *out = (unsigned)bits;
    return bits > 0 && bits <= STORE_SCOPE_ALL;
}

static bool read_priority(const struct store_query *q, enum store_priority *out)
{
    int64_t value = store_column_int(q, COLUMN_PRIORITY, -1);
    *out = (enum store_priority)value;
    return value >= 0 && value < N_PRIORITIES;
}

static bool read_text(const struct store_query *q, int i, char **out)
{
    struct str s = store_column_text(q, i);
    bool ok = s.n == 0 || memchr(s.p, '\0', s.n) == NULL;
    return ok ? store_key_set_text(out, s, q->e) : error_set(q->e, ERROR_FORMAT, "a NUL byte");
}

/* Lines with their ends, none of them empty. */
static bool read_list(const struct store_query *q, int i, char **out)
{
    struct str rest = store_column_text(q, i), item;
    while (store_next_item(&rest, &item)) {
        if (item.n == 0) {
            return error_set(q->e, ERROR_FORMAT, "an empty line");
        }
    }
    return rest.n == 0 ? read_text(q, i, out) : error_set(q->e, ERROR_FORMAT, "a line without end");
}

/* What is in a row may have been put there by hand. */
static bool read_numbers(const struct store_query *q, struct store_key *k)
{
    k->old_until = store_column_int(q, COLUMN_OLD_UNTIL, 0);
    k->created = store_column_int(q, COLUMN_CREATED, 0);
    k->expires = store_column_int(q, COLUMN_EXPIRES, STORE_NEVER);
    k->revoked = store_column_int(q, COLUMN_REVOKED, STORE_NEVER);
    const char *fault = NULL;
    if (!read_hash(q, COLUMN_HASH, &k->hash) ||
        (k->old_until > 0 && !read_hash(q, COLUMN_OLD_HASH, &k->old_hash))) {
        fault = "hash";
    } else if (!read_scopes(q, &k->scopes)) {
        fault = "scopes";
    } else if (!read_priority(q, &k->priority)) {
        fault = "priority";
    } else if (!read_limit(q, COLUMN_REQUESTS, &k->requests_per_minute) ||
               !read_limit(q, COLUMN_TOKENS, &k->tokens_per_minute) ||
               !read_limit(q, COLUMN_CONCURRENT, &k->concurrent)) {
        fault = "limit";
    } else if (!read_budget(q, COLUMN_DAY, &k->tokens_per_day) ||
               !read_budget(q, COLUMN_MONTH, &k->tokens_per_month)) {
        fault = "budget";
    }
    return fault == NULL || error_set(q->e, ERROR_FORMAT, "bad %s", fault);
}

/* *k is zeroed, and finished by the caller. */
static bool read_row(const struct store_query *q, struct store_key *k)
{
    struct str id = store_column_text(q, COLUMN_ID);
    if (secret_is_id(id)) {
        memcpy(k->id, id.p, id.n);
    }
    bool ok = k->id[0] != '\0' ? read_numbers(q, k) && read_text(q, COLUMN_NAME, &k->name) &&
                                     read_list(q, COLUMN_MODELS, &k->models) &&
                                     read_list(q, COLUMN_ORIGINS, &k->origins)
                               : error_set(q->e, ERROR_FORMAT, "bad id");
    return ok || (q->e != NULL && error_prefix(q->e, "%s: key '%.*s'", store_path(q->store),
                                               STR_ARG(str_shown(id))));
}

static void bind_budget(struct store_query *q, uint64_t value)
{
    store_bind_int_or_null(q, value <= STORE_MOST_BUDGET ? (int64_t)value : -1, -1);
}

/* Everything behind id and created, in the order of both statements below. */
static void bind_rest(struct store_query *q, const struct store_key *k)
{
    store_bind_text(q, str_from(k->name));
    store_bind_blob(q, k->hash.bytes, sizeof k->hash.bytes);
    store_bind_blob(q, k->old_until > 0 ? k->old_hash.bytes : NULL, sizeof k->old_hash.bytes);
    store_bind_int_or_null(q, k->old_until, 0);
    store_bind_int_or_null(q, k->expires, STORE_NEVER);
    store_bind_int_or_null(q, k->revoked, STORE_NEVER);
    store_bind_int(q, k->scopes);
    store_bind_int(q, k->priority);
    store_bind_int_or_null(q, k->requests_per_minute, STORE_NO_LIMIT);
    store_bind_int_or_null(q, k->tokens_per_minute, STORE_NO_LIMIT);
    store_bind_int_or_null(q, k->concurrent, STORE_NO_LIMIT);
    store_bind_text(q, str_from(k->models));
    store_bind_text(q, str_from(k->origins));
    bind_budget(q, k->tokens_per_day);
    bind_budget(q, k->tokens_per_month);
}

bool store_key_add(struct store *s, const struct store_key *k, struct error *e)
{
    struct store_query q;
    store_query_begin(
        &q, s,
        "INSERT INTO keys (name, hash, old_hash, old_until, expires, revoked, scopes, "
        "priority, requests_per_minute, tokens_per_minute, concurrent, models, "
        "origins, tokens_per_day, tokens_per_month, id, created) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        e);
    bind_rest(&q, k);
    store_bind_text(&q, str_from(k->id));
    store_bind_int(&q, k->created);
    store_query_next(&q);
    return store_query_end(&q);
}

bool store_key_update(struct store *s, const struct store_key *k, struct error *e)
{
    struct store_query q;
    store_query_begin(&q, s,
                      "UPDATE keys SET name = ?, hash = ?, old_hash = ?, old_until = ?, "
                      "expires = ?, revoked = ?, scopes = ?, priority = ?, "
                      "requests_per_minute = ?, tokens_per_minute = ?, concurrent = ?, "
                      "models = ?, origins = ?, tokens_per_day = ?, tokens_per_month = ? "
                      "WHERE id = ?",
                      e);
    bind_rest(&q, k);
    store_bind_text(&q, str_from(k->id));
    store_query_next(&q);
    return store_query_end(&q) &&
           (sqlite3_changes(s->db) == 1 ||
            error_set(e, ERROR_NOT_FOUND, "%s: no key '%s'", s->path, k->id));
}

bool store_key_get(struct store *s, const char *id, struct store_key *out, struct error *e)
{
    struct store_key k = {0};
    struct store_query q;
    store_query_begin(&q, s, "SELECT " COLUMNS " FROM keys WHERE id = ?", e);
    store_bind_text(&q, str_from(id));
    bool found = store_query_next(&q);
    q.ok = q.ok && (!found || read_row(&q, &k));
    if (!store_query_end(&q)) {
        store_key_finish(&k);
        return false;
    }
    if (!found) {
        return error_set(e, ERROR_NOT_FOUND, "%s: no key '%s' (puna keys list shows all)", s->path,
                         id);
    }
    *out = k;
    return true;
}

bool store_keys_walk(struct store *s, store_key_fn *fn, void *argument, struct error *e)
{
    struct store_query q;
    store_query_begin(&q, s, "SELECT " COLUMNS " FROM keys ORDER BY created, id", e);
    while (store_query_next(&q)) {
        struct store_key k = {0};
        q.ok = read_row(&q, &k) && fn(argument, &k, e);
        store_key_finish(&k);
    }
    return store_query_end(&q);
}
