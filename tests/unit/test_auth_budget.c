/* test_auth_budget.c - tokens of days and months: handed out once, whatever the clock and restarts
 * do. */
#include "auth_keys.h"
#include "store/store_usage.h"

/* 2026-11-26T12:00:00Z, as `date -u -d ... +%s` has it. */
static const int64_t noon = 1795694400;
enum { HOUR = 3600, DAY = 86400 };

static char ledger[80];

static int begin(void **state)
{
    (void)state;
    snprintf(ledger, sizeof ledger, "%s-usage", path);
    now_s = noon;
    return 0;
}

static int end(void **state)
{
    char journal[96];
    snprintf(journal, sizeof journal, "%s-journal", ledger);
    unlink(journal);
    unlink(ledger);
    return remove_file(state);
}

static void give_a_day(struct store_key *k)
{
    k->tokens_per_day = 1000;
}

static void give_a_month(struct store_key *k)
{
    k->tokens_per_month = 1000;
}

static void give_both(struct store_key *k)
{
    k->tokens_per_day = 1000;
    k->tokens_per_month = 1500;
}

static struct auth_caller *come(struct auth *a, const char *secret)
{
    struct api_error error;
    struct auth_caller *c = enter(a, secret, STORE_SCOPE_CHAT, &error);
    assert_non_null(c);
    return c;
}

static bool reserve(struct auth_caller *c, uint64_t n, struct api_error *error)
{
    struct auth_work w = {.n_prompt = n};
    *error = (struct api_error){0};
    return auth_reserve(c, &w, now_s, now_ns, error);
}

/* A request of n tokens from its beginning to its end; false: it was refused. */
static bool use(struct auth *a, const char *secret, uint64_t n, struct api_error *error)
{
    struct auth_caller *c = come(a, secret);
    bool ok = reserve(c, n, error);
    auth_leave(c, ok ? n : 0, now_s, now_ns);
    return ok;
}

static void assert_used_up(struct auth *a, const char *secret, uint64_t n, const char *why)
{
    struct api_error error;
    assert_false(use(a, secret, n, &error));
    assert_int_equal(error.kind, API_ERROR_QUOTA);
    if (strstr(error.message, why) == NULL) {
        fail_msg("'%s' is not in '%s'", why, error.message);
    }
}

/* Most that a request may have now. */
static uint64_t left(struct auth *a, const char *secret)
{
    struct api_error error;
    uint64_t low = 0, high = 2000;
    while (low < high) {
        uint64_t middle = (low + high + 1) / 2;
        struct auth_caller *c = come(a, secret);
        if (reserve(c, middle, &error)) {
            low = middle;
        } else {
            high = middle - 1;
        }
        auth_leave(c, 0, now_s, now_ns);
    }
    return low;
}

static void a_day_has_its_tokens_and_no_more(void **state)
{
    (void)state;
    struct api_error error;
    const char *secret = add('1', give_a_day), *free = add('2', NULL);
    struct auth *a = read_keys();
    assert_true(use(a, secret, 700, &error) && use(a, secret, 300, &error));
    assert_used_up(a, secret, 1,
                   "the request may take 1 tokens, of the 1000 that key 111111111111 has each day "
                   "0 are left; the next ones come at 2026-11-27T00:00:00Z");
    assert_true(use(a, free, 1 << 30, &error));
    now_s = noon + 12 * HOUR - 1;
    assert_int_equal(left(a, secret), 0);
    now_s++;
    assert_int_equal(left(a, secret), 1000);
    auth_destroy(a);
}

static void a_month_has_its_tokens_and_no_more(void **state)
{
    (void)state;
    struct api_error error;
    const char *secret = add('1', give_a_month);
    struct auth *a = read_keys();
    assert_true(use(a, secret, 999, &error));
    assert_used_up(a, secret, 2,
                   "has each month 1 are left; the next ones come at "
                   "2026-12-01T00:00:00Z");
    now_s = noon + 4 * DAY + 12 * HOUR - 1; /* the last second of November */
    assert_int_equal(left(a, secret), 1);
    now_s++;
    assert_int_equal(left(a, secret), 1000);
    assert_true(use(a, secret, 1000, &error));
    assert_used_up(a, secret, 1, "2027-01-01T00:00:00Z"); /* over the year's end */
    auth_destroy(a);
}

static void of_both_the_one_that_is_used_up_is_told(void **state)
{
    (void)state;
    struct api_error error;
    const char *secret = add('1', give_both);
    struct auth *a = read_keys();
    assert_true(use(a, secret, 900, &error));
    assert_used_up(a, secret, 101, "each day 100 are left");
    now_s += DAY;
    assert_int_equal(left(a, secret), 600);
    assert_used_up(a, secret, 601, "each month 600 are left");
    auth_destroy(a);
}

