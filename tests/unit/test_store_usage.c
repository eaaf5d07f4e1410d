/* test_store_usage.c - rows of the ledger, their sums, and what is forgotten. */
#include "store/usage_sums.h"

#include "base/mem.h"
#include "base/rng.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/test_store_usage_XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s/usage.db", mkdtemp(folder));
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
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

static struct store *open_ledger(void)
{
    struct error e = {0};
    struct store *s = store_open(
        &(struct store_options){.schema = &store_usage_schema, .path = path, .creates = true}, &e);
    if (s == NULL) {
        fail_msg("%s", e.text);
    }
    return s;
}

static void run_sql(const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static struct store_use use(const char *id, const char *key, int64_t ended_ms)
{
    return (struct store_use){.id = str_from(id),
                              .key = str_from(key),
                              .model = STR("tiny"),
                              .endpoint = STR("chat/completions"),
                              .n_prompt = 10,
                              .n_cached = 4,
                              .n_completion = 3,
                              .status = 200,
                              .began_ms = ended_ms - 5,
                              .ended_ms = ended_ms};
}

static void add(struct store *s, const struct store_use *row)
{
    struct error e = {0};
    if (!store_usage_add(s, &row, 1, &e)) {
        fail_msg("%s", e.text);
    }
}

static void read_all(struct usage_sums *u, struct store *s, const struct store_usage_range *range)
{
    struct error e = {0};
    usage_sums_clear(u);
    if (!usage_sums_read(u, s, range, NULL, &e)) {
        fail_msg("%s", e.text);
    }
}

static uint64_t count(struct store *s, int64_t from_ms, int64_t until_ms)
{
    struct usage_sums u;
    usage_sums_init(&u);
    read_all(&u, s, &(struct store_usage_range){.from_ms = from_ms, .until_ms = until_ms});
    uint64_t n = u.n > 0 ? u.rows[0].sum.n_requests : 0;
    usage_sums_finish(&u);
    return n;
}

/* --- adding */

static void a_row_is_written_once_however_often_it_comes(void **state)
{
    (void)state;
    struct store *s = open_ledger();
    struct store_use a = use("a", "0123456789ab", 1000), b = use("b", "", 2000), again = a;
    const struct store_use *rows[] = {&a, &b, &again};
    again.n_prompt = 99;
    assert_true(store_usage_add(s, rows, 3, NULL));
    assert_true(store_usage_add(s, rows, 2, NULL));
    struct usage_sums u;
    usage_sums_init(&u);
    read_all(&u, s, &(struct store_usage_range){.until_ms = INT64_MAX});
    assert_int_equal(u.n, 1);
    assert_int_equal(u.rows[0].sum.n_requests, 2);
    assert_int_equal(u.rows[0].sum.n_prompt, 20);
    usage_sums_finish(&u);
    store_close(s);
}

static void what_cannot_be_written_whole_is_not_written(void **state)
{
    (void)state;
    struct store *s = open_ledger();
    struct error e = {0};
    struct store_use a = use("a", "", 1000), b = use("b", "", 2000);
    const struct store_use *rows[] = {&a, &b};
    run_sql("CREATE TRIGGER no BEFORE INSERT ON usage WHEN new.id = 'b' "
            "BEGIN SELECT raise(ABORT, 'no'); END");
    assert_false(store_usage_add(s, rows, 2, &e));
    assert_int_equal(e.code, ERROR_FORMAT);
    assert_int_equal(count(s, 0, INT64_MAX), 0);
    run_sql("DROP TRIGGER no");
    assert_true(store_usage_add(s, rows, 2, &e));
    assert_int_equal(count(s, 0, INT64_MAX), 2);
    store_close(s);
}

/* --- sums */

static void what_a_newer_program_has_changed_meanwhile_is_left_alone(void **state)
{
    (void)state;
    struct error e = {0};
    struct store *s = open_ledger();
    struct store_use one = use("cmpl-1", "a", 1000), two = use("cmpl-2", "a", 1001);
    const struct store_use *row = &two;
    add(s, &one);
    run_sql("PRAGMA user_version = 1000");
    assert_false(store_usage_add(s, &row, 1, &e));
    assert_int_equal(e.code, ERROR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "form 1000, this program knows forms up to 1"));
    run_sql("PRAGMA user_version = 1"); /* nothing holds the file */
    assert_int_equal(count(s, 0, 2000), 1);
    add(s, &two);
    assert_int_equal(count(s, 0, 2000), 2);
    store_close(s);
}

