/* usage_print.c - sums as a table, as CSV (RFC 4180), as JSON; a row at a time, however many days
 * there are. */
#include "base/mem.h"
#include "cmd/print.h"
#include "cmd/usage.h"
#include "store/store_keys.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

enum { NAME_CHARS = 24, PATIENCE_MS = 500 };

/* --- days */

void usage_print_day(int64_t ms, char out[USAGE_DAY_BYTES])
{
    struct tm t;
    time_t seconds = (time_t)(ms / 1000);
    if (gmtime_r(&seconds, &t) == NULL || strftime(out, USAGE_DAY_BYTES, "%Y-%m-%d", &t) == 0) {
        snprintf(out, USAGE_DAY_BYTES, "?"); /* a year of many digits: somebody's hand */
    }
}

bool usage_parse_day(const char *text, int64_t *out_ms)
{
    char again[USAGE_DAY_BYTES];
    struct tm t = {0};
    const char *end = strptime(text, "%Y-%m-%d", &t);
    int64_t ms = (int64_t)timegm(&t) * 1000;
    if (end == NULL || *end != '\0' || ms < 0) {
        return false;
    }
    usage_print_day(ms, again);
    if (strcmp(again, text) != 0) {
        return false;
    }
    *out_ms = ms;
    return true;
}

/* --- names of keys */

struct usage_name {
    char id[SECRET_ID_BYTES];
    char *name;
};

static bool take_name(void *argument, struct store_key *k, struct error *e)
{
    struct usage_names *names = argument;
    if (names->n == names->capacity) {
        size_t capacity = names->capacity > 0 ? 2 * names->capacity : 64;
        void *grown = mem_resize(names->all, capacity, sizeof *names->all, "names of keys", e);
        if (grown == NULL) {
            return false;
        }
        names->all = grown;
        names->capacity = capacity;
    }
    struct usage_name *name = &names->all[names->n++];
    memcpy(name->id, k->id, sizeof name->id);
    name->name = k->name;
    k->name = NULL;
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct usage_name *)a)->id, ((const struct usage_name *)b)->id);
}

bool usage_names_read(struct usage_names *names, const char *path, struct error *e)
{
    const struct store_options options = {
        .schema = &store_keys_schema, .path = path, .patience_ms = PATIENCE_MS};
    struct error why = {0};
    struct store *s = store_open(&options, &why);
    bool ok = s != NULL ? store_keys_walk(s, take_name, names, &why) : why.code == ERROR_NOT_FOUND;
    store_close(s);
    if (names->n > 0) {
        qsort(names->all, names->n, sizeof *names->all, compare_names);
    }
    return ok || error_set(e, why.code, "%s", why.text);
}

void usage_names_finish(struct usage_names *names)
{
    for (size_t i = 0; i < names->n; i++) {
        mem_free(names->all[i].name);
    }
    mem_free(names->all);
    *names = (struct usage_names){0};
}

struct str usage_names_find(const struct usage_names *names, struct str id)
{
    struct usage_name wanted = {0};
    struct usage_name *found = NULL;
    if (id.n == SECRET_ID_DIGITS && names->n > 0) {
        memcpy(wanted.id, id.p, id.n);
        found = bsearch(&wanted, names->all, names->n, sizeof wanted, compare_names);
    }
    return found != NULL && found->name != NULL ? str_from(found->name) : STR("");
}

/* --- numbers */

enum { N_NUMBERS = 6 };
static const char *const number_names[N_NUMBERS] = {
    "requests", "prompt_tokens", "cached_tokens", "completion_tokens", "filtered", "failed"};

static void list_numbers(const struct store_usage_sum *sum, uint64_t out[N_NUMBERS])
{
    out[0] = sum->n_requests;
    out[1] = sum->n_prompt;
    out[2] = sum->n_cached;
    out[3] = sum->n_completion;
    out[4] = sum->n_filtered;
    out[5] = sum->n_failed;
}

static bool add_total(uint64_t *to, uint64_t n, struct error *e)
{
    if (n > (uint64_t)INT64_MAX - *to) {
        return error_set(e, ERROR_FORMAT, "a total above 2^63 - 1");
    }
    *to += n;
    return true;
}

static bool add_to_total(struct store_usage_sum *to, const struct store_usage_sum *sum,
                         struct error *e)
{
    return add_total(&to->n_requests, sum->n_requests, e) &&
           add_total(&to->n_prompt, sum->n_prompt, e) &&
           add_total(&to->n_cached, sum->n_cached, e) &&
           add_total(&to->n_completion, sum->n_completion, e) &&
           add_total(&to->n_filtered, sum->n_filtered, e) &&
           add_total(&to->n_failed, sum->n_failed, e);
}

/* --- a table */

/* At most NAME_CHARS of it, and spaces up to n_chars. */
static void print_padded(struct str s, size_t n_chars)
{
    char text[NAME_CHARS * 16] = ""; /* no character is shown with more than 10 */
    size_t n_shown = 0;
    FILE *f = fmemopen(text, sizeof text, "w");
    if (f != NULL) {
        print_escaped(f, s, NAME_CHARS);
        fclose(f);
    }
    for (const char *p = text; *p != '\0'; p++) {
        n_shown += ((unsigned char)*p & 0xC0) != 0x80;
    }
    printf("%s%*s", text, n_shown < n_chars ? (int)(n_chars - n_shown) : 0, "");
}