static void what_runs_is_taken_before_and_counts_when_it_ends(void **state)
{
    (void)state;
    struct api_error error;
    const char *secret = add('1', give_a_day);
    struct auth *a = read_keys();
    struct auth_caller *c = come(a, secret), *d = come(a, secret);
    assert_true(reserve(c, 800, &error));
    assert_false(reserve(d, 300, &error));
    assert_non_null(strstr(error.message, "200 are left, while others of its requests run"));
    assert_true(!error.is_final && error.retry_s > 0); /* they may come back */
    assert_true(reserve(d, 200, &error));
    auth_leave(c, 100, now_s, now_ns);
    assert_int_equal(left(a, secret), 700);
    now_s += DAY; /* d ends in another day than it began in, and counts there */
    assert_int_equal(left(a, secret), 800);
    auth_leave(d, 150, now_s, now_ns);
    assert_int_equal(left(a, secret), 850);
    auth_destroy(a);
}

static void an_answer_of_any_length_has_what_is_left(void **state)
{
    (void)state;
    struct api_error error = {0};
    const char *secret = add('1', give_a_day);
    struct auth *a = read_keys();
    struct auth_caller *c = come(a, secret);
    struct auth_work w = {.n_prompt = 100, .n_choices = 2, .max_tokens = 8000, .is_open = true};
    assert_true(auth_reserve(c, &w, now_s, now_ns, &error));
    assert_int_equal(w.max_tokens, 450);
    auth_leave(c, 1000 - 227, now_s, now_ns); /* not 64 for each remain */
    c = come(a, secret);
    w.max_tokens = 8000;
    assert_false(auth_reserve(c, &w, now_s, now_ns, &error));
    assert_int_equal(error.kind, API_ERROR_QUOTA);
    auth_leave(c, 0, now_s, now_ns);
    auth_destroy(a);
}

static void who_may_wait_is_told_how_long(void **state)
{
    (void)state;
    struct api_error error;
    const char *secret = add('1', give_a_day);
    struct auth *a = read_keys();
    assert_true(use(a, secret, 1000, &error));
    assert_false(use(a, secret, 1, &error));
    assert_true(error.is_final);
    now_s = noon + 12 * HOUR - 25;
    assert_false(use(a, secret, 1, &error));
    assert_true(!error.is_final && error.retry_s == 25);
    assert_false(use(a, secret, 1001, &error)); /* no day has so many */
    assert_true(error.is_final);
    auth_destroy(a);
}

static void a_clock_set_back_hands_nothing_out_twice(void **state)
{
    (void)state;
    struct api_error error;
    const char *secret = add('1', give_a_day);
    struct auth *a = read_keys();
    int64_t midnight = noon + 12 * HOUR;
    now_s = midnight - 1;
    assert_true(use(a, secret, 600, &error));
    now_s = midnight;
    assert_true(use(a, secret, 700, &error));
    for (int i = 0; i < 5; i++) { /* to and fro over midnight */
        now_s = midnight - 1;
        assert_int_equal(left(a, secret), 400);
        now_s = midnight;
        assert_int_equal(left(a, secret), 300);
    }
    auth_destroy(a);
}

static void a_clock_that_was_years_ahead_closes_nothing(void **state)
{
    (void)state;
    struct api_error error;
    const char *secret = add('1', give_both);
    struct auth *a = read_keys();
    assert_true(use(a, secret, 600, &error));
    now_s += (int64_t)4000 * DAY;
    assert_true(use(a, secret, 1000, &error));
    now_s = noon; /* set right */
    assert_int_equal(left(a, secret), 400);
    now_s += DAY;
    assert_int_equal(left(a, secret), 900); /* of the month */
    now_s = -5;
    assert_int_equal(left(a, secret), 1000); /* and a clock that was never set is a day, too */
    auth_destroy(a);
}

static void a_limit_counts_what_was_used_before_it(void **state)
{
    (void)state;
    struct api_error error;
    struct error e = {0};
    const char *secret = add('1', NULL);
    struct auth *a = read_keys();
    assert_null(auth_find_budget(a, now_s));
    assert_true(use(a, secret, 400, &error));
    update('1', give_a_day);
    assert_true(auth_reload(a, true, 0, now_ns, &e));
    assert_string_equal(auth_find_budget(a, now_s), "111111111111");
    assert_int_equal(left(a, secret), 600);
    auth_destroy(a);
}

static void offer(struct auth_caller *c, char secret[SECRET_BYTES])
{
    char id[SECRET_ID_BYTES];
    const struct auth_offer o = {
        .origin = STR("https://a.example"), .model = STR("m"), .n_budget = 5000, .life_s = 600};
    assert_true(auth_offer(c, &o, now_s, id, secret, NULL));
}

