/* test_auth.c - who is let in, for how much, and how keys follow their store. */
#include "auth_keys.h"
#include "serve/auth_internal.h"
#include "serve/http_cors.h"

static void assert_kept_out(struct auth *a, const char *secret, unsigned scope,
                            enum api_error_kind kind, const char *why)
{
    struct api_error error;
    assert_null(enter(a, secret, scope, &error));
    assert_int_equal(error.kind, kind);
    if (strstr(error.message, why) == NULL) {
        fail_msg("'%s' is not in '%s'", why, error.message);
    }
    assert_null(strstr(error.message, secret + SECRET_CHARS - SECRET_RANDOM_DIGITS));
}

/* --- rates */

static void a_rate_gives_what_a_minute_brings(void **state)
{
    (void)state;
    struct rate r;
    uint64_t t = now_ns;
    rate_init(&r, 60, t);
    for (int i = 0; i < 60; i++) {
        assert_true(rate_take(&r, 1, t));
    }
    assert_false(rate_take(&r, 1, t));
    assert_true(rate_wait_s(&r, 1, t) == 1.0 && rate_wait_s(&r, 60, t) == 60.0);
    assert_false(rate_take(&r, 1, t + SECOND - 1000000));
    assert_true(rate_take(&r, 1, t + SECOND));
    assert_int_equal(rate_left(&r, t + 31 * (uint64_t)SECOND), 30);
    assert_int_equal(rate_left(&r, t + 1000 * (uint64_t)SECOND), 60); /* and no more */
    assert_int_equal(rate_left(&r, t), 60);                           /* a clock that stands */
}

/* Over any time no more than the limit and what that time brings. */
static void a_rate_is_never_overrun(void **state)
{
    (void)state;
    struct rate r;
    uint64_t t = now_ns, taken = 0;
    rate_init(&r, 1000, t);
    for (int i = 0; i < 10000; i++) {
        uint64_t n = (uint64_t)(i * 7919 % 300);
        if (rate_take(&r, n, t)) {
            uint64_t unused = n / 3;
            rate_give_back(&r, unused, t);
            taken += n - unused;
        }
        t += 50000000;
    }
    double most = 1000.0 + 10000 * 0.05 * 1000 / 60;
    assert_true(taken <= most && taken > most * 0.9);
}

static void a_rate_that_changes_keeps_what_was_taken(void **state)
{
    (void)state;
    struct rate r;
    rate_init(&r, 100, now_ns);
    assert_true(rate_take(&r, 30, now_ns));
    rate_change(&r, 50, now_ns);
    assert_int_equal(rate_left(&r, now_ns), 20);
    rate_change(&r, 10, now_ns);
    assert_int_equal(rate_left(&r, now_ns), 0);
    rate_change(&r, RATE_NO_LIMIT, now_ns);
    assert_true(rate_take(&r, UINT64_MAX, now_ns));
    rate_give_back(&r, 5, now_ns);
    rate_change(&r, 7, now_ns);
    assert_int_equal(rate_left(&r, now_ns), 7);
    rate_give_back(&r, 5, now_ns); /* taken while there was no limit */
    assert_int_equal(rate_left(&r, now_ns), 7);
}

static void times_are_written_as_openai_does(void **state)
{
    (void)state;
    static const struct {
        double seconds;
        const char *text;
    } times[] = {{0.0, "0s"},    {0.0121, "13ms"}, {0.12, "120ms"}, {0.9999, "1s"},
                 {1.0, "1s"},    {8.64, "8.64s"},  {59.5, "59.5s"}, {60.0, "1m0s"},
                 {60.2, "1m1s"}, {360.0, "6m0s"}};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        char text[RATE_TIME_BYTES];
        rate_print_time(times[i].seconds, text);
        assert_string_equal(text, times[i].text);
    }
}

/* --- the header */

