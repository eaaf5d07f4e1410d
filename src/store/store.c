/* store.c - opening the file, its form, and statements. */
#include "store/store_internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    YOUNG_S = 2,      /* more than a tick of any file system's clock */
    POLL_NS = 1000000 /* less than the pauses of a ledger (serve/ledger_writer.c) */
};

/* --- errors */

static enum error_code code_of(int sqlite_code)
{
    switch (sqlite_code & 0xFF) {
    case SQLITE_NOMEM:
        return ERROR_MEMORY;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERROR_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CONSTRAINT:
    case SQLITE_ERROR: /* a table or a column is missing */
    case SQLITE_MISMATCH:
        return ERROR_FORMAT;
    default:
        return ERROR_IO;
    }
}

/* What somebody can do about it. */
static const char *advice_on(int sqlite_code)
{
    switch (sqlite_code & 0xFF) {
    case SQLITE_CORRUPT:
        return "; put a copy from before in its place, or move it away and begin a new one";
    case SQLITE_NOTADB:
        return "; name another file with "; /* the option */
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ": another program is writing to it; try again";
    case SQLITE_READONLY:
        return "; it and its folder have to be writable";
    default:
        return "";
    }
}

static bool fail_with(const struct store *s, int code, const char *text, struct error *e)
{
    const char *option = (code & 0xFF) == SQLITE_NOTADB ? s->schema->option : "";
    return error_set(e, code_of(code), "%s: %s%s%s", s->path, text, advice_on(code), option);
}

bool store_fail(struct store *s, struct error *e)
{
    return fail_with(s, sqlite3_extended_errcode(s->db), sqlite3_errmsg(s->db), e);
}

/* --- statements */

bool store_run(struct store *s, const char *sql, struct error *e)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK || store_fail(s, e);
}

static void check(struct store_query *q, int code)
{
    if (q->ok && code != SQLITE_OK) {
        q->ok = store_fail(q->store, q->e);
    }
}

void store_query_begin(struct store_query *q, struct store *s, const char *sql, struct error *e)
{
    *q = (struct store_query){.store = s, .e = e, .ok = true};
    check(q, sqlite3_prepare_v2(s->db, sql, -1, &q->statement, NULL));
}

void store_bind_text(struct store_query *q, struct str s)
{
    if (q->ok) {
        check(q, sqlite3_bind_text64(q->statement, ++q->n_bound, s.p != NULL ? s.p : "", s.n,
                                     SQLITE_STATIC, SQLITE_UTF8));
    }
}

void store_bind_blob(struct store_query *q, const void *bytes, size_t n)
{
    if (q->ok) {
        check(q, sqlite3_bind_blob64(q->statement, ++q->n_bound, bytes, n, SQLITE_STATIC));
    }
}

void store_bind_int(struct store_query *q, int64_t value)
{
    if (q->ok) {
        check(q, sqlite3_bind_int64(q->statement, ++q->n_bound, value));
    }
}

void store_bind_int_or_null(struct store_query *q, int64_t value, int64_t absent)
{
    if (value != absent) {
        store_bind_int(q, value);
    } else if (q->ok) {
        check(q, sqlite3_bind_null(q->statement, ++q->n_bound));
    }
}

bool store_query_next(struct store_query *q)
{
    int code = q->ok ? sqlite3_step(q->statement) : SQLITE_DONE;
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        check(q, code);
    }
    return code == SQLITE_ROW;
}

struct str store_column_text(const struct store_query *q, int i)
{
    const char *text = (const char *)sqlite3_column_text(q->statement, i);
    return (struct str){text, text != NULL ? (size_t)sqlite3_column_bytes(q->statement, i) : 0};
}

struct str store_column_blob(const struct store_query *q, int i)
{
    const char *bytes = sqlite3_column_blob(q->statement, i);
    return (struct str){bytes, bytes != NULL ? (size_t)sqlite3_column_bytes(q->statement, i) : 0};
}

int64_t store_column_int(const struct store_query *q, int i, int64_t absent)
{
    return sqlite3_column_type(q->statement, i) == SQLITE_NULL
               ? absent
               : sqlite3_column_int64(q->statement, i);
}

bool store_query_end(struct store_query *q)
{
    sqlite3_finalize(q->statement);
    q->statement = NULL;
    return q->ok;
}

bool store_commit(struct store *s, struct error *e)
{
    if (store_run(s, "COMMIT", e)) {
        return true;
    }
    /* The journal is cut to nothing, and then that is forced to the disk: a failure of the first
     * is none of the change, one of the second is none of the file as it is now. */
    if ((sqlite3_extended_errcode(s->db) & 0xFF) == SQLITE_IOERR) {
        error_set(e, ERROR_IO,
                  "%s: %s; the change may have been made all the same: look before you try again",
                  s->path, sqlite3_errmsg(s->db));
    }
    store_rollback(s);
    return false;
}

