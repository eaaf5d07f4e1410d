/* schema_names.c - keywords and formats that a grammar does not enforce. By the standard a name
 * that it does not define allows everything (JSON Schema Core 2020-12, 6.5): it is noted, so that
 * it is not ignored in silence. Refused is what would make answers freer than the schema's author
 * means: names that restrict by draft 3 or a later one, and slips of the hand. */
#include "schema/schema_compile_internal.h"
#include "schema/schema_ref.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* Restrict together with another keyword, which reads them. */
static const char *const read_by_others[] = {"minContains", "maxContains", "then", "else"};
/* Restrict, or may, and are not enforced: of drafts 2019-09 and later, and of draft 3. */
static const char *const unenforced[] = {"unevaluatedProperties",
                                         "unevaluatedItems",
                                         "$dynamicRef",
                                         "$recursiveRef",
                                         "extends",
                                         "disallow",
                                         "divisibleBy"};
/* Known to allow everything: JSON Schema's own, and OpenAPI's. */
static const char *const annotations[] = {
    "$defs",           "definitions", "$schema",          "$id",         "id",
    "$anchor",         "$comment",    "$dynamicAnchor",   "$vocabulary", "$recursiveAnchor",
    "title",           "description", "default",          "examples",    "deprecated",
    "readOnly",        "writeOnly",   "contentMediaType", "example",     "contentSchema",
    "contentEncoding", "xml",         "discriminator",    "externalDocs"};

static const char *const unenforced_formats[] = {"idn-email",     "idn-hostname", "iri",
                                                 "iri-reference", "uri-template", "regex"};

static bool is_one_of(const char *name, const char *const *names, size_t n)
{
    size_t i = 0;
    while (i < n && strcmp(names[i], name) != 0) {
        i++;
    }
    return i < n;
}

/* --- slips of the hand */

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static bool same_letter(char a, char b)
{
    return lower(a) == lower(b);
}

/* Whether a name is the one that is meant but for case, or for one character that is missing, too
 * many, another, or in the place of its neighbour. In short names only case counts; a digit too
 * many ("uuid4") and another first letter ("guid") make another word. */
static bool is_slip(const char *name, const char *meant, size_t shortest)
{
    size_t n_meant = strlen(meant), n = strnlen(name, n_meant + 2), begin = 0;
    bool is_short = n_meant < shortest;
    while (begin < n && begin < n_meant && same_letter(name[begin], meant[begin])) {
        begin++;
    }
    while (n > begin && n_meant > begin && same_letter(name[n - 1], meant[n_meant - 1])) {
        n--;
        n_meant--;
    }
    size_t n_is = n - begin, n_should = n_meant - begin;
    if (is_short || n_is + n_should == 0) {
        return n_is + n_should == 0;
    }
    if (n_is == 2 && n_should == 2) {
        return same_letter(name[begin], meant[begin + 1]) &&
               same_letter(name[begin + 1], meant[begin]);
    }
    bool is_digit = n_is == 1 && name[begin] >= '0' && name[begin] <= '9';
    return n_is + n_should == 1 ? !is_digit : n_is == 1 && n_should == 1 && begin > 0;
}

static const char *slip_of(const char *name, const char *const *names, size_t n, size_t shortest)
{
    size_t i = 0;
    while (i < n && !is_slip(name, names[i], shortest)) {
        i++;
    }
    return i < n ? names[i] : NULL;
}

/* "_format" is a way to switch a keyword off, "x-items" an extension's own. */
static bool is_private(const char *name)
{
    name += name[0] == '^';
    return name[0] == '_' || (lower(name[0]) == 'x' && (name[1] == '-' || name[1] == '_'));
}

enum { SHORTEST_KEYWORD = 5, SHORTEST_FORMAT = 4 };

/* The keyword that restricts and may be meant; NULL: none. */
static const char *meant_keyword(const char *name)
{
    if (is_private(name)) {
        return NULL;
    }
    const char *meant = slip_of(name, read_by_others, COUNT(read_by_others), SHORTEST_KEYWORD);
    if (meant == NULL) {
        meant = slip_of(name, unenforced, COUNT(unenforced), SHORTEST_KEYWORD);
    }
    for (size_t t = 0; t < SCHEMA_KEYWORD_TABLES && meant == NULL; t++) {
        for (size_t i = 0; i < *schema_keyword_tables[t].n && meant == NULL; i++) {
            const char *one = schema_keyword_tables[t].keywords[i].name;
            meant = is_slip(name, one, SHORTEST_KEYWORD) ? one : NULL;
        }
    }
    return meant;
}