static void a_header_is_read_as_the_rfc_has_it(void **state)
{
    (void)state;
    static const char *const good[] = {"Bearer x", "bearer x", "BEARER    x"};
    static const char *const bad[] = {"",           "Bearer", "Bearer ",   "Bearerx", "Basic x",
                                      "Bearer x y", "x",      "Bearer\tx", "Bearer  "};
    struct str token;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(auth_read_bearer(str_from(good[i]), &token) && str_eq(token, STR("x")));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(auth_read_bearer(str_from(bad[i]), &token));
    }
}

static void who_has_no_key_is_kept_out(void **state)
{
    (void)state;
    const char *secret = add('1', NULL);
    struct auth *a = read_keys();
    struct api_error error = {0};
    struct auth_request r = {.now_s = now_s, .now_ns = now_ns};
    assert_true(auth_is_on(a) && auth_n_keys(a) == 1);
    assert_null(let_in(a, &r, &error));
    assert_int_equal(error.kind, API_ERROR_KEY);
    assert_non_null(strstr(error.message, "No API key was provided: send it as"));
    r.has_other_key = true;
    assert_null(let_in(a, &r, &error));
    assert_non_null(strstr(error.message, "in an Authorization header, the only one"));
    r.authorization = STR("Basic eDp5");
    assert_null(let_in(a, &r, &error));
    assert_non_null(strstr(error.message, "not of the form: Bearer"));
    assert_let_in(a, secret, 0);
    char other[SECRET_BYTES];
    for (size_t i = 0; i < SECRET_CHARS; i++) { /* each character counts */
        memcpy(other, secret, sizeof other);
        other[i] = other[i] == '2' ? '3' : '2';
        assert_kept_out(a, other, 0, API_ERROR_KEY, "this server does not know it");
    }
    assert_kept_out(a,
                    "sk-0123456789abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                    "012345678901234567890",
                    0, API_ERROR_KEY, "this server does not know it");
    auth_destroy(a);
}

/* --- rules */

static void forbid_all_but_chat(struct store_key *k)
{
    k->scopes = STORE_SCOPE_CHAT;
    store_key_set_text(&k->models, STR("a\nb c\n"), NULL);
}

static void expire(struct store_key *k)
{
    k->expires = now_s + 5;
}

static void end_key(struct store_key *k)
{
    k->revoked = 5;
}

static void bind_to_page(struct store_key *k)
{
    store_key_set_text(&k->origins, STR("https://a.example\n"), NULL);
}

static void a_key_opens_what_it_is_for(void **state)
{
    (void)state;
    const char *chat = add('1', forbid_all_but_chat), *page = add('2', bind_to_page);
    struct auth *a = read_keys();
    struct api_error error = {0};
    assert_let_in(a, chat, 0);
    assert_let_in(a, chat, STORE_SCOPE_CHAT);
    assert_kept_out(a, chat, STORE_SCOPE_EMBEDDINGS, API_ERROR_SCOPE, "no scope 'embeddings'");
    assert_kept_out(a, chat, STORE_SCOPE_KEYS, API_ERROR_SCOPE, "no scope 'keys'");
    struct auth_caller *c = enter(a, chat, 0, &error);
    assert_non_null(c);
    assert_true(auth_check_model(c, STR("a"), &error) && auth_check_model(c, STR("b c"), &error));
    assert_false(auth_check_model(c, STR("b"), &error));
    assert_int_equal(error.kind, API_ERROR_MODEL_FORBIDDEN);
    auth_leave(c, 0, now_s, now_ns);
    assert_kept_out(a, page, 0, API_ERROR_ORIGIN, "has no Origin header");
    char field[128];
    snprintf(field, sizeof field, "Bearer %s", page);
    struct auth_request r = {.authorization = str_from(field), .origin = STR("https://b.example")};
    assert_null(let_in(a, &r, &error));
    assert_non_null(strstr(error.message, "not for pages of this origin"));
    r.origin = STR("https://a.example");
    c = let_in(a, &r, &error);
    assert_non_null(c);
    auth_leave(c, 0, now_s, now_ns);
    auth_destroy(a);
}

