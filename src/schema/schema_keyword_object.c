/* schema_keyword_object.c - keywords of objects. Members are named (properties) or belong to a
 * region of names; a schema that speaks of a name takes it out of its region. */
#include "schema/schema_compile_internal.h"

#include <string.h>

/* --- members of one set */

/* A copy of the properties that can be changed, with room for more. */
static struct schema_property *open_properties(struct schema_compiler *k,
                                               struct schema_objects *set, size_t n_more)
{
    struct schema_property *all =
        schema_arena_copy(&k->arena, set->properties, set->n_properties, n_more, sizeof *all, k->e);
    if (all != NULL) {
        set->properties = all;
    }
    return all;
}

/* The property of that name in an opened list, made of its region where there is none. */
static struct schema_property *open_property(struct schema_compiler *k, struct schema_objects *set,
                                             struct schema_property *all, struct str name)
{
    for (size_t i = 0; i < set->n_properties; i++) {
        if (str_eq(all[i].name, name)) {
            return &all[i];
        }
    }
    if (set->n_properties >= SCHEMA_MAX_PROPERTIES) {
        error_set(k->e, ERROR_UNSUPPORTED, "an object of the schema has more than %d properties",
                  SCHEMA_MAX_PROPERTIES);
        return NULL;
    }
    struct schema_property *p = &all[set->n_properties];
    *p = (struct schema_property){.name = name, .presence = SCHEMA_FORBIDDEN};
    for (size_t i = 0; i < set->n_regions; i++) {
        const struct schema_region *r = &set->regions[i];
        if (r->names == GRAMMAR_NONE || schema_text_has(k, r->names, name)) {
            p->terms = r->terms;
            p->presence = SCHEMA_OPTIONAL;
        }
    }
    set->n_properties++;
    return schema_spend_steps(k, 1 + set->n_properties / 16) ? p : NULL;
}

/* Presence of members in all sets; sets that must have what they may not are dropped. */
static bool set_presence(struct schema_compiler *k, const struct str *names, size_t n_names,
                         enum schema_presence presence, struct schema_form *f)
{
    struct schema_objects *sets = f->objects.items;
    size_t n = 0;
    for (size_t i = 0; i < f->objects.n; i++) {
        struct schema_objects one = sets[i];
        struct schema_property *all = open_properties(k, &one, n_names);
        bool is_contradiction = false;
        for (size_t m = 0; m < n_names; m++) {
            struct schema_property *p = all != NULL ? open_property(k, &one, all, names[m]) : NULL;
            if (p == NULL) {
                return false;
            }
            is_contradiction |= p->presence != SCHEMA_OPTIONAL && p->presence != presence;
            p->presence = presence;
        }
        if (!is_contradiction) {
            sets[n++] = one;
        }
    }
    f->objects.n = n;
    return true;
}

bool schema_require_member(struct schema_compiler *k, struct str name, struct schema_form *f)
{
    schema_form_keep_types(f, SCHEMA_TYPE_OBJECT);
    return set_presence(k, &name, 1, SCHEMA_REQUIRED, f);
}

bool schema_forbid_member(struct schema_compiler *k, struct str name, struct schema_form *f)
{
    return set_presence(k, &name, 1, SCHEMA_FORBIDDEN, f);
}

/* --- properties, patternProperties, additionalProperties: one meaning, at the first of them */

/* The names in which a pattern is found, by every reader and by some reader of patterns. */
struct names {
    uint32_t all, some;
};

struct members {
    const json_t *properties, *patterns, *additional; /* NULL: not there */
    struct names *names;                              /* (n_patterns) inside of strings */
    size_t n_patterns;
};