static void a_range_begins_with_its_first_moment_and_ends_before_its_last(void **state)
{
    (void)state;
    struct store *s = open_ledger();
    struct store_use a = use("a", "", 1000), b = use("b", "", 2000), c = use("c", "", 9999999999);
    add(s, &a);
    add(s, &b);
    add(s, &c);
    assert_int_equal(count(s, 0, 1000), 0);
    assert_int_equal(count(s, 0, 1001), 1);
    assert_int_equal(count(s, 1000, 2000), 1);
    assert_int_equal(count(s, 1001, 2001), 1);
    assert_int_equal(count(s, 2001, 9999999999), 0);
    assert_int_equal(count(s, INT64_MIN, INT64_MAX), 3); /* hours apart */
    int64_t first;
    assert_true(store_usage_find_first(s, 0, &first, NULL) && first == 1000);
    assert_true(store_usage_find_first(s, 1001, &first, NULL) && first == 2000);
    assert_true(store_usage_find_first(s, 9999999999, &first, NULL) && first == 9999999999);
    assert_true(store_usage_find_first(s, 10000000000, &first, NULL) && first == INT64_MAX);
    store_close(s);
}

static void failures_do_not_count_those_who_left(void **state)
{
    (void)state;
    struct store *s = open_ledger();
    static const int statuses[] = {200, 399, 400, 499, 500, 503};
    char id[2] = "a";
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++, id[0]++) {
        struct store_use row = use(id, "", 1000);
        row.status = statuses[i];
        row.is_filtered = i % 3 == 0;
        add(s, &row);
    }
    struct usage_sums u;
    usage_sums_init(&u);
    read_all(&u, s, &(struct store_usage_range){.until_ms = INT64_MAX});
    assert_int_equal(u.rows[0].sum.n_failed, 3);
    assert_int_equal(u.rows[0].sum.n_filtered, 2);
    assert_int_equal(u.rows[0].sum.n_requests, 6);
    usage_sums_finish(&u);
    store_close(s);
}

/* Names that sort by bytes: the empty one is of requests without a key. */
static const char *const keys[] = {"", "00aa00aa00aa", "ffffffffffff"};
static const char *const models[] = {"B", "a", "a'; DROP TABLE usage; --", "\xC3\xA9"};
static const char *const endpoints[] = {"chat/completions", "completions", "embeddings"};
enum { N_KEYS = 3, N_MODELS = 4, N_ENDPOINTS = 3, N_ROWS = 600 };

struct made {
    int key, model, endpoint;
    struct store_use use;
    char id[16];
};

static void make_rows(struct store *s, struct made *rows)
{
    struct rng r;
    const struct store_use *list[N_ROWS];
    rng_init(&r, 7);
    for (int i = 0; i < N_ROWS; i++) {
        struct made *m = &rows[i];
        m->key = (int)(rng_next(&r) % N_KEYS);
        m->model = (int)(rng_next(&r) % N_MODELS);
        m->endpoint = (int)(rng_next(&r) % N_ENDPOINTS);
        snprintf(m->id, sizeof m->id, "%d", i);
        m->use = use(m->id, keys[m->key], (int64_t)(rng_next(&r) % (72 * 3600 * 1000)));
        m->use.model = str_from(models[m->model]);
        m->use.endpoint = str_from(endpoints[m->endpoint]);
        m->use.n_prompt = rng_next(&r) % 100000;
        m->use.n_completion = rng_next(&r) % 100000;
        m->use.n_cached = m->use.n_prompt / 2;
        list[i] = &m->use;
    }
    assert_true(store_usage_add(s, list, N_ROWS, NULL));
}