static void keys_end(void **state)
{
    (void)state;
    const char *expiring = add('1', expire), *revoked = add('2', end_key);
    struct auth *a = read_keys();
    assert_kept_out(a, revoked, 0, API_ERROR_KEY, "it was revoked");
    assert_let_in(a, expiring, 0);
    now_s += 5;
    assert_kept_out(a, expiring, 0, API_ERROR_KEY, "it has expired");
    auth_destroy(a);
}

static void rotate(struct store_key *k)
{
    char secret[SECRET_BYTES];
    assert_true(secret_make(SECRET_OF_STORE, k->id, secret, NULL));
    k->old_hash = k->hash;
    k->old_until = now_s + 10;
    assert_true(secret_digest(str_from(secret), &k->hash));
}

static void an_old_secret_has_its_grace(void **state)
{
    (void)state;
    const char *old = add('1', rotate);
    struct auth *a = read_keys();
    assert_let_in(a, old, 0);
    now_s += 10;
    assert_kept_out(a, old, 0, API_ERROR_KEY, "does not know it");
    auth_destroy(a);
}

/* --- limits */

static void limit_all(struct store_key *k)
{
    k->requests_per_minute = 3;
    k->tokens_per_minute = 1000;
    k->concurrent = 2;
    k->priority = STORE_PRIORITY_LOW;
}

static void note(void *to, const char *name, const char *value)
{
    char *text = to;
    snprintf(text + strlen(text), 256 - strlen(text), "%s=%s ", name + strlen("x-ratelimit-"),
             value);
}

static void requests_are_counted(void **state)
{
    (void)state;
    const char *secret = add('1', limit_all), *free = add('2', NULL);
    struct auth *a = read_keys();
    struct api_error error;
    char text[256] = "";
    struct auth_caller *c[2];
    for (int i = 0; i < 2; i++) {
        c[i] = enter(a, secret, STORE_SCOPE_CHAT, &error);
        assert_non_null(c[i]);
    }
    assert_kept_out(a, secret, STORE_SCOPE_CHAT, API_ERROR_RATE_LIMIT, "at once: limit 2");
    assert_let_in(a, secret, STORE_SCOPE_METRICS); /* no work for the model */
    auth_leave(c[0], 0, now_s, now_ns);
    auth_list_limits(c[1], now_ns, note, text);
    assert_string_equal(text, "limit-requests=3 remaining-requests=1 reset-requests=40s "
                              "limit-tokens=1000 remaining-tokens=1000 reset-tokens=0s ");
    assert_let_in(a, secret, STORE_SCOPE_CHAT);
    assert_kept_out(a, secret, STORE_SCOPE_CHAT, API_ERROR_RATE_LIMIT,
                    "requests per minute: limit 3. Please try again in 20s.");
    assert_null(enter(a, secret, STORE_SCOPE_CHAT, &error));
    assert_int_equal(error.retry_s, 20);
    now_ns += 20 * (uint64_t)SECOND;
    assert_let_in(a, secret, STORE_SCOPE_CHAT);
    assert_int_equal(auth_priority(c[1]), 100);
    auth_leave(c[1], 0, now_s, now_ns);
    for (int i = 0; i < 100; i++) {
        assert_let_in(a, free, STORE_SCOPE_CHAT);
    }
    c[0] = enter(a, free, STORE_SCOPE_CHAT, &error);
    text[0] = '\0';
    auth_list_limits(c[0], now_ns, note, text);
    assert_string_equal(text, "");
    auth_leave(c[0], 0, now_s, now_ns);
    auth_destroy(a);
}

