/* test_ledger.c - rows that are written before anybody is told, whatever happens to their file. */
#include "serve/ledger.h"

#include "base/clock.h"
#include "base/mem.h"

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 30000, PATIENCE_MS = 1000, MANY = 3000, MAX_ROWS = 4000 };

/* --- an I/O thread, and a ledger that lives in it */

static char folder[] = "/tmp/test_ledger_XXXXXX";
static char path[64], other[80];
static struct http_server *server;
static pthread_t thread;
static struct ledger *ledger;
static _Atomic int n_notes;
static char last_note[2048]; /* read when n_notes has changed */

static void *serve(void *argument)
{
    http_server_run(argument, NULL);
    return NULL;
}

static void take_note(const char *text)
{
    snprintf(last_note, sizeof last_note, "%s", text);
    n_notes++;
}

struct call {
    struct http_task task;
    void (*run)(void *argument);
    void *argument;
    sem_t done;
};

static void run_call(void *argument)
{
    struct call *c = argument;
    c->run(c->argument);
    sem_post(&c->done);
}

/* Calls it on the I/O thread and waits for its end. */
static void on_io(void (*run)(void *argument), void *argument)
{
    struct call c = {.run = run, .argument = argument};
    c.task = (struct http_task){.run = run_call, .argument = &c};
    sem_init(&c.done, 0, 0);
    http_server_post(server, &c.task);
    while (sem_wait(&c.done) != 0) {
    }
    sem_destroy(&c.done);
}

static struct ledger_options options_of(enum ledger_policy policy)
{
    return (struct ledger_options){.path = path,
                                   .server = server,
                                   .policy = policy,
                                   .patience_ms = PATIENCE_MS,
                                   .max_rows = MAX_ROWS,
                                   .note = take_note};
}

static void create(void *policy)
{
    struct ledger_options o = options_of(*(enum ledger_policy *)policy);
    ledger = ledger_create(&o, NULL);
}

static void open_ledger(enum ledger_policy policy)
{
    n_notes = 0;
    on_io(create, &policy);
    assert_non_null(ledger);
}

static void destroy(void *unused)
{
    (void)unused;
    ledger_destroy(ledger);
}

static void close_ledger(void)
{
    on_io(destroy, NULL);
}

static int set_up(void **state)
{
    (void)state;
    struct http_options o;
    http_options_init(&o);
    o.port = 0;
    snprintf(path, sizeof path, "%s/usage.db", mkdtemp(folder));
    snprintf(other, sizeof other, "%s/other.db", folder);
    server = http_server_create(&o, NULL);
    return server == NULL || pthread_create(&thread, NULL, serve, server) != 0;
}

static int tear_down(void **state)
{
    (void)state;
    http_server_stop(server);
    pthread_join(thread, NULL);
    http_server_destroy(server);
    return rmdir(folder);
}

static int remove_files(void **state)
{
    (void)state;
    char journal[96];
    const char *const paths[] = {path, other};
    for (size_t i = 0; i < 2; i++) {
        snprintf(journal, sizeof journal, "%s-journal", paths[i]);
        unlink(journal);
        unlink(paths[i]);
    }
    return 0;
}

#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        for (int tick = 0; !(condition) && tick < WAIT_MS; tick++) {                               \
            usleep(1000);                                                                          \
        }                                                                                          \
        assert_true(condition);                                                                    \
    } while (0)

/* --- the file, as another program sees it */

static sqlite3 *connect_to(const char *file)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open_v2(file, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, WAIT_MS);
    return db;
}

static void run_sql(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    }
}

static int64_t number_in(const char *file, const char *sql)
{
    sqlite3 *db = connect_to(file);
    sqlite3_stmt *s;
    int64_t n = -1;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
        n = sqlite3_column_int64(s, 0);
    }
    sqlite3_finalize(s);
    sqlite3_close(db);
    return n;
}

static int64_t count_rows(void)
{
    return number_in(path, "SELECT count(*) FROM usage");
}