static bool has(const struct str *names, size_t n, struct str name)
{
    bool found = n == 0;
    for (size_t i = 0; i < n; i++) {
        found = found || str_eq(names[i], name);
    }
    return found;
}

static bool belongs(const struct made *m, const struct store_usage_range *r)
{
    bool is_vector = m->endpoint == 2;
    return m->use.ended_ms >= r->from_ms && m->use.ended_ms < r->until_ms &&
           (r->kind == STORE_USAGE_ALL || is_vector == (r->kind == STORE_USAGE_VECTORS)) &&
           has(r->keys, r->n_keys, m->use.key) && has(r->models, r->n_models, m->use.model);
}

/* Against sums that are made here, group by group. */
static void assert_sums(struct store *s, const struct made *rows,
                        const struct store_usage_range *range)
{
    struct usage_sums u;
    size_t n = 0;
    usage_sums_init(&u);
    read_all(&u, s, range);
    for (int k = 0; k < (range->by_key ? N_KEYS : 1); k++) {
        for (int m = 0; m < (range->by_model ? N_MODELS : 1); m++) {
            struct store_usage_sum want = {0};
            for (int i = 0; i < N_ROWS; i++) {
                bool is_of = (!range->by_key || rows[i].key == k) &&
                             (!range->by_model || rows[i].model == m) && belongs(&rows[i], range);
                want.n_requests += is_of;
                want.n_prompt += is_of ? rows[i].use.n_prompt : 0;
                want.n_cached += is_of ? rows[i].use.n_cached : 0;
                want.n_completion += is_of ? rows[i].use.n_completion : 0;
            }
            if (want.n_requests == 0) {
                continue;
            }
            assert_true(n < u.n);
            const struct usage_sums_row *row = &u.rows[n++];
            assert_string_equal(row->key, range->by_key ? keys[k] : "");
            assert_string_equal(row->model, range->by_model ? models[m] : "");
            assert_int_equal(row->sum.n_requests, want.n_requests);
            assert_int_equal(row->sum.n_prompt, want.n_prompt);
            assert_int_equal(row->sum.n_cached, want.n_cached);
            assert_int_equal(row->sum.n_completion, want.n_completion);
        }
    }
    assert_int_equal(n, u.n);
    usage_sums_finish(&u);
}

static void sums_are_of_what_was_asked_for(void **state)
{
    (void)state;
    static struct made rows[N_ROWS];
    struct store *s = open_ledger();
    const struct str some_keys[] = {STR(""), STR("ffffffffffff"), STR("none of them")};
    const struct str some_models[] = {str_from(models[2]), str_from(models[3])};
    make_rows(s, rows);
    for (unsigned bits = 0; bits < 16; bits++) {
        for (int kind = STORE_USAGE_ALL; kind <= STORE_USAGE_VECTORS; kind++) {
            struct store_usage_range range = {.from_ms = 3600 * 1000,
                                              .until_ms = 50 * 3600 * 1000,
                                              .kind = (enum store_usage_kind)kind,
                                              .by_key = (bits & 1) != 0,
                                              .by_model = (bits & 2) != 0,
                                              .keys = some_keys,
                                              .n_keys = (bits & 4) != 0 ? 3 : 0,
                                              .models = some_models,
                                              .n_models = (bits & 8) != 0 ? 2 : 0};
            assert_sums(s, rows, &range);
        }
    }
    store_close(s);
}

static void as_many_names_as_may_be_are_found(void **state)
{
    (void)state;
    struct store *s = open_ledger();
    struct store_use row = use("a", "the last one", 1000);
    struct str names[STORE_USAGE_MAX_NAMES];
    for (size_t i = 0; i < STORE_USAGE_MAX_NAMES; i++) {
        names[i] = STR("another");
    }
    names[STORE_USAGE_MAX_NAMES - 1] = row.key;
    struct str own[STORE_USAGE_MAX_NAMES];
    memcpy(own, names, sizeof own);
    own[STORE_USAGE_MAX_NAMES - 1] = row.model;
    add(s, &row);
    struct usage_sums u;
    usage_sums_init(&u);
    read_all(&u, s,
             &(struct store_usage_range){.until_ms = INT64_MAX,
                                         .keys = names,
                                         .n_keys = STORE_USAGE_MAX_NAMES,
                                         .models = own,
                                         .n_models = STORE_USAGE_MAX_NAMES});
    assert_int_equal(u.n, 1);
    usage_sums_finish(&u);
    store_close(s);
}

