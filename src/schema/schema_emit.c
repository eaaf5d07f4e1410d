/* schema_emit.c - expressions for forms, and for any value.
 *
 * One line, ", " and ": " as separators: what json.dumps of Python writes, and with it most of the
 * JSON that models have learned from. White space is fixed so that it can neither run on for ever
 * nor make one value many texts. */
#include "schema/schema_compile_internal.h"

static uint32_t bytes(struct schema_compiler *k, struct str text)
{
    return grammar_bytes(k->builder, text);
}

/* "[" item ", " item ... "]" of any number of items. */
static uint32_t list_of(struct schema_compiler *k, struct str open, uint32_t item, struct str close)
{
    uint32_t more =
        grammar_repeat(k->builder, schema_then(k, bytes(k, STR(", ")), item), 0, GRAMMAR_UNLIMITED);
    uint32_t parts[] = {bytes(k, open), schema_optional(k, schema_then(k, item, more)),
                        bytes(k, close)};
    return grammar_sequence(k->builder, parts, 3);
}

/* The rule of all values, which calls itself. */
uint32_t schema_emit_any(struct schema_compiler *k)
{
    if (k->any_value == GRAMMAR_NONE) {
        uint32_t rule = grammar_declare(k->builder, STR("any value"));
        k->any_value = grammar_call(k->builder, rule);
        uint32_t text = schema_text_quoted(k, schema_text_any(k));
        uint32_t member[] = {text, bytes(k, STR(": ")), k->any_value};
        uint32_t ways[] = {bytes(k, STR("null")),
                           bytes(k, STR("true")),
                           bytes(k, STR("false")),
                           schema_emit_numbers(k, &(struct schema_numbers){0}),
                           text,
                           list_of(k, STR("["), k->any_value, STR("]")),
                           list_of(k, STR("{"), grammar_sequence(k->builder, member, 3), STR("}"))};
        grammar_define(k->builder, rule,
                       grammar_choice(k->builder, ways, sizeof ways / sizeof *ways));
    }
    return k->any_value;
}

uint32_t schema_emit_form(struct schema_compiler *k, const struct schema_form *f)
{
    const struct schema_numbers *numbers = f->numbers.items;
    const struct schema_strings *strings = f->strings.items;
    const struct schema_arrays *arrays = f->arrays.items;
    const struct schema_objects *objects = f->objects.items;
    uint32_t ways[4 * SCHEMA_MAX_SETS + 3];
    size_t n = 0;
    for (size_t i = 0; i < f->objects.n; i++) {
        ways[n++] = schema_emit_objects(k, &objects[i]);
    }
    for (size_t i = 0; i < f->arrays.n; i++) {
        ways[n++] = schema_emit_arrays(k, &arrays[i]);
    }
    for (size_t i = 0; i < f->strings.n; i++) {
        ways[n++] = schema_text_of_set(k, &strings[i]);
    }
    for (size_t i = 0; i < f->numbers.n; i++) {
        ways[n++] = schema_emit_numbers(k, &numbers[i]);
    }
    if (f->has_true) {
        ways[n++] = bytes(k, STR("true"));
    }
    if (f->has_false) {
        ways[n++] = bytes(k, STR("false"));
    }
    if (f->has_null) {
        ways[n++] = bytes(k, STR("null"));
    }
    return grammar_choice(k->builder, ways, n);
}