static void tokens_are_taken_before_and_given_back_after(void **state)
{
    (void)state;
    const char *secret = add('1', limit_all);
    struct auth *a = read_keys();
    struct api_error error;
    struct auth_caller *c = enter(a, secret, 0, &error), *d = enter(a, secret, 0, &error);
    struct auth_work w = {.n_prompt = 100, .n_choices = 2, .max_tokens = 300};
    assert_true(auth_reserve(c, &w, now_s, now_ns, &error));
    assert_false(auth_reserve(d, &w, now_s, now_ns, &error)); /* 300 are left */
    assert_int_equal(error.kind, API_ERROR_RATE_LIMIT);
    assert_non_null(strstr(error.message, "limit 1000, left 300, requested 700. Please try again "
                                          "in 24s."));
    assert_true(error.retry_s == 24 && !error.is_final);
    w.max_tokens = 451;
    assert_false(auth_reserve(d, &w, now_s, now_ns, &error));
    assert_non_null(strstr(error.message, "too large for key 111111111111"));
    assert_true(error.is_final);
    w = (struct auth_work){.n_prompt = 20, .n_choices = 2, .max_tokens = 8000, .is_open = true};
    assert_true(auth_reserve(d, &w, now_s, now_ns, &error)); /* has what is left */
    assert_int_equal(w.max_tokens, 140);
    auth_leave(d, 300, now_s, now_ns);
    d = enter(a, secret, 0, &error);
    w.max_tokens = 8000;
    assert_false(auth_reserve(d, &w, now_s, now_ns, &error)); /* not even 64 for each */
    assert_int_equal(w.max_tokens, 64);
    auth_leave(c, 110, now_s, now_ns); /* used so many: 590 come back */
    w.max_tokens = 8000;
    assert_true(auth_reserve(d, &w, now_s, now_ns, &error));
    assert_int_equal(w.max_tokens, 285);
    auth_leave(d, UINT64_MAX, now_s, now_ns); /* more than it had cannot be, and harms nobody */
    auth_destroy(a);
}

/* --- the store changes */

static void tighten(struct store_key *k)
{
    k->requests_per_minute = 2;
}

static void keys_follow_the_store(void **state)
{
    (void)state;
    struct auth *a = read_keys();
    struct api_error error;
    struct error e = {0};
    assert_false(auth_is_on(a)); /* there is no file */
    const char *first = add('5', limit_all);
    assert_true(auth_reload(a, false, 0, now_ns, &e) && auth_is_on(a));
    struct auth_caller *c = enter(a, first, STORE_SCOPE_CHAT, &error);
    const char *second = add('3', NULL);
    assert_true(auth_reload(a, false, 0, now_ns, &e));
    assert_int_equal(auth_n_keys(a), 2);
    assert_let_in(a, second, 0);
    assert_let_in(a, first, STORE_SCOPE_CHAT);
    update('5', tighten); /* two were taken */
    assert_true(auth_reload(a, false, 0, now_ns, &e));
    assert_kept_out(a, first, STORE_SCOPE_CHAT, API_ERROR_RATE_LIMIT, "limit 2");
    update('5', end_key);
    update('3', end_key);
    assert_true(auth_reload(a, false, 0, now_ns, &e) && auth_is_on(a));
    assert_kept_out(a, first, 0, API_ERROR_KEY, "revoked");
    assert_string_equal(auth_id(c), "555555555555"); /* who is in stays in */
    auth_leave(c, 0, now_s, now_ns);
    unlink(path);
    assert_true(auth_reload(a, false, 0, now_ns, &e) && auth_is_on(a));
    assert_kept_out(a, second, 0, API_ERROR_KEY, "does not know it");
    const char *third = add('3', NULL); /* another key of that id, in another file */
    assert_true(auth_reload(a, false, 0, now_ns, &e));
    assert_let_in(a, third, 0);
    auth_destroy(a);
}

