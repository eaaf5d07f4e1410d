/* schema_text.c - expressions for what stands between the quotes of JSON strings, and the formats.
 *
 * Strings of which the schema says nothing may be spelled in all ways that JSON allows (\u00e9 as
 * well as itself). All others are spelled in one way, that of json.dumps(ensure_ascii=False): their
 * automata are smaller by far, and what has the same meaning has the same bytes. */
#include "schema/schema_compile_internal.h"

#include <string.h>

uint32_t schema_either(struct schema_compiler *k, uint32_t a, uint32_t c)
{
    return grammar_choice(k->builder, (uint32_t[]){a, c}, 2);
}

uint32_t schema_then(struct schema_compiler *k, uint32_t a, uint32_t c)
{
    return grammar_sequence(k->builder, (uint32_t[]){a, c}, 2);
}

uint32_t schema_optional(struct schema_compiler *k, uint32_t a)
{
    return grammar_repeat(k->builder, a, 0, 1);
}

uint32_t schema_pattern(struct schema_compiler *k, const char *pattern)
{
    return grammar_pattern(k->builder, str_from(pattern), 0);
}

static uint32_t plain_character(struct schema_compiler *k)
{
    static const struct grammar_class all = {.negated = true, .alphabet = GRAMMAR_JSON_PLAIN};
    if (k->plain_character == GRAMMAR_NONE) {
        k->plain_character = grammar_class(k->builder, &all);
    }
    return k->plain_character;
}

uint32_t schema_text_plain(struct schema_compiler *k)
{
    if (k->plain_text == GRAMMAR_NONE) {
        k->plain_text = grammar_repeat(k->builder, plain_character(k), 0, GRAMMAR_UNLIMITED);
    }
    return k->plain_text;
}

uint32_t schema_text_any(struct schema_compiler *k)
{
    static const struct grammar_class all = {.negated = true, .alphabet = GRAMMAR_JSON};
    if (k->any_text == GRAMMAR_NONE) {
        k->any_text =
            grammar_repeat(k->builder, grammar_class(k->builder, &all), 0, GRAMMAR_UNLIMITED);
    }
    return k->any_text;
}

/* Where what is made of a text is kept: reading a pattern takes far longer than a step, and schemas
 * that are met again would read theirs again. */
static struct schema_text_made *made_of(struct schema_compiler *k, const char *text, bool is_wide)
{
    uint64_t hash = ((uint64_t)(uintptr_t)text + is_wide) * 0x9e3779b97f4a7c15u;
    struct schema_text_made *made = &k->made[(hash >> 32) % SCHEMA_MADE_SLOTS];
    if (made->text != text || made->is_wide != is_wide) {
        *made = (struct schema_text_made){text, GRAMMAR_NONE, is_wide};
    }
    return made;
}

uint32_t schema_text_pattern(struct schema_compiler *k, struct str pattern, bool is_wide)
{
    struct schema_text_made *made = made_of(k, pattern.p, is_wide);
    unsigned flags = GRAMMAR_PATTERN_SEARCH | GRAMMAR_PATTERN_JSON;
    if (made->node == GRAMMAR_NONE) {
        flags |= is_wide ? GRAMMAR_PATTERN_WIDE : 0;
        made->node = grammar_determine(k->builder, grammar_pattern(k->builder, pattern, flags));
    }
    return made->node;
}

/* --- one text */

/* The text as it stands between quotes; p NULL, with the compiler's error set, without memory. */
static struct str escape(struct schema_compiler *k, struct str text)
{
    static const char names[] = {['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f',
                                 ['\n'] = 'n', ['\r'] = 'r',  ['\t'] = 't'};
    enum { LONGEST = 6 }; /* \u001f */
    struct str out = {schema_arena_take(&k->arena, text.n, LONGEST, k->e), 0};
    char *p = (char *)out.p;
    for (size_t i = 0; i < text.n && p != NULL; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c < sizeof names && names[c] != 0) {
            p[out.n++] = '\\';
            p[out.n++] = names[c];
        } else if (c < 0x20) {
            memcpy(p + out.n, "\\u00", 4);
            p[out.n + 4] = "01"[c >> 4];
            p[out.n + 5] = "0123456789abcdef"[c & 15];
            out.n += LONGEST;
        } else {
            p[out.n++] = (char)c;
        }
    }
    return out;
}

