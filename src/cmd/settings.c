/* settings.c - the command line first, as it names the file; then whatever it left open. */
#include "cmd/settings.h"

#include "base/config_file.h"
#include "base/mem.h"
#include "cmd/print.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { MOST_SETTINGS = 512, NAME_BYTES = 64 };

/* The table, and what is being read. */
struct table {
    struct settings *s;
    const struct option_spec *specs;
    size_t n_specs;
};

/* --- what is set */

static bool record(struct settings *s, struct setting one, struct error *e)
{
    if (s->n == s->capacity) {
        size_t n = s->capacity == 0 ? 32 : 2 * s->capacity;
        if (n > MOST_SETTINGS) {
            return error_set(e, ERROR_USAGE, "more than %d settings", MOST_SETTINGS);
        }
        struct setting *more = mem_resize(s->list, n, sizeof *more, "settings", e);
        if (more == NULL) {
            return false;
        }
        s->list = more;
        s->capacity = n;
    }
    s->list[s->n++] = one;
    return true;
}

/* The first one of the option from that place or one in front of it. */
static const struct setting *find_setting(const struct settings *s, const struct option_spec *spec,
                                          enum settings_source last)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->list[i].spec == spec && s->list[i].source <= last) {
            return &s->list[i];
        }
    }
    return NULL;
}

static bool on_option(void *context, const struct option_spec *spec, const char *value,
                      struct error *e)
{
    return record(context, (struct setting){.spec = spec, .value = value, .source = SETTINGS_LINE},
                  e);
}

/* --- names */

static const struct option_spec *find_option(const struct table *t, const char *name)
{
    for (size_t i = 0; i < t->n_specs; i++) {
        const struct option_spec *o = &t->specs[i];
        if (o->kind != OPTION_HEADING &&
            (strcmp(o->name, name) == 0 || (o->alias != NULL && strcmp(o->alias, name) == 0))) {
            return o;
        }
    }
    return strcmp(t->s->operand.name, name) == 0 ? &t->s->operand : NULL;
}

/* Letters that are to be put in, taken out or changed; both names are shorter than NAME_BYTES. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_BYTES], n = strlen(b);
    for (size_t j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = corner + (a[i - 1] != b[j - 1]);
            size_t other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            corner = row[j];
            row[j] = change < other ? change : other;
        }
    }
    return row[n];
}

static bool refuse_name(const struct table *t, const char *name, struct error *e)
{
    const char *nearest = NULL;
    size_t least = strlen(name) / 3 + 1;
    for (size_t i = 0; strlen(name) < NAME_BYTES && i < t->n_specs; i++) {
        size_t d = t->specs[i].kind != OPTION_HEADING ? distance(name, t->specs[i].name) : SIZE_MAX;
        if (d <= least && (nearest == NULL || d < least)) {
            least = d;
            nearest = t->specs[i].name;
        }
    }
    return nearest != NULL
               ? error_set(e, ERROR_USAGE, "there is no option '%s'; there is '%s'", name, nearest)
               : error_set(e, ERROR_USAGE, "there is no option '%s'", name);
}

/* --- one value that is no word of the command line */

static bool set(const struct table *t, struct setting one, struct error *e)
{
    if (one.spec->kind == OPTION_FLAG) {
        bool is_on = strcmp(one.value, "true") == 0;
        if (!is_on && strcmp(one.value, "false") != 0) {
            return error_set(e, ERROR_USAGE, "option --%s: '%s' is neither true nor false",
                             one.spec->name, one.value);
        }
        *(bool *)one.spec->target = is_on;
    } else if (!options_set(one.spec, one.value, e)) {
        return false;
    }
    return record(t->s, one, e);
}

/* --- the environment */

/* "DRAIN_TIMEOUT=..." to "drain-timeout"; false where it is too long. */
static bool make_name(const char *variable, char *out)
{
    size_t n = strcspn(variable, "=");
    if (n >= NAME_BYTES) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char c = variable[i];
        out[i] = c == '_' ? '-' : c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : '?';
    }
    out[n] = '\0';
    return true;
}

static char *trim(char *text)
{
    text += strspn(text, " \t");
    for (size_t n = strlen(text); n > 0 && strchr(" \t", text[n - 1]) != NULL; n--) {
        text[n - 1] = '\0';
    }
    return text;
}