static bool read_members(struct schema_compiler *k, const struct schema_use *use,
                         struct members *out)
{
    const char *pattern;
    json_t *schema;
    *out = (struct members){json_object_get(use->schema, "properties"),
                            json_object_get(use->schema, "patternProperties"),
                            json_object_get(use->schema, "additionalProperties"), NULL, 0};
    if ((out->properties != NULL && !json_is_object(out->properties)) ||
        (out->patterns != NULL && !json_is_object(out->patterns))) {
        return schema_refuse_value(k, use);
    }
    if (json_object_size(out->properties) > SCHEMA_MAX_PROPERTIES) {
        return schema_refuse(k, use, "has %zu members, at most %d are enforced",
                             json_object_size(out->properties), SCHEMA_MAX_PROPERTIES);
    }
    out->names =
        schema_arena_take(&k->arena, json_object_size(out->patterns), sizeof *out->names, k->e);
    if (out->names == NULL) {
        return false;
    }
    json_object_foreach((json_t *)out->patterns, pattern, schema)
    {
        out->names[out->n_patterns++] =
            (struct names){schema_text_pattern(k, str_from(pattern), false),
                           schema_text_pattern(k, str_from(pattern), true)};
    }
    return schema_check_builder(
        k, &(struct schema_use){use->schema, "patternProperties", out->patterns});
}

/* Adds what the schema asks of a member of this name: where readers differ about a pattern, as each
 * of them would, or, where it is compared what schemas allow, as neither. */
static bool add_to_property(struct schema_compiler *k, const struct members *m,
                            struct schema_property *p)
{
    const char *pattern;
    json_t *schema;
    size_t i = 0;
    json_t *own = NULL;
    /* names of properties hold no NUL, for jansson takes none in keys */
    char *name = schema_arena_copy(&k->arena, p->name.p, p->name.n, 1, 1, k->e);
    if (name == NULL) {
        return false;
    }
    own = strlen(name) == p->name.n ? json_object_get(m->properties, name) : NULL;
    bool is_known = own != NULL;
    if (own != NULL && !schema_terms_add(k, &p->terms, (struct schema_term){own, SCHEMA_HOLDS})) {
        return false;
    }
    json_object_foreach((json_t *)m->patterns, pattern, schema)
    {
        struct names names = m->names[i++];
        bool all = schema_text_has(k, names.all, p->name);
        bool some = schema_text_has(k, names.some, p->name);
        is_known |= k->is_comparing ? some : all;
        if ((k->is_comparing ? all : some) &&
            !schema_terms_add(k, &p->terms, (struct schema_term){schema, SCHEMA_HOLDS})) {
            return false;
        }
    }
    return is_known || m->additional == NULL ||
           schema_terms_add(k, &p->terms, (struct schema_term){m->additional, SCHEMA_HOLDS});
}

/* Parts of regions, with what they got from the schema. */
struct part {
    struct schema_region region;
    bool is_known; /* by a pattern of the schema */
};

enum { MAX_PARTS = 64 };

static bool push_part(struct schema_compiler *k, struct part *parts, size_t *n,
                      const struct part *part)
{
    if (*n == MAX_PARTS) {
        return error_set(k->e, ERROR_UNSUPPORTED,
                         "patternProperties divide names in more than %d kinds", MAX_PARTS);
    }
    parts[(*n)++] = *part;
    return true;
}

/* The part with these names, unless there are none. */
static bool put_part(struct schema_compiler *k, struct part *parts, size_t *n, struct part part,
                     uint32_t names)
{
    part.region.names = names;
    return grammar_is_nothing(k->builder, names) || push_part(k, parts, n, &part);
}

/* Cuts each part in those names that the pattern finds and those that it does not. Names about
 * which readers differ are not written; where it is compared what schemas allow, any member may
 * have them. */
static bool cut_parts(struct schema_compiler *k, struct part *parts, size_t *n,
                      struct names pattern, const json_t *schema)
{
    struct part old[MAX_PARTS];
    size_t n_old = *n;
    memcpy(old, parts, n_old * sizeof *old);
    *n = 0;
    for (size_t i = 0; i < n_old; i++) {
        struct part inner = old[i];
        uint32_t names = old[i].region.names;
        uint32_t every = names != GRAMMAR_NONE ? names : schema_text_plain(k);
        uint32_t some = grammar_intersect(k->builder, every, pattern.some);
        if (grammar_is_nothing(k->builder, some)) {
            if (!push_part(k, parts, n, &old[i])) {
                return false;
            }
            continue;
        }
        inner.is_known = true;
        uint32_t open = k->is_comparing ? grammar_subtract(k->builder, some, pattern.all)
                                        : grammar_nothing(k->builder);
        if (!put_part(k, parts, n, inner, open) ||
            !schema_terms_add(k, &inner.region.terms, (struct schema_term){schema, SCHEMA_HOLDS}) ||
            !put_part(k, parts, n, inner, grammar_intersect(k->builder, every, pattern.all)) ||
            !put_part(k, parts, n, old[i], grammar_subtract(k->builder, every, pattern.some))) {
            return false;
        }
    }
    return true;
}

