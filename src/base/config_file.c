/* config_file.c - reads configuration files, and refuses rather than repairs. */
#include "base/config_file.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct str trim(struct str s)
{
    while (s.n > 0 && is_blank(s.p[0])) {
        s = str_skip(s, 1);
    }
    while (s.n > 0 && is_blank(s.p[s.n - 1])) {
        s.n--;
    }
    return s;
}

static bool is_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        bool is_letter = s.p[i] >= 'a' && s.p[i] <= 'z';
        bool is_other = (s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == '-';
        if (!is_letter && (!is_other || i == 0)) {
            return false;
        }
    }
    return s.n > 0;
}

/* UTF-8 without control characters but for the tab. */
static bool is_plain(struct str s)
{
    while (s.n > 0) {
        uint32_t c;
        size_t n = str_decode_utf8(s, &c);
        if (n == 0 || (c < 0x20 && c != '\t') || (c >= 0x7F && c < 0xA0)) {
            return false;
        }
        s = str_skip(s, n);
    }
    return true;
}

static bool has_quotes(struct str value)
{
    return value.p[0] == '"' || value.p[0] == '\'';
}

bool config_file_is_value(struct str value)
{
    return value.n > 0 && trim(value).n == value.n && is_plain(value) && !has_quotes(value);
}

void config_file_begin(struct config_file_reader *r, struct str text)
{
    bool has_mark = str_starts_with(text, STR("\xEF\xBB\xBF"));
    *r = (struct config_file_reader){.rest = has_mark ? str_skip(text, 3) : text};
}

static bool read_line(struct str line, uint32_t number, struct config_file_line *out,
                      struct error *e)
{
    if (!is_plain(line)) {
        return error_set(e, ERROR_USAGE, "line %u: bytes that are no UTF-8, or a control character",
                         number);
    }
    const char *equals = memchr(line.p, '=', line.n);
    if (equals == NULL) {
        return error_set(e, ERROR_USAGE, "line %u: '%.*s' is not like name = value", number,
                         STR_ARG(line));
    }
    struct str name = trim((struct str){line.p, (size_t)(equals - line.p)});
    struct str value = trim(str_skip(line, (size_t)(equals - line.p) + 1));
    if (!is_name(name)) {
        return error_set(e, ERROR_USAGE, "line %u: '%.*s' is no name of an option", number,
                         STR_ARG(name));
    }
    if (value.n == 0) {
        return error_set(e, ERROR_USAGE, "line %u: %.*s has no value", number, STR_ARG(name));
    }
    if (has_quotes(value)) {
        return error_set(e, ERROR_USAGE, "line %u: %.*s: a value has no quotation marks round it",
                         number, STR_ARG(name));
    }
    *out = (struct config_file_line){name, value, number};
    return true;
}

bool config_file_next(struct config_file_reader *r, struct config_file_line *out, struct error *e)
{
    while (r->rest.n > 0) {
        const char *newline = memchr(r->rest.p, '\n', r->rest.n);
        struct str line = {r->rest.p, newline != NULL ? (size_t)(newline - r->rest.p) : r->rest.n};
        r->rest = str_skip(r->rest, line.n + (newline != NULL));
        r->number++;
        line = trim(line);
        if (line.n > 0 && line.p[0] != '#') {
            return read_line(line, r->number, out, e);
        }
    }
    return false;
}