/* --- what becomes of a name */

static bool is_known(const char *name)
{
    for (size_t t = 0; t < SCHEMA_KEYWORD_TABLES; t++) {
        for (size_t i = 0; i < *schema_keyword_tables[t].n; i++) {
            if (strcmp(schema_keyword_tables[t].keywords[i].name, name) == 0) {
                return true;
            }
        }
    }
    return is_one_of(name, read_by_others, COUNT(read_by_others)) ||
           is_one_of(name, annotations, COUNT(annotations));
}

bool schema_is_silent(const json_t *schema)
{
    const char *key;
    json_t *value;
    bool is_silent = json_is_true(schema) || json_is_object(schema);
    json_object_foreach((json_t *)schema, key, value)
    {
        is_silent =
            is_silent && (!is_known(key) || is_one_of(key, annotations, COUNT(annotations)));
    }
    return is_silent;
}

/* The format of the standard that may be meant; NULL: none. */
static const char *meant_format(const char *name)
{
    const char *format = NULL;
    for (size_t i = 0; (format = schema_format_name(i)) != NULL; i++) {
        if (is_slip(name, format, SHORTEST_FORMAT)) {
            break;
        }
    }
    return format != NULL
               ? format
               : slip_of(name, unenforced_formats, COUNT(unenforced_formats), SHORTEST_FORMAT);
}

bool schema_format_is_free(const json_t *value)
{
    const char *name = json_string_value(value);
    return name != NULL && (strlen(name) != json_string_length(value) ||
                            (!is_one_of(name, unenforced_formats, COUNT(unenforced_formats)) &&
                             meant_format(name) == NULL));
}

bool schema_refuse_format(struct schema_compiler *k, const struct schema_use *use)
{
    const char *name = json_string_value(use->value);
    bool is_standard = is_one_of(name, unenforced_formats, COUNT(unenforced_formats));
    const char *meant = is_standard ? NULL : meant_format(name);
    struct str shown = schema_shown_name(name);
    return meant != NULL
               ? schema_refuse(k, use, "'%.*s' is no format: did you mean '%s'?", STR_ARG(shown),
                               meant)
               : schema_refuse(k, use, "'%.*s' is none that can be enforced", STR_ARG(shown));
}

static bool check_keyword(struct schema_compiler *k, const struct schema_use *use)
{
    if (is_known(use->keyword)) {
        return true;
    }
    if (is_one_of(use->keyword, unenforced, COUNT(unenforced))) {
        bool allows_all = strncmp(use->keyword, "unevaluated", 11) == 0 && json_is_true(use->value);
        return allows_all || schema_refuse(k, use, "is no keyword that can be enforced");
    }
    enum { STEPS = 10 }; /* it is compared with every name that it may be a slip of */
    const char *meant = meant_keyword(use->keyword);
    return meant != NULL ? schema_refuse(k, use, "is no keyword: did you mean '%s'?", meant)
                         : schema_spend_steps(k, STEPS);
}

/* --- each schema once */

enum { FIRST_SLOTS = 64 };

/* Where the schema is in the table, or would be. */
static struct schema_seen *find_slot(const struct schema_compiler *k, const json_t *schema)
{
    uint64_t hash = (uint64_t)(uintptr_t)schema * 0x9e3779b97f4a7c15u;
    size_t slot = (size_t)(hash >> 32) % k->n_seen_slots;
    while (k->seen[slot].schema != NULL && k->seen[slot].schema != schema) {
        slot = (slot + 1) % k->n_seen_slots;
    }
    return &k->seen[slot];
}

