/* options.c - table-driven GNU options over getopt_long, with our own error texts. */
#include "cmd/options.h"

#include "base/mem.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HELP_COLUMN = 30, HELP_CODE = 1, FIRST_LONG_CODE = 1000 };

static void print_option(const struct option_spec *s)
{
    char left[80];
    int n = s->letter != 0 ? snprintf(left, sizeof left, "  -%c, --%s", s->letter, s->name)
                           : snprintf(left, sizeof left, "      --%s", s->name);
    if (s->alias != NULL && n > 0 && (size_t)n < sizeof left) {
        n += snprintf(left + n, sizeof left - (size_t)n, ", --%s", s->alias);
    }
    if (s->metavar != NULL && n > 0 && (size_t)n < sizeof left) {
        snprintf(left + n, sizeof left - (size_t)n, "=%s", s->metavar);
    }
    if (strlen(left) + 2 > HELP_COLUMN) {
        printf("%s\n%*s", left, HELP_COLUMN, "");
    } else {
        printf("%-*s", HELP_COLUMN, left);
    }
    for (const char *p = s->help; *p != '\0'; p++) {
        putchar(*p);
        if (*p == '\n') {
            printf("%*s", HELP_COLUMN, "");
        }
    }
    putchar('\n');
}

static const char *program_of(const struct options_usage *usage)
{
    return usage->program != NULL ? usage->program : "puna ";
}

static void print_synopsis(const struct options_usage *usage)
{
    const char *lead = "Usage: ";
    for (const char *line = usage->synopsis; line != NULL;) {
        const char *end = strchr(line, '\n');
        int n = end != NULL ? (int)(end - line) : (int)strlen(line);
        printf("%s%s%s %.*s\n", lead, program_of(usage), usage->command, n, line);
        lead = "       ";
        line = end != NULL ? end + 1 : NULL;
    }
}

static void print_help(const struct options_usage *usage, const struct option_spec *specs,
                       size_t n_specs)
{
    print_synopsis(usage);
    printf("%s\n", usage->about);
    if (n_specs == 0 || specs[0].kind != OPTION_HEADING) {
        printf("\nOptions:\n");
    }
    for (size_t i = 0; i < n_specs; i++) {
        if (specs[i].kind == OPTION_HEADING) {
            printf("\n%s:\n", specs[i].help);
        } else {
            print_option(&specs[i]);
        }
    }
    printf("%-*s%s\n", HELP_COLUMN, "  -h, --help", "show this help and leave");
    if (usage->epilog != NULL) {
        printf("\n%s\n", usage->epilog);
    }
}

static bool bad_value(const struct option_spec *s, const char *value, const char *wanted,
                      struct error *e)
{
    return error_set(e, ERROR_USAGE, "option --%s: '%s' is not %s", s->name, value, wanted);
}

/* Numbers without a range of their own have min == max == 0. */
static bool check_range(const struct option_spec *s, const char *value, double x, struct error *e)
{
    if ((s->min != 0 || s->max != 0) && (x < s->min || x > s->max)) {
        return error_set(e, ERROR_USAGE, "option --%s: %s is outside %.10g to %.10g", s->name,
                         value, s->min, s->max);
    }
    return true;
}

static bool set_unsigned(const struct option_spec *s, const char *value, struct error *e)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(value, &end, 10);
    if (*value < '0' || *value > '9' || *end != '\0' || errno != 0) {
        return bad_value(s, value, "a whole number of 0 or more", e);
    }
    if (!check_range(s, value, (double)n, e)) {
        return false;
    }
    if (s->kind == OPTION_U64) {
        *(uint64_t *)s->target = n;
        return true;
    }
    if (n > UINT32_MAX) {
        return bad_value(s, value, "below 4294967296", e);
    }
    *(uint32_t *)s->target = (uint32_t)n;
    return true;
}

static bool set_signed(const struct option_spec *s, const char *value, struct error *e)
{
    char *end;
    errno = 0;
    long n = strtol(value, &end, 10);
    if (end == value || *end != '\0' || errno != 0 || n < INT32_MIN || n > INT32_MAX) {
        return bad_value(s, value, "a whole number", e);
    }
    if (!check_range(s, value, (double)n, e)) {
        return false;
    }
    *(int32_t *)s->target = (int32_t)n;
    return true;
}

static bool set_float(const struct option_spec *s, const char *value, struct error *e)
{
    char *end;
    float f = strtof(value, &end);
    if (end == value || *end != '\0' || !isfinite(f)) {
        return bad_value(s, value, "a number", e);
    }
    if (!check_range(s, value, (double)f, e)) {
        return false;
    }
    *(float *)s->target = f;
    return true;
}

