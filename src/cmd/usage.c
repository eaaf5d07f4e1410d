/* usage.c - `puna usage`: what was used, from the ledger that `puna serve` keeps, and its end. */
#include "cmd/usage.h"

#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/print.h"
#include "store/secret.h"

#include <string.h>
#include <time.h>

enum {
    PATIENCE_MS = 5000,
    MOST_FILTERS = 64,
    FORGET_AT_ONCE = 2000, /* rows; others who write wait so long */
    FORGET_PAUSE_MS = 120  /* SQLite looks for its turn every 100 ms */
};

static const char default_since[] = "30d";

struct filter {
    struct str names[MOST_FILTERS];
    size_t n;
};

struct usage {
    const char *store, *ledger; /* options; NULL: not given */
    const char *since, *until, *by, *before, *older_than;
    struct filter keys, models;
    bool json, csv;
    struct usage_printer printer;
    struct store_usage_range range;
    char *store_path, *ledger_path;
    int64_t now_ms;
};

/* --- words */

static bool parse_time(const struct usage *u, const char *text, int64_t *out_ms, struct error *e)
{
    int64_t seconds;
    if (usage_parse_day(text, out_ms)) {
        return true;
    }
    if (!cmd_parse_duration(text, &seconds, NULL)) {
        return error_set(e, ERROR_USAGE, "'%s' is neither a day like 2026-11-26 nor a time like 7d",
                         text);
    }
    *out_ms = seconds * 1000 < u->now_ms ? u->now_ms - seconds * 1000 : 0;
    if (seconds % 86400 == 0) { /* whole days begin at midnight */
        *out_ms -= *out_ms % USAGE_DAY_MS;
    }
    return true;
}

static bool parse_range(struct usage *u, struct error *e)
{
    struct store_usage_range *r = &u->range;
    r->until_ms = INT64_MAX;
    if (!parse_time(u, u->since != NULL ? u->since : default_since, &r->from_ms, e)) {
        return error_prefix(e, "option --since");
    }
    if (u->until != NULL && !parse_time(u, u->until, &r->until_ms, e)) {
        return error_prefix(e, "option --until");
    }
    return r->from_ms < r->until_ms ||
           error_set(e, ERROR_USAGE, "option --until: '%s' is not after --since %s", u->until,
                     u->since != NULL ? u->since : default_since);
}

static bool parse_by(struct usage *u, struct error *e)
{
    struct usage_printer *p = &u->printer;
    const struct {
        const char *name;
        bool *target;
    } columns[] = {{"day", &p->by_day}, {"key", &p->by_key}, {"model", &p->by_model}};
    struct str rest = str_from(u->by != NULL ? u->by : "day");
    for (bool more = true; more;) {
        const char *comma = memchr(rest.p, ',', rest.n);
        struct str word = {rest.p, comma != NULL ? (size_t)(comma - rest.p) : rest.n};
        bool found = false;
        for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
            if (str_eq(word, str_from(columns[i].name))) {
                found = !*columns[i].target;
                *columns[i].target = true;
            }
        }
        if (!found) {
            return error_set(e, ERROR_USAGE,
                             "option --by: '%s' is not some of day, key and model, once each and "
                             "with commas between",
                             u->by);
        }
        more = comma != NULL;
        rest = more ? str_skip(rest, word.n + 1) : rest;
    }
    u->range.by_key = p->by_key;
    u->range.by_model = p->by_model;
    return true;
}

static bool add_filter(struct filter *f, struct str name, struct error *e)
{
    if (f->n == MOST_FILTERS) {
        return error_set(e, ERROR_USAGE, "more than %d", MOST_FILTERS);
    }
    f->names[f->n++] = name;
    return true;
}

/* What is no id may be a secret: no error repeats it. */
static bool add_key(void *target, const char *value, struct error *e)
{
    bool is_none = strcmp(value, "none") == 0;
    if (!is_none && !secret_is_id(str_from(value))) {
        return error_set(e, ERROR_USAGE,
                         "what it was given is no id, which is 12 hexadecimal digits (puna keys "
                         "list shows all), nor none");
    }
    return add_filter(target, is_none ? STR("") : str_from(value), e);
}

static bool add_model(void *target, const char *value, struct error *e)
{
    return add_filter(target, str_from(value), e);
}

/* --- verbs */

static struct store *open_ledger(const struct usage *u, struct error *e)
{
    const struct store_options options = {
        .schema = &store_usage_schema, .path = u->ledger_path, .patience_ms = PATIENCE_MS};
    struct store *s = store_open(&options, e);
    if (s == NULL && e->code == ERROR_NOT_FOUND) {
        error_set(e, ERROR_NOT_FOUND,
                  "%s: there is no ledger of usage, which puna serve makes; another one is named "
                  "with --usage-store",
                  u->ledger_path);
    }
    return s;
}

