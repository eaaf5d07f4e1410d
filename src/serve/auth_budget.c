/* auth_budget.c - tokens of a day and of a month of UTC, and those of a key of minutes. They are
 * reserved as tokens of a minute are, but what a day or month has used counts when a request ends,
 * as in the ledger: so a restart finds the same numbers there. */
#include "serve/auth_internal.h"

#include "serve/estimate.h"
#include "store/usage_sums.h"

#include <stdio.h>
#include <time.h>

enum { DAY_S = 86400, MONTHS = 12, SINCE = 1970 };

/* --- the calendar */

static int64_t day_of(int64_t now_s)
{
    return now_s > 0 ? now_s / DAY_S : 0;
}

static int64_t month_of(int64_t now_s)
{
    struct tm t;
    time_t when = (time_t)now_s;
    return now_s > 0 && gmtime_r(&when, &t) != NULL
               ? (int64_t)(t.tm_year + 1900 - SINCE) * MONTHS + t.tm_mon
               : 0;
}

static int64_t begin_of_day(int64_t day)
{
    return day * DAY_S;
}

static int64_t begin_of_month(int64_t month)
{
    struct tm t = {.tm_year = (int)(SINCE - 1900 + month / MONTHS),
                   .tm_mon = (int)(month % MONTHS),
                   .tm_mday = 1};
    return (int64_t)timegm(&t);
}

/* --- counting */

static uint64_t *used_of(struct auth_budget *b, int64_t number)
{
    if (b->now.number != number) {
        struct auth_budget moved = {.now = b->before, .before = b->now};
        if (moved.now.number != number) {
            moved.now.number = number;
            moved.now.n_used = 0;
        }
        *b = moved;
    }
    return &b->now.n_used;
}

/* A limit, and what counts against it. */
struct period {
    const char *name;
    uint64_t limit, n_used;
    int64_t next_s; /* when it begins anew, or STORE_NEVER */
};

enum { MAX_PERIODS = 2 };