static bool cut_regions(struct schema_compiler *k, const struct members *m,
                        struct schema_objects *set)
{
    const char *pattern;
    json_t *schema;
    struct part parts[MAX_PARTS] = {0};
    size_t n = 0, i = 0, n_kept = 0;
    bool ok = true;
    for (size_t r = 0; ok && r < set->n_regions; r++) {
        ok = push_part(k, parts, &n, &(struct part){.region = set->regions[r]});
    }
    json_object_foreach((json_t *)m->patterns, pattern, schema)
    {
        ok = ok && cut_parts(k, parts, &n, m->names[i++], schema);
    }
    struct schema_region *regions =
        ok ? schema_arena_take(&k->arena, n, sizeof *regions, k->e) : NULL;
    for (i = 0; i < n && regions != NULL; i++) {
        bool is_other = !parts[i].is_known && m->additional != NULL;
        if (is_other && json_is_false(m->additional)) {
            continue;
        }
        if (is_other && !schema_terms_add(k, &parts[i].region.terms,
                                          (struct schema_term){m->additional, SCHEMA_HOLDS})) {
            return false;
        }
        regions[n_kept++] = parts[i].region;
    }
    set->regions = regions;
    set->n_regions = n_kept;
    return regions != NULL && schema_spend_steps(k, 1 + n);
}

static bool apply_to_set(struct schema_compiler *k, const struct members *m,
                         struct schema_objects *set)
{
    const char *key;
    json_t *schema;
    struct schema_property *all = open_properties(k, set, json_object_size(m->properties));
    if (all == NULL) {
        return false;
    }
    json_object_foreach((json_t *)m->properties, key, schema)
    {
        if (open_property(k, set, all, str_from(key)) == NULL) {
            return false;
        }
    }
    for (size_t i = 0; i < set->n_properties; i++) {
        if (!add_to_property(k, m, &all[i])) {
            return false;
        }
    }
    return cut_regions(k, m, set);
}

static bool is_first_keyword(const struct schema_use *use)
{
    static const char *const names[] = {"properties", "patternProperties", "additionalProperties"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (json_object_get(use->schema, names[i]) != NULL) {
            return strcmp(names[i], use->keyword) == 0;
        }
    }
    return false;
}

static bool apply_members(struct schema_compiler *k, const struct schema_use *use,
                          struct schema_form *f)
{
    struct schema_objects *sets = f->objects.items;
    struct members m;
    if (f->objects.n == 0 || !is_first_keyword(use)) {
        return true;
    }
    if (!read_members(k, use, &m)) {
        return false;
    }
    for (size_t i = 0; i < f->objects.n; i++) {
        if (!apply_to_set(k, &m, &sets[i])) {
            return false;
        }
    }
    return schema_check_builder(k, use);
}

/* Objects that have the member, whose value fails. */
static bool push_failing(struct schema_compiler *k, struct schema_objects one, struct str name,
                         const json_t *schema, struct schema_form *out)
{
    struct schema_property *all = open_properties(k, &one, 1);
    struct schema_property *p = all != NULL ? open_property(k, &one, all, name) : NULL;
    if (p == NULL || !schema_terms_add(k, &p->terms, (struct schema_term){schema, SCHEMA_FAILS})) {
        return false;
    }
    bool is_possible = p->presence != SCHEMA_FORBIDDEN;
    p->presence = SCHEMA_REQUIRED;
    return !is_possible || schema_list_push(k, &out->objects, &one, sizeof one);
}

