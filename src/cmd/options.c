/* options.c - table-driven GNU options over getopt_long, with our own error texts. */
#include "cmd/options.h"

#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

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

/* Numbers without a range of their own have min == max == 0. */
static bool has_range(const struct option_spec *s)
{
    return s->min != 0 || s->max != 0;
}

static bool is_in_range(const struct option_spec *s, double x)
{
    return !has_range(s) || (x >= s->min && x <= s->max);
}

/* One text, whether a number is malformed, too large for its type or out of range. */
static bool bad_number(const struct option_spec *s, const char *value, const char *kind,
                       const char *type_range, struct error *e)
{
    char range[64];
    snprintf(range, sizeof range, " from %.10g to %.10g", s->min, s->max);
    return error_set(e, ERROR_USAGE, "option --%s: '%s' is not a %s%s", s->name, value, kind,
                     has_range(s) ? range : type_range);
}

static bool set_unsigned(const struct option_spec *s, const char *value, struct error *e)
{
    bool is_u32 = s->kind == OPTION_U32;
    const char *type_range = is_u32                   ? " from 0 to 4294967295"
                             : s->kind == OPTION_SEED ? " from -1 to 18446744073709551615"
                                                      : " from 0 to 18446744073709551615";
    char *end;
    errno = 0;
    unsigned long long n = strtoull(value, &end, 10);
    if (*value < '0' || *value > '9' || *end != '\0' || errno != 0 || (is_u32 && n > UINT32_MAX) ||
        !is_in_range(s, (double)n)) {
        return bad_number(s, value, "whole number", type_range, e);
    }
    if (is_u32) {
        *(uint32_t *)s->target = (uint32_t)n;
    } else {
        *(uint64_t *)s->target = n;
    }
    return true;
}

static bool set_seed(const struct option_spec *s, const char *value, struct error *e)
{
    if (strcmp(value, "-1") != 0) {
        return set_unsigned(s, value, e);
    }
    return getrandom(s->target, sizeof(uint64_t), 0) == (ssize_t)sizeof(uint64_t) ||
           error_set(e, ERROR_IO, "option --%s: no random numbers: %s", s->name, strerror(errno));
}

static bool set_signed(const struct option_spec *s, const char *value, struct error *e)
{
    char *end;
    errno = 0;
    long n = strtol(value, &end, 10);
    if (end == value || *end != '\0' || errno != 0 || n < INT32_MIN || n > INT32_MAX ||
        !is_in_range(s, (double)n)) {
        return bad_number(s, value, "whole number", " from -2147483648 to 2147483647", e);
    }
    *(int32_t *)s->target = (int32_t)n;
    return true;
}

static bool set_float(const struct option_spec *s, const char *value, struct error *e)
{
    char *end;
    float f = strtof(value, &end);
    if (end == value || *end != '\0' || !isfinite(f) || !is_in_range(s, (double)f)) {
        return bad_number(s, value, "number", "", e);
    }
    *(float *)s->target = f;
    return true;
}