/* Of an option that may be given many times: with commas between, and blanks beside them. */
static bool set_each(const struct table *t, struct setting one, char *values, struct error *e)
{
    for (char *value = values; value != NULL;) {
        char *comma = strchr(value, ',');
        if (comma != NULL) {
            *comma = '\0';
        }
        one.value = trim(value);
        if (!set(t, one, e)) {
            return false;
        }
        value = comma != NULL ? comma + 1 : NULL;
    }
    return true;
}

/* pieces: room for a copy of the value. */
static bool read_variable(const struct table *t, const char *variable, char *pieces,
                          struct error *e)
{
    char name[NAME_BYTES];
    const char *value = strchr(variable, '=');
    const struct option_spec *spec = NULL;
    if (value != NULL && make_name(variable, name)) {
        spec = find_option(t, name);
    }
    if (spec == NULL) {
        return value != NULL && strcspn(variable, "=") < NAME_BYTES
                   ? refuse_name(t, name, e)
                   : error_set(e, ERROR_USAGE, "there is no option of that name");
    }
    if (find_setting(t->s, spec, SETTINGS_LINE) != NULL) {
        return true;
    }
    struct setting one = {.spec = spec, .value = value + 1, .source = SETTINGS_ENVIRONMENT};
    if (spec->kind != OPTION_CALLS) {
        return set(t, one, e);
    }
    memcpy(pieces, value + 1, strlen(value + 1) + 1);
    return set_each(t, one, pieces, e);
}

static bool read_environment(const struct table *t, struct error *e)
{
    size_t n_prefix = strlen(t->s->prefix), n_bytes = 0, at = 0;
    char **all = t->s->environment;
    for (size_t i = 0; all != NULL && all[i] != NULL; i++) {
        n_bytes += strncmp(all[i], t->s->prefix, n_prefix) == 0 ? strlen(all[i]) + 1 : 0;
    }
    if (n_bytes == 0) {
        return true;
    }
    t->s->pieces = mem_alloc(n_bytes, 1, "settings of the environment", e);
    for (size_t i = 0; t->s->pieces != NULL && all[i] != NULL; i++) {
        if (strncmp(all[i], t->s->prefix, n_prefix) != 0) {
            continue;
        }
        if (!read_variable(t, all[i] + n_prefix, t->s->pieces + at, e)) {
            return error_prefix(e, "%.*s", (int)strcspn(all[i], "="), all[i]);
        }
        at += strlen(all[i]) + 1;
    }
    return t->s->pieces != NULL;
}

/* --- the file */

static bool read_file(struct buf *out, const char *path, struct error *e)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        return error_set(e, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_IO, "%s: %s", path,
                         strerror(errno));
    }
    buf_init(out, CONFIG_FILE_MAX_BYTES + 2); /* one more tells that there are too many; a NUL */
    bool ok = buf_reserve(out, CONFIG_FILE_MAX_BYTES + 2, e);
    if (ok) {
        out->n = fread(out->data, 1, CONFIG_FILE_MAX_BYTES + 1, f);
        ok = !ferror(f) || error_set(e, ERROR_IO, "%s: %s", path, strerror(errno));
    }
    fclose(f);
    return ok && (out->n <= CONFIG_FILE_MAX_BYTES ||
                  error_set(e, ERROR_USAGE, "%s: more than %d bytes", path, CONFIG_FILE_MAX_BYTES));
}

/* What is behind name and value is a line's end or a blank, and was read. */
static char *end_text(struct buf *file, struct str text)
{
    char *start = file->data + (text.p - file->data);
    start[text.n] = '\0';
    return start;
}

static bool read_setting(const struct table *t, const struct config_file_line *line,
                         struct error *e)
{
    const char *value = end_text(&t->s->file, line->value);
    const char *name = end_text(&t->s->file, line->name);
    const struct option_spec *spec = find_option(t, name);
    if (spec == NULL) {
        refuse_name(t, name, e);
    } else if (strcmp(name, "config") == 0 || strcmp(name, "print-config") == 0) {
        error_set(e, ERROR_USAGE, "'%s' has no place in a file", name);
    } else {
        const struct setting *other = find_setting(t->s, spec, SETTINGS_FILE);
        struct setting one = {spec, value, SETTINGS_FILE, line->number};
        if (other != NULL && other->source != SETTINGS_FILE) {
            return true;
        }
        if (other != NULL && spec->kind != OPTION_CALLS) {
            error_set(e, ERROR_USAGE, "'%s' is set in line %u already", name, other->line);
        } else if (set(t, one, e)) {
            return true;
        }
    }
    return error_prefix(e, "line %u", line->number);
}

