/* keys_change.c - from the words of the options to a key. */
#include "cmd/keys.h"

#include "cmd/cmd.h"

#include <errno.h>
#include <stdlib.h>

unsigned keys_change_given(const struct keys_change *c)
{
    return (c->name != NULL ? KEYS_NAME : 0u) | (c->scopes != 0 ? KEYS_SCOPE : 0u) |
           (c->expires != NULL ? KEYS_EXPIRES : 0u) |
           (c->models.n > 0 || c->no_models ? KEYS_MODEL : 0u) |
           (c->origins.n > 0 || c->no_origins ? KEYS_ORIGIN : 0u) |
           (c->rpm != NULL ? KEYS_RPM : 0u) | (c->tpm != NULL ? KEYS_TPM : 0u) |
           (c->concurrent != NULL ? KEYS_CONCURRENT : 0u) |
           (c->priority != NULL ? KEYS_PRIORITY : 0u) | (c->day != NULL ? KEYS_DAY : 0u) |
           (c->month != NULL ? KEYS_MONTH : 0u) | (c->grace != NULL ? KEYS_GRACE : 0u);
}

/* --- words */

static bool is_none(const char *value)
{
    return strcmp(value, "none") == 0;
}

/* UTF-8 without control characters, of 1 to max_chars code points. */
static bool check_text(const char *value, size_t max_chars, struct error *e)
{
    size_t n_chars = 0;
    for (struct str rest = str_from(value); rest.n > 0; n_chars++) {
        uint32_t c;
        size_t step = str_decode_utf8(rest, &c);
        if (step == 0 || c < 0x20 || (c >= 0x7F && c < 0xA0)) {
            return error_set(e, ERROR_USAGE, "'%s' has %s", value,
                             step == 0 ? "bytes that are no UTF-8" : "control characters");
        }
        rest = str_skip(rest, step);
    }
    return (n_chars > 0 && n_chars <= max_chars) ||
           error_set(e, ERROR_USAGE, "a text of %zu characters, 1 to %zu are possible", n_chars,
                     max_chars);
}

bool keys_add_scope(void *target, const char *value, struct error *e)
{
    struct keys_change *c = target;
    unsigned bits = store_scope_of(value);
    if (bits == 0) {
        return error_set(
            e, ERROR_USAGE,
            "'%s' is not chat, embeddings, tokenize, metrics, keys, usage, inference or "
            "all",
            value);
    }
    c->scopes |= bits;
    return true;
}

/* A line more. */
static bool add_item(struct buf *list, bool *no_items, const char *value, struct error *e)
{
    size_t n_lines = 0;
    if (is_none(value)) {
        *no_items = true;
    } else if (!check_text(value, STORE_MAX_ITEM_CHARS, e)) {
        return false;
    }
    for (size_t i = 0; i < list->n; i++) {
        n_lines += list->data[i] == '\n';
    }
    if (n_lines == STORE_MAX_ITEMS) {
        return error_set(e, ERROR_USAGE, "more than %d", STORE_MAX_ITEMS);
    }
    if (*no_items && (n_lines > 0 || !is_none(value))) {
        return error_set(e, ERROR_USAGE, "'none' stands alone");
    }
    list->max = STORE_MAX_ITEMS * (STORE_MAX_ITEM_CHARS * 4 + 1);
    return *no_items || (buf_append(list, str_from(value), e) && buf_append_byte(list, '\n', e));
}

bool keys_add_model(void *target, const char *value, struct error *e)
{
    struct keys_change *c = target;
    return add_item(&c->models, &c->no_models, value, e);
}

bool keys_add_origin(void *target, const char *value, struct error *e)
{
    struct keys_change *c = target;
    char origin[HTTP_CORS_ORIGIN_BYTES];
    if (!is_none(value) && !cmd_read_origin(value, origin, e)) {
        return false;
    }
    return add_item(&c->origins, &c->no_origins, is_none(value) ? value : origin, e);
}

/* A number from 1 to most, or `none`. */
struct limit_words {
    const char *option, *text; /* NULL: not given */
    uint64_t most, none;
};

static bool parse_limit(const struct limit_words *w, uint64_t *out, struct error *e)
{
    char *end;
    if (w->text == NULL) {
        return true;
    }
    if (is_none(w->text)) {
        *out = w->none;
        return true;
    }
    errno = 0;
    unsigned long long n = strtoull(w->text, &end, 10);
    if (*w->text < '0' || *w->text > '9' || *end != '\0' || errno != 0 || n == 0 || n > w->most) {
        return error_set(e, ERROR_USAGE,
                         "option --%s: '%s' is not a whole number from 1 to %llu, or none",
                         w->option, w->text, (unsigned long long)w->most);
    }
    *out = n;
    return true;
}

static bool parse_rate(const char *option, const char *text, uint32_t *out, struct error *e)
{
    uint64_t n = *out;
    bool ok =
        parse_limit(&(struct limit_words){option, text, STORE_NO_LIMIT - 1, STORE_NO_LIMIT}, &n, e);
    *out = (uint32_t)n;
    return ok;
}

static bool parse_budget(const char *option, const char *text, uint64_t *out, struct error *e)
{
    return parse_limit(&(struct limit_words){option, text, STORE_MOST_BUDGET, STORE_NO_BUDGET}, out,
                       e);
}

/* --- the key */

static bool apply_limits(const struct keys_change *c, struct store_key *k, struct error *e)
{
    if (c->priority != NULL && !store_priority_of(c->priority, &k->priority)) {
        return error_set(e, ERROR_USAGE, "option --priority: '%s' is not high, normal or low",
                         c->priority);
    }
    return parse_rate("rpm", c->rpm, &k->requests_per_minute, e) &&
           parse_rate("tpm", c->tpm, &k->tokens_per_minute, e) &&
           parse_rate("concurrent", c->concurrent, &k->concurrent, e) &&
           parse_budget("tokens-per-day", c->day, &k->tokens_per_day, e) &&
           parse_budget("tokens-per-month", c->month, &k->tokens_per_month, e);
}

static bool apply_expiry(const struct keys_change *c, int64_t now, struct store_key *k,
                         struct error *e)
{
    int64_t seconds;
    if (c->expires == NULL) {
        return true;
    }
    if (is_none(c->expires)) {
        k->expires = STORE_NEVER;
        return true;
    }
    if (!cmd_parse_duration(c->expires, &seconds, e)) {
        return error_prefix(e, "option --expires");
    }
    k->expires = now + seconds;
    return true;
}

static bool apply_texts(const struct keys_change *c, struct store_key *k, struct error *e)
{
    if (c->name != NULL && !check_text(c->name, STORE_MAX_NAME_CHARS, e)) {
        return error_prefix(e, "option --name");
    }
    return (c->name == NULL || store_key_set_text(&k->name, str_from(c->name), e)) &&
           ((c->models.n == 0 && !c->no_models) ||
            store_key_set_text(&k->models, buf_str(&c->models), e)) &&
           ((c->origins.n == 0 && !c->no_origins) ||
            store_key_set_text(&k->origins, buf_str(&c->origins), e));
}

bool keys_change_apply(const struct keys_change *c, int64_t now, struct store_key *k,
                       struct error *e)
{
    k->scopes = c->scopes != 0 ? c->scopes : k->scopes;
    return apply_limits(c, k, e) && apply_expiry(c, now, k, e) && apply_texts(c, k, e);
}
