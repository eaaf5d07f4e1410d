/* test_store.c - keys are in the file as a whole or not at all, and what is no store is said. */
#include "store/store_internal.h"

#include "base/mem.h"
#include "store/store_keys.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/test_store_XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s/store.db", mkdtemp(folder));
    return 0;
}

static int remove_file(void **state)
{
    (void)state;
    char journal[80];
    snprintf(journal, sizeof journal, "%s-journal", path);
    unlink(journal);
    unlink(path);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static struct store *open_it(bool creates, struct error *e)
{
    return store_open(
        &(struct store_options){
            .schema = &store_keys_schema, .path = path, .creates = creates, .patience_ms = 0},
        e);
}

static struct store *open_well(void)
{
    struct error e = {0};
    struct store *s = open_it(true, &e);
    if (s == NULL) {
        print_error("%s\n", e.text);
    }
    assert_non_null(s);
    return s;
}

/* As somebody else would. */
static void run_sql(const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void write_file(const char *text, long at)
{
    FILE *f = fopen(path, at == 0 ? "w" : "r+");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    fclose(f);
}

static void assert_refused(enum error_code code, const char *why)
{
    struct error e = {0};
    struct store *s = open_it(true, &e);
    assert_null(s);
    assert_int_equal(e.code, code);
    assert_memory_equal(e.text, path, strlen(path));
    if (strstr(e.text, why) == NULL) {
        fail_msg("'%s' is not in '%s'", why, e.text);
    }
}

static struct store_key example(const char *id)
{
    struct store_key k;
    store_key_init(&k);
    snprintf(k.id, sizeof k.id, "%s", id);
    memset(k.hash.bytes, 7, sizeof k.hash.bytes);
    k.created = 1000;
    assert_true(store_key_set_text(&k.name, STR("Anna's \xE2\x82\xAC"), NULL));
    assert_true(store_key_set_text(&k.models, STR(""), NULL));
    assert_true(store_key_set_text(&k.origins, STR(""), NULL));
    return k;
}

/* --- secrets */

static void secrets_are_read_as_they_are_made(void **state)
{
    (void)state;
    char id[SECRET_ID_BYTES], secret[SECRET_BYTES], again[SECRET_BYTES], found[SECRET_ID_BYTES];
    enum secret_kind kind;
    assert_true(secret_make_id(id, NULL) && secret_is_id(str_from(id)));
    assert_true(secret_make(SECRET_OF_STORE, id, secret, NULL));
    assert_true(secret_make(SECRET_OF_MINUTES, id, again, NULL));
    assert_int_equal(strlen(secret), SECRET_CHARS);
    assert_true(secret_read(str_from(secret), &kind, found));
    assert_int_equal(kind, SECRET_OF_STORE);
    assert_string_equal(found, id);
    assert_true(secret_read(str_from(again), &kind, found));
    assert_int_equal(kind, SECRET_OF_MINUTES);
    assert_string_not_equal(secret + SECRET_PREFIX_BYTES, again + SECRET_PREFIX_BYTES);
    for (size_t i = 0; i < SECRET_CHARS; i++) { /* every character counts */
        memcpy(again, secret, sizeof again);
        again[i] = again[i] == 'G' ? 'H' : 'G';
        assert_false(secret_read(str_from(again), &kind, found));
        assert_false(secret_read((struct str){secret, i}, &kind, found));
    }
    char longer[SECRET_BYTES + 1];
    snprintf(longer, sizeof longer, "%s0", secret);
    assert_false(secret_read(str_from(longer), &kind, found));
    assert_false(secret_read((struct str){NULL, 0}, &kind, found));
}

static void a_mask_leaves_what_is_public(void **state)
{
    (void)state;
    static const char digits[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static const char stars[] = "****************************************************************";
    const struct {
        const char *front, *digits, *behind, *masked;
    } cases[] = {
        {"/v1/sk-puna-3f2a90c41b7e-", digits, "/x", stars},
        {"ek-puna-3f2a90c41b7e-", digits, "", stars},
        {"sk-puna-3f2a90c41b7e-", "012", "", "***"}, /* cut */
        {"sk-puna-3f2a90c41b7e-", "", ",", ""},
        {"sk-puna-3f2a90c41b7-", "0123", "", "0123"}, /* no id */
        {"sk-proj-3f2a90c41b7e-", "0123", "", "0123"},
        {"sk-puna-sk-puna-3f2a90c41b7e-", "12", "-ek-puna-3f2a90c41b7e-", "**"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256], expected[256];
        snprintf(text, sizeof text, "%s%s%s", cases[i].front, cases[i].digits, cases[i].behind);
        snprintf(expected, sizeof expected, "%s%s%s", cases[i].front, cases[i].masked,
                 cases[i].behind);
        secret_mask(text, strlen(text));
        assert_string_equal(text, expected);
    }
}

static void the_digest_is_sha_256(void **state)
{
    (void)state;
    static const uint8_t abc[] = {/* FIPS 180-2, appendix B.1 */
                                  0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
                                  0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
                                  0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    struct secret_hash h, other;
    assert_true(secret_digest(STR("abc"), &h));
    assert_memory_equal(h.bytes, abc, sizeof abc);
    for (size_t i = 0; i < sizeof h.bytes; i++) {
        other = h;
        assert_true(secret_hash_eq(&h, &other));
        other.bytes[i] ^= 1;
        assert_false(secret_hash_eq(&h, &other));
    }
}

/* --- the file */

static void a_new_file_is_for_its_owner_alone(void **state)
{
    (void)state;
    struct stat file;
    char deep[96];
    umask(0);
    snprintf(deep, sizeof deep, "%s/a/b/store.db", folder);
    struct store *s = store_open(
        &(struct store_options){.schema = &store_keys_schema, .path = deep, .creates = true}, NULL);
    assert_non_null(s);
    assert_string_equal(store_path(s), deep);
    store_close(s);
    assert_int_equal(stat(deep, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    unlink(deep);
    for (int i = 0; i < 2; i++) {
        *strrchr(deep, '/') = '\0';
        assert_int_equal(stat(deep, &file), 0);
        assert_int_equal(file.st_mode & 0777, 0700);
        assert_int_equal(rmdir(deep), 0);
    }
}

static void no_file_is_made_unless_it_is_wanted(void **state)
{
    (void)state;
    struct error e = {0};
    assert_null(open_it(false, &e));
    assert_int_equal(e.code, ERROR_NOT_FOUND);
    assert_int_equal(access(path, F_OK), -1);
    store_close(open_well());
    struct store *s = open_it(false, &e);
    assert_non_null(s);
    store_close(s);
}

static void names_of_sqlite_are_files_here(void **state)
{
    (void)state;
    char before[4096];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(folder), 0);
    struct store *s = store_open(
        &(struct store_options){.schema = &store_keys_schema, .path = ":memory:", .creates = true},
        NULL);
    assert_non_null(s);
    store_close(s);
    assert_int_equal(unlink(":memory:"), 0);
    assert_int_equal(chdir(before), 0);
    struct error e = {0};
    assert_null(store_open(
        &(struct store_options){.schema = &store_keys_schema, .path = "", .creates = true}, &e));
    assert_int_equal(e.code, ERROR_USAGE);
}

static void what_is_no_store_is_said(void **state)
{
    (void)state;
    write_file("This is a letter to my mother, who has asked what a llama is, "
               "and long enough for a page of a database that begins otherwise.\n",
               0);
    assert_refused(ERROR_FORMAT, "not a database; name another file with --store");
    unlink(path);
    run_sql("CREATE TABLE notes (text TEXT)");
    assert_refused(ERROR_FORMAT, "a database of another kind (application id 0x00000000");
    run_sql("PRAGMA application_id = 252006674");
    assert_refused(ERROR_FORMAT, "a database of another kind (application id 0x0f055112");
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_refused(ERROR_FORMAT, "not a file");
    assert_int_equal(rmdir(path), 0);
}

static void a_newer_form_is_left_alone(void **state)
{
    (void)state;
    store_close(open_well());
    run_sql("PRAGMA user_version = 1000");
    assert_refused(ERROR_UNSUPPORTED, "form 1000, this program knows forms up to 2");
}

/* What the program of form 1 made: not to be changed with today's. */
static void an_older_form_keeps_its_keys(void **state)
{
    (void)state;
    struct error e = {0};
    run_sql("PRAGMA journal_mode = TRUNCATE; PRAGMA application_id = 0x50756E61;"
            "CREATE TABLE keys (id TEXT PRIMARY KEY NOT NULL CHECK (length(id) = 12),"
            " name TEXT NOT NULL, hash BLOB NOT NULL CHECK (length(hash) = 32),"
            " old_hash BLOB CHECK (length(old_hash) = 32), old_until INTEGER,"
            " created INTEGER NOT NULL, expires INTEGER, revoked INTEGER, scopes INTEGER NOT NULL,"
            " priority INTEGER NOT NULL, requests_per_minute INTEGER, tokens_per_minute INTEGER,"
            " concurrent INTEGER, models TEXT NOT NULL, origins TEXT NOT NULL"
            ") STRICT, WITHOUT ROWID; PRAGMA user_version = 1;"
            "INSERT INTO keys VALUES ('0123456789ab', 'Anna', zeroblob(32), NULL, NULL, 1000,"
            " 2000, NULL, 31, 2, 60, NULL, 3, 'a' || char(10), '')");
    for (int i = 0; i < 2; i++) { /* and that of today stays as it is */
        struct store *s = open_it(false, &e);
        struct store_key k;
        assert_non_null(s);
        assert_true(store_key_get(s, "0123456789ab", &k, &e));
        assert_string_equal(k.name, "Anna");
        assert_string_equal(k.models, "a\n");
        assert_true(k.created == 1000 && k.expires == 2000 && k.revoked == STORE_NEVER);
        assert_true(k.scopes == 31 && k.priority == STORE_PRIORITY_LOW && k.concurrent == 3);
        assert_true(k.requests_per_minute == 60 && k.tokens_per_minute == STORE_NO_LIMIT);
        assert_true(k.tokens_per_day == (i == 0 ? STORE_NO_BUDGET : 7));
        assert_true(k.tokens_per_month == STORE_NO_BUDGET);
        k.tokens_per_day = 7;
        assert_true(store_key_update(s, &k, &e));
        store_key_finish(&k);
        store_close(s);
    }
}

static void an_empty_file_becomes_a_store(void **state)
{
    (void)state;
    write_file("", 0);
    store_close(open_well());
    struct store *s = open_well();
    assert_true(store_run(s, "SELECT id FROM keys", NULL));
    store_close(s);
}

static void who_only_reads_makes_nothing_of_an_empty_file(void **state)
{
    (void)state;
    static const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    struct stat file;
    struct error e = {0};
    write_file("", 0);
    assert_null(open_it(false, &e)); /* somebody may be making it */
    assert_int_equal(e.code, ERROR_BUSY);
    assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
    assert_null(open_it(false, &e));
    assert_int_equal(e.code, ERROR_FORMAT);
    assert_non_null(strstr(e.text, path));
    assert_non_null(strstr(e.text, "is empty, no store; put a copy from before in its place"));
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_size, 0);
}

static void damage_is_said(void **state)
{
    (void)state;
    struct store *s = open_well();
    struct store_key k = example("0123456789ab");
    assert_true(store_key_add(s, &k, NULL));
    store_close(s);
    struct stat file;
    assert_int_equal(stat(path, &file), 0);
    char garbage[301];
    memset(garbage, 0x5A, 300);
    garbage[300] = '\0';
    write_file(garbage, 4096); /* the page of the table */
    assert_refused(ERROR_FORMAT, "; put a copy from before in its place");
    assert_int_equal(truncate(path, 100), 0);
    assert_refused(ERROR_FORMAT, "");
    store_key_finish(&k);
}

/* A search would not find them, and so a key that is revoked might count for who reads all. */
static void rows_out_of_order_are_damage(void **state)
{
    (void)state;
    static const char *const ids[] = {"aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"};
    char page[8192];
    struct store *s = open_well();
    for (size_t i = 0; i < 3; i++) {
        struct store_key k = example(ids[i]);
        assert_true(store_key_add(s, &k, NULL));
        store_key_finish(&k);
    }
    store_close(s);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fread(page, 1, sizeof page, f), sizeof page);
    fclose(f);
    const char *first = memmem(page, sizeof page, ids[0], SECRET_ID_DIGITS);
    assert_non_null(first);
    write_file("dddddddddddd", first - page);
    assert_refused(ERROR_FORMAT, "row not in PRIMARY KEY order for keys; put a copy");
}

static void what_cannot_be_reached_is_said(void **state)
{
    (void)state;
    struct error e = {0};
    char below[80], *longer = NULL;
    store_close(open_well());
    snprintf(below, sizeof below, "%s/store.db", path);
    assert_null(store_open(
        &(struct store_options){.schema = &store_keys_schema, .path = below, .creates = true}, &e));
    assert_int_equal(e.code, ERROR_IO);
    assert_non_null(strstr(e.text, ": Not a directory"));
    assert_true(asprintf(&longer, "%s/%0500d", folder, 0) > 0); /* than a name may be */
    assert_null(store_open(
        &(struct store_options){.schema = &store_keys_schema, .path = longer, .creates = true},
        &e));
    assert_int_equal(e.code, ERROR_IO);
    free(longer);
}

static void a_change_is_there_as_a_whole_or_not_at_all(void **state)
{
    (void)state;
    struct error e = {0};
    struct store *s = open_well(), *other = open_well();
    struct store_key k = example("0123456789ab"), found;
    assert_true(store_begin(s, &e) && store_key_add(s, &k, &e));
    assert_false(store_key_get(other, k.id, &found, &e));
    assert_int_equal(e.code, ERROR_NOT_FOUND);
    assert_false(store_begin(other, &e));
    assert_int_equal(e.code, ERROR_BUSY);
    assert_non_null(strstr(e.text, "another program is writing to it"));
    store_close(s); /* in the middle of it */
    assert_true(store_begin(other, &e));
    assert_false(store_key_get(other, k.id, &found, &e));
    assert_true(store_key_add(other, &k, &e) && store_commit(other, &e));
    assert_true(store_key_get(other, k.id, &found, &e));
    store_key_finish(&found);
    store_rollback(other); /* nothing is under way: no harm */
    store_close(other);
    store_key_finish(&k);
}

static void who_looks_sees_that_somebody_wrote(void **state)
{
    (void)state;
    struct store_stamp none, first, second;
    assert_true(store_look(path, &none, NULL) && none.inode == 0);
    struct store *s = open_well();
    assert_true(store_look(path, &first, NULL) && first.is_young);
    assert_false(store_stamp_eq(&none, &first));
    assert_true(store_look(path, &second, NULL) && store_stamp_eq(&first, &second));
    usleep(20000); /* a tick of the file system's clock */
    struct store_key k = example("0123456789ab");
    assert_true(store_key_add(s, &k, NULL));
    assert_true(store_look(path, &second, NULL));
    assert_false(store_stamp_eq(&first, &second));
    store_key_finish(&k);
    store_close(s);
}

/* --- keys */

static void assert_same(const struct store_key *a, const struct store_key *b)
{
    assert_string_equal(a->id, b->id);
    assert_memory_equal(a->hash.bytes, b->hash.bytes, sizeof a->hash.bytes);
    assert_true(a->old_until == b->old_until && a->created == b->created);
    if (a->old_until > 0) {
        assert_memory_equal(a->old_hash.bytes, b->old_hash.bytes, sizeof a->hash.bytes);
    }
    assert_true(a->expires == b->expires && a->revoked == b->revoked);
    assert_int_equal(a->scopes, b->scopes);
    assert_int_equal(a->priority, b->priority);
    assert_int_equal(a->requests_per_minute, b->requests_per_minute);
    assert_int_equal(a->tokens_per_minute, b->tokens_per_minute);
    assert_int_equal(a->concurrent, b->concurrent);
    assert_int_equal(a->tokens_per_day, b->tokens_per_day);
    assert_int_equal(a->tokens_per_month, b->tokens_per_month);
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->models, b->models);
    assert_string_equal(a->origins, b->origins);
}

static void a_key_is_what_was_put_in(void **state)
{
    (void)state;
    struct error e = {0};
    struct store *s = open_well();
    struct store_key k = example("0123456789ab"), found;
    assert_true(store_key_add(s, &k, &e));
    assert_true(store_key_get(s, k.id, &found, &e));
    assert_same(&k, &found);
    store_key_finish(&found);
    memset(k.old_hash.bytes, 9, sizeof k.old_hash.bytes);
    k.old_until = 5000;
    k.expires = 6000;
    k.revoked = 7000;
    k.scopes = STORE_SCOPE_METRICS;
    k.priority = STORE_PRIORITY_LOW;
    k.requests_per_minute = 1;
    k.tokens_per_minute = UINT32_MAX - 1;
    k.concurrent = 3;
    k.tokens_per_day = 1;
    k.tokens_per_month = STORE_MOST_BUDGET;
    assert_true(store_key_set_text(&k.models, STR("a/b\nc d\n"), NULL));
    assert_true(store_key_set_text(&k.origins, STR("https://app.example\n"), NULL));
    assert_true(store_key_update(s, &k, &e));
    store_close(s);
    s = open_well();
    assert_true(store_key_get(s, k.id, &found, &e));
    assert_same(&k, &found);
    store_key_finish(&found);
    assert_false(store_key_add(s, &k, &e)); /* the id is taken */
    assert_int_equal(e.code, ERROR_FORMAT);
    snprintf(k.id, sizeof k.id, "ffffffffffff");
    assert_false(store_key_update(s, &k, &e));
    assert_int_equal(e.code, ERROR_NOT_FOUND);
    assert_non_null(strstr(e.text, "no key 'ffffffffffff'"));
    store_close(s);
    store_key_finish(&k);
}

static bool note_id(void *argument, struct store_key *k, struct error *e)
{
    (void)e;
    strncat(argument, k->id + SECRET_ID_DIGITS - 1, 1);
    return strlen(argument) < 3;
}

static void keys_come_in_the_order_of_their_age(void **state)
{
    (void)state;
    static const char *const ids[] = {"00000000000a", "00000000000c", "00000000000b"};
    struct store *s = open_well();
    char seen[8] = "";
    for (int i = 0; i < 3; i++) {
        struct store_key k = example(ids[i]);
        k.created = i == 0 ? 2 : 1;
        assert_true(store_key_add(s, &k, NULL));
        store_key_finish(&k);
    }
    assert_false(store_keys_walk(s, note_id, seen, NULL)); /* ended by the third */
    assert_string_equal(seen, "bca");
    store_close(s);
}

static void items_of_lists_are_lines(void **state)
{
    (void)state;
    assert_true(store_has_item("a\nbc\n", STR("a")) && store_has_item("a\nbc\n", STR("bc")));
    assert_false(store_has_item("a\nbc\n", STR("b")) || store_has_item("a\nbc\n", STR("")));
    assert_false(store_has_item("", STR("")) || store_has_item("a\nbc\n", STR("a\nbc")));
}

static void names_stand_for_what_they_say(void **state)
{
    (void)state;
    unsigned bits, all = 0;
    const char *name;
    for (size_t i = 0; (name = store_scope_name(i, &bits)) != NULL; i++) {
        assert_int_equal(store_scope_of(name), bits);
        all |= bits;
    }
    assert_int_equal(all, STORE_SCOPE_ALL);
    assert_int_equal(store_scope_of("chats"), 0);
    enum store_priority p;
    for (int i = STORE_PRIORITY_HIGH; i <= STORE_PRIORITY_LOW; i++) {
        assert_true(store_priority_of(store_priority_name((enum store_priority)i), &p));
        assert_int_equal(p, i);
    }
    assert_false(store_priority_of("none", &p));
}

/* Columns that somebody set by hand. */
static void a_row_that_is_no_key_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *set, *what;
    } rows[] = {
        {"hash = x'00'", "bad hash"},
        {"old_hash = x'00', old_until = 5", "bad hash"},
        {"old_until = 5", "bad hash"},
        {"scopes = 0", "bad scopes"},
        {"scopes = 64", "bad scopes"},
        {"scopes = -1", "bad scopes"},
        {"priority = 3", "bad priority"},
        {"priority = -1", "bad priority"},
        {"requests_per_minute = 0", "bad limit"},
        {"tokens_per_minute = -5", "bad limit"},
        {"concurrent = 4294967296", "bad limit"},
        {"tokens_per_day = 0", "bad budget"},
        {"tokens_per_month = -1", "bad budget"},
        {"tokens_per_month = 1000000000000001", "bad budget"},
        {"models = 'a'", "a line without end"},
        {"models = char(10)", "an empty line"},
        {"origins = 'a' || char(10, 10)", "an empty line"},
        {"name = 'a' || char(0) || 'b'", "a NUL byte"},
        {"id = '0123456789AB'", "bad id"},
        {"id = ''", "bad id"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct error e = {0};
        char sql[160], seen[8] = "";
        struct store *s = open_well();
        struct store_key k = example("0123456789ab");
        assert_true(store_key_add(s, &k, NULL));
        snprintf(sql, sizeof sql, "PRAGMA ignore_check_constraints = ON; UPDATE keys SET %s",
                 rows[i].set);
        run_sql(sql);
        assert_false(store_keys_walk(s, note_id, seen, &e));
        assert_string_equal(seen, "");
        assert_int_equal(e.code, ERROR_FORMAT);
        if (strstr(e.text, rows[i].what) == NULL || strstr(e.text, path) == NULL) {
            fail_msg("%s: '%s'", rows[i].set, e.text);
        }
        store_close(s);
        store_key_finish(&k);
        unlink(path);
    }
}

static bool use_all(void)
{
    char seen[8] = "";
    struct error e = {0};
    struct store *s = open_it(true, &e);
    struct store_key found;
    bool ok = s != NULL && store_key_get(s, "0123456789ab", &found, &e);
    if (ok) {
        ok = store_key_update(s, &found, &e);
        store_key_finish(&found);
    }
    ok = ok && store_keys_walk(s, note_id, seen, &e);
    assert_int_equal(e.code, ok ? ERROR_NONE : ERROR_MEMORY);
    store_close(s);
    return ok;
}

static void memory_that_runs_out_is_an_error_at_every_place(void **state)
{
    (void)state;
    struct store *s = open_well();
    struct store_key k = example("0123456789ab");
    assert_true(store_key_add(s, &k, NULL));
    store_close(s);
    store_key_finish(&k);
    size_t n = 1;
    for (;; n++) {
        mem_fail_nth(n);
        bool ok = use_all();
        bool reached = mem_count() >= n;
        mem_fail_nth(0);
        if (!reached) {
            assert_true(ok);
            break;
        }
        assert_false(ok);
    }
    assert_true(n > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_are_read_as_they_are_made),
        cmocka_unit_test(a_mask_leaves_what_is_public),
        cmocka_unit_test(the_digest_is_sha_256),
        cmocka_unit_test(a_new_file_is_for_its_owner_alone),
        cmocka_unit_test_teardown(no_file_is_made_unless_it_is_wanted, remove_file),
        cmocka_unit_test(names_of_sqlite_are_files_here),
        cmocka_unit_test_teardown(what_is_no_store_is_said, remove_file),
        cmocka_unit_test_teardown(a_newer_form_is_left_alone, remove_file),
        cmocka_unit_test_teardown(an_older_form_keeps_its_keys, remove_file),
        cmocka_unit_test_teardown(an_empty_file_becomes_a_store, remove_file),
        cmocka_unit_test_teardown(who_only_reads_makes_nothing_of_an_empty_file, remove_file),
        cmocka_unit_test_teardown(damage_is_said, remove_file),
        cmocka_unit_test_teardown(rows_out_of_order_are_damage, remove_file),
        cmocka_unit_test_teardown(what_cannot_be_reached_is_said, remove_file),
        cmocka_unit_test_teardown(a_change_is_there_as_a_whole_or_not_at_all, remove_file),
        cmocka_unit_test_teardown(who_looks_sees_that_somebody_wrote, remove_file),
        cmocka_unit_test_teardown(a_key_is_what_was_put_in, remove_file),
        cmocka_unit_test_teardown(keys_come_in_the_order_of_their_age, remove_file),
        cmocka_unit_test(items_of_lists_are_lines),
        cmocka_unit_test(names_stand_for_what_they_say),
        cmocka_unit_test_teardown(a_row_that_is_no_key_is_said, remove_file),
        cmocka_unit_test_teardown(memory_that_runs_out_is_an_error_at_every_place, remove_file),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