static void who_writes_has_his_turn_between_stretches(void **state)
{
    (void)state;
    struct store *s = open_ledger(), *writer = open_ledger();
    struct store_use a = use("a", "", 1000), b = use("b", "", 2000);
    struct usage_sums u;
    _Atomic bool stop = true;
    struct error e = {0};
    usage_sums_init(&u);
    add(s, &a);
    assert_false(
        usage_sums_read(&u, s, &(struct store_usage_range){.until_ms = INT64_MAX}, &stop, &e));
    assert_int_equal(e.code, ERROR_INTERRUPTED);
    assert_int_equal(u.n, 0);
    read_all(&u, s, &(struct store_usage_range){.until_ms = INT64_MAX});
    add(writer, &b); /* without patience */
    usage_sums_finish(&u);
    store_close(writer);
    store_close(s);
}

static bool refuse(void *argument, const struct store_usage_sum *sum, struct error *e)
{
    (void)sum;
    ++*(int *)argument;
    return error_set(e, ERROR_USAGE, "enough");
}

static void a_walk_ends_where_its_owner_says(void **state)
{
    (void)state;
    struct store *s = open_ledger();
    struct store_use a = use("a", "1", 1000), b = use("b", "2", 1000);
    struct error e = {0};
    int n = 0;
    add(s, &a);
    add(s, &b);
    assert_false(store_usage_walk(
        s, &(struct store_usage_range){.until_ms = INT64_MAX, .by_key = true}, refuse, &n, &e));
    assert_int_equal(n, 1);
    assert_string_equal(e.text, "enough");
    store_close(s);
}

/* Nobody but a hand writes them. */
static void numbers_that_nobody_counts_so_far_are_refused(void **state)
{
    (void)state;
    struct usage_sums u;
    struct error e = {0};
    const struct store_usage_range all = {.until_ms = INT64_MAX};
    struct store *s = open_ledger();
    struct store_use a = use("a", "", 1000), b = use("b", "", 2000), c = use("c", "", 99999999);
    usage_sums_init(&u);
    a.n_prompt = b.n_prompt = c.n_prompt = (uint64_t)INT64_MAX;
    add(s, &a);
    add(s, &c);
    assert_false(usage_sums_read(&u, s, &all, NULL, &e)); /* two stretches */
    assert_int_equal(e.code, ERROR_FORMAT);
    add(s, &b);
    usage_sums_clear(&u);
    assert_false(usage_sums_read(&u, s, &all, NULL, &e)); /* within one */
    assert_int_equal(e.code, ERROR_FORMAT);
    run_sql("UPDATE usage SET n_prompt = -1");
    usage_sums_clear(&u);
    assert_false(usage_sums_read(&u, s, &all, NULL, &e));
    assert_int_equal(e.code, ERROR_FORMAT);
    assert_non_null(strstr(e.text, path));
    usage_sums_finish(&u);
    store_close(s);
}

static void sums_survive_a_lack_of_memory(void **state)
{
    (void)state;
    struct store *s = open_ledger();
    char id[2] = "a", key[2] = "A";
    for (int i = 0; i < 20; i++, id[0]++, key[0]++) {
        struct store_use row = use(id, key, 1000);
        add(s, &row);
    }
    bool ok = false;
    size_t n = 0;
    while (!ok) {
        struct usage_sums u;
        struct error e = {0};
        usage_sums_init(&u);
        mem_fail_nth(++n);
        ok = usage_sums_read(
            &u, s, &(struct store_usage_range){.until_ms = INT64_MAX, .by_key = true}, NULL, &e);
        mem_fail_nth(0);
        assert_true(ok || e.code == ERROR_MEMORY);
        assert_true(!ok || u.n == 20);
        usage_sums_finish(&u);
    }
    assert_true(n > 40); /* two texts a row, and the table */
    store_close(s);
}