static void a_key_of_minutes_uses_the_budget_of_its_owner(void **state)
{
    (void)state;
    struct api_error error;
    char minutes[SECRET_BYTES], field[128];
    const char *secret = add('1', give_a_day);
    struct auth *a = read_keys();
    struct auth_caller *c = come(a, secret);
    offer(c, minutes);
    auth_leave(c, 0, now_s, now_ns);
    snprintf(field, sizeof field, "Bearer %s", minutes);
    const struct auth_request r = {.authorization = str_from(field),
                                   .origin = STR("https://a.example"),
                                   .now_s = now_s,
                                   .now_ns = now_ns};
    c = let_in(a, &r, &error);
    assert_non_null(c);
    assert_false(reserve(c, 1001, &error));
    assert_int_equal(error.kind, API_ERROR_QUOTA);
    assert_true(reserve(c, 1000, &error));
    auth_leave(c, 900, now_s, now_ns);
    assert_int_equal(left(a, secret), 100);
    auth_destroy(a);
}

/* --- the ledger */

static void write_row(char digit, int64_t ended_s, uint64_t n_prompt, uint64_t n_completion)
{
    static int n;
    char id[16], key[SECRET_ID_BYTES] = "";
    struct store *s = store_open(
        &(struct store_options){.schema = &store_usage_schema, .path = ledger, .creates = true},
        NULL);
    assert_non_null(s);
    snprintf(id, sizeof id, "%d", n++);
    memset(key, digit, SECRET_ID_DIGITS);
    const struct store_use row = {.id = str_from(id),
                                  .key = str_from(digit != '-' ? key : ""),
                                  .model = str_from(id),
                                  .endpoint = STR("embeddings"),
                                  .n_prompt = n_prompt,
                                  .n_cached = n_prompt,
                                  .n_completion = n_completion,
                                  .ended_ms = ended_s * 1000};
    const struct store_use *rows[] = {&row};
    assert_true(store_usage_add(s, rows, 1, NULL));
    store_close(s);
}

static void what_was_used_survives_a_restart(void **state)
{
    (void)state;
    struct error e = {0};
    const char *day = add('1', give_a_day), *month = add('2', give_a_month);
    int64_t midnight = noon - 12 * HOUR, first = midnight - 25 * DAY;
    for (char digit = '1'; digit <= '3'; digit++) { /* one is no key of the store */
        write_row(digit, midnight - 1, 1, 2);
        write_row(digit, midnight, 10, 20);
        write_row(digit, noon, 100, 200);
        write_row(digit, first, 0, 3);
        write_row(digit, first - 1, 50, 50);
        write_row(digit, midnight + DAY, 7, 0); /* of a clock that was ahead; of this month */
        write_row(digit, midnight + 5 * DAY, 50, 50);
    }
    write_row('-', noon, 500, 500);
    struct auth *a = read_keys();
    assert_true(auth_count_used(a, ledger, now_s, 0, &e));
    assert_int_equal(left(a, day), 1000 - 330);
    assert_int_equal(left(a, month), 1000 - 343);
    assert_true(auth_reload(a, true, 0, now_ns, &e)); /* keeps it */
    assert_int_equal(left(a, day), 1000 - 330);
    now_s += DAY;
    assert_int_equal(left(a, day), 1000);
    auth_destroy(a);
}

static void no_ledger_is_nothing_used_and_a_bad_one_is_said(void **state)
{
    (void)state;
    struct error e = {0};
    const char *secret = add('1', give_a_day);
    struct auth *a = read_keys();
    assert_true(auth_count_used(a, ledger, now_s, 0, &e));
    assert_int_equal(left(a, secret), 1000);
    assert_int_equal(access(ledger, F_OK), -1); /* nor is one made */
    assert_false(auth_count_used(a, path, now_s, 0, &e));
    assert_int_equal(e.code, ERROR_FORMAT);
    assert_non_null(strstr(e.text, path));
    assert_int_equal(left(a, secret), 1000);
    auth_destroy(a);
}

static void revoke_it(struct store_key *k)
{
    give_a_day(k);
    k->revoked = 1;
}

static void budgets_of_keys_that_count_are_found(void **state)
{
    (void)state;
    struct error e = {0};
    add('1', revoke_it);
    struct auth *a = read_keys();
    assert_null(auth_find_budget(a, now_s));
    add('2', give_a_month);
    assert_true(auth_reload(a, true, 0, now_ns, &e));
    assert_string_equal(auth_find_budget(a, now_s), "222222222222");
    unlink(path);
    assert_true(auth_reload(a, true, 0, now_ns, &e));
    assert_null(auth_find_budget(a, now_s));
    auth_destroy(a);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_day_has_its_tokens_and_no_more),
        TEST(a_month_has_its_tokens_and_no_more),
        TEST(of_both_the_one_that_is_used_up_is_told),
        TEST(what_runs_is_taken_before_and_counts_when_it_ends),
        TEST(an_answer_of_any_length_has_what_is_left),
        TEST(who_may_wait_is_told_how_long),
        TEST(a_clock_set_back_hands_nothing_out_twice),
        TEST(a_clock_that_was_years_ahead_closes_nothing),
        TEST(a_limit_counts_what_was_used_before_it),
        TEST(a_key_of_minutes_uses_the_budget_of_its_owner),
        TEST(what_was_used_survives_a_restart),
        TEST(no_ledger_is_nothing_used_and_a_bad_one_is_said),
        TEST(budgets_of_keys_that_count_are_found),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