static bool deny_properties(struct schema_compiler *k, const struct schema_use *use,
                            struct schema_form *f)
{
    const struct schema_objects *sets = f->objects.items;
    struct schema_form out = {0};
    const char *key;
    json_t *schema;
    if (!json_is_object(use->value)) {
        return schema_refuse_value(k, use);
    }
    for (size_t i = 0; i < f->objects.n; i++) {
        json_object_foreach((json_t *)use->value, key, schema)
        {
            if (!push_failing(k, sets[i], str_from(key), schema, &out)) {
                return false;
            }
        }
    }
    *f = out;
    return true;
}

/* Possible where all names are known: then one of those that are left over is there and fails. */
static bool deny_additional(struct schema_compiler *k, const struct schema_use *use,
                            struct schema_form *f)
{
    const struct schema_objects *sets = f->objects.items;
    struct schema_form out = {0};
    struct members m;
    if (!read_members(k, use, &m)) {
        return false;
    }
    for (size_t i = 0; i < f->objects.n; i++) {
        if (sets[i].n_regions > 0 || m.n_patterns > 0) {
            return schema_refuse(k, use, "cannot be enforced where it must fail");
        }
        for (size_t p = 0; p < sets[i].n_properties; p++) {
            struct str name = sets[i].properties[p].name;
            char *text = schema_arena_copy(&k->arena, name.p, name.n, 1, 1, k->e);
            if (text == NULL || (json_object_get(m.properties, text) == NULL &&
                                 !push_failing(k, sets[i], name, use->value, &out))) {
                return false;
            }
        }
    }
    *f = out;
    return true;
}

/* --- propertyNames */

/* The strings that a schema allows as one expression; GRAMMAR_NONE with *out_all: all. */
static bool strings_of(struct schema_compiler *k, const json_t *schema, bool *out_all,
                       uint32_t *out_inside)
{
    struct schema_form f;
    if (!schema_form_of_any(k, &f)) {
        return false;
    }
    schema_form_keep_types(&f, SCHEMA_TYPE_STRING);
    if (!schema_apply(k, schema, false, &f)) {
        return false;
    }
    const struct schema_strings *sets = f.strings.items;
    uint32_t inside = grammar_nothing(k->builder);
    *out_all = false;
    for (size_t i = 0; i < f.strings.n; i++) {
        const struct schema_strings *s = &sets[i];
        bool is_all = !s->is_listed && s->inside == GRAMMAR_NONE && s->min == 0 &&
                      s->max >= GRAMMAR_MAX_REPEAT;
        *out_all |= is_all;
        inside =
            schema_either(k, inside, is_all ? schema_text_plain(k) : schema_text_of_names(k, s));
    }
    *out_inside = grammar_determine(k->builder, inside);
    return true;
}

static bool name_set(struct schema_compiler *k, uint32_t names, struct schema_objects *set,
                     bool *out_keep)
{
    struct schema_property *all = open_properties(k, set, 0);
    struct schema_region *regions =
        schema_arena_copy(&k->arena, set->regions, set->n_regions, 0, sizeof *regions, k->e);
    size_t n = 0;
    *out_keep = true;
    if (all == NULL || regions == NULL) {
        return false;
    }
    for (size_t i = 0; i < set->n_properties; i++) {
        if (!schema_text_has(k, names, all[i].name)) {
            *out_keep &= all[i].presence != SCHEMA_REQUIRED;
            all[i].presence = SCHEMA_FORBIDDEN;
        }
    }
    for (size_t i = 0; i < set->n_regions; i++) {
        uint32_t old = regions[i].names;
        regions[i].names = old != GRAMMAR_NONE ? grammar_intersect(k->builder, old, names) : names;
        if (!grammar_is_nothing(k->builder, regions[i].names)) {
            regions[n++] = regions[i];
        }
    }
    set->regions = regions;
    set->n_regions = n;
    return schema_spend_steps(k, 1 + set->n_properties);
}