/* Of the file's head: grows by one with each transaction. */
static uint32_t count_changes(void)
{
    uint8_t b[4] = {0};
    int fd = open(path, O_RDONLY);
    assert_int_equal(pread(fd, b, sizeof b, 24), 4);
    close(fd);
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static _Atomic bool is_locked;

static sqlite3 *lock_file(void)
{
    sqlite3 *db = connect_to(path);
    run_sql(db, "BEGIN EXCLUSIVE");
    is_locked = true;
    return db;
}

static void unlock_file(sqlite3 *db)
{
    is_locked = false;
    run_sql(db, "ROLLBACK");
    sqlite3_close(db);
}

static void write_garbage(void)
{
    char garbage[4096];
    memset(garbage, 'x', sizeof garbage);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, garbage, sizeof garbage, 0), sizeof garbage);
    close(fd);
}

static void copy_file(const char *from, const char *to)
{
    static char bytes[1 << 20];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ssize_t n = read(in, bytes, sizeof bytes);
    assert_true(n > 0 && write(out, bytes, (size_t)n) == n);
    close(in);
    close(out);
}

/* --- requests: all in the I/O thread but for what is atomic */

struct request {
    int number;
    bool wants_to_know;
    struct ledger_entry *entry;
    struct api_error error;  /* why there is none */
    bool goes_on;            /* need not wait */
    _Atomic int n_told;      /* times */
    struct api_error answer; /* what was told */
    int64_t n_rows;          /* of this one in the file when it was told */
};

static void begin(void *argument)
{
    struct request *r = argument;
    char id[32];
    snprintf(id, sizeof id, "chatcmpl-%d", r->number);
    struct store_use use = {.id = str_from(id),
                            .key = STR("0123456789ab"),
                            .minutes = STR("ba9876543210"),
                            .model = STR("a model"),
                            .endpoint = STR("chat/completions")};
    r->entry = ledger_begin(ledger, &use, &r->error);
}

static void told(void *argument, const struct api_error *error)
{
    struct request *r = argument;
    char sql[96];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM usage WHERE id = 'chatcmpl-%d'", r->number);
    if (error != NULL) {
        r->answer = *error;
    } else if (!is_locked) { /* by this test: then nobody can look */
        r->n_rows = number_in(path, sql);
    }
    r->n_told++;
}

static void end(void *argument)
{
    struct request *r = argument;
    struct store_use *use = &r->entry->use;
    use->n_prompt = 100 + (uint64_t)r->number;
    use->n_cached = 7;
    use->n_completion = 5;
    use->is_filtered = true;
    use->status = 200;
    r->goes_on = ledger_put(ledger, r->entry, r->wants_to_know ? told : NULL, r);
}

static void whole(void *argument)
{
    begin(argument);
    end(argument);
}

static struct request requests[MANY];

static struct request *request(int number, bool wants_to_know)
{
    requests[number] = (struct request){.number = number, .wants_to_know = wants_to_know};
    return &requests[number];
}

static void assert_refused(int number)
{
    struct request *r = request(number, true);
    on_io(begin, r);
    assert_null(r->entry);
    assert_int_equal(r->error.kind, API_ERROR_LEDGER);
    assert_int_equal(api_error_meaning(r->error.kind)->http_status, 503);
    assert_true(r->error.retry_s > 0 && !r->error.is_final);
}

/* --- tests */

static void a_row_is_there_when_its_end_is_told(void **state)
{
    (void)state;
    open_ledger(LEDGER_REFUSES);
    for (int i = 0; i < 20; i++) {
        struct request *r = request(i, true);
        on_io(whole, r);
        assert_false(r->goes_on);
        WAIT_FOR(r->n_told > 0);
        assert_int_equal(r->n_rows, 1);
    }
    assert_int_equal(
        number_in(path, "SELECT count(*) FROM usage WHERE key = '0123456789ab' AND minutes = "
                        "'ba9876543210' AND model = 'a model' AND endpoint = 'chat/completions' "
                        "AND n_prompt = 100 + CAST(substr(id, 10) AS INTEGER) AND n_cached = 7 AND "
                        "n_completion = 5 AND is_filtered = 1 AND status = 200 AND "
                        "began BETWEEN 1700000000000 AND ended AND "
                        "ended <= CAST(strftime('%s', 'now') AS INTEGER) * 1000 + 1000"),
        20);
    struct stat file;
    assert_true(stat(path, &file) == 0 && (file.st_mode & 0777) == 0600);
    struct ledger_status status;
    ledger_status(ledger, &status);
    assert_true(status.n_written == 20 && status.n_waiting == 0 && status.n_failures == 0);
    close_ledger();
    assert_int_equal(n_notes, 0);
}