uint32_t schema_text_literal(struct schema_compiler *k, struct str text)
{
    struct str escaped = escape(k, text);
    return escaped.p == NULL ? GRAMMAR_NONE
           : escaped.n == 0  ? grammar_empty(k->builder)
                             : grammar_bytes(k->builder, escaped);
}

bool schema_text_has(struct schema_compiler *k, uint32_t inside, struct str text)
{
    struct str escaped = escape(k, text);
    return escaped.p != NULL && grammar_has_text(k->builder, inside, escaped);
}

/* Names are combined with others, so that automata count their lengths in states: where a maximum
 * would take too many, a smaller one is enforced, if that is still long; and where every text is
 * shorter there is none. */
static void fit_length(struct schema_compiler *k, struct schema_strings *set)
{
    enum { MOST_STATES = 15000, FEWER = 8000, STILL_LONG = 100, OF_CHARACTER = 12 /* states */ };
    uint32_t n_states, longest;
    if (set->inside == GRAMMAR_NONE || set->max >= GRAMMAR_MAX_REPEAT ||
        !grammar_measure(k->builder, set->inside, &n_states, &longest)) {
        return;
    }
    n_states = n_states > OF_CHARACTER ? n_states : OF_CHARACTER;
    size_t most = FEWER / n_states;
    if (longest <= set->max) {
        set->max = SCHEMA_NO_LIMIT;
    } else if (set->max > MOST_STATES / n_states && most >= STILL_LONG && most >= 2 * set->min) {
        set->max = most;
    }
}

static uint32_t text_of_set(struct schema_compiler *k, const struct schema_strings *set)
{
    if (set->is_listed) {
        uint32_t *values = schema_arena_take(&k->arena, set->n_values, sizeof *values, k->e);
        for (size_t i = 0; i < set->n_values && values != NULL; i++) {
            values[i] = schema_text_literal(k, set->values[i]);
        }
        return values == NULL ? GRAMMAR_NONE : grammar_choice(k->builder, values, set->n_values);
    }
    /* no answer comes near a maximum that large */
    bool has_max = set->max < GRAMMAR_MAX_REPEAT;
    if (set->min == 0 && !has_max) {
        return set->inside != GRAMMAR_NONE ? set->inside : schema_text_any(k);
    }
    if (set->min >= GRAMMAR_MAX_REPEAT) {
        if (k->e->code == ERROR_NONE) {
            error_set(k->e, ERROR_UNSUPPORTED, "'minLength' %zu: it has to be below %d", set->min,
                      GRAMMAR_MAX_REPEAT);
        }
        return GRAMMAR_NONE;
    }
    uint32_t max = has_max ? (uint32_t)set->max : GRAMMAR_UNLIMITED;
    uint32_t sized = grammar_repeat(k->builder, plain_character(k), (uint32_t)set->min, max);
    if (set->inside == GRAMMAR_NONE) {
        return sized;
    }
    uint32_t both = grammar_intersect(k->builder, set->inside, sized);
    const struct error *e = grammar_builder_error(k->builder);
    if (both == GRAMMAR_NONE && e->code == ERROR_UNSUPPORTED && k->e->code == ERROR_NONE) {
        error_set(k->e, e->code,
                  "its lengths cannot be enforced beside its pattern or format: %s; smaller ones "
                  "can, or one of them alone",
                  e->text);
    }
    return both;
}

uint32_t schema_text_of_names(struct schema_compiler *k, const struct schema_strings *set)
{
    struct schema_strings fitting = *set;
    fit_length(k, &fitting);
    return text_of_set(k, &fitting);
}

