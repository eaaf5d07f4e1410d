/* keys_print.c - keys as a table, as lines, as JSON. Nothing here knows a secret but the one that
 * is shown once. */
#include "base/mem.h"
#include "cmd/keys.h"
#include "cmd/print.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

enum { TIME_BYTES = 32, SCOPES_BYTES = 96, MAX_LIMITS_BYTES = 256 };

static const char *state_of(const struct store_key *k, int64_t now)
{
    return k->revoked != STORE_NEVER ? "revoked" : k->expires <= now ? "expired" : "active";
}

/* "2026-11-26T10:00:00Z", or its first n characters; "never". */
static void format_time(int64_t seconds, char out[TIME_BYTES])
{
    struct tm t;
    time_t when = (time_t)seconds;
    if (seconds == STORE_NEVER || gmtime_r(&when, &t) == NULL ||
        strftime(out, TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &t) == 0) {
        snprintf(out, TIME_BYTES, "never");
    }
}

/* As few names as say it. */
static void format_scopes(unsigned scopes, char out[SCOPES_BYTES])
{
    unsigned bits;
    const char *name;
    size_t n = 0, n_names = 0;
    out[0] = '\0';
    while (store_scope_name(n_names, &bits) != NULL) {
        n_names++;
    }
    for (size_t i = n_names; i-- > 0 && scopes != 0;) {
        name = store_scope_name(i, &bits);
        if ((scopes & bits) == bits) {
            int more = snprintf(out + n, SCOPES_BYTES - n, "%s%s", n > 0 ? "," : "", name);
            n += more > 0 ? (size_t)more : 0;
            scopes &= ~bits;
        }
    }
}

/* --- text */

static size_t count_items(const char *list)
{
    struct str rest = str_from(list), item;
    size_t n = 0;
    while (store_next_item(&rest, &item)) {
        n++;
    }
    return n;
}

static bool add_limit(struct buf *out, const char *name, uint64_t value, struct error *e)
{
    return buf_printf(out, e, "%s%s %" PRIu64, out->n > 0 ? ", " : "", name, value);
}

/* "rpm 60, models 2"; "-" for none. */
static bool list_limits(const struct store_key *k, struct buf *out, struct error *e)
{
    const struct {
        const char *name;
        uint64_t value, none;
    } limits[] = {
        {"rpm", k->requests_per_minute, STORE_NO_LIMIT},
        {"tpm", k->tokens_per_minute, STORE_NO_LIMIT},
        {"day", k->tokens_per_day, STORE_NO_BUDGET},
        {"month", k->tokens_per_month, STORE_NO_BUDGET},
        {"concurrent", k->concurrent, STORE_NO_LIMIT},
        {"models", count_items(k->models), 0},
        {"origins", count_items(k->origins), 0},
    };
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof limits / sizeof limits[0]; i++) {
        ok =
            limits[i].value == limits[i].none || add_limit(out, limits[i].name, limits[i].value, e);
    }
    if (ok && k->priority != STORE_PRIORITY_NORMAL) {
        ok = buf_printf(out, e, "%s%s priority", out->n > 0 ? ", " : "",
                        store_priority_name(k->priority));
    }
    return ok && (out->n > 0 || buf_append_byte(out, '-', e));
}

static void print_items(const char *title, const char *list, const char *none)
{
    struct str rest = str_from(list), item;
    printf("%s", title);
    if (rest.n == 0) {
        printf("%s\n", none);
    }
    for (bool first = true; store_next_item(&rest, &item); first = false) {
        printf("%*s", first ? 0 : (int)strlen(title), "");
        print_escaped(stdout, item, SIZE_MAX);
        putchar('\n');
    }
}

static void print_number(const char *title, uint64_t value, uint64_t none)
{
    if (value == none) {
        printf("%sno limit\n", title);
    } else {
        printf("%s%" PRIu64 "\n", title, value);
    }
}

void keys_print_text(const struct store_key *k, int64_t now)
{
    char created[TIME_BYTES], expires[TIME_BYTES], revoked[TIME_BYTES], old[TIME_BYTES];
    char scopes[SCOPES_BYTES];
    format_time(k->created, created);
    format_time(k->expires, expires);
    format_time(k->revoked, revoked);
    format_time(k->old_until, old);
    format_scopes(k->scopes, scopes);
    printf("id                   %s\nname                 ", k->id);
    print_escaped(stdout, str_from(k->name), SIZE_MAX);
    printf("\nstate                %s\ncreated              %s\nexpires              %s\n"
           "revoked              %s\nscopes               %s\npriority             %s\n",
           state_of(k, now), created, expires, revoked, scopes, store_priority_name(k->priority));
    print_number("requests a minute    ", k->requests_per_minute, STORE_NO_LIMIT);
    print_number("tokens a minute      ", k->tokens_per_minute, STORE_NO_LIMIT);
    print_number("tokens a day         ", k->tokens_per_day, STORE_NO_BUDGET);
    print_number("tokens a month       ", k->tokens_per_month, STORE_NO_BUDGET);
    print_number("requests at once     ", k->concurrent, STORE_NO_LIMIT);
    print_items("models               ", k->models, "all");
    print_items("origins              ", k->origins, "any, or none");
    if (k->old_until > now) {
        printf("old secret until     %s\n", old);
    }
}