bool options_set(const struct option_spec *s, const char *value, struct error *e)
{
    switch (s->kind) {
    case OPTION_FLAG:
        *(bool *)s->target = true;
        return true;
    case OPTION_U32:
    case OPTION_U64:
        return set_unsigned(s, value, e);
    case OPTION_SEED:
        return set_seed(s, value, e);
    case OPTION_I32:
        return set_signed(s, value, e);
    case OPTION_F32:
        return set_float(s, value, e);
    case OPTION_TEXT:
        *(const char **)s->target = value;
        return true;
    case OPTION_CALL:
    case OPTION_CALLS:
        return s->call(s->target, value, e) || error_prefix(e, "option --%s", s->name);
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

/* Bytes of the name in "--name=value" or "--name", and in "-name", which is none. */
static struct str long_name(const char *word)
{
    struct str name = str_skip(str_from(word), word[1] == '-' ? 2 : 1);
    const char *equals = memchr(name.p, '=', name.n);
    return equals != NULL ? (struct str){name.p, (size_t)(equals - name.p)} : name;
}

static bool is_name(struct str name, const struct option *longs)
{
    while (longs->name != NULL && !str_eq(str_from(longs->name), name)) {
        longs++;
    }
    return longs->name != NULL;
}

/* Puts the names that begin so into out, commas between; as many as fit. */
static void list_longer_names(struct str name, const struct option *longs, char *out,
                              size_t capacity)
{
    size_t n = 0;
    out[0] = '\0';
    for (; name.n > 0 && longs->name != NULL && n < capacity; longs++) {
        if (str_starts_with(str_from(longs->name), name)) {
            n += (size_t)snprintf(out + n, capacity - n, "%s--%s", n > 0 ? ", " : "", longs->name);
        }
    }
}

static bool unknown_option(const char *word, const struct options_usage *usage,
                           const struct option *longs, struct error *e)
{
    char longer[256] = "";
    bool is_letter = word[1] != '-' && word[2] == '\0';
    if (!is_letter) {
        list_longer_names(long_name(word), longs, longer, sizeof longer);
    }
    if (longer[0] != '\0') {
        return error_set(e, ERROR_USAGE, "unknown option %s; %s: %s (see %s%s --help)", word,
                         word[1] == '-' ? "names are written in full" : "names have two dashes",
                         longer, program_of(usage), usage->command);
    }
    bool is_model = strcmp(word, "-m") == 0 || str_eq(long_name(word), STR("model"));
    bool takes_model = usage->synopsis != NULL && strstr(usage->synopsis, "MODEL") != NULL;
    return error_set(e, ERROR_USAGE, "unknown option %s%s (see %s%s --help)", word,
                     is_model && takes_model ? "; name the model without an option" : "",
                     program_of(usage), usage->command);
}

/* The whole word "-raw" in which getopt does not know r; it stays there while letters are left. */
static const char *word_of_letter(char **argv, const char letter[3])
{
    const char *word = argv[optind];
    bool is_done = strcmp(argv[optind - 1], letter) == 0;
    return !is_done && word != NULL && strncmp(word, letter, 2) == 0 ? word : letter;
}

static void name_bad_option(int code, char **argv, const struct options_usage *usage,
                            const struct option *longs, struct error *e)
{
    const char *word = argv[optind - 1];
    char letter[3] = {'-', (char)optopt, '\0'};
    bool is_letter = optopt != 0 && optopt != HELP_CODE && optopt < FIRST_LONG_CODE;
    if (!is_letter && !is_name(long_name(word), longs)) {
        unknown_option(word, usage, longs, e);
    } else if (code == ':') {
        error_set(e, ERROR_USAGE, "option %s needs a value", is_letter ? letter : word);
    } else if (optopt >= FIRST_LONG_CODE || optopt == HELP_CODE) {
        error_set(e, ERROR_USAGE, "option %s takes no value", word);
    } else {
        unknown_option(is_letter ? word_of_letter(argv, letter) : word, usage, longs, e);
    }
}

/* "-prompt" is no option -p with the text "rompt". */
static bool lacks_a_dash(int code, const char *word, const struct option *longs)
{
    return code < FIRST_LONG_CODE && optarg == word + 2 && is_name(long_name(word), longs);
}

/* "-ngl 99" is no option -n with the number "gl". */
static bool is_word_of_letters(const struct option_spec *s, const char *word)
{
    bool is_number = s->kind == OPTION_U32 || s->kind == OPTION_U64 || s->kind == OPTION_SEED ||
                     s->kind == OPTION_I32 || s->kind == OPTION_F32;
    return is_number && optarg == word + 2 && optarg[0] >= 'a' && optarg[0] <= 'z';
}

/* getopt takes the beginning of a name for the name. What that means changes with the next option,
 * and `--draft FILE` meant --draft-max where there is no --draft. */
static bool is_abbreviated(int code, char **argv, const struct option *longs, const char **out_word)
{
    bool is_apart = optarg != NULL && optarg == argv[optind - 1];
    *out_word = argv[optind - (is_apart ? 2 : 1)];
    return (code == HELP_CODE || code >= FIRST_LONG_CODE) && !is_name(long_name(*out_word), longs);
}

static enum options_result parse_all(const struct options_usage *usage,
                                     const struct option_spec *specs, size_t n_specs,
                                     const struct options_line *line,
                                     const struct getopt_tables *tables, struct error *e)
{
    optind = 0; /* glibc: start afresh, also after an earlier scan */
    opterr = 0;
    int code, index = 0;
    while ((code = getopt_long(line->argc, line->argv, tables->shorts, tables->longs, &index)) !=
           -1) {
        const char *word;
        if (is_abbreviated(code, line->argv, tables->longs, &word)) {
            unknown_option(word, usage, tables->longs, e);
            return OPTIONS_BAD;
        }
        if (code == HELP_CODE || code == 'h') {
            print_help(usage, specs, n_specs);
            return OPTIONS_HELP;
        }
        const struct option_spec *s =
            code == '?' || code == ':' ? NULL : find_spec(specs, n_specs, code);
        if (s == NULL) {
            name_bad_option(code, line->argv, usage, tables->longs, e);
            return OPTIONS_BAD;
        }
        if (lacks_a_dash(code, word, tables->longs)) {
            unknown_option(word, usage, tables->longs, e);
            return OPTIONS_BAD;
        }
        struct option_spec typed = *s; /* errors name an alias where that was typed */
        typed.name = code >= FIRST_LONG_CODE ? tables->longs[index].name : s->name;
        if (!options_set(&typed, optarg, e)) {
            if (is_word_of_letters(s, word)) {
                unknown_option(word, usage, tables->longs, e);
            }
            return OPTIONS_BAD;
        }
        if (line->on_option != NULL && !line->on_option(line->context, s, optarg, e)) {
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

bool options_parse_size(const char *text, uint64_t *out, struct error *e)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
    unsigned shift = unit != NULL ? 10 * (unsigned)(unit - units + 1) : 0;
    if (*text < '0' || *text > '9' || errno != 0 || end[unit != NULL] != '\0' ||
        n > UINT64_MAX >> shift) {
        return error_set(
            e, ERROR_USAGE,
            "'%s' is not a number of bytes below 2^64, with K, M, G or T for powers of "
            "1024",
            text);
    }
    *out = (uint64_t)n << shift;
    return true;
}
