/* api_usage.c - a query, parameter by parameter, and buckets as OpenAI has them. */
#include "serve/api_usage.h"

#include "base/mem.h"
#include "serve/api_write.h"
#include "store/secret.h"

#include <stdio.h>

enum { MOST_S_DIGITS = 12 }; /* the year 33658 */

/* --- text */

/* %XX and '+' decoded into *to, which goes on; false for a % without two digits. */
static bool decode(struct str s, char **to, struct str *out)
{
    *out = (struct str){*to, 0};
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i] == '+' ? ' ' : s.p[i];
        if (c == '%') {
            int high = i + 2 < s.n ? str_hex_digit(s.p[i + 1]) : -1;
            int low = high >= 0 ? str_hex_digit(s.p[i + 2]) : -1;
            if (low < 0) {
                return false;
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        (*to)[out->n++] = c;
    }
    *to += out->n;
    return true;
}

/* What is up to `end`, and *rest what is behind it. */
static struct str cut(struct str *rest, char end)
{
    const char *at = rest->n > 0 ? memchr(rest->p, end, rest->n) : NULL;
    struct str first = {rest->p, at != NULL ? (size_t)(at - rest->p) : rest->n};
    *rest = str_skip(*rest, first.n + (at != NULL));
    return first;
}

/* --- parameters */

struct parsing {
    struct api_usage_query *q;
    struct api_error *error;
    struct str name, value; /* in hand; the name without "[]" */
    bool is_list;           /* "[]" was there */
    struct str page;
    int64_t limit;
    unsigned given; /* bits of the table below */
};

static bool fail(struct parsing *p, enum api_error_kind kind, const char *why)
{
    char name[API_PARAM_BYTES];
    struct str shown = str_shown(p->name);
    snprintf(name, sizeof name, "%.*s", STR_ARG(shown));
    return api_error_set(p->error, kind, name, "'%s' %s", name, why);
}

/* Decimal digits alone, few enough for no overflow. */
static bool read_int(struct str s, int64_t *out)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return false;
        }
        n = n * 10 + (s.p[i] - '0');
    }
    *out = n;
    return true;
}

static bool parse_int(struct parsing *p, int64_t *out)
{
    return (p->value.n > 0 && p->value.n <= MOST_S_DIGITS && read_int(p->value, out)) ||
           fail(p, API_ERROR_INVALID_TYPE, "is not a whole number of at most 12 digits");
}

static bool set_start(struct parsing *p)
{
    return parse_int(p, &p->q->start_s);
}

static bool set_end(struct parsing *p)
{
    return parse_int(p, &p->q->end_s);
}

static bool set_width(struct parsing *p)
{
    static const struct {
        const char *name;
        int64_t seconds;
    } widths[] = {{"1m", 60}, {"1h", 3600}, {"1d", 86400}};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        if (str_eq(p->value, str_from(widths[i].name))) {
            p->q->width_s = widths[i].seconds;
            return true;
        }
    }
    return fail(p, API_ERROR_INVALID_VALUE, "is not 1m, 1h or 1d");
}

static bool set_limit(struct parsing *p)
{
    return parse_int(p, &p->limit);
}

static bool set_page(struct parsing *p)
{
    p->page = p->value;
    return true;
}

static bool set_batch(struct parsing *p)
{
    p->q->only_batch = str_eq(p->value, STR("true"));
    return p->q->only_batch || str_eq(p->value, STR("false")) ||
           fail(p, API_ERROR_INVALID_TYPE, "is not true or false");
}

static bool add_name(struct parsing *p, struct str *names, size_t *n)
{
    if (*n == API_USAGE_MAX_NAMES) {
        return fail(p, API_ERROR_INVALID_VALUE, "has more than 100 elements");
    }
    names[(*n)++] = p->value;
    return true;
}

static bool add_key(struct parsing *p)
{
    return secret_is_id(p->value)
               ? add_name(p, p->q->keys, &p->q->n_keys)
               : fail(p, API_ERROR_INVALID_VALUE,
                      "has something that is no id of a key, which is 12 hexadecimal digits");
}

static bool add_model(struct parsing *p)
{
    return p->value.n > 0 ? add_name(p, p->q->models, &p->q->n_models)
                          : fail(p, API_ERROR_INVALID_VALUE, "has an empty name");
}

static bool add_group(struct parsing *p)
{
    struct api_usage_query *q = p->q;
    const struct {
        const char *name;
        bool *target; /* NULL: there is nothing of the kind here */
    } groups[] = {{"api_key_id", &q->by_key},
                  {"model", &q->by_model},
                  {"batch", q->kind == STORE_USAGE_TEXTS ? &q->by_batch : NULL},
                  {"project_id", NULL},
                  {"user_id", NULL},
                  {"service_tier", NULL},
                  {"api_source", NULL}};
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        if (!str_eq(p->value, str_from(groups[i].name))) {
            continue;
        }
        if (groups[i].target == NULL) {
            return fail(p, API_ERROR_UNSUPPORTED_VALUE,
                        "is by api_key_id, model and, of completions, batch: there is nothing else "
                        "here to tell requests apart by");
        }
        *groups[i].target = true;
        return true;
    }
    return fail(p, API_ERROR_INVALID_VALUE, "is not api_key_id, model or batch");
}