static bool read_config(const struct table *t, struct error *e)
{
    const char *path = t->s->config;
    struct config_file_reader reader;
    struct config_file_line line;
    struct error bad = {0};
    if (path == NULL) {
        return true;
    }
    if (!read_file(&t->s->file, path, e)) {
        return false;
    }
    config_file_begin(&reader, buf_str(&t->s->file));
    while (config_file_next(&reader, &line, &bad)) {
        if (!read_setting(t, &line, e)) {
            return error_prefix(e, "%s", path);
        }
    }
    return bad.code == ERROR_NONE || error_set(e, bad.code, "%s: %s", path, bad.text);
}

enum options_result settings_parse(struct settings *s, const struct options_usage *usage,
                                   const struct option_spec *specs, size_t n_specs,
                                   const struct options_line *line, struct error *e)
{
    const struct table t = {s, specs, n_specs};
    struct options_line told = *line;
    told.on_option = on_option;
    told.context = s;
    s->operand = (struct option_spec){
        .kind = OPTION_TEXT, .name = "model", .metavar = "MODEL", .target = line->operands};
    enum options_result result = options_parse(usage, specs, n_specs, &told, e);
    if (result == OPTIONS_RUN && line->operands[0] != NULL &&
        !on_option(s, &s->operand, line->operands[0], e)) {
        return OPTIONS_BAD;
    }
    return result == OPTIONS_RUN && (!read_environment(&t, e) || !read_config(&t, e)) ? OPTIONS_BAD
                                                                                      : result;
}

void settings_finish(struct settings *s)
{
    mem_free(s->list);
    mem_free(s->pieces);
    buf_finish(&s->file);
}

/* --- printing */

static void print_source(const struct settings *s, const struct setting *one)
{
    if (one->source == SETTINGS_FILE) {
        printf("# ");
        print_escaped(stdout, str_from(s->config), SIZE_MAX);
        printf(", line %u\n", one->line);
    } else {
        printf("# %s\n", one->source == SETTINGS_LINE ? "command line" : "environment");
    }
}

static void print_value(const struct setting *one)
{
    const char *value = one->value != NULL ? one->value : "true";
    if (config_file_is_value(str_from(value))) {
        printf("%s = %s\n", one->spec->name, value);
    } else {
        printf("# not for a file: %s = ", one->spec->name);
        print_quoted(stdout, str_from(value), SIZE_MAX);
        printf("\n");
    }
}

/* Of texts and lists that have none until they are used no value is known here. */
static void print_default(const struct option_spec *spec)
{
    const char *text = spec->kind == OPTION_TEXT ? *(const char *const *)spec->target : NULL;
    if (text != NULL) {
        printf("# default\n%s = %s\n", spec->name, text);
        return;
    }
    switch (spec->kind) {
    case OPTION_FLAG:
        printf("# default\n%s = %s\n", spec->name, *(const bool *)spec->target ? "true" : "false");
        break;
    case OPTION_U32:
        printf("# default\n%s%s = %u\n", *(const uint32_t *)spec->target < spec->min ? "#" : "",
               spec->name, *(const uint32_t *)spec->target);
        break;
    default:
        printf("# default\n#%s =\n", spec->name);
        break;
    }
}

static void print_option(const struct settings *s, const struct option_spec *spec)
{
    const struct setting *first = find_setting(s, spec, SETTINGS_FILE), *last = NULL;
    if (first == NULL) {
        print_default(spec);
        return;
    }
    for (size_t i = 0; i < s->n; i++) {
        const struct setting *one = &s->list[i];
        if (one->spec == spec && one->source == first->source) {
            last = one;
            if (spec->kind == OPTION_CALLS) {
                print_source(s, one);
                print_value(one);
            }
        }
    }
    if (spec->kind != OPTION_CALLS) { /* the last one counts */
        print_source(s, last);
        print_value(last);
    }
}

void settings_print(const struct settings *s, const struct option_spec *specs, size_t n_specs)
{
    print_option(s, &s->operand);
    for (size_t i = 0; i < n_specs; i++) {
        if (specs[i].kind != OPTION_HEADING && strcmp(specs[i].name, "config") != 0 &&
            strcmp(specs[i].name, "print-config") != 0) {
            print_option(s, &specs[i]);
        }
    }
}