static bool print_sums(struct usage *u, const struct usage_sums *sums, const char *day,
                       struct error *e)
{
    for (size_t i = 0; i < sums->n; i++) {
        if (!usage_print_row(&u->printer, day, &sums->rows[i].sum, e)) {
            return false;
        }
    }
    return true;
}

static bool print_days(struct usage *u, struct store *s, struct usage_sums *sums, struct error *e)
{
    struct store_usage_range day = u->range;
    char name[USAGE_DAY_BYTES];
    for (;;) {
        int64_t first;
        if (!store_usage_find_first(s, day.from_ms, &first, e)) {
            return false;
        }
        if (first >= u->range.until_ms) {
            return true;
        }
        int64_t end = first - first % USAGE_DAY_MS + USAGE_DAY_MS;
        day.from_ms = first;
        day.until_ms = end < u->range.until_ms ? end : u->range.until_ms;
        usage_sums_clear(sums);
        usage_print_day(first, name);
        if (!usage_sums_read(sums, s, &day, NULL, e) || !print_sums(u, sums, name, e)) {
            return false;
        }
        day.from_ms = day.until_ms;
    }
}

/* Names are an extra: sums are told without them, too. */
static void read_names(const struct usage *u, struct usage_names *names)
{
    struct error e = {0};
    char text[ERROR_TEXT_BYTES + 32];
    if (u->printer.by_key && !usage_names_read(names, u->store_path, &e)) {
        snprintf(text, sizeof text, "keys have no names here: %s", e.text);
        print_warning(text);
    }
}

static bool report(struct usage *u, struct error *e)
{
    struct usage_sums sums;
    struct usage_names names = {0};
    struct usage_printer *p = &u->printer;
    p->form = u->json ? USAGE_JSON : u->csv ? USAGE_CSV : USAGE_TABLE;
    if (u->json && u->csv) {
        return error_set(e, ERROR_USAGE, "one of --json and --csv alone is possible");
    }
    if (!parse_range(u, e) || !parse_by(u, e)) {
        return false;
    }
    u->range.keys = u->keys.names;
    u->range.n_keys = u->keys.n;
    u->range.models = u->models.names;
    u->range.n_models = u->models.n;
    struct store *s = open_ledger(u, e);
    if (s == NULL) {
        return false;
    }
    read_names(u, &names);
    p->names = &names;
    usage_sums_init(&sums);
    usage_print_begin(p);
    bool ok = p->by_day
                  ? print_days(u, s, &sums, e)
                  : usage_sums_read(&sums, s, &u->range, NULL, e) && print_sums(u, &sums, "", e);
    if (ok) {
        usage_print_end(p);
    }
    usage_sums_finish(&sums);
    usage_names_finish(&names);
    store_close(s);
    return ok;
}

static bool parse_before(const struct usage *u, int64_t *out_ms, struct error *e)
{
    int64_t seconds;
    if ((u->before == NULL) == (u->older_than == NULL)) {
        return error_set(e, ERROR_USAGE, "forget needs one of --before and --older-than");
    }
    if (u->before != NULL) {
        return usage_parse_day(u->before, out_ms) ||
               error_set(e, ERROR_USAGE, "option --before: '%s' is not a day like 2026-11-26",
                         u->before);
    }
    if (!cmd_parse_duration(u->older_than, &seconds, e)) {
        return error_prefix(e, "option --older-than");
    }
    *out_ms = u->now_ms - seconds * 1000;
    return true;
}

/* Others who write have their turn between parts. */
static bool forget(struct usage *u, struct error *e)
{
    int64_t before_ms;
    uint64_t n, n_all = 0;
    if (!parse_before(u, &before_ms, e)) {
        return false;
    }
    struct store *s = open_ledger(u, e);
    bool ok = s != NULL;
    do {
        ok = ok && store_usage_forget(s, before_ms, FORGET_AT_ONCE, &n, e);
        n_all += ok ? n : 0;
        if (ok && n == FORGET_AT_ONCE) {
            nanosleep(&(struct timespec){.tv_nsec = FORGET_PAUSE_MS * 1000000L}, NULL);
        }
    } while (ok && n == FORGET_AT_ONCE);
    store_close(s);
    if (ok || n_all > 0) {
        printf("forgot %llu request%s\n", (unsigned long long)n_all, n_all == 1 ? "" : "s");
    }
    return ok;
}

static bool vacuum(struct usage *u, struct error *e)
{
    struct store_stamp before, after;
    struct store *s = open_ledger(u, e);
    if (s == NULL) {
        return false;
    }
    bool ok = store_look(u->ledger_path, &before, e) && store_usage_vacuum(s, e) &&
              store_look(u->ledger_path, &after, e);
    store_close(s);
    if (ok) {
        printf("%llu bytes, before %llu\n", (unsigned long long)after.n_bytes,
               (unsigned long long)before.n_bytes);
    }
    return ok;
}