static bool see(struct schema_compiler *k, const json_t *schema, uint64_t keywords)
{
    if (2 * (k->n_seen + 1) > k->n_seen_slots) {
        struct schema_seen *old = k->seen;
        size_t n_old = k->n_seen_slots, n = n_old > 0 ? 2 * n_old : FIRST_SLOTS;
        struct schema_seen *grown = schema_arena_take(&k->arena, n, sizeof *grown, k->e);
        if (grown == NULL) {
            return false;
        }
        k->seen = grown;
        k->n_seen_slots = n;
        for (size_t i = 0; i < n_old; i++) {
            if (old[i].schema != NULL) {
                *find_slot(k, old[i].schema) = old[i];
            }
        }
    }
    *find_slot(k, schema) = (struct schema_seen){schema, keywords};
    k->n_seen++;
    return true;
}

static uint64_t keywords_of(const json_t *schema)
{
    uint64_t bit = 1, found = 0; /* of the tables' keywords, which are no more than 64 */
    for (size_t t = 0; t < SCHEMA_KEYWORD_TABLES; t++) {
        for (size_t i = 0; i < *schema_keyword_tables[t].n; i++, bit <<= 1) {
            const char *name = schema_keyword_tables[t].keywords[i].name;
            assert(bit != 0);
            found |= json_object_get(schema, name) != NULL ? bit : 0;
        }
    }
    return found;
}

/* --- notes */

static void note(struct schema_compiler *k, const json_t *schema, const char *name, bool is_format)
{
    size_t i = 0;
    while (i < k->n_notes &&
           (k->notes[i].is_format != is_format || strcmp(k->notes[i].name, name) != 0)) {
        i++;
    }
    if (i < k->n_notes) {
        k->notes[i].n_places++;
    } else if (i < SCHEMA_MAX_REMARKS) {
        k->notes[k->n_notes++] = (struct schema_note){
            .name = name, .schema = schema, .n_places = 1, .is_format = is_format};
    } else {
        k->n_more++;
    }
}

bool schema_check_names(struct schema_compiler *k, const json_t *schema, uint64_t *out_keywords)
{
    const char *key;
    json_t *value;
    const struct schema_seen *seen = k->n_seen > 0 ? find_slot(k, schema) : NULL;
    if (seen != NULL && seen->schema != NULL) {
        *out_keywords = seen->keywords;
        return true;
    }
    json_object_foreach((json_t *)schema, key, value)
    {
        if (!check_keyword(k, &(struct schema_use){schema, key, value})) {
            return false;
        }
    }
    const char *own = schema != k->root ? schema_ref_own_base(schema, &k->steps) : NULL;
    if (own != NULL) {
        return schema_spend_steps(k, 1) &&
               schema_refuse(k, &(struct schema_use){schema, own, NULL},
                             "starts a document of its own, and there are references in it");
    }
    json_object_foreach((json_t *)schema, key, value)
    {
        if (strcmp(key, "format") == 0 && schema_format_is_free(value)) {
            note(k, schema, json_string_value(value), true);
        } else if (!is_known(key) && !is_one_of(key, unenforced, COUNT(unenforced))) {
            note(k, schema, key, false);
        }
    }
    *out_keywords = keywords_of(schema);
    return see(k, schema, *out_keywords);
}

void schema_tell_notes(const struct schema_compiler *k, struct schema_remarks *out)
{
    size_t n_more = k->n_more;
    for (size_t i = 0; i < k->n_notes; i++) {
        const struct schema_note *made = &k->notes[i];
        char places[32] = "";
        if (out->n >= SCHEMA_MAX_REMARKS) {
            n_more += made->n_places;
            continue;
        }
        struct str name = schema_shown_name(made->name);
        if (made->n_places > 1) {
            snprintf(places, sizeof places, " (%zu places)", made->n_places);
        }
        out->source[out->n] = out->next_source;
        snprintf(out->text[out->n++], SCHEMA_REMARK_BYTES,
                 "schema #%s: %s'%.*s' is no %s of JSON Schema and has no effect%s",
                 schema_pointer_to(k, made->schema).text, made->is_format ? "'format' " : "",
                 STR_ARG(name), made->is_format ? "format" : "keyword", places);
    }
    if (n_more > 0) {
        out->n_more += n_more;
        out->n = SCHEMA_MAX_REMARKS + 1;
        snprintf(out->text[SCHEMA_MAX_REMARKS], SCHEMA_REMARK_BYTES,
                 "other keywords and formats that are none of JSON Schema have no effect, in %zu "
                 "place%s",
                 out->n_more, out->n_more == 1 ? "" : "s");
    }
}