static bool refuse(struct parsing *p)
{
    return fail(p, API_ERROR_UNSUPPORTED_PARAMETER,
                "is not supported: this server has neither projects nor users, but keys "
                "(api_key_ids)");
}

static const struct {
    const char *name;
    bool (*set)(struct parsing *p);
    bool is_list;
    bool of_texts; /* alone */
} parameters[] = {
    {"start_time", set_start, .is_list = false},   {"end_time", set_end, .is_list = false},
    {"bucket_width", set_width, .is_list = false}, {"limit", set_limit, .is_list = false},
    {"page", set_page, .is_list = false},          {"batch", set_batch, .of_texts = true},
    {"api_key_ids", add_key, .is_list = true},     {"models", add_model, .is_list = true},
    {"group_by", add_group, .is_list = true},      {"project_ids", refuse, .is_list = true},
    {"user_ids", refuse, .is_list = true},
};
enum {
    N_PARAMETERS = sizeof parameters / sizeof parameters[0],
    START = 0,
    END = 1,
    LIMIT = 3,
    PAGE = 4
};

static bool is_given(const struct parsing *p, int i)
{
    return (p->given >> i & 1) != 0;
}

static bool take_parameter(struct parsing *p)
{
    for (int i = 0; i < N_PARAMETERS; i++) {
        if (!str_eq(p->name, str_from(parameters[i].name)) ||
            (parameters[i].of_texts && p->q->kind != STORE_USAGE_TEXTS)) {
            continue;
        }
        if (p->is_list && !parameters[i].is_list) {
            return fail(p, API_ERROR_INVALID_TYPE, "is no list");
        }
        if (is_given(p, i) && !parameters[i].is_list) {
            return fail(p, API_ERROR_INVALID_VALUE, "is given twice");
        }
        p->given |= 1u << i;
        return parameters[i].set(p);
    }
    return fail(p, API_ERROR_UNKNOWN_PARAMETER, "is no known query parameter");
}

/* Python's client and JavaScript's write a list as name[]=a&name[]=b, others as name=a&name=b. */
static bool take_pair(struct parsing *p, struct str pair, char **text)
{
    struct str name = cut(&pair, '='), value = pair;
    if (!decode(name, text, &p->name)) {
        p->name = name;
        return fail(p, API_ERROR_INVALID_VALUE, "has a % without two hexadecimal digits behind it");
    }
    p->is_list = p->name.n > 2 && memcmp(p->name.p + p->name.n - 2, "[]", 2) == 0;
    p->name.n -= p->is_list ? 2 : 0;
    if (!decode(value, text, &p->value)) {
        return fail(p, API_ERROR_INVALID_VALUE, "has a % without two hexadecimal digits behind it");
    }
    return take_parameter(p);
}

/* --- together */

static bool fail_of(struct parsing *p, int i, enum api_error_kind kind, const char *why)
{
    p->name = str_from(parameters[i].name);
    return fail(p, kind, why);
}

static int64_t round_up(int64_t s, int64_t width)
{
    return s + (width - s % width) % width;
}

static bool check_times(struct parsing *p, int64_t now_s)
{
    struct api_usage_query *q = p->q;
    if (!is_given(p, START)) {
        return fail_of(p, START, API_ERROR_MISSING_PARAMETER, "is required");
    }
    if (is_given(p, END)) {
        return q->end_s > q->start_s ||
               fail_of(p, END, API_ERROR_INVALID_VALUE, "is not after start_time");
    }
    now_s = now_s > q->start_s ? now_s : q->start_s;
    q->end_s = round_up(now_s + 1, q->width_s);
    return true;
}

static bool check_limit(struct parsing *p)
{
    static const struct {
        int64_t width_s;
        uint32_t usual, most;
        const char *why;
    } limits[] = {{60, 60, API_USAGE_MAX_BUCKETS, "is not from 1 to 1440, for buckets of 1m"},
                  {3600, 24, 168, "is not from 1 to 168, for buckets of 1h"},
                  {86400, 7, 31, "is not from 1 to 31, for buckets of 1d"}};
    size_t i = 0;
    while (limits[i].width_s != p->q->width_s) {
        i++;
    }
    int64_t n = is_given(p, LIMIT) ? p->limit : limits[i].usual;
    p->q->n_buckets = (uint32_t)n;
    return (n > 0 && n <= limits[i].most) ||
           fail_of(p, LIMIT, API_ERROR_INVALID_VALUE, limits[i].why);
}