static bool apply_property_names(struct schema_compiler *k, const struct schema_use *use,
                                 struct schema_form *f)
{
    struct schema_objects *sets = f->objects.items;
    bool is_all = true;
    uint32_t names = GRAMMAR_NONE;
    size_t n = 0;
    if (f->objects.n == 0) {
        return true;
    }
    if (!strings_of(k, use->value, &is_all, &names)) {
        return false;
    }
    for (size_t i = 0; i < f->objects.n && !is_all; i++) {
        bool keep = false;
        if (!name_set(k, names, &sets[i], &keep)) {
            return false;
        }
        if (keep) {
            sets[n++] = sets[i];
        }
    }
    f->objects.n = is_all ? f->objects.n : n;
    return schema_check_builder(k, use);
}

/* --- required and its kin */

static bool read_name(struct schema_compiler *k, const struct schema_use *use, const json_t *name,
                      struct str *out)
{
    *out = (struct str){json_string_value(name), json_string_length(name)};
    return json_is_string(name) || schema_refuse_value(k, use);
}

static bool require_all(struct schema_compiler *k, const struct schema_use *use,
                        const json_t *names, struct schema_form *f)
{
    size_t n = json_array_size(names);
    struct str *list = schema_arena_take(&k->arena, n, sizeof *list, k->e);
    bool ok = list != NULL;
    if (!json_is_array(names) || n > SCHEMA_MAX_PROPERTIES) {
        return schema_refuse_value(k, use);
    }
    for (size_t i = 0; i < n && ok; i++) {
        ok = read_name(k, use, json_array_get(names, i), &list[i]);
    }
    return ok && set_presence(k, list, n, SCHEMA_REQUIRED, f);
}

static bool forbid_one(struct schema_compiler *k, const struct schema_use *use, const json_t *names,
                       const struct schema_form *f, struct schema_form *out)
{
    struct str name;
    if (!json_is_array(names)) {
        return schema_refuse_value(k, use);
    }
    for (size_t i = 0; i < json_array_size(names); i++) {
        struct schema_form one;
        if (!read_name(k, use, json_array_get(names, i), &name) || !schema_form_copy(k, f, &one) ||
            !set_presence(k, &name, 1, SCHEMA_FORBIDDEN, &one) ||
            !schema_form_merge(k, out, &one)) {
            return false;
        }
    }
    return true;
}

static bool apply_required(struct schema_compiler *k, const struct schema_use *use,
                           struct schema_form *f)
{
    return require_all(k, use, use->value, f);
}

static bool deny_required(struct schema_compiler *k, const struct schema_use *use,
                          struct schema_form *f)
{
    struct schema_form out = {0};
    if (!forbid_one(k, use, use->value, f, &out)) {
        return false;
    }
    *f = out;
    return true;
}

/* Objects without the member, and those with it and all others. */
static bool apply_dependent(struct schema_compiler *k, const struct schema_use *use,
                            struct schema_form *f)
{
    const char *key;
    json_t *names;
    if (!json_is_object(use->value)) {
        return schema_refuse_value(k, use);
    }
    json_object_foreach((json_t *)use->value, key, names)
    {
        struct schema_form with;
        if (!schema_form_copy(k, f, &with) || !schema_require_member(k, str_from(key), &with) ||
            !require_all(k, use, names, &with) || !schema_forbid_member(k, str_from(key), f) ||
            !schema_form_merge(k, f, &with)) {
            return false;
        }
    }
    return true;
}

static bool deny_dependent(struct schema_compiler *k, const struct schema_use *use,
                           struct schema_form *f)
{
    struct schema_form out = {0};
    const char *key;
    json_t *names;
    if (!json_is_object(use->value)) {
        return schema_refuse_value(k, use);
    }
    json_object_foreach((json_t *)use->value, key, names)
    {
        struct schema_form with;
        if (!schema_form_copy(k, f, &with) || !schema_require_member(k, str_from(key), &with) ||
            !forbid_one(k, use, names, &with, &out)) {
            return false;
        }
    }
    *f = out;
    return true;
}

/* --- sizes */