static size_t list_periods(struct auth_key *k, int64_t now_s, struct period out[MAX_PERIODS])
{
    if (k->parent != NULL) {
        out[0] = (struct period){"in all", k->n_budget, k->n_used, STORE_NEVER};
        return 1;
    }
    int64_t month = month_of(now_s), day = day_of(now_s);
    out[0] = (struct period){"each month", k->row.tokens_per_month, *used_of(&k->month, month),
                             begin_of_month(month + 1)};
    out[1] = (struct period){"each day", k->row.tokens_per_day, *used_of(&k->day, day),
                             begin_of_day(day + 1)};
    return 2;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t left_of(const struct period *p, uint64_t n_reserved)
{
    return p->limit == STORE_NO_BUDGET ? UINT64_MAX : less(less(p->limit, p->n_used), n_reserved);
}

uint64_t auth_budget_left(struct auth_key *k, int64_t now_s)
{
    struct period periods[MAX_PERIODS];
    uint64_t least = UINT64_MAX;
    size_t n_periods = list_periods(k, now_s, periods);
    for (size_t i = 0; i < n_periods; i++) {
        uint64_t left = left_of(&periods[i], k->n_reserved);
        least = left < least ? left : least;
    }
    return least;
}

static void add(uint64_t *to, uint64_t n)
{
    *to = n < UINT64_MAX - *to ? *to + n : UINT64_MAX;
}

static void use_of_day(struct auth_key *k, uint64_t n, int64_t now_s)
{
    add(used_of(&k->day, day_of(now_s)), n);
}

static void use_of_month(struct auth_key *k, uint64_t n, int64_t now_s)
{
    add(used_of(&k->month, month_of(now_s)), n);
}

void auth_budget_use(struct auth_key *k, uint64_t n, int64_t now_s)
{
    if (k->parent != NULL) {
        add(&k->n_used, n);
        return;
    }
    use_of_day(k, n, now_s);
    use_of_month(k, n, now_s);
}

/* --- refusing */

/* "; the next ones come at ...", if they do. */
static void print_next(const struct period *p, char out[64])
{
    struct tm t;
    time_t when = (time_t)p->next_s;
    out[0] = '\0';
    if (p->next_s != STORE_NEVER && gmtime_r(&when, &t) != NULL) {
        strftime(out, 64, "; the next ones come at %Y-%m-%dT%H:%M:%SZ", &t);
    }
}

/* What others have reserved may come back any moment; the next day or month comes when it comes,
 * which hardly any client waits for. */
static bool refuse(const struct auth_key *k, const struct period *p, uint64_t n, int64_t now_s,
                   struct api_error *error)
{
    char next[64];
    print_next(p, next);
    api_error_set(error, API_ERROR_QUOTA, NULL,
                  "You exceeded your current quota: the request may take %llu tokens, of the %llu "
                  "that key %s has %s %llu are left%s%s",
                  (unsigned long long)n, (unsigned long long)p->limit, k->row.id, p->name,
                  (unsigned long long)left_of(p, k->n_reserved),
                  k->n_reserved > 0 ? ", while others of its requests run" : "", next);
    bool comes_back = n <= less(p->limit, p->n_used);
    bool comes_soon = n <= p->limit && p->next_s - now_s <= ESTIMATE_MOST_RETRY_S;
    error->is_final = !comes_back && !comes_soon;
    return error->is_final ? false
                           : auth_refuse_for(error, comes_back ? 0.0 : (double)(p->next_s - now_s));
}

bool auth_budget_check(struct auth_key *k, uint64_t n, int64_t now_s, struct api_error *error)
{
    struct period periods[MAX_PERIODS];
    size_t n_periods = list_periods(k, now_s, periods);
    for (size_t i = 0; i < n_periods; i++) {
        if (n > left_of(&periods[i], k->n_reserved)) {
            return refuse(k, &periods[i], n, now_s, error);
        }
    }
    return true;
}

/* --- the beginning */

const char *auth_find_budget(const struct auth *a, int64_t now_s)
{
    for (size_t i = 0; i < a->n_keys; i++) {
        const struct store_key *row = &a->keys[i]->row;
        bool counts = !a->keys[i]->is_gone && row->revoked == STORE_NEVER && row->expires > now_s;
        if (counts &&
            (row->tokens_per_day != STORE_NO_BUDGET || row->tokens_per_month != STORE_NO_BUDGET)) {
            return row->id;
        }
    }
    return NULL;
}

static struct auth_key *find_key(const struct auth *a, const struct usage_sums_row *row)
{
    return row->sum.key.n == SECRET_ID_DIGITS ? auth_find(a, SECRET_OF_STORE, row->key) : NULL;
}

struct stretch {
    int64_t from_s, until_s;
    void (*use)(struct auth_key *k, uint64_t n, int64_t now_s);
};

static bool count(struct auth *a, struct store *s, const struct stretch *stretch, int64_t now_s,
                  struct error *e)
{
    struct usage_sums u;
    usage_sums_init(&u);
    bool ok = usage_sums_read(&u, s,
                              &(struct store_usage_range){.from_ms = stretch->from_s * 1000,
                                                          .until_ms = stretch->until_s * 1000,
                                                          .by_key = true},
                              NULL, e);
    for (size_t i = 0; ok && i < u.n; i++) {
        const struct store_usage_sum *sum = &u.rows[i].sum;
        struct auth_key *k = find_key(a, &u.rows[i]);
        if (k != NULL) {
            stretch->use(k, sum->n_prompt + sum->n_completion, now_s);
        }
    }
    usage_sums_finish(&u);
    return ok;
}

static bool count_all(struct auth *a, struct store *s, int64_t now_s, struct error *e)
{
    int64_t day = day_of(now_s), month = month_of(now_s);
    const struct stretch of_day = {begin_of_day(day), begin_of_day(day + 1), use_of_day};
    const struct stretch of_month = {begin_of_month(month), begin_of_month(month + 1),
                                     use_of_month};
    return count(a, s, &of_month, now_s, e) && count(a, s, &of_day, now_s, e);
}

bool auth_count_used(struct auth *a, const char *ledger_path, int64_t now_s, uint32_t patience_ms,
                     struct error *e)
{
    struct store_options options = {
        .schema = &store_usage_schema, .path = ledger_path, .patience_ms = patience_ms};
    struct error why = {0};
    struct store *s = store_open(&options, &why);
    bool ok = s != NULL ? count_all(a, s, now_s, &why) : why.code == ERROR_NOT_FOUND;
    store_close(s);
    return ok || error_set(e, why.code, "%s", why.text);
}