void store_rollback(struct store *s)
{
    if (sqlite3_get_autocommit(s->db) == 0) {
        store_run(s, "ROLLBACK", NULL);
    }
}

/* --- the form of the file */

static bool read_number(struct store *s, const char *sql, int64_t *out, struct error *e)
{
    struct store_query q;
    store_query_begin(&q, s, sql, e);
    *out = store_query_next(&q) ? store_column_int(&q, 0, 0) : 0;
    return store_query_end(&q);
}

/* *out_form: 0 of an empty file, which may become a store. */
static bool read_form(struct store *s, int64_t *out_form, struct error *e)
{
    const struct store_schema *schema = s->schema;
    int64_t application, form, n_tables;
    if (!read_number(s, "PRAGMA application_id", &application, e) ||
        !read_number(s, "PRAGMA user_version", &form, e) ||
        !read_number(s, "SELECT count(*) FROM sqlite_schema", &n_tables, e)) {
        return false;
    }
    bool is_empty = application == 0 && form == 0 && n_tables == 0;
    if (application != schema->application_id && !is_empty) {
        return error_set(e, ERROR_FORMAT,
                         "%s: a database of another kind (application id 0x%08llx, not 0x%08x); "
                         "name another file with %s",
                         s->path, (unsigned long long)application & 0xFFFFFFFF,
                         schema->application_id, schema->option);
    }
    if (form < 0 || form > schema->n_forms) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "%s: a store of form %lld, this program knows forms up to %d: a newer "
                         "puna has written it, which has to be used",
                         s->path, (long long)form, schema->n_forms);
    }
    *out_form = form;
    return true;
}

/* With the form as it is then: who has the file open is not told when another program raises it. */
static bool begin(struct store *s, int64_t *out_form, struct error *e)
{
    if (!store_run(s, "BEGIN IMMEDIATE", e)) {
        return false;
    }
    if (!read_form(s, out_form, e)) {
        store_rollback(s);
        return false;
    }
    return true;
}

bool store_begin(struct store *s, struct error *e)
{
    int64_t form;
    return begin(s, &form, e);
}

static bool migrate_from(struct store *s, int64_t form, struct error *e)
{
    char sql[96];
    for (; form < s->schema->n_forms; form++) {
        if (!store_run(s, s->schema->migrations[form], e)) {
            return false;
        }
    }
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d",
             (int)s->schema->application_id, s->schema->n_forms);
    return store_run(s, sql, e);
}

/* Who only reads makes nothing of it: a file that lost all it had looks the same. So does one that
 * another program is making, for a moment. */
static bool refuse_empty(const struct store *s, struct error *e)
{
    struct stat file;
    bool is_young = stat(s->path, &file) == 0 && time(NULL) - file.st_mtime < YOUNG_S;
    return is_young ? error_set(e, ERROR_BUSY, "%s: is empty: another program makes it; try again",
                                s->path)
                    : error_set(e, ERROR_FORMAT,
                                "%s: is empty, no store; put a copy from before in its place, or "
                                "have %s make one of it",
                                s->path, s->schema->maker);
}

static bool check_whole(struct store *s, struct error *e)
{
    struct store_query q;
    store_query_begin(&q, s, "PRAGMA integrity_check(1)", e);
    struct str found = store_query_next(&q) ? store_column_text(&q, 0) : STR("ok");
    if (found.n > 0 && !str_eq(found, STR("ok"))) {
        const char *headed = strrchr(found.p, '\n'); /* behind a line that names the database */
        q.ok = fail_with(s, SQLITE_CORRUPT, headed != NULL ? headed + 1 : found.p, e);
    }
    return store_query_end(&q);
}

/* Somebody else may have done it meanwhile: what counts is what is there when nobody else
 * writes. */
static bool migrate(struct store *s, bool creates, struct error *e)
{
    int64_t form;
    if (!read_form(s, &form, e)) {
        return false;
    }
    if (form == 0 && !creates) {
        return refuse_empty(s, e);
    }
    if (form == s->schema->n_forms) {
        return true;
    }
    if (!begin(s, &form, e)) {
        return false;
    }
    if (!migrate_from(s, form, e)) {
        store_rollback(s);
        return false;
    }
    return store_commit(s, e);
}

/* --- opening */

/* Made before SQLite would, so that it is for its owner alone. */
static bool make_file(const char *path, struct error *e)
{
    char folder[PATH_MAX];
    int n = snprintf(folder, sizeof folder, "%s", path);
    if (n < 0 || n >= (int)sizeof folder) {
        return error_set(e, ERROR_IO, "%.200s...: a path of %d bytes, at most %d are possible",
                         path, n, PATH_MAX - 1);
    }
    path_make_parents(folder);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno == EEXIST || error_set(e, ERROR_IO, "%s: %s", path, strerror(errno));
    }
    close(fd);
    return true;
}