static void print_head(const struct usage_printer *p)
{
    printf("%s%s    REQUESTS        PROMPT        CACHED    COMPLETION    FILTERED      FAILED",
           p->by_day ? "DAY         " : "", p->by_key ? "KEY         " : "");
    if (p->by_key) {
        printf("  %-*s", p->by_model ? NAME_CHARS : 0, "NAME");
    }
    printf("%s\n", p->by_model ? "  MODEL" : "");
}

static void print_numbers(const struct store_usage_sum *sum)
{
    static const int widths[N_NUMBERS] = {12, 14, 14, 14, 12, 12};
    uint64_t numbers[N_NUMBERS];
    list_numbers(sum, numbers);
    for (int i = 0; i < N_NUMBERS; i++) {
        printf("%*" PRIu64, widths[i], numbers[i]);
    }
}

static void print_line(const struct usage_printer *p, const char *day,
                       const struct store_usage_sum *sum)
{
    if (p->by_day) {
        printf("%-10s  ", day);
    }
    if (p->by_key) {
        print_padded(sum->key.n > 0 ? sum->key : STR("-"), SECRET_ID_DIGITS);
    }
    print_numbers(sum);
    if (p->by_key) {
        struct str name = usage_names_find(p->names, sum->key);
        printf("  ");
        if (p->by_model) {
            print_padded(name, NAME_CHARS);
        } else {
            print_escaped(stdout, name, SIZE_MAX);
        }
    }
    if (p->by_model) {
        printf("  ");
        print_escaped(stdout, sum->model, SIZE_MAX);
    }
    putchar('\n');
}

static void print_total(const struct usage_printer *p)
{
    printf("%-*s", (p->by_day ? 12 : 0) + (p->by_key ? SECRET_ID_DIGITS : 0),
           p->by_day || p->by_key ? "total" : "");
    print_numbers(&p->total);
    printf("%s\n", p->by_day || p->by_key ? "" : "  total");
}

/* --- CSV */

/* Control characters as on a terminal, where it may be looked at. */
static void print_csv_text(struct str s)
{
    putchar('"');
    for (const char *quote; s.n > 0 && (quote = memchr(s.p, '"', s.n)) != NULL;) {
        struct str before = {s.p, (size_t)(quote - s.p)};
        print_escaped(stdout, before, SIZE_MAX);
        printf("\"\"");
        s = str_skip(s, before.n + 1);
    }
    print_escaped(stdout, s, SIZE_MAX);
    putchar('"');
}

static void print_csv_head(const struct usage_printer *p)
{
    printf("%s%s%s", p->by_day ? "day," : "", p->by_key ? "key,name," : "",
           p->by_model ? "model," : "");
    for (int i = 0; i < N_NUMBERS; i++) {
        printf("%s%s", i > 0 ? "," : "", number_names[i]);
    }
    printf("\r\n");
}

static void print_csv_row(const struct usage_printer *p, const char *day,
                          const struct store_usage_sum *sum)
{
    uint64_t numbers[N_NUMBERS];
    list_numbers(sum, numbers);
    if (p->by_day) {
        printf("%s,", day);
    }
    if (p->by_key) {
        print_csv_text(sum->key);
        putchar(',');
        print_csv_text(usage_names_find(p->names, sum->key));
        putchar(',');
    }
    if (p->by_model) {
        print_csv_text(sum->model);
        putchar(',');
    }
    for (int i = 0; i < N_NUMBERS; i++) {
        printf("%s%" PRIu64, i > 0 ? "," : "", numbers[i]);
    }
    printf("\r\n");
}

/* --- JSON */

static void print_json_row(const struct usage_printer *p, const char *day,
                           const struct store_usage_sum *sum)
{
    uint64_t numbers[N_NUMBERS];
    list_numbers(sum, numbers);
    printf("%s\n  {", p->has_rows ? "," : "");
    if (p->by_day) {
        printf("\"day\": \"%s\", ", day);
    }
    if (p->by_key && sum->key.n == 0) {
        printf("\"key\": null, \"name\": null, ");
    } else if (p->by_key) {
        printf("\"key\": ");
        print_json_text(stdout, sum->key);
        printf(", \"name\": ");
        print_json_text(stdout, usage_names_find(p->names, sum->key));
        printf(", ");
    }
    if (p->by_model) {
        printf("\"model\": ");
        print_json_text(stdout, sum->model);
        printf(", ");
    }
    for (int i = 0; i < N_NUMBERS; i++) {
        printf("%s\"%s\": %" PRIu64, i > 0 ? ", " : "", number_names[i], numbers[i]);
    }
    putchar('}');
}

/* --- all of it */

void usage_print_begin(const struct usage_printer *p)
{
    if (p->form == USAGE_TABLE) {
        print_head(p);
    } else if (p->form == USAGE_CSV) {
        print_csv_head(p);
    } else {
        putchar('[');
    }
}

bool usage_print_row(struct usage_printer *p, const char *day, const struct store_usage_sum *sum,
                     struct error *e)
{
    if (p->form == USAGE_TABLE) {
        print_line(p, day, sum);
    } else if (p->form == USAGE_CSV) {
        print_csv_row(p, day, sum);
    } else {
        print_json_row(p, day, sum);
    }
    p->has_rows = true;
    return add_to_total(&p->total, sum, e);
}

void usage_print_end(const struct usage_printer *p)
{
    if (p->form == USAGE_TABLE) {
        print_total(p);
    } else if (p->form == USAGE_JSON) {
        printf("%s]\n", p->has_rows ? "\n" : "");
    }
}