static bool bound_members(struct schema_compiler *k, const struct schema_use *use,
                          struct schema_form *f, bool is_denied)
{
    struct schema_objects *sets = f->objects.items;
    size_t limit = 0, n = 0;
    bool is_max = use->keyword[1] == 'a'; /* maxProperties, not minProperties */
    if (!schema_read_count(use->value, &limit)) {
        return schema_refuse_value(k, use);
    }
    bool is_nothing = is_denied && !is_max && limit == 0;
    for (size_t i = 0; i < f->objects.n && !is_nothing; i++) {
        struct schema_objects one = sets[i];
        if (is_max != is_denied) {
            one.max = limit - is_denied < one.max ? limit - is_denied : one.max;
        } else {
            one.min = limit + is_denied > one.min ? limit + is_denied : one.min;
        }
        if (one.min <= one.max) {
            sets[n++] = one;
        }
    }
    f->objects.n = n;
    return true;
}

static bool apply_size(struct schema_compiler *k, const struct schema_use *use,
                       struct schema_form *f)
{
    return bound_members(k, use, f, false);
}

static bool deny_size(struct schema_compiler *k, const struct schema_use *use,
                      struct schema_form *f)
{
    return bound_members(k, use, f, true);
}

/* --- an object itself */

static bool equal_set(struct schema_compiler *k, const json_t *value, struct schema_objects *set,
                      bool *out_keep)
{
    const char *key;
    json_t *member;
    size_t n = json_object_size(value);
    struct schema_property *all = open_properties(k, set, n);
    *out_keep = n >= set->min && n <= set->max;
    if (all == NULL) {
        return false;
    }
    for (size_t i = 0; i < set->n_properties; i++) {
        char *name = schema_arena_copy(&k->arena, all[i].name.p, all[i].name.n, 1, 1, k->e);
        if (name == NULL) {
            return false;
        }
        if (strlen(name) != all[i].name.n || json_object_get(value, name) == NULL) {
            *out_keep &= all[i].presence != SCHEMA_REQUIRED;
            all[i].presence = SCHEMA_FORBIDDEN;
        }
    }
    json_object_foreach((json_t *)value, key, member)
    {
        struct schema_property *p = open_property(k, set, all, str_from(key));
        if (p == NULL ||
            !schema_terms_add(k, &p->terms, (struct schema_term){member, SCHEMA_EQUALS})) {
            return false;
        }
        *out_keep &= p->presence != SCHEMA_FORBIDDEN;
        p->presence = SCHEMA_REQUIRED;
    }
    set->n_regions = 0;
    set->min = 0;
    set->max = SCHEMA_NO_LIMIT;
    return true;
}

bool schema_apply_object_value(struct schema_compiler *k, const json_t *value,
                               const struct schema_form *f, struct schema_form *out)
{
    const struct schema_objects *sets = f->objects.items;
    for (size_t i = 0; i < f->objects.n; i++) {
        struct schema_objects one = sets[i];
        bool keep = false;
        if (!equal_set(k, value, &one, &keep) ||
            (keep && !schema_list_push(k, &out->objects, &one, sizeof one))) {
            return false;
        }
    }
    return true;
}

const struct schema_keyword schema_object_keywords[] = {
    {"properties", SCHEMA_TYPE_OBJECT, apply_members, deny_properties},
    {"patternProperties", SCHEMA_TYPE_OBJECT, apply_members, NULL},
    {"additionalProperties", SCHEMA_TYPE_OBJECT, apply_members, deny_additional},
    {"propertyNames", SCHEMA_TYPE_OBJECT, apply_property_names, NULL},
    {"required", SCHEMA_TYPE_OBJECT, apply_required, deny_required},
    {"dependentRequired", SCHEMA_TYPE_OBJECT, apply_dependent, deny_dependent},
    {"minProperties", SCHEMA_TYPE_OBJECT, apply_size, deny_size},
    {"maxProperties", SCHEMA_TYPE_OBJECT, apply_size, deny_size},
};
const size_t schema_n_object_keywords =
    sizeof schema_object_keywords / sizeof *schema_object_keywords;