static void nothing_is_made_without_a_row(void **state)
{
    (void)state;
    open_ledger(LEDGER_REFUSES);
    struct request *r = request(0, true);
    on_io(begin, r);
    ledger_drop(ledger, r->entry);
    ledger_drop(ledger, NULL);
    close_ledger();
    assert_int_equal(access(path, F_OK), -1);
}

static void all(void *argument)
{
    (void)argument;
    for (int i = 1; i < MANY; i++) {
        whole(request(i, true));
    }
}

static int count_told(void)
{
    int n = 0;
    for (int i = 1; i < MANY; i++) {
        n += requests[i].n_told;
    }
    return n;
}

static void rows_that_come_together_are_written_together(void **state)
{
    (void)state;
    open_ledger(LEDGER_REFUSES);
    struct request *first = request(0, true);
    on_io(whole, first);
    WAIT_FOR(first->n_told > 0);
    uint32_t before = count_changes();
    on_io(all, NULL);
    WAIT_FOR(count_told() == MANY - 1);
    assert_int_equal(count_rows(), MANY);
    assert_true(count_changes() - before <= 8); /* of 1024 rows, some of which came late */
    close_ledger();
}

static uint64_t count_failures(void)
{
    struct ledger_status status;
    ledger_status(ledger, &status);
    return status.n_failures;
}

static void while_it_is_locked_requests_are_refused_and_ends_are_errors(void **state)
{
    (void)state;
    open_ledger(LEDGER_REFUSES);
    struct request *a = request(1, true), *b = request(2, true), *early = request(3, true);
    on_io(whole, a);
    WAIT_FOR(a->n_told > 0);
    on_io(begin, early);
    sqlite3 *lock = lock_file();
    uint64_t start = clock_now_ns();
    on_io(whole, b);
    assert_false(b->goes_on);
    WAIT_FOR(n_notes == 1);
    assert_true(strstr(last_note, path) == last_note && strstr(last_note, "locked") != NULL &&
                strstr(last_note, "requests are refused") != NULL);
    assert_refused(4);
    on_io(end, early); /* what is under way may still end well */
    WAIT_FOR(b->n_told > 0);
    assert_int_equal(b->answer.kind, API_ERROR_LEDGER);
    assert_true(clock_seconds_since(start) >= PATIENCE_MS / 1000.0);
    uint64_t n_failures = count_failures(); /* the try that may be under way does not know */
    WAIT_FOR(count_failures() > n_failures);
    unlock_file(lock);
    WAIT_FOR(n_notes == 2);
    assert_non_null(strstr(last_note, "is written again"));
    WAIT_FOR(early->n_told > 0);
    WAIT_FOR(count_rows() == 3);
    assert_int_equal(b->n_told, 1);
    assert_int_equal(number_in(path, "SELECT status FROM usage WHERE id = 'chatcmpl-2'"), 503);
    struct request *after = request(5, true);
    on_io(whole, after);
    WAIT_FOR(after->n_told > 0);
    assert_int_equal(after->n_rows, 1);
    close_ledger();
    assert_int_equal(n_notes, 2);
}

static void hurry(void *argument)
{
    struct request *r = argument;
    whole(r);
    ledger_hurry(ledger, r->entry);
}

static void who_is_told_early_has_a_row_that_says_so(void **state)
{
    (void)state;
    open_ledger(LEDGER_REFUSES);
    struct request *a = request(1, true), *b = request(2, true);
    on_io(whole, a);
    WAIT_FOR(a->n_told > 0);
    sqlite3 *lock = lock_file();
    on_io(hurry, b);
    assert_int_equal(b->n_told, 1);
    assert_int_equal(b->answer.kind, API_ERROR_LEDGER);
    WAIT_FOR(count_failures() > 0);
    unlock_file(lock);
    WAIT_FOR(count_rows() == 2);
    assert_int_equal(number_in(path, "SELECT status FROM usage WHERE id = 'chatcmpl-2'"), 503);
    close_ledger();
    assert_int_equal(b->n_told, 1);
}

static void hurry_put(void *argument)
{
    struct request *r = argument;
    ledger_hurry(ledger, r->entry);
}

