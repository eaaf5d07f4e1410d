/* schema_compile.c - from a JSON schema to expressions: forms of all children, which of them have
 * values at all, then one rule each. */
#include "schema/schema_compile.h"

#include "schema/schema_compile_internal.h"
#include "schema/schema_place.h"

#include <stdarg.h>
#include <stdio.h>

enum { NODE_SLOTS = 2048 };

/* --- errors that say where */

struct schema_pointer schema_pointer_to(const struct schema_compiler *k, const json_t *value)
{
    struct schema_pointer p = {""};
    if (!schema_place_find(k->root, value, p.text, sizeof p.text)) {
        snprintf(p.text, sizeof p.text, "/...");
    }
    return p;
}

struct str schema_shown_name(const char *name)
{
    enum { MOST_BYTES = 60 };
    size_t n = strnlen(name, MOST_BYTES);
    return (struct str){name, str_complete_utf8((struct str){name, n})};
}

bool schema_refuse(struct schema_compiler *k, const struct schema_use *use, const char *format, ...)
{
    char reason[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    struct str keyword = schema_shown_name(use->keyword);
    return error_set(k->e, ERROR_UNSUPPORTED, "schema #%s: '%.*s' %s",
                     schema_pointer_to(k, use->schema).text, STR_ARG(keyword), reason);
}

bool schema_error_lacks_place(const struct schema_compiler *k)
{
    return k->e->code == ERROR_UNSUPPORTED && strncmp(k->e->text, "schema #", 8) != 0;
}

bool schema_refuse_value(struct schema_compiler *k, const struct schema_use *use)
{
    char text[60];
    size_t n = json_dumpb(use->value, text, sizeof text, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    const char *expected = strcmp(use->keyword, "type") == 0
                               ? ": expected null, boolean, integer, number, string, array or "
                                 "object, or an array of some of them"
                               : "";
    return schema_refuse(k, use, "may not be %.*s%s%s", (int)(n < sizeof text ? n : sizeof text),
                         text, n > sizeof text ? "..." : "", expected);
}

bool schema_refuse_opposite(struct schema_compiler *k, const struct schema_use *use)
{
    return schema_refuse(k, use,
                         "cannot be enforced where it must fail (in not, if, or oneOf whose "
                         "schemas overlap)");
}

bool schema_spend_steps(struct schema_compiler *k, size_t n)
{
    if (k->steps < n) {
        k->steps = 0;
        return error_set(k->e, ERROR_UNSUPPORTED,
                         "the schema takes more than %d steps: too many alternatives within each "
                         "other, or too many keywords that are none of JSON Schema",
                         SCHEMA_MAX_STEPS);
    }
    k->steps -= n;
    return true;
}

bool schema_check_builder(struct schema_compiler *k, const struct schema_use *use)
{
    const struct error *e = grammar_builder_error(k->builder);
    return e->code == ERROR_NONE ||
           (e->code == ERROR_MEMORY ? error_set(k->e, e->code, "%s", e->text)
                                    : schema_refuse(k, use, "cannot be enforced: %s", e->text));
}

/* --- nodes */

static uint64_t hash_terms(struct schema_terms terms)
{
    uint64_t sum = terms.n; /* of all, as their order makes no difference */
    for (size_t i = 0; i < terms.n; i++) {
        uint64_t h = (uint64_t)(uintptr_t)terms.list[i].schema * 4 + terms.list[i].kind;
        h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
        h = (h ^ h >> 27) * 0x94d049bb133111ebu;
        sum += h ^ h >> 31;
    }
    return sum;
}

static bool has_term(struct schema_terms terms, struct schema_term term)
{
    size_t i = 0;
    while (i < terms.n &&
           (terms.list[i].schema != term.schema || terms.list[i].kind != term.kind)) {
        i++;
    }
    return i < terms.n;
}

static bool same_terms(struct schema_terms a, struct schema_terms b)
{
    bool same = a.n == b.n;
    for (size_t i = 0; i < a.n && same; i++) {
        same = has_term(b, a.list[i]);
    }
    return same;
}

bool schema_node_of(struct schema_compiler *k, struct schema_terms terms, uint32_t *out)
{
    if (terms.n == 0) {
        *out = SCHEMA_ANY_NODE;
        return true;
    }
    uint64_t hash = hash_terms(terms);
    size_t slot = hash % NODE_SLOTS;
    for (; k->node_table[slot] != 0; slot = (slot + 1) % NODE_SLOTS) {
        const struct schema_node *node = &k->nodes[k->node_table[slot] - 1];
        if (node->hash == hash && same_terms(node->terms, terms)) {
            *out = k->node_table[slot] - 1;
            return true;
        }
    }
    if (k->n_nodes == SCHEMA_MAX_NODES) {
        return error_set(k->e, ERROR_UNSUPPORTED, "the schema has more than %d different children",
                         SCHEMA_MAX_NODES);
    }
    k->nodes[k->n_nodes] = (struct schema_node){.terms = terms, .hash = hash, .rule = GRAMMAR_NONE};
    *out = (uint32_t)k->n_nodes++;
    k->node_table[slot] = *out + 1;
    return true;
}

bool schema_node_is_productive(const struct schema_compiler *k, uint32_t node)
{
    return node == SCHEMA_ANY_NODE || k->nodes[node].is_productive;
}

/* Drops arrays and objects that are seen to be empty, so that their children are not looked at. */
static bool drop_empty(struct schema_compiler *k, struct schema_form *f)
{
    struct schema_arrays *arrays = f->arrays.items;
    struct schema_objects *objects = f->objects.items;
    size_t n_arrays = 0, n_objects = 0;
    bool is_empty = false;
    for (size_t i = 0; i < f->arrays.n; i++) {
        struct schema_form one = {.arrays = {&arrays[i], 1, 1}};
        if (!schema_form_is_empty(k, &one, 1, &is_empty)) {
            return false;
        }
        if (!is_empty) {
            arrays[n_arrays++] = arrays[i];
        }
    }
    for (size_t i = 0; i < f->objects.n; i++) {
        struct schema_form one = {.objects = {&objects[i], 1, 1}};
        if (!schema_form_is_empty(k, &one, 1, &is_empty)) {
            return false;
        }
        if (!is_empty) {
            objects[n_objects++] = objects[i];
        }
    }
    f->arrays.n = n_arrays;
    f->objects.n = n_objects;
    return true;
}

/* Whether a node has a value, when those children have that are known to have one. Makes nodes of
 * all children. */
static bool look_at_node(struct schema_compiler *k, size_t i, bool *out)
{
    struct schema_form f = k->nodes[i].form;
    const struct schema_arrays *arrays = f.arrays.items;
    const struct schema_objects *objects = f.objects.items;
    bool ok = schema_spend_steps(k, 1);
    const struct schema_strings *strings = f.strings.items;
    bool has = f.has_null || f.has_true || f.has_false || f.numbers.n > 0;
    for (size_t m = 0; m < f.strings.n && ok && !has; m++) {
        ok = schema_strings_are_possible(k, &strings[m], &has);
    }
    for (size_t m = 0; m < f.arrays.n && ok; m++) {
        bool one = false;
        ok = schema_arrays_are_productive(k, &arrays[m], &one);
        has |= one;
    }
    for (size_t m = 0; m < f.objects.n && ok; m++) {
        bool one = false;
        ok = schema_objects_are_productive(k, &objects[m], &one);
        has |= one;
    }
    *out = has;
    return ok;
}

/* Says of which child of the schema an error is that does not say so itself. */
static bool place_error(struct schema_compiler *k, size_t node)
{
    if (k->e->code == ERROR_NONE) {
        *k->e = *grammar_builder_error(k->builder);
    }
    if (schema_error_lacks_place(k)) {
        error_prefix(k->e, "schema #%s",
                     schema_pointer_to(k, k->nodes[node].terms.list->schema).text);
    }
    return false;
}

static bool open_nodes(struct schema_compiler *k)
{
    bool ok = true;
    for (size_t i = 0; i < k->n_nodes && ok; i++) {
        struct schema_form f;
        ok = schema_form_of_any(k, &f) && schema_apply_terms(k, k->nodes[i].terms, &f) &&
             drop_empty(k, &f);
        k->nodes[i].form = ok ? f : k->nodes[i].form;
        ok = (ok && look_at_node(k, i, &k->nodes[i].is_productive)) || place_error(k, i);
    }
    bool changed = ok;
    while (changed && ok) { /* from the last on, as children come behind their parents */
        changed = false;
        for (size_t i = k->n_nodes; i-- > 0 && ok;) {
            bool before = k->nodes[i].is_productive;
            ok = before || look_at_node(k, i, &k->nodes[i].is_productive);
            changed |= k->nodes[i].is_productive != before;
        }
    }
    return ok;
}

uint32_t schema_emit_node(struct schema_compiler *k, uint32_t node)
{
    if (node == SCHEMA_ANY_NODE) {
        return schema_emit_any(k);
    }
    struct schema_node *n = &k->nodes[node];
    if (n->rule == GRAMMAR_NONE) {
        char name[32];
        snprintf(name, sizeof name, "child %u", node);
        n->rule = grammar_declare(k->builder, str_from(name));
    }
    return grammar_call(k->builder, n->rule);
}

static bool define_rules(struct schema_compiler *k)
{
    bool ok = true, changed = true;
    bool *is_defined = schema_arena_take(&k->arena, k->n_nodes, sizeof *is_defined, k->e);
    while (is_defined != NULL && changed && ok) {
        changed = false;
        for (size_t i = 0; i < k->n_nodes && ok; i++) {
            if (k->nodes[i].rule == GRAMMAR_NONE || is_defined[i]) {
                continue;
            }
            uint32_t body = schema_emit_form(k, &k->nodes[i].form);
            ok = body != GRAMMAR_NONE || place_error(k, i);
            if (ok) {
                grammar_define(k->builder, k->nodes[i].rule, body);
            }
            is_defined[i] = changed = true;
        }
    }
    return ok && is_defined != NULL;
}

/* --- a compilation */

static bool prepare(struct schema_compiler *k, const json_t *schema, struct grammar_builder *b,
                    struct error *e)
{
    *k = (struct schema_compiler){.root = schema,
                                  .builder = b,
                                  .e = e,
                                  .steps = SCHEMA_MAX_STEPS,
                                  .plain_character = GRAMMAR_NONE,
                                  .plain_text = GRAMMAR_NONE,
                                  .any_text = GRAMMAR_NONE,
                                  .any_value = GRAMMAR_NONE,
                                  .any_number = GRAMMAR_NONE};
    schema_arena_init(&k->arena, SCHEMA_MAX_MEMORY);
    k->nodes = schema_arena_take(&k->arena, SCHEMA_MAX_NODES, sizeof *k->nodes, e);
    k->node_table = schema_arena_take(&k->arena, NODE_SLOTS, sizeof *k->node_table, e);
    return k->nodes != NULL && k->node_table != NULL;
}

/* Refuses what a request's json_schema, or a tool, holds beside the schema that is meant. */
static bool check_wrapper(struct schema_compiler *k)
{
    static const char *const inner[] = {"schema", "json_schema", "parameters", "function"};
    const char *type = json_string_value(json_object_get(k->root, "type"));
    bool is_named = type == NULL && json_is_string(json_object_get(k->root, "name"));
    bool is_wrapper =
        is_named ||
        (type != NULL && (strcmp(type, "json_schema") == 0 || strcmp(type, "function") == 0));
    for (size_t i = 0; i < sizeof inner / sizeof *inner && is_wrapper; i++) {
        if (json_is_object(json_object_get(k->root, inner[i]))) {
            return error_set(k->e, ERROR_UNSUPPORTED,
                             "schema #: '%s' is no keyword: the schema within is expected, without "
                             "what holds it",
                             inner[i]);
        }
    }
    return true;
}

/* --- where no value is valid */

/* Whether it is seen that no value is. Nodes that are known say so; children of sets that were
 * dropped have none yet. */
static bool is_without_value(struct schema_compiler *k, struct schema_terms terms)
{
    size_t n_known = k->n_nodes;
    uint32_t node = SCHEMA_ANY_NODE;
    struct schema_form f;
    bool is_empty = false;
    if (!schema_node_of(k, terms, &node) || node == SCHEMA_ANY_NODE) {
        return false;
    }
    if (node >= n_known) {
        bool ok = schema_form_of_any(k, &f) && schema_apply_terms(k, terms, &f) &&
                  schema_form_is_empty(k, &f, 1, &is_empty);
        k->nodes[node].is_productive = !(ok && is_empty);
    }
    return !k->nodes[node].is_productive;
}

/* The child without a value that a value needs, where just one set of arrays or objects is left. */
static bool find_missing(struct schema_compiler *k, struct schema_terms terms,
                         struct schema_terms *out)
{
    struct schema_form f;
    if (!schema_form_of_any(k, &f) || !schema_apply_terms(k, terms, &f) ||
        f.arrays.n + f.objects.n != 1) {
        return false;
    }
    const struct schema_arrays *a = f.arrays.items;
    const struct schema_objects *o = f.objects.items;
    bool found = false;
    for (size_t i = 0; f.arrays.n > 0 && i < a->min && i <= a->n_first && !found; i++) {
        *out = i < a->n_first ? a->first[i] : a->rest;
        found = is_without_value(k, *out);
    }
    for (size_t i = 0; f.objects.n > 0 && i < o->n_properties && !found; i++) {
        *out = o->properties[i].terms;
        found = o->properties[i].presence == SCHEMA_REQUIRED && is_without_value(k, *out);
    }
    return found;
}

struct keyword_names {
    char text[200];
};

/* The keywords of a schema that restrict its values: ": 'type' and 'minimum' leave none". Of many
 * the first ones. */
static struct keyword_names names_of(struct schema_compiler *k, const json_t *schema)
{
    enum { MOST = 6 };
    struct keyword_names names = {""};
    struct error *e = k->e, ignored = {0};
    uint64_t left = 0;
    size_t n = 0, used = 0;
    k->e = &ignored;
    bool is_known = json_is_object(schema) && schema_check_names(k, schema, &left);
    k->e = e;
    for (; is_known && left != 0 && n < MOST; n++) {
        const char *name = schema_next_keyword(&left)->name;
        used += (size_t)snprintf(names.text + used, sizeof names.text - used, "%s'%s'",
                                 n == 0      ? ": "
                                 : left == 0 ? " and "
                                             : ", ",
                                 name);
    }
    if (n > 0) {
        snprintf(names.text + used, sizeof names.text - used, "%s",
                 left != 0 ? " and others leave none"
                 : n == 1  ? " leaves none"
                           : " leave none");
    }
    return names;
}

/* Names the innermost schema that no value is valid against, and the root where it leads round. */
static bool refuse_empty(struct schema_compiler *k, uint32_t root)
{
    struct schema_terms terms = k->nodes[root].terms, child;
    struct error *e = k->e, ignored = {0};
    size_t depth = 0;
    k->e = &ignored;
    while (depth < SCHEMA_MAX_INLINE && find_missing(k, terms, &child)) {
        terms = child;
        depth++;
    }
    k->e = e;
    if (depth == SCHEMA_MAX_INLINE) {
        return error_set(k->e, ERROR_USAGE, "schema #: no value is valid against it");
    }
    const json_t *schema = terms.list->schema;
    struct schema_pointer at = schema_pointer_to(k, schema);
    if (terms.n > 1) {
        return error_set(k->e, ERROR_USAGE,
                         "schema #%s: no value fits it and what else is said of that value",
                         at.text);
    }
    if (terms.list->kind == SCHEMA_FAILS) {
        return error_set(k->e, ERROR_USAGE,
                         "schema #%s: a value would have to fail against it, which none does",
                         at.text);
    }
    return error_set(k->e, ERROR_USAGE, "schema #%s: no value is valid against it%s", at.text,
                     names_of(k, schema).text);
}

static bool compile_root(struct schema_compiler *k, uint32_t *out)
{
    struct schema_terms terms = {0};
    uint32_t node = 0;
    if (!check_wrapper(k) ||
        !schema_terms_add(k, &terms, (struct schema_term){k->root, SCHEMA_HOLDS}) ||
        !schema_node_of(k, terms, &node) || !open_nodes(k)) {
        return false;
    }
    if (!schema_node_is_productive(k, node)) {
        return refuse_empty(k, node);
    }
    uint32_t call = schema_emit_node(k, node);
    if (!define_rules(k)) {
        return false;
    }
    *out = call;
    return true;
}

bool schema_compile_into(struct grammar_builder *b, const json_t *schema, uint32_t *out,
                         struct schema_remarks *remarks, struct error *e)
{
    struct schema_compiler k;
    struct error why = {0};
    uint32_t node = GRAMMAR_NONE;
    bool ok = prepare(&k, schema, b, &why) && compile_root(&k, &node);
    schema_arena_finish(&k.arena);
    const struct error *of_builder = grammar_builder_error(b);
    if (!ok && why.code == ERROR_NONE) {
        why = *of_builder;
    }
    /* questions about texts answer no when memory is short, and leave an error */
    ok = ok && why.code == ERROR_NONE && of_builder->code == ERROR_NONE;
    if (!ok) {
        const struct error *first = why.code != ERROR_NONE ? &why : of_builder;
        return error_set(e, first->code, "%s", first->text);
    }
    if (remarks != NULL) {
        schema_tell_notes(&k, remarks);
    }
    *out = node;
    return true;
}

struct grammar *schema_compile(const json_t *schema, struct schema_remarks *remarks,
                               struct error *e)
{
    struct grammar_builder *b = grammar_builder_create(e);
    struct grammar *g = NULL;
    uint32_t root = GRAMMAR_NONE;
    if (b != NULL && schema_compile_into(b, schema, &root, remarks, e)) {
        g = grammar_compile(b, root, e);
    }
    grammar_builder_destroy(b);
    return g;
}

struct grammar *schema_compile_any_object(struct error *e)
{
    json_t *schema = json_pack("{s:s}", "type", "object");
    struct grammar *g = NULL;
    if (schema != NULL) {
        g = schema_compile(schema, NULL, e);
    } else {
        error_set(e, ERROR_MEMORY, "no memory for a schema");
    }
    json_decref(schema);
    return g;
}