/* --- retention */

static void the_oldest_are_forgotten_first_and_no_more_than_asked_for(void **state)
{
    (void)state;
    struct store *s = open_ledger();
    char id[2] = "a";
    uint64_t n;
    for (int i = 9; i >= 0; i--, id[0]++) {
        struct store_use row = use(id, "", 1000 + i);
        add(s, &row);
    }
    assert_true(store_usage_forget(s, 1006, 4, &n, NULL) && n == 4);
    assert_int_equal(count(s, 0, 1004), 0);
    assert_int_equal(count(s, 1004, INT64_MAX), 6);
    assert_true(store_usage_forget(s, 1006, 4, &n, NULL) && n == 2);
    assert_true(store_usage_forget(s, 1006, UINT64_MAX, &n, NULL) && n == 0);
    assert_int_equal(count(s, 1006, INT64_MAX), 4);
    store_close(s);
}

static void a_vacuum_gives_space_back_and_keeps_the_rest(void **state)
{
    (void)state;
    static struct made rows[N_ROWS];
    struct store *s = open_ledger();
    struct store_stamp before, after;
    uint64_t n;
    make_rows(s, rows);
    uint64_t n_kept = count(s, 60 * 3600 * 1000, INT64_MAX);
    assert_true(store_look(path, &before, NULL));
    assert_true(store_usage_forget(s, 60 * 3600 * 1000, UINT64_MAX, &n, NULL));
    assert_int_equal(n + n_kept, N_ROWS);
    assert_true(store_usage_vacuum(s, NULL));
    assert_true(store_look(path, &after, NULL));
    assert_true(after.n_bytes < before.n_bytes / 2);
    assert_int_equal(count(s, 0, INT64_MAX), n_kept);
    store_close(s);
    s = open_ledger(); /* its form survives, too */
    assert_int_equal(count(s, 0, INT64_MAX), n_kept);
    store_close(s);
}

static void who_comes_while_others_write_is_told(void **state)
{
    (void)state;
    struct store *s = open_ledger(), *other = open_ledger();
    struct error e = {0};
    uint64_t n;
    assert_true(store_begin(other, NULL));
    assert_false(store_usage_forget(s, 1000, 1, &n, &e));
    assert_int_equal(e.code, ERROR_BUSY);
    assert_false(store_usage_vacuum(s, &e));
    assert_int_equal(e.code, ERROR_BUSY);
    assert_int_equal(count(s, 0, INT64_MAX), 0); /* reading goes on */
    store_rollback(other);
    assert_true(store_usage_forget(s, 1000, 1, &n, &e) && n == 0);
    store_close(other);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_row_is_written_once_however_often_it_comes, remove_file),
        cmocka_unit_test_teardown(what_cannot_be_written_whole_is_not_written, remove_file),
        cmocka_unit_test_teardown(what_a_newer_program_has_changed_meanwhile_is_left_alone,
                                  remove_file),
        cmocka_unit_test_teardown(a_range_begins_with_its_first_moment_and_ends_before_its_last,
                                  remove_file),
        cmocka_unit_test_teardown(failures_do_not_count_those_who_left, remove_file),
        cmocka_unit_test_teardown(sums_are_of_what_was_asked_for, remove_file),
        cmocka_unit_test_teardown(as_many_names_as_may_be_are_found, remove_file),
        cmocka_unit_test_teardown(who_writes_has_his_turn_between_stretches, remove_file),
        cmocka_unit_test_teardown(a_walk_ends_where_its_owner_says, remove_file),
        cmocka_unit_test_teardown(numbers_that_nobody_counts_so_far_are_refused, remove_file),
        cmocka_unit_test_teardown(sums_survive_a_lack_of_memory, remove_file),
        cmocka_unit_test_teardown(the_oldest_are_forgotten_first_and_no_more_than_asked_for,
                                  remove_file),
        cmocka_unit_test_teardown(a_vacuum_gives_space_back_and_keeps_the_rest, remove_file),
        cmocka_unit_test_teardown(who_comes_while_others_write_is_told, remove_file),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