/* The try that finds the file free had begun when its row still said 200. */
static void who_is_told_while_his_row_is_written_has_one_that_says_so(void **state)
{
    (void)state;
    open_ledger(LEDGER_REFUSES);
    struct request *a = request(1, true), *b = request(2, true);
    on_io(whole, a);
    WAIT_FOR(a->n_told > 0);
    sqlite3 *lock = lock_file();
    on_io(whole, b);
    usleep(PATIENCE_MS * 1000 / 10); /* the try waits for half of its patience */
    on_io(hurry_put, b);
    assert_int_equal(b->answer.kind, API_ERROR_LEDGER);
    unlock_file(lock);
    WAIT_FOR(count_rows() == 2);
    WAIT_FOR(number_in(path, "SELECT status FROM usage WHERE id = 'chatcmpl-2'") == 503);
    close_ledger();
    assert_int_equal(b->n_told, 1);
}

static void put_and_hurry_when_written(void *argument)
{
    struct request *r = argument;
    struct ledger_status status = {0};
    whole(r);
    while (status.n_written == 0) {
        usleep(1000);
        ledger_status(ledger, &status);
    }
    ledger_hurry(ledger, r->entry);
}

/* Who has his row is told so, though he would have had no patience. */
static void a_row_that_is_written_is_no_error(void **state)
{
    (void)state;
    open_ledger(LEDGER_REFUSES);
    struct request *r = request(1, true);
    on_io(put_and_hurry_when_written, r);
    assert_int_equal(r->n_told, 1);
    assert_int_equal(r->answer.kind, API_ERROR_NONE);
    assert_int_equal(number_in(path, "SELECT status FROM usage"), 200);
    close_ledger();
    assert_int_equal(r->n_told, 1);
}

static void or_answers_go_out_and_rows_wait(void **state)
{
    (void)state;
    open_ledger(LEDGER_SERVES);
    struct request *a = request(1, true), *b = request(2, true), *c = request(3, true);
    on_io(whole, a);
    WAIT_FOR(a->n_told > 0);
    sqlite3 *lock = lock_file();
    on_io(whole, b);
    assert_false(b->goes_on); /* nobody knows yet */
    WAIT_FOR(b->n_told > 0);
    assert_int_equal(b->answer.kind, API_ERROR_NONE);
    on_io(whole, c);
    assert_true(c->goes_on);
    struct ledger_status status;
    ledger_status(ledger, &status);
    assert_true(status.is_failing && status.n_waiting == 2 && status.n_failures > 0);
    assert_non_null(strstr(last_note, "in memory alone"));
    unlock_file(lock);
    WAIT_FOR(count_rows() == 3);
    assert_int_equal(number_in(path, "SELECT count(*) FROM usage WHERE status = 200"), 3);
    close_ledger();
    assert_int_equal(c->n_told, 0);
    assert_int_equal(n_notes, 2);
}

static void fill(void *argument)
{
    struct ledger_entry **entries = argument;
    struct request r = {.number = 0};
    for (int i = 0; i < MAX_ROWS; i++) {
        begin(&r);
        entries[i] = r.entry;
    }
}

static void empty(void *argument)
{
    struct ledger_entry **entries = argument;
    for (int i = 0; i < MAX_ROWS; i++) {
        assert_non_null(entries[i]);
        ledger_drop(ledger, entries[i]);
    }
}

static void rows_in_memory_have_a_bound(void **state)
{
    (void)state;
    static struct ledger_entry *entries[MAX_ROWS];
    open_ledger(LEDGER_SERVES);
    on_io(fill, entries);
    assert_refused(1);
    on_io(empty, entries);
    struct request *r = request(2, true);
    on_io(whole, r);
    WAIT_FOR(r->n_told > 0);
    close_ledger();
}

static void a_file_that_is_moved_away_is_made_anew(void **state)
{
    (void)state;
    open_ledger(LEDGER_REFUSES);
    struct request *a = request(1, true), *b = request(2, true);
    on_io(whole, a);
    WAIT_FOR(a->n_told > 0);
    assert_int_equal(rename(path, other), 0);
    on_io(whole, b);
    WAIT_FOR(b->n_told > 0);
    assert_true(b->n_rows == 1 && count_rows() == 1);
    assert_int_equal(number_in(other, "SELECT count(*) FROM usage"), 1);
    assert_non_null(strstr(last_note, "moved or removed"));
    close_ledger();
    assert_int_equal(n_notes, 1);
}