/* What next_page said: the time where the page before it ended. */
static bool check_page(struct parsing *p)
{
    static const struct str prefix = {"page_", 5};
    struct api_usage_query *q = p->q;
    q->from_s = q->start_s;
    if (!is_given(p, PAGE)) {
        return true;
    }
    struct str digits = str_starts_with(p->page, prefix) ? str_skip(p->page, prefix.n) : p->page;
    bool ok = digits.n < p->page.n && digits.n > 0 && digits.n <= MOST_S_DIGITS + 1 &&
              read_int(digits, &q->from_s) && q->from_s > q->start_s && q->from_s < q->end_s &&
              q->from_s % q->width_s == 0;
    return ok || fail_of(p, PAGE, API_ERROR_INVALID_VALUE,
                         "is no next_page of an answer to the same query");
}

bool api_usage_query_parse(enum store_usage_kind kind, struct str query, int64_t now_s,
                           struct api_usage_query *out, struct api_error *error)
{
    struct error e = {0};
    struct parsing p = {.q = out, .error = error};
    *out = (struct api_usage_query){.kind = kind, .width_s = 86400};
    out->text = mem_alloc(query.n + 1, 1, "query", &e);
    bool ok = out->text != NULL || api_error_from(error, &e, NULL);
    for (char *text = out->text; ok && query.n > 0;) {
        struct str pair = cut(&query, '&');
        ok = pair.n == 0 || take_pair(&p, pair, &text);
    }
    ok = ok && check_times(&p, now_s) && check_limit(&p) && check_page(&p);
    if (!ok) {
        api_usage_query_finish(out);
    }
    return ok;
}

void api_usage_query_finish(struct api_usage_query *q)
{
    mem_free(q->text);
    *q = (struct api_usage_query){0};
}

int64_t api_usage_bucket_end(const struct api_usage_query *q, int64_t from_s)
{
    int64_t end = round_up(from_s + 1, q->width_s);
    return end < q->end_s ? end : q->end_s;
}

/* --- the answer */

bool api_usage_print_begin(struct buf *out, struct error *e)
{
    return buf_append(out, STR("{\"object\":\"page\",\"data\":["), e);
}

bool api_usage_print_bucket(int64_t from_s, int64_t until_s, bool is_first, struct buf *out,
                            struct error *e)
{
    return buf_printf(out, e,
                      "%s{\"object\":\"bucket\",\"start_time\":%lld,\"end_time\":%lld,"
                      "\"results\":[",
                      is_first ? "" : ",", (long long)from_s, (long long)until_s);
}

bool api_usage_print_bucket_end(struct buf *out, struct error *e)
{
    return buf_append(out, STR("]}"), e);
}

static void write_name(struct api_writer *w, bool is_wanted, struct str name)
{
    if (is_wanted && name.n > 0) {
        api_write_text(w, name);
    } else {
        api_write_raw(w, "null");
    }
}

static void write_texts(struct api_writer *w, const struct store_usage_sum *sum)
{
    api_write_raw(w, ",\"input_cached_tokens\":");
    api_write_int(w, (int64_t)sum->n_cached);
    api_write_raw(w, ",\"output_tokens\":");
    api_write_int(w, (int64_t)sum->n_completion);
    api_write_raw(w, ",\"input_audio_tokens\":0,\"output_audio_tokens\":0");
}

bool api_usage_print_result(const struct api_usage_query *q, const struct store_usage_sum *sum,
                            bool is_first, struct buf *out, struct error *e)
{
    bool is_texts = q->kind == STORE_USAGE_TEXTS;
    struct api_writer w;
    api_writer_init(&w, out, e);
    api_write_raw(&w, is_first ? "" : ",");
    api_write_raw(&w, is_texts ? "{\"object\":\"organization.usage.completions.result\""
                               : "{\"object\":\"organization.usage.embeddings.result\"");
    api_write_raw(&w, ",\"input_tokens\":");
    api_write_int(&w, (int64_t)sum->n_prompt);
    if (is_texts) {
        write_texts(&w, sum);
    }
    api_write_raw(&w, ",\"num_model_requests\":");
    api_write_int(&w, (int64_t)sum->n_requests);
    api_write_raw(&w, ",\"project_id\":null,\"user_id\":null,\"api_key_id\":");
    write_name(&w, q->by_key, sum->key);
    api_write_raw(&w, ",\"model\":");
    write_name(&w, q->by_model, sum->model);
    if (is_texts) {
        api_write_raw(&w, q->by_batch ? ",\"batch\":false,\"service_tier\":null"
                                      : ",\"batch\":null,\"service_tier\":null");
    }
    api_write_raw(&w, "}");
    return api_writer_end(&w);
}

bool api_usage_print_end(int64_t next_s, struct buf *out, struct error *e)
{
    return next_s > 0 ? buf_printf(out, e, "],\"has_more\":true,\"next_page\":\"page_%lld\"}",
                                   (long long)next_s)
                      : buf_append(out, STR("],\"has_more\":false,\"next_page\":null}"), e);
}