uint32_t schema_text_quoted(struct schema_compiler *k, uint32_t inside)
{
    uint32_t quote = grammar_bytes(k->builder, STR("\""));
    return grammar_sequence(k->builder, (uint32_t[]){quote, inside, quote}, 3);
}

/* The set's strings of a pattern and a maximum, up to and with the quote behind them: their least
 * length as an automaton, and what the maximum leaves of it. */
static uint32_t limited_text(struct schema_compiler *k, const struct schema_strings *set)
{
    struct schema_strings unlimited = *set;
    uint32_t n_states, longest = GRAMMAR_UNLIMITED;
    unlimited.max = SCHEMA_NO_LIMIT;
    uint32_t text =
        schema_then(k, text_of_set(k, &unlimited), grammar_bytes(k->builder, STR("\"")));
    text = grammar_determine(k->builder, text);
    bool is_shorter = grammar_measure(k->builder, text, &n_states, &longest) && longest <= set->max;
    return is_shorter || set->max >= GRAMMAR_MAX_REPEAT
               ? text
               : grammar_limit(k->builder, text, (uint32_t)set->max + 1);
}

static bool is_counted(const struct schema_strings *set)
{
    return !set->is_listed && set->inside != GRAMMAR_NONE &&
           (set->min > 0 || set->max < GRAMMAR_MAX_REPEAT);
}

bool schema_strings_are_possible(struct schema_compiler *k, const struct schema_strings *set,
                                 bool *out)
{
    uint32_t text = is_counted(set) ? limited_text(k, set) : GRAMMAR_NONE;
    *out = !is_counted(set) || !grammar_has_none(k->builder, text);
    return k->e->code == ERROR_NONE && grammar_builder_error(k->builder)->code == ERROR_NONE;
}

uint32_t schema_text_of_set(struct schema_compiler *k, const struct schema_strings *set)
{
    return is_counted(set)
               ? schema_then(k, grammar_bytes(k->builder, STR("\"")), limited_text(k, set))
               : schema_text_quoted(k, text_of_set(k, set));
}

/* --- formats: each a part of what its RFC allows that every reader takes (docs/STRUCTURED.md) */

#define DATE                                                                                       \
    "((000[1-9]|00[1-9]\\d|0[1-9]\\d\\d|[1-9]\\d{3})-"                                             \
    "((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|"                    \
    "02-(0[1-9]|1\\d|2[0-8]))|"                                                                    \
    "(\\d\\d(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)-02-29)"
#define HOUR          "([01]\\d|2[0-3])"
#define TIME          HOUR ":[0-5]\\d:[0-5]\\d(\\.\\d{1,9})?(Z|[+-]" HOUR ":[0-5]\\d)"
#define DURATION_TIME "T(\\d{1,9}H(\\d{1,9}M(\\d{1,9}S)?)?|\\d{1,9}M(\\d{1,9}S)?|\\d{1,9}S)"
#define DURATION                                                                                   \
    "P(\\d{1,9}W|(\\d{1,9}D|\\d{1,9}M(\\d{1,9}D)?|\\d{1,9}Y(\\d{1,9}M(\\d{1,9}D)?)?)"              \
    "(" DURATION_TIME ")?|" DURATION_TIME ")"