static void what_is_damaged_can_be_replaced(void **state)
{
    (void)state;
    open_ledger(LEDGER_REFUSES);
    struct request *a = request(1, true), *b = request(2, true);
    on_io(whole, a);
    WAIT_FOR(a->n_told > 0);
    copy_file(path, other);
    write_garbage();
    on_io(whole, b);
    WAIT_FOR(n_notes == 1);
    assert_non_null(strstr(last_note, path));
    assert_refused(3);
    assert_int_equal(rename(other, path), 0);
    WAIT_FOR(n_notes >= 2 && b->n_told > 0);
    WAIT_FOR(count_rows() == 2);
    close_ledger();
}

static void forget_and_destroy(void *argument)
{
    struct request *r = argument;
    whole(r);
    ledger_forget(ledger, r->entry);
    ledger_destroy(ledger);
}

static void the_end_writes_what_waits_and_calls_nobody(void **state)
{
    (void)state;
    open_ledger(LEDGER_REFUSES);
    struct request *r = request(1, true);
    on_io(forget_and_destroy, r);
    assert_int_equal(count_rows(), 1);
    assert_int_equal(r->n_told, 0);
}

static void the_end_does_not_wait_for_ever(void **state)
{
    (void)state;
    open_ledger(LEDGER_SERVES);
    struct request *a = request(1, true), *b = request(2, true);
    on_io(whole, a);
    WAIT_FOR(a->n_told > 0);
    sqlite3 *lock = lock_file();
    on_io(whole, b);
    WAIT_FOR(b->n_told > 0);
    close_ledger();
    unlock_file(lock);
    assert_non_null(strstr(last_note, "usage of 1 request could not be written"));
    assert_int_equal(count_rows(), 1);
}

static void create_without_memory(void *unused)
{
    (void)unused;
    struct ledger_options o = options_of(LEDGER_REFUSES);
    struct ledger *made = NULL;
    size_t n = 0;
    while (made == NULL) {
        struct error e = {0};
        mem_fail_nth(++n);
        made = ledger_create(&o, &e);
        mem_fail_nth(0);
        assert_true(made != NULL || e.code == ERROR_MEMORY);
    }
    assert_true(n > 2);
    ledger_destroy(made);
}

static void begin_without_memory(void *argument)
{
    mem_fail_nth(1);
    begin(argument);
    mem_fail_nth(0);
}

static void end_without_memory(void *argument)
{
    struct request *r = argument;
    begin(r);
    mem_fail_nth((size_t)r->number); /* of the writer's */
    end(r);
}

static void memory_that_runs_out_delays_a_row_and_loses_none(void **state)
{
    (void)state;
    on_io(create_without_memory, NULL);
    open_ledger(LEDGER_REFUSES);
    struct request *r = request(100, true);
    on_io(begin_without_memory, r);
    assert_null(r->entry);
    assert_int_equal(r->error.kind, API_ERROR_OVERLOADED);
    close_ledger();
    for (int i = 1; i < 5; i++) {
        open_ledger(LEDGER_REFUSES);
        r = request(i, true);
        on_io(end_without_memory, r);
        WAIT_FOR(r->n_told > 0);
        mem_fail_nth(0);
        assert_int_equal(r->n_rows, 1);
        close_ledger();
    }
    assert_int_equal(count_rows(), 4);
}

#define TEST(name) cmocka_unit_test_teardown(name, remove_files)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_row_is_there_when_its_end_is_told),
        TEST(nothing_is_made_without_a_row),
        TEST(rows_that_come_together_are_written_together),
        TEST(while_it_is_locked_requests_are_refused_and_ends_are_errors),
        TEST(who_is_told_early_has_a_row_that_says_so),
        TEST(who_is_told_while_his_row_is_written_has_one_that_says_so),
        TEST(a_row_that_is_written_is_no_error),
        TEST(or_answers_go_out_and_rows_wait),
        TEST(rows_in_memory_have_a_bound),
        TEST(a_file_that_is_moved_away_is_made_anew),
        TEST(what_is_damaged_can_be_replaced),
        TEST(the_end_writes_what_waits_and_calls_nobody),
        TEST(the_end_does_not_wait_for_ever),
        TEST(memory_that_runs_out_delays_a_row_and_loses_none),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