/* The reason, which SQLite does not tell. An open descriptor of ours would, when it is closed, take
 * the locks of another store of this process along: so the file is not opened to see. */
static bool check_file(const struct store_options *o, struct error *e)
{
    struct stat file;
    bool is_there = stat(o->path, &file) == 0;
    if (!is_there && errno == ENOENT && o->creates) {
        return make_file(o->path, e);
    }
    if (!is_there) {
        return error_set(e, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_IO, "%s: %s", o->path,
                         strerror(errno));
    }
    if (!S_ISREG(file.st_mode)) {
        return error_set(e, ERROR_FORMAT, "%s: not a file", o->path);
    }
    return faccessat(AT_FDCWD, o->path, o->creates ? R_OK | W_OK : R_OK, AT_EACCESS) == 0 ||
           error_set(e, ERROR_IO, "%s: %s", o->path, strerror(errno));
}

/* SQLite means something else by some names without a slash. */
static bool copy_path(struct store *s, const char *path, struct error *e)
{
    size_t n = strlen(path) + sizeof "./";
    s->path = mem_alloc(n, 1, "path of a store", e);
    if (s->path != NULL) {
        snprintf(s->path, n, "%s%s", strchr(path, '/') == NULL ? "./" : "", path);
    }
    return s->path != NULL;
}

/* Asks again each millisecond. SQLite's own timeout waits longer from time to time, up to
 * 0.1 s, and never meets the moment that a busy server leaves between two changes. */
static int wait_for_others(void *store, int n_before)
{
    struct store *s = store;
    const struct timespec pause = {0, POLL_NS};
    if (n_before == 0) {
        s->asked_ns = clock_now_ns();
    }
    if (clock_now_ns() - s->asked_ns >= (uint64_t)s->patience_ms * 1000000u) {
        return 0;
    }
    nanosleep(&pause, NULL);
    return 1;
}

static bool connect_to(struct store *s, const struct store_options *o, struct error *e)
{
    int code = sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (s->db == NULL) {
        return fail_with(s, SQLITE_NOMEM, "no memory", e);
    }
    if (code != SQLITE_OK) {
        return store_fail(s, e);
    }
    sqlite3_extended_result_codes(s->db, 1);
    s->patience_ms = o->patience_ms;
    sqlite3_busy_handler(s->db, wait_for_others, s);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return store_run(s, "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL", e);
}

/* The journal is cut to nothing at the end of a change, which every file system does as a whole;
 * a file of this mode needs no other beside it that outlives the program. */
static bool choose_journal(struct store *s, struct error *e)
{
    return sqlite3_db_readonly(s->db, "main") == 1 ||
           store_run(s, "PRAGMA journal_mode = TRUNCATE", e);
}

struct store *store_open(const struct store_options *options, struct error *e)
{
    if (options->path[0] == '\0') {
        error_set(e, ERROR_USAGE, "the name of the store is empty");
        return NULL;
    }
    if (!check_file(options, e)) {
        return NULL;
    }
    struct store *s = mem_alloc(1, sizeof *s, "store", e);
    if (s != NULL) {
        s->schema = options->schema;
    }
    if (s == NULL || !copy_path(s, options->path, e) || !connect_to(s, options, e) ||
        !migrate(s, options->creates, e) || (s->schema->is_checked && !check_whole(s, e)) ||
        !choose_journal(s, e)) {
        store_close(s);
        return NULL;
    }
    return s;
}

void store_close(struct store *s)
{
    if (s != NULL) {
        sqlite3_close(s->db);
        mem_free(s->path);
        mem_free(s);
    }
}

const char *store_path(const struct store *s)
{
    return s->path;
}

/* --- from outside */

bool store_look(const char *path, struct store_stamp *out, struct error *e)
{
    struct stat file;
    struct timespec now;
    if (stat(path, &file) != 0) {
        if (errno != ENOENT) {
            return error_set(e, ERROR_IO, "%s: %s", path, strerror(errno));
        }
        *out = (struct store_stamp){0};
        return true;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    *out = (struct store_stamp){.device = file.st_dev,
                                .inode = file.st_ino,
                                .n_bytes = (uint64_t)file.st_size,
                                .written = file.st_mtim,
                                .changed = file.st_ctim,
                                .is_young = now.tv_sec - file.st_ctim.tv_sec < YOUNG_S};
    return true;
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool store_stamp_eq(const struct store_stamp *a, const struct store_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->n_bytes == b->n_bytes &&
           same_time(a->written, b->written) && same_time(a->changed, b->changed);
}