/* --- the command */

struct verb {
    const char *name; /* NULL: without a word */
    bool (*run)(struct usage *u, struct error *e);
};

static const struct verb verbs[] = {{NULL, report}, {"forget", forget}, {"vacuum", vacuum}};

/* Nothing that was said is without effect. */
static bool check_options(const struct usage *u, const struct verb *v, struct error *e)
{
    const struct {
        const char *name;
        bool is_given;
        bool (*verb)(struct usage *u, struct error *e);
    } options[] = {
        {"since", u->since != NULL, report},
        {"until", u->until != NULL, report},
        {"by", u->by != NULL, report},
        {"key", u->keys.n > 0, report},
        {"model", u->models.n > 0, report},
        {"json", u->json, report},
        {"csv", u->csv, report},
        {"before", u->before != NULL, forget},
        {"older-than", u->older_than != NULL, forget},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (options[i].is_given && options[i].verb != v->run) {
            return error_set(e, ERROR_USAGE, "option --%s changes nothing %s%s", options[i].name,
                             v->name != NULL ? "with " : "without forget",
                             v->name != NULL ? v->name : "");
        }
    }
    return true;
}

static const struct verb *find_verb(const char *name, struct error *e)
{
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        const char *own = verbs[i].name;
        if (own == name || (own != NULL && name != NULL && strcmp(own, name) == 0)) {
            return &verbs[i];
        }
    }
    error_set(e, ERROR_USAGE, "'%s' is not forget or vacuum (see puna usage --help)", name);
    return NULL;
}

int cmd_usage(const struct cmd_env *env, int argc, char **argv)
{
    static const struct options_usage usage = {
        .command = "usage",
        .synopsis = "[OPTION]...\nforget --before=DAY|--older-than=TIME\nvacuum",
        .about =
            "Print what was used: requests and tokens, by day, key and model, from the ledger\n"
            "that puna serve keeps. forget takes old requests out of it, vacuum gives their\n"
            "space back. All days are in UTC.",
    };
    struct usage u = {.now_ms = (int64_t)time(NULL) * 1000};
    const char *operand;
    const struct option_spec specs[] = {
        {OPTION_TEXT, "store", 0, NULL, "FILE", &u.store, 0, 0,
         "where the keys are kept, for their names (default:\n$PUNA_STORE, else puna/store.db in "
         "$XDG_DATA_HOME or\n~/.local/share)",
         NULL},
        {OPTION_TEXT, "usage-store", 0, NULL, "FILE", &u.ledger, 0, 0,
         "the ledger (default: the file of the keys with \"-usage\"\nbehind its name)", NULL},
        {OPTION_HEADING, .help = "What is printed"},
        {OPTION_TEXT, "since", 0, NULL, "TIME", &u.since, 0, 0,
         "from a day on, like 2026-11-26, or from so long ago: 12h,\n7d, 4w; d and w: from the "
         "beginning of that day\n(default: 30d)",
         NULL},
        {OPTION_TEXT, "until", 0, NULL, "TIME", &u.until, 0, 0,
         "before that day, or before so long ago (default: now)", NULL},
        {OPTION_TEXT, "by", 0, NULL, "LIST", &u.by, 0, 0,
         "a row for each day, key, model, or for each of several:\nday,key (default: day)", NULL},
        {OPTION_CALLS, "key", 0, NULL, "ID", &u.keys, 0, 0,
         "of this key alone, or none: without a key; may be given\nmany times", add_key},
        {OPTION_CALLS, "model", 0, NULL, "NAME", &u.models, 0, 0,
         "of this model alone; may be given many times", add_model},
        {OPTION_FLAG, "csv", 0, NULL, NULL, &u.csv, 0, 0, "print CSV", NULL},
        {OPTION_FLAG, "json", 0, NULL, NULL, &u.json, 0, 0, "print JSON", NULL},
        {OPTION_HEADING, .help = "What is forgotten (forget)"},
        {OPTION_TEXT, "before", 0, NULL, "DAY", &u.before, 0, 0,
         "requests that ended before that day", NULL},
        {OPTION_TEXT, "older-than", 0, NULL, "TIME", &u.older_than, 0, 0,
         "requests that ended so long ago: 90d, 52w", NULL},
    };
    OPTIONS_OR_RETURN(&usage, specs, argc, argv, &operand, 1);
    struct error e = {0};
    const struct verb *v = find_verb(operand, &e);
    bool ok = v != NULL && check_options(&u, v, &e) &&
              (v->run != report || cmd_find_store(env, u.store, &u.store_path, &e)) &&
              cmd_find_usage_store(env, u.store, u.ledger, &u.ledger_path, &e) && v->run(&u, &e);
    mem_free(u.store_path);
    mem_free(u.ledger_path);
    return ok ? cmd_finish_output("usage", 0) : cmd_fail("usage", &e);
}