/* --- JSON */

static json_t *json_time(int64_t seconds)
{
    return seconds == STORE_NEVER ? json_null() : json_integer(seconds);
}

static json_t *json_limit(uint64_t value, uint64_t none)
{
    return value == none ? json_null() : json_integer((json_int_t)value);
}

static json_t *json_items(const char *list)
{
    struct str rest = str_from(list), item;
    json_t *array = json_array();
    while (array != NULL && store_next_item(&rest, &item)) {
        if (json_array_append_new(array, print_json_string(item)) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *json_scopes(unsigned scopes)
{
    unsigned bits;
    const char *name;
    json_t *array = json_array();
    for (size_t i = 0; array != NULL && (name = store_scope_name(i, &bits)) != NULL; i++) {
        bool is_one = (bits & (bits - 1)) == 0;
        if (is_one && (scopes & bits) != 0 &&
            json_array_append_new(array, json_string(name)) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* NULL when memory runs out. */
static json_t *json_of(const struct store_key *k, const char *secret)
{
    const struct {
        const char *name;
        json_t *value;
    } members[] = {
        {"id", json_string(k->id)},
        {"name", print_json_string(str_from(k->name))},
        {"created", json_integer(k->created)},
        {"expires", json_time(k->expires)},
        {"revoked", json_time(k->revoked)},
        {"scopes", json_scopes(k->scopes)},
        {"priority", json_string(store_priority_name(k->priority))},
        {"requests_per_minute", json_limit(k->requests_per_minute, STORE_NO_LIMIT)},
        {"tokens_per_minute", json_limit(k->tokens_per_minute, STORE_NO_LIMIT)},
        {"tokens_per_day", json_limit(k->tokens_per_day, STORE_NO_BUDGET)},
        {"tokens_per_month", json_limit(k->tokens_per_month, STORE_NO_BUDGET)},
        {"concurrent", json_limit(k->concurrent, STORE_NO_LIMIT)},
        {"models", json_items(k->models)},
        {"origins", json_items(k->origins)},
        {"old_secret_until", k->old_until > 0 ? json_integer(k->old_until) : json_null()},
    };
    json_t *object = json_object();
    bool ok = object != NULL;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        ok = json_object_set_new(object, members[i].name, members[i].value) == 0 && ok;
    }
    ok = ok && (secret == NULL || json_object_set_new(object, "secret", json_string(secret)) == 0);
    if (!ok) {
        json_decref(object);
        return NULL;
    }
    return object;
}

bool keys_print_json(const struct store_key *k, const char *secret, struct error *e)
{
    return print_json_document(json_of(k, secret), JSON_INDENT(2), e);
}

/* --- all of them */

struct printing {
    bool json;
    json_t *array;
    int64_t now;
};

static bool print_row(const struct store_key *k, int64_t now, struct error *e)
{
    char created[TIME_BYTES], expires[TIME_BYTES], scopes[SCOPES_BYTES];
    struct buf limits;
    buf_init(&limits, MAX_LIMITS_BYTES);
    bool ok = list_limits(k, &limits, e);
    format_time(k->created, created);
    format_time(k->expires, expires);
    format_scopes(k->scopes, scopes);
    if (ok) {
        printf("%s  %-7s  %.10s  %-10.10s  %-16s  %-24.*s  ", k->id, state_of(k, now), created,
               expires, scopes, STR_ARG(buf_str(&limits)));
        print_escaped(stdout, str_from(k->name), SIZE_MAX);
        putchar('\n');
    }
    buf_finish(&limits);
    return ok;
}

static bool print_one(void *argument, struct store_key *k, struct error *e)
{
    struct printing *p = argument;
    if (!p->json) {
        return print_row(k, p->now, e);
    }
    return json_array_append_new(p->array, json_of(k, NULL)) == 0 ||
           error_set(e, ERROR_MEMORY, "no memory for a list of keys");
}

bool keys_print_list(struct store *s, bool json, int64_t now, struct error *e)
{
    struct printing p = {json, json ? json_array() : NULL, now};
    if (!json && s != NULL) {
        printf("ID            STATE    CREATED     EXPIRES     SCOPES            LIMITS            "
               "        NAME\n");
    }
    if (s != NULL && !store_keys_walk(s, print_one, &p, e)) {
        json_decref(p.array);
        return false;
    }
    return !json || print_json_document(p.array, JSON_INDENT(2), e);
}