static void what_cannot_be_read_changes_nothing(void **state)
{
    (void)state;
    const char *secret = add('1', NULL);
    struct auth *a = read_keys();
    struct error e = {0};
    sqlite3 *writer;
    assert_int_equal(sqlite3_open(path, &writer), SQLITE_OK);
    assert_int_equal(sqlite3_exec(writer, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    assert_false(auth_reload(a, true, 0, now_ns, &e));
    assert_int_equal(e.code, ERROR_BUSY);
    sqlite3_close(writer);
    assert_int_equal(truncate(path, 50), 0);
    assert_false(auth_reload(a, true, 0, now_ns, &e));
    assert_int_equal(e.code, ERROR_FORMAT);
    assert_let_in(a, secret, 0);
    auth_destroy(a);
}

static void thousands_of_keys_are_found(void **state)
{
    (void)state;
    enum { N = 5000 };
    char id[SECRET_ID_BYTES], secret[SECRET_BYTES], middle[SECRET_BYTES];
    struct store *s = open_store();
    struct store_key k;
    store_key_init(&k);
    k.name = k.models = k.origins = (char[1]){""};
    assert_true(store_begin(s, NULL));
    for (int i = 0; i < N; i++) {
        snprintf(id, sizeof id, "%012x", (unsigned)i * 2654435761u);
        memcpy(k.id, id, sizeof id);
        assert_true(secret_make(SECRET_OF_STORE, id, secret, NULL));
        assert_true(secret_digest(str_from(secret), &k.hash) && store_key_add(s, &k, NULL));
        if (i == N / 2) {
            memcpy(middle, secret, sizeof secret);
        }
    }
    assert_true(store_commit(s, NULL));
    store_close(s);
    struct auth *a = read_keys();
    assert_int_equal(auth_n_keys(a), N);
    assert_let_in(a, middle, 0);
    assert_let_in(a, secret, 0);
    auth_destroy(a);
}

/* --- keys of minutes */

static const struct auth_offer offer = {.origin = {"HTTPS://A.example:443", 21},
                                        .model = {"m", 1},
                                        .max_tokens = 50,
                                        .n_budget = 200,
                                        .life_s = 60};

static struct auth_caller *enter_page(struct auth *a, const char *secret, struct api_error *error)
{
    char field[128];
    snprintf(field, sizeof field, "Bearer %s", secret);
    struct auth_request r = {.authorization = str_from(field),
                             .origin = STR("https://a.example"),
                             .scope = STORE_SCOPE_CHAT,
                             .now_s = now_s,
                             .now_ns = now_ns};
    return let_in(a, &r, error);
}

static void an_origin_is_kept_as_browsers_send_it(void **state)
{
    static const struct {
        const char *given, *kept;
    } all[] = {{"HTTPS://App.Example:443", "https://app.example"},
               {"http://a.example:80", "http://a.example"},
               {"http://[::1]:80", "http://[::1]"},
               {"http://[::80]", "http://[::80]"},
               {"https://a.example:80", "https://a.example:80"},
               {"http://a.example:443", "http://a.example:443"},
               {"http://a.example:8080", "http://a.example:8080"},
               {"https://a.example:8443", "https://a.example:8443"},
               {"app://:443", "app://:443"},
               {"http://:80", "http://:80"},
               {"a://b", "a://b"}};
    char out[HTTP_CORS_ORIGIN_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        assert_true(http_cors_is_origin(str_from(all[i].given)));
        http_cors_write_origin(str_from(all[i].given), out);
        assert_string_equal(out, all[i].kept);
    }
}

static void a_key_of_minutes_is_good_for_little(void **state)
{
    (void)state;
    const char *parent = add('1', limit_all);
    struct auth *a = read_keys();
    struct api_error error;
    char id[SECRET_ID_BYTES], secret[SECRET_BYTES];
    struct auth_caller *c = enter(a, parent, STORE_SCOPE_KEYS, &error);
    assert_true(auth_offer(c, &offer, now_s, id, secret, &error));
    assert_kept_out(a, secret, STORE_SCOPE_CHAT, API_ERROR_ORIGIN, "no Origin header");
    struct auth_caller *page = enter_page(a, secret, &error);
    assert_non_null(page);
    assert_string_equal(auth_id(page), id);
    assert_true(auth_owner(page) == auth_owner(c) && auth_priority(page) == 100);
    assert_int_equal(auth_max_tokens(page), 50);
    assert_true(auth_check_model(page, STR("m"), &error));
    assert_false(auth_check_model(page, STR("n"), &error));
    struct auth_work w = {.n_prompt = 120, .n_choices = 1, .max_tokens = 50};
    assert_true(auth_reserve(page, &w, now_s, now_ns, &error));
    auth_leave(page, 130, now_s, now_ns); /* 70 are left */
    page = enter_page(a, secret, &error);
    assert_false(auth_reserve(page, &w, now_s, now_ns, &error));
    assert_int_equal(error.kind, API_ERROR_QUOTA);
    assert_true(error.is_final);
    w.n_prompt = 20;
    assert_true(auth_reserve(page, &w, now_s, now_ns, &error));
    char text[256] = "";
    auth_list_limits(page, now_ns, note, text); /* its parent's */
    assert_non_null(strstr(text, "remaining-requests=1 "));
    assert_non_null(strstr(text, "remaining-tokens=800 "));
    auth_leave(page, 70, now_s, now_ns);
    now_s += 60; /* the second in which it was made was not a whole one */
    auth_leave(enter_page(a, secret, &error), 0, now_s, now_ns);
    now_s++;
    assert_null(enter_page(a, secret, &error));
    assert_non_null(strstr(error.message, "expired"));
    auth_leave(c, 0, now_s, now_ns);
    auth_destroy(a);
}

static void a_budget_of_minutes_that_others_hold_may_come_back(void **state)
{
    (void)state;
    const char *parent = add('1', NULL);
    struct auth *a = read_keys();
    struct api_error error = {0};
    char id[SECRET_ID_BYTES], secret[SECRET_BYTES];
    struct auth_caller *c = enter(a, parent, STORE_SCOPE_KEYS, &error);
    assert_true(auth_offer(c, &offer, now_s, id, secret, &error)); /* 200 tokens */
    struct auth_caller *runs = enter_page(a, secret, &error),
                       *comes = enter_page(a, secret, &error);
    struct auth_work w = {.n_prompt = 150};
    assert_true(auth_reserve(runs, &w, now_s, now_ns, &error));
    w.n_prompt = 100;
    assert_false(auth_reserve(comes, &w, now_s, now_ns, &error));
    assert_int_equal(error.kind, API_ERROR_QUOTA);
    assert_non_null(strstr(error.message, "100 tokens, of the 200 that key "));
    assert_non_null(
        strstr(error.message, " has in all 50 are left, while others of its requests run"));
    assert_true(!error.is_final && error.retry_s > 0);
    w.n_prompt = 201;
    error = (struct api_error){0};
    assert_false(auth_reserve(comes, &w, now_s, now_ns, &error));
    assert_true(error.is_final);
    auth_leave(runs, 110, now_s, now_ns);
    w.n_prompt = 91;
    error = (struct api_error){0};
    assert_false(auth_reserve(comes, &w, now_s, now_ns, &error));
    assert_non_null(strstr(error.message, " has in all 90 are left"));
    assert_null(strstr(error.message, "left,"));
    assert_true(error.is_final);
    w.n_prompt = 90;
    assert_true(auth_reserve(comes, &w, now_s, now_ns, &error));
    auth_leave(comes, 90, now_s, now_ns);
    auth_leave(c, 0, now_s, now_ns);
    auth_destroy(a);
}

static void a_key_of_minutes_ends_with_its_parent(void **state)
{
    (void)state;
    const char *parent = add('1', NULL);
    struct auth *a = read_keys();
    struct api_error error;
    char id[SECRET_ID_BYTES], secret[SECRET_BYTES];
    struct auth_caller *c = enter(a, parent, STORE_SCOPE_KEYS, &error);
    assert_true(auth_offer(c, &offer, now_s, id, secret, &error));
    auth_leave(enter_page(a, secret, &error), 0, now_s, now_ns);
    assert_kept_out(a, secret, STORE_SCOPE_KEYS, API_ERROR_SCOPE, "no scope 'keys'");
    update('1', end_key);
    assert_true(auth_reload(a, true, 0, now_ns, NULL));
    assert_null(enter_page(a, secret, &error));
    assert_non_null(strstr(error.message, "revoked"));
    auth_leave(c, 0, now_s, now_ns);
    auth_destroy(a);
}

static void nobody_gives_away_what_he_may_not_do(void **state)
{
    (void)state;
    const char *chat = add('1', forbid_all_but_chat), *page = add('2', bind_to_page);
    struct auth *a = read_keys();
    struct api_error error;
    char id[SECRET_ID_BYTES], secret[SECRET_BYTES];
    struct auth_caller *c = enter(a, chat, 0, &error);
    assert_false(auth_offer(c, &offer, now_s, id, secret, &error)); /* model m */
    assert_int_equal(error.kind, API_ERROR_MODEL_FORBIDDEN);
    auth_leave(c, 0, now_s, now_ns);
    struct auth_offer elsewhere = offer;
    elsewhere.origin = STR("https://b.example");
    c = enter_page(a, page, &error);
    assert_false(auth_offer(c, &elsewhere, now_s, id, secret, &error));
    assert_int_equal(error.kind, API_ERROR_ORIGIN);
    auth_leave(c, 0, now_s, now_ns);
    auth_destroy(a);
}

static void keys_of_minutes_are_bounded(void **state)
{
    (void)state;
    static const char digits[] = "12345";
    const char *secrets[5];
    for (int i = 0; i < 5; i++) {
        secrets[i] = add(digits[i], NULL);
    }
    struct auth *a = read_keys();
    struct api_error error;
    char id[SECRET_ID_BYTES], secret[SECRET_BYTES];
    for (int i = 0; i < 5; i++) {
        struct auth_caller *c = enter(a, secrets[i], 0, &error);
        for (int k = 0; i < 4 && k < AUTH_MAX_CHILDREN; k++) {
            assert_true(auth_offer(c, &offer, now_s, id, secret, &error));
        }
        assert_false(auth_offer(c, &offer, now_s, id, secret, &error));
        assert_int_equal(error.kind, API_ERROR_RATE_LIMIT);
        auth_leave(c, 0, now_s, now_ns);
    }
    struct auth_caller *page = enter_page(a, secret, &error);
    now_s += 61; /* all but the one in use are gone */
    struct auth_caller *c = enter(a, secrets[3], 0, &error);
    assert_true(auth_offer(c, &offer, now_s, id, secret, &error));
    assert_int_equal(a->n_minutes, 2);
    auth_leave(page, 0, now_s, now_ns);
    auth_leave(c, 0, now_s, now_ns);
    auth_destroy(a);
}

static void ignore(void *to, const char *name, const char *value)
{
    (void)to;
    (void)name;
    (void)value;
}

/* Those that count as no work, too, and those that were refused. */
static void a_key_of_minutes_stays_for_its_callers(void **state)
{
    (void)state;
    const char *parent = add('1', limit_all);
    struct auth *a = read_keys();
    struct api_error error = {0};
    char id[SECRET_ID_BYTES], secret[SECRET_BYTES], field[128];
    struct auth_caller *c = enter(a, parent, STORE_SCOPE_KEYS, &error), *let, *refused;
    assert_true(auth_offer(c, &offer, now_s, id, secret, &error));
    snprintf(field, sizeof field, "Bearer %s", secret);
    struct auth_request r = {.authorization = str_from(field),
                             .origin = STR("https://a.example"),
                             .now_s = now_s,
                             .now_ns = now_ns};
    assert_true(auth_enter(a, &r, &let, &error));
    r.scope = STORE_SCOPE_METRICS;
    assert_false(auth_enter(a, &r, &refused, &error));
    now_s += 61;
    char next[SECRET_ID_BYTES], other[SECRET_BYTES];
    assert_true(auth_offer(c, &offer, now_s, next, other, &error));
    assert_int_equal(a->n_minutes, 2);
    assert_string_equal(auth_id(let), id);
    auth_list_limits(let, now_ns, ignore, NULL);
    auth_leave(let, 0, now_s, now_ns);
    assert_true(auth_offer(c, &offer, now_s, next, other, &error));
    assert_int_equal(a->n_minutes, 3); /* the one of who was refused, and two new ones */
    assert_string_equal(auth_id(refused), id);
    auth_list_limits(refused, now_ns, ignore, NULL);
    auth_leave(refused, 0, now_s, now_ns);
    assert_true(auth_offer(c, &offer, now_s, next, other, &error));
    assert_int_equal(a->n_minutes, 3);
    auth_leave(c, 0, now_s, now_ns);
    auth_destroy(a);
}

/* --- memory */

static bool use_all(const char *secret)
{
    struct error e = {0};
    struct api_error error = {0};
    char id[SECRET_ID_BYTES], minutes[SECRET_BYTES];
    struct auth *a = auth_create(path, &e);
    bool ok =
        a != NULL && auth_reload(a, true, 0, now_ns, &e) && auth_reload(a, true, 0, now_ns, &e);
    struct auth_caller *c = ok ? enter(a, secret, 0, &error) : NULL;
    ok = c != NULL && auth_offer(c, &offer, now_s, id, minutes, &error);
    assert_true(ok || e.code == ERROR_MEMORY || error.kind == API_ERROR_OVERLOADED);
    if (c != NULL) {
        auth_leave(c, 0, now_s, now_ns);
    }
    auth_destroy(a);
    return ok;
}

static void memory_that_runs_out_is_an_error_at_every_place(void **state)
{
    (void)state;
    const char *secret = add('1', NULL);
    add('2', NULL);
    size_t n = 1;
    for (;; n++) {
        mem_fail_nth(n);
        bool ok = use_all(secret);
        bool reached = mem_count() >= n;
        mem_fail_nth(0);
        if (!reached) {
            assert_true(ok);
            break;
        }
        assert_false(ok);
    }
    assert_true(n > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rate_gives_what_a_minute_brings),
        cmocka_unit_test(a_rate_is_never_overrun),
        cmocka_unit_test(a_rate_that_changes_keeps_what_was_taken),
        cmocka_unit_test(times_are_written_as_openai_does),
        cmocka_unit_test(a_header_is_read_as_the_rfc_has_it),
        cmocka_unit_test_teardown(who_has_no_key_is_kept_out, remove_file),
        cmocka_unit_test_teardown(a_key_opens_what_it_is_for, remove_file),
        cmocka_unit_test_teardown(keys_end, remove_file),
        cmocka_unit_test_teardown(an_old_secret_has_its_grace, remove_file),
        cmocka_unit_test_teardown(requests_are_counted, remove_file),
        cmocka_unit_test_teardown(tokens_are_taken_before_and_given_back_after, remove_file),
        cmocka_unit_test_teardown(keys_follow_the_store, remove_file),
        cmocka_unit_test_teardown(what_cannot_be_read_changes_nothing, remove_file),
        cmocka_unit_test_teardown(thousands_of_keys_are_found, remove_file),
        cmocka_unit_test(an_origin_is_kept_as_browsers_send_it),
        cmocka_unit_test_teardown(a_key_of_minutes_is_good_for_little, remove_file),
        cmocka_unit_test_teardown(a_key_of_minutes_stays_for_its_callers, remove_file),
        cmocka_unit_test_teardown(a_budget_of_minutes_that_others_hold_may_come_back, remove_file),
        cmocka_unit_test_teardown(a_key_of_minutes_ends_with_its_parent, remove_file),
        cmocka_unit_test_teardown(nobody_gives_away_what_he_may_not_do, remove_file),
        cmocka_unit_test_teardown(keys_of_minutes_are_bounded, remove_file),
        cmocka_unit_test_teardown(memory_that_runs_out_is_an_error_at_every_place, remove_file),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