/* No label begins or ends with a hyphen or has two in a row, as those of other alphabets do. */
#define LABEL      "[A-Za-z0-9]+(-[A-Za-z0-9]+)*"
#define HOST       LABEL "(\\." LABEL ")*"
#define SIZED(n)   "[A-Za-z0-9-]{1," n "}"
#define HOST_SIZES "(" SIZED("63") "\\.){0,2}" SIZED("63") "|(" SIZED("30") "\\.){0,7}" SIZED("30")
/* With 64 characters and the @ before it at most 254. */
#define MAIL_SIZES "(" SIZED("62") "\\.){0,2}" SIZED("62") "|(" SIZED("22") "\\.){0,7}" SIZED("22")
#define ATOM       "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
#define OCTET      "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define IPV4       OCTET "(\\." OCTET "){3}"
#define H16        "[0-9A-Fa-f]{1,4}"
#define LS32       "(" H16 ":" H16 "|" IPV4 ")"
#define IPV6                                                                                       \
    "((" H16 ":){6}" LS32 "|::(" H16 ":){5}" LS32 "|(" H16 ")?::(" H16 ":){4}" LS32 "|((" H16      \
    ":){0,1}" H16 ")?::(" H16 ":){3}" LS32 "|((" H16 ":){0,2}" H16 ")?::(" H16 ":){2}" LS32        \
    "|((" H16 ":){0,3}" H16 ")?::" H16 ":" LS32 "|((" H16 ":){0,4}" H16 ")?::" LS32 "|((" H16      \
    ":){0,5}" H16 ")?::" H16 "|((" H16 ":){0,6}" H16 ")?::)"
#define URI_CHAR       "([A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"
#define PCHAR          "([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
#define QUERY          "([A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*"
#define AUTHORITY_PATH "//((" URI_CHAR "|:)*@)?" URI_CHAR "*(:\\d{1,5})?(/" PCHAR "*)*"
#define URI                                                                                        \
    "[A-Za-z][A-Za-z0-9+.-]*:(" AUTHORITY_PATH "|/?(" PCHAR "+(/" PCHAR "*)*)?)(\\?" QUERY         \
    ")?(#" QUERY ")?"
/* No colon in the first segment, where it would end a scheme. */
#define RELATIVE                                                                                   \
    "(" AUTHORITY_PATH "|/(" PCHAR "+(/" PCHAR "*)*)?|(" URI_CHAR "|@)+(/" PCHAR "*)*)?(\\?" QUERY \
    ")?(#" QUERY ")?"
#define POINTER "(/([^/~]|~[01])*)*"

static const struct {
    const char *name, *pattern;
    const char *also; /* NULL, or another pattern that must match */
} formats[] = {
    {"date", DATE, NULL},
    {"time", TIME, NULL},
    {"date-time", DATE "T" TIME, NULL},
    {"duration", DURATION, NULL},
    {"uuid", "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", NULL},
    {"hostname", HOST, HOST_SIZES},
    {"email", ATOM "+(\\." ATOM "+)*@" HOST, "[!-?A-~]{1,64}@(" MAIL_SIZES ")"},
    {"ipv4", IPV4, NULL},
    {"ipv6", IPV6, NULL},
    {"uri", URI, NULL},
    {"uri-reference", URI "|" RELATIVE, NULL},
    {"json-pointer", POINTER, NULL},
    {"relative-json-pointer", "(0|[1-9]\\d{0,8})(#|" POINTER ")", NULL},
};

const char *schema_format_name(size_t i)
{
    return i < sizeof formats / sizeof *formats ? formats[i].name : NULL;
}

static uint32_t format_pattern(struct schema_compiler *k, const char *pattern)
{
    return grammar_pattern(k->builder, str_from(pattern),
                           GRAMMAR_PATTERN_JSON | GRAMMAR_PATTERN_DOT_ALL);
}

static uint32_t make_format(struct schema_compiler *k, size_t i)
{
    uint32_t one = grammar_determine(k->builder, format_pattern(k, formats[i].pattern));
    return formats[i].also == NULL
               ? one
               : grammar_intersect(k->builder, one, format_pattern(k, formats[i].also));
}

uint32_t schema_text_format(struct schema_compiler *k, const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (strcmp(formats[i].name, name) == 0) {
            struct schema_text_made *made = made_of(k, formats[i].name, false);
            if (made->node == GRAMMAR_NONE) {
                made->node = make_format(k, i);
            }
            return made->node;
        }
    }
    return GRAMMAR_NONE;
}