static bool set_value(const struct option_spec *s, const char *value, struct error *e)
{
    switch (s->kind) {
    case OPTION_FLAG:
        *(bool *)s->target = true;
        return true;
    case OPTION_U32:
    case OPTION_U64:
        return set_unsigned(s, value, e);
    case OPTION_I32:
        return set_signed(s, value, e);
    case OPTION_F32:
        return set_float(s, value, e);
    case OPTION_TEXT:
        *(const char **)s->target = value;
        return true;
    case OPTION_CALL:
        return s->call(s->target, value, e);
    case OPTION_HEADING:
        break;
    }
    return error_set(e, ERROR_INTERNAL, "option --%s has no kind", s->name);
}

struct getopt_tables {
    struct option *longs; /* zero-terminated */
    char *shorts;
};

static bool build_tables(const struct option_spec *specs, size_t n_specs, struct getopt_tables *t,
                         struct error *e)
{
    t->longs = mem_alloc(2 * n_specs + 2, sizeof *t->longs, "option table", e);
    t->shorts = mem_alloc(2 * n_specs + 3, 1, "option table", e);
    if (t->longs == NULL || t->shorts == NULL) {
        return false;
    }
    size_t n_longs = 0, n_shorts = 0;
    t->shorts[n_shorts++] = ':'; /* a missing value is told from an unknown option */
    t->shorts[n_shorts++] = 'h';
    for (size_t i = 0; i < n_specs; i++) {
        const struct option_spec *s = &specs[i];
        if (s->kind == OPTION_HEADING) {
            continue;
        }
        int code = FIRST_LONG_CODE + (int)i;
        int argument = s->kind == OPTION_FLAG ? no_argument : required_argument;
        t->longs[n_longs++] = (struct option){s->name, argument, NULL, code};
        if (s->alias != NULL) {
            t->longs[n_longs++] = (struct option){s->alias, argument, NULL, code};
        }
        if (s->letter != 0) {
            t->shorts[n_shorts++] = s->letter;
            if (argument == required_argument) {
                t->shorts[n_shorts++] = ':';
            }
        }
    }
    t->longs[n_longs] = (struct option){"help", no_argument, NULL, HELP_CODE};
    return true;
}

static const struct option_spec *find_spec(const struct option_spec *specs, size_t n_specs,
                                           int code)
{
    if (code >= FIRST_LONG_CODE) {
        return &specs[code - FIRST_LONG_CODE];
    }
    for (size_t i = 0; i < n_specs; i++) {
        if (specs[i].kind != OPTION_HEADING && specs[i].letter == code) {
            return &specs[i];
        }
    }
    return NULL;
}

static void name_bad_option(int code, char **argv, const struct options_usage *usage,
                            struct error *e)
{
    const char *word = argv[optind - 1];
    char letter[3] = {'-', (char)optopt, '\0'};
    bool is_letter = optopt > HELP_CODE && optopt < FIRST_LONG_CODE;
    if (code == ':') {
        error_set(e, ERROR_USAGE, "option %s needs a value", is_letter ? letter : word);
    } else if (optopt >= FIRST_LONG_CODE || optopt == HELP_CODE) {
        error_set(e, ERROR_USAGE, "option %s takes no value", word);
    } else {
        error_set(e, ERROR_USAGE, "unknown option %s (see %s%s --help)", is_letter ? letter : word,
                  program_of(usage), usage->command);
    }
}

static enum options_result parse_all(const struct options_usage *usage,
                                     const struct option_spec *specs, size_t n_specs,
                                     const struct options_line *line,
                                     const struct getopt_tables *tables, struct error *e)
{
    optind = 0; /* glibc: start afresh, also after an earlier scan */
    opterr = 0;
    int code;
    while ((code = getopt_long(line->argc, line->argv, tables->shorts, tables->longs, NULL)) !=
           -1) {
        if (code == HELP_CODE || code == 'h') {
            print_help(usage, specs, n_specs);
            return OPTIONS_HELP;
        }
        const struct option_spec *s =
            code == '?' || code == ':' ? NULL : find_spec(specs, n_specs, code);
        if (s == NULL) {
            name_bad_option(code, line->argv, usage, e);
            return OPTIONS_BAD;
        }
        if (!set_value(s, optarg, e)) {
            return OPTIONS_BAD;
        }
    }
    return OPTIONS_RUN;
}

enum options_result options_parse(const struct options_usage *usage,
                                  const struct option_spec *specs, size_t n_specs,
                                  const struct options_line *line, struct error *e)
{
    for (size_t i = 0; i < line->max_operands; i++) {
        line->operands[i] = NULL;
    }
    struct getopt_tables tables = {0};
    enum options_result result = OPTIONS_BAD;
    if (build_tables(specs, n_specs, &tables, e)) {
        result = parse_all(usage, specs, n_specs, line, &tables, e);
    }
    mem_free(tables.longs);
    mem_free(tables.shorts);
    for (int i = optind; result == OPTIONS_RUN && i < line->argc; i++) {
        size_t index = (size_t)(i - optind);
        if (index >= line->max_operands) {
            error_set(e, ERROR_USAGE, "surplus argument '%s' (see %s%s --help)", line->argv[i],
                      program_of(usage), usage->command);
            return OPTIONS_BAD;
        }
        line->operands[index] = line->argv[i];
    }
    return result;
}
